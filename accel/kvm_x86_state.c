/* An x86-64 vCPU's state between KVM's structures and the neutral one.
 *
 * Order on the way in: control registers come before the model-specific registers that depend on them, the local APIC
 * before the deadline of its timer, pending events last.
 */
#include "accel/kvm_x86.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- which model-specific registers ---- */

/* The kernel's list leaves the memory-type ranges out. */
static const struct {
    uint32_t first, count;
} memory_types[] = {{0x2ff, 1}, {0x200, 16}, {0x250, 1}, {0x258, 2}, {0x268, 8}};

/* Performance counters, which the guest does not have, and another hypervisor's interface, which it is not offered. */
static bool is_left_out(uint32_t msr)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0xc1, 0xd2},
                  {0x186, 0x197},
                  {0x309, 0x30c},
                  {0x345, 0x345},
                  {0x38d, 0x392},
                  {0x3f1, 0x3f2},
                  {0x480, 0x4ff},
                  {0x600, 0x600},
                  {0x40000000, 0x400001ff},
                  {0xc0010000, 0xc0010007},
                  {0xc0010200, 0xc001020b}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(ranges); i++) {
        if (msr >= ranges[i].first && msr <= ranges[i].last)
            return true;
    }
    return false;
}

static void list_one(struct kvm_x86 *x86, uint32_t msr)
{
    if (x86->msr_count < VCPU_X86_MSRS_MAX && !is_left_out(msr))
        x86->msrs[x86->msr_count++] = msr;
}

int kvm_x86_list_msrs(const struct accel_vm *vm, struct kvm_x86 *x86)
{
    enum { LIST_MAX = 1024 };
    struct kvm_msr_list *list = calloc(1, sizeof(*list) + LIST_MAX * sizeof(list->indices[0]));

    if (!list)
        return -ENOMEM;
    list->nmsrs = LIST_MAX;
    int rc = kvm_ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
    for (uint32_t i = 0; rc == 0 && i < list->nmsrs; i++)
        list_one(x86, list->indices[i]);
    for (size_t i = 0; rc == 0 && i < TUFF_ARRAY_LEN(memory_types); i++) {
        for (uint32_t n = 0; n < memory_types[i].count; n++)
            list_one(x86, memory_types[i].first + n);
    }
    free(list);
    return rc;
}

static bool is_listed(const struct kvm_x86 *x86, uint32_t msr)
{
    for (uint32_t i = 0; i < x86->msr_count; i++) {
        if (x86->msrs[i] == msr)
            return true;
    }
    return false;
}

/* One at a time: of a list the kernel stops at the first it does not take. Returns true when it did. */
static bool move_msr(const struct kvm_vcpu *v, unsigned long request, struct vcpu_x86_msr *msr)
{
    _Alignas(struct kvm_msrs) uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = {0};
    struct kvm_msrs *one = (struct kvm_msrs *)bytes;

    one->nmsrs = 1;
    one->entries[0] = (struct kvm_msr_entry){.index = msr->index, .data = msr->value};
    bool done = kvm_ioctl(v->fd, request, one) == 1;
    msr->value = one->entries[0].data;
    return done;
}

static void get_msrs(struct kvm_vcpu *v, struct vcpu_x86_state *x)
{
    const struct kvm_x86 *x86 = v->arch_data;

    for (uint32_t i = 0; i < x86->msr_count; i++) {
        struct vcpu_x86_msr msr = {.index = x86->msrs[i]};
        if (move_msr(v, KVM_GET_MSRS, &msr))
            x->msrs[x->msr_count++] = msr;
    }
}

/* What differs from what is there. Some registers can be read only; their value is the machine's, not the guest's. */
static void set_msrs(struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    for (uint32_t i = 0; i < x->msr_count; i++) {
        struct vcpu_x86_msr now = {.index = x->msrs[i].index}, wanted = x->msrs[i];
        if (move_msr(v, KVM_GET_MSRS, &now) && now.value == wanted.value)
            continue;
        if (!move_msr(v, KVM_SET_MSRS, &wanted))
            log_warn(LOG_ACCEL, "model-specific register 0x%" PRIx32 " does not take 0x%" PRIx64, x->msrs[i].index,
                     x->msrs[i].value);
    }
}

/* ---- registers ---- */

