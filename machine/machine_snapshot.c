/* Taking snapshots of a machine; see machine_snapshot.h.
 *
 * A snapshot of a running guest:
 *   1. (first one)  the dirty log is started, and all memory that anybody has touched is given to the writer;
 *      (later ones) what the log has since the last one.
 *   2. The log is fetched again, and again, while much has changed since.
 *   3. The machine stands still: devices settle, the log's rest and the state of all parts are copied, and the disks'
 *      images get an internal snapshot. It goes on.
 *   4. The copies are written, and which pages the guest has touched first meanwhile; all is committed.
 * Where 4 fails the disks' internal snapshots are deleted again; where the process ends before, they stay in the images
 * and nothing refers to them.
 * What the log was fetched for and did not reach a committed snapshot would be missing in the next one, which is why
 * that one then looks at everything.
 *
 * Threads: one of its own (`tuff-snapshot`) for snapshots at an instruction count and every so often, any other for
 * machine_snapshot(). `lock` lets in one at a time.
 */
#include "machine/machine_snapshot.h"

#include "base/log.h"
#include "base/sandbox.h"
#include "dev/pflash.h"
#include "machine/machine_internal.h"
#include "machine/machine_settings.h"
#include "machine/machine_snapshots.h"
#include "machine/machine_state.h"
#include "mem/lazy.h"
#include "mem/touches.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ROUNDS_MAX = 4,        /* fetches of the dirty log before the guest has to wait for what is left */
    LAST_PAGES_MAX = 1024, /* left over for step 3: 4 MiB, copied in a millisecond */
    TOUCHES_MS = 20,       /* how long the guest is watched at least: as long as a restored one waits for its pages */
    MEMORY_RAM = 0,
    MEMORY_FLASH = 1, /* and the second bank */
    DISKS_NAME_BYTES = 128,
};

/* Setting of a disk: its internal snapshot's name. */
#define INTERNAL_SNAPSHOT ".internal-snapshot"

struct machine_snapshots {
    struct machine *m;
    struct snapshot_store *store;
    struct machine_settings settings; /* the machine's */

    pthread_mutex_t lock; /* of a snapshot being taken */
    /* Under it. */
    char base[SNAPSHOT_NAME_BYTES]; /* since which the dirty log counts; "": it does not */
    int64_t base_id;
    uint64_t *dirty;
    size_t dirty_words;
    uint64_t pages;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t wait_lock;
    pthread_cond_t changed;
    /* Under wait_lock. */
    bool ending;
    bool reached;              /* hart 0 stands at `at_insns` */
    _Atomic uint64_t at_insns; /* UINT64_MAX: no (more) snapshot at a count */
};

/* ---- events ---- */

static int64_t realtime_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint64_t instructions(const struct machine *m)
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < m->hart_count; i++) {
        struct vcpu_counters counters;
        vcpu_counters_read(m->vcpus[i], &counters);
        all += counters.insns;
    }
    return all;
}

static void add_event(struct machine_snapshots *s, const char *kind, const char *detail,
                      const struct machine_settings *settings)
{
    const struct snapshot_event event = {
        .time_ns = realtime_ns(), .instructions = instructions(s->m), .kind = kind, .detail = detail};
    struct snapshot_setting changes[256];
    size_t count = 0;
    struct error err;

    for (size_t i = 0; settings && i < settings->count && count < TUFF_ARRAY_LEN(changes); i++)
        changes[count++] = (struct snapshot_setting){.name = settings->list[i].name, .value = settings->list[i].value};
    if (snapshot_event_add(s->store, &event, changes, count, &err))
        log_warn(LOG_SNAPSHOT, "event '%s' is not kept: %s", kind, err.text);
}

void machine_event(struct machine *m, const char *kind, const char *detail)
{
    if (m->snapshots)
        add_event(m->snapshots, kind, detail, NULL);
}

/* ---- memory ---- */

