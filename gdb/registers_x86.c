/* Registers of x86-64 by gdb's numbers; see registers.h. x87 and SSE registers are those of the XSAVE area's legacy
 * part (Intel SDM volume 1, table 10-2), whose bits in XSTATE_BV say that they are not in their initial state. */
#include "gdb/registers.h"

#include "base/compiler.h"

#include <inttypes.h>
#include <string.h>

/* Where a register is in struct vcpu_state, and how much of it. */
struct field {
    const char *name, *type;
    uint16_t offset;
    uint8_t bytes, stored_bytes; /* over the wire; in the state */
    enum { PLAIN, READ_ONLY, LEGACY_X87, LEGACY_SSE, TAGS } kind;
};

enum { XSAVE_FTW = 4, XSAVE_MXCSR = 24, XSAVE_ST0 = 32, XSAVE_XMM0 = 160, XSAVE_BV = 512, SLOT_BYTES = 16 };
enum {
    BV_X87 = 1,
    BV_SSE = 2,
    CR0_PG_SHIFT = 31,
    EFER_LMA = 1 << 10,
    ATTRIBUTE_LONG = 1 << 13,
    ATTRIBUTE_DPL_SHIFT = 5
};

#define OF(member) ((uint16_t)offsetof(struct vcpu_state, x86.member))
#define GPR(name, number) {#name, "int64", OF(gpr[number]), 8, 8, PLAIN}
#define SEGMENT(name, index) {#name, "int32", OF(segments[index].selector), 4, 2, READ_ONLY}
#define ST(n) {"st" #n, "i387_ext", OF(xsave) + XSAVE_ST0 + SLOT_BYTES * n, 10, 10, LEGACY_X87}
#define X87(name, at, size) {name, "int", OF(xsave) + at, 4, size, LEGACY_X87}
#define XMM(n) {"xmm" #n, "vec128", OF(xsave) + XSAVE_XMM0 + SLOT_BYTES * n, 16, 16, LEGACY_SSE}
#define SYSTEM(name, member, kind) {name, "int64", OF(member), 8, 8, kind}

/* In gdb's order, which its features ask for. */
/* clang-format off */
static const struct field fields[] = {
    GPR(rax, 0), GPR(rbx, 3), GPR(rcx, 1), GPR(rdx, 2), GPR(rsi, 6), GPR(rdi, 7),
    {"rbp", "data_ptr", OF(gpr[5]), 8, 8, PLAIN},
    {"rsp", "data_ptr", OF(gpr[4]), 8, 8, PLAIN},
    GPR(r8, 8), GPR(r9, 9), GPR(r10, 10), GPR(r11, 11), GPR(r12, 12), GPR(r13, 13), GPR(r14, 14), GPR(r15, 15),
    {"rip", "code_ptr", OF(rip), 8, 8, PLAIN},
    {"eflags", "int32", OF(rflags), 4, 8, PLAIN},
    SEGMENT(cs, VCPU_X86_CS), SEGMENT(ss, VCPU_X86_SS), SEGMENT(ds, VCPU_X86_DS), SEGMENT(es, VCPU_X86_ES),
    SEGMENT(fs, VCPU_X86_FS), SEGMENT(gs, VCPU_X86_GS),
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
    X87("fctrl", 0, 2), X87("fstat", 2, 2),
    {"ftag", "int", OF(xsave) + XSAVE_FTW, 4, 1, TAGS},
    X87("fiseg", 12, 2), X87("fioff", 8, 4), X87("foseg", 20, 2), X87("fooff", 16, 4), X87("fop", 6, 2),
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), XMM(8), XMM(9), XMM(10), XMM(11), XMM(12),
    XMM(13), XMM(14), XMM(15),
    {"mxcsr", "int", OF(xsave) + XSAVE_MXCSR, 4, 4, LEGACY_SSE},
    SYSTEM("fs_base", segments[VCPU_X86_FS].base, PLAIN), SYSTEM("gs_base", segments[VCPU_X86_GS].base, PLAIN),
    SYSTEM("cr0", cr0, READ_ONLY), SYSTEM("cr2", cr2, PLAIN), SYSTEM("cr3", cr3, READ_ONLY),
    SYSTEM("cr4", cr4, READ_ONLY), SYSTEM("cr8", cr8, READ_ONLY), SYSTEM("efer", efer, READ_ONLY),
    SYSTEM("idt_base", idt.base, READ_ONLY), SYSTEM("gdt_base", gdt.base, READ_ONLY),
};

