/* The host's file under an image; see host_file.h. */
#include "dev/block/host_file.h"

#include "base/log.h"
#include "dev/iov.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long to wait for a lock: a process that was killed still has its own while the kernel waits for its I/O. */
enum { LOCK_TRIES = 20, LOCK_WAIT_US = 50000 };

enum { BOUNCE_BYTES = 1 << 20, DIRECT_ALIGN_DEFAULT = 4096, IOV_A_CALL = IOV_MAX };

/* ---- locks ---- */

/* QEMU's convention: whoever does something holds a shared lock on one byte for it, whoever does not want others to do
 * it on another byte, and then looks whether somebody else holds the opposite one. */
enum { LOCK_DOES = 100, LOCK_FORBIDS = 200 };
enum { LOCK_READS = 0, LOCK_WRITES = 1, LOCK_RESIZES = 3, LOCK_KINDS = 4 };

static int lock_byte(int fd, int command, short type, off_t at)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    if (fcntl(fd, command, &lock))
        return -errno;
    return command == F_OFD_GETLK && lock.l_type != F_UNLCK ? -EBUSY : 0;
}

static int try_lock(int fd, bool writable)
{
    static const bool reads[LOCK_KINDS] = {[LOCK_READS] = true};
    static const bool writes[LOCK_KINDS] = {[LOCK_READS] = true, [LOCK_WRITES] = true, [LOCK_RESIZES] = true};
    static const bool forbids[LOCK_KINDS] = {[LOCK_WRITES] = true, [LOCK_RESIZES] = true};
    const bool *does = writable ? writes : reads;
    int rc = 0;

    for (int kind = 0; kind < LOCK_KINDS && !rc; kind++) {
        if (does[kind])
            rc = lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_DOES + kind);
        if (!rc && forbids[kind])
            rc = lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_FORBIDS + kind);
    }
    /* Own locks do not count here. */
    for (int kind = 0; kind < LOCK_KINDS && !rc; kind++) {
        if (does[kind])
            rc = lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_FORBIDS + kind);
        if (!rc && forbids[kind])
            rc = lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_DOES + kind);
    }
    return rc == -EAGAIN || rc == -EACCES ? -EBUSY : rc;
}

static void unlock(int fd)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};

    (void)fcntl(fd, F_OFD_SETLK, &all);
}

static int lock_file(int fd, bool writable)
{
    int rc = try_lock(fd, writable);

    for (int i = 0; i < LOCK_TRIES && rc == -EBUSY; i++) {
        unlock(fd); /* or two that want the file both wait for each other */
        usleep(LOCK_WAIT_US);
        rc = try_lock(fd, writable);
    }
    return rc;
}

/* ---- opening ---- */

static void find_alignment(struct host_file *file)
{
    file->memory_align = file->offset_align = 1;
    if (!file->direct)
        return;
    file->memory_align = file->offset_align = DIRECT_ALIGN_DEFAULT;
#ifdef STATX_DIOALIGN
    struct statx st;

    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 && st.stx_mask & STATX_DIOALIGN &&
        st.stx_dio_offset_align && st.stx_dio_mem_align) {
        file->memory_align = st.stx_dio_mem_align;
        file->offset_align = st.stx_dio_offset_align;
    }
#endif
}

/* Takes the descriptor over. */
static int adopt(int fd, const struct host_file_options *options, struct host_file **out)
{
    struct host_file *file = calloc(1, sizeof(*file));
    struct stat st;
    int rc = file ? 0 : -ENOMEM;

    if (!rc && fstat(fd, &st))
        rc = -errno;
    if (rc) {
        close(fd);
        free(file);
        return rc;
    }
    file->fd = fd;
    file->writable = options->writable;
    file->direct = options->direct;
    file->block_device = S_ISBLK(st.st_mode);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    pthread_mutex_init(&file->align_lock, NULL);
    find_alignment(file);
    rc = host_file_size(file, &file->size_bytes);
    if (rc)
        host_file_close(file);
    else
        *out = file;
    return rc;
}

