/* RV64's W instructions work on words and leave them sign-extended to 64 bits. InstCombine makes 64-bit operations with
 * masks and pairs of shifts of them: addw of a rotation becomes shl, lshr, two ands, or, add, shl, ashr, in which
 * nobody finds the rotation again. Here, after the pipeline, values of which every user takes but the low 32 bits are
 * computed as i32, and rotations of words are said to be some (llvm.fshl). A rotation of sha256 is one host instruction
 * instead of five.
 *
 * A value of which somebody wants all bits, if only an exit, stays what it is: nothing is computed twice, but for the
 * shifts of a rotation.
 */
#include "llvm/narrow.h"

#include "llvm/opcode.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { WORD_BITS = 32 };

static const uint64_t word_mask = UINT32_MAX;

struct node {
    LLVMValueRef value;
    LLVMValueRef narrow; /* its low word; NULL: not made so far */
    bool low;            /* no user takes more than the low word */
};

struct narrower {
    struct node *nodes; /* the function's i64 instructions, by the value's address */
    size_t count;
    LLVMValueRef *order; /* the same as they stand in the function */
    LLVMContextRef context;
    LLVMBuilderRef b;
    LLVMTypeRef i32, i64;
};

static int by_value(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)((const struct node *)a)->value;
    uintptr_t right = (uintptr_t)((const struct node *)b)->value;

    return left < right ? -1 : left > right;
}

static struct node *find(const struct narrower *n, LLVMValueRef value)
{
    const struct node key = {.value = value};

    return bsearch(&key, n->nodes, n->count, sizeof(key), by_value);
}

/* ---- patterns ---- */

static bool constant(LLVMValueRef value, uint64_t *number)
{
    if (!LLVMIsAConstantInt(value) || LLVMGetIntTypeWidth(LLVMTypeOf(value)) > 64)
        return false;
    *number = LLVMConstIntGetZExtValue(value);
    return true;
}

/* Is it `opcode` of something and a constant? */
static bool with_constant(LLVMValueRef value, LLVMOpcode opcode, LLVMValueRef *operand, uint64_t *number)
{
    if (opcode_of(value) != opcode || !constant(LLVMGetOperand(value, 1), number))
        return false;
    *operand = LLVMGetOperand(value, 0);
    return true;
}

/* An extension of a word, whose operand comes out. */
static bool extends_word(const struct narrower *n, LLVMValueRef value, LLVMOpcode opcode, LLVMValueRef *word)
{
    if (opcode_of(value) != opcode || LLVMTypeOf(LLVMGetOperand(value, 0)) != n->i32)
        return false;
    *word = LLVMGetOperand(value, 0);
    return true;
}

/* What a word was truncated from. */
static bool truncated(const struct narrower *n, LLVMValueRef word, LLVMValueRef *from)
{
    if (opcode_of(word) != LLVMTrunc || LLVMTypeOf(LLVMGetOperand(word, 0)) != n->i64)
        return false;
    *from = LLVMGetOperand(word, 0);
    return true;
}

/* What a value's upper half is. */
enum upper { UPPER_ANY, UPPER_ZERO, UPPER_SIGN };

/* Is the low word that of x << amount, 0 < amount < 32? */
static bool shifts_left(const struct narrower *n, LLVMValueRef value, LLVMValueRef *x, uint64_t *amount,
                        enum upper *upper)
{
    LLVMValueRef inner;
    uint64_t number;

    *upper = UPPER_ANY;
    if (with_constant(value, LLVMAnd, &inner, &number)) {
        *upper = number <= word_mask ? UPPER_ZERO : UPPER_ANY;
        return with_constant(inner, LLVMShl, x, amount) && *amount > 0 && *amount < WORD_BITS &&
               (number & word_mask) >> *amount == word_mask >> *amount;
    }
    if (with_constant(value, LLVMShl, x, amount))
        return *amount > 0 && *amount < WORD_BITS;
    *upper = UPPER_SIGN;
    if (extends_word(n, value, LLVMSExt, &inner))
        return with_constant(inner, LLVMShl, &inner, amount) && *amount > 0 && truncated(n, inner, x);
    if (!with_constant(value, LLVMAShr, &inner, &number) || number != WORD_BITS ||
        !with_constant(inner, LLVMShl, x, amount) || *amount <= WORD_BITS)
        return false;
    *amount -= WORD_BITS;
    return true;
}

