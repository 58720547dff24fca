/* Tables of a qcow2 image in memory, and what is done when they make no sense; see qcow2_internal.h. */
#include "base/log.h"
#include "dev/block/qcow2_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int qcow2_cache_init(struct qcow2 *q, struct qcow2_cache *cache)
{
    size_t capacity = QCOW2_CACHE_BYTES / q->cluster_bytes;

    if (capacity < QCOW2_CACHE_TABLES_MIN)
        capacity = QCOW2_CACHE_TABLES_MIN;
    cache->capacity = capacity;
    cache->bucket_count = 64;
    while (cache->bucket_count < capacity)
        cache->bucket_count *= 2;
    cache->buckets = calloc(cache->bucket_count, sizeof(*cache->buckets));
    return cache->buckets ? 0 : -ENOMEM;
}

void qcow2_cache_free(struct qcow2_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++) {
        free(cache->slots[i]->bytes);
        free(cache->slots[i]);
    }
    free(cache->slots);
    free(cache->buckets);
}

static struct qcow2_table **bucket_of(struct qcow2_cache *cache, uint64_t offset)
{
    return &cache->buckets[(offset >> QCOW2_CLUSTER_BITS_MIN) * 0x9e3779b97f4a7c15u >> 32 & (cache->bucket_count - 1)];
}

struct qcow2_table *qcow2_cache_find(struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_table *table = *bucket_of(cache, offset);

    while (table && table->offset != offset)
        table = table->next;
    if (table)
        table->used = true;
    return table;
}

static void unlink_table(struct qcow2_cache *cache, struct qcow2_table *table)
{
    struct qcow2_table **at = bucket_of(cache, table->offset);

    while (*at != table)
        at = &(*at)->next;
    *at = table->next;
}

/* A slot whose table may go, or NULL. Two rounds: the first takes the marks away. */
static struct qcow2_table *evict(struct qcow2_cache *cache)
{
    for (size_t i = 0; i < 2 * cache->count; i++) {
        struct qcow2_table *table = cache->slots[cache->hand];

        cache->hand = (cache->hand + 1) % cache->count;
        if (table->dirty || table->pins)
            continue;
        if (!table->used) {
            unlink_table(cache, table);
            return table;
        }
        table->used = false;
    }
    return NULL;
}

static struct qcow2_table *add_table(struct qcow2 *q, struct qcow2_cache *cache)
{
    struct qcow2_table *table;

    if (cache->count == cache->slots_size) {
        size_t size = cache->slots_size ? 2 * cache->slots_size : 64;
        struct qcow2_table **slots = realloc(cache->slots, size * sizeof(struct qcow2_table *));
        if (!slots)
            return NULL;
        cache->slots = slots;
        cache->slots_size = size;
    }
    table = calloc(1, sizeof(*table));
    if (table)
        table->bytes = aligned_alloc(4096, round_up_u64(q->cluster_bytes, 4096));
    if (!table || !table->bytes) {
        free(table);
        return NULL;
    }
    cache->slots[cache->count++] = table;
    return table;
}

static int take_table(struct qcow2 *q, struct qcow2_cache *cache, uint64_t offset, struct qcow2_table **out)
{
    struct qcow2_table *table = cache->count >= cache->capacity ? evict(cache) : NULL, **bucket;

    if (!table)
        table = add_table(q, cache);
    if (!table)
        return -ENOMEM;
    table->offset = offset;
    table->used = true;
    bucket = bucket_of(cache, offset);
    table->next = *bucket;
    *bucket = table;
    *out = table;
    return 0;
}

/* The table's slot goes to the last one. */
static void free_table(struct qcow2_cache *cache, struct qcow2_table *table)
{
    size_t i = 0;

    qcow2_table_clean(cache, table);
    unlink_table(cache, table);
    while (cache->slots[i] != table)
        i++;
    cache->slots[i] = cache->slots[--cache->count];
    if (cache->hand >= cache->count)
        cache->hand = 0;
    free(table->bytes);
    free(table);
}

int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *cache, uint64_t offset, struct qcow2_table **out)
{
    int rc;

    *out = qcow2_cache_find(cache, offset);
    if (*out)
        return 0;
    rc = take_table(q, cache, offset, out);
    if (rc)
        return rc;
    rc = host_file_read(q->node.file, (*out)->bytes, q->cluster_bytes, offset);
    if (rc)
        free_table(cache, *out);
    return rc;
}

int qcow2_cache_new(struct qcow2 *q, struct qcow2_cache *cache, uint64_t offset, struct qcow2_table **out)
{
    int rc = 0;

    *out = qcow2_cache_find(cache, offset); /* what an earlier table left there */
    if (!*out)
        rc = take_table(q, cache, offset, out);
    if (rc)
        return rc;
    memset((*out)->bytes, 0, q->cluster_bytes);
    qcow2_table_dirty(cache, *out);
    return 0;
}

void qcow2_table_dirty(struct qcow2_cache *cache, struct qcow2_table *table)
{
    cache->dirty_count += !table->dirty;
    table->dirty = true;
}

void qcow2_table_clean(struct qcow2_cache *cache, struct qcow2_table *table)
{
    cache->dirty_count -= table->dirty;
    table->dirty = false;
}

void qcow2_cache_drop(struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_table *table = qcow2_cache_find(cache, offset);

    if (!table)
        return;
    if (table->pins)
        qcow2_table_clean(cache, table); /* the flush goes on with its own copy */
    else
        free_table(cache, table);
}

int qcow2_write_u64(struct qcow2 *q, uint64_t at, uint64_t value)
{
    uint8_t bytes[8];

    be64_put(bytes, value);
    return host_file_write(q->node.file, bytes, sizeof(bytes), at);
}

int qcow2_corrupt(struct qcow2 *q, const char *format, ...)
{
    char why[200];
    va_list args;

    if (q->corrupt)
        return -EIO;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    q->corrupt = true;
    log_warn(LOG_DEV, "%s: damaged qcow2 image: %s; %s", q->name, why,
             q->node.writable ? "nothing is written to it any more" : "what it concerns cannot be read");
    if (q->node.writable && q->version >= 3) {
        q->incompatible |= QCOW2_INCOMPATIBLE_CORRUPT;
        (void)!qcow2_write_u64(q, QCOW2_AT_INCOMPATIBLE, q->incompatible);
    }
    return -EIO;
}

static bool overlaps(uint64_t offset, uint64_t bytes, uint64_t start, uint64_t len)
{
    return offset < start + len && start < offset + bytes;
}

bool qcow2_offset_is_sane(const struct qcow2 *q, uint64_t offset)
{
    return offset % q->cluster_bytes == 0 && offset >= q->cluster_bytes &&
           !overlaps(offset, q->cluster_bytes, q->l1_offset, (uint64_t)q->l1_size * 8) &&
           !overlaps(offset, q->cluster_bytes, q->reftable_offset, q->reftable_clusters * q->cluster_bytes);
}
