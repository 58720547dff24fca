/* The network device; see virtio_net.h. Section numbers are those of virtio 1.2.
 *
 * What must stay true:
 * - Every packet is handled on the loop's thread with the device's lock held. The back end may deliver from within our
 *   own calls of it (`in_backend`, that thread's only), where the lock is held already.
 * - Receive buffers are taken from the ring ahead of packets and wait in the pair's `stash`, in their order, as one
 *   packet may need several. A reset forgets them; a saved state has them available again, which is right as they are
 *   used in the order they were taken.
 * - A packet that finds no buffers stays where it is: with the back end, or (fetched ones, too large for the buffers
 *   there were) held with its tail in `spill`.
 * - What the guest says about a packet is read once, checked against what was negotiated, and only then passed on.
 */
#include "dev/virtio/virtio_net.h"

#include "base/log.h"
#include "dev/iov.h"
#include "dev/net/checksum.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Feature bits (5.1.3). */
#define NET_F(bit) (UINT64_C(1) << (bit))
#define NET_F_CSUM NET_F(0)
#define NET_F_GUEST_CSUM NET_F(1)
#define NET_F_MTU NET_F(3)
#define NET_F_MAC NET_F(5)
#define NET_F_GUEST_TSO4 NET_F(7)
#define NET_F_GUEST_TSO6 NET_F(8)
#define NET_F_GUEST_ECN NET_F(9)
#define NET_F_GUEST_UFO NET_F(10)
#define NET_F_HOST_TSO4 NET_F(11)
#define NET_F_HOST_TSO6 NET_F(12)
#define NET_F_HOST_ECN NET_F(13)
#define NET_F_HOST_UFO NET_F(14)
#define NET_F_MRG_RXBUF NET_F(15)
#define NET_F_STATUS NET_F(16)
#define NET_F_CTRL_VQ NET_F(17)
#define NET_F_CTRL_RX NET_F(18)
#define NET_F_CTRL_RX_EXTRA NET_F(20)
#define NET_F_GUEST_ANNOUNCE NET_F(21)
#define NET_F_MQ NET_F(22)
#define NET_F_CTRL_MAC_ADDR NET_F(23)

enum {
    DEVICE_ID = 1,
    QUEUE_SIZE = 256,
    CTRL_QUEUE_SIZE = 64,
    HEADER_BYTES = sizeof(struct net_header),
    TURN_BYTES = 1 << 20, /* sent at most before other devices have their turn */
    STASH_CHAINS = 64,    /* a packet of 64 KiB in buffers of 1,024 bytes */
    MAC_BYTES = 6,
    MAC_TABLE = 64, /* addresses of each kind; with more all are accepted */
    FLOWS = 256,

    /* Configuration (5.1.4). */
    CONFIG_BYTES = 12,
    STATUS_LINK_UP = 1,
    STATUS_ANNOUNCE = 2,

    /* Control commands (5.1.6.5). */
    CTRL_RX = 0,
    CTRL_MAC = 1,
    CTRL_MAC_TABLE_SET = 0,
    CTRL_MAC_ADDR_SET = 1,
    CTRL_ANNOUNCE = 3,
    CTRL_ANNOUNCE_ACK = 0,
    CTRL_MQ = 4,
    CTRL_MQ_PAIRS_SET = 0,
    CTRL_OK = 0,
    CTRL_ERR = 1,

    /* Commands of CTRL_RX, which are the indexes of `rx_mode`. */
    RX_PROMISC = 0,
    RX_ALLMULTI,
    RX_ALLUNI,
    RX_NOMULTI,
    RX_NOUNI,
    RX_NOBCAST,
    RX_MODES,
};

/* Addresses the driver wants to hear. Saved, so no bool. */
struct mac_table {
    uint8_t all; /* there were too many */
    uint8_t count;
    uint8_t addresses[MAC_TABLE * MAC_BYTES];
};

/* One pair's receive side. */
struct rx_side {
    struct virtq_chain *stash; /* a ring of STASH_CHAINS */
    unsigned head, count;
    size_t room; /* bytes in the stash's chains */
    /* A packet that was fetched into the stash, and whose tail from `held_at` on is in `spill`; 0: none. */
    size_t held_len, held_at;
    struct net_header held_header;
    uint8_t *spill;
    bool pushed; /* the driver is to be told */
};

struct virtio_net {
    struct virtio_device dev;
    /* Saved; under the device's lock. */
    uint8_t mac[MAC_BYTES];
    uint8_t rx_mode[RX_MODES];
    struct mac_table unicast, multicast;
    uint16_t active_pairs;
    uint8_t announce;

    bool link_up;
    struct rate_limit from_guest, to_guest;
    struct loop_timer *timer; /* a limit lets through again */
    uint8_t flows[FLOWS];     /* pair by hash: a connection's packets come where the driver sends its own */
    uint64_t rx_packets, rx_bytes, rx_filtered, rx_dropped, rx_waits;
    uint64_t tx_packets, tx_bytes, tx_dropped;
    struct rx_side rx[NET_PAIRS_MAX];
    uint8_t tx_blocked; /* a bit a pair: the back end said -EAGAIN */