/* Is it x >> amount, of which a mask has cut off what came down from the upper half? */
static bool cut_shift(LLVMValueRef value, LLVMValueRef *x, uint64_t *amount)
{
    LLVMValueRef inner;
    uint64_t mask;

    return with_constant(value, LLVMAnd, &inner, &mask) && with_constant(inner, LLVMLShr, x, amount) && *amount > 0 &&
           *amount < WORD_BITS && mask == word_mask >> *amount;
}

/* Is the value that of the low word of x >> amount, zeroes above? */
static bool shifts_right(const struct narrower *n, LLVMValueRef value, LLVMValueRef *x, uint64_t *amount)
{
    LLVMValueRef inner;
    uint64_t number;

    if (cut_shift(value, x, amount))
        return true;
    if (with_constant(value, LLVMLShr, &inner, amount))
        return *amount > 0 && *amount < WORD_BITS && with_constant(inner, LLVMAnd, x, &number) && number == word_mask;
    return extends_word(n, value, LLVMZExt, &inner) && with_constant(inner, LLVMLShr, &inner, amount) && *amount > 0 &&
           truncated(n, inner, x);
}

/* Is the low word that of x rotated to the left? The two shifts have no bit in common, so it may be any of three. */
static bool rotates(const struct narrower *n, LLVMValueRef value, LLVMValueRef *x, uint64_t *amount, enum upper *upper)
{
    LLVMOpcode opcode = opcode_of(value);

    if (opcode != LLVMOr && opcode != LLVMXor && opcode != LLVMAdd)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef other;
        uint64_t right;
        if (shifts_left(n, LLVMGetOperand(value, i), x, amount, upper) &&
            shifts_right(n, LLVMGetOperand(value, 1 - i), &other, &right) && other == *x &&
            *amount + right == WORD_BITS)
            return true;
    }
    return false;
}

/* ---- what is wanted of each value ---- */

/* Could it be computed from the low words of its operands? (lshr: those of its bits that come from there.) */
static bool could_be_narrow(LLVMValueRef value)
{
    LLVMValueRef operand;
    uint64_t amount;

    switch (opcode_of(value)) {
    case LLVMAdd:
    case LLVMSub:
    case LLVMMul:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMSelect:
        return true;
    case LLVMShl:
    case LLVMLShr:
        return with_constant(value, opcode_of(value), &operand, &amount) && amount < WORD_BITS;
    default:
        return false;
    }
}

/* Does `user` look at nothing of the value's bits above `mask`, which has 32 bits at most? */
static bool masks(LLVMValueRef user, uint64_t mask)
{
    LLVMValueRef operand;
    uint64_t number;

    if (opcode_of(user) == LLVMTrunc)
        return LLVMGetIntTypeWidth(LLVMTypeOf(user)) <= (unsigned)__builtin_popcountll(mask);
    if (with_constant(user, LLVMAnd, &operand, &number))
        return number <= mask;
    return mask == word_mask && with_constant(user, LLVMShl, &operand, &number) && number >= WORD_BITS;
}

static bool wanted_low(const struct narrower *n, LLVMValueRef value)
{
    LLVMValueRef operand;
    uint64_t amount;
    bool right = with_constant(value, LLVMLShr, &operand, &amount);
    uint64_t mask = right ? word_mask >> amount : word_mask;

    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        if (masks(user, mask))
            continue;
        const struct node *node = right ? NULL : find(n, user);
        if (!node || !node->low)
            return false;
    }
    return LLVMGetFirstUse(value) != NULL;
}

static void find_low(struct narrower *n)
{
    bool changed = true;

    for (size_t i = 0; i < n->count; i++)
        n->nodes[i].low = could_be_narrow(n->nodes[i].value);
    while (changed) {
        changed = false;
        /* Users stand behind what they use, mostly. */
        for (size_t i = n->count; i-- > 0;) {
            struct node *node = find(n, n->order[i]);
            if (node->low && !wanted_low(n, node->value)) {
                node->low = false;
                changed = true;
            }
        }
    }
}

/* ---- rewriting ---- */

static LLVMValueRef word_of(struct narrower *n, LLVMValueRef value, LLVMValueRef before);