static void give_page(struct machine_snapshots *s, struct snapshot_writer *w, uint64_t page, bool may_block)
{
    const uint8_t *ram = mem_ram_ptr(s->m->mem, mem_ram_base(s->m->mem), 1);

    snapshot_write_page(w, MEMORY_RAM, page, ram + page * SNAPSHOT_PAGE_BYTES, may_block);
}

/* All that anybody has touched; what else there is, is zero, and in no parent otherwise. */
static void give_everything(struct machine_snapshots *s, struct snapshot_writer *w)
{
    uint64_t start = 0, end;

    for (; mem_ram_data(s->m->mem, &start, &end); start = end) {
        for (uint64_t at = start; at < end; at += SNAPSHOT_PAGE_BYTES)
            give_page(s, w, at / SNAPSHOT_PAGE_BYTES, true);
    }
}

static void give_dirty(struct machine_snapshots *s, struct snapshot_writer *w, bool may_block)
{
    for (size_t i = 0; i < s->dirty_words; i++) {
        for (uint64_t word = s->dirty[i]; word; word &= word - 1)
            give_page(s, w, i * 64 + (unsigned)__builtin_ctzll(word), may_block);
    }
}

static uint64_t count_dirty(const struct machine_snapshots *s)
{
    uint64_t count = 0;

    for (size_t i = 0; i < s->dirty_words; i++)
        count += (uint64_t)__builtin_popcountll(s->dirty[i]);
    return count;
}

/* No hart runs. */
static int fetch_dirty(struct machine_snapshots *s, struct error *err)
{
    int rc = mem_dirty_fetch(s->m->mem, s->dirty, s->dirty_words);

    return rc ? error_set(err, rc, "the log of changed pages: %s", strerror(-rc)) : 0;
}

/* Flash changes seldom and has no log: all of it is looked at. */
static void give_flash(struct machine_snapshots *s, struct snapshot_writer *w)
{
    for (unsigned bank = 0; s->m->pflash && bank < PFLASH_BANKS; bank++) {
        const uint8_t *bytes = pflash_bank(s->m->pflash, bank);
        for (uint64_t page = 0; page < PFLASH_BANK_BYTES / SNAPSHOT_PAGE_BYTES; page++)
            snapshot_write_page(w, MEMORY_FLASH + bank, page, bytes + page * SNAPSHOT_PAGE_BYTES, false);
    }
}

/* ---- one snapshot ---- */

/* What one is made of. */
struct taking {
    struct machine_snapshots *s;
    const char *name;
    struct snapshot_writer *w;
    bool stands; /* no hart runs, and none will until this is over */
    bool paused;
    uint64_t paused_at_ns, pause_us;
    char disks[DISKS_NAME_BYTES]; /* name of the disks' internal snapshots; "": they have none (yet) */
    struct snapshot_moment moment;
    struct machine_state state;
};

static int pause_it(struct taking *t, struct error *err)
{
    if (t->stands)
        return 0;
    uint64_t begin = loop_now_ns();
    int rc = machine_pause(t->s->m);
    if (rc)
        return error_set(err, rc, "the machine is ending: no snapshot is taken");
    t->paused = true;
    t->paused_at_ns = begin;
    return 0;
}

static void resume_it(struct taking *t)
{
    if (!t->paused)
        return;
    machine_resume(t->s->m);
    t->paused = false;
    uint64_t us = (loop_now_ns() - t->paused_at_ns) / 1000;
    t->pause_us = us > t->pause_us ? us : t->pause_us;
}

/* Step 1 and 2; returns with the machine paused. */
static int give_most(struct taking *t, struct error *err)
{
    struct machine_snapshots *s = t->s;
    bool everything = !s->base[0];

    machine_disks_write_out(s->m);
    int rc = pause_it(t, err);

    if (rc)
        return rc;
    if (everything) {
        rc = mem_dirty_start(s->m->mem);
        if (rc)
            return error_set(err, rc, "no memory for the log of changed pages");
        resume_it(t);
        give_everything(s, t->w);
        rc = snapshot_write_sync(t->w, err);
        if (rc == 0)
            rc = pause_it(t, err);
    }
    for (unsigned round = 0; rc == 0; round++) {
        rc = fetch_dirty(s, err);
        if (rc || t->stands || round == ROUNDS_MAX || count_dirty(s) <= LAST_PAGES_MAX)
            break;
        resume_it(t);
        give_dirty(s, t->w, true);
        rc = snapshot_write_sync(t->w, err);
        if (rc == 0)
            rc = pause_it(t, err);
    }
    if (rc == 0)
        give_dirty(s, t->w, t->stands);
    return rc;
}