    /* The loop's thread. */
    bool in_backend;
    struct virtq_chain chain;
    struct iovec iov[NET_IOV_MAX];
    uint8_t bounce[NET_FRAME_MAX_BYTES]; /* for chains of more pieces than a host call takes */

    struct net_backend *backend; /* constant, as the rest */
    uint16_t pairs;
    uint8_t own_mac[MAC_BYTES];
};

static const struct device_field virtio_net_fields[] = {
    DEVICE_FIELD_ARRAY(struct virtio_net, mac, 1),
    DEVICE_FIELD_ARRAY(struct virtio_net, rx_mode, 1),
    DEVICE_FIELD(struct virtio_net, unicast.all, 1),
    DEVICE_FIELD(struct virtio_net, unicast.count, 1),
    DEVICE_FIELD_ARRAY(struct virtio_net, unicast.addresses, 1),
    DEVICE_FIELD(struct virtio_net, multicast.all, 1),
    DEVICE_FIELD(struct virtio_net, multicast.count, 1),
    DEVICE_FIELD_ARRAY(struct virtio_net, multicast.addresses, 1),
    DEVICE_FIELD(struct virtio_net, active_pairs, 1),
    DEVICE_FIELD(struct virtio_net, announce, 1),
    {0},
};

static unsigned rx_queue(unsigned pair)
{
    return 2 * pair;
}

static unsigned tx_queue(unsigned pair)
{
    return 2 * pair + 1;
}

/* The control queue stands behind all pairs that there could be with what was negotiated (5.1.2). */
static unsigned ctrl_queue(const struct virtio_net *net)
{
    return 2u * (virtio_has(&net->dev, NET_F_MQ) ? net->pairs : 1);
}

/* ---- rate limits ---- */

static uint64_t clock_ns(void *opaque)
{
    return loop_now_ns();
}

static void schedule_all(struct virtio_net *net)
{
    for (unsigned queue = 0; queue < 2u * net->pairs; queue++)
        virtio_schedule(&net->dev, queue);
}

static void limit_lifted(void *opaque)
{
    schedule_all(opaque);
}

/* May another packet pass? Otherwise all is looked at again when it may. */
static bool limit_allows(struct virtio_net *net, struct rate_limit *limit)
{
    uint64_t retry_ns;

    if (rate_limit_ready(limit, &retry_ns))
        return true;
    loop_timer_arm(net->timer, retry_ns);
    return false;
}

void virtio_net_set_rates(struct virtio_device *dev, const struct rate_limit_config *from_guest,
                          const struct rate_limit_config *to_guest)
{
    struct virtio_net *net = (struct virtio_net *)dev;

    pthread_mutex_lock(&dev->lock);
    if (from_guest)
        rate_limit_set(&net->from_guest, from_guest);
    if (to_guest)
        rate_limit_set(&net->to_guest, to_guest);
    pthread_mutex_unlock(&dev->lock);
    schedule_all(net);
}

/* ---- which pair a connection belongs to (5.1.6.5.5) ---- */

/* The same for both directions: a sum over addresses and ports. Whatever is no TCP or UDP counts by addresses alone. */
static unsigned flow_hash(const uint8_t *frame, size_t len)
{
    uint32_t sum = 0;
    size_t at, end, ports = 0;

    if (len < NET_ETHERNET_BYTES + 20)
        return 0;
    if (frame[12] == 0x08 && frame[13] == 0x00) {
        at = NET_ETHERNET_BYTES + 12;
        end = at + 8;
        bool fragment = (frame[20] & 0x3f) || frame[21];
        if ((frame[23] == 6 || frame[23] == 17) && !fragment)
            ports = NET_ETHERNET_BYTES + (frame[14] & 15) * 4u;
    } else if (frame[12] == 0x86 && frame[13] == 0xdd && len >= NET_ETHERNET_BYTES + 40) {
        at = NET_ETHERNET_BYTES + 8;
        end = at + 32;
        if (frame[20] == 6 || frame[20] == 17)
            ports = NET_ETHERNET_BYTES + 40;
    } else {
        return 0;
    }
    for (; at < end; at += 2)
        sum += (uint32_t)frame[at] << 8 | frame[at + 1];
    if (ports && ports + 4 <= len)
        sum += ((uint32_t)frame[ports] << 8 | frame[ports + 1]) + ((uint32_t)frame[ports + 2] << 8 | frame[ports + 3]);
    return (sum * UINT32_C(0x9e3779b1)) >> 24; /* Fibonacci hashing to FLOWS */
}

static void remember_flow(struct virtio_net *net, unsigned pair, const struct iovec *iov, unsigned count)
{
    uint8_t start[NET_ETHERNET_BYTES + 60 + 4];

    if (net->active_pairs < 2)
        return;
    net->flows[flow_hash(start, iov_to_buf(iov, count, 0, start, sizeof(start)))] = (uint8_t)pair;
}

/* ---- from the guest ---- */

