/* Compiled code that outlives the run: between objects in memory and the store (store/store.h). */
#ifndef TUFF_LLVM_KEPT_H
#define TUFF_LLVM_KEPT_H

#include "engine/tier.h"

#include <llvm-c/Core.h>

struct region;
struct store;

enum { KEPT_NAME_BYTES = 32 };

/* Of code that is made under this configuration: may it be kept? Not what is made for somebody to look at, nor what a
 * plugin had its hands in. */
bool kept_may_be(const struct tier_config *config);
/* See tier_ops.build. */
char *kept_build(const struct tier_config *config);
/* Whether the LLVM that runs is the one that kept_build() says. */
bool kept_by_this_llvm(void);

/* The name of the region's function. Where there is a store it has the same length for all, so that it can be replaced
 * in an object. */
void kept_name(const struct store *store, uint32_t id, char name[KEPT_NAME_BYTES]);

/* Gives the region the digest of its shape, and returns the store's object for it with its function called `name`, its
 * tables filled in; or NULL. A compiling thread. `store` may be NULL. */
LLVMMemoryBufferRef kept_read(struct store *store, struct region *region, const char *name);
/* Has the object written, later; `compile_ns`: what it took to make. */
void kept_write(struct store *store, struct region *region, LLVMMemoryBufferRef object, const char *name,
                uint64_t compile_ns);

#endif
