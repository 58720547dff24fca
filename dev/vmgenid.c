/* See vmgenid.h. `lock` guards the state. */
#include "dev/vmgenid.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct vmgenid {
    struct device base;
    pthread_mutex_t lock;
    uint8_t id[VMGENID_ID_BYTES];
    uint8_t changed;              /* and not read since: the line is high */
    struct vmgenid_config config; /* constant */
};

static const struct device_field vmgenid_fields[] = {
    DEVICE_FIELD_ARRAY(struct vmgenid, id, 1),
    DEVICE_FIELD(struct vmgenid, changed, 1),
    {0},
};

/* Without random numbers it is at least another one. */
static void renew(struct vmgenid *v)
{
    uint8_t id[VMGENID_ID_BYTES];

    if (getrandom(id, sizeof(id), 0) == (ssize_t)sizeof(id)) {
        memcpy(v->id, id, sizeof(id));
        return;
    }
    log_warn(LOG_MACHINE, "the host gave no random numbers for the machine's generation: it is counted up");
    for (unsigned i = 0; i < sizeof(v->id) && ++v->id[i] == 0; i++)
        ;
}

static void start_id(struct vmgenid *v)
{
    for (unsigned i = 0; i < sizeof(v->id); i++)
        v->id[i] = (uint8_t)(i * 0x1d + 7);
    if (!v->config.fixed)
        renew(v);
}

static int vmgenid_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct vmgenid *v = opaque;

    *value = 0;
    pthread_mutex_lock(&v->lock);
    if (offset < sizeof(v->id))
        memcpy(value, v->id + offset, size_bytes);
    if (offset == 0 && v->changed) {
        v->changed = 0;
        irq_set(&v->config.irq, false);
    }
    pthread_mutex_unlock(&v->lock);
    return 0;
}

static int vmgenid_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    (void)opaque, (void)offset, (void)size_bytes, (void)value;
    log_guest_error("vmgenid: a store, which means nothing");
    return 0;
}

static const struct mem_ops vmgenid_mem_ops = {
    .name = "vmgenid",
    .read = vmgenid_read,
    .write = vmgenid_write,
    .min_access_bytes = 1,
    .max_access_bytes = 8,
};

/* The generation is not the guest's to change. */
static void vmgenid_reset(struct device *dev)
{
    struct vmgenid *v = (struct vmgenid *)dev;

    pthread_mutex_lock(&v->lock);
    v->changed = 0;
    irq_set(&v->config.irq, false);
    pthread_mutex_unlock(&v->lock);
}

static void vmgenid_post_restore(struct device *dev)
{
    struct vmgenid *v = (struct vmgenid *)dev;

    pthread_mutex_lock(&v->lock);
    if (!v->config.fixed) {
        renew(v);
        v->changed = 1;
    }
    v->changed = v->changed != 0;
    irq_set(&v->config.irq, v->changed);
    pthread_mutex_unlock(&v->lock);
}

static void vmgenid_destroy(struct device *dev)
{
    struct vmgenid *v = (struct vmgenid *)dev;

    pthread_mutex_destroy(&v->lock);
    free(v);
}

static int vmgenid_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"microsoft,vmgenid", NULL};
    const struct vmgenid *v = (const struct vmgenid *)dev;
    int node = fdt_node_add(fdt, "rng", v->config.gpa, VMGENID_BYTES, compatible);

    return node < 0 ? node : fdt_node_set_irq(fdt, node, v->config.irq_parent, v->config.irq_number);
}

static const struct device_ops vmgenid_ops = {
    .name = "vmgenid",
    .state_version = 1,
    .fields = vmgenid_fields,
    .reset = vmgenid_reset,
    .destroy = vmgenid_destroy,
    .fdt = vmgenid_fdt,
    .post_restore = vmgenid_post_restore,
};

int vmgenid_create(const struct vmgenid_config *config, struct device **out)
{
    struct vmgenid *v = calloc(1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    v->base.ops = &vmgenid_ops;
    v->config = *config;
    pthread_mutex_init(&v->lock, NULL);
    start_id(v);
    int rc = mem_add_mmio(config->mem, config->gpa, VMGENID_BYTES, &vmgenid_mem_ops, v);
    if (rc) {
        vmgenid_destroy(&v->base);
        return rc;
    }
    *out = &v->base;
    return 0;
}