static int refuse_kind(const char *path, int fd, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st))
        return error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_set(err, -EINVAL, "%s: is not a regular file or a block device", path);
    return 0;
}

int host_file_open(const char *path, const struct host_file_options *options, struct host_file **out, struct error *err)
{
    /* Not to wait for the other end of a FIFO. */
    int flags = O_CLOEXEC | O_NONBLOCK | (options->writable ? O_RDWR : O_RDONLY) |
                (options->create ? O_CREAT | O_EXCL : 0) | (options->direct ? O_DIRECT : 0);
    int fd = open(path, flags, 0666), rc;

    if (fd < 0 && errno == EINVAL && options->direct)
        return error_set(err, -EINVAL, "%s: its file system has no direct I/O: leave 'direct' out", path);
    if (fd < 0 && errno == EEXIST)
        return error_set(err, -EEXIST, "%s: is there already: remove it first", path);
    if (fd < 0)
        return error_set(err, -errno, "%s: %s", path, strerror(errno));
    rc = refuse_kind(path, fd, err);
    if (rc) {
        close(fd);
        return rc;
    }
    rc = options->no_lock ? 0 : lock_file(fd, options->writable);
    if (rc == -EBUSY) {
        close(fd);
        return error_set(err, rc, "%s: is in use by another virtual machine or tool%s", path,
                         options->writable ? "" : ", which writes it");
    }
    if (rc) /* a file system without locks */
        log_warn(LOG_DEV, "%s: cannot be locked: %s", path, strerror(-rc));
    rc = adopt(fd, options, out);
    return rc ? error_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

int host_file_open_temporary(struct host_file **out, struct error *err)
{
    const struct host_file_options options = {.writable = true};
    const char *dir = getenv("TMPDIR");
    int fd, rc;

    if (!dir || !*dir)
        dir = "/var/tmp";
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, -errno, "%s: no temporary file for what a snapshot's guest writes: %s (TMPDIR chooses)",
                         dir, strerror(errno));
    rc = adopt(fd, &options, out);
    if (rc)
        return error_set(err, rc, "%s: temporary file: %s", dir, strerror(-rc));
    (*out)->no_sync = true;
    return 0;
}

void host_file_close(struct host_file *file)
{
    if (!file)
        return;
    close(file->fd);
    pthread_mutex_destroy(&file->align_lock);
    free(file);
}

int host_file_size(struct host_file *file, uint64_t *bytes)
{
    struct stat st;

    if (file->block_device)
        return ioctl(file->fd, BLKGETSIZE64, bytes) ? -errno : 0;
    if (fstat(file->fd, &st))
        return -errno;
    *bytes = (uint64_t)st.st_size;
    return 0;
}

void host_file_set_fault(struct host_file *file, host_fault_fn fault, void *opaque)
{
    file->fault = fault;
    file->fault_opaque = opaque;
}

int host_file_ask_fault(struct host_file *file, enum host_op op, uint64_t offset, uint64_t *bytes)
{
    return file->fault ? file->fault(file->fault_opaque, op, offset, bytes) : 0;
}

/* ---- reads and writes ---- */

bool host_file_is_aligned(const struct host_file *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    if (!file->direct)
        return true;
    if (offset % file->offset_align)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if ((uintptr_t)iov[i].iov_base % file->memory_align || iov[i].iov_len % file->offset_align)
            return false;
    }
    return true;
}

