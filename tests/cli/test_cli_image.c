/* tuff image and --disk: what they make, say and refuse. */
#include "files.h"
#include "process.h"
#include "run_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_up(void)
{
    files_make_folder();
}

static void tear_down(void)
{
    files_remove_all();
}

/* Runs and expects the exit code; standard output stays in `out`. */
static char out[4096];

static void run(const char *const *argv, int wanted)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);

    ck_assert_msg(code == wanted, "exit code %d: %s", code, process->err_text);
    (void)snprintf(out, sizeof(out), "%s", process->out_text);
    process_free(process);
}

START_TEST(images_are_made_described_converted_and_checked)
{
    const char *image = files_path("disk.qcow2"), *raw = files_path("disk.img"), *top = files_path("top.qcow2");
    char *bytes = calloc(1, 300000), *back;
    size_t len;

    ck_assert_ptr_nonnull(bytes);
    memset(bytes + 100000, 'x', 50000);
    (void)files_write("data.img", bytes, 300000);
    run(PROCESS_ARGV("image", "convert", "--cluster-size=4K", files_path("data.img"), image), 0);
    run(PROCESS_ARGV("image", "info", image), 0);
    ck_assert_ptr_nonnull(strstr(out, "format:        qcow2"));
    ck_assert_ptr_nonnull(strstr(out, "virtual size:  300032 bytes"));
    ck_assert_ptr_nonnull(strstr(out, "cluster size:  4096 bytes"));
    run(PROCESS_ARGV("image", "check", image), 0);
    ck_assert_ptr_nonnull(strstr(out, "13 of 74 clusters in use"));
    run(PROCESS_ARGV("image", "create", "--backing=disk.qcow2", top), 0);
    run(PROCESS_ARGV("image", "info", top), 0);
    ck_assert_ptr_nonnull(strstr(out, "backing file:  disk.qcow2, qcow2"));
    run(PROCESS_ARGV("image", "convert", "--format=raw", top, raw), 0);
    back = files_read(raw, &len);
    ck_assert_uint_eq(len, 300032);
    ck_assert_mem_eq(back, bytes, 300000);
    free(back);
    free(bytes);
    run(PROCESS_ARGV("image", "info", raw), 0);
    ck_assert_ptr_nonnull(strstr(out, "format:        raw"));
}
END_TEST

START_TEST(wrong_uses_are_refused)
{
    const char *there = files_write("there.img", "x", 1), *image = files_path("new.qcow2");

    process_expect_refusal(PROCESS_ARGV("image"), "create, info, convert or check");
    process_expect_refusal(PROCESS_ARGV("image", "shrink"), "'shrink'");
    process_expect_refusal(PROCESS_ARGV("image", "create", image), "has no size");
    process_expect_refusal(PROCESS_ARGV("image", "create", image, "ten"), "'ten'");
    process_expect_refusal(PROCESS_ARGV("image", "create", there, "1M"), "is there already");
    process_expect_refusal(PROCESS_ARGV("image", "create", "--format=vmdk", image, "1M"), "'vmdk'");
    process_expect_refusal(PROCESS_ARGV("image", "create", "--cluster-size=1000", image, "1M"), "1000");
    process_expect_refusal(PROCESS_ARGV("image", "create", "--format=raw", "--qcow2-version=2", image, "1M"), "raw");
    process_expect_refusal(PROCESS_ARGV("image", "create", "--backing=none.img", image), "none.img");
    process_expect_refusal(PROCESS_ARGV("image", "info", files_path("none")), "No such file");
    process_expect_refusal(PROCESS_ARGV("image", "check", there), "no tables");
    process_expect_refusal(PROCESS_ARGV("image", "convert", files_path("none"), image), "No such file");
}
END_TEST

START_TEST(disks_of_the_command_line)
{
    char option[700];
    const char *disk = files_write("disk.img", "x", 1), *named = files_write("named.qcow2", "x", 1);
    static const struct {
        const char *rest, *what;
    } wrong[] = {{",queues=0", "--disk, 'queues=0'"},
                 {",queues=17", "1 to 16"},
                 {",serial=123456789012345678901", "20 characters"},
                 {",format=vdi", "raw, qcow2 or auto"},
                 {",iops=none", "operations a second"},
                 {",bps=0", "bytes a second"},
                 {",", "is no file"},
                 {",format=qcow2", "is no qcow2 image"},
                 {",snapshots", "--disk, snapshots: No such file"}};

    process_expect_refusal(PROCESS_ARGV("run", "--disk=readonly", files_demo), "give the file first");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void)snprintf(option, sizeof(option), "--disk=%s%s", disk, wrong[i].rest);
        process_expect_refusal(PROCESS_ARGV("run", option, files_demo), wrong[i].what);
    }
    (void)snprintf(option, sizeof(option), "--disk=%s", named);
    process_expect_refusal(PROCESS_ARGV("run", option, files_demo), "format=raw");
    (void)snprintf(option, sizeof(option), "--disk=%s,readonly,snapshot,serial=a,queues=2,iops=5,bps=1M", disk);
    run(PROCESS_ARGV("run", option, files_guest("pass")), 0);
    (void)snprintf(option, sizeof(option), "--disk=%s,readonly", disk);
    run(PROCESS_ARGV("run", option, option, files_guest("pass")), 0); /* twice the same, to read */
    (void)snprintf(option, sizeof(option), "--disk=%s", disk);
    process_expect_refusal(PROCESS_ARGV("run", option, option, files_demo), "is in use");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_image");
    TCase *tcase = tcase_create("image");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, images_are_made_described_converted_and_checked);
    tcase_add_test(tcase, wrong_uses_are_refused);
    tcase_add_test(tcase, disks_of_the_command_line);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
