/* qcow2 images (QEMU's docs/interop/qcow2), versions 2 and 3.
 *
 * What must stay true of the file at any moment, whether the process or the host dies: each cluster that a table
 * points to has a reference count of at least the number of pointers to it, and what it points to was written before
 * the pointer. So counts are made durable before the tables that rely on them, tables before the tables
 * above them, and a pointer's removal before the count goes down. What a crash leaves behind are counts that are too
 * high: space that nobody uses, which `tuff image check --repair` gives back. With lazy reference counts the counts are
 * not written meanwhile but the dirty bit says so, and they are made anew from the tables at the next opening.
 *
 * Changed tables are kept in memory until a flush (qcow2_flush.c), which writes them in that order. A write completes
 * when its data is with the host's kernel; it is durable after a flush.
 *
 * Locks: `flush_lock`, then `lock`. `lock` guards the tables and is held while one is loaded, never while data is
 * read or written or while a flush waits for the disk. Whoever changes what a guest cluster maps to has that cluster to
 * himself (node.h), so mappings found under the lock hold after it is released.
 */
#ifndef TUFF_DEV_BLOCK_QCOW2_INTERNAL_H
#define TUFF_DEV_BLOCK_QCOW2_INTERNAL_H

#include "dev/block/node_internal.h"

#include <pthread.h>

enum {
    QCOW2_MAGIC = 0x514649fb,
    QCOW2_HEADER_V2_BYTES = 72,
    QCOW2_HEADER_V3_BYTES = 104,
    QCOW2_CLUSTER_BITS_MIN = 9,
    QCOW2_CLUSTER_BITS_MAX = 21,
    QCOW2_CLUSTER_BITS_DEFAULT = 16,
    QCOW2_L1_BYTES_MAX = 32 << 20,
    QCOW2_REFTABLE_BYTES_MAX = 8 << 20,
    QCOW2_SNAPSHOTS_MAX = 65536,
    QCOW2_BACKING_NAME_MAX = 1023,
    QCOW2_CACHE_BYTES = 32 << 20,
    QCOW2_CACHE_TABLES_MIN = 16,
};

/* Offsets of header fields. */
enum {
    QCOW2_AT_MAGIC = 0,
    QCOW2_AT_VERSION = 4,
    QCOW2_AT_BACKING_OFFSET = 8,
    QCOW2_AT_BACKING_SIZE = 16,
    QCOW2_AT_CLUSTER_BITS = 20,
    QCOW2_AT_SIZE = 24,
    QCOW2_AT_CRYPT = 32,
    QCOW2_AT_L1_SIZE = 36,
    QCOW2_AT_L1_OFFSET = 40,
    QCOW2_AT_REFTABLE_OFFSET = 48,
    QCOW2_AT_REFTABLE_CLUSTERS = 56,
    QCOW2_AT_SNAPSHOTS = 60,
    QCOW2_AT_SNAPSHOTS_OFFSET = 64,
    QCOW2_AT_INCOMPATIBLE = 72,
    QCOW2_AT_COMPATIBLE = 80,
    QCOW2_AT_AUTOCLEAR = 88,
    QCOW2_AT_REFCOUNT_ORDER = 96,
    QCOW2_AT_HEADER_LENGTH = 100,
    QCOW2_AT_COMPRESSION = 104,
};

#define QCOW2_INCOMPATIBLE_DIRTY (UINT64_C(1) << 0)
#define QCOW2_INCOMPATIBLE_CORRUPT (UINT64_C(1) << 1)
#define QCOW2_INCOMPATIBLE_EXTERNAL (UINT64_C(1) << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPATIBLE_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_COMPATIBLE_LAZY (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)

enum {
    QCOW2_EXTENSION_END = 0,
    QCOW2_EXTENSION_BACKING_FORMAT = (int)0xe2792aca,
    QCOW2_EXTENSION_FEATURES = 0x6803f857,
    QCOW2_EXTENSION_BITMAPS = 0x23852875,
};

