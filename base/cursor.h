/* Numbers out of bytes that somebody else wrote, little-endian. Past the end everything reads as zero and the cursor is
 * bad: who reads looks once, at the end. */
#ifndef TUFF_BASE_CURSOR_H
#define TUFF_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *at;
    size_t left;
    bool bad; /* also set by readers, of values that cannot be */
};

/* The next `bytes` (at most 8) as a number. */
static inline uint64_t cursor_take(struct cursor *in, unsigned bytes)
{
    uint64_t value = 0;

    if (in->left < bytes) {
        in->bad = true;
        in->left = 0;
        return 0;
    }
    memcpy(&value, in->at, bytes);
    in->at += bytes;
    in->left -= bytes;
    return value;
}

#endif
