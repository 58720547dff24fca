/* A pass plugin around count.cpp's passes, or one that is wrong: API_VERSION is one that no LLVM knows; NO_ENTRY leaves
 * out what makes it a plugin; UNRESOLVED calls what no library has; BREAKS is handed to the pass. */
#include <stdbool.h>
#include <stdint.h>

#ifndef API_VERSION
#define API_VERSION count_api_version
#endif
#ifndef BREAKS
#define BREAKS false
#endif

/* llvm::PassPluginLibraryInfo; LLVM's PassBuilder is opaque here. */
struct info {
    uint32_t api_version;
    const char *name, *version;
    void (*add_passes)(void *builder);
};

extern const uint32_t count_api_version;
void count_add_passes(void *builder);
void not_to_be_found(void);

const bool count_breaks = BREAKS;

#ifdef NO_ENTRY
void only_a_library(void *builder)
{
    count_add_passes(builder);
}
#else
struct info llvmGetPassPluginInfo(void)
{
#ifdef UNRESOLVED
    not_to_be_found();
#endif
    return (struct info){API_VERSION, "count-adds", "1", count_add_passes};
}
#endif
