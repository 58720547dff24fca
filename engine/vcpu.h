/* The vCPU: what everything outside engine/, llvm/ and accel/ sees of a processor.
 *
 * One host thread runs a vCPU at a time. Functions marked "any thread" may be called while it runs; the
 * others only by the thread that runs it, or while nobody does. State crosses this interface in one neutral, versioned
 * form (struct vcpu_state), which snapshots, gdb and a switch between back ends share.
 */
#ifndef TUFF_ENGINE_VCPU_H
#define TUFF_ENGINE_VCPU_H

#include "base/compiler.h"
#include "engine/isa/riscv/isa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct accel_vm;
struct mem;
struct region_cache;
struct vcpu;

/* Instruction sets of guests. */
enum vcpu_guest { VCPU_GUEST_RISCV64, VCPU_GUEST_X86_64 };

/* Why vcpu_run() came back. */
enum vcpu_exit {
    VCPU_EXIT_BUDGET,      /* as many instructions as asked for have retired */
    VCPU_EXIT_INTERRUPTED, /* vcpu_kick() */
    VCPU_EXIT_HALTED,      /* the guest waits for an interrupt (WFI) and none is pending */
    VCPU_EXIT_STOPPED,     /* an environment callback asked for it (hart stopped, machine going down) */
    VCPU_EXIT_DEBUG,       /* breakpoint or step */
    VCPU_EXIT_CRITICAL,    /* for good: a trap came that nobody can take (critical-error state, triple fault) */
    VCPU_EXIT_ERROR,       /* the back end failed; the guest's state is undefined */
};

/* Interrupt numbers are those of mip (Privileged Architecture 1.13, section 3.1.9). */
enum vcpu_irq {
    VCPU_IRQ_SSI = 1,
    VCPU_IRQ_MSI = 3,
    VCPU_IRQ_STI = 5,
    VCPU_IRQ_MTI = 7,
    VCPU_IRQ_SEI = 9,
    VCPU_IRQ_MEI = 11,
    VCPU_IRQ_LCOFI = 13, /* a performance counter overflowed (Sscofpmf); the hart's own */
};

/* What mhpmevent selects. The first two have the SBI's numbers, as on QEMU's machine. */
enum vcpu_event {
    VCPU_EVENT_CYCLES = 1, /* one for each instruction */
    VCPU_EVENT_INSTRUCTIONS,
    VCPU_EVENT_PAGE_WALKS,
    VCPU_EVENT_EXCEPTIONS,
    VCPU_EVENT_INTERRUPTS,
    VCPU_EVENT_DEVICE_ACCESSES,
    VCPU_EVENT_END,
};

enum vcpu_priv { VCPU_PRIV_U = 0, VCPU_PRIV_S = 1, VCPU_PRIV_M = 3 };

enum vcpu_action {
    VCPU_ACTION_RESUME, /* go on with the instruction after the call */
    VCPU_ACTION_STOP,   /* leave vcpu_run() with VCPU_EXIT_STOPPED, pc behind the call */
    VCPU_ACTION_JUMP,   /* the callback changed pc or privilege through vcpu_set_state() */
    VCPU_ACTION_TRAP,   /* not handled: the guest takes the architectural trap */
};

