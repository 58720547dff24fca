/* Objects to runnable code, by ORC. One linker a tier; any thread. */
#ifndef TUFF_LLVM_LINK_H
#define TUFF_LLVM_LINK_H

#include "engine/tier.h"

#include <llvm-c/Core.h>

struct linker;

/* `for_gdb`: each object is kept and made known to a debugger. */
int linker_create(bool for_gdb, struct linker **out, struct error *err) TUFF_MUST_CHECK;
void linker_destroy(struct linker *linker);
/* Links the object, which it takes, and finds `name` in it. *handle is for linker_remove(). Returns NULL on failure. */
void *linker_add(struct linker *linker, LLVMMemoryBufferRef object, const char *name, void **handle);
/* Frees the code behind the handle. */
void linker_remove(struct linker *linker, void *handle);

#endif
