/* What KVM itself counts of a vCPU, through its file of statistics (Linux's Documentation/virt/kvm/api.rst, 4.133): a
 * header says where descriptors and numbers are, each descriptor has a name. */
#include "accel/kvm_internal.h"

#include <string.h>
#include <unistd.h>

enum { STATS_NAME_BYTES_MAX = 128, STATS_MAX = 1024 };

/* Where the number of that name is in the file; 0: there is none, or it is not what is expected. */
static uint64_t find(int fd, const char *name)
{
    struct kvm_stats_header header;
    _Alignas(struct kvm_stats_desc) uint8_t bytes[sizeof(struct kvm_stats_desc) + STATS_NAME_BYTES_MAX + 1] = {0};
    struct kvm_stats_desc *desc = (struct kvm_stats_desc *)bytes;

    if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || header.name_size > STATS_NAME_BYTES_MAX ||
        header.num_desc > STATS_MAX)
        return 0;
    size_t len = sizeof(*desc) + header.name_size;
    for (uint32_t i = 0; i < header.num_desc; i++) {
        if (pread(fd, bytes, len, (off_t)header.desc_offset + (off_t)(i * len)) != (ssize_t)len)
            return 0;
        if (strcmp((const char *)bytes + sizeof(*desc), name) == 0)
            return (desc->flags & KVM_STATS_TYPE_MASK) == KVM_STATS_TYPE_CUMULATIVE
                       ? (uint64_t)header.data_offset + desc->offset
                       : 0;
    }
    return 0;
}

int kvm_stat_open(int vcpu_fd, const char *name, uint64_t *at)
{
    int fd = kvm_ioctl_number(vcpu_fd, KVM_GET_STATS_FD, 0);

    *at = 0;
    if (fd < 0)
        return KVM_DEVICE_FD_NONE;
    *at = find(fd, name);
    if (*at)
        return fd;
    close(fd);
    return KVM_DEVICE_FD_NONE;
}

uint64_t kvm_stat_read(int fd, uint64_t at)
{
    uint64_t value;

    return fd >= 0 && pread(fd, &value, sizeof(value), (off_t)at) == sizeof(value) ? value : 0;
}