/* What a vCPU asks of the machine around it. All are called on the vCPU's own thread, from inside vcpu_run(). */
struct vcpu_env_ops {
    /* The time CSR, in ticks of the board's timebase. */
    uint64_t (*time_now)(void *opaque);
    /* The next moment (ticks) at which a timer compare fires for this hart; UINT64_MAX for never. The environment calls
     * vcpu_timer_expired() from any thread once it has passed. Not used when time is counted in instructions. */
    void (*timer_arm)(void *opaque, struct vcpu *vcpu, uint64_t deadline);
    /* ECALL from S-mode where the VM serves SBI. NULL: the guest has firmware of its own and traps to M-mode. */
    enum vcpu_action (*ecall)(void *opaque, struct vcpu *vcpu);
    /* KVM on riscv64: an SBI call of hart `hart` that the kernel does not answer itself, or the end of the machine as a
     * call of SRST. `args` are a0 to a7; a0 and a1 come back in `ret`. RESUME or STOP. NULL: none is answered. */
    enum vcpu_action (*kernel_sbi)(void *opaque, uint32_t hart, const uint64_t args[8], uint64_t ret[2]);
    /* Random bytes for the CSR `seed`. Returns 0, -EAGAIN when there are none yet, another negative errno when there
     * will be none. NULL is the last. Not used when time is counted in instructions: then runs repeat. */
    int (*entropy)(void *opaque, void *bytes, size_t len);
    /* The hart's interrupt files of MSIs (dev/imsic.h, whose functions these are), M-mode's or S-mode's. NULL: the
     * machine has none, and the CSRs of Smaia and Ssaia do not exist. */
    int (*imsic_access)(void *opaque, struct vcpu *vcpu, bool supervisor, uint32_t select, uint64_t *old,
                        uint64_t value, uint64_t mask);
    uint64_t (*imsic_top)(void *opaque, struct vcpu *vcpu, bool supervisor, bool claim);
    /* x86: an access of 1, 2 or 4 bytes to an I/O port. Where nothing answers, reads give ones. NULL on other guests.
     */
    uint64_t (*port_read)(void *opaque, uint16_t port, unsigned size_bytes);
    void (*port_write)(void *opaque, uint16_t port, unsigned size_bytes, uint64_t value);
};

struct vcpu_config {
    uint32_t hart_id;
    uint32_t hart_count; /* harts that share `mem`; 1 lets the engine leave out what only matters for more */
    struct mem *mem;     /* borrowed; outlives the vCPU */
    const struct vcpu_env_ops *env;
    void *env_opaque;
    isa_set isa; /* ISA_EXT_* bits (engine/isa/riscv/isa.h) */
    uint64_t reset_pc;
    uint32_t timebase_hz;
    bool clock_insns; /* time is derived from retired instructions: insns_per_tick each */
    uint32_t insns_per_tick;
    struct region_cache *region_cache; /* engine/tier.h; borrowed, shared by the machine's vCPUs; NULL: no regions */
    uint32_t baseline_after;           /* executions of a block after which the baseline tier compiles it; 0: never */
    struct accel_vm *accel;            /* accel/accel.h; borrowed; only for its back ends */
};

/* Architectural state of one x86-64 processor, with its local APIC. Layouts: `xsave` is the XSAVE area in standard form
 * (Intel SDM volume 1, 13.4), `lapic` the APIC's page of registers (volume 3, 10.4.1), `attributes` of a segment as in
 * the second word of its descriptor (volume 3, 3.4.5): type in bits 0 to 3, S 4, DPL 5 and 6, P 7, AVL 12, L 13, D/B
 * 14, G 15, and 16 where the segment is unusable. */
enum { VCPU_X86_STATE_VERSION = 2, VCPU_X86_MSRS_MAX = 128, VCPU_X86_XSAVE_BYTES = 4096, VCPU_X86_LAPIC_BYTES = 1024 };
enum { VCPU_X86_ES, VCPU_X86_CS, VCPU_X86_SS, VCPU_X86_DS, VCPU_X86_FS, VCPU_X86_GS, VCPU_X86_LDT, VCPU_X86_TR };
enum { VCPU_X86_RAX, VCPU_X86_RCX, VCPU_X86_RDX, VCPU_X86_RBX, VCPU_X86_RSP, VCPU_X86_RBP, VCPU_X86_RSI, VCPU_X86_RDI };

/* Words of CPUID whose bits say what the processor has: X(leaf, subleaf, register: 0 eax, 1 ebx, 2 ecx, 3 edx). At the
 * end only is one added. */
#define VCPU_X86_FEATURES(X) \
    X(1, 0, 2)               \
    X(1, 0, 3)               \
    X(7, 0, 1)               \
    X(7, 0, 2)               \
    X(7, 0, 3)               \
    X(7, 1, 0)               \
    X(0xd, 1, 0)             \
    X(0x40000001, 0, 0)      \
    X(0x80000001, 0, 2)      \
    X(0x80000001, 0, 3)      \
    X(0x80000007, 0, 3)      \
    X(0x80000008, 0, 1)
#define X(leaf, subleaf, reg) +1
enum { VCPU_X86_FEATURE_COUNT = 0 VCPU_X86_FEATURES(X) };
#undef X

