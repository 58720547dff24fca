/* A RISC-V hart of the engine: its layout, shared by the interpreter, the CSRs, traps and the slow paths of memory
 * accesses. Private to engine/ (and to generated code). Fields are ordered hot, warm, cold; those that generated code
 * reaches are pinned by _Static_assert below.
 *
 * Only the hart's own thread touches it, but for the fields marked "any thread".
 */
#ifndef TUFF_ENGINE_ISA_RISCV_HART_H
#define TUFF_ENGINE_ISA_RISCV_HART_H

#include "engine/isa/riscv/decode.h"
#include "engine/isa/riscv/isa.h"
#include "engine/vcpu_internal.h"
#include "mem/mem.h"
#include "mem/reservation.h"
#include "mem/tlb.h"

#include <pthread.h>
#include <stdatomic.h>

struct baseline;
struct block_cache;
struct debug;
struct region_cache;
struct region_hart;
struct verify;

enum {
    RV_X_SINK = 32, /* writes to x0 are translated to writes here */
    HART_REQUESTS_MAX = 32,
};

/* What a semantic body may touch besides the vCPU: an object of its own so that a compiled region can keep it in host
 * registers. */
struct rv_regs {
    uint64_t x[33];    /* x[0] is always 0; x[RV_X_SINK] is write-only */
    uint64_t f[32];    /* NaN-boxed */
    uint64_t fs_dirty; /* an F register or flag was written since mstatus.FS was last looked at */
};

/* The one down-counter, in two halves. `insns` is the vCPU's own: instructions left of the grant. `attention` is the
 * others': all ones as soon as somebody wants the vCPU to look at its requests. The vCPU writes only its own half, so
 * no request is lost to a subtraction. The halves are read apart: one 64-bit load after the 32-bit store would wait for
 * the store to leave the store buffer, at every block. */
struct hart_countdown {
    _Atomic uint32_t insns;
    _Atomic uint32_t attention;
};

/* Translation context: what decoded blocks assume beyond bytes. */
enum {
    CTX_FS_OFF = 1 << 0, /* FP instructions are illegal */
    CTX_FRM_SHIFT = 1,   /* fcsr.frm, 3 bits */
    CTX_LPE = 1 << 4,    /* indirect calls and jumps expect a landing pad (Zicfilp) */
    CTX_ELP = 1 << 5,    /* one is expected now: the block is that instruction */
    CTX_SSE = 1 << 6,    /* there is a shadow stack (Zicfiss) */
    /* Of blocks only: which points of a debugger or trigger on their page they were decoded for; 0: there is none. */
    CTX_POINTS_SHIFT = 16,
};

/* Requests of other threads, bits of hart.requests. */
enum {
    REQUEST_KICK = 1 << 0,
    REQUEST_IRQ = 1 << 1,         /* an interrupt line changed */
    REQUEST_TIMER = 1 << 2,       /* a deadline passed or was changed */
    REQUEST_FENCES = 1 << 3,      /* hart.fences has entries */
    REQUEST_REGIONS = 1 << 4,     /* compiled code came for this hart, or is to go */
    REQUEST_DROP_BLOCKS = 1 << 5, /* of its own: there is no room for more code */
};

/* Performance monitors (hpm.c). */
enum { HPM_FIRST = 3, HPM_END = 32 };

/* Sdtrig (triggers.c). */
enum { HART_TRIGGERS = 4 };
struct trigger {
    uint64_t tdata1, tdata2, tdata3;
};

struct trap {
    uint64_t cause;
    uint64_t tval;
};

