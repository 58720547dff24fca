/* A network of the guest's own behind the host's sockets (libslirp): no privileges, no configuration.
 *
 * The guest is 10.0.2.15 by DHCP; 10.0.2.2 is gateway and host, 10.0.2.3 the name server; fec0::/64 likewise. What the
 * guest connects to, Tuff connects to; from outside only forwarded ports reach it.
 */
#ifndef TUFF_DEV_NET_USER_H
#define TUFF_DEV_NET_USER_H

#include "base/error.h"
#include "dev/net/backend.h"

#include <netinet/in.h>

struct loop;

struct net_forward {
    bool udp;
    struct in_addr host_addr, guest_addr;
    uint16_t host_port, guest_port;
};

/* Parses PROTO:[HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT, as in tcp:2222:22 or udp:0.0.0.0:53:10.0.2.15:53. The host's
 * address is 127.0.0.1 when left out, the guest's that of its DHCP lease. A guest's address needs the host's before
 * it. Returns 0 or -EINVAL. */
int net_forward_parse(const char *text, struct net_forward *out, struct error *err) TUFF_MUST_CHECK;

struct net_user_config {
    struct loop *loop;
    uint16_t mtu;    /* 0: NET_MTU_MAX; large packets are what makes it fast */
    bool restricted; /* forwarded ports only: nothing the guest begins leaves it but DHCP */
    const struct net_forward *forwards;
    unsigned forward_count;
};

/* Returns 0 or a negative errno with a line in `err` (a forwarded port that is taken: -EADDRINUSE). Not while the
 * loop's thread runs callbacks of this back end, that is before it is attached. */
int net_user_create(const struct net_user_config *config, struct net_backend **out, struct error *err) TUFF_MUST_CHECK;

#endif
