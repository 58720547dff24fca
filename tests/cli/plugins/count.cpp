/* A pass plugin of the tests, which shows that it ran by a line on standard error: "count-adds: region_N: 7", the
 * number of additions. It is the pass count-adds of --passes, and runs at the end of default<O2> by itself.
 *
 * Built several times: API_VERSION is one that no LLVM knows; NO_ENTRY leaves out what makes it a plugin; UNRESOLVED
 * calls what no library has; BREAK removes the end of a block. */
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/PassManager.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Passes/PassPlugin.h>
#include <llvm/Support/raw_ostream.h>

using namespace llvm;

#ifndef API_VERSION
#define API_VERSION LLVM_PLUGIN_API_VERSION
#endif

void not_to_be_found(Function &function);

namespace
{

struct CountAdds : PassInfoMixin<CountAdds> {
    PreservedAnalyses run(Function &function, FunctionAnalysisManager &)
    {
        unsigned adds = 0;

        for (const Instruction &instruction : instructions(function))
            adds += instruction.getOpcode() == Instruction::Add;
        errs() << "count-adds: " << function.getName() << ": " << adds << "\n";
#ifdef UNRESOLVED
        not_to_be_found(function);
#endif
#ifdef BREAK
        function.back().getTerminator()->eraseFromParent();
#endif
        return PreservedAnalyses::all();
    }
    static bool isRequired()
    {
        return true;
    }
};

bool add_by_name(StringRef name, FunctionPassManager &passes, ArrayRef<PassBuilder::PipelineElement> /*inner*/)
{
    if (name != "count-adds")
        return false;
    passes.addPass(CountAdds());
    return true;
}

void add_at_end(ModulePassManager &passes, OptimizationLevel /*level*/)
{
    passes.addPass(createModuleToFunctionPassAdaptor(CountAdds()));
}

void add_passes(PassBuilder &builder)
{
    builder.registerPipelineParsingCallback(add_by_name);
    builder.registerOptimizerLastEPCallback(add_at_end);
}

} // namespace

#ifdef NO_ENTRY
extern "C" void only_a_library(PassBuilder &builder)
{
    add_passes(builder);
}
#else
extern "C" PassPluginLibraryInfo llvmGetPassPluginInfo()
{
    return {API_VERSION, "count-adds", "1", add_passes};
}
#endif
