/* The common part of virtio devices; see virtio.h. Section numbers are those of virtio 1.2. */
#include "dev/virtio/virtio.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t ring_features =
    VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_RING_RESET;

enum {
    DRIVER_BITS = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |
                  VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED,
};

static struct virtq *queue_at(struct virtio_device *dev, uint32_t queue)
{
    return queue < dev->queue_count && dev->queues[queue].size_max ? &dev->queues[queue] : NULL;
}

/* ---- turns on the loop's thread ---- */

bool virtio_queue_runs(const struct virtio_device *dev, unsigned queue)
{
    const struct virtq *q = &dev->queues[queue];

    return dev->running && q->ready && !q->broken && !(dev->paused & UINT32_C(1) << queue);
}

static void schedule(struct virtio_device *dev, uint32_t queues)
{
    /* Whoever makes it non-zero schedules; the turn takes all of it. */
    if (queues && atomic_fetch_or(&dev->kicked, queues) == 0)
        loop_work_schedule(dev->loop, &dev->work);
}

static void turn(void *opaque)
{
    struct virtio_device *dev = opaque;
    uint32_t kicked = atomic_exchange(&dev->kicked, 0), left = 0;

    pthread_mutex_lock(&dev->lock);
    while (kicked) {
        unsigned queue = (unsigned)__builtin_ctz(kicked);
        kicked &= kicked - 1;
        if (!virtio_queue_runs(dev, queue))
            continue;
        virtq_want_kicks(&dev->queues[queue], false);
        if (dev->ops->process(dev, queue))
            left |= UINT32_C(1) << queue;
    }
    pthread_mutex_unlock(&dev->lock);
    schedule(dev, left);
}

void virtio_schedule(struct virtio_device *dev, unsigned queue)
{
    if (queue < dev->queue_count)
        schedule(dev, UINT32_C(1) << queue);
}

void virtio_kick(struct virtio_device *dev, uint32_t queue)
{
    if (queue >= dev->queue_count) {
        log_guest_error("%s: kick of queue %" PRIu32 ", which it does not have", dev->ops->name, queue);
        return;
    }
    atomic_fetch_add_explicit(&dev->kicks, 1, memory_order_relaxed);
    virtio_schedule(dev, queue);
}

static void schedule_all(struct virtio_device *dev)
{
    schedule(dev, (uint32_t)((UINT64_C(1) << dev->queue_count) - 1));
}

/* ---- for devices ---- */

void virtio_fail(struct virtio_device *dev, const char *why)
{
    log_guest_error("%s: %s; the device needs a reset", dev->ops->name, why);
    dev->running = false;
    dev->status |= VIRTIO_STATUS_NEEDS_RESET;
    if ((dev->status & VIRTIO_STATUS_DRIVER_OK) && dev->transport) /* 2.1.2 */
        dev->transport->interrupt_config(dev->transport_opaque);
}

bool virtio_pop(struct virtio_device *dev, unsigned queue, struct virtq_chain *chain)
{
    struct virtq *q = &dev->queues[queue];
    int rc;

    do {
        rc = virtq_pop(q, chain);
    } while (rc == 0 && virtq_want_kicks(q, true));
    if (rc < 0)
        virtio_fail(dev, "a ring or a chain in it is not valid");
    dev->chains += rc > 0;
    return rc > 0;
}

void virtio_interrupt(struct virtio_device *dev, unsigned queue)
{
    if (!virtq_should_interrupt(&dev->queues[queue]) || !dev->transport)
        return;
    dev->interrupts++;
    dev->transport->interrupt_queue(dev->transport_opaque, queue);
}

void virtio_push(struct virtio_device *dev, unsigned queue, const struct virtq_chain *chain, uint32_t written)
{
    virtq_push(&dev->queues[queue], chain, written);
    virtio_interrupt(dev, queue);
}