struct hart {
    struct vcpu vcpu;
    struct rv_regs r;
    struct hart_countdown countdown;
    struct tlb_bank *bank;      /* of the current view for loads and stores */
    struct tlb_bank *exec_bank; /* of the current view for fetches; differs under MPRV only */
    _Atomic uint32_t
        *reservations_active; /* stores look here; the constant zero of `alone` on a machine with one hart */
    uint64_t mirror_limit; /* of guest virtual addresses behind the host's gs, exclusive; 0: the bank has no mirror */
    uint64_t pc;           /* valid outside blocks; inside, where a body left its target */
    uint32_t ctx;
    uint32_t insns_ahead; /* of those charged, not yet retired: set around slow calls and at block ends */
    struct trap trap;     /* of the body that returned SEM_TRAP */
    uint64_t csr_old;     /* what the last CSR instruction read */

    /* warm */
    /* The page last reached through each base register by compiled regions; the last is for any. Of use while the
     * bank's stamp is base_page_stamp. */
    struct tlb_entry base_page[RV_X_SINK + 1];
    uint64_t base_page_stamp;
    const struct block *mirrored_block; /* that the compiled region with mirrored accesses was entered through last */
    uint32_t mirror_wanted;     /* accesses that regions look up before their address space gets a mirror; 0: never */
    uint64_t mirror_loaded;     /* what the host's gs base is; 0: unknown */
    uint32_t region_rest;       /* what of countdown.insns the compiled region that runs does not count down itself */
    _Atomic uint64_t grant_end; /* what will have retired when the current grant is used up; any thread reads */
    uint8_t priv;               /* enum vcpu_priv */
    uint8_t fflags;             /* accrued outside the host's flags */
    uint8_t frm;
    uint8_t tlb_mode;    /* satp.MODE of what the TLB holds; 0: nothing yet */
    bool host_fp;        /* the host's FP control register holds the guest's mode and flags */
    bool irq_check;      /* an enabled interrupt may be pending */
    bool stop;           /* leave run() with `exit` */
    bool elp;            /* a landing pad is expected */
    bool critical;       /* in the critical-error state (section 3.1.6.2): nothing runs any more */
    uint8_t point_kinds; /* VCPU_POINT_* that there are (debug.h) */
    bool ram_only;       /* slow accesses refuse devices: a compiled region cannot say exactly where it is */
    enum vcpu_exit exit;
    uint32_t host_fpcr; /* host's FP control register while the guest's is loaded */
    struct tlb *tlb;
    struct block_cache *blocks;
    struct baseline *baseline;         /* NULL: blocks are not compiled one by one */
    struct region_cache *region_cache; /* shared by the machine's harts; NULL: nothing is compiled */
    struct region_hart *regions;       /* what is installed here */
    struct verify *verify;             /* --verify; NULL: regions are trusted */
    struct debug *debug;               /* NULL: nobody has asked for a point or a step */
    uint64_t reserved_value;           /* what the last LR read */
    uint64_t reserved_gpa;
    uint8_t reserved_bytes;
    _Atomic uint32_t alone;

    isa_set isa;
    uint64_t mstatus, medeleg, mideleg, mie, mtvec, mcounteren, mcountinhibit, mscratch, mepc, mcause, mtval;
    uint64_t menvcfg, mseccfg, mtval2;
    uint64_t ssp;
    uint64_t mnscratch, mnepc, mncause;
    uint64_t mnstatus; /* NMIE is set where there is no Smrnmi */
    uint64_t seeds;    /* given out by `seed` under --clock=insns */
    uint64_t scounteren, senvcfg, stvec, sscratch, sepc, scause, stval, satp, stimecmp;
    uint64_t mip;              /* bits that software sets: SSIP, and STIP/SEIP as written by M-mode */
    _Atomic uint64_t lines;    /* any thread: interrupt lines as bits of mip */
    uint64_t timer_lines;      /* MTIP and STIP as the deadlines say */
    _Atomic uint64_t mtimecmp; /* any thread */
    uint64_t miselect, siselect;
    uint64_t cycle_offset, instret_offset;
    uint64_t mstateen[4];
    uint64_t hpm_event[HPM_END];  /* mhpmevent */
    uint64_t hpm_offset[HPM_END]; /* of a counter's value from its event's total while it runs, else the value */
    uint64_t hpm_seen[HPM_END];   /* value when overflow was last looked for */
    uint32_t hpm_running;         /* bits of counters */
    bool hpm_filtered;            /* some counter runs in some modes only */
    bool hpm_watch;               /* an event other than instructions may let a counter overflow */
    struct trigger triggers[HART_TRIGGERS];
    uint32_t tselect;
    uint64_t tcontrol, mcontext, scontext;
    uint64_t pmpaddr[64];
    uint8_t pmpcfg[64];
    uint8_t pmp_count; /* highest entry in use + 1 */

