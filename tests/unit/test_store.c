/* The store's file: what comes back, who may have it, what happens when it is damaged, full, locked, or its writer is
 * killed. Whatever happens, a later store_open() finds the file as it was or better. */
#include "run_suite.h"
#include "store/store_internal.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CODE_BYTES = 3000, NOBODY = 65534 };

static char folder[64], path[96];

static void set_up(void)
{
    strcpy(folder, "/tmp/tuff-test-store.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/code.db", folder);
}

static void tear_down(void)
{
    static const char *const files[] = {"code.db",  "code.db-wal",  "code.db-shm",  "code.db-journal",
                                        "other.db", "other.db-wal", "other.db-shm", "link.db"};
    char name[128];

    for (size_t i = 0; i < TUFF_ARRAY_LEN(files); i++) {
        (void)snprintf(name, sizeof(name), "%s/%s", folder, files[i]);
        (void)unlink(name);
    }
    (void)rmdir(folder);
}

static int open_as(const char *file, const char *build, uint64_t limit_bytes, struct store **out, struct error *err)
{
    const struct store_config config = {.path = file, .build = build, .limit_bytes = limit_bytes};

    *err = (struct error){""};
    return store_open(&config, out, err);
}

static struct store *must_open(void)
{
    struct store *store = NULL;
    struct error err;
    int rc = open_as(path, "build", 0, &store, &err);

    /* A run would go on without; a busy machine is no reason for a test to fail. */
    for (unsigned i = 0; i < 100 && rc == -EBUSY; i++)
        rc = open_as(path, "build", 0, &store, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    return store;
}

static void expect_refusal(int expected, const char *what)
{
    struct store *store = NULL;
    struct error err;
    int rc = open_as(path, "build", 0, &store, &err);

    ck_assert_msg(rc == expected, "%d: %s", rc, err.text);
    ck_assert_msg(strstr(err.text, what) && strstr(err.text, path) && !strchr(err.text, '\n'), "%s", err.text);
}

/* Region number N: bytes that follow from it, and do not pack well. */
static void fill(uint8_t *bytes, size_t len, uint32_t number)
{
    uint64_t x = number * 0x9e3779b97f4a7c15ull + 1;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (uint8_t)x;
    }
}

static void put(struct store *store, uint32_t number)
{
    uint8_t shape[64], code[CODE_BYTES];
    struct store_region region = {.shape = shape,
                                  .shape_bytes = sizeof(shape),
                                  .profile = shape,
                                  .profile_bytes = 8,
                                  .code = code,
                                  .code_bytes = sizeof(code),
                                  .level = 1,
                                  .insns = number,
                                  .gva = UINT64_MAX - number,
                                  .compile_us = 1000};

    fill(shape, sizeof(shape), number);
    fill(code, sizeof(code), ~number);
    store_digest(shape, sizeof(shape), region.digest);
    store_put(store, &region);
}

static void digest_of(uint32_t number, uint8_t *digest)
{
    uint8_t shape[64];

    fill(shape, sizeof(shape), number);
    store_digest(shape, sizeof(shape), digest);
}

static int read_code(struct store *store, uint32_t number)
{
    uint8_t digest[STORE_DIGEST_BYTES], expected[CODE_BYTES];
    uint8_t *code;
    size_t len = 0;

    digest_of(number, digest);
    int rc = store_code(store, digest, &code, &len);
    if (rc == 0) {
        fill(expected, sizeof(expected), ~number);
        ck_assert_uint_eq(len, sizeof(expected));
        ck_assert_int_eq(memcmp(code, expected, len), 0);
        free(code);
    }
    return rc;
}

static void count_region(void *opaque, const struct store_region *region)
{
    ck_assert(region->has_code && region->shape_bytes == 64 && region->profile_bytes == 8 && region->level == 1);
    ck_assert_uint_eq(region->gva, UINT64_MAX - region->insns);
    ++*(unsigned *)opaque;
}

