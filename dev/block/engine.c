/* Asynchronous host I/O; see engine.h.
 *
 * One eventfd tells the loop that something is done, by the ring or by the pool. Rings can be short of room, the kernel
 * of memory: what it does not take now is offered again after the next completion. What it does in part or not
 * at all (short transfers, EAGAIN) is done over by the pool, which knows how to finish. */
#include "dev/block/engine.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/sandbox.h"
#include "dev/iov.h"

#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RING_ENTRIES = 256, THREADS_MAX = 8 };

struct list {
    struct engine_op *first, **end;
};

struct engine {
    struct loop *loop; /* NULL: detached */
    int event_fd;
    bool has_ring;
    struct io_uring ring;
    unsigned in_ring; /* ops that the ring has, submitted or not */
    bool to_submit;
    struct list waiting; /* for room in the ring */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work;
    struct list queue, done;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count, idle, queued;
    bool stopping;
};

static void list_init(struct list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_add(struct list *list, struct engine_op *op)
{
    op->next = NULL;
    *list->end = op;
    list->end = &op->next;
}

static struct engine_op *list_take(struct list *list)
{
    struct engine_op *op = list->first;

    if (op)
        list->first = op->next;
    if (!list->first)
        list->end = &list->first;
    return op;
}

static void notify(struct engine *e)
{
    uint64_t one = 1;

    while (write(e->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* ---- the pool ---- */

static int host_io(struct engine_op *op)
{
    ssize_t n;

    if (op->write)
        return host_file_writev(op->file, op->iov, op->count, op->offset);
    n = host_file_readv(op->file, op->iov, op->count, op->offset);
    if (n < 0)
        return (int)n;
    if (op->eof_is_error && (uint64_t)n < iov_bytes(op->iov, op->count))
        return -EIO;
    iov_zero(op->iov, op->count, (uint64_t)n, UINT64_MAX);
    return 0;
}

static void finish(struct engine *e, struct engine_op *op, int result)
{
    bool first;

    op->result = result;
    pthread_mutex_lock(&e->lock);
    first = !e->done.first;
    list_add(&e->done, op);
    pthread_mutex_unlock(&e->lock);
    if (first)
        notify(e);
}

static void *pool_thread(void *opaque)
{
    struct engine *e = opaque;

    pthread_setname_np(pthread_self(), "tuff-block");
    sandbox_enter(SANDBOX_DEVICE);
    pthread_mutex_lock(&e->lock);
    while (!e->stopping) {
        struct engine_op *op = list_take(&e->queue);

        if (!op) {
            e->idle++;
            pthread_cond_wait(&e->work, &e->lock);
            e->idle--;
            continue;
        }
        e->queued--;
        pthread_mutex_unlock(&e->lock);
        finish(e, op, op->job ? op->job(op) : host_io(op));
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static int start_thread(struct engine *e, pthread_t *thread)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* also SIGXFSZ: a write fails instead */
    rc = pthread_create(thread, NULL, pool_thread, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

static void give_to_pool(struct engine *e, struct engine_op *op)
{
    bool more;

    pthread_mutex_lock(&e->lock);
    list_add(&e->queue, op);
    more = ++e->queued > e->idle && e->thread_count < THREADS_MAX;
    if (more && start_thread(e, &e->threads[e->thread_count]) == 0)
        e->thread_count++;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

/* ---- the ring ---- */

/* Returns false when there is no room. */
static bool give_to_ring(struct engine *e, struct engine_op *op)
{
    struct io_uring_sqe *sqe = e->in_ring < RING_ENTRIES ? io_uring_get_sqe(&e->ring) : NULL;

    if (!sqe)
        return false;
    if (op->write)
        io_uring_prep_writev(sqe, op->file->fd, op->iov, op->count, op->offset);
    else
        io_uring_prep_readv(sqe, op->file->fd, op->iov, op->count, op->offset);
    io_uring_sqe_set_data(sqe, op);
    e->in_ring++;
    e->to_submit = true;
    return true;
}

void engine_kick(struct engine *e)
{
    int rc;

    while (e->has_ring && e->waiting.first) {
        if (!give_to_ring(e, e->waiting.first))
            break;
        /* The op's link is only looked at by lists. */
        (void)list_take(&e->waiting);
    }
    if (!e->to_submit)
        return;
    rc = io_uring_submit(&e->ring);
    e->to_submit = io_uring_sq_ready(&e->ring) != 0;
    if (rc < 0 && e->to_submit)
        notify(e); /* again soon */
}

static void ring_finished(struct engine *e, struct engine_op *op, int result)
{
    e->in_ring--;
    if (result >= 0 && (uint64_t)result == iov_bytes(op->iov, op->count))
        op->done(op, 0);
    else if (result >= 0 || result == -EAGAIN || result == -EINTR || result == -ECANCELED)
        give_to_pool(e, op);
    else
        op->done(op, result);
}

static void reap_ring(struct engine *e)
{
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&e->ring, &cqe) == 0) {
        struct engine_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&e->ring, cqe);
        ring_finished(e, op, result);
    }
}

/* ---- both ---- */

void engine_start(struct engine *e, struct engine_op *op)
{
    uint64_t bytes, allowed;
    int rc;

    if (!e->has_ring || op->job || op->count > IOV_MAX) {
        give_to_pool(e, op);
        return;
    }
    bytes = allowed = iov_bytes(op->iov, op->count);
    rc = host_file_ask_fault(op->file, op->write ? HOST_WRITE : HOST_READ, op->offset, &allowed);
    if (rc)
        finish(e, op, rc);
    else if (allowed < bytes)
        give_to_pool(e, op);
    else if (e->waiting.first || !give_to_ring(e, op))
        list_add(&e->waiting, op);
}

void engine_finish_later(struct engine *e, struct engine_op *op, int result)
{
    finish(e, op, result);
}

static void deliver(struct engine *e)
{
    struct list done;
    struct engine_op *op;

    pthread_mutex_lock(&e->lock);
    done = e->done;
    if (!done.first)
        done.end = &done.first;
    list_init(&e->done);
    pthread_mutex_unlock(&e->lock);
    while ((op = list_take(&done)))
        op->done(op, op->result);
    if (e->has_ring)
        reap_ring(e);
    engine_kick(e);
}

void engine_kick_and_poll(struct engine *e)
{
    if (!e->has_ring || io_uring_cq_eventfd_toggle(&e->ring, false)) {
        engine_kick(e);
        return;
    }
    engine_kick(e);
    reap_ring(e);
    (void)io_uring_cq_eventfd_toggle(&e->ring, true);
    /* What was done before the kernel could see that has not been told. */
    atomic_thread_fence(memory_order_seq_cst);
    reap_ring(e);
    engine_kick(e);
}

static void event(void *opaque, int fd, uint32_t events)
{
    uint64_t count;

    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    deliver(opaque);
}

void engine_detach(struct engine *e)
{
    if (e->loop)
        loop_fd_remove(e->loop, e->event_fd);
    e->loop = NULL;
}

void engine_attach(struct engine *e, struct loop *loop)
{
    int rc = loop_fd_add(loop, e->event_fd, EPOLLIN, event, e);

    if (rc)
        log_warn(LOG_DEV, "a disk image's completions cannot be waited for any more: %s", strerror(-rc));
    else
        e->loop = loop;
}

void engine_wait(struct engine *e)
{
    struct pollfd fd = {.fd = e->event_fd, .events = POLLIN};

    engine_kick(e);
    if (poll(&fd, 1, -1) > 0)
        event(e, e->event_fd, EPOLLIN);
}

/* No seccomp filter sees what is asked of a ring, so it is told itself: reading and writing, and nothing else. */
static int restrict_ring(struct engine *e)
{
    struct io_uring_restriction allowed[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
    };
    int fd = e->ring.ring_fd;

    /* liburing 2.3 does not export its functions for these. */
    if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, allowed, TUFF_ARRAY_LEN(allowed)) ||
        syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0))
        return -errno;
    return 0;
}

static int create_ring(struct engine *e)
{
    int rc = io_uring_queue_init(RING_ENTRIES, &e->ring, IORING_SETUP_R_DISABLED);

    if (rc)
        return rc;
    rc = io_uring_register_eventfd(&e->ring, e->event_fd);
    if (!rc)
        rc = restrict_ring(e);
    if (rc) {
        io_uring_queue_exit(&e->ring);
        return rc;
    }
    e->has_ring = true;
    return 0;
}

int engine_create(struct loop *loop, enum engine_kind kind, struct engine **out)
{
    struct engine *e = calloc(1, sizeof(*e));
    int rc = 0;

    if (!e)
        return -ENOMEM;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    list_init(&e->waiting);
    list_init(&e->queue);
    list_init(&e->done);
    e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->event_fd < 0)
        rc = -errno;
    if (!rc && kind != ENGINE_THREADS) {
        rc = create_ring(e);
        if (kind == ENGINE_AUTO)
            rc = 0;
    }
    /* One thread has to be there; more come when there is work for them. */
    if (!rc)
        rc = start_thread(e, &e->threads[0]);
    if (!rc)
        e->thread_count = 1;
    if (!rc)
        rc = loop_fd_add(loop, e->event_fd, EPOLLIN, event, e);
    if (rc) {
        engine_destroy(e);
        return rc;
    }
    e->loop = loop;
    *out = e;
    return 0;
}

void engine_destroy(struct engine *e)
{
    if (!e)
        return;
    engine_detach(e);
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
    for (unsigned i = 0; i < e->thread_count; i++)
        pthread_join(e->threads[i], NULL);
    if (e->has_ring)
        io_uring_queue_exit(&e->ring);
    if (e->event_fd >= 0)
        close(e->event_fd);
    pthread_cond_destroy(&e->work);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

const char *engine_name(const struct engine *e)
{
    return e->has_ring ? "io_uring" : "threads";
}
