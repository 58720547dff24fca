/* Making a failing random block small: by bisection to the first item that matters, then by leaving out items before
 * it. */
#ifndef TUFF_TESTS_TIERS_MINIMISE_H
#define TUFF_TESTS_TIERS_MINIMISE_H

#include "randprog.h"

#include <stdbool.h>
#include <stdio.h>

/* Whether the program shows the failure. */
typedef bool (*minimise_fails_fn)(void *opaque, const struct program *program);

/* Marks items of prog's block as dropped until none can be left out. Returns false, with nothing dropped, when the
 * block does not fail on its own. */
bool minimise_block(struct rand_prog *prog, uint32_t block, uint32_t record, minimise_fails_fn fails, void *opaque);

/* The kept items of a block as assembler text, and the inputs they read. */
void minimise_print(FILE *out, const struct rand_prog *prog, uint32_t block, uint32_t record);

#endif
