/* The command line: every mistake is refused with exit code 2 and one line before anything starts, and help says what
 * the parser accepts, no more and no less. */
#include "files.h"
#include "process.h"
#include "run_suite.h"

#include "base/log.h"
#include "cli/command.h"
#include "cli/values.h"

#include <check.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set_up(void)
{
    files_make_folder();
}

static void tear_down(void)
{
    files_remove_all();
}

static const struct option_row *find_row(const struct command *command, const char *name, size_t len)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if ((row->commands & command->options) && strlen(row->name) == len && memcmp(row->name, name, len) == 0)
            return row;
    }
    return NULL;
}

/* ---- refusals ---- */

START_TEST(networks_and_shares_that_cannot_be_are_refused)
{
    static const char *const nets[] = {"modem",
                                       "",
                                       "mtu=1500",
                                       "user,mtu=67",
                                       "user,mtu=65521",
                                       "user,queues=0",
                                       "user,queues=9",
                                       "user,mac=52:54:00:12:34",
                                       "user,mac=53:54:00:12:34:56",
                                       "user,rate=0",
                                       "user,packets=x",
                                       "user,ifname=tap0",
                                       "tap,restrict",
                                       "socket",
                                       "socket,path=",
                                       "user,forward=tcp:22",
                                       "user,forward=tcp:0:22"};
    static const char *const shares[] = {
        "", "readonly,/tmp", "/tmp,tag=", "/tmp,squash=1", "/tmp,squash=a:b", "/tmp,/usr,tag=share", "/nonexistent"};
    char option[128];

    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
        snprintf(option, sizeof(option), "--net=%s", nets[i]);
        process_expect_refusal(PROCESS_ARGV("run", option, files_demo), strstr(nets[i], "tcp") ? "tcp" : "--net");
    }
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        snprintf(option, sizeof(option), "--share=%s", shares[i]);
        process_expect_refusal(PROCESS_ARGV("run", option, files_demo), i == 6 ? "/nonexistent" : "--share");
    }
    process_expect_refusal(PROCESS_ARGV("run", "--forward=2222:22", files_demo), "2222:22");
}
END_TEST

/* Devices of cli/devices.c: settings that are none, or lack something. */
START_TEST(devices_that_cannot_be_are_refused)
{
    static const char *const options[] = {"--vsock=",
                                          "--vsock=cid=3",
                                          "--vsock=path=/tmp/v",
                                          "--vsock=cid=2,path=x",
                                          "--vsock=cid=3,path=",
                                          "--vsock=cid=x,path=x",
                                          "--vsock=cid=3,path=x,y",
                                          "--vsock=cid=4294967295,path=x",
                                          "--input=",
                                          "--channel=",
                                          "--channel=a",
                                          "--channel=path=x",
                                          "--channel=a,path=",
                                          "--channel=a,path=/nonexistent/x",
                                          "--channel=a/b,path=x",
                                          "--input=pen,path=/dev/null",
                                          "--input=mouse",
                                          "--input=path=x",
                                          "--input=mouse,path=/nonexistent",
                                          "--input=mouse,path=/etc/passwd",
                                          "--sound=",
                                          "--sound=out=",
                                          "--sound=in=/nonexistent",
                                          "--sound=out=a,alsa=b"};

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        char name[16];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(options[i], "="), options[i]);
        process_expect_refusal(PROCESS_ARGV("run", options[i], files_demo), name);
    }
}
END_TEST

START_TEST(words_that_are_no_option_or_command_are_refused)
{
    process_expect_refusal(PROCESS_ARGV("run", "--nonsense", files_demo), "--nonsense");
    process_expect_refusal(PROCESS_ARGV("run", "--nonsense=7", files_demo), "--nonsense");
    process_expect_refusal(PROCESS_ARGV("run", "-q", files_demo), "-q");
    process_expect_refusal(PROCESS_ARGV("run", "--mem=64M", files_demo), "--mem");
    process_expect_refusal(PROCESS_ARGV("run", files_demo, "--nonsense"), "--nonsense");
    process_expect_refusal(PROCESS_ARGV("run", "--kernel=x", files_demo), "--kernel");
    process_expect_refusal(PROCESS_ARGV("boot", "--hex", "--kernel=x"), "--hex");
    process_expect_refusal(PROCESS_ARGV("disas", "--memory=1G", "x"), "--memory");
    process_expect_refusal(PROCESS_ARGV("--nonsense"), "--nonsense");
    process_expect_refusal(PROCESS_ARGV("--version=2"), "--version");
    process_expect_refusal(PROCESS_ARGV("nonsense"), "nonsense");
    process_expect_refusal(PROCESS_ARGV(""), "command");
    process_expect_refusal(PROCESS_ARGV("help", "nonsense"), "nonsense");
    process_expect_refusal(PROCESS_ARGV("help", "run", "boot"), "boot");
    process_expect_refusal(PROCESS_ARGV("run", "--no-reboot=1", files_demo), "--no-reboot");
    process_expect_refusal(PROCESS_ARGV("run", "--wait-gdb", files_demo), "--wait-gdb");
    process_expect_refusal(PROCESS_ARGV("run", "--gdb=here", files_demo), "--gdb");
    process_expect_refusal(PROCESS_ARGV("run", "--gdb=unix:", files_demo), "--gdb");
    process_expect_refusal(PROCESS_ARGV("run", "--gdb=:0", "--verify", files_demo), "--verify");
    process_expect_refusal(PROCESS_ARGV("run", "--stats=xml", files_demo), "--stats");
    process_expect_refusal(PROCESS_ARGV("run", "--stats=", files_demo), "--stats");
}
END_TEST

