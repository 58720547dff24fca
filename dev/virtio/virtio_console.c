/* The console; see virtio_console.h.
 *
 * Threads: vCPUs and the devices' loop use queues and rings under the device's lock; the writer (a loop of its own with
 * one piece of work) takes bytes from a ring under the lock and hands them to the host without it. Guest memory is
 * touched under the lock only, so there is nothing to drain.
 *
 * Control messages wait in a queue of bits a port, not of messages: what is said of a port is its present state, and
 * the guest can make no list grow.
 */
#include "dev/virtio/virtio_console.h"

#include "base/log.h"
#include "dev/iov.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONSOLE_F_SIZE (UINT64_C(1) << 0)
#define CONSOLE_F_MULTIPORT (UINT64_C(1) << 1)
#define CONSOLE_F_EMERG_WRITE (UINT64_C(1) << 2)

enum {
    DEVICE_ID = 3,
    QUEUE_SIZE = 128,
    QUEUE_CONTROL_IN = 2, /* to the driver */
    QUEUE_CONTROL_OUT = 3,
    CONFIG_BYTES = 12,
    CONFIG_EMERG = 8,
    WRITE_BYTES = 4096, /* handed to the host at once */
    TURN_BYTES = 1 << 18,

    /* Control events (5.3.6.2). */
    EVENT_DEVICE_READY = 0,
    EVENT_DEVICE_ADD = 1,
    EVENT_PORT_READY = 3,
    EVENT_CONSOLE_PORT = 4,
    EVENT_RESIZE = 5,
    EVENT_PORT_OPEN = 6,
    EVENT_PORT_NAME = 7,

    /* What the guest is still to be told of a port, in this order. */
    TELL_ADD = 1 << EVENT_DEVICE_ADD,
    TELL_CONSOLE = 1 << EVENT_CONSOLE_PORT,
    TELL_RESIZE = 1 << EVENT_RESIZE,
    TELL_OPEN = 1 << EVENT_PORT_OPEN,
    TELL_NAME = 1 << EVENT_PORT_NAME,
};

struct control {
    uint32_t port;
    uint16_t event;
    uint16_t value;
};

struct port {
    char name[VIRTIO_CONSOLE_NAME_BYTES]; /* empty: a terminal */
    struct serial_backend backend;
    bool refused; /* input waits at the host's */
    bool held;    /* `chain`: the first held_bytes of it are in the ring */
    uint64_t held_bytes;
    struct virtq_chain chain;
    unsigned ring_start, ring_len;
    uint8_t ring[VIRTIO_CONSOLE_RING_BYTES];
};

struct virtio_console {
    struct virtio_device dev;
    uint16_t columns, rows;
    unsigned port_count;
    /* Saved: of each port, whether the guest's driver has it open, and TELL bits. */
    uint8_t open[VIRTIO_CONSOLE_PORTS_MAX], tell[VIRTIO_CONSOLE_PORTS_MAX];
    struct virtq_chain chain; /* under the lock, within one call */
    struct loop *writer;
    struct loop_work write_work;
    uint64_t bytes_in, bytes_out;
    struct port ports[];
};

static const struct device_field virtio_console_fields[] = {
    DEVICE_FIELD_ARRAY(struct virtio_console, open, 1),
    DEVICE_FIELD_ARRAY(struct virtio_console, tell, 1),
    {0},
};

static bool is_multiport(const struct virtio_device *dev)
{
    return virtio_has(dev, CONSOLE_F_MULTIPORT);
}

/* Ports' queues: 0 and 1 are the first's, those of control between them and the second's (5.3.2). */
static unsigned input_queue(unsigned port)
{
    return port == 0 ? 0 : 2 + 2 * port;
}

static unsigned output_queue(unsigned port)
{
    return input_queue(port) + 1;
}

static bool is_terminal(const struct port *port)
{
    return !port->name[0];
}

