/* Internal snapshots of qcow2 images: the disk as it was under a name, in the same file; see qcow2_internal.h.
 *
 * A snapshot has a copy of the L1 table and shares everything below it, so each cluster that can be reached has one
 * more reference and no pointer to it says any more that it is the only one: the next write copies. The order on disk:
 *
 *   made:    counts that go up | L2 and L1 tables without their flags; copy of L1; new table of snapshots | header
 *   deleted: new table of snapshots | header | counts that go down | flags of pointers that are alone again
 *
 * The header's two fields are one write of less than a sector. What a crash leaves are counts that are too high and
 * flags that are missing, which cost space and copies but no data.
 *
 * What the file says is hostile: each entry is bounded and lies inside the file, and how much is walked is bounded. */
#include "dev/block/qcow2_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ROW_FIXED_BYTES = 40,
    ROW_EXTRA_BYTES = 16, /* that we write: size of a machine's state (none), and of the disk */
    ROW_EXTRA_MAX = 1024,
    TABLE_BYTES_MAX = 64 << 20,
    ENTRIES_MAX = 1 << 28, /* of the L2 tables of one snapshot */
    ID_BYTES = 16,
};

/* A row of the table of snapshots. */
struct row {
    uint64_t l1_offset, disk_bytes; /* disk_bytes 0: not recorded */
    uint32_t l1_size;
    const uint8_t *id, *name;
    unsigned id_bytes, name_bytes;
    size_t at, bytes; /* in the table */
};

struct table {
    uint8_t *bytes;
    size_t size;
};

/* ---- the table ---- */

