/* The header in front of every packet between a virtio-net driver and its device (virtio 1.2, 5.1.6), which is also
 * what Linux's tap devices take: what is still to be done to the packet (checksum, segmentation), or was done. */
#ifndef TUFF_DEV_NET_HEADER_H
#define TUFF_DEV_NET_HEADER_H

#include <stdint.h>

enum {
    NET_HEADER_NEEDS_CSUM = 1, /* flags: the checksum at csum_start + csum_offset covers the pseudo header only */
    NET_HEADER_DATA_VALID = 2, /* checksums were verified */

    NET_GSO_NONE = 0, /* gso_type */
    NET_GSO_TCPV4 = 1,
    NET_GSO_UDP = 3,
    NET_GSO_TCPV6 = 4,
    NET_GSO_ECN = 0x80, /* beside the TCP types */
};

/* Little-endian, as in the ring. */
struct net_header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "as in the ring");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are read as they lie in the ring");

enum {
    NET_ETHERNET_BYTES = 14,
    NET_FRAME_MIN_BYTES = NET_ETHERNET_BYTES,
    NET_FRAME_MAX_BYTES = 65535 + NET_ETHERNET_BYTES + 4, /* the largest IP packet, with a VLAN tag */
    NET_MTU_MIN = 68,
    NET_MTU_ETHERNET = 1500,
    NET_MTU_MAX = 65520,
};

#endif
