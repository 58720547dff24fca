/* Files with names of guest code: an ELF's symbol table, System.map, kallsyms. Whatever is accepted has names, which
 * are printable, at addresses that are found again. */
#include "base/symbols.h"
#include "fuzz.h"
#include "machine/loader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_label(const struct symbols *symbols, uint64_t address)
{
    char label[SYMBOLS_LABEL_BYTES];

    for (const char *at = symbols_label(symbols, address, label); *at; at++)
        require(*at > ' ' && *at < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct symbols *symbols = symbols_create();
    struct error err = {{0}};
    char path[32];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    require(symbols && fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = loader_load_symbols(symbols, path, &err);
    require(rc <= 0 && (rc == 0 || err.text[0]));
    require(rc || symbols_count(symbols) > 0);
    symbols_sort(symbols);
    for (unsigned bit = 0; bit < 64; bit++)
        check_label(symbols, 1ull << bit);
    check_label(symbols, UINT64_MAX);
    check_label(symbols, 0x80000010);
    symbols_destroy(symbols);
    close(fd);
    return 0;
}
