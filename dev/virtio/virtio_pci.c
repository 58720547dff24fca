/* The PCI transport; see virtio_pci.h. Section numbers are those of virtio 1.2.
 *
 * The function's lock guards what the transport itself has: selectors, vectors and the ISR status. It is never held
 * while the device is called, which takes its own lock first and then this one to interrupt.
 */
#include "dev/virtio/virtio_pci.h"

#include "base/log.h"
#include "dev/pci/pci_device.h"
#include "dev/pci/pcie_host.h"
#include "dev/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

/* 4.1.2, and QEMU's subsystem. */
enum { VENDOR = 0x1af4, DEVICE_ID_BASE = 0x1040, SUBSYSTEM = 0x1100, REVISION = 1 };

enum {
    MSIX_BAR = 1,
    REGISTERS_BAR = 4,
    REGION_BYTES = 0x1000,
    REGIONS = 4,
    NOTIFY_MULTIPLIER = VIRTIO_PCI_DOORBELL_BYTES
};
enum region { REGION_COMMON, REGION_ISR, REGION_DEVICE, REGION_NOTIFY };

enum { ISR_QUEUE = 1, ISR_CONFIG = 2, NO_VECTOR = 0xffff };

_Static_assert(VIRTIO_QUEUES_MAX < PCI_MSIX_VECTORS_MAX, "a vector for each queue and one for the configuration");
_Static_assert(VIRTIO_QUEUES_MAX *NOTIFY_MULTIPLIER <= REGION_BYTES, "each queue has its notification");

struct virtio_pci {
    struct pci_device pci;
    /* Saved; guarded by pci.lock. */
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, config_vector, queue_vectors[VIRTIO_QUEUES_MAX];
    uint8_t isr;

    struct virtio_device *device; /* constant, from here on */
    uint8_t window;               /* offset of the capability through which BARs can be accessed */
    void (*doorbells_moved)(void *opaque, uint64_t gpa);
    void *doorbells_opaque;
};

static const struct device_field virtio_pci_fields[] = {
    PCI_DEVICE_FIELDS,
    DEVICE_FIELD(struct virtio_pci, device_feature_select, 1),
    DEVICE_FIELD(struct virtio_pci, driver_feature_select, 1),
    DEVICE_FIELD(struct virtio_pci, queue_select, 1),
    DEVICE_FIELD(struct virtio_pci, config_vector, 1),
    DEVICE_FIELD_ARRAY(struct virtio_pci, queue_vectors, 1),
    DEVICE_FIELD(struct virtio_pci, isr, 1),
    {0},
};

static void lock(struct virtio_pci *vp)
{
    pthread_mutex_lock(&vp->pci.lock);
}

static void unlock(struct virtio_pci *vp)
{
    pthread_mutex_unlock(&vp->pci.lock);
}

/* ---- interrupts (4.1.5.3, 4.1.5.4) ---- */

static void interrupt(struct virtio_pci *vp, const uint16_t *vector, uint8_t cause)
{
    lock(vp);
    if (pci_msix_enabled(&vp->pci)) {
        pci_msix_notify(&vp->pci, *vector);
    } else {
        vp->isr |= cause;
        pci_set_intx(&vp->pci, true);
    }
    unlock(vp);
}

static void interrupt_queue(void *opaque, unsigned queue)
{
    struct virtio_pci *vp = opaque;

    interrupt(vp, &vp->queue_vectors[queue], ISR_QUEUE);
}

static void interrupt_config(void *opaque)
{
    struct virtio_pci *vp = opaque;

    interrupt(vp, &vp->config_vector, ISR_CONFIG);
}

static const struct virtio_transport_ops transport_ops = {
    .interrupt_queue = interrupt_queue,
    .interrupt_config = interrupt_config,
};

/* Reading acknowledges (4.1.4.5). */
static uint8_t take_isr(struct virtio_pci *vp)
{
    lock(vp);
    uint8_t isr = vp->isr;
    vp->isr = 0;
    pci_set_intx(&vp->pci, false);
    unlock(vp);
    return isr;
}

