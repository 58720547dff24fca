/* The loader on Images, gzip, zboot, initrds and device trees made here, whole ones and ones damaged in every field. */
#include "machine/loader.h"
#include "test_boot.h"

#include <endian.h>
#include <errno.h>
#include <libfdt.h>
#include <sys/stat.h>
#include <zlib.h>

enum { IMAGE_BYTES = 8192, PE_AT = 64, SECTIONS_AT = PE_AT + 24 + 16 };

static uint8_t image[IMAGE_BYTES];

static void put16(size_t at, uint16_t value)
{
    value = htole16(value);
    memcpy(image + at, &value, sizeof(value));
}

static void put32(size_t at, uint32_t value)
{
    value = htole32(value);
    memcpy(image + at, &value, sizeof(value));
}

static void put64(size_t at, uint64_t value)
{
    value = htole64(value);
    memcpy(image + at, &value, sizeof(value));
}

/* A flat Image: header and a recognisable body. */
static void make_image(void)
{
    for (size_t i = 0; i < IMAGE_BYTES; i++)
        image[i] = (uint8_t)(i * 7 + (i >> 8));
    put32(0, 0x0000006f);
    put32(4, 0);
    put64(8, 0x200000);
    put64(16, 3 * IMAGE_BYTES);
    put64(24, 0);
    put32(32, 2);
    put32(36, 0);
    put64(40, 0);
    put64(48, 0x5643534952); /* "RISCV" */
    put32(56, 0x05435352);   /* "RSC\x05" */
    put32(60, 0);
}

/* With an EFI stub: "MZ" and a PE header of two sections that end with the file. */
static void make_efi_image(void)
{
    make_image();
    put16(0, 0x5a4d); /* "MZ" */
    put32(60, PE_AT);
    put32(PE_AT, 0x4550); /* "PE" */
    put16(PE_AT + 4, 0x5064);
    put16(PE_AT + 6, 2);
    put16(PE_AT + 20, 16);
    put32(SECTIONS_AT + 16, 1024);
    put32(SECTIONS_AT + 20, 1024);
    put32(SECTIONS_AT + 40 + 16, IMAGE_BYTES - 2048);
    put32(SECTIONS_AT + 40 + 20, 2048);
}

static void setup(void)
{
    test_setup();
    make_image();
}

static int load(const void *bytes, size_t len, struct boot_image *out)
{
    memset(out, 0, sizeof(*out));
    return loader_load_kernel(test_mem, test_write_file(bytes, len), out, &test_err);
}

static void expect_loaded(const struct boot_image *out)
{
    uint8_t back[IMAGE_BYTES];

    ck_assert_int_eq(out->kind, BOOT_IMAGE_LINUX);
    ck_assert_uint_eq(out->entry, TEST_RAM_GPA + 0x200000);
    ck_assert_uint_eq(out->start, out->entry);
    ck_assert_uint_eq(out->end, out->start + 3 * IMAGE_BYTES);
    ck_assert_int_eq(mem_read(test_mem, out->start, back, sizeof(back)), 0);
    ck_assert_mem_eq(back, image, sizeof(back));
}

static void expect_refused(const void *bytes, size_t len, int rc, const char *says)
{
    static const uint8_t untouched[IMAGE_BYTES];
    struct boot_image out;

    ck_assert_int_eq(load(bytes, len, &out), rc);
    ck_error_says(&test_err, test_path);
    ck_error_says(&test_err, says);
    ck_assert_mem_eq(mem_ram_ptr(test_mem, TEST_RAM_GPA + 0x200000, IMAGE_BYTES), untouched, IMAGE_BYTES);
}

/* `wbits`: 16 + 15 writes a gzip header. Returns the length. */
static size_t gzip(const void *bytes, size_t len, uint8_t *out, size_t capacity)
{
    z_stream z = {
        .next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)capacity};

    ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t written = capacity - z.avail_out;
    deflateEnd(&z);
    return written;
}

START_TEST(image_flat_is_loaded_at_its_text_offset)
{
    struct boot_image out;

    ck_assert_msg(load(image, IMAGE_BYTES, &out) == 0, "%s", test_err.text);
    expect_loaded(&out);
    ck_assert(!out.has_tohost);
}
END_TEST

