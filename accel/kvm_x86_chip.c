/* The interrupt controllers and the timer that the kernel emulates, as a device: its fields are the kernel's
 * structures, fetched before they are saved and given back after they were restored. The kernel checks what it is
 * given. */
#include "accel/kvm_x86.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHIPS = 3 }; /* KVM_IRQCHIP_PIC_MASTER, _PIC_SLAVE, _IOAPIC */

struct chip {
    struct device base;
    struct accel_vm *vm;
    uint8_t chips[CHIPS * 512]; /* union inside struct kvm_irqchip */
    uint8_t pit[sizeof(struct kvm_pit_state2)];
    uint64_t clock_ns; /* of the guest's paravirtual clock */
};

_Static_assert(sizeof(((struct kvm_irqchip *)0)->chip) == 512, "the kernel's structure");

static const struct device_field fields[] = {
    DEVICE_FIELD_ARRAY(struct chip, chips, 1),
    DEVICE_FIELD_ARRAY(struct chip, pit, 1),
    DEVICE_FIELD(struct chip, clock_ns, 1),
    {0},
};

static void report(int rc, const char *what)
{
    if (rc)
        log_warn(LOG_ACCEL, "%s: %s", what, strerrordesc_np(-rc));
}

static void pre_save(struct device *dev)
{
    struct chip *chip = (struct chip *)dev;
    struct kvm_clock_data clock = {0};

    for (uint32_t i = 0; i < CHIPS; i++) {
        struct kvm_irqchip state = {.chip_id = i};
        report(kvm_ioctl(chip->vm->vm_fd, KVM_GET_IRQCHIP, &state), "an interrupt controller is not saved");
        memcpy(chip->chips + i * 512, &state.chip, 512);
    }
    report(kvm_ioctl(chip->vm->vm_fd, KVM_GET_PIT2, chip->pit), "the 8254 timer is not saved");
    report(kvm_ioctl(chip->vm->vm_fd, KVM_GET_CLOCK, &clock), "the paravirtual clock is not saved");
    chip->clock_ns = clock.clock;
}

static void post_restore(struct device *dev)
{
    struct chip *chip = (struct chip *)dev;
    struct kvm_clock_data clock = {.clock = chip->clock_ns};

    for (uint32_t i = 0; i < CHIPS; i++) {
        struct kvm_irqchip state = {.chip_id = i};
        memcpy(&state.chip, chip->chips + i * 512, 512);
        report(kvm_ioctl(chip->vm->vm_fd, KVM_SET_IRQCHIP, &state), "an interrupt controller is not restored");
    }
    report(kvm_ioctl(chip->vm->vm_fd, KVM_SET_PIT2, chip->pit), "the 8254 timer is not restored");
    report(kvm_ioctl(chip->vm->vm_fd, KVM_SET_CLOCK, &clock), "the paravirtual clock is not restored");
}

static void destroy(struct device *dev)
{
    free(dev);
}

static const struct device_ops chip_ops = {
    .name = "kvm-x86-chip",
    .state_version = 1,
    .fields = fields,
    .destroy = destroy,
    .pre_save = pre_save,
    .post_restore = post_restore,
};

int kvm_x86_chip_create(struct accel_vm *vm, struct device **out)
{
    struct chip *chip = calloc(1, sizeof(*chip));

    if (!chip)
        return -ENOMEM;
    chip->base.ops = &chip_ops;
    chip->vm = vm;
    *out = &chip->base;
    return 0;
}
