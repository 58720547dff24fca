/* The only file in C++; see pass_plugin.h. What LLVM itself checks of a plugin comes late (dlopen() trusts the sizes in
 * a file, and the API's version number has been 1 for ten releases), so the file is looked at before it is loaded. */
extern "C" {
#include "base/error.h"
}
#include "llvm/pass_plugin.h"

#include <llvm/Analysis/CGSCCPassManager.h>
#include <llvm/Analysis/LoopAnalysisManager.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Passes/PassPlugin.h>
#include <llvm/Target/TargetMachine.h>

#include <cerrno>
#include <dlfcn.h>
#include <new>
#include <string>
#include <vector>

using namespace llvm;

struct pass_plugins {
    std::vector<PassPlugin> loaded;
};

static int refuse(struct error *err, const std::string &file, const std::string &why)
{
    std::string line = why;

    for (char &c : line) {
        if (c == '\n')
            c = ' ';
    }
    return error_set(err, -EINVAL, "--pass-plugin, '%s', cannot be used: %s", file.c_str(), line.c_str());
}

/* "libLLVM.so.18.1", "libLLVM-18.so.1": the first number of the name; 0: it is another library, or has none. */
static unsigned llvm_major(StringRef library)
{
    unsigned major = 0;

    if (!library.starts_with("libLLVM"))
        return 0;
    library = library.drop_until([](char c) { return c >= '0' && c <= '9'; });
    return library.consumeInteger(10, major) ? 0 : major;
}

/* Two LLVMs in one process end in a crash at the latest in the first pass. */
static Error check_llvm(const object::ELFFile<object::ELF64LE> &elf)
{
    uint64_t names = 0;
    std::vector<uint64_t> needed;
    auto dynamic = elf.dynamicEntries();

    if (!dynamic)
        return dynamic.takeError();
    for (const auto &entry : *dynamic) {
        if (entry.getTag() == ELF::DT_NEEDED)
            needed.push_back(entry.getVal());
        else if (entry.getTag() == ELF::DT_STRTAB)
            names = entry.getPtr();
    }
    if (needed.empty())
        return Error::success();
    auto table = elf.toMappedAddr(names);
    if (!table)
        return table.takeError();
    for (uint64_t offset : needed) {
        auto room = static_cast<uint64_t>(elf.end() - *table);
        if (offset >= room)
            return createStringError("damaged table of libraries");
        StringRef library(reinterpret_cast<const char *>(*table) + offset, room - offset);
        library = library.take_until([](char c) { return !c; });
        unsigned major = llvm_major(library);
        if (major && major != LLVM_VERSION_MAJOR)
            return createStringError("it was made for LLVM %u (it needs %s), and this is LLVM %u", major,
                                     library.str().c_str(), LLVM_VERSION_MAJOR);
    }
    return Error::success();
}

static Error check_file(const std::string &file)
{
    auto binary = object::ObjectFile::createObjectFile(file);

    if (!binary)
        return binary.takeError();
    const auto *object = dyn_cast<object::ELF64LEObjectFile>(binary->getBinary());
    if (!object || object->getArch() != Triple::x86_64)
        return createStringError("it is no x86-64 ELF");
    const auto &elf = object->getELFFile();
    if (elf.getHeader().e_type != ELF::ET_DYN)
        return createStringError("it is no shared object");
    auto segments = elf.program_headers();
    if (!segments)
        return segments.takeError();
    for (const auto &segment : *segments) {
        if (segment.p_offset > elf.getBufSize() || segment.p_filesz > elf.getBufSize() - segment.p_offset)
            return createStringError("the file was cut short");
    }
    return check_llvm(elf);
}

static int load(const std::string &file, std::vector<PassPlugin> &out, struct error *err)
{
    if (Error error = check_file(file))
        return refuse(err, file, toString(std::move(error)));
    /* LLVM resolves a plugin's symbols when they are called, and a missing one ends the process then. */
    if (!dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL))
        return refuse(err, file, dlerror());
    auto plugin = PassPlugin::Load(file);
    if (!plugin)
        return refuse(err, file, toString(plugin.takeError()));
    out.push_back(*plugin);
    return 0;
}

int pass_plugins_load(const char *files, struct pass_plugins **out, struct error *err)
{
    auto *plugins = new (std::nothrow) pass_plugins;
    SmallVector<StringRef> paths;
    int rc = 0;

    if (!plugins)
        return error_set(err, -ENOMEM, "no memory for pass plugins");
    StringRef(files).split(paths, ',');
    for (StringRef path : paths) {
        /* dlopen() would search a bare name in the system's folders. */
        std::string file = path.contains('/') ? path.str() : "./" + path.str();
        rc = load(file, plugins->loaded, err);
        if (rc)
            break;
    }
    if (rc) {
        pass_plugins_free(plugins);
        return rc;
    }
    *out = plugins;
    return 0;
}

void pass_plugins_free(struct pass_plugins *plugins)
{
    delete plugins;
}

const char *pass_plugins_run(const struct pass_plugins *plugins, LLVMModuleRef module, const char *passes,
                             LLVMTargetMachineRef machine)
{
    PassInstrumentationCallbacks callbacks;
    PipelineTuningOptions tuning;

    /* As compiler_create() has it for pipelines without plugins. */
    tuning.LoopVectorization = tuning.SLPVectorization = false;
    PassBuilder builder(reinterpret_cast<TargetMachine *>(machine), tuning, std::nullopt, &callbacks);
    LoopAnalysisManager loops;
    FunctionAnalysisManager functions;
    CGSCCAnalysisManager components;
    ModuleAnalysisManager modules;
    ModulePassManager pipeline;

    for (const PassPlugin &plugin : plugins->loaded)
        plugin.registerPassBuilderCallbacks(builder);
    builder.registerLoopAnalyses(loops);
    builder.registerFunctionAnalyses(functions);
    builder.registerCGSCCAnalyses(components);
    builder.registerModuleAnalyses(modules);
    builder.crossRegisterProxies(loops, functions, components, modules);
    if (Error error = builder.parsePassPipeline(pipeline, passes)) {
        consumeError(std::move(error));
        return "LLVM refuses the list of passes";
    }
    pipeline.run(*unwrap(module), modules);
    return verifyModule(*unwrap(module)) ? "what the passes left is not valid" : nullptr;
}
