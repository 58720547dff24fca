/* Every floating-point row against the MPFR model: tables of corner cases and random operands, in all five rounding
 * modes, once as the instruction's static mode and once through frm; result register and flags must be exact.
 *
 *   test_fp                  on the engine
 *   test_fp --qemu[=SCRIPT]  on QEMU instead, which checks the model by a third party (77: no emulator)
 */
#include "encode.h"
#include "engine/isa/riscv/decode.h"
#include "fpmodel.h"
#include "run_suite.h"
#include "sanitized.h"
#include "subject.h"
#include "values.h"

#include <check.h>
#include <mpfr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fp_row {
    enum rv_row row;
    enum fp_operation op;
    enum fp_format format;
};

#define THREE_FORMATS(name, op)                                   \
    {RV_ROW_##name##_s, op, FP_S}, {RV_ROW_##name##_d, op, FP_D}, \
    {                                                             \
        RV_ROW_##name##_h, op, FP_H                               \
    }

static const struct fp_row fp_rows[] = {
    THREE_FORMATS(fadd, FP_ADD),
    THREE_FORMATS(fsub, FP_SUB),
    THREE_FORMATS(fmul, FP_MUL),
    THREE_FORMATS(fdiv, FP_DIV),
    THREE_FORMATS(fsqrt, FP_SQRT),
    THREE_FORMATS(fmadd, FP_MADD),
    THREE_FORMATS(fmsub, FP_MSUB),
    THREE_FORMATS(fnmsub, FP_NMSUB),
    THREE_FORMATS(fnmadd, FP_NMADD),
    THREE_FORMATS(fmin, FP_MIN),
    THREE_FORMATS(fmax, FP_MAX),
    THREE_FORMATS(feq, FP_EQ),
    THREE_FORMATS(flt, FP_LT),
    THREE_FORMATS(fle, FP_LE),
    THREE_FORMATS(fclass, FP_CLASS),
    THREE_FORMATS(fsgnj, FP_SGNJ),
    THREE_FORMATS(fsgnjn, FP_SGNJN),
    THREE_FORMATS(fsgnjx, FP_SGNJX),
    THREE_FORMATS(fcvt_w, FP_TO_W),
    THREE_FORMATS(fcvt_wu, FP_TO_WU),
    THREE_FORMATS(fcvt_l, FP_TO_L),
    THREE_FORMATS(fcvt_lu, FP_TO_LU),
    {RV_ROW_fcvt_s_w, FP_FROM_W, FP_S},
    {RV_ROW_fcvt_d_w, FP_FROM_W, FP_D},
    {RV_ROW_fcvt_s_wu, FP_FROM_WU, FP_S},
    {RV_ROW_fcvt_d_wu, FP_FROM_WU, FP_D},
    {RV_ROW_fcvt_s_l, FP_FROM_L, FP_S},
    {RV_ROW_fcvt_d_l, FP_FROM_L, FP_D},
    {RV_ROW_fcvt_s_lu, FP_FROM_LU, FP_S},
    {RV_ROW_fcvt_d_lu, FP_FROM_LU, FP_D},
    {RV_ROW_fcvt_s_d, FP_FROM_D, FP_S},
    {RV_ROW_fcvt_d_s, FP_FROM_S, FP_D},
    {RV_ROW_fmv_x_w, FP_MV_TO_X, FP_S},
    {RV_ROW_fmv_x_d, FP_MV_TO_X, FP_D},
    {RV_ROW_fmv_w_x, FP_MV_FROM_X, FP_S},
    {RV_ROW_fmv_d_x, FP_MV_FROM_X, FP_D},
    THREE_FORMATS(fli, FP_LI),
    THREE_FORMATS(fminm, FP_MINM),
    THREE_FORMATS(fmaxm, FP_MAXM),
    THREE_FORMATS(fround, FP_ROUND),
    THREE_FORMATS(froundnx, FP_ROUNDNX),
    THREE_FORMATS(fleq, FP_LEQ),
    THREE_FORMATS(fltq, FP_LTQ),
    {RV_ROW_fcvtmod_w_d, FP_TO_W_MODULO, FP_D},
    {RV_ROW_fcvt_s_h, FP_FROM_H, FP_S},
    {RV_ROW_fcvt_d_h, FP_FROM_H, FP_D},
    {RV_ROW_fcvt_h_s, FP_FROM_S, FP_H},
    {RV_ROW_fcvt_h_d, FP_FROM_D, FP_H},
    {RV_ROW_fmv_x_h, FP_MV_TO_X, FP_H},
    {RV_ROW_fmv_h_x, FP_MV_FROM_X, FP_H},
    {RV_ROW_fcvt_h_w, FP_FROM_W, FP_H},
    {RV_ROW_fcvt_h_wu, FP_FROM_WU, FP_H},
    {RV_ROW_fcvt_h_l, FP_FROM_L, FP_H},
    {RV_ROW_fcvt_h_lu, FP_FROM_LU, FP_H},
    {RV_ROW_fcvt_bf16_s, FP_FROM_S, FP_BF16},
    {RV_ROW_fcvt_s_bf16, FP_FROM_BF16, FP_S},
};

enum {
    TRIPLE_CORNERS = 25,
    FREG_RESULT = 10,
    FREG_FIRST = 11,
    RM_DYNAMIC = 7,
    CONSTANT_COUNT = 32,
    MAX_REPORTS = 5,
    ROWS_TO_A_COMPILED_ONE = TEST_SANITIZED ? 24 : 1,
    RANDOM_CASES = TEST_SANITIZED ? 300 : 3000,
};

static const char *const rounding_names[] = {"rne", "rtz", "rdn", "rup", "rmm"};

/* NULL: the engine. */
static char qemu_path[4096];

/* One operation: operands in, result register and fflags out. */
struct fp_record {
    uint64_t in[3];
    uint64_t result;
    uint64_t flags;
};

struct section {
    enum fp_rounding rm;
    bool dynamic;
    unsigned constant; /* for FP_LI */
};

static bool result_is_x(enum fp_operation op)
{
    return (op >= FP_EQ && op <= FP_CLASS) || (op >= FP_TO_W && op <= FP_TO_W_MODULO) || op == FP_MV_TO_X;
}

static bool operand_is_x(enum fp_operation op)
{
    return (op >= FP_FROM_W && op <= FP_FROM_LU) || op == FP_MV_FROM_X;
}

static unsigned operand_count(enum fp_operation op)
{
    switch (op) {
    case FP_MADD:
    case FP_MSUB:
    case FP_NMSUB:
    case FP_NMADD:
        return 3;
    case FP_SQRT:
    case FP_CLASS:
        return 1;
    case FP_LI:
        return 0;
    default:
        return op >= FP_TO_W ? 1 : 2;
    }
}

/* ---- operands ---- */

/* Not always what the instruction is named after. */
static enum fp_format operand_format(const struct fp_row *row)
{
    switch (row->op) {
    case FP_FROM_S:
        return FP_S;
    case FP_FROM_D:
        return FP_D;
    case FP_FROM_H:
        return FP_H;
    case FP_FROM_BF16:
        return FP_BF16;
    default:
        return row->format;
    }
}

static uint32_t corner_count(const struct fp_row *row)
{
    static const uint32_t *const counts[] = {
        [FP_S] = &value_f32_corner_count,
        [FP_D] = &value_f64_corner_count,
        [FP_H] = &value_f16_corner_count,
        [FP_BF16] = &value_bf16_corner_count,
    };
    return operand_count(row->op) == 3 ? TRIPLE_CORNERS : *counts[operand_format(row)];
}

static uint64_t corner(const struct fp_row *row, uint32_t index)
{
    switch (operand_format(row)) {
    case FP_S:
        return value_box(value_f32_corners[index]);
    case FP_H:
        return value_box16(value_f16_corners[index]);
    case FP_BF16:
        return value_box16(value_bf16_corners[index]);
    default:
        return value_f64_corners[index];
    }
}

static uint32_t random_case_count(const struct fp_row *row)
{
    return operand_count(row->op) ? RANDOM_CASES : 0;
}

static uint32_t case_count(const struct fp_row *row)
{
    uint32_t count = 1;
    for (unsigned i = 0; i < operand_count(row->op); i++)
        count *= corner_count(row);
    return (operand_is_x(row->op) ? 0 : count) + random_case_count(row);
}

static uint64_t random_operand(const struct fp_row *row, struct rng *rng)
{
    if (operand_is_x(row->op))
        return value_integer(rng);
    if (rng_one_in(rng, 32))
        return value_f_register(rng);
    switch (operand_format(row)) {
    case FP_S:
        return value_box(value_f32(rng));
    case FP_H:
        return value_box16(value_f16(rng));
    case FP_BF16:
        return value_box16(value_bf16(rng));
    default:
        return value_f64(rng);
    }
}

/* Sums that nearly cancel and operands that are one ulp apart are rare among independent ones. */
static void relate_operands(struct fp_record *record, struct rng *rng)
{
    if (rng_one_in(rng, 4))
        record->in[1] = record->in[0] ^ (rng_next(rng) & 0x80000000ull) ^ rng_below(rng, 4);
    if (rng_one_in(rng, 8))
        record->in[1] = record->in[0] ^ 1ull << 63;
}

static void fill_case(const struct fp_row *row, uint32_t index, struct rng *rng, struct fp_record *record)
{
    uint32_t corners = corner_count(row);
    ck_assert_uint_gt(corners, 0);
    bool random = index >= case_count(row) - random_case_count(row);
    for (unsigned i = 0; i < 3; i++) {
        record->in[i] = random ? random_operand(row, rng) : corner(row, index % corners);
        index /= corners;
    }
    if (random && operand_count(row->op) > 1)
        relate_operands(record, rng);
    record->result = 0x5a5a5a5a5a5a5a5aull;
    record->flags = UINT64_MAX;
}

/* ---- the program of a row: a loop a section over its records ---- */

static bool has_rounding(const struct fp_row *row)
{
    return rv_rows[row->row].effects & RV_RM;
}

static unsigned section_count(const struct fp_row *row)
{
    return has_rounding(row) ? 2 * FP_ROUNDING_COUNT : row->op == FP_LI ? CONSTANT_COUNT : 1;
}

static struct section section_at(unsigned index)
{
    return (struct section){(enum fp_rounding)(index % FP_ROUNDING_COUNT), index >= FP_ROUNDING_COUNT, index};
}

static uint32_t encode_operation(const struct fp_row *row, const struct section *section)
{
    const struct rv_row_info *info = &rv_rows[row->row];
    uint32_t bits = info->match | FREG_RESULT << 7 | (row->op == FP_LI ? section->constant : FREG_FIRST) << 15;
    if (!(info->mask >> 20 & 31))
        bits |= (FREG_FIRST + 1) << 20;
    if (operand_count(row->op) == 3)
        bits |= (uint32_t)(FREG_FIRST + 2) << 27;
    if (has_rounding(row))
        bits |= (section->dynamic ? RM_DYNAMIC : (uint32_t)section->rm) << 12;
    return bits;
}

static void emit_section(struct program *program, const struct fp_row *row, const struct section *section,
                         uint64_t first_gpa, uint64_t end_gpa)
{
    const int32_t at_result = offsetof(struct fp_record, result), at_flags = offsetof(struct fp_record, flags);
    /* With a static mode, frm holds another one. */
    unsigned frm = section->dynamic ? section->rm : (section->rm + 1) % FP_ROUNDING_COUNT;
    program_la(program, REG_S0, first_gpa);
    program_la(program, REG_S1, end_gpa);
    program_put(program, enc_csrrwi(REG_ZERO, CSR_FRM, frm));
    uint64_t loop = program_pc(program);
    for (int i = 0; i < 3; i++)
        program_put(program, enc_fld(FREG_FIRST + (unsigned)i, REG_S0, 8 * i));
    program_put(program, enc_ld(REG_A1, REG_S0, 0));
    program_put(program, enc_csrrwi(REG_ZERO, CSR_FFLAGS, 0));
    program_put(program, encode_operation(row, section));
    program_put(program, enc_csrrs(REG_A2, CSR_FFLAGS, REG_ZERO));
    program_put(program,
                result_is_x(row->op) ? enc_sd(REG_A0, REG_S0, at_result) : enc_fsd(FREG_RESULT, REG_S0, at_result));
    program_put(program, enc_sd(REG_A2, REG_S0, at_flags));
    program_put(program, enc_addi(REG_S0, REG_S0, sizeof(struct fp_record)));
    program_put(program, enc_bne(REG_S0, REG_S1, (int32_t)(loop - program_pc(program))));
}

static void build_program(struct program *program, const struct fp_row *row)
{
    uint32_t cases = case_count(row);
    program_init(program, (size_t)section_count(row) * cases * sizeof(struct fp_record));
    struct fp_record *records = program->data;
    for (unsigned s = 0; s < section_count(row); s++) {
        struct section section = section_at(s);
        struct rng rng = rng_derive(1, (uint64_t)row->row, s);
        for (uint32_t i = 0; i < cases; i++)
            fill_case(row, i, &rng, &records[s * cases + i]);
        if (row->op == FP_LI)
            records[s].in[0] = section.constant;
        uint64_t first = PROGRAM_DATA_GPA + (uint64_t)s * cases * sizeof(struct fp_record);
        emit_section(program, row, &section, first, first + cases * sizeof(struct fp_record));
    }
    program_end(program);
}

/* ---- comparison ---- */

static void report(const struct fp_row *row, const struct section *section, const struct fp_record *record,
                   const struct fp_result *expected)
{
    printf("%s", rv_rows[row->row].mnemonic);
    if (has_rounding(row))
        printf(" %s (%s)", rounding_names[section->rm], section->dynamic ? "frm" : "static");
    for (unsigned i = 0; i < operand_count(row->op); i++)
        printf(" %016llx", (unsigned long long)record->in[i]);
    printf(": %016llx flags %02llx instead of %016llx flags %02x\n", (unsigned long long)record->result,
           (unsigned long long)record->flags, (unsigned long long)expected->bits, expected->flags);
}

/* QEMU 10 reads a bfloat whose box is broken as the canonical NaN of a half. It is that of a bfloat (chapter "BF16",
 * section on scalar NaN boxing). */
static bool differs_on_purpose(const struct fp_row *row, const struct fp_record *record)
{
    return qemu_path[0] && row->op == FP_FROM_BF16 && record->in[0] != value_box16((uint16_t)record->in[0]);
}

static uint32_t compare_records(const struct fp_row *row, const void *output)
{
    const struct fp_record *records = output;
    uint32_t wrong = 0, cases = case_count(row);
    for (unsigned s = 0; s < section_count(row); s++) {
        struct section section = section_at(s);
        for (uint32_t i = 0; i < cases; i++) {
            const struct fp_record *record = &records[s * cases + i];
            struct fp_result expected = fp_expected(row->op, row->format, section.rm, record->in);
            if ((expected.bits == record->result && expected.flags == record->flags) || differs_on_purpose(row, record))
                continue;
            if (wrong++ < MAX_REPORTS)
                report(row, &section, record, &expected);
        }
    }
    return wrong;
}

static void run_program(const struct program *program, const struct engine_setting *setting,
                        struct subject_result *result)
{
    struct engine_run_options options = {.setting = setting};
    if (qemu_path[0])
        qemu_run(qemu_path, program, result);
    else
        engine_run(program, &options, result);
}

static void check_row(const struct fp_row *row, const struct program *program, const struct engine_setting *setting)
{
    struct subject_result result;
    run_program(program, setting, &result);
    ck_assert_msg(result.ended, "%s: %s", rv_rows[row->row].mnemonic, result.why);
    uint32_t wrong = compare_records(row, result.output);
    ck_assert_msg(wrong == 0, "%s on %s: %u of %u results are wrong", rv_rows[row->row].mnemonic,
                  qemu_path[0] ? "QEMU" : setting->name, wrong, section_count(row) * case_count(row));
    subject_result_free(&result);
}

/* Compiling is most of the time. What a setting adds that combines two of the others is in how they meet, not in a row;
 * and a sanitizer sees the same compiler at each row. Everything in the long run. */
static bool is_run(const struct engine_setting *setting, int row)
{
    if (!setting->tier || getenv("TUFF_TEST_LONG"))
        return true;
    return !setting->baseline_after && !setting->verify && row % ROWS_TO_A_COMPILED_ONE == 0;
}

START_TEST(results_and_flags_are_exact)
{
    const struct fp_row *row = &fp_rows[_i];
    struct program program;
    build_program(&program, row);
    for (uint32_t i = 0; i < (qemu_path[0] ? 1 : engine_setting_count); i++) {
        if (is_run(&engine_settings[i], _i))
            check_row(row, &program, &engine_settings[i]);
    }
    program_free(&program);
}
END_TEST

/* ---- the table above, and the model itself ---- */

START_TEST(every_fp_row_is_in_the_table)
{
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        const struct rv_row_info *info = &rv_rows[row];
        /* Neither what moves values to memory nor what accesses fflags computes. */
        if (!(info->effects & RV_FP) || (info->effects & (RV_LOAD | RV_STORE | RV_ONCE)))
            continue;
        bool found = false;
        for (size_t i = 0; i < TUFF_ARRAY_LEN(fp_rows); i++)
            found |= fp_rows[i].row == row;
        ck_assert_msg(found, "%s is not compared with the model", info->mnemonic);
    }
}
END_TEST

