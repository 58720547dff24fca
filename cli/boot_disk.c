/* tuff boot without --kernel: what bootdisk/ reads out of a disk, handed to the machine as files. */
#include "cli/boot_disk.h"

#include "bootdisk/bootdisk.h"

#include <stdio.h>
#include <unistd.h>

/* The machine opens files by path; these are reached by that of their descriptor. */
static void name_descriptor(char path[32], int fd)
{
    snprintf(path, 32, "/proc/self/fd/%d", fd);
}

static int read_disk(struct boot_disk *disk, struct machine_config *config, struct error *err)
{
    const struct machine_disk *first = &config->disks[0];
    struct bootdisk found;
    char partition[16] = "";
    int rc = bootdisk_read(first->path, (enum block_format)first->format, &found, err);

    if (rc)
        return rc;
    disk->used = true;
    disk->kernel_fd = found.kernel_fd;
    disk->initrd_fd = found.initrd_fd;
    name_descriptor(disk->kernel, found.kernel_fd);
    config->kernel = disk->kernel;
    if (disk->own_initrd) {
        name_descriptor(disk->initrd, found.initrd_fd);
        config->initrd = found.initrd_fd >= 0 ? disk->initrd : NULL;
    }
    if (disk->own_cmdline) {
        if (found.partition)
            snprintf(partition, sizeof(partition), "%u", found.partition);
        snprintf(disk->cmdline, sizeof(disk->cmdline), "root=/dev/vda%s ro console=ttyS0", partition);
        config->cmdline = disk->cmdline;
    }
    return 0;
}

int boot_disk_find(struct boot_disk *disk, struct machine_config *config, struct error *err)
{
    disk->own_initrd = !config->initrd;
    disk->own_cmdline = !config->cmdline;
    return read_disk(disk, config, err);
}

int boot_disk_again(struct boot_disk *disk, struct machine_config *config, struct error *err)
{
    if (!disk->used)
        return 0;
    boot_disk_close(disk);
    return read_disk(disk, config, err);
}

void boot_disk_close(struct boot_disk *disk)
{
    if (disk->used) {
        close(disk->kernel_fd);
        if (disk->initrd_fd >= 0)
            close(disk->initrd_fd);
    }
    disk->used = false;
}
