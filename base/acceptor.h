/* Accepts the connections of a listening socket on a loop's thread. When no descriptor is left for one it stays in the
 * socket's queue and is tried again a little later, so that the loop, whose descriptors are level-triggered, does not
 * spin on it. */
#ifndef TUFF_BASE_ACCEPTOR_H
#define TUFF_BASE_ACCEPTOR_H

#include "base/compiler.h"

struct acceptor;
struct loop;

/* On the loop's thread. `fd`, close-on-exec and non-blocking, is the callee's. */
typedef void (*acceptor_fn)(void *opaque, int fd);

/* `listen_fd`, non-blocking, is borrowed until acceptor_destroy(). Returns 0 or a negative errno. Any thread. */
int acceptor_create(struct loop *loop, int listen_fd, acceptor_fn fn, void *opaque,
                    struct acceptor **out) TUFF_MUST_CHECK;
/* When it returns the function is not running (unless it is the caller) and will not run. NULL is allowed. Any thread.
 */
void acceptor_destroy(struct acceptor *acceptor);

#endif
