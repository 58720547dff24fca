/* The PC's clock; see cmos_rtc.h. `lock` guards everything; it is a leaf. */
#include "dev/pc/cmos_rtc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    REG_SECONDS = 0x00,
    REG_MINUTES = 0x02,
    REG_HOURS = 0x04,
    REG_WEEKDAY = 0x06,
    REG_DAY = 0x07,
    REG_MONTH = 0x08,
    REG_YEAR = 0x09,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,
    REG_CENTURY = 0x32,

    A_DEFAULT = 0x26, /* 32,768 Hz, periodic rate 1,024 Hz */
    A_UPDATING = 0x80,
    B_24_HOURS = 0x02,
    B_BINARY = 0x04,
    B_HOLD = 0x80, /* the guest sets the time */
    D_VALID = 0x80,
    HOURS_PM = 0x80,

    MEMORY_BYTES = 128,
};

struct cmos_rtc {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint8_t index;
    uint8_t memory[MEMORY_BYTES]; /* the clock's registers as they were set last */
    int64_t offset_s;             /* guest's time less the host's */

    struct cmos_rtc_config config; /* constant */
};

static const struct device_field fields[] = {
    DEVICE_FIELD(struct cmos_rtc, index, 1),
    DEVICE_FIELD_ARRAY(struct cmos_rtc, memory, 1),
    DEVICE_FIELD(struct cmos_rtc, offset_s, 1),
    {0},
};

static bool is_time(uint8_t index)
{
    return index == REG_SECONDS || index == REG_MINUTES || index == REG_HOURS ||
           (index >= REG_WEEKDAY && index <= REG_YEAR) || index == REG_CENTURY;
}

