/* The virtual machine's generation: what is read, and what a restore changes. */
#include "dev/vmgenid.h"
#include "dev_test.h"

enum { GPA = 0x103000 };

static struct mem *mem;
static struct device *dev;
static struct line_log line;

static void create(bool fixed)
{
    line = (struct line_log){0};
    mem = make_mem();
    const struct vmgenid_config config = {
        .mem = mem, .gpa = GPA, .irq = line_to(&line, 0), .irq_number = 14, .irq_parent = 3, .fixed = fixed};
    ck_assert_int_eq(vmgenid_create(&config, &dev), 0);
    dev->ops->reset(dev);
}

static void set_up(void)
{
    create(false);
}

static void tear_down(void)
{
    dev->ops->destroy(dev);
    mem_destroy(mem);
}

static void read_id(uint8_t id[VMGENID_ID_BYTES], unsigned size_bytes)
{
    for (unsigned at = 0; at < VMGENID_ID_BYTES; at += size_bytes) {
        uint64_t value = mmio_read(mem, GPA + at, size_bytes);
        memcpy(id + at, &value, size_bytes);
    }
}

START_TEST(it_is_read_in_pieces_of_every_size)
{
    uint8_t whole[VMGENID_ID_BYTES], parts[VMGENID_ID_BYTES], zeroes[VMGENID_ID_BYTES] = {0};

    read_id(whole, 8);
    ck_assert_mem_ne(whole, zeroes, sizeof(whole));
    for (unsigned size = 1; size < 8; size *= 2) {
        read_id(parts, size);
        ck_assert_mem_eq(parts, whole, sizeof(whole));
    }
    ck_assert_uint_eq(mmio_read(mem, GPA + 16, 8), 0);
    ck_assert_uint_eq(mmio_read(mem, GPA + VMGENID_BYTES - 8, 8), 0);
    mmio_write(mem, GPA, 8, 0);
    read_id(parts, 8);
    ck_assert_mem_eq(parts, whole, sizeof(whole));
    ck_assert_uint_eq(line.rises, 0);
}
END_TEST

START_TEST(a_restore_changes_it_and_says_so)
{
    uint8_t before[VMGENID_ID_BYTES], after[VMGENID_ID_BYTES], again[VMGENID_ID_BYTES];

    read_id(before, 8);
    save_reset_load(dev);
    ck_assert(line.level);
    ck_assert_uint_eq(line.rises, 1);
    mmio_read(mem, GPA + 8, 8);
    ck_assert(line.level);
    read_id(after, 8);
    ck_assert(!line.level);
    ck_assert_mem_ne(before, after, sizeof(before));
    save_reset_load(dev);
    read_id(again, 4);
    ck_assert_mem_ne(after, again, sizeof(after));
    ck_assert_uint_eq(line.rises, 2);
}
END_TEST

START_TEST(a_reset_leaves_it)
{
    uint8_t before[VMGENID_ID_BYTES], after[VMGENID_ID_BYTES];

    read_id(before, 8);
    save_reset_load(dev);
    dev->ops->reset(dev);
    ck_assert(!line.level);
    read_id(before, 8);
    dev->ops->reset(dev);
    read_id(after, 8);
    ck_assert_mem_eq(before, after, sizeof(before));
}
END_TEST

START_TEST(two_machines_are_not_the_same)
{
    uint8_t one[VMGENID_ID_BYTES], other[VMGENID_ID_BYTES];

    read_id(one, 8);
    tear_down();
    create(false);
    read_id(other, 8);
    ck_assert_mem_ne(one, other, sizeof(one));
}
END_TEST

START_TEST(a_run_that_repeats_itself_keeps_it)
{
    uint8_t one[VMGENID_ID_BYTES], other[VMGENID_ID_BYTES];

    tear_down();
    create(true);
    read_id(one, 8);
    save_reset_load(dev);
    ck_assert(!line.level);
    read_id(other, 8);
    ck_assert_mem_eq(one, other, sizeof(one));
    tear_down();
    create(true);
    read_id(other, 8);
    ck_assert_mem_eq(one, other, sizeof(one));
}
END_TEST

START_TEST(the_tree_names_it)
{
    static const char *const compatible[] = {"microsoft,vmgenid"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/rng@103000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, GPA, 0, VMGENID_BYTES);
    EXPECT_CELLS(fdt, node, "interrupts", 14);
    EXPECT_CELLS(fdt, node, "interrupt-parent", 3);
    free(fdt);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmgenid");
    TCase *tcase = tcase_create("vmgenid");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, it_is_read_in_pieces_of_every_size);
    tcase_add_test(tcase, a_restore_changes_it_and_says_so);
    tcase_add_test(tcase, a_reset_leaves_it);
    tcase_add_test(tcase, two_machines_are_not_the_same);
    tcase_add_test(tcase, a_run_that_repeats_itself_keeps_it);
    tcase_add_test(tcase, the_tree_names_it);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
