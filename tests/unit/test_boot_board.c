/* The board: its address map against QEMU's own device tree, the tree that is generated, trees from files, entry
 * states. */
#include "engine/isa/riscv/isa.h"
#include "engine/vcpu.h"
#include "machine/board_virt.h"
#include "machine/boot_state.h"
#include "machine/loader.h"
#include "test_boot.h"

#include <errno.h>
#include <libfdt.h>
#include <sys/wait.h>

#define GIB (1ull << 30)

static struct board_virt_config config;
static void *tree;

static void setup(void)
{
    test_setup();
    config = (struct board_virt_config){.hart_count = 3,
                                        .ram_bytes = GIB,
                                        .isa = ISA_ALL,
                                        .timebase_hz = BOARD_TIMEBASE_HZ,
                                        .cmdline = "console=ttyS0"};
    tree = NULL;
}

static void teardown(void)
{
    free(tree);
    test_teardown();
}

static void make_tree(void)
{
    size_t len;

    free(tree);
    tree = NULL;
    ck_assert_msg(board_virt_fdt_create(&config, &tree, &test_err) == 0, "%s", test_err.text);
    ck_assert_int_eq(board_virt_fdt_finish(tree, &len, &test_err), 0);
    ck_assert_uint_eq(len, fdt_totalsize(tree));
    ck_assert_msg(loader_check_dtb("generated", tree, len, &test_err) == 0, "%s", test_err.text);
}

static int node_at(const char *path)
{
    int node = fdt_path_offset(tree, path);

    ck_assert_msg(node >= 0, "no node %s", path);
    return node;
}

static const char *string_at(const char *path, const char *name)
{
    int len;
    const char *text = fdt_getprop(tree, node_at(path), name, &len);

    ck_assert_msg(text != NULL, "no %s in %s", name, path);
    ck_assert_uint_eq(strlen(text) + 1, (size_t)len);
    return text;
}

static uint64_t number_at(const char *path, const char *name)
{
    int len;
    const fdt32_t *cells = fdt_getprop(tree, node_at(path), name, &len);

    ck_assert_msg(cells && (len == 4 || len == 8), "%s in %s: %d", name, path, len);
    uint64_t high = fdt32_to_cpu(cells[0]);
    return len == 4 ? high : high << 32 | fdt32_to_cpu(cells[1]);
}

static bool has(const char *path, const char *name)
{
    return fdt_getprop(tree, node_at(path), name, NULL) != NULL;
}

START_TEST(tree_root_and_soc_have_two_cells)
{
    make_tree();
    ck_assert_str_eq(string_at("/", "compatible"), "riscv-virtio");
    ck_assert_uint_eq(number_at("/", "#address-cells"), 2);
    ck_assert_uint_eq(number_at("/", "#size-cells"), 2);
    ck_assert_str_eq(string_at("/soc", "compatible"), "simple-bus");
    ck_assert(has("/soc", "ranges"));
}
END_TEST

START_TEST(tree_memory_is_all_of_ram)
{
    int len;

    config.ram_bytes = 6 * GIB;
    make_tree();
    const fdt64_t *reg = fdt_getprop(tree, node_at("/memory@80000000"), "reg", &len);
    ck_assert_int_eq(len, 16);
    ck_assert_uint_eq(fdt64_ld(&reg[0]), 0x80000000);
    ck_assert_uint_eq(fdt64_ld(&reg[1]), 6 * GIB);
}
END_TEST

START_TEST(tree_cpus_come_in_order_with_their_handles)
{
    make_tree();
    uint32_t hart = 0;
    int node, cpus = node_at("/cpus");
    fdt_for_each_subnode(node, tree, cpus)
    {
        char path[64];
        if (!strcmp(fdt_get_name(tree, node, NULL), "cpu-map"))
            continue;
        ck_assert_int_eq(fdt_get_path(tree, node, path, sizeof(path)), 0);
        ck_assert_uint_eq(number_at(path, "reg"), hart);
        ck_assert_str_eq(string_at(path, "mmu-type"), "riscv,sv57");
        ck_assert_str_eq(string_at(path, "status"), "okay");
        ck_assert_uint_eq(fdt_get_phandle(tree, node), BOARD_PHANDLE_CPU0 + hart);
        int intc = fdt_node_offset_by_phandle(tree, BOARD_PHANDLE_INTC0 + hart);
        ck_assert_int_eq(fdt_parent_offset(tree, intc), node);
        ck_assert_int_eq(fdt_node_check_compatible(tree, intc, "riscv,cpu-intc"), 0);
        snprintf(path, sizeof(path), "/cpus/cpu-map/cluster0/core%u", hart);
        ck_assert_uint_eq(number_at(path, "cpu"), BOARD_PHANDLE_CPU0 + hart);
        hart++;
    }
    ck_assert_uint_eq(hart, 3);
    ck_assert_uint_eq(number_at("/cpus", "timebase-frequency"), 10000000);
}
END_TEST

