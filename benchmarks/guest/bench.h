/* What a guest benchmark program is, and what the programs share.
 *
 * All programs are linked into one executable, built statically for riscv64 and natively from the same source. A
 * program does the same work in each iteration and returns what it computed, so every iteration is checked against a
 * value that expected.py found in another way. An iteration takes some milliseconds natively: short enough that one
 * fits into any measurement on a slow virtual machine, long enough that reading the clock does not count.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_NOINLINE __attribute__((noinline))
#define BENCH_LEN(a) (sizeof(a) / sizeof((a)[0]))

enum bench_class { BENCH_INTEGER, BENCH_FLOAT, BENCH_SYSTEM, BENCH_TRANSLATION };

struct bench_program {
    const char *name;
    enum bench_class class;
    const char *unit;           /* what the score counts per second */
    double units_per_iteration; /* how many of them one iteration does */
    int (*setup)(void);         /* once, not timed; 0 or -errno; may be NULL */
    /* One of the two: an exact result, or a real one that may differ in the last digits (contraction into fused
     * multiply-add is the compiler's choice and differs between instruction sets). */
    uint64_t (*iterate)(void);
    double (*iterate_real)(void);
    uint64_t expected;
    double expected_real;
    double tolerance; /* relative, for iterate_real */
    /* Seconds of its iterations that count, which it adds up itself; NULL: all of them. */
    double *counted_seconds;
    /* Writes what the program produced to `out`, for a check by other tools; may be NULL. */
    int (*dump)(FILE *out);
};

/* Every program, in the order in which they run. */
#define BENCH_PROGRAMS(X) \
    X(core)               \
    X(records)            \
    X(sha256)             \
    X(compress)           \
    X(interp_switch)      \
    X(interp_calls)       \
    X(quicksort)          \
    X(heapsort)           \
    X(hash_table)         \
    X(fib)                \
    X(sieve)              \
    X(bignum)             \
    X(strings)            \
    X(chase_1m)           \
    X(chase_64m)          \
    X(nbody)              \
    X(nbody_f32)          \
    X(matmul)             \
    X(fft)                \
    X(mandelbrot)         \
    X(spectral)           \
    X(stream)             \
    X(fork_exec)          \
    X(syscalls)           \
    X(pipe)               \
    X(page_faults)        \
    X(tmpfs)              \
    X(translate)

#define X(id) extern const struct bench_program bench_##id;
BENCH_PROGRAMS(X)
#undef X

/* CLOCK_MONOTONIC. */
double bench_now_seconds(void);

/* SplitMix64: the state is advanced by a constant, the output is a mix of it. Small enough to have a twin in
 * expected.py. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A multiplicative fold, sensitive to order. */
static inline uint64_t bench_fold(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 0x100000001B3u + (sum >> 47);
}

/* Path of the running executable, for programs that start it again, and the option that makes it exit at once with
 * BENCH_CHILD_STATUS. */
extern char bench_self[];
#define BENCH_CHILD_OPTION "--child-exit"
enum { BENCH_CHILD_STATUS = 7 };

#endif
