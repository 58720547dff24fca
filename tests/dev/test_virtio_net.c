/* virtio-net between the tests' own driver and a back end that records what it is sent and hands over what it is told
 * to, by delivery or by being asked. Without a loop's thread: a turn is what the test makes. */
#include "dev/iov.h"
#include "dev/net/backend.h"
#include "dev/virtio/virtio_net.h"
#include "virtq_driver.h"

#include <sys/uio.h>

enum {
    RX_BASE = VQ_RAM_GPA + 0x100000,
    TX_BASE = VQ_RAM_GPA + 0x300000,
    CTRL_BASE = VQ_RAM_GPA + 0x500000,
    RX2_BASE = VQ_RAM_GPA + 0x700000,
    TX2_BASE = VQ_RAM_GPA + 0x900000,
    BUFFERS = VQ_RAM_GPA + 0xb00000,
    QUEUE_ENTRIES = 16,
    FRAMES_MAX = 64,
    FRAME_BYTES = NET_FRAME_MAX_BYTES,
};

#define F(bit) (UINT64_C(1) << (bit))
#define F_CTRL (F(17) | F(18) | F(20) | F(21) | F(23))
#define F_MRG F(15)
#define F_ALL_OFFLOADS (F(0) | F(1) | F(11) | F(12) | F(13) | F(14))

struct frame {
    struct net_header header;
    size_t len;
    uint8_t *bytes;
};

struct wire {
    struct net_backend base;
    struct frame sent[FRAMES_MAX], waiting[FRAMES_MAX];
    unsigned sent_count, waiting_first, waiting_count, pair;
    bool full, destroyed, empty_said;
    uint32_t gives;
};

static struct mem *mem;
static struct loop *loop;
static struct wire wire;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq rx, tx, ctrl, rx2, tx2;
static uint8_t big[FRAME_BYTES + 100];

/* ---- the back end ---- */

static void frame_set(struct frame *frame, const struct net_header *header, const struct iovec *iov, unsigned count,
                      size_t len)
{
    frame->header = *header;
    frame->len = len;
    frame->bytes = malloc(len);
    ck_assert_uint_eq(iov_to_buf(iov, count, 0, frame->bytes, len), len);
}

static int wire_send(struct net_backend *backend, unsigned pair, const struct net_header *header,
                     const struct iovec *iov, unsigned count, size_t len)
{
    ck_assert_uint_le(count, NET_IOV_MAX);
    if (wire.full)
        return -EAGAIN;
    wire.pair = pair;
    ck_assert_uint_lt(wire.sent_count, FRAMES_MAX);
    frame_set(&wire.sent[wire.sent_count++], header, iov, count, len);
    return 0;
}

static bool offer_first(void)
{
    const struct frame *frame = &wire.waiting[wire.waiting_first];

    if (!wire.base.front->deliver(wire.base.front_opaque, &frame->header, frame->bytes, frame->len))
        return false;
    free(frame->bytes);
    wire.waiting_first++;
    return true;
}

static void wire_room(struct net_backend *backend)
{
    while (wire.waiting_first < wire.waiting_count && offer_first())
        ;
}

static ssize_t wire_receive(struct net_backend *backend, unsigned pair, struct net_header *header,
                            const struct iovec *iov, unsigned count)
{
    ck_assert_uint_le(count, NET_IOV_MAX);
    if (wire.waiting_first == wire.waiting_count) {
        wire.empty_said = true;
        return -EAGAIN;
    }
    struct frame *frame = &wire.waiting[wire.waiting_first++];
    *header = frame->header;
    iov_from_buf(iov, count, 0, frame->bytes, frame->len);
    free(frame->bytes);
    return (ssize_t)frame->len;
}

static void wire_offloads(struct net_backend *backend, uint32_t gives)
{
    wire.gives = gives;
}

static void wire_destroy(struct net_backend *backend)
{
    wire.destroyed = true;
    for (unsigned i = 0; i < wire.sent_count; i++)
        free(wire.sent[i].bytes);
    for (; wire.waiting_first < wire.waiting_count; wire.waiting_first++)
        free(wire.waiting[wire.waiting_first].bytes);
}

static const struct net_backend_ops delivers = {
    .name = "delivers", .send = wire_send, .room = wire_room, .set_offloads = wire_offloads, .destroy = wire_destroy};
static const struct net_backend_ops is_asked = {.name = "is_asked",
                                                .send = wire_send,
                                                .receive = wire_receive,
                                                .set_offloads = wire_offloads,
                                                .destroy = wire_destroy};

