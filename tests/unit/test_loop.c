/* The event loop: descriptors, timers, posted work, and what removal and stopping promise. Written to be run under the
 * thread sanitizer as well: the counters that callbacks touch are atomic, everything else is ordered by the loop
 * itself. */
#include "base/loop.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static const uint64_t MS = 1000000;

static struct loop *loop;

static void set_up(void)
{
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
}

static void tear_down(void)
{
    loop_destroy(loop);
}

/* Waits until *count has reached `want`; false after 10 s. */
static bool reaches(_Atomic int *count, int want)
{
    for (int i = 0; i < 10000 && atomic_load(count) < want; i++)
        usleep(1000);
    return atomic_load(count) >= want;
}

static void count_up(void *opaque)
{
    atomic_fetch_add((_Atomic int *)opaque, 1);
}

static void read_and_count(void *opaque, int fd, uint32_t events)
{
    char byte;

    ck_assert(events & EPOLLIN);
    ck_assert_int_eq(read(fd, &byte, 1), 1);
    count_up(opaque);
}

START_TEST(fd_readable_calls_back_once_per_byte)
{
    _Atomic int count = 0;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(loop_fd_add(loop, ends[0], EPOLLIN, read_and_count, &count), 0);
    ck_assert_int_eq(write(ends[1], "abc", 3), 3);
    ck_assert(reaches(&count, 3));
    loop_fd_remove(loop, ends[0]);
    ck_assert_int_eq(atomic_load(&count), 3);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(fd_add_twice_is_refused)
{
    _Atomic int count = 0;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(loop_fd_add(loop, ends[0], EPOLLIN, read_and_count, &count), 0);
    ck_assert_int_eq(loop_fd_add(loop, ends[0], EPOLLIN, read_and_count, &count), -EEXIST);
    loop_fd_remove(loop, ends[0]);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(fd_of_regular_file_is_refused)
{
    char path[] = "/tmp/tuff-loop-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    ck_assert_int_eq(loop_fd_add(loop, fd, EPOLLIN, read_and_count, NULL), -EPERM);
    close(fd);
}
END_TEST

START_TEST(fd_modify_pauses_and_resumes)
{
    _Atomic int count = 0;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(loop_fd_add(loop, ends[0], 0, read_and_count, &count), 0);
    ck_assert_int_eq(write(ends[1], "a", 1), 1);
    usleep(20000);
    ck_assert_int_eq(atomic_load(&count), 0);
    ck_assert_int_eq(loop_fd_modify(loop, ends[0], EPOLLIN), 0);
    ck_assert(reaches(&count, 1));
    loop_fd_remove(loop, ends[0]);
    ck_assert_int_eq(loop_fd_modify(loop, ends[0], EPOLLIN), -ENOENT);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

struct slow {
    _Atomic int began, ended;
};

static void be_slow(void *opaque, int fd, uint32_t events)
{
    struct slow *slow = opaque;

    (void)fd;
    (void)events;
    atomic_fetch_add(&slow->began, 1);
    usleep(50000);
    atomic_fetch_add(&slow->ended, 1);
}

START_TEST(fd_remove_waits_for_running_callback)
{
    struct slow slow = {0};
    int ends[2], ended;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "a", 1), 1);
    ck_assert_int_eq(loop_fd_add(loop, ends[0], EPOLLIN, be_slow, &slow), 0);
    ck_assert(reaches(&slow.began, 1));
    loop_fd_remove(loop, ends[0]);
    ended = atomic_load(&slow.ended);
    ck_assert_int_eq(ended, atomic_load(&slow.began));
    usleep(100000);
    ck_assert_int_eq(atomic_load(&slow.ended), ended);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

static void remove_self(void *opaque, int fd, uint32_t events)
{
    (void)events;
    loop_fd_remove(loop, fd);
    count_up(opaque);
}

START_TEST(fd_remove_by_own_callback_does_not_deadlock)
{
    _Atomic int count = 0;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "a", 1), 1);
    ck_assert_int_eq(loop_fd_add(loop, ends[0], EPOLLIN, remove_self, &count), 0);
    ck_assert(reaches(&count, 1));
    usleep(20000);
    ck_assert_int_eq(atomic_load(&count), 1);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* Two descriptors ready in one wait; whichever runs first removes the other, which must then not run. */
struct rivals {
    int fds[2];
    _Atomic int count;
};

static void remove_rival(void *opaque, int fd, uint32_t events)
{
    struct rivals *rivals = opaque;

    (void)events;
    loop_fd_remove(loop, rivals->fds[0] == fd ? rivals->fds[1] : rivals->fds[0]);
    loop_fd_remove(loop, fd);
    atomic_fetch_add(&rivals->count, 1);
}

struct gate {
    struct rivals *rivals;
    _Atomic int open;
};

static void add_rivals(void *opaque)
{
    struct gate *gate = opaque;

    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(loop_fd_add(loop, gate->rivals->fds[i], EPOLLIN, remove_rival, gate->rivals), 0);
    count_up(&gate->open);
}

START_TEST(fd_removed_in_same_wait_does_not_run)
{
    struct rivals rivals = {.count = 0};
    struct gate gate = {.rivals = &rivals};
    int ends[2][2];

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pipe(ends[i]), 0);
        ck_assert_int_eq(write(ends[i][1], "a", 1), 1);
        rivals.fds[i] = ends[i][0];
    }
    /* On the loop's thread, so that both are ready before the next wait. */
    ck_assert_int_eq(loop_post(loop, add_rivals, &gate), 0);
    ck_assert(reaches(&gate.open, 1));
    ck_assert(reaches(&rivals.count, 1));
    usleep(20000);
    ck_assert_int_eq(atomic_load(&rivals.count), 1);
    for (int i = 0; i < 2; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}
