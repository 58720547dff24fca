/* Kernels and programs for a PC; see loader_pc.h. Formats: Linux's Documentation/arch/x86/boot.rst, the Multiboot
 * Specification 0.6.96 (chapter 3), Xen's docs/misc/pvh.pandoc. */
#include "machine/loader_pc.h"

#include "machine/board_pc.h"
#include "machine/loader_internal.h"
#include "mem/mem.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Offsets into a bzImage. */
    SETUP_SECTS = 0x1f1,
    SYSSIZE = 0x1f4,
    BOOT_FLAG = 0x1fe,
    JUMP_LEN = 0x201,
    HEADER_MAGIC = 0x202,
    VERSION = 0x206,
    LOADFLAGS = 0x211,
    INITRD_ADDR_MAX = 0x22c,
    KERNEL_ALIGNMENT = 0x230,
    XLOADFLAGS = 0x236,
    PREF_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
    HEADER_END = 0x264,

    SECTOR_BYTES = 512,
    SECTOR_FLAG = 0xaa55,
    LOADED_HIGH = 1,
    XLF_KERNEL_64 = 1 << 0,
    XLF_LOADED_ABOVE_4G = 1 << 1,
    VERSION_NEEDED = 0x20c, /* 64-bit entry */
    ENTRY_64_OFFSET = 0x200,

    SECTOR_GPA = 0x7c00,
    SECTOR_PROGRAM_BYTES_MAX = BOARD_PC_LOW_END - SECTOR_GPA,

    MULTIBOOT_SEARCH_BYTES = 8192,
    MULTIBOOT_MAGIC = 0x1badb002,
    MULTIBOOT_ADDRESSES = 1 << 16,
    MULTIBOOT_MANDATORY_KNOWN = 3, /* page alignment of modules, memory map; other low bits are demands */
    MULTIBOOT_MANDATORY = 0xffff,
};

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static bool is_linux(const uint8_t *data, size_t len)
{
    return len > HEADER_END && get(data + BOOT_FLAG, 2) == SECTOR_FLAG && !memcmp(data + HEADER_MAGIC, "HdrS", 4);
}

static bool is_sector(const uint8_t *data, size_t len)
{
    return len >= SECTOR_BYTES && get(data + SECTOR_BYTES - 2, 2) == SECTOR_FLAG;
}

static bool is_pc_elf(const uint8_t *data, size_t len)
{
    return loader_is_elf(data, len) && len > 20 && (get(data + 18, 2) == EM_X86_64 || get(data + 18, 2) == EM_386);
}

/* ---- multiboot ---- */

struct multiboot {
    uint32_t flags, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
    size_t offset; /* of the header in the file */
};

/* A header is 4-byte aligned and its first three words' sum is 0. */
static bool find_multiboot(const uint8_t *data, size_t len, struct multiboot *out)
{
    size_t limit = len < MULTIBOOT_SEARCH_BYTES ? len : MULTIBOOT_SEARCH_BYTES;

    for (size_t at = 0; at + 12 <= limit; at += 4) {
        uint32_t words[8] = {0};
        if (get(data + at, 4) != MULTIBOOT_MAGIC)
            continue;
        memcpy(words, data + at, len - at < sizeof(words) ? 12 : sizeof(words));
        if (words[0] + words[1] + words[2] != 0)
            continue;
        *out = (struct multiboot){.flags = words[1],
                                  .header_addr = words[3],
                                  .load_addr = words[4],
                                  .load_end_addr = words[5],
                                  .bss_end_addr = words[6],
                                  .entry_addr = words[7],
                                  .offset = at};
        return true;
    }
    return false;
}

/* A program that says itself where its bytes belong. */
static int load_at_addresses(struct mem *mem, const char *name, const uint8_t *data, size_t len,
                             const struct multiboot *header, struct boot_image *out, struct error *err)
{
    uint64_t before = (uint64_t)header->header_addr - header->load_addr;

    if (header->header_addr < header->load_addr || before > header->offset)
        return error_set(err, -ENOEXEC,
                         "'%s': its multiboot header says that it lies at 0x%x, loaded from 0x%x; the"
                         " file is damaged",
                         name, header->header_addr, header->load_addr);
    uint64_t from = header->offset - before;
    uint64_t bytes = header->load_end_addr ? (uint64_t)header->load_end_addr - header->load_addr : len - from;
    if (header->load_end_addr && (header->load_end_addr < header->load_addr || bytes > len - from))
        return error_set(err, -ENOEXEC,
                         "'%s' is truncated: its multiboot header wants %" PRIu64 " bytes, there are %" PRIu64, name,
                         bytes, (uint64_t)len - from);
    uint64_t end = header->load_addr + bytes;
    if (header->bss_end_addr > end)
        end = header->bss_end_addr;
    if (header->load_addr < BOARD_PC_HIGH_GPA || !mem_ram_ptr(mem, header->load_addr, end - header->load_addr) ||
        mem_write(mem, header->load_addr, data + from, bytes))
        return error_set(err, -EFBIG,
                         "'%s' does not fit the guest's memory at 0x%x (0x%" PRIx64 " bytes); link it from"
                         " 1 MiB on, or give a larger --memory",
                         name, header->load_addr, end - header->load_addr);
    *out = (struct boot_image){
        .kind = BOOT_IMAGE_FLAT, .entry = header->entry_addr, .start = header->load_addr, .end = end};
    return 0;
}