struct known {
    enum fp_operation op;
    enum fp_rounding rm;
    enum fp_format format;
    uint64_t in[3];
    uint64_t bits;
    uint8_t flags;
};

/* Worked by hand: what the model must not get wrong for reasons it shares with itself. */
static const struct known known_results[] = {
    /* 1 + half an ulp: a tie */
    {FP_ADD, FP_RNE, FP_D, {0x3ff0000000000000, 0x3ca0000000000000}, 0x3ff0000000000000, FP_NX},
    {FP_ADD, FP_RMM, FP_D, {0x3ff0000000000000, 0x3ca0000000000000}, 0x3ff0000000000001, FP_NX},
    {FP_ADD, FP_RUP, FP_D, {0x3ff0000000000000, 0x3ca0000000000000}, 0x3ff0000000000001, FP_NX},
    {FP_ADD, FP_RMM, FP_D, {0xbff0000000000000, 0xbca0000000000000}, 0xbff0000000000001, FP_NX},
    {FP_ADD, FP_RDN, FP_D, {0xbff0000000000000, 0xbca0000000000000}, 0xbff0000000000001, FP_NX},
    /* the sign of an exact zero */
    {FP_SUB, FP_RDN, FP_D, {0x3ff0000000000000, 0x3ff0000000000000}, 0x8000000000000000, 0},
    {FP_SUB, FP_RNE, FP_D, {0x3ff0000000000000, 0x3ff0000000000000}, 0, 0},
    /* least subnormal / 2: a tie with zero */
    {FP_DIV, FP_RNE, FP_D, {1, 0x4000000000000000}, 0, FP_NX | FP_UF},
    {FP_DIV, FP_RMM, FP_D, {1, 0x4000000000000000}, 1, FP_NX | FP_UF},
    /* just below the least normal, rounded up to it: tiny, unless the unbounded rounding reaches it as well */
    {FP_MUL, FP_RNE, FP_D, {0x0010000000000000, 0x3feffffffffffffe}, 0x000fffffffffffff, 0},
    {FP_MUL, FP_RNE, FP_D, {0x0010000000000000, 0x3fefffffffffffff}, 0x0010000000000000, FP_NX | FP_UF},
    {FP_MADD,
     FP_RNE,
     FP_D,
     {0x0010000000000000, 0x3fefffffffffffff, 0x0000000000000000},
     0x0010000000000000,
     FP_NX | FP_UF},
    {FP_MADD, FP_RUP, FP_D, {0x8010000000000000, 0x3c30000000000000, 0x0010000000000000}, 0x0010000000000000, FP_NX},
    /* the greatest number plus half its ulp */
    {FP_ADD, FP_RNE, FP_D, {0x7fefffffffffffff, 0x7c90000000000000}, 0x7ff0000000000000, FP_OF | FP_NX},
    {FP_ADD, FP_RTZ, FP_D, {0x7fefffffffffffff, 0x7c90000000000000}, 0x7fefffffffffffff, FP_NX},
    /* infinity times zero plus a quiet NaN */
    {FP_MADD, FP_RNE, FP_D, {0x7ff0000000000000, 0, 0x7ff8000000000000}, 0x7ff8000000000000, FP_NV},
    {FP_MIN, FP_RNE, FP_D, {0x8000000000000000, 0}, 0x8000000000000000, 0},
    {FP_MAX, FP_RNE, FP_S, {0xffffffff7f800001, 0xffffffff3f800000}, 0xffffffff3f800000, FP_NV},
    {FP_CLASS, FP_RNE, FP_S, {0xffffffff80000001}, 1 << 2, 0},
    {FP_CLASS, FP_RNE, FP_D, {0x7ff0000000000000}, 1 << 7, 0},
    /* a broken box is a quiet NaN */
    {FP_CLASS, FP_RNE, FP_S, {0x7fffffff3f800000}, 1 << 9, 0},
    {FP_TO_WU, FP_RNE, FP_D, {0xbfe0000000000000}, 0, FP_NX},
    {FP_TO_WU, FP_RMM, FP_D, {0xbfe0000000000000}, 0, FP_NV},
    {FP_TO_WU, FP_RTZ, FP_D, {0x41f0000000000000}, UINT64_MAX, FP_NV},
    {FP_TO_W, FP_RMM, FP_D, {0x4004000000000000}, 3, FP_NX},
    {FP_TO_L, FP_RNE, FP_D, {0x43e0000000000000}, INT64_MAX, FP_NV},
    {FP_TO_L, FP_RNE, FP_D, {0xc3e0000000000000}, 1ull << 63, 0},
    /* Zfa: ties of rounding to an integer, and what is inexact; a result of zero keeps the sign */
    {FP_ROUND, FP_RNE, FP_D, {0x4004000000000000}, 0x4000000000000000, 0},
    {FP_ROUNDNX, FP_RMM, FP_D, {0x4004000000000000}, 0x4008000000000000, FP_NX},
    {FP_ROUND, FP_RUP, FP_D, {0xbfe0000000000000}, 0x8000000000000000, 0},
    {FP_ROUNDNX, FP_RNE, FP_D, {0x432fffffffffffff}, 0x4330000000000000, FP_NX},
    {FP_ROUNDNX, FP_RDN, FP_S, {0xffffffff00000001}, 0xffffffff00000000, FP_NX},
    {FP_ROUND, FP_RNE, FP_D, {0x7ff0000000000001}, 0x7ff8000000000000, FP_NV},
    {FP_MINM, FP_RNE, FP_D, {0x7ff8000000000000, 0}, 0x7ff8000000000000, 0},
    {FP_LTQ, FP_RNE, FP_D, {0x7ff8000000000000, 0}, 0, 0},
    {FP_LEQ, FP_RNE, FP_D, {0x8000000000000000, 0}, 1, 0},
    /* 2^32 + 5.5, -(2^31 + 1), 2^84 + 2^32, 2^83 + 2^31 */
    {FP_TO_W_MODULO, FP_RNE, FP_D, {0x41f0000000580000}, 5, FP_NV},
    {FP_TO_W_MODULO, FP_RNE, FP_D, {0xc1e0000000200000}, 0x7fffffff, FP_NV},
    {FP_TO_W_MODULO, FP_RNE, FP_D, {0x4530000000000001}, 0, FP_NV},
    {FP_TO_W_MODULO, FP_RNE, FP_D, {0x4520000000000001}, 0xffffffff80000000, FP_NV},
    {FP_TO_W_MODULO, FP_RNE, FP_D, {0xbff8000000000000}, UINT64_MAX, FP_NX},
    {FP_LI, FP_RNE, FP_S, {1}, 0xffffffff00800000, 0},
    {FP_LI, FP_RNE, FP_D, {29}, 0x40f0000000000000, 0},
    /* to half: the greatest and what rounds beyond it, ties, and 2^-14 from below (not tiny, tiny) */
    {FP_FROM_S, FP_RNE, FP_H, {0xffffffff477fefff}, 0xffffffffffff7bff, FP_NX},
    {FP_FROM_S, FP_RNE, FP_H, {0xffffffff477ff000}, 0xffffffffffff7c00, FP_OF | FP_NX},
    {FP_FROM_S, FP_RTZ, FP_H, {0xffffffffff7fffff}, 0xfffffffffffffbff, FP_OF | FP_NX},
    {FP_FROM_S, FP_RNE, FP_H, {0xffffffff3f801000}, 0xffffffffffff3c00, FP_NX},
    {FP_FROM_S, FP_RMM, FP_H, {0xffffffff3f801000}, 0xffffffffffff3c01, FP_NX},
    {FP_FROM_S, FP_RNE, FP_H, {0xffffffff387ff000}, 0xffffffffffff0400, FP_NX},
    {FP_FROM_S, FP_RNE, FP_H, {0xffffffff387fe000}, 0xffffffffffff0400, FP_UF | FP_NX},
    {FP_FROM_S, FP_RNE, FP_H, {0xffffffff33000000}, 0xffffffffffff0000, FP_UF | FP_NX},
    {FP_FROM_D, FP_RUP, FP_H, {0x0000000000000001}, 0xffffffffffff0001, FP_UF | FP_NX},
    {FP_FROM_S, FP_RNE, FP_H, {0xffffffffff800001}, 0xffffffffffff7e00, FP_NV},
    /* from half: the least subnormal; a box one bit short */
    {FP_FROM_H, FP_RNE, FP_S, {0xffffffffffff8001}, 0xffffffffb3800000, 0},
    {FP_FROM_H, FP_RNE, FP_D, {0xfffffffffffe3c00}, 0x7ff8000000000000, 0},
    {FP_MV_TO_X, FP_RNE, FP_H, {0x8001}, 0xffffffffffff8001, 0},
    /* halves: 2^-11 * (1 + 2^-10) * (1 - 2^-10) + 1 + 2^-10, just below a tie that a single would round to */
    {FP_MADD, FP_RNE, FP_H, {0xffffffffffff1001, 0xffffffffffff3bfe, 0xffffffffffff3c01}, 0xffffffffffff3c01, FP_NX},
    {FP_MADD, FP_RNE, FP_H, {0xffffffffffff7c00, 0xffffffffffff0000, 0xffffffffffff7e00}, 0xffffffffffff7e00, FP_NV},
    {FP_MADD, FP_RNE, FP_H, {0xffffffffffff7c00, 0xffffffffffff3c00, 0xfffffffffffffc00}, 0xffffffffffff7e00, FP_NV},
    {FP_ADD, FP_RDN, FP_H, {0xffffffffffff3c00, 0xffffffffffffbc00}, 0xffffffffffff8000, 0},
    {FP_DIV, FP_RNE, FP_H, {0xffffffffffff3c00, 0xffffffffffff8000}, 0xfffffffffffffc00, FP_DZ},
    {FP_SQRT, FP_RNE, FP_H, {0xffffffffffffbc00}, 0xffffffffffff7e00, FP_NV},
    {FP_MUL, FP_RNE, FP_H, {0xffffffffffff7bff, 0xffffffffffff4000}, 0xffffffffffff7c00, FP_OF | FP_NX},
    {FP_CLASS, FP_RNE, FP_H, {0xffffffff3c00}, 1 << 9, 0},
    {FP_FROM_LU, FP_RTZ, FP_H, {UINT64_MAX}, 0xffffffffffff7bff, FP_OF | FP_NX},
    {FP_FROM_W, FP_RNE, FP_H, {2049}, 0xffffffffffff6800, FP_NX},
    {FP_LI, FP_RNE, FP_H, {2}, 0xffffffffffff0100, 0},
    {FP_LI, FP_RNE, FP_H, {29}, 0xffffffffffff7c00, 0},
    /* bfloat: ties, overflow, and 2^-126 from below (not tiny, tiny) */
    {FP_FROM_S, FP_RNE, FP_BF16, {0xffffffff3f808000}, 0xffffffffffff3f80, FP_NX},
    {FP_FROM_S, FP_RNE, FP_BF16, {0xffffffff3f818000}, 0xffffffffffff3f82, FP_NX},
    {FP_FROM_S, FP_RNE, FP_BF16, {0xffffffffff7fffff}, 0xffffffffffffff80, FP_OF | FP_NX},
    {FP_FROM_S, FP_RNE, FP_BF16, {0xffffffff007fc000}, 0xffffffffffff0080, FP_NX},
    {FP_FROM_S, FP_RNE, FP_BF16, {0xffffffff007f8000}, 0xffffffffffff0080, FP_UF | FP_NX},
    {FP_FROM_S, FP_RNE, FP_BF16, {0xffffffff7f800001}, 0xffffffffffff7fc0, FP_NV},
    {FP_FROM_BF16, FP_RNE, FP_S, {0xffffffffffff8001}, 0xffffffff80010000, 0},
    {FP_FROM_BF16, FP_RNE, FP_S, {0xffffffffffffff81}, 0xffffffff7fc00000, FP_NV},
    {FP_FROM_BF16, FP_RNE, FP_S, {0xffffffff00003f80}, 0xffffffff7fc00000, 0},
};

