/* HTIF; see htif.h. Words in RAM are taken and answered with atomic accesses: another hart may store at the same
 * moment. A request is the guest's word, so everything in it is checked, and a system call's work is bounded. */
#include "dev/htif.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    DEVICE_SYSCALL = 0,
    DEVICE_CONSOLE = 1,
    CONSOLE_GETCHAR = 0,
    CONSOLE_PUTCHAR = 1,
    SYS_WRITE = 64, /* numbers of Linux on RISC-V, which newlib uses */
    SYS_EXIT = 93,
    SYSCALL_WORDS = 4,       /* number, a0, a1, a2 */
    WRITE_MAX_BYTES = 65536, /* of one system call; write may be short */
    WRITE_CHUNK_BYTES = 512,
    GETCHAR_VALID = 0x100,
};

#define PAYLOAD_MASK ((UINT64_C(1) << 48) - 1)

struct htif {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint8_t low_stored;   /* only the low half of tohost was stored since a request was taken */
    uint8_t getchar_waiting;
    bool host_waiting; /* not saved: htif_receive() refused a byte */

    struct htif_config config; /* constant from here on */
    _Atomic uint64_t *tohost;
    _Atomic uint64_t *fromhost; /* NULL: none */
};

static const struct device_field htif_fields[] = {
    DEVICE_FIELD(struct htif, low_stored, 1),
    DEVICE_FIELD(struct htif, getchar_waiting, 1),
    {0},
};

static uint64_t make_word(uint8_t device, uint8_t command, uint64_t payload)
{
    return (uint64_t)device << 56 | (uint64_t)command << 48 | (payload & PAYLOAD_MASK);
}

static void respond(struct htif *h, uint64_t word)
{
    if (!h->fromhost)
        return;
    atomic_store(h->fromhost, word);
    mem_note_write(h->config.mem, h->config.fromhost_gpa, sizeof(word));
}

static void end_program(struct htif *h, uint64_t code)
{
    /* A failure must stay one when the code does not fit. */
    h->config.exit(h->config.opaque, code > UINT32_MAX ? UINT32_MAX : (uint32_t)code);
}

/* Returns bytes written or a negative errno, as the guest's system call does. */
static int64_t sys_write(struct htif *h, uint64_t fd, uint64_t gpa, uint64_t len)
{
    uint8_t chunk[WRITE_CHUNK_BYTES];
    uint64_t done = 0;

    if (fd != 1 && fd != 2)
        return -EBADF;
    if (len > WRITE_MAX_BYTES)
        len = WRITE_MAX_BYTES;
    while (done < len) {
        size_t part = len - done < sizeof(chunk) ? (size_t)(len - done) : sizeof(chunk);
        if (mem_read(h->config.mem, gpa + done, chunk, part))
            return done ? (int64_t)done : -EFAULT;
        serial_backend_write(&h->config.console, chunk, part);
        done += part;
    }
    return (int64_t)done;
}

static void serve_syscall(struct htif *h, uint64_t gpa)
{
    uint64_t words[SYSCALL_WORDS];
    int64_t result;

    if (mem_read(h->config.mem, gpa, words, sizeof(words))) {
        log_guest_error("htif: system call block at 0x%" PRIx64 " is not in RAM", gpa);
        return;
    }
    switch (words[0]) {
    case SYS_WRITE:
        result = sys_write(h, words[1], words[2], words[3]);
        break;
    case SYS_EXIT:
        end_program(h, words[1]);
        result = 0;
        break;
    default:
        log_guest_error("htif: system call %" PRIu64 " is not served", words[0]);
        result = -ENOSYS;
    }
    if (mem_write(h->config.mem, gpa, &result, sizeof(result)))
        log_guest_error("htif: system call block at 0x%" PRIx64 " cannot be written", gpa);
    respond(h, make_word(DEVICE_SYSCALL, 0, 1));
}

/* The answer comes with htif_receive(). */
static void request_byte(struct htif *h)
{
    pthread_mutex_lock(&h->lock);
    h->getchar_waiting = 1;
    pthread_mutex_unlock(&h->lock);
}

static void serve(struct htif *h, uint64_t word)
{
    unsigned device = (unsigned)(word >> 56), command = (unsigned)(word >> 48) & 0xff;
    uint64_t payload = word & PAYLOAD_MASK;
    uint8_t byte = (uint8_t)payload;

    if (device == DEVICE_SYSCALL && command == 0 && (payload & 1))
        end_program(h, payload >> 1);
    else if (device == DEVICE_SYSCALL && command == 0)
        serve_syscall(h, payload);
    else if (device == DEVICE_CONSOLE && command == CONSOLE_PUTCHAR)
        serial_backend_write(&h->config.console, &byte, 1);
    else if (device == DEVICE_CONSOLE && command == CONSOLE_GETCHAR)
        request_byte(h);
    else
        log_guest_error("htif: no device %u with command %u", device, command);
}