END_TEST

struct order {
    int next; /* the loop's thread only */
    _Atomic int errors, done;
};

struct order_item {
    struct order *order;
    int number;
};

static void check_order(void *opaque)
{
    struct order_item *item = opaque;

    if (item->order->next++ != item->number)
        count_up(&item->order->errors);
    count_up(&item->order->done);
}

START_TEST(post_runs_in_order)
{
    enum { ITEMS = 1000 };
    static struct order_item items[ITEMS];
    struct order order = {0};

    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct order_item){&order, i};
        ck_assert_int_eq(loop_post(loop, check_order, &items[i]), 0);
    }
    ck_assert(reaches(&order.done, ITEMS));
    ck_assert_int_eq(atomic_load(&order.errors), 0);
}
END_TEST

START_TEST(post_before_stop_is_run)
{
    _Atomic int count = 0;

    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(loop_post(loop, count_up, &count), 0);
    loop_stop(loop);
    ck_assert_int_eq(atomic_load(&count), 100);
}
END_TEST

static void note_current(void *opaque)
{
    atomic_store((_Atomic int *)opaque, loop_is_current(loop) ? 1 : 2);
}

START_TEST(is_current_only_on_the_loop)
{
    _Atomic int answer = 0;

    ck_assert(!loop_is_current(loop));
    ck_assert_int_eq(loop_post(loop, note_current, &answer), 0);
    ck_assert(reaches(&answer, 1));
    ck_assert_int_eq(atomic_load(&answer), 1);
}
END_TEST

struct firing {
    _Atomic int count;
    _Atomic uint64_t at_ns;
};

static void note_firing(void *opaque)
{
    struct firing *firing = opaque;

    atomic_store(&firing->at_ns, loop_now_ns());
    atomic_fetch_add(&firing->count, 1);
}

static struct loop_timer *timer_for(struct firing *firing)
{
    struct loop_timer *timer;

    ck_assert_int_eq(loop_timer_create(loop, note_firing, firing, &timer), 0);
    return timer;
}

START_TEST(timer_fires_once_not_before_deadline)
{
    struct firing firing = {0};
    struct loop_timer *timer = timer_for(&firing);
    uint64_t deadline = loop_now_ns() + 20 * MS;

    loop_timer_arm(timer, deadline);
    ck_assert(reaches(&firing.count, 1));
    ck_assert_uint_ge(atomic_load(&firing.at_ns), deadline);
    usleep(50000);
    ck_assert_int_eq(atomic_load(&firing.count), 1);
    loop_timer_destroy(timer);
}
END_TEST

START_TEST(timer_in_the_past_fires_each_time_it_is_armed)
{
    struct firing firing = {0};
    struct loop_timer *timer = timer_for(&firing);

    for (int i = 1; i <= 20; i++) {
        loop_timer_arm(timer, 0);
        ck_assert(reaches(&firing.count, i));
    }
    usleep(10000);
    ck_assert_int_eq(atomic_load(&firing.count), 20);
    loop_timer_destroy(timer);
}
END_TEST

