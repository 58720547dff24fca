/* A guest register that is dead for the program is still the guest's to see: each exit of a loop says what it holds. So
 * the loop carries from one turn to the next whatever its body wrote, in a register or a spill slot, and extends words
 * to the 64 bits that exits want. Exits are rare. They can make the values themselves, of others that they have to say
 * as well, or that the loop needs anyhow.
 *
 * For a loop with one edge back to its header, two things are done with the header's phis of integers.
 *
 * - *Stale* ones have no use in the loop. What one holds is what the turn before made of the values it had, and those
 *   that the loop carries for its own sake are the phis of today: where the value of the turn before can be computed of
 *   these, it is, at each use behind the loop, and the phi goes.
 * - *Words*: of phis that come round as sign-extended words and of which the loop itself takes but the low 32 bits, it
 *   carries these 32 bits. Uses behind the loop extend them.
 *
 * Both are not so on the first turn: then the value is the one from before the loop, which may be any, and is chosen by
 * a flag that is carried round. It costs the loop nothing else, as it is not touched there.
 */
#include "llvm/exits.h"

#include "llvm/opcode.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* A value that an exit makes takes COST_MAX instructions at most. Where a loop of less than TURNS_MIN turns is left for
 * other code of the region, making values would cost more than carrying them. */
enum { WORD_BITS = 32, DEPTH_MAX = 6, COST_MAX = 8, PHIS_MAX = 64, TURNS_MIN = 16 };

/* A phi of the header's. */
struct phi {
    LLVMValueRef value, round; /* itself; what comes from the latch */
    LLVMValueRef entry;        /* what came in on the first turn, once it is needed */
    LLVMValueRef word;         /* the phi of its low 32 bits */
    bool stale, words;
};

struct graph {
    LLVMBasicBlockRef *blocks; /* sorted by address */
    size_t count;
    size_t *preds, *pred_start; /* of block i: preds[pred_start[i]] up to that of i + 1 */
    size_t start;               /* the function's first block */
};

struct loop {
    const struct graph *graph;
    size_t header, latch;
    bool *inside; /* by block */
    bool often;   /* it goes round often before it is left for other code of the region */
    struct phi phis[PHIS_MAX];
    size_t count;
    LLVMValueRef first, second; /* flags: this is the first turn, the second */
    LLVMBuilderRef b;
    LLVMTypeRef i1, i32, i64;
    bool dry;      /* asks whether something could be built, and builds nothing */
    unsigned cost; /* what was not built */
    /* Asked so: does this stale phi need a value that no other phi of the header has? NULL: stale ones are no help. */
    const struct phi *asking;
};

/* Does it end the region, by itself or by the block where all ends meet? */
static bool is_exit(LLVMBasicBlockRef bb)
{
    LLVMValueRef end = LLVMGetBasicBlockTerminator(bb);

    if (opcode_of(end) == LLVMBr && LLVMGetNumSuccessors(end) == 1)
        end = LLVMGetBasicBlockTerminator(LLVMGetSuccessor(end, 0));
    return opcode_of(end) == LLVMRet;
}

/* ---- the graph ---- */

static int by_address(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)*(const LLVMBasicBlockRef *)a, right = (uintptr_t)*(const LLVMBasicBlockRef *)b;

    return left < right ? -1 : left > right;
}

static size_t index_of(const struct graph *g, LLVMBasicBlockRef bb)
{
    const LLVMBasicBlockRef *at = bsearch(&bb, g->blocks, g->count, sizeof(LLVMBasicBlockRef), by_address);

    return (size_t)(at - g->blocks);
}

static void free_graph(struct graph *g)
{
    free(g->blocks);
    free(g->preds);
    free(g->pred_start);
}

/* One edge for each way, also where several lead to the same block. */
static size_t list_edges(struct graph *g, bool fill)
{
    size_t edges = 0;

    for (size_t i = 0; i < g->count; i++) {
        LLVMValueRef end = LLVMGetBasicBlockTerminator(g->blocks[i]);
        for (unsigned n = 0; n < LLVMGetNumSuccessors(end); n++, edges++) {
            size_t to = index_of(g, LLVMGetSuccessor(end, n));
            if (fill)
                g->preds[g->pred_start[to]++] = i;
            else
                g->pred_start[to + 1]++;
        }
    }
    return edges;
}

