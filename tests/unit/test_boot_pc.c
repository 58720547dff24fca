/* What a PC boots: bzImages, PVH and multiboot programs, boot sectors, all made here; what is damaged or foreign; what
 * is written for them into low memory. */
#include "engine/vcpu.h"
#include "machine/board_pc.h"
#include "machine/loader_pc.h"
#include "test_boot.h"

#include <elf.h>
#include <errno.h>

enum { KERNEL_GPA = 0x1000000, SETUP_BYTES = 1024, KERNEL_BYTES = 4096, FILE_BYTES = SETUP_BYTES + KERNEL_BYTES };

static struct mem *ram;
static struct loader_pc_image image;
static uint8_t file[16384];

static void setup(void)
{
    test_setup();
    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_ram(ram, 0, 64 << 20), 0);
    memset(file, 0, sizeof(file));
}

static void teardown(void)
{
    mem_destroy(ram);
    test_teardown();
}

static void put(size_t at, uint64_t value, unsigned bytes)
{
    memcpy(file + at, &value, bytes);
}

/* Two sectors of setup, a page of kernel. */
static size_t make_linux(void)
{
    put(0x1f1, 1, 1);
    put(0x1f4, KERNEL_BYTES / 16, 4);
    put(0x1fe, 0xaa55, 2);
    put(0x201, 0x6a, 1);
    memcpy(file + 0x202, "HdrS", 4);
    put(0x206, 0x20f, 2);
    put(0x211, 1, 1);
    put(0x22c, 0x7fffffff, 4);
    put(0x230, 0x200000, 4);
    put(0x236, 1, 2);
    put(0x238, 100, 4);
    put(0x258, KERNEL_GPA, 8);
    put(0x260, 0x10000, 4);
    memset(file + SETUP_BYTES, 0x5a, KERNEL_BYTES);
    return FILE_BYTES;
}

static int load(size_t len)
{
    return loader_pc_load(ram, test_write_file(file, len), &image, &test_err);
}

static uint64_t guest(uint64_t gpa, unsigned bytes)
{
    uint64_t value = 0;

    ck_assert_int_eq(mem_read(ram, gpa, &value, bytes), 0);
    return value;
}

START_TEST(bzimage_goes_where_it_prefers_to_be_and_is_entered_in_long_mode)
{
    struct boot_range initrd = {0x3000000, 0x3000123};
    struct vcpu_state state = {0};

    ck_assert_int_eq(load(make_linux()), 0);
    ck_assert(loader_is_pc(test_path));
    ck_assert_int_eq(image.how, LOADER_PC_LINUX);
    ck_assert_uint_eq(image.image.entry, KERNEL_GPA + 0x200);
    ck_assert_uint_eq(image.image.end, KERNEL_GPA + 0x10000);
    ck_assert_uint_eq(guest(KERNEL_GPA, 1), 0x5a);

    ck_assert_int_eq(boot_pc_write(ram, &image, "console=ttyS0", &initrd, &test_err), 0);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x202, 4), 0x53726448);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x218, 4), initrd.start);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x21c, 4), 0x123);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x228, 4), BOARD_PC_CMDLINE_GPA);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x1e8, 1), 5);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x2d0 + 2 * 20, 8), BOARD_PC_HIGH_GPA);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x2d0 + 2 * 20 + 8, 8), 63 << 20);
    ck_assert_str_eq(mem_ram_ptr(ram, BOARD_PC_CMDLINE_GPA, 100), "console=ttyS0");
    /* 1.5 GiB is mapped to itself. */
    ck_assert_uint_eq(guest(BOARD_PC_TABLES_GPA + 3 * 4096 + 256 * 8, 8), 0x60000083);

    boot_pc_state(&state, &image);
    ck_assert_uint_eq(state.x86.rip, image.image.entry);
    ck_assert_uint_eq(state.x86.gpr[VCPU_X86_RSI], BOARD_PC_PARAMS_GPA);
    ck_assert_uint_eq(state.x86.efer, 0x500);
    ck_assert_uint_eq(state.x86.cr0 >> 31 & 1, 1);
    ck_assert_int_eq(
        boot_pc_write(ram, &image,
                      "a line of more than the hundred bytes that this kernel says it takes, so that it must "
                      "be refused in the end",
                      &initrd, &test_err),
        -E2BIG);
    ck_error_says(&test_err, "the kernel takes 100");
}
END_TEST

