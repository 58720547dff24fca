/* What stands in low memory when a PC's kernel is entered, and the processor's registers then; see loader_pc.h.
 *
 * Linux: the setup header in a zeroed page of boot parameters (Documentation/arch/x86/zero-page.rst), long mode with
 * the first 4 GiB mapped to themselves, rsi = that page. PVH: start info (xen/arch-x86/hvm/start_info.h), ebx = its
 * address. Multiboot: boot information, ebx = its address, eax = magic number.
 */
#include "engine/vcpu.h"
#include "machine/board_pc.h"
#include "machine/loader_pc.h"
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    PAGE = 4096,

    /* Offsets into the boot parameters. */
    PARAMS_E820_ENTRIES = 0x1e8,
    PARAMS_SETUP = 0x1f1,
    PARAMS_LOADER = 0x210,
    PARAMS_RAMDISK_IMAGE = 0x218,
    PARAMS_RAMDISK_SIZE = 0x21c,
    PARAMS_CMD_LINE = 0x228,
    PARAMS_CMDLINE_SIZE = 0x238,
    PARAMS_E820 = 0x2d0,
    E820_ENTRY_BYTES = 20,
    LOADER_UNDEFINED = 0xff,

    MEMORY_RAM = 1,
    MEMORY_RESERVED = 2,
    MAP_ENTRIES = 6, /* the last only with RAM behind the devices */

    PVH_MAGIC = 0x336ec578,
    PVH_MAP_OFFSET = 0x100,
    PVH_MODULE_OFFSET = 0x80,

    MULTIBOOT_BOOT_MAGIC = 0x2badb002,
    MULTIBOOT_HAS_MEMORY = 1 << 0,
    MULTIBOOT_HAS_CMDLINE = 1 << 2,
    MULTIBOOT_HAS_MODULES = 1 << 3,
    MULTIBOOT_HAS_MAP = 1 << 6,

    CR0_PE = 1 << 0,
    CR0_ET = 1 << 4,
    CR4_PAE = 1 << 5,
    EFER_LME = 1 << 8,
    EFER_LMA = 1 << 10,
    PTE_PRESENT = 1,
    PTE_WRITABLE = 2,
    PTE_LARGE = 1 << 7,
    RFLAGS_FIXED = 2,

    SELECTOR_CODE = 0x10,
    SELECTOR_DATA = 0x18,
    SELECTOR_TASK = 0x20,
};
static const uint64_t cr0_pg = UINT64_C(1) << 31;

/* ---- memory ---- */

struct memory_range {
    uint64_t start, bytes;
    uint32_t type;
};

static unsigned memory_map(const struct mem *mem, struct memory_range out[MAP_ENTRIES])
{
    const struct memory_range map[MAP_ENTRIES] = {
        {0, BOARD_PC_LOW_END, MEMORY_RAM},
        {BOARD_PC_LOW_END, BOARD_PC_HIGH_GPA - BOARD_PC_LOW_END, MEMORY_RESERVED},
        {BOARD_PC_HIGH_GPA, mem_ram_low_bytes(mem) - BOARD_PC_HIGH_GPA, MEMORY_RAM},
        {BOARD_PC_VIRTIO_GPA, BOARD_PC_PCI_ECAM_GPA - BOARD_PC_VIRTIO_GPA, MEMORY_RESERVED},
        {BOARD_PC_PCI_ECAM_GPA, BOARD_PC_PCI_ECAM_BYTES, MEMORY_RESERVED},
        {BOARD_PC_HIGH_RAM_GPA, mem_ram_bytes(mem) - mem_ram_low_bytes(mem), MEMORY_RAM},
    };

    memcpy(out, map, sizeof(map));
    return map[MAP_ENTRIES - 1].bytes ? MAP_ENTRIES : MAP_ENTRIES - 1;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    memcpy(at, &value, bytes);
}

/* First 4 GiB in pages of 2 MiB: one table of the fourth level, one of the third, four of the second. */
static int write_page_tables(struct mem *mem)
{
    enum { ENTRIES = 512, DIRECTORIES = 4 };
    uint64_t table[ENTRIES] = {(BOARD_PC_TABLES_GPA + PAGE) | PTE_PRESENT | PTE_WRITABLE};
    int rc = mem_write(mem, BOARD_PC_TABLES_GPA, table, sizeof(table));

    memset(table, 0, sizeof(table));
    for (unsigned i = 0; i < DIRECTORIES; i++)
        table[i] = (BOARD_PC_TABLES_GPA + (2 + i) * (uint64_t)PAGE) | PTE_PRESENT | PTE_WRITABLE;
    if (rc == 0)
        rc = mem_write(mem, BOARD_PC_TABLES_GPA + PAGE, table, sizeof(table));
    for (uint64_t d = 0; d < DIRECTORIES && rc == 0; d++) {
        for (uint64_t i = 0; i < ENTRIES; i++)
            table[i] = (d * ENTRIES + i) << 21 | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
        rc = mem_write(mem, BOARD_PC_TABLES_GPA + (2 + d) * PAGE, table, sizeof(table));
    }
    return rc;
}

