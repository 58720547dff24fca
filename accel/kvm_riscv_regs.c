/* See kvm_riscv_regs.h. One table; both directions walk it. */
#include "accel/kvm_riscv_regs.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Indices into struct kvm_riscv_core, _csr, _timer and __riscv_d_ext_state, in units of the register. */
enum { CONFIG_ZICBOM_BLOCK = 1, CONFIG_ZICBOZ_BLOCK = 5, CONFIG_SATP_MODE = 6, TIMER_FREQUENCY = 0 };
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

/* X(number among KVM's extensions, ISA_EXT_...) */
#define EXTENSIONS(X)  \
    X(0, A)            \
    X(1, C)            \
    X(2, D)            \
    X(3, F)            \
    X(6, M)            \
    X(7, SVPBMT)       \
    X(8, SSTC)         \
    X(9, SVINVAL)      \
    X(10, ZIHINTPAUSE) \
    X(11, ZICBOM)      \
    X(12, ZICBOZ)      \
    X(13, ZBB)         \
    X(16, SVNAPOT)     \
    X(17, ZBA)         \
    X(18, ZBS)         \
    X(19, ZICNTR)      \
    X(22, ZIHPM)       \
    X(23, SMSTATEEN)   \
    X(24, ZICOND)      \
    X(25, ZBC)         \
    X(26, ZBKB)        \
    X(27, ZBKC)        \
    X(28, ZBKX)        \
    X(29, ZKND)        \
    X(30, ZKNE)        \
    X(31, ZKNH)        \
    X(32, ZKR)         \
    X(33, ZKSED)       \
    X(34, ZKSH)        \
    X(46, ZFH)         \
    X(47, ZFHMIN)      \
    X(48, ZIHINTNTL)   \
    X(51, ZFA)         \
    X(52, ZTSO)        \
    X(53, ZACAS)       \
    X(54, SSCOFPMF)    \
    X(55, ZIMOP)       \
    X(57, ZCB)         \
    X(60, ZCMOP)       \
    X(61, ZAWRS)

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

static bool has_extension(const struct kvm_riscv_access *access, unsigned number, bool wanted)
{
    uint64_t value = 0;

    if (get64(access, KVM_RISCV_TYPE_ISA_EXT, number, &value) || !value)
        return false;
    if (!wanted) /* refused for those that the host's processor cannot withhold */
        (void)!set64(access, KVM_RISCV_TYPE_ISA_EXT, number, 0);
    return true;
}

/* 0 where the interface does not say. */
static uint64_t config_value(const struct kvm_riscv_access *access, unsigned index)
{
    uint64_t value = 0;

    return get64(access, KVM_RISCV_TYPE_CONFIG, index, &value) ? 0 : value;
}

isa_set kvm_riscv_isa(const struct kvm_riscv_access *access, isa_set wanted)
{
    enum { SATP_SV48 = 9, SATP_SV57 = 10 };
    isa_set has = ISA_EXT(I) | ISA_EXT(ZICSR) | ISA_EXT(ZIFENCEI);
    uint64_t mode = config_value(access, CONFIG_SATP_MODE);

#define X(number, id)                                        \
    if (has_extension(access, number, wanted & ISA_EXT(id))) \
        has |= ISA_EXT(id);
    EXTENSIONS(X)
#undef X
    has |= has & ISA_EXT(M) ? ISA_EXT(ZMMUL) : 0;
    has |= mode >= SATP_SV48 ? ISA_EXT(SV48) : 0;
    has |= mode >= SATP_SV57 ? ISA_EXT(SV57) : 0;
    /* The board's tree says what size blocks have. */
    if (config_value(access, CONFIG_ZICBOM_BLOCK) != ISA_BLOCK_BYTES)
        has &= ~ISA_EXT(ZICBOM);
    if (config_value(access, CONFIG_ZICBOZ_BLOCK) != ISA_BLOCK_BYTES)
        has &= ~ISA_EXT(ZICBOZ);
    return wanted & has;
}

void kvm_riscv_offer_console(const struct kvm_riscv_access *access)
{
    enum { SBI_EXT_DBCN = 9 };

    (void)!set64(access, KVM_RISCV_TYPE_SBI_EXT, SBI_EXT_DBCN, 1);
}

int kvm_riscv_timebase(const struct kvm_riscv_access *access, uint64_t *hz)
{
    return get64(access, KVM_RISCV_TYPE_TIMER, TIMER_FREQUENCY, hz);
}
