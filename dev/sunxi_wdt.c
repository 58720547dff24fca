/* The Allwinner D1's watchdog; see sunxi_wdt.h.
 *
 * It counts up from `started_ns` and ends when the interval is reached. So a shorter interval may end at once, and a
 * driver that writes the same mode again and again (Linux's restart handler does) does not put the end off.
 */
#include "dev/sunxi_wdt.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    REG_IRQ_EN = 0x00,
    REG_IRQ_STATUS = 0x04,
    REG_SOFT_RESET = 0x08,
    REG_CTRL = 0x10,
    REG_CONFIG = 0x14,
    REG_MODE = 0x18,

    KEY = 0x16aa,
    CTRL_RESTART = 0xa57 << 1 | 1,
    CONFIG_ACTION = 3,
    CONFIG_BITS = 0x103,
    ACTION_RESET = 1,
    ACTION_IRQ = 2,
    MODE_ENABLE = 1,
    MODE_BITS = 0xf1,
    MODE_INTERVAL_SHIFT = 4,
};

struct sunxi_wdt {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t started_ns;
    uint32_t config_reg, mode;
    uint8_t irq_enabled, irq_pending;

    struct sunxi_wdt_config config; /* constant */
};

static const struct device_field sunxi_wdt_fields[] = {
    DEVICE_FIELD(struct sunxi_wdt, started_ns, 1),  DEVICE_FIELD(struct sunxi_wdt, config_reg, 1),
    DEVICE_FIELD(struct sunxi_wdt, mode, 1),        DEVICE_FIELD(struct sunxi_wdt, irq_enabled, 1),
    DEVICE_FIELD(struct sunxi_wdt, irq_pending, 1), {0},
};

static uint64_t interval_ns(const struct sunxi_wdt *wdt)
{
    /* In half seconds; values beyond the last are reserved and taken for it. */
    static const uint8_t halves[16] = {1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 32, 32, 32, 32};

    return halves[wdt->mode >> MODE_INTERVAL_SHIFT & 15] * UINT64_C(500000000);
}

static void update_irq(struct sunxi_wdt *wdt)
{
    irq_set(&wdt->config.irq, wdt->irq_enabled && wdt->irq_pending);
}

static void announce(struct sunxi_wdt *wdt, uint64_t deadline_ns)
{
    if (wdt->config.deadline_changed)
        wdt->config.deadline_changed(wdt->config.opaque, deadline_ns);
}

/* Acts if it is time, and says when to look again. After anything that moves the end. */
static void check(struct sunxi_wdt *wdt)
{
    if (!(wdt->mode & MODE_ENABLE)) {
        announce(wdt, UINT64_MAX);
        return;
    }
    uint64_t now = wdt->config.now_ns(wdt->config.opaque), elapsed = now - wdt->started_ns;
    if (elapsed >= interval_ns(wdt)) {
        wdt->started_ns = now;
        if ((wdt->config_reg & CONFIG_ACTION) == ACTION_RESET) {
            wdt->config.reset(wdt->config.opaque);
        } else if ((wdt->config_reg & CONFIG_ACTION) == ACTION_IRQ) {
            wdt->irq_pending = 1;
            update_irq(wdt);
        }
    }
    announce(wdt, wdt->started_ns + interval_ns(wdt));
}

static void restart(struct sunxi_wdt *wdt)
{
    wdt->started_ns = wdt->config.now_ns(wdt->config.opaque);
    check(wdt);
}

static uint32_t read_register(struct sunxi_wdt *wdt, uint64_t offset)
{
    switch (offset) {
    case REG_IRQ_EN:
        return wdt->irq_enabled;
    case REG_IRQ_STATUS:
        return wdt->irq_pending;
    case REG_SOFT_RESET:
    case REG_CTRL:
        return 0;
    case REG_CONFIG:
        return wdt->config_reg;
    case REG_MODE:
        return wdt->mode;
    }
    log_guest_error("sunxi-wdt: read of reserved register 0x%" PRIx64, offset);
    return 0;
}

static void write_mode(struct sunxi_wdt *wdt, uint32_t value)
{
    bool begins = (value & MODE_ENABLE) && !(wdt->mode & MODE_ENABLE);

    wdt->mode = value & MODE_BITS;
    if (begins)
        restart(wdt);
    else
        check(wdt);
}

static void write_keyed(struct sunxi_wdt *wdt, uint64_t offset, uint32_t value)
{
    if (value >> 16 != KEY) {
        log_guest_error("sunxi-wdt: write of 0x%" PRIx32 " to register 0x%" PRIx64 " without its key", value, offset);
        return;
    }
    if (offset == REG_MODE)
        write_mode(wdt, value);
    else if (offset == REG_CONFIG)
        wdt->config_reg = value & CONFIG_BITS;
    else if (value & 1)
        wdt->config.reset(wdt->config.opaque);
}

