/* Kernels and initial RAM disks out of disks that e2fsprogs' mke2fs made, and out of damaged ones. */
#include "block_test.h"
#include "bootdisk/bootdisk.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KERNEL_BYTES = 3000001, INITRD_BYTES = 70000, PARTITION_OFFSET = 1 << 20 };

static uint8_t kernel[KERNEL_BYTES], initrd[INITRD_BYTES];

/* root/ is what file systems are made of: as Debian has it, with links in / to files in /boot. */
static void set_up(void)
{
    uint64_t seed = 5;

    folder_make();
    random_fill(&seed, kernel, sizeof(kernel));
    random_fill(&seed, initrd, sizeof(initrd));
    command_ok("mkdir -p %s/boot %s/etc", folder_path("root"), folder_path("root"));
    file_write(folder_path("root/boot/vmlinux-1"), kernel, sizeof(kernel));
    file_write(folder_path("root/boot/initrd.img-1"), initrd, sizeof(initrd));
    command_ok("ln -s boot/vmlinux-1 %s; ln -s /boot/initrd.img-1 %s", folder_path("root/vmlinuz"),
               folder_path("root/initrd.img"));
}

static void tear_down(void)
{
    folder_remove();
}

/* A file system of root/; `options` are mke2fs's. */
static const char *make_fs(const char *name, const char *options)
{
    const char *path = folder_path(name);

    command_ok("rm -f %s; PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F %s -d %s %s 16M", path, options, folder_path("root"),
               path);
    return path;
}

static void expect_bytes(int fd, const uint8_t *bytes, size_t len)
{
    struct stat st;
    uint8_t *got = malloc(len);

    ck_assert_ptr_nonnull(got);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, len);
    ck_assert_int_eq(pread(fd, got, len, 0), (ssize_t)len);
    ck_assert_mem_eq(got, bytes, len);
    free(got);
}

/* Both files, from there. */
static void expect_found(const char *path, const char *name, unsigned partition)
{
    struct bootdisk disk;
    struct error err = {""};

    ck_assert_msg(bootdisk_read(path, BLOCK_FORMAT_AUTO, &disk, &err) == 0, "%s", err.text);
    ck_assert_str_eq(disk.kernel, name);
    ck_assert_uint_eq(disk.partition, partition);
    expect_bytes(disk.kernel_fd, kernel, sizeof(kernel));
    expect_bytes(disk.initrd_fd, initrd, sizeof(initrd));
    bootdisk_close(&disk);
}

static void expect_refused(const char *path, int rc, const char *text)
{
    struct bootdisk disk;
    struct error err = {""};

    ck_assert_int_eq(bootdisk_read(path, BLOCK_FORMAT_AUTO, &disk, &err), rc);
    ck_assert_msg(strstr(err.text, text) && strstr(err.text, path), "'%s' does not say '%s'", err.text, text);
    ck_assert_int_lt(disk.kernel_fd, 0);
}

/* ---- found ---- */

START_TEST(every_ext_file_system_is_read)
{
    static const char *const options[] = {"-t ext4", "-t ext4 -b 1024", "-t ext4 -O ^64bit,^metadata_csum",
                                          "-t ext3", "-t ext2 -b 1024", "-t ext4 -O inline_data,bigalloc"};

    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        expect_found(make_fs("fs.img", options[i]), "/vmlinuz", 0);
}
END_TEST

START_TEST(qcow2_images_are_read_with_what_lies_under_them)
{
    make_fs("fs.img", "-t ext4");
    command_ok("qemu-img create -q -f qcow2 -b fs.img -F raw %s", folder_path("over.qcow2"));
    expect_found(folder_path("over.qcow2"), "/vmlinuz", 0);
}
END_TEST

START_TEST(kernels_in_boot_are_found_too)
{
    command_ok("cd %s && rm vmlinuz initrd.img && cd boot && mv vmlinux-1 Image && mv initrd.img-1 initrd.img",
               folder_path("root"));
    expect_found(make_fs("fs.img", "-t ext4"), "/boot/Image", 0);
}
END_TEST

START_TEST(without_an_initrd_the_kernel_stands_alone)
{
    struct bootdisk disk;
    struct error err;

    command_ok("rm %s", folder_path("root/initrd.img"));
    ck_assert_int_eq(bootdisk_read(make_fs("fs.img", "-t ext4"), BLOCK_FORMAT_AUTO, &disk, &err), 0);
    ck_assert_int_eq(disk.initrd_fd, -1);
    expect_bytes(disk.kernel_fd, kernel, sizeof(kernel));
    bootdisk_close(&disk);
}
END_TEST

/* A partition table with `fs` as partition 3, behind one of random bytes; entries of 256 bytes. */
static const char *make_gpt(const char *fs)
{
    static uint8_t table[PARTITION_OFFSET];
    const char *path = folder_path("gpt.img");
    const uint32_t entry_bytes = 256, count = 4;
    const uint64_t entries_lba = 5, first[] = {64, 2048}, last[] = {127, 2048 + (16 << 11) - 1};
    uint64_t seed = 3;

    memset(table, 0, sizeof(table));
    memcpy(table + 512, "EFI PART", 8);
    memcpy(table + 512 + 72, &entries_lba, 8);
    memcpy(table + 512 + 80, &count, 4);
    memcpy(table + 512 + 84, &entry_bytes, 4);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *entry = table + 512 * entries_lba + 2 * i * entry_bytes;
        memset(entry, 0x55, 32);
        memcpy(entry + 32, &first[i], 8);
        memcpy(entry + 40, &last[i], 8);
    }
    random_fill(&seed, table + 64 * 512, 64 * 512);
    file_write(path, table, sizeof(table));
    command_ok("cat %s >>%s; head -c 1048576 /dev/zero >>%s", fs, path, path);
    return path;
}