static uint8_t encode(const struct cmos_rtc *rtc, int value)
{
    return (uint8_t)(rtc->memory[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static int decode(const struct cmos_rtc *rtc, uint8_t value)
{
    return rtc->memory[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0xf);
}

static int64_t host_seconds(const struct cmos_rtc *rtc)
{
    return (int64_t)(rtc->config.epoch_now_ns(rtc->config.opaque) / 1000000000);
}

static uint8_t encode_hours(const struct cmos_rtc *rtc, int hours)
{
    if (rtc->memory[REG_B] & B_24_HOURS)
        return encode(rtc, hours);
    return encode(rtc, hours % 12 ? hours % 12 : 12) | (hours >= 12 ? HOURS_PM : 0);
}

static int decode_hours(const struct cmos_rtc *rtc, uint8_t value)
{
    if (rtc->memory[REG_B] & B_24_HOURS)
        return decode(rtc, value);
    return decode(rtc, value & (uint8_t)~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

/* Puts the present time into the registers. */
static void fetch_time(struct cmos_rtc *rtc)
{
    time_t now = (time_t)(host_seconds(rtc) + rtc->offset_s);
    struct tm tm;

    if (!gmtime_r(&now, &tm))
        return;
    rtc->memory[REG_SECONDS] = encode(rtc, tm.tm_sec);
    rtc->memory[REG_MINUTES] = encode(rtc, tm.tm_min);
    rtc->memory[REG_HOURS] = encode_hours(rtc, tm.tm_hour);
    rtc->memory[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
    rtc->memory[REG_DAY] = encode(rtc, tm.tm_mday);
    rtc->memory[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
    rtc->memory[REG_YEAR] = encode(rtc, tm.tm_year % 100);
    rtc->memory[REG_CENTURY] = encode(rtc, 19 + tm.tm_year / 100);
}

/* Makes what stands in the registers the time from now on; days and months that do not exist run over. */
static void take_time(struct cmos_rtc *rtc)
{
    struct tm tm = {
        .tm_sec = decode(rtc, rtc->memory[REG_SECONDS]),
        .tm_min = decode(rtc, rtc->memory[REG_MINUTES]),
        .tm_hour = decode_hours(rtc, rtc->memory[REG_HOURS]),
        .tm_mday = decode(rtc, rtc->memory[REG_DAY]),
        .tm_mon = decode(rtc, rtc->memory[REG_MONTH]) - 1,
        .tm_year = (decode(rtc, rtc->memory[REG_CENTURY]) - 19) * 100 + decode(rtc, rtc->memory[REG_YEAR]),
    };

    rtc->offset_s = (int64_t)timegm(&tm) - host_seconds(rtc);
}

static uint8_t read_data(struct cmos_rtc *rtc)
{
    uint8_t index = rtc->index;

    if (is_time(index) && !(rtc->memory[REG_B] & B_HOLD))
        fetch_time(rtc);
    return index == REG_C ? 0 : index == REG_D ? D_VALID : rtc->memory[index];
}

static void write_data(struct cmos_rtc *rtc, uint8_t value)
{
    uint8_t index = rtc->index;

    if (index == REG_C || index == REG_D)
        return;
    if (index == REG_A)
        value &= (uint8_t)~A_UPDATING;
    bool held = rtc->memory[REG_B] & B_HOLD;
    /* The other fields are those of this moment. */
    if (!held && (is_time(index) || (index == REG_B && (value & B_HOLD))))
        fetch_time(rtc);
    rtc->memory[index] = value;
    if ((is_time(index) && !held) || (index == REG_B && held && !(value & B_HOLD)))
        take_time(rtc);
}

static int cmos_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct cmos_rtc *rtc = opaque;

    (void)size_bytes;
    pthread_mutex_lock(&rtc->lock);
    *value = offset ? read_data(rtc) : 0xff; /* the index cannot be read */
    pthread_mutex_unlock(&rtc->lock);
    return 0;
}

static int cmos_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct cmos_rtc *rtc = opaque;

    (void)size_bytes;
    pthread_mutex_lock(&rtc->lock);
    if (offset)
        write_data(rtc, (uint8_t)value);
    else
        rtc->index = value & (MEMORY_BYTES - 1); /* bit 7 keeps NMIs away, of which there are none */
    pthread_mutex_unlock(&rtc->lock);
    return 0;
}

static const struct mem_ops cmos_mem_ops = {
    .name = "cmos-rtc", .read = cmos_read, .write = cmos_write, .min_access_bytes = 1, .max_access_bytes = 1};

static void cmos_reset(struct device *dev)
{
    struct cmos_rtc *rtc = (struct cmos_rtc *)dev;

    pthread_mutex_lock(&rtc->lock);
    rtc->index = 0;
    rtc->offset_s = 0;
    memset(rtc->memory, 0, sizeof(rtc->memory));
    rtc->memory[REG_A] = A_DEFAULT;
    rtc->memory[REG_B] = B_24_HOURS;
    pthread_mutex_unlock(&rtc->lock);
}

static void cmos_post_restore(struct device *dev)
{
    struct cmos_rtc *rtc = (struct cmos_rtc *)dev;

    rtc->index &= MEMORY_BYTES - 1;
    rtc->offset_s %= INT64_C(1) << 40;
}

static void cmos_destroy(struct device *dev)
{
    struct cmos_rtc *rtc = (struct cmos_rtc *)dev;

    pthread_mutex_destroy(&rtc->lock);
    free(rtc);
}

static const struct device_ops cmos_ops = {
    .name = "cmos-rtc",
    .state_version = 1,
    .fields = fields,
    .reset = cmos_reset,
    .destroy = cmos_destroy,
    .post_restore = cmos_post_restore,
};

int cmos_rtc_create(const struct cmos_rtc_config *config, struct device **out)
{
    struct cmos_rtc *rtc = calloc(1, sizeof(*rtc));

    if (!rtc)
        return -ENOMEM;
    rtc->base.ops = &cmos_ops;
    rtc->config = *config;
    pthread_mutex_init(&rtc->lock, NULL);
    int rc = mem_add_mmio(config->ports, config->port, 2, &cmos_mem_ops, rtc);
    if (rc) {
        cmos_destroy(&rtc->base);
        return rc;
    }
    cmos_reset(&rtc->base);
    *out = &rtc->base;
    return 0;
}
