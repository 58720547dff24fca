/* The crypto device (virtio 1.2, 5.9) in session mode: ciphers, hashes, authentication codes and AEAD by libcrypto
 * (dev/crypto/crypto_session.h). Chained algorithms, asymmetric keys and stateless mode are not offered. */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_CRYPTO_H
#define TUFF_DEV_VIRTIO_VIRTIO_CRYPTO_H

#include "base/compiler.h"
#include "dev/virtio/virtio.h"

enum {
    VIRTIO_CRYPTO_SESSIONS_MAX = 128, /* at a time */
    VIRTIO_CRYPTO_DATA_MAX = 1 << 18, /* bytes that one request is about */
};

struct virtio_crypto_config {
    struct mem *mem;   /* borrowed, as `loop`; both outlive the device */
    struct loop *loop; /* the devices' */
};

/* Returns 0 or -ENOMEM. */
TUFF_MUST_CHECK int virtio_crypto_create(const struct virtio_crypto_config *config, struct virtio_device **out);

#endif
