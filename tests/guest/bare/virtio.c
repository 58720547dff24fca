/* virtio-mmio driven directly (virtio 1.2): the entropy device behind the first slot, through split and packed rings,
 * with and without the event index, and rings that break the rules. For every machine with eight slots. */
#include "rt.h"
#include "virtio_mmio.h"

enum {
    SLOTS = 8,
    RNG = 4,
    SIZE = 8,
};

#define F_INDIRECT (1ull << 28)
#define F_EVENT (1ull << 29)
#define F_VERSION_1 (1ull << 32)
#define F_PACKED (1ull << 34)

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t third, fourth; /* split: flags, next; packed: id, flags */
};

static struct {
    struct desc desc[SIZE];
    struct {
        uint16_t flags, idx, ring[SIZE], event;
    } avail;
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[SIZE];
        uint16_t event;
    } __attribute__((aligned(4))) used;
    struct {
        uint16_t position, flags;
    } driver_event, device_event;
    struct desc table[4];
} ring __attribute__((aligned(4096)));

static uint8_t buffer[256];
static bool packed;
static uint64_t base;

static volatile uint32_t *reg(uint64_t offset)
{
    return rt_mmio32(base + offset);
}

/* Waits, two seconds at most, until a halfword in memory changes from `old`. */
static bool wait_change(const volatile uint16_t *at, uint16_t old)
{
    for (uint64_t end = rt_now() + 20000000; *at == old;) {
        if (rt_now() > end)
            return false;
    }
    rt_fence_io();
    return true;
}

/* The interrupt status once it is not zero: it follows what it tells of. */
static uint64_t isr(void)
{
    for (uint64_t end = rt_now() + 20000000; !*reg(ISR) && rt_now() < end;)
        ;
    return *reg(ISR);
}

static uint64_t offered(void)
{
    *reg(FEATURES_SEL) = 1;
    uint64_t high = *reg(FEATURES);
    *reg(FEATURES_SEL) = 0;
    return high << 32 | *reg(FEATURES);
}

static void set_address(uint64_t offset, const void *part)
{
    *reg(offset) = (uint32_t)(uint64_t)part;
    *reg(offset + 4) = (uint32_t)((uint64_t)part >> 32);
}

static void clear(void *at, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        ((volatile uint8_t *)at)[i] = 0;
}

static void start(uint64_t features)
{
    packed = features & F_PACKED;
    clear(&ring, sizeof(ring));
    *reg(STATUS) = 0;
    *reg(STATUS) = 1;
    *reg(STATUS) = 3;
    *reg(DRIVER_SEL) = 1;
    *reg(DRIVER_FEATURES) = (uint32_t)(features >> 32);
    *reg(DRIVER_SEL) = 0;
    *reg(DRIVER_FEATURES) = (uint32_t)features;
    *reg(STATUS) = 11;
    *reg(QUEUE_SEL) = 0;
    *reg(QUEUE_NUM) = SIZE;
    set_address(DESC, ring.desc);
    set_address(DRIVER, packed ? (void *)&ring.driver_event : (void *)&ring.avail);
    set_address(USED, packed ? (void *)&ring.device_event : (void *)&ring.used);
    *reg(QUEUE_READY) = 1;
    *reg(STATUS) = DRIVER_OK;
}

static void put(struct desc *desc, const void *addr, uint32_t len, uint16_t flags, uint16_t next)
{
    desc->addr = (uint64_t)addr;
    desc->len = len;
    desc->third = packed ? next : flags;
    desc->fourth = packed ? flags : next;
}

static void kick_split(uint16_t head)
{
    ring.avail.ring[ring.avail.idx % SIZE] = head;
    rt_fence_io();
    ring.avail.idx++;
    rt_fence_io();
    *reg(NOTIFY) = 0;
}

/* ---- what is right ---- */

static void registers(void)
{
    rt_print("magic: %x version %x id %x", (uint64_t)*reg(MAGIC), (uint64_t)*reg(VERSION), (uint64_t)*reg(DEVICE));
    rt_print("features: %x", offered() & (F_INDIRECT | F_EVENT | F_VERSION_1 | F_PACKED));
    *reg(STATUS) = 0;
    rt_print("status.reset: %x", (uint64_t)*reg(STATUS));
    start(F_VERSION_1);
    rt_print("status.started: %x", (uint64_t)*reg(STATUS));
    rt_print("queue: ready %x, there is one: %d", (uint64_t)*reg(QUEUE_READY), (int64_t)(*reg(QUEUE_MAX) >= SIZE));
    *reg(QUEUE_SEL) = 1;
    rt_print("queue.other: %x", (uint64_t)*reg(QUEUE_MAX));
    *reg(STATUS) = 0;
    *reg(QUEUE_SEL) = 0;
    rt_print("queue.reset: ready %x", (uint64_t)*reg(QUEUE_READY));
}

/* Sixteen requests, so that the ring goes round twice. With the event index an interrupt for each is asked for. */
static void split(const char *name, uint64_t features, bool indirect)
{
    start(features | F_VERSION_1);
    for (uint16_t i = 0; i < 2 * SIZE; i++) {
        uint32_t len = 16 + i;
        if (indirect) {
            put(&ring.table[0], buffer, len, WRITE, 0);
            put(&ring.desc[3], ring.table, sizeof(ring.table[0]), INDIRECT, 0);
        } else {
            put(&ring.desc[3], buffer, 8, WRITE | NEXT, 5);
            put(&ring.desc[5], buffer + 8, len - 8, WRITE, 0);
        }
        ring.avail.event = i;
        kick_split(3);
        bool came = wait_change(&ring.used.idx, i);
        rt_print("%s.%d: came %d id %d len %d isr %x", name, (int64_t)i, (int64_t)came,
                 (int64_t)ring.used.ring[i % SIZE].id, (int64_t)ring.used.ring[i % SIZE].len, isr());
        *reg(ACK) = 3;
        rt_expect(*reg(ISR) == 0, "the interrupt stays after its acknowledgement");
    }
}

