/* The machine's disks: an image and a virtio-blk in front of it for each of the configuration's. */
#include "dev/block/block_image.h"
#include "dev/virtio/virtio_blk.h"
#include "machine/machine_internal.h"

#include <errno.h>
#include <string.h>

_Static_assert((int)MACHINE_DISK_QUEUES_MAX == (int)VIRTIO_BLK_QUEUES_MAX, "the public limits are the device's");
_Static_assert((int)MACHINE_DISK_SERIAL_MAX == (int)VIRTIO_BLK_SERIAL_BYTES, "the public limits are the device's");
_Static_assert((int)MACHINE_DISK_QCOW2 == (int)BLOCK_FORMAT_QCOW2 && (int)MACHINE_DISK_RAW == (int)BLOCK_FORMAT_RAW,
               "the public formats are the images'");

static int create_disk(struct machine *m, unsigned n, struct error *err)
{
    const struct machine_disk *disk = &m->config.disks[n];
    const struct block_image_options options = {.format = (enum block_format)disk->format,
                                                .read_only = disk->read_only,
                                                .snapshot = disk->snapshot,
                                                .direct = disk->direct};
    struct virtio_blk_config config = {.mem = m->mem,
                                       .loop = m->devices_loop,
                                       .queues = disk->queues ? disk->queues : 1,
                                       .serial = disk->serial,
                                       .bytes_per_second = disk->bytes_per_s,
                                       .ops_per_second = disk->ops_per_s};
    struct error why = {{0}};
    int rc = block_image_open(disk->path, &options, m->devices_loop, &config.image, &why);

    if (rc)
        return error_set(err, rc, "--disk, %.480s", why.text);
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

    for (unsigned n = 0; n < m->config.disk_count && !rc; n++)
        rc = create_disk(m, n, err);
    return rc;
}

int machine_set_disk_limits(struct machine *m, unsigned disk, uint64_t bytes_per_s, uint64_t ops_per_s)
{
    if (disk >= m->config.disk_count)
        return -ENODEV;
    virtio_blk_set_limits(m->disks[disk], bytes_per_s, ops_per_s);
    return 0;
}
