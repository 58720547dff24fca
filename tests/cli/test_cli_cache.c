/* The database of compiled code as its user meets it: the second run starts warm and does the same, and nothing that is
 * wrong with the file is more than a line. The guest is the demonstration. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include "base/compiler.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Some two dozen regions: compiling them is what the tests take. */
#define COMPILE_ALL "--jit-threshold=8", "--jit-sync", "--stats=json"

static char option[256], path[240];

static void set_up(void)
{
    files_make_folder();
    (void)snprintf(path, sizeof(path), "%s", files_path("code.db"));
    (void)snprintf(option, sizeof(option), "--cache=%s", path);
    /* So that they are removed. */
    (void)files_path("code.db-wal");
    (void)files_path("code.db-shm");
}

static struct process *run_demo(const char *const *argv)
{
    int code;
    struct process *process = process_run(argv, "help\npoweroff 42\n", &code);

    ck_assert_msg(code == 42, "%d: %s", code, process->err_text);
    return process;
}

static json_int_t counter(const struct process *process, const char *name)
{
    json_t *root = statistics_of(process);
    json_int_t result = statistics_integer(json_object_get(root, "machine"), name);

    json_decref(root);
    return result;
}

static unsigned warnings(const struct process *process)
{
    unsigned count = 0;

    for (const char *at = process->err_text; (at = strstr(at, "tuff: store: warning:")); at++)
        count++;
    return count;
}

static void execute(const char *sql)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static int64_t number(const char *sql)
{
    sqlite3_stmt *statement;
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t result = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    return result;
}

START_TEST(the_second_run_links_what_the_first_compiled)
{
    struct process *cold = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo));
    struct process *warm = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo));

    ck_assert_str_eq(warm->out_text, cold->out_text);
    ck_assert_int_gt(counter(cold, "regions_compiled"), 20);
    ck_assert_int_eq(counter(cold, "store_hits"), 0);
    ck_assert_int_eq(counter(cold, "store_misses"), counter(cold, "regions_compiled"));
    ck_assert_int_eq(counter(warm, "store_known"), counter(cold, "regions_compiled"));
    ck_assert_int_gt(counter(warm, "store_hits"), 10);
    ck_assert_int_gt(counter(warm, "store_saved_us"), 0);
    ck_assert_int_lt(counter(warm, "regions_compiled"), counter(cold, "regions_compiled") / 4);
    ck_assert_int_eq(counter(warm, "store_rejected"), 0);
    ck_assert_int_eq(warnings(cold) + warnings(warm), 0);
    process_free(cold);
    process_free(warm);
}
END_TEST

/* Linked code is as right as compiled code: each run of it is repeated on the interpreter. */
START_TEST(code_from_the_file_is_right)
{
    process_free(run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, "--tune=first_level=1", files_demo)));
    struct process *warm = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, "--verify", files_demo));

    ck_assert_int_gt(counter(warm, "store_hits"), 10);
    ck_assert_int_gt(counter(warm, "verify_equal"), 100);
    ck_assert_int_eq(counter(warm, "verify_differences"), 0);
    process_free(warm);
}
END_TEST

/* A guest that changes its own code: what was compiled of other bytes is not linked for the new ones. */
START_TEST(changed_code_is_not_served_by_what_was_known)
{
    static const char *const guests[] = {"modify", "count", "verify"};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(guests); i++) {
        int cold_code, warm_code;
        const char *const *argv = PROCESS_ARGV("run", option, COMPILE_ALL, files_guest(guests[i]));
        struct process *cold = process_run(argv, NULL, &cold_code);
        struct process *warm = process_run(argv, NULL, &warm_code);
        ck_assert_int_eq(warm_code, cold_code);
        ck_assert_str_eq(warm->out_text, cold->out_text);
        ck_assert_int_gt(counter(warm, "store_hits"), 0);
        process_free(cold);
        process_free(warm);
    }
}
END_TEST

START_TEST(another_machine_does_not_get_code_that_is_not_its_own)
{
    process_free(run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo)));
    struct process *other = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, "--isa=-zba", files_demo));
    ck_assert_int_eq(counter(other, "store_hits"), 0);
    process_free(other);
    other = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, "--passes=default<O1>", files_demo));
    ck_assert_int_eq(counter(other, "store_known"), 0);
    ck_assert_int_eq(counter(other, "store_hits"), 0);
    process_free(other);
}
END_TEST

