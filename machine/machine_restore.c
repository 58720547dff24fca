/* Starting from a snapshot; see machine_snapshot.h. Memory first, then the parts' state, in a machine that was made
 * from the snapshot's settings and has not run. */
#include "base/log.h"
#include "dev/pflash.h"
#include "machine/machine_internal.h"
#include "machine/machine_settings.h"
#include "machine/machine_snapshot.h"
#include "machine/machine_snapshots.h"
#include "machine/machine_state.h"
#include "mem/lazy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct machine_restore {
    struct snapshot_store *store;
    struct snapshot_info info;
    struct machine_settings settings;
    enum machine_restore_time time;
    bool held;
    struct machine *m;
    uint32_t *map; /* RAM's, while it comes in */
    _Atomic bool told;
};

static void note_setting(void *opaque, const char *name, const char *value)
{
    machine_settings_put(opaque, name, "%s", value);
}

int machine_restore_open(const char *file, const char *name, enum machine_restore_time time,
                         struct machine_restore **out, struct error *err)
{
    struct machine_restore *r = calloc(1, sizeof(*r));

    if (!r)
        return error_set(err, -ENOMEM, "no memory for a restore");
    r->time = time;
    int rc = snapshot_open(file, SNAPSHOT_READ, &r->store, err);
    if (rc == 0) {
        rc = snapshot_hold(r->store, true, err);
        r->held = rc == 0;
    }
    if (rc == 0)
        rc = snapshot_find(r->store, name, &r->info, err);
    if (rc == 0)
        rc = snapshot_check_sections(r->store, &r->info, err);
    if (rc == 0)
        rc = snapshot_settings(r->store, r->info.id, note_setting, &r->settings, err);
    if (rc == 0 && r->settings.rc)
        rc = error_set(err, r->settings.rc, "no memory for a restore");
    if (rc) {
        machine_restore_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void machine_restore_close(struct machine_restore *r)
{
    struct error ignored;

    if (!r)
        return;
    if (r->held)
        (void)!snapshot_hold(r->store, false, &ignored);
    snapshot_close(r->store);
    free(r->map);
    machine_settings_free(&r->settings);
    free(r);
}

const char *machine_restore_name(const struct machine_restore *r)
{
    return r->info.name;
}

int machine_restore_config(struct machine_restore *r, struct machine_config *config, struct error *err)
{
    struct error why = {""};
    int rc = machine_settings_apply(&r->settings, config, &why);

    config->restore = r;
    return rc ? error_set(err, rc, "snapshots, '%s', '%s': %s", snapshot_path(r->store), r->info.name, why.text) : 0;
}

bool machine_restore_is_pc(const struct machine_restore *r)
{
    const char *board = machine_settings_get(&r->settings, "board");

    return board && strcmp(board, "pc") == 0;
}

bool machine_restore_has(const struct machine *m, const char *setting)
{
    const char *value = machine_settings_get(&m->config.restore->settings, setting);

    return value && strcmp(value, "0") != 0;
}

/* Addresses are looked at again by the device that is given them. */
void machine_restore_image(struct machine *m)
{
    const struct machine_settings *settings = &m->config.restore->settings;
    const char *tohost = machine_settings_get(settings, "htif.tohost");
    const char *fromhost = machine_settings_get(settings, "htif.fromhost");

    m->has_image = true;
    m->image = (struct boot_image){.has_tohost = tohost != NULL,
                                   .tohost = tohost ? strtoull(tohost, NULL, 10) : 0,
                                   .has_fromhost = fromhost != NULL,
                                   .fromhost = fromhost ? strtoull(fromhost, NULL, 10) : 0};
    if (!mem_ram_ptr(m->mem, m->image.tohost, sizeof(uint64_t)))
        m->image.has_tohost = false;
    if (!mem_ram_ptr(m->mem, m->image.fromhost, sizeof(uint64_t)))
        m->image.has_fromhost = false;
}

/* A memory of `pages` at `bytes`, which is all zeroes. */
static int load_memory(struct machine_restore *r, unsigned memory, uint8_t *bytes, uint64_t pages, struct error *err)
{
    uint32_t *map = calloc(pages, sizeof(*map));
    int rc = map ? snapshot_read_map(r->store, r->info.id, memory, map, pages, err)
                 : error_set(err, -ENOMEM, "no memory for the map of a snapshot");

    for (uint64_t i = 0; i < pages && rc == 0; i++) {
        if (map[i])
            rc = snapshot_read_page(r->store, map[i], bytes + i * SNAPSHOT_PAGE_BYTES, err);
    }
    free(map);
    return rc;
}

/* mem_lazy_fn. What cannot be read ends the machine: it runs already. */
static int give_page(void *opaque, uint64_t page, uint8_t bytes[MEM_PAGE_BYTES])
{
    struct machine_restore *r = opaque;
    struct error err;

    if (!r->map[page])
        return 0;
    int rc = snapshot_read_page(r->store, r->map[page], bytes, &err);
    if (rc == 0)
        return 1;
    if (!atomic_exchange(&r->told, true)) {
        log_write(LOG_LEVEL_ERROR, LOG_SNAPSHOT, "the restored machine ends: %s", err.text);
        machine_end(r->m, MACHINE_END_ERROR, 0);
    }
    return rc;
}

static void all_given(void *opaque)
{
    struct machine_restore *r = opaque;
    struct error ignored;

    r->held = false;
    (void)!snapshot_hold(r->store, false, &ignored);
}

/* The pages to come first, as far as the snapshot says. Only their order depends on it. */
static struct mem_lazy_first first_pages(const struct machine_restore *r, struct snapshot_section **section)
{
    const struct snapshot_field *pages = NULL;

    if (snapshot_read_section(r->store, r->info.id, MACHINE_STATE_TOUCHES, 0, section, NULL) == 0)
        pages = snapshot_section_field(*section, MACHINE_STATE_TOUCHES_FIELD);
    if (!pages || pages->element_bytes != sizeof(uint32_t))
        return (struct mem_lazy_first){0};
    return (struct mem_lazy_first){.pages = pages->value, .count = pages->count};
}

/* RAM comes in as it is touched, or, where the host does not let us, before anything runs. */
static int load_ram(struct machine *m, struct error *err)
{
    struct machine_restore *r = m->config.restore;
    uint64_t pages = mem_ram_bytes(m->mem) / SNAPSHOT_PAGE_BYTES;
    uint8_t *ram = mem_ram_ptr(m->mem, mem_ram_base(m->mem), 1);

    r->m = m;
    r->map = calloc(pages, sizeof(*r->map));
    int rc = r->map ? snapshot_read_map(r->store, r->info.id, 0, r->map, pages, err)
                    : error_set(err, -ENOMEM, "no memory for the map of a snapshot");
    if (rc)
        return rc;
    struct snapshot_section *section;
    const struct mem_lazy_first first = first_pages(r, &section);
    rc = mem_lazy_start(m->mem, &first, give_page, all_given, r);
    snapshot_section_free(section);
    if (rc == 0)
        return 0;
    log_debug(LOG_SNAPSHOT, "memory is read at once, as it cannot be watched (%s)", strerror(-rc));
    rc = load_memory(r, 0, ram, pages, err);
    all_given(r);
    return rc;
}

static int load_flash(struct machine *m, struct error *err)
{
    int rc = 0;

    for (unsigned bank = 0; m->pflash && bank < PFLASH_BANKS && rc == 0; bank++) {
        uint8_t *bytes = pflash_bank(m->pflash, bank);
        memset(bytes, 0, PFLASH_BANK_BYTES);
        rc = load_memory(m->config.restore, 1 + bank, bytes, PFLASH_BANK_BYTES / SNAPSHOT_PAGE_BYTES, err);
    }
    return rc;
}

int machine_restore_load(struct machine *m, struct error *err)
{
    struct machine_restore *r = m->config.restore;
    int rc = load_flash(m, err);

    if (m->pc && r->time == MACHINE_RESTORE_HOST_TIME)
        return error_set(err, -ENOTSUP,
                         "--time=host, of a PC, is refused: its counters of time only go on where they"
                         " stood (its clock of the day is the host's anyhow)");
    if (rc == 0)
        rc = load_ram(m, err);
    if (rc == 0)
        rc = machine_state_load(m, r->store, r->info.id, r->time == MACHINE_RESTORE_HOST_TIME, r->info.created_ns, err);
    return rc;
}

void machine_restore_note(struct machine *m)
{
    const struct machine_restore *r = m->config.restore;

    machine_snapshots_restored(m, r->info.name, r->info.id, snapshot_path(r->store));
}