START_TEST(memory_map_has_what_lies_behind_the_devices)
{
    const struct mem_ram_config config = {
        .size_bytes = BOARD_PC_HOLE_GPA + (64 << 20), .hole_gpa = BOARD_PC_HOLE_GPA, .hole_bytes = BOARD_PC_HOLE_BYTES};
    struct boot_range initrd = {0};

    mem_destroy(ram);
    ck_assert_int_eq(mem_create(&ram), 0);
    ck_assert_int_eq(mem_add_ram_as(ram, &config), 0);
    ck_assert_int_eq(load(make_linux()), 0);
    ck_assert_int_eq(boot_pc_write(ram, &image, "", &initrd, &test_err), 0);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x1e8, 1), 6);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x2d0 + 2 * 20 + 8, 8), BOARD_PC_HOLE_GPA - BOARD_PC_HIGH_GPA);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x2d0 + 5 * 20, 8), BOARD_PC_HIGH_RAM_GPA);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x2d0 + 5 * 20 + 8, 8), 64 << 20);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 0x2d0 + 5 * 20 + 16, 4), 1);
}
END_TEST

START_TEST(bzimage_that_is_damaged_or_old_is_refused_by_what_is_wrong)
{
    ck_assert_int_eq(load(make_linux() - 1), -ENOEXEC);
    ck_error_says(&test_err, "truncated");
    make_linux();
    put(0x206, 0x205, 2);
    ck_assert_int_eq(load(FILE_BYTES), -ENOEXEC);
    ck_error_says(&test_err, "no 64-bit entry");
    make_linux();
    put(0x236, 0, 2);
    ck_assert_int_eq(load(FILE_BYTES), -ENOEXEC);
    ck_error_says(&test_err, "no 64-bit entry");
    make_linux();
    put(0x201, 0x10, 1);
    ck_assert_int_eq(load(FILE_BYTES), -ENOEXEC);
    ck_error_says(&test_err, "damaged header");
    make_linux();
    put(0x201, 0xff, 1);
    ck_assert_int_eq(load(FILE_BYTES), -ENOEXEC);
    make_linux();
    put(0x211, 0, 1);
    ck_assert_int_eq(load(FILE_BYTES), -ENOEXEC);
    ck_error_says(&test_err, "zImage");
    make_linux();
    put(0x258, KERNEL_GPA + 8, 8);
    ck_assert_int_eq(load(FILE_BYTES), -ENOEXEC);
    ck_error_says(&test_err, "its header is damaged");
    make_linux();
    put(0x258, 0xfffffffffff00000, 8);
    put(0x230, 0x1000, 4);
    ck_assert_int_eq(load(FILE_BYTES), -EFBIG);
    make_linux();
    put(0x260, 0xf0000000, 4);
    ck_assert_int_eq(load(FILE_BYTES), -EFBIG);
    ck_error_says(&test_err, "larger --memory");
}
END_TEST

enum { PROGRAM_GPA = 0x100000, NOTE_AT = 0x200, HEADER_AT = 0x300, ELF_BYTES = 0x400 };

