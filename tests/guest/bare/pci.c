/* The PCI bus with the PLIC: what ECAM shows, sizes of BARs, BARs that move, and the random number device (virtio-pci)
 * by polling and by INTx. */
#include "pci.h"

enum { IRQ = 32 + RNG_SLOT % 4, BAR_BYTES = 0x4000 };
#define PLIC_PRIORITY (RT_PLIC + 4ull * IRQ)
#define PLIC_PENDING (RT_PLIC + 0x1000 + 4ull * (IRQ / 32))
#define PLIC_ENABLE (RT_PLIC + 0x2000 + 4ull * (IRQ / 32))
#define PLIC_CLAIM (RT_PLIC + 0x200004ull)

static struct rng_ring ring;

/* Each slot of bus 0; functions, buses and registers that are not there. */
static void scan(void)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        uint32_t ids = *pci32(slot, 0);
        if (ids != UINT32_MAX)
            rt_print("slot.%d: %x class=%x header=%x subsystem=%x pin=%x", (int64_t)slot, (uint64_t)ids,
                     (uint64_t)*pci32(slot, 8), (uint64_t)*pci_at(slot, 0xe), (uint64_t)*pci32(slot, 0x2c),
                     (uint64_t)*pci_at(slot, 0x3d));
    }
    rt_print("absent.slot31: %x %x %x", (uint64_t)*pci32(31, 0), (uint64_t)*pci16(31, 2), (uint64_t)*pci_at(31, 3));
    rt_print("absent.function1: %x", (uint64_t)*pci32(RNG_SLOT, 0x1000));
    rt_print("absent.bus1: %x", (uint64_t)*pci32(32 + RNG_SLOT, 0));
    rt_print("absent.bus255: %x", (uint64_t)*pci32(255 * 32, 0));
    rt_print("absent.extended: %x", (uint64_t)*pci32(RNG_SLOT, 0x100));
    *pci32(31, 0) = 0;
    rt_expect(*pci32(0, 0) == 0x00081b36, "the bridge is not in slot 0");
    rt_expect(*pci32(RNG_SLOT, 0) == 0x10441af4, "the random number device is not in slot 1");
}

/* The header as it is after reset and with all bits written, but BAR 1, which is MSI-X's and not on every machine. */
static void header(unsigned slot)
{
    for (unsigned reg = 0; reg < 0x40; reg += 4) {
        uint32_t before = *pci32(slot, reg);
        if (reg == PCI_BAR0 + 4 || reg == PCI_CAPABILITIES)
            continue;
        *pci32(slot, reg) = UINT32_MAX;
        uint32_t ones = *pci32(slot, reg);
        *pci32(slot, reg) = 0;
        rt_print("header.%d.%x: %x ones=%x zeroes=%x", (int64_t)slot, (uint64_t)reg, (uint64_t)before, (uint64_t)ones,
                 (uint64_t)*pci32(slot, reg));
    }
    *pci_at(slot, 0x3c) = 0x5a;
    rt_print("bytes.%d: %x %x", (int64_t)slot, (uint64_t)*pci32(slot, 0x3c), (uint64_t)*pci16(slot, 0x3c));
    *pci16(slot, 0x3c) = 0x1234;
    rt_print("half.%d: %x", (int64_t)slot, (uint64_t)*pci32(slot, 0x3c));
}

/* Virtio's capabilities (4.1.4). */
static void capabilities(void)
{
    for (unsigned kind = 1; kind <= 5; kind++) {
        unsigned at = pci_capability(RNG_SLOT, PCI_CAP_VENDOR, kind);
        rt_expect(at != 0, "no virtio capability of kind %d", (int64_t)kind);
        rt_print("virtio.%d: at=%x len=%x bar=%x offset=%x length=%x", (int64_t)kind, (uint64_t)at,
                 (uint64_t)*pci_at(RNG_SLOT, at + 2), (uint64_t)*pci_at(RNG_SLOT, at + 4),
                 (uint64_t)*pci32(RNG_SLOT, at + 8), (uint64_t)*pci32(RNG_SLOT, at + 12));
    }
    unsigned notify = pci_capability(RNG_SLOT, PCI_CAP_VENDOR, 2);
    rt_print("virtio.multiplier: %x", (uint64_t)*pci32(RNG_SLOT, notify + 16));
}

