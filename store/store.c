/* The database's file, its two connections and its writing thread; see store.h. Two locks: `read_lock` for the
 * connection that anybody reads by, `lock` for the queue; neither is held while the other is taken, and the writing
 * thread holds none while it writes. */
#include "store/store_internal.h"

#include "base/log.h"
#include "base/sandbox.h"

#include <openssl/sha.h>
#include <zlib.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    QUEUE_BYTES_MAX = 64 << 20,
    BATCH_MIN = 64,     /* records that wake the writing thread */
    BATCH_MAX = 256,    /* in one transaction: what a kill can lose */
    BATCH_SECONDS = 2,  /* or so much time */
    BUSY_MS = 10000,    /* another process writes: its batches take milliseconds, on a busy machine more */
    BUSY_TRIES = 3,     /* so many times that, before a batch is given up */
    BUSY_OPEN_MS = 500, /* nothing runs yet */
    LEVEL = 1,          /* of zlib: code comes to 0.4 of its size; 6 makes 0.38 of it at half the speed */
    PAGE_BYTES = 4096,
    WAL_PAGES = 1000,
};

/* Of the file, version by version. */
static const char *const migrations[] = {
    /* 1 */
    "CREATE TABLE builds(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE regions(id INTEGER PRIMARY KEY, build INTEGER NOT NULL REFERENCES builds(id), digest BLOB NOT NULL,"
    " level INTEGER NOT NULL, insns INTEGER NOT NULL, gva INTEGER NOT NULL, shape BLOB NOT NULL, profile BLOB,"
    " compile_us INTEGER NOT NULL, entries INTEGER NOT NULL, runs INTEGER NOT NULL, last_run INTEGER NOT NULL,"
    " UNIQUE(digest, build)) STRICT;"
    "CREATE TABLE objects(region INTEGER PRIMARY KEY REFERENCES regions(id) ON DELETE CASCADE, digest BLOB NOT NULL,"
    " bytes INTEGER NOT NULL, data BLOB NOT NULL) STRICT;"
    "CREATE TABLE clock(id INTEGER PRIMARY KEY CHECK(id = 1), run INTEGER NOT NULL) STRICT;"
    "INSERT INTO clock VALUES(1, 0);",
    /* 2 */
    "CREATE TABLE runs(id INTEGER PRIMARY KEY, started INTEGER NOT NULL, version TEXT NOT NULL, guest TEXT NOT NULL,"
    " options TEXT NOT NULL, seconds REAL NOT NULL, instructions INTEGER NOT NULL, compiled REAL NOT NULL) STRICT;"
    "CREATE TABLE run_stats(run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " value INTEGER NOT NULL, PRIMARY KEY(run, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE run_regions(run INTEGER NOT NULL, region INTEGER NOT NULL REFERENCES regions(id) ON DELETE CASCADE,"
    " entries INTEGER NOT NULL, PRIMARY KEY(run, region)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX run_regions_region ON run_regions(region);",
};

const struct schema store_schema = {.migrations = migrations,
                                    .digest = "0e89bb60ae4fc4bf91a66dd6004208081c5522fe3a0d8c24d1154efd1a3607ed",
                                    .version = TUFF_ARRAY_LEN(migrations),
                                    .application = STORE_APPLICATION};

static const uint64_t limit_default_bytes = 256ull << 20;

struct run_copy {
    struct store_run run;
    int64_t started;
    char *version, *guest, *options;
    struct store_stat *stats;
};

/* Something to be written. */
struct record {
    struct record *next;
    bool use; /* only `entries` of what is there */
    struct store_region region;
    size_t bytes;
    uint8_t data[]; /* shape, profile, code */
};

struct store {
    char *path;
    uint64_t limit_bytes;
    int64_t build;
    int64_t run; /* of the file's runs, this one's number */
    pthread_mutex_t read_lock;
    sqlite3 *reader; /* under read_lock */
    sqlite3_stmt *read_code;
    sqlite3 *writer; /* the writing thread's; NULL: not writable */
    pthread_t thread;
    bool has_thread;
    atomic_bool told; /* a warning was given */
    atomic_bool bad;  /* nothing is read or written any more */
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* under the lock */
    struct record *first, **last;
    uint32_t waiting;
    size_t waiting_bytes;
    bool closing;
    struct run_copy *run_done; /* is written last; NULL: none, or written */
};

void store_digest(const void *bytes, size_t len, uint8_t digest[STORE_DIGEST_BYTES])
{
    (void)SHA256(bytes, len, digest);
}

/* One line for whatever happens to the file. */
static void tell(struct store *s, const char *what, int rc)
{
    if (!atomic_exchange(&s->told, true))
        log_warn(LOG_STORE, "%s: %s (%s): going on without", s->path, what, sqlite3_errstr(rc));
}

/* After these the file is left alone: whatever is done could make it worse. */
static bool is_damage(int rc)
{
    rc &= 255;
    return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_IOERR || rc == SQLITE_FORMAT ||
           rc == SQLITE_SCHEMA || rc == SQLITE_ERROR;
}

static void failed(struct store *s, const char *what, int rc)
{
    if (is_damage(rc))
        atomic_store(&s->bad, true);
    tell(s, what, rc);
}

/* ---- the file ---- */

/* The file, and those that SQLite keeps beside it, are this user's alone. A missing one is fine. */
static int check_file(const char *path, const char *suffix, struct error *err)
{
    char name[4096];
    struct stat st;

    if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffix) >= sizeof(name))
        return error_set(err, -ENAMETOOLONG, "%.40s..: its name is too long", path);
    if (lstat(name, &st))
        return errno == ENOENT ? 0 : error_set(err, -errno, "%s: %s", name, strerror(errno));
    if (S_ISLNK(st.st_mode) && stat(name, &st))
        return error_set(err, -errno, "%s: %s", name, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(err, -EACCES, "%s: not a regular file", name);
    if (st.st_uid != geteuid())
        return error_set(err, -EACCES, "%s: belongs to another user, and would be run as code", name);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return error_set(err, -EACCES,
                         "%s: others may read or write it (mode %03o), and it would be run as code: chmod 600", name,
                         (unsigned)st.st_mode & 0777);
    return 0;
}

static int make_file(const char *path, struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);

    if (fd < 0)
        return errno == EEXIST ? 0 : error_set(err, -errno, "%s: %s", path, strerror(errno));
    return close(fd) ? error_set(err, -errno, "%s: %s", path, strerror(errno)) : 0;
}

