/* Raw mode of the user's terminal, restored however the process ends. There is one controlling terminal a process, so
 * this is the one part of cli/ with state of the process: signal handlers and atexit need it. */
#ifndef TUFF_CLI_TERMINAL_H
#define TUFF_CLI_TERMINAL_H

#include "base/compiler.h"

/* Puts the terminal `fd` into raw mode (output processing stays, so that "\n" from the VM starts a new line) and sees
 * to it that exit() and fatal signals restore it. Returns 0 or a negative errno. Main thread, before others start. */
int terminal_raw(int fd) TUFF_MUST_CHECK;

/* Restores what terminal_raw() changed; does nothing otherwise. Any thread, also in signal handlers. */
void terminal_restore(void);

/* Goes raw again after terminal_restore(), with what terminal_raw() saved. Does nothing if that was not called. */
void terminal_raw_again(void);

#endif
