/* What a run ends with and what it reports: exit codes, --max-insns, --no-reboot, statistics, logging, serial ports. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include "base/compiler.h"

#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void set_up(void)
{
    files_make_folder();
}

static void tear_down(void)
{
    files_remove_all();
}

static void expect_code(const char *const *argv, const char *input, int expected)
{
    int code;
    struct process *process = process_run(argv, input, &code);

    ck_assert_msg(code == expected, "%s: %d instead of %d: %s", argv[2], code, expected, process->err_text);
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
}

/* ---- exit codes ---- */

START_TEST(test_devices_code_is_the_exit_code)
{
    expect_code(PROCESS_ARGV("run", files_guest("pass")), NULL, 0);
    expect_code(PROCESS_ARGV("run", files_guest("fail_7")), NULL, 7);
    expect_code(PROCESS_ARGV("run", files_guest("fail_300")), NULL, 255);
}
END_TEST

START_TEST(htifs_code_is_the_exit_code)
{
    expect_code(PROCESS_ARGV("run", files_guest("htif_pass")), NULL, 0);
    expect_code(PROCESS_ARGV("run", files_guest("htif_fail_5")), NULL, 5);
}
END_TEST

/* With Smdbltrp a hart takes no trap before its software has said so. */
START_TEST(critical_error_has_a_code_and_a_message_of_its_own)
{
    for (int interpret = 0; interpret < 2; interpret++) {
        int code;
        struct process *process =
            process_run(PROCESS_ARGV("run", "--isa=+smdbltrp", "--cpus=2", "--stats=json",
                                     interpret ? "--tier=interp" : "--tier=all", files_guest("trap")),
                        NULL, &code);
        ck_assert_int_eq(code, 4);
        ck_assert_ptr_nonnull(strstr(process->err_text, "guest, critical error, stopped: "));
        ck_assert_ptr_nonnull(strstr(process->err_text, "\"critical-error\""));
        process_free(process);
    }
}
END_TEST

START_TEST(demo_powers_off_with_the_code_it_is_told)
{
    expect_code(PROCESS_ARGV("run", files_demo), "poweroff\n", 0);
    expect_code(PROCESS_ARGV("run", "--cpus=4", files_demo), "help\n\n  poweroff   42 \n", 42);
}
END_TEST

START_TEST(demo_computes)
{
    int code;
    struct process *process = process_run(PROCESS_ARGV("run", "--memory=32M", files_demo),
                                          "cpuinfo\nprimes 1000\nmandelbrot 50\nwhat\npoweroff 3\n", &code);

    ck_assert_int_eq(code, 3);
    ck_assert_str_eq(process->err_text, "");
    ck_assert_ptr_nonnull(strstr(process->out_text, "168 primes below 1000, the last 997"));
    ck_assert_ptr_nonnull(strstr(process->out_text, "memory   32 MiB"));
    ck_assert_ptr_nonnull(strstr(process->out_text, "rv64imafdc"));
    ck_assert_ptr_nonnull(strstr(process->out_text, " iterations in "));
    ck_assert_ptr_nonnull(strstr(process->out_text, "unknown command: what"));
    process_free(process);
}
END_TEST

START_TEST(reboot_is_a_good_end_with_no_reboot)
{
    int code;
    struct process *process = process_run(PROCESS_ARGV("run", "--no-reboot", files_guest("reboot")), NULL, &code);

    ck_assert_int_eq(code, 0);
    ck_assert_str_eq(process->out_text, "hello\n");
    process_free(process);
}
END_TEST

/* ---- statistics and limits ---- */

static double number(const json_t *object, const char *key)
{
    ck_assert_msg(json_is_number(json_object_get(object, key)), "%s", key);
    return json_number_value(json_object_get(object, key));
}

static json_t *run_with_json(const char *const *argv, int expected)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);
    json_t *root;

    ck_assert_msg(code == expected, "%d instead of %d: %s", code, expected, process->err_text);
    root = statistics_of(process);
    ck_assert_int_eq(statistics_integer(root, "version"), 1);
    process_free(process);
    return root;
}

