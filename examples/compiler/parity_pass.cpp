/* A pass plugin for docs/tutorial-compiler.md: finds the parity of a number where a guest computes it by folding,
 *
 *     x ^= x >> 32; x ^= x >> 16; x ^= x >> 8; x ^= x >> 4; x ^= x >> 2; x ^= x >> 1; x & 1
 *
 * and takes the host's instruction that counts bits instead: ctpop(x) & 1. LLVM has no such pass. The name for --passes
 * is `parity`; it also runs by itself behind each instcombine of LLVM's own pipelines, which full regions have.
 *
 * What the steps between leave in guest registers is still computed where something reads it: in a loop that is not
 * left, nothing does. */
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/PassManager.h>
#include <llvm/IR/PatternMatch.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Passes/PassPlugin.h>

using namespace llvm;
using namespace llvm::PatternMatch;

namespace
{

/* The x of x ^ (x >> shift), or null. */
Value *folded(Value *value, uint64_t shift)
{
    Value *x = nullptr;

    if (match(value, m_c_Xor(m_LShr(m_Value(x), m_SpecificInt(shift)), m_Deferred(x))))
        return x;
    return nullptr;
}

/* The number whose parity `value` is, moved left by *left bits: LLVM may have put `& 1` behind a shift that followed
 * it. Null when it is none. */
Value *number_of(Value *value, uint64_t *left)
{
    Value *chain = nullptr;
    const APInt *shift = nullptr, *mask = nullptr;

    *left = 0;
    if (match(value, m_And(m_Shl(m_Value(chain), m_APInt(shift)), m_APInt(mask))) && mask->isPowerOf2() &&
        mask->logBase2() == *shift)
        *left = shift->getZExtValue();
    else if (!match(value, m_And(m_Value(chain), m_One())))
        return nullptr;
    for (uint64_t step = 1; chain && step <= 32; step *= 2)
        chain = folded(chain, step);
    return chain;
}

struct Parity : PassInfoMixin<Parity> {
    PreservedAnalyses run(Function &function, FunctionAnalysisManager &)
    {
        bool changed = false;

        for (Instruction &instruction : instructions(function)) {
            uint64_t left = 0;
            Value *number = instruction.getType()->isIntegerTy(64) ? number_of(&instruction, &left) : nullptr;
            if (!number)
                continue;
            IRBuilder<> builder(&instruction);
            Value *parity = builder.CreateAnd(builder.CreateUnaryIntrinsic(Intrinsic::ctpop, number), 1);
            instruction.replaceAllUsesWith(builder.CreateShl(parity, left));
            changed = true;
        }
        if (!changed)
            return PreservedAnalyses::all();
        PreservedAnalyses kept;
        kept.preserveSet<CFGAnalyses>();
        return kept;
    }
};

void add_passes(PassBuilder &builder)
{
    builder.registerPipelineParsingCallback(
        [](StringRef name, FunctionPassManager &passes, ArrayRef<PassBuilder::PipelineElement> /*inner*/) {
            if (name != "parity")
                return false;
            passes.addPass(Parity());
            return true;
        });
    builder.registerPeepholeEPCallback(
        [](FunctionPassManager &passes, OptimizationLevel /*level*/) { passes.addPass(Parity()); });
}

} // namespace

extern "C" PassPluginLibraryInfo llvmGetPassPluginInfo()
{
    return {LLVM_PLUGIN_API_VERSION, "parity", "1", add_passes};
}
