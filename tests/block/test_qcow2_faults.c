/* qcow2 images when the host fails: calls that fail or do part of their work, and crashes of the host after which any
 * of the sectors written since the last fdatasync may or may not be there. */
#include "block_test.h"
#include "dev/block/host_file.h"
#include "dev/block/node_internal.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DISK_BYTES = 5 << 19,
    FILL_BYTES = 15 << 17,
    SECTORS = DISK_BYTES / 512,
    FILE_BYTES_MAX = 16 << 20,
    VERSIONS = 24
};

/* What each sector may hold: what it was at the last flush, and what was written since. */
struct model {
    uint8_t *versions[VERSIONS]; /* [0]: at the last flush */
    uint8_t count[SECTORS];
};

static struct model model;

struct host {
    uint64_t seed;
    uint64_t calls, fail_from; /* all calls from this one on fail */
    unsigned fail_one_in, short_one_in;
    int error;
    uint8_t *durable; /* the file at the last fdatasync */
    size_t durable_bytes;
    int fd;
};

static size_t read_file(int fd, uint8_t *bytes)
{
    ssize_t n = pread(fd, bytes, FILE_BYTES_MAX, 0);

    ck_assert_int_ge(n, 0);
    ck_assert_int_lt(n, FILE_BYTES_MAX);
    return (size_t)n;
}

static int host_call(void *opaque, enum host_op op, uint64_t offset, uint64_t *bytes)
{
    struct host *h = opaque;
    uint64_t asked = *bytes;

    if (++h->calls >= h->fail_from)
        return -EIO;
    if (h->fail_one_in && op != HOST_SYNC && random_next(&h->seed) % h->fail_one_in == 0)
        return h->error;
    if (h->short_one_in && *bytes > 512 && random_next(&h->seed) % h->short_one_in == 0)
        *bytes = 1 + random_next(&h->seed) % (*bytes - 1);
    if (h->fail_one_in && *bytes % 512 && asked > 512) /* what is left of a failed write is whole sectors */
        *bytes = *bytes < 512 ? 512 : *bytes / 512 * 512;
    if (op == HOST_SYNC && h->durable)
        h->durable_bytes = read_file(h->fd, h->durable);
    return 0;
}

static void set_up(void)
{
    folder_make();
    memset(&model, 0, sizeof(model));
    for (int i = 0; i < VERSIONS; i++)
        ck_assert_ptr_nonnull(model.versions[i] = calloc(1, DISK_BYTES));
    memset(model.count, 1, sizeof(model.count));
}

static void tear_down(void)
{
    for (int i = 0; i < VERSIONS; i++)
        free(model.versions[i]);
    folder_remove();
}

static uint8_t *version(unsigned i, uint64_t sector)
{
    return model.versions[i] + sector * 512;
}

/* One more thing that the sector may hold. False: there is no room. */
static bool may_hold(uint64_t sector, const uint8_t *bytes)
{
    if (model.count[sector] == VERSIONS)
        return false;
    memcpy(version(model.count[sector]++, sector), bytes, 512);
    return true;
}

static bool does_hold(uint64_t sector, const uint8_t *bytes)
{
    for (unsigned i = 0; i < model.count[sector]; i++) {
        if (memcmp(version(i, sector), bytes, 512) == 0)
            return true;
    }
    return false;
}

/* The newest is what counts from now on. */
static void flushed(void)
{
    for (uint64_t s = 0; s < SECTORS; s++) {
        memcpy(version(0, s), version(model.count[s] - 1u, s), 512);
        model.count[s] = 1;
    }
}

static void expect_sector(uint64_t sector, const uint8_t *bytes)
{
    if (!does_hold(sector, bytes))
        ck_abort_msg("sector %" PRIu64 " holds none of the %u things it may", sector, model.count[sector]);
}

static const struct kind {
    unsigned version, cluster_bytes;
    bool lazy, backing, snapshot;
    const char *more;
} kinds[] = {
    {3, 4096, false, false, false, NULL}, {3, 4096, false, true, true, NULL},
    {3, 512, false, true, false, NULL},   {3, 512, true, false, true, NULL},
    {2, 512, false, false, true, NULL},   {3, 512, false, false, false, "refcount_bits=64"},
    {3, 65536, true, true, false, NULL},  {3, 512, true, true, false, "refcount_bits=64,lazy_refcounts=on"},
};

