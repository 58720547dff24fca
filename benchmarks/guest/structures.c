/* hash_table, fib, sieve, bignum: four short programs of one idea each: random access with a multiplication per
 * look-up, calls and returns, byte stores with a stride, and wide multiplication with carries. */
#include "bench.h"
#include "expected.h"

#include <string.h>

/* hash_table: open addressing with linear probing; counts how often each key was inserted. */
enum { SLOTS_SHIFT = 16, SLOTS = 1 << SLOTS_SHIFT, INSERTS = 40000, LOOKUPS = 40000, KEY_RANGE = 1 << 15 };

struct slot {
    uint64_t key; /* 0: empty */
    uint64_t count;
};

static struct slot slots[SLOTS];

static BENCH_NOINLINE struct slot *find_slot(uint64_t key)
{
    size_t at = (size_t)(key * 0x9E3779B97F4A7C15u >> (64 - SLOTS_SHIFT));
    while (slots[at].key && slots[at].key != key)
        at = (at + 1) & (SLOTS - 1);
    return &slots[at];
}

static uint64_t iterate_hash_table(void)
{
    uint64_t rng = 7, sum = 0;
    memset(slots, 0, sizeof(slots));
    for (int i = 0; i < INSERTS; i++) {
        uint64_t key = 1 + bench_random(&rng) % KEY_RANGE;
        struct slot *slot = find_slot(key);
        slot->key = key;
        slot->count++;
    }
    /* Half of these keys are outside the range and not found. */
    for (int i = 0; i < LOOKUPS; i++) {
        uint64_t key = 1 + bench_random(&rng) % (2 * KEY_RANGE);
        sum = sum * 3 + find_slot(key)->count;
    }
    return sum;
}

const struct bench_program bench_hash_table = {
    .name = "hash_table",
    .class = BENCH_INTEGER,
    .unit = "operations",
    .units_per_iteration = INSERTS + LOOKUPS,
    .iterate = iterate_hash_table,
    .expected = EXPECTED_HASH_TABLE,
};

/* fib: doubly recursive. The argument is read through a volatile, else the compiler may know the result. */
enum { FIB_OF = 26 };

static volatile uint32_t fib_argument = FIB_OF;

static BENCH_NOINLINE uint64_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t iterate_fib(void)
{
    return fib(fib_argument);
}

const struct bench_program bench_fib = {
    .name = "fib",
    .class = BENCH_INTEGER,
    .unit = "runs",
    .units_per_iteration = 1,
    .iterate = iterate_fib,
    .expected = EXPECTED_FIB,
};

/* sieve: of Eratosthenes, odd numbers only, a byte each. */
enum { SIEVE_LIMIT = 1 << 20 };

static uint8_t composite[SIEVE_LIMIT / 2];

static BENCH_NOINLINE void strike_out(uint32_t prime)
{
    for (uint32_t n = prime * prime; n < SIEVE_LIMIT; n += 2 * prime)
        composite[n / 2] = 1;
}

/* How many primes, and their sum. */
static uint64_t iterate_sieve(void)
{
    uint64_t count = 1, sum = 2;
    memset(composite, 0, sizeof(composite));
    for (uint32_t n = 3; n < SIEVE_LIMIT; n += 2) {
        if (composite[n / 2])
            continue;
        count++;
        sum += n;
        if (n < 1 << 10)
            strike_out(n);
    }
    return sum << 20 ^ count;
}

const struct bench_program bench_sieve = {
    .name = "sieve",
    .class = BENCH_INTEGER,
    .unit = "numbers",
    .units_per_iteration = SIEVE_LIMIT,
    .iterate = iterate_sieve,
    .expected = EXPECTED_SIEVE,
};

/* bignum: x <- x * x + c over 2048 bits, keeping the middle half of the square. */
enum { LIMBS = 32, SQUARINGS = 200 };

static BENCH_NOINLINE void multiply(uint64_t product[2 * LIMBS], const uint64_t a[LIMBS], const uint64_t b[LIMBS])
{
    memset(product, 0, 2 * LIMBS * sizeof(product[0]));
    for (int i = 0; i < LIMBS; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < LIMBS; j++) {
            unsigned __int128 t = (unsigned __int128)a[i] * b[j] + product[i + j] + carry;
            product[i + j] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
        product[i + LIMBS] = carry;
    }
}

static uint64_t iterate_bignum(void)
{
    uint64_t x[LIMBS], square[2 * LIMBS], rng = 2048, sum = 0;
    for (int i = 0; i < LIMBS; i++)
        x[i] = bench_random(&rng);
    for (int n = 0; n < SQUARINGS; n++) {
        multiply(square, x, x);
        memcpy(x, square + LIMBS / 2, sizeof(x));
        x[0] ^= (uint64_t)n;
    }
    for (int i = 0; i < LIMBS; i++)
        sum = bench_fold(sum, x[i]);
    return sum;
}

const struct bench_program bench_bignum = {
    .name = "bignum",
    .class = BENCH_INTEGER,
    .unit = "squarings",
    .units_per_iteration = SQUARINGS,
    .iterate = iterate_bignum,
    .expected = EXPECTED_BIGNUM,
};
