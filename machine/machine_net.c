/* The machine's network devices: a back end and a virtio-net in front of it for each of the configuration's. */
#include "dev/net/socket.h"
#include "dev/net/tap.h"
#include "dev/net/user.h"
#include "dev/virtio/virtio_net.h"
#include "machine/machine_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

_Static_assert((int)MACHINE_NET_PAIRS_MAX == (int)NET_PAIRS_MAX, "the public limit is the devices'");

static int create_user(struct machine *m, const struct machine_net *net, struct net_backend **out, struct error *err)
{
    struct net_forward forwards[MACHINE_FORWARDS_MAX];
    struct net_user_config config = {.loop = m->devices_loop,
                                     .mtu = net->mtu,
                                     .restricted = net->restricted,
                                     .forwards = forwards,
                                     .forward_count = net->forward_count};

    for (unsigned i = 0; i < net->forward_count; i++) {
        int rc = net_forward_parse(net->forwards[i], &forwards[i], err);
        if (rc)
            return rc;
    }
    return net_user_create(&config, out, err);
}

static int create_backend(struct machine *m, const struct machine_net *net, struct net_backend **out, struct error *err)
{
    struct net_tap_config tap = {.loop = m->devices_loop, .name = net->where, .pairs = net->pairs, .mtu = net->mtu};
    struct net_socket_config wire = {.loop = m->devices_loop, .path = net->where, .mtu = net->mtu};

    switch (net->kind) {
    case MACHINE_NET_USER:
        return create_user(m, net, out, err);
    case MACHINE_NET_TAP:
        return net_tap_create(&tap, out, err);
    case MACHINE_NET_SOCKET:
        return net_socket_create(&wire, out, err);
    }
    return error_set(err, -EINVAL, "there is no such kind of network");
}

/* Behind a user-mode network nobody else has the address, so that runs repeat; elsewhere it is a random one. The first
 * three bytes are those that QEMU and KVM guests have. */
static void choose_mac(const struct machine_net *net, unsigned n, uint8_t mac[6])
{
    const uint8_t fixed[6] = {0x52, 0x54, 0x00, 0x12, 0x34, (uint8_t)(0x56 + n)};
    const uint8_t zero[6] = {0};

    memcpy(mac, fixed, sizeof(fixed));
    if (memcmp(net->mac, zero, sizeof(zero)) != 0)
        memcpy(mac, net->mac, sizeof(net->mac));
    else if (net->kind != MACHINE_NET_USER && getrandom(mac + 3, 3, GRND_NONBLOCK) != 3)
        memcpy(mac, fixed, sizeof(fixed));
}

static void set_rates(struct virtio_device *dev, uint64_t bytes_per_s, uint64_t packets_per_s)
{
    struct rate_limit_config rates = {.bytes_per_s = bytes_per_s, .ops_per_s = packets_per_s};

    virtio_net_set_rates(dev, &rates, &rates);
}

static int add_net(struct machine *m, unsigned n, struct error *err)
{
    const struct machine_net *net = &m->config.nets[n];
    struct virtio_net_config config = {.mem = m->mem, .loop = m->devices_loop, .pairs = net->pairs};
    struct virtio_device *dev;
    int rc = create_backend(m, net, &config.backend, err);

    if (rc)
        return rc;
    choose_mac(net, n, config.mac);
    if (net->pairs > config.backend->pairs) {
        rc = error_set(err, -EINVAL, "a network of kind %s has at most %u queue pairs, not %u",
                       config.backend->ops->name, config.backend->pairs, net->pairs);
    } else {
        rc = virtio_net_create(&config, &dev);
        if (rc)
            error_set(err, rc, "virtio-net: %s", strerror(-rc));
    }
    if (rc) {
        net_backend_destroy(config.backend);
        return rc;
    }
    set_rates(dev, net->bytes_per_s, net->packets_per_s);
    rc = machine_virtio_add(m, dev, err);
    if (rc == 0)
        m->nets[n] = dev;
    return rc;
}

int machine_net_create(struct machine *m, struct error *err)
{
    for (unsigned n = 0; n < m->config.net_count; n++) {
        int rc = add_net(m, n, err);
        if (rc)
            return rc;
    }
    return 0;
}

int machine_set_net_rates(struct machine *m, unsigned net, uint64_t bytes_per_s, uint64_t packets_per_s)
{
    if (net >= MACHINE_NETS_MAX || !m->nets[net])
        return -ENODEV;
    set_rates(m->nets[net], bytes_per_s, packets_per_s);
    return 0;
}
