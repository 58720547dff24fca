/* The serial port's end at the user: standard input and output with the escape key, a file, a pseudo-terminal, or
 * nothing; and the signals that ask the command to leave. One console outlives the machines of all boots, so a reboot
 * neither truncates the file nor moves the pseudo-terminal.
 */
#ifndef TUFF_CLI_CONSOLE_H
#define TUFF_CLI_CONSOLE_H

#include "machine/machine.h"

#include <stdbool.h>

struct console;

struct console_config {
    enum machine_serial serial;
    const char *path; /* MACHINE_SERIAL_FILE */
    bool has_second;  /* a second port, anything but MACHINE_SERIAL_STDIO */
    enum machine_serial second;
    const char *second_path;
    /* Ctrl-A s; on the console's thread, the machine lives during the call. */
    void (*print_stats)(void *opaque, struct machine *machine);
    void *opaque;
};

/* Holds back the signals that the console handles. Before the first thread starts, so that all of them inherit it. */
void console_block_signals(void);

/* Opens the port, starts the console's thread, puts the terminal into raw mode. Main thread, signals blocked. Returns
 * 0, or a negative errno with one line in `err`. */
int console_create(const struct console_config *config, struct console **out, struct error *err) TUFF_MUST_CHECK;

/* Delivers what is left of the output, ends the thread and restores the terminal. NULL is allowed. */
void console_destroy(struct console *console);

/* Joins a machine (borrowed) to the port until console_detach(). The machine was created with console_machine_serial()
 * and does not run yet, or not any more. */
void console_attach(struct console *console, struct machine *machine);
void console_detach(struct console *console);

/* What machine_config.serial has to be: the machine's own back ends are not used, as they end with the machine. */
enum machine_serial console_machine_serial(enum machine_serial serial);

/* True once the user asked to leave; *signal is then the signal's number or 0. */
bool console_leaving(struct console *console, int *signal);

/* Paths of the ports' pseudo-terminals, or NULL. */
const char *console_pty_path(const struct console *console);
const char *console_second_pty_path(const struct console *console);

#endif