static int make_graph(struct graph *g, LLVMValueRef fn)
{
    g->count = LLVMCountBasicBlocks(fn);
    g->blocks = calloc(g->count, sizeof(LLVMBasicBlockRef));
    g->pred_start = calloc(g->count + 2, sizeof(size_t));
    if (!g->blocks || !g->pred_start)
        return -ENOMEM;
    LLVMGetBasicBlocks(fn, g->blocks);
    LLVMBasicBlockRef start = g->blocks[0];
    qsort(g->blocks, g->count, sizeof(LLVMBasicBlockRef), by_address);
    g->start = index_of(g, start);
    size_t edges = list_edges(g, false);
    g->preds = calloc(edges + 1, sizeof(size_t));
    if (!g->preds)
        return -ENOMEM;
    for (size_t i = 0; i < g->count; i++)
        g->pred_start[i + 1] += g->pred_start[i];
    (void)list_edges(g, true);
    /* Each start has moved to its end. */
    for (size_t i = g->count; i-- > 0;)
        g->pred_start[i + 1] = g->pred_start[i];
    g->pred_start[0] = 0;
    return 0;
}

/* The loop's blocks: those that lead to `latch` without the header. False where one of them is the function's first:
 * another way leads in, and the edge closes no loop of this header's. `work` has room for all blocks. */
static bool find_body(struct loop *l, size_t *work)
{
    const struct graph *g = l->graph;
    size_t count = 0;

    for (size_t i = 0; i < g->count; i++)
        l->inside[i] = false;
    l->inside[l->header] = true;
    if (!l->inside[l->latch]) {
        l->inside[l->latch] = true;
        work[count++] = l->latch;
    }
    while (count) {
        size_t at = work[--count];
        if (at == g->start)
            return false;
        for (size_t n = g->pred_start[at]; n < g->pred_start[at + 1]; n++) {
            size_t from = g->preds[n];
            if (!l->inside[from]) {
                l->inside[from] = true;
                work[count++] = from;
            }
        }
    }
    return l->header != g->start;
}

/* The only edge back to the header comes from l->latch then. */
static bool find_loop(struct loop *l, size_t *work)
{
    const struct graph *g = l->graph;
    unsigned latches = 0;
    size_t latch = 0;

    for (size_t n = g->pred_start[l->header]; n < g->pred_start[l->header + 1]; n++) {
        l->latch = g->preds[n];
        if (find_body(l, work)) {
            latches++;
            latch = l->latch;
        }
    }
    l->latch = latch;
    return latches == 1 && find_body(l, work);
}

/* The weights of a branch's two ways, if it has some. */
static bool read_weights(LLVMValueRef branch, uint64_t weights[2])
{
    LLVMValueRef prof =
        LLVMGetMetadata(branch, LLVMGetMDKindIDInContext(LLVMGetTypeContext(LLVMTypeOf(branch)), "prof", 4));
    LLVMValueRef operands[8] = {0};
    unsigned count = prof ? (unsigned)LLVMGetMDNodeNumOperands(prof) : 0;

    if (count < 3 || count > 4) /* "branch_weights", perhaps "expected", two numbers */
        return false;
    LLVMGetMDNodeOperands(prof, operands);
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef number = operands[count - 2 + i];
        if (!number || !LLVMIsAConstantInt(number))
            return false;
        weights[i] = LLVMConstIntGetZExtValue(number);
    }
    return true;
}

/* By the profile, on all ways out of it that do not lead out of the region at once. */
static bool turns_often(const struct loop *l)
{
    const struct graph *g = l->graph;

    for (size_t i = 0; i < g->count; i++) {
        LLVMValueRef end = LLVMGetBasicBlockTerminator(g->blocks[i]);
        uint64_t weights[2];
        for (unsigned n = 0; l->inside[i] && n < LLVMGetNumSuccessors(end); n++) {
            LLVMBasicBlockRef to = LLVMGetSuccessor(end, n);
            if (l->inside[index_of(g, to)] || is_exit(to))
                continue;
            if (LLVMGetNumSuccessors(end) != 2 || !read_weights(end, weights) || weights[!n] / TURNS_MIN < weights[n])
                return false;
        }
    }
    return true;
}

