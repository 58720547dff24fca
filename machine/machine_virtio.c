/* The machine's virtio devices: which there are by the configuration, what they stand behind, what they counted.
 *
 * Their queues are worked on the loop `devices_loop`, so that timers of harts never wait behind a device.
 */
#include "dev/pci/pcie_host.h"
#include "dev/virtio/virtio_balloon.h"
#include "dev/virtio/virtio_console.h"
#include "dev/virtio/virtio_crypto.h"
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_pci.h"
#include "dev/virtio/virtio_rng.h"
#include "dev/virtio/virtio_vsock.h"
#include "machine/machine_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- one function a kind of device ---- */

/* Random numbers would keep a run that counts time in instructions from repeating. */
static int add_rng(struct machine *m, struct error *err)
{
    struct virtio_rng_config config = {.mem = m->mem, .loop = m->devices_loop};
    struct virtio_device *dev;

    if (m->config.clock == MACHINE_CLOCK_INSNS)
        return 0;
    int rc = virtio_rng_create(&config, &dev);
    return rc ? error_set(err, rc, "virtio-rng: %s", strerror(-rc)) : machine_virtio_add(m, dev, err);
}

static void console_write(void *opaque, const uint8_t *bytes, size_t len)
{
    struct machine *m = opaque;

    atomic_store(&m->virtio_console_spoke, true);
    console_backend_write(m->console, bytes, len);
}

static void console_can_receive(void *opaque)
{
    const struct machine *m = opaque;

    console_backend_can_receive(m->console);
}

static size_t channel_to_guest(void *opaque, const uint8_t *bytes, size_t len)
{
    const struct machine_channel_end *end = opaque;

    return end->machine->virtio_console ? virtio_console_receive(end->machine->virtio_console, end->port, bytes, len)
                                        : 0;
}

static void channel_to_host(void *opaque, const uint8_t *bytes, size_t len)
{
    channel_write(((struct machine_channel_end *)opaque)->channel, bytes, len);
}

static void channel_has_room(void *opaque)
{
    channel_can_receive(((struct machine_channel_end *)opaque)->channel);
}

static int create_channel(struct machine *m, unsigned n, struct virtio_console_port_config *port, struct error *err)
{
    struct machine_channel_end *end = &m->channels[n];
    struct error why = {{0}};

    end->machine = m;
    end->port = n + 1;
    port->name = m->config.channels[n].name;
    port->backend = (struct serial_backend){.write = channel_to_host, .can_receive = channel_has_room, .opaque = end};
    int rc = channel_create(m->devices_loop, m->config.channels[n].path, channel_to_guest, end, &end->channel, &why);
    return rc ? error_set(err, rc, "--channel, %.480s", why.text) : 0;
}

/* The terminal that shares its back end with the UART, or one that goes nowhere where only channels are wanted. */
static int add_console(struct machine *m, struct error *err)
{
    struct virtio_console_port_config ports[1 + MACHINE_CHANNELS_MAX] = {0};
    struct virtio_console_config config = {
        .mem = m->mem, .loop = m->devices_loop, .ports = ports, .port_count = 1 + m->config.channel_count};

    if (!m->config.virtio_console && !m->config.channel_count)
        return 0;
    if (m->config.virtio_console)
        ports[0].backend =
            (struct serial_backend){.write = console_write, .can_receive = console_can_receive, .opaque = m};
    for (unsigned n = 0; n < m->config.channel_count; n++) {
        int rc = create_channel(m, n, &ports[n + 1], err);
        if (rc)
            return rc;
    }
    int rc = virtio_console_create(&config, &m->virtio_console);
    return rc ? error_set(err, rc, "virtio-console: %s", strerror(-rc)) : machine_virtio_add(m, m->virtio_console, err);
}

static uint32_t balloon_pages(const struct machine *m, uint64_t guest_bytes)
{
    return (uint32_t)((m->config.memory_bytes - guest_bytes) / VIRTIO_BALLOON_PAGE_BYTES);
}

static int add_balloon(struct machine *m, struct error *err)
{
    static const uint64_t stats_period_ns = UINT64_C(10000000000);
    struct virtio_balloon_config config = {.mem = m->mem, .loop = m->devices_loop, .stats_period_ns = stats_period_ns};

    if (!m->config.balloon)
        return 0;
    if (m->config.balloon_bytes > m->config.memory_bytes)
        return error_set(err, -EINVAL, "a balloon that leaves the guest more memory than it has");
    config.target_pages = balloon_pages(m, m->config.balloon_bytes);
    int rc = virtio_balloon_create(&config, &m->balloon);
    return rc ? error_set(err, rc, "virtio-balloon: %s", strerror(-rc)) : machine_virtio_add(m, m->balloon, err);
}

