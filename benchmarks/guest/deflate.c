/* The compressor: greedy LZ77 over hash chains, then one block with Huffman codes of its own (RFC 1951, section 3.2.7).
 *
 * Input is at most 64 KiB, so positions fit 32 bits and one block is enough. What must stay true: every stream it
 * makes is one that zlib decompresses; `make check` has zlib do so.
 */
#include "deflate.h"

#include <stdbool.h>
#include <string.h>

enum { INPUT_LIMIT = 1 << 16, HASH_BITS = 13, CHAIN_LIMIT = 24, WINDOW = 32768, NONE = -1 };

const uint16_t deflate_length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                          31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
const uint8_t deflate_length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                          2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
const uint16_t deflate_distance_base[DISTANCE_SYMBOLS] = {
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
const uint8_t deflate_distance_extra[DISTANCE_SYMBOLS] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                                          6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
const uint8_t deflate_code_length_order[CODE_LENGTH_SYMBOLS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                                11, 4,  12, 3, 13, 2, 14, 1, 15};

/* A literal (distance 0, value in length) or a match. */
struct token {
    uint16_t length, distance;
};

static struct token tokens[INPUT_LIMIT];
static int32_t hash_heads[1 << HASH_BITS], hash_links[INPUT_LIMIT];

struct bit_writer {
    uint8_t *out;
    size_t len, limit;
    uint64_t bits;
    unsigned count;
    bool overflow;
};

static void put_bits(struct bit_writer *w, uint32_t value, unsigned count)
{
    w->bits |= (uint64_t)value << w->count;
    w->count += count;
    while (w->count >= 8) {
        if (w->len == w->limit) {
            w->overflow = true;
            w->len = 0;
        }
        w->out[w->len++] = (uint8_t)w->bits;
        w->bits >>= 8;
        w->count -= 8;
    }
}

static uint32_t hash3(const uint8_t *p)
{
    return ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16) * 0x9E3779B1u >> (32 - HASH_BITS);
}

static void hash_insert(const uint8_t *in, size_t in_len, size_t at)
{
    if (at + MIN_MATCH > in_len)
        return;
    int32_t *head = &hash_heads[hash3(in + at)];
    hash_links[at] = *head;
    *head = (int32_t)at;
}

static size_t match_length(const uint8_t *a, const uint8_t *b, size_t limit)
{
    size_t n = 0;
    while (n < limit && a[n] == b[n])
        n++;
    return n;
}

static struct token longest_match(const uint8_t *in, size_t in_len, size_t at)
{
    struct token best = {in[at], 0};
    size_t limit = in_len - at < MAX_MATCH ? in_len - at : MAX_MATCH, best_length = MIN_MATCH - 1;
    if (limit < MIN_MATCH)
        return best;
    int32_t candidate = hash_heads[hash3(in + at)];
    for (int tries = CHAIN_LIMIT; candidate != NONE && at - (size_t)candidate <= WINDOW && tries > 0; tries--) {
        size_t length = match_length(in + candidate, in + at, limit);
        if (length > best_length) {
            best_length = length;
            best = (struct token){(uint16_t)length, (uint16_t)(at - (size_t)candidate)};
        }
        candidate = hash_links[candidate];
    }
    return best;
}

static size_t parse(const uint8_t *in, size_t in_len)
{
    size_t count = 0;
    memset(hash_heads, 0xFF, sizeof(hash_heads)); /* NONE */
    for (size_t at = 0; at < in_len;) {
        struct token token = longest_match(in, in_len, at);
        size_t step = token.distance ? token.length : 1;
        tokens[count++] = token;
        for (size_t i = 0; i < step; i++)
            hash_insert(in, in_len, at + i);
        at += step;
    }
    return count;
}

