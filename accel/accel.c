/* Whether KVM can be used here, in one line where it cannot. */
#include "accel/kvm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char device_path[] = "/dev/kvm";

#if !defined(__x86_64__) && !defined(__riscv)
const struct kvm_arch *const kvm_arch_host = NULL;
#endif

static const char *guest_name(enum vcpu_guest guest)
{
    return guest == VCPU_GUEST_X86_64 ? "x86-64" : "riscv64";
}

static const char *host_name(void)
{
#if defined(__x86_64__)
    return "x86-64";
#elif defined(__riscv)
    return "riscv64";
#elif defined(__aarch64__)
    return "arm64";
#else
    return "of another kind";
#endif
}

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
    int rc;

    do
        rc = ioctl(fd, request, argument);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : rc;
}

const struct vcpu_ops *accel_vcpu_ops(enum vcpu_guest guest)
{
    return kvm_arch_host && kvm_arch_host->guest == guest ? &kvm_vcpu_ops : NULL;
}

static int open_device(struct error *reason)
{
    int fd = open(device_path, O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        return fd;
    int rc = -errno;
    if (rc == -ENOENT || rc == -ENODEV || rc == -ENXIO)
        return error_set(reason, rc, "KVM is not used: there is no %s; load the host's kvm module", device_path);
    if (rc == -EACCES || rc == -EPERM)
        return error_set(reason, rc, "KVM is not used: %s may not be opened; join the group kvm", device_path);
    return error_set(reason, rc, "KVM is not used: %s: %s", device_path, strerrordesc_np(-rc));
}

static int check(int fd, uint32_t vcpu_count, struct error *reason)
{
    int version = kvm_ioctl_number(fd, KVM_GET_API_VERSION, 0);

    if (version != KVM_API_VERSION)
        return error_set(reason, -ENOTSUP, "KVM is not used: its interface has version %d, %d is needed", version,
                         KVM_API_VERSION);
    for (const struct kvm_need *need = kvm_arch_host->needs; need->name; need++) {
        if (kvm_ioctl_number(fd, KVM_CHECK_EXTENSION, (unsigned long)need->capability) <= 0)
            return error_set(reason, -ENOTSUP, "KVM is not used: it lacks %s; a newer host kernel has it", need->name);
    }
    int most = kvm_ioctl_number(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    if (most > 0 && vcpu_count > (uint32_t)most)
        return error_set(reason, -EINVAL, "KVM runs at most %d vCPUs here, %u were asked for: choose fewer", most,
                         vcpu_count);
    return 0;
}

int accel_probe(enum vcpu_guest guest, uint32_t vcpu_count, struct error *reason)
{
    if (!kvm_arch_host || kvm_arch_host->guest != guest)
        return error_set(reason, -ENOTSUP, "KVM is not used: the guest is %s and this host %s", guest_name(guest),
                         host_name());
    int fd = open_device(reason);
    if (fd < 0)
        return fd;
    int rc = check(fd, vcpu_count, reason);
    if (rc == 0) {
        /* The device may be there and refuse: a nested host without the processor's extensions. */
        int vm = kvm_ioctl_number(fd, KVM_CREATE_VM, 0);
        if (vm < 0)
            rc = error_set(reason, vm, "KVM is not used: it creates no virtual machine: %s", strerrordesc_np(-vm));
        else
            close(vm);
    }
    close(fd);
    return rc;
}
