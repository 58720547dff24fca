/* The balloon; see virtio_balloon.h.
 *
 * Queues stand one behind the other as far as their features were negotiated, which is how drivers number them:
 * inflate, deflate, statistics, reporting. A driver may list millions of pages in one buffer, so a turn handles
 * PAGES_A_TURN of them and goes on where it stopped.
 */
#include "dev/virtio/virtio_balloon.h"

#include "dev/iov.h"
#include "mem/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BALLOON_F_STATS_VQ (UINT64_C(1) << 1)
#define BALLOON_F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define BALLOON_F_PAGE_REPORTING (UINT64_C(1) << 5)

enum {
    DEVICE_ID = 5,
    QUEUE_SIZE = 128,
    QUEUES = 4,
    CONFIG_BYTES = 8,
    CONFIG_ACTUAL = 4,
    PAGES_A_TURN = 8192,
    RANGES_A_TURN = 1024,
    STAT_BYTES = 10, /* tag u16, value u64 */
    STATS_A_BUFFER_MAX = 64,
};

enum role { ROLE_INFLATE, ROLE_DEFLATE, ROLE_STATS, ROLE_REPORTING, ROLE_NONE };

/* A list of pages that is being worked on. */
struct page_list {
    struct virtq_chain chain;
    bool held;
    uint64_t done_bytes;
};

struct virtio_balloon {
    struct virtio_device dev;
    struct virtio_balloon_config config; /* constant */
    struct loop_timer *timer;            /* NULL: no period */

    /* Under the device's lock. Saved: */
    uint32_t target_pages, actual_pages;
    /* Not saved: chains that are held are available again after a load. */
    struct page_list inflate;
    struct virtq_chain reported;    /* what is given back within one call */
    struct virtq_chain stats_chain; /* the guest's statistics buffer, until it is asked for new ones */
    bool stats_held;
    uint64_t guest_stats[VIRTIO_BALLOON_STATS_COUNT], stats_received;
    uint64_t inflated_pages, deflated_pages, reported_bytes, discard_errors;
};

static const struct device_field virtio_balloon_fields[] = {
    DEVICE_FIELD(struct virtio_balloon, target_pages, 1),
    DEVICE_FIELD(struct virtio_balloon, actual_pages, 1),
    {0},
};

static enum role role_of(const struct virtio_device *dev, unsigned queue)
{
    bool stats = virtio_has(dev, BALLOON_F_STATS_VQ), reporting = virtio_has(dev, BALLOON_F_PAGE_REPORTING);

    if (queue < 2)
        return queue == 0 ? ROLE_INFLATE : ROLE_DEFLATE;
    if (stats && queue == 2)
        return ROLE_STATS;
    return reporting && queue == 2u + stats ? ROLE_REPORTING : ROLE_NONE;
}

/* ---- giving memory back ---- */

static void discard(struct virtio_balloon *balloon, uint64_t gpa, uint64_t bytes)
{
    /* The guest gives what it likes; what is not RAM, or what the host does not take, stays as it is. */
    if (bytes && mem_discard(balloon->dev.mem, gpa, bytes))
        balloon->discard_errors++;
}

/* Gives back the pages numbered in a piece of the list; neighbours, in either direction, in one go. */
static void discard_pages(struct virtio_balloon *balloon, const uint32_t *numbers, size_t count)
{
    uint64_t first = 0, last = 0; /* of the run, both included; first > last: none */

    for (size_t i = 0; i < count; i++) {
        uint64_t page = numbers[i];
        if (i && page == last + 1) {
            last = page;
        } else if (i && page + 1 == first) {
            first = page;
        } else {
            if (i)
                discard(balloon, first * VIRTIO_BALLOON_PAGE_BYTES, (last - first + 1) * VIRTIO_BALLOON_PAGE_BYTES);
            first = last = page;
        }
    }
    if (count)
        discard(balloon, first * VIRTIO_BALLOON_PAGE_BYTES, (last - first + 1) * VIRTIO_BALLOON_PAGE_BYTES);
}

/* Returns true when something is left. */
static bool process_inflate(struct virtio_balloon *balloon, unsigned queue)
{
    struct page_list *list = &balloon->inflate;
    uint32_t numbers[256];
    unsigned pages = 0, chains = 0;

    while (pages < PAGES_A_TURN && chains < VIRTIO_TURN_CHAINS) {
        if (!list->held) {
            list->done_bytes = 0;
            list->held = virtio_pop(&balloon->dev, queue, &list->chain);
            if (!list->held)
                return false;
        }
        size_t got = iov_to_buf(virtq_readable(&list->chain), list->chain.readable_count, list->done_bytes, numbers,
                                sizeof(numbers));
        size_t count = got / sizeof(numbers[0]);
        discard_pages(balloon, numbers, count);
        balloon->inflated_pages += count;
        list->done_bytes += got;
        pages += (unsigned)count;
        if (got < sizeof(numbers)) {
            list->held = false;
            chains++;
            virtio_push(&balloon->dev, queue, &list->chain, 0);
        }
    }
    return true;
}

