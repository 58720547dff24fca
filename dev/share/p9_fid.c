/* See p9_fid.h. */
#include "dev/share/p9_fid.h"

#include "dev/share/p9_server.h"
#include "dev/share/p9_wire.h"
#include "dev/share/p9_xattr.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { XATTR_FIDS_MAX = 64 /* each has up to 64 KiB */ };

void p9_fids_init(struct p9_fids *fids)
{
    pthread_mutex_init(&fids->lock, NULL);
}

void p9_fids_destroy(struct p9_fids *fids)
{
    p9_fids_clear(fids);
    pthread_mutex_destroy(&fids->lock);
}

uint32_t p9_fids_count(struct p9_fids *fids)
{
    pthread_mutex_lock(&fids->lock);
    uint32_t count = fids->count;
    pthread_mutex_unlock(&fids->lock);
    return count;
}

static struct p9_fid **find_locked(struct p9_fids *fids, uint32_t id)
{
    struct p9_fid **at = &fids->buckets[id % P9_FID_BUCKETS];

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

struct p9_fid *p9_fid_get(struct p9_fids *fids, uint32_t id)
{
    pthread_mutex_lock(&fids->lock);
    struct p9_fid *fid = *find_locked(fids, id);
    if (fid)
        fid->refs++;
    pthread_mutex_unlock(&fids->lock);
    return fid;
}

void p9_fid_put(struct p9_fids *fids, struct p9_fid *fid)
{
    if (!fid)
        return;
    pthread_mutex_lock(&fids->lock);
    bool last = --fid->refs == 0;
    if (last && fid->xattr)
        fids->xattr_count--;
    pthread_mutex_unlock(&fids->lock);
    if (!last)
        return;
    if (fid->io_fd >= 0)
        close(fid->io_fd);
    close(fid->path_fd);
    pthread_mutex_destroy(&fid->directory);
    free(fid->xattr);
    free(fid);
}

bool p9_fid_remove(struct p9_fids *fids, uint32_t id)
{
    pthread_mutex_lock(&fids->lock);
    struct p9_fid **at = find_locked(fids, id), *fid = *at;
    if (fid) {
        *at = fid->next;
        fids->count--;
    }
    pthread_mutex_unlock(&fids->lock);
    p9_fid_put(fids, fid);
    return fid != NULL;
}

int p9_fid_add(struct p9_fids *fids, uint32_t id, int path_fd, uint32_t uid, bool instead)
{
    struct p9_fid *fid = calloc(1, sizeof(*fid));
    int rc = fid ? 0 : -ENOMEM;

    if (!rc) {
        *fid = (struct p9_fid){.id = id, .refs = 1, .path_fd = path_fd, .uid = uid};
        atomic_init(&fid->io_fd, -1);
        pthread_mutex_init(&fid->directory, NULL);
    }
    pthread_mutex_lock(&fids->lock);
    struct p9_fid **at = find_locked(fids, id), *before = *at;
    if (!rc && id == P9_NO_FID)
        rc = -EINVAL;
    if (!rc && before && !instead)
        rc = -EEXIST;
    if (!rc && !before && fids->count == P9_FIDS_MAX)
        rc = -EMFILE;
    if (!rc) {
        fid->next = before ? before->next : NULL;
        *at = fid;
        fids->count += !before;
    }
    pthread_mutex_unlock(&fids->lock);
    if (rc && fid)
        pthread_mutex_destroy(&fid->directory);
    if (rc) {
        free(fid);
        close(path_fd);
    } else {
        p9_fid_put(fids, before);
    }
    return rc;
}

void p9_fids_clear(struct p9_fids *fids)
{
    struct p9_fid *all = NULL;

    pthread_mutex_lock(&fids->lock);
    for (unsigned i = 0; i < P9_FID_BUCKETS; i++) {
        while (fids->buckets[i]) {
            struct p9_fid *fid = fids->buckets[i];
            fids->buckets[i] = fid->next;
            fid->next = all;
            all = fid;
        }
    }
    fids->count = 0;
    pthread_mutex_unlock(&fids->lock);
    while (all) {
        struct p9_fid *fid = all;
        all = fid->next;
        p9_fid_put(fids, fid);
    }
}

struct p9_xattr *p9_fid_xattr(struct p9_fids *fids, const struct p9_fid *fid)
{
    pthread_mutex_lock(&fids->lock);
    struct p9_xattr *xattr = fid->xattr;
    pthread_mutex_unlock(&fids->lock);
    return xattr;
}

int p9_fid_set_xattr(struct p9_fids *fids, struct p9_fid *fid, struct p9_xattr *xattr)
{
    int rc = 0;

    pthread_mutex_lock(&fids->lock);
    if (fid->xattr || fid->io_fd >= 0)
        rc = -EBADF;
    else if (fids->xattr_count == XATTR_FIDS_MAX)
        rc = -EMFILE;
    if (!rc) {
        fid->xattr = xattr;
        fids->xattr_count++;
    }
    pthread_mutex_unlock(&fids->lock);
    if (rc)
        free(xattr);
    return rc;
}

int p9_fid_set_io(struct p9_fid *fid, int fd)
{
    int none = -1;

    if (atomic_compare_exchange_strong(&fid->io_fd, &none, fd))
        return 0;
    close(fd);
    return -EBUSY;
}
