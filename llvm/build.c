/* Builds a region: one call of a semantic body for each guest instruction, and between them what a region is about:
 * where control goes, when guest registers are in memory, and how instructions are counted.
 *
 * Guest registers live in an alloca that dissolves into SSA values once the bodies are inlined; nothing but bodies gets
 * its address. They are loaded when the region is entered and stored where it is left. A body's fast instance that
 * gives up is followed by a call of its slow instance, which gets its operands and leaves its result in the hart, so
 * that the other values stay in host registers.
 *
 * What the slow instance refuses (a trap, a device) makes the region go back to the last place whose state is still
 * known, the start of a *window*, from where the interpreter runs up to the same instruction. A window begins with each
 * block and behind each instruction that cannot be run twice: stores, atomics, those that look at the FP flags. So what
 * is computed and overwritten inside of a window is never kept for a trap that hardly happens, and a window has one
 * exit however many instructions may need it.
 *
 * The count of what is left of the grant is a value too, or rather that of a portion of it (REGION_POLL_INSNS), less
 * the longest path from one edge that closes a cycle to the next. So an edge that closes a cycle only looks at its
 * sign; when it is negative region_poll() looks for attention and gives the next portion.
 */
#include "llvm/build.h"

#include "engine/isa/riscv/decode.h"
#include "engine/isa/riscv/sem.h"
#include "llvm/probe.h"

#include <llvm-c/Target.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REGS_MAX = 31 + 32 };

/* Where an instruction of a block may go back to. */
struct window {
    const struct region_block *block;
    uint32_t first;      /* instruction of the block */
    struct live_set set; /* registers that the hart may not have as they were then, and their values */
    LLVMValueRef values[REGS_MAX];
    LLVMBasicBlockRef exit; /* NULL: not needed so far */
};

struct builder {
    const struct region *region;
    LLVMModuleRef module, bodies;
    LLVMContextRef context;
    LLVMBuilderRef b;
    LLVMTypeRef i8, i32, i64, ptr, f64, none, handler_type, body_type, call_type, plain_type;
    LLVMAttributeRef callee_type;      /* plain_type, as a statepoint wants to hear it */
    LLVMValueRef fn, h, op, pc, block; /* of the region's function */
    LLVMValueRef regs, left, base;
    LLVMBasicBlockRef *heads, *entries; /* a block with and without charging its instructions */
    struct live_set *dirty_in;          /* written since the region was entered, by block */
    struct live_set used;
    unsigned prof_kind;
    struct live_sets *live;
    uint64_t *sites; /* how each instruction reaches memory */
    uint32_t runs;
    uint32_t *returns; /* by instruction: what its body may return, bits by enum sem_next */
    bool *polled;      /* by block: an edge to it closes a cycle */
    uint32_t reserve;  /* the longest path behind a polled block's start, beyond the block */
    bool portions;     /* some block is polled */
    struct window window;
    LLVMBasicBlockRef out, past; /* shared: the hart is up to date */
    bool out_of_memory;
    bool plant; /* a miscompile is still to be planted */
};

/* ---- small things ---- */

static LLVMValueRef const32(struct builder *c, uint64_t value)
{
    return LLVMConstInt(c->i32, value, false);
}

static LLVMValueRef const64(struct builder *c, uint64_t value)
{
    return LLVMConstInt(c->i64, value, false);
}

static LLVMBasicBlockRef new_block(struct builder *c, const char *name)
{
    return LLVMAppendBasicBlockInContext(c->context, c->fn, name);
}

static LLVMValueRef field(struct builder *c, LLVMValueRef object, size_t offset)
{
    LLVMValueRef index = const64(c, offset);

    return LLVMBuildInBoundsGEP2(c->b, c->i8, object, &index, 1, "");
}

static LLVMValueRef address(struct builder *c, int32_t offset)
{
    return LLVMBuildAdd(c->b, c->base, const64(c, (uint64_t)(int64_t)offset), "");
}

static void set_weights(struct builder *c, LLVMValueRef branch, const uint64_t *counts, unsigned count)
{
    LLVMMetadataRef words[2 + REGION_TARGETS_MAX];
    uint64_t most = 1;

    for (unsigned i = 0; i < count; i++)
        most = counts[i] > most ? counts[i] : most;
    words[0] = LLVMMDStringInContext2(c->context, "branch_weights", 14);
    for (unsigned i = 0; i < count; i++) {
        /* Never zero: what the profile has not seen is unlikely, not impossible. */
        uint64_t weight = most > 1u << 30 ? counts[i] / (most >> 30) : counts[i];
        words[i + 1] = LLVMValueAsMetadata(const32(c, weight + 1));
    }
    LLVMMetadataRef node = LLVMMDNodeInContext2(c->context, words, count + 1);
    LLVMSetMetadata(branch, c->prof_kind, LLVMMetadataAsValue(c->context, node));
}

static LLVMValueRef branch(struct builder *c, LLVMValueRef condition, LLVMBasicBlockRef yes, uint64_t yes_count,
                           LLVMBasicBlockRef no, uint64_t no_count)
{
    LLVMValueRef br = LLVMBuildCondBr(c->b, condition, yes, no);

    set_weights(c, br, (uint64_t[]){yes_count, no_count}, 2);
    return br;
}

/* An exit that is taken less often than one time in RARE_SHARE stores no registers by itself. */
enum { RARE = 1, USUAL = 1 << 20, RARE_SHARE = 32 };

/* ---- registers ---- */

static size_t x_offset(unsigned number)
{
    return offsetof(struct rv_regs, x) + 8 * (size_t)number;
}

static size_t f_offset(unsigned number)
{
    return offsetof(struct rv_regs, f) + 8 * (size_t)number;
}

/* Where the registers of a set are in struct rv_regs, in the order of a region's table of exits. Returns how many. */
static unsigned list_regs(const struct live_set *set, size_t *offsets)
{
    unsigned count = 0;

    for (uint32_t x = set->x & ~1u; x; x &= x - 1)
        offsets[count++] = x_offset((unsigned)__builtin_ctz(x));
    for (uint32_t f = set->f; f; f &= f - 1)
        offsets[count++] = f_offset((unsigned)__builtin_ctz(f));
    return count;
}

static bool is_f(size_t offset)
{
    return offset >= f_offset(0) && offset < f_offset(32);
}

static LLVMValueRef load_reg(struct builder *c, LLVMValueRef regs, size_t offset)
{
    return LLVMBuildLoad2(c->b, is_f(offset) ? c->f64 : c->i64, field(c, regs, offset), "");
}

