/* The disks of a snapshot: each image that the guest can write gets an internal snapshot (qcow2) of the same moment.
 * Read-only images need none; the settings say what they were (machine_settings.c). */
#include "base/log.h"
#include "dev/block/block_image.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include <errno.h>
#include <string.h>

static bool has_own(const struct machine *m, unsigned n)
{
    return !m->config.disks[n].read_only;
}

int machine_disks_can_snapshot(struct machine *m, struct error *err)
{
    for (unsigned n = 0; n < m->config.disk_count; n++) {
        const struct machine_disk *disk = &m->config.disks[n];
        if (!has_own(m, n))
            continue;
        if (disk->snapshot)
            return error_set(err, -ENOTSUP,
                             "no snapshot: what is written to disk %u, '%s', is in a temporary file: use a qcow2 image"
                             " without 'snapshot', or 'readonly'",
                             n, disk->path);
        if (node_format(block_image_node(m->images[n])) != BLOCK_FORMAT_QCOW2)
            return error_set(err, -ENOTSUP,
                             "no snapshot: disk %u, '%s', is a raw image that can be written, and would change after"
                             " it: use a qcow2 image, or 'readonly'",
                             n, disk->path);
    }
    return 0;
}

void machine_disks_write_out(struct machine *m)
{
    for (unsigned n = 0; n < m->config.disk_count; n++) {
        if (has_own(m, n))
            (void)!node_flush(block_image_node(m->images[n])); /* what fails now fails again */
    }
}

static void forget(struct machine *m, const char *name, unsigned count)
{
    struct error err = {""};

    for (unsigned n = 0; n < count; n++) {
        int rc = has_own(m, n) ? node_snapshot_delete(block_image_node(m->images[n]), name, &err) : 0;
        if (rc && rc != -ENOENT)
            log_warn(LOG_SNAPSHOT, "an internal snapshot stays that nothing needs: %s", err.text);
    }
}

int machine_disks_snapshot(struct machine *m, const char *name, struct error *err)
{
    for (unsigned n = 0; n < m->config.disk_count; n++) {
        struct error why = {""};
        int rc = has_own(m, n) ? node_snapshot_create(block_image_node(m->images[n]), name, &why) : 0;
        if (rc) {
            forget(m, name, n);
            return error_set(err, rc, "no snapshot: disk %u: %.400s", n, why.text);
        }
    }
    return 0;
}

void machine_disks_forget_snapshot(struct machine *m, const char *name)
{
    forget(m, name, m->config.disk_count);
}
