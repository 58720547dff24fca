/* Names of running virtual machines: where the control socket of one lies. */
#ifndef TUFF_CLI_NAMES_H
#define TUFF_CLI_NAMES_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>

enum { NAMES_MAX_BYTES = 40 };

/* Letters, digits, '.', '_' and '-', of which it does not begin with the last two or a dot. */
bool names_is_valid(const char *name);

/* The socket of the machine of that name, "unix:DIR/NAME.sock": in the user's run-time directory (XDG_RUNTIME_DIR), or
 * in one of the user's own in /tmp. With `make` the directory is made where missing. The caller frees *where. Returns
 * 0, or a negative errno with a line in `err`. */
int names_socket(const char *name, bool make, char **where, struct error *err) TUFF_MUST_CHECK;

#endif
