/* Looking after the file: deleting, compacting, exporting, checking; see snapshot.h. */
#include "snapshot/snapshot_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- pages that nobody has ---- */

/* A bit for each page number that some map holds; of which there are `limit`. */
static int mark_used(struct snapshot_store *store, uint8_t *used, uint64_t limit)
{
    sqlite3_stmt *row = NULL;
    int rc = snapshot_prepare(store, &row, "SELECT map FROM maps", "");

    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        const uint8_t *map = sqlite3_column_blob(row, 0);
        size_t count = (size_t)sqlite3_column_bytes(row, 0) / sizeof(uint32_t);
        rc = SQLITE_OK;
        for (size_t i = 0; i < count; i++) {
            uint32_t id;
            memcpy(&id, map + i * sizeof(id), sizeof(id));
            if (id <= limit)
                used[id / 8] |= (uint8_t)(1 << id % 8);
        }
    }
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int delete_unused(struct snapshot_store *store, const uint8_t *used, uint64_t limit)
{
    sqlite3_stmt *row = NULL, *put = NULL;
    int rc = snapshot_prepare(store, &row, "SELECT id FROM pages ORDER BY id", "");

    if (rc == SQLITE_OK)
        rc = snapshot_prepare(store, &put, "DELETE FROM pages WHERE id = ?", "");
    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(row, 0);
        rc = SQLITE_OK;
        if (id > 0 && (uint64_t)id <= limit && used[id / 8] >> id % 8 & 1)
            continue;
        (void)sqlite3_bind_int64(put, 1, id);
        rc = sqlite3_step(put);
        rc = rc == SQLITE_DONE ? sqlite3_reset(put) : rc;
    }
    sqlite3_finalize(put);
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int snapshot_sweep(struct snapshot_store *store, struct error *err)
{
    int64_t last = 0;
    int rc = schema_read_number(store->db, "SELECT coalesce(max(id), 0) FROM pages", &last);
    uint64_t limit = last > 0 && last <= UINT32_MAX ? (uint64_t)last : last > 0 ? UINT32_MAX : 0;

    if (rc != SQLITE_OK)
        return snapshot_fail(store, rc, err);
    uint8_t *used = calloc(limit / 8 + 1, 1);
    if (!used)
        return error_set(err, -ENOMEM, "no memory for counting pages");
    rc = mark_used(store, used, limit);
    if (rc == SQLITE_OK)
        rc = delete_unused(store, used, limit);
    free(used);
    return rc == SQLITE_OK ? 0 : snapshot_fail(store, rc, err);
}

/* ---- deleting ---- */

/* What children did not have of their own they have now. */
static int delete_row(struct snapshot_store *store, const struct snapshot_info *info)
{
    int rc = snapshot_execute(store,
                              "INSERT OR IGNORE INTO maps SELECT c.id, m.memory, m.chunk, m.digest, m.map FROM maps m,"
                              " snapshots c WHERE m.snapshot = ?1 AND c.parent = ?1",
                              "i", info->id);

    if (rc == SQLITE_OK)
        rc = snapshot_execute(store, "UPDATE snapshots SET parent = nullif(?2, 0) WHERE parent = ?1", "ii", info->id,
                              info->parent);
    if (rc == SQLITE_OK)
        rc = snapshot_execute(store, "DELETE FROM snapshots WHERE id = ?", "i", info->id);
    return rc;
}

/* Ends a transaction by what came of it. */
static int end(struct snapshot_store *store, int rc, struct error *err)
{
    int code = sqlite3_exec(store->db, rc == 0 ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL);

    return rc == 0 && code != SQLITE_OK ? snapshot_fail(store, code, err) : rc;
}

