/* KVM on riscv64 hosts: the hart's registers by ONE_REG, its interrupt line, the SBI calls that the kernel leaves to
 * us. Compiled by CI for riscv64; run inside QEMU (docs/kvm.md), never on hardware. */
#include "accel/kvm_internal.h"
#include "accel/kvm_riscv_regs.h"

#include "base/log.h"

#include <asm/kvm.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* The header's numbers are those of kvm_riscv_regs.c. */
_Static_assert(KVM_REG_RISCV_CORE >> KVM_REG_RISCV_TYPE_SHIFT == KVM_RISCV_TYPE_CORE &&
                   KVM_REG_RISCV_CSR >> KVM_REG_RISCV_TYPE_SHIFT == KVM_RISCV_TYPE_CSR &&
                   KVM_REG_RISCV_TIMER >> KVM_REG_RISCV_TYPE_SHIFT == KVM_RISCV_TYPE_TIMER &&
                   KVM_REG_RISCV_FP_D >> KVM_REG_RISCV_TYPE_SHIFT == KVM_RISCV_TYPE_FP_D,
               "types");
_Static_assert((KVM_REG_RISCV | KVM_REG_SIZE_U64) == (UINT64_C(0x8000000000000000) | UINT64_C(3) << 52), "sizes");
_Static_assert(KVM_REG_RISCV_CORE_REG(regs.pc) == 0 && KVM_REG_RISCV_CORE_REG(regs.ra) == 1 &&
                   KVM_REG_RISCV_CORE_REG(regs.t6) == 31 && KVM_REG_RISCV_CORE_REG(mode) == 32,
               "core registers");
_Static_assert(KVM_REG_RISCV_CSR_REG(sstatus) == 0 && KVM_REG_RISCV_CSR_REG(sip) == 7 &&
                   KVM_REG_RISCV_CSR_REG(scounteren) == 9,
               "CSRs");
_Static_assert(KVM_REG_RISCV_TIMER_REG(compare) == 2 && KVM_REG_RISCV_TIMER_REG(state) == 3, "timer");

static const struct kvm_need needs[] = {
    {KVM_CAP_USER_MEMORY, "memory of this program's"},
    {KVM_CAP_ONE_REG, "registers by number"},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exits"},
    {0, NULL},
};

static int get_reg(void *opaque, uint64_t id, void *value)
{
    const struct kvm_vcpu *v = opaque;
    struct kvm_one_reg reg = {.id = id, .addr = (uint64_t)(uintptr_t)value};

    return kvm_ioctl(v->fd, KVM_GET_ONE_REG, &reg);
}

static int set_reg(void *opaque, uint64_t id, const void *value)
{
    const struct kvm_vcpu *v = opaque;
    struct kvm_one_reg reg = {.id = id, .addr = (uint64_t)(uintptr_t)value};

    return kvm_ioctl(v->fd, KVM_SET_ONE_REG, &reg);
}

static struct kvm_riscv_access access_of(const struct kvm_vcpu *v)
{
    return (struct kvm_riscv_access){.get = get_reg, .set = set_reg, .opaque = (void *)(uintptr_t)v};
}

static void get_state(struct kvm_vcpu *v, struct vcpu_state *state)
{
    struct kvm_riscv_access access = access_of(v);
    int rc = kvm_riscv_get(&access, state);

    if (rc)
        log_write(LOG_LEVEL_ERROR, LOG_ACCEL, "the state of hart %" PRIu32 " cannot be read: %s", v->config.hart_id,
                  strerrordesc_np(-rc));
}

static int set_state(struct kvm_vcpu *v, const struct vcpu_state *state)
{
    struct kvm_riscv_access access = access_of(v);

    return kvm_riscv_set(&access, state);
}

static uint64_t pc(const struct kvm_vcpu *v)
{
    uint64_t value = 0;

    (void)get_reg((void *)(uintptr_t)v, kvm_riscv_reg_id(KVM_RISCV_TYPE_CORE, 0, 8), &value);
    return value;
}

