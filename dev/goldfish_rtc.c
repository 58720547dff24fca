/* The goldfish real-time clock; see goldfish_rtc.h. All arithmetic on times wraps modulo 2^64, as the guest may set any
 * value. */
#include "dev/goldfish_rtc.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    REG_TIME_LOW = 0x00,
    REG_TIME_HIGH = 0x04,
    REG_ALARM_LOW = 0x08,
    REG_ALARM_HIGH = 0x0c,
    REG_IRQ_ENABLED = 0x10,
    REG_CLEAR_ALARM = 0x14,
    REG_ALARM_STATUS = 0x18,
    REG_CLEAR_INTERRUPT = 0x1c,
};

struct goldfish_rtc {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t offset_ns;   /* guest time - host time */
    uint64_t alarm_ns;    /* guest time */
    uint32_t time_high;   /* latched by a read of TIME_LOW */
    uint8_t alarm_armed, irq_enabled, irq_pending;

    struct goldfish_rtc_config config; /* constant */
};

static const struct device_field goldfish_rtc_fields[] = {
    DEVICE_FIELD(struct goldfish_rtc, offset_ns, 1),
    DEVICE_FIELD(struct goldfish_rtc, alarm_ns, 1),
    DEVICE_FIELD(struct goldfish_rtc, time_high, 1),
    DEVICE_FIELD(struct goldfish_rtc, alarm_armed, 1),
    DEVICE_FIELD(struct goldfish_rtc, irq_enabled, 1),
    DEVICE_FIELD(struct goldfish_rtc, irq_pending, 1),
    {0},
};

static uint64_t guest_now(const struct goldfish_rtc *rtc)
{
    return rtc->config.epoch_now_ns(rtc->config.opaque) + rtc->offset_ns;
}

static void update_irq(struct goldfish_rtc *rtc)
{
    irq_set(&rtc->config.irq, rtc->irq_pending && rtc->irq_enabled);
}

static void announce(struct goldfish_rtc *rtc, uint64_t deadline_ns)
{
    if (rtc->config.alarm_changed)
        rtc->config.alarm_changed(rtc->config.opaque, deadline_ns);
}

/* Fires the alarm, or tells the machine when to come back. After anything that moves the alarm or the time. */
static void check_alarm(struct goldfish_rtc *rtc)
{
    if (rtc->alarm_armed && rtc->alarm_ns <= guest_now(rtc)) {
        rtc->alarm_armed = 0;
        rtc->irq_pending = 1;
        update_irq(rtc);
    }
    announce(rtc, rtc->alarm_armed ? rtc->alarm_ns - rtc->offset_ns : UINT64_MAX);
}

static uint64_t with_low(uint64_t old, uint32_t low)
{
    return (old & UINT64_C(0xffffffff00000000)) | low;
}

static uint64_t with_high(uint64_t old, uint32_t high)
{
    return (uint64_t)high << 32 | (uint32_t)old;
}

static uint32_t read_time_low(struct goldfish_rtc *rtc)
{
    uint64_t now = guest_now(rtc);

    rtc->time_high = (uint32_t)(now >> 32);
    return (uint32_t)now;
}

static uint32_t read_register(struct goldfish_rtc *rtc, uint64_t offset)
{
    switch (offset) {
    case REG_TIME_LOW:
        return read_time_low(rtc);
    case REG_TIME_HIGH:
        return rtc->time_high;
    case REG_ALARM_LOW:
        return (uint32_t)rtc->alarm_ns;
    case REG_ALARM_HIGH:
        return (uint32_t)(rtc->alarm_ns >> 32);
    case REG_IRQ_ENABLED:
        return rtc->irq_enabled;
    case REG_ALARM_STATUS:
        return rtc->alarm_armed;
    }
    log_guest_error("goldfish-rtc: read of write-only or reserved register 0x%" PRIx64, offset);
    return 0;
}

static void write_register(struct goldfish_rtc *rtc, uint64_t offset, uint32_t value)
{
    uint64_t now = guest_now(rtc);

    switch (offset) {
    case REG_TIME_LOW:
        rtc->offset_ns += with_low(now, value) - now;
        check_alarm(rtc);
        return;
    case REG_TIME_HIGH:
        rtc->offset_ns += with_high(now, value) - now;
        check_alarm(rtc);
        return;
    case REG_ALARM_LOW:
        rtc->alarm_ns = with_low(rtc->alarm_ns, value);
        rtc->alarm_armed = 1;
        check_alarm(rtc);
        return;
    case REG_ALARM_HIGH: /* takes effect with ALARM_LOW */
        rtc->alarm_ns = with_high(rtc->alarm_ns, value);
        return;
    case REG_IRQ_ENABLED:
        rtc->irq_enabled = value & 1;
        update_irq(rtc);
        return;
    case REG_CLEAR_ALARM:
        rtc->alarm_armed = 0;
        check_alarm(rtc);
        return;
    case REG_CLEAR_INTERRUPT:
        rtc->irq_pending = 0;
        update_irq(rtc);
        return;
    }
    log_guest_error("goldfish-rtc: write of 0x%" PRIx32 " to read-only or reserved register 0x%" PRIx64, value, offset);
}