/* A driver without MULTIPORT does not say that it uses its only port. */
static bool port_is_open(const struct virtio_console *console, unsigned port)
{
    return console->dev.running && (is_multiport(&console->dev) ? console->open[port] : port == 0);
}

/* ---- output ---- */

/* Puts what fits of the chain into the ring. Returns whether all of it is there. */
static bool fill_ring(struct virtio_console *console, struct port *port)
{
    while (port->held_bytes < port->chain.readable_bytes && port->ring_len < VIRTIO_CONSOLE_RING_BYTES) {
        unsigned end = (port->ring_start + port->ring_len) % VIRTIO_CONSOLE_RING_BYTES;
        unsigned room = VIRTIO_CONSOLE_RING_BYTES - port->ring_len;
        if (room > VIRTIO_CONSOLE_RING_BYTES - end)
            room = VIRTIO_CONSOLE_RING_BYTES - end;
        size_t got = iov_to_buf(virtq_readable(&port->chain), port->chain.readable_count, port->held_bytes,
                                port->ring + end, room);
        port->ring_len += (unsigned)got;
        port->held_bytes += got;
        console->bytes_out += got;
    }
    return port->held_bytes == port->chain.readable_bytes;
}

/* Returns true when something is left that is not waiting for the writer. */
static bool process_output(struct virtio_console *console, unsigned index)
{
    struct port *port = &console->ports[index];
    struct virtio_device *dev = &console->dev;
    unsigned queue = output_queue(index), count = 0;
    bool stuck = false;

    while (count < VIRTIO_TURN_CHAINS) {
        if (!port->held) {
            port->held_bytes = 0;
            port->held = virtio_pop(dev, queue, &port->chain);
            if (!port->held)
                break;
        }
        stuck = !fill_ring(console, port);
        if (stuck)
            break;
        port->held = false;
        virtq_push(&dev->queues[queue], &port->chain, 0);
        count++;
    }
    virtio_interrupt(dev, queue);
    if (port->ring_len)
        loop_work_schedule(console->writer, &console->write_work);
    return count == VIRTIO_TURN_CHAINS;
}

/* Takes up to WRITE_BYTES from a port's ring. Returns how many. */
static size_t take_from_ring(struct port *port, uint8_t *bytes)
{
    size_t len = port->ring_len < WRITE_BYTES ? port->ring_len : WRITE_BYTES;

    for (size_t i = 0; i < len; i++)
        bytes[i] = port->ring[(port->ring_start + i) % VIRTIO_CONSOLE_RING_BYTES];
    port->ring_start = (unsigned)((port->ring_start + len) % VIRTIO_CONSOLE_RING_BYTES);
    port->ring_len -= (unsigned)len;
    return len;
}

/* The writer's work: a portion of each port, and another turn when there is more. */
static void write_out(void *opaque)
{
    struct virtio_console *console = opaque;
    bool more = false;

    for (unsigned i = 0; i < console->port_count; i++) {
        struct port *port = &console->ports[i];
        uint8_t bytes[WRITE_BYTES];
        pthread_mutex_lock(&console->dev.lock);
        size_t len = take_from_ring(port, bytes);
        more = more || port->ring_len;
        bool waits = port->held;
        pthread_mutex_unlock(&console->dev.lock);
        if (len)
            serial_backend_write(&port->backend, bytes, len);
        if (waits)
            virtio_schedule(&console->dev, output_queue(i));
    }
    if (more)
        loop_work_schedule(console->writer, &console->write_work);
}

/* ---- input ---- */

/* With the lock. */
static size_t deliver(struct virtio_console *console, unsigned index, const uint8_t *bytes, size_t len)
{
    struct virtio_device *dev = &console->dev;
    unsigned queue = input_queue(index);
    size_t done = 0;

    while (done < len && dev->queues[queue].ready && virtio_pop(dev, queue, &console->chain)) {
        size_t got =
            iov_from_buf(virtq_writable(&console->chain), console->chain.writable_count, 0, bytes + done, len - done);
        virtq_push(&dev->queues[queue], &console->chain, (uint32_t)got);
        done += got;
    }
    virtio_interrupt(dev, queue);
    console->bytes_in += done;
    return done;
}

