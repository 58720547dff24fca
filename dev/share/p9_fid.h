/* The fids of a 9P session: numbers of the client's, each of which stands for a file.
 *
 * `lock` guards the table and is not held in a call on a file. Who works on a fid holds a reference to it; one that is
 * taken out of the table meanwhile goes away with its last reference. What a fid stands for does not change: its O_PATH
 * descriptor is set when it is made. Opening it adds `io_fd`, or an extended attribute, once. Any thread. */
#ifndef TUFF_DEV_SHARE_P9_FID_H
#define TUFF_DEV_SHARE_P9_FID_H

#include "base/compiler.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct p9_xattr;

enum { P9_FID_BUCKETS = 1024 };

struct p9_fid {
    struct p9_fid *next;
    uint32_t id;
    unsigned refs;             /* the table's is one */
    int path_fd;               /* O_PATH */
    _Atomic int io_fd;         /* -1: not opened */
    struct p9_xattr *xattr;    /* it stands for one of the file; set once, under `lock`, changed under `directory` */
    uint32_t uid;              /* whom the guest attached as */
    pthread_mutex_t directory; /* its position is one */
};

struct p9_fids {
    pthread_mutex_t lock;
    struct p9_fid *buckets[P9_FID_BUCKETS];
    uint32_t count, xattr_count;
};

void p9_fids_init(struct p9_fids *fids);
void p9_fids_destroy(struct p9_fids *fids);
/* Takes all out. */
void p9_fids_clear(struct p9_fids *fids);
uint32_t p9_fids_count(struct p9_fids *fids);

/* With a reference, or NULL. */
struct p9_fid *p9_fid_get(struct p9_fids *fids, uint32_t id);
/* NULL is allowed. */
void p9_fid_put(struct p9_fids *fids, struct p9_fid *fid);
/* Takes a fid out of the table. Returns whether it was there. */
bool p9_fid_remove(struct p9_fids *fids, uint32_t id);
/* Makes `id` stand for a descriptor, which it takes over, also on failure. `instead`: what it stood for is forgotten;
 * otherwise it must be new. Returns 0 or a negative errno. */
TUFF_MUST_CHECK int p9_fid_add(struct p9_fids *fids, uint32_t id, int path_fd, uint32_t uid, bool instead);

/* Makes `fd` what the fid is read and written through; takes it over. -EBUSY: it has one. */
TUFF_MUST_CHECK int p9_fid_set_io(struct p9_fid *fid, int fd);
struct p9_xattr *p9_fid_xattr(struct p9_fids *fids, const struct p9_fid *fid);
/* Has the fid, if it is not opened, stand for an attribute, which it takes over, also on failure. */
TUFF_MUST_CHECK int p9_fid_set_xattr(struct p9_fids *fids, struct p9_fid *fid, struct p9_xattr *xattr);

#endif