/* A kind of segmentation or checksum needs the feature that says that it is done. */
static bool header_is_negotiated(const struct virtio_net *net, const struct net_header *header)
{
    uint64_t needs = 0;

    if (header->flags & NET_HEADER_NEEDS_CSUM)
        needs |= NET_F_CSUM;
    if (header->gso_type & NET_GSO_ECN)
        needs |= NET_F_HOST_ECN;
    switch (header->gso_type & ~NET_GSO_ECN) {
    case NET_GSO_NONE:
        break;
    case NET_GSO_TCPV4:
        needs |= NET_F_HOST_TSO4;
        break;
    case NET_GSO_TCPV6:
        needs |= NET_F_HOST_TSO6;
        break;
    case NET_GSO_UDP:
        needs |= NET_F_HOST_UFO;
        break;
    default:
        return false;
    }
    return (net->dev.driver_features & needs) == needs;
}

/* The packet in net->chain as header and pieces. false: it is none. */
static bool parse_packet(struct virtio_net *net, struct net_header *header, unsigned *count, size_t *len)
{
    const struct iovec *iov = virtq_readable(&net->chain);
    unsigned pieces = net->chain.readable_count;

    if (net->chain.readable_bytes < HEADER_BYTES + NET_FRAME_MIN_BYTES ||
        net->chain.readable_bytes > HEADER_BYTES + NET_FRAME_MAX_BYTES)
        return false;
    *len = (size_t)net->chain.readable_bytes - HEADER_BYTES;
    iov_to_buf(iov, pieces, 0, header, HEADER_BYTES);
    header->flags &= NET_HEADER_NEEDS_CSUM;
    header->num_buffers = 0;
    if (!header_is_negotiated(net, header) || !net_header_is_valid(header, *len))
        return false;
    *count = iov_slice(iov, pieces, HEADER_BYTES, *len, net->iov, NET_IOV_MAX);
    if (!*count) {
        iov_to_buf(iov, pieces, HEADER_BYTES, net->bounce, *len);
        net->iov[0] = (struct iovec){.iov_base = net->bounce, .iov_len = *len};
        *count = 1;
    }
    return true;
}

static int backend_send(struct virtio_net *net, unsigned pair, const struct net_header *header, unsigned count,
                        size_t len)
{
    net->in_backend = true;
    int rc = net->backend->ops->send(net->backend, net->backend->any_pair ? 0 : pair, header, net->iov, count, len);
    net->in_backend = false;
    return rc;
}

/* Sends the packet in net->chain. -EAGAIN: it is to be put back. Bad packets are thrown away, as on a wire. */
static int send_packet(struct virtio_net *net, unsigned pair, size_t *len)
{
    struct net_header header;
    unsigned count;

    if (!parse_packet(net, &header, &count, len)) {
        log_guest_error("virtio-net: a packet of %llu bytes, or its header, is not valid",
                        (unsigned long long)net->chain.readable_bytes);
        net->tx_dropped++;
        *len = 0;
        return 0;
    }
    remember_flow(net, pair, net->iov, count);
    int rc = backend_send(net, pair, &header, count, *len);
    if (rc == 0) {
        net->tx_packets++;
        net->tx_bytes += *len;
        rate_limit_take(&net->from_guest, *len, 1);
    }
    return rc;
}

static void tell_driver(struct virtio_net *net)
{
    for (unsigned pair = 0; pair < net->pairs; pair++) {
        if (net->rx[pair].pushed)
            virtio_interrupt(&net->dev, rx_queue(pair));
        net->rx[pair].pushed = false;
    }
}

static void backend_flush(struct virtio_net *net)
{
    if (!net->backend->ops->flush)
        return;
    net->in_backend = true;
    net->backend->ops->flush(net->backend);
    net->in_backend = false;
}

static bool process_tx(struct virtio_net *net, unsigned pair)
{
    unsigned queue = tx_queue(pair), count = 0;
    uint8_t bit = (uint8_t)(1u << pair);
    size_t bytes = 0, len;
    bool more = false;

    while (!(net->tx_blocked & bit) && limit_allows(net, &net->from_guest)) {
        more = count == VIRTIO_TURN_CHAINS || bytes >= TURN_BYTES;
        if (more || !virtio_pop(&net->dev, queue, &net->chain))
            break;
        if (send_packet(net, pair, &len)) {
            virtq_unpop(&net->dev.queues[queue], &net->chain);
            net->tx_blocked |= bit;
            break;
        }
        virtq_push(&net->dev.queues[queue], &net->chain, 0);
        bytes += len;
        count++;
    }
    if (count)
        backend_flush(net);
    virtio_interrupt(&net->dev, queue);
    tell_driver(net);
    return more;
}

/* ---- to the guest: which packets ---- */

static bool table_has(const struct mac_table *table, const uint8_t *address)
{
    for (unsigned i = 0; i < table->count; i++) {
        if (!memcmp(table->addresses + (size_t)i * MAC_BYTES, address, MAC_BYTES))
            return true;
    }
    return table->all;
}

