/* Two banks of parallel NOR flash with Intel's command set (CFI, JEDEC JESD68.01 and JEP137; Intel StrataFlash J3
 * datasheet), as on QEMU's virt board: each bank is two 16-bit chips side by side on a 32-bit bus, 32 MiB in blocks of
 * 256 KiB.
 *
 * In its array mode a bank is memory (mem_add_rom()): read at any size and executed. Instructions are fetched from the
 * array in every mode. A command is the low byte of what is written, whatever the size: the chips of a bank always do
 * the same, as the drivers have it. Operations are over at once.
 */
#ifndef TUFF_DEV_PFLASH_H
#define TUFF_DEV_PFLASH_H

#include "base/compiler.h"
#include "dev/device.h"

#include <stdbool.h>
#include <stdint.h>

struct mem;

enum { PFLASH_BANKS = 2, PFLASH_BANK_BYTES = 32 << 20, PFLASH_BLOCK_BYTES = 256 << 10 };

struct pflash_config {
    struct mem *mem; /* borrowed */
    uint64_t gpa;    /* bank n lies PFLASH_BANK_BYTES * n behind it */
    bool read_only[PFLASH_BANKS];
    /* Part of a bank has changed, as programmed or erased: for the file behind it. On the vCPU's thread, with the
     * device's lock held; returns 0, or a negative errno, which the guest sees as a failed operation. NULL: nobody
     * keeps it. */
    int (*changed)(void *opaque, unsigned bank, uint32_t offset, const uint8_t *bytes, uint32_t len);
    void *opaque;
};

/* Both banks are erased (all ones). Returns 0, -ENOMEM, or what mem_add_rom() said. The contents are not part of the
 * saved state. Before vCPUs are made, as the memory map's frames change. */
TUFF_MUST_CHECK int pflash_create(const struct pflash_config *config, struct device **out);

/* The bytes of a bank, to be filled before vCPUs run. */
uint8_t *pflash_bank(struct device *dev, unsigned bank);

#endif
