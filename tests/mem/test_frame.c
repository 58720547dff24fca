/* RAM pages: code marks, who may store without asking, the stale log, the dirty log. */
#include "mem/frame.h"
#include "mem_test.h"

START_TEST(frames_and_pointers_agree)
{
    uint8_t *host = mem_ram_ptr(mem, RAM_GPA, RAM_BYTES);

    ck_assert_uint_eq(mem_frame_of(mem, host), 0);
    ck_assert_uint_eq(mem_frame_of(mem, host + MEM_PAGE_BYTES - 1), 0);
    ck_assert_uint_eq(mem_frame_of(mem, host + MEM_PAGE_BYTES), 1);
    ck_assert_ptr_eq(mem_frame_host(mem, 7), host + 7 * MEM_PAGE_BYTES);
}
END_TEST

START_TEST(lines_cover_the_range)
{
    ck_assert_uint_eq(mem_lines(0, 1), 1);
    ck_assert_uint_eq(mem_lines(63, 1), 1);
    ck_assert_uint_eq(mem_lines(63, 2), 3);
    ck_assert_uint_eq(mem_lines(64, 64), 2);
    ck_assert_uint_eq(mem_lines(4095, 1), UINT64_C(1) << 63);
    ck_assert_uint_eq(mem_lines(0, MEM_PAGE_BYTES), UINT64_MAX);
}
END_TEST

START_TEST(code_is_not_stored_to_without_asking)
{
    ck_assert(mem_frame_may_write(mem, 3, 0));
    ck_assert(mem_frame_may_write(mem, 3, 63));
    ck_assert_uint_eq(mem_frame_mark_code(mem, 3, mem_lines(128, 4)), UINT64_C(1) << 63 | 1);
    ck_assert(!mem_frame_may_write(mem, 3, 0));
    ck_assert(mem_frame_may_write(mem, 4, 0));
    mem_frame_drop_writer(mem, 3, 63);
    ck_assert_uint_eq(mem_frame_mark_code(mem, 3, mem_lines(128, 4)), 1);
}
END_TEST

START_TEST(only_stores_to_marked_lines_are_logged)
{
    uint64_t position = mem_stale_head(mem);
    uint32_t frame = 99;

    (void)mem_frame_mark_code(mem, 5, mem_lines(128, 64));
    mem_frame_stored(mem, 5, 127, 1);
    mem_frame_stored(mem, 5, 192, 8);
    ck_assert_int_eq(mem_stale_next(mem, &position, &frame), 0);
    mem_frame_stored(mem, 5, 191, 2);
    ck_assert_int_eq(mem_stale_next(mem, &position, &frame), 1);
    ck_assert_uint_eq(frame, 5);
    /* The marks are gone with the report: the next store is not news. */
    mem_frame_stored(mem, 5, 128, 8);
    ck_assert_int_eq(mem_stale_next(mem, &position, &frame), 0);
    ck_assert(mem_frame_may_write(mem, 5, 0));
}
END_TEST

/* A page of new code over old asks once, not for each line. */
START_TEST(store_to_code_opens_the_whole_frame)
{
    uint64_t position = mem_stale_head(mem);
    uint32_t frame = 99;

    (void)mem_frame_mark_code(mem, 6, mem_lines(0, MEM_PAGE_BYTES));
    ck_assert(!mem_frame_may_write(mem, 6, 0));
    mem_frame_stored(mem, 6, 1024, 4);
    ck_assert(mem_frame_may_write(mem, 6, 0));
    mem_frame_stored(mem, 6, 2048, 4);
    ck_assert_int_eq(mem_stale_next(mem, &position, &frame), 1);
    ck_assert_uint_eq(frame, 6);
    ck_assert_int_eq(mem_stale_next(mem, &position, &frame), 0);
    /* Marked again, as FENCE.I does, it is asked again. */
    (void)mem_frame_mark_code(mem, 6, mem_lines(0, 64));
    ck_assert(!mem_frame_may_write(mem, 6, 0));
}
END_TEST

