/* The prepared bitcode of the semantic bodies, as embedded by the build. */
#ifndef TUFF_LLVM_BODIES_H
#define TUFF_LLVM_BODIES_H

extern const char llvm_bodies_start[], llvm_bodies_end[];

#endif