static const char *const limits[] = {"1", "2", "3", "99", "1000", "12345", "1000003", "20000000"};

START_TEST(max_insns_is_exact)
{
    char option[64];
    json_t *root;

    snprintf(option, sizeof(option), "--max-insns=%s", limits[_i]);
    root = run_with_json(PROCESS_ARGV("run", option, "--stats=json", files_guest("spin")), 124);
    ck_assert_int_eq(statistics_integer(root, "instructions"), strtoll(limits[_i], NULL, 10));
    ck_assert_str_eq(json_string_value(json_object_get(root, "end")), "max-insns");
    json_decref(root);
    root = run_with_json(PROCESS_ARGV("run", option, "--clock=insns", "--stats=json", files_guest("spin")), 124);
    ck_assert_int_eq(statistics_integer(root, "instructions"), strtoll(limits[_i], NULL, 10));
    json_decref(root);
}
END_TEST

START_TEST(max_insns_that_is_not_reached_changes_nothing)
{
    expect_code(PROCESS_ARGV("run", "--max-insns=1000000000", files_guest("fail_7")), NULL, 7);
}
END_TEST

START_TEST(json_of_a_run_is_sensible)
{
    static const char *const counters[] = {"insns",         "blocks_decoded", "tlb_fills",
                                           "mmio_accesses", "wfis",           "interrupts"};
    json_t *root = run_with_json(PROCESS_ARGV("run", "--cpus=3", "--stats=json", files_guest("fail_7")), 7);
    json_t *harts = json_object_get(root, "harts"), *total = json_object_get(root, "total");

    ck_assert_str_eq(json_string_value(json_object_get(root, "end")), "poweroff");
    ck_assert_int_eq(statistics_integer(root, "exit_code"), 7);
    ck_assert_int_eq(statistics_integer(root, "boots"), 1);
    ck_assert_double_gt(number(root, "start_seconds"), 0);
    ck_assert_double_gt(number(root, "run_seconds"), 0);
    ck_assert_double_ge(number(root, "cpu_user_seconds") + number(root, "cpu_system_seconds"), 0);
    ck_assert_double_gt(number(root, "mips"), 0);
    ck_assert_int_gt(statistics_integer(root, "peak_rss_bytes"), 1 << 20);
    ck_assert(json_is_object(json_object_get(root, "machine")));
    ck_assert_uint_eq(json_array_size(harts), 3);
    ck_assert_int_eq(statistics_integer(root, "instructions"), statistics_integer(total, "insns"));
    for (size_t i = 0; i < TUFF_ARRAY_LEN(counters); i++) {
        json_int_t sum = 0;
        for (size_t hart = 0; hart < 3; hart++)
            sum += statistics_integer(json_array_get(harts, hart), counters[i]);
        ck_assert_int_eq(sum, statistics_integer(total, counters[i]));
    }
    for (int hart = 0; hart < 3; hart++)
        ck_assert_int_eq(statistics_integer(json_array_get(harts, (size_t)hart), "hart"), hart);
    /* Six letters and the access to the test device. */
    ck_assert_int_ge(statistics_integer(total, "mmio_accesses"), 7);
    json_decref(root);
}
END_TEST

START_TEST(json_names_are_documented)
{
    int code;
    struct process *help = process_run(PROCESS_ARGV("help", "run"), NULL, &code);
    json_t *root = run_with_json(PROCESS_ARGV("run", "--stats=json", files_guest("pass")), 0);
    const char *text = strstr(help->out_text, "--stats=json:"), *key;
    json_t *value;

    ck_assert_ptr_nonnull(text);
    json_object_foreach(root, key, value) ck_assert_msg(strstr(text, key) != NULL, "%s", key);
    json_decref(root);
    process_free(help);
}
END_TEST