/* Where a processor is between reset and running. */
enum vcpu_x86_activity {
    VCPU_X86_RUNNING,
    VCPU_X86_UNINITIALISED, /* waits for INIT */
    VCPU_X86_INITIALISED,   /* waits for SIPI, whose vector is sipi_vector */
    VCPU_X86_SIPI_RECEIVED,
    VCPU_X86_HALTED,
};

struct vcpu_x86_segment {
    uint64_t base;
    uint32_t limit;
    uint32_t attributes;
    uint16_t selector;
};

struct vcpu_x86_table {
    uint64_t base;
    uint16_t limit;
};

struct vcpu_x86_msr {
    uint32_t index;
    uint64_t value;
};

struct vcpu_x86_state {
    uint32_t version;  /* VCPU_X86_STATE_VERSION */
    uint32_t activity; /* enum vcpu_x86_activity */
    uint64_t gpr[16];  /* by their number in instructions */
    uint64_t rip, rflags;
    struct vcpu_x86_segment segments[8]; /* VCPU_X86_ES .. */
    struct vcpu_x86_table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base, xcr0;
    uint64_t dr[4], dr6, dr7;
    /* What is on its way to be taken, and what holds it off. */
    uint8_t exception_injected, exception_vector, exception_has_error;
    uint32_t exception_error;
    uint8_t interrupt_injected, interrupt_vector, interrupt_soft, interrupt_shadow;
    uint8_t nmi_injected, nmi_pending, nmi_masked;
    uint32_t sipi_vector;
    uint32_t msr_count; /* at most VCPU_X86_MSRS_MAX */
    struct vcpu_x86_msr msrs[VCPU_X86_MSRS_MAX];
    uint8_t xsave[VCPU_X86_XSAVE_BYTES];
    uint8_t lapic[VCPU_X86_LAPIC_BYTES];
    uint32_t tsc_khz; /* of the time-stamp counter; 0: not known; version 2 */
    /* What the guest was told that it has, by VCPU_X86_FEATURES; a back end that lacks some of it refuses the state
     * with -ENOTSUP. Version 2. */
    uint32_t features[VCPU_X86_FEATURE_COUNT];
};

/* Neutral architectural state of one vCPU: a RISC-V hart (RV64), unless `guest` says something else. Integers in host
 * order. Fields are only ever added at the end, with a new version. */
enum { VCPU_STATE_VERSION = 6 };

struct vcpu_state {
    uint32_t version; /* VCPU_STATE_VERSION */
    uint32_t hart_id;
    uint64_t x[32]; /* x[0] is 0 */
    uint64_t f[32]; /* NaN-boxed as in the registers */
    uint64_t pc;
    uint32_t priv; /* enum vcpu_priv */
    uint32_t fcsr; /* frm << 5 | fflags */
    uint64_t instret;
    uint64_t cycle_offset;   /* mcycle = instret + cycle_offset, mod 2^64 */
    uint64_t instret_offset; /* minstret = instret + instret_offset */
    uint64_t mstatus, misa, medeleg, mideleg, mie, mip, mtvec, mcounteren, mcountinhibit, mscratch, mepc, mcause, mtval;
    uint64_t menvcfg, mseccfg;
    uint64_t scounteren, senvcfg, stvec, sscratch, sepc, scause, stval, satp, stimecmp;
    uint64_t pmpaddr[64];
    uint8_t pmpcfg[64];
    uint64_t time_skip;                                   /* ticks skipped in WFI under --clock=insns */
    uint64_t miselect, siselect;                          /* since version 2 */
    uint64_t mhpmevent[32], mhpmcounter[32];              /* 3 to 31 are used; version 2 */
    uint64_t mstateen[4];                                 /* version 3 */
    uint64_t mtval2, mnscratch, mnepc, mncause, mnstatus; /* version 4 */
    uint64_t seeds;                                       /* read from `seed` under --clock=insns; version 4 */
    bool critical;                                        /* in the critical-error state; version 4 */
    bool elp;                                             /* a landing pad is expected; version 4 */
    uint64_t ssp;                                         /* version 4 */
    uint32_t guest;                                       /* enum vcpu_guest; version 5 */
    struct vcpu_x86_state x86; /* version 5; zeroes but where guest is VCPU_GUEST_X86_64, whose only state it is */
    uint64_t tselect, tcontrol, mcontext, scontext, tdata1[4], tdata2[4], tdata3[4]; /* version 6 */
};

