/* Guest data of a qcow2 image: where it lies, reading, writing with allocation, discarding; see qcow2_internal.h.
 *
 * A write goes in runs. A run is what one call of the host can do: clusters that are written in place and lie behind
 * each other, or clusters that need space and got it in a row. The latter are written in full, with what their first
 * and last cluster held around the guest's data, and linked into the L2 table when that has succeeded. */
#include "dev/block/qcow2_internal.h"

#include "dev/iov.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- L1 and L2 tables, under the lock ---- */

static uint64_t l1_index(const struct qcow2 *q, uint64_t offset)
{
    return offset >> (q->cluster_bits + q->l2_bits);
}

static uint64_t l2_index(const struct qcow2 *q, uint64_t offset)
{
    return offset >> q->cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1);
}

static uint64_t in_cluster(const struct qcow2 *q, uint64_t offset)
{
    return offset & (q->cluster_bytes - 1);
}

/* Clusters from `offset`'s on that the same L2 table describes. */
static uint64_t l2_left(const struct qcow2 *q, uint64_t offset)
{
    return (UINT64_C(1) << q->l2_bits) - l2_index(q, offset);
}

/* The L2 table for `offset`, NULL if there is none. With `cached_only` -EAGAIN instead of loading it. */
static int l2_get(struct qcow2 *q, uint64_t offset, bool cached_only, struct qcow2_table **out)
{
    uint64_t index = l1_index(q, offset), at;

    *out = NULL;
    at = index < q->l1_size ? q->l1[index] & QCOW2_OFFSET_MASK : 0;
    if (!at)
        return 0;
    if (!qcow2_offset_is_sane(q, at))
        return qcow2_corrupt(q, "L2 table %" PRIu64 " lies at 0x%" PRIx64, index, at);
    if (cached_only) {
        *out = qcow2_cache_find(&q->l2s, at);
        return *out ? 0 : -EAGAIN;
    }
    return qcow2_cache_get(q, &q->l2s, at, out);
}

static uint64_t l2_entry(const struct qcow2 *q, const struct qcow2_table *table, uint64_t offset)
{
    return table ? be64_at(table->bytes + 8 * l2_index(q, offset)) : 0;
}

static void l1_set(struct qcow2 *q, uint64_t index, uint64_t entry)
{
    q->l1[index] = entry;
    if (q->l1_dirty_from == q->l1_dirty_to) {
        q->l1_dirty_from = (uint32_t)index;
        q->l1_dirty_to = (uint32_t)index + 1;
        return;
    }
    if (index < q->l1_dirty_from)
        q->l1_dirty_from = (uint32_t)index;
    if (index >= q->l1_dirty_to)
        q->l1_dirty_to = (uint32_t)index + 1;
}

/* The L2 table for `offset`, to be changed: a new one where there is none, a copy where a snapshot has it too. */
static int l2_for_change(struct qcow2 *q, uint64_t offset, struct qcow2_table **out)
{
    uint64_t index = l1_index(q, offset), old, cluster, got;
    struct qcow2_table *from;
    bool fresh;
    int rc = qcow2_begin_change(q);

    if (!rc)
        rc = l2_get(q, offset, false, &from);
    if (rc)
        return rc;
    *out = from;
    if (from && q->l1[index] & QCOW2_COPIED)
        return 0;
    old = q->l1[index] & QCOW2_OFFSET_MASK;
    rc = qcow2_allocate(q, 1, &cluster, &got, &fresh);
    if (rc)
        return rc;
    rc = qcow2_cache_new(q, &q->l2s, cluster << q->cluster_bits, out);
    if (!rc && from) { /* looked up again: making room may have dropped it */
        rc = qcow2_cache_get(q, &q->l2s, old, &from);
        if (!rc)
            memcpy((*out)->bytes, from->bytes, q->cluster_bytes);
        if (!rc)
            rc = qcow2_drop_cluster(q, old >> q->cluster_bits);
        if (rc)
            qcow2_cache_drop(&q->l2s, cluster << q->cluster_bits);
    }
    if (rc) {
        qcow2_unallocate(q, cluster, 1);
        return rc;
    }
    l1_set(q, index, cluster << q->cluster_bits | QCOW2_COPIED);
    return 0;
}