/* ---- reset ---- */

/* With the lock held: what the transport has, as it is before a driver came. */
static void clear(struct virtio_pci *vp)
{
    vp->device_feature_select = vp->driver_feature_select = 0;
    vp->queue_select = 0;
    vp->config_vector = NO_VECTOR;
    for (unsigned queue = 0; queue < VIRTIO_QUEUES_MAX; queue++)
        vp->queue_vectors[queue] = NO_VECTOR;
    vp->isr = 0;
    pci_set_intx(&vp->pci, false);
    pci_msix_clear_pending(&vp->pci);
}

static void reset_device(struct virtio_pci *vp)
{
    virtio_reset(vp->device); /* from here on it does not interrupt */
    lock(vp);
    clear(vp);
    unlock(vp);
}

/* ---- common configuration (4.1.4.3) ---- */

static uint16_t selected_queue(struct virtio_pci *vp)
{
    lock(vp);
    uint16_t queue = vp->queue_select;
    unlock(vp);
    return queue;
}

static bool get_queue(struct virtio_pci *vp, struct virtq *q)
{
    return virtio_queue_get(vp->device, selected_queue(vp), q);
}

/* With the lock held: where the vector of the selected queue is; NULL when there is no such queue. */
static uint16_t *selected_vector(struct virtio_pci *vp)
{
    return vp->queue_select < vp->device->queue_count ? &vp->queue_vectors[vp->queue_select] : NULL;
}

/* Bytes of the register at an offset, 0: there is none. Registers are accessed as what they are; those of 64 bits are
 * two of 32. */
static unsigned common_width(uint64_t offset)
{
    static const uint8_t widths[] = {
        [VIRTIO_PCI_COMMON_DFSELECT] = 4,  [VIRTIO_PCI_COMMON_DF] = 4,
        [VIRTIO_PCI_COMMON_GFSELECT] = 4,  [VIRTIO_PCI_COMMON_GF] = 4,
        [VIRTIO_PCI_COMMON_MSIX] = 2,      [VIRTIO_PCI_COMMON_NUMQ] = 2,
        [VIRTIO_PCI_COMMON_STATUS] = 1,    [VIRTIO_PCI_COMMON_CFGGENERATION] = 1,
        [VIRTIO_PCI_COMMON_Q_SELECT] = 2,  [VIRTIO_PCI_COMMON_Q_SIZE] = 2,
        [VIRTIO_PCI_COMMON_Q_MSIX] = 2,    [VIRTIO_PCI_COMMON_Q_ENABLE] = 2,
        [VIRTIO_PCI_COMMON_Q_NOFF] = 2,    [VIRTIO_PCI_COMMON_Q_DESCLO] = 4,
        [VIRTIO_PCI_COMMON_Q_DESCHI] = 4,  [VIRTIO_PCI_COMMON_Q_AVAILLO] = 4,
        [VIRTIO_PCI_COMMON_Q_AVAILHI] = 4, [VIRTIO_PCI_COMMON_Q_USEDLO] = 4,
        [VIRTIO_PCI_COMMON_Q_USEDHI] = 4,  [VIRTIO_PCI_COMMON_Q_NDATA] = 2,
        [VIRTIO_PCI_COMMON_Q_RESET] = 2,
    };

    return offset < sizeof(widths) ? widths[offset] : 0;
}

static uint32_t read_queue_register(struct virtio_pci *vp, uint64_t offset)
{
    struct virtq q;

    if (!get_queue(vp, &q))
        return 0;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return q.size;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return q.ready;
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return selected_queue(vp);
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        return (uint32_t)q.desc_gpa;
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        return (uint32_t)(q.desc_gpa >> 32);
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        return (uint32_t)q.driver_gpa;
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        return (uint32_t)(q.driver_gpa >> 32);
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        return (uint32_t)q.device_gpa;
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        return (uint32_t)(q.device_gpa >> 32);
    }
    return 0; /* notification data is not offered, and a reset is over at once */
}