START_TEST(image_with_efi_stub_is_loaded)
{
    struct boot_image out;

    make_efi_image();
    ck_assert_msg(load(image, IMAGE_BYTES, &out) == 0, "%s", test_err.text);
    expect_loaded(&out);
}
END_TEST

START_TEST(image_with_either_magic_is_known)
{
    struct boot_image out;

    memset(image + 48, 0, 8);
    ck_assert_int_eq(load(image, IMAGE_BYTES, &out), 0);
    make_image();
    memset(image + 56, 0, 4);
    ck_assert_int_eq(load(image, IMAGE_BYTES, &out), 0);
}
END_TEST

START_TEST(image_without_magic_is_refused)
{
    memset(image + 48, 0, 8);
    memset(image + 56, 0, 4);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "not a riscv64 Linux Image");
}
END_TEST

START_TEST(image_longer_than_its_image_size_occupies_the_file)
{
    struct boot_image out;

    put64(16, 64);
    ck_assert_int_eq(load(image, IMAGE_BYTES, &out), 0);
    ck_assert_uint_eq(out.end, out.start + IMAGE_BYTES);
}
END_TEST

START_TEST(image_header_fields_are_checked)
{
    put64(16, 0);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "image_size 0");
    make_image();
    put64(24, 1);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "big-endian");
    make_image();
    put32(32, 1 << 16 | 3);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "version 1.3");
    make_image();
    put64(8, 0x201000);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "0x201000");
}
END_TEST

START_TEST(image_must_fit_ram)
{
    struct boot_image out;

    put64(16, TEST_RAM_BYTES - 0x200000);
    ck_assert_int_eq(load(image, IMAGE_BYTES, &out), 0);
    ck_assert_uint_eq(out.end, TEST_RAM_GPA + TEST_RAM_BYTES);
    memset(mem_ram_ptr(test_mem, TEST_RAM_GPA, TEST_RAM_BYTES), 0, TEST_RAM_BYTES);
    put64(16, TEST_RAM_BYTES - 0x200000 + 1);
    expect_refused(image, IMAGE_BYTES, -EFBIG, "--memory");
    put64(16, UINT64_MAX);
    expect_refused(image, IMAGE_BYTES, -EFBIG, "--memory");
    make_image();
    put64(8, UINT64_MAX - 0x1fffff);
    expect_refused(image, IMAGE_BYTES, -EFBIG, "--memory");
    put64(8, TEST_RAM_BYTES);
    expect_refused(image, IMAGE_BYTES, -EFBIG, "--memory");
}
END_TEST

START_TEST(image_with_efi_stub_tells_truncation)
{
    make_efi_image();
    expect_refused(image, IMAGE_BYTES - 1, -ENOEXEC, "truncated");
    expect_refused(image, SECTIONS_AT + 79, -ENOEXEC, "truncated");
    expect_refused(image, PE_AT + 23, -ENOEXEC, "truncated");
    put32(SECTIONS_AT + 40 + 16, UINT32_MAX);
    put32(SECTIONS_AT + 40 + 20, UINT32_MAX);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "8589934590");
    put32(60, UINT32_MAX);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "truncated");
}
END_TEST

START_TEST(image_with_damaged_or_foreign_pe_header_is_refused)
{
    make_efi_image();
    image[PE_AT] = 'Q';
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "PE header");
    make_efi_image();
    put16(PE_AT + 4, 0x8664);
    expect_refused(image, IMAGE_BYTES, -ENOEXEC, "0x8664");
}
END_TEST

START_TEST(image_shorter_than_its_header_is_refused)
{
    expect_refused(image, 63, -ENOEXEC, "63 bytes");
    expect_refused(image, 1, -ENOEXEC, "1 bytes");
}
END_TEST

