/* Versioned schemas of this project's SQLite files: made, brought up to date, and checked to hold nothing else. */
#ifndef TUFF_STORE_SCHEMA_H
#define TUFF_STORE_SCHEMA_H

#include "base/compiler.h"
#include "base/error.h"

#include <sqlite3.h>

#include <stdbool.h>
#include <stdint.h>

/* migrations[i] makes version i + 1 out of version i; none is ever changed. */
struct schema {
    const char *const *migrations;
    int version;     /* how many there are */
    int application; /* PRAGMA application_id, not 0 */
};

/* Makes, brings up to date and checks the schema. Returns SQLITE_OK, SQLITE_NOTADB for a file that is something else,
 * SQLITE_MISMATCH for one of a newer program (with a line in err), or SQLite's code. */
int schema_prepare(sqlite3 *db, const struct schema *schema, bool writable, struct error *err);

/* The first column of the statement's first row. */
int schema_read_number(sqlite3 *db, const char *sql, int64_t *number);

/* The negative errno for a code of SQLite's. */
int schema_error(int rc);

#endif
