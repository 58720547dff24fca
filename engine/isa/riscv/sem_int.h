/* Semantic bodies: RV64I arithmetic and control flow, M, Zicond, Zimop, Zba, Zbb, Zbc, Zbkb, Zbkx, Zbs. */
#ifndef TUFF_ENGINE_ISA_RISCV_SEM_INT_H
#define TUFF_ENGINE_ISA_RISCV_SEM_INT_H

#include "engine/isa/riscv/crypto.h"
#include "engine/isa/riscv/sem.h"

/* clang-format off: one line a body reads as a table */

/* RV64I (Unprivileged ISA, chapters 2 and 4) */
SEM(lui)
{
    SET_RD(IMM);
    NEXT;
}
SEM(auipc)
{
    SET_RD(pc + IMM);
    NEXT;
}
SEM(addi)
{
    SET_RD(RS1 + IMM);
    NEXT;
}
SEM(slti)
{
    SET_RD((int64_t)RS1 < (int64_t)IMM);
    NEXT;
}
SEM(sltiu)
{
    SET_RD(RS1 < IMM);
    NEXT;
}
SEM(xori)
{
    SET_RD(RS1 ^ IMM);
    NEXT;
}
SEM(ori)
{
    SET_RD(RS1 | IMM);
    NEXT;
}
SEM(andi)
{
    SET_RD(RS1 & IMM);
    NEXT;
}
SEM(slli)
{
    SET_RD(RS1 << (IMM & 63));
    NEXT;
}
SEM(srli)
{
    SET_RD(RS1 >> (IMM & 63));
    NEXT;
}
SEM(srai)
{
    SET_RD((int64_t)RS1 >> (IMM & 63));
    NEXT;
}
SEM(add)
{
    SET_RD(RS1 + RS2);
    NEXT;
}
SEM(sub)
{
    SET_RD(RS1 - RS2);
    NEXT;
}
SEM(sll)
{
    SET_RD(RS1 << (RS2 & 63));
    NEXT;
}
SEM(slt)
{
    SET_RD((int64_t)RS1 < (int64_t)RS2);
    NEXT;
}
SEM(sltu)
{
    SET_RD(RS1 < RS2);
    NEXT;
}
SEM(xor)
{
    SET_RD(RS1 ^ RS2);
    NEXT;
}
SEM(srl)
{
    SET_RD(RS1 >> (RS2 & 63));
    NEXT;
}
SEM(sra)
{
    SET_RD((int64_t)RS1 >> (RS2 & 63));
    NEXT;
}
SEM(or)
{
    SET_RD(RS1 | RS2);
    NEXT;
}
SEM(and)
{
    SET_RD(RS1 & RS2);
    NEXT;
}
SEM(addiw)
{
    SET_RD_W(RS1_W + (uint32_t)imm);
    NEXT;
}
SEM(slliw)
{
    SET_RD_W(RS1_W << (imm & 31));
    NEXT;
}
SEM(srliw)
{
    SET_RD_W(RS1_W >> (imm & 31));
    NEXT;
}
SEM(sraiw)
{
    SET_RD_W((int32_t)RS1_W >> (imm & 31));
    NEXT;
}
SEM(addw)
{
    SET_RD_W(RS1_W + RS2_W);
    NEXT;
}
SEM(subw)
{
    SET_RD_W(RS1_W - RS2_W);
    NEXT;
}
SEM(sllw)
{
    SET_RD_W(RS1_W << (RS2 & 31));
    NEXT;
}
SEM(srlw)
{
    SET_RD_W(RS1_W >> (RS2 & 31));
    NEXT;
}
SEM(sraw)
{
    SET_RD_W((int32_t)RS1_W >> (RS2 & 31));
    NEXT;
}

#define BRANCH_IF(condition)    \
    if (condition) {            \
        CHECK_TARGET(pc + IMM); \
        return SEM_TAKEN;       \
    }                           \
    NEXT

SEM(beq)
{
    BRANCH_IF(RS1 == RS2);
}
SEM(bne)
{
    BRANCH_IF(RS1 != RS2);
}
SEM(blt)
{
    BRANCH_IF((int64_t)RS1 < (int64_t)RS2);
}
SEM(bge)
{
    BRANCH_IF((int64_t)RS1 >= (int64_t)RS2);
}
SEM(bltu)
{
    BRANCH_IF(RS1 < RS2);
}
SEM(bgeu)
{
    BRANCH_IF(RS1 >= RS2);
}
SEM(jal)
{
    CHECK_TARGET(pc + IMM);
    SET_RD(npc);
    return SEM_TAKEN;
}
SEM(jalr)
{
    uint64_t target = (RS1 + IMM) & ~1ull;
    CHECK_TARGET(target);
    SET_RD(npc);
    h->pc = target;
    return SEM_INDIRECT;
}

/* A store followed by a load is the only order x86 does not keep by itself; device input and output count as load and
 * store. */
