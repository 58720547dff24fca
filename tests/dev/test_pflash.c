/* Flash as Linux's cfi_cmdset_0001 and EDK2's VirtNorFlash use it: array, identification, programming, erasing, what is
 * kept, what is refused. */
#include "dev/pflash.h"
#include "dev_test.h"
#include "mem/frame.h"

#include <pthread.h>

enum { BASE = 0x20000000, BANK1 = BASE + PFLASH_BANK_BYTES, BLOCK = PFLASH_BLOCK_BYTES };

static struct mem *mem;
static struct device *dev;
static struct {
    unsigned calls, bank;
    uint32_t offset, len;
    int rc;
} change;

static int on_change(void *opaque, unsigned bank, uint32_t offset, const uint8_t *bytes, uint32_t len)
{
    ck_assert_ptr_eq(opaque, &change);
    ck_assert_ptr_eq(bytes, pflash_bank(dev, bank) + offset);
    change.calls++;
    change.bank = bank;
    change.offset = offset;
    change.len = len;
    return change.rc;
}

static void setup(void)
{
    memset(&change, 0, sizeof(change));
    mem = make_mem();
    ck_assert_int_eq(mem_add_ram(mem, 0x80000000, 1 << 20), 0);
    const struct pflash_config config = {
        .mem = mem, .gpa = BASE, .read_only = {true, false}, .changed = on_change, .opaque = &change};
    ck_assert_int_eq(pflash_create(&config, &dev), 0);
}

static void teardown(void)
{
    dev->ops->destroy(dev);
    mem_destroy(mem);
}

static uint64_t in(uint64_t gpa)
{
    return mmio_read(mem, gpa, 4);
}

static void out(uint64_t gpa, uint64_t value)
{
    mmio_write(mem, gpa, 4, value);
}

static void both(uint64_t gpa, uint32_t value)
{
    out(gpa, value << 16 | value);
}

static void expect_status(uint64_t gpa, uint32_t status)
{
    both(gpa, 0x70);
    ck_assert_uint_eq(in(gpa), status << 16 | status);
    both(gpa, 0x50);
    both(gpa, 0xff);
}

static void program(uint64_t gpa, uint32_t value)
{
    both(gpa, 0x40);
    out(gpa, value);
}

START_TEST(reset_shows_an_erased_array)
{
    ck_assert_uint_eq(in(BASE), 0xffffffff);
    ck_assert_uint_eq(mmio_read(mem, BANK1 + PFLASH_BANK_BYTES - 8, 8), UINT64_MAX);
    ck_assert_ptr_eq(mem_rom_ptr(mem, BANK1 + 5, 3, false), pflash_bank(dev, 1) + 5);
    ck_assert_ptr_null(mem_ram_ptr(mem, BANK1, 4));
}
END_TEST

START_TEST(array_is_read_at_every_size)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};

    memcpy(pflash_bank(dev, 1) + 8, bytes, sizeof(bytes));
    ck_assert_uint_eq(mmio_read(mem, BANK1 + 8, 8), 0x0807060504030201);
    ck_assert_uint_eq(mmio_read(mem, BANK1 + 12, 4), 0x08070605);
    ck_assert_uint_eq(mmio_read(mem, BANK1 + 14, 2), 0x0807);
    ck_assert_uint_eq(mmio_read(mem, BANK1 + 11, 1), 4);
}
END_TEST

