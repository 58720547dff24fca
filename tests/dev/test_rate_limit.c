/* Token buckets, with a clock the test turns. */
#include "dev/rate_limit.h"
#include "run_suite.h"

#include <check.h>

static uint64_t now_ns;

static uint64_t now(void *opaque)
{
    return now_ns;
}

static struct rate_limit make(uint64_t bytes_per_s, uint64_t bytes_burst, uint64_t ops_per_s, uint64_t ops_burst)
{
    struct rate_limit limit;

    now_ns = 1000;
    rate_limit_init(&limit, now, NULL);
    rate_limit_set(&limit, &(struct rate_limit_config){bytes_per_s, bytes_burst, ops_per_s, ops_burst});
    return limit;
}

/* Operations of `bytes` that pass until `end_ns`, waiting exactly as long as told. */
static uint64_t pass_until(struct rate_limit *limit, uint64_t end_ns, uint64_t bytes)
{
    uint64_t count = 0, retry;

    for (;;) {
        while (rate_limit_ready(limit, &retry)) {
            rate_limit_take(limit, bytes, 1);
            count++;
        }
        ck_assert_uint_gt(retry, now_ns);
        if (retry > end_ns)
            return count;
        now_ns = retry - 1; /* not a nanosecond too early */
        uint64_t again;
        ck_assert(!rate_limit_ready(limit, &again));
        ck_assert_uint_eq(again, retry);
        now_ns = retry;
    }
}

START_TEST(without_limits_everything_passes)
{
    struct rate_limit limit = make(0, 0, 0, 0);
    uint64_t retry;

    for (int i = 0; i < 1000; i++) {
        ck_assert(rate_limit_ready(&limit, &retry));
        rate_limit_take(&limit, UINT64_MAX, 1);
    }
    ck_assert_uint_eq(limit.waits, 0);
}
END_TEST

START_TEST(bytes_a_second_are_the_mean_after_the_burst)
{
    struct rate_limit limit = make(1000000, 5000, 0, 0);

    /* 5,000 at once, then 1,000,000 in a second; the last one may go into debt. */
    uint64_t passed = pass_until(&limit, 1000 + 1000000000, 700) * 700;
    ck_assert_uint_ge(passed, 1005000);
    ck_assert_uint_lt(passed, 1005000 + 2 * 700);
}
END_TEST

START_TEST(operations_are_limited_beside_bytes)
{
    struct rate_limit limit = make(1u << 30, 0, 50, 10);

    ck_assert_uint_eq(pass_until(&limit, 1000 + 2000000000u, 4096), 10 + 100);
}
END_TEST

START_TEST(operation_above_the_burst_passes_and_is_paid_for)
{
    struct rate_limit limit = make(1000, 10, 0, 0);
    uint64_t retry;

    ck_assert(rate_limit_ready(&limit, &retry));
    rate_limit_take(&limit, 5010, 1);
    ck_assert(!rate_limit_ready(&limit, &retry));
    ck_assert_uint_eq(retry, 1000 + UINT64_C(5001000000));
}
END_TEST

START_TEST(idle_time_saves_up_no_more_than_the_burst)
{
    struct rate_limit limit = make(1000, 0, 0, 0); /* a burst of 100 */

    pass_until(&limit, now_ns, 1);
    now_ns += UINT64_C(3600) * 1000000000;
    ck_assert_uint_eq(pass_until(&limit, now_ns, 1), 100);
}
END_TEST

START_TEST(fractions_of_a_token_add_up)
{
    struct rate_limit limit = make(3, 1, 0, 0);
    uint64_t retry, passed = 0;

    for (int i = 0; i < 10000; i++, now_ns += 1000000) { /* ten seconds of looking each millisecond */
        if (rate_limit_ready(&limit, &retry)) {
            rate_limit_take(&limit, 1, 1);
            passed++;
        }
    }
    ck_assert_uint_eq(passed, 30);
}
END_TEST

START_TEST(limits_change_while_running)
{
    struct rate_limit limit = make(1000, 1000, 0, 0);
    uint64_t retry;

    rate_limit_take(&limit, 3000, 1); /* 2,000 owed */
    rate_limit_set(&limit, &(struct rate_limit_config){.bytes_per_s = 1000000});
    ck_assert(!rate_limit_ready(&limit, &retry));
    ck_assert_uint_eq(retry, now_ns + 2001000);
    rate_limit_set(&limit, &(struct rate_limit_config){0});
    ck_assert(rate_limit_ready(&limit, &retry));
    rate_limit_set(&limit, &(struct rate_limit_config){.ops_per_s = 1});
    ck_assert(rate_limit_ready(&limit, &retry));
    rate_limit_take(&limit, 0, 1);
    ck_assert(!rate_limit_ready(&limit, &retry));
}
END_TEST

START_TEST(extremes_neither_wrap_nor_divide_by_zero)
{
    struct rate_limit limit = make(UINT64_MAX, UINT64_MAX, 1, UINT64_MAX);
    uint64_t retry;

    for (int i = 0; i < 5000; i++)
        rate_limit_take(&limit, UINT64_MAX, UINT64_MAX);
    ck_assert(!rate_limit_ready(&limit, &retry));
    ck_assert_uint_gt(retry, now_ns);
    now_ns = UINT64_MAX / 2;
    (void)rate_limit_ready(&limit, &retry);
    now_ns = 0; /* a clock that goes back gives nothing and takes nothing */
    int64_t level = limit.ops.level;
    (void)rate_limit_ready(&limit, &retry);
    ck_assert_int_eq(limit.ops.level, level);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rate_limit");
    TCase *tcase = tcase_create("rate_limit");

    tcase_add_test(tcase, without_limits_everything_passes);
    tcase_add_test(tcase, bytes_a_second_are_the_mean_after_the_burst);
    tcase_add_test(tcase, operations_are_limited_beside_bytes);
    tcase_add_test(tcase, operation_above_the_burst_passes_and_is_paid_for);
    tcase_add_test(tcase, idle_time_saves_up_no_more_than_the_burst);
    tcase_add_test(tcase, fractions_of_a_token_add_up);
    tcase_add_test(tcase, limits_change_while_running);
    tcase_add_test(tcase, extremes_neither_wrap_nor_divide_by_zero);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