START_TEST(timer_pushed_back_fires_at_the_later_deadline_only)
{
    struct firing firing = {0};
    struct loop_timer *timer = timer_for(&firing);
    uint64_t now = loop_now_ns(), deadline = now + 80 * MS;

    loop_timer_arm(timer, now + 20 * MS);
    loop_timer_arm(timer, now + 50 * MS);
    loop_timer_arm(timer, deadline);
    ck_assert(reaches(&firing.count, 1));
    ck_assert_uint_ge(atomic_load(&firing.at_ns), deadline);
    usleep(20000);
    ck_assert_int_eq(atomic_load(&firing.count), 1);
    loop_timer_destroy(timer);
}
END_TEST

START_TEST(timer_pulled_in_fires_early)
{
    struct firing firing = {0};
    struct loop_timer *timer = timer_for(&firing);
    uint64_t now = loop_now_ns();

    loop_timer_arm(timer, now + 3600 * 1000 * MS);
    loop_timer_arm(timer, now + 5 * MS);
    ck_assert(reaches(&firing.count, 1));
    loop_timer_destroy(timer);
}
END_TEST

START_TEST(timer_disarmed_does_not_fire)
{
    struct firing firing = {0};
    struct loop_timer *timer = timer_for(&firing);

    loop_timer_arm(timer, loop_now_ns() + 30 * MS);
    loop_timer_arm(timer, UINT64_MAX);
    usleep(80000);
    ck_assert_int_eq(atomic_load(&firing.count), 0);
    loop_timer_arm(timer, loop_now_ns() + MS);
    ck_assert(reaches(&firing.count, 1));
    loop_timer_destroy(timer);
}
END_TEST

struct suicide {
    struct loop_timer *timer;
    _Atomic int count;
};

static void destroy_own_timer(void *opaque)
{
    struct suicide *suicide = opaque;

    loop_timer_destroy(suicide->timer);
    atomic_fetch_add(&suicide->count, 1);
}

START_TEST(timer_destroyed_by_own_callback)
{
    struct suicide suicide = {0};

    ck_assert_int_eq(loop_timer_create(loop, destroy_own_timer, &suicide, &suicide.timer), 0);
    loop_timer_arm(suicide.timer, 0);
    ck_assert(reaches(&suicide.count, 1));
}
END_TEST

/* Several threads move one timer about; the last deadline of all must not be lost. */
struct mover {
    struct loop_timer *timer;
    unsigned seed;
};

static void *move_timer(void *opaque)
{
    struct mover *mover = opaque;

    for (int i = 0; i < 2000; i++)
        loop_timer_arm(mover->timer, loop_now_ns() + (uint64_t)(rand_r(&mover->seed) % 200) * 1000);
    return NULL;
}