START_TEST(partition_with_a_kernel_is_found)
{
    const char *path = make_gpt(make_fs("fs.img", "-t ext4"));
    const uint32_t far = UINT32_MAX;
    const uint64_t lba = 1ull << 55;

    expect_found(path, "/vmlinuz", 3);
    /* More entries than are looked at; entries, and partitions, beyond the disk's end. */
    file_patch(path, 512 + 80, &far, 4);
    expect_found(path, "/vmlinuz", 3);
    file_patch(path, 512 * 5 + 2 * 256 + 40, &lba, 8);
    expect_refused(path, -EINVAL, "no ext2, ext3 or ext4");
    file_patch(path, 512 + 72, &lba, 8);
    expect_refused(path, -EINVAL, "no ext2, ext3 or ext4");
}
END_TEST

/* ---- refused ---- */

START_TEST(disks_without_a_kernel_are_refused)
{
    file_write(folder_path("random.img"), kernel, 1 << 20);
    expect_refused(folder_path("random.img"), -EINVAL, "no ext2, ext3 or ext4");
    file_write(folder_path("short.img"), kernel, 100);
    expect_refused(folder_path("short.img"), -EINVAL, "no ext2, ext3 or ext4");
    expect_refused(folder_path("absent.img"), -ENOENT, "absent.img");
    command_ok("rm %s", folder_path("root/vmlinuz"));
    expect_refused(make_fs("fs.img", "-t ext4"), -ENOENT, "has no kernel");
    expect_refused(make_gpt(folder_path("fs.img")), -ENOENT, "has no kernel");
}
END_TEST

/* Links stay inside of the image, circles end, and directories and devices are no kernels. */
START_TEST(links_lead_nowhere_else)
{
    static const char *const targets[] = {"vmlinuz", "../../../../../../../../etc/passwd", "/etc/passwd", "boot",
                                          "none"};

    for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
        command_ok("ln -sfn %s %s", targets[i], folder_path("root/vmlinuz"));
        expect_refused(make_fs("fs.img", "-t ext4"), -ENOENT, "has no kernel");
    }
    command_ok("rm %s; : >%s", folder_path("root/vmlinuz"), folder_path("root/vmlinuz"));
    expect_refused(make_fs("fs.img", "-t ext4"), -EFBIG, "is empty");
    command_ok("truncate -s 300M %s", folder_path("root/vmlinuz"));
    expect_refused(make_fs("fs.img", "-t ext4"), -EFBIG, "more than 256 MiB");
}
END_TEST

/* Bytes of the first MiB, where the metadata is, are changed: what is found is there or is refused with a sentence.
 */
START_TEST(damage_is_survived)
{
    unsigned rounds = getenv("TUFF_TEST_LONG") ? 3000 : 150, refused = 0;
    uint64_t state = 99;

    make_fs("whole.img", "-t ext4 -b 1024 -O ^metadata_csum");
    for (unsigned i = 0; i < rounds; i++) {
        const char *path = folder_path("fs.img");
        struct bootdisk disk;
        struct error err = {""};

        command_ok("cp --sparse=always %s %s", folder_path("whole.img"), path);
        for (unsigned changes = 0; changes < (i % 2 ? 1000 : 40); changes++) {
            uint64_t word = random_next(&state), offset = random_next(&state);
            file_patch(path, offset % (i % 2 ? 1 << 20 : 64 << 10), &word, 1 + word % 8);
        }
        if (bootdisk_read(path, BLOCK_FORMAT_AUTO, &disk, &err)) {
            ck_assert_str_ne(err.text, "");
            refused++;
        }
        bootdisk_close(&disk);
    }
    ck_assert_uint_gt(refused, rounds / 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bootdisk");
    TCase *found = tcase_create("found"), *refused = tcase_create("refused");

    tcase_add_checked_fixture(found, set_up, tear_down);
    tcase_set_timeout(found, 120);
    tcase_add_test(found, every_ext_file_system_is_read);
    tcase_add_test(found, qcow2_images_are_read_with_what_lies_under_them);
    tcase_add_test(found, kernels_in_boot_are_found_too);
    tcase_add_test(found, without_an_initrd_the_kernel_stands_alone);
    tcase_add_test(found, partition_with_a_kernel_is_found);
    suite_add_tcase(suite, found);
    tcase_add_checked_fixture(refused, set_up, tear_down);
    tcase_set_timeout(refused, 600);
    tcase_add_test(refused, disks_without_a_kernel_are_refused);
    tcase_add_test(refused, links_lead_nowhere_else);
    tcase_add_test(refused, damage_is_survived);
    suite_add_tcase(suite, refused);
    return run_suite(suite);
}
