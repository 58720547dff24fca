/* Registers of RISC-V by gdb's numbers; see registers.h. */
#include "gdb/registers.h"

#include "base/compiler.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* gdb's numbers: x and pc, f, then CSRs by theirs, then what it calls virtual. */
enum { REGISTER_PC = 32, COUNT_G = 33, FIRST_F = 33, FIRST_CSR = 65, CSRS = 4096, PRIV = FIRST_CSR + CSRS };

enum { CSR_FFLAGS = 0x001, CSR_FRM = 0x002, CSR_FCSR = 0x003, CSR_PMPCFG0 = 0x3a0, CSR_PMPADDR0 = 0x3b0 };

enum csr_kind {
    CSR_PLAIN,     /* 64 bits of the state at `offset` */
    CSR_ADDRESS,   /* the same without bit 0 */
    CSR_READ_ONLY, /* the same, not written */
    CSR_OF_STATUS, /* the bits of mstatus that S-mode sees */
    CSR_DELEGATED, /* those of mie or mip that are delegated */
    CSR_SUM,       /* a counter: instret, and the 64 bits at `offset` */
    CSR_HART,
};

struct csr {
    const char *name;
    uint16_t number;
    uint16_t offset;
    enum csr_kind kind;
};

#define OFFSET(field) ((uint16_t)offsetof(struct vcpu_state, field))

static const struct csr csrs[] = {
    {"sstatus", 0x100, OFFSET(mstatus), CSR_OF_STATUS},
    {"sie", 0x104, OFFSET(mie), CSR_DELEGATED},
    {"stvec", 0x105, OFFSET(stvec), CSR_PLAIN},
    {"scounteren", 0x106, OFFSET(scounteren), CSR_READ_ONLY},
    {"senvcfg", 0x10a, OFFSET(senvcfg), CSR_READ_ONLY},
    {"sscratch", 0x140, OFFSET(sscratch), CSR_PLAIN},
    {"sepc", 0x141, OFFSET(sepc), CSR_ADDRESS},
    {"scause", 0x142, OFFSET(scause), CSR_PLAIN},
    {"stval", 0x143, OFFSET(stval), CSR_PLAIN},
    {"sip", 0x144, OFFSET(mip), CSR_DELEGATED},
    {"stimecmp", 0x14d, OFFSET(stimecmp), CSR_PLAIN},
    {"satp", 0x180, OFFSET(satp), CSR_PLAIN},
    {"mstatus", 0x300, OFFSET(mstatus), CSR_PLAIN},
    {"misa", 0x301, OFFSET(misa), CSR_READ_ONLY},
    {"medeleg", 0x302, OFFSET(medeleg), CSR_READ_ONLY},
    {"mideleg", 0x303, OFFSET(mideleg), CSR_READ_ONLY},
    {"mie", 0x304, OFFSET(mie), CSR_READ_ONLY},
    {"mtvec", 0x305, OFFSET(mtvec), CSR_PLAIN},
    {"mcounteren", 0x306, OFFSET(mcounteren), CSR_READ_ONLY},
    {"menvcfg", 0x30a, OFFSET(menvcfg), CSR_READ_ONLY},
    {"mcountinhibit", 0x320, OFFSET(mcountinhibit), CSR_READ_ONLY},
    {"mscratch", 0x340, OFFSET(mscratch), CSR_PLAIN},
    {"mepc", 0x341, OFFSET(mepc), CSR_ADDRESS},
    {"mcause", 0x342, OFFSET(mcause), CSR_PLAIN},
    {"mtval", 0x343, OFFSET(mtval), CSR_PLAIN},
    {"mip", 0x344, OFFSET(mip), CSR_READ_ONLY},
    {"mcycle", 0xb00, OFFSET(cycle_offset), CSR_SUM},
    {"minstret", 0xb02, OFFSET(instret_offset), CSR_SUM},
    {"cycle", 0xc00, OFFSET(cycle_offset), CSR_SUM},
    {"instret", 0xc02, OFFSET(instret_offset), CSR_SUM},
    {"mhartid", 0xf14, 0, CSR_HART},
};

static const char *const x_names[] = {"zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "fp", "s1", "a0",
                                      "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
                                      "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6", "pc"};
