/* The Internet checksum (RFC 1071) over scattered bytes, and what a device does in a driver's place when it offered
 * checksum offload (virtio 1.2, 5.1.6.2) and the other side wants whole packets. */
#ifndef TUFF_DEV_NET_CHECKSUM_H
#define TUFF_DEV_NET_CHECKSUM_H

#include "dev/net/header.h"

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* The one's complement sum of `len` bytes, added to `sum` (of bytes an even number of which came before). Not folded:
 * net_checksum_fold() makes 16 bits in memory order of it. */
uint64_t net_checksum_add(uint64_t sum, const void *bytes, size_t len);
uint16_t net_checksum_fold(uint64_t sum);
/* The sum over what the iovecs hold from byte `offset` on. */
uint64_t net_checksum_iov(const struct iovec *iov, unsigned count, size_t offset);

/* Does the header say sensible things for a frame of `len` bytes? Places of checksums and header lengths lie inside,
 * segments have a size. */
bool net_header_is_valid(const struct net_header *header, size_t len) TUFF_MUST_CHECK;

/* Computes the checksum that NET_HEADER_NEEDS_CSUM asks for; `header` is valid for the frame. Returns what belongs at
 * csum_start + csum_offset, in memory order. */
uint16_t net_checksum_finish(const struct net_header *header, const struct iovec *iov, unsigned count);

#endif
