/* Fuzz target: bytes become what a driver does to a PCI bus with a virtio-pci device (accesses of configuration space,
 * of windows, stores to its rings in RAM), what the device's side does (turns, interrupts), and saved states with any
 * values. Besides not crashing:
 *
 *   - accesses give 0 and fit their size
 *   - functions keep their identity, and bits of a command that do not exist stay clear
 *   - a line is high exactly while the status register says so and the command allows it
 *   - no message leaves while MSI-X is off or masked or the function is no bus master, and none that may leave is kept
 *   - a BAR that is decoded in a window answers there, and not elsewhere
 */
#include "dev/pci/pci_device.h"
#include "dev/pci/pcie_host.h"
#include "dev/virtio/virtio.h"
#include "dev/virtio/virtio_pci.h"
#include "dev/virtio/virtio_rng.h"
#include "fuzz_device.h"
#include "mem/mem.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

enum { RAM_GPA = 0x80000000, RAM_BYTES = 0x8000, FUNCTIONS = 2, MSIX_CAP = 0x98, WINDOW_CAP = 0x84 };

static const uint64_t ecam = 0x30000000, io_window = 0x3000000, mem32 = 0x40000000, mem64 = 0x400000000;
static const uint64_t window_bytes = 0x40000000, mem64_bytes = 0x400000000;

struct bus {
    struct mem *mem;
    struct loop *loop;
    struct device *host;
    struct virtio_device *rng[FUNCTIONS];
    struct device *transports[FUNCTIONS]; /* slots 1 and 2 */
    bool lines[PCIE_HOST_LINES];
};

static struct pci_device *function(const struct bus *b, unsigned index)
{
    return (struct pci_device *)b->transports[index % FUNCTIONS];
}

static void set_line(void *opaque, uint32_t number, bool level)
{
    ((struct bus *)opaque)->lines[number] = level;
}

static uint16_t msix_flags(const struct pci_device *f)
{
    return (uint16_t)pci_get(f->config + MSIX_CAP + PCI_MSIX_FLAGS, 2);
}

static bool may_send(const struct pci_device *f)
{
    return (msix_flags(f) & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)) == PCI_MSIX_FLAGS_ENABLE &&
           (f->config[PCI_COMMAND] & PCI_COMMAND_MASTER);
}

/* Under the function's lock, as this is the only thread. */
static void on_message(void *opaque, uint64_t gpa, uint32_t data)
{
    struct bus *b = opaque;

    require(may_send(function(b, 0)) || may_send(function(b, 1)));
    require(gpa % 4 == 0);
    (void)!mem_write(b->mem, gpa, &data, sizeof(data));
}

static int fill(void *opaque, void *buf, size_t len)
{
    memset(buf, 0xa5, len);
    return (int)len;
}

static void create(struct bus *b)
{
    struct pcie_host_config config = {.mem = b->mem,
                                      .ecam_gpa = ecam,
                                      .io = {io_window, 0x10000},
                                      .mem32 = {mem32, window_bytes},
                                      .mem64 = {mem64, mem64_bytes},
                                      .message = on_message,
                                      .opaque = b};
    const struct virtio_rng_config rng = {.mem = b->mem, .loop = b->loop, .fill = fill};

    for (uint32_t line = 0; line < PCIE_HOST_LINES; line++)
        config.intx[line] = (struct irq_line){.set = set_line, .opaque = b, .number = line};
    require(pcie_host_create(&config, &b->host) == 0);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        require(virtio_rng_create(&rng, &b->rng[i]) == 0);
        const struct virtio_pci_config pci = {.host = b->host, .slot = i + 1, .device = b->rng[i]};
        require(virtio_pci_create(&pci, &b->transports[i]) == 0);
    }
}

static void destroy(struct bus *b)
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        b->transports[i]->ops->destroy(b->transports[i]);
        b->rng[i]->base.ops->destroy(&b->rng[i]->base);
    }
    b->host->ops->destroy(b->host);
}

/* ---- what a driver does ---- */

static uint64_t get(const struct bus *b, uint64_t gpa, unsigned size_bytes)
{
    uint64_t value = 0;

    require(mem_mmio_read(b->mem, gpa, size_bytes, &value) == 0);
    require(size_bytes == 8 || value >> 8 * size_bytes == 0);
    return value;
}

static void put(const struct bus *b, uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    require(mem_mmio_write(b->mem, gpa, size_bytes, value) == 0);
}

