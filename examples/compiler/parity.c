/* A bare-metal guest program for docs/tutorial-compiler.md: how many pseudo-random numbers have an odd number of bits
 * set. The machine's exit code is the low 7 bits of that, so that a pass that computes something else is noticed. */
#include <stdint.h>

#ifndef ROUNDS
#define ROUNDS 100000000
#endif

uint64_t seen[2];

/* 1 when an odd number of bits is set. */
static inline uint64_t parity(uint64_t x)
{
    x ^= x >> 32;
    x ^= x >> 16;
    x ^= x >> 8;
    x ^= x >> 4;
    x ^= x >> 2;
    x ^= x >> 1;
    return x & 1;
}

__attribute__((noinline)) void count(uint64_t rounds)
{
    uint64_t x = 1;

    for (uint64_t i = 0; i < rounds; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        seen[parity(x)]++;
    }
}

char stack[4096] __attribute__((aligned(16)));

/* Ends at the board's test device, which takes an exit code. */
void run(void)
{
    count(ROUNDS);
    *(volatile uint32_t *)0x100000 = (uint32_t)(seen[1] & 127) << 16 | 0x3333;
}

__attribute__((naked)) void _start(void)
{
    __asm__("la sp, stack + 4096\n"
            "j run");
}