/* ---- what a cluster is ---- */

enum kind { KIND_ZERO, KIND_BACKING, KIND_DATA, KIND_COMPRESSED };

/* For reading. */
static int kind_of(struct qcow2 *q, uint64_t entry, enum kind *kind)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_COMPRESSED) {
        *kind = KIND_COMPRESSED;
        return 0;
    }
    if (entry & QCOW2_ZERO) {
        if (q->version < 3)
            return qcow2_corrupt(q, "an entry of an L2 table is 0x%" PRIx64, entry);
        *kind = KIND_ZERO;
    } else if (host) {
        *kind = KIND_DATA;
    } else {
        *kind = q->node.backing ? KIND_BACKING : KIND_ZERO;
    }
    if (host && !qcow2_offset_is_sane(q, host))
        return qcow2_corrupt(q, "a cluster of the disk lies at 0x%" PRIx64, host);
    return 0;
}

static bool is_in_place(const struct qcow2 *q, uint64_t entry)
{
    return entry & QCOW2_COPIED && !(entry & (QCOW2_COMPRESSED | QCOW2_ZERO)) && entry & QCOW2_OFFSET_MASK;
}

/* What is alike from `offset` on, at most `bytes`. */
struct run {
    enum kind kind;
    uint64_t entry; /* of the first cluster */
    uint64_t bytes;
};

static int find_run(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool cached_only, bool in_place, struct run *run)
{
    struct qcow2_table *table;
    uint64_t left, entry;
    enum kind kind = KIND_ZERO;
    int rc = l2_get(q, offset, cached_only, &table);

    if (rc)
        return rc;
    run->kind = KIND_ZERO;
    run->entry = l2_entry(q, table, offset);
    rc = kind_of(q, run->entry, &run->kind);
    if (rc)
        return rc;
    if (in_place && !is_in_place(q, run->entry))
        return -EAGAIN;
    left = l2_left(q, offset);
    run->bytes = q->cluster_bytes - in_cluster(q, offset);
    if (!table) {
        run->bytes += (left - 1) * q->cluster_bytes;
    } else if (run->kind != KIND_COMPRESSED) {
        for (uint64_t i = 1; i < left && run->bytes < bytes; i++, run->bytes += q->cluster_bytes) {
            entry = l2_entry(q, table, offset + i * q->cluster_bytes);
            if (kind_of(q, entry, &kind) || kind != run->kind || (in_place && !is_in_place(q, entry)))
                break;
            if (kind == KIND_DATA &&
                (entry & QCOW2_OFFSET_MASK) != (run->entry & QCOW2_OFFSET_MASK) + i * q->cluster_bytes)
                break;
        }
    }
    run->bytes = min_u64(run->bytes, bytes);
    return 0;
}

static unsigned qcow2_map(struct block_node *node, bool write, uint64_t offset, uint64_t bytes, struct node_extent *out,
                          unsigned max)
{
    struct qcow2 *q = qcow2_of(node);
    unsigned n = 0;
    struct run run = {.kind = KIND_ZERO};

    /* A lock that is held may be held for a read from the disk. */
    if (pthread_mutex_trylock(&q->lock))
        return 0;
    while (bytes && n < max && !(write && q->corrupt) && find_run(q, offset, bytes, true, write, &run) == 0) {
        struct node_extent *e = &out[n];

        *e = (struct node_extent){.bytes = run.bytes};
        if (run.kind == KIND_DATA) {
            e->file = node->file;
            e->host_offset = (run.entry & QCOW2_OFFSET_MASK) + in_cluster(q, offset);
        } else if (run.kind == KIND_BACKING) {
            uint64_t size = node->backing->size_bytes;

            if (offset < size &&
                (run.bytes > size - offset || node_map(node->backing, false, offset, run.bytes, e, 1) != 1))
                break;
        } else if (run.kind != KIND_ZERO) {
            break;
        }
        offset += e->bytes;
        bytes -= e->bytes;
        n++;
    }
    pthread_mutex_unlock(&q->lock);
    return bytes ? 0 : n;
}

/* ---- reading ---- */

