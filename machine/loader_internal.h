/* What the loader's files share: opening files, and the formats a kernel comes in. */
#ifndef TUFF_MACHINE_LOADER_INTERNAL_H
#define TUFF_MACHINE_LOADER_INTERNAL_H

#include "machine/loader.h"

enum {
    LOADER_KERNEL_ALIGN_BYTES = 2 << 20, /* an RV64 Linux kernel maps itself with 2 MiB pages */
};

/* A file's bytes, or some of them; owned by whoever holds `heap` (NULL: borrowed). */
struct loader_bytes {
    const uint8_t *data;
    size_t len;
    uint8_t *heap;
};

/* An open regular file of known, non-zero size. `what` is "kernel", "initrd", ... for messages. */
struct loader_file {
    int fd;
    uint64_t size_bytes;
    const char *what;
    const char *path;
};

TUFF_MUST_CHECK int loader_file_open(struct loader_file *file, const char *what, const char *path, struct error *err);
void loader_file_close(struct loader_file *file);
/* Reads exactly `len` bytes from `offset`; a file that became shorter meanwhile is an error. */
TUFF_MUST_CHECK int loader_file_read(const struct loader_file *file, uint64_t offset, void *buf, size_t len,
                                     struct error *err);

/* Reads a whole file; what is loaded as it is cannot be larger than RAM. `out->heap` is the caller's to free(). */
TUFF_MUST_CHECK int loader_read_whole(const struct mem *mem, const char *what, const char *path,
                                      struct loader_bytes *out, struct error *err);

/* Inflates gzip members until the input ends, into at most `limit_bytes`. `out->heap` is the caller's to free(). */
TUFF_MUST_CHECK int loader_gunzip(const char *name, const uint8_t *data, size_t len, uint64_t limit_bytes,
                                  struct loader_bytes *out, struct error *err);

bool loader_is_gzip(const uint8_t *data, size_t len);
bool loader_is_elf(const uint8_t *data, size_t len);
/* A Linux Image by its header's magic numbers. */
bool loader_is_image(const uint8_t *data, size_t len);
bool loader_is_zboot(const uint8_t *data, size_t len);

TUFF_MUST_CHECK int loader_image_load(struct mem *mem, const char *name, const uint8_t *data, size_t len,
                                      struct boot_image *out, struct error *err);
/* The header's text_offset, checked. */
TUFF_MUST_CHECK int loader_image_text_offset(const char *name, const uint8_t *data, size_t len, uint64_t *offset,
                                             struct error *err);
/* The compressed kernel inside an EFI zboot image, borrowed from `data`. */
TUFF_MUST_CHECK int loader_zboot_payload(const char *name, const uint8_t *data, size_t len,
                                         struct loader_bytes *payload, struct error *err);
/* Is it of a kind that is none of the above but known, so that it is certainly a mistake? */
bool loader_is_foreign(const uint8_t *data, size_t len);
/* Says what kind of file it is instead, where its first bytes tell. Returns -ENOEXEC. */
int loader_image_unknown(const char *name, const uint8_t *data, size_t len, struct error *err);

TUFF_MUST_CHECK int loader_elf_load(struct mem *mem, const char *name, const uint8_t *data, size_t len,
                                    struct boot_image *out, struct error *err);

/* The same for a PC, 32 or 64 bits; `pc` gets what its notes say of how it is entered. */
struct loader_elf_pc {
    bool has_pvh;
    uint64_t pvh_entry;
};
TUFF_MUST_CHECK int loader_elf_load_pc(struct mem *mem, const char *name, const uint8_t *data, size_t len,
                                       struct boot_image *out, struct loader_elf_pc *pc, struct error *err);

#endif
