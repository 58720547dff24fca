/* The kernel's APLIC and IMSICs (Linux's Documentation/virt/kvm/devices/riscv, the device type KVM_DEV_TYPE_RISCV_AIA).
 *
 * Numbers are written out, since this is compiled with headers older than the device (Linux 6.5) as well. */
#include "accel/kvm_internal.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { DEVICE_AIA = 11 };
enum { GROUP_CONFIG, GROUP_ADDRESS, GROUP_CONTROL };
enum { CONFIG_IDENTITIES = 1, CONFIG_SOURCES = 2, CONFIG_HART_BITS = 5 };
enum { ADDRESS_APLIC = 0, ADDRESS_IMSIC0 = 1, CONTROL_INIT = 0, IMSIC_BYTES = 0x1000 };

#ifdef KVM_DEV_TYPE_RISCV_AIA
_Static_assert((int)DEVICE_AIA == (int)KVM_DEV_TYPE_RISCV_AIA && (int)GROUP_CONTROL == KVM_DEV_RISCV_AIA_GRP_CTRL &&
                   (int)CONFIG_HART_BITS == KVM_DEV_RISCV_AIA_CONFIG_HART_BITS &&
                   (int)IMSIC_BYTES == KVM_DEV_RISCV_IMSIC_SIZE,
               "as in the kernel's header");
#endif

static int set(int fd, uint32_t group, uint64_t attribute, const void *value)
{
    struct kvm_device_attr attr = {.group = group, .attr = attribute, .addr = (uint64_t)(uintptr_t)value};

    return kvm_ioctl(fd, KVM_SET_DEVICE_ATTR, &attr);
}

static int set_number(int fd, uint64_t attribute, uint32_t value)
{
    return set(fd, GROUP_CONFIG, attribute, &value);
}

static int set_up(int fd, const struct accel_aia_config *config)
{
    uint32_t hart_bits = config->hart_count > 1 ? 32 - (uint32_t)__builtin_clz(config->hart_count - 1) : 0;
    int rc = set_number(fd, CONFIG_IDENTITIES, config->identities);

    if (rc == 0)
        rc = set_number(fd, CONFIG_SOURCES, config->sources);
    if (rc == 0)
        rc = set_number(fd, CONFIG_HART_BITS, hart_bits);
    if (rc == 0)
        rc = set(fd, GROUP_ADDRESS, ADDRESS_APLIC, &config->aplic_gpa);
    for (uint32_t i = 0; i < config->hart_count && rc == 0; i++) {
        uint64_t gpa = config->imsic_gpa + i * (uint64_t)IMSIC_BYTES;
        rc = set(fd, GROUP_ADDRESS, ADDRESS_IMSIC0 + i, &gpa);
    }
    return rc ? rc : set(fd, GROUP_CONTROL, CONTROL_INIT, NULL);
}

int kvm_riscv_aia_create(struct accel_vm *vm, const struct accel_aia_config *config, struct error *err)
{
    struct kvm_create_device device = {.type = DEVICE_AIA};
    int rc = kvm_ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &device);

    if (rc)
        return error_set(err, rc, "KVM has no Advanced Interrupt Architecture here (%s): leave --aia out",
                         strerrordesc_np(-rc));
    rc = set_up((int)device.fd, config);
    close((int)device.fd); /* the virtual machine keeps it */
    return rc ? error_set(err, rc, "KVM's APLIC and IMSICs do not take what this machine asks of them: %s",
                          strerrordesc_np(-rc))
              : 0;
}
