/* The 9P transport device (virtio 1.2, 5.13 reserves its number; its queue and tag are as Linux' driver has them): a
 * shared directory, served by dev/share/p9_server.h on threads of the device's own. */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_9P_H
#define TUFF_DEV_VIRTIO_VIRTIO_9P_H

#include "dev/share/p9_server.h"
#include "dev/virtio/virtio.h"

enum { VIRTIO_9P_TAG_BYTES = 32 };

struct virtio_9p_config {
    struct mem *mem;
    struct loop *loop;
    const char *tag; /* what the guest mounts: 1 to VIRTIO_9P_TAG_BYTES - 1 bytes */
    struct share_config share;
};

/* Returns 0 or a negative errno with a line in `err`. A snapshot has the session as
 * p9_saved.h says, in columns "virtio-9p-fids". */
int virtio_9p_create(const struct virtio_9p_config *config, struct virtio_device **out,
                     struct error *err) TUFF_MUST_CHECK;

#endif