static bool in_loop(const struct loop *l, LLVMValueRef value)
{
    return LLVMIsAInstruction(value) && l->inside[index_of(l->graph, LLVMGetInstructionParent(value))];
}

/* ---- patterns ---- */

static bool shifts_by(LLVMValueRef value, LLVMOpcode opcode, uint64_t amount)
{
    return opcode_of(value) == opcode && LLVMIsAConstantInt(LLVMGetOperand(value, 1)) &&
           LLVMConstIntGetZExtValue(LLVMGetOperand(value, 1)) == amount;
}

/* x where the i64 value is the low word of x, sign-extended, made by two shifts. */
static LLVMValueRef shifted_word(LLVMValueRef value)
{
    LLVMValueRef inner;

    if (!shifts_by(value, LLVMAShr, WORD_BITS) || !shifts_by(inner = LLVMGetOperand(value, 0), LLVMShl, WORD_BITS))
        return NULL;
    return LLVMGetOperand(inner, 0);
}

/* The i32 whose extension the i64 value is. */
static LLVMValueRef extended_word(const struct loop *l, LLVMValueRef value, LLVMOpcode opcode)
{
    return opcode_of(value) == opcode && LLVMTypeOf(LLVMGetOperand(value, 0)) == l->i32 ? LLVMGetOperand(value, 0)
                                                                                        : NULL;
}

static bool is_bitwise(LLVMValueRef value)
{
    LLVMOpcode opcode = opcode_of(value);

    return opcode == LLVMAnd || opcode == LLVMOr || opcode == LLVMXor;
}

/* Arithmetic whose low word depends on the operands' low words alone. */
static bool keeps_low(LLVMValueRef value)
{
    LLVMOpcode opcode = opcode_of(value);

    return is_bitwise(value) || opcode == LLVMAdd || opcode == LLVMSub;
}

/* Cheap, without poison for any operands that it did not have poison for before. */
static bool is_simple(LLVMValueRef value)
{
    LLVMOpcode opcode = opcode_of(value);

    return keeps_low(value) || ((opcode == LLVMShl || opcode == LLVMLShr || opcode == LLVMAShr) &&
                                LLVMIsAConstantInt(LLVMGetOperand(value, 1)));
}

static bool is_rotation(LLVMValueRef value)
{
    if (opcode_of(value) != LLVMCall)
        return false;
    LLVMValueRef fn = LLVMGetCalledValue(value);
    unsigned id = LLVMIsAFunction(fn) ? LLVMGetIntrinsicID(fn) : 0;
    return id && id == LLVMLookupIntrinsicID("llvm.fshl", sizeof("llvm.fshl") - 1);
}

static struct phi *phi_of(struct loop *l, LLVMValueRef value)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->phis[i].value == value)
            return &l->phis[i];
    }
    return NULL;
}

/* Can what it brings round be had from it? */
static bool is_there(const struct loop *l, const struct phi *p)
{
    return !p->stale || (l->asking && l->asking != p);
}

/* ---- building ---- */

static LLVMValueRef binary(struct loop *l, LLVMOpcode opcode, LLVMValueRef left, LLVMValueRef right)
{
    if (!left || !right)
        return NULL;
    l->cost++;
    return l->dry ? left : LLVMBuildBinOp(l->b, opcode, left, right, "");
}

static LLVMValueRef extend(struct loop *l, LLVMOpcode opcode, LLVMValueRef word)
{
    l->cost++;
    return !word || l->dry ? word : LLVMBuildCast(l->b, opcode, word, l->i64, "");
}

static LLVMValueRef low_word(struct loop *l, LLVMValueRef value)
{
    return l->dry ? value : LLVMBuildTrunc(l->b, value, l->i32, "");
}

static LLVMValueRef choose(struct loop *l, LLVMValueRef flag, LLVMValueRef yes, LLVMValueRef no)
{
    return !no || l->dry ? no : LLVMBuildSelect(l->b, flag, yes, no, "");
}

/* The value on all turns but the first. */
static LLVMValueRef word_now(struct loop *l, const struct phi *p)
{
    return p->words && !l->dry ? p->word : low_word(l, p->value);
}

static LLVMValueRef full_now(struct loop *l, const struct phi *p)
{
    return p->words ? extend(l, LLVMSExt, word_now(l, p)) : p->value;
}