enum { QCOW2_COMPRESSION_ZLIB = 0, QCOW2_COMPRESSION_ZSTD = 1 };

/* Entries of L1 and L2 tables. */
#define QCOW2_COPIED (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO UINT64_C(1)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)

/* One cluster of metadata in memory, as it is in the file (big-endian). */
struct qcow2_table {
    struct qcow2_table *next; /* in its bucket */
    uint64_t offset;          /* in the file */
    uint8_t *bytes;
    bool dirty;
    bool used;     /* since the clock's hand came by */
    unsigned pins; /* a flush writes what it was */
};

struct qcow2_cache {
    struct qcow2_table **buckets;
    struct qcow2_table **slots; /* for the clock's hand, `count` of them */
    size_t bucket_count, count, capacity, slots_size, hand, dirty_count;
};

struct qcow2 {
    struct block_node node;
    pthread_mutex_t flush_lock;
    pthread_mutex_t lock;

    /* Constant. */
    char name[256];                                                   /* for messages */
    unsigned version, cluster_bits, l2_bits, refcount_order, rb_bits; /* rb: entries of a refcount block, log2 */
    uint64_t cluster_bytes;
    uint8_t compression;
    uint64_t bitmaps_offset, bitmaps_bytes; /* the directory; 0: none */
    uint32_t bitmaps;
    bool lazy;
    char backing_name[QCOW2_BACKING_NAME_MAX + 1], backing_format[32];

    /* Under `lock`. */
    uint32_t snapshots; /* internal ones */
    uint64_t snapshots_offset;
    uint64_t incompatible, autoclear;
    bool corrupt; /* found while it was in use: nothing is written any more */
    uint64_t l1_offset, reftable_offset;
    uint32_t l1_size, reftable_clusters;
    uint64_t *l1, *reftable;                         /* in host order */
    uint64_t reftable_size;                          /* entries */
    uint32_t l1_dirty_from, l1_dirty_to;             /* entries to write: [from, to) */
    uint64_t reftable_dirty_from, reftable_dirty_to; /* likewise */
    struct qcow2_cache l2s, rbs;
    uint64_t free_hint;   /* no cluster below is free */
    uint64_t end_cluster; /* clusters from here on were never used: they read as zero */
    /* Clusters (numbers) whose count goes down once the tables that do not point to them any more are durable. */
    uint64_t *drops;
    size_t drop_count, drops_size;

    /* The compressed cluster that was read last. */
    pthread_mutex_t inflate_lock;
    uint64_t inflated_entry;
    uint8_t *inflated;
};

static inline struct qcow2 *qcow2_of(struct block_node *node)
{
    return (struct qcow2 *)node;
}

static inline uint64_t be64_at(const uint8_t *bytes)
{
    uint64_t value;

    __builtin_memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap64(value);
}

static inline uint32_t be32_at(const uint8_t *bytes)
{
    uint32_t value;

    __builtin_memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap32(value);
}

static inline void be64_put(uint8_t *bytes, uint64_t value)
{
    value = __builtin_bswap64(value);
    __builtin_memcpy(bytes, &value, sizeof(value));
}

static inline void be32_put(uint8_t *bytes, uint32_t value)
{
    value = __builtin_bswap32(value);
    __builtin_memcpy(bytes, &value, sizeof(value));
}

/* ---- qcow2_tables.c: all under `lock` ---- */

TUFF_MUST_CHECK int qcow2_cache_init(struct qcow2 *q, struct qcow2_cache *cache);
void qcow2_cache_free(struct qcow2_cache *cache);
struct qcow2_table *qcow2_cache_find(struct qcow2_cache *cache, uint64_t offset);
/* Loads what is not there. When all that is there is dirty the cache grows beyond its capacity; qcow2_relieve() sees to
 * it that this stays little. */
TUFF_MUST_CHECK int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *cache, uint64_t offset,
                                    struct qcow2_table **out);
