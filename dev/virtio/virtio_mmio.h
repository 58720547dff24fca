/* The memory-mapped transport of virtio devices (virtio 1.2, 4.2; version 2 of the registers).
 *
 * A slot without a device answers with device ID 0, which drivers pass over.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_MMIO_H
#define TUFF_DEV_VIRTIO_VIRTIO_MMIO_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"

enum { VIRTIO_MMIO_BYTES = 0x1000 };

struct virtio_mmio_config {
    struct mem *mem; /* borrowed; no access may come after the transport's destruction */
    uint64_t gpa;
    struct irq_line irq;
    uint32_t irq_number;          /* at irq_parent, for the device tree */
    uint32_t irq_parent;          /* phandle */
    struct virtio_device *device; /* borrowed; destroyed after the transport. NULL: an empty slot */
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. The line is driven with the transport's lock held. */
TUFF_MUST_CHECK int virtio_mmio_create(const struct virtio_mmio_config *config, struct device **out);

#endif
