/* Finding, installing and dropping regions; see region_cache.h. The lock guards the lists and counts of the shared
 * part; it is held for a few instructions and never while a hart looks at guest memory or a tier compiles. */
#include "engine/region/region_cache.h"

#include "base/log.h"
#include "engine/region/region_history.h"
#include "engine/region/verify.h"
#include "mem/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_BUCKETS = 4096, FRAME_BUCKETS = 1024, RETRY_FACTOR = 16 };

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
    pthread_mutex_t lock;
    /* under the lock */
    struct listing *listings[LIST_BUCKETS];
    struct region *pending; /* given to the tier, by next_pending */
    struct region_history history;
    struct region_hart *harts;
    uint32_t ids;
    bool stopped;
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

/* A hart's own part; only `ready` is shared, under the cache's lock. */
struct region_hart {
    struct region_use *uses;
    struct use_page *frames[FRAME_BUCKETS];
    struct region *ready;
    struct region_hart *next; /* of the cache's harts, under its lock */
};

void tier_config_default(struct tier_config *config)
{
    *config = (struct tier_config){.limit = UINT64_MAX,
#define X(name, value, least, most, text) .tunables.name = (value),
                                   TIER_TUNABLES(X)
#undef X
    };
}

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
    int32_t start = r->blocks[r->entry_block[entry]].start;
    int32_t delta = start >> MEM_PAGE_SHIFT;
    unsigned page = 0;

    while (r->pages[page].delta != delta)
        page++;
    return mem_host_to_gpa(mem, mem_frame_host(mem, r->pages[page].frame)) + (start & (MEM_PAGE_BYTES - 1));
}

