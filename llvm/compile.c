/* The pipeline: build, link the bodies, inline, annotate, optimise, emit. A compiler belongs to one thread; its context
 * is renewed now and then, since LLVM keeps the types and constants of everything it has seen. */
#include "llvm/compile.h"

#include "base/symbols.h"
#include "engine/isa/riscv/decode.h"
#include "engine/region/dump.h"
#include "engine/region/region.h"
#include "llvm/bodies.h"
#include "llvm/build.h"
#include "llvm/exits.h"
#include "llvm/narrow.h"
#include "llvm/pass_plugin.h"
#include "llvm/stackmap.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First the bodies become part of the region; what comes then sees straight code. */
static const char inline_passes[] = "always-inline";
static const char register_passes[] = "function(sroa)";
static const char clean_passes[] = "function(dce)";
static const char *const level_passes[] = {
    "function(early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,early-cse<memssa>,jump-threading,"
    "simplifycfg,gvn,dse,instcombine<no-verify-fixpoint>,"
    "simplifycfg)",
    "default<O2>",
};

struct compiler {
    struct tier_config config;
    LLVMContextRef context;
    LLVMTargetMachineRef machines[2]; /* by level */
    LLVMPassBuilderOptionsRef options;
    struct pass_plugins *plugins; /* NULL: none */
    uint32_t compiled;            /* in this context */
};

static LLVMTargetMachineRef create_machine(LLVMCodeGenOptLevel level, struct error *err)
{
    char *triple = LLVMGetDefaultTargetTriple();
    LLVMTargetMachineRef machine = NULL;
    LLVMTargetRef target;
    char *message = NULL;

    if (LLVMGetTargetFromTriple(triple, &target, &message)) {
        (void)error_set(err, -EINVAL, "LLVM has no target %s: %s", triple, message);
        LLVMDisposeMessage(message);
    } else {
        machine = LLVMCreateTargetMachine(target, triple, TUFF_HOST_LEVEL, "", level, LLVMRelocPIC, LLVMCodeModelSmall);
        if (!machine)
            (void)error_set(err, -EINVAL, "LLVM cannot make code for %s", TUFF_HOST_LEVEL);
    }
    LLVMDisposeMessage(triple);
    return machine;
}

static void init_llvm(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
}

int compiler_create(const struct tier_config *config, struct compiler **out, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct compiler *c = calloc(1, sizeof(*c));

    if (!c)
        return error_set(err, -ENOMEM, "no memory for a compiler");
    pthread_once(&once, init_llvm);
    c->config = *config;
    c->machines[0] = create_machine(LLVMCodeGenLevelLess, err);
    c->machines[1] = c->machines[0] ? create_machine(LLVMCodeGenLevelDefault, err) : NULL;
    if (!c->machines[1]) {
        compiler_destroy(c);
        return -EINVAL;
    }
    /* A third of the time to emit a region, for code that is a tenth longer. */
    LLVMSetTargetMachineFastISel(c->machines[0], true);
    c->options = LLVMCreatePassBuilderOptions();
    /* Between any two accesses to guest memory is a check that may leave: there is nothing to vectorise, and looking
     * for it is a tenth of the time. */
    LLVMPassBuilderOptionsSetSLPVectorization(c->options, false);
    LLVMPassBuilderOptionsSetLoopVectorization(c->options, false);
    int rc = config->plugins ? pass_plugins_load(config->plugins, &c->plugins, err) : 0;
    if (rc) {
        compiler_destroy(c);
        return rc;
    }
    *out = c;
    return 0;
}

void compiler_destroy(struct compiler *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < 2; i++) {
        if (c->machines[i])
            LLVMDisposeTargetMachine(c->machines[i]);
    }
    if (c->options)
        LLVMDisposePassBuilderOptions(c->options);
    if (c->context)
        LLVMContextDispose(c->context);
    pass_plugins_free(c->plugins);
    free(c);
}

/* Of its instructions, is one what --dump asks for? */
static bool has_wanted_insn(const struct compiler *c, const struct region *r)
{
    for (uint32_t i = 0; i < r->insn_count; i++) {
        if (dump_wants_insn(&c->config, r->gva + (uint64_t)(int64_t)r->insns[i].offset, r->insns[i].len_bytes))
            return true;
    }
    return false;
}

