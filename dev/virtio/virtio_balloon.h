/* The balloon (virtio 1.2, 5.5): the guest gives pages back to the host, as many as it is asked for, and those it does
 * not use at the moment (free page reporting); and tells how its memory is used.
 *
 * A page that was given back reads as zeroes when the guest touches it again, and the host finds it a new frame then.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_BALLOON_H
#define TUFF_DEV_VIRTIO_VIRTIO_BALLOON_H

#include "base/compiler.h"
#include "dev/virtio/virtio.h"

enum { VIRTIO_BALLOON_PAGE_BYTES = 4096 };

/* Statistics of the guest (5.5.6.3): X(tag, name). */
#define VIRTIO_BALLOON_STATS(X) \
    X(0, swap_in)               \
    X(1, swap_out)              \
    X(2, major_faults)          \
    X(3, minor_faults)          \
    X(4, free_memory)           \
    X(5, total_memory)          \
    X(6, available_memory)      \
    X(7, disk_caches)           \
    X(8, hugetlb_allocations)   \
    X(9, hugetlb_failures)

enum { VIRTIO_BALLOON_STATS_COUNT = 10 };

struct virtio_balloon_config {
    struct mem *mem;          /* borrowed, as `loop`; both outlive the device */
    struct loop *loop;        /* the devices' */
    uint32_t target_pages;    /* how many the guest is asked for at first */
    uint64_t stats_period_ns; /* how often the guest is asked for statistics; 0: only by
                                 virtio_balloon_request_stats() */
};

/* Returns 0 or a negative errno (-ENOMEM, what a timer gives). */
TUFF_MUST_CHECK int virtio_balloon_create(const struct virtio_balloon_config *config, struct virtio_device **out);

/* Any thread, not with the device's lock: asks the guest for that many pages in all. */
void virtio_balloon_set_target(struct virtio_device *dev, uint32_t pages);
/* Any thread, not with the device's lock: how many the guest says it gave. */
uint32_t virtio_balloon_actual(struct virtio_device *dev);
/* Any thread, not with the device's lock: has the guest send its statistics, if it does so at all. */
void virtio_balloon_request_stats(struct virtio_device *dev);
/* Any thread, not with the device's lock: the newest by tag, UINT64_MAX where the guest never said. Returns how many
 * times it sent some. */
uint64_t virtio_balloon_guest_stats(struct virtio_device *dev, uint64_t stats[VIRTIO_BALLOON_STATS_COUNT]);

#endif
