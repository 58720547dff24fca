/* The snapshot file: what comes back, what is kept once, what becomes of children, and what is said of a file that is
 * damaged, foreign, newer, read-only, on a full disk, or whose writer was killed. */
#include "run_suite.h"
#include "snapshot/snapshot_internal.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 3 * SNAPSHOT_CHUNK_PAGES + 17 };

static char folder[64], path[96];

static void set_up(void)
{
    strcpy(folder, "/tmp/tuff-test-snapshot.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/vm.snap", folder);
}

static void tear_down(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0); // NOLINT(cert-env33-c): a name of our own
}

static struct snapshot_store *must_open(enum snapshot_mode mode)
{
    struct snapshot_store *store = NULL;
    struct error err = {""};
    int rc = snapshot_open(path, mode, &store, &err);

    ck_assert_msg(rc == 0, "%s", err.text);
    return store;
}

/* A page that follows from a number; half of it packs well. Number 0 is zeroes. */
static void fill(uint8_t *bytes, uint64_t number)
{
    uint64_t x = number * 0x9e3779b97f4a7c15ull;

    memset(bytes, 0, SNAPSHOT_PAGE_BYTES);
    for (size_t i = 0; i < SNAPSHOT_PAGE_BYTES / 2 && number; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (uint8_t)x;
    }
}

/* A memory of numbers, one a page. */
struct model {
    uint64_t numbers[PAGES];
};

static void scramble(struct model *model, unsigned seed, unsigned every)
{
    for (unsigned i = seed % every; i < PAGES; i += every)
        model->numbers[i] = i % 7 == 0 ? 0 : i % 5 == 0 ? 1000 : (uint64_t)seed * PAGES + i;
}

/* Pages that differ from `before` (NULL: all). */
static void save(struct snapshot_store *store, const char *name, const char *parent, const struct model *model,
                 const struct model *before)
{
    struct snapshot_write_config config = {.name = name, .version = "test", .memory_pages = {PAGES}};
    struct snapshot_field fields[] = {{"answer", 8, 1, (const uint8_t *)"\x2a\0\0\0\0\0\0\0"},
                                      {"bytes", 1, 5, (const uint8_t *)"hello"}};
    struct snapshot_moment moment = {.created_ns = 5, .instructions = 1234567, .pause_us = 3};
    struct snapshot_writer *w;
    struct snapshot_info info;
    struct error err = {""};
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];

    if (parent) {
        ck_assert_int_eq(snapshot_find(store, parent, &info, &err), 0);
        config.parent = info.id;
    }
    ck_assert_msg(snapshot_write_begin(store, &config, &w, &err) == 0, "%s", err.text);
    for (unsigned i = 0; i < PAGES; i++) {
        if (before && before->numbers[i] == model->numbers[i])
            continue;
        fill(bytes, model->numbers[i]);
        snapshot_write_page(w, 0, i, bytes, i % 3 != 0);
    }
    ck_assert_int_eq(snapshot_write_setting(w, "memory", "1G", &err), 0);
    ck_assert_int_eq(snapshot_write_section(w, "thing", 3, 2, fields, TUFF_ARRAY_LEN(fields), &err), 0);
    ck_assert_msg(snapshot_write_commit(w, &moment, &info, &err) == 0, "%s", err.text);
    ck_assert_str_eq(info.name, name);
    ck_assert_uint_eq(info.instructions, moment.instructions);
}

static void expect(struct snapshot_store *store, const char *name, const struct model *model)
{
    static uint32_t map[PAGES];
    uint8_t bytes[SNAPSHOT_PAGE_BYTES], wanted[SNAPSHOT_PAGE_BYTES];
    struct snapshot_info info;
    struct error err = {""};

    ck_assert_msg(snapshot_find(store, name, &info, &err) == 0, "%s", err.text);
    ck_assert_msg(snapshot_check_sections(store, &info, &err) == 0, "%s", err.text);
    memset(map, 0, sizeof(map));
    ck_assert_msg(snapshot_read_map(store, info.id, 0, map, PAGES, &err) == 0, "%s", err.text);
    for (unsigned i = 0; i < PAGES; i++) {
        fill(wanted, model->numbers[i]);
        ck_assert_msg(snapshot_read_page(store, map[i], bytes, &err) == 0, "%s", err.text);
        ck_assert_msg(memcmp(bytes, wanted, sizeof(bytes)) == 0, "page %u of %s", i, name);
        ck_assert_msg(model->numbers[i] != 0 || map[i] == 0, "page %u of %s is kept though it is zero", i, name);
    }
}

