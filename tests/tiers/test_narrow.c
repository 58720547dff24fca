/* llvm/narrow.h: random expressions of the kind that W instructions become, computed here in C and by the narrowed
 * code; and which of them are found to be rotations. */
#include "rng.h"
#include "run_suite.h"
#include "llvm/narrow.h"

#include <check.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <string.h>

enum { ARGS = 4, VALUES = 40, INPUTS = 8, FUNCTIONS = 64, MODULES = 12, ALL = ARGS + VALUES };

/* A function under construction, and what it computes for each input. */
struct expression {
    LLVMContextRef context;
    LLVMBuilderRef b;
    LLVMTypeRef i32, i64;
    struct rng *rng;
    LLVMValueRef values[ALL];
    uint64_t known[ALL][INPUTS];
    unsigned count;
};

typedef void narrowed_fn(const uint64_t *args, uint64_t *out);

static LLVMValueRef number(struct expression *e, uint64_t value)
{
    return LLVMConstInt(e->i64, value, false);
}

/* ---- single operations, in LLVM's terms and in C's ---- */

struct pair {
    LLVMValueRef value;
    uint64_t known[INPUTS];
};

static uint64_t compute(LLVMOpcode opcode, uint64_t a, uint64_t b)
{
    switch (opcode) {
    case LLVMAdd:
        return a + b;
    case LLVMSub:
        return a - b;
    case LLVMMul:
        return a * b;
    case LLVMAnd:
        return a & b;
    case LLVMOr:
        return a | b;
    case LLVMXor:
        return a ^ b;
    case LLVMShl:
        return a << b;
    case LLVMLShr:
        return a >> b;
    case LLVMAShr:
        return (uint64_t)((int64_t)a >> b);
    default:
        ck_abort_msg("no such operation");
    }
}

static struct pair binary(struct expression *e, LLVMOpcode opcode, const struct pair *a, const struct pair *b)
{
    struct pair out = {.value = LLVMBuildBinOp(e->b, opcode, a->value, b->value, "")};

    for (unsigned i = 0; i < INPUTS; i++)
        out.known[i] = compute(opcode, a->known[i], b->known[i]);
    return out;
}

static struct pair by_constant(struct expression *e, LLVMOpcode opcode, const struct pair *a, uint64_t constant)
{
    struct pair b = {.value = number(e, constant)};

    for (unsigned i = 0; i < INPUTS; i++)
        b.known[i] = constant;
    return binary(e, opcode, a, &b);
}

/* The low word, extended, by way of an i32: shifted there by `amount` if that is not 0. */
static struct pair through_word(struct expression *e, const struct pair *a, LLVMOpcode shift, unsigned amount,
                                bool is_signed)
{
    LLVMValueRef word = LLVMBuildTrunc(e->b, a->value, e->i32, "");
    struct pair out;

    if (amount)
        word = LLVMBuildBinOp(e->b, shift, word, LLVMConstInt(e->i32, amount, false), "");
    out.value = is_signed ? LLVMBuildSExt(e->b, word, e->i64, "") : LLVMBuildZExt(e->b, word, e->i64, "");
    for (unsigned i = 0; i < INPUTS; i++) {
        uint32_t low = (uint32_t)a->known[i];
        low = shift == LLVMShl ? low << amount : low >> amount;
        out.known[i] = is_signed ? (uint64_t)(int64_t)(int32_t)low : low;
    }
    return out;
}

static struct pair choice(struct expression *e, const struct pair *a, const struct pair *b)
{
    struct pair out;
    LLVMValueRef less = LLVMBuildICmp(e->b, LLVMIntULT, a->value, b->value, "");

    out.value = LLVMBuildSelect(e->b, less, b->value, a->value, "");
    for (unsigned i = 0; i < INPUTS; i++)
        out.known[i] = a->known[i] < b->known[i] ? b->known[i] : a->known[i];
    return out;
}

/* ---- the two halves of a rotation, first in every form that there is, then in some that are none ---- */

enum { LEFTS = 5, RIGHTS = 6, LEFTS_RIGHT = 4, RIGHTS_RIGHT = 3 };

static struct pair left_half(struct expression *e, const struct pair *x, unsigned form, unsigned amount)
{
    struct pair shifted;

