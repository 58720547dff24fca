/* Values of options, parsed strictly: all of the text must be understood and must fit. Pure functions; on failure they
 * return -EINVAL or -ERANGE and leave `out` alone. */
#ifndef TUFF_CLI_VALUES_H
#define TUFF_CLI_VALUES_H

#include "base/compiler.h"
#include "base/error.h"
#include "engine/isa/riscv/isa.h"

#include <stddef.h>
#include <stdint.h>

/* A decimal number without sign, in [min, max]. */
int values_number(const char *text, uint64_t min, uint64_t max, uint64_t *out) TUFF_MUST_CHECK;

/* Decimal, or hexadecimal with 0x. */
int values_address(const char *text, uint64_t *out) TUFF_MUST_CHECK;

/* Bytes: a number above 0 with an optional K, M, G or T (powers of 1024, either case). */
int values_size(const char *text, uint64_t *out) TUFF_MUST_CHECK;

/* ISA extensions. First, if at all, what to start from: a profile (rva22s64) or an ISA string (rv64imac_zba), which
 * stand for exactly what they name and what that needs; without one, what stock software expects. Then names, each
 * behind a comma or its sign: "name" or "+name" adds, "-name" takes away, "all" is everything but what only firmware
 * that knows it runs with (ISA_WANTS_FIRMWARE). Returns 0, -EINVAL (unknown, or one that lacks what it needs), -ENOTSUP
 * (a profile that the engine does not live up to); one line in `err`. */
int values_isa(const char *text, isa_set *out, struct error *err) TUFF_MUST_CHECK;
/* What a profile that `text` begins with demands and this build lacks, names with a blank before and behind each, NULL
 * for nothing: values_isa() takes the rest. */
const char *values_isa_absent(const char *text);

/* The extensions' names with spaces between them, in a static string. */
const char *values_isa_names(void);

/* Writes the names of a set to `out` in the same form, as many as have room in `size` bytes. */
void values_isa_format(isa_set isa, char *out, size_t size);

#endif
