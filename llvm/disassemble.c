/* See disassemble.h. */
#include "llvm/disassemble.h"

#include <llvm-c/Core.h>
#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct disassembler {
    LLVMDisasmContextRef context;
    pthread_mutex_t lock; /* LLVM's context is for one thread at a time */
};

/* A jump or call to a function of the program's is shown by its name. */
static const char *name_of(void *opaque, uint64_t value, uint64_t *type, uint64_t pc, const char **name)
{
    Dl_info info;
    bool branch = *type == LLVMDisassembler_ReferenceType_In_Branch;

    (void)opaque, (void)pc, (void)name;
    *type = LLVMDisassembler_ReferenceType_InOut_None;
    if (!branch || !dladdr((const void *)(uintptr_t)value, &info) || (uintptr_t)info.dli_saddr != value)
        return NULL;
    return info.dli_sname;
}

int disassembler_create(struct disassembler **out, struct error *err)
{
    struct disassembler *d = calloc(1, sizeof(*d));

    *out = NULL;
    if (!d)
        return error_set(err, -ENOMEM, "no memory for a disassembler");
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeDisassembler();
    char *triple = LLVMGetDefaultTargetTriple();
    d->context = LLVMCreateDisasm(triple, NULL, 0, NULL, name_of);
    LLVMDisposeMessage(triple);
    if (!d->context) {
        free(d);
        return error_set(err, -ENOTSUP, "LLVM has no disassembler for this host");
    }
    (void)LLVMSetDisasmOptions(d->context, LLVMDisassembler_Option_PrintImmHex);
    pthread_mutex_init(&d->lock, NULL);
    *out = d;
    return 0;
}

void disassembler_destroy(struct disassembler *d)
{
    if (!d)
        return;
    LLVMDisasmDispose(d->context);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

size_t disassembler_text(struct disassembler *d, const uint8_t *code, size_t bytes, char *text, size_t size)
{
    pthread_mutex_lock(&d->lock);
    size_t len = LLVMDisasmInstruction(d->context, (uint8_t *)code, bytes, (uintptr_t)code, text, size);
    pthread_mutex_unlock(&d->lock);
    char *begin = text + strspn(text, " \t"); /* LLVM begins with a tabulator */
    if (len)
        memmove(text, begin, strlen(begin) + 1);
    for (char *at = text; len && (at = strchr(at, '\t'));)
        *at = ' ';
    return len;
}
