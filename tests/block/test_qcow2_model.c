/* qcow2 images under random operations, beside a model in memory, with internal snapshots made and deleted on the way,
 * by QEMU's tools and by ours. Afterwards QEMU's tools find a sound image with the model's contents. */
#include "block_test.h"
#include "dev/block/node_internal.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DISK_BYTES = 3 << 20, IO_BYTES_MAX = 300 << 10 };

enum backing { BACKING_NONE, BACKING_RAW, BACKING_QCOW2, BACKING_SHORT };

/* Each row is a kind of image; `-o` is for qemu-img, which makes every other one. */
static const struct kind {
    unsigned version, cluster_bytes;
    bool lazy;
    enum backing backing;
    bool snapshot; /* an internal one is taken on the way */
    bool direct;
    const char *more; /* options only qemu-img has: then it makes the image */
} kinds[] = {
    {3, 65536, false, BACKING_NONE, false, false, NULL},
    {3, 4096, false, BACKING_RAW, true, false, NULL},
    {3, 512, false, BACKING_QCOW2, true, false, NULL},
    {3, 512, true, BACKING_NONE, false, false, NULL},
    {3, 65536, true, BACKING_SHORT, true, false, NULL},
    {2, 4096, false, BACKING_NONE, true, false, NULL},
    {2, 65536, false, BACKING_RAW, false, false, NULL},
    {3, 2 << 20, false, BACKING_SHORT, false, false, NULL},
    {3, 4096, false, BACKING_QCOW2, true, true, NULL},
    {3, 512, false, BACKING_NONE, false, true, NULL},
    {3, 4096, false, BACKING_NONE, true, false, "refcount_bits=2"},
    {3, 512, false, BACKING_NONE, true, false, "refcount_bits=64"},
    {3, 1024, false, BACKING_RAW, false, false, "refcount_bits=1"},
    {3, 65536, false, BACKING_NONE, true, false, "preallocation=metadata"},
};

static uint8_t *disk, *snapshot_disk;

/* The snapshots that are there of those we make, "t0" and so on, and the disk as it was. */
enum { TAKEN_MAX = 3 };
static struct {
    bool there;
    uint8_t *disk;
} taken[TAKEN_MAX];

static void set_up(void)
{
    folder_make();
    disk = calloc(1, DISK_BYTES);
    snapshot_disk = calloc(1, DISK_BYTES);
    ck_assert(disk && snapshot_disk);
    for (unsigned i = 0; i < TAKEN_MAX; i++) {
        taken[i].there = false;
        taken[i].disk = malloc(DISK_BYTES);
        ck_assert_ptr_nonnull(taken[i].disk);
    }
}

static void tear_down(void)
{
    free(disk);
    free(snapshot_disk);
    for (unsigned i = 0; i < TAKEN_MAX; i++)
        free(taken[i].disk);
    folder_remove();
}

static struct block_node *reopen(const struct kind *kind, const char *path)
{
    const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .writable = true, .direct = kind->direct};
    struct block_node *node = NULL;
    struct error err = {{0}};

    if (node_open(path, &options, &node, &err))
        ck_abort_msg("%s", err.text);
    return node;
}

/* The image below, with random contents that go into the model. */
static const char *make_backing(const struct kind *kind, uint64_t *seed)
{
    size_t bytes = kind->backing == BACKING_SHORT ? DISK_BYTES / 3 + 512 : DISK_BYTES;

    if (kind->backing == BACKING_NONE)
        return NULL;
    random_fill(seed, disk, bytes);
    memset(disk + bytes / 4, 0, bytes / 4);
    file_write(folder_path("base.raw"), disk, bytes);
    if (kind->backing != BACKING_QCOW2)
        return "base.raw";
    command_ok("qemu-img convert -c -f raw -O qcow2 %s %s", folder_path("base.raw"), folder_path("base.qcow2"));
    return "base.qcow2";
}

static void make_image(const struct kind *kind, const char *path, const char *backing)
{
    struct node_create create = {.format = BLOCK_FORMAT_QCOW2,
                                 .size_bytes = DISK_BYTES,
                                 .backing = backing,
                                 .backing_format =
                                     kind->backing == BACKING_QCOW2 ? BLOCK_FORMAT_QCOW2 : BLOCK_FORMAT_RAW,
                                 .cluster_bytes = kind->cluster_bytes,
                                 .version = kind->version,
                                 .lazy_refcounts = kind->lazy};
    struct error err = {{0}};
    char option[128] = "";

    if (!kind->more) {
        if (node_create(path, &create, &err))
            ck_abort_msg("%s", err.text);
        return;
    }
    if (backing)
        (void)snprintf(option, sizeof(option), "-b %s -F %s", backing, block_format_name(create.backing_format));
    command_ok("qemu-img create -f qcow2 %s -o cluster_size=%u,%s %s %d", option, kind->cluster_bytes, kind->more, path,
               DISK_BYTES);
}

