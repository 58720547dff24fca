/* The privileged instructions behind sem_sys.h (system.c). Those that are calls end their block: SEM_END with h->pc
 * set, or SEM_TRAP. */
#ifndef TUFF_ENGINE_ISA_RISCV_SYSTEM_H
#define TUFF_ENGINE_ISA_RISCV_SYSTEM_H

#include "engine/isa/riscv/sem.h"

enum { CSR_SSCRATCH = 0x140, CSR_SEPC, CSR_SCAUSE, CSR_STVAL };

/* Of the four CSRs from sscratch to stval: where it is, and what becomes of a value that is written (sections 12.1.6 to
 * 12.1.9). All are S-mode's; nothing else guards them. */
_Static_assert(offsetof(struct hart, sepc) == offsetof(struct hart, sscratch) + 8 &&
                   offsetof(struct hart, scause) == offsetof(struct hart, sscratch) + 16 &&
                   offsetof(struct hart, stval) == offsetof(struct hart, sscratch) + 24,
               "in the order of their numbers");

static inline uint64_t *csr_trap_register(struct hart *h, unsigned number)
{
    return (uint64_t *)((char *)h + offsetof(struct hart, sscratch)) + (number & 3);
}

static inline uint64_t csr_epc_value(const struct hart *h, uint64_t value)
{
    return value & (h->isa & ISA_EXT(C) ? ~1ull : ~3ull);
}

static inline uint64_t csr_trap_value(const struct hart *h, unsigned number, uint64_t value)
{
    return number == CSR_SEPC ? csr_epc_value(h, value) : value;
}

enum sem_next system_ecall(struct hart *h, uint64_t npc);
enum sem_next system_mret(struct hart *h);
enum sem_next system_mnret(struct hart *h);
enum sem_next system_sret(struct hart *h);
enum sem_next system_wfi(struct hart *h, uint64_t npc);
/* Control-flow integrity (chapters "Zicfilp" and "Zicfiss"). A jump to `target` after which a landing pad is expected;
 * the instruction where it is expected: LPAD's label, or -1 for any other; SSPUSH and SSPOPCHK of a link register's
 * value; SSAMOSWAP, with what was there in *value. */
enum sem_next system_jump_expecting(struct hart *h, uint64_t target);
enum sem_next system_landing(struct hart *h, int64_t label, uint64_t pc, uint64_t npc);
enum sem_next system_sspush(struct hart *h, uint64_t link, uint64_t npc);
enum sem_next system_sspopchk(struct hart *h, uint64_t link, uint64_t npc);
enum sem_next system_ssamoswap(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value, uint64_t npc);
/* WRS.NTO and WRS.STO; `limited`: where it would have to wait it is illegal. */
enum sem_next system_wrs(struct hart *h, bool limited, uint64_t npc);
enum sem_next system_fence_i(struct hart *h, uint64_t npc);
/* rs1 and rs2 by number, because x0 means "all". */
enum sem_next system_sfence_vma(struct hart *h, unsigned rs1, uint64_t gva, unsigned rs2, uint64_t asid, uint64_t npc);
/* SFENCE.W.INVAL and SFENCE.INVAL.IR: what they would order is done where it happens. */
enum sem_next system_sfence_order(struct hart *h, uint64_t npc);

#endif
