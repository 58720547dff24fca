/* Traps and interrupts (Privileged Architecture 1.13, sections 3.1.6 to 3.1.9 and 12.1). */
#include "engine/isa/riscv/debug.h"

uint64_t hart_mip(const struct hart *h)
{
    return h->mip | h->timer_lines | atomic_load_explicit(&h->lines, memory_order_acquire);
}

bool hart_interrupt_pending(const struct hart *h)
{
    return (hart_mip(h) & h->mie) != 0;
}

/* The interrupts that may be taken now: those for M above those for S. */
static uint64_t takeable(const struct hart *h)
{
    uint64_t pending = hart_mip(h) & h->mie;
    uint64_t for_m = pending & ~h->mideleg;
    uint64_t for_s = pending & h->mideleg;

    if (!pending || !(h->mnstatus & MNSTATUS_NMIE) || (h->debug && h->debug->stepping))
        return 0;
    if (h->priv < VCPU_PRIV_M || (h->mstatus & MSTATUS_MIE)) {
        if (for_m)
            return for_m;
    }
    if (h->priv < VCPU_PRIV_S || (h->priv == VCPU_PRIV_S && (h->mstatus & MSTATUS_SIE)))
        return for_s;
    return 0;
}

bool hart_interrupt_deliverable(const struct hart *h)
{
    return takeable(h) != 0;
}

unsigned hart_first_interrupt(uint64_t candidates)
{
    /* Section 3.1.9: external, software, timer; M before S; overflow last. */
    static const uint8_t by_priority[] = {VCPU_IRQ_MEI, VCPU_IRQ_MSI, VCPU_IRQ_MTI,  VCPU_IRQ_SEI,
                                          VCPU_IRQ_SSI, VCPU_IRQ_STI, VCPU_IRQ_LCOFI};

    for (unsigned i = 0; candidates && i < TUFF_ARRAY_LEN(by_priority); i++) {
        if (candidates >> by_priority[i] & 1)
            return by_priority[i];
    }
    return 0;
}

bool hart_take_interrupt(struct hart *h)
{
    unsigned first = hart_first_interrupt(takeable(h));

    if (!first)
        return false;
    HART_EVENT(h, interrupts);
    hart_take_trap(h, CAUSE_INTERRUPT | first, 0, h->pc);
    return true;
}

/* Counters with a filter by mode start and stop where the privilege changes. `own`: the instruction that changes it
 * retires in the mode it leaves. */
static void privilege_changed(struct hart *h, unsigned own)
{
    if (TUFF_UNLIKELY(h->hpm_filtered))
        hpm_update(h, hart_retired(h) + own);
    hart_update_context(h);
}

static uint64_t vector(uint64_t tvec, uint64_t cause)
{
    uint64_t base = tvec & ~3ull;

    return (tvec & 1) && (cause & CAUSE_INTERRUPT) ? base + 4 * (cause & ~CAUSE_INTERRUPT) : base;
}

void hart_critical_error(struct hart *h)
{
    h->critical = true;
    h->stop = true;
    h->exit = VCPU_EXIT_CRITICAL;
}

static void trap_to_supervisor(struct hart *h, uint64_t cause, uint64_t tval, uint64_t epc)
{
    h->scause = cause;
    h->sepc = epc;
    h->stval = tval;
    uint64_t status = h->mstatus & ~(MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_SIE | MSTATUS_SPELP);
    status |= h->elp ? MSTATUS_SPELP : 0;
    h->elp = false;
    status |= h->mstatus & MSTATUS_SIE ? MSTATUS_SPIE : 0;
    status |= h->priv == VCPU_PRIV_S ? MSTATUS_SPP : 0;
    status |= h->menvcfg & MENVCFG_DTE ? MSTATUS_SDT : 0;
    h->mstatus = status;
    h->priv = VCPU_PRIV_S;
    h->pc = vector(h->stvec, cause);
}

/* Handlers of NMIs and of exceptions in them (chapter "Smrnmi" leaves the addresses open): where the hart starts. */
static uint64_t nmi_vector(const struct hart *h)
{
    return h->config.reset_pc;
}

/* Section 3.1.6.2: a trap that comes while M-mode cannot take one. */
static bool is_double_trap(const struct hart *h)
{
    bool in_nmi = h->priv == VCPU_PRIV_M && !(h->mnstatus & MNSTATUS_NMIE);

    return (h->isa & ISA_EXT(SMDBLTRP)) && ((h->mstatus & MSTATUS_MDT) || in_nmi);
}

static void double_trap(struct hart *h, uint64_t cause, uint64_t epc)
{
    if (!(h->isa & ISA_EXT(SMRNMI)) || !(h->mnstatus & MNSTATUS_NMIE)) {
        h->pc = epc;
        hart_critical_error(h);
        return;
    }
    h->mnepc = epc;
    h->mncause = cause;
    h->mnstatus = (uint64_t)VCPU_PRIV_M << MSTATUS_MPP_SHIFT | (h->elp ? MNSTATUS_MNPELP : 0); /* and NMIE clear */
    h->elp = false;
    h->priv = VCPU_PRIV_M;
    h->pc = nmi_vector(h);
}

