/* Which files are taken for what, which are refused and how that is said; images made by QEMU's tools. */
#include "block_test.h"
#include "dev/block/node_internal.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DISK_BYTES = 1 << 20 };

static uint8_t disk[DISK_BYTES];

static void set_up(void)
{
    uint64_t seed = 11;

    folder_make();
    random_fill(&seed, disk, sizeof(disk));
    memset(disk + DISK_BYTES / 2, 0, DISK_BYTES / 8);
    memset(disk + DISK_BYTES / 4, 0x42, DISK_BYTES / 8); /* can be compressed */
    file_write(folder_path("raw.img"), disk, sizeof(disk));
}

static void tear_down(void)
{
    folder_remove();
}

/* ---- formats ---- */

static void expect_format(const char *path, enum block_format given, enum block_format format)
{
    struct block_node *node = open_ok(path, given, false);

    ck_assert_int_eq(node_format(node), format);
    close_ok(node);
}

/* A guest can write a qcow2 header that names any file of the host to its raw disk. */
START_TEST(contents_alone_never_make_a_file_qcow2)
{
    const char *path = folder_path("raw.img"), *named = folder_path("disk.qcow2");

    close_ok(open_ok(path, BLOCK_FORMAT_AUTO, true));
    command_ok("qemu-img create -f qcow2 -b /etc/passwd -F raw %s 1M", named);
    command_ok("cp %s %s", named, path);
    open_refused(path, BLOCK_FORMAT_AUTO, true, "format=qcow2 or format=raw");
    expect_format(path, BLOCK_FORMAT_RAW, BLOCK_FORMAT_RAW);
    expect_format(named, BLOCK_FORMAT_AUTO, BLOCK_FORMAT_QCOW2);
    file_write(folder_path("other.QCOW2"), disk, 4096);
    open_refused(folder_path("other.QCOW2"), BLOCK_FORMAT_AUTO, true, "is no qcow2 image");
    open_refused(folder_path("other.QCOW2"), BLOCK_FORMAT_QCOW2, true, "is no qcow2 image");
}
END_TEST

/* Nor may a guest's disk become a chain when an image above it does not record what it is. */
START_TEST(backing_file_without_a_recorded_format_is_not_guessed)
{
    const char *top = folder_path("top.qcow2");

    command_ok("cd %s && qemu-img create -f qcow2 base.qcow2 1M && cp base.qcow2 base.img && "
               "qemu-img create -f qcow2 -u -b base.img -F qcow2 top.qcow2 1M",
               folder_path("."));
    file_patch(top, 112, "none", 4); /* the extension that records it is another one now */
    open_refused(top, BLOCK_FORMAT_QCOW2, true, "format=qcow2 or format=raw");
    command_ok("cd %s && qemu-img rebase -u -b base.img -F qcow2 top.qcow2", folder_path("."));
    close_ok(open_ok(top, BLOCK_FORMAT_QCOW2, true));
    command_ok("cd %s && qemu-img rebase -u -b nbd://localhost -F raw top.qcow2", folder_path("."));
    open_refused(top, BLOCK_FORMAT_QCOW2, true, "only files are supported");
    command_ok("cd %s && qemu-img rebase -u -b base.img -F vmdk top.qcow2", folder_path("."));
    open_refused(top, BLOCK_FORMAT_QCOW2, true, "vmdk");
}
END_TEST

START_TEST(chains_are_bounded_and_loops_refused)
{
    command_ok("cd %s && qemu-img create -f qcow2 a.qcow2 1M && "
               "qemu-img create -f qcow2 -b a.qcow2 -F qcow2 b.qcow2 && "
               "qemu-img rebase -u -b b.qcow2 -F qcow2 a.qcow2",
               folder_path("."));
    open_refused(folder_path("b.qcow2"), BLOCK_FORMAT_QCOW2, false, "is its own backing file");
    command_ok("cd %s && qemu-img create -f qcow2 c0.qcow2 1M && for i in $(seq 1 33); do "
               "qemu-img create -f qcow2 -u -b c$((i - 1)).qcow2 -F qcow2 c$i.qcow2 1M; done",
               folder_path("."));
    close_ok(open_ok(folder_path("c31.qcow2"), BLOCK_FORMAT_QCOW2, true));
    open_refused(folder_path("c32.qcow2"), BLOCK_FORMAT_QCOW2, true, "too many backing files");
    command_ok("rm %s", folder_path("c3.qcow2"));
    open_refused(folder_path("c10.qcow2"), BLOCK_FORMAT_QCOW2, true, "c3.qcow2: No such file");
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
    open_refused(folder_path("."), BLOCK_FORMAT_RAW, false, "is not a regular file");
    ck_assert_int_eq(mkfifo(folder_path("fifo"), 0600), 0);
    open_refused(folder_path("fifo"), BLOCK_FORMAT_RAW, false, "is not a regular file");
    open_refused("/dev/null", BLOCK_FORMAT_RAW, true, "is not a regular file");
    open_refused(folder_path("none"), BLOCK_FORMAT_RAW, true, "No such file");
}
END_TEST

