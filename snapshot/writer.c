/* Writing a snapshot: pages go in batches to threads that look for zeroes, hash, find what the file has already and
 * compress the rest; everything is one transaction, so that a killed process leaves nothing of it.
 *
 * A batch, on one thread:
 *   1. hash each page that is not zero
 *   2. with the store's lock: which pages of the file have that hash
 *   3. inflate and compare those, deflate the others
 *   4. with the lock: insert, unless another batch has just done so
 * Locks: the queue's and the store's, never both.
 */
#include "base/sandbox.h"
#include "snapshot/snapshot_internal.h"

#include <assert.h>
#include <errno.h>
#include <libdeflate.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH_PAGES = 64,
    QUEUE_BATCHES = 64, /* 16 MiB that wait, before who gives pages waits too */
    THREADS_MAX = 16,
    BACKGROUND_NICE = 5,
    PACKED_MAX = SNAPSHOT_PAGE_BYTES - 1,
};

struct batch {
    struct batch *next;
    unsigned count;
    uint32_t *slots[BATCH_PAGES]; /* where the number of the page goes */
    uint8_t bytes[BATCH_PAGES][SNAPSHOT_PAGE_BYTES];
};

struct memory {
    uint64_t pages;
    uint32_t *ids;
    uint32_t *before; /* the parent's; NULL: zeroes */
};

/* Pages of this transaction by hash: open addressing, ids as values. */
struct fresh {
    int64_t *hashes;
    uint32_t *ids;
    size_t capacity, count;
};

struct snapshot_writer {
    struct snapshot_store *store;
    int64_t id, parent;
    int level;
    bool background;
    struct timespec begun;
    struct memory memories[SNAPSHOT_MEMORIES_MAX];
    struct batch *filling; /* the giving thread's */

    /* Under the store's lock. */
    sqlite3_stmt *look, *insert;
    bool had_pages; /* there were some before */
    uint32_t first_id, next_id;
    struct fresh fresh;

    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
    pthread_mutex_t lock;
    pthread_cond_t work, room;
    /* Under `lock`. */
    struct batch *first, **last, *spare;
    unsigned waiting, under_way;
    bool ending;
    int rc; /* the first that went wrong */
    struct error why;
};

/* ---- what this transaction has inserted ---- */

static size_t fresh_slot(const struct fresh *f, int64_t hash)
{
    size_t at = (size_t)hash & (f->capacity - 1);

    while (f->ids[at] && f->hashes[at] != hash)
        at = (at + 1) & (f->capacity - 1);
    return at;
}

static bool fresh_grow(struct fresh *f)
{
    struct fresh larger = {.capacity = f->capacity ? 2 * f->capacity : 4096, .count = f->count};

    larger.hashes = calloc(larger.capacity, sizeof(*larger.hashes));
    larger.ids = calloc(larger.capacity, sizeof(*larger.ids));
    if (!larger.hashes || !larger.ids) {
        free(larger.hashes);
        free(larger.ids);
        return false;
    }
    for (size_t i = 0; i < f->capacity; i++) {
        if (!f->ids[i])
            continue;
        size_t at = fresh_slot(&larger, f->hashes[i]);
        larger.hashes[at] = f->hashes[i];
        larger.ids[at] = f->ids[i];
    }
    free(f->hashes);
    free(f->ids);
    *f = larger;
    return true;
}

static bool fresh_add(struct fresh *f, int64_t hash, uint32_t id)
{
    if (f->count * 2 >= f->capacity && !fresh_grow(f))
        return false;
    size_t at = fresh_slot(f, hash);
    f->count += f->ids[at] == 0;
    f->hashes[at] = hash;
    f->ids[at] = id;
    return true;
}

static uint32_t fresh_find(const struct fresh *f, int64_t hash)
{
    return f->capacity ? f->ids[fresh_slot(f, hash)] : 0;
}

/* ---- a batch ---- */

/* What a thread keeps. */
struct worker {
    struct snapshot_writer *w;
    struct libdeflate_compressor *deflate;
    uint8_t packed[BATCH_PAGES][SNAPSHOT_PAGE_BYTES];
    size_t packed_len[BATCH_PAGES];
    int64_t hash[BATCH_PAGES];
    bool open[BATCH_PAGES]; /* has no number yet */
    struct {
        uint32_t id;
        size_t len;
        uint8_t data[SNAPSHOT_PAGE_BYTES];
    } found[BATCH_PAGES]; /* the page of the file with that hash; id 0: none */
};

