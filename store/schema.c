/* The schema, version by version: migrations[i] makes version i + 1 out of version i, and none is ever changed. What a
 * file must look like is found by running them in memory, so that a file with anything else in it (a trigger, a view)
 * is refused without a list of what might be wrong. */
#include "store/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

enum { VERSION = sizeof(migrations) / sizeof(migrations[0]) };

int schema_read_number(sqlite3 *db, const char *sql, int64_t *number)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW) {
            *number = sqlite3_column_int64(statement, 0);
            rc = SQLITE_OK;
        } else if (rc == SQLITE_DONE) {
            rc = SQLITE_CORRUPT;
        }
    }
    sqlite3_finalize(statement);
    return rc;
}

/* All of the schema's statements as one text, which is sqlite3_free()'s. NULL with *rc where it cannot be read. */
static char *read_text(sqlite3 *db, int *rc)
{
    sqlite3_stmt *statement = NULL;
    char *text = NULL;

    *rc = sqlite3_prepare_v2(db,
                             "SELECT coalesce(group_concat(type || ' ' || name || ' ' || coalesce(sql, ''), char(10)),"
                             " '') FROM (SELECT * FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name)",
                             -1, &statement, NULL);
    if (*rc == SQLITE_OK)
        *rc = sqlite3_step(statement);
    if (*rc == SQLITE_ROW) {
        text = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
        *rc = text ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(statement);
    return text;
}

static int migrate(sqlite3 *db, int64_t from)
{
    int rc = SQLITE_OK;

    for (int64_t i = from; i < VERSION && rc == SQLITE_OK; i++)
        rc = sqlite3_exec(db, migrations[i], NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        char *text =
            sqlite3_mprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", VERSION, STORE_APPLICATION);
        rc = text ? sqlite3_exec(db, text, NULL, NULL, NULL) : SQLITE_NOMEM;
        sqlite3_free(text);
    }
    return rc;
}

/* What a database of this version says of itself. */
static char *expected_text(int *rc)
{
    sqlite3 *db = NULL;
    char *text = NULL;

    *rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (*rc == SQLITE_OK)
        *rc = migrate(db, 0);
    if (*rc == SQLITE_OK)
        text = read_text(db, rc);
    (void)sqlite3_close(db);
    return text;
}

static int check_text(sqlite3 *db)
{
    int rc;
    char *expected = expected_text(&rc);
    char *text = expected ? read_text(db, &rc) : NULL;

    if (text && strcmp(text, expected) != 0)
        rc = SQLITE_NOTADB;
    sqlite3_free(text);
    sqlite3_free(expected);
    return rc;
}

/* Inside of a transaction that has the right to write. */
static int bring_up_to_date(sqlite3 *db)
{
    int64_t version = 0, tables = 0, application = 0;
    int rc = schema_read_number(db, "PRAGMA user_version", &version);

    if (rc == SQLITE_OK)
        rc = schema_read_number(db, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = schema_read_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK || (version == VERSION && application == STORE_APPLICATION))
        return rc;
    if (version == 0 && tables == 0 && application == 0)
        return migrate(db, 0);
    return application == STORE_APPLICATION && version > 0 ? migrate(db, version) : SQLITE_NOTADB;
}

int schema_prepare(sqlite3 *db, bool writable, struct error *err)
{
    int64_t version = 0, application = 0;
    int rc = schema_read_number(db, "PRAGMA user_version", &version);

    if (rc == SQLITE_OK)
        rc = schema_read_number(db, "PRAGMA application_id", &application);
    if (rc != SQLITE_OK)
        return rc;
    if (application == STORE_APPLICATION && version > VERSION) {
        (void)error_set(err, -ENOTSUP, "it is of a newer program (its version is %lld, this program's %d)",
                        (long long)version, VERSION);
        return SQLITE_MISMATCH;
    }
    if (version != VERSION || application != STORE_APPLICATION) {
        if (!writable)
            return SQLITE_NOTADB;
        /* Its place in the file is decided when there is nothing in it yet. */
        rc = sqlite3_exec(db, "PRAGMA auto_vacuum = INCREMENTAL; BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = bring_up_to_date(db);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        else
            (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    return check_text(db);
}
