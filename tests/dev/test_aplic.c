/* APLIC: source modes, delegation, direct and MSI delivery as Linux's irq-riscv-aplic and OpenSBI use them, saved
 * state, device tree. */
#include "dev/aplic.h"
#include "dev_test.h"

enum { M_BASE = 0xc000000, S_BASE = 0xd000000, HARTS = 2, IRQ = 10, WORD = 4 * (IRQ / 32), BIT = 1 << IRQ };
enum { SOURCECFG = 4, MSIADDRCFG = 0x1bc0, SETIP = 0x1c00, SETIPNUM = 0x1cdc, IN_CLRIP = 0x1d00, CLRIPNUM = 0x1ddc };
enum {
    SETIE = 0x1e00,
    SETIENUM = 0x1edc,
    CLRIE = 0x1f00,
    CLRIENUM = 0x1fdc,
    SETIPNUM_LE = 0x2000,
    SETIPNUM_BE = 0x2004
};
enum { GENMSI = 0x3000, TARGET = 0x3004, IDC = 0x4000, IDC_BYTES = 32 };
enum { IDELIVERY = 0, IFORCE = 4, ITHRESHOLD = 8, TOPI = 0x18, CLAIMI = 0x1c };

static struct mem *mem;
static struct device *dev;
static struct line_log lines[HARTS * APLIC_DOMAINS];
static struct {
    unsigned count;
    uint64_t gpa;
    uint32_t data;
} sent;

static void on_message(void *opaque, uint64_t gpa, uint32_t data)
{
    sent.count++;
    sent.gpa = gpa;
    sent.data = data;
}

static void create(bool msi, bool hide)
{
    static const uint32_t intc[HARTS] = {4, 2};
    struct irq_line m[HARTS], s[HARTS];

    memset(lines, 0, sizeof(lines));
    memset(&sent, 0, sizeof(sent));
    mem = make_mem();
    for (uint32_t i = 0; i < HARTS; i++) {
        m[i] = line_to(lines, i);
        s[i] = line_to(lines, HARTS + i);
    }
    const struct aplic_config config = {.mem = mem,
                                        .gpa = {M_BASE, S_BASE},
                                        .hart_count = HARTS,
                                        .lines = {m, s},
                                        .message = msi ? on_message : NULL,
                                        .msi_gpa = {0x24000000, 0x28000000},
                                        .msi_phandles = {5, 6},
                                        .phandles = {7, 8},
                                        .intc_phandles = intc,
                                        .hide_machine_mode = hide};
    ck_assert_int_eq(aplic_create(&config, &dev), 0);
}

static void setup_direct(void)
{
    create(false, false);
}

static void setup_msi(void)
{
    create(true, false);
}

static void teardown(void)
{
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

static uint32_t in(uint64_t gpa)
{
    return (uint32_t)mmio_read(mem, gpa, 4);
}

static void out(uint64_t gpa, uint32_t value)
{
    mmio_write(mem, gpa, 4, value);
}

static void input(bool level)
{
    struct irq_line line = aplic_source(dev, IRQ);

    irq_set(&line, level);
}

static uint64_t cfg(uint64_t base)
{
    return base + SOURCECFG + 4 * (IRQ - 1);
}

static uint64_t target(uint64_t base)
{
    return base + TARGET + 4 * (IRQ - 1);
}

/* The source in `mode`, enabled, to hart 1; the domain and the hart's delivery on. */
static void arm(uint64_t base, uint32_t mode, uint32_t low)
{
    out(cfg(base), mode);
    out(target(base), 1 << 18 | low);
    out(base + SETIENUM, IRQ);
    out(base + IDC + IDC_BYTES + IDELIVERY, 1);
    out(base, 0x100);
}

START_TEST(reset_has_nothing_enabled)
{
    ck_assert_uint_eq(in(M_BASE), 0x80000000);
    for (uint32_t offset = 4; offset < APLIC_BYTES; offset += 4)
        ck_assert_uint_eq(in(M_BASE + offset), 0);
    out(M_BASE, UINT32_MAX);
    ck_assert_uint_eq(in(M_BASE), 0x80000100);
}
END_TEST

START_TEST(source_modes_are_legal_ones)
{
    static const uint32_t wanted[][2] = {{0, 0}, {1, 1}, {2, 0},         {3, 0},         {4, 4},   {5, 5},
                                         {6, 6}, {7, 7}, {0x400, 0x400}, {0x7ff, 0x400}, {0xf6, 6}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wanted); i++) {
        out(cfg(M_BASE), wanted[i][0]);
        ck_assert_uint_eq(in(cfg(M_BASE)), wanted[i][1]);
    }
    out(M_BASE + SOURCECFG + 4 * APLIC_SOURCES, 4); /* one too many */
    ck_assert_uint_eq(in(M_BASE + SOURCECFG + 4 * APLIC_SOURCES), 0);
}
END_TEST

