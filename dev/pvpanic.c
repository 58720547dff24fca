/* See pvpanic.h. There is no state. */
#include "dev/pvpanic.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <errno.h>
#include <stdlib.h>

struct pvpanic {
    struct device base;
    struct pvpanic_config config; /* constant */
};

static int pvpanic_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    (void)opaque, (void)size_bytes;
    *value = offset == 0 ? PVPANIC_PANICKED | PVPANIC_CRASH_LOADED : 0;
    return 0;
}

static int pvpanic_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    const struct pvpanic *p = opaque;
    unsigned events = value & (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);

    (void)size_bytes;
    if (offset == 0 && events)
        p->config.told(p->config.opaque, events);
    else
        log_guest_error("pvpanic: a store that tells nothing");
    return 0;
}

static const struct mem_ops pvpanic_mem_ops = {
    .name = "pvpanic",
    .read = pvpanic_read,
    .write = pvpanic_write,
    .min_access_bytes = 1,
    .max_access_bytes = 1,
};

static void pvpanic_destroy(struct device *dev)
{
    free(dev);
}

static int pvpanic_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"qemu,pvpanic-mmio", NULL};
    const struct pvpanic *p = (const struct pvpanic *)dev;
    int node = fdt_node_add(fdt, "pvpanic", p->config.gpa, PVPANIC_BYTES, compatible);

    return node < 0 ? node : 0;
}

static void pvpanic_reset(struct device *dev)
{
    (void)dev;
}

static const struct device_ops pvpanic_ops = {
    .name = "pvpanic",
    .state_version = 1,
    .reset = pvpanic_reset,
    .destroy = pvpanic_destroy,
    .fdt = pvpanic_fdt,
};

int pvpanic_create(const struct pvpanic_config *config, struct device **out)
{
    struct pvpanic *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->base.ops = &pvpanic_ops;
    p->config = *config;
    int rc = mem_add_mmio(config->mem, config->gpa, PVPANIC_BYTES, &pvpanic_mem_ops, p);
    if (rc) {
        free(p);
        return rc;
    }
    *out = &p->base;
    return 0;
}
