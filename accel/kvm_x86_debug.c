/* Debug registers and breakpoint instructions of x86 (Intel SDM volume 3, chapter 18), through KVM_SET_GUEST_DEBUG.
 * While the debugger has points the guest's own debug registers do not work; they come back afterwards. */
#include "accel/kvm_x86.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

enum { REGISTERS = 4, VECTOR_DEBUG = 1, VECTOR_BREAKPOINT = 3 };
enum { DR6_STEP = 1 << 14, DR7_FIXED = 1 << 10, DR7_EXACT = 3 << 8 };

static const uint8_t int3 = 0xcc;

/* 1, 2, 4 or 8 bytes at a multiple of their number. */
static uint64_t watchable_bytes(uint64_t gva, uint64_t len_bytes)
{
    uint64_t bytes = 8;

    while (gva % bytes || bytes > len_bytes)
        bytes /= 2;
    return bytes;
}

/* Bits of DR7 for register n: its global enable, kind and length. */
static uint64_t control_of(const struct vcpu_point *p, unsigned n)
{
    static const uint8_t lengths[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    uint64_t kind = p->kinds & VCPU_POINT_EXECUTE ? 0 : p->kinds & VCPU_POINT_READ ? 3 : 1;

    return UINT64_C(2) << 2 * n | (kind | (uint64_t)lengths[p->len_bytes] << 2) << (16 + 4 * n);
}

static bool has_patches(const struct kvm_vcpu *v)
{
    const struct kvm_debug *debug = &v->vm->debug;

    for (uint32_t i = 0; i < debug->patch_count; i++) {
        if (debug->patches[i].vcpus >> v->config.hart_id & 1)
            return true;
    }
    return false;
}

/* Interrupts wait while one instruction is run, where this KVM can do that. */
static uint32_t step_control(const struct kvm_vcpu *v)
{
    int known = kvm_ioctl_number(v->vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);

    return KVM_GUESTDBG_SINGLESTEP | (known > 0 ? (uint32_t)known & KVM_GUESTDBG_BLOCKIRQ : 0);
}

static int apply(struct kvm_vcpu *v, bool step)
{
    struct kvm_guest_debug debug = {.control = step ? step_control(v) : 0};
    uint64_t control = 0;

    for (unsigned i = 0; i < v->debug_register_count; i++) {
        const struct vcpu_point *p = &v->debug_registers[i];
        debug.arch.debugreg[i] = p->gva;
        /* A step goes past the breakpoint it begins at. */
        if (!step || !(p->kinds & VCPU_POINT_EXECUTE))
            control |= control_of(p, i);
    }
    if (control) {
        debug.control |= KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[7] = control | DR7_FIXED | DR7_EXACT;
    }
    if (!step && has_patches(v))
        debug.control |= KVM_GUESTDBG_USE_SW_BP;
    if (debug.control)
        debug.control |= KVM_GUESTDBG_ENABLE;
    int rc = kvm_ioctl(v->fd, KVM_SET_GUEST_DEBUG, &debug);
    return rc == -EINVAL || rc == -ENOTTY ? -ENOTSUP : rc;
}

/* What the guest would have got without a debugger. */
static void give_to_guest(struct kvm_vcpu *v, uint8_t vector)
{
    struct kvm_vcpu_events events = {0};
    int rc = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events);

    events.flags = 0;
    events.exception.injected = 1;
    events.exception.nr = vector;
    events.exception.has_error_code = 0;
    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events);
    if (rc)
        log_warn(LOG_ACCEL, "exception %u was lost under a debugger: %s", vector, strerrordesc_np(-rc));
}

static struct vcpu_stop stop_of(const struct vcpu_point *p)
{
    enum vcpu_stop_kind kind = VCPU_STOP_BREAKPOINT;

    if ((p->kinds & VCPU_POINT_READ) && (p->kinds & VCPU_POINT_WRITE))
        kind = VCPU_STOP_ACCESS;
    else if (p->kinds & VCPU_POINT_READ)
        kind = VCPU_STOP_READ;
    else if (p->kinds & VCPU_POINT_WRITE)
        kind = VCPU_STOP_WRITE;
    return (struct vcpu_stop){.kind = kind, .gva = p->gva};
}

static bool debug_exception(struct kvm_vcpu *v, struct vcpu_stop *stop)
{
    uint64_t causes = v->run->debug.arch.dr6;

    for (unsigned i = 0; i < v->debug_register_count; i++) {
        if (causes >> i & 1) {
            *stop = stop_of(&v->debug_registers[i]);
            return true;
        }
    }
    if (!v->stepping && !(causes & DR6_STEP)) {
        give_to_guest(v, VECTOR_DEBUG);
        return false;
    }
    *stop = (struct vcpu_stop){.kind = VCPU_STOP_STEP};
    return true;
}

static bool stopped(struct kvm_vcpu *v, struct vcpu_stop *stop)
{
    uint64_t at = kvm_arch_host->pc(v);

    if (v->run->exit_reason == KVM_EXIT_DEBUG && v->run->debug.arch.exception != VECTOR_BREAKPOINT)
        return debug_exception(v, stop);
    /* A KVM that emulates ring 0 may not know the instruction, and fails where it stands. */
    if (kvm_debug_has_patch(v, at)) {
        *stop = (struct vcpu_stop){.kind = VCPU_STOP_BREAKPOINT, .gva = at};
        return true;
    }
    if (v->run->exit_reason == KVM_EXIT_DEBUG)
        give_to_guest(v, VECTOR_BREAKPOINT);
    return false;
}

const struct kvm_debug_arch kvm_x86_debug = {
    .registers = REGISTERS,
    .instruction = &int3,
    .instruction_bytes = sizeof(int3),
    .watchable_bytes = watchable_bytes,
    .apply = apply,
    .stopped = stopped,
};

_Static_assert(REGISTERS <= KVM_DEBUG_REGISTERS_MAX && sizeof(int3) <= KVM_PATCH_BYTES_MAX, "room for them");
