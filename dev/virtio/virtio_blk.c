/* The block device; see virtio_blk.h. Section numbers are those of virtio 1.2.
 *
 * A request is popped, checked, and submitted to the image with its iovecs; when that completes (on the loop's thread,
 * or that of whoever drains) its status is written and the chain pushed. The header and the segments of a discard are
 * copied once and then looked at: the guest may change them meanwhile. How a request's bytes are cut into buffers means
 * nothing (2.7.4): only where the readable and the writable ones begin and end. */
#include "dev/virtio/virtio_blk.h"

#include "base/log.h"
#include "dev/block/block_image.h"
#include "dev/iov.h"
#include "dev/rate_limit.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEVICE_ID = 2,
    QUEUE_SIZE = 256,
    REQUESTS_MAX = 512, /* under way, of all queues */
    SECTOR_SHIFT = 9,
    SEG_MAX = QUEUE_SIZE - 2,
    SEG_BYTES_MAX = 256 << 10, /* size_max */
    RANGE_SECTORS_MAX = 1 << 21,
    RANGE_SEGMENTS_MAX = 16, /* of a discard or write-zeroes */
    PHYSICAL_BLOCK_BYTES = 4096,
};

static const uint64_t REQUEST_BYTES_MAX = (uint64_t)SEG_MAX * SEG_BYTES_MAX;

/* 5.2.3 */
#define F_SIZE_MAX (UINT64_C(1) << 1)
#define F_SEG_MAX (UINT64_C(1) << 2)
#define F_RO (UINT64_C(1) << 5)
#define F_BLK_SIZE (UINT64_C(1) << 6)
#define F_FLUSH (UINT64_C(1) << 9)
#define F_TOPOLOGY (UINT64_C(1) << 10)
#define F_CONFIG_WCE (UINT64_C(1) << 11)
#define F_MQ (UINT64_C(1) << 12)
#define F_DISCARD (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)

/* 5.2.6 */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { FLAG_UNMAP = 1 };

/* Little-endian, as the host is. */
struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct segment {
    uint64_t sector;
    uint32_t sectors, flags;
};

/* 5.2.4 */
struct config {
    uint64_t capacity; /* sectors */
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
};

_Static_assert(sizeof(struct header) == 16 && sizeof(struct segment) == 16, "5.2.6");
_Static_assert(offsetof(struct config, writeback) == 32 && sizeof(struct config) == 64, "5.2.4");

enum { CONFIG_BYTES = 60 }; /* without the padding at the end of the host's struct */

struct blk_request {
    struct blk_request *next; /* of those that are free */
    struct virtio_blk *blk;
    unsigned queue;
    uint32_t type;
    struct block_request io;
    struct iovec *part; /* a copy of the iovecs that had to be cut; NULL: none */
    struct segment segments[RANGE_SEGMENTS_MAX];
    unsigned segment, segment_count;
    bool flushing; /* the write is done and made durable now */
    struct virtq_chain chain;
};

/* Counters: name, which the user sees. */
#define BLK_COUNTERS(X) \
    X(reads)            \
    X(read_bytes)       \
    X(writes)           \
    X(written_bytes)    \
    X(flushes)          \
    X(discards)         \
    X(write_zeroes)     \
    X(errors)           \
    X(malformed)

struct virtio_blk {
    struct virtio_device dev;
    /* Under the device's lock. */
    uint8_t writeback; /* saved */
    struct blk_request *free;
    unsigned request_count; /* made so far */
    uint32_t starved;       /* queues that wait for a request, a bit each */
    bool in_turn;           /* process() has the lock, and interrupts at its end for all that it answered */
    uint32_t answered;      /* queues with answers in this turn */
    uint32_t waiting;       /* for the limit */
    unsigned under_way[VIRTIO_BLK_QUEUES_MAX];
    pthread_cond_t queue_idle;
    struct rate_limit limit;
    struct {
#define X(name) uint64_t name;
        BLK_COUNTERS(X)
#undef X
    } stats;
    /* Constant. */
    struct block_image *image;
    struct loop_timer *timer;
    struct config config; /* but for `writeback` */
    char serial[VIRTIO_BLK_SERIAL_BYTES];
};

static const struct device_field blk_fields[] = {
    DEVICE_FIELD(struct virtio_blk, writeback, 1),
    {0},
};

static struct virtio_blk *blk_of(struct virtio_device *dev)
{
    return (struct virtio_blk *)dev;
}

/* ---- requests ---- */

static struct blk_request *request_get(struct virtio_blk *blk)
{
    struct blk_request *r = blk->free;