/* The low word that a value of the loop, or one that the whole loop knows, had a turn ago; the flag of the first turn
 * is down. NULL: it is not to be had. */
static LLVMValueRef word_before(struct loop *l, LLVMValueRef value, unsigned depth);

/* The same of an i32. */
static LLVMValueRef i32_before(struct loop *l, LLVMValueRef value, unsigned depth)
{
    LLVMValueRef x;

    if (!in_loop(l, value))
        return value;
    for (size_t i = 0; i < l->count; i++) {
        const struct phi *p = &l->phis[i];
        if (is_there(l, p) &&
            (extended_word(l, p->round, LLVMSExt) == value || extended_word(l, p->round, LLVMZExt) == value))
            return word_now(l, p);
    }
    if (depth == DEPTH_MAX)
        return NULL;
    if (opcode_of(value) == LLVMTrunc)
        return LLVMTypeOf(x = LLVMGetOperand(value, 0)) == l->i64 ? word_before(l, x, depth + 1) : NULL;
    if (is_rotation(value)) {
        LLVMValueRef amount = LLVMGetOperand(value, 2);
        if (LLVMGetOperand(value, 0) != LLVMGetOperand(value, 1) || !LLVMIsAConstantInt(amount))
            return NULL;
        x = i32_before(l, LLVMGetOperand(value, 0), depth + 1);
        if (!x || l->dry)
            return x;
        uint64_t left = LLVMConstIntGetZExtValue(amount) % WORD_BITS;
        return left ? binary(l, LLVMOr, binary(l, LLVMShl, x, LLVMConstInt(l->i32, left, false)),
                             binary(l, LLVMLShr, x, LLVMConstInt(l->i32, WORD_BITS - left, false)))
                    : x;
    }
    if (!is_simple(value))
        return NULL;
    x = i32_before(l, LLVMGetOperand(value, 0), depth + 1);
    return x ? binary(l, LLVMGetInstructionOpcode(value), x, i32_before(l, LLVMGetOperand(value, 1), depth + 1)) : NULL;
}

/* Does the phi come round as this value's low word, whatever is above it? */
static bool brings_word(const struct loop *l, const struct phi *p, LLVMValueRef value)
{
    LLVMValueRef word = extended_word(l, p->round, LLVMSExt);

    if (!word)
        word = extended_word(l, p->round, LLVMZExt);
    return p->round == value || shifted_word(p->round) == value ||
           (word && opcode_of(word) == LLVMTrunc && LLVMGetOperand(word, 0) == value);
}

static LLVMValueRef word_before(struct loop *l, LLVMValueRef value, unsigned depth)
{
    LLVMValueRef x;

    if (!in_loop(l, value))
        return low_word(l, value);
    for (size_t i = 0; i < l->count; i++) {
        if (is_there(l, &l->phis[i]) && brings_word(l, &l->phis[i], value))
            return word_now(l, &l->phis[i]);
    }
    if (depth == DEPTH_MAX)
        return NULL;
    if ((x = extended_word(l, value, LLVMSExt)) || (x = extended_word(l, value, LLVMZExt)))
        return i32_before(l, x, depth + 1);
    if ((x = shifted_word(value)))
        return word_before(l, x, depth + 1);
    if (!keeps_low(value))
        return NULL;
    x = word_before(l, LLVMGetOperand(value, 0), depth + 1);
    return x ? binary(l, LLVMGetInstructionOpcode(value), x, word_before(l, LLVMGetOperand(value, 1), depth + 1))
             : NULL;
}

/* All 64 bits. */
static LLVMValueRef full_before(struct loop *l, LLVMValueRef value, unsigned depth)
{
    LLVMValueRef x;
    struct phi *p;

    if (!in_loop(l, value))
        return value;
    for (size_t i = 0; i < l->count; i++) {
        if (is_there(l, &l->phis[i]) && l->phis[i].round == value)
            return full_now(l, &l->phis[i]);
    }
    if (depth == DEPTH_MAX)
        return NULL;
    if ((p = phi_of(l, value))) /* a turn ago may have been the first */
        return p->words ? choose(l, l->second, p->entry, extend(l, LLVMSExt, word_before(l, value, depth + 1))) : NULL;
    if ((x = extended_word(l, value, LLVMSExt)) || (x = extended_word(l, value, LLVMZExt)))
        return extend(l, LLVMGetInstructionOpcode(value), i32_before(l, x, depth + 1));
    if ((x = shifted_word(value)))
        return extend(l, LLVMSExt, word_before(l, x, depth + 1));
    if (!is_simple(value))
        return NULL;
    x = full_before(l, LLVMGetOperand(value, 0), depth + 1);
    return x ? binary(l, LLVMGetInstructionOpcode(value), x, full_before(l, LLVMGetOperand(value, 1), depth + 1))
             : NULL;
}