static void copy_regs(struct builder *c, const struct live_set *set, LLVMValueRef from, LLVMValueRef to)
{
    size_t offsets[REGS_MAX];
    unsigned count = list_regs(set, offsets);

    for (unsigned i = 0; i < count; i++)
        LLVMBuildStore(c->b, load_reg(c, from, offsets[i]), field(c, to, offsets[i]));
}

static LLVMValueRef hart_regs(struct builder *c)
{
    return field(c, c->h, offsetof(struct hart, r));
}

static struct live_set reads_of(const struct region_insn *insn)
{
    unsigned operands = rv_sem_operands(insn->sem);
    struct live_set set = {0};

    if (operands & RV_X_RS1)
        set.x |= 1u << insn->rs1;
    if (operands & RV_X_RS2)
        set.x |= (operands & RV_X_PAIRS && insn->rs2 ? 3u : 1u) << insn->rs2;
    if ((operands & RV_X_RD_READ) && insn->rd != RV_X_SINK)
        set.x |= (operands & RV_X_PAIRS ? 3u : 1u) << insn->rd;
    if (operands & RV_F_RS1)
        set.f |= 1u << insn->rs1;
    if (operands & RV_F_RS2)
        set.f |= 1u << insn->rs2;
    if (operands & RV_F_RS3)
        set.f |= 1u << (insn->imm & 31);
    return set;
}

static struct live_set writes_of(const struct region_insn *insn)
{
    unsigned operands = rv_sem_operands(insn->sem);
    struct live_set set = {0};

    if ((operands & RV_X_RD) && insn->rd != RV_X_SINK)
        set.x |= (operands & RV_X_PAIRS ? 3u : 1u) << (insn->rd & 31);
    if (operands & RV_F_RD)
        set.f |= 1u << (insn->rd & 31);
    return set;
}

static bool add_regs(struct live_set *to, const struct live_set *more)
{
    struct live_set before = *to;

    to->x |= more->x;
    to->f |= more->f;
    return to->x != before.x || to->f != before.f;
}

static struct live_set common_regs(struct live_set a, const struct live_set *b)
{
    return (struct live_set){.x = a.x & b->x, .f = a.f & b->f};
}

/* What each block may find written: a forward analysis over the region's edges. */
static void find_dirty(struct builder *c)
{
    const struct region *r = c->region;
    bool changed = true;

    for (uint32_t i = 0; i < r->insn_count; i++) {
        struct live_set reads = reads_of(&r->insns[i]);
        struct live_set writes = writes_of(&r->insns[i]);
        add_regs(&c->used, &reads);
        add_regs(&c->used, &writes);
    }
    while (changed && r->level > 0) {
        changed = false;
        for (uint32_t i = 0; i < r->block_count; i++) {
            const struct region_block *block = &r->blocks[i];
            struct live_set out = c->dirty_in[i];
            for (uint32_t j = 0; j < block->insns; j++) {
                struct live_set writes = writes_of(&r->insns[block->first_insn + j]);
                add_regs(&out, &writes);
            }
            const struct region_edge *e;
            for (unsigned j = 0; (e = region_edge(block, j)); j++) {
                if (e->target != REGION_NONE)
                    changed |= add_regs(&c->dirty_in[e->target], &out);
            }
        }
    }
}

/* Marks the instructions before which hart.r.fs_dirty is set on every path (probe.h): another forward analysis. */
static void find_dirty_fs(struct builder *c)
{
    const struct region *r = c->region;
    bool set[REGION_BLOCKS_MAX], changed = true;

    for (uint32_t i = 0; i < r->block_count; i++)
        set[i] = r->blocks[i].entry == REGION_NONE;
    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < r->block_count; i++) {
            const struct region_block *block = &r->blocks[i];
            bool out = set[i];
            for (uint32_t j = 0; j < block->insns; j++) {
                uint32_t number = block->first_insn + j;
                c->sites[number] &= ~PROBE_FS_IS_DIRTY;
                c->sites[number] |= out ? PROBE_FS_IS_DIRTY : 0;
                out |= (rv_sem_operands(r->insns[number].sem) & RV_F_RD) != 0;
            }
            const struct region_edge *e;
            for (unsigned j = 0; (e = region_edge(block, j)); j++) {
                changed |= e->target != REGION_NONE && set[e->target] && !out;
                if (e->target != REGION_NONE)
                    set[e->target] &= out;
            }
        }
    }
}

/* ---- leaving ---- */

static LLVMValueRef symbol(struct builder *c, const char *name, LLVMTypeRef type, unsigned convention)
{
    LLVMValueRef fn = LLVMGetNamedFunction(c->module, name);

    if (!fn) {
        fn = LLVMAddFunction(c->module, name, type);
        LLVMSetFunctionCallConv(fn, convention);
    }
    return fn;
}

static void tail_call(struct builder *c, const char *handler, LLVMValueRef *args)
{
    LLVMValueRef fn = symbol(c, handler, c->handler_type, CALL_PRESERVE_NONE);
    LLVMValueRef call = LLVMBuildCall2(c->b, c->handler_type, fn, args, 4, "");

    LLVMSetInstructionCallConv(call, CALL_PRESERVE_NONE);
    LLVMSetTailCallKind(call, LLVMTailCallKindMustTail);
    LLVMBuildRetVoid(c->b);
}

static LLVMValueRef load_left(struct builder *c)
{
    return LLVMBuildLoad2(c->b, c->i32, c->left, "");
}

/* Of the grant. */
static LLVMValueRef whole_left(struct builder *c)
{
    if (!c->portions)
        return load_left(c);
    LLVMValueRef rest = LLVMBuildLoad2(c->b, c->i32, field(c, c->h, offsetof(struct hart, region_rest)), "");
    return LLVMBuildAdd(c->b, load_left(c), rest, "");
}

static void store_left(struct builder *c)
{
    LLVMBuildStore(c->b, whole_left(c), field(c, c->h, offsetof(struct hart, countdown.insns)));
}

/* Goes on from h->pc, for which a handler's other arguments do not matter: so they need not be kept. */
static void tail_call_away(struct builder *c, const char *handler)
{
    LLVMValueRef none = LLVMGetPoison(c->ptr);

    tail_call(c, handler, (LLVMValueRef[]){c->h, none, LLVMGetPoison(c->i64), none});
}

/* To h->pc. */
static void leave_indirect(struct builder *c, const struct live_set *dirty)
{
    copy_regs(c, dirty, c->regs, hart_regs(c));
    store_left(c);
    tail_call_away(c, "interp_go");
}

