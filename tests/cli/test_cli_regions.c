/* The table of compiled regions: one row each, numbers that add up to the counters and to what the guest did. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include "base/compiler.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPILE_ALL "--jit-threshold=1", "--jit-sync", "--stats=json"

enum { COUNT = 1000 }; /* of guest_count */

/* The JSON of a run that ends well. */
static json_t *run(const char *const *argv)
{
    int code;
    struct process *process = process_run(argv, "help\npoweroff 0\n", &code);
    json_t *root;

    ck_assert_msg(code == 0, "%d: %s", code, process->err_text);
    root = statistics_of(process);
    process_free(process);
    return root;
}

static const char *string(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));

    ck_assert_msg(text != NULL, "%s", key);
    return text;
}

/* The sum over the rows in a state (NULL: all). */
static json_int_t sum(const json_t *root, const char *key, const char *state)
{
    json_int_t result = 0;
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(root, "regions"), i, row)
    {
        if (!state || strcmp(string(row, "state"), state) == 0)
            result += key ? statistics_integer(row, key) : 1;
    }
    return result;
}

START_TEST(rows_add_up_to_the_counters)
{
    json_t *root = run(PROCESS_ARGV("run", COMPILE_ALL, files_demo));
    json_t *machine = json_object_get(root, "machine"), *row;
    json_int_t before = INT64_MAX;
    size_t i;

    ck_assert_int_gt(sum(root, NULL, NULL), 20);
    ck_assert_int_eq(sum(root, NULL, NULL), statistics_integer(machine, "regions_submitted"));
    ck_assert_int_eq(sum(root, NULL, "dropped"), statistics_integer(machine, "regions_dropped"));
    ck_assert_int_eq(sum(root, "instructions", NULL), statistics_integer(machine, "region_insns"));
    ck_assert_int_eq(sum(root, "code_bytes", NULL), statistics_integer(machine, "code_bytes"));
    ck_assert_int_eq(sum(root, "compile_us", NULL), statistics_integer(machine, "compile_us"));
    json_array_foreach(json_object_get(root, "regions"), i, row)
    {
        ck_assert_int_eq(statistics_integer(row, "boot"), 1);
        ck_assert_int_eq(statistics_integer(row, "level"), 0);
        ck_assert_int_ge(statistics_integer(row, "blocks"), 1);
        ck_assert_int_ge(statistics_integer(row, "pages"), 1);
        ck_assert_int_gt(statistics_integer(row, "ir_built"), statistics_integer(row, "instructions"));
        ck_assert_int_gt(statistics_integer(row, "ir_optimised"), 0);
        ck_assert_int_lt(statistics_integer(row, "ir_optimised"), statistics_integer(row, "ir_built"));
        ck_assert_int_le(statistics_integer(row, "executions"), before);
        before = statistics_integer(row, "executions");
        ck_assert_uint_ge(strtoull(string(row, "address"), NULL, 16), 0x80000000);
        ck_assert_ptr_null(json_object_get(row, "failure"));
    }
    json_decref(root);
}
END_TEST

START_TEST(executions_are_exact)
{
    json_t *root = run(PROCESS_ARGV("run", COMPILE_ALL, files_guest("count")));
    const json_t *first = json_array_get(json_object_get(root, "regions"), 0);

    ck_assert_int_eq(statistics_integer(first, "executions"), COUNT);
    ck_assert_str_eq(string(first, "state"), "live");
    json_decref(root);
}
END_TEST

START_TEST(a_promoted_region_shares_its_executions_with_the_one_it_replaced)
{
    json_t *root = run(PROCESS_ARGV("run", COMPILE_ALL, "--tune=promote=400", files_guest("count")));
    const json_t *rows = json_object_get(root, "regions"), *full = json_array_get(rows, 0),
                 *quick = json_array_get(rows, 1);

    ck_assert_int_eq(statistics_integer(full, "level"), 1);
    ck_assert_str_eq(string(full, "state"), "live");
    ck_assert_int_eq(statistics_integer(quick, "level"), 0);
    ck_assert_str_eq(string(quick, "state"), "replaced");
    ck_assert_str_eq(string(quick, "address"), string(full, "address"));
    ck_assert_int_ge(statistics_integer(quick, "executions"), 400);
    /* The execution at which one follows the other is counted in both. */
    ck_assert_int_eq(statistics_integer(quick, "executions") + statistics_integer(full, "executions"), COUNT + 1);
    json_decref(root);
}
END_TEST

START_TEST(dropped_regions_keep_their_row)
{
    json_t *root = run(PROCESS_ARGV("run", COMPILE_ALL, files_guest("modify")));

    ck_assert_int_ge(sum(root, NULL, "dropped"), 1);
    ck_assert_int_eq(sum(root, NULL, "dropped"),
                     statistics_integer(json_object_get(root, "machine"), "regions_dropped"));
    ck_assert_int_ge(sum(root, "executions", "dropped"), 1);
    json_decref(root);
}
END_TEST

