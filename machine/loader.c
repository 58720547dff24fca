/* Kernel, initrd and device tree: from a path to bytes in the guest's RAM. The formats are in loader_image.c,
 * loader_elf.c and loader_gzip.c; this file opens, dispatches and decides where things go (loader.h has the picture).
 */
#include "machine/loader.h"

#include "machine/loader_internal.h"
#include "mem/huge.h"
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Linux maps two 2 MiB pages for the tree before it knows its memory, so a 2 MiB tree is seen at any alignment. */
    DTB_BYTES_MAX = 2 << 20,
    DTB_VERSION_MIN = 16,
    DTB_ALIGN_BYTES = 2 << 20,
    DTB_ALIGN_MIN_BYTES = 8,
};

/* An ELF may carry debug information many times the size of what it loads. */
static const uint64_t elf_file_bytes_max = 4ull << 30;

static int load_plain(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct boot_image *out,
                      struct error *err)
{
    if (loader_is_elf(data, len))
        return loader_elf_load(mem, name, data, len, out, err);
    if (loader_is_image(data, len))
        return loader_image_load(mem, name, data, len, out, err);
    return loader_image_unknown(name, data, len, err);
}

static int load_gzip(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct boot_image *out,
                     struct error *err)
{
    struct loader_bytes plain;
    int rc = loader_gunzip(name, data, len, mem_ram_bytes(mem), &plain, err);

    if (rc)
        return rc;
    rc = load_plain(mem, name, plain.data, plain.len, out, err);
    free(plain.heap);
    return rc;
}

int loader_load_kernel_bytes(struct mem *mem, const char *name, const void *bytes, size_t len, struct boot_image *out,
                             struct error *err)
{
    const uint8_t *data = bytes;
    struct loader_bytes payload = {.data = data, .len = len};

    if (loader_is_zboot(data, len)) {
        int rc = loader_zboot_payload(name, data, len, &payload, err);
        if (rc)
            return rc;
    }
    if (loader_is_gzip(payload.data, payload.len))
        return load_gzip(mem, name, payload.data, payload.len, out, err);
    return load_plain(mem, name, payload.data, payload.len, out, err);
}

int loader_read_whole(const struct mem *mem, const char *what, const char *path, struct loader_bytes *out,
                      struct error *err)
{
    struct loader_file file;
    uint8_t magic[4] = {0};
    int rc = loader_file_open(&file, what, path, err);

    if (rc)
        return rc;
    rc = loader_file_read(&file, 0, magic, file.size_bytes < sizeof(magic) ? file.size_bytes : sizeof(magic), err);
    if (rc)
        goto out;
    uint64_t limit = loader_is_elf(magic, sizeof(magic)) ? elf_file_bytes_max : mem_ram_bytes(mem);
    if (file.size_bytes > limit) {
        rc = error_set(err, -EFBIG,
                       "%s '%s' is %" PRIu64 " bytes, more than the %" PRIu64
                       " it can have; give a larger --memory or another file",
                       what, path, file.size_bytes, limit);
        goto out;
    }
    *out = (struct loader_bytes){.len = file.size_bytes};
    out->heap = malloc(out->len);
    if (!out->heap) {
        rc = error_set(err, -ENOMEM, "no host memory to read %s '%s' (%zu bytes)", what, path, out->len);
        goto out;
    }
    out->data = out->heap;
    rc = loader_file_read(&file, 0, out->heap, out->len, err);
    if (rc) {
        free(out->heap);
        *out = (struct loader_bytes){0};
    }
out:
    loader_file_close(&file);
    return rc;
}

/* Where a file that begins so is loaded as it is; NULL: it is not, or something is wrong with it, which is said by who
 * loads it. */
static uint8_t *place_of(struct mem *mem, const char *path, const uint8_t *head, size_t head_len, uint64_t size_bytes)
{
    struct error ignored;
    uint64_t offset;

    if (loader_is_zboot(head, head_len) || loader_is_elf(head, head_len) || !loader_is_image(head, head_len) ||
        loader_image_text_offset(path, head, head_len, &offset, &ignored) || offset > mem_ram_low_bytes(mem) ||
        size_bytes > mem_ram_low_bytes(mem) - offset)
        return NULL;
    mem_huge_reach(mem, mem_ram_base(mem) + offset, size_bytes);
    return mem_ram_ptr(mem, mem_ram_base(mem) + offset, size_bytes);
}