static uint32_t add_live(struct builder *c, const struct live_set *set)
{
    struct live_sets *live = c->live;

    if (live->count == live->capacity) {
        uint32_t capacity = live->capacity ? 2 * live->capacity : 64;
        struct live_set *sets = reallocarray(live->sets, capacity, sizeof(*sets));
        if (!sets) {
            c->out_of_memory = true;
            return 0;
        }
        live->sets = sets;
        live->capacity = capacity;
    }
    live->sets[live->count] = *set;
    return live->count++;
}

enum { CALL_ARGS = 5, CALL_FIXED = 5 };

/* The values of a set as they are now, in the order of list_regs(). */
static void load_regs(struct builder *c, const struct live_set *set, LLVMValueRef *values)
{
    size_t offsets[REGS_MAX];
    unsigned count = list_regs(set, offsets);

    for (unsigned i = 0; i < count; i++)
        values[i] = load_reg(c, c->regs, offsets[i]);
}

/* The statepoint's operands in front of the arguments, and what ends them. */
enum { CALL_ENDS = 2, DEOPT_LIVE_IN = 2 };

/* Calls region_exit() with a map of where the registers of the set are, so that no code has to store them: a
 * statepoint whose deoptimisation state they are, wherever the allocator has them (DEOPT_LIVE_IN). A patchpoint has a
 * map as well, but functions with one keep a frame pointer: a host register less for the guest's. */
static void mapped_exit(struct builder *c, LLVMValueRef *args, const struct live_set *set, LLVMValueRef *values)
{
    LLVMValueRef all[CALL_FIXED + CALL_ARGS + CALL_ENDS];
    size_t offsets[REGS_MAX];
    unsigned count = list_regs(set, offsets);

    if (c->region->level == 0) {
        /* Next to nothing is to be stored, and FastISel knows no statepoints. */
        for (unsigned i = 0; i < count; i++)
            LLVMBuildStore(c->b, values[i], field(c, hart_regs(c), offsets[i]));
        LLVMValueRef plain = symbol(c, "region_exit", c->plain_type, CALL_PRESERVE_ALL);
        LLVMValueRef call = LLVMBuildCall2(c->b, c->plain_type, plain, args, CALL_ARGS, "");
        LLVMSetInstructionCallConv(call, CALL_PRESERVE_ALL);
        return;
    }
    all[0] = const64(c, add_live(c, set));
    all[1] = const32(c, 0); /* bytes to patch: none, it is a call */
    all[2] = symbol(c, "region_exit", c->plain_type, CALL_PRESERVE_ALL);
    all[3] = const32(c, CALL_ARGS);
    all[4] = const32(c, DEOPT_LIVE_IN);
    memcpy(all + CALL_FIXED, args, CALL_ARGS * sizeof(args[0]));
    for (unsigned i = 0; i < CALL_ENDS; i++)
        all[CALL_FIXED + CALL_ARGS + i] = const32(c, 0);
    LLVMOperandBundleRef state = LLVMCreateOperandBundle("deopt", strlen("deopt"), values, count);
    LLVMValueRef fn = symbol(c, "llvm.experimental.gc.statepoint.p0", c->call_type, CALL_C);
    LLVMValueRef call =
        LLVMBuildCallWithOperandBundles(c->b, c->call_type, fn, all, TUFF_ARRAY_LEN(all), &state, 1, "");
    LLVMDisposeOperandBundle(state);
    LLVMSetInstructionCallConv(call, CALL_PRESERVE_ALL);
    LLVMAddCallSiteAttribute(call, 3, c->callee_type);
}

/* Leaves by region_exit(), which needs little code and some 50 ns, for `then`; `refund` instructions did not retire. */
static void leave_by_call(struct builder *c, const struct live_set *set, LLVMValueRef *values, int32_t offset,
                          uint32_t refund, LLVMBasicBlockRef then)
{
    LLVMValueRef left = LLVMBuildAdd(c->b, whole_left(c), const32(c, refund), "");
    LLVMValueRef args[CALL_ARGS] = {c->h, LLVMBuildZExt(c->b, left, c->i64, ""), c->base,
                                    const64(c, (uint64_t)(int64_t)offset), c->block};

    mapped_exit(c, args, set, values);
    LLVMBuildBr(c->b, then);
}

static void leave(struct builder *c, const struct live_set *dirty, int32_t offset)
{
    LLVMBuildStore(c->b, address(c, offset), field(c, c->h, offsetof(struct hart, pc)));
    leave_indirect(c, dirty);
}

/* leave() for where the profile says that it hardly happens. */
static void leave_rarely(struct builder *c, const struct live_set *dirty, int32_t offset)
{
    LLVMValueRef values[REGS_MAX] = {0};

    load_regs(c, dirty, values);
    leave_by_call(c, dirty, values, offset, 0, c->out);
}

/* ---- windows ---- */

/* It cannot be run a second time: it has stored, or what it saw may be different then. */
static bool runs_once(const struct region_insn *insn)
{
    return rv_sem_effects(insn->sem) & (RV_STORE | RV_ATOMIC | RV_ONCE);
}

enum { MAY_STOP = 1 << SEM_TRAP | 1 << SEM_MISS };

/* From the block's instruction `first` on; the builder stands before it, with the block's instructions charged. */
static void open_window(struct builder *c, const struct region_block *block, uint32_t first,
                        const struct live_set *dirty)
{
    struct window *w = &c->window;
    struct live_set written = {0}, needed = {0};
    bool used = first == 0 && c->polled[block - c->region->blocks];

    for (uint32_t i = first; i < block->insns; i++) {
        const struct region_insn *insn = &c->region->insns[block->first_insn + i];
        if (c->returns[block->first_insn + i] & MAY_STOP) {
            used = true;
            needed = written;
        }
        struct live_set writes = writes_of(insn);
        add_regs(&written, &writes);
        if (runs_once(insn))
            break;
    }
    *w = (struct window){.block = block, .first = first, .set = *dirty};
    add_regs(&w->set, &needed);
    if (used)
        load_regs(c, &w->set, w->values);
}

/* The way back to the window's start. */
static LLVMBasicBlockRef window_exit(struct builder *c)
{
    struct window *w = &c->window;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(c->b);

    if (!w->exit) {
        w->exit = new_block(c, "");
        LLVMPositionBuilderAtEnd(c->b, w->exit);
        leave_by_call(c, &w->set, w->values, c->region->insns[w->block->first_insn + w->first].offset,
                      w->block->insns - w->first, c->past);
        LLVMPositionBuilderAtEnd(c->b, here);
    }
    return w->exit;
}

