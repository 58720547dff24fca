/* The SBI's performance counters: what can be counted, by which counter, and when. */
#include "test_sbi.h"

#include <pthread.h>

enum {
    NUM_COUNTERS,
    GET_INFO,
    CONFIG_MATCHING,
    START,
    STOP,
    FW_READ,
    FW_READ_HI,
    SNAPSHOT_SET_SHMEM,

    SKIP_MATCH = 1,
    CLEAR_VALUE = 2,
    AUTO_START = 4,
    SET_INIT = 1,
    RESET = 1,
    SNAPSHOT = 2,

    CYCLES = 1,
    INSTRUCTIONS = 2,
    FW_SET_TIMER = 0xf0005,
    FW_IPI_SENT = 0xf0006,
    FW_IPI_RECEIVED = 0xf0007,
    FW_FENCE_I_SENT = 0xf0008,
    FW_SFENCE_VMA_SENT = 0xf000a,
    FW_SFENCE_VMA_ASID_RECEIVED = 0xf000d,

    COUNTERS = 19, /* without Sscofpmf */
    ALL_COUNTERS = (1 << COUNTERS) - 1,
    RAW = 0x20000,
};

#define pmu(hart, fid, ...) call((hart), SBI_EID_PMU, (fid), __VA_ARGS__)

/* A counter for the event, started at 0. */
static uint64_t counting(uint32_t hart, uint64_t event)
{
    pmu(hart, CONFIG_MATCHING, 0, ALL_COUNTERS, CLEAR_VALUE | AUTO_START, event, 0);
    ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
    return test_ret.value;
}

static uint64_t fw_read(uint32_t hart, uint64_t counter)
{
    pmu(hart, FW_READ, counter);
    ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
    return test_ret.value;
}

START_TEST(counters_are_two_csrs_and_the_firmwares)
{
    int hardware = 0, firmware = 0;

    pmu(0, NUM_COUNTERS, 0);
    expect_ret(SBI_SUCCESS, COUNTERS);
    for (uint64_t i = 0; i < COUNTERS; i++) {
        pmu(0, GET_INFO, i);
        ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
        ck_assert_uint_eq(test_ret.value >> 12 & 0x3f, 63);
        if (test_ret.value >> 63)
            firmware++;
        else
            hardware++;
    }
    ck_assert_int_eq(hardware, 2);
    ck_assert_int_eq(firmware, COUNTERS - 2);
    pmu(0, GET_INFO, 0);
    ck_assert_uint_eq(test_ret.value & 0xfff, 0xc00);
    pmu(0, GET_INFO, 2);
    ck_assert_uint_eq(test_ret.value & 0xfff, 0xc02);
    pmu(0, GET_INFO, COUNTERS);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    pmu(0, GET_INFO, UINT64_MAX);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
}
END_TEST

START_TEST(hardware_events_match_their_counters)
{
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, CYCLES, 0);
    expect_ret(SBI_SUCCESS, 0);
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, INSTRUCTIONS, 0);
    expect_ret(SBI_SUCCESS, 2);
    ck_assert_uint_eq(fake.calls, 0); /* configured, not touched */
    pmu(0, CONFIG_MATCHING, 1, ALL_COUNTERS >> 1, 0, CYCLES, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    pmu(0, CONFIG_MATCHING, 1, 2, 0, INSTRUCTIONS, 0);
    expect_ret(SBI_SUCCESS, 2);
}
END_TEST

START_TEST(events_that_cannot_be_counted_are_not_supported)
{
    static const uint64_t events[] = {0,       3,       4,       10,       11,        0x10000,
                                      0x10019, 0x20000, 0x30000, 0xf0000,  0xf0004,   0xf000e,
                                      0xf0015, 0xf0016, 0xfffff, 0x100001, UINT64_MAX};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(events); i++) {
        pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, events[i], 0);
        expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
        pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, SKIP_MATCH, events[i], 0);
        expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    }
}
END_TEST

START_TEST(counter_sets_are_checked_in_every_function)
{
    static const uint64_t bad[][2] = {{0, 1 << COUNTERS}, {COUNTERS, 1}, {1, ALL_COUNTERS}, {0, 0},
                                      {UINT64_MAX, 1},    {18, 2},       {1, 1ull << 63},   {64, 1}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        pmu(0, CONFIG_MATCHING, bad[i][0], bad[i][1], 0, FW_SET_TIMER, 0);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
        pmu(0, START, bad[i][0], bad[i][1], 0, 0);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
        pmu(0, STOP, bad[i][0], bad[i][1], 0);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
    }
}
END_TEST

