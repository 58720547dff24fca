/* The privileged instructions; see system.h. */
#include "engine/isa/riscv/system.h"

#include <sched.h>

static enum sem_next end_at(struct hart *h, uint64_t pc)
{
    h->pc = pc;
    return SEM_END;
}

enum sem_next system_ecall(struct hart *h, uint64_t npc)
{
    static const uint8_t cause[] = {
        [VCPU_PRIV_U] = CAUSE_ECALL_U, [VCPU_PRIV_S] = CAUSE_ECALL_S, [VCPU_PRIV_M] = CAUSE_ECALL_M};

    if (h->priv == VCPU_PRIV_S && h->config.env->ecall) {
        h->pc = npc;
        HART_COUNT(h, ecalls, 1);
        enum vcpu_action action = h->config.env->ecall(h->config.env_opaque, &h->vcpu);
        if (action != VCPU_ACTION_TRAP) {
            /* An ECALL does not retire (Privileged Architecture, section 3.3.1), whoever serves it. A jump has set the
             * count with the rest of the state. */
            if (action != VCPU_ACTION_JUMP)
                hart_refund(h, 1);
            h->irq_check = true;
            if (action == VCPU_ACTION_STOP) {
                h->stop = true;
                h->exit = VCPU_EXIT_STOPPED;
            }
            return SEM_END;
        }
    }
    return sem_raise(h, cause[h->priv], 0);
}

enum sem_next system_mret(struct hart *h)
{
    if (h->priv != VCPU_PRIV_M)
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    hart_return_m(h);
    h->irq_check = true;
    return SEM_END;
}

enum sem_next system_mnret(struct hart *h)
{
    if (h->priv != VCPU_PRIV_M)
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    hart_return_mn(h);
    h->irq_check = true;
    return SEM_END;
}

enum sem_next system_sret(struct hart *h)
{
    if (h->priv == VCPU_PRIV_U || (h->priv == VCPU_PRIV_S && (h->mstatus & MSTATUS_TSR)))
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    hart_return_s(h);
    h->irq_check = true;
    return SEM_END;
}

enum sem_next system_jump_expecting(struct hart *h, uint64_t target)
{
    h->elp = true;
    h->ctx |= CTX_ELP;
    return end_at(h, target);
}

enum sem_next system_landing(struct hart *h, int64_t label, uint64_t pc, uint64_t npc)
{
    enum { LABEL_REGISTER = 7 };
    int64_t expected = (int64_t)(h->r.x[LABEL_REGISTER] >> 12 & 0xfffff);

    if (label < 0 || (pc & 3) || (label && label != expected))
        return sem_raise(h, CAUSE_SOFTWARE_CHECK, CHECK_LANDING_PAD);
    h->elp = false;
    h->ctx &= ~(uint32_t)CTX_ELP;
    return end_at(h, npc);
}

enum sem_next system_sspush(struct hart *h, uint64_t link, uint64_t npc)
{
    if (!mmu_shadow_store(h, h->ssp - sizeof(link), link))
        return SEM_TRAP;
    h->ssp -= sizeof(link);
    return end_at(h, npc);
}

enum sem_next system_sspopchk(struct hart *h, uint64_t link, uint64_t npc)
{
    uint64_t pushed;

    if (!mmu_shadow_load(h, h->ssp, &pushed))
        return SEM_TRAP;
    if (pushed != link)
        return sem_raise(h, CAUSE_SOFTWARE_CHECK, CHECK_SHADOW_STACK);
    h->ssp += sizeof(link);
    return end_at(h, npc);
}

enum sem_next system_ssamoswap(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value, uint64_t npc)
{
    if (!csr_ssp_allowed(h))
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    if (!mmu_shadow_swap(h, gva, size_bytes, value))
        return SEM_TRAP;
    return end_at(h, npc);
}

enum sem_next system_wfi(struct hart *h, uint64_t npc)
{
    /* Section 3.3.3; the bounded time that U-mode and TW may wait is zero here. */
    if (h->priv == VCPU_PRIV_U || (h->priv == VCPU_PRIV_S && (h->mstatus & MSTATUS_TW)))
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    HART_COUNT(h, wfis, 1);
    if (hart_interrupt_pending(h)) {
        h->irq_check = true;
    } else {
        h->stop = true;
        h->exit = VCPU_EXIT_HALTED;
    }
    return end_at(h, npc);
}

/* How often a hart that waits for its reservation to go lets other threads run: some 10 us, in which another hart gets
 * to its store. Waiting longer wins nothing, since the guest asks again. */
enum { WRS_YIELDS = 32 };

/* Chapter "Zawrs": the wait may end for any reason, but not begin without a reservation or with an interrupt pending.
 */
static bool wrs_waits(const struct hart *h)
{
    return reservation_is_held(mem_reservations(h->mem), h->config.hart_id) && !hart_mip(h);
}

enum sem_next system_wrs(struct hart *h, bool limited, uint64_t npc)
{
    /* Section 3.1.6.6; the bounded time that TW leaves is zero here, as it is for WFI. */
    if (limited && wrs_waits(h))
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    /* Where time follows the instructions, or nobody else is there, nothing comes of waiting. */
    bool alone = h->config.clock_insns || h->config.hart_count < 2;
    for (unsigned i = 0; i < WRS_YIELDS && !alone && wrs_waits(h); i++) {
        if (atomic_load_explicit(&h->countdown.attention, memory_order_relaxed))
            break;
        sched_yield();
    }
    h->irq_check = true;
    return end_at(h, npc);
}

enum sem_next system_fence_i(struct hart *h, uint64_t npc)
{
    hart_fence_i(h);
    return end_at(h, npc);
}

enum sem_next system_sfence_vma(struct hart *h, unsigned rs1, uint64_t gva, unsigned rs2, uint64_t asid, uint64_t npc)
{
    if (h->priv == VCPU_PRIV_U || (h->priv == VCPU_PRIV_S && (h->mstatus & MSTATUS_TVM)))
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    uint16_t asid_bits = (uint16_t)asid;
    if (rs1)
        HART_COUNT(h, tlb_page_flushes, 1);
    else
        HART_COUNT(h, tlb_flushes, 1);
    tlb_flush(h->tlb, rs1 ? &gva : NULL, rs2 ? &asid_bits : NULL);
    return end_at(h, npc);
}

enum sem_next system_sfence_order(struct hart *h, uint64_t npc)
{
    /* Chapter "Svinval": TVM is for SINVAL.VMA alone. */
    if (h->priv == VCPU_PRIV_U)
        return sem_raise(h, CAUSE_ILLEGAL, 0);
    return end_at(h, npc);
}