/* Where something happens: sectors, often near the places where the last things happened. */
static void choose_range(uint64_t *seed, uint64_t *offset, uint64_t *bytes)
{
    uint64_t limit = random_next(seed) % 4 ? 16384 : IO_BYTES_MAX;

    *offset = random_next(seed) % DISK_BYTES / 512 * 512;
    *bytes = (random_next(seed) % limit / 512 + 1) * 512;
    if (random_next(seed) % 8 == 0) /* whole clusters of the usual size */
        *offset = *offset / 65536 * 65536, *bytes = 65536 * (1 + random_next(seed) % 4);
    if (*bytes > DISK_BYTES - *offset)
        *bytes = DISK_BYTES - *offset;
}

/* After a discard each sector is what it was or zero. */
static void adopt_discarded(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    static const uint8_t zeroes[512];
    uint8_t *got = malloc(bytes);

    ck_assert_ptr_nonnull(got);
    ck_assert_int_eq(node_read(node, got, bytes, offset), 0);
    for (uint64_t at = 0; at < bytes; at += 512) {
        ck_assert(memcmp(got + at, disk + offset + at, 512) == 0 || memcmp(got + at, zeroes, 512) == 0);
        memcpy(disk + offset + at, got + at, 512);
    }
    free(got);
}

static void random_write(struct block_node *node, uint64_t *seed, uint64_t offset, uint64_t bytes)
{
    struct iovec iov[3];
    uint64_t a, b;

    random_fill(seed, disk + offset, bytes);
    a = random_next(seed) % (bytes + 1);
    b = a + random_next(seed) % (bytes - a + 1);
    iov[0] = (struct iovec){.iov_base = disk + offset, .iov_len = a};
    iov[1] = (struct iovec){.iov_base = disk + offset + a, .iov_len = b - a};
    iov[2] = (struct iovec){.iov_base = disk + offset + b, .iov_len = bytes - b};
    ck_assert_int_eq(node_writev(node, iov, 3, offset), 0);
}

static void random_read(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    uint8_t *got = malloc(bytes);

    ck_assert_ptr_nonnull(got);
    memset(got, 0x5a, bytes);
    ck_assert_int_eq(node_read(node, got, bytes, offset), 0);
    for (uint64_t i = 0; i < bytes; i++) {
        if (got[i] != disk[offset + i])
            ck_abort_msg("byte 0x%" PRIx64 " is 0x%02x, not 0x%02x", offset + i, got[i], disk[offset + i]);
    }
    free(got);
}

static void random_operation(struct block_node *node, uint64_t *seed)
{
    uint64_t offset, bytes;

    choose_range(seed, &offset, &bytes);
    switch (random_next(seed) % 16) {
    case 0:
        ck_assert_int_eq(node_discard(node, offset, bytes), 0);
        adopt_discarded(node, offset, bytes);
        break;
    case 1:
    case 2:
        ck_assert_int_eq(node_zero(node, offset, bytes, random_next(seed) % 2), 0);
        memset(disk + offset, 0, bytes);
        break;
    case 3:
        ck_assert_int_eq(node_flush(node), 0);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        random_read(node, offset, bytes);
        break;
    default:
        random_write(node, seed, offset, bytes);
        break;
    }
}

/* Makes one of our snapshots or deletes it. Where reference counts have few bits one more may not be countable. */
static void random_snapshot(struct block_node *node, const struct kind *kind, uint64_t *seed)
{
    bool few_bits = kind->more && strncmp(kind->more, "refcount_bits=", 14) == 0;
    unsigned i = few_bits ? 0 : random_next(seed) % TAKEN_MAX; /* leaves room for QEMU's */
    struct error err = {{0}};
    char name[8];
    int rc;

    (void)snprintf(name, sizeof(name), "t%u", i);
    if (taken[i].there) {
        ck_assert_int_eq(node_snapshot_create(node, name, &err), -EEXIST);
        rc = node_snapshot_delete(node, name, &err);
        ck_assert_msg(rc == 0, "%s", err.text);
        taken[i].there = false;
        return;
    }
    ck_assert_int_eq(node_snapshot_delete(node, name, &err), -ENOENT);
    rc = node_snapshot_create(node, name, &err);
    if (rc == -EOVERFLOW && few_bits)
        return;
    ck_assert_msg(rc == 0, "%s", err.text);
    memcpy(taken[i].disk, disk, DISK_BYTES);
    taken[i].there = true;
}