START_TEST(foreign_files_are_named)
{
    static const struct {
        size_t at;
        const char *bytes;
        size_t len;
        const char *says;
    } cases[] = {
        {56, "ARM\x64", 4, "arm64"},
        {0x202, "HdrS", 4, "bzImage"},
        {0, "\x27\x05\x19\x56", 4, "uImage"},
        {0, "\xd0\x0d\xfe\xed", 4, "device tree"},
        {0, "\x28\xb5\x2f\xfd", 4, "zstd"},
        {0, "!<arch>\n", 8, "archive"},
        {0, "BZh9", 4, "bzip2"},
        {0, "\x02\x21\x4c\x18", 4, "lz4"},
    };
    for (size_t i = 0; i < TUFF_ARRAY_LEN(cases); i++) {
        uint8_t file[1024] = {0};
        memcpy(file + cases[i].at, cases[i].bytes, cases[i].len);
        expect_refused(file, sizeof(file), -ENOEXEC, cases[i].says);
    }
}
END_TEST

START_TEST(gzip_image_is_inflated)
{
    uint8_t packed[2 * IMAGE_BYTES];
    struct boot_image out;
    size_t len = gzip(image, IMAGE_BYTES, packed, sizeof(packed));

    ck_assert_msg(load(packed, len, &out) == 0, "%s", test_err.text);
    expect_loaded(&out);
}
END_TEST

START_TEST(gzip_members_and_padding_are_one_stream)
{
    uint8_t packed[3 * IMAGE_BYTES] = {0};
    struct boot_image out;
    size_t len = gzip(image, 100, packed, IMAGE_BYTES);

    len += gzip(image, 0, packed + len, IMAGE_BYTES);
    len += gzip(image + 100, IMAGE_BYTES - 100, packed + len, 2 * IMAGE_BYTES);
    ck_assert_msg(load(packed, len + 500, &out) == 0, "%s", test_err.text);
    expect_loaded(&out);
}
END_TEST

START_TEST(gzip_with_garbage_behind_is_refused)
{
    uint8_t packed[2 * IMAGE_BYTES] = {0};
    size_t len = gzip(image, IMAGE_BYTES, packed, sizeof(packed));

    packed[len + 3] = 1;
    expect_refused(packed, len + 10, -ENOEXEC, "10 bytes behind");
}
END_TEST

START_TEST(gzip_truncated_anywhere_is_refused)
{
    uint8_t packed[2 * IMAGE_BYTES];
    size_t len = gzip(image, IMAGE_BYTES, packed, sizeof(packed));

    for (size_t cut = 2; cut < len; cut += 1 + cut / 16)
        expect_refused(packed, cut, -ENOEXEC, "truncated");
    expect_refused(packed, len - 1, -ENOEXEC, "truncated");
}
END_TEST

START_TEST(gzip_with_flipped_bits_is_refused)
{
    uint8_t packed[2 * IMAGE_BYTES];
    size_t len = gzip(image, IMAGE_BYTES, packed, sizeof(packed));

    packed[len - 1] ^= 1; /* length */
    expect_refused(packed, len, -ENOEXEC, "damaged gzip data");
    packed[len - 1] ^= 1;
    packed[len - 5] ^= 0x80; /* check sum */
    expect_refused(packed, len, -ENOEXEC, "damaged gzip data");
    packed[len - 5] ^= 0x80;
    packed[2] = 9; /* method */
    expect_refused(packed, len, -ENOEXEC, "damaged gzip data");
}
END_TEST

START_TEST(gzip_bomb_stops_at_the_size_of_ram)
{
    size_t bomb_bytes = TEST_RAM_BYTES + 1, capacity = 1 << 20;
    uint8_t *zeros = calloc(1, bomb_bytes), *packed = malloc(capacity);

    size_t len = gzip(zeros, bomb_bytes, packed, capacity);
    expect_refused(packed, len, -EFBIG, "inflates to more");
    len = gzip(zeros, bomb_bytes - 1, packed, capacity); /* fits, and turns out to be nothing */
    expect_refused(packed, len, -ENOEXEC, "not a riscv64 Linux Image");
    free(zeros);
    free(packed);
}
END_TEST

static size_t make_zboot(uint8_t *file, size_t capacity, const char *type)
{
    memset(file, 0, capacity);
    memcpy(file, "MZ\0\0zimg", sizeof("MZ\0\0zimg"));
    strcpy((char *)file + 24, type);
    size_t len = gzip(image, IMAGE_BYTES, file + 512, capacity - 512);
    uint32_t offset = htole32(512), size = htole32((uint32_t)len);
    memcpy(file + 8, &offset, 4);
    memcpy(file + 12, &size, 4);
    return 512 + len;
}

