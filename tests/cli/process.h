/* Starting the command under test and looking at what it does. Every wait has a generous limit, at which the test fails
 * and the process is killed. */
#ifndef TUFF_TESTS_CLI_PROCESS_H
#define TUFF_TESTS_CLI_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    PROCESS_TEXT_BYTES = 1 << 25, /* --stats=json with as many regions as it ever has */
    PROCESS_ARGS = 16,
    PROCESS_CLOSED = -2, /* the process starts with this descriptor closed */
    PROCESS_PIPE = -1,   /* a pipe to the test */
};

struct process {
    pid_t pid;
    int in, out, err; /* the test's ends: pipes, or one descriptor of a pseudo-terminal for all; -1: none */
    int slave;        /* of the pseudo-terminal, kept open so that its modes stay to be looked at; -1 */
    int status;       /* of waitpid() once ended */
    char out_text[PROCESS_TEXT_BYTES], err_text[PROCESS_TEXT_BYTES]; /* read so far, always terminated */
    size_t out_len, err_len;
};

/* argv[1..]; argv[0] is the command. */
#define PROCESS_ARGV(...) ((const char *const[]){"tuff", __VA_ARGS__, NULL})

/* Starts tuff; descriptors as given, or PROCESS_PIPE, or PROCESS_CLOSED. The caller ends it with process_finish(). */
struct process *process_start(const char *const *argv, int in, int out, int err);
/* The same with a new pseudo-terminal as standard input, output and error, and as its controlling terminal. */
struct process *process_start_on_terminal(const char *const *argv);

void process_write(struct process *process, const char *text);
void process_close_input(struct process *process);
/* Reads until standard output (or the terminal), or standard error, has `text`. */
void process_wait_for(struct process *process, const char *text);
void process_wait_for_error(struct process *process, const char *text);
/* Forgets what was read. */
void process_forget(struct process *process);
void process_signal(struct process *process, int signal);

/* Reads to the end and waits. Returns the exit code, or minus the signal's number. */
int process_finish(struct process *process);
void process_free(struct process *process);

/* All of the above: starts, feeds `input` (NULL: nothing), finishes. The exit code is in *code. */
struct process *process_run(const char *const *argv, const char *input, int *code);

/* Expects a refusal: exit code 2, nothing on standard output, one line on standard error that has `what` in it. */
void process_expect_refusal(const char *const *argv, const char *what);

/* One line that starts with "tuff: ". */
bool process_is_one_line(const char *text);

#endif