START_TEST(reserved_flags_and_data_are_refused)
{
    uint64_t counter = counting(0, FW_SET_TIMER);

    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0x100, FW_SET_TIMER, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, FW_SET_TIMER, 1);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0xf8, FW_SET_TIMER, 0); /* filters are hints */
    ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
    pmu(0, STOP, counter, 1, 4);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    pmu(0, STOP, counter, 1, 0);
    expect_ret(SBI_SUCCESS, 0);
    pmu(0, START, counter, 1, 4, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    pmu(0, START, counter, 1, SET_INIT | SNAPSHOT, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
}
END_TEST

START_TEST(snapshots_are_not_available)
{
    uint64_t counter = counting(0, FW_SET_TIMER);

    pmu(0, SNAPSHOT_SET_SHMEM, TEST_RAM_GPA, 0, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    pmu(0, STOP, counter, 1, SNAPSHOT);
    expect_ret(SBI_ERR_NO_SHMEM, 0);
    pmu(0, STOP, counter, 1, 0);
    pmu(0, START, counter, 1, SNAPSHOT, 0);
    expect_ret(SBI_ERR_NO_SHMEM, 0);
}
END_TEST

START_TEST(hardware_counters_are_started_and_stopped)
{
    pmu(1, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, INSTRUCTIONS, 0);
    pmu(1, START, 2, 1, SET_INIT, 0x8000000000000000);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.hart, 1);
    ck_assert_uint_eq(fake.csr, 0xc02);
    ck_assert(fake.counter_running && fake.counter_has_value);
    ck_assert_uint_eq(fake.counter_value, 0x8000000000000000);
    pmu(1, START, 2, 1, 0, 0);
    expect_ret(SBI_ERR_ALREADY_STARTED, 0);
    pmu(1, STOP, 2, 1, RESET);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert(!fake.counter_running && !fake.counter_has_value);
    pmu(1, STOP, 2, 1, 0);
    expect_ret(SBI_ERR_ALREADY_STOPPED, 0);
    pmu(1, START, 2, 1, 0, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0); /* the reset took its event */
}
END_TEST

START_TEST(hardware_counter_is_cleared_without_starting)
{
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, CLEAR_VALUE, CYCLES, 0);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.csr, 0xc00);
    ck_assert(!fake.counter_running && fake.counter_has_value);
    ck_assert_uint_eq(fake.counter_value, 0);
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, AUTO_START, CYCLES, 0);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert(fake.counter_running && !fake.counter_has_value);
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, CYCLES, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0); /* started: not free */
}
END_TEST

START_TEST(skip_match_takes_the_first_counter)
{
    pmu(0, CONFIG_MATCHING, 0, 1, SKIP_MATCH, CYCLES, 0);
    expect_ret(SBI_SUCCESS, 0);
    pmu(0, CONFIG_MATCHING, 0, 4, SKIP_MATCH, INSTRUCTIONS, 0);
    expect_ret(SBI_SUCCESS, 2);
    pmu(0, CONFIG_MATCHING, 5, 6, SKIP_MATCH | AUTO_START, FW_SET_TIMER, 0);
    expect_ret(SBI_SUCCESS, 6);
    pmu(0, CONFIG_MATCHING, 6, 1, SKIP_MATCH | CLEAR_VALUE, FW_SET_TIMER, 0); /* the same event: may be cleared */
    expect_ret(SBI_SUCCESS, 6);
    pmu(0, CONFIG_MATCHING, 6, 1, SKIP_MATCH, FW_IPI_SENT, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
}
END_TEST

START_TEST(configured_counters_are_not_given_twice)
{
    uint64_t seen = 0;

    for (int i = 0; i < COUNTERS - 2; i++) {
        pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, FW_SET_TIMER, 0);
        ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
        ck_assert(!(seen >> test_ret.value & 1));
        seen |= 1ull << test_ret.value;
    }
    ck_assert_uint_eq(seen, ALL_COUNTERS & ~5u);
    pmu(0, START, 0, seen, 0, 0);
    expect_ret(SBI_SUCCESS, 0);
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, FW_SET_TIMER, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    pmu(0, STOP, 9, 1, RESET);
    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, FW_SET_TIMER, 0);
    expect_ret(SBI_SUCCESS, 9);
}
END_TEST

