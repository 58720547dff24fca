/* Checking a qcow2 image: counts the references to each cluster and compares; see qcow2_internal.h.
 *
 * Every pointer is hostile here more than anywhere: what does not lie inside the file is reported and not followed, and
 * both the clusters counted and the tables walked are bounded. */
#include "dev/block/qcow2_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CLUSTERS_MAX = 1 << 27, ENTRIES_MAX = 1 << 28, LINES_MAX = 20 };

struct walk {
    struct qcow2 *q;
    FILE *out;
    unsigned lines;
    struct node_check *found;
    uint32_t *counts; /* references by cluster, saturating */
    uint64_t clusters;
    uint64_t entries; /* of all tables so far */
    uint8_t *table;
};

static void say(struct walk *w, const char *format, ...) TUFF_PRINTF(2, 3);

static void say(struct walk *w, const char *format, ...)
{
    va_list args;

    if (!w->out || w->lines++ >= LINES_MAX)
        return;
    va_start(args, format);
    (void)vfprintf(w->out, format, args);
    va_end(args);
    (void)fputc('\n', w->out);
}

static void corruption(struct walk *w, const char *what, uint64_t offset)
{
    w->found->corruptions++;
    say(w, "damage: %s at 0x%" PRIx64, what, offset);
}

/* Counts the clusters of [offset, offset + bytes). */
static void count_range(struct walk *w, const char *what, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset >> w->q->cluster_bits, last = (offset + bytes - 1) >> w->q->cluster_bits;

    if (!bytes)
        return;
    if (offset + bytes < offset || last >= w->clusters) {
        corruption(w, what, offset);
        return;
    }
    for (uint64_t i = first; i <= last; i++)
        w->counts[i] += w->counts[i] != UINT32_MAX;
}

/* A table of cluster size that something points to. Returns false when it cannot be followed. */
static bool count_table(struct walk *w, const char *what, uint64_t offset)
{
    if (offset % w->q->cluster_bytes || offset >> w->q->cluster_bits >= w->clusters) {
        corruption(w, what, offset);
        return false;
    }
    count_range(w, what, offset, w->q->cluster_bytes);
    return true;
}

static int bounded(struct walk *w, uint64_t more, struct error *err)
{
    w->entries += more;
    return w->entries > ENTRIES_MAX ? error_set(err, -EFBIG, "%s: too many tables to check", w->q->name) : 0;
}

static void count_entry(struct walk *w, uint64_t entry, bool active)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK, bytes;

    if (entry & QCOW2_COMPRESSED) {
        qcow2_compressed_range(w->q, entry, &offset, &bytes);
        count_range(w, "a compressed cluster", offset, bytes);
        w->found->compressed += active;
    } else if (offset) {
        count_table(w, "a cluster of the disk", offset);
    }
    w->found->allocated += active && entry & (QCOW2_COMPRESSED | QCOW2_OFFSET_MASK);
}

static int walk_l2(struct walk *w, uint64_t offset, bool active, struct error *err)
{
    int rc = bounded(w, w->q->cluster_bytes / 8, err);

    if (rc || !count_table(w, "an L2 table", offset))
        return rc;
    rc = host_file_read(w->q->node.file, w->table, w->q->cluster_bytes, offset);
    if (rc)
        return error_set(err, rc, "%s: %s", w->q->name, strerror(-rc));
    for (uint64_t i = 0; i < w->q->cluster_bytes / 8; i++)
        count_entry(w, be64_at(w->table + 8 * i), active);
    return 0;
}

/* Entries in host order. */
static int walk_l1(struct walk *w, const uint64_t *l1, uint32_t size, uint64_t offset, bool active, struct error *err)
{
    int rc = bounded(w, size, err);

    count_range(w, "an L1 table", offset, (uint64_t)size * 8);
    for (uint32_t i = 0; i < size && !rc; i++) {
        if (l1[i] & QCOW2_OFFSET_MASK)
            rc = walk_l2(w, l1[i] & QCOW2_OFFSET_MASK, active, err);
    }
    return rc;
}