    if (r) {
        blk->free = r->next;
    } else if (blk->request_count < REQUESTS_MAX) {
        r = malloc(sizeof(*r));
        if (r) {
            r->blk = blk;
            blk->request_count++;
        }
    }
    return r;
}

static void request_put(struct virtio_blk *blk, struct blk_request *r)
{
    r->next = blk->free;
    blk->free = r;
}

static void schedule(struct virtio_blk *blk, uint32_t *queues)
{
    uint32_t bits = *queues;

    *queues = 0;
    for (; bits; bits &= bits - 1)
        virtio_schedule(&blk->dev, (unsigned)__builtin_ctz(bits));
}

/* With the lock held. Gives the chain and the request back. */
static void answer(struct blk_request *r, uint8_t status)
{
    struct virtio_blk *blk = r->blk;
    struct virtq_chain *chain = &r->chain;
    uint32_t written = (uint32_t)chain->writable_bytes;

    blk->stats.errors += status != S_OK;
    if (written)
        iov_from_buf(virtq_writable(chain), chain->writable_count, written - 1, &status, 1);
    free(r->part);
    r->part = NULL;
    virtq_push(&blk->dev.queues[r->queue], chain, written);
    if (blk->in_turn)
        blk->answered |= UINT32_C(1) << r->queue;
    else
        virtio_interrupt(&blk->dev, r->queue);
    if (--blk->under_way[r->queue] == 0)
        pthread_cond_broadcast(&blk->queue_idle);
    request_put(blk, r);
    schedule(blk, &blk->starved);
}

/* With the lock held: the form of a request is wrong. */
static void refuse(struct blk_request *r, uint8_t status, const char *why)
{
    r->blk->stats.malformed++;
    log_guest_error("virtio-blk: request of type %u: %s", r->type, why);
    answer(r, status);
}

static bool is_writethrough(const struct virtio_blk *blk)
{
    if (!virtio_has(&blk->dev, F_FLUSH))
        return true;
    return virtio_has(&blk->dev, F_CONFIG_WCE) && !blk->writeback; /* 5.2.5 */
}

static void completed(struct block_request *io, int result);

static void submit(struct blk_request *r)
{
    r->io.complete = completed;
    r->io.opaque = r;
    block_image_submit(r->blk->image, &r->io);
}

static void submit_segment(struct blk_request *r)
{
    const struct segment *s = &r->segments[r->segment++];

    r->io = (struct block_request){.op = r->type == T_DISCARD ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES,
                                   .offset = s->sector << SECTOR_SHIFT,
                                   .bytes = (uint64_t)s->sectors << SECTOR_SHIFT,
                                   .may_unmap = s->flags & FLAG_UNMAP};
    submit(r);
}

/* Without the lock, but in a turn of the device's own. Who drains has waited for the end of any turn. */
static void completed(struct block_request *io, int result)
{
    struct blk_request *r = io->opaque;
    struct virtio_blk *blk = r->blk;
    bool more = false, in_turn = blk->in_turn;

    if (!in_turn)
        pthread_mutex_lock(&blk->dev.lock);
    if (!result && r->segment < r->segment_count) {
        submit_segment(r);
        more = true;
    } else if (!result && r->type != T_IN && r->type != T_FLUSH && !r->flushing && is_writethrough(blk)) {
        r->flushing = true;
        r->io = (struct block_request){.op = BLOCK_FLUSH};
        submit(r);
        more = true;
    } else {
        answer(r, result ? S_IOERR : S_OK);
    }
    if (!in_turn)
        pthread_mutex_unlock(&blk->dev.lock);
    if (more)
        block_image_kick(blk->image);
}

/* ---- the kinds of request, with the lock held ---- */

/* The data: bytes [skip, skip + bytes) of some iovecs, cut only where it has to be. */
static bool set_data(struct blk_request *r, const struct iovec *iov, unsigned count, uint64_t skip, uint64_t bytes)
{
    while (count && skip >= iov->iov_len) {
        skip -= iov->iov_len;
        iov++;
        count--;
    }
    /* A status byte in a buffer of its own. */
    if (count > 1 && !skip && iov[count - 1].iov_len == 1 && iov_bytes(iov, count) == bytes + 1)
        count--;
    r->io.iov = iov;
    r->io.count = count;
    if (!skip && iov_bytes(iov, count) == bytes)
        return true;
    r->part = malloc((count + 1) * sizeof(*r->part));
    if (!r->part)
        return false;
    r->io.iov = r->part;
    r->io.count = iov_part(iov, count, skip, bytes, r->part, count);
    return true;
}

