/* Files that cannot be booted, of every kind the command takes: missing, empty, a directory, unreadable, cut short,
 * damaged. Each is refused with exit code 2 and one line that names it; and files that are right are taken. */
#include "files.h"
#include "process.h"
#include "run_suite.h"

#include "base/compiler.h"

#include <check.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { IMAGE_BYTES = 8192 };

static char *demo;
static size_t demo_len;
static uint8_t image[IMAGE_BYTES];
static char kernel_option[600];

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint32_t be32(const char *at)
{
    const uint8_t *bytes = (const uint8_t *)at;

    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_be32(char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(value >> (24 - 8 * i));
}

/* The smallest "kernel": Linux's Image header (Documentation/arch/riscv/boot-image-header.rst), then code that powers
 * off through the test device. */
static void make_image(void)
{
    static const uint32_t code[] = {
        0x001002b7, /* lui  t0, 0x100 */
        0x00005337, /* lui  t1, 0x5 */
        0x55530313, /* addi t1, t1, 0x555 */
        0x0062a023, /* sw   t1, 0(t0) */
        0x0000006f, /* j    . */
    };

    memset(image, 0, sizeof(image));
    put32(image, 0x0400006f); /* j 64 */
    put32(image + 16, IMAGE_BYTES);
    put32(image + 32, 2);
    static const unsigned char magic[12] = {'R', 'I', 'S', 'C', 'V', 0, 0, 0, 'R', 'S', 'C', 5};
    memcpy(image + 48, magic, sizeof(magic));
    for (size_t i = 0; i < TUFF_ARRAY_LEN(code); i++)
        put32(image + 64 + 4 * i, code[i]);
}

static const char *option_with(const char *name, const char *path)
{
    static char ring[4][600];
    static unsigned next;
    char *text = ring[next++ % 4];

    snprintf(text, sizeof(ring[0]), "--%s=%s", name, path);
    return text;
}

static void set_up(void)
{
    files_make_folder();
    demo = files_read(files_demo, &demo_len);
    make_image();
    snprintf(kernel_option, sizeof(kernel_option), "--kernel=%s", files_write("Image", image, sizeof(image)));
}

static void tear_down(void)
{
    free(demo);
    files_remove_all();
}

static void expect_ends_well(const char *const *argv)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);

    ck_assert_msg(code == 0, "%s %s: %d, %s", argv[1], argv[2], code, process->err_text);
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
}

static void refuse_run(const char *path)
{
    process_expect_refusal(PROCESS_ARGV("run", path), path);
}

static void refuse_kernel(const char *path)
{
    process_expect_refusal(PROCESS_ARGV("boot", option_with("kernel", path)), path);
}

/* Every option that takes a file to read, by itself. */
static void refuse_everywhere(const char *path)
{
    refuse_run(path);
    refuse_kernel(path);
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("initrd", path)), path);
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("dtb", path)), path);
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("bios", path)), path);
    process_expect_refusal(PROCESS_ARGV("run", option_with("dtb", path), files_demo), path);
    process_expect_refusal(PROCESS_ARGV("disas", path), path);
}

START_TEST(no_file_of_that_name)
{
    refuse_everywhere("/nonexistent/file");
    refuse_everywhere("no such file");
    process_expect_refusal(PROCESS_ARGV("run", ""), "''");
}
END_TEST

START_TEST(directory)
{
    refuse_everywhere("/tmp");
}
END_TEST

START_TEST(empty_file)
{
    refuse_everywhere(files_write("empty", "", 0));
}
END_TEST

/* Root may read whatever has no mode bits: for it, a link to itself is what cannot be opened. */
START_TEST(file_that_cannot_be_opened)
{
    const char *path;

    if (geteuid() == 0) {
        path = files_path("loop");
        ck_assert_int_eq(symlink(path, path), 0);
    } else {
        path = files_write("locked", demo, demo_len);
        ck_assert_int_eq(chmod(path, 0), 0);
    }
    refuse_everywhere(path);
}
END_TEST