START_TEST(dma_into_code_is_logged_page_by_page)
{
    static uint8_t buffer[3 * MEM_PAGE_BYTES];
    uint64_t position = mem_stale_head(mem);
    uint32_t frame;

    for (uint32_t i = 9; i < 14; i++)
        (void)mem_frame_mark_code(mem, i, mem_lines(0, 64));
    ck_assert_int_eq(mem_write(mem, RAM_GPA + 9 * MEM_PAGE_BYTES + 64, buffer, sizeof(buffer)), 0);
    for (uint32_t i = 10; i < 13; i++) {
        ck_assert_int_eq(mem_stale_next(mem, &position, &frame), 1);
        ck_assert_uint_eq(frame, i);
    }
    ck_assert_int_eq(mem_stale_next(mem, &position, &frame), 0);
}
END_TEST

START_TEST(slow_readers_of_the_stale_log_are_told)
{
    uint64_t slow = mem_stale_head(mem);
    uint64_t fast = slow;
    uint32_t frame;

    for (unsigned i = 0; i < 5000; i++) {
        (void)mem_frame_mark_code(mem, i % RAM_PAGES, 1);
        mem_frame_stored(mem, i % RAM_PAGES, 0, 1);
        ck_assert_int_eq(mem_stale_next(mem, &fast, &frame), 1);
        ck_assert_uint_eq(frame, i % RAM_PAGES);
    }
    ck_assert_int_eq(mem_stale_next(mem, &slow, &frame), -EOVERFLOW);
    ck_assert_uint_eq(slow, mem_stale_head(mem));
    ck_assert_int_eq(mem_stale_next(mem, &slow, &frame), 0);
}
END_TEST

enum { WORDS = (RAM_PAGES + 63) / 64 };

START_TEST(dirty_log_has_each_stored_page_once)
{
    uint64_t words[WORDS];
    uint8_t byte = 1;

    ck_assert_int_eq(mem_dirty_fetch(mem, words, WORDS), -EINVAL);
    ck_assert_int_eq(mem_dirty_start(mem), 0);
    ck_assert_int_eq(mem_dirty_fetch(mem, words, WORDS - 1), -EINVAL);
    ck_assert_int_eq(mem_write(mem, RAM_GPA + 64 * MEM_PAGE_BYTES - 1, &byte, 1), 0);
    mem_frame_stored(mem, RAM_PAGES - 1, 0, 8);
    mem_note_write(mem, RAM_GPA + 65 * MEM_PAGE_BYTES - 1, 2);
    ck_assert_int_eq(mem_dirty_fetch(mem, words, WORDS), 0);
    ck_assert_uint_eq(words[0], UINT64_C(1) << 63);
    ck_assert_uint_eq(words[1], 3);
    ck_assert_uint_eq(words[2], UINT64_C(1) << (RAM_PAGES - 1 - 128));
    ck_assert_int_eq(mem_dirty_fetch(mem, words, WORDS), 0);
    for (unsigned i = 0; i < WORDS; i++)
        ck_assert_uint_eq(words[i], 0);
    mem_dirty_stop(mem);
    ck_assert_int_eq(mem_dirty_fetch(mem, words, WORDS), -EINVAL);
}
END_TEST

/* A page that is not yet in the log is not stored to behind its back, and what TLBs hold is void. */
START_TEST(dirty_log_takes_write_permission_away)
{
    uint64_t words[WORDS];
    uint32_t generation = mem_tlb_generation(mem);

    ck_assert(mem_frame_may_write(mem, 2, 0));
    ck_assert_int_eq(mem_dirty_start(mem), 0);
    ck_assert_uint_ne(mem_tlb_generation(mem), generation);
    ck_assert(!mem_frame_may_write(mem, 2, 0));
    mem_frame_stored(mem, 2, 0, 1);
    ck_assert(mem_frame_may_write(mem, 2, 0));
    generation = mem_tlb_generation(mem);
    ck_assert_int_eq(mem_dirty_fetch(mem, words, WORDS), 0);
    ck_assert_uint_ne(mem_tlb_generation(mem), generation);
    ck_assert(!mem_frame_may_write(mem, 2, 0));
    mem_dirty_stop(mem);
    ck_assert(mem_frame_may_write(mem, 2, 0));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        frames_and_pointers_agree,
        lines_cover_the_range,
        code_is_not_stored_to_without_asking,
        only_stores_to_marked_lines_are_logged,
        store_to_code_opens_the_whole_frame,
        dma_into_code_is_logged_page_by_page,
        slow_readers_of_the_stale_log_are_told,
        dirty_log_has_each_stored_page_once,
        dirty_log_takes_write_permission_away,
    };

    return run_tests("frame", tests, TUFF_ARRAY_LEN(tests), setup, teardown);
}
