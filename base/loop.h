/* The event loop: one thread that waits for file descriptors, timers and posted work, for a machine's devices and host
 * back ends.
 *
 * A loop is owned by whoever created it and there may be several in one process. Callbacks run on the
 * loop's thread, one at a time, with no lock of the loop held, so they may call anything here except loop_stop() and
 * loop_destroy(). They must not block: everything else of the loop waits behind them.
 */
#ifndef TUFF_BASE_LOOP_H
#define TUFF_BASE_LOOP_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_timer;

/* `events` are epoll's (EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR), level-triggered. */
typedef void (*loop_fd_fn)(void *opaque, int fd, uint32_t events);
typedef void (*loop_fn)(void *opaque);

/* Creates a loop whose thread does not run yet. Returns 0 or a negative errno. */
int loop_create(struct loop **out) TUFF_MUST_CHECK;

/* Its callbacks are no device's: they open files and sockets (SANDBOX_SERVICE). Before loop_start(). */
void loop_set_service(struct loop *loop);

/* The thread's name, at most 15 bytes; before loop_start(). Without it: "tuff-loop". */
void loop_set_name(struct loop *loop, const char *name);

/* Starts the thread, with every signal blocked in it. Returns 0 or a negative errno. Once per loop. */
int loop_start(struct loop *loop) TUFF_MUST_CHECK;

/* Runs what was posted or scheduled before the call, ends the thread and joins it. Not on the loop's thread. Does
 * nothing when the loop does not run. Descriptors and timers stay registered but are not looked at any more. */
void loop_stop(struct loop *loop);

/* Stops and frees the loop. Its timers must have been destroyed. Descriptors are not closed. NULL is allowed. */
void loop_destroy(struct loop *loop);

/* True on the loop's own thread. */
bool loop_is_current(struct loop *loop);

/* Watches `fd` (borrowed) for `events`; 0 waits for nothing but errors and hang-up. Any thread. Returns 0, -EEXIST,
 * -EPERM (a kind of file epoll does not support: regular files), -ENOMEM, -ENOSPC. */
int loop_fd_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *opaque) TUFF_MUST_CHECK;
/* Changes what is waited for. Any thread. Returns 0 or -ENOENT. */
int loop_fd_modify(struct loop *loop, int fd, uint32_t events) TUFF_MUST_CHECK;
/* Stops watching. Any thread. When it returns the callback is not running (unless it is the caller) and will not run
 * again. Does nothing when the descriptor is not watched: whose callbacks remove their own descriptors waits for the
 * last of them by loop_stop(). */
void loop_fd_remove(struct loop *loop, int fd);

/* Runs fn(opaque) on the loop's thread, in the order of the calls. Any thread. Returns 0 or -ENOMEM. */
int loop_post(struct loop *loop, loop_fn fn, void *opaque) TUFF_MUST_CHECK;

/* A piece of work that lives in its owner's struct, so that scheduling it neither allocates nor fails. Zero-initialise,
 * then set fn and opaque. */
struct loop_work {
    loop_fn fn;
    void *opaque;
    /* The loop's. */
    struct loop_work *next;
    uint64_t turn;
    bool queued;
};

/* Runs the work once on the loop's thread, after other work that was scheduled before; does nothing while it waits for
 * its turn already. What was stored before the call is seen by that run. Work that schedules itself again has its next
 * turn after descriptors and timers had theirs. Any thread. */
void loop_work_schedule(struct loop *loop, struct loop_work *work);
/* When it returns the work is not running (unless it is the caller) and will not run, if nobody schedules it. Any
 * thread, with no lock held that the work takes. */
void loop_work_cancel(struct loop *loop, struct loop_work *work);

/* CLOCK_MONOTONIC in nanoseconds: the clock of timers' deadlines. */
uint64_t loop_now_ns(void);

/* Creates a timer that is not armed. Any thread. Returns 0 or a negative errno. */
int loop_timer_create(struct loop *loop, loop_fn fn, void *opaque, struct loop_timer **out) TUFF_MUST_CHECK;

/* Calls the timer's function once, at or soon after `deadline_ns`, instead of at the deadline given before. UINT64_MAX:
 * not at all. A deadline in the past fires at once. Any thread, does not block; a system call is made only when the
 * deadline comes closer than what the kernel already waits for. A callback that already began is not recalled. */
void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns);

/* When it returns the timer's function is not running (unless it is the caller) and will not run. NULL is allowed. Any
 * thread. Nobody may arm the timer any more. */
void loop_timer_destroy(struct loop_timer *timer);

#endif
