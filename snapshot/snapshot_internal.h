/* Shared by the files of snapshot/. */
#ifndef TUFF_SNAPSHOT_SNAPSHOT_INTERNAL_H
#define TUFF_SNAPSHOT_SNAPSHOT_INTERNAL_H

#include "snapshot/snapshot.h"
#include "store/schema.h"

#include <openssl/evp.h>

#include <pthread.h>
#include <zlib.h>

enum {
    SNAPSHOT_MAP_BYTES = SNAPSHOT_CHUNK_PAGES * 4,
    SNAPSHOT_DIGEST_BYTES = 32,
    SNAPSHOT_BLOB_BYTES_MAX = 16 << 20,
    SNAPSHOT_CHUNKS_MAX = 1 << 17, /* 256 GiB */
};

extern const struct schema snapshot_schema;

struct snapshot_store {
    char *path;
    sqlite3 *db;
    pthread_mutex_t lock;                                               /* the connection's; recursive */
    sqlite3_stmt *read_page, *find_section, *read_fields, *put_setting; /* snapshot_prepare_once()'s */
    bool writing;                                                       /* a writer's transaction is open */
};

void snapshot_lock(struct snapshot_store *store);
void snapshot_unlock(struct snapshot_store *store);

/* Moves what SQLite's log has into the file and empties the log, unless somebody reads there: whoever opens a file that
 * a killed program left would have to read all of its log first. With the lock, outside a transaction. */
void snapshot_empty_log(struct snapshot_store *store);

/* Says what SQLite said. With the lock. */
int snapshot_fail(struct snapshot_store *store, int rc, struct error *err);
int snapshot_damaged(struct snapshot_store *store, struct error *err, const char *format, ...) TUFF_PRINTF(3, 4);

/* A statement with its first parameters: numbers and texts by `types` ("in" of 'i': int64_t, 't': const char *).
 * Returns SQLite's code. */
int snapshot_prepare(struct snapshot_store *store, sqlite3_stmt **out, const char *sql, const char *types, ...);
/* The same with a statement of the store's, `*kept`, that is prepared the first time (40 to 60 us each, and a restore
 * reads some twenty sections); who runs it resets it, and does not finalise it. */
int snapshot_prepare_once(struct snapshot_store *store, sqlite3_stmt **kept, const char *sql, const char *types, ...);
/* Prepares, runs to the end, finalises. */
int snapshot_execute(struct snapshot_store *store, const char *sql, const char *types, ...);

/* A page's key: the first eight bytes of its SHA-256, as SQLite's integers are. */
int64_t snapshot_page_hash(const uint8_t *bytes);
bool snapshot_page_is_zero(const uint8_t *bytes);
/* A page out of its row: as it is, or deflated (RFC 1950). False: damaged, or no memory. */
bool snapshot_page_unpack(const void *data, size_t len, uint8_t *bytes);
/* A map's check. */
int64_t snapshot_map_digest(const void *map);

/* Of a snapshot's name, settings and sections, in a fixed order. With the lock. */
int snapshot_sections_digest(struct snapshot_store *store, int64_t id, uint8_t digest[SNAPSHOT_DIGEST_BYTES],
                             struct error *err);
/* Takes pages out that no map has. Inside a transaction. */
int snapshot_sweep(struct snapshot_store *store, struct error *err);
bool snapshot_row_info(sqlite3_stmt *row, struct snapshot_info *info);
#define SNAPSHOT_INFO_COLUMNS \
    "id, coalesce(parent, 0), name, version, created_ns, instructions, pause_us, save_us, new_pages, new_bytes"

#endif
