/* The event loop on epoll; see loop.h.
 *
 * What must stay true:
 * - epoll events carry a watch's id, never its address, and ids are not used twice: an event that was fetched before
 * its watch was removed finds nothing.
 * - `lock` guards the lists of watches and of work, `asleep` and what runs. It is never held while a callback runs.
 * - A watch that is removed while its callback runs is freed by the loop's thread if that thread removed it (the
 * callback's own frame is above us), else by the remover once the callback has come back.
 * - Timers: `wanted` is the deadline asked for, `armed` the one the kernel waits for, and armed <= wanted as soon as
 * the calls that changed them have returned. Both are sequentially consistent: an arming thread stores wanted and then
 * loads armed, the loop's thread stores armed and then loads wanted, so at least one of them sees the other's.
 */
#include "base/loop.h"

#include "base/sandbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_A_WAIT = 16, WAKE_ID = 0 };

struct loop_watch {
    struct loop_watch *next;
    uint64_t id;
    int fd;
    bool removed_by_callback;
    loop_fd_fn fn;
    void *opaque;
};

struct loop_posted {
    struct loop_posted *next;
    loop_fn fn;
    void *opaque;
};

struct loop {
    int epoll_fd;
    int wake_fd;
    pthread_t thread; /* with `started`, the owner's: what to join */
    bool started;
    pthread_t
        self; /* with `thread_runs`, under lock: set by the thread, which may run before pthread_create() returns */
    bool thread_runs;
    bool service;  /* which sandbox */
    bool stopping; /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t callback_done;
    struct loop_watch *watches;
    struct loop_watch *running; /* whose callback runs now */
    uint64_t next_id;
    struct loop_posted *posted;
    struct loop_posted **posted_tail;
    struct loop_work *work;
    struct loop_work **work_tail;
    struct loop_work *running_work;
    uint64_t turn; /* of the round of work that runs; what is scheduled meanwhile belongs to the next */
    bool asleep;   /* waits, or is about to: whoever adds something to do wakes it */
    char name[16];
};

struct loop_timer {
    struct loop *loop;
    int fd;
    loop_fn fn;
    void *opaque;
    pthread_mutex_t lock; /* held while the kernel's timer is set */
    _Atomic uint64_t wanted;
    _Atomic uint64_t armed;
};

uint64_t loop_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int watch_epoll(struct loop *loop, int op, int fd, uint32_t events, uint64_t id)
{
    struct epoll_event event = {.events = events, .data.u64 = id};

    return epoll_ctl(loop->epoll_fd, op, fd, &event) ? -errno : 0;
}

int loop_create(struct loop **out)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int rc;

    if (!loop)
        return -ENOMEM;
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->callback_done, NULL);
    loop->posted_tail = &loop->posted;
    loop->work_tail = &loop->work;
    loop->next_id = WAKE_ID + 1;
    loop_set_name(loop, "tuff-loop");
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        rc = -errno;
        goto fail;
    }
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        rc = -errno;
        goto fail;
    }
    rc = watch_epoll(loop, EPOLL_CTL_ADD, loop->wake_fd, EPOLLIN, WAKE_ID);
    if (rc)
        goto fail;
    *out = loop;
    return 0;
fail:
    loop_destroy(loop);
    return rc;
}

static void loop_wake(struct loop *loop)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then the loop is awake anyway. */
    while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* Is it up to the caller, who added something to do, to wake the loop? Only to the first. */
static bool needs_wake_locked(struct loop *loop)
{
    bool asleep = loop->asleep;

    loop->asleep = false;
    return asleep;
}

