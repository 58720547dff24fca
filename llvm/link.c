/* ORC's LLJIT, used for linking only: the objects come from the tier's own compilers, since LLJIT's one TargetMachine
 * cannot be used from several threads. */
#include "llvm/link.h"

#include "engine/region/symbols.h"

#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/LLJITUtils.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* One linked object. */
struct linked {
    LLVMOrcResourceTrackerRef tracker;
    struct linked *next;
};

struct linker {
    LLVMOrcLLJITRef jit;
    pthread_mutex_t lock;             /* linking and removing: held for a millisecond */
    _Atomic(struct linked *) removed; /* given up, not yet freed */
};

static int fail(struct error *err, LLVMErrorRef error)
{
    char *message = LLVMGetErrorMessage(error);

    (void)error_set(err, -EINVAL, "LLVM's linker: %s", message);
    LLVMDisposeErrorMessage(message);
    return -EINVAL;
}

/* The table of what regions may call. */
static LLVMErrorRef define_symbols(struct linker *l, bool verify)
{
    const struct {
        const char *name;
        void *address;
    } symbols[] = {
#define X(name) {#name, (void *)name},
        REGION_SYMBOLS(X)
#undef X
#define X(name, verifying) {#name, verify ? (void *)(verifying) : (void *)(name)},
            REGION_WAYS_OUT(X)
#undef X
    };
    LLVMOrcCSymbolMapPair pairs[TUFF_ARRAY_LEN(symbols)];

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(symbols); i++) {
        pairs[i] = (LLVMOrcCSymbolMapPair){
            .Name = LLVMOrcLLJITMangleAndIntern(l->jit, symbols[i].name),
            .Sym = {.Address = (uint64_t)symbols[i].address,
                    .Flags = {.GenericFlags = LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable}},
        };
    }
    return LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(l->jit),
                                 LLVMOrcAbsoluteSymbols(pairs, TUFF_ARRAY_LEN(pairs)));
}

int linker_create(bool verify, bool for_gdb, struct linker **out, struct error *err)
{
    struct linker *l = calloc(1, sizeof(*l));

    if (!l)
        return error_set(err, -ENOMEM, "no memory for the linker");
    pthread_mutex_init(&l->lock, NULL);
    LLVMErrorRef error = LLVMOrcCreateLLJIT(&l->jit, NULL);
    if (!error)
        error = define_symbols(l, verify);
    /* GDB's interface is libLLVM's own: __jit_debug_register_code() and its list. */
    if (!error && for_gdb)
        error = LLVMOrcLLJITEnableDebugSupport(l->jit);
    if (error) {
        int rc = fail(err, error);
        linker_destroy(l);
        return rc;
    }
    *out = l;
    return 0;
}

void linker_destroy(struct linker *l)
{
    if (!l)
        return;
    linker_collect(l);
    if (l->jit) {
        LLVMErrorRef error = LLVMOrcDisposeLLJIT(l->jit);
        if (error)
            LLVMConsumeError(error);
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void remove_tracker(LLVMOrcResourceTrackerRef tracker)
{
    LLVMErrorRef error = LLVMOrcResourceTrackerRemove(tracker);

    if (error)
        LLVMConsumeError(error);
    LLVMOrcReleaseResourceTracker(tracker);
}

void *linker_add(struct linker *l, LLVMMemoryBufferRef object, const char *name, void **handle)
{
    LLVMOrcExecutorAddress address = 0;
    struct linked *linked = calloc(1, sizeof(*linked));

    if (!linked) {
        LLVMDisposeMemoryBuffer(object);
        return NULL;
    }
    pthread_mutex_lock(&l->lock);
    linked->tracker = LLVMOrcJITDylibCreateResourceTracker(LLVMOrcLLJITGetMainJITDylib(l->jit));
    LLVMErrorRef error = LLVMOrcLLJITAddObjectFileWithRT(l->jit, linked->tracker, object);
    if (!error)
        error = LLVMOrcLLJITLookup(l->jit, &address, name);
    if (error) {
        LLVMConsumeError(error);
        remove_tracker(linked->tracker);
        free(linked);
        address = 0;
    } else {
        *handle = linked;
    }
    pthread_mutex_unlock(&l->lock);
    return (void *)address;
}

void linker_remove(struct linker *l, void *handle)
{
    struct linked *linked = handle;

    linked->next = atomic_load(&l->removed);
    while (!atomic_compare_exchange_weak(&l->removed, &linked->next, linked))
        ;
}

void linker_collect(struct linker *l)
{
    struct linked *linked = atomic_exchange(&l->removed, NULL);

    if (!linked)
        return;
    pthread_mutex_lock(&l->lock);
    while (linked) {
        struct linked *next = linked->next;
        remove_tracker(linked->tracker);
        free(linked);
        linked = next;
    }
    /* The names of what went. */
    LLVMOrcSymbolStringPoolClearDeadEntries(
        LLVMOrcExecutionSessionGetSymbolStringPool(LLVMOrcLLJITGetExecutionSession(l->jit)));
    pthread_mutex_unlock(&l->lock);
}