START_TEST(zboot_with_gzip_is_unpacked)
{
    uint8_t file[3 * IMAGE_BYTES];
    struct boot_image out;
    size_t len = make_zboot(file, sizeof(file), "gzip");

    expect_refused(file, len - 1, -ENOEXEC, "truncated");
    expect_refused(file, 63, -ENOEXEC, "truncated");
    ck_assert_msg(load(file, len + 100, &out) == 0, "%s", test_err.text);
    expect_loaded(&out);
}
END_TEST

START_TEST(zboot_with_another_compression_says_which)
{
    uint8_t file[3 * IMAGE_BYTES];
    size_t len = make_zboot(file, sizeof(file), "zstd");

    expect_refused(file, len, -ENOEXEC, "'zstd'");
    memset(file + 24, '\n', 32); /* no terminator, nothing to print */
    expect_refused(file, len, -ENOEXEC, "'????");
}
END_TEST

START_TEST(file_problems_are_named)
{
    struct boot_image out;
    char missing[128];

    snprintf(missing, sizeof(missing), "%s/missing", test_dir);
    ck_assert_int_eq(loader_load_kernel(test_mem, missing, &out, &test_err), -ENOENT);
    ck_error_says(&test_err, missing);
    ck_assert_int_eq(loader_load_kernel(test_mem, test_dir, &out, &test_err), -EISDIR);
    ck_error_says(&test_err, "directory");
    expect_refused("", 0, -ENODATA, "empty");
    unlink(test_path);
    ck_assert_int_eq(mkfifo(test_path, 0600), 0);
    ck_assert_int_eq(loader_load_kernel(test_mem, test_path, &out, &test_err), -EINVAL);
    ck_error_says(&test_err, "regular file");
}
END_TEST

START_TEST(file_larger_than_ram_is_not_read)
{
    struct boot_image out;

    test_write_file("x", 1);
    ck_assert_int_eq(truncate(test_path, (off_t)TEST_RAM_BYTES + 1), 0);
    ck_assert_int_eq(loader_load_kernel(test_mem, test_path, &out, &test_err), -EFBIG);
    ck_error_says(&test_err, "16777217");
}
END_TEST

START_TEST(bare_wants_an_elf)
{
    struct boot_image out;

    ck_assert_int_eq(loader_load_bare(test_mem, test_write_file(image, IMAGE_BYTES), &out, &test_err), -ENOEXEC);
    ck_error_says(&test_err, "--kernel");
    ck_assert_int_eq(loader_load_bare(test_mem, test_write_file("hello", 5), &out, &test_err), -ENOEXEC);
    ck_error_says(&test_err, "not an ELF");
}
END_TEST

static const struct boot_image kernel_at = {.start = TEST_RAM_GPA + 0x200000, .end = TEST_RAM_GPA + 0x600123};

START_TEST(initrd_goes_to_the_top_of_ram)
{
    uint8_t bytes[5000];
    struct boot_range range;

    memset(bytes, 0x5a, sizeof(bytes));
    ck_assert_int_eq(loader_load_initrd(test_mem, test_write_file(bytes, sizeof(bytes)), &kernel_at, &range, &test_err),
                     0);
    ck_assert_uint_eq(range.start, TEST_RAM_GPA + TEST_RAM_BYTES - 2 * MEM_PAGE_BYTES);
    ck_assert_uint_eq(range.end, range.start + sizeof(bytes));
    ck_assert_mem_eq(mem_ram_ptr(test_mem, range.start, sizeof(bytes)), bytes, sizeof(bytes));
}
END_TEST

