/* The user's end of the serial port: the terminal's modes and keys, signals, and standard input and output that are
 * pipes, closed, at their end or never read. */
#include "files.h"
#include "process.h"
#include "run_suite.h"

#include "base/compiler.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* ---- on a terminal ---- */

static struct termios modes_of(const struct process *process)
{
    struct termios modes;

    ck_assert_int_eq(tcgetattr(process->slave, &modes), 0);
    return modes;
}

static bool same_modes(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

static bool is_raw(const struct process *process)
{
    struct termios modes = modes_of(process);

    return !(modes.c_lflag & (ICANON | ECHO | ISIG | IEXTEN)) && !(modes.c_iflag & (ICRNL | IXON)) &&
           (modes.c_oflag & OPOST);
}

static const struct termios *modes_before(const struct process *process)
{
    static struct termios before;

    before = modes_of(process);
    return &before;
}

/* The demonstration at its prompt. The modes before are those of any new terminal, the same for all. */
static struct process *demo_on_terminal(void)
{
    struct process *process = process_start_on_terminal(PROCESS_ARGV("run", files_demo));

    process_wait_for(process, "demo> ");
    ck_assert(is_raw(process));
    return process;
}

static void expect_end(struct process *process, int code)
{
    struct process *fresh = process_start_on_terminal(PROCESS_ARGV("--version"));
    struct termios after, new_terminals;

    ck_assert_int_eq(process_finish(process), code);
    after = modes_of(process);
    process_finish(fresh);
    new_terminals = *modes_before(fresh);
    ck_assert_msg(same_modes(&after, &new_terminals), "the terminal's modes differ after the end");
    process_free(fresh);
    process_free(process);
}

START_TEST(leaving_key_ends_with_zero_and_restores_the_terminal)
{
    struct process *process = demo_on_terminal();

    process_write(process, "\001x");
    expect_end(process, 0);
}
END_TEST

START_TEST(power_off_restores_the_terminal)
{
    struct process *process = demo_on_terminal();

    process_write(process, "poweroff 6\r");
    expect_end(process, 6);
}
END_TEST

START_TEST(help_key_prints_the_keys_and_the_guest_goes_on)
{
    struct process *process = demo_on_terminal();

    process_write(process, "\001h");
    process_wait_for(process, "tuff: keys after Ctrl-A:\r\n");
    process_wait_for(process, "send Ctrl-A to the guest");
    process_forget(process);
    process_write(process, "xhs\r");
    process_wait_for(process, "unknown command: xhs");
    process_write(process, "poweroff 6\r");
    expect_end(process, 6);
}
END_TEST

START_TEST(control_c_and_others_go_to_the_guest)
{
    struct process *process = demo_on_terminal();

    /* Interrupt, quit, suspend, end of file, stop, start: the demonstration takes no notice of them. */
    process_write(process, "\003\034\032\004\023\021primes 100\r");
    process_wait_for(process, "25 primes below 100");
    process_write(process, "poweroff\r");
    expect_end(process, 0);
}
END_TEST

/* The harts count device accesses while another thread reads the counters: the thread sanitizer looks on. */
START_TEST(statistics_key_reports_running_harts)
{
    struct process *process = process_start_on_terminal(PROCESS_ARGV("run", "--cpus=2", files_guest("poll")));
    unsigned long long last = 0;

    process_wait_for(process, "hello");
    for (int i = 0; i < 20; i++) {
        unsigned long long insns = 0;
        const char *line;
        process_forget(process);
        process_write(process, "\001s");
        process_wait_for(process, "runs left because of a request");
        ck_assert_ptr_nonnull(strstr(process->out_text, "running, exit code 0, 1 boot\r\n"));
        line = strstr(process->out_text, "instructions a second (");
        ck_assert_ptr_nonnull(line);
        insns = strtoull(line + strlen("instructions a second ("), NULL, 10);
        ck_assert_uint_ge(insns, last);
        last = insns;
    }
    ck_assert_uint_gt(last, 1000);
    ck_assert_uint_lt(last, 1ull << 50);
    process_write(process, "\001x");
    expect_end(process, 0);
}
END_TEST

static const int ending_signals[] = {SIGTERM, SIGINT, SIGHUP};

START_TEST(signals_that_ask_to_end_restore_the_terminal)
{
    struct process *process = demo_on_terminal();

    process_signal(process, ending_signals[_i]);
    expect_end(process, 128 + ending_signals[_i]);
}
END_TEST

static const int fatal_signals[] = {SIGABRT, SIGQUIT};

START_TEST(fatal_signals_restore_the_terminal)
{
    struct process *process = demo_on_terminal();

    process_signal(process, fatal_signals[_i]);
    expect_end(process, -fatal_signals[_i]);
}
END_TEST

static void wait_until_stopped(struct process *process)
{
    int status;

    ck_assert_int_eq(waitpid(process->pid, &status, WUNTRACED), process->pid);
    ck_assert(WIFSTOPPED(status));
}

START_TEST(suspending_gives_the_terminal_back_meanwhile)
{
    struct process *process = demo_on_terminal();
    struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};

    process_signal(process, SIGTSTP);
    wait_until_stopped(process);
    ck_assert(!is_raw(process));
    process_signal(process, SIGCONT);
    for (int i = 0; i < 6000 && !is_raw(process); i++)
        nanosleep(&moment, NULL);
    ck_assert(is_raw(process));
    process_write(process, "poweroff 4\r");
    expect_end(process, 4);
}
END_TEST

