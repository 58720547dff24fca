/* Incoming MSI controllers of the harts (RISC-V Advanced Interrupt Architecture 1.0, chapter 3): for each hart an
 * interrupt file for M-mode and one for S-mode, with identities 1 to 255, laid out as on QEMU's virt board: a page a
 * file, M-mode's from one address, S-mode's from another, harts in order. No guest files.
 *
 *   0x000 seteipnum_le   makes an identity pending
 *
 * (seteipnum_be is left out, as section 3.5 allows.) The rest is reached through the harts' CSRs: imsic_access() and
 * imsic_top() are what mireg, sireg, mtopei and stopei come to. Any thread may write the pages; the other calls are
 * made on the hart's own thread. Lock order: this device's lock, then whatever the output lines take.
 */
#ifndef TUFF_DEV_IMSIC_H
#define TUFF_DEV_IMSIC_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

enum imsic_level { IMSIC_M, IMSIC_S, IMSIC_LEVELS };
enum { IMSIC_HARTS_MAX = 64, IMSIC_IDS = 255, IMSIC_FILE_BYTES = 0x1000 };

struct imsic_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa[IMSIC_LEVELS];
    uint32_t hart_count;                        /* 1 to IMSIC_HARTS_MAX */
    const struct irq_line *lines[IMSIC_LEVELS]; /* hart_count each, copied: the harts' MEI and SEI */
    uint32_t phandles[IMSIC_LEVELS];
    const uint32_t *intc_phandles; /* hart_count, copied */
    bool hide_machine_mode;        /* no node for M-mode's files: the guest starts in S-mode */
};

/* Returns 0, -EINVAL (hart_count), -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int imsic_create(const struct imsic_config *config, struct device **out);

/* Any thread: an MSI that stores `data` (little-endian) to `gpa`. What is no seteipnum register is dropped. */
void imsic_message(struct device *dev, uint64_t gpa, uint32_t data);

/* Register `select` (miselect or siselect, 0x70 to 0xff) of a hart's file: `*old` is what it held, then the bits of
 * `mask` become those of `value`, in one step. Returns 0, or -EINVAL where there is no such register. */
TUFF_MUST_CHECK int imsic_access(struct device *dev, uint32_t hart, enum imsic_level level, uint32_t select,
                                 uint64_t *old, uint64_t value, uint64_t mask);

/* The topei CSR: identity << 16 | identity of the lowest pending and enabled one below the threshold, or 0. `claim`
 * makes it not pending in the same step. */
uint64_t imsic_top(struct device *dev, uint32_t hart, enum imsic_level level, bool claim);

#endif
