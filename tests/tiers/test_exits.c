/* llvm/exits.h: random loops that carry registers round and leave at several places, where all registers are wanted:
 * computed with and without the pass. */
#include "rng.h"
#include "run_suite.h"
#include "llvm/exits.h"

#include <check.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <string.h>

enum { REGS = 9, FUNCTIONS = 40, MODULES = 12, INPUTS = 4, TURNS_MAX = 4 };

/* A function under construction. */
struct making {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMTypeRef i32, i64, ptr;
    struct rng *rng;
    LLVMValueRef fn;
    LLVMValueRef regs[REGS]; /* what they hold here */
};

/* regs[REGS]; turns of the inner loop and of the outer one; in which turn of the inner one it leaves at its begin, and
 * in which in its middle. */
typedef void made_fn(uint64_t *regs, uint64_t inner, uint64_t outer, uint64_t begin, uint64_t middle);

static LLVMValueRef number(struct making *m, uint64_t value)
{
    return LLVMConstInt(m->i64, value, false);
}

static LLVMBasicBlockRef block(struct making *m)
{
    return LLVMAppendBasicBlockInContext(m->context, m->fn, "");
}

static LLVMValueRef place(struct making *m, unsigned reg)
{
    LLVMValueRef at = number(m, reg);

    return LLVMBuildGEP2(m->b, m->i64, LLVMGetParam(m->fn, 0), &at, 1, "");
}

static void leave(struct making *m)
{
    for (unsigned i = 0; i < REGS; i++)
        LLVMBuildStore(m->b, m->regs[i], place(m, i));
    LLVMBuildRetVoid(m->b);
}

/* ---- what a guest's instructions become ---- */

static LLVMValueRef word(struct making *m, LLVMValueRef value)
{
    return LLVMBuildTrunc(m->b, value, m->i32, "");
}

static LLVMValueRef rotated(struct making *m, LLVMValueRef value, unsigned amount)
{
    unsigned id = LLVMLookupIntrinsicID("llvm.fshl", strlen("llvm.fshl"));
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(m->module, id, &m->i32, 1);
    LLVMValueRef args[] = {word(m, value), NULL, LLVMConstInt(m->i32, amount, false)};

    args[1] = args[0];
    return LLVMBuildCall2(m->b, LLVMIntrinsicGetType(m->context, id, &m->i32, 1), fn, args, 3, "");
}

static LLVMValueRef result(struct making *m, LLVMValueRef x, LLVMValueRef y)
{
    static const LLVMOpcode plain[] = {LLVMAdd, LLVMSub, LLVMAnd, LLVMOr, LLVMXor};
    LLVMOpcode opcode = plain[rng_below(m->rng, 5)];
    unsigned amount = 1 + rng_below(m->rng, 31);
    LLVMValueRef low;

    switch (rng_below(m->rng, 10)) {
    case 0:
    case 1:
    case 2: /* addw and its like */
        low = LLVMBuildBinOp(m->b, opcode, word(m, x), word(m, y), "");
        return LLVMBuildSExt(m->b, low, m->i64, "");
    case 3:
        return LLVMBuildSExt(m->b, rotated(m, x, amount), m->i64, "");
    case 4: /* addiw rd, rs, 0 */
        return LLVMBuildAShr(m->b, LLVMBuildShl(m->b, x, number(m, 32), ""), number(m, 32), "");
    case 5:
        low = LLVMBuildLShr(m->b, word(m, x), LLVMConstInt(m->i32, amount, false), "");
        return LLVMBuildZExt(m->b, low, m->i64, "");
    case 6:
        return LLVMBuildBinOp(m->b, LLVMAnd + (int)rng_below(m->rng, 3), x, y, "");
    case 7:
        return LLVMBuildBinOp(m->b, opcode, x, number(m, rng_next(m->rng) >> rng_below(m->rng, 64)), "");
    case 8:
        return LLVMBuildBinOp(m->b, rng_one_in(m->rng, 2) ? LLVMShl : LLVMLShr, x, number(m, amount), "");
    default: /* mv */
        return x;
    }
}

