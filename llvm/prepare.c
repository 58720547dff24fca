/* Host tool of the build: makes the compiled semantic bodies ready to be embedded.
 *
 * Each body becomes linkonce_odr, so that a region links only those it calls; is inlined always; and is labelled with
 * what it may return ("tuff-returns", a mask by enum sem_next), so that a region has no code for what cannot happen.
 * A body that accesses memory says so by a call of region_note_access(), which becomes labels ("tuff-access-bytes",
 * "tuff-access-kind": enum sem_access). Fails when a body calls something that regions cannot reach: the list is
 * REGION_SYMBOLS (engine/region/symbols.h).
 */
#include "engine/region/symbols.h"

#include <llvm-c/BitReader.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Core.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const symbols[] = {
#define X(name) #name,
    REGION_SYMBOLS(X)
#undef X
};

/* What only the interpreter runs is never part of a region. */
static const char *const interpreted[] = {
#define INSN(id, mnemonic, format, match, mask, isa, effects, syntax) ((effects) & RV_END) ? "body_" #id : NULL,
#include "engine/isa/riscv/rows.def"
};

static bool is_interpreted(const char *name)
{
    for (size_t i = 0; i < sizeof(interpreted) / sizeof(interpreted[0]); i++) {
        if (interpreted[i] && strcmp(interpreted[i], name) == 0)
            return true;
    }
    return false;
}

static bool reachable(const char *name)
{
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        if (strcmp(symbols[i], name) == 0)
            return true;
    }
    return strncmp(name, "llvm.", 5) == 0;
}

/* Follows what is returned through phis and selects. */
static unsigned returns(LLVMValueRef value, unsigned depth)
{
    unsigned mask = 0;

    if (LLVMIsAConstantInt(value))
        return 1u << LLVMConstIntGetZExtValue(value);
    if (depth < 8 && LLVMIsAPHINode(value)) {
        for (unsigned i = 0; i < LLVMCountIncoming(value); i++)
            mask |= returns(LLVMGetIncomingValue(value, i), depth + 1);
        return mask;
    }
    if (depth < 8 && LLVMIsASelectInst(value))
        return returns(LLVMGetOperand(value, 1), depth + 1) | returns(LLVMGetOperand(value, 2), depth + 1);
    if (LLVMIsAZExtInst(value) && LLVMGetTypeKind(LLVMTypeOf(LLVMGetOperand(value, 0))) == LLVMIntegerTypeKind &&
        LLVMGetIntTypeWidth(LLVMTypeOf(LLVMGetOperand(value, 0))) == 1)
        return 1u << 0 | 1u << 1;
    return ~0u;
}

static void set_label(LLVMContextRef context, LLVMValueRef fn, const char *label, unsigned long long number)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%llu", number);

    LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(context, label, (unsigned)strlen(label), text, (unsigned)len));
}

/* Calls of region_note_access(size_bytes, kind) become labels. */
static void take_notes(LLVMContextRef context, LLVMValueRef fn)
{
    for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb; bb = LLVMGetNextBasicBlock(bb)) {
        for (LLVMValueRef at = LLVMGetFirstInstruction(bb), next; at; at = next) {
            next = LLVMGetNextInstruction(at);
            if (!LLVMIsACallInst(at) || strcmp(LLVMGetValueName(LLVMGetCalledValue(at)), "region_note_access") != 0)
                continue;
            set_label(context, fn, "tuff-access-bytes", LLVMConstIntGetZExtValue(LLVMGetOperand(at, 0)));
            set_label(context, fn, "tuff-access-kind", LLVMConstIntGetZExtValue(LLVMGetOperand(at, 1)));
            LLVMInstructionEraseFromParent(at);
        }
    }
}

static void prepare_body(LLVMContextRef context, LLVMValueRef fn)
{
    static const char name[] = "alwaysinline";
    unsigned mask = 0;

    LLVMSetLinkage(fn, LLVMLinkOnceODRLinkage);
    LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(context, LLVMGetEnumAttributeKindForName(name, strlen(name)), 0));
    for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb; bb = LLVMGetNextBasicBlock(bb)) {
        LLVMValueRef last = LLVMGetBasicBlockTerminator(bb);
        if (LLVMIsAReturnInst(last))
            mask |= returns(LLVMGetOperand(last, 0), 0);
    }
    set_label(context, fn, "tuff-returns", mask);
    take_notes(context, fn);
}

static int check_calls(LLVMValueRef fn)
{
    int bad = 0;

    for (LLVMBasicBlockRef bb = LLVMGetFirstBasicBlock(fn); bb; bb = LLVMGetNextBasicBlock(bb)) {
        for (LLVMValueRef at = LLVMGetFirstInstruction(bb); at; at = LLVMGetNextInstruction(at)) {
            LLVMValueRef callee = LLVMIsACallInst(at) ? LLVMGetCalledValue(at) : NULL;
            if (!callee || LLVMIsAInlineAsm(callee) || reachable(LLVMGetValueName(callee)))
                continue;
            fprintf(stderr, "prepare: %s calls %s, which REGION_SYMBOLS does not list\n", LLVMGetValueName(fn),
                    LLVMGetValueName(callee));
            bad = 1;
        }
    }
    return bad;
}

int main(int argc, char **argv)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMMemoryBufferRef input;
    LLVMModuleRef module;
    char *message;
    int bad = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: prepare IN.bc OUT.bc\n");
        return 2;
    }
    if (LLVMCreateMemoryBufferWithContentsOfFile(argv[1], &input, &message)) {
        fprintf(stderr, "prepare: %s: %s\n", argv[1], message);
        return 1;
    }
    if (LLVMParseBitcodeInContext2(context, input, &module)) {
        fprintf(stderr, "prepare: %s: no bitcode of this LLVM\n", argv[1]);
        return 1;
    }
    LLVMDisposeMemoryBuffer(input);
    for (LLVMValueRef fn = LLVMGetFirstFunction(module), next; fn; fn = next) {
        next = LLVMGetNextFunction(fn);
        if (LLVMIsDeclaration(fn))
            continue;
        if (is_interpreted(LLVMGetValueName(fn))) {
            LLVMDeleteFunction(fn);
            continue;
        }
        prepare_body(context, fn);
        bad |= check_calls(fn);
    }
    if (!bad && LLVMWriteBitcodeToFile(module, argv[2])) {
        fprintf(stderr, "prepare: cannot write %s\n", argv[2]);
        bad = 1;
    }
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return bad;
}