START_TEST(without_a_cache_nothing_is_kept)
{
    struct process *process = run_demo(PROCESS_ARGV("run", COMPILE_ALL, files_demo));

    ck_assert_int_eq(counter(process, "store_misses"), 0);
    process_free(process);
    process_expect_refusal(PROCESS_ARGV("run", option, "--no-cache", files_demo), "--no-cache");
    process_expect_refusal(PROCESS_ARGV("boot", option, "--no-cache", "--kernel=x"), "--no-cache");
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* The run is as without a file, and says so in one line. */
static void expect_one_warning(const char *what)
{
    struct process *process = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo));

    ck_assert_msg(warnings(process) == 1 && strstr(process->err_text, what), "%s: %s", what, process->err_text);
    ck_assert_int_gt(counter(process, "regions_compiled"), 20);
    process_free(process);
}

START_TEST(whatever_is_wrong_with_the_file_is_one_line)
{
    const char noise[] =
        "no database at all, but longer than a header of one would be, so that it is looked at .......";

    (void)files_write("code.db", noise, sizeof(noise));
    ck_assert_int_eq(chmod(path, 0600), 0);
    expect_one_warning("not a database");
    ck_assert_int_eq(chmod(path, 0644), 0);
    expect_one_warning("chmod 600");
    ck_assert_int_eq(unlink(path), 0);
    process_free(run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo)));
    execute("PRAGMA user_version = 77");
    expect_one_warning("newer");
    ck_assert_int_eq(unlink(path), 0);
    (void)snprintf(option, sizeof(option), "--cache=/nonexistent/code.db");
    expect_one_warning("/nonexistent/code.db");
}
END_TEST

START_TEST(damaged_code_is_compiled_again)
{
    process_free(run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo)));
    execute("UPDATE objects SET data = zeroblob(length(data))");
    struct process *process = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo));
    ck_assert_int_eq(warnings(process), 1);
    ck_assert_int_eq(counter(process, "store_hits"), 0);
    ck_assert_int_gt(counter(process, "store_rejected"), 10);
    /* Looks in vain take a few executions each: some blocks stay below the threshold. */
    ck_assert_int_gt(counter(process, "regions_compiled"), 10);
    process_free(process);
}
END_TEST

static void expect_says(const char *const *argv, int expected, const char *what)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);

    ck_assert_msg(code == expected && strstr(process->out_text, what), "%d: %s%s", code, process->out_text,
                  process->err_text);
    process_free(process);
}

START_TEST(bake_compiles_what_was_wanted)
{
    process_free(run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo)));
    int64_t regions = number("SELECT count(*) FROM regions");
    execute("DELETE FROM objects WHERE region % 2 = 0");
    ck_assert_int_gt(number("SELECT count(*) FROM regions WHERE id NOT IN (SELECT region FROM objects)"), 5);
    expect_says(PROCESS_ARGV("cache", "bake", option), 0, "regions compiled");
    struct process *warm = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, "--verify", files_demo));
    ck_assert_int_gt(counter(warm, "store_hits"), 10);
    ck_assert_int_eq(counter(warm, "verify_differences"), 0);
    process_free(warm);
    ck_assert_int_gt(number("SELECT count(*) FROM regions WHERE level = 1"), 5);
    ck_assert_int_gt(number("SELECT count(*) FROM regions"), regions);
}
END_TEST

