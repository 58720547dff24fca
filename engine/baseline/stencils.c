/* The stencils of the baseline tier: each semantic body once more, as a function that is not linked but copied.
 * Operands are addresses of undefined symbols (holes.h), so that they fold into the instructions as displacements and
 * immediates; a stencil ends in tail calls of undefined functions, and a tail call of what follows is dropped.
 *
 * They have a handler's type and convention (engine/interp/block.h), so that compiled blocks and the interpreter go on
 * in each other's places; `op` is not up to date in compiled code. A stencil's name is stencil_ID_N, where N is what
 * stencil.h calls its variant. stencilgen.c reads the object file and refuses what a copy could not do.
 */
/* Before the bodies: it governs what follows it. */
#pragma STDC FENV_ACCESS ON

#include "engine/baseline/holes.h"
#include "engine/interp/block.h"

#define X(name, text) extern const char hole_##name[];
STENCIL_HOLES(X)
#undef X
/* Not a hole: what stands for the number of a register, of which a body with a stencil must make no use. */
extern const char number_of_register[];

#define HOLE(name) ((int64_t)(uintptr_t)hole_##name)

#define SEM_X(operand) (*(uint64_t *)((uint8_t *)h + HOLE(x_##operand)))
#define SEM_F(operand) (*(uint64_t *)((uint8_t *)h + HOLE(f_##operand)))
#define SEM_F_RS3 SEM_F(rs3)
#define SEM_RD_IS_X0 false /* where it matters, such an instruction gets no stencil */

#include "engine/isa/riscv/sem_crypto.h"
#include "engine/isa/riscv/sem_fp.h"
#include "engine/isa/riscv/sem_int.h"
#include "engine/isa/riscv/sem_mem.h"
#include "engine/isa/riscv/sem_sys.h"

#define OP_PARAMS struct hart *h, const struct op *op, uint64_t pc, struct block *block
#define OP_ARGS h, op, pc, block
#define TAIL __attribute__((musttail)) return
#define STENCIL(name)                             \
    PRESERVE_NONE void stencil_##name(OP_PARAMS); \
    PRESERVE_NONE void stencil_##name(OP_PARAMS)

#define X(name, text) PRESERVE_NONE void way_##name(OP_PARAMS);
STENCIL_WAYS(X)
#undef X

#define NUMBER ((unsigned)(uintptr_t)number_of_register)
#define OPERANDS(imm) h, &h->r, NUMBER, NUMBER, NUMBER, imm, pc + (uint64_t)HOLE(here), pc + (uint64_t)HOLE(after), 0

#define FINISH(next, effects)       \
    switch (next) {                 \
    case SEM_NEXT:                  \
        if ((effects) & RV_BRANCH)  \
            TAIL way_fall(OP_ARGS); \
        TAIL way_next(OP_ARGS);     \
    case SEM_TAKEN:                 \
        TAIL way_taken(OP_ARGS);    \
    case SEM_INDIRECT:              \
        TAIL way_indirect(OP_ARGS); \
    case SEM_MISS:                  \
        TAIL way_miss(OP_ARGS);     \
    case SEM_END:                   \
    case SEM_TRAP:                  \
        TAIL way_trap(OP_ARGS);     \
    }

/* An immediate of which the compiler knows nothing, not even that it is the address of an object below 2^31. */
TUFF_INLINE int64_t any_imm(void)
{
    int64_t imm;

    __asm__("movq $hole_imm, %0" : "=r"(imm));
    return imm;
}

/* Rows that end a block are run by the interpreter's handlers: they get no stencil. */
#define DEFINE(id, effects)                                                                                     \
    STENCIL(id##_0)                                                                                             \
    {                                                                                                           \
        enum sem_next next = sem_##id(OPERANDS((effects) & RV_RM ? SEM_RM_IMM(0, RM_HOST) : HOLE(imm)), false); \
        FINISH(next, effects)                                                                                   \
    }                                                                                                           \
    STENCIL(id##_1)                                                                                             \
    {                                                                                                           \
        enum sem_next next = sem_##id(OPERANDS((effects) & RV_RM ? SEM_RM_IMM(0, RM_RTZ) : any_imm()), false);  \
        FINISH(next, effects)                                                                                   \
    }

#define INSN(id, mnemonic, format, match, mask, isa, effects, syntax) DEFINE(id, effects)
#include "engine/isa/riscv/rows.def"

/* What a jump from block to block comes to: charges the block, counts its execution. */
STENCIL(enter)
{
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed) - (uint32_t)HOLE(insns);

    if (TUFF_UNLIKELY((int32_t)(left | atomic_load_explicit(&h->countdown.attention, memory_order_relaxed)) < 0))
        TAIL way_leave(OP_ARGS);
    atomic_store_explicit(&h->countdown.insns, left, memory_order_relaxed);
    if (TUFF_UNLIKELY(!--block->heat))
        TAIL way_hot(OP_ARGS);
    TAIL way_next(OP_ARGS);
}

/* A linked edge, to the `enter` of a block on the same page. */
STENCIL(edge)
{
    TAIL way_there(h, op, pc + (uint64_t)HOLE(target), (struct block *)((uint8_t *)block + HOLE(next)));
}

STENCIL(count_taken)
{
    block->taken++;
    TAIL way_next(OP_ARGS);
}

/* Charges and enters the block that the jump cache has for `target`; where it has none, the interpreter finds it. */
#define ENTER_CACHED(target, and_also)                                                \
    const struct tlb_jump *jump = &h->exec_bank->jumps[tlb_jump_index(target)];       \
    struct block *found = jump->target;                                               \
    if (TUFF_UNLIKELY(jump->pc != (target) || !found || found->ctx != h->ctx))        \
        TAIL way_there(OP_ARGS);                                                      \
    int32_t left = hart_charge(h, found->insns);                                      \
    and_also;                                                                         \
    if (TUFF_UNLIKELY(left < 0))                                                      \
        TAIL way_leave(h, op, target, found);                                         \
    atomic_store_explicit(&h->countdown.insns, (uint32_t)left, memory_order_relaxed); \
    if (TUFF_UNLIKELY(!--found->heat))                                                \
        TAIL way_hot(h, op, target, found);                                           \
    TAIL found->ops[0].run(h, found->ops, target, found)

/* The end of a block that jumps to hart.pc. What its target is counted as, the interpreter says where it is not the
 * most frequent one. */
STENCIL(indirect)
{
    uint64_t target = h->pc;
    struct block_target *first = block->indirect;

    if (TUFF_UNLIKELY(first->pc != target))
        TAIL way_there(OP_ARGS);
    ENTER_CACHED(target, first->count++);
}

/* An edge to another page. */
STENCIL(far)
{
    uint64_t target = pc + (uint64_t)HOLE(target);

    h->pc = target;
    ENTER_CACHED(target, (void)0);
}

/* Calls of what expects `op`: handlers of the interpreter. */
STENCIL(with_op)
{
    TAIL way_there(h, (const struct op *)((const uint8_t *)block + HOLE(op)), pc, block);
}

STENCIL(go)
{
    TAIL way_there(OP_ARGS);
}

/* Over the first instruction of a block that enters a region. */
STENCIL(region)
{
    TAIL block->ops[0].run(OP_ARGS);
}
