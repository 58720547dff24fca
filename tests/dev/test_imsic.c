/* IMSIC: messages, priorities, claims, what the CSRs reach, lines, saved state, device tree. */
#include "dev/imsic.h"
#include "dev_test.h"

#include <pthread.h>

enum { M_BASE = 0x24000000, S_BASE = 0x28000000, HARTS = 2, FILES = HARTS * IMSIC_LEVELS };
enum { EIDELIVERY = 0x70, EITHRESHOLD = 0x72, EIP = 0x80, EIE = 0xc0 };

static struct mem *mem;
static struct device *dev;
static struct line_log lines[FILES]; /* M-mode's, then S-mode's */

static struct device *create(bool hide)
{
    static const uint32_t intc[HARTS] = {4, 2};
    struct irq_line m[HARTS], s[HARTS];
    struct device *created;

    for (uint32_t i = 0; i < HARTS; i++) {
        m[i] = line_to(lines, i);
        s[i] = line_to(lines, HARTS + i);
    }
    const struct imsic_config config = {.mem = mem,
                                        .gpa = {M_BASE, S_BASE},
                                        .hart_count = HARTS,
                                        .lines = {m, s},
                                        .phandles = {5, 6},
                                        .intc_phandles = intc,
                                        .hide_machine_mode = hide};
    ck_assert_int_eq(imsic_create(&config, &created), 0);
    return created;
}

static void setup(void)
{
    memset(lines, 0, sizeof(lines));
    mem = make_mem();
    dev = create(false);
}

static void teardown(void)
{
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

static uint64_t get(uint32_t hart, enum imsic_level level, uint32_t select)
{
    uint64_t old;

    ck_assert_int_eq(imsic_access(dev, hart, level, select, &old, 0, 0), 0);
    return old;
}

static void put(uint32_t hart, enum imsic_level level, uint32_t select, uint64_t value)
{
    uint64_t old;

    ck_assert_int_eq(imsic_access(dev, hart, level, select, &old, value, UINT64_MAX), 0);
}

static uint64_t topei(uint32_t id)
{
    return (uint64_t)id << 16 | id;
}

/* S-mode's file of hart 1 delivers every identity. */
static void enable_all(void)
{
    for (uint32_t i = 0; i < 8; i += 2)
        put(1, IMSIC_S, EIE + i, UINT64_MAX);
    put(1, IMSIC_S, EIDELIVERY, 1);
}

static void message(uint32_t id)
{
    mmio_write(mem, S_BASE + 0x1000, 4, id);
}

START_TEST(reset_delivers_nothing)
{
    message(5);
    ck_assert_uint_eq(get(1, IMSIC_S, EIP), 1 << 5);
    ck_assert_uint_eq(get(1, IMSIC_S, EIDELIVERY), 0);
    ck_assert(!lines[3].level);
    put(1, IMSIC_S, EIDELIVERY, 1);
    ck_assert(!lines[3].level);
    put(1, IMSIC_S, EIE, 1 << 5);
    ck_assert(lines[3].level);
    dev->ops->reset(dev);
    ck_assert(!lines[3].level);
    ck_assert_uint_eq(get(1, IMSIC_S, EIP), 0);
}
END_TEST

START_TEST(message_goes_to_its_file_and_no_other)
{
    for (uint32_t hart = 0; hart < HARTS; hart++) {
        mmio_write(mem, M_BASE + hart * 0x1000, 4, 10 + hart);
        mmio_write(mem, S_BASE + hart * 0x1000, 4, 20 + hart);
    }
    for (uint32_t hart = 0; hart < HARTS; hart++) {
        ck_assert_uint_eq(get(hart, IMSIC_M, EIP), 1ull << (10 + hart));
        ck_assert_uint_eq(get(hart, IMSIC_S, EIP), 1ull << (20 + hart));
    }
    imsic_message(dev, S_BASE + 0x1000, 30);
    ck_assert_uint_eq(get(1, IMSIC_S, EIP), 1ull << 21 | 1ull << 30);
    imsic_message(dev, S_BASE + 0x2000, 30); /* no hart 2 */
    imsic_message(dev, S_BASE + 1, 30);
    imsic_message(dev, 0x80000000, 30);
    ck_assert_uint_eq(get(0, IMSIC_S, EIP), 1ull << 20);
}
END_TEST

START_TEST(identities_that_do_not_exist_are_ignored)
{
    message(0);
    message(256);
    message(UINT32_MAX);
    for (uint32_t i = 0; i < 64; i += 2)
        ck_assert_uint_eq(get(1, IMSIC_S, EIP + i), 0);
    message(255);
    message(64);
    ck_assert_uint_eq(get(1, IMSIC_S, EIP + 6), 1ull << 63);
    ck_assert_uint_eq(get(1, IMSIC_S, EIP + 2), 1);
}
END_TEST

START_TEST(lowest_identity_comes_first_and_claims_take_it)
{
    enable_all();
    message(200);
    message(7);
    message(64);
    ck_assert_uint_eq(imsic_top(dev, 1, IMSIC_S, false), topei(7));
    ck_assert_uint_eq(imsic_top(dev, 1, IMSIC_S, true), topei(7));
    ck_assert_uint_eq(imsic_top(dev, 1, IMSIC_S, true), topei(64));
    ck_assert(lines[3].level);
    ck_assert_uint_eq(imsic_top(dev, 1, IMSIC_S, true), topei(200));
    ck_assert(!lines[3].level);
    ck_assert_uint_eq(imsic_top(dev, 1, IMSIC_S, true), 0);
    ck_assert_uint_eq(lines[3].rises, 1);
}
END_TEST

START_TEST(threshold_holds_back_what_is_not_below)
{
    enable_all();
    message(7);
    put(1, IMSIC_S, EITHRESHOLD, 7);
    ck_assert(!lines[3].level);
    ck_assert_uint_eq(imsic_top(dev, 1, IMSIC_S, true), 0);
    put(1, IMSIC_S, EITHRESHOLD, 8);
    ck_assert(lines[3].level);
    put(1, IMSIC_S, EITHRESHOLD, 255);
    ck_assert_uint_eq(get(1, IMSIC_S, EITHRESHOLD), 255);
}
END_TEST

START_TEST(registers_change_only_the_bits_asked_for)
{
    uint64_t old;

    message(5);
    message(6);
    ck_assert_int_eq(imsic_access(dev, 1, IMSIC_S, EIP, &old, 1 << 9, 1 << 9 | 1 << 5), 0);
    ck_assert_uint_eq(old, 1 << 5 | 1 << 6);
    ck_assert_uint_eq(get(1, IMSIC_S, EIP), 1 << 6 | 1 << 9);
    put(1, IMSIC_S, EIE, UINT64_MAX);
    ck_assert_uint_eq(get(1, IMSIC_S, EIE), UINT64_MAX - 1);
    put(1, IMSIC_S, EIE + 8, UINT64_MAX);
    ck_assert_uint_eq(get(1, IMSIC_S, EIE + 8), 0);
    put(1, IMSIC_S, EIDELIVERY, UINT64_MAX);
    ck_assert_uint_eq(get(1, IMSIC_S, EIDELIVERY), 1);
}
END_TEST

START_TEST(registers_that_do_not_exist_are_refused)
{
    static const uint32_t none[] = {0, 0x30, 0x6f, 0x71, 0x73, 0x7f, 0x81, 0xbf, 0xc1, 0xff, 0x100, UINT32_MAX};
    uint64_t old;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(none); i++)
        ck_assert_int_eq(imsic_access(dev, 0, IMSIC_M, none[i], &old, 0, 0), -EINVAL);
}
END_TEST