static void touch(const struct bus *b, struct reader *r, uint64_t gpa, unsigned size_bytes)
{
    gpa &= ~(uint64_t)(size_bytes - 1);
    if (take(r, 1) & 1)
        put(b, gpa, size_bytes, take(r, size_bytes));
    else
        (void)get(b, gpa, size_bytes);
}

static uint64_t config_gpa(unsigned slot, unsigned reg)
{
    return ecam + slot * 0x8000u + reg;
}

static void access_config(const struct bus *b, struct reader *r)
{
    static const uint8_t regs[] = {PCI_COMMAND,        PCI_BASE_ADDRESS_1, PCI_BASE_ADDRESS_4,
                                   PCI_BASE_ADDRESS_5, MSIX_CAP + 2,       WINDOW_CAP + 4,
                                   WINDOW_CAP + 8,     WINDOW_CAP + 12,    WINDOW_CAP + 16};
    unsigned slot = (unsigned)take(r, 1), reg = (unsigned)take(r, 1);

    if (slot & 0x80)
        reg = regs[reg % sizeof(regs)];
    touch(b, r, config_gpa(slot % 4, reg), 1u << (slot >> 4) % 3);
}

static void access_window(const struct bus *b, struct reader *r)
{
    uint64_t gpa = 0, kind = take(r, 1);
    unsigned size_bytes = 1u << (kind >> 4) % 4;

    switch (kind % 6) {
    case 0: /* registers, where map() puts them */
    case 1:
        gpa = mem64 + (kind & 0x80 ? 0x4000 : 0) + take(r, 1) % 64;
        break;
    case 2:
        gpa = mem64 + (kind & 0x80 ? 0x4000 : 0) + take(r, 2) % 0x4000;
        break;
    case 3:
        gpa = mem32 + (kind & 0x80 ? 0x1000 : 0) + take(r, 2) % 0x1000;
        break;
    case 4:
        gpa = io_window + take(r, 2);
        break;
    case 5:
        gpa = mem64 + take(r, 4) * 4;
        break;
    }
    touch(b, r, gpa, size_bytes);
}

/* BARs where access_window() looks for them. */
static void map(const struct bus *b, struct reader *r)
{
    unsigned slot = 1 + (unsigned)take(r, 1) % FUNCTIONS;

    put(b, config_gpa(slot, PCI_BASE_ADDRESS_1), 4, mem32 + (slot - 1) * 0x1000);
    put(b, config_gpa(slot, PCI_BASE_ADDRESS_4), 4, (uint32_t)(mem64 + (slot - 1) * 0x4000));
    put(b, config_gpa(slot, PCI_BASE_ADDRESS_5), 4, mem64 >> 32);
    put(b, config_gpa(slot, PCI_COMMAND), 2, take(r, 2) | PCI_COMMAND_MEMORY);
}

