/* Guests that the host's processor runs itself, through KVM: a virtual machine, and the vCPU back end (engine/vcpu.h)
 * whose vCPUs belong to it. Nothing outside accel/ and the boards that put this to use knows that KVM exists.
 *
 * Works for guests of the host's own instruction set: x86-64, riscv64. On x86 the interrupt controllers (the two 8259s,
 * the I/O APIC, the local APICs) and the 8254 timer are the kernel's. On riscv64 the SBI and the harts' timers are, and
 * with them which harts run. Everything else is a device of ours.
 */
#ifndef TUFF_ACCEL_ACCEL_H
#define TUFF_ACCEL_ACCEL_H

#include "base/compiler.h"
#include "base/error.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "engine/vcpu.h"

#include <stdbool.h>
#include <stdint.h>

struct accel_vm;
struct mem;

struct accel_vm_config {
    struct mem *mem; /* borrowed; its RAM is there already, and it outlives the virtual machine */
    enum vcpu_guest guest;
    uint32_t vcpu_count;
};

/* Can guests of that instruction set, with so many vCPUs, be run here? 0, or a negative errno with the reason in one
 * line: -ENOTSUP (other instruction set, capability missing), -ENOENT (no /dev/kvm), -EACCES, -EINVAL (too many vCPUs).
 * Creates nothing that stays. */
TUFF_MUST_CHECK int accel_probe(enum vcpu_guest guest, uint32_t vcpu_count, struct error *reason);

/* The back end for guests of that instruction set; NULL: none for this host. */
const struct vcpu_ops *accel_vcpu_ops(enum vcpu_guest guest);

/* Errors as accel_probe(), or what the kernel said. */
TUFF_MUST_CHECK int accel_vm_create(const struct accel_vm_config *config, struct accel_vm **out, struct error *err);
/* After its vCPUs. */
void accel_vm_destroy(struct accel_vm *vm);

/* A line into the kernel's interrupt controllers: a source of the APLIC; on x86 an ISA interrupt (0 to 15, of both the
 * 8259s and the I/O APIC) or an input of the I/O APIC (16 to 23). Any thread. */
struct irq_line accel_irq_line(struct accel_vm *vm, uint32_t number);

/* The same for a line that the guest takes by its edge: each rise is one interrupt, told to the kernel through an
 * eventfd. Returns 0 or a negative errno. Before vCPUs run. */
TUFF_MUST_CHECK int accel_irq_edge(struct accel_vm *vm, uint32_t number, struct irq_line *out);

/* Any thread: stores a message-signalled interrupt. */
void accel_message(struct accel_vm *vm, uint64_t gpa, uint32_t data);

/* Guest stores of `size_bytes` with value `value` at `gpa` write to the eventfd `fd` and do not come to the device,
 * until accel_doorbell_remove() of the same or the virtual machine's destruction. Returns 0, -EEXIST where such stores
 * go to another one, or another negative errno. Any thread. */
TUFF_MUST_CHECK int accel_doorbell(struct accel_vm *vm, uint64_t gpa, unsigned size_bytes, uint32_t value, int fd);
void accel_doorbell_remove(struct accel_vm *vm, uint64_t gpa, unsigned size_bytes, uint32_t value, int fd);

/* The kernel's interrupt controllers and timer as a device, for what is saved: the caller's from the first call on,
 * which destroys it before the virtual machine. NULL: taken already, or there is none. */
struct device *accel_vm_take_chip(struct accel_vm *vm);

/* RISC-V, of each vCPU before it runs: which of the extensions wanted the hart has; the others are not told to the
 * guest, and switched off where the kernel lets us. And how fast its time goes, in Hz: the host's, not the board's. */
isa_set accel_hart_isa(struct vcpu *vcpu, isa_set wanted);
TUFF_MUST_CHECK int accel_hart_timebase(struct vcpu *vcpu, uint64_t *hz);

/* RISC-V: S-mode's APLIC, which sends messages, and IMSICs are the kernel's from here on, at these addresses: an
 * interrupt file of a page for each hart. After the vCPUs, before they run. accel_irq_line() is then the line into
 * a source of the APLIC, and accel_message() reaches the files. -ENOTSUP, -ENODEV: the host has none. */
struct accel_aia_config {
    uint64_t aplic_gpa, imsic_gpa;
    uint32_t hart_count, sources, identities;
};
TUFF_MUST_CHECK int accel_aia_create(struct accel_vm *vm, const struct accel_aia_config *config, struct error *err);

#endif
