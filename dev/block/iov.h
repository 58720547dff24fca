/* Arrays of iovecs: parts of them, and copying in and out. Nothing here allocates or blocks. */
#ifndef TUFF_DEV_BLOCK_IOV_H
#define TUFF_DEV_BLOCK_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

uint64_t iov_bytes(const struct iovec *iov, unsigned count);

/* Describes bytes [skip, skip + bytes) of `iov` in `out`, which has room for `count` elements. The range lies inside.
 * Returns the number of elements used, none of them empty. */
unsigned iov_part(const struct iovec *iov, unsigned count, uint64_t skip, uint64_t bytes, struct iovec *out);

/* Copies or fills bytes [skip, skip + bytes), which lie inside. */
void iov_copy_out(const struct iovec *iov, unsigned count, uint64_t skip, void *buf, size_t bytes);
void iov_copy_in(const struct iovec *iov, unsigned count, uint64_t skip, const void *buf, size_t bytes);
void iov_zero(const struct iovec *iov, unsigned count, uint64_t skip, uint64_t bytes);

#endif
