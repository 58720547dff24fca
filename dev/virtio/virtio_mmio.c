/* The memory-mapped transport; see virtio_mmio.h.
 *
 * `lock` guards what the transport itself has: selectors and the interrupt status. It is a leaf but for the interrupt
 * line, and is never held while the device is called, which takes its own lock first and then this one to interrupt.
 */
#include "dev/virtio/virtio_mmio.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* 4.2.2 */
enum {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC_LOW = 0x080,
    REG_QUEUE_DESC_HIGH = 0x084,
    REG_QUEUE_DRIVER_LOW = 0x090,
    REG_QUEUE_DRIVER_HIGH = 0x094,
    REG_QUEUE_DEVICE_LOW = 0x0a0,
    REG_QUEUE_DEVICE_HIGH = 0x0a4,
    REG_SHM_SEL = 0x0ac,
    REG_SHM_LEN_LOW = 0x0b0,
    REG_SHM_LEN_HIGH = 0x0b4,
    REG_SHM_BASE_LOW = 0x0b8,
    REG_SHM_BASE_HIGH = 0x0bc,
    REG_QUEUE_RESET = 0x0c0,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,

    MAGIC = 0x74726976, /* "virt" */
    VERSION = 2,
    VENDOR_ID = 0x46465554, /* "TUFF" */

    INTERRUPT_QUEUE = 1,
    INTERRUPT_CONFIG = 2,
};

struct virtio_mmio {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    uint8_t interrupt_status;

    struct virtio_mmio_config config; /* constant */
};

static const struct device_field virtio_mmio_fields[] = {
    DEVICE_FIELD(struct virtio_mmio, device_features_sel, 1),
    DEVICE_FIELD(struct virtio_mmio, driver_features_sel, 1),
    DEVICE_FIELD(struct virtio_mmio, queue_sel, 1),
    DEVICE_FIELD(struct virtio_mmio, interrupt_status, 1),
    {0},
};

static void set_interrupts(struct virtio_mmio *mmio, uint8_t status)
{
    mmio->interrupt_status = status;
    irq_set(&mmio->config.irq, status != 0);
}

static void interrupt(struct virtio_mmio *mmio, uint8_t cause)
{
    pthread_mutex_lock(&mmio->lock);
    if (!(mmio->interrupt_status & cause))
        set_interrupts(mmio, mmio->interrupt_status | cause);
    pthread_mutex_unlock(&mmio->lock);
}

static void interrupt_queue(void *opaque, unsigned queue)
{
    interrupt(opaque, INTERRUPT_QUEUE);
}

static void interrupt_config(void *opaque)
{
    interrupt(opaque, INTERRUPT_CONFIG);
}

static const struct virtio_transport_ops transport_ops = {
    .interrupt_queue = interrupt_queue,
    .interrupt_config = interrupt_config,
};

/* What the guest acknowledged goes; a device that was reset has nothing to say. */
static void clear_interrupts(struct virtio_mmio *mmio, uint32_t causes)
{
    pthread_mutex_lock(&mmio->lock);
    if (mmio->interrupt_status & causes)
        set_interrupts(mmio, mmio->interrupt_status & (uint8_t)~causes);
    pthread_mutex_unlock(&mmio->lock);
}

static uint32_t locked_get(struct virtio_mmio *mmio, const uint32_t *field)
{
    pthread_mutex_lock(&mmio->lock);
    uint32_t value = *field;
    pthread_mutex_unlock(&mmio->lock);
    return value;
}

static void locked_set(struct virtio_mmio *mmio, uint32_t *field, uint32_t value)
{
    pthread_mutex_lock(&mmio->lock);
    *field = value;
    pthread_mutex_unlock(&mmio->lock);
}

static uint32_t read_queue(struct virtio_mmio *mmio, uint64_t offset)
{
    struct virtq q;

    if (!virtio_queue_get(mmio->config.device, locked_get(mmio, &mmio->queue_sel), &q))
        return 0;
    return offset == REG_QUEUE_NUM_MAX ? q.size_max : q.ready;
}

static uint32_t read_interrupts(struct virtio_mmio *mmio)
{
    pthread_mutex_lock(&mmio->lock);
    uint32_t status = mmio->interrupt_status;
    pthread_mutex_unlock(&mmio->lock);
    return status;
}