START_TEST(firmware_counter_counts_while_it_is_started)
{
    uint64_t counter = counting(0, FW_SET_TIMER);

    ck_assert_uint_eq(fw_read(0, counter), 0);
    call(0, SBI_EID_TIME, 0, 1);
    call(0, SBI_EID_TIME, 0, 2);
    call(1, SBI_EID_TIME, 0, 3); /* another hart's */
    ck_assert_uint_eq(fw_read(0, counter), 2);
    pmu(0, STOP, counter, 1, 0);
    call(0, SBI_EID_TIME, 0, 4);
    ck_assert_uint_eq(fw_read(0, counter), 2);
    pmu(0, START, counter, 1, 0, 1000);
    call(0, SBI_EID_TIME, 0, 5);
    ck_assert_uint_eq(fw_read(0, counter), 3);
    pmu(0, STOP, counter, 1, 0);
    pmu(0, START, counter, 1, SET_INIT, 1000);
    call(0, SBI_EID_TIME, 0, 6);
    ck_assert_uint_eq(fw_read(0, counter), 1001);
    pmu(0, CONFIG_MATCHING, counter, 1, SKIP_MATCH | CLEAR_VALUE, FW_SET_TIMER, 0);
    ck_assert_uint_eq(fw_read(0, counter), 0);
    call(0, SBI_EID_TIME, 0, 7);
    ck_assert_uint_eq(fw_read(0, counter), 1);
    pmu(0, CONFIG_MATCHING, counter, 1, SKIP_MATCH | AUTO_START, FW_SET_TIMER, 0); /* it runs already */
    ck_assert_uint_eq(fw_read(0, counter), 1);
}
END_TEST

START_TEST(firmware_read_checks_the_counter)
{
    static const uint64_t bad[] = {0, 2, COUNTERS, UINT64_MAX};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++)
        for (uint64_t fid = FW_READ; fid <= FW_READ_HI; fid++) {
            pmu(0, fid, bad[i]);
            expect_ret(SBI_ERR_INVALID_PARAM, 0);
        }
    uint64_t counter = counting(0, FW_SET_TIMER);
    pmu(0, STOP, counter, 1, 0);
    pmu(0, START, counter, 1, SET_INIT, 0x123456789);
    pmu(0, FW_READ_HI, counter);
    expect_ret(SBI_SUCCESS, 0);
    pmu(0, FW_READ, counter);
    expect_ret(SBI_SUCCESS, 0x123456789);
}
END_TEST

START_TEST(remote_events_count_on_both_sides)
{
    uint64_t sent = counting(0, FW_IPI_SENT), received = counting(2, FW_IPI_RECEIVED);
    uint64_t fence_i = counting(0, FW_FENCE_I_SENT), vma = counting(0, FW_SFENCE_VMA_SENT);
    uint64_t asid = counting(3, FW_SFENCE_VMA_ASID_RECEIVED);

    call(0, SBI_EID_IPI, 0, 0xf, 0); /* itself is not "another hart" */
    call(0, SBI_EID_IPI, 0, 0x1, 0);
    call(0, SBI_EID_IPI, 0, 0x100, 0); /* refused */
    ck_assert_uint_eq(fw_read(0, sent), 3);
    ck_assert_uint_eq(fw_read(2, received), 1);
    call(0, SBI_EID_RFENCE, 0, 0xe, 0);
    ck_assert_uint_eq(fw_read(0, fence_i), 3);
    call(0, SBI_EID_RFENCE, 1, 0x6, 0, 0, 0);
    ck_assert_uint_eq(fw_read(0, vma), 2);
    call(1, SBI_EID_RFENCE, 2, 0x8, 0, 0, 0, 1);
    ck_assert_uint_eq(fw_read(3, asid), 1);
}
END_TEST

/* What Linux does when it finds the PMU: stop and reset everything, try every event, give the counter back. */
START_TEST(probing_leaves_everything_free)
{
    pmu(0, STOP, 0, ALL_COUNTERS, RESET);
    expect_ret(SBI_ERR_ALREADY_STOPPED, 0);
    for (uint64_t event = 1; event <= 10; event++) {
        pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, event, 0);
        ck_assert_int_eq(test_ret.error, event <= 2 ? SBI_SUCCESS : SBI_ERR_NOT_SUPPORTED);
        if (test_ret.error == 0)
            pmu(0, STOP, test_ret.value, 1, RESET);
    }
    ck_assert_uint_eq(fake.calls, 0);
    for (int i = 0; i < COUNTERS; i++)
        ck_assert_uint_eq(sbi_hart_state(test_sbi, 0)->event_idx[i], 0);
}
END_TEST