static uint64_t pages_kept(struct snapshot_store *store)
{
    struct snapshot_sizes sizes;

    ck_assert_int_eq(snapshot_sizes(store, &sizes, NULL), 0);
    return sizes.pages;
}

static uint64_t different_pages(const struct model *const *models, unsigned count)
{
    uint64_t different = 0;

    for (unsigned m = 0; m < count; m++) {
        for (unsigned i = 0; i < PAGES; i++) {
            bool is_new = models[m]->numbers[i] != 0;
            for (unsigned n = 0; n <= m && is_new; n++) {
                for (unsigned j = 0; j < (n == m ? i : PAGES) && is_new; j++)
                    is_new = models[n]->numbers[j] != models[m]->numbers[i];
            }
            different += is_new;
        }
    }
    return different;
}

static void sql(const char *text)
{
    sqlite3 *db;
    char *why = NULL;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, text, NULL, NULL, &why) == SQLITE_OK, "%s: %s", text, why);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static void expect_refusal(int expected, const char *what)
{
    struct snapshot_store *store = NULL;
    struct error err = {""};
    int rc = snapshot_open(path, SNAPSHOT_READ, &store, &err);

    ck_assert_msg(rc == expected, "%d: %s", rc, err.text);
    ck_assert_msg(strstr(err.text, what) && strstr(err.text, path), "%s", err.text);
}

/* ---- content ---- */

START_TEST(what_was_saved_comes_back)
{
    static struct model model;
    struct snapshot_section *section;
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    struct snapshot_info info;
    char *value;

    scramble(&model, 1, 1);
    save(store, "one", NULL, &model, NULL);
    snapshot_close(store);
    store = must_open(SNAPSHOT_READ);
    expect(store, "one", &model);
    ck_assert_int_eq(snapshot_find(store, NULL, &info, NULL), 0);
    ck_assert_str_eq(info.name, "one");
    ck_assert_int_eq(snapshot_setting(store, info.id, "memory", &value, NULL), 0);
    ck_assert_str_eq(value, "1G");
    free(value);
    ck_assert_int_eq(snapshot_setting(store, info.id, "nothing", &value, NULL), 0);
    ck_assert_ptr_null(value);
    ck_assert_int_eq(snapshot_read_section(store, info.id, "thing", 3, &section, NULL), 0);
    ck_assert_uint_eq(section->version, 2);
    ck_assert_uint_eq(section->field_count, 2);
    ck_assert_mem_eq(snapshot_section_field(section, "bytes")->value, "hello", 5);
    ck_assert_uint_eq(snapshot_section_field(section, "answer")->value[0], 42);
    ck_assert_ptr_null(snapshot_section_field(section, "question"));
    snapshot_section_free(section);
    ck_assert_int_eq(snapshot_read_section(store, info.id, "thing", 4, &section, NULL), -ENOENT);
    snapshot_close(store);
}
END_TEST

START_TEST(equal_pages_are_kept_once)
{
    static struct model one, two;
    const struct model *const both[] = {&one, &two};
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);

    scramble(&one, 1, 1);
    two = one;
    scramble(&two, 2, 9);
    save(store, "one", NULL, &one, NULL);
    ck_assert_uint_eq(pages_kept(store), different_pages(both, 1));
    /* Without a parent: nothing but the contents says that they are the same. */
    save(store, "two", NULL, &two, NULL);
    ck_assert_uint_eq(pages_kept(store), different_pages(both, 2));
    expect(store, "one", &one);
    expect(store, "two", &two);
    snapshot_close(store);
}
END_TEST

START_TEST(a_page_given_twice_has_its_last_content_and_leaves_nothing_behind)
{
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    struct snapshot_write_config config = {.name = "one", .memory_pages = {PAGES}};
    struct snapshot_moment moment = {.created_ns = 1};
    static struct model model;
    struct snapshot_writer *w;
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];

    ck_assert_int_eq(snapshot_write_begin(store, &config, &w, NULL), 0);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 100; i++) {
            model.numbers[i] = round * 1000 + i;
            fill(bytes, model.numbers[i]);
            snapshot_write_page(w, 0, i, bytes, true);
        }
        ck_assert_int_eq(snapshot_write_sync(w, NULL), 0);
    }
    ck_assert_int_eq(snapshot_write_commit(w, &moment, NULL, NULL), 0);
    expect(store, "one", &model);
    ck_assert_uint_eq(pages_kept(store), 100);
    snapshot_close(store);
}
END_TEST

