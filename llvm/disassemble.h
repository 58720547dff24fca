/* Host code as text, for --dump=block: LLVM's disassembler, which knows the program's exported functions by name. */
#ifndef TUFF_LLVM_DISASSEMBLE_H
#define TUFF_LLVM_DISASSEMBLE_H

#include "base/compiler.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct disassembler;

/* Returns 0, -ENOMEM, or -ENOTSUP where LLVM has none for this host. */
int disassembler_create(struct disassembler **out, struct error *err) TUFF_MUST_CHECK;
void disassembler_destroy(struct disassembler *d);
/* See tier_ops.disassemble. Any thread. */
size_t disassembler_text(struct disassembler *d, const uint8_t *code, size_t bytes, char *text, size_t size);

#endif
