/* What a format implements; see node.h for the contracts. */
#ifndef TUFF_DEV_BLOCK_NODE_INTERNAL_H
#define TUFF_DEV_BLOCK_NODE_INTERNAL_H

#include "dev/block/host_file.h"
#include "dev/block/node.h"

struct node_ops {
    enum block_format format;
    unsigned (*map)(struct block_node *node, bool write, uint64_t offset, uint64_t bytes, struct node_extent *out,
                    unsigned max);
    int (*readv)(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset);
    int (*writev)(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset);
    int (*discard)(struct block_node *node, uint64_t offset, uint64_t bytes);
    int (*zero)(struct block_node *node, uint64_t offset, uint64_t bytes, bool may_unmap);
    int (*flush)(struct block_node *node);
    int (*status)(struct block_node *node, uint64_t offset, uint64_t bytes, uint64_t *alike, bool *zero);
    void (*info)(struct block_node *node, FILE *out);
    int (*check)(struct block_node *node, bool repair, FILE *out, struct node_check *result, struct error *err);
    int (*snapshot_create)(struct block_node *node, const char *name, struct error *err); /* NULL: has none */
    int (*snapshot_delete)(struct block_node *node, const char *name, struct error *err);
    int (*close)(struct block_node *node); /* frees the node, not its file and backing node */
};

/* First member of each format's struct. */
struct block_node {
    const struct node_ops *ops;
    struct host_file *file;     /* owned */
    struct block_node *backing; /* owned; NULL: none */
    uint64_t size_bytes;
    uint64_t granule_bytes;
    bool writable;
};

/* Opens the format on a file, which stays the caller's if that fails. `backing_path` (BLOCK_PATH_BYTES) and
 * `backing_format` get what is recorded, an empty string for none. */
TUFF_MUST_CHECK int raw_open(struct host_file *file, bool writable, struct block_node **out);
TUFF_MUST_CHECK int qcow2_open(struct host_file *file, const char *name, const struct node_options *options,
                               struct block_node **out, char *backing_path, enum block_format *backing_format,
                               struct error *err);
/* Writes an empty image into an empty file. */
TUFF_MUST_CHECK int qcow2_create(struct host_file *file, const struct node_create *create, struct error *err);

/* Does the file begin as a qcow2 image does? Returns 1, 0 or a negative errno. */
TUFF_MUST_CHECK int qcow2_probe(struct host_file *file);

static inline uint64_t round_up_u64(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

#endif
