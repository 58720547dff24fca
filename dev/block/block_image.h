/* A disk image with asynchronous requests: what a block device of a machine stands on.
 *
 * Requests are submitted and completed on the thread of the image's loop (or completed by who drains). A request's
 * buffers go to the host's calls as they are, without a copy (but where O_DIRECT wants an alignment they do not have,
 * or a cluster is compressed).
 *
 * Order: requests that are under way at the same time may be done in any order. A flush covers every write, discard and
 * write-zeroes that was submitted before it: it waits for those that are under way and completes when all of them are
 * durable, also if the process is killed or the host dies afterwards. When making durable has failed once, each later
 * flush fails too, as nobody knows what was lost.
 */
#ifndef TUFF_DEV_BLOCK_BLOCK_IMAGE_H
#define TUFF_DEV_BLOCK_BLOCK_IMAGE_H

#include "base/compiler.h"
#include "base/error.h"
#include "dev/block/engine.h"
#include "dev/block/node.h"

struct loop;
struct block_image;

struct block_image_options {
    enum block_format format;
    bool read_only;
    bool snapshot;  /* what is written goes to a temporary file and is thrown away */
    const char *at; /* as it was at this internal snapshot, with `read_only` or `snapshot`; NULL: as it is */
    bool direct;    /* O_DIRECT: past the host's page cache */
    enum engine_kind engine;
};

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_request;

/* Parts of a request that the image keeps. */
struct block_request_state {
    struct block_request *prev, *next; /* in the order of submission */
    struct block_image *image;
    struct engine_op op;
    void *parts; /* more than one extent */
    unsigned pending;
    int result;
    bool started, exclusive;
    uint64_t first, last; /* granules */
};

/* Owned by the caller; it and its iovecs stay as they are until complete() is called, which may free or reuse it. */
struct block_request {
    enum block_op op;
    uint64_t offset;         /* bytes; READ and WRITE: the length is that of the iovecs */
    uint64_t bytes;          /* DISCARD, WRITE_ZEROES */
    const struct iovec *iov; /* READ, WRITE */
    unsigned count;
    bool may_unmap; /* WRITE_ZEROES: the space may be given back */
    /* `result`: 0 or a negative errno (-EINVAL: beyond the end; -EROFS; -ENOSPC, -EIO, .. of the host). Never called
     * from within block_image_submit(). May submit. */
    void (*complete)(struct block_request *request, int result);
    void *opaque;

    struct block_request_state state;
};

struct block_image_stats {
    uint64_t direct;       /* requests that went straight to the host's file */
    uint64_t slow;         /* that needed tables, space or another thread */
    uint64_t waited;       /* that waited for another request to the same place */
    uint64_t flushes;      /* of the host's file */
    uint64_t flush_merges; /* flushes that shared one with others */
};

/* Opens the image and its backing images. Any thread. Returns 0, or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int block_image_open(const char *path, const struct block_image_options *options, struct loop *loop,
                                     struct block_image **out, struct error *err);
/* Waits for what is under way (complete() is called, on this thread), writes out tables, closes. On the loop's thread,
 * or when nobody submits any more. Returns what writing out failed with, or 0. NULL is allowed. */
int block_image_close(struct block_image *image);

/* On the loop's thread. block_image_kick() after one or more: without it nothing may happen. */
void block_image_submit(struct block_image *image, struct block_request *request);
void block_image_kick(struct block_image *image);
/* The same, and completes what is done already, from within the call. */
void block_image_kick_and_poll(struct block_image *image);
/* Returns when no request is under way; completes them on this thread, and may do so while the loop does not run. Any
 * thread, with nobody submitting meanwhile but complete() functions, from none of which it is called. */
void block_image_drain(struct block_image *image);

uint64_t block_image_size(const struct block_image *image); /* bytes, a multiple of 512 */
bool block_image_is_read_only(const struct block_image *image);
uint32_t block_image_block_bytes(const struct block_image *image);   /* requests are best aligned to this */
uint64_t block_image_cluster_bytes(const struct block_image *image); /* space is taken and given back in these */
const char *block_image_engine(const struct block_image *image);
struct block_node *block_image_node(struct block_image *image); /* its top layer; borrowed */
/* On the loop's thread, or when it does not run. */
struct block_image_stats block_image_stats(const struct block_image *image);

#endif