START_TEST(tree_isa_is_told_in_both_ways)
{
    int len;

    config.isa = ISA_EXT(I) | ISA_EXT(M) | ISA_EXT(C) | ISA_EXT(ZICSR) | ISA_EXT(SSTC);
    make_tree();
    ck_assert_str_eq(string_at("/cpus/cpu@0", "riscv,isa"), "rv64imc_zicsr_sstc");
    ck_assert_str_eq(string_at("/cpus/cpu@0", "riscv,isa-base"), "rv64i");
    const char *list = fdt_getprop(tree, node_at("/cpus/cpu@0"), "riscv,isa-extensions", &len);
    ck_assert_int_eq(len, (int)sizeof("i\0m\0c\0zicsr\0sstc"));
    ck_assert_mem_eq(list, "i\0m\0c\0zicsr\0sstc", (size_t)len);
    config.has_imsic = true;
    make_tree();
    ck_assert_str_eq(string_at("/cpus/cpu@0", "riscv,isa"), "rv64imc_zicsr_smaia_ssaia_sstc");
    list = fdt_getprop(tree, node_at("/cpus/cpu@0"), "riscv,isa-extensions", &len);
    ck_assert_int_eq(len, (int)sizeof("i\0m\0c\0zicsr\0smaia\0ssaia\0sstc"));
    ck_assert_mem_eq(list, "i\0m\0c\0zicsr\0smaia\0ssaia\0sstc", (size_t)len);
    config.has_imsic = false;
    config.isa = ISA_ALL;
    make_tree();
    const char *all = string_at("/cpus/cpu@2", "riscv,isa");
    ck_assert_int_eq(strncmp(all, "rv64imafdc_", 11), 0);
    ck_assert_ptr_nonnull(strstr(all, "_sstc"));
    ck_assert_ptr_null(strstr(all, "__"));
    ck_assert_ptr_nonnull(strstr(all, "_svnapot"));
    ck_assert_ptr_null(strstr(all, "_sv48")); /* mmu-type tells */
}
END_TEST

START_TEST(tree_tells_the_largest_mode_of_page_tables)
{
    config.isa = ISA_ALL & ~ISA_EXT(SV57);
    make_tree();
    ck_assert_str_eq(string_at("/cpus/cpu@0", "mmu-type"), "riscv,sv48");
    config.isa = ISA_DEFAULT;
    make_tree();
    ck_assert_str_eq(string_at("/cpus/cpu@0", "mmu-type"), "riscv,sv39");
}
END_TEST

/* ISA manual, "ISA Extension Naming Conventions": single letters, then Z by the letter of the category behind it, then
 * S; the same ones by the alphabet. */
static unsigned canonical_rank(const char *name)
{
    static const char order[] = "imafdqlcbkjtpvnh";
    const char *letter = strchr(order, name[0] == 'z' ? name[1] : name[0]);

    if (name[1] && name[0] == 's')
        return 1000;
    ck_assert_msg(letter != NULL, "%s", name);
    return (name[0] == 'z' ? 100 : 0) + (unsigned)(letter - order);
}

START_TEST(extensions_are_in_canonical_order)
{
    static const char *const names[] = {
#define X(id, name) name,
        ISA_EXTENSIONS(X)
#undef X
    };

    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++) {
        unsigned before = canonical_rank(names[i - 1]), here = canonical_rank(names[i]);
        ck_assert_msg(before < here || (before == here && strcmp(names[i - 1], names[i]) < 0), "%s before %s",
                      names[i - 1], names[i]);
    }
}
END_TEST

START_TEST(tree_tells_the_size_of_cache_blocks_where_they_can_be_operated_on)
{
    make_tree();
    ck_assert_uint_eq(number_at("/cpus/cpu@1", "riscv,cbom-block-size"), 64);
    ck_assert_uint_eq(number_at("/cpus/cpu@1", "riscv,cbop-block-size"), 64);
    ck_assert_uint_eq(number_at("/cpus/cpu@1", "riscv,cboz-block-size"), 64);
    config.isa &= ~ISA_EXT(ZICBOM);
    make_tree();
    ck_assert_ptr_null(fdt_getprop(tree, node_at("/cpus/cpu@1"), "riscv,cbom-block-size", NULL));
    ck_assert_uint_eq(number_at("/cpus/cpu@1", "riscv,cboz-block-size"), 64);
}
END_TEST

