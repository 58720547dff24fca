/* What RISC-V's floating-point instructions must give, from MPFR and the rules of the specification.
 *
 * Arithmetic is done in MPFR exactly (or, for division and square root, truncated far beyond the result's precision
 * with the remainder noted) and rounded once, here, in any of the five modes. Everything else follows the Unprivileged
 * ISA's chapters F and D, and IEEE 754-2019. No floating-point arithmetic of the host is used.
 */
#ifndef TUFF_TESTS_TIERS_FPMODEL_H
#define TUFF_TESTS_TIERS_FPMODEL_H

#include <stdbool.h>
#include <stdint.h>

enum fp_rounding { FP_RNE, FP_RTZ, FP_RDN, FP_RUP, FP_RMM, FP_ROUNDING_COUNT };

enum { FP_NX = 1, FP_UF = 2, FP_OF = 4, FP_DZ = 8, FP_NV = 16 };

enum fp_operation {
    FP_ADD,
    FP_SUB,
    FP_MUL,
    FP_DIV,
    FP_SQRT,
    FP_MADD,
    FP_MSUB,
    FP_NMSUB,
    FP_NMADD,
    FP_MIN,
    FP_MAX,
    FP_EQ,
    FP_LT,
    FP_LE,
    FP_CLASS,
    FP_SGNJ,
    FP_SGNJN,
    FP_SGNJX,
    FP_TO_W,
    FP_TO_WU,
    FP_TO_L,
    FP_TO_LU,
    FP_FROM_W,
    FP_FROM_WU,
    FP_FROM_L,
    FP_FROM_LU,
    FP_FROM_OTHER, /* S from D or D from S */
    FP_MV_TO_X,
    FP_MV_FROM_X,
};

struct fp_result {
    uint64_t bits; /* the destination register, x or f, all 64 bits */
    uint8_t flags;
};

/* `wide`: the instruction's format is D, else S. Operands are whole registers: f registers, or for FP_FROM_W.. and
 * FP_MV_FROM_X an x register in a[0]. */
struct fp_result fp_expected(enum fp_operation op, bool wide, enum fp_rounding rm, const uint64_t a[3]);

#endif
