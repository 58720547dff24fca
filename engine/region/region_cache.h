/* The regions of a machine: which are being compiled, which are ready, which hart runs which.
 *
 * One region cache is shared by all harts. A hart installs a region by putting its code into the blocks that are its
 * entries, after comparing the region's bytes with its own view of memory; from then on it holds a reference. It takes
 * the code out again, on its own thread and outside of regions, when bytes changed under it or when it is asked to,
 * because the region was retired to make room (keep.h); the last reference frees the code. So nobody waits for anybody
 * and there is no epoch to pass. A hart that sleeps keeps what it had installed until it runs again.
 */
#ifndef TUFF_ENGINE_REGION_REGION_CACHE_H
#define TUFF_ENGINE_REGION_REGION_CACHE_H

#include "engine/region/region.h"
#include "engine/tier.h"

/* A region installed on a hart. */
struct region_use {
    op_fn *code;
    struct region *region;
    struct region_use *next, **at;
    struct block *blocks[REGION_ENTRIES_MAX];
    /* executions of the block that were not this region's, or are counted already */
    uint64_t counted[REGION_ENTRIES_MAX];
};

static inline op_fn *region_code(const struct block *block)
{
    return block->use->code;
}

/* Executions of the block by the interpreter or its baseline code, which count where it went as well. Entries of a
 * region are none: of a loop that was compiled alone they would make one that hardly goes round. */
uint64_t region_block_ran(struct block *block);

/* Compiles a region that no hart asked for, for the store's sake, and frees it; the configuration says `sync`. */
void region_cache_compile(struct region_cache *cache, struct region *region);

/* ---- a hart's side, its own thread ---- */

/* A block's heat has run out: install what is ready for it, or choose a region and have it compiled. */
void region_hot(struct hart *h, struct block *block, uint64_t pc);
/* The hart was asked for attention while it ran the region that `block` enters: that is where time goes. */
void region_sampled(struct hart *h, struct block *block);
/* A block was decoded, at `pc`: is there code for it already, or was there in an earlier run? */
void region_offer(struct hart *h, struct block *block, uint64_t pc);
/* REQUEST_REGIONS: installs what has become ready for this hart, takes out what is to go. Outside of regions. */
void region_serve_request(struct hart *h);
/* May regions contain the block at all? (--jit-random) */
bool region_may_contain(const struct hart *h, const struct block *block);
/* Bytes of a frame may have changed: regions that differ are taken out. Returns how many. */
unsigned region_revalidate_frame(struct hart *h, uint32_t frame);
/* The block is going away. */
void region_detach(struct hart *h, struct block *block);
/* Is memory what the region was made from? Marks it as code before. */
bool region_same_bytes(struct hart *h, const struct region *r);
/* Takes out everything (the blocks are going away). */
void region_uninstall_all(struct hart *h);
/* A region of several pages is entered: do its pages lie where they should? */
bool region_mapped(struct hart *h, struct block *block, uint64_t pc);
int region_hart_create(struct hart *h);
void region_hart_destroy(struct hart *h);

#endif