static const char *const f_names[] = {"ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1", "fa0",
                                      "fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4", "fs5",
                                      "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};
_Static_assert(TUFF_ARRAY_LEN(x_names) == COUNT_G && TUFF_ARRAY_LEN(f_names) == 32, "one name each");

/* SD, UXL, MXR, SUM, FS and XS, VS, SPP, UBE, SPIE, SIE, and what control-flow integrity and double traps added. */
#define SSTATUS (1ull << 63 | 3ull << 32 | 3ull << 23 | 3ull << 18 | 0xfull << 13 | 3ull << 9 | 1ull << 8 | 0x62ull)

static bool has_f(const struct vcpu_state *state)
{
    return state->misa >> ('F' - 'A') & 1;
}

static uint64_t *field(struct vcpu_state *state, const struct csr *csr)
{
    return (uint64_t *)((char *)state + csr->offset);
}

static const struct csr *find_csr(uint64_t number)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(csrs); i++) {
        if (csrs[i].number == number)
            return &csrs[i];
    }
    return NULL;
}

static uint64_t csr_value(const struct vcpu_state *state, const struct csr *csr)
{
    uint64_t raw;

    memcpy(&raw, (const char *)state + csr->offset, sizeof(raw));
    switch (csr->kind) {
    case CSR_PLAIN:
    case CSR_ADDRESS:
    case CSR_READ_ONLY:
        return raw;
    case CSR_OF_STATUS:
        return raw & SSTATUS;
    case CSR_DELEGATED:
        return raw & state->mideleg;
    case CSR_SUM:
        return raw + state->instret;
    case CSR_HART:
        return state->hart_id;
    }
    return 0;
}

static bool fp_csr_read(const struct vcpu_state *state, uint64_t number, uint64_t *value)
{
    *value = number == CSR_FFLAGS ? state->fcsr & 31 : number == CSR_FRM ? state->fcsr >> 5 : state->fcsr;
    return has_f(state);
}

static bool pmp_read(const struct vcpu_state *state, uint64_t number, uint64_t *value)
{
    if (number >= CSR_PMPADDR0) {
        *value = state->pmpaddr[number - CSR_PMPADDR0];
        return true;
    }
    /* RV64 has the even ones, with eight entries each. */
    memcpy(value, &state->pmpcfg[4 * (number - CSR_PMPCFG0)], sizeof(*value));
    return number % 2 == 0;
}

static bool read_value(const struct vcpu_state *state, uint64_t number, uint64_t *value)
{
    if (number < FIRST_F) {
        *value = number == REGISTER_PC ? state->pc : state->x[number];
        return true;
    }
    if (number < FIRST_CSR) {
        *value = state->f[number - FIRST_F];
        return has_f(state);
    }
    if (number == PRIV) {
        *value = state->priv;
        return true;
    }
    number -= FIRST_CSR;
    if (number >= CSR_FFLAGS && number <= CSR_FCSR)
        return fp_csr_read(state, number, value);
    if (number >= CSR_PMPCFG0 && number < CSR_PMPADDR0 + 64)
        return pmp_read(state, number, value);
    const struct csr *csr = find_csr(number);
    if (!csr)
        return false;
    *value = csr_value(state, csr);
    return true;
}

static bool fp_csr_write(struct vcpu_state *state, uint64_t number, uint64_t value)
{
    if (!has_f(state) || value > (number == CSR_FFLAGS ? 31 : number == CSR_FRM ? 7 : 255))
        return false;
    if (number == CSR_FFLAGS)
        state->fcsr = (state->fcsr & ~31u) | (uint32_t)value;
    else if (number == CSR_FRM)
        state->fcsr = (state->fcsr & 31u) | (uint32_t)value << 5;
    else
        state->fcsr = (uint32_t)value;
    return true;
}

