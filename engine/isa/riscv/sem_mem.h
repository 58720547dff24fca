/* Semantic bodies: loads, stores, A. Floating-point loads and stores are here too. */
#ifndef TUFF_ENGINE_ISA_RISCV_SEM_MEM_H
#define TUFF_ENGINE_ISA_RISCV_SEM_MEM_H

#include "engine/isa/riscv/sem.h"

/* clang-format off: one line a body reads as a table */

SEM(lb)
{
    LOAD(int8_t, v, RS1 + IMM);
    SET_RD((int64_t)v);
    NEXT;
}
SEM(lh)
{
    LOAD(int16_t, v, RS1 + IMM);
    SET_RD((int64_t)v);
    NEXT;
}
SEM(lw)
{
    LOAD(int32_t, v, RS1 + IMM);
    SET_RD((int64_t)v);
    NEXT;
}
SEM(ld)
{
    LOAD(uint64_t, v, RS1 + IMM);
    SET_RD(v);
    NEXT;
}
SEM(lbu)
{
    LOAD(uint8_t, v, RS1 + IMM);
    SET_RD(v);
    NEXT;
}
SEM(lhu)
{
    LOAD(uint16_t, v, RS1 + IMM);
    SET_RD(v);
    NEXT;
}
SEM(lwu)
{
    LOAD(uint32_t, v, RS1 + IMM);
    SET_RD(v);
    NEXT;
}
SEM(sb)
{
    STORE(uint8_t, RS2, RS1 + IMM);
    NEXT;
}
SEM(sh)
{
    STORE(uint16_t, RS2, RS1 + IMM);
    NEXT;
}
SEM(sw)
{
    STORE(uint32_t, RS2, RS1 + IMM);
    NEXT;
}
SEM(sd)
{
    STORE(uint64_t, RS2, RS1 + IMM);
    NEXT;
}

/* F, D and Zfhmin: a half or single is NaN-boxed in its register, and stored without looking at the box. */
SEM(flw)
{
    LOAD_F(uint32_t, v, RS1 + IMM);
    SEM_SET_F_RD(v | 0xffffffff00000000ull);
    SEM_DIRTY_FS;
    NEXT;
}
SEM(fld)
{
    LOAD_F(uint64_t, v, RS1 + IMM);
    SEM_SET_F_RD(v);
    SEM_DIRTY_FS;
    NEXT;
}
SEM(flh)
{
    LOAD_F(uint16_t, v, RS1 + IMM);
    SEM_SET_F_RD(v | 0xffffffffffff0000ull);
    SEM_DIRTY_FS;
    NEXT;
}
SEM(fsh)
{
    STORE_F(uint16_t, SEM_F(rs2), RS1 + IMM);
    NEXT;
}
SEM(fsw)
{
    STORE_F(uint32_t, SEM_F(rs2), RS1 + IMM);
    NEXT;
}
SEM(fsd)
{
    STORE_F(uint64_t, SEM_F(rs2), RS1 + IMM);
    NEXT;
}

/* A (chapter "A"). The -W forms sign-extend what they loaded. */
#define AMO_FETCH(type, builtin)                                      \
    {                                                                 \
        AMO(type, old, RS1, builtin(p, (type)RS2, __ATOMIC_SEQ_CST)); \
        SET_RD((int64_t)old);                                         \
        NEXT;                                                         \
    }

SEM(amoswap_w)
AMO_FETCH(int32_t, __atomic_exchange_n)
SEM(amoswap_d)
AMO_FETCH(int64_t, __atomic_exchange_n)
SEM(amoadd_w)
AMO_FETCH(int32_t, __atomic_fetch_add)
SEM(amoadd_d)
AMO_FETCH(int64_t, __atomic_fetch_add)
SEM(amoxor_w)
AMO_FETCH(int32_t, __atomic_fetch_xor)
SEM(amoxor_d)
AMO_FETCH(int64_t, __atomic_fetch_xor)
SEM(amoand_w)
AMO_FETCH(int32_t, __atomic_fetch_and)
SEM(amoand_d)
AMO_FETCH(int64_t, __atomic_fetch_and)
SEM(amoor_w)
AMO_FETCH(int32_t, __atomic_fetch_or)
SEM(amoor_d)
AMO_FETCH(int64_t, __atomic_fetch_or)
SEM(amomin_w)
AMO_FETCH(int32_t, __atomic_fetch_min)
SEM(amomin_d)
AMO_FETCH(int64_t, __atomic_fetch_min)
SEM(amomax_w)
AMO_FETCH(int32_t, __atomic_fetch_max)
SEM(amomax_d)
AMO_FETCH(int64_t, __atomic_fetch_max)

#define AMO_FETCH_U32(builtin)                                                \
    {                                                                         \
        AMO(uint32_t, old, RS1, builtin(p, (uint32_t)RS2, __ATOMIC_SEQ_CST)); \
        SET_RD_W(old);                                                        \
        NEXT;                                                                 \
    }
#define AMO_FETCH_U64(builtin)                                      \
    {                                                               \
        AMO(uint64_t, old, RS1, builtin(p, RS2, __ATOMIC_SEQ_CST)); \
        SET_RD(old);                                                \
        NEXT;                                                       \
    }

SEM(amominu_w)
AMO_FETCH_U32(__atomic_fetch_min)
SEM(amominu_d)
AMO_FETCH_U64(__atomic_fetch_min)
SEM(amomaxu_w)
AMO_FETCH_U32(__atomic_fetch_max)
SEM(amomaxu_d)
AMO_FETCH_U64(__atomic_fetch_max)

