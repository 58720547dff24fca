/* Internal snapshots of qcow2 images when the process ends at any moment of making or deleting one, when the host
 * fails, and in images that lie. What they hold is test_qcow2_model's. */
#include "block_test.h"
#include "dev/block/host_file.h"
#include "dev/block/node_internal.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DISK_BYTES = 1 << 20, CHANGED_BYTES = 100 << 10 };

static uint8_t *disk, *snapshot_disk;

static void set_up(void)
{
    folder_make();
    disk = calloc(1, DISK_BYTES);
    snapshot_disk = calloc(1, DISK_BYTES);
    ck_assert(disk && snapshot_disk);
}

static void tear_down(void)
{
    free(disk);
    free(snapshot_disk);
    folder_remove();
}

static const struct kind {
    unsigned version, cluster_bytes;
    bool lazy;
} kinds[] = {{3, 4096, false}, {3, 512, true}, {2, 512, false}, {3, 65536, true}};

/* Calls of the host from the `from`th on fail, as if nobody made them any more; or only that one does. */
struct host {
    uint64_t calls, from;
    bool only_one;
};

static int host_call(void *opaque, enum host_op op, uint64_t offset, uint64_t *bytes)
{
    struct host *h = opaque;

    if (op == HOST_READ)
        return 0;
    h->calls++;
    return h->calls == h->from || (h->calls > h->from && !h->only_one) ? -EIO : 0;
}

/* An image with something in most of it, and a snapshot, "first", of what it held before. */
static const char *make_image(const struct kind *kind)
{
    const struct node_create create = {.format = BLOCK_FORMAT_QCOW2,
                                       .size_bytes = DISK_BYTES,
                                       .cluster_bytes = kind->cluster_bytes,
                                       .version = kind->version,
                                       .lazy_refcounts = kind->lazy};
    const char *path = folder_path("start.qcow2");
    struct block_node *node;
    struct error err = {{0}};
    uint64_t seed = 5;

    ck_assert_int_eq(node_create(path, &create, &err), 0);
    node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    random_fill(&seed, disk, DISK_BYTES / 4 * 3);
    ck_assert_int_eq(node_write(node, disk, DISK_BYTES / 4 * 3, 0), 0);
    ck_assert_msg(node_snapshot_create(node, "first", &err) == 0, "%s", err.text);
    memcpy(snapshot_disk, disk, DISK_BYTES);
    random_fill(&seed, disk + 5000, CHANGED_BYTES);
    ck_assert_int_eq(node_write(node, disk + 5000, CHANGED_BYTES, 5000), 0);
    close_ok(node);
    expect_clean(path);
    return path;
}

