/* ELF programs for 64-bit RISC-V and for PCs, read with libelf.
 *
 * Loadable segments go where their p_paddr says, all of it inside RAM. One exception: Linux's vmlinux has load
 * addresses that count from 0 and starts with an Image header; it is moved as a whole to where its Image would go.
 * Another: a position-independent program (ET_DYN, as OpenSBI's firmware since 1.5) whose addresses count from below
 * RAM is moved to the start of RAM; it relocates itself. The entry and the HTIF symbols are addresses of the program's
 * own view (p_vaddr) and are translated through the segments when that differs. */
#include "machine/loader_internal.h"
#include "mem/mem.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <string.h>

/* More than any linker writes, few enough for pairwise comparison of hostile input. */
enum { ELF_SEGMENTS_MAX = 64 };

struct segment {
    uint64_t gva, gpa, file_offset, file_bytes, mem_bytes;
};

struct program {
    const char *name;
    const uint8_t *data;
    size_t len;
    uint64_t entry;
    bool position_independent;
    bool pc; /* for a PC: 32 or 64 bits, stays where it was linked, entered by what its note or a header says */
    uint32_t count;
    struct segment segments[ELF_SEGMENTS_MAX];
};

bool loader_is_elf(const uint8_t *data, size_t len)
{
    return len >= SELFMAG && !memcmp(data, ELFMAG, SELFMAG);
}

static int check_header(const struct program *p, const GElf_Ehdr *header, struct error *err)
{
    if (p->pc && header->e_machine != EM_X86_64 && header->e_machine != EM_386)
        return error_set(err, -ENOEXEC, "kernel '%s' is an ELF for machine %u, not x86 (62 or 3)", p->name,
                         header->e_machine);
    if (!p->pc && header->e_ident[EI_CLASS] != ELFCLASS64)
        return error_set(err, -ENOEXEC, "kernel '%s' is a 32-bit ELF; a 64-bit one is needed", p->name);
    if (header->e_ident[EI_DATA] != ELFDATA2LSB)
        return error_set(err, -ENOEXEC, "kernel '%s' is a big-endian ELF; a little-endian one is needed", p->name);
    if (!p->pc && header->e_machine != EM_RISCV)
        return error_set(err, -ENOEXEC, "kernel '%s' is an ELF for machine %u, not RISC-V (243)", p->name,
                         header->e_machine);
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return error_set(err, -ENOEXEC, "kernel '%s' is an ELF of type %u, not an executable; link it first", p->name,
                         header->e_type);
    return 0;
}

static int add_segment(struct program *p, const GElf_Phdr *header, struct error *err)
{
    struct segment *s = &p->segments[p->count];

    if (header->p_type != PT_LOAD || header->p_memsz == 0)
        return 0;
    if (p->count == ELF_SEGMENTS_MAX)
        return error_set(err, -ENOEXEC, "kernel '%s' has more than %d loadable segments", p->name, ELF_SEGMENTS_MAX);
    if (header->p_filesz > header->p_memsz)
        return error_set(err, -ENOEXEC,
                         "kernel '%s': segment %u has %" PRIu64 " bytes in the file, %" PRIu64
                         " in memory; the file is damaged",
                         p->name, p->count, header->p_filesz, header->p_memsz);
    if (header->p_offset > p->len || header->p_filesz > p->len - header->p_offset)
        return error_set(err, -ENOEXEC, "kernel '%s' is truncated: segment %u ends behind its %zu bytes", p->name,
                         p->count, p->len);
    if (header->p_paddr + (header->p_memsz - 1) < header->p_paddr ||
        header->p_vaddr + (header->p_memsz - 1) < header->p_vaddr)
        return error_set(err, -ENOEXEC, "kernel '%s': segment %u at 0x%" PRIx64 " wraps around; the file is damaged",
                         p->name, p->count, header->p_paddr);
    *s = (struct segment){.gva = header->p_vaddr,
                          .gpa = header->p_paddr,
                          .file_offset = header->p_offset,
                          .file_bytes = header->p_filesz,
                          .mem_bytes = header->p_memsz};
    p->count++;
    return 0;
}

static int read_segments(struct program *p, Elf *elf, struct error *err)
{
    size_t headers;

    if (elf_getphdrnum(elf, &headers) != 0)
        return error_set(err, -ENOEXEC, "kernel '%s' has damaged program headers: %s", p->name, elf_errmsg(-1));
    for (size_t i = 0; i < headers; i++) {
        GElf_Phdr header;
        if (!gelf_getphdr(elf, (int)i, &header))
            return error_set(err, -ENOEXEC, "kernel '%s' has damaged program headers: %s", p->name, elf_errmsg(-1));
        int rc = add_segment(p, &header, err);
        if (rc)
            return rc;
    }
    if (p->count == 0)
        return error_set(err, -ENOEXEC, "kernel '%s' is an ELF with nothing to load; link it first", p->name);
    return 0;
}

