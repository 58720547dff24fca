/* The user's end of the serial port; see console.h.
 *
 * The console has an event loop of its own. Input goes from standard input (or the pseudo-terminal) through the back
 * end's queue to the machine; what the machine does not take now is offered again after RETRY_NS. On a terminal,
 * reading never stops, since Ctrl-A x must work while the guest does not listen: what does not fit is dropped then, as
 * on a real line. From a pipe or file nothing is lost.
 *
 * `lock` guards the attached machine and the wish to leave. The first request to leave asks the machine; if output that
 * nobody reads keeps a hart waiting, it is given up after GIVE_UP_NS; a second request ends the process at once.
 */
#include "cli/console.h"

#include "base/loop.h"
#include "cli/escape.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "machine/console_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_BYTES = 1024,
    RETRY_NS = 4 * 1000 * 1000,
    GIVE_UP_NS = 1000 * 1000 * 1000,
};

struct console {
    struct loop *loop;
    struct console_backend *backend;
    struct console_backend *second; /* NULL: one port */
    struct loop_timer *retry_timer;
    struct loop_timer *give_up_timer;
    int signal_fd;
    void (*print_stats)(void *opaque, struct machine *machine);
    void *stats_opaque;

    /* standard input; the loop's thread only */
    bool reads_stdin;
    bool stdin_is_tty;
    bool stdin_watched; /* else it is a file, always readable, which epoll refuses */
    bool stdin_ended;
    struct escape escape;
    uint8_t pending[READ_BYTES * ESCAPE_MAX_BYTES]; /* read, not yet in the back end's queue */
    size_t pending_at, pending_len;

    pthread_mutex_t lock;
    struct machine *machine;
    bool leaving;
    bool finishing; /* no further machine comes: what is left is to flush */
    int leave_signal;
};

static void handled_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGTSTP);
    sigaddset(set, SIGWINCH);
}

void console_block_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    handled_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a reader that leaves is an error code of write() */
}

static int exit_code_of(int signal)
{
    return signal ? CLI_EXIT_SIGNAL + signal : CLI_EXIT_OK;
}

static void give_up_output(void *opaque)
{
    struct console *console = opaque;

    console_backend_cancel(console->backend);
    if (console->second)
        console_backend_cancel(console->second);
}

/* Ctrl-A x (signal 0) or a signal. */
static void leave(struct console *console, int signal)
{
    bool again, have_machine, finishing;

    pthread_mutex_lock(&console->lock);
    again = console->leaving;
    have_machine = console->machine != NULL;
    finishing = console->finishing;
    console->leaving = true;
    if (!again)
        console->leave_signal = signal;
    if (have_machine)
        machine_quit(console->machine);
    pthread_mutex_unlock(&console->lock);
    if (finishing)
        give_up_output(console);
    else if (!again && have_machine)
        loop_timer_arm(console->give_up_timer, loop_now_ns() + GIVE_UP_NS);
    if (again) {
        terminal_restore();
        _exit(exit_code_of(signal));
    }
}

static void print_stats(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    if (console->machine && console->print_stats)
        console->print_stats(console->stats_opaque, console->machine);
    pthread_mutex_unlock(&console->lock);
}

static void act(struct console *console, enum escape_action action)
{
    switch (action) {
    case ESCAPE_NONE:
        return;
    case ESCAPE_LEAVE:
        leave(console, 0);
        return;
    case ESCAPE_HELP:
        (void)!write(STDERR_FILENO, escape_help_text, strlen(escape_help_text));
        return;
    case ESCAPE_STATS:
        print_stats(console);
        return;
    }
}

/* Gives the back end what is pending. Returns true when all of it fitted. */
static bool push_pending(struct console *console)
{
    size_t taken = console_backend_input(console->backend, console->pending + console->pending_at,
                                         console->pending_len - console->pending_at);

    console->pending_at += taken;
    if (console->pending_at < console->pending_len && !console->stdin_is_tty)
        return false;
    console->pending_at = console->pending_len = 0;
    return true;
}

static void put_typed(struct console *console, const uint8_t *bytes, size_t len)
{
    console->pending_at = console->pending_len = 0;
    if (!console->stdin_is_tty) {
        memcpy(console->pending, bytes, len);
        console->pending_len = len;
        return;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t out[ESCAPE_MAX_BYTES];
        size_t out_len;
        act(console, escape_feed(&console->escape, bytes[i], out, &out_len));
        memcpy(console->pending + console->pending_len, out, out_len);
        console->pending_len += out_len;
    }
}

static void end_stdin(struct console *console)
{
    console->stdin_ended = true;
    if (console->stdin_watched)
        loop_fd_remove(console->loop, STDIN_FILENO);
    console->stdin_watched = false;
}