/* Nobody writes to it: opening must not wait. */
START_TEST(fifo_is_refused_at_once)
{
    const char *path = files_path("fifo");

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refuse_run(path);
    refuse_kernel(path);
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("initrd", path)), path);
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("dtb", path)), path);
}
END_TEST

START_TEST(name_that_is_too_long)
{
    char name[5000];

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    process_expect_refusal(PROCESS_ARGV("run", name), "aaaa");
    process_expect_refusal(PROCESS_ARGV("disas", name), "aaaa");
}
END_TEST

START_TEST(files_of_another_kind)
{
    static const char text[] = "#!/bin/sh\necho this is no kernel, however long it goes on; it is a shell script\n";
    const char *script = files_write("script", text, sizeof(text) - 1);

    refuse_run(script);
    refuse_kernel(script);
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("dtb", script)), script);
    refuse_run("/proc/self/exe"); /* an ELF for this computer */
    refuse_kernel("/proc/self/exe");
    /* Each command names the other where a file would be right there. */
    process_expect_refusal(PROCESS_ARGV("run", kernel_option + strlen("--kernel=")), "--kernel");
    process_expect_refusal(PROCESS_ARGV("disas", files_demo), "llvm-objcopy");
}
END_TEST

/* ---- ELF ---- */

/* Where the last loaded byte lies in the file: whatever is cut before is missed. */
static size_t loaded_end(void)
{
    Elf64_Ehdr copy;
    const Elf64_Ehdr *header = &copy;
    size_t end = 0;

    memcpy(&copy, demo, sizeof(copy));
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, demo + header->e_phoff + i * sizeof(segment), sizeof(segment));
        if (segment.p_type == PT_LOAD && segment.p_offset + segment.p_filesz > end)
            end = segment.p_offset + segment.p_filesz;
    }
    ck_assert_uint_gt(end, 4096);
    return end;
}

START_TEST(elf_cut_short)
{
    size_t end = loaded_end();
    const size_t lengths[] = {1, 4, 15, 16, 63, 64, 65, 120, 200, 4095, 4096, end / 2, end - 1};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(lengths); i++) {
        const char *path = files_write("cut.elf", demo, lengths[i]);
        refuse_run(path);
        refuse_kernel(path);
    }
}
END_TEST

static void refuse_with_header(const Elf64_Ehdr *header)
{
    const char *path;

    memcpy(demo, header, sizeof(*header));
    path = files_write("header.elf", demo, demo_len);
    refuse_run(path);
}

START_TEST(elf_with_a_damaged_header)
{
    Elf64_Ehdr good, bad;

    memcpy(&good, demo, sizeof(good));
#define DAMAGE(field, value)      \
    do {                          \
        bad = good;               \
        bad.field = (value);      \
        refuse_with_header(&bad); \
    } while (0)
    DAMAGE(e_ident[EI_CLASS], ELFCLASS32);
    DAMAGE(e_ident[EI_CLASS], 7);
    DAMAGE(e_ident[EI_DATA], ELFDATA2MSB);
    DAMAGE(e_machine, EM_X86_64);
    DAMAGE(e_type, ET_REL);
    DAMAGE(e_type, ET_CORE);
    DAMAGE(e_phnum, 0);
    DAMAGE(e_phoff, UINT64_MAX);
    DAMAGE(e_phoff, demo_len - 1);
    DAMAGE(e_entry, 0);
    DAMAGE(e_entry, good.e_entry + 1);
#undef DAMAGE
}
END_TEST

static void refuse_with_segment(const Elf64_Phdr *segment, size_t at)
{
    memcpy(demo + at, segment, sizeof(*segment));
    refuse_run(files_write("segment.elf", demo, demo_len));
}