void virtio_config_changed(struct virtio_device *dev)
{
    dev->config_generation++;
    if ((dev->status & VIRTIO_STATUS_DRIVER_OK) && dev->transport)
        dev->transport->interrupt_config(dev->transport_opaque);
}

/* ---- reset ---- */

static void drain(struct virtio_device *dev, unsigned queue)
{
    if (dev->ops->drain)
        dev->ops->drain(dev, queue);
}

void virtio_reset(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->control);
    pthread_mutex_lock(&dev->lock);
    dev->running = false;
    pthread_mutex_unlock(&dev->lock);
    drain(dev, UINT_MAX);
    pthread_mutex_lock(&dev->lock);
    if (dev->ops->reset)
        dev->ops->reset(dev);
    for (unsigned i = 0; i < dev->queue_count; i++)
        virtq_reset(&dev->queues[i]);
    dev->status = 0;
    dev->driver_features = 0;
    pthread_mutex_unlock(&dev->lock);
    pthread_mutex_unlock(&dev->control);
}

void virtio_queue_reset(struct virtio_device *dev, uint32_t queue)
{
    struct virtq *q = queue_at(dev, queue);

    if (!q)
        return;
    uint32_t bit = UINT32_C(1) << queue;
    pthread_mutex_lock(&dev->control);
    pthread_mutex_lock(&dev->lock);
    dev->paused |= bit;
    pthread_mutex_unlock(&dev->lock);
    drain(dev, queue);
    pthread_mutex_lock(&dev->lock);
    virtq_reset(q);
    dev->paused &= ~bit;
    pthread_mutex_unlock(&dev->lock);
    pthread_mutex_unlock(&dev->control);
}

/* ---- standing still ---- */

void virtio_settle(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->control);
    pthread_mutex_lock(&dev->lock);
    dev->settled = dev->running;
    dev->running = false;
    pthread_mutex_unlock(&dev->lock);
    if (dev->ops->settle)
        dev->ops->settle(dev);
}

void virtio_unsettle(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    dev->running = dev->settled && !(dev->status & (VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET));
    if (dev->running)
        schedule_all(dev);
    pthread_mutex_unlock(&dev->lock);
    pthread_mutex_unlock(&dev->control);
}

/* ---- status and features ---- */

uint8_t virtio_status(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    uint8_t status = dev->status;
    pthread_mutex_unlock(&dev->lock);
    return status;
}

/* May the device be driven with what the driver chose (2.2.2)? */
static bool features_stand(struct virtio_device *dev)
{
    uint64_t features = dev->driver_features;

    return !(features & ~dev->offered) && (features & VIRTIO_F_VERSION_1) &&
           (!dev->ops->accept_features || dev->ops->accept_features(dev, features));
}

static void start(struct virtio_device *dev)
{
    dev->running = true;
    if (dev->ops->start)
        dev->ops->start(dev);
    schedule_all(dev);
}

static void add_status(struct virtio_device *dev, uint8_t added)
{
    if ((added & VIRTIO_STATUS_FEATURES_OK) && !features_stand(dev)) {
        log_guest_error("%s: features 0x%" PRIx64 " of 0x%" PRIx64 " are refused", dev->ops->name, dev->driver_features,
                        dev->offered);
        added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    }
    if ((added & VIRTIO_STATUS_DRIVER_OK) && !((dev->status | added) & VIRTIO_STATUS_FEATURES_OK)) {
        log_guest_error("%s: DRIVER_OK without FEATURES_OK is ignored", dev->ops->name);
        added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
    }
    dev->status |= added;
    if (added & VIRTIO_STATUS_FAILED)
        dev->running = false;
    else if ((added & VIRTIO_STATUS_DRIVER_OK) && !(dev->status & (VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET)))
        start(dev);
}

