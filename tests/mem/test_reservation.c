/* LR/SC: what breaks a reservation and what does not, with two and more harts. */
#include "mem/reservation.h"
#include "mem_test.h"

#include <pthread.h>

static struct mem_reservations *r;
static _Atomic uint64_t *word;

static void setup_reservations(void)
{
    setup();
    r = mem_reservations(mem);
    word = mem_ram_ptr(mem, RAM_GPA, 8);
}

static bool sc(uint32_t hart, uint64_t gpa, unsigned size_bytes, uint64_t loaded, uint64_t value)
{
    return reservation_store_conditional(r, hart, gpa, mem_ram_ptr(mem, gpa, size_bytes), size_bytes, loaded, value);
}

static void store(uint32_t hart, uint64_t gpa)
{
    reservation_store_begin(r, hart, gpa);
    reservation_store_end(r, gpa);
}

START_TEST(sc_needs_an_lr_of_its_granule)
{
    ck_assert(!sc(0, RAM_GPA, 8, 0, 1));
    reservation_set(r, 0, RAM_GPA + 64);
    ck_assert(!sc(0, RAM_GPA, 8, 0, 1));
    reservation_set(r, 0, RAM_GPA);
    ck_assert(!sc(1, RAM_GPA, 8, 0, 1));
    ck_assert(sc(0, RAM_GPA, 8, 0, 1));
    ck_assert_uint_eq(*word, 1);
    ck_assert_uint_eq(r->active, 0);
}
END_TEST

START_TEST(sc_ends_the_reservation_even_when_it_fails)
{
    reservation_set(r, 0, RAM_GPA);
    ck_assert(!sc(0, RAM_GPA + 64, 8, 0, 1));
    ck_assert(!sc(0, RAM_GPA, 8, 0, 1));
    ck_assert_uint_eq(*word, 0);
    ck_assert_uint_eq(r->active, 0);
}
END_TEST

START_TEST(sc_of_a_word_leaves_the_other_word)
{
    *word = UINT64_C(0x1111111122222222);
    reservation_set(r, 0, RAM_GPA + 4);
    ck_assert(sc(0, RAM_GPA + 4, 4, 0x11111111, 0x33333333));
    ck_assert_uint_eq(*word, UINT64_C(0x3333333322222222));
}
END_TEST

START_TEST(sc_fails_when_the_value_changed_unseen)
{
    reservation_set(r, 0, RAM_GPA);
    *word = 5; /* a store that looked at `active` before the LR */
    ck_assert(!sc(0, RAM_GPA, 8, 0, 1));
    ck_assert_uint_eq(*word, 5);
}
END_TEST

START_TEST(others_stores_to_the_granule_break_it_whatever_their_value)
{
    reservation_set(r, 0, RAM_GPA);
    store(1, RAM_GPA + 56);
    ck_assert(!sc(0, RAM_GPA, 8, 0, 1));
    reservation_set(r, 0, RAM_GPA);
    store(0, RAM_GPA + 8);
    store(1, RAM_GPA + 64);
    ck_assert(sc(0, RAM_GPA, 8, 0, 1));
    reservation_set(r, 0, RAM_GPA);
    reservation_set(r, 1, RAM_GPA + 32);
    ck_assert(sc(1, RAM_GPA + 32, 8, 0, 0));
    ck_assert(!sc(0, RAM_GPA, 8, 1, 2));
}
END_TEST

START_TEST(device_writes_break_it)
{
    uint8_t buffer[200] = {0};

    reservation_set(r, 0, RAM_GPA + 128);
    reservation_set(r, 1, RAM_GPA + 192 + 32);
    ck_assert_int_eq(mem_write(mem, RAM_GPA + 60, buffer, 140), 0);
    ck_assert(!sc(0, RAM_GPA + 128, 8, 0, 1));
    ck_assert(!sc(1, RAM_GPA + 192 + 32, 8, 0, 1));
    reservation_set(r, 0, RAM_GPA + 256);
    ck_assert_int_eq(mem_write(mem, RAM_GPA + 60, buffer, 196), 0);
    ck_assert(sc(0, RAM_GPA + 256, 8, 0, 1));
}
END_TEST

START_TEST(clearing_ends_it_and_counts_once)
{
    reservation_set(r, 0, RAM_GPA);
    reservation_set(r, 0, RAM_GPA + 64);
    ck_assert_uint_eq(r->active, 1);
    reservation_set(r, 5, RAM_GPA);
    ck_assert_uint_eq(r->active, 2);
    reservation_clear(r, 0);
    reservation_clear(r, 0);
    ck_assert_uint_eq(r->active, 1);
    ck_assert(!sc(0, RAM_GPA + 64, 8, 0, 1));
    ck_assert(sc(5, RAM_GPA, 8, 0, 1));
    ck_assert_uint_eq(r->active, 0);
}
END_TEST

/* A hart that did LR and went elsewhere does not slow the others for ever. */
START_TEST(forgotten_reservations_are_broken)
{
    reservation_set(r, 3, RAM_GPA);
    for (unsigned i = 0; i < RESERVATION_PATIENCE / 2; i++)
        store(0, RAM_GPA + 4096);
    ck_assert_uint_eq(r->active, 1);
    for (unsigned i = 0; i < RESERVATION_PATIENCE; i++)
        store(0, RAM_GPA + 4096);
    ck_assert_uint_eq(r->active, 0);
}
END_TEST

enum { THREADS = 3, ROUNDS = 20000 };

static void *increment(void *opaque)
{
    uint32_t hart = (uint32_t)(uintptr_t)opaque;

    for (unsigned i = 0; i < ROUNDS;) {
        reservation_set(r, hart, RAM_GPA);
        uint64_t loaded = atomic_load(word);
        i += sc(hart, RAM_GPA, 8, loaded, loaded + 1);
    }
    return NULL;
}

/* Stores its own value back under the protocol: must break the others' reservations, and loses no increment. */
static void *disturb(void *opaque)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        store((uint32_t)(uintptr_t)opaque, RAM_GPA + 8 * (i % 16));
    return NULL;
}

START_TEST(increments_by_many_harts_are_all_there)
{
    pthread_t threads[THREADS + 1];

    for (uintptr_t i = 0; i <= THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < THREADS ? increment : disturb, (void *)i), 0);
    for (unsigned i = 0; i <= THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(*word, THREADS * ROUNDS);
    ck_assert_uint_eq(r->active, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        sc_needs_an_lr_of_its_granule,
        sc_ends_the_reservation_even_when_it_fails,
        sc_of_a_word_leaves_the_other_word,
        sc_fails_when_the_value_changed_unseen,
        others_stores_to_the_granule_break_it_whatever_their_value,
        device_writes_break_it,
        clearing_ends_it_and_counts_once,
        forgotten_reservations_are_broken,
        increments_by_many_harts_are_all_there,
    };

    return run_tests("reservation", tests, TUFF_ARRAY_LEN(tests), setup_reservations, teardown);
}
