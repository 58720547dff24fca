/* Operand formats: where an encoding keeps its fields, and how they become operands. One list for the decoder and for
 * isagen, which checks that a row's mask and its format's fields have no bit in common and leave none out.
 *
 * FORMAT(name, length in bytes, field bits, statements): the statements read the encoding `w` and set operands of the
 * zeroed `struct rv_insn *o`. A compressed form sets the operands of the instruction it stands for, implied registers
 * included, so that a semantic body never learns that its encoding was short.
 *
 * Unprivileged ISA, sections "Base Instruction Formats", "Immediate Encoding Variants" and "Compressed Instruction
 * Formats".
 */
#ifndef TUFF_ENGINE_ISA_RISCV_FORMATS_H
#define TUFF_ENGINE_ISA_RISCV_FORMATS_H

#include <stdint.h>

enum {
    REG_ZERO_NUMBER = 0,
    REG_RA_NUMBER = 1,
    REG_SP_NUMBER = 2,
};

/* Fields of 32-bit encodings. */
#define FIELD_RD 0x00000f80u
#define FIELD_RM 0x00007000u
#define FIELD_RS1 0x000f8000u
#define FIELD_RS2 0x01f00000u
#define FIELD_AQRL 0x06000000u
#define FIELD_RS3 0xf8000000u
#define FIELD_IMM12 0xfff00000u
#define FIELD_IMM7 0xfe000000u
#define FIELD_IMM20 0xfffff000u
#define FIELD_MOP_R 0x4c300000u
#define FIELD_MOP_RR 0x4c000000u
#define FIELD_RNUM 0x00f00000u
#define FIELD_BS 0xc0000000u
#define FIELD_SHAMT6 0x03f00000u
#define FIELD_SHAMT5 0x01f00000u

/* Fields of 16-bit encodings: 3 is a register of x8..x15, HIGH and LOW are the pieces of an immediate. */
#define FIELD_C_RD 0x0f80u
#define FIELD_C_RS2 0x007cu
#define FIELD_C_RS1_3 0x0380u
#define FIELD_C_RS2_3 0x001cu
#define FIELD_C_IMM6 0x107cu
#define FIELD_C_IMM11 0x1ffcu
#define FIELD_C_IMM8 0x1fe0u
#define FIELD_C_IMM_CB 0x1c7cu
#define FIELD_C_IMM_MEM 0x1c60u
#define FIELD_C_IMM_CSS 0x1f80u
#define FIELD_C_IMM_B 0x0060u
#define FIELD_C_IMM_H 0x0020u
#define FIELD_C_MOP 0x0700u

static inline uint32_t field_bits(uint32_t w, unsigned high, unsigned low)
{
    return (w >> low) & ((2u << (high - low)) - 1);
}

static inline int32_t field_sext(uint32_t value, unsigned bits)
{
    return (int32_t)(value << (32 - bits)) >> (32 - bits);
}

static inline uint8_t field_rd(uint32_t w)
{
    return (uint8_t)field_bits(w, 11, 7);
}

static inline uint8_t field_rs1(uint32_t w)
{
    return (uint8_t)field_bits(w, 19, 15);
}

static inline uint8_t field_rs2(uint32_t w)
{
    return (uint8_t)field_bits(w, 24, 20);
}

static inline uint8_t field_rs3(uint32_t w)
{
    return (uint8_t)field_bits(w, 31, 27);
}

static inline uint8_t field_rm(uint32_t w)
{
    return (uint8_t)field_bits(w, 14, 12);
}

static inline int32_t field_imm_i(uint32_t w)
{
    return (int32_t)w >> 20;
}

static inline int32_t field_imm_s(uint32_t w)
{
    return field_sext(field_bits(w, 31, 25) << 5 | field_bits(w, 11, 7), 12);
}

