/* Sockets that programs outside connect to: of the control socket and of the metrics. */
#ifndef TUFF_CONTROL_LISTENER_H
#define TUFF_CONTROL_LISTENER_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct listener {
    int fd;     /* listens, does not block; -1: none */
    char *path; /* of a UNIX socket; NULL: TCP */
    dev_t device;
    ino_t inode; /* of what was made at the path */
};

/* Listens at `where`: "unix:PATH", which only this user can connect to, or with `tcp` also "HOST:PORT", HOST being an
 * address of this computer's loopback interface or left out. A socket that nobody listens at any more is replaced;
 * one that somebody does, or another kind of file, is refused. Returns 0, or a negative errno with a line in `err`
 * that begins with `what`. */
int listener_open(const char *what, const char *where, bool tcp, struct listener *out,
                  struct error *err) TUFF_MUST_CHECK;

/* Closes, and removes the path where it still is what listener_open() made. */
void listener_close(struct listener *listener);

#endif
