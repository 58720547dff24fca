/* A vCPU's state as a part of a machine's saved state: a device's table of fields over struct vcpu_state, one for each
 * instruction set of guests. Which back end the state came from does not show. */
#ifndef TUFF_MACHINE_VCPU_PART_H
#define TUFF_MACHINE_VCPU_PART_H

#include "dev/device.h"
#include "engine/vcpu.h"

#include <stdint.h>

struct vcpu_part {
    struct device base;
    struct vcpu_state state;
    /* RISC-V: of the hart around it. */
    uint8_t hsm; /* enum sbi_hsm_state */
    uint8_t resume_retentive;
    uint64_t start_pc, start_arg;
    /* x86: the state's list as two, between its ops' pre_save() and post_restore() */
    uint32_t msr_index[VCPU_X86_MSRS_MAX];
    uint64_t msr_value[VCPU_X86_MSRS_MAX];
};

/* Fills all of `part` from a vCPU that does not run; the hart around it counts as started. */
void vcpu_part_get(struct vcpu_part *part, struct vcpu *vcpu);

#endif