/* The last entry whose base is not above the value. */
static int symbol_of(const uint16_t *bases, int count, unsigned value)
{
    int low = 0;
    for (int high = count; high - low > 1;) {
        int middle = (low + high) / 2;
        if (bases[middle] <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct huffman {
    uint8_t lengths[LITERAL_SYMBOLS];
    uint16_t codes[LITERAL_SYMBOLS];
};

/* Lengths of an optimal code by repeatedly joining the two lightest trees; returns the greatest. */
static unsigned huffman_lengths(const uint32_t *weights, int count, uint8_t *lengths)
{
    uint32_t weight[2 * LITERAL_SYMBOLS];
    int parent[2 * LITERAL_SYMBOLS], alive[LITERAL_SYMBOLS];
    int trees = 0, used = count;
    unsigned longest = 0;
    for (int i = 0; i < count; i++) {
        parent[i] = NONE;
        weight[i] = weights[i];
        if (weights[i])
            alive[trees++] = i;
    }
    while (trees > 1) {
        int first = 0, second = 1;
        if (weight[alive[second]] < weight[alive[first]]) {
            first = 1;
            second = 0;
        }
        for (int i = 2; i < trees; i++) {
            if (weight[alive[i]] < weight[alive[first]]) {
                second = first;
                first = i;
            } else if (weight[alive[i]] < weight[alive[second]]) {
                second = i;
            }
        }
        weight[used] = weight[alive[first]] + weight[alive[second]];
        parent[used] = NONE;
        parent[alive[first]] = parent[alive[second]] = used;
        alive[first] = used++;
        alive[second] = alive[--trees];
    }
    for (int i = 0; i < count; i++) {
        unsigned length = 0;
        for (int at = i; weights[i] && parent[at] != NONE; at = parent[at])
            length++;
        /* A code of one symbol has one bit (section 3.2.7). */
        lengths[i] = (uint8_t)(weights[i] && length == 0 ? 1 : length);
        longest = lengths[i] > longest ? lengths[i] : longest;
    }
    return longest;
}

static uint16_t reverse_bits(uint16_t code, unsigned count)
{
    uint16_t reversed = 0;
    while (count--) {
        reversed = (uint16_t)(reversed << 1 | (code & 1));
        code >>= 1;
    }
    return reversed;
}

/* Section 3.2.2: codes from lengths, reversed because they are sent most significant bit first. */
static void huffman_codes(struct huffman *h, int count)
{
    uint16_t next[MAX_CODE_BITS + 2] = {0}, counts[MAX_CODE_BITS + 1] = {0};
    for (int i = 0; i < count; i++)
        counts[h->lengths[i]]++;
    counts[0] = 0;
    for (int bits = 1; bits <= MAX_CODE_BITS; bits++)
        next[bits] = (uint16_t)((next[bits - 1] + counts[bits - 1]) << 1);
    for (int i = 0; i < count; i++)
        if (h->lengths[i])
            h->codes[i] = reverse_bits(next[h->lengths[i]]++, h->lengths[i]);
}

/* Flattens the weights until no code is longer than `limit` bits. */
static void huffman_build(struct huffman *h, uint32_t *weights, int count, unsigned limit)
{
    while (huffman_lengths(weights, count, h->lengths) > limit)
        for (int i = 0; i < count; i++)
            weights[i] = weights[i] ? weights[i] / 2 + 1 : 0;
    huffman_codes(h, count);
}

static void put_symbol(struct bit_writer *w, const struct huffman *h, int symbol)
{
    put_bits(w, h->codes[symbol], h->lengths[symbol]);
}

/* One run of equal lengths, as symbol | extra << 8 (symbols 16, 17 and 18 of section 3.2.7); returns the lengths
 * consumed. */
static int run_symbol(const uint8_t *lengths, int left, int previous, uint16_t *symbol)
{
    int run = 1;
    while (run < left && lengths[run] == lengths[0])
        run++;
    if (lengths[0] == 0 && run >= 3) {
        run = run > 138 ? 138 : run;
        *symbol = (uint16_t)(run >= 11 ? 18 | (run - 11) << 8 : 17 | (run - 3) << 8);
        return run;
    }
    if (lengths[0] == previous && run >= 3) {
        run = run > 6 ? 6 : run;
        *symbol = (uint16_t)(16 | (run - 3) << 8);
        return run;
    }
    *symbol = lengths[0];
    return 1;
}

static void put_code_lengths(struct bit_writer *w, const struct huffman *literals, const struct huffman *distances)
{
    static const uint8_t extra_bits[CODE_LENGTH_SYMBOLS] = {[16] = 2, [17] = 3, [18] = 7};
    uint8_t lengths[LITERAL_SYMBOLS + DISTANCE_SYMBOLS];
    uint16_t runs[LITERAL_SYMBOLS + DISTANCE_SYMBOLS];
    uint32_t weights[CODE_LENGTH_SYMBOLS] = {0};
    struct huffman code;
    int count = 0;
    memcpy(lengths, literals->lengths, LITERAL_SYMBOLS);
    memcpy(lengths + LITERAL_SYMBOLS, distances->lengths, DISTANCE_SYMBOLS);
    for (int at = 0; at < (int)sizeof(lengths); count++) {
        at += run_symbol(lengths + at, (int)sizeof(lengths) - at, at ? lengths[at - 1] : NONE, &runs[count]);
        weights[runs[count] & 0xFF]++;
    }
    huffman_build(&code, weights, CODE_LENGTH_SYMBOLS, 7);
    put_bits(w, LITERAL_SYMBOLS - 257, 5);
    put_bits(w, DISTANCE_SYMBOLS - 1, 5);
    put_bits(w, CODE_LENGTH_SYMBOLS - 4, 4);
    for (int i = 0; i < CODE_LENGTH_SYMBOLS; i++)
        put_bits(w, code.lengths[deflate_code_length_order[i]], 3);
    for (int i = 0; i < count; i++) {
        put_symbol(w, &code, runs[i] & 0xFF);
        put_bits(w, runs[i] >> 8, extra_bits[runs[i] & 0xFF]);
    }
}

static void put_match(struct bit_writer *w, const struct huffman *literals, const struct huffman *distances,
                      struct token t)
{
    int length = symbol_of(deflate_length_base, 29, t.length);
    int distance = symbol_of(deflate_distance_base, DISTANCE_SYMBOLS, t.distance);
    put_symbol(w, literals, 257 + length);
    put_bits(w, (uint32_t)(t.length - deflate_length_base[length]), deflate_length_extra[length]);
    put_symbol(w, distances, distance);
    put_bits(w, (uint32_t)(t.distance - deflate_distance_base[distance]), deflate_distance_extra[distance]);
}

static void count_symbols(size_t count, uint32_t *literal_weights, uint32_t *distance_weights)
{
    literal_weights[END_OF_BLOCK] = 1;
    distance_weights[0] = 1; /* the distance code is never empty */
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].distance == 0) {
            literal_weights[tokens[i].length]++;
        } else {
            literal_weights[257 + symbol_of(deflate_length_base, 29, tokens[i].length)]++;
            distance_weights[symbol_of(deflate_distance_base, DISTANCE_SYMBOLS, tokens[i].distance)]++;
        }
    }
}

size_t deflate_compress(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    struct bit_writer w = {.out = out, .limit = out_len};
    uint32_t literal_weights[LITERAL_SYMBOLS] = {0}, distance_weights[DISTANCE_SYMBOLS] = {0};
    struct huffman literals, distances;
    if (in_len > INPUT_LIMIT || out_len == 0)
        return 0;
    size_t count = parse(in, in_len);
    count_symbols(count, literal_weights, distance_weights);
    huffman_build(&literals, literal_weights, LITERAL_SYMBOLS, MAX_CODE_BITS);
    huffman_build(&distances, distance_weights, DISTANCE_SYMBOLS, MAX_CODE_BITS);
    put_bits(&w, 1 | 2 << 1, 3); /* the last block, dynamic codes */
    put_code_lengths(&w, &literals, &distances);
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].distance)
            put_match(&w, &literals, &distances, tokens[i]);
        else
            put_symbol(&w, &literals, tokens[i].length);
    }
    put_symbol(&w, &literals, END_OF_BLOCK);
    put_bits(&w, 0, 7); /* pushes the last bits out */
    return w.overflow ? 0 : w.len;
}
