/* The regions that a machine's harts share; see region_cache.h. The lock is held for a few instructions, for a walk
 * over the kept regions where there are too many, and never while a hart looks at guest memory or a tier compiles. */
#include "engine/region/region_cache.h"

#include "base/log.h"
#include "engine/region/installed.h"
#include "engine/region/policy.h"
#include "engine/region/wanted.h"
#include "mem/frame.h"
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct listing **list_bucket(struct region_cache *cache, uint64_t gpa)
{
    return &cache->listings[(gpa >> 1) * 0x9e3779b97f4a7c15ull >> 52];
}

uint64_t region_entry_gpa(const struct mem *mem, const struct region *r, unsigned entry)
{
    int32_t start = r->entry_offset[entry];
    int32_t delta = start >> MEM_PAGE_SHIFT;
    unsigned page = 0;

    while (r->pages[page].delta != delta)
        page++;
    return mem_host_to_gpa(mem, mem_frame_host(mem, r->pages[page].frame)) + (start & (MEM_PAGE_BYTES - 1));
}

static void destroy_region(struct region_cache *cache, struct region *r)
{
    if (r->code) {
        atomic_fetch_sub_explicit(&cache->counters.code_bytes_live, r->code_bytes, memory_order_relaxed);
        cache->ops->free_code(cache->tier, r);
    }
    region_free(r);
}

/* Under the lock. True: nobody has it any more, and the caller destroys it without the lock. */
static bool unlist(struct region_cache *cache, const struct mem *mem, struct region *r)
{
    for (unsigned i = 0; r->listed && i < r->entry_count; i++) {
        struct listing **at = list_bucket(cache, region_entry_gpa(mem, r, i));
        while (*at && (*at)->region != r)
            at = &(*at)->next;
        struct listing *gone = *at;
        if (gone) {
            *at = gone->next;
            free(gone);
        }
    }
    r->listed = false;
    region_keep_remove(&cache->keep, r);
    atomic_store(&r->retired, true);
    return r->references == 0;
}

static bool list(struct region_cache *cache, const struct mem *mem, struct region *r)
{
    r->listed = true;
    for (unsigned i = 0; i < r->entry_count; i++) {
        struct listing *entry = malloc(sizeof(*entry));
        if (!entry)
            return false;
        uint64_t gpa = region_entry_gpa(mem, r, i);
        struct listing **bucket = list_bucket(cache, gpa);
        *entry = (struct listing){.next = *bucket, .region = r, .gpa = gpa, .entry = (uint16_t)i};
        *bucket = entry;
    }
    return true;
}

struct region *region_cache_find(struct hart *h, uint64_t gpa, uint16_t *entry)
{
    struct region_cache *cache = h->region_cache;
    struct region *found = NULL;

