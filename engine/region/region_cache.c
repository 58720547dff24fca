/* Finding, installing and dropping regions; see region_cache.h. The lock guards the lists and counts of the shared
 * part; it is held for a few instructions, for a walk over the kept regions where there are too many, and never while a
 * hart looks at guest memory or a tier compiles. */
#include "engine/region/region_cache.h"

#include "engine/region/mirrored.h"

#include "base/log.h"
#include "engine/baseline/baseline.h"
#include "engine/isa/riscv/debug.h"
#include "engine/region/keep.h"
#include "engine/region/known.h"
#include "engine/region/region_history.h"
#include "engine/region/shape.h"
#include "engine/region/verify.h"
#include "mem/frame.h"
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIST_BUCKETS = 4096,
    FRAME_BUCKETS = 1024,
    RETRY_FACTOR = 16,
    KNOWN_TRIES = 3,       /* times that a known region's other pages are looked for */
    KNOWN_HEAT = 64,       /* executions until the second of them; RETRY_FACTOR times as many until each later one */
    WANTED_INSNS = 200000, /* that a block ran outside of regions: a region around it is worth having next time */
    WANTED_MAX = 2048,     /* such regions a run */
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

struct use_page {
    struct use_page *next;
    struct region_use *use;
    uint32_t frame;
};

struct use_memory {
    struct region_use use;
    struct use_page pages[REGION_PAGES_MAX];
};

/* A hart's own part; `ready` is shared, under the cache's lock, and `look_over`. */
struct region_hart {
    struct region_use *uses;
    struct use_page *frames[FRAME_BUCKETS];
    struct region *ready;
    _Atomic bool look_over; /* asked to tell what it uses and to take out what is retired */
};

static void count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* ---- the shared part ---- */

static struct listing **list_bucket(struct region_cache *cache, uint64_t gpa)
{
    return &cache->listings[(gpa >> 1) * 0x9e3779b97f4a7c15ull >> 52];
}

static uint64_t entry_gpa(const struct mem *mem, const struct region *r, unsigned entry)
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
        struct listing **at = list_bucket(cache, entry_gpa(mem, r, i));
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
        uint64_t gpa = entry_gpa(mem, r, i);
        struct listing **bucket = list_bucket(cache, gpa);
        *entry = (struct listing){.next = *bucket, .region = r, .gpa = gpa, .entry = (uint16_t)i};
        *bucket = entry;
    }
    return true;
}

/* The newest region that has an entry there; a reference to it is taken. */
static struct region *find_entry(struct hart *h, uint64_t gpa, uint16_t *entry)
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

static void release(struct hart *h, struct region *r)
{
    struct region_cache *cache = h->region_cache;

    pthread_mutex_lock(&cache->lock);
    bool gone = --r->references == 0 && !r->listed;
    pthread_mutex_unlock(&cache->lock);
    if (gone)
        destroy_region(cache, r);
}

static void save(struct region_cache *cache);

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

/* ---- executions: entries of a region are blocks, whose executions are counted for the profile ---- */

/* Adds what an entry ran since the last time to its region's counts: the one that ages, and its row's. */
static void count_entry(struct region_use *use, unsigned entry)
{
    struct region_row *row = use->region->row;
    struct block *block = use->blocks[entry];
    uint64_t ran = block_executions(block);
    uint64_t more = ran - use->counted[entry];

    block->entered += more;
    atomic_fetch_add_explicit(&use->region->entries, more, memory_order_relaxed);
    if (row)
        atomic_fetch_add_explicit(&row->executions, more, memory_order_relaxed);
    use->counted[entry] = ran;
}

uint64_t region_block_ran(struct block *block)
{
    if (block->use)
        count_entry(block->use, block->region_entry);
    return block_executions(block) - block->entered;
}

static void count_entries(struct region_use *use)
{
    for (unsigned i = 0; i < use->region->entry_count; i++) {
        if (use->blocks[i])
            count_entry(use, i);
    }
}

