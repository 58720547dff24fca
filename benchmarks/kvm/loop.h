/* The loop that both sides run: integer work that depends on itself, no memory. */
#ifndef TUFF_BENCHMARKS_KVM_LOOP_H
#define TUFF_BENCHMARKS_KVM_LOOP_H

#include <stdint.h>

static uint64_t loop(uint64_t turns)
{
    uint64_t x = 1, sum = 0;

    for (uint64_t i = 0; i < turns; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        sum ^= x >> 33;
    }
    return sum;
}

#endif
