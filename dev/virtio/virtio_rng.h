/* The entropy device (virtio 1.2, 5.4): the host's random numbers. */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_RNG_H
#define TUFF_DEV_VIRTIO_VIRTIO_RNG_H

#include "base/compiler.h"
#include "dev/virtio/virtio.h"

/* The most a buffer gets; a driver copes with less than it asked for. */
enum { VIRTIO_RNG_BUFFER_BYTES = 4096 };

struct virtio_rng_config {
    struct mem *mem;   /* borrowed, as `loop`; both outlive the device */
    struct loop *loop; /* the devices' */
    /* Writes up to `len` random bytes and returns how many, or a negative errno, which fails the device. On the loop's
     * thread; does not block. NULL: getrandom(). */
    int (*fill)(void *opaque, void *buf, size_t len);
    void *opaque;
};

/* Returns 0 or -ENOMEM. */
TUFF_MUST_CHECK int virtio_rng_create(const struct virtio_rng_config *config, struct virtio_device **out);

#endif
