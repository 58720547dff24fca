/* Where the control socket and the metrics listen. */
#ifndef TUFF_CONTROL_LISTEN_H
#define TUFF_CONTROL_LISTEN_H

#include "base/compiler.h"
#include "base/error.h"
#include "base/listener.h"

#include <stdbool.h>

/* Listens at `where`: "unix:PATH" (see listener_open_unix()), or with `tcp` also "HOST:PORT", HOST being an address of
 * this computer's loopback interface or left out. Returns 0, or a negative errno with a line in `err` that begins with
 * `what`. The caller closes `out` by listener_close(). */
int control_listen(const char *what, const char *where, bool tcp, struct listener *out,
                   struct error *err) TUFF_MUST_CHECK;

#endif
