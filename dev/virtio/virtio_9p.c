/* The 9P device; see virtio_9p.h.
 *
 * Requests are taken from the ring on the loop's thread and handled by WORKERS threads, without the device's lock, as
 * calls on the host's files may take as long as they want. There are REQUESTS_MAX of them at most; while all are under
 * way nothing is taken. A worker takes the lock to give the chain back.
 *
 * A Tflush is answered after the request that it is about (by its tag), if that is still under way. So it is not handed
 * to a worker then but hangs on that request.
 */
#include "dev/virtio/virtio_9p.h"

#include "base/log.h"
#include "base/sandbox.h"
#include "dev/iov.h"
#include "dev/share/p9_wire.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>

enum {
    DEVICE_ID = 9,
    QUEUE_SIZE = 128,
    FEATURE_TAG = 1,
    WORKERS = 4,
    REQUESTS_MAX = 64,
};

struct request {
    struct request *next;
    struct request *flushes; /* that wait for this one */
    uint16_t tag;
    struct virtq_chain chain;
};

struct virtio_9p {
    struct virtio_device dev;
    struct p9_server *server;
    char tag[VIRTIO_9P_TAG_BYTES];
    struct p9_saved saved; /* between columns_save() and columns_done(), columns_load() and post_restore() */

    /* Under the device's lock. */
    pthread_cond_t work, idle;
    struct request *queue, **queue_tail; /* for workers */
    struct request *running;             /* a worker's, or waiting for one */
    struct request *spare;
    unsigned under_way;
    bool ending;
    bool starved; /* chains are left in the ring for want of requests */
    pthread_t workers[WORKERS];
    unsigned worker_count;
};

/* ---- requests ---- */

static struct request *request_new(struct virtio_9p *p9)
{
    struct request *request = p9->spare;

    if (request)
        p9->spare = request->next;
    else
        request = malloc(sizeof(*request));
    return request;
}

static void unlist(struct request **list, struct request *request)
{
    while (*list != request)
        list = &(*list)->next;
    *list = request->next;
}

static int64_t handle(struct virtio_9p *p9, const struct virtq_chain *chain)
{
    struct p9_buffers in = {virtq_readable(chain), chain->readable_count, (size_t)chain->readable_bytes};
    struct p9_buffers out = {virtq_writable(chain), chain->writable_count, (size_t)chain->writable_bytes};

    return p9_server_handle(p9->server, &in, &out);
}

/* With the lock held: gives the chain back and the request to those for reuse. */
static void complete(struct virtio_9p *p9, struct request *request, int64_t len)
{
    if (len < 0)
        virtio_fail(&p9->dev, "a 9P message is none, or there is no room for its reply");
    else
        virtio_push(&p9->dev, 0, &request->chain, (uint32_t)len);
    request->next = p9->spare;
    p9->spare = request;
    p9->under_way--;
}

/* With the lock held. Answers to flushes touch no file. */
static void complete_with_flushes(struct virtio_9p *p9, struct request *request, int64_t len)
{
    struct request *flush = request->flushes;

    unlist(&p9->running, request);
    complete(p9, request, len);
    while (flush) {
        struct request *next = flush->next;
        complete(p9, flush, handle(p9, &flush->chain));
        flush = next;
    }
    if (p9->starved) {
        p9->starved = false;
        virtio_schedule(&p9->dev, 0);
    }
    if (!p9->under_way)
        pthread_cond_broadcast(&p9->idle);
}

static void *worker(void *opaque)
{
    struct virtio_9p *p9 = opaque;

    pthread_setname_np(pthread_self(), "tuff-9p");
    sandbox_enter(SANDBOX_SHARE);
    pthread_mutex_lock(&p9->dev.lock);
    for (;;) {
        struct request *request = p9->queue;
        if (request) {
            p9->queue = request->next;
            if (!p9->queue)
                p9->queue_tail = &p9->queue;
            request->next = p9->running;
            p9->running = request;
            pthread_mutex_unlock(&p9->dev.lock);
            int64_t len = handle(p9, &request->chain);
            pthread_mutex_lock(&p9->dev.lock);
            complete_with_flushes(p9, request, len);
        } else if (p9->ending) {
            break;
        } else {
            pthread_cond_wait(&p9->work, &p9->dev.lock);
        }
    }
    pthread_mutex_unlock(&p9->dev.lock);
    return NULL;
}