/* The name is one that no other snapshot has, also when this one's name is used again. */
static int snapshot_disks(struct taking *t, struct error *err)
{
    char name[sizeof(t->disks)];

    (void)snprintf(name, sizeof(name), "tuff-%.63s-%016" PRIx64, t->name, (uint64_t)realtime_ns());
    int rc = machine_disks_snapshot(t->s->m, name, err);
    if (rc == 0)
        strcpy(t->disks, name);
    return rc;
}

/* Nothing refers to the disks' internal snapshots any more. */
static void forget_disks(struct machine_snapshots *s, const char *name, bool stands)
{
    struct taking t = {.s = s, .stands = stands};
    struct error err = {""};

    int rc = pause_it(&t, &err);
    if (rc == 0)
        rc = machine_settle(s->m, &err);
    if (rc == 0) {
        machine_disks_forget_snapshot(s->m, name);
        machine_unsettle(s->m);
    } else {
        log_warn(LOG_SNAPSHOT, "internal snapshots '%s' stay in the disks' images: %s", name, err.text);
    }
    resume_it(&t);
}

/* Step 3, of a machine that stands. */
static int copy_rest(struct taking *t, struct error *err)
{
    struct machine_snapshots *s = t->s;
    int rc = machine_settle(s->m, err);

    if (rc)
        return rc;
    /* What devices have brought to their end just now. */
    rc = fetch_dirty(s, err);
    if (rc == 0) {
        give_dirty(s, t->w, false);
        give_flash(s, t->w);
        rc = snapshot_disks(t, err);
    }
    if (rc == 0) {
        machine_state_save(s->m, &t->state);
        t->moment.created_ns = realtime_ns();
        t->moment.instructions = instructions(s->m);
    }
    /* The log was fetched: TLBs start empty. A guest that does not go on touches nothing. */
    if (rc == 0 && !t->stands && mem_touches_start(s->m->mem))
        rc = error_set(err, -ENOMEM, "no memory for the list of pages that the guest touches");
    machine_unsettle(s->m);
    return rc;
}

/* What the guest has touched since it goes on. */
static int write_touches(struct taking *t, uint64_t resumed_ns, struct error *err)
{
    uint32_t pages[MEM_TOUCHES_MAX];
    uint64_t until_ns = resumed_ns + TOUCHES_MS * UINT64_C(1000000);
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000)};

    if (t->stands)
        return 0;
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    struct snapshot_field field = {.name = MACHINE_STATE_TOUCHES_FIELD,
                                   .element_bytes = sizeof(pages[0]),
                                   .count = (uint32_t)mem_touches_stop(t->s->m->mem, pages),
                                   .value = (const uint8_t *)pages};
    if (!field.count)
        return 0;
    return snapshot_write_section(t->w, MACHINE_STATE_TOUCHES, 0, MACHINE_STATE_TOUCHES_VERSION, &field, 1, err);
}

/* What of the machine a restore must know besides its configuration. */
static int write_settings(struct taking *t, struct error *err)
{
    const struct machine_config *config = &t->s->m->config;
    int rc = t->s->settings.rc ? error_set(err, t->s->settings.rc, "no memory for the machine's settings") : 0;

    for (size_t i = 0; i < t->s->settings.count && rc == 0; i++)
        rc = snapshot_write_setting(t->w, t->s->settings.list[i].name, t->s->settings.list[i].value, err);
    for (unsigned n = 0; n < config->disk_count && rc == 0; n++) {
        char setting[32];
        (void)snprintf(setting, sizeof(setting), "disk%u" INTERNAL_SNAPSHOT, n);
        if (!config->disks[n].read_only)
            rc = snapshot_write_setting(t->w, setting, t->disks, err);
    }
    return rc;
}

