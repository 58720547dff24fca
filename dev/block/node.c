/* Opening images with what lies under them, and passing calls on; see node.h. */
#include "dev/block/node.h"

#include "dev/block/node_internal.h"
#include "dev/iov.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const format_names[BLOCK_FORMAT_COUNT] = {
    [BLOCK_FORMAT_AUTO] = "auto", [BLOCK_FORMAT_RAW] = "raw", [BLOCK_FORMAT_QCOW2] = "qcow2"};

const char *block_format_name(enum block_format format)
{
    return format_names[format];
}

int block_format_parse(const char *name, enum block_format *out)
{
    for (size_t i = 0; i < BLOCK_FORMAT_COUNT; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *out = (enum block_format)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* ---- opening ---- */

/* The files from the image that was asked for down to the one being opened. */
struct chain {
    const struct chain *above;
    const struct host_file *file;
    unsigned depth;
};

static bool name_says_qcow2(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && !strchr(dot, '/') && (strcasecmp(dot, ".qcow2") == 0 || strcasecmp(dot, ".qcow") == 0);
}

static int choose_format(struct host_file *file, const char *path, enum block_format *format, struct error *err)
{
    bool named = name_says_qcow2(path);
    int magic;

    if (*format != BLOCK_FORMAT_AUTO)
        return 0;
    magic = qcow2_probe(file);
    if (magic < 0)
        return error_set(err, magic, "%s: cannot be read: %s", path, strerror(-magic));
    if (magic && !named)
        return error_set(err, -EINVAL,
                         "%s: begins like a qcow2 image, but its name does not end in .qcow2, and a guest can have "
                         "written that: say which with format=qcow2 or format=raw",
                         path);
    if (!magic && named)
        return error_set(
            err, -EINVAL,
            "%s: is no qcow2 image, though its name ends in .qcow2: if it is one of raw data, say format=raw", path);
    *format = magic ? BLOCK_FORMAT_QCOW2 : BLOCK_FORMAT_RAW;
    return 0;
}

/* A recorded name is relative to the image that records it. */
static int resolve_backing(const char *path, char *backing, struct error *err)
{
    const char *slash = strrchr(path, '/'), *colon = strchr(backing, ':');
    char joined[BLOCK_PATH_BYTES];

    if (strncmp(backing, "file:", 5) == 0)
        memmove(backing, backing + 5, strlen(backing + 5) + 1);
    else if (colon && (!strchr(backing, '/') || colon < strchr(backing, '/')))
        return error_set(err, -ENOTSUP, "%s: its backing file '%.100s' is not a file's name: only files are supported",
                         path, backing);
    if (backing[0] == '/' || !slash)
        return 0;
    if (snprintf(joined, sizeof(joined), "%.*s%s", (int)(slash - path + 1), path, backing) >= (int)sizeof(joined))
        return error_set(err, -ENAMETOOLONG, "%s: its backing file's name is too long", path);
    strcpy(backing, joined);
    return 0;
}

static int open_chain(const char *path, const struct node_options *options, const struct chain *above,
                      struct block_node **out, struct error *err);

static int open_backing(const char *path, const struct node_options *options, const struct chain *here,
                        char *backing_path, enum block_format format, struct block_node *node, struct error *err)
{
    struct node_options below = {.format = format, .direct = options->direct, .no_lock = options->no_lock};
    struct error why = {{0}};
    int rc = resolve_backing(path, backing_path, err);

    if (rc)
        return rc;
    rc = open_chain(backing_path, &below, here, &node->backing, &why);
    if (rc && here->above) /* of a chain only the image that was asked for and the one at fault are named */
        return error_set(err, rc, "%s", why.text);
    return rc ? error_set(err, rc, "%.80s: backing file: %.400s", path, why.text) : 0;
}

static int check_chain(const char *path, const struct chain *here, struct error *err)
{
    for (const struct chain *c = here->above; c; c = c->above) {
        if (c->file->dev == here->file->dev && c->file->ino == here->file->ino)
            return error_set(err, -ELOOP, "%s: is its own backing file", path);
    }
    if (here->depth > BLOCK_CHAIN_MAX)
        return error_set(err, -ELOOP, "%s: too many backing files: at most %d", path, BLOCK_CHAIN_MAX);
    return 0;
}

static int open_chain(const char *path, const struct node_options *options, const struct chain *above,
                      struct block_node **out, struct error *err)
{
    const struct host_file_options file_options = {.writable = options->writable ||
                                                               (options->check_only && options->may_repair),
                                                   .direct = options->direct,
                                                   .no_lock = options->no_lock};
    enum block_format format = options->format, backing_format = BLOCK_FORMAT_AUTO;
    struct chain here = {.above = above, .depth = above ? above->depth + 1 : 1};
    char backing_path[BLOCK_PATH_BYTES] = "";
    struct host_file *file;
    struct block_node *node = NULL;
    int rc = host_file_open(path, &file_options, &file, err);

    if (rc)
        return rc;
    here.file = file;
    rc = check_chain(path, &here, err);
    if (!rc)
        rc = choose_format(file, path, &format, err);
    if (!rc && options->at && (format == BLOCK_FORMAT_RAW || options->writable))
        rc = error_set(err, -ENOTSUP, "%s: an internal snapshot is read, and of a qcow2 image", path);
    if (!rc && format == BLOCK_FORMAT_RAW) {
        rc = raw_open(file, options->writable, &node);
        if (rc)
            (void)error_set(err, rc, "%s: %s", path, strerror(-rc));
    } else if (!rc) {
        rc = qcow2_open(file, path, options, &node, backing_path, &backing_format, err);
    }
    if (rc) {
        host_file_close(file);
        return rc;
    }
    if (backing_path[0] && !options->no_backing)
        rc = open_backing(path, options, &here, backing_path, backing_format, node, err);
    if (rc) {
        node->writable = false; /* nothing was written, and nothing is to be */
        (void)node_close(node);
        return rc;
    }
    *out = node;
    return 0;
}

int node_open(const char *path, const struct node_options *options, struct block_node **out, struct error *err)
{
    return open_chain(path, options, NULL, out, err);
}

int node_open_snapshot(struct block_node *base, struct block_node **out, struct error *err)
{
    static const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .writable = true};
    const struct node_create create = {.format = BLOCK_FORMAT_QCOW2, .size_bytes = base->size_bytes, .version = 3};
    char no_path[BLOCK_PATH_BYTES];
    enum block_format no_format;
    struct host_file *file;
    struct block_node *node;
    int rc = host_file_open_temporary(&file, err);

    if (!rc) {
        rc = qcow2_create(file, &create, err);
        if (!rc)
            rc = host_file_size(file, &file->size_bytes);
        if (!rc)
            rc = qcow2_open(file, "snapshot", &options, &node, no_path, &no_format, err);
        if (rc)
            host_file_close(file);
    }
    if (rc) {
        (void)node_close(base);
        return rc;
    }
    node->backing = base;
    *out = node;
    return 0;
}

int node_close(struct block_node *node)
{
    struct block_node *backing;
    struct host_file *file;
    int rc, below;

    if (!node)
        return 0;
    backing = node->backing;
    file = node->file;
    rc = node->ops->close(node);
    host_file_close(file);
    below = node_close(backing);
    return rc ? rc : below;
}

int node_create(const char *path, const struct node_create *create, struct error *err)
{
    static const struct host_file_options options = {.writable = true, .create = true};
    struct node_create final = *create;
    struct host_file *file;
    int rc;

    if (create->backing) {
        struct node_options below = {.format = create->backing_format};
        char backing_path[BLOCK_PATH_BYTES];
        struct block_node *backing;

        if (strlen(create->backing) >= sizeof(backing_path))
            return error_set(err, -ENAMETOOLONG, "%.40s..: is too long a name", create->backing);
        strcpy(backing_path, create->backing);
        rc = resolve_backing(path, backing_path, err);
        if (!rc)
            rc = node_open(backing_path, &below, &backing, err);
        if (rc)
            return rc;
        final.backing_format = backing->ops->format;
        if (!final.size_bytes)
            final.size_bytes = backing->size_bytes;
        (void)node_close(backing);
    }
    if (final.size_bytes > INT64_MAX - BLOCK_SECTOR_BYTES)
        return error_set(err, -EFBIG, "%s: no image can be that large", path);
    rc = host_file_open(path, &options, &file, err);
    if (rc)
        return rc;
    final.size_bytes = round_up_u64(final.size_bytes, BLOCK_SECTOR_BYTES);
    if (final.format == BLOCK_FORMAT_QCOW2) {
        rc = qcow2_create(file, &final, err);
    } else {
        rc = host_file_truncate(file, final.size_bytes);
        if (rc)
            (void)error_set(err, rc, "%s: %s", path, strerror(-rc));
    }
    if (!rc) {
        rc = host_file_sync(file);
        if (rc)
            (void)error_set(err, rc, "%s: %s", path, strerror(-rc));
    }
    host_file_close(file);
    if (rc)
        (void)unlink(path); /* half an image is none */
    return rc;
}

/* ---- I/O ---- */

unsigned node_map(struct block_node *node, bool write, uint64_t offset, uint64_t bytes, struct node_extent *out,
                  unsigned max)
{
    return write && !node->writable ? 0 : node->ops->map(node, write, offset, bytes, out, max);
}

static int check_range(const struct block_node *node, bool write, uint64_t offset, uint64_t bytes)
{
    if (offset > node->size_bytes || bytes > node->size_bytes - offset)
        return -EINVAL;
    return write && !node->writable ? -EROFS : 0;
}

int node_readv(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset)
{
    int rc = check_range(node, false, offset, iov_bytes(iov, count));

    return rc ? rc : node->ops->readv(node, iov, count, offset);
}

int node_writev(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset)
{
    int rc = check_range(node, true, offset, iov_bytes(iov, count));

    return rc ? rc : node->ops->writev(node, iov, count, offset);
}

int node_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    int rc = check_range(node, true, offset, bytes);

    return rc || !bytes ? rc : node->ops->discard(node, offset, bytes);
}

