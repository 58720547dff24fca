/* The last pass over a region's function: arithmetic of which only the low 32 bits are wanted becomes 32 bits wide. */
#ifndef TUFF_LLVM_NARROW_H
#define TUFF_LLVM_NARROW_H

#include "base/compiler.h"

#include <llvm-c/Core.h>

/* Rewrites the function; what it leaves without a use is for `dce`. Returns 0 or -ENOMEM (then nothing has changed). */
int narrow_words(LLVMValueRef fn) TUFF_MUST_CHECK;

#endif
