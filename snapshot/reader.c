/* Reading snapshots. Everything here may come from a stranger's file: sizes, numbers and texts are compared with what
 * can be before they are used. */
#include "snapshot/snapshot_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- snapshots ---- */

static bool copy_text(char *out, size_t size, sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    size_t len = (size_t)sqlite3_column_bytes(row, column);

    if (!text || len >= size || strlen(text) != len)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

bool snapshot_row_info(sqlite3_stmt *row, struct snapshot_info *info)
{
    enum { ID, PARENT, NAME, VERSION, CREATED, INSTRUCTIONS, PAUSE, SAVE, PAGES, BYTES };

    *info = (struct snapshot_info){
        .id = sqlite3_column_int64(row, ID),
        .parent = sqlite3_column_int64(row, PARENT),
        .created_ns = sqlite3_column_int64(row, CREATED),
        .instructions = (uint64_t)sqlite3_column_int64(row, INSTRUCTIONS),
        .pause_us = (uint64_t)sqlite3_column_int64(row, PAUSE),
        .save_us = (uint64_t)sqlite3_column_int64(row, SAVE),
        .new_pages = (uint64_t)sqlite3_column_int64(row, PAGES),
        .new_bytes = (uint64_t)sqlite3_column_int64(row, BYTES),
    };
    return copy_text(info->name, sizeof(info->name), row, NAME) &&
           copy_text(info->version, sizeof(info->version), row, VERSION) && snapshot_name_check(info->name, NULL) == 0;
}

int snapshot_find(struct snapshot_store *store, const char *name, struct snapshot_info *info, struct error *err)
{
    sqlite3_stmt *row = NULL;

    snapshot_lock(store);
    int rc = name ? snapshot_prepare(store, &row, "SELECT " SNAPSHOT_INFO_COLUMNS " FROM snapshots WHERE name = ?", "t",
                                     name)
                  : snapshot_prepare(store, &row,
                                     "SELECT " SNAPSHOT_INFO_COLUMNS " FROM snapshots ORDER BY id DESC LIMIT 1", "");
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    if (rc == SQLITE_ROW)
        rc = snapshot_row_info(row, info) ? 0 : snapshot_damaged(store, err, "a snapshot's row holds no name");
    else if (rc == SQLITE_DONE && name)
        rc = error_set(err, -ENOENT, "snapshot, '%s', is not in '%s': tuff snapshot list names those that are", name,
                       store->path);
    else if (rc == SQLITE_DONE)
        rc = error_set(err, -ENOENT, "snapshots, '%s': there is none in the file yet", store->path);
    else
        rc = snapshot_fail(store, rc, err);
    sqlite3_finalize(row);
    snapshot_unlock(store);
    return rc;
}

int snapshot_each(struct snapshot_store *store, void (*fn)(void *opaque, const struct snapshot_info *), void *opaque,
                  struct error *err)
{
    sqlite3_stmt *row = NULL;
    struct snapshot_info info;
    int result = 0;

    snapshot_lock(store);
    int rc = snapshot_prepare(store, &row, "SELECT " SNAPSHOT_INFO_COLUMNS " FROM snapshots ORDER BY id", "");
    while (result == 0 && rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        rc = SQLITE_OK;
        if (snapshot_row_info(row, &info))
            fn(opaque, &info);
        else
            result = snapshot_damaged(store, err, "a snapshot's row holds no name");
    }
    sqlite3_finalize(row);
    if (result == 0 && rc != SQLITE_DONE)
        result = snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return result;
}

/* ---- settings and sections ---- */

int snapshot_settings(struct snapshot_store *store, int64_t id,
                      void (*fn)(void *opaque, const char *name, const char *value), void *opaque, struct error *err)
{
    sqlite3_stmt *row = NULL;

    snapshot_lock(store);
    int rc =
        snapshot_prepare(store, &row, "SELECT name, value FROM settings WHERE snapshot = ? ORDER BY name", "i", id);
    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(row, 0);
        const char *value = (const char *)sqlite3_column_text(row, 1);
        rc = name && value ? SQLITE_OK : SQLITE_NOMEM;
        if (rc == SQLITE_OK)
            fn(opaque, name, value);
    }
    sqlite3_finalize(row);
    rc = rc == SQLITE_DONE ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return rc;
}

int snapshot_setting(struct snapshot_store *store, int64_t id, const char *name, char **value, struct error *err)
{
    sqlite3_stmt *row = NULL;

    *value = NULL;
    snapshot_lock(store);
    int rc =
        snapshot_prepare(store, &row, "SELECT value FROM settings WHERE snapshot = ? AND name = ?", "it", id, name);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        *value = text ? strdup(text) : NULL;
        rc = *value ? SQLITE_DONE : SQLITE_NOMEM;
    }
    sqlite3_finalize(row);
    rc = rc == SQLITE_DONE ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return rc;
}