static const char *make_image(const struct kind *kind, uint64_t *seed)
{
    const char *path = folder_path("disk.qcow2");
    uint8_t *base = model.versions[0];
    struct node_create create = {.format = BLOCK_FORMAT_QCOW2,
                                 .size_bytes = DISK_BYTES,
                                 .backing = kind->backing ? "base.raw" : NULL,
                                 .backing_format = BLOCK_FORMAT_RAW,
                                 .cluster_bytes = kind->cluster_bytes,
                                 .version = kind->version,
                                 .lazy_refcounts = kind->lazy};
    struct error err = {{0}};

    if (kind->backing) {
        random_fill(seed, base, DISK_BYTES / 2);
        file_write(folder_path("base.raw"), base, DISK_BYTES / 2);
    }
    if (kind->more)
        command_ok("qemu-img create -f qcow2 %s -o cluster_size=%u,%s %s %d", kind->backing ? "-b base.raw -F raw" : "",
                   kind->cluster_bytes, kind->more, path, DISK_BYTES);
    else if (node_create(path, &create, &err))
        ck_abort_msg("%s", err.text);
    if (kind->snapshot) { /* of something: every cluster is shared then */
        struct block_node *node = open_ok(path, BLOCK_FORMAT_QCOW2, true);

        random_fill(seed, base + DISK_BYTES / 4, DISK_BYTES / 4);
        ck_assert_int_eq(node_write(node, base + DISK_BYTES / 4, DISK_BYTES / 4, DISK_BYTES / 4), 0);
        close_ok(node);
        command_ok("qemu-img snapshot -c s1 %s", path);
    }
    if (kind->more) { /* nearly as much as the first table of counts can count */
        struct block_node *node = open_ok(path, BLOCK_FORMAT_QCOW2, true);

        random_fill(seed, base, FILL_BYTES);
        ck_assert_int_eq(node_write(node, base, FILL_BYTES, 0), 0);
        close_ok(node);
    }
    return path;
}

/* One operation. What fails may have happened in part. */
static void operate(struct block_node *node, struct host *h, uint64_t *seed)
{
    static uint8_t data[64 << 10];
    uint64_t bytes = (random_next(seed) % sizeof(data) / 512 + 1) * 512, offset, choice = random_next(seed) % 10;
    bool failed, room = true;

    if (random_next(seed) % 2)
        bytes = (bytes / 16384 + 1) * 512;
    offset = random_next(seed) % DISK_BYTES / 512 * 512;
    if (bytes > DISK_BYTES - offset)
        bytes = DISK_BYTES - offset;
    if (choice == 0) {
        if (node_flush(node) == 0)
            flushed();
        return;
    }
    if (choice <= 2) {
        int rc = node_read(node, data, bytes, offset);
        for (uint64_t at = 0; at < bytes && !rc; at += 512)
            expect_sector((offset + at) / 512, data + at);
        return;
    }
    for (uint64_t at = 0; at < bytes; at += 512)
        room = room && model.count[(offset + at) / 512] < VERSIONS - 2;
    if (!room)
        return;
    if (choice == 3) {
        failed = node_zero(node, offset, bytes, random_next(seed) % 2);
        memset(data, 0, bytes);
    } else if (choice == 4) {
        failed = true; /* what is there now is looked up below */
        (void)!node_discard(node, offset, bytes);
        memset(data, 0, bytes);
    } else {
        random_fill(seed, data, bytes);
        failed = node_write(node, data, bytes, offset);
    }
    for (uint64_t at = 0; at < bytes; at += 512)
        ck_assert(may_hold((offset + at) / 512, data + at));
    if (!failed)
        return;
    /* The last of the list must be what it holds. After a crash nobody can tell. */
    host_file_set_fault(node_file(node), NULL, NULL);
    if (h->calls < h->fail_from) {
        ck_assert_int_eq(node_read(node, data, bytes, offset), 0);
        for (uint64_t at = 0; at < bytes; at += 512) {
            uint64_t sector = (offset + at) / 512;
            expect_sector(sector, data + at);
            if (model.count[sector] < VERSIONS)
                ck_assert(may_hold(sector, data + at));
        }
    }
    host_file_set_fault(node_file(node), host_call, h);
}

static void expect_all(const char *path)
{
    struct block_node *node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    uint8_t *got = malloc(DISK_BYTES);

    ck_assert_ptr_nonnull(got);
    ck_assert_int_eq(node_read(node, got, DISK_BYTES, 0), 0);
    for (uint64_t s = 0; s < SECTORS; s++)
        expect_sector(s, got + s * 512);
    free(got);
    close_ok(node);
}

/* Leaks are allowed, and wrong counts where the dirty bit says so. */
static void expect_no_damage(const char *path)
{
    const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .no_backing = true};
    struct block_node *node = NULL;
    struct node_check found;
    struct error err = {{0}};

    close_ok(open_ok(path, BLOCK_FORMAT_QCOW2, true)); /* repairs what is lazy */
    if (node_open(path, &options, &node, &err))
        ck_abort_msg("%s", err.text);
    if (node_check(node, false, stderr, &found, &err))
        ck_abort_msg("%s", err.text);
    ck_assert_uint_eq(found.corruptions, 0);
    close_ok(node);
    ck_assert_int_ne(command_run("qemu-img check -f qcow2 %s", path), 2); /* 2: damage, 3: leaks */
}

