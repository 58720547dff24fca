/* The 9P2000.L server; see p9_server.h.
 *
 * What must stay true:
 * - A handler works on a fid it holds a reference to (p9_fid.h); a fid that is clunked meanwhile goes away with its
 * last reference.
 * - A message is copied before it is looked at; only the data of reads and writes go straight between file and guest.
 */
#include "dev/share/p9_server.h"

#include "dev/iov.h"
#include "dev/share/p9_fid.h"
#include "dev/share/p9_flags.h"
#include "dev/share/p9_wire.h"
#include "dev/share/p9_xattr.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
    REPLY_BYTES = 32 << 10,   /* of a reply but for the data of a read */
    DIRENTS_BYTES = 32 << 10, /* read from a directory at once */
    IOV_MAX_PIECES = 1000,    /* of one preadv() or pwritev() */

    /* Tsetattr's valid bits. */
    SET_MODE = 1,
    SET_UID = 2,
    SET_GID = 4,
    SET_SIZE = 8,
    SET_ATIME = 16,
    SET_MTIME = 32,
    SET_ATIME_TO = 128,
    SET_MTIME_TO = 256,
    GETATTR_BASIC = 0x7ff,

    TYPE_READ = 0,
    TYPE_WRITE = 1,
    TYPE_UNLOCK = 2,
    STATUS_SUCCESS = 0,
    STATUS_BLOCKED = 1,

    QID_DIRECTORY = 0x80,
    QID_SYMLINK = 0x02,
};

struct p9_server {
    struct share share;
    struct p9_fids fids;
    _Atomic uint32_t msize;
    _Atomic uint64_t requests, errors, read_bytes, written_bytes;
};

/* One request on its way. */
struct call {
    struct p9_server *server;
    const struct p9_buffers *request, *reply;
    struct p9_in in;
    struct p9_out out;
    size_t data; /* bytes of data in the reply behind `out` */
};

/* ---- parts of messages ---- */

static struct p9_fid *in_fid(struct call *call)
{
    return p9_fid_get(&call->server->fids, p9_u32(&call->in));
}

/* A name of a directory's entry. */
static int in_name(struct call *call, char name[SHARE_NAME_BYTES])
{
    p9_string(&call->in, name, SHARE_NAME_BYTES);
    return call->in.bad ? -EINVAL : share_check_name(name);
}

static uint8_t qid_type(mode_t mode)
{
    return S_ISDIR(mode) ? QID_DIRECTORY : S_ISLNK(mode) ? QID_SYMLINK : 0;
}

/* Inode numbers are unique, as everything is on one file system (RESOLVE_NO_XDEV). */
static void put_qid(struct p9_out *out, const struct stat *st)
{
    p9_put_u8(out, qid_type(st->st_mode));
    p9_put_u32(out, (uint32_t)st->st_mtim.tv_sec ^ (uint32_t)st->st_mtim.tv_nsec ^ (uint32_t)st->st_size << 8);
    p9_put_u64(out, st->st_ino);
}

static int put_fd_qid(struct call *call, int fd)
{
    struct stat st;
    int rc = share_stat(&call->server->share, fd, &st);

    if (!rc)
        put_qid(&call->out, &st);
    return rc;
}

/* The qid of a new entry, after it got its owner. */
static int put_new_qid(struct call *call, const struct p9_fid *dir, const char *name, uint32_t gid)
{
    const struct share *share = &call->server->share;
    int rc = share_set_owner(share, dir->path_fd, name, dir->uid, gid);
    int fd = rc ? rc : share_walk(share, dir->path_fd, name);

    if (fd < 0)
        return fd;
    rc = put_fd_qid(call, fd);
    close(fd);
    return rc;
}

static int or_errno(int result)
{
    return result < 0 ? -errno : result;
}

static int must_be_writable(const struct call *call)
{
    return call->server->share.read_only ? -EROFS : 0;
}

/* ---- sessions ---- */

static int do_version(struct call *call)
{
    static const char dialect[] = "9P2000.L";
    uint32_t msize = p9_u32(&call->in);
    char version[32];

    p9_string(&call->in, version, sizeof(version));
    if (call->in.bad || msize < P9_MSIZE_MIN)
        return -EINVAL;
    p9_fids_clear(&call->server->fids);
    if (msize > P9_MSIZE_MAX)
        msize = P9_MSIZE_MAX;
    call->server->msize = msize;
    p9_put_u32(&call->out, msize);
    if (strcmp(version, dialect) == 0)
        p9_put_string(&call->out, dialect, strlen(dialect));
    else
        p9_put_string(&call->out, "unknown", strlen("unknown"));
    return 0;
}