static void set_command(unsigned command)
{
    *pci16(RNG_SLOT, PCI_COMMAND) = (uint16_t)command;
}

static void bars(void)
{
    static const uint64_t places[] = {PCI_MEM32, PCI_MEM32 + BAR_BYTES,   PCI_MEM32 + 0x3fffc000,
                                      PCI_MEM64, PCI_MEM64 + 0x123450000, PCI_MEM64 + 0x3ffffc000};
    uint64_t before = places[0];

    for (size_t i = 0; i < RT_COUNT(places); i++) {
        pci_set_bar64(RNG_SLOT, RNG_BAR, places[i]);
        set_command(PCI_COMMAND_MEMORY);
        rt_print("bar.%d: %x %x", (int64_t)i, (uint64_t)*rng16(places[i], COMMON_QUEUES),
                 (uint64_t)*rng32(places[i], BAR_BYTES - 4));
        if (i)
            rt_print("bar.%d.before: %x", (int64_t)i, (uint64_t)*rng16(before, COMMON_QUEUES));
        set_command(0);
        rt_print("bar.%d.disabled: %x %x", (int64_t)i, (uint64_t)*rng16(places[i], COMMON_QUEUES),
                 *(volatile uint64_t *)places[i]);
        before = places[i];
    }
    set_command(PCI_COMMAND_MEMORY);
    pci_set_bar64(RNG_SLOT, RNG_BAR, RT_BEYOND_RAM);
    rt_print("bar.outside: %x", (uint64_t)*rng16(before, COMMON_QUEUES));
    pci_set_bar64(RNG_SLOT, RNG_BAR, PCI_MEM64);
    rt_print("bar.again: %x", (uint64_t)*rng16(PCI_MEM64, COMMON_QUEUES));
}

/* The registers of a device that was just reset. */
static void registers(uint64_t base)
{
    *rng8(base, COMMON_STATUS) = 0;
    rt_print("common.status: %x", (uint64_t)*rng8(base, COMMON_STATUS));
    rt_print("common.generation: %x", (uint64_t)*rng8(base, COMMON_STATUS + 1));
    *rng16(base, COMMON_QUEUE_SELECT) = 0;
    rt_print("common.queue0: enable=%x off=%x desc=%x", (uint64_t)*rng16(base, COMMON_QUEUE_ENABLE),
             (uint64_t)*rng16(base, COMMON_QUEUE_NOTIFY_OFF), (uint64_t)*rng32(base, COMMON_QUEUE_DESC));
    *rng16(base, COMMON_QUEUE_SELECT) = 1;
    rt_print("common.queue1: select=%x size=%x enable=%x", (uint64_t)*rng16(base, COMMON_QUEUE_SELECT),
             (uint64_t)*rng16(base, COMMON_QUEUE_SIZE), (uint64_t)*rng16(base, COMMON_QUEUE_ENABLE));
    *rng32(base, COMMON_DRIVER_FEATURE_SELECT) = 1;
    *rng32(base, COMMON_DRIVER_FEATURE) = 0;
    *rng8(base, COMMON_STATUS) = 1 | 2 | 8;
    rt_print("common.without_version_1: %x", (uint64_t)*rng8(base, COMMON_STATUS));
    *rng16(base, COMMON_QUEUE_SELECT) = 0;
    *rng32(base, COMMON_QUEUE_DESC) = 0x12345000;
    *rng32(base, COMMON_QUEUE_DESC + 4) = 0x1;
    rt_print("common.address: %x %x", (uint64_t)*rng32(base, COMMON_QUEUE_DESC),
             (uint64_t)*rng32(base, COMMON_QUEUE_DESC + 4));
    *rng8(base, COMMON_STATUS) = 0;
    rt_print("common.address.reset: %x", (uint64_t)*rng32(base, COMMON_QUEUE_DESC));
}