static void get_segment(const struct kvm_segment *from, struct vcpu_x86_segment *to)
{
    to->base = from->base;
    to->limit = from->limit;
    to->selector = from->selector;
    to->attributes = (uint32_t)(from->type & 0xf) | (uint32_t)(from->s & 1) << 4 | (uint32_t)(from->dpl & 3) << 5 |
                     (uint32_t)(from->present & 1) << 7 | (uint32_t)(from->avl & 1) << 12 |
                     (uint32_t)(from->l & 1) << 13 | (uint32_t)(from->db & 1) << 14 | (uint32_t)(from->g & 1) << 15 |
                     (uint32_t)(from->unusable & 1) << 16;
}

static void set_segment(const struct vcpu_x86_segment *from, struct kvm_segment *to)
{
    uint32_t a = from->attributes;

    *to = (struct kvm_segment){.base = from->base,
                               .limit = from->limit,
                               .selector = from->selector,
                               .type = a & 0xf,
                               .s = a >> 4 & 1,
                               .dpl = a >> 5 & 3,
                               .present = a >> 7 & 1,
                               .avl = a >> 12 & 1,
                               .l = a >> 13 & 1,
                               .db = a >> 14 & 1,
                               .g = a >> 15 & 1,
                               .unusable = a >> 16 & 1};
}

/* X(index in the neutral state, member of struct kvm_sregs) */
#define SEGMENTS(X)      \
    X(VCPU_X86_ES, es)   \
    X(VCPU_X86_CS, cs)   \
    X(VCPU_X86_SS, ss)   \
    X(VCPU_X86_DS, ds)   \
    X(VCPU_X86_FS, fs)   \
    X(VCPU_X86_GS, gs)   \
    X(VCPU_X86_LDT, ldt) \
    X(VCPU_X86_TR, tr)

#define CONTROL_REGISTERS(X) \
    X(cr0)                   \
    X(cr2)                   \
    X(cr3)                   \
    X(cr4)                   \
    X(cr8)                   \
    X(efer)                  \
    X(apic_base)

/* X(number in instructions, member of struct kvm_regs) */
#define GENERAL_REGISTERS(X) \
    X(0, rax)                \
    X(1, rcx)                \
    X(2, rdx)                \
    X(3, rbx)                \
    X(4, rsp)                \
    X(5, rbp)                \
    X(6, rsi)                \
    X(7, rdi)                \
    X(8, r8)                 \
    X(9, r9)                 \
    X(10, r10)               \
    X(11, r11)               \
    X(12, r12)               \
    X(13, r13)               \
    X(14, r14)               \
    X(15, r15)

static int get_registers(const struct kvm_vcpu *v, struct vcpu_x86_state *x)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    int rc = kvm_ioctl(v->fd, KVM_GET_REGS, &regs);

    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
    if (rc)
        return rc;
#define X(number, name) x->gpr[number] = regs.name;
    GENERAL_REGISTERS(X)
#undef X
    x->rip = regs.rip;
    x->rflags = regs.rflags;
#define X(index, name) get_segment(&sregs.name, &x->segments[index]);
    SEGMENTS(X)
#undef X
#define X(name) x->name = sregs.name;
    CONTROL_REGISTERS(X)
#undef X
    x->gdt = (struct vcpu_x86_table){sregs.gdt.base, sregs.gdt.limit};
    x->idt = (struct vcpu_x86_table){sregs.idt.base, sregs.idt.limit};
    return 0;
}

static int set_registers(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    struct kvm_regs regs = {.rip = x->rip, .rflags = x->rflags};
    struct kvm_sregs sregs = {.gdt = {.base = x->gdt.base, .limit = x->gdt.limit},
                              .idt = {.base = x->idt.base, .limit = x->idt.limit}};

#define X(number, name) regs.name = x->gpr[number];
    GENERAL_REGISTERS(X)
#undef X
#define X(index, name) set_segment(&x->segments[index], &sregs.name);
    SEGMENTS(X)
#undef X
#define X(name) sregs.name = x->name;
    CONTROL_REGISTERS(X)
#undef X
    int rc = kvm_ioctl(v->fd, KVM_SET_SREGS, &sregs);
    return rc ? rc : kvm_ioctl(v->fd, KVM_SET_REGS, &regs);
}

/* ---- the rest ---- */

static int get_vectors(const struct kvm_vcpu *v, struct vcpu_x86_state *x)
{
    struct kvm_xcrs xcrs = {0};
    int rc = kvm_ioctl(v->fd, KVM_GET_XSAVE, x->xsave);

    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_GET_XCRS, &xcrs);
    x->xcr0 = 1;
    for (uint32_t i = 0; rc == 0 && i < xcrs.nr_xcrs && i < KVM_MAX_XCRS; i++) {
        if (xcrs.xcrs[i].xcr == 0)
            x->xcr0 = xcrs.xcrs[i].value;
    }
    return rc;
}