/* Gives the device a frame, or keeps it until there is room. */
static void arrive(const uint8_t *bytes, size_t len, struct net_header header)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, len};

    ck_assert_uint_lt(wire.waiting_count, FRAMES_MAX);
    frame_set(&wire.waiting[wire.waiting_count++], &header, &iov, 1, len);
    if (wire.base.ops->receive) {
        wire.base.front->readable(wire.base.front_opaque, 0);
        vq_turn(dev);
    } else {
        if (wire.waiting_count - wire.waiting_first == 1)
            offer_first();
        wire.base.front->delivered(wire.base.front_opaque);
    }
}

/* ---- the device ---- */

static void create(const struct net_backend_ops *ops, unsigned pairs)
{
    struct virtio_net_config config = {
        .backend = &wire.base, .mac = {0x52, 0x54, 0, 1, 2, 3}, .pairs = (uint16_t)pairs};

    wire = (struct wire){.base = {.ops = ops,
                                  .can = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_TAKES_ECN |
                                         NET_TAKES_UFO | NET_GIVES_CSUM,
                                  .mtu = 9000,
                                  .pairs = NET_PAIRS_MAX,
                                  .any_pair = true}};
    mem = vq_make_mem();
    ck_assert_int_eq(loop_create(&loop), 0);
    config.mem = mem;
    config.loop = loop;
    ck_assert_int_eq(virtio_net_create(&config, &dev), 0);
    interrupts = (struct vq_interrupts){0};
    vq_attach(dev, &interrupts);
}

static void destroy(void)
{
    dev->base.ops->destroy(&dev->base);
    ck_assert(wire.destroyed);
    loop_destroy(loop);
    mem_destroy(mem);
}

static void drive(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1));
    vq_give(dev, 0, &rx, RX_BASE, QUEUE_ENTRIES);
    vq_give(dev, 1, &tx, TX_BASE, QUEUE_ENTRIES);
    if (features & F(22)) {
        vq_give(dev, 2, &rx2, RX2_BASE, QUEUE_ENTRIES);
        vq_give(dev, 3, &tx2, TX2_BASE, QUEUE_ENTRIES);
        vq_give(dev, 4, &ctrl, CTRL_BASE, QUEUE_ENTRIES);
    } else if (features & F(17)) {
        vq_give(dev, 2, &ctrl, CTRL_BASE, QUEUE_ENTRIES);
    }
    vq_driver_ok(dev);
    vq_turn(dev);
}

/* Both ring formats and both kinds of back end. */
static const uint64_t formats[] = {0, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED};
static const struct net_backend_ops *const kinds[] = {&delivers, &is_asked};

static void set_up_kind(int i, uint64_t features)
{
    create(kinds[i % 2], 1);
    drive(features | formats[i / 2]);
}

enum { VARIANTS = 6 };

static uint8_t *at(uint64_t gpa)
{
    return vq_at(&rx, gpa, 1);
}

static void pattern(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(seed + i * 3 + i / 256);
    bytes[0] = 0x52; /* to the device's own address */
    memcpy(bytes + 1, "\x54\x00\x01\x02\x03", 5);
}

/* Sends header and frame in as many pieces as given lengths of the frame. */
static void send_frame(struct net_header header, const uint8_t *frame, size_t len, size_t first)
{
    struct vq_buffer buffers[] = {{BUFFERS, sizeof(header), false},
                                  {BUFFERS + 0x100, (uint32_t)first, false},
                                  {BUFFERS + 0x20000, (uint32_t)(len - first), false}};

    memcpy(at(BUFFERS), &header, sizeof(header));
    memcpy(at(BUFFERS + 0x100), frame, first);
    memcpy(at(BUFFERS + 0x20000), frame + first, len - first);
    ck_assert_int_ge(vq_send(dev, 1, &tx, buffers, 3), 0);
    vq_turn(dev);
}

static void expect_used(struct vq *vq, uint32_t expected)
{
    uint32_t written;
    uint16_t id;

    ck_assert(vq_next_used(vq, &id, &written));
    ck_assert_uint_eq(written, expected);
}

static void expect_none_used(struct vq *vq)
{
    uint32_t written;
    uint16_t id;

    ck_assert(!vq_next_used(vq, &id, &written));
}

/* Receive buffers of `bytes` each, one behind the other from BUFFERS + 0x40000 on. */
static unsigned rx_given;