int node_zero(struct block_node *node, uint64_t offset, uint64_t bytes, bool may_unmap)
{
    int rc = check_range(node, true, offset, bytes);

    return rc || !bytes ? rc : node->ops->zero(node, offset, bytes, may_unmap);
}

int node_flush(struct block_node *node)
{
    return node->writable ? node->ops->flush(node) : 0;
}

int node_read(struct block_node *node, void *buf, size_t bytes, uint64_t offset)
{
    struct iovec iov = {.iov_base = buf, .iov_len = bytes};

    return node_readv(node, &iov, 1, offset);
}

int node_write(struct block_node *node, const void *buf, size_t bytes, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)buf, .iov_len = bytes};

    return node_writev(node, &iov, 1, offset);
}

int node_status(struct block_node *node, uint64_t offset, uint64_t bytes, uint64_t *alike, bool *zero)
{
    int rc = check_range(node, false, offset, bytes);

    return rc ? rc : node->ops->status(node, offset, bytes, alike, zero);
}

/* ---- properties ---- */

enum block_format node_format(const struct block_node *node)
{
    return node->ops->format;
}

uint64_t node_size(const struct block_node *node)
{
    return node->size_bytes;
}

bool node_is_writable(const struct block_node *node)
{
    return node->writable;
}

uint64_t node_granule_bytes(const struct block_node *node)
{
    return node->granule_bytes;
}

