/* Versioned schemas of this project's SQLite files: made, brought up to date, and checked to hold nothing else. */
#ifndef TUFF_STORE_SCHEMA_H
#define TUFF_STORE_SCHEMA_H

#include "base/compiler.h"
#include "base/error.h"

#include <sqlite3.h>

#include <stdbool.h>
#include <stdint.h>

enum { SCHEMA_DIGEST_CHARS = 64 };

/* migrations[i] makes version i + 1 out of version i; none is ever changed. */
struct schema {
    const char *const *migrations;
    const char *digest; /* schema_digest() of the newest version; a wrong one costs time only */
    int version;        /* how many there are */
    int application;    /* PRAGMA application_id, not 0 */
};

/* Makes, brings up to date and checks the schema. Returns SQLITE_OK, SQLITE_NOTADB for a file that is something else,
 * SQLITE_MISMATCH for one of a newer program (with a line in err), or SQLite's code. */
int schema_prepare(sqlite3 *db, const struct schema *schema, bool writable, struct error *err);

/* SHA-256, in hexadecimal, of all the schema's statements. Returns SQLite's code. */
int schema_digest(sqlite3 *db, char digest[SCHEMA_DIGEST_CHARS + 1]);

/* The first column of the statement's first row. */
int schema_read_number(sqlite3 *db, const char *sql, int64_t *number);

/* The negative errno for a code of SQLite's. */
int schema_error(int rc);

#endif