/* The file is hostile until proven otherwise: no functions or tables of its own are trusted, sizes have limits. */
static int open_connection(const char *path, bool writable, int busy_ms, sqlite3 **out)
{
    int flags = (writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, out, flags, NULL);

    if (rc == SQLITE_OK && writable && sqlite3_db_readonly(*out, "main") == 1)
        rc = SQLITE_READONLY;
    if (rc != SQLITE_OK)
        return rc;
    (void)sqlite3_busy_timeout(*out, busy_ms);
    (void)sqlite3_db_config(*out, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(*out, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_limit(*out, SQLITE_LIMIT_LENGTH, STORE_BLOB_BYTES_MAX);
    return sqlite3_exec(*out, "PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON; PRAGMA mmap_size = 0", NULL, NULL,
                        NULL);
}

/* The writer's: makes what is not there yet. */
static int open_writer(const char *path, uint64_t limit_bytes, int busy_ms, sqlite3 **out, struct error *err)
{
    char pragmas[160];
    uint64_t most_pages = limit_bytes / PAGE_BYTES * 5 / 4 + 256;
    int rc = open_connection(path, true, busy_ms, out);

    if (rc == SQLITE_OK)
        rc = schema_prepare(*out, &store_schema, true, err);
    if (rc != SQLITE_OK)
        return rc;
    /* A batch beyond the limit fits, after which room is made. */
    (void)snprintf(pragmas, sizeof(pragmas),
                   "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = %d;"
                   "PRAGMA max_page_count = %" PRIu64,
                   WAL_PAGES, most_pages);
    return sqlite3_exec(*out, pragmas, NULL, NULL, NULL);
}

static int check_files(const char *path, struct error *err)
{
    static const char *const files[] = {"", "-wal", "-shm", "-journal"};
    int rc = 0;

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(files) && rc == 0; i++)
        rc = check_file(path, files[i], err);
    return rc;
}

int store_connect(const char *path, bool make, int busy_ms, sqlite3 **out, struct error *err)
{
    struct error why = {""};
    int rc = check_files(path, err);

    *out = NULL;
    if (rc == 0 && make)
        rc = make_file(path, err);
    if (rc)
        return rc;
    rc = open_writer(path, UINT32_MAX * (uint64_t)1024, busy_ms, out, &why);
    if (rc == SQLITE_OK)
        return 0;
    (void)sqlite3_close(*out);
    *out = NULL;
    return error_set(err, schema_error(rc), "%s: %s", path, why.text[0] ? why.text : sqlite3_errstr(rc));
}

static int bind_text(sqlite3 *db, const char *sql, const char *text, int64_t *number)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW && number)
        *number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* This run's number, and the build's row. */
