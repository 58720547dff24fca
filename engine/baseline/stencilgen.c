/* Build tool: reads the object file of stencils.c and writes the table of stencils (stencil.h) as C to standard output.
 *
 * A stencil is the code of one function, in a section of its own. What it may refer to: holes and ways (holes.h), the
 * functions that compiled code may call (engine/region/symbols.h), and constants. Everything else (a section, a kind of
 * relocation, a symbol, a row without a stencil) is refused by name: a table made in spite of it would be a tier that
 * is wrong now and then.
 */
#include "engine/baseline/stencil.h"
#include "engine/region/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTIONS_MAX = 8192, CONSTANTS_MAX = 4096, JUMP_BYTES = 5, JUMP_OPCODE = 0xe9 };

static const char *const holes[] = {
#define X(name, text) "hole_" #name,
    STENCIL_HOLES(X)
#undef X
};

static const char *const ways[] = {
#define X(name, text) "way_" #name,
    STENCIL_WAYS(X)
#undef X
};

static const char *const helpers[] = {
#define X(name) #name,
    REGION_SYMBOLS(X)
#undef X
};

struct object {
    Elf *elf;
    size_t section_names, section_count;
    Elf_Data *symbols;
    size_t symbol_names, symbol_count;
    Elf_Data *relocs[SECTIONS_MAX];         /* by the section they are for */
    int32_t constants_offset[SECTIONS_MAX]; /* of a section of constants in `constants`; -1: it is none */
    uint8_t constants[CONSTANTS_MAX];
    size_t constants_bytes;
    unsigned errors;
};

