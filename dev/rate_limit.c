/* Token buckets; see rate_limit.h. */
#include "dev/rate_limit.h"

#include <stddef.h>

enum { NS_PER_S = 1000 * 1000 * 1000 };

void rate_limit_init(struct rate_limit *limit, uint64_t (*now_ns)(void *opaque), void *opaque)
{
    *limit = (struct rate_limit){.now_ns = now_ns, .opaque = opaque, .last_ns = now_ns(opaque)};
}

static uint64_t at_most(uint64_t value, uint64_t max)
{
    return value < max ? value : max;
}

static void bucket_fill(struct rate_bucket *bucket, uint64_t elapsed_ns)
{
    unsigned __int128 gained = (unsigned __int128)elapsed_ns * bucket->per_s + bucket->fraction;
    unsigned __int128 tokens = gained / NS_PER_S;
    int64_t room = (int64_t)bucket->burst - bucket->level;

    if (tokens >= (unsigned __int128)(room > 0 ? room : 0)) {
        bucket->level = (int64_t)bucket->burst;
        bucket->fraction = 0;
        return;
    }
    bucket->level += (int64_t)tokens;
    bucket->fraction = (uint64_t)(gained % NS_PER_S);
}

static void fill(struct rate_limit *limit)
{
    uint64_t now = limit->now_ns(limit->opaque);
    uint64_t elapsed = now > limit->last_ns ? now - limit->last_ns : 0;

    limit->last_ns = now;
    bucket_fill(&limit->bytes, elapsed);
    bucket_fill(&limit->ops, elapsed);
}

static void bucket_set(struct rate_bucket *bucket, uint64_t per_s, uint64_t burst)
{
    bool was_limited = bucket->per_s != 0;

    bucket->per_s = at_most(per_s, RATE_LIMIT_MAX);
    if (!burst)
        burst = bucket->per_s * RATE_LIMIT_BURST_MS / 1000;
    bucket->burst = at_most(burst ? burst : 1, RATE_LIMIT_MAX);
    if (!was_limited || bucket->level > (int64_t)bucket->burst)
        bucket->level = (int64_t)bucket->burst;
    bucket->fraction = 0;
}

void rate_limit_set(struct rate_limit *limit, const struct rate_limit_config *config)
{
    fill(limit);
    bucket_set(&limit->bytes, config->bytes_per_s, config->bytes_burst);
    bucket_set(&limit->ops, config->ops_per_s, config->ops_burst);
}

/* Until the level is 1: nanoseconds, rounded up. */
static uint64_t bucket_wait_ns(const struct rate_bucket *bucket)
{
    if (!bucket->per_s || bucket->level > 0)
        return 0;
    unsigned __int128 missing = (unsigned __int128)(uint64_t)(1 - bucket->level) * NS_PER_S - bucket->fraction;
    unsigned __int128 wait = (missing + bucket->per_s - 1) / bucket->per_s;
    return wait > INT64_MAX ? INT64_MAX : (uint64_t)wait;
}

bool rate_limit_ready(struct rate_limit *limit, uint64_t *retry_ns)
{
    if (!limit->bytes.per_s && !limit->ops.per_s)
        return true;
    fill(limit);
    uint64_t bytes = bucket_wait_ns(&limit->bytes), ops = bucket_wait_ns(&limit->ops);
    uint64_t wait = bytes > ops ? bytes : ops;
    if (!wait)
        return true;
    limit->waits++;
    *retry_ns = limit->last_ns + wait;
    return false;
}

static void bucket_take(struct rate_bucket *bucket, uint64_t tokens)
{
    const int64_t deepest = -(int64_t)RATE_LIMIT_MAX;

    if (!bucket->per_s)
        return;
    bucket->level -= (int64_t)at_most(tokens, RATE_LIMIT_MAX);
    if (bucket->level < deepest)
        bucket->level = deepest;
}

void rate_limit_take(struct rate_limit *limit, uint64_t bytes, uint64_t ops)
{
    bucket_take(&limit->bytes, bytes);
    bucket_take(&limit->ops, ops);
}
