/* The LLVM tier of programs that load the compiler only when there is something to compile.
 *
 * libLLVM has 380,000 relocations and thousands of static objects: 25 ms before main(), for runs that are over sooner
 * or never get hot. A program that is linked with loader.c has the tier in a module of its own, tuff-llvm.so, which a
 * thread loads beside the guest at the first region. Linked with the rest of this folder instead, the tier is part of
 * the program (tests, libtuff.a).
 */
#ifndef TUFF_LLVM_LOADER_H
#define TUFF_LLVM_LOADER_H

/* Where the module is, seen from the folder that the program is in. */
#define LOADER_MODULE "../lib/tuff/tuff-llvm.so"

/* The module's llvm_tier_ops(). Its name has the digest of the build's semantics (kept_digest.h): no other build's has
 * it. */
#define LOADER_ENTRY "llvm_tier_ops_" KEPT_DIGEST

#endif