/* One segment; a note when `pvh`, a header when `multiboot`. */
static size_t make_elf(uint16_t machine, bool pvh, bool multiboot)
{
    Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_EXEC,
                         .e_machine = machine,
                         .e_version = EV_CURRENT,
                         .e_entry = PROGRAM_GPA + 0x100,
                         .e_phoff = sizeof(header),
                         .e_ehsize = sizeof(header),
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 2};
    Elf64_Phdr segments[2] = {
        {.p_type = PT_LOAD,
         .p_paddr = PROGRAM_GPA,
         .p_vaddr = PROGRAM_GPA,
         .p_filesz = ELF_BYTES,
         .p_memsz = ELF_BYTES},
        {.p_type = pvh ? PT_NOTE : PT_NULL, .p_offset = NOTE_AT, .p_filesz = 24, .p_memsz = 24, .p_align = 4}};

    memset(file, 0, sizeof(file));
    memcpy(file, &header, sizeof(header));
    memcpy(file + sizeof(header), segments, sizeof(segments));
    put(NOTE_AT, 4, 4);
    put(NOTE_AT + 4, 8, 4);
    put(NOTE_AT + 8, 18, 4);
    memcpy(file + NOTE_AT + 12, "Xen", 4);
    put(NOTE_AT + 16, PROGRAM_GPA + 0x180, 8);
    if (multiboot) {
        put(HEADER_AT, 0x1badb002, 4);
        put(HEADER_AT + 8, -0x1badb002, 4);
    }
    return ELF_BYTES;
}

START_TEST(elf_is_entered_by_its_note_or_by_multiboot)
{
    struct vcpu_state state = {0};
    struct boot_range none = {0};

    ck_assert_int_eq(load(make_elf(EM_X86_64, true, false)), 0);
    ck_assert(loader_is_pc(test_path));
    ck_assert_int_eq(image.how, LOADER_PC_PVH);
    ck_assert_uint_eq(image.image.entry, PROGRAM_GPA + 0x180);
    ck_assert_int_eq(boot_pc_write(ram, &image, NULL, &none, &test_err), 0);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA, 4), 0x336ec578);
    ck_assert_uint_eq(guest(BOARD_PC_PARAMS_GPA + 48, 4), 5);
    boot_pc_state(&state, &image);
    ck_assert_uint_eq(state.x86.gpr[VCPU_X86_RBX], BOARD_PC_PARAMS_GPA);
    ck_assert_uint_eq(state.x86.cr0 >> 31 & 1, 0);

    ck_assert_int_eq(load(make_elf(EM_X86_64, false, true)), 0);
    ck_assert_int_eq(image.how, LOADER_PC_MULTIBOOT);
    ck_assert_uint_eq(image.image.entry, PROGRAM_GPA + 0x100);
    boot_pc_state(&state, &image);
    ck_assert_uint_eq(state.x86.gpr[VCPU_X86_RAX], 0x2badb002);
}
END_TEST

START_TEST(elf_that_says_no_entry_or_is_foreign_is_refused)
{
    ck_assert_int_eq(load(make_elf(EM_X86_64, false, false)), -ENOEXEC);
    ck_error_says(&test_err, "without a PVH note and without a multiboot header");
    ck_assert_int_eq(load(make_elf(EM_AARCH64, true, false)), -ENOEXEC);
    ck_error_says(&test_err, "machine 183, not x86");
    ck_assert(!loader_is_pc(test_path));
    ck_assert_int_eq(load(make_elf(EM_RISCV, true, false)), -ENOEXEC);
    ck_assert(!loader_is_pc(test_path));
    make_elf(EM_X86_64, true, false);
    put(NOTE_AT + 16, 0x5000, 8);
    ck_assert_int_eq(load(ELF_BYTES), -ENOEXEC);
    ck_error_says(&test_err, "outside of what it loads");
    make_elf(EM_X86_64, true, false);
    put(NOTE_AT + 4, 0x7fffffff, 4); /* a note that ends far behind the file */
    ck_assert_int_eq(load(ELF_BYTES), -ENOEXEC);
    make_elf(EM_X86_64, false, true);
    put(HEADER_AT + 4, 4, 4); /* wants a video mode */
    put(HEADER_AT + 8, -(0x1badb002 + 4), 4);
    ck_assert_int_eq(load(ELF_BYTES), -ENOEXEC);
    ck_error_says(&test_err, "demands");
    ck_assert_int_eq(load(make_elf(EM_X86_64, true, false) - 1), -ENOEXEC);
    ck_error_says(&test_err, "truncated");
}
END_TEST

