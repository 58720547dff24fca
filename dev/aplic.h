/* Advanced platform-level interrupt controller (RISC-V Advanced Interrupt Architecture 1.0, chapter 4) as on QEMU's
 * virt board: a root domain for M-mode with one child for S-mode, to which it delegates sources, 96 sources. Either
 * domain delivers directly, through a line for each hart (its IDC structure), or, where `message` is given, as MSIs and
 * in no other way.
 *
 * Any thread may drive inputs and access registers. Lock order: the source device's lock, the APLIC's, whatever the
 * output lines and `message` take; neither may call the APLIC.
 */
#ifndef TUFF_DEV_APLIC_H
#define TUFF_DEV_APLIC_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

enum aplic_domain { APLIC_M, APLIC_S, APLIC_DOMAINS };
enum { APLIC_HARTS_MAX = 64, APLIC_SOURCES = 96, APLIC_BYTES = 0x8000 };

struct aplic_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa[APLIC_DOMAINS];
    uint32_t hart_count;                         /* 1 to APLIC_HARTS_MAX */
    const struct irq_line *lines[APLIC_DOMAINS]; /* direct delivery: hart_count each, copied */
    /* MSI delivery: stores `data` to `gpa`, which the guest chose. NULL: direct. */
    void (*message)(void *opaque, uint64_t gpa, uint32_t data);
    void *opaque;
    uint64_t msi_gpa[APLIC_DOMAINS]; /* where the harts' interrupt files begin: what msiaddrcfg has after reset */
    uint32_t msi_phandles[APLIC_DOMAINS];
    uint32_t phandles[APLIC_DOMAINS];
    const uint32_t *intc_phandles; /* hart_count, copied */
    /* The guest starts in S-mode: no node for the root domain, which delegates every source after reset. */
    bool hide_machine_mode;
};

/* Returns 0, -EINVAL (hart_count), -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int aplic_create(const struct aplic_config *config, struct device **out);

/* The line into source 1 to APLIC_SOURCES. */
struct irq_line aplic_source(struct device *dev, uint32_t source);

#endif