SEM(fence)
{
    enum { SUCC_R = 1 << 1, SUCC_I = 1 << 3, PRED_W = 1 << 4, PRED_O = 1 << 6 };
    if ((imm & (PRED_W | PRED_O)) && (imm & (SUCC_R | SUCC_I)))
        atomic_thread_fence(memory_order_seq_cst);
    NEXT;
}

/* M (chapter "M"): division by zero and overflow give values, never traps */
SEM(mul)
{
    SET_RD(RS1 * RS2);
    NEXT;
}
SEM(mulh)
{
    SET_RD(((__int128)(int64_t)RS1 * (int64_t)RS2) >> 64);
    NEXT;
}
SEM(mulhsu)
{
    SET_RD(((__int128)(int64_t)RS1 * (unsigned __int128)RS2) >> 64);
    NEXT;
}
SEM(mulhu)
{
    SET_RD(((unsigned __int128)RS1 * RS2) >> 64);
    NEXT;
}
SEM(mulw)
{
    SET_RD_W(RS1_W * RS2_W);
    NEXT;
}

SEM(div)
{
    int64_t a = (int64_t)RS1, b = (int64_t)RS2;
    SET_RD(b == 0 ? -1 : (a == INT64_MIN && b == -1) ? a : a / b);
    NEXT;
}
SEM(rem)
{
    int64_t a = (int64_t)RS1, b = (int64_t)RS2;
    SET_RD(b == 0 ? a : (a == INT64_MIN && b == -1) ? 0 : a % b);
    NEXT;
}
SEM(divu)
{
    SET_RD(RS2 == 0 ? UINT64_MAX : RS1 / RS2);
    NEXT;
}
SEM(remu)
{
    SET_RD(RS2 == 0 ? RS1 : RS1 % RS2);
    NEXT;
}
SEM(divw)
{
    int32_t a = (int32_t)RS1, b = (int32_t)RS2;
    SET_RD_W(b == 0 ? -1 : (a == INT32_MIN && b == -1) ? a : a / b);
    NEXT;
}
SEM(remw)
{
    int32_t a = (int32_t)RS1, b = (int32_t)RS2;
    SET_RD_W(b == 0 ? a : (a == INT32_MIN && b == -1) ? 0 : a % b);
    NEXT;
}
SEM(divuw)
{
    SET_RD_W(RS2_W == 0 ? UINT32_MAX : RS1_W / RS2_W);
    NEXT;
}
SEM(remuw)
{
    SET_RD_W(RS2_W == 0 ? RS1_W : RS1_W % RS2_W);
    NEXT;
}

/* Zicond: a select without a branch */
SEM(czero_eqz)
{
    SET_RD(RS2 == 0 ? 0 : RS1);
    NEXT;
}
SEM(czero_nez)
{
    SET_RD(RS2 != 0 ? 0 : RS1);
    NEXT;
}

/* Zimop: may-be-operations write zero until an extension says otherwise */
SEM(mop_r)
{
    SET_RD(0);
    NEXT;
}
SEM(mop_rr)
{
    SET_RD(0);
    NEXT;
}

/* Zba (chapter "B", section Zba) */
SEM(add_uw)
{
    SET_RD((uint64_t)RS1_W + RS2);
    NEXT;
}
SEM(sh1add)
{
    SET_RD((RS1 << 1) + RS2);
    NEXT;
}
SEM(sh2add)
{
    SET_RD((RS1 << 2) + RS2);
    NEXT;
}
SEM(sh3add)
{
    SET_RD((RS1 << 3) + RS2);
    NEXT;
}
SEM(sh1add_uw)
{
    SET_RD(((uint64_t)RS1_W << 1) + RS2);
    NEXT;
}
SEM(sh2add_uw)
{
    SET_RD(((uint64_t)RS1_W << 2) + RS2);
    NEXT;
}
SEM(sh3add_uw)
{
    SET_RD(((uint64_t)RS1_W << 3) + RS2);
    NEXT;
}
SEM(slli_uw)
{
    SET_RD((uint64_t)RS1_W << (IMM & 63));
    NEXT;
}

