/* The x86-64 board: a PC without firmware and without ACPI, run by KVM. This header has the address map, and the writer
 * of the MultiProcessor table (Intel MultiProcessor Specification 1.4) from which kernels learn of processors and
 * interrupts.
 *
 *     0            RAM, up to 3 GiB
 *     0xc0000000   PCI memory, 32-bit
 *     0xd0000000   eight virtio-mmio slots
 *     0xd0010000   test device: ends the machine with an exit code
 *     0xe0000000   PCI configuration space
 *     0xfec00000   I/O APIC      0xfee00000   local APICs
 *     0x100000000  the rest of RAM, and from its end on PCI memory, 64-bit (16 GiB)
 *
 * Ports: 0x20, 0xa0 (8259), 0x40, 0x61 (8254), 0x60, 0x64 (8042: reset only), 0x70 (clock), 0x2f8, 0x3f8 (16550),
 * 0xcf8 (PCI configuration), 0xc000 to 0xffff (PCI). In RAM below 1 MiB: BOARD_PC_..._GPA.
 */
#ifndef TUFF_MACHINE_BOARD_PC_H
#define TUFF_MACHINE_BOARD_PC_H

#include "base/compiler.h"

#include <stdint.h>

struct mem;

/* X(id, first address, size in bytes) */
#define BOARD_PC_RANGES(X)               \
    X(PCI_MEM32, 0xc0000000, 0x10000000) \
    X(VIRTIO, 0xd0000000, 0x8000)        \
    X(TEST, 0xd0010000, 0x1000)          \
    X(PCI_IO, 0xd0020000, 0x10000)       \
    X(PCI_ECAM, 0xe0000000, 0x10000000)  \
    X(IOAPIC, 0xfec00000, 0x1000)        \
    X(LAPIC, 0xfee00000, 0x1000)

#define X(id, gpa, size_bytes)                       \
    static const uint64_t BOARD_PC_##id##_GPA = gpa; \
    static const uint64_t BOARD_PC_##id##_BYTES = size_bytes;
BOARD_PC_RANGES(X)
#undef X

/* RAM goes around the devices. Kernels that find no windows described put 64-bit BARs right behind the last RAM. */
static const uint64_t BOARD_PC_HOLE_GPA = 0xc0000000, BOARD_PC_HOLE_BYTES = 0x40000000;
static const uint64_t BOARD_PC_HIGH_RAM_GPA = 0x100000000;
static const uint64_t BOARD_PC_PCI_MEM64_BYTES = 0x400000000;
/* With the window behind it, below the 39 bits of address that every processor with KVM has. */
static const uint64_t BOARD_PC_RAM_MAX_BYTES = 0x4000000000;

enum {
    /* What the loader leaves in low memory. */
    BOARD_PC_GDT_GPA = 0x500,
    BOARD_PC_PARAMS_GPA = 0x7000, /* Linux's boot parameters, or another protocol's; one page */
    BOARD_PC_TABLES_GPA = 0x9000, /* page tables of the first 4 GiB: six pages */
    BOARD_PC_CMDLINE_GPA = 0x20000,
    BOARD_PC_CMDLINE_MAX_BYTES = 0x10000,
    BOARD_PC_LOW_END = 0x9fc00, /* of what a kernel may use below 1 MiB */
    BOARD_PC_MP_GPA = 0xf0000,
    BOARD_PC_HIGH_GPA = 0x100000,

    BOARD_PC_UART_PORT = 0x3f8,
    BOARD_PC_UART1_PORT = 0x2f8,
    BOARD_PC_UART_PORTS = 8,
    BOARD_PC_CMOS_PORT = 0x70,
    BOARD_PC_PCI_IO_PORT = 0xc000, /* from here to the last port */

    BOARD_PC_IRQ_UART1 = 3,
    BOARD_PC_IRQ_UART = 4,
    BOARD_PC_IRQ_PCI0 = 16, /* four of them, inputs of the I/O APIC; INTA of slot n is number n modulo 4 */
    BOARD_PC_VIRTIO_SLOTS = 8,
    BOARD_PC_VIRTIO_SLOT_BYTES = 0x1000,
    BOARD_PC_VCPUS_MAX = 64,
};

/* The ISA interrupt of virtio-mmio slot n. */
uint32_t board_pc_virtio_irq(unsigned slot);

/* Writes the table for so many processors. Returns 0, -EINVAL (too many) or mem_write()'s error. */
TUFF_MUST_CHECK int board_pc_mp_table(struct mem *mem, uint32_t vcpu_count);

#endif
