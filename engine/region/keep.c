/* The list of regions kept and its policy; see keep.h. A round and a choice each walk the whole list: some thousand
 * regions, while the next compile takes milliseconds. */
#include "engine/region/keep.h"

enum { CODE_PAGE_BYTES = 4096, OBJECT_BYTES = 2 * CODE_PAGE_BYTES, TICK_ENTRIES = 64 };

uint64_t region_held_bytes(const struct region *r)
{
    return ((uint64_t)r->code_bytes + CODE_PAGE_BYTES - 1) / CODE_PAGE_BYTES * CODE_PAGE_BYTES + OBJECT_BYTES;
}

static bool is_ready(const struct region *r)
{
    return atomic_load_explicit(&r->state, memory_order_relaxed) == REGION_READY;
}

/* Entries so far. One that was interrupted runs long: entries alone would not show it. */
static uint64_t use_of(const struct region *r)
{
    return atomic_load_explicit(&r->entries, memory_order_relaxed) +
           (uint64_t)TICK_ENTRIES * atomic_load_explicit(&r->ticks, memory_order_relaxed);
}

void region_keep_add(struct region_keep *keep, struct region *r)
{
    r->kept = true;
    r->kept_round = r->used_round = keep->round;
    r->warmth = 0;
    r->use_seen = use_of(r);
    r->kept_older = keep->newest;
    r->kept_newer = NULL;
    *(keep->newest ? &keep->newest->kept_newer : &keep->oldest) = r;
    keep->newest = r;
    if (is_ready(r))
        keep->bytes += region_held_bytes(r);
    else
        keep->failed++;
}

void region_keep_remove(struct region_keep *keep, struct region *r)
{
    if (!r->kept)
        return;
    r->kept = false;
    *(r->kept_older ? &r->kept_older->kept_newer : &keep->oldest) = r->kept_newer;
    *(r->kept_newer ? &r->kept_newer->kept_older : &keep->newest) = r->kept_older;
    if (is_ready(r))
        keep->bytes -= region_held_bytes(r);
    else
        keep->failed--;
}

bool region_keep_is_tight(const struct region_keep *keep)
{
    return keep->bytes > keep->limit_bytes - keep->limit_bytes / 4;
}

void region_keep_age(struct region_keep *keep)
{
    keep->round++;
    for (struct region *r = keep->oldest; r; r = r->kept_newer) {
        uint64_t use = use_of(r);
        if (use != r->use_seen)
            r->used_round = keep->round;
        r->warmth = r->warmth / 2 + (use - r->use_seen);
        r->use_seen = use;
    }
}

static bool never_got_hot(const struct region_keep *keep, const struct region *r)
{
    return r->use_seen < REGION_HOT_ENTRIES && keep->round - r->kept_round >= REGION_GRACE_ROUNDS;
}

/* Does `a` go before `b`? */
static bool goes_before(const struct region_keep *keep, const struct region *a, const struct region *b)
{
    bool a_cold = never_got_hot(keep, a);
    bool b_cold = never_got_hot(keep, b);

    if (a_cold != b_cold)
        return a_cold;
    if (a->used_round != b->used_round)
        return keep->round - a->used_round > keep->round - b->used_round;
    return a->warmth < b->warmth;
}

static struct region *oldest_failure(const struct region_keep *keep)
{
    struct region *r = keep->oldest;

    while (is_ready(r))
        r = r->kept_newer;
    return r;
}

struct region *region_keep_victim(const struct region_keep *keep, const struct region *spared)
{
    struct region *worst = NULL;

    if (keep->failed > REGION_FAILED_KEPT)
        return oldest_failure(keep);
    if (keep->bytes <= keep->limit_bytes)
        return NULL;
    for (struct region *r = keep->oldest; r; r = r->kept_newer) {
        if (r != spared && is_ready(r) && (!worst || goes_before(keep, r, worst)))
            worst = r;
    }
    return worst;
}
