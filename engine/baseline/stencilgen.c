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

enum { SECTIONS_MAX = 8192, CONSTANTS_MAX = 1 << 15, JUMP_BYTES = 5, JUMP_OPCODE = 0xe9 };

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

struct function;

struct object {
    Elf *elf;
    size_t section_names, section_count;
    Elf_Data *symbols;
    size_t symbol_names, symbol_count;
    struct function *functions; /* by name */
    size_t function_count;
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

struct function {
    const char *name;
    GElf_Sym symbol;
};

static int compare_functions(const void *a, const void *b)
{
    return strcmp(((const struct function *)a)->name, ((const struct function *)b)->name);
}

/* Makes the list of functions that find_function() looks into. */
static bool list_functions(struct object *o)
{
    o->functions = calloc(o->symbol_count + 1, sizeof(o->functions[0]));
    if (!o->functions) {
        refuse(o, "out of memory");
        return false;
    }
    for (size_t i = 1; i < o->symbol_count; i++) {
        struct function *f = &o->functions[o->function_count];
        if (!gelf_getsym(o->symbols, (int)i, &f->symbol) || GELF_ST_TYPE(f->symbol.st_info) != STT_FUNC ||
            f->symbol.st_shndx == SHN_UNDEF || f->symbol.st_shndx >= o->section_count)
            continue;
        f->name = elf_strptr(o->elf, o->symbol_names, f->symbol.st_name);
        o->function_count += f->name != NULL;
    }
    qsort(o->functions, o->function_count, sizeof(o->functions[0]), compare_functions);
    return true;
}

static const struct function *find_function(const struct object *o, const char *name)
{
    const struct function wanted = {.name = name};

    return bsearch(&wanted, o->functions, o->function_count, sizeof(wanted), compare_functions);
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
    bool dirties_fs;
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
    return way == WAY_next || way == WAY_dirty || way == WAY_fall || way == WAY_taken || way == WAY_indirect;
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

/* What goes on by way_dirty becomes what goes on by way_next, and dirties_fs; a stencil must not do both. */
static void note_dirty(struct object *o, struct text *t)
{
    bool goes_on = t->last == WAY_next;

    t->dirties_fs = t->last == WAY_dirty;
    for (size_t i = 0; i < t->reloc_count; i++) {
        struct stencil_reloc *r = &t->relocs[i];
        if (r->kind != STENCIL_WAY || (r->index != WAY_next && r->index != WAY_dirty))
            continue;
        goes_on |= r->index == WAY_next;
        t->dirties_fs |= r->index == WAY_dirty;
        r->index = WAY_next;
    }
    if (t->last == WAY_dirty)
        t->last = WAY_next;
    if (t->dirties_fs && goes_on)
        refuse(o, "%s: sets fs_dirty on one way only", t->name);
}

/* False: there is none of that name, or it was refused. */
static bool read_stencil(struct object *o, struct text *t, const char *name)
{
    const struct function *f = find_function(o, name);
    unsigned errors = o->errors;

    *t = (struct text){.name = name};
    if (!f)
        return false;
    const Elf_Data *data = elf_getdata(elf_getscn(o->elf, f->symbol.st_shndx), NULL);
    if (!data || f->symbol.st_value != 0 || f->symbol.st_size > data->d_size || f->symbol.st_size > UINT16_MAX) {
        refuse(o, "%s: not the only one in its section, or too long", name);
        return false;
    }
    t->code = data->d_buf;
    t->bytes = f->symbol.st_size;
    Elf_Data *relocs = o->relocs[f->symbol.st_shndx];
    GElf_Rela rela;
    for (int i = 0; relocs && gelf_getrela(relocs, i, &rela); i++) {
        if (t->reloc_count == TUFF_ARRAY_LEN(t->relocs)) {
            refuse(o, "%s: too many relocations", name);
            return false;
        }
        add_reloc(o, t, &rela);
    }
    cut_last_jump(t);
    note_dirty(o, t);
    return o->errors == errors;
}

/* ---- the table ---- */

enum { CODE_MAX = 1 << 20, RELOCS_MAX = 1 << 16, STENCILS_MAX = 1 << 13 };

static struct {
    uint8_t code[CODE_MAX];
    struct stencil_reloc relocs[RELOCS_MAX];
    struct stencil stencils[STENCILS_MAX];
    uint32_t code_bytes, reloc_count, stencil_count, bytes_max;
    uint16_t rows[RV_SEM_COUNT][STENCIL_VARIANTS][STENCIL_SOURCES][STENCIL_SOURCES];
    uint16_t parts[STENCIL_PART_COUNT];
} table = {.stencil_count = 1};

/* Its index, or STENCIL_NONE. */
static uint16_t add_stencil(struct object *o, const char *name)
{
    struct text t;

    if (!read_stencil(o, &t, name))
        return STENCIL_NONE;
    if (table.code_bytes + t.bytes > CODE_MAX || table.reloc_count + t.reloc_count > RELOCS_MAX ||
        table.stencil_count == STENCILS_MAX) {
        refuse(o, "%s: the table is full", name);
        return STENCIL_NONE;
    }
    memcpy(table.code + table.code_bytes, t.code, t.bytes);
    memcpy(table.relocs + table.reloc_count, t.relocs, t.reloc_count * sizeof(t.relocs[0]));
    table.stencils[table.stencil_count] = (struct stencil){.code = table.code_bytes,
                                                           .relocs = table.reloc_count,
                                                           .bytes = (uint16_t)t.bytes,
                                                           .reloc_count = (uint8_t)t.reloc_count,
                                                           .last = (uint8_t)t.last,
                                                           .dirties_fs = t.dirties_fs,
                                                           .positive_imm = t.positive_imm};
    table.code_bytes += (uint32_t)t.bytes;
    table.reloc_count += (uint32_t)t.reloc_count;
    if (t.bytes > table.bytes_max)
        table.bytes_max = (uint32_t)t.bytes;
    return (uint16_t)table.stencil_count++;
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

static void add_row(struct object *o, const struct row *row, unsigned sem)
{
    char name[96];

    for (unsigned i = 0; i < STENCIL_VARIANTS * STENCIL_SOURCES * STENCIL_SOURCES; i++) {
        unsigned rs2 = i % STENCIL_SOURCES;
        unsigned rs1 = i / STENCIL_SOURCES % STENCIL_SOURCES;
        unsigned variant = i / STENCIL_SOURCES / STENCIL_SOURCES;
        (void)snprintf(name, sizeof(name), "stencil_%s_%u%u%u", row->id, variant, rs1, rs2);
        uint16_t index = add_stencil(o, name);
        /* One without code says that it is not worth compiling. */
        if (i == 0 || table.stencils[index].bytes > 0 || table.stencils[index].last != WAY_next)
            table.rows[sem][variant][rs1][rs2] = index;
    }
    if (table.rows[sem][0][0][0] == STENCIL_NONE)
        refuse(o, "%s: no stencil", row->id);
}

static void make_table(struct object *o)
{
    static const struct row rows[] = {
#define INSN(id_, mnemonic, format, match, mask, isa, effects_, syntax) [RV_SEM_##id_] = {#id_, effects_},
#include "engine/isa/riscv/rows.def"
    };
    static const char *const parts[] = {
#define X(name) "stencil_" #name,
        STENCIL_PARTS(X)
#undef X
    };

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(rows); i++) {
        if (rows[i].id && !(rows[i].effects & RV_END) && !is_exception(rows[i].id))
            add_row(o, &rows[i], i);
    }
    for (unsigned i = 0; i < STENCIL_PART_COUNT; i++) {
        table.parts[i] = add_stencil(o, parts[i]);
        if (table.parts[i] == STENCIL_NONE)
            refuse(o, "%s: not there", parts[i]);
    }
}

static void write_bytes(const char *name, const uint8_t *bytes, size_t count)
{
    printf("_Alignas(64) const uint8_t %s[] = {", name);
    for (size_t i = 0; i < count; i++)
        printf("%u,%s", bytes[i], i % 32 == 31 ? "\n" : "");
    printf("0};\n");
}

static void write_indexes(const uint16_t *indexes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%u,", indexes[i]);
}

static void write_table(const struct object *o)
{
    printf("/* Made by stencilgen from stencils.c. */\n#include \"engine/baseline/stencil.h\"\n"
           "#include \"engine/region/symbols.h\"\n");
    write_bytes("stencil_code", table.code, table.code_bytes);
    write_bytes("stencil_constants", o->constants, o->constants_bytes);
    printf("const uint32_t stencil_constants_bytes = %zu;\nconst uint32_t stencil_bytes_max = %u;\n",
           o->constants_bytes, table.bytes_max);
    printf("const struct stencil_reloc stencil_relocs[] = {\n");
    for (size_t i = 0; i < table.reloc_count; i++) {
        const struct stencil_reloc *r = &table.relocs[i];
        printf("{%u,%u,%u,%u,%d},\n", r->offset, r->form, r->kind, r->index, r->addend);
    }
    printf("};\nconst struct stencil stencils[] = {\n");
    for (size_t i = 0; i < table.stencil_count; i++) {
        const struct stencil *s = &table.stencils[i];
        printf("{%u,%u,%u,%u,%u,%d,%d},\n", s->code, s->relocs, s->bytes, s->reloc_count, s->last, s->dirties_fs,
               s->positive_imm);
    }
    printf("};\nconst uint16_t stencil_rows[RV_SEM_COUNT][STENCIL_VARIANTS][STENCIL_SOURCES][STENCIL_SOURCES] = {\n");
    for (size_t sem = 0; sem < RV_SEM_COUNT; sem++) {
        printf("{");
        for (size_t v = 0; v < STENCIL_VARIANTS; v++) {
            printf("{");
            for (size_t rs1 = 0; rs1 < STENCIL_SOURCES; rs1++) {
                printf("{");
                write_indexes(table.rows[sem][v][rs1], STENCIL_SOURCES);
                printf("},");
            }
            printf("},");
        }
        printf("},\n");
    }
    printf("};\nconst uint16_t stencil_parts[STENCIL_PART_COUNT] = {");
    write_indexes(table.parts, STENCIL_PART_COUNT);
    printf("};\nstencil_helper_fn *const stencil_helpers[] = {\n");
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
    if (read_object(&object, fd) && list_functions(&object))
        make_table(&object);
    if (!object.errors)
        write_table(&object);
    free(object.functions);
    (void)elf_end(object.elf);
    (void)close(fd);
    return object.errors ? 1 : 0;
}