static unsigned count(struct store *store)
{
    unsigned regions = 0;

    ck_assert_int_eq(store_each(store, count_region, &regions), 0);
    return regions;
}

static void make_with(uint32_t first, uint32_t end)
{
    struct store *store = must_open();

    for (uint32_t i = first; i < end; i++)
        put(store, i);
    store_close(store);
}

static void execute(const char *file, const char *sql)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static void write_file(const char *file, const void *bytes, size_t len)
{
    int fd = open(file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0);
}

static uint8_t *read_file(size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    ck_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    ck_assert(bytes && read(fd, bytes, (size_t)st.st_size) == st.st_size && close(fd) == 0);
    *len = (size_t)st.st_size;
    return bytes;
}

/* ---- what comes back ---- */

START_TEST(what_one_run_puts_the_next_one_finds)
{
    struct stat st;

    make_with(0, 300);
    ck_assert(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    struct store *store = must_open();
    ck_assert_uint_eq(count(store), 300);
    for (uint32_t i = 0; i < 300; i++)
        ck_assert_int_eq(read_code(store, i), 0);
    ck_assert_int_eq(read_code(store, 300), -ENOENT);
    store_close(store);
}
END_TEST

START_TEST(other_builds_regions_are_not_given_out)
{
    struct store *store = NULL;
    struct error err;

    make_with(0, 10);
    ck_assert_int_eq(open_as(path, "for another processor", 0, &store, &err), 0);
    ck_assert_uint_eq(count(store), 0);
    ck_assert_int_eq(read_code(store, 1), -ENOENT);
    put(store, 1);
    store_close(store);
    store = must_open();
    ck_assert_uint_eq(count(store), 10);
    store_close(store);
}
END_TEST

START_TEST(processes_at_once_lose_nothing)
{
    enum { PROCESSES = 4, EACH = 60 };

    store_close(must_open());
    for (uint32_t i = 0; i < PROCESSES; i++) {
        if (fork() == 0) {
            make_with(i * EACH, (i + 1) * EACH);
            _exit(0);
        }
    }
    int status, failed = 0;
    while (wait(&status) > 0)
        failed += status != 0;
    ck_assert_int_eq(failed, 0);
    struct store *store = must_open();
    ck_assert_uint_eq(count(store), PROCESSES * EACH);
    store_close(store);
}
END_TEST

START_TEST(the_file_keeps_to_its_limit_and_what_is_used)
{
    enum { LIMIT = 2 << 20, USED = 20 };
    struct store *store = NULL;
    struct store_info info;
    struct error err;
    uint8_t digest[STORE_DIGEST_BYTES];

    for (uint32_t round = 0; round < 4; round++) {
        ck_assert_int_eq(open_as(path, "build", LIMIT, &store, &err), 0);
        /* Those of the first round fit: nothing goes before it is known what is used. */
        for (uint32_t i = 0; i < 300; i++)
            put(store, i < USED ? i : round * 1000 + i);
        for (uint32_t i = 0; i < USED; i++) {
            digest_of(i, digest);
            store_used(store, digest, 1000);
        }
        store_close(store);
        ck_assert_int_eq(store_read_info(path, &info, &err), 0);
        ck_assert_uint_le(info.used_bytes, LIMIT);
        ck_assert_uint_le(info.file_bytes, LIMIT + LIMIT / 4 + (1 << 20));
    }
    ck_assert_uint_gt(info.regions, 200);
    store = must_open();
    for (uint32_t i = 0; i < USED; i++)
        ck_assert_int_eq(read_code(store, i), 0);
    store_close(store);
}
END_TEST

START_TEST(merging_is_having_seen_both)
{
    char other[96];
    uint64_t added;
    struct error err;

    (void)snprintf(other, sizeof(other), "%s/other.db", folder);
    make_with(0, 20);
    ck_assert_int_eq(rename(path, other), 0);
    make_with(10, 30);
    ck_assert_int_eq(store_merge(path, other, &added, &err), 0);
    ck_assert_uint_eq(added, 10);
    ck_assert_int_eq(store_merge(other, path, &added, &err), 0);
    ck_assert_uint_eq(added, 10);
    struct store *store = must_open();
    ck_assert_uint_eq(count(store), 30);
    for (uint32_t i = 0; i < 30; i++)
        ck_assert_int_eq(read_code(store, i), 0);
    store_close(store);
}
END_TEST

START_TEST(what_was_of_no_use_for_long_is_collected)
{
    uint8_t digest[STORE_DIGEST_BYTES];
    uint64_t removed;
    struct error err;

    make_with(0, 10);
    digest_of(3, digest);
    for (unsigned i = 0; i < 5; i++) {
        struct store *store = must_open();
        store_used(store, digest, 1);
        store_close(store);
    }
    ck_assert_int_eq(store_collect(path, 4, &removed, &err), 0);
    ck_assert_uint_eq(removed, 9);
    struct store *store = must_open();
    ck_assert_int_eq(read_code(store, 3), 0);
    ck_assert_int_eq(read_code(store, 4), -ENOENT);
    store_close(store);
}
END_TEST

/* ---- files that are not what they should be ---- */

START_TEST(a_file_that_others_may_touch_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610};

    make_with(0, 1);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(modes); i++) {
        ck_assert_int_eq(chmod(path, modes[i]), 0);
        expect_refusal(-EACCES, "chmod 600");
    }
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    expect_refusal(-EACCES, "not a regular file");
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(another_users_file_is_refused)
{
    if (geteuid() != 0) {
        printf("skip: only root can give a file away\n");
        return;
    }
    make_with(0, 1);
    ck_assert_int_eq(chown(path, NOBODY, NOBODY), 0);
    expect_refusal(-EACCES, "another user");
}
END_TEST

