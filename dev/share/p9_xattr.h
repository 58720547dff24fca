/* Extended attributes of a shared directory's files as 9P reads and writes them: through fids that stand for one
 * attribute of a file, or for the list of their names. Only those that users have ("user."), of regular files and
 * directories; the rest of the host's mean something to its kernel.
 *
 * A value is read whole when its fid is made, and stored whole when it is clunked. Calls for one attribute come one at
 * a time; the caller sees to that.
 */
#ifndef TUFF_DEV_SHARE_P9_XATTR_H
#define TUFF_DEV_SHARE_P9_XATTR_H

#include "base/compiler.h"
#include "dev/share/share_fs.h"

/* What the kernel takes, of a value and of a list of names. */
enum { P9_XATTR_BYTES_MAX = 65536 };

struct p9_xattr {
    bool stores; /* it is written, and stored at the end */
    int flags;   /* XATTR_CREATE, XATTR_REPLACE */
    char name[SHARE_NAME_BYTES];
    uint32_t size; /* of `value` */
    uint32_t len;  /* how much of it there is */
    uint8_t value[];
};

/* The value of an attribute, or with an empty name all names, a zero behind each. Returns 0, or -EOPNOTSUPP (not a
 * user's), -ENODATA or another negative errno. */
TUFF_MUST_CHECK int p9_xattr_read(int path_fd, const char *name, struct p9_xattr **out);
/* One that is to be written, of exactly `size` bytes; 0: the attribute is removed. */
TUFF_MUST_CHECK int p9_xattr_begin(const struct share *share, const char *name, uint64_t size, uint32_t flags,
                                   struct p9_xattr **out);
/* All of it was written: stores it. -EINVAL: not all was. */
TUFF_MUST_CHECK int p9_xattr_store(const struct p9_xattr *xattr, int path_fd);

#endif
