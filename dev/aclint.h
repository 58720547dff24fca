/* Timer and software interrupts of the harts: SiFive CLINT layout (the first 48 KiB), which is also ACLINT's MSWI and
 * MTIMER devices side by side (RISC-V ACLINT specification 1.0-rc4, chapters 2 and 3).
 *
 *   0x0000 + 4 * hart  msip      bit 0 is the hart's MSI line
 *   0x4000 + 8 * hart  mtimecmp  MTI is high while mtime >= mtimecmp
 *   0xbff8             mtime
 *
 * Time is the machine's: it is read and, when the guest writes mtime, set through callbacks, so that the `time` CSR and
 * mtime cannot disagree. The device arms no timer: it says when the next comparison is due, and the machine calls
 * aclint_timer_check() then.
 *
 * All callbacks and lines are called with the device's lock held: they must not call the device. aclint_create()
 * already calls them, as it resets the device.
 */
#ifndef TUFF_DEV_ACLINT_H
#define TUFF_DEV_ACLINT_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

enum { ACLINT_HARTS_MAX = 64, ACLINT_BYTES = 0x10000 };

struct aclint_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    uint32_t hart_count;                /* 1 to ACLINT_HARTS_MAX */
    const struct irq_line *msi;         /* hart_count lines, copied */
    const struct irq_line *mti;         /* hart_count lines, copied */
    uint64_t (*time_now)(void *opaque); /* ticks of the board's timebase */
    /* The guest wrote mtime: time is `ticks` from now on. NULL: writes are ignored and logged. */
    void (*time_set)(void *opaque, uint64_t ticks);
    /* The hart's comparison becomes true at `deadline` (ticks); UINT64_MAX: it is true already. NULL: the machine
     * polls. */
    void (*deadline_changed)(void *opaque, uint32_t hart, uint64_t deadline);
    void *opaque;
    const uint32_t
        *intc_phandles; /* hart_count, copied: the harts' interrupt controllers in the tree; NULL if hidden */
    bool hidden;        /* writes no node: the guest starts in S-mode and must not touch M-mode's devices */
};

/* Returns 0, -EINVAL (hart_count), -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int aclint_create(const struct aclint_config *config, struct device **out);

/* Any thread: sets the hart's MTI line from a comparison with `now`. Returns the deadline as deadline_changed() gets
 * it. */
uint64_t aclint_timer_check(struct device *dev, uint32_t hart, uint64_t now);

#endif