static uint32_t read_generation(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    uint32_t generation = dev->config_generation;
    pthread_mutex_unlock(&dev->lock);
    return generation;
}

static uint32_t read_register(struct virtio_mmio *mmio, uint64_t offset)
{
    struct virtio_device *dev = mmio->config.device;

    switch (offset) {
    case REG_MAGIC:
        return MAGIC;
    case REG_VERSION:
        return VERSION;
    case REG_VENDOR_ID:
        return VENDOR_ID;
    }
    if (!dev)
        return 0;
    switch (offset) {
    case REG_DEVICE_ID:
        return dev->ops->device_id;
    case REG_DEVICE_FEATURES:
        return virtio_offered_features(dev, locked_get(mmio, &mmio->device_features_sel));
    case REG_QUEUE_NUM_MAX:
    case REG_QUEUE_READY:
        return read_queue(mmio, offset);
    case REG_INTERRUPT_STATUS:
        return read_interrupts(mmio);
    case REG_STATUS:
        return virtio_status(dev);
    case REG_CONFIG_GENERATION:
        return read_generation(dev);
    case REG_SHM_LEN_LOW: /* all ones: there is no such region */
    case REG_SHM_LEN_HIGH:
    case REG_SHM_BASE_LOW:
    case REG_SHM_BASE_HIGH:
        return UINT32_MAX;
    case REG_QUEUE_RESET: /* a reset is over when the write returns */
        return 0;
    }
    log_guest_error("virtio-mmio: read of write-only or reserved register 0x%" PRIx64, offset);
    return 0;
}

/* The register's part of a queue and whether it is the high half; -1: it is none of these. */
static int queue_part(uint64_t offset, bool *high)
{
    *high = offset & 4;
    switch (offset & ~UINT64_C(4)) {
    case REG_QUEUE_DESC_LOW:
        return VIRTIO_QUEUE_DESC;
    case REG_QUEUE_DRIVER_LOW:
        return VIRTIO_QUEUE_DRIVER;
    case REG_QUEUE_DEVICE_LOW:
        return VIRTIO_QUEUE_DEVICE;
    }
    return -1;
}

static void write_status(struct virtio_mmio *mmio, uint32_t value)
{
    virtio_set_status(mmio->config.device, (uint8_t)value);
    if (value == 0)
        clear_interrupts(mmio, UINT32_MAX);
}

static void reset_queue(struct virtio_device *dev, uint32_t queue)
{
    pthread_mutex_lock(&dev->lock);
    bool negotiated = virtio_has(dev, VIRTIO_F_RING_RESET);
    pthread_mutex_unlock(&dev->lock);
    if (negotiated)
        virtio_queue_reset(dev, queue);
    else
        log_guest_error("%s: a queue is reset without VIRTIO_F_RING_RESET", dev->ops->name);
}

static void write_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
    struct virtio_device *dev = mmio->config.device;
    bool high;

    switch (offset) {
    case REG_DEVICE_FEATURES_SEL:
        locked_set(mmio, &mmio->device_features_sel, value);
        return;
    case REG_DRIVER_FEATURES_SEL:
        locked_set(mmio, &mmio->driver_features_sel, value);
        return;
    case REG_DRIVER_FEATURES:
        virtio_set_driver_features(dev, locked_get(mmio, &mmio->driver_features_sel), value);
        return;
    case REG_QUEUE_SEL:
        locked_set(mmio, &mmio->queue_sel, value);
        return;
    case REG_QUEUE_NUM: /* what does not fit is too large in any case */
        virtio_queue_set_size(dev, locked_get(mmio, &mmio->queue_sel),
                              value > UINT16_MAX ? UINT16_MAX : (uint16_t)value);
        return;
    case REG_QUEUE_READY:
        virtio_queue_set_ready(dev, locked_get(mmio, &mmio->queue_sel), value & 1);
        return;
    case REG_QUEUE_NOTIFY:
        virtio_kick(dev, value);
        return;
    case REG_INTERRUPT_ACK:
        clear_interrupts(mmio, value);
        return;
    case REG_STATUS:
        write_status(mmio, value);
        return;
    case REG_SHM_SEL:
        return;
    case REG_QUEUE_RESET:
        if (value & 1)
            reset_queue(dev, locked_get(mmio, &mmio->queue_sel));
        return;
    }
    int part = queue_part(offset, &high);
    if (part >= 0)
        virtio_queue_set_address(dev, locked_get(mmio, &mmio->queue_sel), (enum virtio_queue_part)part, high, value);
    else
        log_guest_error("virtio-mmio: write of 0x%" PRIx32 " to read-only or reserved register 0x%" PRIx64, value,
                        offset);
}