START_TEST(an_empty_file_becomes_a_database)
{
    write_file(path, "", 0);
    make_with(0, 1);
    struct store *store = must_open();
    ck_assert_uint_eq(count(store), 1);
    store_close(store);
}
END_TEST

static void expect_refused_unchanged(int expected, const char *what)
{
    size_t before_len, after_len;
    uint8_t *before = read_file(&before_len);

    expect_refusal(expected, what);
    uint8_t *after = read_file(&after_len);
    ck_assert(before_len == after_len && memcmp(before, after, after_len) == 0);
    free(before);
    free(after);
}

START_TEST(something_else_is_refused_and_left_alone)
{
    uint8_t noise[8192];

    fill(noise, sizeof(noise), 1);
    write_file(path, noise, sizeof(noise));
    expect_refused_unchanged(-EBADMSG, "not a database");
    ck_assert_int_eq(unlink(path), 0);
    write_file(path, "", 0);
    execute(path, "CREATE TABLE notes(text); INSERT INTO notes VALUES('mine')");
    expect_refused_unchanged(-EBADMSG, "not a database");
}
END_TEST

START_TEST(a_newer_schema_is_refused_and_left_alone)
{
    make_with(0, 3);
    execute(path, "PRAGMA user_version = 1000; PRAGMA wal_checkpoint(TRUNCATE)");
    expect_refused_unchanged(-ENOTSUP, "newer");
}
END_TEST