/* ---- taking requests from the ring ---- */

static struct request *find_tag(struct request *list, uint16_t tag)
{
    while (list && list->tag != tag)
        list = list->next;
    return list;
}

/* A flush's request that is under way, or NULL. */
static struct request *flushed(const struct virtio_9p *p9, const struct virtq_chain *chain)
{
    uint8_t bytes[P9_HEADER_BYTES + 2];
    uint16_t tag;

    if (iov_to_buf(virtq_readable(chain), chain->readable_count, 0, bytes, sizeof(bytes)) < sizeof(bytes) ||
        bytes[4] != P9_TFLUSH)
        return NULL;
    memcpy(&tag, bytes + P9_HEADER_BYTES, sizeof(tag));
    struct request *request = find_tag(p9->running, tag);
    return request ? request : find_tag(p9->queue, tag);
}

static void start_request(struct virtio_9p *p9, struct request *request)
{
    struct request *other = flushed(p9, &request->chain);

    request->tag = 0xffff;
    request->flushes = NULL;
    iov_to_buf(virtq_readable(&request->chain), request->chain.readable_count, 5, &request->tag, sizeof(request->tag));
    p9->under_way++;
    if (other) {
        request->next = other->flushes;
        other->flushes = request;
        return;
    }
    request->next = NULL;
    *p9->queue_tail = request;
    p9->queue_tail = &request->next;
    pthread_cond_signal(&p9->work);
}

static bool virtio_9p_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_9p *p9 = (struct virtio_9p *)dev;

    for (unsigned count = 0; count < VIRTIO_TURN_CHAINS; count++) {
        struct request *request = p9->under_way < REQUESTS_MAX ? request_new(p9) : NULL;
        if (!request) {
            p9->starved = p9->under_way != 0;
            return !p9->starved; /* no memory, and nobody to give any back: later */
        }
        if (!virtio_pop(dev, queue, &request->chain)) {
            request->next = p9->spare;
            p9->spare = request;
            return false;
        }
        start_request(p9, request);
    }
    return true;
}

/* ---- standing still, starting again ---- */

static void virtio_9p_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_9p *p9 = (struct virtio_9p *)dev;

    pthread_mutex_lock(&dev->lock);
    while (p9->under_way)
        pthread_cond_wait(&p9->idle, &dev->lock);
    pthread_mutex_unlock(&dev->lock);
}

static void virtio_9p_settle(struct virtio_device *dev)
{
    virtio_9p_drain(dev, UINT_MAX);
}

static void virtio_9p_reset(struct virtio_device *dev)
{
    p9_server_reset(((struct virtio_9p *)dev)->server);
}

/* ---- the session in a snapshot ---- */

/* In the order of their names, as they come back. */
enum { FLAGS, IDS, INODES, MSIZE, PATH_ENDS, PATHS, UIDS, COLUMNS };

static const struct device_column columns[COLUMNS] = {
    [FLAGS] = {.name = "flags", .element_bytes = 4},         [IDS] = {.name = "ids", .element_bytes = 4},
    [INODES] = {.name = "inodes", .element_bytes = 8},       [MSIZE] = {.name = "msize", .element_bytes = 4},
    [PATH_ENDS] = {.name = "path_ends", .element_bytes = 4}, [PATHS] = {.name = "paths", .element_bytes = 1},
    [UIDS] = {.name = "uids", .element_bytes = 4},
};

