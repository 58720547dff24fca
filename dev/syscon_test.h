/* The board's power switch: SiFive's test device, one 32-bit register at offset 0.
 *
 *   0x5555                power off
 *   code << 16 | 0x3333   end with a failure code
 *   0x7777                reset
 *
 * Kernels reach it through the syscon-poweroff and syscon-reboot nodes, which this device writes at the root of the
 * tree.
 */
#ifndef TUFF_DEV_SYSCON_TEST_H
#define TUFF_DEV_SYSCON_TEST_H

#include "base/compiler.h"
#include "dev/device.h"
#include "mem/mem.h"

enum { SYSCON_TEST_BYTES = 0x1000 };

enum syscon_test_event { SYSCON_TEST_POWEROFF, SYSCON_TEST_FAIL, SYSCON_TEST_RESET };

struct syscon_test_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    uint32_t phandle; /* the test node's own, which the poweroff and reboot nodes name */
    /* On the vCPU's thread, no lock held; the guest goes on until the machine stops it. `code` is 0 except for FAIL. */
    void (*event)(void *opaque, enum syscon_test_event event, uint32_t code);
    void *opaque;
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int syscon_test_create(const struct syscon_test_config *config, struct device **out);

#endif