static unsigned be16_at(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

static size_t row_bytes(const uint8_t *head)
{
    return round_up_u64((uint64_t)ROW_FIXED_BYTES + be32_at(head + 36) + be16_at(head + 12) + be16_at(head + 14), 8);
}

static int damaged_table(const struct qcow2 *q, struct error *err)
{
    return error_set(err, -EUCLEAN, "%s: its table of internal snapshots is damaged: see 'tuff image check'", q->name);
}

/* Finds its end: each row says how long it is. */
static int measure_table(struct qcow2 *q, size_t *size, struct error *err)
{
    uint64_t at = q->snapshots_offset, file_bytes;
    int rc = host_file_size(q->node.file, &file_bytes);

    if (rc)
        return error_set(err, rc, "%s: %s", q->name, strerror(-rc));
    for (uint32_t i = 0; i < q->snapshots; i++) {
        uint8_t head[ROW_FIXED_BYTES];

        if (at < q->snapshots_offset || at >= file_bytes || at - q->snapshots_offset > TABLE_BYTES_MAX)
            return damaged_table(q, err);
        rc = host_file_read(q->node.file, head, sizeof(head), at);
        if (rc)
            return error_set(err, rc, "%s: %s", q->name, strerror(-rc));
        if (be32_at(head + 36) > ROW_EXTRA_MAX)
            return damaged_table(q, err);
        at += row_bytes(head);
    }
    *size = at - q->snapshots_offset;
    for (uint64_t offset = q->snapshots_offset; offset < at; offset += q->cluster_bytes) {
        if (!qcow2_offset_is_sane(q, offset))
            return damaged_table(q, err);
    }
    return 0;
}

/* The caller frees table->bytes. */
static int read_table(struct qcow2 *q, struct table *table, struct error *err)
{
    int rc;

    *table = (struct table){0};
    if (!q->snapshots)
        return 0;
    rc = measure_table(q, &table->size, err);
    if (rc)
        return rc;
    table->bytes = malloc(table->size);
    rc = table->bytes ? host_file_read(q->node.file, table->bytes, table->size, q->snapshots_offset) : -ENOMEM;
    if (rc) {
        free(table->bytes);
        table->bytes = NULL;
        return error_set(err, rc, "%s: %s", q->name, strerror(-rc));
    }
    return 0;
}

/* The row at row->at + row->bytes, i.e. the first one for a row of zeroes. Returns false at the end. */
static bool next_row(const struct table *table, struct row *row)
{
    size_t at = row->at + row->bytes;
    const uint8_t *head;

    /* Somebody may change the file between two reads. */
    if (at >= table->size || table->size - at < ROW_FIXED_BYTES)
        return false;
    head = table->bytes + at;
    if (row_bytes(head) > table->size - at || be32_at(head + 36) > ROW_EXTRA_MAX)
        return false;
    uint32_t extra = be32_at(head + 36);
    *row = (struct row){.l1_offset = be64_at(head),
                        .l1_size = be32_at(head + 8),
                        .disk_bytes = extra >= ROW_EXTRA_BYTES ? be64_at(head + ROW_FIXED_BYTES + 8) : 0,
                        .id = head + ROW_FIXED_BYTES + extra,
                        .name = head + ROW_FIXED_BYTES + extra + be16_at(head + 12),
                        .id_bytes = be16_at(head + 12),
                        .name_bytes = be16_at(head + 14),
                        .at = at,
                        .bytes = row_bytes(head)};
    return true;
}

static bool find_row(const struct table *table, const char *name, struct row *row)
{
    *row = (struct row){0};
    while (next_row(table, row)) {
        if (row->name_bytes == strlen(name) && memcmp(row->name, name, row->name_bytes) == 0)
            return true;
    }
    return false;
}

/* One more than the largest number that is an ID. */
static void choose_id(const struct table *table, char id[ID_BYTES])
{
    struct row row = {0};
    uint32_t largest = 0;

    while (next_row(table, &row)) {
        uint64_t number = 0;
        for (unsigned i = 0; i < row.id_bytes && row.id[i] >= '0' && row.id[i] <= '9' && number < UINT32_MAX; i++)
            number = 10 * number + (row.id[i] - '0');
        if (number > largest && number < UINT32_MAX)
            largest = (uint32_t)number;
    }
    (void)snprintf(id, ID_BYTES, "%" PRIu32, largest + 1);
}

static int check_row(const struct qcow2 *q, const char *name, const struct row *row, struct error *err)
{
    uint64_t bytes = (uint64_t)row->l1_size * 8;

    if (bytes > QCOW2_L1_BYTES_MAX || row->l1_offset > QCOW2_OFFSET_MASK ||
        (bytes && (row->l1_offset % q->cluster_bytes || row->l1_offset < q->cluster_bytes)) ||
        (row->l1_offset < q->reftable_offset + q->reftable_clusters * q->cluster_bytes &&
         q->reftable_offset < row->l1_offset + bytes))
        return error_set(err, -EUCLEAN, "%s: the L1 table of its internal snapshot '%s' lies where none can be",
                         q->name, name);
    return 0;
}

int qcow2_open_at(struct qcow2 *q, const char *name, struct error *err)
{
    unsigned cover = q->cluster_bits + q->l2_bits;
    uint64_t disk_bytes;
    struct table table;
    struct row row;
    int rc = read_table(q, &table, err);

    if (rc)
        return rc;
    rc = find_row(&table, name, &row)
             ? check_row(q, name, &row, err)
             : error_set(err, -ENOENT, "%s: has no internal snapshot named '%s'", q->name, name);
    free(table.bytes);
    if (rc)
        return rc;
    disk_bytes = row.disk_bytes ? row.disk_bytes : q->node.size_bytes;
    if (disk_bytes > INT64_MAX - BLOCK_SECTOR_BYTES)
        return error_set(err, -EFBIG, "%s: '%s': a disk of %" PRIu64 " bytes is too large", q->name, name, disk_bytes);
    disk_bytes = round_up_u64(disk_bytes, BLOCK_SECTOR_BYTES);
    if ((disk_bytes >> cover) + ((disk_bytes & ((UINT64_C(1) << cover) - 1)) != 0) > row.l1_size)
        return error_set(err, -EUCLEAN, "%s: the L1 table of its internal snapshot '%s' is too small for the disk",
                         q->name, name);
    q->node.size_bytes = disk_bytes;
    q->l1_offset = row.l1_offset;
    q->l1_size = row.l1_size;
    return 0;
}

void qcow2_list_snapshots(struct qcow2 *q, FILE *out)
{
    struct table table;
    struct row row = {0};
    struct error err = {{0}};

    if (read_table(q, &table, &err)) {
        fprintf(out, "  %s\n", err.text);
        return;
    }
    while (next_row(&table, &row)) {
        fprintf(out, "  ");
        for (unsigned i = 0; i < row.name_bytes && i < NODE_SNAPSHOT_NAME_MAX; i++)
            (void)fputc(row.name[i] < ' ' || row.name[i] > '~' ? '?' : row.name[i], out);
        (void)fputc('\n', out);
    }
    free(table.bytes);
}

/* ---- clusters that a snapshot holds ---- */

typedef int (*reference_fn)(struct qcow2 *q, uint64_t cluster, void *opaque);

static int each_of_entry(struct qcow2 *q, uint64_t entry, reference_fn fn, void *opaque)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK, bytes = 1;
    int rc = 0;

    if (entry & QCOW2_COMPRESSED)
        qcow2_compressed_range(q, entry, &offset, &bytes);
    else if (!offset)
        return 0;
    else if (!qcow2_offset_is_sane(q, offset))
        return -EUCLEAN;
    for (uint64_t c = offset >> q->cluster_bits; c <= (offset + bytes - 1) >> q->cluster_bits && !rc; c++)
        rc = fn(q, c, opaque);
    return rc;
}

