/* See installed.h. */
#include "engine/region/installed.h"

#include "engine/baseline/baseline.h"
#include "engine/isa/riscv/debug.h"
#include "engine/region/policy.h"
#include "engine/region/region_cache.h"
#include "engine/region/verify.h"
#include "mem/frame.h"

#include <errno.h>
#include <stdlib.h>

struct use_memory {
    struct region_use use;
    struct use_page pages[REGION_PAGES_MAX];
};

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

void region_count_use(struct region_use *use)
{
    for (unsigned i = 0; i < use->region->entry_count; i++) {
        if (use->blocks[i])
            count_entry(use, i);
    }
}

int region_hart_create(struct hart *h)
{
    h->regions = calloc(1, sizeof(*h->regions));
    if (!h->regions)
        return -ENOMEM;
    h->region_cache = h->config.region_cache;
    region_cache_join(h->region_cache, h);
    const struct tier_config *config = &h->region_cache->config;
    /* Total store order wants each access's place among the others, which mirrors' accesses do not tell the compiler.
     */
    h->mirror_wanted = h->isa & ISA_EXT(ZTSO) ? 0 : config->tunables.mirror;
    return config->verify ? verify_create(h, config, &h->region_cache->counters, &h->verify) : 0;
}

void region_hart_destroy(struct hart *h)
{
    if (!h->regions)
        return;
    region_cache_leave(h->region_cache, h);
    region_uninstall_all(h);
    for (struct region *r = h->regions->ready; r;) {
        struct region *next = r->next_ready;
        region_cache_release(h, r);
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

static void uninstall(struct hart *h, struct region_use *use)
{
    struct use_memory *memory = (struct use_memory *)use;

    for (unsigned i = 0; i < use->region->entry_count; i++) {
        struct block *block = use->blocks[i];
        if (!block)
            continue;
        region_detach(h, block);
        region_give_heat(h, block);
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
    region_cache_release(h, use->region);
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
        region_count_use(use);
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
        region_cache_drop(h, r);
        region_cache_release(h, r);
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
        region_cache_drop(h, r);
    } else {
        memory = calloc(1, sizeof(*memory));
    }
    if (!memory) {
        region_cache_release(h, r);
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
    region_cache_count(&h->region_cache->counters.regions_installed, 1);
    region_cache_set_state(h->region_cache, r, TIER_REGION_LIVE);
    return use;
}

/* The same, or what this hart has installed of it already. */
static struct region_use *use_of(struct hart *h, struct region *r)
{
    struct region_use *use = find_use(h, r);

    if (!use && !atomic_load(&r->retired))
        return install(h, r);
    region_cache_release(h, r);
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
    region_cache_set_state(h->region_cache, use->region, TIER_REGION_REPLACED);
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
            struct block *block = block_find(h, region_entry_gpa(h->mem, use->region, i), use->region->ctx);
            if (block)
                take(h, use, block, (uint16_t)i);
        }
        r = next;
    }
}

void region_serve_request(struct hart *h)
{
    region_install_ready(h);
    if (atomic_exchange(&h->regions->look_over, false))
        look_over(h);
}

bool region_install_listed(struct hart *h, struct block *block)
{
    uint16_t entry;
    struct region *r = region_cache_find(h, block->gpa, &entry);

    if (!r)
        return false;
    if (atomic_load(&r->state) != REGION_READY) {
        bool same = same_bytes(h, r, NULL);
        if (!same)
            region_cache_drop(h, r);
        region_cache_release(h, r);
        return same;
    }
    struct region_use *use = use_of(h, r);
    if (!use)
        return false;
    take(h, use, block, entry);
    return true;
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
