/* llvm-mc as the oracle for encodings: which are instructions, and how they are written. */
#ifndef TUFF_TESTS_ISA_LLVM_MC_H
#define TUFF_TESTS_ISA_LLVM_MC_H

#include <stddef.h>
#include <stdint.h>

enum { LLVM_MC_TEXT_BYTES = 64 };

/* What llvm-mc says about one encoding. An empty text: not an instruction. White space is one blank between words. */
struct llvm_mc_line {
    char text[LLVM_MC_TEXT_BYTES];
};

/* Disassembles `count` encodings in one run of llvm-mc, without aliases, for rv64i with `attributes` ("+m,+a,...").
 * Returns an array of `count` lines that the caller frees. Ends the test program with a message when llvm-mc cannot be
 * run or answers something unexpected: a test without its oracle must not pass. */
struct llvm_mc_line *llvm_mc_disassemble(const uint32_t *encodings, size_t count, const char *attributes);

#endif
