/* Semantic bodies: F, D, Zfa, halves and bfloats on the host's floating-point unit.
 *
 * The host's control register holds the guest's rounding mode, and its sticky flags are the guest's, so an operation in
 * the current mode is one host instruction. What differs is put right here: results that are NaN become the canonical
 * NaN, singles are NaN-boxed and an unboxed operand reads as the canonical NaN (Unprivileged ISA, chapters "F" and
 * "D"). Whoever includes this compiles it with FENV_ACCESS on, so that nothing is folded, dropped or moved across a
 * look at the flags.
 */
#ifndef TUFF_ENGINE_ISA_RISCV_SEM_FP_H
#define TUFF_ENGINE_ISA_RISCV_SEM_FP_H

#include "engine/isa/riscv/sem.h"

#define FP_BOX 0xffffffff00000000ull
#define FP_NAN_S 0x7fc00000u
#define FP_NAN_D 0x7ff8000000000000ull
#define FP_SIGN_S 0x80000000u
#define FP_SIGN_D (1ull << 63)

TUFF_INLINE uint32_t fp_bits_s(uint64_t reg)
{
    return TUFF_LIKELY(reg >= FP_BOX) ? (uint32_t)reg : FP_NAN_S;
}

TUFF_INLINE float fp_s(uint64_t reg)
{
    return __builtin_bit_cast(float, fp_bits_s(reg));
}

TUFF_INLINE double fp_d(uint64_t reg)
{
    return __builtin_bit_cast(double, reg);
}

/* Halves: the host computes with none, so they are widened by their bits (exactly, without a flag, NaNs with their
 * payload) where a double's operation does. */
#define FP_BOX_H 0xffffffffffff0000ull
#define FP_NAN_H 0x7e00u

TUFF_INLINE uint32_t fp_bits_h(uint64_t reg)
{
    return TUFF_LIKELY(reg >= FP_BOX_H) ? (uint16_t)reg : FP_NAN_H;
}

TUFF_INLINE double fp_h(uint64_t reg)
{
    uint64_t bits = fp_bits_h(reg), exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
    uint64_t magnitude = exponent ? (exponent == 31 ? 0x7ff : exponent + 1023 - 15) << 52 | fraction << 42
                                  : __builtin_bit_cast(uint64_t, (double)(int64_t)fraction * 0x1p-24);

    return fp_d((bits >> 15) << 63 | magnitude);
}

/* An unordered comparison with itself is one ucomis and one jp; written v != v it is a set-and-or more. */
TUFF_INLINE uint64_t fp_reg_s(float v)
{
    return FP_BOX | (TUFF_UNLIKELY(__builtin_isunordered(v, v)) ? FP_NAN_S : __builtin_bit_cast(uint32_t, v));
}

/* Of what is no NaN. */
TUFF_INLINE uint64_t fp_reg_s_number(float v)
{
    return FP_BOX | __builtin_bit_cast(uint32_t, v);
}

TUFF_INLINE uint64_t fp_reg_d_number(double v)
{
    return __builtin_bit_cast(uint64_t, v);
}

TUFF_INLINE uint64_t fp_reg_d(double v)
{
    /* Chosen between as doubles: the value need not leave its vector register. */
    return __builtin_bit_cast(uint64_t, TUFF_UNLIKELY(__builtin_isunordered(v, v)) ? fp_d(FP_NAN_D) : v);
}

#define SET_F(value)         \
    do {                     \
        SEM_SET_F_RD(value); \
        SEM_DIRTY_FS;        \
    } while (0)