/* Bits stay until a reset: a driver must not clear one (2.1.1). */
void virtio_set_status(struct virtio_device *dev, uint8_t status)
{
    if (status == 0) {
        virtio_reset(dev);
        return;
    }
    pthread_mutex_lock(&dev->control);
    pthread_mutex_lock(&dev->lock);
    add_status(dev, status & DRIVER_BITS & (uint8_t)~dev->status);
    pthread_mutex_unlock(&dev->lock);
    pthread_mutex_unlock(&dev->control);
}

uint32_t virtio_offered_features(struct virtio_device *dev, uint32_t select)
{
    return select > 1 ? 0 : (uint32_t)(dev->offered >> 32 * select);
}

void virtio_set_driver_features(struct virtio_device *dev, uint32_t select, uint32_t value)
{
    if (select > 1) {
        if (value)
            log_guest_error("%s: features 0x%" PRIx32 " of word %" PRIu32 " do not exist", dev->ops->name, value,
                            select);
        return;
    }
    pthread_mutex_lock(&dev->lock);
    if (dev->status & VIRTIO_STATUS_FEATURES_OK)
        log_guest_error("%s: features are written after FEATURES_OK", dev->ops->name);
    else
        dev->driver_features = (dev->driver_features & ~(UINT64_C(0xffffffff) << 32 * select)) | (uint64_t)value
                                                                                                     << 32 * select;
    pthread_mutex_unlock(&dev->lock);
}

/* ---- queues ---- */

bool virtio_queue_get(struct virtio_device *dev, uint32_t queue, struct virtq *copy)
{
    const struct virtq *q = queue_at(dev, queue);

    if (!q)
        return false;
    pthread_mutex_lock(&dev->lock);
    *copy = *q;
    pthread_mutex_unlock(&dev->lock);
    return true;
}

/* The queue, with the lock held, for a register that may be written while it is not ready; NULL, without the lock, when
 * the write is to be ignored. */
static struct virtq *lock_idle_queue(struct virtio_device *dev, uint32_t queue)
{
    struct virtq *q = queue_at(dev, queue);

    pthread_mutex_lock(&dev->lock);
    if (q && !q->ready)
        return q;
    pthread_mutex_unlock(&dev->lock);
    log_guest_error("%s: a register of queue %" PRIu32 " is written, which %s", dev->ops->name, queue,
                    q ? "is ready" : "does not exist");
    return NULL;
}

void virtio_queue_set_size(struct virtio_device *dev, uint32_t queue, uint16_t size)
{
    struct virtq *q = lock_idle_queue(dev, queue);

    if (!q)
        return;
    q->size = size;
    pthread_mutex_unlock(&dev->lock);
}

void virtio_queue_set_address(struct virtio_device *dev, uint32_t queue, enum virtio_queue_part part, bool high,
                              uint32_t value)
{
    struct virtq *q = lock_idle_queue(dev, queue);

    if (!q)
        return;
    uint64_t *gpa = part == VIRTIO_QUEUE_DESC     ? &q->desc_gpa
                    : part == VIRTIO_QUEUE_DRIVER ? &q->driver_gpa
                                                  : &q->device_gpa;
    *gpa = high ? (*gpa & UINT32_MAX) | (uint64_t)value << 32 : (*gpa & ~(uint64_t)UINT32_MAX) | value;
    pthread_mutex_unlock(&dev->lock);
}

void virtio_queue_set_ready(struct virtio_device *dev, uint32_t queue, bool ready)
{
    if (!ready) {
        virtio_queue_reset(dev, queue);
        return;
    }
    struct virtq *q = lock_idle_queue(dev, queue);
    if (!q)
        return;
    if (!(dev->status & VIRTIO_STATUS_FEATURES_OK))
        log_guest_error("%s: queue %" PRIu32 " is made ready before FEATURES_OK", dev->ops->name, queue);
    else if (virtq_enable(q, dev->mem, dev->driver_features))
        virtio_fail(dev, "a queue's size is wrong, or its parts are not aligned or not in RAM");
    else
        virtio_schedule(dev, queue);
    pthread_mutex_unlock(&dev->lock);
}

/* ---- configuration space ---- */