static int goldfish_rtc_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct goldfish_rtc *rtc = opaque;

    pthread_mutex_lock(&rtc->lock);
    *value = read_register(rtc, offset);
    pthread_mutex_unlock(&rtc->lock);
    return 0;
}

static int goldfish_rtc_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct goldfish_rtc *rtc = opaque;

    pthread_mutex_lock(&rtc->lock);
    write_register(rtc, offset, (uint32_t)value);
    pthread_mutex_unlock(&rtc->lock);
    return 0;
}

static const struct mem_ops goldfish_rtc_mem_ops = {
    .name = "goldfish-rtc",
    .read = goldfish_rtc_read,
    .write = goldfish_rtc_write,
    .min_access_bytes = 4,
    .max_access_bytes = 4,
};

/* The time the guest set survives: a clock with a battery is not reset. */
static void goldfish_rtc_reset(struct device *dev)
{
    struct goldfish_rtc *rtc = (struct goldfish_rtc *)dev;

    pthread_mutex_lock(&rtc->lock);
    rtc->alarm_ns = 0;
    rtc->time_high = 0;
    rtc->alarm_armed = rtc->irq_enabled = rtc->irq_pending = 0;
    update_irq(rtc);
    announce(rtc, UINT64_MAX);
    pthread_mutex_unlock(&rtc->lock);
}

static void goldfish_rtc_post_restore(struct device *dev)
{
    struct goldfish_rtc *rtc = (struct goldfish_rtc *)dev;

    pthread_mutex_lock(&rtc->lock);
    rtc->alarm_armed &= 1;
    rtc->irq_enabled &= 1;
    rtc->irq_pending &= 1;
    update_irq(rtc);
    check_alarm(rtc);
    pthread_mutex_unlock(&rtc->lock);
}

static void goldfish_rtc_destroy(struct device *dev)
{
    struct goldfish_rtc *rtc = (struct goldfish_rtc *)dev;

    pthread_mutex_destroy(&rtc->lock);
    free(rtc);
}

static int goldfish_rtc_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"google,goldfish-rtc", NULL};
    const struct goldfish_rtc *rtc = (const struct goldfish_rtc *)dev;
    int node = fdt_node_add(fdt, "rtc", rtc->config.gpa, GOLDFISH_RTC_BYTES, compatible);

    return node < 0 ? node : fdt_node_set_irq(fdt, node, rtc->config.irq_parent, rtc->config.irq_number);
}

static const struct device_ops goldfish_rtc_ops = {
    .name = "goldfish-rtc",
    .state_version = 1,
    .fields = goldfish_rtc_fields,
    .reset = goldfish_rtc_reset,
    .destroy = goldfish_rtc_destroy,
    .fdt = goldfish_rtc_fdt,
    .post_restore = goldfish_rtc_post_restore,
};

void goldfish_rtc_alarm_check(struct device *dev)
{
    struct goldfish_rtc *rtc = (struct goldfish_rtc *)dev;

    assert(dev->ops == &goldfish_rtc_ops);
    pthread_mutex_lock(&rtc->lock);
    check_alarm(rtc);
    pthread_mutex_unlock(&rtc->lock);
}

int goldfish_rtc_create(const struct goldfish_rtc_config *config, struct device **out)
{
    struct goldfish_rtc *rtc = calloc(1, sizeof(*rtc));

    if (!rtc)
        return -ENOMEM;
    rtc->base.ops = &goldfish_rtc_ops;
    rtc->config = *config;
    pthread_mutex_init(&rtc->lock, NULL);
    int rc = mem_add_mmio(config->mem, config->gpa, GOLDFISH_RTC_BYTES, &goldfish_rtc_mem_ops, rtc);
    if (rc) {
        goldfish_rtc_destroy(&rtc->base);
        return rc;
    }
    goldfish_rtc_reset(&rtc->base);
    *out = &rtc->base;
    return 0;
}