size_t virtio_console_receive(struct virtio_device *dev, unsigned port, const uint8_t *bytes, size_t len)
{
    struct virtio_console *console = (struct virtio_console *)dev;
    size_t done = 0;

    pthread_mutex_lock(&dev->lock);
    if (port_is_open(console, port))
        done = deliver(console, port, bytes, len);
    console->ports[port].refused = done < len;
    pthread_mutex_unlock(&dev->lock);
    return done;
}

/* With the lock: there are buffers, or the port was opened. */
static void input_possible(struct virtio_console *console, unsigned index)
{
    struct port *port = &console->ports[index];

    if (!port->refused || !port_is_open(console, index))
        return;
    port->refused = false;
    serial_backend_can_receive(&port->backend);
}

/* ---- control ---- */

static size_t make_message(const struct virtio_console *console, unsigned index, uint16_t event, uint8_t *bytes)
{
    const struct port *port = &console->ports[index];
    struct control control = {.port = index, .event = event, .value = 1};
    size_t len = sizeof(control);

    if (event == EVENT_RESIZE) {
        /* The order that Linux reads, in which the specification's text has them the other way round. */
        const uint16_t size[] = {console->rows, console->columns};
        control.value = 0;
        memcpy(bytes + len, size, sizeof(size));
        len += sizeof(size);
    } else if (event == EVENT_PORT_NAME) {
        memcpy(bytes + len, port->name, strlen(port->name));
        len += strlen(port->name);
    }
    memcpy(bytes, &control, sizeof(control));
    return len;
}

/* Tells one thing; false when there is no buffer for it. */
static bool tell_one(struct virtio_console *console, unsigned index)
{
    uint16_t event = (uint16_t)__builtin_ctz(console->tell[index]);
    uint8_t bytes[sizeof(struct control) + VIRTIO_CONSOLE_NAME_BYTES];

    if (!virtio_pop(&console->dev, QUEUE_CONTROL_IN, &console->chain))
        return false;
    size_t len = make_message(console, index, event, bytes);
    size_t got = iov_from_buf(virtq_writable(&console->chain), console->chain.writable_count, 0, bytes, len);
    virtq_push(&console->dev.queues[QUEUE_CONTROL_IN], &console->chain, (uint32_t)got);
    console->tell[index] &= (uint8_t)~(1u << event);
    return true;
}

/* Tells the guest what it is to be told, as far as it has buffers. */
static void tell(struct virtio_console *console)
{
    struct virtio_device *dev = &console->dev;

    if (!dev->running || !dev->queues[QUEUE_CONTROL_IN].ready)
        return;
    for (unsigned i = 0; i < console->port_count; i++) {
        while (console->tell[i] && tell_one(console, i))
            ;
    }
    virtio_interrupt(dev, QUEUE_CONTROL_IN);
}

static void port_is_ready(struct virtio_console *console, unsigned index)
{
    bool terminal = is_terminal(&console->ports[index]);

    console->tell[index] |= terminal ? TELL_CONSOLE | TELL_OPEN : TELL_OPEN | TELL_NAME;
    if (terminal && console->columns)
        console->tell[index] |= TELL_RESIZE;
}

static void handle_control(struct virtio_console *console, const struct control *control)
{
    if (control->event == EVENT_DEVICE_READY) {
        for (unsigned i = 0; control->value == 1 && i < console->port_count; i++)
            console->tell[i] |= TELL_ADD;
        return;
    }
    if (control->port >= console->port_count) {
        log_guest_error("virtio-console: control event %u of port %u, which it does not have", control->event,
                        control->port);
        return;
    }
    if (control->event == EVENT_PORT_READY && control->value == 1) {
        port_is_ready(console, control->port);
    } else if (control->event == EVENT_PORT_OPEN) {
        console->open[control->port] = control->value == 1;
        input_possible(console, control->port);
    }
}