START_TEST(children_stay_whole_when_any_snapshot_goes)
{
    static const char *const names[] = {"s0", "s1", "s2", "s3"};
    static struct model models[4];
    const struct model *const left[] = {&models[3]};

    for (unsigned order = 0; order < 3; order++) {
        struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
        bool is_there[4] = {true, true, true, true};
        for (unsigned i = 0; i < 4; i++) {
            models[i] = i ? models[i - 1] : (struct model){{0}};
            scramble(&models[i], 10 * order + i + 1, i ? 11 : 1);
            if (i == 2) /* a whole chunk becomes zero */
                memset(models[i].numbers, 0, SNAPSHOT_CHUNK_PAGES * sizeof(models[i].numbers[0]));
            save(store, names[i], i ? names[i - 1] : NULL, &models[i], i ? &models[i - 1] : NULL);
        }
        for (unsigned n = 0; n < 3; n++) {
            unsigned gone = (order + n) % 3;
            ck_assert_int_eq(snapshot_delete(store, names[gone], NULL), 0);
            is_there[gone] = false;
            for (unsigned i = 0; i < 4; i++) {
                if (is_there[i])
                    expect(store, names[i], &models[i]);
            }
        }
        ck_assert_uint_eq(pages_kept(store), different_pages(left, 1));
        ck_assert_int_eq(snapshot_delete(store, "s3", NULL), 0);
        ck_assert_uint_eq(pages_kept(store), 0);
        ck_assert_int_eq(snapshot_delete(store, "s3", NULL), -ENOENT);
        snapshot_close(store);
    }
}
END_TEST

static void count_line(void *opaque, const char *line)
{
    ++*(unsigned *)opaque;
}

static uint64_t bad_things(void)
{
    struct snapshot_store *store = must_open(SNAPSHOT_READ);
    struct snapshot_verify result;
    struct error err = {""};
    unsigned lines = 0;

    ck_assert_msg(snapshot_verify(store, count_line, &lines, &result, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(lines, result.bad);
    snapshot_close(store);
    return result.bad;
}

START_TEST(compacting_makes_the_file_smaller_and_exporting_takes_one_snapshot_along)
{
    static struct model one, two;
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE), *other;
    uint64_t before, after;
    char name[128];
    struct error err = {""};

    scramble(&one, 1, 1);
    two = one;
    scramble(&two, 2, 3);
    save(store, "one", NULL, &one, NULL);
    save(store, "two", "one", &two, &one);
    (void)snprintf(name, sizeof(name), "%s/other.snap", folder);
    ck_assert_msg(snapshot_export(store, "two", name, &err) == 0, "%s", err.text);
    ck_assert_int_eq(snapshot_export(store, "two", name, NULL), -EEXIST);
    ck_assert_int_eq(snapshot_delete(store, "two", NULL), 0);
    ck_assert_msg(snapshot_compact(store, &before, &after, &err) == 0, "%s", err.text);
    ck_assert_uint_le(after, before);
    expect(store, "one", &one);
    snapshot_close(store);
    ck_assert_uint_eq(bad_things(), 0);
    ck_assert_int_eq(snapshot_open(name, SNAPSHOT_READ, &other, NULL), 0);
    expect(other, "two", &two);
    ck_assert_int_eq(snapshot_find(other, "one", &(struct snapshot_info){0}, NULL), -ENOENT);
    snapshot_close(other);
}
END_TEST

static void note_setting(void *opaque, const char *name, const char *value)
{
    char *text = opaque;

    (void)snprintf(text + strlen(text), 256 - strlen(text), "%s=%s ", name, value);
}

START_TEST(events_give_the_configuration_of_each_moment)
{
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    const struct snapshot_setting first[] = {{"cpus", "2"}, {"disk0", "a.img"}}, second[] = {{"disk0", "b.img"}},
                                  third[] = {{"cpus", NULL}};
    const struct snapshot_event event = {.time_ns = 7, .kind = "created", .detail = ""};
    char text[256] = "";

    ck_assert_int_eq(snapshot_event_add(store, &event, first, 2, NULL), 0);
    ck_assert_int_eq(snapshot_event_add(store, &event, second, 1, NULL), 0);
    ck_assert_int_eq(snapshot_event_add(store, &event, third, 1, NULL), 0);
    ck_assert_int_eq(snapshot_events_replay(store, 1, note_setting, text, NULL), 0);
    ck_assert_str_eq(text, "cpus=2 disk0=a.img ");
    text[0] = '\0';
    ck_assert_int_eq(snapshot_events_replay(store, 2, note_setting, text, NULL), 0);
    ck_assert_str_eq(text, "cpus=2 disk0=b.img ");
    text[0] = '\0';
    ck_assert_int_eq(snapshot_events_replay(store, 0, note_setting, text, NULL), 0);
    ck_assert_str_eq(text, "disk0=b.img ");
    snapshot_close(store);
}
END_TEST

START_TEST(names_are_plain_and_there_once)
{
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    struct snapshot_write_config config = {.name = "one"};
    struct snapshot_writer *w;
    static struct model model;

    save(store, "one", NULL, &model, NULL);
    ck_assert_int_eq(snapshot_write_begin(store, &config, &w, NULL), -EEXIST);
    config.name = "../one";
    ck_assert_int_eq(snapshot_write_begin(store, &config, &w, NULL), -EINVAL);
    config.name = "";
    ck_assert_int_eq(snapshot_write_begin(store, &config, &w, NULL), -EINVAL);
    snapshot_close(store);
}
END_TEST

/* ---- files that are not right ---- */

START_TEST(a_missing_file_and_something_else_are_refused_by_name)
{
    expect_refusal(-ENOENT, "No such file");
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs("this is not a database, however long it may be, and it was never meant to be one at all, "
                           "so that nobody should take it for one",
                           file),
                     0);
    ck_assert_int_eq(fclose(file), 0);
    expect_refusal(-EBADMSG, "not a snapshot file");
}
END_TEST

