/* --pass-plugin: a plugin's passes run on the regions that are compiled, and one that cannot be used is refused before
 * anything starts. The plugins are made of plugins/count.cpp. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include "base/compiler.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPILE_ALL "--jit-threshold=1", "--jit-sync"
#define LINE "count-adds: region_"

static const char *plugin_option(const char *name)
{
    static char ring[4][512];
    static unsigned next;
    char *option = ring[next++ % 4];

    (void)snprintf(option, sizeof(ring[0]), "--pass-plugin=%s/%s.so", TEST_PLUGINS, name);
    return option;
}

static const char *option_of(const char *path)
{
    static char option[600];

    (void)snprintf(option, sizeof(option), "--pass-plugin=%s", path);
    return option;
}

static unsigned count(const char *text, const char *what)
{
    unsigned found = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        found++;
    return found;
}

/* The guest's checksum as the exit code, and a line for each region that was compiled. */
static void expect_a_line_a_region(const char *const *argv, unsigned times)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);
    json_t *root = statistics_of(process);
    json_int_t compiled = statistics_integer(json_object_get(root, "machine"), "regions_compiled");

    ck_assert_int_eq(code, 23);
    ck_assert_int_gt(compiled, 5);
    ck_assert_uint_eq(count(process->err_text, LINE), times * (unsigned)compiled);
    json_decref(root);
    process_free(process);
}

START_TEST(passes_can_name_the_plugins_pass)
{
    expect_a_line_a_region(PROCESS_ARGV("run", COMPILE_ALL, plugin_option("count"), "--passes=function(count-adds)",
                                        "--stats=json", files_guest("verify")),
                           1);
    expect_a_line_a_region(PROCESS_ARGV("run", COMPILE_ALL, plugin_option("count"),
                                        "--passes=default<O1>,function(count-adds,instcombine,count-adds)",
                                        "--stats=json", files_guest("verify")),
                           3);
}
END_TEST

START_TEST(hooks_run_in_the_pipeline_of_full_regions)
{
    expect_a_line_a_region(PROCESS_ARGV("run", COMPILE_ALL, plugin_option("count"), "--tune=first_level=1",
                                        "--stats=json", files_guest("verify")),
                           1);
    expect_a_line_a_region(
        PROCESS_ARGV("run", COMPILE_ALL, plugin_option("count"), "--stats=json", files_guest("verify")), 0);
}
END_TEST

START_TEST(several_plugins_are_loaded_once_a_thread)
{
    /* The same file twice gives the hook twice. */
    expect_a_line_a_region(PROCESS_ARGV("run", "--jit-threshold=1", "--jit-sync", "--tune=first_level=1,workers=2",
                                        plugin_option("count"), plugin_option("count"), "--stats=json",
                                        files_guest("verify")),
                           2);
}
END_TEST

START_TEST(without_the_plugin_its_pass_is_unknown)
{
    int code;
    struct process *process = process_run(
        PROCESS_ARGV("run", COMPILE_ALL, "--passes=function(count-adds)", "--log=jit", files_guest("verify")), NULL,
        &code);

    ck_assert_int_eq(code, 23);
    ck_assert_ptr_nonnull(strstr(process->err_text, "was not compiled: LLVM refuses the list of passes"));
    process_free(process);
}
END_TEST

START_TEST(a_pass_that_breaks_a_region_leaves_it_to_the_interpreter)
{
    int code;
    struct process *process =
        process_run(PROCESS_ARGV("run", COMPILE_ALL, plugin_option("break"), "--passes=function(count-adds)",
                                 "--log=jit", files_guest("verify")),
                    NULL, &code);

    ck_assert_int_eq(code, 23);
    ck_assert_ptr_nonnull(strstr(process->err_text, "was not compiled: what the passes left is not valid"));
    process_free(process);
}
END_TEST

START_TEST(a_file_that_is_no_plugin_is_refused)
{
    static const struct {
        const char *plugin, *why;
    } bad[] = {
        {"missing", "No such file"},
        {"no_entry", "entry point not found"},
        {"other_api", "version 99"},
        {"other_llvm", "it was made for LLVM 18 (it needs libLLVM.so.18.1), and this is LLVM 19"},
        {"unresolved", "undefined symbol"},
    };

    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++)
        process_expect_refusal(PROCESS_ARGV("run", plugin_option(bad[i].plugin), files_guest("verify")), bad[i].why);
    /* A good one before does not help. */
    process_expect_refusal(PROCESS_ARGV("run", plugin_option("count"), plugin_option("missing"), files_guest("verify")),
                           "missing.so");
    process_expect_refusal(PROCESS_ARGV("run", option_of(files_guest("verify")), files_guest("verify")), "no x86-64");
    process_expect_refusal(PROCESS_ARGV("run", option_of(""), files_guest("verify")), "--pass-plugin, ''");
    process_expect_refusal(PROCESS_ARGV("run", option_of("/proc/self/exe"), files_guest("verify")),
                           "--pass-plugin, '/proc/self/exe'");
}
END_TEST

/* Cut at any place, and with any byte of its headers changed, it is refused or works; it does not end the process. */
START_TEST(a_damaged_file_is_refused)
{
    size_t len;
    char *bytes = files_read(plugin_option("count") + strlen("--pass-plugin="), &len);

    files_make_folder();
    for (unsigned i = 0; i < 8; i++) {
        const char *path = files_write("cut.so", bytes, len * i / 8);
        process_expect_refusal(PROCESS_ARGV("run", option_of(path), files_guest("verify")), "cannot be used");
    }
    bytes[1] = 'X';
    process_expect_refusal(PROCESS_ARGV("run", option_of(files_write("magic.so", bytes, len)), files_guest("verify")),
                           "cannot be used");
    free(bytes);
    files_remove_all();
}
END_TEST

START_TEST(a_plugin_needs_the_tier)
{
    process_expect_refusal(PROCESS_ARGV("run", "--tier=interp", plugin_option("count"), files_guest("verify")),
                           "needs the LLVM tier");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_pass_plugin");
    TCase *passes = tcase_create("passes"), *refusals = tcase_create("refusals");

    tcase_set_timeout(passes, 120);
    tcase_set_timeout(refusals, 120);
    tcase_add_test(passes, passes_can_name_the_plugins_pass);
    tcase_add_test(passes, hooks_run_in_the_pipeline_of_full_regions);
    tcase_add_test(passes, several_plugins_are_loaded_once_a_thread);
    tcase_add_test(passes, without_the_plugin_its_pass_is_unknown);
    tcase_add_test(passes, a_pass_that_breaks_a_region_leaves_it_to_the_interpreter);
    tcase_add_test(refusals, a_file_that_is_no_plugin_is_refused);
    tcase_add_test(refusals, a_damaged_file_is_refused);
    tcase_add_test(refusals, a_plugin_needs_the_tier);
    suite_add_tcase(suite, passes);
    suite_add_tcase(suite, refusals);
    return run_suite(suite);
}
