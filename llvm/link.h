/* Objects to runnable code, by ORC. One linker a tier; any thread. */
#ifndef TUFF_LLVM_LINK_H
#define TUFF_LLVM_LINK_H

#include "engine/tier.h"

#include <llvm-c/Core.h>

struct linker;

/* `verify`: regions are left by returning (engine/region/verify.h). `for_gdb`: each object is kept and made known to a
 * debugger. */
int linker_create(bool verify, bool for_gdb, struct linker **out, struct error *err) TUFF_MUST_CHECK;
void linker_destroy(struct linker *linker);
/* Links the object, which it takes, and finds `name` in it. *handle is for linker_remove(). Returns NULL on failure. */
void *linker_add(struct linker *linker, LLVMMemoryBufferRef object, const char *name, void **handle);
/* Gives up the code behind the handle, without waiting for anybody who links: linker_collect() frees it. */
void linker_remove(struct linker *linker, void *handle);
/* Frees what was given up; waits for a link that is being done. */
void linker_collect(struct linker *linker);

#endif