/* ---- what QEMU's tools make ---- */

static const char *const qemu_options[] = {
    "-f raw -O qcow2",
    "-f raw -O qcow2 -c",
    "-f raw -O qcow2 -c -o compression_type=zstd",
    "-f raw -O qcow2 -c -o cluster_size=512",
    "-f raw -O qcow2 -c -o cluster_size=2M",
    "-f raw -O qcow2 -o compat=0.10",
    "-f raw -O qcow2 -o lazy_refcounts=on,refcount_bits=1",
    "-f raw -O qcow2 -o preallocation=full",
};

START_TEST(images_of_qemu_img_read_and_written)
{
    const char *path = folder_path("disk.qcow2");
    struct block_node *node;

    command_ok("qemu-img convert %s %s %s", qemu_options[_i], folder_path("raw.img"), path);
    expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
    node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    for (unsigned at = 1000; at + 3000 < DISK_BYTES; at += 50000) {
        memset(disk + at, 0x99, 3000);
        ck_assert_int_eq(node_write(node, disk + at, 3000, at), 0);
    }
    close_ok(node);
    expect_clean(path);
    expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
}
END_TEST

/* ---- damage ---- */

static void be_patch(const char *path, uint64_t at, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];

    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    file_patch(path, at, raw, bytes);
}

/* Header fields that are refused, and what the message says. */
static const struct {
    uint64_t at, value;
    unsigned bytes;
    const char *text;
} wrong[] = {
    {4, 4, 4, "version 4"},
    {20, 8, 4, "clusters of 2^8"},
    {20, 22, 4, "clusters of 2^22"},
    {24, UINT64_MAX, 8, "too large"},
    {24, UINT64_C(1) << 50, 8, "L1 table is too small"},
    {32, 1, 4, "encrypted"},
    {32, 2, 4, "encrypted"},
    {36, UINT32_MAX, 4, "L1 table is too large"},
    {40, 0x30001, 8, "L1 table lies at 0x30001"},
    {40, 0, 8, "L1 table lies at 0x0"},
    {40, 0x10000, 8, "overlap"},
    {40, UINT64_C(1) << 40, 8, "cut off"},
    {48, 0x18000, 8, "reference count table lies"},
    {48, UINT64_C(1) << 41, 8, "cut off"},
    {56, 0, 4, "no reference counts"},
    {56, UINT32_MAX, 4, "reference count table is too large"},
    {60, UINT32_MAX, 4, "snapshots are too many"},
    {72, 4, 8, "external file"},
    {72, 16, 8, "extended L2"},
    {72, UINT64_C(1) << 40, 8, "bit 40"},
    {72, 8, 8, "how it is compressed"},
    {72, 2, 8, "marked as damaged"},
    {96, 7, 4, "2^7 bits"},
    {100, 100, 4, "header of 100 bytes"},
    {100, 109, 4, "header of 109 bytes"},
    {8, 1 << 20, 8, "does not lie in the header"},
    {112, 0x6803f857, 4, NULL}, /* a table of names that is there already: harmless */
};

START_TEST(wrong_headers_are_refused_by_name)
{
    const char *path = folder_path("disk.qcow2");

    command_ok("qemu-img create -f qcow2 %s 1M", path);
    be_patch(path, wrong[_i].at, wrong[_i].value, wrong[_i].bytes);
    if (wrong[_i].at == 8)
        be_patch(path, 16, 100, 4);
    if (wrong[_i].text)
        open_refused(path, BLOCK_FORMAT_QCOW2, true, wrong[_i].text);
    else
        close_ok(open_ok(path, BLOCK_FORMAT_QCOW2, true));
}
END_TEST

START_TEST(unknown_feature_is_called_what_the_image_calls_it)
{
    const char *path = folder_path("disk.qcow2");

    command_ok("qemu-img create -f qcow2 %s 1M", path);
    file_patch(path, 112 + 8 + 2, "time travel", 12); /* the first row of the table of names, now of bit 50 */
    file_patch(path, 112 + 8 + 1, "\x32", 1);
    be_patch(path, 72, UINT64_C(1) << 50, 8);
    open_refused(path, BLOCK_FORMAT_QCOW2, false, "time travel");
}
END_TEST