static int set_vectors(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = x->xcr0}}};
    int rc = kvm_ioctl(v->fd, KVM_SET_XCRS, &xcrs);

    return rc ? rc : kvm_ioctl(v->fd, KVM_SET_XSAVE, (void *)(uintptr_t)x->xsave);
}

_Static_assert(sizeof(struct kvm_xsave) == VCPU_X86_XSAVE_BYTES, "the XSAVE area");
_Static_assert(sizeof(struct kvm_lapic_state) == VCPU_X86_LAPIC_BYTES, "the local APIC's registers");

static int get_debug(const struct kvm_vcpu *v, struct vcpu_x86_state *x)
{
    struct kvm_debugregs debug = {0};
    int rc = kvm_ioctl(v->fd, KVM_GET_DEBUGREGS, &debug);

    memcpy(x->dr, debug.db, sizeof(x->dr));
    x->dr6 = debug.dr6;
    x->dr7 = debug.dr7;
    return rc;
}

static int set_debug(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    struct kvm_debugregs debug = {.dr6 = x->dr6, .dr7 = x->dr7};

    memcpy(debug.db, x->dr, sizeof(debug.db));
    return kvm_ioctl(v->fd, KVM_SET_DEBUGREGS, &debug);
}

static int get_events(const struct kvm_vcpu *v, struct vcpu_x86_state *x)
{
    struct kvm_vcpu_events events = {0};
    int rc = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events);

    x->exception_injected = events.exception.injected;
    x->exception_vector = events.exception.nr;
    x->exception_has_error = events.exception.has_error_code;
    x->exception_error = events.exception.error_code;
    x->interrupt_injected = events.interrupt.injected;
    x->interrupt_vector = events.interrupt.nr;
    x->interrupt_soft = events.interrupt.soft;
    x->interrupt_shadow = events.interrupt.shadow;
    x->nmi_injected = events.nmi.injected;
    x->nmi_pending = events.nmi.pending;
    x->nmi_masked = events.nmi.masked;
    x->sipi_vector = events.sipi_vector;
    return rc;
}

static int set_events(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    struct kvm_vcpu_events events = {
        .exception = {.injected = x->exception_injected,
                      .nr = x->exception_vector,
                      .has_error_code = x->exception_has_error,
                      .error_code = x->exception_error},
        .interrupt = {.injected = x->interrupt_injected,
                      .nr = x->interrupt_vector,
                      .soft = x->interrupt_soft,
                      .shadow = x->interrupt_shadow},
        .nmi = {.injected = x->nmi_injected, .pending = x->nmi_pending, .masked = x->nmi_masked},
        .sipi_vector = x->sipi_vector,
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW,
    };

    return kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events);
}

static const uint32_t activities[] = {
    [VCPU_X86_RUNNING] = KVM_MP_STATE_RUNNABLE,
    [VCPU_X86_UNINITIALISED] = KVM_MP_STATE_UNINITIALIZED,
    [VCPU_X86_INITIALISED] = KVM_MP_STATE_INIT_RECEIVED,
    [VCPU_X86_SIPI_RECEIVED] = KVM_MP_STATE_SIPI_RECEIVED,
    [VCPU_X86_HALTED] = KVM_MP_STATE_HALTED,
};

static int get_activity(const struct kvm_vcpu *v, struct vcpu_x86_state *x)
{
    struct kvm_mp_state state = {0};
    int rc = kvm_ioctl(v->fd, KVM_GET_MP_STATE, &state);

    for (uint32_t i = 0; i < TUFF_ARRAY_LEN(activities); i++) {
        if (activities[i] == state.mp_state)
            x->activity = i;
    }
    return rc;
}

static int set_activity(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    struct kvm_mp_state state = {.mp_state = activities[x->activity]};

    return kvm_ioctl(v->fd, KVM_SET_MP_STATE, &state);
}

/* ---- what the processor has ---- */

