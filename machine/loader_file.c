/* Opening and reading the files a guest boots from.
 *
 * Only regular files: a size that is known before reading is what lets every check come before the first byte of the
 * guest's memory changes. Opened without blocking, so that a FIFO given by mistake is refused rather than waited for.
 */
#include "machine/loader_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_regular(struct loader_file *file, struct error *err)
{
    struct stat st;

    if (fstat(file->fd, &st) != 0) {
        int rc = -errno;
        return error_set(err, rc, "cannot examine %s '%s': %s", file->what, file->path, strerrordesc_np(-rc));
    }
    if (S_ISDIR(st.st_mode))
        return error_set(err, -EISDIR, "%s '%s' is a directory; name a file", file->what, file->path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, -EINVAL, "%s '%s' is not a regular file; copy it into one first", file->what, file->path);
    if (st.st_size == 0)
        return error_set(err, -ENODATA, "%s '%s' is empty (0 bytes); build or download it again", file->what,
                         file->path);
    file->size_bytes = (uint64_t)st.st_size;
    return 0;
}

int loader_file_open(struct loader_file *file, const char *what, const char *path, struct error *err)
{
    *file = (struct loader_file){.fd = -1, .what = what, .path = path};
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0) {
        int rc = -errno;
        return error_set(err, rc, "cannot open %s '%s': %s; check the path and its permissions", what, path,
                         strerrordesc_np(-rc));
    }
    int rc = check_regular(file, err);
    if (rc)
        loader_file_close(file);
    return rc;
}

void loader_file_close(struct loader_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

int loader_file_read(const struct loader_file *file, uint64_t offset, void *buf, size_t len, struct error *err)
{
    uint8_t *at = buf;

    while (len) {
        ssize_t got = pread(file->fd, at, len, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int rc = -errno;
            return error_set(err, rc, "cannot read %s '%s' at byte %" PRIu64 ": %s", file->what, file->path, offset,
                             strerrordesc_np(-rc));
        }
        if (got == 0)
            return error_set(err, -EIO,
                             "%s '%s' ended at byte %" PRIu64 " of %" PRIu64
                             " while it was read; is something writing it",
                             file->what, file->path, offset, file->size_bytes);
        at += got;
        len -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}