/* Rows of `fields` in a section's order; the first pass counts. */
struct field_pass {
    struct snapshot_field *fields; /* NULL: counting */
    uint8_t *bytes;
    size_t count, total;
};

static int one_field(struct snapshot_store *store, sqlite3_stmt *row, struct field_pass *pass, struct error *err)
{
    int64_t element = sqlite3_column_int64(row, 1), count = sqlite3_column_int64(row, 2);
    const void *value = sqlite3_column_blob(row, 3);
    size_t len = (size_t)sqlite3_column_bytes(row, 3);
    struct snapshot_field field = {.element_bytes = (uint32_t)element, .count = (uint32_t)count};

    if (!copy_text(field.name, sizeof(field.name), row, 0) || element < 1 || element > 8 || count < 0 ||
        count > SNAPSHOT_BLOB_BYTES_MAX || (uint64_t)element * (uint64_t)count != len || (len && !value))
        return snapshot_damaged(store, err, "a field's row contradicts itself");
    if (pass->count == SNAPSHOT_FIELDS_MAX || pass->total + len > SNAPSHOT_BLOB_BYTES_MAX)
        return snapshot_damaged(store, err, "a section is too large");
    if (pass->fields) {
        field.value = pass->bytes + pass->total;
        if (len)
            memcpy(pass->bytes + pass->total, value, len);
        pass->fields[pass->count] = field;
    }
    pass->count++;
    pass->total += len;
    return 0;
}

static int walk_fields(struct snapshot_store *store, int64_t section, struct field_pass *pass, struct error *err)
{
    int result = 0;
    int rc = snapshot_prepare_once(
        store, &store->read_fields,
        "SELECT name, element_bytes, count, value FROM fields WHERE section = ? ORDER BY name", "i", section);

    while (result == 0 && rc == SQLITE_OK && (rc = sqlite3_step(store->read_fields)) == SQLITE_ROW) {
        rc = SQLITE_OK;
        result = one_field(store, store->read_fields, pass, err);
    }
    (void)sqlite3_reset(store->read_fields);
    return result ? result : rc == SQLITE_DONE ? 0 : snapshot_fail(store, rc, err);
}

static int read_fields(struct snapshot_store *store, int64_t section, uint32_t version, struct snapshot_section **out,
                       struct error *err)
{
    struct field_pass counted = {.count = 0};
    int rc = walk_fields(store, section, &counted, err);

    if (rc)
        return rc;
    struct snapshot_section *s = calloc(1, sizeof(*s));
    struct field_pass pass = {.count = 0};
    if (s)
        s->fields = calloc(1, (counted.count + 1) * sizeof(*s->fields) + counted.total);
    if (!s || !s->fields) {
        free(s);
        return error_set(err, -ENOMEM, "no memory for a section of a snapshot");
    }
    pass.fields = s->fields;
    pass.bytes = (uint8_t *)(s->fields + counted.count + 1);
    rc = walk_fields(store, section, &pass, err);
    s->version = version;
    s->field_count = (unsigned)pass.count;
    if (rc)
        snapshot_section_free(s);
    else
        *out = s;
    return rc;
}

int snapshot_read_section(struct snapshot_store *store, int64_t id, const char *name, unsigned instance,
                          struct snapshot_section **out, struct error *err)
{
    *out = NULL;
    snapshot_lock(store);
    int rc = snapshot_prepare_once(store, &store->find_section,
                                   "SELECT id, version FROM sections WHERE snapshot = ? AND name = ? AND instance = ?",
                                   "iti", id, name, (int64_t)instance);
    sqlite3_stmt *row = store->find_section;
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    if (rc == SQLITE_ROW) {
        int64_t version = sqlite3_column_int64(row, 1);
        rc = version < 1 || version > UINT32_MAX
                 ? snapshot_damaged(store, err, "section %s %u has no version", name, instance)
                 : read_fields(store, sqlite3_column_int64(row, 0), (uint32_t)version, out, err);
    } else if (rc == SQLITE_DONE) {
        rc = error_set(err, -ENOENT, "snapshots, '%s': the snapshot has no section %s %u", store->path, name, instance);
    } else {
        rc = snapshot_fail(store, rc, err);
    }
    (void)sqlite3_reset(row);
    snapshot_unlock(store);
    return rc;
}

