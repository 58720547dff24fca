/* What the x86-64 side of accel/ shares. */
#ifndef TUFF_ACCEL_KVM_X86_H
#define TUFF_ACCEL_KVM_X86_H

#include "accel/kvm_debug.h"

/* A vCPU's arch_data: the model-specific registers that its state has, and what its CPUID says (VCPU_X86_FEATURES). */
struct kvm_x86 {
    uint32_t features[VCPU_X86_FEATURE_COUNT];
    uint32_t msr_count;
    uint32_t msrs[VCPU_X86_MSRS_MAX];
};

/* kvm_x86_cpuid.c: tells the vCPU what its CPUID instruction says. Returns 0 or a negative errno. */
TUFF_MUST_CHECK int kvm_x86_set_cpuid(struct kvm_vcpu *v);

/* kvm_x86_state.c */
TUFF_MUST_CHECK int kvm_x86_list_msrs(const struct accel_vm *vm, struct kvm_x86 *x86);
void kvm_x86_get_state(struct kvm_vcpu *v, struct vcpu_state *state);
TUFF_MUST_CHECK int kvm_x86_set_state(struct kvm_vcpu *v, const struct vcpu_state *state);

/* kvm_x86_debug.c */
extern const struct kvm_debug_arch kvm_x86_debug;

/* kvm_x86_chip.c: 0 or -ENOMEM. */
TUFF_MUST_CHECK int kvm_x86_chip_create(struct accel_vm *vm, struct device **out);

#endif