/* The guest takes pages back: they come by themselves when they are touched. */
static bool process_deflate(struct virtio_balloon *balloon, unsigned queue)
{
    unsigned count = 0;

    while (count < VIRTIO_TURN_CHAINS && virtio_pop(&balloon->dev, queue, &balloon->reported)) {
        balloon->deflated_pages += balloon->reported.readable_bytes / sizeof(uint32_t);
        virtq_push(&balloon->dev.queues[queue], &balloon->reported, 0);
        count++;
    }
    virtio_interrupt(&balloon->dev, queue);
    return count == VIRTIO_TURN_CHAINS;
}

/* Unused pages, each buffer one range of them; only whole pages of it are given back. */
static bool process_reporting(struct virtio_balloon *balloon, unsigned queue)
{
    const uint64_t mask = VIRTIO_BALLOON_PAGE_BYTES - 1;
    struct virtq_chain *chain = &balloon->reported;
    unsigned ranges = 0;

    while (ranges < RANGES_A_TURN) {
        if (!virtio_pop(&balloon->dev, queue, chain))
            return false;
        for (unsigned i = 0; i < chain->writable_count; i++) {
            uint64_t start = mem_host_to_gpa(balloon->dev.mem, virtq_writable(chain)[i].iov_base);
            uint64_t end = (start + virtq_writable(chain)[i].iov_len) & ~mask;
            start = (start + mask) & ~mask;
            if (start < end) {
                discard(balloon, start, end - start);
                balloon->reported_bytes += end - start;
            }
        }
        ranges += chain->writable_count + 1u;
        virtio_push(&balloon->dev, queue, chain, 0);
    }
    return true;
}

/* ---- the guest's statistics ---- */

static void read_stats(struct virtio_balloon *balloon, const struct virtq_chain *chain)
{
    uint8_t bytes[STAT_BYTES];

    for (unsigned i = 0; i < STATS_A_BUFFER_MAX; i++) {
        uint16_t tag;
        if (iov_to_buf(virtq_readable(chain), chain->readable_count, (size_t)i * STAT_BYTES, bytes, sizeof(bytes)) !=
            sizeof(bytes))
            break;
        memcpy(&tag, bytes, sizeof(tag));
        if (tag < VIRTIO_BALLOON_STATS_COUNT)
            memcpy(&balloon->guest_stats[tag], bytes + sizeof(tag), sizeof(balloon->guest_stats[tag]));
    }
    balloon->stats_received++;
}

static void give_stats_back(struct virtio_balloon *balloon)
{
    if (!balloon->stats_held)
        return;
    balloon->stats_held = false;
    /* Where there is such a queue, its number is its role. */
    virtio_push(&balloon->dev, ROLE_STATS, &balloon->stats_chain, 0);
}

/* There is one buffer, which the device keeps; a driver that brings another gets the first back. */
static bool process_stats(struct virtio_balloon *balloon, unsigned queue)
{
    for (unsigned i = 0; i < VIRTIO_TURN_CHAINS; i++) {
        if (!virtio_pop(&balloon->dev, queue, &balloon->reported))
            return false;
        give_stats_back(balloon);
        read_stats(balloon, &balloon->reported);
        balloon->stats_chain = balloon->reported;
        balloon->stats_held = true;
    }
    return true;
}

static void stats_due(void *opaque)
{
    struct virtio_balloon *balloon = opaque;

    virtio_balloon_request_stats(&balloon->dev);
    loop_timer_arm(balloon->timer, loop_now_ns() + balloon->config.stats_period_ns);
}

/* ---- the device ---- */

static bool virtio_balloon_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    switch (role_of(dev, queue)) {
    case ROLE_INFLATE:
        return process_inflate(balloon, queue);
    case ROLE_DEFLATE:
        return process_deflate(balloon, queue);
    case ROLE_STATS:
        return process_stats(balloon, queue);
    case ROLE_REPORTING:
        return process_reporting(balloon, queue);
    case ROLE_NONE:
        break;
    }
    return false;
}

static void virtio_balloon_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const struct virtio_balloon *balloon = (struct virtio_balloon *)dev;
    const uint32_t config[] = {balloon->target_pages, balloon->actual_pages};

    _Static_assert(sizeof(config) == CONFIG_BYTES, "all of it");
    memcpy(bytes, (const uint8_t *)config + offset, len);
}

static void virtio_balloon_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len)
{
    struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    if (offset >= CONFIG_ACTUAL)
        memcpy((uint8_t *)&balloon->actual_pages + (offset - CONFIG_ACTUAL), bytes, len);
}

