/* The state a hart is in when the guest's first instruction runs: what M-mode firmware would have set up before it
 * enters S-mode, and what a board's reset code hands to a bare-metal program. */
#ifndef TUFF_MACHINE_BOOT_STATE_H
#define TUFF_MACHINE_BOOT_STATE_H

#include "engine/isa/riscv/isa.h"

#include <stdint.h>

struct vcpu_state;

/* Makes `state` (from vcpu_get_state()) that of a hart entering S-mode where the VM serves SBI: pc, a0 = hart id, a1 =
 * `opaque`, satp 0, interrupts off; everything delegated, all memory open, counters readable, Sstc and hardware A/D
 * updates on where `isa` (ISA_EXT bits) has them. For boot, and for SBI's hart_start and non-retentive resume (SBI 2.0,
 * tables "HSM Hart Start Register State" and "HSM Hart Resume Register State"). Integer registers besides a0 and a1
 * become 0, so that runs repeat. */
void boot_supervisor_state(struct vcpu_state *state, isa_set isa, uint64_t pc, uint64_t opaque);

/* A bare-metal program or firmware in M-mode: pc, a0 = hart id, a1 = address of the device tree, a2 = address of
 * OpenSBI's fw_dynamic_info (machine/firmware.h; 0 for none). The rest stays as reset left it. */
void boot_machine_state(struct vcpu_state *state, uint64_t pc, uint64_t dtb_gpa, uint64_t info_gpa);

#endif
