/* A front end for tests of network back ends: what comes for the guest is kept in a list; calls into the back end are
 * made on the loop's thread, as they must be. */
#ifndef TUFF_TESTS_NET_TEST_H
#define TUFF_TESTS_NET_TEST_H

#include "base/loop.h"
#include "dev/net/backend.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NET_TEST_WAIT_S = 20 };

struct test_frame {
    struct test_frame *next;
    struct net_header header;
    size_t len;
    uint8_t bytes[];
};

struct test_front {
    struct loop *loop;
    struct net_backend *backend;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct test_frame *frames, **tail;
    unsigned frame_count;
    bool refuses, was_refused, up, fetches, writable;
    unsigned links;
};

static inline void front_add(struct test_front *front, const struct net_header *header, const void *bytes, size_t len)
{
    struct test_frame *frame = malloc(sizeof(*frame) + len);

    ck_assert_ptr_nonnull(frame);
    frame->next = NULL;
    frame->header = *header;
    frame->len = len;
    memcpy(frame->bytes, bytes, len);
    pthread_mutex_lock(&front->lock);
    *front->tail = frame;
    front->tail = &frame->next;
    front->frame_count++;
    pthread_cond_broadcast(&front->changed);
    pthread_mutex_unlock(&front->lock);
}

static inline bool front_deliver(void *opaque, const struct net_header *header, const void *bytes, size_t len)
{
    struct test_front *front = opaque;

    if (front->refuses) {
        pthread_mutex_lock(&front->lock);
        front->was_refused = true;
        pthread_cond_broadcast(&front->changed);
        pthread_mutex_unlock(&front->lock);
        return false;
    }
    front_add(front, header, bytes, len);
    return true;
}

static inline void front_delivered(void *opaque)
{
}

static inline void front_fetch(struct test_front *front)
{
    static uint8_t bytes[NET_FRAME_MAX_BYTES];
    struct iovec iov[2] = {{bytes, 100}, {bytes + 100, sizeof(bytes) - 100}};
    struct net_header header;
    ssize_t len;

    while ((len = front->backend->ops->receive(front->backend, 0, &header, iov, 2)) >= 0)
        front_add(front, &header, bytes, (size_t)len);
    ck_assert_int_eq(len, -EAGAIN);
}

static inline void front_readable(void *opaque, unsigned pair)
{
    struct test_front *front = opaque;

    ck_assert_uint_eq(pair, 0);
    if (!front->refuses)
        front_fetch(front);
}

static inline void front_writable(void *opaque, unsigned pair)
{
    struct test_front *front = opaque;

    pthread_mutex_lock(&front->lock);
    front->writable = true;
    pthread_cond_broadcast(&front->changed);
    pthread_mutex_unlock(&front->lock);
}

static inline void front_link(void *opaque, bool up)
{
    struct test_front *front = opaque;

    pthread_mutex_lock(&front->lock);
    front->up = up;
    front->links++;
    pthread_cond_broadcast(&front->changed);
    pthread_mutex_unlock(&front->lock);
}

static const struct net_front_ops test_front_ops = {
    .deliver = front_deliver,
    .delivered = front_delivered,
    .readable = front_readable,
    .writable = front_writable,
    .link = front_link,
};

static inline void front_init(struct test_front *front, struct loop *loop, struct net_backend *backend)
{
    *front = (struct test_front){.loop = loop, .backend = backend, .tail = &front->frames};
    pthread_mutex_init(&front->lock, NULL);
    pthread_cond_init(&front->changed, NULL);
    net_backend_attach(backend, &test_front_ops, front);
}

static inline void front_fini(struct test_front *front)
{
    while (front->frames) {
        struct test_frame *frame = front->frames;
        front->frames = frame->next;
        free(frame);
    }
}

/* Runs fn(arg) on the loop's thread and waits for it. */
struct on_loop_call {
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static inline void on_loop_run(void *opaque)
{
    struct on_loop_call *call = opaque;

    call->fn(call->arg);
    pthread_mutex_lock(&call->lock);
    call->done = true;
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
}

static inline void on_loop(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct on_loop_call call = {.fn = fn, .arg = arg};

    pthread_mutex_init(&call.lock, NULL);
    pthread_cond_init(&call.changed, NULL);
    ck_assert_int_eq(loop_post(loop, on_loop_run, &call), 0);
    pthread_mutex_lock(&call.lock);
    while (!call.done)
        pthread_cond_wait(&call.changed, &call.lock);
    pthread_mutex_unlock(&call.lock);
}

static inline struct timespec wait_until(unsigned ms)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

/* The next frame for the guest, to be freed; NULL when none came in time. */
static inline struct test_frame *front_next(struct test_front *front, unsigned ms)
{
    struct timespec at = wait_until(ms);
    struct test_frame *frame;
    int rc = 0;

    pthread_mutex_lock(&front->lock);
    while (!front->frames && rc == 0)
        rc = pthread_cond_timedwait(&front->changed, &front->lock, &at);
    frame = front->frames;
    if (frame) {
        front->frames = frame->next;
        if (!front->frames)
            front->tail = &front->frames;
    }
    pthread_mutex_unlock(&front->lock);
    return frame;
}

/* Waits until *flag is `value`. */
static inline void front_wait(struct test_front *front, const bool *flag, bool value)
{
    struct timespec at = wait_until(NET_TEST_WAIT_S * 1000);
    int rc = 0;

    pthread_mutex_lock(&front->lock);
    while (*flag != value && rc == 0)
        rc = pthread_cond_timedwait(&front->changed, &front->lock, &at);
    pthread_mutex_unlock(&front->lock);
    ck_assert_int_eq(rc, 0);
}

struct send_call {
    struct test_front *front;
    struct net_header header;
    struct iovec iov[3];
    unsigned count;
    size_t len;
    int rc;
};

static inline void send_call_run(void *arg)
{
    struct send_call *call = arg;
    struct net_backend *backend = call->front->backend;

    call->front->writable = false;
    call->rc = backend->ops->send(backend, 0, &call->header, call->iov, call->count, call->len);
    if (backend->ops->flush)
        backend->ops->flush(backend);
}

/* Sends a frame in three pieces. Returns what send() did. */
static inline int front_send(struct test_front *front, struct net_header header, uint8_t *bytes, size_t len)
{
    size_t first = len / 3, second = len / 2;
    struct send_call call = {
        .front = front,
        .header = header,
        .iov = {{bytes, first}, {bytes + first, second - first}, {bytes + second, len - second}},
        .count = 3,
        .len = len,
    };

    on_loop(front->loop, send_call_run, &call);
    return call.rc;
}

#endif