static int virtio_9p_columns_save(struct virtio_device *dev, struct device_columns *out)
{
    struct virtio_9p *p9 = (struct virtio_9p *)dev;
    struct p9_saved *saved = &p9->saved;
    int rc = p9_server_save(p9->server, saved);
    const void *values[COLUMNS] = {
        [FLAGS] = saved->flags,         [IDS] = saved->ids,     [INODES] = saved->inodes, [MSIZE] = &saved->msize,
        [PATH_ENDS] = saved->path_ends, [PATHS] = saved->paths, [UIDS] = saved->uids,
    };

    if (rc)
        return rc;
    *out = (struct device_columns){.name = dev->ops->columns_name, .version = 1, .count = COLUMNS};
    for (unsigned i = 0; i < COLUMNS; i++) {
        out->list[i] = columns[i];
        out->list[i].count = saved->count;
        out->list[i].value = values[i];
    }
    out->list[PATHS].count = saved->count ? saved->path_ends[saved->count - 1] : 0;
    out->list[MSIZE].count = 1;
    return 0;
}

static void virtio_9p_columns_done(struct virtio_device *dev)
{
    p9_saved_free(&((struct virtio_9p *)dev)->saved);
}

/* A copy of a column, or NULL without memory. */
static void *copy_column(const struct device_column *column)
{
    size_t bytes = (size_t)column->element_bytes * column->count;
    void *copy = malloc(bytes + 1);

    if (copy && bytes)
        memcpy(copy, column->value, bytes);
    return copy;
}

static bool columns_agree(const struct device_columns *in)
{
    uint32_t count = in->list[IDS].count, end = 0;

    if (in->version != 1 || in->count != COLUMNS || in->list[MSIZE].count != 1)
        return false;
    for (unsigned i = 0; i < COLUMNS; i++) {
        if (strcmp(in->list[i].name, columns[i].name) != 0 || in->list[i].element_bytes != columns[i].element_bytes ||
            (i != PATHS && i != MSIZE && in->list[i].count != count))
            return false;
    }
    for (uint32_t n = 0; n < count; n++) {
        uint32_t next;
        memcpy(&next, (const uint8_t *)in->list[PATH_ENDS].value + n * sizeof(next), sizeof(next));
        if (next < end)
            return false;
        end = next;
    }
    return end == in->list[PATHS].count;
}

static int virtio_9p_columns_load(struct virtio_device *dev, const struct device_columns *in)
{
    struct p9_saved *saved = &((struct virtio_9p *)dev)->saved;

    if (!columns_agree(in))
        return -EINVAL;
    p9_saved_free(saved);
    saved->ids = copy_column(&in->list[IDS]);
    saved->uids = copy_column(&in->list[UIDS]);
    saved->flags = copy_column(&in->list[FLAGS]);
    saved->path_ends = copy_column(&in->list[PATH_ENDS]);
    saved->inodes = copy_column(&in->list[INODES]);
    saved->paths = copy_column(&in->list[PATHS]);
    if (!saved->ids || !saved->uids || !saved->flags || !saved->path_ends || !saved->inodes || !saved->paths)
        return -ENOMEM;
    memcpy(&saved->msize, in->list[MSIZE].value, sizeof(saved->msize));
    saved->count = in->list[IDS].count;
    return 0;
}

static void virtio_9p_post_restore(struct virtio_device *dev)
{
    struct virtio_9p *p9 = (struct virtio_9p *)dev;
    unsigned lost = p9->saved.count ? p9_server_load(p9->server, &p9->saved) : 0;

    if (lost)
        log_warn(LOG_DEV, "virtio-9p, '%s': %u of %u files that the guest had are not there any more, or are others",
                 p9->tag, lost, p9->saved.count);
    p9_saved_free(&p9->saved);
}

/* ---- the device ---- */

static void virtio_9p_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const struct virtio_9p *p9 = (const struct virtio_9p *)dev;
    uint8_t config[2 + VIRTIO_9P_TAG_BYTES] = {0};
    uint16_t tag_len = (uint16_t)strlen(p9->tag);

    memcpy(config, &tag_len, sizeof(tag_len));
    memcpy(config + 2, p9->tag, tag_len);
    memcpy(bytes, config + offset, len);
}