START_TEST(one_bad_state_does_not_keep_the_other_counters)
{
    uint64_t first = counting(0, FW_SET_TIMER);

    pmu(0, CONFIG_MATCHING, 0, ALL_COUNTERS, 0, FW_IPI_SENT, 0);
    uint64_t second = test_ret.value;
    ck_assert_uint_ne(first, second);
    pmu(0, START, 0, 1 << first | 1 << second, 0, 0);
    expect_ret(SBI_ERR_ALREADY_STARTED, 0);
    call(0, SBI_EID_IPI, 0, 2, 0);
    ck_assert_uint_eq(fw_read(0, second), 1);
}
END_TEST

START_TEST(hart_stop_gives_the_counters_back)
{
    uint64_t counter = counting(1, FW_SET_TIMER);

    call(1, SBI_EID_TIME, 0, 1);
    call(1, SBI_EID_HSM, 1, 0);
    ck_assert_uint_eq(fw_read(1, counter), 0);
    pmu(1, START, counter, 1, 0, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
}
END_TEST

START_TEST(saved_fields_cover_the_state)
{
    size_t bytes = 0;

    for (const struct device_field *f = sbi_hart_fields; f->name; f++) {
        ck_assert_uint_le(f->offset + (size_t)f->element_bytes * f->count, sizeof(struct sbi_hart_state));
        bytes += (size_t)f->element_bytes * f->count;
    }
    ck_assert_uint_eq(bytes, sizeof(uint32_t) * SBI_COUNTERS + SBI_COUNTERS + sizeof(uint64_t) * SBI_COUNTERS +
                                 sizeof(uint64_t) * (SBI_FW_EVENTS + 3) + 2 + SBI_TRIGGERS);
}
END_TEST

START_TEST(restored_state_goes_on_counting)
{
    uint64_t counter = counting(0, FW_SET_TIMER);

    call(0, SBI_EID_TIME, 0, 1);
    struct sbi_hart_state saved = *sbi_hart_state(test_sbi, 0);
    test_sbi_create(TEST_HARTS);
    *sbi_hart_state(test_sbi, 0) = saved;
    call(0, SBI_EID_TIME, 0, 1);
    ck_assert_uint_eq(fw_read(0, counter), 2);
}
END_TEST

START_TEST(any_restored_state_is_safe)
{
    memset(sbi_hart_state(test_sbi, 0), 0xff, sizeof(struct sbi_hart_state));
    for (uint64_t i = 0; i < COUNTERS; i++) {
        pmu(0, FW_READ, i);
        pmu(0, STOP, i, 1, 0);
        ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
        pmu(0, START, i, 1, 0, 0);
        ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
        pmu(0, STOP, i, 1, RESET);
        ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
    }
    ck_assert_uint_lt(counting(0, FW_SET_TIMER), COUNTERS);
}
END_TEST

enum { IPIS_PER_HART = 20000 };

static void *send_ipis(void *arg)
{
    uint64_t a[8] = {0, UINT64_MAX, 0, 0, 0, 0, 0, SBI_EID_IPI};
    struct sbi_ret ret;

    for (int i = 0; i < IPIS_PER_HART; i++)
        sbi_handle(arg, 1, a, &ret);
    return NULL;
}

static void quiet_send_ipi(void *opaque, uint64_t mask)
{
}

/* The receiver's total is raised by other threads while its own reads it; nothing is lost. */
START_TEST(events_from_other_threads_are_all_counted)
{
    struct sbi_ops ops = fake_ops;
    struct sbi_config config = {.hart_count = 2, .mem = test_mem, .ops = &ops, .opaque = &fake};
    pthread_t threads[2];
    uint64_t last = 0;

    ops.send_ipi = quiet_send_ipi;
    sbi_destroy(test_sbi);
    ck_assert_int_eq(sbi_create(&config, &test_sbi), 0);
    uint64_t counter = counting(0, FW_IPI_RECEIVED);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_ipis, test_sbi), 0);
    while (last < IPIS_PER_HART) {
        uint64_t now = fw_read(0, counter);
        ck_assert_uint_ge(now, last);
        last = now;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(fw_read(0, counter), 2 * IPIS_PER_HART);
}
END_TEST