START_TEST(query_answers_qry_on_both_chips)
{
    static const char qry[] = {'Q', 'R', 'Y'};

    both(BANK1 + 0x55 * 4, 0x98);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(in(BANK1 + (0x10 + i) * 4), (uint32_t)qry[i] << 16 | (uint32_t)qry[i]);
    ck_assert_uint_eq(mmio_read(mem, BANK1 + 0x10 * 4 + 2, 1), 'Q');
    ck_assert_uint_eq(mmio_read(mem, BANK1 + 0x10 * 4 + 1, 1), 0);
    ck_assert_uint_eq(mmio_read(mem, BANK1 + 0x10 * 4, 8), 0x0052005200510051);
    /* Size, number and size of blocks agree with the geometry: of one of the two chips. */
    ck_assert_uint_eq(2u << (in(BANK1 + 0x27 * 4) & 0xff), PFLASH_BANK_BYTES);
    unsigned blocks = (unsigned)(in(BANK1 + 0x2d * 4) & 0xff) + 1;
    unsigned block = (unsigned)((in(BANK1 + 0x2f * 4) & 0xff) | (in(BANK1 + 0x30 * 4) & 0xff) << 8) * 256 * 2;
    ck_assert_uint_eq(block, PFLASH_BLOCK_BYTES);
    ck_assert_uint_eq(blocks * block, PFLASH_BANK_BYTES);
    ck_assert_uint_eq(in(BANK1 + 0x4000), 0);
    both(BANK1, 0xff);
    ck_assert_uint_eq(in(BANK1 + 0x40), 0xffffffff);
}
END_TEST

START_TEST(identification_is_intels)
{
    both(BANK1, 0x90);
    ck_assert_uint_eq(in(BANK1), 0x00890089);
    ck_assert_uint_eq(in(BANK1 + 4), 0x00180018);
    ck_assert_uint_eq(in(BANK1 + 8), 0);
    ck_assert_uint_eq(in(BANK1 + BLOCK), 0x00890089);
}
END_TEST

START_TEST(banks_have_modes_of_their_own)
{
    both(BASE, 0x90);
    ck_assert_uint_eq(in(BANK1), 0xffffffff);
    ck_assert_ptr_null(mem_rom_ptr(mem, BASE, 4, false));
    ck_assert_ptr_nonnull(mem_rom_ptr(mem, BASE, 4, true));
    ck_assert_ptr_nonnull(mem_rom_ptr(mem, BANK1, 4, false));
}
END_TEST

START_TEST(programming_clears_bits_and_is_kept)
{
    program(BANK1 + 0x1004, 0x12345678);
    expect_status(BANK1, 0x80);
    ck_assert_uint_eq(in(BANK1 + 0x1004), 0x12345678);
    ck_assert_uint_eq(change.calls, 1);
    ck_assert_uint_eq(change.bank, 1);
    ck_assert_uint_eq(change.offset, 0x1004);
    ck_assert_uint_eq(change.len, 4);
    program(BANK1 + 0x1004, 0xff0000ff);
    both(BANK1, 0xff);
    ck_assert_uint_eq(in(BANK1 + 0x1004), 0x12000078);
    mmio_write(mem, BANK1, 1, 0x10);
    mmio_write(mem, BANK1 + 0x1007, 1, 0x02);
    both(BANK1, 0xff);
    ck_assert_uint_eq(in(BANK1 + 0x1004), 0x02000078);
}
END_TEST

START_TEST(erasing_takes_its_block_and_no_other)
{
    for (unsigned i = 0; i < 3; i++) {
        program(BANK1 + i * BLOCK, 0);
        program(BANK1 + i * BLOCK + BLOCK - 4, 0);
    }
    both(BANK1 + BLOCK + 0x100, 0x20);
    both(BANK1 + BLOCK + 0x100, 0xd0);
    expect_status(BANK1, 0x80);
    ck_assert_uint_eq(change.offset, BLOCK);
    ck_assert_uint_eq(change.len, BLOCK);
    ck_assert_uint_eq(in(BANK1 + BLOCK - 4), 0);
    ck_assert_uint_eq(in(BANK1 + BLOCK), 0xffffffff);
    ck_assert_uint_eq(in(BANK1 + 2 * BLOCK - 4), 0xffffffff);
    ck_assert_uint_eq(in(BANK1 + 2 * BLOCK), 0);
}
END_TEST

