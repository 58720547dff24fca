/* Shared by the files of store/. */
#ifndef TUFF_STORE_STORE_INTERNAL_H
#define TUFF_STORE_STORE_INTERNAL_H

#include "store/schema.h"
#include "store/store.h"

enum { STORE_APPLICATION = 0x54754666 }; /* "TuFf": PRAGMA application_id */

extern const struct schema store_schema;

/* A connection to a file that was checked (owner, mode), with its schema: what store_open() does before anything else.
 * `build`: the file is made where it is missing. Returns 0 or a negative errno with a line in err. */
int store_connect(const char *path, bool make, int busy_ms, sqlite3 **out, struct error *err);
/* A row of digest, level, insns, gva, shape, profile, compile_us, entries, has_code. False: it is not what it says. */
bool store_read_region(sqlite3_stmt *row, struct store_region *region);
/* Is the object, as its row has it, what was stored for the region? Returns 0, -EBADMSG or -ENOMEM; *code is the
 * caller's. */
int store_unpack(const uint8_t region[STORE_DIGEST_BYTES], sqlite3_stmt *row, int first_column, uint8_t **code,
                 size_t *code_bytes);

#endif
