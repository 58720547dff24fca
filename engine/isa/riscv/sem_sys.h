/* Semantic bodies: Zicsr, Zifencei and the privileged instructions. All but those of a few CSRs end their block; the
 * work is in calls, in every tier. */
#ifndef TUFF_ENGINE_ISA_RISCV_SEM_SYS_H
#define TUFF_ENGINE_ISA_RISCV_SEM_SYS_H

#include "engine/isa/riscv/fp_flags.h"
#include "engine/isa/riscv/sem.h"
#include "engine/isa/riscv/system.h"

/* clang-format off: one line a body reads as a table */

/* mtval gets the encoding from whoever takes the trap: it has the bytes. */
SEM(illegal)
{
    TRAP(CAUSE_ILLEGAL, 0);
}

/* Zicsr (chapter "Zicsr"): csrrw with rd = x0 does not read, the set and clear forms with rs1 = x0 (or a zero
 * immediate) do not write. `rs1` is the five-bit immediate in the -i forms. */
#define CSR_BODY(read, write, operand, op)                           \
    {                                                                \
        if (!csr_access(h, (unsigned)imm, read, write, operand, op)) \
            TRAP(CAUSE_ILLEGAL, 0);                                  \
        SET_RD(h->csr_old);                                          \
        h->pc = npc;                                                 \
        return SEM_END;                                              \
    }

SEM(csrrw)
CSR_BODY(rd != RV_X_SINK, true, RS1, CSR_OP_WRITE)
SEM(csrrs)
CSR_BODY(true, rs1 != 0, RS1, CSR_OP_SET)
SEM(csrrc)
CSR_BODY(true, rs1 != 0, RS1, CSR_OP_CLEAR)
SEM(csrrwi)
CSR_BODY(rd != RV_X_SINK, true, rs1, CSR_OP_WRITE)
SEM(csrrsi)
CSR_BODY(true, rs1 != 0, rs1, CSR_OP_SET)
SEM(csrrci)
CSR_BODY(true, rs1 != 0, rs1, CSR_OP_CLEAR)

/* fflags (chapter "F", "Floating-Point Control and Status Register"). `rs1` of csrrs is x0 where it only reads. */
SEM(csrrw_fflags)
{
    uint64_t flags = RS1;
    if (!SEM_RD_IS_X0)
        SET_RD(fp_read_flags(h));
    fp_write_flags(h, flags & 31);
    SEM_DIRTY_FS;
    NEXT;
}
SEM(csrrs_fflags)
{
    uint64_t flags = RS1, before = fp_read_flags(h);
    SET_RD(before);
    if (rs1) {
        fp_write_flags(h, (before | flags) & 31);
        SEM_DIRTY_FS;
    }
    NEXT;
}

/* sscratch to stval (section 12.1, csr_trap_register()): no field of theirs means anything to the hart before a trap or
 * SRET. */
#define CSR_TRAP_BODY(new_value)                              \
    {                                                         \
        if (h->priv < VCPU_PRIV_S)                            \
            TRAP(CAUSE_ILLEGAL, 0);                           \
        uint64_t *reg = csr_trap_register(h, (unsigned)imm);  \
        uint64_t old = *reg;                                  \
        *reg = csr_trap_value(h, (unsigned)imm, (new_value)); \
        SET_RD(old);                                          \
        NEXT;                                                 \
    }

SEM(csrrw_strap)
CSR_TRAP_BODY(RS1)
SEM(csrrs_strap)
CSR_TRAP_BODY(old | RS1)

SEM(ecall)
{
    return system_ecall(h, npc);
}
SEM(ebreak)
{
    TRAP(CAUSE_BREAKPOINT, pc);
}
SEM(mret)
{
    return system_mret(h);
}
SEM(mnret)
{
    return system_mnret(h);
}
SEM(sret)
{
    return system_sret(h);
}
/* Zicfilp: in the place of JALR while landing pads are expected behind it, and where one is. `imm` is LPAD's label. */
SEM(jalr_expecting)
{
    uint64_t target = (RS1 + IMM) & ~1ull;
    CHECK_TARGET(target);
    SET_RD(npc);
    return system_jump_expecting(h, target);
}
SEM(landing)
{
    return system_landing(h, imm, pc, npc);
}

/* Zicfiss: in the place of MOP.RR.7, MOP.R.28 and of C.MOPs while there is a shadow stack. */
SEM(sspush)
{
    return system_sspush(h, RS2, npc);
}
SEM(sspopchk)
{
    return system_sspopchk(h, RS1, npc);
}
SEM(ssrdp)
{
    SET_RD(h->ssp);
    h->pc = npc;
    return SEM_END;
}
#define SSAMOSWAP_BODY(size_bytes)                                              \
    {                                                                           \
        uint64_t value = RS2;                                                   \
        enum sem_next next = system_ssamoswap(h, RS1, size_bytes, &value, npc); \
        if (next != SEM_TRAP)                                                   \
            SET_RD(value);                                                      \
        return next;                                                            \
    }

SEM(ssamoswap_w)
SSAMOSWAP_BODY(4)
SEM(ssamoswap_d)
SSAMOSWAP_BODY(8)
SEM(wfi)
{
    return system_wfi(h, npc);
}
SEM(wrs_nto)
{
    return system_wrs(h, h->priv < VCPU_PRIV_M && (h->mstatus & MSTATUS_TW), npc);
}
SEM(wrs_sto)
{
    return system_wrs(h, false, npc);
}
SEM(fence_i)
{
    return system_fence_i(h, npc);
}
SEM(sfence_vma)
{
    return system_sfence_vma(h, rs1, RS1, rs2, RS2, npc);
}
SEM(sfence_w_inval)
{
    return system_sfence_order(h, npc);
}

/* clang-format on */

#endif