START_TEST(control_characters_do_not_reach_the_terminal)
{
    process_expect_refusal(PROCESS_ARGV("run", "a\033[2Jb\nc"), "a?[2Jb?c");
}
END_TEST

START_TEST(missing_values_and_operands_are_refused)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        char option[64];
        if (row->kind != OPTION_VALUE && row->kind != OPTION_LIST)
            continue;
        snprintf(option, sizeof(option), "--%s", row->name);
        for (size_t k = 0; k < command_count; k++) {
            if (row->commands & commands[k]->options)
                process_expect_refusal(PROCESS_ARGV(commands[k]->name, option), option);
        }
    }
    process_expect_refusal(PROCESS_ARGV("boot", "-m"), "-m");
    process_expect_refusal(PROCESS_ARGV("boot"), "--kernel");
    process_expect_refusal(PROCESS_ARGV("run"), "ELF");
    process_expect_refusal(PROCESS_ARGV("run", files_demo, "second"), "second");
    process_expect_refusal(PROCESS_ARGV("boot", "Image"), "--kernel=Image");
    process_expect_refusal(PROCESS_ARGV("boot", "--kernel=/x", "stray"), "stray");
    process_expect_refusal(PROCESS_ARGV("disas"), "no file");
    process_expect_refusal(PROCESS_ARGV("disas", "--hex"), "--hex");
}
END_TEST

/* An option with a value it does not take. The value is in the message, so that a long command line can be mended. */
static const struct {
    const char *option, *value;
} wrong_values[] = {
    {"memory", "0"},
    {"memory", "0M"},
    {"memory", ""},
    {"memory", "lots"},
    {"memory", "-1"},
    {"memory", "-512M"},
    {"memory", "1.5G"},
    {"memory", "512MB"},
    {"memory", "0x1000000"},
    {"memory", "16777216T"},
    {"memory", "18446744073709551616"},
    {"memory", "99999999999999999999999999"},
    {"cpus", "0"},
    {"cpus", ""},
    {"cpus", "-1"},
    {"cpus", "two"},
    {"cpus", "2 "},
    {"cpus", "1.5"},
    {"cpus", "0x2"},
    {"cpus", "10000"},
    {"cpus", "65"},
    {"cpus", "4294967296"},
    {"cpus", "18446744073709551617"},
    {"max-insns", "0"},
    {"max-insns", ""},
    {"max-insns", "-5"},
    {"max-insns", "1e9"},
    {"max-insns", "18446744073709551615"},
    {"max-insns", "18446744073709551616"},
    {"aia", ""},
    {"aia", "plic"},
    {"aia", "imsic"},
    {"clock", ""},
    {"clock", "guest"},
    {"clock", "HOST"},
    {"serial", ""},
    {"serial", "tcp"},
    {"serial", "file="},
    {"serial", "file"},
    {"serial", "pty0"},
    {"serial", "null,"},
    {"serial", "stdio,stdio"},
    {"serial", "null,stdio"},
    {"serial", "null,null,null"},
    {"serial", "file=,null"},
    {"isa", ""},
    {"isa", "rv32gc"},
    {"isa", "-i"},
    {"isa", "-f"},
    {"log", "nonsense"},
    {"log", "dev=loud"},
    {"log", "=debug"},
    {"tier", "fast"},
    {"tune", "nonsense=1"},
    {"tune", "threshold"},
    {"tune", "threshold=-1"},
    {"jit-threshold", "-1"},
    {"jit-sample", "2"},
    {"jit-sample", "1/0"},
    {"jit-bisect", "half"},
    {"jit-random", "-1"},
    {"tune", "code_kib=15"},
    {"dump", "everything"},
    {"dump", "asm:0"},
    {"dump", "asm:"},
    {"dump", "asm:1x"},
    {"dump", "asm:0xg"},
    {"dump", "asm:0x10-"},
    {"dump", "asm:0x10-0x10"},
    {"dump", "asm:0x12345678901234567-0x2"},
    {"pass-plugin", "/nonexistent.so"},
    {"load", "file"},
    {"load", "@0x80000000"},
    {"load", "file@"},
    {"load", "file@top"},
};