static void give_buffers(unsigned count, uint32_t bytes)
{
    for (unsigned i = 0; i < count; i++, rx_given++) {
        struct vq_buffer buffer = {BUFFERS + 0x40000 + rx_given * (uint64_t)bytes, bytes, true};
        ck_assert_int_ge(vq_send(dev, 0, &rx, &buffer, 1), 0);
    }
    vq_turn(dev);
}

/* The next packet for the driver, put together from `buffers` used buffers of `bytes` each from number `first` on. */
static void expect_packet(const uint8_t *frame, size_t len, unsigned first, unsigned buffers, uint32_t bytes)
{
    const uint8_t *got = at(BUFFERS + 0x40000 + first * (uint64_t)bytes);
    struct net_header header;

    for (size_t left = len + sizeof(header); left; left -= left < bytes ? left : bytes, buffers--)
        expect_used(&rx, left < bytes ? (uint32_t)left : bytes);
    ck_assert_uint_eq(buffers, 0);
    memcpy(&header, got, sizeof(header));
    ck_assert_uint_eq(header.num_buffers, (len + sizeof(header) + bytes - 1) / bytes);
    ck_assert_mem_eq(got + sizeof(header), frame, len);
}

/* ---- features and configuration ---- */

START_TEST(features_are_what_the_back_end_can)
{
    create(&delivers, 1);
    ck_assert_uint_eq(virtio_offered_features(dev, 0) & 0xffffff,
                      F_ALL_OFFLOADS | F_MRG | F_CTRL | F(3) | F(5) | F(16));
    destroy();
    create(&delivers, 4);
    ck_assert(virtio_offered_features(dev, 0) & F(22));
    destroy();
}
END_TEST

START_TEST(features_without_what_they_need_are_refused)
{
    static const unsigned alone[] = {11, 12, 13, 14, 18, 20, 21, 23};

    create(&delivers, 1);
    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
        ck_assert_msg(!vq_negotiate(dev, F(alone[i]) | VIRTIO_F_VERSION_1), "bit %u", alone[i]);
    ck_assert(vq_negotiate(dev, F(0) | F(11) | F(13) | F(17) | F(18) | VIRTIO_F_VERSION_1));
    destroy();
}
END_TEST

START_TEST(configuration_has_mac_link_pairs_and_mtu)
{
    static const uint8_t expected[12] = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 4, 0, 0x28, 0x23};
    uint8_t config[16];

    create(&delivers, 4);
    virtio_config_read(dev, 0, config, 8);
    virtio_config_read(dev, 8, config + 8, 4);
    ck_assert_mem_eq(config, expected, sizeof(expected));
    drive(F_CTRL);
    wire.base.front->link(wire.base.front_opaque, false);
    ck_assert_uint_eq(interrupts.config, 1);
    virtio_config_read(dev, 6, config, 2);
    ck_assert_uint_eq(config[0], 0);
    wire.base.front->link(wire.base.front_opaque, false); /* no news */
    ck_assert_uint_eq(interrupts.config, 1);
    destroy();
}
END_TEST

START_TEST(back_end_learns_what_was_negotiated)
{
    create(&delivers, 1);
    drive(F(1));
    ck_assert_uint_eq(wire.gives, NET_GIVES_CSUM);
    virtio_set_status(dev, 0);
    ck_assert_uint_eq(wire.gives, 0);
    destroy();
}
END_TEST

/* ---- sending ---- */

START_TEST(packets_reach_the_back_end_with_their_headers)
{
    struct net_header header = {.flags = 0xff,
                                .gso_type = NET_GSO_TCPV4 | NET_GSO_ECN,
                                .hdr_len = 54,
                                .gso_size = 1448,
                                .csum_start = 34,
                                .csum_offset = 16,
                                .num_buffers = 7};

    set_up_kind(_i, F_ALL_OFFLOADS);
    pattern(big, 60000, 1);
    send_frame(header, big, 60000, 54);
    expect_used(&tx, 0);
    ck_assert_uint_eq(wire.sent_count, 1);
    ck_assert_uint_eq(wire.sent[0].len, 60000);
    ck_assert_mem_eq(wire.sent[0].bytes, big, 60000);
    header.flags = NET_HEADER_NEEDS_CSUM;
    header.num_buffers = 0;
    ck_assert_mem_eq(&wire.sent[0].header, &header, sizeof(header));
    destroy();
}
END_TEST