static LLVMValueRef build_rotation(struct narrower *n, LLVMValueRef x, uint64_t amount, LLVMValueRef before)
{
    static const char name[] = "llvm.fshl";
    LLVMModuleRef module = LLVMGetGlobalParent(LLVMGetBasicBlockParent(LLVMGetInstructionParent(before)));
    unsigned id = LLVMLookupIntrinsicID(name, sizeof(name) - 1);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(module, id, &n->i32, 1);
    LLVMValueRef word = word_of(n, x, before);
    LLVMValueRef args[] = {word, word, LLVMConstInt(n->i32, amount, false)};

    LLVMPositionBuilderBefore(n->b, before);
    return LLVMBuildCall2(n->b, LLVMIntrinsicGetType(n->context, id, &n->i32, 1), fn, args, 3, "");
}

static LLVMValueRef build_low(struct narrower *n, LLVMValueRef value)
{
    LLVMOpcode opcode = opcode_of(value);
    LLVMValueRef x;
    uint64_t amount;
    enum upper upper;

    if (rotates(n, value, &x, &amount, &upper))
        return build_rotation(n, x, amount, value);
    if (cut_shift(value, &x, &amount)) {
        LLVMValueRef word = word_of(n, x, value);
        LLVMPositionBuilderBefore(n->b, value);
        return LLVMBuildLShr(n->b, word, LLVMConstInt(n->i32, amount, false), "");
    }
    unsigned first = opcode == LLVMSelect ? 1 : 0;
    LLVMValueRef left = word_of(n, LLVMGetOperand(value, first), value);
    LLVMValueRef right = word_of(n, LLVMGetOperand(value, first + 1), value);
    LLVMPositionBuilderBefore(n->b, value);
    return opcode == LLVMSelect ? LLVMBuildSelect(n->b, LLVMGetOperand(value, 0), left, right, "")
                                : LLVMBuildBinOp(n->b, opcode, left, right, "");
}

/* The low word, for a user that stands at `before`. */
static LLVMValueRef word_of(struct narrower *n, LLVMValueRef value, LLVMValueRef before)
{
    struct node *node = find(n, value);
    LLVMValueRef word;
    uint64_t number;

    if (constant(value, &number))
        return LLVMConstInt(n->i32, number & word_mask, false);
    if (extends_word(n, value, LLVMSExt, &word) || extends_word(n, value, LLVMZExt, &word))
        return word;
    if (node && node->low) {
        if (!node->narrow)
            node->narrow = build_low(n, value);
        return node->narrow;
    }
    LLVMPositionBuilderBefore(n->b, before);
    return LLVMBuildTrunc(n->b, value, n->i32, "");
}

static LLVMValueRef extended(struct narrower *n, LLVMValueRef word, enum upper upper, LLVMValueRef before)
{
    LLVMPositionBuilderBefore(n->b, before);
    return upper == UPPER_SIGN ? LLVMBuildSExt(n->b, word, n->i64, "") : LLVMBuildZExt(n->b, word, n->i64, "");
}

/* Rotations of which somebody wants all bits, and these are known. */
static void rewrite_rotations(struct narrower *n)
{
    for (size_t i = 0; i < n->count; i++) {
        LLVMValueRef value = n->order[i], x;
        uint64_t amount;
        enum upper upper;
        if (find(n, value)->low || !rotates(n, value, &x, &amount, &upper) || upper == UPPER_ANY)
            continue;
        LLVMReplaceAllUsesWith(value, extended(n, build_rotation(n, x, amount, value), upper, value));
    }
}

/* A user that stays 64 bits wide, or is a truncation already. */
static void rewrite_user(struct narrower *n, LLVMValueRef user)
{
    LLVMValueRef value = LLVMGetOperand(user, 0), inner;
    uint64_t number;

    if (opcode_of(user) == LLVMTrunc) {
        LLVMValueRef word = word_of(n, value, user);
        LLVMPositionBuilderBefore(n->b, user);
        LLVMReplaceAllUsesWith(user,
                               LLVMTypeOf(user) == n->i32 ? word : LLVMBuildTrunc(n->b, word, LLVMTypeOf(user), ""));
    } else if (with_constant(user, LLVMAShr, &inner, &number) && number >= WORD_BITS) {
        /* Of a shift to the left by 32: rewrite_all() looked. */
        LLVMValueRef word = word_of(n, LLVMGetOperand(inner, 0), user);
        LLVMPositionBuilderBefore(n->b, user);
        if (number > WORD_BITS)
            word = LLVMBuildAShr(n->b, word, LLVMConstInt(n->i32, number - WORD_BITS, false), "");
        LLVMReplaceAllUsesWith(user, extended(n, word, UPPER_SIGN, user));
    } else if (cut_shift(user, &inner, &number)) {
        LLVMReplaceAllUsesWith(user, extended(n, word_of(n, value, user), UPPER_ZERO, user));
    } else {
        LLVMSetOperand(user, 0, extended(n, word_of(n, value, user), UPPER_ZERO, user));
    }
}