static void forget_chains(struct virtio_balloon *balloon)
{
    balloon->inflate.held = false;
    balloon->stats_held = false;
}

/* One queue's reset as well as all: what was held belongs to rings that are gone. */
static void virtio_balloon_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    pthread_mutex_lock(&dev->lock);
    enum role role = queue < QUEUES ? role_of(dev, queue) : ROLE_NONE;
    if (role == ROLE_INFLATE)
        balloon->inflate.held = false;
    else if (role == ROLE_STATS)
        balloon->stats_held = false;
    pthread_mutex_unlock(&dev->lock);
}

static void virtio_balloon_reset(struct virtio_device *dev)
{
    struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    forget_chains(balloon);
    balloon->actual_pages = 0;
}

static void virtio_balloon_post_restore(struct virtio_device *dev)
{
    forget_chains((struct virtio_balloon *)dev);
}

static void virtio_balloon_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                                 void *opaque)
{
    const struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    fn(opaque, "inflated_pages", balloon->inflated_pages);
    fn(opaque, "deflated_pages", balloon->deflated_pages);
    fn(opaque, "reported_bytes", balloon->reported_bytes);
    fn(opaque, "discard_errors", balloon->discard_errors);
#define X(tag, name)                             \
    if (balloon->guest_stats[tag] != UINT64_MAX) \
        fn(opaque, "guest_" #name, balloon->guest_stats[tag]);
    VIRTIO_BALLOON_STATS(X)
#undef X
}

static void virtio_balloon_destroy(struct virtio_device *dev)
{
    struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    loop_timer_destroy(balloon->timer);
    virtio_fini(dev);
    free(balloon);
}

static const struct virtio_ops virtio_balloon_ops = {
    .name = "virtio-balloon",
    .device_id = DEVICE_ID,
    .pci_class = 0x00ff00,
    .state_version = 1,
    .fields = virtio_balloon_fields,
    .config_read = virtio_balloon_config_read,
    .config_write = virtio_balloon_config_write,
    .process = virtio_balloon_process,
    .drain = virtio_balloon_drain,
    .reset = virtio_balloon_reset,
    .post_restore = virtio_balloon_post_restore,
    .destroy = virtio_balloon_destroy,
    .stats = virtio_balloon_stats,
};

int virtio_balloon_create(const struct virtio_balloon_config *config, struct virtio_device **out)
{
    struct virtio_balloon *balloon = calloc(1, sizeof(*balloon));

    if (!balloon)
        return -ENOMEM;
    balloon->config = *config;
    balloon->target_pages = config->target_pages;
    memset(balloon->guest_stats, 0xff, sizeof(balloon->guest_stats));
    int rc =
        virtio_init(&balloon->dev, &virtio_balloon_ops, config->mem, config->loop,
                    BALLOON_F_STATS_VQ | BALLOON_F_DEFLATE_ON_OOM | BALLOON_F_PAGE_REPORTING, QUEUES, CONFIG_BYTES);
    if (rc) {
        free(balloon);
        return rc;
    }
    for (unsigned i = 0; i < QUEUES; i++)
        balloon->dev.queues[i].size_max = QUEUE_SIZE;
    if (config->stats_period_ns)
        rc = loop_timer_create(config->loop, stats_due, balloon, &balloon->timer);
    if (rc) {
        virtio_balloon_destroy(&balloon->dev);
        return rc;
    }
    if (balloon->timer)
        loop_timer_arm(balloon->timer, loop_now_ns() + config->stats_period_ns);
    *out = &balloon->dev;
    return 0;
}

/* ---- the host's side ---- */

void virtio_balloon_set_target(struct virtio_device *dev, uint32_t pages)
{
    struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    pthread_mutex_lock(&dev->lock);
    if (balloon->target_pages != pages) {
        balloon->target_pages = pages;
        virtio_config_changed(dev);
    }
    pthread_mutex_unlock(&dev->lock);
}

uint32_t virtio_balloon_actual(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    uint32_t pages = ((struct virtio_balloon *)dev)->actual_pages;
    pthread_mutex_unlock(&dev->lock);
    return pages;
}

void virtio_balloon_request_stats(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    give_stats_back((struct virtio_balloon *)dev);
    pthread_mutex_unlock(&dev->lock);
}

uint64_t virtio_balloon_guest_stats(struct virtio_device *dev, uint64_t stats[VIRTIO_BALLOON_STATS_COUNT])
{
    struct virtio_balloon *balloon = (struct virtio_balloon *)dev;

    pthread_mutex_lock(&dev->lock);
    memcpy(stats, balloon->guest_stats, sizeof(balloon->guest_stats));
    uint64_t received = balloon->stats_received;
    pthread_mutex_unlock(&dev->lock);
    return received;
}