/* Says which of the state's features are missing here. */
static bool has_features(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    /* Set where a processor no longer does something (FDP without exceptions; FCS and FDS). */
    static const uint32_t leaf7_ebx_inverse = 1 << 6 | 1 << 13;
    static const struct {
        uint32_t leaf, subleaf, reg;
    } words[] = {
#define X(leaf, subleaf, reg) {leaf, subleaf, reg},
        VCPU_X86_FEATURES(X)
#undef X
    };
    static const char *const registers[] = {"eax", "ebx", "ecx", "edx"};
    const struct kvm_x86 *x86 = v->arch_data;
    bool all = true;

    for (size_t i = 0; i < VCPU_X86_FEATURE_COUNT; i++) {
        uint32_t missing = x->features[i] & ~x86->features[i];
        if (words[i].leaf == 7 && words[i].reg == 1)
            missing &= ~leaf7_ebx_inverse;
        if (missing)
            log_write(LOG_LEVEL_ERROR, LOG_ACCEL,
                      "vCPU %" PRIu32 ": this host lacks what the saved processor had (CPUID 0x%" PRIx32 ".%" PRIu32
                      " %s: 0x%" PRIx32 ")",
                      v->config.hart_id, words[i].leaf, words[i].subleaf, registers[words[i].reg], missing);
        all &= !missing;
    }
    return all;
}

static uint32_t tsc_khz(const struct kvm_vcpu *v)
{
    int khz = kvm_ioctl_number(v->fd, KVM_GET_TSC_KHZ, 0);

    return khz > 0 ? (uint32_t)khz : 0;
}

/* Small differences between two starts of the same host the kernel leaves as they are. */
static int set_tsc_khz(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    uint32_t now = tsc_khz(v);

    if (!x->tsc_khz || !now || x->tsc_khz == now || kvm_ioctl_number(v->fd, KVM_SET_TSC_KHZ, x->tsc_khz) == 0)
        return 0;
    log_write(LOG_LEVEL_ERROR, LOG_ACCEL,
              "vCPU %" PRIu32 ": the saved time-stamp counter goes at %" PRIu32 " kHz, this host's at %" PRIu32
              " and at no other",
              v->config.hart_id, x->tsc_khz, now);
    return -ENOTSUP;
}

/* The activity first: asking for it makes the kernel carry out what is due (INIT, SIPI). */
void kvm_x86_get_state(struct kvm_vcpu *v, struct vcpu_state *state)
{
    struct vcpu_x86_state *x = &state->x86;
    int rc = get_activity(v, x);

    x->version = VCPU_X86_STATE_VERSION;
    x->tsc_khz = tsc_khz(v);
    memcpy(x->features, ((const struct kvm_x86 *)v->arch_data)->features, sizeof(x->features));
    if (rc == 0)
        rc = get_registers(v, x);
    if (rc == 0)
        rc = get_vectors(v, x);
    if (rc == 0)
        rc = get_debug(v, x);
    if (rc == 0)
        rc = get_events(v, x);
    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_GET_LAPIC, x->lapic);
    if (rc)
        log_write(LOG_LEVEL_ERROR, LOG_ACCEL, "the state of vCPU %" PRIu32 " cannot be read: %s", v->config.hart_id,
                  strerrordesc_np(-rc));
    get_msrs(v, x);
}

static bool is_well_formed(const struct kvm_vcpu *v, const struct vcpu_x86_state *x)
{
    if (x->version != VCPU_X86_STATE_VERSION || x->msr_count > VCPU_X86_MSRS_MAX ||
        x->activity >= TUFF_ARRAY_LEN(activities))
        return false;
    for (uint32_t i = 0; i < x->msr_count; i++) {
        if (is_listed(v->arch_data, x->msrs[i].index))
            continue;
        log_write(LOG_LEVEL_ERROR, LOG_ACCEL,
                  "vCPU %" PRIu32 ": KVM has no model-specific register 0x%" PRIx32 " here, the saved state does",
                  v->config.hart_id, x->msrs[i].index);
        return false;
    }
    return true;
}

int kvm_x86_set_state(struct kvm_vcpu *v, const struct vcpu_state *state)
{
    const struct vcpu_x86_state *x = &state->x86;

    if (!is_well_formed(v, x))
        return -EINVAL;
    if (!has_features(v, x))
        return -ENOTSUP;
    int rc = set_tsc_khz(v, x);
    if (rc == 0)
        rc = set_registers(v, x);
    if (rc == 0)
        rc = set_vectors(v, x);
    if (rc == 0)
        rc = set_debug(v, x);
    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_SET_LAPIC, (void *)(uintptr_t)x->lapic);
    if (rc)
        return rc;
    set_msrs(v, x);
    rc = set_activity(v, x);
    return rc ? rc : set_events(v, x);
}
