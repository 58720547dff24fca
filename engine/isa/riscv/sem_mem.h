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

/* F and D: a single is NaN-boxed in its register, and stored without looking at the box. */
SEM(flw)
{
    LOAD(uint32_t, v, RS1 + IMM);
    r->f[rd] = v | 0xffffffff00000000ull;
    r->fs_dirty = 1;
    NEXT;
}
SEM(fld)
{
    LOAD(uint64_t, v, RS1 + IMM);
    r->f[rd] = v;
    r->fs_dirty = 1;
    NEXT;
}
SEM(fsw)
{
    STORE(uint32_t, r->f[rs2], RS1 + IMM);
    NEXT;
}
SEM(fsd)
{
    STORE(uint64_t, r->f[rs2], RS1 + IMM);
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
