/* RAM that comes in on demand, and the list of pages that are touched first. */
#include "mem/lazy.h"
#include "mem/touches.h"
#include "mem_test.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- contents: page n is full of n, every fifth is zero ---- */

static struct {
    pthread_mutex_t lock;
    uint64_t asked[4 * RAM_PAGES];
    unsigned count;
    _Atomic bool done;
} giver;

static int give(void *opaque, uint64_t page, uint8_t bytes[MEM_PAGE_BYTES])
{
    pthread_mutex_lock(&giver.lock);
    ck_assert_uint_lt(giver.count, TUFF_ARRAY_LEN(giver.asked));
    giver.asked[giver.count++] = page;
    pthread_mutex_unlock(&giver.lock);
    if (page % 5 == 0)
        return 0;
    memset(bytes, (int)page, MEM_PAGE_BYTES);
    return 1;
}

static void done(void *opaque)
{
    atomic_store(&giver.done, true);
}

static bool start(const void *first, size_t count)
{
    const struct mem_lazy_first list = {.pages = first, .count = count};

    pthread_mutex_init(&giver.lock, NULL);
    giver.count = 0;
    atomic_store(&giver.done, false);
    int rc = mem_lazy_start(mem, &list, give, done, NULL);
    ck_assert_msg(rc == 0 || rc == -EPERM || rc == -ENOSYS, "%s", strerror(-rc));
    return rc == 0;
}

static uint8_t byte_of(unsigned page)
{
    return *(volatile uint8_t *)mem_ram_ptr(mem, RAM_GPA + (uint64_t)page * MEM_PAGE_BYTES + 123, 1);
}

static void expect_contents(void)
{
    for (unsigned page = 0; page < RAM_PAGES; page++)
        ck_assert_uint_eq(byte_of(page), page % 5 ? (uint8_t)page : 0);
}

START_TEST(all_of_it_comes)
{
    if (!start(NULL, 0))
        return;
    ck_assert_uint_eq(byte_of(77), 77);
    ck_assert_uint_eq(byte_of(75), 0);
    mem_lazy_wait(mem);
    ck_assert(atomic_load(&giver.done));
    expect_contents();
}
END_TEST

/* Zeroes among them, too; what RAM does not have is left out. */
START_TEST(what_is_wanted_first_comes_first)
{
    static const uint32_t first[] = {77, 3, 128, 75, UINT32_MAX, RAM_PAGES, 3, 9};
    static const uint64_t expected[] = {77, 3, 128, 75, 9, 0, 1, 2, 4};

    if (!start(first, TUFF_ARRAY_LEN(first)))
        return;
    mem_lazy_wait(mem);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(expected); i++)
        ck_assert_uint_eq(giver.asked[i], expected[i]);
    expect_contents();
}
END_TEST

START_TEST(a_list_may_lie_anywhere)
{
    uint8_t bytes[9] = {0xee, 5, 0, 0, 0, 100, 0, 0, 0};

    if (!start(bytes + 1, 2))
        return;
    mem_lazy_wait(mem);
    ck_assert_uint_eq(giver.asked[0], 5);
    ck_assert_uint_eq(giver.asked[1], 100);
}
END_TEST

/* ---- touches ---- */

static void touch(unsigned page)
{
    mem_touches_note(mem, RAM_GPA + (uint64_t)page * MEM_PAGE_BYTES + 8);
}

START_TEST(touches_are_in_order_and_each_once)
{
    static const struct mem_ops no_ops;
    uint8_t *rom;
    uint32_t pages[MEM_TOUCHES_MAX];

    ck_assert(!mem_touches_wanted(mem));
    touch(1);
    ck_assert_uint_eq(mem_touches_stop(mem, pages), 0);
    for (unsigned round = 0; round < 2; round++) {
        ck_assert_int_eq(mem_touches_start(mem), 0);
        touch(129);
        touch(4);
        touch(129);
        touch(0);
        touch(4);
        ck_assert_uint_eq(mem_touches_stop(mem, pages), 3);
        ck_assert(pages[0] == 129 && pages[1] == 4 && pages[2] == 0);
        touch(5);
        ck_assert_uint_eq(mem_touches_stop(mem, pages), 3);
    }
    ck_assert_int_eq(mem_add_rom(mem, 0x20000000, MEM_PAGE_BYTES, &no_ops, NULL, &rom), 0);
    ck_assert_int_eq(mem_touches_start(mem), 0);
    mem_touches_note(mem, 0x20000000);
    ck_assert_uint_eq(mem_touches_stop(mem, pages), 0);
}
END_TEST

START_TEST(touches_have_a_limit)
{
    enum { MANY = MEM_TOUCHES_MAX + 3 };
    uint32_t pages[MEM_TOUCHES_MAX];
    struct mem *large;

    ck_assert_int_eq(mem_create(&large), 0);
    ck_assert_int_eq(mem_add_ram(large, RAM_GPA, (uint64_t)MANY * MEM_PAGE_BYTES), 0);
    ck_assert_int_eq(mem_touches_start(large), 0);
    for (unsigned page = MANY; page-- > 0;)
        mem_touches_note(large, RAM_GPA + (uint64_t)page * MEM_PAGE_BYTES);
    ck_assert(!mem_touches_wanted(large));
    ck_assert_uint_eq(mem_touches_stop(large, pages), MEM_TOUCHES_MAX);
    for (unsigned i = 0; i < MEM_TOUCHES_MAX; i++)
        ck_assert_uint_eq(pages[i], MANY - 1 - i);
    mem_destroy(large);
}
END_TEST

/* Several harts: each page is there once. */
static void *touch_all(void *opaque)
{
    for (unsigned page = 0; page < RAM_PAGES; page++)
        touch(page);
    return NULL;
}

START_TEST(harts_touch_at_the_same_time)
{
    enum { HARTS = 4 };
    uint32_t pages[MEM_TOUCHES_MAX];
    bool seen[RAM_PAGES] = {false};
    pthread_t threads[HARTS];

    ck_assert_int_eq(mem_touches_start(mem), 0);
    for (unsigned i = 0; i < HARTS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, touch_all, NULL), 0);
    for (unsigned i = 0; i < HARTS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(mem_touches_stop(mem, pages), RAM_PAGES);
    for (unsigned i = 0; i < RAM_PAGES; i++) {
        ck_assert(!seen[pages[i]]);
        seen[pages[i]] = true;
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {all_of_it_comes,         what_is_wanted_first_comes_first,
                                  a_list_may_lie_anywhere, touches_are_in_order_and_each_once,
                                  touches_have_a_limit,    harts_touch_at_the_same_time};

    return run_tests("lazy", tests, TUFF_ARRAY_LEN(tests), setup, teardown);
}
