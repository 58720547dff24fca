/* The socket device (virtio 1.2, 5.10): stream connections between programs of the guest (AF_VSOCK) and UNIX sockets of
 * the host, in both directions (dev/vsock/vsock_host.h has the names).
 *
 * Connections are not part of a saved state: a guest whose state is loaded is told that they are gone.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_VSOCK_H
#define TUFF_DEV_VIRTIO_VIRTIO_VSOCK_H

#include "base/compiler.h"
#include "base/error.h"
#include "dev/virtio/virtio.h"

enum {
    VIRTIO_VSOCK_CONNECTIONS_MAX = 1024,   /* at a time; more are refused */
    VIRTIO_VSOCK_BUFFER_BYTES = 256 << 10, /* that a guest may send ahead of a host that does not read, a connection */
};

struct virtio_vsock_config {
    struct mem *mem;   /* borrowed, as `loop`; both outlive the device */
    struct loop *loop; /* the devices' */
    uint32_t cid;      /* the guest's: 3 to 2^32 - 2 */
    const char *path;  /* borrowed for the call */
};

/* Listens at the path, which is removed when the device is destroyed. Returns 0 or a negative errno with a line in
 * `err`. */
TUFF_MUST_CHECK int virtio_vsock_create(const struct virtio_vsock_config *config, struct virtio_device **out,
                                        struct error *err);

#endif