START_TEST(values_out_of_range_are_refused)
{
    char argument[128];

    if (!find_row(&command_run, wrong_values[_i].option, strlen(wrong_values[_i].option)))
        return; /* of a part that was not built in */
    snprintf(argument, sizeof(argument), "--%s=%s", wrong_values[_i].option, wrong_values[_i].value);
    process_expect_refusal(PROCESS_ARGV("run", argument, files_demo), wrong_values[_i].value);
    process_expect_refusal(PROCESS_ARGV("boot", argument, "--kernel=/nonexistent"), wrong_values[_i].value);
}
END_TEST

/* A list goes on where the option is given again, so a mistake in the first is not covered by the second. */
START_TEST(lists_add_up_and_other_options_take_the_last)
{
    process_expect_refusal(PROCESS_ARGV("run", "--log=nonsense", "--log=dev", files_demo), "nonsense,dev");
    process_expect_refusal(PROCESS_ARGV("run", "--memory=1", "--memory=2", files_demo), "2");
    if (find_row(&command_run, "tune", 4))
        process_expect_refusal(PROCESS_ARGV("run", "--tune=nonsense=1", "--tune=threshold=5", files_demo),
                               "nonsense=1");
}
END_TEST

START_TEST(sizes_that_the_board_cannot_have_are_refused)
{
    static const char *const wrong[] = {"--memory=1",    "--memory=4K",   "--memory=2047K",    "--memory=2097153",
                                        "--memory=257G", "--memory=100T", "--memory=16777215T"};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++)
        process_expect_refusal(PROCESS_ARGV("run", wrong[i], files_demo), "bytes of memory: choose");
}
END_TEST

START_TEST(options_that_exclude_each_other_are_refused)
{
    process_expect_refusal(PROCESS_ARGV("run", "--clock=insns", "--cpus=2", files_demo), "--cpus=2");
    process_expect_refusal(PROCESS_ARGV("run", "--cpus=2", "--clock=insns", files_demo), "--clock");
    process_expect_refusal(PROCESS_ARGV("boot", "--cpus=2", "--clock=insns", "--kernel=/x"), "--clock");
    process_expect_refusal(PROCESS_ARGV("boot", "--bios=/nonexistent"), "/nonexistent");
    process_expect_refusal(PROCESS_ARGV("boot", "--bios=/x", "--initrd=/y"), "an initrd without a kernel");
}
END_TEST

START_TEST(the_last_of_two_values_counts)
{
    int code;
    struct process *process = process_run(
        PROCESS_ARGV("run", "--max-insns=5", "--max-insns=900", "--stats=json", files_guest("spin")), NULL, &code);

    ck_assert_int_eq(code, 124);
    ck_assert_msg(strstr(process->err_text, "\"instructions\":900,") != NULL, "%s", process->err_text);
    process_free(process);
}
END_TEST

START_TEST(refused_runs_leave_no_trace)
{
    const char *log = files_path("serial"), *tree = files_path("tree");
    char serial[600], dump[600];

    snprintf(serial, sizeof(serial), "--serial=file=%s", log);
    snprintf(dump, sizeof(dump), "--dump-dtb=%s", tree);
    process_expect_refusal(PROCESS_ARGV("run", serial, dump, "/nonexistent"), "/nonexistent");
    process_expect_refusal(PROCESS_ARGV("run", serial, dump, "--cpus=10000", files_demo), "10000");
    ck_assert_int_ne(access(log, F_OK), 0);
    ck_assert_int_ne(access(tree, F_OK), 0);
}
END_TEST

/* ---- help ---- */

static struct process *run_well(const char *const *argv)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);

    ck_assert_msg(code == 0, "%s %s: %d %s", argv[0], argv[1], code, process->err_text);
    ck_assert_str_eq(process->err_text, "");
    ck_assert_int_gt(process->out_len, 0);
    return process;
}

