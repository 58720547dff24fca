/* Writing a qcow2 image's changed tables in the order that survives a crash; see qcow2_internal.h.
 *
 *   data and reference counts | reference count table | L2 tables | L1 table | counts that go down
 *
 * with the disk waited for at each bar behind which something is to be written. The tables are copied first and written
 * without the lock, so that reads and writes go on meanwhile; what they change belongs to the next flush. */
#include "dev/block/qcow2_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int qcow2_begin_change(struct qcow2 *q)
{
    int rc;

    if (q->corrupt)
        return -EIO;
    if (!q->lazy || q->incompatible & QCOW2_INCOMPATIBLE_DIRTY)
        return 0;
    rc = qcow2_write_u64(q, QCOW2_AT_INCOMPATIBLE, q->incompatible | QCOW2_INCOMPATIBLE_DIRTY);
    if (!rc)
        rc = host_file_sync(q->node.file);
    if (!rc)
        q->incompatible |= QCOW2_INCOMPATIBLE_DIRTY;
    return rc;
}

/* What one flush writes. */
struct batch {
    struct copy {
        struct qcow2_table *table;
        uint64_t offset;
        uint8_t *bytes;
    } *l2s;
    size_t l2_count;
    uint8_t *l1, *reftable; /* the changed entries as they are in the file */
    uint64_t l1_from, l1_to, reftable_from, reftable_to, l1_offset, reftable_offset;
    uint64_t *drops;
    size_t drop_count;
};

static uint8_t *copy_entries(const uint64_t *entries, uint64_t from, uint64_t to)
{
    uint8_t *bytes = malloc((to - from) * 8 + 1);

    for (uint64_t i = from; bytes && i < to; i++)
        be64_put(bytes + (i - from) * 8, entries[i]);
    return bytes;
}

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->l2_count; i++)
        free(b->l2s[i].bytes);
    free(b->l2s);
    free(b->l1);
    free(b->reftable);
    free(b->drops);
}

static void mark_range(uint64_t from, uint64_t to, uint64_t *dirty_from, uint64_t *dirty_to)
{
    if (from == to)
        return;
    if (*dirty_from == *dirty_to) {
        *dirty_from = from;
        *dirty_to = to;
        return;
    }
    *dirty_from = from < *dirty_from ? from : *dirty_from;
    *dirty_to = to > *dirty_to ? to : *dirty_to;
}

/* Under `lock`. On failure nothing has been taken. */
static int batch_take(struct qcow2 *q, struct batch *b)
{
    size_t n = 0;

    b->l1 = copy_entries(q->l1, q->l1_dirty_from, q->l1_dirty_to);
    b->reftable = copy_entries(q->reftable, q->reftable_dirty_from, q->reftable_dirty_to);
    b->l2s = calloc(q->l2s.dirty_count + 1, sizeof(*b->l2s));
    if (!b->l1 || !b->reftable || !b->l2s)
        return -ENOMEM;
    for (size_t i = 0; i < q->l2s.count; i++) {
        struct qcow2_table *table = q->l2s.slots[i];

        if (!table->dirty)
            continue;
        b->l2s[n] = (struct copy){.table = table, .offset = table->offset, .bytes = malloc(q->cluster_bytes)};
        if (!b->l2s[n].bytes) {
            b->l2_count = n;
            return -ENOMEM;
        }
        memcpy(b->l2s[n++].bytes, table->bytes, q->cluster_bytes);
    }
    b->l2_count = n;
    for (size_t i = 0; i < n; i++) {
        b->l2s[i].table->pins++;
        qcow2_table_clean(&q->l2s, b->l2s[i].table);
    }
    b->l1_from = q->l1_dirty_from;
    b->l1_to = q->l1_dirty_to;
    b->l1_offset = q->l1_offset;
    b->reftable_from = q->reftable_dirty_from;
    b->reftable_to = q->reftable_dirty_to;
    b->reftable_offset = q->reftable_offset;
    q->l1_dirty_from = q->l1_dirty_to = 0;
    q->reftable_dirty_from = q->reftable_dirty_to = 0;
    b->drops = q->drops;
    b->drop_count = q->drop_count;
    q->drops = NULL;
    q->drop_count = q->drops_size = 0;
    return 0;
}

