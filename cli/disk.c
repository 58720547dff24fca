/* --disk FILE[,SETTING..], several times: an item that is no setting begins a disk, what follows is its. A file whose
 * name is a setting's is reached as ./NAME. */
#include "cli/disk.h"

#include "cli/values.h"
#include "dev/block/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct flag {
    const char *name;
    size_t offset;
} flags[] = {
    {"readonly", offsetof(struct machine_disk, read_only)},
    {"snapshot", offsetof(struct machine_disk, snapshot)},
    {"direct", offsetof(struct machine_disk, direct)},
    {"scsi", offsetof(struct machine_disk, scsi)},
};

static bool parse_format(const char *value, struct machine_disk *disk)
{
    enum block_format format;

    if (block_format_parse(value, &format))
        return false;
    disk->format = (enum machine_disk_format)format;
    return true;
}

static bool parse_queues(const char *value, struct machine_disk *disk)
{
    uint64_t queues;

    if (values_number(value, 1, MACHINE_DISK_QUEUES_MAX, &queues))
        return false;
    disk->queues = (unsigned)queues;
    return true;
}

static bool parse_serial(const char *value, struct machine_disk *disk)
{
    disk->serial = value;
    return *value && strlen(value) <= MACHINE_DISK_SERIAL_MAX;
}

static bool parse_iops(const char *value, struct machine_disk *disk)
{
    return values_number(value, 1, UINT64_MAX, &disk->ops_per_s) == 0;
}

static bool parse_bps(const char *value, struct machine_disk *disk)
{
    return values_size(value, &disk->bytes_per_s) == 0;
}

static const struct setting {
    const char *name;
    bool (*parse)(const char *value, struct machine_disk *disk);
    const char *wants;
} settings[] = {
    {"format", parse_format, "raw, qcow2 or auto"},  {"queues", parse_queues, "a number from 1 to 16"},
    {"serial", parse_serial, "up to 20 characters"}, {"iops", parse_iops, "a number of operations a second"},
    {"bps", parse_bps, "bytes a second, like 20M"},
};

static const struct setting *find_setting(const char *item)
{
    size_t len = strcspn(item, "=");

    for (size_t i = 0; i < TUFF_ARRAY_LEN(settings) && item[len]; i++) {
        if (strncmp(item, settings[i].name, len) == 0 && !settings[i].name[len])
            return &settings[i];
    }
    return NULL;
}

static bool *find_flag(const char *item, struct machine_disk *disk)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(flags); i++) {
        if (strcmp(item, flags[i].name) == 0)
            return (bool *)((char *)disk + flags[i].offset);
    }
    return NULL;
}

static int parse_item(struct machine_config *config, const char *item, struct error *err)
{
    struct machine_disk none, *disk = config->disk_count ? &config->disks[config->disk_count - 1] : &none;
    const struct setting *setting = find_setting(item);
    bool *flag = find_flag(item, disk);

    if (!*item)
        return error_set(err, -EINVAL, "--disk, '', is no file: give one like --disk=disk.img");
    if ((setting || flag) && disk == &none)
        return error_set(err, -EINVAL, "--disk, '%s', is a setting of no disk: give the file first", item);
    if (setting) {
        if (!setting->parse(strchr(item, '=') + 1, disk))
            return error_set(err, -EINVAL, "--disk, '%s', is not understood: give %s", item, setting->wants);
        return 0;
    }
    if (flag) {
        *flag = true;
        return 0;
    }
    if (config->disk_count == MACHINE_DISKS_MAX)
        return error_set(err, -EINVAL, "--disk, more than %d times, is refused: leave some out", MACHINE_DISKS_MAX);
    config->disks[config->disk_count++] = (struct machine_disk){.path = item};
    return 0;
}

int disk_parse(const char *list, struct machine_config *config, char **text, struct error *err)
{
    char *item, *rest;
    int rc = 0;

    if (!list)
        return 0;
    rest = *text = strdup(list);
    if (!rest)
        return error_set(err, -ENOMEM, "--disk, not enough host memory, free some");
    while (!rc && (item = strsep(&rest, ",")))
        rc = parse_item(config, item, err);
    return rc;
}