static int walk_snapshot(struct walk *w, uint64_t offset, uint32_t size, struct error *err)
{
    uint64_t bytes = (uint64_t)size * 8;
    uint64_t *l1;
    int rc;

    if (bytes > QCOW2_L1_BYTES_MAX || offset % w->q->cluster_bytes) {
        corruption(w, "the L1 table of a snapshot", offset);
        return 0;
    }
    l1 = malloc(bytes + 1);
    rc = l1 ? host_file_read(w->q->node.file, l1, bytes, offset) : -ENOMEM;
    if (rc) {
        free(l1);
        return error_set(err, rc, "%s: %s", w->q->name, strerror(-rc));
    }
    for (uint32_t i = 0; i < size; i++)
        l1[i] = __builtin_bswap64(l1[i]);
    rc = walk_l1(w, l1, size, offset, false, err);
    free(l1);
    return rc;
}

static int walk_snapshots(struct walk *w, struct error *err)
{
    enum { FIXED_BYTES = 40 };
    struct qcow2 *q = w->q;
    uint64_t at = q->snapshots_offset;
    int rc = 0;

    for (uint32_t i = 0; i < q->snapshots && !rc; i++) {
        uint8_t head[FIXED_BYTES];
        uint64_t extra;

        if (at >= w->clusters << q->cluster_bits) {
            corruption(w, "the table of snapshots", at);
            return 0;
        }
        rc = host_file_read(q->node.file, head, sizeof(head), at);
        if (rc)
            return error_set(err, rc, "%s: %s", q->name, strerror(-rc));
        extra = be32_at(head + 36);
        rc = walk_snapshot(w, be64_at(head), be32_at(head + 8), err);
        at += round_up_u64(
            FIXED_BYTES + extra + ((uint32_t)head[12] << 8 | head[13]) + ((uint32_t)head[14] << 8 | head[15]), 8);
    }
    count_range(w, "the table of snapshots", q->snapshots_offset, at - q->snapshots_offset);
    return rc;
}

/* Bitmaps are not used but keep their place. */
static int walk_bitmaps(struct walk *w, struct error *err)
{
    enum { FIXED_BYTES = 24 };
    struct qcow2 *q = w->q;
    uint64_t at = q->bitmaps_offset, end = at + q->bitmaps_bytes;
    int rc = 0;

    count_range(w, "the directory of bitmaps", q->bitmaps_offset, q->bitmaps_bytes);
    if (end < at || end > w->clusters << q->cluster_bits)
        return 0;
    for (uint32_t i = 0; i < q->bitmaps && at + FIXED_BYTES <= end && !rc; i++) {
        uint8_t head[FIXED_BYTES], entry[8];
        uint64_t table, size;

        rc = host_file_read(q->node.file, head, sizeof(head), at);
        if (rc)
            break;
        table = be64_at(head);
        size = be32_at(head + 8);
        rc = bounded(w, size, err);
        if (rc)
            return rc;
        count_range(w, "the table of a bitmap", table, size * 8);
        for (uint64_t e = 0; e < size && table + size * 8 <= w->clusters << q->cluster_bits && !rc; e++) {
            rc = host_file_read(q->node.file, entry, sizeof(entry), table + 8 * e);
            if (!rc && be64_at(entry) & QCOW2_OFFSET_MASK)
                count_table(w, "a bitmap", be64_at(entry) & QCOW2_OFFSET_MASK);
        }
        at += round_up_u64(FIXED_BYTES + ((uint64_t)head[18] << 8 | head[19]) + be32_at(head + 20), 8);
    }
    return rc ? error_set(err, rc, "%s: %s", q->name, strerror(-rc)) : 0;
}