/* Tables that point where they must not: reading and writing fail, nothing else happens, and the image says so. */
START_TEST(wrong_tables_are_errors_and_stop_writing)
{
    static const uint64_t entries[] = {0x123, 0x10000, 0x30000, 0x8000000000000200, 0x8000000000010000};
    const char *path = folder_path("disk.qcow2");
    static uint8_t bytes[4096];
    struct block_node *node;
    uint64_t l1;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(entries); i++) {
        command_ok("rm -f %s; qemu-img create -f qcow2 %s 1M && qemu-io -f qcow2 -c 'write 0 64k' %s", path, path,
                   path);
        node = open_ok(path, BLOCK_FORMAT_QCOW2, false);
        ck_assert_int_eq(host_file_read(node_file(node), &l1, 8, 0x30000), 0);
        close_ok(node);
        be_patch(path, __builtin_bswap64(l1) & 0xffffffffffff, entries[i], 8);
        node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
        if (entries[i] == 0x123) { /* bit 0: zeroes; reserved bits are not looked at */
            ck_assert_int_eq(node_read(node, bytes, sizeof(bytes), 0), 0);
            close_ok(node);
            continue;
        }
        ck_assert_int_eq(node_write(node, bytes, sizeof(bytes), 0), -EIO);
        ck_assert_int_eq(node_read(node, bytes, sizeof(bytes), 0), -EIO);
        ck_assert_int_eq(node_write(node, bytes, sizeof(bytes), 512 << 10), -EIO); /* nothing at all any more */
        (void)node_close(node);
        open_refused(path, BLOCK_FORMAT_QCOW2, true, "marked as damaged");
    }
}
END_TEST

/* ---- check and repair ---- */

static struct node_check check(const char *path, bool repair)
{
    const struct node_options options = {
        .format = BLOCK_FORMAT_QCOW2, .check_only = true, .no_backing = true, .may_repair = repair};
    struct block_node *node = NULL;
    struct node_check found;
    struct error err = {{0}};

    if (node_open(path, &options, &node, &err) || node_check(node, repair, NULL, &found, &err))
        ck_abort_msg("%s", err.text);
    close_ok(node);
    return found;
}

START_TEST(check_finds_what_is_wrong_and_repairs_it)
{
    const char *path = folder_path("disk.qcow2");
    struct node_check found;

    command_ok("qemu-img convert -f raw -O qcow2 %s %s", folder_path("raw.img"), path);
    expect_clean(path);
    be_patch(path, 0x20000 + 2 * 6, 0, 2);  /* a cluster in use is free */
    be_patch(path, 0x20000 + 2 * 7, 3, 2);  /* one has a reference too many */
    be_patch(path, 0x20000 + 2 * 90, 1, 2); /* one nobody uses */
    found = check(path, false);
    ck_assert_uint_ge(found.corruptions, 1);
    ck_assert_uint_eq(found.leaks, 2);
    found = check(path, true);
    ck_assert_uint_eq(found.corruptions, found.corruptions_fixed);
    ck_assert_uint_eq(found.leaks_fixed, 2);
    expect_clean(path);
    expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
    be_patch(path, 0x10000, 0, 8); /* all counts are gone */
    found = check(path, true);
    ck_assert_uint_gt(found.corruptions, 10);
    ck_assert_uint_eq(found.corruptions, found.corruptions_fixed);
    expect_clean(path);
    expect_contents(path, BLOCK_FORMAT_QCOW2, disk, DISK_BYTES);
}
END_TEST

/* Bitmaps are not kept up to date: the bit that says they are goes, and what is theirs stays theirs. */
START_TEST(bitmaps_are_marked_stale_and_keep_their_place)
{
    const char *path = folder_path("disk.qcow2");
    struct block_node *node;

    command_ok("qemu-img create -f qcow2 %s 1M && qemu-img bitmap --add %s b0 && qemu-io -f qcow2 -c 'write 0 256k' %s",
               path, path, path);
    node = open_ok(path, BLOCK_FORMAT_QCOW2, true);
    ck_assert_int_eq(node_write(node, disk, 4096, 300000), 0);
    close_ok(node);
    ck_assert_uint_eq(check(path, false).leaks, 0);
    ck_assert_int_ne(command_run("qemu-img info %s | grep -q 'name: b0'", path), 2);
    ck_assert_int_ne(command_run("qemu-img check %s", path), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("block_formats");
    TCase *tcase = tcase_create("formats");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, contents_alone_never_make_a_file_qcow2);
    tcase_add_test(tcase, backing_file_without_a_recorded_format_is_not_guessed);
    tcase_add_test(tcase, chains_are_bounded_and_loops_refused);
    tcase_add_test(tcase, what_is_no_file_is_refused);
    tcase_add_loop_test(tcase, images_of_qemu_img_read_and_written, 0, (int)TUFF_ARRAY_LEN(qemu_options));
    tcase_add_loop_test(tcase, wrong_headers_are_refused_by_name, 0, (int)TUFF_ARRAY_LEN(wrong));
    tcase_add_test(tcase, unknown_feature_is_called_what_the_image_calls_it);
    tcase_add_test(tcase, wrong_tables_are_errors_and_stop_writing);
    tcase_add_test(tcase, check_finds_what_is_wrong_and_repairs_it);
    tcase_add_test(tcase, bitmaps_are_marked_stale_and_keep_their_place);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
