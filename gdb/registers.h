/* A hart's registers as gdb numbers and describes them: what its manual calls standard target features of RISC-V
 * (org.gnu.gdb.riscv.cpu, .fpu, .csr, .virtual), over the vCPU's neutral state. */
#ifndef TUFF_GDB_REGISTERS_H
#define TUFF_GDB_REGISTERS_H

#include "engine/vcpu.h"

enum {
    GDB_REGISTER_PC = 32,
    GDB_REGISTER_COUNT_G = 33, /* x0 to pc, 8 bytes each, are what one packet carries; the others are asked for */
};

/* Reads one. False: there is none of that number in this state's ISA. */
bool gdb_register_read(const struct vcpu_state *state, uint64_t number, uint64_t *value);
/* The same for writing into the state; false also where it cannot be written. */
bool gdb_register_write(struct vcpu_state *state, uint64_t number, uint64_t value);

/* How many bytes of its value go over the wire, as the description says. */
unsigned gdb_register_bytes(uint64_t number);

/* The target description, XML, allocated; the caller frees. NULL: no memory. */
char *gdb_registers_describe(const struct vcpu_state *state);

#endif
