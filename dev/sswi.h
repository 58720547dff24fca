/* Supervisor software interrupts by a store (RISC-V ACLINT specification 1.0-rc4, chapter 4, "SSWI"): a hart's IPI
 * without a call to firmware.
 *
 *   0x0000 + 4 * hart  setssip   writing bit 0 as 1 makes SSIP pending in the hart; reads as 0
 *
 * The hart clears SSIP in its sip. The device has no state. Any thread.
 */
#ifndef TUFF_DEV_SSWI_H
#define TUFF_DEV_SSWI_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

enum { SSWI_HARTS_MAX = 64, SSWI_BYTES = 0x4000 };

struct sswi_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    uint32_t hart_count;           /* 1 to SSWI_HARTS_MAX */
    const struct irq_line *ssi;    /* hart_count lines, copied: raised, never lowered */
    const uint32_t *intc_phandles; /* hart_count, copied */
};

/* Returns 0, -EINVAL (hart_count), -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int sswi_create(const struct sswi_config *config, struct device **out);

#endif