static int add_crypto(struct machine *m, struct error *err)
{
    struct virtio_crypto_config config = {.mem = m->mem, .loop = m->devices_loop};
    struct virtio_device *dev;

    if (!m->config.crypto)
        return 0;
    int rc = virtio_crypto_create(&config, &dev);
    return rc ? error_set(err, rc, "virtio-crypto: %s", strerror(-rc)) : machine_virtio_add(m, dev, err);
}

static int add_vsock(struct machine *m, struct error *err)
{
    struct virtio_vsock_config config = {
        .mem = m->mem, .loop = m->devices_loop, .cid = m->config.vsock.cid, .path = m->config.vsock.path};
    struct error why = {{0}};
    struct virtio_device *dev;

    if (!config.path)
        return 0;
    int rc = virtio_vsock_create(&config, &dev, &why);
    return rc ? error_set(err, rc, "--vsock, %.480s", why.text) : machine_virtio_add(m, dev, err);
}

/* Each adds as many devices as the configuration asks for, which may be none. The order is that of the slots: new ones
 * go to the end. */
static int (*const kinds[])(struct machine *m, struct error *err) = {
    add_rng,   machine_disks_create, add_console, add_balloon,           machine_net_create,   machine_share_create,
    add_vsock, machine_scsi_create,  add_crypto,  machine_inputs_create, machine_sound_create,
};

/* ---- all of them ---- */

/* The PCI bus's first slot is the bridge's. */
static unsigned slots(const struct machine *m)
{
    return m->config.virtio == MACHINE_VIRTIO_PCI ? PCIE_HOST_SLOTS - 1 : BOARD_VIRTIO_SLOTS;
}

_Static_assert(MACHINE_CHANNELS_MAX + 1 <= VIRTIO_CONSOLE_PORTS_MAX, "a port for each channel");
_Static_assert(MACHINE_VIRTIO_MAX >= PCIE_HOST_SLOTS - 1, "a device for each slot");

int machine_virtio_add(struct machine *m, struct virtio_device *dev, struct error *err)
{
    if (m->virtio_count == slots(m)) {
        int rc = error_set(err, -ENOSPC, "%s: all %u slots for virtio devices are taken", dev->ops->name, slots(m));
        dev->base.ops->destroy(&dev->base);
        return rc;
    }
    m->virtio[m->virtio_count++] = dev;
    return machine_device_keep(m, &dev->base);
}

/* Slot n, with the n-th device if there is one and it is not on the PCI bus. */
static int create_slot(struct machine *m, unsigned n)
{
    struct device *transport;
    struct virtio_mmio_config config = {
        .mem = m->mem,
        .device = n < m->virtio_count && m->config.virtio == MACHINE_VIRTIO_MMIO ? m->virtio[n] : NULL,
    };
    int rc = m->pc ? machine_pc_slot(m, n, &config) : 0;

    if (!m->pc) {
        config.gpa = BOARD_VIRTIO_GPA + n * (uint64_t)BOARD_VIRTIO_SLOT_BYTES;
        config.irq = machine_irq_source(m, BOARD_IRQ_VIRTIO0 + n);
        config.irq_number = BOARD_IRQ_VIRTIO0 + n;
        config.irq_parent = m->irq_parent;
    }
    if (rc == 0)
        rc = virtio_mmio_create(&config, &transport);

    return rc ? rc : machine_device_keep(m, transport);
}

/* In slot n + 1, as on QEMU's board when the devices are given in this order. */
static int create_function(struct machine *m, unsigned n)
{
    struct virtio_pci_config config = {.host = m->pcie, .slot = n + 1, .device = m->virtio[n]};
    int rc = m->pc ? machine_pc_function(m, &config) : 0;

    if (rc == 0)
        rc = virtio_pci_create(&config, &m->virtio_pci[n]);
    return rc ? rc : machine_device_keep(m, m->virtio_pci[n]);
}

