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
    FP_MINM,
    FP_MAXM,
    FP_EQ,
    FP_LT,
    FP_LE,
    FP_LTQ,
    FP_LEQ,
    FP_CLASS,
    FP_SGNJ,
    FP_SGNJN,
    FP_SGNJX,
    FP_TO_W,
    FP_TO_WU,
    FP_TO_L,
    FP_TO_LU,
    FP_TO_W_MODULO, /* FCVTMOD */
    FP_FROM_W,
    FP_FROM_WU,
    FP_FROM_L,
    FP_FROM_LU,
    FP_FROM_S, /* from another format, which the operation names */
    FP_FROM_D,
    FP_FROM_H,
    FP_FROM_BF16,
    FP_MV_TO_X,
    FP_MV_FROM_X,
    FP_ROUND,
    FP_ROUNDNX,
    FP_LI,
};

enum fp_format { FP_S, FP_D, FP_H, FP_BF16, FP_FORMAT_COUNT };

struct fp_result {
    uint64_t bits; /* the destination register, x or f, all 64 bits */
    uint8_t flags;
};

/* `format` is the one the instruction is named after, a conversion's result. Operands are whole registers: f registers,
 * or for FP_FROM_W.. and FP_MV_FROM_X an x register in a[0], or for FP_LI the constant's number. */
struct fp_result fp_expected(enum fp_operation op, enum fp_format format, enum fp_rounding rm, const uint64_t a[3]);

#endif
