/* The board: QEMU's riscv `virt` machine as far as its addresses, interrupt numbers and device-tree bindings go, so
 * that stock kernels and firmware run unchanged. This header has the address map; board_virt.c writes what the device
 * tree says outside the devices (each device writes its own node, under /soc).
 */
#ifndef TUFF_MACHINE_BOARD_VIRT_H
#define TUFF_MACHINE_BOARD_VIRT_H

#include "base/compiler.h"
#include "base/error.h"
#include "engine/isa/riscv/isa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, first address, size in bytes). Equal to QEMU's map; the test compares them with its own device tree. */
#define BOARD_VIRT_RANGES(X)                                              \
    X(TEST, 0x00100000, 0x1000)                                           \
    X(RTC, 0x00101000, 0x1000)                                            \
    X(WATCHDOG, 0x00102000, 0x1000) /* not QEMU's */                      \
    X(VMGENID, 0x00103000, 0x1000)  /* nor this */                        \
    X(PVPANIC, 0x00105000, 0x1000)  /* nor this */                        \
    X(CLINT, 0x02000000, 0x10000)                                         \
    X(SSWI, 0x02f00000, 0x4000)                                           \
    X(PLIC, 0x0c000000, 0x600000)                                         \
    X(APLIC_M, 0x0c000000, 0x8000)                                        \
    X(APLIC_S, 0x0d000000, 0x8000)                                        \
    X(UART, 0x10000000, 0x100)                                            \
    X(VIRTIO, 0x10001000, 0x8000) /* 8 slots of 0x1000 */                 \
    X(IMSIC_M, 0x24000000, 0x4000000)                                     \
    X(IMSIC_S, 0x28000000, 0x4000000)                                     \
    X(FLASH, 0x20000000, 0x4000000)                                       \
    X(UART1, 0x10009000, 0x100) /* not QEMU's: behind its virtio slots */ \
    X(PCIE_IO, 0x03000000, 0x10000)                                       \
    X(PCIE_ECAM, 0x30000000, 0x10000000)                                  \
    X(PCIE_MMIO, 0x40000000, 0x40000000)

#define X(id, gpa, size_bytes)                    \
    static const uint64_t BOARD_##id##_GPA = gpa; \
    static const uint64_t BOARD_##id##_BYTES = size_bytes;
BOARD_VIRT_RANGES(X)
#undef X

static const uint64_t BOARD_RAM_GPA = 0x80000000;

/* PCI's second window for memory begins at the first multiple of its size above RAM. */
static const uint64_t BOARD_PCIE_HIGH_BYTES = 0x400000000;

enum {
    /* PLIC sources. */
    BOARD_IRQ_VIRTIO0 = 1, /* slot n: 1 + n */
    BOARD_IRQ_UART = 10,
    BOARD_IRQ_RTC = 11,
    BOARD_IRQ_UART1 = 12,
    BOARD_IRQ_WATCHDOG = 13,
    BOARD_IRQ_VMGENID = 14,
    BOARD_IRQ_PCIE0 = 32, /* four of them */

    BOARD_VIRTIO_SLOTS = 8,
    BOARD_VIRTIO_SLOT_BYTES = 0x1000,
    BOARD_TIMEBASE_HZ = 10000000,
    BOARD_UART_CLOCK_HZ = 3686400,

    /* One remote fence or IPI addresses a hart by a bit of one 64-bit word. */
    BOARD_HARTS_MAX = 64,
    BOARD_RNG_SEED_BYTES = 32,

    /* Handles that nodes refer to each other by. */
    BOARD_PHANDLE_INTC0 = 1,   /* interrupt controller of hart i: 1 + i */
    BOARD_PHANDLE_CPU0 = 0x80, /* cpu node of hart i: 0x80 + i */
    BOARD_PHANDLE_PLIC = 0x100,
    BOARD_PHANDLE_IMSIC_M = 0x102,
    BOARD_PHANDLE_IMSIC_S = 0x103,
    BOARD_PHANDLE_APLIC_M = 0x104,
    BOARD_PHANDLE_APLIC_S = 0x105,
    BOARD_PHANDLE_TEST = 0x101, /* the syscon that poweroff and reboot write to */
};

/* What the tree says beyond the devices. Pointers are borrowed for the call. */
struct board_virt_config {
    uint32_t hart_count; /* 1 .. BOARD_HARTS_MAX */
    uint64_t ram_bytes;
    isa_set isa;                       /* ISA_EXT bits */
    uint32_t timebase_hz;              /* of the time CSR */
    bool has_imsic;                    /* the harts have Smaia and Ssaia */
    const char *cmdline;               /* NULL: no bootargs */
    uint64_t initrd_start, initrd_end; /* end 0: none */
    bool has_seeds;                    /* rng_seed and kaslr_seed are given to the guest */
    uint8_t rng_seed[BOARD_RNG_SEED_BYTES];
    uint64_t kaslr_seed;
};

/* Fills the seeds: from the host's random numbers, or, for a run that must repeat itself, with fixed values. Returns 0
 * or what getrandom() said. May block while the host boots. */
TUFF_MUST_CHECK int board_virt_seeds(struct board_virt_config *config, bool reproducible, struct error *err);

/* Starts a tree: root, /chosen, /memory, /cpus and an empty /soc. `*fdt` has room for the devices' nodes and is the
 * caller's to free(). Returns 0, -EINVAL (a value of `config`), -E2BIG (command line), -ENOMEM. */
TUFF_MUST_CHECK int board_virt_fdt_create(const struct board_virt_config *config, void **fdt, struct error *err);

/* Ends it, after the devices wrote their nodes (which leave out what belongs to M-mode where the VM serves SBI). Packs
 * the tree; `*len` is its size. Returns 0 or -EINVAL. */
TUFF_MUST_CHECK int board_virt_fdt_finish(void *fdt, size_t *len, struct error *err);

/* For a tree from a file: a copy in which /chosen has the command line (unless NULL) and the initrd (unless end is 0).
 * The tree must have passed loader_check_dtb() and describe no memory outside the guest's RAM. `*out` is the caller's
 * to free(). Returns 0, -EINVAL or -ENOMEM. */
TUFF_MUST_CHECK int board_virt_fdt_adopt(const void *dtb, const struct board_virt_config *config, void **out,
                                         size_t *len, struct error *err);

#endif