int snapshot_delete(struct snapshot_store *store, const char *name, struct error *err)
{
    struct snapshot_info info;

    snapshot_lock(store);
    int code = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    int rc = code == SQLITE_OK ? 0 : snapshot_fail(store, code, err);
    if (rc == 0) {
        rc = snapshot_find(store, name, &info, err);
        if (rc == 0) {
            code = delete_row(store, &info);
            rc = code == SQLITE_OK ? snapshot_sweep(store, err) : snapshot_fail(store, code, err);
        }
        rc = end(store, rc, err);
    }
    if (rc == 0) /* what is free goes back to the file system; a reader may keep it for now */
        (void)sqlite3_exec(store->db, "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    snapshot_unlock(store);
    return rc;
}

int snapshot_sizes(struct snapshot_store *store, struct snapshot_sizes *sizes, struct error *err)
{
    int64_t pages = 0, packed = 0, bytes = 0;

    snapshot_lock(store);
    int rc = schema_read_number(store->db, "SELECT count(*) FROM pages", &pages);
    if (rc == SQLITE_OK)
        rc = schema_read_number(store->db, "SELECT coalesce(sum(length(data)), 0) FROM pages", &packed);
    if (rc == SQLITE_OK)
        rc = schema_read_number(store->db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
                                &bytes);
    *sizes = (struct snapshot_sizes){
        .pages = (uint64_t)pages, .packed_bytes = (uint64_t)packed, .file_bytes = (uint64_t)bytes};
    rc = rc == SQLITE_OK ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return rc;
}

int snapshot_compact(struct snapshot_store *store, uint64_t *bytes_before, uint64_t *bytes_after, struct error *err)
{
    struct snapshot_sizes sizes;

    snapshot_lock(store);
    int rc = snapshot_sizes(store, &sizes, err);
    *bytes_before = sizes.file_bytes;
    if (rc == 0) {
        int code = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        rc = code == SQLITE_OK ? end(store, snapshot_sweep(store, err), err) : snapshot_fail(store, code, err);
    }
    if (rc == 0) {
        int code = sqlite3_exec(store->db, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
        rc = code == SQLITE_OK ? snapshot_sizes(store, &sizes, err) : snapshot_fail(store, code, err);
    }
    *bytes_after = sizes.file_bytes;
    snapshot_unlock(store);
    return rc;
}

/* ---- export ---- */

/* One snapshot's pages in chunks of the order they are mapped, from one file to the other. */
static int copy_memory(struct snapshot_store *from, struct snapshot_writer *to, int64_t id, unsigned memory,
                       uint64_t pages, struct error *err)
{
    uint32_t *map = calloc(pages, sizeof(*map));
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];
    int rc = map ? snapshot_read_map(from, id, memory, map, pages, err)
                 : error_set(err, -ENOMEM, "no memory for the maps of a snapshot");

    for (uint64_t i = 0; i < pages && rc == 0; i++) {
        if (!map[i])
            continue;
        rc = snapshot_read_page(from, map[i], bytes, err);
        if (rc == 0)
            snapshot_write_page(to, memory, i, bytes, true);
    }
    free(map);
    return rc;
}

struct copied_settings {
    struct snapshot_writer *to;
    struct error *err;
    int rc;
};

static void copy_setting(void *opaque, const char *name, const char *value)
{
    struct copied_settings *copy = opaque;

    if (copy->rc == 0)
        copy->rc = snapshot_write_setting(copy->to, name, value, copy->err);
}

static int copy_sections(struct snapshot_store *from, struct snapshot_writer *to, int64_t id, struct error *err)
{
    sqlite3_stmt *row = NULL;
    int result = 0;
    int rc = snapshot_prepare(from, &row, "SELECT name, instance FROM sections WHERE snapshot = ?", "i", id);

    while (result == 0 && rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        struct snapshot_section *section = NULL;
        const char *name = (const char *)sqlite3_column_text(row, 0);
        unsigned instance = (unsigned)sqlite3_column_int(row, 1);
        rc = name ? SQLITE_OK : SQLITE_NOMEM;
        if (rc == SQLITE_OK)
            result = snapshot_read_section(from, id, name, instance, &section, err);
        if (section)
            result = snapshot_write_section(to, name, instance, section->version, section->fields, section->field_count,
                                            err);
        snapshot_section_free(section);
    }
    sqlite3_finalize(row);
    return result ? result : rc == SQLITE_DONE ? 0 : snapshot_fail(from, rc, err);
}

/* How many pages each memory has, as far as maps say: what lies behind is zero. */
static int memory_pages(struct snapshot_store *store, uint64_t pages[SNAPSHOT_MEMORIES_MAX], struct error *err)
{
    sqlite3_stmt *row = NULL;
    int rc = snapshot_prepare(store, &row, "SELECT memory, max(chunk) FROM maps GROUP BY memory", "");
    int result = 0;

    while (result == 0 && rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        int64_t memory = sqlite3_column_int64(row, 0), chunk = sqlite3_column_int64(row, 1);
        rc = SQLITE_OK;
        if (memory < 0 || memory >= SNAPSHOT_MEMORIES_MAX || chunk < 0 || chunk >= SNAPSHOT_CHUNKS_MAX)
            result = snapshot_damaged(store, err, "a map lies outside of every memory");
        else
            pages[memory] = ((uint64_t)chunk + 1) * SNAPSHOT_CHUNK_PAGES;
    }
    sqlite3_finalize(row);
    return result ? result : rc == SQLITE_DONE ? 0 : snapshot_fail(store, rc, err);
}

static int export_to(struct snapshot_store *from, const struct snapshot_info *info, struct snapshot_store *to,
                     struct error *err)
{
    struct snapshot_write_config config = {.name = info->name, .version = info->version, .level = 6};
    struct snapshot_moment moment = {
        .created_ns = info->created_ns, .instructions = info->instructions, .pause_us = info->pause_us};
    struct copied_settings copy = {.err = err};
    struct snapshot_writer *w;
    int rc = memory_pages(from, config.memory_pages, err);

    if (rc == 0)
        rc = snapshot_write_begin(to, &config, &w, err);
    if (rc)
        return rc;
    for (unsigned m = 0; m < SNAPSHOT_MEMORIES_MAX && rc == 0; m++)
        rc = config.memory_pages[m] ? copy_memory(from, w, info->id, m, config.memory_pages[m], err) : 0;
    copy.to = w;
    if (rc == 0)
        rc = snapshot_settings(from, info->id, copy_setting, &copy, err);
    if (rc == 0)
        rc = copy.rc;
    if (rc == 0)
        rc = copy_sections(from, w, info->id, err);
    if (rc == 0)
        return snapshot_write_commit(w, &moment, NULL, err);
    snapshot_write_abort(w);
    return rc;
}

int snapshot_export(struct snapshot_store *store, const char *name, const char *path, struct error *err)
{
    struct snapshot_store *to = NULL;
    struct snapshot_info info;
    struct stat st;

    if (lstat(path, &st) == 0)
        return error_set(err, -EEXIST, "snapshots, '%s', is there already: name a new file", path);
    snapshot_lock(store);
    int rc = snapshot_find(store, name, &info, err);
    if (rc == 0)
        rc = snapshot_check_sections(store, &info, err);
    if (rc == 0)
        rc = snapshot_open(path, SNAPSHOT_CREATE, &to, err);
    if (rc == 0) {
        rc = export_to(store, &info, to, err);
        snapshot_close(to);
        if (rc)
            (void)unlink(path);
    }
    snapshot_unlock(store);
    return rc;
}

/* ---- verify ---- */

struct verify {
    struct snapshot_store *store;
    void (*fn)(void *opaque, const char *line);
    void *opaque;
    struct snapshot_verify *result;
    struct snapshot_info *infos;
    size_t count;
};

static void bad(struct verify *v, const char *line)
{
    v->result->bad++;
    v->fn(v->opaque, line);
}

static void note_info(void *opaque, const struct snapshot_info *info)
{
    struct verify *v = opaque;
    struct snapshot_info *infos = realloc(v->infos, (v->count + 1) * sizeof(*infos));

    if (!infos)
        return;
    v->infos = infos;
    infos[v->count++] = *info;
}

static int verify_pages(struct verify *v, uint8_t *good, uint64_t limit, struct error *err)
{
    sqlite3_stmt *row = NULL;
    char line[128];
    int rc = snapshot_prepare(v->store, &row, "SELECT id, hash, data FROM pages", "");

    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(row, 0);
        uint8_t bytes[SNAPSHOT_PAGE_BYTES];
        rc = SQLITE_OK;
        v->result->pages++;
        bool whole = id > 0 && (uint64_t)id <= limit &&
                     snapshot_page_unpack(sqlite3_column_blob(row, 2), (size_t)sqlite3_column_bytes(row, 2), bytes) &&
                     snapshot_page_hash(bytes) == sqlite3_column_int64(row, 1);
        if (whole) {
            good[id / 8] |= (uint8_t)(1 << id % 8);
            continue;
        }
        (void)snprintf(line, sizeof(line), "page %" PRId64 " does not hold what was saved", id);
        bad(v, line);
    }
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? 0 : snapshot_fail(v->store, rc, err);
}