static bool write_value(struct vcpu_state *state, uint64_t number, uint64_t value)
{
    if (number < FIRST_F) {
        if (number == REGISTER_PC)
            state->pc = value & ~1ull;
        else if (number)
            state->x[number] = value;
        return true;
    }
    if (number < FIRST_CSR) {
        state->f[number - FIRST_F] = value;
        return has_f(state);
    }
    if (number == PRIV) {
        state->priv = (uint32_t)value;
        return value == VCPU_PRIV_U || value == VCPU_PRIV_S || value == VCPU_PRIV_M;
    }
    number -= FIRST_CSR;
    if (number >= CSR_FFLAGS && number <= CSR_FCSR)
        return fp_csr_write(state, number, value);
    const struct csr *csr = find_csr(number);
    if (!csr || (csr->kind != CSR_PLAIN && csr->kind != CSR_ADDRESS))
        return false;
    *field(state, csr) = csr->kind == CSR_ADDRESS ? value & ~1ull : value;
    return true;
}

static unsigned bytes_of(uint64_t number)
{
    return number >= FIRST_CSR + CSR_FFLAGS && number <= FIRST_CSR + CSR_FCSR ? 4 : 8;
}

/* ---- the description ---- */

static void describe_f(FILE *out)
{
    gdb_describe_feature(out, "org.gnu.gdb.riscv.fpu");
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(f_names); i++)
        gdb_describe_register(out, f_names[i], FIRST_F + i, 64, "ieee_double");
    gdb_describe_register(out, "fflags", FIRST_CSR + CSR_FFLAGS, 32, "int");
    gdb_describe_register(out, "frm", FIRST_CSR + CSR_FRM, 32, "int");
    gdb_describe_register(out, "fcsr", FIRST_CSR + CSR_FCSR, 32, "int");
    fputs("</feature>", out);
}

static void describe_csrs(FILE *out)
{
    char name[16];

    gdb_describe_feature(out, "org.gnu.gdb.riscv.csr");
    for (size_t i = 0; i < TUFF_ARRAY_LEN(csrs); i++)
        gdb_describe_register(out, csrs[i].name, FIRST_CSR + csrs[i].number, 64, "int");
    for (unsigned i = 0; i < 16; i += 2) {
        snprintf(name, sizeof(name), "pmpcfg%u", i);
        gdb_describe_register(out, name, FIRST_CSR + CSR_PMPCFG0 + i, 64, "int");
    }
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "pmpaddr%u", i);
        gdb_describe_register(out, name, FIRST_CSR + CSR_PMPADDR0 + i, 64, "int");
    }
    fputs("</feature>", out);
}

static void describe(const struct vcpu_state *state, FILE *out)
{
    fputs("<architecture>riscv:rv64</architecture>", out);
    gdb_describe_feature(out, "org.gnu.gdb.riscv.cpu");
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(x_names); i++)
        gdb_describe_register(out, x_names[i], i, 64, i == REGISTER_PC ? "code_ptr" : "int");
    fputs("</feature>", out);
    if (has_f(state))
        describe_f(out);
    describe_csrs(out);
    gdb_describe_feature(out, "org.gnu.gdb.riscv.virtual");
    gdb_describe_register(out, "priv", PRIV, 64, "int");
    fputs("</feature>", out);
}

/* ---- as struct gdb_registers has it ---- */

static bool read(const struct vcpu_state *state, uint64_t number, void *value)
{
    uint64_t v = 0;
    bool is = read_value(state, number, &v);

    memcpy(value, &v, bytes_of(number));
    return is;
}

static bool write(struct vcpu_state *state, uint64_t number, const void *value)
{
    uint64_t v = 0;

    memcpy(&v, value, bytes_of(number));
    return write_value(state, number, v);
}

static void set_pc(struct vcpu_state *state, uint64_t pc)
{
    state->pc = pc & ~1ull;
}

static void summarise(const struct vcpu_state *state, char *text, size_t size)
{
    static const char *const modes[] = {"U", "S", "?", "M"};

    snprintf(text, size, "mode %s, pc 0x%" PRIx64 ", satp 0x%" PRIx64 ", %" PRIu64 " instructions",
             modes[state->priv & 3], state->pc, state->satp, state->instret);
}

const struct gdb_registers gdb_registers_riscv = {
    .count_g = COUNT_G,
    .bytes = bytes_of,
    .read = read,
    .write = write,
    .set_pc = set_pc,
    .describe = describe,
    .summarise = summarise,
};