static int read_backing(struct block_node *backing, const struct iovec *iov, unsigned count, uint64_t offset)
{
    uint64_t bytes = iov_bytes(iov, count), there;
    struct iovec *part;
    int rc;

    there = offset < backing->size_bytes ? min_u64(bytes, backing->size_bytes - offset) : 0;
    iov_zero(iov, count, there, UINT64_MAX);
    if (!there)
        return 0;
    if (there == bytes)
        return node_readv(backing, iov, count, offset);
    part = malloc(count * sizeof(*part));
    if (!part)
        return -ENOMEM;
    rc = node_readv(backing, part, iov_part(iov, count, 0, there, part, count), offset);
    free(part);
    return rc;
}

static int read_run(struct qcow2 *q, const struct run *run, const struct iovec *iov, unsigned count, uint64_t offset)
{
    switch (run->kind) {
    case KIND_DATA:
        return host_file_readv_padded(q->node.file, iov, count,
                                      (run->entry & QCOW2_OFFSET_MASK) + in_cluster(q, offset));
    case KIND_COMPRESSED:
        return qcow2_inflate(q, run->entry, in_cluster(q, offset), iov, count);
    case KIND_BACKING:
        return read_backing(q->node.backing, iov, count, offset);
    default:
        iov_zero(iov, count, 0, UINT64_MAX);
        return 0;
    }
}

static int qcow2_readv(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset)
{
    struct qcow2 *q = qcow2_of(node);
    uint64_t bytes = iov_bytes(iov, count), done = 0;
    struct iovec *part = count ? malloc(count * sizeof(*part)) : NULL;
    int rc = part || !count ? 0 : -ENOMEM;

    while (!rc && done < bytes) {
        struct run run;

        pthread_mutex_lock(&q->lock);
        rc = find_run(q, offset + done, bytes - done, false, false, &run);
        pthread_mutex_unlock(&q->lock);
        if (!rc)
            rc = read_run(q, &run, part, iov_part(iov, count, done, run.bytes, part, count), offset + done);
        done += run.bytes;
    }
    free(part);
    return rc;
}

/* ---- writing ---- */

/* Clusters that got space: `count` from number `first` on for the guest's clusters from `guest` (aligned) on. */
struct allocation {
    uint64_t guest, first, count;
    bool fresh;  /* reads as zeroes */
    bool reused; /* was the cluster's own already, but reads as zero */
};

/* Under the lock: space for [offset, offset + bytes) or the beginning of it. */
static int allocate_run(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct allocation *a)
{
    uint64_t wanted, entry;
    struct qcow2_table *table;
    int rc = qcow2_begin_change(q);

    if (!rc)
        rc = l2_get(q, offset, false, &table);
    if (rc)
        return rc;
    *a = (struct allocation){.guest = offset - in_cluster(q, offset)};
    entry = l2_entry(q, table, offset);
    if (entry & QCOW2_COPIED && !(entry & QCOW2_COMPRESSED) && entry & QCOW2_OFFSET_MASK) {
        a->first = (entry & QCOW2_OFFSET_MASK) >> q->cluster_bits;
        a->count = 1;
        a->reused = true;
        return 0;
    }
    wanted = (in_cluster(q, offset) + bytes + q->cluster_bytes - 1) >> q->cluster_bits;
    wanted = min_u64(wanted, l2_left(q, offset));
    for (uint64_t i = 1; i < wanted; i++) {
        entry = l2_entry(q, table, a->guest + i * q->cluster_bytes);
        if (entry & QCOW2_COPIED && !(entry & QCOW2_COMPRESSED))
            wanted = i;
    }
    return qcow2_allocate(q, wanted, &a->first, &a->count, &a->fresh);
}

/* What the guest's cluster held in [offset, offset + bytes), which may reach beyond the end of the disk. NULL with
 * `*rc` 0: zeroes that the new cluster has already. */
