/* Serial host back ends; see console_backend.h.
 *
 * What must stay true:
 * - `lock` guards the rings and flags and is not held in a system call that may block nor while the sink or the
 *   device is called. It is a leaf: nothing but the loop's own lock is taken under it.
 * - The output ring has one consumer at a time (`draining`): it reads [head, head + n) without the lock, writers only
 *   append behind it.
 * - The input queue's one consumer is input_deliver() on the loop's thread.
 * - The flags of a descriptor that others use too (standard output) are not touched: O_NONBLOCK belongs to the open
 * file, which a shell may share with us.
 */
#include "machine/console_backend.h"

#include "base/log.h"
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum {
    DRAIN_DELAY_NS = 1000 * 1000, /* a guest prints byte by byte: gather what comes within a millisecond */
    CAUTIOUS_BYTES = 256,         /* at a time, to a descriptor that may block */
    FLUSH_POLL_MS = 50,           /* how soon a flush sees a cancel */
};

/* How output reaches a descriptor without blocking. */
enum write_method {
    WRITE_PLAIN,    /* it never blocks (a file), or is non-blocking and ours */
    WRITE_SOCKET,   /* send() with MSG_DONTWAIT */
    WRITE_CAUTIOUS, /* may block: poll() first, then little at a time */
};

struct console_backend {
    enum console_backend_kind kind;
    struct loop *loop;
    int fd;
    bool owns_fd;
    bool drop_when_full;
    enum write_method method;
    int peer_fd; /* keeps a pseudo-terminal alive while nobody is connected */
    char path[64];
    console_backend_sink_fn sink;
    void *sink_opaque;
    console_backend_receive_fn receive;
    void *receive_opaque;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* room in the ring, or draining ended */
    uint8_t *ring;
    size_t head, len;
    bool draining;
    bool drain_scheduled;
    bool waits_writable;
    bool broken; /* the other side is gone or failed: output is dropped */
    bool cancelled;
    uint64_t dropped_bytes;
    struct loop_timer *drain_timer;

    uint8_t input[CONSOLE_INPUT_BYTES];
    size_t input_head, input_len;
    struct loop_timer *input_timer;
    bool input_paused; /* the pseudo-terminal is not read because the queue is full */
};

