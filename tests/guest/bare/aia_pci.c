/* The PCI bus with IMSICs: MSI-X of the random number device (virtio-pci), sent to M-mode's interrupt file. */
#include "pci.h"

#define IMSIC_M 0x24000000ull
#define TABLE (PCI_MEM32 + 0x100000)
#define PBA (TABLE + 0x800)
#define REGISTERS (PCI_MEM32 + 0x200000)
enum { MSIX_BAR = 1, VECTORS = 2, IDENTITY = 40, ENABLE = 0x8000, MASK_ALL = 0x4000, CONTROL = 2 };

static struct rng_ring ring;
static unsigned msix;

static void set(uint64_t reg, uint64_t value)
{
    rt_csr_write(0x350, reg);
    rt_csr_write(0x351, value);
}

/* Takes what came, in one step, as more may come at any time: identities from IDENTITY on, a bit each. */
static uint64_t arrived(void)
{
    uint64_t bits;

    rt_csr_write(0x350, 0x80);
    __asm__ volatile("csrrw %0, 0x351, zero" : "=r"(bits)::"memory");
    return bits >> IDENTITY;
}

static uint64_t wait_arrived(void)
{
    uint64_t bits;

    while (!(bits = arrived()))
        ;
    return bits;
}

/* The list as it is linked, whole. */
static void capabilities(void)
{
    for (unsigned at = *pci_at(RNG_SLOT, PCI_CAPABILITIES); at; at = *pci_at(RNG_SLOT, at + 1))
        rt_print("capability.%x: id=%x next=%x %x %x", (uint64_t)at, (uint64_t)*pci_at(RNG_SLOT, at),
                 (uint64_t)*pci_at(RNG_SLOT, at + 1), (uint64_t)*pci32(RNG_SLOT, at + 4),
                 (uint64_t)*pci32(RNG_SLOT, at + 8));
    msix = pci_capability(RNG_SLOT, PCI_CAP_MSIX, 0);
    rt_expect(msix != 0, "no MSI-X");
    rt_print("msix.control: %x", (uint64_t)*pci16(RNG_SLOT, msix + CONTROL));
    *pci32(RNG_SLOT, msix) = UINT32_MAX;
    *pci32(RNG_SLOT, msix + 4) = UINT32_MAX;
    rt_print("msix.ones: %x %x", (uint64_t)*pci32(RNG_SLOT, msix), (uint64_t)*pci32(RNG_SLOT, msix + 4));
    *pci16(RNG_SLOT, msix + CONTROL) = 0;
    *pci32(RNG_SLOT, PCI_BAR0 + 4 * MSIX_BAR) = UINT32_MAX;
    rt_print("msix.bar: %x", (uint64_t)*pci32(RNG_SLOT, PCI_BAR0 + 4 * MSIX_BAR));
}

static void table(void)
{
    *pci32(RNG_SLOT, PCI_BAR0 + 4 * MSIX_BAR) = (uint32_t)TABLE;
    pci_set_bar64(RNG_SLOT, RNG_BAR, REGISTERS);
    *pci16(RNG_SLOT, PCI_COMMAND) = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    for (uint64_t gpa = TABLE; gpa < TABLE + VECTORS * 16; gpa += 4)
        rt_print("table.%x: %x", gpa - TABLE, (uint64_t)*rt_mmio32(gpa));
    *rt_mmio32(PBA) = UINT32_MAX;
    rt_print("pba: %x %x", (uint64_t)*rt_mmio32(PBA), *rt_mmio64(PBA));
    *rt_mmio64(TABLE) = 0x123456789abcdef0;
    rt_print("table.double: %x %x", (uint64_t)*rt_mmio32(TABLE), *rt_mmio64(TABLE));
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        *rt_mmio64(TABLE + 16 * vector) = IMSIC_M;
        *rt_mmio32(TABLE + 16 * vector + 8) = IDENTITY + vector;
        *rt_mmio32(TABLE + 16 * vector + 12) = 0;
    }
    *pci16(RNG_SLOT, msix + CONTROL) = ENABLE;
}

