/* Asynchronous requests to an image; see block_image.h.
 *
 * A request whose place the node can tell at once (node_map()) goes straight to the engine, as one host call an
 * extent. All others are done by a thread of the pool with the node's synchronous functions. A node wants that nobody
 * else uses a granule (a cluster, or what O_DIRECT aligns to) that such a write changes: the list of requests says who
 * does, and a request that must not run yet stays in it and is looked at again when another one has completed. */
#include "dev/block/block_image.h"

#include "base/loop.h"
#include "dev/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXTENTS_MAX = 16 };

struct block_image {
    struct block_node *node;
    struct engine *engine;
    struct loop *loop;
    uint64_t size_bytes, granule_bytes;

    /* The loop's thread, or that of whoever drains. */
    struct block_request *first, *last;
    unsigned exclusive;   /* requests that are under way and want their granules to themselves */
    unsigned not_started; /* in the list */
    struct engine_op flush;
    bool flushing;
    struct block_image_stats stats;
};

static bool changes(const struct block_request *r)
{
    return r->op != BLOCK_READ && r->op != BLOCK_FLUSH;
}

/* ---- the list ---- */

static void list_add(struct block_image *image, struct block_request *r)
{
    r->state.prev = image->last;
    r->state.next = NULL;
    if (image->last)
        image->last->state.next = r;
    else
        image->first = r;
    image->last = r;
}

static void list_remove(struct block_image *image, struct block_request *r)
{
    if (r->state.prev)
        r->state.prev->state.next = r->state.next;
    else
        image->first = r->state.next;
    if (r->state.next)
        r->state.next->state.prev = r->state.prev;
    else
        image->last = r->state.prev;
}

/* Must `r` wait for another request? `exclusive`: it wants its granules to itself. */
static bool conflicts(const struct block_image *image, const struct block_request *r, bool exclusive)
{
    bool later = false;

    if (!exclusive && !image->exclusive && !image->not_started)
        return false;
    for (const struct block_request *o = image->first; o; o = o->state.next) {
        if (o == r) {
            later = true;
            continue;
        }
        if (o->op == BLOCK_FLUSH || (later && !o->state.started))
            continue;
        if (o->state.first <= r->state.last && r->state.first <= o->state.last && (exclusive || o->state.exclusive))
            return true;
    }
    return false;
}

/* ---- flushes ---- */

static void start_waiting(struct block_image *image);

static void complete(struct block_image *image, struct block_request *r, int result)
{
    list_remove(image, r);
    if (r->state.started && r->state.exclusive)
        image->exclusive--;
    free(r->state.parts);
    r->state.parts = NULL;
    r->complete(r, result);
}

/* The flushes that a host flush which starts now serves: those with no change before them in the list. */
static bool flush_is_ready(const struct block_request *flush)
{
    for (const struct block_request *r = flush->state.prev; r; r = r->state.prev) {
        if (changes(r))
            return false;
    }
    return true;
}

static int flush_job(struct engine_op *op)
{
    struct block_image *image = (struct block_image *)((char *)op - offsetof(struct block_image, flush));

    return node_flush(image->node);
}

static void flush_done(struct engine_op *op, int result)
{
    struct block_image *image = (struct block_image *)((char *)op - offsetof(struct block_image, flush));
    struct block_request *next;
    unsigned served = 0;

    image->flushing = false;
    /* One that completes may submit, at the end of the list; what is submitted now has not started. */
    for (struct block_request *r = image->first; r; r = next) {
        next = r->state.next;
        if (r->op != BLOCK_FLUSH || !r->state.started)
            continue;
        served++;
        complete(image, r, result);
    }
    image->stats.flush_merges += served - 1;
    start_waiting(image);
}

static void flush_start(struct block_image *image)
{
    bool any = false;

    if (image->flushing)
        return;
    for (struct block_request *r = image->first; r && !changes(r); r = r->state.next) {
        if (r->op != BLOCK_FLUSH || r->state.started)
            continue;
        r->state.started = true;
        image->not_started--;
        any = true;
    }
    if (!any)
        return;
    image->flushing = true;
    image->stats.flushes++;
    image->flush = (struct engine_op){.job = flush_job, .done = flush_done};
    engine_start(image->engine, &image->flush);
}

/* ---- the other requests ---- */

static struct block_request *request_of(struct engine_op *op)
{
    return (struct block_request *)((char *)op - offsetof(struct block_request, state.op));
}

