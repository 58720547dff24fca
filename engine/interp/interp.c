/* The interpreter: one handler per semantic body, made from the body by inlining it with operands from the decoded op,
 * and the passage from block to block.
 *
 * A handler's four arguments live in r12 to r15 (preserve_none), which calls to C functions keep, so a slow path costs
 * the fast path nothing but the jump over it. Handlers end in a tail call; the stack does not grow, and a plain return
 * leaves interp_run().
 *
 * Counting: a block's instructions are charged when it is entered; what does not retire is refunded (traps).
 * `insns_ahead` says how much of the charge lies ahead while something outside looks at the count in mid-block.
 */
/* Before the bodies: it governs what follows it. */
#pragma STDC FENV_ACCESS ON

#include "engine/interp/interp.h"

#include "engine/baseline/baseline.h"
#include "engine/interp/block.h"
#include "engine/isa/riscv/debug.h"
#include "engine/isa/riscv/sem_crypto.h"
#include "engine/isa/riscv/sem_fp.h"
#include "engine/isa/riscv/sem_int.h"
#include "engine/isa/riscv/sem_mem.h"
#include "engine/isa/riscv/sem_sys.h"
#include "engine/region/installed.h"
#include "engine/region/policy.h"
#include "engine/region/verify.h"

#define HANDLER static PRESERVE_NONE void
#define OP_PARAMS struct hart *h, const struct op *op, uint64_t pc, struct block *block
#define TAIL __attribute__((musttail)) return

/* Charges a block, or leaves to the run loop. */
#define CHARGE(next, target)                                                               \
    do {                                                                                   \
        int32_t left_ = hart_charge(h, (next)->insns);                                     \
        if (TUFF_UNLIKELY(left_ < 0)) {                                                    \
            h->pc = (target);                                                              \
            return;                                                                        \
        }                                                                                  \
        atomic_store_explicit(&h->countdown.insns, (uint32_t)left_, memory_order_relaxed); \
    } while (0)

/* Charges and enters a block, or leaves to the run loop. */
#define ENTER(next, target)                                    \
    do {                                                       \
        struct block *next_ = (next);                          \
        uint64_t target_ = (target);                           \
        CHARGE(next_, target_);                                \
        if (TUFF_UNLIKELY(!--next_->heat))                     \
            TAIL interp_hot(h, next_->ops, target_, next_);    \
        TAIL next_->ops[0].run(h, next_->ops, target_, next_); \
    } while (0)

/* ---- from block to block ---- */

/* The profile says that this block matters. Its instructions are charged already. */
TUFF_NOINLINE PRESERVE_NONE void interp_hot(OP_PARAMS)
{
    region_hot(h, block, pc);
    TAIL block->ops[0].run(h, block->ops, pc, block);
}

PRESERVE_NONE void interp_leave(OP_PARAMS)
{
    h->pc = pc;
}

static TUFF_NOINLINE PRESERVE_NONE void op_region_check(OP_PARAMS)
{
    if (region_mapped(h, block, pc))
        TAIL region_code(block)(h, op, pc, block);
    TAIL block->saved_run(h, op, pc, block);
}

/* Enters a region that lies on several pages: those must be mapped as they were when it was chosen. */
HANDLER op_region(OP_PARAMS)
{
    if (TUFF_LIKELY(block->checked_pc == pc && block->checked_stamp == h->exec_bank->stamp))
        TAIL region_code(block)(h, op, pc, block);
    TAIL op_region_check(h, op, pc, block);
}

static void stop_for_debugger(struct hart *h)
{
    h->stop = true;
    h->exit = VCPU_EXIT_DEBUG;
}

static TUFF_COLD void take_exception(struct hart *h, uint64_t pc)
{
    if (h->verify && verify_trapped(h, pc))
        return;
    if (h->trap.cause == TRAP_DEBUGGER) {
        h->pc = pc;
        stop_for_debugger(h);
        return;
    }
    hart_take_trap(h, h->trap.cause, h->trap.tval, pc);
    if (h->debug && h->debug->stepping && !h->stop)
        stop_for_debugger(h);
}