/* Reads once. Only while nothing is pending. */
static void read_stdin(struct console *console)
{
    uint8_t bytes[READ_BYTES];
    ssize_t count = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        end_stdin(console);
        return;
    }
    put_typed(console, bytes, (size_t)count);
    if (push_pending(console))
        return;
    if (console->stdin_watched)
        (void)!loop_fd_modify(console->loop, STDIN_FILENO, 0);
    loop_timer_arm(console->retry_timer, loop_now_ns() + RETRY_NS);
}

static void on_stdin(void *opaque, int fd, uint32_t events)
{
    struct console *console = opaque;

    if (console->pending_len) {
        /* Not read now, so only a hang-up can have come: level-triggered, it would come without end. The rest of a
         * closed pipe is still read by the retry timer. */
        loop_fd_remove(console->loop, fd);
        console->stdin_watched = false;
        return;
    }
    read_stdin(console);
}

/* Offers input again that did not fit. */
static void retry_input(void *opaque)
{
    struct console *console = opaque;

    console_backend_can_receive(console->backend);
    if (console->second)
        console_backend_can_receive(console->second);
    if (!console->reads_stdin || console->stdin_ended)
        return;
    if (console->pending_len && !push_pending(console)) {
        loop_timer_arm(console->retry_timer, loop_now_ns() + RETRY_NS);
        return;
    }
    if (console->stdin_watched) {
        (void)!loop_fd_modify(console->loop, STDIN_FILENO, EPOLLIN);
        return;
    }
    read_stdin(console);
    if (!console->stdin_ended && !console->pending_len)
        loop_timer_arm(console->retry_timer, 0);
}

/* The back end offers input, from its queue, on the loop's thread. */
static size_t deliver(void *opaque, const uint8_t *bytes, size_t len)
{
    struct console *console = opaque;
    size_t taken = 0;

    pthread_mutex_lock(&console->lock);
    if (console->machine)
        taken = machine_console_input(console->machine, bytes, len);
    pthread_mutex_unlock(&console->lock);
    if (taken < len)
        loop_timer_arm(console->retry_timer, loop_now_ns() + RETRY_NS);
    return taken;
}

/* The same for the second port. */
static size_t deliver_second(void *opaque, const uint8_t *bytes, size_t len)
{
    struct console *console = opaque;
    size_t taken = 0;

    pthread_mutex_lock(&console->lock);
    if (console->machine)
        taken = machine_second_input(console->machine, bytes, len);
    pthread_mutex_unlock(&console->lock);
    if (taken < len)
        loop_timer_arm(console->retry_timer, loop_now_ns() + RETRY_NS);
    return taken;
}

/* Ctrl-Z goes to the guest in raw mode; this is `kill -TSTP`: the shell gets its terminal as it was. */
static void suspend(void)
{
    terminal_restore();
    raise(SIGSTOP); /* at this thread: sent to the process, another thread may take it and this one go on meanwhile */
    terminal_raw_again();
}

/* Tells the machine how large the user's terminal is, if there is one. With the lock. */
static void tell_size(struct console *console)
{
    struct winsize size;

    if (console->machine && console->stdin_is_tty && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        machine_set_console_size(console->machine, size.ws_col, size.ws_row);
}

static void on_resize(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    tell_size(console);
    pthread_mutex_unlock(&console->lock);
}

static void on_signal(void *opaque, int fd, uint32_t events)
{
    struct console *console = opaque;
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGTSTP)
        suspend();
    else if (info.ssi_signo == SIGWINCH)
        on_resize(console);
    else
        leave(console, (int)info.ssi_signo);
}

static int watch_signals(struct console *console)
{
    sigset_t set;

    handled_signals(&set);
    console->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (console->signal_fd < 0)
        return -errno;
    return loop_fd_add(console->loop, console->signal_fd, EPOLLIN, on_signal, console);
}

static int watch_stdin(struct console *console)
{
    struct stat st;
    int rc;

    if (!console->reads_stdin)
        return 0;
    if (fstat(STDIN_FILENO, &st)) { /* closed by who started us: as good as its end */
        console->stdin_ended = true;
        return 0;
    }
    console->stdin_is_tty = isatty(STDIN_FILENO);
    rc = loop_fd_add(console->loop, STDIN_FILENO, EPOLLIN, on_stdin, console);
    if (rc == -EPERM) {
        loop_timer_arm(console->retry_timer, 0);
        return 0;
    }
    console->stdin_watched = rc == 0;
    return rc;
}

