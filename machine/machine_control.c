/* What programs outside ask of a running machine: machine.h says what each does. */
#include "dev/virtio/virtio_balloon.h"
#include "dev/virtio/virtio_input.h"
#include "machine/machine_internal.h"

#include <errno.h>
#include <linux/input-event-codes.h>

void machine_reset(struct machine *m)
{
    machine_end(m, MACHINE_END_REBOOT, 0);
}

int machine_powerdown(struct machine *m)
{
    return m->keyboard ? virtio_input_press(m->keyboard, KEY_POWER) : -ENODEV;
}

int machine_get_balloon(struct machine *m, uint64_t *guest_bytes)
{
    enum { BALLOON_PAGE_BYTES = 4096 };

    if (!m->balloon)
        return -ENODEV;
    uint64_t given = (uint64_t)virtio_balloon_actual(m->balloon) * BALLOON_PAGE_BYTES;
    *guest_bytes = m->config.memory_bytes - (given < m->config.memory_bytes ? given : m->config.memory_bytes);
    return 0;
}

void machine_set_panicked(struct machine *m, machine_panicked_fn panicked, void *opaque)
{
    m->panicked_opaque = opaque;
    m->panicked = panicked;
}

const char *machine_target(const struct machine *m)
{
    return machine_is_pc(&m->config) ? "x86_64" : "riscv64";
}

void machine_refresh_stats(struct machine *m)
{
    for (uint32_t i = 0; i < m->hart_count; i++) {
        atomic_store(&m->harts[i].counts, true);
        vcpu_kick(m->vcpus[i]);
    }
}

int machine_hart_thread(const struct machine *m, uint32_t hart)
{
    return hart < m->hart_count ? atomic_load(&m->harts[hart].thread_id) : 0;
}

int machine_disk_image(const struct machine *m, unsigned disk, struct machine_disk_image *out)
{
    if (disk >= m->config.disk_count)
        return -ENODEV;
    *out = m->disk_images[disk];
    return 0;
}

int machine_disk_counters(const struct machine *m, unsigned disk,
                          void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque)
{
    struct virtio_device *dev = disk < m->config.disk_count ? m->disks[disk] : NULL;

    if (!dev)
        return -ENODEV;
    pthread_mutex_lock(&dev->lock);
    dev->ops->stats(dev, fn, opaque);
    pthread_mutex_unlock(&dev->lock);
    return 0;
}

void machine_each_virtio(const struct machine *m, void (*fn)(void *opaque, const char *name, unsigned number),
                         void *opaque)
{
    for (unsigned n = 0; n < m->virtio_count; n++)
        fn(opaque, m->virtio[n]->ops->name, n);
}