static int begin_run(struct store *s, const char *build)
{
    int rc = SQLITE_OK;

    if (s->writer) {
        rc = sqlite3_exec(s->writer, "BEGIN IMMEDIATE; UPDATE clock SET run = run + 1", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = bind_text(s->writer, "INSERT OR IGNORE INTO builds(text) VALUES(?)", build, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(s->writer, "COMMIT", NULL, NULL, NULL);
        else
            (void)sqlite3_exec(s->writer, "ROLLBACK", NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK)
        rc = schema_read_number(s->reader, "SELECT run FROM clock", &s->run);
    if (rc == SQLITE_OK)
        rc = bind_text(s->reader, "SELECT id FROM builds WHERE text = ?", build, &s->build);
    return rc;
}

/* ---- writing ---- */

static int step_and_reset(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);

    (void)sqlite3_reset(statement);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

enum { PUT_REGION, PUT_OBJECT, PUT_USE, PUT_RUN_REGION, PUT_RUN, PUT_STAT, PUT_COUNT };

static const char *const put_sql[PUT_COUNT] = {
    [PUT_REGION] = ("INSERT INTO regions(build, digest, level, insns, gva, shape, profile, compile_us, entries, runs,"
                    " last_run) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?9) ON CONFLICT(digest, build) DO UPDATE"
                    " SET profile = excluded.profile, compile_us = excluded.compile_us, last_run = excluded.last_run"
                    " RETURNING id"),
    [PUT_OBJECT] = "INSERT OR REPLACE INTO objects(region, digest, bytes, data) VALUES(?1, ?2, ?3, ?4)",
    [PUT_RUN_REGION] = ("INSERT INTO run_regions(run, region, entries) SELECT ?4, id, ?3 FROM regions WHERE build = ?1"
                        " AND digest = ?2 ON CONFLICT DO UPDATE SET entries = entries + excluded.entries"),
    [PUT_RUN] = ("INSERT OR REPLACE INTO runs(id, started, version, guest, options, seconds, instructions, compiled)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
    [PUT_STAT] = "INSERT OR REPLACE INTO run_stats(run, name, value) VALUES(?1, ?2, ?3)",
    /* Half of what it was, so that what is not used any more counts for less and less. */
    [PUT_USE] = ("UPDATE regions SET entries = entries / 2 + (?3 + 1) / 2, runs = min(runs + 1, 1000), last_run = ?4"
                 " WHERE build = ?1 AND digest = ?2"),
};

struct statements {
    sqlite3_stmt *put[PUT_COUNT];
};

/* What the object's row is checked by: it belongs to this region and is whole. */
static void object_digest(const uint8_t region[STORE_DIGEST_BYTES], const uint8_t *code, size_t len,
                          uint8_t digest[STORE_DIGEST_BYTES])
{
    uint8_t both[2 * STORE_DIGEST_BYTES];

    memcpy(both, region, STORE_DIGEST_BYTES);
    store_digest(code, len, both + STORE_DIGEST_BYTES);
    store_digest(both, sizeof(both), digest);
}

static int put_object(struct statements *st, int64_t id, const struct store_region *r)
{
    uint8_t digest[STORE_DIGEST_BYTES];
    uLongf packed_bytes = compressBound(r->code_bytes);
    uint8_t *packed = malloc(packed_bytes);
    int rc = SQLITE_NOMEM;

    if (packed && compress2(packed, &packed_bytes, r->code, r->code_bytes, LEVEL) == Z_OK) {
        sqlite3_stmt *put = st->put[PUT_OBJECT];
        object_digest(r->digest, r->code, r->code_bytes, digest);
        (void)sqlite3_bind_int64(put, 1, id);
        (void)sqlite3_bind_blob(put, 2, digest, sizeof(digest), SQLITE_STATIC);
        (void)sqlite3_bind_int64(put, 3, (int64_t)r->code_bytes);
        (void)sqlite3_bind_blob64(put, 4, packed, packed_bytes, SQLITE_STATIC);
        rc = step_and_reset(put);
        (void)sqlite3_clear_bindings(put);
    }
    free(packed);
    return rc;
}

static int put_use(struct store *s, struct statements *st, const struct store_region *r)
{
    static const int both[] = {PUT_USE, PUT_RUN_REGION};
    int rc = SQLITE_OK;

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(both) && rc == SQLITE_OK; i++) {
        sqlite3_stmt *put = st->put[both[i]];
        (void)sqlite3_bind_int64(put, 1, s->build);
        (void)sqlite3_bind_blob(put, 2, r->digest, STORE_DIGEST_BYTES, SQLITE_STATIC);
        (void)sqlite3_bind_int64(put, 3, (int64_t)(r->entries & INT64_MAX));
        (void)sqlite3_bind_int64(put, 4, s->run);
        rc = step_and_reset(put);
    }
    return rc;
}

static int put_run(struct store *s, struct statements *st, const struct run_copy *run)
{
    sqlite3_stmt *put = st->put[PUT_RUN];

    (void)sqlite3_bind_int64(put, 1, s->run);
    (void)sqlite3_bind_int64(put, 2, run->started);
    (void)sqlite3_bind_text(put, 3, run->version, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(put, 4, run->guest, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(put, 5, run->options, -1, SQLITE_STATIC);
    (void)sqlite3_bind_double(put, 6, run->run.seconds);
    (void)sqlite3_bind_int64(put, 7, (int64_t)run->run.instructions);
    (void)sqlite3_bind_double(put, 8, run->run.compiled);
    int rc = step_and_reset(put);
    (void)sqlite3_clear_bindings(put);
    put = st->put[PUT_STAT];
    for (size_t i = 0; i < run->run.stat_count && rc == SQLITE_OK; i++) {
        (void)sqlite3_bind_int64(put, 1, s->run);
        (void)sqlite3_bind_text(put, 2, run->stats[i].name, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(put, 3, (int64_t)(run->stats[i].value & INT64_MAX));
        rc = step_and_reset(put);
    }
    return rc;
}

static int put_region(struct store *s, struct statements *st, const struct store_region *r)
{
    sqlite3_stmt *put = st->put[PUT_REGION];

    (void)sqlite3_bind_int64(put, 1, s->build);
    (void)sqlite3_bind_blob(put, 2, r->digest, STORE_DIGEST_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_int(put, 3, r->level);
    (void)sqlite3_bind_int64(put, 4, r->insns);
    (void)sqlite3_bind_int64(put, 5, (int64_t)r->gva);
    (void)sqlite3_bind_blob64(put, 6, r->shape, r->shape_bytes, SQLITE_STATIC);
    (void)sqlite3_bind_blob64(put, 7, r->profile, r->profile_bytes, SQLITE_STATIC);
    (void)sqlite3_bind_int64(put, 8, (int64_t)r->compile_us);
    (void)sqlite3_bind_int64(put, 9, s->run);
    int rc = sqlite3_step(put);
    int64_t id = rc == SQLITE_ROW ? sqlite3_column_int64(put, 0) : 0;
    int reset = sqlite3_reset(put);
    (void)sqlite3_clear_bindings(put);
    if (rc != SQLITE_ROW || reset != SQLITE_OK)
        return reset != SQLITE_OK ? reset : SQLITE_ERROR;
    return r->code ? put_object(st, id, r) : SQLITE_OK;
}

/* Bytes in use: what was freed inside of the file does not count. */
static int used_bytes(sqlite3 *db, uint64_t *bytes)
{
    int64_t pages = 0, free_pages = 0;
    int rc = schema_read_number(db, "PRAGMA page_count", &pages);

    if (rc == SQLITE_OK)
        rc = schema_read_number(db, "PRAGMA freelist_count", &free_pages);
    *bytes = (uint64_t)(pages - free_pages) * PAGE_BYTES;
    return rc;
}

/* Least useful first: what a region saved a run (its compile), times the runs that used it, the more runs ago the
 * less. */
static int evict(struct store *s)
{
    uint64_t bytes = 0;
    int rc = used_bytes(s->writer, &bytes);
    bool over = rc == SQLITE_OK && bytes > s->limit_bytes;

    while (rc == SQLITE_OK && bytes > s->limit_bytes / 10 * 9 && over) {
        rc = sqlite3_exec(s->writer,
                          "DELETE FROM regions WHERE id IN (SELECT id FROM regions ORDER BY compile_us * runs /"
                          " (1 + max(0, (SELECT run FROM clock) - last_run)), last_run, entries LIMIT"
                          " (SELECT 1 + count(*) / 16 FROM regions))",
                          NULL, NULL, NULL);
        if (rc == SQLITE_OK && sqlite3_changes(s->writer) == 0)
            break;
        if (rc == SQLITE_OK)
            rc = used_bytes(s->writer, &bytes);
    }
    return rc;
}

static int forget_old_runs(struct store *s)
{
    char sql[160];

    (void)snprintf(sql, sizeof(sql), "DELETE FROM runs WHERE id <= %lld; DELETE FROM run_regions WHERE run <= %lld",
                   (long long)(s->run - STORE_RUNS_KEPT), (long long)(s->run - STORE_RUNS_KEPT));
    return sqlite3_exec(s->writer, sql, NULL, NULL, NULL);
}

/* In one transaction; `run` may be NULL. */
static int write_all(struct store *s, struct statements *st, const struct record *records, const struct run_copy *run)
{
    int rc = sqlite3_exec(s->writer, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (rc != SQLITE_OK)
        return rc;
    for (const struct record *r = records; r && rc == SQLITE_OK; r = r->next)
        rc = r->use ? put_use(s, st, &r->region) : put_region(s, st, &r->region);
    if (rc == SQLITE_OK && run)
        rc = put_run(s, st, run);
    if (rc == SQLITE_OK && run)
        rc = forget_old_runs(s);
    if (rc == SQLITE_OK)
        rc = evict(s);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->writer, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        (void)sqlite3_exec(s->writer, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static void free_records(struct record *records)
{
    while (records) {
        struct record *next = records->next;
        free(records);
        records = next;
    }
}

static void free_run(struct run_copy *run)
{
    if (!run)
        return;
    free(run->version);
    free(run->guest);
    free(run->options);
    free(run->stats);
    free(run);
}

/* Under the lock: waits until there is a batch. */
static struct record *take_batch(struct store *s)
{
    while (!s->closing && s->waiting < BATCH_MIN) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += BATCH_SECONDS;
        if (pthread_cond_timedwait(&s->work, &s->lock, &until) == ETIMEDOUT && s->waiting)
            break;
    }
    struct record *batch = s->first, **end = &s->first;
    for (unsigned i = 0; i < BATCH_MAX && *end; i++) {
        s->waiting--;
        s->waiting_bytes -= (*end)->bytes;
        end = &(*end)->next;
    }
    s->first = *end;
    *end = NULL;
    if (!s->first)
        s->last = &s->first;
    return batch;
}

static int prepare(struct store *s, struct statements *st)
{
    int rc = SQLITE_OK;

    for (unsigned i = 0; i < PUT_COUNT && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(s->writer, put_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &st->put[i], NULL);
    return rc;
}

static void *write_batches(void *opaque)
{
    struct store *s = opaque;
    struct statements st = {0};

    sandbox_enter(SANDBOX_SERVICE);
    /* A thread's own on Linux. Not SCHED_IDLE: what it holds for a moment, an allocator's lock, others wait for. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 19);
    int rc = prepare(s, &st);
    pthread_mutex_lock(&s->lock);
    bool more = true;
    while (more) {
        struct record *batch = take_batch(s);
        struct run_copy *run = s->closing && !s->first ? s->run_done : NULL;
        more = !s->closing || batch || run;
        if (run)
            s->run_done = NULL;
        pthread_mutex_unlock(&s->lock);
        if (rc == SQLITE_OK && (batch || run) && !atomic_load(&s->bad)) {
            rc = write_all(s, &st, batch, run);
            for (unsigned i = 1; rc == SQLITE_BUSY && i < BUSY_TRIES; i++)
                rc = write_all(s, &st, batch, run);
            if (rc != SQLITE_OK)
                failed(s, "cannot be written", rc);
            /* Another process had it for too long: later there may be room again. */
            if (rc == SQLITE_BUSY)
                rc = SQLITE_OK;
        }
        free_records(batch);
        free_run(run);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < PUT_COUNT; i++)
        (void)sqlite3_finalize(st.put[i]);
    /* What was freed goes back to the file system. */
    if (rc == SQLITE_OK && !atomic_load(&s->bad))
        (void)sqlite3_exec(s->writer, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
    return NULL;
}

static uint8_t *append(uint8_t *at, const uint8_t *from, size_t len, const uint8_t **copy)
{
    *copy = from ? at : NULL;
    if (from)
        memcpy(at, from, len);
    return at + (from ? len : 0);
}

static void enqueue(struct store *s, const struct store_region *r, bool use)
{
    size_t bytes = sizeof(struct record) + r->shape_bytes + r->profile_bytes + r->code_bytes;
    struct record *record = s->writer && !atomic_load(&s->bad) && bytes < STORE_BLOB_BYTES_MAX ? malloc(bytes) : NULL;

    if (!record)
        return;
    *record = (struct record){.use = use, .region = *r, .bytes = bytes};
    uint8_t *at = append(record->data, r->shape, r->shape_bytes, &record->region.shape);
    at = append(at, r->profile, r->profile_bytes, &record->region.profile);
    (void)append(at, r->code, r->code_bytes, &record->region.code);
    pthread_mutex_lock(&s->lock);
    bool room = !s->closing && s->waiting_bytes + bytes <= QUEUE_BYTES_MAX;
    if (room) {
        *s->last = record;
        s->last = &record->next;
        s->waiting_bytes += bytes;
        if (++s->waiting >= BATCH_MIN)
            pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    if (!room)
        free(record);
}

void store_put(struct store *s, const struct store_region *region)
{
    enqueue(s, region, false);
}

void store_used(struct store *s, const uint8_t digest[STORE_DIGEST_BYTES], uint64_t entries)
{
    struct store_region r = {.entries = entries};

    memcpy(r.digest, digest, STORE_DIGEST_BYTES);
    enqueue(s, &r, true);
}

void store_put_run(struct store *s, const struct store_run *run)
{
    struct run_copy *copy = calloc(1, sizeof(*copy));

    if (!copy)
        return;
    *copy = (struct run_copy){.run = *run,
                              .started = (int64_t)time(NULL) - (int64_t)run->seconds,
                              .version = strdup(run->version),
                              .guest = strdup(run->guest),
                              .options = strdup(run->options),
                              .stats = calloc(run->stat_count + 1, sizeof(*run->stats))};
    if (copy->stats && run->stat_count)
        memcpy(copy->stats, run->stats, run->stat_count * sizeof(*run->stats));
    pthread_mutex_lock(&s->lock);
    bool taken = !s->run_done && copy->version && copy->guest && copy->options && copy->stats;
    if (taken)
        s->run_done = copy;
    pthread_mutex_unlock(&s->lock);
    if (!taken)
        free_run(copy);
}

/* ---- reading ---- */

static const uint8_t *column(sqlite3_stmt *statement, int index, size_t *len)
{
    const uint8_t *bytes = sqlite3_column_blob(statement, index);

    *len = bytes ? (size_t)sqlite3_column_bytes(statement, index) : 0;
    return bytes;
}

bool store_read_region(sqlite3_stmt *row, struct store_region *r)
{
    size_t digest_bytes;
    const uint8_t *digest = column(row, 0, &digest_bytes);
    uint8_t actual[STORE_DIGEST_BYTES];

    *r = (struct store_region){.level = (uint8_t)sqlite3_column_int(row, 1),
                               .insns = (uint32_t)sqlite3_column_int64(row, 2),
                               .gva = (uint64_t)sqlite3_column_int64(row, 3),
                               .compile_us = (uint64_t)sqlite3_column_int64(row, 6),
                               .entries = (uint64_t)sqlite3_column_int64(row, 7),
                               .has_code = sqlite3_column_int(row, 8)};
    r->shape = column(row, 4, &r->shape_bytes);
    r->profile = column(row, 5, &r->profile_bytes);
    if (digest_bytes != STORE_DIGEST_BYTES || !r->shape)
        return false;
    memcpy(r->digest, digest, STORE_DIGEST_BYTES);
    store_digest(r->shape, r->shape_bytes, actual);
    return memcmp(actual, r->digest, STORE_DIGEST_BYTES) == 0;
}

int store_each(struct store *s, store_region_fn fn, void *opaque)
{
    sqlite3_stmt *statement = NULL;
    struct store_region region;

    if (atomic_load(&s->bad))
        return -EIO;
    pthread_mutex_lock(&s->read_lock);
    int rc = sqlite3_prepare_v2(s->reader,
                                "SELECT digest, level, insns, gva, shape, profile, compile_us, entries,"
                                " EXISTS(SELECT 1 FROM objects WHERE region = regions.id) FROM regions"
                                " WHERE build = ? ORDER BY level DESC, entries DESC",
                                -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(statement, 1, s->build);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = SQLITE_OK;
        if (store_read_region(statement, &region))
            fn(opaque, &region);
        else
            tell(s, "a region in it is not what it says", SQLITE_CORRUPT);
    }
    sqlite3_finalize(statement);
    pthread_mutex_unlock(&s->read_lock);
    if (rc == SQLITE_DONE)
        return 0;
    failed(s, "cannot be read", rc);
    return schema_error(rc);
}

int store_unpack(const uint8_t region[STORE_DIGEST_BYTES], sqlite3_stmt *row, int first_column, uint8_t **code,
                 size_t *code_bytes)
{
    size_t digest_bytes, packed_bytes;
    const uint8_t *digest = column(row, first_column, &digest_bytes);
    const uint8_t *packed = column(row, first_column + 2, &packed_bytes);
    int64_t bytes = sqlite3_column_int64(row, first_column + 1);
    uint8_t actual[STORE_DIGEST_BYTES];

    *code = NULL;
    if (bytes <= 0 || bytes > STORE_BLOB_BYTES_MAX || digest_bytes != STORE_DIGEST_BYTES || !packed)
        return -EBADMSG;
    uLongf len = (uLongf)bytes;
    *code = malloc(len);
    if (!*code)
        return -ENOMEM;
    if (uncompress(*code, &len, packed, packed_bytes) == Z_OK && len == (uLongf)bytes) {
        object_digest(region, *code, len, actual);
        if (memcmp(actual, digest, STORE_DIGEST_BYTES) == 0) {
            *code_bytes = len;
            return 0;
        }
    }
    free(*code);
    *code = NULL;
    return -EBADMSG;
}

int store_code(struct store *s, const uint8_t digest[STORE_DIGEST_BYTES], uint8_t **code, size_t *code_bytes)
{
    int result = -ENOENT;
    int rc = SQLITE_OK;

    *code = NULL;
    if (atomic_load(&s->bad))
        return -EIO;
    pthread_mutex_lock(&s->read_lock);
    if (!s->read_code)
        rc = sqlite3_prepare_v3(s->reader,
                                "SELECT objects.digest, bytes, data FROM regions JOIN objects ON region = id"
                                " WHERE build = ? AND regions.digest = ?",
                                -1, SQLITE_PREPARE_PERSISTENT, &s->read_code, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_int64(s->read_code, 1, s->build);
        (void)sqlite3_bind_blob(s->read_code, 2, digest, STORE_DIGEST_BYTES, SQLITE_STATIC);
        rc = sqlite3_step(s->read_code);
        if (rc == SQLITE_ROW)
            result = store_unpack(digest, s->read_code, 0, code, code_bytes);
        (void)sqlite3_reset(s->read_code);
    }
    pthread_mutex_unlock(&s->read_lock);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        failed(s, "cannot be read", rc);
        return schema_error(rc);
    }
    if (result == -EBADMSG)
        tell(s, "code in it is not what was stored", SQLITE_CORRUPT);
    return result;
}

/* ---- opening and closing ---- */

static int start_thread(struct store *s)
{
    int rc = pthread_create(&s->thread, NULL, write_batches, s);

    s->has_thread = rc == 0;
    if (rc == 0)
        pthread_setname_np(s->thread, "tuff-store");
    return -rc;
}

static int open_database(struct store *s, const char *build, struct error *err)
{
    struct error why = {""};
    int rc = open_writer(s->path, s->limit_bytes, BUSY_OPEN_MS, &s->writer, &why);

    if ((rc & 255) == SQLITE_READONLY || (rc & 255) == SQLITE_CANTOPEN || (rc & 255) == SQLITE_PERM) {
        (void)sqlite3_close(s->writer);
        s->writer = NULL;
        rc = SQLITE_OK;
    }
    if (rc == SQLITE_OK)
        rc = open_connection(s->path, false, BUSY_OPEN_MS, &s->reader);
    if (rc == SQLITE_OK && !s->writer) {
        rc = schema_prepare(s->reader, &store_schema, false, &why);
        if (rc == SQLITE_OK)
            tell(s, "may only be read", SQLITE_READONLY);
    }
    if (rc == SQLITE_OK)
        rc = begin_run(s, build);
    if (rc == SQLITE_OK) {
        if (s->writer)
            (void)sqlite3_busy_timeout(s->writer, BUSY_MS);
        return 0;
    }
    return error_set(err, schema_error(rc), "%s: %s", s->path, why.text[0] ? why.text : sqlite3_errstr(rc));
}

int store_open(const struct store_config *config, struct store **out, struct error *err)
{
    struct store *s = calloc(1, sizeof(*s));
    pthread_condattr_t monotonic;
    int rc = 0;

    if (!s)
        return error_set(err, -ENOMEM, "no memory for the store");
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->read_lock, NULL);
    s->last = &s->first;
    s->limit_bytes = config->limit_bytes ? config->limit_bytes : limit_default_bytes;
    s->path = strdup(config->path);
    if (!s->path)
        rc = error_set(err, -ENOMEM, "no memory for the store");
    if (rc == 0)
        rc = check_files(s->path, err);
    if (rc == 0)
        rc = make_file(s->path, err);
    if (rc == 0)
        rc = open_database(s, config->build, err);
    if (rc == 0 && s->writer) {
        rc = start_thread(s);
        if (rc)
            (void)error_set(err, rc, "the store's thread could not be started: %s", strerror(-rc));
    }
    if (rc) {
        store_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    free_records(s->first);
    free_run(s->run_done);
    (void)sqlite3_finalize(s->read_code);
    (void)sqlite3_close(s->reader);
    (void)sqlite3_close(s->writer);
    pthread_mutex_destroy(&s->read_lock);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    free(s->path);
    free(s);
}