static int do_attach(struct call *call)
{
    uint32_t id = p9_u32(&call->in), afid = p9_u32(&call->in);
    char text[SHARE_NAME_BYTES];

    p9_string(&call->in, text, sizeof(text)); /* the user's name; its number counts */
    p9_string(&call->in, text, sizeof(text)); /* what to attach: there is one tree */
    uint32_t uid = p9_u32(&call->in);
    if (call->in.bad || afid != P9_NO_FID)
        return -EINVAL;
    int fd = or_errno(fcntl(call->server->share.root_fd, F_DUPFD_CLOEXEC, 0));
    if (fd < 0)
        return fd;
    int rc = put_fd_qid(call, fd);
    if (rc) {
        close(fd);
        return rc;
    }
    return p9_fid_add(&call->server->fids, id, fd, uid, false);
}

static int do_clunk(struct call *call)
{
    uint32_t id = p9_u32(&call->in);
    struct p9_fid *fid = p9_fid_get(&call->server->fids, id);
    int rc = fid && p9_fid_remove(&call->server->fids, id) ? 0 : -EBADF;
    struct p9_xattr *xattr = fid ? p9_fid_xattr(&call->server->fids, fid) : NULL;

    if (!rc && xattr && xattr->stores) {
        pthread_mutex_lock(&fid->directory);
        rc = p9_xattr_store(xattr, fid->path_fd);
        pthread_mutex_unlock(&fid->directory);
    }
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

/* Clients fall back to unlinking by name; the fid is gone in any case. */
static int do_remove(struct call *call)
{
    int rc = do_clunk(call);

    return rc ? rc : -EOPNOTSUPP;
}

static int do_flush(struct call *call)
{
    p9_u16(&call->in);
    return 0;
}

/* ---- finding files ---- */

/* One step. Takes `from` over unless it is the fid's own. */
static int walk_step(const struct share *share, int from, const char *name, bool own)
{
    int fd = share_walk(share, from, name);

    if (!own)
        close(from);
    return fd;
}

static int do_walk(struct call *call)
{
    struct p9_server *server = call->server;
    uint32_t id = p9_u32(&call->in), new_id = p9_u32(&call->in);
    uint16_t count = p9_u16(&call->in), done = 0;
    char name[SHARE_NAME_BYTES];
    struct p9_fid *fid = p9_fid_get(&server->fids, id);
    int rc = fid ? 0 : -EBADF;

    if (count > P9_WALK_MAX)
        rc = -EINVAL;
    if (rc) {
        p9_fid_put(&server->fids, fid);
        return rc;
    }
    int fd = or_errno(count ? fid->path_fd : fcntl(fid->path_fd, F_DUPFD_CLOEXEC, 0));
    size_t count_at = call->out.len;
    p9_put_u16(&call->out, 0);
    while (fd >= 0 && done < count) {
        rc = in_name(call, name);
        if (rc == 0) {
            fd = walk_step(&server->share, fd, name, done == 0);
            rc = fd < 0 ? fd : put_fd_qid(call, fd);
        }
        if (rc)
            break;
        done++;
    }
    if (fd < 0 && !rc)
        rc = fd;
    if (call->in.bad) /* a message cut short walks nowhere */
        rc = -EINVAL;
    if (rc && fd >= 0 && fd != fid->path_fd)
        close(fd);
    uint32_t uid = fid->uid;
    p9_fid_put(&server->fids, fid);
    if (call->in.bad)
        return rc;
    memcpy(call->out.start + count_at, &done, sizeof(done));
    if (rc) /* as far as it went, without a new fid; the first name's error is an error */
        return done ? 0 : rc;
    return p9_fid_add(&server->fids, new_id, fd, uid, new_id == id);
}

/* ---- opening, reading, writing ---- */

static uint32_t iounit(const struct call *call)
{
    return call->server->msize - P9_WRITE_HEADER_BYTES;
}

static int do_lopen(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    int flags = p9_open_flags(p9_u32(&call->in)) & ~O_EXCL, rc = fid ? 0 : -EBADF;

    if (!rc && call->in.bad)
        rc = -EINVAL;
    if (!rc && (fid->io_fd >= 0 || p9_fid_xattr(&call->server->fids, fid)))
        rc = -EBUSY;
    if (!rc) {
        int fd = share_reopen(&call->server->share, fid->path_fd, flags);
        rc = fd < 0 ? fd : p9_fid_set_io(fid, fd);
    }
    if (!rc)
        rc = put_fd_qid(call, fid->path_fd);
    p9_put_u32(&call->out, iounit(call));
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

/* The directory's fid becomes the file's. */
static int create_in(struct call *call, const struct p9_fid *dir, const char *name, uint32_t flags, uint32_t mode,
                     uint32_t gid)
{
    struct p9_server *server = call->server;
    bool created;
    int fd = share_create(&server->share, dir->path_fd, name, p9_open_flags(flags), mode, &created), rc = 0;

    if (fd < 0)
        return fd;
    if (created && !server->share.squash && server->share.is_root)
        rc = or_errno(fchown(fd, dir->uid, gid));
    int path_fd = rc ? rc : share_walk(&server->share, dir->path_fd, name);
    struct stat opened, found;
    /* Whoever replaced the file meanwhile has made another one: the fid is of that which was opened. */
    if (path_fd >= 0 && (fstat(fd, &opened) || fstat(path_fd, &found) || opened.st_ino != found.st_ino)) {
        close(path_fd);
        path_fd = -ESTALE;
    }
    rc = path_fd < 0 ? path_fd : put_fd_qid(call, path_fd);
    if (!rc)
        rc = p9_fid_add(&server->fids, dir->id, path_fd, dir->uid, true);
    else if (path_fd >= 0)
        close(path_fd);
    struct p9_fid *fid = rc ? NULL : p9_fid_get(&server->fids, dir->id);
    if (fid)
        rc = p9_fid_set_io(fid, fd);
    else
        close(fd);
    p9_fid_put(&server->fids, fid);
    p9_put_u32(&call->out, iounit(call));
    return rc;
}

static int do_lcreate(struct call *call)
{
    struct p9_fid *dir = in_fid(call);
    char name[SHARE_NAME_BYTES];
    int rc = in_name(call, name);
    uint32_t flags = p9_u32(&call->in), mode = p9_u32(&call->in), gid = p9_u32(&call->in);

    if (!dir)
        rc = -EBADF;
    if (!rc && call->in.bad)
        rc = -EINVAL;
    if (!rc)
        rc = create_in(call, dir, name, flags, mode, gid);
    p9_fid_put(&call->server->fids, dir);
    return rc;
}

/* The pieces of [offset, offset + len) of a message's memory. What does not fit into `out` is left for the next call,
 * as the rest of a short read is. */
static unsigned data_pieces(const struct p9_buffers *buffers, size_t offset, size_t len, struct iovec *out)
{
    return iov_part(buffers->iov, buffers->count, offset, len, out, IOV_MAX_PIECES);
}

static size_t at_most(size_t value, size_t max)
{
    return value < max ? value : max;
}

/* The file's attributes: one, or their names. */
static int do_xattrwalk(struct call *call)
{
    char name[SHARE_NAME_BYTES];
    struct p9_fid *fid = in_fid(call), *made = NULL;
    uint32_t new_id = p9_u32(&call->in);
    struct p9_xattr *xattr = NULL;
    uint32_t size = 0;

    p9_string(&call->in, name, sizeof(name));
    int rc = !fid ? -EBADF : call->in.bad ? -EINVAL : p9_xattr_read(fid->path_fd, name, &xattr);
    if (!rc) {
        int fd = fcntl(fid->path_fd, F_DUPFD_CLOEXEC, 0);
        size = xattr->len;
        rc = fd < 0 ? -errno : p9_fid_add(&call->server->fids, new_id, fd, fid->uid, false);
        made = rc ? NULL : p9_fid_get(&call->server->fids, new_id);
        if (!rc && !made)
            rc = -EBADF;
        if (made) {
            rc = p9_fid_set_xattr(&call->server->fids, made, xattr);
            xattr = NULL;
            if (rc)
                (void)p9_fid_remove(&call->server->fids, new_id);
        }
    }
    free(xattr);
    if (!rc)
        p9_put_u64(&call->out, size);
    p9_fid_put(&call->server->fids, made);
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

static int do_xattrcreate(struct call *call)
{
    char name[SHARE_NAME_BYTES];
    struct p9_fid *fid = in_fid(call);
    struct p9_xattr *xattr;

    p9_string(&call->in, name, sizeof(name));
    uint64_t size = p9_u64(&call->in);
    uint32_t flags = p9_u32(&call->in);
    int rc = !fid ? -EBADF : call->in.bad ? -EINVAL : p9_xattr_begin(&call->server->share, name, size, flags, &xattr);
    if (!rc)
        rc = p9_fid_set_xattr(&call->server->fids, fid, xattr);
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

/* Returns how many bytes of an attribute's value went into the reply. */
static ssize_t read_xattr(struct call *call, struct p9_fid *fid, const struct p9_xattr *xattr, uint64_t offset,
                          size_t len)
{
    pthread_mutex_lock(&fid->directory);
    size_t there = offset < xattr->len ? xattr->len - (size_t)offset : 0;
    size_t got = iov_from_buf(call->reply->iov, call->reply->count, P9_READ_HEADER_BYTES,
                              xattr->value + xattr->len - there, len < there ? len : there);
    pthread_mutex_unlock(&fid->directory);
    return (ssize_t)got;
}

/* One piece behind the other, and no more than was said. */
static ssize_t write_xattr(struct call *call, struct p9_fid *fid, struct p9_xattr *xattr, uint64_t offset,
                           uint32_t count)
{
    ssize_t put = -1;

    errno = EINVAL;
    pthread_mutex_lock(&fid->directory);
    if (xattr->stores && offset == xattr->len && count <= xattr->size - xattr->len) {
        put = (ssize_t)iov_to_buf(call->request->iov, call->request->count, P9_WRITE_HEADER_BYTES,
                                  xattr->value + xattr->len, count);
        xattr->len += (uint32_t)put;
    }
    pthread_mutex_unlock(&fid->directory);
    return put;
}

static int do_read(struct call *call)
{
    struct iovec pieces[IOV_MAX_PIECES];
    struct p9_fid *fid = in_fid(call);
    struct p9_xattr *xattr = fid ? p9_fid_xattr(&call->server->fids, fid) : NULL;
    uint64_t offset = p9_u64(&call->in);
    uint32_t count = p9_u32(&call->in);
    ssize_t got = 0;
    int rc = !fid || (fid->io_fd < 0 && !xattr) ? -EBADF : 0;

    if (!rc && (call->in.bad || offset > INT64_MAX || call->reply->len < P9_READ_HEADER_BYTES))
        rc = -EINVAL;
    if (!rc) {
        size_t len = at_most(at_most(count, call->server->msize - P9_READ_HEADER_BYTES),
                             call->reply->len - P9_READ_HEADER_BYTES);
        unsigned used = xattr ? 0 : data_pieces(call->reply, P9_READ_HEADER_BYTES, len, pieces);
        if (xattr)
            got = read_xattr(call, fid, xattr, offset, len);
        else
            got = used ? preadv(fid->io_fd, pieces, (int)used, (off_t)offset) : 0;
        rc = got < 0 ? -errno : 0;
    }
    if (!rc) {
        p9_put_u32(&call->out, (uint32_t)got);
        call->data = (size_t)got;
        call->server->read_bytes += (uint64_t)got;
    }
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

static int do_write(struct call *call)
{
    struct iovec pieces[IOV_MAX_PIECES];
    struct p9_fid *fid = in_fid(call);
    uint64_t offset = p9_u64(&call->in);
    uint32_t count = p9_u32(&call->in);
    ssize_t put = 0;
    struct p9_xattr *xattr = fid ? p9_fid_xattr(&call->server->fids, fid) : NULL;
    int rc = !fid || (fid->io_fd < 0 && !xattr) ? -EBADF : 0;

    if (!rc && (call->in.bad || offset > INT64_MAX || count > call->request->len - P9_WRITE_HEADER_BYTES))
        rc = -EINVAL;
    if (!rc) {
        unsigned used = xattr ? 0 : data_pieces(call->request, P9_WRITE_HEADER_BYTES, count, pieces);
        if (xattr)
            put = write_xattr(call, fid, xattr, offset, count);
        else
            put = used ? pwritev(fid->io_fd, pieces, (int)used, (off_t)offset) : 0;
        rc = put < 0 ? -errno : 0;
    }
    if (!rc) {
        p9_put_u32(&call->out, (uint32_t)put);
        call->server->written_bytes += (uint64_t)put;
    }
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

static int do_fsync(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    uint32_t data_only = p9_u32(&call->in);
    int rc = !fid || fid->io_fd < 0 ? -EBADF : 0;

    if (!rc)
        rc = or_errno(data_only ? fdatasync(fid->io_fd) : fsync(fid->io_fd));
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

/* ---- directories ---- */

/* Entries from `entries` (`len` bytes of getdents64) as far as `room` bytes of reply go. */
static void put_entries(struct p9_out *out, const uint8_t *entries, size_t len, size_t room, uint64_t own_ino)
{
    size_t end = out->len + room;

    for (size_t at = 0; at < len;) {
        const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
        size_t name_len = strlen(entry->d_name);
        if (out->len + P9_QID_BYTES + 8 + 1 + 2 + name_len > end)
            return;
        /* What the shared directory lies in is nobody's business. */
        uint64_t ino = strcmp(entry->d_name, "..") == 0 ? own_ino : entry->d_ino;
        p9_put_u8(out, entry->d_type == DT_DIR ? QID_DIRECTORY : entry->d_type == DT_LNK ? QID_SYMLINK : 0);
        p9_put_u32(out, 0);
        p9_put_u64(out, ino);
        p9_put_u64(out, (uint64_t)entry->d_off);
        p9_put_u8(out, entry->d_type);
        p9_put_string(out, entry->d_name, name_len);
        at += entry->d_reclen;
    }
}

static int read_directory(struct p9_fid *fid, uint64_t offset, uint8_t *entries, size_t size, size_t *len)
{
    int rc;

    pthread_mutex_lock(&fid->directory);
    rc = lseek(fid->io_fd, (off_t)offset, SEEK_SET) < 0 ? -errno : 0;
    ssize_t got = rc ? 0 : getdents64(fid->io_fd, entries, size);
    if (got < 0)
        rc = -errno;
    pthread_mutex_unlock(&fid->directory);
    *len = got > 0 ? (size_t)got : 0;
    return rc;
}

static int do_readdir(struct call *call)
{
    _Alignas(struct dirent64) uint8_t entries[DIRENTS_BYTES];
    struct p9_fid *fid = in_fid(call);
    uint64_t offset = p9_u64(&call->in);
    uint32_t count = p9_u32(&call->in);
    struct stat st;
    size_t len = 0;
    int rc = !fid || fid->io_fd < 0 ? -EBADF : 0;

    if (!rc && call->in.bad)
        rc = -EINVAL;
    if (!rc)
        rc = fstat(fid->io_fd, &st) ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    if (!rc)
        rc = read_directory(fid, offset, entries, sizeof(entries), &len);
    if (!rc) {
        size_t count_at = call->out.len;
        p9_put_u32(&call->out, 0);
        size_t room = at_most(at_most(count, call->out.size - call->out.len), call->reply->len - P9_READ_HEADER_BYTES);
        put_entries(&call->out, entries, len, room, st.st_ino);
        uint32_t bytes = (uint32_t)(call->out.len - count_at - 4);
        memcpy(call->out.start + count_at, &bytes, sizeof(bytes));
        if (len && !bytes)
            rc = -EINVAL; /* not even one fits: nothing would look like the end */
    }
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

static int do_mkdir(struct call *call)
{
    struct p9_fid *dir = in_fid(call);
    char name[SHARE_NAME_BYTES];
    int rc = in_name(call, name);
    uint32_t mode = p9_u32(&call->in), gid = p9_u32(&call->in);

    if (!dir)
        rc = -EBADF;
    if (!rc)
        rc = call->in.bad ? -EINVAL : must_be_writable(call);
    if (!rc)
        rc = or_errno(mkdirat(dir->path_fd, name, mode & (ACCESSPERMS | S_ISVTX)));
    if (!rc)
        rc = put_new_qid(call, dir, name, gid);
    p9_fid_put(&call->server->fids, dir);
    return rc;
}

/* Regular files alone: a device of the host's, or a FIFO that somebody there waits at, is nothing a guest makes. */
static int do_mknod(struct call *call)
{
    struct p9_fid *dir = in_fid(call);
    char name[SHARE_NAME_BYTES];
    int rc = in_name(call, name);
    uint32_t mode = p9_u32(&call->in);

    p9_u32(&call->in);
    p9_u32(&call->in);
    uint32_t gid = p9_u32(&call->in);
    if (!dir)
        rc = -EBADF;
    if (!rc)
        rc = call->in.bad ? -EINVAL : must_be_writable(call);
    if (!rc && (mode & S_IFMT) && !S_ISREG(mode))
        rc = -EPERM;
    if (!rc)
        rc = or_errno(mknodat(dir->path_fd, name, S_IFREG | (mode & ACCESSPERMS), 0));
    if (!rc)
        rc = put_new_qid(call, dir, name, gid);
    p9_fid_put(&call->server->fids, dir);
    return rc;
}

static int do_symlink(struct call *call)
{
    struct p9_fid *dir = in_fid(call);
    char name[SHARE_NAME_BYTES], target[PATH_MAX];
    int rc = in_name(call, name);

    p9_string(&call->in, target, sizeof(target)); /* the guest's to follow: it may say anything */
    uint32_t gid = p9_u32(&call->in);
    if (!dir)
        rc = -EBADF;
    if (!rc)
        rc = call->in.bad ? -EINVAL : must_be_writable(call);
    if (!rc)
        rc = or_errno(symlinkat(target, dir->path_fd, name));
    if (!rc)
        rc = put_new_qid(call, dir, name, gid);
    p9_fid_put(&call->server->fids, dir);
    return rc;
}

static int do_readlink(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    char target[PATH_MAX];
    ssize_t len = fid ? readlinkat(fid->path_fd, "", target, sizeof(target)) : 0;
    int rc = !fid ? -EBADF : len < 0 ? -errno : 0;

    if (!rc)
        p9_put_string(&call->out, target, (size_t)len);
    p9_fid_put(&call->server->fids, fid);
    return rc == -ENOENT ? -EINVAL : rc; /* what an empty path of no link gives */
}

static int do_link(struct call *call)
{
    struct p9_fid *dir = in_fid(call), *fid = in_fid(call);
    char name[SHARE_NAME_BYTES];
    int rc = in_name(call, name);

    if (!dir || !fid)
        rc = -EBADF;
    if (!rc)
        rc = share_link(&call->server->share, fid->path_fd, dir->path_fd, name);
    p9_fid_put(&call->server->fids, dir);
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

static int do_renameat(struct call *call)
{
    char old_name[SHARE_NAME_BYTES], new_name[SHARE_NAME_BYTES];
    struct p9_fid *old_dir = in_fid(call);
    int rc = in_name(call, old_name);
    struct p9_fid *new_dir = in_fid(call);
    int new_rc = in_name(call, new_name);

    if (!old_dir || !new_dir)
        rc = -EBADF;
    if (!rc)
        rc = new_rc ? new_rc : must_be_writable(call);
    if (!rc)
        rc = or_errno(renameat(old_dir->path_fd, old_name, new_dir->path_fd, new_name));
    p9_fid_put(&call->server->fids, old_dir);
    p9_fid_put(&call->server->fids, new_dir);
    return rc;
}

static int do_unlinkat(struct call *call)
{
    struct p9_fid *dir = in_fid(call);
    char name[SHARE_NAME_BYTES];
    int rc = in_name(call, name);
    uint32_t flags = p9_u32(&call->in);

    if (!dir)
        rc = -EBADF;
    if (!rc)
        rc = call->in.bad || (flags & ~(uint32_t)AT_REMOVEDIR) ? -EINVAL : must_be_writable(call);
    if (!rc)
        rc = or_errno(unlinkat(dir->path_fd, name, (int)flags));
    p9_fid_put(&call->server->fids, dir);
    return rc;
}

/* ---- attributes ---- */

static int do_getattr(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    struct p9_out *out = &call->out;
    struct stat st;
    int rc = fid ? share_stat(&call->server->share, fid->path_fd, &st) : -EBADF;

    p9_u64(&call->in);
    p9_fid_put(&call->server->fids, fid);
    if (rc)
        return rc;
    p9_put_u64(out, GETATTR_BASIC);
    put_qid(out, &st);
    p9_put_u32(out, st.st_mode);
    p9_put_u32(out, st.st_uid);
    p9_put_u32(out, st.st_gid);
    p9_put_u64(out, st.st_nlink);
    p9_put_u64(out, st.st_rdev);
    p9_put_u64(out, (uint64_t)st.st_size);
    p9_put_u64(out, (uint64_t)st.st_blksize);
    p9_put_u64(out, (uint64_t)st.st_blocks);
    const struct timespec times[] = {st.st_atim, st.st_mtim, st.st_ctim, {0}};
    for (size_t i = 0; i < TUFF_ARRAY_LEN(times); i++) {
        p9_put_u64(out, (uint64_t)times[i].tv_sec);
        p9_put_u64(out, (uint64_t)times[i].tv_nsec);
    }
    p9_put_u64(out, 0); /* generation, data version: not known */
    p9_put_u64(out, 0);
    return 0;
}

struct new_attributes {
    uint32_t valid, mode, uid, gid;
    uint64_t size;
    struct timespec times[2];
};

/* utimensat()'s words for what a time is set to. */
static void choose_time(struct timespec *time, bool set, bool to)
{
    if (!set)
        time->tv_nsec = UTIME_OMIT;
    else if (!to)
        time->tv_nsec = UTIME_NOW;
}

static int set_attributes(const struct share *share, const struct p9_fid *fid, struct new_attributes *set)
{
    int rc = share->read_only ? -EROFS : 0;

    if (!rc && (set->valid & (SET_UID | SET_GID)))
        rc = share_chown(share, fid->path_fd, set->valid & SET_UID ? set->uid : UINT32_MAX,
                         set->valid & SET_GID ? set->gid : UINT32_MAX);
    if (!rc && (set->valid & SET_MODE))
        rc = share_chmod(share, fid->path_fd, set->mode);
    if (!rc && (set->valid & SET_SIZE))
        rc = share_truncate(share, fid->path_fd, set->size);
    if (!rc && (set->valid & (SET_ATIME | SET_MTIME))) {
        choose_time(&set->times[0], set->valid & SET_ATIME, set->valid & SET_ATIME_TO);
        choose_time(&set->times[1], set->valid & SET_MTIME, set->valid & SET_MTIME_TO);
        rc = or_errno(utimensat(fid->path_fd, "", set->times, AT_EMPTY_PATH));
    }
    return rc;
}

static int do_setattr(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    struct p9_in *in = &call->in;
    struct new_attributes set = {0};
    uint32_t words[4];
    uint64_t numbers[5];

    for (size_t i = 0; i < TUFF_ARRAY_LEN(words); i++)
        words[i] = p9_u32(in);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(numbers); i++)
        numbers[i] = p9_u64(in);
    set.valid = words[0];
    set.mode = words[1];
    set.uid = words[2];
    set.gid = words[3];
    set.size = numbers[0];
    bool good = numbers[2] < 1000000000 && numbers[4] < 1000000000;
    if (good) {
        set.times[0] = (struct timespec){.tv_sec = (time_t)numbers[1], .tv_nsec = (long)numbers[2]};
        set.times[1] = (struct timespec){.tv_sec = (time_t)numbers[3], .tv_nsec = (long)numbers[4]};
    }
    int rc = !fid ? -EBADF : in->bad || !good ? -EINVAL : set_attributes(&call->server->share, fid, &set);
    p9_fid_put(&call->server->fids, fid);
    return rc;
}

static int do_statfs(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    struct p9_out *out = &call->out;
    struct statfs st;
    int rc = !fid ? -EBADF : or_errno(fstatfs(fid->path_fd, &st));

    p9_fid_put(&call->server->fids, fid);
    if (rc)
        return rc;
    p9_put_u32(out, (uint32_t)st.f_type);
    p9_put_u32(out, (uint32_t)st.f_bsize);
    p9_put_u64(out, st.f_blocks);
    p9_put_u64(out, st.f_bfree);
    p9_put_u64(out, st.f_bavail);
    p9_put_u64(out, st.f_files);
    p9_put_u64(out, st.f_ffree);
    p9_put_u64(out, 0); /* the host's number of the file system */
    p9_put_u32(out, (uint32_t)st.f_namelen);
    return 0;
}

static int do_unsupported(struct call *call)
{
    return -EOPNOTSUPP;
}

/* ---- locks: of the open file, so that each of the guest's openings has its own ---- */

/* type, start, length in both messages. */
static int in_lock(struct call *call, struct flock *lock, bool with_flags)
{
    static const short kinds[] = {[TYPE_READ] = F_RDLCK, [TYPE_WRITE] = F_WRLCK, [TYPE_UNLOCK] = F_UNLCK};
    uint8_t type = p9_u8(&call->in);

    if (with_flags)
        p9_u32(&call->in); /* whether to wait: the client asks again, so that no thread of ours stands still */
    uint64_t start = p9_u64(&call->in), len = p9_u64(&call->in);
    if (call->in.bad || type > TYPE_UNLOCK || start > INT64_MAX || len > INT64_MAX - start)
        return -EINVAL;
    *lock = (struct flock){.l_type = kinds[type], .l_whence = SEEK_SET, .l_start = (off_t)start, .l_len = (off_t)len};
    return 0;
}

static int do_lock(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    struct flock lock;
    int rc = in_lock(call, &lock, true);

    if (!fid || fid->io_fd < 0)
        rc = -EBADF;
    if (!rc)
        rc = or_errno(fcntl(fid->io_fd, F_OFD_SETLK, &lock));
    p9_fid_put(&call->server->fids, fid);
    if (rc == -EAGAIN || rc == -EACCES) {
        p9_put_u8(&call->out, STATUS_BLOCKED);
        return 0;
    }
    p9_put_u8(&call->out, STATUS_SUCCESS);
    return rc;
}

static int do_getlock(struct call *call)
{
    struct p9_fid *fid = in_fid(call);
    struct flock lock;
    int rc = in_lock(call, &lock, false);
    uint32_t process = p9_u32(&call->in);
    char client[SHARE_NAME_BYTES];

    p9_string(&call->in, client, sizeof(client));
    if (!fid || fid->io_fd < 0)
        rc = -EBADF;
    if (!rc)
        rc = call->in.bad ? -EINVAL : or_errno(fcntl(fid->io_fd, F_OFD_GETLK, &lock));
    p9_fid_put(&call->server->fids, fid);
    if (rc)
        return rc;
    p9_put_u8(&call->out, lock.l_type == F_RDLCK ? TYPE_READ : lock.l_type == F_WRLCK ? TYPE_WRITE : TYPE_UNLOCK);
    p9_put_u64(&call->out, (uint64_t)lock.l_start);
    p9_put_u64(&call->out, (uint64_t)lock.l_len);
    p9_put_u32(&call->out, process);
    p9_put_string(&call->out, client, strlen(client));
    return 0;
}

/* ---- messages ---- */

static int (*handler_of(uint8_t type))(struct call *call)
{
    switch (type) {
#define X(type_name, fn) \
    case type_name:      \
        return fn;
        X(P9_TSTATFS, do_statfs)
        X(P9_TLOPEN, do_lopen)
        X(P9_TLCREATE, do_lcreate)
        X(P9_TSYMLINK, do_symlink)
        X(P9_TMKNOD, do_mknod)
        X(P9_TREADLINK, do_readlink)
        X(P9_TGETATTR, do_getattr)
        X(P9_TSETATTR, do_setattr)
        X(P9_TREADDIR, do_readdir)
        X(P9_TFSYNC, do_fsync)
        X(P9_TLOCK, do_lock)
        X(P9_TGETLOCK, do_getlock)
        X(P9_TLINK, do_link)
        X(P9_TMKDIR, do_mkdir)
        X(P9_TRENAMEAT, do_renameat)
        X(P9_TUNLINKAT, do_unlinkat)
        X(P9_TVERSION, do_version)
        X(P9_TATTACH, do_attach)
        X(P9_TFLUSH, do_flush)
        X(P9_TWALK, do_walk)
        X(P9_TXATTRWALK, do_xattrwalk)
        X(P9_TXATTRCREATE, do_xattrcreate)
        X(P9_TREAD, do_read)
        X(P9_TWRITE, do_write)
        X(P9_TCLUNK, do_clunk)
        X(P9_TREMOVE, do_remove)
#undef X
    }
    return do_unsupported; /* authentication, renaming by fid among them */
}

static void put_header(struct call *call, uint8_t type, uint16_t tag)
{
    call->out.len = 0;
    call->out.full = false;
    call->data = 0;
    p9_put_u32(&call->out, 0);
    p9_put_u8(&call->out, type);
    p9_put_u16(&call->out, tag);
}

static void put_error(struct call *call, uint16_t tag, int rc)
{
    call->server->errors++;
    put_header(call, P9_RLERROR, tag);
    p9_put_u32(&call->out, (uint32_t)-rc);
}

/* Copies the reply, whose size is known now, to the guest. */
static int64_t finish(struct call *call, uint16_t tag)
{
    if (call->out.full || call->out.len + call->data > call->reply->len)
        put_error(call, tag, -EMSGSIZE);
    uint32_t size = (uint32_t)(call->out.len + call->data);
    memcpy(call->out.start, &size, sizeof(size));
    iov_from_buf(call->reply->iov, call->reply->count, 0, call->out.start, call->out.len);
    return size;
}

int64_t p9_server_handle(struct p9_server *server, const struct p9_buffers *request, const struct p9_buffers *reply)
{
    uint8_t bytes[P9_SMALL_BYTES], answer[REPLY_BYTES];
    struct call call = {.server = server, .request = request, .reply = reply};
    size_t len = at_most(request->len, sizeof(bytes));

    if (request->len < P9_HEADER_BYTES || reply->len < P9_READ_HEADER_BYTES)
        return -EINVAL;
    iov_to_buf(request->iov, request->count, 0, bytes, len);
    call.in = (struct p9_in){.at = bytes, .left = len};
    call.out = (struct p9_out){.start = answer, .size = sizeof(answer)};
    uint32_t size = p9_u32(&call.in);
    uint8_t type = p9_u8(&call.in);
    uint16_t tag = p9_u16(&call.in);
    if (size < P9_HEADER_BYTES || size > request->len)
        return -EINVAL;
    call.in.left = at_most(size, len) - P9_HEADER_BYTES;
    server->requests++;
    put_header(&call, type + 1, tag);
    bool too_large = size > (type == P9_TWRITE ? server->msize : P9_SMALL_BYTES);
    bool too_short = type == P9_TWRITE && size < P9_WRITE_HEADER_BYTES;
    int rc = too_large || too_short ? -EMSGSIZE : handler_of(type)(&call);
    if (!rc && call.in.bad)
        rc = -EINVAL;
    if (rc)
        put_error(&call, tag, rc);
    return finish(&call, tag);
}

/* ---- the server ---- */

/* A descriptor or two a fid: the usual soft limit of 1,024 would be a guest's in no time. */
static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        rlim_t wanted = 4 * (rlim_t)P9_FIDS_MAX;
        if (limit.rlim_cur < wanted)
            limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* else fewer files can be open */
    }
}

int p9_server_create(const struct share_config *config, struct p9_server **out, struct error *err)
{
    struct p9_server *server = calloc(1, sizeof(*server));

    if (!server)
        return error_set(err, -ENOMEM, "no memory to share '%s'", config->path);
    int rc = share_open(&server->share, config, err);
    if (rc) {
        free(server);
        return rc;
    }
    allow_descriptors();
    server->msize = P9_MSIZE_MIN;
    p9_fids_init(&server->fids);
    *out = server;
    return 0;
}

void p9_server_destroy(struct p9_server *server)
{
    if (!server)
        return;
    p9_fids_destroy(&server->fids);
    share_close(&server->share);
    free(server);
}

void p9_server_reset(struct p9_server *server)
{
    p9_fids_clear(&server->fids);
}

int p9_server_save(struct p9_server *server, struct p9_saved *saved)
{
    saved->msize = server->msize;
    return p9_fids_save(&server->fids, &server->share, saved);
}

unsigned p9_server_load(struct p9_server *server, const struct p9_saved *saved)
{
    server->msize = saved->msize < P9_MSIZE_MIN   ? P9_MSIZE_MIN
                    : saved->msize > P9_MSIZE_MAX ? P9_MSIZE_MAX
                                                  : saved->msize;
    return p9_fids_load(&server->fids, &server->share, saved);
}

void p9_server_stats(struct p9_server *server, struct p9_stats *stats)
{
    *stats = (struct p9_stats){.requests = server->requests,
                               .errors = server->errors,
                               .read_bytes = server->read_bytes,
                               .written_bytes = server->written_bytes,
                               .fids = p9_fids_count(&server->fids)};
}