START_TEST(a_newer_version_and_a_foreign_schema_are_refused)
{
    snapshot_close(must_open(SNAPSHOT_CREATE));
    sql("PRAGMA user_version = 99");
    expect_refusal(-ENOTSUP, "newer program");
    sql("PRAGMA user_version = 1; CREATE VIEW more AS SELECT 1");
    expect_refusal(-EBADMSG, "not a snapshot file");
}
END_TEST

START_TEST(the_schema_is_known_by_its_digest)
{
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    char digest[SCHEMA_DIGEST_CHARS + 1];

    ck_assert_int_eq(schema_digest(store->db, digest), SQLITE_OK);
    ck_assert_str_eq(snapshot_schema.digest, digest);
    snapshot_close(store);
}
END_TEST

static int read_all(const char *name, struct error *err)
{
    static uint32_t map[PAGES];
    struct snapshot_store *store = must_open(SNAPSHOT_READ);
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];
    struct snapshot_info info;
    int rc = snapshot_find(store, name, &info, err);

    *err = (struct error){""};
    if (rc == 0)
        rc = snapshot_check_sections(store, &info, err);
    memset(map, 0, sizeof(map));
    if (rc == 0)
        rc = snapshot_read_map(store, info.id, 0, map, PAGES, err);
    for (unsigned i = 0; i < PAGES && rc == 0; i++)
        rc = snapshot_read_page(store, map[i], bytes, err);
    snapshot_close(store);
    return rc;
}

/* What is done to a file, and what is said of it. */
static const struct {
    const char *text, *said;
} damages[] = {
    {"UPDATE pages SET data = zeroblob(100) WHERE id = 7", "page 7 does not hold"},
    {"UPDATE pages SET data = (SELECT data FROM pages WHERE id = 8) WHERE id = 7", "page 7 does not hold"},
    {"UPDATE pages SET data = zeroblob(10000) WHERE id = 7", "page 7 does not hold"},
    {"DELETE FROM pages WHERE id = 7", "page 7 is missing"},
    {"UPDATE maps SET map = zeroblob(2048) WHERE chunk = 1", "a map of memory 0"},
    {"UPDATE maps SET map = zeroblob(2047) WHERE chunk = 1", "a map of memory 0"},
    {"UPDATE maps SET chunk = 1000000 WHERE chunk = 3", "a map of memory 0"},
    {"UPDATE maps SET chunk = -1 WHERE chunk = 3", "a map of memory 0"},
    {"UPDATE settings SET value = '2G'", "settings or sections"},
    {"UPDATE sections SET version = 1", "settings or sections"},
    {"UPDATE fields SET value = x'2b00000000000000' WHERE name = 'answer'", "settings or sections"},
    {"DELETE FROM fields", "settings or sections"},
    {"PRAGMA foreign_keys = OFF; UPDATE snapshots SET parent = -5", "parent with number -5 is missing"},
    {"UPDATE snapshots SET parent = 1", "each other's parents"},
};