int snapshot_section_count(struct snapshot_store *store, int64_t id, unsigned *count, struct error *err)
{
    sqlite3_stmt *row = NULL;

    snapshot_lock(store);
    int rc = snapshot_prepare(store, &row, "SELECT count(*) FROM sections WHERE snapshot = ?", "i", id);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    *count = rc == SQLITE_ROW ? (unsigned)sqlite3_column_int(row, 0) : 0;
    rc = rc == SQLITE_ROW ? 0 : snapshot_fail(store, rc, err);
    sqlite3_finalize(row);
    snapshot_unlock(store);
    return rc;
}

void snapshot_section_free(struct snapshot_section *section)
{
    if (section)
        free(section->fields);
    free(section);
}

const struct snapshot_field *snapshot_section_field(const struct snapshot_section *section, const char *name)
{
    for (unsigned i = 0; i < section->field_count; i++) {
        if (strcmp(section->fields[i].name, name) == 0)
            return &section->fields[i];
    }
    return NULL;
}

/* Every value of every row, with its kind and length, so that nothing can be moved from one column to the next. */
static int digest_rows(struct snapshot_store *store, EVP_MD_CTX *context, const char *sql, int64_t id)
{
    sqlite3_stmt *row = NULL;
    int rc = snapshot_prepare(store, &row, sql, "i", id);

    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        rc = SQLITE_OK;
        for (int i = 0; i < sqlite3_column_count(row); i++) {
            int64_t head[2] = {sqlite3_column_type(row, i), 0};
            bool is_number = head[0] == SQLITE_INTEGER;
            const void *bytes = is_number ? NULL : sqlite3_column_blob(row, i);
            head[1] = is_number ? sqlite3_column_int64(row, i) : sqlite3_column_bytes(row, i);
            if (!EVP_DigestUpdate(context, head, sizeof(head)) ||
                (bytes && !EVP_DigestUpdate(context, bytes, (size_t)head[1])))
                rc = SQLITE_NOMEM;
        }
    }
    sqlite3_finalize(row);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int snapshot_sections_digest(struct snapshot_store *store, int64_t id, uint8_t digest[SNAPSHOT_DIGEST_BYTES],
                             struct error *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int rc = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) ? SQLITE_OK : SQLITE_NOMEM;

    if (rc == SQLITE_OK)
        rc = digest_rows(store, context, "SELECT name, value FROM settings WHERE snapshot = ? ORDER BY name", id);
    if (rc == SQLITE_OK)
        rc = digest_rows(store, context,
                         "SELECT s.name, s.instance, s.version, f.name, f.element_bytes, f.count, f.value"
                         " FROM sections s LEFT JOIN fields f ON f.section = s.id WHERE s.snapshot = ?"
                         " ORDER BY s.name, s.instance, f.name",
                         id);
    if (rc == SQLITE_OK && !EVP_DigestFinal_ex(context, digest, NULL))
        rc = SQLITE_NOMEM;
    EVP_MD_CTX_free(context);
    return rc == SQLITE_OK ? 0 : snapshot_fail(store, rc, err);
}

int snapshot_check_sections(struct snapshot_store *store, const struct snapshot_info *info, struct error *err)
{
    uint8_t digest[SNAPSHOT_DIGEST_BYTES];
    sqlite3_stmt *row = NULL;
    bool same = false;

    snapshot_lock(store);
    int rc = snapshot_sections_digest(store, info->id, digest, err);
    if (rc == 0) {
        int code = snapshot_prepare(store, &row, "SELECT digest FROM snapshots WHERE id = ?", "i", info->id);
        if (code == SQLITE_OK)
            code = sqlite3_step(row);
        if (code == SQLITE_ROW)
            same = sqlite3_column_bytes(row, 0) == sizeof(digest) &&
                   memcmp(sqlite3_column_blob(row, 0), digest, sizeof(digest)) == 0;
        else
            rc = snapshot_fail(store, code == SQLITE_DONE ? SQLITE_CORRUPT : code, err);
        sqlite3_finalize(row);
    }
    if (rc == 0 && !same)
        rc = snapshot_damaged(store, err, "snapshot '%s': its settings or sections are not what was saved", info->name);
    snapshot_unlock(store);
    return rc;
}

/* ---- pages ---- */