static void polled(uint64_t base)
{
    set_command(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    rt_expect(rng_start(base, &ring, 0xffff), "the device does not start");
    for (unsigned i = 0; i < 6; i++) { /* more than the ring has entries */
        for (unsigned at = 0; at < BUFFER_BYTES; at++)
            ring.buffer[at] = 0;
        rng_ask(base, &ring);
        rng_wait(&ring);
        rt_print("polled.%d: %x", (int64_t)i, (uint64_t)rng_came(&ring));
        rt_expect(rng_came(&ring), "no random bytes came");
    }
}

static bool plic_pending(void)
{
    return *rt_mmio32(PLIC_PENDING) >> IRQ % 32 & 1;
}

static void intx(uint64_t base)
{
    rt_print("intx.status: %x pending=%x", (uint64_t)*pci16(RNG_SLOT, PCI_STATUS) & PCI_STATUS_INTERRUPT,
             (uint64_t)plic_pending());
    *rt_mmio32(PLIC_PRIORITY) = 1;
    *rt_mmio32(PLIC_ENABLE) = 1u << IRQ % 32;
    *rt_mmio32(RT_PLIC + 0x200000) = 0;
    set_command(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    while (!(rt_csr_read(mip) >> 11 & 1))
        ;
    rt_print("intx.enabled: mip=%x", rt_csr_read(mip) >> 11 & 1);
    uint32_t claimed = *rt_mmio32(PLIC_CLAIM);
    rt_print("intx.claim: %d", (int64_t)claimed);
    rt_expect(claimed == IRQ, "another interrupt was claimed: %d", (int64_t)claimed);
    rt_print("intx.isr: %x then %x", (uint64_t)*rng8(base, ISR), (uint64_t)*rng8(base, ISR));
    rt_print("intx.status.read: %x", (uint64_t)*pci16(RNG_SLOT, PCI_STATUS) & PCI_STATUS_INTERRUPT);
    *rt_mmio32(PLIC_CLAIM) = claimed;
    rt_print("intx.completed: pending=%x mip=%x", (uint64_t)plic_pending(), rt_csr_read(mip) >> 11 & 1);
    /* Again, and this time it stays away when the driver does not want it. */
    rng_ask(base, &ring);
    while (!(rt_csr_read(mip) >> 11 & 1))
        ;
    claimed = *rt_mmio32(PLIC_CLAIM);
    rt_print("intx.again: %d isr=%x", (int64_t)claimed, (uint64_t)*rng8(base, ISR));
    *rt_mmio32(PLIC_CLAIM) = claimed;
    ring.avail.flags = 1;
    rng_ask(base, &ring);
    rng_wait(&ring);
    rt_print("intx.unwanted: isr=%x pending=%x", (uint64_t)*rng8(base, ISR), (uint64_t)plic_pending());
    ring.avail.flags = 0;
}

static void queue_reset(uint64_t base)
{
    rt_expect(rng_start(base, &ring, 0xffff), "the device does not start");
    rng_ask(base, &ring);
    rng_wait(&ring);
    *rng16(base, COMMON_QUEUE_RESET) = 1;
    while (*rng16(base, COMMON_QUEUE_RESET))
        ;
    rt_print("queue_reset: enable=%x status=%x", (uint64_t)*rng16(base, COMMON_QUEUE_ENABLE),
             (uint64_t)*rng8(base, COMMON_STATUS));
    rng_give_queue(base, &ring);
    *rng16(base, COMMON_QUEUE_ENABLE) = 1;
    rng_ask(base, &ring);
    rng_wait(&ring);
    rt_print("queue_reset.again: %x", (uint64_t)rng_came(&ring));
    *rng8(base, COMMON_STATUS) = 0;
    rt_print("reset: status=%x enable=%x isr=%x", (uint64_t)*rng8(base, COMMON_STATUS),
             (uint64_t)*rng16(base, COMMON_QUEUE_ENABLE), (uint64_t)*rng8(base, ISR));
}

void bare_main(void)
{
    scan();
    header(0);
    header(RNG_SLOT);
    capabilities();
    bars();
    registers(PCI_MEM64);
    polled(PCI_MEM64);
    intx(PCI_MEM64);
    queue_reset(PCI_MEM64);
}
