/* The Allwinner D1's watchdog: registers, what its end does, and what Linux's sunxi_wdt does with it. */
#include "dev/sunxi_wdt.h"
#include "dev_test.h"

enum { GPA = 0x102000, IRQ_EN = 0, IRQ_STATUS = 4, SOFT_RESET = 8, CTRL = 0x10, CONFIG = 0x14, MODE = 0x18 };

static const uint32_t KEY = 0x16aa0000;
static const uint32_t RESTART = 0xa57 << 1 | 1;
static const uint64_t SECOND = 1000000000;

static struct mem *mem;
static struct device *dev;
static struct line_log line;
static uint64_t now, deadline;
static unsigned resets;

static uint64_t now_ns(void *opaque)
{
    return now;
}

static void deadline_changed(void *opaque, uint64_t deadline_ns)
{
    deadline = deadline_ns;
}

static void on_reset(void *opaque)
{
    resets++;
}

static void set_up(void)
{
    now = 5 * SECOND;
    resets = 0;
    line = (struct line_log){0};
    mem = make_mem();
    const struct sunxi_wdt_config config = {.mem = mem,
                                            .gpa = GPA,
                                            .irq = line_to(&line, 0),
                                            .irq_number = 13,
                                            .irq_parent = 3,
                                            .now_ns = now_ns,
                                            .deadline_changed = deadline_changed,
                                            .reset = on_reset};
    ck_assert_int_eq(sunxi_wdt_create(&config, &dev), 0);
}

static void tear_down(void)
{
    dev->ops->destroy(dev);
    mem_destroy(mem);
}

static uint32_t get(uint64_t offset)
{
    return (uint32_t)mmio_read(mem, GPA + offset, 4);
}

static void set(uint64_t offset, uint32_t value)
{
    mmio_write(mem, GPA + offset, 4, value);
}

/* The machine's timer: calls back when it should. */
static void pass(uint64_t ns)
{
    uint64_t end = now + ns;

    while (deadline <= end) {
        now = deadline;
        sunxi_wdt_check(dev);
    }
    now = end;
}

START_TEST(reset_values)
{
    ck_assert_uint_eq(get(IRQ_EN), 0);
    ck_assert_uint_eq(get(IRQ_STATUS), 0);
    ck_assert_uint_eq(get(CONFIG), 1);
    ck_assert_uint_eq(get(MODE), 0);
    ck_assert_uint_eq(deadline, UINT64_MAX);
}
END_TEST

START_TEST(registers_keep_their_bits_and_want_their_key)
{
    set(IRQ_EN, UINT32_MAX);
    ck_assert_uint_eq(get(IRQ_EN), 1);
    set(CONFIG, 0xffff);
    set(MODE, 0xffff);
    set(SOFT_RESET, 1);
    ck_assert_uint_eq(get(CONFIG), 1);
    ck_assert_uint_eq(get(MODE), 0);
    set(CONFIG, KEY | 0xfffe);
    set(MODE, KEY | 0xfffe);
    set(SOFT_RESET, KEY);
    ck_assert_uint_eq(get(CONFIG), 0x102);
    ck_assert_uint_eq(get(MODE), 0xf0);
    ck_assert_uint_eq(resets, 0);
    set(SOFT_RESET, KEY | 1);
    ck_assert_uint_eq(resets, 1);
    for (uint64_t offset = 0x1c; offset < 0x1000; offset += 4) {
        set(offset, UINT32_MAX);
        ck_assert_uint_eq(get(offset), 0);
    }
    uint64_t value;
    ck_assert_int_eq(mem_mmio_read(mem, GPA, 2, &value), -EFAULT);
}
END_TEST

