/* A hart's registers as gdb numbers and describes them, over the vCPU's neutral state: what its manual calls standard
 * target features, of RISC-V (org.gnu.gdb.riscv.cpu, .fpu, .csr, .virtual) and of x86-64 (org.gnu.gdb.i386.core, .sse,
 * .segments), the latter with control registers in a feature of our own.
 */
#ifndef TUFF_GDB_REGISTERS_H
#define TUFF_GDB_REGISTERS_H

#include "engine/vcpu.h"

#include <stdio.h>

enum { GDB_REGISTER_BYTES_MAX = 16 };

/* One instruction set's. Values are in the guest's byte order, which is little. */
struct gdb_registers {
    /* Registers 0 to count_g - 1 are what one packet carries; the others are asked for. */
    unsigned count_g;
    /* How many bytes of a register's value go over the wire, as the description says: 1 to GDB_REGISTER_BYTES_MAX. */
    unsigned (*bytes)(uint64_t number);
    /* Reads one. False: there is none of that number in this state's instruction set. */
    bool (*read)(const struct vcpu_state *state, uint64_t number, void *value);
    /* The same for writing into the state; false also where it cannot be written. */
    bool (*write)(struct vcpu_state *state, uint64_t number, const void *value);
    void (*set_pc)(struct vcpu_state *state, uint64_t pc);
    /* Writes <architecture> and features of the target description. */
    void (*describe)(const struct vcpu_state *state, FILE *out);
    /* "mode M, pc 0x..": what the hart is at, for people. */
    void (*summarise)(const struct vcpu_state *state, char *text, size_t size);
};

extern const struct gdb_registers gdb_registers_riscv, gdb_registers_x86;

/* Those of the state's instruction set. */
const struct gdb_registers *gdb_registers_of(const struct vcpu_state *state);

/* The target description, XML, allocated; the caller frees. NULL: no memory. */
char *gdb_registers_describe(const struct vcpu_state *state);

/* For describe(). */
void gdb_describe_register(FILE *out, const char *name, unsigned number, unsigned bits, const char *type);
void gdb_describe_feature(FILE *out, const char *name);

#endif