/* To h->pc, wherever that is. `op` is unused: these have a handler's type so that they can be tail-called. */
static TUFF_NOINLINE PRESERVE_NONE void go_lookup(OP_PARAMS)
{
    uint64_t target = h->pc;
    struct block *next;

    while (!(next = block_lookup(h, target))) {
        take_exception(h, target);
        if (h->stop)
            return;
        if (h->pc == target) {
            /* The trap handler itself cannot be fetched: this repeats for ever and retires nothing. Sleeping until an
             * interrupt is the same to the guest. */
            h->stop = true;
            h->exit = VCPU_EXIT_HALTED;
            return;
        }
        target = h->pc;
    }
    ENTER(next, target);
}

/* To h->pc through the jump cache. */
PRESERVE_NONE void interp_go(OP_PARAMS)
{
    uint64_t target = h->pc;
    const struct tlb_jump *jump = &h->exec_bank->jumps[tlb_jump_index(target)];
    struct block *next = jump->target;

    if (TUFF_LIKELY(jump->pc == target && next && next->ctx == h->ctx))
        ENTER(next, target);
    TAIL go_lookup(h, op, pc, block);
}

/* A direct edge that has no link yet: within the page it gets one. */
#define DEFINE_DIRECT(name, edge)                                         \
    static TUFF_NOINLINE PRESERVE_NONE void name(OP_PARAMS)               \
    {                                                                     \
        uint64_t target = h->pc;                                          \
        if (((target ^ pc) & TLB_PAGE_MASK) == 0 && !block->straddling) { \
            struct block *next = link_edge(h, block, edge, target);       \
            if (next)                                                     \
                ENTER(next, target);                                      \
            TAIL go_lookup(h, op, pc, block);                             \
        }                                                                 \
        TAIL interp_go(h, op, pc, block);                                 \
    }

static TUFF_NOINLINE struct block *link_edge(struct hart *h, struct block *block, unsigned edge, uint64_t target)
{
    uint64_t generation = block_cache_generation(h->blocks);
    struct block *next = block_lookup(h, target);

    /* Everything may have been thrown away to make room: then `block` is gone. */
    if (next && generation == block_cache_generation(h->blocks) && !next->straddling && next->ctx == block->ctx)
        block->link[edge] = next;
    return next;
}

DEFINE_DIRECT(go_fall, BLOCK_FALL)
DEFINE_DIRECT(go_taken, BLOCK_TAKEN)

/* The same from compiled code. Once both blocks have code, it is not asked again. */
#define DEFINE_LINK(name, edge, target_pc, look_up)  \
    TUFF_NOINLINE PRESERVE_NONE void name(OP_PARAMS) \
    {                                                \
        uint64_t target = (target_pc);               \
        struct block *next = block->link[edge];      \
        if (next) {                                  \
            baseline_link(h, block, edge, next);     \
            ENTER(next, target);                     \
        }                                            \
        h->pc = target;                              \
        TAIL look_up(h, op, pc, block);              \
    }

TUFF_INLINE uint64_t taken_target(const struct block *block, uint64_t pc)
{
    const struct op *last = &block->ops[block->insns - 1];

    return pc + op_offset(last) + (uint64_t)(int64_t)last->imm;
}

DEFINE_LINK(interp_link_fall, BLOCK_FALL, pc + block->bytes, go_fall)
DEFINE_LINK(interp_link_taken, BLOCK_TAKEN, taken_target(block, pc), go_taken)

/* Any but the first of the targets known. One that comes up more often than its neighbour moves forward; a new one
 * takes the last place once that has been outvoted. */
