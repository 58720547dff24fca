/* compress: compresses 64 KiB of text of skewed made-up words to a DEFLATE stream, decompresses it and takes the CRC-32
 * of the result, which must be that of the input. What zlib's programs do, with a compressor of our own because Debian
 * has no static riscv64 zlib for a cross build. */
#include "bench.h"
#include "deflate.h"
#include "expected.h"

#include <errno.h>
#include <string.h>

enum { TEXT_BYTES = 64 * 1024, DICTIONARY_WORDS = 512, WORD_LETTERS = 10 };

static uint8_t text[TEXT_BYTES], packed[TEXT_BYTES + 4096], unpacked[TEXT_BYTES];
static char dictionary[DICTIONARY_WORDS][WORD_LETTERS + 1];
static uint32_t crc_table[256];

static void make_dictionary(uint64_t *rng)
{
    static const char letters[] = "etaoinshrdlucmfwypvbgkjqxz";
    for (int i = 0; i < DICTIONARY_WORDS; i++) {
        size_t len = 2 + bench_random(rng) % (WORD_LETTERS - 1);
        for (size_t k = 0; k < len; k++) {
            uint64_t a = bench_random(rng) % 26, b = bench_random(rng) % 26;
            dictionary[i][k] = letters[a < b ? a : b];
        }
        dictionary[i][len] = '\0';
    }
}

/* Words of low index are more frequent. */
static void make_text(uint64_t *rng)
{
    for (size_t at = 0; at < TEXT_BYTES;) {
        uint64_t a = bench_random(rng) % DICTIONARY_WORDS, b = bench_random(rng) % DICTIONARY_WORDS;
        for (const char *c = dictionary[a * b / DICTIONARY_WORDS]; *c && at < TEXT_BYTES; c++)
            text[at++] = (uint8_t)*c;
        if (at < TEXT_BYTES)
            text[at++] = bench_random(rng) % 12 ? ' ' : '\n';
    }
}

/* CRC-32 of IEEE 802.3, reflected, a byte a step. */
static void make_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320 : crc >> 1;
        crc_table[i] = crc;
    }
}

static BENCH_NOINLINE uint32_t crc32_of(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < len; i++)
        crc = crc_table[(crc ^ bytes[i]) & 0xFF] ^ crc >> 8;
    return ~crc;
}

static int setup(void)
{
    uint64_t rng = 1951;
    make_dictionary(&rng);
    make_text(&rng);
    make_crc_table();
    return 0;
}

/* Length and CRC of what came back; a stream that is not smaller than the text is not compressed. */
static uint64_t iterate(void)
{
    size_t packed_len = deflate_compress(text, TEXT_BYTES, packed, sizeof(packed));
    memset(unpacked, 0, TEXT_BYTES);
    size_t len = deflate_decompress(packed, packed_len, unpacked, TEXT_BYTES);
    return packed_len < TEXT_BYTES ? (uint64_t)len << 32 | crc32_of(unpacked, len) : 0;
}

static int dump(FILE *out)
{
    size_t len = deflate_compress(text, TEXT_BYTES, packed, sizeof(packed));
    return fwrite(packed, 1, len, out) == len ? 0 : -EIO;
}

const struct bench_program bench_compress = {
    .name = "compress",
    .class = BENCH_INTEGER,
    .unit = "MB",
    .units_per_iteration = TEXT_BYTES / 1e6,
    .setup = setup,
    .iterate = iterate,
    .expected = EXPECTED_COMPRESS,
    .dump = dump,
};