int machine_virtio_create(struct machine *m, struct error *err)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(kinds); i++) {
        int rc = kinds[i](m, err);
        if (rc)
            return rc;
    }
    /* From the last to the first: libfdt puts what is added later in front, and drivers number devices in the order of
       their nodes. */
    for (unsigned n = BOARD_VIRTIO_SLOTS; n-- > 0;) {
        int rc = create_slot(m, n);
        if (rc)
            return error_set(err, rc, "virtio slot %u could not be created: %s", n, strerror(-rc));
    }
    for (unsigned n = 0; n < m->virtio_count && m->config.virtio == MACHINE_VIRTIO_PCI; n++) {
        int rc = create_function(m, n);
        if (rc)
            return error_set(err, rc, "%s on the PCI bus: %s", m->virtio[n]->ops->name, strerror(-rc));
    }
    return 0;
}

/* ---- while it runs ---- */

int machine_virtio_start(struct machine *m)
{
    return m->virtio_console ? virtio_console_start(m->virtio_console) : 0;
}

void machine_virtio_stop(struct machine *m)
{
    for (unsigned n = 0; n < m->config.channel_count; n++) {
        if (m->channels[n].channel)
            channel_end(m->channels[n].channel);
    }
    if (m->virtio_console)
        virtio_console_stop(m->virtio_console);
}

void machine_channels_destroy(struct machine *m)
{
    for (unsigned n = 0; n < MACHINE_CHANNELS_MAX; n++) {
        channel_destroy(m->channels[n].channel);
        m->channels[n].channel = NULL;
    }
}

void machine_set_console_size(struct machine *m, uint16_t columns, uint16_t rows)
{
    if (m->virtio_console)
        virtio_console_resize(m->virtio_console, columns, rows);
}

int machine_set_balloon(struct machine *m, uint64_t guest_bytes)
{
    if (!m->balloon)
        return -ENODEV;
    if (guest_bytes > m->config.memory_bytes)
        return -EINVAL;
    virtio_balloon_set_target(m->balloon, balloon_pages(m, guest_bytes));
    return 0;
}

/* ---- statistics ---- */

/* What a device's counters are called: "virtio_rng_kicks", of the second of its kind "virtio_rng1_kicks". */
struct counter_names {
    machine_stat_fn fn;
    void *opaque;
    const char *device;
    char prefix[32];
};

static void report(void *opaque, const char *name, uint64_t value)
{
    const struct counter_names *names = opaque;
    char full[64], text[96];

    snprintf(full, sizeof(full), "%s_%s", names->prefix, name);
    snprintf(text, sizeof(text), "%s: %s", names->device, name);
    for (char *c = text; *c; c++)
        *c = *c == '_' ? ' ' : *c;
    names->fn(names->opaque, UINT32_MAX, full, text, value);
}

static void name_counters(const struct machine *m, unsigned n, struct counter_names *names)
{
    const char *name = m->virtio[n]->ops->name;
    unsigned same = 0;

    for (unsigned i = 0; i < n; i++)
        same += m->virtio[i]->ops == m->virtio[n]->ops;
    if (same)
        snprintf(names->prefix, sizeof(names->prefix), "%s%u", name, same);
    else
        snprintf(names->prefix, sizeof(names->prefix), "%s", name);
    for (char *c = names->prefix; *c; c++)
        *c = *c == '-' ? '_' : *c;
    names->device = name;
}

static void report_pci(struct machine *m, unsigned n, struct counter_names *names)
{
    uint64_t messages, intx;

    if (!m->virtio_pci[n])
        return;
    virtio_pci_counters(m->virtio_pci[n], &messages, &intx);
    report(names, "msix", messages);
    report(names, "intx", intx);
}

void machine_virtio_stats(struct machine *m, machine_stat_fn fn, void *opaque)
{
    for (unsigned n = 0; n < m->virtio_count; n++) {
        struct virtio_device *dev = m->virtio[n];
        struct counter_names names = {.fn = fn, .opaque = opaque};
        name_counters(m, n, &names);
        pthread_mutex_lock(&dev->lock);
        report(&names, "kicks", atomic_load_explicit(&dev->kicks, memory_order_relaxed));
        report(&names, "interrupts", dev->interrupts);
        report(&names, "chains", dev->chains);
        if (dev->ops->stats)
            dev->ops->stats(dev, report, &names);
        pthread_mutex_unlock(&dev->lock);
        report_pci(m, n, &names);
    }
}