static uint32_t read_own_register(struct virtio_pci *vp, uint64_t offset)
{
    uint32_t value = 0;
    const uint16_t *vector;

    lock(vp);
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        value = vp->device_feature_select;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        value = vp->driver_feature_select;
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        value = vp->config_vector;
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        value = vp->queue_select;
        break;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        vector = selected_vector(vp);
        value = vector ? *vector : NO_VECTOR;
        break;
    }
    unlock(vp);
    return value;
}

/* The driver's features as far as they were written. */
static uint32_t driver_features(struct virtio_device *dev, uint32_t select)
{
    pthread_mutex_lock(&dev->lock);
    uint64_t features = dev->driver_features;
    pthread_mutex_unlock(&dev->lock);
    return select > 1 ? 0 : (uint32_t)(features >> 32 * select);
}

static uint8_t config_generation(struct virtio_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    uint8_t generation = (uint8_t)dev->config_generation;
    pthread_mutex_unlock(&dev->lock);
    return generation;
}

static uint32_t read_common(struct virtio_pci *vp, uint64_t offset)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_DF:
        return virtio_offered_features(vp->device, read_own_register(vp, VIRTIO_PCI_COMMON_DFSELECT));
    case VIRTIO_PCI_COMMON_GF:
        return driver_features(vp->device, read_own_register(vp, VIRTIO_PCI_COMMON_GFSELECT));
    case VIRTIO_PCI_COMMON_NUMQ:
        return vp->device->queue_count;
    case VIRTIO_PCI_COMMON_STATUS:
        return virtio_status(vp->device);
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return config_generation(vp->device);
    case VIRTIO_PCI_COMMON_DFSELECT:
    case VIRTIO_PCI_COMMON_GFSELECT:
    case VIRTIO_PCI_COMMON_MSIX:
    case VIRTIO_PCI_COMMON_Q_SELECT:
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return read_own_register(vp, offset);
    }
    return read_queue_register(vp, offset);
}

static void write_own_register(struct virtio_pci *vp, uint64_t offset, uint32_t value)
{
    /* A vector that does not exist cannot be mapped, which the driver finds by reading back (4.1.5.1.2). */
    uint16_t vector = value < vp->pci.msix.vectors ? (uint16_t)value : NO_VECTOR, *selected;

    lock(vp);
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        vp->device_feature_select = value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        vp->driver_feature_select = value;
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        vp->config_vector = vector;
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        vp->queue_select = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        selected = selected_vector(vp);
        if (selected)
            *selected = vector;
        break;
    }
    unlock(vp);
}

static void write_status(struct virtio_pci *vp, uint8_t status)
{
    if (status == 0)
        reset_device(vp);
    else
        virtio_set_status(vp->device, status);
}

static void write_queue_register(struct virtio_pci *vp, uint64_t offset, uint32_t value)
{
    struct virtio_device *dev = vp->device;
    uint16_t queue = selected_queue(vp);
    bool high = offset & 4;

    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        virtio_queue_set_size(dev, queue, (uint16_t)value);
        return;
    case VIRTIO_PCI_COMMON_Q_ENABLE: /* writing 0 is not for drivers (4.1.4.3.2) */
        if (value == 1)
            virtio_queue_set_ready(dev, queue, true);
        return;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        virtio_queue_set_address(dev, queue, VIRTIO_QUEUE_DESC, high, value);
        return;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        virtio_queue_set_address(dev, queue, VIRTIO_QUEUE_DRIVER, high, value);
        return;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        virtio_queue_set_address(dev, queue, VIRTIO_QUEUE_DEVICE, high, value);
        return;
    case VIRTIO_PCI_COMMON_Q_RESET:
        if (value == 1 && (driver_features(dev, 1) & VIRTIO_F_RING_RESET >> 32))
            virtio_queue_reset(dev, queue);
        return;
    }
    log_guest_error("virtio-pci: write of read-only register 0x%" PRIx64, offset);
}