/* Without `lock`. */
static int batch_write(struct qcow2 *q, const struct batch *b)
{
    struct host_file *file = q->node.file;
    int rc = 0;

    if (b->reftable_from != b->reftable_to) {
        rc = host_file_sync(file);
        if (!rc)
            rc = host_file_write(file, b->reftable, (b->reftable_to - b->reftable_from) * 8,
                                 b->reftable_offset + b->reftable_from * 8);
    }
    if (!rc && b->l2_count)
        rc = host_file_sync(file);
    for (size_t i = 0; i < b->l2_count && !rc; i++)
        rc = host_file_write(file, b->l2s[i].bytes, q->cluster_bytes, b->l2s[i].offset);
    if (!rc && b->l1_from != b->l1_to) {
        rc = host_file_sync(file);
        if (!rc)
            rc = host_file_write(file, b->l1, (b->l1_to - b->l1_from) * 8, b->l1_offset + b->l1_from * 8);
    }
    return rc ? rc : host_file_sync(file);
}

/* Under `lock`: it failed, so all of it is still to be written. */
static void batch_give_back(struct qcow2 *q, struct batch *b)
{
    uint64_t l1_from = q->l1_dirty_from, l1_to = q->l1_dirty_to;

    for (size_t i = 0; i < b->l2_count; i++)
        qcow2_table_dirty(&q->l2s, b->l2s[i].table);
    mark_range(b->l1_from, b->l1_to, &l1_from, &l1_to);
    q->l1_dirty_from = (uint32_t)l1_from;
    q->l1_dirty_to = (uint32_t)l1_to;
    if (b->reftable_offset == q->reftable_offset)
        mark_range(b->reftable_from, b->reftable_to, &q->reftable_dirty_from, &q->reftable_dirty_to);
    for (size_t i = 0; i < b->drop_count; i++)
        (void)!qcow2_drop_cluster(q, b->drops[i]); /* without memory: leaks in the file */
}

static int compare_clusters(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Nothing on the disk points to these any more. The host gets the space back before the clusters can be allocated
 * again: afterwards somebody else's data would go. */
static void process_drops(struct qcow2 *q, struct batch *b)
{
    uint64_t *last;

    if (!b->drop_count)
        return;
    qsort(b->drops, b->drop_count, sizeof(*b->drops), compare_clusters);
    for (size_t i = 0; i < b->drop_count; i += (size_t)(last - (b->drops + i))) {
        uint64_t from = b->drops[i], to = from, count = 0;

        last = b->drops + i;
        do {
            bool alone;

            pthread_mutex_lock(&q->lock);
            alone = qcow2_refcount(q, *last, &count) == 0 && count == 1;
            pthread_mutex_unlock(&q->lock);
            last++;
            if (alone)
                to++;
            else
                break;
        } while (last < b->drops + b->drop_count && *last == to);
        if (to > from)
            host_file_discard(q->node.file, from << q->cluster_bits, (to - from) << q->cluster_bits);
    }
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < b->drop_count; i++) {
        uint64_t count = 0;
        int rc = qcow2_refcount(q, b->drops[i], &count);

        if (!rc && !count)
            (void)qcow2_corrupt(q, "cluster %" PRIu64 " was in use but not counted", b->drops[i]);
        else if (!rc)
            (void)!qcow2_refcount_set(q, b->drops[i], count - 1); /* fails: leaks */
    }
    pthread_mutex_unlock(&q->lock);
}

static bool counts_are_due(const struct qcow2 *q, bool all)
{
    return q->rbs.dirty_count && (!q->lazy || all || q->rbs.dirty_count > q->rbs.capacity / 2);
}

int qcow2_flush_all(struct qcow2 *q, bool all)
{
    struct batch b = {0};
    bool taken = false;
    int rc;

    pthread_mutex_lock(&q->flush_lock);
    pthread_mutex_lock(&q->lock);
    rc = q->corrupt ? -EIO : 0;
    if (!rc && counts_are_due(q, all))
        rc = qcow2_write_blocks(q);
    if (!rc) {
        rc = batch_take(q, &b);
        taken = !rc;
    }
    pthread_mutex_unlock(&q->lock);
    if (!rc)
        rc = batch_write(q, &b);
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; taken && i < b.l2_count; i++)
        b.l2s[i].table->pins--;
    if (rc && taken)
        batch_give_back(q, &b);
    pthread_mutex_unlock(&q->lock);
    if (!rc)
        process_drops(q, &b);
    pthread_mutex_unlock(&q->flush_lock);
    batch_free(&b);
    return rc;
}

int qcow2_relieve(struct qcow2 *q)
{
    enum { DROPS_MAX = 1 << 16 };
    bool full;

    pthread_mutex_lock(&q->lock);
    full = q->l2s.dirty_count > q->l2s.capacity / 2 || q->rbs.dirty_count > q->rbs.capacity / 2 ||
           q->drop_count > DROPS_MAX;
    pthread_mutex_unlock(&q->lock);
    return full ? qcow2_flush_all(q, false) : 0;
}
