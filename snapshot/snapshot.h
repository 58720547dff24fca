/* The store of snapshots: one SQLite file a virtual machine (docs/snapshot-format.md).
 *
 * A snapshot is named settings (text), sections of named fields (bytes) and the pages of one or more memories. Pages
 * are kept once, by content, and compressed; a snapshot with a parent holds maps of those chunks only that differ. A
 * snapshot is committed whole or not at all.
 *
 * A file may come from a stranger: all that is read is checked, and what is damaged is named. It holds the guest's
 * memory, so new files are their owner's alone. A `struct snapshot_store` is one connection; any thread may use it, one
 * writer at a time. Several processes may have the file open; while one writes a snapshot, others that want to write
 * get -EBUSY after some seconds, and readers see what was there before.
 */
#ifndef TUFF_SNAPSHOT_SNAPSHOT_H
#define TUFF_SNAPSHOT_SNAPSHOT_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SNAPSHOT_PAGE_BYTES = 4096,
    SNAPSHOT_CHUNK_PAGES = 512, /* a map's: 2 MiB */
    SNAPSHOT_MEMORIES_MAX = 3,
    SNAPSHOT_NAME_BYTES = 64,  /* of a snapshot's name, with the 0 */
    SNAPSHOT_FIELD_BYTES = 32, /* of a section's or a field's name, with the 0 */
    SNAPSHOT_FIELDS_MAX = 4096,
};

struct snapshot_store;

enum snapshot_mode { SNAPSHOT_READ, SNAPSHOT_WRITE, SNAPSHOT_CREATE /* writing; a missing file is made */ };

/* Opens a file. Returns 0, or a negative errno with a line in `err`: -ENOENT, -EACCES, -EBADMSG (damaged, or something
 * else), -ENOTSUP (a newer program's), -EBUSY. The caller owns *out. */
TUFF_MUST_CHECK int snapshot_open(const char *path, enum snapshot_mode mode, struct snapshot_store **out,
                                  struct error *err);
/* NULL is allowed. */
void snapshot_close(struct snapshot_store *store);
const char *snapshot_path(const struct snapshot_store *store);

/* ---- reading ---- */

struct snapshot_info {
    int64_t id;
    int64_t parent; /* 0: none */
    char name[SNAPSHOT_NAME_BYTES];
    char version[32];      /* of the program that wrote it */
    int64_t created_ns;    /* CLOCK_REALTIME of the moment it shows */
    uint64_t instructions; /* retired by all harts up to then */
    uint64_t pause_us;     /* how long the guest stood still for it */
    uint64_t save_us;      /* how long saving took */
    uint64_t new_pages;    /* pages that it brought into the file */
    uint64_t new_bytes;    /* their size there */
};

/* `name` NULL: the newest. Returns 0, -ENOENT or another negative errno, with a line in `err`. */
TUFF_MUST_CHECK int snapshot_find(struct snapshot_store *store, const char *name, struct snapshot_info *info,
                                  struct error *err);
/* From the oldest to the newest; `fn` must not call the store. */
TUFF_MUST_CHECK int snapshot_each(struct snapshot_store *store, void (*fn)(void *opaque, const struct snapshot_info *),
                                  void *opaque, struct error *err);

/* Are the settings and sections what was written? Returns 0, -EBADMSG with a line in `err`, .. */
TUFF_MUST_CHECK int snapshot_check_sections(struct snapshot_store *store, const struct snapshot_info *info,
                                            struct error *err);
/* Each setting by name; `fn` must not call the store. */
TUFF_MUST_CHECK int snapshot_settings(struct snapshot_store *store, int64_t id,
                                      void (*fn)(void *opaque, const char *name, const char *value), void *opaque,
                                      struct error *err);
/* One setting. *value is the caller's to free; NULL where there is none. Returns 0, or a negative errno with a line. */
TUFF_MUST_CHECK int snapshot_setting(struct snapshot_store *store, int64_t id, const char *name, char **value,
                                     struct error *err);

struct snapshot_field {
    char name[SNAPSHOT_FIELD_BYTES];
    uint32_t element_bytes, count;
    const uint8_t *value; /* element_bytes * count bytes; little-endian integers */
};
struct snapshot_section {
    uint32_t version;
    unsigned field_count;
    struct snapshot_field *fields; /* by name */
};
/* The caller frees *out by snapshot_section_free(). Returns 0, -ENOENT or another negative errno with a line. */
TUFF_MUST_CHECK int snapshot_read_section(struct snapshot_store *store, int64_t id, const char *name, unsigned instance,
                                          struct snapshot_section **out, struct error *err);
void snapshot_section_free(struct snapshot_section *section);
TUFF_MUST_CHECK int snapshot_section_count(struct snapshot_store *store, int64_t id, unsigned *count,
                                           struct error *err);
/* NULL: it has no such field. */
const struct snapshot_field *snapshot_section_field(const struct snapshot_section *section, const char *name);

/* Fills a map of zeroes with the number of each page of a memory that is not zeroes, through all parents: what of it is
 * not written stays untouched, of a guest of 8 GiB nearly all (5 ms). Returns 0 or a negative errno with
 * a line in `err`: also -EBADMSG for a missing parent, parents in a circle, or maps outside of [0, pages). */
TUFF_MUST_CHECK int snapshot_read_map(struct snapshot_store *store, int64_t id, unsigned memory, uint32_t *map,
                                      uint64_t pages, struct error *err);