START_TEST(json_adds_up_over_reboots)
{
    struct process *process = process_start(PROCESS_ARGV("run", "--stats=json", files_guest("reboot")), PROCESS_PIPE,
                                            PROCESS_PIPE, PROCESS_PIPE);
    json_t *root;

    process_wait_for(process, "hello\nhello\nhello\n");
    process_signal(process, SIGTERM);
    ck_assert_int_eq(process_finish(process), 128 + SIGTERM);
    root = statistics_of(process);
    ck_assert_int_ge(statistics_integer(root, "boots"), 3);
    ck_assert_int_gt(statistics_integer(root, "instructions"), 0);
    json_decref(root);
    process_free(process);
}
END_TEST

START_TEST(table_names_the_same_numbers)
{
    int code;
    struct process *process =
        process_run(PROCESS_ARGV("run", "--stats", "--cpus=8", "--max-insns=5000", files_guest("spin")), NULL, &code);
    static const char *const words[] = {"tuff: statistics", "max-insns, exit code 0, 1 boot\n",
                                        "host wall time",   "host CPU time",
                                        "peak memory",      "million instructions",
                                        "insns ",           "hart 0 ",
                                        "hart 7 "};

    ck_assert_int_eq(code, 124);
    ck_assert_str_eq(process->out_text, "");
    for (size_t i = 0; i < TUFF_ARRAY_LEN(words); i++)
        ck_assert_msg(strstr(process->err_text, words[i]) != NULL, "'%s' in %s", words[i], process->err_text);
    process_free(process);
}
END_TEST

/* A run with one hart and time counted in instructions repeats to the instruction. */
START_TEST(clock_of_instructions_repeats)
{
    json_int_t insns[2];

    for (int i = 0; i < 2; i++) {
        json_t *root = run_with_json(PROCESS_ARGV("run", "--clock=insns", "--stats=json", files_guest("fail_7")), 7);
        insns[i] = statistics_integer(root, "instructions");
        json_decref(root);
    }
    ck_assert_int_eq(insns[0], insns[1]);
}
END_TEST

/* ---- log ---- */

START_TEST(log_is_silent_unless_asked_and_has_the_guests_mistakes)
{
    static const char *const specs[] = {"--log=guest", "--log=all=debug", "--log=dev=error,guest=warn"};
    int code;
    struct process *process = process_run(PROCESS_ARGV("run", "--log=all=error", files_guest("misuse")), NULL, &code);

    ck_assert_int_eq(code, 0);
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(specs); i++) {
        process = process_run(PROCESS_ARGV("run", specs[i], files_guest("misuse")), NULL, &code);
        ck_assert_int_eq(code, 0);
        ck_assert_str_eq(process->out_text, "");
        ck_assert_msg(strstr(process->err_text, "tuff: guest: ") != NULL, "%s", process->err_text);
        ck_assert_ptr_nonnull(strstr(process->err_text, "0x80"));
        for (const char *line = process->err_text; *line; line = strchr(line, '\n') + 1)
            ck_assert_msg(strncmp(line, "tuff: ", 6) == 0 && strchr(line, '\n'), "%s", line);
        process_free(process);
    }
}
END_TEST

/* ---- serial port ---- */

START_TEST(serial_stdio_is_standard_output_and_nothing_else_is)
{
    int code;
    struct process *process =
        process_run(PROCESS_ARGV("run", "--serial=stdio", "--stats", files_guest("fail_7")), NULL, &code);

    ck_assert_int_eq(code, 7);
    ck_assert_str_eq(process->out_text, "hello\n");
    ck_assert_ptr_null(strstr(process->err_text, "hello"));
    process_free(process);
}
END_TEST

START_TEST(serial_null_is_nowhere)
{
    int code;
    struct process *process = process_run(PROCESS_ARGV("run", "--serial=null", files_guest("fail_7")), "typed", &code);

    ck_assert_int_eq(code, 7);
    ck_assert_str_eq(process->out_text, "");
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
}
END_TEST

START_TEST(serial_file_replaces_what_was_there)
{
    const char *path = files_write("log", "what was there before, and is longer", 36);
    char option[600];
    char *text;
    size_t len;
    int code;
    struct process *process;

    snprintf(option, sizeof(option), "--serial=file=%s", path);
    process = process_run(PROCESS_ARGV("run", option, files_guest("fail_7")), NULL, &code);
    ck_assert_int_eq(code, 7);
    ck_assert_str_eq(process->out_text, "");
    ck_assert_str_eq(process->err_text, "");
    text = files_read(path, &len);
    ck_assert_str_eq(text, "hello\n");
    free(text);
    process_free(process);
}
END_TEST