static void wake_clear(struct loop *loop)
{
    uint64_t count;

    while (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

int loop_post(struct loop *loop, loop_fn fn, void *opaque)
{
    struct loop_posted *item = malloc(sizeof(*item));
    bool wake;

    if (!item)
        return -ENOMEM;
    *item = (struct loop_posted){.fn = fn, .opaque = opaque};
    pthread_mutex_lock(&loop->lock);
    *loop->posted_tail = item;
    loop->posted_tail = &item->next;
    wake = needs_wake_locked(loop);
    pthread_mutex_unlock(&loop->lock);
    if (wake)
        loop_wake(loop);
    return 0;
}

void loop_work_schedule(struct loop *loop, struct loop_work *work)
{
    bool wake = false;

    pthread_mutex_lock(&loop->lock);
    if (!work->queued) {
        work->queued = true;
        work->next = NULL;
        work->turn = loop->turn + 1;
        *loop->work_tail = work;
        loop->work_tail = &work->next;
        wake = needs_wake_locked(loop);
    }
    pthread_mutex_unlock(&loop->lock);
    if (wake)
        loop_wake(loop);
}

static struct loop_posted *posted_take(struct loop *loop)
{
    struct loop_posted *list;

    pthread_mutex_lock(&loop->lock);
    list = loop->posted;
    loop->posted = NULL;
    loop->posted_tail = &loop->posted;
    pthread_mutex_unlock(&loop->lock);
    return list;
}

static void posted_run(struct loop *loop)
{
    struct loop_posted *list = posted_take(loop);

    while (list) {
        struct loop_posted *item = list;
        list = item->next;
        item->fn(item->opaque);
        free(item);
    }
}

static void work_unlink_locked(struct loop *loop, struct loop_work *work)
{
    struct loop_work **at = &loop->work;

    while (*at != work)
        at = &(*at)->next;
    *at = work->next;
    if (loop->work_tail == &work->next)
        loop->work_tail = at;
    work->queued = false;
}

/* One round: what is scheduled from now on waits for the next. */
static void work_run(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->turn++;
    while (loop->work && loop->work->turn <= loop->turn) {
        struct loop_work *work = loop->work;
        work_unlink_locked(loop, work);
        loop->running_work = work;
        pthread_mutex_unlock(&loop->lock);
        work->fn(work->opaque); /* may free it */
        pthread_mutex_lock(&loop->lock);
        loop->running_work = NULL;
        pthread_cond_broadcast(&loop->callback_done);
    }
    pthread_mutex_unlock(&loop->lock);
}

static struct loop_watch **watch_find_fd(struct loop *loop, int fd)
{
    struct loop_watch **at = &loop->watches;

    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    return at;
}

static struct loop_watch *watch_find_id(struct loop *loop, uint64_t id)
{
    struct loop_watch *watch = loop->watches;

    while (watch && watch->id != id)
        watch = watch->next;
    return watch;
}

int loop_fd_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *opaque)
{
    struct loop_watch *watch = calloc(1, sizeof(*watch));
    int rc;

    if (!watch)
        return -ENOMEM;
    watch->fd = fd;
    watch->fn = fn;
    watch->opaque = opaque;
    pthread_mutex_lock(&loop->lock);
    watch->id = loop->next_id++;
    rc = watch_epoll(loop, EPOLL_CTL_ADD, fd, events, watch->id);
    if (!rc) {
        watch->next = loop->watches;
        loop->watches = watch;
    }
    pthread_mutex_unlock(&loop->lock);
    if (rc)
        free(watch);
    return rc;
}

int loop_fd_modify(struct loop *loop, int fd, uint32_t events)
{
    struct loop_watch *watch;
    int rc = -ENOENT;

    pthread_mutex_lock(&loop->lock);
    watch = *watch_find_fd(loop, fd);
    if (watch)
        rc = watch_epoll(loop, EPOLL_CTL_MOD, fd, events, watch->id);
    pthread_mutex_unlock(&loop->lock);
    return rc;
}

static bool on_thread_locked(const struct loop *loop)
{
    return loop->thread_runs && pthread_equal(loop->self, pthread_self());
}

void loop_work_cancel(struct loop *loop, struct loop_work *work)
{
    pthread_mutex_lock(&loop->lock);
    if (work->queued)
        work_unlink_locked(loop, work);
    while (loop->running_work == work && !on_thread_locked(loop))
        pthread_cond_wait(&loop->callback_done, &loop->lock);
    if (work->queued) /* scheduled by itself */
        work_unlink_locked(loop, work);
    pthread_mutex_unlock(&loop->lock);
}

bool loop_is_current(struct loop *loop)
{
    bool current;

    pthread_mutex_lock(&loop->lock);
    current = on_thread_locked(loop);
    pthread_mutex_unlock(&loop->lock);
    return current;
}

void loop_fd_remove(struct loop *loop, int fd)
{
    struct loop_watch **at, *watch;

    pthread_mutex_lock(&loop->lock);
    at = watch_find_fd(loop, fd);
    watch = *at;
    if (watch) {
        *at = watch->next;
        (void)watch_epoll(loop, EPOLL_CTL_DEL, fd, 0, 0); /* fails when the owner closed it already: just as gone */
        if (loop->running == watch && on_thread_locked(loop)) {
            watch->removed_by_callback = true;
        } else {
            while (loop->running == watch)
                pthread_cond_wait(&loop->callback_done, &loop->lock);
            free(watch);
        }
    }
    pthread_mutex_unlock(&loop->lock);
}

static void watch_dispatch(struct loop *loop, uint64_t id, uint32_t events)
{
    struct loop_watch *watch;

    pthread_mutex_lock(&loop->lock);
    watch = watch_find_id(loop, id);
    if (!watch) {
        pthread_mutex_unlock(&loop->lock);
        return;
    }
    loop->running = watch;
    pthread_mutex_unlock(&loop->lock);
    watch->fn(watch->opaque, watch->fd, events);
    pthread_mutex_lock(&loop->lock);
    loop->running = NULL;
    if (watch->removed_by_callback)
        free(watch);
    pthread_cond_broadcast(&loop->callback_done);
    pthread_mutex_unlock(&loop->lock);
}

/* Returns how long the loop may wait for descriptors (epoll's time-out), or 0 with *stopping set at the end. */
static int before_wait(struct loop *loop, bool *stopping)
{
    pthread_mutex_lock(&loop->lock);
    *stopping = loop->stopping;
    loop->asleep = !*stopping && !loop->posted && !loop->work;
    bool asleep = loop->asleep;
    pthread_mutex_unlock(&loop->lock);
    return asleep ? -1 : 0;
}

static void after_wait(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->asleep = false;
    pthread_mutex_unlock(&loop->lock);
}

static void *loop_thread(void *opaque)
{
    struct loop *loop = opaque;
    struct epoll_event events[EVENTS_A_WAIT];

    bool stopping;

    pthread_setname_np(pthread_self(), loop->name);
    sandbox_enter(loop->service ? SANDBOX_SERVICE : SANDBOX_DEVICE);
    pthread_mutex_lock(&loop->lock);
    loop->self = pthread_self();
    loop->thread_runs = true;
    pthread_mutex_unlock(&loop->lock);

    for (int timeout; timeout = before_wait(loop, &stopping), !stopping;) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_A_WAIT, timeout);
        after_wait(loop);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == WAKE_ID)
                wake_clear(loop);
            else
                watch_dispatch(loop, events[i].data.u64, events[i].events);
        }
        posted_run(loop);
        work_run(loop);
    }
    posted_run(loop);
    work_run(loop);
    return NULL;
}

