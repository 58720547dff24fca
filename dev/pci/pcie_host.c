/* The host bridge; see pcie_host.h. */
#include "dev/pci/pcie_host.h"

#include "dev/fdt_node.h"
#include "dev/pci/pci_device.h"

#include <assert.h>
#include <errno.h>
#include <libfdt.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

enum { DECODERS_MAX = PCIE_HOST_SLOTS * PCI_BARS };

/* As QEMU's, which lspci knows. */
enum { VENDOR_REDHAT = 0x1b36, DEVICE_HOST_BRIDGE = 0x0008, SUBSYSTEM_VENDOR = 0x1af4, SUBSYSTEM = 0x1100 };
enum { CLASS_HOST_BRIDGE = 0x060000 };

/* One BAR of one function. Only the address changes while vCPUs run. */
struct decoder {
    _Atomic uint64_t address;
    uint64_t size_bytes;
    struct pci_device *function;
    unsigned bar;
    bool io;
};

struct window {
    struct pcie_host *host;
    uint64_t bus_address; /* of its first byte */
    bool io;
};

struct pcie_host {
    struct pci_device root; /* function 00.0 */

    pthread_mutex_t lock;               /* guards what follows */
    uint32_t asserted[PCIE_HOST_LINES]; /* a bit a slot */

    /* Constant while vCPUs run. */
    struct pci_device *slots[PCIE_HOST_SLOTS];
    unsigned decoder_count;
    struct decoder decoders[DECODERS_MAX];
    struct window io, mem32, mem64;
    struct pcie_host_config config;
};

static uint64_t ones(unsigned size_bytes)
{
    return UINT64_MAX >> (64 - 8 * size_bytes);
}

/* ---- configuration space ---- */

/* The function whose register an offset into the ECAM names, or NULL: bus 0, function 0 of a slot, 256 bytes. */
static struct pci_device *function_at(const struct pcie_host *host, uint64_t offset)
{
    uint64_t bus = offset >> 20, slot = offset >> 15 & 31, function = offset >> 12 & 7, reg = offset & 0xfff;

    return bus || function || reg >= PCI_CONFIG_BYTES ? NULL : host->slots[slot];
}

static int ecam_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct pci_device *function = function_at(opaque, offset);

    *value = function ? pci_config_read(function, offset & 0xff, size_bytes) : ones(size_bytes);
    return 0;
}

static int ecam_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct pci_device *function = function_at(opaque, offset);

    if (function)
        pci_config_write(function, offset & 0xff, size_bytes, (uint32_t)value);
    return 0;
}

static const struct mem_ops ecam_ops = {
    .name = "pcie-ecam", .read = ecam_read, .write = ecam_write, .min_access_bytes = 1, .max_access_bytes = 4};

/* ---- windows ---- */

/* The BAR that an address is in and the offset there, or NULL. Where BARs overlap, the first function's answers. */
static const struct decoder *decode(const struct window *window, uint64_t offset, uint64_t *bar_offset)
{
    const struct pcie_host *host = window->host;
    uint64_t address = window->bus_address + offset;

    for (unsigned i = 0; i < host->decoder_count; i++) {
        const struct decoder *d = &host->decoders[i];
        *bar_offset = address - atomic_load_explicit(&d->address, memory_order_acquire);
        if (*bar_offset < d->size_bytes && d->io == window->io)
            return d;
    }
    return NULL;
}

static int window_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    uint64_t at;
    const struct decoder *d = decode(opaque, offset, &at);

    if (!d || pci_bar_read(d->function, d->bar, at, size_bytes, value) != 0)
        *value = ones(size_bytes);
    return 0;
}

static int window_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    uint64_t at;
    const struct decoder *d = decode(opaque, offset, &at);

    if (d)
        (void)!pci_bar_write(d->function, d->bar, at, size_bytes, value);
    return 0;
}

static const struct mem_ops window_ops = {
    .name = "pcie-window", .read = window_read, .write = window_write, .min_access_bytes = 1, .max_access_bytes = 8};

/* ---- interrupts ---- */

static unsigned line_of(unsigned slot)
{
    return slot % PCIE_HOST_LINES;
}

