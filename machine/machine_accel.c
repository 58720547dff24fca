/* Which guests KVM runs, and the line that says so. A kernel or program for x86 makes the machine a PC, or a snapshot
 * of one does; there is nothing but KVM to run it. */
#include "accel/accel.h"
#include "dev/aplic.h"
#include "dev/imsic.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool machine_is_pc(const struct machine_config *config)
{
    const char *image = config->kernel ? config->kernel : config->bare;

    if (config->restore)
        return machine_restore_is_pc(config->restore);
    return image && !config->firmware && loader_is_pc(image);
}

/* What of the riscv64 board's KVM has no part in; NULL: nothing. */
static const char *without_kvm(const struct machine_config *config)
{
    const struct machine_snapshot_config *snapshots = &config->snapshots;

    if (!config->kernel || config->firmware || config->bare || config->pflash[0] || config->pflash[1])
        return "firmware and programs that begin in M-mode, which is the host's";
    if (config->aia == MACHINE_AIA_APLIC)
        return "a wired APLIC, which the kernel has not";
    if (config->clock == MACHINE_CLOCK_INSNS || config->max_insns != UINT64_MAX || snapshots->at_insns)
        return "counted instructions";
    if (config->jit.verify)
        return "--verify, as there is no compiled code";
    if (config->gdb)
        return "a debugger, which is not there yet for riscv64";
    if (config->restore || snapshots->file)
        return "snapshots, which are not there yet for riscv64";
    return NULL;
}

int machine_accel_riscv(const struct machine_config *config, struct error *err)
{
    int rc = accel_probe(VCPU_GUEST_RISCV64, config->cpus, err);
    const char *what = without_kvm(config);

    if (rc || !what)
        return rc;
    return error_set(err, -ENOTSUP, "KVM is not used: it runs no guest with %s", what);
}

void machine_accel_describe(const struct machine_config *config, struct error *line)
{
    enum vcpu_guest guest = machine_is_pc(config) ? VCPU_GUEST_X86_64 : VCPU_GUEST_RISCV64;

    if (config->accel == MACHINE_ACCEL_TIERS) {
        snprintf(line->text, sizeof(line->text), "KVM is not used: something else was asked for");
        return;
    }
    int rc = guest == VCPU_GUEST_RISCV64 ? machine_accel_riscv(config, line) : accel_probe(guest, config->cpus, line);
    if (rc == 0)
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
    struct accel_vm_config config = {
        .mem = m->mem, .guest = m->pc ? VCPU_GUEST_X86_64 : VCPU_GUEST_RISCV64, .vcpu_count = m->config.cpus};

    return accel_vm_create(&config, &m->accel, err);
}

int machine_accel_harts(struct machine *m, struct error *err)
{
    uint64_t hz = 0;
    int rc = accel_hart_timebase(m->vcpus[0], &hz);

    if (rc == 0 && (hz == 0 || hz > UINT32_MAX))
        rc = -ERANGE;
    if (rc)
        return error_set(err, rc, "KVM does not say how fast its harts' time goes: %s", strerrordesc_np(-rc));
    m->timebase_hz = (uint32_t)hz;
    for (uint32_t i = 0; i < m->hart_count; i++)
        m->config.isa = accel_hart_isa(m->vcpus[i], m->config.isa);
    const struct accel_aia_config aia = {.aplic_gpa = BOARD_APLIC_S_GPA,
                                         .imsic_gpa = BOARD_IMSIC_S_GPA,
                                         .hart_count = m->hart_count,
                                         .sources = APLIC_SOURCES,
                                         .identities = IMSIC_IDS};
    return m->config.aia == MACHINE_AIA_APLIC_IMSIC ? accel_aia_create(m->accel, &aia, err) : 0;
}
