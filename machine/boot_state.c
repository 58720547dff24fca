/* Entry states; see boot_state.h. Bits and fields are those of the Privileged Architecture 1.13. */
#include "machine/boot_state.h"

#include "engine/isa/riscv/isa.h"
#include "engine/vcpu.h"

#include <string.h>

#define MSTATUS_SIE (1ull << 1)
#define MSTATUS_MIE (1ull << 3)
#define MSTATUS_MPRV (1ull << 17)
#define MSTATUS_SUM (1ull << 18)
#define MSTATUS_MXR (1ull << 19)
#define MSTATUS_MDT (1ull << 42)
#define MNSTATUS_NMIE (1ull << 3)
#define MSECCFG_SSEED (1ull << 9)
#define COUNTEREN_ALL 0xffffffffull
/* What there may be: sstateen; in mstateen0 senvcfg and the AIA's registers too. */
#define MSTATEEN_EVERYTHING (3ull << 62 | 7ull << 58)
#define ENVCFG_CBIE_CBCFE (7ull << 4) /* CBO.INVAL as it is: there is no cache to lose a store from */
#define ENVCFG_CBZE (1ull << 7)
#define MENVCFG_ADUE (1ull << 61)
#define MENVCFG_PBMTE (1ull << 62)
#define MENVCFG_STCE (1ull << 63)

enum {
    REG_A0 = 10,
    REG_A1 = 11,
    REG_A2 = 12,
    COUNTEREN_CY_TM_IR = 7,
    PMPCFG_NAPOT_RWX = 0x1f,
    MIDELEG_S = 1 << VCPU_IRQ_SSI | 1 << VCPU_IRQ_STI | 1 << VCPU_IRQ_SEI,
    /* Causes 0..8 (misaligned and access faults, illegal, breakpoint, ecall from U) and the page faults 12, 13, 15.
     * Calls from S go to the VM and never trap. */
    MEDELEG_SOFTWARE_CHECK = 1 << 18,
    MEDELEG_ALL = 0x1ff | 1 << 12 | 1 << 13 | 1 << 15,
};

/* One NAPOT entry with all address bits set covers all 56 bits of physical address. */
static const uint64_t pmpaddr_everything = (1ull << 54) - 1;

static void open_machine_level(struct vcpu_state *state, isa_set isa)
{
    /* On the first entry (nothing is delegated yet) a timer that was never set must not be pending. Later it is the
     * guest's own: it may be what a suspended hart woke up for. */
    if (state->mideleg == 0)
        state->stimecmp = UINT64_MAX;
    state->mideleg = MIDELEG_S;
    if (isa & ISA_EXT(SSCOFPMF))
        state->mideleg |= 1 << VCPU_IRQ_LCOFI;
    state->medeleg = MEDELEG_ALL;
    state->mcounteren = isa & ISA_EXT(ZIHPM) ? COUNTEREN_ALL : COUNTEREN_CY_TM_IR;
    /* Firmware leaves these readable from U-mode too; Linux closes what it wants closed. */
    state->scounteren = COUNTEREN_CY_TM_IR;
    for (unsigned i = 0; isa & ISA_EXT(SMSTATEEN) && i < sizeof(state->mstateen) / sizeof(state->mstateen[0]); i++)
        state->mstateen[i] = MSTATEEN_EVERYTHING;
    state->menvcfg = 0;
    if (isa & ISA_EXT(SSTC))
        state->menvcfg |= MENVCFG_STCE;
    if (isa & ISA_EXT(ZICBOM))
        state->menvcfg |= ENVCFG_CBIE_CBCFE;
    if (isa & ISA_EXT(ZICBOZ))
        state->menvcfg |= ENVCFG_CBZE;
    if (isa & ISA_EXT(SVADU))
        state->menvcfg |= MENVCFG_ADUE;
    if (isa & ISA_EXT(SVPBMT))
        state->menvcfg |= MENVCFG_PBMTE;
    /* As firmware that knows them would: entropy for the kernel, which may hand it on; traps and interrupts as usual.
     */
    if (isa & ISA_EXT(ZKR))
        state->mseccfg |= MSECCFG_SSEED;
    if (isa & (ISA_EXT(ZICFILP) | ISA_EXT(ZICFISS)))
        state->medeleg |= MEDELEG_SOFTWARE_CHECK;
    state->elp = false;
    state->mnstatus |= MNSTATUS_NMIE;
    state->mstatus &= ~MSTATUS_MDT;
    state->pmpcfg[0] = PMPCFG_NAPOT_RWX;
    state->pmpaddr[0] = pmpaddr_everything;
    state->mie = 0;
}

void boot_supervisor_state(struct vcpu_state *state, isa_set isa, uint64_t pc, uint64_t opaque)
{
    open_machine_level(state, isa);
    memset(state->x, 0, sizeof(state->x));
    state->x[REG_A0] = state->hart_id;
    state->x[REG_A1] = opaque;
    state->pc = pc;
    state->priv = VCPU_PRIV_S;
    state->satp = 0;
    state->mstatus &= ~(MSTATUS_SIE | MSTATUS_MIE | MSTATUS_MPRV | MSTATUS_SUM | MSTATUS_MXR);
}

void boot_machine_state(struct vcpu_state *state, uint64_t pc, uint64_t dtb_gpa, uint64_t info_gpa)
{
    state->x[REG_A0] = state->hart_id;
    state->x[REG_A1] = dtb_gpa;
    state->x[REG_A2] = info_gpa;
    state->pc = pc;
}