static void note_failure(struct snapshot_writer *w, int rc, const struct error *why)
{
    pthread_mutex_lock(&w->lock);
    if (!w->rc) {
        w->rc = rc;
        w->why = *why;
    }
    pthread_mutex_unlock(&w->lock);
}

static void hash_all(struct worker *k, struct batch *b)
{
    for (unsigned i = 0; i < b->count; i++) {
        k->open[i] = !snapshot_page_is_zero(b->bytes[i]);
        k->found[i].id = 0;
        if (k->open[i])
            k->hash[i] = snapshot_page_hash(b->bytes[i]);
        else
            *b->slots[i] = 0;
    }
}

/* The first row of that hash. With the store's lock. */
static int look_up(struct worker *k, unsigned i)
{
    sqlite3_stmt *look = k->w->look;
    int rc;

    (void)sqlite3_bind_int64(look, 1, k->hash[i]);
    rc = sqlite3_step(look);
    k->found[i].id = 0;
    if (rc == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(look, 0);
        const void *data = sqlite3_column_blob(look, 1);
        size_t len = (size_t)sqlite3_column_bytes(look, 1);
        if (data && len <= SNAPSHOT_PAGE_BYTES && id > 0 && id <= UINT32_MAX) {
            memcpy(k->found[i].data, data, len);
            k->found[i].len = len;
            k->found[i].id = (uint32_t)id;
        }
        rc = SQLITE_DONE;
    }
    (void)sqlite3_reset(look);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool is_found(struct worker *k, const struct batch *b, unsigned i)
{
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];

    return k->found[i].id && snapshot_page_unpack(k->found[i].data, k->found[i].len, bytes) &&
           memcmp(bytes, b->bytes[i], SNAPSHOT_PAGE_BYTES) == 0;
}

/* Deflated, or as it is where that is no gain. */
static void pack(struct worker *k, struct batch *b, unsigned i)
{
    k->packed_len[i] = libdeflate_zlib_compress(k->deflate, b->bytes[i], SNAPSHOT_PAGE_BYTES, k->packed[i], PACKED_MAX);
    if (!k->packed_len[i]) {
        memcpy(k->packed[i], b->bytes[i], SNAPSHOT_PAGE_BYTES);
        k->packed_len[i] = SNAPSHOT_PAGE_BYTES;
    }
}

/* With the store's lock. */
static int insert(struct worker *k, struct batch *b, unsigned i)
{
    struct snapshot_writer *w = k->w;

    /* Another batch, or this one, may have brought the same since. */
    if (fresh_find(&w->fresh, k->hash[i])) {
        int rc = look_up(k, i);
        if (rc != SQLITE_OK)
            return rc;
        if (is_found(k, b, i)) {
            *b->slots[i] = k->found[i].id;
            return SQLITE_OK;
        }
    }
    if (w->next_id == UINT32_MAX)
        return SQLITE_FULL;
    (void)sqlite3_bind_int64(w->insert, 1, w->next_id);
    (void)sqlite3_bind_int64(w->insert, 2, k->hash[i]);
    (void)sqlite3_bind_blob64(w->insert, 3, k->packed[i], k->packed_len[i], SQLITE_STATIC);
    int rc = sqlite3_step(w->insert);
    (void)sqlite3_reset(w->insert);
    if (rc != SQLITE_DONE)
        return rc;
    *b->slots[i] = w->next_id;
    return fresh_add(&w->fresh, k->hash[i], w->next_id++) ? SQLITE_OK : SQLITE_NOMEM;
}

