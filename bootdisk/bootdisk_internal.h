/* Inside of bootdisk/ only. */
#ifndef TUFF_BOOTDISK_INTERNAL_H
#define TUFF_BOOTDISK_INTERNAL_H

#include "bootdisk/bootdisk.h"

struct block_node;

/* [offset, offset + bytes) of the disk. */
struct extent {
    uint64_t offset, bytes;
};

/* What the child process gives back, in memory that both have. */
struct bootdisk_answer {
    bool done;
    int rc;
    struct error err;
    bool has_initrd;
    char kernel[sizeof(((struct bootdisk *)0)->kernel)];
    unsigned partition;
};

enum { GPT_ENTRIES_MAX = 128 };

/* The partitions of a GUID partition table, by number less one (bytes: 0 where there is none). Returns how many were
 * looked at; 0: there is no such table. Negative errno: reading failed. UEFI specification 2.10, section 5.3. */
int gpt_read(struct block_node *node, struct extent out[GPT_ENTRIES_MAX]);

/* Copies kernel and initial RAM disk of the file system in `extent` into the files. Returns 0, or a negative errno with
 * a line in `answer->err`; -EMEDIUMTYPE: there is no such file system. In the child process. */
TUFF_MUST_CHECK int ext_read(struct block_node *node, struct extent extent, int kernel_fd, int initrd_fd,
                             struct bootdisk_answer *answer);

#endif
