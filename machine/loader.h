/* Loads what a guest boots from into its RAM: kernel, initial RAM disk, device tree.
 *
 * Files are hostile: each is opened, sized and checked as a whole before the first byte reaches the guest's memory.
 * Every failure is a negative errno and one line in `err` that names the file, the value and what to do. All functions
 * are called before the vCPUs run, by the thread that builds the machine; they block on file reads.
 *
 * Where things go, RAM from `base` to `top`:
 *
 *     base                 kernel                                  device tree      initrd
 *     |......................|#####################|..................|###|..........|########|
 *     base          + text_offset (Image)         end          2 MiB aligned      page   top
 *                   or p_paddr (ELF)
 */
#ifndef TUFF_MACHINE_LOADER_H
#define TUFF_MACHINE_LOADER_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;
struct symbols;

enum boot_image_kind { BOOT_IMAGE_LINUX, BOOT_IMAGE_ELF, BOOT_IMAGE_FLAT };

/* A loaded kernel. [start, end) is what it occupies, zero-initialised data included. */
struct boot_image {
    enum boot_image_kind kind;
    uint64_t entry;
    uint64_t start, end;
    bool has_tohost, has_fromhost; /* the ELF has HTIF's symbols and they lie in RAM */
    uint64_t tohost, fromhost;
};

/* [start, end); both 0 when there is none. */
struct boot_range {
    uint64_t start, end;
};

/* Loads a kernel for S-mode: a Linux Image (flat, with or without EFI stub; gzip-compressed; an EFI zboot image that
 * holds one), or an ELF. -ENOEXEC: not one of these or damaged; -EFBIG: does not fit; else what open or read said. */
TUFF_MUST_CHECK int loader_load_kernel(struct mem *mem, const char *path, struct boot_image *out, struct error *err);

/* Loads a bare-metal program for M-mode: an ELF and nothing else. Errors as above. */
TUFF_MUST_CHECK int loader_load_bare(struct mem *mem, const char *path, struct boot_image *out, struct error *err);

/* loader_load_kernel() of bytes that are in memory already; `name` stands in messages. `bytes` is borrowed for the
 * call. */
TUFF_MUST_CHECK int loader_load_kernel_bytes(struct mem *mem, const char *name, const void *bytes, size_t len,
                                             struct boot_image *out, struct error *err);

/* Loads M-mode firmware: an ELF, or any other file as it is, to the start of RAM, where it is entered. Errors as above.
 */
TUFF_MUST_CHECK int loader_load_firmware(struct mem *mem, const char *path, struct boot_image *out, struct error *err);

/* Loads what firmware is to start in S-mode: a kernel as loader_load_kernel() does, or a file of no known kind (a boot
 * loader's flat binary) as it is, at the first multiple of 2 MiB behind the firmware. -EFBIG where it would overwrite
 * the firmware, else as above. */
TUFF_MUST_CHECK int loader_load_payload(struct mem *mem, const char *path, const struct boot_image *firmware,
                                        struct boot_image *out, struct error *err);

/* Copies files into RAM at addresses: `list` is FILE@ADDRESS[,FILE@ADDRESS...], an address decimal or hexadecimal with
 * 0x. None may touch another or one of the `taken` ranges (empty ones do not count). -EINVAL: not of that form;
 * -EEXIST: touches; -EFBIG: not all of it in RAM; else as above. */
TUFF_MUST_CHECK int loader_load_files(struct mem *mem, const char *list, const struct boot_range *taken,
                                      size_t taken_count, struct error *err);

/* 0, or -EINVAL with a message, for a list that is not of that form. */
TUFF_MUST_CHECK int loader_check_files(const char *list, struct error *err);

/* Reads an initial RAM disk to the top of RAM, page-aligned, above the kernel. -EFBIG when it does not fit. */
TUFF_MUST_CHECK int loader_load_initrd(struct mem *mem, const char *path, const struct boot_image *kernel,
                                       struct boot_range *out, struct error *err);

/* Reads and checks a flattened device tree. `*dtb` is the caller's to free(). */
TUFF_MUST_CHECK int loader_load_dtb(const char *path, void **dtb, size_t *len, struct error *err);

/* 0 when `dtb` starts with a well-formed tree of at most `len` bytes and an acceptable size, else -ENOEXEC or -EFBIG.
 */
TUFF_MUST_CHECK int loader_check_dtb(const char *name, const void *dtb, size_t len, struct error *err);

/* Copies a tree into RAM below the initrd, 2 MiB aligned where there is room and 8-byte aligned where there is not
 * (RISC-V Linux boot requirements ask for 8). `initrd` may be NULL. -EFBIG when there is no room beside the kernel. */
TUFF_MUST_CHECK int loader_place_dtb(struct mem *mem, const void *dtb, size_t len, const struct boot_image *kernel,
                                     const struct boot_range *initrd, uint64_t *gpa, struct error *err);

/* Adds the names of code in a riscv64 ELF, a System.map or a saved /proc/kallsyms. Errors as above, -EINVAL for text
 * that is none of these, -ENODATA when there are no names of code. */
TUFF_MUST_CHECK int loader_load_symbols(struct symbols *symbols, const char *path, struct error *err);
/* The same where the kernel happens to be an ELF that has any. */
void loader_load_own_symbols(struct symbols *symbols, const char *path);

#endif