/* No hart runs. */
static void count_all(struct region_cache *cache)
{
    for (uint32_t i = 0; i < cache->hart_count; i++) {
        for (struct region_use *use = cache->harts[i]->regions->uses; use; use = use->next)
            count_entries(use);
    }
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

static void set_state(struct region_cache *cache, struct region *r, enum tier_region_state state)
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
            count(&cache->counters.regions_evicted, 1);
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
        count(&cache->counters.store_hits, 1);
        count(&cache->counters.store_link_us, r->compile_ns / 1000);
        count(&cache->counters.store_saved_us, r->saved_us);
        count(&cache->counters.code_bytes_live, r->code_bytes);
    } else if (ready) {
        count(&cache->counters.regions_compiled, 1);
        count(&cache->counters.store_misses, r->has_digest);
        count(&cache->counters.region_insns, r->insn_count);
        count(&cache->counters.code_bytes, r->code_bytes);
        count(&cache->counters.code_bytes_live, r->code_bytes);
    } else if (r->failure) {
        count(&cache->counters.regions_failed, 1);
        log_debug(LOG_JIT, "region %" PRIu32 " at %#" PRIx64 ", %" PRIu32 " instructions, was not compiled: %s", r->id,
                  region_gva(r), r->insn_count, r->failure);
    } else if (!r->known) {
        count(&cache->counters.regions_waiting, 1);
    }
    count(&cache->counters.store_rejected, r->rejected);
    count(&cache->counters.compile_us, r->stored ? 0 : r->compile_ns / 1000);
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

/* ---- a hart's part ---- */

int region_hart_create(struct hart *h)
{
    h->regions = calloc(1, sizeof(*h->regions));
    if (!h->regions)
        return -ENOMEM;
    h->region_cache = h->config.region_cache;
    pthread_mutex_lock(&h->region_cache->lock);
    h->region_cache->harts[h->region_cache->hart_count++] = h;
    pthread_mutex_unlock(&h->region_cache->lock);
    const struct tier_config *config = &h->region_cache->config;
    /* Total store order wants each access's place among the others, which mirrors' accesses do not tell the compiler.
     */
    h->mirror_wanted = h->isa & ISA_EXT(ZTSO) ? 0 : config->tunables.mirror;
    return config->verify ? verify_create(h, config, &h->region_cache->counters, &h->verify) : 0;
}

static void forget_hart(struct region_cache *cache, const struct hart *h)
{
    uint32_t i = 0;

    pthread_mutex_lock(&cache->lock);
    while (cache->harts[i] != h)
        i++;
    cache->harts[i] = cache->harts[--cache->hart_count];
    pthread_mutex_unlock(&cache->lock);
}

void region_hart_destroy(struct hart *h)
{
    if (!h->regions)
        return;
    forget_hart(h->region_cache, h);
    region_uninstall_all(h);
    for (struct region *r = h->regions->ready; r;) {
        struct region *next = r->next_ready;
        release(h, r);
        r = next;
    }
    verify_destroy(h->verify);
    free(h->regions);
    h->regions = NULL;
}

static struct use_page **frame_bucket(struct hart *h, uint32_t frame)
{
    return &h->regions->frames[frame % FRAME_BUCKETS];
}

void region_detach(struct hart *h, struct block *block)
{
    struct region_use *use = block->use;

    if (!use)
        return;
    count_entry(use, block->region_entry);
    block_book(h, block);
    use->blocks[block->region_entry] = NULL;
    block->ops[0].run = block->saved_run;
    block->use = NULL;
    baseline_set_region(h, block, false);
}