static bool is_wanted(const struct virtio_net *net, const uint8_t *to)
{
    static const uint8_t broadcast[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const uint8_t *mode = net->rx_mode;

    if (mode[RX_PROMISC] || !virtio_has(&net->dev, NET_F_CTRL_RX))
        return true;
    if (!memcmp(to, broadcast, MAC_BYTES))
        return !mode[RX_NOBCAST];
    if (to[0] & 1)
        return !mode[RX_NOMULTI] && (mode[RX_ALLMULTI] || table_has(&net->multicast, to));
    return !mode[RX_NOUNI] && (mode[RX_ALLUNI] || !memcmp(to, net->mac, MAC_BYTES) || table_has(&net->unicast, to));
}

/* ---- to the guest: buffers ---- */

enum room { ROOM, ROOM_LATER, ROOM_NEVER };

static void stash_drop(struct rx_side *rx)
{
    rx->head = rx->count = 0;
    rx->room = 0;
    rx->held_len = 0;
    rx->pushed = false;
}

static struct virtq_chain *stash_at(struct rx_side *rx, unsigned n)
{
    return &rx->stash[(rx->head + n) % STASH_CHAINS];
}

/* Every buffer the driver can give is in the stash already. */
static bool stash_has_all(const struct virtio_net *net, unsigned pair)
{
    const struct virtq *q = &net->dev.queues[rx_queue(pair)];
    unsigned entries = 0;

    for (unsigned i = 0; i < net->rx[pair].count; i++)
        entries += stash_at((struct rx_side *)&net->rx[pair], i)->descriptors;
    return entries >= q->size;
}

/* Takes one more chain into the stash. */
static bool stash_pop(struct virtio_net *net, unsigned pair)
{
    struct rx_side *rx = &net->rx[pair];
    struct virtq_chain *chain = stash_at(rx, rx->count);

    if (!virtio_pop(&net->dev, rx_queue(pair), chain))
        return false;
    if (chain->readable_count || chain->writable_bytes < HEADER_BYTES) {
        virtio_fail(&net->dev, "a receive buffer is too small for a header or not for the device to write");
        return false;
    }
    rx->count++;
    rx->room += (size_t)chain->writable_bytes;
    return true;
}

/* Sees to it that the stash has room for `bytes` of header and frame. */
static enum room make_room(struct virtio_net *net, unsigned pair, size_t bytes)
{
    struct rx_side *rx = &net->rx[pair];
    unsigned chains_max = virtio_has(&net->dev, NET_F_MRG_RXBUF) ? STASH_CHAINS : 1;

    while (rx->room < bytes) {
        if (rx->count >= chains_max || (rx->count && stash_has_all(net, pair)))
            return ROOM_NEVER;
        if (!stash_pop(net, pair))
            return ROOM_LATER;
    }
    return ROOM;
}

/* Copies into the stash's chains, from byte `at` of header and frame on. */
static void stash_write(struct rx_side *rx, size_t at, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;

    for (unsigned i = 0; len; i++) {
        assert(i < rx->count);
        const struct virtq_chain *chain = stash_at(rx, i);
        if (at >= chain->writable_bytes) {
            at -= (size_t)chain->writable_bytes;
            continue;
        }
        size_t part = iov_from_buf(virtq_writable(chain), chain->writable_count, at, from, len);
        from += part;
        len -= part;
        at = 0;
    }
}

/* Gives the driver the packet of `len` bytes that stands in the stash behind the place for its header. */
static void stash_push(struct virtio_net *net, unsigned pair, struct net_header header, size_t len)
{
    struct rx_side *rx = &net->rx[pair];
    const struct virtq_chain *chains[STASH_CHAINS];
    uint32_t written[STASH_CHAINS];
    size_t left = HEADER_BYTES + len;
    unsigned count = 0;

    for (; left; count++) {
        assert(count < rx->count);
        chains[count] = stash_at(rx, count);
        written[count] =
            left < chains[count]->writable_bytes ? (uint32_t)left : (uint32_t)chains[count]->writable_bytes;
        left -= written[count];
        rx->room -= (size_t)chains[count]->writable_bytes;
    }
    if (!virtio_has(&net->dev, NET_F_GUEST_CSUM))
        header.flags = 0;
    header.num_buffers = (uint16_t)count; /* 1 without mergeable buffers, too (5.1.6.4.1) */
    stash_write(rx, 0, &header, HEADER_BYTES);
    virtq_push_many(&net->dev.queues[rx_queue(pair)], chains, written, count);
    rx->head = (rx->head + count) % STASH_CHAINS;
    rx->count -= count;
    rx->pushed = true;
    net->rx_packets++;
    net->rx_bytes += len;
    rate_limit_take(&net->to_guest, len, 1);
}

/* ---- to the guest: delivered packets ---- */

static unsigned pair_for(const struct virtio_net *net, const uint8_t *frame, size_t len)
{
    unsigned pair = net->active_pairs < 2 ? 0 : net->flows[flow_hash(frame, len)] % net->active_pairs;

    return virtio_queue_runs(&net->dev, rx_queue(pair)) ? pair : 0;
}

static bool take_frame(struct virtio_net *net, const struct net_header *header, const uint8_t *frame, size_t len)
{
    if (len < NET_FRAME_MIN_BYTES || !virtio_queue_runs(&net->dev, rx_queue(0))) {
        net->rx_dropped++; /* nobody is there yet */
        return true;
    }
    if (!is_wanted(net, frame)) {
        net->rx_filtered++;
        return true;
    }
    if (!limit_allows(net, &net->to_guest))
        return false;
    unsigned pair = pair_for(net, frame, len);
    switch (make_room(net, pair, HEADER_BYTES + len)) {
    case ROOM:
        stash_write(&net->rx[pair], HEADER_BYTES, frame, len);
        stash_push(net, pair, *header, len);
        return true;
    case ROOM_LATER:
        net->rx_waits++;
        return !net->dev.running; /* when the ring turned out to be broken nobody will come for it */
    case ROOM_NEVER:
        break;
    }
    net->rx_dropped++;
    return true;
}

static bool net_deliver(void *opaque, const struct net_header *header, const void *frame, size_t len)
{
    struct virtio_net *net = opaque;
    bool locked = net->in_backend;

    if (!locked)
        pthread_mutex_lock(&net->dev.lock);
    bool taken = take_frame(net, header, frame, len);
    if (!locked)
        pthread_mutex_unlock(&net->dev.lock);
    return taken;
}

static void net_delivered(void *opaque)
{
    struct virtio_net *net = opaque;

    if (net->in_backend)
        return;
    pthread_mutex_lock(&net->dev.lock);
    tell_driver(net);
    pthread_mutex_unlock(&net->dev.lock);
}

/* ---- to the guest: fetched packets ---- */

/* Takes chains until a packet of any size would fit, or as many as there are. */
static bool prepare_fetch(struct virtio_net *net, unsigned pair)
{
    return make_room(net, pair, HEADER_BYTES + NET_FRAME_MAX_BYTES) == ROOM || net->rx[pair].count;
}

/* The stash's bytes behind the header's place as iovecs in net->iov; the spill buffer is the last. Returns how many. */
static unsigned fetch_iov(struct virtio_net *net, unsigned pair, size_t *room)
{
    struct rx_side *rx = &net->rx[pair];
    unsigned count = 0;

    *room = 0;
    for (unsigned i = 0; i < rx->count && count < NET_IOV_MAX - 1; i++) {
        const struct virtq_chain *chain = stash_at(rx, i);
        size_t skip = i ? 0 : HEADER_BYTES, bytes = (size_t)chain->writable_bytes - skip;
        if (!bytes)
            continue;
        unsigned added = iov_slice(virtq_writable(chain), chain->writable_count, skip, bytes, net->iov + count,
                                   NET_IOV_MAX - 1 - count);
        if (!added) /* too many pieces: the rest goes through the spill buffer */
            break;
        count += added;
        *room += bytes;
    }
    net->iov[count++] = (struct iovec){.iov_base = rx->spill, .iov_len = NET_FRAME_MAX_BYTES};
    return count;
}

/* Passes the held packet on, if the guest has room for it now. */
static bool release_held(struct virtio_net *net, unsigned pair)
{
    struct rx_side *rx = &net->rx[pair];
    enum room room = make_room(net, pair, HEADER_BYTES + rx->held_len);

    if (room == ROOM_LATER) {
        net->rx_waits++;
        return false;
    }
    if (room == ROOM) {
        if (rx->held_at < rx->held_len)
            stash_write(rx, HEADER_BYTES + rx->held_at, rx->spill, rx->held_len - rx->held_at);
        stash_push(net, pair, rx->held_header, rx->held_len);
    } else {
        net->rx_dropped++;
    }
    rx->held_len = 0;
    return true;
}

/* Fetches one packet into the guest's buffers, where it is held. false: there is none. */
static bool fetch(struct virtio_net *net, unsigned pair)
{
    struct rx_side *rx = &net->rx[pair];
    uint8_t to[MAC_BYTES];
    size_t room;
    unsigned count = fetch_iov(net, pair, &room);

    net->in_backend = true;
    ssize_t len = net->backend->ops->receive(net->backend, pair, &rx->held_header, net->iov, count);
    net->in_backend = false;
    if (len < 0)
        return false;
    if (len < NET_FRAME_MIN_BYTES || len > NET_FRAME_MAX_BYTES) {
        net->rx_dropped++;
        return true;
    }
    iov_to_buf(net->iov, count, 0, to, sizeof(to));
    if (!is_wanted(net, to)) {
        net->rx_filtered++;
        return true;
    }
    rx->held_len = (size_t)len;
    rx->held_at = room;
    return true;
}

static bool process_fetched(struct virtio_net *net, unsigned pair)
{
    struct rx_side *rx = &net->rx[pair];
    size_t bytes = 0;

    for (unsigned count = 0; count < VIRTIO_TURN_CHAINS && bytes < TURN_BYTES; count++) {
        if (!rx->held_len && (!limit_allows(net, &net->to_guest) || !prepare_fetch(net, pair) || !fetch(net, pair)))
            return false;
        bytes += rx->held_len;
        if (rx->held_len && !release_held(net, pair))
            return false;
    }
    return true;
}

static bool process_rx(struct virtio_net *net, unsigned pair)
{
    bool more = false;

    if (net->backend->ops->receive) {
        more = process_fetched(net, pair);
    } else {
        net->in_backend = true;
        net->backend->ops->room(net->backend);
        net->in_backend = false;
    }
    tell_driver(net);
    return more;
}

static void net_readable(void *opaque, unsigned pair)
{
    struct virtio_net *net = opaque;

    virtio_schedule(&net->dev, rx_queue(pair));
}

static void net_writable(void *opaque, unsigned pair)
{
    struct virtio_net *net = opaque;

    pthread_mutex_lock(&net->dev.lock);
    net->tx_blocked &= (uint8_t)~(1u << pair);
    pthread_mutex_unlock(&net->dev.lock);
    virtio_schedule(&net->dev, tx_queue(pair));
}

static void net_link(void *opaque, bool up)
{
    struct virtio_net *net = opaque;

    pthread_mutex_lock(&net->dev.lock);
    if (net->link_up != up) {
        net->link_up = up;
        virtio_config_changed(&net->dev);
    }
    if (!up) /* nobody will say that there is room: what is sent is lost now */
        net->tx_blocked = 0;
    pthread_mutex_unlock(&net->dev.lock);
    schedule_all(net);
}

static const struct net_front_ops virtio_net_front = {
    .deliver = net_deliver,
    .delivered = net_delivered,
    .readable = net_readable,
    .writable = net_writable,
    .link = net_link,
};

/* ---- the control queue ---- */

/* What follows class and command in net->chain, from byte `offset` on. false: it is not all there. */
static bool ctrl_data(const struct virtio_net *net, size_t offset, void *out, size_t len)
{
    return iov_to_buf(virtq_readable(&net->chain), net->chain.readable_count, 2 + offset, out, len) == len;
}

/* One of the two tables, at `*offset`, which moves behind it. */
static bool read_table(const struct virtio_net *net, size_t *offset, struct mac_table *out)
{
    uint32_t count;

    if (!ctrl_data(net, *offset, &count, sizeof(count)) ||
        count > (net->chain.readable_bytes - 2 - *offset - sizeof(count)) / MAC_BYTES)
        return false;
    *offset += sizeof(count);
    *out = (struct mac_table){.all = count > MAC_TABLE, .count = (uint8_t)(count > MAC_TABLE ? 0 : count)};
    bool there = ctrl_data(net, *offset, out->addresses, (size_t)out->count * MAC_BYTES);
    *offset += (size_t)count * MAC_BYTES;
    return there;
}

static bool ctrl_mac(struct virtio_net *net, uint8_t command)
{
    struct mac_table unicast, multicast;
    uint8_t mac[MAC_BYTES];
    size_t offset = 0;

    if (command == CTRL_MAC_TABLE_SET && virtio_has(&net->dev, NET_F_CTRL_RX)) {
        if (!read_table(net, &offset, &unicast) || !read_table(net, &offset, &multicast))
            return false;
        net->unicast = unicast;
        net->multicast = multicast;
        return true;
    }
    if (command != CTRL_MAC_ADDR_SET || !virtio_has(&net->dev, NET_F_CTRL_MAC_ADDR) ||
        !ctrl_data(net, 0, mac, sizeof(mac)))
        return false;
    memcpy(net->mac, mac, sizeof(mac));
    return true;
}

static bool ctrl_rx(struct virtio_net *net, uint8_t command)
{
    uint8_t on;

    if (command >= RX_MODES || !virtio_has(&net->dev, command <= RX_ALLMULTI ? NET_F_CTRL_RX : NET_F_CTRL_RX_EXTRA) ||
        !ctrl_data(net, 0, &on, sizeof(on)))
        return false;
    net->rx_mode[command] = on != 0;
    return true;
}

static bool ctrl_pairs(struct virtio_net *net, uint8_t command)
{
    uint16_t pairs;

    if (command != CTRL_MQ_PAIRS_SET || !virtio_has(&net->dev, NET_F_MQ) || !ctrl_data(net, 0, &pairs, sizeof(pairs)) ||
        pairs < 1 || pairs > net->pairs)
        return false;
    net->active_pairs = pairs;
    return true;
}

static bool ctrl_announced(struct virtio_net *net, uint8_t command)
{
    if (command != CTRL_ANNOUNCE_ACK || !virtio_has(&net->dev, NET_F_GUEST_ANNOUNCE))
        return false;
    net->announce = 0;
    return true;
}

static bool ctrl_command(struct virtio_net *net)
{
    uint8_t head[2]; /* class, command */

    if (iov_to_buf(virtq_readable(&net->chain), net->chain.readable_count, 0, head, sizeof(head)) < sizeof(head))
        return false;
    switch (head[0]) {
    case CTRL_RX:
        return ctrl_rx(net, head[1]);
    case CTRL_MAC:
        return ctrl_mac(net, head[1]);
    case CTRL_ANNOUNCE:
        return ctrl_announced(net, head[1]);
    case CTRL_MQ:
        return ctrl_pairs(net, head[1]);
    }
    return false;
}

static bool process_ctrl(struct virtio_net *net, unsigned queue)
{
    unsigned count = 0;

    for (; count < VIRTIO_TURN_CHAINS && virtio_pop(&net->dev, queue, &net->chain); count++) {
        if (!net->chain.writable_bytes) {
            virtio_fail(&net->dev, "a control command has no place for its acknowledgement");
            return false;
        }
        uint8_t ack = ctrl_command(net) ? CTRL_OK : CTRL_ERR;
        iov_from_buf(virtq_writable(&net->chain), net->chain.writable_count, 0, &ack, sizeof(ack));
        virtq_push(&net->dev.queues[queue], &net->chain, sizeof(ack));
    }
    virtio_interrupt(&net->dev, queue);
    return count == VIRTIO_TURN_CHAINS;
}

/* ---- the device ---- */

static bool virtio_net_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_net *net = (struct virtio_net *)dev;
    unsigned ctrl = ctrl_queue(net);

    if (queue == ctrl && virtio_has(dev, NET_F_CTRL_VQ))
        return process_ctrl(net, queue);
    if (queue >= ctrl)
        return false; /* a queue that was not negotiated */
    return queue & 1 ? process_tx(net, queue / 2) : process_rx(net, queue / 2);
}

