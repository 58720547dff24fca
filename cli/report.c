/* One-line messages on standard error; see report.h. Each is one write, so that lines of several threads do not mix,
 * and control characters (a file name may hold them) are shown as '?', so that they cannot drive the user's terminal.
 */
#include "cli/report.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 1024 };

static void write_line(char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    }
    line[len] = '\n';
    /* Standard error may be closed or full; there is nobody left to tell. */
    (void)!write(STDERR_FILENO, line, len + 1);
}

static size_t clamp(int printed, size_t room)
{
    if (printed < 0)
        return 0;
    return (size_t)printed < room ? (size_t)printed : room - 1;
}

void report_error(const char *format, ...)
{
    char line[LINE_BYTES] = "tuff: ";
    size_t at = strlen(line);
    va_list args;

    va_start(args, format);
    at += clamp(vsnprintf(line + at, sizeof(line) - at - 1, format, args), sizeof(line) - at - 1);
    va_end(args);
    write_line(line, at);
}

static void log_line(void *opaque, enum log_level level, enum log_subsystem subsystem, const char *text)
{
    static const char *const level_names[] = {"error", "warning", "info", "debug"};
    char line[LINE_BYTES];
    size_t len = clamp(
        snprintf(line, sizeof(line) - 1, "tuff: %s: %s: %s", log_subsystem_name(subsystem), level_names[level], text),
        sizeof(line) - 1);

    write_line(line, len);
}

void report_log_to_stderr(void)
{
    log_set_sink(log_line, NULL);
}