START_TEST(packets_that_break_the_rules_are_dropped_and_given_back)
{
    static const struct net_header bad[] = {
        {.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 99, .csum_offset = 0}, /* outside of 100 bytes */
        {.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535},
        {.gso_type = NET_GSO_TCPV4, .gso_size = 1000}, /* no checksum */
        {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = NET_GSO_TCPV6, .gso_size = 0},
        {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 2, .gso_size = 100},
        {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 5, .gso_size = 100},
    };
    struct vq_buffer none = {BUFFERS, 12, false}, writable = {BUFFERS, 100, true};

    set_up_kind(_i, F(0) | F(11) | F(12));
    pattern(big, 100, 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        send_frame(bad[i], big, 100, 50);
        expect_used(&tx, 0);
    }
    send_frame((struct net_header){0}, big, 13, 5); /* no frame */
    expect_used(&tx, 0);
    send_frame((struct net_header){0}, big, FRAME_BYTES + 1, 100);
    expect_used(&tx, 0);
    vq_send(dev, 1, &tx, &none, 1);
    vq_turn(dev);
    expect_used(&tx, 0);
    vq_send(dev, 1, &tx, &writable, 1);
    vq_turn(dev);
    expect_used(&tx, 0);
    ck_assert_uint_eq(wire.sent_count, 0);
    send_frame((struct net_header){0}, big, 100, 50); /* the device goes on */
    ck_assert_uint_eq(wire.sent_count, 1);
    destroy();
}
END_TEST

START_TEST(offloads_that_were_not_negotiated_are_not_passed_on)
{
    set_up_kind(_i, 0);
    send_frame((struct net_header){.flags = 1, .csum_start = 34, .csum_offset = 16}, big, 100, 50);
    send_frame((struct net_header){.flags = 1, .gso_type = 1, .gso_size = 9, .csum_start = 34}, big, 100, 50);
    ck_assert_uint_eq(wire.sent_count, 0);
    destroy();
}
END_TEST

/* More pieces than a host call takes, in an indirect table of its own. */
START_TEST(packet_in_a_thousand_pieces_is_sent)
{
    enum { PIECES = VIRTQ_CHAIN_SEGMENTS };
    uint64_t table = BUFFERS + 0x80000;

    create(&delivers, 1);
    drive(VIRTIO_F_INDIRECT_DESC);
    pattern(big, PIECES - 1, 9);
    memset(at(BUFFERS), 0, 12);
    memcpy(at(BUFFERS + 12), big, PIECES - 1);
    for (unsigned i = 0; i < PIECES; i++)
        vq_poke_desc(&tx, table + 16 * (uint64_t)i, i ? BUFFERS + 11 + i : BUFFERS, i ? 1 : 12,
                     i + 1 < PIECES ? VQ_NEXT : 0, (uint16_t)(i + 1));
    vq_poke_desc(&tx, vq_desc(&tx, 0), table, 16 * PIECES, VQ_INDIRECT, 0);
    vq_poke16(&tx, vq_driver_area(&tx) + 4, 0);
    vq_poke16(&tx, vq_driver_area(&tx) + 2, 1);
    virtio_kick(dev, 1);
    vq_turn(dev);
    ck_assert_uint_eq(wire.sent_count, 1);
    ck_assert_uint_eq(wire.sent[0].len, PIECES - 1);
    ck_assert_mem_eq(wire.sent[0].bytes, big, PIECES - 1);
    destroy();
}
END_TEST

START_TEST(back_end_that_is_full_makes_packets_wait_in_order)
{
    set_up_kind(_i, 0);
    wire.full = true;
    for (unsigned i = 0; i < 5; i++) {
        struct vq_buffer buffers[] = {{BUFFERS, 12, false}, {BUFFERS + 0x1000 + i * 0x100u, 60 + i, false}};
        memset(at(BUFFERS), 0, 12);
        pattern(at(BUFFERS + 0x1000 + i * 0x100u), 60, i);
        ck_assert_int_ge(vq_send(dev, 1, &tx, buffers, 2), 0);
        vq_turn(dev);
        expect_none_used(&tx);
    }
    wire.full = false;
    vq_turn(dev);
    ck_assert_uint_eq(wire.sent_count, 0); /* it says when */
    wire.base.front->writable(wire.base.front_opaque, 0);
    vq_turn(dev);
    ck_assert_uint_eq(wire.sent_count, 5);
    for (unsigned i = 0; i < 5; i++) {
        expect_used(&tx, 0);
        ck_assert_uint_eq(wire.sent[i].len, 60 + i);
    }
    destroy();
}
END_TEST