static void virtio_net_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const struct virtio_net *net = (const struct virtio_net *)dev;
    uint8_t config[CONFIG_BYTES] = {0};
    uint16_t status = (net->link_up ? STATUS_LINK_UP : 0) | (net->announce ? STATUS_ANNOUNCE : 0);

    memcpy(config, net->mac, MAC_BYTES);
    memcpy(config + 6, &status, sizeof(status));
    memcpy(config + 8, &net->pairs, sizeof(net->pairs));
    memcpy(config + 10, &net->backend->mtu, sizeof(net->backend->mtu));
    memcpy(bytes, config + offset, len);
}

/* What needs what (5.1.3.1): the first any of the second, as far as there is a second. */
static const struct {
    uint64_t feature, needs;
} dependencies[] = {
    {NET_F_GUEST_TSO4, NET_F_GUEST_CSUM},
    {NET_F_GUEST_TSO6, NET_F_GUEST_CSUM},
    {NET_F_GUEST_ECN, NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6},
    {NET_F_GUEST_UFO, NET_F_GUEST_CSUM},
    {NET_F_HOST_TSO4, NET_F_CSUM},
    {NET_F_HOST_TSO6, NET_F_CSUM},
    {NET_F_HOST_ECN, NET_F_HOST_TSO4 | NET_F_HOST_TSO6},
    {NET_F_HOST_UFO, NET_F_CSUM},
    {NET_F_CTRL_RX, NET_F_CTRL_VQ},
    {NET_F_CTRL_RX_EXTRA, NET_F_CTRL_VQ},
    {NET_F_GUEST_ANNOUNCE, NET_F_CTRL_VQ},
    {NET_F_MQ, NET_F_CTRL_VQ},
    {NET_F_CTRL_MAC_ADDR, NET_F_CTRL_VQ},
};