/* Calls `fn` for each pointer below an L1 table (host order), always in the same order, until one fails. Under `lock`.
 * `fn` does not touch L2 tables. -EUCLEAN: a pointer cannot be. */
static int each_reference(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size, reference_fn fn, void *opaque)
{
    uint64_t per_table = q->cluster_bytes / 8, walked = 0;
    int rc = 0;

    for (uint32_t i = 0; i < l1_size && !rc; i++) {
        uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;
        struct qcow2_table *table;

        if (!offset)
            continue;
        walked += per_table;
        if (walked > ENTRIES_MAX)
            return -EFBIG;
        if (!qcow2_offset_is_sane(q, offset))
            return -EUCLEAN;
        rc = fn(q, offset >> q->cluster_bits, opaque);
        if (!rc)
            rc = qcow2_cache_get(q, &q->l2s, offset, &table);
        for (uint64_t e = 0; e < per_table && !rc; e++)
            rc = each_of_entry(q, be64_at(table->bytes + 8 * e), fn, opaque);
    }
    return rc;
}

static int raise(struct qcow2 *q, uint64_t cluster, void *opaque)
{
    uint64_t *done = opaque, count = 0;
    int rc = qcow2_refcount(q, cluster, &count);

    if (!rc && !count)
        rc = -EUCLEAN;
    if (!rc && count == UINT64_MAX)
        rc = -EOVERFLOW;
    if (!rc)
        rc = qcow2_refcount_set(q, cluster, count + 1);
    *done += rc == 0;
    return rc;
}

/* Takes back the first `*left` of them. */
static int lower(struct qcow2 *q, uint64_t cluster, void *opaque)
{
    uint64_t *left = opaque, count = 0;

    if (!*left)
        return -ECANCELED;
    --*left;
    if (qcow2_refcount(q, cluster, &count) == 0 && count > 1)
        (void)!qcow2_refcount_set(q, cluster, count - 1); /* fails: leaks */
    return 0;
}

static int check_counted(struct qcow2 *q, uint64_t cluster, void *opaque)
{
    uint64_t count = 0;
    int rc = qcow2_refcount(q, cluster, &count);

    return rc ? rc : count ? 0 : -EUCLEAN;
}

static int drop(struct qcow2 *q, uint64_t cluster, void *opaque)
{
    return qcow2_drop_cluster(q, cluster);
}

/* ---- flags of the disk's own pointers ---- */

static int mark_table(struct qcow2 *q, uint64_t offset, bool alone)
{
    struct qcow2_table *table;
    int rc = qcow2_cache_get(q, &q->l2s, offset, &table);

    for (uint64_t e = 0; e < q->cluster_bytes / 8 && !rc; e++) {
        uint64_t entry = be64_at(table->bytes + 8 * e), count = 0, marked = entry & ~QCOW2_COPIED;

        if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_OFFSET_MASK))
            continue;
        if (alone)
            rc = qcow2_refcount(q, (entry & QCOW2_OFFSET_MASK) >> q->cluster_bits, &count);
        if (count == 1)
            marked |= QCOW2_COPIED;
        if (rc || marked == entry)
            continue;
        be64_put(table->bytes + 8 * e, marked);
        qcow2_table_dirty(&q->l2s, table);
    }
    return rc;
}