/* One call of the host. */
static ssize_t transfer_once(struct host_file *file, enum host_op op, const struct iovec *iov, unsigned count,
                             uint64_t offset)
{
    struct iovec part[16];
    uint64_t bytes = iov_bytes(iov, count), allowed = bytes;
    int rc = host_file_ask_fault(file, op, offset, &allowed);
    ssize_t done;

    if (rc)
        return rc;
    if (allowed < bytes && count <= TUFF_ARRAY_LEN(part)) {
        count = iov_part(iov, count, 0, allowed, part, TUFF_ARRAY_LEN(part));
        iov = part;
    }
    do {
        done = op == HOST_READ ? preadv(file->fd, iov, (int)count, (off_t)offset)
                               : pwritev(file->fd, iov, (int)count, (off_t)offset);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

/* Until all is done or the file ends: bytes, or a negative errno. */
static ssize_t transfer(struct host_file *file, enum host_op op, const struct iovec *iov, unsigned count,
                        uint64_t offset)
{
    struct iovec rest[IOV_A_CALL];
    uint64_t bytes = iov_bytes(iov, count), done = 0;

    while (done < bytes) {
        unsigned first = 0, used;
        uint64_t skip = done;
        ssize_t n;

        while (first + 1 < count && skip >= iov[first].iov_len)
            skip -= iov[first++].iov_len;
        used = count - first < IOV_A_CALL ? count - first : IOV_A_CALL;
        if (skip == 0) {
            n = transfer_once(file, op, iov + first, used, offset + done);
        } else {
            used = iov_part(iov + first, used, skip, UINT64_MAX, rest, used);
            n = transfer_once(file, op, rest, used, offset + done);
        }
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (uint64_t)n;
    }
    return (ssize_t)done;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Through a bounce buffer, an aligned window after the other. */
static ssize_t bounce(struct host_file *file, enum host_op op, const struct iovec *iov, unsigned count, uint64_t offset)
{
    uint64_t bytes = iov_bytes(iov, count), done = 0;
    ssize_t n = 0;
    uint8_t *buf;

    buf = aligned_alloc(file->memory_align > 4096 ? file->memory_align : 4096, BOUNCE_BYTES);
    if (!buf)
        return -ENOMEM;
    while (done < bytes) {
        uint64_t from = (offset + done) / file->offset_align * file->offset_align, skip = offset + done - from;
        uint64_t len = min_u64(bytes - done, BOUNCE_BYTES - skip);
        uint64_t window = (skip + len + file->offset_align - 1) / file->offset_align * file->offset_align;
        struct iovec whole = {.iov_base = buf, .iov_len = window};
        bool part = skip || len != window;

        if (op == HOST_READ || part) {
            if (op == HOST_WRITE)
                pthread_mutex_lock(&file->align_lock);
            n = transfer(file, HOST_READ, &whole, 1, from);
            if (n >= 0 && op == HOST_WRITE)
                memset(buf + n, 0, window - (uint64_t)n);
        }
        if (op == HOST_READ && n >= 0) {
            n = (uint64_t)n > skip ? (ssize_t)min_u64((uint64_t)n - skip, len) : 0;
            iov_from_buf(iov, count, done, buf + skip, (size_t)n);
        } else if (n >= 0) {
            iov_to_buf(iov, count, done, buf + skip, len);
            n = transfer(file, HOST_WRITE, &whole, 1, from);
            if (n >= 0)
                n = (uint64_t)n == window ? (ssize_t)len : -EIO;
        }
        if (op == HOST_WRITE && part)
            pthread_mutex_unlock(&file->align_lock);
        if (n < 0)
            break;
        done += (uint64_t)n;
        if ((uint64_t)n < len)
            break;
    }
    free(buf);
    return n < 0 ? n : (ssize_t)done;
}

ssize_t host_file_readv(struct host_file *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    return host_file_is_aligned(file, iov, count, offset) ? transfer(file, HOST_READ, iov, count, offset)
                                                          : bounce(file, HOST_READ, iov, count, offset);
}

int host_file_readv_padded(struct host_file *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    ssize_t n = host_file_readv(file, iov, count, offset);

    if (n < 0)
        return (int)n;
    iov_zero(iov, count, (uint64_t)n, UINT64_MAX);
    return 0;
}

int host_file_read(struct host_file *file, void *buf, size_t bytes, uint64_t offset)
{
    struct iovec iov = {.iov_base = buf, .iov_len = bytes};

    return host_file_readv_padded(file, &iov, 1, offset);
}

int host_file_writev(struct host_file *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    ssize_t n;

    if (!file->writable)
        return -EROFS;
    n = host_file_is_aligned(file, iov, count, offset) ? transfer(file, HOST_WRITE, iov, count, offset)
                                                       : bounce(file, HOST_WRITE, iov, count, offset);
    if (n < 0)
        return (int)n;
    return (uint64_t)n == iov_bytes(iov, count) ? 0 : -EIO;
}

int host_file_write(struct host_file *file, const void *buf, size_t bytes, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)buf, .iov_len = bytes};

    return host_file_writev(file, &iov, 1, offset);
}

/* ---- the rest ---- */

int host_file_sync(struct host_file *file)
{
    uint64_t none = 0;
    int rc = atomic_load(&file->sync_error);

    if (rc || file->no_sync || !file->writable)
        return rc;
    rc = host_file_ask_fault(file, HOST_SYNC, 0, &none);
    if (!rc && fdatasync(file->fd))
        rc = -errno;
    if (rc) {
        log_warn(LOG_DEV, "a disk image cannot be made durable (%s): what was written since the last flush may be lost",
                 strerror(-rc));
        atomic_store(&file->sync_error, rc);
    }
    return rc;
}

static int block_device_range(struct host_file *file, unsigned long request, uint64_t offset, uint64_t bytes)
{
    uint64_t range[2] = {offset, bytes};

    return ioctl(file->fd, request, range) ? -errno : 0;
}

/* The host has no such call here, as opposed to one that failed. */
static bool is_unsupported(int rc)
{
    return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -ENOTTY || rc == -EINVAL;
}

static int punch(struct host_file *file, uint64_t offset, uint64_t bytes)
{
    if (file->block_device)
        return -EOPNOTSUPP; /* BLKDISCARD leaves open what is read afterwards */
    return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes) ? -errno : 0;
}

