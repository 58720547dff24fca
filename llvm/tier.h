/* The LLVM tier: compiles regions to host code on threads of its own. The only header of this folder that others need.
 */
#ifndef TUFF_LLVM_TIER_H
#define TUFF_LLVM_TIER_H

#include "engine/tier.h"

/* Never NULL; static. */
const struct tier_ops *llvm_tier_ops(void);

#endif