static TUFF_NOINLINE void note_target(struct block *block, uint64_t pc)
{
    struct block_target *last = &block->indirect[BLOCK_TARGETS - 1];

    for (struct block_target *t = block->indirect; t <= last; t++) {
        if (t->count && t->pc != pc)
            continue;
        t->pc = pc;
        t->count++;
        if (t > block->indirect && t->count > t[-1].count) {
            struct block_target other = t[-1];
            t[-1] = *t;
            *t = other;
        }
        return;
    }
    last->count--;
}

PRESERVE_NONE void interp_indirect(OP_PARAMS)
{
    if (TUFF_LIKELY(block->indirect[0].pc == h->pc))
        block->indirect[0].count++;
    else
        note_target(block, h->pc);
    TAIL interp_go(h, op, pc, block);
}

/* After an instruction that may have changed anything: interrupts first, then on in whatever context it is now. */
static TUFF_NOINLINE PRESERVE_NONE void go_end(OP_PARAMS)
{
    if (h->irq_check) {
        h->irq_check = false;
        if (hart_interrupt_deliverable(h) && !h->stop)
            hart_take_interrupt(h);
    }
    if (h->stop)
        return;
    TAIL interp_go(h, op, pc, block);
}

TUFF_NOINLINE PRESERVE_NONE void interp_trap(OP_PARAMS)
{
    uint64_t offset = op_offset(op);

    hart_refund(h, block->insns - (uint32_t)(op - block->ops));
    if (h->trap.cause == CAUSE_ILLEGAL && h->trap.tval == 0) {
        uint32_t bits = 0;
        __builtin_memcpy(&bits, block_source(block) + offset, op_len_bytes(op) == 4 ? 4 : 2);
        h->trap.tval = bits;
    }
    take_exception(h, pc + offset);
    if (TUFF_UNLIKELY(h->stop))
        return;
    TAIL interp_go(h, op, pc, block);
}

/* ---- handlers ---- */

#define OPERANDS \
    h, &h->r, op->rd, op->rs1, op->rs2, op->imm, pc + op_offset(op), pc + op_offset(op) + op_len_bytes(op), 0

/* What follows a body; `next` is a constant on each path once the body is inlined, so only the used parts remain. */
#define FINISH(next, effects, miss)                                                           \
    switch (next) {                                                                           \
    case SEM_NEXT:                                                                            \
        if ((effects) & RV_BRANCH) {                                                          \
            if (TUFF_LIKELY(block->link[BLOCK_FALL]))                                         \
                ENTER(block->link[BLOCK_FALL], pc + block->bytes);                            \
            h->pc = pc + block->bytes;                                                        \
            TAIL go_fall(h, op, pc, block);                                                   \
        }                                                                                     \
        TAIL op[1].run(h, op + 1, pc, block);                                                 \
    case SEM_TAKEN:                                                                           \
        block->taken++;                                                                       \
        if (TUFF_LIKELY(block->link[BLOCK_TAKEN]))                                            \
            ENTER(block->link[BLOCK_TAKEN], pc + op_offset(op) + (uint64_t)(int64_t)op->imm); \
        h->pc = pc + op_offset(op) + (uint64_t)(int64_t)op->imm;                              \
        TAIL go_taken(h, op, pc, block);                                                      \
    case SEM_INDIRECT:                                                                        \
        TAIL interp_indirect(h, op, pc, block);                                               \
    case SEM_END:                                                                             \
        TAIL go_end(h, op, pc, block);                                                        \
    case SEM_TRAP:                                                                            \
        TAIL interp_trap(h, op, pc, block);                                                   \
    case SEM_MISS:                                                                            \
        TAIL miss(h, op, pc, block);                                                          \
    }

/* The end of a block that was cut by its length or its page. */
HANDLER op_end(OP_PARAMS)
{
    if (TUFF_LIKELY(block->link[BLOCK_FALL]))
        ENTER(block->link[BLOCK_FALL], pc + block->bytes);
    h->pc = pc + block->bytes;
    TAIL go_fall(h, op, pc, block);
}

