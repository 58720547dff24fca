/* Goldfish RTC: time, setting it, the alarm as Linux's driver uses it, state, device tree. */
#include "dev/goldfish_rtc.h"
#include "dev_test.h"

enum {
    BASE = 0x101000,
    TIME_LOW = BASE + 0x00,
    TIME_HIGH = BASE + 0x04,
    ALARM_LOW = BASE + 0x08,
    ALARM_HIGH = BASE + 0x0c,
    IRQ_ENABLED = BASE + 0x10,
    CLEAR_ALARM = BASE + 0x14,
    ALARM_STATUS = BASE + 0x18,
    CLEAR_INTERRUPT = BASE + 0x1c,
};

static const uint64_t start_ns = UINT64_C(1790000000123456789);

static struct mem *mem;
static struct device *dev;
static struct line_log irq;
static uint64_t now_ns, deadline_ns;

static uint64_t epoch_now_ns(void *opaque)
{
    return now_ns;
}

static void alarm_changed(void *opaque, uint64_t deadline)
{
    deadline_ns = deadline;
}

static void setup(void)
{
    memset(&irq, 0, sizeof(irq));
    now_ns = start_ns;
    deadline_ns = 0;
    mem = make_mem();
    const struct goldfish_rtc_config config = {.mem = mem,
                                               .gpa = BASE,
                                               .irq = line_to(&irq, 0),
                                               .irq_number = 11,
                                               .irq_parent = 0x100,
                                               .epoch_now_ns = epoch_now_ns,
                                               .alarm_changed = alarm_changed};
    ck_assert_int_eq(goldfish_rtc_create(&config, &dev), 0);
}

