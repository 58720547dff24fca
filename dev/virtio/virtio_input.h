/* An input device (virtio 1.2, 5.8): a keyboard, mouse or tablet whose events come from the host as a stream of Linux's
 * `struct input_event`: an event device (/dev/input/eventN), or a FIFO that a program writes to.
 *
 * The stream is read as fast as the guest takes events, so that none is lost and who writes to a FIFO waits.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_INPUT_H
#define TUFF_DEV_VIRTIO_VIRTIO_INPUT_H

#include "base/compiler.h"
#include "base/error.h"
#include "dev/virtio/virtio.h"

enum virtio_input_kind { VIRTIO_INPUT_KEYBOARD, VIRTIO_INPUT_MOUSE, VIRTIO_INPUT_TABLET, VIRTIO_INPUT_KINDS };

/* A tablet's coordinates are 0 to this. */
enum { VIRTIO_INPUT_ABS_MAX = 32767 };

struct virtio_input_config {
    struct mem *mem;   /* borrowed, as `loop`; both outlive the device */
    struct loop *loop; /* the devices' */
    enum virtio_input_kind kind;
    const char *path; /* of the stream; borrowed for the call; NULL: none, only virtio_input_press() */
};

/* Opens the stream. Returns 0 or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int virtio_input_create(const struct virtio_input_config *config, struct virtio_device **out,
                                        struct error *err);

/* Any thread, not with the device's lock: the key `code` (KEY_* of linux/input-event-codes.h) goes down and up. Returns
 * 0, or -EAGAIN: no driver runs, or it does not take what came before. */
TUFF_MUST_CHECK int virtio_input_press(struct virtio_device *dev, uint16_t code);

#endif
