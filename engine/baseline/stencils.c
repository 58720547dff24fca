/* The stencils of the baseline tier: each semantic body once more, as a function that is not linked but copied.
 * Operands are addresses of undefined symbols (holes.h), so that they fold into the instructions as displacements and
 * immediates; a stencil ends in tail calls of undefined functions, and a tail call of what follows is dropped.
 *
 * They have a handler's type and convention (engine/interp/block.h), so that compiled blocks and the interpreter go on
 * in each other's places; `op` is not up to date in compiled code. A stencil's name is stencil_ID_VAB: what
 * stencil.h calls its variant, and where rs1 and rs2 are. stencilgen.c reads the object file and refuses what a copy
 * could not do.
 */
/* Before the bodies: it governs what follows it. */
#pragma STDC FENV_ACCESS ON

#include "engine/baseline/stencil.h"
#include "engine/interp/block.h"

#define X(name, text) extern const char hole_##name[];
STENCIL_HOLES(X)
#undef X
/* Not a hole: what stands for the number of a register, of which a body with a stencil must make no use. */
extern const char number_of_register[];

#define HOLE(name) ((int64_t)(uintptr_t)hole_##name)

/* What the last instructions of the block wrote is also in host registers, x and f apart, newest first: a stencil may
 * take an operand from there, which saves the wait for the store before it. The registers in memory are always up to
 * date. `site` of a body is the address of this. */
struct recent {
    uint64_t x[STENCIL_RECENT];
    double f[STENCIL_RECENT];
    enum stencil_source rs1, rs2, rs3; /* where the operands are */
    uint64_t x_result;
    double f_result;
    bool has_x_result, has_f_result;
    bool dirties; /* SEM_DIRTY_FS was there */
    bool alone;   /* the machine has one hart */
};
#define RECENT ((struct recent *)(uintptr_t)site)

#define STATE(type, offset) (*(type *)((uint8_t *)h + (offset)))

TUFF_INLINE uint64_t read_x(struct hart *h, const struct recent *recent, enum stencil_source source, int64_t offset)
{
    if (source == STENCIL_FROM_MEMORY)
        return STATE(uint64_t, offset);
    return source == STENCIL_ZERO ? 0 : recent->x[source - STENCIL_FROM_RECENT];
}

TUFF_INLINE void write_x_rd(struct hart *h, struct recent *recent, uint64_t value)
{
    STATE(uint64_t, HOLE(x_rd)) = value;
    recent->x_result = value;
    recent->has_x_result = true;
}

TUFF_INLINE uint64_t read_f(struct hart *h, const struct recent *recent, enum stencil_source source, int64_t offset)
{
    if (source < STENCIL_FROM_RECENT)
        return STATE(uint64_t, offset);
    return __builtin_bit_cast(uint64_t, recent->f[source - STENCIL_FROM_RECENT]);
}

TUFF_INLINE void write_f_rd(struct hart *h, struct recent *recent, uint64_t value)
{
    STATE(uint64_t, HOLE(f_rd)) = value;
    recent->f_result = __builtin_bit_cast(double, value);
    recent->has_f_result = true;
}

#define SOURCE_rs1 RECENT->rs1
#define SOURCE_rs2 RECENT->rs2
#define SOURCE_rs3 RECENT->rs3
#define SOURCE_rd STENCIL_FROM_MEMORY

#define SEM_X(operand) read_x(h, RECENT, SOURCE_##operand, HOLE(x_##operand))
#define SEM_SET_X_RD(value) write_x_rd(h, RECENT, value)
#define SEM_F(operand) read_f(h, RECENT, SOURCE_##operand, HOLE(f_##operand))
#define SEM_SET_F_RD(value) write_f_rd(h, RECENT, value)
#define SEM_NAN_MISSES true
#define SEM_RESERVATIONS (!RECENT->alone && atomic_load_explicit(h->reservations_active, memory_order_relaxed))
#define SEM_F_RS3 SEM_F(rs3)
#define SEM_DIRTY_FS (RECENT->dirties = true) /* a block does it once */
#define SEM_RD_IS_X0 false                    /* where it matters, such an instruction gets no stencil */

#include "engine/isa/riscv/sem_crypto.h"
#include "engine/isa/riscv/sem_fp.h"
#include "engine/isa/riscv/sem_int.h"
#include "engine/isa/riscv/sem_mem.h"
#include "engine/isa/riscv/sem_sys.h"

