/* A disk and a console behind virtio-mmio slots 1 and 2 (virtio 1.2, 5.2 and 5.3), driven directly, for every machine
 * with such slots: the capacity, reads, writes that are read again, a flush, a request past the end; and a line that
 * bare-test looks for in what comes out. With GENERATIONS (tests/snapshot): the disk alone, in any slot, is written
 * over and over, and each sector is first found to hold what memory says.
 */
#include "virtio_driver.h"

enum {
    BLOCK = 2,
    CONSOLE = 3,
    SECTOR = 512,
    SECTORS = 128,

    READ_SECTORS = 0,
    WRITE_SECTORS = 1,
    FLUSH = 4,
    OK = 0,
    IOERR = 1,
    UNSET = 0xff,
};

static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;
static uint8_t data[SECTOR];
static volatile uint8_t status;

static uint8_t request(uint32_t type, uint64_t sector)
{
    struct driver_part parts[] = {
        {&header, sizeof(header), false}, {data, SECTOR, type == READ_SECTORS}, {&status, 1, true}};

    header.type = type;
    header.sector = sector;
    status = UNSET;
    if (type == FLUSH)
        parts[1] = parts[2];
    return driver_request(0, parts, type == FLUSH ? 2 : 3) < 0 ? UNSET : status;
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
    bool started = driver_find(DRIVER_SLOTS, BLOCK) && driver_start(0, 1);

    rt_expect(started, "a disk");
    for (uint64_t n = 0; started && n < (uint64_t)GENERATIONS * SECTORS; n++) {
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
    bool started = driver_find(1, BLOCK) && driver_start(F_FLUSH, 1);

    rt_print("disk: %d", (int64_t)started);
    rt_expect(started, "a disk in slot 1");
    if (!started)
        return;
    rt_print("disk.capacity: %d", (int64_t)*driver_reg(DRIVER_CONFIG));
    rt_expect(*driver_reg(DRIVER_CONFIG) == SECTORS, "the disk's size");
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
    bool started = driver_find(2, CONSOLE) && driver_start(0, 2);

    rt_print("console: %d", (int64_t)started);
    rt_expect(started, "a console in slot 2");
    if (!started)
        return;
    rt_expect(driver_request(1, &(struct driver_part){line, sizeof(line) - 1, false}, 1) >= 0,
              "the console takes a line");
}

void bare_main(void)
{
    disk();
    console();
}
#endif
