/* Which regions go when there are too many: the policy alone, on regions that have no code. */
#include "engine/region/keep.h"
#include "run_suite.h"

#include <check.h>

enum { REGIONS = 8, HELD_BYTES = 3 * 4096 };

static struct region_keep keep;
static struct region regions[REGIONS];

/* A list with room for `room` regions of a page of code, and `count` of them in it. */
static void start(unsigned room, unsigned count)
{
    keep = (struct region_keep){.limit_bytes = (uint64_t)room * HELD_BYTES};
    for (unsigned i = 0; i < count; i++) {
        regions[i] = (struct region){.state = REGION_READY, .code_bytes = 100};
        ck_assert_uint_eq(region_held_bytes(&regions[i]), HELD_BYTES);
        region_keep_add(&keep, &regions[i]);
    }
}

static void use(unsigned number, uint64_t entries)
{
    atomic_fetch_add(&regions[number].entries, entries);
}

static void rounds(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        region_keep_age(&keep);
}

static void expect_victim(unsigned number)
{
    ck_assert_ptr_eq(region_keep_victim(&keep, &regions[REGIONS - 1]), &regions[number]);
}

START_TEST(nobody_goes_while_there_is_room)
{
    start(REGIONS, REGIONS);
    ck_assert_ptr_null(region_keep_victim(&keep, NULL));
    ck_assert(region_keep_is_tight(&keep));
    region_keep_remove(&keep, &regions[1]);
    region_keep_remove(&keep, &regions[1]);
    region_keep_remove(&keep, &regions[0]);
    ck_assert_uint_eq(keep.bytes, (REGIONS - 2) * HELD_BYTES);
    ck_assert(!region_keep_is_tight(&keep));
}
END_TEST

START_TEST(code_that_never_got_hot_goes_before_code_that_rests)
{
    start(REGIONS - 1, REGIONS);
    for (unsigned i = 0; i < REGIONS; i++)
        use(i, i == 5 ? REGION_HOT_ENTRIES - 1 : REGION_HOT_ENTRIES);
    rounds(REGION_GRACE_ROUNDS);
    expect_victim(5);
}
END_TEST

START_TEST(young_code_has_time_to_get_hot)
{
    start(REGIONS - 1, REGIONS);
    for (unsigned i = 0; i < REGIONS; i++)
        use(i, REGION_HOT_ENTRIES);
    rounds(REGION_GRACE_ROUNDS);
    region_keep_remove(&keep, &regions[5]);
    atomic_store(&regions[5].entries, 0);
    region_keep_add(&keep, &regions[5]);
    rounds(REGION_GRACE_ROUNDS - 1);
    /* It was made after the others were used for the last time. */
    ck_assert_ptr_ne(region_keep_victim(&keep, NULL), &regions[5]);
    rounds(1);
    expect_victim(5);
}
END_TEST

START_TEST(the_least_recently_used_goes_first)
{
    start(REGIONS - 1, REGIONS);
    for (unsigned i = 0; i < REGIONS; i++)
        use(i, REGION_HOT_ENTRIES + i);
    rounds(1);
    for (unsigned i = 0; i < REGIONS; i++) {
        if (i != 3)
            use(i, 1);
    }
    rounds(1);
    expect_victim(3);
    use(3, 1);
    rounds(1);
    ck_assert_ptr_ne(region_keep_victim(&keep, NULL), &regions[3]);
}
END_TEST

START_TEST(of_those_used_at_once_the_less_used_goes_and_old_use_fades)
{
    start(REGIONS - 1, REGIONS);
    for (unsigned i = 0; i < REGIONS; i++)
        use(i, i == 2 ? 1000000 : 1000);
    rounds(1);
    expect_victim(0);
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < REGIONS; i++)
            use(i, i == 2 ? 1 : 1000);
        rounds(1);
    }
    expect_victim(2);
}
END_TEST

/* A loop that is entered once and runs on is interrupted again and again. */
START_TEST(interruptions_are_use)
{
    start(REGIONS - 1, REGIONS);
    for (unsigned i = 0; i < REGIONS; i++)
        use(i, REGION_HOT_ENTRIES);
    rounds(REGION_GRACE_ROUNDS);
    for (unsigned i = 0; i < REGIONS; i++) {
        if (i == 1)
            atomic_fetch_add(&regions[i].ticks, 1);
        else if (i != 6)
            use(i, 1);
    }
    rounds(1);
    expect_victim(6);
    region_keep_remove(&keep, &regions[6]);
    keep.limit_bytes -= HELD_BYTES;
    ck_assert_ptr_ne(region_keep_victim(&keep, NULL), &regions[1]);
}
END_TEST

START_TEST(the_one_just_made_is_spared)
{
    start(0, 1);
    ck_assert_ptr_null(region_keep_victim(&keep, &regions[0]));
    ck_assert_ptr_eq(region_keep_victim(&keep, NULL), &regions[0]);
}
END_TEST

START_TEST(failures_are_forgotten_beyond_a_number)
{
    static struct region failures[REGION_FAILED_KEPT + 1];

    start(REGIONS, 1);
    for (unsigned i = 0; i <= REGION_FAILED_KEPT; i++) {
        ck_assert_ptr_null(region_keep_victim(&keep, NULL));
        failures[i] = (struct region){.state = REGION_FAILED};
        region_keep_add(&keep, &failures[i]);
    }
    ck_assert_uint_eq(keep.bytes, HELD_BYTES);
    ck_assert_ptr_eq(region_keep_victim(&keep, NULL), &failures[0]);
    region_keep_remove(&keep, &failures[0]);
    ck_assert_ptr_null(region_keep_victim(&keep, NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("region_keep");
    TCase *policy = tcase_create("policy");

    tcase_add_test(policy, nobody_goes_while_there_is_room);
    tcase_add_test(policy, code_that_never_got_hot_goes_before_code_that_rests);
    tcase_add_test(policy, young_code_has_time_to_get_hot);
    tcase_add_test(policy, the_least_recently_used_goes_first);
    tcase_add_test(policy, of_those_used_at_once_the_less_used_goes_and_old_use_fades);
    tcase_add_test(policy, interruptions_are_use);
    tcase_add_test(policy, the_one_just_made_is_spared);
    tcase_add_test(policy, failures_are_forgotten_beyond_a_number);
    suite_add_tcase(suite, policy);
    return run_suite(suite);
}