START_TEST(programmable_counters_are_there_with_overflow_interrupts)
{
    const uint64_t all = (1ull << SBI_COUNTERS) - 1;

    pmu(0, CONFIG_MATCHING, 0, all, 0, RAW, 3);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    test_overflow_interrupts = true;
    test_sbi_create(3);
    pmu(0, NUM_COUNTERS, 0);
    expect_ret(SBI_SUCCESS, SBI_COUNTERS);
    pmu(0, GET_INFO, 20);
    expect_ret(SBI_SUCCESS, 63 << 12 | 0xc04);
    /* Preferred for what the fixed ones count, too; filters go into the event. */
    pmu(0, CONFIG_MATCHING, 0, all, 1 << 5 | 1 << 7, CYCLES, 0);
    expect_ret(SBI_SUCCESS, 19);
    ck_assert_uint_eq(fake.event_csr, 0xc03);
    ck_assert_uint_eq(fake.event, 5ull << 60 | 1);
    pmu(0, CONFIG_MATCHING, 0, all, AUTO_START, RAW, 3);
    expect_ret(SBI_SUCCESS, 20);
    ck_assert_uint_eq(fake.event_csr, 0xc04);
    ck_assert_uint_eq(fake.event, 3);
    ck_assert_uint_eq(fake.csr, 0xc04);
    ck_assert(fake.counter_running);
    pmu(0, CONFIG_MATCHING, 0, all, 0, RAW, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    pmu(0, CONFIG_MATCHING, 0, all, 0, RAW, 1000);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    pmu(0, CONFIG_MATCHING, 0, 1, 0, CYCLES, 0);
    expect_ret(SBI_SUCCESS, 0);
    pmu(0, START, 19, 1, SET_INIT, UINT64_MAX - 99);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.csr, 0xc03);
    ck_assert_uint_eq(fake.counter_value, UINT64_MAX - 99);
    pmu(0, FW_READ, 19);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    pmu(0, START, 26, 2, 0, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    /* All eight taken: the fixed one counts. */
    for (unsigned i = 0; i < 6; i++)
        pmu(0, CONFIG_MATCHING, 0, all, AUTO_START, INSTRUCTIONS, 0);
    expect_ret(SBI_SUCCESS, 26);
    pmu(0, CONFIG_MATCHING, 0, all, 0, INSTRUCTIONS, 0);
    expect_ret(SBI_SUCCESS, 2);
    test_overflow_interrupts = false;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sbi_pmu");
    TCase *sbi = tcase_create("pmu");

    tcase_add_checked_fixture(sbi, test_sbi_setup, test_sbi_teardown);
    tcase_add_test(sbi, programmable_counters_are_there_with_overflow_interrupts);
    tcase_add_test(sbi, counters_are_two_csrs_and_the_firmwares);
    tcase_add_test(sbi, hardware_events_match_their_counters);
    tcase_add_test(sbi, events_that_cannot_be_counted_are_not_supported);
    tcase_add_test(sbi, counter_sets_are_checked_in_every_function);
    tcase_add_test(sbi, reserved_flags_and_data_are_refused);
    tcase_add_test(sbi, snapshots_are_not_available);
    tcase_add_test(sbi, hardware_counters_are_started_and_stopped);
    tcase_add_test(sbi, hardware_counter_is_cleared_without_starting);
    tcase_add_test(sbi, skip_match_takes_the_first_counter);
    tcase_add_test(sbi, configured_counters_are_not_given_twice);
    tcase_add_test(sbi, firmware_counter_counts_while_it_is_started);
    tcase_add_test(sbi, firmware_read_checks_the_counter);
    tcase_add_test(sbi, remote_events_count_on_both_sides);
    tcase_add_test(sbi, probing_leaves_everything_free);
    tcase_add_test(sbi, one_bad_state_does_not_keep_the_other_counters);
    tcase_add_test(sbi, hart_stop_gives_the_counters_back);
    tcase_add_test(sbi, saved_fields_cover_the_state);
    tcase_add_test(sbi, restored_state_goes_on_counting);
    tcase_add_test(sbi, any_restored_state_is_safe);
    tcase_add_test(sbi, events_from_other_threads_are_all_counted);
    suite_add_tcase(suite, sbi);
    return run_suite(suite);
}