    /* cold */
    struct vcpu_config config;
    struct mem *mem;
    uint64_t time_skip;
    uint32_t tlb_generation_seen;
    struct vcpu_counters counters; /* through HART_COUNT(): any thread reads */
    void (*wake)(void *opaque);
    void *wake_opaque;
    _Atomic uint32_t requests; /* any thread */
    _Atomic bool running;      /* any thread reads */
    pthread_mutex_t fences_lock;
    struct vcpu_fence fences[HART_REQUESTS_MAX]; /* under fences_lock */
    uint32_t fence_count;
    bool fence_overflow;           /* do everything */
    _Atomic uint64_t fences_asked; /* tickets given out, under fences_lock */
    _Atomic uint64_t fences_done;
    struct hart *const *peers; /* harts of the machine, to ask for dropped writes */
    uint32_t peer_count;
};

_Static_assert(offsetof(struct hart, r) == 8, "x[] is addressed with 8-bit displacements");
_Static_assert(offsetof(struct hart, countdown) % 8 == 0, "one atomic word");

#define HART_OF(vcpu) ((struct hart *)(vcpu))

/* ---- counts and time (hart.c) ---- */

/* grant_end while it and the countdown change. */
#define HART_GRANT_CHANGES UINT64_MAX

/* Adds to a counter: by the hart's own thread, so that a load and a store (one instruction of the host, without lock)
 * do, and relaxed, since --stats of a running machine reads them from another one. */
#define HART_COUNT(h, name, n)                                                                                    \
    __atomic_store_n(&(h)->counters.name, __atomic_load_n(&(h)->counters.name, __ATOMIC_RELAXED) + (uint64_t)(n), \
                     __ATOMIC_RELAXED)

/* The same for what a performance monitor may count; the run loop looks for overflows. */
#define HART_EVENT(h, name)                                                                     \
    do {                                                                                        \
        HART_COUNT(h, name, 1);                                                                 \
        if (TUFF_UNLIKELY((h)->hpm_watch))                                                      \
            atomic_store_explicit(&(h)->countdown.attention, UINT32_MAX, memory_order_relaxed); \
    } while (0)

/* Instructions retired before the one at hand. */
static inline uint64_t hart_retired(const struct hart *h)
{
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed);

    return atomic_load_explicit(&h->grant_end, memory_order_relaxed) - left - h->insns_ahead;
}

/* What would be left of the grant after `insns` more; negative when that is too many or somebody wants attention. */
static inline int32_t hart_charge(const struct hart *h, uint32_t insns)
{
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed) - insns;

    return (int32_t)(left | atomic_load_explicit(&h->countdown.attention, memory_order_relaxed));
}

/* Gives back instructions that were charged and did not retire. */
static inline void hart_refund(struct hart *h, uint32_t insns)
{
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed);

    atomic_store_explicit(&h->countdown.insns, left + insns, memory_order_relaxed);
}

/* Sets what has retired and what may still: the end of the grant is unknown while the two change, so that a reader of
 * another thread never combines an old one with a new. */
