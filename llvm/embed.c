/* Puts the prepared bitcode (TUFF_BODIES, set by the build) into the program. */
#include "llvm/bodies.h"

__asm__(".section .rodata\n"
        ".balign 16\n"
        ".globl llvm_bodies_start, llvm_bodies_end\n"
        "llvm_bodies_start:\n"
        ".incbin \"" TUFF_BODIES "\"\n"
        "llvm_bodies_end:\n"
        ".byte 0\n"
        ".previous\n");