START_TEST(child_has_only_what_is_delegated)
{
    out(cfg(S_BASE), 6);
    ck_assert_uint_eq(in(cfg(S_BASE)), 0);
    out(cfg(M_BASE), 0x400);
    out(cfg(S_BASE), 0x400); /* no child of its own */
    ck_assert_uint_eq(in(cfg(S_BASE)), 0);
    arm(S_BASE, 6, 1);
    out(target(M_BASE), 5);
    out(M_BASE + SETIENUM, IRQ);
    ck_assert_uint_eq(in(target(M_BASE)), 0);
    ck_assert_uint_eq(in(M_BASE + SETIE + WORD), 0);
    input(true);
    ck_assert(lines[HARTS + 1].level);
    ck_assert(!lines[1].level);
    out(cfg(M_BASE), 6); /* taken back */
    ck_assert(!lines[HARTS + 1].level);
    ck_assert_uint_eq(in(cfg(S_BASE)), 0);
    ck_assert_uint_eq(in(target(S_BASE)), 0);
}
END_TEST

START_TEST(level_follows_the_input)
{
    arm(M_BASE, 6, 3);
    input(true);
    ck_assert(lines[1].level);
    ck_assert_uint_eq(in(M_BASE + IN_CLRIP + WORD), BIT);
    ck_assert_uint_eq(in(M_BASE + IDC + IDC_BYTES + CLAIMI), IRQ << 16 | 3);
    ck_assert(lines[1].level);
    out(M_BASE + CLRIPNUM, IRQ);
    ck_assert(lines[1].level);
    input(false);
    ck_assert(!lines[1].level);
    out(M_BASE + SETIPNUM, IRQ);
    ck_assert(!lines[1].level);
    out(cfg(M_BASE), 7);
    ck_assert(lines[1].level);
}
END_TEST

START_TEST(edge_is_pending_until_claimed)
{
    arm(M_BASE, 4, 3);
    input(true);
    input(false);
    ck_assert(lines[1].level);
    ck_assert_uint_eq(in(M_BASE + IDC + IDC_BYTES + CLAIMI), IRQ << 16 | 3);
    ck_assert(!lines[1].level);
    ck_assert_uint_eq(in(M_BASE + IDC + IDC_BYTES + CLAIMI), 0);
    out(cfg(M_BASE), 5);
    input(true);
    ck_assert(!lines[1].level);
    input(false);
    ck_assert(lines[1].level);
    out(M_BASE + IN_CLRIP + WORD, BIT);
    ck_assert(!lines[1].level);
}
END_TEST

START_TEST(detached_listens_to_software_only)
{
    arm(M_BASE, 1, 3);
    input(true);
    ck_assert(!lines[1].level);
    out(M_BASE + SETIPNUM_LE, IRQ);
    ck_assert(lines[1].level);
    out(M_BASE + CLRIPNUM, IRQ);
    out(M_BASE + SETIPNUM_BE, (uint32_t)IRQ << 24);
    ck_assert(lines[1].level);
    out(M_BASE + CLRIE + WORD, BIT);
    ck_assert(!lines[1].level);
    out(M_BASE + SETIE + WORD, BIT);
    ck_assert(lines[1].level);
    out(M_BASE + CLRIENUM, IRQ);
    ck_assert(!lines[1].level);
    out(M_BASE + SETIPNUM, 0);
    out(M_BASE + SETIPNUM, APLIC_SOURCES + 1);
    out(M_BASE + SETIENUM, UINT32_MAX);
}
END_TEST

START_TEST(every_gate_closes_the_line)
{
    arm(M_BASE, 6, 3);
    input(true);
    out(M_BASE + IDC + IDC_BYTES + ITHRESHOLD, 3);
    ck_assert(!lines[1].level);
    out(M_BASE + IDC + IDC_BYTES + ITHRESHOLD, 4);
    ck_assert(lines[1].level);
    out(M_BASE + IDC + IDC_BYTES + IDELIVERY, 0);
    ck_assert(!lines[1].level);
    out(M_BASE + IDC + IDC_BYTES + IDELIVERY, 1);
    out(M_BASE, 0);
    ck_assert(!lines[1].level);
    out(M_BASE, 0x100);
    ck_assert(lines[1].level);
    out(target(M_BASE), 3); /* to hart 0 */
    ck_assert(!lines[1].level && !lines[0].level);
    out(M_BASE + IDC + IDELIVERY, 1);
    ck_assert(lines[0].level);
}
END_TEST

