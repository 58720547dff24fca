/* KVM on x86-64: what a virtual machine needs before vCPUs, and exits of this architecture. */
#include "accel/kvm_x86.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Three pages and one that Intel's processors need for real mode on hosts without unrestricted guests; below where a
 * PC's firmware ends, and where no board has anything. */
static const uint64_t tss_gpa = 0xfffbd000, identity_map_gpa = 0xfffbc000;

static const struct kvm_need needs[] = {
    {KVM_CAP_IRQCHIP, "interrupt controllers"},
    {KVM_CAP_PIT2, "an 8254 timer"},
    {KVM_CAP_USER_MEMORY, "memory of this program's"},
    {KVM_CAP_SET_TSS_ADDR, "a place for the task segment"},
    {KVM_CAP_EXT_CPUID, "CPUID by this program"},
    {KVM_CAP_MP_STATE, "the state of a halted vCPU"},
    {KVM_CAP_VCPU_EVENTS, "the state of pending events"},
    {KVM_CAP_DEBUGREGS, "the state of debug registers"},
    {KVM_CAP_XSAVE, "the state of vector registers"},
    {KVM_CAP_XCRS, "the state of XCR0"},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exits"},
    {KVM_CAP_IRQFD, "interrupts by eventfd"},
    {KVM_CAP_IOEVENTFD, "doorbells by eventfd"},
    {KVM_CAP_SIGNAL_MSI, "message-signalled interrupts"},
    {0, NULL},
};

static int vm_init(struct accel_vm *vm, struct error *err)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    uint64_t identity = identity_map_gpa;
    int rc = kvm_ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);

    if (rc == 0)
        rc = kvm_ioctl_number(vm->vm_fd, KVM_SET_TSS_ADDR, tss_gpa);
    if (rc == 0)
        rc = kvm_ioctl_number(vm->vm_fd, KVM_CREATE_IRQCHIP, 0);
    if (rc)
        return error_set(err, rc, "KVM makes no interrupt controllers: %s", strerrordesc_np(-rc));
    rc = kvm_ioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit);
    if (rc)
        return error_set(err, rc, "KVM makes no 8254 timer: %s", strerrordesc_np(-rc));
    /* Registers it does not know come to us, to be counted and named; where it cannot, the guest gets its fault
     * without. */
    struct kvm_enable_cap msrs = {.cap = KVM_CAP_X86_USER_SPACE_MSR, .args = {KVM_MSR_EXIT_REASON_UNKNOWN}};
    if (kvm_ioctl_number(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_USER_SPACE_MSR) > 0)
        (void)kvm_ioctl(vm->vm_fd, KVM_ENABLE_CAP, &msrs);
    return 0;
}

static int vcpu_init(struct kvm_vcpu *v)
{
    v->arch_data = calloc(1, sizeof(struct kvm_x86));
    if (!v->arch_data)
        return -ENOMEM;
    int rc = kvm_x86_set_cpuid(v);
    return rc ? rc : kvm_x86_list_msrs(v->vm, v->arch_data);
}

/* The guest takes a general-protection fault, as from a processor without that register. */
static void refuse_msr(struct kvm_vcpu *v, const char *what)
{
    KVM_COUNT(v, msr_exits, 1);
    log_guest_error("%s of model-specific register 0x%" PRIx32 ", which does not exist", what, v->run->msr.index);
    v->run->msr.error = 1;
    v->unfinished = true;
}

static uint64_t pc(const struct kvm_vcpu *v)
{
    struct kvm_regs regs;

    return kvm_ioctl(v->fd, KVM_GET_REGS, &regs) ? 0 : regs.rip;
}

static bool handle(struct kvm_vcpu *v, enum vcpu_exit *exit)
{
    switch (v->run->exit_reason) {
    case KVM_EXIT_X86_RDMSR:
        refuse_msr(v, "read");
        return true;
    case KVM_EXIT_X86_WRMSR:
        refuse_msr(v, "write");
        return true;
    case KVM_EXIT_SHUTDOWN: /* a fault, a fault while taking it, and one more */
        *exit = VCPU_EXIT_CRITICAL;
        return false;
    }
    log_write(LOG_LEVEL_ERROR, LOG_ACCEL,
              "vCPU %" PRIu32 ": KVM gave a reason for leaving the guest that is not known"
              " here (%" PRIu32 ")",
              v->config.hart_id, v->run->exit_reason);
    *exit = VCPU_EXIT_ERROR;
    return false;
}

static const struct kvm_arch arch = {
    .guest = VCPU_GUEST_X86_64,
    .needs = needs,
    .vm_init = vm_init,
    .vcpu_init = vcpu_init,
    .chip_create = kvm_x86_chip_create,
    .handle = handle,
    .pc = pc,
    .get_state = kvm_x86_get_state,
    .set_state = kvm_x86_set_state,
    .debug = &kvm_x86_debug,
};

const struct kvm_arch *const kvm_arch_host = &arch;