static bool is_low(const struct narrower *n, LLVMValueRef value)
{
    const struct node *node = find(n, value);

    return node && node->low;
}

/* A shift to the left by 32 for nothing but shifts back: it is rewritten with those. */
static bool is_shifted_back(LLVMValueRef shift)
{
    LLVMValueRef operand;
    uint64_t number;

    for (LLVMUseRef use = LLVMGetFirstUse(shift); use; use = LLVMGetNextUse(use)) {
        if (!with_constant(LLVMGetUser(use), LLVMAShr, &operand, &number) || number < WORD_BITS)
            return false;
    }
    return true;
}

/* What wanted_low() found to take low words, but for the low values themselves. */
static bool takes_low(const struct narrower *n, LLVMValueRef user)
{
    LLVMValueRef operand, inner;
    uint64_t number;

    switch (opcode_of(user)) {
    case LLVMTrunc:
        return LLVMTypeOf(LLVMGetOperand(user, 0)) == n->i64 && is_low(n, LLVMGetOperand(user, 0));
    case LLVMAnd:
        return with_constant(user, LLVMAnd, &operand, &number) && !is_low(n, user) && is_low(n, operand);
    case LLVMShl:
        return with_constant(user, LLVMShl, &operand, &number) && number >= WORD_BITS && is_low(n, operand) &&
               !(number == WORD_BITS && is_shifted_back(user));
    case LLVMAShr:
        return with_constant(user, LLVMAShr, &operand, &number) && number >= WORD_BITS &&
               with_constant(operand, LLVMShl, &inner, &number) && number == WORD_BITS && is_low(n, inner);
    default:
        return false;
    }
}

static void rewrite_all(struct narrower *n, LLVMValueRef fn)
{
    rewrite_rotations(n);
    for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb; bb = LLVMGetNextBasicBlock(bb)) {
        for (LLVMValueRef at = LLVMGetFirstInstruction(bb), next; at; at = next) {
            next = LLVMGetNextInstruction(at);
            if (takes_low(n, at))
                rewrite_user(n, at);
        }
    }
}

/* The function's i64 instructions: counted, then listed. */
static size_t list_values(const struct narrower *n, LLVMValueRef fn, LLVMValueRef *order)
{
    size_t count = 0;

    for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb; bb = LLVMGetNextBasicBlock(bb)) {
        for (LLVMValueRef at = LLVMGetFirstInstruction(bb); at; at = LLVMGetNextInstruction(at)) {
            if (LLVMTypeOf(at) != n->i64)
                continue;
            if (order)
                order[count] = at;
            count++;
        }
    }
    return count;
}

int narrow_words(LLVMValueRef fn)
{
    LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(fn));
    struct narrower n = {
        .context = context, .i32 = LLVMInt32TypeInContext(context), .i64 = LLVMInt64TypeInContext(context)};

    n.count = list_values(&n, fn, NULL);
    n.nodes = calloc(n.count + 1, sizeof(*n.nodes));
    n.order = calloc(n.count + 1, sizeof(LLVMValueRef));
    if (!n.nodes || !n.order) {
        free(n.nodes);
        free(n.order);
        return -ENOMEM;
    }
    (void)list_values(&n, fn, n.order);
    for (size_t i = 0; i < n.count; i++)
        n.nodes[i].value = n.order[i];
    qsort(n.nodes, n.count, sizeof(*n.nodes), by_value);
    n.b = LLVMCreateBuilderInContext(context);
    find_low(&n);
    rewrite_all(&n, fn);
    LLVMDisposeBuilder(n.b);
    free(n.nodes);
    free(n.order);
    return 0;
}
