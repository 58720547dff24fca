/* See kvm_riscv_regs.h. One table; both directions walk it. */
#include "accel/kvm_riscv_regs.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Indices into struct kvm_riscv_core, _csr, _timer and __riscv_d_ext_state, in units of the register. */
enum { CORE_PC = 0, CORE_X1 = 1, CORE_MODE = 32, TIMER_COMPARE = 2, TIMER_STATE = 3, FP_D_FCSR = 32 };
enum { TIMER_OFF, TIMER_ON };

/* X(index, field): S-mode's registers; sstatus, sie and sip are views of M-mode's. */
#define CSRS(X)    \
    X(0, mstatus)  \
    X(1, mie)      \
    X(2, stvec)    \
    X(3, sscratch) \
    X(4, sepc)     \
    X(5, scause)   \
    X(6, stval)    \
    X(7, mip)      \
    X(8, satp)     \
    X(9, scounteren)

static int get64(const struct kvm_riscv_access *access, unsigned type, unsigned index, uint64_t *value)
{
    return access->get(access->opaque, kvm_riscv_reg_id(type, index, 8), value);
}

static int set64(const struct kvm_riscv_access *access, unsigned type, unsigned index, uint64_t value)
{
    return access->set(access->opaque, kvm_riscv_reg_id(type, index, 8), &value);
}

static int get_fp(const struct kvm_riscv_access *access, struct vcpu_state *state)
{
    int rc = 0;

    for (unsigned i = 0; i < 32 && rc == 0; i++)
        rc = get64(access, KVM_RISCV_TYPE_FP_D, i, &state->f[i]);
    if (rc == -ENOENT || rc == -EINVAL)
        return 0;
    return rc ? rc : access->get(access->opaque, kvm_riscv_reg_id(KVM_RISCV_TYPE_FP_D, FP_D_FCSR, 4), &state->fcsr);
}

static int set_fp(const struct kvm_riscv_access *access, const struct vcpu_state *state)
{
    int rc = 0;

    for (unsigned i = 0; i < 32 && rc == 0; i++)
        rc = set64(access, KVM_RISCV_TYPE_FP_D, i, state->f[i]);
    if (rc == -ENOENT || rc == -EINVAL)
        return 0;
    return rc ? rc : access->set(access->opaque, kvm_riscv_reg_id(KVM_RISCV_TYPE_FP_D, FP_D_FCSR, 4), &state->fcsr);
}

/* Linux (6.12 was seen) refuses to put out a timer that is out. */
static int set_timer(const struct kvm_riscv_access *access, uint64_t compare)
{
    uint64_t now = TIMER_OFF, wanted = compare == UINT64_MAX ? TIMER_OFF : TIMER_ON;
    int rc = get64(access, KVM_RISCV_TYPE_TIMER, TIMER_STATE, &now);

    if (rc == 0)
        rc = set64(access, KVM_RISCV_TYPE_TIMER, TIMER_COMPARE, compare);
    if (rc == 0 && (wanted == TIMER_ON || now == TIMER_ON))
        rc = set64(access, KVM_RISCV_TYPE_TIMER, TIMER_STATE, wanted);
    return rc;
}

int kvm_riscv_get(const struct kvm_riscv_access *access, struct vcpu_state *state)
{
    uint64_t mode = 0, timer = TIMER_OFF;
    int rc = get64(access, KVM_RISCV_TYPE_CORE, CORE_PC, &state->pc);

    for (unsigned i = 1; i < 32 && rc == 0; i++)
        rc = get64(access, KVM_RISCV_TYPE_CORE, CORE_X1 + i - 1, &state->x[i]);
    if (rc == 0)
        rc = get64(access, KVM_RISCV_TYPE_CORE, CORE_MODE, &mode);
    state->priv = mode ? VCPU_PRIV_S : VCPU_PRIV_U;
#define X(index, field) \
    if (rc == 0)        \
        rc = get64(access, KVM_RISCV_TYPE_CSR, index, &state->field);
    CSRS(X)
#undef X
    if (rc == 0)
        rc = get64(access, KVM_RISCV_TYPE_TIMER, TIMER_STATE, &timer);
    state->stimecmp = UINT64_MAX;
    if (rc == 0 && timer == TIMER_ON)
        rc = get64(access, KVM_RISCV_TYPE_TIMER, TIMER_COMPARE, &state->stimecmp);
    return rc ? rc : get_fp(access, state);
}

int kvm_riscv_set(const struct kvm_riscv_access *access, const struct vcpu_state *state)
{
    if (state->priv != VCPU_PRIV_S && state->priv != VCPU_PRIV_U)
        return -EINVAL;
    int rc = set64(access, KVM_RISCV_TYPE_CORE, CORE_PC, state->pc);
    for (unsigned i = 1; i < 32 && rc == 0; i++)
        rc = set64(access, KVM_RISCV_TYPE_CORE, CORE_X1 + i - 1, state->x[i]);
    if (rc == 0)
        rc = set64(access, KVM_RISCV_TYPE_CORE, CORE_MODE, state->priv == VCPU_PRIV_S);
#define X(index, field) \
    if (rc == 0)        \
        rc = set64(access, KVM_RISCV_TYPE_CSR, index, state->field);
    CSRS(X)
#undef X
    if (rc == 0)
        rc = set_timer(access, state->stimecmp);
    return rc ? rc : set_fp(access, state);
}
