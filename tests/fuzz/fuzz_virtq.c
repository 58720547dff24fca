/* Fuzz target: a guest's rings. The bytes are stores into the memory where three queues lie, register accesses of the
 * devices behind two virtio-mmio slots, and what hosts do meanwhile. Besides not crashing:
 *
 *   - a chain lies in RAM, has no empty buffer, and at most VIRTQ_CHAIN_SEGMENTS of them, of 4 GiB in all
 *   - never more is out than the ring has entries
 *   - a queue that broke hands out nothing
 *   - a slot's line is high exactly while its interrupt status is not zero
 *   - after a reset the device works
 */
#include "base/loop.h"
#include "dev/device_state.h"
#include "dev/virtio/virtio_balloon.h"
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_rng.h"
#include "fuzz_device.h"
#include "mem/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    RAM_GPA = 0x80000000,
    RAM_BYTES = 0x40000,
    SLOT_GPA = 0x10001000,
    SLOTS = 2,
    RING_STEP = 0x1000,
    CHAINS = 8,
};

struct board {
    struct mem *mem;
    struct virtio_device *devices[SLOTS];
    struct device *slots[SLOTS];
    bool lines[SLOTS];
    struct virtq queue; /* driven here, without a device */
    unsigned held;
};

/* Chains are large; there is no more than one input at a time. */
static struct virtq_chain chains[CHAINS];

/* One for all inputs, as descriptors cost more than an input. It does not run: turns are operations. */
static struct loop *loop;

static void set_line(void *opaque, uint32_t number, bool level)
{
    ((struct board *)opaque)->lines[number] = level;
}

static int fill(void *opaque, void *buf, size_t len)
{
    memset(buf, 0x80, len);
    return (int)len;
}

static void make(struct board *b)
{
    require(mem_create(&b->mem) == 0 && mem_add_ram(b->mem, RAM_GPA, RAM_BYTES) == 0);
    require(loop || loop_create(&loop) == 0);
    const struct virtio_rng_config rng = {.mem = b->mem, .loop = loop, .fill = fill};
    const struct virtio_balloon_config balloon = {.mem = b->mem, .loop = loop};
    require(virtio_rng_create(&rng, &b->devices[0]) == 0);
    require(virtio_balloon_create(&balloon, &b->devices[1]) == 0);
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct virtio_mmio_config config = {.mem = b->mem,
                                                  .gpa = SLOT_GPA + i * (uint64_t)VIRTIO_MMIO_BYTES,
                                                  .irq = {.set = set_line, .opaque = b, .number = i},
                                                  .device = b->devices[i]};
        require(virtio_mmio_create(&config, &b->slots[i]) == 0);
    }
}

static void unmake(struct board *b)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        b->slots[i]->ops->destroy(b->slots[i]);
        b->devices[i]->base.ops->destroy(&b->devices[i]->base);
    }
    mem_destroy(b->mem);
}

static uint32_t get(const struct board *b, unsigned slot, uint64_t offset)
{
    uint64_t value;

    require(mem_mmio_read(b->mem, SLOT_GPA + slot * (uint64_t)VIRTIO_MMIO_BYTES + offset, 4, &value) == 0);
    return (uint32_t)value;
}

static void set(const struct board *b, unsigned slot, uint64_t offset, uint32_t value)
{
    require(mem_mmio_write(b->mem, SLOT_GPA + slot * (uint64_t)VIRTIO_MMIO_BYTES + offset, 4, value) == 0);
}

/* The parts of ring n: descriptors, the driver's, the device's. */
static uint64_t part_gpa(unsigned ring, unsigned part)
{
    return RAM_GPA + ring * 3 * (uint64_t)RING_STEP + part * (uint64_t)RING_STEP;
}

/* Sets up a device with the features chosen, as a driver would. */
static void start(struct board *b, unsigned slot, uint64_t features, uint16_t size)
{
    features |= VIRTIO_F_VERSION_1;
    set(b, slot, 0x70, 0);
    require(get(b, slot, 0x70) == 0 && !b->lines[slot]);
    set(b, slot, 0x70, 3);
    for (uint32_t word = 0; word < 2; word++) {
        set(b, slot, 0x14, word);
        set(b, slot, 0x24, word);
        set(b, slot, 0x20, get(b, slot, 0x10) & (uint32_t)(features >> 32 * word));
    }
    set(b, slot, 0x70, 11);
    require(get(b, slot, 0x70) == 11);
    for (uint32_t queue = 0; queue < 4; queue++) {
        set(b, slot, 0x30, queue);
        set(b, slot, 0x38, size);
        for (unsigned part = 0; part < 3; part++)
            set(b, slot, 0x80 + 0x10 * (uint64_t)part, (uint32_t)part_gpa((queue + slot) % 3, part));
        set(b, slot, 0x44, 1);
    }
    set(b, slot, 0x70, 15);
}