/* The contents of a page, checked. `page` 0: zeroes. Several threads may do so at a time. */
TUFF_MUST_CHECK int snapshot_read_page(struct snapshot_store *store, uint32_t page, uint8_t *bytes, struct error *err);
/* Until it is called with false, the pages of this moment stay readable, whatever other processes delete. */
TUFF_MUST_CHECK int snapshot_hold(struct snapshot_store *store, bool hold, struct error *err);

/* ---- writing ---- */

struct snapshot_writer;

struct snapshot_write_config {
    const char *name;                             /* not there yet; see snapshot_name_check() */
    int64_t parent;                               /* 0: none */
    const char *version;                          /* of this program */
    uint64_t memory_pages[SNAPSHOT_MEMORIES_MAX]; /* 0: no such memory */
    int level;                                    /* of compression, 1 to 9; 0: 1 */
    unsigned threads;                             /* that compress; 0: as many as there are CPUs */
    bool background;                              /* they have a lower priority */
};

/* Names are 1 to 63 bytes of letters, digits, '.', '_' and '-'. Returns 0 or -EINVAL with a line. */
TUFF_MUST_CHECK int snapshot_name_check(const char *name, struct error *err);

/* Begins a snapshot: the store is this writer's until it is committed or aborted. Its memories begin as the parent's,
 * or as zeroes. Returns 0, -EEXIST (the name), -EBUSY (another process writes), .. with a line in `err`. */
TUFF_MUST_CHECK int snapshot_write_begin(struct snapshot_store *store, const struct snapshot_write_config *config,
                                         struct snapshot_writer **out, struct error *err);
/* A page's contents, which are copied. Blocks while the queue is full, unless `may_block` is false: then the queue
 * grows. A page that is given twice without a snapshot_write_sync() between has either content. One thread at a time.
 * What goes wrong is said at the next sync or commit. */
void snapshot_write_page(struct snapshot_writer *writer, unsigned memory, uint64_t page, const void *bytes,
                         bool may_block);
/* Returns when all pages that were given are stored. 0 or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int snapshot_write_sync(struct snapshot_writer *writer, struct error *err);
TUFF_MUST_CHECK int snapshot_write_setting(struct snapshot_writer *writer, const char *name, const char *value,
                                           struct error *err);
TUFF_MUST_CHECK int snapshot_write_section(struct snapshot_writer *writer, const char *name, unsigned instance,
                                           uint32_t version, const struct snapshot_field *fields, unsigned count,
                                           struct error *err);

struct snapshot_moment {
    int64_t created_ns;
    uint64_t instructions, pause_us;
};
/* Commits and ends the writer, also when it fails (then nothing of it is in the file). `info`: the snapshot's; may be
 * NULL. */
TUFF_MUST_CHECK int snapshot_write_commit(struct snapshot_writer *writer, const struct snapshot_moment *moment,
                                          struct snapshot_info *info, struct error *err);
void snapshot_write_abort(struct snapshot_writer *writer);

/* ---- events ---- */

struct snapshot_event {
    int64_t id; /* counts up from 1 */
    int64_t time_ns;
    uint64_t instructions;
    const char *kind;   /* "created", "started", "snapshot", .. */
    const char *detail; /* a line for people; "" */
};
struct snapshot_setting {
    const char *name, *value; /* value NULL: the setting ends */
};
/* Appends an event and what it changed of the machine's configuration. Not between snapshot_write_begin() and its end
 * on another thread. */
TUFF_MUST_CHECK int snapshot_event_add(struct snapshot_store *store, const struct snapshot_event *event,
                                       const struct snapshot_setting *settings, size_t count, struct error *err);
/* From the oldest; `fn` must not call the store. */
TUFF_MUST_CHECK int snapshot_events(struct snapshot_store *store,
                                    void (*fn)(void *opaque, const struct snapshot_event *event), void *opaque,
                                    struct error *err);
/* The configuration as the events up to `event` (0: all) made it: each setting that stands then, by name. */
TUFF_MUST_CHECK int snapshot_events_replay(struct snapshot_store *store, int64_t event,
                                           void (*fn)(void *opaque, const char *name, const char *value), void *opaque,
                                           struct error *err);

/* ---- looking after the file ---- */

/* Takes a snapshot out; its children stay whole. Pages that nobody has any more go too. */
TUFF_MUST_CHECK int snapshot_delete(struct snapshot_store *store, const char *name, struct error *err);
/* Makes the file as small as it can be. */
TUFF_MUST_CHECK int snapshot_compact(struct snapshot_store *store, uint64_t *bytes_before, uint64_t *bytes_after,
                                     struct error *err);
/* Writes one snapshot, without parents, to a new file. */
TUFF_MUST_CHECK int snapshot_export(struct snapshot_store *store, const char *name, const char *path,
                                    struct error *err);

struct snapshot_verify {
    uint64_t snapshots, pages, bad;
};
/* Reads all of it. `fn` is called with a line for each thing that is wrong. Returns 0 also when something is. */
TUFF_MUST_CHECK int snapshot_verify(struct snapshot_store *store, void (*fn)(void *opaque, const char *line),
                                    void *opaque, struct snapshot_verify *result, struct error *err);

struct snapshot_sizes {
    uint64_t pages, packed_bytes, file_bytes;
};
TUFF_MUST_CHECK int snapshot_sizes(struct snapshot_store *store, struct snapshot_sizes *sizes, struct error *err);

#endif