START_TEST(refused_runs_do_not_touch_the_terminal)
{
    struct process *process =
        process_start_on_terminal(PROCESS_ARGV("run", "--serial=file=/nonexistent/x", files_demo));

    expect_end(process, 2);
}
END_TEST

/* ---- without a terminal ---- */

/* What waits before the guest sets up its port must not be lost: this failed while the demonstration emptied the FIFO.
 */
START_TEST(input_that_waits_at_the_start_is_not_lost)
{
    for (int i = 0; i < 20; i++) {
        int code;
        struct process *process = process_run(PROCESS_ARGV("run", files_demo), "poweroff 11\n", &code);
        ck_assert_int_eq(code, 11);
        process_free(process);
    }
}
END_TEST

/* More than every buffer on the way holds, all in order: the last line counts. */
START_TEST(long_input_from_a_pipe_arrives_whole)
{
    enum { LINES = 2000, LINE_BYTES = 11 };
    static char text[LINES * LINE_BYTES + 32];
    size_t at = 0;
    int code;
    struct process *process;

    for (int i = 0; i < LINES; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "nothing%03d\n", i % 1000);
    snprintf(text + at, sizeof(text) - at, "poweroff 12\n");
    process = process_run(PROCESS_ARGV("run", files_demo), text, &code);
    ck_assert_int_eq(code, 12);
    at = 0;
    for (const char *from = process->out_text; (from = strstr(from, "unknown command: nothing")); from++)
        at++;
    ck_assert_uint_eq(at, LINES);
    process_free(process);
}
END_TEST

START_TEST(escape_key_is_a_byte_like_any_other_in_a_pipe)
{
    int code;
    struct process *process = process_run(PROCESS_ARGV("run", files_demo), "\001xyz\npoweroff 2\n", &code);

    ck_assert_int_eq(code, 2);
    ck_assert_ptr_nonnull(strstr(process->out_text, "unknown command: xyz"));
    process_free(process);
}
END_TEST

START_TEST(end_of_input_does_not_end_the_guest)
{
    int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int inputs[] = {none, PROCESS_CLOSED};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(inputs); i++) {
        struct process *process = process_start(PROCESS_ARGV("run", "--max-insns=3000000", files_guest("greet_spin")),
                                                inputs[i], PROCESS_PIPE, PROCESS_PIPE);
        ck_assert_int_eq(process_finish(process), 124);
        ck_assert_str_eq(process->out_text, "hello\n");
        ck_assert_str_eq(process->err_text, "");
        process_free(process);
    }
    close(none);
}
END_TEST

START_TEST(input_from_a_file_is_read)
{
    int fd;
    struct process *process;

    files_make_folder();
    fd = open(files_write("input", "primes 10\npoweroff 13\n", 22), O_RDONLY | O_CLOEXEC);
    process = process_start(PROCESS_ARGV("run", files_demo), fd, PROCESS_PIPE, PROCESS_PIPE);
    ck_assert_int_eq(process_finish(process), 13);
    ck_assert_ptr_nonnull(strstr(process->out_text, "4 primes below 10"));
    process_free(process);
    close(fd);
    files_remove_all();
}
END_TEST

/* Closed descriptors must not become those of files opened later: the thread sanitizer noticed that the guest's output
 * went to the event loop's. Here the file would get the statistics. */
START_TEST(closed_descriptors_do_not_matter)
{
    struct process *process =
        process_start(PROCESS_ARGV("run", files_guest("fail_7")), PROCESS_PIPE, PROCESS_CLOSED, PROCESS_PIPE);
    char option[600];
    const char *path;
    char *text;
    size_t len;

    ck_assert_int_eq(process_finish(process), 7);
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
    files_make_folder();
    path = files_path("log");
    snprintf(option, sizeof(option), "--serial=file=%s", path);
    process = process_start(PROCESS_ARGV("run", "--stats", option, files_guest("fail_7")), PROCESS_CLOSED,
                            PROCESS_CLOSED, PROCESS_CLOSED);
    ck_assert_int_eq(process_finish(process), 7);
    text = files_read(path, &len);
    ck_assert_str_eq(text, "hello\n");
    free(text);
    process_free(process);
    files_remove_all();
}
END_TEST

