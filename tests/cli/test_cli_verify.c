/* --verify: what it accepts, that it changes nothing, that it skips what cannot be repeated, and that it finds what
 * --jit-plant made wrong. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include "base/compiler.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define COMPILE_ALL "--jit-threshold=1", "--jit-sync", "--clock=insns", "--stats=json"

struct run {
    int code;
    json_int_t insns, equal, skipped, differences;
};

static struct run run(const char *const *argv)
{
    struct run r;
    struct process *process = process_run(argv, NULL, &r.code);
    json_t *root = statistics_of(process);
    json_t *machine = json_object_get(root, "machine");

    r.insns = statistics_integer(root, "instructions");
    r.equal = statistics_integer(machine, "verify_equal");
    r.skipped = statistics_integer(machine, "verify_skipped");
    r.differences = statistics_integer(machine, "verify_differences");
    json_decref(root);
    process_free(process);
    return r;
}

static void expect_same(struct run verified, struct run plain)
{
    ck_assert_int_eq(verified.code, plain.code);
    ck_assert_int_eq(verified.insns, plain.insns);
    ck_assert_int_eq(verified.differences, 0);
    ck_assert_int_gt(verified.equal, 0);
}

START_TEST(a_verified_run_is_like_any_other)
{
    const char *guest = files_guest("verify");
    struct run plain = run(PROCESS_ARGV("run", "--tier=interp", "--clock=insns", "--stats=json", guest));
    struct run compiled = run(PROCESS_ARGV("run", COMPILE_ALL, guest));
    struct run quick = run(PROCESS_ARGV("run", COMPILE_ALL, "--verify", guest));
    struct run full = run(PROCESS_ARGV("run", COMPILE_ALL, "--verify", "--tune=first_level=1", guest));

    ck_assert_int_eq(compiled.insns, plain.insns);
    ck_assert_int_eq(compiled.equal + compiled.skipped + compiled.differences, 0);
    expect_same(quick, plain);
    expect_same(full, plain);
    /* The loop at the end alone is cut into some thirty stretches. */
    ck_assert_int_gt(quick.equal, 60 + 30);
}
END_TEST

START_TEST(one_run_in_n_is_compared)
{
    const char *guest = files_guest("verify");
    struct run every = run(PROCESS_ARGV("run", COMPILE_ALL, "--verify=1", guest));
    struct run some = run(PROCESS_ARGV("run", COMPILE_ALL, "--verify=10", guest));
    struct run one = run(PROCESS_ARGV("run", COMPILE_ALL, "--verify=4294967295", guest));

    expect_same(some, every);
    ck_assert_int_eq(one.insns, every.insns);
    ck_assert_int_eq(one.equal + one.skipped, 1);
    ck_assert_int_gt(every.equal + every.skipped, 5 * (some.equal + some.skipped));
}
END_TEST

START_TEST(devices_are_accessed_once)
{
    struct run r = run(PROCESS_ARGV("run", COMPILE_ALL, "--verify", files_guest("verify")));
    struct process *process;
    int code;

    /* Each round reads the serial port, and an address where nothing is. */
    ck_assert_int_eq(r.skipped, 0);
    process = process_run(PROCESS_ARGV("run", COMPILE_ALL, "--verify", files_guest("pass")), NULL, &code);
    ck_assert_int_eq(code, 0);
    ck_assert_str_eq(process->out_text, "hello\n");
    process_free(process);
}
END_TEST

START_TEST(memory_that_a_device_looks_at_is_skipped)
{
    struct run r = run(PROCESS_ARGV("run", COMPILE_ALL, "--verify", files_guest("htif_fail_5")));

    ck_assert_int_eq(r.code, 5);
    ck_assert_int_eq(r.skipped, 1);
}
END_TEST

/* A planted region is found, or has nothing in it that can be planted, or what is planted there is without effect. */
START_TEST(planted_miscompiles_are_found_and_named)
{
    const char *guest = files_guest("verify");
    unsigned found = 0;
    bool in_memory = false;

    for (unsigned region = 1; region <= 5; region++) {
        char plant[32], number[64];
        int code;
        (void)snprintf(plant, sizeof(plant), "--jit-plant=%u", region);
        (void)snprintf(number, sizeof(number), "tuff: verify: region %u (level 0), entered at 0x8000", region);
        struct process *process = process_run(PROCESS_ARGV("run", COMPILE_ALL, "--verify", plant, guest), NULL, &code);
        if (code == 3) {
            found++;
            in_memory |= strstr(process->err_text, "tuff: verify:   memory at 0x8000") != NULL;
            ck_assert_msg(strstr(process->err_text, number), "%s", process->err_text);
            ck_assert_ptr_nonnull(strstr(process->err_text, ", interpreter "));
            (void)snprintf(number, sizeof(number), "--dump=guest,ir,opt,asm:%u\n", region);
            ck_assert_msg(strstr(process->err_text, number), "%s", process->err_text);
            ck_assert_ptr_nonnull(strstr(process->err_text, "tuff: compiled code is wrong"));
            json_t *root = statistics_of(process);
            ck_assert_int_eq(statistics_integer(json_object_get(root, "machine"), "verify_differences"), 1);
            ck_assert_str_eq(json_string_value(json_object_get(root, "end")), "error");
            json_decref(root);
        }
        process_free(process);
    }
    ck_assert_uint_ge(found, 4);
    ck_assert(in_memory);
}
END_TEST

START_TEST(a_planted_miscompile_goes_unseen_without_verify)
{
    struct run right = run(PROCESS_ARGV("run", COMPILE_ALL, files_guest("verify")));
    struct run wrong =
        run(PROCESS_ARGV("run", COMPILE_ALL, "--jit-plant=3", "--max-insns=10000000", files_guest("verify")));

    ck_assert_int_ne(wrong.code, right.code);
    ck_assert_int_ne(wrong.code, 3);
}
END_TEST

START_TEST(what_cannot_be_verified_is_refused)
{
    process_expect_refusal(PROCESS_ARGV("run", "--verify", "--cpus=2", files_demo), "--verify, with --cpus=2");
    process_expect_refusal(PROCESS_ARGV("run", "--verify=8", "--tier=interp", files_demo), "--tier=llvm");
    process_expect_refusal(PROCESS_ARGV("run", "--verify=0", files_demo), "--verify, '0'");
    process_expect_refusal(PROCESS_ARGV("run", "--verify=often", files_demo), "--verify, 'often'");
    process_expect_refusal(PROCESS_ARGV("run", "--verify=", files_demo), "--verify");
    process_expect_refusal(PROCESS_ARGV("run", "--jit-plant=one", files_demo), "--jit-plant, 'one'");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_verify");
    TCase *verify = tcase_create("verify");

    tcase_set_timeout(verify, 120);
    tcase_add_test(verify, a_verified_run_is_like_any_other);
    tcase_add_test(verify, one_run_in_n_is_compared);
    tcase_add_test(verify, devices_are_accessed_once);
    tcase_add_test(verify, memory_that_a_device_looks_at_is_skipped);
    tcase_add_test(verify, planted_miscompiles_are_found_and_named);
    tcase_add_test(verify, a_planted_miscompile_goes_unseen_without_verify);
    tcase_add_test(verify, what_cannot_be_verified_is_refused);
    suite_add_tcase(suite, verify);
    return run_suite(suite);
}
