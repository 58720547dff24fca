/* The host's side of a network device: where its packets go and come from. user.h, tap.h and socket.h implement it;
 * dev/virtio/virtio_net.c is in front of it.
 *
 * Threads: everything between attach and destroy happens on the device loop's thread, but set_offloads(), which any
 * thread may call that holds the front end's lock. send(), receive(), flush() and room() are called with the front
 * end's lock held; front->deliver() may be called back from within them (the front end knows that it is the caller),
 * readable() and writable() may not. Neither side blocks.
 *
 * A back end either hands packets over (deliver) or has them fetched (receive != NULL), which lets the host's kernel
 * write straight into the guest's buffers.
 */
#ifndef TUFF_DEV_NET_BACKEND_H
#define TUFF_DEV_NET_BACKEND_H

#include "base/compiler.h"
#include "dev/net/header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
    NET_PAIRS_MAX = 8,
    NET_IOV_MAX = 1000, /* iovecs of a packet that send() and receive() get: below UIO_MAXIOV with room for a header */
};

/* What a back end can do beyond whole Ethernet frames. TAKES: of packets sent to it; GIVES: what it may hand over once
 * set_offloads() has allowed it. The headers of those it takes are checked by the front end. */
enum {
    NET_TAKES_CSUM = 1 << 0,
    NET_TAKES_TSO4 = 1 << 1,
    NET_TAKES_TSO6 = 1 << 2,
    NET_TAKES_ECN = 1 << 3,
    NET_TAKES_UFO = 1 << 4,
    NET_GIVES_CSUM = 1 << 5, /* NET_HEADER_NEEDS_CSUM and NET_HEADER_DATA_VALID */
    NET_GIVES_TSO4 = 1 << 6,
    NET_GIVES_TSO6 = 1 << 7,
    NET_GIVES_ECN = 1 << 8,
    NET_GIVES_UFO = 1 << 9,
};

struct net_backend;

struct net_front_ops {
    /* Takes a frame of `len` bytes, of which it copies what it keeps. false: no room now; room() is called when there
     * is, and until then the frame is the back end's. Packets that the guest does not want count as taken. */
    bool (*deliver)(void *opaque, const struct net_header *header, const void *frame, size_t len);
    /* After one or more deliver() outside of calls from the front end: the guest may be told. */
    void (*delivered)(void *opaque);
    /* receive() said -EAGAIN for this queue pair, and has something now. */
    void (*readable)(void *opaque, unsigned pair);
    /* send() said -EAGAIN, and takes packets again. */
    void (*writable)(void *opaque, unsigned pair);
    /* The other side came or went. A back end without such news is always up. */
    void (*link)(void *opaque, bool up);
};

struct net_backend_stats {
    uint64_t queued;  /* packets that had to wait for the guest's buffers */
    uint64_t dropped; /* packets for the guest, or malformed ones of it, that were thrown away */
};

struct net_backend_ops {
    const char *name;
    /* Sends the frame in `iov` (`len` bytes, NET_FRAME_MIN_BYTES..NET_FRAME_MAX_BYTES, at most NET_IOV_MAX entries;
     * guest memory, which changes under the reader). Returns 0 when it was taken or thrown away, or -EAGAIN: not taken,
     * writable() will be called. */
    int (*send)(struct net_backend *backend, unsigned pair, const struct net_header *header, const struct iovec *iov,
                unsigned count, size_t len);
    /* The end of a turn in which packets were sent. May be NULL. */
    void (*flush)(struct net_backend *backend);
    /* Fetches one frame into `iov` (at most NET_IOV_MAX entries). Returns its length, or -EAGAIN: nothing there,
     * readable() will be called. What does not fit is cut off. NULL: packets are delivered. */
    ssize_t (*receive)(struct net_backend *backend, unsigned pair, struct net_header *header, const struct iovec *iov,
                       unsigned count);
    /* The front end has room again after a refused deliver(). NULL with receive(). */
    void (*room)(struct net_backend *backend);
    /* Which of the back end's NET_GIVES_* may be used from now on; none at first. May be NULL. */
    void (*set_offloads)(struct net_backend *backend, uint32_t gives);
    void (*destroy)(struct net_backend *backend);
};

/* First member of each back end's struct. The creator of a back end owns it until a front end takes it over. */
struct net_backend {
    const struct net_backend_ops *ops;
    uint32_t can;     /* NET_TAKES_*, NET_GIVES_* */
    uint16_t mtu;     /* largest IP packet without segmentation */
    uint16_t pairs;   /* queue pairs it can serve, at least 1 */
    bool any_pair;    /* delivers; the front end chooses the pair */
    bool starts_down; /* no link until link() says so */
    const struct net_front_ops *front;
    void *front_opaque;
    struct net_backend_stats stats;
};

/* Connects the two sides, before the loop runs; packets for the guest may come from then on. */
static inline void net_backend_attach(struct net_backend *backend, const struct net_front_ops *front, void *opaque)
{
    backend->front = front;
    backend->front_opaque = opaque;
}

/* Frees it and closes what it has open. The loop has stopped, or this is its thread. NULL is allowed. */
static inline void net_backend_destroy(struct net_backend *backend)
{
    if (backend)
        backend->ops->destroy(backend);
}

#endif