static int check_multiboot(const char *name, const struct multiboot *header, struct error *err)
{
    uint32_t unknown = header->flags & MULTIBOOT_MANDATORY & ~(uint32_t)MULTIBOOT_MANDATORY_KNOWN;

    return unknown ? error_set(err, -ENOEXEC, "'%s': its multiboot header demands what is not there (flags 0x%x)", name,
                               unknown)
                   : 0;
}

/* ---- bzImage ---- */

static int check_linux(const char *name, const uint8_t *data, size_t len, struct error *err)
{
    unsigned version = (unsigned)get(data + VERSION, 2);
    uint64_t setup = (get(data + SETUP_SECTS, 1) ? get(data + SETUP_SECTS, 1) : 4) + 1;
    uint64_t kernel = get(data + SYSSIZE, 4) * 16;

    /* What is entered has to be there. */
    if (kernel <= ENTRY_64_OFFSET)
        kernel = ENTRY_64_OFFSET + 1;
    if (version < VERSION_NEEDED || !(get(data + XLOADFLAGS, 2) & XLF_KERNEL_64))
        return error_set(err, -ENOEXEC,
                         "kernel '%s' has no 64-bit entry (boot protocol %u.%02u); use a 64-bit kernel of"
                         " Linux 3.8 or newer",
                         name, version >> 8, version & 0xff);
    if (!(get(data + LOADFLAGS, 1) & LOADED_HIGH))
        return error_set(err, -ENOEXEC, "kernel '%s' is a zImage; use a bzImage", name);
    if (data[JUMP_LEN] + HEADER_MAGIC < HEADER_END ||
        data[JUMP_LEN] + HEADER_MAGIC > SETUP_SECTS + LOADER_PC_SETUP_BYTES)
        return error_set(err, -ENOEXEC, "kernel '%s' has a damaged header: it ends at byte %u", name,
                         data[JUMP_LEN] + HEADER_MAGIC);
    if (setup * SECTOR_BYTES >= len || kernel > len - setup * SECTOR_BYTES)
        return error_set(err, -ENOEXEC, "kernel '%s' is truncated: %zu bytes of %" PRIu64 "; get it again", name, len,
                         setup * SECTOR_BYTES + kernel);
    return 0;
}

static int load_linux(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct loader_pc_image *out,
                      struct error *err)
{
    int rc = check_linux(name, data, len, err);

    if (rc)
        return rc;
    uint64_t setup_bytes = ((get(data + SETUP_SECTS, 1) ? get(data + SETUP_SECTS, 1) : 4) + 1) * SECTOR_BYTES;
    uint64_t gpa = get(data + PREF_ADDRESS, 8), want = get(data + INIT_SIZE, 4);
    uint64_t align = get(data + KERNEL_ALIGNMENT, 4);
    if (want < len - setup_bytes)
        want = len - setup_bytes;
    if (gpa < BOARD_PC_HIGH_GPA || !align || gpa % align)
        return error_set(err, -ENOEXEC,
                         "kernel '%s' wants to be at 0x%" PRIx64 ", a multiple of 0x%" PRIx64 "; its header is damaged",
                         name, gpa, align);
    if (!mem_ram_ptr(mem, gpa, want) || mem_write(mem, gpa, data + setup_bytes, len - setup_bytes))
        return error_set(err, -EFBIG,
                         "kernel '%s' needs %" PRIu64 " bytes at 0x%" PRIx64 ", the guest has memory up to"
                         " 0x%" PRIx64 "; give a larger --memory",
                         name, want, gpa, mem_ram_low_bytes(mem));
    out->how = LOADER_PC_LINUX;
    out->image =
        (struct boot_image){.kind = BOOT_IMAGE_LINUX, .entry = gpa + ENTRY_64_OFFSET, .start = gpa, .end = gpa + want};
    out->setup_bytes = data[JUMP_LEN] + HEADER_MAGIC - (size_t)SETUP_SECTS;
    memcpy(out->setup, data + SETUP_SECTS, out->setup_bytes);
    if (!(get(data + XLOADFLAGS, 2) & XLF_LOADED_ABOVE_4G))
        out->initrd_max = get(data + INITRD_ADDR_MAX, 4);
    return 0;
}

/* ---- the others ---- */