static void attach(struct hart *h, struct region_use *use, struct block *block, uint16_t entry)
{
    if (use->blocks[entry])
        region_detach(h, use->blocks[entry]);
    region_detach(h, block);
    block_book(h, block);
    block->saved_run = block->ops[0].run;
    use->counted[entry] = block_executions(block);
    block->region_entry = entry;
    block->use = use;
    block->checked_stamp = 0;
    op_fn *direct = use->region->page_count > 1 ? interp_region_handler() : use->code;
    block->ops[0].run = h->verify ? verify_handler() : direct;
    baseline_set_region(h, block, true);
    use->blocks[entry] = block;
    use->counted[entry] = block_executions(block);
}

/* 0 means at the first execution. */
static uint32_t threshold_of(const struct hart *h)
{
    uint32_t threshold = h->region_cache->config.tunables.threshold;

    return threshold ? threshold : 1;
}

/* --jit-random: what becomes of a block follows from its address and the seed alone, so that it is the same on each
 * hart and in each run. */
static uint64_t random_bits(const struct tier_config *config, const struct block *block)
{
    uint64_t x = (block->gpa >> 1) + config->seed * 0x9e3779b97f4a7c15ull;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

enum choice { FOR_INTERPRETER, FOR_QUICK, FOR_FULL };

static enum choice random_choice(const struct tier_config *config, const struct block *block)
{
    return (enum choice)(random_bits(config, block) % 3);
}

bool region_may_contain(const struct hart *h, const struct block *block)
{
    const struct tier_config *config = &h->region_cache->config;

    if (block->ctx >> CTX_POINTS_SHIFT)
        return false;
    return !config->random || random_choice(config, block) != FOR_INTERPRETER;
}

/* May a region start there? A sample is by address, too. */
static bool may_start(const struct hart *h, const struct block *block)
{
    uint32_t sample = h->region_cache->config.sample;

    return region_may_contain(h, block) && (sample < 2 || (block->gpa >> 1) * 0x9e3779b97f4a7c15ull % sample == 0);
}

/* --jit-random: half of the blocks, whatever else becomes of them. */
static bool may_be_compiled(const struct hart *h, const struct block *block)
{
    bool random = h->region_cache && h->region_cache->config.random;

    return h->baseline && !block->straddling && !block->stops &&
           (!random || (random_bits(&h->region_cache->config, block) >> 32 & 1));
}

/* Executions after which somebody looks at the block again: for a region, unless the baseline tier comes before. */
static uint32_t heat_until(const struct hart *h, const struct block *block, uint32_t for_region)
{
    uint32_t for_baseline = h->config.baseline_after;

    return may_be_compiled(h, block) && !block->code && for_baseline < for_region ? for_baseline : for_region;
}

/* Executions of a block after which a region is wanted, or looked for among those of earlier runs. */
static uint32_t region_heat(const struct hart *h, const struct block *block)
{
    if (!h->regions || !may_start(h, block))
        return UINT32_MAX;
    uint32_t threshold = threshold_of(h);
    if (block->known_tries >= KNOWN_TRIES || block->straddling || !known_find(h->region_cache->known, block))
        return threshold;
    uint32_t heat = KNOWN_HEAT;
    for (unsigned i = 1; i < block->known_tries; i++)
        heat *= RETRY_FACTOR;
    return heat < threshold ? heat : threshold;
}

/* What a block runs before somebody looks at it: a new one, and one whose region went. */
static void give_heat(const struct hart *h, struct block *block)
{
    block_reheat(block, heat_until(h, block, region_heat(h, block)));
}

/* True: the block's heat had run out for the baseline tier, and what else may become of it is still to come. */
static bool compile_first(struct hart *h, struct block *block)
{
    uint32_t threshold = region_heat(h, block);

    if (!may_be_compiled(h, block) || block->code || block->use || h->config.baseline_after >= threshold)
        return false;
    block_book(h, block);
    (void)baseline_compile(h, block);
    block_reheat(block, threshold == UINT32_MAX ? threshold : threshold - h->config.baseline_after);
    return true;
}

static void uninstall(struct hart *h, struct region_use *use)
{
    struct use_memory *memory = (struct use_memory *)use;

    for (unsigned i = 0; i < use->region->entry_count; i++) {
        struct block *block = use->blocks[i];
        if (!block)
            continue;
        region_detach(h, block);
        give_heat(h, block);
    }
    for (unsigned i = 0; i < use->region->page_count; i++) {
        struct use_page **at = frame_bucket(h, memory->pages[i].frame);
        while (*at != &memory->pages[i])
            at = &(*at)->next;
        *at = memory->pages[i].next;
    }
    *use->at = use->next;
    if (use->next)
        use->next->at = use->at;
    release(h, use->region);
    free(memory);
}

void region_uninstall_all(struct hart *h)
{
    while (h->regions && h->regions->uses)
        uninstall(h, h->regions->uses);
}

/* Tells how often each region was entered since it last did, and takes out what is retired. */
static void look_over(struct hart *h)
{
    for (struct region_use *use = h->regions->uses; use;) {
        struct region_use *next = use->next;
        count_entries(use);
        if (atomic_load(&use->region->retired))
            uninstall(h, use);
        use = next;
    }
}

static bool same_bytes(struct hart *h, const struct region *r, const uint32_t *only_frame)
{
    for (unsigned i = 0; i < r->span_count; i++) {
        const struct region_span *span = &r->spans[i];
        uint32_t frame = r->pages[span->page].frame;
        if (only_frame && frame != *only_frame)
            continue;
        block_mark_code(h, frame, span->offset, span->len_bytes);
        if (!block_same_code(r->bytes + span->bytes, mem_frame_host(h->mem, frame) + span->offset, span->len_bytes))
            return false;
    }
    return true;
}

bool region_same_bytes(struct hart *h, const struct region *r)
{
    return same_bytes(h, r, NULL);
}

/* What differs is not offered to anybody again; other harts that have it need not wait for a FENCE.I of their own. The
 * caller has a reference and has not installed it. */
static void drop_region(struct hart *h, struct region *r)
{
    struct region_cache *cache = h->region_cache;

    count(&cache->counters.regions_dropped, 1);
    pthread_mutex_lock(&cache->lock);
    region_history_state(r->row, TIER_REGION_DROPPED);
    (void)unlist(cache, h->mem, r);
    bool shared = r->references > 1;
    pthread_mutex_unlock(&cache->lock);
    if (shared)
        ask_harts(cache);
}

unsigned region_revalidate_frame(struct hart *h, uint32_t frame)
{
    unsigned dropped = 0;

    if (!h->regions)
        return 0;
    for (struct use_page *page = *frame_bucket(h, frame); page;) {
        struct region_use *use = page->use;
        bool differs = page->frame == frame && !same_bytes(h, use->region, &frame);
        if (!differs) {
            page = page->next;
            continue;
        }
        struct region *r = use->region;
        pthread_mutex_lock(&h->region_cache->lock);
        r->references++;
        pthread_mutex_unlock(&h->region_cache->lock);
        uninstall(h, use);
        drop_region(h, r);
        release(h, r);
        dropped++;
        /* A region may have several pages in this bucket. */
        page = *frame_bucket(h, frame);
    }
    return dropped;
}

static struct region_use *find_use(struct hart *h, const struct region *r)
{
    for (struct use_page *page = *frame_bucket(h, r->pages[0].frame); page; page = page->next) {
        if (page->use->region == r)
            return page->use;
    }
    return NULL;
}

/* Takes over the caller's reference. NULL: bytes differ by now. */
static struct region_use *install(struct hart *h, struct region *r)
{
    struct use_memory *memory = NULL;

    if (!same_bytes(h, r, NULL)) {
        drop_region(h, r);
    } else {
        memory = calloc(1, sizeof(*memory));
    }
    if (!memory) {
        release(h, r);
        return NULL;
    }
    struct region_use *use = &memory->use;
    use->region = r;
    use->code = r->code;
    use->next = h->regions->uses;
    use->at = &h->regions->uses;
    if (use->next)
        use->next->at = &use->next;
    h->regions->uses = use;
    for (unsigned i = 0; i < r->page_count; i++) {
        struct use_page **bucket = frame_bucket(h, r->pages[i].frame);
        memory->pages[i] = (struct use_page){.next = *bucket, .use = use, .frame = r->pages[i].frame};
        *bucket = &memory->pages[i];
    }
    count(&h->region_cache->counters.regions_installed, 1);
    set_state(h->region_cache, r, TIER_REGION_LIVE);
    return use;
}

/* The same, or what this hart has installed of it already. */
static struct region_use *use_of(struct hart *h, struct region *r)
{
    struct region_use *use = find_use(h, r);

    if (!use && !atomic_load(&r->retired))
        return install(h, r);
    release(h, r);
    return use;
}

/* A region whose entries were all taken over by others is of no use. */
static void drop_idle(struct hart *h, struct region_use *use)
{
    for (unsigned i = 0; use && i < use->region->entry_count; i++) {
        if (use->blocks[i])
            return;
    }
    if (!use)
        return;
    set_state(h->region_cache, use->region, TIER_REGION_REPLACED);
    uninstall(h, use);
}

static void take(struct hart *h, struct region_use *use, struct block *block, uint16_t entry)
{
    struct region_use *before = block->use;

    if (block->straddling || before == use)
        return;
    attach(h, use, block, entry);
    block_reheat(block, h->region_cache->config.tunables.promote);
    drop_idle(h, before);
}

static void install_ready(struct hart *h)
{
    struct region_cache *cache = h->region_cache;

    pthread_mutex_lock(&cache->lock);
    struct region *r = h->regions->ready;
    h->regions->ready = NULL;
    pthread_mutex_unlock(&cache->lock);
    while (r) {
        struct region *next = r->next_ready;
        struct region_use *use = use_of(h, r);
        for (unsigned i = 0; use && i < use->region->entry_count; i++) {
            struct block *block = block_find(h, entry_gpa(h->mem, use->region, i), use->region->ctx);
            if (block)
                take(h, use, block, (uint16_t)i);
        }
        r = next;
    }
}

void region_serve_request(struct hart *h)
{
    install_ready(h);
    if (atomic_exchange(&h->regions->look_over, false))
        look_over(h);
}

/* Installs what there is for the block's address. True: the region is known and good, or it failed. */
static bool offer(struct hart *h, struct block *block)
{
    uint16_t entry;
    struct region *r = find_entry(h, block->gpa, &entry);

    if (!r)
        return false;
    if (atomic_load(&r->state) != REGION_READY) {
        bool same = same_bytes(h, r, NULL);
        if (!same)
            drop_region(h, r);
        release(h, r);
        return same;
    }
    struct region_use *use = use_of(h, r);
    if (!use)
        return false;
    take(h, use, block, entry);
    return true;
}

/* Is the region still to come? Then it is wanted more than before. */
static bool is_pending(struct region_cache *cache, uint32_t id)
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

/* With as many regions to come as fit, one more would be chosen for nothing, and numbered, again and again. Harts that
 * ask at once may still be refused. */
static bool is_queue_full(struct region_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    bool full = cache->pending_count >= tier_room(&cache->config.tunables);
    pthread_mutex_unlock(&cache->lock);
    return full;
}

/* Blocks that the region will contain need none of their own while it is being compiled. */
static void note_pending(struct hart *h, const struct region *r)
{
    for (unsigned i = 0; i < r->block_count; i++) {
        struct block *block = block_peek(h, r->gva + (uint64_t)(int64_t)r->blocks[i].start);
        if (block)
            block->pending = r->id;
    }
}

/* A region that nobody took. */
static void give_back(struct region *r)
{
    if (r->known)
        atomic_store(&r->known->busy, false);
    region_free(r);
}

/* Returns its number; 0: nobody took it. */
static uint32_t submit(struct hart *h, struct region *r)
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
        note_pending(h, r);
        count(&cache->counters.regions_submitted, 1);
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
        install_ready(h);
    return id;
}

