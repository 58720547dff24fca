/* Where the SBI meets a vCPU: registers in and out, and the hardware counters. Apart from sbi.c, so that the logic is
 * tested without an engine. */
#include "machine/sbi.h"

#include "base/log.h"

#include <string.h>

enum { REG_A0 = 10, REG_A1 = 11, CSR_CYCLE = 0xc00 };

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

void sbi_vcpu_counter_control(struct vcpu *vcpu, uint32_t csr, bool running, const uint64_t *value)
{
    struct vcpu_state state;
    uint64_t inhibit = 1ull << (csr - CSR_CYCLE);

    vcpu_get_state(vcpu, &state);
    state.mcountinhibit = running ? state.mcountinhibit & ~inhibit : state.mcountinhibit | inhibit;
    /* Both machine counters are the retired instructions and an offset (struct vcpu_state). */
    if (value && csr == CSR_CYCLE)
        state.cycle_offset = *value - state.instret;
    else if (value)
        state.instret_offset = *value - state.instret;
    int rc = vcpu_set_state(vcpu, &state);
    if (rc)
        log_warn(LOG_SBI, "hart %u: counter 0x%x was not changed: the vCPU refused its own state (%d)",
                 vcpu_hart_id(vcpu), csr, rc);
}