static void write_register(struct sunxi_wdt *wdt, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case REG_IRQ_EN:
        wdt->irq_enabled = value & 1;
        update_irq(wdt);
        return;
    case REG_IRQ_STATUS:
        wdt->irq_pending &= (uint8_t)~(value & 1);
        update_irq(wdt);
        return;
    case REG_CTRL:
        if ((value & 0x1fff) == CTRL_RESTART && (wdt->mode & MODE_ENABLE))
            restart(wdt);
        return;
    case REG_SOFT_RESET:
    case REG_CONFIG:
    case REG_MODE:
        write_keyed(wdt, offset, value);
        return;
    }
    log_guest_error("sunxi-wdt: write of 0x%" PRIx32 " to reserved register 0x%" PRIx64, value, offset);
}

static int sunxi_wdt_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct sunxi_wdt *wdt = opaque;

    pthread_mutex_lock(&wdt->lock);
    *value = read_register(wdt, offset);
    pthread_mutex_unlock(&wdt->lock);
    return 0;
}

static int sunxi_wdt_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct sunxi_wdt *wdt = opaque;

    pthread_mutex_lock(&wdt->lock);
    write_register(wdt, offset, (uint32_t)value);
    pthread_mutex_unlock(&wdt->lock);
    return 0;
}

static const struct mem_ops sunxi_wdt_mem_ops = {
    .name = "sunxi-wdt",
    .read = sunxi_wdt_read,
    .write = sunxi_wdt_write,
    .min_access_bytes = 4,
    .max_access_bytes = 4,
};

static void sunxi_wdt_reset(struct device *dev)
{
    struct sunxi_wdt *wdt = (struct sunxi_wdt *)dev;

    pthread_mutex_lock(&wdt->lock);
    wdt->config_reg = ACTION_RESET;
    wdt->mode = 0;
    wdt->started_ns = 0;
    wdt->irq_enabled = wdt->irq_pending = 0;
    update_irq(wdt);
    announce(wdt, UINT64_MAX);
    pthread_mutex_unlock(&wdt->lock);
}

/* A start in the future would put the end off for ever. */
static void sunxi_wdt_post_restore(struct device *dev)
{
    struct sunxi_wdt *wdt = (struct sunxi_wdt *)dev;

    pthread_mutex_lock(&wdt->lock);
    wdt->config_reg &= CONFIG_BITS;
    wdt->mode &= MODE_BITS;
    wdt->irq_enabled &= 1;
    wdt->irq_pending &= 1;
    uint64_t now = wdt->config.now_ns(wdt->config.opaque);
    if (wdt->started_ns > now)
        wdt->started_ns = now;
    update_irq(wdt);
    check(wdt);
    pthread_mutex_unlock(&wdt->lock);
}

static void sunxi_wdt_destroy(struct device *dev)
{
    struct sunxi_wdt *wdt = (struct sunxi_wdt *)dev;

    pthread_mutex_destroy(&wdt->lock);
    free(wdt);
}

static int sunxi_wdt_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"allwinner,sun20i-d1-wdt", NULL};
    const struct sunxi_wdt *wdt = (const struct sunxi_wdt *)dev;
    int node = fdt_node_add(fdt, "watchdog", wdt->config.gpa, SUNXI_WDT_BYTES, compatible);

    return node < 0 ? node : fdt_node_set_irq(fdt, node, wdt->config.irq_parent, wdt->config.irq_number);
}

static const struct device_ops sunxi_wdt_ops = {
    .name = "sunxi-wdt",
    .state_version = 1,
    .fields = sunxi_wdt_fields,
    .reset = sunxi_wdt_reset,
    .destroy = sunxi_wdt_destroy,
    .fdt = sunxi_wdt_fdt,
    .post_restore = sunxi_wdt_post_restore,
};

void sunxi_wdt_check(struct device *dev)
{
    struct sunxi_wdt *wdt = (struct sunxi_wdt *)dev;

    assert(dev->ops == &sunxi_wdt_ops);
    pthread_mutex_lock(&wdt->lock);
    check(wdt);
    pthread_mutex_unlock(&wdt->lock);
}

int sunxi_wdt_create(const struct sunxi_wdt_config *config, struct device **out)
{
    struct sunxi_wdt *wdt = calloc(1, sizeof(*wdt));

    if (!wdt)
        return -ENOMEM;
    wdt->base.ops = &sunxi_wdt_ops;
    wdt->config = *config;
    pthread_mutex_init(&wdt->lock, NULL);
    int rc = mem_add_mmio(config->mem, config->gpa, SUNXI_WDT_BYTES, &sunxi_wdt_mem_ops, wdt);
    if (rc) {
        sunxi_wdt_destroy(&wdt->base);
        return rc;
    }
    sunxi_wdt_reset(&wdt->base);
    *out = &wdt->base;
    return 0;
}
