/* Virtqueues; see queue.h. Section numbers are those of virtio 1.2.
 *
 * What must stay true:
 * - Guest memory is read through load16() and read_desc() only, each field once: what was checked is what is used.
 * - Between the load that says a chain is there and the loads of its descriptors stands an acquire; between what was
 * stored for the driver and the store that tells it a release; between telling the driver that it must kick (or that
 * buffers were used) and the look at what it did meanwhile a full barrier, as the driver has on its side (2.7.7,
 * 2.7.10, 2.8.14).
 * - Chains that are popped and not pushed are at most `size` entries of the ring: next_avail - next_used. A driver that
 * makes an entry available again before it was used breaks the queue, so a device's own tables can be bounded by the
 * queue's size.
 */
#include "dev/virtio/queue.h"

#include "dev/virtio/virtio.h"
#include "mem/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian");

enum {
    /* Descriptor flags (2.7.5, 2.8.1). */
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DESC_INDIRECT = 4,
    DESC_AVAIL = 1 << 7,
    DESC_USED = 1 << 15,
    DESC_BYTES = 16,

    /* Split rings: offsets in the available and in the used ring (2.7.6, 2.7.8). */
    RING_FLAGS = 0,
    RING_IDX = 2,
    RING_ENTRIES = 4,
    USED_ENTRY_BYTES = 8,
    NO_INTERRUPT = 1, /* available ring's flag */
    NO_NOTIFY = 1,    /* used ring's flag */

    /* Packed rings: event suppression (2.8.14). */
    EVENT_POSITION = 0,
    EVENT_FLAGS = 2,
    EVENT_BYTES = 4,
    EVENT_ENABLE = 0,
    EVENT_DISABLE = 1,
    EVENT_DESC = 2,
    EVENT_FLAGS_MASK = 3,

    WRAP = 1 << 15, /* a packed position's wrap counter */
};

struct desc {
    uint64_t gpa;
    uint32_t len;
    uint16_t flags;
    uint16_t next; /* split */
    uint16_t id;   /* packed */
};

/* ---- guest memory ---- */

static uint16_t load16(const uint8_t *at, int order)
{
    const uint16_t *p = (const uint16_t *)at;

    return order == __ATOMIC_ACQUIRE ? __atomic_load_n(p, __ATOMIC_ACQUIRE) : __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void note(const struct virtq *q, const uint8_t *at, size_t len)
{
    mem_note_write(q->mem, mem_host_to_gpa(q->mem, at), len);
}

/* Indirect tables have no alignment that a driver must keep. */
static struct desc read_desc(const struct virtq *q, const uint8_t *at)
{
    uint64_t words[2];

    if ((uintptr_t)at % sizeof(words[0]) == 0) {
        words[0] = __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED);
        words[1] = __atomic_load_n((const uint64_t *)(at + 8), __ATOMIC_RELAXED);
    } else {
        uint8_t bytes[DESC_BYTES];
        for (unsigned i = 0; i < DESC_BYTES; i++)
            bytes[i] = __atomic_load_n(at + i, __ATOMIC_RELAXED);
        memcpy(words, bytes, sizeof(words));
    }
    struct desc desc = {.gpa = words[0], .len = (uint32_t)words[1]};
    uint16_t third = (uint16_t)(words[1] >> 32), fourth = (uint16_t)(words[1] >> 48);
    if (q->packed) {
        desc.id = third;
        desc.flags = fourth;
    } else {
        desc.flags = third;
        desc.next = fourth;
    }
    return desc;
}

static uint8_t *desc_at(const struct virtq *q, uint16_t index)
{
    return q->desc + (size_t)index * DESC_BYTES;
}

/* ---- positions ---- */

/* A packed position as a number modulo twice the size. */
static unsigned packed_linear(const struct virtq *q, uint16_t position)
{
    return (position & (WRAP - 1u)) + (position & WRAP ? 0 : q->size);
}

static unsigned packed_distance(const struct virtq *q, uint16_t from, uint16_t to)
{
    unsigned round = 2u * q->size;

    return (packed_linear(q, to) + round - packed_linear(q, from)) % round;
}