/* Leaks are allowed, damage is not. */
static void expect_no_damage(const char *path)
{
    const struct node_options options = {.format = BLOCK_FORMAT_QCOW2};
    struct block_node *node = NULL;
    struct node_check found;
    struct error err = {{0}};

    close_ok(open_ok(path, BLOCK_FORMAT_QCOW2, true)); /* repairs what is lazy */
    ck_assert_msg(node_open(path, &options, &node, &err) == 0, "%s", err.text);
    ck_assert_msg(node_check(node, false, stderr, &found, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(found.corruptions, 0);
    close_ok(node);
}

/* Does the snapshot hold `bytes`? False when it is not there. */
static bool holds(const char *path, const char *name, const uint8_t *bytes)
{
    const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .at = name};
    uint8_t *got = malloc(DISK_BYTES);
    struct block_node *node = NULL;
    struct error err = {{0}};
    int rc = node_open(path, &options, &node, &err);

    ck_assert_ptr_nonnull(got);
    if (rc) {
        ck_assert_int_eq(rc, -ENOENT);
        free(got);
        return false;
    }
    ck_assert_int_eq(node_read(node, got, DISK_BYTES, 0), 0);
    ck_assert(memcmp(got, bytes, DISK_BYTES) == 0);
    free(got);
    close_ok(node);
    return true;
}

/* Writing goes on and changes no snapshot; a repair makes the image sound altogether. */
static void expect_usable(const char *path, bool has_second)
{
    const struct node_options repair = {.format = BLOCK_FORMAT_QCOW2, .check_only = true, .may_repair = true};
    uint8_t other[20000];
    struct block_node *node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    struct node_check found;
    struct error err = {{0}};

    memset(other, 0xa5, sizeof(other));
    ck_assert_int_eq(node_write(node, other, sizeof(other), 7000), 0);
    close_ok(node);
    ck_assert_int_eq(holds(path, "second", disk), has_second);
    ck_assert_int_eq(node_open(path, &repair, &node, &err), 0);
    ck_assert_msg(node_check(node, true, stderr, &found, &err) == 0, "%s", err.text);
    close_ok(node);
    expect_clean(path);
    ck_assert_int_eq(holds(path, "second", disk), has_second);
}

/* Everything up to the `from`th write happens. Returns what the call did. */
static int run_until(const char *path, uint64_t from, bool only_one, bool delete, struct host *h)
{
    struct block_node *node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    struct error err = {{0}};
    int rc;

    *h = (struct host){.from = from, .only_one = only_one};
    host_file_set_fault(node_file(node), host_call, h);
    rc = delete ? node_snapshot_delete(node, "first", &err) : node_snapshot_create(node, "second", &err);
    if (rc)
        ck_assert_str_ne(err.text, "");
    (void)node_close(node);
    return rc;
}

static void interrupt_at_each_call(const struct kind *kind, bool only_one, bool delete)
{
    const char *start = make_image(kind), *path = folder_path("disk.qcow2");
    unsigned made = 0, failed = 0;
    struct host h;

    for (uint64_t from = 1;; from++) {
        command_ok("cp %s %s", start, path);
        int rc = run_until(path, from, only_one, delete, &h);
        bool there;

        expect_no_damage(path);
        expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
        there = holds(path, delete ? "first" : "second", delete ? snapshot_disk : disk);
        if (!delete && !rc)
            ck_assert(there);
        if (delete && !rc)
            ck_assert(!there);
        made += there;
        failed += rc != 0;
        if (!delete)
            ck_assert(holds(path, "first", snapshot_disk));
        expect_usable(path, !delete && there);
        if (h.calls < from) /* all went well */
            break;
    }
    ck_assert_uint_gt(made, 0);
    ck_assert_uint_gt(failed, 5);
}

START_TEST(killed_while_one_is_made)
{
    interrupt_at_each_call(&kinds[_i], false, false);
}
END_TEST

START_TEST(killed_while_one_is_deleted)
{
    interrupt_at_each_call(&kinds[_i], false, true);
}
END_TEST

START_TEST(a_call_of_the_host_fails_while_one_is_made)
{
    interrupt_at_each_call(&kinds[_i], true, false);
}
END_TEST

/* ---- images that lie ---- */

static void put(const char *path, uint64_t at, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];

    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    file_patch(path, at, raw, bytes);
}

static uint64_t get_u64(const char *path, uint64_t at)
{
    FILE *file = fopen(path, "rb");
    uint8_t raw[8];
    uint64_t value = 0;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, (long)at, SEEK_SET), 0);
    ck_assert_uint_eq(fread(raw, 1, 8, file), 8);
    (void)fclose(file);
    for (unsigned i = 0; i < 8; i++)
        value = value << 8 | raw[i];
    return value;
}

/* Fields of the header (from 0 on) or of the row, and what is said of it. */
static const struct {
    bool in_row;
    unsigned at, bytes;
    uint64_t value;
    const char *text;
} lies[] = {
    {false, 64, 8, 0, "table of internal snapshots is damaged"},
    {false, 64, 8, 0x1001, "table of internal snapshots is damaged"},
    {false, 64, 8, UINT64_C(1) << 50, "table of internal snapshots is damaged"},
    {false, 64, 8, UINT64_MAX, "table of internal snapshots is damaged"},
    {false, 60, 4, 60000, "table of internal snapshots is damaged"},
    {true, 0, 8, 0x1001, "lies where none can be"},
    {true, 0, 8, 0, "lies where none can be"},
    {true, 0, 8, 0x1000, "lies where none can be"}, /* the reference count table */
    {true, 0, 8, UINT64_MAX, "lies where none can be"},
    {true, 8, 4, UINT32_MAX, "lies where none can be"},
    {true, 0, 8, UINT64_C(1) << 40, "cut off"},
    {true, 8, 4, 0, "too small for the disk"},
    {true, 36, 4, UINT32_MAX, "table of internal snapshots is damaged"},
    {true, 48, 8, UINT64_MAX, "too large"},
    {true, 48, 8, UINT64_C(1) << 40, "too small for the disk"},
    {true, 14, 2, 65535, "no internal snapshot named 'first'"},
};

