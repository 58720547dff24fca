/* A channel's host end; see channel.h. The loop's thread accepts, reads and hangs up; the console's writer writes.
 * `lock` guards the descriptor between the two. */
#include "machine/channel.h"

#include "base/acceptor.h"
#include "base/loop.h"
#include "dev/vsock/vsock_host.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 4096, RETRY_MS = 5 };

struct channel {
    struct loop *loop;
    channel_receive_fn receive;
    void *opaque;
    struct loop_work work; /* the guest has room */
    pthread_mutex_t lock;
    int fd; /* -1: nobody is connected */
    _Atomic bool ending;
    /* The loop's thread: what was read and the guest had no room for; while there is some, no more is read. */
    uint8_t buffer[BUFFER_BYTES];
    size_t at, len;
    struct listener listener;
    struct acceptor *acceptor; /* NULL: nobody is waited for yet */
};

static void hang_up(struct channel *channel)
{
    if (channel->fd < 0)
        return;
    loop_fd_remove(channel->loop, channel->fd);
    pthread_mutex_lock(&channel->lock);
    close(channel->fd);
    channel->fd = -1;
    pthread_mutex_unlock(&channel->lock);
    channel->len = 0;
}

/* Hands over what waits, and reads on when all of it was taken. */
static void deliver(struct channel *channel)
{
    if (channel->len) {
        size_t taken = channel->receive(channel->opaque, channel->buffer + channel->at, channel->len);
        channel->at += taken;
        channel->len -= taken;
    }
    if (channel->fd >= 0)
        (void)loop_fd_modify(channel->loop, channel->fd, channel->len ? 0 : EPOLLIN);
}

static void client_event(void *opaque, int fd, uint32_t events)
{
    struct channel *channel = opaque;

    if (channel->len) { /* it waits for the guest: this is a hang-up */
        hang_up(channel);
        return;
    }
    ssize_t got = recv(fd, channel->buffer, sizeof(channel->buffer), MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            hang_up(channel);
        return;
    }
    channel->at = 0;
    channel->len = (size_t)got;
    deliver(channel);
}

static void room_in_guest(void *opaque)
{
    deliver(opaque);
}

static void somebody_connects(void *opaque, int fd)
{
    struct channel *channel = opaque;

    if (channel->fd >= 0 || loop_fd_add(channel->loop, fd, EPOLLIN, client_event, channel)) {
        close(fd);
        return;
    }
    pthread_mutex_lock(&channel->lock);
    channel->fd = fd;
    pthread_mutex_unlock(&channel->lock);
}

void channel_write(struct channel *channel, const uint8_t *bytes, size_t len)
{
    while (len) {
        pthread_mutex_lock(&channel->lock);
        ssize_t sent = channel->fd < 0 ? -1 : send(channel->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        bool full = channel->fd >= 0 && sent < 0 && errno == EAGAIN;
        pthread_mutex_unlock(&channel->lock);
        if (sent < 0 && (!full || atomic_load(&channel->ending)))
            return;
        if (full) {
            (void)poll(NULL, 0, RETRY_MS);
            continue;
        }
        len -= (size_t)sent;
        bytes += sent;
    }
}

void channel_can_receive(struct channel *channel)
{
    loop_work_schedule(channel->loop, &channel->work);
}

void channel_end(struct channel *channel)
{
    atomic_store(&channel->ending, true);
}

void channel_destroy(struct channel *channel)
{
    if (!channel)
        return;
    loop_work_cancel(channel->loop, &channel->work);
    acceptor_destroy(channel->acceptor);
    listener_close(&channel->listener);
    hang_up(channel);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

int channel_create(struct loop *loop, const char *path, channel_receive_fn receive, void *opaque, struct channel **out,
                   struct error *err)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    int rc;

    if (!channel)
        return error_set(err, -ENOMEM, "no memory for a channel");
    channel->loop = loop;
    channel->receive = receive;
    channel->opaque = opaque;
    channel->work = (struct loop_work){.fn = room_in_guest, .opaque = channel};
    channel->fd = -1;
    pthread_mutex_init(&channel->lock, NULL);
    rc = vsock_host_listen(path, &channel->listener, err);
    if (rc == 0) {
        rc = acceptor_create(loop, channel->listener.fd, somebody_connects, channel, &channel->acceptor);
        if (rc)
            error_set(err, rc, "the socket '%s' cannot be waited for: %s", path, strerror(-rc));
    }
    if (rc) {
        channel_destroy(channel);
        return rc;
    }
    *out = channel;
    return 0;
}
