/* The table of stencils, which stencilgen makes from the object file of stencils.c. */
#ifndef TUFF_ENGINE_BASELINE_STENCIL_H
#define TUFF_ENGINE_BASELINE_STENCIL_H

#include "engine/baseline/holes.h"
#include "engine/isa/riscv/decode.h"

#include <stdbool.h>
#include <stdint.h>

/* How a value is written at a relocation's place: its low 32 bits; all 64; as a distance from the place. */
enum stencil_form { STENCIL_ABS32, STENCIL_ABS64, STENCIL_PC32 };
enum stencil_kind { STENCIL_HOLE, STENCIL_WAY, STENCIL_HELPER, STENCIL_CONSTANT };

struct stencil_reloc {
    uint16_t offset;
    uint8_t form; /* enum stencil_form */
    uint8_t kind; /* enum stencil_kind: what `index` numbers; for a constant its offset in stencil_constants */
    uint16_t index;
    int32_t addend;
};

struct stencil {
    uint32_t code;   /* index of stencil_code */
    uint32_t relocs; /* of stencil_relocs */
    uint16_t bytes;
    uint8_t reloc_count;
    uint8_t last;      /* enum stencil_way: it ends in a jump there, which is left out; WAY_there: it does not */
    bool dirties_fs;   /* part `dirty` must follow it where none has before */
    bool positive_imm; /* right only for an immediate that is not negative */
};

/* Variants of a row with a rounding mode: RM_HOST; RM_RTZ; and RM_HOST again with rs3 in the newest or the second
 * newest result. Of any other row: 0 is the shorter one, 1 is right for every immediate; a row whose immediates are not
 * negative has no 1. Of plain stores both again, from STENCIL_ALONE, for a machine with one hart, where nobody else
 * holds a reservation. */
enum { STENCIL_VARIANTS = 4, STENCIL_ALONE = 2 };

/* Where an operand in an x register is: x0 is nowhere; what the last instructions wrote is in host registers, the
 * newest result first. There are stencils for each place of both operands, as far as rows have them. */
enum { STENCIL_RECENT = 2 };
enum stencil_source {
    STENCIL_FROM_MEMORY,
    STENCIL_ZERO,
    STENCIL_FROM_RECENT,
    STENCIL_SOURCES = STENCIL_FROM_RECENT + STENCIL_RECENT
};

/* Those that stand for no row. X(name) */
#define STENCIL_PARTS(X) \
    X(enter)             \
    X(edge)              \
    X(count_taken)       \
    X(indirect)          \
    X(far)               \
    X(enter_far)         \
    X(with_op)           \
    X(go)                \
    X(region)            \
    X(dirty)             \
    X(reload)            \
    X(reload_f)

enum stencil_part {
#define X(name) STENCIL_##name,
    STENCIL_PARTS(X)
#undef X
        STENCIL_PART_COUNT
};

/* Rows that end their block (RV_END) have no stencil: what they do is in calls. Neither have these. X(id, reason) */
#define STENCIL_EXCEPTIONS(X)                                             \
    X(csrrs_fflags, "whether it writes depends on the number of rs1")     \
    X(amocas_q, "its operands are pairs of registers, by their numbers")  \
    X(fli_s, "its constant comes from a table whose place is not copied") \
    X(fli_d, "the same")                                                  \
    X(fli_h, "the same")

enum { STENCIL_NONE = 0 }; /* index of what is no stencil */
/* Indexes of stencils: by row, variant, places of rs1 and rs2. */
extern const uint16_t stencil_rows[RV_SEM_COUNT][STENCIL_VARIANTS][STENCIL_SOURCES][STENCIL_SOURCES];
extern const uint16_t stencil_parts[STENCIL_PART_COUNT];
extern const struct stencil stencils[];
extern const uint8_t stencil_code[];
extern const struct stencil_reloc stencil_relocs[];
/* To be copied to within 2 GiB of the stencils' copies, at a multiple of 64. */
extern const uint8_t stencil_constants[];
extern const uint32_t stencil_constants_bytes;
extern const uint32_t stencil_bytes_max; /* of the largest */

/* Functions that stencils call. */
typedef void stencil_helper_fn(void);
extern stencil_helper_fn *const stencil_helpers[];
extern const uint32_t stencil_helper_count;

#endif