/* Counters, one list: printed by --stats. X(name, text) */
#define VCPU_COUNTERS(X)                                                       \
    X(insns, "instructions retired")                                           \
    X(insns_interp, "of them, about, by the interpreter")                      \
    X(insns_baseline, "by the baseline tier")                                  \
    X(insns_regions, "by compiled regions")                                    \
    X(blocks_decoded, "blocks decoded")                                        \
    X(blocks_compiled, "blocks compiled by the baseline tier")                 \
    X(block_code_bytes, "bytes of code that this made")                        \
    X(blocks_invalidated, "blocks dropped because their bytes changed")        \
    X(block_lookups, "block look-ups that missed the jump cache")              \
    X(tlb_fills, "TLB fills")                                                  \
    X(page_walks, "page-table walks")                                          \
    X(slow_accesses, "loads and stores that left the fast path")               \
    X(mirror_faults, "pages that came into a mirror, by a fault each")         \
    X(mmio_accesses, "device accesses")                                        \
    X(exceptions, "exceptions taken")                                          \
    X(interrupts, "interrupts taken")                                          \
    X(ecalls, "calls to the VM's SBI")                                         \
    X(tlb_flushes, "whole TLB flushes")                                        \
    X(tlb_page_flushes, "TLB flushes by address")                              \
    X(fence_is, "FENCE.I executed")                                            \
    X(wfis, "WFI executed")                                                    \
    X(attentions, "runs left because of a request")                            \
    X(guest_ns, "KVM: nanoseconds in the guest, exits by the kernel included") \
    X(exits, "KVM: exits to this program")                                     \
    X(port_accesses, "KVM: exits for accesses to I/O ports")                   \
    X(msr_exits, "KVM: exits for model-specific registers it does not know")   \
    X(signal_exits, "KVM: exits because another thread asked")

struct vcpu_counters {
#define X(name, text) uint64_t name;
    VCPU_COUNTERS(X)
#undef X
};

struct vcpu_fence;
struct vcpu_point;

/* Why the last VCPU_EXIT_DEBUG came. */
enum vcpu_stop_kind { VCPU_STOP_STEP, VCPU_STOP_BREAKPOINT, VCPU_STOP_READ, VCPU_STOP_WRITE, VCPU_STOP_ACCESS };
struct vcpu_stop {
    enum vcpu_stop_kind kind; /* ACCESS: a point on both reads and writes */
    uint64_t gva;             /* the breakpoint, or the first byte of the range that was accessed */
};

/* A back end: the interpreter and its JIT tiers, or KVM. */
struct vcpu_ops {
    const char *name;
    int (*create)(const struct vcpu_config *config, struct vcpu **out);
    void (*destroy)(struct vcpu *vcpu);
    enum vcpu_exit (*run)(struct vcpu *vcpu, uint64_t max_insns);
    void (*kick)(struct vcpu *vcpu);
    void (*get_state)(struct vcpu *vcpu, struct vcpu_state *state);
    int (*set_state)(struct vcpu *vcpu, const struct vcpu_state *state);
    /* RISC-V's interrupt lines. NULL: interrupts come from the back end's own interrupt controllers. */
    void (*set_irq)(struct vcpu *vcpu, enum vcpu_irq irq, bool level);
    void (*counters_read)(struct vcpu *vcpu, struct vcpu_counters *out);
    uint32_t (*hart_id)(const struct vcpu *vcpu);
    /* The functions below have the meaning of vcpu_...() of the same name. NULL: the back end sleeps by itself and
     * keeps its own time, knows no other vCPUs, does not count instructions (0). */
    bool (*has_work)(struct vcpu *vcpu);
    void (*set_wake)(struct vcpu *vcpu, void (*wake)(void *opaque), void *opaque);
    void (*timer_expired)(struct vcpu *vcpu);
    uint64_t (*next_deadline)(struct vcpu *vcpu);
    int (*set_peers)(struct vcpu *vcpu, struct vcpu *const *vcpus, uint32_t count);
    void (*book_tiers)(struct vcpu *vcpu);
    uint64_t (*instret)(const struct vcpu *vcpu);
    void (*remote_fence)(struct vcpu *self, struct vcpu *const *vcpus, uint32_t count, uint64_t mask,
                         const struct vcpu_fence *fence);
    /* For a debugger; all there, or none. Points come checked, as far as vcpu_set_points() says of all back ends;
     * `memory` is what the vCPU was created with. */
    int (*set_points)(struct vcpu *vcpu, const struct vcpu_point *points, uint32_t count);
    struct vcpu_stop (*last_stop)(const struct vcpu *vcpu);
    enum vcpu_exit (*step)(struct vcpu *vcpu);
    int (*translate)(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa);
    struct mem *(*memory)(struct vcpu *vcpu);
};

