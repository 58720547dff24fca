/* jit-PID.dump: compiled code with its names and bytes, from which `perf inject -j` makes files that perf can
 * disassemble (tools/perf/Documentation/jitdump-specification.txt in Linux). Any thread. */
#ifndef TUFF_LLVM_JITDUMP_H
#define TUFF_LLVM_JITDUMP_H

#include "base/compiler.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct jitdump;

/* Begins the file in a folder anew. Returns 0, -ENOMEM, or what opening, writing or mapping it gave. */
int jitdump_create(const char *folder, struct jitdump **out, struct error *err) TUFF_MUST_CHECK;
void jitdump_destroy(struct jitdump *dump);
/* Code that can be run from now on. Where the file cannot be written any more this is logged, once. */
void jitdump_load(struct jitdump *dump, const void *code, size_t len, uint64_t index, const char *name);

#endif