static uint16_t take_size(struct reader *r, bool packed)
{
    uint16_t size = (uint16_t)(1 + take(r, 1) % 16);

    return packed ? size : (uint16_t)(1u << size % 5);
}

static uint64_t take_features(struct reader *r)
{
    uint64_t bits = take(r, 2);

    return (bits & 1 ? VIRTIO_F_INDIRECT_DESC : 0) | (bits & 2 ? VIRTIO_F_EVENT_IDX : 0) |
           (bits & 4 ? VIRTIO_F_RING_PACKED : 0) | (bits & 8 ? VIRTIO_F_RING_RESET : 0) | (bits >> 4 << 1);
}

/* ---- the queue alone ---- */

static void do_enable(struct board *b, struct reader *r)
{
    uint64_t features = take_features(r);

    b->queue = (struct virtq){.size_max = VIRTQ_SIZE_MAX,
                              .size = take_size(r, features & VIRTIO_F_RING_PACKED),
                              .desc_gpa = part_gpa(0, 0),
                              .driver_gpa = part_gpa(0, 1),
                              .device_gpa = part_gpa(0, 2)};
    b->held = 0;
    require(virtq_enable(&b->queue, b->mem, features) == 0);
}

static void check_chain(const struct board *b, const struct virtq_chain *chain)
{
    uint64_t bytes = 0;
    unsigned count = (unsigned)chain->readable_count + chain->writable_count;

    require(count <= VIRTQ_CHAIN_SEGMENTS && chain->descriptors >= 1 && chain->descriptors <= b->queue.size);
    for (unsigned i = 0; i < count; i++) {
        uint64_t gpa = mem_host_to_gpa(b->mem, chain->iov[i].iov_base);
        require(chain->iov[i].iov_len && mem_ram_ptr(b->mem, gpa, chain->iov[i].iov_len) == chain->iov[i].iov_base);
        bytes += chain->iov[i].iov_len;
    }
    require(bytes == chain->readable_bytes + chain->writable_bytes && bytes <= UINT64_C(1) << 32);
}

static void do_queue(struct board *b, struct reader *r)
{
    struct virtq *q = &b->queue;
    bool broken = q->broken;
    int rc;

    switch (take(r, 1) % 6) {
    case 0:
    case 1:
        if (b->held == CHAINS)
            return;
        rc = virtq_pop(q, &chains[b->held]);
        require(rc == 0 || rc == 1 || rc == -EINVAL);
        require(rc == 0 || !broken);
        require((rc == -EINVAL) == (q->broken && !broken));
        if (rc != 1)
            return;
        check_chain(b, &chains[b->held]);
        if (take(r, 1) % 8 == 0)
            virtq_unpop(q, &chains[b->held]);
        else
            b->held++;
        require(b->held <= q->size);
        return;
    case 2:
        if (b->held) {
            const struct virtq_chain *chain = &chains[--b->held];
            uint64_t room = chain->writable_bytes < 0x1000 ? chain->writable_bytes : 0x1000;
            virtq_push(q, chain, (uint32_t)(take(r, 2) % (room + 1)));
        }
        return;
    case 3:
        (void)virtq_should_interrupt(q);
        return;
    case 4:
        (void)virtq_want_kicks(q, take(r, 1) & 1);
        return;
    case 5:
        require(!virtq_is_empty(q) || !broken);
    }
}

/* ---- memory and devices ---- */