/* Where an edge goes: a block of the region, or out. */
static LLVMBasicBlockRef edge(struct builder *c, const struct region_edge *e, const struct live_set *dirty,
                              uint64_t executions)
{
    LLVMBasicBlockRef from = LLVMGetInsertBlock(c->b);
    LLVMBasicBlockRef to;

    if (e->target != REGION_NONE)
        return c->heads[e->target];
    to = new_block(c, "");
    LLVMPositionBuilderAtEnd(c->b, to);
    if (e->count > executions / RARE_SHARE)
        leave(c, dirty, e->offset);
    else
        leave_rarely(c, dirty, e->offset);
    LLVMPositionBuilderAtEnd(c->b, from);
    return to;
}

/* Leaves at the block's start, whose instructions are charged, if somebody wants attention or the grant may end before
 * the next such place. */
static void poll(struct builder *c)
{
    LLVMBasicBlockRef look = new_block(c, "poll");
    LLVMBasicBlockRef go_on = new_block(c, "");
    LLVMValueRef left = load_left(c);

    branch(c, LLVMBuildICmp(c->b, LLVMIntSLT, left, const32(c, 0), ""), look, RARE, go_on, USUAL);
    LLVMPositionBuilderAtEnd(c->b, look);
    LLVMTypeRef type = LLVMFunctionType(c->i32, (LLVMTypeRef[]){c->ptr, c->i32, c->i32}, 3, false);
    LLVMValueRef args[] = {c->h, left, const32(c, c->reserve)};
    left = LLVMBuildCall2(c->b, type, symbol(c, "region_poll", type, CALL_PRESERVE_ALL), args, 3, "");
    LLVMSetInstructionCallConv(left, CALL_PRESERVE_ALL);
    LLVMBuildStore(c->b, left, c->left);
    branch(c, LLVMBuildICmp(c->b, LLVMIntSLT, left, const32(c, 0), ""), window_exit(c), RARE, go_on, USUAL);
    LLVMPositionBuilderAtEnd(c->b, go_on);
}

/* ---- instructions ---- */

static void name_body(unsigned sem, char *name, size_t size)
{
    (void)snprintf(name, size, "body_%s", rv_sem_name(sem));
}

bool body_number(LLVMModuleRef bodies, unsigned sem, const char *label, uint64_t *number)
{
    char name[64];
    name_body(sem, name, sizeof(name));
    LLVMValueRef fn = LLVMGetNamedFunction(bodies, name);
    LLVMAttributeRef attribute =
        fn ? LLVMGetStringAttributeAtIndex(fn, LLVMAttributeFunctionIndex, label, (unsigned)strlen(label)) : NULL;
    char text[16] = "";
    unsigned len;

    if (!attribute)
        return false;
    const char *value = LLVMGetStringAttributeValue(attribute, &len);
    memcpy(text, value, len < sizeof(text) ? len : sizeof(text) - 1);
    *number = strtoul(text, NULL, 10);
    return true;
}

/* The slow instance, in a block of its own: goes on at `next`. */
static void slow_path(struct builder *c, const struct region_insn *insn, const struct live_set *dirty,
                      LLVMBasicBlockRef next)
{
    struct live_set reads = common_regs(reads_of(insn), dirty);
    struct live_set writes = writes_of(insn);
    uint64_t place = insn->sem | (uint64_t)insn->rd << 16 | (uint64_t)insn->rs1 << 24 | (uint64_t)insn->rs2 << 32 |
                     (uint64_t)insn->len_bytes << 40;
    LLVMValueRef args[] = {c->h, const64(c, place), const64(c, (uint32_t)insn->imm | (uint64_t)insn->offset << 32),
                           c->base};
    LLVMTypeRef type = LLVMFunctionType(c->i64, (LLVMTypeRef[]){c->ptr, c->i64, c->i64, c->i64}, 4, false);

    copy_regs(c, &reads, c->regs, hart_regs(c));
    LLVMValueRef result =
        LLVMBuildCall2(c->b, type, symbol(c, "region_slow", type, CALL_PRESERVE_ALL), args, TUFF_ARRAY_LEN(args), "");
    LLVMSetInstructionCallConv(result, CALL_PRESERVE_ALL);
    LLVMBasicBlockRef done = new_block(c, "");
    LLVMValueRef ok = LLVMBuildICmp(c->b, LLVMIntEQ, result, const64(c, SEM_NEXT), "");
    branch(c, ok, done, USUAL, window_exit(c), RARE);
    LLVMPositionBuilderAtEnd(c->b, done);
    copy_regs(c, &writes, hart_regs(c), c->regs);
    LLVMBuildBr(c->b, next);
}

/* Which of enum sem_next the bodies may return. False: one of them is missing. */
static bool find_returns(struct builder *c)
{
    for (uint32_t i = 0; i < c->region->insn_count; i++) {
        uint64_t mask;
        if (!body_number(c->bodies, c->region->insns[i].sem, "tuff-returns", &mask))
            return false;
        c->returns[i] = (uint32_t)mask;
    }
    return true;
}

static void find_polled(struct builder *c)
{
    for (uint32_t i = 0; i < c->region->block_count; i++) {
        const struct region_edge *e;
        for (unsigned j = 0; (e = region_edge(&c->region->blocks[i], j)); j++) {
            if (e->target == REGION_NONE || !e->back)
                continue;
            const struct region_block *target = &c->region->blocks[e->target];
            uint32_t beyond = target->longest - target->insns;
            c->polled[e->target] = c->portions = true;
            c->reserve = beyond > c->reserve ? beyond : c->reserve;
        }
    }
}

/* Calls the body; returns what it returned. */
static LLVMValueRef call_body(struct builder *c, const struct region_insn *insn)
{
    char name[64];

    name_body(insn->sem, name, sizeof(name));
    LLVMValueRef fn = symbol(c, name, c->body_type, CALL_C);
    LLVMValueRef args[] = {
        c->h,
        c->regs,
        const32(c, insn->rd),
        const32(c, insn->rs1),
        const32(c, insn->rs2),
        const64(c, (uint64_t)(int64_t)insn->imm),
        address(c, insn->offset),
        address(c, insn->offset + insn->len_bytes),
        const64(c, c->sites[insn - c->region->insns]),
    };
    return LLVMBuildCall2(c->b, c->body_type, fn, args, TUFF_ARRAY_LEN(args), "");
}