START_TEST(nothing_given_shows_the_overview_and_is_an_error)
{
    int code;
    struct process *process = process_run((const char *const[]){"tuff", NULL}, NULL, &code);

    ck_assert_int_eq(code, 2);
    ck_assert_str_eq(process->out_text, "");
    ck_assert_ptr_nonnull(strstr(process->err_text, "Usage: tuff COMMAND"));
    process_free(process);
}
END_TEST

START_TEST(overview_names_every_command_and_exit_code)
{
    struct process *help = run_well(PROCESS_ARGV("--help"));
    struct process *same = run_well(PROCESS_ARGV("help")), *brief = run_well(PROCESS_ARGV("-h"));
    static const char *const codes[] = {"\n  0 ", "\n  N ", "\n  2 ", "\n  3 ", "\n  124 ", "\n  128+ "};

    ck_assert_str_eq(help->out_text, same->out_text);
    ck_assert_str_eq(help->out_text, brief->out_text);
    for (size_t i = 0; i < command_count; i++) {
        char line[32];
        snprintf(line, sizeof(line), "\n  %-8s ", commands[i]->name);
        ck_assert_msg(strstr(help->out_text, line) != NULL, "%s", commands[i]->name);
    }
    for (size_t i = 0; i < TUFF_ARRAY_LEN(codes); i++)
        ck_assert_msg(strstr(help->out_text, codes[i]) != NULL, "%s", codes[i]);
    process_free(help);
    process_free(same);
    process_free(brief);
}
END_TEST

START_TEST(version_is_one_line)
{
    struct process *version = run_well(PROCESS_ARGV("--version")), *brief = run_well(PROCESS_ARGV("-V"));
    const char *at = version->out_text;

    ck_assert_int_eq(strncmp(at, "tuff ", 5), 0);
    at += 5;
    for (unsigned part = 0; part < 3; part++) {
        size_t digits = strspn(at, "0123456789");
        ck_assert_uint_ge(digits, 1);
        at += digits;
        ck_assert_int_eq(*at++, part < 2 ? '.' : '\n');
    }
    ck_assert_ptr_eq(strchr(version->out_text, '\n'), version->out_text + version->out_len - 1);
    ck_assert_str_eq(version->out_text, brief->out_text);
    process_free(version);
    process_free(brief);
}
END_TEST

/* Every word of the text that begins with two dashes is an option of the command. */
static void check_options_exist(const struct command *command, const char *text)
{
    unsigned seen = 0;

    for (const char *at = text; (at = strstr(at, "--")); at += 2) {
        size_t len = 0;
        if ((at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '-')) || !islower((unsigned char)at[2]))
            continue;
        while (islower((unsigned char)at[2 + len]) || isdigit((unsigned char)at[2 + len]) || at[2 + len] == '-')
            len++;
        /* LLVM's own `opt --passes` is spoken of in the help of the option of that name. */
        ck_assert_msg(find_row(command, at + 2, len) != NULL, "help of %s speaks of --%.*s", command->name, (int)len,
                      at + 2);
        seen++;
    }
    ck_assert_uint_ge(seen, 1); /* --help */
}

START_TEST(help_and_the_option_table_agree)
{
    const struct command *command = commands[_i];
    struct process *help = run_well(PROCESS_ARGV("help", command->name));
    struct process *same = run_well(PROCESS_ARGV(command->name, "--help")),
                   *brief = run_well(PROCESS_ARGV(command->name, "-h"));

    ck_assert_str_eq(help->out_text, same->out_text);
    ck_assert_str_eq(help->out_text, brief->out_text);
    check_options_exist(command, help->out_text);
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        char text[80], letter[8] = "   ";
        if (!(row->commands & command->options))
            continue;
        if (row->letter)
            snprintf(letter, sizeof(letter), "-%c,", row->letter);
        snprintf(text, sizeof(text), "\n  %s --%s", letter, row->name);
        ck_assert_msg(strstr(help->out_text, text) != NULL, "help of %s lacks --%s", command->name, row->name);
    }
    process_free(help);
    process_free(same);
    process_free(brief);
}
END_TEST