/* A flat program whose header says where it belongs. */
static size_t make_flat(uint32_t load_end)
{
    const uint32_t words[] = {0x1badb002, 1 << 16, 0, PROGRAM_GPA + 0x20, PROGRAM_GPA, load_end, 0, PROGRAM_GPA + 0x40};

    memset(file, 0x90, 256);
    memcpy(file + 0x20, words, sizeof(words));
    put(0x20 + 8, -(0x1badb002u + (1 << 16)), 4);
    return 256;
}

START_TEST(flat_programs_go_where_their_header_or_the_firmware_puts_them)
{
    struct vcpu_state state = {0};

    ck_assert_int_eq(load(make_flat(0)), 0);
    ck_assert(loader_is_pc(test_path));
    ck_assert_int_eq(image.how, LOADER_PC_MULTIBOOT);
    ck_assert_uint_eq(image.image.entry, PROGRAM_GPA + 0x40);
    ck_assert_uint_eq(guest(PROGRAM_GPA + 255, 1), 0x90);
    ck_assert_int_eq(load(make_flat(PROGRAM_GPA + 257)), -ENOEXEC);
    ck_error_says(&test_err, "truncated");
    ck_assert_int_eq(load(make_flat(PROGRAM_GPA - 1)), -ENOEXEC);
    make_flat(0);
    put(0x20 + 16, PROGRAM_GPA + 0x21, 4);
    ck_assert_int_eq(load(256), -ENOEXEC);

    memset(file, 0, sizeof(file));
    put(510, 0xaa55, 2);
    ck_assert_int_eq(load(512), 0);
    ck_assert_int_eq(image.how, LOADER_PC_SECTOR);
    boot_pc_state(&state, &image);
    ck_assert_uint_eq(state.x86.rip, 0x7c00);
    ck_assert_int_eq(load(511), -ENOEXEC);
    ck_error_says(&test_err, "is not a bzImage");
}
END_TEST

START_TEST(table_of_processors_sums_to_zero_and_names_each)
{
    uint8_t sum = 0;

    ck_assert_int_eq(board_pc_mp_table(ram, 3), 0);
    ck_assert_uint_eq(guest(BOARD_PC_MP_GPA, 4), 0x5f504d5f); /* "_MP_" */
    for (unsigned i = 0; i < 16; i++)
        sum += (uint8_t)guest(BOARD_PC_MP_GPA + i, 1);
    ck_assert_uint_eq(sum, 0);
    uint64_t table = guest(BOARD_PC_MP_GPA + 4, 4), len = guest(table + 4, 2);
    for (unsigned i = 0; i < len; i++)
        sum += (uint8_t)guest(table + i, 1);
    ck_assert_uint_eq(sum, 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(guest(table + 44 + i * 20, 1), 0);
        ck_assert_uint_eq(guest(table + 44 + i * 20 + 1, 1), i);
        ck_assert_uint_eq(guest(table + 44 + i * 20 + 3, 1), i ? 1 : 3);
    }
    ck_assert_uint_eq(guest(table + 44 + 3 * 20, 1), 1);
    ck_assert_int_eq(board_pc_mp_table(ram, BOARD_PC_VCPUS_MAX), 0);
    ck_assert_int_eq(board_pc_mp_table(ram, BOARD_PC_VCPUS_MAX + 1), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_pc");
    TCase *tcase = tcase_create("images");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, bzimage_goes_where_it_prefers_to_be_and_is_entered_in_long_mode);
    tcase_add_test(tcase, memory_map_has_what_lies_behind_the_devices);
    tcase_add_test(tcase, bzimage_that_is_damaged_or_old_is_refused_by_what_is_wrong);
    tcase_add_test(tcase, elf_is_entered_by_its_note_or_by_multiboot);
    tcase_add_test(tcase, elf_that_says_no_entry_or_is_foreign_is_refused);
    tcase_add_test(tcase, flat_programs_go_where_their_header_or_the_firmware_puts_them);
    tcase_add_test(tcase, table_of_processors_sums_to_zero_and_names_each);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