static uint8_t *old_contents(struct qcow2 *q, const struct allocation *a, uint64_t offset, uint64_t bytes, int *rc)
{
    uint64_t there = offset < q->node.size_bytes ? min_u64(bytes, q->node.size_bytes - offset) : 0;
    struct iovec iov;
    struct run run = {.kind = KIND_ZERO};
    uint8_t *buf;

    *rc = 0;
    if (!bytes)
        return NULL;
    if (there) {
        pthread_mutex_lock(&q->lock);
        *rc = find_run(q, offset, there, false, false, &run);
        pthread_mutex_unlock(&q->lock);
    }
    if (*rc || (run.kind == KIND_ZERO && a->fresh))
        return NULL;
    buf = calloc(1, bytes);
    *rc = buf ? 0 : -ENOMEM;
    if (buf && there) {
        iov = (struct iovec){.iov_base = buf, .iov_len = there};
        *rc = read_run(q, &run, &iov, 1, offset);
    }
    return buf;
}

static int write_allocation(struct qcow2 *q, const struct allocation *a, const struct iovec *iov, unsigned count,
                            uint64_t offset, uint64_t bytes)
{
    uint64_t head = offset - a->guest, end = a->count * q->cluster_bytes, tail = end - head - bytes;
    uint64_t host = a->first << q->cluster_bits;
    struct iovec *all = malloc((count + 2) * sizeof(*all));
    uint8_t *before = NULL, *after = NULL;
    unsigned n = 0;
    int rc = all ? 0 : -ENOMEM;

    if (!rc)
        before = old_contents(q, a, a->guest, head, &rc);
    if (!rc)
        after = old_contents(q, a, offset + bytes, tail, &rc);
    if (!rc) {
        if (before)
            all[n++] = (struct iovec){.iov_base = before, .iov_len = head};
        memcpy(all + n, iov, count * sizeof(*iov));
        n += count;
        if (after)
            all[n++] = (struct iovec){.iov_base = after, .iov_len = tail};
        rc = host_file_writev(q->node.file, all, n, before ? host : host + head);
    }
    free(before);
    free(after);
    free(all);
    return rc;
}

/* Under the lock. Points the guest's clusters to the new ones. On failure nothing has changed. */
static int link_allocation(struct qcow2 *q, const struct allocation *a)
{
    struct qcow2_table *table;
    size_t drops_before;
    int rc = l2_for_change(q, a->guest, &table);

    if (rc)
        return rc;
    drops_before = q->drop_count;
    for (uint64_t i = 0; i < a->count && !rc && !a->reused; i++)
        rc = qcow2_drop_entry(q, l2_entry(q, table, a->guest + i * q->cluster_bytes));
    if (rc) {
        q->drop_count = drops_before;
        return rc;
    }
    for (uint64_t i = 0; i < a->count; i++)
        be64_put(table->bytes + 8 * (l2_index(q, a->guest) + i), (a->first + i) << q->cluster_bits | QCOW2_COPIED);
    qcow2_table_dirty(&q->l2s, table);
    return 0;
}

static int write_allocating(struct qcow2 *q, const struct iovec *iov, unsigned count, uint64_t offset,
                            struct iovec *part, uint64_t *bytes)
{
    struct allocation a;
    int rc;