/* Makes the flags of the active tables right. `shared`: everything is somebody else's, too. */
static int mark_pointers(struct qcow2 *q, bool shared)
{
    int rc = 0;

    for (uint32_t i = 0; i < q->l1_size && !rc; i++) {
        uint64_t offset, count = 0;

        pthread_mutex_lock(&q->lock);
        offset = q->l1[i] & QCOW2_OFFSET_MASK;
        if (offset && !qcow2_offset_is_sane(q, offset))
            rc = -EUCLEAN;
        if (offset && !shared && !rc)
            rc = qcow2_refcount(q, offset >> q->cluster_bits, &count);
        if (offset && !rc) {
            q->l1[i] = (q->l1[i] & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
            rc = mark_table(q, offset, count == 1);
        }
        q->l1_dirty_from = 0;
        q->l1_dirty_to = q->l1_size;
        pthread_mutex_unlock(&q->lock);
        if (!rc && offset)
            rc = qcow2_relieve(q);
    }
    return rc;
}

/* ---- space ---- */

/* Clusters in a row for `bytes`; 0 for none. What does not fit below one block of counts is refused: only clusters far
 * smaller than usual have such L1 tables. Under `lock`. */
static int allocate_row(struct qcow2 *q, uint64_t bytes, uint64_t *offset)
{
    uint64_t wanted = (bytes + q->cluster_bytes - 1) >> q->cluster_bits, first = 0, have = 0, lowest = q->free_hint;
    int rc = 0;

    *offset = 0;
    if (wanted >= UINT64_C(1) << q->rb_bits)
        return -EFBIG;
    while (have < wanted && !rc) {
        uint64_t start, got, hint;
        bool fresh;

        rc = qcow2_allocate(q, wanted - have, &start, &got, &fresh);
        if (!rc && have && start == first + have) {
            have += got;
            continue;
        }
        hint = q->free_hint;
        qcow2_unallocate(q, first, have);
        q->free_hint = hint;
        first = start;
        have = rc ? 0 : got;
    }
    q->free_hint = lowest < q->free_hint ? lowest : q->free_hint;
    *offset = first << q->cluster_bits;
    return rc;
}

/* Under `lock`. */
static void release_row(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    qcow2_unallocate(q, offset >> q->cluster_bits, (bytes + q->cluster_bytes - 1) >> q->cluster_bits);
}

static int drop_row(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    int rc = 0;

    for (uint64_t at = 0; at < bytes && !rc; at += q->cluster_bytes)
        rc = qcow2_drop_cluster(q, (offset + at) >> q->cluster_bits);
    return rc;
}

/* Writes out everything, also counts that go down. */
static int settle(struct qcow2 *q)
{
    int rc = 0;

    for (int i = 0; i < 4 && !rc; i++) {
        if (i && !q->rbs.dirty_count && !q->drop_count && !q->l2s.dirty_count)
            break;
        rc = qcow2_flush_all(q, true);
    }
    return rc;
}

/* From this write on the table of snapshots is another one. */
static int write_header(struct qcow2 *q, uint32_t snapshots, uint64_t offset)
{
    uint8_t bytes[12];
    int rc;

    be32_put(bytes, snapshots);
    be64_put(bytes + 4, offset);
    rc = host_file_write(q->node.file, bytes, sizeof(bytes), QCOW2_AT_SNAPSHOTS);
    return rc ? rc : host_file_sync(q->node.file);
}

static int say(const struct qcow2 *q, const char *what, const char *name, int rc, struct error *err)
{
    const char *why = rc == -EUCLEAN     ? "the image is damaged: see 'tuff image check'"
                      : rc == -EFBIG     ? "the image's tables are too large for its clusters"
                      : rc == -EOVERFLOW ? "its reference counts have too few bits"
                                         : strerror(-rc);

    return error_set(err, rc, "%s: internal snapshot '%s' cannot be %s: %s", q->name, name, what, why);
}

/* ---- making one ---- */

/* What is being made. */
struct making {
    struct table rows; /* the new table */
    uint64_t rows_offset, l1_offset;
    uint64_t raised; /* references counted so far */
};

static int add_row(const struct qcow2 *q, const struct table *old, const char *name, struct table *rows)
{
    char id[ID_BYTES];
    struct timespec now;
    size_t bytes, id_bytes, name_bytes = strlen(name);
    uint8_t *row;

    choose_id(old, id);
    id_bytes = strlen(id);
    clock_gettime(CLOCK_REALTIME, &now);
    bytes = round_up_u64(ROW_FIXED_BYTES + ROW_EXTRA_BYTES + id_bytes + name_bytes, 8);
    rows->size = old->size + bytes;
    if (rows->size > TABLE_BYTES_MAX)
        return -EFBIG;
    rows->bytes = calloc(1, rows->size + 1);
    if (!rows->bytes)
        return -ENOMEM;
    if (old->size)
        memcpy(rows->bytes, old->bytes, old->size);
    row = rows->bytes + old->size;
    be32_put(row + 8, q->l1_size);
    row[13] = (uint8_t)id_bytes;
    row[15] = (uint8_t)name_bytes;
    be32_put(row + 16, (uint32_t)now.tv_sec);
    be32_put(row + 20, (uint32_t)now.tv_nsec);
    be32_put(row + 36, ROW_EXTRA_BYTES);
    be64_put(row + ROW_FIXED_BYTES + 8, q->node.size_bytes);
    (void)snprintf((char *)row + ROW_FIXED_BYTES + ROW_EXTRA_BYTES, id_bytes + name_bytes + 1, "%s%s", id, name);
    return 0;
}

static int write_l1_copy(struct qcow2 *q, uint64_t offset)
{
    uint8_t *bytes = malloc((size_t)q->l1_size * 8 + 1);
    int rc = bytes ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < q->l1_size && !rc; i++)
        be64_put(bytes + 8 * (size_t)i, q->l1[i] & ~QCOW2_COPIED);
    if (!rc)
        rc = host_file_write(q->node.file, bytes, (size_t)q->l1_size * 8, offset);
    free(bytes);
    return rc;
}

