/* Tap interfaces; see tap.h. One descriptor a queue pair; each is watched only while somebody waits for it, so that a
 * guest that does not take packets leaves them in the kernel's queue. */
#include "dev/net/tap.h"

#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct net_tap;

struct tap_queue {
    struct net_tap *tap;
    int fd;
    bool watched;
    _Atomic uint32_t waits; /* EPOLLIN, EPOLLOUT: what somebody was told -EAGAIN about */
};

struct net_tap {
    struct net_backend base;
    struct loop *loop;
    char name[IFNAMSIZ];
    struct tap_queue queues[NET_PAIRS_MAX];
};

static void tap_ready(void *opaque, int fd, uint32_t events)
{
    struct tap_queue *queue = opaque;
    struct net_tap *tap = queue->tap;
    unsigned pair = (unsigned)(queue - tap->queues);
    uint32_t ready = queue->waits & events;

    if (events & (EPOLLERR | EPOLLHUP)) /* the interface was deleted */
        ready = queue->waits;
    queue->waits &= ~ready;
    (void)loop_fd_modify(tap->loop, fd, queue->waits); /* only fails for a descriptor that is not watched */
    if (events & (EPOLLERR | EPOLLHUP)) {
        loop_fd_remove(tap->loop, fd);
        queue->watched = false;
        if (tap->base.front)
            tap->base.front->link(tap->base.front_opaque, false);
        return;
    }
    if (!tap->base.front)
        return;
    if (ready & EPOLLIN)
        tap->base.front->readable(tap->base.front_opaque, pair);
    if (ready & EPOLLOUT)
        tap->base.front->writable(tap->base.front_opaque, pair);
}

static int wait_for(struct tap_queue *queue, uint32_t event)
{
    queue->waits |= event;
    if (queue->watched)
        (void)loop_fd_modify(queue->tap->loop, queue->fd, queue->waits);
    return -EAGAIN;
}

static int tap_send(struct net_backend *backend, unsigned pair, const struct net_header *header,
                    const struct iovec *iov, unsigned count, size_t len)
{
    struct net_tap *tap = (struct net_tap *)backend;
    struct iovec all[NET_IOV_MAX + 1];

    assert(count <= NET_IOV_MAX && pair < backend->pairs);
    all[0] = (struct iovec){.iov_base = (void *)(uintptr_t)header, .iov_len = sizeof(*header)};
    memcpy(all + 1, iov, count * sizeof(*iov));
    if (writev(tap->queues[pair].fd, all, (int)count + 1) >= 0)
        return 0;
    if (errno == EAGAIN)
        return wait_for(&tap->queues[pair], EPOLLOUT);
    backend->stats.dropped++; /* a malformed packet, or an interface that is down */
    return 0;
}

static ssize_t tap_receive(struct net_backend *backend, unsigned pair, struct net_header *header,
                           const struct iovec *iov, unsigned count)
{
    struct net_tap *tap = (struct net_tap *)backend;
    struct iovec all[NET_IOV_MAX + 1];
    ssize_t len;

    assert(count <= NET_IOV_MAX && pair < backend->pairs);
    all[0] = (struct iovec){.iov_base = header, .iov_len = sizeof(*header)};
    memcpy(all + 1, iov, count * sizeof(*iov));
    len = readv(tap->queues[pair].fd, all, (int)count + 1);
    if (len >= (ssize_t)sizeof(*header))
        return len - (ssize_t)sizeof(*header);
    return wait_for(&tap->queues[pair], EPOLLIN);
}

static const struct {
    uint32_t gives;
    unsigned tun;
} offload_names[] = {
    {NET_GIVES_CSUM, TUN_F_CSUM},
    {NET_GIVES_CSUM | NET_GIVES_TSO4, TUN_F_TSO4},
    {NET_GIVES_CSUM | NET_GIVES_TSO6, TUN_F_TSO6},
    {NET_GIVES_CSUM | NET_GIVES_TSO4 | NET_GIVES_TSO6 | NET_GIVES_ECN, TUN_F_TSO_ECN},
    {NET_GIVES_CSUM | NET_GIVES_UFO, TUN_F_UFO},
};

static void tap_set_offloads(struct net_backend *backend, uint32_t gives)
{
    struct net_tap *tap = (struct net_tap *)backend;
    unsigned flags = 0;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(offload_names); i++) {
        if ((gives & offload_names[i].gives) == offload_names[i].gives)
            flags |= offload_names[i].tun;
    }
    for (unsigned i = 0; i < backend->pairs; i++) {
        /* Kernels from 6.2 on know no UFO by this name. */
        if (ioctl(tap->queues[i].fd, TUNSETOFFLOAD, (unsigned long)flags))
            (void)ioctl(tap->queues[i].fd, TUNSETOFFLOAD, (unsigned long)(flags & ~(unsigned)TUN_F_UFO));
    }
}

