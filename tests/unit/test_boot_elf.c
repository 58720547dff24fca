/* The loader on ELF programs that the build links for riscv64, and on the same with every field damaged. */
#include "machine/loader.h"
#include "test_boot.h"

#include <elf.h>
#include <errno.h>

enum { PROGRAM_BYTES_MAX = 64 << 10 };

static uint8_t program[PROGRAM_BYTES_MAX];
static size_t program_len;
static struct boot_image out;

static void read_program(const char *path)
{
    FILE *f = fopen(path, "rb");

    ck_assert_msg(f != NULL, "the build should have made %s", path);
    program_len = fread(program, 1, sizeof(program), f);
    fclose(f);
    ck_assert_uint_gt(program_len, sizeof(Elf64_Ehdr));
    ck_assert_uint_lt(program_len, sizeof(program));
}

static void setup(void)
{
    test_setup();
    read_program(TEST_BOOT_BARE_ELF);
}

static Elf64_Ehdr *header(void)
{
    return (Elf64_Ehdr *)program;
}

/* The n-th loadable segment. */
static Elf64_Phdr *segment(int n)
{
    Elf64_Phdr *headers = (Elf64_Phdr *)(program + header()->e_phoff);

    for (int i = 0; i < header()->e_phnum; i++)
        if (headers[i].p_type == PT_LOAD && n-- == 0)
            return &headers[i];
    ck_abort_msg("no such segment");
}

static int load(void)
{
    memset(&out, 0, sizeof(out));
    return loader_load_kernel(test_mem, test_write_file(program, program_len), &out, &test_err);
}

static void expect_refused(int rc, const char *says)
{
    ck_assert_int_eq(load(), rc);
    ck_error_says(&test_err, test_path);
    ck_error_says(&test_err, says);
    read_program(TEST_BOOT_BARE_ELF);
}

START_TEST(elf_bare_is_loaded_at_its_physical_addresses)
{
    ck_assert_msg(loader_load_bare(test_mem, TEST_BOOT_BARE_ELF, &out, &test_err) == 0, "%s", test_err.text);
    ck_assert_int_eq(out.kind, BOOT_IMAGE_ELF);
    ck_assert_uint_eq(out.entry, TEST_RAM_GPA);
    ck_assert_uint_eq(out.start, TEST_RAM_GPA);
    ck_assert_uint_eq(out.end, TEST_RAM_GPA + 0x2000 + 8192);
    ck_assert_mem_eq(mem_ram_ptr(test_mem, TEST_RAM_GPA, 16), program + segment(0)->p_offset, 16);
}
END_TEST

START_TEST(elf_htif_symbols_are_found)
{
    ck_assert_int_eq(load(), 0);
    ck_assert(out.has_tohost && out.has_fromhost);
    ck_assert_uint_eq(out.tohost, TEST_RAM_GPA + 0x1000);
    ck_assert_uint_eq(out.fromhost, TEST_RAM_GPA + 0x1040);
}
END_TEST

START_TEST(elf_without_symbol_table_has_no_htif)
{
    header()->e_shoff = 0;
    header()->e_shnum = 0;
    header()->e_shstrndx = 0;
    ck_assert_msg(load() == 0, "%s", test_err.text);
    ck_assert(!out.has_tohost && !out.has_fromhost);
}
END_TEST

START_TEST(elf_with_damaged_sections_still_loads)
{
    Elf64_Shdr *sections = (Elf64_Shdr *)(program + header()->e_shoff);

    for (int i = 0; i < header()->e_shnum; i++) {
        sections[i].sh_offset = UINT64_MAX - 8;
        sections[i].sh_size = 1ull << 40;
    }
    ck_assert_msg(load() == 0, "%s", test_err.text);
    ck_assert(!out.has_tohost);
}
END_TEST