/* What a stale or narrowed phi, or bitwise arithmetic of these, is on this turn, for a use behind the loop. */
static LLVMValueRef value_now(struct loop *l, LLVMValueRef value)
{
    const struct phi *p = phi_of(l, value);

    if (p && p->stale)
        return choose(l, l->first, p->entry, full_before(l, p->round, 0));
    if (p && p->words)
        return choose(l, l->first, p->entry, full_now(l, p));
    if (!in_loop(l, value) || p || !is_bitwise(value))
        return value;
    LLVMValueRef left = value_now(l, LLVMGetOperand(value, 0));
    return binary(l, LLVMGetInstructionOpcode(value), left, value_now(l, LLVMGetOperand(value, 1)));
}

/* ---- which ---- */

/* Where a use behind the loop is to be built: before this instruction. NULL: the use is in the loop, or in a phi that
 * takes it on a way out of the loop, or where it would be built too often. */
static LLVMValueRef place_behind(const struct loop *l, LLVMValueRef user, unsigned operand)
{
    LLVMBasicBlockRef bb = LLVMGetInstructionParent(user);
    LLVMValueRef place = user;

    if (opcode_of(user) == LLVMPHI) {
        bb = LLVMGetIncomingBlock(user, operand);
        place = LLVMGetBasicBlockTerminator(bb);
    }
    return !l->inside[index_of(l->graph, bb)] && (l->often || is_exit(bb)) ? place : NULL;
}

/* Every operand of the user's that is `value` stands behind the loop. */
static bool is_behind(const struct loop *l, LLVMValueRef user, LLVMValueRef value)
{
    for (unsigned i = 0; i < (unsigned)LLVMGetNumOperands(user); i++) {
        if (LLVMGetOperand(user, i) == value && !place_behind(l, user, i))
            return false;
    }
    return true;
}

static bool is_word_or_constant(struct loop *l, LLVMValueRef value)
{
    const struct phi *p = phi_of(l, value);

    return LLVMIsAConstantInt(value) || (p && p->words);
}

/* In the loop, does it take nothing but the phi's low word? Or goes it when the stale phis do? */
static bool takes_word(struct loop *l, LLVMValueRef user, LLVMValueRef value, bool bitwise)
{
    const struct phi *next_turn = phi_of(l, user);

    if (next_turn)
        return next_turn->stale && next_turn->round == value;
    if (opcode_of(user) == LLVMTrunc)
        return true;
    if (shifts_by(user, LLVMShl, WORD_BITS)) {
        for (LLVMUseRef use = LLVMGetFirstUse(user); use; use = LLVMGetNextUse(use)) {
            if (!shifts_by(LLVMGetUser(use), LLVMAShr, WORD_BITS))
                return false;
        }
        return LLVMGetOperand(user, 0) == value;
    }
    if (!bitwise || !is_bitwise(user) || !is_word_or_constant(l, LLVMGetOperand(user, 0)) ||
        !is_word_or_constant(l, LLVMGetOperand(user, 1)))
        return false;
    for (LLVMUseRef use = LLVMGetFirstUse(user); use; use = LLVMGetNextUse(use)) {
        LLVMValueRef next = LLVMGetUser(use);
        if (!is_behind(l, next, user) && !takes_word(l, next, user, false))
            return false;
    }
    return true;
}

static bool may_be_words(struct loop *l, const struct phi *p)
{
    bool taken = false;

    if (!extended_word(l, p->round, LLVMSExt) && !shifted_word(p->round))
        return false;
    for (LLVMUseRef use = LLVMGetFirstUse(p->value); use; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        if (is_behind(l, user, p->value))
            continue;
        if (!takes_word(l, user, p->value, true))
            return false;
        taken = true;
    }
    return taken;
}

