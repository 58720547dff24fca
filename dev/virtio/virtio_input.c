/* The input device; see virtio_input.h. Section numbers are those of virtio 1.2.
 *
 * Events that the kind does not have are left out, so that the guest sees what its configuration space says. What was
 * read and not delivered waits in `pending`; while that is full, or no driver runs, the stream is not read.
 */
#include "dev/virtio/virtio_input.h"

#include "base/log.h"
#include "dev/iov.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEVICE_ID = 18,
    QUEUE_EVENTS = 0,
    QUEUE_STATUS = 1,
    QUEUES = 2,
    QUEUE_SIZE = 64,
    PENDING_MAX = 128,
    READ_EVENTS = 64, /* at once */
    DATA_BYTES = 128,
    DATA_OFFSET = 8,
    CONFIG_BYTES = DATA_OFFSET + DATA_BYTES,

    /* 5.8.4 */
    SELECT_NAME = 0x01,
    SELECT_SERIAL = 0x02,
    SELECT_IDS = 0x03,
    SELECT_BITS = 0x11,
    SELECT_ABS = 0x12,
};

struct event {
    uint16_t type, code;
    uint32_t value;
};

_Static_assert(sizeof(struct event) == 8, "5.8.6.2");

/* Codes from `first` to `last` of a type that a kind has. */
struct codes {
    uint16_t type, first, last;
};

enum { RANGES_MAX = 6 };

static const struct {
    const char *name;
    struct codes codes[RANGES_MAX];
    bool repeats; /* keys do, by the guest's input layer */
} kinds[VIRTIO_INPUT_KINDS] = {
    [VIRTIO_INPUT_KEYBOARD] = {"Tuff virtio keyboard",
                               {{EV_KEY, KEY_ESC, KEY_MICMUTE}, {EV_LED, LED_NUML, LED_SCROLLL}},
                               true},
    [VIRTIO_INPUT_MOUSE] = {"Tuff virtio mouse",
                            {{EV_KEY, BTN_LEFT, BTN_TASK},
                             {EV_REL, REL_X, REL_Y},
                             {EV_REL, REL_HWHEEL, REL_HWHEEL},
                             {EV_REL, REL_WHEEL, REL_WHEEL}},
                            false},
    [VIRTIO_INPUT_TABLET] = {"Tuff virtio tablet",
                             {{EV_KEY, BTN_LEFT, BTN_TASK},
                              {EV_KEY, BTN_TOUCH, BTN_TOUCH},
                              {EV_REL, REL_WHEEL, REL_WHEEL},
                              {EV_ABS, ABS_X, ABS_Y}},
                             false},
};

struct virtio_input {
    struct virtio_device dev;
    /* Saved; under the device's lock. */
    uint8_t select, subsel;
    uint16_t pending_count;
    uint64_t pending[PENDING_MAX]; /* struct event */
    bool watched;
    uint64_t events, dropped, status_events;
    struct virtq_chain chain;                    /* within one call */
    uint8_t partial[sizeof(struct input_event)]; /* the start of an event whose rest is still to come */
    size_t partial_len;
    /* Constant, but that the stream may end. */
    enum virtio_input_kind kind;
    int fd;            /* -1: it ended */
    bool takes_status; /* LEDs are shown by the host's device */
};

static const struct device_field input_fields[] = {
    DEVICE_FIELD(struct virtio_input, select, 1),
    DEVICE_FIELD(struct virtio_input, subsel, 1),
    DEVICE_FIELD(struct virtio_input, pending_count, 1),
    DEVICE_FIELD_ARRAY(struct virtio_input, pending, 1),
    {0},
};

/* ---- what the kind has ---- */

static bool has_code(const struct virtio_input *input, uint16_t type, uint16_t code)
{
    const struct codes *codes = kinds[input->kind].codes;

    if (type == EV_SYN)
        return code == SYN_REPORT;
    for (unsigned i = 0; i < RANGES_MAX; i++) {
        if (codes[i].type == type && codes[i].type && code >= codes[i].first && code <= codes[i].last)
            return true;
    }
    return false;
}

/* The codes of a type, a bit each (5.8.5.1). Returns how many bytes have any. */
static uint8_t code_bits(const struct virtio_input *input, uint16_t type, uint8_t data[DATA_BYTES])
{
    const struct codes *codes = kinds[input->kind].codes;
    uint8_t size = 0;

    if (type == EV_REP && kinds[input->kind].repeats)
        return 1; /* that there is the type is all that counts */
    for (unsigned i = 0; i < RANGES_MAX; i++) {
        for (unsigned code = codes[i].first; codes[i].type && codes[i].type == type && code <= codes[i].last; code++) {
            data[code / 8] |= (uint8_t)(1u << code % 8);
            if (size < code / 8 + 1)
                size = (uint8_t)(code / 8 + 1);
        }
    }
    return size;
}

