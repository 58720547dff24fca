/* HTIF: what standard RISC-V test programs do with tohost and fromhost, and what hostile ones might. */
#include "dev/htif.h"
#include "dev_test.h"

enum {
    RAM = 0x80000000,
    RAM_BYTES = 0x10000,
    TOHOST = RAM + 0x1000,
    FROMHOST = TOHOST + 64,
    BLOCK = RAM + 0x2000,
    TEXT = RAM + 0x3000,
    NOT_ENDED = 0xabcdef,
};

static struct mem *mem;
static struct device *dev;
static char console[200000];
static size_t console_len;
static unsigned wakes;
static uint32_t exit_code;

static void console_write(void *opaque, const uint8_t *bytes, size_t len)
{
    ck_assert_uint_le(console_len + len, sizeof(console));
    memcpy(console + console_len, bytes, len);
    console_len += len;
}

static void console_can_receive(void *opaque)
{
    wakes++;
}

static void on_exit_code(void *opaque, uint32_t code)
{
    exit_code = code;
}

static struct htif_config make_config(void)
{
    return (struct htif_config){.mem = mem,
                                .tohost_gpa = TOHOST,
                                .has_fromhost = true,
                                .fromhost_gpa = FROMHOST,
                                .console = {.write = console_write, .can_receive = console_can_receive},
                                .exit = on_exit_code};
}

static void setup(void)
{
    console_len = 0;
    wakes = 0;
    exit_code = NOT_ENDED;
    mem = make_mem();
    ck_assert_int_eq(mem_add_ram(mem, RAM, RAM_BYTES), 0);
    const struct htif_config config = make_config();
    ck_assert_int_eq(htif_create(&config, &dev), 0);
}

static void teardown(void)
{
    dev->ops->destroy(dev);
    mem_destroy(mem);
}

static uint64_t peek(uint64_t gpa)
{
    uint64_t value;

    ck_assert_int_eq(mem_read(mem, gpa, &value, sizeof(value)), 0);
    return value;
}

/* A hart's store, reported as the machine does. */
static void store(uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    ck_assert_int_eq(mem_write(mem, gpa, &value, size_bytes), 0);
    htif_stored(dev, gpa, size_bytes);
}

static int64_t syscall_block(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2)
{
    const uint64_t words[8] = {number, a0, a1, a2, 55, 66, 77, 88};

    ck_assert_int_eq(mem_write(mem, BLOCK, words, sizeof(words)), 0);
    store(FROMHOST, 8, 0);
    store(TOHOST, 8, BLOCK);
    ck_assert_uint_eq(peek(TOHOST), 0);
    ck_assert_uint_eq(peek(BLOCK + 8), a0);
    ck_assert_uint_eq(peek(BLOCK + 32), 55);
    return (int64_t)peek(BLOCK);
}

START_TEST(exit_word_1_is_success)
{
    store(TOHOST, 8, 1);
    ck_assert_uint_eq(exit_code, 0);
    ck_assert_uint_eq(peek(TOHOST), 0);
}
END_TEST

START_TEST(exit_word_carries_the_number_of_the_failed_test)
{
    store(TOHOST, 8, 37 << 1 | 1);
    ck_assert_uint_eq(exit_code, 37);
}
END_TEST

START_TEST(exit_code_too_large_stays_a_failure)
{
    store(TOHOST, 8, UINT64_C(1) << 40 | 1);
    ck_assert_uint_eq(exit_code, UINT32_MAX);
}
END_TEST

START_TEST(exit_by_two_halves_low_first)
{
    store(TOHOST, 4, 5 << 1 | 1);
    ck_assert_uint_eq(exit_code, NOT_ENDED);
    store(TOHOST + 4, 4, 0);
    ck_assert_uint_eq(exit_code, 5);
}
END_TEST

START_TEST(exit_by_a_loop_that_stores_the_low_half_for_ever)
{
    store(TOHOST, 4, 1);
    store(TOHOST, 4, 1);
    ck_assert_uint_eq(exit_code, 0);
}
END_TEST

START_TEST(exit_by_one_low_half_is_found_by_poll)
{
    store(TOHOST, 4, 3);
    ck_assert_uint_eq(exit_code, NOT_ENDED);
    htif_poll(dev);
    ck_assert_uint_eq(exit_code, 1);
}
END_TEST

START_TEST(console_character_by_one_store)
{
    store(TOHOST, 8, UINT64_C(0x0101000000000000) | 'A');
    store(TOHOST, 8, UINT64_C(0x0101ffffffffff00) | 'B');
    ck_assert_uint_eq(console_len, 2);
    ck_assert_mem_eq(console, "AB", 2);
    ck_assert_uint_eq(peek(TOHOST), 0);
    ck_assert_uint_eq(peek(FROMHOST), 0);
}
END_TEST

START_TEST(console_character_with_an_odd_code_by_halves_is_no_exit)
{
    store(TOHOST, 4, 'A');
    store(TOHOST + 4, 4, 0x01010000);
    store(TOHOST, 4, 'C');
    store(TOHOST + 4, 4, 0x01010000);
    ck_assert_uint_eq(exit_code, NOT_ENDED);
    ck_assert_uint_eq(console_len, 2);
    ck_assert_mem_eq(console, "AC", 2);
}
END_TEST

