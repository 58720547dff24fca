/* A sound card (virtio 1.2, 5.14) with up to one stream in each direction, of 16-bit samples: output to a WAV file or
 * ALSA, input from a WAV file (dev/sound/sound_end.h). Streams go at the pace of the host's clock. Jacks and channel
 * maps are not offered. */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_SOUND_H
#define TUFF_DEV_VIRTIO_VIRTIO_SOUND_H

#include "base/compiler.h"
#include "dev/sound/sound_end.h"
#include "dev/virtio/virtio.h"

struct virtio_sound_config {
    struct mem *mem;   /* borrowed, as `loop`; both outlive the device */
    struct loop *loop; /* the devices' */
    /* The device's when it was created; NULL: no such stream. Not both. */
    struct sound_end *output, *input;
};

/* Returns 0 or a negative errno (the ends are still the caller's); -EINVAL: an end's rate is none of the
 * specification's. */
TUFF_MUST_CHECK int virtio_sound_create(const struct virtio_sound_config *config, struct virtio_device **out);

#endif