extern const struct vcpu_ops vcpu_riscv_ops; /* the engine's own */

/* Creates a hart in its reset state (M-mode, pc = reset_pc). Returns 0, -ENOMEM, or -EINVAL (ISA bits the engine
 * lacks). */
int vcpu_create(const struct vcpu_ops *ops, const struct vcpu_config *config, struct vcpu **out) TUFF_MUST_CHECK;
void vcpu_destroy(struct vcpu *vcpu);

/* Runs until an exit reason, at most `max_insns` retired instructions (UINT64_MAX: no limit). */
enum vcpu_exit vcpu_run(struct vcpu *vcpu, uint64_t max_insns);

/* Any thread: makes vcpu_run() return VCPU_EXIT_INTERRUPTED soon; if it is not running, the next run returns at once.
 */
void vcpu_kick(struct vcpu *vcpu);

/* Any thread: level of an interrupt line into this hart. Wakes a halted hart through `vcpu_set_wake()`'s callback. */
void vcpu_set_irq(struct vcpu *vcpu, enum vcpu_irq irq, bool level);
/* Any thread: the deadline given to timer_arm() may have passed; the hart compares time with its timers again. */
void vcpu_timer_expired(struct vcpu *vcpu);
/* Called (any thread) whenever something happens that a halted hart must look at. Set before threads start. */
void vcpu_set_wake(struct vcpu *vcpu, void (*wake)(void *opaque), void *opaque);
/* True while a halted hart has a reason to run: an enabled interrupt is pending, or a request is waiting. Own thread.
 */
bool vcpu_has_work(struct vcpu *vcpu);

void vcpu_get_state(struct vcpu *vcpu, struct vcpu_state *state);
int vcpu_set_state(struct vcpu *vcpu, const struct vcpu_state *state) TUFF_MUST_CHECK;

uint32_t vcpu_hart_id(const struct vcpu *vcpu);
uint64_t vcpu_instret(const struct vcpu *vcpu);
/* Any thread. Exact when the vCPU does not run; while it runs, the instructions of the block at hand count as retired.
 */
void vcpu_counters_read(struct vcpu *vcpu, struct vcpu_counters *out);

/* Brings the counts of instructions by tier up to date. Own thread, outside vcpu_run(). */
void vcpu_book_tiers(struct vcpu *vcpu);

/* The harts that share this one's memory, itself included. Before threads start. Returns 0, -EINVAL (too many) or
 * -ENOMEM. */
int vcpu_set_peers(struct vcpu *vcpu, struct vcpu *const *vcpus, uint32_t count) TUFF_MUST_CHECK;
/* Ticks at which the next of the hart's timers fires, UINT64_MAX for none. Own thread. */
uint64_t vcpu_next_deadline(struct vcpu *vcpu);

/* ---- of vcpu_riscv_ops only, but for vcpu_remote_fence(), which does nothing where vCPUs see changed code at once
 * ---- */

/* Quick access to the integer registers x0..x31 for the ecall callback (own thread). x[0] must stay 0. */
uint64_t *vcpu_x(struct vcpu *vcpu);
/* Arms the hart's supervisor timer for the SBI (as if stimecmp were written). Own thread. */
void vcpu_set_supervisor_timer(struct vcpu *vcpu, uint64_t deadline_ticks);
/* Any thread: the deadline of the machine-level timer (mtimecmp in the ACLINT). */
void vcpu_set_machine_timer(struct vcpu *vcpu, uint64_t deadline_ticks);
/* Pretends that time has come to `ticks` in a --clock=insns machine whose only hart is halted. Own thread. */
void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks);
/* The hart's time CSR. Own thread. */
uint64_t vcpu_time(struct vcpu *vcpu);

