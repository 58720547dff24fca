/* The device by which a guest's kernel says that it has panicked. */
#include "dev/pvpanic.h"
#include "dev_test.h"

enum { GPA = 0x105000 };

static struct mem *mem;
static struct device *dev;
static unsigned told, times;

static void on_told(void *opaque, unsigned events)
{
    told = events;
    times++;
}

static void set_up(void)
{
    told = times = 0;
    mem = make_mem();
    const struct pvpanic_config config = {.mem = mem, .gpa = GPA, .told = on_told};
    ck_assert_int_eq(pvpanic_create(&config, &dev), 0);
    dev->ops->reset(dev);
}

static void tear_down(void)
{
    dev->ops->destroy(dev);
    mem_destroy(mem);
}

START_TEST(it_says_what_it_takes_and_tells_it)
{
    ck_assert_uint_eq(mmio_read(mem, GPA, 1), 3);
    mmio_write(mem, GPA, 1, 1);
    ck_assert_uint_eq(told, PVPANIC_PANICKED);
    mmio_write(mem, GPA, 1, 2);
    ck_assert_uint_eq(told, PVPANIC_CRASH_LOADED);
    mmio_write(mem, GPA, 1, 0xff); /* bits of events to come are left out */
    ck_assert_uint_eq(told, 3);
    ck_assert_uint_eq(times, 3);
}
END_TEST

START_TEST(other_stores_tell_nothing)
{
    uint64_t value;

    mmio_write(mem, GPA, 1, 0);
    mmio_write(mem, GPA, 1, 0xfc);
    mmio_write(mem, GPA + 1, 1, 1);
    ck_assert_uint_eq(times, 0);
    ck_assert_uint_eq(mmio_read(mem, GPA + 1, 1), 0);
    ck_assert_int_ne(mem_mmio_read(mem, GPA, 4, &value), 0);
    ck_assert_int_ne(mem_mmio_write(mem, GPA, 2, 1), 0);
    ck_assert_uint_eq(times, 0);
}
END_TEST

START_TEST(the_tree_names_it)
{
    static const char *const compatible[] = {"qemu,pvpanic-mmio"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/pvpanic@105000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, GPA, 0, PVPANIC_BYTES);
    free(fdt);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pvpanic");
    TCase *tcase = tcase_create("pvpanic");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, it_says_what_it_takes_and_tells_it);
    tcase_add_test(tcase, other_stores_tell_nothing);
    tcase_add_test(tcase, the_tree_names_it);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
