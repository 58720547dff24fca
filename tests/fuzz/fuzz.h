/* What fuzz targets share: conditions, and the input as numbers. */
#ifndef TUFF_TESTS_FUZZ_H
#define TUFF_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static inline void require(bool holds)
{
    if (!holds)
        abort();
}

/* The input as numbers; zeroes after its end. */
struct reader {
    const uint8_t *at, *end;
};

static inline uint64_t take(struct reader *r, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)(r->at < r->end ? *r->at++ : 0) << 8 * i;
    return value;
}

#endif
