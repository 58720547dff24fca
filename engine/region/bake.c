/* Compiling without a machine, what earlier runs left to be compiled; see region_bake() in engine/tier.h. */
#include "engine/region/region_cache.h"
#include "engine/region/shape.h"
#include "mem/mirror.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct job {
    struct region *region;
    struct job *next;
};

struct bake {
    struct job *first, **last;
    uint32_t count;
};

/* A quick region of code that no process has: a full one of user code goes through a mirror, or does not, which the run
 * decides. */
static bool is_quick_kernel(const struct store_region *stored)
{
    return stored->level == 0 && stored->gva >= MIRROR_BYTES;
}

static void note_job(void *opaque, const struct store_region *stored)
{
    struct bake *bake = opaque;
    struct job *job = !stored->has_code || is_quick_kernel(stored) ? calloc(1, sizeof(*job)) : NULL;

    if (!job)
        return;
    if (region_shape_read(stored->shape, stored->shape_bytes, REGION_WHOLE, &job->region) ||
        (stored->profile_bytes && region_profile_read(stored->profile, stored->profile_bytes, job->region))) {
        region_free(job->region);
        free(job);
        return;
    }
    job->region->level = 1;
    job->region->gva = stored->gva - (uint64_t)(int64_t)job->region->entry_offset[0];
    *bake->last = job;
    bake->last = &job->next;
    bake->count++;
}

int region_bake(const struct tier_ops *ops, const struct tier_config *config, region_bake_fn progress, void *opaque,
                uint32_t *compiled, struct error *err)
{
    struct bake bake = {.last = &bake.first};
    struct tier_config own = *config;
    struct region_cache *cache;
    uint32_t done = 0;
    bool more = true;

    own.sync = true;
    int rc = region_cache_create(ops, &own, &cache, err);
    if (rc)
        return rc;
    (void)store_each(own.store, note_job, &bake);
    for (struct job *job = bake.first; job;) {
        struct job *next = job->next;
        more = more && progress(opaque, done, bake.count);
        if (more)
            region_cache_compile(cache, job->region);
        else
            region_free(job->region);
        done += more;
        free(job);
        job = next;
    }
    *compiled = (uint32_t)atomic_load(&region_cache_counters(cache)->regions_compiled);
    region_cache_destroy(cache);
    return 0;
}
