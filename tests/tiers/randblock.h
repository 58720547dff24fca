/* Random test blocks made from the instruction table.
 *
 * A block is a list of items. An item is one random instruction of a given row, with what has to surround it to keep it
 * in its sandbox: a base address before a load, a counter before a backward branch, a valid rounding mode after a write
 * to frm. Control flow goes from item to item only, so any item can be left out, which is how a failing block is
 * minimised.
 *
 * The sandbox: x2 and one more register (base) point into the record's scratch area, a third (counter) bounds the
 * backward jumps; random instructions read these three but never write them.
 */
#ifndef TUFF_TESTS_TIERS_RANDBLOCK_H
#define TUFF_TESTS_TIERS_RANDBLOCK_H

#include "engine/isa/riscv/decode.h"
#include "program.h"
#include "rng.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RAND_SCRATCH_BELOW = 512, /* scratch bytes on either side of the base address */
    RAND_ITEM_INSNS = 8,
};

struct rand_insn {
    uint32_t bits;
    uint8_t len_bytes;
};

enum rand_fix {
    RAND_FIX_NONE,
    RAND_FIX_RELATIVE, /* a branch or jump: offset from the instruction itself */
    RAND_FIX_PCREL,    /* addi after auipc: offset from the item's auipc, plus `addend` */
};

struct rand_item {
    uint16_t row; /* the row this item is about */
    uint8_t count;
    bool dropped;
    uint8_t fix; /* enum rand_fix */
    uint8_t fix_at, fix_from;
    int32_t addend;
    uint32_t target; /* index of an item; block->count is the end */
    struct rand_insn insns[RAND_ITEM_INSNS];
};

struct rand_block {
    struct rand_item *items;
    uint32_t count;
    uint8_t base, counter;
};

/* Rows that cannot run in a user-mode sandbox. Those end in a trap or need privilege; tests/tiers/test_vcpu.c runs
 * them. */
bool rand_row_excluded(enum rv_row row);

void rand_block_create(struct rand_block *block, struct rng *rng, uint32_t count);
void rand_block_free(struct rand_block *block);

/* Appends the block's code, laid out with jump targets resolved. */
void rand_block_emit(const struct rand_block *block, struct program *program);

#endif