static void instructions(struct making *m, unsigned count)
{
    while (count--) {
        LLVMValueRef x = m->regs[rng_below(m->rng, REGS)], y = m->regs[rng_below(m->rng, REGS)];
        unsigned to = rng_below(m->rng, REGS);
        m->regs[to] = result(m, x, y);
    }
}

/* ---- loops ---- */

/* Phis for all registers, and one that counts turns, which comes out; the builder is behind them. */
static LLVMValueRef header(struct making *m, LLVMBasicBlockRef bb, LLVMBasicBlockRef from, LLVMValueRef phis[REGS])
{
    LLVMValueRef zero = number(m, 0);

    LLVMPositionBuilderAtEnd(m->b, bb);
    for (unsigned i = 0; i < REGS; i++) {
        phis[i] = LLVMBuildPhi(m->b, m->i64, "");
        LLVMAddIncoming(phis[i], &m->regs[i], &from, 1);
        m->regs[i] = phis[i];
    }
    LLVMValueRef turn = LLVMBuildPhi(m->b, m->i64, "");
    LLVMAddIncoming(turn, &zero, &from, 1);
    return turn;
}

/* Says that the first of a branch's two ways is taken so often. */
static void weigh(struct making *m, LLVMValueRef branch, unsigned often)
{
    LLVMMetadataRef parts[] = {
        LLVMMDStringInContext2(m->context, "branch_weights", strlen("branch_weights")),
        LLVMValueAsMetadata(LLVMConstInt(m->i32, often, false)),
        LLVMValueAsMetadata(LLVMConstInt(m->i32, 1, false)),
    };
    LLVMMetadataRef node = LLVMMDNodeInContext2(m->context, parts, 3);

    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(m->context, "prof", 4), LLVMMetadataAsValue(m->context, node));
}

/* Goes round once more if that is not the last turn; the builder is where the loop ends then. */
static void latch(struct making *m, LLVMBasicBlockRef bb, LLVMValueRef phis[REGS], LLVMValueRef turn,
                  LLVMValueRef turns)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(m->b), behind = block(m);
    LLVMValueRef next = LLVMBuildAdd(m->b, turn, number(m, 1), "");

    LLVMValueRef branch = LLVMBuildCondBr(m->b, LLVMBuildICmp(m->b, LLVMIntULT, next, turns, ""), bb, behind);
    if (m->rng && rng_one_in(m->rng, 2))
        weigh(m, branch, 1 + rng_below(m->rng, 200));
    for (unsigned i = 0; i < REGS; i++)
        LLVMAddIncoming(phis[i], &m->regs[i], &here, 1);
    LLVMAddIncoming(turn, &next, &here, 1);
    LLVMPositionBuilderAtEnd(m->b, behind);
}

static void leave_if(struct making *m, LLVMValueRef turn, unsigned param)
{
    LLVMBasicBlockRef out = block(m), on = block(m);

    LLVMBuildCondBr(m->b, LLVMBuildICmp(m->b, LLVMIntEQ, turn, LLVMGetParam(m->fn, param), ""), out, on);
    LLVMPositionBuilderAtEnd(m->b, out);
    leave(m);
    LLVMPositionBuilderAtEnd(m->b, on);
}