START_TEST(erasing_needs_its_confirmation)
{
    program(BANK1, 0);
    both(BANK1, 0x20);
    both(BANK1, 0xff);
    expect_status(BANK1, 0xb0);
    ck_assert_uint_eq(in(BANK1), 0);
}
END_TEST

static void buffered(uint64_t gpa, unsigned words, uint32_t first)
{
    both(gpa, 0xe8);
    ck_assert_uint_eq(in(gpa), 0x00800080);
    both(gpa, words - 1);
    for (unsigned i = 0; i < words; i++)
        out(gpa + 4 * i, first + i);
}

START_TEST(buffer_is_programmed_when_confirmed)
{
    buffered(BANK1 + 0x1000, 1024, 0x1000);
    ck_assert_uint_eq(change.calls, 0);
    both(BANK1 + 0x1000, 0xd0);
    expect_status(BANK1, 0x80);
    ck_assert_uint_eq(change.calls, 1);
    ck_assert_uint_eq(in(BANK1 + 0x1000), 0x1000);
    ck_assert_uint_eq(in(BANK1 + 0x1ffc), 0x13ff);
    ck_assert_uint_eq(in(BANK1 + 0xffc), 0xffffffff);
    ck_assert_uint_eq(in(BANK1 + 0x2000), 0xffffffff);
    buffered(BANK1 + 0x3004, 1, 7);
    both(BANK1, 0x70); /* no confirmation */
    expect_status(BANK1, 0xb0);
    ck_assert_uint_eq(in(BANK1 + 0x3004), 0xffffffff);
}
END_TEST

START_TEST(buffer_overrun_is_a_sequence_error)
{
    both(BANK1, 0xe8);
    both(BANK1, 1024);
    expect_status(BANK1, 0xb0);
    both(BANK1, 0xe8);
    both(BANK1, 1);
    out(BANK1, 0);
    out(BANK1 + 0x1000, 0); /* another window */
    expect_status(BANK1, 0xb0);
    ck_assert_uint_eq(in(BANK1), 0xffffffff);
    ck_assert_uint_eq(change.calls, 0);
}
END_TEST

START_TEST(read_only_bank_says_so)
{
    program(BASE, 0);
    expect_status(BASE, 0x92);
    both(BASE, 0x20);
    both(BASE, 0xd0);
    expect_status(BASE, 0xa2);
    ck_assert_uint_eq(in(BASE), 0xffffffff);
    ck_assert_uint_eq(change.calls, 0);
}
END_TEST

/* The file's disk is full, or gone. */
START_TEST(failed_writing_back_is_a_failed_operation)
{
    change.rc = -EIO;
    program(BANK1, 0);
    expect_status(BANK1, 0x90);
    both(BANK1, 0x20);
    both(BANK1, 0xd0);
    expect_status(BANK1, 0xa0);
    buffered(BANK1, 1, 0);
    both(BANK1, 0xd0);
    expect_status(BANK1, 0x90);
}
END_TEST

START_TEST(lock_commands_are_taken)
{
    both(BANK1, 0x60);
    both(BANK1, 0xd0);
    expect_status(BANK1, 0x80);
    both(BANK1, 0xf0); /* unknown: array */
    ck_assert_uint_eq(in(BANK1), 0xffffffff);
}
END_TEST

START_TEST(changes_make_translated_code_stale)
{
    const uint8_t *host = pflash_bank(dev, 1) + BLOCK;
    uint32_t frame = mem_frame_of(mem, host), stale;
    uint64_t position = mem_stale_head(mem);

    ck_assert_uint_lt(frame, mem_frame_count(mem));
    ck_assert_uint_eq(mem_host_to_gpa(mem, host), BANK1 + BLOCK);
    ck_assert_uint_eq(mem_host_to_gpa(mem, pflash_bank(dev, 0) + BLOCK), BASE + BLOCK);
    mem_frame_mark_code(mem, frame, 1);
    program(BANK1 + BLOCK + 64, 0);
    ck_assert_int_eq(mem_stale_next(mem, &position, &stale), 0);
    program(BANK1 + BLOCK + 60, 0);
    ck_assert_int_eq(mem_stale_next(mem, &position, &stale), 1);
    ck_assert_uint_eq(stale, frame);
}
END_TEST

