/* Child processes with pipes and pseudo-terminals; see process.h. */
#include "process.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Far beyond what anything takes, also under a sanitizer on a busy machine. */
enum { LIMIT_S = 120 };

static time_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void give_up(struct process *process, const char *what)
{
    kill(process->pid, SIGKILL);
    ck_abort_msg("gave up waiting for '%s' after %d s\nstandard output: %s\nstandard error: %s", what, LIMIT_S,
                 process->out_text, process->err_text);
}

/* In the child: `from` as descriptor `to`. */
static void put_descriptor(int from, int to)
{
    if (from == PROCESS_CLOSED)
        close(to);
    else if (dup2(from, to) < 0)
        _exit(111);
}

static void become_tuff(const char *const *argv, const int descriptors[3])
{
    struct rlimit none = {0, 0};
    sigset_t nothing;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&nothing);
    sigprocmask(SIG_SETMASK, &nothing, NULL);
    for (int i = 0; i < 3; i++)
        put_descriptor(descriptors[i], i);
    /* What an earlier run compiled would be linked, not compiled. */
    setenv("TUFF_CACHE", "", 1);
    execv(TEST_TUFF, (char *const *)argv);
    _exit(112);
}

/* Returns the child's end of what `wanted` says and, for a pipe, the test's end in *own. */
static int child_end(int wanted, bool child_reads, int *own)
{
    int ends[2];

    *own = -1;
    if (wanted != PROCESS_PIPE)
        return wanted;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    *own = ends[child_reads ? 1 : 0];
    return ends[child_reads ? 0 : 1];
}

static struct process *process_new(void)
{
    struct process *process = calloc(1, sizeof(*process));

    ck_assert_ptr_nonnull(process);
    signal(SIGPIPE, SIG_IGN);
    process->in = process->out = process->err = process->slave = -1;
    return process;
}

struct process *process_start(const char *const *argv, int in, int out, int err)
{
    struct process *process = process_new();
    int ends[3] = {child_end(in, true, &process->in), child_end(out, false, &process->out),
                   child_end(err, false, &process->err)};
    int wanted[3] = {in, out, err};

    process->pid = fork();
    ck_assert_int_ge(process->pid, 0);
    if (process->pid == 0)
        become_tuff(argv, ends);
    for (int i = 0; i < 3; i++) {
        if (wanted[i] == PROCESS_PIPE)
            close(ends[i]);
    }
    return process;
}

struct process *process_start_on_terminal(const char *const *argv)
{
    struct process *process = process_new();
    int ends[3];

    ck_assert_int_eq(openpty(&process->in, &process->slave, NULL, NULL, NULL), 0);
    fcntl(process->in, F_SETFD, FD_CLOEXEC);
    fcntl(process->slave, F_SETFD, FD_CLOEXEC);
    process->out = process->in;
    for (int i = 0; i < 3; i++)
        ends[i] = process->slave;
    process->pid = fork();
    ck_assert_int_ge(process->pid, 0);
    if (process->pid == 0) {
        setsid();
        ioctl(process->slave, TIOCSCTTY, 0);
        become_tuff(argv, ends);
    }
    return process;
}

void process_write(struct process *process, const char *text)
{
    size_t len = strlen(text);

    while (len) {
        ssize_t written = write(process->in, text, len);
        if (written < 0 && errno == EPIPE)
            return; /* it has ended: what it did is looked at anyway */
        ck_assert_int_gt(written, 0);
        text += written;
        len -= (size_t)written;
    }
}

void process_close_input(struct process *process)
{
    if (process->in >= 0 && process->in != process->out)
        close(process->in);
    process->in = process->in == process->out ? process->in : -1;
}

/* Appends what is there. Returns false at the end. A text that is full is begun anew: only the flood gets there. */
static bool read_some(int fd, char *text, size_t *len)
{
    if (*len == PROCESS_TEXT_BYTES - 1)
        *len = 0;
    ssize_t count = read(fd, text + *len, PROCESS_TEXT_BYTES - 1 - *len);
    if (count <= 0)
        return false;
    *len += (size_t)count;
    text[*len] = '\0';
    return true;
}

