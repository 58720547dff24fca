/* The host's file (or block device) under an image: positional I/O that is whole or fails, alignment for O_DIRECT,
 * locks against a second virtual machine, and the one place where tests make the host fail.
 *
 * Any thread may call any of the functions below but open and close; all of them block. Memory and offsets need no
 * alignment: where O_DIRECT wants one that the caller's buffers do not have, data goes through a bounce buffer.
 */
#ifndef TUFF_DEV_BLOCK_HOST_FILE_H
#define TUFF_DEV_BLOCK_HOST_FILE_H

#include "base/compiler.h"
#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum host_op { HOST_READ, HOST_WRITE, HOST_SYNC, HOST_DISCARD, HOST_ZERO, HOST_TRUNCATE };

/* Asked before each call of the host, on any thread. Returns 0 to go on, or the negative errno to fail with; it may
 * shorten reads and writes (`*bytes`, not to 0, when offset and length need no alignment). */
typedef int (*host_fault_fn)(void *opaque, enum host_op op, uint64_t offset, uint64_t *bytes);

struct host_file {
    int fd;
    bool writable;
    bool block_device;
    bool direct;
    bool no_sync;                        /* what is written is thrown away in the end: nothing has to be durable */
    uint32_t memory_align, offset_align; /* powers of two; 1 without O_DIRECT */
    uint64_t size_bytes;                 /* when it was opened */
    dev_t dev;
    ino_t ino;
    pthread_mutex_t align_lock;           /* held while a part of an aligned block is read, changed and written */
    _Atomic int sync_error;               /* first failure of host_file_sync() */
    _Atomic bool no_punch, no_zero_range; /* the host said so */
    host_fault_fn fault;
    void *fault_opaque;
};

struct host_file_options {
    bool writable;
    bool direct;
    bool create;  /* makes an empty file, which must not be there yet */
    bool no_lock; /* for reading while a virtual machine writes */
};

/* Opens and locks. A lock is an OFD lock on the bytes where QEMU has its own, so that neither program writes what the
 * other one uses: readers share with readers, a writer shares with nobody. Returns 0, or a negative errno and a
 * line in `err` (-EBUSY: locked). */
TUFF_MUST_CHECK int host_file_open(const char *path, const struct host_file_options *options, struct host_file **out,
                                   struct error *err);
/* An unnamed file in TMPDIR or /var/tmp, for what is thrown away. */
TUFF_MUST_CHECK int host_file_open_temporary(struct host_file **out, struct error *err);
void host_file_close(struct host_file *file); /* NULL is allowed */

/* For tests: see host_fault_fn. Before the file is used by other threads. */
void host_file_set_fault(struct host_file *file, host_fault_fn fault, void *opaque);
int host_file_ask_fault(struct host_file *file, enum host_op op, uint64_t offset, uint64_t *bytes);

/* True when O_DIRECT (if it is on) takes this buffer at this offset. */
bool host_file_is_aligned(const struct host_file *file, const struct iovec *iov, unsigned count, uint64_t offset);

/* Reads until the buffers are full or the file ends. Returns the number of bytes or a negative errno. */
TUFF_MUST_CHECK ssize_t host_file_readv(struct host_file *file, const struct iovec *iov, unsigned count,
                                        uint64_t offset);
/* The same; what lies behind the end of the file is zero. Returns 0 or a negative errno. */
TUFF_MUST_CHECK int host_file_readv_padded(struct host_file *file, const struct iovec *iov, unsigned count,
                                           uint64_t offset);
TUFF_MUST_CHECK int host_file_read(struct host_file *file, void *buf, size_t bytes, uint64_t offset); /* padded */

/* Writes all of it. Returns 0 or a negative errno (then any part may be written). */
TUFF_MUST_CHECK int host_file_writev(struct host_file *file, const struct iovec *iov, unsigned count, uint64_t offset);
TUFF_MUST_CHECK int host_file_write(struct host_file *file, const void *buf, size_t bytes, uint64_t offset);

/* What was written is durable when it returns 0 (fdatasync). After one failure it fails for ever: the kernel reports
 * lost pages once and then forgets them. */
TUFF_MUST_CHECK int host_file_sync(struct host_file *file);

/* Gives the host its space back; the range reads as zeroes afterwards, or as before where the host cannot do it. */
void host_file_discard(struct host_file *file, uint64_t offset, uint64_t bytes);

/* The range reads as zeroes afterwards. May not change the size of a file beyond offset + bytes. */
TUFF_MUST_CHECK int host_file_zero(struct host_file *file, uint64_t offset, uint64_t bytes, bool may_unmap);

TUFF_MUST_CHECK int host_file_truncate(struct host_file *file, uint64_t bytes);

/* The size now, or a negative errno. */
TUFF_MUST_CHECK int host_file_size(struct host_file *file, uint64_t *bytes);

#endif
