/* PCI and virtio-pci as a driver sees them, for the programs about the bus: configuration space by ECAM, capabilities,
 * and a virtio device of modern transport with one queue of a few entries (virtio 1.2, 2.7 and 4.1). */
#ifndef TUFF_TESTS_GUEST_BARE_PCI_H
#define TUFF_TESTS_GUEST_BARE_PCI_H

#include <rt.h> /* of the board: rt or rt-pc */

#define PCI_ECAM RT_PCI_ECAM
#define PCI_MEM32 RT_PCI_MEM32
#define PCI_MEM64 0x400000000ull /* with less than 14 GiB of RAM */

enum {
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_BAR0 = 0x10,
    PCI_CAPABILITIES = 0x34,
    PCI_COMMAND_MEMORY = 2,
    PCI_COMMAND_MASTER = 4,
    PCI_COMMAND_INTX_DISABLE = 0x400,
    PCI_STATUS_INTERRUPT = 8,
    PCI_CAP_VENDOR = 9,
    PCI_CAP_MSIX = 0x11,
};

/* The random number device, and where the programs put its registers. */
enum { RNG_SLOT = 1, RNG_BAR = 4, QUEUE_SIZE = 4, BUFFER_BYTES = 64 };

enum {
    COMMON = 0x0000,
    ISR = 0x1000,
    NOTIFY = 0x3000,
    COMMON_DRIVER_FEATURE_SELECT = 8,
    COMMON_DRIVER_FEATURE = 12,
    COMMON_CONFIG_VECTOR = 16,
    COMMON_QUEUES = 18,
    COMMON_STATUS = 20,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_VECTOR = 26,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY_OFF = 30,
    COMMON_QUEUE_DESC = 32,
    COMMON_QUEUE_DRIVER = 40,
    COMMON_QUEUE_DEVICE = 48,
    COMMON_QUEUE_RESET = 58,
};

static inline volatile uint8_t *pci_at(unsigned slot, unsigned reg)
{
    return (volatile uint8_t *)(PCI_ECAM + slot * 0x8000ull + reg);
}

static inline volatile uint16_t *pci16(unsigned slot, unsigned reg)
{
    return (volatile uint16_t *)pci_at(slot, reg);
}

static inline volatile uint32_t *pci32(unsigned slot, unsigned reg)
{
    return (volatile uint32_t *)pci_at(slot, reg);
}

/* The offset of the first capability with this number and, for vendor capabilities, this kind of virtio's; 0: none. */
static inline unsigned pci_capability(unsigned slot, unsigned id, unsigned kind)
{
    for (unsigned at = *pci_at(slot, PCI_CAPABILITIES); at; at = *pci_at(slot, at + 1)) {
        if (*pci_at(slot, at) == id && (id != PCI_CAP_VENDOR || *pci_at(slot, at + 3) == kind))
            return at;
    }
    return 0;
}

static inline void pci_set_bar64(unsigned slot, unsigned bar, uint64_t address)
{
    *pci32(slot, PCI_BAR0 + 4 * bar) = (uint32_t)address;
    *pci32(slot, PCI_BAR0 + 4 * bar + 4) = (uint32_t)(address >> 32);
}

/* ---- the device; `base`: where its BAR is ---- */

struct rng_ring {
    struct {
        uint64_t gpa;
        uint32_t len;
        uint16_t flags, next;
    } desc[QUEUE_SIZE];
    struct {
        uint16_t flags, index, ring[QUEUE_SIZE];
    } avail;
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, len;
        } ring[QUEUE_SIZE];
    } used __attribute__((aligned(4)));
    uint8_t buffer[BUFFER_BYTES];
} __attribute__((aligned(16)));

static inline volatile uint8_t *rng8(uint64_t base, unsigned reg)
{
    return (volatile uint8_t *)(base + reg);
}

static inline volatile uint16_t *rng16(uint64_t base, unsigned reg)
{
    return (volatile uint16_t *)(base + reg);
}

static inline volatile uint32_t *rng32(uint64_t base, unsigned reg)
{
    return (volatile uint32_t *)(base + reg);
}

/* Gives it an empty queue. */
static inline void rng_give_queue(uint64_t base, volatile struct rng_ring *ring)
{
    const uint64_t parts[] = {(uint64_t)ring->desc, (uint64_t)&ring->avail, (uint64_t)&ring->used};

    ring->avail.flags = ring->avail.index = 0;
    ring->used.flags = ring->used.index = 0;
    *rng16(base, COMMON_QUEUE_SELECT) = 0;
    *rng16(base, COMMON_QUEUE_SIZE) = QUEUE_SIZE;
    for (unsigned part = 0; part < 3; part++) {
        *rng32(base, COMMON_QUEUE_DESC + 8 * part) = (uint32_t)parts[part];
        *rng32(base, COMMON_QUEUE_DESC + 8 * part + 4) = (uint32_t)(parts[part] >> 32);
    }
}

/* From reset to DRIVER_OK, with VERSION_1 and RING_RESET; queue 0 has `vector` (0xffff: none). */
static inline bool rng_start(uint64_t base, volatile struct rng_ring *ring, uint16_t vector)
{
    *rng8(base, COMMON_STATUS) = 0;
    while (*rng8(base, COMMON_STATUS))
        ;
    *rng8(base, COMMON_STATUS) = 1 | 2;
    for (uint32_t word = 0; word < 2; word++) {
        *rng32(base, COMMON_DRIVER_FEATURE_SELECT) = word;
        *rng32(base, COMMON_DRIVER_FEATURE) = word ? 1 << 0 | 1 << 8 : 0;
    }
    *rng8(base, COMMON_STATUS) = 1 | 2 | 8;
    if (!(*rng8(base, COMMON_STATUS) & 8))
        return false;
    rng_give_queue(base, ring);
    *rng16(base, COMMON_QUEUE_VECTOR) = vector;
    *rng16(base, COMMON_QUEUE_ENABLE) = 1;
    *rng8(base, COMMON_STATUS) = 1 | 2 | 8 | 4;
    return *rng8(base, COMMON_STATUS) == (1 | 2 | 8 | 4);
}

/* Makes one buffer available and tells the device. */
static inline void rng_ask(uint64_t base, volatile struct rng_ring *ring)
{
    ring->desc[0].gpa = (uint64_t)ring->buffer;
    ring->desc[0].len = BUFFER_BYTES;
    ring->desc[0].flags = 2;
    ring->avail.ring[ring->avail.index % QUEUE_SIZE] = 0;
    rt_fence_io();
    ring->avail.index++;
    rt_fence_io();
    *rng16(base, NOTIFY) = 0;
}

/* Waits until all that was asked for came. */
static inline void rng_wait(volatile struct rng_ring *ring)
{
    while (ring->used.index != ring->avail.index)
        ;
    rt_fence_io();
}

/* Are there other bytes in the buffer than zeroes? */
static inline bool rng_came(const volatile struct rng_ring *ring)
{
    uint8_t any = 0;

    for (unsigned i = 0; i < BUFFER_BYTES; i++)
        any |= ring->buffer[i];
    return any && ring->used.ring[(ring->used.index - 1) % QUEUE_SIZE].len == BUFFER_BYTES;
}

#endif