static void verify_snapshot(struct verify *v, const struct snapshot_info *info, const uint8_t *good, uint64_t limit,
                            const uint64_t *pages)
{
    struct error why;
    char line[ERROR_TEXT_BYTES + 96];

    v->result->snapshots++;
    if (snapshot_check_sections(v->store, info, &why))
        bad(v, why.text);
    for (unsigned m = 0; m < SNAPSHOT_MEMORIES_MAX; m++) {
        uint32_t *map = pages[m] ? calloc(pages[m], sizeof(*map)) : NULL;
        if (!map)
            continue;
        if (snapshot_read_map(v->store, info->id, m, map, pages[m], &why)) {
            (void)snprintf(line, sizeof(line), "snapshot '%s': %s", info->name, why.text);
            bad(v, line);
        }
        for (uint64_t i = 0; i < pages[m]; i++) {
            if (!map[i] || (map[i] <= limit && good[map[i] / 8] >> map[i] % 8 & 1))
                continue;
            (void)snprintf(line, sizeof(line), "snapshot '%s': page %" PRIu64 " of memory %u cannot be read",
                           info->name, i, m);
            bad(v, line);
            break;
        }
        free(map);
    }
}

/* What SQLite itself finds, line by line. */
static int verify_file(struct verify *v, struct error *err)
{
    sqlite3_stmt *row = NULL;
    int rc = snapshot_prepare(v->store, &row, "PRAGMA integrity_check(20)", "");

    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(row, 0);
        rc = SQLITE_OK;
        if (line && strcmp(line, "ok") != 0)
            bad(v, line);
    }
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? 0 : snapshot_fail(v->store, rc, err);
}