static void delete_taken(const struct kind *kind, const char *path)
{
    struct block_node *node = reopen(kind, path);
    struct error err = {{0}};
    char name[8];

    for (unsigned i = 0; i < TAKEN_MAX; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        if (taken[i].there && node_snapshot_delete(node, name, &err))
            ck_abort_msg("%s", err.text);
        taken[i].there = false;
    }
    close_ok(node);
}

/* Nobody has the image open. */
static void expect_taken(const char *path)
{
    uint8_t *got = malloc(DISK_BYTES);
    char name[8];

    ck_assert_ptr_nonnull(got);
    for (unsigned i = 0; i < TAKEN_MAX; i++) {
        const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .at = name};
        struct block_node *node;
        struct error err = {{0}};

        (void)snprintf(name, sizeof(name), "t%u", i);
        if (!taken[i].there) {
            ck_assert_int_eq(node_open(path, &options, &node, &err), -ENOENT);
            ck_assert_ptr_nonnull(strstr(err.text, name));
            continue;
        }
        ck_assert_msg(node_open(path, &options, &node, &err) == 0, "%s", err.text);
        ck_assert(!node_is_writable(node));
        ck_assert_uint_eq(node_size(node), DISK_BYTES);
        ck_assert_int_eq(node_read(node, got, DISK_BYTES, 0), 0);
        ck_assert(memcmp(got, taken[i].disk, DISK_BYTES) == 0);
        close_ok(node);
        command_ok("qemu-img convert -f qcow2 -l %s -O raw %s %s", name, path, folder_path("taken.raw"));
        expect_contents(folder_path("taken.raw"), BLOCK_FORMAT_RAW, taken[i].disk, DISK_BYTES);
    }
    free(got);
}

static void run_kind(const struct kind *kind, uint64_t seed, unsigned operations)
{
    const char *path = folder_path("disk.qcow2"), *backing = make_backing(kind, &seed);
    bool has_snapshot = false;
    struct block_node *node;

    make_image(kind, path, backing);
    node = reopen(kind, path);
    for (unsigned i = 0; i < operations; i++) {
        random_operation(node, &seed);
        if (random_next(&seed) % 24 == 0)
            random_snapshot(node, kind, &seed);
        if (random_next(&seed) % (operations / 4) == 0) {
            close_ok(node);
            expect_clean(path);
            expect_taken(path);
            if (kind->snapshot && !has_snapshot) {
                command_ok("qemu-img snapshot -c s1 %s", path);
                memcpy(snapshot_disk, disk, DISK_BYTES);
                has_snapshot = true;
            }
            node = reopen(kind, path);
        }
    }
    close_ok(node);
    expect_clean(path);
    expect_taken(path);
    expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
    delete_taken(kind, path);
    expect_clean(path);
    expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
    if (has_snapshot) {
        command_ok("qemu-img convert -f qcow2 -l s1 -O raw %s %s", path, folder_path("s1.raw"));
        expect_contents(folder_path("s1.raw"), BLOCK_FORMAT_RAW, snapshot_disk, DISK_BYTES);
        command_ok("qemu-img snapshot -a s1 %s", path);
        memcpy(disk, snapshot_disk, DISK_BYTES);
        node = reopen(kind, path);
        random_write(node, &seed, DISK_BYTES / 2, 100000 / 512 * 512);
        close_ok(node);
        expect_clean(path);
        expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
    }
}

START_TEST(random_operations_match_the_model)
{
    bool is_long = getenv("TUFF_TEST_LONG") != NULL;

    run_kind(&kinds[_i % TUFF_ARRAY_LEN(kinds)], 1000 + (uint64_t)_i, is_long ? 4000 : 300);
}
END_TEST

int main(void)
{
    bool is_long = getenv("TUFF_TEST_LONG") != NULL;
    Suite *suite = suite_create("qcow2_model");
    TCase *tcase = tcase_create("random operations");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, random_operations_match_the_model, 0, (int)TUFF_ARRAY_LEN(kinds) * (is_long ? 5 : 1));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