START_TEST(rate_limit_holds_packets_until_it_is_lifted)
{
    struct rate_limit_config one = {.ops_per_s = 1, .ops_burst = 1}, none = {0};

    set_up_kind(_i, F_MRG);
    virtio_net_set_rates(dev, &one, &one);
    vq_turn(dev);
    pattern(big, 80, 1);
    for (unsigned i = 0; i < 3; i++)
        send_frame((struct net_header){0}, big, 80, 20);
    ck_assert_uint_eq(wire.sent_count, 1);
    give_buffers(4, 1024);
    for (unsigned i = 0; i < 3; i++)
        arrive(big, 80, (struct net_header){0});
    expect_packet(big, 80, 0, 1, 1024);
    expect_none_used(&rx);
    virtio_net_set_rates(dev, &none, &none);
    vq_turn(dev);
    ck_assert_uint_eq(wire.sent_count, 3);
    expect_packet(big, 80, 1, 1, 1024);
    expect_packet(big, 80, 2, 1, 1024);
    destroy();
}
END_TEST

/* ---- receiving ---- */

START_TEST(packets_fill_one_buffer_or_several)
{
    static const size_t sizes[] = {14, 500, 1012, 1013, 5000, 9014};
    unsigned used = 0;

    set_up_kind(_i, F_MRG);
    give_buffers(2, 1024);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned needs = (unsigned)(sizes[i] + 12 + 1023) / 1024;
        pattern(big, sizes[i], i);
        arrive(big, sizes[i], (struct net_header){0});
        if (used + needs > rx_given) /* it waits for the rest */
            expect_none_used(&rx);
        while (used + needs > rx_given)
            give_buffers(1, 1024);
        expect_packet(big, sizes[i], used, needs, 1024);
        used += needs;
    }
    ck_assert_uint_eq(interrupts.queues & 1, 1);
    destroy();
}
END_TEST

START_TEST(packets_wait_for_buffers_and_none_is_lost)
{
    set_up_kind(_i, F_MRG);
    for (unsigned i = 0; i < 10; i++) {
        pattern(big, 100 + i, i);
        arrive(big, 100 + i, (struct net_header){0});
    }
    expect_none_used(&rx);
    give_buffers(10, 256);
    for (unsigned i = 0; i < 10; i++) {
        pattern(big, 100 + i, i);
        expect_packet(big, 100 + i, i, 1, 256);
    }
    destroy();
}
END_TEST

START_TEST(packet_larger_than_all_buffers_is_dropped)
{
    set_up_kind(_i, F_MRG);
    give_buffers(QUEUE_ENTRIES, 256);
    pattern(big, 9014, 1);
    arrive(big, 9014, (struct net_header){0});
    expect_none_used(&rx);
    arrive(big, 60, (struct net_header){0});
    expect_packet(big, 60, 0, 1, 256);
    destroy();
}
END_TEST

START_TEST(packet_larger_than_its_buffer_is_dropped_without_merging)
{
    set_up_kind(_i, 0);
    give_buffers(2, 1526);
    pattern(big, 9014, 1);
    arrive(big, 1515, (struct net_header){0});
    expect_none_used(&rx);
    arrive(big, 1514, (struct net_header){0});
    expect_packet(big, 1514, 0, 1, 1526);
    destroy();
}
END_TEST

START_TEST(checksum_flags_are_for_drivers_that_asked)
{
    struct net_header valid = {.flags = NET_HEADER_DATA_VALID};

    for (unsigned asked = 0; asked < 2; asked++) {
        set_up_kind(_i, F_MRG | (asked ? F(1) : 0));
        rx_given = 0;
        give_buffers(1, 1024);
        arrive(big, 60, valid);
        expect_used(&rx, 72);
        ck_assert_uint_eq(*at(BUFFERS + 0x40000), asked ? NET_HEADER_DATA_VALID : 0);
        destroy();
    }
}
END_TEST

