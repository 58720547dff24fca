/* What a machine with firmware of its own boots from: the firmware, what that is to start, and plain files at
 * addresses. Firmware and boot loaders come as ELF or as flat binaries, which say nothing of themselves. */
#include "machine/loader_internal.h"
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Files that --load may name at once. */
enum { FILES_MAX = 16 };

/* Writes a flat binary, which is entered at its first byte. */
static int load_flat(struct mem *mem, const char *what, const char *name, uint64_t start, const uint8_t *data,
                     size_t len, struct boot_image *out, struct error *err)
{
    if (mem_write(mem, start, data, len) != 0)
        return error_set(err, -EFBIG,
                         "%s '%s' (%zu bytes at 0x%" PRIx64 ") does not fit the guest's memory; give a larger --memory",
                         what, name, len, start);
    *out = (struct boot_image){.kind = BOOT_IMAGE_FLAT, .entry = start, .start = start, .end = start + len};
    return 0;
}

int loader_load_firmware(struct mem *mem, const char *path, struct boot_image *out, struct error *err)
{
    struct loader_bytes bytes;
    int rc = loader_read_whole(mem, "firmware", path, &bytes, err);

    if (rc)
        return rc;
    if (loader_is_elf(bytes.data, bytes.len))
        rc = loader_elf_load(mem, path, bytes.data, bytes.len, out, err);
    else if (loader_is_image(bytes.data, bytes.len))
        rc = error_set(err, -ENOEXEC,
                       "firmware '%s' is a Linux Image, which does not run in M-mode; give it to --kernel", path);
    else
        rc = load_flat(mem, "firmware", path, mem_ram_base(mem), bytes.data, bytes.len, out, err);
    free(bytes.heap);
    return rc;
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

static bool is_kernel(const uint8_t *data, size_t len)
{
    return loader_is_elf(data, len) || loader_is_image(data, len) || loader_is_gzip(data, len) ||
           loader_is_zboot(data, len) || loader_is_foreign(data, len);
}

int loader_load_payload(struct mem *mem, const char *path, const struct boot_image *firmware, struct boot_image *out,
                        struct error *err)
{
    struct loader_bytes bytes;
    int rc = loader_read_whole(mem, "kernel", path, &bytes, err);

    if (rc)
        return rc;
    if (is_kernel(bytes.data, bytes.len))
        rc = loader_load_kernel_bytes(mem, path, bytes.data, bytes.len, out, err);
    else
        rc = load_flat(mem, "kernel", path, align_up(firmware->end, LOADER_KERNEL_ALIGN_BYTES), bytes.data, bytes.len,
                       out, err);
    free(bytes.heap);
    if (rc == 0 && out->start < firmware->end && firmware->start < out->end)
        rc = error_set(err, -EFBIG,
                       "kernel '%s' loads at 0x%" PRIx64 ", where the firmware is (0x%" PRIx64 " to 0x%" PRIx64
                       "); link one of them elsewhere",
                       path, out->start, firmware->start, firmware->end);
    return rc;
}

/* ---- files at addresses ---- */

/* Cuts the first FILE@ADDRESS off *rest, which becomes NULL behind the last; the address stands behind the last @. */
static int next_place(char **rest, char **path, uint64_t *gpa, struct error *err)
{
    char *text = strsep(rest, ","), *at = strrchr(text, '@'), *end;

    errno = 0;
    *gpa = at ? strtoull(at + 1, &end, at[1] == '0' && (at[2] == 'x' || at[2] == 'X') ? 16 : 10) : 0;
    if (!at || at == text || at[1] < '0' || at[1] > '9' || errno || *end)
        return error_set(err, -EINVAL, "--load, '%s', is not FILE@ADDRESS: give one like initrd.gz@0x88000000", text);
    *at = '\0';
    *path = text;
    return 0;
}

int loader_check_files(const char *list, struct error *err)
{
    char *copy = strdup(list), *rest = copy, *path;
    uint64_t gpa;
    int rc = copy ? 0 : error_set(err, -ENOMEM, "no memory for the names of files to load");

    for (int count = 0; rc == 0 && rest; count++)
        rc = count < FILES_MAX ? next_place(&rest, &path, &gpa, err)
                               : error_set(err, -EINVAL, "--load, over %d files, is too many", FILES_MAX);
    free(copy);
    return rc;
}

static int check_free(const char *path, const struct boot_range *file, const struct boot_range *taken, size_t count,
                      struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (taken[i].end > taken[i].start && file->start < taken[i].end && taken[i].start < file->end)
            return error_set(err, -EEXIST,
                             "file '%s' at 0x%" PRIx64 " (to 0x%" PRIx64 ") lies over what is loaded from 0x%" PRIx64
                             " to 0x%" PRIx64 "; give another address",
                             path, file->start, file->end, taken[i].start, taken[i].end);
    }
    return 0;
}

static int load_file(struct mem *mem, const char *path, uint64_t gpa, struct boot_range *ranges, size_t *count,
                     struct error *err)
{
    struct loader_bytes bytes;
    int rc = loader_read_whole(mem, "file", path, &bytes, err);

    if (rc)
        return rc;
    struct boot_range range = {.start = gpa, .end = gpa + bytes.len};
    if (!mem_ram_ptr(mem, gpa, bytes.len))
        rc = error_set(err, -EFBIG,
                       "file '%s' (%zu bytes at 0x%" PRIx64 ") is outside the guest's memory (0x%" PRIx64 ", %" PRIu64
                       " bytes); give another address or a larger --memory",
                       path, bytes.len, gpa, mem_ram_base(mem), mem_ram_bytes(mem));
    if (rc == 0)
        rc = check_free(path, &range, ranges, *count, err);
    if (rc == 0 && mem_write(mem, gpa, bytes.data, bytes.len) != 0)
        rc = error_set(err, -EFAULT, "file '%s' does not fit the memory at 0x%" PRIx64, path, gpa);
    if (rc == 0)
        ranges[(*count)++] = range;
    free(bytes.heap);
    return rc;
}

int loader_load_files(struct mem *mem, const char *list, const struct boot_range *taken, size_t taken_count,
                      struct error *err)
{
    struct boot_range *ranges = calloc(taken_count + FILES_MAX, sizeof(*ranges));
    char *copy = strdup(list), *rest = copy, *path;
    size_t count = taken_count;
    uint64_t gpa;
    int rc = loader_check_files(list, err);

    if (rc == 0 && (!ranges || !copy))
        rc = error_set(err, -ENOMEM, "no memory for the names of files to load");
    if (rc == 0 && taken_count)
        memcpy(ranges, taken, taken_count * sizeof(*ranges));
    while (rc == 0 && rest) {
        rc = next_place(&rest, &path, &gpa, err);
        if (rc == 0)
            rc = load_file(mem, path, gpa, ranges, &count, err);
    }
    free(copy);
    free(ranges);
    return rc;
}
