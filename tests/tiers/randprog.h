/* A whole random test program: blocks, each run on several records of input, and the comparison of two results.
 *
 * A record holds a block's registers and scratch memory; the block loads everything from it, runs, and stores
 * everything back. So the program's data, in place, is its input before and its result after, and every difference is
 * found with a name. A program is a function of (seed, program number, sizes).
 */
#ifndef TUFF_TESTS_TIERS_RANDPROG_H
#define TUFF_TESTS_TIERS_RANDPROG_H

#include "program.h"
#include "randblock.h"

#include <stdbool.h>
#include <stdint.h>

struct rand_record {
    uint8_t scratch[2 * RAND_SCRATCH_BELOW];
    uint64_t f[32];
    uint64_t x[32];
    uint64_t fcsr;
    uint64_t unused[7]; /* whole cache blocks, for CBO.ZERO */
};

struct rand_config {
    uint64_t seed;
    uint32_t program;
    uint32_t blocks;
    uint32_t items;  /* a block */
    uint32_t inputs; /* records a block */
};

struct rand_prog {
    struct rand_config config;
    struct program program;
    struct rand_block *blocks;
    /* Instructions that load and store records and end the program, and were not drawn at random. */
    uint64_t overhead_insns;
};

void rand_prog_create(struct rand_prog *prog, const struct rand_config *config);
/* One block on one record of `from` (its input, unchanged but for its own addresses). The block is shared, not owned.
 */
void rand_prog_single(struct program *out, const struct rand_prog *from, uint32_t block, uint32_t record);
void rand_prog_free(struct rand_prog *prog);

/* Where two results differ first. */
struct rand_difference {
    uint32_t block, input; /* record number is block * inputs + input */
    char what[160];        /* "x7: 0x.. instead of 0x.." */
};

/* True when `got` differs from `expected` (both data_bytes long). */
bool rand_prog_compare(const struct rand_prog *prog, const uint8_t *expected, const uint8_t *got,
                       struct rand_difference *difference);
bool rand_record_compare(const struct rand_record *expected, const struct rand_record *got, char *what, size_t len);

#endif
