/* A guest program in two pieces, code and data, at addresses that are the same in an ELF run by a user-mode emulator
 * and in the RAM of a bare hart: so one image runs on both, and even its code pointers compare equal.
 *
 * The convention between a program and whoever runs it: it starts at PROGRAM_CODE_GPA, works on its data in place, and
 * ends with Linux's write(1, data, data_bytes) and exit(0) by ecall; what it wrote is its result.
 */
#ifndef TUFF_TESTS_TIERS_PROGRAM_H
#define TUFF_TESTS_TIERS_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define PROGRAM_CODE_GPA 0x80000000ull
#define PROGRAM_DATA_GPA 0x80400000ull

enum {
    PROGRAM_CODE_MAX_BYTES = 0x400000,
    PROGRAM_DATA_MAX_BYTES = 0x2000000,
    PROGRAM_SYS_WRITE = 64,
    PROGRAM_SYS_EXIT = 93,
};

struct program {
    uint8_t *code;
    size_t code_bytes, code_cap;
    void *data; /* aligned for any type */
    size_t data_bytes;
};

/* Zeroed data of `data_bytes`. These functions end the process when the host has no memory: they serve tests only. */
void program_init(struct program *program, size_t data_bytes);
void program_free(struct program *program);

/* Address of the next instruction. */
uint64_t program_pc(const struct program *program);
void program_put_sized(struct program *program, uint32_t bits, unsigned len_bytes);
void program_put(struct program *program, uint32_t bits);
/* Address within 2 GiB of the code, position-relative (auipc, addi). */
void program_la(struct program *program, unsigned rd, uint64_t gpa);
/* Any 32-bit signed constant. */
void program_li(struct program *program, unsigned rd, int32_t value);
/* jal x0 to an address already emitted. */
void program_jump_back(struct program *program, uint64_t gpa);
/* write(1, data, data_bytes); exit(0). */
void program_end(struct program *program);

/* The program as a static riscv64 executable, freed by the caller. */
uint8_t *program_elf(const struct program *program, size_t *len);

#endif