SEM(lr_w)
{
    uint64_t v;
    if (!mmu_load_reserved(h, RS1, 4, &v))
        return SEM_TRAP;
    SET_RD_W(v);
    NEXT;
}
SEM(lr_d)
{
    uint64_t v;
    if (!mmu_load_reserved(h, RS1, 8, &v))
        return SEM_TRAP;
    SET_RD(v);
    NEXT;
}
SEM(sc_w)
{
    bool stored;
    if (!mmu_store_conditional(h, RS1, 4, RS2, &stored))
        return SEM_TRAP;
    SET_RD(!stored);
    NEXT;
}
SEM(sc_d)
{
    bool stored;
    if (!mmu_store_conditional(h, RS1, 8, RS2, &stored))
        return SEM_TRAP;
    SET_RD(!stored);
    NEXT;
}

/* Zabha: as in A, sign-extended from their size. */
#define AMO_FETCH_SMALL(type, extended, builtin)                            \
    {                                                                       \
        AMO(type, old, RS1, (type)builtin(p, (type)RS2, __ATOMIC_SEQ_CST)); \
        SET_RD((int64_t)(extended)old);                                     \
        NEXT;                                                               \
    }

SEM(amoswap_b)
AMO_FETCH_SMALL(int8_t, int8_t, __atomic_exchange_n)
SEM(amoadd_b)
AMO_FETCH_SMALL(int8_t, int8_t, __atomic_fetch_add)
SEM(amoxor_b)
AMO_FETCH_SMALL(int8_t, int8_t, __atomic_fetch_xor)
SEM(amoand_b)
AMO_FETCH_SMALL(int8_t, int8_t, __atomic_fetch_and)
SEM(amoor_b)
AMO_FETCH_SMALL(int8_t, int8_t, __atomic_fetch_or)
SEM(amomin_b)
AMO_FETCH_SMALL(int8_t, int8_t, __atomic_fetch_min)
SEM(amomax_b)
AMO_FETCH_SMALL(int8_t, int8_t, __atomic_fetch_max)
SEM(amominu_b)
AMO_FETCH_SMALL(uint8_t, int8_t, __atomic_fetch_min)
SEM(amomaxu_b)
AMO_FETCH_SMALL(uint8_t, int8_t, __atomic_fetch_max)
SEM(amoswap_h)
AMO_FETCH_SMALL(int16_t, int16_t, __atomic_exchange_n)
SEM(amoadd_h)
AMO_FETCH_SMALL(int16_t, int16_t, __atomic_fetch_add)
SEM(amoxor_h)
AMO_FETCH_SMALL(int16_t, int16_t, __atomic_fetch_xor)
SEM(amoand_h)
AMO_FETCH_SMALL(int16_t, int16_t, __atomic_fetch_and)
SEM(amoor_h)
AMO_FETCH_SMALL(int16_t, int16_t, __atomic_fetch_or)
SEM(amomin_h)
AMO_FETCH_SMALL(int16_t, int16_t, __atomic_fetch_min)
SEM(amomax_h)
AMO_FETCH_SMALL(int16_t, int16_t, __atomic_fetch_max)
SEM(amominu_h)
AMO_FETCH_SMALL(uint16_t, int16_t, __atomic_fetch_min)
SEM(amomaxu_h)
AMO_FETCH_SMALL(uint16_t, int16_t, __atomic_fetch_max)

/* Zacas: rd is what memory must hold for rs2 to be stored, and becomes what it held; x0 is zero, also as a pair. */
#define RD_OLD (SEM_RD_IS_X0 ? 0 : SEM_X(rd))
#define AMO_CAS(type)                                                                 \
    {                                                                                 \
        AMO(type, old, RS1, __sync_val_compare_and_swap(p, (type)RD_OLD, (type)RS2)); \
        SET_RD((int64_t)old);                                                         \
        NEXT;                                                                         \
    }

SEM(amocas_b)
AMO_CAS(int8_t)
SEM(amocas_h)
AMO_CAS(int16_t)
SEM(amocas_w)
AMO_CAS(int32_t)
SEM(amocas_d)
AMO_CAS(int64_t)
SEM(amocas_q)
{
    uint64_t old[2] = {0, 0};
    if (rd != RV_X_SINK) {
        old[0] = r->x[rd];
        old[1] = r->x[rd + 1];
    }
    if (!mmu_compare_and_swap_pair(h, RS1, old, rs2 ? r->x[rs2] : 0, rs2 ? r->x[rs2 + 1] : 0))
        return SEM_TRAP;
    if (rd != RV_X_SINK) {
        r->x[rd] = old[0];
        r->x[rd + 1] = old[1];
    }
    NEXT;
}

/* Zicbom, Zicboz (chapter "CMO"). There is no cache that could differ from memory, so that the management instructions
 * only check: whether they may run, and whether the block may be accessed. */
#define CBO_BODY(enables, action)                    \
    {                                                \
        if (!csr_cbo_enabled(h, enables))            \
            TRAP(CAUSE_ILLEGAL, 0);                  \
        return action(h, RS1) ? SEM_NEXT : SEM_TRAP; \
    }

SEM(cbo_inval)
CBO_BODY(ENVCFG_CBIE, mmu_block_check)
SEM(cbo_clean)
CBO_BODY(ENVCFG_CBCFE, mmu_block_check)
SEM(cbo_flush)
CBO_BODY(ENVCFG_CBCFE, mmu_block_check)
SEM(cbo_zero)
CBO_BODY(ENVCFG_CBZE, mmu_block_zero)

/* clang-format on */

#endif
