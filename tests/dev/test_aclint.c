/* ACLINT: registers, lines, deadlines, state, device tree. */
#include "dev/aclint.h"
#include "dev_test.h"

enum { BASE = 0x2000000, HARTS = 2, MTIMECMP = BASE + 0x4000, MTIME = BASE + 0xbff8 };

struct bench {
    struct mem *mem;
    struct device *dev;
    struct line_log msi[HARTS], mti[HARTS];
    uint64_t now;
    uint64_t deadline[HARTS];
    unsigned announcements;
};

static struct bench b;

static uint64_t time_now(void *opaque)
{
    return ((struct bench *)opaque)->now;
}

static void time_set(void *opaque, uint64_t ticks)
{
    ((struct bench *)opaque)->now = ticks;
}

static void deadline_changed(void *opaque, uint32_t hart, uint64_t deadline)
{
    struct bench *bench = opaque;

    bench->deadline[hart] = deadline;
    bench->announcements++;
}

static void create(bool hidden, bool settable)
{
    const struct irq_line msi[HARTS] = {line_to(b.msi, 0), line_to(b.msi, 1)};
    const struct irq_line mti[HARTS] = {line_to(b.mti, 0), line_to(b.mti, 1)};
    const uint32_t phandles[HARTS] = {1, 2};
    const struct aclint_config config = {.mem = b.mem,
                                         .gpa = BASE,
                                         .hart_count = HARTS,
                                         .msi = msi,
                                         .mti = mti,
                                         .time_now = time_now,
                                         .time_set = settable ? time_set : NULL,
                                         .deadline_changed = deadline_changed,
                                         .opaque = &b,
                                         .intc_phandles = phandles,
                                         .hidden = hidden};

    ck_assert_int_eq(aclint_create(&config, &b.dev), 0);
}

static void setup(void)
{
    memset(&b, 0, sizeof(b));
    b.now = 1000;
    b.mem = make_mem();
    create(false, true);
}

static void teardown(void)
{
    mem_destroy(b.mem);
    b.dev->ops->destroy(b.dev);
}

START_TEST(reset_leaves_all_lines_low_and_no_deadline)
{
    for (int hart = 0; hart < HARTS; hart++) {
        ck_assert(!b.msi[hart].level && !b.mti[hart].level);
        ck_assert_uint_eq(b.deadline[hart], UINT64_MAX);
        ck_assert_uint_eq(mmio_read(b.mem, MTIMECMP + 8 * (unsigned)hart, 8), UINT64_MAX);
        ck_assert_uint_eq(mmio_read(b.mem, BASE + 4 * (unsigned)hart, 4), 0);
    }
}
END_TEST

START_TEST(msip_drives_the_line_of_its_hart_only)
{
    mmio_write(b.mem, BASE + 4, 4, 1);
    ck_assert(!b.msi[0].level);
    ck_assert(b.msi[1].level);
    ck_assert_uint_eq(mmio_read(b.mem, BASE + 4, 4), 1);
    mmio_write(b.mem, BASE + 4, 4, 0);
    ck_assert(!b.msi[1].level);
}
END_TEST

START_TEST(msip_keeps_bit_0_only)
{
    mmio_write(b.mem, BASE, 4, 0xfffffffe);
    ck_assert(!b.msi[0].level);
    mmio_write(b.mem, BASE, 4, 0xffffffff);
    ck_assert(b.msi[0].level);
    ck_assert_uint_eq(mmio_read(b.mem, BASE, 4), 1);
}
END_TEST

