/* The socket device; see virtio_vsock.h. Section numbers are those of virtio 1.2.
 *
 * What must stay true:
 * - Connections are looked up, changed and freed under the device's lock, on the loop's thread; only a reset, which may
 *   be on any thread, takes all of them out of the table first and frees them without it (`GONE`), as a callback may
 *   be waiting for the lock with one of them in hand.
 * - Data goes between the guest's buffers and the host's socket as it is. Only what a host does not take at once is
 *   copied, at most VIRTIO_VSOCK_BUFFER_BYTES a connection, which is the credit that the guest has (5.10.6.3).
 * - What the guest is to be told waits as bits of its connection, and as a short list of refusals to connections that
 *   there are not; while that list is full no more packets are taken. So the guest can make nothing grow.
 */
#include "dev/virtio/virtio_vsock.h"

#include "base/acceptor.h"
#include "base/log.h"
#include "dev/iov.h"
#include "dev/vsock/vsock_host.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DEVICE_ID = 19,
    QUEUE_SIZE = 128,
    QUEUE_TO_GUEST = 0,
    QUEUE_FROM_GUEST = 1,
    QUEUE_EVENTS = 2,
    QUEUES = 3,
    CONFIG_BYTES = 8,
    HOST_CID = 2,
    TYPE_STREAM = 1,
    PACKET_BYTES_MAX = 64 << 10,
    PIECES_MAX = 64, /* of a packet, for one call of the host */
    BUCKETS = 256,
    REFUSALS_MAX = 64,
    EVENT_TRANSPORT_RESET = 0,

    /* 5.10.6 */
    OP_REQUEST = 1,
    OP_RESPONSE = 2,
    OP_RST = 3,
    OP_SHUTDOWN = 4,
    OP_RW = 5,
    OP_CREDIT_UPDATE = 6,
    OP_CREDIT_REQUEST = 7,

    /* What the guest is to be told of a connection, in this order. */
    TELL_RST = 1 << 0,
    TELL_REQUEST = 1 << 1,
    TELL_RESPONSE = 1 << 2,
    TELL_CREDIT = 1 << 3,
    TELL_CREDIT_REQUEST = 1 << 4,
    TELL_SHUTDOWN = 1 << 5,

    /* Of a shutdown: who sends it does not receive or send any more. */
    NO_RECEIVE = 1,
    NO_SEND = 2,
    NO_BOTH = 3,
};

#define F_STREAM (UINT64_C(1) << 0)

/* Ports of the host that connections of its programs seem to come from in the guest. */
static const uint32_t first_port = UINT32_C(1) << 30, last_port = (UINT32_C(1) << 31) - 1;

struct header {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
};

enum { HEADER_BYTES = 44 }; /* without the padding at the end of the host's struct */
_Static_assert(offsetof(struct header, fwd_cnt) + 4 == HEADER_BYTES, "5.10.6");

enum state {
    GREETING, /* the host's program has not said to which port; it has no place in the guest yet */
    ASKED,    /* the guest has not answered */
    OPEN,
    REFUSED, /* over; the guest is still to be told */
    GONE,    /* not in the table any more */
};

struct conn {
    LIST_ENTRY(conn) in_bucket;
    TAILQ_ENTRY(conn) in_ready;
    bool is_ready; /* in the list of those with something for the guest */
    struct virtio_vsock *vsock;
    enum state state;
    uint32_t host_port, guest_port;
    int fd;           /* -1: the host's end is closed */
    bool is_watched;  /* by the loop */
    uint32_t watched; /* events */
    uint8_t tell;
    bool readable;               /* the host may have something */
    bool hung_up;                /* it will not take anything */
    uint8_t host_no, guest_no;   /* NO_ bits: what the guest was or is to be told, what it told */
    bool credit_asked;           /* since there was none left */
    uint32_t sent, alloc, freed; /* to the guest: bytes, its buffer, how many it took out of that */
    uint32_t taken, taken_told;  /* from the guest: what the host took, and what the guest knows of that */
    unsigned start, len;         /* of `buffer` */
    uint8_t *buffer;             /* NULL until it is needed */
    struct vsock_greeting greeting;
};

LIST_HEAD(bucket, conn);
TAILQ_HEAD(ready, conn);

