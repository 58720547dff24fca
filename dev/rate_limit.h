/* A token bucket for a device's traffic: bytes and operations a second, each with a burst.
 *
 * A bucket holds at most its burst and fills at its rate. Whoever wants to pass needs a bucket that is not empty, and
 * takes what it costs, into debt if need be: an operation larger than the burst passes too, and those behind it wait
 * the longer. So the mean never exceeds the rate and no size is too large for ever.
 *
 * Time comes through a callback (CLOCK_MONOTONIC or a test's). Not locked: the owner's lock guards it.
 */
#ifndef TUFF_DEV_RATE_LIMIT_H
#define TUFF_DEV_RATE_LIMIT_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum { RATE_LIMIT_BURST_MS = 100 }; /* of the rate, where no burst is given */

/* 0: no limit, or for a burst the default. Values above RATE_LIMIT_MAX count as that. */
#define RATE_LIMIT_MAX (UINT64_C(1) << 50)
struct rate_limit_config {
    uint64_t bytes_per_s, bytes_burst;
    uint64_t ops_per_s, ops_burst;
};

struct rate_bucket {
    uint64_t per_s, burst;
    int64_t level;     /* below 0: debt */
    uint64_t fraction; /* of a token, in 1/10^9 */
};

struct rate_limit {
    uint64_t (*now_ns)(void *opaque);
    void *opaque;
    uint64_t last_ns;
    struct rate_bucket bytes, ops;
    uint64_t waits; /* statistics: refusals */
};

/* No limit until rate_limit_set(). */
void rate_limit_init(struct rate_limit *limit, uint64_t (*now_ns)(void *opaque), void *opaque);

/* Changes the limits, also while traffic flows: what was saved up or is owed stays, as far as the new burst lets it. */
void rate_limit_set(struct rate_limit *limit, const struct rate_limit_config *config);

/* May something pass now? Otherwise `retry_ns` is when it may, by the same clock. Takes nothing. */
bool rate_limit_ready(struct rate_limit *limit, uint64_t *retry_ns) TUFF_MUST_CHECK;
/* Takes what passed. */
void rate_limit_take(struct rate_limit *limit, uint64_t bytes, uint64_t ops);

#endif