/* Remote fences, synchronous: when the call returns, each hart in `mask` (bit i: vcpus[i]) that runs has done the
 * fence, and one that does not will before its next instruction. Called on a vCPU thread (`self`) or, with self NULL,
 * on any other thread. While waiting, `self` serves requests made of it, so that two harts may fence each other. */
/* The last is the engine's own: no more direct stores to the RAM frame whose number is `start_gva`. */
enum vcpu_fence_kind { VCPU_FENCE_I, VCPU_FENCE_VMA, VCPU_FENCE_DROP_WRITES };
struct vcpu_fence {
    enum vcpu_fence_kind kind;
    uint64_t start_gva, size_bytes; /* size 0 with start 0, or UINT64_MAX: everything */
    bool has_asid;
    uint16_t asid;
};
void vcpu_remote_fence(struct vcpu *self, struct vcpu *const *vcpus, uint32_t count, uint64_t mask,
                       const struct vcpu_fence *fence);

/* Reads guest memory at a virtual address as this hart sees it (SBI, gdb). Own thread or stopped. Returns 0 or -EFAULT.
 */
int vcpu_read_virtual(struct vcpu *vcpu, uint64_t gva, void *buf, uint32_t len) TUFF_MUST_CHECK;

/* ---- for a debugger: while nobody runs the vCPU, but for vcpu_step() ---- */

/* Can the back end do any of it? If not, the functions below must not be called. */
bool vcpu_can_debug(struct vcpu *vcpu);

/* Where vcpu_run() ends with VCPU_EXIT_DEBUG: before an instruction whose address is in the range, and after one that
 * reads or writes a byte of it. Addresses are virtual, in whatever address space the hart runs. */
enum { VCPU_POINT_EXECUTE = 1, VCPU_POINT_READ = 2, VCPU_POINT_WRITE = 4, VCPU_POINT_KINDS = 7, VCPU_POINTS_MAX = 256 };
struct vcpu_point {
    uint64_t gva, len_bytes;
    uint32_t kinds; /* VCPU_POINT_* */
};
/* Replaces the vCPU's points by these (copied). Costs what is cached about memory if anything differs from the last
 * call. Returns 0, -ENOSPC (too many), -EINVAL (an empty or endless range, unknown kinds), -ENOMEM, -EFAULT (KVM: a
 * breakpoint beyond the processor's own where nothing is mapped). Under KVM points on reads and writes are few (x86:
 * four ranges of 1, 2, 4 or 8 bytes), and those on reads alone see writes, too. */
int vcpu_set_points(struct vcpu *vcpu, const struct vcpu_point *points, uint32_t count) TUFF_MUST_CHECK;

struct vcpu_stop vcpu_last_stop(const struct vcpu *vcpu);

/* Runs one instruction, also one with a breakpoint on it, or takes the exception it raises: VCPU_EXIT_DEBUG. Interrupts
 * wait, and WFI does not. Other exits are those of vcpu_run(), with nothing done for VCPU_EXIT_INTERRUPTED. */
enum vcpu_exit vcpu_step(struct vcpu *vcpu);

/* The physical address behind a virtual one as loads of this hart mean it, whatever the permissions, and without
 * touching accessed bits or caches. Returns 0 or -EFAULT (not mapped). */
int vcpu_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa) TUFF_MUST_CHECK;
/* Memory at a virtual address, so translated. RAM and flash are read, RAM is written (all or nothing); harts see
 * changed code after a FENCE.I (vcpu_remote_fence()). Returns 0 or -EFAULT. */
int vcpu_debug_read(struct vcpu *vcpu, uint64_t gva, void *buf, uint32_t len) TUFF_MUST_CHECK;
int vcpu_debug_write(struct vcpu *vcpu, uint64_t gva, const void *buf, uint32_t len) TUFF_MUST_CHECK;

#endif
