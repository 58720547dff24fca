/* A directory of the host that is given to a guest, and nothing outside it.
 *
 * There are no paths here. A file is a descriptor opened with O_PATH; from a directory's one gets to another by one
 * name at a time (openat2 with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS and RESOLVE_NO_XDEV where
 * the kernel has it). Names with '/', "." and ".." are refused, symbolic links are the guest's to follow, so no name,
 * link or rename at any moment leads out. Files are opened for reading and writing only after their kind was looked at
 * on the descriptor: regular files and directories; devices, FIFOs and sockets never.
 *
 * Functions return 0, a descriptor or a negative errno. Any thread.
 */
#ifndef TUFF_DEV_SHARE_SHARE_FS_H
#define TUFF_DEV_SHARE_SHARE_FS_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { SHARE_NAME_BYTES = 256 };

struct share_config {
    const char *path; /* a directory */
    bool read_only;
    /* What the guest sees as everything's owner; without it the host's numbers. */
    bool squash;
    uint32_t uid, gid;
};

struct share {
    int root_fd; /* O_PATH */
    dev_t device;
    bool read_only, squash, is_root; /* is_root: files get the owner that the guest says */
    uint32_t uid, gid;
};

/* Opens the directory. */
int share_open(struct share *share, const struct share_config *config, struct error *err) TUFF_MUST_CHECK;
void share_close(struct share *share);

/* 0, or -EINVAL, -ENAMETOOLONG for what cannot be an entry's name. */
int share_check_name(const char *name) TUFF_MUST_CHECK;

/* The entry of a directory: an O_PATH descriptor, also of a symbolic link or a device. -EXDEV: something is mounted
 * there. */
int share_walk(const struct share *share, int dir_fd, const char *name) TUFF_MUST_CHECK;

/* Opens a file found by share_walk(): `flags` are open(2)'s access mode, O_APPEND, O_TRUNC, O_DIRECTORY and others
 * without effect on which file that is. -ELOOP: a symbolic link; -EPERM: neither file nor directory. */
int share_reopen(const struct share *share, int path_fd, int flags) TUFF_MUST_CHECK;

/* Creates a regular file and opens it, or opens the one that is there unless `flags` have O_EXCL. `created` says
 * which. */
int share_create(const struct share *share, int dir_fd, const char *name, int flags, mode_t mode,
                 bool *created) TUFF_MUST_CHECK;

/* A new entry's owner, where that is the guest's to say: `uid` UINT32_MAX leaves it. */
int share_set_owner(const struct share *share, int dir_fd, const char *name, uint32_t uid,
                    uint32_t gid) TUFF_MUST_CHECK;

/* fstat() as the guest is to see it. */
int share_stat(const struct share *share, int fd, struct stat *st) TUFF_MUST_CHECK;
int share_chmod(const struct share *share, int path_fd, mode_t mode) TUFF_MUST_CHECK;
int share_chown(const struct share *share, int path_fd, uint32_t uid, uint32_t gid) TUFF_MUST_CHECK;
int share_truncate(const struct share *share, int path_fd, uint64_t len) TUFF_MUST_CHECK;
/* A second name for a regular file. */
int share_link(const struct share *share, int path_fd, int dir_fd, const char *name) TUFF_MUST_CHECK;

#endif