uint32_t node_block_bytes(const struct block_node *node)
{
    return node->file->offset_align > BLOCK_SECTOR_BYTES ? node->file->offset_align : BLOCK_SECTOR_BYTES;
}

struct host_file *node_file(struct block_node *node)
{
    return node->file;
}

void node_info(struct block_node *node, FILE *out)
{
    struct stat st;

    fprintf(out, "format:        %s\n", block_format_name(node->ops->format));
    fprintf(out, "virtual size:  %" PRIu64 " bytes\n", node->size_bytes);
    if (fstat(node->file->fd, &st) == 0)
        fprintf(out, "on the host:   %" PRIu64 " bytes\n", (uint64_t)st.st_blocks * 512);
    if (node->ops->info)
        node->ops->info(node, out);
}

int node_check(struct block_node *node, bool repair, FILE *out, struct node_check *result, struct error *err)
{
    *result = (struct node_check){0};
    if (!node->ops->check)
        return error_set(err, -ENOTSUP, "%s images have no tables that could be checked",
                         block_format_name(node->ops->format));
    return node->ops->check(node, repair, out, result, err);
}

static int may_snapshot(const struct block_node *node, const char *name, struct error *err)
{
    if (!node->ops->snapshot_create)
        return error_set(err, -ENOTSUP, "%s images have no internal snapshots", block_format_name(node->ops->format));
    if (!node->writable)
        return error_set(err, -EROFS, "an internal snapshot needs an image that can be written");
    if (!name[0] || strlen(name) > NODE_SNAPSHOT_NAME_MAX)
        return error_set(err, -EINVAL, "the name of an internal snapshot has 1 to %d bytes", NODE_SNAPSHOT_NAME_MAX);
    return 0;
}

int node_snapshot_create(struct block_node *node, const char *name, struct error *err)
{
    int rc = may_snapshot(node, name, err);

    return rc ? rc : node->ops->snapshot_create(node, name, err);
}

int node_snapshot_delete(struct block_node *node, const char *name, struct error *err)
{
    int rc = may_snapshot(node, name, err);

    return rc ? rc : node->ops->snapshot_delete(node, name, err);
}