static int take(struct taking *t, struct error *err)
{
    int rc = give_most(t, err);

    if (rc == 0)
        rc = copy_rest(t, err);
    resume_it(t);
    uint64_t resumed_ns = loop_now_ns();
    if (rc == 0)
        rc = snapshot_write_sync(t->w, err);
    if (rc == 0)
        rc = machine_state_write(&t->state, t->w, err);
    if (rc == 0)
        rc = write_touches(t, resumed_ns, err);
    return rc ? rc : write_settings(t, err);
}

/* Is the snapshot that the dirty log counts from still there? Somebody may have deleted it. */
static void check_base(struct machine_snapshots *s)
{
    struct snapshot_info info;

    if (s->base[0] && (snapshot_find(s->store, s->base, &info, NULL) || info.id != s->base_id))
        s->base[0] = '\0';
}

static int take_locked(struct machine_snapshots *s, const char *name, bool stands, struct snapshot_info *info,
                       struct error *err)
{
    struct machine *m = s->m;
    struct taking t = {.s = s, .name = name, .stands = stands};

    if (m->config.input_count || m->config.channel_count || m->config.sound.wav || m->config.sound.alsa ||
        m->config.sound.in)
        return error_set(err, -ENOTSUP,
                         "no snapshot: machines with --input, --channel or --sound cannot be restored yet");
    int rc = machine_disks_can_snapshot(m, err);
    if (rc)
        return rc;
    /* What has not come in yet would be missing. */
    mem_lazy_wait(m->mem);
    check_base(s);
    struct snapshot_write_config config = {.name = name,
                                           .parent = s->base[0] ? s->base_id : 0,
                                           .version = m->config.version,
                                           .memory_pages = {s->pages},
                                           .level = m->config.snapshots.level,
                                           .background = !stands};
    for (unsigned bank = 0; m->pflash && bank < PFLASH_BANKS; bank++)
        config.memory_pages[MEMORY_FLASH + bank] = PFLASH_BANK_BYTES / SNAPSHOT_PAGE_BYTES;
    rc = snapshot_write_begin(s->store, &config, &t.w, err);
    if (rc)
        return rc;
    uint64_t begin_ns = loop_now_ns();
    rc = take(&t, err);
    if (stands)
        t.pause_us = (loop_now_ns() - begin_ns) / 1000;
    t.moment.pause_us = t.pause_us;
    if (rc == 0)
        rc = snapshot_write_commit(t.w, &t.moment, info, err);
    else
        snapshot_write_abort(t.w);
    if (rc && t.disks[0])
        forget_disks(s, t.disks, stands);
    machine_state_free(&t.state);
    s->base[0] = '\0';
    if (rc == 0) {
        strcpy(s->base, info->name);
        s->base_id = info->id;
    }
    return rc;
}

static void count_name(void *opaque, const struct snapshot_info *info)
{
    struct {
        const char *prefix;
        unsigned next;
    } *search = opaque;
    size_t len = strlen(search->prefix);

    if (strncmp(info->name, search->prefix, len) == 0) {
        unsigned number = (unsigned)strtoul(info->name + len, NULL, 10);
        search->next = number >= search->next && number < UINT32_MAX ? number + 1 : search->next;
    }
}

/* "manual-7": one more than the largest there is. */
static void choose_name(struct machine_snapshots *s, const char *prefix, char name[SNAPSHOT_NAME_BYTES])
{
    struct {
        const char *prefix;
        unsigned next;
    } search = {prefix, 1};

    (void)!snapshot_each(s->store, count_name, &search, NULL);
    (void)snprintf(name, SNAPSHOT_NAME_BYTES, "%s%u", prefix, search.next);
}