static void indirect(struct builder *c, const struct region_block *block, const struct live_set *dirty)
{
    LLVMValueRef target = LLVMBuildLoad2(c->b, c->i64, field(c, c->h, offsetof(struct hart, pc)), "");
    LLVMValueRef distance = LLVMBuildSub(c->b, target, c->base, "");
    uint64_t rest = block->executions;

    for (unsigned i = 0; i < block->targets; i++) {
        const struct region_edge *e = &block->indirect[i];
        LLVMBasicBlockRef next = new_block(c, "");
        uint64_t count = e->count < rest ? e->count : rest;
        rest -= count;
        LLVMValueRef hit = LLVMBuildICmp(c->b, LLVMIntEQ, distance, const64(c, (uint64_t)(int64_t)e->offset), "");
        LLVMBasicBlockRef to = edge(c, e, dirty, block->executions);
        branch(c, hit, to, count, next, rest);
        LLVMPositionBuilderAtEnd(c->b, next);
    }
    leave_indirect(c, dirty);
}

/* What follows a block's last instruction when nothing special happened. */
static void end_block(struct builder *c, const struct region_block *block, const struct live_set *dirty)
{
    switch (block->ends) {
    case REGION_END_FALL:
    case REGION_END_BRANCH:
        LLVMBuildBr(c->b, edge(c, &block->fall, dirty, block->executions));
        break;
    case REGION_END_JUMP:
        LLVMBuildBr(c->b, edge(c, &block->taken, dirty, block->executions));
        break;
    case REGION_END_INDIRECT:
        indirect(c, block, dirty);
        break;
    case REGION_END_EXIT:
        leave(c, dirty, block->end);
        break;
    }
}

/* A quick region stores what a block has written at its end, so that its exits have next to nothing to say: half the
 * compile time, for a store every second instruction. */
static void write_through(struct builder *c, struct live_set *dirty)
{
    if (c->region->level > 0)
        return;
    copy_regs(c, dirty, c->regs, hart_regs(c));
    *dirty = (struct live_set){0};
}

/* --jit-plant: the region's first instruction that writes an integer register, and does nothing else, adds one too
 * many. */
static void plant(struct builder *c, const struct live_set *writes)
{
    if (!c->plant || !writes->x)
        return;
    LLVMValueRef reg = field(c, c->regs, x_offset((unsigned)__builtin_ctz(writes->x)));
    LLVMValueRef value = LLVMBuildLoad2(c->b, c->i64, reg, "");
    LLVMBuildStore(c->b, LLVMBuildAdd(c->b, value, const64(c, 1), ""), reg);
    c->plant = false;
}

enum { ALWAYS_NEXT = 1 << SEM_NEXT };

/* One instruction: the body, then a switch over what it may return. The builder ends where SEM_NEXT goes on. */
static void build_insn(struct builder *c, const struct region_block *block, uint32_t index, struct live_set *dirty)
{
    const struct region_insn *insn = &c->region->insns[block->first_insn + index];
    bool last = index == block->insns - 1;
    unsigned returns = c->returns[block->first_insn + index];
    LLVMValueRef result = call_body(c, insn);

    struct live_set before = *dirty;
    struct live_set writes = writes_of(insn);
    add_regs(dirty, &writes);
    if (last && (returns & (1 << SEM_TAKEN | 1 << SEM_INDIRECT)))
        write_through(c, dirty);
    if (returns == ALWAYS_NEXT) {
        plant(c, &writes);
        return;
    }
    LLVMBasicBlockRef next = new_block(c, "");
    LLVMValueRef choice = LLVMBuildSwitch(c->b, result, next, 4);
    uint64_t counts[6] = {USUAL};
    unsigned count = 1;

    if (last && (returns & 1 << SEM_TAKEN)) {
        LLVMBasicBlockRef to = edge(c, &block->taken, dirty, block->executions);
        LLVMAddCase(choice, const32(c, SEM_TAKEN), to);
        counts[0] = block->fall.count;
        counts[count++] = block->taken.count;
    }
    if (last && (returns & 1 << SEM_INDIRECT)) {
        LLVMBasicBlockRef to = new_block(c, "");
        LLVMPositionBuilderAtEnd(c->b, to);
        indirect(c, block, dirty);
        LLVMAddCase(choice, const32(c, SEM_INDIRECT), to);
        counts[count++] = USUAL;
    }
    if (returns & 1 << SEM_TRAP) {
        LLVMAddCase(choice, const32(c, SEM_TRAP), window_exit(c));
        counts[count++] = RARE;
    }
    if (returns & 1 << SEM_MISS) {
        LLVMBasicBlockRef to = new_block(c, "");
        LLVMPositionBuilderAtEnd(c->b, to);
        slow_path(c, insn, &before, next);
        LLVMAddCase(choice, const32(c, SEM_MISS), to);
        counts[count++] = RARE;
    }
    set_weights(c, choice, counts, count);
    LLVMPositionBuilderAtEnd(c->b, next);
}

static void build_block(struct builder *c, uint32_t number)
{
    const struct region_block *block = &c->region->blocks[number];
    struct live_set dirty = {0};

    if (c->region->level > 0)
        dirty = c->dirty_in[number];

    LLVMPositionBuilderAtEnd(c->b, c->heads[number]);
    LLVMValueRef left = load_left(c);
    LLVMBuildStore(c->b, LLVMBuildSub(c->b, left, const32(c, block->insns), ""), c->left);
    LLVMBuildBr(c->b, c->entries[number]);
    LLVMPositionBuilderAtEnd(c->b, c->entries[number]);
    open_window(c, block, 0, &dirty);
    if (c->polled[number])
        poll(c);
    for (uint32_t i = 0; i < block->insns; i++) {
        build_insn(c, block, i, &dirty);
        if (i + 1 < block->insns && runs_once(&c->region->insns[block->first_insn + i]))
            open_window(c, block, i + 1, &dirty);
    }
    write_through(c, &dirty);
    end_block(c, block, &dirty);
}

/* The way from the function's start to an entry. The interpreter has charged its block, which may go on after the end
 * of the region's: how far is not part of the region, so it may have changed. */
static LLVMBasicBlockRef entry_path(struct builder *c, uint16_t number)
{
    const struct region_block *entry = &c->region->blocks[number];
    LLVMBasicBlockRef here = LLVMGetInsertBlock(c->b);
    LLVMBasicBlockRef path;

    if (entry->ends != REGION_END_EXIT && !entry->cut)
        return c->entries[number];
    path = new_block(c, "");
    LLVMPositionBuilderAtEnd(c->b, path);
    LLVMValueRef left = load_left(c);
    LLVMValueRef charged = LLVMBuildLoad2(c->b, c->i32, field(c, c->block, offsetof(struct block, insns)), "");
    left = LLVMBuildAdd(c->b, left, charged, "");
    left = LLVMBuildSub(c->b, left, const32(c, entry->insns), "");
    LLVMBuildStore(c->b, left, c->left);
    LLVMBuildBr(c->b, c->entries[number]);
    LLVMPositionBuilderAtEnd(c->b, here);
    return path;
}

