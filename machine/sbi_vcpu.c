/* Where the SBI meets a vCPU: registers in and out, and the hardware counters. Apart from sbi.c, so that the logic is
 * tested without an engine. */
#include "machine/sbi.h"

#include "base/log.h"

#include <string.h>

enum { REG_A0 = 10, REG_A1 = 11, CSR_CYCLE = 0xc00, CSR_INSTRET = 0xc02 };

#define EVENT_OF (1ull << 63)
#define ENVCFG_SSE (1ull << 3)

enum vcpu_action sbi_ecall(void *opaque, struct vcpu *vcpu)
{
    uint64_t *x = vcpu_x(vcpu);
    uint64_t args[8];
    struct sbi_ret ret;

    memcpy(args, &x[REG_A0], sizeof(args)); /* the machine's ops may set the vCPU's state */
    enum vcpu_action action = sbi_handle(opaque, vcpu_hart_id(vcpu), args, &ret);
    x[REG_A0] = (uint64_t)ret.error;
    x[REG_A1] = ret.value;
    return action;
}

static void set_state(struct vcpu *vcpu, uint32_t csr, const struct vcpu_state *state)
{
    int rc = vcpu_set_state(vcpu, state);

    if (rc)
        log_warn(LOG_SBI, "hart %u: counter 0x%x was not changed: the vCPU refused its own state (%d)",
                 vcpu_hart_id(vcpu), csr, rc);
}

void sbi_vcpu_counter_control(struct vcpu *vcpu, uint32_t csr, bool running, const uint64_t *value)
{
    struct vcpu_state state;
    uint32_t number = csr - CSR_CYCLE;
    uint64_t inhibit = 1ull << number;

    vcpu_get_state(vcpu, &state);
    state.mcountinhibit = running ? state.mcountinhibit & ~inhibit : state.mcountinhibit | inhibit;
    /* cycle and instret are the retired instructions and an offset (struct vcpu_state). */
    if (value && csr == CSR_CYCLE)
        state.cycle_offset = *value - state.instret;
    else if (value && csr == CSR_INSTRET)
        state.instret_offset = *value - state.instret;
    else if (value)
        state.mhpmcounter[number] = *value;
    if (running)
        state.mhpmevent[number] &= ~EVENT_OF;
    set_state(vcpu, csr, &state);
}

void sbi_vcpu_counter_event(struct vcpu *vcpu, uint32_t csr, uint64_t event)
{
    struct vcpu_state state;

    vcpu_get_state(vcpu, &state);
    state.mhpmevent[csr - CSR_CYCLE] = event;
    set_state(vcpu, csr, &state);
}

struct sbi_trigger sbi_vcpu_trigger(struct vcpu *vcpu, uint32_t index, const struct sbi_trigger *set)
{
    struct vcpu_state state;

    vcpu_get_state(vcpu, &state);
    if (set) {
        state.tdata1[index] = set->tdata1;
        state.tdata2[index] = set->tdata2;
        state.tdata3[index] = set->tdata3;
        int rc = vcpu_set_state(vcpu, &state);
        if (rc)
            log_warn(LOG_SBI, "hart %u: trigger %u was not changed: the vCPU refused its own state (%d)",
                     vcpu_hart_id(vcpu), index, rc);
        vcpu_get_state(vcpu, &state);
    }
    return (struct sbi_trigger){state.tdata1[index], state.tdata2[index], state.tdata3[index]};
}

uint64_t sbi_vcpu_environment(struct vcpu *vcpu, uint64_t mask, uint64_t value)
{
    struct vcpu_state state;

    vcpu_get_state(vcpu, &state);
    uint64_t before = state.menvcfg;
    if (!mask)
        return before;
    state.menvcfg = (before & ~mask) | (value & mask);
    /* senvcfg.SSE is read-only zero where menvcfg's is clear (Privileged Architecture, section 12.1.10). */
    if (!(state.menvcfg & ENVCFG_SSE))
        state.senvcfg &= ~ENVCFG_SSE;
    int rc = vcpu_set_state(vcpu, &state);
    if (rc)
        log_warn(LOG_SBI, "hart %u: its environment was not changed: the vCPU refused its own state (%d)",
                 vcpu_hart_id(vcpu), rc);
    return before;
}