START_TEST(pages_read_as_zero_and_take_words)
{
    uint64_t value;

    message(5);
    for (uint32_t offset = 0; offset < 0x2000; offset += 4)
        ck_assert_uint_eq(mmio_read(mem, S_BASE + offset, 4), 0);
    for (uint32_t offset = 4; offset < 0x1000; offset += 4)
        mmio_write(mem, S_BASE + offset, 4, 9);
    ck_assert_uint_eq(get(0, IMSIC_S, EIP), 0);
    ck_assert_int_eq(mem_mmio_read(mem, S_BASE, 8, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(mem, S_BASE, 1, 1), -EFAULT);
}
END_TEST

START_TEST(saved_state_drives_the_lines_again)
{
    enable_all();
    message(77);
    save_reset_load(dev);
    ck_assert(lines[3].level);
    ck_assert_uint_eq(imsic_top(dev, 1, IMSIC_S, false), topei(77));
}
END_TEST

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"qemu,imsics", "riscv,imsics"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/interrupt-controller@28000000");
    expect_compatible(fdt, node, compatible, 2);
    EXPECT_CELLS(fdt, node, "reg", 0, S_BASE, 0, 0x2000);
    EXPECT_CELLS(fdt, node, "interrupts-extended", 4, 9, 2, 9);
    EXPECT_CELLS(fdt, node, "riscv,num-ids", 255);
    EXPECT_CELLS(fdt, node, "phandle", 6);
    EXPECT_CELLS(fdt, node, "#msi-cells", 0);
    ck_assert_ptr_nonnull(fdt_getprop(fdt, node, "msi-controller", NULL));
    node = node_at(fdt, "/soc/interrupt-controller@24000000");
    EXPECT_CELLS(fdt, node, "interrupts-extended", 4, 11, 2, 11);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

START_TEST(node_of_machine_mode_can_be_hidden)
{
    void *fdt = make_fdt();

    teardown();
    mem = make_mem();
    dev = create(true);
    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    node_at(fdt, "/soc/interrupt-controller@28000000");
    ck_assert_int_lt(fdt_path_offset(fdt, "/soc/interrupt-controller@24000000"), 0);
    free(fdt);
}
END_TEST

static void *send_many(void *opaque)
{
    for (uint32_t i = 0; i < 20000; i++)
        message(1 + i % 255);
    return NULL;
}

START_TEST(messages_while_claiming_are_not_lost)
{
    pthread_t thread;

    enable_all();
    ck_assert_int_eq(pthread_create(&thread, NULL, send_many, NULL), 0);
    for (unsigned i = 0; i < 20000; i++)
        (void)imsic_top(dev, 1, IMSIC_S, true);
    pthread_join(thread, NULL);
    message(3);
    ck_assert_uint_le(imsic_top(dev, 1, IMSIC_S, false), topei(3));
    while (imsic_top(dev, 1, IMSIC_S, true))
        ;
    ck_assert(!lines[3].level);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("imsic");
    TCase *tc = tcase_create("files");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, reset_delivers_nothing);
    tcase_add_test(tc, message_goes_to_its_file_and_no_other);
    tcase_add_test(tc, identities_that_do_not_exist_are_ignored);
    tcase_add_test(tc, lowest_identity_comes_first_and_claims_take_it);
    tcase_add_test(tc, threshold_holds_back_what_is_not_below);
    tcase_add_test(tc, registers_change_only_the_bits_asked_for);
    tcase_add_test(tc, registers_that_do_not_exist_are_refused);
    tcase_add_test(tc, pages_read_as_zero_and_take_words);
    tcase_add_test(tc, saved_state_drives_the_lines_again);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, node_of_machine_mode_can_be_hidden);
    tcase_add_test(tc, messages_while_claiming_are_not_lost);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