/* A field of a ring, or a whole descriptor. */
static void do_store(struct board *b, struct reader *r)
{
    unsigned ring = (unsigned)take(r, 1) % 3, kind = (unsigned)take(r, 1);

    if (kind % 2) {
        struct {
            uint64_t gpa;
            uint32_t len;
            uint16_t third, fourth;
        } desc = {.gpa = RAM_GPA + take(r, 3) % (RAM_BYTES + 0x100), .len = (uint32_t)take(r, 1 + kind % 4)};
        desc.third = (uint16_t)take(r, 2);
        desc.fourth = (uint16_t)take(r, 2);
        uint64_t at = part_gpa(ring, 0) + 16 * (take(r, 1) % 32);
        require(mem_write(b->mem, at, &desc, sizeof(desc)) == 0);
    } else {
        uint64_t at = part_gpa(ring, 1 + kind / 2 % 2) + 2 * (take(r, 1) % 80);
        uint16_t value = (uint16_t)take(r, 2);
        require(mem_write(b->mem, at, &value, sizeof(value)) == 0);
    }
}

static void do_access(struct board *b, struct reader *r)
{
    unsigned slot = (unsigned)take(r, 1) % SLOTS, size_bytes = 1u << take(r, 1) % 4;
    uint64_t offset = take(r, 1) * 4 % 0x120 / size_bytes * size_bytes, value = 0;
    uint64_t gpa = SLOT_GPA + slot * (uint64_t)VIRTIO_MMIO_BYTES + offset;

    if (take(r, 1) & 1)
        require(mem_mmio_read(b->mem, gpa, size_bytes, &value) == 0);
    else
        require(mem_mmio_write(b->mem, gpa, size_bytes, take(r, size_bytes)) == 0);
}

static void turn(struct board *b, unsigned slot)
{
    b->devices[slot]->work.fn(b->devices[slot]->work.opaque);
}

static void do_restore(struct board *b, struct reader *r)
{
    unsigned which = (unsigned)take(r, 1) % (2 * SLOTS);

    reload(which < SLOTS ? b->slots[which] : &b->devices[which - SLOTS]->base, r, change_rarely);
}

static void do_host(struct board *b, struct reader *r)
{
    uint64_t stats[VIRTIO_BALLOON_STATS_COUNT];

    virtio_balloon_set_target(b->devices[1], (uint32_t)take(r, 2));
    virtio_balloon_request_stats(b->devices[1]);
    (void)virtio_balloon_guest_stats(b->devices[1], stats);
}

static void step(struct board *b, struct reader *r)
{
    switch (take(r, 1) % 16) {
    case 0:
        do_enable(b, r);
        return;
    case 1: {
        uint64_t features = take_features(r);
        start(b, (unsigned)take(r, 1) % SLOTS, features, take_size(r, features & VIRTIO_F_RING_PACKED));
        return;
    }
    case 2:
        do_restore(b, r);
        return;
    case 3:
        do_host(b, r);
        return;
    case 4:
    case 5:
        do_access(b, r);
        return;
    case 6:
    case 7:
        set(b, (unsigned)take(r, 1) % SLOTS, 0x50, (uint32_t)take(r, 1) % 5);
        return;
    case 8:
        turn(b, (unsigned)take(r, 1) % SLOTS);
        return;
    case 9:
    case 10:
    case 11:
        do_queue(b, r);
        return;
    default:
        do_store(b, r);
    }
}

/* What a driver relies on after it has reset a device: one buffer of random bytes. */
static void expect_working(struct board *b)
{
    const struct {
        uint64_t gpa;
        uint32_t len;
        uint16_t flags, next;
    } desc = {.gpa = RAM_GPA + 0x20000, .len = 16, .flags = 2};
    const uint16_t avail[] = {0, 1, 0};
    uint16_t used[4];

    static const uint8_t zeroes[3 * RING_STEP];
    require(mem_write(b->mem, part_gpa(0, 0), zeroes, sizeof(zeroes)) == 0);
    start(b, 0, 0, 4);
    require(mem_write(b->mem, part_gpa(0, 0), &desc, sizeof(desc)) == 0);
    require(mem_write(b->mem, part_gpa(0, 1), avail, sizeof(avail)) == 0);
    set(b, 0, 0x50, 0);
    turn(b, 0);
    require(mem_read(b->mem, part_gpa(0, 2), used, sizeof(used)) == 0);
    require(used[1] == 1 && b->lines[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = {.at = data, .end = data + len};
    struct board b = {0};

    make(&b);
    for (int i = 0; i < 400 && r.at < r.end; i++) {
        step(&b, &r);
        for (unsigned slot = 0; slot < SLOTS; slot++)
            require(b.lines[slot] == (get(&b, slot, 0x60) != 0));
    }
    expect_working(&b);
    unmake(&b);
    return 0;
}