static bool virtio_net_accept_features(struct virtio_device *dev, uint64_t features)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(dependencies); i++) {
        if ((features & dependencies[i].feature) && !(features & dependencies[i].needs))
            return false;
    }
    return true;
}

/* Back ends' abilities and the features they stand for. */
static const struct {
    uint32_t can;
    uint64_t feature;
} abilities[] = {
    {NET_TAKES_CSUM, NET_F_CSUM},       {NET_TAKES_TSO4, NET_F_HOST_TSO4},  {NET_TAKES_TSO6, NET_F_HOST_TSO6},
    {NET_TAKES_ECN, NET_F_HOST_ECN},    {NET_TAKES_UFO, NET_F_HOST_UFO},    {NET_GIVES_CSUM, NET_F_GUEST_CSUM},
    {NET_GIVES_TSO4, NET_F_GUEST_TSO4}, {NET_GIVES_TSO6, NET_F_GUEST_TSO6}, {NET_GIVES_ECN, NET_F_GUEST_ECN},
    {NET_GIVES_UFO, NET_F_GUEST_UFO},
};

static void set_offloads(struct virtio_net *net, uint64_t features)
{
    uint32_t gives = 0;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(abilities); i++) {
        if (abilities[i].can >= NET_GIVES_CSUM && (features & abilities[i].feature))
            gives |= abilities[i].can;
    }
    if (net->backend->ops->set_offloads)
        net->backend->ops->set_offloads(net->backend, gives);
}

