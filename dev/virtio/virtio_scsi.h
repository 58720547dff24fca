/* A SCSI host bus adapter (virtio 1.2, 5.6) with one target, whose logical units are disk images (dev/scsi/scsi_unit.h
 * has their commands). Images are used as by virtio-blk; tasks cannot be taken back from the host, so task management
 * answers when those it is about are done. */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_SCSI_H
#define TUFF_DEV_VIRTIO_VIRTIO_SCSI_H

#include "base/compiler.h"
#include "dev/virtio/virtio.h"

struct block_image;

enum { VIRTIO_SCSI_UNITS_MAX = 8, VIRTIO_SCSI_QUEUES_MAX = 8, VIRTIO_SCSI_SERIAL_BYTES = 20 };

struct virtio_scsi_unit_config {
    struct block_image *image; /* the device's from its creation on */
    const char *serial;        /* NULL: none; borrowed for the call, up to VIRTIO_SCSI_SERIAL_BYTES */
};

struct virtio_scsi_config {
    struct mem *mem;   /* borrowed, as `loop`; both outlive the device */
    struct loop *loop; /* the devices' */
    const struct virtio_scsi_unit_config *units;
    unsigned unit_count; /* 1 .. VIRTIO_SCSI_UNITS_MAX: LUN 0, 1, .. */
    unsigned queues;     /* for requests: 1 .. VIRTIO_SCSI_QUEUES_MAX */
};

/* Returns 0, or -ENOMEM (the images are still the caller's). */
TUFF_MUST_CHECK int virtio_scsi_create(const struct virtio_scsi_config *config, struct virtio_device **out);

#endif