/* ---- regions of earlier runs ---- */

/* Finds the region's pages where they lie when it begins at `base`. False: one is not mapped, or has other bytes. */
static bool fits(struct hart *h, const struct region *place, uint64_t base, struct region_page *pages)
{
    for (uint32_t i = 0; i < place->page_count; i++) {
        const uint8_t *host;
        pages[i].delta = place->pages[i].delta;
        if (!mmu_fetch(h, base + ((uint64_t)(int64_t)pages[i].delta << MEM_PAGE_SHIFT), &host))
            return false;
        pages[i].frame = mem_frame_of(h->mem, host);
    }
    for (uint32_t i = 0; i < place->span_count; i++) {
        const struct region_span *span = &place->spans[i];
        if (!block_same_code(place->bytes + span->bytes, mem_frame_host(h->mem, pages[span->page].frame) + span->offset,
                             span->len_bytes))
            return false;
    }
    return true;
}

static bool may_be_linked(const struct hart *h, const struct region *place)
{
    return place->ctx == h->ctx && place->isa == h->isa && place->alone == (h->config.hart_count == 1) &&
           (!place->mirrored || mirrored_wanted(h));
}

/* Has the best known region for the block linked, whose bytes are all there. False: there is none, or not yet. */
static bool offer_known(struct hart *h, struct block *block, uint64_t pc)
{
    struct region_page pages[REGION_PAGES_MAX];

    for (const struct known_entry *e = known_find(h->region_cache->known, block); e; e = known_next(e)) {
        struct known_region *known = e->region;
        uint64_t base = pc - (uint64_t)(int64_t)known->place->entry_offset[e->entry];
        if (atomic_load_explicit(&known->busy, memory_order_relaxed) || !may_be_linked(h, known->place) ||
            !fits(h, known->place, base, pages) || atomic_exchange(&known->busy, true))
            continue;
        struct region *r = known_place(known);
        if (r) {
            memcpy(r->pages, pages, sizeof(r->pages));
            r->gva = base;
            block->pending = submit(h, r);
        } else {
            atomic_store(&known->busy, false);
        }
        return true;
    }
    return false;
}