START_TEST(serial_file_that_cannot_be_opened_is_refused)
{
    process_expect_refusal(PROCESS_ARGV("run", "--serial=file=/nonexistent/x", files_demo), "/nonexistent/x");
    process_expect_refusal(PROCESS_ARGV("run", "--serial=file=/tmp", files_demo), "/tmp");
}
END_TEST

START_TEST(serial_file_on_a_full_disk_is_reported_once)
{
    int code;
    struct process *process =
        process_run(PROCESS_ARGV("run", "--serial=file=/dev/full", files_guest("fail_7")), NULL, &code);

    ck_assert_int_eq(code, 7);
    ck_assert_msg(process_is_one_line(process->err_text), "%s", process->err_text);
    process_free(process);
}
END_TEST

START_TEST(serial_pty_is_a_terminal_whose_path_is_printed)
{
    struct process *process =
        process_start(PROCESS_ARGV("run", "--serial=pty", files_demo), PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    char path[128] = "", text[4096] = "";
    int fd;

    process_wait_for_error(process, "\n");
    ck_assert_int_eq(sscanf(process->err_text, "tuff: serial port on %127s", path), 1);
    fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s", path);
    for (size_t len = 0; !strstr(text, "demo> ");) {
        ssize_t count = read(fd, text + len, sizeof(text) - 1 - len);
        ck_assert_int_gt(count, 0);
        len += (size_t)count;
    }
    ck_assert_int_eq(write(fd, "poweroff 9\r", 11), 11);
    ck_assert_int_eq(process_finish(process), 9);
    ck_assert_str_eq(process->out_text, "");
    ck_assert_msg(process_is_one_line(process->err_text), "%s", process->err_text);
    close(fd);
    process_free(process);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_run");
    TCase *codes = tcase_create("exit_codes"), *stats = tcase_create("statistics"), *serial = tcase_create("serial");
    TCase *const all[] = {codes, stats, serial};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(all); i++) {
        tcase_set_timeout(all[i], 300);
        tcase_add_checked_fixture(all[i], set_up, tear_down);
        suite_add_tcase(suite, all[i]);
    }
    tcase_add_test(codes, test_devices_code_is_the_exit_code);
    tcase_add_test(codes, htifs_code_is_the_exit_code);
    tcase_add_test(codes, critical_error_has_a_code_and_a_message_of_its_own);
    tcase_add_test(codes, demo_powers_off_with_the_code_it_is_told);
    tcase_add_test(codes, demo_computes);
    tcase_add_test(codes, reboot_is_a_good_end_with_no_reboot);
    tcase_add_loop_test(stats, max_insns_is_exact, 0, (int)TUFF_ARRAY_LEN(limits));
    tcase_add_test(stats, max_insns_that_is_not_reached_changes_nothing);
    tcase_add_test(stats, json_of_a_run_is_sensible);
    tcase_add_test(stats, json_names_are_documented);
    tcase_add_test(stats, json_adds_up_over_reboots);
    tcase_add_test(stats, table_names_the_same_numbers);
    tcase_add_test(stats, clock_of_instructions_repeats);
    tcase_add_test(stats, log_is_silent_unless_asked_and_has_the_guests_mistakes);
    tcase_add_test(serial, serial_stdio_is_standard_output_and_nothing_else_is);
    tcase_add_test(serial, serial_null_is_nowhere);
    tcase_add_test(serial, serial_file_replaces_what_was_there);
    tcase_add_test(serial, serial_file_that_cannot_be_opened_is_refused);
    tcase_add_test(serial, serial_file_on_a_full_disk_is_reported_once);
    tcase_add_test(serial, serial_pty_is_a_terminal_whose_path_is_printed);
    return run_suite(suite);
}