static int open_backend(struct console *console, enum machine_serial serial, const char *path,
                        console_backend_receive_fn receive, struct console_backend **out, struct error *err)
{
    struct console_backend_config backend = {
        .path = path, .fd = STDOUT_FILENO, .receive = receive, .receive_opaque = console};

    switch (serial) {
    case MACHINE_SERIAL_STDIO:
        /* Without standard output there is nothing to print on; the guest runs on all the same. */
        backend.kind = fcntl(STDOUT_FILENO, F_GETFD) < 0 ? CONSOLE_BACKEND_NULL : CONSOLE_BACKEND_FD;
        break;
    case MACHINE_SERIAL_NULL:
        backend.kind = CONSOLE_BACKEND_NULL;
        break;
    case MACHINE_SERIAL_FILE:
        backend.kind = CONSOLE_BACKEND_FILE;
        break;
    case MACHINE_SERIAL_PTY:
        backend.kind = CONSOLE_BACKEND_PTY;
        break;
    }
    return console_backend_create(console->loop, &backend, out, err);
}

static int open_ports(struct console *console, const struct console_config *config, struct error *err)
{
    int rc = open_backend(console, config->serial, config->path, deliver, &console->backend, err);

    if (rc || !config->has_second)
        return rc;
    return open_backend(console, config->second, config->second_path, deliver_second, &console->second, err);
}

static void console_free(struct console *console)
{
    if (console->signal_fd >= 0)
        loop_fd_remove(console->loop, console->signal_fd);
    if (console->stdin_watched)
        loop_fd_remove(console->loop, STDIN_FILENO);
    if (console->loop)
        loop_stop(console->loop); /* from here on no callback runs, in whatever order the rest goes */
    console_backend_destroy(console->second);
    console_backend_destroy(console->backend);
    loop_timer_destroy(console->retry_timer);
    loop_timer_destroy(console->give_up_timer);
    loop_destroy(console->loop);
    if (console->signal_fd >= 0)
        close(console->signal_fd);
    pthread_mutex_destroy(&console->lock);
    free(console);
}

static int start(struct console *console)
{
    int rc = watch_signals(console);

    if (!rc)
        rc = watch_stdin(console);
    if (!rc && console->stdin_is_tty)
        rc = terminal_raw(STDIN_FILENO);
    loop_set_service(console->loop);
    if (!rc)
        rc = loop_start(console->loop);
    return rc;
}

int console_create(const struct console_config *config, struct console **out, struct error *err)
{
    struct console *console = calloc(1, sizeof(*console));
    int rc;

    if (!console)
        return error_set(err, -ENOMEM, "console, not enough host memory, free some");
    console->signal_fd = -1;
    console->print_stats = config->print_stats;
    console->stats_opaque = config->opaque;
    console->reads_stdin = config->serial == MACHINE_SERIAL_STDIO;
    pthread_mutex_init(&console->lock, NULL);
    rc = loop_create(&console->loop);
    if (!rc)
        rc = loop_timer_create(console->loop, retry_input, console, &console->retry_timer);
    if (!rc)
        rc = loop_timer_create(console->loop, give_up_output, console, &console->give_up_timer);
    if (rc) {
        error_set(err, rc, "console, event loop, cannot be made (%s): free memory or descriptors", strerror(-rc));
        goto fail;
    }
    rc = open_ports(console, config, err);
    if (rc)
        goto fail;
    rc = start(console);
    if (rc) {
        error_set(err, rc, "console, standard input, cannot be used (%s): try </dev/null", strerror(-rc));
        goto fail;
    }
    *out = console;
    return 0;
fail:
    terminal_restore();
    console_free(console);
    return rc;
}

void console_destroy(struct console *console)
{
    if (!console)
        return;
    pthread_mutex_lock(&console->lock);
    console->finishing = true;
    pthread_mutex_unlock(&console->lock);
    console_backend_flush(console->backend);
    if (console->second)
        console_backend_flush(console->second);
    console_free(console);
    terminal_restore();
}

void console_attach(struct console *console, struct machine *machine)
{
    bool leaving;

    machine_set_console_output(machine, console_backend_write, console->backend);
    if (console->second)
        machine_set_second_output(machine, console_backend_write, console->second);
    pthread_mutex_lock(&console->lock);
    console->machine = machine;
    tell_size(console);
    leaving = console->leaving;
    pthread_mutex_unlock(&console->lock);
    if (leaving)
        machine_quit(machine);
}

void console_detach(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    console->machine = NULL;
    pthread_mutex_unlock(&console->lock);
}

enum machine_serial console_machine_serial(enum machine_serial serial)
{
    return serial == MACHINE_SERIAL_NULL ? MACHINE_SERIAL_NULL : MACHINE_SERIAL_STDIO;
}

bool console_leaving(struct console *console, int *signal)
{
    bool leaving;

    pthread_mutex_lock(&console->lock);
    leaving = console->leaving;
    *signal = console->leave_signal;
    pthread_mutex_unlock(&console->lock);
    return leaving;
}

const char *console_pty_path(const struct console *console)
{
    return console_backend_pty_path(console->backend);
}

const char *console_second_pty_path(const struct console *console)
{
    return console->second ? console_backend_pty_path(console->second) : NULL;
}