START_TEST(the_file_is_looked_after)
{
    char other[256];

    process_expect_refusal(PROCESS_ARGV("cache", option), "give info");
    process_expect_refusal(PROCESS_ARGV("cache", "tidy", option), "give info");
    process_expect_refusal(PROCESS_ARGV("cache", "merge", option), "give one file");
    process_expect_refusal(PROCESS_ARGV("cache", "info", "--runs=many", option), "--runs");
    process_free(run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo)));
    (void)snprintf(other, sizeof(other), "%s", files_path("other.db"));
    expect_says(PROCESS_ARGV("cache", "info", option), 0, "with code");
    expect_says(PROCESS_ARGV("cache", "verify", option), 0, " 0 bad");
    expect_says(PROCESS_ARGV("cache", "export", option, other), 0, "regions added");
    process_expect_refusal(PROCESS_ARGV("cache", "export", option, other), "is there already");
    expect_says(PROCESS_ARGV("cache", "gc", "--runs=0", option), 0, "regions taken out");
    ck_assert_int_eq(number("SELECT count(*) FROM regions"), 0);
    expect_says(PROCESS_ARGV("cache", "import", option, other), 0, "regions added");
    struct process *warm = run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo));
    ck_assert_int_gt(counter(warm, "store_hits"), 10);
    process_free(warm);
    execute("UPDATE objects SET data = zeroblob(9) WHERE region = (SELECT min(region) FROM objects)");
    expect_says(PROCESS_ARGV("cache", "verify", option), 3, " 1 bad");
    expect_says(PROCESS_ARGV("cache", "verify", option), 0, " 0 bad");
}
END_TEST

START_TEST(runs_are_listed_and_compared)
{
    char symbols[256];

    for (unsigned i = 0; i < 2; i++)
        process_free(run_demo(PROCESS_ARGV("run", option, COMPILE_ALL, files_demo)));
    ck_assert_int_eq(number("SELECT count(*) FROM runs WHERE guest = 'demo.elf' AND instructions > 0"), 2);
    ck_assert_int_gt(number("SELECT count(*) FROM run_regions WHERE run = 2"), 5);
    ck_assert_int_gt(number("SELECT value FROM run_stats WHERE run = 1 AND name = 'regions_compiled'"), 20);
    ck_assert_int_gt(number("SELECT value FROM run_stats WHERE run = 2 AND name = 'store_hits'"), 10);
    expect_says(PROCESS_ARGV("runs", option), 0, "demo.elf");
    expect_says(PROCESS_ARGV("runs", option), 0, "--jit-threshold=8");
    expect_says(PROCESS_ARGV("runs", "1", "2", option), 0, "instructions 1.");
    process_expect_refusal(PROCESS_ARGV("runs", "1", option), "two numbers");
    process_expect_refusal(PROCESS_ARGV("runs", "1", "x", option), "two numbers");
    expect_says(PROCESS_ARGV("runs", "1", "9", option), 3, "");
    (void)snprintf(symbols, sizeof(symbols), "--symbols=%s", files_demo);
    expect_says(PROCESS_ARGV("profile", "top", option, symbols), 0, "%  ");
    expect_says(PROCESS_ARGV("profile", "top", option, symbols), 0, "console_");
    expect_says(PROCESS_ARGV("profile", "top", "--run=2", option, symbols), 0, "console_");
    expect_says(PROCESS_ARGV("profile", "edges", option, symbols), 0, " -> ");
    expect_says(PROCESS_ARGV("profile", "folded", option, symbols), 0, "guest;");
    process_expect_refusal(PROCESS_ARGV("profile", "bottom", option), "bottom");
    process_expect_refusal(PROCESS_ARGV("profile", "top", "--run=last", option), "--run");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *warm = tcase_create("warm"), *wrong = tcase_create("wrong"), *people = tcase_create("people");
    TCase *all[] = {warm, wrong, people};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(all); i++) {
        tcase_add_checked_fixture(all[i], set_up, files_remove_all);
        tcase_set_timeout(all[i], 600);
        suite_add_tcase(suite, all[i]);
    }
    tcase_add_test(warm, the_second_run_links_what_the_first_compiled);
    tcase_add_test(warm, code_from_the_file_is_right);
    tcase_add_test(warm, changed_code_is_not_served_by_what_was_known);
    tcase_add_test(warm, another_machine_does_not_get_code_that_is_not_its_own);
    tcase_add_test(warm, without_a_cache_nothing_is_kept);
    tcase_add_test(wrong, whatever_is_wrong_with_the_file_is_one_line);
    tcase_add_test(wrong, damaged_code_is_compiled_again);
    tcase_add_test(people, bake_compiles_what_was_wanted);
    tcase_add_test(people, the_file_is_looked_after);
    tcase_add_test(people, runs_are_listed_and_compared);
    return run_suite(suite);
}