START_TEST(model_gives_results_worked_by_hand)
{
    const struct known *k = &known_results[_i];
    struct fp_result r = fp_expected(k->op, k->format, k->rm, k->in);
    ck_assert_uint_eq(r.bits, k->bits);
    ck_assert_uint_eq(r.flags, k->flags);
}
END_TEST

/* MPFR's own rounding, which knows every mode but RMM, in the way its manual gives for IEEE formats. */
static uint64_t native_bits(enum fp_operation op, mpfr_rnd_t rnd, const uint64_t in[3], bool *inexact)
{
    double d[3], out;
    mpfr_t a[3], r;
    memcpy(d, in, sizeof(d));
    for (int i = 0; i < 3; i++) {
        mpfr_init2(a[i], 53);
        mpfr_set_d(a[i], d[i], MPFR_RNDN);
    }
    mpfr_init2(r, 53);
    mpfr_exp_t old_min = mpfr_get_emin(), old_max = mpfr_get_emax();
    mpfr_set_emin(-1073);
    mpfr_set_emax(1024);
    int ternary = op == FP_ADD   ? mpfr_add(r, a[0], a[1], rnd)
                  : op == FP_MUL ? mpfr_mul(r, a[0], a[1], rnd)
                  : op == FP_DIV ? mpfr_div(r, a[0], a[1], rnd)
                                 : mpfr_fma(r, a[0], a[1], a[2], rnd);
    ternary = mpfr_subnormalize(r, ternary, rnd);
    out = mpfr_get_d(r, rnd);
    mpfr_set_emin(old_min);
    mpfr_set_emax(old_max);
    *inexact = ternary != 0;
    for (int i = 0; i < 3; i++)
        mpfr_clear(a[i]);
    mpfr_clear(r);
    uint64_t bits;
    memcpy(&bits, &out, 8);
    return bits;
}

