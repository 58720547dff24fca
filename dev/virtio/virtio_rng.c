/* The entropy device; see virtio_rng.h. It has no configuration and no state of its own. */
#include "dev/virtio/virtio_rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

enum { DEVICE_ID = 4, QUEUE_SIZE = 64 };

struct virtio_rng {
    struct virtio_device dev;
    struct virtio_rng_config config; /* constant */
    uint64_t bytes;                  /* under the device's lock */
    struct virtq_chain chain;        /* the loop's thread */
};

/* Does not block: the host's generator was ready when the machine was created. */
static int host_fill(void *opaque, void *buf, size_t len)
{
    ssize_t got = getrandom(buf, len, GRND_NONBLOCK);

    return got < 0 ? -errno : (int)got;
}

/* Fills the start of a chain's writable part. Returns how many bytes, or a negative errno. */
static int fill_chain(struct virtio_rng *rng)
{
    const struct iovec *iov = virtq_writable(&rng->chain);
    size_t done = 0;

    for (unsigned i = 0; i < rng->chain.writable_count && done < VIRTIO_RNG_BUFFER_BYTES; i++) {
        size_t room = VIRTIO_RNG_BUFFER_BYTES - done;
        size_t len = iov[i].iov_len < room ? iov[i].iov_len : room;
        int got = rng->config.fill(rng->config.opaque, iov[i].iov_base, len);
        if (got < 0)
            return done ? (int)done : got;
        done += (size_t)got;
        if ((size_t)got < len)
            break;
    }
    return (int)done;
}

static bool virtio_rng_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_rng *rng = (struct virtio_rng *)dev;
    unsigned count = 0;

    while (count < VIRTIO_TURN_CHAINS && virtio_pop(dev, queue, &rng->chain)) {
        int got = fill_chain(rng);
        if (got < 0) {
            virtio_fail(dev, "the host gave no random numbers");
            break;
        }
        rng->bytes += (unsigned)got;
        virtq_push(&dev->queues[queue], &rng->chain, (uint32_t)got);
        count++;
    }
    virtio_interrupt(dev, queue);
    return count == VIRTIO_TURN_CHAINS;
}

static void virtio_rng_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                             void *opaque)
{
    fn(opaque, "bytes", ((struct virtio_rng *)dev)->bytes);
}

static void virtio_rng_destroy(struct virtio_device *dev)
{
    virtio_fini(dev);
    free(dev);
}

static const struct virtio_ops virtio_rng_ops = {
    .name = "virtio-rng",
    .device_id = DEVICE_ID,
    .pci_class = 0x00ff00,
    .state_version = 1,
    .process = virtio_rng_process,
    .destroy = virtio_rng_destroy,
    .stats = virtio_rng_stats,
};

int virtio_rng_create(const struct virtio_rng_config *config, struct virtio_device **out)
{
    struct virtio_rng *rng = calloc(1, sizeof(*rng));

    if (!rng)
        return -ENOMEM;
    rng->config = *config;
    if (!rng->config.fill)
        rng->config.fill = host_fill;
    int rc = virtio_init(&rng->dev, &virtio_rng_ops, config->mem, config->loop, VIRTIO_F_IN_ORDER, 1, 0);
    if (rc) {
        free(rng);
        return rc;
    }
    rng->dev.queues[0].size_max = QUEUE_SIZE;
    *out = &rng->dev;
    return 0;
}