static void set_intx(void *opaque, uint32_t slot, bool level)
{
    struct pcie_host *host = opaque;
    unsigned line = line_of(slot);

    pthread_mutex_lock(&host->lock);
    host->asserted[line] = (host->asserted[line] & ~(1u << slot)) | (uint32_t)level << slot;
    irq_set(&host->config.intx[line], host->asserted[line] != 0);
    pthread_mutex_unlock(&host->lock);
}

/* ---- device tree ---- */

static int append_cells(void *fdt, int node, const char *name, const uint32_t *cells, unsigned count)
{
    int rc = 0;

    for (unsigned i = 0; i < count && !rc; i++)
        rc = fdt_appendprop_u32(fdt, node, name, cells[i]);
    return rc;
}

/* An entry of `ranges`: bus address (kind of space first), guest-physical address, size. */
static int append_range(void *fdt, int node, uint32_t kind, uint64_t bus, const struct pcie_host_window *window)
{
    int rc = fdt_appendprop_u32(fdt, node, "ranges", kind);

    if (!rc)
        rc = fdt_appendprop_u64(fdt, node, "ranges", bus);
    if (!rc)
        rc = fdt_appendprop_u64(fdt, node, "ranges", window->gpa);
    return rc ? rc : fdt_appendprop_u64(fdt, node, "ranges", window->size_bytes);
}

static int write_ranges(const struct pcie_host_config *config, void *fdt, int node)
{
    enum { SPACE_IO = 0x01000000, SPACE_MEM32 = 0x02000000, SPACE_MEM64 = 0x03000000 };
    int rc = append_range(fdt, node, SPACE_IO, 0, &config->io);

    if (!rc)
        rc = append_range(fdt, node, SPACE_MEM32, config->mem32.gpa, &config->mem32);
    return rc ? rc : append_range(fdt, node, SPACE_MEM64, config->mem64.gpa, &config->mem64);
}

/* Slots repeat after four. */
static int write_interrupt_map(const struct pcie_host_config *config, void *fdt, int node)
{
    enum { SLOT_SHIFT = 11, PINS = 4 };
    const uint32_t mask[] = {(PCIE_HOST_LINES - 1) << SLOT_SHIFT, 0, 0, 7};
    int rc = fdt_setprop_u32(fdt, node, "#interrupt-cells", 1);

    if (!rc)
        rc = append_cells(fdt, node, "interrupt-map-mask", mask, TUFF_ARRAY_LEN(mask));
    for (uint32_t slot = 0; slot < PCIE_HOST_LINES; slot++) {
        for (uint32_t pin = 0; pin < PINS && !rc; pin++) {
            const uint32_t child[] = {slot << SLOT_SHIFT, 0, 0, pin + 1, config->irq_parent};
            rc = append_cells(fdt, node, "interrupt-map", child, TUFF_ARRAY_LEN(child));
            if (!rc)
                rc = fdt_node_append_level(fdt, node, "interrupt-map", config->irq_parent,
                                           config->intx_number + line_of(slot + pin));
        }
    }
    return rc;
}

static int pcie_host_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"pci-host-ecam-generic", NULL};
    static const uint32_t buses[] = {0, 0xff};
    const struct pcie_host_config *config = &((const struct pcie_host *)dev)->config;
    int node = fdt_node_add(fdt, "pci", config->ecam_gpa, PCIE_HOST_ECAM_BYTES, compatible);

    if (node < 0)
        return node;
    int rc = fdt_setprop_string(fdt, node, "device_type", "pci");
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "#address-cells", 3);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "#size-cells", 2);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "linux,pci-domain", 0);
    if (!rc)
        rc = append_cells(fdt, node, "bus-range", buses, TUFF_ARRAY_LEN(buses));
    if (!rc)
        rc = fdt_setprop_empty(fdt, node, "dma-coherent");
    if (!rc && config->msi_parent)
        rc = fdt_setprop_u32(fdt, node, "msi-parent", config->msi_parent);
    if (!rc)
        rc = write_ranges(config, fdt, node);
    return rc ? rc : write_interrupt_map(config, fdt, node);
}

/* ---- device ---- */

static void pcie_host_reset(struct device *dev)
{
    pci_device_reset((struct pci_device *)dev);
}

