/* The semantic bodies as bitcode: the fast instance of each as a function of its own, which a region calls with
 * constant operands and LLVM inlines. Compiled to bitcode at build time, prepared by prepare.c, and embedded
 * (bodies.h).
 */
/* Before the bodies: it governs what follows it. */
#pragma STDC FENV_ACCESS ON

#include "engine/isa/riscv/sem_fp.h"
#include "engine/isa/riscv/sem_int.h"
#include "engine/isa/riscv/sem_mem.h"
#include "engine/isa/riscv/sem_sys.h"

#define INSN(id, ...)                                                                                           \
    uint32_t body_##id(struct hart *h, struct rv_regs *r, unsigned rd, unsigned rs1, unsigned rs2, int64_t imm, \
                       uint64_t pc, uint64_t npc);                                                              \
    uint32_t body_##id(struct hart *h, struct rv_regs *r, unsigned rd, unsigned rs1, unsigned rs2, int64_t imm, \
                       uint64_t pc, uint64_t npc)                                                               \
    {                                                                                                           \
        return sem_##id(h, r, rd, rs1, rs2, imm, pc, npc, false);                                               \
    }
#include "engine/isa/riscv/rows.def"
