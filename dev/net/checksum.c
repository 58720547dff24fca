/* The Internet checksum; see checksum.h. Sums of 32-bit words in 64 bits cannot overflow before 16 GiB, and folding
 * them afterwards gives the sum of 16-bit words (RFC 1071, 2); the plain loop is one that compilers vectorise. */
#include "dev/net/checksum.h"

#include <string.h>

uint64_t net_checksum_add(uint64_t sum, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t words = 0;
    uint16_t half = 0;

    for (; len >= 4; at += 4, len -= 4) {
        uint32_t word;
        memcpy(&word, at, sizeof(word));
        words += word;
    }
    if (len & 2) {
        memcpy(&half, at, 2);
        words += half;
        at += 2;
    }
    if (len & 1)
        words += *at; /* padded by a zero behind it */
    /* Each part below 2^33, so that many calls add up without overflow. */
    return sum + (words & 0xffffffff) + (words >> 32);
}

uint16_t net_checksum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint64_t net_checksum_iov(const struct iovec *iov, unsigned count, size_t offset)
{
    uint64_t sum = 0;
    bool odd = false; /* an odd number of bytes came before: bytes change places in their words */

    for (unsigned i = 0; i < count; i++) {
        size_t len = iov[i].iov_len;
        if (offset >= len) {
            offset -= len;
            continue;
        }
        uint16_t part = net_checksum_fold(net_checksum_add(0, (const uint8_t *)iov[i].iov_base + offset, len - offset));
        sum += odd ? (uint16_t)(part << 8 | part >> 8) : part;
        odd ^= (len - offset) & 1;
        offset = 0;
    }
    return sum;
}

bool net_header_is_valid(const struct net_header *header, size_t len)
{
    if ((header->flags & NET_HEADER_NEEDS_CSUM) && (size_t)header->csum_start + header->csum_offset + 2 > len)
        return false;
    if (header->gso_type == NET_GSO_NONE)
        return true;
    /* Segmenting needs the checksum to be left to whoever does it (5.1.6.2.1), and segments of some size. */
    return header->gso_size && (header->flags & NET_HEADER_NEEDS_CSUM) && header->hdr_len <= len;
}

uint16_t net_checksum_finish(const struct net_header *header, const struct iovec *iov, unsigned count)
{
    uint16_t sum = (uint16_t)~net_checksum_fold(net_checksum_iov(iov, count, header->csum_start));

    /* Zero means "no checksum" in UDP (RFC 768), and 0xffff is the same number everywhere. */
    return sum ? sum : 0xffff;
}
