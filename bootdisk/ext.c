/* Files out of an ext2, ext3 or ext4 file system, by libext2fs, whose view of a device is an "I/O manager": here a
 * range of a disk image. */
#include "base/library.h"
#include "bootdisk/bootdisk_internal.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20 };

/* The library opens its device by name, and a name is all that it hands on. Set in the child process only, which reads
 * one image. */
static struct {
    struct block_node *node;
    struct extent extent;
} device;

/* ---- the I/O manager ---- */

static errcode_t device_open(const char *name, int flags, io_channel *out);

static errcode_t device_close(io_channel channel)
{
    if (--channel->refcount > 0)
        return 0;
    free(channel->name);
    free(channel);
    return 0;
}

static errcode_t device_set_blksize(io_channel channel, int bytes)
{
    channel->block_size = bytes;
    return 0;
}

/* `count`: blocks, or bytes if it is negative. Reading beyond the end fails. */
static errcode_t device_read_blk64(io_channel channel, unsigned long long block, int count, void *data)
{
    uint64_t block_bytes = (uint64_t)channel->block_size, offset;
    uint64_t bytes = count < 0 ? (uint64_t)-(int64_t)count : (uint64_t)count * block_bytes;

    if (__builtin_mul_overflow(block, block_bytes, &offset) || offset > device.extent.bytes ||
        bytes > device.extent.bytes - offset)
        return EXT2_ET_SHORT_READ;
    return node_read(device.node, data, bytes, device.extent.offset + offset) ? EXT2_ET_SHORT_READ : 0;
}

static errcode_t device_read_blk(io_channel channel, unsigned long block, int count, void *data)
{
    return device_read_blk64(channel, block, count, data);
}

static errcode_t device_write_blk64(io_channel channel, unsigned long long block, int count, const void *data)
{
    return EXT2_ET_RO_FILSYS;
}

static errcode_t device_write_blk(io_channel channel, unsigned long block, int count, const void *data)
{
    return EXT2_ET_RO_FILSYS;
}

static errcode_t device_flush(io_channel channel)
{
    return 0;
}

static struct struct_io_manager device_manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "Tuff's disk images",
    .open = device_open,
    .close = device_close,
    .set_blksize = device_set_blksize,
    .read_blk = device_read_blk,
    .write_blk = device_write_blk,
    .flush = device_flush,
    .read_blk64 = device_read_blk64,
    .write_blk64 = device_write_blk64,
};

static errcode_t device_open(const char *name, int flags, io_channel *out)
{
    io_channel channel = calloc(1, sizeof(*channel));

    if (!channel)
        return EXT2_ET_NO_MEMORY;
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = &device_manager;
    channel->name = strdup(name);
    channel->block_size = 1024;
    channel->refcount = 1;
    if (!channel->name) {
        free(channel);
        return EXT2_ET_NO_MEMORY;
    }
    *out = channel;
    return 0;
}

/* ---- files ---- */

#define EXT_FUNCTIONS(X)     \
    X(ext2fs_open)           \
    X(ext2fs_free)           \
    X(ext2fs_namei_follow)   \
    X(ext2fs_read_inode)     \
    X(ext2fs_file_open)      \
    X(ext2fs_file_get_lsize) \
    X(ext2fs_file_read)      \
    X(ext2fs_file_close)

LIBRARY(library, EXT_FUNCTIONS, .file = "libext2fs.so.2", .package = "libext2fs2",
        .use = "a kernel in a disk's file system");

struct ext_lib {
    EXT_FUNCTIONS(LIBRARY_POINTER)
};

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t done = write(fd, bytes, len);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            bytes += done;
            len -= (size_t)done;
        }
    }
    return 0;
}

static int copy_open_file(const struct ext_lib *lib, ext2_file_t file, int fd, const char *path, struct error *err)
{
    char *buf = malloc(COPY_BYTES);
    unsigned int got = 0;
    int rc = buf ? 0 : error_set(err, -ENOMEM, "not enough host memory, free some");

    while (!rc) {
        errcode_t code = lib->ext2fs_file_read(file, buf, COPY_BYTES, &got);
        if (code)
            rc = error_set(err, -EINVAL,
                           "%s in its file system cannot be read (libext2fs: code %ld); check it with e2fsck", path,
                           (long)code);
        else if (!got)
            break;
        else if (write_all(fd, buf, got))
            rc = error_set(err, -ENOSPC, "%s does not fit into host memory, free some", path);
    }
    free(buf);
    return rc;
}

