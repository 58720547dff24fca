/* The harts' timers and software interrupts; see aclint.h. Lines are driven under the lock, so that the last level a
 * hart sees is that of the last comparison whichever thread made it. */
#include "dev/aclint.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MTIMECMP_OFFSET = 0x4000, MTIME_OFFSET = 0xbff8, IRQ_MSI = 3, IRQ_MTI = 7 };

struct aclint {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t mtimecmp[ACLINT_HARTS_MAX];
    uint32_t msip[ACLINT_HARTS_MAX];

    struct aclint_config config; /* constant; its arrays are the copies below */
    struct irq_line msi[ACLINT_HARTS_MAX];
    struct irq_line mti[ACLINT_HARTS_MAX];
    uint32_t intc_phandles[ACLINT_HARTS_MAX];
};

static const struct device_field aclint_fields[] = {
    DEVICE_FIELD_ARRAY(struct aclint, mtimecmp, 1),
    DEVICE_FIELD_ARRAY(struct aclint, msip, 1),
    {0},
};

static uint64_t deadline_of(const struct aclint *a, uint32_t hart, uint64_t now)
{
    return now >= a->mtimecmp[hart] ? UINT64_MAX : a->mtimecmp[hart];
}

static uint64_t compare(struct aclint *a, uint32_t hart, uint64_t now)
{
    irq_set(&a->mti[hart], now >= a->mtimecmp[hart]);
    return deadline_of(a, hart, now);
}

/* Compares and tells the machine: after mtimecmp or mtime changed. */
static void compare_and_announce(struct aclint *a, uint32_t hart, uint64_t now)
{
    uint64_t deadline = compare(a, hart, now);

    if (a->config.deadline_changed)
        a->config.deadline_changed(a->config.opaque, hart, deadline);
}

static void compare_and_announce_all(struct aclint *a)
{
    uint64_t now = a->config.time_now(a->config.opaque);

    for (uint32_t hart = 0; hart < a->config.hart_count; hart++)
        compare_and_announce(a, hart, now);
}

/* `old` with the `size_bytes` at byte `offset & 7` replaced: RV32 programs write 64-bit registers in halves. */
static uint64_t merge(uint64_t old, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    if (size_bytes == 8)
        return value;
    unsigned shift = (offset & 4) * 8;
    return (old & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)(uint32_t)value << shift;
}

static uint64_t extract(uint64_t value, uint64_t offset, unsigned size_bytes)
{
    return size_bytes == 8 ? value : (uint32_t)(value >> (offset & 4) * 8);
}

static bool is_mtime(uint64_t offset)
{
    return offset >= MTIME_OFFSET && offset < MTIME_OFFSET + 8;
}

/* The hart of an mtimecmp offset; hart_count or more where there is none. */
static uint64_t mtimecmp_hart(uint64_t offset)
{
    return offset >= MTIMECMP_OFFSET && offset < MTIME_OFFSET ? (offset - MTIMECMP_OFFSET) / 8 : UINT64_MAX;
}

static int aclint_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct aclint *a = opaque;

    *value = 0;
    if (offset < MTIMECMP_OFFSET && size_bytes == 8)
        return -EFAULT; /* msip registers take 4-byte accesses only */
    pthread_mutex_lock(&a->lock);
    if (offset / 4 < a->config.hart_count)
        *value = a->msip[offset / 4];
    else if (mtimecmp_hart(offset) < a->config.hart_count)
        *value = extract(a->mtimecmp[mtimecmp_hart(offset)], offset, size_bytes);
    else if (is_mtime(offset))
        *value = extract(a->config.time_now(a->config.opaque), offset, size_bytes);
    else
        log_guest_error("aclint: read of reserved register 0x%" PRIx64, offset);
    pthread_mutex_unlock(&a->lock);
    return 0;
}

static void write_msip(struct aclint *a, uint64_t hart, uint64_t value)
{
    a->msip[hart] = value & 1;
    irq_set(&a->msi[hart], value & 1);
}

static void write_mtime(struct aclint *a, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    if (!a->config.time_set) {
        log_guest_error("aclint: this machine's time cannot be set");
        return;
    }
    a->config.time_set(a->config.opaque, merge(a->config.time_now(a->config.opaque), offset, size_bytes, value));
    compare_and_announce_all(a);
}