/* Fills in the chunks of one snapshot that no younger one had. */
static int add_maps(struct snapshot_store *store, int64_t id, unsigned memory, uint32_t *map, uint64_t pages,
                    uint8_t *have, struct error *err)
{
    sqlite3_stmt *row = NULL;
    uint64_t chunks = (pages + SNAPSHOT_CHUNK_PAGES - 1) / SNAPSHOT_CHUNK_PAGES;
    int result = 0;
    int rc = snapshot_prepare(store, &row, "SELECT chunk, digest, map FROM maps WHERE snapshot = ? AND memory = ?",
                              "ii", id, (int64_t)memory);

    while (result == 0 && rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        uint64_t chunk = (uint64_t)sqlite3_column_int64(row, 0), first = chunk * SNAPSHOT_CHUNK_PAGES;
        const void *bytes = sqlite3_column_blob(row, 2);
        rc = SQLITE_OK;
        if (chunk >= chunks || !bytes || sqlite3_column_bytes(row, 2) != SNAPSHOT_MAP_BYTES ||
            sqlite3_column_int64(row, 1) != snapshot_map_digest(bytes)) {
            result = snapshot_damaged(store, err, "a map of memory %u (chunk %" PRId64 " of snapshot %" PRId64 ")",
                                      memory, (int64_t)chunk, id);
        } else if (!have[chunk]) {
            uint64_t count = pages - first < SNAPSHOT_CHUNK_PAGES ? pages - first : SNAPSHOT_CHUNK_PAGES;
            memcpy(map + first, bytes, count * sizeof(*map));
            have[chunk] = 1;
        }
    }
    sqlite3_finalize(row);
    return result ? result : rc == SQLITE_DONE ? 0 : snapshot_fail(store, rc, err);
}

static int parent_of(struct snapshot_store *store, int64_t id, int64_t *parent, struct error *err)
{
    sqlite3_stmt *row = NULL;
    int rc = snapshot_prepare(store, &row, "SELECT coalesce(parent, 0) FROM snapshots WHERE id = ?", "i", id);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    if (rc == SQLITE_ROW)
        *parent = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    if (rc == SQLITE_DONE)
        return snapshot_damaged(store, err, "the parent with number %" PRId64 " is missing", id);
    return rc == SQLITE_ROW ? 0 : snapshot_fail(store, rc, err);
}

int snapshot_read_map(struct snapshot_store *store, int64_t id, unsigned memory, uint32_t *map, uint64_t pages,
                      struct error *err)
{
    uint64_t chunks = (pages + SNAPSHOT_CHUNK_PAGES - 1) / SNAPSHOT_CHUNK_PAGES;
    uint8_t *have = calloc(chunks ? chunks : 1, 1);
    int rc = have ? 0 : error_set(err, -ENOMEM, "no memory for the maps of a snapshot");

    snapshot_lock(store);
    while (id && rc == 0) {
        int64_t parent = 0;
        rc = parent_of(store, id, &parent, err);
        /* Numbers count up, and a parent is there before its children. */
        if (rc == 0 && parent >= id)
            rc = snapshot_damaged(store, err, "snapshots are each other's parents");
        if (rc == 0)
            rc = add_maps(store, id, memory, map, pages, have, err);
        id = parent;
    }
    snapshot_unlock(store);
    free(have);
    return rc;
}

int snapshot_read_page(struct snapshot_store *store, uint32_t page, uint8_t *bytes, struct error *err)
{
    uint8_t packed[SNAPSHOT_PAGE_BYTES];
    int64_t hash = 0;
    size_t len = 0;

    if (page == 0) {
        memset(bytes, 0, SNAPSHOT_PAGE_BYTES);
        return 0;
    }
    snapshot_lock(store);
    int rc = snapshot_prepare_once(store, &store->read_page, "SELECT hash, data FROM pages WHERE id = ?", "i",
                                   (int64_t)page);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(store->read_page);
        if (rc == SQLITE_ROW) {
            const void *data = sqlite3_column_blob(store->read_page, 1);
            len = (size_t)sqlite3_column_bytes(store->read_page, 1);
            hash = sqlite3_column_int64(store->read_page, 0);
            len = data && len <= sizeof(packed) ? len : 0;
            if (len)
                memcpy(packed, data, len);
        }
        (void)sqlite3_reset(store->read_page);
    }
    if (rc == SQLITE_DONE)
        rc = snapshot_damaged(store, err, "page %" PRIu32 " is missing", page);
    else
        rc = rc == SQLITE_ROW ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    if (rc == 0 && (!snapshot_page_unpack(packed, len, bytes) || snapshot_page_hash(bytes) != hash))
        rc = snapshot_damaged(store, err, "page %" PRIu32 " does not hold what was saved", page);
    return rc;
}

int snapshot_hold(struct snapshot_store *store, bool hold, struct error *err)
{
    int64_t count;

    snapshot_lock(store);
    int rc = sqlite3_exec(store->db, hold ? "BEGIN" : "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK && hold) /* a transaction begins with its first read */
        rc = schema_read_number(store->db, "SELECT count(*) FROM snapshots", &count);
    rc = rc == SQLITE_OK ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return rc;
}