/* Zbb */
SEM(andn)
{
    SET_RD(RS1 & ~RS2);
    NEXT;
}
SEM(orn)
{
    SET_RD(RS1 | ~RS2);
    NEXT;
}
SEM(xnor)
{
    SET_RD(~(RS1 ^ RS2));
    NEXT;
}
SEM(clz)
{
    uint64_t v = RS1;
    SET_RD(v ? __builtin_clzll(v) : 64);
    NEXT;
}
SEM(clzw)
{
    uint32_t v = RS1_W;
    SET_RD(v ? __builtin_clz(v) : 32);
    NEXT;
}
SEM(ctz)
{
    uint64_t v = RS1;
    SET_RD(v ? __builtin_ctzll(v) : 64);
    NEXT;
}
SEM(ctzw)
{
    uint32_t v = RS1_W;
    SET_RD(v ? __builtin_ctz(v) : 32);
    NEXT;
}
SEM(cpop)
{
    SET_RD(__builtin_popcountll(RS1));
    NEXT;
}
SEM(cpopw)
{
    SET_RD(__builtin_popcount(RS1_W));
    NEXT;
}
SEM(max)
{
    SET_RD((int64_t)RS1 > (int64_t)RS2 ? RS1 : RS2);
    NEXT;
}
SEM(maxu)
{
    SET_RD(RS1 > RS2 ? RS1 : RS2);
    NEXT;
}
SEM(min)
{
    SET_RD((int64_t)RS1 < (int64_t)RS2 ? RS1 : RS2);
    NEXT;
}
SEM(minu)
{
    SET_RD(RS1 < RS2 ? RS1 : RS2);
    NEXT;
}
SEM(sext_b)
{
    SET_RD((int64_t)(int8_t)RS1);
    NEXT;
}
SEM(sext_h)
{
    SET_RD((int64_t)(int16_t)RS1);
    NEXT;
}
SEM(zext_h)
{
    SET_RD((uint16_t)RS1);
    NEXT;
}
SEM(rol)
{
    SET_RD(__builtin_rotateleft64(RS1, RS2));
    NEXT;
}
SEM(rolw)
{
    SET_RD_W(__builtin_rotateleft32(RS1_W, RS2_W));
    NEXT;
}
SEM(ror)
{
    SET_RD(__builtin_rotateright64(RS1, RS2));
    NEXT;
}
SEM(rorw)
{
    SET_RD_W(__builtin_rotateright32(RS1_W, RS2_W));
    NEXT;
}
SEM(rori)
{
    SET_RD(__builtin_rotateright64(RS1, IMM));
    NEXT;
}
SEM(roriw)
{
    SET_RD_W(__builtin_rotateright32(RS1_W, (uint32_t)imm));
    NEXT;
}
SEM(rev8)
{
    SET_RD(__builtin_bswap64(RS1));
    NEXT;
}
SEM(orc_b)
{
    /* Bit 7 of each byte: set where the byte is not zero; then spread over the byte. */
    uint64_t v = RS1;
    uint64_t high = ((v & 0x7f7f7f7f7f7f7f7full) + 0x7f7f7f7f7f7f7f7full) | v;
    SET_RD(((high >> 7) & 0x0101010101010101ull) * 0xff);
    NEXT;
}

/* Zbc, Zbkc: products of polynomials over GF(2); clmulr is bits 126..63 */
SEM(clmul)
{
    SET_RD(crypto_clmul(RS1, RS2));
    NEXT;
}
SEM(clmulh)
{
    SET_RD(crypto_clmulh(RS1, RS2));
    NEXT;
}
SEM(clmulr)
{
    SET_RD(crypto_clmulr(RS1, RS2));
    NEXT;
}

/* Zbkb */
SEM(pack)
{
    SET_RD(RS1_W | RS2 << 32);
    NEXT;
}
SEM(packh)
{
    SET_RD((RS1 & 0xff) | (RS2 & 0xff) << 8);
    NEXT;
}
SEM(packw)
{
    SET_RD_W((RS1_W & 0xffff) | RS2_W << 16);
    NEXT;
}
SEM(brev8)
{
    SET_RD(__builtin_bitreverse64(__builtin_bswap64(RS1)));
    NEXT;
}

/* Zbkx: rs2 holds indices into the nibbles or bytes of rs1; what is beyond them reads as zero */
SEM(xperm4)
{
    uint64_t table = RS1, indices = RS2, result = 0;
    for (unsigned shift = 0; shift < 64; shift += 4)
        result |= (table >> ((indices >> shift & 15) * 4) & 15) << shift;
    SET_RD(result);
    NEXT;
}
SEM(xperm8)
{
    uint64_t table = RS1, indices = RS2, result = 0;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint64_t index = indices >> shift & 0xff;
        result |= (index < 8 ? table >> (index * 8) & 0xff : 0) << shift;
    }
    SET_RD(result);
    NEXT;
}

/* Zbs */
SEM(bclr)
{
    SET_RD(RS1 & ~(1ull << (RS2 & 63)));
    NEXT;
}
SEM(bclri)
{
    SET_RD(RS1 & ~(1ull << (IMM & 63)));
    NEXT;
}
SEM(bext)
{
    SET_RD(RS1 >> (RS2 & 63) & 1);
    NEXT;
}
SEM(bexti)
{
    SET_RD(RS1 >> (IMM & 63) & 1);
    NEXT;
}
SEM(binv)
{
    SET_RD(RS1 ^ 1ull << (RS2 & 63));
    NEXT;
}
SEM(binvi)
{
    SET_RD(RS1 ^ 1ull << (IMM & 63));
    NEXT;
}
SEM(bset)
{
    SET_RD(RS1 | 1ull << (RS2 & 63));
    NEXT;
}
SEM(bseti)
{
    SET_RD(RS1 | 1ull << (IMM & 63));
    NEXT;
}

/* clang-format on */

#endif
