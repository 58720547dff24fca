/* The language of semantic bodies: what an instruction does, written once, for every tier.
 *
 * A body is a function of scalar operands. It reads and writes guest registers through `r`, memory through LOAD, STORE
 * and AMO, and returns what happens next. It knows no tier. Worked example, `lw`:
 *
 *     SEM(lw) { LOAD(int32_t, v, RS1 + IMM); SET_RD(v); NEXT; }
 *
 * becomes one function whose operands are constants once it is inlined into generated code, or fields of a decoded
 * op in the interpreter. `slow` is a constant as well: each tier has a fast instance of a body, which returns SEM_MISS
 * before it has changed anything when it meets a case for the outlined path (TLB miss, device, misaligned address, odd
 * rounding mode), and a slow instance, which handles every case. Bodies must therefore do all that can miss or trap
 * before the first change of guest state.
 */
#ifndef TUFF_ENGINE_ISA_RISCV_SEM_H
#define TUFF_ENGINE_ISA_RISCV_SEM_H

#include "engine/isa/riscv/hart.h"

enum sem_next {
    SEM_NEXT,     /* on to the following instruction */
    SEM_TAKEN,    /* to pc + imm */
    SEM_INDIRECT, /* to h->pc */
    SEM_END,      /* to h->pc, and the translation context, interrupts or translations may have changed */
    SEM_TRAP,     /* h->trap is filled; the instruction did not retire */
    SEM_MISS,     /* nothing happened yet: run the slow instance */
};

/* rd is RV_X_SINK for x0. `imm` is the immediate; for rows with a rounding mode SEM_RM_IMM(rs3, rm). `npc` is the
 * address of the following instruction. `site` is what SEM_PROBE may want to know of this place; 0 in the interpreter.
 */
#define SEM_PARAMS                                                                                        \
    struct hart *h, struct rv_regs *r, unsigned rd, unsigned rs1, unsigned rs2, int64_t imm, uint64_t pc, \
        uint64_t npc, const uint64_t site, const bool slow
#define SEM(name) TUFF_INLINE enum sem_next sem_##name(SEM_PARAMS)

/* The registers that an operand (rd, rs1, rs2) numbers. A tier that has them elsewhere, or knows operands by other
 * means than their numbers, may define these before it includes this. */
#ifndef SEM_X
#define SEM_X(operand) (r->x[operand])
#define SEM_SET_X_RD(value) (r->x[rd] = (value))
#define SEM_F(operand) (r->f[operand])
#define SEM_SET_F_RD(value) (r->f[rd] = (value))
#define SEM_F_RS3 (r->f[imm & 31])
#define SEM_RD_IS_X0 (rd == RV_X_SINK)
/* A fast instance leaves results that are NaN to the slow one, which computes them again: flags are sticky. */
#define SEM_NAN_MISSES false
#endif

#ifndef SEM_DIRTY_FS
/* What mstatus.FS becomes dirty by: with each F register and flag that is written. */
#define SEM_DIRTY_FS (r->fs_dirty = 1)
#endif

#define RS1 SEM_X(rs1)
#define RS2 SEM_X(rs2)
#define RS1_W ((uint32_t)RS1)
#define RS2_W ((uint32_t)RS2)
#define IMM ((uint64_t)imm)
#define SET_RD(value) SEM_SET_X_RD((uint64_t)(value))
/* The -W forms: the low 32 bits, sign-extended. */
#define SET_RD_W(value) SEM_SET_X_RD((uint64_t)(int64_t)(int32_t)(value))
#define NEXT return SEM_NEXT
#define TRAP(cause, tval) return sem_raise(h, cause, tval)

/* Decoding puts the rounding mode here: RM_HOST when it is the mode the host is in (dynamic, or static and equal). */
enum { RM_RNE, RM_RTZ, RM_RDN, RM_RUP, RM_RMM, RM_DYN = 7, RM_HOST = 8 };
#define SEM_RM_IMM(rs3, rm) ((rs3) | (rm) << 8)
#define RM ((unsigned)(imm >> 8) & 15)

TUFF_INLINE enum sem_next sem_raise(struct hart *h, uint64_t cause, uint64_t tval)
{
    h->trap.cause = cause;
    h->trap.tval = tval;
    return SEM_TRAP;
}

/* A transfer of control to `target`: without the C extension an address that is not a multiple of 4 traps before rd is
 * written (Unprivileged ISA, section 2.5). Decoding selects the slow instance where that can happen. */
#define CHECK_TARGET(target)                      \
    do {                                          \
        if (slow && ((target) & 2))               \
            TRAP(CAUSE_FETCH_MISALIGNED, target); \
    } while (0)

/* How a fast instance reaches memory: true, and `addend` makes a host address of the guest's, where an access of this
 * kind needs nothing but to be done. A tier that knows better ways may define SEM_PROBE before it includes this. */
enum sem_access { SEM_READ, SEM_WRITE, SEM_ATOMIC };

#define SEM_TAG_MASK(size_bytes) (TLB_PAGE_MASK | ((size_bytes) - 1))

