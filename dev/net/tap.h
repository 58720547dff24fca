/* A tap interface of the host (Linux, drivers/net/tun): frames of the guest appear on it with their checksum and
 * segmentation still to be done, so that the host's kernel does either as late as possible or never. */
#ifndef TUFF_DEV_NET_TAP_H
#define TUFF_DEV_NET_TAP_H

#include "base/error.h"
#include "dev/net/backend.h"

struct loop;

struct net_tap_config {
    struct loop *loop;
    const char *name; /* of the interface; NULL: the kernel chooses tapN */
    uint16_t pairs;   /* 0: 1; more make a multi-queue interface */
    uint16_t mtu;     /* 0: the interface's */
};

/* Attaches to the interface, making it when it is not there (that needs CAP_NET_ADMIN; an interface of the user's own,
 * made by `ip tuntap add NAME mode tap user USER vnet_hdr`, does not). Addresses, routes and bridges are the host's
 * affair. Returns 0 or a negative errno with a line in `err`. */
int net_tap_create(const struct net_tap_config *config, struct net_backend **out, struct error *err) TUFF_MUST_CHECK;

/* The interface's name; lives as long as the back end, which must be a tap. */
const char *net_tap_name(const struct net_backend *backend);

#endif