/* clang-format on */

/* The first registers of each feature. */
enum { SSE = 40, SEGMENTS = SSE + 17, CONTROL = SEGMENTS + 2, COUNT_G = 24 };

static unsigned bytes_of(uint64_t number)
{
    return number < TUFF_ARRAY_LEN(fields) ? fields[number].bytes : 8;
}

/* The tag word has two bits a register, 3: empty; the area one bit, set: not empty. gdb finds out the rest from the
 * registers themselves. */
static uint32_t whole_tags(uint8_t abridged)
{
    uint32_t tags = 0;

    for (unsigned i = 0; i < 8; i++)
        tags |= abridged >> i & 1 ? 0 : 3u << 2 * i;
    return tags;
}

static bool read(const struct vcpu_state *state, uint64_t number, void *value)
{
    if (number >= TUFF_ARRAY_LEN(fields))
        return false;
    const struct field *f = &fields[number];
    const uint8_t *at = (const uint8_t *)state + f->offset;
    memset(value, 0, f->bytes);
    memcpy(value, at, f->bytes < f->stored_bytes ? f->bytes : f->stored_bytes);
    if (f->kind == TAGS) {
        uint32_t tags = whole_tags(*at);
        memcpy(value, &tags, sizeof(tags));
    }
    return true;
}

static bool write(struct vcpu_state *state, uint64_t number, const void *value)
{
    if (number >= TUFF_ARRAY_LEN(fields))
        return false;
    const struct field *f = &fields[number];
    if (f->kind == READ_ONLY || f->kind == TAGS)
        return false;
    memcpy((uint8_t *)state + f->offset, value, f->bytes < f->stored_bytes ? f->bytes : f->stored_bytes);
    if (f->kind == LEGACY_X87)
        state->x86.xsave[XSAVE_BV] |= BV_X87;
    else if (f->kind == LEGACY_SSE)
        state->x86.xsave[XSAVE_BV] |= BV_SSE;
    return true;
}

static void set_pc(struct vcpu_state *state, uint64_t pc)
{
    state->x86.rip = pc;
}

static void describe_some(FILE *out, const char *feature, unsigned first, unsigned end)
{
    gdb_describe_feature(out, feature);
    if (first == SSE)
        fputs(
            "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
            "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
            "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/><union id=\"vec128\"><field name=\"v4_float\" "
            "type=\"v4f\"/>"
            "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
            "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
            "<field name=\"uint128\" type=\"uint128\"/></union>",
            out);
    for (unsigned i = first; i < end; i++)
        gdb_describe_register(out, fields[i].name, i, 8u * fields[i].bytes, fields[i].type);
    fputs("</feature>", out);
}

static void describe(const struct vcpu_state *state, FILE *out)
{
    (void)state;
    fputs("<architecture>i386:x86-64</architecture>", out);
    describe_some(out, "org.gnu.gdb.i386.core", 0, SSE);
    describe_some(out, "org.gnu.gdb.i386.sse", SSE, SEGMENTS);
    describe_some(out, "org.gnu.gdb.i386.segments", SEGMENTS, CONTROL);
    describe_some(out, "tuff.i386.control", CONTROL, TUFF_ARRAY_LEN(fields));
}

static void summarise(const struct vcpu_state *state, char *text, size_t size)
{
    const struct vcpu_x86_state *x = &state->x86;
    uint32_t code = x->segments[VCPU_X86_CS].attributes;
    const char *mode = !(x->cr0 & 1)                                       ? "real mode"
                       : !(x->efer & EFER_LMA) || !(code & ATTRIBUTE_LONG) ? "32-bit mode"
                                                                           : "long mode";

    snprintf(text, size, "%s, ring %" PRIu32 ", pc 0x%" PRIx64 ", cr3 0x%" PRIx64, mode,
             code >> ATTRIBUTE_DPL_SHIFT & 3, x->rip, x->cr3);
}

const struct gdb_registers gdb_registers_x86 = {
    .count_g = COUNT_G,
    .bytes = bytes_of,
    .read = read,
    .write = write,
    .set_pc = set_pc,
    .describe = describe,
    .summarise = summarise,
};

_Static_assert(TUFF_ARRAY_LEN(fields) == CONTROL + 8, "the features' first registers");