static void transfer(struct blk_request *r, uint64_t sector)
{
    struct virtio_blk *blk = r->blk;
    const struct virtq_chain *chain = &r->chain;
    bool write = r->type == T_OUT, ok;
    uint64_t bytes = write ? chain->readable_bytes - sizeof(struct header) : chain->writable_bytes - 1;

    if (write && virtio_has(&blk->dev, F_RO)) {
        answer(r, S_IOERR);
        return;
    }
    if (bytes % BLOCK_SECTOR_BYTES || bytes > REQUEST_BYTES_MAX) {
        refuse(r, S_IOERR, "its length is no multiple of a sector, or too large");
        return;
    }
    if (sector > blk->config.capacity || bytes >> SECTOR_SHIFT > blk->config.capacity - sector) {
        refuse(r, S_IOERR, "it reaches beyond the end");
        return;
    }
    r->io = (struct block_request){.op = write ? BLOCK_WRITE : BLOCK_READ, .offset = sector << SECTOR_SHIFT};
    ok = write ? set_data(r, virtq_readable(chain), chain->readable_count, sizeof(struct header), bytes)
               : set_data(r, virtq_writable(chain), chain->writable_count, 0, bytes);
    if (!ok) {
        answer(r, S_IOERR);
        return;
    }
    if (write) {
        blk->stats.writes++;
        blk->stats.written_bytes += bytes;
    } else {
        blk->stats.reads++;
        blk->stats.read_bytes += bytes;
    }
    rate_limit_take(&blk->limit, bytes, 1);
    submit(r);
}

/* Returns the status of a wrong one. */
static uint8_t check_segment(const struct virtio_blk *blk, uint32_t type, const struct segment *s)
{
    if (s->flags & ~(uint32_t)FLAG_UNMAP || (type == T_DISCARD && s->flags))
        return S_UNSUPP;
    if (s->sectors > RANGE_SECTORS_MAX || s->sector > blk->config.capacity ||
        s->sectors > blk->config.capacity - s->sector)
        return S_IOERR;
    return S_OK;
}

static void change_ranges(struct blk_request *r)
{
    struct virtio_blk *blk = r->blk;
    const struct virtq_chain *chain = &r->chain;
    uint64_t bytes = chain->readable_bytes - sizeof(struct header), feature = F_DISCARD;

    if (r->type == T_WRITE_ZEROES)
        feature = F_WRITE_ZEROES;
    if (!virtio_has(&blk->dev, feature)) {
        refuse(r, S_UNSUPP, "its feature was not negotiated");
        return;
    }
    if (!bytes || bytes % sizeof(struct segment) || bytes > sizeof(r->segments)) {
        refuse(r, S_IOERR, "its segments are too many, or cut off");
        return;
    }
    iov_to_buf(virtq_readable(chain), chain->readable_count, sizeof(struct header), r->segments, bytes);
    r->segment_count = (unsigned)(bytes / sizeof(struct segment));
    for (unsigned i = 0; i < r->segment_count; i++) {
        uint8_t status = check_segment(blk, r->type, &r->segments[i]);

        if (status != S_OK) {
            refuse(r, status, "a segment's range or flags are wrong");
            return;
        }
    }
    if (r->type == T_DISCARD)
        blk->stats.discards++;
    else
        blk->stats.write_zeroes++;
    rate_limit_take(&blk->limit, 0, 1);
    submit_segment(r);
}

static void get_id(struct blk_request *r)
{
    const struct virtq_chain *chain = &r->chain;
    uint64_t room = chain->writable_bytes - 1;

    iov_from_buf(virtq_writable(chain), chain->writable_count, 0, r->blk->serial,
                 room < VIRTIO_BLK_SERIAL_BYTES ? (size_t)room : VIRTIO_BLK_SERIAL_BYTES);
    answer(r, S_OK);
}

static void begin(struct blk_request *r)
{
    const struct virtq_chain *chain = &r->chain;
    struct header header;

    r->type = UINT32_MAX;
    r->part = NULL;
    r->segment = r->segment_count = 0;
    r->flushing = false;
    if (!chain->writable_bytes || chain->writable_bytes > UINT32_MAX) {
        refuse(r, S_IOERR, "it has no place for the status");
        return;
    }
    if (chain->readable_bytes < sizeof(header)) {
        refuse(r, S_IOERR, "it has no header");
        return;
    }
    iov_to_buf(virtq_readable(chain), chain->readable_count, 0, &header, sizeof(header));
    r->type = header.type;
    switch (header.type) {
    case T_IN:
    case T_OUT:
        transfer(r, header.sector);
        return;
    case T_FLUSH:
        r->blk->stats.flushes++;
        rate_limit_take(&r->blk->limit, 0, 1);
        r->io = (struct block_request){.op = BLOCK_FLUSH};
        submit(r);
        return;
    case T_GET_ID:
        get_id(r);
        return;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        change_ranges(r);
        return;
    default:
        refuse(r, S_UNSUPP, "there is no such type");
        return;
    }
}