/* Base pages of another state of the bank are of no use. */
static void forget_pages(struct builder *c)
{
    LLVMBasicBlockRef forget = new_block(c, "forget");
    LLVMBasicBlockRef go_on = new_block(c, "loads");
    LLVMValueRef bank = LLVMBuildLoad2(c->b, c->ptr, field(c, c->h, offsetof(struct hart, bank)), "");
    LLVMValueRef now = LLVMBuildLoad2(c->b, c->i64, field(c, bank, offsetof(struct tlb_bank, stamp)), "");
    LLVMValueRef then = LLVMBuildLoad2(c->b, c->i64, field(c, c->h, offsetof(struct hart, base_page_stamp)), "");

    branch(c, LLVMBuildICmp(c->b, LLVMIntEQ, now, then, ""), go_on, USUAL, forget, RARE);
    LLVMPositionBuilderAtEnd(c->b, forget);
    LLVMTypeRef type = LLVMFunctionType(c->none, &c->ptr, 1, false);
    LLVMValueRef call =
        LLVMBuildCall2(c->b, type, symbol(c, "region_forget_pages", type, CALL_PRESERVE_ALL), &c->h, 1, "");
    LLVMSetInstructionCallConv(call, CALL_PRESERVE_ALL);
    LLVMBuildBr(c->b, go_on);
    LLVMPositionBuilderAtEnd(c->b, go_on);
}

/* Divides what is left of the grant into what the region counts and hart.region_rest. */
static void take_portion(struct builder *c, LLVMValueRef whole)
{
    LLVMValueRef left = whole;

    if (c->portions) {
        LLVMValueRef most = const32(c, REGION_POLL_INSNS);
        left = LLVMBuildSelect(c->b, LLVMBuildICmp(c->b, LLVMIntULT, whole, most, ""), whole, most, "");
        left = LLVMBuildSub(c->b, left, const32(c, c->reserve), "");
        LLVMBuildStore(c->b, LLVMBuildSub(c->b, whole, left, ""), field(c, c->h, offsetof(struct hart, region_rest)));
    }
    LLVMBuildStore(c->b, left, c->left);
}

/* Where the region's function starts: declines if the grant may end before the first check, loads the registers, goes
 * to the entry that the interpreter's block names. The first block is charged already. */
static void build_entry(struct builder *c, LLVMBasicBlockRef start)
{
    const struct region *r = c->region;
    LLVMBasicBlockRef decline = new_block(c, "decline");
    LLVMBasicBlockRef enter = new_block(c, "enter");
    uint32_t longest = c->reserve;

    for (uint32_t i = 0; i < r->entry_count; i++) {
        const struct region_block *block = &r->blocks[r->entry_block[i]];
        uint32_t beyond = block->longest - block->insns;
        longest = beyond > longest ? beyond : longest;
    }
    LLVMPositionBuilderAtEnd(c->b, start);
    size_t state_bytes = sizeof(struct region_regs) + c->runs * sizeof(struct probe_run);
    c->regs = LLVMBuildAlloca(c->b, LLVMArrayType2(c->i64, state_bytes / 8), "regs");
    LLVMSetAlignment(c->regs, 8);
    c->left = LLVMBuildAlloca(c->b, c->i32, "left");
    LLVMValueRef number = NULL;
    LLVMValueRef start_offset = const64(c, (uint64_t)(int64_t)r->blocks[r->entry_block[0]].start & TLB_PAGE_MASK);
    if (r->entry_count > 1) {
        number = LLVMBuildLoad2(c->b, c->i32, field(c, c->block, offsetof(struct block, region_entry)), "entry");
        for (uint32_t i = 1; i < r->entry_count; i++) {
            uint64_t offset = (uint64_t)(int64_t)r->blocks[r->entry_block[i]].start & TLB_PAGE_MASK;
            LLVMValueRef is = LLVMBuildICmp(c->b, LLVMIntEQ, number, const32(c, i), "");
            start_offset = LLVMBuildSelect(c->b, is, const64(c, offset), start_offset, "");
        }
    }
    c->base = LLVMBuildAnd(c->b, c->pc, const64(c, TLB_PAGE_MASK), "");
    c->base = LLVMBuildSub(c->b, c->base, start_offset, "base");
    LLVMValueRef left = LLVMBuildLoad2(c->b, c->i32, field(c, c->h, offsetof(struct hart, countdown.insns)), "");
    LLVMValueRef enough = LLVMBuildICmp(c->b, LLVMIntSGE, left, const32(c, longest), "");
    branch(c, enough, enter, USUAL, decline, RARE);

    LLVMPositionBuilderAtEnd(c->b, decline);
    tail_call(c, "interp_region_decline", (LLVMValueRef[]){c->h, c->op, c->pc, c->block});

    LLVMPositionBuilderAtEnd(c->b, enter);
    take_portion(c, left);
    if (r->mirrored)
        LLVMBuildStore(c->b, c->block, field(c, c->h, offsetof(struct hart, mirrored_block)));
    else
        forget_pages(c);
    LLVMBuildStore(c->b, const64(c, 0), field(c, c->regs, x_offset(0)));
    copy_regs(c, &c->used, hart_regs(c), c->regs);
    if (!number) {
        LLVMBuildBr(c->b, entry_path(c, r->entry_block[0]));
        return;
    }
    LLVMValueRef choice = LLVMBuildSwitch(c->b, number, entry_path(c, r->entry_block[0]), r->entry_count - 1);
    for (uint32_t i = 1; i < r->entry_count; i++)
        LLVMAddCase(choice, const32(c, i), entry_path(c, r->entry_block[i]));
}

static void add_attribute(struct builder *c, const char *name)
{
    LLVMAttributeRef attribute =
        LLVMCreateEnumAttribute(c->context, LLVMGetEnumAttributeKindForName(name, strlen(name)), 0);

    LLVMAddAttributeAtIndex(c->fn, LLVMAttributeFunctionIndex, attribute);
}

/* Like the bodies: what they may use, the region may. */
static void copy_target(struct builder *c, const char *name)
{
    LLVMValueRef any = LLVMGetNamedFunction(c->bodies, "body_add");
    LLVMAttributeRef attribute =
        LLVMGetStringAttributeAtIndex(any, LLVMAttributeFunctionIndex, name, (unsigned)strlen(name));

    if (attribute)
        LLVMAddAttributeAtIndex(c->fn, LLVMAttributeFunctionIndex, attribute);
}

