/* A virtual machine of KVM: RAM, lines of interrupts, doorbells, which pages were stored to. */
#include "accel/kvm_debug.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- RAM ---- */

/* RAM's parts before and behind its hole are slots 0 and 1. */
enum { SLOTS = 2 };

static bool has_slot(const struct accel_vm *vm, uint32_t slot)
{
    return slot == 0 || mem_ram_low_bytes(vm->config.mem) < mem_ram_bytes(vm->config.mem);
}

/* With or without a log of stores. */
static int set_ram(struct accel_vm *vm, bool log)
{
    struct mem *mem = vm->config.mem;
    uint64_t low = mem_ram_low_bytes(mem);
    int rc = 0;

    for (uint32_t slot = 0; slot < SLOTS && rc == 0 && has_slot(vm, slot); slot++) {
        uint64_t gpa = slot ? mem_ram_high_base(mem) : mem_ram_base(mem);
        uint64_t bytes = slot ? mem_ram_bytes(mem) - low : low;
        struct kvm_userspace_memory_region region = {
            .slot = slot,
            .flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0,
            .guest_phys_addr = gpa,
            .memory_size = bytes,
            .userspace_addr = (uint64_t)(uintptr_t)mem_ram_ptr(mem, gpa, bytes),
        };
        rc = kvm_ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
    }
    return rc;
}

static size_t dirty_words(const struct accel_vm *vm)
{
    return ((mem_ram_bytes(vm->config.mem) >> MEM_PAGE_SHIFT) + 63) / 64;
}

/* A hole begins at a multiple of 64 pages (mem/mem.h), so that slots begin with a word. */
static int fetch_dirty(struct accel_vm *vm)
{
    size_t low_words = mem_ram_low_bytes(vm->config.mem) >> MEM_PAGE_SHIFT >> 6;
    int rc = 0;

    for (uint32_t slot = 0; slot < SLOTS && rc == 0 && has_slot(vm, slot); slot++) {
        struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = vm->dirty_words + (slot ? low_words : 0)};
        rc = kvm_ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &log);
    }
    return rc;
}

static int dirty_start(void *opaque)
{
    struct accel_vm *vm = opaque;
    int rc = 0;

    if (!vm->dirty_words)
        vm->dirty_words = calloc(dirty_words(vm), sizeof(*vm->dirty_words));
    if (!vm->dirty_words)
        return -ENOMEM;
    if (!vm->dirty_log)
        rc = set_ram(vm, true);
    if (rc == 0) {
        vm->dirty_log = true;
        rc = fetch_dirty(vm); /* what was stored before does not count */
    }
    return rc;
}

static void dirty_stop(void *opaque)
{
    struct accel_vm *vm = opaque;
    int rc = vm->dirty_log ? set_ram(vm, false) : 0;

    if (rc)
        log_warn(LOG_ACCEL, "the log of stores to memory could not be ended: %s", strerrordesc_np(-rc));
    vm->dirty_log = false;
}

static int dirty_collect(void *opaque, uint64_t *words, size_t len_words)
{
    struct accel_vm *vm = opaque;

    if (!vm->dirty_log || len_words != dirty_words(vm))
        return -EINVAL;
    int rc = fetch_dirty(vm);
    for (size_t i = 0; i < len_words && rc == 0; i++)
        words[i] |= vm->dirty_words[i];
    return rc;
}

static const struct mem_dirty_source dirty_source = {
    .start = dirty_start, .stop = dirty_stop, .collect = dirty_collect};

/* ---- interrupts ---- */

static void set_line(void *opaque, uint32_t number, bool level)
{
    const struct accel_vm *vm = opaque;
    struct kvm_irq_level line = {.irq = number, .level = level};
    int rc = kvm_ioctl(vm->vm_fd, KVM_IRQ_LINE, &line);

    if (rc)
        log_warn(LOG_ACCEL, "interrupt line %u: %s", number, strerrordesc_np(-rc));
}

struct irq_line accel_irq_line(struct accel_vm *vm, uint32_t number)
{
    return (struct irq_line){.set = set_line, .opaque = vm, .number = number};
}

static void raise_edge(void *opaque, uint32_t number, bool level)
{
    const struct kvm_line *line = opaque;
    const uint64_t one = 1;

    if (level && write(line->fd, &one, sizeof(one)) != sizeof(one))
        log_warn(LOG_ACCEL, "interrupt %u could not be raised: %s", number, strerrordesc_np(errno));
}

int accel_irq_edge(struct accel_vm *vm, uint32_t number, struct irq_line *out)
{
    if (number >= KVM_LINES_MAX)
        return -EINVAL;
    struct kvm_line *line = &vm->lines[number];
    if (line->fd == KVM_DEVICE_FD_NONE) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return -errno;
        struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = number};
        int rc = kvm_ioctl(vm->vm_fd, KVM_IRQFD, &irqfd);
        if (rc) {
            close(fd);
            return rc;
        }
        line->fd = fd;
    }
    *out = (struct irq_line){.set = raise_edge, .opaque = line, .number = number};
    return 0;
}