static bool process_control(struct virtio_console *console)
{
    struct virtio_device *dev = &console->dev;
    unsigned count = 0;

    while (count < VIRTIO_TURN_CHAINS && virtio_pop(dev, QUEUE_CONTROL_OUT, &console->chain)) {
        struct control control;
        if (iov_to_buf(virtq_readable(&console->chain), console->chain.readable_count, 0, &control, sizeof(control)) ==
            sizeof(control))
            handle_control(console, &control);
        virtq_push(&dev->queues[QUEUE_CONTROL_OUT], &console->chain, 0);
        count++;
    }
    virtio_interrupt(dev, QUEUE_CONTROL_OUT);
    tell(console);
    return count == VIRTIO_TURN_CHAINS;
}

/* ---- the device ---- */

static bool virtio_console_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    if (queue == QUEUE_CONTROL_OUT)
        return process_control(console);
    if (queue == QUEUE_CONTROL_IN) {
        tell(console);
        return false;
    }
    unsigned port = queue < QUEUE_CONTROL_IN ? 0 : queue / 2 - 1;
    if (queue % 2)
        return process_output(console, port);
    input_possible(console, port);
    return false;
}

static void virtio_console_start_op(struct virtio_device *dev)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    for (unsigned i = 0; i < console->port_count; i++)
        input_possible(console, i);
}

static void virtio_console_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const struct virtio_console *console = (struct virtio_console *)dev;
    const struct {
        uint16_t columns, rows;
        uint32_t ports, emerg;
    } config = {.columns = console->columns, .rows = console->rows, .ports = console->port_count};

    _Static_assert(sizeof(config) == CONFIG_BYTES, "all of it");
    memcpy(bytes, (const uint8_t *)&config + offset, len);
}

/* A character without a queue, from a kernel that is just starting or dying; lost when the ring is full. */
static void virtio_console_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len)
{
    struct virtio_console *console = (struct virtio_console *)dev;
    struct port *port = &console->ports[0];

    if (offset != CONFIG_EMERG || port->ring_len == VIRTIO_CONSOLE_RING_BYTES)
        return;
    port->ring[(port->ring_start + port->ring_len++) % VIRTIO_CONSOLE_RING_BYTES] = *(const uint8_t *)bytes;
    console->bytes_out++;
    loop_work_schedule(console->writer, &console->write_work);
}

/* What is in the rings is on its way and stays. */
static void virtio_console_reset(struct virtio_device *dev)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    for (unsigned i = 0; i < console->port_count; i++) {
        console->open[i] = console->tell[i] = 0;
        console->ports[i].held = false;
    }
}

static void virtio_console_drain(struct virtio_device *dev, unsigned queue)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    pthread_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < console->port_count; i++) {
        if (queue == output_queue(i))
            console->ports[i].held = false;
    }
    pthread_mutex_unlock(&dev->lock);
}

static void virtio_console_post_restore(struct virtio_device *dev)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    for (unsigned i = 0; i < console->port_count; i++) {
        console->open[i] &= 1;
        console->tell[i] &= TELL_ADD | TELL_CONSOLE | TELL_RESIZE | TELL_OPEN | TELL_NAME;
        console->ports[i].held = false;
    }
}

static void virtio_console_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                                 void *opaque)
{
    const struct virtio_console *console = (struct virtio_console *)dev;

    fn(opaque, "bytes_in", console->bytes_in);
    fn(opaque, "bytes_out", console->bytes_out);
}

static void virtio_console_destroy(struct virtio_device *dev)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    loop_destroy(console->writer);
    virtio_fini(dev);
    free(console);
}