/* `name` NULL: with a number behind `prefix`. */
static int snapshot(struct machine_snapshots *s, const char *name, const char *prefix, bool stands,
                    struct machine_snapshot_result *result, struct error *err)
{
    char chosen[SNAPSHOT_NAME_BYTES], parent[SNAPSHOT_NAME_BYTES], detail[160];
    struct snapshot_info info;

    pthread_mutex_lock(&s->lock);
    if (!name) {
        choose_name(s, prefix, chosen);
        name = chosen;
    }
    check_base(s);
    strcpy(parent, s->base);
    int rc = take_locked(s, name, stands, &info, err);
    if (rc == 0) {
        (void)snprintf(detail, sizeof(detail), "%s", info.name);
        add_event(s, "snapshot", detail, NULL);
        log_debug(LOG_SNAPSHOT,
                  "%s: %" PRIu64 " new pages, %" PRIu64 " bytes, the guest stood for %" PRIu64 " us, %" PRIu64
                  " us in all",
                  info.name, info.new_pages, info.new_bytes, info.pause_us, info.save_us);
        if (result) {
            *result = (struct machine_snapshot_result){.pause_us = info.pause_us,
                                                       .save_us = info.save_us,
                                                       .new_pages = info.new_pages,
                                                       .new_bytes = info.new_bytes};
            strcpy(result->name, info.name);
            strcpy(result->parent, parent);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int machine_snapshot(struct machine *m, const char *name, struct machine_snapshot_result *result, struct error *err)
{
    if (!m->snapshots)
        return error_set(err, -EINVAL, "the machine has no file for snapshots: start it with --snapshot-file=FILE");
    return snapshot(m->snapshots, name, "manual-", false, result, err);
}

/* ---- the snapshots that come by themselves ---- */

struct oldest {
    const char *prefix;
    unsigned count;
    int64_t id;
    char name[SNAPSHOT_NAME_BYTES];
};

static void note_oldest(void *opaque, const struct snapshot_info *info)
{
    struct oldest *o = opaque;

    if (strncmp(info->name, o->prefix, strlen(o->prefix)) == 0 && o->count++ == 0) {
        strcpy(o->name, info->name);
        o->id = info->id;
    }
}

static void note_disks(void *opaque, const char *name, const char *value)
{
    size_t len = strlen(name), end = strlen(INTERNAL_SNAPSHOT);

    if (len >= end && strcmp(name + len - end, INTERNAL_SNAPSHOT) == 0)
        (void)snprintf(opaque, DISKS_NAME_BYTES, "%s", value);
}

static void keep_last(struct machine_snapshots *s, const char *prefix, unsigned keep)
{
    struct error err = {""};

    for (;;) {
        struct oldest o = {.prefix = prefix};
        if (!keep || snapshot_each(s->store, note_oldest, &o, &err) || o.count <= keep)
            return;
        char disks[DISKS_NAME_BYTES] = "";
        pthread_mutex_lock(&s->lock);
        (void)!snapshot_settings(s->store, o.id, note_disks, disks, NULL);
        int rc = snapshot_delete(s->store, o.name, &err);
        if (rc == 0 && disks[0])
            forget_disks(s, disks, false);
        pthread_mutex_unlock(&s->lock);
        if (rc) {
            log_warn(LOG_SNAPSHOT, "snapshot '%s' stays: %s", o.name, err.text);
            return;
        }
    }
}

static void take_periodic(struct machine_snapshots *s)
{
    struct error err = {""};

    if (snapshot(s, NULL, "auto-", false, NULL, &err) == 0)
        keep_last(s, "auto-", s->m->config.snapshots.keep);
    else if (!atomic_load(&s->m->ending))
        log_warn(LOG_SNAPSHOT, "no snapshot was taken: %s", err.text);
}

static void take_at_count(struct machine_snapshots *s)
{
    char name[SNAPSHOT_NAME_BYTES];
    struct error err = {""};

    (void)snprintf(name, sizeof(name), "insns-%" PRIu64, s->m->config.snapshots.at_insns);
    /* Hart 0 stands where it was to, and others stop now. */
    bool alone = s->m->hart_count == 1;
    int rc = alone ? 0 : machine_pause(s->m);
    if (rc == 0) {
        rc = snapshot(s, name, NULL, true, NULL, &err);
        if (!alone)
            machine_resume(s->m);
    }
    if (rc && !atomic_load(&s->m->ending))
        log_warn(LOG_SNAPSHOT, "no snapshot was taken: %s", err.text);
}

static void *snapshots_main(void *opaque)
{
    struct machine_snapshots *s = opaque;
    uint64_t every_ns = s->m->config.snapshots.every_ns;
    uint64_t next_ns = every_ns ? loop_now_ns() + every_ns : UINT64_MAX;

    sandbox_enter(SANDBOX_SERVICE);
    pthread_mutex_lock(&s->wait_lock);
    while (!s->ending) {
        struct timespec until = {.tv_sec = (time_t)(next_ns / 1000000000), .tv_nsec = (long)(next_ns % 1000000000)};
        int rc = 0;
        while (!s->ending && !s->reached && rc == 0)
            rc = every_ns ? pthread_cond_timedwait(&s->changed, &s->wait_lock, &until)
                          : pthread_cond_wait(&s->changed, &s->wait_lock);
        bool reached = s->reached;
        if (s->ending)
            break;
        pthread_mutex_unlock(&s->wait_lock);
        if (reached)
            take_at_count(s);
        if (loop_now_ns() >= next_ns) {
            take_periodic(s);
            next_ns = loop_now_ns() + every_ns;
        }
        pthread_mutex_lock(&s->wait_lock);
        if (reached) {
            s->reached = false;
            pthread_cond_broadcast(&s->changed);
        }
    }
    s->reached = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->wait_lock);
    return NULL;
}

uint64_t machine_snapshots_at(const struct machine *m)
{
    return m->snapshots ? atomic_load(&m->snapshots->at_insns) : UINT64_MAX;
}

/* The hart's thread is no running one meanwhile: it is paused like any other. */
void machine_snapshots_reached(struct machine *m)
{
    struct machine_snapshots *s = m->snapshots;

    atomic_store(&s->at_insns, UINT64_MAX);
    machine_hart_leave(m);
    pthread_mutex_lock(&s->wait_lock);
    if (!s->ending) {
        s->reached = true;
        pthread_cond_broadcast(&s->changed);
    }
    while (s->reached)
        pthread_cond_wait(&s->changed, &s->wait_lock);
    pthread_mutex_unlock(&s->wait_lock);
    machine_hart_enter(m);
}

/* ---- with the machine ---- */

int machine_snapshots_create(struct machine *m, struct error *err)
{
    const struct machine_snapshot_config *config = &m->config.snapshots;
    pthread_condattr_t attr;

    if (!config->file)
        return 0;
    struct machine_snapshots *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, -ENOMEM, "no memory for snapshots");
    s->m = m;
    s->pages = mem_ram_bytes(m->mem) / SNAPSHOT_PAGE_BYTES;
    s->dirty_words = (s->pages + 63) / 64;
    s->dirty = calloc(s->dirty_words, sizeof(*s->dirty));
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->wait_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    m->snapshots = s;
    int rc = s->dirty ? snapshot_open(config->file, SNAPSHOT_CREATE, &s->store, err)
                      : error_set(err, -ENOMEM, "no memory for snapshots");
    if (rc)
        return rc;
    machine_settings_of(&m->config, &s->settings);
    machine_settings_put(&s->settings, "board", "%s", machine_is_pc(&m->config) ? "pc" : "riscv64");
    machine_settings_put(&s->settings, "sbi", "%d", m->sbi != NULL);
    machine_settings_put(&s->settings, "flash", "%d", m->pflash != NULL);
    machine_settings_put(&s->settings, "vmgenid", "%d", m->vmgenid != NULL);
    machine_settings_put(&s->settings, "pvpanic", "%d", m->pvpanic != NULL);
    if (m->htif) {
        machine_settings_put(&s->settings, "htif.tohost", "%" PRIu64, m->image.tohost);
        if (m->image.has_fromhost)
            machine_settings_put(&s->settings, "htif.fromhost", "%" PRIu64, m->image.fromhost);
    }
    atomic_store(&s->at_insns, config->at_insns ? config->at_insns : UINT64_MAX);
    if (m->config.restore) {
        machine_restore_note(m);
    } else {
        add_event(s, "created", m->config.options ? m->config.options : "", &s->settings);
        for (unsigned n = 0; n < m->virtio_count; n++)
            add_event(s, "device added", m->virtio[n]->ops->name, NULL);
    }
    return s->settings.rc ? error_set(err, s->settings.rc, "no memory for the machine's settings") : 0;
}

void machine_snapshots_restored(struct machine *m, const char *name, int64_t id, const char *file)
{
    struct machine_snapshots *s = m->snapshots;

    if (!s)
        return;
    add_event(s, "restored", name, &s->settings);
    struct snapshot_info info;
    bool same =
        snapshot_find(s->store, name, &info, NULL) == 0 && info.id == id && strcmp(file, m->config.snapshots.file) == 0;
    if (same && mem_dirty_start(m->mem) == 0) {
        strcpy(s->base, info.name);
        s->base_id = id;
    }
    if (vcpu_instret(m->vcpus[0]) >= atomic_load(&s->at_insns))
        atomic_store(&s->at_insns, UINT64_MAX);
}

int machine_snapshots_start(struct machine *m, struct error *err)
{
    struct machine_snapshots *s = m->snapshots;

    if (!s)
        return 0;
    add_event(s, "started", "", NULL);
    if (!m->config.snapshots.at_insns && !m->config.snapshots.every_ns)
        return 0;
    int rc = pthread_create(&s->thread, NULL, snapshots_main, s);
    if (rc)
        return error_set(err, -rc, "the thread of snapshots could not be started: %s", strerror(rc));
    s->has_thread = true;
    (void)pthread_setname_np(s->thread, "tuff-snapshot");
    return 0;
}

void machine_snapshots_wake(struct machine *m)
{
    struct machine_snapshots *s = m->snapshots;

    if (!s)
        return;
    pthread_mutex_lock(&s->wait_lock);
    s->ending = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->wait_lock);
}