static uint16_t packed_advance(const struct virtq *q, uint16_t position, unsigned entries)
{
    unsigned linear = (packed_linear(q, position) + entries) % (2u * q->size);

    return linear < q->size ? (uint16_t)(linear | WRAP) : (uint16_t)(linear - q->size);
}

/* Entries popped and not pushed: split: chains. */
static unsigned in_flight(const struct virtq *q)
{
    return q->packed ? packed_distance(q, q->next_used, q->next_avail) : (uint16_t)(q->next_avail - q->next_used);
}

/* ---- chains ---- */

static int break_queue(struct virtq *q)
{
    q->broken = 1;
    return -EINVAL;
}

/* Takes one buffer's descriptor into the chain. Empty buffers are allowed and add nothing. */
static int add_buffer(const struct virtq *q, struct virtq_chain *chain, const struct desc *desc)
{
    const uint64_t chain_bytes_max = UINT64_C(1) << 32; /* 2.7.5 */
    bool writable = desc->flags & DESC_WRITE;

    if (!writable && chain->writable_count) /* 2.7.4.2 */
        return -EINVAL;
    if (desc->len == 0)
        return 0;
    unsigned count = (unsigned)chain->readable_count + chain->writable_count;
    void *host = mem_ram_ptr(q->mem, desc->gpa, desc->len);
    if (!host || count == VIRTQ_CHAIN_SEGMENTS ||
        chain->readable_bytes + chain->writable_bytes + desc->len > chain_bytes_max)
        return -EINVAL;
    chain->iov[count] = (struct iovec){.iov_base = host, .iov_len = desc->len};
    if (writable) {
        chain->writable_count++;
        chain->writable_bytes += desc->len;
    } else {
        chain->readable_count++;
        chain->readable_bytes += desc->len;
    }
    return 0;
}

/* A table of descriptors outside the ring (2.7.5.3, 2.8.7). In a packed ring's the buffers stand in their order. */
static int add_indirect(const struct virtq *q, struct virtq_chain *chain, const struct desc *outer)
{
    unsigned count = outer->len / DESC_BYTES;
    const uint8_t *table = mem_ram_ptr(q->mem, outer->gpa, outer->len);
    unsigned at = 0;

    if (!q->indirect || (outer->flags & DESC_NEXT) || !table || !count || outer->len % DESC_BYTES ||
        (q->packed && count > VIRTQ_CHAIN_SEGMENTS))
        return -EINVAL;
    /* A loop in a split ring's table is longer than any chain may be. */
    for (unsigned walked = 0; walked < VIRTQ_CHAIN_SEGMENTS; walked++) {
        struct desc desc = read_desc(q, table + (size_t)at * DESC_BYTES);
        if (desc.flags & DESC_INDIRECT)
            return -EINVAL;
        int rc = add_buffer(q, chain, &desc);
        if (rc)
            return rc;
        if (q->packed ? walked + 1 == count : !(desc.flags & DESC_NEXT))
            return 0;
        at = q->packed ? at + 1 : desc.next;
        if (at >= count)
            return -EINVAL;
    }
    return -EINVAL;
}

static int walk_split(const struct virtq *q, struct virtq_chain *chain)
{
    uint16_t at = chain->id;

    for (unsigned walked = 0; walked < q->size && at < q->size; walked++) {
        struct desc desc = read_desc(q, desc_at(q, at));
        int rc = desc.flags & DESC_INDIRECT ? add_indirect(q, chain, &desc) : add_buffer(q, chain, &desc);
        if (rc || !(desc.flags & DESC_NEXT))
            return rc;
        at = desc.next;
    }
    return -EINVAL; /* a loop, or out of the table */
}