/* A handler's parameters, then what is recent. */
#define STENCIL_PARAMS                                                                                          \
    struct hart *h, const struct op *op, uint64_t pc, struct block *block, uint64_t x0, uint64_t x1, double f0, \
        double f1
#define RECENT_ARGS x0, x1, f0, f1
#define STENCIL_ARGS h, op, pc, block, RECENT_ARGS
_Static_assert(STENCIL_RECENT == 2, "parameters of stencils");
#define TAIL __attribute__((musttail)) return
#define STENCIL(name)                                  \
    PRESERVE_NONE void stencil_##name(STENCIL_PARAMS); \
    PRESERVE_NONE void stencil_##name(STENCIL_PARAMS)

/* A tail call wants a callee of the caller's type; a handler does not look at what is recent. */
typedef void PRESERVE_NONE stencil_fn(STENCIL_PARAMS);

#define X(name, text) stencil_fn way_##name;
STENCIL_WAYS(X)
#undef X

#define NUMBER ((unsigned)(uintptr_t)number_of_register)
#define OPERANDS(imm)                                                                             \
    h, &h->r, NUMBER, NUMBER, NUMBER, imm, pc + (uint64_t)HOLE(here), pc + (uint64_t)HOLE(after), \
        (uint64_t)(uintptr_t)&recent

#define NEXT_ARGS                                                                                \
    h, op, pc, block, recent.has_x_result ? recent.x_result : x0, recent.has_x_result ? x0 : x1, \
        recent.has_f_result ? recent.f_result : f0, recent.has_f_result ? f0 : f1

/* `no_x` and `no_f` have no value (the flags of the build allow that): on ways out nobody looks at what is recent, and
 * a jump needs no moves before it. */
#define FINISH(next, effects)                                        \
    uint64_t no_x;                                                   \
    double no_f;                                                     \
    switch (next) {                                                  \
    case SEM_NEXT:                                                   \
        if ((effects) & RV_BRANCH)                                   \
            TAIL way_fall(h, op, pc, block, no_x, no_x, no_f, no_f); \
        if (recent.dirties)                                          \
            TAIL way_dirty(NEXT_ARGS);                               \
        TAIL way_next(NEXT_ARGS);                                    \
    case SEM_TAKEN:                                                  \
        TAIL way_taken(h, op, pc, block, no_x, no_x, no_f, no_f);    \
    case SEM_INDIRECT:                                               \
        TAIL way_indirect(h, op, pc, block, no_x, no_x, no_f, no_f); \
    case SEM_MISS:                                                   \
        TAIL way_miss(h, op, pc, block, no_x, no_x, no_f, no_f);     \
    case SEM_END:                                                    \
    case SEM_TRAP:                                                   \
        TAIL way_trap(h, op, pc, block, no_x, no_x, no_f, no_f);     \
    }

/* An immediate of which the compiler knows nothing, not even that it is the address of an object below 2^31. */
TUFF_INLINE int64_t any_imm(void)
{
    int64_t imm;

    __asm__("movq $hole_imm, %0" : "=r"(imm));
    return imm;
}

/* Is a row worth compiling with its operands there? Of what is not double precision, only addresses are. */
#define IS_WORTH(isa, effects, source1, source2)                               \
    (!((effects) & RV_END) && (!((effects) & RV_FP) || ((isa) & ISA_EXT(D)) || \
                               (!(source2) && (!(source1) || ((effects) & (RV_LOAD | RV_STORE))))))