START_TEST(tree_chosen_has_what_was_asked_for)
{
    make_tree();
    ck_assert_str_eq(string_at("/chosen", "bootargs"), "console=ttyS0");
    ck_assert_str_eq(string_at("/chosen", "stdout-path"), "/soc/serial@10000000");
    ck_assert(!has("/chosen", "linux,initrd-start"));
    ck_assert(!has("/chosen", "rng-seed"));
    config.cmdline = NULL;
    config.initrd_start = 0x187654000;
    config.initrd_end = 0x187699999;
    make_tree();
    ck_assert(!has("/chosen", "bootargs"));
    ck_assert_uint_eq(number_at("/chosen", "linux,initrd-start"), 0x187654000);
    ck_assert_uint_eq(number_at("/chosen", "linux,initrd-end"), 0x187699999);
}
END_TEST

START_TEST(seeds_differ_unless_runs_must_repeat)
{
    struct board_virt_config other = config;
    int len;

    ck_assert_int_eq(board_virt_seeds(&config, false, &test_err), 0);
    ck_assert_int_eq(board_virt_seeds(&other, false, &test_err), 0);
    ck_assert_mem_ne(config.rng_seed, other.rng_seed, BOARD_RNG_SEED_BYTES);
    ck_assert_uint_ne(config.kaslr_seed, other.kaslr_seed);
    make_tree();
    const void *seed = fdt_getprop(tree, node_at("/chosen"), "rng-seed", &len);
    ck_assert_int_eq(len, BOARD_RNG_SEED_BYTES);
    ck_assert_mem_eq(seed, config.rng_seed, BOARD_RNG_SEED_BYTES);
    ck_assert_uint_eq(number_at("/chosen", "kaslr-seed"), config.kaslr_seed);
    ck_assert_int_eq(board_virt_seeds(&config, true, &test_err), 0);
    ck_assert_int_eq(board_virt_seeds(&other, true, &test_err), 0);
    ck_assert_mem_eq(config.rng_seed, other.rng_seed, BOARD_RNG_SEED_BYTES);
    ck_assert_uint_eq(config.kaslr_seed, other.kaslr_seed);
}
END_TEST

START_TEST(tree_holds_as_many_harts_as_the_board)
{
    config.hart_count = BOARD_HARTS_MAX;
    make_tree();
    ck_assert_uint_eq(number_at("/cpus/cpu@3f", "reg"), 63);
    config.hart_count = BOARD_HARTS_MAX + 1;
    void *none = NULL;
    ck_assert_int_eq(board_virt_fdt_create(&config, &none, &test_err), -EINVAL);
    ck_error_says(&test_err, "65");
    config.hart_count = 0;
    ck_assert_int_eq(board_virt_fdt_create(&config, &none, &test_err), -EINVAL);
}
END_TEST

START_TEST(tree_has_room_for_the_devices)
{
    uint8_t big[16 << 10] = {0};

    config.hart_count = BOARD_HARTS_MAX;
    ck_assert_int_eq(board_virt_fdt_create(&config, &tree, &test_err), 0);
    ck_assert_int_eq(fdt_setprop(tree, node_at("/soc"), "test", big, sizeof(big)), 0);
}
END_TEST

START_TEST(command_line_has_a_limit)
{
    size_t len = 64 << 10;
    char *text = malloc(len + 1);

    memset(text, 'a', len);
    text[len] = 0;
    config.cmdline = text;
    void *none = NULL;
    ck_assert_int_eq(board_virt_fdt_create(&config, &none, &test_err), -E2BIG);
    ck_error_says(&test_err, "65536");
    text[len - 1] = 0;
    make_tree();
    ck_assert_uint_eq(strlen(string_at("/chosen", "bootargs")), len - 1);
    free(text);
}
END_TEST

