/* The fids of a session as a snapshot has them, and back.
 *
 * A file is found again by its names below the shared directory, one by one, as the guest would, and is the same only
 * if its inode's number is. What was removed, replaced or moved to another file system meanwhile is lost, and so are
 * fids of extended attributes, which live for three requests, and locks. The directory itself is whatever is shared
 * now. */
#ifndef TUFF_DEV_SHARE_P9_SAVED_H
#define TUFF_DEV_SHARE_P9_SAVED_H

#include "dev/share/p9_fid.h"
#include "dev/share/share_fs.h"

enum { P9_SAVED_PATHS_BYTES_MAX = 8 << 20 };

struct p9_saved {
    uint32_t msize; /* the session's */
    uint32_t count;
    uint32_t *ids, *uids;
    uint32_t *flags;     /* as p9_flags.h has them; P9_SAVED_CLOSED: not opened */
    uint32_t *path_ends; /* in `paths` */
    uint64_t *inodes;
    char *paths; /* each from the shared directory on, without a zero; "" is the directory */
};
#define P9_SAVED_CLOSED UINT32_C(0xffffffff)

/* While no request is handled. *saved is p9_saved_free()'s. Returns 0 or -ENOMEM. */
TUFF_MUST_CHECK int p9_fids_save(struct p9_fids *fids, const struct share *share, struct p9_saved *saved);
void p9_saved_free(struct p9_saved *saved);
/* Into an empty table. The values may be a stranger's, but path_ends count up to the bytes there are. Returns how many
 * fids are lost. */
unsigned p9_fids_load(struct p9_fids *fids, const struct share *share, const struct p9_saved *saved);

#endif