    pthread_mutex_lock(&cache->lock);
    for (struct listing *l = *list_bucket(cache, gpa); l && !found; l = l->next) {
        if (l->gpa == gpa && l->region->ctx == h->ctx && l->region->isa == h->isa) {
            found = l->region;
            found->references++;
            *entry = l->entry;
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void region_cache_release(struct hart *h, struct region *r)
{
    struct region_cache *cache = h->region_cache;

    pthread_mutex_lock(&cache->lock);
    bool gone = --r->references == 0 && !r->listed;
    pthread_mutex_unlock(&cache->lock);
    if (gone)
        destroy_region(cache, r);
}

/* No hart runs. */
static void count_all(struct region_cache *cache)
{
    for (uint32_t i = 0; i < cache->hart_count; i++) {
        for (struct region_use *use = cache->harts[i]->regions->uses; use; use = use->next)
            region_count_use(use);
    }
}

/* No hart runs. */
static void save(struct region_cache *cache)
{
    count_all(cache);
    for (uint32_t i = 0;; i++) {
        const struct region_row *row = region_history_row(&cache->history, i);
        if (!row)
            break;
        uint64_t entries = atomic_load_explicit(&row->executions, memory_order_relaxed);
        if (row->has_digest && entries)
            store_used(cache->config.store, row->digest, entries);
    }
    for (uint32_t i = 0; i < cache->hart_count && !cache->config.random; i++)
        region_save_wanted(cache->harts[i]);
}

int region_cache_create(const struct tier_ops *ops, const struct tier_config *config, struct region_cache **out,
                        struct error *err)
{
    struct region_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return error_set(err, -ENOMEM, "no memory for a machine's compiled code");
    cache->ops = ops;
    cache->config = *config;
    cache->keep.limit_bytes = (uint64_t)config->tunables.code_kib << 10;
    pthread_mutex_init(&cache->lock, NULL);
    int rc = ops->create(config, cache, &cache->tier, err);
    /* Where the places of regions are chosen by the seed, those of an earlier run are not wanted. */
    if (rc == 0 && config->store && !config->random && config->limit == UINT64_MAX) {
        cache->known = known_create(config->store);
        atomic_store(&cache->counters.store_known, known_count(cache->known));
    }
    if (rc) {
        pthread_mutex_destroy(&cache->lock);
        free(cache);
        return rc;
    }
    *out = cache;
    return 0;
}

void region_cache_stop(struct region_cache *cache)
{
    if (!cache)
        return;
    pthread_mutex_lock(&cache->lock);
    cache->stopped = true;
    pthread_mutex_unlock(&cache->lock);
    cache->ops->stop(cache->tier);
    if (cache->config.store && !cache->saved)
        save(cache);
    cache->saved = true;
}

void region_cache_destroy(struct region_cache *cache)
{
    if (!cache)
        return;
    region_cache_stop(cache);
    for (unsigned i = 0; i < LIST_BUCKETS; i++) {
        for (struct listing *l = cache->listings[i]; l;) {
            struct listing *next = l->next;
            /* One listing an entry; the region goes with its first. */
            if (l->entry == 0)
                destroy_region(cache, l->region);
            free(l);
            l = next;
        }
    }
    cache->ops->destroy(cache->tier);
    region_history_free(&cache->history);
    known_destroy(cache->known);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

const struct tier_counters *region_cache_counters(const struct region_cache *cache)
{
    return &cache->counters;
}

uint64_t region_cache_each(struct region_cache *cache, tier_region_fn fn, void *opaque)
{
    struct tier_region about;

    pthread_mutex_lock(&cache->lock);
    count_all(cache);
    uint64_t lost = cache->history.lost;
    bool more = region_history_read(&cache->history, 0, &about);
    for (uint32_t i = 1; more; i++) {
        pthread_mutex_unlock(&cache->lock);
        fn(opaque, &about);
        pthread_mutex_lock(&cache->lock);
        more = region_history_read(&cache->history, i, &about);
    }
    pthread_mutex_unlock(&cache->lock);
    return lost;
}

void region_cache_set_state(struct region_cache *cache, struct region *r, enum tier_region_state state)
{
    pthread_mutex_lock(&cache->lock);
    region_history_state(r->row, state);
    pthread_mutex_unlock(&cache->lock);
}

static void unlink_pending(struct region_cache *cache, struct region *r)
{
    struct region **at = &cache->pending;

    while (*at != r)
        at = &(*at)->next_pending;
    *at = r->next_pending;
    cache->pending_count--;
}

/* Asks the harts to look over what they have installed; nobody waits for it. */
static void ask_harts(struct region_cache *cache)
{
    struct hart *harts[MEM_HARTS_MAX];

    pthread_mutex_lock(&cache->lock);
    uint32_t hart_count = cache->hart_count;
    memcpy(harts, cache->harts, hart_count * sizeof(harts[0]));
    pthread_mutex_unlock(&cache->lock);
    for (uint32_t i = 0; i < hart_count; i++) {
        atomic_store(&harts[i]->regions->look_over, true);
        hart_request_quietly(harts[i], REQUEST_REGIONS);
    }
}

/* Under the lock: retires regions until the others have room beside `newest`. Those that nobody uses are put on *gone,
 * for the caller to destroy. True: harts are to be asked. */
static bool make_room(struct region_cache *cache, const struct mem *mem, const struct region *newest,
                      struct region **gone)
{
    struct region *victim;
    bool evicted = false;

    if (region_keep_is_tight(&cache->keep))
        region_keep_age(&cache->keep);
    while ((victim = region_keep_victim(&cache->keep, newest))) {
        evicted = true;
        if (victim->code) {
            region_cache_count(&cache->counters.regions_evicted, 1);
            region_history_state(victim->row, TIER_REGION_EVICTED);
        }
        if (unlist(cache, mem, victim)) {
            victim->next_gone = *gone;
            *gone = victim;
        }
    }
    return evicted || region_keep_is_tight(&cache->keep);
}

static void forget_shape(struct region *r)
{
    free(r->insns);
    free(r->blocks);
    r->insns = NULL;
    r->blocks = NULL;
}

void region_cache_compile(struct region_cache *cache, struct region *r)
{
    r->id = ++cache->ids;
    if (!cache->ops->submit(cache->tier, r))
        region_free(r);
}

void tier_done(struct region_cache *cache, struct region *r)
{
    struct region *gone = NULL;
    bool tight = false;
    struct hart *h = r->requester;
    bool ready = atomic_load(&r->state) == REGION_READY;

    if (ready && r->stored) {
        region_cache_count(&cache->counters.store_hits, 1);
        region_cache_count(&cache->counters.store_link_us, r->compile_ns / 1000);
        region_cache_count(&cache->counters.store_saved_us, r->saved_us);
        region_cache_count(&cache->counters.code_bytes_live, r->code_bytes);
    } else if (ready) {
        region_cache_count(&cache->counters.regions_compiled, 1);
        region_cache_count(&cache->counters.store_misses, r->has_digest);
        region_cache_count(&cache->counters.region_insns, r->insn_count);
        region_cache_count(&cache->counters.code_bytes, r->code_bytes);
        region_cache_count(&cache->counters.code_bytes_live, r->code_bytes);
    } else if (r->failure) {
        region_cache_count(&cache->counters.regions_failed, 1);
        log_debug(LOG_JIT, "region %" PRIu32 " at %#" PRIx64 ", %" PRIu32 " instructions, was not compiled: %s", r->id,
                  region_gva(r), r->insn_count, r->failure);
    } else if (!r->known) {
        region_cache_count(&cache->counters.regions_waiting, 1);
    }
    region_cache_count(&cache->counters.store_rejected, r->rejected);
    region_cache_count(&cache->counters.compile_us, r->stored ? 0 : r->compile_ns / 1000);
    forget_shape(r);
    if (!h) {
        destroy_region(cache, r);
        return;
    }
    pthread_mutex_lock(&cache->lock);
    unlink_pending(cache, r);
    region_history_done(r->row, r);
    /* One of an earlier run whose code was refused may be compiled yet. */
    bool kept = !cache->stopped && (ready || !r->known) && list(cache, h->mem, r);
    if (kept) {
        region_keep_add(&cache->keep, r);
        tight = make_room(cache, h->mem, r, &gone);
    } else if (unlist(cache, h->mem, r)) {
        gone = r;
    }
    if (kept && ready) {
        r->references++;
        r->next_ready = h->regions->ready;
        h->regions->ready = r;
    }
    if (ready && r->known)
        atomic_store(&r->known->busy, false);
    pthread_mutex_unlock(&cache->lock);
    while (gone) {
        struct region *next = gone->next_gone;
        destroy_region(cache, gone);
        gone = next;
    }
    if (tight)
        ask_harts(cache);
    if (kept && ready)
        hart_request(h, REQUEST_REGIONS);
}

void region_cache_join(struct region_cache *cache, struct hart *h)
{
    pthread_mutex_lock(&cache->lock);
    cache->harts[cache->hart_count++] = h;
    pthread_mutex_unlock(&cache->lock);
}

void region_cache_leave(struct region_cache *cache, const struct hart *h)
{
    uint32_t i = 0;

    pthread_mutex_lock(&cache->lock);
    while (cache->harts[i] != h)
        i++;
    cache->harts[i] = cache->harts[--cache->hart_count];
    pthread_mutex_unlock(&cache->lock);
}

void region_cache_drop(struct hart *h, struct region *r)
{
    struct region_cache *cache = h->region_cache;

    region_cache_count(&cache->counters.regions_dropped, 1);
    pthread_mutex_lock(&cache->lock);
    region_history_state(r->row, TIER_REGION_DROPPED);
    (void)unlist(cache, h->mem, r);
    bool shared = r->references > 1;
    pthread_mutex_unlock(&cache->lock);
    if (shared)
        ask_harts(cache);
}

bool region_cache_is_pending(struct region_cache *cache, uint32_t id)
{
    bool found = false;

    pthread_mutex_lock(&cache->lock);
    for (struct region *r = cache->pending; r && !found; r = r->next_pending) {
        found = r->id == id;
        if (found)
            atomic_fetch_add_explicit(&r->demand, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

bool region_cache_is_full(struct region_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    bool full = cache->pending_count >= tier_room(&cache->config.tunables);
    pthread_mutex_unlock(&cache->lock);
    return full;
}

/* A region that nobody took. */
static void give_back(struct region *r)
{
    if (r->known)
        atomic_store(&r->known->busy, false);
    region_free(r);
}

uint32_t region_cache_submit(struct hart *h, struct region *r)
{
    struct region_cache *cache = h->region_cache;

    r->requester = h;
    for (unsigned i = 0; i < r->entry_count && r->blocks; i++)
        r->entry_offset[i] = r->blocks[r->entry_block[i]].start;
    pthread_mutex_lock(&cache->lock);
    r->id = ++cache->ids;
    r->planted = r->id == cache->config.plant;
    bool allowed = !cache->stopped && r->id <= cache->config.limit;
    if (allowed) {
        r->next_pending = cache->pending;
        cache->pending = r;
        cache->pending_count++;
        r->row = region_history_add(&cache->history, r);
    }
    pthread_mutex_unlock(&cache->lock);
    if (!allowed) {
        give_back(r);
        return 0;
    }
    uint32_t id = r->id;
    if (r->blocks) {
        region_note_pending(h, r);
        region_cache_count(&cache->counters.regions_submitted, 1);
    }
    /* A compiler on this thread must neither see the guest's rounding mode nor leave flags of its own. */
    if (cache->config.sync)
        fp_save_host(h);
    bool taken = cache->ops->submit(cache->tier, r);
    if (cache->config.sync)
        fp_load_host(h);
    if (!taken) {
        pthread_mutex_lock(&cache->lock);
        unlink_pending(cache, r);
        r->failure = "the queue was full";
        region_history_done(r->row, r);
        pthread_mutex_unlock(&cache->lock);
        give_back(r);
        return 0;
    }
    if (cache->config.sync)
        region_install_ready(h);
    return id;
}