START_TEST(initrd_must_not_touch_the_kernel)
{
    struct boot_range range;
    off_t room = (off_t)(TEST_RAM_BYTES - 0x600123);

    test_write_file("x", 1);
    ck_assert_int_eq(truncate(test_path, room), 0); /* fits by bytes, not once it is page-aligned */
    ck_assert_int_eq(loader_load_initrd(test_mem, test_path, &kernel_at, &range, &test_err), -EFBIG);
    ck_error_says(&test_err, test_path);
    ck_assert_int_eq(truncate(test_path, room + 1), 0);
    ck_assert_int_eq(loader_load_initrd(test_mem, test_path, &kernel_at, &range, &test_err), -EFBIG);
    ck_assert_int_eq(truncate(test_path, room & ~(off_t)(MEM_PAGE_BYTES - 1)), 0);
    ck_assert_int_eq(loader_load_initrd(test_mem, test_path, &kernel_at, &range, &test_err), 0);
    ck_assert_uint_ge(range.start, kernel_at.end);
    ck_assert_int_eq(truncate(test_path, 0), 0);
    ck_assert_int_eq(loader_load_initrd(test_mem, test_path, &kernel_at, &range, &test_err), -ENODATA);
}
END_TEST

static size_t make_tree(uint8_t *buf, size_t capacity)
{
    ck_assert_int_eq(fdt_create_empty_tree(buf, (int)capacity), 0);
    int node = fdt_add_subnode(buf, 0, "memory@80000000");
    ck_assert_int_eq(fdt_setprop_string(buf, node, "device_type", "memory"), 0);
    ck_assert_int_eq(fdt_pack(buf), 0);
    ck_assert_uint_gt(fdt_totalsize(buf), sizeof(struct fdt_header));
    return fdt_totalsize(buf);
}

static void expect_bad_tree(const void *bytes, size_t len, int rc, const char *says)
{
    void *dtb;

    ck_assert_int_eq(loader_load_dtb(test_write_file(bytes, len), &dtb, &len, &test_err), rc);
    ck_error_says(&test_err, test_path);
    ck_error_says(&test_err, says);
}

START_TEST(dtb_is_read_and_checked)
{
    _Alignas(8) uint8_t tree[1024];
    size_t len = make_tree(tree, sizeof(tree)), got;
    void *dtb;

    ck_assert_int_eq(loader_load_dtb(test_write_file(tree, len), &dtb, &got, &test_err), 0);
    ck_assert_uint_eq(got, len);
    ck_assert_mem_eq(dtb, tree, len);
    free(dtb);
    expect_bad_tree(tree, len - 1, -ENOEXEC, "truncated");
    expect_bad_tree(tree, 10, -ENOEXEC, "not a flattened device tree");
    expect_bad_tree("/dts-v1/; / { model = \"x\"; compatible = \"y\"; };", 46, -ENOEXEC, "dtc");
}
END_TEST

START_TEST(dtb_with_damaged_structure_is_refused)
{
    _Alignas(8) uint8_t tree[1024];
    size_t len = make_tree(tree, sizeof(tree));

    fdt_set_off_dt_struct(tree, (uint32_t)len);
    expect_bad_tree(tree, len, -ENOEXEC, "damaged");
    make_tree(tree, sizeof(tree));
    memset(tree + fdt_off_dt_struct(tree), 0xff, 4); /* no FDT_BEGIN_NODE */
    expect_bad_tree(tree, len, -ENOEXEC, "damaged");
    make_tree(tree, sizeof(tree));
    fdt_set_version(tree, 15);
    fdt_set_last_comp_version(tree, 1);
    expect_bad_tree(tree, len, -ENOEXEC, "version 15");
}
END_TEST

START_TEST(dtb_larger_than_linux_takes_is_refused)
{
    _Alignas(8) uint8_t tree[1024];
    size_t len = make_tree(tree, sizeof(tree));
    void *dtb;

    test_write_file(tree, len);
    ck_assert_int_eq(truncate(test_path, (2 << 20) + 1), 0);
    ck_assert_int_eq(loader_load_dtb(test_path, &dtb, &len, &test_err), -EFBIG);
}
END_TEST

static uint64_t place(size_t len, uint64_t kernel_start, uint64_t kernel_end, uint64_t initrd_start)
{
    static uint8_t zeros[TEST_RAM_BYTES];
    struct boot_image kernel = {.start = kernel_start, .end = kernel_end};
    struct boot_range initrd = {.start = initrd_start, .end = TEST_RAM_GPA + TEST_RAM_BYTES};
    uint64_t gpa = 0;

    if (loader_place_dtb(test_mem, zeros, len, &kernel, initrd_start ? &initrd : NULL, &gpa, &test_err) != 0)
        return 0;
    return gpa;
}

