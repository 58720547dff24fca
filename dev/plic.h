/* Platform-level interrupt controller (RISC-V PLIC specification 1.0.0) with the layout and size of QEMU's virt board.
 *
 *   0x000000 + 4 * source               priority, 0 (never) to 7
 *   0x001000 + 4 * word                 pending bits
 *   0x002000 + 0x80 * context + 4*word  enable bits
 *   0x200000 + 0x1000 * context         threshold
 *   0x200004 + 0x1000 * context         claim (read), complete (write)
 *
 * Context 2 * hart is the hart's M-mode, 2 * hart + 1 its S-mode. Inputs are levels: a gateway forwards a high level
 * once, and looks at it again when the interrupt is completed. A request that was forwarded stays pending until it is
 * claimed, also when the level falls meanwhile (section 1.1.1 of the specification lets the handler find out; QEMU
 * takes it back).
 *
 * Any thread may drive inputs and access registers. Lock order: the source device's lock, the PLIC's, whatever the
 * output lines take. Output lines are called with the PLIC's lock held and must not call the PLIC.
 */
#ifndef TUFF_DEV_PLIC_H
#define TUFF_DEV_PLIC_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

enum {
    PLIC_HARTS_MAX = 64,
    PLIC_SOURCES = 95, /* sources 1 to 95; riscv,ndev */
    PLIC_PRIORITY_MAX = 7,
    PLIC_BYTES = 0x600000,
};

struct plic_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    uint32_t hart_count;           /* 1 to PLIC_HARTS_MAX */
    const struct irq_line *mei;    /* hart_count lines, copied */
    const struct irq_line *sei;    /* hart_count lines, copied */
    uint32_t phandle;              /* the PLIC's own, which devices name as interrupt-parent */
    const uint32_t *intc_phandles; /* hart_count, copied */
    bool hide_machine_mode;        /* the tree marks M-mode contexts as absent: the guest starts in S-mode */
};

/* Returns 0, -EINVAL (hart_count), -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int plic_create(const struct plic_config *config, struct device **out);

/* The line into source 1 to PLIC_SOURCES. */
struct irq_line plic_source(struct device *dev, uint32_t source);

#endif
