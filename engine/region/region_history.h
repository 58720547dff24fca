/* What is kept of each region for statistics, also when the region itself has gone: one compact row, at most
 * REGION_HISTORY_ROWS of them. Rows do not move and stay until the history goes. Under the region cache's lock, but for
 * `executions`.
 */
#ifndef TUFF_ENGINE_REGION_REGION_HISTORY_H
#define TUFF_ENGINE_REGION_REGION_HISTORY_H

#include "engine/region/region.h"
#include "engine/tier.h"

struct region;

enum { REGION_HISTORY_CHUNK = 1024, REGION_HISTORY_ROWS = 64 * REGION_HISTORY_CHUNK };

struct region_row {
    struct tier_region about; /* but for its `executions` */
    _Atomic uint64_t executions;
    uint8_t digest[REGION_DIGEST_BYTES]; /* of its shape, where there is a store */
    bool has_digest;
};

struct region_history {
    struct region_row *chunks[REGION_HISTORY_ROWS / REGION_HISTORY_CHUNK];
    uint32_t count;
    uint64_t lost; /* regions without a row */
};

/* The region's row, from its description. NULL: full, or no memory. */
struct region_row *region_history_add(struct region_history *history, const struct region *region);
/* What the tier said of it. */
void region_history_done(struct region_row *row, const struct region *region);
void region_history_state(struct region_row *row, enum tier_region_state state);
/* NULL: there is no such row. */
const struct region_row *region_history_row(const struct region_history *history, uint32_t index);
/* A copy; false: there is no such row. */
bool region_history_read(const struct region_history *history, uint32_t index, struct tier_region *out);
void region_history_free(struct region_history *history);

#endif
