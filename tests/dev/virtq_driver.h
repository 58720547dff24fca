/* The driver's side of virtqueues for tests (virtio 1.2, 2.7 and 2.8): split and packed rings in a guest's RAM, direct
 * and indirect, with event suppression; and a device driven through what a transport calls. Nothing here is shared with
 * dev/virtio, so that both do not have the same mistake. Tests that break the rules write into the rings with the
 * vq_poke functions.
 *
 * The driver is single-threaded; the device may work on another thread meanwhile.
 */
#ifndef TUFF_TESTS_VIRTQ_DRIVER_H
#define TUFF_TESTS_VIRTQ_DRIVER_H

#include "base/loop.h"
#include "dev/virtio/virtio.h"
#include "dev_test.h"
#include "mem/mem.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum {
    VQ_RAM_GPA = 0x80000000,
    VQ_RAM_BYTES = 16 << 20,
    VQ_NEXT = 1,
    VQ_WRITE = 2,
    VQ_INDIRECT = 4,
    VQ_AVAIL = 1 << 7,
    VQ_USED = 1 << 15,
    /* Where vq_init() puts a queue's parts from its base on: room for 1,024 entries each. */
    VQ_DRIVER_OFFSET = 0x4000,
    VQ_DEVICE_OFFSET = 0x5000,
    VQ_TABLES_OFFSET = 0x8000, /* indirect tables of VQ_TABLE_ENTRIES each, one an entry of the ring */
    VQ_TABLE_ENTRIES = 64,
    VQ_BYTES = VQ_TABLES_OFFSET + VIRTQ_SIZE_MAX * VQ_TABLE_ENTRIES * 16,
};

