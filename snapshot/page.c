/* Pages as the file has them: keys, zeroes, packing. */
#include "snapshot/snapshot_internal.h"

#include <libdeflate.h>
#include <openssl/sha.h>
#include <string.h>

static int64_t hash_of(const void *bytes, size_t len)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int64_t hash;

    (void)SHA256(bytes, len, digest);
    memcpy(&hash, digest, sizeof(hash));
    return hash;
}

int64_t snapshot_page_hash(const uint8_t *bytes)
{
    return hash_of(bytes, SNAPSHOT_PAGE_BYTES);
}

int64_t snapshot_map_digest(const void *map)
{
    return hash_of(map, SNAPSHOT_MAP_BYTES);
}

bool snapshot_page_is_zero(const uint8_t *bytes)
{
    static const uint8_t zeroes[16];

    /* Each byte is compared with the one 16 before it. */
    return memcmp(bytes, zeroes, sizeof(zeroes)) == 0 &&
           memcmp(bytes, bytes + sizeof(zeroes), SNAPSHOT_PAGE_BYTES - sizeof(zeroes)) == 0;
}

bool snapshot_page_unpack(const void *data, size_t len, uint8_t *bytes)
{
    struct libdeflate_decompressor *inflate;
    size_t out = 0;

    if (!data || len > SNAPSHOT_PAGE_BYTES)
        return false;
    if (len == SNAPSHOT_PAGE_BYTES) {
        memcpy(bytes, data, len);
        return true;
    }
    inflate = libdeflate_alloc_decompressor();
    bool good =
        inflate &&
        libdeflate_zlib_decompress(inflate, data, len, bytes, SNAPSHOT_PAGE_BYTES, &out) == LIBDEFLATE_SUCCESS &&
        out == SNAPSHOT_PAGE_BYTES;
    libdeflate_free_decompressor(inflate);
    return good;
}