START_TEST(elf_with_a_damaged_segment)
{
    Elf64_Ehdr header;
    Elf64_Phdr good, bad;
    size_t at;

    memcpy(&header, demo, sizeof(header));
    for (at = header.e_phoff;; at += sizeof(good)) {
        memcpy(&good, demo + at, sizeof(good));
        if (good.p_type == PT_LOAD)
            break;
    }
#define DAMAGE(field, value)           \
    do {                               \
        bad = good;                    \
        bad.field = (value);           \
        refuse_with_segment(&bad, at); \
    } while (0)
    DAMAGE(p_offset, UINT64_MAX - 8);
    DAMAGE(p_offset, demo_len);
    DAMAGE(p_filesz, UINT64_MAX);
    DAMAGE(p_filesz, good.p_memsz + 1);
    DAMAGE(p_memsz, UINT64_MAX);
    DAMAGE(p_memsz, 1ull << 40);
    DAMAGE(p_paddr, 0);
    DAMAGE(p_paddr, 0x10000000);
    DAMAGE(p_paddr, UINT64_MAX - 16);
#undef DAMAGE
}
END_TEST

START_TEST(elf_that_memory_is_too_small_for)
{
    Elf64_Ehdr header;
    Elf64_Phdr segment;

    memcpy(&header, demo, sizeof(header));
    memcpy(&segment, demo + header.e_phoff, sizeof(segment));
    segment.p_type = PT_LOAD;
    segment.p_paddr = segment.p_vaddr = 0x80000000 + (64 << 20);
    memcpy(demo + header.e_phoff, &segment, sizeof(segment));
    const char *path = files_write("far.elf", demo, demo_len);
    process_expect_refusal(PROCESS_ARGV("run", "--memory=16M", path), path);
}
END_TEST

/* ---- Image and gzip ---- */

START_TEST(image_boots_plain_and_compressed)
{
    const char *path = files_path("Image.gz");
    gzFile file = gzopen(path, "wb");

    ck_assert_int_eq(gzwrite(file, image, sizeof(image)), sizeof(image));
    ck_assert_int_eq(gzclose(file), Z_OK);
    expect_ends_well(PROCESS_ARGV("boot", kernel_option));
    expect_ends_well(PROCESS_ARGV("boot", option_with("kernel", path)));
    expect_ends_well(PROCESS_ARGV("boot", "-k", path, "-m", "64M", "-c", "2", "-a", "console=ttyS0", "-s", "null"));
}
END_TEST

/* Firmware alone, as an ELF and as flat bytes: the Image's code behind its header powers off whoever enters it. */
START_TEST(firmware_boots)
{
    const char *path = files_write("firmware.bin", image + 64, sizeof(image) - 64);

    expect_ends_well(PROCESS_ARGV("boot", option_with("bios", path)));
    expect_ends_well(PROCESS_ARGV("boot", "-b", path, "-c", "2", "-s", "null"));
    /* The Image of these tests belongs to the start of RAM. */
    process_expect_refusal(PROCESS_ARGV("boot", "-b", path, kernel_option), "where the firmware is");
    process_expect_refusal(PROCESS_ARGV("boot", option_with("bios", files_path("Image"))), "--kernel");
    process_expect_refusal(PROCESS_ARGV("boot", option_with("bios", path), "--load=/dev/null@0x81000000"), "/dev/null");
    process_expect_refusal(PROCESS_ARGV("boot", option_with("bios", path), "--load=/nonexistent@0x81000000"),
                           "/nonexistent");
}
END_TEST

START_TEST(image_with_a_damaged_header)
{
    image[34] = 1; /* version 1.x */
    refuse_kernel(files_write("version", image, sizeof(image)));
    image[34] = 0;
    image[24] = 1; /* big-endian */
    refuse_kernel(files_write("flags", image, sizeof(image)));
    image[24] = 0;
    image[8] = 1; /* text_offset */
    refuse_kernel(files_write("offset", image, sizeof(image)));
    image[8] = 0;
    memset(image + 16, 0xff, 8); /* image_size */
    refuse_kernel(files_write("size", image, sizeof(image)));
    memset(image + 48, 0, 12); /* magic */
    refuse_kernel(files_write("magic", image, sizeof(image)));
    refuse_kernel(files_write("short", image, 40));
}
END_TEST