    pthread_mutex_lock(&q->lock);
    rc = allocate_run(q, offset, *bytes, &a);
    pthread_mutex_unlock(&q->lock);
    if (rc)
        return rc;
    *bytes = min_u64(*bytes, a.count * q->cluster_bytes - (offset - a.guest));
    count = iov_part(iov, count, 0, *bytes, part, count);
    rc = write_allocation(q, &a, part, count, offset, *bytes);
    pthread_mutex_lock(&q->lock);
    if (!rc)
        rc = link_allocation(q, &a);
    if (rc && !a.reused)
        qcow2_unallocate(q, a.first, a.count);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static int qcow2_writev(struct block_node *node, const struct iovec *iov, unsigned count, uint64_t offset)
{
    struct qcow2 *q = qcow2_of(node);
    uint64_t bytes = iov_bytes(iov, count), done = 0;
    struct iovec *part = malloc(2 * (size_t)(count + 1) * sizeof(*part));
    int rc = part ? qcow2_relieve(q) : -ENOMEM;

    while (!rc && done < bytes) {
        unsigned left = iov_part(iov, count, done, UINT64_MAX, part, count);
        uint64_t now = bytes - done;
        struct run run;

        pthread_mutex_lock(&q->lock);
        rc = q->corrupt ? -EIO : find_run(q, offset + done, now, false, true, &run);
        pthread_mutex_unlock(&q->lock);
        if (rc == 0) {
            now = run.bytes;
            rc = host_file_writev(node->file, part + left, iov_part(part, left, 0, now, part + left, left),
                                  (run.entry & QCOW2_OFFSET_MASK) + in_cluster(q, offset + done));
        } else if (rc == -EAGAIN) {
            rc = write_allocating(q, part, left, offset + done, part + left, &now);
        }
        done += now;
    }
    free(part);
    return rc;
}

/* ---- discarding and zeroes ---- */

/* What an entry becomes, or `entry` when nothing has to change. */
static uint64_t entry_discarded(const struct qcow2 *q, uint64_t entry)
{
    if (q->version >= 3 && q->node.backing)
        return QCOW2_ZERO;
    /* Version 2 has no way to hide the backing image again. */
    return q->node.backing ? entry : 0;
}

static uint64_t entry_zeroed(const struct qcow2 *q, uint64_t entry, bool may_unmap)
{
    bool own = entry & QCOW2_COPIED && !(entry & QCOW2_COMPRESSED) && entry & QCOW2_OFFSET_MASK;

    if (own && !may_unmap && q->version >= 3)
        return entry | QCOW2_ZERO;
    if (!entry && !q->node.backing)
        return 0;
    return q->version >= 3 ? QCOW2_ZERO : 0;
}

/* Whole clusters of one L2 table. */
static int change_entries(struct qcow2 *q, uint64_t offset, uint64_t clusters, bool discard, bool may_unmap)
{
    struct qcow2_table *table;
    uint64_t entry, next;
    bool change = false;
    int rc;

    rc = l2_get(q, offset, false, &table);
    for (uint64_t i = 0; i < clusters && !rc && !change; i++) {
        entry = l2_entry(q, table, offset + i * q->cluster_bytes);
        next = discard ? entry_discarded(q, entry) : entry_zeroed(q, entry, may_unmap);
        change = next != entry;
    }
    if (rc || !change)
        return rc;
    rc = l2_for_change(q, offset, &table);
    for (uint64_t i = 0; i < clusters && !rc; i++) {
        entry = l2_entry(q, table, offset + i * q->cluster_bytes);
        next = discard ? entry_discarded(q, entry) : entry_zeroed(q, entry, may_unmap);
        if (next == entry)
            continue;
        if (!(next & QCOW2_OFFSET_MASK))
            rc = qcow2_drop_entry(q, entry);
        if (!rc)
            be64_put(table->bytes + 8 * (l2_index(q, offset) + i), next);
    }
    if (table)
        qcow2_table_dirty(&q->l2s, table);
    return rc;
}

/* Zeroes by writing them; skips what reads as zero anyway. */
static int zero_by_writing(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    uint64_t chunk = min_u64(bytes, 1 << 20), done = 0;
    struct iovec iov;
    struct run run;
    uint8_t *zeroes;
    int rc = 0;

    if (!bytes)
        return 0;
    zeroes = calloc(1, chunk);
    if (!zeroes)
        return -ENOMEM;
    while (done < bytes && !rc) {
        uint64_t now = min_u64(bytes - done, chunk);

        pthread_mutex_lock(&q->lock);
        rc = find_run(q, offset + done, now, false, false, &run);
        pthread_mutex_unlock(&q->lock);
        if (!rc && run.kind != KIND_ZERO) {
            iov = (struct iovec){.iov_base = zeroes, .iov_len = run.bytes};
            rc = qcow2_writev(&q->node, &iov, 1, offset + done);
        }
        done += run.bytes;
    }
    free(zeroes);
    return rc;
}

/* Calls change_entries() for the whole clusters of a range. The last cluster of the disk is whole if the range reaches
 * the disk's end. */
static int change_range(struct qcow2 *q, uint64_t from, uint64_t to, bool discard, bool may_unmap)
{
    int rc = 0;

    while (from < to && !rc) {
        uint64_t clusters = min_u64((to - from + q->cluster_bytes - 1) >> q->cluster_bits, l2_left(q, from));

        rc = qcow2_relieve(q);
        pthread_mutex_lock(&q->lock);
        if (!rc)
            rc = q->corrupt ? -EIO : change_entries(q, from, clusters, discard, may_unmap);
        pthread_mutex_unlock(&q->lock);
        from += clusters << q->cluster_bits;
    }
    return rc;
}

/* The whole clusters in a range. Returns false when there are none. */
static bool whole_clusters(const struct qcow2 *q, uint64_t offset, uint64_t bytes, uint64_t *from, uint64_t *to)
{
    *from = round_up_u64(offset, q->cluster_bytes);
    *to = offset + bytes == q->node.size_bytes ? offset + bytes : (offset + bytes) & ~(q->cluster_bytes - 1);
    return *from < *to;
}

static int qcow2_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    struct qcow2 *q = qcow2_of(node);
    uint64_t from, to;