__attribute__((format(printf, 2, 3))) static void refuse(struct object *o, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fputs("stencilgen: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    o->errors++;
}

static const char *section_name(const struct object *o, size_t index)
{
    GElf_Shdr header;
    Elf_Scn *section = elf_getscn(o->elf, index);
    const char *name =
        section && gelf_getshdr(section, &header) ? elf_strptr(o->elf, o->section_names, header.sh_name) : NULL;

    return name ? name : "?";
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* ---- what the file holds ---- */

static void add_constants(struct object *o, size_t index, const GElf_Shdr *header, const Elf_Data *data)
{
    size_t align = header->sh_addralign ? header->sh_addralign : 1;
    size_t at = (o->constants_bytes + align - 1) / align * align;

    if (align > 64 || at + header->sh_size > CONSTANTS_MAX) {
        refuse(o, "section %s: too large or too strictly aligned for a constant", section_name(o, index));
        return;
    }
    memcpy(o->constants + at, data->d_buf, header->sh_size);
    o->constants_offset[index] = (int32_t)at;
    o->constants_bytes = at + header->sh_size;
}

static void read_section(struct object *o, size_t index)
{
    Elf_Scn *section = elf_getscn(o->elf, index);
    GElf_Shdr header;

    if (!section || !gelf_getshdr(section, &header)) {
        refuse(o, "section %zu cannot be read", index);
        return;
    }
    const char *name = section_name(o, index);
    Elf_Data *data = elf_getdata(section, NULL);
    if (header.sh_type == SHT_SYMTAB) {
        o->symbols = data;
        o->symbol_names = header.sh_link;
        o->symbol_count = header.sh_size / header.sh_entsize;
    } else if (header.sh_type == SHT_RELA) {
        if (header.sh_info < SECTIONS_MAX)
            o->relocs[header.sh_info] = data;
    } else if ((header.sh_flags & SHF_ALLOC) && header.sh_size) {
        if (header.sh_type == SHT_PROGBITS && !(header.sh_flags & (SHF_WRITE | SHF_EXECINSTR)) &&
            starts_with(name, ".rodata"))
            add_constants(o, index, &header, data);
        else if (!(header.sh_flags & SHF_EXECINSTR) || !starts_with(name, ".text"))
            refuse(o, "section %s: a stencil can have code and constants only", name);
    }
}

static bool read_object(struct object *o, int fd)
{
    (void)elf_version(EV_CURRENT);
    o->elf = elf_begin(fd, ELF_C_READ, NULL);
    GElf_Ehdr header;
    if (!o->elf || !gelf_getehdr(o->elf, &header) || header.e_type != ET_REL || header.e_machine != EM_X86_64 ||
        elf_getshdrstrndx(o->elf, &o->section_names) || elf_getshdrnum(o->elf, &o->section_count) ||
        o->section_count > SECTIONS_MAX) {
        refuse(o, "not a relocatable object file for x86-64");
        return false;
    }
    for (size_t i = 0; i < SECTIONS_MAX; i++)
        o->constants_offset[i] = -1;
    for (size_t i = 1; i < o->section_count; i++)
        read_section(o, i);
    /* A table of addresses (of a switch, say) is nothing to copy: whatever refers to it is refused. */
    for (size_t i = 1; i < o->section_count; i++) {
        if (o->relocs[i])
            o->constants_offset[i] = -1;
    }
    if (!o->symbols)
        refuse(o, "no symbol table");
    return o->errors == 0;
}

static bool find_symbol(const struct object *o, const char *wanted, GElf_Sym *symbol)
{
    for (size_t i = 1; i < o->symbol_count; i++) {
        if (!gelf_getsym(o->symbols, (int)i, symbol) || GELF_ST_TYPE(symbol->st_info) != STT_FUNC)
            continue;
        const char *name = elf_strptr(o->elf, o->symbol_names, symbol->st_name);
        if (name && strcmp(name, wanted) == 0)
            return true;
    }
    return false;
}

/* ---- one stencil ---- */

static int find_name(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return (int)i;
    }
    return -1;
}

/* What a relocation refers to. False: nothing that a stencil may refer to. */
static bool find_referent(const struct object *o, const GElf_Sym *symbol, const char *name, struct stencil_reloc *out)
{
    const struct {
        const char *const *names;
        size_t count;
        enum stencil_kind kind;
    } lists[] = {
        {holes, TUFF_ARRAY_LEN(holes), STENCIL_HOLE},
        {ways, TUFF_ARRAY_LEN(ways), STENCIL_WAY},
        {helpers, TUFF_ARRAY_LEN(helpers), STENCIL_HELPER},
    };

    if (symbol->st_shndx != SHN_UNDEF) {
        if (symbol->st_shndx >= o->section_count || o->constants_offset[symbol->st_shndx] < 0)
            return false;
        out->kind = STENCIL_CONSTANT;
        out->index = (uint16_t)(o->constants_offset[symbol->st_shndx] + (int64_t)symbol->st_value);
        return true;
    }
    for (size_t i = 0; i < TUFF_ARRAY_LEN(lists); i++) {
        int index = find_name(lists[i].names, lists[i].count, name);
        if (index < 0)
            continue;
        out->kind = (uint8_t)lists[i].kind;
        out->index = (uint16_t)index;
        return true;
    }
    return false;
}

/* An address below 2^31 moved to a 32-bit register fills 64 bits with it: the value of a hole must be like that then.
 */
static bool is_zero_extended(const uint8_t *code, size_t offset)
{
    bool is_move = offset >= 1 && code[offset - 1] >= 0xb8 && code[offset - 1] <= 0xbf;
    bool is_wide = offset >= 2 && code[offset - 2] >= 0x48 && code[offset - 2] <= 0x4f;

    return is_move && !is_wide;
}

struct text {
    const char *name;
    const uint8_t *code;
    size_t bytes;
    struct stencil_reloc relocs[64];
    size_t reloc_count;
    int last;
    bool positive_imm;
};

static void add_reloc(struct object *o, struct text *t, const GElf_Rela *rela)
{
    GElf_Sym symbol;
    struct stencil_reloc *out = &t->relocs[t->reloc_count];
    const char *name = NULL;

    if (gelf_getsym(o->symbols, (int)GELF_R_SYM(rela->r_info), &symbol))
        name = GELF_ST_TYPE(symbol.st_info) == STT_SECTION ? section_name(o, symbol.st_shndx)
                                                           : elf_strptr(o->elf, o->symbol_names, symbol.st_name);
    if (!name)
        name = "?";
    *out = (struct stencil_reloc){.offset = (uint16_t)rela->r_offset, .addend = (int32_t)rela->r_addend};
    if (!find_referent(o, &symbol, name, out)) {
        refuse(o, "%s: refers to %s, which a stencil must not", t->name, name);
        return;
    }
    bool is_distance = out->kind != STENCIL_HOLE;
    uint32_t type = (uint32_t)GELF_R_TYPE(rela->r_info);
    switch (type) {
    case R_X86_64_PC32:
    case R_X86_64_PLT32:
        out->form = STENCIL_PC32;
        break;
    case R_X86_64_32S:
    case R_X86_64_32:
        out->form = STENCIL_ABS32;
        break;
    case R_X86_64_64:
        out->form = STENCIL_ABS64;
        break;
    default:
        refuse(o, "%s: relocation type %" PRIu32 " (to %s) is not known", t->name, type, name);
        return;
    }
    if (is_distance != (out->form == STENCIL_PC32)) {
        refuse(o, "%s: relocation type %" PRIu32 " does not suit %s", t->name, type, name);
        return;
    }
    if (type == R_X86_64_32 && is_zero_extended(t->code, rela->r_offset))
        t->positive_imm |= out->index == HOLE_imm;
    else if (type == R_X86_64_32) {
        refuse(o, "%s: %s at %#" PRIx64 " is neither sign-extended nor moved to a register", t->name, name,
               (uint64_t)rela->r_offset);
        return;
    }
    t->reloc_count++;
}

/* What may be placed where a stencil ends. */
static bool may_follow(unsigned way)
{
    return way == WAY_next || way == WAY_fall || way == WAY_taken || way == WAY_indirect;
}

/* Leaves out the jump at the end. */
static void cut_last_jump(struct text *t)
{
    t->last = WAY_there;
    if (t->reloc_count == 0 || t->bytes < JUMP_BYTES)
        return;
    const struct stencil_reloc *r = &t->relocs[t->reloc_count - 1];
    if (r->kind != STENCIL_WAY || !may_follow(r->index) || r->offset != t->bytes - 4 ||
        t->code[t->bytes - JUMP_BYTES] != JUMP_OPCODE)
        return;
    t->last = r->index;
    t->reloc_count--;
    t->bytes -= JUMP_BYTES;
}

static bool read_stencil(struct object *o, struct text *t, const char *name)
{
    GElf_Sym symbol;
    unsigned errors = o->errors;

    *t = (struct text){.name = name};
    if (!find_symbol(o, name, &symbol) || symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= o->section_count) {
        refuse(o, "%s: not there", name);
        return false;
    }
    const Elf_Data *data = elf_getdata(elf_getscn(o->elf, symbol.st_shndx), NULL);
    if (!data || symbol.st_value != 0 || symbol.st_size > data->d_size || symbol.st_size > UINT16_MAX) {
        refuse(o, "%s: not the only one in its section, or too long", name);
        return false;
    }
    t->code = data->d_buf;
    t->bytes = symbol.st_size;
    Elf_Data *relocs = o->relocs[symbol.st_shndx];
    GElf_Rela rela;
    for (int i = 0; relocs && gelf_getrela(relocs, i, &rela); i++) {
        if (t->reloc_count == TUFF_ARRAY_LEN(t->relocs)) {
            refuse(o, "%s: too many relocations", name);
            return false;
        }
        add_reloc(o, t, &rela);
    }
    cut_last_jump(t);
    return o->errors == errors;
}

/* ---- writing ---- */

static void write_bytes(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%u,%s", bytes[i], i % 32 == 31 ? "\n" : "");
}

static void write_text(const struct text *t)
{
    printf("static const uint8_t code_%s[] = {", t->name);
    write_bytes(t->code, t->bytes);
    printf("0};\nstatic const struct stencil_reloc relocs_%s[] = {", t->name);
    for (size_t i = 0; i < t->reloc_count; i++) {
        const struct stencil_reloc *r = &t->relocs[i];
        printf("{%u,%u,%u,%u,%d},", r->offset, r->form, r->kind, r->index, r->addend);
    }
    printf("{0}};\n");
}

static void write_entry(const struct text *t)
{
    printf("{code_%s, relocs_%s, %zu, %zu, %d, %s},", t->name, t->name, t->bytes, t->reloc_count, t->last,
           t->positive_imm ? "true" : "false");
}

struct row {
    const char *id;
    uint32_t effects;
};

static bool is_exception(const char *id)
{
    static const char *const exceptions[] = {
#define X(id_, reason) #id_,
        STENCIL_EXCEPTIONS(X)
#undef X
    };

    return find_name(exceptions, TUFF_ARRAY_LEN(exceptions), id) >= 0;
}

static struct text texts[2 * RV_SEM_COUNT + STENCIL_PART_COUNT];
static char names[2 * RV_SEM_COUNT + STENCIL_PART_COUNT][64];

static void write_table(struct object *o)
{
    static const struct row rows[] = {
#define INSN(id_, mnemonic, format, match, mask, isa, effects_, syntax) {#id_, effects_},
#include "engine/isa/riscv/rows.def"
    };
    static const char *const parts[] = {
#define X(name) #name,
        STENCIL_PARTS(X)
#undef X
    };
    struct text *parts_text = &texts[2 * TUFF_ARRAY_LEN(rows)];
    size_t most = 0;

    for (size_t i = 0; i < 2 * TUFF_ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i / 2];
        (void)snprintf(names[i], sizeof(names[i]), "stencil_%s_%zu", row->id, i % 2);
        if (!(row->effects & RV_END) && !is_exception(row->id) && read_stencil(o, &texts[i], names[i]) &&
            texts[i].bytes > most)
            most = texts[i].bytes;
    }
    for (size_t i = 0; i < STENCIL_PART_COUNT; i++) {
        char *name = names[2 * TUFF_ARRAY_LEN(rows) + i];
        (void)snprintf(name, sizeof(names[0]), "stencil_%s", parts[i]);
        if (read_stencil(o, &parts_text[i], name) && parts_text[i].bytes > most)
            most = parts_text[i].bytes;
    }
    if (o->errors)
        return;
    printf("/* Made by stencilgen from stencils.c. */\n#include \"engine/baseline/stencil.h\"\n"
           "#include \"engine/region/symbols.h\"\n");
    for (size_t i = 0; i < TUFF_ARRAY_LEN(texts); i++) {
        if (texts[i].code)
            write_text(&texts[i]);
    }
    printf("const struct stencil stencil_rows[RV_SEM_COUNT][STENCIL_VARIANTS] = {\n");
    for (size_t i = 0; i < TUFF_ARRAY_LEN(rows); i++) {
        if (!texts[2 * i].code)
            continue;
        printf("[RV_SEM_%s] = {", rows[i].id);
        write_entry(&texts[2 * i]);
        write_entry(&texts[2 * i + 1]);
        printf("},\n");
    }
    printf("};\nconst struct stencil stencil_parts[STENCIL_PART_COUNT] = {\n");
    for (size_t i = 0; i < STENCIL_PART_COUNT; i++)
        write_entry(&parts_text[i]);
    printf("};\n_Alignas(64) const uint8_t stencil_constants[] = {");
    write_bytes(o->constants, o->constants_bytes);
    printf("0};\nconst uint32_t stencil_constants_bytes = %zu;\nconst uint32_t stencil_bytes_max = %zu;\n",
           o->constants_bytes, most);
    printf("stencil_helper_fn *const stencil_helpers[] = {\n");
    for (size_t i = 0; i < TUFF_ARRAY_LEN(helpers); i++)
        printf("(stencil_helper_fn *)%s,\n", helpers[i]);
    printf("};\nconst uint32_t stencil_helper_count = %zu;\n", TUFF_ARRAY_LEN(helpers));
}

int main(int argc, char **argv)
{
    static struct object object;
    int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0) {
        (void)fprintf(stderr, "stencilgen: %s\n", argc == 2 ? strerror(errno) : "usage: stencilgen OBJECT >TABLE.c");
        return 1;
    }
    if (read_object(&object, fd))
        write_table(&object);
    (void)elf_end(object.elf);
    (void)close(fd);
    return object.errors ? 1 : 0;
}
