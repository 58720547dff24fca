/* Reference counts of a qcow2 image's clusters, and allocation; see qcow2_internal.h. */
#include "dev/block/qcow2_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- entries of a block ---- */

static uint64_t entry_get(const struct qcow2 *q, const uint8_t *block, uint64_t i)
{
    switch (q->refcount_order) {
    case 4:
        return (uint64_t)block[2 * i] << 8 | block[2 * i + 1];
    case 5:
        return be32_at(block + 4 * i);
    case 6:
        return be64_at(block + 8 * i);
    default: { /* 1 to 8 bits: from a byte's low end up */
        unsigned bits = 1u << q->refcount_order, per_byte = 8 / bits;
        return block[i / per_byte] >> i % per_byte * bits & ((1u << bits) - 1);
    }
    }
}

static void entry_set(const struct qcow2 *q, uint8_t *block, uint64_t i, uint64_t count)
{
    switch (q->refcount_order) {
    case 4:
        block[2 * i] = (uint8_t)(count >> 8);
        block[2 * i + 1] = (uint8_t)count;
        break;
    case 5:
        be32_put(block + 4 * i, (uint32_t)count);
        break;
    case 6:
        be64_put(block + 8 * i, count);
        break;
    default: {
        unsigned bits = 1u << q->refcount_order, per_byte = 8 / bits, shift = (unsigned)(i % per_byte) * bits;
        uint8_t mask = (uint8_t)(((1u << bits) - 1) << shift);
        block[i / per_byte] = (uint8_t)((block[i / per_byte] & ~mask) | (count << shift & mask));
        break;
    }
    }
}

static uint64_t count_max(const struct qcow2 *q)
{
    return q->refcount_order == 6 ? UINT64_MAX : (UINT64_C(1) << (1u << q->refcount_order)) - 1;
}

/* The block with a cluster's count; NULL: there is none, the counts are 0. */
static int block_get(struct qcow2 *q, uint64_t cluster, struct qcow2_table **out)
{
    uint64_t index = cluster >> q->rb_bits, offset;

    *out = NULL;
    if (index >= q->reftable_size || !q->reftable[index])
        return 0;
    offset = q->reftable[index];
    if (!qcow2_offset_is_sane(q, offset))
        return qcow2_corrupt(q, "reference count block %" PRIu64 " lies at 0x%" PRIx64, index, offset);
    return qcow2_cache_get(q, &q->rbs, offset, out);
}

static uint64_t in_block(const struct qcow2 *q, uint64_t cluster)
{
    return cluster & ((UINT64_C(1) << q->rb_bits) - 1);
}

int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *out)
{
    struct qcow2_table *block;
    int rc = block_get(q, cluster, &block);

    if (!rc)
        *out = block ? entry_get(q, block->bytes, in_block(q, cluster)) : 0;
    return rc;
}

/* ---- new blocks ---- */

static void reftable_set(struct qcow2 *q, uint64_t index, uint64_t offset)
{
    q->reftable[index] = offset;
    if (q->reftable_dirty_from == q->reftable_dirty_to) {
        q->reftable_dirty_from = index;
        q->reftable_dirty_to = index + 1;
    } else if (index < q->reftable_dirty_from) {
        q->reftable_dirty_from = index;
    } else if (index >= q->reftable_dirty_to) {
        q->reftable_dirty_to = index + 1;
    }
}

static void used_up_to(struct qcow2 *q, uint64_t cluster)
{
    if (cluster > q->end_cluster)
        q->end_cluster = cluster;
}

/* A block that counts itself, in a free cluster of its own range. */
static int block_new(struct qcow2 *q, uint64_t cluster)
{
    uint64_t offset = cluster << q->cluster_bits;
    struct qcow2_table *block;
    int rc = qcow2_offset_is_sane(q, offset) ? 0 : qcow2_corrupt(q, "0x%" PRIx64 " is in use but not counted", offset);

    if (!rc)
        rc = qcow2_cache_new(q, &q->rbs, offset, &block);
    if (rc)
        return rc;
    entry_set(q, block->bytes, in_block(q, cluster), 1);
    reftable_set(q, cluster >> q->rb_bits, offset);
    used_up_to(q, cluster + 1);
    return 0;
}

static int write_header_reftable(struct qcow2 *q, uint64_t offset, uint32_t clusters)
{
    uint8_t bytes[12]; /* both fields in one write of less than a sector */

    be64_put(bytes, offset);
    be32_put(bytes + 8, clusters);
    return host_file_write(q->node.file, bytes, sizeof(bytes), QCOW2_AT_REFTABLE_OFFSET);
}