/* What is on the disk after the crash: sector by sector what was durable or what was written. */
static void crash_file(struct host *h, const char *path)
{
    uint8_t *now = malloc(FILE_BYTES_MAX);
    size_t bytes = read_file(h->fd, now);
    unsigned kept = (unsigned)(random_next(&h->seed) % 5); /* of 4 */

    for (size_t at = 0; at < bytes; at += 512) {
        size_t len = bytes - at < 512 ? bytes - at : 512;

        if (random_next(&h->seed) % 4 < kept)
            continue;
        if (at < h->durable_bytes)
            memcpy(now + at, h->durable + at, len);
        else
            memset(now + at, 0, len);
    }
    file_write(path, now, bytes);
    free(now);
}

static void crash_once(const struct kind *kind, uint64_t seed)
{
    struct host h = {.seed = seed, .fail_from = 20 + random_next(&seed) % 400};
    const char *path = make_image(kind, &seed), *crashed = folder_path("crashed.qcow2");
    struct block_node *node = open_ok(path, BLOCK_FORMAT_QCOW2, true);

    h.fd = node_file(node)->fd;
    h.durable = calloc(1, FILE_BYTES_MAX);
    ck_assert_ptr_nonnull(h.durable);
    h.durable_bytes = read_file(h.fd, h.durable);
    host_file_set_fault(node_file(node), host_call, &h);
    while (h.calls < h.fail_from)
        operate(node, &h, &seed);
    crash_file(&h, crashed);
    ck_assert_int_ne(node_close(node), 0); /* it cannot write any more either */
    expect_no_damage(crashed);
    expect_all(crashed);
    free(h.durable);
}

START_TEST(crash_keeps_what_was_flushed_and_the_tables_sound)
{
    crash_once(&kinds[_i % TUFF_ARRAY_LEN(kinds)], 100 + (uint64_t)_i);
}
END_TEST

/* Failures that pass: what succeeded is there, what failed is old or new, and the image is sound. */
static void fail_sometimes(const struct kind *kind, uint64_t seed, int error, unsigned one_in)
{
    struct host h = {.seed = seed, .fail_from = UINT64_MAX, .fail_one_in = one_in, .short_one_in = 4, .error = error};
    const char *path = make_image(kind, &seed);
    struct block_node *node = open_ok(path, BLOCK_FORMAT_QCOW2, true);

    host_file_set_fault(node_file(node), host_call, &h);
    for (int i = 0; i < 400; i++)
        operate(node, &h, &seed);
    host_file_set_fault(node_file(node), NULL, NULL);
    close_ok(node);
    expect_no_damage(path);
    expect_all(path);
}

START_TEST(failing_calls_lose_nothing_else)
{
    fail_sometimes(&kinds[_i % TUFF_ARRAY_LEN(kinds)], 500 + (uint64_t)_i, _i % 2 ? -ENOSPC : -EIO, 12);
}
END_TEST

START_TEST(short_transfers_are_completed)
{
    fail_sometimes(&kinds[_i % TUFF_ARRAY_LEN(kinds)], 900 + (uint64_t)_i, -EIO, 0);
    command_ok("qemu-img check -f qcow2 %s", folder_path("disk.qcow2")); /* nothing failed: no leaks either */
}
END_TEST

START_TEST(failed_fdatasync_is_not_forgotten)
{
    uint64_t seed = 1;
    struct host h = {.fail_from = 1};
    struct block_node *node = open_ok(make_image(&kinds[0], &seed), BLOCK_FORMAT_QCOW2, true);

    ck_assert_int_eq(node_write(node, "x", 1, 0), 0);
    host_file_set_fault(node_file(node), host_call, &h);
    ck_assert_int_eq(node_flush(node), -EIO);
    host_file_set_fault(node_file(node), NULL, NULL);
    ck_assert_int_eq(host_file_sync(node_file(node)), 0); /* the first failure was of a write */
    h.calls = 0;
    h.fail_from = UINT64_MAX;
    ck_assert_int_eq(node_flush(node), 0);
    h.fail_from = 1;
    host_file_set_fault(node_file(node), host_call, &h);
    ck_assert_int_eq(node_flush(node), -EIO); /* nothing to write: it was the fdatasync */
    host_file_set_fault(node_file(node), NULL, NULL);
    ck_assert_int_eq(node_flush(node), -EIO);
    ck_assert_int_eq(node_close(node), -EIO);
}
END_TEST

int main(void)
{
    int rounds = getenv("TUFF_TEST_LONG") ? 60 : 3, all = (int)TUFF_ARRAY_LEN(kinds);
    Suite *suite = suite_create("qcow2_faults");
    TCase *tcase = tcase_create("the host fails");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, crash_keeps_what_was_flushed_and_the_tables_sound, 0, 2 * rounds * all);
    tcase_add_loop_test(tcase, failing_calls_lose_nothing_else, 0, rounds * all);
    tcase_add_loop_test(tcase, short_transfers_are_completed, 0, all);
    tcase_add_test(tcase, failed_fdatasync_is_not_forgotten);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