static void trap_to_machine(struct hart *h, uint64_t cause, uint64_t tval, uint64_t tval2, uint64_t epc)
{
    if (is_double_trap(h)) {
        double_trap(h, cause, epc);
        return;
    }
    bool in_nmi = h->priv == VCPU_PRIV_M && !(h->mnstatus & MNSTATUS_NMIE);
    triggers_trap_to_machine(h);
    h->mcause = cause;
    h->mepc = epc;
    h->mtval = tval;
    h->mtval2 = tval2;
    uint64_t status = h->mstatus & ~(MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MIE | MSTATUS_MPELP);
    status |= h->elp ? MSTATUS_MPELP : 0;
    h->elp = false;
    status |= h->mstatus & MSTATUS_MIE ? MSTATUS_MPIE : 0;
    status |= (uint64_t)h->priv << MSTATUS_MPP_SHIFT;
    status |= h->isa & ISA_EXT(SMDBLTRP) ? MSTATUS_MDT : 0;
    h->mstatus = status;
    h->priv = VCPU_PRIV_M;
    h->pc = in_nmi ? nmi_vector(h) : vector(h->mtvec, cause);
}

void hart_take_trap(struct hart *h, uint64_t cause, uint64_t tval, uint64_t epc)
{
    bool interrupt = cause & CAUSE_INTERRUPT;
    uint64_t number = cause & ~CAUSE_INTERRUPT;
    uint64_t delegated = interrupt ? h->mideleg : h->medeleg;
    bool to_supervisor = h->priv <= VCPU_PRIV_S && (delegated >> number & 1);

    if (!interrupt)
        HART_EVENT(h, exceptions);
    reservation_clear(mem_reservations(h->mem), h->config.hart_id);
    if (!to_supervisor) {
        trap_to_machine(h, cause, tval, 0, epc);
    } else if (!(h->mstatus & MSTATUS_SDT)) {
        trap_to_supervisor(h, cause, tval, epc);
    } else if (h->config.env->ecall) {
        /* Section 12.1.1.5 has M-mode decide, which is the VM here: a kernel that lost its way does not go on. */
        h->pc = epc;
        hart_critical_error(h);
    } else {
        trap_to_machine(h, CAUSE_DOUBLE_TRAP, tval, cause, epc);
    }
    privilege_changed(h, 0);
}

/* What any return to `priv` below M-mode changes. */
static uint64_t below_machine(uint64_t status, uint8_t priv)
{
    return status & ~(MSTATUS_MPRV | MSTATUS_MDT | (priv == VCPU_PRIV_U ? MSTATUS_SDT : 0));
}

void hart_return_m(struct hart *h)
{
    uint8_t previous = (h->mstatus & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT;
    uint64_t status = h->mstatus & ~(MSTATUS_MIE | MSTATUS_MPP | MSTATUS_MPELP);

    status |= h->mstatus & MSTATUS_MPIE ? MSTATUS_MIE : 0;
    status |= MSTATUS_MPIE; /* MPP becomes the least privileged mode, U */
    h->elp = (h->mstatus & MSTATUS_MPELP) && hart_landing_pads(h, previous);
    h->mstatus = (previous == VCPU_PRIV_M ? status : below_machine(status, previous)) & ~MSTATUS_MDT;
    h->priv = previous;
    h->pc = h->mepc;
    triggers_return_from_machine(h);
    privilege_changed(h, 1);
}

void hart_return_s(struct hart *h)
{
    uint8_t previous = h->mstatus & MSTATUS_SPP ? VCPU_PRIV_S : VCPU_PRIV_U;
    uint64_t status = below_machine(h->mstatus, previous) & ~(MSTATUS_SIE | MSTATUS_SPP | MSTATUS_SDT | MSTATUS_SPELP);
    h->elp = (h->mstatus & MSTATUS_SPELP) && hart_landing_pads(h, previous);

    status |= h->mstatus & MSTATUS_SPIE ? MSTATUS_SIE : 0;
    status |= MSTATUS_SPIE;
    h->mstatus = status;
    h->priv = previous;
    h->pc = h->sepc;
    privilege_changed(h, 1);
}

void hart_return_mn(struct hart *h)
{
    uint8_t previous = (h->mnstatus & MNSTATUS_MNPP) >> MSTATUS_MPP_SHIFT;

    if (previous != VCPU_PRIV_M)
        h->mstatus = below_machine(h->mstatus, previous);
    h->elp = (h->mnstatus & MNSTATUS_MNPELP) && hart_landing_pads(h, previous);
    h->mnstatus |= MNSTATUS_NMIE;
    h->priv = previous;
    h->pc = h->mnepc;
    privilege_changed(h, 1);
}