static int write_reftable(struct qcow2 *q, const uint64_t *table, uint64_t bytes, uint64_t offset)
{
    uint8_t *raw = malloc(bytes);
    int rc;

    if (!raw)
        return -ENOMEM;
    for (uint64_t i = 0; i < bytes / 8; i++)
        be64_put(raw + 8 * i, table[i]);
    rc = host_file_write(q->node.file, raw, bytes, offset);
    free(raw);
    return rc;
}

/* A table that is written as a whole must not point to blocks that are not. */
int qcow2_write_blocks(struct qcow2 *q)
{
    int rc = 0;

    for (size_t i = 0; i < q->rbs.count && !rc; i++) {
        struct qcow2_table *block = q->rbs.slots[i];

        if (!block->dirty)
            continue;
        rc = host_file_write(q->node.file, block->bytes, q->cluster_bytes, block->offset);
        if (!rc)
            qcow2_table_clean(&q->rbs, block);
    }
    return rc;
}

/* The table has no entry for `cluster`, the first of a range without counts: a larger table, behind new blocks that
 * count the blocks and the table. Rare (each time twice as large), so it waits for the disk with the lock held. */
static int reftable_grow(struct qcow2 *q, uint64_t cluster)
{
    uint64_t per_block = UINT64_C(1) << q->rb_bits, index = cluster >> q->rb_bits, size = q->reftable_size;
    uint64_t first = index << q->rb_bits, blocks = 1, clusters, *table, old_offset = q->reftable_offset;
    uint32_t old_clusters = q->reftable_clusters;
    int rc = 0;

    do {
        size *= 2;
        while (size < index + blocks)
            size *= 2;
        clusters = round_up_u64(size * 8, q->cluster_bytes) >> q->cluster_bits;
        blocks = (clusters + per_block - 2) / (per_block - 1);
    } while (size < index + blocks);
    if (size * 8 > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    table = calloc(size, sizeof(*table));
    if (!table)
        return -ENOMEM;
    memcpy(table, q->reftable, q->reftable_size * sizeof(*table));
    for (uint64_t b = 0; b < blocks && !rc; b++) {
        uint64_t offset = (first + b) << q->cluster_bits;
        struct qcow2_table *block;

        rc = qcow2_cache_new(q, &q->rbs, offset, &block);
        for (uint64_t i = 0; i < per_block && !rc; i++) {
            if (b * per_block + i < blocks + clusters)
                entry_set(q, block->bytes, i, 1);
        }
        table[index + b] = offset;
    }
    if (!rc)
        rc = qcow2_write_blocks(q);
    if (!rc)
        rc = write_reftable(q, table, size * 8, (first + blocks) << q->cluster_bits);
    if (!rc)
        rc = host_file_sync(q->node.file);
    if (!rc)
        rc = write_header_reftable(q, (first + blocks) << q->cluster_bits, (uint32_t)clusters);
    if (!rc)
        rc = host_file_sync(q->node.file);
    if (rc) {
        for (uint64_t b = 0; b < blocks; b++)
            qcow2_cache_drop(&q->rbs, (first + b) << q->cluster_bits);
        free(table);
        return rc;
    }
    free(q->reftable);
    q->reftable = table;
    q->reftable_size = size;
    q->reftable_offset = (first + blocks) << q->cluster_bits;
    q->reftable_clusters = (uint32_t)clusters;
    q->reftable_dirty_from = q->reftable_dirty_to = 0; /* all of it has been written */
    used_up_to(q, first + blocks + clusters);
    for (uint32_t i = 0; i < old_clusters; i++)
        (void)!qcow2_drop_cluster(q, (old_offset >> q->cluster_bits) + i);
    return 0;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    struct qcow2_table *block;
    int rc = block_get(q, cluster, &block);

    if (rc)
        return rc;
    if (!block) {
        uint64_t at = 0, got;
        bool fresh;

        if (!count)
            return 0;
        rc = qcow2_allocate(q, 1, &at, &got, &fresh); /* may have made the very block, if it is of that range */
        if (!rc)
            rc = block_get(q, cluster, &block);
        if (!rc && block)
            qcow2_unallocate(q, at, 1);
        if (!rc && !block) {
            rc = qcow2_cache_new(q, &q->rbs, at << q->cluster_bits, &block);
            if (!rc && cluster >> q->rb_bits >= q->reftable_size)
                rc = -EFBIG;
            if (!rc)
                reftable_set(q, cluster >> q->rb_bits, at << q->cluster_bits);
        }
        if (rc)
            return rc;
    }
    if (count > count_max(q))
        return -EOVERFLOW;
    entry_set(q, block->bytes, in_block(q, cluster), count);
    qcow2_table_dirty(&q->rbs, block);
    if (!count && cluster < q->free_hint)
        q->free_hint = cluster;
    return 0;
}

/* ---- allocation ---- */

/* Clusters beyond this cannot be named in an L2 table. */
static uint64_t cluster_limit(const struct qcow2 *q)
{
    return (QCOW2_OFFSET_MASK >> q->cluster_bits) + 1;
}

/* The first free cluster from the hint on, whose block exists afterwards. */
static int find_free(struct qcow2 *q, uint64_t *out, struct qcow2_table **block)
{
    uint64_t cluster = q->free_hint;

    while (cluster < cluster_limit(q)) {
        int rc = block_get(q, cluster, block);

        if (rc)
            return rc;
        if (!*block) {
            rc = cluster >> q->rb_bits < q->reftable_size ? block_new(q, cluster)
                                                          : reftable_grow(q, cluster >> q->rb_bits << q->rb_bits);
            if (rc)
                return rc;
            continue;
        }
        for (uint64_t i = in_block(q, cluster); i < UINT64_C(1) << q->rb_bits; i++, cluster++) {
            if (entry_get(q, (*block)->bytes, i) == 0) {
                q->free_hint = *out = cluster;
                return 0;
            }
        }
    }
    return -EFBIG;
}

int qcow2_allocate(struct qcow2 *q, uint64_t wanted, uint64_t *first, uint64_t *got, bool *fresh)
{
    struct qcow2_table *block;
    uint64_t start, n = 0;
    int rc = find_free(q, &start, &block);

    if (rc)
        return rc;
    for (uint64_t i = in_block(q, start); n < wanted && i < UINT64_C(1) << q->rb_bits; i++, n++) {
        if (entry_get(q, block->bytes, i) != 0)
            break;
        if (!qcow2_offset_is_sane(q, (start + n) << q->cluster_bits))
            return qcow2_corrupt(q, "cluster %" PRIu64 " is in use but not counted", start + n);
    }
    for (uint64_t i = 0; i < n; i++)
        entry_set(q, block->bytes, in_block(q, start) + i, 1);
    qcow2_table_dirty(&q->rbs, block);
    *first = start;
    *got = n;
    *fresh = start >= q->end_cluster;
    q->free_hint = start + n;
    used_up_to(q, start + n);
    return 0;
}

void qcow2_unallocate(struct qcow2 *q, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        (void)!qcow2_refcount_set(q, first + i, 0);
}

/* ---- references that go ---- */

static int reserve_drops(struct qcow2 *q, size_t more)
{
    size_t size = q->drops_size ? q->drops_size : 256;
    uint64_t *drops;

    while (size < q->drop_count + more)
        size *= 2;
    if (size == q->drops_size)
        return 0;
    drops = realloc(q->drops, size * sizeof(*drops));
    if (!drops)
        return -ENOMEM;
    q->drops = drops;
    q->drops_size = size;
    return 0;
}

int qcow2_drop_cluster(struct qcow2 *q, uint64_t cluster)
{
    int rc = reserve_drops(q, 1);

    if (!rc)
        q->drops[q->drop_count++] = cluster;
    return rc;
}

void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *bytes)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> x;

    *offset = entry & ((UINT64_C(1) << x) - 1);
    *bytes = (sectors + 1) * BLOCK_SECTOR_BYTES - *offset % BLOCK_SECTOR_BYTES;
}

int qcow2_drop_entry(struct qcow2 *q, uint64_t entry)
{
    uint64_t offset, bytes, cluster, last;
    int rc;

    if (!(entry & QCOW2_COMPRESSED))
        return entry & QCOW2_OFFSET_MASK ? qcow2_drop_cluster(q, (entry & QCOW2_OFFSET_MASK) >> q->cluster_bits) : 0;
    qcow2_compressed_range(q, entry, &offset, &bytes);
    cluster = offset >> q->cluster_bits;
    last = (offset + bytes - 1) >> q->cluster_bits;
    rc = reserve_drops(q, (size_t)(last - cluster) + 1);
    if (rc)
        return rc;
    for (; cluster <= last; cluster++)
        q->drops[q->drop_count++] = cluster;
    return 0;
}