static void teardown(void)
{
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

static uint64_t in(uint64_t gpa)
{
    return mmio_read(mem, gpa, 4);
}

static void out(uint64_t gpa, uint64_t value)
{
    mmio_write(mem, gpa, 4, (uint32_t)value);
}

static uint64_t read_time(void)
{
    uint64_t low = in(TIME_LOW);

    return in(TIME_HIGH) << 32 | low;
}

static void set_alarm(uint64_t guest_ns)
{
    out(ALARM_HIGH, guest_ns >> 32);
    out(ALARM_LOW, guest_ns);
    out(IRQ_ENABLED, 1);
}

START_TEST(reset_has_no_alarm)
{
    ck_assert_uint_eq(in(ALARM_STATUS), 0);
    ck_assert_uint_eq(in(IRQ_ENABLED), 0);
    ck_assert_uint_eq(deadline_ns, UINT64_MAX);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(time_is_the_hosts)
{
    ck_assert_uint_eq(read_time(), start_ns);
    now_ns += 1000;
    ck_assert_uint_eq(read_time(), start_ns + 1000);
}
END_TEST

START_TEST(high_half_is_latched_by_reading_the_low_half)
{
    now_ns = (UINT64_C(5) << 32) - 1;
    ck_assert_uint_eq(in(TIME_LOW), UINT32_MAX);
    now_ns++;
    ck_assert_uint_eq(in(TIME_HIGH), 4);
    ck_assert_uint_eq(in(TIME_LOW), 0);
    ck_assert_uint_eq(in(TIME_HIGH), 5);
}
END_TEST

START_TEST(set_time_runs_on_from_there)
{
    uint64_t set = UINT64_C(0x1234567890abcdef);

    out(TIME_HIGH, set >> 32);
    out(TIME_LOW, set);
    ck_assert_uint_eq(read_time(), set);
    now_ns += 5;
    ck_assert_uint_eq(read_time(), set + 5);
}
END_TEST

START_TEST(alarm_in_the_future_arms_the_hosts_timer)
{
    set_alarm(start_ns + 1000);
    ck_assert_uint_eq(in(ALARM_STATUS), 1);
    ck_assert_uint_eq(deadline_ns, start_ns + 1000);
    ck_assert_uint_eq(in(ALARM_HIGH) << 32 | in(ALARM_LOW), start_ns + 1000);
    ck_assert(!irq.level);
    now_ns = start_ns + 1000;
    goldfish_rtc_alarm_check(dev);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(ALARM_STATUS), 0);
    ck_assert_uint_eq(deadline_ns, UINT64_MAX);
    out(CLEAR_INTERRUPT, 1);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(alarm_in_the_past_fires_at_once)
{
    set_alarm(start_ns - 1);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(ALARM_STATUS), 0);
}
END_TEST

START_TEST(alarm_is_not_armed_by_its_high_half)
{
    out(ALARM_HIGH, 0);
    ck_assert_uint_eq(in(ALARM_STATUS), 0);
    ck_assert_uint_eq(deadline_ns, UINT64_MAX);
}
END_TEST

START_TEST(early_check_announces_the_alarm_again)
{
    set_alarm(start_ns + 1000);
    deadline_ns = 0;
    now_ns = start_ns - 500; /* the host's clock was set back */
    goldfish_rtc_alarm_check(dev);
    ck_assert(!irq.level);
    ck_assert_uint_eq(deadline_ns, start_ns + 1000);
}
END_TEST

START_TEST(cleared_alarm_does_not_fire)
{
    set_alarm(start_ns + 1000);
    out(CLEAR_ALARM, 1);
    ck_assert_uint_eq(in(ALARM_STATUS), 0);
    ck_assert_uint_eq(deadline_ns, UINT64_MAX);
    now_ns += 2000;
    goldfish_rtc_alarm_check(dev);
    ck_assert(!irq.level);
}
END_TEST

START_TEST(irq_enable_gates_the_line_only)
{
    set_alarm(start_ns);
    ck_assert(irq.level);
    out(IRQ_ENABLED, 0xfffffffe);
    ck_assert(!irq.level);
    out(IRQ_ENABLED, 0xffffffff);
    ck_assert(irq.level);
    ck_assert_uint_eq(in(IRQ_ENABLED), 1);
}
END_TEST

START_TEST(alarm_follows_a_clock_that_the_guest_sets)
{
    set_alarm(start_ns + 1000);
    out(TIME_LOW, start_ns + 400);
    ck_assert_uint_eq(deadline_ns, start_ns + 600);
    out(TIME_LOW, start_ns + 1000);
    ck_assert(irq.level);
}
END_TEST

START_TEST(other_registers_and_sizes_are_harmless)
{
    uint64_t value;

    for (uint64_t offset = 0x20; offset < GOLDFISH_RTC_BYTES; offset += 4) {
        out(BASE + offset, UINT32_MAX);
        ck_assert_uint_eq(in(BASE + offset), 0);
    }
    out(ALARM_STATUS, 1);
    ck_assert_uint_eq(in(ALARM_STATUS), 0);
    ck_assert_uint_eq(in(CLEAR_ALARM), 0);
    ck_assert_uint_eq(in(CLEAR_INTERRUPT), 0);
    ck_assert_int_eq(mem_mmio_read(mem, BASE, 8, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(mem, BASE, 1, 0), -EFAULT);
}
END_TEST

START_TEST(saved_state_restores_offset_and_alarm)
{
    out(TIME_HIGH, 0);
    out(TIME_LOW, 0);
    out(TIME_HIGH, 0);
    set_alarm(5000);
    size_t len;
    uint8_t *buf = save(dev, &len);
    out(TIME_LOW, 123456);
    out(CLEAR_ALARM, 1);
    ck_assert_int_eq(device_state_load(dev, buf, len, NULL), 0);
    free(buf);
    ck_assert_uint_eq(read_time(), 0);
    ck_assert_uint_eq(in(ALARM_STATUS), 1);
    ck_assert_uint_eq(deadline_ns, now_ns + 5000);
    now_ns += 5000;
    goldfish_rtc_alarm_check(dev);
    ck_assert(irq.level);
    save_reset_load(dev);
    ck_assert(irq.level);
}
END_TEST

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"google,goldfish-rtc"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/rtc@101000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, 0x101000, 0, 0x1000);
    EXPECT_CELLS(fdt, node, "interrupts", 11);
    EXPECT_CELLS(fdt, node, "interrupt-parent", 0x100);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

START_TEST(create_at_a_taken_address_is_refused)
{
    const struct goldfish_rtc_config config = {.mem = mem, .gpa = BASE, .epoch_now_ns = epoch_now_ns};
    struct device *other;

    ck_assert_int_eq(goldfish_rtc_create(&config, &other), -EEXIST);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("goldfish_rtc");
    TCase *tc = tcase_create("registers");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, reset_has_no_alarm);
    tcase_add_test(tc, time_is_the_hosts);
    tcase_add_test(tc, high_half_is_latched_by_reading_the_low_half);
    tcase_add_test(tc, set_time_runs_on_from_there);
    tcase_add_test(tc, alarm_in_the_future_arms_the_hosts_timer);
    tcase_add_test(tc, alarm_in_the_past_fires_at_once);
    tcase_add_test(tc, alarm_is_not_armed_by_its_high_half);
    tcase_add_test(tc, early_check_announces_the_alarm_again);
    tcase_add_test(tc, cleared_alarm_does_not_fire);
    tcase_add_test(tc, irq_enable_gates_the_line_only);
    tcase_add_test(tc, alarm_follows_a_clock_that_the_guest_sets);
    tcase_add_test(tc, other_registers_and_sizes_are_harmless);
    tcase_add_test(tc, saved_state_restores_offset_and_alarm);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, create_at_a_taken_address_is_refused);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