static int write_gdt(struct mem *mem, bool long_mode)
{
    const uint64_t code = long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
    const uint64_t gdt[] = {0, 0, code, 0x00cf93000000ffff, 0x00008b0000000067, 0};

    return mem_write(mem, BOARD_PC_GDT_GPA, gdt, sizeof(gdt));
}

static int write_cmdline(struct mem *mem, const char *cmdline, uint64_t limit, struct error *err)
{
    size_t len = strlen(cmdline);

    if (len >= BOARD_PC_CMDLINE_MAX_BYTES || len > limit)
        return error_set(err, -E2BIG, "the command line has %zu bytes, the kernel takes %" PRIu64 "; shorten it", len,
                         limit < BOARD_PC_CMDLINE_MAX_BYTES ? limit : BOARD_PC_CMDLINE_MAX_BYTES - 1);
    return mem_write(mem, BOARD_PC_CMDLINE_GPA, cmdline, len + 1);
}

/* ---- the three protocols ---- */

static void fill_linux(uint8_t page[PAGE], const struct mem *mem, const struct loader_pc_image *image,
                       const struct boot_range *initrd)
{
    struct memory_range map[MAP_ENTRIES];
    unsigned count = memory_map(mem, map);

    memcpy(page + PARAMS_SETUP, image->setup, image->setup_bytes);
    page[PARAMS_LOADER] = LOADER_UNDEFINED;
    put(page + PARAMS_CMD_LINE, BOARD_PC_CMDLINE_GPA, 4);
    put(page + PARAMS_RAMDISK_IMAGE, initrd->start, 4);
    put(page + PARAMS_RAMDISK_SIZE, initrd->end - initrd->start, 4);
    page[PARAMS_E820_ENTRIES] = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = page + PARAMS_E820 + (size_t)i * E820_ENTRY_BYTES;
        put(entry, map[i].start, 8);
        put(entry + 8, map[i].bytes, 8);
        put(entry + 16, map[i].type, 4);
    }
}

static void fill_pvh(uint8_t page[PAGE], const struct mem *mem, const struct boot_range *initrd)
{
    struct memory_range map[MAP_ENTRIES];
    unsigned count = memory_map(mem, map);

    put(page, PVH_MAGIC, 4);
    put(page + 4, 1, 4); /* version: has a memory map */
    if (initrd->end) {
        put(page + 12, 1, 4);
        put(page + 16, BOARD_PC_PARAMS_GPA + PVH_MODULE_OFFSET, 8);
        put(page + PVH_MODULE_OFFSET, initrd->start, 8);
        put(page + PVH_MODULE_OFFSET + 8, initrd->end - initrd->start, 8);
    }
    put(page + 24, BOARD_PC_CMDLINE_GPA, 8);
    put(page + 40, BOARD_PC_PARAMS_GPA + PVH_MAP_OFFSET, 8);
    put(page + 48, count, 4);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = page + PVH_MAP_OFFSET + (size_t)i * 24;
        put(entry, map[i].start, 8);
        put(entry + 8, map[i].bytes, 8);
        put(entry + 16, map[i].type, 4);
    }
}

static void fill_multiboot(uint8_t page[PAGE], const struct mem *mem, const struct boot_range *initrd)
{
    enum { MODULE = 0x80, MAP = 0x100, MAP_ENTRY_BYTES = 24 };
    struct memory_range map[MAP_ENTRIES];
    unsigned count = memory_map(mem, map);

    put(page,
        MULTIBOOT_HAS_MEMORY | MULTIBOOT_HAS_CMDLINE | MULTIBOOT_HAS_MAP | (initrd->end ? MULTIBOOT_HAS_MODULES : 0),
        4);
    put(page + 4, BOARD_PC_LOW_END >> 10, 4);
    put(page + 8, (mem_ram_low_bytes(mem) - BOARD_PC_HIGH_GPA) >> 10, 4);
    put(page + 16, BOARD_PC_CMDLINE_GPA, 4);
    if (initrd->end) {
        put(page + 20, 1, 4);
        put(page + 24, BOARD_PC_PARAMS_GPA + MODULE, 4);
        put(page + MODULE, initrd->start, 4);
        put(page + MODULE + 4, initrd->end, 4);
    }
    put(page + 44, (uint64_t)count * MAP_ENTRY_BYTES, 4);
    put(page + 48, BOARD_PC_PARAMS_GPA + MAP, 4);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = page + MAP + (size_t)i * MAP_ENTRY_BYTES;
        put(entry, MAP_ENTRY_BYTES - 4, 4); /* the size does not count itself */
        put(entry + 4, map[i].start, 8);
        put(entry + 12, map[i].bytes, 8);
        put(entry + 20, map[i].type, 4);
    }
}