START_TEST(forced_interrupt_is_cleared_by_a_spurious_claim)
{
    arm(M_BASE, 4, 3);
    out(M_BASE + IDC + IDC_BYTES + IFORCE, 1);
    ck_assert(lines[1].level);
    ck_assert_uint_eq(in(M_BASE + IDC + IDC_BYTES + TOPI), 0);
    ck_assert_uint_eq(in(M_BASE + IDC + IDC_BYTES + CLAIMI), 0);
    ck_assert_uint_eq(in(M_BASE + IDC + IDC_BYTES + IFORCE), 0);
    ck_assert(!lines[1].level);
}
END_TEST

START_TEST(target_holds_legal_values)
{
    out(cfg(M_BASE), 4);
    ck_assert_uint_eq(in(target(M_BASE)), 1);
    out(target(M_BASE), 0);
    ck_assert_uint_eq(in(target(M_BASE)), 1);
    out(target(M_BASE), UINT32_MAX); /* a hart that is not there */
    ck_assert_uint_eq(in(target(M_BASE)), 0xff);
    out(M_BASE + IDC + 2 * IDC_BYTES, 1);
    ck_assert_uint_eq(in(M_BASE + IDC + 2 * IDC_BYTES), 0);
}
END_TEST

START_TEST(msi_of_an_edge_is_sent_once)
{
    ck_assert_uint_eq(in(M_BASE), 0x80000004);
    arm(M_BASE, 4, 55);
    input(true);
    ck_assert_uint_eq(sent.count, 1);
    ck_assert_uint_eq(sent.gpa, 0x24001000);
    ck_assert_uint_eq(sent.data, 55);
    ck_assert_uint_eq(in(M_BASE + SETIP + WORD), 0);
    input(false);
    ck_assert_uint_eq(sent.count, 1);
}
END_TEST

START_TEST(msi_of_a_level_is_sent_when_it_rises_or_is_asked_for)
{
    out(cfg(M_BASE), 0x400);
    arm(S_BASE, 6, 21);
    input(true);
    ck_assert_uint_eq(sent.count, 1);
    ck_assert_uint_eq(sent.gpa, 0x28001000);
    out(S_BASE + SETIPNUM_LE, IRQ); /* Linux, at the end of the interrupt: still high? */
    ck_assert_uint_eq(sent.count, 2);
    input(false);
    out(S_BASE + SETIPNUM_LE, IRQ);
    ck_assert_uint_eq(sent.count, 2);
}
END_TEST

START_TEST(msi_waits_for_the_domain)
{
    arm(M_BASE, 4, 55);
    out(M_BASE, 0);
    input(true);
    ck_assert_uint_eq(sent.count, 0);
    ck_assert_uint_eq(in(M_BASE + SETIP + WORD), BIT);
    out(M_BASE, 0x100);
    ck_assert_uint_eq(sent.count, 1);
    out(M_BASE, 0);
    out(M_BASE + GENMSI, 1 << 18 | 99); /* does not wait */
    ck_assert_uint_eq(sent.count, 2);
    ck_assert_uint_eq(sent.data, 99);
}
END_TEST

/* Section 4.9.1: two groups of two, the registers as one writes them for QEMU's two sockets. */
START_TEST(msi_address_is_made_of_group_and_hart)
{
    out(M_BASE + MSIADDRCFG, 0x24000);
    out(M_BASE + MSIADDRCFG + 4, 12u << 24 | 1u << 16 | 0u << 12); /* HHXS 12, HHXW 1, LHXW 0 */
    arm(M_BASE, 4, 1);
    input(true);
    ck_assert_uint_eq(sent.gpa, 0x24000000 + (1ull << 36));
    out(M_BASE + MSIADDRCFG + 4, 1u << 20 | 6u << 12); /* LHXS 1: every other page */
    input(false);
    input(true);
    ck_assert_uint_eq(sent.gpa, 0x24002000);
    out(M_BASE + MSIADDRCFG + 4, UINT32_MAX); /* locked */
    out(M_BASE + MSIADDRCFG, 0);
    ck_assert_uint_eq(in(M_BASE + MSIADDRCFG), 0x24000);
    ck_assert_uint_eq(in(S_BASE + MSIADDRCFG), 0);
}
END_TEST

START_TEST(msi_domain_has_no_idc)
{
    out(M_BASE + IDC + IDELIVERY, 1);
    ck_assert_uint_eq(in(M_BASE + IDC + IDELIVERY), 0);
    ck_assert_uint_eq(in(M_BASE + IDC + CLAIMI), 0);
}
END_TEST

START_TEST(saved_state_drives_the_lines_again)
{
    out(cfg(M_BASE), 0x400);
    arm(S_BASE, 6, 9);
    input(true);
    save_reset_load(dev);
    ck_assert(lines[HARTS + 1].level);
    ck_assert_uint_eq(in(S_BASE + IDC + IDC_BYTES + TOPI), IRQ << 16 | 9);
    ck_assert_uint_eq(in(cfg(M_BASE)), 0x400);
}
END_TEST

