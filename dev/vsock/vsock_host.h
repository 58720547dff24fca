/* The host's side of virtio-vsock: UNIX stream sockets, named as Firecracker and crosvm name them. A connection that
 * the guest opens to port P of the host goes to the socket PATH_P; a program of the host connects to PATH, writes
 * "CONNECT P" and a line feed, and is then connected with what listens on port P in the guest, which it learns from the
 * answer "OK" with a number.
 *
 * Functions, without any state of their own; none blocks. Sockets are non-blocking and closed on exec.
 */
#ifndef TUFF_DEV_VSOCK_VSOCK_HOST_H
#define TUFF_DEV_VSOCK_VSOCK_HOST_H

#include "base/compiler.h"
#include "base/error.h"
#include "base/listener.h"

#include <stdint.h>

/* How long a path may be: room for '_' and a port behind it. */
enum { VSOCK_PATH_MAX = 96, VSOCK_GREETING_BYTES = 32 };

/* listener_open_unix() where there also is room for paths of ports. */
TUFF_MUST_CHECK int vsock_host_listen(const char *path, struct listener *out, struct error *err);

/* Connects to what listens for a guest's connections to `port`. Returns the descriptor or a negative errno. */
TUFF_MUST_CHECK int vsock_host_connect(const char *path, uint32_t port);

/* What has come of the line that a program of the host begins with. Zero-initialise. */
struct vsock_greeting {
    char line[VSOCK_GREETING_BYTES + 1];
    unsigned len;
};

/* Reads on in that line, and nothing behind it. Returns 0 with the guest's port, -EAGAIN (not all of it is there yet)
 * or another negative errno: hang up. */
TUFF_MUST_CHECK int vsock_host_greeting(int fd, struct vsock_greeting *greeting, uint32_t *guest_port);

/* Tells it that the guest accepted, and on which of the host's ports it is seen there. Returns 0 or a negative errno.
 */
TUFF_MUST_CHECK int vsock_host_accepted(int fd, uint32_t host_port);

#endif
