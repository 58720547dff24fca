/* The CSRs of Smaia and Ssaia (RISC-V Advanced Interrupt Architecture 1.0, chapters 2 and 5), where the machine has an
 * IMSIC: the indirect registers and topei are its interrupt files', topi is the pending interrupt of the highest
 * priority.
 *
 * The priorities of major interrupts are the default ones: the iprio arrays are read-only zero, mvien is read-only zero
 * (no interrupt is virtual), and mvip is another view of the bits of mip that M-mode writes. No hypervisor: hvictl and
 * the registers of VS-mode do not exist. */
#include "engine/isa/riscv/hart.h"

enum {
    CSR_SISELECT = 0x150,
    CSR_SIREG = 0x151,
    CSR_STOPEI = 0x15c,
    CSR_MVIEN = 0x308,
    CSR_MVIP = 0x309,
    CSR_MISELECT = 0x350,
    CSR_MIREG = 0x351,
    CSR_MTOPEI = 0x35c,
    CSR_STOPI = 0xdb0,
    CSR_MTOPI = 0xfb0,
};

enum { SELECT_BITS = 0xff, SELECT_IPRIO0 = 0x30, SELECT_IPRIO15 = 0x3f, SELECT_IMSIC0 = 0x70 };

bool aia_exists(const struct hart *h)
{
    return h->config.env && h->config.env->imsic_access;
}

bool aia_is_csr(const struct hart *h, unsigned number)
{
    if (!aia_exists(h))
        return false;
    switch (number) {
    case CSR_SISELECT:
    case CSR_SIREG:
    case CSR_STOPEI:
    case CSR_STOPI:
    case CSR_MVIEN:
    case CSR_MVIP:
    case CSR_MISELECT:
    case CSR_MIREG:
    case CSR_MTOPEI:
    case CSR_MTOPI:
        return true;
    default:
        return false;
    }
}

/* What mireg and sireg come to (section 2.1). */
uint64_t aia_state_enable(const struct hart *h, unsigned number)
{
    switch (number) {
    case CSR_SISELECT:
        return MSTATEEN0_CSRIND;
    case CSR_SIREG:
        return h->siselect >= SELECT_IMSIC0 ? MSTATEEN0_CSRIND | MSTATEEN0_IMSIC : MSTATEEN0_CSRIND;
    case CSR_STOPEI:
        return MSTATEEN0_IMSIC;
    default:
        return MSTATEEN0_AIA;
    }
}

static bool access_indirect(struct hart *h, bool supervisor, uint64_t *old, uint64_t value, uint64_t mask)
{
    uint32_t select = (uint32_t)(supervisor ? h->siselect : h->miselect);

    if (select >= SELECT_IPRIO0 && select <= SELECT_IPRIO15) {
        *old = 0;
        return !(select & 1); /* RV64 has the even ones */
    }
    return select >= SELECT_IMSIC0 &&
           h->config.env->imsic_access(h->config.env_opaque, &h->vcpu, supervisor, select, old, value, mask) == 0;
}

/* Identity << 16 | priority, which is 1 where it cannot be configured (section 5.4.2). */
static uint64_t topi(const struct hart *h, bool supervisor)
{
    uint64_t pending = hart_mip(h) & h->mie & (supervisor ? h->mideleg : ~h->mideleg);
    unsigned first = hart_first_interrupt(pending);

    return first ? (uint64_t)first << 16 | 1 : 0;
}

/* mvip: SSIP and SEIP of mip as software set them, and STIP where M-mode may write it. */
static void access_mvip(struct hart *h, uint64_t *old, uint64_t value, uint64_t mask)
{
    uint64_t fields = 1ull << VCPU_IRQ_SSI | 1ull << VCPU_IRQ_SEI;

    if (!(h->menvcfg & MENVCFG_STCE))
        fields |= 1ull << VCPU_IRQ_STI;
    *old = h->mip & fields;
    if (!mask)
        return;
    h->mip = (h->mip & ~(fields & mask)) | (value & fields & mask);
    h->irq_check = true;
}

static bool access_register(struct hart *h, unsigned number, uint64_t *old, uint64_t value, uint64_t mask)
{
    bool supervisor = (number >> 8 & 3) == VCPU_PRIV_S;
    uint64_t *select = supervisor ? &h->siselect : &h->miselect;

    *old = 0;
    switch (number) {
    case CSR_SISELECT:
    case CSR_MISELECT:
        *old = *select;
        *select = ((*select & ~mask) | (value & mask)) & SELECT_BITS;
        return true;
    case CSR_SIREG:
    case CSR_MIREG:
        return access_indirect(h, supervisor, old, value, mask);
    case CSR_STOPI:
    case CSR_MTOPI:
        *old = topi(h, supervisor);
        return true;
    case CSR_MVIP:
        access_mvip(h, old, value, mask);
        return true;
    default: /* mvien */
        return true;
    }
}

bool aia_access(struct hart *h, unsigned number, bool write, uint64_t operand, int op)
{
    bool supervisor = (number >> 8 & 3) == VCPU_PRIV_S;
    uint64_t mask = !write ? 0 : op == CSR_OP_WRITE ? UINT64_MAX : operand;

    /* Any write claims, whatever its value (section 3.10). */
    if (number == CSR_STOPEI || number == CSR_MTOPEI) {
        h->csr_old = h->config.env->imsic_top(h->config.env_opaque, &h->vcpu, supervisor, write);
        h->irq_check = true;
        return true;
    }
    if (!access_register(h, number, &h->csr_old, op == CSR_OP_CLEAR ? 0 : operand, mask))
        return false;
    if (write)
        h->irq_check = true;
    return true;
}