START_TEST(damage_is_named)
{
    static struct model model;
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    struct error err = {""};

    scramble(&model, 1, 1);
    save(store, "one", NULL, &model, NULL);
    snapshot_close(store);
    ck_assert_uint_eq(bad_things(), 0);
    sql(damages[_i].text);
    int rc = read_all("one", &err);
    ck_assert_msg(rc == -EBADMSG && strstr(err.text, damages[_i].said), "%s: %d %s", damages[_i].text, rc, err.text);
    ck_assert_msg(bad_things() > 0, "%s: verify sees nothing", damages[_i].text);
}
END_TEST

START_TEST(a_field_that_contradicts_itself_is_refused)
{
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    struct snapshot_section *section;
    static struct model model;
    struct error err = {""};

    save(store, "one", NULL, &model, NULL);
    snapshot_close(store);
    sql("UPDATE fields SET count = 6 WHERE name = 'bytes'");
    store = must_open(SNAPSHOT_READ);
    ck_assert_int_eq(snapshot_read_section(store, 1, "thing", 3, &section, &err), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(err.text, "field"));
    ck_assert_ptr_null(section);
    snapshot_close(store);
}
END_TEST

/* ---- faults ---- */

START_TEST(an_aborted_snapshot_leaves_nothing)
{
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    struct snapshot_write_config config = {.name = "one", .memory_pages = {PAGES}};
    struct snapshot_writer *w;
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];
    static struct model model;

    ck_assert_int_eq(snapshot_write_begin(store, &config, &w, NULL), 0);
    fill(bytes, 1);
    snapshot_write_page(w, 0, 1, bytes, true);
    snapshot_write_abort(w);
    ck_assert_int_eq(snapshot_find(store, "one", &(struct snapshot_info){0}, NULL), -ENOENT);
    ck_assert_uint_eq(pages_kept(store), 0);
    save(store, "one", NULL, &model, NULL);
    snapshot_close(store);
}
END_TEST

/* Where it may be mounted, the file is on a file system of one MiB. */
START_TEST(a_full_disk_is_said_and_harms_nothing)
{
    struct snapshot_write_config config = {.name = "two", .memory_pages = {PAGES}};
    struct snapshot_moment moment = {.created_ns = 1};
    struct snapshot_store *store;
    struct snapshot_writer *w;
    static struct model small, large;
    struct error err = {""};
    uint8_t bytes[SNAPSHOT_PAGE_BYTES];

    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", folder, "tmpfs", 0, "size=1m")) {
        (void)fprintf(stderr, "no file system of one MiB: mounting is not permitted\n");
        return;
    }
    store = must_open(SNAPSHOT_CREATE);
    scramble(&small, 1, 40);
    save(store, "one", NULL, &small, NULL);
    scramble(&large, 2, 1);
    ck_assert_int_eq(snapshot_write_begin(store, &config, &w, NULL), 0);
    for (unsigned i = 0; i < PAGES; i++) {
        fill(bytes, large.numbers[i]);
        snapshot_write_page(w, 0, i, bytes, true);
    }
    ck_assert_int_eq(snapshot_write_commit(w, &moment, NULL, &err), -ENOSPC);
    ck_assert_msg(strstr(err.text, "full") && strstr(err.text, path), "%s", err.text);
    expect(store, "one", &small);
    ck_assert_int_eq(snapshot_find(store, "two", &(struct snapshot_info){0}, NULL), -ENOENT);
    snapshot_close(store);
    ck_assert_int_eq(umount(folder), 0);
}
END_TEST

START_TEST(what_may_only_be_read_is_read)
{
    enum { NOBODY = 65534 };
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    static struct model model;
    struct error err = {""};

    scramble(&model, 1, 1);
    save(store, "one", NULL, &model, NULL);
    snapshot_close(store);
    ck_assert_int_eq(chmod(path, 0444), 0);
    ck_assert_int_eq(chmod(folder, 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setgid(NOBODY) || setuid(NOBODY)))
            _exit(3);
        store = must_open(SNAPSHOT_READ);
        expect(store, "one", &model);
        snapshot_close(store);
        int rc = snapshot_open(path, SNAPSHOT_WRITE, &store, &err);
        _exit(rc == -EACCES && strstr(err.text, path) ? 0 : 2);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(chmod(folder, 0755), 0);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}