START_TEST(gzip_cut_short_or_damaged)
{
    static uint8_t noise[65536];
    uint64_t seed = 1;
    const char *path = files_path("noise.gz");
    char *bytes;
    size_t len;

    /* What does not compress, so that damage hits data; it begins as an Image. */
    for (size_t i = 0; i < sizeof(noise); i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        noise[i] = i < sizeof(image) ? image[i] : (uint8_t)(seed >> 56);
    }
    gzFile file = gzopen(path, "wb");
    ck_assert_int_eq(gzwrite(file, noise, sizeof(noise)), sizeof(noise));
    ck_assert_int_eq(gzclose(file), Z_OK);
    expect_ends_well(PROCESS_ARGV("boot", option_with("kernel", path)));

    bytes = files_read(path, &len);
    const size_t lengths[] = {2, 3, 9, 10, 11, 100, len / 2, len - 9, len - 8, len - 4, len - 1};
    for (size_t i = 0; i < TUFF_ARRAY_LEN(lengths); i++)
        refuse_kernel(files_write("cut.gz", bytes, lengths[i]));
    const size_t places[] = {2, 3, len / 2, len - 8, len - 4, len - 1}; /* method, flags, data, CRC, length */
    for (size_t i = 0; i < TUFF_ARRAY_LEN(places); i++) {
        bytes[places[i]] ^= 0x20;
        refuse_kernel(files_write("damaged.gz", bytes, len));
        bytes[places[i]] ^= 0x20;
    }
    free(bytes);
}
END_TEST

START_TEST(gzip_of_something_else_or_of_too_much)
{
    static uint8_t zeroes[1 << 20];
    const char *other = files_path("other.gz"), *large = files_path("large.gz");
    gzFile file = gzopen(other, "wb");

    ck_assert_int_eq(gzputs(file, "not a kernel\n"), 13);
    ck_assert_int_eq(gzclose(file), Z_OK);
    refuse_kernel(other);
    refuse_run(other);

    file = gzopen(large, "wb");
    for (int i = 0; i < 80; i++)
        ck_assert_int_eq(gzwrite(file, zeroes, sizeof(zeroes)), sizeof(zeroes));
    ck_assert_int_eq(gzclose(file), Z_OK);
    process_expect_refusal(PROCESS_ARGV("boot", "--memory=64M", option_with("kernel", large)), large);
}
END_TEST

/* ---- flash ---- */

/* `bytes` of it, erased. */
static const char *flash_file(const char *name, off_t bytes)
{
    const char *path = files_path(name);
    FILE *file = fopen(path, "wbe");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(ftruncate(fileno(file), bytes), 0);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

START_TEST(flash_of_a_wrong_size_is_refused)
{
    static const off_t sizes[] = {1, (32 << 20) - 1, (32 << 20) + 1, 64 << 20, 1ll << 40};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(sizes); i++) {
        const char *path = flash_file("flash", sizes[i]);
        process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("pflash0", path)), path);
        process_expect_refusal(PROCESS_ARGV("boot", kernel_option, option_with("pflash1", path)), path);
    }
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, "--pflash0=/nonexistent"), "/nonexistent");
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, "--pflash0=/dev/zero,readonly"), "/dev/zero'");
}
END_TEST

/* The code of the Image powers off: in the first bank it is firmware. */
START_TEST(flash_with_code_boots)
{
    char option[700];
    const char *path = flash_file("flash", 32 << 20);
    FILE *file = fopen(path, "r+be");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(image + 64, 1, 64, file), 64);
    ck_assert_int_eq(fclose(file), 0);
    expect_ends_well(PROCESS_ARGV("boot", option_with("pflash0", path)));
    snprintf(option, sizeof(option), "--pflash0=%s,readonly", path);
    expect_ends_well(PROCESS_ARGV("boot", option, "-c", "2"));
    expect_ends_well(PROCESS_ARGV("boot", kernel_option, option_with("pflash1", path)));
}
END_TEST