/* ---- the queues ---- */

/* True when the queue has to wait for its limit: the timer schedules it. */
static bool is_throttled(struct virtio_blk *blk, unsigned queue)
{
    uint64_t retry_ns;

    if (rate_limit_ready(&blk->limit, &retry_ns))
        return false;
    blk->waiting |= UINT32_C(1) << queue;
    loop_timer_arm(blk->timer, retry_ns);
    return true;
}

static void limit_is_over(void *opaque)
{
    struct virtio_blk *blk = opaque;

    pthread_mutex_lock(&blk->dev.lock);
    schedule(blk, &blk->waiting);
    pthread_mutex_unlock(&blk->dev.lock);
}

static bool blk_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_blk *blk = blk_of(dev);
    unsigned count = 0;

    blk->in_turn = true;
    for (; count < VIRTIO_TURN_CHAINS; count++) {
        struct blk_request *r;

        if (is_throttled(blk, queue))
            break;
        r = request_get(blk);
        if (!r) { /* the next answer has one; without any under way there is always memory for one */
            blk->starved |= UINT32_C(1) << queue;
            break;
        }
        if (!virtio_pop(dev, queue, &r->chain)) {
            request_put(blk, r);
            break;
        }
        r->queue = queue;
        blk->under_way[queue]++;
        begin(r);
    }
    block_image_kick_and_poll(blk->image);
    blk->in_turn = false;
    for (; blk->answered; blk->answered &= blk->answered - 1)
        virtio_interrupt(dev, (unsigned)__builtin_ctz(blk->answered));
    return count == VIRTIO_TURN_CHAINS;
}

static void blk_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_blk *blk = blk_of(dev);

    if (queue == UINT_MAX) {
        block_image_drain(blk->image);
        return;
    }
    /* Others go on: their requests complete on the loop's thread. */
    pthread_mutex_lock(&dev->lock);
    while (queue < VIRTIO_BLK_QUEUES_MAX && blk->under_way[queue])
        pthread_cond_wait(&blk->queue_idle, &dev->lock);
    pthread_mutex_unlock(&dev->lock);
}

/* ---- configuration ---- */

static void blk_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    struct virtio_blk *blk = blk_of(dev);
    struct config config = blk->config;

    config.writeback = virtio_has(dev, F_FLUSH) || !dev->driver_features ? blk->writeback : 0;
    memcpy(bytes, (const uint8_t *)&config + offset, len);
}

static void blk_settle(struct virtio_device *dev)
{
    block_image_drain(blk_of(dev)->image);
}

static void blk_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len)
{
    struct virtio_blk *blk = blk_of(dev);

    if (offset == offsetof(struct config, writeback) && len == 1 && virtio_has(dev, F_CONFIG_WCE))
        blk->writeback = *(const uint8_t *)bytes & 1;
    else
        log_guest_error("virtio-blk: byte %u of its configuration cannot be written", offset);
}

static void blk_reset(struct virtio_device *dev)
{
    struct virtio_blk *blk = blk_of(dev);

    blk->writeback = 1;
    blk->starved = blk->waiting = 0;
}

static void blk_post_restore(struct virtio_device *dev)
{
    blk_of(dev)->writeback &= 1;
}

static void blk_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                      void *opaque)
{
    struct virtio_blk *blk = blk_of(dev);
    struct block_image_stats image = block_image_stats(blk->image);

#define X(name) fn(opaque, #name, blk->stats.name);
    BLK_COUNTERS(X)
#undef X
    fn(opaque, "throttled", blk->limit.waits);
    fn(opaque, "image_direct", image.direct);
    fn(opaque, "image_slow", image.slow);
    fn(opaque, "image_waited", image.waited);
    fn(opaque, "image_flushes", image.flushes);
}

static void free_requests(struct virtio_blk *blk)
{
    for (struct blk_request *r = blk->free, *next; r; r = next) {
        next = r->next;
        free(r);
    }
}