END_TEST

START_TEST(two_writers_do_not_mix)
{
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    struct snapshot_write_config config = {.name = "one", .memory_pages = {PAGES}}, other = {.name = "two"};
    struct snapshot_writer *w, *second;

    ck_assert_int_eq(snapshot_write_begin(store, &config, &w, NULL), 0);
    ck_assert_int_eq(snapshot_write_begin(store, &other, &second, NULL), -EBUSY);
    snapshot_write_abort(w);
    snapshot_close(store);
}
END_TEST

/* Saves until it is killed: each snapshot the child of the one before. */
static void save_for_ever(unsigned seed)
{
    struct snapshot_store *store = must_open(SNAPSHOT_WRITE);
    static struct model model, before;
    char name[32], parent[32] = "first";

    scramble(&before, 1, 1);
    for (unsigned n = 0;; n++) {
        model = before;
        scramble(&model, seed * 1000 + n + 2, 3);
        (void)snprintf(name, sizeof(name), "k%u.%u", seed, n);
        save(store, name, parent, &model, &before);
        strcpy(parent, name);
        before = model;
    }
}

static void check_named(void *opaque, const struct snapshot_info *info)
{
    ++*(unsigned *)opaque;
}

START_TEST(a_writer_that_is_killed_leaves_whole_snapshots)
{
    unsigned rounds = getenv("TUFF_TEST_LONG") ? 200 : 12;
    struct snapshot_store *store = must_open(SNAPSHOT_CREATE);
    static struct model first;

    scramble(&first, 1, 1);
    save(store, "first", NULL, &first, NULL);
    snapshot_close(store);
    for (unsigned round = 0; round < rounds; round++) {
        unsigned count = 0;
        pid_t child = fork();
        if (child == 0)
            save_for_ever(round);
        usleep(3000 + round * 7919 % 60000);
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        store = must_open(SNAPSHOT_WRITE);
        expect(store, "first", &first);
        ck_assert_int_eq(snapshot_each(store, check_named, &count, NULL), 0);
        ck_assert_uint_ge(count, 1);
        snapshot_close(store);
        ck_assert_uint_eq(bad_things(), 0);
        /* Not ever more of them. */
        if (count > 20) {
            sql("PRAGMA foreign_keys = ON; UPDATE snapshots SET parent = NULL; DELETE FROM snapshots WHERE id > 1");
            store = must_open(SNAPSHOT_WRITE);
            ck_assert_int_eq(snapshot_compact(store, &(uint64_t){0}, &(uint64_t){0}, NULL), 0);
            snapshot_close(store);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapshot_store");
    TCase *content = tcase_create("content"), *files = tcase_create("files"), *faults = tcase_create("faults");

    tcase_add_checked_fixture(content, set_up, tear_down);
    tcase_add_test(content, what_was_saved_comes_back);
    tcase_add_test(content, equal_pages_are_kept_once);
    tcase_add_test(content, a_page_given_twice_has_its_last_content_and_leaves_nothing_behind);
    tcase_add_test(content, children_stay_whole_when_any_snapshot_goes);
    tcase_add_test(content, compacting_makes_the_file_smaller_and_exporting_takes_one_snapshot_along);
    tcase_add_test(content, events_give_the_configuration_of_each_moment);
    tcase_add_test(content, names_are_plain_and_there_once);
    suite_add_tcase(suite, content);
    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_add_test(files, a_missing_file_and_something_else_are_refused_by_name);
    tcase_add_test(files, a_newer_version_and_a_foreign_schema_are_refused);
    tcase_add_test(files, the_schema_is_known_by_its_digest);
    tcase_add_loop_test(files, damage_is_named, 0, (int)TUFF_ARRAY_LEN(damages));
    tcase_add_test(files, a_field_that_contradicts_itself_is_refused);
    suite_add_tcase(suite, files);
    tcase_add_checked_fixture(faults, set_up, tear_down);
    tcase_set_timeout(faults, getenv("TUFF_TEST_LONG") ? 1700 : 200);
    tcase_add_test(faults, an_aborted_snapshot_leaves_nothing);
    tcase_add_test(faults, a_full_disk_is_said_and_harms_nothing);
    tcase_add_test(faults, what_may_only_be_read_is_read);
    tcase_add_test(faults, two_writers_do_not_mix);
    tcase_add_test(faults, a_writer_that_is_killed_leaves_whole_snapshots);
    suite_add_tcase(suite, faults);
    return run_suite(suite);
}
