/* The regions of a machine: which are being compiled, which are ready; struct region_cache of engine/tier.h.
 *
 * One region cache is shared by all harts. A hart installs a region (installed.h) when it is ready, and holds a
 * reference from then on. It takes the code out again, on its own thread and outside of regions, when bytes changed
 * under it or when it is asked to, because the region was retired to make room (keep.h); the last reference frees the
 * code. So nobody waits for anybody and there is no epoch to pass. A hart that sleeps keeps what it had installed
 * until it runs again.
 *
 * Any thread, where nothing else is said.
 */
#ifndef TUFF_ENGINE_REGION_REGION_CACHE_H
#define TUFF_ENGINE_REGION_REGION_CACHE_H

#include "engine/region/keep.h"
#include "engine/region/known.h"
#include "engine/region/region.h"
#include "engine/region/region_history.h"
#include "engine/tier.h"

#include <pthread.h>

enum {
    LIST_BUCKETS = 4096,
};

/* One entry of a listed region. */
struct listing {
    struct listing *next;
    struct region *region;
    uint64_t gpa;
    uint16_t entry;
};

struct region_cache {
    const struct tier_ops *ops;
    struct tier *tier;
    struct tier_config config;
    struct tier_counters counters;
    struct known *known; /* NULL: no store */
    pthread_mutex_t lock;
    /* under the lock */
    struct listing *listings[LIST_BUCKETS];
    struct region *pending; /* given to the tier, by next_pending */
    uint32_t pending_count;
    struct region_history history;
    struct region_keep keep;
    struct hart *harts[MEM_HARTS_MAX];
    uint32_t hart_count;
    uint32_t ids;
    bool stopped;
    bool saved; /* what was learnt was given to the store */
};

static inline void region_cache_count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* A hart that is made, and one that goes: `h->regions` is there. */
void region_cache_join(struct region_cache *cache, struct hart *h);
void region_cache_leave(struct region_cache *cache, const struct hart *h);

/* Where the entry lies in guest-physical memory. */
uint64_t region_entry_gpa(const struct mem *mem, const struct region *r, unsigned entry);
/* The newest region that has an entry there, for the hart's context; a reference to it is taken. NULL: none. */
struct region *region_cache_find(struct hart *h, uint64_t gpa, uint16_t *entry);
/* Gives a reference back. */
void region_cache_release(struct hart *h, struct region *r);
/* For region_cache_each()'s table. */
void region_cache_set_state(struct region_cache *cache, struct region *r, enum tier_region_state state);
/* Bytes that differ: the region is not offered to anybody again; other harts that have it need not wait for a FENCE.I
 * of their own. The caller has a reference and has not installed it. */
void region_cache_drop(struct hart *h, struct region *r);

/* Has the region compiled, or linked; takes it. Returns its number; 0: nobody took it. */
uint32_t region_cache_submit(struct hart *h, struct region *r);
/* Is the region still to come? Then it is wanted more than before. */
bool region_cache_is_pending(struct region_cache *cache, uint32_t id);
/* With as many regions to come as fit, one more would be chosen for nothing, and numbered, again and again. Harts that
 * ask at once may still be refused. */
bool region_cache_is_full(struct region_cache *cache);
/* Compiles a region that no hart asked for, for the store's sake, and frees it; the configuration says `sync`. */
void region_cache_compile(struct region_cache *cache, struct region *region);

#endif