void accel_message(struct accel_vm *vm, uint64_t gpa, uint32_t data)
{
    struct kvm_msi msi = {.address_lo = (uint32_t)gpa, .address_hi = (uint32_t)(gpa >> 32), .data = data};
    int rc = kvm_ioctl(vm->vm_fd, KVM_SIGNAL_MSI, &msi);

    /* 0: the guest has blocked it. */
    if (rc < 0)
        log_guest_error("message 0x%x to 0x%llx: %s", data, (unsigned long long)gpa, strerrordesc_np(-rc));
}

static int doorbell(struct accel_vm *vm, uint64_t gpa, unsigned size_bytes, uint32_t value, int fd, uint32_t flags)
{
    struct kvm_ioeventfd bell = {
        .datamatch = value, .addr = gpa, .len = size_bytes, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH | flags};

    return kvm_ioctl(vm->vm_fd, KVM_IOEVENTFD, &bell);
}

int accel_doorbell(struct accel_vm *vm, uint64_t gpa, unsigned size_bytes, uint32_t value, int fd)
{
    return doorbell(vm, gpa, size_bytes, value, fd, 0);
}

void accel_doorbell_remove(struct accel_vm *vm, uint64_t gpa, unsigned size_bytes, uint32_t value, int fd)
{
    (void)doorbell(vm, gpa, size_bytes, value, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

int accel_aia_create(struct accel_vm *vm, const struct accel_aia_config *config, struct error *err)
{
    if (!vm->arch->aia_create)
        return error_set(err, -ENOTSUP, "KVM's guests have no Advanced Interrupt Architecture on this host");
    return vm->arch->aia_create(vm, config, err);
}

struct device *accel_vm_take_chip(struct accel_vm *vm)
{
    struct device *chip = vm->chip;

    vm->chip = NULL;
    return chip;
}

/* ---- creation ---- */

static int init(struct accel_vm *vm, struct error *err)
{
    vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->kvm_fd < 0) {
        int rc = -errno;
        return error_set(err, rc, "/dev/kvm: %s", strerrordesc_np(-rc));
    }
    vm->vm_fd = kvm_ioctl_number(vm->kvm_fd, KVM_CREATE_VM, 0);
    if (vm->vm_fd < 0)
        return error_set(err, vm->vm_fd, "KVM creates no virtual machine: %s", strerrordesc_np(-vm->vm_fd));
    int bytes = kvm_ioctl_number(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (bytes < (int)sizeof(struct kvm_run))
        return error_set(err, bytes < 0 ? bytes : -ENOTSUP, "KVM shares too little of a vCPU: %d bytes", bytes);
    vm->run_bytes = (size_t)bytes;
    int rc = set_ram(vm, false);
    if (rc)
        return error_set(err, rc, "KVM does not take the guest's memory: %s", strerrordesc_np(-rc));
    rc = vm->arch->vm_init(vm, err);
    if (rc)
        return rc;
    rc = vm->arch->chip_create ? vm->arch->chip_create(vm, &vm->chip) : 0;
    if (rc)
        return error_set(err, rc, "no memory for a virtual machine");
    mem_set_dirty_source(vm->config.mem, &dirty_source, vm);
    return 0;
}

int accel_vm_create(const struct accel_vm_config *config, struct accel_vm **out, struct error *err)
{
    int rc = accel_probe(config->guest, config->vcpu_count, err);

    if (rc)
        return rc;
    struct accel_vm *vm = calloc(1, sizeof(*vm));
    if (!vm)
        return error_set(err, -ENOMEM, "no memory for a virtual machine");
    vm->config = *config;
    vm->arch = kvm_arch_host;
    vm->kvm_fd = vm->vm_fd = -1;
    kvm_debug_init(vm);
    for (unsigned i = 0; i < KVM_LINES_MAX; i++)
        vm->lines[i] = (struct kvm_line){.vm = vm, .fd = KVM_DEVICE_FD_NONE};
    rc = init(vm, err);
    if (rc) {
        accel_vm_destroy(vm);
        return rc;
    }
    *out = vm;
    return 0;
}

void accel_vm_destroy(struct accel_vm *vm)
{
    if (!vm)
        return;
    mem_set_dirty_source(vm->config.mem, NULL, NULL);
    for (unsigned i = 0; i < KVM_LINES_MAX; i++) {
        if (vm->lines[i].fd >= 0)
            close(vm->lines[i].fd);
    }
    if (vm->vm_fd >= 0)
        close(vm->vm_fd);
    if (vm->kvm_fd >= 0)
        close(vm->kvm_fd);
    if (vm->chip)
        vm->chip->ops->destroy(vm->chip);
    kvm_debug_fini(vm);
    free(vm->dirty_words);
    free(vm);
}
