/* Two small things behind I/O ports of a PC: the keyboard controller (8042) as far as it resets the machine, and the
 * ports by which PCI configuration space is reached without memory-mapped access (PCI Local Bus Specification 3.0,
 * 3.2.2.3.2, "configuration mechanism #1").
 *
 * There is no keyboard: the controller's buffers are always empty, its self-test is not answered, and drivers take it
 * for absent.
 */
#ifndef TUFF_DEV_PC_PC_PORTS_H
#define TUFF_DEV_PC_PC_PORTS_H

#include "base/compiler.h"
#include "dev/device.h"
#include "mem/mem.h"

struct pc_reset_config {
    struct mem *ports;           /* mem_create_ports(); borrowed; no access may come after the device's destruction */
    void (*reset)(void *opaque); /* on a vCPU thread */
    void *opaque;
};

/* Ports 0x60 and 0x64. Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int pc_reset_create(const struct pc_reset_config *config, struct device **out);

struct pc_pci_config {
    struct mem *ports;
    struct mem *mem;   /* where configuration space is mapped */
    uint64_t ecam_gpa; /* bus 0's begins there */
};

/* Ports 0xcf8 to 0xcff. Likewise. */
TUFF_MUST_CHECK int pc_pci_create(const struct pc_pci_config *config, struct device **out);

#endif