START_TEST(timer_armed_by_several_threads_loses_nothing)
{
    struct firing firing = {0};
    struct loop_timer *timer = timer_for(&firing);
    struct mover movers[3];
    pthread_t threads[3];

    for (unsigned i = 0; i < 3; i++) {
        movers[i] = (struct mover){timer, i + 1};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, move_timer, &movers[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 200; i++) {
        int before = atomic_load(&firing.count);
        loop_timer_arm(timer, loop_now_ns() + 10000);
        ck_assert(reaches(&firing.count, before + 1));
    }
    loop_timer_destroy(timer);
}
END_TEST

START_TEST(stop_twice_and_without_start_is_harmless)
{
    struct loop *idle;

    ck_assert_int_eq(loop_create(&idle), 0);
    loop_stop(idle);
    loop_destroy(idle);
    loop_stop(loop);
    loop_stop(loop);
    loop_destroy(NULL);
    loop_timer_destroy(NULL);
}
END_TEST

/* ---- work ---- */

struct counted_work {
    struct loop_work work;
    _Atomic int runs;
    _Atomic int left; /* how often it schedules itself again */
};

static void work_runs(void *opaque)
{
    struct counted_work *w = opaque;

    atomic_fetch_add(&w->runs, 1);
    if (atomic_fetch_sub(&w->left, 1) > 0)
        loop_work_schedule(loop, &w->work);
}

static struct counted_work *init_work(struct counted_work *w, int again)
{
    *w = (struct counted_work){.work = {.fn = work_runs, .opaque = w}};
    atomic_store(&w->left, again);
    return w;
}

static void wait_for_fd(void *opaque)
{
    char byte;

    ck_assert_int_eq(read(*(int *)opaque, &byte, 1), 1);
}

START_TEST(work_scheduled_twice_runs_once)
{
    struct counted_work w;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(loop_post(loop, wait_for_fd, &ends[0]), 0);
    init_work(&w, 0);
    for (int i = 0; i < 5; i++)
        loop_work_schedule(loop, &w.work);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert(reaches(&w.runs, 1));
    usleep(20000);
    ck_assert_int_eq(atomic_load(&w.runs), 1);
    loop_work_schedule(loop, &w.work);
    ck_assert(reaches(&w.runs, 2));
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* Work that always wants another turn leaves descriptors theirs. */
START_TEST(work_that_goes_on_starves_nobody)
{
    struct counted_work w, other;
    _Atomic int count = 0;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(loop_fd_add(loop, ends[0], EPOLLIN, read_and_count, &count), 0);
    init_work(&w, INT_MAX);
    init_work(&other, 0);
    loop_work_schedule(loop, &w.work);
    ck_assert(reaches(&w.runs, 3));
    ck_assert_int_eq(write(ends[1], "abc", 3), 3);
    loop_work_schedule(loop, &other.work);
    ck_assert(reaches(&count, 3));
    ck_assert(reaches(&other.runs, 1));
    loop_work_cancel(loop, &w.work);
    int runs = atomic_load(&w.runs);
    usleep(20000);
    ck_assert_int_eq(atomic_load(&w.runs), runs);
    loop_fd_remove(loop, ends[0]);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(work_cancelled_does_not_run_and_others_do)
{
    struct counted_work w[3];
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(loop_post(loop, wait_for_fd, &ends[0]), 0);
    for (int i = 0; i < 3; i++)
        loop_work_schedule(loop, &init_work(&w[i], 0)->work);
    loop_work_cancel(loop, &w[2].work);
    loop_work_cancel(loop, &w[0].work);
    loop_work_cancel(loop, &w[0].work);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert(reaches(&w[1].runs, 1));
    loop_work_schedule(loop, &w[2].work);
    ck_assert(reaches(&w[2].runs, 1));
    ck_assert_int_eq(atomic_load(&w[0].runs), 0);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

static _Atomic int jobs_made, jobs_seen;

static void take_jobs(void *opaque)
{
    atomic_store(&jobs_seen, atomic_load(&jobs_made));
}

static void *make_jobs(void *opaque)
{
    for (int i = 0; i < 20000; i++) {
        atomic_fetch_add(&jobs_made, 1);
        loop_work_schedule(loop, opaque);
    }
    return NULL;
}

/* However the calls fall, the last run comes after the last of them. */
START_TEST(work_scheduled_by_several_threads_sees_everything)
{
    struct loop_work work = {.fn = take_jobs};
    pthread_t threads[3];

    atomic_store(&jobs_made, 0);
    atomic_store(&jobs_seen, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_jobs, &work), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert(reaches(&jobs_seen, 60000));
}
END_TEST

START_TEST(work_before_stop_is_run)
{
    struct counted_work w;

    loop_work_schedule(loop, &init_work(&w, 0)->work);
    loop_stop(loop);
    ck_assert_int_eq(atomic_load(&w.runs), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop");
    TCase *tcase = tcase_create("loop");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, fd_readable_calls_back_once_per_byte);
    tcase_add_test(tcase, fd_add_twice_is_refused);
    tcase_add_test(tcase, fd_of_regular_file_is_refused);
    tcase_add_test(tcase, fd_modify_pauses_and_resumes);
    tcase_add_test(tcase, fd_remove_waits_for_running_callback);
    tcase_add_test(tcase, fd_remove_by_own_callback_does_not_deadlock);
    tcase_add_test(tcase, fd_removed_in_same_wait_does_not_run);
    tcase_add_test(tcase, post_runs_in_order);
    tcase_add_test(tcase, post_before_stop_is_run);
    tcase_add_test(tcase, is_current_only_on_the_loop);
    tcase_add_test(tcase, timer_fires_once_not_before_deadline);
    tcase_add_test(tcase, timer_in_the_past_fires_each_time_it_is_armed);
    tcase_add_test(tcase, timer_pushed_back_fires_at_the_later_deadline_only);
    tcase_add_test(tcase, timer_pulled_in_fires_early);
    tcase_add_test(tcase, timer_disarmed_does_not_fire);
    tcase_add_test(tcase, timer_destroyed_by_own_callback);
    tcase_add_test(tcase, timer_armed_by_several_threads_loses_nothing);
    tcase_add_test(tcase, work_scheduled_twice_runs_once);
    tcase_add_test(tcase, work_that_goes_on_starves_nobody);
    tcase_add_test(tcase, work_cancelled_does_not_run_and_others_do);
    tcase_add_test(tcase, work_scheduled_by_several_threads_sees_everything);
    tcase_add_test(tcase, work_before_stop_is_run);
    tcase_add_test(tcase, stop_twice_and_without_start_is_harmless);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