static void vectors(void)
{
    static const uint16_t numbers[] = {0, 1, 2, 0xfffe, 0xffff};

    for (size_t i = 0; i < RT_COUNT(numbers); i++) {
        *rng16(REGISTERS, COMMON_CONFIG_VECTOR) = numbers[i];
        *rng16(REGISTERS, COMMON_QUEUE_SELECT) = 0;
        *rng16(REGISTERS, COMMON_QUEUE_VECTOR) = numbers[i];
        rt_print("vector.%x: %x %x", (uint64_t)numbers[i], (uint64_t)*rng16(REGISTERS, COMMON_CONFIG_VECTOR),
                 (uint64_t)*rng16(REGISTERS, COMMON_QUEUE_VECTOR));
    }
    *rng8(REGISTERS, COMMON_STATUS) = 0;
    rt_print("vector.reset: %x %x", (uint64_t)*rng16(REGISTERS, COMMON_CONFIG_VECTOR),
             (uint64_t)*rng16(REGISTERS, COMMON_QUEUE_VECTOR));
}

static void set_mask(uint32_t mask)
{
    *rt_mmio32(TABLE + 16 + 12) = mask;
}

/* The device uses a buffer and sends its message in one piece, which no access of a register comes between. */
static void ask(void)
{
    rng_ask(REGISTERS, &ring);
    rng_wait(&ring);
    (void)*rng8(REGISTERS, COMMON_STATUS);
}

/* Masked: the message does not come, its bit is set, and unmasking lets it out. */
static void masks(void)
{
    set_mask(1);
    ask();
    while (!*rt_mmio64(PBA))
        ;
    rt_print("masked: pba=%x arrived=%x", *rt_mmio64(PBA), arrived());
    ask();
    set_mask(0);
    uint64_t bits = wait_arrived();
    rt_print("unmasked: pba=%x arrived=%x", *rt_mmio64(PBA), bits);
    *pci16(RNG_SLOT, msix + CONTROL) = ENABLE | MASK_ALL;
    ask();
    while (!*rt_mmio64(PBA))
        ;
    rt_print("all_masked: pba=%x arrived=%x", *rt_mmio64(PBA), arrived());
    *pci16(RNG_SLOT, msix + CONTROL) = ENABLE;
    bits = wait_arrived();
    rt_print("all_unmasked: pba=%x arrived=%x", *rt_mmio64(PBA), bits);
    /* A message that was changed while it was masked. */
    set_mask(1);
    ask();
    while (!*rt_mmio64(PBA))
        ;
    *rt_mmio32(TABLE + 16 + 8) = IDENTITY + 5;
    set_mask(0);
    bits = wait_arrived();
    rt_print("changed: arrived=%x", bits);
    rt_expect(bits == 1 << 5, "not the message that the table has at last");
    *rt_mmio32(TABLE + 16 + 8) = IDENTITY + 1;
}

static void messages(void)
{
    set(0x70, 1);
    set(0x72, 0);
    rt_expect(rng_start(REGISTERS, &ring, 1), "the device does not start");
    rt_print("start: %x", arrived());
    for (unsigned i = 0; i < 6; i++) {
        rng_ask(REGISTERS, &ring);
        uint64_t bits = wait_arrived();
        rt_print("message.%d: %x isr=%x", (int64_t)i, bits,
                 (uint64_t)*pci16(RNG_SLOT, PCI_STATUS) & PCI_STATUS_INTERRUPT);
        rt_expect(bits == 2 && rng_came(&ring), "no message of vector 1, or no bytes");
    }
    masks();
    /* Without a vector, and without interrupts. */
    *rng16(REGISTERS, COMMON_QUEUE_SELECT) = 0;
    *rng16(REGISTERS, COMMON_QUEUE_VECTOR) = 0xffff;
    ask();
    rt_print("no_vector: %x", arrived());
    *rng16(REGISTERS, COMMON_QUEUE_VECTOR) = 0;
    rng_ask(REGISTERS, &ring);
    rt_print("vector0: %x", wait_arrived());
    *rng8(REGISTERS, COMMON_STATUS) = 0;
    rt_print("reset: pba=%x", *rt_mmio64(PBA));
}

/* A message is a store: also to memory. */
static void to_memory(void)
{
    static volatile uint32_t word;

    word = 0;
    *rt_mmio64(TABLE + 16) = (uint64_t)&word;
    *rt_mmio32(TABLE + 16 + 8) = 0xcafe0001;
    rt_expect(rng_start(REGISTERS, &ring, 1), "the device does not start");
    rng_ask(REGISTERS, &ring);
    while (!word)
        ;
    rt_print("memory: %x", (uint64_t)word);
}

void bare_main(void)
{
    capabilities();
    table();
    vectors();
    messages();
    to_memory();
}