static void blk_destroy(struct virtio_device *dev)
{
    struct virtio_blk *blk = blk_of(dev);
    int rc;

    loop_timer_destroy(blk->timer);
    virtio_fini(dev);
    rc = block_image_close(blk->image);
    if (rc)
        log_warn(LOG_DEV, "a disk image could not be written to the end: %s", strerror(-rc));
    free_requests(blk);
    pthread_cond_destroy(&blk->queue_idle);
    free(blk);
}

static const struct virtio_ops blk_ops = {
    .name = "virtio-blk",
    .device_id = DEVICE_ID,
    .pci_class = 0x010000,
    .state_version = 1,
    .fields = blk_fields,
    .config_read = blk_config_read,
    .config_write = blk_config_write,
    .process = blk_process,
    .drain = blk_drain,
    .settle = blk_settle,
    .reset = blk_reset,
    .post_restore = blk_post_restore,
    .destroy = blk_destroy,
    .stats = blk_stats,
};

static void fill_config(struct virtio_blk *blk, unsigned queues)
{
    uint64_t cluster = block_image_cluster_bytes(blk->image);
    uint32_t block = block_image_block_bytes(blk->image), physical = PHYSICAL_BLOCK_BYTES;

    if (physical < block)
        physical = block;
    blk->config = (struct config){
        .capacity = block_image_size(blk->image) >> SECTOR_SHIFT,
        .size_max = SEG_BYTES_MAX,
        .seg_max = SEG_MAX,
        .blk_size = block,
        .physical_block_exp = (uint8_t)__builtin_ctz(physical / block),
        .min_io_size = (uint16_t)(physical / block),
        .opt_io_size = cluster > physical ? (uint32_t)(cluster / block) : 0,
        .num_queues = (uint16_t)queues,
        .max_discard_sectors = RANGE_SECTORS_MAX,
        .max_discard_seg = RANGE_SEGMENTS_MAX,
        .discard_sector_alignment = (uint32_t)((cluster > physical ? cluster : physical) >> SECTOR_SHIFT),
        .max_write_zeroes_sectors = RANGE_SECTORS_MAX,
        .max_write_zeroes_seg = RANGE_SEGMENTS_MAX,
        .write_zeroes_may_unmap = 1,
    };
}

static uint64_t clock_now(void *opaque)
{
    return loop_now_ns();
}

static void set_limits(struct virtio_blk *blk, uint64_t bytes_per_second, uint64_t ops_per_second)
{
    rate_limit_set(&blk->limit,
                   &(struct rate_limit_config){.bytes_per_s = bytes_per_second, .ops_per_s = ops_per_second});
}

int virtio_blk_create(const struct virtio_blk_config *config, struct virtio_device **out)
{
    struct virtio_blk *blk = calloc(1, sizeof(*blk));
    uint64_t features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_TOPOLOGY | F_FLUSH | F_MQ;
    struct blk_request *first;
    int rc;

    if (!blk)
        return -ENOMEM;
    blk->image = config->image;
    blk->writeback = 1;
    features |= block_image_is_read_only(blk->image) ? F_RO : F_CONFIG_WCE | F_DISCARD | F_WRITE_ZEROES;
    if (config->serial)
        memcpy(blk->serial, config->serial, strnlen(config->serial, VIRTIO_BLK_SERIAL_BYTES));
    fill_config(blk, config->queues);
    rate_limit_init(&blk->limit, clock_now, NULL);
    set_limits(blk, config->bytes_per_second, config->ops_per_second);
    first = request_get(blk); /* so that there always is one */
    if (first)
        request_put(blk, first);
    rc = first ? loop_timer_create(config->loop, limit_is_over, blk, &blk->timer) : -ENOMEM;
    if (!rc)
        rc = virtio_init(&blk->dev, &blk_ops, config->mem, config->loop, features, (uint16_t)config->queues,
                         CONFIG_BYTES);
    if (rc) {
        loop_timer_destroy(blk->timer);
        free_requests(blk);
        free(blk);
        return rc;
    }
    pthread_cond_init(&blk->queue_idle, NULL);
    for (unsigned i = 0; i < config->queues; i++)
        blk->dev.queues[i].size_max = QUEUE_SIZE;
    *out = &blk->dev;
    return 0;
}

void virtio_blk_set_limits(struct virtio_device *dev, uint64_t bytes_per_second, uint64_t ops_per_second)
{
    struct virtio_blk *blk = blk_of(dev);

    pthread_mutex_lock(&dev->lock);
    set_limits(blk, bytes_per_second, ops_per_second);
    schedule(blk, &blk->waiting);
    pthread_mutex_unlock(&dev->lock);
}