static bool bits_are_nan(uint64_t bits)
{
    return (bits & INT64_MAX) > 0x7ff0000000000000;
}

START_TEST(model_agrees_with_mpfrs_own_rounding)
{
    static const mpfr_rnd_t modes[] = {MPFR_RNDN, MPFR_RNDZ, MPFR_RNDD, MPFR_RNDU};
    static const enum fp_operation ops[] = {FP_ADD, FP_MUL, FP_DIV, FP_MADD};
    struct rng rng = {7};
    for (int i = 0; i < 20000; i++) {
        uint64_t in[3] = {value_f64(&rng), value_f64(&rng), value_f64(&rng)};
        if (bits_are_nan(in[0]) || bits_are_nan(in[1]) || bits_are_nan(in[2]))
            continue;
        enum fp_operation op = ops[rng_below(&rng, 4)];
        enum fp_rounding rm = (enum fp_rounding)rng_below(&rng, 4);
        bool inexact;
        uint64_t bits = native_bits(op, modes[rm], in, &inexact);
        struct fp_result r = fp_expected(op, FP_D, rm, in);
        if (bits_are_nan(bits) && bits_are_nan(r.bits))
            continue;
        ck_assert_msg(bits == r.bits && inexact == ((r.flags & FP_NX) != 0),
                      "op %d mode %d %016llx %016llx %016llx: model %016llx, MPFR %016llx", op, rm,
                      (unsigned long long)in[0], (unsigned long long)in[1], (unsigned long long)in[2],
                      (unsigned long long)r.bits, (unsigned long long)bits);
    }
}
END_TEST

static Suite *fp_suite(void)
{
    Suite *suite = suite_create("fp");
    TCase *rows = tcase_create("rows");
    tcase_set_timeout(rows, 600);
    tcase_add_test(rows, every_fp_row_is_in_the_table);
    tcase_add_loop_test(rows, results_and_flags_are_exact, 0, TUFF_ARRAY_LEN(fp_rows));
    suite_add_tcase(suite, rows);
    TCase *model = tcase_create("model");
    tcase_set_timeout(model, 60);
    tcase_add_loop_test(model, model_gives_results_worked_by_hand, 0, TUFF_ARRAY_LEN(known_results));
    tcase_add_test(model, model_agrees_with_mpfrs_own_rounding);
    suite_add_tcase(suite, model);
    return suite;
}

int main(int argc, char **argv)
{
    char why[4096 + 256];
    if (argc > 1 && strncmp(argv[1], "--qemu", 6) == 0) {
        const char *fetch = argv[1][6] == '=' ? argv[1] + 7 : NULL;
        if (!qemu_find(fetch, qemu_path, sizeof(qemu_path), why, sizeof(why))) {
            printf("skipped: %s\n", why);
            return 77;
        }
    }
    return run_suite(fp_suite());
}
