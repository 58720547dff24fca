/* Raw DEFLATE (RFC 1951) over whole buffers, for the compress program. Both return the length written, or 0 when the
 * output does not fit or, when decompressing, the stream is wrong. */
#ifndef BENCH_DEFLATE_H
#define BENCH_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

enum {
    LITERAL_SYMBOLS = 286,
    DISTANCE_SYMBOLS = 30,
    CODE_LENGTH_SYMBOLS = 19,
    END_OF_BLOCK = 256,
    MIN_MATCH = 3,
    MAX_MATCH = 258,
    MAX_CODE_BITS = 15,
};

size_t deflate_compress(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);
size_t deflate_decompress(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);

/* Section 3.2.5: base value and extra bits of length symbol 257 + i and of distance symbol i. */
extern const uint16_t deflate_length_base[29], deflate_distance_base[DISTANCE_SYMBOLS];
extern const uint8_t deflate_length_extra[29], deflate_distance_extra[DISTANCE_SYMBOLS];
/* Section 3.2.7: the order in which the lengths of the code-length code are sent. */
extern const uint8_t deflate_code_length_order[CODE_LENGTH_SYMBOLS];

#endif
