/* What a machine with firmware is loaded with: the firmware, its payload, files at addresses, and what firmware is told
 * in a2. */
#include "machine/firmware.h"
#include "machine/loader.h"
#include "test_boot.h"

#include <errno.h>

#define GAP 0x200000ull /* payloads begin at a multiple of this */

static struct boot_image firmware, payload;
static const uint8_t flat[] = {0x13, 0, 0, 0, 0x73, 0x00, 0x50, 0x10};

static void expect_bytes(uint64_t gpa, const void *bytes, size_t len)
{
    ck_assert_ptr_nonnull(mem_ram_ptr(test_mem, gpa, len));
    ck_assert_mem_eq(mem_ram_ptr(test_mem, gpa, len), bytes, len);
}

START_TEST(firmware_flat_goes_to_the_start_of_ram)
{
    ck_assert_int_eq(loader_load_firmware(test_mem, test_write_file(flat, sizeof(flat)), &firmware, &test_err), 0);
    ck_assert_int_eq(firmware.kind, BOOT_IMAGE_FLAT);
    ck_assert_uint_eq(firmware.entry, TEST_RAM_GPA);
    ck_assert_uint_eq(firmware.start, TEST_RAM_GPA);
    ck_assert_uint_eq(firmware.end, TEST_RAM_GPA + sizeof(flat));
    expect_bytes(TEST_RAM_GPA, flat, sizeof(flat));
}
END_TEST

START_TEST(firmware_elf_goes_where_it_was_linked)
{
    ck_assert_int_eq(loader_load_firmware(test_mem, TEST_BOOT_BARE_ELF, &firmware, &test_err), 0);
    ck_assert_int_eq(firmware.kind, BOOT_IMAGE_ELF);
    ck_assert_uint_eq(firmware.entry, TEST_RAM_GPA);
}
END_TEST

START_TEST(firmware_that_is_none_is_refused)
{
    uint8_t image[64] = {0};

    static const uint8_t magic[] = {'R', 'S', 'C', 5};

    memcpy(image + 56, magic, sizeof(magic));
    ck_assert_int_eq(loader_load_firmware(test_mem, test_write_file(image, sizeof(image)), &firmware, &test_err),
                     -ENOEXEC);
    ck_error_says(&test_err, "--kernel");
    ck_assert_int_eq(loader_load_firmware(test_mem, test_write_file("", 0), &firmware, &test_err), -ENODATA);
    ck_error_says(&test_err, "firmware");
    test_write_file("x", 1);
    ck_assert_int_eq(truncate(test_path, (off_t)TEST_RAM_BYTES + 1), 0);
    ck_assert_int_eq(loader_load_firmware(test_mem, test_path, &firmware, &test_err), -EFBIG);
    ck_assert_int_eq(loader_load_firmware(test_mem, test_dir, &firmware, &test_err), -EISDIR);
}
END_TEST

static int load_payload(const void *bytes, size_t len, uint64_t firmware_bytes)
{
    firmware = (struct boot_image){.start = TEST_RAM_GPA, .end = TEST_RAM_GPA + firmware_bytes};
    return loader_load_payload(test_mem, test_write_file(bytes, len), &firmware, &payload, &test_err);
}

START_TEST(payload_flat_goes_behind_the_firmware)
{
    ck_assert_int_eq(load_payload(flat, sizeof(flat), 1), 0);
    ck_assert_uint_eq(payload.entry, TEST_RAM_GPA + GAP);
    ck_assert_uint_eq(payload.end, payload.entry + sizeof(flat));
    expect_bytes(payload.entry, flat, sizeof(flat));
    ck_assert_int_eq(load_payload(flat, sizeof(flat), GAP), 0);
    ck_assert_uint_eq(payload.entry, TEST_RAM_GPA + GAP);
    ck_assert_int_eq(load_payload(flat, sizeof(flat), GAP + 1), 0);
    ck_assert_uint_eq(payload.entry, TEST_RAM_GPA + 2 * GAP);
}
END_TEST

START_TEST(payload_that_does_not_fit_is_refused)
{
    ck_assert_int_eq(load_payload(flat, sizeof(flat), TEST_RAM_BYTES), -EFBIG);
    ck_error_says(&test_err, test_path);
    ck_assert_int_eq(load_payload(flat, sizeof(flat), TEST_RAM_BYTES - GAP + 1), -EFBIG);
    ck_assert_int_eq(load_payload(flat, sizeof(flat), TEST_RAM_BYTES - GAP), 0);
}
END_TEST

START_TEST(payload_of_a_known_foreign_kind_is_refused)
{
    ck_assert_int_eq(load_payload("BZh91AY&SY", 10, 4096), -ENOEXEC);
    ck_error_says(&test_err, "bzip2");
}
END_TEST

START_TEST(payload_over_the_firmware_is_refused)
{
    firmware = (struct boot_image){.start = TEST_RAM_GPA, .end = TEST_RAM_GPA + 0x1000};
    ck_assert_int_eq(loader_load_payload(test_mem, TEST_BOOT_BARE_ELF, &firmware, &payload, &test_err), -EFBIG);
    ck_error_says(&test_err, "where the firmware is");
}
END_TEST