/* All but the header. */
static int prepare(struct qcow2 *q, struct making *m, size_t old_size)
{
    int rc;

    pthread_mutex_lock(&q->lock);
    rc = qcow2_begin_change(q);
    if (!rc)
        rc = allocate_row(q, (uint64_t)q->l1_size * 8, &m->l1_offset);
    if (!rc)
        rc = allocate_row(q, m->rows.size, &m->rows_offset);
    if (!rc)
        rc = each_reference(q, q->l1, q->l1_size, raise, &m->raised);
    pthread_mutex_unlock(&q->lock);
    if (!rc)
        rc = mark_pointers(q, true);
    if (rc)
        return rc;
    be64_put(m->rows.bytes + old_size, m->l1_offset);
    rc = write_l1_copy(q, m->l1_offset);
    if (!rc)
        rc = host_file_write(q->node.file, m->rows.bytes, m->rows.size, m->rows_offset);
    return rc ? rc : qcow2_flush_all(q, true);
}

/* Nothing on the disk points to what was prepared. */
static void take_back(struct qcow2 *q, struct making *m)
{
    pthread_mutex_lock(&q->lock);
    (void)!each_reference(q, q->l1, q->l1_size, lower, &m->raised);
    if (m->l1_offset)
        release_row(q, m->l1_offset, (uint64_t)q->l1_size * 8);
    if (m->rows_offset)
        release_row(q, m->rows_offset, m->rows.size);
    pthread_mutex_unlock(&q->lock);
    (void)!mark_pointers(q, false); /* fails: copies that are not needed */
}

int qcow2_snapshot_create(struct block_node *node, const char *name, struct error *err)
{
    struct qcow2 *q = qcow2_of(node);
    struct making m = {0};
    struct table old = {0};
    struct row row;
    int rc = settle(q);

    if (!rc && q->snapshots >= QCOW2_SNAPSHOTS_MAX)
        rc = -EFBIG;
    if (rc)
        return say(q, "made", name, rc, err);
    rc = read_table(q, &old, err);
    if (rc)
        return rc;
    rc = find_row(&old, name, &row) ? -EEXIST : add_row(q, &old, name, &m.rows);
    if (!rc) {
        rc = prepare(q, &m, old.size);
        if (rc)
            take_back(q, &m);
    }
    if (!rc)
        rc = write_header(q, q->snapshots + 1, m.rows_offset); /* fails: either is true, and both are counted */
    if (!rc) {
        pthread_mutex_lock(&q->lock);
        (void)!drop_row(q, q->snapshots_offset, old.size); /* fails: leaks */
        q->snapshots++;
        q->snapshots_offset = m.rows_offset;
        pthread_mutex_unlock(&q->lock);
    }
    free(old.bytes);
    free(m.rows.bytes);
    return rc ? say(q, "made", name, rc, err) : 0;
}

