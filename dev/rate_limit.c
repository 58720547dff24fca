/* Token buckets; see rate_limit.h. */
#include "dev/rate_limit.h"

static const double NS_PER_SECOND = 1e9;
static const uint64_t WAIT_NS_MAX = 1000000000;

/* What a bucket holds when it is full. */
static double room(const struct rate_bucket *bucket)
{
    double tenth = (double)bucket->per_second / 10;

    return tenth < 1 ? 1 : tenth;
}

static void fill(struct rate_limit *limit, uint64_t now_ns)
{
    double seconds = now_ns > limit->filled_ns ? (double)(now_ns - limit->filled_ns) / NS_PER_SECOND : 0;

    if (now_ns > limit->filled_ns)
        limit->filled_ns = now_ns;
    for (int i = 0; i < RATE_KINDS; i++) {
        struct rate_bucket *bucket = &limit->buckets[i];

        bucket->tokens += seconds * (double)bucket->per_second;
        if (bucket->tokens > room(bucket))
            bucket->tokens = room(bucket);
    }
}

void rate_limit_set(struct rate_limit *limit, uint64_t bytes_per_second, uint64_t ops_per_second, uint64_t now_ns)
{
    const uint64_t wanted[RATE_KINDS] = {[RATE_BYTES] = bytes_per_second, [RATE_OPS] = ops_per_second};

    fill(limit, now_ns);
    for (int i = 0; i < RATE_KINDS; i++) {
        struct rate_bucket *bucket = &limit->buckets[i];

        if (bucket->per_second == wanted[i])
            continue;
        bucket->per_second = wanted[i];
        bucket->tokens = room(bucket); /* debts under the old limit are forgiven */
    }
}

uint64_t rate_limit_wait_ns(struct rate_limit *limit, uint64_t now_ns)
{
    double longest = 0;

    fill(limit, now_ns);
    for (int i = 0; i < RATE_KINDS; i++) {
        const struct rate_bucket *bucket = &limit->buckets[i];

        if (bucket->per_second && bucket->tokens <= 0) {
            /* Until one token is there. */
            double ns = (1 - bucket->tokens) / (double)bucket->per_second * NS_PER_SECOND;
            longest = ns > longest ? ns : longest;
        }
    }
    return longest >= (double)WAIT_NS_MAX ? WAIT_NS_MAX : (uint64_t)(longest + 0.999);
}

void rate_limit_pay(struct rate_limit *limit, uint64_t bytes)
{
    const double price[RATE_KINDS] = {[RATE_BYTES] = (double)bytes, [RATE_OPS] = 1};

    for (int i = 0; i < RATE_KINDS; i++) {
        if (limit->buckets[i].per_second)
            limit->buckets[i].tokens -= price[i];
    }
}
