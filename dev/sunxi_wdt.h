/* The Allwinner D1's watchdog (D1-H user manual, "Watchdog"), which Linux's sunxi_wdt drives.
 *
 *   0x00 IRQ_EN      bit 0
 *   0x04 IRQ_STATUS  bit 0; written 1: cleared
 *   0x08 SOFT_RESET  key 0x16aa in bits 31..16, bit 0: reset now
 *   0x10 CTRL        bits 12..1 = 0xa57 and bit 0: counts from zero again; reads 0
 *   0x14 CONFIG      key; bits 1..0: at the end 1 resets the machine, 2 interrupts
 *   0x18 MODE        key; bits 7..4: interval, bit 0: enable
 *
 * Registers with a key ignore writes without it; the key reads as 0. The clock's source (CONFIG bit 8) and the width of
 * the reset pulse change nothing here. Callbacks and the line are called with the device's lock held: they must not
 * call the device.
 */
#ifndef TUFF_DEV_SUNXI_WDT_H
#define TUFF_DEV_SUNXI_WDT_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

enum { SUNXI_WDT_BYTES = 0x1000 };

struct sunxi_wdt_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    struct irq_line irq;
    uint32_t irq_number;              /* at irq_parent, for the device tree */
    uint32_t irq_parent;              /* phandle */
    uint64_t (*now_ns)(void *opaque); /* the machine's time, which never goes back */
    /* Call sunxi_wdt_check() once that time is `deadline_ns`; UINT64_MAX: not at all. NULL: it never ends. */
    void (*deadline_changed)(void *opaque, uint64_t deadline_ns);
    void (*reset)(void *opaque); /* the machine is to be reset */
    void *opaque;
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int sunxi_wdt_create(const struct sunxi_wdt_config *config, struct device **out);

/* Any thread: acts if the time is over. */
void sunxi_wdt_check(struct device *dev);

#endif