static const char *end_text(enum machine_end end)
{
    static const char *const texts[] = {
        [MACHINE_END_POWEROFF] = "powered off", [MACHINE_END_REBOOT] = "reset",
        [MACHINE_END_MAX_INSNS] = "stopped",    [MACHINE_END_QUIT] = "stopped",
        [MACHINE_END_CRITICAL] = "critical",    [MACHINE_END_ERROR] = "failed",
    };

    return texts[end];
}

int machine_snapshots_stop(struct machine *m, struct error *err)
{
    struct machine_snapshots *s = m->snapshots;
    enum machine_end end = m->result.end;
    char detail[64];
    int rc = 0;

    if (!s)
        return 0;
    machine_snapshots_wake(m);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    s->has_thread = false;
    /* Whoever else takes one ends first. */
    pthread_mutex_lock(&s->lock);
    pthread_mutex_unlock(&s->lock);
    if (m->config.snapshots.on_exit && (end == MACHINE_END_QUIT || end == MACHINE_END_MAX_INSNS))
        rc = snapshot(s, NULL, "exit-", true, NULL, err);
    (void)snprintf(detail, sizeof(detail), "exit code %" PRIu32, m->result.exit_code);
    add_event(s, end == MACHINE_END_POWEROFF && m->result.exit_code ? "guest failed" : end_text(end), detail, NULL);
    return rc;
}

void machine_snapshots_destroy(struct machine *m)
{
    struct machine_snapshots *s = m->snapshots;

    if (!s)
        return;
    m->snapshots = NULL;
    snapshot_close(s->store);
    machine_settings_free(&s->settings);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->wait_lock);
    pthread_mutex_destroy(&s->lock);
    free(s->dirty);
    free(s);
}