static void tap_destroy(struct net_backend *backend)
{
    struct net_tap *tap = (struct net_tap *)backend;

    for (unsigned i = 0; i < NET_PAIRS_MAX; i++) {
        if (tap->queues[i].watched)
            loop_fd_remove(tap->loop, tap->queues[i].fd);
        if (tap->queues[i].fd >= 0)
            close(tap->queues[i].fd);
    }
    free(tap);
}

static const struct net_backend_ops tap_ops = {
    .name = "tap",
    .send = tap_send,
    .receive = tap_receive,
    .set_offloads = tap_set_offloads,
    .destroy = tap_destroy,
};

const char *net_tap_name(const struct net_backend *backend)
{
    const struct net_tap *tap = (const struct net_tap *)backend;

    assert(backend->ops == &tap_ops);
    return tap->name;
}

static int open_queue(struct net_tap *tap, struct tap_queue *queue, struct error *err)
{
    struct ifreq request = {
        .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (tap->base.pairs > 1 ? IFF_MULTI_QUEUE : 0))};
    int header_bytes = sizeof(struct net_header), rc;

    queue->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (queue->fd < 0) {
        rc = -errno;
        return error_set(err, rc, "/dev/net/tun cannot be opened, so there are no tap interfaces here: %s",
                         strerror(-rc));
    }
    memcpy(request.ifr_name, tap->name, IFNAMSIZ);
    if (ioctl(queue->fd, TUNSETIFF, &request)) {
        rc = -errno;
        return error_set(err, rc, "tap interface '%s' cannot be used: %s%s", tap->name[0] ? tap->name : "tapN",
                         strerror(-rc),
                         rc == -EPERM ? " (making one needs root; one of your own is made by ip tuntap add)" : "");
    }
    memcpy(tap->name, request.ifr_name, IFNAMSIZ);
    if (ioctl(queue->fd, TUNSETVNETHDRSZ, &header_bytes)) {
        rc = -errno;
        return error_set(err, rc, "tap interface '%s' takes no virtio headers: %s", tap->name, strerror(-rc));
    }
    rc = loop_fd_add(tap->loop, queue->fd, 0, tap_ready, queue);
    queue->watched = rc == 0;
    return rc ? error_set(err, rc, "tap interface '%s' cannot be watched: %s", tap->name, strerror(-rc)) : 0;
}

static uint16_t interface_mtu(const char *name)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu = NET_MTU_ETHERNET;

    memcpy(request.ifr_name, name, IFNAMSIZ);
    if (fd >= 0 && ioctl(fd, SIOCGIFMTU, &request) == 0)
        mtu = request.ifr_mtu;
    if (fd >= 0)
        close(fd);
    return (uint16_t)(mtu < NET_MTU_MIN ? NET_MTU_MIN : mtu > NET_MTU_MAX ? NET_MTU_MAX : mtu);
}

int net_tap_create(const struct net_tap_config *config, struct net_backend **out, struct error *err)
{
    struct net_tap *tap;
    int rc = 0;

    if (config->name && (!config->name[0] || strlen(config->name) >= IFNAMSIZ))
        return error_set(err, -EINVAL, "'%s' cannot be an interface's name: it has 1 to %d characters", config->name,
                         IFNAMSIZ - 1);
    tap = calloc(1, sizeof(*tap));
    if (!tap)
        return error_set(err, -ENOMEM, "no memory for a network");
    tap->base.ops = &tap_ops;
    tap->base.can = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_TAKES_ECN | NET_TAKES_UFO | NET_GIVES_CSUM |
                    NET_GIVES_TSO4 | NET_GIVES_TSO6 | NET_GIVES_ECN;
    tap->base.pairs = config->pairs ? config->pairs : 1;
    assert(tap->base.pairs <= NET_PAIRS_MAX);
    tap->loop = config->loop;
    if (config->name)
        strcpy(tap->name, config->name);
    for (unsigned i = 0; i < NET_PAIRS_MAX; i++)
        tap->queues[i] = (struct tap_queue){.tap = tap, .fd = -1};
    for (unsigned i = 0; i < tap->base.pairs && !rc; i++)
        rc = open_queue(tap, &tap->queues[i], err);
    if (rc) {
        tap_destroy(&tap->base);
        return rc;
    }
    tap_set_offloads(&tap->base, 0);
    tap->base.mtu = config->mtu ? config->mtu : interface_mtu(tap->name);
    *out = &tap->base;
    return 0;
}