static int store_batch(struct worker *k, struct batch *b)
{
    struct snapshot_store *store = k->w->store;
    struct error why;
    int rc = SQLITE_OK;

    hash_all(k, b);
    snapshot_lock(store);
    bool is_empty = !k->w->had_pages && !k->w->fresh.count;
    for (unsigned i = 0; i < b->count && rc == SQLITE_OK && !is_empty; i++) {
        if (k->open[i])
            rc = look_up(k, i);
    }
    snapshot_unlock(store);
    for (unsigned i = 0; i < b->count; i++) {
        if (!k->open[i])
            continue;
        if (is_found(k, b, i)) {
            *b->slots[i] = k->found[i].id;
            k->open[i] = false;
        } else {
            pack(k, b, i);
        }
    }
    snapshot_lock(store);
    for (unsigned i = 0; i < b->count && rc == SQLITE_OK; i++) {
        if (k->open[i])
            rc = insert(k, b, i);
    }
    if (rc != SQLITE_OK)
        rc = snapshot_fail(store, rc, &why);
    snapshot_unlock(store);
    if (rc)
        note_failure(k->w, rc, &why);
    return rc;
}

static void *work(void *opaque)
{
    struct snapshot_writer *w = opaque;
    struct worker *k = calloc(1, sizeof(*k));
    struct error why = {"no memory for compressing a snapshot"};

    sandbox_enter(SANDBOX_SERVICE);
    if (w->background)
        (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), BACKGROUND_NICE);
    if (k)
        k->w = w;
    if (!k || !(k->deflate = libdeflate_alloc_compressor(w->level)))
        note_failure(w, -ENOMEM, &why);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->first && !w->ending)
            pthread_cond_wait(&w->work, &w->lock);
        struct batch *b = w->first;
        if (!b)
            break;
        w->first = b->next;
        if (!w->first)
            w->last = &w->first;
        w->waiting--;
        w->under_way++;
        bool failed = !k || w->rc != 0;
        pthread_mutex_unlock(&w->lock);
        if (!failed)
            (void)store_batch(k, b);
        pthread_mutex_lock(&w->lock);
        w->under_way--;
        b->next = w->spare;
        w->spare = b;
        pthread_cond_broadcast(&w->room);
    }
    pthread_mutex_unlock(&w->lock);
    if (k)
        libdeflate_free_compressor(k->deflate);
    free(k);
    return NULL;
}

/* ---- giving pages ---- */

