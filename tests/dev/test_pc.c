/* Devices of the PC board: the clock, the reset of the keyboard controller, PCI configuration by ports. */
#include "dev/pc/cmos_rtc.h"
#include "dev/pc/pc_ports.h"
#include "dev_test.h"

static struct mem *ports, *mem;
static struct device *dev;
static uint64_t now_s;
static unsigned resets;

static uint64_t epoch_now_ns(void *opaque)
{
    (void)opaque;
    return now_s * 1000000000;
}

static void reset(void *opaque)
{
    (void)opaque;
    resets++;
}

static void setup(void)
{
    ck_assert_int_eq(mem_create_ports(&ports), 0);
    ck_assert_int_eq(mem_create(&mem), 0);
    resets = 0;
    now_s = 1700000000; /* 2023-11-14 22:13:20, a Tuesday */
}

static void teardown(void)
{
    mem_destroy(ports);
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

static void make_clock(void)
{
    const struct cmos_rtc_config config = {.ports = ports, .port = 0x70, .epoch_now_ns = epoch_now_ns};

    ck_assert_int_eq(cmos_rtc_create(&config, &dev), 0);
}

static uint8_t get(uint8_t index)
{
    mmio_write(ports, 0x70, 1, index);
    return (uint8_t)mmio_read(ports, 0x71, 1);
}

static void set(uint8_t index, uint8_t value)
{
    mmio_write(ports, 0x70, 1, index);
    mmio_write(ports, 0x71, 1, value);
}

START_TEST(clock_tells_time_as_register_b_says)
{
    make_clock();
    ck_assert_uint_eq(get(0x32), 0x20);
    ck_assert_uint_eq(get(9), 0x23);
    ck_assert_uint_eq(get(8), 0x11);
    ck_assert_uint_eq(get(7), 0x14);
    ck_assert_uint_eq(get(6), 3);
    ck_assert_uint_eq(get(4), 0x22);
    ck_assert_uint_eq(get(2), 0x13);
    ck_assert_uint_eq(get(0), 0x20);
    ck_assert_uint_eq(get(0xa) & 0x80, 0);
    ck_assert_uint_eq(get(0xd), 0x80);
    set(0xb, 4); /* binary, 12 hours */
    ck_assert_uint_eq(get(4), 10 | 0x80);
    ck_assert_uint_eq(get(9), 23);
    now_s += 2 * 3600;
    ck_assert_uint_eq(get(4), 12); /* midnight */
}
END_TEST

START_TEST(clock_that_was_set_goes_on_from_there_and_through_a_save)
{
    uint8_t state[512];

    make_clock();
    set(0xb, 0x82); /* hold */
    set(0x32, 0x19);
    set(9, 0x99);
    set(8, 0x12);
    set(7, 0x31);
    set(4, 0x23);
    set(2, 0x59);
    set(0, 0x58);
    set(0xb, 0x02);
    now_s += 3;
    ck_assert_uint_eq(get(0x32), 0x20);
    ck_assert_uint_eq(get(9), 0x00);
    ck_assert_uint_eq(get(7), 0x01);
    ck_assert_uint_eq(get(0), 0x01);
    set(0x50, 0xa5);
    size_t len = device_state_size(dev);
    ck_assert_uint_le(len, sizeof(state));
    ck_assert_int_eq(device_state_save(dev, state, len), 0);
    dev->ops->reset(dev);
    ck_assert_uint_eq(get(0x50), 0);
    ck_assert_uint_eq(get(9), 0x23);
    ck_assert_int_eq(device_state_load(dev, state, len, NULL), 0);
    ck_assert_uint_eq(get(0x50), 0xa5);
    ck_assert_uint_eq(get(9), 0x00);
}
END_TEST

START_TEST(keyboard_controller_pulses_the_reset_line_and_nothing_else)
{
    const struct pc_reset_config config = {.ports = ports, .reset = reset};

    ck_assert_int_eq(pc_reset_create(&config, &dev), 0);
    ck_assert_uint_eq(mmio_read(ports, 0x64, 1), 0);
    mmio_write(ports, 0x64, 1, 0xaa);
    mmio_write(ports, 0x64, 1, 0xff);
    mmio_write(ports, 0x60, 1, 0xfe);
    ck_assert_uint_eq(resets, 0);
    mmio_write(ports, 0x64, 1, 0xfe);
    ck_assert_uint_eq(resets, 1);
}
END_TEST

static uint64_t ecam_offset, ecam_value;

static int ecam_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    (void)opaque, (void)size_bytes;
    ecam_offset = offset;
    *value = 0x12345678;
    return 0;
}

static int ecam_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    (void)opaque, (void)size_bytes;
    ecam_offset = offset;
    ecam_value = value;
    return 0;
}

static const struct mem_ops ecam = {
    .name = "ecam", .read = ecam_read, .write = ecam_write, .min_access_bytes = 1, .max_access_bytes = 4};

START_TEST(configuration_ports_reach_the_mapped_registers_when_enabled)
{
    const struct pc_pci_config config = {.ports = ports, .mem = mem, .ecam_gpa = 0x10000000};

    ck_assert_int_eq(mem_add_mmio(mem, 0x10000000, 0x10000000, &ecam, NULL), 0);
    ck_assert_int_eq(pc_pci_create(&config, &dev), 0);
    ck_assert_uint_eq(mmio_read(ports, 0xcfc, 4) & UINT32_MAX, UINT32_MAX);
    mmio_write(ports, 0xcf8, 4, 0x80000000 | 2 << 16 | 5 << 11 | 3 << 8 | 0x44);
    ck_assert_uint_eq(mmio_read(ports, 0xcf8, 4), 0x80022b44);
    ck_assert_uint_eq(mmio_read(ports, 0xcfc, 4), 0x12345678);
    ck_assert_uint_eq(ecam_offset, 2 << 20 | 5 << 15 | 3 << 12 | 0x44);
    mmio_write(ports, 0xcfe, 2, 0xbeef);
    ck_assert_uint_eq(ecam_offset, 2 << 20 | 5 << 15 | 3 << 12 | 0x46);
    ck_assert_uint_eq(ecam_value, 0xbeef);
    mmio_write(ports, 0xcf8, 4, 0);
    mmio_write(ports, 0xcfc, 4, 1);
    ck_assert_uint_eq(ecam_value, 0xbeef);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pc");
    TCase *tcase = tcase_create("ports");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, clock_tells_time_as_register_b_says);
    tcase_add_test(tcase, clock_that_was_set_goes_on_from_there_and_through_a_save);
    tcase_add_test(tcase, keyboard_controller_pulses_the_reset_line_and_nothing_else);
    tcase_add_test(tcase, configuration_ports_reach_the_mapped_registers_when_enabled);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