START_TEST(msip_refuses_accesses_of_other_sizes)
{
    uint64_t value;

    ck_assert_int_eq(mem_mmio_read(b.mem, BASE, 8, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(b.mem, BASE, 8, UINT64_MAX), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(b.mem, BASE, 1, 1), -EFAULT);
    ck_assert(!b.msi[0].level && !b.msi[1].level);
}
END_TEST

START_TEST(mtimecmp_in_the_future_announces_the_deadline)
{
    mmio_write(b.mem, MTIMECMP + 8, 8, 1500);
    ck_assert(!b.mti[1].level);
    ck_assert_uint_eq(b.deadline[1], 1500);
    ck_assert_uint_eq(b.deadline[0], UINT64_MAX);
}
END_TEST

START_TEST(mtimecmp_equal_to_the_time_raises_the_line_at_once)
{
    mmio_write(b.mem, MTIMECMP, 8, 1000);
    ck_assert(b.mti[0].level);
    ck_assert(!b.mti[1].level);
    ck_assert_uint_eq(b.deadline[0], UINT64_MAX);
    mmio_write(b.mem, MTIMECMP, 8, 1001);
    ck_assert(!b.mti[0].level);
    ck_assert_uint_eq(b.deadline[0], 1001);
}
END_TEST

START_TEST(mtimecmp_halves_are_written_and_read_apart)
{
    mmio_write(b.mem, MTIMECMP, 4, 0x89abcdef);
    mmio_write(b.mem, MTIMECMP + 4, 4, 0x01234567);
    ck_assert_uint_eq(mmio_read(b.mem, MTIMECMP, 8), UINT64_C(0x0123456789abcdef));
    ck_assert_uint_eq(mmio_read(b.mem, MTIMECMP, 4), 0x89abcdef);
    ck_assert_uint_eq(mmio_read(b.mem, MTIMECMP + 4, 4), 0x01234567);
    ck_assert_uint_eq(b.deadline[0], UINT64_C(0x0123456789abcdef));
}
END_TEST

START_TEST(timer_check_before_the_deadline_leaves_the_line_low)
{
    mmio_write(b.mem, MTIMECMP, 8, 2000);
    ck_assert_uint_eq(aclint_timer_check(b.dev, 0, 1999), 2000);
    ck_assert(!b.mti[0].level);
    ck_assert_uint_eq(aclint_timer_check(b.dev, 0, 2000), UINT64_MAX);
    ck_assert(b.mti[0].level);
    ck_assert(!b.mti[1].level);
}
END_TEST

START_TEST(mtime_reads_the_machines_time)
{
    b.now = UINT64_C(0x1122334455667788);
    ck_assert_uint_eq(mmio_read(b.mem, MTIME, 8), b.now);
    ck_assert_uint_eq(mmio_read(b.mem, MTIME, 4), 0x55667788);
    ck_assert_uint_eq(mmio_read(b.mem, MTIME + 4, 4), 0x11223344);
}
END_TEST

START_TEST(mtime_write_sets_the_machines_time_and_compares_every_hart)
{
    mmio_write(b.mem, MTIMECMP, 8, 5000);
    mmio_write(b.mem, MTIMECMP + 8, 8, 9000);
    mmio_write(b.mem, MTIME, 8, 6000);
    ck_assert_uint_eq(b.now, 6000);
    ck_assert(b.mti[0].level && !b.mti[1].level);
    ck_assert_uint_eq(b.deadline[1], 9000);
    mmio_write(b.mem, MTIME + 4, 4, 1);
    ck_assert_uint_eq(b.now, (UINT64_C(1) << 32) + 6000);
    ck_assert(b.mti[1].level);
    mmio_write(b.mem, MTIME, 8, 0);
    ck_assert(!b.mti[0].level && !b.mti[1].level);
    ck_assert_uint_eq(b.deadline[0], 5000);
}
END_TEST

START_TEST(mtime_write_is_ignored_where_time_cannot_be_set)
{
    teardown();
    b.mem = make_mem();
    create(false, false);
    mmio_write(b.mem, MTIME, 8, 77);
    ck_assert_uint_eq(b.now, 1000);
}
END_TEST

START_TEST(registers_of_absent_harts_read_zero_and_ignore_writes)
{
    b.announcements = 0;
    for (uint64_t offset = 0; offset < ACLINT_BYTES; offset += 4) {
        bool exists =
            offset < 4 * HARTS || (offset >= 0x4000 && offset < 0x4000 + 8 * HARTS) || offset / 8 == 0xbff8 / 8;
        if (exists)
            continue;
        mmio_write(b.mem, BASE + offset, 4, UINT32_MAX);
        ck_assert_uint_eq(mmio_read(b.mem, BASE + offset, 4), 0);
    }
    ck_assert_uint_eq(b.announcements, 0);
    ck_assert(!b.msi[0].level && !b.msi[1].level && !b.mti[0].level && !b.mti[1].level);
}
END_TEST

START_TEST(saved_state_restores_registers_lines_and_deadlines)
{
    mmio_write(b.mem, BASE + 4, 4, 1);
    mmio_write(b.mem, MTIMECMP, 8, 500);
    mmio_write(b.mem, MTIMECMP + 8, 8, 4444);
    save_reset_load(b.dev);
    ck_assert_uint_eq(mmio_read(b.mem, BASE + 4, 4), 1);
    ck_assert(b.msi[1].level && b.mti[0].level && !b.mti[1].level);
    ck_assert_uint_eq(mmio_read(b.mem, MTIMECMP, 8), 500);
    ck_assert_uint_eq(b.deadline[1], 4444);
}
END_TEST

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"sifive,clint0", "riscv,clint0"};
    void *fdt = make_fdt();

    ck_assert_int_eq(b.dev->ops->fdt(b.dev, fdt), 0);
    int node = node_at(fdt, "/soc/clint@2000000");
    expect_compatible(fdt, node, compatible, 2);
    EXPECT_CELLS(fdt, node, "reg", 0, 0x2000000, 0, 0x10000);
    EXPECT_CELLS(fdt, node, "interrupts-extended", 1, 3, 1, 7, 2, 3, 2, 7);
    free(fdt);
    expect_fdt_survives_every_size(b.dev);
}
END_TEST