void hart_set_grant(struct hart *h, uint64_t retired, uint32_t grant);
uint64_t hart_time(struct hart *h);
/* Compares time with the deadlines, sets MTIP and STIP, arms the next timer. */
void hart_update_timers(struct hart *h);
/* Any thread: sets request bits, makes the countdown negative, wakes a halted hart. */
void hart_request(struct hart *h, uint32_t bits);
/* The same without waking: a halted hart serves it before it runs again. */
void hart_request_quietly(struct hart *h, uint32_t bits);
void hart_fence_i(struct hart *h);
/* Any thread: queues a fence for the hart and returns its ticket, never 0. */
uint64_t hart_ask_fence(struct hart *h, const struct vcpu_fence *fence);
/* Any thread: the ticket was served, or the hart is outside run() and serves it before its next instruction. */
bool hart_fence_settled(const struct hart *h, uint64_t ticket);
/* Recomputes ctx and banks from privilege, mstatus, satp, frm, ELP, the environment's configuration. */
void hart_update_context(struct hart *h);
/* Are landing pads expected in a mode (xLPE)? Is there a shadow stack (xSSE)? */
bool hart_landing_pads(const struct hart *h, uint8_t priv);
bool hart_shadow_stack(const struct hart *h, uint8_t priv);

/* ---- interrupts and traps (trap.c) ---- */

enum {
    CAUSE_FETCH_MISALIGNED = 0,
    CAUSE_FETCH_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_ECALL_U = 8,
    CAUSE_ECALL_S = 9,
    CAUSE_ECALL_M = 11,
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
    CAUSE_DOUBLE_TRAP = 16,
    CAUSE_SOFTWARE_CHECK = 18,
};
#define CAUSE_INTERRUPT (1ull << 63)

/* xtval of a software check. */
enum { CHECK_LANDING_PAD = 2, CHECK_SHADOW_STACK = 3 };

/* Takes the trap: CSRs, privilege, pc. `epc` is the pc of the trapping or interrupted instruction. */
void hart_take_trap(struct hart *h, uint64_t cause, uint64_t tval, uint64_t epc);
/* mip as software sees it. */
uint64_t hart_mip(const struct hart *h);
/* Takes the highest-priority enabled interrupt, if any; pc must be up to date. */
bool hart_take_interrupt(struct hart *h);
/* The number of the interrupt that comes first of those whose bits of mip are set, 0 for none. */
unsigned hart_first_interrupt(uint64_t candidates);
/* An interrupt is pending and locally enabled, whatever the global enables say (WFI's wake-up condition). */
bool hart_interrupt_pending(const struct hart *h);
/* An interrupt would be taken now. */
bool hart_interrupt_deliverable(const struct hart *h);
void hart_return_m(struct hart *h); /* MRET: sets pc, privilege */
void hart_return_s(struct hart *h);
void hart_return_mn(struct hart *h);
/* Ceases execution: run() ends with VCPU_EXIT_CRITICAL, now and whenever it is called again. */
void hart_critical_error(struct hart *h);

/* ---- memory (mmu.c) ---- */

/* Translates for an access of `access`; on failure fills h->trap and returns NULL with *is_ram unset. */
struct mmu_target {
    uint8_t *host; /* RAM, else NULL: a device (or nothing) at gpa */
    uint64_t gpa;
};
bool mmu_translate(struct hart *h, uint64_t gva, enum mem_access access, unsigned size_bytes,
                   struct mmu_target *target);

/* What a walk of the page table at satp needs for an access under `view`. */
struct walk_params mmu_walk_params(struct hart *h, const struct tlb_view *view, enum mem_access access);

/* The host address of the page at `gva` if it is RAM that may be accessed so now without anything having to change, A
 * and D bits included: what a TLB entry would allow. Else NULL; h->trap is kept. */
uint8_t *mmu_peek(struct hart *h, uint64_t gva, bool write);

/* Slow paths of loads and stores: misaligned, unmapped, devices, code pages. False: h->trap is filled. */
bool mmu_load(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value);
bool mmu_store(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t value);