/* Calls `fn` for the part of an access that lies inside: as a whole, or byte by byte where it is cut. */
#define FOR_CONFIG(dev, offset, bytes, len, fn)                            \
    do {                                                                   \
        uint32_t end = (dev)->config_bytes;                                \
        if ((offset) < end && (len) <= end - (offset))                     \
            fn(dev, offset, bytes, len);                                   \
        else                                                               \
            for (unsigned at = 0; at < (len) && (offset) + at < end; at++) \
                fn(dev, (offset) + at, (bytes) + at, 1);                   \
    } while (0)

void virtio_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    memset(bytes, 0, len);
    if (!dev->ops->config_read || offset >= dev->config_bytes)
        return;
    pthread_mutex_lock(&dev->lock);
    FOR_CONFIG(dev, offset, (uint8_t *)bytes, len, dev->ops->config_read);
    pthread_mutex_unlock(&dev->lock);
}

void virtio_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len)
{
    if (!dev->ops->config_write || offset >= dev->config_bytes)
        return;
    pthread_mutex_lock(&dev->lock);
    FOR_CONFIG(dev, offset, (const uint8_t *)bytes, len, dev->ops->config_write);
    pthread_mutex_unlock(&dev->lock);
}

/* ---- saved state ---- */

/* What of each queue is saved. */
#define QUEUE_FIELDS(X) \
    X(size)             \
    X(ready)            \
    X(broken)           \
    X(desc_gpa)         \
    X(driver_gpa)       \
    X(device_gpa)       \
    X(next_avail)       \
    X(next_used)        \
    X(signalled_used)   \
    X(signalled_valid)

static const struct device_field common_fields[] = {
    DEVICE_FIELD(struct virtio_device, driver_features, 1),
    DEVICE_FIELD(struct virtio_device, status, 1),
    DEVICE_FIELD(struct virtio_device, config_generation, 1),
};

static const struct device_field queue_fields[] = {
#define X(member) {#member, offsetof(struct virtq, member), sizeof(((struct virtq *)0)->member), 1, 1},
    QUEUE_FIELDS(X)
#undef X
};

enum {
    COMMON_FIELDS = sizeof(common_fields) / sizeof(common_fields[0]),
    QUEUE_FIELD_COUNT = sizeof(queue_fields) / sizeof(queue_fields[0]),
    FIELD_NAME_BYTES = 32,
};

/* The table of one device's fields: the common ones, each queue's, the device's own. */
struct virtio_state_table {
    struct device_ops ops;
    char queue_names[VIRTIO_QUEUES_MAX * QUEUE_FIELD_COUNT][FIELD_NAME_BYTES];
    struct device_field fields[];
};

static void fill_table(struct virtio_state_table *table, const struct virtio_ops *ops, unsigned queue_count)
{
    struct device_field *out = table->fields;
    unsigned names = 0;

    memcpy(out, common_fields, sizeof(common_fields));
    out += COMMON_FIELDS;
    for (unsigned queue = 0; queue < queue_count; queue++) {
        for (unsigned i = 0; i < QUEUE_FIELD_COUNT; i++, names++) {
            snprintf(table->queue_names[names], FIELD_NAME_BYTES, "q%u.%s", queue, queue_fields[i].name);
            *out = queue_fields[i];
            out->name = table->queue_names[names];
            out->offset += (uint32_t)(offsetof(struct virtio_device, queues) + queue * sizeof(struct virtq));
            out++;
        }
    }
    for (const struct device_field *field = ops->fields; field && field->name; field++)
        *out++ = *field;
}

static void base_reset(struct device *base)
{
    virtio_reset((struct virtio_device *)base);
}

static void base_destroy(struct device *base)
{
    struct virtio_device *dev = (struct virtio_device *)base;

    drain(dev, UINT_MAX);
    dev->ops->destroy(dev);
}

