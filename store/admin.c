/* What people do with the file: looking, cleaning, checking, merging; see store.h. Each opens the file for itself, like
 * one more virtual machine. */
#include "store/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BUSY_MS = 10000, PAGE_BYTES = 4096 };

static int fail(struct error *err, const char *path, int rc)
{
    return error_set(err, schema_error(rc), "%s: %s", path, sqlite3_errstr(rc));
}

static int open_existing(const char *path, sqlite3 **db, struct error *err)
{
    struct stat st;

    *db = NULL;
    if (stat(path, &st))
        return error_set(err, -errno, "%s: there is no such database", path);
    return store_connect(path, false, BUSY_MS, db, err);
}

int store_read_info(const char *path, struct store_info *info, struct error *err)
{
    const struct {
        const char *sql;
        uint64_t *number;
    } asked[] = {
        {"PRAGMA page_count", &info->file_bytes},
        {"SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count", &info->used_bytes},
        {"SELECT run FROM clock", &info->runs},
        {"SELECT count(*) FROM builds", &info->builds},
        {"SELECT count(*) FROM regions", &info->regions},
        {"SELECT count(*) FROM objects", &info->objects},
        {"SELECT coalesce(sum(bytes), 0) FROM objects", &info->object_bytes},
        {"SELECT coalesce(sum(length(data)), 0) FROM objects", &info->packed_bytes},
        {"SELECT coalesce(sum(compile_us), 0) FROM regions JOIN objects ON region = id", &info->saved_us},
    };
    sqlite3 *db;
    int rc = open_existing(path, &db, err);

    if (rc)
        return rc;
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(asked) && rc == SQLITE_OK; i++) {
        int64_t number = 0;
        rc = schema_read_number(db, asked[i].sql, &number);
        *asked[i].number = (uint64_t)number;
    }
    info->file_bytes *= PAGE_BYTES;
    info->used_bytes *= PAGE_BYTES;
    (void)sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : fail(err, path, rc);
}

/* A transaction of one text with one number in it. */
static int execute_with(sqlite3 *db, const char *sql, uint32_t number, uint64_t *changes)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK && sqlite3_bind_parameter_count(statement))
        rc = sqlite3_bind_int64(statement, 1, number);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    sqlite3_finalize(statement);
    if (rc == SQLITE_DONE && changes)
        *changes += (uint64_t)sqlite3_changes64(db);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* What auto_vacuum = INCREMENTAL has put aside. */
