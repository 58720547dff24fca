/* Encoders for the handful of instructions that test programs need around the ones under test, and for the immediates
 * of jumps and branches.
 *
 * Written from the manual's format tables (Unprivileged ISA, "Base Instruction Formats",
 * "Immediate Encoding Variants" and "Compressed Instruction Formats") and on purpose not from the
 * engine's table: a wrong row must not cancel out against itself. Immediates are not checked for range.
 */
#ifndef TUFF_TESTS_TIERS_ENCODE_H
#define TUFF_TESTS_TIERS_ENCODE_H

#include <stdint.h>

enum {
    REG_ZERO = 0,
    REG_RA = 1,
    REG_SP = 2,
    REG_T0 = 5,
    REG_T1 = 6,
    REG_S0 = 8,
    REG_S1 = 9,
    REG_A0 = 10,
    REG_A1 = 11,
    REG_A2 = 12,
    REG_A3 = 13,
    REG_A7 = 17,
};

enum {
    CSR_FFLAGS = 0x001,
    CSR_FRM = 0x002,
    CSR_FCSR = 0x003,
    CSR_MSCRATCH = 0x340,
    CSR_MEPC = 0x341,
    CSR_MCAUSE = 0x342,
    CSR_MINSTRET = 0xb02,
    CSR_TIME = 0xc01,
    CSR_STIMECMP = 0x14d,
};

static inline uint32_t enc_bits(int64_t value, unsigned high, unsigned low)
{
    return (uint32_t)((uint64_t)value >> low) & ((2u << (high - low)) - 1);
}

static inline uint32_t enc_r(uint32_t opcode, unsigned funct3, unsigned funct7, unsigned rd, unsigned rs1, unsigned rs2)
{
    return opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25;
}

static inline uint32_t enc_i(uint32_t opcode, unsigned funct3, unsigned rd, unsigned rs1, int32_t imm)
{
    return opcode | rd << 7 | funct3 << 12 | rs1 << 15 | enc_bits(imm, 11, 0) << 20;
}

static inline uint32_t enc_s(uint32_t opcode, unsigned funct3, unsigned rs1, unsigned rs2, int32_t imm)
{
    return opcode | enc_bits(imm, 4, 0) << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | enc_bits(imm, 11, 5) << 25;
}

/* The scattered immediates alone, to be or-ed into an encoding whose immediate is zero. */
static inline uint32_t enc_b_imm(int32_t offset)
{
    return enc_bits(offset, 11, 11) << 7 | enc_bits(offset, 4, 1) << 8 | enc_bits(offset, 10, 5) << 25 |
           enc_bits(offset, 12, 12) << 31;
}

static inline uint32_t enc_j_imm(int32_t offset)
{
    return enc_bits(offset, 19, 12) << 12 | enc_bits(offset, 11, 11) << 20 | enc_bits(offset, 10, 1) << 21 |
           enc_bits(offset, 20, 20) << 31;
}

static inline uint32_t enc_cb_imm(int32_t offset)
{
    return enc_bits(offset, 5, 5) << 2 | enc_bits(offset, 2, 1) << 3 | enc_bits(offset, 7, 6) << 5 |
           enc_bits(offset, 4, 3) << 10 | enc_bits(offset, 8, 8) << 12;
}

static inline uint32_t enc_cj_imm(int32_t offset)
{
    return enc_bits(offset, 5, 5) << 2 | enc_bits(offset, 3, 1) << 3 | enc_bits(offset, 7, 7) << 6 |
           enc_bits(offset, 6, 6) << 7 | enc_bits(offset, 10, 10) << 8 | enc_bits(offset, 9, 8) << 9 |
           enc_bits(offset, 4, 4) << 11 | enc_bits(offset, 11, 11) << 12;
}

/* Masks of those immediates: every bit an offset of -2 sets. */
static inline uint32_t enc_b_mask(void)
{
    return enc_b_imm(-2);
}

static inline uint32_t enc_j_mask(void)
{
    return enc_j_imm(-2);
}

static inline uint32_t enc_cb_mask(void)
{
    return enc_cb_imm(-2);
}

static inline uint32_t enc_cj_mask(void)
{
    return enc_cj_imm(-2);
}