/* For an atomic: a host pointer to aligned RAM, between begin and end. False: h->trap is filled. Misaligned ones trap.
 */
struct mmu_atomic {
    void *host;
    uint64_t gpa;
    bool guarded; /* reservation lock held */
};
bool mmu_atomic_begin(struct hart *h, uint64_t gva, unsigned size_bytes, struct mmu_atomic *atomic);
void mmu_atomic_end(struct hart *h, const struct mmu_atomic *atomic, unsigned size_bytes);
/* AMOCAS.Q: `value` is what memory is compared with, and becomes what it held. False: h->trap is filled. */
bool mmu_compare_and_swap_pair(struct hart *h, uint64_t gva, uint64_t value[2], uint64_t low, uint64_t high);
bool mmu_load_reserved(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value);
bool mmu_store_conditional(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t value, bool *stored);

/* Shadow stacks (chapter "Zicfiss", "Shadow Stack Memory Protection"): stores a doubleword at gva, loads one, swaps
 * 4 or 8 bytes atomically (`value` is sign-extended). False: h->trap is filled, always with a store's cause. */
bool mmu_shadow_store(struct hart *h, uint64_t gva, uint64_t value);
bool mmu_shadow_load(struct hart *h, uint64_t gva, uint64_t *value);
bool mmu_shadow_swap(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value);

/* A cache block's operations (chapter "CMO"), on the ISA_BLOCK_BYTES that hold gva: zeroes it as a store does; checks
 * that it may be accessed. False: h->trap is filled, with a store's cause and gva itself. */
bool mmu_block_zero(struct hart *h, uint64_t gva);
bool mmu_block_check(struct hart *h, uint64_t gva);

/* Where the instruction at gva lies: host pointer to it (2 bytes at least readable, to the end of its page). False:
 * h->trap is filled. */
bool mmu_fetch(struct hart *h, uint64_t gva, const uint8_t **host);

/* PMP for a range in a privilege (pmp.c). */
bool pmp_allows(const struct hart *h, uint64_t gpa, unsigned size_bytes, enum mem_access access, uint8_t priv);
/* Is the answer the same for the whole 4 KiB page, so that it may be cached? */
bool pmp_uniform(const struct hart *h, uint64_t gpa);
void pmp_update(struct hart *h);

/* ---- performance monitors (hpm.c); `counter` is HPM_FIRST to HPM_END - 1 ---- */

uint64_t hpm_read(const struct hart *h, unsigned counter);
void hpm_write(struct hart *h, unsigned counter, uint64_t value);
void hpm_event_write(struct hart *h, unsigned counter, uint64_t event);
/* Starts and stops counters after a change of privilege or mcountinhibit. `retired`: instructions before it. */
void hpm_update(struct hart *h, uint64_t retired);
/* Notes what overflowed and makes the interrupt pending. */
void hpm_check(struct hart *h);
/* The overflow bits, one a counter. hpm_check() first. */
uint32_t hpm_overflows(const struct hart *h);
/* Instructions until a counter overflows, UINT64_MAX for none; the counters were just looked at. */
uint64_t hpm_insns_to_overflow(const struct hart *h);

/* ---- CSRs (csr.c) ---- */

/* Reads into h->csr_old, then writes when `write`: the instruction's order. False: illegal. Changing the context is the
 * caller's to notice (it always ends the block). */
