/* The RISC-V Linux Image (kernel documentation, arch/riscv/boot-image-header) and the EFI wrappings it comes in.
 *
 *     offset  0  code0, code1    two instructions; "MZ" in the first when there is an EFI stub
 *             8  text_offset     from the start of RAM, a multiple of 2 MiB
 *            16  image_size      in memory, zero-initialised data included
 *            24  flags           bit 0: big-endian
 *            32  version         major << 16 | minor
 *            48  magic           "RISCV\0\0\0" (deprecated since 0.2)
 *            56  magic2          "RSC\x05"
 *            60  PE header       its offset, when there is an EFI stub
 *
 * All fields are little-endian. A flat Image carries no length of its own file; with an EFI stub the PE section table
 * does, and that is how a truncated download is noticed here rather than by a guest that dies without a word. Reserved
 * fields are not looked at: a later minor version may use them. */
#include "machine/loader_internal.h"
#include "mem/mem.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    IMAGE_HEADER_BYTES = 64,
    IMAGE_PE_OFFSET = 60,
    ZBOOT_HEADER_BYTES = 64,
    ZBOOT_TYPE_OFFSET = 24,
    ZBOOT_TYPE_BYTES = 32,
    PE_FILE_HEADER_BYTES = 24, /* signature included */
    PE_SECTION_BYTES = 40,
    PE_MACHINE_RISCV64 = 0x5064,
};

static uint16_t read16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return le16toh(value);
}

static uint32_t read32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t read64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

bool loader_is_image(const uint8_t *data, size_t len)
{
    return len >= IMAGE_HEADER_BYTES && (!memcmp(data + 56, "RSC\x05", 4) || !memcmp(data + 48, "RISCV\0\0\0", 8));
}

bool loader_is_zboot(const uint8_t *data, size_t len)
{
    return len >= 8 && !memcmp(data, "MZ", 2) && !memcmp(data + 4, "zimg", 4);
}

static bool has_efi_stub(const uint8_t *data)
{
    return data[0] == 'M' && data[1] == 'Z';
}

static int truncated(const char *name, size_t len, uint64_t needed, struct error *err)
{
    return error_set(err, -ENOEXEC, "kernel '%s' is truncated: %zu bytes of %" PRIu64 "; download it again", name, len,
                     needed);
}

/* Every PE section's bytes must be in the file (PE/COFF specification, "Section Table"). */
static int check_pe_sections(const char *name, const uint8_t *data, size_t len, struct error *err)
{
    uint64_t pe = read32(data + IMAGE_PE_OFFSET);

    if (pe + PE_FILE_HEADER_BYTES > len)
        return truncated(name, len, pe + PE_FILE_HEADER_BYTES, err);
    if (memcmp(data + pe, "PE\0\0", 4) != 0)
        return error_set(err, -ENOEXEC,
                         "kernel '%s' has an EFI stub whose PE header (at 0x%" PRIx64 ") is damaged; download it again",
                         name, pe);
    uint16_t machine = read16(data + pe + 4);
    if (machine != PE_MACHINE_RISCV64)
        return error_set(err, -ENOEXEC, "kernel '%s' is for PE machine 0x%04x, not 64-bit RISC-V (0x5064)", name,
                         machine);
    uint64_t count = read16(data + pe + 6);
    uint64_t table = pe + PE_FILE_HEADER_BYTES + read16(data + pe + 20);
    if (table + count * PE_SECTION_BYTES > len)
        return truncated(name, len, table + count * PE_SECTION_BYTES, err);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *section = data + table + i * PE_SECTION_BYTES;
        uint64_t end = (uint64_t)read32(section + 20) + read32(section + 16);
        if (end > len)
            return truncated(name, len, end, err);
    }
    return 0;
}

int loader_image_text_offset(const char *name, const uint8_t *data, size_t len, uint64_t *offset, struct error *err)
{
    uint32_t version = read32(data + 32);
    uint64_t text_offset = read64(data + 8);

    if (version >> 16)
        return error_set(err, -ENOEXEC, "kernel '%s' has Image header version %u.%u; this loader knows 0.x", name,
                         version >> 16, version & 0xffff);
    if (read64(data + 24) & 1)
        return error_set(err, -ENOEXEC, "kernel '%s' is big-endian; give a little-endian one", name);
    if (text_offset % LOADER_KERNEL_ALIGN_BYTES)
        return error_set(err, -ENOEXEC, "kernel '%s' has text_offset 0x%" PRIx64 ", which is no multiple of 2 MiB",
                         name, text_offset);
    *offset = text_offset;
    return 0;
}

int loader_image_load(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct boot_image *out,
                      struct error *err)
{
    uint64_t text_offset, image_size = read64(data + 16);
    uint64_t ram_bytes = mem_ram_low_bytes(mem);
    int rc = loader_image_text_offset(name, data, len, &text_offset, err);

