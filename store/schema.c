/* Schemas, version by version; see schema.h. What a file must look like is found by running the migrations in memory,
 * so that a file with anything else in it (a trigger, a view) is refused without a list of what might be wrong; the
 * digest of the newest version's is known beforehand. */
#include "store/schema.h"

#include <openssl/sha.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void digest_of(const char *text, char digest[SCHEMA_DIGEST_CHARS + 1])
{
    uint8_t bytes[SHA256_DIGEST_LENGTH];

    (void)SHA256((const uint8_t *)text, strlen(text), bytes);
    for (size_t i = 0; i < sizeof(bytes); i++)
        (void)sprintf(digest + 2 * i, "%02x", bytes[i]);
}

int schema_digest(sqlite3 *db, char digest[SCHEMA_DIGEST_CHARS + 1])
{
    int rc;
    char *text = read_text(db, &rc);

    if (text)
        digest_of(text, digest);
    sqlite3_free(text);
    return rc;
}

static int migrate(sqlite3 *db, const struct schema *schema, int64_t from)
{
    int rc = SQLITE_OK;

    for (int64_t i = from; i < schema->version && rc == SQLITE_OK; i++)
        rc = sqlite3_exec(db, schema->migrations[i], NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        char *text = sqlite3_mprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", schema->version,
                                     schema->application);
        rc = text ? sqlite3_exec(db, text, NULL, NULL, NULL) : SQLITE_NOMEM;
        sqlite3_free(text);
    }
    return rc;
}

/* What a database of this version says of itself. */
static char *expected_text(const struct schema *schema, int *rc)
{
    sqlite3 *db = NULL;
    char *text = NULL;

    *rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (*rc == SQLITE_OK)
        *rc = migrate(db, schema, 0);
    if (*rc == SQLITE_OK)
        text = read_text(db, rc);
    (void)sqlite3_close(db);
    return text;
}

static int check_text(sqlite3 *db, const struct schema *schema)
{
    char digest[SCHEMA_DIGEST_CHARS + 1], *expected;
    int rc;
    char *text = read_text(db, &rc);

    if (!text)
        return rc;
    digest_of(text, digest);
    /* Made in memory it takes 1.5 ms, of 50 that a restore may take: it is made for what is refused, and where another
     * SQLite has other words for the same. */
    if (strcmp(digest, schema->digest) != 0) {
        expected = expected_text(schema, &rc);
        if (expected && strcmp(text, expected) != 0)
            rc = SQLITE_NOTADB;
        sqlite3_free(expected);
    }
    sqlite3_free(text);
    return rc;
}

/* Inside of a transaction that has the right to write. */
static int bring_up_to_date(sqlite3 *db, const struct schema *schema)
{
    int64_t version = 0, tables = 0, application = 0;
    int rc = schema_read_number(db, "PRAGMA user_version", &version);

    if (rc == SQLITE_OK)
        rc = schema_read_number(db, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = schema_read_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK || (version == schema->version && application == schema->application))
        return rc;
    if (version == 0 && tables == 0 && application == 0)
        return migrate(db, schema, 0);
    return application == schema->application && version > 0 ? migrate(db, schema, version) : SQLITE_NOTADB;
}

int schema_prepare(sqlite3 *db, const struct schema *schema, bool writable, struct error *err)
{
    int64_t version = 0, application = 0;
    int rc = schema_read_number(db, "PRAGMA user_version", &version);

    if (rc == SQLITE_OK)
        rc = schema_read_number(db, "PRAGMA application_id", &application);
    if (rc != SQLITE_OK)
        return rc;
    if (application == schema->application && version > schema->version) {
        (void)error_set(err, -ENOTSUP, "it is of a newer program (its version is %lld, this program's %d)",
                        (long long)version, schema->version);
        return SQLITE_MISMATCH;
    }
    if (version != schema->version || application != schema->application) {
        if (!writable)
            return SQLITE_NOTADB;
        /* Its place in the file is decided when there is nothing in it yet. */
        rc = sqlite3_exec(db, "PRAGMA auto_vacuum = INCREMENTAL; BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = bring_up_to_date(db, schema);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        else
            (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    return check_text(db, schema);
}

int schema_error(int rc)
{
    switch (rc & 255) {
    case SQLITE_OK:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_MISMATCH:
        return -ENOTSUP;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return -EBADMSG;
    default:
        return -EIO;
    }
}
