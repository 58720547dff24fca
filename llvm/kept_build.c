/* What code may be kept, and for whom; without the compiler, which is not there yet when a store is opened (loader.h).
 * The text names the LLVM that this was built for: kept_by_this_llvm() keeps another one away from the store. */
#include "kept_digest.h"
#include "llvm/kept.h"

#include <llvm/Config/llvm-config.h>

#include <stdio.h>

bool kept_may_be(const struct tier_config *config)
{
    return !config->plugins && !config->plant && !config->dump.what && !config->gdb;
}

char *kept_build(const struct tier_config *config)
{
    char *text = NULL;

    if (!kept_may_be(config))
        return NULL;
    if (asprintf(&text, "riscv64 on x86-64, %s, LLVM %s, semantics " KEPT_DIGEST ", passes %s", TUFF_HOST_LEVEL,
                 LLVM_VERSION_STRING, config->passes ? config->passes : "the tier's") < 0)
        return NULL;
    return text;
}
