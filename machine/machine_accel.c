/* Which guests KVM runs, and the line that says so. A kernel or program for x86 makes the machine a PC, or a snapshot
 * of one does; there is nothing but KVM to run it. */
#include "accel/accel.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include <errno.h>
#include <stdio.h>

bool machine_is_pc(const struct machine_config *config)
{
    const char *image = config->kernel ? config->kernel : config->bare;

    if (config->restore)
        return machine_restore_is_pc(config->restore);
    return image && !config->firmware && loader_is_pc(image);
}

int machine_accel_riscv(const struct machine_config *config, struct error *err)
{
    int rc = accel_probe(VCPU_GUEST_RISCV64, config->cpus, err);

    return rc ? rc : error_set(err, -ENOTSUP, "KVM is not used: the riscv64 board has no way to it yet");
}

void machine_accel_describe(const struct machine_config *config, struct error *line)
{
    enum vcpu_guest guest = machine_is_pc(config) ? VCPU_GUEST_X86_64 : VCPU_GUEST_RISCV64;

    if (config->accel == MACHINE_ACCEL_TIERS) {
        snprintf(line->text, sizeof(line->text), "KVM is not used: something else was asked for");
        return;
    }
    if (guest == VCPU_GUEST_RISCV64)
        (void)machine_accel_riscv(config, line);
    else if (accel_probe(guest, config->cpus, line) == 0)
        snprintf(line->text, sizeof(line->text), "KVM runs the guest");
}

bool machine_runs_on_kvm(const struct machine *m)
{
    return m->accel != NULL;
}

void machine_placement_describe(const struct machine *m, char *text, size_t size)
{
    placement_describe(&m->placement, m->mem, text, size);
}

int machine_accel_create(struct machine *m, struct error *err)
{
    struct accel_vm_config config = {.mem = m->mem, .guest = VCPU_GUEST_X86_64, .vcpu_count = m->config.cpus};

    return accel_vm_create(&config, &m->accel, err);
}