static bool may_be_stale(const struct loop *l, const struct phi *p)
{
    for (LLVMUseRef use = LLVMGetFirstUse(p->value); use; use = LLVMGetNextUse(use)) {
        if (!is_behind(l, LLVMGetUser(use), p->value))
            return false;
    }
    return LLVMGetFirstUse(p->value) != NULL;
}

static void choose_words(struct loop *l)
{
    bool changed = true;

    for (size_t i = 0; i < l->count; i++)
        l->phis[i].words = !l->phis[i].stale;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < l->count; i++) {
            if (l->phis[i].words && !may_be_words(l, &l->phis[i])) {
                l->phis[i].words = false;
                changed = true;
            }
        }
    }
}

/* Takes stale phis that cannot be built out of those; with `alone` only those that could not be built of all others. */
static void keep_unbuilt(struct loop *l, bool alone)
{
    bool changed = true;

    while (changed) {
        changed = false;
        choose_words(l);
        for (size_t i = 0; i < l->count; i++) {
            struct phi *p = &l->phis[i];
            l->asking = alone ? p : NULL;
            l->cost = 0;
            if (p->stale && (!full_before(l, p->round, 0) || l->cost > COST_MAX)) {
                p->stale = false;
                changed = true;
            }
        }
    }
    l->asking = NULL;
}

/* Those first that have what nobody else has: others may be built of them. Returns how many phis are worth something.
 */
static size_t choose_phis(struct loop *l)
{
    size_t gains = 0;

    for (size_t i = 0; i < l->count; i++)
        l->phis[i].stale = may_be_stale(l, &l->phis[i]);
    l->dry = true;
    keep_unbuilt(l, true);
    keep_unbuilt(l, false);
    l->dry = false;
    for (size_t i = 0; i < l->count; i++)
        gains += l->phis[i].stale || l->phis[i].words;
    return gains;
}

/* ---- rewriting ---- */

static LLVMValueRef new_phi(struct loop *l, LLVMTypeRef type)
{
    LLVMPositionBuilderBefore(l->b, LLVMGetFirstInstruction(l->graph->blocks[l->header]));
    return LLVMBuildPhi(l->b, type, "");
}

/* A phi with `outside` from every way into the loop. */
static LLVMValueRef flag_phi(struct loop *l, LLVMValueRef outside, LLVMValueRef round)
{
    LLVMValueRef flag = new_phi(l, l->i1);

    for (size_t n = l->graph->pred_start[l->header]; n < l->graph->pred_start[l->header + 1]; n++) {
        LLVMBasicBlockRef from = l->graph->blocks[l->graph->preds[n]];
        LLVMValueRef value = l->graph->preds[n] == l->latch ? round : outside;
        LLVMAddIncoming(flag, &value, &from, 1);
    }
    return flag;
}

/* What came in on the first turn: it stays. */
static void keep_entry(struct loop *l, struct phi *p)
{
    unsigned count = LLVMCountIncoming(p->value);
    LLVMBasicBlockRef latch = l->graph->blocks[l->latch];
    LLVMValueRef only = NULL;

    for (unsigned i = 0; i < count; i++) {
        if (LLVMGetIncomingBlock(p->value, i) != latch) {
            LLVMValueRef value = LLVMGetIncomingValue(p->value, i);
            only = !only || only == value ? value : p->value;
        }
    }
    if (only != p->value) {
        p->entry = only;
        return;
    }
    p->entry = new_phi(l, l->i64);
    for (unsigned i = 0; i < count; i++) {
        LLVMBasicBlockRef from = LLVMGetIncomingBlock(p->value, i);
        LLVMValueRef value = from == latch ? p->entry : LLVMGetIncomingValue(p->value, i);
        LLVMAddIncoming(p->entry, &value, &from, 1);
    }
}