/* ---- initrd ---- */

START_TEST(initrd_larger_than_memory)
{
    const char *path = files_path("large");
    FILE *file = fopen(path, "wbe");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(ftruncate(fileno(file), 65 << 20), 0);
    ck_assert_int_eq(fclose(file), 0);
    process_expect_refusal(PROCESS_ARGV("boot", kernel_option, "--memory=64M", option_with("initrd", path)), path);
    expect_ends_well(PROCESS_ARGV("boot", kernel_option, "--memory=256M", option_with("initrd", path)));
}
END_TEST

/* ---- device tree ---- */

static const char *dump_tree(const char *name, const char *machine)
{
    const char *path = files_path(name);

    expect_ends_well(PROCESS_ARGV("run", option_with("dump-dtb", path), machine, files_demo));
    return path;
}

static void expect_dtc_takes(const char *from, const char *to)
{
    char line[2048];

    snprintf(line, sizeof(line), "'%s' -q -I dtb -O dtb -o '%s' '%s'", files_dtc, to, from);
    ck_assert_int_eq(system(line), 0); // NOLINT(cert-env33-c): a fixed program
}

START_TEST(dumped_tree_is_what_dtc_takes_and_what_dtb_takes)
{
    const char *tree = dump_tree("three.dtb", "--cpus=3"), *again = files_path("again.dtb");
    const char *const trees[] = {tree, again};
    int code;

    expect_dtc_takes(tree, again);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(trees); i++) {
        struct process *process =
            process_run(PROCESS_ARGV("run", "--cpus=1", option_with("dtb", trees[i]), files_demo), "poweroff\n", &code);
        ck_assert_msg(code == 0, "%d %s", code, process->err_text);
        ck_assert_msg(strstr(process->out_text, "3 harts") != NULL, "%s", process->out_text);
        process_free(process);
    }
}
END_TEST

/* Time in instructions, so that the seeds of random numbers in the tree repeat. */
START_TEST(tree_dumped_to_standard_output_is_the_same)
{
    const char *path = dump_tree("two.dtb", "--clock=insns");
    size_t len;
    char *tree = files_read(path, &len);
    int code;
    struct process *process =
        process_run(PROCESS_ARGV("run", "--dump-dtb=-", "--clock=insns", files_demo), NULL, &code);

    ck_assert_int_eq(code, 0);
    ck_assert_str_eq(process->err_text, "");
    ck_assert_uint_eq(process->out_len, len);
    ck_assert_mem_eq(process->out_text, tree, len);
    ck_assert_uint_eq(be32(tree + 4), len);
    process_free(process);
    free(tree);
}
END_TEST

START_TEST(boots_tree_names_command_line_and_initrd)
{
    const char *initrd = files_write("initrd", "070701", 6), *tree = files_path("boot.dtb"),
               *again = files_path("again");
    size_t len;
    char *bytes;

    expect_ends_well(PROCESS_ARGV("boot", kernel_option, option_with("initrd", initrd), "--cmdline=quiet splash=7",
                                  option_with("dump-dtb", tree)));
    expect_dtc_takes(tree, again);
    bytes = files_read(tree, &len);
    ck_assert_ptr_nonnull(memmem(bytes, len, "quiet splash=7", 15));
    ck_assert_ptr_nonnull(memmem(bytes, len, "linux,initrd-start", 19));
    free(bytes);
}
END_TEST

START_TEST(tree_that_cannot_be_written)
{
    process_expect_refusal(PROCESS_ARGV("run", "--dump-dtb=/nonexistent/tree", files_demo), "/nonexistent/tree");
    process_expect_refusal(PROCESS_ARGV("run", "--dump-dtb=/tmp", files_demo), "/tmp");
    process_expect_refusal(PROCESS_ARGV("run", "--dump-dtb=/dev/full", files_demo), "/dev/full");
    process_expect_refusal(PROCESS_ARGV("run", "--dump-dtb=", files_demo), "--dump-dtb");
}
END_TEST