START_TEST(failed_regions_say_why)
{
    json_t *root = run(PROCESS_ARGV("run", COMPILE_ALL, "--passes=nonsense", files_guest("count"))), *row;
    size_t i;

    ck_assert_int_ge(sum(root, NULL, "failed"), 1);
    ck_assert_int_eq(sum(root, NULL, "failed"), sum(root, NULL, NULL));
    ck_assert_int_eq(sum(root, "executions", NULL), 0);
    json_array_foreach(json_object_get(root, "regions"), i, row)
        ck_assert_str_eq(string(row, "failure"), "LLVM refuses the list of passes");
    json_decref(root);
}
END_TEST

START_TEST(the_interpreter_alone_has_no_regions)
{
    json_t *root = run(PROCESS_ARGV("run", "--tier=interp", "--stats=json", files_guest("count")));

    ck_assert_int_eq(sum(root, NULL, NULL), 0);
    json_decref(root);
}
END_TEST

/* ---- names ---- */

static bool has_symbol(const json_t *root, const char *name)
{
    json_t *row;
    size_t i, len = strlen(name);

    json_array_foreach(json_object_get(root, "regions"), i, row)
    {
        const char *symbol = json_string_value(json_object_get(row, "symbol"));
        if (symbol && strncmp(symbol, name, len) == 0 && (symbol[len] == '+' || !symbol[len]))
            return true;
    }
    return false;
}

START_TEST(an_elf_brings_its_own_names)
{
    json_t *root = run(PROCESS_ARGV("run", COMPILE_ALL, files_guest("modify")));

    ck_assert(has_symbol(root, "_start"));
    ck_assert(has_symbol(root, "changing"));
    json_decref(root);
}
END_TEST

START_TEST(files_with_names_are_added_to_each_other)
{
    static const char start[] = "0000000080000000 T renamed\n", far[] = "0000000040000000 T nothing\n";
    char *list;
    json_t *root;

    /* Both name _start; what is given by hand comes first. */
    files_make_folder();
    ck_assert_int_gt(asprintf(&list, "%s,%s", files_write("far", far, sizeof(far) - 1),
                              files_write("start", start, sizeof(start) - 1)),
                     0);
    root = run(PROCESS_ARGV("run", COMPILE_ALL, "--symbols", list, files_guest("modify")));
    ck_assert(has_symbol(root, "renamed"));
    ck_assert(!has_symbol(root, "nothing"));
    ck_assert(has_symbol(root, "changing"));
    json_decref(root);
    free(list);
    files_remove_all();
}
END_TEST

START_TEST(files_without_names_are_refused)
{
    static const char stub[] = "ffffffffffffffff B The real System.map is elsewhere\n";

    files_make_folder();
    process_expect_refusal(PROCESS_ARGV("run", "--symbols=/nonexistent", files_demo), "symbols '/nonexistent'");
    process_expect_refusal(PROCESS_ARGV("run", "--symbols", "/bin/true", files_demo), "for another machine");
    process_expect_refusal(
        PROCESS_ARGV("run", "--symbols", files_write("stub", stub, sizeof(stub) - 1), "--tier=interp", files_demo),
        "names no code");
    process_expect_refusal(PROCESS_ARGV("run", "--symbols", files_write("noise", "\1\2\3\4\5", 5), files_demo),
                           "is not \"address type name\"");
    files_remove_all();
}
END_TEST

START_TEST(dumps_and_the_map_for_perf_name_the_code)
{
    struct process *process = process_start(
        PROCESS_ARGV("run", "--jit-threshold=1", "--jit-sync", "--dump=guest,asm", "--perf-map", files_guest("modify")),
        PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    char path[64];
    char *map;
    size_t len;

    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)process->pid);
    ck_assert_int_eq(process_finish(process), 0);
    map = files_read(path, &len);
    unlink(path);
    ck_assert_ptr_nonnull(strstr(map, " region_1_at__start\n"));
    ck_assert_ptr_nonnull(strstr(map, "_at_changing\n"));
    ck_assert_ptr_nonnull(strstr(process->err_text, "blocks, at changing\n"));
    ck_assert_ptr_nonnull(strstr(process->err_text, "; asm of region_1\n; at _start\n"));
    free(map);
    process_free(process);
}
END_TEST

/* ---- jitdump (tools/perf/Documentation/jitdump-specification.txt in Linux) ---- */

static uint64_t field(const char *at, size_t offset, size_t bytes)
{
    uint64_t value = 0;

    memcpy(&value, at + offset, bytes);
    return value;
}

static const json_t *row_of(const json_t *root, json_int_t number)
{
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(root, "regions"), i, row)
    {
        if (statistics_integer(row, "number") == number)
            return row;
    }
    return NULL;
}