static int aclint_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct aclint *a = opaque;
    uint64_t hart = mtimecmp_hart(offset);

    if (offset < MTIMECMP_OFFSET && size_bytes == 8)
        return -EFAULT;
    pthread_mutex_lock(&a->lock);
    if (offset / 4 < a->config.hart_count) {
        write_msip(a, offset / 4, value);
    } else if (hart < a->config.hart_count) {
        a->mtimecmp[hart] = merge(a->mtimecmp[hart], offset, size_bytes, value);
        compare_and_announce(a, (uint32_t)hart, a->config.time_now(a->config.opaque));
    } else if (is_mtime(offset)) {
        write_mtime(a, offset, size_bytes, value);
    } else {
        log_guest_error("aclint: write of 0x%" PRIx64 " to reserved register 0x%" PRIx64, value, offset);
    }
    pthread_mutex_unlock(&a->lock);
    return 0;
}

static const struct mem_ops aclint_mem_ops = {
    .name = "aclint",
    .read = aclint_read,
    .write = aclint_write,
    .min_access_bytes = 4,
    .max_access_bytes = 8,
};

static void drive_all(struct aclint *a)
{
    for (uint32_t hart = 0; hart < a->config.hart_count; hart++)
        irq_set(&a->msi[hart], a->msip[hart]);
    compare_and_announce_all(a);
}

/* mtimecmp's reset value is left open by the specification; the largest keeps MTI low until it is written. */
static void aclint_reset(struct device *dev)
{
    struct aclint *a = (struct aclint *)dev;

    pthread_mutex_lock(&a->lock);
    for (uint32_t hart = 0; hart < ACLINT_HARTS_MAX; hart++) {
        a->mtimecmp[hart] = UINT64_MAX;
        a->msip[hart] = 0;
    }
    drive_all(a);
    pthread_mutex_unlock(&a->lock);
}

static void aclint_post_restore(struct device *dev)
{
    struct aclint *a = (struct aclint *)dev;

    pthread_mutex_lock(&a->lock);
    for (uint32_t hart = 0; hart < ACLINT_HARTS_MAX; hart++)
        a->msip[hart] &= 1;
    drive_all(a);
    pthread_mutex_unlock(&a->lock);
}

static void aclint_destroy(struct device *dev)
{
    struct aclint *a = (struct aclint *)dev;

    pthread_mutex_destroy(&a->lock);
    free(a);
}

static int aclint_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"sifive,clint0", "riscv,clint0", NULL};
    const struct aclint *a = (const struct aclint *)dev;

    if (a->config.hidden)
        return 0;
    int node = fdt_node_add(fdt, "clint", a->config.gpa, ACLINT_BYTES, compatible);
    if (node < 0)
        return node;
    for (uint32_t hart = 0; hart < a->config.hart_count; hart++) {
        int rc = fdt_node_append_irq(fdt, node, a->intc_phandles[hart], IRQ_MSI);
        if (!rc)
            rc = fdt_node_append_irq(fdt, node, a->intc_phandles[hart], IRQ_MTI);
        if (rc)
            return rc;
    }
    return 0;
}

static const struct device_ops aclint_ops = {
    .name = "aclint",
    .state_version = 1,
    .fields = aclint_fields,
    .reset = aclint_reset,
    .destroy = aclint_destroy,
    .fdt = aclint_fdt,
    .post_restore = aclint_post_restore,
};

uint64_t aclint_timer_check(struct device *dev, uint32_t hart, uint64_t now)
{
    struct aclint *a = (struct aclint *)dev;

    assert(dev->ops == &aclint_ops && hart < a->config.hart_count);
    pthread_mutex_lock(&a->lock);
    uint64_t deadline = compare(a, hart, now);
    pthread_mutex_unlock(&a->lock);
    return deadline;
}

int aclint_create(const struct aclint_config *config, struct device **out)
{
    if (config->hart_count == 0 || config->hart_count > ACLINT_HARTS_MAX)
        return -EINVAL;
    struct aclint *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->base.ops = &aclint_ops;
    a->config = *config;
    memcpy(a->msi, config->msi, config->hart_count * sizeof(*config->msi));
    memcpy(a->mti, config->mti, config->hart_count * sizeof(*config->mti));
    if (config->intc_phandles)
        memcpy(a->intc_phandles, config->intc_phandles, config->hart_count * sizeof(*config->intc_phandles));
    a->config.msi = a->msi;
    a->config.mti = a->mti;
    a->config.intc_phandles = a->intc_phandles;
    pthread_mutex_init(&a->lock, NULL);
    int rc = mem_add_mmio(config->mem, config->gpa, ACLINT_BYTES, &aclint_mem_ops, a);
    if (rc) {
        aclint_destroy(&a->base);
        return rc;
    }
    aclint_reset(&a->base);
    *out = &a->base;
    return 0;
}
