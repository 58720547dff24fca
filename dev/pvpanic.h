/* By which a guest's kernel says that it has panicked, or that its crash kernel takes over (QEMU's
 * docs/specs/pvpanic.rst; device-tree compatible qemu,pvpanic-mmio, Linux's pvpanic-mmio driver): one byte, whose reads
 * give the events that can be told and whose stores tell them.
 */
#ifndef TUFF_DEV_PVPANIC_H
#define TUFF_DEV_PVPANIC_H

#include "base/compiler.h"
#include "dev/device.h"
#include "mem/mem.h"

#include <stdint.h>

enum { PVPANIC_BYTES = 0x1000, PVPANIC_PANICKED = 1, PVPANIC_CRASH_LOADED = 2 };

struct pvpanic_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    /* PVPANIC_... bits that the guest told, others left out. The vCPU's thread. */
    void (*told)(void *opaque, unsigned events);
    void *opaque;
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int pvpanic_create(const struct pvpanic_config *config, struct device **out);

#endif
