/* Opening and making qcow2 images: the header and its extensions; see qcow2_internal.h.
 *
 * The header is hostile: sizes are bounded before memory is taken for them, offsets checked before something is read or
 * written there. What it asks for and this does not have is refused by name. */
#include "dev/block/qcow2_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES_MAX = 65536, FEATURE_NAME_BYTES = 46, FEATURE_ROW_BYTES = 48 };

int qcow2_probe(struct host_file *file)
{
    uint8_t magic[4];
    int rc = host_file_read(file, magic, sizeof(magic), 0);

    return rc ? rc : be32_at(magic) == QCOW2_MAGIC;
}

/* ---- features ---- */

/* What a feature is called: by the image's own table of names. */
static void feature_name(const uint8_t *extension, uint32_t bytes, unsigned bit, char name[FEATURE_NAME_BYTES + 1])
{
    (void)snprintf(name, FEATURE_NAME_BYTES + 1, "bit %u", bit);
    for (uint32_t at = 0; extension && at + FEATURE_ROW_BYTES <= bytes; at += FEATURE_ROW_BYTES) {
        const uint8_t *row = extension + at;

        if (row[0] != 0 || row[1] != bit)
            continue;
        memcpy(name, row + 2, FEATURE_NAME_BYTES);
        name[FEATURE_NAME_BYTES] = '\0';
        for (char *c = name; *c; c++)
            *c = *c < ' ' || *c > '~' ? '?' : *c;
        return;
    }
}

static int check_features(struct qcow2 *q, const uint8_t *names, uint32_t names_bytes,
                          const struct node_options *options, struct error *err)
{
    uint64_t known = QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT | QCOW2_INCOMPATIBLE_COMPRESSION;
    uint64_t unknown = q->incompatible & ~known;
    char name[FEATURE_NAME_BYTES + 1];

    if (unknown & QCOW2_INCOMPATIBLE_EXTERNAL)
        return error_set(err, -ENOTSUP, "%s: has its data in an external file, which is not supported", q->name);
    if (unknown & QCOW2_INCOMPATIBLE_EXTENDED_L2)
        return error_set(err, -ENOTSUP, "%s: has extended L2 entries (subclusters), which are not supported", q->name);
    if (unknown) {
        feature_name(names, names_bytes, (unsigned)__builtin_ctzll(unknown), name);
        return error_set(err, -ENOTSUP, "%s: needs a feature of qcow2 that is not supported: %s", q->name, name);
    }
    if (q->incompatible & QCOW2_INCOMPATIBLE_CORRUPT && options->writable)
        return error_set(err, -EUCLEAN,
                         "%s: is marked as damaged: it can be read, or repaired with 'tuff image check --repair'",
                         q->name);
    return 0;
}

/* ---- extensions ---- */

struct extensions {
    const uint8_t *names;
    uint32_t names_bytes;
};

static int read_bitmaps_extension(struct qcow2 *q, const uint8_t *data, uint32_t len, struct error *err)
{
    if (len < 24)
        return error_set(err, -EINVAL, "%s: its bitmaps extension is too short", q->name);
    q->bitmaps = be32_at(data);
    q->bitmaps_bytes = be64_at(data + 8);
    q->bitmaps_offset = be64_at(data + 16);
    return 0;
}

static int read_extensions(struct qcow2 *q, const uint8_t *header, uint64_t at, uint64_t end, struct extensions *ext,
                           struct error *err)
{
    int rc = 0;

    while (!rc && at + 8 <= end) {
        uint32_t type = be32_at(header + at), len = be32_at(header + at + 4);
        const uint8_t *data = header + at + 8;

        if (type == QCOW2_EXTENSION_END)
            break;
        if (len > end - at - 8)
            return error_set(err, -EINVAL, "%s: a header extension (0x%x) is longer than the header", q->name, type);
        if (type == (uint32_t)QCOW2_EXTENSION_BACKING_FORMAT) {
            if (len >= sizeof(q->backing_format))
                return error_set(err, -EINVAL, "%s: the name of its backing file's format is too long", q->name);
            memcpy(q->backing_format, data, len);
        } else if (type == QCOW2_EXTENSION_FEATURES) {
            *ext = (struct extensions){.names = data, .names_bytes = len};
        } else if (type == QCOW2_EXTENSION_BITMAPS) {
            rc = read_bitmaps_extension(q, data, len, err);
        }
        at += 8 + round_up_u64(len, 8);
    }
    return rc;
}