static void base_post_restore(struct device *base)
{
    struct virtio_device *dev = (struct virtio_device *)base;

    pthread_mutex_lock(&dev->lock);
    dev->status &= DRIVER_BITS | VIRTIO_STATUS_NEEDS_RESET;
    bool valid = !(dev->status & VIRTIO_STATUS_FEATURES_OK) || features_stand(dev);
    if (!(dev->status & VIRTIO_STATUS_FEATURES_OK))
        dev->status &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
    for (unsigned i = 0; i < dev->queue_count; i++) {
        struct virtq *q = &dev->queues[i];
        if (!valid || !q->size_max || !(dev->status & VIRTIO_STATUS_FEATURES_OK))
            q->ready = 0;
        if (virtq_restore(q, dev->mem, dev->driver_features))
            valid = false;
    }
    if (!valid)
        dev->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (dev->ops->post_restore)
        dev->ops->post_restore(dev);
    if ((dev->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET)) ==
        VIRTIO_STATUS_DRIVER_OK)
        start(dev);
    pthread_mutex_unlock(&dev->lock);
}

static int base_columns_save(struct device *base, struct device_columns *out)
{
    struct virtio_device *dev = (struct virtio_device *)base;

    return dev->ops->columns_save(dev, out);
}

static void base_columns_done(struct device *base)
{
    struct virtio_device *dev = (struct virtio_device *)base;

    dev->ops->columns_done(dev);
}

static int base_columns_load(struct device *base, const struct device_columns *in)
{
    struct virtio_device *dev = (struct virtio_device *)base;

    return dev->ops->columns_load(dev, in);
}

static int make_table(struct virtio_device *dev)
{
    size_t count = COMMON_FIELDS + (size_t)dev->queue_count * QUEUE_FIELD_COUNT + 1;

    for (const struct device_field *field = dev->ops->fields; field && field->name; field++)
        count++;
    dev->table = calloc(1, sizeof(*dev->table) + count * sizeof(dev->table->fields[0]));
    if (!dev->table)
        return -ENOMEM;
    fill_table(dev->table, dev->ops, dev->queue_count);
    dev->table->ops = (struct device_ops){
        .name = dev->ops->name,
        .state_version = dev->ops->state_version,
        .fields = dev->table->fields,
        .reset = base_reset,
        .destroy = base_destroy,
        .post_restore = base_post_restore,
        .columns_name = dev->ops->columns_name,
        .columns_save = base_columns_save,
        .columns_done = base_columns_done,
        .columns_load = base_columns_load,
    };
    dev->base.ops = &dev->table->ops;
    return 0;
}

/* ---- creation ---- */

int virtio_init(struct virtio_device *dev, const struct virtio_ops *ops, struct mem *mem, struct loop *loop,
                uint64_t features, uint16_t queue_count, uint32_t config_bytes)
{
    assert(queue_count <= VIRTIO_QUEUES_MAX);
    dev->ops = ops;
    dev->mem = mem;
    dev->loop = loop;
    dev->offered = features | ring_features;
    dev->queue_count = queue_count;
    dev->config_bytes = config_bytes;
    dev->work = (struct loop_work){.fn = turn, .opaque = dev};
    pthread_mutex_init(&dev->control, NULL);
    pthread_mutex_init(&dev->lock, NULL);
    int rc = make_table(dev);
    if (rc)
        virtio_fini(dev);
    return rc;
}

void virtio_fini(struct virtio_device *dev)
{
    loop_work_cancel(dev->loop, &dev->work);
    free(dev->table);
    pthread_mutex_destroy(&dev->lock);
    pthread_mutex_destroy(&dev->control);
}

void virtio_attach(struct virtio_device *dev, const struct virtio_transport_ops *transport, void *opaque)
{
    dev->transport = transport;
    dev->transport_opaque = opaque;
    for (unsigned i = 0; i < dev->queue_count; i++) {
        assert(dev->queues[i].size_max <= VIRTQ_SIZE_MAX);
        virtq_reset(&dev->queues[i]);
    }
}