    return whole_clusters(q, offset, bytes, &from, &to) ? change_range(q, from, to, true, true) : 0;
}

static int qcow2_zero(struct block_node *node, uint64_t offset, uint64_t bytes, bool may_unmap)
{
    struct qcow2 *q = qcow2_of(node);
    uint64_t from, to, end = offset + bytes;
    int rc;

    if (!whole_clusters(q, offset, bytes, &from, &to) || (q->version < 3 && (node->backing || !may_unmap)))
        return zero_by_writing(q, offset, bytes);
    rc = zero_by_writing(q, offset, from - offset);
    if (!rc)
        rc = change_range(q, from, to, false, may_unmap);
    return rc ? rc : zero_by_writing(q, to, end - to);
}

static int qcow2_flush(struct block_node *node)
{
    return qcow2_flush_all(qcow2_of(node), false);
}

static int qcow2_status(struct block_node *node, uint64_t offset, uint64_t bytes, uint64_t *alike, bool *zero)
{
    struct qcow2 *q = qcow2_of(node);
    struct run run;
    int rc;

    pthread_mutex_lock(&q->lock);
    rc = find_run(q, offset, bytes, false, false, &run);
    pthread_mutex_unlock(&q->lock);
    if (rc)
        return rc;
    *alike = run.bytes;
    *zero = run.kind == KIND_ZERO;
    if (run.kind != KIND_BACKING)
        return 0;
    if (offset >= node->backing->size_bytes) {
        *zero = true;
        return 0;
    }
    return node_status(node->backing, offset, min_u64(run.bytes, node->backing->size_bytes - offset), alike, zero);
}

static int close_writable(struct qcow2 *q)
{
    int rc = 0;

    /* Counts that go down after one flush are for the next one; their own tables' clusters for one more. */
    for (int i = 0; i < 4 && !rc; i++) {
        if (i && !q->rbs.dirty_count && !q->drop_count && !q->l2s.dirty_count)
            break;
        rc = qcow2_flush_all(q, true);
    }
    if (!rc && q->incompatible & QCOW2_INCOMPATIBLE_DIRTY) {
        rc = qcow2_write_u64(q, QCOW2_AT_INCOMPATIBLE, q->incompatible & ~QCOW2_INCOMPATIBLE_DIRTY);
        if (!rc)
            rc = host_file_sync(q->node.file);
    }
    return rc;
}

static int qcow2_close(struct block_node *node)
{
    struct qcow2 *q = qcow2_of(node);
    /* What a snapshot's guest wrote goes with the file. */
    int rc = node->writable && !q->corrupt && !node->file->no_sync ? close_writable(q) : 0;

    qcow2_cache_free(&q->l2s);
    qcow2_cache_free(&q->rbs);
    free(q->l1);
    free(q->reftable);
    free(q->drops);
    free(q->inflated);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->flush_lock);
    pthread_mutex_destroy(&q->inflate_lock);
    free(q);
    return rc;
}

const struct node_ops qcow2_ops = {
    .format = BLOCK_FORMAT_QCOW2,
    .map = qcow2_map,
    .readv = qcow2_readv,
    .writev = qcow2_writev,
    .discard = qcow2_discard,
    .zero = qcow2_zero,
    .flush = qcow2_flush,
    .status = qcow2_status,
    .info = qcow2_info,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_delete = qcow2_snapshot_delete,
    .check = qcow2_check,
    .close = qcow2_close,
};