static int load_elf(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct loader_pc_image *out,
                    struct error *err)
{
    struct multiboot header;
    struct loader_elf_pc pc;
    bool multiboot = find_multiboot(data, len, &header);
    int rc = multiboot ? check_multiboot(name, &header, err) : 0;

    if (rc == 0)
        rc = loader_elf_load_pc(mem, name, data, len, &out->image, &pc, err);
    if (rc)
        return rc;
    if (out->image.start < BOARD_PC_HIGH_GPA)
        return error_set(err, -ENOEXEC,
                         "kernel '%s' loads at 0x%" PRIx64 ", where the boot protocol's data are; link it"
                         " from 1 MiB on",
                         name, out->image.start);
    if (pc.has_pvh) {
        out->how = LOADER_PC_PVH;
        out->image.entry = pc.pvh_entry;
    } else if (multiboot) {
        out->how = LOADER_PC_MULTIBOOT;
    } else {
        return error_set(err, -ENOEXEC,
                         "kernel '%s' is an x86 ELF without a PVH note and without a multiboot header; use"
                         " the bzImage, or a kernel with CONFIG_PVH",
                         name);
    }
    if (out->image.entry < out->image.start || out->image.entry >= out->image.end)
        return error_set(err, -ENOEXEC, "kernel '%s' has its entry (0x%" PRIx64 ") outside of what it loads", name,
                         out->image.entry);
    return 0;
}

static int load_multiboot(struct mem *mem, const char *name, const uint8_t *data, size_t len,
                          const struct multiboot *header, struct loader_pc_image *out, struct error *err)
{
    int rc = check_multiboot(name, header, err);

    if (rc == 0)
        rc = load_at_addresses(mem, name, data, len, header, &out->image, err);
    if (rc)
        return rc;
    out->how = LOADER_PC_MULTIBOOT;
    if (out->image.entry < out->image.start || out->image.entry >= out->image.end)
        return error_set(err, -ENOEXEC, "'%s' has its entry (0x%" PRIx64 ") outside of what it loads", name,
                         out->image.entry);
    return 0;
}

static int load_sector(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct loader_pc_image *out,
                       struct error *err)
{
    if (len > SECTOR_PROGRAM_BYTES_MAX || mem_write(mem, SECTOR_GPA, data, len))
        return error_set(err, -EFBIG, "'%s' is a boot sector with %zu bytes behind it; %d fit", name,
                         len - SECTOR_BYTES, SECTOR_PROGRAM_BYTES_MAX - SECTOR_BYTES);
    out->how = LOADER_PC_SECTOR;
    out->image =
        (struct boot_image){.kind = BOOT_IMAGE_FLAT, .entry = SECTOR_GPA, .start = SECTOR_GPA, .end = SECTOR_GPA + len};
    return 0;
}

static int load(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct loader_pc_image *out,
                struct error *err)
{
    struct multiboot header;

    if (is_linux(data, len))
        return load_linux(mem, name, data, len, out, err);
    if (loader_is_elf(data, len))
        return load_elf(mem, name, data, len, out, err);
    if (find_multiboot(data, len, &header) && (header.flags & MULTIBOOT_ADDRESSES))
        return load_multiboot(mem, name, data, len, &header, out, err);
    if (is_sector(data, len))
        return load_sector(mem, name, data, len, out, err);
    return error_set(err, -ENOEXEC,
                     "'%s' (%zu bytes) is not a bzImage, nor an x86 ELF, a multiboot program or a boot"
                     " sector; name one of these",
                     name, len);
}

int loader_pc_load_bytes(struct mem *mem, const char *name, const void *bytes, size_t len, struct loader_pc_image *out,
                         struct error *err)
{
    memset(out, 0, sizeof(*out));
    out->initrd_max = UINT32_MAX;
    return load(mem, name, bytes, len, out, err);
}

int loader_pc_load(struct mem *mem, const char *path, struct loader_pc_image *out, struct error *err)
{
    struct loader_bytes bytes;
    int rc = loader_read_whole(mem, "kernel", path, &bytes, err);

    if (rc)
        return rc;
    rc = loader_pc_load_bytes(mem, path, bytes.data, bytes.len, out, err);
    free(bytes.heap);
    return rc;
}

bool loader_is_pc(const char *path)
{
    uint8_t head[MULTIBOOT_SEARCH_BYTES] = {0};
    struct loader_file file;
    struct multiboot header;

    if (loader_file_open(&file, "kernel", path, NULL))
        return false;
    size_t len = file.size_bytes < sizeof(head) ? file.size_bytes : sizeof(head);
    bool read = loader_file_read(&file, 0, head, len, NULL) == 0;
    loader_file_close(&file);
    return read &&
           (is_linux(head, len) || is_pc_elf(head, len) ||
            (!loader_is_elf(head, len) && !loader_is_image(head, len) &&
             ((find_multiboot(head, len, &header) && (header.flags & MULTIBOOT_ADDRESSES)) || is_sector(head, len))));
}
