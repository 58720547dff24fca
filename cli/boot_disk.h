/* tuff boot without --kernel: kernel, initial RAM disk and command line from the first --disk. */
#ifndef TUFF_CLI_BOOT_DISK_H
#define TUFF_CLI_BOOT_DISK_H

#include "base/compiler.h"
#include "base/error.h"
#include "machine/machine.h"

/* Zero: not used. The configuration's strings point into it. */
struct boot_disk {
    bool used;
    bool own_cmdline, own_initrd;
    int kernel_fd, initrd_fd;
    char kernel[32], initrd[32]; /* paths of the descriptors */
    char cmdline[64];
};

/* Reads the first disk and sets the configuration's kernel, and its initrd and command line where they were not given.
 * Returns 0 or a negative errno with a line in `err`. */
int boot_disk_find(struct boot_disk *disk, struct machine_config *config, struct error *err) TUFF_MUST_CHECK;

/* The same again, for a machine that is started anew; nothing if the disk was not used. When it fails, what was read
 * before is gone. */
int boot_disk_again(struct boot_disk *disk, struct machine_config *config, struct error *err) TUFF_MUST_CHECK;

void boot_disk_close(struct boot_disk *disk);

#endif