/* A function of that seed. With `second_way` the inner loop is entered by two ways, with different registers. */
static LLVMValueRef make(struct making *m, const char *name, unsigned seed, unsigned index)
{
    LLVMTypeRef params[] = {m->ptr, m->i64, m->i64, m->i64, m->i64};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(m->context), params, 5, false);
    struct rng rng = rng_derive(seed, 0x6578697473, index);
    LLVMValueRef outer[REGS], inner[REGS], other[REGS];

    m->rng = &rng;
    m->fn = LLVMAddFunction(m->module, name, type);
    LLVMPositionBuilderAtEnd(m->b, block(m));
    for (unsigned i = 0; i < REGS; i++)
        m->regs[i] = LLVMBuildLoad2(m->b, m->i64, place(m, i), "");
    LLVMBasicBlockRef outside = block(m), inside = block(m), way = block(m);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(m->b);
    LLVMBuildBr(m->b, outside);
    LLVMValueRef outer_turn = header(m, outside, from, outer);
    instructions(m, rng_below(&rng, 4));
    LLVMValueRef odd = LLVMBuildTrunc(m->b, m->regs[0], LLVMInt1TypeInContext(m->context), "");
    LLVMBuildCondBr(m->b, odd, way, inside);
    LLVMPositionBuilderAtEnd(m->b, way);
    memcpy(other, m->regs, sizeof(other));
    instructions(m, rng_below(&rng, 3));
    LLVMValueRef changed[REGS];
    memcpy(changed, m->regs, sizeof(changed));
    memcpy(m->regs, other, sizeof(other));
    LLVMBuildBr(m->b, inside);
    LLVMValueRef turn = header(m, inside, outside, inner);
    for (unsigned i = 0; i < REGS; i++)
        LLVMAddIncoming(inner[i], &changed[i], &way, 1);
    LLVMValueRef zero = number(m, 0);
    LLVMAddIncoming(turn, &zero, &way, 1);
    leave_if(m, turn, 3);
    instructions(m, 2 + rng_below(&rng, 6));
    leave_if(m, turn, 4);
    instructions(m, 2 + rng_below(&rng, 6));
    latch(m, inside, inner, turn, LLVMGetParam(m->fn, 1));
    instructions(m, rng_below(&rng, 3));
    latch(m, outside, outer, outer_turn, LLVMGetParam(m->fn, 2));
    leave(m);
    return m->fn;
}

static void open_making(struct making *m)
{
    *m = (struct making){.context = LLVMContextCreate()};
    m->module = LLVMModuleCreateWithNameInContext("loops", m->context);
    m->b = LLVMCreateBuilderInContext(m->context);
    m->i32 = LLVMInt32TypeInContext(m->context);
    m->i64 = LLVMInt64TypeInContext(m->context);
    m->ptr = LLVMPointerTypeInContext(m->context, 0);
}

static void clean(LLVMModuleRef module)
{
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    char *message = NULL;

    ck_assert_ptr_null(LLVMRunPasses(module, "function(dce)", NULL, options));
    LLVMDisposePassBuilderOptions(options);
    ck_assert_msg(!LLVMVerifyModule(module, LLVMReturnStatusAction, &message), "%s", message);
    LLVMDisposeMessage(message);
}

/* ---- tests ---- */

/* The sanitizer of undefined behaviour looks for a type in front of a function, where made code has none. */
static __attribute__((no_sanitize("function"))) void call(made_fn *fn, uint64_t *regs, const uint64_t *params)
{
    fn(regs, params[0], params[1], params[2], params[3]);
}

static void compare(LLVMExecutionEngineRef engine, unsigned seed, unsigned index)
{
    struct rng rng = rng_derive(seed, 0x696e70757473, index);
    char plain[16], spared[16];

    snprintf(plain, sizeof(plain), "f%u", index);
    snprintf(spared, sizeof(spared), "g%u", index);
    made_fn *f = (made_fn *)(uintptr_t)LLVMGetFunctionAddress(engine, plain);
    made_fn *g = (made_fn *)(uintptr_t)LLVMGetFunctionAddress(engine, spared);
    for (unsigned n = 0; n < INPUTS * TURNS_MAX; n++) {
        uint64_t before[REGS], expected[REGS], regs[REGS];
        uint64_t params[] = {1 + n % TURNS_MAX, 1 + rng_below(&rng, 3), rng_below(&rng, 7), rng_below(&rng, 7)};
        for (unsigned i = 0; i < REGS; i++)
            before[i] = rng_one_in(&rng, 2) ? (uint64_t)(int64_t)(int32_t)rng_next(&rng) : rng_next(&rng);
        memcpy(expected, before, sizeof(before));
        memcpy(regs, before, sizeof(before));
        call(f, expected, params);
        call(g, regs, params);
        for (unsigned i = 0; i < REGS; i++)
            ck_assert_msg(regs[i] == expected[i], "seed %u, function %u, input %u, register %u: 0x%llx, not 0x%llx",
                          seed, index, n, i, (unsigned long long)regs[i], (unsigned long long)expected[i]);
    }
}