static int walk_all(struct walk *w, struct error *err)
{
    struct qcow2 *q = w->q;
    int rc;

    count_range(w, "the header", 0, q->cluster_bytes);
    count_range(w, "the reference count table", q->reftable_offset, q->reftable_clusters * q->cluster_bytes);
    for (uint64_t i = 0; i < q->reftable_size; i++) {
        uint64_t before = w->found->corruptions;

        if (q->reftable[i])
            count_table(w, "a reference count block", q->reftable[i]);
        if (w->found->corruptions != before)
            q->reftable[i] = 0; /* cannot be used, so that its counts are made anew */
    }
    rc = walk_l1(w, q->l1, q->l1_size, q->l1_offset, true, err);
    if (!rc)
        rc = walk_snapshots(w, err);
    if (!rc && q->bitmaps_offset)
        rc = walk_bitmaps(w, err);
    return rc;
}

/* Compares what was counted with what is recorded, and makes it so. */
static int compare(struct walk *w, bool repair, struct error *err)
{
    struct qcow2 *q = w->q;
    uint64_t covered = q->reftable_size << q->rb_bits;
    int rc = 0;

    for (uint64_t i = 0; (i < w->clusters || i < covered) && !rc; i++) {
        uint64_t recorded, counted = i < w->clusters ? w->counts[i] : 0;

        if (i >= w->clusters && !q->reftable[i >> q->rb_bits]) { /* nothing is recorded for any of these */
            i |= (UINT64_C(1) << q->rb_bits) - 1;
            continue;
        }
        if (i >= w->clusters && i < q->end_cluster) /* allocated by the repair */
            continue;
        rc = qcow2_refcount(q, i, &recorded);
        if (rc || recorded == counted)
            continue;
        if (recorded < counted) {
            w->found->corruptions++;
            w->found->corruptions_fixed += repair;
        } else {
            w->found->leaks++;
            w->found->leaks_fixed += repair;
        }
        say(w, "%s: cluster %" PRIu64 " has %" PRIu64 " references and a count of %" PRIu64,
            recorded < counted ? "damage" : "leak", i, counted, recorded);
        if (repair)
            rc = qcow2_refcount_set(q, i, counted);
    }
    return rc ? error_set(err, rc, "%s: reference counts: %s", q->name, strerror(-rc)) : 0;
}

/* Bit 63 of a pointer says that it is the only one. Where it wrongly does not, data are copied for nothing. */
static uint64_t with_copied(struct walk *w, uint64_t entry, bool repair)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK, wanted = entry & ~QCOW2_COPIED;

    if (!offset || entry & QCOW2_COMPRESSED || offset >> w->q->cluster_bits >= w->clusters ||
        offset % w->q->cluster_bytes)
        return entry;
    if (w->counts[offset >> w->q->cluster_bits] == 1)
        wanted |= QCOW2_COPIED;
    if (wanted == entry)
        return entry;
    if (wanted & QCOW2_COPIED) {
        w->found->leaks++;
        w->found->leaks_fixed += repair;
        say(w, "leak: the pointer 0x%" PRIx64 " is the only one and does not say so", entry);
        return repair ? wanted : entry;
    }
    w->found->corruptions++;
    w->found->corruptions_fixed += repair;
    say(w, "damage: the pointer 0x%" PRIx64 " is wrong about being the only one", entry);
    return repair ? wanted : entry;
}

static int compare_copied(struct walk *w, bool repair, struct error *err)
{
    struct qcow2 *q = w->q;
    int rc = 0;

    for (uint32_t i = 0; i < q->l1_size && !rc; i++) {
        uint64_t offset = q->l1[i] & QCOW2_OFFSET_MASK, entry = with_copied(w, q->l1[i], repair);
        bool changed = false;

        if (entry != q->l1[i])
            rc = qcow2_write_u64(q, q->l1_offset + 8 * (uint64_t)i, q->l1[i] = entry);
        if (rc || !offset || offset % q->cluster_bytes || offset >> q->cluster_bits >= w->clusters)
            continue;
        rc = host_file_read(q->node.file, w->table, q->cluster_bytes, offset);
        for (uint64_t e = 0; e < q->cluster_bytes / 8 && !rc; e++) {
            uint64_t old = be64_at(w->table + 8 * e), now = with_copied(w, old, repair);

            changed |= now != old;
            be64_put(w->table + 8 * e, now);
        }
        if (!rc && changed) {
            qcow2_cache_drop(&q->l2s, offset);
            rc = host_file_write(q->node.file, w->table, q->cluster_bytes, offset);
        }
    }
    return rc ? error_set(err, rc, "%s: %s", q->name, strerror(-rc)) : 0;
}