static void op_done(struct engine_op *op, int result)
{
    struct block_request *r = request_of(op);
    struct block_image *image = r->state.image;

    complete(image, r, result);
    start_waiting(image);
}

static int slow_job(struct engine_op *op)
{
    struct block_request *r = request_of(op);
    struct block_node *node = r->state.image->node;

    switch (r->op) {
    case BLOCK_READ:
        return node_readv(node, r->iov, r->count, r->offset);
    case BLOCK_WRITE:
        return node_writev(node, r->iov, r->count, r->offset);
    case BLOCK_DISCARD:
        return node_discard(node, r->offset, r->bytes);
    case BLOCK_WRITE_ZEROES:
        return node_zero(node, r->offset, r->bytes, r->may_unmap);
    default:
        return -EINVAL;
    }
}

/* One extent of several. */
struct part {
    struct engine_op op;
    struct block_request *request;
};

static void part_done(struct engine_op *op, int result)
{
    struct part *part = (struct part *)((char *)op - offsetof(struct part, op));
    struct block_request *r = part->request;

    if (result && !r->state.result)
        r->state.result = result;
    if (--r->state.pending == 0)
        op_done(&r->state.op, r->state.result);
}

static void set_op(struct engine_op *op, const struct block_request *r, const struct node_extent *e,
                   const struct iovec *iov, unsigned count)
{
    *op = (struct engine_op){.file = e->file,
                             .iov = iov,
                             .count = count,
                             .write = r->op == BLOCK_WRITE,
                             .eof_is_error = e->eof_is_error,
                             .offset = e->host_offset};
}

/* Returns false when there is no memory. */
static bool start_parts(struct block_image *image, struct block_request *r, const struct node_extent *extents,
                        unsigned n)
{
    struct part *parts = malloc(n * sizeof(*parts) + (r->count + (size_t)n) * sizeof(struct iovec));
    struct iovec *iov = parts ? (struct iovec *)(void *)(parts + n) : NULL; // NOLINT(bugprone-casting-through-void)
    unsigned pending = 0;
    uint64_t at = 0;

    if (!parts)
        return false;
    r->state.parts = parts;
    r->state.result = 0;
    for (unsigned i = 0; i < n; at += extents[i++].bytes) {
        unsigned count = iov_part(r->iov, r->count, at, extents[i].bytes, iov, r->count);

        if (!extents[i].file) {
            iov_zero(iov, count, 0, UINT64_MAX);
            continue;
        }
        set_op(&parts[pending].op, r, &extents[i], iov, count);
        parts[pending].op.done = part_done;
        parts[pending++].request = r;
        iov += count;
    }
    r->state.pending = pending;
    for (unsigned i = 0; i < pending; i++)
        engine_start(image->engine, &parts[i].op);
    if (!pending)
        engine_finish_later(image->engine, &r->state.op, 0);
    return true;
}

static bool extents_are_aligned(const struct block_request *r, const struct node_extent *extents, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!extents[i].file || !extents[i].file->direct)
            continue;
        if (extents[i].bytes % extents[i].file->offset_align ||
            !host_file_is_aligned(extents[i].file, r->iov, r->count, extents[i].host_offset))
            return false;
    }
    return true;
}

/* Starts a request unless it has to wait for another one. */
static bool try_start(struct block_image *image, struct block_request *r)
{
    struct node_extent extents[EXTENTS_MAX];
    unsigned n = 0;

    if (r->op == BLOCK_READ || r->op == BLOCK_WRITE)
        n = node_map(image->node, r->op == BLOCK_WRITE, r->offset, iov_bytes(r->iov, r->count), extents, EXTENTS_MAX);
    if (n && !extents_are_aligned(r, extents, n))
        n = 0;
    r->state.exclusive = !n && changes(r);
    if (conflicts(image, r, r->state.exclusive))
        return false;
    r->state.started = true;
    image->not_started--;
    image->exclusive += r->state.exclusive;
    r->state.op = (struct engine_op){.job = slow_job, .done = op_done};
    if (n == 1 && extents[0].file) {
        set_op(&r->state.op, r, &extents[0], r->iov, r->count);
        r->state.op.done = op_done;
        engine_start(image->engine, &r->state.op);
        image->stats.direct++;
    } else if (n && start_parts(image, r, extents, n)) {
        image->stats.direct++;
    } else {
        /* Without memory for parts also a write in place comes here: nothing is allocated then either. */
        engine_start(image->engine, &r->state.op);
        image->stats.slow++;
    }
    return true;
}

