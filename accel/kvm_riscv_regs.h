/* A RISC-V hart's registers by their numbers in KVM's ONE_REG interface (Linux's Documentation/virt/kvm/api.rst, 4.68).
 *
 * The numbers are written out here, not taken from the kernel's header, so that the mapping is compiled and tested on
 * every host; kvm_riscv.c, which is for riscv64 hosts, asserts that the header agrees.
 */
#ifndef TUFF_ACCEL_KVM_RISCV_REGS_H
#define TUFF_ACCEL_KVM_RISCV_REGS_H

#include "base/compiler.h"
#include "engine/vcpu.h"

#include <stdint.h>

enum {
    KVM_RISCV_REGS_MAX = 96,
    KVM_RISCV_TYPE_CONFIG = 1,
    KVM_RISCV_TYPE_CORE = 2,
    KVM_RISCV_TYPE_CSR = 3,
    KVM_RISCV_TYPE_TIMER = 4,
    KVM_RISCV_TYPE_FP_D = 6,
    KVM_RISCV_TYPE_ISA_EXT = 7,
    KVM_RISCV_TYPE_SBI_EXT = 8,
};

/* Number of register `index` of a type, with its size of 4 or 8 bytes. */
static inline uint64_t kvm_riscv_reg_id(unsigned type, unsigned index, unsigned size_bytes)
{
    return UINT64_C(0x8000000000000000) | (size_bytes == 8 ? UINT64_C(3) : UINT64_C(2)) << 52 | (uint64_t)type << 24 |
           index;
}

/* The interface: get() and set() move 4 or 8 bytes by a register's number and return 0 or a negative errno. */
struct kvm_riscv_access {
    int (*get)(void *opaque, uint64_t id, void *value);
    int (*set)(void *opaque, uint64_t id, const void *value);
    void *opaque;
};

/* Moves everything that KVM shows of a hart: x1 to x31, pc, privilege (S or U), S-mode's CSRs, f0 to f31 with fcsr, the
 * timer's compare. What belongs to M-mode KVM keeps to itself: the state's fields stay 0. A hart without D has no f
 * registers, which is no error (-ENOENT, -EINVAL). Returns 0 or what the interface said. */
TUFF_MUST_CHECK int kvm_riscv_get(const struct kvm_riscv_access *access, struct vcpu_state *state);
/* -EINVAL also for a state in M-mode, which no guest of KVM's is in. */
TUFF_MUST_CHECK int kvm_riscv_set(const struct kvm_riscv_access *access, const struct vcpu_state *state);

/* Before the hart runs: those of `wanted` that it has. What KVM would give it besides is switched off where KVM lets
 * us. An extension that KVM has no number for (Linux 6.12) and that follows from none is not had. */
isa_set kvm_riscv_isa(const struct kvm_riscv_access *access, isa_set wanted);
/* Before the hart runs: the SBI has its debug console, where KVM knows it (Linux 6.8); its calls leave the guest. */
void kvm_riscv_offer_console(const struct kvm_riscv_access *access);
/* The frequency of the hart's time, in Hz. Returns 0 or what the interface said. */
TUFF_MUST_CHECK int kvm_riscv_timebase(const struct kvm_riscv_access *access, uint64_t *hz);

#endif
