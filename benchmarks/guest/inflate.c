/* The decompressor: one table look-up a symbol. It takes dynamic-code blocks, the kind that deflate.c writes, and
 * refuses the rest. */
#include "deflate.h"

#include <stdbool.h>
#include <string.h>

struct bit_reader {
    const uint8_t *in;
    size_t len, at;
    uint64_t bits;
    unsigned count;
};

/* At the end of the input zeros follow; a stream that uses them is cut short and fails its caller's check. */
static void fill(struct bit_reader *r)
{
    while (r->count <= 48) {
        uint64_t byte = r->at < r->len ? r->in[r->at] : 0;
        r->at++;
        r->bits |= byte << r->count;
        r->count += 8;
    }
}

static uint32_t take_bits(struct bit_reader *r, unsigned count)
{
    fill(r);
    uint32_t value = (uint32_t)(r->bits & ((1u << count) - 1));
    r->bits >>= count;
    r->count -= count;
    return value;
}

/* Indexed by the next `bits` bits of the input: symbol << 4 | length; length 0 where no code leads. */
struct decoder {
    unsigned bits;
    uint16_t table[1 << MAX_CODE_BITS];
};

static void fill_entries(struct decoder *d, uint32_t code, unsigned length, int symbol)
{
    uint32_t reversed = 0;
    for (unsigned bit = 0; bit < length; bit++)
        reversed |= (code >> bit & 1) << (length - 1 - bit);
    for (uint32_t i = reversed; i < 1u << d->bits; i += 1u << length)
        d->table[i] = (uint16_t)(symbol << 4 | (int)length);
}

/* False when the lengths claim more codes than there are. */
static bool build_decoder(struct decoder *d, const uint8_t *lengths, int count)
{
    uint32_t code = 0;
    d->bits = 1;
    for (int i = 0; i < count; i++)
        d->bits = lengths[i] > d->bits ? lengths[i] : d->bits;
    memset(d->table, 0, sizeof(d->table[0]) << d->bits);
    for (unsigned length = 1; length <= d->bits; length++, code <<= 1)
        for (int i = 0; i < count; i++)
            if (lengths[i] == length) {
                if (code >> length)
                    return false;
                fill_entries(d, code++, length, i);
            }
    return true;
}

/* A symbol, or -1. */
static int take_symbol(struct bit_reader *r, const struct decoder *d)
{
    fill(r);
    uint16_t entry = d->table[r->bits & ((1u << d->bits) - 1)];
    unsigned length = entry & 15;
    r->bits >>= length;
    r->count -= length;
    return length ? entry >> 4 : -1;
}

static struct decoder literals, distances;

static bool read_lengths(struct bit_reader *r, uint8_t *lengths, int count)
{
    uint8_t code_lengths[CODE_LENGTH_SYMBOLS] = {0};
    int sent = (int)take_bits(r, 4) + 4;
    for (int i = 0; i < sent; i++)
        code_lengths[deflate_code_length_order[i]] = (uint8_t)take_bits(r, 3);
    if (!build_decoder(&literals, code_lengths, CODE_LENGTH_SYMBOLS))
        return false;
    for (int at = 0; at < count;) {
        int symbol = take_symbol(r, &literals), run = 1;
        uint8_t value = 0;
        if (symbol < 0)
            return false;
        if (symbol < 16)
            value = (uint8_t)symbol;
        else if (symbol == 16 && at > 0) {
            value = lengths[at - 1];
            run = 3 + (int)take_bits(r, 2);
        } else
            run = symbol == 17 ? 3 + (int)take_bits(r, 3) : 11 + (int)take_bits(r, 7);
        if (run > count - at)
            return false;
        memset(lengths + at, value, (size_t)run);
        at += run;
    }
    return true;
}

static bool read_codes(struct bit_reader *r)
{
    uint8_t lengths[320];
    int literal_count = (int)take_bits(r, 5) + 257;
    int distance_count = (int)take_bits(r, 5) + 1;
    return literal_count <= LITERAL_SYMBOLS && distance_count <= DISTANCE_SYMBOLS &&
           read_lengths(r, lengths, literal_count + distance_count) &&
           build_decoder(&literals, lengths, literal_count) &&
           build_decoder(&distances, lengths + literal_count, distance_count);
}

/* Copies a match to out[at]; returns its length, or 0 when it is not possible. */
static size_t copy_match(struct bit_reader *r, int symbol, uint8_t *out, size_t at, size_t out_len)
{
    size_t length = deflate_length_base[symbol - 257] + take_bits(r, deflate_length_extra[symbol - 257]);
    int distance_symbol = take_symbol(r, &distances);
    if (distance_symbol < 0)
        return 0;
    size_t distance = deflate_distance_base[distance_symbol] + take_bits(r, deflate_distance_extra[distance_symbol]);
    if (distance > at || length > out_len - at)
        return 0;
    /* Source and destination overlap when the distance is short: that repeats the bytes, as it should. */
    for (size_t i = 0; i < length; i++)
        out[at + i] = out[at + i - distance];
    return length;
}

static bool read_block(struct bit_reader *r, uint8_t *out, size_t *at, size_t out_len)
{
    for (;;) {
        int symbol = take_symbol(r, &literals);
        if (symbol == END_OF_BLOCK)
            return true;
        if (symbol < 0 || *at == out_len)
            return false;
        if (symbol < END_OF_BLOCK) {
            out[(*at)++] = (uint8_t)symbol;
        } else {
            size_t length = copy_match(r, symbol, out, *at, out_len);
            if (length == 0)
                return false;
            *at += length;
        }
    }
}

size_t deflate_decompress(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    struct bit_reader r = {.in = in, .len = in_len};
    size_t len = 0;
    bool last;
    do {
        last = take_bits(&r, 1);
        if (take_bits(&r, 2) != 2 || !read_codes(&r) || !read_block(&r, out, &len, out_len))
            return 0;
    } while (!last);
    return len;
}