static const struct virtio_ops virtio_console_ops = {
    .name = "virtio-console",
    .device_id = DEVICE_ID,
    .pci_class = 0x078000,
    .state_version = 1,
    .fields = virtio_console_fields,
    .config_read = virtio_console_config_read,
    .config_write = virtio_console_config_write,
    .start = virtio_console_start_op,
    .process = virtio_console_process,
    .drain = virtio_console_drain,
    .reset = virtio_console_reset,
    .post_restore = virtio_console_post_restore,
    .destroy = virtio_console_destroy,
    .stats = virtio_console_stats,
};

static int check_config(const struct virtio_console_config *config)
{
    if (config->port_count < 1 || config->port_count > VIRTIO_CONSOLE_PORTS_MAX || config->ports[0].name)
        return -EINVAL;
    for (unsigned i = 0; i < config->port_count; i++) {
        const char *name = config->ports[i].name;
        if (name && (!name[0] || strlen(name) >= VIRTIO_CONSOLE_NAME_BYTES))
            return -EINVAL;
    }
    return 0;
}

int virtio_console_create(const struct virtio_console_config *config, struct virtio_device **out)
{
    int rc = check_config(config);

    if (rc)
        return rc;
    struct virtio_console *console = calloc(1, sizeof(*console) + config->port_count * sizeof(console->ports[0]));
    if (!console)
        return -ENOMEM;
    console->columns = config->columns;
    console->rows = config->rows;
    console->port_count = config->port_count;
    console->write_work = (struct loop_work){.fn = write_out, .opaque = console};
    for (unsigned i = 0; i < config->port_count; i++) {
        console->ports[i].backend = config->ports[i].backend;
        if (config->ports[i].name)
            strcpy(console->ports[i].name, config->ports[i].name);
    }
    unsigned queues = 2 * (config->port_count + 1);
    rc = virtio_init(&console->dev, &virtio_console_ops, config->mem, config->loop,
                     CONSOLE_F_SIZE | CONSOLE_F_MULTIPORT | CONSOLE_F_EMERG_WRITE | VIRTIO_F_IN_ORDER, (uint16_t)queues,
                     CONFIG_BYTES);
    if (rc) {
        free(console);
        return rc;
    }
    for (unsigned i = 0; i < queues; i++)
        console->dev.queues[i].size_max = QUEUE_SIZE;
    rc = loop_create(&console->writer);
    if (rc) {
        virtio_console_destroy(&console->dev);
        return rc;
    }
    loop_set_name(console->writer, "tuff-console");
    *out = &console->dev;
    return 0;
}

int virtio_console_start(struct virtio_device *dev)
{
    return loop_start(((struct virtio_console *)dev)->writer);
}

void virtio_console_stop(struct virtio_device *dev)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    loop_stop(console->writer);
    for (unsigned i = 0; i < console->port_count; i++) {
        while (console->ports[i].ring_len)
            write_out(console);
    }
}

bool virtio_console_is_open(struct virtio_device *dev, unsigned port)
{
    const struct virtio_console *console = (struct virtio_console *)dev;

    pthread_mutex_lock(&dev->lock);
    bool open = port < console->port_count && port_is_open(console, port);
    pthread_mutex_unlock(&dev->lock);
    return open;
}

void virtio_console_resize(struct virtio_device *dev, uint16_t columns, uint16_t rows)
{
    struct virtio_console *console = (struct virtio_console *)dev;

    pthread_mutex_lock(&dev->lock);
    if (console->columns != columns || console->rows != rows) {
        console->columns = columns;
        console->rows = rows;
        if (is_multiport(dev)) {
            for (unsigned i = 0; i < console->port_count; i++) {
                if (is_terminal(&console->ports[i]) && console->open[i])
                    console->tell[i] |= TELL_RESIZE;
            }
            tell(console);
        } else {
            virtio_config_changed(dev);
        }
    }
    pthread_mutex_unlock(&dev->lock);
}
