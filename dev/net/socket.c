/* A wire to another virtual machine; see socket.h.
 *
 * Checksums that the guest left to its device are computed here, over the guest's own buffers, and the two bytes sent
 * from a place of ours: nothing is copied. What the other side sends is not trusted more than a wire: a message that is
 * no frame is dropped.
 */
#include "dev/net/socket.h"

#include "base/acceptor.h"
#include "base/loop.h"
#include "dev/iov.h"
#include "dev/net/checksum.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    RETRY_NS = 200 * 1000 * 1000, /* how soon a side that found nobody looks again */
    SOCKET_BUFFER_BYTES = 1 << 20,
};

struct net_socket {
    struct net_backend base;
    struct loop *loop;
    struct sockaddr_un address;
    char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
    int lock_fd;   /* -1: the other side's */
    int listen_fd; /* -1: this side connects */
    struct acceptor *acceptor;
    int fd; /* -1: nobody there */
    uint32_t waits;
    struct loop_timer *retry;
};

static void link_is(struct net_socket *wire, bool up)
{
    if (wire->base.front)
        wire->base.front->link(wire->base.front_opaque, up);
}

static void close_watched(struct net_socket *wire, int *fd)
{
    if (*fd < 0)
        return;
    loop_fd_remove(wire->loop, *fd);
    close(*fd);
    *fd = -1;
}

static void hang_up(struct net_socket *wire)
{
    if (wire->fd < 0)
        return;
    close_watched(wire, &wire->fd);
    link_is(wire, false);
    if (wire->listen_fd < 0)
        loop_timer_arm(wire->retry, loop_now_ns());
}

static void wire_ready(void *opaque, int fd, uint32_t events)
{
    struct net_socket *wire = opaque;
    uint32_t ready = wire->waits & events;

    if (events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN)) {
        hang_up(wire);
        return;
    }
    wire->waits &= ~ready;
    (void)loop_fd_modify(wire->loop, fd, wire->waits);
    if (!wire->base.front)
        return;
    if (ready & EPOLLIN)
        wire->base.front->readable(wire->base.front_opaque, 0);
    if (ready & EPOLLOUT)
        wire->base.front->writable(wire->base.front_opaque, 0);
}

/* The wire is up on `fd`, which becomes the back end's. */
static void connected(struct net_socket *wire, int fd)
{
    int bytes = SOCKET_BUFFER_BYTES;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)); /* the default still holds a packet */
    wire->waits = EPOLLIN;
    if (loop_fd_add(wire->loop, fd, wire->waits, wire_ready, wire)) {
        close(fd);
        loop_timer_arm(wire->retry, loop_now_ns() + RETRY_NS);
        return;
    }
    wire->fd = fd;
    link_is(wire, true);
    if (wire->base.front)
        wire->base.front->writable(wire->base.front_opaque, 0);
}

static void somebody_connects(void *opaque, int fd)
{
    struct net_socket *wire = opaque;

    if (wire->fd >= 0)
        close(fd); /* a wire has two ends */
    else
        connected(wire, fd);
}

static int new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

/* With the lock held nobody else listens there: what is left of a socket is stale. */
static int listen_at(struct net_socket *wire)
{
    int fd = new_socket(), rc;

    if (fd < 0)
        return fd;
    unlink(wire->address.sun_path);
    rc = bind(fd, (struct sockaddr *)&wire->address, sizeof(wire->address)) || listen(fd, 1) ? -errno : 0;
    if (!rc)
        rc = acceptor_create(wire->loop, fd, somebody_connects, wire, &wire->acceptor);
    if (rc) {
        close(fd);
        return rc;
    }
    wire->listen_fd = fd;
    return 0;
}

static int connect_to(struct net_socket *wire)
{
    int fd = new_socket(), rc;

    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&wire->address, sizeof(wire->address))) {
        rc = -errno;
        close(fd);
        return rc;
    }
    connected(wire, fd);
    return 0;
}