static int give_back(sqlite3 *db)
{
    return sqlite3_exec(db, "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
}

static int end_transaction(sqlite3 *db, int rc)
{
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int store_collect(const char *path, uint32_t runs, uint64_t *removed, struct error *err)
{
    sqlite3 *db;
    int rc = open_existing(path, &db, err);

    *removed = 0;
    if (rc)
        return rc;
    rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = end_transaction(
            db, execute_with(db, "DELETE FROM regions WHERE last_run + ?1 <= (SELECT run FROM clock)", runs, removed));
    if (rc == SQLITE_OK)
        rc = execute_with(db, "DELETE FROM builds WHERE id NOT IN (SELECT build FROM regions)", 0, NULL);
    if (rc == SQLITE_OK)
        rc = give_back(db);
    (void)sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : fail(err, path, rc);
}

static int check_pages(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        rc = sqlite3_stricmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
    sqlite3_finalize(statement);
    return rc;
}

/* The region's row, and the object's if there is one, are what was stored. */
static bool is_good(sqlite3_stmt *row)
{
    uint8_t digest[STORE_DIGEST_BYTES];
    const void *shape = sqlite3_column_blob(row, 2);
    size_t code_bytes;
    uint8_t *code;

    if (sqlite3_column_bytes(row, 1) != STORE_DIGEST_BYTES)
        return false;
    store_digest(shape, (size_t)sqlite3_column_bytes(row, 2), digest);
    if (memcmp(digest, sqlite3_column_blob(row, 1), sizeof(digest)) != 0)
        return false;
    if (sqlite3_column_type(row, 3) == SQLITE_NULL)
        return true;
    int rc = store_unpack(digest, row, 3, &code, &code_bytes);
    free(code);
    return rc != -EBADMSG;
}

static int remove_bad(sqlite3 *db, uint64_t *checked, uint64_t *bad)
{
    sqlite3_stmt *all = NULL, *removal = NULL;
    int rc = sqlite3_prepare_v2(db,
                                "SELECT id, regions.digest, shape, objects.digest, bytes, data FROM regions"
                                " LEFT JOIN objects ON region = id",
                                -1, &all, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, "DELETE FROM regions WHERE id = ?", -1, &removal, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(all)) == SQLITE_ROW) {
        rc = SQLITE_OK;
        ++*checked;
        if (is_good(all))
            continue;
        ++*bad;
        (void)sqlite3_bind_int64(removal, 1, sqlite3_column_int64(all, 0));
        rc = sqlite3_step(removal);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
        (void)sqlite3_reset(removal);
    }
    sqlite3_finalize(all);
    sqlite3_finalize(removal);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int store_verify(const char *path, uint64_t *checked, uint64_t *bad, struct error *err)
{
    sqlite3 *db;
    int rc = open_existing(path, &db, err);

    *checked = *bad = 0;
    if (rc)
        return rc;
    rc = check_pages(db);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = end_transaction(db, remove_bad(db, checked, bad));
    (void)sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : fail(err, path, rc);
}

/* The other file's rows, whose ages are counted from its own last run. */
static const char merge_sql[] =
    "BEGIN IMMEDIATE;"
    "INSERT OR IGNORE INTO main.builds(text) SELECT text FROM other.builds;"
    "UPDATE main.clock SET run = max(run, (SELECT run FROM other.clock));"
    "INSERT INTO main.regions(build, digest, level, insns, gva, shape, profile, compile_us, entries, runs, last_run)"
    " SELECT mine.id, r.digest, level, insns, gva, shape, profile, compile_us, entries, runs,"
    " (SELECT run FROM main.clock) - (SELECT run FROM other.clock) + last_run"
    " FROM other.regions r JOIN other.builds theirs ON theirs.id = r.build JOIN main.builds mine ON mine.text ="
    " theirs.text WHERE true ON CONFLICT(digest, build) DO UPDATE SET entries = max(entries, excluded.entries),"
    " runs = runs + excluded.runs, last_run = max(last_run, excluded.last_run);"
    "INSERT OR IGNORE INTO main.objects(region, digest, bytes, data) SELECT m.id, o.digest, o.bytes, o.data"
    " FROM other.objects o JOIN other.regions r ON r.id = o.region JOIN other.builds theirs ON theirs.id = r.build"
    " JOIN main.builds mine ON mine.text = theirs.text JOIN main.regions m ON m.digest = r.digest AND m.build = "
    "mine.id;"
    "COMMIT;";

int store_merge(const char *path, const char *from, uint64_t *added, struct error *err)
{
    sqlite3 *db, *other;
    int64_t before = 0, after = 0;
    int rc = open_existing(from, &other, err);

    *added = 0;
    (void)sqlite3_close(other); /* it was checked, and brought up to date */
    if (rc)
        return rc;
    rc = store_connect(path, true, BUSY_MS, &db, err);
    if (rc)
        return rc;
    char *attach = sqlite3_mprintf("ATTACH %Q AS other", from);
    rc = attach ? schema_read_number(db, "SELECT count(*) FROM regions", &before) : SQLITE_NOMEM;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, attach, NULL, NULL, NULL);
    sqlite3_free(attach);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, merge_sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    else
        rc = schema_read_number(db, "SELECT count(*) FROM main.regions", &after);
    *added = (uint64_t)(after - before);
    (void)sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : fail(err, path, rc);
}

/* ---- runs ---- */

/* The rows of one question to a file: query_open(), query_next() until it is false, query_close(). */
struct query {
    const char *path;
    sqlite3 *db;
    sqlite3_stmt *row;
    int rc;
};

static int query_open(struct query *q, const char *path, const char *sql, const int64_t *numbers, int count,
                      struct error *err)
{
    *q = (struct query){.path = path};
    int rc = open_existing(path, &q->db, err);

    if (rc)
        return rc;
    q->rc = sqlite3_prepare_v2(q->db, sql, -1, &q->row, NULL);
    for (int i = 0; i < count && q->rc == SQLITE_OK; i++)
        q->rc = sqlite3_bind_int64(q->row, i + 1, numbers[i]);
    return 0;
}

static bool query_next(struct query *q)
{
    if (q->rc == SQLITE_OK || q->rc == SQLITE_ROW)
        q->rc = sqlite3_step(q->row);
    return q->rc == SQLITE_ROW;
}

static int query_close(struct query *q, struct error *err)
{
    sqlite3_finalize(q->row);
    (void)sqlite3_close(q->db);
    return q->rc == SQLITE_DONE ? 0 : fail(err, q->path, q->rc);
}

static const char *text_of(sqlite3_stmt *row, int column)
{
    const unsigned char *text = sqlite3_column_text(row, column);

    return text ? (const char *)text : "";
}

static int read_runs(const char *path, int64_t only, store_run_fn fn, void *opaque, struct error *err)
{
    struct query q;
    uint64_t count = 0;
    int rc = query_open(&q, path,
                        "SELECT id, started, version, guest, options, seconds, instructions, compiled,"
                        " coalesce((SELECT value FROM run_stats WHERE run = id AND name = 'compile_us'), 0),"
                        " coalesce((SELECT value FROM run_stats WHERE run = id AND name = 'store_hits'), 0)"
                        " FROM runs WHERE ?1 = 0 OR id = ?1 ORDER BY id DESC",
                        &only, 1, err);

    if (rc)
        return rc;
    while (query_next(&q)) {
        struct store_run_row run = {.id = sqlite3_column_int64(q.row, 0),
                                    .started = sqlite3_column_int64(q.row, 1),
                                    .version = text_of(q.row, 2),
                                    .guest = text_of(q.row, 3),
                                    .options = text_of(q.row, 4),
                                    .seconds = sqlite3_column_double(q.row, 5),
                                    .instructions = (uint64_t)sqlite3_column_int64(q.row, 6),
                                    .compiled = sqlite3_column_double(q.row, 7),
                                    .compile_us = (uint64_t)sqlite3_column_int64(q.row, 8),
                                    .hits = (uint64_t)sqlite3_column_int64(q.row, 9)};
        count++;
        fn(opaque, &run);
    }
    rc = query_close(&q, err);
    if (rc)
        return rc;
    return only && !count ? error_set(err, -ENOENT, "%s: run %lld is not in it", path, (long long)only) : 0;
}

int store_each_run(const char *path, store_run_fn fn, void *opaque, struct error *err)
{
    return read_runs(path, 0, fn, opaque, err);
}

int store_find_run(const char *path, int64_t id, store_run_fn fn, void *opaque, struct error *err)
{
    return id > 0 ? read_runs(path, id, fn, opaque, err)
                  : error_set(err, -ENOENT, "%s: run %lld is not in it", path, (long long)id);
}

int store_each_change(const char *path, int64_t before, int64_t after, uint32_t most, store_change_fn fn, void *opaque,
                      struct error *err)
{
    const int64_t numbers[] = {before, after, most};
    struct query q;
    int rc = query_open(&q, path,
                        "SELECT gva, insns, level, before, after FROM (SELECT region,"
                        " sum(CASE run WHEN ?1 THEN entries ELSE 0 END) AS before,"
                        " sum(CASE run WHEN ?2 THEN entries ELSE 0 END) AS after FROM run_regions WHERE run IN (?1, ?2)"
                        " GROUP BY region) JOIN regions ON id = region WHERE before <> after"
                        " ORDER BY abs(after - before) * insns DESC LIMIT ?3",
                        numbers, 3, err);

    if (rc)
        return rc;
    while (query_next(&q)) {
        struct store_change change = {.gva = (uint64_t)sqlite3_column_int64(q.row, 0),
                                      .insns = (uint32_t)sqlite3_column_int64(q.row, 1),
                                      .level = (uint8_t)sqlite3_column_int(q.row, 2),
                                      .before = (uint64_t)sqlite3_column_int64(q.row, 3),
                                      .after = (uint64_t)sqlite3_column_int64(q.row, 4)};
        fn(opaque, &change);
    }
    return query_close(&q, err);
}

int store_each_used(const char *path, int64_t id, store_region_fn fn, void *opaque, struct error *err)
{
    struct query q;
    int rc = query_open(&q, path,
                        "SELECT digest, level, insns, gva, shape, profile, compile_us, CASE ?1 WHEN 0 THEN entries ELSE"
                        " coalesce((SELECT entries FROM run_regions WHERE run = ?1 AND region = id), 0) END AS used,"
                        " 1 FROM regions WHERE used > 0",
                        &id, 1, err);

    if (rc)
        return rc;
    while (query_next(&q)) {
        struct store_region region;
        if (store_read_region(q.row, &region))
            fn(opaque, &region);
    }
    return query_close(&q, err);
}