static void push(struct snapshot_writer *w, bool may_block)
{
    struct batch *b = w->filling;

    w->filling = NULL;
    pthread_mutex_lock(&w->lock);
    while (may_block && w->waiting >= QUEUE_BATCHES)
        pthread_cond_wait(&w->room, &w->lock);
    b->next = NULL;
    *w->last = b;
    w->last = &b->next;
    w->waiting++;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

static struct batch *new_batch(struct snapshot_writer *w)
{
    struct error why = {"no memory for a snapshot's pages"};

    pthread_mutex_lock(&w->lock);
    struct batch *b = w->spare;
    if (b)
        w->spare = b->next;
    pthread_mutex_unlock(&w->lock);
    if (!b)
        b = malloc(sizeof(*b));
    if (b)
        b->count = 0;
    else
        note_failure(w, -ENOMEM, &why);
    return b;
}

void snapshot_write_page(struct snapshot_writer *w, unsigned memory, uint64_t page, const void *bytes, bool may_block)
{
    assert(memory < SNAPSHOT_MEMORIES_MAX && page < w->memories[memory].pages);
    if (!w->filling)
        w->filling = new_batch(w);
    struct batch *b = w->filling;
    if (!b)
        return;
    memcpy(b->bytes[b->count], bytes, SNAPSHOT_PAGE_BYTES);
    b->slots[b->count++] = &w->memories[memory].ids[page];
    if (b->count == BATCH_PAGES)
        push(w, may_block);
}

int snapshot_write_sync(struct snapshot_writer *w, struct error *err)
{
    if (w->filling)
        push(w, false);
    pthread_mutex_lock(&w->lock);
    while (w->waiting || w->under_way)
        pthread_cond_wait(&w->room, &w->lock);
    int rc = w->rc;
    if (rc && err)
        *err = w->why;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

/* ---- settings and sections ---- */

int snapshot_write_setting(struct snapshot_writer *w, const char *name, const char *value, struct error *err)
{
    snapshot_lock(w->store);
    int rc = snapshot_execute(w->store, "INSERT OR REPLACE INTO settings VALUES(?, ?, ?)", "itt", w->id, name, value);
    if (rc != SQLITE_OK)
        rc = snapshot_fail(w->store, rc, err);
    snapshot_unlock(w->store);
    return rc;
}

static int put_fields(struct snapshot_store *store, int64_t section, const struct snapshot_field *fields,
                      unsigned count)
{
    sqlite3_stmt *put = NULL;
    int rc = snapshot_prepare(store, &put, "INSERT INTO fields VALUES(?, ?, ?, ?, ?)", "");

    for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
        const struct snapshot_field *f = &fields[i];
        (void)sqlite3_bind_int64(put, 1, section);
        (void)sqlite3_bind_text(put, 2, f->name, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(put, 3, f->element_bytes);
        (void)sqlite3_bind_int64(put, 4, f->count);
        (void)sqlite3_bind_blob64(put, 5, f->value, (uint64_t)f->element_bytes * f->count, SQLITE_STATIC);
        rc = sqlite3_step(put);
        rc = rc == SQLITE_DONE ? sqlite3_reset(put) : rc;
    }
    sqlite3_finalize(put);
    return rc;
}

int snapshot_write_section(struct snapshot_writer *w, const char *name, unsigned instance, uint32_t version,
                           const struct snapshot_field *fields, unsigned count, struct error *err)
{
    snapshot_lock(w->store);
    int rc = snapshot_execute(w->store, "INSERT INTO sections(snapshot, name, instance, version) VALUES(?, ?, ?, ?)",
                              "itii", w->id, name, (int64_t)instance, (int64_t)version);
    if (rc == SQLITE_OK)
        rc = put_fields(w->store, sqlite3_last_insert_rowid(w->store->db), fields, count);
    if (rc != SQLITE_OK)
        rc = snapshot_fail(w->store, rc, err);
    snapshot_unlock(w->store);
    return rc;
}

/* ---- beginning and end ---- */

static unsigned thread_count(unsigned wanted)
{
    long cpus = wanted ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);

    return cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (unsigned)cpus;
}

static int start_threads(struct snapshot_writer *w, unsigned wanted, struct error *err)
{
    sigset_t all, before;
    int rc = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < thread_count(wanted) && !rc; i++) {
        rc = pthread_create(&w->threads[i], NULL, work, w);
        if (rc)
            break;
        (void)pthread_setname_np(w->threads[i], "tuff-pack");
        w->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->thread_count ? 0 : error_set(err, -rc, "a thread for a snapshot could not be started: %s", strerror(rc));
}

static void stop_threads(struct snapshot_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    w->thread_count = 0;
}

static int create_memories(struct snapshot_writer *w, const uint64_t *pages, struct error *err)
{
    for (unsigned m = 0; m < SNAPSHOT_MEMORIES_MAX; m++) {
        struct memory *memory = &w->memories[m];
        memory->pages = pages[m];
        if (!pages[m])
            continue;
        memory->ids = calloc(pages[m], sizeof(*memory->ids));
        if (!memory->ids)
            return error_set(err, -ENOMEM, "no memory for the maps of a snapshot");
        if (!w->parent)
            continue;
        memory->before = calloc(pages[m], sizeof(*memory->before));
        if (!memory->before)
            return error_set(err, -ENOMEM, "no memory for the maps of a snapshot");
        int rc = snapshot_read_map(w->store, w->parent, m, memory->ids, pages[m], err);
        if (rc)
            return rc;
        memcpy(memory->before, memory->ids, pages[m] * sizeof(*memory->ids));
    }
    return 0;
}

/* The transaction and the snapshot's row, of which the commit knows the rest. With the store's lock. */
static int begin_transaction(struct snapshot_writer *w, const struct snapshot_write_config *config)
{
    struct snapshot_store *store = w->store;
    int64_t last = 0;
    int rc = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (rc != SQLITE_OK)
        return rc;
    store->writing = true;
    rc = snapshot_execute(store,
                          "INSERT INTO snapshots(parent, name, version, created_ns, instructions, pause_us, save_us,"
                          " new_pages, new_bytes, digest) VALUES(nullif(?, 0), ?, ?, 0, 0, 0, 0, 0, 0, x'')",
                          "itt", w->parent, config->name, config->version ? config->version : "");
    w->id = sqlite3_last_insert_rowid(store->db);
    if (rc == SQLITE_OK)
        rc = schema_read_number(store->db, "SELECT coalesce(max(id), 0) FROM pages", &last);
    if (rc == SQLITE_OK && (last < 0 || last >= UINT32_MAX))
        rc = last < 0 ? SQLITE_CORRUPT : SQLITE_FULL;
    w->had_pages = last > 0;
    w->first_id = w->next_id = (uint32_t)last + 1;
    if (rc == SQLITE_OK)
        rc =
            snapshot_prepare(store, &w->look, "SELECT id, data FROM pages WHERE hash = ? ORDER BY id DESC LIMIT 1", "");
    if (rc == SQLITE_OK)
        rc = snapshot_prepare(store, &w->insert, "INSERT INTO pages(id, hash, data) VALUES(?, ?, ?)", "");
    return rc;
}

static void free_writer(struct snapshot_writer *w)
{
    struct batch *next;

    stop_threads(w);
    free(w->filling);
    for (struct batch *b = w->spare; b; b = next) {
        next = b->next;
        free(b);
    }
    for (unsigned m = 0; m < SNAPSHOT_MEMORIES_MAX; m++) {
        free(w->memories[m].ids);
        free(w->memories[m].before);
    }
    snapshot_lock(w->store);
    sqlite3_finalize(w->look);
    sqlite3_finalize(w->insert);
    if (w->store->writing)
        (void)sqlite3_exec(w->store->db, "ROLLBACK", NULL, NULL, NULL);
    w->store->writing = false;
    snapshot_unlock(w->store);
    free(w->fresh.hashes);
    free(w->fresh.ids);
    pthread_cond_destroy(&w->room);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void snapshot_write_abort(struct snapshot_writer *w)
{
    if (w)
        free_writer(w);
}

int snapshot_write_begin(struct snapshot_store *store, const struct snapshot_write_config *config,
                         struct snapshot_writer **out, struct error *err)
{
    int rc = snapshot_name_check(config->name, err);

    if (rc)
        return rc;
    struct snapshot_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return error_set(err, -ENOMEM, "no memory for a snapshot");
    w->store = store;
    w->parent = config->parent;
    w->level = config->level ? config->level : 1;
    w->background = config->background;
    w->last = &w->first;
    clock_gettime(CLOCK_MONOTONIC, &w->begun);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->room, NULL);
    snapshot_lock(store);
    rc = store->writing ? SQLITE_BUSY : begin_transaction(w, config);
    if ((rc & 255) == SQLITE_CONSTRAINT)
        rc =
            error_set(err, -EEXIST, "snapshot, '%s', is in '%s' already: give another name", config->name, store->path);
    else if (rc != SQLITE_OK)
        rc = snapshot_fail(store, rc, err);
    if (rc == 0)
        rc = create_memories(w, config->memory_pages, err);
    snapshot_unlock(store);
    if (rc == 0)
        rc = start_threads(w, config->threads, err);
    if (rc) {
        free_writer(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* The chunks that differ from the parent's. */
static int put_maps(struct snapshot_writer *w, sqlite3_stmt *put, unsigned m)
{
    static const uint32_t zeroes[SNAPSHOT_CHUNK_PAGES];
    const struct memory *memory = &w->memories[m];

    for (uint64_t first = 0; first < memory->pages; first += SNAPSHOT_CHUNK_PAGES) {
        uint32_t map[SNAPSHOT_CHUNK_PAGES] = {0};
        uint64_t left = memory->pages - first;
        size_t bytes = (left < SNAPSHOT_CHUNK_PAGES ? left : SNAPSHOT_CHUNK_PAGES) * sizeof(map[0]);
        if (memcmp(memory->ids + first, memory->before ? memory->before + first : zeroes, bytes) == 0)
            continue;
        memcpy(map, memory->ids + first, bytes);
        (void)sqlite3_bind_int64(put, 1, w->id);
        (void)sqlite3_bind_int64(put, 2, m);
        (void)sqlite3_bind_int64(put, 3, (int64_t)(first / SNAPSHOT_CHUNK_PAGES));
        (void)sqlite3_bind_int64(put, 4, snapshot_map_digest(map));
        (void)sqlite3_bind_blob(put, 5, map, sizeof(map), SQLITE_STATIC);
        int rc = sqlite3_step(put);
        (void)sqlite3_reset(put);
        if (rc != SQLITE_DONE)
            return rc;
    }
    return SQLITE_OK;
}

/* Pages that a later content took the place of belong to nobody: only this transaction can have named them. */
static int drop_unused(struct snapshot_writer *w)
{
    uint32_t count = w->next_id - w->first_id;
    uint8_t *used = calloc(count ? count : 1, 1);
    int rc = used ? SQLITE_OK : SQLITE_NOMEM;

    for (unsigned m = 0; m < SNAPSHOT_MEMORIES_MAX && used; m++) {
        for (uint64_t i = 0; i < w->memories[m].pages; i++) {
            if (w->memories[m].ids[i] >= w->first_id)
                used[w->memories[m].ids[i] - w->first_id] = 1;
        }
    }
    for (uint32_t i = 0; i < count && rc == SQLITE_OK; i++) {
        if (!used[i])
            rc = snapshot_execute(w->store, "DELETE FROM pages WHERE id = ?", "i", (int64_t)w->first_id + i);
    }
    free(used);
    return rc;
}

static int64_t microseconds_since(const struct timespec *then)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - then->tv_sec) * 1000000 + (now.tv_nsec - then->tv_nsec) / 1000;
}

static int put_row(struct snapshot_writer *w, const struct snapshot_moment *moment, struct error *err)
{
    uint8_t digest[SNAPSHOT_DIGEST_BYTES];
    sqlite3_stmt *put = NULL;
    int rc = snapshot_sections_digest(w->store, w->id, digest, err);

    if (rc)
        return rc;
    rc = snapshot_prepare(
        w->store, &put,
        "UPDATE snapshots SET created_ns = ?2, instructions = ?3, pause_us = ?4, save_us = ?5, digest = ?7,"
        " (new_pages, new_bytes) = (SELECT count(*), coalesce(sum(length(data)), 0) FROM pages WHERE id >= ?6)"
        " WHERE id = ?1",
        "iiiiii", w->id, moment->created_ns, (int64_t)moment->instructions, (int64_t)moment->pause_us,
        microseconds_since(&w->begun), (int64_t)w->first_id);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(put, 7, digest, sizeof(digest), SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(put);
    sqlite3_finalize(put);
    return rc == SQLITE_DONE ? 0 : snapshot_fail(w->store, rc, err);
}

static int commit(struct snapshot_writer *w, const struct snapshot_moment *moment, struct error *err)
{
    struct snapshot_store *store = w->store;
    sqlite3_stmt *put = NULL;
    int rc = snapshot_prepare(store, &put, "INSERT INTO maps VALUES(?, ?, ?, ?, ?)", "");

    for (unsigned m = 0; m < SNAPSHOT_MEMORIES_MAX && rc == SQLITE_OK; m++)
        rc = put_maps(w, put, m);
    sqlite3_finalize(put);
    if (rc == SQLITE_OK)
        rc = drop_unused(w);
    if (rc != SQLITE_OK)
        return snapshot_fail(store, rc, err);
    rc = put_row(w, moment, err);
    if (rc)
        return rc;
    rc = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return snapshot_fail(store, rc, err);
    store->writing = false;
    snapshot_empty_log(store);
    return 0;
}

int snapshot_write_commit(struct snapshot_writer *w, const struct snapshot_moment *moment, struct snapshot_info *info,
                          struct error *err)
{
    struct snapshot_store *store = w->store;
    sqlite3_stmt *row = NULL;
    int rc = snapshot_write_sync(w, err);

    snapshot_lock(store);
    if (rc == 0)
        rc = commit(w, moment, err);
    if (rc == 0 && info) {
        int code =
            snapshot_prepare(store, &row, "SELECT " SNAPSHOT_INFO_COLUMNS " FROM snapshots WHERE id = ?", "i", w->id);
        if (code == SQLITE_OK)
            code = sqlite3_step(row);
        if (code != SQLITE_ROW || !snapshot_row_info(row, info))
            rc = snapshot_fail(store, code == SQLITE_ROW ? SQLITE_CORRUPT : code, err);
        sqlite3_finalize(row);
    }
    snapshot_unlock(store);
    free_writer(w);
    return rc;
}