static void refuse_tree(const char *bytes, size_t len)
{
    const char *path = files_write("bad.dtb", bytes, len);

    process_expect_refusal(PROCESS_ARGV("run", option_with("dtb", path), files_demo), path);
}

START_TEST(tree_cut_short_or_damaged)
{
    size_t len;
    char *tree = files_read(dump_tree("good.dtb", "--cpus=1"), &len);
    const size_t lengths[] = {1, 3, 4, 39, 40, len / 2, len - 1};
    /* FDT header (Devicetree Specification 0.4, section 5.2): magic, totalsize, off_dt_struct, off_dt_strings,
     * off_mem_rsvmap, version, last_comp_version, boot_cpuid_phys, size_dt_strings, size_dt_struct. */
    static const struct {
        size_t at;
        uint32_t value;
    } damages[] = {{0, 0xd00dfeee},  {4, 0},  {4, 0x7fffffff}, {8, 0xfffffff0}, {12, 0xfffffff0},
                   {16, 0xfffffff0}, {20, 0}, {24, 99},        {32, 0},         {36, 0xffffffff}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(lengths); i++)
        refuse_tree(tree, lengths[i]);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(damages); i++) {
        uint32_t good = be32(tree + damages[i].at);
        put_be32(tree + damages[i].at, damages[i].value);
        refuse_tree(tree, len);
        put_be32(tree + damages[i].at, good);
    }
    put_be32(tree + be32(tree + 8), 0x77); /* the first token of the structure */
    refuse_tree(tree, len);
    free(tree);
}
END_TEST

START_TEST(tree_of_more_than_a_megabyte)
{
    static char large[3 << 20];

    put_be32(large, 0xd00dfeed);
    put_be32(large + 4, sizeof(large));
    refuse_tree(large, sizeof(large));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_files");
    TCase *any = tcase_create("any_file");
    TCase *elf = tcase_create("elf");
    TCase *kernel = tcase_create("image");
    TCase *tree = tcase_create("tree");
    TCase *const all[] = {any, elf, kernel, tree};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(all); i++) {
        tcase_set_timeout(all[i], 300);
        tcase_add_checked_fixture(all[i], set_up, tear_down);
        suite_add_tcase(suite, all[i]);
    }
    tcase_add_test(any, no_file_of_that_name);
    tcase_add_test(any, directory);
    tcase_add_test(any, empty_file);
    tcase_add_test(any, file_that_cannot_be_opened);
    tcase_add_test(any, fifo_is_refused_at_once);
    tcase_add_test(any, name_that_is_too_long);
    tcase_add_test(any, files_of_another_kind);
    tcase_add_test(elf, elf_cut_short);
    tcase_add_test(elf, elf_with_a_damaged_header);
    tcase_add_test(elf, elf_with_a_damaged_segment);
    tcase_add_test(elf, elf_that_memory_is_too_small_for);
    tcase_add_test(kernel, image_boots_plain_and_compressed);
    tcase_add_test(kernel, firmware_boots);
    tcase_add_test(kernel, flash_of_a_wrong_size_is_refused);
    tcase_add_test(kernel, flash_with_code_boots);
    tcase_add_test(kernel, image_with_a_damaged_header);
    tcase_add_test(kernel, gzip_cut_short_or_damaged);
    tcase_add_test(kernel, gzip_of_something_else_or_of_too_much);
    tcase_add_test(kernel, initrd_larger_than_memory);
    tcase_add_test(tree, dumped_tree_is_what_dtc_takes_and_what_dtb_takes);
    tcase_add_test(tree, tree_dumped_to_standard_output_is_the_same);
    tcase_add_test(tree, boots_tree_names_command_line_and_initrd);
    tcase_add_test(tree, tree_that_cannot_be_written);
    tcase_add_test(tree, tree_cut_short_or_damaged);
    tcase_add_test(tree, tree_of_more_than_a_megabyte);
    return run_suite(suite);
}