START_TEST(saved_state_with_any_values_is_safe)
{
    for (unsigned value = 1; value < 256; value += 14) {
        for (const struct device_field *at = dev->ops->fields; at->name; at++)
            memset((uint8_t *)dev + at->offset, (int)value, (size_t)at->element_bytes * at->count);
        dev->ops->post_restore(dev);
        for (uint32_t offset = 0; offset < APLIC_BYTES; offset += 4) {
            (void)in(M_BASE + offset);
            (void)in(S_BASE + offset);
        }
    }
}
END_TEST

START_TEST(nodes_have_qemus_properties)
{
    static const char *const compatible[] = {"qemu,aplic", "riscv,aplic"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/interrupt-controller@c000000");
    expect_compatible(fdt, node, compatible, 2);
    EXPECT_CELLS(fdt, node, "reg", 0, M_BASE, 0, APLIC_BYTES);
    EXPECT_CELLS(fdt, node, "#interrupt-cells", 2);
    EXPECT_CELLS(fdt, node, "#address-cells", 0);
    EXPECT_CELLS(fdt, node, "riscv,num-sources", 96);
    EXPECT_CELLS(fdt, node, "riscv,children", 8);
    EXPECT_CELLS(fdt, node, "riscv,delegation", 8, 1, 96);
    EXPECT_CELLS(fdt, node, "riscv,delegate", 8, 1, 96);
    EXPECT_CELLS(fdt, node, "interrupts-extended", 4, 11, 2, 11);
    EXPECT_CELLS(fdt, node, "phandle", 7);
    node = node_at(fdt, "/soc/interrupt-controller@d000000");
    EXPECT_CELLS(fdt, node, "interrupts-extended", 4, 9, 2, 9);
    ck_assert_ptr_null(fdt_getprop(fdt, node, "riscv,children", NULL));
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

START_TEST(msi_nodes_name_their_parents)
{
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    EXPECT_CELLS(fdt, node_at(fdt, "/soc/interrupt-controller@c000000"), "msi-parent", 5);
    int node = node_at(fdt, "/soc/interrupt-controller@d000000");
    EXPECT_CELLS(fdt, node, "msi-parent", 6);
    ck_assert_ptr_null(fdt_getprop(fdt, node, "interrupts-extended", NULL));
    free(fdt);
}
END_TEST

/* Where nobody runs in M-mode everything is delegated, and the tree has the child alone. */
START_TEST(hidden_root_delegates_everything)
{
    void *fdt = make_fdt();

    create(false, true);
    for (uint32_t source = 1; source <= APLIC_SOURCES; source++)
        ck_assert_uint_eq(in(M_BASE + SOURCECFG + 4 * (source - 1)), 0x400);
    arm(S_BASE, 6, 1);
    input(true);
    ck_assert(lines[HARTS + 1].level);
    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    ck_assert_int_lt(fdt_path_offset(fdt, "/soc/interrupt-controller@c000000"), 0);
    node_at(fdt, "/soc/interrupt-controller@d000000");
    free(fdt);
    teardown();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("aplic");
    TCase *direct = tcase_create("direct"), *msi = tcase_create("msi"), *hidden = tcase_create("hidden");

    tcase_add_checked_fixture(direct, setup_direct, teardown);
    tcase_add_test(direct, reset_has_nothing_enabled);
    tcase_add_test(direct, source_modes_are_legal_ones);
    tcase_add_test(direct, child_has_only_what_is_delegated);
    tcase_add_test(direct, level_follows_the_input);
    tcase_add_test(direct, edge_is_pending_until_claimed);
    tcase_add_test(direct, detached_listens_to_software_only);
    tcase_add_test(direct, every_gate_closes_the_line);
    tcase_add_test(direct, forced_interrupt_is_cleared_by_a_spurious_claim);
    tcase_add_test(direct, target_holds_legal_values);
    tcase_add_test(direct, saved_state_drives_the_lines_again);
    tcase_add_test(direct, saved_state_with_any_values_is_safe);
    tcase_add_test(direct, nodes_have_qemus_properties);
    suite_add_tcase(suite, direct);
    tcase_add_checked_fixture(msi, setup_msi, teardown);
    tcase_add_test(msi, msi_of_an_edge_is_sent_once);
    tcase_add_test(msi, msi_of_a_level_is_sent_when_it_rises_or_is_asked_for);
    tcase_add_test(msi, msi_waits_for_the_domain);
    tcase_add_test(msi, msi_address_is_made_of_group_and_hart);
    tcase_add_test(msi, msi_domain_has_no_idc);
    tcase_add_test(msi, saved_state_with_any_values_is_safe);
    tcase_add_test(msi, msi_nodes_name_their_parents);
    suite_add_tcase(suite, msi);
    tcase_add_test(hidden, hidden_root_delegates_everything);
    suite_add_tcase(suite, hidden);
    return run_suite(suite);
}
