/* See pc_ports.h. */
#include "dev/pc/pc_ports.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- keyboard controller ---- */

enum {
    PORT_DATA = 0x60,
    PORT_COMMAND = 0x64,
    COMMAND_PULSE = 0xf0, /* bits that are 0 in the low half: lines that are pulled down; line 0 is the reset */
    LINE_RESET = 0x01,
};

struct pc_reset {
    struct device base;
    struct pc_reset_config config;
};

/* Data and status: nothing there, nothing waits. */
static int controller_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    (void)opaque, (void)offset, (void)size_bytes;
    *value = 0;
    return 0;
}

static int data_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    (void)opaque, (void)offset, (void)size_bytes, (void)value;
    return 0;
}

static int command_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    const struct pc_reset *dev = opaque;

    (void)offset, (void)size_bytes;
    if ((value & COMMAND_PULSE) == COMMAND_PULSE && !(value & LINE_RESET))
        dev->config.reset(dev->config.opaque);
    return 0;
}

static const struct mem_ops data_ops = {
    .name = "i8042", .read = controller_read, .write = data_write, .min_access_bytes = 1, .max_access_bytes = 1};
static const struct mem_ops command_ops = {
    .name = "i8042", .read = controller_read, .write = command_write, .min_access_bytes = 1, .max_access_bytes = 1};

static void device_free(struct device *dev)
{
    free(dev);
}

static const struct device_ops reset_device_ops = {.name = "i8042", .state_version = 1, .destroy = device_free};

int pc_reset_create(const struct pc_reset_config *config, struct device **out)
{
    struct pc_reset *dev = calloc(1, sizeof(*dev));

    if (!dev)
        return -ENOMEM;
    dev->base.ops = &reset_device_ops;
    dev->config = *config;
    int rc = mem_add_mmio(config->ports, PORT_DATA, 1, &data_ops, dev);
    if (rc == 0)
        rc = mem_add_mmio(config->ports, PORT_COMMAND, 1, &command_ops, dev);
    if (rc) {
        free(dev);
        return rc;
    }
    *out = &dev->base;
    return 0;
}

/* ---- PCI configuration ---- */

enum {
    PORT_ADDRESS = 0xcf8, /* and the data behind it */
    PORTS_BYTES = 8,
    DATA_OFFSET = 4,
    ADDRESS_REGISTER = 0xfc,
};
static const uint32_t address_enabled = UINT32_C(1) << 31;

struct pc_pci {
    struct device base;
    _Atomic uint32_t address; /* of several vCPUs the guest lets one at a time use the two ports */
    uint32_t saved_address;
    struct pc_pci_config config;
};

static const struct device_field pci_fields[] = {
    DEVICE_FIELD(struct pc_pci, saved_address, 1),
    {0},
};

/* Where the register that was addressed is in memory: bus, device and function move up by the four bits that the
 * mapped space has more of for registers. UINT64_MAX: none is. */
static uint64_t mapped(const struct pc_pci *pci, uint64_t offset)
{
    uint32_t address = atomic_load(&pci->address);

    if (!(address & address_enabled) || offset < DATA_OFFSET)
        return UINT64_MAX;
    return pci->config.ecam_gpa + ((uint64_t)(address >> 8 & 0xffff) << 12) + (address & ADDRESS_REGISTER) +
           (offset - DATA_OFFSET);
}

static int pci_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct pc_pci *pci = opaque;

    if (offset == 0 && size_bytes == sizeof(uint32_t)) {
        *value = atomic_load(&pci->address);
        return 0;
    }
    uint64_t at = mapped(pci, offset);
    if (at == UINT64_MAX || mem_mmio_read(pci->config.mem, at, size_bytes, value))
        *value = UINT64_MAX;
    return 0;
}

static int pci_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct pc_pci *pci = opaque;

    if (offset == 0 && size_bytes == sizeof(uint32_t)) {
        atomic_store(&pci->address, (uint32_t)value);
        return 0;
    }
    uint64_t at = mapped(pci, offset);
    if (at != UINT64_MAX)
        (void)!mem_mmio_write(pci->config.mem, at, size_bytes, value);
    return 0;
}

static const struct mem_ops pci_ops = {
    .name = "pci-ports", .read = pci_read, .write = pci_write, .min_access_bytes = 1, .max_access_bytes = 4};

static void pci_reset(struct device *dev)
{
    atomic_store(&((struct pc_pci *)dev)->address, 0);
}

static void pci_pre_save(struct device *dev)
{
    struct pc_pci *pci = (struct pc_pci *)dev;

    pci->saved_address = atomic_load(&pci->address);
}

static void pci_post_restore(struct device *dev)
{
    struct pc_pci *pci = (struct pc_pci *)dev;

    atomic_store(&pci->address, pci->saved_address);
}

static const struct device_ops pci_device_ops = {
    .name = "pci-ports",
    .state_version = 1,
    .fields = pci_fields,
    .reset = pci_reset,
    .destroy = device_free,
    .pre_save = pci_pre_save,
    .post_restore = pci_post_restore,
};

int pc_pci_create(const struct pc_pci_config *config, struct device **out)
{
    struct pc_pci *pci = calloc(1, sizeof(*pci));

    if (!pci)
        return -ENOMEM;
    pci->base.ops = &pci_device_ops;
    pci->config = *config;
    int rc = mem_add_mmio(config->ports, PORT_ADDRESS, PORTS_BYTES, &pci_ops, pci);
    if (rc) {
        free(pci);
        return rc;
    }
    *out = &pci->base;
    return 0;
}
