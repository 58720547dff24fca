/* The MultiProcessor table; see board_pc.h. All structures are those of chapter 4 of the specification. */
#include "machine/board_pc.h"

#include "mem/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
    MP_BYTES_MAX = 4096,
    HEADER_BYTES = 44,
    POINTER_BYTES = 16,

    ENTRY_PROCESSOR = 0,
    ENTRY_BUS = 1,
    ENTRY_IOAPIC = 2,
    ENTRY_IO_INTERRUPT = 3,
    ENTRY_LOCAL_INTERRUPT = 4,

    PROCESSOR_ENABLED = 1,
    PROCESSOR_BOOTS = 2,
    APIC_VERSION = 0x14,
    CPU_SIGNATURE = 0x600,
    CPU_FEATURES = 0x201, /* FPU, APIC */

    INTERRUPT_INT = 0,
    INTERRUPT_NMI = 1,
    INTERRUPT_EXTINT = 3,
    FLAGS_AS_BUS = 0,
    FLAGS_HIGH_LEVEL = 0x0d,

    BUS_PCI = 0, /* PCI's number is that of the bus itself */
    BUS_ISA = 1,
    ISA_INTERRUPTS = 16,
    PCI_SLOTS = 32,
    PCI_PINS = 4,
    ALL_APICS = 0xff,
};

uint32_t board_pc_virtio_irq(unsigned slot)
{
    static const uint8_t irqs[BOARD_PC_VIRTIO_SLOTS] = {5, 6, 7, 9, 10, 11, 14, 15};

    return irqs[slot % BOARD_PC_VIRTIO_SLOTS];
}

struct table {
    uint8_t bytes[MP_BYTES_MAX];
    uint32_t len;
    uint16_t entries;
};

static void put(struct table *t, const uint8_t *bytes, uint32_t len)
{
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
    t->entries++;
}

static void put_processor(struct table *t, uint8_t id)
{
    uint8_t flags = PROCESSOR_ENABLED | (id == 0 ? PROCESSOR_BOOTS : 0);
    const uint8_t entry[20] = {
        ENTRY_PROCESSOR,  id, APIC_VERSION, flags, CPU_SIGNATURE & 0xff, CPU_SIGNATURE >> 8, 0, 0, CPU_FEATURES & 0xff,
        CPU_FEATURES >> 8};

    put(t, entry, sizeof(entry));
}

static void put_bus(struct table *t, uint8_t id, const char *name)
{
    uint8_t entry[8] = {ENTRY_BUS, id};

    memcpy(entry + 2, name, 6);
    put(t, entry, sizeof(entry));
}

static void put_ioapic(struct table *t, uint8_t id)
{
    uint32_t gpa = (uint32_t)BOARD_PC_IOAPIC_GPA;
    uint8_t entry[8] = {ENTRY_IOAPIC, id, 0x11, 1};

    memcpy(entry + 4, &gpa, sizeof(gpa));
    put(t, entry, sizeof(entry));
}

static void put_interrupt(struct table *t, uint8_t entry_kind, uint8_t kind, uint8_t flags, uint8_t bus, uint8_t source,
                          uint8_t apic, uint8_t input)
{
    const uint8_t entry[8] = {entry_kind, kind, flags, 0, bus, source, apic, input};

    put(t, entry, sizeof(entry));
}

static void put_entries(struct table *t, uint32_t vcpu_count)
{
    uint8_t ioapic = (uint8_t)vcpu_count;

    for (uint32_t i = 0; i < vcpu_count; i++)
        put_processor(t, (uint8_t)i);
    put_bus(t, BUS_PCI, "PCI   ");
    put_bus(t, BUS_ISA, "ISA   ");
    put_ioapic(t, ioapic);
    /* Interrupt 2 joins the two 8259s. */
    for (unsigned irq = 0; irq < ISA_INTERRUPTS; irq++) {
        if (irq != 2)
            put_interrupt(t, ENTRY_IO_INTERRUPT, INTERRUPT_INT, FLAGS_AS_BUS, BUS_ISA, (uint8_t)irq, ioapic,
                          (uint8_t)irq);
    }
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        for (unsigned pin = 0; pin < PCI_PINS; pin++)
            put_interrupt(t, ENTRY_IO_INTERRUPT, INTERRUPT_INT, FLAGS_HIGH_LEVEL, BUS_PCI, (uint8_t)(slot << 2 | pin),
                          ioapic, (uint8_t)(BOARD_PC_IRQ_PCI0 + (slot + pin) % PCI_PINS));
    }
    put_interrupt(t, ENTRY_LOCAL_INTERRUPT, INTERRUPT_EXTINT, FLAGS_AS_BUS, BUS_ISA, 0, ALL_APICS, 0);
    put_interrupt(t, ENTRY_LOCAL_INTERRUPT, INTERRUPT_NMI, FLAGS_AS_BUS, BUS_ISA, 0, ALL_APICS, 1);
}

/* The byte that makes the sum of all 0. */
static uint8_t checksum(const uint8_t *bytes, uint32_t len)
{
    uint8_t sum = 0;

    for (uint32_t i = 0; i < len; i++)
        sum += bytes[i];
    return (uint8_t)-sum;
}

static void put_header(struct table *t)
{
    const uint32_t lapic = (uint32_t)BOARD_PC_LAPIC_GPA;
    const uint16_t len = (uint16_t)t->len;

    memcpy(t->bytes, "PCMP", 4);
    memcpy(t->bytes + 4, &len, sizeof(len));
    t->bytes[6] = 4; /* version 1.4 */
    memcpy(t->bytes + 8, "TUFF    ", 8);
    memcpy(t->bytes + 16, "PC          ", 12);
    memcpy(t->bytes + 34, &t->entries, sizeof(t->entries));
    memcpy(t->bytes + 36, &lapic, sizeof(lapic));
    t->bytes[7] = checksum(t->bytes, t->len);
}

int board_pc_mp_table(struct mem *mem, uint32_t vcpu_count)
{
    const uint32_t at = BOARD_PC_MP_GPA + POINTER_BYTES;
    uint8_t pointer[POINTER_BYTES] = {'_', 'M', 'P', '_'};
    struct table t = {.len = HEADER_BYTES};

    if (vcpu_count > BOARD_PC_VCPUS_MAX)
        return -EINVAL;
    put_entries(&t, vcpu_count);
    put_header(&t);
    memcpy(pointer + 4, &at, sizeof(at));
    pointer[8] = 1; /* in units of 16 bytes */
    pointer[9] = 4;
    pointer[10] = checksum(pointer, sizeof(pointer));
    int rc = mem_write(mem, BOARD_PC_MP_GPA, pointer, sizeof(pointer));
    return rc ? rc : mem_write(mem, at, t.bytes, t.len);
}

_Static_assert(HEADER_BYTES + BOARD_PC_VCPUS_MAX * 20 + 2 * 8 + 8 + 15 * 8 + 31 * 4 * 8 + 2 * 8 <= MP_BYTES_MAX,
               "the largest table");