/* ---- the header ---- */

static int table_is_sane(const struct qcow2 *q, const char *what, uint64_t offset, uint64_t bytes, uint64_t bytes_max,
                         struct error *err)
{
    if (bytes > bytes_max)
        return error_set(err, -EFBIG, "%s: its %s is too large (%" PRIu64 " bytes)", q->name, what, bytes);
    if (bytes && (offset % q->cluster_bytes || offset < q->cluster_bytes || offset > QCOW2_OFFSET_MASK))
        return error_set(err, -EINVAL, "%s: its %s lies at 0x%" PRIx64 ", where none can be", q->name, what, offset);
    return 0;
}

/* Fields of both versions; `header` has QCOW2_HEADER_V3_BYTES bytes. */
static int read_header(struct qcow2 *q, const uint8_t *header, struct error *err)
{
    uint64_t size = be64_at(header + QCOW2_AT_SIZE), l1_needed, cover;
    int rc;

    q->version = be32_at(header + QCOW2_AT_VERSION);
    if (be32_at(header) != QCOW2_MAGIC)
        return error_set(err, -EINVAL, "%s: is no qcow2 image", q->name);
    if (q->version != 2 && q->version != 3)
        return error_set(err, -ENOTSUP, "%s: version %u of qcow2 is not supported: 2 and 3 are", q->name, q->version);
    q->cluster_bits = be32_at(header + QCOW2_AT_CLUSTER_BITS);
    if (q->cluster_bits < QCOW2_CLUSTER_BITS_MIN || q->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
        return error_set(err, -EINVAL, "%s: clusters of 2^%u bytes cannot be: 2^9 to 2^21 are supported", q->name,
                         q->cluster_bits);
    q->cluster_bytes = UINT64_C(1) << q->cluster_bits;
    q->l2_bits = q->cluster_bits - 3;
    if (be32_at(header + QCOW2_AT_CRYPT) != 0)
        return error_set(err, -ENOTSUP, "%s: is encrypted, which is not supported", q->name);
    if (size > INT64_MAX - BLOCK_SECTOR_BYTES)
        return error_set(err, -EFBIG, "%s: a disk of %" PRIu64 " bytes is too large", q->name, size);
    q->node.size_bytes = round_up_u64(size, BLOCK_SECTOR_BYTES);
    q->l1_size = be32_at(header + QCOW2_AT_L1_SIZE);
    q->l1_offset = be64_at(header + QCOW2_AT_L1_OFFSET);
    q->reftable_offset = be64_at(header + QCOW2_AT_REFTABLE_OFFSET);
    q->reftable_clusters = be32_at(header + QCOW2_AT_REFTABLE_CLUSTERS);
    q->snapshots = be32_at(header + QCOW2_AT_SNAPSHOTS);
    q->snapshots_offset = be64_at(header + QCOW2_AT_SNAPSHOTS_OFFSET);
    q->refcount_order = 4;
    if (q->version >= 3) {
        q->incompatible = be64_at(header + QCOW2_AT_INCOMPATIBLE);
        q->lazy = be64_at(header + QCOW2_AT_COMPATIBLE) & QCOW2_COMPATIBLE_LAZY;
        q->autoclear = be64_at(header + QCOW2_AT_AUTOCLEAR);
        q->refcount_order = be32_at(header + QCOW2_AT_REFCOUNT_ORDER);
        if (q->refcount_order > 6)
            return error_set(err, -EINVAL, "%s: reference counts of 2^%u bits cannot be", q->name, q->refcount_order);
    }
    q->rb_bits = q->cluster_bits + 3 - q->refcount_order;
    cover = q->cluster_bits + q->l2_bits;
    l1_needed = (q->node.size_bytes >> cover) + ((q->node.size_bytes & ((UINT64_C(1) << cover) - 1)) != 0);
    rc = table_is_sane(q, "L1 table", q->l1_offset, (uint64_t)q->l1_size * 8, QCOW2_L1_BYTES_MAX, err);
    if (!rc && l1_needed > q->l1_size)
        return error_set(err, -EINVAL, "%s: its L1 table is too small for the disk", q->name);
    if (!rc && !q->reftable_clusters)
        return error_set(err, -EINVAL, "%s: has no reference counts", q->name);
    if (!rc)
        rc = table_is_sane(q, "reference count table", q->reftable_offset, q->reftable_clusters * q->cluster_bytes,
                           QCOW2_REFTABLE_BYTES_MAX, err);
    if (!rc && q->l1_offset < q->reftable_offset + q->reftable_clusters * q->cluster_bytes &&
        q->reftable_offset < q->l1_offset + (uint64_t)q->l1_size * 8)
        return error_set(err, -EINVAL, "%s: its L1 table and its reference count table overlap", q->name);
    if (!rc && q->snapshots > QCOW2_SNAPSHOTS_MAX)
        return error_set(err, -EFBIG, "%s: %" PRIu32 " snapshots are too many", q->name, q->snapshots);
    return rc;
}

static int read_compression(struct qcow2 *q, const uint8_t *header, uint32_t header_length, struct error *err)
{
    if (q->incompatible & QCOW2_INCOMPATIBLE_COMPRESSION) {
        q->compression = header_length > QCOW2_AT_COMPRESSION ? header[QCOW2_AT_COMPRESSION] : 0;
        if (!q->compression)
            return error_set(err, -EINVAL, "%s: does not say how it is compressed", q->name);
    }
    if (!qcow2_has_compression(q->compression))
        return error_set(err, -ENOTSUP, "%s: is compressed with %s, which is not supported", q->name,
                         q->compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "an unknown method");
    return 0;
}

static int read_backing_name(struct qcow2 *q, const uint8_t *header, uint64_t header_bytes, struct error *err)
{
    uint64_t at = be64_at(header + QCOW2_AT_BACKING_OFFSET);
    uint32_t len = be32_at(header + QCOW2_AT_BACKING_SIZE);

    if (!at)
        return 0;
    if (len > QCOW2_BACKING_NAME_MAX || at > header_bytes || len > header_bytes - at)
        return error_set(err, -EINVAL, "%s: its backing file's name does not lie in the header", q->name);
    if (memchr(header + at, '\0', len) || !len)
        return error_set(err, -EINVAL, "%s: its backing file's name is no name", q->name);
    memcpy(q->backing_name, header + at, len);
    return 0;
}

static int parse(struct qcow2 *q, const uint8_t *header, const struct node_options *options, struct error *err)
{
    uint64_t header_bytes;
    uint32_t length = QCOW2_HEADER_V2_BYTES;
    struct extensions ext = {0};
    int rc = read_header(q, header, err);

    if (rc)
        return rc;
    header_bytes = q->cluster_bytes < HEADER_BYTES_MAX ? q->cluster_bytes : HEADER_BYTES_MAX;
    if (q->version >= 3)
        length = be32_at(header + QCOW2_AT_HEADER_LENGTH);
    if (q->version >= 3 && (length < QCOW2_HEADER_V3_BYTES || length > header_bytes || length % 8))
        return error_set(err, -EINVAL, "%s: a header of %" PRIu32 " bytes cannot be", q->name, length);
    rc = read_extensions(q, header, length, header_bytes, &ext, err);
    if (!rc)
        rc = check_features(q, ext.names, ext.names_bytes, options, err);
    if (!rc)
        rc = read_compression(q, header, length, err);
    if (!rc)
        rc = read_backing_name(q, header, header_bytes, err);
    return rc;
}

/* ---- the tables that are kept in memory ---- */

static int load_entries(struct qcow2 *q, uint64_t offset, uint64_t count, uint64_t **out)
{
    uint64_t *entries = calloc(count + 1, sizeof(*entries));
    int rc = entries ? 0 : -ENOMEM;

    if (!rc)
        rc = host_file_read(q->node.file, entries, count * 8, offset);
    if (rc) {
        free(entries);
        return rc;
    }
    for (uint64_t i = 0; i < count; i++)
        entries[i] = __builtin_bswap64(entries[i]);
    *out = entries;
    return 0;
}

static int load_tables(struct qcow2 *q, struct error *err)
{
    uint64_t file_bytes = q->node.file->size_bytes;
    uint64_t l1_end = q->l1_offset + (uint64_t)q->l1_size * 8;
    int rc;

    /* Clusters that were never written may be missing at the end, but not these. */
    if ((q->l1_size && l1_end > round_up_u64(file_bytes, q->cluster_bytes)) || q->reftable_offset >= file_bytes)
        return error_set(err, -EINVAL, "%s: is cut off: its tables lie behind its end", q->name);
    q->reftable_size = q->reftable_clusters * q->cluster_bytes / 8;
    q->end_cluster = round_up_u64(file_bytes, q->cluster_bytes) >> q->cluster_bits;
    rc = load_entries(q, q->l1_offset, q->l1_size, &q->l1);
    if (!rc)
        rc = load_entries(q, q->reftable_offset, q->reftable_size, &q->reftable);
    if (!rc)
        rc = qcow2_cache_init(q, &q->l2s);
    if (!rc)
        rc = qcow2_cache_init(q, &q->rbs);
    return rc ? error_set(err, rc, "%s: %s", q->name, strerror(-rc)) : 0;
}

/* What has to be done before the first write. */
static int make_writable(struct qcow2 *q, struct error *err)
{
    struct node_check found;
    int rc = 0;

    if (q->autoclear) { /* bitmaps, and whatever else is not kept up to date here */
        q->autoclear = 0;
        rc = qcow2_write_u64(q, QCOW2_AT_AUTOCLEAR, 0);
    }
    if (!rc && q->incompatible & QCOW2_INCOMPATIBLE_DIRTY) {
        rc = qcow2_check(&q->node, true, NULL, &found, err);
        if (!rc && found.corruptions > found.corruptions_fixed)
            rc = error_set(err, -EUCLEAN, "%s: was not closed and its tables are damaged: see 'tuff image check'",
                           q->name);
        return rc;
    }
    return rc ? error_set(err, rc, "%s: %s", q->name, strerror(-rc)) : 0;
}

static int backing_of(struct qcow2 *q, char *path, enum block_format *format, struct error *err)
{
    path[0] = '\0';
    if (!q->backing_name[0])
        return 0;
    strcpy(path, q->backing_name);
    *format = BLOCK_FORMAT_AUTO;
    if (q->backing_format[0] && (block_format_parse(q->backing_format, format) || *format == BLOCK_FORMAT_AUTO))
        return error_set(err, -ENOTSUP, "%s: its backing file's format '%.31s' is not supported", q->name,
                         q->backing_format);
    return 0;
}

int qcow2_open(struct host_file *file, const char *name, const struct node_options *options, struct block_node **out,
               char *backing_path, enum block_format *backing_format, struct error *err)
{
    struct qcow2 *q = calloc(1, sizeof(*q));
    uint8_t *header = calloc(1, HEADER_BYTES_MAX);
    int rc;

    if (!q || !header) {
        free(q);
        free(header);
        return error_set(err, -ENOMEM, "%s: no memory", name);
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->flush_lock, NULL);
    pthread_mutex_init(&q->inflate_lock, NULL);
    q->node.ops = &qcow2_ops;
    q->node.file = file;
    (void)snprintf(q->name, sizeof(q->name), "%s", name);
    rc = host_file_read(file, header, HEADER_BYTES_MAX, 0);
    if (rc)
        (void)error_set(err, rc, "%s: %s", name, strerror(-rc));
    else
        rc = parse(q, header, options, err);
    free(header);
    if (!rc)
        rc = backing_of(q, backing_path, backing_format, err);
    if (!rc && options->at)
        rc = qcow2_open_at(q, options->at, err);
    if (!rc)
        rc = load_tables(q, err);
    q->node.granule_bytes = q->cluster_bytes > file->offset_align ? q->cluster_bytes : file->offset_align;
    if (!rc && options->writable && !options->check_only) {
        q->node.writable = true;
        rc = make_writable(q, err);
    }
    if (rc) {
        q->node.writable = false;
        (void)qcow2_ops.close(&q->node);
        return rc;
    }
    *out = &q->node;
    return 0;
}

/* ---- making one ---- */

/* header | reference count table | reference count blocks | L1 table */
struct layout {
    uint64_t cluster_bytes, reftable_clusters, blocks, l1_clusters, l1_size, total;
};

static int plan(const struct node_create *c, struct layout *l)
{
    uint64_t per_l2 = l->cluster_bytes / 8 * l->cluster_bytes, per_block = l->cluster_bytes * 8 / 16, before = 0;

    l->l1_size = (c->size_bytes + per_l2 - 1) / per_l2;
    if (!l->l1_size)
        l->l1_size = 1;
    if (l->l1_size * 8 > QCOW2_L1_BYTES_MAX)
        return -EFBIG;
    l->l1_clusters = round_up_u64(l->l1_size * 8, l->cluster_bytes) / l->cluster_bytes;
    l->blocks = l->reftable_clusters = 1;
    do {
        before = l->total;
        l->total = 1 + l->reftable_clusters + l->blocks + l->l1_clusters;
        l->blocks = (l->total + per_block - 1) / per_block;
        l->reftable_clusters = round_up_u64(l->blocks * 8, l->cluster_bytes) / l->cluster_bytes;
    } while (l->total != before);
    return 0;
}

static uint8_t *put_extension(uint8_t *at, uint32_t type, const void *data, uint32_t len)
{
    be32_put(at, type);
    be32_put(at + 4, len);
    memcpy(at + 8, data, len);
    return at + 8 + round_up_u64(len, 8);
}

static uint8_t *put_feature_names(uint8_t *at)
{
    static const struct {
        uint8_t type, bit;
        const char *name;
    } rows[] = {{0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 3, "compression type"}, {1, 0, "lazy refcounts"}};
    uint8_t table[TUFF_ARRAY_LEN(rows) * FEATURE_ROW_BYTES] = {0};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(rows); i++) {
        uint8_t *row = table + i * FEATURE_ROW_BYTES;

        row[0] = rows[i].type;
        row[1] = rows[i].bit;
        (void)snprintf((char *)row + 2, FEATURE_NAME_BYTES, "%s", rows[i].name);
    }
    return put_extension(at, QCOW2_EXTENSION_FEATURES, table, sizeof(table));
}