static bool wants_dump(const struct compiler *c, enum tier_dump_what what, const struct region *region)
{
    const struct tier_dump *dump = &c->config.dump;

    return dump->what & what && (!dump->region || dump->region == region->id) && has_wanted_insn(c, region);
}

static void dump_guest(const struct compiler *c, const char *name, const struct region *r)
{
    char label[SYMBOLS_LABEL_BYTES];

    if (!wants_dump(c, TIER_DUMP_GUEST, r))
        return;
    fprintf(c->config.dump_to, "; guest code of %s, level %u: %u instructions, %u blocks, at %s\n", name, r->level,
            r->insn_count, r->block_count, symbols_label(c->config.symbols, region_gva(r), label));
    for (uint32_t i = 0; i < r->block_count; i++) {
        const struct region_block *b = &r->blocks[i];
        fprintf(c->config.dump_to, "; block %u, ran %" PRIu64 " times%s", i, b->executions,
                b->entry == REGION_NONE ? "" : ", an entry");
        if (b->fall.target != REGION_NONE)
            fprintf(c->config.dump_to, ", then %u%s (%" PRIu64 ")", b->fall.target, b->fall.back ? " (cycle)" : "",
                    b->fall.count);
        if (b->taken.target != REGION_NONE)
            fprintf(c->config.dump_to, ", to %u%s (%" PRIu64 ")", b->taken.target, b->taken.back ? " (cycle)" : "",
                    b->taken.count);
        for (unsigned j = 0; j < b->targets; j++)
            fprintf(c->config.dump_to, ", to %u%s if equal", b->indirect[j].target,
                    b->indirect[j].back ? " (cycle)" : "");
        fprintf(c->config.dump_to, "\n");
        for (uint32_t j = 0; j < b->insns; j++) {
            const struct region_insn *at = &r->insns[b->first_insn + j];
            struct rv_insn insn;
            char text[96];
            rv_decode(at->raw, r->isa, &insn);
            (void)rv_disassemble(&insn, text, sizeof(text));
            fprintf(c->config.dump_to, "%12" PRIx64 "  %s\n", r->gva + (uint64_t)(int64_t)at->offset, text);
        }
    }
}

static void dump_heading(const struct compiler *c, const char *what, const char *name, const struct region *region)
{
    char label[SYMBOLS_LABEL_BYTES];

    fprintf(c->config.dump_to, "; %s of %s\n; at %s\n", what, name,
            symbols_label(c->config.symbols, region_gva(region), label));
}

static void dump(const struct compiler *c, enum tier_dump_what what, const char *name, LLVMModuleRef module,
                 const struct region *region)
{
    if (!wants_dump(c, what, region))
        return;
    char *text = LLVMPrintModuleToString(module);
    dump_heading(c, what == TIER_DUMP_IR ? "ir" : "opt", name, region);
    fprintf(c->config.dump_to, "%s\n", text);
    LLVMDisposeMessage(text);
}

static const char *run_passes(struct compiler *c, LLVMModuleRef module, const char *passes, unsigned level)
{
    LLVMErrorRef error = LLVMRunPasses(module, passes, c->machines[level], c->options);

    if (!error)
        return NULL;
    LLVMConsumeError(error);
    return "LLVM refuses the list of passes";
}

/* A user's list of passes is all that is run. */
static const char *optimise(struct compiler *c, LLVMModuleRef module, const char *name, unsigned level)
{
    const char *passes = c->config.passes ? c->config.passes : level_passes[level];
    const char *failure = c->plugins ? pass_plugins_run(c->plugins, module, passes, c->machines[level])
                                     : run_passes(c, module, passes, level);

    if (failure || level == 0 || c->config.passes)
        return failure;
    LLVMValueRef fn = LLVMGetNamedFunction(module, name);
    if (narrow_words(fn))
        return "out of memory";
    failure = run_passes(c, module, clean_passes, level); /* what is dead would still count as a use */
    if (failure)
        return failure;
    if (spare_exits(fn))
        return "out of memory";
    return run_passes(c, module, clean_passes, level);
}

static uint32_t count_insns(LLVMModuleRef module, const char *name)
{
    uint32_t count = 0;

    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(LLVMGetNamedFunction(module, name)); b;
         b = LLVMGetNextBasicBlock(b)) {
        for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i))
            count++;
    }
    return count;
}