/* The slow instance handles every case; while it runs, the count of what has retired is exact. */
#define DEFINE_SLOW(id, effects)                                        \
    static TUFF_NOINLINE PRESERVE_NONE void slow_##id(OP_PARAMS)        \
    {                                                                   \
        uint64_t devices = h->counters.mmio_accesses;                   \
        h->insns_ahead = block->insns - (uint32_t)(op - block->ops);    \
        enum sem_next next = sem_##id(OPERANDS, true);                  \
        h->insns_ahead = 0;                                             \
        block->mmio += (uint32_t)(h->counters.mmio_accesses - devices); \
        FINISH(next, effects, go_lookup)                                \
    }

#define DEFINE_FAST(id, effects)                        \
    HANDLER op_##id(OP_PARAMS)                          \
    {                                                   \
        if ((effects) & RV_END)                         \
            h->insns_ahead = 1;                         \
        enum sem_next next = sem_##id(OPERANDS, false); \
        if ((effects) & RV_END)                         \
            h->insns_ahead = 0;                         \
        FINISH(next, effects, slow_##id)                \
    }

#define INSN(id, mnemonic, format, match, mask, isa, effects, syntax) DEFINE_SLOW(id, effects) DEFINE_FAST(id, effects)
#include "engine/isa/riscv/rows.def"

#define X(id) DEFINE_SLOW(id, RV_END) DEFINE_FAST(id, RV_END)
RV_BODIES_WITHOUT_ROW(X)
#undef X

op_fn *interp_handler(unsigned sem, bool slow)
{
    static op_fn *const handlers[RV_SEM_COUNT][2] = {
#define X(id) [RV_SEM_##id] = {op_##id, slow_##id},
        RV_BODIES_WITHOUT_ROW(X)
#undef X
#define INSN(id, ...) [RV_SEM_##id] = {op_##id, slow_##id},
#include "engine/isa/riscv/rows.def"
    };

    return handlers[sem][slow];
}

/* Leaves a region at an instruction that it cannot do: the interpreter goes by. */
PRESERVE_NONE void interp_past(OP_PARAMS)
{
    uint64_t target = h->pc;
    struct block *next = block_lookup(h, target);

    if (!next) {
        take_exception(h, target);
        if (TUFF_UNLIKELY(h->stop))
            return;
        TAIL interp_go(h, op, pc, block);
    }
    CHARGE(next, target);
    TAIL(next->use ? next->saved_run : next->ops[0].run)(h, next->ops, target, next);
}

/* A region cannot be run now (not mapped, or the grant may end inside): its first block is interpreted. */
PRESERVE_NONE void interp_region_decline(OP_PARAMS)
{
    TAIL block->saved_run(h, op, pc, block);
}

/* The one instruction of a block that stops: where nothing does now, it is decoded and run as it is. */
static TUFF_NOINLINE PRESERVE_NONE void op_point(OP_PARAMS)
{
    struct block *rest = debug_stops_at(h, pc, (unsigned)op_len_bytes(op)) ? NULL : block_past_point(h, pc);

    if (!rest)
        TAIL interp_trap(h, op, pc, block);
    TAIL rest->ops[0].run(h, rest->ops, pc, rest);
}

op_fn *interp_point_handler(void)
{
    return op_point;
}

op_fn *interp_region_handler(void)
{
    return op_region;
}

op_fn *interp_end_handler(void)
{
    return op_end;
}

void interp_run(struct hart *h)
{
    interp_go(h, NULL, 0, NULL);
}

void interp_run_rest(struct hart *h)
{
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed);
    struct block *rest = block_partial(h, h->pc, left);

    if (!rest) {
        take_exception(h, h->pc);
        return;
    }
    atomic_store_explicit(&h->countdown.insns, left - rest->insns, memory_order_relaxed);
    rest->ops[0].run(h, rest->ops, h->pc, rest);
}
