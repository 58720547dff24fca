/* UNIX stream sockets that other programs connect to: of the control socket, metrics, gdb, vsock and channels. */
#ifndef TUFF_BASE_LISTENER_H
#define TUFF_BASE_LISTENER_H

#include "base/compiler.h"
#include "base/error.h"

#include <sys/types.h>

struct listener {
    int fd;     /* listens, does not block, closed on exec; -1: none */
    char *path; /* of a UNIX socket, owned; NULL: TCP */
    dev_t device;
    ino_t inode; /* of what was made at the path; 0: nothing was */
};

/* Listens at `path`, which only this user can connect to, with a queue of `backlog` connections. A socket that nobody
 * listens at any more is replaced; one that somebody does, or another kind of file, is left alone. Returns 0, or
 * -EADDRINUSE, -ENAMETOOLONG (the path has 1 to 107 bytes) or another negative errno with a line in `err` that begins
 * with `what`; `out` holds nothing then. */
int listener_open_unix(const char *what, const char *path, unsigned backlog, struct listener *out,
                       struct error *err) TUFF_MUST_CHECK;

/* Closes, and removes the path where it still is what listener_open_unix() made. Then it is {.fd = -1}, which may be
 * closed as well. */
void listener_close(struct listener *listener);

#endif
