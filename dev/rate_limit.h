/* Token buckets for bytes and operations a second, for block and network devices.
 *
 * Each bucket holds at most a tenth of a second's worth, and at least one operation's: what may come at once after a
 * pause. Whoever wants to do something asks first and pays afterwards, as much as it turned out to be; a bucket can
 * so fall below zero, and the next one waits until it is above again. So nothing has to be put back, and on average the
 * limit holds whatever the sizes are.
 *
 * No locks, no clocks: the owner has both. Times are nanoseconds of any clock that does not go back.
 */
#ifndef TUFF_DEV_RATE_LIMIT_H
#define TUFF_DEV_RATE_LIMIT_H

#include <stdint.h>

enum rate_kind { RATE_BYTES, RATE_OPS, RATE_KINDS };

struct rate_bucket {
    uint64_t per_second; /* 0: no limit */
    double tokens;
};

struct rate_limit {
    struct rate_bucket buckets[RATE_KINDS];
    uint64_t filled_ns; /* when the buckets were filled last */
};

/* Sets the limits (0: none), at the beginning or at any time later. */
void rate_limit_set(struct rate_limit *limit, uint64_t bytes_per_second, uint64_t ops_per_second, uint64_t now_ns);

/* How long to wait before the next operation; 0: not at all. At most a second: ask again then. */
uint64_t rate_limit_wait_ns(struct rate_limit *limit, uint64_t now_ns);

/* One operation of `bytes` is done. */
void rate_limit_pay(struct rate_limit *limit, uint64_t bytes);

#endif
