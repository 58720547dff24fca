/* A disk and a console behind virtio-mmio slots 1 and 2 (virtio 1.2, 5.2 and 5.3), driven directly, for every machine
 * with such slots: the capacity, reads, writes that are read again, a flush, a request past the end; and a line that
 * bare-test looks for in what comes out. With GENERATIONS (tests/snapshot): the disk alone, in any slot, is written
 * over and over, and each sector is first found to hold what memory says.
 */
#include "rt.h"

enum {
    BLOCK = 2,
    CONSOLE = 3,
    SIZE = 8,
    SECTOR = 512,
    SECTORS = 128,

    DEVICE = 0x08,
    FEATURES = 0x10,
    FEATURES_SEL = 0x14,
    DRIVER_FEATURES = 0x20,
    DRIVER_SEL = 0x24,
    QUEUE_SEL = 0x30,
    QUEUE_NUM = 0x38,
    QUEUE_READY = 0x44,
    NOTIFY = 0x50,
    ACK = 0x64,
    STATUS = 0x70,
    DESC = 0x80,
    DRIVER = 0x90,
    USED = 0xa0,
    CONFIG = 0x100,

    DRIVER_OK = 15,
    NEXT = 1,
    WRITE = 2,

    READ_SECTORS = 0,
    WRITE_SECTORS = 1,
    FLUSH = 4,
    OK = 0,
    IOERR = 1,
    UNSET = 0xff,
};

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

static struct {
    struct desc desc[SIZE];
    struct {
        uint16_t flags, idx, ring[SIZE];
    } avail;
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[SIZE];
    } __attribute__((aligned(4))) used;
} ring __attribute__((aligned(4096)));

static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;
static uint8_t data[SECTOR];
static volatile uint8_t status;
static uint64_t base;

static volatile uint32_t *reg(uint64_t offset)
{
    return rt_mmio32(base + offset);
}

static void set_address(uint64_t offset, const void *part)
{
    *reg(offset) = (uint32_t)(uint64_t)part;
    *reg(offset + 4) = (uint32_t)((uint64_t)part >> 32);
}

/* Brings up the device of a slot with one queue. False: it is of another kind. */
static bool start(unsigned slot, uint32_t kind, uint32_t queue, uint32_t features)
{
    base = RT_VIRTIO + slot * 0x1000;
    for (uint64_t i = 0; i < sizeof(ring); i++)
        ((volatile uint8_t *)&ring)[i] = 0;
    if (*reg(DEVICE) != kind)
        return false;
    *reg(STATUS) = 0;
    *reg(STATUS) = 3;
    *reg(DRIVER_SEL) = 1;
    *reg(DRIVER_FEATURES) = 1; /* VIRTIO_F_VERSION_1 */
    *reg(DRIVER_SEL) = 0;
    *reg(DRIVER_FEATURES) = features;
    *reg(STATUS) = 11;
    *reg(QUEUE_SEL) = queue;
    *reg(QUEUE_NUM) = SIZE;
    set_address(DESC, ring.desc);
    set_address(DRIVER, &ring.avail);
    set_address(USED, &ring.used);
    *reg(QUEUE_READY) = 1;
    *reg(STATUS) = DRIVER_OK;
    return *reg(STATUS) == DRIVER_OK;
}

static void put(unsigned n, const volatile void *addr, uint32_t len, uint16_t flags)
{
    ring.desc[n] = (struct desc){.addr = (uint64_t)addr, .len = len, .flags = flags, .next = (uint16_t)(n + 1)};
}

/* Offers the chain that begins with descriptor 0 and waits for it. */
static bool submit(uint32_t queue)
{
    uint16_t before = ring.used.idx;

    ring.avail.ring[ring.avail.idx % SIZE] = 0;
    rt_fence_io();
    ring.avail.idx++;
    rt_fence_io();
    *reg(NOTIFY) = queue;
    for (uint64_t end = rt_now() + 50000000; *(volatile uint16_t *)&ring.used.idx == before;) {
        if (rt_now() > end)
            return false;
    }
    rt_fence_io();
    *reg(ACK) = 3;
    return true;
}

