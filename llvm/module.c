/* The one symbol of tuff-llvm.so that loader.c looks for. */
#include "kept_digest.h"
#include "llvm/loader.h"
#include "llvm/tier.h"

const struct tier_ops *module_entry(void) __asm__(LOADER_ENTRY);
const struct tier_ops *module_entry(void)
{
    return llvm_tier_ops();
}