/* One variant (stencil.h) of a row, with its operands where it finds them. */
#define DEFINE(id, isa, effects, variant, imm, source3, source1, source2)                       \
    STENCIL(id##_##variant##source1##source2)                                                   \
    {                                                                                           \
        if (!IS_WORTH(isa, effects, source1, source2))                                          \
            TAIL way_next(STENCIL_ARGS);                                                        \
        struct recent recent = {.x = {x0, x1},                                                  \
                                .f = {f0, f1},                                                  \
                                .rs1 = (source1),                                               \
                                .rs2 = (source2),                                               \
                                .rs3 = (source3),                                               \
                                .alone = ((effects) & RV_STORE) && (variant) >= STENCIL_ALONE}; \
        enum sem_next next = sem_##id(OPERANDS(imm(source1)), false);                           \
        FINISH(next, effects)                                                                   \
    }

#define SOURCES1(define, ...) \
    define(__VA_ARGS__, 0, 0) define(__VA_ARGS__, 1, 0) define(__VA_ARGS__, 2, 0) define(__VA_ARGS__, 3, 0)
#define SOURCES2(define, ...)                                                                                   \
    SOURCES1(define, __VA_ARGS__)                                                                               \
    define(__VA_ARGS__, 0, 1) define(__VA_ARGS__, 1, 1) define(__VA_ARGS__, 2, 1) define(__VA_ARGS__, 3, 1)     \
        define(__VA_ARGS__, 0, 2) define(__VA_ARGS__, 1, 2) define(__VA_ARGS__, 2, 2) define(__VA_ARGS__, 3, 2) \
            define(__VA_ARGS__, 0, 3) define(__VA_ARGS__, 1, 3) define(__VA_ARGS__, 2, 3) define(__VA_ARGS__, 3, 3)
_Static_assert(STENCIL_SOURCES == 4, "variants of stencils");

/* Compared with zero, an address would be known to be greater. */
#define HOLE_IMM(source1) ((source1) == STENCIL_ZERO ? any_imm() : HOLE(imm))

#define ANY_IMM(source1) any_imm()
#define IMM_HOST(source1) SEM_RM_IMM(0, RM_HOST)
#define IMM_RTZ(source1) SEM_RM_IMM(0, RM_RTZ)

#define PLAIN(id, isa, effects) DEFINE(id, isa, effects, 0, HOLE_IMM, 0, 0, 0)
#define ONE(id, isa, effects) SOURCES1(DEFINE, id, isa, effects, 0, HOLE_IMM, 0)
#define TWO(id, isa, effects) SOURCES2(DEFINE, id, isa, effects, 0, HOLE_IMM, 0)
#define ANY_IMM_PLAIN(id, isa, effects) PLAIN(id, isa, effects) DEFINE(id, isa, effects, 1, ANY_IMM, 0, 0, 0)
#define ANY_IMM_ONE(id, isa, effects) ONE(id, isa, effects) SOURCES1(DEFINE, id, isa, effects, 1, ANY_IMM, 0)
#define ANY_IMM_TWO(id, isa, effects) TWO(id, isa, effects) SOURCES2(DEFINE, id, isa, effects, 1, ANY_IMM, 0)
#define STORE_TWO(id, isa, effects)                    \
    ANY_IMM_TWO(id, isa, effects)                      \
    SOURCES2(DEFINE, id, isa, effects, 2, HOLE_IMM, 0) \
    SOURCES2(DEFINE, id, isa, effects, 3, ANY_IMM, 0)
#define ROUNDED_ONE(id, isa, effects)                  \
    SOURCES1(DEFINE, id, isa, effects, 0, IMM_HOST, 0) \
    SOURCES1(DEFINE, id, isa, effects, 1, IMM_RTZ, 0)
#define ROUNDED_TWO(id, isa, effects)                  \
    SOURCES2(DEFINE, id, isa, effects, 0, IMM_HOST, 0) \
    DEFINE(id, isa, effects, 1, IMM_RTZ, 0, 0, 0)
#define ROUNDED_THREE(id, isa, effects)                \
    ROUNDED_TWO(id, isa, effects)                      \
    SOURCES2(DEFINE, id, isa, effects, 2, IMM_HOST, 2) \
    SOURCES2(DEFINE, id, isa, effects, 3, IMM_HOST, 3)

/* By operand format. */
#define FORMAT_AMO PLAIN
#define FORMAT_AMO_PAIR PLAIN
#define FORMAT_B TWO
#define FORMAT_BS TWO
#define FORMAT_CBO PLAIN
#define FORMAT_CSR PLAIN
#define FORMAT_CSR_NAMED PLAIN
#define FORMAT_CSR_TRAP PLAIN
#define FORMAT_FENCE PLAIN
#define FORMAT_FENCE_I PLAIN
#define FORMAT_FLI PLAIN
#define FORMAT_I ANY_IMM_ONE
#define FORMAT_J PLAIN
#define FORMAT_LR PLAIN
#define FORMAT_MOP_R PLAIN
#define FORMAT_MOP_RR PLAIN
#define FORMAT_NONE PLAIN
#define FORMAT_R TWO
#define FORMAT_R1 ONE
#define FORMAT_R1_RM ROUNDED_ONE
#define FORMAT_R4_RM ROUNDED_THREE
#define FORMAT_RNUM ONE
#define FORMAT_R_RM ROUNDED_TWO
#define FORMAT_S STORE_TWO
#define FORMAT_SFENCE PLAIN
#define FORMAT_SHIFT32 ONE
#define FORMAT_SHIFT64 ONE
#define FORMAT_U ANY_IMM_PLAIN

#define INSN(id, mnemonic, format, match, mask, isa, effects, syntax) FORMAT_##format(id, isa, effects)
#include "engine/isa/riscv/rows.def"

/* What a jump from block to block comes to: charges the block, counts its execution. */
STENCIL(enter)
{
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed) - (uint32_t)HOLE(insns);

    if (TUFF_UNLIKELY((int32_t)(left | atomic_load_explicit(&h->countdown.attention, memory_order_relaxed)) < 0))
        TAIL way_leave(STENCIL_ARGS);
    atomic_store_explicit(&h->countdown.insns, left, memory_order_relaxed);
    if (TUFF_UNLIKELY(!--block->heat))
        TAIL way_hot(STENCIL_ARGS);
    TAIL way_next(STENCIL_ARGS);
}