    switch (form) {
    case 0: /* sllw, sign-extended */
        return through_word(e, x, LLVMShl, amount, true);
    case 1: /* the same as InstCombine has it */
        shifted = by_constant(e, LLVMShl, x, amount + 32);
        return by_constant(e, LLVMAShr, &shifted, 32);
    case 2:
        shifted = by_constant(e, LLVMShl, x, amount);
        return by_constant(e, LLVMAnd, &shifted, (uint32_t)(UINT32_MAX << amount));
    case 3:
        return by_constant(e, LLVMShl, x, amount);
    default: /* not all of its bits */
        shifted = by_constant(e, LLVMShl, x, amount);
        return by_constant(e, LLVMAnd, &shifted, (uint32_t)(UINT32_MAX << amount) >> 1);
    }
}

static struct pair right_half(struct expression *e, const struct pair *x, unsigned form, unsigned amount)
{
    struct pair shifted;

    switch (form) {
    case 0: /* srlw */
        return through_word(e, x, LLVMLShr, amount, false);
    case 1:
        shifted = by_constant(e, LLVMLShr, x, amount);
        return by_constant(e, LLVMAnd, &shifted, UINT32_MAX >> amount);
    case 2:
        shifted = by_constant(e, LLVMAnd, x, UINT32_MAX);
        return by_constant(e, LLVMLShr, &shifted, amount);
    case 3: /* bits of the upper half come down */
        return by_constant(e, LLVMLShr, x, amount);
    case 4: /* one of them */
        shifted = by_constant(e, LLVMLShr, x, amount);
        return by_constant(e, LLVMAnd, &shifted, UINT32_MAX >> (amount - 1));
    default: /* not all bits of the low half */
        shifted = by_constant(e, LLVMLShr, x, amount);
        return by_constant(e, LLVMAnd, &shifted, UINT32_MAX >> amount & ~UINT64_C(1));
    }
}

static LLVMOpcode any_of(struct rng *rng, const LLVMOpcode *list, uint32_t count)
{
    return list[rng_below(rng, count)];
}

static struct pair rotation(struct expression *e, const struct pair *x, const struct pair *y)
{
    static const LLVMOpcode joins[] = {LLVMOr, LLVMXor, LLVMAdd, LLVMSub};
    unsigned amount = 1 + rng_below(e->rng, 31);
    unsigned other = rng_one_in(e->rng, 8) ? 1 + rng_below(e->rng, 31) : 32 - amount;
    struct pair left = left_half(e, x, rng_below(e->rng, LEFTS), amount);
    struct pair right = right_half(e, rng_one_in(e->rng, 8) ? y : x, rng_below(e->rng, RIGHTS), other);

    if (rng_one_in(e->rng, 2))
        return binary(e, any_of(e->rng, joins, 4), &right, &left);
    return binary(e, any_of(e->rng, joins, 4), &left, &right);
}

/* ---- random functions ---- */

static void keep(struct expression *e, const struct pair *pair)
{
    e->values[e->count] = pair->value;
    memcpy(e->known[e->count], pair->known, sizeof(pair->known));
    e->count++;
}

/* Mostly of the last few values, so that expressions get deep. */
static struct pair pick(struct expression *e)
{
    unsigned back = rng_one_in(e->rng, 3) ? e->count : e->count < 6 ? e->count : 6;
    unsigned at = e->count - 1 - rng_below(e->rng, back);
    struct pair out = {.value = e->values[at]};

    memcpy(out.known, e->known[at], sizeof(out.known));
    return out;
}

static struct pair operation(struct expression *e)
{
    static const LLVMOpcode plain[] = {LLVMAdd, LLVMSub, LLVMMul, LLVMAnd, LLVMOr, LLVMXor};
    static const LLVMOpcode shifts[] = {LLVMShl, LLVMLShr, LLVMAShr};
    struct pair a = pick(e), b = pick(e);
    unsigned amount = rng_below(e->rng, 64);

