/* Shared by the files of store/. */
#ifndef TUFF_STORE_STORE_INTERNAL_H
#define TUFF_STORE_STORE_INTERNAL_H

#include "store/store.h"

#include <sqlite3.h>

enum { STORE_APPLICATION = 0x54754666 }; /* "TuFf": PRAGMA application_id */

/* Makes, brings up to date and checks the schema. Returns SQLITE_OK, SQLITE_NOTADB for a file that is something else,
 * SQLITE_MISMATCH for one of a newer program (with a line in err), or SQLite's code. */
int schema_prepare(sqlite3 *db, bool writable, struct error *err);
/* The first column of the statement's first row. */
int schema_read_number(sqlite3 *db, const char *sql, int64_t *number);

/* A connection to a file that was checked (owner, mode), with its schema: what store_open() does before anything else.
 * `build`: the file is made where it is missing. Returns 0 or a negative errno with a line in err. */
int store_connect(const char *path, bool make, int busy_ms, sqlite3 **out, struct error *err);
int store_error(int rc);
/* A row of digest, level, insns, gva, shape, profile, compile_us, entries, has_code. False: it is not what it says. */
bool store_read_region(sqlite3_stmt *row, struct store_region *region);
/* Is the object, as its row has it, what was stored for the region? Returns 0, -EBADMSG or -ENOMEM; *code is the
 * caller's. */
int store_unpack(const uint8_t region[STORE_DIGEST_BYTES], sqlite3_stmt *row, int first_column, uint8_t **code,
                 size_t *code_bytes);

#endif