START_TEST(lies_about_snapshots_are_refused)
{
    const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .at = "first"};
    const char *path = make_image(&kinds[0]);
    uint64_t row = get_u64(path, 64);
    static uint8_t got[DISK_BYTES];
    FILE *out = fopen("/dev/null", "we");
    struct block_node *node;
    struct error err = {{0}};

    ck_assert_ptr_nonnull(out);
    put(path, lies[_i].in_row ? row + lies[_i].at : lies[_i].at, lies[_i].value, lies[_i].bytes);
    ck_assert_int_ne(node_open(path, &options, &node, &err), 0);
    ck_assert_msg(strstr(err.text, lies[_i].text) != NULL, "%s", err.text);
    /* Neither do the other calls go wrong, and the disk itself stays. */
    node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    (void)!node_snapshot_delete(node, "first", &err);
    (void)!node_snapshot_create(node, "second", &err);
    node_info(node, out);
    (void)fclose(out);
    (void)node_close(node);
    node = open_ok(path, BLOCK_FORMAT_QCOW2, false); /* QEMU's tools would refuse some of these */
    ck_assert_int_eq(node_read(node, got, DISK_BYTES, 0), 0);
    ck_assert(memcmp(got, disk, DISK_BYTES) == 0);
    close_ok(node);
}
END_TEST

/* Pointers of the snapshot's tables and of the disk's that lead anywhere. */
START_TEST(pointers_of_a_damaged_image_are_not_followed)
{
    static const uint64_t wrong[] = {0x200, 0x1000, UINT64_C(1) << 48, 0x00fffffffffff000, UINT64_C(1) << 63 | 0x1000};
    const char *path = make_image(&kinds[0]);
    uint64_t l1 = _i % 2 ? get_u64(path, 40) : get_u64(path, get_u64(path, 64));
    struct block_node *node;
    struct error err = {{0}};

    put(path, _i % 4 < 2 ? l1 : get_u64(path, l1) & 0x00fffffffffffe00, wrong[_i / 4], 8);
    node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    if (_i % 2) {
        ck_assert_int_lt(node_snapshot_create(node, "second", &err), 0);
        ck_assert_msg(strstr(err.text, "damaged") != NULL, "%s", err.text);
    } else {
        ck_assert_int_lt(node_snapshot_delete(node, "first", &err), 0);
        ck_assert_msg(strstr(err.text, "damaged") != NULL, "%s", err.text);
    }
    (void)node_close(node);
}
END_TEST

START_TEST(what_has_no_snapshots_says_so)
{
    const struct node_options at = {.format = BLOCK_FORMAT_RAW, .at = "first"};
    const struct node_options writable = {.format = BLOCK_FORMAT_QCOW2, .at = "first", .writable = true};
    const char *path = make_image(&kinds[0]), *raw = folder_path("disk.img");
    struct block_node *node;
    struct error err = {{0}};
    char name[NODE_SNAPSHOT_NAME_MAX + 2];

    file_write(raw, disk, DISK_BYTES);
    ck_assert_int_eq(node_open(raw, &at, &node, &err), -ENOTSUP);
    ck_assert_int_eq(node_open(path, &writable, &node, &err), -ENOTSUP);
    node = open_ok(raw, BLOCK_FORMAT_RAW, true);
    ck_assert_int_eq(node_snapshot_create(node, "s", &err), -ENOTSUP);
    close_ok(node);
    node = open_ok(path, BLOCK_FORMAT_QCOW2, false);
    ck_assert_int_eq(node_snapshot_create(node, "s", &err), -EROFS);
    ck_assert_int_eq(node_snapshot_delete(node, "first", &err), -EROFS);
    close_ok(node);
    node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(node_snapshot_create(node, name, &err), -EINVAL);
    ck_assert_int_eq(node_snapshot_create(node, "", &err), -EINVAL);
    close_ok(node);
    expect_clean(path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qcow2_snapshot");
    TCase *tcase = tcase_create("snapshots");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, killed_while_one_is_made, 0, (int)TUFF_ARRAY_LEN(kinds));
    tcase_add_loop_test(tcase, killed_while_one_is_deleted, 0, (int)TUFF_ARRAY_LEN(kinds));
    tcase_add_loop_test(tcase, a_call_of_the_host_fails_while_one_is_made, 0, (int)TUFF_ARRAY_LEN(kinds));
    tcase_add_loop_test(tcase, lies_about_snapshots_are_refused, 0, (int)TUFF_ARRAY_LEN(lies));
    tcase_add_loop_test(tcase, pointers_of_a_damaged_image_are_not_followed, 0, 20);
    tcase_add_test(tcase, what_has_no_snapshots_says_so);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