static int write_header(struct host_file *file, const struct node_create *c, const struct layout *l)
{
    bool v3 = c->version != 2;
    size_t name_bytes = c->backing ? strlen(c->backing) : 0, room = 4096 + name_bytes;
    uint8_t *header = calloc(1, room), *at;
    int rc;

    if (!header)
        return -ENOMEM;
    be32_put(header, QCOW2_MAGIC);
    be32_put(header + QCOW2_AT_VERSION, v3 ? 3 : 2);
    be32_put(header + QCOW2_AT_CLUSTER_BITS, (uint32_t)__builtin_ctzll(l->cluster_bytes));
    be64_put(header + QCOW2_AT_SIZE, c->size_bytes);
    be32_put(header + QCOW2_AT_L1_SIZE, (uint32_t)l->l1_size);
    be64_put(header + QCOW2_AT_L1_OFFSET, (1 + l->reftable_clusters + l->blocks) * l->cluster_bytes);
    be64_put(header + QCOW2_AT_REFTABLE_OFFSET, l->cluster_bytes);
    be32_put(header + QCOW2_AT_REFTABLE_CLUSTERS, (uint32_t)l->reftable_clusters);
    if (v3) {
        be64_put(header + QCOW2_AT_COMPATIBLE, c->lazy_refcounts ? QCOW2_COMPATIBLE_LAZY : 0);
        be32_put(header + QCOW2_AT_REFCOUNT_ORDER, 4);
        be32_put(header + QCOW2_AT_HEADER_LENGTH, QCOW2_HEADER_V3_BYTES + 8);
    }
    at = header + (v3 ? QCOW2_HEADER_V3_BYTES + 8 : QCOW2_HEADER_V2_BYTES);
    if (c->backing) {
        const char *format = block_format_name(c->backing_format);
        at = put_extension(at, (uint32_t)QCOW2_EXTENSION_BACKING_FORMAT, format, (uint32_t)strlen(format));
    }
    if (v3 && l->cluster_bytes >= 4096)
        at = put_feature_names(at);
    at += 8; /* the end of the extensions is all zeroes */
    if (c->backing) {
        be64_put(header + QCOW2_AT_BACKING_OFFSET, (uint64_t)(at - header));
        be32_put(header + QCOW2_AT_BACKING_SIZE, (uint32_t)name_bytes);
        memcpy(at, c->backing, name_bytes);
        at += name_bytes;
    }
    rc = (uint64_t)(at - header) > l->cluster_bytes ? -ENAMETOOLONG
                                                    : host_file_write(file, header, (size_t)(at - header), 0);
    free(header);
    return rc;
}