/* A linked edge, to the `enter` of a block on the same page. */
STENCIL(edge)
{
    TAIL way_there(h, op, pc + (uint64_t)HOLE(target), (struct block *)((uint8_t *)block + HOLE(next)), RECENT_ARGS);
}

STENCIL(count_taken)
{
    block->taken++;
    TAIL way_next(STENCIL_ARGS);
}

/* Charges and enters the block that the jump cache has for `target`; where it has none, the interpreter finds it. */
#define ENTER_CACHED(target, and_also)                                                \
    const struct tlb_jump *jump = &h->exec_bank->jumps[tlb_jump_index(target)];       \
    struct block *found = jump->target;                                               \
    if (TUFF_UNLIKELY(jump->pc != (target) || !found || found->ctx != h->ctx))        \
        TAIL way_there(STENCIL_ARGS);                                                 \
    int32_t left = hart_charge(h, found->insns);                                      \
    and_also;                                                                         \
    if (TUFF_UNLIKELY(left < 0))                                                      \
        TAIL way_leave(h, op, target, found, RECENT_ARGS);                            \
    atomic_store_explicit(&h->countdown.insns, (uint32_t)left, memory_order_relaxed); \
    if (TUFF_UNLIKELY(!--found->heat))                                                \
        TAIL way_hot(h, op, target, found, RECENT_ARGS);                              \
    TAIL((stencil_fn *)found->ops[0].run)(h, found->ops, target, found, RECENT_ARGS)

/* The end of a block that jumps to hart.pc. What its target is counted as, the interpreter says where it is not the
 * most frequent one. */
STENCIL(indirect)
{
    uint64_t target = h->pc;
    struct block_target *first = block->indirect;

    if (TUFF_UNLIKELY(first->pc != target))
        TAIL way_there(STENCIL_ARGS);
    ENTER_CACHED(target, first->count++);
}

/* An edge to another page: where to, */
STENCIL(far)
{
    h->pc = pc + (uint64_t)HOLE(target);
    TAIL way_there(STENCIL_ARGS);
}

/* and there. */
STENCIL(enter_far)
{
    uint64_t target = h->pc;

    ENTER_CACHED(target, (void)0);
}

/* Calls of what expects `op`: handlers of the interpreter. */
STENCIL(with_op)
{
    TAIL way_there(h, (const struct op *)((const uint8_t *)block + HOLE(op)), pc, block, RECENT_ARGS);
}

STENCIL(go)
{
    TAIL way_there(STENCIL_ARGS);
}

/* Over the first instruction of a block that enters a region. */
STENCIL(region)
{
    TAIL((stencil_fn *)block->ops[0].run)(STENCIL_ARGS);
}

/* Behind the first instruction of a block that writes a floating-point register or flag. */
STENCIL(dirty)
{
    h->r.fs_dirty = 1;
    TAIL way_next(STENCIL_ARGS);
}

/* An op is entered from elsewhere: what it takes for recent comes from memory. */
STENCIL(reload)
{
    TAIL way_there(h, op, pc, block, STATE(uint64_t, HOLE(x_rs1)), STATE(uint64_t, HOLE(x_rs2)), f0, f1);
}

STENCIL(reload_f)
{
    TAIL way_there(h, op, pc, block, x0, x1, STATE(double, HOLE(f_rs1)), STATE(double, HOLE(f_rs2)));
}
