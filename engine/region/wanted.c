/* See wanted.h. */
#include "engine/region/wanted.h"

#include "engine/region/policy.h"
#include "engine/region/region_cache.h"
#include "engine/region/shape.h"
#include "store/store.h"

#include <stdlib.h>

enum {
    WANTED_INSNS = 200000, /* that a block ran outside of regions: a region around it is worth having next time */
    WANTED_MAX = 2048,     /* such regions a run */
};

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

    if (insns < WANTED_INSNS || block->use || block->straddling || !region_may_start(hot->h, block))
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
        region_cache_count(&cache->counters.store_wanted, 1);
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

void region_save_wanted(struct hart *h)
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
        struct region *r = region_choose(h, block, block->gva, 1);
        if (!r)
            continue;
        r->mirrored = h->mirror_wanted && h->priv == VCPU_PRIV_U && h->exec_bank->view.translated;
        r->id = UINT32_MAX;
        region_note_pending(h, r);
        put_wanted(cache, r);
        region_free(r);
        wanted++;
    }
    h->ctx = ctx;
    h->priv = priv;
    h->exec_bank = exec_bank;
    free(hot.at);
}