/* A driver that does it right, up to DRIVER_OK; with vectors where the input says so. */
static void start(const struct bus *b, struct reader *r)
{
    static const uint16_t parts[] = {0, 0x1000, 0x2000};
    uint64_t flags = take(r, 1), base = mem64 + (flags & 1 ? 0x4000 : 0);

    put(b, base + VIRTIO_PCI_COMMON_STATUS, 1, 0);
    put(b, base + VIRTIO_PCI_COMMON_STATUS, 1, 3);
    for (uint32_t word = 0; word < 2; word++) {
        put(b, base + VIRTIO_PCI_COMMON_GFSELECT, 4, word);
        put(b, base + VIRTIO_PCI_COMMON_GF, 4, word ? 1 | (flags & 4) | 1 << 8 : (flags & 0x18) << 25);
    }
    put(b, base + VIRTIO_PCI_COMMON_STATUS, 1, 11);
    put(b, base + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
    put(b, base + VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
    for (unsigned part = 0; part < 3; part++)
        put(b, base + VIRTIO_PCI_COMMON_Q_DESCLO + 8 * part, 8, RAM_GPA + parts[part]);
    put(b, base + VIRTIO_PCI_COMMON_Q_MSIX, 2, flags >> 5);
    put(b, base + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    put(b, base + VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

static void store(const struct bus *b, struct reader *r)
{
    unsigned size_bytes = 1u << take(r, 1) % 4;
    uint64_t gpa = RAM_GPA + take(r, 2) % RAM_BYTES / size_bytes * size_bytes, value = take(r, size_bytes);

    require(mem_write(b->mem, gpa, &value, size_bytes) == 0);
}

/* ---- what the device and the host do ---- */

static void interrupt(const struct bus *b, struct reader *r)
{
    uint64_t kind = take(r, 1);
    struct virtio_device *dev = b->rng[kind & 1];

    pthread_mutex_lock(&dev->lock);
    if (kind & 2)
        dev->transport->interrupt_queue(dev->transport_opaque, 0);
    else
        dev->transport->interrupt_config(dev->transport_opaque);
    pthread_mutex_unlock(&dev->lock);
}

static struct device *device_at(const struct bus *b, uint64_t index)
{
    struct device *const devices[] = {b->host, b->transports[0], b->transports[1], &b->rng[0]->base, &b->rng[1]->base};

    return devices[index % (sizeof(devices) / sizeof(devices[0]))];
}

static void turns(const struct bus *b)
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        struct virtio_device *dev = b->rng[i];
        if (dev->work.queued)
            dev->work.fn(dev->work.opaque);
    }
}

/* ---- what must hold ---- */

static void check_interrupts(const struct bus *b)
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        const struct pci_device *f = function(b, i);
        bool raised = f->config[PCI_STATUS] & PCI_STATUS_INTERRUPT;
        bool enabled = msix_flags(f) & PCI_MSIX_FLAGS_ENABLE;
        require(b->lines[i + 1] == (raised && !(f->config[PCI_COMMAND + 1] & PCI_COMMAND_INTX_DISABLE >> 8)));
        require(!(raised && enabled));
        require(f->msix.pending >> f->msix.vectors == 0);
        for (unsigned vector = 0; vector < f->msix.vectors && may_send(f); vector++)
            require((f->msix.table[4 * vector + 3] & 1) || !(f->msix.pending >> vector & 1));
    }
    require(!b->lines[0] && !b->lines[3]);
}

static uint64_t bar_address(const struct bus *b, unsigned slot)
{
    uint64_t low = get(b, config_gpa(slot, PCI_BASE_ADDRESS_4), 4);

    return get(b, config_gpa(slot, PCI_BASE_ADDRESS_5), 4) << 32 | (low & ~0xfull);
}

/* The number of queues can be read where the BAR is, unless another one is over it. */
static void check_bars(const struct bus *b)
{
    for (unsigned slot = 1; slot <= FUNCTIONS; slot++) {
        uint64_t address = bar_address(b, slot), other = bar_address(b, 3 - slot);
        bool inside =
            (address >= mem32 && address < mem32 + window_bytes) || (address >= mem64 && address < mem64 + mem64_bytes);
        require(get(b, config_gpa(slot, PCI_VENDOR_ID), 4) == 0x10441af4);
        uint64_t command = get(b, config_gpa(slot, PCI_COMMAND), 2);
        require((command & ~0x507ull) == 0 && address % 0x4000 == 0);
        if (!inside || address == other || address < mem64)
            continue;
        uint64_t queues = get(b, address + VIRTIO_PCI_COMMON_NUMQ, 2);
        require(queues == (command & PCI_COMMAND_MEMORY ? 1 : 0xffff));
    }
}

static void step(struct bus *b, struct reader *r)
{
    switch (take(r, 1) % 16) {
    case 0:
        map(b, r);
        break;
    case 1:
        start(b, r);
        break;
    case 2:
    case 3:
        store(b, r);
        break;
    case 4:
        interrupt(b, r);
        break;
    case 5:
        reload(device_at(b, take(r, 1)), r, change_often);
        break;
    case 6: {
        struct device *dev = device_at(b, take(r, 1));
        dev->ops->reset(dev);
        break;
    }
    case 7:
    case 8:
        turns(b);
        break;
    case 9:
    case 10:
    case 11:
        access_config(b, r);
        break;
    default:
        access_window(b, r);
    }
    check_interrupts(b);
}

/* Nothing of an input stays in it, and closing its descriptors makes the kernel wait. */
static struct loop *one_loop(void)
{
    static struct loop *loop;

    if (!loop)
        require(loop_create(&loop) == 0);
    return loop;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = {data, data + len};
    struct bus b = {0};

    require(mem_create(&b.mem) == 0);
    require(mem_add_ram(b.mem, RAM_GPA, RAM_BYTES) == 0);
    b.loop = one_loop();
    create(&b);
    while (r.at < r.end)
        step(&b, &r);
    check_bars(&b);
    destroy(&b);
    mem_destroy(b.mem);
    return 0;
}
