/* strings: the C library's memory and string functions on short and long operands, aligned and not. The guest's library
 * is the one of its distribution, so this is what real programs meet. */
#include "bench.h"
#include "expected.h"

#include <string.h>

enum { STRINGS = 512, LENGTH_LIMIT = 200, LONG_BYTES = 64 * 1024 };

static char pool[STRINGS * (LENGTH_LIMIT + 1)];
static const char *strings[STRINGS];
static char joined[STRINGS * (LENGTH_LIMIT + 1)];
static unsigned char long_a[LONG_BYTES], long_b[LONG_BYTES];

static int setup(void)
{
    uint64_t rng = 11;
    char *at = pool;
    for (int i = 0; i < STRINGS; i++) {
        size_t len = bench_random(&rng) % LENGTH_LIMIT;
        strings[i] = at;
        for (size_t k = 0; k < len; k++)
            *at++ = (char)('a' + bench_random(&rng) % 4);
        *at++ = '\0';
    }
    return 0;
}

/* Joins all strings into one, then finds them again by their separators. */
static BENCH_NOINLINE uint64_t join_and_split(void)
{
    char *end = joined;
    uint64_t sum = 0;
    for (int i = 0; i < STRINGS; i++) {
        size_t len = strlen(strings[i]);
        memcpy(end, strings[i], len);
        end += len;
        *end++ = ';';
    }
    *end = '\0';
    for (const char *at = joined, *separator; (separator = strchr(at, ';')); at = separator + 1)
        sum = bench_fold(sum, (uint64_t)(separator - at));
    return sum;
}

/* Neighbours' order, and where their first letters next occur. */
static BENCH_NOINLINE uint64_t compare(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < STRINGS; i++) {
        const char *a = strings[i], *b = strings[(i * 7 + 1) % STRINGS];
        int order = strcmp(a, b);
        const char *found = *a ? strrchr(b, *a) : NULL;
        sum = bench_fold(sum, order > 0 ? 2 : order == 0);
        sum = bench_fold(sum, found ? (uint64_t)(found - b) : 999);
    }
    return sum;
}

/* Fills, shifts by odd distances and compares 64 KiB. */
static BENCH_NOINLINE uint64_t move_long(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < 16; i++) {
        size_t shift = 1 + (size_t)i * 5;
        memset(long_a, 'a' + i, LONG_BYTES);
        memmove(long_a + shift, joined, 4096);
        memcpy(long_b, long_a, LONG_BYTES);
        memmove(long_b + shift, long_b, LONG_BYTES - shift);
        const unsigned char *zero = memchr(long_b, ';', LONG_BYTES);
        sum = bench_fold(sum, zero ? (uint64_t)(zero - long_b) : 0);
        sum = bench_fold(sum, memcmp(long_a, long_b + shift, LONG_BYTES - shift) == 0);
        sum = bench_fold(sum, (uint64_t)long_b[LONG_BYTES - 1] << 8 | long_b[shift]);
    }
    return sum;
}

static uint64_t iterate(void)
{
    return join_and_split() ^ compare() * 3 ^ move_long() * 5;
}

const struct bench_program bench_strings = {
    .name = "strings",
    .class = BENCH_INTEGER,
    .unit = "runs",
    .units_per_iteration = 1,
    .setup = setup,
    .iterate = iterate,
    .expected = EXPECTED_STRINGS,
};