/* After a look in vain. */
static void look_again_later(struct hart *h, struct block *block)
{
    if (block->known_tries < KNOWN_TRIES)
        block->known_tries++;
    give_heat(h, block);
}

void region_offer(struct hart *h, struct block *block, uint64_t pc)
{
    give_heat(h, block);
    if (!h->regions || block->straddling || !may_start(h, block) || offer(h, block))
        return;
    if (!offer_known(h, block, pc))
        look_again_later(h, block);
}

/* ---- from hot blocks to regions ---- */

/* Compiles the region again, larger and with everything LLVM has. Not from inside the region: its block's next entry
 * does it. */
void region_sampled(struct hart *h, struct block *block)
{
    struct region *r = block->use->region;
    uint32_t ticks = atomic_fetch_add_explicit(&r->ticks, 1, memory_order_relaxed) + 1;

    if (r->level == 0 && ticks == h->region_cache->config.tunables.promote_ticks)
        block_reheat(block, 1);
}

/* A region around the block for this level. NULL as region_select(). */
static struct region *choose(struct hart *h, struct block *block, uint64_t pc, unsigned level)
{
    const struct tier_tunables *t = &h->region_cache->config.tunables;
    struct region *r = level ? region_select(h, block, pc, t->big_region_insns, t->cold_share)
                             : region_select(h, block, pc, t->region_insns, t->quick_cold_share);

