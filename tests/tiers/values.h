/* Random operand values, biased to where implementations go wrong: the edges of ranges, of rounding and of encodings.
 */
#ifndef TUFF_TESTS_TIERS_VALUES_H
#define TUFF_TESTS_TIERS_VALUES_H

#include "rng.h"

#include <stdint.h>

uint64_t value_integer(struct rng *rng);
/* Bit patterns of binary64, binary32, binary16 and bfloat16. */
uint64_t value_f64(struct rng *rng);
uint32_t value_f32(struct rng *rng);
uint16_t value_f16(struct rng *rng);
uint16_t value_bf16(struct rng *rng);
/* A float register's 64 bits: a double, a boxed single or half, or one whose box is broken. */
uint64_t value_f_register(struct rng *rng);

/* The corner patterns of each format by index, for tables of every pair or triple. */
extern const uint64_t value_f64_corners[];
extern const uint32_t value_f64_corner_count;
extern const uint32_t value_f32_corners[];
extern const uint32_t value_f32_corner_count;
extern const uint16_t value_f16_corners[];
extern const uint32_t value_f16_corner_count;
extern const uint16_t value_bf16_corners[];
extern const uint32_t value_bf16_corner_count;

/* Boxes a single, a half (Unprivileged ISA, "NaN Boxing of Narrower Values"). */
static inline uint64_t value_box(uint32_t f32)
{
    return 0xffffffff00000000ull | f32;
}

static inline uint64_t value_box16(uint16_t f16)
{
    return 0xffffffffffff0000ull | f16;
}

#endif