/* dtc reads it without an error or a warning about its syntax, where dtc is installed. */
START_TEST(tree_is_accepted_by_dtc)
{
    char command[512];

    make_tree();
    test_write_file(tree, fdt_totalsize(tree));
    if (system("dtc --version >/dev/null 2>&1") != 0) {
        fprintf(stderr, "tree_is_accepted_by_dtc: skipped, dtc (device-tree-compiler) is not installed\n");
        return;
    }
    snprintf(command, sizeof(command), "dtc -I dtb -O dts -o /dev/null %s 2>&1", test_path);
    FILE *dtc = popen(command, "r");
    ck_assert_ptr_nonnull(dtc);
    char said[256] = "";
    size_t len = fread(said, 1, sizeof(said) - 1, dtc);
    ck_assert_int_eq(pclose(dtc), 0);
    ck_assert_msg(len == 0, "dtc said: %s", said);
}
END_TEST

static uint64_t reg_of(const void *fdt, const char *compatible, int index)
{
    int node = fdt_node_offset_by_compatible(fdt, -1, compatible), len;
    const fdt64_t *reg = node < 0 ? NULL : fdt_getprop(fdt, node, "reg", &len);

    ck_assert_msg(reg != NULL, "QEMU's tree has no %s", compatible);
    return fdt64_ld(&reg[index]); /* aligned to 4 bytes only */
}

START_TEST(address_map_is_that_of_qemu)
{
    char command[512];
    size_t len;

    if (system("qemu-system-riscv64 --version >/dev/null 2>&1") != 0) {
        fprintf(stderr, "address_map_is_that_of_qemu: skipped, qemu-system-riscv64 is not installed\n");
        return;
    }
    snprintf(command, sizeof(command),
             "qemu-system-riscv64 -M virt,dumpdtb=%s -smp 1 -m 64 -display none -bios none >/dev/null 2>&1", test_path);
    ck_assert_int_eq(system(command), 0);
    ck_assert_msg(loader_load_dtb(test_path, &tree, &len, &test_err) == 0, "%s", test_err.text);
    static const struct {
        const char *compatible;
        uint64_t gpa, bytes;
    } devices[] = {
        {"sifive,test1", BOARD_TEST_GPA, BOARD_TEST_BYTES},
        {"google,goldfish-rtc", BOARD_RTC_GPA, BOARD_RTC_BYTES},
        {"riscv,clint0", BOARD_CLINT_GPA, BOARD_CLINT_BYTES},
        {"riscv,plic0", BOARD_PLIC_GPA, BOARD_PLIC_BYTES},
        {"ns16550a", BOARD_UART_GPA, BOARD_UART_BYTES},
        {"pci-host-ecam-generic", BOARD_PCIE_ECAM_GPA, BOARD_PCIE_ECAM_BYTES},
    };
    for (size_t i = 0; i < TUFF_ARRAY_LEN(devices); i++) {
        ck_assert_uint_eq(reg_of(tree, devices[i].compatible, 0), devices[i].gpa);
        ck_assert_uint_eq(reg_of(tree, devices[i].compatible, 1), devices[i].bytes);
    }
    for (unsigned slot = 0; slot < BOARD_VIRTIO_SLOTS; slot++) {
        char path[64];
        uint64_t gpa = BOARD_VIRTIO_GPA + slot * (uint64_t)BOARD_VIRTIO_SLOT_BYTES;
        snprintf(path, sizeof(path), "/soc/virtio_mmio@%llx", (unsigned long long)gpa);
        ck_assert_uint_eq(number_at(path, "interrupts"), BOARD_IRQ_VIRTIO0 + slot);
    }
    ck_assert_uint_eq(number_at("/soc/serial@10000000", "interrupts"), BOARD_IRQ_UART);
    ck_assert_uint_eq(number_at("/soc/serial@10000000", "clock-frequency"), BOARD_UART_CLOCK_HZ);
    ck_assert_uint_eq(number_at("/soc/rtc@101000", "interrupts"), BOARD_IRQ_RTC);
    ck_assert_uint_eq(number_at("/cpus", "timebase-frequency"), BOARD_TIMEBASE_HZ);
    ck_assert_str_eq(string_at("/", "compatible"), "riscv-virtio");
}
END_TEST