START_TEST(the_schema_is_known_by_its_digest)
{
    char digest[SCHEMA_DIGEST_CHARS + 1];
    sqlite3 *db;

    make_with(0, 3);
    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    ck_assert_int_eq(schema_digest(db, digest), SQLITE_OK);
    ck_assert_str_eq(store_schema.digest, digest);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
END_TEST

START_TEST(a_schema_with_more_in_it_is_refused)
{
    make_with(0, 3);
    execute(path, "CREATE TRIGGER more AFTER INSERT ON regions BEGIN DELETE FROM regions; END;"
                  "PRAGMA wal_checkpoint(TRUNCATE)");
    expect_refused_unchanged(-EBADMSG, "not a database");
}
END_TEST

START_TEST(damaged_code_is_not_given_out_and_the_rest_is)
{
    uint64_t checked, bad;
    struct error err;

    make_with(0, 6);
    /* Other bytes, other length, another region's object, a shape that is not the digest's. */
    execute(path, "UPDATE objects SET data = zeroblob(length(data)) WHERE region = 1;"
                  "UPDATE objects SET bytes = 1 << 40 WHERE region = 2;"
                  "UPDATE objects SET data = (SELECT data FROM objects WHERE region = 4),"
                  " digest = (SELECT digest FROM objects WHERE region = 4) WHERE region = 3;"
                  "UPDATE regions SET shape = zeroblob(64) WHERE id = 5");
    struct store *store = must_open();
    ck_assert_uint_eq(count(store), 5);
    ck_assert_int_eq(read_code(store, 0), -EBADMSG);
    ck_assert_int_eq(read_code(store, 1), -EBADMSG);
    ck_assert_int_eq(read_code(store, 2), -EBADMSG);
    ck_assert_int_eq(read_code(store, 3), 0);
    ck_assert_int_eq(read_code(store, 5), 0);
    store_close(store);
    ck_assert_int_eq(store_verify(path, &checked, &bad, &err), 0);
    ck_assert_uint_eq(checked, 6);
    ck_assert_uint_eq(bad, 4);
    store = must_open();
    ck_assert_uint_eq(count(store), 2);
    store_close(store);
}
END_TEST

/* Every page in turn is overwritten: whatever is said, nothing breaks, and what is given out is right. */
START_TEST(damaged_pages_do_no_harm)
{
    size_t len;

    make_with(0, 30);
    execute(path, "PRAGMA wal_checkpoint(TRUNCATE)");
    uint8_t *good = read_file(&len);
    for (size_t page = 0; page < len / 4096; page++) {
        uint8_t *bytes = malloc(len);
        struct store *store = NULL;
        struct error err;
        unsigned regions = 0;
        memcpy(bytes, good, len);
        fill(bytes + page * 4096 + (page ? 0 : 100), page ? 4096 : 3996, (uint32_t)page);
        write_file(path, bytes, len);
        free(bytes);
        if (open_as(path, "build", 0, &store, &err))
            continue;
        (void)store_each(store, count_region, &regions);
        for (uint32_t i = 0; i < 30; i++)
            (void)read_code(store, i);
        put(store, 100);
        store_close(store);
    }
    free(good);
}
END_TEST

/* ---- faults ---- */

static int run_child(void (*child)(void))
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        child();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void read_without_writing(void)
{
    struct store *store = NULL;
    struct error err;

    if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
        _exit(1);
    if (open_as(path, "build", 0, &store, &err))
        _exit(2);
    if (count(store) != 5 || read_code(store, 2))
        _exit(3);
    put(store, 50);
    store_close(store);
}

START_TEST(a_file_that_may_only_be_read_is_read)
{
    if (geteuid() != 0) {
        printf("skip: only root can become somebody who may not write\n");
        return;
    }
    make_with(0, 5);
    /* Without a log that waits to be written back there is no need for the files beside it. */
    execute(path, "PRAGMA journal_mode = DELETE");
    ck_assert(chown(path, NOBODY, NOBODY) == 0 && chmod(path, 0400) == 0 && chmod(folder, 0755) == 0);
    int status = run_child(read_without_writing);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
    ck_assert_int_eq(chown(path, 0, 0), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
    struct store *store = must_open();
    ck_assert_uint_eq(count(store), 5);
    store_close(store);
}
END_TEST

static void write_beyond_the_end(void)
{
    const struct rlimit limit = {.rlim_cur = 300000, .rlim_max = 300000};

    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit))
        _exit(1);
    struct store *store = must_open();
    for (uint32_t i = 0; i < 1000; i++)
        put(store, i);
    store_close(store);
}