int snapshot_verify(struct snapshot_store *store, void (*fn)(void *opaque, const char *line), void *opaque,
                    struct snapshot_verify *result, struct error *err)
{
    struct verify v = {.store = store, .fn = fn, .opaque = opaque, .result = result};
    uint64_t pages[SNAPSHOT_MEMORIES_MAX] = {0};
    int64_t last = 0;

    *result = (struct snapshot_verify){0};
    snapshot_lock(store);
    int rc = verify_file(&v, err);
    if (rc == 0)
        rc = snapshot_each(store, note_info, &v, err);
    if (rc == 0) {
        struct error why;
        rc = memory_pages(store, pages, &why);
        if (rc == -EBADMSG)
            bad(&v, why.text);
        else if (rc && err)
            *err = why;
        rc = rc == -EBADMSG ? 0 : rc;
    }
    if (rc == 0) {
        int code = schema_read_number(store->db, "SELECT coalesce(max(id), 0) FROM pages", &last);
        rc = code == SQLITE_OK ? 0 : snapshot_fail(store, code, err);
    }
    uint64_t limit = last > 0 && last <= UINT32_MAX ? (uint64_t)last : 0;
    uint8_t *good = calloc(limit / 8 + 1, 1);
    if (rc == 0)
        rc = good ? verify_pages(&v, good, limit, err) : error_set(err, -ENOMEM, "no memory for checking pages");
    for (size_t i = 0; i < v.count && rc == 0; i++)
        verify_snapshot(&v, &v.infos[i], good, limit, pages);
    snapshot_unlock(store);
    free(good);
    free(v.infos);
    return rc;
}