START_TEST(reader_that_leaves_does_not_kill)
{
    int ends[2];
    struct process *process;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    process = process_start(PROCESS_ARGV("run", files_demo), PROCESS_PIPE, ends[1], PROCESS_PIPE);
    close(ends[0]);
    close(ends[1]);
    process_write(process, "help\nmandelbrot 10\npoweroff 14\n");
    process_close_input(process);
    ck_assert_int_eq(process_finish(process), 14);
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
}
END_TEST

static bool is_full(int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    return poll(&room, 1, 0) == 0;
}

/* A guest that prints without end into a pipe that nobody reads is held up, and a signal ends it all the same. */
START_TEST(reader_that_does_not_read_does_not_keep_the_process)
{
    int ends[2];
    struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};
    struct process *process;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    process = process_start(PROCESS_ARGV("run", files_guest("flood")), PROCESS_PIPE, ends[1], PROCESS_PIPE);
    for (int i = 0; i < 6000 && !is_full(ends[1]); i++)
        nanosleep(&moment, NULL);
    ck_assert(is_full(ends[1]));
    process_signal(process, SIGTERM);
    ck_assert_int_eq(process_finish(process), 128 + SIGTERM);
    close(ends[0]);
    close(ends[1]);
    process_free(process);
}
END_TEST

START_TEST(output_is_complete_when_the_reader_is_slow)
{
    struct process *process = process_start(PROCESS_ARGV("run", "--max-insns=400002", files_guest("flood")),
                                            PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);

    /* Two instructions to set up, two a letter. */
    ck_assert_int_eq(process_finish(process), 124);
    ck_assert_uint_eq(process->out_len, 200000);
    process_free(process);
}
END_TEST

START_TEST(signals_end_a_run_without_a_terminal)
{
    struct process *process = process_start(PROCESS_ARGV("run", files_demo), PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);

    process_wait_for(process, "demo> ");
    process_signal(process, ending_signals[_i]);
    ck_assert_int_eq(process_finish(process), 128 + ending_signals[_i]);
    ck_assert_str_eq(process->err_text, "");
    process_free(process);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_console");
    TCase *terminal = tcase_create("terminal"), *pipes = tcase_create("pipes");

    tcase_set_timeout(terminal, 300);
    tcase_set_timeout(pipes, 300);
    tcase_add_test(terminal, leaving_key_ends_with_zero_and_restores_the_terminal);
    tcase_add_test(terminal, power_off_restores_the_terminal);
    tcase_add_test(terminal, help_key_prints_the_keys_and_the_guest_goes_on);
    tcase_add_test(terminal, control_c_and_others_go_to_the_guest);
    tcase_add_test(terminal, statistics_key_reports_running_harts);
    tcase_add_loop_test(terminal, signals_that_ask_to_end_restore_the_terminal, 0, (int)TUFF_ARRAY_LEN(ending_signals));
    tcase_add_loop_test(terminal, fatal_signals_restore_the_terminal, 0, (int)TUFF_ARRAY_LEN(fatal_signals));
    tcase_add_test(terminal, suspending_gives_the_terminal_back_meanwhile);
    tcase_add_test(terminal, refused_runs_do_not_touch_the_terminal);
    tcase_add_test(pipes, input_that_waits_at_the_start_is_not_lost);
    tcase_add_test(pipes, long_input_from_a_pipe_arrives_whole);
    tcase_add_test(pipes, escape_key_is_a_byte_like_any_other_in_a_pipe);
    tcase_add_test(pipes, end_of_input_does_not_end_the_guest);
    tcase_add_test(pipes, input_from_a_file_is_read);
    tcase_add_test(pipes, closed_descriptors_do_not_matter);
    tcase_add_test(pipes, reader_that_leaves_does_not_kill);
    tcase_add_test(pipes, reader_that_does_not_read_does_not_keep_the_process);
    tcase_add_test(pipes, output_is_complete_when_the_reader_is_slow);
    tcase_add_loop_test(pipes, signals_end_a_run_without_a_terminal, 0, (int)TUFF_ARRAY_LEN(ending_signals));
    suite_add_tcase(suite, terminal);
    suite_add_tcase(suite, pipes);
    return run_suite(suite);
}