/* Control registers take 32-bit accesses only (4.2.2.2). */
static bool is_control(uint64_t offset, unsigned size_bytes)
{
    if (size_bytes != 4)
        log_guest_error("virtio-mmio: access of %u bytes to register 0x%" PRIx64 ", which takes 4", size_bytes, offset);
    return size_bytes == 4;
}

static int virtio_mmio_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct virtio_mmio *mmio = opaque;

    *value = 0;
    if (offset >= REG_CONFIG) {
        if (mmio->config.device)
            virtio_config_read(mmio->config.device, (uint32_t)offset - REG_CONFIG, value, size_bytes);
    } else if (is_control(offset, size_bytes)) {
        *value = read_register(mmio, offset);
    }
    return 0;
}

static int virtio_mmio_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct virtio_mmio *mmio = opaque;

    if (!mmio->config.device)
        return 0;
    if (offset >= REG_CONFIG)
        virtio_config_write(mmio->config.device, (uint32_t)offset - REG_CONFIG, &value, size_bytes);
    else if (is_control(offset, size_bytes))
        write_register(mmio, offset, (uint32_t)value);
    return 0;
}

static const struct mem_ops virtio_mmio_mem_ops = {
    .name = "virtio-mmio",
    .read = virtio_mmio_read,
    .write = virtio_mmio_write,
    .min_access_bytes = 1,
    .max_access_bytes = 8,
};

static void virtio_mmio_reset(struct device *dev)
{
    struct virtio_mmio *mmio = (struct virtio_mmio *)dev;

    pthread_mutex_lock(&mmio->lock);
    mmio->device_features_sel = mmio->driver_features_sel = mmio->queue_sel = 0;
    set_interrupts(mmio, 0);
    pthread_mutex_unlock(&mmio->lock);
}

static void virtio_mmio_post_restore(struct device *dev)
{
    struct virtio_mmio *mmio = (struct virtio_mmio *)dev;

    pthread_mutex_lock(&mmio->lock);
    set_interrupts(mmio, mmio->config.device ? mmio->interrupt_status & (INTERRUPT_QUEUE | INTERRUPT_CONFIG) : 0);
    pthread_mutex_unlock(&mmio->lock);
}

static void virtio_mmio_destroy(struct device *dev)
{
    struct virtio_mmio *mmio = (struct virtio_mmio *)dev;

    pthread_mutex_destroy(&mmio->lock);
    free(mmio);
}

static int virtio_mmio_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"virtio,mmio", NULL};
    const struct virtio_mmio *mmio = (const struct virtio_mmio *)dev;
    int node = fdt_node_add(fdt, "virtio_mmio", mmio->config.gpa, VIRTIO_MMIO_BYTES, compatible);

    return node < 0 ? node : fdt_node_set_irq(fdt, node, mmio->config.irq_parent, mmio->config.irq_number);
}

static const struct device_ops virtio_mmio_ops = {
    .name = "virtio-mmio",
    .state_version = 1,
    .fields = virtio_mmio_fields,
    .reset = virtio_mmio_reset,
    .destroy = virtio_mmio_destroy,
    .fdt = virtio_mmio_fdt,
    .post_restore = virtio_mmio_post_restore,
};

int virtio_mmio_create(const struct virtio_mmio_config *config, struct device **out)
{
    struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));

    if (!mmio)
        return -ENOMEM;
    mmio->base.ops = &virtio_mmio_ops;
    mmio->config = *config;
    pthread_mutex_init(&mmio->lock, NULL);
    int rc = mem_add_mmio(config->mem, config->gpa, VIRTIO_MMIO_BYTES, &virtio_mmio_mem_ops, mmio);
    if (rc) {
        virtio_mmio_destroy(&mmio->base);
        return rc;
    }
    if (config->device)
        virtio_attach(config->device, &transport_ops, mmio);
    *out = &mmio->base;
    return 0;
}