/* The ways in get their operand now; that of the latch comes once all phis of words are there. */
static void make_word_phi(struct loop *l, struct phi *p)
{
    LLVMBasicBlockRef latch = l->graph->blocks[l->latch];

    p->word = new_phi(l, l->i32);
    for (unsigned i = 0; i < LLVMCountIncoming(p->value); i++) {
        LLVMBasicBlockRef from = LLVMGetIncomingBlock(p->value, i);
        if (from == latch)
            continue;
        LLVMPositionBuilderBefore(l->b, LLVMGetBasicBlockTerminator(from));
        LLVMValueRef word = LLVMBuildTrunc(l->b, LLVMGetIncomingValue(p->value, i), l->i32, "");
        LLVMAddIncoming(p->word, &word, &from, 1);
    }
}

static void close_word_phi(struct loop *l, struct phi *p)
{
    LLVMBasicBlockRef latch = l->graph->blocks[l->latch];
    LLVMValueRef word = extended_word(l, p->round, LLVMSExt);

    if (!word) {
        LLVMValueRef x = shifted_word(p->round);
        const struct phi *same = phi_of(l, x);
        LLVMPositionBuilderBefore(l->b, LLVMGetBasicBlockTerminator(latch));
        word = same && same->words ? same->word : LLVMBuildTrunc(l->b, x, l->i32, "");
    }
    for (unsigned i = 0; i < LLVMCountIncoming(p->value); i++) {
        if (LLVMGetIncomingBlock(p->value, i) == latch)
            LLVMAddIncoming(p->word, &word, &latch, 1);
    }
}

/* Uses of `value` behind the loop, each built where it is. The list changes meanwhile. */
static int rewrite_behind(struct loop *l, LLVMValueRef value)
{
    size_t count = 0, size = 0;
    LLVMValueRef *users = NULL;

    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
        if (count == size) {
            size = size ? 2 * size : 32;
            LLVMValueRef *more = realloc(users, size * sizeof(*users));
            if (!more) {
                free(users);
                return -ENOMEM;
            }
            users = more;
        }
        users[count++] = LLVMGetUser(use);
    }
    for (size_t i = 0; i < count; i++) {
        for (unsigned n = 0; n < (unsigned)LLVMGetNumOperands(users[i]); n++) {
            LLVMValueRef place = LLVMGetOperand(users[i], n) == value ? place_behind(l, users[i], n) : NULL;
            if (!place)
                continue;
            LLVMPositionBuilderBefore(l->b, place);
            LLVMSetOperand(users[i], n, value_now(l, value));
        }
    }
    free(users);
    return 0;
}

/* In the loop. */
static LLVMValueRef word_of_operand(struct loop *l, LLVMValueRef value)
{
    const struct phi *p = phi_of(l, value);

    return p ? p->word : LLVMConstInt(l->i32, LLVMConstIntGetZExtValue(value) & UINT32_MAX, false);
}

static void replace_truncs(struct loop *l, LLVMValueRef value, LLVMValueRef word)
{
    LLVMUseRef next;

    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = next) {
        LLVMValueRef user = LLVMGetUser(use);
        next = LLVMGetNextUse(use);
        if (opcode_of(user) != LLVMTrunc || !in_loop(l, user))
            continue;
        LLVMPositionBuilderBefore(l->b, user);
        LLVMReplaceAllUsesWith(user,
                               LLVMTypeOf(user) == l->i32 ? word : LLVMBuildTrunc(l->b, word, LLVMTypeOf(user), ""));
    }
}

/* The uses in the loop of a phi of words. */
static void rewrite_inside(struct loop *l, struct phi *p)
{
    LLVMUseRef next;

    replace_truncs(l, p->value, p->word);
    for (LLVMUseRef use = LLVMGetFirstUse(p->value); use; use = next) {
        LLVMValueRef user = LLVMGetUser(use);
        next = LLVMGetNextUse(use);
        if (!in_loop(l, user))
            continue;
        if (shifts_by(user, LLVMShl, WORD_BITS)) {
            for (LLVMUseRef back = LLVMGetFirstUse(user), after; back; back = after) {
                after = LLVMGetNextUse(back);
                LLVMValueRef wide = LLVMGetUser(back);
                LLVMPositionBuilderBefore(l->b, wide);
                LLVMReplaceAllUsesWith(wide, LLVMBuildSExt(l->b, p->word, l->i64, ""));
            }
        } else if (is_bitwise(user)) {
            LLVMPositionBuilderBefore(l->b, user);
            LLVMValueRef left = word_of_operand(l, LLVMGetOperand(user, 0));
            LLVMValueRef right = word_of_operand(l, LLVMGetOperand(user, 1));
            replace_truncs(l, user, LLVMBuildBinOp(l->b, LLVMGetInstructionOpcode(user), left, right, ""));
        }
    }
}