START_TEST(elf_vmlinux_is_moved_to_where_its_image_goes)
{
    read_program(TEST_BOOT_VMLINUX_ELF);
    ck_assert_msg(load() == 0, "%s", test_err.text);
    ck_assert_uint_eq(out.entry, TEST_RAM_GPA + 0x200000);
    ck_assert_uint_eq(out.start, out.entry);
    ck_assert_uint_eq(out.end, out.start + 0x2008);
    ck_assert(out.has_tohost);
    ck_assert_uint_eq(out.tohost, out.start + 0x2000); /* a virtual address, translated */
    uint64_t value;
    ck_assert_int_eq(mem_read(test_mem, out.tohost, &value, sizeof(value)), 0);
    ck_assert_uint_eq(value, 0x1122334455667788);
}
END_TEST

START_TEST(elf_vmlinux_with_far_segment_is_refused)
{
    read_program(TEST_BOOT_VMLINUX_ELF);
    segment(1)->p_paddr = UINT64_MAX - 0x100000;
    ck_assert_int_eq(load(), -EFBIG);
    ck_error_says(&test_err, "too far");
    segment(1)->p_paddr = 0x100000000;
    ck_assert_int_eq(load(), -EFBIG);
    ck_error_says(&test_err, "outside the guest's memory");
}
END_TEST

START_TEST(elf_below_ram_without_image_header_is_refused)
{
    read_program(TEST_BOOT_VMLINUX_ELF);
    memset(program + segment(0)->p_offset + 48, 0, 12);
    ck_assert_int_eq(load(), -EFBIG);
    ck_error_says(&test_err, "outside the guest's memory");
}
END_TEST

/* OpenSBI's firmware counts its addresses from 0 since version 1.5. */
START_TEST(elf_position_independent_below_ram_is_moved_to_its_start)
{
    read_program(TEST_BOOT_VMLINUX_ELF);
    memset(program + segment(0)->p_offset + 48, 0, 12);
    header()->e_type = ET_DYN;
    ck_assert_msg(load() == 0, "%s", test_err.text);
    ck_assert_uint_eq(out.start, TEST_RAM_GPA);
    ck_assert_uint_eq(out.entry, TEST_RAM_GPA);
    ck_assert_uint_eq(out.end, TEST_RAM_GPA + 0x2008);
}
END_TEST

START_TEST(elf_header_fields_are_checked)
{
    header()->e_ident[EI_CLASS] = ELFCLASS32;
    expect_refused(-ENOEXEC, "32-bit");
    header()->e_ident[EI_CLASS] = 7;
    expect_refused(-ENOEXEC, "ELF header");
    header()->e_ident[EI_DATA] = ELFDATA2MSB;
    expect_refused(-ENOEXEC, "big-endian");
    header()->e_machine = EM_X86_64;
    expect_refused(-ENOEXEC, "machine 62");
    header()->e_type = ET_REL;
    expect_refused(-ENOEXEC, "type 1");
    header()->e_phnum = 0;
    expect_refused(-ENOEXEC, "nothing to load");
}
END_TEST

START_TEST(elf_entry_must_lie_in_a_segment)
{
    header()->e_entry = TEST_RAM_GPA - 4;
    expect_refused(-ENOEXEC, "0x7ffffffc");
    header()->e_entry = TEST_RAM_GPA + 1;
    expect_refused(-ENOEXEC, "odd address");
    header()->e_entry = segment(0)->p_paddr + segment(0)->p_memsz;
    expect_refused(-ENOEXEC, "in no loaded segment");
    header()->e_entry = UINT64_MAX - 1;
    expect_refused(-ENOEXEC, "in no loaded segment");
    segment(0)->p_paddr++; /* even before translation, odd behind it (found by fuzzing) */
    expect_refused(-ENOEXEC, "odd address");
}
END_TEST