START_TEST(no_space_ends_writing_and_harms_nothing)
{
    uint64_t checked, bad;
    struct error err;

    make_with(2000, 2010);
    int status = run_child(write_beyond_the_end);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
    ck_assert_int_eq(store_verify(path, &checked, &bad, &err), 0);
    ck_assert_uint_ge(checked, 10);
    ck_assert_uint_eq(bad, 0);
    struct store *store = must_open();
    ck_assert_int_eq(read_code(store, 2005), 0);
    store_close(store);
}
END_TEST

START_TEST(a_file_that_is_locked_is_told_and_not_waited_for)
{
    sqlite3 *db;

    make_with(0, 1);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    expect_refusal(-EBUSY, "locked");
    ck_assert_int_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    struct store *store = must_open();
    ck_assert_uint_eq(count(store), 1);
    store_close(store);
}
END_TEST

static uint32_t first_number;

static void write_for_ever(void)
{
    struct store *store = must_open();

    for (uint32_t i = first_number;; i++) {
        put(store, i);
        if (i % 16 == 0)
            usleep(1000);
    }
}

/* Until so much of the log is written, at most 30 s: on a busy machine the writing thread comes last. */
static void wait_for_writing(off_t bytes)
{
    char log[112];
    struct stat st;

    (void)snprintf(log, sizeof(log), "%s-wal", path);
    for (unsigned i = 0; i < 30000 && (stat(log, &st) || st.st_size < bytes); i++)
        usleep(1000);
}

START_TEST(a_writer_that_is_killed_leaves_a_good_file)
{
    unsigned rounds = getenv("TUFF_TEST_LONG") ? 200 : 15;
    uint64_t checked = 0, bad, before = 0;
    struct error err;
    int status;

    store_close(must_open());
    for (unsigned i = 0; i < rounds; i++) {
        first_number = i << 16;
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            write_for_ever();
            _exit(0);
        }
        wait_for_writing((i % 8 + 1) * (off_t)60000);
        usleep(i * 7919 % 5000);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        ck_assert_msg(store_verify(path, &checked, &bad, &err) == 0, "%s", err.text);
        ck_assert_uint_eq(bad, 0);
        ck_assert_uint_ge(checked, before);
        before = checked;
    }
    ck_assert_uint_gt(checked, 0);
}
END_TEST

static TCase *test_case(const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 600);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *content = test_case("content"), *files = test_case("files"), *faults = test_case("faults");

    tcase_add_test(content, what_one_run_puts_the_next_one_finds);
    tcase_add_test(content, other_builds_regions_are_not_given_out);
    tcase_add_test(content, processes_at_once_lose_nothing);
    tcase_add_test(content, the_file_keeps_to_its_limit_and_what_is_used);
    tcase_add_test(content, merging_is_having_seen_both);
    tcase_add_test(content, what_was_of_no_use_for_long_is_collected);
    suite_add_tcase(suite, content);
    tcase_add_test(files, a_file_that_others_may_touch_is_refused);
    tcase_add_test(files, another_users_file_is_refused);
    tcase_add_test(files, an_empty_file_becomes_a_database);
    tcase_add_test(files, something_else_is_refused_and_left_alone);
    tcase_add_test(files, a_newer_schema_is_refused_and_left_alone);
    tcase_add_test(files, the_schema_is_known_by_its_digest);
    tcase_add_test(files, a_schema_with_more_in_it_is_refused);
    tcase_add_test(files, damaged_code_is_not_given_out_and_the_rest_is);
    tcase_add_test(files, damaged_pages_do_no_harm);
    suite_add_tcase(suite, files);
    tcase_add_test(faults, a_file_that_may_only_be_read_is_read);
    tcase_add_test(faults, no_space_ends_writing_and_harms_nothing);
    tcase_add_test(faults, a_file_that_is_locked_is_told_and_not_waited_for);
    tcase_add_test(faults, a_writer_that_is_killed_leaves_a_good_file);
    suite_add_tcase(suite, faults);
    return run_suite(suite);
}