static int walk_packed(const struct virtq *q, struct virtq_chain *chain)
{
    uint16_t at = q->next_avail & (WRAP - 1);
    unsigned room = q->size - in_flight(q);

    while (chain->descriptors < room) {
        struct desc desc = read_desc(q, desc_at(q, at));
        bool indirect = desc.flags & DESC_INDIRECT;
        chain->descriptors++;
        if (indirect && chain->descriptors > 1) /* it stands alone */
            return -EINVAL;
        int rc = indirect ? add_indirect(q, chain, &desc) : add_buffer(q, chain, &desc);
        chain->id = desc.id; /* the last one's counts */
        if (rc || !(desc.flags & DESC_NEXT))
            return rc;
        at = at + 1 == q->size ? 0 : at + 1;
    }
    return -EINVAL;
}

/* Split: the driver's index; how many chains it made available that were not taken, more than can be when it lies. */
static uint16_t split_available(const struct virtq *q)
{
    return load16(q->driver + RING_IDX, __ATOMIC_ACQUIRE) - q->next_avail;
}

static bool packed_is_available(const struct virtq *q)
{
    uint16_t flags = load16(desc_at(q, q->next_avail & (WRAP - 1)) + 14, __ATOMIC_ACQUIRE);
    bool wrap = q->next_avail & WRAP;

    return !!(flags & DESC_AVAIL) == wrap && !!(flags & DESC_USED) != wrap; /* 2.8.1 */
}

static bool usable(const struct virtq *q)
{
    return q->ready && !q->broken;
}

bool virtq_is_empty(struct virtq *q)
{
    return usable(q) && (q->packed ? !packed_is_available(q) : split_available(q) == 0);
}

static int pop_split(struct virtq *q, struct virtq_chain *chain)
{
    uint16_t available = split_available(q);

    if (!available)
        return 0;
    if (available > q->size || in_flight(q) >= q->size)
        return break_queue(q);
    chain->id = load16(q->driver + RING_ENTRIES + 2u * (q->next_avail & (q->size - 1u)), __ATOMIC_RELAXED);
    chain->descriptors = 1;
    if (walk_split(q, chain))
        return break_queue(q);
    q->next_avail++;
    return 1;
}

static int pop_packed(struct virtq *q, struct virtq_chain *chain)
{
    if (!packed_is_available(q))
        return 0;
    chain->descriptors = 0;
    if (walk_packed(q, chain))
        return break_queue(q);
    q->next_avail = packed_advance(q, q->next_avail, chain->descriptors);
    return 1;
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
    if (!usable(q))
        return 0;
    chain->readable_count = chain->writable_count = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    return q->packed ? pop_packed(q, chain) : pop_split(q, chain);
}

void virtq_unpop(struct virtq *q, const struct virtq_chain *chain)
{
    if (!usable(q))
        return;
    if (q->packed)
        q->next_avail = packed_advance(q, q->next_avail, 2u * q->size - chain->descriptors);
    else
        q->next_avail--;
}

/* ---- giving back ---- */

/* The bytes the device stored: dirty, and code on them stale. */
static void note_written(const struct virtq *q, const struct virtq_chain *chain, uint32_t written)
{
    const struct iovec *iov = virtq_writable(chain);
    size_t left = written;

    assert(written <= chain->writable_bytes);
    for (unsigned i = 0; left && i < chain->writable_count; i++) {
        size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;
        note(q, iov[i].iov_base, len);
        left -= len;
    }
}

static void store16(const struct virtq *q, uint8_t *at, uint16_t value, int order)
{
    if (order == __ATOMIC_RELEASE)
        __atomic_store_n((uint16_t *)at, value, __ATOMIC_RELEASE);
    else
        __atomic_store_n((uint16_t *)at, value, __ATOMIC_RELAXED);
    note(q, at, sizeof(value));
}

static void store64(const struct virtq *q, uint8_t *at, uint64_t value)
{
    /* The used ring of a split queue is aligned to 4. */
    __atomic_store_n((uint32_t *)at, (uint32_t)value, __ATOMIC_RELAXED);
    __atomic_store_n((uint32_t *)(at + 4), (uint32_t)(value >> 32), __ATOMIC_RELAXED);
    note(q, at, sizeof(value));
}

