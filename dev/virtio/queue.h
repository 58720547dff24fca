/* Virtqueues: the only code that reads and writes guest rings (virtio 1.2, 2.6 to 2.8), split and packed, with indirect
 * descriptors and event suppression.
 *
 * Every index, length, flag and address in a ring is the guest's word: what breaks the specification makes the queue
 * `broken`, after which it hands out nothing until it is reset. A queue is used under its device's lock.
 */
#ifndef TUFF_DEV_VIRTIO_QUEUE_H
#define TUFF_DEV_VIRTIO_QUEUE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct mem;

enum {
    VIRTQ_SIZE_MAX = 1024,       /* entries of a ring */
    VIRTQ_CHAIN_SEGMENTS = 1024, /* buffers of one chain, indirect ones included; more breaks the queue */
};

/* What a driver set up and where the device stands in it. The first part is saved. */
struct virtq {
    uint16_t size_max; /* what the device offers; 0: there is no such queue */
    uint16_t size;     /* what the driver chose: split: a power of two */
    uint8_t ready;     /* saved flags are no bools: a file may have anything in them */
    uint8_t broken;
    uint64_t desc_gpa;              /* descriptor table or ring */
    uint64_t driver_gpa;            /* available ring, or the driver's event suppression */
    uint64_t device_gpa;            /* used ring, or the device's event suppression */
    uint16_t next_avail, next_used; /* positions; packed: bit 15 is the wrap counter */
    /* The used position when virtq_should_interrupt() was called last; not valid when the ring went round since. */
    uint16_t signalled_used;
    uint8_t signalled_valid;
    bool packed, indirect, event_idx; /* negotiated, copied in when the queue becomes ready */
    struct mem *mem;
    /* Host addresses of the three parts while `ready`: they lie in RAM as a whole, or the queue breaks at once. */
    uint8_t *desc, *driver, *device;
};

/* One buffer the driver made available: first what the device reads, then what it writes. The iovecs point into guest
 * RAM, which the guest goes on changing: read a field once, then check it. Owned by the caller of virtq_pop(), which
 * may keep it while a host call is under way; it is given back by virtq_push() exactly once, unless the device is
 * reset. */
struct virtq_chain {
    uint16_t id;          /* head descriptor or buffer id */
    uint16_t descriptors; /* ring slots it takes (packed) */
    uint16_t readable_count, writable_count;
    uint64_t readable_bytes, writable_bytes;
    struct iovec iov[VIRTQ_CHAIN_SEGMENTS]; /* readable ones, then writable ones */
};

static inline const struct iovec *virtq_readable(const struct virtq_chain *chain)
{
    return chain->iov;
}

static inline const struct iovec *virtq_writable(const struct virtq_chain *chain)
{
    return chain->iov + chain->readable_count;
}

/* Takes the next available chain. Returns 1, 0 (nothing there; also when broken or not ready) or a negative errno: the
 * queue is broken now and the caller lets virtio_fail() say so. Allocates nothing. Devices use virtio_pop(). */
int virtq_pop(struct virtq *q, struct virtq_chain *chain) TUFF_MUST_CHECK;
/* Puts the last popped chain back as if it had not been taken (no buffer for it on the host's side yet). Before it is
 * pushed and before another pop. */
void virtq_unpop(struct virtq *q, const struct virtq_chain *chain);

/* Gives a chain back: `written` bytes at the start of its writable part were stored to (marks those pages dirty and
 * code on them stale; bytes beyond the writable part are a bug of the caller). Does not interrupt. Does nothing in a
 * queue that broke or was reset meanwhile, but for the marks. */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint32_t written);
/* The same for a packet over several chains (mergeable receive buffers), at most as many as the queue has entries: the
 * driver sees none of them before all. */
void virtq_push_many(struct virtq *q, const struct virtq_chain *const *chains, const uint32_t *written, unsigned count);

/* After pushes: does the driver want an interrupt for them? */
bool virtq_should_interrupt(struct virtq *q);

/* Asks the driver to kick (or not) when it makes buffers available. After enabling, look once more: returns true when
 * something is there already. */
bool virtq_want_kicks(struct virtq *q, bool wanted);
/* Is nothing available? Reads the ring; false when broken. */
bool virtq_is_empty(struct virtq *q);

/* For transports: makes the queue ready with the negotiated features. Returns 0 or -EINVAL (size, alignment, addresses
 * that are not RAM): the queue is broken then. And back to how it is after a reset. */
int virtq_enable(struct virtq *q, struct mem *mem, uint64_t features) TUFF_MUST_CHECK;
void virtq_reset(struct virtq *q);
/* After a state was loaded: takes nothing for granted. Chains that were popped and not pushed when it was saved are
 * available again (which is right where chains are pushed in the order they were popped). Returns 0 or -EINVAL. */
int virtq_restore(struct virtq *q, struct mem *mem, uint64_t features) TUFF_MUST_CHECK;

#endif
