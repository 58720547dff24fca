/* Fuzz target: a network device's queues. The bytes are stores into the memory where its rings and packets lie, kicks,
 * and what the host's side does meanwhile. Besides not crashing:
 *
 *   - what reaches the back end is a frame of the lengths it was promised, in RAM, under a header that is valid
 *   - a frame that was taken for the guest is delivered, filtered or counted as dropped
 *   - after a reset the device works
 */
#include "base/loop.h"
#include "dev/iov.h"
#include "dev/net/checksum.h"
#include "dev/virtio/virtio_net.h"
#include "fuzz.h"
#include "mem/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RAM_GPA = 0x80000000,
    RAM_BYTES = 0x40000,
    RING_STEP = 0x3000,
    QUEUES = 3,
    OPERATIONS_MAX = 300,
};

struct wire {
    struct net_backend base;
    const uint8_t *ram;
    unsigned sent, waiting;
    bool full, fetched;
};

/* One for all inputs, as descriptors cost more than an input. It does not run: turns are operations. */
static struct loop *loop;
static uint8_t frame[NET_FRAME_MAX_BYTES], copy[NET_FRAME_MAX_BYTES];

static int wire_send(struct net_backend *backend, unsigned pair, const struct net_header *header,
                     const struct iovec *iov, unsigned count, size_t len)
{
    struct wire *wire = (struct wire *)backend;

    require(pair == 0 && count > 0 && count <= NET_IOV_MAX);
    require(len >= NET_FRAME_MIN_BYTES && len <= NET_FRAME_MAX_BYTES && net_header_is_valid(header, len));
    require(iov_to_buf(iov, count, 0, copy, sizeof(copy)) == len);
    if (header->flags & NET_HEADER_NEEDS_CSUM)
        (void)net_checksum_finish(header, iov, count);
    wire->sent++;
    return wire->full ? -EAGAIN : 0;
}

static void wire_room(struct net_backend *backend)
{
    struct wire *wire = (struct wire *)backend;
    const struct net_header header = {.flags = NET_HEADER_DATA_VALID};

    while (wire->waiting && wire->base.front->deliver(wire->base.front_opaque, &header, frame, wire->waiting * 777))
        wire->waiting--;
}

static ssize_t wire_receive(struct net_backend *backend, unsigned pair, struct net_header *header,
                            const struct iovec *iov, unsigned count)
{
    struct wire *wire = (struct wire *)backend;

    require(pair == 0 && count > 0 && count <= NET_IOV_MAX);
    if (!wire->waiting)
        return -EAGAIN;
    *header = (struct net_header){0};
    size_t len = wire->waiting-- * (size_t)777;
    require(iov_from_buf(iov, count, 0, frame, len) == len); /* the last piece holds any frame */
    return (ssize_t)len;
}

static void wire_destroy(struct net_backend *backend)
{
}

static const struct net_backend_ops delivers = {
    .name = "delivers", .send = wire_send, .room = wire_room, .destroy = wire_destroy};
static const struct net_backend_ops is_asked = {
    .name = "is_asked", .send = wire_send, .receive = wire_receive, .destroy = wire_destroy};

static uint64_t part_gpa(unsigned queue, unsigned part)
{
    return RAM_GPA + queue * (uint64_t)RING_STEP + part * (uint64_t)(RING_STEP / 3);
}

static void start(struct virtio_device *dev, uint64_t features, unsigned size)
{
    virtio_set_status(dev, 0);
    virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    features = (features | VIRTIO_F_VERSION_1) & dev->offered;
    virtio_set_driver_features(dev, 0, (uint32_t)features);
    virtio_set_driver_features(dev, 1, (uint32_t)(features >> 32));
    virtio_set_status(dev, VIRTIO_STATUS_FEATURES_OK);
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        virtio_queue_set_size(dev, queue, (uint16_t)size);
        for (unsigned part = 0; part < 3; part++) {
            virtio_queue_set_address(dev, queue, (enum virtio_queue_part)part, false, (uint32_t)part_gpa(queue, part));
            virtio_queue_set_address(dev, queue, (enum virtio_queue_part)part, true, 0);
        }
        virtio_queue_set_ready(dev, queue, true);
    }
    virtio_set_status(dev, virtio_status(dev) | VIRTIO_STATUS_DRIVER_OK);
}