static void declare(struct builder *c, const char *name)
{
    c->i8 = LLVMInt8TypeInContext(c->context);
    c->i32 = LLVMInt32TypeInContext(c->context);
    c->i64 = LLVMInt64TypeInContext(c->context);
    c->ptr = LLVMPointerTypeInContext(c->context, 0);
    c->none = LLVMVoidTypeInContext(c->context);
    c->handler_type = LLVMFunctionType(c->none, (LLVMTypeRef[]){c->ptr, c->ptr, c->i64, c->ptr}, 4, false);
    c->body_type = LLVMFunctionType(
        c->i32, (LLVMTypeRef[]){c->ptr, c->ptr, c->i32, c->i32, c->i32, c->i64, c->i64, c->i64, c->i64}, 9, false);
    c->f64 = LLVMDoubleTypeInContext(c->context);
    c->plain_type = LLVMFunctionType(c->i64, (LLVMTypeRef[]){c->ptr, c->i64, c->i64, c->i64, c->ptr}, CALL_ARGS, false);
    c->call_type = LLVMFunctionType(LLVMTokenTypeInContext(c->context),
                                    (LLVMTypeRef[]){c->i64, c->i32, c->ptr, c->i32, c->i32}, CALL_FIXED, true);
    c->callee_type = LLVMCreateTypeAttribute(
        c->context, LLVMGetEnumAttributeKindForName("elementtype", strlen("elementtype")), c->plain_type);
    c->prof_kind = LLVMGetMDKindIDInContext(c->context, "prof", 4);
    c->fn = LLVMAddFunction(c->module, name, c->handler_type);
    LLVMSetFunctionCallConv(c->fn, CALL_PRESERVE_NONE);
    add_attribute(c, "strictfp");
    add_attribute(c, "nounwind");
    LLVMSetGC(c->fn, "statepoint-example"); /* the verifier's price for statepoints; nothing is collected */
    if (c->region->mirrored) {
        /* What bodies.c counts from. */
        char start[128];
        int len = snprintf(start, sizeof(start), ".set tuff_region, %s\n", name);
        LLVMAppendModuleInlineAsm(c->module, start, (size_t)len);
    }
    copy_target(c, "target-cpu");
    copy_target(c, "target-features");
    c->h = LLVMGetParam(c->fn, 0);
    c->op = LLVMGetParam(c->fn, 1);
    c->pc = LLVMGetParam(c->fn, 2);
    c->block = LLVMGetParam(c->fn, 3);
}

const char *build_region(const struct region *region, LLVMModuleRef module, LLVMModuleRef bodies, const char *name,
                         struct live_sets *live)
{
    struct builder c = {.region = region, .module = module, .bodies = bodies, .live = live, .plant = region->planted};
    const char *failure = NULL;

    if (!(region->isa & ISA_EXT(C)))
        return "without the C extension jumps may be misaligned";
    if (!region->entry_count)
        return "no entry";
    c.context = LLVMGetModuleContext(module);
    c.b = LLVMCreateBuilderInContext(c.context);
    declare(&c, name);
    c.heads = calloc(region->block_count, sizeof(*c.heads));
    c.entries = calloc(region->block_count, sizeof(*c.entries));
    c.dirty_in = calloc(region->block_count, sizeof(*c.dirty_in));
    c.sites = calloc(region->insn_count, sizeof(*c.sites));
    c.returns = calloc(region->insn_count, sizeof(*c.returns));
    c.polled = calloc(region->block_count, sizeof(*c.polled));
    if (!c.heads || !c.entries || !c.dirty_in || !c.sites || !c.returns || !c.polled ||
        plan_probes(region, bodies, c.sites, &c.runs)) {
        failure = "out of memory";
    } else if (!find_returns(&c)) {
        failure = "an instruction without a body";
    } else {
        LLVMBasicBlockRef start = new_block(&c, "start");
        for (uint32_t i = 0; i < region->block_count; i++) {
            c.heads[i] = new_block(&c, "");
            c.entries[i] = new_block(&c, "");
        }
        c.out = new_block(&c, "out");
        LLVMPositionBuilderAtEnd(c.b, c.out);
        tail_call_away(&c, "interp_go");
        c.past = new_block(&c, "past");
        LLVMPositionBuilderAtEnd(c.b, c.past);
        tail_call_away(&c, "interp_past");
        find_dirty(&c);
        find_dirty_fs(&c);
        find_polled(&c);
        build_entry(&c, start);
        for (uint32_t i = 0; i < region->block_count; i++)
            build_block(&c, i);
    }
    if (c.out_of_memory)
        failure = "out of memory";
    free(c.heads);
    free(c.entries);
    free(c.dirty_in);
    free(c.sites);
    free(c.returns);
    free(c.polled);
    LLVMDisposeBuilder(c.b);
    return failure;
}

/* ---- floating-point registers ---- */

/* Where the pointer leads, in bytes behind `object`; false: elsewhere, or the place varies. */
static bool constant_offset(LLVMTargetDataRef layout, LLVMValueRef pointer, LLVMValueRef object, uint64_t *offset)
{
    if (!LLVMIsAGetElementPtrInst(pointer) || LLVMGetOperand(pointer, 0) != object)
        return false;
    LLVMTypeRef type = LLVMGetGEPSourceElementType(pointer);
    unsigned count = (unsigned)LLVMGetNumOperands(pointer);
    *offset = 0;
    for (unsigned i = 1; i < count; i++) {
        LLVMValueRef index = LLVMGetOperand(pointer, i);
        if (!LLVMIsAConstantInt(index))
            return false;
        uint64_t number = LLVMConstIntGetZExtValue(index);
        if (i == 1) {
            *offset += number * LLVMABISizeOfType(layout, type);
        } else if (LLVMGetTypeKind(type) == LLVMStructTypeKind) {
            *offset += LLVMOffsetOfElement(layout, type, (unsigned)number);
            type = LLVMStructGetTypeAtIndex(type, (unsigned)number);
        } else {
            type = LLVMGetElementType(type);
            *offset += number * LLVMABISizeOfType(layout, type);
        }
    }
    return true;
}