static void write_common(struct virtio_pci *vp, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_GF:
        virtio_set_driver_features(vp->device, read_own_register(vp, VIRTIO_PCI_COMMON_GFSELECT), value);
        return;
    case VIRTIO_PCI_COMMON_STATUS:
        write_status(vp, (uint8_t)value);
        return;
    case VIRTIO_PCI_COMMON_DFSELECT:
    case VIRTIO_PCI_COMMON_GFSELECT:
    case VIRTIO_PCI_COMMON_MSIX:
    case VIRTIO_PCI_COMMON_Q_SELECT:
    case VIRTIO_PCI_COMMON_Q_MSIX:
        write_own_register(vp, offset, value);
        return;
    }
    write_queue_register(vp, offset, value);
}

/* ---- BAR ---- */

/* Is it an access of exactly one register? */
static bool is_register(uint64_t offset, unsigned size_bytes)
{
    if (common_width(offset) == size_bytes)
        return true;
    log_guest_error("virtio-pci: access of %u bytes at 0x%" PRIx64 ", where no register is so wide", size_bytes,
                    offset);
    return false;
}

static int registers_read(struct pci_device *pci, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct virtio_pci *vp = (struct virtio_pci *)pci;
    uint64_t at = offset % REGION_BYTES;

    *value = 0;
    switch ((enum region)(offset / REGION_BYTES)) {
    case REGION_COMMON:
        if (size_bytes == 8) {
            *value = is_register(at, 4) ? read_common(vp, at) : 0;
            *value |= is_register(at + 4, 4) ? (uint64_t)read_common(vp, at + 4) << 32 : 0;
        } else if (is_register(at, size_bytes)) {
            *value = read_common(vp, at);
        }
        break;
    case REGION_ISR:
        if (at == 0)
            *value = take_isr(vp);
        break;
    case REGION_DEVICE:
        virtio_config_read(vp->device, (uint32_t)at, value, size_bytes);
        break;
    case REGION_NOTIFY: /* write-only */
        break;
    }
    return 0;
}

static int registers_write(struct pci_device *pci, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct virtio_pci *vp = (struct virtio_pci *)pci;
    uint64_t at = offset % REGION_BYTES;

    switch ((enum region)(offset / REGION_BYTES)) {
    case REGION_COMMON:
        if (size_bytes == 8 && is_register(at, 4) && is_register(at + 4, 4)) {
            write_common(vp, at, (uint32_t)value);
            write_common(vp, at + 4, (uint32_t)(value >> 32));
        } else if (size_bytes < 8 && is_register(at, size_bytes)) {
            write_common(vp, at, (uint32_t)value);
        }
        break;
    case REGION_ISR: /* read-only */
        break;
    case REGION_DEVICE:
        virtio_config_write(vp->device, (uint32_t)at, &value, size_bytes);
        break;
    case REGION_NOTIFY: /* the address says which queue it is (4.1.4.4) */
        if (at % NOTIFY_MULTIPLIER == 0)
            virtio_kick(vp->device, (uint32_t)(at / NOTIFY_MULTIPLIER));
        break;
    }
    return 0;
}

/* ---- configuration space ---- */

static bool touches_window_data(const struct virtio_pci *vp, unsigned offset, unsigned size_bytes)
{
    unsigned data = vp->window + sizeof(struct virtio_pci_cap);

    return offset < data + 4 && offset + size_bytes > data;
}

/* Where the window is (4.1.4.9); false: an access that is none. */
static bool window_at(struct virtio_pci *vp, unsigned *bar, uint32_t *offset, uint32_t *len)
{
    const uint8_t *cap = vp->pci.config + vp->window;

    lock(vp);
    *bar = cap[VIRTIO_PCI_CAP_BAR];
    *offset = pci_get(cap + VIRTIO_PCI_CAP_OFFSET, 4);
    *len = pci_get(cap + VIRTIO_PCI_CAP_LENGTH, 4);
    unlock(vp);
    return *len == 1 || *len == 2 || *len == 4;
}

