/* Raw mode and its undoing; see terminal.h.
 *
 * Everything that runs in a signal handler is async-signal-safe: tcsetattr(), sigaction() and an atomic flag. SIGTTOU
 * is held back while the mode is set, because a background process would be stopped in the middle of leaving. SIGKILL
 * cannot be helped: `stty sane` is what the help says.
 */
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>

static struct termios saved_mode, raw_mode;
static int terminal_fd = -1;
static atomic_bool is_raw;

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT};

static int set_mode(const struct termios *mode)
{
    sigset_t ttou, before;
    int rc;

    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &ttou, &before);
    do {
        rc = tcsetattr(terminal_fd, TCSADRAIN, mode) ? -errno : 0;
    } while (rc == -EINTR);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

void terminal_restore(void)
{
    if (atomic_exchange(&is_raw, false))
        (void)set_mode(&saved_mode);
}

void terminal_raw_again(void)
{
    if (terminal_fd >= 0 && !atomic_exchange(&is_raw, true))
        (void)set_mode(&raw_mode);
}

/* The handler was reset on entry (SA_RESETHAND): raising the signal again ends the process as it would have ended. */
static void on_fatal_signal(int number)
{
    terminal_restore();
    raise(number);
}

static void catch_fatal_signals(void)
{
    struct sigaction action = {.sa_handler = on_fatal_signal, .sa_flags = SA_RESETHAND | SA_NODEFER};
    struct sigaction before;

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(fatal_signals); i++) {
        /* A sanitizer's handler, or one the engine has for guest memory, stays. */
        if (sigaction(fatal_signals[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(fatal_signals[i], &action, NULL);
    }
}

int terminal_raw(int fd)
{
    static bool registered;
    int rc;

    if (tcgetattr(fd, &saved_mode))
        return -errno;
    raw_mode = saved_mode;
    cfmakeraw(&raw_mode);
    raw_mode.c_oflag = saved_mode.c_oflag | OPOST;
    terminal_fd = fd;
    if (!registered && atexit(terminal_restore))
        return -ENOMEM;
    registered = true;
    catch_fatal_signals();
    atomic_store(&is_raw, true);
    rc = set_mode(&raw_mode);
    if (rc)
        atomic_store(&is_raw, false);
    return rc;
}