static inline int32_t field_imm_b(uint32_t w)
{
    uint32_t imm = field_bits(w, 31, 31) << 12 | field_bits(w, 7, 7) << 11 | field_bits(w, 30, 25) << 5 |
                   field_bits(w, 11, 8) << 1;

    return field_sext(imm, 13);
}

static inline int32_t field_imm_j(uint32_t w)
{
    uint32_t imm = field_bits(w, 31, 31) << 20 | field_bits(w, 19, 12) << 12 | field_bits(w, 20, 20) << 11 |
                   field_bits(w, 30, 21) << 1;

    return field_sext(imm, 21);
}

static inline int32_t field_mop_r(uint32_t w)
{
    return (int32_t)(field_bits(w, 30, 30) << 4 | field_bits(w, 27, 26) << 2 | field_bits(w, 21, 20));
}

static inline int32_t field_mop_rr(uint32_t w)
{
    return (int32_t)(field_bits(w, 30, 30) << 2 | field_bits(w, 27, 26));
}

static inline uint8_t field_c_rs2(uint32_t w)
{
    return (uint8_t)field_bits(w, 6, 2);
}

static inline uint8_t field_c_rs1_3(uint32_t w)
{
    return (uint8_t)(8 + field_bits(w, 9, 7));
}

static inline uint8_t field_c_rs2_3(uint32_t w)
{
    return (uint8_t)(8 + field_bits(w, 4, 2));
}

static inline uint32_t field_c_shamt(uint32_t w)
{
    return field_bits(w, 12, 12) << 5 | field_bits(w, 6, 2);
}

static inline int32_t field_c_imm6(uint32_t w)
{
    return field_sext(field_c_shamt(w), 6);
}

static inline int32_t field_c_imm_addi4spn(uint32_t w)
{
    return (int32_t)(field_bits(w, 10, 7) << 6 | field_bits(w, 12, 11) << 4 | field_bits(w, 5, 5) << 3 |
                     field_bits(w, 6, 6) << 2);
}

static inline int32_t field_c_imm_addi16sp(uint32_t w)
{
    uint32_t imm = field_bits(w, 12, 12) << 9 | field_bits(w, 4, 3) << 7 | field_bits(w, 5, 5) << 6 |
                   field_bits(w, 2, 2) << 5 | field_bits(w, 6, 6) << 4;

    return field_sext(imm, 10);
}

static inline int32_t field_c_imm_mem_w(uint32_t w)
{
    return (int32_t)(field_bits(w, 5, 5) << 6 | field_bits(w, 12, 10) << 3 | field_bits(w, 6, 6) << 2);
}

static inline int32_t field_c_imm_mem_d(uint32_t w)
{
    return (int32_t)(field_bits(w, 6, 5) << 6 | field_bits(w, 12, 10) << 3);
}

static inline int32_t field_c_imm_mem_b(uint32_t w)
{
    return (int32_t)(field_bits(w, 5, 5) << 1 | field_bits(w, 6, 6));
}

static inline int32_t field_c_imm_mem_h(uint32_t w)
{
    return (int32_t)(field_bits(w, 5, 5) << 1);
}

static inline int32_t field_c_imm_lwsp(uint32_t w)
{
    return (int32_t)(field_bits(w, 3, 2) << 6 | field_bits(w, 12, 12) << 5 | field_bits(w, 6, 4) << 2);
}

static inline int32_t field_c_imm_ldsp(uint32_t w)
{
    return (int32_t)(field_bits(w, 4, 2) << 6 | field_bits(w, 12, 12) << 5 | field_bits(w, 6, 5) << 3);
}

static inline int32_t field_c_imm_swsp(uint32_t w)
{
    return (int32_t)(field_bits(w, 8, 7) << 6 | field_bits(w, 12, 9) << 2);
}

static inline int32_t field_c_imm_sdsp(uint32_t w)
{
    return (int32_t)(field_bits(w, 9, 7) << 6 | field_bits(w, 12, 10) << 3);
}