    if (r) {
        r->level = (uint8_t)level;
        r->mirrored = level && h->mirror_wanted && mirrored_wanted(h);
    }
    return r;
}

/* The same again with the full pipeline: what is inside of it was not counted in this run. */
static struct region *choose_known(struct hart *h, const struct region *before)
{
    struct region *r = known_whole(before->known);

    if (!r)
        return NULL;
    memcpy(r->pages, before->pages, sizeof(r->pages));
    r->gva = before->gva;
    r->level = 1;
    r->mirrored = h->mirror_wanted && mirrored_wanted(h);
    return r;
}

static void promote(struct hart *h, struct block *block, uint64_t pc)
{
    block_reheat(block, UINT32_MAX);
    if (block->use->region->level > 0 || h->region_cache->config.random)
        return;
    const struct region *before = block->use->region;
    struct region *r = before->known ? choose_known(h, before) : choose(h, block, pc, 1);
    if (!r)
        return;
    count(&h->region_cache->counters.regions_promoted, 1);
    (void)submit(h, r);
}

/* A block for which nothing can be done now. */
static void reheat_for_later(struct block *block, uint32_t threshold)
{
    uint64_t retry = RETRY_FACTOR * (uint64_t)threshold;

    block_reheat(block, retry < UINT32_MAX ? (uint32_t)retry : UINT32_MAX);
}

