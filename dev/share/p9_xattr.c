/* Extended attributes; see p9_xattr.h. Files are reached as in share_fs.c, through their descriptor's entry in
 * /proc/self/fd, after their kind was looked at. */
#include "dev/share/p9_xattr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static const char user_prefix[] = "user.";

enum { PREFIX_BYTES = sizeof(user_prefix) - 1, PROC_PATH_BYTES = 32 };

static int reach(int path_fd, char path[PROC_PATH_BYTES])
{
    struct stat st;

    if (fstat(path_fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return -EOPNOTSUPP;
    snprintf(path, PROC_PATH_BYTES, "/proc/self/fd/%d", path_fd);
    return 0;
}

static bool is_users(const char *name)
{
    return strncmp(name, user_prefix, PREFIX_BYTES) == 0 && name[PREFIX_BYTES];
}

static struct p9_xattr *xattr_new(const char *name, uint32_t size)
{
    struct p9_xattr *xattr = calloc(1, sizeof(*xattr) + size);

    if (!xattr)
        return NULL;
    snprintf(xattr->name, sizeof(xattr->name), "%s", name);
    xattr->size = size;
    return xattr;
}

/* Leaves the users' names of a list. */
static size_t filter_names(char *names, size_t len)
{
    size_t kept = 0;

    for (size_t at = 0; at < len;) {
        size_t bytes = strnlen(names + at, len - at) + 1;
        if (bytes <= len - at && is_users(names + at)) {
            memmove(names + kept, names + at, bytes);
            kept += bytes;
        }
        at += bytes;
    }
    return kept;
}

int p9_xattr_read(int path_fd, const char *name, struct p9_xattr **out)
{
    char path[PROC_PATH_BYTES];
    int rc = reach(path_fd, path);

    if (rc)
        return rc;
    if (*name && !is_users(name))
        return -EOPNOTSUPP;
    char *bytes = malloc(P9_XATTR_BYTES_MAX);
    if (!bytes)
        return -ENOMEM;
    ssize_t len = *name ? getxattr(path, name, bytes, P9_XATTR_BYTES_MAX) : listxattr(path, bytes, P9_XATTR_BYTES_MAX);
    if (len < 0) {
        rc = -errno;
        free(bytes);
        return rc;
    }
    if (!*name)
        len = (ssize_t)filter_names(bytes, (size_t)len);
    *out = xattr_new(name, (uint32_t)len);
    if (*out) {
        memcpy((*out)->value, bytes, (size_t)len);
        (*out)->len = (uint32_t)len;
    }
    free(bytes);
    return *out ? 0 : -ENOMEM;
}

int p9_xattr_begin(const struct share *share, const char *name, uint64_t size, uint32_t flags, struct p9_xattr **out)
{
    if (share->read_only)
        return -EROFS;
    if (!is_users(name))
        return -EOPNOTSUPP;
    if (flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    if (size > P9_XATTR_BYTES_MAX)
        return -E2BIG;
    *out = xattr_new(name, (uint32_t)size);
    if (!*out)
        return -ENOMEM;
    (*out)->stores = true;
    (*out)->flags = (int)flags;
    return 0;
}

int p9_xattr_store(const struct p9_xattr *xattr, int path_fd)
{
    char path[PROC_PATH_BYTES];
    int rc = xattr->len == xattr->size ? reach(path_fd, path) : -EINVAL;

    if (rc)
        return rc;
    rc = xattr->size ? setxattr(path, xattr->name, xattr->value, xattr->size, xattr->flags)
                     : removexattr(path, xattr->name);
    return rc ? -errno : 0;
}
