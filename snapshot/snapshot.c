/* The file: its schema, opening it, and what every statement needs; see snapshot.h. */
#include "snapshot/snapshot_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    APPLICATION = 0x54755373, /* "TuSs" */
    BUSY_MS = 10000,          /* another process writes a snapshot: its commit takes milliseconds, the rest seconds */
};

static const char *const migrations[] = {
    /* 1 */
    "CREATE TABLE snapshots(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES snapshots(id), name TEXT NOT NULL UNIQUE,"
    " version TEXT NOT NULL, created_ns INTEGER NOT NULL, instructions INTEGER NOT NULL, pause_us INTEGER NOT NULL,"
    " save_us INTEGER NOT NULL, new_pages INTEGER NOT NULL, new_bytes INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;"
    "CREATE TABLE settings(snapshot INTEGER NOT NULL REFERENCES snapshots(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " value TEXT NOT NULL, PRIMARY KEY(snapshot, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE sections(id INTEGER PRIMARY KEY, snapshot INTEGER NOT NULL REFERENCES snapshots(id) ON DELETE"
    " CASCADE, name TEXT NOT NULL, instance INTEGER NOT NULL, version INTEGER NOT NULL,"
    " UNIQUE(snapshot, name, instance)) STRICT;"
    "CREATE TABLE fields(section INTEGER NOT NULL REFERENCES sections(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " element_bytes INTEGER NOT NULL, count INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY(section, name)) STRICT,"
    " WITHOUT ROWID;"
    "CREATE TABLE pages(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, data BLOB NOT NULL) STRICT;"
    "CREATE INDEX pages_hash ON pages(hash);"
    "CREATE TABLE maps(snapshot INTEGER NOT NULL REFERENCES snapshots(id) ON DELETE CASCADE, memory INTEGER NOT NULL,"
    " chunk INTEGER NOT NULL, digest INTEGER NOT NULL, map BLOB NOT NULL, PRIMARY KEY(snapshot, memory, chunk)) STRICT,"
    " WITHOUT ROWID;"
    "CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, instructions INTEGER NOT NULL,"
    " kind TEXT NOT NULL, detail TEXT NOT NULL) STRICT;"
    "CREATE TABLE event_settings(event INTEGER NOT NULL REFERENCES events(id), name TEXT NOT NULL, value TEXT,"
    " PRIMARY KEY(event, name)) STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER events_stay BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are only appended'); END;"
    "CREATE TRIGGER events_hold BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are only appended'); END;",
};

const struct schema snapshot_schema = {.migrations = migrations,
                                       .digest = "76e1dfecb6490a729f74b65b76ce185b52acc5477a5da66d4d7e97a4369a5339",
                                       .version = TUFF_ARRAY_LEN(migrations),
                                       .application = APPLICATION};

/* ---- what every statement needs ---- */

void snapshot_lock(struct snapshot_store *store)
{
    pthread_mutex_lock(&store->lock);
}

void snapshot_unlock(struct snapshot_store *store)
{
    pthread_mutex_unlock(&store->lock);
}

int snapshot_fail(struct snapshot_store *store, int rc, struct error *err)
{
    const char *advice = "";

    switch (rc & 255) {
    case SQLITE_FULL:
        advice = ": the file system is full, make room";
        break;
    case SQLITE_BUSY:
        advice = ": another process is writing a snapshot there, try again later";
        break;
    case SQLITE_READONLY:
        advice = ": it cannot be written";
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        advice = ": tuff snapshot verify says what can still be read";
        break;
    default:
        break;
    }
    return error_set(err, schema_error(rc), "snapshots, '%s': %s%s", store->path, sqlite3_errstr(rc), advice);
}

int snapshot_damaged(struct snapshot_store *store, struct error *err, const char *format, ...)
{
    char what[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return error_set(err, -EBADMSG, "snapshots, '%s': damaged, %s", store->path, what);
}

static int bind(sqlite3_stmt *statement, const char *types, va_list args)
{
    int rc = SQLITE_OK;

    for (int i = 0; types[i] && rc == SQLITE_OK; i++) {
        if (types[i] == 'i')
            rc = sqlite3_bind_int64(statement, i + 1, va_arg(args, int64_t));
        else
            rc = sqlite3_bind_text(statement, i + 1, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
    }
    return rc;
}

/* Prepares what is not prepared yet. */
static int prepare_and_bind(struct snapshot_store *store, sqlite3_stmt **statement, const char *sql, const char *types,
                            va_list args)
{
    int rc = *statement ? SQLITE_OK : sqlite3_prepare_v2(store->db, sql, -1, statement, NULL);

    return rc == SQLITE_OK ? bind(*statement, types, args) : rc;
}

int snapshot_prepare(struct snapshot_store *store, sqlite3_stmt **out, const char *sql, const char *types, ...)
{
    va_list args;

    *out = NULL;
    va_start(args, types);
    int rc = prepare_and_bind(store, out, sql, types, args);
    va_end(args);
    return rc;
}

int snapshot_prepare_once(struct snapshot_store *store, sqlite3_stmt **kept, const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    int rc = prepare_and_bind(store, kept, sql, types, args);
    va_end(args);
    return rc;
}

int snapshot_execute(struct snapshot_store *store, const char *sql, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    va_list args;

    va_start(args, types);
    int rc = prepare_and_bind(store, &statement, sql, types, args);
    va_end(args);
    while (rc == SQLITE_OK || rc == SQLITE_ROW)
        rc = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int snapshot_name_check(const char *name, struct error *err)
{
    size_t len = strlen(name);
    bool good = len >= 1 && len < SNAPSHOT_NAME_BYTES;

    for (const char *c = name; *c && good; c++)
        good = isalnum((unsigned char)*c) || strchr("._-", *c);
    return good ? 0
                : error_set(err, -EINVAL, "snapshot, '%.80s', is no name: give 1 to %d letters, digits, '.', '_', '-'",
                            name, SNAPSHOT_NAME_BYTES - 1);
}

/* ---- opening ---- */

static int make_file(const char *path, struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);

    if (fd < 0)
        return errno == EEXIST ? 0 : error_set(err, -errno, "snapshots, '%s': %s", path, strerror(errno));
    (void)close(fd);
    return 0;
}

static int check_kind(const char *path, struct error *err)
{
    struct stat st;

    if (stat(path, &st))
        return error_set(err, -errno, "snapshots, '%s': %s", path, strerror(errno));
    return S_ISREG(st.st_mode) ? 0 : error_set(err, -EACCES, "snapshots, '%s': not a regular file", path);
}

/* A read-only directory has no room for the files that SQLite keeps beside the database. Where no writer left one, the
 * database is all there is. */
static bool must_be_immutable(const char *path)
{
    char *name = NULL, *directory = strdup(path);
    struct stat st;
    bool read_only = directory && access(dirname(directory), W_OK) != 0;

    free(directory);
    if (read_only && asprintf(&name, "%s-wal", path) < 0)
        name = NULL;
    read_only = name && (stat(name, &st) != 0 || st.st_size == 0);
    free(name);
    return read_only;
}

static int open_immutable(const char *path, sqlite3 **db)
{
    /* What has a meaning in a URI is escaped. */
    char *uri = malloc(3 * strlen(path) + sizeof("file:?immutable=1")), *out = uri;
    int rc = SQLITE_NOMEM;

    if (!uri)
        return rc;
    out += sprintf(out, "file:");
    for (const char *c = path; *c; c++)
        out += strchr("?#%", *c) ? sprintf(out, "%%%02x", (unsigned char)*c) : sprintf(out, "%c", *c);
    (void)sprintf(out, "?immutable=1");
    rc = sqlite3_open_v2(uri, db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    free(uri);
    return rc;
}

static int connect_to(const char *path, bool writable, sqlite3 **db)
{
    int rc;

    if (!writable && must_be_immutable(path))
        rc = open_immutable(path, db);
    else
        rc = sqlite3_open_v2(path, db, (writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX,
                             NULL);
    if (rc == SQLITE_OK && writable && sqlite3_db_readonly(*db, "main") == 1)
        rc = SQLITE_READONLY;
    if (rc != SQLITE_OK)
        return rc;
    (void)sqlite3_busy_timeout(*db, BUSY_MS);
    (void)sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_limit(*db, SQLITE_LIMIT_LENGTH, SNAPSHOT_BLOB_BYTES_MAX);
    /* Large database pages: those of guests, packed, come to a third of a guest page, and several fit. */
    return sqlite3_exec(*db,
                        "PRAGMA page_size = 16384; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
                        "PRAGMA mmap_size = 0; PRAGMA cache_size = -65536",
                        NULL, NULL, NULL);
}

int snapshot_open(const char *path, enum snapshot_mode mode, struct snapshot_store **out, struct error *err)
{
    bool writable = mode != SNAPSHOT_READ;
    struct error why = {""};
    pthread_mutexattr_t attr;
    int rc = mode == SNAPSHOT_CREATE ? make_file(path, err) : 0;

    if (rc == 0)
        rc = check_kind(path, err);
    if (rc)
        return rc;
    struct snapshot_store *store = calloc(1, sizeof(*store));
    if (!store)
        return error_set(err, -ENOMEM, "no memory for a snapshot store");
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&store->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    store->path = strdup(path);
    rc = store->path ? connect_to(path, writable, &store->db) : SQLITE_NOMEM;
    if (rc == SQLITE_OK)
        rc = schema_prepare(store->db, &snapshot_schema, writable, &why);
    /* A snapshot that was reported is there also after a power failure. */
    if (rc == SQLITE_OK && writable)
        rc = sqlite3_exec(store->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        *out = store;
        return 0;
    }
    if (why.text[0])
        rc = error_set(err, schema_error(rc), "snapshots, '%s': %s", path, why.text);
    else if (rc == SQLITE_NOTADB)
        rc = error_set(err, -EBADMSG, "snapshots, '%s': not a snapshot file, or a damaged one", path);
    else
        rc = store->path ? snapshot_fail(store, rc, err) : error_set(err, -ENOMEM, "no memory for a snapshot store");
    snapshot_close(store);
    return rc;
}

void snapshot_empty_log(struct snapshot_store *store)
{
    (void)sqlite3_busy_timeout(store->db, 0);
    (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    (void)sqlite3_busy_timeout(store->db, BUSY_MS);
}

void snapshot_close(struct snapshot_store *store)
{
    if (!store)
        return;
    sqlite3_finalize(store->read_page);
    sqlite3_finalize(store->find_section);
    sqlite3_finalize(store->read_fields);
    sqlite3_finalize(store->put_setting);
    (void)sqlite3_close(store->db);
    pthread_mutex_destroy(&store->lock);
    free(store->path);
    free(store);
}

const char *snapshot_path(const struct snapshot_store *store)
{
    return store->path;
}
