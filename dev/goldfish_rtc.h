/* The board's clock: Android's goldfish RTC, nanoseconds since 1970 with an alarm.
 *
 *   0x00 TIME_LOW         read: low half of the time, and latches the high half for TIME_HIGH; write: sets it
 *   0x04 TIME_HIGH        read: the latched half; write: sets it
 *   0x08 ALARM_LOW        write: low half of the alarm, and arms it
 *   0x0c ALARM_HIGH       write: high half, before ALARM_LOW
 *   0x10 IRQ_ENABLED      bit 0
 *   0x14 CLEAR_ALARM      write: disarms
 *   0x18 ALARM_STATUS     read: 1 while armed
 *   0x1c CLEAR_INTERRUPT  write: lowers the line
 *
 * The host's clock comes through a callback; setting the time changes only this device's offset to it. Callbacks and
 * the interrupt line are called with the device's lock held: they must not call the device. goldfish_rtc_create()
 * already calls them.
 */
#ifndef TUFF_DEV_GOLDFISH_RTC_H
#define TUFF_DEV_GOLDFISH_RTC_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "mem/mem.h"

enum { GOLDFISH_RTC_BYTES = 0x1000 };

struct goldfish_rtc_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    struct irq_line irq;
    uint32_t irq_number;                    /* at irq_parent, for the device tree */
    uint32_t irq_parent;                    /* phandle */
    uint64_t (*epoch_now_ns)(void *opaque); /* the host's time since 1970 */
    /* Call goldfish_rtc_alarm_check() once the host's time is `deadline_ns`; UINT64_MAX: no alarm. NULL: the machine
     * polls. */
    void (*alarm_changed)(void *opaque, uint64_t deadline_ns);
    void *opaque;
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int goldfish_rtc_create(const struct goldfish_rtc_config *config, struct device **out);

/* Any thread: fires the alarm if its time has come; if it has not (the host's clock was set back) announces it again.
 */
void goldfish_rtc_alarm_check(struct device *dev);

#endif
