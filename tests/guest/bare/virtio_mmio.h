/* virtio-mmio's registers (virtio 1.2, 4.2.2) and the bits that bare-metal programs which drive devices have in common.
 */
#ifndef TUFF_TESTS_GUEST_BARE_VIRTIO_MMIO_H
#define TUFF_TESTS_GUEST_BARE_VIRTIO_MMIO_H

enum {
    MAGIC = 0x00,
    VERSION = 0x04,
    DEVICE = 0x08,
    FEATURES = 0x10,
    FEATURES_SEL = 0x14,
    DRIVER_FEATURES = 0x20,
    DRIVER_SEL = 0x24,
    QUEUE_SEL = 0x30,
    QUEUE_MAX = 0x34,
    QUEUE_NUM = 0x38,
    QUEUE_READY = 0x44,
    NOTIFY = 0x50,
    ISR = 0x60,
    ACK = 0x64,
    STATUS = 0x70,
    DESC = 0x80,
    DRIVER = 0x90,
    USED = 0xa0,
};

/* The status register (2.1). */
enum {
    ACKNOWLEDGED = 3, /* and a driver is known */
    FEATURES_OK = 8,
    DRIVER_OK = 15, /* with all before it */
    NEEDS_RESET = 64,
};

/* Flags of descriptors (2.7.5). */
enum {
    NEXT = 1,
    WRITE = 2,
    INDIRECT = 4,
};

#endif