START_TEST(hidden_device_writes_no_node)
{
    teardown();
    b.mem = make_mem();
    create(true, true);
    void *fdt = make_fdt();
    ck_assert_int_eq(b.dev->ops->fdt(b.dev, fdt), 0);
    ck_assert_int_lt(fdt_path_offset(fdt, "/soc/clint@2000000"), 0);
    free(fdt);
}
END_TEST

START_TEST(create_refuses_impossible_hart_counts_and_taken_addresses)
{
    const struct irq_line lines[1] = {{0}};
    struct aclint_config config = {
        .mem = b.mem, .gpa = BASE, .hart_count = 1, .msi = lines, .mti = lines, .time_now = time_now, .opaque = &b};
    struct device *dev;

    ck_assert_int_eq(aclint_create(&config, &dev), -EEXIST);
    config.gpa = 0x10000000;
    config.hart_count = 0;
    ck_assert_int_eq(aclint_create(&config, &dev), -EINVAL);
    config.hart_count = ACLINT_HARTS_MAX + 1;
    ck_assert_int_eq(aclint_create(&config, &dev), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("aclint");
    TCase *tc = tcase_create("registers");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, reset_leaves_all_lines_low_and_no_deadline);
    tcase_add_test(tc, msip_drives_the_line_of_its_hart_only);
    tcase_add_test(tc, msip_keeps_bit_0_only);
    tcase_add_test(tc, msip_refuses_accesses_of_other_sizes);
    tcase_add_test(tc, mtimecmp_in_the_future_announces_the_deadline);
    tcase_add_test(tc, mtimecmp_equal_to_the_time_raises_the_line_at_once);
    tcase_add_test(tc, mtimecmp_halves_are_written_and_read_apart);
    tcase_add_test(tc, timer_check_before_the_deadline_leaves_the_line_low);
    tcase_add_test(tc, mtime_reads_the_machines_time);
    tcase_add_test(tc, mtime_write_sets_the_machines_time_and_compares_every_hart);
    tcase_add_test(tc, mtime_write_is_ignored_where_time_cannot_be_set);
    tcase_add_test(tc, registers_of_absent_harts_read_zero_and_ignore_writes);
    tcase_add_test(tc, saved_state_restores_registers_lines_and_deadlines);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, hidden_device_writes_no_node);
    tcase_add_test(tc, create_refuses_impossible_hart_counts_and_taken_addresses);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
