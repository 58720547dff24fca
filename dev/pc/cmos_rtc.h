/* The PC's clock and its 128 bytes of memory (Motorola MC146818), behind two I/O ports: index and data.
 *
 * The time is wall time, in BCD or binary and 12 or 24 hours as register B says, and can be set: the guest's clock then
 * runs beside the host's. Register A never says that an update is in progress. Alarms and periodic interrupts do not
 * come; the guest has timers enough.
 */
#ifndef TUFF_DEV_PC_CMOS_RTC_H
#define TUFF_DEV_PC_CMOS_RTC_H

#include "base/compiler.h"
#include "dev/device.h"
#include "mem/mem.h"

struct cmos_rtc_config {
    struct mem *ports; /* mem_create_ports(); borrowed; no access may come after the device's destruction */
    uint16_t port;     /* of two */
    uint64_t (*epoch_now_ns)(void *opaque); /* the host's time since 1970 */
    void *opaque;
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int cmos_rtc_create(const struct cmos_rtc_config *config, struct device **out);

#endif
