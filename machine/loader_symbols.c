/* Symbols of the guest's code, from an ELF or a text file, into a struct symbols.
 *
 * An ELF is read through its descriptor, not as a whole: debugging information is many times the size of what is
 * wanted. What libelf does not check (indices, names) is checked by asking libelf for each.
 */
#include "base/symbols.h"
#include "machine/loader_internal.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t text_bytes_max = 256 << 20;

/* Functions, and labels of assembly code; not those that only mark data or are the compiler's own. */
static bool names_code(Elf *elf, const GElf_Sym *symbol, const char *name)
{
    unsigned type = GELF_ST_TYPE(symbol->st_info);
    Elf_Scn *section = elf_getscn(elf, symbol->st_shndx);
    GElf_Shdr header;

    if (type != STT_FUNC && type != STT_NOTYPE)
        return false;
    if (!name || !*name || *name == '$' || strncmp(name, ".L", 2) == 0)
        return false;
    return symbol->st_shndx != SHN_UNDEF && symbol->st_shndx < SHN_LORESERVE && section &&
           gelf_getshdr(section, &header) && (header.sh_flags & SHF_EXECINSTR);
}

static int add_section(struct symbols *symbols, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    GElf_Sym symbol;
    int rc = 0;

    for (int i = 0; rc == 0 && data && gelf_getsym(data, i, &symbol); i++) {
        const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (names_code(elf, &symbol, name))
            rc = symbols_add(symbols, symbol.st_value, symbol.st_size, name);
    }
    return rc;
}

static int add_elf(struct symbols *symbols, Elf *elf, const char *path, struct error *err)
{
    GElf_Ehdr header;
    int rc = 0;

    if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header))
        return error_set(err, -ENOEXEC, "symbols '%s' has a damaged ELF header: %s", path, elf_errmsg(-1));
    if (header.e_machine != EM_RISCV || header.e_ident[EI_CLASS] != ELFCLASS64)
        return error_set(err, -ENOEXEC, "symbols '%s' is an ELF for another machine: name one for riscv64", path);
    /* There is one at most: more would be somebody's attempt to make us read the same bytes for ever. */
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section; section = elf_nextscn(elf, section)) {
        GElf_Shdr about;
        if (gelf_getshdr(section, &about) && about.sh_type == SHT_SYMTAB) {
            rc = add_section(symbols, elf, section, &about);
            break;
        }
    }
    if (rc)
        return error_set(err, rc, "symbols '%s' are too many: %s", path, strerror(-rc));
    return 0;
}

static int read_elf(struct symbols *symbols, const struct loader_file *file, struct error *err)
{
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(file->fd, ELF_C_READ, NULL);

    if (!elf)
        return error_set(err, -ENOEXEC, "symbols '%s' has a damaged ELF header: %s", file->path, elf_errmsg(-1));
    int rc = add_elf(symbols, elf, file->path, err);
    elf_end(elf);
    return rc;
}

static int read_text(struct symbols *symbols, const struct loader_file *file, struct error *err)
{
    if (file->size_bytes > text_bytes_max)
        return error_set(err, -EFBIG, "symbols '%s' has %" PRIu64 " MiB: at most %" PRIu64 " can be read", file->path,
                         file->size_bytes >> 20, text_bytes_max >> 20);
    char *text = malloc(file->size_bytes);
    if (!text)
        return error_set(err, -ENOMEM, "symbols '%s' need more memory than there is", file->path);
    int rc = loader_file_read(file, 0, text, file->size_bytes, err);
    if (rc == 0)
        rc = symbols_add_text(symbols, file->path, text, file->size_bytes, err);
    free(text);
    return rc;
}

static bool is_elf(const struct loader_file *file)
{
    uint8_t magic[4];

    return file->size_bytes >= sizeof(magic) && loader_file_read(file, 0, magic, sizeof(magic), NULL) == 0 &&
           loader_is_elf(magic, sizeof(magic));
}

int loader_load_symbols(struct symbols *symbols, const char *path, struct error *err)
{
    size_t before = symbols_count(symbols);
    struct loader_file file;
    int rc = loader_file_open(&file, "symbols", path, err);

    if (rc)
        return rc;
    rc = is_elf(&file) ? read_elf(symbols, &file, err) : read_text(symbols, &file, err);
    loader_file_close(&file);
    if (rc == 0 && symbols_count(symbols) == before)
        rc = error_set(err, -ENODATA, "symbols '%s' names no code: it was stripped; name the file before that", path);
    return rc;
}

void loader_load_own_symbols(struct symbols *symbols, const char *path)
{
    struct loader_file file;

    if (loader_file_open(&file, "symbols", path, NULL))
        return;
    if (is_elf(&file))
        (void)!read_elf(symbols, &file, NULL);
    loader_file_close(&file);
}
