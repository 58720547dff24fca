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
    tcase_add_test(regions, the_table_has_the_most_executed);
    suite_add_tcase(suite, regions);
    return run_suite(suite);
}
