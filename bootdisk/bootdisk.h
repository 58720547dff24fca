/* What a disk boots from: the kernel and the initial RAM disk out of the file system on it, as a boot loader would read
 * them.
 *
 * The disk is a raw or qcow2 image, backing images and all, that holds one ext2, ext3 or ext4 file system, or a GUID
 * partition table of which one partition does. Looked for are, in this order, the links that Debian keeps to its newest
 * kernel (/vmlinuz, /vmlinux, then the same in /boot) and /boot/Image; with the kernel comes /initrd.img beside it, if
 * there is one. What is read is what the disk has without the journal of a file system that was not unmounted.
 *
 * The image is hostile. It is read by a child process that has nothing but the image and two empty files: what a
 * damaged file system makes of the library that reads it (e2fsprogs' libext2fs) ends that process, and nothing else.
 */
#ifndef TUFF_BOOTDISK_BOOTDISK_H
#define TUFF_BOOTDISK_BOOTDISK_H

#include "base/compiler.h"
#include "base/error.h"
#include "dev/block/node.h"

/* What is bigger is refused: bytes. */
enum { BOOTDISK_KERNEL_BYTES_MAX = 256 << 20, BOOTDISK_INITRD_BYTES_MAX = 1 << 30 };

struct bootdisk {
    int kernel_fd;      /* a file in memory, the caller's to close */
    int initrd_fd;      /* likewise; -1: there is none */
    char kernel[32];    /* where it was, as /vmlinuz */
    unsigned partition; /* from 1; 0: the file system is the whole disk */
};

/* Reads both. The image may be in use by nobody who writes. Any thread; blocks until the child process has ended (it
 * is given a minute of CPU time). Returns 0; -ENOENT: there is a file system but no kernel; -EINVAL: no file system of
 * these, or a damaged one; else what opening or reading said. */
TUFF_MUST_CHECK int bootdisk_read(const char *path, enum block_format format, struct bootdisk *out, struct error *err);

/* Closes what bootdisk_read() opened. */
void bootdisk_close(struct bootdisk *disk);

#endif