static void act_on_heat(struct hart *h, struct block *block, uint64_t pc)
{
    struct region_cache *cache = h->region_cache;
    uint32_t threshold = threshold_of(h);

    block_reheat(block, threshold);
    if (is_pending(cache, block->pending))
        return;
    if (block->use) {
        promote(h, block, pc);
        return;
    }
    if (offer(h, block)) {
        if (!block->use)
            reheat_for_later(block, threshold);
        return;
    }
    if (!block->straddling && known_find(cache->known, block) && block->known_tries < KNOWN_TRIES) {
        if (!may_start(h, block) || !offer_known(h, block, pc))
            look_again_later(h, block);
        return;
    }
    if (is_queue_full(cache)) {
        reheat_for_later(block, threshold);
        return;
    }
    unsigned level =
        cache->config.random ? random_choice(&cache->config, block) == FOR_FULL : cache->config.tunables.first_level;
    struct region *r = may_start(h, block) ? choose(h, block, pc, level) : NULL;
    if (!r) {
        block_reheat(block, UINT32_MAX);
        return;
    }
    (void)submit(h, r);
}

void region_hot(struct hart *h, struct block *block, uint64_t pc)
{
    const struct region_use *before = block->use;

    if (compile_first(h, block))
        return;
    if (!h->regions || block->ctx >> CTX_POINTS_SHIFT) {
        block_reheat(block, UINT32_MAX);
        return;
    }
    act_on_heat(h, block, pc);
    /* The execution that begins now was counted already; it is the new region's. */
    if (block->use && block->use != before)
        block->use->counted[block->region_entry]--;
}

bool region_mapped(struct hart *h, struct block *block, uint64_t pc)
{
    const struct region *r = block->use->region;
    uint64_t base = pc - (uint64_t)(int64_t)r->entry_offset[block->region_entry];

    for (unsigned i = 0; i < r->page_count; i++) {
        const uint8_t *host;
        uint64_t page = base + ((uint64_t)(int64_t)r->pages[i].delta << MEM_PAGE_SHIFT);
        if (!mmu_fetch(h, page, &host) || mem_frame_of(h->mem, host) != r->pages[i].frame ||
            debug_page_is_watched(h, page, VCPU_POINT_EXECUTE))
            return false;
    }
    block->checked_pc = pc;
    block->checked_stamp = h->exec_bank->stamp;
    return true;
}

/* ---- what the next run is to know ---- */

struct hot_block {
    struct block *block;
    uint64_t insns; /* run in it, outside of regions */
};

struct hot_blocks {
    struct hart *h;
    struct hot_block *at;
    size_t count, capacity;
};