/* The device wants to be kicked for exactly the next buffer once it found nothing. */
static void event_index(void)
{
    start(F_VERSION_1 | F_EVENT);
    put(&ring.desc[0], buffer, 16, WRITE, 0);
    for (uint16_t i = 0; i < 4; i++) {
        kick_split(0);
        (void)wait_change(&ring.used.idx, i);
        (void)wait_change(&ring.used.event, i);
        rt_print("event.%d: %d", (int64_t)i, (int64_t)ring.used.event);
    }
    /* None is wanted: nothing is pending. */
    *reg(ACK) = 3;
    ring.avail.event = 1000;
    kick_split(0);
    (void)wait_change(&ring.used.idx, 4);
    rt_print("event.not_wanted: isr %x", (uint64_t)*reg(ISR));
}

static void packed_ring(const char *name, uint64_t features)
{
    bool wrap = true;
    uint16_t at = 0;

    start(features | F_VERSION_1 | F_PACKED);
    for (uint16_t i = 0; i < 20; i++) {
        struct desc *desc = &ring.desc[at];
        uint16_t available = wrap ? 0x80 : 0x8000, used = wrap ? 0x8080 : 0;
        put(desc, buffer, 32, WRITE, (uint16_t)(i % SIZE));
        rt_fence_io();
        desc->fourth = WRITE | available;
        rt_fence_io();
        *reg(NOTIFY) = 0;
        bool came = wait_change(&desc->fourth, WRITE | available);
        rt_print("%s.%d: came %d id %d len %d used %d isr %x", name, (int64_t)i, (int64_t)came, (int64_t)desc->third,
                 (int64_t)desc->len, (int64_t)((desc->fourth & 0x8080) == used), isr());
        *reg(ACK) = 3;
        if (++at == SIZE) {
            at = 0;
            wrap = !wrap;
        }
    }
}

/* The line reaches the interrupt controller, and goes with the status. */
static void line(void)
{
    start(F_VERSION_1);
    rt_line_enable();
    put(&ring.desc[0], buffer, 16, WRITE, 0);
    kick_split(0);
    (void)wait_change(&ring.used.idx, 0);
    for (uint64_t end = rt_now() + 20000000; !rt_line_pending() && rt_now() < end;)
        ;
    rt_print("line.claim: %d", (int64_t)rt_line_claim());
    *reg(ACK) = 1;
    rt_line_complete();
    rt_print("line.acknowledged: %d", (int64_t)rt_line_claim());
    rt_line_disable();
}

/* ---- what is wrong ---- */

static bool failed(void)
{
    for (uint64_t end = rt_now() + 20000000; rt_now() < end;) {
        if (*reg(STATUS) & NEEDS_RESET)
            return true;
    }
    return false;
}

static void expect_failed(const char *name)
{
    bool is = failed();

    rt_print("wrong.%s: failed %d used %d isr %x", name, (int64_t)is, (int64_t)ring.used.idx, isr());
    rt_expect(is, "the device takes it");
}

static void wrong(void)
{
    start(F_VERSION_1);
    kick_split(SIZE);
    expect_failed("head");

    start(F_VERSION_1);
    put(&ring.desc[0], buffer, 16, WRITE | NEXT, 0);
    kick_split(0);
    expect_failed("loop");

    start(F_VERSION_1);
    put(&ring.desc[0], buffer, 16, WRITE | NEXT, 500);
    kick_split(0);
    expect_failed("next");

    start(F_VERSION_1);
    put(&ring.desc[0], buffer, 16, WRITE | NEXT, 1);
    put(&ring.desc[1], buffer, 16, 0, 0);
    kick_split(0);
    expect_failed("order");

    /* In one store: a device may look at any time, and one entry less would be a full ring. */
    start(F_VERSION_1);
    ring.avail.idx = SIZE + 1;
    rt_fence_io();
    *reg(NOTIFY) = 0;
    expect_failed("index");

    start(F_VERSION_1 | F_INDIRECT);
    put(&ring.desc[0], ring.table, 15, INDIRECT, 0);
    kick_split(0);
    expect_failed("table.size");

    start(F_VERSION_1 | F_INDIRECT);
    put(&ring.table[0], ring.table, 16, INDIRECT, 0);
    put(&ring.desc[0], ring.table, 16, INDIRECT, 0);
    kick_split(0);
    expect_failed("table.nested");

    start(F_VERSION_1);
    put(&ring.desc[0], (void *)RT_HOLE, 16, WRITE, 0);
    kick_split(0);
    expect_failed("hole");

    start(F_VERSION_1);
    put(&ring.desc[0], buffer, 0xffffffff, WRITE, 0);
    kick_split(0);
    expect_failed("length");

    /* And it works again after each. */
    split("after", 0, false);
}

void bare_main(void)
{
    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        base = RT_VIRTIO + slot * 0x1000;
        rt_print("slot%d: %x %x", (int64_t)slot, (uint64_t)*reg(MAGIC), (uint64_t)*reg(VERSION));
    }
    base = RT_VIRTIO;
    /* Where time is counted in instructions there is no such device, as nobody could repeat what it gives. */
    if (*reg(DEVICE) != RNG)
        return;
    registers();
    split("split", 0, false);
    split("split.event", F_EVENT, false);
    split("split.indirect", F_INDIRECT, true);
    event_index();
    packed_ring("packed", 0);
    packed_ring("packed.event", F_EVENT);
    line();
    wrong();
}
