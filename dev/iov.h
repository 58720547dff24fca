/* Arrays of iovecs: parts of them, and copying in and out. Nothing here allocates or blocks. Ranges begin `offset`
 * bytes behind the start of the array; what lies beyond its end is left out. */
#ifndef TUFF_DEV_IOV_H
#define TUFF_DEV_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

uint64_t iov_bytes(const struct iovec *iov, unsigned count);

/* Describes [offset, offset + bytes) in `out`, none of whose elements is empty: as much of it as `out_max` elements
 * hold; `count` of them hold all. Returns the number used. */
unsigned iov_part(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t bytes, struct iovec *out,
                  unsigned out_max);

/* The same, but 0 where elements are too few or the range is not all there. */
unsigned iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t bytes, struct iovec *out,
                   unsigned out_max);

/* Copies between the array and a buffer; returns how many bytes were there. */
size_t iov_to_buf(const struct iovec *iov, unsigned count, uint64_t offset, void *buf, size_t bytes);
size_t iov_from_buf(const struct iovec *iov, unsigned count, uint64_t offset, const void *buf, size_t bytes);
void iov_zero(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t bytes);

#endif
