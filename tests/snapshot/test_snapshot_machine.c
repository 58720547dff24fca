/* Machines that are saved and restored. With bare-metal guests whose time is instructions: what a restored one comes to
 * is, field by field and page by page, what the undisturbed one comes to, whichever tiers run before and after. With
 * guests that run beside the host's clock, on either board: what they report at their end is the same. The PC is run
 * when TUFF_TEST_BOARD says so, and is skipped where there is no KVM. */
#include "accel/accel.h"
#include "base/tsan_guest.h"
#include "dev/block/node.h"
#include "machine/machine.h"
#include "snapshot/snapshot.h"

#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { MEMORY_PAGES = 64 << 20 >> 12 };

static char folder[64];

static void set_up(void)
{
    strcpy(folder, "/tmp/tuff-test-snapshot.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0); // NOLINT(cert-env33-c): a name of our own
}

static const char *file(const char *name, char path[128])
{
    (void)snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

enum tiers { INTERP, BASELINE, ALL, TIERS };

static void set_tiers(struct machine_config *config, enum tiers tiers)
{
    config->interpret = tiers != ALL || !machine_has_jit();
    config->baseline = tiers != INTERP && machine_has_baseline();
    config->jit.tunables.threshold = 300;
}

/* Runs a configuration to the end; returns how it ended. */
static enum machine_end run(const struct machine_config *config)
{
    struct machine *machine;
    struct machine_result result;
    struct error err = {""};

    ck_assert_msg(machine_create(config, &machine, &err) == 0, "%s", err.text);
    ck_assert_msg(machine_run(machine, &result, &err) == 0, "%s", err.text);
    machine_destroy(machine);
    return result.end;
}

static void base_config(struct machine_config *config, const char *elf, enum tiers tiers)
{
    machine_config_default(config);
    set_tiers(config, tiers);
    config->bare = elf;
    config->memory_bytes = (uint64_t)MEMORY_PAGES << 12;
    config->clock = MACHINE_CLOCK_INSNS;
    config->serial = MACHINE_SERIAL_NULL;
}

/* Starts the program and saves it after `at` instructions. */
static void run_and_save(const char *elf, enum tiers tiers, uint64_t at, const char *to)
{
    struct machine_config config = {0};
    char path[128];

    base_config(&config, elf, tiers);
    config.snapshots = (struct machine_snapshot_config){.file = file(to, path), .at_insns = at};
    config.max_insns = at;
    ck_assert_int_eq(run(&config), MACHINE_END_MAX_INSNS);
}

static void restore_and_save(const char *from, enum tiers tiers, uint64_t at, const char *to)
{
    struct machine_restore *restore;
    struct machine_config config = {0};
    struct error err = {""};
    char path[128], to_path[128];

    machine_config_default(&config);
    set_tiers(&config, tiers);
    config.serial = MACHINE_SERIAL_NULL;
    ck_assert_msg(machine_restore_open(file(from, path), NULL, MACHINE_RESTORE_CONTINUE, &restore, &err) == 0, "%s",
                  err.text);
    ck_assert_msg(machine_restore_config(restore, &config, &err) == 0, "%s", err.text);
    config.snapshots = (struct machine_snapshot_config){.file = file(to, to_path), .at_insns = at};
    config.max_insns = at;
    ck_assert_int_eq(run(&config), MACHINE_END_MAX_INSNS);
    machine_restore_close(restore);
}

/* ---- comparing ---- */

static struct snapshot_store *open_newest(const char *name, struct snapshot_info *info)
{
    struct snapshot_store *store = NULL;
    struct error err = {""};
    char path[128];

    ck_assert_msg(snapshot_open(file(name, path), SNAPSHOT_READ, &store, &err) == 0, "%s", err.text);
    ck_assert_msg(snapshot_find(store, NULL, info, &err) == 0, "%s", err.text);
    return store;
}

static void expect_equal_sections(struct snapshot_store *a, int64_t a_id, struct snapshot_store *b, int64_t b_id)
{
    static const char *const names[] = {"hart",         "machine",   "aclint",    "plic",        "ns16550a",
                                        "goldfish-rtc", "sunxi-wdt", "pcie-host", "virtio-mmio", "htif"};
    unsigned compared = 0;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(names); i++) {
        struct snapshot_section *one, *other;
        int rc = snapshot_read_section(a, a_id, names[i], 0, &one, NULL);
        ck_assert_int_eq(snapshot_read_section(b, b_id, names[i], 0, &other, NULL), rc);
        if (rc)
            continue;
        ck_assert_uint_eq(one->field_count, other->field_count);
        for (unsigned f = 0; f < one->field_count; f++) {
            const struct snapshot_field *x = &one->fields[f], *y = &other->fields[f];
            ck_assert_str_eq(x->name, y->name);
            ck_assert_msg(memcmp(x->value, y->value, (size_t)x->element_bytes * x->count) == 0, "%s.%s", names[i],
                          x->name);
            compared++;
        }
        snapshot_section_free(one);
        snapshot_section_free(other);
    }
    ck_assert_uint_gt(compared, 80);
}

static void expect_equal_memory(struct snapshot_store *a, int64_t a_id, struct snapshot_store *b, int64_t b_id)
{
    static uint32_t a_map[MEMORY_PAGES], b_map[MEMORY_PAGES];
    uint8_t x[SNAPSHOT_PAGE_BYTES], y[SNAPSHOT_PAGE_BYTES];
    unsigned compared = 0;

    memset(a_map, 0, sizeof(a_map));
    memset(b_map, 0, sizeof(b_map));
    ck_assert_int_eq(snapshot_read_map(a, a_id, 0, a_map, MEMORY_PAGES, NULL), 0);
    ck_assert_int_eq(snapshot_read_map(b, b_id, 0, b_map, MEMORY_PAGES, NULL), 0);
    for (unsigned i = 0; i < MEMORY_PAGES; i++) {
        if (!a_map[i] && !b_map[i])
            continue;
        ck_assert_int_eq(snapshot_read_page(a, a_map[i], x, NULL), 0);
        ck_assert_int_eq(snapshot_read_page(b, b_map[i], y, NULL), 0);
        ck_assert_msg(memcmp(x, y, sizeof(x)) == 0, "page %u", i);
        compared++;
    }
    ck_assert_uint_gt(compared, 2);
}

static void expect_equal(const char *one, const char *other)
{
    struct snapshot_info a_info, b_info;
    struct snapshot_store *a = open_newest(one, &a_info), *b = open_newest(other, &b_info);

    ck_assert_uint_eq(a_info.instructions, b_info.instructions);
    expect_equal_sections(a, a_info.id, b, b_info.id);
    expect_equal_memory(a, a_info.id, b, b_info.id);
    snapshot_close(a);
    snapshot_close(b);
}

/* ---- tests ---- */

/* Where each program is saved, and how far it then runs. */
static const struct {
    const char *elf;
    uint64_t at, further;
} moments[] = {
    {HOT_ELF, 2000001, 1000000},
    {SMC_ELF, 70001, 200000},
    {INTERRUPTS_ELF, 300001, 500001},
    {INTERRUPTS_ELF, 1200007, 300000},
};

START_TEST(a_restored_machine_comes_to_the_same_state)
{
    const char *elf = moments[_i / TIERS].elf;
    uint64_t at = moments[_i / TIERS].at, end = at + moments[_i / TIERS].further;
    enum tiers before = (enum tiers)(_i % TIERS), after = (enum tiers)((_i + _i / TIERS) % TIERS);

    run_and_save(elf, before, end, "whole.snap");
    run_and_save(elf, after, at, "part.snap");
    restore_and_save("part.snap", before, end, "rest.snap");
    expect_equal("whole.snap", "rest.snap");
}
END_TEST

/* In one file: the second snapshot holds what differs from the one that was restored. */
START_TEST(a_snapshot_of_a_restored_machine_is_its_child)
{
    struct snapshot_info info, parent;
    struct snapshot_store *store;

    run_and_save(HOT_ELF, INTERP, 2500000, "whole.snap");
    run_and_save(HOT_ELF, ALL, 2000000, "vm.snap");
    restore_and_save("vm.snap", ALL, 2500000, "vm.snap");
    expect_equal("whole.snap", "vm.snap");
    store = open_newest("vm.snap", &info);
    ck_assert_int_ne(info.parent, 0);
    ck_assert_int_eq(snapshot_find(store, "insns-2000000", &parent, NULL), 0);
    ck_assert_int_eq(info.parent, parent.id);
    ck_assert_uint_lt(info.new_pages, parent.new_pages);
    snapshot_close(store);
}
END_TEST

/* A file that the first version wrote, in the middle of a program that then goes on to its end and is content. */
START_TEST(a_file_of_version_1_goes_on_loading)
{
    struct machine_config config = {0};
    struct machine_restore *restore;
    struct machine_result result;
    struct machine *machine;
    struct error err = {""};
    char path[128];
    static uint8_t bytes[1 << 20];
    gzFile packed = gzopen(KEPT "/version-1.snap.gz", "rbe");
    int len = packed ? gzread(packed, bytes, sizeof(bytes)) : -1;
    FILE *out = fopen(file("kept.snap", path), "we");

    ck_assert_int_gt(len, 100000);
    ck_assert_uint_eq(fwrite(bytes, 1, (size_t)len, out), (size_t)len);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_int_eq(gzclose(packed), Z_OK);
    machine_config_default(&config);
    set_tiers(&config, ALL);
    config.serial = MACHINE_SERIAL_NULL;
    ck_assert_msg(machine_restore_open(path, "insns-300000", MACHINE_RESTORE_CONTINUE, &restore, &err) == 0, "%s",
                  err.text);
    ck_assert_msg(machine_restore_config(restore, &config, &err) == 0, "%s", err.text);
    ck_assert_msg(machine_create(&config, &machine, &err) == 0, "%s", err.text);
    ck_assert_msg(machine_run(machine, &result, &err) == 0, "%s", err.text);
    machine_destroy(machine);
    machine_restore_close(restore);
    ck_assert_int_eq(result.end, MACHINE_END_POWEROFF);
    ck_assert_uint_eq(result.exit_code, 0);
}
END_TEST

/* Of a newer program, say. */
START_TEST(a_board_that_is_not_known_is_refused_by_name)
{
    const struct snapshot_write_config write = {.name = "one", .version = "0", .memory_pages = {1}};
    const struct snapshot_moment moment = {.created_ns = 1};
    struct machine_config config = {0};
    struct machine_restore *restore;
    struct snapshot_store *store;
    struct snapshot_writer *writer;
    struct error err = {""};
    char path[128];

    ck_assert_int_eq(snapshot_open(file("vm.snap", path), SNAPSHOT_CREATE, &store, &err), 0);
    ck_assert_int_eq(snapshot_write_begin(store, &write, &writer, &err), 0);
    ck_assert_int_eq(snapshot_write_setting(writer, "board", "toaster", &err), 0);
    ck_assert_int_eq(snapshot_write_commit(writer, &moment, NULL, &err), 0);
    snapshot_close(store);
    machine_config_default(&config);
    ck_assert_msg(machine_restore_open(path, NULL, MACHINE_RESTORE_CONTINUE, &restore, &err) == 0, "%s", err.text);
    ck_assert_int_eq(machine_restore_config(restore, &config, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.text, "'toaster'") != NULL, "%s", err.text);
    machine_restore_close(restore);
}
END_TEST

/* ---- beside the host's clock: one body for both boards ---- */

static const struct board {
    const char *elf;
    uint32_t cpus;
    enum tiers before, after;
} boards[] = {
    {GOING_ON_ELF, 1, ALL, INTERP}, {GOING_ON_ELF, 1, INTERP, ALL},     {GOING_ON_SMP_ELF, 2, ALL, BASELINE},
    {PC_GOING_ON_ELF, 1, ALL, ALL}, {PC_GOING_ON_SMP_ELF, 3, ALL, ALL}, /* the third waits to be started */
};
enum { BOARDS_RISCV = 3, BOARDS_ALL = (int)TUFF_ARRAY_LEN(boards) };

/* A machine that runs on a thread of its own, and what it says. */
struct live {
    struct machine *machine;
    pthread_t thread;
    struct machine_result result;
    int rc;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char output[1024]; /* under the lock */
};

static void on_output(void *opaque, const uint8_t *bytes, size_t len)
{
    struct live *live = opaque;

    pthread_mutex_lock(&live->lock);
    size_t at = strlen(live->output), room = sizeof(live->output) - 1 - at;
    memcpy(live->output + at, bytes, len < room ? len : room);
    pthread_cond_broadcast(&live->changed);
    pthread_mutex_unlock(&live->lock);
}

static void *live_main(void *opaque)
{
    struct live *live = opaque;
    struct error err = {""};

    live->rc = machine_run(live->machine, &live->result, &err);
    return NULL;
}

static void live_start(struct live *live, const struct machine_config *config)
{
    struct error err = {""};

    *live = (struct live){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    ck_assert_msg(machine_create(config, &live->machine, &err) == 0, "%s", err.text);
    machine_set_console_output(live->machine, on_output, live);
    ck_assert_int_eq(pthread_create(&live->thread, NULL, live_main, live), 0);
}

static void live_wait(struct live *live, const char *text)
{
    pthread_mutex_lock(&live->lock);
    while (!strstr(live->output, text))
        pthread_cond_wait(&live->changed, &live->lock);
    pthread_mutex_unlock(&live->lock);
}

/* The byte that the program waits for, and its end. */
static void live_finish(struct live *live)
{
    ck_assert_uint_eq(machine_console_input(live->machine, (const uint8_t *)"x", 1), 1);
    pthread_join(live->thread, NULL);
    machine_destroy(live->machine);
    ck_assert_int_eq(live->rc, 0);
    ck_assert_int_eq(live->result.end, MACHINE_END_POWEROFF);
    ck_assert_msg(live->result.exit_code == 0, "%s", live->output);
}

static void live_config(struct machine_config *config, const struct board *board, const char *to)
{
    base_config(config, board->elf, board->before);
    config->cpus = board->cpus;
    config->clock = MACHINE_CLOCK_HOST;
    config->serial = MACHINE_SERIAL_STDIO;
    config->snapshots.file = to;
}

/* Restores, runs to the end; what it said. */
static void live_restore(struct live *live, const char *path, const char *name, enum tiers tiers)
{
    struct machine_restore *restore;
    struct machine_config config = {0};
    struct error err = {""};

    machine_config_default(&config);
    set_tiers(&config, tiers);
    config.serial = MACHINE_SERIAL_STDIO;
    ck_assert_msg(machine_restore_open(path, name, MACHINE_RESTORE_CONTINUE, &restore, &err) == 0, "%s", err.text);
    ck_assert_msg(machine_restore_config(restore, &config, &err) == 0, "%s", err.text);
    live_start(live, &config);
    live_finish(live);
    machine_restore_close(restore);
}

/* What the guest touched when it went on: pages of its RAM, each once. KVM tells nothing of that. */
static void expect_touches(const char *path, const char *name, bool any)
{
    struct snapshot_store *store = NULL;
    struct snapshot_section *section;
    struct snapshot_info info;
    bool seen[MEMORY_PAGES] = {false};
    struct error err = {""};

    ck_assert_msg(snapshot_open(path, SNAPSHOT_READ, &store, &err) == 0, "%s", err.text);
    ck_assert_int_eq(snapshot_find(store, name, &info, NULL), 0);
    ck_assert_int_eq(snapshot_read_section(store, info.id, "first-touched", 0, &section, NULL), any ? 0 : -ENOENT);
    if (any) {
        const struct snapshot_field *pages = snapshot_section_field(section, "pages");
        ck_assert_ptr_nonnull(pages);
        ck_assert_uint_eq(pages->element_bytes, 4);
        ck_assert_uint_gt(pages->count, 0);
        for (uint32_t i = 0; i < pages->count; i++) {
            uint32_t page;
            memcpy(&page, pages->value + 4 * i, sizeof(page));
            ck_assert_uint_lt(page, MEMORY_PAGES);
            ck_assert(!seen[page]);
            seen[page] = true;
        }
    }
    snapshot_section_free(section);
    snapshot_close(store);
}

START_TEST(a_restored_guest_reports_the_same_at_its_end)
{
    static const char until[] = "filled\n";
    const struct board *board = &boards[_i];
    struct machine_config config = {0};
    struct machine_snapshot_result first, second;
    struct live whole, live;
    struct error err = {""};
    char path[128];

    live_config(&config, board, NULL);
    live_start(&whole, &config);
    live_finish(&whole);
    ck_assert_ptr_nonnull(strstr(whole.output, "end: passed"));

    live_config(&config, board, file("vm.snap", path));
    live_start(&live, &config);
    live_wait(&live, until);
    ck_assert_msg(machine_snapshot(live.machine, "first", &first, &err) == 0, "%s", err.text);
    ck_assert_msg(machine_snapshot(live.machine, "second", &second, &err) == 0, "%s", err.text);
    live_finish(&live);
    ck_assert_str_eq(live.output, whole.output);
    /* The program has filled 1024 pages, and writes to some ten after that. */
    ck_assert_str_eq(second.parent, "first");
    ck_assert_uint_ge(first.new_pages, 1024);
    ck_assert_uint_lt(second.new_pages, 64);
    expect_touches(path, "first", _i < BOARDS_RISCV);
    expect_touches(path, "second", _i < BOARDS_RISCV);

    live_restore(&live, path, "first", board->after);
    ck_assert_str_eq(live.output, strstr(whole.output, until) + strlen(until));
    live_restore(&live, path, "second", board->after);
    ck_assert_str_eq(live.output, strstr(whole.output, until) + strlen(until));
}
END_TEST

/* What a snapshot of a PC needs that another machine does not is asked for by name. */
START_TEST(a_pc_is_not_restored_without_kvm_or_to_another_time)
{
    struct machine_restore *restore;
    struct machine_config config = {0};
    struct machine *machine;
    struct live live;
    struct error err = {""};
    char path[128];

    live_config(&config, &boards[BOARDS_RISCV], file("vm.snap", path));
    live_start(&live, &config);
    live_wait(&live, "filled\n");
    ck_assert_msg(machine_snapshot(live.machine, "one", NULL, &err) == 0, "%s", err.text);
    live_finish(&live);

    memset(&config, 0, sizeof(config));
    machine_config_default(&config);
    config.serial = MACHINE_SERIAL_NULL;
    config.accel = MACHINE_ACCEL_TIERS;
    ck_assert_int_eq(machine_restore_open(path, NULL, MACHINE_RESTORE_HOST_TIME, &restore, &err), 0);
    ck_assert_int_eq(machine_restore_config(restore, &config, &err), 0);
    ck_assert_int_eq(machine_create(&config, &machine, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.text, "only KVM runs it") != NULL, "%s", err.text);
    config.accel = MACHINE_ACCEL_KVM;
    ck_assert_int_eq(machine_create(&config, &machine, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.text, "--time=host") != NULL, "%s", err.text);
    machine_restore_close(restore);
}
END_TEST

/* The tests of a PC. 77: KVM is not usable. */
static int run_pc(void)
{
    enum { SKIPPED = 77 };
    struct error reason;

    if (accel_probe(VCPU_GUEST_X86_64, 1, &reason)) {
        printf("skipped: %s\n", reason.text);
        return SKIPPED;
    }
    Suite *suite = suite_create("snapshot_machine_pc");
    TCase *guest = tcase_create("guest");
    tcase_add_checked_fixture(guest, set_up, tear_down);
    tcase_set_timeout(guest, 120);
    tcase_add_loop_test(guest, a_restored_guest_reports_the_same_at_its_end, BOARDS_RISCV, BOARDS_ALL);
    tcase_add_test(guest, a_pc_is_not_restored_without_kvm_or_to_another_time);
    suite_add_tcase(suite, guest);
    return run_suite(suite);
}

/* ---- disks that are written ---- */

enum { DISK_BYTES = 64 << 10, DISK_AT = 3000000 };

/* A guest that finds on its disk what its memory says was written there, and is content only then. */
static void disk_config(struct machine_config *config, const char *image)
{
    base_config(config, DISK_ELF, INTERP);
    config->virtio = MACHINE_VIRTIO_MMIO;
    config->disk_count = 1;
    config->disks[0] = (struct machine_disk){.path = image};
}

static void create_image(const char *path, enum block_format format)
{
    const struct node_create create = {.format = format, .size_bytes = DISK_BYTES, .cluster_bytes = 4096};
    struct error err = {""};

    ck_assert_msg(node_create(path, &create, &err) == 0, "%s", err.text);
}

static void expect_content(const struct machine_config *config)
{
    struct machine_result result;
    struct machine *machine;
    struct error err = {""};

    ck_assert_msg(machine_create(config, &machine, &err) == 0, "%s", err.text);
    ck_assert_msg(machine_run(machine, &result, &err) == 0, "%s", err.text);
    machine_destroy(machine);
    ck_assert_int_eq(result.end, MACHINE_END_POWEROFF);
    ck_assert_uint_eq(result.exit_code, 0);
}

static void read_disk(const char *path, const char *at, uint8_t *bytes)
{
    const struct node_options options = {.at = at};
    struct block_node *node;
    struct node_check found;
    struct error err = {""};

    ck_assert_msg(node_open(path, &options, &node, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(node_size(node), DISK_BYTES);
    ck_assert_int_eq(node_read(node, bytes, DISK_BYTES, 0), 0);
    if (!at) {
        ck_assert_msg(node_check(node, false, stderr, &found, &err) == 0, "%s", err.text);
        ck_assert_uint_eq(found.corruptions + found.leaks, 0);
    }
    ck_assert_int_eq(node_close(node), 0);
}

/* Opens the newest snapshot for a machine with this disk; returns what machine_create() or the configuration says. */
static int try_restore(const char *snap, const struct machine_disk *disk, bool to_the_end, struct error *err)
{
    struct machine_restore *restore;
    struct machine_config config = {0};
    struct machine *machine = NULL;
    int rc;

    machine_config_default(&config);
    set_tiers(&config, INTERP);
    config.serial = MACHINE_SERIAL_NULL;
    config.disk_count = disk != NULL;
    if (disk)
        config.disks[0] = *disk;
    ck_assert_msg(machine_restore_open(snap, NULL, MACHINE_RESTORE_CONTINUE, &restore, err) == 0, "%s", err->text);
    rc = machine_restore_config(restore, &config, err);
    if (rc == 0 && to_the_end)
        expect_content(&config);
    else if (rc == 0)
        rc = machine_create(&config, &machine, err);
    machine_destroy(machine);
    machine_restore_close(restore);
    return rc;
}

static void note_internal(void *opaque, const char *name, const char *value)
{
    if (strcmp(name, "disk0.internal-snapshot") == 0)
        (void)snprintf(opaque, 128, "%s", value);
}

START_TEST(a_disk_that_is_written_is_restored_as_it_was)
{
    static uint8_t first[DISK_BYTES], then[DISK_BYTES], now[DISK_BYTES];
    struct machine_config config = {0};
    struct snapshot_info info;
    struct snapshot_store *store;
    struct block_node *node;
    struct error err = {""};
    char image[128], snap[128], internal[128] = "";

    create_image(file("disk.qcow2", image), BLOCK_FORMAT_QCOW2);
    disk_config(&config, image);
    config.snapshots = (struct machine_snapshot_config){.file = file("vm.snap", snap), .at_insns = DISK_AT};
    expect_content(&config);
    store = open_newest("vm.snap", &info);
    ck_assert_int_eq(snapshot_settings(store, info.id, note_internal, internal, &err), 0);
    snapshot_close(store);
    ck_assert_msg(strncmp(internal, "tuff-insns-3000000-", 19) == 0, "'%s'", internal);

    /* The guest went on after the snapshot. */
    read_disk(image, NULL, first);
    read_disk(image, internal, then);
    ck_assert_int_ne(memcmp(first, then, DISK_BYTES), 0);

    /* Twice, as what the restored one writes is thrown away. */
    const struct machine_disk again = {.path = image, .snapshot = true};
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(try_restore(snap, &again, true, &err) == 0, "%s", err.text);
        read_disk(image, NULL, now);
        ck_assert_mem_eq(now, first, DISK_BYTES);
        read_disk(image, internal, now);
        ck_assert_mem_eq(now, then, DISK_BYTES);
    }

    /* Nobody's image is opened unasked, and none is written. */
    ck_assert_int_eq(try_restore(snap, NULL, false, &err), -EINVAL);
    ck_assert_int_eq(try_restore(snap, &(struct machine_disk){.path = image}, false, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "disk.qcow2,snapshot"));
    ck_assert_int_eq(try_restore(snap, &(struct machine_disk){.path = image, .read_only = true}, false, &err), -EINVAL);

    /* A snapshot that is gone is missed by its name. */
    const struct node_options writable = {.writable = true};
    ck_assert_int_eq(node_open(image, &writable, &node, &err), 0);
    ck_assert_int_eq(node_snapshot_delete(node, internal, &err), 0);
    ck_assert_int_eq(node_close(node), 0);
    ck_assert_int_eq(try_restore(snap, &again, false, &err), -ENOENT);
    ck_assert_msg(strstr(err.text, internal) && strstr(err.text, "no internal snapshot"), "%s", err.text);
}
END_TEST

static bool has_internal(const char *image, const char *name)
{
    const struct node_options options = {.at = name};
    struct block_node *node;
    struct error err = {""};
    int rc = node_open(image, &options, &node, &err);

    ck_assert_int_eq(rc == 0 || rc == -ENOENT, true);
    return rc == 0 && node_close(node) == 0;
}

/* Saves a machine with a disk; returns the name of the disk's internal snapshot. */
static const char *save_with_disk(const char *image, const char *snap, char internal[128])
{
    struct machine_config config = {0};
    struct snapshot_store *store;
    struct snapshot_info info;
    struct error err = {""};

    disk_config(&config, image);
    config.snapshots = (struct machine_snapshot_config){.file = snap, .at_insns = DISK_AT};
    expect_content(&config);
    store = open_newest("vm.snap", &info);
    ck_assert_int_eq(snapshot_settings(store, info.id, note_internal, internal, &err), 0);
    snapshot_close(store);
    ck_assert(has_internal(image, internal));
    return internal;
}

/* A name in the file that could be anybody's. */
static void set_internal(const char *snap, const char *name)
{
    sqlite3 *db;
    char *sql = sqlite3_mprintf("UPDATE settings SET value = %Q WHERE name LIKE '%%.internal-snapshot'", name);

    ck_assert_int_eq(sqlite3_open(snap, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    sqlite3_free(sql);
}

START_TEST(deleting_a_snapshot_takes_along_what_its_disk_has)
{
    const struct node_options writable = {.writable = true};
    static uint8_t now[DISK_BYTES];
    struct block_node *node;
    struct error err = {""};
    char image[128], snap[128], internal[128] = "";

    create_image(file("disk.qcow2", image), BLOCK_FORMAT_QCOW2);
    save_with_disk(image, file("vm.snap", snap), internal);
    ck_assert_msg(machine_snapshot_delete(snap, "insns-3000000", true, &err) == 0, "%s", err.text);
    ck_assert(!has_internal(image, internal));
    read_disk(image, NULL, now); /* sound, and nothing is leaked */
    ck_assert_int_eq(machine_snapshot_delete(snap, "insns-3000000", true, &err), -ENOENT);

    /* Where it is to stay, and where somebody has the image. */
    save_with_disk(image, snap, internal);
    ck_assert_msg(machine_snapshot_delete(snap, "insns-3000000", false, &err) == 0, "%s", err.text);
    ck_assert(has_internal(image, internal));
    save_with_disk(image, snap, internal);
    ck_assert_int_eq(node_open(image, &writable, &node, &err), 0);
    ck_assert_msg(machine_snapshot_delete(snap, "insns-3000000", true, &err) == 0, "%s", err.text);
    ck_assert_int_eq(node_close(node), 0);
    ck_assert(has_internal(image, internal));

    /* A file that names what was not made for its snapshot deletes nothing. */
    save_with_disk(image, snap, internal);
    ck_assert_int_eq(node_open(image, &writable, &node, &err), 0);
    ck_assert_int_eq(node_snapshot_create(node, "mine", &err), 0);
    ck_assert_int_eq(node_close(node), 0);
    set_internal(snap, "mine");
    ck_assert_msg(machine_snapshot_delete(snap, "insns-3000000", true, &err) == 0, "%s", err.text);
    ck_assert(has_internal(image, "mine"));
}
END_TEST

static void count_snapshot(void *opaque, const struct snapshot_info *info)
{
    ++*(unsigned *)opaque;
}

static void count_event(void *opaque, const struct snapshot_event *event)
{
    *(unsigned *)opaque += strcmp(event->kind, "snapshot") == 0;
}

static unsigned count_internal(const char *path)
{
    const struct node_options options = {0};
    struct block_node *node;
    struct error err = {""};
    unsigned count = 0;
    size_t size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(node_open(path, &options, &node, &err), 0);
    node_info(node, out);
    ck_assert_int_eq(node_close(node), 0);
    ck_assert_int_eq(fclose(out), 0);
    for (const char *at = strstr(text, "tuff-auto-"); at; at = strstr(at + 1, "tuff-auto-"))
        count++;
    free(text);
    return count;
}

/* A machine that ends meanwhile leaves one, at most. As often as it takes to be sure. */
START_TEST(disks_keep_no_more_than_the_file_does)
{
    struct machine_config config = {0};
    unsigned taken = 0, stored = 0, runs = 0;
    struct snapshot_info info;
    struct snapshot_store *store;
    struct error err = {""};
    char image[128], snap[128];

    create_image(file("disk.qcow2", image), BLOCK_FORMAT_QCOW2);
    disk_config(&config, image);
    config.snapshots = (struct machine_snapshot_config){.file = file("vm.snap", snap), .every_ns = 50000000, .keep = 1};
    do {
        expect_content(&config);
        store = open_newest("vm.snap", &info);
        taken = stored = 0;
        ck_assert_int_eq(snapshot_events(store, count_event, &taken, &err), 0);
        ck_assert_int_eq(snapshot_each(store, count_snapshot, &stored, &err), 0);
        snapshot_close(store);
        ck_assert_uint_lt(++runs, 50);
    } while (taken < stored + runs + 2);
    ck_assert_uint_ge(count_internal(image), 1);
    ck_assert_uint_le(count_internal(image), stored + runs);
}
END_TEST

/* What cannot be restored is not saved, and says why; the machine runs on. */
START_TEST(disks_that_cannot_be_saved_are_refused)
{
    struct machine_snapshot_result result;
    struct machine_config config = {0};
    struct machine *machine;
    struct error err = {""};
    char image[128], snap[128];

    create_image(file(_i ? "disk.qcow2" : "disk.img", image), _i ? BLOCK_FORMAT_QCOW2 : BLOCK_FORMAT_RAW);
    disk_config(&config, image);
    config.disks[0].snapshot = _i;
    config.snapshots = (struct machine_snapshot_config){.file = file("vm.snap", snap)};
    ck_assert_msg(machine_create(&config, &machine, &err) == 0, "%s", err.text);
    ck_assert_int_eq(machine_snapshot(machine, "one", &result, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.text, _i ? "temporary file" : "raw image") && strstr(err.text, "qcow2"), "%s", err.text);
    machine_destroy(machine);
}
END_TEST

int main(void)
{
    const char *board = getenv("TUFF_TEST_BOARD");

    if (board && strcmp(board, "pc") == 0)
        return run_pc();
    Suite *suite = suite_create("snapshot_machine");
    TCase *state = tcase_create("state");

    tcase_add_checked_fixture(state, set_up, tear_down);
    tcase_set_timeout(state, 120);
    tcase_add_loop_test(state, a_restored_machine_comes_to_the_same_state, 0, (int)TUFF_ARRAY_LEN(moments) * TIERS);
    tcase_add_test(state, a_snapshot_of_a_restored_machine_is_its_child);
    tcase_add_test(state, a_file_of_version_1_goes_on_loading);
    tcase_add_test(state, a_board_that_is_not_known_is_refused_by_name);
    tcase_add_loop_test(state, a_restored_guest_reports_the_same_at_its_end, 0, BOARDS_RISCV);
    tcase_add_test(state, a_disk_that_is_written_is_restored_as_it_was);
    tcase_add_test(state, deleting_a_snapshot_takes_along_what_its_disk_has);
    tcase_add_test(state, disks_keep_no_more_than_the_file_does);
    tcase_add_loop_test(state, disks_that_cannot_be_saved_are_refused, 0, 2);
    suite_add_tcase(suite, state);
    return run_suite(suite);
}
