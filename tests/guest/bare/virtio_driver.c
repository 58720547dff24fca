/* See virtio_driver.h. */
#include "virtio_driver.h"
#include "virtio_mmio.h"

struct queue {
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } desc[DRIVER_QUEUE_SIZE];
    struct {
        uint16_t flags, idx, ring[DRIVER_QUEUE_SIZE];
    } avail;
    struct {
        uint16_t flags;
        volatile uint16_t idx;
        struct {
            uint32_t id, len;
        } ring[DRIVER_QUEUE_SIZE];
    } __attribute__((aligned(4))) used;
} __attribute__((aligned(4096)));

static struct queue queues[DRIVER_QUEUES];
static uint64_t base;

volatile uint32_t *driver_reg(uint64_t offset)
{
    return rt_mmio32(base + offset);
}

bool driver_find(unsigned slot, uint32_t kind)
{
    unsigned end = slot < DRIVER_SLOTS ? slot + 1 : DRIVER_SLOTS;

    for (unsigned i = slot < DRIVER_SLOTS ? slot : 0; i < end; i++) {
        base = RT_VIRTIO + i * 0x1000;
        if (*driver_reg(DEVICE) == kind)
            return true;
    }
    return false;
}

static void set_address(uint64_t offset, const volatile void *part)
{
    *driver_reg(offset) = (uint32_t)(uint64_t)part;
    *driver_reg(offset + 4) = (uint32_t)((uint64_t)part >> 32);
}

bool driver_is_up(void)
{
    return *driver_reg(STATUS) == DRIVER_OK;
}

bool driver_start(uint32_t features, unsigned count)
{
    for (uint64_t i = 0; i < sizeof(queues); i++)
        ((volatile uint8_t *)queues)[i] = 0;
    *driver_reg(STATUS) = 0;
    *driver_reg(STATUS) = ACKNOWLEDGED;
    *driver_reg(DRIVER_SEL) = 1;
    *driver_reg(DRIVER_FEATURES) = 1; /* VIRTIO_F_VERSION_1 */
    *driver_reg(DRIVER_SEL) = 0;
    *driver_reg(DRIVER_FEATURES) = features;
    *driver_reg(STATUS) = ACKNOWLEDGED | FEATURES_OK;
    for (unsigned i = 0; i < count; i++) {
        *driver_reg(QUEUE_SEL) = i;
        *driver_reg(QUEUE_NUM) = DRIVER_QUEUE_SIZE;
        set_address(DESC, queues[i].desc);
        set_address(DRIVER, &queues[i].avail);
        set_address(USED, &queues[i].used);
        *driver_reg(QUEUE_READY) = 1;
    }
    *driver_reg(STATUS) = DRIVER_OK;
    return driver_is_up();
}

void driver_offer(unsigned queue, const struct driver_part *parts, unsigned count)
{
    struct queue *q = &queues[queue];

    for (unsigned i = 0; i < count; i++) {
        q->desc[i].addr = (uint64_t)parts[i].at;
        q->desc[i].len = parts[i].len;
        q->desc[i].flags = (uint16_t)((i + 1 < count ? NEXT : 0) | (parts[i].device_writes ? WRITE : 0));
        q->desc[i].next = (uint16_t)(i + 1);
    }
    q->avail.ring[q->avail.idx % DRIVER_QUEUE_SIZE] = 0;
    rt_fence_io();
    (*(volatile uint16_t *)&q->avail.idx)++;
    rt_fence_io();
    *driver_reg(NOTIFY) = queue;
}

int64_t driver_wait(unsigned queue)
{
    struct queue *q = &queues[queue];

    for (uint64_t end = rt_now() + 50000000; q->used.idx != q->avail.idx;) {
        if (rt_now() > end || *driver_reg(STATUS) & NEEDS_RESET)
            return -1;
    }
    rt_fence_io();
    *driver_reg(ACK) = 3;
    return q->used.ring[(uint16_t)(q->used.idx - 1) % DRIVER_QUEUE_SIZE].len;
}

int64_t driver_request(unsigned queue, const struct driver_part *parts, unsigned count)
{
    driver_offer(queue, parts, count);
    return driver_wait(queue);
}