    if (rc == 0 && has_efi_stub(data))
        rc = check_pe_sections(name, data, len, err);
    if (rc)
        return rc;
    if (image_size == 0)
        return error_set(err, -ENOEXEC, "kernel '%s' has image_size 0 in its header; use Linux 5.4 or newer", name);
    uint64_t occupied = image_size > len ? image_size : len;
    if (text_offset > ram_bytes || occupied > ram_bytes - text_offset)
        return error_set(err, -EFBIG,
                         "kernel '%s' needs %" PRIu64 " bytes at offset %" PRIu64 ", the guest has %" PRIu64
                         " bytes of memory; give a larger --memory",
                         name, occupied, text_offset, ram_bytes);
    uint64_t start = mem_ram_base(mem) + text_offset;
    /* It may have been read to its place (loader_load_kernel()). */
    if (data == mem_ram_ptr(mem, start, len))
        mem_note_write(mem, start, len);
    else if (mem_write(mem, start, data, len) != 0)
        return error_set(err, -EFAULT, "kernel '%s' does not fit the memory at 0x%" PRIx64, name, start);
    *out = (struct boot_image){.kind = BOOT_IMAGE_LINUX, .entry = start, .start = start, .end = start + occupied};
    return 0;
}

int loader_zboot_payload(const char *name, const uint8_t *data, size_t len, struct loader_bytes *payload,
                         struct error *err)
{
    char type[ZBOOT_TYPE_BYTES + 1] = {0};

    if (len < ZBOOT_HEADER_BYTES)
        return truncated(name, len, ZBOOT_HEADER_BYTES, err);
    memcpy(type, data + ZBOOT_TYPE_OFFSET, ZBOOT_TYPE_BYTES);
    if (strcmp(type, "gzip") != 0) {
        for (char *c = type; *c; c++)
            if (*c < 'a' || *c > 'z')
                *c = '?';
        return error_set(err, -ENOEXEC,
                         "kernel '%s' is an EFI zboot image compressed with '%s'; only gzip is supported: extract its "
                         "Image, or use an uncompressed kernel",
                         name, type);
    }
    uint64_t offset = read32(data + 8), size = read32(data + 12);
    if (offset > len || size > len - offset)
        return truncated(name, len, offset + size, err);
    *payload = (struct loader_bytes){.data = data + offset, .len = size};
    return 0;
}

/* Files that people give by mistake. */
static const struct {
    uint32_t offset;
    const char *bytes;
    uint32_t len;
    const char *text;
} foreign[] = {
    {56, "ARM\x64", 4, "an arm64 Linux Image; a riscv64 one is needed"},
    {0x202, "HdrS", 4, "an x86 Linux bzImage; a riscv64 Image is needed"},
    {0, "\x27\x05\x19\x56", 4, "a U-Boot uImage; take the Image it was made from"},
    {0, "\xd0\x0d\xfe\xed", 4, "a flattened device tree or FIT image; take the Image itself"},
    {0,
     "\xfd"
     "7zXZ",
     5, "xz-compressed; decompress it with xz -d"},
    {0, "\x28\xb5\x2f\xfd", 4, "zstd-compressed; decompress it with zstd -d"},
    {0, "BZh", 3, "bzip2-compressed; decompress it with bzip2 -d"},
    {0, "\x02\x21\x4c\x18", 4, "lz4-compressed; decompress it with lz4 -d"},
    {0, "\x04\x22\x4d\x18", 4, "lz4-compressed; decompress it with lz4 -d"},
    {0, "\x5d\x00\x00", 3, "lzma-compressed; decompress it with xz -d --format=lzma"},
    {0, "!<arch>", 7, "an archive (a .deb package?); extract the kernel from it"},
    {0, "MZ", 2, "an EFI program without Linux's Image header"},
};

static const char *foreign_text(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(foreign); i++)
        if (len >= (size_t)foreign[i].offset + foreign[i].len &&
            !memcmp(data + foreign[i].offset, foreign[i].bytes, foreign[i].len))
            return foreign[i].text;
    return NULL;
}

bool loader_is_foreign(const uint8_t *data, size_t len)
{
    return foreign_text(data, len) != NULL;
}

int loader_image_unknown(const char *name, const uint8_t *data, size_t len, struct error *err)
{
    const char *text = foreign_text(data, len);

    if (text)
        return error_set(err, -ENOEXEC, "kernel '%s' is %s", name, text);
    return error_set(
        err, -ENOEXEC,
        "kernel '%s' (%zu bytes) is not a riscv64 Linux Image, a gzip-compressed one or an ELF; name one of "
        "these",
        name, len);
}