START_TEST(receive_buffers_that_cannot_be_fail_the_device)
{
    static const struct vq_buffer bad[] = {{BUFFERS, 11, true}, {BUFFERS, 2000, false}};

    for (unsigned i = 0; i < 2; i++) {
        set_up_kind(_i, F_MRG);
        vq_send(dev, 0, &rx, &bad[i], 1);
        vq_turn(dev);
        arrive(big, 60, (struct net_header){0});
        ck_assert(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
        arrive(big, 60, (struct net_header){0});
        destroy();
    }
}
END_TEST

START_TEST(reset_forgets_buffers_that_were_taken)
{
    set_up_kind(_i, F_MRG);
    give_buffers(2, 256);
    arrive(big, 2000, (struct net_header){0}); /* has taken both, waits for more */
    expect_none_used(&rx);
    drive(F_MRG | formats[_i / 2]);
    rx_given = 0;
    give_buffers(12, 256);
    if (kinds[_i % 2] == &delivers) /* which still had it */
        expect_packet(big, 2000, 0, 8, 256);
    expect_none_used(&rx);
    destroy();
}
END_TEST

START_TEST(queue_reset_forgets_buffers_that_were_taken)
{
    set_up_kind(_i, F_MRG | VIRTIO_F_RING_RESET);
    give_buffers(2, 256);
    arrive(big, 2000, (struct net_header){0});
    virtio_queue_reset(dev, 0);
    vq_give(dev, 0, &rx, RX_BASE, QUEUE_ENTRIES);
    rx_given = 8;
    give_buffers(12, 256);
    if (kinds[_i % 2] == &delivers)
        expect_packet(big, 2000, 8, 8, 256);
    expect_none_used(&rx);
    destroy();
}
END_TEST

START_TEST(saved_state_has_taken_buffers_available_again)
{
    set_up_kind(_i, F_MRG | F_CTRL);
    give_buffers(3, 256);
    pattern(big, 2000, 3);
    arrive(big, 2000, (struct net_header){0});
    save_reset_load(&dev->base);
    vq_turn(dev);
    give_buffers(9, 256);
    if (kinds[_i % 2] != &delivers)
        arrive(big, 2000, (struct net_header){0}); /* the one that was being fetched is gone, as on a wire */
    expect_packet(big, 2000, 0, 8, 256);
    destroy();
}
END_TEST

/* ---- the control queue ---- */

static uint8_t command(uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
    struct vq_buffer buffers[] = {{BUFFERS, 2, false}, {BUFFERS + 0x10, len, false}, {BUFFERS + 0x2000, 1, true}};
    unsigned queue = (dev->driver_features & F(22)) ? 4 : 2;

    *at(BUFFERS) = class;
    *at(BUFFERS + 1) = cmd;
    *at(BUFFERS + 0x2000) = 0xee;
    if (len)
        memcpy(at(BUFFERS + 0x10), data, len);
    if (!len)
        buffers[1] = buffers[2];
    vq_send(dev, queue, &ctrl, buffers, len ? 3 : 2);
    vq_turn(dev);
    expect_used(&ctrl, 1);
    return *at(BUFFERS + 0x2000);
}

static bool hears(const char *mac)
{
    uint32_t written;
    uint16_t id;

    memset(big, 0, 60);
    memcpy(big, mac, 6);
    arrive(big, 60, (struct net_header){0});
    bool heard = vq_next_used(&rx, &id, &written);
    if (heard)
        give_buffers(1, 1024);
    return heard;
}

#define OWN "\x52\x54\x00\x01\x02\x03"
#define OTHER "\x52\x54\x00\x09\x09\x09"
#define MULTI "\x01\x00\x5e\x00\x00\x01"
#define MULTI2 "\x33\x33\x00\x00\x00\x01"
#define BROAD "\xff\xff\xff\xff\xff\xff"

START_TEST(receive_modes_choose_what_is_heard)
{
    static const uint8_t on = 1, off = 0;
    uint8_t tables[4 + 6 + 4 + 6] = {1, 0, 0, 0, 0x52, 0x54, 0, 9, 9, 9, 1, 0, 0, 0, 0x01, 0, 0x5e, 0, 0, 1};

    set_up_kind(_i, F_MRG | F_CTRL);
    give_buffers(4, 1024);
    ck_assert(hears(OWN) && hears(BROAD) && !hears(OTHER) && !hears(MULTI));
    ck_assert_uint_eq(command(0, 0, &on, 1), 0); /* promiscuous */
    ck_assert(hears(OTHER) && hears(MULTI));
    ck_assert_uint_eq(command(0, 0, &off, 1), 0);
    ck_assert_uint_eq(command(0, 1, &on, 1), 0); /* all multicast */
    ck_assert(!hears(OTHER) && hears(MULTI));
    ck_assert_uint_eq(command(0, 1, &off, 1), 0);
    ck_assert_uint_eq(command(1, 0, tables, sizeof(tables)), 0);
    ck_assert(hears(OTHER) && hears(MULTI) && !hears(MULTI2));
    ck_assert_uint_eq(command(0, 3, &on, 1), 0); /* no multicast */
    ck_assert_uint_eq(command(0, 4, &on, 1), 0); /* no unicast */
    ck_assert(!hears(OTHER) && !hears(MULTI) && !hears(OWN) && hears(BROAD));
    ck_assert_uint_eq(command(0, 5, &on, 1), 0); /* no broadcast */
    ck_assert(!hears(BROAD));
    save_reset_load(&dev->base);
    vq_turn(dev);
    ck_assert(!hears(BROAD));
    destroy();
}
END_TEST

START_TEST(more_addresses_than_the_table_holds_are_all_heard)
{
    uint8_t tables[4 + 65 * 6 + 4] = {65};

    set_up_kind(_i, F_MRG | F_CTRL);
    give_buffers(4, 1024);
    ck_assert_uint_eq(command(1, 0, tables, sizeof(tables)), 0);
    ck_assert(hears(OTHER) && !hears(MULTI));
    destroy();
}
END_TEST

START_TEST(commands_that_mean_nothing_are_refused)
{
    uint8_t many[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, short_table[] = {2, 0, 0, 0, 1, 2, 3, 4, 5, 6};

    set_up_kind(_i, F_CTRL);
    ck_assert_uint_eq(command(0, 6, many, 1), 1);
    ck_assert_uint_eq(command(0, 0, NULL, 0), 1);
    ck_assert_uint_eq(command(1, 0, many, 8), 1);
    ck_assert_uint_eq(command(1, 0, many, 3), 1);
    ck_assert_uint_eq(command(1, 0, short_table, sizeof(short_table)), 1);
    ck_assert_uint_eq(command(1, 1, many, 5), 1);
    ck_assert_uint_eq(command(4, 0, many, 2), 1); /* pairs, without MQ */
    ck_assert_uint_eq(command(2, 0, many, 2), 1); /* VLANs */
    ck_assert_uint_eq(command(77, 1, many, 2), 1);
    ck_assert_uint_eq(command(1, 1, OTHER, 6), 0);
    uint8_t mac[6];
    virtio_config_read(dev, 0, mac, 4);
    virtio_config_read(dev, 4, mac + 4, 2);
    ck_assert_mem_eq(mac, OTHER, 6);
    destroy();
}
END_TEST

START_TEST(command_without_place_for_an_answer_fails_the_device)
{
    struct vq_buffer buffer = {BUFFERS, 3, false};

    set_up_kind(_i, F_CTRL);
    vq_send(dev, 2, &ctrl, &buffer, 1);
    vq_turn(dev);
    ck_assert(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
    destroy();
}
END_TEST

START_TEST(restored_guest_is_asked_to_announce_itself)
{
    uint8_t status;

    set_up_kind(_i, F_CTRL);
    interrupts.config = 0;
    save_reset_load(&dev->base);
    ck_assert_uint_eq(interrupts.config, 1);
    virtio_config_read(dev, 6, &status, 1);
    ck_assert_uint_eq(status, 3);
    ck_assert_uint_eq(command(3, 0, NULL, 0), 0);
    virtio_config_read(dev, 6, &status, 1);
    ck_assert_uint_eq(status, 1);
    destroy();
}
END_TEST

START_TEST(state_of_ones_is_made_valid)
{
    set_up_kind(_i, F_CTRL | F_MRG);
    size_t len;
    uint8_t *state = save(&dev->base, &len);
    struct virtio_device before = *dev;

    for (const struct device_field *field = dev->ops->fields; field->name; field++)
        memset((uint8_t *)dev + field->offset, 0xff, (size_t)field->element_bytes * field->count);
    dev->ops->post_restore(dev);
    give_buffers(2, 1024);
    (void)hears(MULTI);
    (void)hears(OTHER);
    ck_assert_uint_eq(command(0, 0, "\1", 1), 0);
    ck_assert(before.ops == dev->ops);
    free(state);
    destroy();
}
END_TEST

/* ---- several pairs ---- */

/* TCP over IPv4 between two addresses and ports. */
static void tcp_frame(uint8_t *frame, uint8_t from, uint8_t to, uint16_t from_port, uint16_t to_port)
{
    memset(frame, 0, 60);
    memcpy(frame, OWN, 6);
    memcpy(frame + 12, "\x08\x00\x45", 3);
    frame[23] = 6;
    frame[29] = from;
    frame[33] = to;
    frame[34] = (uint8_t)(from_port >> 8);
    frame[35] = (uint8_t)from_port;
    frame[36] = (uint8_t)(to_port >> 8);
    frame[37] = (uint8_t)to_port;
}

START_TEST(connections_come_back_on_the_pair_they_were_sent_from)
{
    uint16_t pairs = 2;
    unsigned on_second = 0;
    struct vq_buffer header = {BUFFERS, 12, false}, frame = {BUFFERS + 0x100, 60, false};

    create(&delivers, 2);
    drive(F_MRG | F_CTRL | F(22));
    ck_assert_uint_eq(command(4, 0, &pairs, 2), 0);
    memset(at(BUFFERS), 0, 12);
    for (unsigned i = 0; i < 8; i++) {
        struct vq_buffer first = {BUFFERS + 0x40000, 256, true}, second = {BUFFERS + 0x50000, 256, true};
        struct vq_buffer both[] = {header, frame};
        uint32_t written;
        uint16_t id;
        vq_send(dev, 0, &rx, &first, 1);
        vq_send(dev, 2, &rx2, &second, 1);
        vq_turn(dev);
        tcp_frame(at(BUFFERS + 0x100), 15, 2, (uint16_t)(40000 + 7 * i), 80);
        ck_assert_int_ge(vq_send(dev, i & 1 ? 3 : 1, i & 1 ? &tx2 : &tx, both, 2), 0);
        vq_turn(dev);
        tcp_frame(big, 2, 15, 80, (uint16_t)(40000 + 7 * i));
        arrive(big, 60, (struct net_header){0});
        on_second += vq_next_used(i & 1 ? &rx2 : &rx, &id, &written);
        (void)vq_next_used(i & 1 ? &tx2 : &tx, &id, &written);
    }
    ck_assert_uint_eq(on_second, 8);
    pairs = 3;
    ck_assert_uint_eq(command(4, 0, &pairs, 2), 1);
    pairs = 0;
    ck_assert_uint_eq(command(4, 0, &pairs, 2), 1);
    destroy();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_net");
    TCase *tcase = tcase_create("virtio_net");

    tcase_add_test(tcase, features_are_what_the_back_end_can);
    tcase_add_test(tcase, features_without_what_they_need_are_refused);
    tcase_add_test(tcase, configuration_has_mac_link_pairs_and_mtu);
    tcase_add_test(tcase, back_end_learns_what_was_negotiated);
    tcase_add_test(tcase, packet_in_a_thousand_pieces_is_sent);
    tcase_add_test(tcase, connections_come_back_on_the_pair_they_were_sent_from);
    tcase_add_loop_test(tcase, packets_reach_the_back_end_with_their_headers, 0, VARIANTS);
    tcase_add_loop_test(tcase, packets_that_break_the_rules_are_dropped_and_given_back, 0, VARIANTS);
    tcase_add_loop_test(tcase, offloads_that_were_not_negotiated_are_not_passed_on, 0, VARIANTS);
    tcase_add_loop_test(tcase, back_end_that_is_full_makes_packets_wait_in_order, 0, VARIANTS);
    tcase_add_loop_test(tcase, rate_limit_holds_packets_until_it_is_lifted, 0, VARIANTS);
    tcase_add_loop_test(tcase, packets_fill_one_buffer_or_several, 0, VARIANTS);
    tcase_add_loop_test(tcase, packets_wait_for_buffers_and_none_is_lost, 0, VARIANTS);
    tcase_add_loop_test(tcase, packet_larger_than_all_buffers_is_dropped, 0, VARIANTS);
    tcase_add_loop_test(tcase, packet_larger_than_its_buffer_is_dropped_without_merging, 0, VARIANTS);
    tcase_add_loop_test(tcase, checksum_flags_are_for_drivers_that_asked, 0, VARIANTS);
    tcase_add_loop_test(tcase, receive_buffers_that_cannot_be_fail_the_device, 0, VARIANTS);
    tcase_add_loop_test(tcase, reset_forgets_buffers_that_were_taken, 0, VARIANTS);
    tcase_add_loop_test(tcase, queue_reset_forgets_buffers_that_were_taken, 0, VARIANTS);
    tcase_add_loop_test(tcase, saved_state_has_taken_buffers_available_again, 0, VARIANTS);
    tcase_add_loop_test(tcase, receive_modes_choose_what_is_heard, 0, VARIANTS);
    tcase_add_loop_test(tcase, more_addresses_than_the_table_holds_are_all_heard, 0, VARIANTS);
    tcase_add_loop_test(tcase, commands_that_mean_nothing_are_refused, 0, VARIANTS);
    tcase_add_loop_test(tcase, command_without_place_for_an_answer_fails_the_device, 0, VARIANTS);
    tcase_add_loop_test(tcase, restored_guest_is_asked_to_announce_itself, 0, VARIANTS);
    tcase_add_loop_test(tcase, state_of_ones_is_made_valid, 0, VARIANTS);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
