/* Loads what a PC boots: a Linux bzImage (64-bit boot protocol), an ELF with a PVH entry (Linux's vmlinux among them),
 * a program with a multiboot header, or a boot sector.
 *
 * Files are hostile, as in loader.h: checked as a whole before guest memory changes. Called before vCPUs run.
 */
#ifndef TUFF_MACHINE_LOADER_PC_H
#define TUFF_MACHINE_LOADER_PC_H

#include "machine/loader.h"

struct mem;
struct vcpu_state;

enum loader_pc_entry {
    LOADER_PC_LINUX,     /* long mode */
    LOADER_PC_PVH,       /* protected mode, no paging */
    LOADER_PC_MULTIBOOT, /* the same */
    LOADER_PC_SECTOR,    /* real mode, at 0x7c00 */
};

enum { LOADER_PC_SETUP_BYTES = 256 };

struct loader_pc_image {
    struct boot_image image; /* `entry` is physical; `end` includes what the kernel wants beside itself */
    enum loader_pc_entry how;
    uint8_t setup[LOADER_PC_SETUP_BYTES]; /* LINUX: the header, from its byte 0x1f1 on */
    size_t setup_bytes;
    uint64_t initrd_max; /* the last address that an initrd may have */
};

/* Does the file look like one of these? False also where it cannot be read. */
bool loader_is_pc(const char *path);

/* -ENOEXEC: none of these, or damaged; -EFBIG: does not fit; else what open or read said. */
TUFF_MUST_CHECK int loader_pc_load(struct mem *mem, const char *path, struct loader_pc_image *out, struct error *err);

/* The same of bytes that are in memory already; `name` stands in messages. */
TUFF_MUST_CHECK int loader_pc_load_bytes(struct mem *mem, const char *name, const void *bytes, size_t len,
                                         struct loader_pc_image *out, struct error *err);

/* Puts command line (NULL: none), initrd (end 0: none), memory map and what else the protocol wants into low memory.
 * Returns 0, -E2BIG (command line), or mem_write()'s error, with a line in `err`. */
TUFF_MUST_CHECK int boot_pc_write(struct mem *mem, const struct loader_pc_image *image, const char *cmdline,
                                  const struct boot_range *initrd, struct error *err);

/* Makes `state` (of a vCPU out of reset) that in which the image is entered. */
void boot_pc_state(struct vcpu_state *state, const struct loader_pc_image *image);

#endif