struct virtio_vsock {
    struct virtio_device dev;
    uint8_t tell_reset; /* saved: the guest is to be told that connections are gone */
    /* Under the device's lock. */
    struct bucket buckets[BUCKETS];
    struct ready ready;
    unsigned count; /* of connections */
    uint32_t next_port;
    struct {
        uint32_t host_port, guest_port;
    } refusals[REFUSALS_MAX];
    unsigned refusal_count;
    bool held_up; /* packets are left for want of room for refusals */
    uint64_t connections, refused, resets, bytes_in, bytes_out;
    struct virtq_chain chain; /* within one call */
    /* Constant. */
    uint32_t cid;
    struct listener listener;
    struct acceptor *acceptor; /* NULL: nobody is waited for yet */
    char path[VSOCK_PATH_MAX + 1];
};

static const struct device_field vsock_fields[] = {
    DEVICE_FIELD(struct virtio_vsock, tell_reset, 1),
    {0},
};

/* ---- connections ---- */

static struct bucket *bucket_of(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port)
{
    return &v->buckets[((host_port ^ guest_port * UINT32_C(0x85ebca6b)) * UINT32_C(0x9e3779b1)) >> 24];
}

static struct conn *find(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port)
{
    struct conn *conn;

    LIST_FOREACH(conn, bucket_of(v, host_port, guest_port), in_bucket)
    {
        if (conn->state != GREETING && conn->host_port == host_port && conn->guest_port == guest_port)
            return conn;
    }
    return NULL;
}

/* Takes the descriptor over, also when there is no memory (NULL). */
static struct conn *conn_new(struct virtio_vsock *v, int fd, enum state state, uint32_t host_port, uint32_t guest_port)
{
    struct conn *conn = v->count < VIRTIO_VSOCK_CONNECTIONS_MAX ? calloc(1, sizeof(*conn)) : NULL;

    if (!conn) {
        v->refused++;
        close(fd);
        return NULL;
    }
    conn->vsock = v;
    conn->fd = fd;
    conn->state = state;
    conn->host_port = host_port;
    conn->guest_port = guest_port;
    LIST_INSERT_HEAD(bucket_of(v, host_port, guest_port), conn, in_bucket);
    v->count++;
    return conn;
}

static void not_ready(struct conn *conn)
{
    if (conn->is_ready)
        TAILQ_REMOVE(&conn->vsock->ready, conn, in_ready);
    conn->is_ready = false;
}

static void make_ready(struct conn *conn)
{
    if (!conn->is_ready)
        TAILQ_INSERT_TAIL(&conn->vsock->ready, conn, in_ready);
    conn->is_ready = true;
    virtio_schedule(&conn->vsock->dev, QUEUE_TO_GUEST);
}

static void tell(struct conn *conn, uint8_t what)
{
    conn->tell |= what;
    make_ready(conn);
}

static void unwatch(struct conn *conn)
{
    if (conn->is_watched)
        loop_fd_remove(conn->vsock->dev.loop, conn->fd);
    conn->is_watched = false;
    conn->watched = 0;
}

static void close_host(struct conn *conn)
{
    if (conn->fd < 0)
        return;
    unwatch(conn);
    close(conn->fd);
    conn->fd = -1;
}

/* Of a connection that is in no list any more. */
static void conn_destroy(struct conn *conn)
{
    close_host(conn);
    free(conn->buffer);
    free(conn);
}

/* With the lock, on the loop's thread. */
static void conn_free(struct conn *conn)
{
    not_ready(conn);
    LIST_REMOVE(conn, in_bucket);
    conn->vsock->count--;
    conn_destroy(conn);
}

/* Nothing more comes of it; the guest is told. */
static void conn_end(struct conn *conn)
{
    close_host(conn);
    conn->state = REFUSED;
    conn->tell = 0;
    tell(conn, TELL_RST);
}

/* The same before its time. */
static void conn_reset(struct conn *conn)
{
    conn->vsock->resets++;
    conn_end(conn);
}

static void host_event(void *opaque, int fd, uint32_t events);

static void watch(struct conn *conn, uint32_t events)
{
    struct loop *loop = conn->vsock->dev.loop;
    int rc = 0;

    if (conn->fd < 0 || conn->hung_up || (conn->is_watched && conn->watched == events))
        return;
    if (conn->is_watched)
        rc = loop_fd_modify(loop, conn->fd, events);
    else
        rc = loop_fd_add(loop, conn->fd, events, host_event, conn);
    if (rc) {
        conn_reset(conn);
        return;
    }
    conn->is_watched = true;
    conn->watched = events;
}