static uint8_t request(uint32_t type, uint64_t sector)
{
    header.type = type;
    header.sector = sector;
    status = UNSET;
    put(0, &header, sizeof(header), NEXT);
    put(1, data, SECTOR, NEXT | (type == READ_SECTORS ? WRITE : 0));
    put(type == FLUSH ? 1 : 2, &status, 1, WRITE);
    return submit(0) ? status : UNSET;
}

static void fill(uint8_t seed)
{
    for (unsigned i = 0; i < SECTOR; i++)
        ((volatile uint8_t *)data)[i] = (uint8_t)(seed + i * 7);
}

static bool filled(uint8_t seed)
{
    for (unsigned i = 0; i < SECTOR; i++) {
        if (data[i] != (uint8_t)(seed + i * 7))
            return false;
    }
    return true;
}

#ifdef GENERATIONS
static uint8_t held[SECTORS];

void bare_main(void)
{
    unsigned slot = 0;

    while (slot < 8 && !start(slot, BLOCK, 0, 0))
        slot++;
    rt_expect(slot < 8, "a disk");
    for (uint64_t n = 0; slot < 8 && n < (uint64_t)GENERATIONS * SECTORS; n++) {
        uint64_t sector = n % SECTORS;
        if (n >= SECTORS)
            rt_expect(request(READ_SECTORS, sector) == OK && filled(held[sector]), "sector %d is what it was",
                      (int64_t)sector);
        held[sector] = (uint8_t)(n / SECTORS * 31 + sector);
        fill(held[sector]);
        rt_expect(request(WRITE_SECTORS, sector) == OK, "sector %d is written", (int64_t)sector);
    }
}
#else
static bool all_are(uint8_t byte)
{
    for (unsigned i = 0; i < SECTOR; i++) {
        if (data[i] != byte)
            return false;
    }
    return true;
}

static void disk(void)
{
    enum { F_FLUSH = 1 << 9 };
    bool started = start(1, BLOCK, 0, F_FLUSH);

    rt_print("disk: %d", (int64_t)started);
    rt_expect(started, "a disk in slot 1");
    if (!started)
        return;
    rt_print("disk.capacity: %d", (int64_t)*reg(CONFIG));
    rt_expect(*reg(CONFIG) == SECTORS, "the disk's size");
    uint8_t read = request(READ_SECTORS, 1);
    rt_print("disk.read: %d %d", (int64_t)read, (int64_t)all_are('A'));
    rt_expect(read == OK && all_are('A'), "what bare-test put there");
    for (uint64_t sector = 2; sector < 6; sector++) {
        fill((uint8_t)sector);
        uint8_t wrote = request(WRITE_SECTORS, sector);
        rt_expect(wrote == OK, "sector %d is written", (int64_t)sector);
    }
    rt_expect(request(FLUSH, 0) == OK, "a flush");
    for (uint64_t sector = 2; sector < 6; sector++) {
        fill(0);
        read = request(READ_SECTORS, sector);
        rt_expect(read == OK && filled((uint8_t)sector), "sector %d is read again", (int64_t)sector);
    }
    read = request(READ_SECTORS, SECTORS);
    rt_print("disk.beyond: %d", (int64_t)read);
    rt_expect(read == IOERR, "there is no such sector");
}

static void console(void)
{
    static const char line[] = "through the console\n";
    bool started = start(2, CONSOLE, 1, 0);

    rt_print("console: %d", (int64_t)started);
    rt_expect(started, "a console in slot 2");
    if (!started)
        return;
    put(0, line, sizeof(line) - 1, 0);
    rt_expect(submit(1), "the console takes a line");
}

void bare_main(void)
{
    disk();
    console();
}
#endif