static int write_counts(struct host_file *file, const struct layout *l)
{
    uint64_t bytes = (l->reftable_clusters + l->blocks) * l->cluster_bytes;
    uint8_t *tables = calloc(1, bytes + 1), *counts = tables + l->reftable_clusters * l->cluster_bytes;
    int rc;

    if (!tables)
        return -ENOMEM;
    for (uint64_t i = 0; i < l->blocks; i++)
        be64_put(tables + 8 * i, (1 + l->reftable_clusters + i) * l->cluster_bytes);
    for (uint64_t i = 0; i < l->total; i++)
        counts[2 * i + 1] = 1;
    rc = host_file_write(file, tables, bytes, l->cluster_bytes);
    free(tables);
    return rc;
}

int qcow2_create(struct host_file *file, const struct node_create *create, struct error *err)
{
    struct layout l = {.cluster_bytes =
                           create->cluster_bytes ? create->cluster_bytes : 1u << QCOW2_CLUSTER_BITS_DEFAULT};
    int rc;

    if (l.cluster_bytes & (l.cluster_bytes - 1) || l.cluster_bytes < 1u << QCOW2_CLUSTER_BITS_MIN ||
        l.cluster_bytes > 1u << QCOW2_CLUSTER_BITS_MAX)
        return error_set(err, -EINVAL, "clusters of %" PRIu64 " bytes cannot be: give a power of 2 from 512 to 2M",
                         l.cluster_bytes);
    if (create->version == 2 && create->lazy_refcounts)
        return error_set(err, -EINVAL, "lazy reference counts need version 3 of qcow2");
    if (create->backing && strlen(create->backing) > QCOW2_BACKING_NAME_MAX)
        return error_set(err, -ENAMETOOLONG, "the backing file's name is too long: at most %d bytes",
                         QCOW2_BACKING_NAME_MAX);
    rc = plan(create, &l);
    if (rc)
        return error_set(err, rc, "a disk of %" PRIu64 " bytes needs larger clusters", create->size_bytes);
    /* The header comes last: without it there is no image. */
    rc = write_counts(file, &l);
    if (!rc)
        rc = host_file_truncate(file, l.total * l.cluster_bytes);
    if (!rc)
        rc = write_header(file, create, &l);
    return rc ? error_set(err, rc, "the image cannot be made: %s", strerror(-rc)) : 0;
}
