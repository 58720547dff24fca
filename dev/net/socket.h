/* A wire between two virtual machines on one host: a UNIX socket whose path both are given.
 *
 * Whichever comes first listens (it holds the lock on PATH.lock), the other connects; when one ends, the other waits
 * for the next. Each message (SOCK_SEQPACKET) is one Ethernet frame behind one byte that says whether its checksums
 * were verified, so a packet is lost only while nobody is there, and a receiver that does not read makes the sender
 * wait.
 */
#ifndef TUFF_DEV_NET_SOCKET_H
#define TUFF_DEV_NET_SOCKET_H

#include "base/error.h"
#include "dev/net/backend.h"

struct loop;

struct net_socket_config {
    struct loop *loop;
    const char *path;
    uint16_t mtu; /* 0: NET_MTU_MAX; give both sides the same */
};

/* Returns 0 or a negative errno with a line in `err`. The other side need not be there. */
int net_socket_create(const struct net_socket_config *config, struct net_backend **out,
                      struct error *err) TUFF_MUST_CHECK;

#endif
