/* A 9P2000.L server for a shared directory (share_fs.h): what a message asks for is done, and the reply written.
 *
 * Requests may be handled on several threads at once. They may block in calls on the host's files, so not on a loop's
 * thread. What they ask for is bounded: fids, message sizes, names, entries of one directory read.
 */
#ifndef TUFF_DEV_SHARE_P9_SERVER_H
#define TUFF_DEV_SHARE_P9_SERVER_H

#include "dev/share/p9_saved.h"
#include "dev/share/share_fs.h"

#include <sys/uio.h>

struct p9_server;

enum {
    P9_FIDS_MAX = 16384,
    P9_SMALL_BYTES = 8192, /* a request but for the data it writes */
};

/* A request's or a reply's memory, which may be the guest's. */
struct p9_buffers {
    const struct iovec *iov;
    unsigned count;
    size_t len;
};

struct p9_stats {
    uint64_t requests, errors, read_bytes, written_bytes;
    uint32_t fids;
};

/* Returns 0 or a negative errno with a line in `err`. */
int p9_server_create(const struct share_config *config, struct p9_server **out, struct error *err) TUFF_MUST_CHECK;
/* No request is being handled. NULL is allowed. */
void p9_server_destroy(struct p9_server *server);
/* Forgets every fid, as a new session does. Any thread. */
void p9_server_reset(struct p9_server *server);

/* The session as a snapshot has it, and back into a server that was reset; see p9_saved.h. While no request is handled.
 */
int p9_server_save(struct p9_server *server, struct p9_saved *saved) TUFF_MUST_CHECK;
unsigned p9_server_load(struct p9_server *server, const struct p9_saved *saved);

/* Handles one message and returns the length of its reply, written to `reply`. -EINVAL: it is no message, or there is
 * no room for the smallest reply. Tflush is answered at once: who has several requests under way keeps it back until
 * the one it is about was answered. */
int64_t p9_server_handle(struct p9_server *server, const struct p9_buffers *request,
                         const struct p9_buffers *reply) TUFF_MUST_CHECK;

/* Any thread. */
void p9_server_stats(struct p9_server *server, struct p9_stats *stats);

#endif