/* What is behind the present selection. Returns its size; 0: there is no such thing. */
static uint8_t fill_data(const struct virtio_input *input, uint8_t data[DATA_BYTES])
{
    const char *name = kinds[input->kind].name;
    const struct virtio_ids {
        uint16_t bus, vendor, product, version;
    } ids = {BUS_VIRTUAL, 0x7475, (uint16_t)(1 + input->kind), 1};
    const uint32_t axis[5] = {0, VIRTIO_INPUT_ABS_MAX, 0, 0, 0}; /* least, most, noise, flat part, resolution */

    memset(data, 0, DATA_BYTES);
    switch (input->select) {
    case SELECT_NAME:
        memcpy(data, name, strlen(name) + 1);
        return input->subsel ? 0 : (uint8_t)strlen(name);
    case SELECT_IDS:
        memcpy(data, &ids, sizeof(ids));
        return input->subsel ? 0 : sizeof(ids);
    case SELECT_BITS:
        return code_bits(input, input->subsel, data);
    case SELECT_ABS:
        if (!has_code(input, EV_ABS, input->subsel))
            return 0;
        memcpy(data, axis, sizeof(axis));
        return sizeof(axis);
    default:
        return 0;
    }
}

static void input_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    const struct virtio_input *input = (struct virtio_input *)dev;
    uint8_t config[CONFIG_BYTES] = {input->select, input->subsel};

    config[2] = fill_data(input, config + DATA_OFFSET);
    if (!config[2])
        memset(config + DATA_OFFSET, 0, DATA_BYTES);
    memcpy(bytes, config + offset, len);
}

static void input_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len)
{
    struct virtio_input *input = (struct virtio_input *)dev;
    const uint8_t *values = bytes;

    for (unsigned i = 0; i < len && offset + i < 2; i++) {
        if (offset + i == 0)
            input->select = values[i];
        else
            input->subsel = values[i];
    }
}

/* ---- from the host's stream to the guest, with the lock ---- */

static void watch(struct virtio_input *input, bool wanted)
{
    if (input->fd < 0 || input->watched == wanted)
        return;
    input->watched = !loop_fd_modify(input->dev.loop, input->fd, wanted ? EPOLLIN : 0) && wanted;
}

/* Returns true when a turn's worth was delivered and more waits. */
static bool deliver(struct virtio_input *input)
{
    struct virtio_device *dev = &input->dev;
    unsigned count = 0;

    while (count < input->pending_count && count < VIRTIO_TURN_CHAINS && virtio_pop(dev, QUEUE_EVENTS, &input->chain)) {
        size_t len = iov_from_buf(virtq_writable(&input->chain), input->chain.writable_count, 0, &input->pending[count],
                                  sizeof(struct event));
        virtq_push(&dev->queues[QUEUE_EVENTS], &input->chain, (uint32_t)len);
        count++;
    }
    input->events += count;
    input->pending_count = (uint16_t)(input->pending_count - count);
    memmove(input->pending, input->pending + count, input->pending_count * sizeof(input->pending[0]));
    virtio_interrupt(dev, QUEUE_EVENTS);
    watch(input, dev->running && input->pending_count + READ_EVENTS <= PENDING_MAX);
    return count == VIRTIO_TURN_CHAINS && input->pending_count;
}

static void take(struct virtio_input *input, const struct input_event *from)
{
    const struct event event = {.type = from->type, .code = from->code, .value = (uint32_t)from->value};

    if (!has_code(input, event.type, event.code)) {
        input->dropped++;
        return;
    }
    memcpy(&input->pending[input->pending_count++], &event, sizeof(event));
}

static void stream_ended(struct virtio_input *input)
{
    loop_fd_remove(input->dev.loop, input->fd);
    close(input->fd);
    input->fd = -1;
}

/* Reads what there is, as far as there is room. */
static void read_stream(struct virtio_input *input)
{
    uint8_t bytes[READ_EVENTS * sizeof(struct input_event)];
    struct input_event event;
    size_t len = input->partial_len;

    memcpy(bytes, input->partial, len);
    const struct iovec room = {bytes + len, sizeof(bytes) - len};
    ssize_t got = readv(input->fd, &room, 1); /* which does not block */
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            stream_ended(input);
        return;
    }
    len += (size_t)got;
    for (size_t at = 0; at + sizeof(event) <= len; at += sizeof(event)) {
        memcpy(&event, bytes + at, sizeof(event));
        take(input, &event);
    }
    input->partial_len = len % sizeof(event);
    memcpy(input->partial, bytes + len - input->partial_len, input->partial_len);
}

static void stream_event(void *opaque, int fd, uint32_t events)
{
    struct virtio_input *input = opaque;

    pthread_mutex_lock(&input->dev.lock);
    if (input->watched && events & EPOLLIN) {
        read_stream(input);
        (void)deliver(input);
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        stream_ended(input);
    }
    pthread_mutex_unlock(&input->dev.lock);
}