void host_file_discard(struct host_file *file, uint64_t offset, uint64_t bytes)
{
    uint64_t asked = bytes;
    int rc;

    if (atomic_load(&file->no_punch) || host_file_ask_fault(file, HOST_DISCARD, offset, &asked))
        return;
    rc = file->block_device ? block_device_range(file, BLKDISCARD, offset, bytes) : punch(file, offset, bytes);
    if (is_unsupported(rc))
        atomic_store(&file->no_punch, true);
}

static int write_zeroes(struct host_file *file, uint64_t offset, uint64_t bytes)
{
    size_t chunk = (size_t)min_u64(bytes, BOUNCE_BYTES);
    uint8_t *zeroes = aligned_alloc(4096, (chunk + 4095) / 4096 * 4096);
    int rc = zeroes ? 0 : -ENOMEM;

    if (zeroes)
        memset(zeroes, 0, chunk);
    for (uint64_t done = 0; !rc && done < bytes;) {
        size_t len = (size_t)min_u64(bytes - done, chunk);
        rc = host_file_write(file, zeroes, len, offset + done);
        done += len;
    }
    free(zeroes);
    return rc;
}

int host_file_zero(struct host_file *file, uint64_t offset, uint64_t bytes, bool may_unmap)
{
    uint64_t asked = bytes, size;
    int rc = host_file_ask_fault(file, HOST_ZERO, offset, &asked);

    if (rc || !bytes)
        return rc;
    if (!file->writable)
        return -EROFS;
    if (may_unmap && !atomic_load(&file->no_punch)) {
        rc = punch(file, offset, bytes);
        if (!rc) /* a hole behind the end does not make the file longer */
            rc = host_file_size(file, &size);
        if (!rc && (file->block_device || size >= offset + bytes))
            return 0;
    } else if (!atomic_load(&file->no_zero_range)) {
        if (file->block_device)
            rc = block_device_range(file, BLKZEROOUT, offset, bytes);
        else if (fallocate(file->fd, FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)bytes))
            rc = -errno;
        if (!rc)
            return 0;
        if (is_unsupported(rc))
            atomic_store(&file->no_zero_range, true);
    }
    return rc && !is_unsupported(rc) ? rc : write_zeroes(file, offset, bytes);
}

int host_file_truncate(struct host_file *file, uint64_t bytes)
{
    uint64_t asked = bytes;
    int rc = host_file_ask_fault(file, HOST_TRUNCATE, bytes, &asked);

    if (rc)
        return rc;
    return ftruncate(file->fd, (off_t)bytes) ? -errno : 0;
}