/* As ck_assert(), which makes a system call each time, for what runs a million times. */
#define VQ_EXPECT(holds)                          \
    do {                                          \
        if (!(holds))                             \
            ck_abort_msg("not true: %s", #holds); \
    } while (0)

struct vq {
    struct mem *mem;
    uint64_t base; /* descriptors; the other parts behind */
    uint16_t size;
    bool packed, event_idx;
    bool in_order; /* negotiated: buffers come back in the order of `given` */
    uint16_t given[VIRTQ_SIZE_MAX];
    uint32_t given_count, back_count;
    uint16_t free_count;           /* entries of the ring that are nobody's */
    uint16_t free[VIRTQ_SIZE_MAX]; /* split: they; packed: ids, which need not be as many */
    uint16_t id_count;
    uint16_t entries[VIRTQ_SIZE_MAX]; /* that a buffer takes, by its id; 0: none such is out */
    uint16_t links[VIRTQ_SIZE_MAX];   /* split: the next one of its chain */
    uint16_t avail;                   /* split: index; packed: position */
    uint16_t kicked;                  /* what avail was when vq_must_kick() was asked last */
    bool avail_wrap, used_wrap;
    uint16_t used;
};

struct vq_buffer {
    uint64_t gpa;
    uint32_t len;
    bool writable;
};

static UNUSED struct mem *vq_make_mem(void)
{
    struct mem *mem = make_mem();

    ck_assert_int_eq(mem_add_ram(mem, VQ_RAM_GPA, VQ_RAM_BYTES), 0);
    return mem;
}

/* ---- guest memory, as another hart would see it ---- */

static UNUSED void *vq_at(const struct vq *vq, uint64_t gpa, size_t len)
{
    void *host = mem_ram_ptr(vq->mem, gpa, len);

    VQ_EXPECT(host);
    return host;
}

#define VQ_ACCESSORS(bits)                                                                     \
    static UNUSED uint##bits##_t vq_peek##bits(const struct vq *vq, uint64_t gpa)              \
    {                                                                                          \
        return __atomic_load_n((uint##bits##_t *)vq_at(vq, gpa, bits / 8), __ATOMIC_ACQUIRE);  \
    }                                                                                          \
    static UNUSED void vq_poke##bits(const struct vq *vq, uint64_t gpa, uint##bits##_t value)  \
    {                                                                                          \
        __atomic_store_n((uint##bits##_t *)vq_at(vq, gpa, bits / 8), value, __ATOMIC_RELEASE); \
    }
VQ_ACCESSORS(16)
VQ_ACCESSORS(32)
VQ_ACCESSORS(64)

static UNUSED uint64_t vq_desc(const struct vq *vq, unsigned index)
{
    return vq->base + 16 * (uint64_t)index;
}

static UNUSED uint64_t vq_driver_area(const struct vq *vq)
{
    return vq->base + VQ_DRIVER_OFFSET;
}

static UNUSED uint64_t vq_device_area(const struct vq *vq)
{
    return vq->base + VQ_DEVICE_OFFSET;
}

/* The indirect table that belongs to an entry of the ring. */
static UNUSED uint64_t vq_table(const struct vq *vq, unsigned index)
{
    return vq->base + VQ_TABLES_OFFSET + (uint64_t)index * VQ_TABLE_ENTRIES * 16;
}

/* A descriptor's four fields; packed: `next` is the id. The flags last. */
static UNUSED void vq_poke_desc(const struct vq *vq, uint64_t at, uint64_t gpa, uint32_t len, uint16_t flags,
                                uint16_t next)
{
    vq_poke64(vq, at, gpa);
    vq_poke32(vq, at + 8, len);
    vq_poke16(vq, at + (vq->packed ? 12 : 14), next);
    vq_poke16(vq, at + (vq->packed ? 14 : 12), flags);
}

/* ---- setting up ---- */

/* An empty ring at `base` (16-byte aligned, VQ_BYTES of RAM, which must be zero or an earlier ring's). */
static UNUSED void vq_init(struct vq *vq, struct mem *mem, uint64_t base, uint16_t size, uint64_t features)
{
    *vq = (struct vq){.mem = mem,
                      .base = base,
                      .size = size,
                      .packed = features & VIRTIO_F_RING_PACKED,
                      .event_idx = features & VIRTIO_F_EVENT_IDX,
                      .in_order = features & VIRTIO_F_IN_ORDER,
                      .free_count = size,
                      .id_count = size,
                      .avail_wrap = true,
                      .used_wrap = true};
    for (unsigned i = 0; i < size; i++)
        vq->free[i] = (uint16_t)(size - 1 - i);
    memset(vq_at(vq, base, VQ_TABLES_OFFSET), 0, VQ_TABLES_OFFSET);
}

/* ---- making buffers available ---- */

static UNUSED uint16_t vq_flags_of(const struct vq *vq, const struct vq_buffer *buffer)
{
    return buffer->writable ? VQ_WRITE : 0;
}

/* Fills the indirect table of `index`. */
static UNUSED void vq_fill_table(const struct vq *vq, unsigned index, const struct vq_buffer *buffers, unsigned count)
{
    VQ_EXPECT(count <= VQ_TABLE_ENTRIES);
    for (unsigned i = 0; i < count; i++) {
        uint16_t more = !vq->packed && i + 1 < count ? VQ_NEXT : 0;
        vq_poke_desc(vq, vq_table(vq, index) + 16 * (uint64_t)i, buffers[i].gpa, buffers[i].len,
                     vq_flags_of(vq, &buffers[i]) | more, more ? (uint16_t)(i + 1) : 0);
    }
}

/* Takes entries for a split chain; the last `indirect` of the buffers go into one table. Returns the head. */
static UNUSED uint16_t vq_chain_split(struct vq *vq, const struct vq_buffer *buffers, unsigned count, unsigned indirect)
{
    unsigned entries = count - indirect + (indirect != 0);
    uint16_t head = 0, before = 0;

    for (unsigned i = 0; i < entries; i++) {
        uint16_t index = vq->free[--vq->free_count];
        if (indirect && i + 1 == entries) {
            vq_fill_table(vq, index, buffers + i, indirect);
            vq_poke_desc(vq, vq_desc(vq, index), vq_table(vq, index), 16 * indirect, VQ_INDIRECT, 0);
        } else {
            vq_poke_desc(vq, vq_desc(vq, index), buffers[i].gpa, buffers[i].len,
                         vq_flags_of(vq, &buffers[i]) | (i + 1 < entries ? VQ_NEXT : 0), 0);
        }
        if (i) {
            vq_poke16(vq, vq_desc(vq, before) + 14, index);
            vq->links[before] = index;
        } else {
            head = index;
        }
        before = index;
    }
    vq->entries[head] = (uint16_t)entries;
    return head;
}

static UNUSED void vq_advance(const struct vq *vq, uint16_t *position, bool *wrap)
{
    if (++*position == vq->size) {
        *position = 0;
        *wrap = !*wrap;
    }
}

static UNUSED uint16_t vq_chain_packed(struct vq *vq, const struct vq_buffer *buffers, unsigned count, bool indirect)
{
    unsigned entries = indirect ? 1 : count;
    uint16_t id = vq->free[--vq->id_count], first = vq->avail, first_flags = 0;

    vq->free_count -= (uint16_t)entries;
    for (unsigned i = 0; i < entries; i++) {
        uint64_t at = vq_desc(vq, vq->avail);
        uint16_t flags = (vq->avail_wrap ? VQ_AVAIL : VQ_USED) | (i + 1 < entries ? VQ_NEXT : 0);
        flags |= indirect ? VQ_INDIRECT : vq_flags_of(vq, &buffers[i]);
        if (indirect)
            vq_fill_table(vq, vq->avail, buffers, count);
        uint64_t gpa = indirect ? vq_table(vq, vq->avail) : buffers[i].gpa;
        vq_poke64(vq, at, gpa);
        vq_poke32(vq, at + 8, indirect ? 16 * count : buffers[i].len);
        vq_poke16(vq, at + 12, id);
        if (i)
            vq_poke16(vq, at + 14, flags);
        else
            first_flags = flags;
        vq_advance(vq, &vq->avail, &vq->avail_wrap);
    }
    vq_poke16(vq, vq_desc(vq, first) + 14, first_flags);
    vq->entries[id] = (uint16_t)entries;
    return id;
}

static UNUSED int vq_add_any(struct vq *vq, const struct vq_buffer *buffers, unsigned count, unsigned indirect)
{
    if (vq->packed)
        return vq_chain_packed(vq, buffers, count, indirect != 0);
    uint16_t head = vq_chain_split(vq, buffers, count, indirect);
    vq_poke16(vq, vq_driver_area(vq) + 4 + 2u * (vq->avail % vq->size), head);
    return head;
}

/* Makes a chain available: readable buffers before writable ones. `indirect`: how many of the last buffers go into a
 * table (packed: none or all). Returns its id, or -1 when the ring has no room. */
static UNUSED int vq_add(struct vq *vq, const struct vq_buffer *buffers, unsigned count, unsigned indirect)
{
    unsigned entries = count - indirect + (indirect != 0);

    if (entries > vq->free_count)
        return -1;
    int id = vq_add_any(vq, buffers, count, indirect);
    vq->given[vq->given_count++ % VIRTQ_SIZE_MAX] = (uint16_t)id;
    if (!vq->packed)
        vq_poke16(vq, vq_driver_area(vq) + 2, ++vq->avail);
    return id;
}

/* After additions: does the device want to know? */
static UNUSED bool vq_must_kick(struct vq *vq)
{
    uint64_t area = vq_device_area(vq);
    uint16_t now = vq->packed ? (uint16_t)(vq->avail + (vq->avail_wrap ? 0 : vq->size)) : vq->avail;
    uint16_t before = vq->kicked;

    vq->kicked = now;
    atomic_thread_fence(memory_order_seq_cst);
    if (!vq->packed) {
        if (!vq->event_idx)
            return !(vq_peek16(vq, area) & 1);
        uint16_t event = vq_peek16(vq, area + 4 + 8 * (uint64_t)vq->size);
        return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
    }
    uint16_t flags = vq_peek16(vq, area + 2) & 3;
    if (flags != 2)
        return flags == 0;
    uint16_t event = vq_peek16(vq, area);
    unsigned round = 2u * vq->size;
    unsigned at = (event & 0x7fffu) + (event & 0x8000 ? 0 : vq->size);
    return (at + round - before) % round < (now + round - before) % round;
}

/* ---- getting them back ---- */

/* Returns an entry's or an id's chain to the free ones. */
static UNUSED void vq_free(struct vq *vq, uint16_t id)
{
    uint16_t count = vq->entries[id];

    VQ_EXPECT(id < vq->size && count); /* it is out */
    vq->entries[id] = 0;
    if (vq->packed) {
        vq->free_count += count;
        vq->free[vq->id_count++] = id;
        return;
    }
    for (; count; count--, id = vq->links[id])
        vq->free[vq->free_count++] = id;
}

/* The next used buffer: its id and what the device says it wrote. */
static UNUSED bool vq_next_used(struct vq *vq, uint16_t *id, uint32_t *written)
{
    if (vq->packed) {
        uint64_t at = vq_desc(vq, vq->used);
        uint16_t flags = vq_peek16(vq, at + 14);
        if (!!(flags & VQ_AVAIL) != vq->used_wrap || !!(flags & VQ_USED) != vq->used_wrap)
            return false;
        *id = vq_peek16(vq, at + 12);
        *written = vq_peek32(vq, at + 8);
        VQ_EXPECT(*id < vq->size);
        for (unsigned i = vq->entries[*id]; i; i--)
            vq_advance(vq, &vq->used, &vq->used_wrap);
    } else {
        if (vq_peek16(vq, vq_device_area(vq) + 2) == vq->used)
            return false;
        uint64_t at = vq_device_area(vq) + 4 + 8u * (uint64_t)(vq->used % vq->size);
        uint32_t wide = vq_peek32(vq, at);
        VQ_EXPECT(wide < vq->size);
        *id = (uint16_t)wide;
        *written = vq_peek32(vq, at + 4);
        vq->used++;
    }
    if (vq->in_order)
        VQ_EXPECT(*id == vq->given[vq->back_count % VIRTQ_SIZE_MAX]);
    vq->back_count++;
    vq_free(vq, *id);
    return true;
}

/* Where the event index is negotiated: for the next used buffer. */
static UNUSED void vq_want_interrupts(struct vq *vq, bool wanted)
{
    uint64_t area = vq_driver_area(vq);

    if (vq->packed) {
        if (vq->event_idx)
            vq_poke16(vq, area, (uint16_t)(vq->used | (vq->used_wrap ? 0x8000 : 0)));
        vq_poke16(vq, area + 2, !wanted ? 1 : vq->event_idx ? 2 : 0);
    } else if (vq->event_idx) {
        vq_poke16(vq, area + 4 + 2u * vq->size, wanted ? vq->used : (uint16_t)(vq->used - 1));
    } else {
        vq_poke16(vq, area, !wanted);
    }
    atomic_thread_fence(memory_order_seq_cst);
}

/* ---- a whole device, without a transport ---- */

/* What the device told its transport. */
struct vq_interrupts {
    _Atomic unsigned queue, config;
    _Atomic uint32_t queues; /* a bit each */
};

static UNUSED void vq_on_queue(void *opaque, unsigned queue)
{
    struct vq_interrupts *log = opaque;

    atomic_fetch_or(&log->queues, UINT32_C(1) << queue);
    atomic_fetch_add(&log->queue, 1);
}

static UNUSED void vq_on_config(void *opaque)
{
    atomic_fetch_add(&((struct vq_interrupts *)opaque)->config, 1);
}

static UNUSED void vq_attach(struct virtio_device *dev, struct vq_interrupts *log)
{
    static const struct virtio_transport_ops ops = {.interrupt_queue = vq_on_queue, .interrupt_config = vq_on_config};

    virtio_attach(dev, &ops, log);
}

/* As a driver that takes `features`, up to FEATURES_OK. Returns whether the device accepted. */
static UNUSED bool vq_negotiate(struct virtio_device *dev, uint64_t features)
{
    virtio_set_status(dev, 0);
    virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    virtio_set_driver_features(dev, 0, (uint32_t)features);
    virtio_set_driver_features(dev, 1, (uint32_t)(features >> 32));
    virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
    return virtio_status(dev) & VIRTIO_STATUS_FEATURES_OK;
}

/* Gives the device a queue; vq_init() as well. */
static UNUSED void vq_give(struct virtio_device *dev, uint32_t queue, struct vq *vq, uint64_t base, uint16_t size)
{
    const uint64_t parts[] = {base, base + VQ_DRIVER_OFFSET, base + VQ_DEVICE_OFFSET};

    vq_init(vq, dev->mem, base, size, dev->driver_features);
    virtio_queue_set_size(dev, queue, size);
    for (int part = 0; part < 3; part++) {
        virtio_queue_set_address(dev, queue, (enum virtio_queue_part)part, false, (uint32_t)parts[part]);
        virtio_queue_set_address(dev, queue, (enum virtio_queue_part)part, true, (uint32_t)(parts[part] >> 32));
    }
    virtio_queue_set_ready(dev, queue, true);
}

static UNUSED void vq_driver_ok(struct virtio_device *dev)
{
    virtio_set_status(dev, virtio_status(dev) | VIRTIO_STATUS_DRIVER_OK);
}

/* Adds one chain and kicks where that is wanted. Returns the id. */
static UNUSED int vq_send(struct virtio_device *dev, uint32_t queue, struct vq *vq, const struct vq_buffer *buffers,
                          unsigned count)
{
    int id = vq_add(vq, buffers, count, 0);

    if (vq_must_kick(vq))
        virtio_kick(dev, queue);
    return id;
}

/* Waits for the next used buffer, 10 s at most. Returns its id. */
static UNUSED uint16_t vq_wait_used(struct vq *vq, uint32_t *written)
{
    uint16_t id;

    for (int i = 0; i < 100000; i++) {
        if (vq_next_used(vq, &id, written))
            return id;
        usleep(100);
    }
    ck_abort_msg("no buffer was used within 10 s");
}

static UNUSED void vq_post(void *opaque)
{
    sem_post(opaque);
}

/* Returns when the loop's thread is done with what was scheduled: nothing of it runs while a state is saved. */
static UNUSED void vq_settle(struct loop *loop)
{
    sem_t done;

    sem_init(&done, 0, 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(loop_post(loop, vq_post, &done), 0);
        while (sem_wait(&done))
            ;
    }
    sem_destroy(&done);
}

/* What the device's next turn on its loop would do, here: for tests and fuzzing without a loop's thread. */
static UNUSED void vq_turn(struct virtio_device *dev)
{
    dev->work.fn(dev->work.opaque);
}

#endif
