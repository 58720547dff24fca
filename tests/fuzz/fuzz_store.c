/* A database of compiled code that somebody changed: the input is edits (three bytes of place, one of value, repeated)
 * to a good file. Whatever the store makes of it, it neither crashes nor gives out code that is not what was stored. */
#include "fuzz.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REGIONS = 6, CODE_BYTES = 700, EDIT_BYTES = 4 };

static uint8_t *good;
static size_t good_bytes;
static char path[64];

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

static int open_store(struct store **store)
{
    const struct store_config config = {.path = path, .build = "fuzz"};
    struct error err = {{0}};
    int rc = store_open(&config, store, &err);

    require(rc == 0 || err.text[0]);
    return rc;
}

static void remove_files(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[80];

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(suffixes); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        (void)unlink(name);
    }
}

static void make_good(void)
{
    struct store_region region;
    struct store *store;
    uint8_t shape[16], code[CODE_BYTES];

    (void)snprintf(path, sizeof(path), "/dev/shm/tuff-fuzz-store.%d", (int)getpid());
    remove_files();
    require(open_store(&store) == 0);
    for (uint32_t i = 0; i < REGIONS; i++) {
        describe(i, shape, code, &region);
        store_put(store, &region);
    }
    store_close(store);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t end = lseek(fd, 0, SEEK_END);
    require(fd >= 0 && end > 0);
    good_bytes = (size_t)end;
    good = malloc(good_bytes);
    require(good && pread(fd, good, good_bytes, 0) == (ssize_t)good_bytes);
    (void)close(fd);
    remove_files();
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

    if (!good)
        make_good();
    uint8_t *bytes = malloc(good_bytes);
    require(bytes != NULL);
    memcpy(bytes, good, good_bytes);
    for (size_t i = 0; i + EDIT_BYTES <= size; i += EDIT_BYTES) {
        size_t place = (size_t)data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16;
        bytes[place % good_bytes] = data[i + 3];
    }
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, bytes, good_bytes) == (ssize_t)good_bytes && close(fd) == 0);
    free(bytes);
    if (open_store(&store) == 0)
        use_store(store);
    store_close(store);
    remove_files();
    return 0;
}
