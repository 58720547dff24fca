/* A debugger's points in a guest that KVM runs.
 *
 * Points on data take the processor's own debug registers, points on instructions what is left of these, and the rest
 * are breakpoint instructions that stand in the guest's memory: only while one of the machine's vCPUs runs, so that
 * memory is the guest's whenever the machine stands, for the debugger, devices and snapshots.
 */
#ifndef TUFF_ACCEL_KVM_DEBUG_H
#define TUFF_ACCEL_KVM_DEBUG_H

#include "accel/kvm_internal.h"

/* One architecture's side; NULL in struct kvm_arch: guests cannot be debugged. */
struct kvm_debug_arch {
    unsigned registers;         /* debug registers, at most KVM_DEBUG_REGISTERS_MAX */
    const uint8_t *instruction; /* that of a breakpoint */
    unsigned instruction_bytes; /* at most KVM_PATCH_BYTES_MAX */
    /* How much of a range from `gva` on one register watches: 0 to say that none does. */
    uint64_t (*watchable_bytes)(uint64_t gva, uint64_t len_bytes);
    /* Tells KVM: registers in use, whether patches stand, whether to stop after one instruction. */
    int (*apply)(struct kvm_vcpu *v, bool step);
    /* An exit that may be a stop. Fills `*stop`; false: it is none of the debugger's, and the guest was given it. */
    bool (*stopped)(struct kvm_vcpu *v, struct vcpu_stop *stop);
};

/* Has this vCPU a patch at an address? */
bool kvm_debug_has_patch(struct kvm_vcpu *v, uint64_t gva);

/* Around a stay of the vCPU in the guest: patches are in memory in between. Own thread. */
void kvm_debug_enter(struct kvm_vcpu *v);
void kvm_debug_leave(struct kvm_vcpu *v);

/* The vCPU's exit was KVM_EXIT_DEBUG, or another one where a breakpoint stands. True: the debugger's, and last_stop
 * says what. */
bool kvm_debug_stopped(struct kvm_vcpu *v);

/* vcpu_ops. */
int kvm_debug_set_points(struct vcpu *vcpu, const struct vcpu_point *points, uint32_t count);
struct vcpu_stop kvm_debug_last_stop(const struct vcpu *vcpu);
enum vcpu_exit kvm_debug_step(struct vcpu *vcpu);
int kvm_debug_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa);
struct mem *kvm_debug_memory(struct vcpu *vcpu);

/* What of the VM is the debugger's: to be called by its creation and destruction. */
void kvm_debug_init(struct accel_vm *vm);
void kvm_debug_fini(struct accel_vm *vm);

#endif