int boot_pc_write(struct mem *mem, const struct loader_pc_image *image, const char *cmdline,
                  const struct boot_range *initrd, struct error *err)
{
    uint8_t page[PAGE] = {0};
    uint64_t limit = BOARD_PC_CMDLINE_MAX_BYTES - 1;

    if (image->how == LOADER_PC_SECTOR)
        return 0;
    if (image->how == LOADER_PC_LINUX) {
        fill_linux(page, mem, image, initrd);
        uint32_t most;
        memcpy(&most, page + PARAMS_CMDLINE_SIZE, sizeof(most));
        limit = most;
    } else if (image->how == LOADER_PC_PVH) {
        fill_pvh(page, mem, initrd);
    } else {
        fill_multiboot(page, mem, initrd);
    }
    int rc = write_cmdline(mem, cmdline ? cmdline : "", limit, err);
    if (rc)
        return rc;
    rc = mem_write(mem, BOARD_PC_PARAMS_GPA, page, sizeof(page));
    if (rc == 0)
        rc = write_page_tables(mem);
    if (rc == 0)
        rc = write_gdt(mem, image->how == LOADER_PC_LINUX);
    return rc ? error_set(err, rc, "no room in low memory for what the boot protocol wants: %s", strerrordesc_np(-rc))
              : 0;
}

/* ---- registers ---- */

static void set_flat_segments(struct vcpu_x86_state *x, bool long_mode)
{
    enum {
        CODE = 0xb | 1 << 4 | 1 << 7 | 1 << 15,
        DATA = 0x3 | 1 << 4 | 1 << 7 | 1 << 14 | 1 << 15,
        TASK = 0xb | 1 << 7
    };
    enum { LONG = 1 << 13, WIDE = 1 << 14 };

    for (unsigned i = VCPU_X86_ES; i <= VCPU_X86_GS; i++)
        x->segments[i] = (struct vcpu_x86_segment){.limit = UINT32_MAX, .attributes = DATA, .selector = SELECTOR_DATA};
    x->segments[VCPU_X86_CS].selector = SELECTOR_CODE;
    x->segments[VCPU_X86_CS].attributes = CODE | (long_mode ? LONG : WIDE);
    x->segments[VCPU_X86_TR] = (struct vcpu_x86_segment){.limit = 0x67, .attributes = TASK, .selector = SELECTOR_TASK};
    x->gdt = (struct vcpu_x86_table){.base = BOARD_PC_GDT_GPA, .limit = 6 * 8 - 1};
    x->idt = (struct vcpu_x86_table){0};
}

void boot_pc_state(struct vcpu_state *state, const struct loader_pc_image *image)
{
    struct vcpu_x86_state *x = &state->x86;

    memset(x->gpr, 0, sizeof(x->gpr));
    x->rip = image->image.entry;
    x->rflags = RFLAGS_FIXED;
    switch (image->how) {
    case LOADER_PC_SECTOR:
        for (unsigned i = VCPU_X86_ES; i <= VCPU_X86_GS; i++) {
            x->segments[i].base = 0;
            x->segments[i].selector = 0;
        }
        x->gpr[VCPU_X86_RSP] = image->image.entry;
        return;
    case LOADER_PC_LINUX:
        set_flat_segments(x, true);
        x->gpr[VCPU_X86_RSI] = BOARD_PC_PARAMS_GPA;
        x->cr3 = BOARD_PC_TABLES_GPA;
        x->cr4 = CR4_PAE;
        x->efer = EFER_LME | EFER_LMA;
        x->cr0 = cr0_pg | CR0_ET | CR0_PE;
        return;
    case LOADER_PC_MULTIBOOT:
        x->gpr[VCPU_X86_RAX] = MULTIBOOT_BOOT_MAGIC;
        break;
    case LOADER_PC_PVH:
        break;
    }
    set_flat_segments(x, false);
    x->gpr[VCPU_X86_RBX] = BOARD_PC_PARAMS_GPA;
    x->cr0 = CR0_ET | CR0_PE;
}