    switch (rng_below(e->rng, 10)) {
    case 0:
    case 1:
    case 2:
        return binary(e, any_of(e->rng, plain, 6), &a, &b);
    case 3:
        return by_constant(e, any_of(e->rng, plain, 6), &a, rng_next(e->rng) >> amount);
    case 4:
        return by_constant(e, any_of(e->rng, shifts, 3), &a, amount & 1 ? 30 + amount % 4 : amount);
    case 5:
        return through_word(e, &a, amount & 1 ? LLVMShl : LLVMLShr, amount % 32, rng_one_in(e->rng, 2));
    case 6: /* as InstCombine has sign extensions, and sraw of a word */
        a = by_constant(e, LLVMShl, &a, 32);
        return by_constant(e, LLVMAShr, &a, rng_one_in(e->rng, 2) ? 32 : 32 + amount % 32);
    case 7:
        return choice(e, &a, &b);
    default:
        return rotation(e, &a, &b);
    }
}

/* Function `index`: computes VALUES values and stores each, whole or its low word, or nothing of it. */
static void build(struct expression *e, LLVMModuleRef module, unsigned index, const uint64_t inputs[INPUTS][ARGS],
                  uint64_t expected[INPUTS][ALL])
{
    LLVMTypeRef ptr = LLVMPointerTypeInContext(e->context, 0);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), (LLVMTypeRef[]){ptr, ptr}, 2, false);
    char name[16];

    snprintf(name, sizeof(name), "f%u", index);
    LLVMValueRef fn = LLVMAddFunction(module, name, type);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, fn, ""));
    e->count = 0;
    for (unsigned i = 0; i < ARGS; i++) {
        LLVMValueRef at = number(e, i);
        struct pair arg;
        arg.value = LLVMBuildLoad2(e->b, e->i64, LLVMBuildGEP2(e->b, e->i64, LLVMGetParam(fn, 0), &at, 1, ""), "");
        for (unsigned j = 0; j < INPUTS; j++)
            arg.known[j] = inputs[j][i];
        keep(e, &arg);
    }
    while (e->count < ALL) {
        struct pair next = operation(e);
        keep(e, &next);
    }
    memset(expected, 0, INPUTS * ALL * sizeof(uint64_t));
    for (unsigned i = ARGS; i < ALL; i++) {
        LLVMValueRef at = number(e, i);
        LLVMValueRef place = LLVMBuildGEP2(e->b, e->i64, LLVMGetParam(fn, 1), &at, 1, "");
        unsigned how = rng_below(e->rng, 8);
        if (how > 2)
            continue;
        LLVMBuildStore(e->b, how ? LLVMBuildTrunc(e->b, e->values[i], e->i32, "") : e->values[i], place);
        for (unsigned j = 0; j < INPUTS; j++)
            expected[j][i] = how ? (uint32_t)e->known[i][j] : e->known[i][j];
    }
    LLVMBuildRetVoid(e->b);
}

static void start_llvm(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMLinkInMCJIT();
}

static void open_expression(struct expression *e, struct rng *rng)
{
    *e = (struct expression){.context = LLVMContextCreate(), .rng = rng};
    e->b = LLVMCreateBuilderInContext(e->context);
    e->i32 = LLVMInt32TypeInContext(e->context);
    e->i64 = LLVMInt64TypeInContext(e->context);
}

static void close_expression(struct expression *e)
{
    LLVMDisposeBuilder(e->b);
    LLVMContextDispose(e->context);
}

static void narrow(LLVMModuleRef module)
{
    char *message = NULL;

    for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
        if (!LLVMIsDeclaration(fn))
            ck_assert_int_eq(narrow_words(fn), 0);
    }
    ck_assert_msg(!LLVMVerifyModule(module, LLVMReturnStatusAction, &message), "%s", message);
    LLVMDisposeMessage(message);
}

/* The sanitizer of undefined behaviour looks for a type in front of a function, where made code has none. */
static __attribute__((no_sanitize("function"))) void call(narrowed_fn *fn, const uint64_t *args, uint64_t *out)
{
    fn(args, out);
}

