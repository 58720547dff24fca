/* A network device (virtio 1.2, 5.1) in front of a network back end (dev/net/backend.h), with as many of checksum and
 * segmentation offload as the back end has, mergeable receive buffers, several queue pairs, a control queue, and rate
 * limits.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_NET_H
#define TUFF_DEV_VIRTIO_VIRTIO_NET_H

#include "dev/net/backend.h"
#include "dev/rate_limit.h"
#include "dev/virtio/virtio.h"

struct virtio_net_config {
    struct mem *mem;
    struct loop *loop;
    struct net_backend *backend; /* becomes the device's, when creation succeeds */
    uint8_t mac[6];
    uint16_t pairs; /* queue pairs; 0: 1. At most the back end's */
};

int virtio_net_create(const struct virtio_net_config *config, struct virtio_device **out) TUFF_MUST_CHECK;

/* Limits what the guest sends and what it is sent; packets wait, none is lost by it. NULL: unchanged. Any thread, also
 * while traffic flows. */
void virtio_net_set_rates(struct virtio_device *dev, const struct rate_limit_config *from_guest,
                          const struct rate_limit_config *to_guest);

#endif