START_TEST(stores_beside_tohost_are_ignored)
{
    const uint64_t exit_word = 3;

    ck_assert_int_eq(mem_write(mem, TOHOST, &exit_word, 8), 0);
    htif_stored(dev, TOHOST + 8, 8);
    htif_stored(dev, TOHOST - 8, 8);
    ck_assert_uint_eq(exit_code, NOT_ENDED);
    htif_stored(dev, TOHOST - 64, 4096);
    ck_assert_uint_eq(exit_code, 1);
}
END_TEST

START_TEST(zero_in_tohost_does_nothing)
{
    store(TOHOST, 8, 0);
    htif_poll(dev);
    ck_assert_uint_eq(exit_code, NOT_ENDED);
    ck_assert_uint_eq(console_len, 0);
}
END_TEST

START_TEST(write_call_prints_and_answers_through_fromhost)
{
    ck_assert_int_eq(mem_write(mem, TEXT, "hello, host\n", 12), 0);
    ck_assert_int_eq(syscall_block(64, 1, TEXT, 12), 12);
    ck_assert_uint_eq(console_len, 12);
    ck_assert_mem_eq(console, "hello, host\n", 12);
    ck_assert_uint_eq(peek(FROMHOST), 1);
    ck_assert_int_eq(syscall_block(64, 2, TEXT, 5), 5);
    ck_assert_uint_eq(console_len, 17);
}
END_TEST

START_TEST(write_call_longer_than_a_chunk_prints_all_of_it)
{
    for (unsigned i = 0; i < 3000; i += 2)
        ck_assert_int_eq(mem_write(mem, TEXT + i, (const uint8_t[]){(uint8_t)(i >> 8), (uint8_t)i}, 2), 0);
    ck_assert_int_eq(syscall_block(64, 1, TEXT, 3000), 3000);
    ck_assert_uint_eq(console_len, 3000);
    for (unsigned i = 0; i < 3000; i += 2)
        ck_assert_uint_eq((uint8_t)console[i] << 8 | (uint8_t)console[i + 1], i);
}
END_TEST

START_TEST(write_call_to_other_files_or_outside_ram_fails)
{
    ck_assert_int_eq(syscall_block(64, 0, TEXT, 4), -EBADF);
    ck_assert_int_eq(syscall_block(64, 3, TEXT, 4), -EBADF);
    ck_assert_int_eq(syscall_block(64, 1, 0x1000, 4), -EFAULT);
    ck_assert_int_eq(syscall_block(64, 1, UINT64_MAX - 1, 4), -EFAULT);
    ck_assert_int_eq(syscall_block(64, 1, TEXT, 0), 0);
    ck_assert_uint_eq(console_len, 0);
    ck_assert_uint_eq(peek(FROMHOST), 1);
}
END_TEST

START_TEST(write_call_of_endless_length_is_cut_at_rams_end)
{
    int64_t result = syscall_block(64, 1, RAM + RAM_BYTES - 1024, UINT64_MAX);

    ck_assert_int_eq(result, 1024);
    ck_assert_uint_eq(console_len, 1024);
}
END_TEST

START_TEST(exit_call_ends_the_program)
{
    syscall_block(93, 42, 0, 0);
    ck_assert_uint_eq(exit_code, 42);
}
END_TEST

START_TEST(unknown_call_gives_enosys)
{
    ck_assert_int_eq(syscall_block(2011, 0, 0, 0), -ENOSYS);
    ck_assert_uint_eq(peek(FROMHOST), 1);
}
END_TEST

START_TEST(call_block_outside_ram_is_ignored)
{
    store(TOHOST, 8, 0x1000);
    store(TOHOST, 8, RAM + RAM_BYTES - 8);
    store(TOHOST, 8, UINT64_C(0xfffffffffffe) & ~UINT64_C(1));
    ck_assert_uint_eq(peek(TOHOST), 0);
    ck_assert_uint_eq(peek(FROMHOST), 0);
    ck_assert_uint_eq(exit_code, NOT_ENDED);
}
END_TEST

START_TEST(unknown_devices_and_commands_are_ignored)
{
    for (unsigned device = 0; device < 256; device++) {
        for (unsigned command = 0; command < 256; command += 5) {
            bool known = device <= 1 && command <= 1;
            if (!known)
                store(TOHOST, 8, (uint64_t)device << 56 | (uint64_t)command << 48 | 3);
        }
    }
    ck_assert_uint_eq(exit_code, NOT_ENDED);
    ck_assert_uint_eq(console_len, 0);
}
END_TEST

