/* The board's PCI Express host bridge, as QEMU's virt board has it and the binding pci-host-ecam-generic describes it:
 * one root bus whose functions' configuration space is memory (ECAM, PCI Express Base Specification 5.0, 7.2.2), with a
 * window for I/O ports and two for memory, one of them above 4 GiB. The bridge itself is function 00.0.
 *
 * The memory map is fixed once vCPUs run, so the windows belong to the bridge, which finds the BAR that an access is
 * for: a few comparisons without a lock, while functions move their BARs. Where nothing answers, reads give ones and
 * writes are lost, as on the bus; there are no access faults but by size (ECAM: at most 32 bits).
 *
 * INTx: four lines to the interrupt controller, shared by level; INTA of slot n is line n modulo 4. Messages (MSI-X)
 * are handed to the board.
 */
#ifndef TUFF_DEV_PCI_PCIE_HOST_H
#define TUFF_DEV_PCI_PCIE_HOST_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

struct pci_device;

enum { PCIE_HOST_SLOTS = 32, PCIE_HOST_LINES = 4, PCIE_HOST_ECAM_BYTES = 256 << 20 };

struct pcie_host_window {
    uint64_t gpa, size_bytes;
};

struct pcie_host_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t ecam_gpa;
    struct pcie_host_window io;           /* bus addresses from 0 */
    struct pcie_host_window mem32, mem64; /* bus addresses are guest-physical ones */
    struct irq_line intx[PCIE_HOST_LINES];
    uint32_t intx_number; /* of the first line at irq_parent, for the device tree */
    uint32_t irq_parent;  /* phandle */
    uint32_t msi_parent;  /* phandle of who takes messages; 0: none, drivers then use INTx */
    /* Stores a function's message `data` at `gpa`, which the guest chose. With the function's lock held: may enter
     * interrupt controllers, no other device. */
    void (*message)(void *opaque, uint64_t gpa, uint32_t data);
    void *opaque;
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int pcie_host_create(const struct pcie_host_config *config, struct device **out);

/* Plugs a function into slot 1 to 31, with all its BARs and capabilities made, and resets it. Before vCPUs run. It
 * stays there, and is destroyed before the bridge. Returns 0, -EEXIST (slot taken), -EINVAL (no such slot). */
TUFF_MUST_CHECK int pcie_host_add(struct device *host, struct pci_device *function, unsigned slot);

/* Do accesses at `gpa` go to functions' memory BARs? Elsewhere a BAR means nothing, whatever is written to it. */
bool pcie_host_has_memory(const struct device *host, uint64_t gpa);

#endif