/* The value as a double; of a load from guest memory that has no other use, by loading a double. */
static LLVMValueRef as_double(LLVMBuilderRef b, LLVMValueRef value, LLVMValueRef at, LLVMTypeRef f64)
{
    LLVMUseRef use = LLVMGetFirstUse(value);

    if (!LLVMIsALoadInst(value) || !use || LLVMGetNextUse(use))
        return LLVMBuildBitCast(b, value, f64, "");
    LLVMPositionBuilderBefore(b, value);
    LLVMValueRef load = LLVMBuildLoad2(b, f64, LLVMGetOperand(value, 0), "");
    LLVMSetOrdering(load, LLVMGetOrdering(value));
    LLVMSetAlignment(load, LLVMGetAlignment(value));
    LLVMPositionBuilderBefore(b, at);
    return load;
}

void type_registers(LLVMModuleRef module, const char *name)
{
    LLVMValueRef fn = LLVMGetNamedFunction(module, name);
    LLVMContextRef context = LLVMGetModuleContext(module);
    LLVMTypeRef i64 = LLVMInt64TypeInContext(context);
    LLVMTypeRef f64 = LLVMDoubleTypeInContext(context);
    LLVMTargetDataRef layout = LLVMGetModuleDataLayout(module);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(context);
    LLVMValueRef regs = LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(fn));

    while (!LLVMIsAAllocaInst(regs))
        regs = LLVMGetNextInstruction(regs);
    for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb; bb = LLVMGetNextBasicBlock(bb)) {
        for (LLVMValueRef at = LLVMGetFirstInstruction(bb), next; at; at = next) {
            uint64_t offset;
            next = LLVMGetNextInstruction(at);
            bool load = LLVMIsALoadInst(at);
            if ((!load && !LLVMIsAStoreInst(at)) ||
                !constant_offset(layout, LLVMGetOperand(at, load ? 0 : 1), regs, &offset) || !is_f(offset))
                continue;
            LLVMPositionBuilderBefore(b, at);
            if (load && LLVMTypeOf(at) == i64) {
                LLVMValueRef value = LLVMBuildLoad2(b, f64, LLVMGetOperand(at, 0), "");
                LLVMReplaceAllUsesWith(at, LLVMBuildBitCast(b, value, i64, ""));
            } else if (!load && LLVMTypeOf(LLVMGetOperand(at, 0)) == i64) {
                LLVMBuildStore(b, as_double(b, LLVMGetOperand(at, 0), at, f64), LLVMGetOperand(at, 1));
            } else {
                continue;
            }
            LLVMInstructionEraseFromParent(at);
        }
    }
    LLVMDisposeBuilder(b);
}

/* ---- guest memory and the VM's ---- */

static LLVMValueRef scope_list(LLVMContextRef context, LLVMMetadataRef domain, const char *name)
{
    LLVMMetadataRef words[] = {LLVMMDStringInContext2(context, name, strlen(name)), domain};
    LLVMMetadataRef scope = LLVMMDNodeInContext2(context, words, 2);

    return LLVMMetadataAsValue(context, LLVMMDNodeInContext2(context, &scope, 1));
}

/* The name of what is called; NULL where nothing is. */
static const char *called(LLVMValueRef at)
{
    return LLVMIsACallInst(at) ? LLVMGetValueName(LLVMGetCalledValue(at)) : NULL;
}

/* Is this a load of the hart's field at `offset`? */
static bool loads_field(LLVMTargetDataRef layout, LLVMValueRef at, LLVMValueRef h, size_t offset)
{
    uint64_t at_offset;

    return LLVMIsALoadInst(at) && constant_offset(layout, LLVMGetOperand(at, 0), h, &at_offset) && at_offset == offset;
}

void annotate_accesses(const struct region *region, LLVMModuleRef module, const char *name)
{
    LLVMContextRef context = LLVMGetModuleContext(module);
    unsigned in = LLVMGetMDKindIDInContext(context, "alias.scope", 11);
    unsigned invariant = LLVMGetMDKindIDInContext(context, "invariant.load", 14);
    unsigned not_in = LLVMGetMDKindIDInContext(context, "noalias", 7);
    LLVMMetadataRef word = LLVMMDStringInContext2(context, "tuff", 4);
    LLVMMetadataRef domain = LLVMMDNodeInContext2(context, &word, 1);
    LLVMValueRef guest = scope_list(context, domain, "guest memory");
    LLVMValueRef host = scope_list(context, domain, "the VM's data");
    LLVMValueRef fn = LLVMGetNamedFunction(module, name);
    LLVMValueRef h = LLVMGetParam(fn, 0);
    LLVMTargetDataRef layout = LLVMGetModuleDataLayout(module);

    for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb; bb = LLVMGetNextBasicBlock(bb)) {
        for (LLVMValueRef at = LLVMGetFirstInstruction(bb), next; at; at = next) {
            next = LLVMGetNextInstruction(at);
            bool load = LLVMIsALoadInst(at);
            const char *callee = called(at);
            if (callee && strcmp(callee, "region_reach") == 0)
                LLVMSetMetadata(at, not_in, guest);
            if (!load && !LLVMIsAStoreInst(at))
                continue;
            bool to_guest = LLVMIsAIntToPtrInst(LLVMGetOperand(at, load ? 0 : 1));
            LLVMAtomicOrdering total = load ? LLVMAtomicOrderingAcquire : LLVMAtomicOrderingRelease;
            LLVMSetMetadata(at, in, to_guest ? guest : host);
            LLVMSetMetadata(at, not_in, to_guest ? host : guest);
            if (region->alone && load &&
                loads_field(layout, LLVMGetOperand(at, 0), h, offsetof(struct hart, reservations_active))) {
                LLVMReplaceAllUsesWith(at, LLVMConstNull(LLVMTypeOf(at)));
                LLVMInstructionEraseFromParent(at);
                continue;
            }
            /* These do not change inside of regions. */
            if (loads_field(layout, at, h, offsetof(struct hart, bank)) ||
                loads_field(layout, at, h, offsetof(struct hart, mirror_limit)) ||
                loads_field(layout, at, h, offsetof(struct hart, reservations_active)))
                LLVMSetMetadata(at, invariant, LLVMMetadataAsValue(context, LLVMMDNodeInContext2(context, NULL, 0)));
            /* Not `monotonic`: LLVM would take each access for a barrier to all others. What RVWMO asks of plain
             * accesses is less, and loops cannot be emptied of their loads, since each goes round through a monotonic
             * load (the attention half). With Ztso a load comes before all that follows it, and a store after all that
             * it follows: on a host of that order it costs no instruction, but the compiler's freedom. */
            if (to_guest)
                LLVMSetOrdering(at, region->isa & ISA_EXT(ZTSO) ? total : LLVMAtomicOrderingUnordered);
        }
    }
}
