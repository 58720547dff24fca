/* The life of the virtual machine: what happened, and what it changed of the configuration, apart. */
#include "snapshot/snapshot_internal.h"

#include <errno.h>
#include <string.h>

static int add(struct snapshot_store *store, const struct snapshot_event *event,
               const struct snapshot_setting *settings, size_t count)
{
    int rc = snapshot_execute(store, "INSERT INTO events(time_ns, instructions, kind, detail) VALUES(?, ?, ?, ?)",
                              "iitt", event->time_ns, (int64_t)event->instructions, event->kind, event->detail);
    int64_t id = sqlite3_last_insert_rowid(store->db);

    for (size_t i = 0; i < count && rc == SQLITE_OK; i++) {
        rc = snapshot_prepare_once(store, &store->put_setting, "INSERT OR REPLACE INTO event_settings VALUES(?, ?, ?)",
                                   "itt", id, settings[i].name, settings[i].value);
        if (rc == SQLITE_OK) {
            (void)sqlite3_step(store->put_setting);
            rc = sqlite3_reset(store->put_setting);
        }
    }
    return rc;
}

int snapshot_event_add(struct snapshot_store *store, const struct snapshot_event *event,
                       const struct snapshot_setting *settings, size_t count, struct error *err)
{
    int rc;

    snapshot_lock(store);
    if (store->writing) {
        rc = add(store, event, settings, count);
    } else {
        /* Not waited for until the disk has it (7 ms and more each, while a restored guest waits): the next snapshot's
         * commit, or the closing, does that for all events before. */
        rc = sqlite3_exec(store->db, "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (rc == SQLITE_OK) {
            rc = add(store, event, settings, count);
            int end = sqlite3_exec(store->db, rc == SQLITE_OK ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL);
            rc = rc == SQLITE_OK ? end : rc;
        }
        (void)sqlite3_exec(store->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    }
    rc = rc == SQLITE_OK ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return rc;
}

int snapshot_events(struct snapshot_store *store, void (*fn)(void *opaque, const struct snapshot_event *event),
                    void *opaque, struct error *err)
{
    sqlite3_stmt *row = NULL;

    snapshot_lock(store);
    int rc =
        snapshot_prepare(store, &row, "SELECT id, time_ns, instructions, kind, detail FROM events ORDER BY id", "");
    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        struct snapshot_event event = {.id = sqlite3_column_int64(row, 0),
                                       .time_ns = sqlite3_column_int64(row, 1),
                                       .instructions = (uint64_t)sqlite3_column_int64(row, 2),
                                       .kind = (const char *)sqlite3_column_text(row, 3),
                                       .detail = (const char *)sqlite3_column_text(row, 4)};
        rc = event.kind && event.detail ? SQLITE_OK : SQLITE_NOMEM;
        if (rc == SQLITE_OK)
            fn(opaque, &event);
    }
    sqlite3_finalize(row);
    rc = rc == SQLITE_DONE ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return rc;
}

int snapshot_events_replay(struct snapshot_store *store, int64_t event,
                           void (*fn)(void *opaque, const char *name, const char *value), void *opaque,
                           struct error *err)
{
    sqlite3_stmt *row = NULL;

    snapshot_lock(store);
    /* Of each name the last value; SQLite gives bare columns the row of the maximum. */
    int rc = snapshot_prepare(store, &row,
                              "SELECT name, value, max(event) FROM event_settings WHERE ?1 = 0 OR event <= ?1"
                              " GROUP BY name ORDER BY name",
                              "i", event);
    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(row, 0);
        const char *value = (const char *)sqlite3_column_text(row, 1);
        rc = name ? SQLITE_OK : SQLITE_NOMEM;
        if (name && value)
            fn(opaque, name, value);
    }
    sqlite3_finalize(row);
    rc = rc == SQLITE_DONE ? 0 : snapshot_fail(store, rc, err);
    snapshot_unlock(store);
    return rc;
}