/* Reads once, waiting up to a tenth of a second. */
static void pump(struct process *process)
{
    struct pollfd fds[2] = {{.fd = process->out, .events = POLLIN}, {.fd = process->err, .events = POLLIN}};

    poll(fds, 2, 100);
    if (fds[0].revents && !read_some(process->out, process->out_text, &process->out_len)) {
        if (process->in == process->out)
            process->in = -1;
        close(process->out);
        process->out = -1;
    }
    if (fds[1].revents && !read_some(process->err, process->err_text, &process->err_len)) {
        close(process->err);
        process->err = -1;
    }
}

static void wait_for(struct process *process, const char *in, const char *text)
{
    time_t limit = now_s() + LIMIT_S;

    while (!strstr(in, text)) {
        if (now_s() > limit || (process->out < 0 && process->err < 0))
            give_up(process, text);
        pump(process);
    }
}

void process_wait_for(struct process *process, const char *text)
{
    wait_for(process, process->out_text, text);
}

void process_wait_for_error(struct process *process, const char *text)
{
    wait_for(process, process->err_text, text);
}

void process_forget(struct process *process)
{
    process->out_len = process->err_len = 0;
    process->out_text[0] = process->err_text[0] = '\0';
}

void process_signal(struct process *process, int signal)
{
    ck_assert_int_eq(kill(process->pid, signal), 0);
}

/* What is there now, without waiting for an end: a terminal whose other side the test holds open has none. */
static void read_rest(struct process *process)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = process->out, .events = POLLIN}, {.fd = process->err, .events = POLLIN}};
        if (poll(fds, 2, 0) <= 0 || !((fds[0].revents | fds[1].revents) & POLLIN))
            return;
        pump(process);
    }
}

int process_finish(struct process *process)
{
    time_t limit = now_s() + LIMIT_S;

    while (waitpid(process->pid, &process->status, WNOHANG) == 0) {
        if (now_s() > limit)
            give_up(process, "its end");
        pump(process);
    }
    read_rest(process);
    return WIFEXITED(process->status) ? WEXITSTATUS(process->status) : -WTERMSIG(process->status);
}

void process_free(struct process *process)
{
    process_close_input(process);
    if (process->out >= 0)
        close(process->out);
    if (process->err >= 0)
        close(process->err);
    if (process->slave >= 0)
        close(process->slave);
    free(process);
}

struct process *process_run(const char *const *argv, const char *input, int *code)
{
    struct process *process = process_start(argv, PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);

    process_write(process, input ? input : "");
    process_close_input(process);
    *code = process_finish(process);
    return process;
}

bool process_is_one_line(const char *text)
{
    const char *end = strchr(text, '\n');

    return strncmp(text, "tuff: ", 6) == 0 && end && !end[1];
}

static void describe(const char *const *argv, char *text, size_t room)
{
    size_t at = 0;

    for (; *argv && at + 1 < room; argv++) {
        size_t len = strlen(*argv) < room - at - 2 ? strlen(*argv) : room - at - 2;
        memcpy(text + at, *argv, len);
        text[at + len] = ' ';
        at += len + 1;
    }
    text[at] = '\0';
}

void process_expect_refusal(const char *const *argv, const char *what)
{
    char line[512];
    int code;
    struct process *process = process_run(argv, NULL, &code);

    describe(argv, line, sizeof(line));
    ck_assert_msg(code == 2, "%sended with %d, not 2: %s", line, code, process->err_text);
    ck_assert_msg(!process->out_text[0], "%swrote to standard output: %s", line, process->out_text);
    ck_assert_msg(process_is_one_line(process->err_text), "%sdid not write one line: %s", line, process->err_text);
    ck_assert_msg(strstr(process->err_text, what), "%sdid not mention '%s': %s", line, what, process->err_text);
    process_free(process);
}
