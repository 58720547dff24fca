/* The block device (virtio 1.2, 5.2): a disk image (dev/block/) as the guest's disk.
 *
 * Features: SIZE_MAX, SEG_MAX, RO, BLK_SIZE, FLUSH, TOPOLOGY, CONFIG_WCE, MQ, DISCARD, WRITE_ZEROES. Data goes between
 * guest memory and the host's file without a copy. A request whose form is wrong is answered with IOERR, one of a
 * type or with flags that do not exist with UNSUPP; one that has no room for a status is given back without.
 *
 * Without FLUSH, or when the driver has turned the write cache off (CONFIG_WCE), a write is answered when it is
 * durable.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_BLK_H
#define TUFF_DEV_VIRTIO_VIRTIO_BLK_H

#include "base/compiler.h"
#include "dev/virtio/virtio.h"

struct block_image;

enum { VIRTIO_BLK_SERIAL_BYTES = 20, VIRTIO_BLK_QUEUES_MAX = 16 };

struct virtio_blk_config {
    struct mem *mem;           /* borrowed, as `loop`; both outlive the device */
    struct loop *loop;         /* the devices'; that of the image */
    struct block_image *image; /* taken over by a device that was created */
    unsigned queues;           /* 1 to VIRTIO_BLK_QUEUES_MAX */
    const char *serial;        /* at most VIRTIO_BLK_SERIAL_BYTES; NULL: none */
    uint64_t bytes_per_second; /* 0: no limit, as the next one */
    uint64_t ops_per_second;
};

/* Returns 0, -ENOMEM, or what a timer failed with. */
TUFF_MUST_CHECK int virtio_blk_create(const struct virtio_blk_config *config, struct virtio_device **out);

/* Changes the limits; 0: none. Any thread, also while the guest runs. */
void virtio_blk_set_limits(struct virtio_device *dev, uint64_t bytes_per_second, uint64_t ops_per_second);

#endif
