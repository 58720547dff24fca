/* The regions that a hart has installed: a region's code is put into the blocks that are its entries, after its bytes
 * were compared with the hart's own view of memory. All on the hart's thread. */
#ifndef TUFF_ENGINE_REGION_INSTALLED_H
#define TUFF_ENGINE_REGION_INSTALLED_H

#include "engine/region/region.h"
#include "engine/tier.h"

enum {
    FRAME_BUCKETS = 1024,
};

/* A region installed on a hart. */
struct region_use {
    op_fn *code;
    struct region *region;
    struct region_use *next, **at;
    struct block *blocks[REGION_ENTRIES_MAX];
    /* executions of the block that were not this region's, or are counted already */
    uint64_t counted[REGION_ENTRIES_MAX];
};

struct use_page {
    struct use_page *next;
    struct region_use *use;
    uint32_t frame;
};

/* A hart's own part; `ready` is shared, under the cache's lock, and `look_over`. */
struct region_hart {
    struct region_use *uses;
    struct use_page *frames[FRAME_BUCKETS];
    struct region *ready;
    _Atomic bool look_over; /* asked to tell what it uses and to take out what is retired */
};

static inline op_fn *region_code(const struct block *block)
{
    return block->use->code;
}

int region_hart_create(struct hart *h);
void region_hart_destroy(struct hart *h);

/* Executions of the block by the interpreter or its baseline code, which count where it went as well. Entries of a
 * region are none: of a loop that was compiled alone they would make one that hardly goes round. */
uint64_t region_block_ran(struct block *block);
/* Adds what the entries ran to the region's counts. Or on another thread, when the hart has stopped. */
void region_count_use(struct region_use *use);

/* Installs what there is for the block's address. True: the region is known and good, or it failed. */
bool region_install_listed(struct hart *h, struct block *block);
/* Installs what has become ready for this hart. */
void region_install_ready(struct hart *h);
/* REQUEST_REGIONS: that, and takes out what is to go. Outside of regions. */
void region_serve_request(struct hart *h);

/* A region of several pages is entered: do its pages lie where they should? */
bool region_mapped(struct hart *h, struct block *block, uint64_t pc);
/* Is memory what the region was made from? Marks it as code before. */
bool region_same_bytes(struct hart *h, const struct region *r);
/* Bytes of a frame may have changed: regions that differ are taken out. Returns how many. */
unsigned region_revalidate_frame(struct hart *h, uint32_t frame);
/* The block is going away. */
void region_detach(struct hart *h, struct block *block);
/* Takes out everything (the blocks are going away). */
void region_uninstall_all(struct hart *h);

#endif
