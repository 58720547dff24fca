/* A virtio device (virtio 1.2) apart from how the guest reaches it (virtio_mmio.h, virtio_pci.h) and from what is on
 * the host's side of it.
 *
 * Threads: registers are accessed on vCPU threads, queues are worked on the device loop's thread. `lock` guards
 * everything here and in the device; both take it. A kick only schedules work: a vCPU never waits for a device, except
 * in a reset, which returns when no host call touches guest memory any more. Resets and status changes of one device
 * come one after the other: `control` is held during them, also while a reset waits without the device's lock.
 *
 * Lock order: control, the device's lock, then the transport's, then the interrupt controller's. Host sides are called
 * with the device's lock held or without, as each says, and never call back from within such a call.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_H
#define TUFF_DEV_VIRTIO_VIRTIO_H

#include "base/compiler.h"
#include "base/loop.h"
#include "dev/device.h"
#include "dev/virtio/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mem;

enum {
    VIRTIO_QUEUES_MAX = 32,
    VIRTIO_TURN_CHAINS = 64, /* chains handled at most before other devices have their turn */
};

/* Device status field (2.1). */
enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,
};

/* Feature bits of every device (6); virtio.c offers those it implements, devices add their own below bit 24, and
 * IN_ORDER where they give chains of a queue back in the order they took them (2.7.9). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)
#define VIRTIO_F_RING_PACKED (UINT64_C(1) << 34)
#define VIRTIO_F_IN_ORDER (UINT64_C(1) << 35)
#define VIRTIO_F_RING_RESET (UINT64_C(1) << 40)

struct virtio_device;

/* What a kind of device does. Calls are made with the device's lock held, except where it says otherwise. */
struct virtio_ops {
    const char *name;   /* "virtio-blk" */
    uint16_t device_id; /* section 5 */
    uint32_t pci_class; /* base class, subclass, interface: 0x010000 */
    uint32_t state_version;
    /* Saved after the common part; offsets into the device's struct. NULL: none. State is saved while nothing runs and
     * no host call is under way; chains that a device holds then are available again after a load. */
    const struct device_field *fields;

    /* Device configuration: any offset and size of 1, 2, 4 or 8 bytes inside `config_bytes`, little-endian. Either may
     * be NULL: reads as zero, ignored. vCPU threads. */
    void (*config_read)(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len);
    void (*config_write)(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len);
    /* May the driver's choice of features stand? NULL: yes. vCPU threads. */
    bool (*accept_features)(struct virtio_device *dev, uint64_t features);
    /* DRIVER_OK was set (or a state in which it is was loaded): queues that the driver made ready may be used from now
     * on. vCPU threads. May be NULL. */
    void (*start)(struct virtio_device *dev);
    /* Works through what is available in a queue, at most VIRTIO_TURN_CHAINS chains. Returns true when something was
     * left: it is called again after others had their turn. The device loop's thread; only between start and reset,
     * for queues that are ready. Kicks are off when it is called; virtio_pop() turns them on when it finds nothing. */
    bool (*process)(struct virtio_device *dev, unsigned queue);
    /* Without the lock, on a vCPU thread (or whoever resets): stops host calls that use guest buffers and returns when
     * none is under way; completions may still take the lock and push. `queue` UINT_MAX: of all. NULL: there are never
     * any. process() is not called from before this until the device is started again. */
    void (*drain)(struct virtio_device *dev, unsigned queue);
    /* Without the lock, while process() is not called: returns when no host call uses guest memory. Chains that the
     * device holds for later stay held. NULL: there are never any calls that outlive process(). */
    void (*settle)(struct virtio_device *dev);
    /* Back to the state after creation; queues are reset afterwards. May be NULL. */
    void (*reset)(struct virtio_device *dev);
    /* After saved fields were loaded (hostile values). May be NULL. */
    void (*post_restore)(struct virtio_device *dev);
    /* As struct device_ops has them, without the lock. */
    const char *columns_name;
    int (*columns_save)(struct virtio_device *dev, struct device_columns *out);
    void (*columns_done)(struct virtio_device *dev);
    int (*columns_load)(struct virtio_device *dev, const struct device_columns *in);
    /* Frees the device. Without the lock; drained before. */
    void (*destroy)(struct virtio_device *dev);
    /* Counters for --stats: calls fn once a counter. May be NULL. */
    void (*stats)(struct virtio_device *dev, void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque);
};

/* What a transport does for a device. Called with the device's lock held, any thread; must not block. */
struct virtio_transport_ops {
    /* Used buffers in `queue`. */
    void (*interrupt_queue)(void *opaque, unsigned queue);
    /* The device's configuration changed, or it needs a reset. */
    void (*interrupt_config)(void *opaque);
};

/* First member of each device's struct. `base` is what resets, saves and destroys it, for the machine's list; the
 * transport is a device of its own, created after it. */
struct virtio_device {
    struct device base;
    const struct virtio_ops *ops;
    struct mem *mem;
    struct loop *loop;