/* `format` has one %s, the file's path. */
static int load_files(const char *format, const struct boot_range *taken, size_t count)
{
    char list[1024];

    test_write_file(flat, sizeof(flat));
    snprintf(list, sizeof(list), format, test_path, test_path);
    return loader_load_files(test_mem, list, taken, count, &test_err);
}

START_TEST(files_are_copied_to_their_addresses)
{
    ck_assert_int_eq(load_files("%s@0x80000100,%s@2147484160", NULL, 0), 0);
    expect_bytes(0x80000100, flat, sizeof(flat));
    expect_bytes(2147484160, flat, sizeof(flat));
}
END_TEST

START_TEST(files_may_touch_neither_each_other_nor_what_is_there)
{
    static const struct boot_range taken[] = {{0, 0}, {0x80001000, 0x80001001}};

    ck_assert_int_eq(load_files("%s@0x80000100,%s@0x80000107", NULL, 0), -EEXIST);
    ck_error_says(&test_err, test_path);
    ck_assert_int_eq(load_files("%s@0x80000100,%s@0x80000108", NULL, 0), 0);
    ck_assert_int_eq(load_files("%s@0x80001000", taken, 2), -EEXIST);
    ck_assert_int_eq(load_files("%s@0x80000ff9", taken, 2), -EEXIST);
    ck_assert_int_eq(load_files("%s@0x80000ff8", taken, 2), 0);
    ck_assert_int_eq(load_files("%s@0x80001001", taken, 2), 0);
}
END_TEST

static const char *const bad_places[] = {"",
                                         "%s",
                                         "%s@",
                                         "@0x80000000",
                                         "%s@x",
                                         "%s@-1",
                                         "%s@0x80000000g",
                                         "%s@0x",
                                         "%s@ 0x80000000",
                                         "%s@99999999999999999999"};

START_TEST(files_without_an_address_are_refused)
{
    ck_assert_int_eq(load_files(bad_places[_i], NULL, 0), -EINVAL);
    ck_error_says(&test_err, "--load");
}
END_TEST

START_TEST(files_outside_ram_are_refused)
{
    ck_assert_int_eq(load_files("%s@0x7ffffff8", NULL, 0), -EFBIG);
    ck_assert_int_eq(load_files("%s@0x80fffff9", NULL, 0), -EFBIG);
    ck_assert_int_eq(load_files("%s@0x80fffff8", NULL, 0), 0);
    ck_assert_int_eq(load_files("%s@0xfffffffffffffffc", NULL, 0), -EFBIG);
    ck_assert_int_eq(load_files("%s.missing@0x80000000", NULL, 0), -ENOENT);
}
END_TEST

START_TEST(files_have_a_limit)
{
    char list[4096] = "";

    test_write_file(flat, sizeof(flat));
    for (int i = 0; i < 17; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s@%u", i ? "," : "", test_path,
                 0x80000000u + 8 * (unsigned)i);
    ck_assert_int_eq(loader_load_files(test_mem, list, NULL, 0, &test_err), -EINVAL);
    ck_error_says(&test_err, "16");
    *strrchr(list, ',') = '\0';
    ck_assert_int_eq(loader_load_files(test_mem, list, NULL, 0, &test_err), 0);
}
END_TEST

/* OpenSBI, include/sbi/fw_dynamic.h: magic, version, next_addr, next_mode, options, boot_hart; unsigned longs. */
START_TEST(info_is_opensbis_structure)
{
    static const uint8_t expected[FIRMWARE_INFO_BYTES] = {
        'O', 'S', 'B', 'I', [8] = 2, [16] = 0, 0, 0x20, 0x80, [24] = 1};
    uint8_t info[FIRMWARE_INFO_BYTES];

    memset(info, 0xff, sizeof(info));
    firmware_info_write(info, 0x80200000);
    ck_assert_mem_eq(info, expected, sizeof(info));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_firmware");
    TCase *firmware_case = tcase_create("firmware"), *files = tcase_create("files");

    tcase_add_checked_fixture(firmware_case, test_setup, test_teardown);
    tcase_add_test(firmware_case, firmware_flat_goes_to_the_start_of_ram);
    tcase_add_test(firmware_case, firmware_elf_goes_where_it_was_linked);
    tcase_add_test(firmware_case, firmware_that_is_none_is_refused);
    tcase_add_test(firmware_case, payload_flat_goes_behind_the_firmware);
    tcase_add_test(firmware_case, payload_that_does_not_fit_is_refused);
    tcase_add_test(firmware_case, payload_of_a_known_foreign_kind_is_refused);
    tcase_add_test(firmware_case, payload_over_the_firmware_is_refused);
    tcase_add_test(firmware_case, info_is_opensbis_structure);
    suite_add_tcase(suite, firmware_case);
    tcase_add_checked_fixture(files, test_setup, test_teardown);
    tcase_add_test(files, files_are_copied_to_their_addresses);
    tcase_add_test(files, files_may_touch_neither_each_other_nor_what_is_there);
    tcase_add_loop_test(files, files_without_an_address_are_refused, 0, TUFF_ARRAY_LEN(bad_places));
    tcase_add_test(files, files_outside_ram_are_refused);
    tcase_add_test(files, files_have_a_limit);
    suite_add_tcase(suite, files);
    return run_suite(suite);
}