static void destroy_region(struct region_cache *cache, struct region *r)
{
    if (r->code)
        cache->ops->free_code(cache->tier, r);
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

int region_cache_create(const struct tier_ops *ops, const struct tier_config *config, struct region_cache **out,
                        struct error *err)
{
    struct region_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return error_set(err, -ENOMEM, "no memory for a machine's compiled code");
    cache->ops = ops;
    cache->config = *config;
    pthread_mutex_init(&cache->lock, NULL);
    int rc = ops->create(config, cache, &cache->tier, err);
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
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

const struct tier_counters *region_cache_counters(const struct region_cache *cache)
{
    return &cache->counters;
}

/* ---- executions: entries of a region are blocks, whose executions are counted for the profile ---- */

/* Adds what an entry ran since the last time to its region's row. */
static void count_entry(struct region_use *use, unsigned entry)
{
    struct region_row *row = use->region->row;
    uint64_t ran = block_executions(use->blocks[entry]);

    if (row)
        atomic_fetch_add_explicit(&row->executions, ran - use->counted[entry], memory_order_relaxed);
    use->counted[entry] = ran;
}

/* No hart runs. */
static void count_all(struct region_cache *cache)
{
    for (struct region_hart *hart = cache->harts; hart; hart = hart->next) {
        for (struct region_use *use = hart->uses; use; use = use->next) {
            for (unsigned i = 0; i < use->region->entry_count; i++) {
                if (use->blocks[i])
                    count_entry(use, i);
            }
        }
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
}

void tier_done(struct region_cache *cache, struct region *r)
{
    struct hart *h = r->requester;
    bool ready = atomic_load(&r->state) == REGION_READY;

    if (ready) {
        count(&cache->counters.regions_compiled, 1);
        count(&cache->counters.region_insns, r->insn_count);
        count(&cache->counters.code_bytes, r->code_bytes);
    } else if (r->failure) {
        count(&cache->counters.regions_failed, 1);
        log_debug(LOG_JIT, "region %" PRIu32 " at %#" PRIx64 ", %" PRIu32 " instructions, was not compiled: %s", r->id,
                  region_gva(r), r->insn_count, r->failure);
    } else {
        count(&cache->counters.regions_waiting, 1);
    }
    count(&cache->counters.compile_us, r->compile_ns / 1000);
    pthread_mutex_lock(&cache->lock);
    unlink_pending(cache, r);
    region_history_done(r->row, r);
    bool keep = !cache->stopped && list(cache, h->mem, r);
    if (keep && ready) {
        r->references++;
        r->next_ready = h->regions->ready;
        h->regions->ready = r;
    }
    bool gone = !keep && unlist(cache, h->mem, r);
    pthread_mutex_unlock(&cache->lock);
    if (gone)
        destroy_region(cache, r);
    else if (ready)
        hart_request(h, REQUEST_REGIONS);
}

/* ---- a hart's part ---- */

int region_hart_create(struct hart *h)
{
    h->regions = calloc(1, sizeof(*h->regions));
    if (!h->regions)
        return -ENOMEM;
    h->region_cache = h->config.region_cache;
    if (!h->region_cache)
        return 0;
    pthread_mutex_lock(&h->region_cache->lock);
    h->regions->next = h->region_cache->harts;
    h->region_cache->harts = h->regions;
    pthread_mutex_unlock(&h->region_cache->lock);
    const struct tier_config *config = &h->region_cache->config;
    return config->verify ? verify_create(h, config, &h->region_cache->counters, &h->verify) : 0;
}

static void forget_hart(struct hart *h)
{
    struct region_cache *cache = h->region_cache;

    if (!cache)
        return;
    pthread_mutex_lock(&cache->lock);
    struct region_hart **at = &cache->harts;
    while (*at != h->regions)
        at = &(*at)->next;
    *at = h->regions->next;
    pthread_mutex_unlock(&cache->lock);
}

void region_hart_destroy(struct hart *h)
{
    if (!h->regions)
        return;
    region_uninstall_all(h);
    for (struct region *r = h->regions->ready; r;) {
        struct region *next = r->next_ready;
        release(h, r);
        r = next;
    }
    verify_destroy(h->verify);
    forget_hart(h);
    free(h->regions);
    h->regions = NULL;
}

static struct use_page **frame_bucket(struct hart *h, uint32_t frame)
{
    return &h->regions->frames[frame % FRAME_BUCKETS];
}

void region_detach(struct block *block)
{
    struct region_use *use = block->use;

    if (!use)
        return;
    count_entry(use, block->region_entry);
    use->blocks[block->region_entry] = NULL;
    block->ops[0].run = block->saved_run;
    block->use = NULL;
}

static void attach(struct hart *h, struct region_use *use, struct block *block, uint16_t entry)
{
    if (use->blocks[entry])
        region_detach(use->blocks[entry]);
    region_detach(block);
    block->saved_run = block->ops[0].run;
    block->region_entry = entry;
    block->use = use;
    block->checked_stamp = 0;
    if (use->region->page_count > 1)
        block->ops[0].run = interp_region_handler();
    else
        block->ops[0].run = use->code;
    if (h->verify)
        block->ops[0].run = verify_handler();
    use->blocks[entry] = block;
    use->counted[entry] = block_executions(block);
}

static void uninstall(struct hart *h, struct region_use *use)
{
    struct use_memory *memory = (struct use_memory *)use;

    for (unsigned i = 0; i < use->region->entry_count; i++) {
        if (use->blocks[i])
            region_detach(use->blocks[i]);
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

/* What differs is not offered to anybody again. */
static void drop_region(struct hart *h, struct region *r)
{
    struct region_cache *cache = h->region_cache;

    count(&cache->counters.regions_dropped, 1);
    pthread_mutex_lock(&cache->lock);
    region_history_state(r->row, TIER_REGION_DROPPED);
    bool gone = unlist(cache, h->mem, r);
    pthread_mutex_unlock(&cache->lock);
    if (gone)
        destroy_region(cache, r);
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

    if (!use)
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

void region_install_ready(struct hart *h)
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

/* Installs what there is for the block's address. True: the region is known, ready or not. */
static bool offer(struct hart *h, struct block *block)
{
    uint16_t entry;
    struct region *r = find_entry(h, block->gpa, &entry);

    if (!r)
        return false;
    if (atomic_load(&r->state) != REGION_READY) {
        release(h, r);
        return true;
    }
    struct region_use *use = use_of(h, r);
    if (!use)
        return false;
    take(h, use, block, entry);
    return true;
}

/* 0 means at the first execution. */
static uint32_t threshold_of(const struct hart *h)
{
    uint32_t threshold = h->region_cache->config.tunables.threshold;

    return threshold ? threshold : 1;
}

void region_offer(struct hart *h, struct block *block)
{
    if (!h->regions) {
        block_reheat(block, UINT32_MAX);
        return;
    }
    const struct tier_config *config = &h->region_cache->config;
    /* A sample is by address, so that it is the same on each hart and in each run. */
    bool sampled = config->sample < 2 || (block->gpa >> 1) * 0x9e3779b97f4a7c15ull % config->sample == 0;
    block_reheat(block, sampled ? threshold_of(h) : UINT32_MAX);
    if (!block->straddling && sampled)
        (void)offer(h, block);
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

/* Blocks that the region will contain need none of their own while it is being compiled. */
static void note_pending(struct hart *h, const struct region *r)
{
    for (unsigned i = 0; i < r->block_count; i++) {
        struct block *block = block_peek(h, r->gva + (uint64_t)(int64_t)r->blocks[i].start);
        if (block)
            block->pending = r->id;
    }
}

static void submit(struct hart *h, struct region *r)
{
    struct region_cache *cache = h->region_cache;

    r->requester = h;
    pthread_mutex_lock(&cache->lock);
    r->id = ++cache->ids;
    r->planted = r->id == cache->config.plant;
    bool allowed = !cache->stopped && r->id <= cache->config.limit;
    if (allowed) {
        r->next_pending = cache->pending;
        cache->pending = r;
        r->row = region_history_add(&cache->history, r);
    }
    pthread_mutex_unlock(&cache->lock);
    if (!allowed) {
        region_free(r);
        return;
    }
    note_pending(h, r);
    count(&cache->counters.regions_submitted, 1);
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
        region_free(r);
    } else if (cache->config.sync) {
        region_install_ready(h);
    }
}

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

    if (r)
        r->level = (uint8_t)level;
    return r;
}

static void promote(struct hart *h, struct block *block, uint64_t pc)
{
    block_reheat(block, UINT32_MAX);
    if (block->use->region->level > 0)
        return;
    struct region *r = choose(h, block, pc, 1);
    if (!r)
        return;
    count(&h->region_cache->counters.regions_promoted, 1);
    submit(h, r);
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
        uint64_t retry = RETRY_FACTOR * (uint64_t)threshold;
        if (!block->use)
            block_reheat(block, retry < UINT32_MAX ? (uint32_t)retry : UINT32_MAX);
        return;
    }
    struct region *r = choose(h, block, pc, cache->config.tunables.first_level);
    if (!r) {
        block_reheat(block, UINT32_MAX);
        return;
    }
    submit(h, r);
}

void region_hot(struct hart *h, struct block *block, uint64_t pc)
{
    const struct region_use *before = block->use;

    if (!h->regions) {
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
    uint64_t base = pc - (uint64_t)(int64_t)r->blocks[r->entry_block[block->region_entry]].start;

    for (unsigned i = 0; i < r->page_count; i++) {
        const uint8_t *host;
        uint64_t page = base + ((uint64_t)(int64_t)r->pages[i].delta << MEM_PAGE_SHIFT);
        if (!mmu_fetch(h, page, &host) || mem_frame_of(h->mem, host) != r->pages[i].frame)
            return false;
    }
    block->checked_pc = pc;
    block->checked_stamp = h->exec_bank->stamp;
    return true;
}
