/* A disk image as its format has it (raw, qcow2), with what lies under it (backing images), read and written
 * synchronously. block_image.h puts asynchronous requests on top; `tuff image` uses this directly.
 *
 * A node's size is rounded up to sectors of 512 bytes: what a shorter file lacks reads as zero. Any thread may call the
 * I/O functions, several at a time, and all of them block but node_map(). Two calls that run at the same time must not
 * touch the same granule (`granule_bytes`) of the disk if one of them changes it, but for writes that node_map()
 * described: block_image.c sees to that.
 *
 * Formats: "auto" never believes the contents alone, for a guest could write the header of another format to its raw
 * disk and have the next run read whatever that names as its backing file. A file is taken for qcow2 when its name says
 * so and for raw when it does not, and one whose name and contents disagree is refused until somebody says
 * which it is. The same holds for backing files, but for those whose format the image above records.
 */
#ifndef TUFF_DEV_BLOCK_NODE_H
#define TUFF_DEV_BLOCK_NODE_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

enum { BLOCK_SECTOR_BYTES = 512, BLOCK_CHAIN_MAX = 32, BLOCK_PATH_BYTES = 4096 };

enum block_format { BLOCK_FORMAT_AUTO, BLOCK_FORMAT_RAW, BLOCK_FORMAT_QCOW2, BLOCK_FORMAT_COUNT };

/* "auto", "raw", "qcow2". */
const char *block_format_name(enum block_format format);
/* Returns 0 or -EINVAL. */
TUFF_MUST_CHECK int block_format_parse(const char *name, enum block_format *out);

struct block_node;
struct host_file;

struct node_options {
    enum block_format format;
    bool writable;
    bool direct;     /* O_DIRECT for the image and its backing images */
    bool no_lock;    /* read what a virtual machine may be writing */
    bool no_backing; /* do not open the backing image: for node_info() and node_check() */
    bool check_only; /* open damaged images too: for node_check() */
    bool may_repair; /* with check_only: node_check() may write */
    const char *at;  /* the disk as it was at this internal snapshot, not `writable`; NULL: as it is */
};

/* Opens an image and its backing images. Returns 0, or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int node_open(const char *path, const struct node_options *options, struct block_node **out,
                              struct error *err);
/* A node for what is written to be thrown away: a temporary image over `base` (taken over, also on failure). */
TUFF_MUST_CHECK int node_open_snapshot(struct block_node *base, struct block_node **out, struct error *err);
/* Writes out what is held back, frees. Returns the first error of that writing, or 0. NULL is allowed. */
int node_close(struct block_node *node);

/* Part of a request on the host's file. */
struct node_extent {
    struct host_file *file; /* NULL: reads as zero */
    uint64_t host_offset;
    uint64_t bytes;
    bool eof_is_error; /* a file that ends inside was truncated behind our back */
};

/* Where [offset, offset + bytes) lies, if nothing has to be allocated, loaded, decompressed or waited for and at most
 * `max` extents describe it: returns their number, else 0. */
unsigned node_map(struct block_node *node, bool write, uint64_t offset, uint64_t bytes, struct node_extent *out,
                  unsigned max);

/* Ranges lie inside the disk. Each returns 0 or a negative errno; a write that failed may be written in part, and
 * nothing outside its range has changed. node_discard(): the contents are undefined afterwards but are the disk's own
 * old ones or zeroes, never a backing image's. */
TUFF_MUST_CHECK int node_readv(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset);
TUFF_MUST_CHECK int node_writev(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset);
TUFF_MUST_CHECK int node_discard(struct block_node *node, uint64_t offset, uint64_t bytes);
TUFF_MUST_CHECK int node_zero(struct block_node *node, uint64_t offset, uint64_t bytes, bool may_unmap);
/* What was completed before the call is durable when it returns 0. */
TUFF_MUST_CHECK int node_flush(struct block_node *node);
TUFF_MUST_CHECK int node_read(struct block_node *node, void *buf, size_t bytes, uint64_t offset);
TUFF_MUST_CHECK int node_write(struct block_node *node, const void *buf, size_t bytes, uint64_t offset);

/* How many bytes from `offset` on (up to `bytes`) are alike in this: known to read as zero, or not. Returns 0 or a
 * negative errno. */
TUFF_MUST_CHECK int node_status(struct block_node *node, uint64_t offset, uint64_t bytes, uint64_t *alike, bool *zero);

/* Properties. */
enum block_format node_format(const struct block_node *node);
uint64_t node_size(const struct block_node *node); /* a multiple of BLOCK_SECTOR_BYTES */
bool node_is_writable(const struct block_node *node);
uint64_t node_granule_bytes(const struct block_node *node);
uint32_t node_block_bytes(const struct block_node *node); /* what I/O is best aligned to: 512, or more for O_DIRECT */
struct host_file *node_file(struct block_node *node);

/* For people: lines about the image and its backing file's name. */
void node_info(struct block_node *node, FILE *out);

/* What node_check() found. A leak is space nobody uses; corruptions mean that data is or will be lost. */
struct node_check {
    uint64_t corruptions, leaks;
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t clusters, allocated, compressed; /* of the disk */
};
/* Looks for contradictions in an image's tables (raw images have none: -ENOTSUP); with `repair` makes the reference
 * counts right. The first findings are described on `out` (NULL: not at all). Nobody uses the node meanwhile. */
TUFF_MUST_CHECK int node_check(struct block_node *node, bool repair, FILE *out, struct node_check *result,
                               struct error *err);

/* Internal snapshots: what the disk has now stays readable under a name (node_options.at) in the same file, and what is
 * written afterwards goes elsewhere. Nobody uses the node meanwhile. The image is sound whenever the process is killed:
 * the snapshot is there or not, and at worst space is lost. What was written before is durable when making one returns
 * 0. Return 0, or a negative errno with a line in `err`: -ENOTSUP (raw images), -EROFS, -EEXIST or -ENOENT, -EOVERFLOW
 * (reference counts of too few bits), -EUCLEAN (damaged), ... */
enum { NODE_SNAPSHOT_NAME_MAX = 127 };
TUFF_MUST_CHECK int node_snapshot_create(struct block_node *node, const char *name, struct error *err);
TUFF_MUST_CHECK int node_snapshot_delete(struct block_node *node, const char *name, struct error *err);

/* A new image, in a file that is not there yet. */
struct node_create {
    enum block_format format; /* not AUTO */
    uint64_t size_bytes;      /* 0: the backing image's */
    const char *backing;      /* NULL: none; as it is to be recorded: relative to the new image's directory */
    enum block_format backing_format;
    uint32_t cluster_bytes; /* qcow2, 0: 64 KiB */
    unsigned version;       /* qcow2: 2 or 3; 0: 3 */
    bool lazy_refcounts;
};
TUFF_MUST_CHECK int node_create(const char *path, const struct node_create *create, struct error *err);

#endif