/* The result of an operation, of which a NaN is the canonical one. */
#define SET_ARITHMETIC(type, fp_reg, value)                                                    \
    do {                                                                                       \
        type result_ = (value);                                                                \
        if (SEM_NAN_MISSES && !slow && TUFF_UNLIKELY(__builtin_isunordered(result_, result_))) \
            return SEM_MISS;                                                                   \
        SET_F(SEM_NAN_MISSES && !slow ? fp_reg##_number(result_) : fp_reg(result_));           \
    } while (0)
#define SET_S(value) SET_ARITHMETIC(float, fp_reg_s, value)
#define SET_D(value) SET_ARITHMETIC(double, fp_reg_d, value)
#define FS1 SEM_F(rs1)
#define FS2 SEM_F(rs2)
#define FS3 SEM_F_RS3

/* Operations in another mode than the host's: outlined. */
#define ROUNDED_S(op, a, b, c)                                      \
    if (RM != RM_HOST) {                                            \
        uint64_t rounded_;                                          \
        if (!slow)                                                  \
            return SEM_MISS;                                        \
        if (fp_rounded(h, op, FP_SINGLE, a, b, c, RM, &rounded_)) { \
            SET_F(FP_BOX | rounded_);                               \
            NEXT;                                                   \
        }                                                           \
    }
#define ROUNDED_D(op, a, b, c)                                      \
    if (RM != RM_HOST) {                                            \
        uint64_t rounded_;                                          \
        if (!slow)                                                  \
            return SEM_MISS;                                        \
        if (fp_rounded(h, op, FP_DOUBLE, a, b, c, RM, &rounded_)) { \
            SET_F(rounded_);                                        \
            NEXT;                                                   \
        }                                                           \
    }

/* clang-format off: one line a body reads as a table */

SEM(fadd_s)
{
    ROUNDED_S(FP_ADD, fp_bits_s(FS1), fp_bits_s(FS2), 0) SET_S(fp_s(FS1) + fp_s(FS2));
    NEXT;
}
SEM(fsub_s)
{
    ROUNDED_S(FP_ADD, fp_bits_s(FS1), fp_bits_s(FS2) ^ FP_SIGN_S, 0) SET_S(fp_s(FS1) - fp_s(FS2));
    NEXT;
}
SEM(fmul_s)
{
    ROUNDED_S(FP_MUL, fp_bits_s(FS1), fp_bits_s(FS2), 0) SET_S(fp_s(FS1) * fp_s(FS2));
    NEXT;
}
SEM(fdiv_s)
{
    ROUNDED_S(FP_DIV, fp_bits_s(FS1), fp_bits_s(FS2), 0) SET_S(fp_s(FS1) / fp_s(FS2));
    NEXT;
}
SEM(fsqrt_s)
{
    ROUNDED_S(FP_SQRT, fp_bits_s(FS1), 0, 0) SET_S(__builtin_sqrtf(fp_s(FS1)));
    NEXT;
}
SEM(fadd_d)
{
    ROUNDED_D(FP_ADD, FS1, FS2, 0) SET_D(fp_d(FS1) + fp_d(FS2));
    NEXT;
}
SEM(fsub_d)
{
    ROUNDED_D(FP_ADD, FS1, FS2 ^ FP_SIGN_D, 0) SET_D(fp_d(FS1) - fp_d(FS2));
    NEXT;
}
SEM(fmul_d)
{
    ROUNDED_D(FP_MUL, FS1, FS2, 0) SET_D(fp_d(FS1) * fp_d(FS2));
    NEXT;
}
SEM(fdiv_d)
{
    ROUNDED_D(FP_DIV, FS1, FS2, 0) SET_D(fp_d(FS1) / fp_d(FS2));
    NEXT;
}
SEM(fsqrt_d)
{
    ROUNDED_D(FP_SQRT, FS1, 0, 0) SET_D(__builtin_sqrt(fp_d(FS1)));
    NEXT;
}

/* Fused: the product's and the addend's signs as the four rows have them. */
#define FMA_S(product_sign, addend_sign)                                                                      \
    {                                                                                                         \
        uint32_t a = fp_bits_s(FS1) ^ (product_sign), b = fp_bits_s(FS2), c = fp_bits_s(FS3) ^ (addend_sign); \
        ROUNDED_S(FP_FMA, a, b, c)                                                                            \
        float fa = __builtin_bit_cast(float, a), fb = __builtin_bit_cast(float, b);                           \
        float v = __builtin_fmaf(fa, fb, __builtin_bit_cast(float, c));                                       \
        uint64_t bits = FP_BOX | __builtin_bit_cast(uint32_t, v);                                             \
        if (TUFF_UNLIKELY(__builtin_isunordered(v, v))) {                                                     \
            if (SEM_NAN_MISSES && !slow)                                                                      \
                return SEM_MISS;                                                                              \
            fp_fma_nan(h, (double)fa, (double)fb);                                                            \
            bits = FP_BOX | FP_NAN_S;                                                                         \
        }                                                                                                     \
        SET_F(bits);                                                                                          \
        NEXT;                                                                                                 \
    }
#define FMA_D(product_sign, addend_sign)                                     \
    {                                                                        \
        uint64_t a = FS1 ^ (product_sign), b = FS2, c = FS3 ^ (addend_sign); \
        ROUNDED_D(FP_FMA, a, b, c)                                           \
        double v = __builtin_fma(fp_d(a), fp_d(b), fp_d(c));                 \
        double result = v;                                                   \
        if (TUFF_UNLIKELY(__builtin_isunordered(v, v))) {                    \
            if (SEM_NAN_MISSES && !slow)                                     \
                return SEM_MISS;                                             \
            fp_fma_nan(h, fp_d(a), fp_d(b));                                 \
            result = fp_d(FP_NAN_D);                                         \
        }                                                                    \
        SET_F(__builtin_bit_cast(uint64_t, result));                         \
        NEXT;                                                                \
    }

SEM(fmadd_s)
FMA_S(0, 0)
SEM(fmsub_s)
FMA_S(0, FP_SIGN_S)
SEM(fnmsub_s)
FMA_S(FP_SIGN_S, 0)
SEM(fnmadd_s)
FMA_S(FP_SIGN_S, FP_SIGN_S)
SEM(fmadd_d)
FMA_D(0, 0)
SEM(fmsub_d)
FMA_D(0, FP_SIGN_D)
SEM(fnmsub_d)
FMA_D(FP_SIGN_D, 0)
SEM(fnmadd_d)
FMA_D(FP_SIGN_D, FP_SIGN_D)

/* Sign injection moves bits; a single's operands are unboxed first. */
SEM(fsgnj_s)
{
    SET_F(FP_BOX | (fp_bits_s(FS1) & ~FP_SIGN_S) | (fp_bits_s(FS2) & FP_SIGN_S));
    NEXT;
}
SEM(fsgnjn_s)
{
    SET_F(FP_BOX | (fp_bits_s(FS1) & ~FP_SIGN_S) | (~fp_bits_s(FS2) & FP_SIGN_S));
    NEXT;
}
SEM(fsgnjx_s)
{
    SET_F(FP_BOX | (fp_bits_s(FS1) ^ (fp_bits_s(FS2) & FP_SIGN_S)));
    NEXT;
}
SEM(fsgnj_d)
{
    SET_F((FS1 & ~FP_SIGN_D) | (FS2 & FP_SIGN_D));
    NEXT;
}
SEM(fsgnjn_d)
{
    SET_F((FS1 & ~FP_SIGN_D) | (~FS2 & FP_SIGN_D));
    NEXT;
}
SEM(fsgnjx_d)
{
    SET_F(FS1 ^ (FS2 & FP_SIGN_D));
    NEXT;
}

/* IEEE 754-2019 minimumNumber and maximumNumber: a NaN loses against a number, -0 is below +0, a signalling NaN is
 * invalid; the unordered comparison raises that flag itself. `merge` joins the signs of equal operands: or for the
 * minimum, and for the maximum. */
#define MIN_MAX(type, to_fp, bits_of, box, nan, compare, merge)                                                    \
    {                                                                                                              \
        type a = to_fp(FS1), b = to_fp(FS2);                                                                       \
        if (TUFF_UNLIKELY(__builtin_isunordered(a, b)))                                                            \
            SET_F(box | (!__builtin_isnan(a) ? bits_of(FS1) : !__builtin_isnan(b) ? bits_of(FS2) : nan));          \
        else                                                                                                       \
            SET_F(box | (a == b ? (bits_of(FS1) merge bits_of(FS2)) : a compare b ? bits_of(FS1) : bits_of(FS2))); \
        NEXT;                                                                                                      \
    }
#define FP_SAME(reg) (reg)

SEM(fmin_s)
MIN_MAX(float, fp_s, fp_bits_s, FP_BOX, FP_NAN_S, <, |)
SEM(fmax_s)
MIN_MAX(float, fp_s, fp_bits_s, FP_BOX, FP_NAN_S, >, &)
SEM(fmin_d)
MIN_MAX(double, fp_d, FP_SAME, 0, FP_NAN_D, <, |)
SEM(fmax_d)
MIN_MAX(double, fp_d, FP_SAME, 0, FP_NAN_D, >, &)

/* == is quiet, < and <= signal on any NaN; so do C's operators. */
#define COMPARE(fp, op)             \
    {                               \
        SET_RD(fp(FS1) op fp(FS2)); \
        SEM_DIRTY_FS;               \
        NEXT;                       \
    }
SEM(feq_s)
COMPARE(fp_s, ==)
SEM(flt_s)
COMPARE(fp_s, <)
SEM(fle_s)
COMPARE(fp_s, <=)
SEM(feq_d)
COMPARE(fp_d, ==)
SEM(flt_d)
COMPARE(fp_d, <)
SEM(fle_d)
COMPARE(fp_d, <=)

/* Zfa's minimum and maximum: NaN wins. */
#define MIN_MAX_NAN(type, to_fp, bits_of, box, nan, compare, merge)                                                \
    {                                                                                                              \
        type a = to_fp(FS1), b = to_fp(FS2);                                                                       \
        if (TUFF_UNLIKELY(__builtin_isunordered(a, b)))                                                            \
            SET_F(box | nan);                                                                                      \
        else                                                                                                       \
            SET_F(box | (a == b ? (bits_of(FS1) merge bits_of(FS2)) : a compare b ? bits_of(FS1) : bits_of(FS2))); \
        NEXT;                                                                                                      \
    }
SEM(fminm_s)
MIN_MAX_NAN(float, fp_s, fp_bits_s, FP_BOX, FP_NAN_S, <, |)
SEM(fmaxm_s)
MIN_MAX_NAN(float, fp_s, fp_bits_s, FP_BOX, FP_NAN_S, >, &)
SEM(fminm_d)
MIN_MAX_NAN(double, fp_d, FP_SAME, 0, FP_NAN_D, <, |)
SEM(fmaxm_d)
MIN_MAX_NAN(double, fp_d, FP_SAME, 0, FP_NAN_D, >, &)

/* Zfa's comparisons signal on signalling NaNs only. */
#define COMPARE_QUIET(fp, builtin)         \
    {                                      \
        SET_RD(builtin(fp(FS1), fp(FS2))); \
        SEM_DIRTY_FS;                      \
        NEXT;                              \
    }
SEM(fltq_s)
COMPARE_QUIET(fp_s, __builtin_isless)
SEM(fleq_s)
COMPARE_QUIET(fp_s, __builtin_islessequal)
SEM(fltq_d)
COMPARE_QUIET(fp_d, __builtin_isless)
SEM(fleq_d)
COMPARE_QUIET(fp_d, __builtin_islessequal)

/* clang-format on */

/* The ten classes (chapter "F", table of fclass). `exp_max` is the all-ones exponent, `quiet` the top bit of the
 * fraction. */
TUFF_INLINE unsigned fp_class(bool negative, unsigned exponent, uint64_t fraction, unsigned exp_max, uint64_t quiet)
{
    if (exponent == exp_max && fraction)
        return fraction & quiet ? 1 << 9 : 1 << 8;
    if (exponent == exp_max)
        return negative ? 1 << 0 : 1 << 7;
    if (exponent)
        return negative ? 1 << 1 : 1 << 6;
    if (fraction)
        return negative ? 1 << 2 : 1 << 5;
    return negative ? 1 << 3 : 1 << 4;
}

SEM(fclass_s)
{
    uint32_t v = fp_bits_s(FS1);
    SET_RD(fp_class(v >> 31, v >> 23 & 0xff, v & 0x7fffff, 0xff, 1u << 22));
    NEXT;
}

SEM(fclass_d)
{
    uint64_t v = FS1;
    SET_RD(fp_class(v >> 63, v >> 52 & 0x7ff, v & ((1ull << 52) - 1), 0x7ff, 1ull << 51));
    NEXT;
}

/* To an integer. The host's truncating conversion is right inside (low, high); rounding in the host's mode comes first
 * inside the narrower (round_low, round_high), whose ends cannot be rounded across. The bounds are literals: with
 * FENV_ACCESS arithmetic on constants is done when it runs, flags included. A comparison with NaN raises invalid, which
 * the conversion would too. All else is outlined. */
#define TO_INT(fp, reg, low, high, round_low, round_high, type, kind)                \
    {                                                                                \
        fp v = (reg);                                                                \
        if (RM == RM_RTZ && v > (low) && v < (high)) {                               \
            SET_RD((int64_t)(type)(int64_t)v);                                       \
        } else if (RM == RM_HOST && v > (round_low) && v < (round_high)) {           \
            SET_RD((int64_t)(type)(int64_t)(fp)__builtin_rint((double)v));           \
        } else {                                                                     \
            if (!slow)                                                               \
                return SEM_MISS;                                                     \
            SET_RD(fp_to_int(h, kind, __builtin_bit_cast(uint64_t, (double)v), RM)); \
        }                                                                            \
        SEM_DIRTY_FS;                                                                \
        NEXT;                                                                        \
    }

/* clang-format off */
SEM(fcvt_w_s)  TO_INT(float, fp_s(FS1), -0x1p31f, 0x1p31f, -0x1p31f, 0x1p31f, int32_t, FP_INT32)
SEM(fcvt_wu_s) TO_INT(float, fp_s(FS1), -1.0f, 0x1p32f, 0.0f, 0x1p32f, int32_t, FP_UINT32)
SEM(fcvt_l_s)  TO_INT(float, fp_s(FS1), -0x1p63f, 0x1p63f, -0x1p63f, 0x1p63f, int64_t, FP_INT64)
SEM(fcvt_lu_s) TO_INT(float, fp_s(FS1), -1.0f, 0x1p63f, 0.0f, 0x1p63f, int64_t, FP_UINT64)
SEM(fcvt_w_d)  TO_INT(double, fp_d(FS1), -2147483649.0, 0x1p31, -0x1p31, 2147483647.0, int32_t, FP_INT32)
SEM(fcvt_wu_d) TO_INT(double, fp_d(FS1), -1.0, 0x1p32, 0.0, 4294967295.0, int32_t, FP_UINT32)
SEM(fcvt_l_d)  TO_INT(double, fp_d(FS1), -0x1p63, 0x1p63, -0x1p63, 0x1p63, int64_t, FP_INT64)
SEM(fcvt_lu_d) TO_INT(double, fp_d(FS1), -1.0, 0x1p63, 0.0, 0x1p63, int64_t, FP_UINT64)

/* From an integer; what fits exactly needs no mode. */
SEM(fcvt_d_w)  { SET_F(fp_reg_d_number((double)(int32_t)RS1_W)); NEXT; }
SEM(fcvt_d_wu) { SET_F(fp_reg_d_number((double)(int64_t)RS1_W)); NEXT; }
/* clang-format on */

#define FROM_INT(format, box, negative, magnitude, value)                 \
    {                                                                     \
        if (RM != RM_HOST) {                                              \
            if (!slow)                                                    \
                return SEM_MISS;                                          \
            SET_F(box | fp_from_int(h, format, negative, magnitude, RM)); \
        } else {                                                          \
            SET_F(value);                                                 \
        }                                                                 \
        NEXT;                                                             \
    }
#define MAGNITUDE(v) ((int64_t)(v) < 0 ? -(uint64_t)(v) : (uint64_t)(v))
/* x86 below AVX-512 converts signed integers only: halve with the lost bit kept sticky, convert, double. */
#define FROM_U64(fp, v) ((int64_t)(v) >= 0 ? (fp)(int64_t)(v) : 2 * (fp)(int64_t)((v) >> 1 | ((v) & 1)))

/* clang-format off */
SEM(fcvt_s_w)  FROM_INT(FP_SINGLE, FP_BOX, (int32_t)RS1_W < 0, MAGNITUDE((int32_t)RS1_W), fp_reg_s_number((float)(int32_t)RS1_W))
SEM(fcvt_s_wu) FROM_INT(FP_SINGLE, FP_BOX, false, RS1_W, fp_reg_s_number((float)(int64_t)RS1_W))
SEM(fcvt_s_l)  FROM_INT(FP_SINGLE, FP_BOX, (int64_t)RS1 < 0, MAGNITUDE(RS1), fp_reg_s_number((float)(int64_t)RS1))
SEM(fcvt_s_lu) FROM_INT(FP_SINGLE, FP_BOX, false, RS1, fp_reg_s_number(FROM_U64(float, RS1)))
SEM(fcvt_d_l)  FROM_INT(FP_DOUBLE, 0, (int64_t)RS1 < 0, MAGNITUDE(RS1), fp_reg_d_number((double)(int64_t)RS1))
SEM(fcvt_d_lu) FROM_INT(FP_DOUBLE, 0, false, RS1, fp_reg_d_number(FROM_U64(double, RS1)))

SEM(fcvt_d_s)  { SET_F(fp_reg_d((double)fp_s(FS1))); NEXT; }
SEM(fcvt_s_d)
{
    double v = fp_d(FS1);
    if (RM != RM_HOST) {
        if (!slow)
            return SEM_MISS;
        if (__builtin_isfinite(v)) {
            SET_F(FP_BOX | fp_narrow(h, FP_SINGLE, FS1, RM));
            NEXT;
        }
    }
    SET_F(fp_reg_s((float)v));
    NEXT;
}

SEM(fmv_x_w) { SET_RD_W(FS1); NEXT; }
SEM(fmv_w_x) { SET_F(FP_BOX | RS1_W); NEXT; }
SEM(fmv_x_d) { SET_RD(FS1); NEXT; }
SEM(fmv_d_x) { SET_F(RS1); NEXT; }

/* ---- Zfa ---- */

/* The constants of FLI (chapter "Zfa", table of FLI.S): X(upper 16 bits of the double, of the single, the half). All
 * other bits are zero; a half holds 2^-16 and 2^-15 as subnormals and has infinity for 2^16. */
#define FP_CONSTANTS(X)                                                                                                \
    /* -1, the least normal number, 2^-16, 2^-15 */                                                                    \
    X(0xbff0, 0xbf80, 0xbc00) X(0x0010, 0x0080, 0x0400) X(0x3ef0, 0x3780, 0x0100) X(0x3f00, 0x3800, 0x0200)            \
    /* 2^-8, 2^-7, 0.0625, 0.125 */                                                                                    \
    X(0x3f70, 0x3b80, 0x1c00) X(0x3f80, 0x3c00, 0x2000) X(0x3fb0, 0x3d80, 0x2c00) X(0x3fc0, 0x3e00, 0x3000)            \
    /* 0.25, 0.3125, 0.375, 0.4375 */                                                                                  \
    X(0x3fd0, 0x3e80, 0x3400) X(0x3fd4, 0x3ea0, 0x3500) X(0x3fd8, 0x3ec0, 0x3600) X(0x3fdc, 0x3ee0, 0x3700)            \
    /* 0.5, 0.625, 0.75, 0.875 */                                                                                      \
    X(0x3fe0, 0x3f00, 0x3800) X(0x3fe4, 0x3f20, 0x3900) X(0x3fe8, 0x3f40, 0x3a00) X(0x3fec, 0x3f60, 0x3b00)            \
    /* 1, 1.25, 1.5, 1.75 */                                                                                           \
    X(0x3ff0, 0x3f80, 0x3c00) X(0x3ff4, 0x3fa0, 0x3d00) X(0x3ff8, 0x3fc0, 0x3e00) X(0x3ffc, 0x3fe0, 0x3f00)            \
    /* 2, 2.5, 3, 4 */                                                                                                 \
    X(0x4000, 0x4000, 0x4000) X(0x4004, 0x4020, 0x4100) X(0x4008, 0x4040, 0x4200) X(0x4010, 0x4080, 0x4400)            \
    /* 8, 16, 128, 256 */                                                                                              \
    X(0x4020, 0x4100, 0x4800) X(0x4030, 0x4180, 0x4c00) X(0x4060, 0x4300, 0x5800) X(0x4070, 0x4380, 0x5c00)            \
    /* 2^15, 2^16, infinity, NaN */                                                                                    \
    X(0x40e0, 0x4700, 0x7800) X(0x40f0, 0x4780, 0x7c00) X(0x7ff0, 0x7f80, 0x7c00) X(0x7ff8, 0x7fc0, 0x7e00)

TUFF_INLINE uint64_t fp_constant_s(unsigned number)
{
#define X(d, s, h) s,
    static const uint16_t upper[32] = {FP_CONSTANTS(X)};
#undef X
    return FP_BOX | (uint32_t)upper[number & 31] << 16;
}

TUFF_INLINE uint64_t fp_constant_d(unsigned number)
{
#define X(d, s, h) d,
    static const uint16_t upper[32] = {FP_CONSTANTS(X)};
#undef X
    return (uint64_t)upper[number & 31] << 48;
}

TUFF_INLINE uint64_t fp_constant_h(unsigned number)
{
#define X(d, s, h) h,
    static const uint16_t bits[32] = {FP_CONSTANTS(X)};
#undef X
    return FP_BOX_H | bits[number & 31];
}

SEM(fli_s) { SET_F(fp_constant_s((unsigned)imm)); NEXT; }
SEM(fli_d) { SET_F(fp_constant_d((unsigned)imm)); NEXT; }

/* To an integer in the same format. The host does it in the mode that it is in, and where inexact is not raised in
 * the static modes of trunc(), floor() and ceil() too. */
#define ROUND_SLOW(fp_reg, format, bits, box, exact)                          \
    if (TUFF_UNLIKELY(__builtin_isunordered(v, v))) {                         \
        SET_F(fp_reg(v));                                                     \
    } else {                                                                  \
        if (!slow)                                                            \
            return SEM_MISS;                                                  \
        SET_F(box | fp_round_integral(h, format, (uint64_t)bits, RM, exact)); \
    }
#define FROUND(type, fp, fp_reg, suffix, format, bits_of, box)        \
    {                                                                 \
        type v = fp(FS1);                                             \
        if (RM == RM_HOST)                                            \
            SET_F(fp_reg(__builtin_nearbyint##suffix(v)));            \
        else if (RM == RM_RTZ)                                        \
            SET_F(fp_reg(__builtin_trunc##suffix(v)));                \
        else if (RM == RM_RDN)                                        \
            SET_F(fp_reg(__builtin_floor##suffix(v)));                \
        else if (RM == RM_RUP)                                        \
            SET_F(fp_reg(__builtin_ceil##suffix(v)));                 \
        else                                                          \
            ROUND_SLOW(fp_reg, format, bits_of(FS1), box, false)      \
        NEXT;                                                         \
    }
#define FROUNDNX(type, fp, fp_reg, suffix, format, bits_of, box)      \
    {                                                                 \
        type v = fp(FS1);                                             \
        if (RM == RM_HOST)                                            \
            SET_F(fp_reg(__builtin_rint##suffix(v)));                 \
        else                                                          \
            ROUND_SLOW(fp_reg, format, bits_of(FS1), box, true)       \
        NEXT;                                                         \
    }
SEM(fround_s)   FROUND(float, fp_s, fp_reg_s, f, FP_SINGLE, fp_bits_s, FP_BOX)
SEM(fround_d)   FROUND(double, fp_d, fp_reg_d, , FP_DOUBLE, FP_SAME, 0)
SEM(froundnx_s) FROUNDNX(float, fp_s, fp_reg_s, f, FP_SINGLE, fp_bits_s, FP_BOX)
SEM(froundnx_d) FROUNDNX(double, fp_d, fp_reg_d, , FP_DOUBLE, FP_SAME, 0)

SEM(fcvtmod_w_d)
{
    double v = fp_d(FS1);
    if (v > -2147483649.0 && v < 0x1p31) {
        SET_RD((int64_t)(int32_t)(int64_t)v);
    } else {
        if (!slow)
            return SEM_MISS;
        SET_RD(fp_to_int_modulo(h, FS1));
    }
    SEM_DIRTY_FS;
    NEXT;
}
/* clang-format on */

/* ---- Zfhmin ---- */

/* From a double to a format the host does not have: outlined. */
#define NARROW(format, box, value)                                                            \
    {                                                                                         \
        if (!slow)                                                                            \
            return SEM_MISS;                                                                  \
        SET_F(box | fp_narrow(h, format, __builtin_bit_cast(uint64_t, (double)(value)), RM)); \
        NEXT;                                                                                 \
    }

/* clang-format off */
SEM(fcvt_h_s) NARROW(FP_HALF, FP_BOX_H, fp_s(FS1))
SEM(fcvt_h_d) NARROW(FP_HALF, FP_BOX_H, fp_d(FS1))
SEM(fcvt_s_h) { SET_F(fp_reg_s((float)fp_h(FS1))); NEXT; }
SEM(fcvt_d_h) { SET_F(fp_reg_d(fp_h(FS1))); NEXT; }

SEM(fmv_x_h) { SET_RD((int64_t)(int16_t)FS1); NEXT; }
SEM(fmv_h_x) { SET_F(FP_BOX_H | (uint16_t)RS1); NEXT; }
/* clang-format on */

/* ---- Zfh ---- */

/* Arithmetic is outlined: exact in integers, rounded once. In the host's wider formats a fused operation would be
 * rounded twice, and underflow be the wider format's. */
#define SOFT_H(op, a, b, c)                                     \
    {                                                           \
        if (!slow)                                              \
            return SEM_MISS;                                    \
        SET_F(FP_BOX_H | fp_soft(h, op, FP_HALF, a, b, c, RM)); \
        NEXT;                                                   \
    }
#define FP_SIGN_H 0x8000u

/* clang-format off */
SEM(fadd_h)  SOFT_H(FP_ADD, fp_bits_h(FS1), fp_bits_h(FS2), 0)
SEM(fsub_h)  SOFT_H(FP_ADD, fp_bits_h(FS1), fp_bits_h(FS2) ^ FP_SIGN_H, 0)
SEM(fmul_h)  SOFT_H(FP_MUL, fp_bits_h(FS1), fp_bits_h(FS2), 0)
SEM(fdiv_h)  SOFT_H(FP_DIV, fp_bits_h(FS1), fp_bits_h(FS2), 0)
SEM(fsqrt_h) SOFT_H(FP_SQRT, fp_bits_h(FS1), 0, 0)
SEM(fmadd_h)  SOFT_H(FP_FMA, fp_bits_h(FS1), fp_bits_h(FS2), fp_bits_h(FS3))
SEM(fmsub_h)  SOFT_H(FP_FMA, fp_bits_h(FS1), fp_bits_h(FS2), fp_bits_h(FS3) ^ FP_SIGN_H)
SEM(fnmsub_h) SOFT_H(FP_FMA, fp_bits_h(FS1) ^ FP_SIGN_H, fp_bits_h(FS2), fp_bits_h(FS3))
SEM(fnmadd_h) SOFT_H(FP_FMA, fp_bits_h(FS1) ^ FP_SIGN_H, fp_bits_h(FS2), fp_bits_h(FS3) ^ FP_SIGN_H)

SEM(fsgnj_h)  { SET_F(FP_BOX_H | (fp_bits_h(FS1) & ~FP_SIGN_H) | (fp_bits_h(FS2) & FP_SIGN_H)); NEXT; }
SEM(fsgnjn_h) { SET_F(FP_BOX_H | (fp_bits_h(FS1) & ~FP_SIGN_H) | (~fp_bits_h(FS2) & FP_SIGN_H)); NEXT; }
SEM(fsgnjx_h) { SET_F(FP_BOX_H | (fp_bits_h(FS1) ^ (fp_bits_h(FS2) & FP_SIGN_H))); NEXT; }

SEM(fmin_h)  MIN_MAX(double, fp_h, fp_bits_h, FP_BOX_H, FP_NAN_H, <, |)
SEM(fmax_h)  MIN_MAX(double, fp_h, fp_bits_h, FP_BOX_H, FP_NAN_H, >, &)
SEM(fminm_h) MIN_MAX_NAN(double, fp_h, fp_bits_h, FP_BOX_H, FP_NAN_H, <, |)
SEM(fmaxm_h) MIN_MAX_NAN(double, fp_h, fp_bits_h, FP_BOX_H, FP_NAN_H, >, &)
SEM(feq_h)   COMPARE(fp_h, ==)
SEM(flt_h)   COMPARE(fp_h, <)
SEM(fle_h)   COMPARE(fp_h, <=)
SEM(fltq_h)  COMPARE_QUIET(fp_h, __builtin_isless)
SEM(fleq_h)  COMPARE_QUIET(fp_h, __builtin_islessequal)
/* clang-format on */

SEM(fclass_h)
{
    uint32_t v = fp_bits_h(FS1);
    SET_RD(fp_class(v >> 15, v >> 10 & 31, v & 0x3ff, 31, 1u << 9));
    NEXT;
}

#define FROM_INT_H(negative, magnitude)                                     \
    {                                                                       \
        if (!slow)                                                          \
            return SEM_MISS;                                                \
        SET_F(FP_BOX_H | fp_from_int(h, FP_HALF, negative, magnitude, RM)); \
        NEXT;                                                               \
    }
#define ROUND_H(exact)                                                                  \
    {                                                                                   \
        double v = fp_h(FS1);                                                           \
        if (TUFF_UNLIKELY(__builtin_isunordered(v, v))) {                               \
            SET_F(FP_BOX_H | FP_NAN_H);                                                 \
        } else {                                                                        \
            if (!slow)                                                                  \
                return SEM_MISS;                                                        \
            SET_F(FP_BOX_H | fp_round_integral(h, FP_HALF, fp_bits_h(FS1), RM, exact)); \
        }                                                                               \
        NEXT;                                                                           \
    }

/* clang-format off */
/* To an integer as a double. */
SEM(fcvt_w_h)  TO_INT(double, fp_h(FS1), -2147483649.0, 0x1p31, -0x1p31, 2147483647.0, int32_t, FP_INT32)
SEM(fcvt_wu_h) TO_INT(double, fp_h(FS1), -1.0, 0x1p32, 0.0, 4294967295.0, int32_t, FP_UINT32)
SEM(fcvt_l_h)  TO_INT(double, fp_h(FS1), -0x1p63, 0x1p63, -0x1p63, 0x1p63, int64_t, FP_INT64)
SEM(fcvt_lu_h) TO_INT(double, fp_h(FS1), -1.0, 0x1p63, 0.0, 0x1p63, int64_t, FP_UINT64)
SEM(fcvt_h_w)  FROM_INT_H((int32_t)RS1_W < 0, MAGNITUDE((int32_t)RS1_W))
SEM(fcvt_h_wu) FROM_INT_H(false, RS1_W)
SEM(fcvt_h_l)  FROM_INT_H((int64_t)RS1 < 0, MAGNITUDE(RS1))
SEM(fcvt_h_lu) FROM_INT_H(false, RS1)

SEM(fround_h)   ROUND_H(false)
SEM(froundnx_h) ROUND_H(true)
SEM(fli_h)      { SET_F(fp_constant_h((unsigned)imm)); NEXT; }
/* clang-format on */

/* ---- Zfbfmin ---- */

/* The upper half of a single, boxed like a half (chapter "BF16", section on the operand format). */
#define FP_NAN_BF 0x7fc0u

TUFF_INLINE float fp_bf(uint64_t reg)
{
    return __builtin_bit_cast(float, (TUFF_LIKELY(reg >= FP_BOX_H) ? (uint16_t)reg : FP_NAN_BF) << 16);
}

/* clang-format off */
SEM(fcvt_bf16_s) NARROW(FP_BFLOAT, FP_BOX_H, fp_s(FS1))
SEM(fcvt_s_bf16) { SET_F(fp_reg_s(fp_bf(FS1))); NEXT; }
/* clang-format on */

#endif
