/* --dump: which guest code somebody wants to see compiled, and how the baseline tier's looks. What regions look like,
 * the tier that compiles them prints.
 */
#ifndef TUFF_ENGINE_REGION_DUMP_H
#define TUFF_ENGINE_REGION_DUMP_H

#include "engine/baseline/baseline.h"
#include "engine/tier.h"

/* Does an instruction at `gva` have a byte, and a symbol, that config->dump asks for? Any thread. */
bool dump_wants_insn(const struct tier_config *config, uint64_t gva, unsigned len_bytes);

/* The rest is for the hart's thread. `pc` is where the block is run. */
bool dump_wants_block(const struct hart *h, const struct block *block, uint64_t pc);
/* Prints the guest's instructions of a block that was just compiled, each with its host code. */
void dump_block(const struct hart *h, const struct block *block, uint64_t pc, const struct baseline_map *map);

#endif
