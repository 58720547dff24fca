/* SiFive's test device: every way to end, what means nothing, device tree. */
#include "dev/syscon_test.h"
#include "dev_test.h"

enum { BASE = 0x100000, NO_EVENT = -1 };

static struct mem *mem;
static struct device *dev;
static int last_event;
static uint32_t last_code;

static void on_event(void *opaque, enum syscon_test_event event, uint32_t code)
{
    last_event = (int)event;
    last_code = code;
}

static void setup(void)
{
    last_event = NO_EVENT;
    mem = make_mem();
    const struct syscon_test_config config = {.mem = mem, .gpa = BASE, .phandle = 6, .event = on_event};
    ck_assert_int_eq(syscon_test_create(&config, &dev), 0);
}

static void teardown(void)
{
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

START_TEST(poweroff_has_code_0)
{
    mmio_write(mem, BASE, 4, 0x5555);
    ck_assert_int_eq(last_event, SYSCON_TEST_POWEROFF);
    ck_assert_uint_eq(last_code, 0);
}
END_TEST

START_TEST(two_byte_poweroff_works)
{
    mmio_write(mem, BASE, 2, 0x5555);
    ck_assert_int_eq(last_event, SYSCON_TEST_POWEROFF);
}
END_TEST

START_TEST(fail_carries_its_code)
{
    mmio_write(mem, BASE, 4, 7u << 16 | 0x3333);
    ck_assert_int_eq(last_event, SYSCON_TEST_FAIL);
    ck_assert_uint_eq(last_code, 7);
    mmio_write(mem, BASE, 4, 0xffff3333);
    ck_assert_uint_eq(last_code, 0xffff);
}
END_TEST

START_TEST(reset_is_told_apart)
{
    mmio_write(mem, BASE, 4, 0x7777);
    ck_assert_int_eq(last_event, SYSCON_TEST_RESET);
    ck_assert_uint_eq(last_code, 0);
}
END_TEST

START_TEST(other_values_and_offsets_mean_nothing)
{
    for (uint32_t value = 0; value <= 0xffff; value++) {
        if (value != 0x5555 && value != 0x3333 && value != 0x7777)
            mmio_write(mem, BASE, 4, value);
    }
    for (uint64_t offset = 4; offset < SYSCON_TEST_BYTES; offset += 4)
        mmio_write(mem, BASE + offset, 4, 0x5555);
    mmio_write(mem, BASE + 2, 2, 0x5555);
    ck_assert_int_eq(last_event, NO_EVENT);
}
END_TEST

START_TEST(reads_give_zero)
{
    ck_assert_uint_eq(mmio_read(mem, BASE, 4), 0);
    ck_assert_uint_eq(mmio_read(mem, BASE + 0xffe, 2), 0);
}
END_TEST

START_TEST(state_without_fields_saves_and_loads)
{
    save_reset_load(dev);
    ck_assert_int_eq(last_event, NO_EVENT);
}
END_TEST

START_TEST(nodes_have_qemus_properties)
{
    static const char *const compatible[] = {"sifive,test1", "sifive,test0", "syscon"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/test@100000");
    expect_compatible(fdt, node, compatible, 3);
    EXPECT_CELLS(fdt, node, "reg", 0, 0x100000, 0, 0x1000);
    EXPECT_CELLS(fdt, node, "phandle", 6);
    node = node_at(fdt, "/poweroff");
    ck_assert_int_eq(fdt_node_check_compatible(fdt, node, "syscon-poweroff"), 0);
    EXPECT_CELLS(fdt, node, "regmap", 6);
    EXPECT_CELLS(fdt, node, "offset", 0);
    EXPECT_CELLS(fdt, node, "value", 0x5555);
    node = node_at(fdt, "/reboot");
    ck_assert_int_eq(fdt_node_check_compatible(fdt, node, "syscon-reboot"), 0);
    EXPECT_CELLS(fdt, node, "regmap", 6);
    EXPECT_CELLS(fdt, node, "offset", 0);
    EXPECT_CELLS(fdt, node, "value", 0x7777);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

START_TEST(create_at_a_taken_address_is_refused)
{
    const struct syscon_test_config config = {.mem = mem, .gpa = BASE, .event = on_event};
    struct device *other;

    ck_assert_int_eq(syscon_test_create(&config, &other), -EEXIST);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("syscon_test");
    TCase *tc = tcase_create("register");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, poweroff_has_code_0);
    tcase_add_test(tc, two_byte_poweroff_works);
    tcase_add_test(tc, fail_carries_its_code);
    tcase_add_test(tc, reset_is_told_apart);
    tcase_add_test(tc, other_values_and_offsets_mean_nothing);
    tcase_add_test(tc, reads_give_zero);
    tcase_add_test(tc, state_without_fields_saves_and_loads);
    tcase_add_test(tc, nodes_have_qemus_properties);
    tcase_add_test(tc, create_at_a_taken_address_is_refused);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