START_TEST(options_of_the_table_are_parsed_in_every_form)
{
    const struct command *command = commands[_i];

    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        struct option_values values;
        bool takes_next = row->kind == OPTION_VALUE || row->kind == OPTION_LIST;
        char together[64], apart[64], letter[] = {'-', row->letter, '\0'};
        if (!(row->commands & command->options))
            continue;
        snprintf(apart, sizeof(apart), "--%s", row->name);
        snprintf(together, sizeof(together), "--%s=json", row->name);
        const char *with_equals[] = {"", row->kind == OPTION_FLAG ? apart : together, "rest", NULL};
        ck_assert_int_eq(options_parse(command, 3, with_equals, &values), 0);
        ck_assert_str_eq(values.value[row->id], row->kind == OPTION_FLAG ? "" : "json");
        ck_assert_uint_eq(values.operand_count, 1);
        ck_assert_str_eq(values.operands[0], "rest");
        options_free(&values);

        const char *words[] = {"", apart, "json", "rest", NULL};
        ck_assert_int_eq(options_parse(command, 4, words, &values), 0);
        ck_assert_str_eq(values.value[row->id], takes_next ? "json" : "");
        ck_assert_uint_eq(values.operand_count, takes_next ? 1 : 2);
        options_free(&values);

        const char *brief[] = {"", letter, "json", NULL};
        if (row->letter) {
            ck_assert_int_eq(options_parse(command, 3, brief, &values), 0);
            ck_assert_ptr_nonnull(values.value[row->id]);
            options_free(&values);
        }
    }
}
END_TEST

START_TEST(lists_of_values_are_complete_and_accepted)
{
    struct process *log = run_well(PROCESS_ARGV("run", "--log=help")),
                   *isa = run_well(PROCESS_ARGV("boot", "--isa=help"));
    struct process *disas = run_well(PROCESS_ARGV("disas", "--isa=help"));

    for (int i = 0; i < LOG_SUBSYSTEM_COUNT; i++) {
        const char *name = log_subsystem_name((enum log_subsystem)i);
        char spec[64];
        int code;
        ck_assert_msg(strstr(log->out_text, name) != NULL, "%s", name);
        snprintf(spec, sizeof(spec), "--log=%s=error", name);
        struct process *process = process_run(PROCESS_ARGV("run", spec, files_guest("pass")), NULL, &code);
        ck_assert_int_eq(code, 0);
        ck_assert_str_eq(process->err_text, "");
        process_free(process);
    }
    ck_assert_ptr_nonnull(strstr(isa->out_text, values_isa_names()));
    ck_assert_ptr_nonnull(strstr(disas->out_text, values_isa_names()));
    process_free(log);
    process_free(isa);
    process_free(disas);
}
END_TEST

START_TEST(help_that_cannot_be_written_is_a_failure)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    const int outputs[] = {full, PROCESS_CLOSED};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(outputs); i++) {
        struct process *process = process_start(PROCESS_ARGV("--help"), PROCESS_PIPE, outputs[i], PROCESS_PIPE);
        ck_assert_int_eq(process_finish(process), 3);
        ck_assert_msg(process_is_one_line(process->err_text), "%s", process->err_text);
        process_free(process);
    }
    close(full);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_usage");
    TCase *refusals = tcase_create("refusals");
    TCase *help = tcase_create("help");

    tcase_set_timeout(refusals, 300);
    tcase_set_timeout(help, 300);
    tcase_add_checked_fixture(refusals, set_up, tear_down);
    tcase_add_test(refusals, words_that_are_no_option_or_command_are_refused);
    tcase_add_test(refusals, devices_that_cannot_be_are_refused);
    tcase_add_test(refusals, networks_and_shares_that_cannot_be_are_refused);
    tcase_add_test(refusals, control_characters_do_not_reach_the_terminal);
    tcase_add_test(refusals, missing_values_and_operands_are_refused);
    tcase_add_loop_test(refusals, values_out_of_range_are_refused, 0, (int)TUFF_ARRAY_LEN(wrong_values));
    tcase_add_test(refusals, lists_add_up_and_other_options_take_the_last);
    tcase_add_test(refusals, sizes_that_the_board_cannot_have_are_refused);
    tcase_add_test(refusals, options_that_exclude_each_other_are_refused);
    tcase_add_test(refusals, the_last_of_two_values_counts);
    tcase_add_test(refusals, refused_runs_leave_no_trace);
    tcase_add_test(help, nothing_given_shows_the_overview_and_is_an_error);
    tcase_add_test(help, overview_names_every_command_and_exit_code);
    tcase_add_test(help, version_is_one_line);
    tcase_add_loop_test(help, help_and_the_option_table_agree, 0, (int)command_count);
    tcase_add_loop_test(help, options_of_the_table_are_parsed_in_every_form, 0, (int)command_count);
    tcase_add_test(help, lists_of_values_are_complete_and_accepted);
    tcase_add_test(help, help_that_cannot_be_written_is_a_failure);
    suite_add_tcase(suite, refusals);
    suite_add_tcase(suite, help);
    return run_suite(suite);
}