int virtio_input_press(struct virtio_device *dev, uint16_t code)
{
    struct virtio_input *input = (struct virtio_input *)dev;
    const struct input_event events[] = {
        {.type = EV_KEY, .code = code, .value = 1},
        {.type = EV_SYN, .code = SYN_REPORT},
        {.type = EV_KEY, .code = code},
        {.type = EV_SYN, .code = SYN_REPORT},
    };
    int rc = -EAGAIN;

    pthread_mutex_lock(&dev->lock);
    if (dev->running && input->pending_count + TUFF_ARRAY_LEN(events) <= PENDING_MAX) {
        for (size_t i = 0; i < TUFF_ARRAY_LEN(events); i++)
            take(input, &events[i]);
        (void)deliver(input);
        rc = 0;
    }
    pthread_mutex_unlock(&dev->lock);
    return rc;
}

/* ---- the device ---- */

/* What the guest tells of LEDs. */
static bool process_status(struct virtio_input *input)
{
    struct virtio_device *dev = &input->dev;
    unsigned count = 0;

    for (; count < VIRTIO_TURN_CHAINS && virtio_pop(dev, QUEUE_STATUS, &input->chain); count++) {
        struct event event;
        if (iov_to_buf(virtq_readable(&input->chain), input->chain.readable_count, 0, &event, sizeof(event)) ==
            sizeof(event)) {
            const struct input_event out = {.type = event.type, .code = event.code, .value = (int32_t)event.value};
            input->status_events++;
            /* Best effort: nobody waits for a lamp. */
            if (input->takes_status && input->fd >= 0 && (event.type == EV_LED || event.type == EV_SYN) &&
                write(input->fd, &out, sizeof(out)) < 0)
                input->takes_status = false;
        }
        virtq_push(&dev->queues[QUEUE_STATUS], &input->chain, 0);
    }
    virtio_interrupt(dev, QUEUE_STATUS);
    return count == VIRTIO_TURN_CHAINS;
}

static bool input_process(struct virtio_device *dev, unsigned queue)
{
    struct virtio_input *input = (struct virtio_input *)dev;

    return queue == QUEUE_EVENTS ? deliver(input) : process_status(input);
}

static void input_reset(struct virtio_device *dev)
{
    struct virtio_input *input = (struct virtio_input *)dev;

    input->select = input->subsel = 0;
    input->pending_count = 0;
    watch(input, false);
}

static void input_post_restore(struct virtio_device *dev)
{
    struct virtio_input *input = (struct virtio_input *)dev;

    if (input->pending_count > PENDING_MAX)
        input->pending_count = PENDING_MAX;
}

static void input_stats(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value),
                        void *opaque)
{
    const struct virtio_input *input = (struct virtio_input *)dev;

    fn(opaque, "events", input->events);
    fn(opaque, "dropped", input->dropped);
    fn(opaque, "status_events", input->status_events);
}

static void input_destroy(struct virtio_device *dev)
{
    struct virtio_input *input = (struct virtio_input *)dev;

    if (input->fd >= 0)
        stream_ended(input);
    virtio_fini(dev);
    free(input);
}

static const struct virtio_ops input_ops = {
    .name = "virtio-input",
    .device_id = DEVICE_ID,
    .pci_class = 0x098000,
    .state_version = 1,
    .fields = input_fields,
    .config_read = input_config_read,
    .config_write = input_config_write,
    .process = input_process,
    .reset = input_reset,
    .post_restore = input_post_restore,
    .destroy = input_destroy,
    .stats = input_stats,
};

/* Both ends of a FIFO, so that it does not end when a writer leaves. */
static int open_stream(struct virtio_input *input, const char *path, struct error *err)
{
    struct stat st;
    int rc;

    input->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (input->fd < 0 && errno == EACCES)
        input->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (input->fd < 0 || fstat(input->fd, &st))
        return error_set(err, -errno, "--input, '%s' cannot be opened: %s", path, strerror(errno));
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return error_set(err, -EINVAL, "--input, '%s' is neither an event device nor a FIFO", path);
    input->takes_status = S_ISCHR(st.st_mode);
    rc = loop_fd_add(input->dev.loop, input->fd, 0, stream_event, input);
    return rc ? error_set(err, rc, "--input, '%s' cannot be waited for: %s", path, strerror(-rc)) : 0;
}

int virtio_input_create(const struct virtio_input_config *config, struct virtio_device **out, struct error *err)
{
    struct virtio_input *input = calloc(1, sizeof(*input));
    int rc;

    if (!input)
        return error_set(err, -ENOMEM, "no memory for an input device");
    input->kind = config->kind;
    input->fd = -1;
    rc = virtio_init(&input->dev, &input_ops, config->mem, config->loop, VIRTIO_F_IN_ORDER, QUEUES, CONFIG_BYTES);
    if (rc) {
        free(input);
        return error_set(err, rc, "virtio-input: %s", strerror(-rc));
    }
    for (unsigned i = 0; i < QUEUES; i++)
        input->dev.queues[i].size_max = QUEUE_SIZE;
    rc = config->path ? open_stream(input, config->path, err) : 0;
    if (rc) {
        input_destroy(&input->dev);
        return rc;
    }
    *out = &input->dev;
    return 0;
}
