/* Supervisor software interrupts; see sswi.h. */
#include "dev/sswi.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

enum { IRQ_SSI = 1 };

struct sswi {
    struct device base;
    uint32_t hart_count; /* constant, all of it */
    uint64_t gpa;
    struct irq_line ssi[SSWI_HARTS_MAX];
    uint32_t intc_phandles[SSWI_HARTS_MAX];
};

static int sswi_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    *value = 0;
    return 0;
}

static int sswi_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    const struct sswi *s = opaque;

    if (offset / 4 >= s->hart_count)
        log_guest_error("sswi: write of reserved register 0x%" PRIx64, offset);
    else if (value & 1)
        irq_set(&s->ssi[offset / 4], true);
    return 0;
}

static const struct mem_ops sswi_mem_ops = {
    .name = "sswi", .read = sswi_read, .write = sswi_write, .min_access_bytes = 4, .max_access_bytes = 4};

static void sswi_destroy(struct device *dev)
{
    free(dev);
}

static int sswi_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"riscv,aclint-sswi", NULL};
    const struct sswi *s = (const struct sswi *)dev;
    int node = fdt_node_add(fdt, "sswi", s->gpa, SSWI_BYTES, compatible);

    if (node < 0)
        return node;
    int rc = fdt_setprop_u32(fdt, node, "#interrupt-cells", 0);
    if (!rc)
        rc = fdt_setprop_empty(fdt, node, "interrupt-controller");
    for (uint32_t hart = 0; hart < s->hart_count && !rc; hart++)
        rc = fdt_node_append_irq(fdt, node, s->intc_phandles[hart], IRQ_SSI);
    return rc;
}

static const struct device_ops sswi_ops = {
    .name = "sswi", .state_version = 1, .destroy = sswi_destroy, .fdt = sswi_fdt};

int sswi_create(const struct sswi_config *config, struct device **out)
{
    if (config->hart_count == 0 || config->hart_count > SSWI_HARTS_MAX)
        return -EINVAL;
    struct sswi *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->base.ops = &sswi_ops;
    s->hart_count = config->hart_count;
    s->gpa = config->gpa;
    memcpy(s->ssi, config->ssi, config->hart_count * sizeof(*config->ssi));
    memcpy(s->intc_phandles, config->intc_phandles, config->hart_count * sizeof(*config->intc_phandles));
    int rc = mem_add_mmio(config->mem, config->gpa, SSWI_BYTES, &sswi_mem_ops, s);
    if (rc) {
        free(s);
        return rc;
    }
    *out = &s->base;
    return 0;
}
