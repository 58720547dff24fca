/* A file of snapshots that somebody changed: the input is edits (three bytes of place, one of value, repeated) to a
 * good file. Whatever the reader makes of it, it neither crashes nor gives out a page that is not what was stored under
 * its number, and what it refuses it refuses with a line. */
#include "fuzz_file.h"
#include "snapshot/snapshot.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES = 1100 };

static struct fuzz_file file;

static void fill(uint8_t bytes[SNAPSHOT_PAGE_BYTES], unsigned seed)
{
    for (unsigned i = 0; i < SNAPSHOT_PAGE_BYTES; i++)
        bytes[i] = (uint8_t)(seed * 7 + (i * seed >> 4));
}

static void save(struct snapshot_store *store, const char *name, int64_t parent, unsigned seed)
{
    const struct snapshot_write_config config = {
        .name = name, .parent = parent, .version = "fuzz", .memory_pages = {PAGES}, .threads = 1};
    const struct snapshot_field fields[] = {{"pc", 8, 1, (const uint8_t *)"12345678"},
                                            {"x", 1, 3, (const uint8_t *)"abc"}};
    const struct snapshot_moment moment = {.created_ns = 1, .instructions = 2};
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];
    struct snapshot_writer *w;

    require(snapshot_write_begin(store, &config, &w, NULL) == 0);
    for (unsigned i = 0; i < 24; i++) {
        fill(bytes, seed + i);
        snapshot_write_page(w, 0, i * 43, bytes, true);
    }
    require(snapshot_write_setting(w, "memory", "4505600", NULL) == 0);
    require(snapshot_write_section(w, "hart", 0, 1, fields, 2, NULL) == 0);
    require(snapshot_write_commit(w, &moment, NULL, NULL) == 0);
}

static void make_good(const char *path)
{
    const struct snapshot_event event = {.time_ns = 1, .kind = "created", .detail = ""};
    const struct snapshot_setting setting = {"memory", "4505600"};
    struct snapshot_store *store;

    require(snapshot_open(path, SNAPSHOT_CREATE, &store, NULL) == 0);
    require(snapshot_event_add(store, &event, &setting, 1, NULL) == 0);
    save(store, "one", 0, 1);
    save(store, "two", 1, 9);
    snapshot_close(store);
}

static void ignore_pair(void *opaque, const char *name, const char *value)
{
    require(name && value);
}

static void ignore_event(void *opaque, const struct snapshot_event *event)
{
    require(event->kind && event->detail);
}

static void ignore_line(void *opaque, const char *line)
{
    require(line[0]);
}

static void look_at(void *opaque, const struct snapshot_info *info)
{
    *(struct snapshot_info *)opaque = *info;
}

static void use(struct snapshot_store *store)
{
    static uint32_t map[PAGES];
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];
    struct snapshot_section *section;
    struct snapshot_verify verify;
    struct snapshot_info info = {0};
    struct error err = {""};

    (void)!snapshot_verify(store, ignore_line, NULL, &verify, &err);
    (void)!snapshot_events(store, ignore_event, NULL, &err);
    (void)!snapshot_events_replay(store, 0, ignore_pair, NULL, &err);
    (void)!snapshot_each(store, look_at, &info, &err);
    err = (struct error){""};
    if (snapshot_find(store, NULL, &info, &err)) {
        require(err.text[0]);
        return;
    }
    bool whole = snapshot_check_sections(store, &info, &err) == 0;
    require(whole || err.text[0]);
    (void)!snapshot_settings(store, info.id, ignore_pair, NULL, &err);
    if (snapshot_read_section(store, info.id, "hart", 0, &section, &err) == 0) {
        for (unsigned i = 0; i < section->field_count; i++) {
            const struct snapshot_field *f = &section->fields[i];
            for (size_t b = 0; b < (size_t)f->element_bytes * f->count; b++)
                bytes[b % sizeof(bytes)] = f->value[b];
        }
        snapshot_section_free(section);
    }
    memset(map, 0, sizeof(map));
    if (snapshot_read_map(store, info.id, 0, map, PAGES, &err))
        return;
    for (unsigned i = 0; i < PAGES; i++)
        require(snapshot_read_page(store, map[i], bytes, &err) == 0 || err.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot_store *store = NULL;
    struct error err = {""};

    if (!file.good)
        fuzz_file_make(&file, "snapshot", make_good);
    fuzz_file_write(&file, data, size);
    if (snapshot_open(file.path, SNAPSHOT_READ, &store, &err) == 0)
        use(store);
    else
        require(err.text[0]);
    snapshot_close(store);
    fuzz_file_remove(&file);
    return 0;
}