/* ---- from the guest to the host ---- */

static void refuse(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port)
{
    v->refusals[v->refusal_count].host_port = host_port;
    v->refusals[v->refusal_count++].guest_port = guest_port;
    virtio_schedule(&v->dev, QUEUE_TO_GUEST);
}

/* The guest knows too little of what was taken. */
static void give_credit(struct conn *conn)
{
    if (conn->taken - conn->taken_told >= VIRTIO_VSOCK_BUFFER_BYTES / 4)
        tell(conn, TELL_CREDIT);
}

/* All that the guest sent is with the host: what its shutdown asked for can be done. */
static void finish_shutdown(struct conn *conn)
{
    if (conn->guest_no == NO_BOTH)
        conn_end(conn);
    else if ((conn->guest_no & NO_SEND) && conn->fd >= 0)
        shutdown(conn->fd, SHUT_WR);
}

static ssize_t send_pieces(struct conn *conn, struct iovec *iov, unsigned count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t sent = sendmsg(conn->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent < 0)
        return errno == EAGAIN ? 0 : -errno;
    conn->taken += (uint32_t)sent;
    conn->vsock->bytes_out += (uint64_t)sent;
    return sent;
}

static void flush(struct conn *conn)
{
    while (conn->len) {
        unsigned tail = VIRTIO_VSOCK_BUFFER_BYTES - conn->start;
        struct iovec iov[2] = {{conn->buffer + conn->start, conn->len < tail ? conn->len : tail}};
        iov[1] = (struct iovec){conn->buffer, conn->len - iov[0].iov_len};
        ssize_t sent = send_pieces(conn, iov, 2);
        if (sent < 0) {
            conn_reset(conn);
            return;
        }
        if (sent == 0) {
            give_credit(conn);
            watch(conn, conn->watched | EPOLLOUT);
            return;
        }
        conn->start = (conn->start + (unsigned)sent) % VIRTIO_VSOCK_BUFFER_BYTES;
        conn->len -= (unsigned)sent;
    }
    free(conn->buffer);
    conn->buffer = NULL;
    watch(conn, conn->watched & ~(uint32_t)EPOLLOUT);
    if (conn->state == OPEN) {
        give_credit(conn);
        finish_shutdown(conn);
    }
}

/* Keeps bytes [at, at + len) of the packet in v->chain. */
static bool keep(struct conn *conn, uint64_t at, size_t len)
{
    const struct virtq_chain *chain = &conn->vsock->chain;

    if (!conn->buffer) {
        conn->buffer = malloc(VIRTIO_VSOCK_BUFFER_BYTES);
        conn->start = 0;
    }
    if (!conn->buffer)
        return false;
    while (len) {
        unsigned end = (conn->start + conn->len) % VIRTIO_VSOCK_BUFFER_BYTES;
        size_t room = VIRTIO_VSOCK_BUFFER_BYTES - end, part = len < room ? len : room;
        iov_to_buf(virtq_readable(chain), chain->readable_count, at, conn->buffer + end, part);
        conn->len += (unsigned)part;
        at += part;
        len -= part;
    }
    return true;
}

static void handle_data(struct conn *conn, size_t len)
{
    const struct virtq_chain *chain = &conn->vsock->chain;
    struct iovec pieces[PIECES_MAX];
    ssize_t sent = 0;

    if (conn->state != OPEN || conn->fd < 0 || conn->hung_up || conn->guest_no & NO_SEND ||
        len > VIRTIO_VSOCK_BUFFER_BYTES - conn->len) {
        conn_reset(conn);
        return;
    }
    if (!conn->len) {
        unsigned count = iov_part(virtq_readable(chain), chain->readable_count, HEADER_BYTES, len, pieces, PIECES_MAX);
        sent = count ? send_pieces(conn, pieces, count) : 0;
    }
    if (sent < 0 || ((size_t)sent < len && !keep(conn, HEADER_BYTES + (uint64_t)sent, len - (size_t)sent))) {
        conn_reset(conn);
        return;
    }
    if (conn->len)
        watch(conn, conn->watched | EPOLLOUT);
    if (conn->state == OPEN)
        give_credit(conn);
}