static void pcie_host_post_restore(struct device *dev)
{
    pci_device_post_restore((struct pci_device *)dev);
}

static void pcie_host_destroy(struct device *dev)
{
    struct pcie_host *host = (struct pcie_host *)dev;

    pthread_mutex_destroy(&host->lock);
    pci_device_fini(&host->root);
    free(host);
}

static const struct device_field pcie_host_fields[] = {PCI_DEVICE_FIELDS, {0}};

static const struct device_ops pcie_host_ops = {
    .name = "pcie-host",
    .state_version = 1,
    .fields = pcie_host_fields,
    .reset = pcie_host_reset,
    .destroy = pcie_host_destroy,
    .fdt = pcie_host_fdt,
    .post_restore = pcie_host_post_restore,
};

static const struct pci_ops root_ops = {0};

static int add_windows(struct pcie_host *host)
{
    const struct pcie_host_config *config = &host->config;
    struct mem *mem = config->mem;

    host->io = (struct window){.host = host, .io = true};
    host->mem32 = (struct window){.host = host, .bus_address = config->mem32.gpa};
    host->mem64 = (struct window){.host = host, .bus_address = config->mem64.gpa};
    int rc = mem_add_mmio(mem, config->ecam_gpa, PCIE_HOST_ECAM_BYTES, &ecam_ops, host);
    if (!rc)
        rc = mem_add_mmio(mem, config->io.gpa, config->io.size_bytes, &window_ops, &host->io);
    if (!rc)
        rc = mem_add_mmio(mem, config->mem32.gpa, config->mem32.size_bytes, &window_ops, &host->mem32);
    return rc ? rc : mem_add_mmio(mem, config->mem64.gpa, config->mem64.size_bytes, &window_ops, &host->mem64);
}

int pcie_host_create(const struct pcie_host_config *config, struct device **out)
{
    static const struct pci_identity identity = {.vendor = VENDOR_REDHAT,
                                                 .device = DEVICE_HOST_BRIDGE,
                                                 .subsystem_vendor = SUBSYSTEM_VENDOR,
                                                 .subsystem = SUBSYSTEM,
                                                 .class_code = CLASS_HOST_BRIDGE};
    struct pcie_host *host = calloc(1, sizeof(*host));

    if (!host)
        return -ENOMEM;
    host->config = *config;
    pthread_mutex_init(&host->lock, NULL);
    pci_device_init(&host->root, &pcie_host_ops, &root_ops, &identity);
    host->slots[0] = &host->root;
    int rc = add_windows(host);
    if (rc) {
        pcie_host_destroy(&host->root.base);
        return rc;
    }
    pcie_host_reset(&host->root.base);
    *out = &host->root.base;
    return 0;
}

int pcie_host_add(struct device *dev, struct pci_device *function, unsigned slot)
{
    struct pcie_host *host = (struct pcie_host *)dev;

    assert(dev->ops == &pcie_host_ops);
    if (slot == 0 || slot >= PCIE_HOST_SLOTS)
        return -EINVAL;
    if (host->slots[slot])
        return -EEXIST;
    host->slots[slot] = function;
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        struct pci_bar *b = &function->bars[bar];
        if (!b->size_bytes)
            continue;
        struct decoder *d = &host->decoders[host->decoder_count++];
        *d = (struct decoder){
            .size_bytes = b->size_bytes, .function = function, .bar = bar, .io = (b->flags & PCI_BAR_IO) != 0};
        b->decoded = &d->address;
    }
    function->intx_line = (struct irq_line){.set = set_intx, .opaque = host, .number = slot};
    function->message = host->config.message;
    function->message_opaque = host->config.opaque;
    pci_device_reset(function);
    return 0;
}

static bool holds(const struct pcie_host_window *window, uint64_t gpa)
{
    return gpa >= window->gpa && gpa - window->gpa < window->size_bytes;
}

bool pcie_host_has_memory(const struct device *dev, uint64_t gpa)
{
    const struct pcie_host *host = (const struct pcie_host *)dev;

    assert(dev->ops == &pcie_host_ops);
    return holds(&host->config.mem32, gpa) || holds(&host->config.mem64, gpa);
}