/* True once, when a byte that was refused would be taken now. */
static bool take_host_waiting(struct htif *h)
{
    pthread_mutex_lock(&h->lock);
    bool wake = h->host_waiting && h->getchar_waiting && h->fromhost && atomic_load(h->fromhost) == 0;
    if (wake)
        h->host_waiting = false;
    pthread_mutex_unlock(&h->lock);
    return wake;
}

static void poll_tohost(struct htif *h)
{
    uint64_t word = atomic_exchange(h->tohost, 0);

    if (word) {
        mem_note_write(h->config.mem, h->config.tohost_gpa, sizeof(word));
        serve(h, word);
    }
    if (take_host_waiting(h))
        serial_backend_can_receive(&h->config.console);
}

/* Whether a store of less than all of tohost completes a request: with a high half, of either store; or when the low
 * half is stored a second time, since programs end in a loop that stores a 32-bit exit word for ever. */
static bool partial_store_completes(struct htif *h, uint64_t gpa, unsigned size_bytes)
{
    bool high = gpa + size_bytes > h->config.tohost_gpa + 4;

    pthread_mutex_lock(&h->lock);
    bool complete = high || h->low_stored || atomic_load(h->tohost) >> 32;
    h->low_stored = !complete;
    pthread_mutex_unlock(&h->lock);
    return complete;
}

static bool overlaps(uint64_t gpa, unsigned size_bytes, uint64_t word_gpa)
{
    return gpa < word_gpa + 8 && gpa + size_bytes > word_gpa;
}

static void htif_reset(struct device *dev)
{
    struct htif *h = (struct htif *)dev;

    pthread_mutex_lock(&h->lock);
    h->low_stored = 0;
    h->getchar_waiting = 0;
    pthread_mutex_unlock(&h->lock);
}

static void htif_destroy(struct device *dev)
{
    struct htif *h = (struct htif *)dev;

    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* No node in the tree: programs that use HTIF know their own symbols. */
static const struct device_ops htif_ops = {
    .name = "htif",
    .state_version = 1,
    .fields = htif_fields,
    .reset = htif_reset,
    .destroy = htif_destroy,
};

void htif_stored(struct device *dev, uint64_t gpa, unsigned size_bytes)
{
    struct htif *h = (struct htif *)dev;
    uint64_t tohost = h->config.tohost_gpa;

    assert(dev->ops == &htif_ops);
    if (overlaps(gpa, size_bytes, tohost)) {
        bool whole = gpa <= tohost && gpa + size_bytes >= tohost + 8;
        if (whole)
            htif_poll(dev);
        else if (partial_store_completes(h, gpa, size_bytes))
            poll_tohost(h);
    } else if (h->fromhost && overlaps(gpa, size_bytes, h->config.fromhost_gpa) && take_host_waiting(h)) {
        /* The guest cleared fromhost: the answer to a waiting request has room. */
        serial_backend_can_receive(&h->config.console);
    }
}

void htif_poll(struct device *dev)
{
    struct htif *h = (struct htif *)dev;

    assert(dev->ops == &htif_ops);
    pthread_mutex_lock(&h->lock);
    h->low_stored = 0;
    pthread_mutex_unlock(&h->lock);
    poll_tohost(h);
}

size_t htif_receive(struct device *dev, const uint8_t *bytes, size_t len)
{
    struct htif *h = (struct htif *)dev;
    size_t taken = 0;

    assert(dev->ops == &htif_ops);
    pthread_mutex_lock(&h->lock);
    if (len && h->getchar_waiting && h->fromhost && atomic_load(h->fromhost) == 0) {
        respond(h, make_word(DEVICE_CONSOLE, CONSOLE_GETCHAR, GETCHAR_VALID | bytes[0]));
        h->getchar_waiting = 0;
        taken = 1;
    }
    if (taken < len)
        h->host_waiting = true;
    pthread_mutex_unlock(&h->lock);
    return taken;
}

int htif_create(const struct htif_config *config, struct device **out)
{
    _Atomic uint64_t *tohost = mem_ram_ptr(config->mem, config->tohost_gpa, sizeof(*tohost));
    _Atomic uint64_t *fromhost = NULL;

    if (config->has_fromhost)
        fromhost = mem_ram_ptr(config->mem, config->fromhost_gpa, sizeof(*fromhost));
    if (!tohost || config->tohost_gpa % 8 || (config->has_fromhost && (!fromhost || config->fromhost_gpa % 8)))
        return -EINVAL;
    struct htif *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    h->base.ops = &htif_ops;
    h->config = *config;
    h->tohost = tohost;
    h->fromhost = fromhost;
    pthread_mutex_init(&h->lock, NULL);
    *out = &h->base;
    return 0;
}