/* As loader_read_whole(); an uncompressed Image goes to its place in RAM at once. That spares 30 MB of memory of the
 * host's that would be touched once, a tenth of the time to userland where touching is dear. */
static int read_kernel(struct mem *mem, const char *path, struct loader_bytes *out, struct error *err)
{
    struct loader_file file;
    uint8_t head[64] = {0};
    uint8_t *place = NULL;
    int rc = loader_file_open(&file, "kernel", path, err);

    if (rc)
        return rc;
    if (file.size_bytes >= sizeof(head)) {
        rc = loader_file_read(&file, 0, head, sizeof(head), err);
        if (rc == 0)
            place = place_of(mem, path, head, sizeof(head), file.size_bytes);
    }
    if (place) {
        *out = (struct loader_bytes){.data = place, .len = file.size_bytes};
        rc = loader_file_read(&file, 0, place, file.size_bytes, err);
    }
    loader_file_close(&file);
    return place || rc ? rc : loader_read_whole(mem, "kernel", path, out, err);
}

/* What was read to its place and refused there is taken out again. */
static void clear_place(struct mem *mem, const struct loader_bytes *bytes)
{
    uint64_t size_bytes = (bytes->len + MEM_PAGE_BYTES - 1) & ~(uint64_t)(MEM_PAGE_BYTES - 1);

    if (mem_discard(mem, mem_host_to_gpa(mem, bytes->data), size_bytes))
        memset((uint8_t *)(uintptr_t)bytes->data, 0, bytes->len);
}

int loader_load_kernel(struct mem *mem, const char *path, struct boot_image *out, struct error *err)
{
    struct loader_bytes bytes = {0};
    int rc = read_kernel(mem, path, &bytes, err);

    if (rc == 0)
        rc = loader_load_kernel_bytes(mem, path, bytes.data, bytes.len, out, err);
    if (rc && bytes.data && !bytes.heap)
        clear_place(mem, &bytes);
    free(bytes.heap);
    return rc;
}

int loader_load_bare(struct mem *mem, const char *path, struct boot_image *out, struct error *err)
{
    struct loader_bytes bytes;
    int rc = loader_read_whole(mem, "kernel", path, &bytes, err);

    if (rc)
        return rc;
    if (loader_is_elf(bytes.data, bytes.len))
        rc = loader_elf_load(mem, path, bytes.data, bytes.len, out, err);
    else if (loader_is_image(bytes.data, bytes.len))
        rc = error_set(err, -ENOEXEC, "'%s' is a Linux Image, which does not run in M-mode; give it to --kernel", path);
    else
        rc =
            error_set(err, -ENOEXEC, "'%s' is not an ELF; bare-metal programs are loaded from an ELF executable", path);
    free(bytes.heap);
    return rc;
}

int loader_load_initrd(struct mem *mem, const char *path, const struct boot_image *kernel, struct boot_range *out,
                       struct error *err)
{
    struct loader_file file;
    uint64_t top = mem_ram_base(mem) + mem_ram_low_bytes(mem);
    int rc = loader_file_open(&file, "initrd", path, err);

    if (rc)
        return rc;
    /* A file larger than all addresses below `top` wraps to a start that is not in RAM. */
    uint64_t start = (top - file.size_bytes) & ~(uint64_t)(MEM_PAGE_BYTES - 1);
    uint8_t *host = start >= kernel->end ? mem_ram_ptr(mem, start, file.size_bytes) : NULL;
    if (!host) {
        rc = error_set(err, -EFBIG,
                       "initrd '%s' is %" PRIu64 " bytes, above the kernel there are %" PRIu64
                       " (page-aligned); give a larger --memory",
                       path, file.size_bytes, top - kernel->end);
        goto out;
    }
    mem_huge_reach(mem, start, file.size_bytes);
    rc = loader_file_read(&file, 0, host, file.size_bytes, err);
    if (rc)
        goto out;
    mem_note_write(mem, start, file.size_bytes);
    *out = (struct boot_range){.start = start, .end = start + file.size_bytes};
out:
    loader_file_close(&file);
    return rc;
}

