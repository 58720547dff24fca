/* The machine's disks: an image and a virtio-blk in front of it for each of the configuration's. */
#include "dev/block/block_image.h"
#include "dev/block/node.h"
#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_scsi.h"
#include "machine/machine_internal.h"

#include <errno.h>
#include <string.h>

_Static_assert((int)MACHINE_DISK_QUEUES_MAX == (int)VIRTIO_BLK_QUEUES_MAX, "the public limits are the device's");
_Static_assert((int)MACHINE_DISK_SERIAL_MAX == (int)VIRTIO_BLK_SERIAL_BYTES, "the public limits are the device's");
_Static_assert((int)MACHINE_DISKS_MAX <= (int)VIRTIO_SCSI_UNITS_MAX, "every disk can be a unit of the adapter");
_Static_assert((int)MACHINE_DISK_QCOW2 == (int)BLOCK_FORMAT_QCOW2 && (int)MACHINE_DISK_RAW == (int)BLOCK_FORMAT_RAW,
               "the public formats are the images'");

static const char *format_name(struct block_image *image)
{
    return node_format(block_image_node(image)) == BLOCK_FORMAT_QCOW2 ? "qcow2" : "raw";
}

static int open_image(struct machine *m, const struct machine_disk *disk, struct block_image **image, struct error *err)
{
    const struct block_image_options options = {.format = (enum block_format)disk->format,
                                                .read_only = disk->read_only,
                                                .snapshot = disk->snapshot,
                                                .at = disk->at,
                                                .direct = disk->direct};
    struct error why = {{0}};
    int rc = block_image_open(disk->path, &options, m->devices_loop, image, &why);

    if (rc)
        return error_set(err, rc, "--disk, %.480s", why.text);
    m->images[disk - m->config.disks] = *image;
    m->disk_images[disk - m->config.disks] = (struct machine_disk_image){.format = format_name(*image),
                                                                         .bytes = block_image_size(*image),
                                                                         .read_only = block_image_is_read_only(*image)};
    return 0;
}

static int create_disk(struct machine *m, unsigned n, struct error *err)
{
    const struct machine_disk *disk = &m->config.disks[n];
    struct virtio_blk_config config = {.mem = m->mem,
                                       .loop = m->devices_loop,
                                       .queues = disk->queues ? disk->queues : 1,
                                       .serial = disk->serial,
                                       .bytes_per_second = disk->bytes_per_s,
                                       .ops_per_second = disk->ops_per_s};
    int rc = open_image(m, disk, &config.image, err);

    if (rc)
        return rc;
    rc = virtio_blk_create(&config, &m->disks[n]);
    if (rc) {
        (void)block_image_close(config.image);
        return error_set(err, rc, "--disk, %s: %s", disk->path, strerror(-rc));
    }
    return machine_virtio_add(m, m->disks[n], err);
}

int machine_disks_create(struct machine *m, struct error *err)
{
    int rc = 0;

    for (unsigned n = 0; n < m->config.disk_count && !rc; n++) {
        if (!m->config.disks[n].scsi)
            rc = create_disk(m, n, err);
    }
    return rc;
}

/* One adapter with all disks that are to be behind one, in their order. */
int machine_scsi_create(struct machine *m, struct error *err)
{
    struct virtio_scsi_unit_config units[VIRTIO_SCSI_UNITS_MAX];
    struct virtio_scsi_config config = {
        .mem = m->mem, .loop = m->devices_loop, .units = units, .queues = m->config.cpus};
    struct virtio_device *dev;
    int rc = 0;

    if (config.queues > VIRTIO_SCSI_QUEUES_MAX)
        config.queues = VIRTIO_SCSI_QUEUES_MAX;
    for (unsigned n = 0; n < m->config.disk_count && !rc; n++) {
        const struct machine_disk *disk = &m->config.disks[n];
        struct block_image *image;
        if (!disk->scsi)
            continue;
        rc = open_image(m, disk, &image, err);
        if (!rc)
            units[config.unit_count++] = (struct virtio_scsi_unit_config){.image = image, .serial = disk->serial};
    }
    if (!rc && !config.unit_count)
        return 0;
    if (!rc) {
        rc = virtio_scsi_create(&config, &dev);
        if (!rc)
            return machine_virtio_add(m, dev, err);
        error_set(err, rc, "virtio-scsi: %s", strerror(-rc));
    }
    for (unsigned n = 0; n < config.unit_count; n++)
        (void)block_image_close(units[n].image);
    return rc;
}

int machine_set_disk_limits(struct machine *m, unsigned disk, uint64_t bytes_per_s, uint64_t ops_per_s)
{
    if (disk >= m->config.disk_count || !m->disks[disk])
        return -ENODEV;
    virtio_blk_set_limits(m->disks[disk], bytes_per_s, ops_per_s);
    return 0;
}