/* Returns the record's length. */
static size_t check_load(const char *record, const json_t *root, pid_t pid, uint64_t since_ns)
{
    const char *name = record + 56;
    const json_t *row = row_of(root, (json_int_t)field(record, 48, 8));
    uint64_t code_bytes = field(record, 40, 8);
    char expected[200];

    ck_assert_ptr_nonnull(row);
    snprintf(expected, sizeof(expected), "region_%d_at_%s", (int)statistics_integer(row, "number"),
             string(row, "symbol"));
    ck_assert_str_eq(name, expected);
    ck_assert_uint_eq(field(record, 4, 4), 56 + strlen(name) + 1 + code_bytes);
    ck_assert_uint_ge(field(record, 8, 8), since_ns);
    ck_assert_int_eq((pid_t)field(record, 16, 4), pid);
    ck_assert_uint_eq(field(record, 24, 8), field(record, 32, 8));
    ck_assert_int_eq((json_int_t)code_bytes, statistics_integer(row, "code_bytes"));
    return field(record, 4, 4);
}

START_TEST(the_dump_for_perf_has_each_region)
{
    char *path, *dump;
    size_t len, at = 40;
    json_int_t loads = 0;

    files_make_folder();
    path = strdup(files_path(""));
    struct process *process = process_start(PROCESS_ARGV("run", COMPILE_ALL, "--jitdump", path, files_guest("modify")),
                                            PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    ck_assert_int_eq(process_finish(process), 0);
    json_t *root = statistics_of(process);
    char name[64];
    snprintf(name, sizeof(name), "jit-%d.dump", (int)process->pid);
    dump = files_read(files_path(name), &len);
    ck_assert_uint_gt(len, 40);
    ck_assert_uint_eq(field(dump, 0, 4), 0x4a695444);
    ck_assert_uint_eq(field(dump, 4, 4), 1);
    ck_assert_uint_eq(field(dump, 8, 4), 40);
    ck_assert_uint_eq(field(dump, 12, 4), 62);
    ck_assert_int_eq((pid_t)field(dump, 20, 4), process->pid);
    ck_assert_uint_eq(field(dump, 32, 8), 0);
    while (at < len && field(dump, at, 4) == 0) {
        at += check_load(dump + at, root, process->pid, field(dump, 24, 8));
        loads++;
    }
    ck_assert_int_eq(loads, statistics_integer(json_object_get(root, "machine"), "regions_compiled"));
    ck_assert_uint_eq(field(dump, at, 4), 3);
    ck_assert_uint_eq(at + 16, len);
    free(dump);
    free(path);
    json_decref(root);
    process_free(process);
    files_remove_all();
}
END_TEST

START_TEST(a_folder_that_cannot_be_written_is_refused)
{
    process_expect_refusal(PROCESS_ARGV("run", "--jitdump=/nonexistent", files_demo), "/nonexistent/jit-");
    process_expect_refusal(PROCESS_ARGV("run", "--jitdump=/proc", files_demo), "/proc/jit-");
}
END_TEST

START_TEST(the_table_has_the_most_executed)
{
    int code;
    struct process *process = process_run(
        PROCESS_ARGV("run", "--jit-threshold=1", "--jit-sync", "--stats=regions", files_demo), "poweroff 0\n", &code);
    const char *head = strstr(process->err_text, "\n  region level     executions");
    unsigned lines = 0;

    ck_assert_int_eq(code, 0);
    ck_assert_ptr_nonnull(strstr(process->err_text, "tuff: statistics"));
    ck_assert_msg(head != NULL, "%s", process->err_text);
    for (const char *at = head; (at = strstr(at, "  0x8")); at++)
        lines++;
    ck_assert_uint_eq(lines, 20);
    ck_assert_ptr_nonnull(strstr(head, "regions more: --stats=json has all)\n"));
    process_free(process);
    process = process_run(PROCESS_ARGV("run", "--stats", files_guest("count")), NULL, &code);
    ck_assert_ptr_null(strstr(process->err_text, "\n  region level"));
    process_free(process);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_regions");
    TCase *regions = tcase_create("regions");

    tcase_set_timeout(regions, 120);
    tcase_add_test(regions, rows_add_up_to_the_counters);
    tcase_add_test(regions, executions_are_exact);
    tcase_add_test(regions, a_promoted_region_shares_its_executions_with_the_one_it_replaced);
    tcase_add_test(regions, dropped_regions_keep_their_row);
    tcase_add_test(regions, failed_regions_say_why);
    tcase_add_test(regions, the_interpreter_alone_has_no_regions);
    tcase_add_test(regions, an_elf_brings_its_own_names);
    tcase_add_test(regions, files_with_names_are_added_to_each_other);
    tcase_add_test(regions, files_without_names_are_refused);
    tcase_add_test(regions, dumps_and_the_map_for_perf_name_the_code);
    tcase_add_test(regions, the_dump_for_perf_has_each_region);
    tcase_add_test(regions, a_folder_that_cannot_be_written_is_refused);
    tcase_add_test(regions, the_table_has_the_most_executed);
    suite_add_tcase(suite, regions);
    return run_suite(suite);
}