int loader_check_dtb(const char *name, const void *dtb, size_t len, struct error *err)
{
    if (len < sizeof(struct fdt_header) || fdt_magic(dtb) != FDT_MAGIC)
        return error_set(err, -ENOEXEC,
                         "device tree '%s' is not a flattened device tree (a .dts source is compiled with dtc)", name);
    if (fdt_totalsize(dtb) > len)
        return error_set(err, -ENOEXEC, "device tree '%s' is truncated: %zu bytes of %u; make it again", name, len,
                         fdt_totalsize(dtb));
    if (fdt_totalsize(dtb) > DTB_BYTES_MAX)
        return error_set(err, -EFBIG, "device tree '%s' is %u bytes; Linux takes at most %d", name, fdt_totalsize(dtb),
                         DTB_BYTES_MAX);
    /* Every tree since 2005 has version 16 or newer; libfdt 1.6.1's fdt_check_full() reads through a null pointer when
     * an older one has a root without a name (found by fuzzing). */
    if (fdt_version(dtb) < DTB_VERSION_MIN)
        return error_set(err, -ENOEXEC,
                         "device tree '%s' has version %u, %d is the oldest usable; make it again with dtc", name,
                         fdt_version(dtb), DTB_VERSION_MIN);
    int rc = fdt_check_full(dtb, len);
    if (rc)
        return error_set(err, -ENOEXEC, "device tree '%s' is damaged (%s); make it again", name, fdt_strerror(rc));
    return 0;
}

int loader_load_dtb(const char *path, void **dtb, size_t *len, struct error *err)
{
    struct loader_file file;
    void *bytes = NULL;
    int rc = loader_file_open(&file, "device tree", path, err);

    if (rc)
        return rc;
    if (file.size_bytes > DTB_BYTES_MAX) {
        rc = error_set(err, -EFBIG, "device tree '%s' is %" PRIu64 " bytes; Linux takes at most %d", path,
                       file.size_bytes, DTB_BYTES_MAX);
        goto out;
    }
    bytes = malloc(file.size_bytes);
    if (!bytes) {
        rc = error_set(err, -ENOMEM, "no host memory to read device tree '%s'", path);
        goto out;
    }
    rc = loader_file_read(&file, 0, bytes, file.size_bytes, err);
    if (rc == 0)
        rc = loader_check_dtb(path, bytes, file.size_bytes, err);
    if (rc == 0) {
        *dtb = bytes;
        *len = file.size_bytes;
        bytes = NULL;
    }
out:
    free(bytes);
    loader_file_close(&file);
    return rc;
}

/* The highest aligned place for `len` bytes in [low, high), or UINT64_MAX. */
static uint64_t place_below(uint64_t low, uint64_t high, uint64_t len, uint64_t align)
{
    if (high < low || len > high - low)
        return UINT64_MAX;
    uint64_t at = (high - len) & ~(align - 1);
    return at >= low ? at : UINT64_MAX;
}

int loader_place_dtb(struct mem *mem, const void *dtb, size_t len, const struct boot_image *kernel,
                     const struct boot_range *initrd, uint64_t *gpa, struct error *err)
{
    uint64_t base = mem_ram_base(mem), top = base + mem_ram_low_bytes(mem);

    if (initrd && initrd->end)
        top = initrd->start;
    uint64_t at = place_below(kernel->end, top, len, DTB_ALIGN_BYTES);
    if (at == UINT64_MAX)
        at = place_below(kernel->end, top, len, DTB_ALIGN_MIN_BYTES);
    if (at == UINT64_MAX)
        at = place_below(base, kernel->start, len, DTB_ALIGN_MIN_BYTES);
    if (at == UINT64_MAX || mem_write(mem, at, dtb, len) != 0)
        return error_set(err, -EFBIG,
                         "no room for the device tree (%zu bytes) beside kernel and initrd; give a larger "
                         "--memory",
                         len);
    *gpa = at;
    return 0;
}
