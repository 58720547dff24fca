/* SSWI: which store interrupts which hart, device tree. */
#include "dev/sswi.h"
#include "dev_test.h"

enum { BASE = 0x2f00000, HARTS = 3 };

static struct mem *mem;
static struct device *dev;
static struct line_log lines[HARTS];

static void setup(void)
{
    static const uint32_t intc[HARTS] = {6, 4, 2};
    struct irq_line ssi[HARTS];

    memset(lines, 0, sizeof(lines));
    mem = make_mem();
    for (uint32_t i = 0; i < HARTS; i++)
        ssi[i] = line_to(lines, i);
    const struct sswi_config config = {.mem = mem, .gpa = BASE, .hart_count = HARTS, .ssi = ssi, .intc_phandles = intc};
    ck_assert_int_eq(sswi_create(&config, &dev), 0);
}

static void teardown(void)
{
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

START_TEST(store_of_a_one_interrupts_its_hart)
{
    mmio_write(mem, BASE + 4, 4, 1);
    ck_assert(!lines[0].level && lines[1].level && !lines[2].level);
    mmio_write(mem, BASE + 8, 4, 0xffffffff);
    ck_assert(lines[2].level);
    ck_assert_uint_eq(mmio_read(mem, BASE + 4, 4), 0);
}
END_TEST

START_TEST(other_stores_do_nothing)
{
    mmio_write(mem, BASE, 4, 0);
    mmio_write(mem, BASE, 4, 0xfffffffe);
    for (uint32_t offset = 4 * HARTS; offset < SSWI_BYTES; offset += 4) {
        mmio_write(mem, BASE + offset, 4, 1);
        ck_assert_uint_eq(mmio_read(mem, BASE + offset, 4), 0);
    }
    ck_assert_int_eq(mem_mmio_write(mem, BASE, 8, 1), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(mem, BASE, 1, 1), -EFAULT);
    for (uint32_t hart = 0; hart < HARTS; hart++)
        ck_assert_uint_eq(lines[hart].rises, 0);
}
END_TEST

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"riscv,aclint-sswi"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/sswi@2f00000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, BASE, 0, SSWI_BYTES);
    EXPECT_CELLS(fdt, node, "#interrupt-cells", 0);
    EXPECT_CELLS(fdt, node, "interrupts-extended", 6, 1, 4, 1, 2, 1);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

START_TEST(section_without_fields_is_saved_and_loaded)
{
    size_t len;
    uint8_t *buf = save(dev, &len);

    ck_assert_int_eq(device_state_load(dev, buf, len, NULL), 0);
    free(buf);
}
END_TEST

START_TEST(create_checks_the_number_of_harts)
{
    struct sswi_config config = {.mem = mem, .gpa = BASE};
    struct device *other;

    ck_assert_int_eq(sswi_create(&config, &other), -EINVAL);
    config.hart_count = SSWI_HARTS_MAX + 1;
    ck_assert_int_eq(sswi_create(&config, &other), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sswi");
    TCase *tc = tcase_create("registers");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, store_of_a_one_interrupts_its_hart);
    tcase_add_test(tc, other_stores_do_nothing);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, section_without_fields_is_saved_and_loaded);
    tcase_add_test(tc, create_checks_the_number_of_harts);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