static void handle_request(struct virtio_vsock *v, const struct header *header)
{
    int fd = vsock_host_connect(v->path, header->dst_port);
    struct conn *conn = NULL;

    if (fd >= 0)
        conn = conn_new(v, fd, OPEN, header->dst_port, header->src_port);
    else
        v->refused++;
    if (!conn) {
        refuse(v, header->dst_port, header->src_port);
        return;
    }
    v->connections++;
    conn->alloc = header->buf_alloc;
    conn->freed = header->fwd_cnt;
    tell(conn, TELL_RESPONSE);
    watch(conn, EPOLLIN);
}

static void handle_response(struct conn *conn)
{
    if (conn->state != ASKED || vsock_host_accepted(conn->fd, conn->host_port)) {
        conn_reset(conn);
        return;
    }
    conn->state = OPEN;
    conn->vsock->connections++;
    watch(conn, EPOLLIN);
}

static void handle_shutdown(struct conn *conn, uint32_t flags)
{
    conn->guest_no |= flags & NO_BOTH;
    if (conn->fd < 0 || conn->hung_up)
        conn_end(conn);
    else if (!conn->len)
        finish_shutdown(conn);
}

/* The guest's buffer, as every packet tells it. */
static void take_credit(struct conn *conn, const struct header *header)
{
    conn->alloc = header->buf_alloc;
    conn->freed = header->fwd_cnt;
    conn->credit_asked = false;
    if (conn->readable)
        make_ready(conn);
}

static void handle_of(struct conn *conn, const struct header *header)
{
    take_credit(conn, header);
    switch (header->op) {
    case OP_RESPONSE:
        handle_response(conn);
        return;
    case OP_SHUTDOWN:
        handle_shutdown(conn, header->flags);
        return;
    case OP_RW:
        handle_data(conn, header->len);
        return;
    case OP_CREDIT_UPDATE:
        return;
    case OP_CREDIT_REQUEST:
        tell(conn, TELL_CREDIT);
        return;
    default: /* also a second request */
        conn_reset(conn);
        return;
    }
}

/* The packet in v->chain. There is room for a refusal. */
static void handle_packet(struct virtio_vsock *v)
{
    const struct virtq_chain *chain = &v->chain;
    struct header header;
    struct conn *conn;

    if (iov_to_buf(virtq_readable(chain), chain->readable_count, 0, &header, HEADER_BYTES) < HEADER_BYTES ||
        (header.op == OP_RW && (header.len > chain->readable_bytes - HEADER_BYTES || header.len > PACKET_BYTES_MAX))) {
        log_guest_error("virtio-vsock: a packet is cut off, or longer than %d bytes", PACKET_BYTES_MAX);
        return;
    }
    conn = find(v, header.dst_port, header.src_port);
    if (header.src_cid != v->cid || header.dst_cid != HOST_CID || header.type != TYPE_STREAM) {
        if (header.op != OP_RST)
            refuse(v, header.dst_port, header.src_port);
    } else if (header.op == OP_RST) {
        if (conn)
            conn_free(conn);
    } else if (conn && conn->state != REFUSED) {
        handle_of(conn, &header);
    } else if (!conn && header.op == OP_REQUEST) {
        handle_request(v, &header);
    } else if (!conn) {
        refuse(v, header.dst_port, header.src_port);
    }
}

static bool process_from_guest(struct virtio_vsock *v)
{
    struct virtio_device *dev = &v->dev;
    unsigned count = 0;

    for (;; count++) {
        v->held_up = v->refusal_count == REFUSALS_MAX;
        if (v->held_up || count == VIRTIO_TURN_CHAINS || !virtio_pop(dev, QUEUE_FROM_GUEST, &v->chain))
            break;
        handle_packet(v);
        virtq_push(&dev->queues[QUEUE_FROM_GUEST], &v->chain, 0);
    }
    virtio_interrupt(dev, QUEUE_FROM_GUEST);
    return count == VIRTIO_TURN_CHAINS && !v->held_up;
}

/* ---- from the host to the guest ---- */

static void put_header(struct virtio_vsock *v, const struct header *rest)
{
    struct header header = *rest;

    header.src_cid = HOST_CID;
    header.dst_cid = v->cid;
    header.type = TYPE_STREAM;
    iov_from_buf(virtq_writable(&v->chain), v->chain.writable_count, 0, &header, HEADER_BYTES);
}

