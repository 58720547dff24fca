/* From instruction bytes to a row of the table and its operands.
 *
 * The table is rows.def; the matching code (decode_gen.inc) is made from it by the host tool isagen, which refuses
 * overlapping rows. Pure functions, any thread.
 */
#ifndef TUFF_ENGINE_ISA_RISCV_DECODE_H
#define TUFF_ENGINE_ISA_RISCV_DECODE_H

#include "engine/isa/riscv/isa.h"

#include <stddef.h>
#include <stdint.h>

/* One per row of the table, compressed forms included. RV_ROW_illegal is 0 and has no row. */
enum rv_row {
    RV_ROW_illegal,
#define INSN(id, ...) RV_ROW_##id,
#define FORM(id, ...) RV_ROW_##id,
#include "engine/isa/riscv/rows.def"
    RV_ROW_COUNT,
};

/* Bodies of no row: no encoding means them by itself. Translation puts them in the place of a row's where the context
 * says so (decode_cfi() in engine/interp/block.c); all end their block and are run by the interpreter. */
#define RV_BODIES_WITHOUT_ROW(X) \
    X(illegal)                   \
    X(jalr_expecting)            \
    X(landing)                   \
    X(sspush)                    \
    X(sspopchk)                  \
    X(ssrdp)

/* One per semantic body: each INSN row names its own; FORM rows (compressed and other encodings of the same operation)
 * name an INSN's. */
enum rv_sem {
#define X(id) RV_SEM_##id,
    RV_BODIES_WITHOUT_ROW(X)
#undef X
#define INSN(id, ...) RV_SEM_##id,
#include "engine/isa/riscv/rows.def"
        RV_SEM_COUNT,
};

/* What a row does, as far as translation cares. */
enum rv_effect {
    RV_BRANCH = 1 << 0,   /* conditional, target pc + imm */
    RV_JUMP = 1 << 1,     /* unconditional, target pc + imm */
    RV_INDIRECT = 1 << 2, /* unconditional, target from a register */
    RV_END = 1 << 3,      /* ends a block: may trap by design, change the translation context or read the counters */
    RV_LOAD = 1 << 4,
    RV_STORE = 1 << 5,
    RV_ATOMIC = 1 << 6,
    RV_FP = 1 << 7,     /* illegal while mstatus.FS is Off */
    RV_RM = 1 << 8,     /* has a rounding mode field */
    RV_HELPER = 1 << 9, /* its body is one call in every tier */
    RV_ONCE = 1 << 10,  /* no store or atomic, and yet not to be run again from a place before it */
};

/* A decoded instruction. Register numbers are as encoded (compressed ones expanded); imm is sign-extended and scaled;
 * for shifts it is the shift amount, for CSR rows the CSR number (and rs1 the 5-bit immediate of the -i forms),
 * for fence pred << 4 | succ in bits 7..0 and fm above. */
struct rv_insn {
    uint16_t row;      /* enum rv_row */
    uint16_t sem;      /* enum rv_sem */
    uint8_t len_bytes; /* 2 or 4 */
    uint8_t rd, rs1, rs2, rs3;
    uint8_t rm; /* 0..7, as encoded */
    uint16_t effects;
    int32_t imm;
    uint32_t raw; /* the encoding, upper half 0 when len_bytes is 2 */
};

/* Static facts of a row. */
struct rv_row_info {
    const char *id;       /* "c_addi" */
    const char *mnemonic; /* "c.addi" */
    const char *format;   /* name of the operand format */
    const char
        *syntax; /* operand syntax, e.g. "rd, imm(rs1)"; register classes by name: rd/rs1/.. are x, frd/frs1/.. are f */
    uint32_t match, mask;
    isa_set isa; /* ISA_EXT() and ISA_ANY() bits; all of them must be present */
    uint16_t sem;
    uint16_t effects;
    uint8_t len_bytes;
};

extern const struct rv_row_info rv_rows[RV_ROW_COUNT];

/* Length of the instruction whose first 16 bits are `low`: 2 or 4 (longer encodings are reserved and illegal: 4). */
static inline unsigned rv_insn_len_bytes(uint16_t low)
{
    return (low & 3) == 3 ? 4 : 2;
}

/* Decodes `bits` (for a 2-byte encoding the upper half is ignored) for a hart with the extensions `isa`. An unknown or
 * absent encoding gives row and sem illegal with len_bytes and raw set. */
void rv_decode(uint32_t bits, isa_set isa, struct rv_insn *out);

/* Which registers a semantic body reads and writes, by its row's operand syntax. */
enum rv_operand {
    RV_X_RD = 1 << 0,
    RV_X_RS1 = 1 << 1,
    RV_X_RS2 = 1 << 2,
    RV_F_RD = 1 << 3,
    RV_F_RS1 = 1 << 4,
    RV_F_RS2 = 1 << 5,
    RV_F_RS3 = 1 << 6, /* number in the low bits of imm */
    RV_X_RD_READ = 1 << 7,
    RV_X_PAIRS = 1 << 8, /* rd and rs2 stand for two registers each, the even one and the next; x0 for two zeros */
};
unsigned rv_sem_operands(unsigned sem);
/* Name of a semantic body, and what its row does (enum rv_effect). */
const char *rv_sem_name(unsigned sem);
unsigned rv_sem_effects(unsigned sem);

/* A register's name in assembler text; the number is below 32. */
const char *rv_x_name(unsigned number);
const char *rv_f_name(unsigned number);

/* Writes the assembler text llvm-mc prints for it (no aliases: `-M no-aliases`), numeric targets relative as llvm-mc
 * prints them. `buf` is always terminated; returns the length it would have had. */
size_t rv_disassemble(const struct rv_insn *insn, char *buf, size_t len);

#endif