static void config_reading(struct pci_device *pci, unsigned offset, unsigned size_bytes)
{
    struct virtio_pci *vp = (struct virtio_pci *)pci;
    uint8_t *data = pci->config + vp->window + sizeof(struct virtio_pci_cap);
    unsigned bar;
    uint32_t at, len;
    uint64_t value;

    if (!touches_window_data(vp, offset, size_bytes) || !window_at(vp, &bar, &at, &len) ||
        pci_bar_read(pci, bar, at, len, &value) != 0)
        return;
    lock(vp);
    pci_put(data, len, (uint32_t)value);
    unlock(vp);
}

static void window_write(struct virtio_pci *vp)
{
    const uint8_t *data = vp->pci.config + vp->window + sizeof(struct virtio_pci_cap);
    unsigned bar;
    uint32_t at, len;

    if (!window_at(vp, &bar, &at, &len))
        return;
    lock(vp);
    uint32_t value = pci_get(data, len);
    unlock(vp);
    (void)!pci_bar_write(&vp->pci, bar, at, len, value);
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size_bytes, uint16_t command)
{
    struct virtio_pci *vp = (struct virtio_pci *)pci;

    if (touches_window_data(vp, offset, size_bytes))
        window_write(vp);
    lock(vp);
    bool lost_memory = command & PCI_COMMAND_MASTER & ~pci->config[PCI_COMMAND];
    unlock(vp);
    if (lost_memory && (virtio_status(vp->device) & VIRTIO_STATUS_DRIVER_OK))
        reset_device(vp);
}

static void bars_moved(struct pci_device *pci)
{
    const struct virtio_pci *vp = (const struct virtio_pci *)pci;
    uint64_t gpa = pci_bar_address(pci, REGISTERS_BAR);

    if (vp->doorbells_moved)
        vp->doorbells_moved(vp->doorbells_opaque,
                            gpa == PCI_NOT_DECODED ? gpa : gpa + (uint64_t)REGION_NOTIFY * REGION_BYTES);
}

static const struct pci_ops virtio_pci_pci_ops = {
    .bar_read = registers_read,
    .bar_write = registers_write,
    .config_reading = config_reading,
    .config_written = config_written,
    .bars_moved = bars_moved,
};

/* ---- device ---- */

static void virtio_pci_reset(struct device *dev)
{
    struct virtio_pci *vp = (struct virtio_pci *)dev;

    lock(vp);
    clear(vp);
    unlock(vp);
    pci_device_reset(&vp->pci);
}

static void virtio_pci_post_restore(struct device *dev)
{
    struct virtio_pci *vp = (struct virtio_pci *)dev;

    /* Vectors are compared where they are used; INTx is what the ISR status says. */
    lock(vp);
    vp->isr &= ISR_QUEUE | ISR_CONFIG;
    vp->pci.intx = vp->isr != 0;
    unlock(vp);
    pci_device_post_restore(&vp->pci);
}

static void virtio_pci_destroy(struct device *dev)
{
    struct virtio_pci *vp = (struct virtio_pci *)dev;

    /* What a host call under way completes has nobody to interrupt any more. */
    pthread_mutex_lock(&vp->device->lock);
    vp->device->transport = NULL;
    pthread_mutex_unlock(&vp->device->lock);
    pci_device_fini(&vp->pci);
    free(vp);
}

static const struct device_ops virtio_pci_ops = {
    .name = "virtio-pci",
    .state_version = 1,
    .fields = virtio_pci_fields,
    .reset = virtio_pci_reset,
    .destroy = virtio_pci_destroy,
    .post_restore = virtio_pci_post_restore,
};