    pthread_mutex_t control;
    pthread_mutex_t lock;
    /* Saved. */
    uint64_t driver_features; /* as written so far; with FEATURES_OK: negotiated */
    uint8_t status;
    uint32_t config_generation;
    struct virtq queues[VIRTIO_QUEUES_MAX];
    /* Not saved: the configuration. */
    uint64_t offered;
    uint16_t queue_count;
    uint32_t config_bytes;
    const struct virtio_transport_ops *transport;
    void *transport_opaque;
    bool running;                     /* process() may be called */
    bool settled;                     /* was running, before virtio_settle() */
    uint32_t paused;                  /* queues that are being reset, a bit each */
    struct virtio_state_table *table; /* what `base` saves */

    _Atomic uint32_t kicked; /* a bit a queue that has work; not 0: `work` is scheduled or about to be */
    struct loop_work work;
    _Atomic uint64_t kicks; /* statistics, as the next two, which the lock guards */
    uint64_t interrupts, chains;
};

/* For devices. */

/* Initialises the common part of a zeroed struct. `features`: the device's own bits; those of the rings are added. Then
 * each queue's size_max is set by the caller, before the transport is attached. virtio_fini() is for an ops->destroy()
 * and for what fails between: it takes the work off the loop. Returns 0 or -ENOMEM. */
int virtio_init(struct virtio_device *dev, const struct virtio_ops *ops, struct mem *mem, struct loop *loop,
                uint64_t features, uint16_t queue_count, uint32_t config_bytes) TUFF_MUST_CHECK;
void virtio_fini(struct virtio_device *dev);

static inline bool virtio_has(const struct virtio_device *dev, uint64_t feature)
{
    return (dev->driver_features & feature) != 0;
}

/* With the lock held: may chains of the queue be taken outside of process() now? */
bool virtio_queue_runs(const struct virtio_device *dev, unsigned queue);
/* With the lock held: pops from a queue; a broken ring fails the device (virtio_fail()) and reads as empty. Where there
 * is nothing, the driver is asked to kick when there is. */
bool virtio_pop(struct virtio_device *dev, unsigned queue, struct virtq_chain *chain) TUFF_MUST_CHECK;
/* With the lock held: gives a chain back, and interrupts if the driver wants it. To give back several, use virtq_push()
 * and one virtio_interrupt() after the last. */
void virtio_push(struct virtio_device *dev, unsigned queue, const struct virtq_chain *chain, uint32_t written);
void virtio_interrupt(struct virtio_device *dev, unsigned queue);
/* With the lock held: the driver did what no driver may do. Sets NEEDS_RESET, says so to the guest and, rate-limited,
 * in the log; nothing is processed until a reset. */
void virtio_fail(struct virtio_device *dev, const char *why);
/* With the lock held: counts config_generation up and interrupts. */
void virtio_config_changed(struct virtio_device *dev);
/* Any thread, with or without the lock: has process() called for the queue on the loop's thread (also when the host's
 * side has something for the guest). Does not block. */
void virtio_schedule(struct virtio_device *dev, unsigned queue);

/* For who looks at the device's state while no vCPU runs. When virtio_settle() returns, no queue is worked and no host
 * call uses guest memory, until the same thread calls virtio_unsettle(), before which no vCPU may run. */
void virtio_settle(struct virtio_device *dev);
void virtio_unsettle(struct virtio_device *dev);

/* For transports. The lock is taken inside. */

void virtio_attach(struct virtio_device *dev, const struct virtio_transport_ops *transport, void *opaque);
/* A driver wrote a queue's number to the notify register; numbers that mean nothing are ignored. Takes no lock. */
void virtio_kick(struct virtio_device *dev, uint32_t queue);
uint8_t virtio_status(struct virtio_device *dev);
/* Writes the status field: 0 resets, synchronously. Refuses FEATURES_OK for features that cannot be. */
void virtio_set_status(struct virtio_device *dev, uint8_t status);
void virtio_reset(struct virtio_device *dev);
/* 32 bits of the feature words; `select` above 1 reads as zero. The driver's are ignored after FEATURES_OK. */
uint32_t virtio_offered_features(struct virtio_device *dev, uint32_t select);
void virtio_set_driver_features(struct virtio_device *dev, uint32_t select, uint32_t value);
/* Queue registers. What is written to a queue that is ready (or to one that does not exist) is ignored. */
bool virtio_queue_get(struct virtio_device *dev, uint32_t queue, struct virtq *copy) TUFF_MUST_CHECK;
void virtio_queue_set_size(struct virtio_device *dev, uint32_t queue, uint16_t size);
enum virtio_queue_part { VIRTIO_QUEUE_DESC, VIRTIO_QUEUE_DRIVER, VIRTIO_QUEUE_DEVICE };
/* One half of an address: `high` chooses bits 63..32. */
void virtio_queue_set_address(struct virtio_device *dev, uint32_t queue, enum virtio_queue_part part, bool high,
                              uint32_t value);
void virtio_queue_set_ready(struct virtio_device *dev, uint32_t queue, bool ready);
void virtio_queue_reset(struct virtio_device *dev, uint32_t queue); /* VIRTIO_F_RING_RESET; synchronous */
/* Device configuration: any offset and length; outside it reads as zero and is ignored. */
void virtio_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len);
void virtio_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len);

#endif