static inline int32_t field_c_imm_j(uint32_t w)
{
    uint32_t imm = field_bits(w, 12, 12) << 11 | field_bits(w, 8, 8) << 10 | field_bits(w, 10, 9) << 8 |
                   field_bits(w, 6, 6) << 7 | field_bits(w, 7, 7) << 6 | field_bits(w, 2, 2) << 5 |
                   field_bits(w, 11, 11) << 4 | field_bits(w, 5, 3) << 1;

    return field_sext(imm, 12);
}

static inline int32_t field_c_imm_b(uint32_t w)
{
    uint32_t imm = field_bits(w, 12, 12) << 8 | field_bits(w, 6, 5) << 6 | field_bits(w, 2, 2) << 5 |
                   field_bits(w, 11, 10) << 3 | field_bits(w, 4, 3) << 1;

    return field_sext(imm, 9);
}

/* clang-format off: one line a format */
#define RV_FORMATS(FORMAT)                                                                                             \
    FORMAT(NONE, 4, 0, )                                                                                               \
    FORMAT(R, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2, o->rd = field_rd(w); o->rs1 = field_rs1(w); o->rs2 = field_rs2(w);) \
    FORMAT(R1, 4, FIELD_RD | FIELD_RS1, o->rd = field_rd(w); o->rs1 = field_rs1(w);)                                   \
    FORMAT(R_RM, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2 | FIELD_RM, o->rd = field_rd(w); o->rs1 = field_rs1(w);           \
           o->rs2 = field_rs2(w); o->rm = field_rm(w);)                                                                \
    FORMAT(R1_RM, 4, FIELD_RD | FIELD_RS1 | FIELD_RM, o->rd = field_rd(w); o->rs1 = field_rs1(w);                      \
           o->rm = field_rm(w);)                                                                                       \
    FORMAT(R4_RM, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2 | FIELD_RS3 | FIELD_RM, o->rd = field_rd(w);                     \
           o->rs1 = field_rs1(w); o->rs2 = field_rs2(w); o->rs3 = field_rs3(w); o->rm = field_rm(w);)                  \
    /* the rs1 field is the number of a constant */                                                                    \
    FORMAT(FLI, 4, FIELD_RD | FIELD_RS1, o->rd = field_rd(w); o->imm = field_rs1(w);)                                  \
    FORMAT(I, 4, FIELD_RD | FIELD_RS1 | FIELD_IMM12, o->rd = field_rd(w); o->rs1 = field_rs1(w);                       \
           o->imm = field_imm_i(w);)                                                                                   \
    FORMAT(SHIFT64, 4, FIELD_RD | FIELD_RS1 | FIELD_SHAMT6, o->rd = field_rd(w); o->rs1 = field_rs1(w);                \
           o->imm = (int32_t)field_bits(w, 25, 20);)                                                                   \
    FORMAT(SHIFT32, 4, FIELD_RD | FIELD_RS1 | FIELD_SHAMT5, o->rd = field_rd(w); o->rs1 = field_rs1(w);                \
           o->imm = (int32_t)field_bits(w, 24, 20);)                                                                   \
    FORMAT(S, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2 | 0xfe000000u, o->rs1 = field_rs1(w); o->rs2 = field_rs2(w);         \
           o->imm = field_imm_s(w);)                                                                                   \
    FORMAT(B, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2 | 0xfe000000u, o->rs1 = field_rs1(w); o->rs2 = field_rs2(w);         \
           o->imm = field_imm_b(w);)                                                                                   \
    FORMAT(U, 4, FIELD_RD | FIELD_IMM20, o->rd = field_rd(w); o->imm = (int32_t)(w & FIELD_IMM20);)                    \
    FORMAT(J, 4, FIELD_RD | FIELD_IMM20, o->rd = field_rd(w); o->imm = field_imm_j(w);)                                \
    FORMAT(AMO, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2 | FIELD_AQRL, o->rd = field_rd(w); o->rs1 = field_rs1(w);          \
           o->rs2 = field_rs2(w);)                                                                                     \
    /* even registers */                                                                                               \
    FORMAT(AMO_PAIR, 4, (FIELD_RD & ~0x80u) | FIELD_RS1 | (FIELD_RS2 & ~0x100000u) | FIELD_AQRL, o->rd = field_rd(w);  \
           o->rs1 = field_rs1(w); o->rs2 = field_rs2(w);)                                                              \
    FORMAT(LR, 4, FIELD_RD | FIELD_RS1 | FIELD_AQRL, o->rd = field_rd(w); o->rs1 = field_rs1(w);)                      \
    FORMAT(CSR, 4, FIELD_RD | FIELD_RS1 | FIELD_IMM12, o->rd = field_rd(w); o->rs1 = field_rs1(w);                     \
           o->imm = (int32_t)field_bits(w, 31, 20);)                                                                   \
    FORMAT(CSR_NAMED, 4, FIELD_RD | FIELD_RS1, o->rd = field_rd(w); o->rs1 = field_rs1(w);                             \
           o->imm = (int32_t)field_bits(w, 31, 20);)                                                                   \
    /* one of four CSRs that are numbered in a row */                                                                  \
    FORMAT(CSR_TRAP, 4, FIELD_RD | FIELD_RS1 | 0x00300000u, o->rd = field_rd(w); o->rs1 = field_rs1(w);                \
           o->imm = (int32_t)field_bits(w, 31, 20);)                                                                   \
    FORMAT(CSR_FIXED, 4, 0, o->rd = field_rd(w); o->rs1 = field_rs1(w); o->imm = (int32_t)field_bits(w, 31, 20);)      \
    /* rd and rs1 are ignored, not operands */                                                                         \
    FORMAT(FENCE, 4, FIELD_RD | FIELD_RS1 | FIELD_IMM12, o->imm = (int32_t)field_bits(w, 31, 20);)                     \
    FORMAT(FENCE_TSO, 4, 0, o->imm = (int32_t)field_bits(w, 31, 20);)                                                  \
    FORMAT(FENCE_I, 4, FIELD_RD | FIELD_RS1 | FIELD_IMM12, )                                                           \
    FORMAT(SFENCE, 4, FIELD_RS1 | FIELD_RS2, o->rs1 = field_rs1(w); o->rs2 = field_rs2(w);)                            \
    FORMAT(CBO, 4, FIELD_RS1, o->rs1 = field_rs1(w);)                                                                  \
    /* rd is x0, the low bits of the immediate say which */                                                            \
    FORMAT(PREFETCH, 4, FIELD_RS1 | FIELD_IMM7, o->rs1 = field_rs1(w); o->imm = field_imm_i(w) & ~31;)                 \
    FORMAT(C_NONE, 2, 0, )                                                                                             \
    FORMAT(C_NOP, 2, FIELD_C_IMM6, o->imm = field_c_imm6(w);)                                                          \
    FORMAT(CIW, 2, FIELD_C_IMM8 | FIELD_C_RS2_3, o->rd = field_c_rs2_3(w); o->rs1 = REG_SP_NUMBER;                     \
           o->imm = field_c_imm_addi4spn(w);)                                                                          \
    FORMAT(CL_W, 2, FIELD_C_IMM_MEM | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rd = field_c_rs2_3(w);                         \
           o->rs1 = field_c_rs1_3(w); o->imm = field_c_imm_mem_w(w);)                                                  \
    FORMAT(CL_D, 2, FIELD_C_IMM_MEM | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rd = field_c_rs2_3(w);                         \
           o->rs1 = field_c_rs1_3(w); o->imm = field_c_imm_mem_d(w);)                                                  \
    FORMAT(CS_W, 2, FIELD_C_IMM_MEM | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rs2 = field_c_rs2_3(w);                        \
           o->rs1 = field_c_rs1_3(w); o->imm = field_c_imm_mem_w(w);)                                                  \
    FORMAT(CS_D, 2, FIELD_C_IMM_MEM | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rs2 = field_c_rs2_3(w);                        \
           o->rs1 = field_c_rs1_3(w); o->imm = field_c_imm_mem_d(w);)                                                  \
    FORMAT(CI, 2, FIELD_C_RD | FIELD_C_IMM6, o->rd = field_rd(w); o->rs1 = o->rd; o->imm = field_c_imm6(w);)           \
    FORMAT(CI_LI, 2, FIELD_C_RD | FIELD_C_IMM6, o->rd = field_rd(w); o->imm = field_c_imm6(w);)                        \
    FORMAT(CI_LUI, 2, FIELD_C_RD | FIELD_C_IMM6, o->rd = field_rd(w); o->imm = field_c_imm6(w) * (1 << 12);)           \
    FORMAT(CI_LUI0, 2, FIELD_C_IMM6, o->imm = field_c_imm6(w) * (1 << 12);)                                            \
    FORMAT(CI_SP16, 2, FIELD_C_IMM6, o->rd = REG_SP_NUMBER; o->rs1 = REG_SP_NUMBER; o->imm = field_c_imm_addi16sp(w);) \
    FORMAT(CI_SHIFT, 2, FIELD_C_RD | FIELD_C_IMM6, o->rd = field_rd(w); o->rs1 = o->rd;                                \
           o->imm = (int32_t)field_c_shamt(w);)                                                                        \
    /* shift by zero: a hint in RV64, a shift by 64 in RV128 */                                                        \
    FORMAT(CI_SHIFT0, 2, FIELD_C_RD, o->rd = field_rd(w); o->rs1 = o->rd;)                                             \
    FORMAT(CI_LWSP, 2, FIELD_C_RD | FIELD_C_IMM6, o->rd = field_rd(w); o->rs1 = REG_SP_NUMBER;                         \
           o->imm = field_c_imm_lwsp(w);)                                                                              \
    FORMAT(CI_LDSP, 2, FIELD_C_RD | FIELD_C_IMM6, o->rd = field_rd(w); o->rs1 = REG_SP_NUMBER;                         \
           o->imm = field_c_imm_ldsp(w);)                                                                              \
    FORMAT(CB_SHIFT, 2, FIELD_C_RS1_3 | FIELD_C_IMM6, o->rd = field_c_rs1_3(w); o->rs1 = o->rd;                        \
           o->imm = (int32_t)field_c_shamt(w);)                                                                        \
    FORMAT(CB_SHIFT0, 2, FIELD_C_RS1_3, o->rd = field_c_rs1_3(w); o->rs1 = o->rd;)                                     \
    FORMAT(CB_ANDI, 2, FIELD_C_RS1_3 | FIELD_C_IMM6, o->rd = field_c_rs1_3(w); o->rs1 = o->rd;                         \
           o->imm = field_c_imm6(w);)                                                                                  \
    FORMAT(CA, 2, FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rd = field_c_rs1_3(w); o->rs1 = o->rd; o->rs2 = field_c_rs2_3(w);) \
    FORMAT(CJ, 2, FIELD_C_IMM11, o->rd = REG_ZERO_NUMBER; o->imm = field_c_imm_j(w);)                                  \
    FORMAT(CB, 2, FIELD_C_IMM_CB | FIELD_C_RS1_3, o->rs1 = field_c_rs1_3(w); o->rs2 = REG_ZERO_NUMBER;                 \
           o->imm = field_c_imm_b(w);)                                                                                 \
    FORMAT(CR_JR, 2, FIELD_C_RD, o->rs1 = field_rd(w); o->rd = REG_ZERO_NUMBER;)                                       \
    FORMAT(CR_JALR, 2, FIELD_C_RD, o->rs1 = field_rd(w); o->rd = REG_RA_NUMBER;)                                       \
    FORMAT(CR_MV, 2, FIELD_C_RD | FIELD_C_RS2, o->rd = field_rd(w); o->rs1 = REG_ZERO_NUMBER;                          \
           o->rs2 = field_c_rs2(w);)                                                                                   \
    FORMAT(CR_ADD, 2, FIELD_C_RD | FIELD_C_RS2, o->rd = field_rd(w); o->rs1 = o->rd; o->rs2 = field_c_rs2(w);)         \
    FORMAT(CSS_W, 2, FIELD_C_IMM_CSS | FIELD_C_RS2, o->rs2 = field_c_rs2(w); o->rs1 = REG_SP_NUMBER;                   \
           o->imm = field_c_imm_swsp(w);)                                                                              \
    FORMAT(CSS_D, 2, FIELD_C_IMM_CSS | FIELD_C_RS2, o->rs2 = field_c_rs2(w); o->rs1 = REG_SP_NUMBER;                   \
           o->imm = field_c_imm_sdsp(w);)                                                                              \
    FORMAT(MOP_R, 4, FIELD_RD | FIELD_RS1 | FIELD_MOP_R, o->rd = field_rd(w); o->rs1 = field_rs1(w);                   \
           o->imm = field_mop_r(w);)                                                                                   \
    FORMAT(MOP_RR, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2 | FIELD_MOP_RR, o->rd = field_rd(w); o->rs1 = field_rs1(w);     \
           o->rs2 = field_rs2(w); o->imm = field_mop_rr(w);)                                                           \
    FORMAT(RNUM, 4, FIELD_RD | FIELD_RS1 | FIELD_RNUM, o->rd = field_rd(w); o->rs1 = field_rs1(w);                     \
           o->imm = (int32_t)field_bits(w, 23, 20);)                                                                   \
    FORMAT(BS, 4, FIELD_RD | FIELD_RS1 | FIELD_RS2 | FIELD_BS, o->rd = field_rd(w); o->rs1 = field_rs1(w);             \
           o->rs2 = field_rs2(w); o->imm = (int32_t)field_bits(w, 31, 30);)                                            \
    FORMAT(CLB, 2, FIELD_C_IMM_B | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rd = field_c_rs2_3(w); o->rs1 = field_c_rs1_3(w); \
           o->imm = field_c_imm_mem_b(w);)                                                                             \
    FORMAT(CLH, 2, FIELD_C_IMM_H | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rd = field_c_rs2_3(w); o->rs1 = field_c_rs1_3(w); \
           o->imm = field_c_imm_mem_h(w);)                                                                             \
    FORMAT(CSB, 2, FIELD_C_IMM_B | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rs2 = field_c_rs2_3(w);                           \
           o->rs1 = field_c_rs1_3(w); o->imm = field_c_imm_mem_b(w);)                                                  \
    FORMAT(CSH, 2, FIELD_C_IMM_H | FIELD_C_RS1_3 | FIELD_C_RS2_3, o->rs2 = field_c_rs2_3(w);                           \
           o->rs1 = field_c_rs1_3(w); o->imm = field_c_imm_mem_h(w);)                                                  \
    FORMAT(CU, 2, FIELD_C_RS1_3, o->rd = field_c_rs1_3(w); o->rs1 = o->rd; o->rs2 = REG_ZERO_NUMBER;)                  \
    FORMAT(CU_ZEXT_B, 2, FIELD_C_RS1_3, o->rd = field_c_rs1_3(w); o->rs1 = o->rd; o->imm = 0xff;)                      \
    FORMAT(CU_NOT, 2, FIELD_C_RS1_3, o->rd = field_c_rs1_3(w); o->rs1 = o->rd; o->imm = -1;)                           \
    /* the number is the odd register number that C.LUI would have here */                                             \
    FORMAT(C_MOP, 2, FIELD_C_MOP, o->imm = (int32_t)field_bits(w, 11, 7);)
/* clang-format on */

enum rv_format {
#define X(name, len_bytes, fields, ...) RV_FORMAT_##name,
    RV_FORMATS(X)
#undef X
        RV_FORMAT_COUNT,
};

#endif
