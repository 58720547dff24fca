/* What descriptions of registers have in common; see registers.h. */
#include "gdb/registers.h"

#include <stdlib.h>

const struct gdb_registers *gdb_registers_of(const struct vcpu_state *state)
{
    return state->guest == VCPU_GUEST_X86_64 ? &gdb_registers_x86 : &gdb_registers_riscv;
}

void gdb_describe_register(FILE *out, const char *name, unsigned number, unsigned bits, const char *type)
{
    fprintf(out, "<reg name=\"%s\" bitsize=\"%u\" regnum=\"%u\" type=\"%s\"/>", name, bits, number, type);
}

void gdb_describe_feature(FILE *out, const char *name)
{
    fprintf(out, "<feature name=\"%s\">", name);
}

char *gdb_registers_describe(const struct vcpu_state *state)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    fputs("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">", out);
    gdb_registers_of(state)->describe(state, out);
    fputs("</target>", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