START_TEST(saved_state_restores_the_command_at_hand)
{
    buffered(BANK1 + 0x800, 2, 0x55);
    both(BASE, 0x98);
    save_reset_load(dev);
    ck_assert_uint_eq(in(BASE + 0x40), 0x00510051);
    both(BANK1 + 0x800, 0xd0);
    expect_status(BANK1, 0x80);
    ck_assert_uint_eq(in(BANK1 + 0x804), 0x56);
}
END_TEST

/* Any byte in any saved field: afterwards every access is harmless. */
START_TEST(saved_state_with_any_values_is_safe)
{
    struct device_field field;

    for (unsigned value = 1; value < 256; value += 2) {
        for (const struct device_field *at = dev->ops->fields; at->name; at++) {
            field = *at;
            memset((uint8_t *)dev + field.offset, (int)value, (size_t)field.element_bytes * field.count);
        }
        dev->ops->post_restore(dev);
        for (unsigned i = 0; i < 8; i++) {
            both(BANK1 + PFLASH_BANK_BYTES - 4 - 4 * i, 0xd0);
            (void)in(BANK1 + PFLASH_BANK_BYTES - 4);
            both(BASE, 0xd0);
        }
        dev->ops->reset(dev);
    }
}
END_TEST

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"cfi-flash"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/flash@20000000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, BASE, 0, PFLASH_BANK_BYTES, 0, BANK1, 0, PFLASH_BANK_BYTES);
    EXPECT_CELLS(fdt, node, "bank-width", 4);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

static void *read_for_a_while(void *opaque)
{
    for (unsigned i = 0; i < 20000; i++)
        (void)in(BANK1 + 0x40);
    return NULL;
}

START_TEST(readers_and_a_writer_at_once)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, read_for_a_while, NULL), 0);
    for (unsigned i = 0; i < 2000; i++) {
        program(BANK1 + 0x40, ~i);
        both(BANK1, 0xff);
    }
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(create_needs_ram_and_room)
{
    const struct pflash_config config = {.mem = mem, .gpa = 0x60000000};
    struct mem *empty = make_mem();
    const struct pflash_config without = {.mem = empty, .gpa = BASE};
    struct device *other;

    ck_assert_int_eq(pflash_create(&config, &other), -ENOMEM);
    ck_assert_int_eq(pflash_create(&without, &other), -EINVAL);
    mem_destroy(empty);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pflash");
    TCase *tc = tcase_create("commands");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, reset_shows_an_erased_array);
    tcase_add_test(tc, array_is_read_at_every_size);
    tcase_add_test(tc, query_answers_qry_on_both_chips);
    tcase_add_test(tc, identification_is_intels);
    tcase_add_test(tc, banks_have_modes_of_their_own);
    tcase_add_test(tc, programming_clears_bits_and_is_kept);
    tcase_add_test(tc, erasing_takes_its_block_and_no_other);
    tcase_add_test(tc, erasing_needs_its_confirmation);
    tcase_add_test(tc, buffer_is_programmed_when_confirmed);
    tcase_add_test(tc, buffer_overrun_is_a_sequence_error);
    tcase_add_test(tc, read_only_bank_says_so);
    tcase_add_test(tc, failed_writing_back_is_a_failed_operation);
    tcase_add_test(tc, lock_commands_are_taken);
    tcase_add_test(tc, changes_make_translated_code_stale);
    tcase_add_test(tc, saved_state_restores_the_command_at_hand);
    tcase_add_test(tc, saved_state_with_any_values_is_safe);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, readers_and_a_writer_at_once);
    tcase_add_test(tc, create_needs_ram_and_room);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