static int copy_file(const struct ext_lib *lib, ext2_filsys fs, ext2_ino_t ino, uint64_t max_bytes, int fd,
                     const char *path, struct error *err)
{
    ext2_file_t file;
    __u64 bytes;
    errcode_t code = lib->ext2fs_file_open(fs, ino, 0, &file);
    int rc = 0;

    if (code)
        return error_set(err, -EINVAL, "%s in its file system cannot be opened (libext2fs: code %ld)", path,
                         (long)code);
    if (lib->ext2fs_file_get_lsize(file, &bytes) || !bytes || bytes > max_bytes)
        rc = error_set(err, -EFBIG, "%s in its file system is empty or has more than %llu MiB", path,
                       (unsigned long long)(max_bytes >> 20));
    else
        rc = copy_open_file(lib, file, fd, path, err);
    lib->ext2fs_file_close(file);
    return rc;
}

/* The regular file that `path` leads to, or 0. */
static ext2_ino_t find_file(const struct ext_lib *lib, ext2_filsys fs, const char *path)
{
    struct ext2_inode inode;
    ext2_ino_t ino;

    if (lib->ext2fs_namei_follow(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) ||
        lib->ext2fs_read_inode(fs, ino, &inode) || !LINUX_S_ISREG(inode.i_mode))
        return 0;
    return ino;
}

static int copy_both(const struct ext_lib *lib, ext2_filsys fs, int kernel_fd, int initrd_fd,
                     struct bootdisk_answer *answer)
{
    static const struct {
        const char *kernel, *initrd;
    } places[] = {
        {"/vmlinuz", "/initrd.img"},           {"/vmlinux", "/initrd.img"},
        {"/boot/vmlinuz", "/boot/initrd.img"}, {"/boot/vmlinux", "/boot/initrd.img"},
        {"/boot/Image", "/boot/initrd.img"},
    };

    for (size_t i = 0; i < TUFF_ARRAY_LEN(places); i++) {
        ext2_ino_t kernel = find_file(lib, fs, places[i].kernel), initrd = find_file(lib, fs, places[i].initrd);
        if (!kernel)
            continue;
        int rc = copy_file(lib, fs, kernel, BOOTDISK_KERNEL_BYTES_MAX, kernel_fd, places[i].kernel, &answer->err);
        if (!rc && initrd)
            rc = copy_file(lib, fs, initrd, BOOTDISK_INITRD_BYTES_MAX, initrd_fd, places[i].initrd, &answer->err);
        strcpy(answer->kernel, places[i].kernel);
        answer->has_initrd = initrd != 0;
        return rc;
    }
    return error_set(&answer->err, -ENOENT,
                     "its file system has no kernel: /vmlinuz, /vmlinux, the same in /boot, or /boot/Image");
}

int ext_read(struct block_node *node, struct extent extent, int kernel_fd, int initrd_fd,
             struct bootdisk_answer *answer)
{
    struct ext_lib lib;
    ext2_filsys fs;
    int rc = library_load(&library, &lib, &answer->err);

    if (rc)
        return rc;
    device.node = node;
    device.extent = extent;
    errcode_t code = lib.ext2fs_open("disk", EXT2_FLAG_64BITS, 0, 0, &device_manager, &fs);
    if (code == EXT2_ET_BAD_MAGIC || code == EXT2_ET_SHORT_READ)
        return error_set(&answer->err, -EMEDIUMTYPE, "it has no ext2, ext3 or ext4 file system");
    if (code)
        return error_set(
            &answer->err, -EINVAL,
            "its file system is damaged or of a kind unknown here (libext2fs: code %ld); check it with e2fsck",
            (long)code);
    rc = copy_both(&lib, fs, kernel_fd, initrd_fd, answer);
    lib.ext2fs_free(fs);
    return rc;
}