static bool overlaps(const struct segment *a, const struct segment *b)
{
    return a->gpa <= b->gpa + (b->mem_bytes - 1) && b->gpa <= a->gpa + (a->mem_bytes - 1);
}

static int check_overlaps(const struct program *p, struct error *err)
{
    for (uint32_t i = 1; i < p->count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (overlaps(&p->segments[i], &p->segments[k]))
                return error_set(err, -ENOEXEC, "kernel '%s': segments %u and %u both load at 0x%" PRIx64, p->name, k,
                                 i, p->segments[i].gpa);
    return 0;
}

static struct segment *lowest(struct program *p)
{
    struct segment *low = &p->segments[0];

    for (uint32_t i = 1; i < p->count; i++)
        if (p->segments[i].gpa < low->gpa)
            low = &p->segments[i];
    return low;
}

/* See the top: a vmlinux is moved to where its Image belongs, a position-independent program to the start of RAM. */
static int move_into_ram(struct program *p, const struct mem *mem, struct error *err)
{
    const struct segment *low = lowest(p);
    const uint8_t *bytes = p->data + low->file_offset;
    uint64_t text_offset = 0;

    if (p->pc || low->gpa >= mem_ram_base(mem))
        return 0;
    if (loader_is_image(bytes, low->file_bytes)) {
        int rc = loader_image_text_offset(p->name, bytes, low->file_bytes, &text_offset, err);
        if (rc)
            return rc;
    } else if (p->position_independent) {
        text_offset = low->gpa % MEM_PAGE_BYTES;
    } else {
        return 0;
    }
    uint64_t delta = mem_ram_base(mem) + text_offset - low->gpa;
    for (uint32_t i = 0; i < p->count; i++) {
        struct segment *s = &p->segments[i];
        if (s->gpa + (s->mem_bytes - 1) > UINT64_MAX - delta)
            return error_set(err, -EFBIG, "kernel '%s': segment %u at 0x%" PRIx64 " is too far from the first", p->name,
                             i, s->gpa);
        s->gpa += delta;
    }
    return 0;
}

static int check_in_ram(const struct program *p, const struct mem *mem, struct error *err)
{
    uint64_t base = mem_ram_base(mem), bytes = mem_ram_low_bytes(mem);

    for (uint32_t i = 0; i < p->count; i++) {
        const struct segment *s = &p->segments[i];
        /* An address below RAM wraps to one far above it. */
        if (s->gpa - base > bytes || s->mem_bytes > bytes - (s->gpa - base))
            return error_set(err, -EFBIG,
                             "kernel '%s': segment %u (0x%" PRIx64 ", %" PRIu64
                             " bytes) is outside the guest's memory (0x%" PRIx64 ", %" PRIu64
                             " bytes); link it there or give a larger --memory",
                             p->name, i, s->gpa, s->mem_bytes, base, bytes);
    }
    return 0;
}

/* Physical address of `len` bytes the program knows by `address`; false when no segment holds them. An address that
 * is both (as in most bare-metal programs) is physical. */
static bool translate(const struct program *p, uint64_t address, uint64_t len, uint64_t *gpa)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct segment *s = &p->segments[i];
        if (address >= s->gpa && len <= s->mem_bytes && address - s->gpa <= s->mem_bytes - len) {
            *gpa = address;
            return true;
        }
    }
    for (uint32_t i = 0; i < p->count; i++) {
        const struct segment *s = &p->segments[i];
        if (address >= s->gva && len <= s->mem_bytes && address - s->gva <= s->mem_bytes - len) {
            *gpa = s->gpa + (address - s->gva);
            return true;
        }
    }
    return false;
}

static void note_symbol(const struct program *p, const char *name, const GElf_Sym *symbol, struct boot_image *out)
{
    uint64_t gpa;

    if (symbol->st_shndx == SHN_UNDEF || !translate(p, symbol->st_value, sizeof(uint64_t), &gpa) ||
        gpa % sizeof(uint64_t))
        return;
    if (!strcmp(name, "tohost")) {
        out->has_tohost = true;
        out->tohost = gpa;
    } else if (!strcmp(name, "fromhost")) {
        out->has_fromhost = true;
        out->fromhost = gpa;
    }
}