static void put_conn_header(struct conn *conn, uint16_t op, uint32_t flags, uint32_t len)
{
    const struct header header = {.src_port = conn->host_port,
                                  .dst_port = conn->guest_port,
                                  .len = len,
                                  .op = op,
                                  .flags = flags,
                                  .buf_alloc = VIRTIO_VSOCK_BUFFER_BYTES,
                                  .fwd_cnt = conn->taken};

    conn->taken_told = conn->taken;
    put_header(conn->vsock, &header);
}

/* Tells the first thing that waits. Returns the packet's length. */
static uint32_t put_told(struct conn *conn)
{
    static const uint16_t ops[] = {OP_RST, OP_REQUEST, OP_RESPONSE, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST, OP_SHUTDOWN};
    unsigned first = (unsigned)__builtin_ctz(conn->tell);

    conn->tell &= (uint8_t)~(1u << first);
    put_conn_header(conn, ops[first], ops[first] == OP_SHUTDOWN ? conn->host_no : 0, 0);
    if (ops[first] == OP_RST)
        conn_free(conn);
    return HEADER_BYTES;
}

/* How much the guest takes of this connection now. */
static uint32_t credit(const struct conn *conn)
{
    uint32_t under_way = conn->sent - conn->freed;

    return under_way < conn->alloc ? conn->alloc - under_way : 0;
}

/* The host sends no more. Where it has gone, nothing else is to be had from its end. */
static void host_ended(struct conn *conn)
{
    conn->readable = false;
    conn->host_no |= conn->hung_up ? NO_BOTH : NO_SEND;
    if (conn->hung_up)
        close_host(conn);
    tell(conn, TELL_SHUTDOWN);
}

/* Reads what the host has into the buffer behind the header. Returns the packet's length, or 0: nothing for now. */
static uint32_t put_data(struct conn *conn)
{
    const struct virtq_chain *chain = &conn->vsock->chain;
    struct iovec pieces[PIECES_MAX];
    uint64_t room = chain->writable_bytes - HEADER_BYTES;

    if (room > credit(conn))
        room = credit(conn);
    if (room > PACKET_BYTES_MAX)
        room = PACKET_BYTES_MAX;
    unsigned count = iov_part(virtq_writable(chain), chain->writable_count, HEADER_BYTES, room, pieces, PIECES_MAX);
    if (!count) {
        if (!conn->credit_asked && !credit(conn))
            tell(conn, TELL_CREDIT_REQUEST);
        conn->credit_asked = true;
        return 0;
    }
    ssize_t got = readv(conn->fd, pieces, (int)count);
    if (got < 0 && errno == EAGAIN) {
        conn->readable = false;
        watch(conn, conn->watched | EPOLLIN);
        return 0;
    }
    if (got <= 0) {
        if (got < 0)
            conn->hung_up = true;
        host_ended(conn);
        return 0;
    }
    put_conn_header(conn, OP_RW, 0, (uint32_t)got);
    conn->sent += (uint32_t)got;
    conn->vsock->bytes_in += (uint64_t)got;
    return HEADER_BYTES + (uint32_t)got;
}

static bool has_data(const struct conn *conn)
{
    return conn->readable && conn->state == OPEN && conn->fd >= 0 && !(conn->guest_no & NO_RECEIVE);
}

/* Fills v->chain with what one connection has for the guest, in turn. Returns the packet's length, or 0: none has. */
static uint32_t put_next(struct virtio_vsock *v)
{
    struct conn *conn;

    if (v->refusal_count) {
        v->refusal_count--;
        const struct header header = {.src_port = v->refusals[v->refusal_count].host_port,
                                      .dst_port = v->refusals[v->refusal_count].guest_port,
                                      .op = OP_RST};
        put_header(v, &header);
        return HEADER_BYTES;
    }
    while ((conn = TAILQ_FIRST(&v->ready))) {
        uint32_t len = 0;
        not_ready(conn);
        if (!conn->tell && has_data(conn))
            len = put_data(conn);
        if (len) {
            make_ready(conn);
            return len;
        }
        if (conn->tell) {
            if (conn->tell & (conn->tell - 1) || has_data(conn))
                make_ready(conn);
            return put_told(conn);
        }
    }
    return 0;
}

