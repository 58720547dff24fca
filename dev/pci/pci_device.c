/* Configuration space, BARs and INTx of a function; see pci_device.h. Section numbers are those of the PCI Local Bus
 * Specification 3.0. */
#include "dev/pci/pci_device.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied in host order");

uint32_t pci_get(const uint8_t *bytes, unsigned size_bytes)
{
    uint32_t value = 0;

    memcpy(&value, bytes, size_bytes);
    return value;
}

void pci_put(uint8_t *bytes, unsigned size_bytes, uint32_t value)
{
    memcpy(bytes, &value, size_bytes);
}

static uint16_t command(const struct pci_device *dev)
{
    return (uint16_t)pci_get(dev->config + PCI_COMMAND, 2);
}

/* ---- making one ---- */

void pci_device_init(struct pci_device *dev, const struct device_ops *base_ops, const struct pci_ops *ops,
                     const struct pci_identity *identity)
{
    uint8_t *config = dev->reset_config;

    memset(dev, 0, sizeof(*dev));
    dev->base.ops = base_ops;
    dev->ops = ops;
    pthread_mutex_init(&dev->lock, NULL);
    pci_put(config + PCI_VENDOR_ID, 2, identity->vendor);
    pci_put(config + PCI_DEVICE_ID, 2, identity->device);
    pci_put(config + PCI_CLASS_REVISION, 4, identity->class_code << 8 | identity->revision);
    pci_put(config + PCI_SUBSYSTEM_VENDOR_ID, 2, identity->subsystem_vendor);
    pci_put(config + PCI_SUBSYSTEM_ID, 2, identity->subsystem);
    config[PCI_INTERRUPT_PIN] = identity->has_intx;
    /* No error is ever reported, so the bits of the status register that a driver clears by ones are never set. */
    pci_put(dev->writable + PCI_COMMAND, 2,
            PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    dev->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    dev->writable[PCI_INTERRUPT_LINE] = 0xff;
    dev->capability_end = PCI_STD_HEADER_SIZEOF;
}

void pci_device_fini(struct pci_device *dev)
{
    pthread_mutex_destroy(&dev->lock);
}

static unsigned bar_register(unsigned bar)
{
    return PCI_BASE_ADDRESS_0 + 4 * bar;
}

void pci_add_bar(struct pci_device *dev, unsigned bar, uint64_t size_bytes, unsigned flags)
{
    unsigned at = bar_register(bar);
    bool wide = flags & PCI_BAR_64, io = flags & PCI_BAR_IO;
    uint64_t address_bits = ~(size_bytes - 1);

    assert(bar + wide < PCI_BARS && !dev->bars[bar].size_bytes && !dev->reset_config[at] && !(wide && io));
    assert((size_bytes & (size_bytes - 1)) == 0 && size_bytes >= (io ? 4 : 16) && (wide || size_bytes <= 1u << 31));
    dev->bars[bar] = (struct pci_bar){.size_bytes = size_bytes, .flags = flags};
    dev->reset_config[at] = (uint8_t)((io ? PCI_BASE_ADDRESS_SPACE_IO : 0) | (wide ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
                                      (flags & PCI_BAR_PREFETCHABLE ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0));
    pci_put(dev->writable + at, 4, (uint32_t)address_bits);
    if (wide)
        pci_put(dev->writable + at + 4, 4, (uint32_t)(address_bits >> 32));
}

uint8_t pci_add_capability(struct pci_device *dev, uint8_t id, const uint8_t *bytes, const uint8_t *writable,
                           unsigned len)
{
    uint8_t at = dev->capability_end;
    uint8_t *config = dev->reset_config;

    assert(len % 4 == 2 && at + 2 + len < PCI_CONFIG_BYTES);
    config[at] = id;
    /* In front of the others: the list ends with the first that was added. */
    config[at + 1] = config[PCI_CAPABILITY_LIST];
    config[PCI_CAPABILITY_LIST] = at;
    config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    memcpy(config + at + 2, bytes, len);
    if (writable)
        memcpy(dev->writable + at + 2, writable, len);
    dev->capability_end = (uint8_t)(at + 2 + len);
    return at;
}

/* ---- BARs ---- */

/* Where a BAR is now (6.2.5), or PCI_NOT_DECODED. */
static uint64_t bar_address(const struct pci_device *dev, unsigned bar)
{
    const struct pci_bar *b = &dev->bars[bar];
    const uint8_t *at = dev->config + bar_register(bar);
    uint64_t address = pci_get(at, 4);

    if (!(command(dev) & (b->flags & PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
        return PCI_NOT_DECODED;
    if (b->flags & PCI_BAR_64)
        address |= (uint64_t)pci_get(at + 4, 4) << 32;
    return address & ~(b->size_bytes - 1);
}

static void update_bars(struct pci_device *dev)
{
    bool moved = false;

    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        uint64_t now = bar_address(dev, bar);
        if (dev->bars[bar].decoded)
            moved |= atomic_exchange_explicit(dev->bars[bar].decoded, now, memory_order_acq_rel) != now;
    }
    if (moved && dev->ops->bars_moved)
        dev->ops->bars_moved(dev);
}

uint64_t pci_bar_address(const struct pci_device *dev, unsigned bar)
{
    const struct pci_bar *b = &dev->bars[bar];

    return b->decoded ? atomic_load_explicit(b->decoded, memory_order_acquire) : PCI_NOT_DECODED;
}

/* The device's own handler, where the access is inside the BAR. */
static bool bar_holds(const struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes)
{
    return bar < PCI_BARS && offset % size_bytes == 0 && offset < dev->bars[bar].size_bytes &&
           size_bytes <= dev->bars[bar].size_bytes - offset;
}

int pci_bar_read(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    if (!bar_holds(dev, bar, offset, size_bytes))
        return -EFAULT;
    if (dev->msix.vectors && bar == dev->msix.bar)
        return pci_msix_read(dev, offset, size_bytes, value);
    return dev->ops->bar_read ? dev->ops->bar_read(dev, bar, offset, size_bytes, value) : -EFAULT;
}

int pci_bar_write(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    if (!bar_holds(dev, bar, offset, size_bytes))
        return -EFAULT;
    if (dev->msix.vectors && bar == dev->msix.bar)
        return pci_msix_write(dev, offset, size_bytes, value);
    return dev->ops->bar_write ? dev->ops->bar_write(dev, bar, offset, size_bytes, value) : -EFAULT;
}

/* ---- INTx ---- */

/* Section 6.2.2: the line, and the status bit, which PCI_COMMAND does not hide. */
static void update_intx(struct pci_device *dev, bool always)
{
    bool wanted = dev->intx && !pci_msix_enabled(dev);
    bool level = wanted && !(command(dev) & PCI_COMMAND_INTX_DISABLE);

    dev->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    dev->config[PCI_STATUS] |= wanted ? PCI_STATUS_INTERRUPT : 0;
    if (level == dev->intx_driven && !always)
        return;
    dev->intx_rises += level && !dev->intx_driven;
    dev->intx_driven = level;
    irq_set(&dev->intx_line, level);
}

void pci_set_intx(struct pci_device *dev, bool level)
{
    dev->intx = level;
    update_intx(dev, false);
}

/* ---- configuration space ---- */

static void update_all(struct pci_device *dev, bool always)
{
    update_bars(dev);
    update_intx(dev, always);
    pci_msix_update(dev);
}

uint32_t pci_config_read(struct pci_device *dev, unsigned offset, unsigned size_bytes)
{
    if (dev->ops->config_reading)
        dev->ops->config_reading(dev, offset, size_bytes);
    pthread_mutex_lock(&dev->lock);
    uint32_t value = pci_get(dev->config + offset, size_bytes);
    pthread_mutex_unlock(&dev->lock);
    return value;
}

void pci_config_write(struct pci_device *dev, unsigned offset, unsigned size_bytes, uint32_t value)
{
    pthread_mutex_lock(&dev->lock);
    uint16_t before = command(dev);
    uint32_t mask = pci_get(dev->writable + offset, size_bytes);
    uint32_t old = pci_get(dev->config + offset, size_bytes);
    pci_put(dev->config + offset, size_bytes, (old & ~mask) | (value & mask));
    update_all(dev, false);
    pthread_mutex_unlock(&dev->lock);
    if (dev->ops->config_written)
        dev->ops->config_written(dev, offset, size_bytes, before);
}

void pci_device_reset(struct pci_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    memcpy(dev->config, dev->reset_config, sizeof(dev->config));
    dev->intx = 0;
    pci_msix_reset(dev);
    update_all(dev, true);
    pthread_mutex_unlock(&dev->lock);
}

void pci_device_post_restore(struct pci_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < PCI_CONFIG_BYTES; i++)
        dev->config[i] = (uint8_t)((dev->reset_config[i] & ~dev->writable[i]) | (dev->config[i] & dev->writable[i]));
    dev->intx &= 1;
    pci_msix_post_restore(dev);
    update_all(dev, true);
    pthread_mutex_unlock(&dev->lock);
}