START_TEST(elf_segments_are_checked)
{
    segment(0)->p_filesz = segment(0)->p_memsz + 1;
    expect_refused(-ENOEXEC, "in the file");
    segment(1)->p_offset = program_len;
    expect_refused(-ENOEXEC, "truncated");
    segment(1)->p_offset = UINT64_MAX;
    expect_refused(-ENOEXEC, "truncated");
    segment(0)->p_paddr = UINT64_MAX;
    expect_refused(-ENOEXEC, "wraps");
    segment(0)->p_memsz = UINT64_MAX;
    expect_refused(-ENOEXEC, "wraps");
    segment(1)->p_paddr = segment(0)->p_paddr;
    expect_refused(-ENOEXEC, "both load at");
    segment(1)->p_memsz = TEST_RAM_BYTES;
    expect_refused(-EFBIG, "--memory");
    segment(1)->p_paddr = TEST_RAM_GPA + TEST_RAM_BYTES - 4096;
    expect_refused(-EFBIG, "outside the guest's memory");
    segment(0)->p_paddr = TEST_RAM_GPA - 0x1000;
    expect_refused(-EFBIG, "outside the guest's memory");
}
END_TEST

START_TEST(elf_refused_leaves_memory_alone)
{
    static const uint8_t untouched[4096];

    segment(1)->p_paddr = 0x10;
    expect_refused(-EFBIG, "outside");
    ck_assert_mem_eq(mem_ram_ptr(test_mem, TEST_RAM_GPA, 4096), untouched, 4096);
}
END_TEST

/* No cut crashes; those that take program headers or segments away are refused. */
START_TEST(elf_truncated_anywhere_is_refused_or_whole)
{
    size_t whole = program_len;

    for (size_t len = 1; len < whole; len += 1 + len / 64) {
        program_len = len;
        uint64_t needed = segment(1)->p_offset + segment(1)->p_filesz;
        int rc = load();
        ck_assert_msg(rc == -ENOEXEC || (rc == 0 && len >= needed), "%zu bytes: %d, %s", len, rc, test_err.text);
    }
}
END_TEST

START_TEST(elf_with_too_many_segments_is_refused)
{
    enum { HEADERS = 65 };
    Elf64_Phdr one = *segment(0);
    Elf64_Phdr *headers = (Elf64_Phdr *)(program + ((program_len + 7) & ~7ul));

    one.p_filesz = 0;
    one.p_memsz = 8;
    for (int i = 0; i < HEADERS; i++) {
        headers[i] = one;
        headers[i].p_paddr = one.p_paddr + 8 * (uint64_t)i;
    }
    header()->e_phoff = (uint64_t)((uint8_t *)headers - program);
    program_len = header()->e_phoff + sizeof(*headers) * HEADERS;
    header()->e_phnum = HEADERS - 1;
    ck_assert_msg(load() == 0, "%s", test_err.text);
    header()->e_phnum = HEADERS;
    expect_refused(-ENOEXEC, "more than 64");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_elf");
    TCase *elf = tcase_create("elf");

    tcase_add_checked_fixture(elf, setup, test_teardown);
    tcase_add_test(elf, elf_bare_is_loaded_at_its_physical_addresses);
    tcase_add_test(elf, elf_htif_symbols_are_found);
    tcase_add_test(elf, elf_without_symbol_table_has_no_htif);
    tcase_add_test(elf, elf_with_damaged_sections_still_loads);
    tcase_add_test(elf, elf_vmlinux_is_moved_to_where_its_image_goes);
    tcase_add_test(elf, elf_vmlinux_with_far_segment_is_refused);
    tcase_add_test(elf, elf_below_ram_without_image_header_is_refused);
    tcase_add_test(elf, elf_position_independent_below_ram_is_moved_to_its_start);
    tcase_add_test(elf, elf_header_fields_are_checked);
    tcase_add_test(elf, elf_entry_must_lie_in_a_segment);
    tcase_add_test(elf, elf_segments_are_checked);
    tcase_add_test(elf, elf_refused_leaves_memory_alone);
    tcase_add_test(elf, elf_truncated_anywhere_is_refused_or_whole);
    tcase_add_test(elf, elf_with_too_many_segments_is_refused);
    suite_add_tcase(suite, elf);
    return run_suite(suite);
}