/* Behind the loop: the phi's own uses, and those of bitwise arithmetic of words. */
static int rewrite_behind_all(struct loop *l, const struct phi *p)
{
    int rc = rewrite_behind(l, p->value);

    for (LLVMUseRef use = LLVMGetFirstUse(p->value); use && rc == 0 && p->words; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        if (in_loop(l, user) && is_bitwise(user))
            rc = rewrite_behind(l, user);
    }
    return rc;
}

/* In an order in which what decides is not changed before it was looked at. */
static int rewrite(struct loop *l)
{
    LLVMValueRef yes = LLVMConstInt(l->i1, 1, false), no = LLVMConstInt(l->i1, 0, false);
    int rc = 0;

    l->first = flag_phi(l, yes, no);
    l->second = flag_phi(l, no, l->first);
    for (size_t i = 0; i < l->count; i++) {
        if (l->phis[i].stale || l->phis[i].words)
            keep_entry(l, &l->phis[i]);
        if (l->phis[i].words)
            make_word_phi(l, &l->phis[i]);
    }
    for (size_t i = 0; i < l->count && rc == 0; i++) {
        if (l->phis[i].stale || l->phis[i].words)
            rc = rewrite_behind_all(l, &l->phis[i]);
    }
    for (size_t i = 0; i < l->count; i++) {
        if (l->phis[i].words)
            close_word_phi(l, &l->phis[i]);
    }
    for (size_t i = 0; i < l->count; i++) {
        if (l->phis[i].words)
            rewrite_inside(l, &l->phis[i]);
    }
    return rc;
}

/* False: there are too many, or one of them would need code where none can stand. */
static bool list_phis(struct loop *l)
{
    LLVMBasicBlockRef latch = l->graph->blocks[l->latch];

    l->count = 0;
    for (LLVMValueRef at = LLVMGetFirstInstruction(l->graph->blocks[l->header]); opcode_of(at) == LLVMPHI;
         at = LLVMGetNextInstruction(at)) {
        if (LLVMTypeOf(at) != l->i64)
            continue;
        if (l->count == PHIS_MAX)
            return false;
        struct phi *p = &l->phis[l->count++];
        *p = (struct phi){.value = at};
        for (unsigned i = 0; i < LLVMCountIncoming(at); i++) {
            LLVMBasicBlockRef from = LLVMGetIncomingBlock(at, i);
            if (LLVMGetIncomingValue(at, i) == LLVMGetBasicBlockTerminator(from))
                return false;
            if (from == latch && p->round)
                return false;
            if (from == latch)
                p->round = LLVMGetIncomingValue(at, i);
            for (unsigned n = 0; n < i; n++) {
                if (LLVMGetIncomingBlock(at, n) == from)
                    return false;
            }
        }
    }
    return l->count > 0;
}

int spare_exits(LLVMValueRef fn)
{
    LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(fn));
    struct graph g = {0};
    int rc = make_graph(&g, fn);
    struct loop *l = calloc(1, sizeof(*l));
    bool *inside = calloc(g.count + 1, sizeof(*inside));
    size_t *work = calloc(g.count + 1, sizeof(*work));

    if (!l || !inside || !work)
        rc = -ENOMEM;
    if (rc == 0) {
        *l = (struct loop){.graph = &g,
                           .inside = inside,
                           .b = LLVMCreateBuilderInContext(context),
                           .i1 = LLVMInt1TypeInContext(context),
                           .i32 = LLVMInt32TypeInContext(context),
                           .i64 = LLVMInt64TypeInContext(context)};
        for (l->header = 0; l->header < g.count && rc == 0; l->header++) {
            if (opcode_of(LLVMGetFirstInstruction(g.blocks[l->header])) != LLVMPHI || !find_loop(l, work) ||
                !list_phis(l))
                continue;
            l->often = turns_often(l);
            if (choose_phis(l))
                rc = rewrite(l);
        }
        LLVMDisposeBuilder(l->b);
    }
    free(l);
    free(inside);
    free(work);
    free_graph(&g);
    return rc;
}