static LLVMModuleRef parse_bodies(struct compiler *c)
{
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRange(
        llvm_bodies_start, (size_t)(llvm_bodies_end - llvm_bodies_start), "bodies", true);
    LLVMModuleRef bodies;

    return LLVMGetBitcodeModuleInContext2(c->context, buffer, &bodies) ? NULL : bodies;
}

/* NULL: LLVM could not. The module is spent. */
static LLVMMemoryBufferRef emit(struct compiler *c, LLVMModuleRef module, unsigned level, LLVMCodeGenFileType type)
{
    LLVMMemoryBufferRef out = NULL;
    char *message = NULL;

    if (LLVMTargetMachineEmitToMemoryBuffer(c->machines[level], module, type, &message, &out)) {
        LLVMDisposeMessage(message);
        return NULL;
    }
    return out;
}

static void dump_assembly(struct compiler *c, const char *name, LLVMModuleRef module, const struct region *region)
{
    if (!wants_dump(c, TIER_DUMP_ASM, region))
        return;
    LLVMModuleRef copy = LLVMCloneModule(module);
    LLVMMemoryBufferRef text = emit(c, copy, region->level, LLVMAssemblyFile);
    if (text) {
        dump_heading(c, "asm", name, region);
        fprintf(c->config.dump_to, "%.*s\n", (int)LLVMGetBufferSize(text), LLVMGetBufferStart(text));
        LLVMDisposeMemoryBuffer(text);
    }
    LLVMDisposeModule(copy);
}

/* The passes are done, and the constrained operations say by themselves what the code generator must keep. What the
 * attribute adds there is a WAIT for x87 exceptions behind each piece of inline assembly: 10 to 20 cycles an access. */
static void drop_strictfp(LLVMModuleRef module, const char *name)
{
    static const char strict[] = "strictfp";

    LLVMRemoveEnumAttributeAtIndex(LLVMGetNamedFunction(module, name), LLVMAttributeFunctionIndex,
                                   LLVMGetEnumAttributeKindForName(strict, sizeof(strict) - 1));
}

LLVMMemoryBufferRef compile_region(struct compiler *c, struct region *region, const char *name, const char **failure)
{
    LLVMMemoryBufferRef object = NULL;
    unsigned level = region->level;

    *failure = NULL;
    if (c->context && ++c->compiled > c->config.tunables.context_regions) {
        LLVMContextDispose(c->context);
        c->context = NULL;
        c->compiled = 0;
    }
    if (!c->context)
        c->context = LLVMContextCreate();
    LLVMModuleRef bodies = parse_bodies(c);
    if (!bodies) {
        *failure = "the embedded bodies are damaged";
        return NULL;
    }
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext(name, c->context);
    LLVMSetTarget(module, LLVMGetTarget(bodies));
    LLVMSetDataLayout(module, LLVMGetDataLayoutStr(bodies));
    struct live_sets live = {0};
    *failure = build_region(region, module, bodies, name, &live);
    if (*failure) {
        free(live.sets);
        LLVMDisposeModule(bodies);
        LLVMDisposeModule(module);
        return NULL;
    }
    dump_guest(c, name, region);
    dump(c, TIER_DUMP_IR, name, module, region);
    if (LLVMLinkModules2(module, bodies)) {
        *failure = "linking the bodies failed";
    } else {
        *failure = run_passes(c, module, inline_passes, level);
        if (!*failure) {
            type_registers(module, name);
            *failure = run_passes(c, module, register_passes, level);
        }
        if (!*failure) {
            annotate_accesses(region, module, name);
            region->ir_built = count_insns(module, name);
            *failure = optimise(c, module, name, level);
        }
    }
    if (!*failure) {
        region->ir_optimised = count_insns(module, name);
        dump(c, TIER_DUMP_OPT, name, module, region);
        if (region->mirrored)
            drop_strictfp(module, name);
        dump_assembly(c, name, module, region);
        object = emit(c, module, level, LLVMObjectFile);
        if (!object)
            *failure = "LLVM could not emit code";
    }
    if (object && stackmap_read(object, &live, region)) {
        *failure = "the map of locations is not understood";
        LLVMDisposeMemoryBuffer(object);
        object = NULL;
    }
    free(live.sets);
    LLVMDisposeModule(module);
    return object;
}
