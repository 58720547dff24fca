/* The compiling tier as its user steers it: what is compiled, what is shown of it, and why something was not. The guest
 * is the demonstration; it must behave the same whatever the tier does. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include "base/compiler.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define COMPILE_ALL "--jit-threshold=1", "--jit-sync"

/* Runs the demonstration to the exit code it is told. */
static struct process *run(const char *const *argv)
{
    int code;
    struct process *process = process_run(argv, "help\npoweroff 42\n", &code);

    ck_assert_msg(code == 42, "%s: %d: %s", argv[3], code, process->err_text);
    return process;
}

static json_int_t counter(const char *const *argv, const char *name)
{
    struct process *process = run(argv);
    json_t *root = statistics_of(process);
    json_int_t result = statistics_integer(json_object_get(root, "machine"), name);

    json_decref(root);
    process_free(process);
    return result;
}

START_TEST(bisect_compiles_the_first_regions_only)
{
    ck_assert_int_eq(
        counter(PROCESS_ARGV("run", COMPILE_ALL, "--jit-bisect=0", "--stats=json", files_demo), "regions_compiled"), 0);
    ck_assert_int_eq(
        counter(PROCESS_ARGV("run", COMPILE_ALL, "--jit-bisect=3", "--stats=json", files_demo), "regions_compiled"), 3);
    ck_assert_int_gt(counter(PROCESS_ARGV("run", COMPILE_ALL, "--stats=json", files_demo), "regions_compiled"), 20);
}
END_TEST

START_TEST(both_levels_run_the_guest_alike)
{
    struct process *interpreted = run(PROCESS_ARGV("run", "--tier=interp", files_demo));
    struct process *quick = run(PROCESS_ARGV("run", COMPILE_ALL, files_demo));
    struct process *full = run(PROCESS_ARGV("run", COMPILE_ALL, "--tune=first_level=1", files_demo));

    ck_assert_str_eq(quick->out_text, interpreted->out_text);
    ck_assert_str_eq(full->out_text, interpreted->out_text);
    process_free(interpreted);
    process_free(quick);
    process_free(full);
}
END_TEST

START_TEST(dumps_show_the_region_that_is_named)
{
    static const char *const of_region_2[] = {"; guest code of region_2,", "; ir of region_2\n", "; opt of region_2\n",
                                              "; asm of region_2\n"};
    struct process *process = run(PROCESS_ARGV("run", COMPILE_ALL, "--dump=guest,ir,opt,asm:2", files_demo));

    for (size_t i = 0; i < TUFF_ARRAY_LEN(of_region_2); i++)
        ck_assert_msg(strstr(process->err_text, of_region_2[i]), "%s", of_region_2[i]);
    ck_assert_ptr_null(strstr(process->err_text, "of region_1"));
    ck_assert_ptr_null(strstr(process->err_text, "of region_3"));
    process_free(process);
}
END_TEST

START_TEST(the_log_says_why_a_region_was_not_compiled)
{
    struct process *process = run(PROCESS_ARGV("run", COMPILE_ALL, "--passes=nonsense", "--log=jit", files_demo));

    ck_assert_ptr_nonnull(strstr(process->err_text, "was not compiled: LLVM refuses the list of passes"));
    process_free(process);
    ck_assert_int_eq(
        counter(PROCESS_ARGV("run", COMPILE_ALL, "--passes=nonsense", "--stats=json", files_demo), "regions_compiled"),
        0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_jit");
    TCase *jit = tcase_create("jit");

    tcase_set_timeout(jit, 120);
    tcase_add_test(jit, bisect_compiles_the_first_regions_only);
    tcase_add_test(jit, both_levels_run_the_guest_alike);
    tcase_add_test(jit, dumps_show_the_region_that_is_named);
    tcase_add_test(jit, the_log_says_why_a_region_was_not_compiled);
    suite_add_tcase(suite, jit);
    return run_suite(suite);
}