static inline uint32_t enc_addi(unsigned rd, unsigned rs1, int32_t imm)
{
    return enc_i(0x13, 0, rd, rs1, imm);
}

static inline uint32_t enc_slli(unsigned rd, unsigned rs1, unsigned shamt)
{
    return enc_i(0x13, 1, rd, rs1, (int32_t)shamt);
}

static inline uint32_t enc_addiw(unsigned rd, unsigned rs1, int32_t imm)
{
    return enc_i(0x1b, 0, rd, rs1, imm);
}

static inline uint32_t enc_add(unsigned rd, unsigned rs1, unsigned rs2)
{
    return enc_r(0x33, 0, 0, rd, rs1, rs2);
}

/* `upper` is the value of bits 31..12. */
static inline uint32_t enc_lui(unsigned rd, uint32_t upper)
{
    return 0x37 | rd << 7 | upper << 12;
}

static inline uint32_t enc_auipc(unsigned rd, uint32_t upper)
{
    return 0x17 | rd << 7 | upper << 12;
}

static inline uint32_t enc_andi(unsigned rd, unsigned rs1, int32_t imm)
{
    return enc_i(0x13, 7, rd, rs1, imm);
}

static inline uint32_t enc_ld(unsigned rd, unsigned rs1, int32_t imm)
{
    return enc_i(0x03, 3, rd, rs1, imm);
}

static inline uint32_t enc_sd(unsigned rs2, unsigned rs1, int32_t imm)
{
    return enc_s(0x23, 3, rs1, rs2, imm);
}

static inline uint32_t enc_flh(unsigned frd, unsigned rs1, int32_t imm)
{
    return enc_i(0x07, 1, frd, rs1, imm);
}

static inline uint32_t enc_flw(unsigned frd, unsigned rs1, int32_t imm)
{
    return enc_i(0x07, 2, frd, rs1, imm);
}

static inline uint32_t enc_fld(unsigned frd, unsigned rs1, int32_t imm)
{
    return enc_i(0x07, 3, frd, rs1, imm);
}

static inline uint32_t enc_fsd(unsigned frs2, unsigned rs1, int32_t imm)
{
    return enc_s(0x27, 3, rs1, frs2, imm);
}

static inline uint32_t enc_beq(unsigned rs1, unsigned rs2, int32_t offset)
{
    return enc_r(0x63, 0, 0, 0, rs1, rs2) | enc_b_imm(offset);
}

static inline uint32_t enc_bne(unsigned rs1, unsigned rs2, int32_t offset)
{
    return enc_r(0x63, 1, 0, 0, rs1, rs2) | enc_b_imm(offset);
}

static inline uint32_t enc_blt(unsigned rs1, unsigned rs2, int32_t offset)
{
    return enc_r(0x63, 4, 0, 0, rs1, rs2) | enc_b_imm(offset);
}

static inline uint32_t enc_jal(unsigned rd, int32_t offset)
{
    return 0x6f | rd << 7 | enc_j_imm(offset);
}

static inline uint32_t enc_jalr(unsigned rd, unsigned rs1, int32_t imm)
{
    return enc_i(0x67, 0, rd, rs1, imm);
}

static inline uint32_t enc_csrrw(unsigned rd, unsigned csr, unsigned rs1)
{
    return enc_i(0x73, 1, rd, rs1, (int32_t)csr);
}

static inline uint32_t enc_csrrs(unsigned rd, unsigned csr, unsigned rs1)
{
    return enc_i(0x73, 2, rd, rs1, (int32_t)csr);
}

static inline uint32_t enc_csrrwi(unsigned rd, unsigned csr, unsigned uimm)
{
    return enc_i(0x73, 5, rd, uimm, (int32_t)csr);
}

static inline uint32_t enc_ecall(void)
{
    return 0x73;
}

static inline uint32_t enc_ebreak(void)
{
    return 0x00100073;
}

static inline uint32_t enc_mret(void)
{
    return 0x30200073;
}

static inline uint32_t enc_sret(void)
{
    return 0x10200073;
}

static inline uint32_t enc_wfi(void)
{
    return 0x10500073;
}

static inline uint32_t enc_sfence_vma(unsigned rs1, unsigned rs2)
{
    return enc_r(0x73, 0, 9, 0, rs1, rs2);
}

#endif
