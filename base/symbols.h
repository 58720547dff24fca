/* Names of the guest's code by address: filled once, sorted, then only read, by any thread. Names come from files, so
 * they are cut to SYMBOLS_NAME_BYTES and hold no spaces or control characters when they are shown.
 */
#ifndef TUFF_BASE_SYMBOLS_H
#define TUFF_BASE_SYMBOLS_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYMBOLS_MAX = 4 << 20, SYMBOLS_NAME_BYTES = 128, SYMBOLS_LABEL_BYTES = SYMBOLS_NAME_BYTES + 24 };

struct symbols;

/* NULL without memory. */
struct symbols *symbols_create(void);
void symbols_destroy(struct symbols *symbols);

/* `size`: bytes of code; 0 where that is not known: up to the next symbol, but never more than 1 MiB. Returns 0,
 * -ENOMEM, or -E2BIG after SYMBOLS_MAX. */
int symbols_add(struct symbols *symbols, uint64_t address, uint64_t size, const char *name) TUFF_MUST_CHECK;
/* The lines of a System.map or of /proc/kallsyms ("address type name"); symbols of code are added. Returns 0, as above,
 * or -EINVAL with a line in `err` (`path` stands in it): a line is none, nothing names code, or all addresses are 0. */
int symbols_add_text(struct symbols *symbols, const char *path, const char *text, size_t len,
                     struct error *err) TUFF_MUST_CHECK;
size_t symbols_count(const struct symbols *symbols);

/* Ends the filling. */
void symbols_sort(struct symbols *symbols);

/* The symbol that an address belongs to and how far behind its start it is; NULL: there is none. */
const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *offset);
/* Is there one of this name? Looks at all. */
bool symbols_has(const struct symbols *symbols, const char *name);
/* name+0xoffset, or name alone at its start, or 0xaddress where there is no name or `symbols` is NULL. Returns `out`,
 * of SYMBOLS_LABEL_BYTES. */
const char *symbols_label(const struct symbols *symbols, uint64_t address, char *out);

#endif
