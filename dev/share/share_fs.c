/* A directory of the host; see share_fs.h.
 *
 * An O_PATH descriptor cannot be read, changed or linked; the file behind it is reached once more through its entry in
 * /proc/self/fd, which names exactly that file whatever happened to its names since.
 */
#include "dev/share/share_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROC_PATH_BYTES = 40 };

static int or_errno(int result)
{
    return result < 0 ? -errno : result;
}

static void proc_path(int fd, char path[PROC_PATH_BYTES])
{
    snprintf(path, PROC_PATH_BYTES, "/proc/self/fd/%d", fd);
}

int share_open(struct share *share, const struct share_config *config, struct error *err)
{
    struct stat st;
    int fd = open(config->path, O_PATH | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0 || fstat(fd, &st)) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, rc, "'%s' cannot be shared: %s", config->path, strerror(-rc));
    }
    *share = (struct share){.root_fd = fd,
                            .device = st.st_dev,
                            .read_only = config->read_only,
                            .squash = config->squash,
                            .is_root = geteuid() == 0,
                            .uid = config->uid,
                            .gid = config->gid};
    char path[PROC_PATH_BYTES];
    proc_path(fd, path);
    if (access(path, F_OK)) {
        share_close(share);
        return error_set(err, -ENOENT, "'%s' cannot be shared without /proc: mount it", config->path);
    }
    return 0;
}

void share_close(struct share *share)
{
    if (share->root_fd >= 0)
        close(share->root_fd);
    share->root_fd = -1;
}

int share_check_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    return len < SHARE_NAME_BYTES ? 0 : -ENAMETOOLONG;
}

int share_walk(const struct share *share, int dir_fd, const char *name)
{
    struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    struct stat st;
    int rc = share_check_name(name);

    if (rc)
        return rc;
    int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
    if (fd >= 0 || errno != ENOSYS)
        return or_errno(fd);
    /* Before Linux 5.6: one name cannot lead further than to what is mounted on it. */
    fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) || st.st_dev != share->device) {
        close(fd);
        return -EXDEV;
    }
    return fd;
}

/* What may be opened, changed and linked. */
static int check_kind(int path_fd, bool directories)
{
    struct stat st;

    if (fstat(path_fd, &st))
        return -errno;
    if (S_ISREG(st.st_mode) || (directories && S_ISDIR(st.st_mode)))
        return 0;
    return S_ISLNK(st.st_mode) ? -ELOOP : -EPERM;
}

static bool writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_TRUNC | O_CREAT));
}

int share_reopen(const struct share *share, int path_fd, int flags)
{
    const int allowed = O_ACCMODE | O_APPEND | O_TRUNC | O_DIRECTORY | O_DSYNC | O_SYNC | O_NOATIME;
    char path[PROC_PATH_BYTES];
    int rc = check_kind(path_fd, true);

    if (rc)
        return rc;
    if (share->read_only && writes(flags))
        return -EROFS;
    proc_path(path_fd, path);
    flags = (flags & allowed) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags);
    if (fd < 0 && errno == EPERM && (flags & O_NOATIME)) /* somebody else's file */
        fd = open(path, flags & ~O_NOATIME);
    return or_errno(fd);
}

/* Bits that would give others on the host the rights of who runs the virtual machine are not the guest's to set. */
static mode_t safe_mode(mode_t mode)
{
    return mode & (ACCESSPERMS | S_ISVTX);
}

int share_create(const struct share *share, int dir_fd, const char *name, int flags, mode_t mode, bool *created)
{
    const int passed = O_ACCMODE | O_APPEND | O_DSYNC | O_SYNC;
    int rc = share_check_name(name);

    *created = false;
    if (rc)
        return rc;
    if (share->read_only)
        return -EROFS;
    int fd =
        openat(dir_fd, name, (flags & passed) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, safe_mode(mode));
    if (fd >= 0) {
        *created = true;
        return fd;
    }
    if (errno != EEXIST || (flags & O_EXCL))
        return -errno;
    int path_fd = share_walk(share, dir_fd, name);
    if (path_fd < 0)
        return path_fd;
    fd = share_reopen(share, path_fd, flags);
    close(path_fd);
    return fd;
}

int share_set_owner(const struct share *share, int dir_fd, const char *name, uint32_t uid, uint32_t gid)
{
    if (share->squash || !share->is_root)
        return 0;
    return or_errno(fchownat(dir_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW));
}

int share_stat(const struct share *share, int fd, struct stat *st)
{
    if (fstat(fd, st))
        return -errno;
    if (share->squash) {
        st->st_uid = share->uid;
        st->st_gid = share->gid;
    }
    return 0;
}

int share_chmod(const struct share *share, int path_fd, mode_t mode)
{
    char path[PROC_PATH_BYTES];
    int rc = share->read_only ? -EROFS : check_kind(path_fd, true);

    if (rc)
        return rc;
    proc_path(path_fd, path);
    return or_errno(chmod(path, safe_mode(mode)));
}

int share_chown(const struct share *share, int path_fd, uint32_t uid, uint32_t gid)
{
    if (share->read_only)
        return -EROFS;
    if (share->squash) /* everything is that owner's already */
        return (uid == UINT32_MAX || uid == share->uid) && (gid == UINT32_MAX || gid == share->gid) ? 0 : -EPERM;
    return or_errno(fchownat(path_fd, "", uid, gid, AT_EMPTY_PATH));
}

int share_truncate(const struct share *share, int path_fd, uint64_t len)
{
    char path[PROC_PATH_BYTES];
    int rc = share->read_only ? -EROFS : check_kind(path_fd, false);

    if (rc)
        return rc;
    if (len > INT64_MAX)
        return -EFBIG;
    proc_path(path_fd, path);
    return or_errno(truncate(path, (off_t)len));
}

int share_link(const struct share *share, int path_fd, int dir_fd, const char *name)
{
    char path[PROC_PATH_BYTES];
    int rc = share->read_only ? -EROFS : share_check_name(name);

    if (!rc)
        rc = check_kind(path_fd, false);
    if (rc)
        return rc;
    proc_path(path_fd, path);
    return or_errno(linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW));
}