/* Holds the lock from now on? Returns 0, -EWOULDBLOCK (the other side does) or another errno. */
static int take_lock(struct net_socket *wire)
{
    int fd = open(wire->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    wire->lock_fd = fd;
    return 0;
}

/* Becomes the listener, or connects to it. */
static int join(struct net_socket *wire)
{
    int rc = wire->lock_fd < 0 ? take_lock(wire) : 0;

    if (rc == 0)
        return listen_at(wire);
    return rc == -EWOULDBLOCK ? connect_to(wire) : rc;
}

static void retry(void *opaque)
{
    struct net_socket *wire = opaque;

    if (wire->fd < 0 && wire->listen_fd < 0 && join(wire))
        loop_timer_arm(wire->retry, loop_now_ns() + RETRY_NS);
}

static int wait_for(struct net_socket *wire, uint32_t event)
{
    wire->waits |= event;
    (void)loop_fd_modify(wire->loop, wire->fd, wire->waits);
    return -EAGAIN;
}

static int socket_send(struct net_backend *backend, unsigned pair, const struct net_header *header,
                       const struct iovec *iov, unsigned count, size_t len)
{
    struct net_socket *wire = (struct net_socket *)backend;
    struct iovec all[NET_IOV_MAX + 4];
    struct msghdr message = {.msg_iov = all};
    uint8_t flags = header->flags & (NET_HEADER_NEEDS_CSUM | NET_HEADER_DATA_VALID) ? NET_HEADER_DATA_VALID : 0;
    uint16_t sum;
    unsigned used = 1;

    assert(count <= NET_IOV_MAX);
    if (wire->fd < 0) { /* a cable that ends nowhere */
        backend->stats.dropped++;
        return 0;
    }
    all[0] = (struct iovec){.iov_base = &flags, .iov_len = 1};
    if (header->flags & NET_HEADER_NEEDS_CSUM) {
        size_t at = (size_t)header->csum_start + header->csum_offset;
        sum = net_checksum_finish(header, iov, count);
        used += iov_part(iov, count, 0, at, all + used, count);
        all[used++] = (struct iovec){.iov_base = &sum, .iov_len = sizeof(sum)};
        used += iov_part(iov, count, at + sizeof(sum), len - at - sizeof(sum), all + used, count);
    } else {
        used += iov_part(iov, count, 0, len, all + used, count);
    }
    message.msg_iovlen = used;
    if (sendmsg(wire->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 0;
    if (errno == EAGAIN)
        return wait_for(wire, EPOLLOUT);
    backend->stats.dropped++; /* the other side has just gone, which the loop will see */
    return 0;
}

static ssize_t socket_receive(struct net_backend *backend, unsigned pair, struct net_header *header,
                              const struct iovec *iov, unsigned count)
{
    struct net_socket *wire = (struct net_socket *)backend;
    struct iovec all[NET_IOV_MAX + 1];
    uint8_t flags;
    ssize_t len;

    assert(count <= NET_IOV_MAX);
    if (wire->fd < 0)
        return -EAGAIN;
    all[0] = (struct iovec){.iov_base = &flags, .iov_len = 1};
    memcpy(all + 1, iov, count * sizeof(*iov));
    for (;;) {
        struct msghdr message = {.msg_iov = all, .msg_iovlen = count + 1};
        len = recvmsg(wire->fd, &message, MSG_DONTWAIT);
        if (len <= 0) /* nothing, or the end: a hang-up is reported whatever is waited for */
            return len < 0 && errno == EAGAIN ? wait_for(wire, EPOLLIN) : wait_for(wire, 0);
        if (len > NET_FRAME_MIN_BYTES)
            break;
        backend->stats.dropped++;
    }
    *header = (struct net_header){.flags = flags & NET_HEADER_DATA_VALID};
    return len - 1;
}

static void socket_destroy(struct net_backend *backend)
{
    struct net_socket *wire = (struct net_socket *)backend;

    wire->base.front = NULL;
    loop_timer_destroy(wire->retry);
    close_watched(wire, &wire->fd);
    acceptor_destroy(wire->acceptor);
    if (wire->listen_fd >= 0) {
        unlink(wire->address.sun_path);
        close(wire->listen_fd);
    }
    if (wire->lock_fd >= 0)
        close(wire->lock_fd); /* the file stays: without it two listeners could follow */
    free(wire);
}

static const struct net_backend_ops socket_ops = {
    .name = "socket",
    .send = socket_send,
    .receive = socket_receive,
    .destroy = socket_destroy,
};

int net_socket_create(const struct net_socket_config *config, struct net_backend **out, struct error *err)
{
    struct net_socket *wire = calloc(1, sizeof(*wire));
    int rc;

    if (!wire)
        return error_set(err, -ENOMEM, "no memory for a network");
    wire->base.ops = &socket_ops;
    wire->base.can = NET_TAKES_CSUM | NET_GIVES_CSUM;
    wire->base.mtu = config->mtu ? config->mtu : NET_MTU_MAX;
    wire->base.pairs = 1;
    wire->base.starts_down = true;
    wire->loop = config->loop;
    wire->lock_fd = wire->listen_fd = wire->fd = -1;
    wire->address.sun_family = AF_UNIX;
    if (!config->path[0] || strlen(config->path) >= sizeof(wire->address.sun_path)) {
        free(wire);
        return error_set(err, -ENAMETOOLONG, "'%.60s' cannot be a socket's path: it has 1 to %zu characters",
                         config->path, sizeof(wire->address.sun_path) - 1);
    }
    strcpy(wire->address.sun_path, config->path);
    snprintf(wire->lock_path, sizeof(wire->lock_path), "%s.lock", config->path);
    rc = loop_timer_create(wire->loop, retry, wire, &wire->retry);
    if (rc) {
        free(wire);
        return error_set(err, rc, "no timer for the socket '%s': %s", config->path, strerror(-rc));
    }
    rc = take_lock(wire);
    if (rc == 0)
        rc = listen_at(wire);
    else if (rc == -EWOULDBLOCK)
        rc = 0;
    if (rc) {
        socket_destroy(&wire->base);
        return error_set(err, rc, "the socket '%s' can be neither made nor reached: %s", config->path, strerror(-rc));
    }
    loop_timer_arm(wire->retry, 0); /* on the loop's thread, when there is a front end to hear of the link */
    *out = &wire->base;
    return 0;
}