static void virtio_9p_destroy(struct virtio_device *dev)
{
    struct virtio_9p *p9 = (struct virtio_9p *)dev;

    pthread_mutex_lock(&dev->lock);
    p9->ending = true;
    pthread_cond_broadcast(&p9->work);
    pthread_mutex_unlock(&dev->lock);
    for (unsigned i = 0; i < p9->worker_count; i++)
        pthread_join(p9->workers[i], NULL);
    while (p9->spare) {
        struct request *request = p9->spare;
        p9->spare = request->next;
        free(request);
    }
    p9_server_destroy(p9->server);
    p9_saved_free(&p9->saved);
    pthread_cond_destroy(&p9->work);
    pthread_cond_destroy(&p9->idle);
    virtio_fini(dev);
    free(p9);
}

static void virtio_9p_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                            void *opaque)
{
    struct p9_stats stats;

    p9_server_stats(((struct virtio_9p *)dev)->server, &stats);
    fn(opaque, "requests", stats.requests);
    fn(opaque, "errors", stats.errors);
    fn(opaque, "read_bytes", stats.read_bytes);
    fn(opaque, "written_bytes", stats.written_bytes);
    fn(opaque, "fids", stats.fids);
}

static const struct virtio_ops virtio_9p_ops = {
    .name = "virtio-9p",
    .device_id = DEVICE_ID,
    .pci_class = 0x018000,
    .state_version = 1,
    .config_read = virtio_9p_config_read,
    .process = virtio_9p_process,
    .drain = virtio_9p_drain,
    .settle = virtio_9p_settle,
    .reset = virtio_9p_reset,
    .post_restore = virtio_9p_post_restore,
    .columns_name = "virtio-9p-fids",
    .columns_save = virtio_9p_columns_save,
    .columns_done = virtio_9p_columns_done,
    .columns_load = virtio_9p_columns_load,
    .destroy = virtio_9p_destroy,
    .stats = virtio_9p_stats,
};

/* Threads that take no signals: those are the command's. */
static int start_workers(struct virtio_9p *p9)
{
    sigset_t all, before;
    int rc = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; p9->worker_count < WORKERS && !rc; p9->worker_count += rc == 0)
        rc = pthread_create(&p9->workers[p9->worker_count], NULL, worker, p9);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

int virtio_9p_create(const struct virtio_9p_config *config, struct virtio_device **out, struct error *err)
{
    size_t tag_len = strlen(config->tag);
    struct virtio_9p *p9;

    if (tag_len == 0 || tag_len >= VIRTIO_9P_TAG_BYTES)
        return error_set(err, -EINVAL, "'%s' cannot be a share's tag: it has 1 to %d bytes", config->tag,
                         VIRTIO_9P_TAG_BYTES - 1);
    p9 = calloc(1, sizeof(*p9));
    if (!p9)
        return error_set(err, -ENOMEM, "no memory to share '%s'", config->share.path);
    strcpy(p9->tag, config->tag);
    p9->queue_tail = &p9->queue;
    int rc = virtio_init(&p9->dev, &virtio_9p_ops, config->mem, config->loop, FEATURE_TAG, 1, 2 + (uint32_t)tag_len);
    if (rc) {
        free(p9);
        return error_set(err, rc, "'%s' cannot be shared: %s", config->share.path, strerror(-rc));
    }
    p9->dev.queues[0].size_max = QUEUE_SIZE;
    pthread_cond_init(&p9->work, NULL);
    pthread_cond_init(&p9->idle, NULL);
    rc = p9_server_create(&config->share, &p9->server, err);
    if (rc == 0) {
        rc = start_workers(p9);
        if (rc)
            error_set(err, rc, "'%s' cannot be shared: %s", config->share.path, strerror(-rc));
    }
    if (rc) {
        virtio_9p_destroy(&p9->dev);
        return rc;
    }
    *out = &p9->dev;
    return 0;
}
