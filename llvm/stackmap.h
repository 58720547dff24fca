/* LLVM's map of where values are at statepoints, turned into a region's table of exits. */
#ifndef TUFF_LLVM_STACKMAP_H
#define TUFF_LLVM_STACKMAP_H

#include "engine/region/region.h"
#include "llvm/build.h"

/* Reads the section .llvm_stackmaps of an object with one function; `live` says which registers the values are. Fills
 * in region->exits, region->values, region->faults (from the section .tuff_faults) and region->code_bytes. Returns 0,
 * -ENOMEM, or -EINVAL when there is something in it that regions do not make. */
int stackmap_read(LLVMMemoryBufferRef object, const struct live_sets *live, struct region *region) TUFF_MUST_CHECK;

#endif