/* Linux numbers serial ports by their aliases, not by the order of nodes. */
START_TEST(serial_ports_that_exist_have_aliases)
{
    void *fdt;
    size_t len;

    ck_assert_int_eq(board_virt_fdt_create(&config, &fdt, &test_err), 0);
    ck_assert_int_ge(fdt_add_subnode(fdt, fdt_path_offset(fdt, "/soc"), "serial@10009000"), 0);
    ck_assert_int_ge(fdt_add_subnode(fdt, fdt_path_offset(fdt, "/soc"), "serial@10000000"), 0);
    ck_assert_int_eq(board_virt_fdt_finish(fdt, &len, &test_err), 0);
    ck_assert_str_eq(fdt_get_alias(fdt, "serial0"), "/soc/serial@10000000");
    ck_assert_str_eq(fdt_get_alias(fdt, "serial1"), "/soc/serial@10009000");
    free(fdt);
    make_tree(); /* without any */
    ck_assert_int_lt(fdt_path_offset(tree, "/aliases"), 0);
}
END_TEST

START_TEST(adopted_tree_gets_boot_values)
{
    void *adopted;
    size_t len;

    make_tree();
    config.cmdline = "quiet";
    config.initrd_start = 0x88000000;
    config.initrd_end = 0x88001000;
    ck_assert_msg(board_virt_fdt_adopt(tree, &config, &adopted, &len, &test_err) == 0, "%s", test_err.text);
    ck_assert_uint_eq(len, fdt_totalsize(adopted));
    ck_assert_str_eq(string_at("/chosen", "bootargs"), "console=ttyS0"); /* the original is untouched */
    free(tree);
    tree = adopted;
    ck_assert_str_eq(string_at("/chosen", "bootargs"), "quiet");
    ck_assert_uint_eq(number_at("/chosen", "linux,initrd-start"), 0x88000000);
    config.cmdline = NULL;
    config.initrd_end = 0;
    ck_assert_int_eq(board_virt_fdt_adopt(tree, &config, &adopted, &len, &test_err), 0);
    free(tree);
    tree = adopted;
    ck_assert_str_eq(string_at("/chosen", "bootargs"), "quiet");
}
END_TEST

START_TEST(adopted_tree_without_chosen_gets_one)
{
    void *adopted;
    size_t len;

    make_tree();
    ck_assert_int_eq(fdt_del_node(tree, node_at("/chosen")), 0);
    ck_assert_int_eq(fdt_pack(tree), 0);
    ck_assert_int_eq(board_virt_fdt_adopt(tree, &config, &adopted, &len, &test_err), 0);
    free(tree);
    tree = adopted;
    ck_assert_str_eq(string_at("/chosen", "bootargs"), "console=ttyS0");
}
END_TEST

static void expect_not_adopted(const char *says)
{
    void *adopted;
    size_t len;

    ck_assert_int_eq(board_virt_fdt_adopt(tree, &config, &adopted, &len, &test_err), -EINVAL);
    ck_error_says(&test_err, says);
}

START_TEST(adopted_tree_must_describe_the_guests_memory)
{
    make_tree();
    config.ram_bytes = GIB - 4096;
    expect_not_adopted("1073741824");
    config.ram_bytes = GIB;
    fdt64_t reg[2] = {cpu_to_fdt64(0x40000000), cpu_to_fdt64(4096)};
    ck_assert_int_eq(fdt_setprop_inplace(tree, node_at("/memory@80000000"), "reg", reg, sizeof(reg)), 0);
    expect_not_adopted("0x40000000");
    reg[0] = cpu_to_fdt64(0x80000000 + GIB);
    reg[1] = cpu_to_fdt64(UINT64_MAX);
    ck_assert_int_eq(fdt_setprop_inplace(tree, node_at("/memory@80000000"), "reg", reg, sizeof(reg)), 0);
    expect_not_adopted("--memory");
    reg[0] = cpu_to_fdt64(0x80000000 + 4 * GIB);
    reg[1] = cpu_to_fdt64(4096);
    ck_assert_int_eq(fdt_setprop_inplace(tree, node_at("/memory@80000000"), "reg", reg, sizeof(reg)), 0);
    expect_not_adopted("0x180000000");
    ck_assert_int_eq(fdt_setprop_inplace_u32(tree, 0, "#address-cells", 3), 0);
    expect_not_adopted("3 address");
    ck_assert_int_eq(fdt_setprop_inplace_u32(tree, 0, "#address-cells", 2), 0);
    ck_assert_int_eq(fdt_del_node(tree, node_at("/memory@80000000")), 0);
    expect_not_adopted("no memory node");
}
END_TEST

