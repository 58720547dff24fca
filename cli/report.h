/* What the command says to its user, and the codes it ends with. Only cli/ prints. */
#ifndef TUFF_CLI_REPORT_H
#define TUFF_CLI_REPORT_H

#include "base/compiler.h"

/* Exit codes; printed by --help, so scripts may rely on them. A guest's own code is passed on (above 255: 255). */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_USAGE = 2,    /* refused: nothing was started */
    CLI_EXIT_INTERNAL = 3, /* the virtual machine failed */
    CLI_EXIT_CRITICAL = 4, /* the guest met a double trap that nobody takes */
    CLI_EXIT_MAX_INSNS = 124,
    CLI_EXIT_SIGNAL = 128, /* + the signal's number */
};

/* Writes "tuff: <message>" as one line to standard error. The message says what, which value, what to do. */
void report_error(const char *format, ...) TUFF_PRINTF(1, 2);

/* Sends the log's lines to standard error. Before threads start. */
void report_log_to_stderr(void);

#endif