/* The counts in memory are those of `w`; what was damaged otherwise stays marked. */
static int finish_repair(struct walk *w, struct error *err)
{
    struct qcow2 *q = w->q;
    uint64_t clear = QCOW2_INCOMPATIBLE_DIRTY;
    int rc = qcow2_flush_all(q, true);

    if (!rc && q->version >= 3) {
        if (w->found->corruptions == w->found->corruptions_fixed)
            clear |= QCOW2_INCOMPATIBLE_CORRUPT;
        rc = qcow2_write_u64(q, QCOW2_AT_INCOMPATIBLE, q->incompatible & ~clear);
        if (!rc)
            rc = host_file_sync(q->node.file);
        if (!rc)
            q->incompatible &= ~clear;
    }
    return rc ? error_set(err, rc, "%s: %s", q->name, strerror(-rc)) : 0;
}

int qcow2_check(struct block_node *node, bool repair, FILE *out, struct node_check *result, struct error *err)
{
    struct qcow2 *q = qcow2_of(node);
    struct walk w = {.q = q, .out = out, .found = result, .clusters = q->end_cluster};
    int rc;

    *result = (struct node_check){.clusters = (node->size_bytes + q->cluster_bytes - 1) >> q->cluster_bits};
    if (repair && !node->file->writable)
        return error_set(err, -EROFS, "%s: was not opened for repairing", q->name);
    if (w.clusters > CLUSTERS_MAX)
        return error_set(err, -EFBIG, "%s: is too large to be checked", q->name);
    w.counts = calloc(w.clusters + 1, sizeof(*w.counts));
    w.table = malloc(q->cluster_bytes);
    rc = w.counts && w.table ? 0 : error_set(err, -ENOMEM, "%s: no memory to check it", q->name);
    if (!rc)
        rc = walk_all(&w, err);
    /* New blocks of counts go where nothing is. */
    q->free_hint = q->end_cluster;
    if (!rc)
        rc = compare(&w, repair, err);
    if (!rc)
        rc = compare_copied(&w, repair, err);
    if (!rc && repair)
        rc = finish_repair(&w, err);
    q->free_hint = 0;
    free(w.counts);
    free(w.table);
    return rc;
}

void qcow2_info(struct block_node *node, FILE *out)
{
    struct qcow2 *q = qcow2_of(node);

    fprintf(out, "version:       %u\n", q->version);
    fprintf(out, "cluster size:  %" PRIu64 " bytes\n", q->cluster_bytes);
    if (q->backing_name[0]) {
        fprintf(out, "backing file:  ");
        for (const char *c = q->backing_name; *c; c++)
            (void)fputc((unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c, out);
        fprintf(out, "%s%s\n", q->backing_format[0] ? ", " : "", q->backing_format);
    }
    fprintf(out, "snapshots:     %" PRIu32 "\n", q->snapshots);
    if (q->snapshots)
        qcow2_list_snapshots(q, out);
    fprintf(out, "refcounts:     %u bits%s\n", 1u << q->refcount_order, q->lazy ? ", lazy" : "");
    if (q->compression == QCOW2_COMPRESSION_ZSTD)
        fprintf(out, "compression:   zstd\n");
    if (q->incompatible & QCOW2_INCOMPATIBLE_DIRTY)
        fprintf(out, "not closed:    its reference counts are made anew when it is opened for writing\n");
    if (q->incompatible & QCOW2_INCOMPATIBLE_CORRUPT)
        fprintf(out, "damaged:       see tuff image check\n");
}