void loop_set_service(struct loop *loop)
{
    loop->service = true;
}

void loop_set_name(struct loop *loop, const char *name)
{
    snprintf(loop->name, sizeof(loop->name), "%s", name);
}

int loop_start(struct loop *loop)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&loop->thread, NULL, loop_thread, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return -rc;
    loop->started = true;
    return 0;
}

void loop_stop(struct loop *loop)
{
    if (!loop || !loop->started)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->stopping = true;
    loop->asleep = false;
    pthread_mutex_unlock(&loop->lock);
    loop_wake(loop);
    pthread_join(loop->thread, NULL);
    loop->started = false;
    pthread_mutex_lock(&loop->lock);
    loop->thread_runs = false;
    pthread_mutex_unlock(&loop->lock);
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    loop_stop(loop);
    for (struct loop_posted *item = loop->posted, *next; item; item = next) {
        next = item->next;
        free(item);
    }
    for (struct loop_watch *watch = loop->watches, *next; watch; watch = next) {
        next = watch->next;
        free(watch);
    }
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_cond_destroy(&loop->callback_done);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static void timer_set_kernel(struct loop_timer *timer, uint64_t deadline_ns)
{
    /* All zero would disarm it. */
    uint64_t at = deadline_ns ? deadline_ns : 1;
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)}};

    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* Makes the kernel wait for what is wanted, if that is earlier than what it waits for. */
static void timer_pull_in(struct loop_timer *timer)
{
    uint64_t wanted;

    pthread_mutex_lock(&timer->lock);
    wanted = atomic_load(&timer->wanted);
    if (wanted < atomic_load(&timer->armed)) {
        atomic_store(&timer->armed, wanted);
        timer_set_kernel(timer, wanted);
    }
    pthread_mutex_unlock(&timer->lock);
}

void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns)
{
    if (atomic_exchange(&timer->wanted, deadline_ns) == deadline_ns)
        return;
    /* A later deadline waits for the earlier one to fire, which is then not passed on but set again: guests push their
     * timers back far more often than these fire. */
    if (deadline_ns < atomic_load(&timer->armed))
        timer_pull_in(timer);
}

static void timer_expired(void *opaque, int fd, uint32_t events)
{
    struct loop_timer *timer = opaque;
    uint64_t expirations, wanted;

    if (read(fd, &expirations, sizeof(expirations)) != (ssize_t)sizeof(expirations))
        return; /* set again since: the next expiry counts */
    pthread_mutex_lock(&timer->lock);
    atomic_store(&timer->armed, UINT64_MAX);
    pthread_mutex_unlock(&timer->lock);
    wanted = atomic_load(&timer->wanted);
    while (wanted <= loop_now_ns()) {
        if (atomic_compare_exchange_strong(&timer->wanted, &wanted, UINT64_MAX)) {
            timer->fn(timer->opaque); /* may destroy the timer */
            return;
        }
    }
    timer_pull_in(timer);
}

int loop_timer_create(struct loop *loop, loop_fn fn, void *opaque, struct loop_timer **out)
{
    struct loop_timer *timer = calloc(1, sizeof(*timer));
    int rc;

    if (!timer)
        return -ENOMEM;
    timer->loop = loop;
    timer->fn = fn;
    timer->opaque = opaque;
    atomic_init(&timer->wanted, UINT64_MAX);
    atomic_init(&timer->armed, UINT64_MAX);
    pthread_mutex_init(&timer->lock, NULL);
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    rc = timer->fd < 0 ? -errno : loop_fd_add(loop, timer->fd, EPOLLIN, timer_expired, timer);
    if (rc) {
        if (timer->fd >= 0)
            close(timer->fd);
        pthread_mutex_destroy(&timer->lock);
        free(timer);
        return rc;
    }
    *out = timer;
    return 0;
}

void loop_timer_destroy(struct loop_timer *timer)
{
    if (!timer)
        return;
    loop_fd_remove(timer->loop, timer->fd);
    close(timer->fd);
    pthread_mutex_destroy(&timer->lock);
    free(timer);
}