/* A table of zeroes for a cluster just allocated; dirty. */
TUFF_MUST_CHECK int qcow2_cache_new(struct qcow2 *q, struct qcow2_cache *cache, uint64_t offset,
                                    struct qcow2_table **out);
void qcow2_table_dirty(struct qcow2_cache *cache, struct qcow2_table *table);
void qcow2_table_clean(struct qcow2_cache *cache, struct qcow2_table *table);
/* Forgets a table whose cluster is no table any more. */
void qcow2_cache_drop(struct qcow2_cache *cache, uint64_t offset);

/* The image contradicts itself: says so once, marks it (if it is writable) so that nobody writes it, and returns -EIO.
 */
int qcow2_corrupt(struct qcow2 *q, const char *format, ...) TUFF_PRINTF(2, 3);
/* May a table or data lie at this offset? Aligned, and not where header, L1 or reference count table are. */
bool qcow2_offset_is_sane(const struct qcow2 *q, uint64_t offset);
TUFF_MUST_CHECK int qcow2_write_u64(struct qcow2 *q, uint64_t at, uint64_t value);

/* ---- qcow2_refcount.c: under `lock` ---- */

TUFF_MUST_CHECK int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *out);
TUFF_MUST_CHECK int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count);
/* 1 to `wanted` free clusters in a row: number of the first, how many, and whether they read as zeroes. */
TUFF_MUST_CHECK int qcow2_allocate(struct qcow2 *q, uint64_t wanted, uint64_t *first, uint64_t *got, bool *fresh);
/* Takes back an allocation to which nothing points. Never fails: what cannot be given back leaks. */
void qcow2_unallocate(struct qcow2 *q, uint64_t first, uint64_t count);
/* Writes the changed blocks. Any block may be written at any time: counts in memory never go down too early. */
TUFF_MUST_CHECK int qcow2_write_blocks(struct qcow2 *q);
/* An L2 entry is about to be overwritten: its clusters are dropped after the next flush. -ENOMEM: not changed. */
TUFF_MUST_CHECK int qcow2_drop_entry(struct qcow2 *q, uint64_t entry);
TUFF_MUST_CHECK int qcow2_drop_cluster(struct qcow2 *q, uint64_t cluster);
/* Clusters that a compressed entry touches. */
void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *bytes);

/* ---- qcow2_flush.c ---- */

/* Before the first change of a table. Under `lock`. */
TUFF_MUST_CHECK int qcow2_begin_change(struct qcow2 *q);
/* Writes changed tables and makes everything durable. `all`: also counts that are lazy. Without `lock`. */
TUFF_MUST_CHECK int qcow2_flush_all(struct qcow2 *q, bool all);
/* Flushes when there is a lot to flush. Without `lock`. */
TUFF_MUST_CHECK int qcow2_relieve(struct qcow2 *q);

/* ---- qcow2_io.c ---- */

extern const struct node_ops qcow2_ops;

/* ---- qcow2_inflate.c ---- */

/* Bytes of a compressed cluster from `skip` on. Without `lock`. */
TUFF_MUST_CHECK int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint64_t skip, const struct iovec *iov,
                                  unsigned count);
bool qcow2_has_compression(unsigned type);

/* ---- qcow2_snapshot.c: see node.h ---- */

/* Makes the snapshot's L1 table and size the image's own, before they are read. */
TUFF_MUST_CHECK int qcow2_open_at(struct qcow2 *q, const char *name, struct error *err);
TUFF_MUST_CHECK int qcow2_snapshot_create(struct block_node *node, const char *name, struct error *err);
TUFF_MUST_CHECK int qcow2_snapshot_delete(struct block_node *node, const char *name, struct error *err);
/* A line for each. */
void qcow2_list_snapshots(struct qcow2 *q, FILE *out);

/* ---- qcow2_check.c ---- */

TUFF_MUST_CHECK int qcow2_check(struct block_node *node, bool repair, FILE *out, struct node_check *result,
                                struct error *err);
void qcow2_info(struct block_node *node, FILE *out);

#endif
