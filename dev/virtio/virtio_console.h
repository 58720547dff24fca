/* The console (virtio 1.2, 5.3): terminals (hvc0 ... in Linux) and named channels between guest and host, up to
 * VIRTIO_CONSOLE_PORTS_MAX of them.
 *
 * Output goes through a ring of the port's and is handed to the host by a thread of the device's own, so that a host
 * that does not read holds up nobody but the guest's writers to that device.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_CONSOLE_H
#define TUFF_DEV_VIRTIO_VIRTIO_CONSOLE_H

#include "base/compiler.h"
#include "dev/serial_backend.h"
#include "dev/virtio/virtio.h"

enum { VIRTIO_CONSOLE_PORTS_MAX = 8, VIRTIO_CONSOLE_NAME_BYTES = 64, VIRTIO_CONSOLE_RING_BYTES = 1 << 16 };

struct virtio_console_port_config {
    /* NULL: a terminal. Else a channel of that name (/dev/virtio-ports/NAME), borrowed for the call; shorter than
     * VIRTIO_CONSOLE_NAME_BYTES. */
    const char *name;
    /* write() is called on the device's own thread without a lock and may wait; can_receive() with the device's lock:
     * it must not call back. */
    struct serial_backend backend;
};

struct virtio_console_config {
    struct mem *mem;   /* borrowed, as `loop`; both outlive the device */
    struct loop *loop; /* the devices' */
    /* The first is a terminal, which also drivers without VIRTIO_CONSOLE_F_MULTIPORT have. */
    const struct virtio_console_port_config *ports; /* borrowed for the call */
    unsigned port_count;                            /* 1 .. VIRTIO_CONSOLE_PORTS_MAX */
    uint16_t columns, rows;                         /* of terminals; 0: not known */
};

/* Returns 0, -EINVAL (ports, names) or a negative errno. Its thread starts with virtio_console_start(). */
TUFF_MUST_CHECK int virtio_console_create(const struct virtio_console_config *config, struct virtio_device **out);
/* Starts the thread that hands output to the host. Until then the guest's output stays in the ring. */
TUFF_MUST_CHECK int virtio_console_start(struct virtio_device *dev);
/* Hands over what the guest has written and ends that thread. The guest does not run any more. */
void virtio_console_stop(struct virtio_device *dev);

/* Any thread, not with the device's lock: input for a port. Returns how many bytes were taken; when fewer, offer the
 * rest again after can_receive(). */
size_t virtio_console_receive(struct virtio_device *dev, unsigned port, const uint8_t *bytes, size_t len);
/* Any thread, not with the device's lock: has the guest's driver the port open? */
bool virtio_console_is_open(struct virtio_device *dev, unsigned port);
/* Any thread, not with the device's lock: the size of all terminals changed. */
void virtio_console_resize(struct virtio_device *dev, uint16_t columns, uint16_t rows);

#endif