/* ---- deleting one ---- */

static int load_l1(struct qcow2 *q, const struct row *row, uint64_t **out)
{
    uint64_t bytes = (uint64_t)row->l1_size * 8, file_bytes;
    uint64_t *l1;
    int rc = host_file_size(q->node.file, &file_bytes);

    for (uint64_t at = 0; at < bytes && !rc; at += q->cluster_bytes) {
        if (!qcow2_offset_is_sane(q, row->l1_offset + at) || row->l1_offset + at >= file_bytes)
            rc = -EUCLEAN;
    }
    if (rc)
        return rc;
    l1 = malloc(bytes + 1);
    rc = l1 ? host_file_read(q->node.file, l1, bytes, row->l1_offset) : -ENOMEM;
    if (rc) {
        free(l1);
        return rc;
    }
    for (uint32_t i = 0; i < row->l1_size; i++)
        l1[i] = __builtin_bswap64(l1[i]);
    *out = l1;
    return 0;
}

/* The table without a row, on the disk. `*offset` 0: it was the only one. */
static int write_table_without(struct qcow2 *q, const struct table *old, const struct row *row, uint64_t *offset)
{
    size_t size = old->size - row->bytes, behind = row->at + row->bytes;
    uint8_t *bytes = malloc(size + 1);
    int rc = bytes ? 0 : -ENOMEM;

    *offset = 0;
    if (rc)
        return rc;
    memcpy(bytes, old->bytes, row->at);
    memcpy(bytes + row->at, old->bytes + behind, old->size - behind);
    pthread_mutex_lock(&q->lock);
    rc = qcow2_begin_change(q);
    if (!rc)
        rc = allocate_row(q, size, offset);
    pthread_mutex_unlock(&q->lock);
    if (!rc && size)
        rc = host_file_write(q->node.file, bytes, size, *offset);
    if (!rc)
        rc = qcow2_flush_all(q, true);
    if (rc && *offset) {
        pthread_mutex_lock(&q->lock);
        release_row(q, *offset, size);
        pthread_mutex_unlock(&q->lock);
    }
    free(bytes);
    return rc;
}

static int delete_row(struct qcow2 *q, const struct table *old, const struct row *row)
{
    uint64_t *l1 = NULL, offset;
    int rc = load_l1(q, row, &l1);

    if (!rc) {
        pthread_mutex_lock(&q->lock);
        rc = each_reference(q, l1, row->l1_size, check_counted, NULL);
        pthread_mutex_unlock(&q->lock);
    }
    if (!rc)
        rc = write_table_without(q, old, row, &offset);
    if (!rc)
        rc = write_header(q, q->snapshots - 1, offset);
    if (!rc) {
        pthread_mutex_lock(&q->lock);
        (void)!drop_row(q, q->snapshots_offset, old->size); /* fail: leak */
        (void)!drop_row(q, row->l1_offset, (uint64_t)row->l1_size * 8);
        (void)!each_reference(q, l1, row->l1_size, drop, NULL);
        q->snapshots--;
        q->snapshots_offset = offset;
        pthread_mutex_unlock(&q->lock);
        rc = settle(q);
    }
    if (!rc)
        rc = mark_pointers(q, false);
    free(l1);
    return rc ? rc : qcow2_flush_all(q, true);
}

int qcow2_snapshot_delete(struct block_node *node, const char *name, struct error *err)
{
    struct qcow2 *q = qcow2_of(node);
    struct table old = {0};
    struct row row;
    int rc = settle(q);

    if (rc)
        return say(q, "deleted", name, rc, err);
    rc = read_table(q, &old, err);
    if (rc)
        return rc;
    if (!find_row(&old, name, &row))
        rc = error_set(err, -ENOENT, "%s: has no internal snapshot named '%s'", q->name, name);
    else
        rc = check_row(q, name, &row, err);
    if (!rc) {
        rc = delete_row(q, &old, &row);
        if (rc)
            (void)say(q, "deleted", name, rc, err);
    }
    free(old.bytes);
    return rc;
}
