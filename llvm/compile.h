/* One thread's compiler: from a region to an object file in memory. */
#ifndef TUFF_LLVM_COMPILE_H
#define TUFF_LLVM_COMPILE_H

#include "engine/tier.h"

#include <llvm-c/Core.h>

struct region;
struct compiler;

/* Returns 0, -ENOMEM, or -EINVAL with a line in err (unknown target, a pass plugin that cannot be used). */
int compiler_create(const struct tier_config *config, struct compiler **out, struct error *err) TUFF_MUST_CHECK;
void compiler_destroy(struct compiler *compiler);

/* Compiles the region into an object with one function, called `name`, and fills in its table of exits. Returns the
 * object, which the caller disposes of or gives to the linker, or NULL and why in *failure (a static string). One
 * thread at a time. */
LLVMMemoryBufferRef compile_region(struct compiler *compiler, struct region *region, const char *name,
                                   const char **failure);

#endif
