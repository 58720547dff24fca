/* What earlier runs learnt, in one SQLite database: compiled regions with what they stand for, and how much they were
 * used. docs/profile-database.md explains the schema to people.
 *
 * The store knows neither compilers nor guests: a region is a *shape* (bytes that say what it is), a *profile* (counts,
 * which are not part of what it is) and its *code*, all made and read by engine/region/. A region is named by the
 * digest of its shape and by the *build*: a text that says what else code depends on. Code is checked against a digest
 * before it is given out, so that damage is not run; it is no protection against somebody who may write the file, which
 * is why only its owner may have access to it.
 *
 * Reading is done in place, by any thread. Writing is done by a thread of the store's own, at the lowest priority, in
 * batches; nobody waits for it but store_close(). Whatever goes wrong with the file is told once (log_warn) and ends
 * writing or reading or both: a virtual machine never stops because of it. Several processes may have one file open.
 */
#ifndef TUFF_STORE_STORE_H
#define TUFF_STORE_STORE_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STORE_DIGEST_BYTES = 32, /* SHA-256 */
    STORE_BLOB_BYTES_MAX = 16 << 20,
};

struct store;

struct store_config {
    const char *path;
    const char *build;    /* one line; regions of other builds are not given out */
    uint64_t limit_bytes; /* of the file; least useful regions go when it is reached; 0: 256 MiB */
};

/* Opens the database, makes it where there is none, brings an older schema up to date, and starts the writing thread.
 * Returns 0, or a negative errno with a line in err: -EACCES (not this user's, or others may touch it), -EBADMSG
 * (damaged, or no such database), -ENOTSUP (of a newer program), -EBUSY, or what the system says. A file that may only
 * be read is read. */
int store_open(const struct store_config *config, struct store **out, struct error *err) TUFF_MUST_CHECK;
/* Writes what is queued, and waits for that. NULL is allowed. */
void store_close(struct store *store);

void store_digest(const void *bytes, size_t len, uint8_t digest[STORE_DIGEST_BYTES]);

/* A region as it is stored. Pointers are borrowed: valid during the call they are given to. */
struct store_region {
    uint8_t digest[STORE_DIGEST_BYTES]; /* of the shape */
    const uint8_t *shape;
    size_t shape_bytes;
    const uint8_t *profile; /* NULL: none */
    size_t profile_bytes;
    const uint8_t *code; /* NULL: none yet, it is wanted */
    size_t code_bytes;
    uint8_t level;
    uint32_t insns;
    uint64_t gva;        /* where it was, for people */
    uint64_t compile_us; /* what making the code took; of one without: an estimate */
    uint64_t entries;    /* a run, lately */
    bool has_code;       /* when read */
};

/* Each region of this build, the most useful first; `code` is not read. Returns 0 or a negative errno, told before. */
typedef void (*store_region_fn)(void *opaque, const struct store_region *region);
int store_each(struct store *store, store_region_fn fn, void *opaque);

/* Any thread. The code of the region with this digest: *code is the caller's to free. Returns 0, -ENOENT, -EBADMSG (it
 * is not what was stored: it is taken out), -ENOMEM, or -EIO. */
int store_code(struct store *store, const uint8_t digest[STORE_DIGEST_BYTES], uint8_t **code,
               size_t *code_bytes) TUFF_MUST_CHECK;

/* Any thread; copies, and writes later. What has code already keeps it. Dropped without a word when too much waits. */
void store_put(struct store *store, const struct store_region *region);
/* The same for how often a region was entered in this run, and its newer profile (NULL: as it was). */
void store_used(struct store *store, const uint8_t digest[STORE_DIGEST_BYTES], uint64_t entries);

/* A run, for `tuff runs`. Strings are borrowed. */
struct store_stat {
    const char *name; /* static */
    uint64_t value;
};

struct store_run {
    const char *version, *guest, *options;
    double seconds;
    uint64_t instructions;
    double compiled; /* the share of instructions retired in compiled regions */
    const struct store_stat *stats;
    size_t stat_count;
};

/* Copies; is written by store_close(), once. What is older than STORE_RUNS_KEPT runs goes then. Any thread. */
void store_put_run(struct store *store, const struct store_run *run);

enum { STORE_RUNS_KEPT = 200 };

/* ---- the file as a whole: for people, without a machine ---- */

struct store_info {
    uint64_t file_bytes, used_bytes;
    uint64_t runs, builds, regions, objects;
    uint64_t object_bytes, packed_bytes;
    uint64_t saved_us; /* what the code that it has took to make */
};

/* All of them return 0, or a negative errno with a line in err. The file is there already. */
int store_read_info(const char *path, struct store_info *info, struct error *err) TUFF_MUST_CHECK;
/* Takes out what was of no use for `runs` runs, and all regions of builds that had no use for so long; gives the room
 * back to the file system. *removed: regions. */
int store_collect(const char *path, uint32_t runs, uint64_t *removed, struct error *err) TUFF_MUST_CHECK;
/* Runs as they were written, the newest first; strings are valid during the call. */
struct store_run_row {
    int64_t id, started; /* Unix time */
    const char *version, *guest, *options;
    double seconds;
    uint64_t instructions;
    double compiled;
    uint64_t compile_us, hits; /* of its statistics */
};
typedef void (*store_run_fn)(void *opaque, const struct store_run_row *row);
int store_each_run(const char *path, store_run_fn fn, void *opaque, struct error *err) TUFF_MUST_CHECK;
/* One run; -ENOENT: there is none of that number. */
int store_find_run(const char *path, int64_t id, store_run_fn fn, void *opaque, struct error *err) TUFF_MUST_CHECK;

/* Regions of two runs, those first whose entries differ most. */
struct store_change {
    uint64_t gva;
    uint32_t insns;
    uint8_t level;
    uint64_t before, after; /* entries */
};
typedef void (*store_change_fn)(void *opaque, const struct store_change *change);
int store_each_change(const char *path, int64_t before, int64_t after, uint32_t most, store_change_fn fn, void *opaque,
                      struct error *err) TUFF_MUST_CHECK;

/* Regions that run `id` entered (0: any run, as it is on average lately), with shape and profile, in no order. */
int store_each_used(const char *path, int64_t id, store_region_fn fn, void *opaque, struct error *err) TUFF_MUST_CHECK;

/* Looks at every page and every object; what is not what was stored is taken out. */
int store_verify(const char *path, uint64_t *checked, uint64_t *bad, struct error *err) TUFF_MUST_CHECK;
/* Adds to `path`, which is made where it is missing, what `from` has: the same as if one file had seen the runs of
 * both. *added: regions it did not have. */
int store_merge(const char *path, const char *from, uint64_t *added, struct error *err) TUFF_MUST_CHECK;

#endif
