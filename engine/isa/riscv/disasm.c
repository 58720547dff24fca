/* The disassembler: the row's mnemonic, then its syntax string with each word replaced by an operand.
 *
 * The text is llvm-mc's without aliases, one space after the mnemonic where llvm-mc has a tab. It never reads anything
 * but the decoded instruction and constant tables, and every field is masked before it indexes one, so that a damaged
 * `struct rv_insn` gives odd text and nothing worse.
 */
#include "engine/isa/riscv/decode.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char x_names[32][5] = {
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0",  "a1",  "a2", "a3", "a4", "a5",
    "a6",   "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

static const char f_names[32][5] = {
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0",  "fa1",  "fa2", "fa3", "fa4",  "fa5",
    "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};

const char *rv_x_name(unsigned number)
{
    return x_names[number & 31];
}

const char *rv_f_name(unsigned number)
{
    return f_names[number & 31];
}

/* 5 and 6 are reserved; llvm-mc refuses such instructions, so their names are this project's. */
static const char rm_names[8][5] = {"rne", "rtz", "rdn", "rup", "rmm", "rm5", "rm6", "dyn"};

/* The constants of Zfa's FLI (chapter "Zfa", table of FLI.S), as llvm-mc writes them. */
/* clang-format off: eight a line */
static const char *const fli_names[32] = {
    "-1.0",
    "min",
    "1.52587890625e-05",
    "3.0517578125e-05",
    "0.00390625",
    "0.0078125",
    "0.0625",
    "0.125",
    "0.25",
    "0.3125",
    "0.375",
    "0.4375",
    "0.5",
    "0.625",
    "0.75",
    "0.875",
    "1.0",
    "1.25",
    "1.5",
    "1.75",
    "2.0",
    "2.5",
    "3.0",
    "4.0",
    "8.0",
    "16.0",
    "128.0",
    "256.0",
    "32768.0",
    "65536.0",
    "inf",
    "nan",
};
/* clang-format on */

static const struct csr_name {
    const char *name;
    uint16_t number;
} csr_names[] = {
#define CSR(name, number) {#name, number},
#include "engine/isa/riscv/csrs.def"
};

/* Text under construction. `used` is the length so far, also where it no longer fits. */
struct text {
    char *buf;
    size_t len, used;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *t, const char *format, ...)
{
    size_t room = t->used < t->len ? t->len - t->used : 0;
    va_list args;
    int added;

    va_start(args, format);
    added = vsnprintf(room ? t->buf + t->used : NULL, room, format, args);
    va_end(args);
    if (added > 0)
        t->used += (size_t)added;
}

static void add_csr(struct text *t, int32_t number)
{
    size_t low = 0, high = sizeof(csr_names) / sizeof(csr_names[0]);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (csr_names[middle].number == number) {
            text_add(t, "%s", csr_names[middle].name);
            return;
        }
        if (csr_names[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    text_add(t, "%d", number);
}

/* One half of FENCE's operand: a set of i, o, r, w. */
static void add_fence_set(struct text *t, unsigned set)
{
    if ((set & 15) == 0)
        text_add(t, "0");
    for (unsigned i = 0; i < 4; i++) {
        if (set & (8u >> i))
            text_add(t, "%c", "iorw"[i]);
    }
}

enum word {
    WORD_RD,
    WORD_RS1,
    WORD_RS2,
    WORD_FRD,
    WORD_FRS1,
    WORD_FRS2,
    WORD_FRS3,
    WORD_IMM,
    WORD_UPPER,
    WORD_UPPER_SIGNED,
    WORD_CSR,
    WORD_UIMM,
    WORD_PRED,
    WORD_SUCC,
    WORD_RM,
    WORD_FLI,
    WORD_RD_RW,
    WORD_RD_PAIR,
    WORD_RS2_PAIR,
    WORD_COUNT,
};

static const char *const words[WORD_COUNT] = {
    [WORD_RD] = "rd",
    [WORD_RS1] = "rs1",
    [WORD_RS2] = "rs2",
    [WORD_FRD] = "frd",
    [WORD_FRS1] = "frs1",
    [WORD_FRS2] = "frs2",
    [WORD_FRS3] = "frs3",
    [WORD_IMM] = "imm",
    [WORD_UPPER] = "upper",
    [WORD_UPPER_SIGNED] = "upper_signed",
    [WORD_CSR] = "csr",
    [WORD_UIMM] = "uimm",
    [WORD_PRED] = "pred",
    [WORD_SUCC] = "succ",
    [WORD_RM] = "rm",
    [WORD_FLI] = "fli",
    [WORD_RD_RW] = "rd_rw",
    [WORD_RD_PAIR] = "rd_pair",
    [WORD_RS2_PAIR] = "rs2_pair",
};

static void add_operand(struct text *t, enum word word, const struct rv_insn *insn)
{
    switch (word) {
    case WORD_RD:
    case WORD_RD_RW:
    case WORD_RD_PAIR:
        text_add(t, "%s", x_names[insn->rd & 31]);
        break;
    case WORD_RS1:
        text_add(t, "%s", x_names[insn->rs1 & 31]);
        break;
    case WORD_RS2:
    case WORD_RS2_PAIR:
        text_add(t, "%s", x_names[insn->rs2 & 31]);
        break;
    case WORD_FRD:
        text_add(t, "%s", f_names[insn->rd & 31]);
        break;
    case WORD_FRS1:
        text_add(t, "%s", f_names[insn->rs1 & 31]);
        break;
    case WORD_FRS2:
        text_add(t, "%s", f_names[insn->rs2 & 31]);
        break;
    case WORD_FRS3:
        text_add(t, "%s", f_names[insn->rs3 & 31]);
        break;
    case WORD_IMM:
        text_add(t, "%d", insn->imm);
        break;
    case WORD_UPPER:
        text_add(t, "%u", (uint32_t)insn->imm >> 12);
        break;
    case WORD_UPPER_SIGNED:
        text_add(t, "%d", insn->imm >> 12);
        break;
    case WORD_CSR:
        add_csr(t, insn->imm);
        break;
    case WORD_UIMM:
        text_add(t, "%u", (unsigned)insn->rs1);
        break;
    case WORD_PRED:
        add_fence_set(t, (uint32_t)insn->imm >> 4);
        break;
    case WORD_SUCC:
        add_fence_set(t, (uint32_t)insn->imm);
        break;
    case WORD_RM:
        text_add(t, "%s", rm_names[insn->rm & 7]);
        break;
    case WORD_FLI:
        text_add(t, "%s", fli_names[(uint32_t)insn->imm & 31]);
        break;
    case WORD_COUNT:
        break;
    }
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static enum word find_word(const char *at, size_t len)
{
    enum word word = 0;

    while (word < WORD_COUNT && (strlen(words[word]) != len || memcmp(words[word], at, len) != 0))
        word++;
    return word;
}

static void add_operands(struct text *t, const char *syntax, const struct rv_insn *insn)
{
    for (const char *c = syntax; *c;) {
        const char *start = c;

        while (is_word_char(*c))
            c++;
        if (c != start) {
            enum word word = find_word(start, (size_t)(c - start));
            if (word == WORD_COUNT) /* the one rounding mode of fcvtmod.w.d */
                text_add(t, "%.*s", (int)(c - start), start);
            else
                add_operand(t, word, insn);
        } else if (*c == '[' && insn->rm == 0) {
            c += strcspn(c, "]");
        } else {
            if (*c != '[' && *c != ']')
                text_add(t, "%c", *c);
            c++;
        }
    }
}

/* The acquire and release bits are part of an atomic's mnemonic. */
static void add_ordering(struct text *t, uint32_t raw)
{
    static const char *const suffixes[] = {"", ".rl", ".aq", ".aqrl"};

    text_add(t, "%s", suffixes[raw >> 25 & 3]);
}

size_t rv_disassemble(const struct rv_insn *insn, char *buf, size_t len)
{
    struct text t = {buf, len, 0};
    const struct rv_row_info *row = &rv_rows[insn->row < RV_ROW_COUNT ? insn->row : RV_ROW_illegal];

    if (len)
        buf[0] = 0;
    if (insn->row == RV_ROW_illegal || insn->row >= RV_ROW_COUNT) {
        if (insn->len_bytes == 2 && insn->raw == 0)
            text_add(&t, "c.unimp"); /* defined to be illegal, and so named by llvm-mc */
        else
            text_add(&t, ".%ubyte 0x%0*x", (unsigned)insn->len_bytes, 2 * insn->len_bytes, insn->raw);
        return t.used;
    }
    text_add(&t, "%s", row->mnemonic);
    if (row->mnemonic[strlen(row->mnemonic) - 1] == '.')
        text_add(&t, "%d", insn->imm);
    if (row->effects & RV_ATOMIC)
        add_ordering(&t, insn->raw);
    if (row->syntax[0])
        text_add(&t, " ");
    add_operands(&t, row->syntax, insn);
    return t.used;
}