static bool process_to_guest(struct virtio_vsock *v)
{
    struct virtio_device *dev = &v->dev;
    struct virtq *q = &dev->queues[QUEUE_TO_GUEST];
    unsigned count = 0;

    while (count < VIRTIO_TURN_CHAINS && (v->refusal_count || !TAILQ_EMPTY(&v->ready)) &&
           virtio_pop(dev, QUEUE_TO_GUEST, &v->chain)) {
        if (v->chain.readable_count || v->chain.writable_bytes < HEADER_BYTES) {
            virtio_fail(dev, "a receive buffer is too small for a header or not for the device to write");
            return false;
        }
        uint32_t len = put_next(v);
        if (!len) {
            virtq_unpop(q, &v->chain);
            break;
        }
        virtq_push(q, &v->chain, len);
        count++;
    }
    virtio_interrupt(dev, QUEUE_TO_GUEST);
    if (v->held_up && v->refusal_count < REFUSALS_MAX)
        virtio_schedule(dev, QUEUE_FROM_GUEST);
    return count == VIRTIO_TURN_CHAINS;
}

/* ---- events of the host ---- */

static void ask_guest(struct conn *conn, uint32_t guest_port)
{
    struct virtio_vsock *v = conn->vsock;

    LIST_REMOVE(conn, in_bucket);
    do {
        conn->host_port = v->next_port;
        v->next_port = v->next_port == last_port ? first_port : v->next_port + 1;
    } while (find(v, conn->host_port, guest_port));
    conn->guest_port = guest_port;
    conn->state = ASKED;
    LIST_INSERT_HEAD(bucket_of(v, conn->host_port, guest_port), conn, in_bucket);
    watch(conn, 0);
    if (conn->state == ASKED)
        tell(conn, TELL_REQUEST);
}

static void greeting_event(struct conn *conn)
{
    uint32_t guest_port;
    int rc = vsock_host_greeting(conn->fd, &conn->greeting, &guest_port);

    if (rc == 0)
        ask_guest(conn, guest_port);
    else if (rc != -EAGAIN)
        conn_free(conn);
}

static void host_event(void *opaque, int fd, uint32_t events)
{
    struct conn *conn = opaque;
    struct virtio_vsock *v = conn->vsock;

    pthread_mutex_lock(&v->dev.lock);
    if (conn->state == GREETING) {
        greeting_event(conn);
    } else if (conn->state == ASKED) {
        conn_reset(conn); /* only a hang-up is waited for */
    } else if (conn->state == OPEN) {
        if (events & EPOLLOUT && !(events & (EPOLLHUP | EPOLLERR)))
            flush(conn);
        if (conn->state == OPEN && events & (EPOLLHUP | EPOLLERR)) {
            unwatch(conn); /* or it would be reported for ever */
            conn->hung_up = true;
            conn->len = 0;
        }
        if (conn->state == OPEN && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            watch(conn, conn->watched & ~(uint32_t)EPOLLIN);
            conn->readable = conn->state == OPEN;
            make_ready(conn);
        }
    }
    pthread_mutex_unlock(&v->dev.lock);
}

static void somebody_connects(void *opaque, int fd)
{
    struct virtio_vsock *v = opaque;
    struct conn *conn;

    pthread_mutex_lock(&v->dev.lock);
    if (v->dev.running) {
        conn = conn_new(v, fd, GREETING, 0, 0);
        if (conn && loop_fd_add(v->dev.loop, fd, EPOLLIN, host_event, conn)) {
            conn_free(conn);
        } else if (conn) {
            conn->is_watched = true;
            conn->watched = EPOLLIN;
        }
    } else {
        close(fd);
    }
    pthread_mutex_unlock(&v->dev.lock);
}

/* ---- the device ---- */

static bool process_events(struct virtio_vsock *v)
{
    const uint32_t event = EVENT_TRANSPORT_RESET;

    if (!v->tell_reset || !virtio_pop(&v->dev, QUEUE_EVENTS, &v->chain))
        return false;
    size_t len = iov_from_buf(virtq_writable(&v->chain), v->chain.writable_count, 0, &event, sizeof(event));
    virtio_push(&v->dev, QUEUE_EVENTS, &v->chain, (uint32_t)len);
    v->tell_reset = 0;
    return false;
}

static bool vsock_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_vsock *v = (struct virtio_vsock *)dev;

    if (queue == QUEUE_TO_GUEST)
        return process_to_guest(v);
    return queue == QUEUE_FROM_GUEST ? process_from_guest(v) : process_events(v);
}

