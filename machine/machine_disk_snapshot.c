/* The disks of a snapshot: each image that the guest can write gets an internal snapshot (qcow2) of the same moment,
 * which goes with it. Read-only images need none; the settings say what they were (machine_settings.c). */
#include "base/log.h"
#include "dev/block/block_image.h"
#include "machine/machine_internal.h"
#include "machine/machine_settings.h"
#include "machine/machine_snapshot.h"
#include "machine/machine_snapshots.h"
#include "snapshot/snapshot.h"

#include <errno.h>
#include <stdio.h>
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

/* ---- deleting, without a machine ---- */

static void note_setting(void *opaque, const char *name, const char *value)
{
    machine_settings_put(opaque, name, "%s", value);
}

/* "tuff-NAME-0123456789abcdef": a file of snapshots from elsewhere must not choose what goes from an image. */
static bool is_made_for(const char *internal, const char *name)
{
    static const char prefix[] = "tuff-";
    size_t len = strlen(name);

    if (strncmp(internal, prefix, strlen(prefix)) != 0 || strncmp(internal + strlen(prefix), name, len) != 0)
        return false;
    internal += strlen(prefix) + len;
    return *internal == '-' && strlen(internal) == 17 && strspn(internal + 1, "0123456789abcdef") == 16;
}

static int delete_internal(const char *path, const char *internal, struct error *err)
{
    const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .writable = true};
    struct block_node *node;
    int rc = node_open(path, &options, &node, err);

    if (rc)
        return rc;
    rc = node_snapshot_delete(node, internal, err);
    rc = rc == -ENOENT ? 0 : rc; /* somebody has done so */
    int end = node_close(node);
    return rc ? rc : end ? error_set(err, end, "'%s': %s", path, strerror(-end)) : 0;
}

static void delete_from_disks(const struct machine_settings *settings, const char *name)
{
    char setting[64];
    const char *path;

    for (unsigned n = 0; n < MACHINE_DISKS_MAX; n++) {
        struct error why = {""};
        (void)snprintf(setting, sizeof(setting), "disk%u.path", n);
        path = machine_settings_get(settings, setting);
        (void)snprintf(setting, sizeof(setting), "disk%u.internal-snapshot", n);
        const char *internal = machine_settings_get(settings, setting);
        if (!path || !internal)
            continue;
        int rc = is_made_for(internal, name) ? delete_internal(path, internal, &why)
                                             : error_set(&why, -EINVAL, "its name is not one for this snapshot");
        if (rc)
            log_warn(LOG_SNAPSHOT, "internal snapshot '%s' stays in '%s': %s", internal, path, why.text);
    }
}

int machine_snapshot_delete(const char *file, const char *name, bool disks, struct error *err)
{
    struct machine_settings settings = {0};
    struct snapshot_store *store;
    struct snapshot_info info;
    int rc = snapshot_open(file, SNAPSHOT_WRITE, &store, err);

    if (rc)
        return rc;
    rc = snapshot_find(store, name, &info, err);
    if (rc == 0)
        rc = snapshot_settings(store, info.id, note_setting, &settings, err);
    if (rc == 0 && settings.rc)
        rc = error_set(err, settings.rc, "no memory for a snapshot's settings");
    if (rc == 0)
        rc = snapshot_delete(store, info.name, err);
    if (rc == 0 && disks)
        delete_from_disks(&settings, info.name);
    machine_settings_free(&settings);
    snapshot_close(store);
    return rc;
}