START_TEST(dtb_is_placed_beside_kernel_and_initrd)
{
    uint64_t base = TEST_RAM_GPA, top = TEST_RAM_GPA + TEST_RAM_BYTES;

    ck_assert_uint_eq(place(4096, base + 0x200000, base + 0x600123, 0), top - 0x200000);
    ck_assert_uint_eq(place(4096, base + 0x200000, base + 0x600123, top - 0x1000), top - 0x200000);
    ck_assert_uint_eq(place(4096, base + 0x200000, base + 0x600123, top - 0x200000), top - 0x400000);
    /* No 2 MiB boundary is free: 8 bytes will do. */
    ck_assert_uint_eq(place(4097, base + 0x200000, top - 0x4000, 0), top - 4104);
    /* Nothing above the kernel: below it. */
    ck_assert_uint_eq(place(4096, base + 0x200000, top - 0x100, 0), base + 0x200000 - 4096);
    ck_assert_uint_eq(place(0x200001, base + 0x200000, top - 0x100, 0), 0);
    ck_error_says(&test_err, "--memory");
    /* The program fills everything, or ends above the initrd's start. */
    ck_assert_uint_eq(place(64, base, top, 0), 0);
    ck_assert_uint_eq(place(64, base, top - 4096, top - 8192), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_loader");
    TCase *images = tcase_create("images");
    tcase_add_checked_fixture(images, setup, test_teardown);
    tcase_add_test(images, image_flat_is_loaded_at_its_text_offset);
    tcase_add_test(images, image_with_efi_stub_is_loaded);
    tcase_add_test(images, image_with_either_magic_is_known);
    tcase_add_test(images, image_without_magic_is_refused);
    tcase_add_test(images, image_longer_than_its_image_size_occupies_the_file);
    tcase_add_test(images, image_header_fields_are_checked);
    tcase_add_test(images, image_must_fit_ram);
    tcase_add_test(images, image_with_efi_stub_tells_truncation);
    tcase_add_test(images, image_with_damaged_or_foreign_pe_header_is_refused);
    tcase_add_test(images, image_shorter_than_its_header_is_refused);
    tcase_add_test(images, foreign_files_are_named);
    tcase_add_test(images, bare_wants_an_elf);
    suite_add_tcase(suite, images);
    TCase *compressed = tcase_create("compressed");
    tcase_add_checked_fixture(compressed, setup, test_teardown);
    tcase_add_test(compressed, gzip_image_is_inflated);
    tcase_add_test(compressed, gzip_members_and_padding_are_one_stream);
    tcase_add_test(compressed, gzip_with_garbage_behind_is_refused);
    tcase_add_test(compressed, gzip_truncated_anywhere_is_refused);
    tcase_add_test(compressed, gzip_with_flipped_bits_is_refused);
    tcase_add_test(compressed, gzip_bomb_stops_at_the_size_of_ram);
    tcase_add_test(compressed, zboot_with_gzip_is_unpacked);
    tcase_add_test(compressed, zboot_with_another_compression_says_which);
    suite_add_tcase(suite, compressed);
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, setup, test_teardown);
    tcase_add_test(files, file_problems_are_named);
    tcase_add_test(files, file_larger_than_ram_is_not_read);
    tcase_add_test(files, initrd_goes_to_the_top_of_ram);
    tcase_add_test(files, initrd_must_not_touch_the_kernel);
    suite_add_tcase(suite, files);
    TCase *trees = tcase_create("trees");
    tcase_add_checked_fixture(trees, setup, test_teardown);
    tcase_add_test(trees, dtb_is_read_and_checked);
    tcase_add_test(trees, dtb_with_damaged_structure_is_refused);
    tcase_add_test(trees, dtb_larger_than_linux_takes_is_refused);
    tcase_add_test(trees, dtb_is_placed_beside_kernel_and_initrd);
    suite_add_tcase(suite, trees);
    return run_suite(suite);
}