bool csr_access(struct hart *h, unsigned number, bool read, bool write, uint64_t operand, int op);
enum { CSR_OP_WRITE, CSR_OP_SET, CSR_OP_CLEAR };
/* May a cache-block instruction run that menvcfg and senvcfg enable below M- and S-mode with `field` (ENVCFG_CB...)? */
bool csr_cbo_enabled(const struct hart *h, uint64_t field);
/* The entropy source (seed.c, chapter "Zkr"): what a read of the CSR `seed` gives; whether this mode may. */
bool seed_allowed(const struct hart *h);
uint64_t seed_read(struct hart *h);
/* May this mode reach `ssp`, and run SSAMOSWAP? */
bool csr_ssp_allowed(const struct hart *h);
/* The CSRs of the AIA (aia.c), where the machine has an IMSIC; after the checks by number and privilege. */
bool aia_exists(const struct hart *h);
bool aia_is_csr(const struct hart *h, unsigned number);
/* Bits of mstateen0 that must be set below M-mode for an access to it (chapter "Smstateen"). */
uint64_t aia_state_enable(const struct hart *h, unsigned number);
bool aia_access(struct hart *h, unsigned number, bool write, uint64_t operand, int op);
/* Bits that mstateen `i` has. */
uint64_t csr_mstateen_fields(const struct hart *h, unsigned i);
/* Is this a value that satp.MODE takes? */
bool csr_satp_mode_exists(const struct hart *h, uint64_t mode);
/* For restoring state and tests: mstatus bits that exist. */
void csr_set_mstatus(struct hart *h, uint64_t value);
uint64_t csr_get_mstatus(const struct hart *h);
uint64_t csr_misa(const struct hart *h);

/* ---- Sdtrig (triggers.c), where the hart has it ---- */

/* A register of it, after the checks by number and privilege. False: it does not exist. */
bool triggers_csr_read(const struct hart *h, unsigned number, uint64_t *value);
void triggers_csr_write(struct hart *h, unsigned number, uint64_t value);
/* All of its state, as far as it is legal. */
void triggers_set(struct hart *h, const struct trigger *triggers, uint64_t tselect, uint64_t tcontrol,
                  uint64_t mcontext, uint64_t scontext);
/* An instruction of that many bytes, or an access, is in the range of trigger i: does it fire? Notes that it did. */
bool trigger_fires(struct hart *h, unsigned i, unsigned size_bytes);
void triggers_trap_to_machine(struct hart *h);
void triggers_return_from_machine(struct hart *h);

#define MSTATUS_SIE (1ull << 1)
#define MSTATUS_MIE (1ull << 3)
#define MSTATUS_SPIE (1ull << 5)
#define MSTATUS_MPIE (1ull << 7)
#define MSTATUS_SPP (1ull << 8)
#define MSTATUS_MPP_SHIFT 11
#define MSTATUS_MPP (3ull << MSTATUS_MPP_SHIFT)
#define MSTATUS_FS (3ull << 13)
#define MSTATUS_MPRV (1ull << 17)
#define MSTATUS_SUM (1ull << 18)
#define MSTATUS_MXR (1ull << 19)
#define MSTATUS_TVM (1ull << 20)
#define MSTATUS_TW (1ull << 21)
#define MSTATUS_TSR (1ull << 22)
#define MSTATUS_SPELP (1ull << 23)
#define MSTATUS_SDT (1ull << 24)
#define MSTATUS_UXL (3ull << 32)
#define MSTATUS_SXL (3ull << 34)
#define MSTATUS_MPELP (1ull << 41)
#define MSTATUS_MDT (1ull << 42)
#define MSTATUS_SD (1ull << 63)
#define MNSTATUS_NMIE (1ull << 3)
#define MNSTATUS_MNPELP (1ull << 9)
#define MNSTATUS_MNPP MSTATUS_MPP
#define ENVCFG_LPE (1ull << 2)
#define ENVCFG_SSE (1ull << 3)
#define ENVCFG_CBIE (3ull << 4)
#define ENVCFG_CBCFE (1ull << 6)
#define ENVCFG_CBZE (1ull << 7)
/* Of menvcfg, senvcfg and mseccfg: masked pointers one mode below, in M-mode for the last. */
#define ENVCFG_PMM_SHIFT 32
#define ENVCFG_PMM (3ull << ENVCFG_PMM_SHIFT)
#define MSECCFG_MML (1ull << 0)
#define MSECCFG_MMWP (1ull << 1)
#define MSECCFG_RLB (1ull << 2)
#define MSECCFG_USEED (1ull << 8)
#define MSECCFG_SSEED (1ull << 9)
#define MSECCFG_MLPE (1ull << 10)
#define MSTATEEN_SE (1ull << 63)
#define MSTATEEN0_ENVCFG (1ull << 62)
#define MSTATEEN0_CSRIND (1ull << 60)
#define MSTATEEN0_AIA (1ull << 59)
#define MSTATEEN0_CONTEXT (1ull << 57)
#define MSTATEEN0_IMSIC (1ull << 58)
#define MSTATEEN0_AIA_ALL (MSTATEEN0_CSRIND | MSTATEEN0_AIA | MSTATEEN0_IMSIC)
#define MENVCFG_DTE (1ull << 59)
#define MENVCFG_ADUE (1ull << 61)
#define MENVCFG_PBMTE (1ull << 62)
#define MENVCFG_STCE (1ull << 63)
#define SATP_MODE_SHIFT 60
#define SATP_MODE_SV39 8ull
#define SATP_MODE_SV48 9ull
#define SATP_MODE_SV57 10ull
/* Levels of page tables in a mode that translates. */
#define SATP_MODE_LEVELS(mode) ((unsigned)(mode) - 5)

