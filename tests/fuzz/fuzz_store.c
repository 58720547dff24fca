/* A database of compiled code that somebody changed: the input is edits (three bytes of place, one of value, repeated)
 * to a good file. Whatever the store makes of it, it neither crashes nor gives out code that is not what was stored. */
#include "fuzz_file.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum { REGIONS = 6, CODE_BYTES = 700 };

static struct fuzz_file file;

static void describe(uint32_t number, uint8_t shape[16], uint8_t code[CODE_BYTES], struct store_region *region)
{
    for (unsigned i = 0; i < 16; i++)
        shape[i] = (uint8_t)(number * 31 + i);
    for (unsigned i = 0; i < CODE_BYTES; i++)
        code[i] = (uint8_t)((number + 1) * (i + 7) >> 3);
    *region = (struct store_region){
        .shape = shape, .shape_bytes = 16, .code = code, .code_bytes = CODE_BYTES, .compile_us = 1, .insns = number};
    store_digest(shape, 16, region->digest);
}

static int open_store(const char *path, struct store **store)
{
    const struct store_config config = {.path = path, .build = "fuzz"};
    struct error err = {{0}};
    int rc = store_open(&config, store, &err);

    require(rc == 0 || err.text[0]);
    return rc;
}

static void make_good(const char *path)
{
    struct store_region region;
    struct store *store;
    uint8_t shape[16], code[CODE_BYTES];

    require(open_store(path, &store) == 0);
    for (uint32_t i = 0; i < REGIONS; i++) {
        describe(i, shape, code, &region);
        store_put(store, &region);
    }
    store_close(store);
}

static void ignore_region(void *opaque, const struct store_region *region)
{
    uint8_t digest[STORE_DIGEST_BYTES];

    (void)opaque;
    store_digest(region->shape, region->shape_bytes, digest);
    require(memcmp(digest, region->digest, sizeof(digest)) == 0);
}

static void use_store(struct store *store)
{
    struct store_region region;
    uint8_t shape[16], code[CODE_BYTES];

    (void)store_each(store, ignore_region, NULL);
    for (uint32_t i = 0; i < REGIONS; i++) {
        uint8_t *stored;
        size_t len;
        describe(i, shape, code, &region);
        if (store_code(store, region.digest, &stored, &len))
            continue;
        require(len == CODE_BYTES && memcmp(stored, code, len) == 0);
        free(stored);
        store_used(store, region.digest, i);
    }
    describe(REGIONS, shape, code, &region);
    store_put(store, &region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store *store = NULL;

    if (!file.good)
        fuzz_file_make(&file, "store", make_good);
    fuzz_file_write(&file, data, size);
    if (open_store(file.path, &store) == 0)
        use_store(store);
    store_close(store);
    fuzz_file_remove(&file);
    return 0;
}