static void virtio_net_start(struct virtio_device *dev)
{
    set_offloads((struct virtio_net *)dev, dev->driver_features);
}

/* Host calls on guest memory are made with the lock held, so there is nothing to wait for but to forget buffers. */
static void virtio_net_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_net *net = (struct virtio_net *)dev;

    pthread_mutex_lock(&dev->lock);
    for (unsigned pair = 0; pair < net->pairs; pair++) {
        if (queue == UINT_MAX || queue == rx_queue(pair))
            stash_drop(&net->rx[pair]);
    }
    pthread_mutex_unlock(&dev->lock);
}

static void virtio_net_reset(struct virtio_device *dev)
{
    struct virtio_net *net = (struct virtio_net *)dev;

    memcpy(net->mac, net->own_mac, MAC_BYTES);
    memset(net->rx_mode, 0, sizeof(net->rx_mode));
    net->unicast = net->multicast = (struct mac_table){0};
    net->active_pairs = 1;
    net->announce = 0;
    net->tx_blocked = 0;
    memset(net->flows, 0, sizeof(net->flows));
    for (unsigned pair = 0; pair < net->pairs; pair++)
        stash_drop(&net->rx[pair]);
    set_offloads(net, 0);
}

static void table_restore(struct mac_table *table)
{
    table->all = table->all != 0;
    if (table->count > MAC_TABLE)
        table->count = MAC_TABLE;
}