START_TEST(getchar_is_answered_when_input_comes)
{
    ck_assert_uint_eq(htif_receive(dev, (const uint8_t *)"xy", 2), 0);
    store(TOHOST, 8, UINT64_C(0x0100000000000000));
    ck_assert_uint_eq(wakes, 1);
    ck_assert_uint_eq(htif_receive(dev, (const uint8_t *)"xy", 2), 1);
    ck_assert_uint_eq(peek(FROMHOST), UINT64_C(0x0100000000000100) | 'x');
    ck_assert_uint_eq(htif_receive(dev, (const uint8_t *)"y", 1), 0);
    store(TOHOST, 8, UINT64_C(0x0100000000000000));
    ck_assert_uint_eq(wakes, 1);
    store(FROMHOST, 8, 0);
    ck_assert_uint_eq(wakes, 2);
    ck_assert_uint_eq(htif_receive(dev, (const uint8_t *)"y", 1), 1);
    ck_assert_uint_eq(peek(FROMHOST), UINT64_C(0x0100000000000100) | 'y');
}
END_TEST

START_TEST(requests_and_answers_reach_the_dirty_log)
{
    uint64_t words[RAM_BYTES / MEM_PAGE_BYTES / 64 + 1] = {0};
    const uint64_t exit_word = 1;

    ck_assert_int_eq(mem_write(mem, TOHOST, &exit_word, 8), 0);
    ck_assert_int_eq(mem_dirty_start(mem), 0);
    htif_poll(dev);
    ck_assert_int_eq(mem_dirty_fetch(mem, words, 1), 0);
    ck_assert_uint_eq(words[0], UINT64_C(1) << (TOHOST - RAM) / MEM_PAGE_BYTES);
}
END_TEST

START_TEST(without_fromhost_calls_are_served_but_not_answered)
{
    struct device *other;
    struct htif_config config = make_config();

    config.has_fromhost = false;
    ck_assert_int_eq(htif_create(&config, &other), 0);
    const uint64_t words[4] = {64, 1, TEXT, 3}, block = BLOCK;
    ck_assert_int_eq(mem_write(mem, BLOCK, words, sizeof(words)), 0);
    ck_assert_int_eq(mem_write(mem, TOHOST, &block, sizeof(block)), 0);
    htif_poll(other);
    ck_assert_uint_eq(peek(BLOCK), 3);
    ck_assert_uint_eq(peek(FROMHOST), 0);
    ck_assert_uint_eq(htif_receive(other, (const uint8_t *)"a", 1), 0);
    other->ops->destroy(other);
}
END_TEST

START_TEST(create_refuses_words_outside_ram_or_misaligned)
{
    static const uint64_t bad[] = {0, RAM - 8, RAM + RAM_BYTES, TOHOST + 4, TOHOST + 1, UINT64_MAX - 7};
    struct device *other;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct htif_config config = make_config();
        config.tohost_gpa = bad[i];
        ck_assert_int_eq(htif_create(&config, &other), -EINVAL);
        config = make_config();
        config.fromhost_gpa = bad[i];
        ck_assert_int_eq(htif_create(&config, &other), -EINVAL);
    }
}
END_TEST

START_TEST(saved_state_restores_a_waiting_getchar)
{
    store(TOHOST, 8, UINT64_C(0x0100000000000000));
    save_reset_load(dev);
    ck_assert_uint_eq(htif_receive(dev, (const uint8_t *)"z", 1), 1);
    dev->ops->reset(dev);
    store(FROMHOST, 8, 0);
    ck_assert_uint_eq(htif_receive(dev, (const uint8_t *)"z", 1), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("htif");
    TCase *tc = tcase_create("requests");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, exit_word_1_is_success);
    tcase_add_test(tc, exit_word_carries_the_number_of_the_failed_test);
    tcase_add_test(tc, exit_code_too_large_stays_a_failure);
    tcase_add_test(tc, exit_by_two_halves_low_first);
    tcase_add_test(tc, exit_by_a_loop_that_stores_the_low_half_for_ever);
    tcase_add_test(tc, exit_by_one_low_half_is_found_by_poll);
    tcase_add_test(tc, console_character_by_one_store);
    tcase_add_test(tc, console_character_with_an_odd_code_by_halves_is_no_exit);
    tcase_add_test(tc, stores_beside_tohost_are_ignored);
    tcase_add_test(tc, zero_in_tohost_does_nothing);
    tcase_add_test(tc, write_call_prints_and_answers_through_fromhost);
    tcase_add_test(tc, write_call_longer_than_a_chunk_prints_all_of_it);
    tcase_add_test(tc, write_call_to_other_files_or_outside_ram_fails);
    tcase_add_test(tc, write_call_of_endless_length_is_cut_at_rams_end);
    tcase_add_test(tc, exit_call_ends_the_program);
    tcase_add_test(tc, unknown_call_gives_enosys);
    tcase_add_test(tc, call_block_outside_ram_is_ignored);
    tcase_add_test(tc, unknown_devices_and_commands_are_ignored);
    tcase_add_test(tc, getchar_is_answered_when_input_comes);
    tcase_add_test(tc, requests_and_answers_reach_the_dirty_log);
    tcase_add_test(tc, without_fromhost_calls_are_served_but_not_answered);
    tcase_add_test(tc, create_refuses_words_outside_ram_or_misaligned);
    tcase_add_test(tc, saved_state_restores_a_waiting_getchar);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
