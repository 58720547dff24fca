/* What becomes of a block that runs often: baseline code, a region of an earlier run, one of this run, the same again
 * with the full pipeline; and when somebody looks at it. All on the hart's thread. */
#ifndef TUFF_ENGINE_REGION_POLICY_H
#define TUFF_ENGINE_REGION_POLICY_H

#include "engine/region/region.h"

/* A block's heat has run out: install what is ready for it, or choose a region and have it compiled. */
void region_hot(struct hart *h, struct block *block, uint64_t pc);
/* A block was decoded, at `pc`: is there code for it already, or was there in an earlier run? */
void region_offer(struct hart *h, struct block *block, uint64_t pc);
/* The hart was asked for attention while it ran the region that `block` enters: that is where time goes. Then it is
 * compiled again, larger and with everything LLVM has. Not from inside the region: its block's next entry does it. */
void region_sampled(struct hart *h, struct block *block);

/* May regions contain the block at all? (--jit-random) */
bool region_may_contain(const struct hart *h, const struct block *block);
/* May a region start there? A sample is by address, too. */
bool region_may_start(const struct hart *h, const struct block *block);
/* What a block runs before somebody looks at it: a new one, and one whose region went. */
void region_give_heat(const struct hart *h, struct block *block);
/* A region around the block for this level. NULL as region_select(). */
struct region *region_choose(struct hart *h, struct block *block, uint64_t pc, unsigned level);
/* Blocks that the region will contain need none of their own while it is being compiled. */
void region_note_pending(struct hart *h, const struct region *r);

#endif
