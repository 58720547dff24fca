/* The random numbers of the differential tests: splitmix64, because a test must give the same programs for a seed on
 * every host and for ever, which no libc promises. */
#ifndef TUFF_TESTS_TIERS_RNG_H
#define TUFF_TESTS_TIERS_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* A stream of its own for part (a, b) of a run: one block can be made again without making those before it. */
static inline struct rng rng_derive(uint64_t seed, uint64_t a, uint64_t b)
{
    struct rng rng = {seed};
    rng.state = rng_next(&rng) ^ (a * 0xd1342543de82ef95ull);
    rng.state = rng_next(&rng) ^ (b * 0xaf251af3b0f025b5ull);
    rng_next(&rng);
    return rng;
}

/* 0 .. bound - 1; the bias of the remainder does not matter here. */
static inline uint32_t rng_below(struct rng *rng, uint32_t bound)
{
    return (uint32_t)((rng_next(rng) >> 32) % bound);
}

static inline int32_t rng_between(struct rng *rng, int32_t low, int32_t high)
{
    return low + (int32_t)rng_below(rng, (uint32_t)(high - low + 1));
}

/* True once in `n`. */
static inline bool rng_one_in(struct rng *rng, uint32_t n)
{
    return rng_below(rng, n) == 0;
}

#endif