START_TEST(loops_compute_the_same)
{
    LLVMExecutionEngineRef engine;
    struct making m;
    char name[16], *message = NULL;

    open_making(&m);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        (void)make(&m, name, (unsigned)_i, i);
        snprintf(name, sizeof(name), "g%u", i);
        LLVMValueRef fn = make(&m, name, (unsigned)_i, i);
        ck_assert_int_eq(spare_exits(fn), 0);
    }
    clean(m.module);
    ck_assert_msg(!LLVMCreateMCJITCompilerForModule(&engine, m.module, NULL, 0, &message), "%s", message);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        compare(engine, (unsigned)_i, i);
    LLVMDisposeExecutionEngine(engine); /* and the module */
    LLVMDisposeBuilder(m.b);
    LLVMContextDispose(m.context);
}
END_TEST

static unsigned times(const char *text, const char *what)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        count++;
    return count;
}

/* x0 = addw(x0, what was loaded), x1 = the word x0 was, x8 = the word x1 was; x2 to x4 are temporaries of x0 and x1
 * that nobody reads, x5 counts by 4 in 64 bits, x6 is what x5 was, x7 was loaded. */
START_TEST(loops_carry_what_they_need)
{
    struct making m;
    LLVMValueRef phis[REGS];

    open_making(&m);
    LLVMTypeRef params[] = {m.ptr, m.i64, m.i64, m.i64, m.i64};
    m.fn = LLVMAddFunction(m.module, "f", LLVMFunctionType(LLVMVoidTypeInContext(m.context), params, 5, false));
    LLVMBasicBlockRef from = block(&m), inside = block(&m);
    LLVMPositionBuilderAtEnd(m.b, from);
    for (unsigned i = 0; i < REGS; i++)
        m.regs[i] = LLVMBuildLoad2(m.b, m.i64, place(&m, i), "");
    LLVMBuildBr(m.b, inside);
    LLVMValueRef turn = header(&m, inside, from, phis);
    leave_if(&m, turn, 3);
    LLVMValueRef x0 = m.regs[0], x1 = m.regs[1];
    m.regs[2] = LLVMBuildZExt(m.b, LLVMBuildLShr(m.b, word(&m, x0), LLVMConstInt(m.i32, 3, false), ""), m.i64, "");
    m.regs[3] = LLVMBuildSExt(m.b, rotated(&m, x1, 9), m.i64, "");
    m.regs[4] = LLVMBuildAnd(m.b, x0, x1, "");
    m.regs[6] = m.regs[5];
    m.regs[5] = LLVMBuildAdd(m.b, m.regs[5], number(&m, 4), "");
    m.regs[7] = LLVMBuildLoad2(m.b, m.i64, LLVMBuildIntToPtr(m.b, m.regs[5], m.ptr, ""), "");
    m.regs[0] = LLVMBuildSExt(m.b, LLVMBuildAdd(m.b, word(&m, x0), word(&m, m.regs[7]), ""), m.i64, "");
    m.regs[1] = LLVMBuildAShr(m.b, LLVMBuildShl(m.b, x0, number(&m, 32), ""), number(&m, 32), "");
    m.regs[8] = LLVMBuildAShr(m.b, LLVMBuildShl(m.b, x1, number(&m, 32), ""), number(&m, 32), "");
    latch(&m, inside, phis, turn, LLVMGetParam(m.fn, 1));
    leave(&m);
    ck_assert_int_eq(spare_exits(m.fn), 0);
    clean(m.module);
    char *text = LLVMPrintModuleToString(m.module);
    /* x0 and x1 as words, x5 to x8 and the count of turns whole; x2, x3 and x4 are made where they are wanted. */
    ck_assert_msg(times(text, "= phi i32") == 2 && times(text, "= phi i64") == 5, "%s", text);
    LLVMDisposeMessage(text);
    LLVMDisposeModule(m.module);
    LLVMDisposeBuilder(m.b);
    LLVMContextDispose(m.context);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exits");
    TCase *tcase = tcase_create("exits");

    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMLinkInMCJIT();
    tcase_add_loop_test(tcase, loops_compute_the_same, 0, MODULES);
    tcase_add_test(tcase, loops_carry_what_they_need);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