/* A PLIC of ours drives the one line that KVM has without an in-kernel AIA. */
static void set_irq(struct kvm_vcpu *v, enum vcpu_irq irq, bool level)
{
    struct kvm_interrupt line = {.irq = level ? (uint32_t)KVM_INTERRUPT_SET : (uint32_t)KVM_INTERRUPT_UNSET};

    if (irq == VCPU_IRQ_SEI)
        (void)kvm_ioctl(v->fd, KVM_INTERRUPT, &line);
}

static enum vcpu_action call(struct kvm_vcpu *v, const uint64_t args[8], uint64_t ret[2])
{
    static const uint64_t not_supported = (uint64_t)-2; /* SBI_ERR_NOT_SUPPORTED */

    ret[0] = not_supported;
    ret[1] = 0;
    KVM_COUNT(v, ecalls, 1);
    return v->config.env->kernel_sbi ? v->config.env->kernel_sbi(v->config.env_opaque, v->config.hart_id, args, ret)
                                     : VCPU_ACTION_RESUME;
}

/* KVM answers most calls itself; the console's come here. */
static enum vcpu_action answer_sbi(struct kvm_vcpu *v)
{
    uint64_t args[8] = {0}, ret[2];

    for (unsigned i = 0; i < 6; i++)
        args[i] = v->run->riscv_sbi.args[i];
    args[6] = v->run->riscv_sbi.function_id;
    args[7] = v->run->riscv_sbi.extension_id;
    enum vcpu_action action = call(v, args, ret);
    v->run->riscv_sbi.ret[0] = ret[0];
    v->run->riscv_sbi.ret[1] = ret[1];
    v->unfinished = true;
    return action;
}

/* SRST's, and KVM's own word for a guest that it cannot go on with. */
static void end(struct kvm_vcpu *v)
{
    enum { SRST = 0x53525354, SHUTDOWN = 0, COLD_REBOOT = 1 };
    bool reset = v->run->system_event.type == KVM_SYSTEM_EVENT_RESET;
    uint64_t args[8] = {reset ? COLD_REBOOT : SHUTDOWN, v->run->system_event.data[0], [7] = SRST}, ret[2];

    if (v->run->system_event.type == KVM_SYSTEM_EVENT_CRASH)
        args[1] = 1; /* "system failure" */
    (void)call(v, args, ret);
}

static bool handle(struct kvm_vcpu *v, enum vcpu_exit *exit)
{
    *exit = VCPU_EXIT_STOPPED;
    switch (v->run->exit_reason) {
    case KVM_EXIT_RISCV_SBI:
        return answer_sbi(v) != VCPU_ACTION_STOP;
    case KVM_EXIT_SYSTEM_EVENT:
        end(v);
        return false;
    }
    log_write(LOG_LEVEL_ERROR, LOG_ACCEL,
              "hart %" PRIu32 ": KVM gave a reason for leaving the guest that is not known"
              " here (%" PRIu32 ")",
              v->config.hart_id, v->run->exit_reason);
    *exit = VCPU_EXIT_ERROR;
    return false;
}

static isa_set isa(struct kvm_vcpu *v, isa_set wanted)
{
    struct kvm_riscv_access access = access_of(v);

    kvm_riscv_offer_console(&access);
    return kvm_riscv_isa(&access, wanted);
}

static int timebase(struct kvm_vcpu *v, uint64_t *hz)
{
    struct kvm_riscv_access access = access_of(v);

    return kvm_riscv_timebase(&access, hz);
}

static int vm_init(struct accel_vm *vm, struct error *err)
{
    (void)vm, (void)err;
    return 0;
}

static int vcpu_init(struct kvm_vcpu *v)
{
    (void)v;
    return 0;
}

static const struct kvm_arch arch = {
    .guest = VCPU_GUEST_RISCV64,
    .needs = needs,
    .vm_init = vm_init,
    .vcpu_init = vcpu_init,
    .handle = handle,
    .pc = pc,
    .get_state = get_state,
    .set_state = set_state,
    .set_irq = set_irq,
    .isa = isa,
    .timebase = timebase,
    .aia_create = kvm_riscv_aia_create,
};

const struct kvm_arch *const kvm_arch_host = &arch;