static void push_split(struct virtq *q, const struct virtq_chain *const *chains, const uint32_t *written,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint16_t entry = (uint16_t)(q->next_used + i) & (q->size - 1u);
        store64(q, q->device + RING_ENTRIES + (size_t)entry * USED_ENTRY_BYTES,
                chains[i]->id | (uint64_t)written[i] << 32);
    }
    if ((uint16_t)(q->next_used - q->signalled_used) + count > UINT16_MAX)
        q->signalled_valid = 0;
    q->next_used = (uint16_t)(q->next_used + count);
    store16(q, q->device + RING_IDX, q->next_used, __ATOMIC_RELEASE);
}

static void push_packed(struct virtq *q, const struct virtq_chain *const *chains, const uint32_t *written,
                        unsigned count)
{
    uint16_t first = q->next_used, first_flags = 0;
    unsigned entries = 0;

    for (unsigned i = 0; i < count; i++) {
        uint8_t *desc = desc_at(q, q->next_used & (WRAP - 1));
        uint16_t flags = q->next_used & WRAP ? DESC_AVAIL | DESC_USED : 0;
        flags |= written[i] ? DESC_WRITE : 0;
        __atomic_store_n((uint32_t *)(desc + 8), written[i], __ATOMIC_RELAXED);
        __atomic_store_n((uint16_t *)(desc + 12), chains[i]->id, __ATOMIC_RELAXED);
        /* The first one's flags give away all of them. */
        if (i)
            store16(q, desc + 14, flags, __ATOMIC_RELEASE);
        else
            first_flags = flags;
        note(q, desc + 8, 6);
        entries += chains[i]->descriptors;
        q->next_used = packed_advance(q, q->next_used, chains[i]->descriptors);
    }
    store16(q, desc_at(q, first & (WRAP - 1)) + 14, first_flags, __ATOMIC_RELEASE);
    if (packed_distance(q, q->signalled_used, first) + entries >= 2u * q->size)
        q->signalled_valid = 0;
}

void virtq_push_many(struct virtq *q, const struct virtq_chain *const *chains, const uint32_t *written, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        note_written(q, chains[i], written[i]);
    if (!usable(q) || !count)
        return;
    if (q->packed)
        push_packed(q, chains, written, count);
    else
        push_split(q, chains, written, count);
}

void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint32_t written)
{
    virtq_push_many(q, &chain, &written, 1);
}

/* ---- notifications ---- */

static bool split_wants_interrupt(const struct virtq *q, uint16_t before, bool before_valid)
{
    if (!q->event_idx)
        return !(load16(q->driver + RING_FLAGS, __ATOMIC_RELAXED) & NO_INTERRUPT);
    uint16_t event = load16(q->driver + RING_ENTRIES + 2u * q->size, __ATOMIC_RELAXED);
    return !before_valid || (uint16_t)(q->next_used - event - 1) < (uint16_t)(q->next_used - before);
}

static bool packed_wants_interrupt(const struct virtq *q, uint16_t before, bool before_valid)
{
    /* The position is what the flags say it is, so they are read first. */
    uint16_t flags = load16(q->driver + EVENT_FLAGS, __ATOMIC_ACQUIRE) & EVENT_FLAGS_MASK;
    uint16_t event = load16(q->driver + EVENT_POSITION, __ATOMIC_RELAXED);

    if (flags == EVENT_DISABLE)
        return false;
    if (flags != EVENT_DESC || !q->event_idx || !before_valid || (event & (WRAP - 1)) >= q->size)
        return true;
    /* Was the entry at `event` among those used since? */
    return packed_distance(q, before, event) < packed_distance(q, before, q->next_used);
}

bool virtq_should_interrupt(struct virtq *q)
{
    uint16_t before = q->signalled_used;
    bool before_valid = q->signalled_valid;

    if (!usable(q) || (before_valid && before == q->next_used))
        return false;
    q->signalled_used = q->next_used;
    q->signalled_valid = 1;
    atomic_thread_fence(memory_order_seq_cst);
    return q->packed ? packed_wants_interrupt(q, before, before_valid) : split_wants_interrupt(q, before, before_valid);
}