TUFF_INLINE uint64_t sem_tag(const struct tlb_entry *entry, enum sem_access kind)
{
    return kind == SEM_READ ? entry->tag_read : entry->tag_write;
}

TUFF_INLINE bool sem_probe_tlb(const struct hart *h, uint64_t gva, unsigned size_bytes, enum sem_access kind,
                               uint64_t *addend)
{
    const struct tlb_entry *entry = &h->bank->entries[tlb_index(gva)];

    if (TUFF_UNLIKELY((gva & SEM_TAG_MASK(size_bytes)) != sem_tag(entry, kind)))
        return false;
    *addend = entry->addend;
    return true;
}

/* Does some hart hold a reservation, which a store may break? */
#ifndef SEM_RESERVATIONS
#define SEM_RESERVATIONS atomic_load_explicit(h->reservations_active, memory_order_relaxed)
#endif

#ifndef SEM_PROBE
#define SEM_PROBE(gva, size_bytes, kind, addend) sem_probe_tlb(h, gva, size_bytes, kind, addend)
#endif

/* Aligned accesses to RAM are relaxed atomics of their size: not torn, not repeated (RVWMO, section "Memory model
 * primitives"). SEM_LOAD and SEM_STORE do one, or are false; a tier that needs no host address for it may define them
 * as well. `file` is where a register holds the value, X or F; the address is RS1 + imm. */
#ifndef SEM_LOAD
#define SEM_LOAD(type, value, gva, file) SEM_LOAD_PROBED(type, value, gva)
#define SEM_STORE(type, value, gva, file) SEM_STORE_PROBED(type, value, gva)
#endif

#define SEM_LOAD_PROBED(type, value, gva)                                                 \
    ({                                                                                    \
        uint64_t addend_;                                                                 \
        bool probed_ = SEM_PROBE(gva, sizeof(type), SEM_READ, &addend_);                  \
        if (TUFF_LIKELY(probed_))                                                         \
            (value) = __atomic_load_n((const type *)((gva) + addend_), __ATOMIC_RELAXED); \
        probed_;                                                                          \
    })
#define SEM_STORE_PROBED(type, value, gva)                                                     \
    ({                                                                                         \
        uint64_t addend_;                                                                      \
        bool probed_ = SEM_PROBE(gva, sizeof(type), SEM_WRITE, &addend_) && !SEM_RESERVATIONS; \
        if (TUFF_LIKELY(probed_))                                                              \
            __atomic_store_n((type *)((gva) + addend_), (type)(value), __ATOMIC_RELAXED);      \
        probed_;                                                                               \
    })
#define LOAD_FILE(type, value, address, file)                           \
    type value;                                                         \
    do {                                                                \
        uint64_t gva_ = (address);                                      \
        if (slow) {                                                     \
            uint64_t loaded_;                                           \
            if (!mmu_load(h, gva_, sizeof(type), &loaded_))             \
                return SEM_TRAP;                                        \
            value = (type)loaded_;                                      \
        } else if (TUFF_UNLIKELY(!SEM_LOAD(type, value, gva_, file))) { \
            return SEM_MISS;                                            \
        }                                                               \
    } while (0)
#define LOAD(type, value, address) LOAD_FILE(type, value, address, X)
#define LOAD_F(type, value, address) LOAD_FILE(type, value, address, F)

#define STORE_FILE(type, value, address, file)                           \
    do {                                                                 \
        uint64_t gva_ = (address);                                       \
        if (slow) {                                                      \
            if (!mmu_store(h, gva_, sizeof(type), (uint64_t)(value)))    \
                return SEM_TRAP;                                         \
        } else if (TUFF_UNLIKELY(!SEM_STORE(type, value, gva_, file))) { \
            return SEM_MISS;                                             \
        }                                                                \
    } while (0)
#define STORE(type, value, address) STORE_FILE(type, value, address, X)
#define STORE_F(type, value, address) STORE_FILE(type, value, address, F)

/* old = operation on *p (a `type *`) as one atomic step; the operation is an expression that gives the old value.
 * Sequentially consistent, which covers every aq and rl. */
#define AMO(type, old, address, operation)                                                               \
    type old;                                                                                            \
    do {                                                                                                 \
        uint64_t gva_ = (address);                                                                       \
        if (slow) {                                                                                      \
            struct mmu_atomic atomic_;                                                                   \
            if (!mmu_atomic_begin(h, gva_, sizeof(type), &atomic_))                                      \
                return SEM_TRAP;                                                                         \
            type *p = atomic_.host;                                                                      \
            old = (operation);                                                                           \
            mmu_atomic_end(h, &atomic_, sizeof(type));                                                   \
        } else {                                                                                         \
            uint64_t addend_;                                                                            \
            if (TUFF_UNLIKELY(!SEM_PROBE(gva_, sizeof(type), SEM_ATOMIC, &addend_) || SEM_RESERVATIONS)) \
                return SEM_MISS;                                                                         \
            type *p = (type *)(gva_ + addend_);                                                          \
            old = (operation);                                                                           \
        }                                                                                                \
    } while (0)

#endif
