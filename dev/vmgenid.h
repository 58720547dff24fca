/* The generation of the virtual machine: 16 bytes that are other ones after each restore from a snapshot, and an
 * interrupt that says so, by which guests know that somebody else has the same random numbers and keys as they. Linux's
 * vmgenid driver seeds its random number generator anew then (device-tree binding microsoft,vmgenid; Microsoft,
 * "Virtual Machine Generation ID").
 *
 * The bytes lie at offset 0 of a page of registers, whose other bytes are 0; stores are ignored. The line stays high
 * until byte 0 is read.
 */
#ifndef TUFF_DEV_VMGENID_H
#define TUFF_DEV_VMGENID_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

#include <stdbool.h>

enum { VMGENID_BYTES = 0x1000, VMGENID_ID_BYTES = 16 };

struct vmgenid_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    struct irq_line irq;
    uint32_t irq_number, irq_parent; /* for the tree */
    bool fixed;                      /* a run that is to repeat itself: always the same generation */
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int vmgenid_create(const struct vmgenid_config *config, struct device **out);

#endif