static void virtio_net_post_restore(struct virtio_device *dev)
{
    struct virtio_net *net = (struct virtio_net *)dev;

    for (unsigned i = 0; i < RX_MODES; i++)
        net->rx_mode[i] = net->rx_mode[i] != 0;
    table_restore(&net->unicast);
    table_restore(&net->multicast);
    if (net->active_pairs < 1 || net->active_pairs > net->pairs)
        net->active_pairs = 1;
    /* The network may have changed around the guest: it says where it is (5.1.6.5.4). */
    net->announce = virtio_has(dev, NET_F_GUEST_ANNOUNCE);
    if (net->announce)
        virtio_config_changed(dev);
}

static void virtio_net_destroy(struct virtio_device *dev)
{
    struct virtio_net *net = (struct virtio_net *)dev;

    net_backend_destroy(net->backend);
    loop_timer_destroy(net->timer);
    for (unsigned pair = 0; pair < NET_PAIRS_MAX; pair++) {
        free(net->rx[pair].stash);
        free(net->rx[pair].spill);
    }
    virtio_fini(dev);
    free(net);
}

static void virtio_net_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                             void *opaque)
{
    const struct virtio_net *net = (const struct virtio_net *)dev;

    fn(opaque, "rx_packets", net->rx_packets);
    fn(opaque, "rx_bytes", net->rx_bytes);
    fn(opaque, "rx_filtered", net->rx_filtered);
    fn(opaque, "rx_dropped", net->rx_dropped);
    fn(opaque, "rx_waits_for_buffers", net->rx_waits);
    fn(opaque, "tx_packets", net->tx_packets);
    fn(opaque, "tx_bytes", net->tx_bytes);
    fn(opaque, "tx_dropped", net->tx_dropped);
    fn(opaque, "rate_waits", net->from_guest.waits + net->to_guest.waits);
    fn(opaque, "host_queued", net->backend->stats.queued);
    fn(opaque, "host_dropped", net->backend->stats.dropped);
}

static const struct virtio_ops virtio_net_ops = {
    .name = "virtio-net",
    .device_id = DEVICE_ID,
    .pci_class = 0x020000,
    .state_version = 1,
    .fields = virtio_net_fields,
    .config_read = virtio_net_config_read,
    .accept_features = virtio_net_accept_features,
    .start = virtio_net_start,
    .process = virtio_net_process,
    .drain = virtio_net_drain,
    .reset = virtio_net_reset,
    .post_restore = virtio_net_post_restore,
    .destroy = virtio_net_destroy,
    .stats = virtio_net_stats,
};

static uint64_t features_of(const struct net_backend *backend, unsigned pairs)
{
    uint64_t features = NET_F_MTU | NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX |
                        NET_F_CTRL_RX_EXTRA | NET_F_GUEST_ANNOUNCE | NET_F_CTRL_MAC_ADDR;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(abilities); i++) {
        if (backend->can & abilities[i].can)
            features |= abilities[i].feature;
    }
    return features | (pairs > 1 ? NET_F_MQ : 0);
}

/* Memory of the pairs that is touched as far as it is used. */
static int make_sides(struct virtio_net *net)
{
    for (unsigned pair = 0; pair < net->pairs; pair++) {
        net->rx[pair].stash = calloc(STASH_CHAINS, sizeof(struct virtq_chain));
        net->rx[pair].spill = net->backend->ops->receive ? malloc(NET_FRAME_MAX_BYTES) : NULL;
        if (!net->rx[pair].stash || (net->backend->ops->receive && !net->rx[pair].spill))
            return -ENOMEM;
    }
    return 0;
}

int virtio_net_create(const struct virtio_net_config *config, struct virtio_device **out)
{
    struct virtio_net *net = calloc(1, sizeof(*net));
    unsigned pairs = config->pairs ? config->pairs : 1;

    if (!net)
        return -ENOMEM;
    assert(pairs <= config->backend->pairs && pairs <= NET_PAIRS_MAX);
    int rc =
        virtio_init(&net->dev, &virtio_net_ops, config->mem, config->loop,
                    features_of(config->backend, pairs) | VIRTIO_F_IN_ORDER, (uint16_t)(2 * pairs + 1), CONFIG_BYTES);
    if (rc) {
        free(net);
        return rc;
    }
    net->pairs = (uint16_t)pairs;
    memcpy(net->own_mac, config->mac, MAC_BYTES);
    net->link_up = !config->backend->starts_down;
    rate_limit_init(&net->from_guest, clock_ns, NULL);
    rate_limit_init(&net->to_guest, clock_ns, NULL);
    net->backend = config->backend;
    rc = make_sides(net);
    if (!rc)
        rc = loop_timer_create(config->loop, limit_lifted, net, &net->timer);
    if (rc) {
        net->backend = NULL; /* still the caller's */
        virtio_net_destroy(&net->dev);
        return rc;
    }
    /* The queue that is the control queue without MQ is a receive queue with it: all have the larger size. */
    for (unsigned queue = 0; queue <= 2 * pairs; queue++)
        net->dev.queues[queue].size_max = queue == 2 * pairs ? CTRL_QUEUE_SIZE : QUEUE_SIZE;
    virtio_net_reset(&net->dev);
    net_backend_attach(net->backend, &virtio_net_front, net);
    *out = &net->dev;
    return 0;
}