static void note_hot(void *opaque, struct block *block)
{
    struct hot_blocks *hot = opaque;
    uint64_t insns = block_executions(block) * block->insns;

    if (insns < WANTED_INSNS || block->use || block->straddling || !may_start(hot->h, block))
        return;
    if (hot->count == hot->capacity) {
        size_t capacity = hot->capacity ? 2 * hot->capacity : 256;
        struct hot_block *at = reallocarray(hot->at, capacity, sizeof(*at));
        if (!at)
            return;
        hot->at = at;
        hot->capacity = capacity;
    }
    hot->at[hot->count++] = (struct hot_block){.block = block, .insns = insns};
}

static int hottest_first(const void *a, const void *b)
{
    const struct hot_block *left = a;
    const struct hot_block *right = b;

    return left->insns > right->insns ? -1 : left->insns < right->insns;
}

static void put_wanted(struct region_cache *cache, const struct region *r)
{
    struct region_bytes shape = {0}, profile = {0};

    if (region_shape_write(r, &shape) == 0 && region_profile_write(r, &profile) == 0) {
        struct store_region stored = {.shape = shape.at,
                                      .shape_bytes = shape.len,
                                      .profile = profile.at,
                                      .profile_bytes = profile.len,
                                      .level = r->level,
                                      .insns = r->insn_count,
                                      .gva = r->gva + (uint64_t)(int64_t)r->blocks[r->entry_block[0]].start,
                                      .compile_us = 300ull * r->insn_count};
        store_digest(shape.at, shape.len, stored.digest);
        store_put(cache->config.store, &stored);
        count(&cache->counters.store_wanted, 1);
    }
    free(shape.at);
    free(profile.at);
}

/* Puts the hart, which has stopped in whatever mode, into one that runs the block where it was decoded. False: it is
 * not mapped there any more. */
static bool look_from(struct hart *h, const struct block *block)
{
    static const uint8_t privs[] = {VCPU_PRIV_S, VCPU_PRIV_U, VCPU_PRIV_M};

    h->ctx = block->ctx;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(privs); i++) {
        bool translated = privs[i] != VCPU_PRIV_M && h->satp >> SATP_MODE_SHIFT;
        struct tlb_view view = {
            .priv = privs[i], .translated = translated, .asid = translated ? (uint16_t)(h->satp >> 44) : 0};
        h->priv = privs[i];
        h->exec_bank = tlb_select(h->tlb, &view);
        if (block_peek(h, block->gva) == block)
            return true;
    }
    return false;
}

/* Regions around what this run had no time to compile: chosen as if it were to be promoted, from the hottest block
 * down, of those that no such region contains yet. Only what is mapped now: the kernel's code, and the last process'.
 */
static void save_wanted(struct hart *h)
{
    struct region_cache *cache = h->region_cache;
    struct hot_blocks hot = {.h = h};
    struct tlb_bank *exec_bank = h->exec_bank;
    uint32_t ctx = h->ctx;
    uint8_t priv = h->priv;
    uint32_t wanted = 0;

    block_cache_each(h, note_hot, &hot);
    if (hot.count)
        qsort(hot.at, hot.count, sizeof(hot.at[0]), hottest_first);
    for (size_t i = 0; i < hot.count && wanted < WANTED_MAX; i++) {
        struct block *block = hot.at[i].block;
        if (block->pending == UINT32_MAX || !look_from(h, block))
            continue;
        struct region *r = choose(h, block, block->gva, 1);
        if (!r)
            continue;
        r->mirrored = h->mirror_wanted && h->priv == VCPU_PRIV_U && h->exec_bank->view.translated;
        r->id = UINT32_MAX;
        note_pending(h, r);
        put_wanted(cache, r);
        region_free(r);
        wanted++;
    }
    h->ctx = ctx;
    h->priv = priv;
    h->exec_bank = exec_bank;
    free(hot.at);
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
        save_wanted(cache->harts[i]);
}
