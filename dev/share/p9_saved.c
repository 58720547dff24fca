/* See p9_saved.h. */
#include "dev/share/p9_saved.h"

#include "dev/share/p9_flags.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- saving ---- */

/* Where the kernel says that the file is, behind a zero. Returns its length, or a negative errno. */
static ssize_t path_of(int fd, char path[PATH_MAX])
{
    char link[40];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    if (len < 0)
        return -errno;
    path[len] = 0;
    return len;
}

/* The part of a path below the root's; NULL: it is not there (any more). */
static const char *below(const char *root, size_t root_len, const char *path)
{
    if (root_len == 1) /* "/" */
        root_len = 0;
    if (strncmp(path, root, root_len) != 0)
        return NULL;
    path += root_len;
    return *path == '/' ? path + 1 : *path == 0 ? path : NULL;
}

static bool save_one(const struct p9_fid *fid, const char *root, size_t root_len, struct p9_saved *saved)
{
    uint32_t n = saved->count, start = n ? saved->path_ends[n - 1] : 0;
    int io_fd = atomic_load(&fid->io_fd);
    char path[PATH_MAX];
    struct stat st;

    if (fid->xattr || path_of(fid->path_fd, path) < 0 || fstat(fid->path_fd, &st))
        return false;
    const char *name = below(root, root_len, path);
    size_t len = name ? strlen(name) : 0;
    if (!name || start + len > P9_SAVED_PATHS_BYTES_MAX)
        return false;
    char *paths = realloc(saved->paths, start + len + 1);
    if (!paths)
        return false;
    saved->paths = paths;
    memcpy(paths + start, name, len); // NOLINT(bugprone-not-null-terminated-result): path_ends says where they end
    saved->path_ends[n] = start + (uint32_t)len;
    saved->ids[n] = fid->id;
    saved->uids[n] = fid->uid;
    saved->inodes[n] = st.st_ino;
    saved->flags[n] = io_fd < 0 ? P9_SAVED_CLOSED : p9_wire_flags(fcntl(io_fd, F_GETFL));
    saved->count++;
    return true;
}

int p9_fids_save(struct p9_fids *fids, const struct share *share, struct p9_saved *saved)
{
    char root[PATH_MAX];
    ssize_t root_len = path_of(share->root_fd, root);
    uint32_t room = p9_fids_count(fids) + 1;

    saved->count = 0;
    saved->ids = calloc(room, sizeof(*saved->ids));
    saved->uids = calloc(room, sizeof(*saved->uids));
    saved->flags = calloc(room, sizeof(*saved->flags));
    saved->path_ends = calloc(room, sizeof(*saved->path_ends));
    saved->inodes = calloc(room, sizeof(*saved->inodes));
    saved->paths = malloc(1);
    if (!saved->ids || !saved->uids || !saved->flags || !saved->path_ends || !saved->inodes || !saved->paths) {
        p9_saved_free(saved);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < P9_FID_BUCKETS && root_len > 0; i++) {
        for (const struct p9_fid *fid = fids->buckets[i]; fid; fid = fid->next)
            (void)save_one(fid, root, (size_t)root_len, saved);
    }
    return 0;
}

void p9_saved_free(struct p9_saved *saved)
{
    free(saved->ids);
    free(saved->uids);
    free(saved->flags);
    free(saved->path_ends);
    free(saved->inodes);
    free(saved->paths);
    *saved = (struct p9_saved){0};
}

/* ---- loading ---- */

/* The file of a path, name by name: an O_PATH descriptor or a negative errno. */
static int find(const struct share *share, const char *path, size_t len)
{
    int fd = fcntl(share->root_fd, F_DUPFD_CLOEXEC, 0);
    char name[SHARE_NAME_BYTES];

    if (fd < 0)
        return -errno;
    while (len && fd >= 0) {
        const char *slash = memchr(path, '/', len);
        size_t part = slash ? (size_t)(slash - path) : len, step = part + (slash != NULL);
        int dir = fd;
        fd = -EINVAL;
        if (part < sizeof(name) && !memchr(path, 0, part)) {
            memcpy(name, path, part);
            name[part] = 0;
            fd = share_walk(share, dir, name);
        }
        close(dir);
        path += step;
        len -= step;
    }
    return fd;
}

static int load_one(struct p9_fids *fids, const struct share *share, const struct p9_saved *saved, uint32_t n)
{
    uint32_t start = n ? saved->path_ends[n - 1] : 0, len = saved->path_ends[n] - start;
    int fd = find(share, saved->paths + start, len), io_fd;
    struct stat st;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) || (len && st.st_ino != saved->inodes[n])) {
        close(fd);
        return -ESTALE;
    }
    int rc = p9_fid_add(fids, saved->ids[n], fd, saved->uids[n], false);
    if (rc || saved->flags[n] == P9_SAVED_CLOSED)
        return rc;
    struct p9_fid *fid = p9_fid_get(fids, saved->ids[n]);
    io_fd = fid ? share_reopen(share, fid->path_fd, p9_open_flags(saved->flags[n]) & ~(O_TRUNC | O_EXCL)) : -EBADF;
    rc = io_fd < 0 ? io_fd : p9_fid_set_io(fid, io_fd);
    p9_fid_put(fids, fid);
    if (rc)
        (void)p9_fid_remove(fids, saved->ids[n]);
    return rc;
}

unsigned p9_fids_load(struct p9_fids *fids, const struct share *share, const struct p9_saved *saved)
{
    unsigned lost = 0;

    for (uint32_t n = 0; n < saved->count; n++)
        lost += load_one(fids, share, saved, n) != 0;
    return lost;
}