/* A descriptor, as the driver's next in that place of a split ring, made available. */
static void add_descriptor(uint8_t *ram, struct reader *r)
{
    unsigned queue = (unsigned)take(r, 1) % QUEUES, at = (unsigned)take(r, 1) % 16;
    uint8_t *desc = ram + part_gpa(queue, 0) - RAM_GPA + (size_t)at * 16;
    uint8_t *avail = ram + part_gpa(queue, 1) - RAM_GPA;
    uint64_t gpa = RAM_GPA + 0x10000 + take(r, 2) * 3;
    uint32_t len = (uint32_t)take(r, 2);
    uint16_t flags = (uint16_t)take(r, 1), next = (uint16_t)take(r, 1), index, entry = (uint16_t)at;

    memcpy(desc, &gpa, 8);
    memcpy(desc + 8, &len, 4);
    memcpy(desc + 12, &flags, 2);
    memcpy(desc + 14, &next, 2);
    memcpy(&index, avail + 2, 2);
    memcpy(avail + 4 + index % 16 * 2u, &entry, 2);
    index++;
    memcpy(avail + 2, &index, 2);
}

static void operate(struct virtio_device *dev, struct wire *wire, uint8_t *ram, struct reader *r)
{
    const struct net_header header = {0};
    const struct net_front_ops *front = wire->base.front;
    struct rate_limit_config rate;

    switch (take(r, 1) % 12) {
    case 0: { /* bytes anywhere */
        size_t at = (size_t)take(r, 3) % (RAM_BYTES - 8), len = (size_t)take(r, 1) % 8;
        uint64_t value = take(r, (unsigned)len);
        memcpy(ram + at, &value, len);
        break;
    }
    case 1:
    case 2:
    case 3:
    case 4:
        add_descriptor(ram, r);
        break;
    case 5:
    case 6:
        virtio_kick(dev, (uint32_t)take(r, 1) % 5);
        dev->work.fn(dev->work.opaque);
        break;
    case 7:
        wire->waiting += (unsigned)take(r, 1) % 8;
        wire->waiting = wire->waiting > 80 ? 80 : wire->waiting;
        if (!wire->fetched && front->deliver(wire->base.front_opaque, &header, frame, 60))
            front->delivered(wire->base.front_opaque);
        front->readable(wire->base.front_opaque, 0);
        dev->work.fn(dev->work.opaque);
        break;
    case 8:
        wire->full = take(r, 1) & 1;
        front->writable(wire->base.front_opaque, 0);
        break;
    case 9:
        rate = (struct rate_limit_config){.bytes_per_s = take(r, 1), .ops_per_s = take(r, 1)};
        virtio_net_set_rates(dev, &rate, &rate);
        break;
    case 10:
        virtio_queue_reset(dev, (uint32_t)take(r, 1) % 5);
        break;
    default:
        front->link(wire->base.front_opaque, take(r, 1) & 1);
        break;
    }
}

/* One packet out, after everything. */
static void check_alive(struct virtio_device *dev, struct wire *wire, uint8_t *ram)
{
    const struct rate_limit_config none = {0};
    uint8_t bytes[] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};

    memset(ram, 0, RAM_BYTES);
    wire->full = false;
    virtio_net_set_rates(dev, &none, &none);
    start(dev, 0, 16);
    wire->sent = 0;
    memcpy(bytes, &(uint64_t){RAM_GPA + 0x10000}, 8);
    memcpy(bytes + 8, &(uint32_t){72}, 4);
    memset(bytes + 12, 0, 4);
    memcpy(ram + part_gpa(1, 0) - RAM_GPA, bytes, 16);
    ram[part_gpa(1, 1) - RAM_GPA + 2] = 1;
    virtio_kick(dev, 1);
    dev->work.fn(dev->work.opaque);
    require(wire->sent == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = {data, data + len};
    uint8_t kind = (uint8_t)take(&r, 1);
    struct wire wire = {
        .base = {.ops = kind & 1 ? &delivers : &is_asked,
                 .can = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_TAKES_UFO | NET_GIVES_CSUM,
                 .mtu = 1500,
                 .pairs = 1},
        .fetched = !(kind & 1)};
    struct mem *mem;
    struct virtio_device *dev;

    require(mem_create(&mem) == 0 && mem_add_ram(mem, RAM_GPA, RAM_BYTES) == 0);
    require(loop || loop_create(&loop) == 0);
    uint8_t *ram = mem_ram_ptr(mem, RAM_GPA, RAM_BYTES);
    struct virtio_net_config config = {.mem = mem, .loop = loop, .backend = &wire.base, .mac = {2}};
    require(ram && virtio_net_create(&config, &dev) == 0);
    for (uint32_t queue = 0; queue < QUEUES; queue++)
        virtq_reset(&dev->queues[queue]);
    uint64_t features = take(&r, 5);
    start(dev, kind & 2 ? features & ~VIRTIO_F_RING_PACKED : features, 16);
    for (unsigned i = 0; r.at < r.end && i < OPERATIONS_MAX; i++)
        operate(dev, &wire, ram, &r);
    check_alive(dev, &wire, ram);
    dev->base.ops->destroy(&dev->base);
    mem_destroy(mem);
    return 0;
}