static ssize_t write_some(const struct console_backend *backend, const uint8_t *bytes, size_t len)
{
    struct pollfd ready = {.fd = backend->fd, .events = POLLOUT};

    switch (backend->method) {
    case WRITE_PLAIN:
        return write(backend->fd, bytes, len);
    case WRITE_SOCKET:
        return send(backend->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case WRITE_CAUTIOUS:
        if (poll(&ready, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        return write(backend->fd, bytes, len < CAUTIOUS_BYTES ? len : CAUTIOUS_BYTES);
    }
    errno = EINVAL;
    return -1;
}

static void give_up_locked(struct console_backend *backend, int error)
{
    backend->broken = true;
    backend->dropped_bytes += backend->len;
    backend->len = 0;
    if (error == EPIPE)
        return; /* a reader that leaves is no news; a full disk is */
    pthread_mutex_unlock(&backend->lock);
    log_warn(LOG_MACHINE, "serial output cannot be written (%s); it is dropped from now on", strerror(error));
    pthread_mutex_lock(&backend->lock);
}

/* Writes until the ring is empty or the other side takes no more. Lock held on entry and return, free in between.
 * Returns false when it would block. */
static bool drain_locked(struct console_backend *backend)
{
    bool would_block = false;

    while (backend->draining)
        pthread_cond_wait(&backend->changed, &backend->lock);
    backend->draining = true;
    while (backend->len && !would_block && !backend->cancelled) {
        size_t contiguous = CONSOLE_RING_BYTES - backend->head;
        size_t chunk = backend->len < contiguous ? backend->len : contiguous;
        const uint8_t *from = backend->ring + backend->head;
        int error;
        ssize_t written;

        pthread_mutex_unlock(&backend->lock);
        written = write_some(backend, from, chunk);
        error = errno;
        pthread_mutex_lock(&backend->lock);
        if (written > 0) {
            backend->head = (backend->head + (size_t)written) % CONSOLE_RING_BYTES;
            backend->len -= (size_t)written;
            pthread_cond_broadcast(&backend->changed);
        } else if (written < 0 && error == EAGAIN) {
            would_block = true;
        } else if (written < 0 && error != EINTR) {
            give_up_locked(backend, error);
        }
    }
    backend->draining = false;
    pthread_cond_broadcast(&backend->changed);
    return !would_block;
}

static void schedule_drain_locked(struct console_backend *backend, uint64_t deadline_ns)
{
    backend->drain_scheduled = true;
    loop_timer_arm(backend->drain_timer, deadline_ns);
}

static void on_fd(void *opaque, int fd, uint32_t events);

/* After a drain that would block, on the loop's thread: go on when the descriptor can take more. */
static void wait_writable_locked(struct console_backend *backend)
{
    uint32_t events = EPOLLOUT | (backend->kind == CONSOLE_BACKEND_PTY && !backend->input_paused ? EPOLLIN : 0u);
    int rc;

    if (backend->waits_writable)
        return;
    if (backend->kind == CONSOLE_BACKEND_PTY)
        rc = loop_fd_modify(backend->loop, backend->fd, events);
    else
        rc = loop_fd_add(backend->loop, backend->fd, events, on_fd, backend);
    if (rc)
        schedule_drain_locked(backend, loop_now_ns() + 10 * DRAIN_DELAY_NS);
    else
        backend->waits_writable = true;
}

static void stop_waiting_writable_locked(struct console_backend *backend)
{
    if (!backend->waits_writable)
        return;
    backend->waits_writable = false;
    if (backend->kind == CONSOLE_BACKEND_PTY)
        (void)!loop_fd_modify(backend->loop, backend->fd, backend->input_paused ? 0 : EPOLLIN);
    else
        loop_fd_remove(backend->loop, backend->fd); /* on the loop's thread, so it does not wait */
}

static void drain_on_loop(void *opaque)
{
    struct console_backend *backend = opaque;

    pthread_mutex_lock(&backend->lock);
    backend->drain_scheduled = false;
    if (drain_locked(backend))
        stop_waiting_writable_locked(backend);
    else
        wait_writable_locked(backend);
    pthread_mutex_unlock(&backend->lock);
}

static size_t ring_put_locked(struct console_backend *backend, const uint8_t *bytes, size_t len)
{
    size_t room = CONSOLE_RING_BYTES - backend->len;
    size_t taken = len < room ? len : room;
    size_t tail = (backend->head + backend->len) % CONSOLE_RING_BYTES;
    size_t first = CONSOLE_RING_BYTES - tail < taken ? CONSOLE_RING_BYTES - tail : taken;

    memcpy(backend->ring + tail, bytes, first);
    memcpy(backend->ring, bytes + first, taken - first);
    backend->len += taken;
    return taken;
}

static void queue_output(struct console_backend *backend, const uint8_t *bytes, size_t len)
{
    bool may_wait = !backend->drop_when_full && !loop_is_current(backend->loop);

    pthread_mutex_lock(&backend->lock);
    while (len) {
        size_t taken = 0;
        if (!backend->broken && !backend->cancelled)
            taken = ring_put_locked(backend, bytes, len);
        bytes += taken;
        len -= taken;
        if (!len)
            break;
        if (backend->broken || backend->cancelled || !may_wait) {
            backend->dropped_bytes += len;
            break;
        }
        if (!backend->waits_writable)
            schedule_drain_locked(backend, loop_now_ns());
        pthread_cond_wait(&backend->changed, &backend->lock);
    }
    if (backend->len && !backend->waits_writable && !backend->drain_scheduled)
        schedule_drain_locked(backend, loop_now_ns() + DRAIN_DELAY_NS);
    pthread_mutex_unlock(&backend->lock);
}

void console_backend_write(void *opaque, const uint8_t *bytes, size_t len)
{
    struct console_backend *backend = opaque;

    if (!len)
        return;
    switch (backend->kind) {
    case CONSOLE_BACKEND_NULL:
        return;
    case CONSOLE_BACKEND_SINK:
        backend->sink(backend->sink_opaque, bytes, len);
        return;
    case CONSOLE_BACKEND_FD:
    case CONSOLE_BACKEND_FILE:
    case CONSOLE_BACKEND_PTY:
        queue_output(backend, bytes, len);
        return;
    }
}

static void resume_pty_reading_locked(struct console_backend *backend)
{
    if (!backend->input_paused)
        return;
    backend->input_paused = false;
    (void)!loop_fd_modify(backend->loop, backend->fd, EPOLLIN | (backend->waits_writable ? EPOLLOUT : 0u));
}

static void input_deliver(void *opaque)
{
    struct console_backend *backend = opaque;

    pthread_mutex_lock(&backend->lock);
    while (backend->input_len) {
        size_t contiguous = CONSOLE_INPUT_BYTES - backend->input_head;
        size_t chunk = backend->input_len < contiguous ? backend->input_len : contiguous;
        const uint8_t *from = backend->input + backend->input_head;
        size_t taken = chunk;

        pthread_mutex_unlock(&backend->lock);
        if (backend->receive)
            taken = backend->receive(backend->receive_opaque, from, chunk);
        pthread_mutex_lock(&backend->lock);
        if (!taken)
            break;
        backend->input_head = (backend->input_head + taken) % CONSOLE_INPUT_BYTES;
        backend->input_len -= taken;
    }
    if (backend->input_len < CONSOLE_INPUT_BYTES)
        resume_pty_reading_locked(backend);
    pthread_mutex_unlock(&backend->lock);
}

/* A timer rather than posted work: destroying it makes sure that nothing of ours is left on the loop. */
static void schedule_deliver_locked(struct console_backend *backend)
{
    if (backend->input_len)
        loop_timer_arm(backend->input_timer, 0);
}

size_t console_backend_input(struct console_backend *backend, const uint8_t *bytes, size_t len)
{
    size_t room, taken, tail, first;

    pthread_mutex_lock(&backend->lock);
    room = CONSOLE_INPUT_BYTES - backend->input_len;
    taken = len < room ? len : room;
    tail = (backend->input_head + backend->input_len) % CONSOLE_INPUT_BYTES;
    first = CONSOLE_INPUT_BYTES - tail < taken ? CONSOLE_INPUT_BYTES - tail : taken;
    memcpy(backend->input + tail, bytes, first);
    memcpy(backend->input, bytes + first, taken - first);
    backend->input_len += taken;
    schedule_deliver_locked(backend);
    pthread_mutex_unlock(&backend->lock);
    return taken;
}

void console_backend_can_receive(void *opaque)
{
    struct console_backend *backend = opaque;

    pthread_mutex_lock(&backend->lock);
    schedule_deliver_locked(backend);
    pthread_mutex_unlock(&backend->lock);
}

static void read_pty(struct console_backend *backend)
{
    uint8_t bytes[CONSOLE_INPUT_BYTES];
    size_t room;
    ssize_t count;

    pthread_mutex_lock(&backend->lock);
    room = CONSOLE_INPUT_BYTES - backend->input_len;
    if (!room) {
        backend->input_paused = true;
        (void)!loop_fd_modify(backend->loop, backend->fd, backend->waits_writable ? EPOLLOUT : 0);
    }
    pthread_mutex_unlock(&backend->lock);
    if (!room)
        return;
    count = read(backend->fd, bytes, room);
    if (count > 0)
        console_backend_input(backend, bytes, (size_t)count);
}

static void on_fd(void *opaque, int fd, uint32_t events)
{
    struct console_backend *backend = opaque;

    if (events & EPOLLIN)
        read_pty(backend);
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        drain_on_loop(backend);
}

static int open_file(struct console_backend *backend, const char *path, struct error *err)
{
    backend->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    if (backend->fd < 0)
        return error_set(err, -errno, "serial output file, %s, cannot be opened for writing (%s): name another one",
                         path, strerror(errno));
    backend->owns_fd = true;
    backend->method = WRITE_PLAIN;
    return 0;
}

/* A pipe or terminal can be opened a second time through /proc, and the second open file is ours to set
 * non-blocking. Not so regular files (the offset would not be shared) and sockets. */
static int open_fd(struct console_backend *backend, int fd, struct error *err)
{
    char path[32];
    struct stat st;
    int own;

    backend->fd = fd;
    if (fstat(fd, &st))
        return error_set(err, -errno, "output descriptor, %d, cannot be used (%s): open it for writing", fd,
                         strerror(errno));
    backend->method = WRITE_PLAIN;
    if (S_ISREG(st.st_mode))
        return 0;
    backend->method = WRITE_CAUTIOUS;
    if (S_ISSOCK(st.st_mode)) {
        backend->method = WRITE_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        own = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (own >= 0) {
            backend->fd = own;
            backend->owns_fd = true;
            backend->method = WRITE_PLAIN;
        }
    }
    return 0;
}

static int open_pty(struct console_backend *backend, struct error *err)
{
    struct termios raw;
    int rc;

    backend->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (backend->fd < 0)
        goto fail;
    backend->owns_fd = true;
    backend->drop_when_full = true;
    backend->method = WRITE_PLAIN;
    if (grantpt(backend->fd) || unlockpt(backend->fd))
        goto fail;
    rc = ptsname_r(backend->fd, backend->path, sizeof(backend->path));
    if (rc) {
        errno = rc;
        goto fail;
    }
    /* With no slave open the master would report a hang-up without end, and the terminal's modes would be reset at each
     * close. */
    backend->peer_fd = open(backend->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (backend->peer_fd < 0 || tcgetattr(backend->peer_fd, &raw))
        goto fail;
    cfmakeraw(&raw); /* no echo: it would come back to the guest as input */
    if (tcsetattr(backend->peer_fd, TCSANOW, &raw))
        goto fail;
    rc = loop_fd_add(backend->loop, backend->fd, EPOLLIN, on_fd, backend);
    if (!rc)
        return 0;
    errno = -rc;
fail:
    rc = -errno;
    return error_set(err, rc, "serial port, pty, cannot make a pseudo-terminal (%s): use stdio or file=F",
                     strerror(-rc));
}

static int open_kind(struct console_backend *backend, const struct console_backend_config *config, struct error *err)
{
    switch (config->kind) {
    case CONSOLE_BACKEND_NULL:
        return 0;
    case CONSOLE_BACKEND_SINK:
        backend->sink = config->sink;
        backend->sink_opaque = config->sink_opaque;
        return 0;
    case CONSOLE_BACKEND_FD:
        return open_fd(backend, config->fd, err);
    case CONSOLE_BACKEND_FILE:
        return open_file(backend, config->path, err);
    case CONSOLE_BACKEND_PTY:
        return open_pty(backend, err);
    }
    return error_set(err, -EINVAL, "serial port, kind %d, does not exist: use stdio, null, file=F or pty",
                     (int)config->kind);
}

static bool has_ring(enum console_backend_kind kind)
{
    return kind == CONSOLE_BACKEND_FD || kind == CONSOLE_BACKEND_FILE || kind == CONSOLE_BACKEND_PTY;
}

static void backend_free(struct console_backend *backend)
{
    if (backend->fd >= 0)
        loop_fd_remove(backend->loop, backend->fd); /* first: its callback arms the timers */
    loop_timer_destroy(backend->drain_timer);
    loop_timer_destroy(backend->input_timer);
    if (backend->owns_fd)
        close(backend->fd);
    if (backend->peer_fd >= 0)
        close(backend->peer_fd);
    free(backend->ring);
    pthread_cond_destroy(&backend->changed);
    pthread_mutex_destroy(&backend->lock);
    free(backend);
}

static int make_buffers(struct console_backend *backend)
{
    int rc = loop_timer_create(backend->loop, input_deliver, backend, &backend->input_timer);

    if (rc || !has_ring(backend->kind))
        return rc;
    backend->ring = malloc(CONSOLE_RING_BYTES);
    if (!backend->ring)
        return -ENOMEM;
    return loop_timer_create(backend->loop, drain_on_loop, backend, &backend->drain_timer);
}

int console_backend_create(struct loop *loop, const struct console_backend_config *config, struct console_backend **out,
                           struct error *err)
{
    struct console_backend *backend = calloc(1, sizeof(*backend));
    int rc;

    if (!backend)
        return error_set(err, -ENOMEM, "serial port, not enough host memory, free some");
    backend->kind = config->kind;
    backend->loop = loop;
    backend->fd = -1;
    backend->peer_fd = -1;
    backend->receive = config->receive;
    backend->receive_opaque = config->receive_opaque;
    pthread_mutex_init(&backend->lock, NULL);
    pthread_cond_init(&backend->changed, NULL);
    rc = make_buffers(backend);
    if (rc) {
        error_set(err, rc, "serial port, buffers, cannot be made (%s): free memory or descriptors", strerror(-rc));
        goto fail;
    }
    rc = open_kind(backend, config, err);
    if (rc)
        goto fail;
    *out = backend;
    return 0;
fail:
    backend_free(backend);
    return rc;
}

static void wait_for_room(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};

    if (poll(&ready, 1, FLUSH_POLL_MS) < 0 && errno != EINTR)
        usleep(FLUSH_POLL_MS * 1000);
}

void console_backend_flush(struct console_backend *backend)
{
    if (!backend->ring)
        return;
    pthread_mutex_lock(&backend->lock);
    while (backend->len && !backend->cancelled) {
        if (drain_locked(backend) || backend->drop_when_full)
            break;
        pthread_mutex_unlock(&backend->lock);
        wait_for_room(backend->fd);
        pthread_mutex_lock(&backend->lock);
    }
    pthread_mutex_unlock(&backend->lock);
}

void console_backend_cancel(struct console_backend *backend)
{
    pthread_mutex_lock(&backend->lock);
    backend->cancelled = true;
    pthread_cond_broadcast(&backend->changed);
    pthread_mutex_unlock(&backend->lock);
}

uint64_t console_backend_dropped(struct console_backend *backend)
{
    uint64_t dropped;

    pthread_mutex_lock(&backend->lock);
    dropped = backend->dropped_bytes;
    pthread_mutex_unlock(&backend->lock);
    return dropped;
}

void console_backend_destroy(struct console_backend *backend)
{
    if (!backend)
        return;
    console_backend_flush(backend);
    backend_free(backend);
}

const char *console_backend_pty_path(const struct console_backend *backend)
{
    return backend->kind == CONSOLE_BACKEND_PTY ? backend->path : NULL;
}
