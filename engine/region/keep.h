/* Which compiled regions a machine keeps when they become too many: a list with ages, and who goes next. Knows neither
 * harts nor locks; the region cache calls it under its own.
 *
 * The policy is generational. A region that was entered only now and then since it was made goes first, once it has had
 * some time to show itself; after those the one whose last use is longest ago. Use is known without cost to generated
 * code: harts add up, when asked, how often the blocks that enter a region ran (region.entries), and each round of
 * ageing halves what was seen before.
 */
#ifndef TUFF_ENGINE_REGION_KEEP_H
#define TUFF_ENGINE_REGION_KEEP_H

#include "engine/region/region.h"

struct region_keep {
    struct region *oldest, *newest;
    uint64_t limit_bytes, bytes; /* of READY regions, as region_held_bytes() */
    uint32_t failed;             /* FAILED regions kept, so that nobody tries again */
    uint32_t round;              /* of ageing */
};

enum {
    REGION_FAILED_KEPT = 256, /* a failure forgotten costs one compile more */
    REGION_HOT_ENTRIES = 256, /* entered less often, a region is not worth its place */
    REGION_GRACE_ROUNDS = 8,  /* how long it has to get there */
};

/* Host memory that a region's code takes: whole pages, and what an object of its own adds. */
uint64_t region_held_bytes(const struct region *region);

/* The region is READY or FAILED, and in no such list. */
void region_keep_add(struct region_keep *keep, struct region *region);
/* Does nothing for one that is not in the list. */
void region_keep_remove(struct region_keep *keep, struct region *region);
/* Near the limit: use is worth asking for. */
bool region_keep_is_tight(const struct region_keep *keep);
/* Looks at how much each was used since the last round. */
void region_keep_age(struct region_keep *keep);
/* Who is to go, or NULL while all have room. Never `spared`. It stays in the list. */
struct region *region_keep_victim(const struct region_keep *keep, const struct region *spared);

#endif