/* sunxi_wdt_start(), _set_timeout(), _ping(), _stop(): 16 s, pinged each 10 s, then no more. */
START_TEST(driver_that_pings_lives)
{
    set(CONFIG, KEY | (get(CONFIG) & ~3u) | 1);
    set(MODE, KEY | 0xb0 | 1);
    set(CTRL, RESTART);
    for (int i = 0; i < 5; i++) {
        pass(10 * SECOND);
        set(CTRL, RESTART);
    }
    set(CTRL, 1); /* not the key */
    pass(16 * SECOND - 1);
    ck_assert_uint_eq(resets, 0);
    pass(1);
    ck_assert_uint_eq(resets, 1);
    set(MODE, KEY);
    ck_assert_uint_eq(deadline, UINT64_MAX);
    pass(100 * SECOND);
    ck_assert_uint_eq(resets, 1);
}
END_TEST

/* sunxi_wdt_restart() writes the shortest interval each 5 ms until the machine is gone, also when it ran before. */
START_TEST(restart_handler_ends_within_half_a_second)
{
    set(MODE, KEY | 0xb0 | 1);
    set(MODE, KEY | 1);
    for (int i = 0; i < 99; i++) {
        pass(5000000);
        set(MODE, KEY | 1);
    }
    ck_assert_uint_eq(resets, 0);
    pass(5000000);
    ck_assert_uint_eq(resets, 1);
}
END_TEST

START_TEST(shorter_interval_counts_from_the_start)
{
    set(MODE, KEY | 0xb0 | 1);
    pass(10 * SECOND);
    set(MODE, KEY | 0x10 | 1);
    ck_assert_uint_eq(resets, 1);
}
END_TEST

START_TEST(intervals_are_the_manuals)
{
    static const unsigned halves[] = {1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32};

    for (uint32_t i = 0; i < 12; i++) {
        set(MODE, KEY);
        set(MODE, KEY | i << 4 | 1);
        ck_assert_uint_eq(deadline - now, halves[i] * SECOND / 2);
    }
    for (uint32_t i = 12; i < 16; i++) {
        set(MODE, KEY | i << 4 | 1);
        ck_assert_uint_eq(deadline - now, 16 * SECOND);
    }
}
END_TEST

START_TEST(interrupt_instead_of_reset)
{
    set(CONFIG, KEY | 2);
    set(MODE, KEY | 0x10 | 1);
    pass(SECOND);
    ck_assert(!line.level);
    ck_assert_uint_eq(get(IRQ_STATUS), 1);
    set(IRQ_EN, 1);
    ck_assert(line.level);
    set(IRQ_STATUS, 0);
    ck_assert(line.level);
    set(IRQ_STATUS, 1);
    ck_assert(!line.level);
    pass(SECOND); /* it goes on counting */
    ck_assert(line.level);
    ck_assert_uint_eq(resets, 0);
}
END_TEST

START_TEST(saved_watchdog_ends_in_time)
{
    set(CONFIG, KEY | 0x102);
    set(MODE, KEY | 0x30 | 1);
    set(IRQ_EN, 1);
    pass(2 * SECOND);
    save_reset_load(dev);
    ck_assert_uint_eq(get(CONFIG), 0x102);
    pass(SECOND - 1);
    ck_assert(!line.level);
    pass(1);
    ck_assert(line.level);
    save_reset_load(dev);
    ck_assert(line.level);
    ck_assert_uint_eq(get(MODE), 0x31);
}
END_TEST

START_TEST(node_has_linuxs_binding)
{
    static const char *const compatible[] = {"allwinner,sun20i-d1-wdt"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/watchdog@102000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, GPA, 0, 0x1000);
    EXPECT_CELLS(fdt, node, "interrupts", 13);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sunxi_wdt");
    TCase *tcase = tcase_create("sunxi_wdt");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, reset_values);
    tcase_add_test(tcase, registers_keep_their_bits_and_want_their_key);
    tcase_add_test(tcase, driver_that_pings_lives);
    tcase_add_test(tcase, restart_handler_ends_within_half_a_second);
    tcase_add_test(tcase, shorter_interval_counts_from_the_start);
    tcase_add_test(tcase, intervals_are_the_manuals);
    tcase_add_test(tcase, interrupt_instead_of_reset);
    tcase_add_test(tcase, saved_watchdog_ends_in_time);
    tcase_add_test(tcase, node_has_linuxs_binding);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
