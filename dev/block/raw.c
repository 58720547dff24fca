/* Raw images: the file is the disk. */
#include "dev/block/node_internal.h"

#include "dev/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Where the file has to reach: the rest of the last sector is not there and reads as zero. */
static uint64_t must_reach(const struct block_node *node)
{
    return node->file->size_bytes;
}

static unsigned raw_map(struct block_node *node, bool write, uint64_t offset, uint64_t bytes, struct node_extent *out,
                        unsigned max)
{
    *out = (struct node_extent){.file = node->file,
                                .host_offset = offset,
                                .bytes = bytes,
                                .eof_is_error = write || offset + bytes <= must_reach(node)};
    /* The last sector of a file that is no multiple of one is for raw_readv(), which knows how much may be missing. */
    return out->eof_is_error && max ? 1 : 0;
}

static int raw_readv(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset)
{
    uint64_t bytes = iov_bytes(iov, count), end = offset + bytes, must = must_reach(node);
    ssize_t n = host_file_readv(node->file, iov, count, offset);

    if (n < 0)
        return (int)n;
    if ((uint64_t)n < bytes && offset + (uint64_t)n < (end < must ? end : must))
        return -EIO; /* somebody has truncated it */
    iov_zero(iov, count, (uint64_t)n, UINT64_MAX);
    return 0;
}

static int raw_writev(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset)
{
    return host_file_writev(node->file, iov, count, offset);
}

static int raw_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    host_file_discard(node->file, offset, bytes);
    return 0;
}

static int raw_zero(struct block_node *node, uint64_t offset, uint64_t bytes, bool may_unmap)
{
    return host_file_zero(node->file, offset, bytes, may_unmap);
}

static int raw_flush(struct block_node *node)
{
    return host_file_sync(node->file);
}

static int raw_status(struct block_node *node, uint64_t offset, uint64_t bytes, uint64_t *alike, bool *zero)
{
    off_t data = lseek(node->file->fd, (off_t)offset, SEEK_DATA), end;

    *alike = bytes;
    *zero = false;
    if (data < 0) {
        *zero = errno == ENXIO && !node->file->block_device; /* nothing but a hole up to the end */
        return 0;                                            /* or the file system does not say */
    }
    if ((uint64_t)data > offset) {
        *zero = true;
        end = data;
    } else {
        end = lseek(node->file->fd, (off_t)offset, SEEK_HOLE);
    }
    if (end > 0 && (uint64_t)end - offset < bytes)
        *alike = (uint64_t)end - offset;
    return 0;
}

static int raw_close(struct block_node *node)
{
    int rc = host_file_sync(node->file);

    free(node);
    return rc;
}

static const struct node_ops raw_ops = {
    .format = BLOCK_FORMAT_RAW,
    .map = raw_map,
    .readv = raw_readv,
    .writev = raw_writev,
    .discard = raw_discard,
    .zero = raw_zero,
    .flush = raw_flush,
    .status = raw_status,
    .close = raw_close,
};

int raw_open(struct host_file *file, bool writable, struct block_node **out)
{
    struct block_node *node = calloc(1, sizeof(*node));

    if (!node)
        return -ENOMEM;
    *node = (struct block_node){.ops = &raw_ops,
                                .file = file,
                                .size_bytes = round_up_u64(file->size_bytes, BLOCK_SECTOR_BYTES),
                                .granule_bytes =
                                    file->offset_align > BLOCK_SECTOR_BYTES ? file->offset_align : BLOCK_SECTOR_BYTES,
                                .writable = writable};
    *out = node;
    return 0;
}