/* 4.1.4: `extra` is what follows struct virtio_pci_cap. */
static uint8_t add_capability(struct virtio_pci *vp, uint8_t kind, enum region region, uint32_t region_bytes,
                              unsigned extra_len, uint32_t extra, const uint8_t *writable)
{
    uint8_t bytes[sizeof(struct virtio_pci_cap) + 4 - 2] = {0};
    unsigned cap_len = sizeof(struct virtio_pci_cap) + extra_len;

    bytes[VIRTIO_PCI_CAP_LEN - 2] = (uint8_t)cap_len;
    bytes[VIRTIO_PCI_CAP_CFG_TYPE - 2] = kind;
    bytes[VIRTIO_PCI_CAP_BAR - 2] = region_bytes ? REGISTERS_BAR : 0;
    pci_put(bytes + VIRTIO_PCI_CAP_OFFSET - 2, 4, (uint32_t)region * REGION_BYTES);
    pci_put(bytes + VIRTIO_PCI_CAP_LENGTH - 2, 4, region_bytes);
    pci_put(bytes + sizeof(struct virtio_pci_cap) - 2, 4, extra);
    return pci_add_capability(&vp->pci, PCI_CAP_ID_VNDR, bytes, writable, cap_len - 2);
}

static void add_capabilities(struct virtio_pci *vp)
{
    uint8_t writable[sizeof(struct virtio_pci_cap) + 4 - 2] = {0};

    writable[VIRTIO_PCI_CAP_BAR - 2] = 0xff;
    memset(writable + VIRTIO_PCI_CAP_OFFSET - 2, 0xff, sizeof(writable) - (VIRTIO_PCI_CAP_OFFSET - 2));
    (void)add_capability(vp, VIRTIO_PCI_CAP_COMMON_CFG, REGION_COMMON, REGION_BYTES, 0, 0, NULL);
    (void)add_capability(vp, VIRTIO_PCI_CAP_ISR_CFG, REGION_ISR, REGION_BYTES, 0, 0, NULL);
    (void)add_capability(vp, VIRTIO_PCI_CAP_DEVICE_CFG, REGION_DEVICE, REGION_BYTES, 0, 0, NULL);
    (void)add_capability(vp, VIRTIO_PCI_CAP_NOTIFY_CFG, REGION_NOTIFY, REGION_BYTES, 4, NOTIFY_MULTIPLIER, NULL);
    vp->window = add_capability(vp, VIRTIO_PCI_CAP_PCI_CFG, REGION_COMMON, 0, 4, 0, writable);
}

int virtio_pci_create(const struct virtio_pci_config *config, struct device **out)
{
    const struct virtio_ops *ops = config->device->ops;
    const struct pci_identity identity = {.vendor = VENDOR,
                                          .device = DEVICE_ID_BASE + ops->device_id,
                                          .subsystem_vendor = VENDOR,
                                          .subsystem = SUBSYSTEM,
                                          .class_code = ops->pci_class,
                                          .revision = REVISION,
                                          .has_intx = true};
    struct virtio_pci *vp = calloc(1, sizeof(*vp));

    if (!vp)
        return -ENOMEM;
    pci_device_init(&vp->pci, &virtio_pci_ops, &virtio_pci_pci_ops, &identity);
    vp->device = config->device;
    vp->doorbells_moved = config->doorbells_moved;
    vp->doorbells_opaque = config->doorbells_opaque;
    add_capabilities(vp);
    pci_add_msix(&vp->pci, MSIX_BAR, (uint16_t)(config->device->queue_count + 1));
    pci_add_bar(&vp->pci, REGISTERS_BAR, (uint64_t)REGIONS * REGION_BYTES, PCI_BAR_64 | PCI_BAR_PREFETCHABLE);
    int rc = pcie_host_add(config->host, &vp->pci, config->slot);
    if (rc) {
        virtio_pci_destroy(&vp->pci.base);
        return rc;
    }
    virtio_pci_reset(&vp->pci.base);
    virtio_attach(config->device, &transport_ops, vp);
    *out = &vp->pci.base;
    return 0;
}

void virtio_pci_counters(struct device *dev, uint64_t *messages, uint64_t *intx)
{
    struct virtio_pci *vp = (struct virtio_pci *)dev;

    assert(dev->ops == &virtio_pci_ops);
    lock(vp);
    *messages = vp->pci.messages;
    *intx = vp->pci.intx_rises;
    unlock(vp);
}