/* ---- floating point (fp.c) ---- */

void fp_load_host(struct hart *h); /* guest's rounding mode and flags into the host; idempotent */
void fp_save_host(struct hart *h); /* and back, the host's own restored; the flags alone: fp_flags.h */
void fp_write_frm(struct hart *h, uint8_t frm);

/* The outlined paths of sem_fp.h: operations in a rounding mode that the host is not in (or does not have), and what
 * the host gets wrong. Operands and results are register contents without the box: narrower formats in the low bits. */
enum fp_op { FP_ADD, FP_MUL, FP_DIV, FP_SQRT, FP_FMA };
enum fp_format { FP_SINGLE, FP_DOUBLE, FP_HALF, FP_BFLOAT };
enum fp_int { FP_INT32, FP_UINT32, FP_INT64, FP_UINT64 };
/* a op b, or a * b + c, correctly rounded in `rm`. False where an operand is infinite or NaN or the result does not
 * depend on the mode: the host's own operation is right then. */
bool fp_rounded(struct hart *h, enum fp_op op, enum fp_format format, uint64_t a, uint64_t b, uint64_t c, unsigned rm,
                uint64_t *result);
/* The same for any operands and RM_HOST as well: all of an operation in a format that the host does not have. */
uint64_t fp_soft(struct hart *h, enum fp_op op, enum fp_format format, uint64_t a, uint64_t b, uint64_t c, unsigned rm);
/* Any finite or other double (a narrower format converted exactly) to an integer; sign-extended for 32 bits as
 * registers hold them. */
uint64_t fp_to_int(struct hart *h, enum fp_int kind, uint64_t bits, unsigned rm);
uint64_t fp_from_int(struct hart *h, enum fp_format format, bool negative, uint64_t magnitude, unsigned rm);
/* Any double (a single converted exactly) to a narrower format. */
uint64_t fp_narrow(struct hart *h, enum fp_format format, uint64_t bits, unsigned rm);
/* Rounded to an integer of the same format; raises inexact only if `exact` (FROUNDNX). Finite numbers; the bits of
 * others as they are. */
uint64_t fp_round_integral(struct hart *h, enum fp_format format, uint64_t bits, unsigned rm, bool exact);
/* FCVTMOD.W.D: the truncated double modulo 2^32, sign-extended, with the flags of FCVT.W.D. */
uint64_t fp_to_int_modulo(struct hart *h, uint64_t bits);
/* inf * 0 + NaN is invalid here and is not on x86. */
void fp_fma_nan(struct hart *h, double a, double b);
void fp_raise(struct hart *h, uint8_t flags);

#endif