static void random_module(unsigned seed)
{
    struct rng rng = rng_derive(seed, 0x6e6172726f77, 0);
    struct expression e;
    static uint64_t inputs[INPUTS][ARGS], expected[FUNCTIONS][INPUTS][ALL], out[ALL];
    LLVMExecutionEngineRef engine;
    char *message = NULL;

    open_expression(&e, &rng);
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("random", e.context);
    for (unsigned i = 0; i < INPUTS * ARGS; i++)
        inputs[i / ARGS][i % ARGS] = rng_one_in(&rng, 3) ? (uint64_t)(int64_t)(int32_t)rng_next(&rng) : rng_next(&rng);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        build(&e, module, i, (const uint64_t(*)[ARGS])inputs, expected[i]);
    narrow(module);
    ck_assert_msg(!LLVMCreateMCJITCompilerForModule(&engine, module, NULL, 0, &message), "%s", message);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", i);
        narrowed_fn *fn = (narrowed_fn *)(uintptr_t)LLVMGetFunctionAddress(engine, name);
        for (unsigned j = 0; j < INPUTS; j++) {
            memset(out, 0, sizeof(out));
            call(fn, inputs[j], out);
            for (unsigned k = 0; k < ALL; k++)
                ck_assert_msg(out[k] == expected[i][j][k], "seed %u, %s, input %u, value %u: 0x%llx, not 0x%llx", seed,
                              name, j, k, (unsigned long long)out[k], (unsigned long long)expected[i][j][k]);
        }
    }
    LLVMDisposeExecutionEngine(engine); /* and the module */
    close_expression(&e);
}

START_TEST(narrowed_code_computes_the_same)
{
    random_module((unsigned)_i);
}
END_TEST

/* What a function that stores `value` of each pair of forms has, behind dce. */
static bool makes_rotation(unsigned left_form, unsigned right_form, unsigned right_amount, bool whole)
{
    struct rng rng = {1};
    struct expression e;

    open_expression(&e, &rng);
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("one", e.context);
    LLVMTypeRef ptr = LLVMPointerTypeInContext(e.context, 0);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e.context), (LLVMTypeRef[]){ptr, e.i64}, 2, false);
    LLVMValueRef fn = LLVMAddFunction(module, "f", type);
    LLVMPositionBuilderAtEnd(e.b, LLVMAppendBasicBlockInContext(e.context, fn, ""));
    struct pair x = {.value = LLVMGetParam(fn, 1)};
    struct pair left = left_half(&e, &x, left_form, 7);
    struct pair right = right_half(&e, &x, right_form, right_amount);
    LLVMValueRef joined = LLVMBuildOr(e.b, left.value, right.value, "");
    LLVMBuildStore(e.b, whole ? joined : LLVMBuildTrunc(e.b, joined, e.i32, ""), LLVMGetParam(fn, 0));
    LLVMBuildRetVoid(e.b);
    narrow(module);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    ck_assert_ptr_null(LLVMRunPasses(module, "dce", NULL, options));
    LLVMDisposePassBuilderOptions(options);
    char *text = LLVMPrintModuleToString(module);
    bool found = strstr(text, "= call i32 @llvm.fshl.i32(") != NULL;
    /* A rotation, and nothing that shifts besides. */
    if (found)
        ck_assert_msg(!strstr(text, "= shl") && !strstr(text, "= lshr"), "%s", text);
    LLVMDisposeMessage(text);
    LLVMDisposeModule(module);
    close_expression(&e);
    return found;
}

START_TEST(rotations_are_found)
{
    enum { AMOUNT = 32 - 7 };

    for (unsigned left = 0; left < LEFTS; left++) {
        for (unsigned right = 0; right < RIGHTS; right++) {
            bool is = left < LEFTS_RIGHT && right < RIGHTS_RIGHT;
            ck_assert_msg(makes_rotation(left, right, AMOUNT, false) == is, "%u, %u", left, right);
            ck_assert(!makes_rotation(left, right, AMOUNT - 1, false));
            /* All bits are wanted: only where the shift to the left says what they are. */
            ck_assert_msg(makes_rotation(left, right, AMOUNT, true) == (is && left < 3), "%u, %u, whole", left, right);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("narrow");
    TCase *tcase = tcase_create("narrow");

    start_llvm();
    tcase_add_loop_test(tcase, narrowed_code_computes_the_same, 0, MODULES);
    tcase_add_test(tcase, rotations_are_found);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