static void start_waiting(struct block_image *image)
{
    struct block_request *next;

    if (!image->not_started)
        return;
    for (struct block_request *r = image->first; r && image->not_started; r = next) {
        next = r->state.next;
        if (r->op != BLOCK_FLUSH && !r->state.started)
            (void)try_start(image, r);
    }
    flush_start(image);
}

/* Requests that are wrong complete like others, in the engine's turn. */
static int check(const struct block_image *image, const struct block_request *r, uint64_t bytes)
{
    if (r->op == BLOCK_FLUSH)
        return 0;
    if (changes(r) && !node_is_writable(image->node))
        return -EROFS;
    return r->offset > image->size_bytes || bytes > image->size_bytes - r->offset ? -EINVAL : 0;
}

void block_image_submit(struct block_image *image, struct block_request *r)
{
    bool has_iov = r->op == BLOCK_READ || r->op == BLOCK_WRITE;
    uint64_t bytes = has_iov ? iov_bytes(r->iov, r->count) : r->op == BLOCK_FLUSH ? 0 : r->bytes;
    int rc = check(image, r, bytes);

    memset(&r->state, 0, sizeof(r->state));
    r->state.image = image;
    list_add(image, r);
    image->not_started++;
    if (r->op == BLOCK_FLUSH) {
        if (!image->flushing && flush_is_ready(r))
            flush_start(image);
        return;
    }
    r->state.first = r->offset / image->granule_bytes;
    r->state.last = bytes ? (r->offset + bytes - 1) / image->granule_bytes : r->state.first;
    if (rc || !bytes) {
        r->state.started = true;
        image->not_started--;
        r->state.op.done = op_done;
        engine_finish_later(image->engine, &r->state.op, rc);
        return;
    }
    if (!try_start(image, r))
        image->stats.waited++;
}

void block_image_kick(struct block_image *image)
{
    engine_kick(image->engine);
}

void block_image_kick_and_poll(struct block_image *image)
{
    engine_kick_and_poll(image->engine);
}

void block_image_drain(struct block_image *image)
{
    /* This thread takes the loop's place, whether that runs or not. */
    engine_detach(image->engine);
    while (image->first)
        engine_wait(image->engine);
    engine_attach(image->engine, image->loop);
}

/* ---- opening and closing ---- */

static int open_node(const char *path, const struct block_image_options *options, struct block_node **out,
                     struct error *err)
{
    const struct node_options node_options = {.format = options->format,
                                              .writable = !options->read_only && !options->snapshot,
                                              .direct = options->direct,
                                              .at = options->at};
    struct block_node *base;
    int rc = node_open(path, &node_options, &base, err);

    if (!rc && options->snapshot)
        rc = node_open_snapshot(base, &base, err);
    if (!rc)
        *out = base;
    return rc;
}

int block_image_open(const char *path, const struct block_image_options *options, struct loop *loop,
                     struct block_image **out, struct error *err)
{
    struct block_image *image = calloc(1, sizeof(*image));
    int rc;

    if (!image)
        return error_set(err, -ENOMEM, "%s: no memory", path);
    rc = open_node(path, options, &image->node, err);
    if (rc) {
        free(image);
        return rc;
    }
    rc = engine_create(loop, options->engine, &image->engine);
    if (rc) {
        (void)node_close(image->node);
        free(image);
        return error_set(err, rc, "%s: asynchronous I/O cannot be had: %s", path, strerror(-rc));
    }
    image->loop = loop;
    image->size_bytes = node_size(image->node);
    image->granule_bytes = node_granule_bytes(image->node);
    *out = image;
    return 0;
}

int block_image_close(struct block_image *image)
{
    int rc;

    if (!image)
        return 0;
    engine_detach(image->engine);
    while (image->first)
        engine_wait(image->engine);
    engine_destroy(image->engine);
    rc = node_close(image->node);
    free(image);
    return rc;
}

/* ---- properties ---- */

uint64_t block_image_size(const struct block_image *image)
{
    return image->size_bytes;
}

bool block_image_is_read_only(const struct block_image *image)
{
    return !node_is_writable(image->node);
}

uint32_t block_image_block_bytes(const struct block_image *image)
{
    return node_block_bytes(image->node);
}

uint64_t block_image_cluster_bytes(const struct block_image *image)
{
    return node_granule_bytes(image->node);
}

const char *block_image_engine(const struct block_image *image)
{
    return engine_name(image->engine);
}

struct block_node *block_image_node(struct block_image *image)
{
    return image->node;
}

struct block_image_stats block_image_stats(const struct block_image *image)
{
    return image->stats;
}
