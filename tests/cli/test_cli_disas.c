/* `tuff disas`: right input is printed instruction by instruction, wrong input is refused. What each instruction's text
 * is belongs to tests/isa. */
#include "files.h"
#include "process.h"
#include "run_suite.h"

#include "base/compiler.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char expected[] = "        80000000:  00a50533  add a0, a0, a0\n"
                               "        80000004:  4505      c.li a0, 1\n"
                               "        80000006:  0000      <illegal>\n";

static void set_up(void)
{
    files_make_folder();
}

static void tear_down(void)
{
    files_remove_all();
}

static void expect_output(const char *const *argv, const char *text)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);

    ck_assert_msg(code == 0, "%d: %s", code, process->err_text);
    ck_assert_str_eq(process->out_text, text);
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
}

START_TEST(words_in_hex_are_disassembled)
{
    expect_output(PROCESS_ARGV("disas", "--address=0x80000000", "--hex", "00a50533", "4505", "0000"), expected);
    expect_output(PROCESS_ARGV("disas", "-x", "--address=2147483648", "0x00A50533", "0x4505", "0000"), expected);
}
END_TEST

START_TEST(files_and_standard_input_are_disassembled)
{
    static const char bytes[] = {0x33, 0x05, (char)0xa5, 0x00, 0x05, 0x45, 0x00, 0x00};
    const char *path = files_write("code", bytes, sizeof(bytes));
    struct process *process;

    expect_output(PROCESS_ARGV("disas", "--address=0x80000000", path), expected);
    /* Standard input cannot hold a zero byte here: two instructions without one. */
    process = process_start(PROCESS_ARGV("disas", "-"), PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    process_write(process, "\x05\x45\x93\x05\x15\x10");
    process_close_input(process);
    ck_assert_int_eq(process_finish(process), 0);
    ck_assert_str_eq(process->out_text, "               0:  4505      c.li a0, 1\n"
                                        "               2:  10150593  addi a1, a0, 257\n");
    process_free(process);
}
END_TEST

START_TEST(what_is_cut_off_is_said)
{
    expect_output(PROCESS_ARGV("disas", "--hex", "0533"), "               0:  0533      (cut off)\n");
    expect_output(PROCESS_ARGV("disas", files_write("odd", "\x05\x45\x13", 3)),
                  "               0:  4505      c.li a0, 1\n"
                  "               2:  13        (cut off)\n");
}
END_TEST

START_TEST(extensions_left_out_are_illegal)
{
    expect_output(PROCESS_ARGV("disas", "--isa=-c,-zcb,-zcmop", "--hex", "4505"),
                  "               0:  4505      <illegal>\n");
    expect_output(PROCESS_ARGV("disas", "--isa=-c,+c", "--hex", "4505"), "               0:  4505      c.li a0, 1\n");
}
END_TEST

START_TEST(words_that_are_no_instructions_are_refused)
{
    static const char *const wrong[] = {"0",  "123", "12345", "123456789", "xyzw",  "00a5053g",
                                        "0x", "",    "-4505", " 4505",     "+4505", "0x0x4505"};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++)
        process_expect_refusal(PROCESS_ARGV("disas", "--hex", "--", wrong[i]), "--hex");
    process_expect_refusal(PROCESS_ARGV("disas", "--hex", "4505", "zz"), "zz");
}
END_TEST

START_TEST(addresses_and_arguments_that_are_wrong_are_refused)
{
    static const char *const wrong[] = {"--address=", "--address=here", "--address=0x", "--address=-1",
                                        "--address=0x10000000000000000"};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++)
        process_expect_refusal(PROCESS_ARGV("disas", wrong[i], "--hex", "4505"), "--address");
    process_expect_refusal(PROCESS_ARGV("disas", "--isa=nonsense", "--hex", "4505"), "nonsense");
    process_expect_refusal(PROCESS_ARGV("disas", "one", "two"), "two");
    process_expect_refusal(PROCESS_ARGV("disas", "-"), "standard input"); /* which is empty */
    process_expect_refusal(PROCESS_ARGV("disas", files_demo), "ELF");
}
END_TEST

START_TEST(address_wraps_around_at_the_end)
{
    expect_output(PROCESS_ARGV("disas", "--address=0xfffffffffffffffe", "--hex", "4505", "4505"),
                  "fffffffffffffffe:  4505      c.li a0, 1\n"
                  "               0:  4505      c.li a0, 1\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_disas");
    TCase *disas = tcase_create("disas");

    tcase_set_timeout(disas, 300);
    tcase_add_checked_fixture(disas, set_up, tear_down);
    tcase_add_test(disas, words_in_hex_are_disassembled);
    tcase_add_test(disas, files_and_standard_input_are_disassembled);
    tcase_add_test(disas, what_is_cut_off_is_said);
    tcase_add_test(disas, extensions_left_out_are_illegal);
    tcase_add_test(disas, words_that_are_no_instructions_are_refused);
    tcase_add_test(disas, addresses_and_arguments_that_are_wrong_are_refused);
    tcase_add_test(disas, address_wraps_around_at_the_end);
    suite_add_tcase(suite, disas);
    return run_suite(suite);
}