START_TEST(supervisor_state_is_what_firmware_leaves)
{
    struct vcpu_state state = {.hart_id = 2, .satp = 8ull << 60, .mstatus = 0xe000a | 3ull << 13, .mie = 0xaaa};

    memset(state.x, 0x77, sizeof(state.x));
    boot_supervisor_state(&state, ISA_ALL, 0x80200000, 0x88000000);
    ck_assert_uint_eq(state.pc, 0x80200000);
    ck_assert_uint_eq(state.priv, VCPU_PRIV_S);
    ck_assert_uint_eq(state.x[10], 2);
    ck_assert_uint_eq(state.x[11], 0x88000000);
    ck_assert_uint_eq(state.x[0], 0);
    ck_assert_uint_eq(state.satp, 0);
    ck_assert_uint_eq(state.mstatus, 3ull << 13); /* SIE, MIE, MPRV, SUM, MXR gone, FS kept */
    ck_assert_uint_eq(state.mideleg, 0x2222);
    ck_assert_uint_eq(state.medeleg, 0x4b1ff);
    ck_assert_uint_eq(state.mie, 0);
    ck_assert_uint_eq(state.menvcfg, 7ull << 61 | 0xf0);
    ck_assert_uint_eq(state.mcounteren, 0xffffffff);
    ck_assert_uint_eq(state.mstateen[0], 3ull << 62 | 7ull << 58);
    ck_assert_uint_eq(state.pmpcfg[0], 0x1f);
    ck_assert_uint_eq(state.stimecmp, UINT64_MAX);
    boot_supervisor_state(&state, ISA_EXT(I), 0x80200000, 0);
    ck_assert_uint_eq(state.menvcfg, 0);
}
END_TEST

START_TEST(supervisor_state_keeps_the_timer_of_a_hart_that_resumes)
{
    struct vcpu_state state = {.hart_id = 1};

    boot_supervisor_state(&state, ISA_ALL, 0x80200000, 0);
    state.stimecmp = 12345;
    boot_supervisor_state(&state, ISA_ALL, 0x80200000, 0);
    ck_assert_uint_eq(state.stimecmp, 12345);
}
END_TEST

START_TEST(machine_state_changes_only_the_registers_of_the_boot_protocol)
{
    struct vcpu_state state = {.hart_id = 1, .priv = VCPU_PRIV_M, .mstatus = 0x1234, .mtvec = 0x80}, before = state;

    boot_machine_state(&state, 0x80000000, 0x87000000, 0x86fff000);
    ck_assert_uint_eq(state.pc, 0x80000000);
    ck_assert_uint_eq(state.x[10], 1);
    ck_assert_uint_eq(state.x[11], 0x87000000);
    before.pc = state.pc;
    before.x[10] = state.x[10];
    ck_assert_uint_eq(state.x[12], 0x86fff000);
    before.x[11] = state.x[11];
    before.x[12] = state.x[12];
    ck_assert_mem_eq(&state, &before, sizeof(state));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_board");
    TCase *board = tcase_create("board");

    tcase_add_checked_fixture(board, setup, teardown);
    tcase_add_test(board, tree_root_and_soc_have_two_cells);
    tcase_add_test(board, tree_memory_is_all_of_ram);
    tcase_add_test(board, tree_cpus_come_in_order_with_their_handles);
    tcase_add_test(board, tree_isa_is_told_in_both_ways);
    tcase_add_test(board, tree_tells_the_largest_mode_of_page_tables);
    tcase_add_test(board, extensions_are_in_canonical_order);
    tcase_add_test(board, tree_tells_the_size_of_cache_blocks_where_they_can_be_operated_on);
    tcase_add_test(board, tree_chosen_has_what_was_asked_for);
    tcase_add_test(board, seeds_differ_unless_runs_must_repeat);
    tcase_add_test(board, tree_holds_as_many_harts_as_the_board);
    tcase_add_test(board, tree_has_room_for_the_devices);
    tcase_add_test(board, command_line_has_a_limit);
    tcase_add_test(board, tree_is_accepted_by_dtc);
    tcase_add_test(board, address_map_is_that_of_qemu);
    tcase_add_test(board, serial_ports_that_exist_have_aliases);
    tcase_add_test(board, adopted_tree_gets_boot_values);
    tcase_add_test(board, adopted_tree_without_chosen_gets_one);
    tcase_add_test(board, adopted_tree_must_describe_the_guests_memory);
    tcase_add_test(board, supervisor_state_is_what_firmware_leaves);
    tcase_add_test(board, supervisor_state_keeps_the_timer_of_a_hart_that_resumes);
    tcase_add_test(board, machine_state_changes_only_the_registers_of_the_boot_protocol);
    suite_add_tcase(suite, board);
    return run_suite(suite);
}
