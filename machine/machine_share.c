/* The machine's shared directories: a virtio-9p for each of the configuration's. */
#include "dev/virtio/virtio_9p.h"
#include "machine/machine_internal.h"

static int add_share(struct machine *m, const struct machine_share *share, struct error *err)
{
    struct virtio_9p_config config = {.mem = m->mem,
                                      .loop = m->devices_loop,
                                      .tag = share->tag,
                                      .share = {.path = share->path,
                                                .read_only = share->read_only,
                                                .squash = share->squash,
                                                .uid = share->uid,
                                                .gid = share->gid}};
    struct virtio_device *dev;
    int rc = virtio_9p_create(&config, &dev, err);

    return rc ? rc : machine_virtio_add(m, dev, err);
}

int machine_share_create(struct machine *m, struct error *err)
{
    for (unsigned i = 0; i < m->config.share_count; i++) {
        int rc = add_share(m, &m->config.shares[i], err);
        if (rc)
            return rc;
    }
    return 0;
}