/* HTIF's symbols. A symbol table that cannot be read is no reason to refuse a program that may not need it. */
static void find_symbols(const struct program *p, Elf *elf, struct boot_image *out)
{
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section; section = elf_nextscn(elf, section)) {
        GElf_Shdr header;
        if (!gelf_getshdr(section, &header) || header.sh_type != SHT_SYMTAB)
            continue;
        Elf_Data *data = elf_getdata(section, NULL);
        GElf_Sym symbol;
        for (int i = 0; data && gelf_getsym(data, i, &symbol); i++) {
            const char *name = elf_strptr(elf, header.sh_link, symbol.st_name);
            if (name)
                note_symbol(p, name, &symbol, out);
        }
    }
}

static int write_segments(const struct program *p, struct mem *mem, struct boot_image *out, struct error *err)
{
    out->start = UINT64_MAX;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct segment *s = &p->segments[i];
        if (s->file_bytes && mem_write(mem, s->gpa, p->data + s->file_offset, s->file_bytes) != 0)
            return error_set(err, -EFAULT, "kernel '%s' does not fit the memory at 0x%" PRIx64, p->name, s->gpa);
        if (s->gpa < out->start)
            out->start = s->gpa;
        if (s->gpa + s->mem_bytes > out->end)
            out->end = s->gpa + s->mem_bytes;
    }
    return 0;
}

static int load_program(struct program *p, Elf *elf, struct mem *mem, struct boot_image *out, struct error *err)
{
    GElf_Ehdr header;

    if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header))
        return error_set(err, -ENOEXEC, "kernel '%s' has a damaged ELF header: %s", p->name, elf_errmsg(-1));
    int rc = check_header(p, &header, err);
    p->position_independent = rc == 0 && header.e_type == ET_DYN;
    if (rc == 0)
        rc = read_segments(p, elf, err);
    if (rc == 0)
        rc = check_overlaps(p, err);
    if (rc == 0)
        rc = move_into_ram(p, mem, err);
    if (rc == 0)
        rc = check_in_ram(p, mem, err);
    if (rc)
        return rc;
    *out = (struct boot_image){.kind = BOOT_IMAGE_ELF};
    if (!translate(p, header.e_entry, p->pc ? 1 : 2, &out->entry) || (!p->pc && (out->entry & 1)))
        return error_set(err, -ENOEXEC,
                         "kernel '%s' has its entry (0x%" PRIx64 ") at an odd address or in no loaded segment", p->name,
                         header.e_entry);
    find_symbols(p, elf, out);
    return write_segments(p, mem, out, err);
}

/* A note of type XEN_ELFNOTE_PHYS32_ENTRY, whose contents are the address (4 or 8 bytes). */
static void find_pvh_entry(Elf *elf, struct loader_elf_pc *out)
{
    enum { XEN_ELFNOTE_PHYS32_ENTRY = 18 };
    size_t headers = 0;

    (void)elf_getphdrnum(elf, &headers);
    for (size_t i = 0; i < headers; i++) {
        GElf_Phdr header;
        if (!gelf_getphdr(elf, (int)i, &header) || header.p_type != PT_NOTE)
            continue;
        Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)header.p_offset, header.p_filesz,
                                              header.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
        GElf_Nhdr note;
        size_t name, contents, at = 0;
        while (data && (at = gelf_getnote(data, at, &note, &name, &contents)) > 0) {
            const char *bytes = data->d_buf;
            if (note.n_type != XEN_ELFNOTE_PHYS32_ENTRY || note.n_namesz != sizeof("Xen") ||
                memcmp(bytes + name, "Xen", sizeof("Xen")) != 0 || (note.n_descsz != 4 && note.n_descsz != 8))
                continue;
            out->has_pvh = true;
            out->pvh_entry = 0;
            memcpy(&out->pvh_entry, bytes + contents, note.n_descsz);
        }
    }
}

static int load_bytes(struct program *p, struct mem *mem, struct boot_image *out, struct loader_elf_pc *pc,
                      struct error *err)
{
    elf_version(EV_CURRENT);
    Elf *elf = elf_memory((char *)(uintptr_t)p->data, p->len);
    if (!elf)
        return error_set(err, -ENOEXEC, "kernel '%s' has a damaged ELF header: %s", p->name, elf_errmsg(-1));
    int rc = load_program(p, elf, mem, out, err);
    if (rc == 0 && pc)
        find_pvh_entry(elf, pc);
    elf_end(elf);
    return rc;
}

int loader_elf_load(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct boot_image *out,
                    struct error *err)
{
    struct program p = {.name = name, .data = data, .len = len};

    return load_bytes(&p, mem, out, NULL, err);
}

int loader_elf_load_pc(struct mem *mem, const char *name, const uint8_t *data, size_t len, struct boot_image *out,
                       struct loader_elf_pc *pc, struct error *err)
{
    struct program p = {.name = name, .data = data, .len = len, .pc = true};

    *pc = (struct loader_elf_pc){0};
    return load_bytes(&p, mem, out, pc, err);
}
