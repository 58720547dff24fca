/* See policy.h. */
#include "engine/region/policy.h"

#include "engine/baseline/baseline.h"
#include "engine/region/dump.h"
#include "engine/region/installed.h"
#include "engine/region/known.h"
#include "engine/region/mirrored.h"
#include "engine/region/region_cache.h"
#include "mem/frame.h"

#include <string.h>

enum {
    RETRY_FACTOR = 16,
    KNOWN_TRIES = 3, /* times that a known region's other pages are looked for */
    KNOWN_HEAT = 64, /* executions until the second of them; RETRY_FACTOR times as many until each later one */
};

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

bool region_may_start(const struct hart *h, const struct block *block)
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
    if (!h->regions || !region_may_start(h, block))
        return UINT32_MAX;
    uint32_t threshold = threshold_of(h);
    if (block->known_tries >= KNOWN_TRIES || block->straddling || !known_find(h->region_cache->known, block))
        return threshold;
    uint32_t heat = KNOWN_HEAT;
    for (unsigned i = 1; i < block->known_tries; i++)
        heat *= RETRY_FACTOR;
    return heat < threshold ? heat : threshold;
}

void region_give_heat(const struct hart *h, struct block *block)
{
    block_reheat(block, heat_until(h, block, region_heat(h, block)));
}

/* True: the block's heat had run out for the baseline tier, and what else may become of it is still to come. */
static bool compile_first(struct hart *h, struct block *block, uint64_t pc)
{
    uint32_t threshold = region_heat(h, block);

    if (!may_be_compiled(h, block) || block->code || block->use || h->config.baseline_after >= threshold)
        return false;
    block_book(h, block);
    struct baseline_map map;
    bool dumped = dump_wants_block(h, block, pc);
    if (baseline_compile(h, block, dumped ? &map : NULL) && dumped)
        dump_block(h, block, pc, &map);
    block_reheat(block, threshold == UINT32_MAX ? threshold : threshold - h->config.baseline_after);
    return true;
}

void region_note_pending(struct hart *h, const struct region *r)
{
    for (unsigned i = 0; i < r->block_count; i++) {
        struct block *block = block_peek(h, r->gva + (uint64_t)(int64_t)r->blocks[i].start);
        if (block)
            block->pending = r->id;
    }
}

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
            block->pending = region_cache_submit(h, r);
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
    region_give_heat(h, block);
}

void region_offer(struct hart *h, struct block *block, uint64_t pc)
{
    region_give_heat(h, block);
    if (!h->regions || block->straddling || !region_may_start(h, block) || region_install_listed(h, block))
        return;
    if (!offer_known(h, block, pc))
        look_again_later(h, block);
}

void region_sampled(struct hart *h, struct block *block)
{
    struct region *r = block->use->region;
    uint32_t ticks = atomic_fetch_add_explicit(&r->ticks, 1, memory_order_relaxed) + 1;

    if (r->level == 0 && ticks == h->region_cache->config.tunables.promote_ticks)
        block_reheat(block, 1);
}

struct region *region_choose(struct hart *h, struct block *block, uint64_t pc, unsigned level)
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
    struct region *r = before->known ? choose_known(h, before) : region_choose(h, block, pc, 1);
    if (!r)
        return;
    region_cache_count(&h->region_cache->counters.regions_promoted, 1);
    (void)region_cache_submit(h, r);
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
    if (region_cache_is_pending(cache, block->pending))
        return;
    if (block->use) {
        promote(h, block, pc);
        return;
    }
    if (region_install_listed(h, block)) {
        if (!block->use)
            reheat_for_later(block, threshold);
        return;
    }
    if (!block->straddling && known_find(cache->known, block) && block->known_tries < KNOWN_TRIES) {
        if (!region_may_start(h, block) || !offer_known(h, block, pc))
            look_again_later(h, block);
        return;
    }
    if (region_cache_is_full(cache)) {
        reheat_for_later(block, threshold);
        return;
    }
    unsigned level =
        cache->config.random ? random_choice(&cache->config, block) == FOR_FULL : cache->config.tunables.first_level;
    struct region *r = region_may_start(h, block) ? region_choose(h, block, pc, level) : NULL;
    if (!r) {
        block_reheat(block, UINT32_MAX);
        return;
    }
    (void)region_cache_submit(h, r);
}

void region_hot(struct hart *h, struct block *block, uint64_t pc)
{
    const struct region_use *before = block->use;

    if (compile_first(h, block, pc))
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