/* Stores what is not there yet: most calls change nothing, and a store makes a page dirty. */
static void set16(const struct virtq *q, uint8_t *at, uint16_t value)
{
    if (load16(at, __ATOMIC_RELAXED) != value)
        store16(q, at, value, __ATOMIC_RELEASE);
}

static void split_want_kicks(const struct virtq *q, bool wanted)
{
    if (!q->event_idx)
        set16(q, q->device + RING_FLAGS, wanted ? 0 : NO_NOTIFY);
    else if (wanted)
        set16(q, q->device + RING_ENTRIES + (size_t)USED_ENTRY_BYTES * q->size, q->next_avail);
}

static void packed_want_kicks(const struct virtq *q, bool wanted)
{
    uint16_t flags = !wanted ? EVENT_DISABLE : q->event_idx ? EVENT_DESC : EVENT_ENABLE;

    if (flags == EVENT_DESC)
        set16(q, q->device + EVENT_POSITION, q->next_avail);
    set16(q, q->device + EVENT_FLAGS, flags);
}

bool virtq_want_kicks(struct virtq *q, bool wanted)
{
    if (!usable(q))
        return false;
    if (q->packed)
        packed_want_kicks(q, wanted);
    else
        split_want_kicks(q, wanted);
    if (!wanted)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    return !virtq_is_empty(q);
}

/* ---- setting up ---- */

/* The host address of one part, which must be RAM and aligned (2.7, 2.8.10.1). */
static uint8_t *ring_part(const struct virtq *q, uint64_t gpa, size_t bytes, unsigned align)
{
    uint8_t *host = gpa % align ? NULL : mem_ram_ptr(q->mem, gpa, bytes);

    return host;
}

/* Finds the ring's three parts. */
static int locate(struct virtq *q, struct mem *mem, uint64_t features)
{
    q->packed = features & VIRTIO_F_RING_PACKED;
    q->indirect = features & VIRTIO_F_INDIRECT_DESC;
    q->event_idx = features & VIRTIO_F_EVENT_IDX;
    q->mem = mem;
    q->desc = q->driver = q->device = NULL;
    if (!q->size || q->size > q->size_max || (!q->packed && (q->size & (q->size - 1))))
        return -EINVAL;
    size_t event = q->event_idx ? 2 : 0;
    size_t driver_bytes = q->packed ? EVENT_BYTES : RING_ENTRIES + 2u * q->size + event;
    size_t device_bytes = q->packed ? EVENT_BYTES : RING_ENTRIES + (size_t)USED_ENTRY_BYTES * q->size + event;
    q->desc = ring_part(q, q->desc_gpa, (size_t)DESC_BYTES * q->size, 16);
    q->driver = ring_part(q, q->driver_gpa, driver_bytes, q->packed ? 4 : 2);
    q->device = ring_part(q, q->device_gpa, device_bytes, 4);
    return q->desc && q->driver && q->device ? 0 : -EINVAL;
}

int virtq_enable(struct virtq *q, struct mem *mem, uint64_t features)
{
    int rc = locate(q, mem, features);

    q->next_avail = q->next_used = q->packed ? WRAP : 0;
    q->signalled_used = q->next_used;
    q->signalled_valid = 1;
    q->ready = 1;
    q->broken = rc != 0;
    return rc;
}

void virtq_reset(struct virtq *q)
{
    *q = (struct virtq){.size_max = q->size_max, .size = q->size_max};
}

int virtq_restore(struct virtq *q, struct mem *mem, uint64_t features)
{
    q->ready = q->ready != 0;
    q->broken = q->broken != 0;
    q->signalled_valid = q->signalled_valid != 0;
    if (!q->ready)
        return 0;
    int rc = locate(q, mem, features);
    unsigned positions = WRAP - 1;
    if (rc == 0 && q->packed &&
        ((q->next_avail & positions) >= q->size || (q->next_used & positions) >= q->size ||
         (q->signalled_used & positions) >= q->size))
        rc = -EINVAL;
    if (rc == 0 && in_flight(q) > q->size)
        rc = -EINVAL;
    if (rc)
        return break_queue(q);
    q->next_avail = q->next_used;
    return 0;
}
