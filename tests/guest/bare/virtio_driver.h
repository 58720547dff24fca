/* A driver of virtio-mmio for bare-metal programs (virtio 1.2, 4.2.3): split rings, one request at a time in each
 * queue, waiting instead of interrupts. One device at once. */
#ifndef TUFF_TESTS_GUEST_BARE_VIRTIO_DRIVER_H
#define TUFF_TESTS_GUEST_BARE_VIRTIO_DRIVER_H

#include "rt.h"

enum {
    DRIVER_SLOTS = 8,
    DRIVER_QUEUES = 4,
    DRIVER_QUEUE_SIZE = 16,
    DRIVER_CONFIG = 0x100, /* the device's own registers */
};

/* A buffer of a request. */
struct driver_part {
    const volatile void *at;
    uint32_t len;
    bool device_writes;
};

/* Takes the device of `kind` (its number, chapter 5) from the slot, or from the first that has one where `slot` is
 * DRIVER_SLOTS. False: there is none. */
bool driver_find(unsigned slot, uint32_t kind);
/* Brings it up with these of features 0 to 31, and with VIRTIO_F_VERSION_1, and its first queues. */
bool driver_start(uint32_t features, unsigned queues);
/* A register. */
volatile uint32_t *driver_reg(uint64_t offset);
/* The status register has DRIVER_OK and asks for no reset. */
bool driver_is_up(void);

/* Offers a chain of parts, at most DRIVER_QUEUE_SIZE, without waiting. What was offered before in this queue must have
 * come back. */
void driver_offer(unsigned queue, const struct driver_part *parts, unsigned count);
/* Waits, for five seconds at most and as long as the device wants no reset, until it comes back. Returns how many bytes
 * the device says it wrote; -1: it did not come back. */
int64_t driver_wait(unsigned queue);
/* Both. */
int64_t driver_request(unsigned queue, const struct driver_part *parts, unsigned count);

#endif
