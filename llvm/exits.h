/* A pass over a region's function: loops stop carrying what nobody but exits wants. */
#ifndef TUFF_LLVM_EXITS_H
#define TUFF_LLVM_EXITS_H

#include "base/compiler.h"

#include <llvm-c/Core.h>

/* Rewrites the function; what it leaves without a use is for `dce`. Returns 0 or -ENOMEM (what was rewritten so far is
 * right). */
int spare_exits(LLVMValueRef fn) TUFF_MUST_CHECK;

#endif
