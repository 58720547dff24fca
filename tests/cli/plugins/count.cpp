/* The passes of the tests' plugins (plugin.c), which show that they ran by a line on standard error: "count-adds:
 * region_N: 7", the number of additions. It is the pass count-adds of --passes, and runs at the end of default<O2> by
 * itself. Compiled once: LLVM's headers take ten seconds. */
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/PassManager.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Passes/PassPlugin.h>
#include <llvm/Support/raw_ostream.h>

using namespace llvm;

extern "C" const uint32_t count_api_version = LLVM_PLUGIN_API_VERSION;
/* The plugin's: removes the end of a block. */
extern "C" const bool count_breaks;

namespace
{

struct CountAdds : PassInfoMixin<CountAdds> {
    PreservedAnalyses run(Function &function, FunctionAnalysisManager &)
    {
        unsigned adds = 0;

        for (const Instruction &instruction : instructions(function))
            adds += instruction.getOpcode() == Instruction::Add;
        errs() << "count-adds: " << function.getName() << ": " << adds << "\n";
        if (count_breaks)
            function.back().getTerminator()->eraseFromParent();
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

} // namespace

extern "C" void count_add_passes(PassBuilder &builder)
{
    builder.registerPipelineParsingCallback(add_by_name);
    builder.registerOptimizerLastEPCallback(add_at_end);
}