/* Host calls are made with the lock held, so that there is nothing to wait for; a reset ends all connections. */
static void vsock_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_vsock *v = (struct virtio_vsock *)dev;
    struct bucket gone = LIST_HEAD_INITIALIZER(gone);
    struct conn *conn;

    if (queue != UINT_MAX)
        return;
    pthread_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        while ((conn = LIST_FIRST(&v->buckets[i]))) {
            not_ready(conn);
            LIST_REMOVE(conn, in_bucket);
            LIST_INSERT_HEAD(&gone, conn, in_bucket);
            conn->state = GONE;
        }
    }
    v->count = 0;
    pthread_mutex_unlock(&dev->lock);
    while ((conn = LIST_FIRST(&gone))) {
        LIST_REMOVE(conn, in_bucket);
        conn_destroy(conn);
    }
}

static void vsock_reset(struct virtio_device *dev)
{
    struct virtio_vsock *v = (struct virtio_vsock *)dev;

    v->refusal_count = 0;
    v->held_up = false;
    v->tell_reset = 0;
}

static void vsock_post_restore(struct virtio_device *dev)
{
    ((struct virtio_vsock *)dev)->tell_reset = !!(dev->status & VIRTIO_STATUS_DRIVER_OK);
}

static void vsock_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const uint64_t cid = ((struct virtio_vsock *)dev)->cid;

    memcpy(bytes, (const uint8_t *)&cid + offset, len);
}

static void vsock_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                        void *opaque)
{
    const struct virtio_vsock *v = (struct virtio_vsock *)dev;

    fn(opaque, "connections", v->connections);
    fn(opaque, "refused", v->refused);
    fn(opaque, "resets", v->resets);
    fn(opaque, "bytes_in", v->bytes_in);
    fn(opaque, "bytes_out", v->bytes_out);
}

static void vsock_destroy(struct virtio_device *dev)
{
    struct virtio_vsock *v = (struct virtio_vsock *)dev;

    acceptor_destroy(v->acceptor);
    listener_close(&v->listener);
    vsock_drain(dev, UINT_MAX);
    virtio_fini(dev);
    free(v);
}

static const struct virtio_ops vsock_ops = {
    .name = "virtio-vsock",
    .device_id = DEVICE_ID,
    .pci_class = 0x078000,
    .state_version = 1,
    .fields = vsock_fields,
    .config_read = vsock_config_read,
    .process = vsock_process,
    .drain = vsock_drain,
    .reset = vsock_reset,
    .post_restore = vsock_post_restore,
    .destroy = vsock_destroy,
    .stats = vsock_stats,
};

static int listen_at(struct virtio_vsock *v, const char *path, struct error *err)
{
    int rc = vsock_host_listen(path, &v->listener, err);

    if (rc)
        return rc;
    strcpy(v->path, path);
    rc = acceptor_create(v->dev.loop, v->listener.fd, somebody_connects, v, &v->acceptor);
    return rc ? error_set(err, rc, "the socket '%s' cannot be waited for: %s", path, strerror(-rc)) : 0;
}

int virtio_vsock_create(const struct virtio_vsock_config *config, struct virtio_device **out, struct error *err)
{
    struct virtio_vsock *v;

    if (config->cid <= HOST_CID || config->cid == UINT32_MAX)
        return error_set(err, -EINVAL, "%u cannot be a guest's context identifier: it is 3 or more", config->cid);
    v = calloc(1, sizeof(*v));
    if (!v)
        return error_set(err, -ENOMEM, "no memory for a vsock");
    v->cid = config->cid;
    v->listener.fd = -1;
    v->next_port = first_port;
    TAILQ_INIT(&v->ready);
    int rc =
        virtio_init(&v->dev, &vsock_ops, config->mem, config->loop, F_STREAM | VIRTIO_F_IN_ORDER, QUEUES, CONFIG_BYTES);
    if (rc) {
        free(v);
        return error_set(err, rc, "virtio-vsock: %s", strerror(-rc));
    }
    for (unsigned i = 0; i < QUEUES; i++)
        v->dev.queues[i].size_max = QUEUE_SIZE;
    rc = listen_at(v, config->path, err);
    if (rc) {
        vsock_destroy(&v->dev);
        return rc;
    }
    *out = &v->dev;
    return 0;
}
