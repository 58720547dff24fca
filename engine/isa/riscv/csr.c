/* Control and status registers (Privileged Architecture 1.13, chapter 2 and the sections named below): which exist, who
 * may access them, which bits stick. What a write changes beyond its own value (translation context, pending
 * interrupts, timers) is done here; what has no such effects and no row of its own ends its block all the same. */
#include "engine/isa/riscv/fp_flags.h"
#include "engine/isa/riscv/hart.h"
#include "engine/isa/riscv/sem.h"
#include "engine/isa/riscv/system.h"

/* clang-format off: tables, one register a line */

enum {
    CSR_FFLAGS = 0x001,
    CSR_FRM = 0x002,
    CSR_FCSR = 0x003,
    CSR_SSP = 0x011,
    CSR_SEED = 0x015,
    CSR_SSTATUS = 0x100,
    CSR_SIE = 0x104,
    CSR_STVEC = 0x105,
    CSR_SCOUNTEREN = 0x106,
    CSR_SENVCFG = 0x10a,
    CSR_SSTATEEN0 = 0x10c,
    CSR_SSTATEEN3 = 0x10f,
    CSR_SIP = 0x144,
    CSR_STIMECMP = 0x14d,
    CSR_SATP = 0x180,
    CSR_MSTATUS = 0x300,
    CSR_MISA = 0x301,
    CSR_MEDELEG = 0x302,
    CSR_MIDELEG = 0x303,
    CSR_MIE = 0x304,
    CSR_MTVEC = 0x305,
    CSR_MCOUNTEREN = 0x306,
    CSR_MENVCFG = 0x30a,
    CSR_MSTATEEN0 = 0x30c,
    CSR_MSTATEEN3 = 0x30f,
    CSR_MCOUNTINHIBIT = 0x320,
    CSR_MHPMEVENT3 = 0x323,
    CSR_MHPMEVENT31 = 0x33f,
    CSR_SCOUNTOVF = 0xda0,
    CSR_MSCRATCH = 0x340,
    CSR_MEPC = 0x341,
    CSR_MCAUSE = 0x342,
    CSR_MTVAL = 0x343,
    CSR_MIP = 0x344,
    CSR_MTVAL2 = 0x34b,
    CSR_PMPCFG0 = 0x3a0,
    CSR_PMPCFG15 = 0x3af,
    CSR_PMPADDR0 = 0x3b0,
    CSR_PMPADDR63 = 0x3ef,
    CSR_SCONTEXT = 0x5a8,
    CSR_TSELECT = 0x7a0,
    CSR_MCONTEXT = 0x7a8,
    CSR_MNSCRATCH = 0x740,
    CSR_MNEPC = 0x741,
    CSR_MNCAUSE = 0x742,
    CSR_MNSTATUS = 0x744,
    CSR_MSECCFG = 0x747,
    CSR_MCYCLE = 0xb00,
    CSR_MINSTRET = 0xb02,
    CSR_MHPMCOUNTER3 = 0xb03,
    CSR_MHPMCOUNTER31 = 0xb1f,
    CSR_CYCLE = 0xc00,
    CSR_TIME = 0xc01,
    CSR_INSTRET = 0xc02,
    CSR_HPMCOUNTER31 = 0xc1f,
    CSR_MVENDORID = 0xf11,
    CSR_MARCHID = 0xf12,
    CSR_MIMPID = 0xf13,
    CSR_MHARTID = 0xf14,
    CSR_MCONFIGPTR = 0xf15,
};

/* clang-format on */

enum { PMP_ENTRIES = 16, PMPCFG_L = 0x80 };
enum { COUNTER_CY = 1, COUNTER_TM = 2, COUNTER_IR = 4 };
#define COUNTERS 0xffffffffull /* all of the counter-enable bits stick */

#define INTERRUPTS_S (1ull << VCPU_IRQ_SSI | 1ull << VCPU_IRQ_STI | 1ull << VCPU_IRQ_SEI)
#define INTERRUPT_LCOF (1ull << VCPU_IRQ_LCOFI)
#define INTERRUPTS_M (1ull << VCPU_IRQ_MSI | 1ull << VCPU_IRQ_MTI | 1ull << VCPU_IRQ_MEI)
/* Exceptions 0..9, 12, 13, 15: those an S-mode handler can get (section 3.1.8). */
#define DELEGABLE 0xb3ffull
#define ENVCFG_FIOM 1ull

/* mstatus bits that software writes; SXL and UXL are fixed at 64, SD is derived (section 3.1.6). */
#define MSTATUS_WRITABLE                                                                                               \
    (MSTATUS_SIE | MSTATUS_MIE | MSTATUS_SPIE | MSTATUS_MPIE | MSTATUS_SPP | MSTATUS_MPP | MSTATUS_FS | MSTATUS_MPRV | \
     MSTATUS_SUM | MSTATUS_MXR | MSTATUS_TVM | MSTATUS_TW | MSTATUS_TSR)
#define SSTATUS_WRITABLE \
    (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR | MSTATUS_SDT | MSTATUS_SPELP)
#define SSTATUS_READABLE (SSTATUS_WRITABLE | MSTATUS_UXL | MSTATUS_SD)
#define XL_FIXED (2ull << 32 | 2ull << 34)

uint64_t csr_get_mstatus(const struct hart *h)
{
    uint64_t value = h->mstatus | XL_FIXED;

    if (h->r.fs_dirty && (value & MSTATUS_FS))
        value |= MSTATUS_FS;
    if ((value & MSTATUS_FS) == MSTATUS_FS)
        value |= MSTATUS_SD;
    return value;
}

/* Those of mstatus that there are: SDT while menvcfg.DTE is set. */
static uint64_t mstatus_fields(const struct hart *h)
{
    return MSTATUS_WRITABLE | (h->isa & ISA_EXT(SMDBLTRP) ? MSTATUS_MDT : 0) |
           (h->menvcfg & MENVCFG_DTE ? MSTATUS_SDT : 0) |
           (h->isa & ISA_EXT(ZICFILP) ? MSTATUS_SPELP | MSTATUS_MPELP : 0);
}

static void set_mstatus_bits(struct hart *h, uint64_t value, uint64_t writable)
{
    /* MPP is WARL: 2 is no mode, the old one stays. */
    if ((value & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT == 2)
        writable &= ~MSTATUS_MPP;
    uint64_t status = ((csr_get_mstatus(h) & ~writable) | (value & writable)) & mstatus_fields(h);
    /* Sections 3.1.6.2 and 12.1.1.5: no interrupts where a trap would be a double one. */
    if (status & MSTATUS_MDT)
        status &= ~MSTATUS_MIE;
    if (status & MSTATUS_SDT)
        status &= ~MSTATUS_SIE;
    uint64_t changed = h->mstatus ^ status;
    h->mstatus = status;
    h->r.fs_dirty = 0;
    h->irq_check = true;
    if (changed & (MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR | MSTATUS_MPRV | MSTATUS_MPP))
        hart_update_context(h);
}

void csr_set_mstatus(struct hart *h, uint64_t value)
{
    set_mstatus_bits(h, value, mstatus_fields(h));
}

uint64_t csr_misa(const struct hart *h)
{
    uint64_t value = 2ull << 62 | 1 << ('S' - 'A') | 1 << ('U' - 'A');

    for (const char *c = "IMAFDC"; *c; c++) {
        static const isa_set bits[26] = {['I' - 'A'] = ISA_EXT(I), ['M' - 'A'] = ISA_EXT(M), ['A' - 'A'] = ISA_EXT(A),
                                         ['F' - 'A'] = ISA_EXT(F), ['D' - 'A'] = ISA_EXT(D), ['C' - 'A'] = ISA_EXT(C)};
        if (h->isa & bits[*c - 'A'])
            value |= 1ull << (*c - 'A');
    }
    return value;
}

/* ---- counters (section 3.1.10) ---- */

/* A counter stands still while inhibited: its offset then holds the value itself. */
static uint64_t counter_read(const struct hart *h, uint64_t offset, unsigned inhibit_bit)
{
    return h->mcountinhibit & inhibit_bit ? offset : hart_retired(h) + offset;
}

/* The value written is what the next instruction reads: the increment of the CSR instruction itself does not show. */
static void counter_write(struct hart *h, uint64_t *offset, unsigned inhibit_bit, uint64_t value)
{
    *offset = h->mcountinhibit & inhibit_bit ? value : value - (hart_retired(h) + 1);
}

static void counter_inhibit(struct hart *h, uint64_t value)
{
    uint64_t cycle = counter_read(h, h->cycle_offset, COUNTER_CY);
    uint64_t instret = counter_read(h, h->instret_offset, COUNTER_IR);

    uint64_t monitors = h->isa & ISA_EXT(ZIHPM) ? ~7ull : 0;

    h->mcountinhibit = value & (COUNTER_CY | COUNTER_IR | monitors) & COUNTERS;
    hpm_update(h, hart_retired(h));
    h->cycle_offset = h->mcountinhibit & COUNTER_CY ? cycle : cycle - hart_retired(h);
    h->instret_offset = h->mcountinhibit & COUNTER_IR ? instret : instret - hart_retired(h);
}

/* Section 3.1.11: a mode below M needs its bit in mcounteren, and U in scounteren too. */
static bool counter_allowed(const struct hart *h, unsigned bit)
{
    if (h->priv < VCPU_PRIV_M && !(h->mcounteren & bit))
        return false;
    return h->priv != VCPU_PRIV_U || (h->scounteren & bit);
}

static bool stimecmp_allowed(const struct hart *h)
{
    if (!(h->isa & ISA_EXT(SSTC)))
        return false;
    return h->priv == VCPU_PRIV_M || ((h->menvcfg & MENVCFG_STCE) && (h->mcounteren & COUNTER_TM));
}

/* ---- environment configuration (sections 3.1.18 and 12.1.10) ---- */

static uint64_t envcfg_fields(const struct hart *h)
{
    return ENVCFG_FIOM | (h->isa & ISA_EXT(ZICFILP) ? ENVCFG_LPE : 0) |
           (h->isa & ISA_EXT(ZICBOM) ? ENVCFG_CBIE | ENVCFG_CBCFE : 0) | (h->isa & ISA_EXT(ZICBOZ) ? ENVCFG_CBZE : 0);
}

static uint64_t senvcfg_fields(const struct hart *h)
{
    /* SSE is read-only zero while menvcfg has it clear. */
    return envcfg_fields(h) | (h->menvcfg & ENVCFG_SSE) | (h->isa & ISA_EXT(SSNPM) ? ENVCFG_PMM : 0);
}

static uint64_t menvcfg_fields(const struct hart *h)
{
    return envcfg_fields(h) | (h->isa & ISA_EXT(ZICFISS) ? ENVCFG_SSE : 0) |
           (h->isa & ISA_EXT(SMNPM) ? ENVCFG_PMM : 0) | (h->isa & ISA_EXT(SSDBLTRP) ? MENVCFG_DTE : 0) |
           (h->isa & ISA_EXT(SSTC) ? MENVCFG_STCE : 0) | (h->isa & ISA_EXT(SVADU) ? MENVCFG_ADUE : 0) |
           (h->isa & ISA_EXT(SVPBMT) ? MENVCFG_PBMTE : 0);
}

/* What becomes of a register on a write: CBIE and PMM are WARL, their reserved values 2 and 1 leave the old one. */
static uint64_t envcfg_written(uint64_t old, uint64_t value, uint64_t fields)
{
    if ((value & ENVCFG_CBIE) == (2ull << 4))
        value = (value & ~ENVCFG_CBIE) | (old & ENVCFG_CBIE);
    if ((value & ENVCFG_PMM) == (1ull << ENVCFG_PMM_SHIFT))
        value = (value & ~ENVCFG_PMM) | (old & ENVCFG_PMM);
    return value & fields;
}

bool csr_cbo_enabled(const struct hart *h, uint64_t field)
{
    if (h->priv < VCPU_PRIV_M && !(h->menvcfg & field))
        return false;
    return h->priv != VCPU_PRIV_U || (h->senvcfg & field);
}

bool csr_ssp_allowed(const struct hart *h)
{
    return h->priv == VCPU_PRIV_M || hart_shadow_stack(h, h->priv);
}

/* ---- state enables (chapter "Smstateen") ---- */

/* Of what the registers control there is senvcfg, the AIA's registers and, one level down, sstateen. What sstateen
 * would control for U-mode (Zfinx's fcsr, Zcmt's jvt) is not there: all zero. */
uint64_t csr_mstateen_fields(const struct hart *h, unsigned i)
{
    if (i)
        return MSTATEEN_SE;
    return MSTATEEN_SE | MSTATEEN0_ENVCFG | (h->isa & ISA_EXT(SDTRIG) ? MSTATEEN0_CONTEXT : 0) |
           (aia_exists(h) ? MSTATEEN0_AIA_ALL : 0);
}

/* May this mode look at state that the bits of mstateen `i` control? */
static bool stateen_allows(const struct hart *h, unsigned i, uint64_t bits)
{
    return h->priv == VCPU_PRIV_M || !(h->isa & ISA_EXT(SMSTATEEN)) || (h->mstateen[i] & bits) == bits;
}

/* ---- PMP (section 3.7.1) ---- */

static bool pmpcfg_read(const struct hart *h, unsigned number, uint64_t *value)
{
    unsigned first = (number - CSR_PMPCFG0) * 4;

    if (number & 1) /* RV64 has the even ones only */
        return false;
    *value = 0;
    for (unsigned i = 0; i < 8; i++)
        *value |= (uint64_t)h->pmpcfg[first + i] << (8 * i);
    return true;
}

/* Smepmp: RLB lifts the locks. */
static bool pmp_locked(const struct hart *h, unsigned i)
{
    return (h->pmpcfg[i] & PMPCFG_L) && !(h->mseccfg & MSECCFG_RLB);
}

/* Smepmp: under MML no rule is added that lets M-mode execute, unless RLB is set. Of the locked ones those are all with
 * X but RWX (shared data, read only), and W alone (shared code). */
static bool pmp_adds_machine_code(const struct hart *h, uint8_t cfg)
{
    if (!(h->mseccfg & MSECCFG_MML) || (h->mseccfg & MSECCFG_RLB) || !(cfg & PMPCFG_L))
        return false;
    return (cfg & 7) == 2 || ((cfg & 4) && (cfg & 7) != 7);
}

/* mseccfg is there when one of its fields is (section 3.1.19). */
static uint64_t mseccfg_fields(const struct hart *h)
{
    return (h->isa & ISA_EXT(SMEPMP) ? MSECCFG_MML | MSECCFG_MMWP | MSECCFG_RLB : 0) |
           (h->isa & ISA_EXT(ZKR) ? MSECCFG_USEED | MSECCFG_SSEED : 0) | (h->isa & ISA_EXT(SMMPM) ? ENVCFG_PMM : 0) |
           (h->isa & ISA_EXT(ZICFILP) ? MSECCFG_MLPE : 0);
}

/* Smepmp: MML and MMWP stay once they are set; RLB cannot be set again while something is locked. */
static void write_mseccfg(struct hart *h, uint64_t value)
{
    uint64_t sticky = h->mseccfg & (MSECCFG_MML | MSECCFG_MMWP);
    bool locked = false;

    for (unsigned i = 0; i < PMP_ENTRIES; i++)
        locked |= pmp_locked(h, i);
    if (locked)
        value &= ~MSECCFG_RLB;
    h->mseccfg = envcfg_written(h->mseccfg, value, mseccfg_fields(h)) | sticky;
    pmp_update(h);
    hart_update_context(h);
}

static bool pmpcfg_write(struct hart *h, unsigned number, uint64_t value)
{
    unsigned first = (number - CSR_PMPCFG0) * 4;

    if (number & 1)
        return false;
    for (unsigned i = 0; i < 8 && first + i < PMP_ENTRIES; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i)) & 0x9f;
        if (pmp_locked(h, first + i) || pmp_adds_machine_code(h, byte))
            continue;
        if ((byte & 3) == 2 && !(h->mseccfg & MSECCFG_MML)) /* W without R is reserved: the old permissions stay */
            byte = (uint8_t)((byte & ~7) | (h->pmpcfg[first + i] & 7));
        h->pmpcfg[first + i] = byte;
    }
    pmp_update(h);
    return true;
}

static void pmpaddr_write(struct hart *h, unsigned i, uint64_t value)
{
    bool next_locks = i + 1 < PMP_ENTRIES && pmp_locked(h, i + 1) && (h->pmpcfg[i + 1] >> 3 & 3) == 1;

    if (i >= PMP_ENTRIES || pmp_locked(h, i) || next_locks)
        return;
    h->pmpaddr[i] = value & ((1ull << 54) - 1);
    pmp_update(h);
}

/* ---- reads ---- */

/* clang-format off: tables, one register a line */

static bool read_fp(struct hart *h, unsigned number, uint64_t *value)
{
    if (!(h->mstatus & MSTATUS_FS))
        return false;
    uint64_t flags = fp_read_flags(h);
    *value = number == CSR_FFLAGS ? flags : number == CSR_FRM ? h->frm : (uint64_t)h->frm << 5 | flags;
    return true;
}

/* Without Zicntr a kernel reads the time all the same: firmware answers for it, which the VM is where it serves the
 * SBI. */
static bool counter_exists(const struct hart *h, unsigned number)
{
    if (number > CSR_INSTRET)
        return h->isa & ISA_EXT(ZIHPM);
    return (h->isa & ISA_EXT(ZICNTR)) || (number == CSR_TIME && h->config.env->ecall);
}

static bool read_counter(struct hart *h, unsigned number, uint64_t *value)
{
    if (!counter_exists(h, number) || !counter_allowed(h, 1u << (number - CSR_CYCLE)))
        return false;
    if (number == CSR_TIME)
        *value = hart_time(h);
    else if (number == CSR_CYCLE)
        *value = counter_read(h, h->cycle_offset, COUNTER_CY);
    else if (number == CSR_INSTRET)
        *value = counter_read(h, h->instret_offset, COUNTER_IR);
    else
        *value = hpm_read(h, number - CSR_CYCLE);
    return true;
}

/* Sscofpmf: below M-mode the bits of the counters that mcounteren shows. */
static bool read_overflows(struct hart *h, uint64_t *value)
{
    hpm_check(h);
    *value = hpm_overflows(h) & (h->priv == VCPU_PRIV_M ? COUNTERS : h->mcounteren);
    return h->isa & ISA_EXT(SSCOFPMF);
}

static bool read_supervisor(struct hart *h, unsigned number, uint64_t *value)
{
    switch (number) {
    case CSR_SSTATUS:
        *value = csr_get_mstatus(h) & SSTATUS_READABLE;
        return true;
    case CSR_SIE:
        *value = h->mie & h->mideleg;
        return true;
    case CSR_SIP:
        *value = hart_mip(h) & h->mideleg;
        return true;
    case CSR_STVEC:
        *value = h->stvec;
        return true;
    case CSR_SCOUNTEREN:
        *value = h->scounteren;
        return true;
    case CSR_SENVCFG:
        *value = h->senvcfg;
        return stateen_allows(h, 0, MSTATEEN0_ENVCFG);
    case CSR_SSCRATCH:
    case CSR_SEPC:
    case CSR_SCAUSE:
    case CSR_STVAL:
        *value = *csr_trap_register(h, number);
        return true;
    case CSR_STIMECMP:
        *value = h->stimecmp;
        return stimecmp_allowed(h);
    case CSR_SCOUNTOVF:
        return read_overflows(h, value);
    case CSR_SCONTEXT:
        return stateen_allows(h, 0, MSTATEEN0_CONTEXT) && triggers_csr_read(h, number, value);
    case CSR_SATP:
        *value = h->satp;
        return h->priv == VCPU_PRIV_M || !(h->mstatus & MSTATUS_TVM);
    default:
        *value = 0;
        return number >= CSR_SSTATEEN0 && number <= CSR_SSTATEEN3 && (h->isa & ISA_EXT(SSSTATEEN)) &&
               stateen_allows(h, number - CSR_SSTATEEN0, MSTATEEN_SE);
    }
}

/* Smrnmi. */
static bool read_nmi(const struct hart *h, unsigned number, uint64_t *value)
{
    switch (number) {
    case CSR_MNSCRATCH:
        *value = h->mnscratch;
        break;
    case CSR_MNEPC:
        *value = h->mnepc;
        break;
    case CSR_MNCAUSE:
        *value = h->mncause;
        break;
    case CSR_MNSTATUS:
        *value = h->mnstatus;
        break;
    default:
        return false;
    }
    return h->isa & ISA_EXT(SMRNMI);
}

static bool read_machine(struct hart *h, unsigned number, uint64_t *value)
{
    switch (number) {
    case CSR_MSTATUS:
        *value = csr_get_mstatus(h);
        return true;
    case CSR_MISA:
        *value = csr_misa(h);
        return true;
    case CSR_MEDELEG:
        *value = h->medeleg;
        return true;
    case CSR_MIDELEG:
        *value = h->mideleg;
        return true;
    case CSR_MIE:
        *value = h->mie;
        return true;
    case CSR_MIP:
        *value = hart_mip(h);
        return true;
    case CSR_MTVEC:
        *value = h->mtvec;
        return true;
    case CSR_MCOUNTEREN:
        *value = h->mcounteren;
        return true;
    case CSR_MCOUNTINHIBIT:
        *value = h->mcountinhibit;
        return true;
    case CSR_MENVCFG:
        *value = h->menvcfg;
        return true;
    case CSR_MSCRATCH:
        *value = h->mscratch;
        return true;
    case CSR_MEPC:
        *value = h->mepc;
        return true;
    case CSR_MCAUSE:
        *value = h->mcause;
        return true;
    case CSR_MTVAL:
        *value = h->mtval;
        return true;
    case CSR_MTVAL2:
        *value = h->mtval2;
        return h->isa & ISA_EXT(SSDBLTRP);
    case CSR_MCYCLE:
        *value = counter_read(h, h->cycle_offset, COUNTER_CY);
        return true;
    case CSR_MINSTRET:
        *value = counter_read(h, h->instret_offset, COUNTER_IR);
        return true;
    case CSR_MHARTID:
        *value = h->config.hart_id;
        return true;
    case CSR_MVENDORID:
    case CSR_MARCHID:
    case CSR_MIMPID:
    case CSR_MCONFIGPTR:
        *value = 0;
        return true;
    default:
        break;
    }
    if (number >= CSR_PMPCFG0 && number <= CSR_PMPCFG15)
        return pmpcfg_read(h, number, value);
    if (number >= CSR_PMPADDR0 && number <= CSR_PMPADDR63) {
        *value = h->pmpaddr[number - CSR_PMPADDR0];
        return true;
    }
    if (number == CSR_MSECCFG) {
        *value = h->mseccfg;
        return mseccfg_fields(h) != 0;
    }
    if (number >= CSR_TSELECT && number <= CSR_MCONTEXT)
        return triggers_csr_read(h, number, value);
    if (number >= CSR_MNSCRATCH && number <= CSR_MNSTATUS)
        return read_nmi(h, number, value);
    if (number >= CSR_MSTATEEN0 && number <= CSR_MSTATEEN3) {
        *value = h->mstateen[number - CSR_MSTATEEN0];
        return h->isa & ISA_EXT(SMSTATEEN);
    }
    /* Without Zihpm all of the monitors are zero and stay so. */
    if (number >= CSR_MHPMEVENT3 && number <= CSR_MHPMEVENT31) {
        hpm_check(h);
        *value = h->hpm_event[number - CSR_MHPMEVENT3 + HPM_FIRST];
        return true;
    }
    if (number >= CSR_MHPMCOUNTER3 && number <= CSR_MHPMCOUNTER31) {
        *value = hpm_read(h, number - CSR_MHPMCOUNTER3 + HPM_FIRST);
        return true;
    }
    return false;
}

static bool csr_read(struct hart *h, unsigned number, uint64_t *value)
{
    switch (number) {
    case CSR_FFLAGS:
    case CSR_FRM:
    case CSR_FCSR:
        return (h->isa & ISA_EXT(F)) && read_fp(h, number, value);
    case CSR_SSP:
        *value = h->ssp;
        return (h->isa & ISA_EXT(ZICFISS)) && csr_ssp_allowed(h);
    default:
        if (number >= CSR_CYCLE && number <= CSR_HPMCOUNTER31)
            return read_counter(h, number, value);
        return (number >> 8 & 3) == VCPU_PRIV_S ? read_supervisor(h, number, value) : read_machine(h, number, value);
    }
}

/* ---- writes ---- */

static uint64_t overflow_interrupt(const struct hart *h)
{
    return h->isa & ISA_EXT(SSCOFPMF) ? INTERRUPT_LCOF : 0;
}

static void write_monitor(struct hart *h, unsigned number, uint64_t value)
{
    if (!(h->isa & ISA_EXT(ZIHPM)))
        return;
    hpm_check(h);
    if (number >= CSR_MHPMEVENT3 && number <= CSR_MHPMEVENT31)
        hpm_event_write(h, number - CSR_MHPMEVENT3 + HPM_FIRST, value);
    else if (number >= CSR_MHPMCOUNTER3 && number <= CSR_MHPMCOUNTER31)
        hpm_write(h, number - CSR_MHPMCOUNTER3 + HPM_FIRST, value);
}

static void write_fp(struct hart *h, unsigned number, uint64_t value)
{
    if (number != CSR_FRM)
        fp_write_flags(h, value & 0x1f);
    if (number != CSR_FFLAGS) {
        fp_write_frm(h, (number == CSR_FRM ? value : value >> 5) & 7);
        hart_update_context(h);
    }
    h->r.fs_dirty = 1;
}

static void write_tvec(uint64_t *tvec, uint64_t value)
{
    if (!(value & 2)) /* modes 2 and 3 are reserved: WARL, nothing changes */
        *tvec = value;
}

/* Bits of sip that S-mode may write: SSIP and LCOFIP, where they are delegated (section 12.1.3, Sscofpmf). */
static void write_sip(struct hart *h, uint64_t value)
{
    uint64_t writable = (1ull << VCPU_IRQ_SSI | overflow_interrupt(h)) & h->mideleg;

    h->mip = (h->mip & ~writable) | (value & writable);
    /* A line-driven SSIP (SBI's IPI) is cleared by the guest too. */
    atomic_fetch_and(&h->lines, ~(writable & ~value));
    h->irq_check = true;
}

static void write_mip(struct hart *h, uint64_t value)
{
    uint64_t writable = INTERRUPTS_S | overflow_interrupt(h);

    if (h->menvcfg & MENVCFG_STCE) /* Sstc: STIP is read-only */
        writable &= ~(1ull << VCPU_IRQ_STI);
    h->mip = (h->mip & ~writable) | (value & writable);
    if (!(value >> VCPU_IRQ_SSI & 1))
        atomic_fetch_and(&h->lines, ~(1ull << VCPU_IRQ_SSI));
    h->irq_check = true;
}

bool csr_satp_mode_exists(const struct hart *h, uint64_t mode)
{
    switch (mode) {
    case 0:
    case SATP_MODE_SV39:
        return true;
    case SATP_MODE_SV48:
        return h->isa & ISA_EXT(SV48);
    case SATP_MODE_SV57:
        return h->isa & ISA_EXT(SV57);
    default:
        return false;
    }
}

static void write_satp(struct hart *h, uint64_t value)
{
    uint64_t mode = value >> SATP_MODE_SHIFT;

    /* Section 12.1.11: a write with an unsupported mode has no effect. */
    if (!csr_satp_mode_exists(h, mode))
        return;
    /* What was cached under one number of levels means nothing under another. */
    if (mode && mode != h->tlb_mode) {
        if (h->tlb_mode)
            tlb_flush(h->tlb, NULL, NULL);
        h->tlb_mode = (uint8_t)mode;
    }
    h->satp = value;
    hart_update_context(h);
}

static bool write_supervisor(struct hart *h, unsigned number, uint64_t value)
{
    switch (number) {
    case CSR_SSTATUS:
        set_mstatus_bits(h, value, SSTATUS_WRITABLE);
        return true;
    case CSR_SIE:
        h->mie = (h->mie & ~h->mideleg) | (value & h->mideleg);
        h->irq_check = true;
        return true;
    case CSR_SIP:
        write_sip(h, value);
        return true;
    case CSR_STVEC:
        write_tvec(&h->stvec, value);
        return true;
    case CSR_SCOUNTEREN:
        h->scounteren = value & COUNTERS;
        return true;
    case CSR_SENVCFG:
        h->senvcfg = envcfg_written(h->senvcfg, value, senvcfg_fields(h));
        hart_update_context(h);
        return true;
    case CSR_SSCRATCH:
    case CSR_SEPC:
    case CSR_SCAUSE:
    case CSR_STVAL:
        *csr_trap_register(h, number) = csr_trap_value(h, number, value);
        return true;
    case CSR_STIMECMP:
        if (!stimecmp_allowed(h))
            return false;
        h->stimecmp = value;
        hart_update_timers(h);
        return true;
    case CSR_SCONTEXT:
        triggers_csr_write(h, number, value);
        return true;
    case CSR_SATP:
        write_satp(h, value);
        return true;
    default:
        return true; /* sstateen: zero; what is not there or not allowed did not get here */
    }
}

/* Smrnmi: NMIE can be set and not cleared; 2 is no mode. */
static void write_mnstatus(struct hart *h, uint64_t value)
{
    if ((value & MNSTATUS_MNPP) >> MSTATUS_MPP_SHIFT == 2)
        value = (value & ~MNSTATUS_MNPP) | (h->mnstatus & MNSTATUS_MNPP);
    h->mnstatus = (value & (MNSTATUS_MNPP | MNSTATUS_NMIE | (h->isa & ISA_EXT(ZICFILP) ? MNSTATUS_MNPELP : 0))) |
                  (h->mnstatus & MNSTATUS_NMIE);
    h->irq_check = true;
    hart_update_context(h); /* MPRV counts from now on */
}

static bool write_machine(struct hart *h, unsigned number, uint64_t value)
{
    switch (number) {
    case CSR_MSTATUS:
        csr_set_mstatus(h, value);
        return true;
    case CSR_MISA:
        return true; /* WARL: nothing can be switched off */
    case CSR_MEDELEG:
        h->medeleg =
            value & (DELEGABLE | (h->isa & (ISA_EXT(ZICFILP) | ISA_EXT(ZICFISS)) ? 1ull << CAUSE_SOFTWARE_CHECK : 0));
        return true;
    case CSR_MIDELEG:
        h->mideleg = value & (INTERRUPTS_S | overflow_interrupt(h));
        break;
    case CSR_MIE:
        h->mie = value & (INTERRUPTS_S | INTERRUPTS_M | overflow_interrupt(h));
        break;
    case CSR_MIP:
        write_mip(h, value);
        return true;
    case CSR_MTVEC:
        write_tvec(&h->mtvec, value);
        return true;
    case CSR_MCOUNTEREN:
        h->mcounteren = value & COUNTERS;
        return true;
    case CSR_MCOUNTINHIBIT:
        counter_inhibit(h, value);
        return true;
    case CSR_MENVCFG:
        h->menvcfg = envcfg_written(h->menvcfg, value, menvcfg_fields(h));
        if (!(h->menvcfg & MENVCFG_DTE)) /* SDT is read-only zero then (section 3.1.18) */
            h->mstatus &= ~MSTATUS_SDT;
        h->senvcfg &= senvcfg_fields(h);
        tlb_flush(h->tlb, NULL, NULL);
        hart_update_context(h);
        hart_update_timers(h);
        return true;
    case CSR_MSECCFG:
        write_mseccfg(h, value);
        return true;
    case CSR_MSCRATCH:
        h->mscratch = value;
        return true;
    case CSR_MEPC:
        h->mepc = csr_epc_value(h, value);
        return true;
    case CSR_MCAUSE:
        h->mcause = value;
        return true;
    case CSR_MTVAL:
        h->mtval = value;
        return true;
    case CSR_MTVAL2:
        h->mtval2 = value;
        return true;
    case CSR_MNSCRATCH:
        h->mnscratch = value;
        return true;
    case CSR_MNEPC:
        h->mnepc = csr_epc_value(h, value);
        return true;
    case CSR_MNCAUSE:
        h->mncause = value;
        return true;
    case CSR_MNSTATUS:
        write_mnstatus(h, value);
        return true;
    case CSR_MCYCLE:
        counter_write(h, &h->cycle_offset, COUNTER_CY, value);
        return true;
    case CSR_MINSTRET:
        counter_write(h, &h->instret_offset, COUNTER_IR, value);
        return true;
    default:
        if (number >= CSR_PMPCFG0 && number <= CSR_PMPCFG15)
            return pmpcfg_write(h, number, value);
        if (number >= CSR_PMPADDR0 && number <= CSR_PMPADDR63)
            pmpaddr_write(h, number - CSR_PMPADDR0, value);
        else if (number >= CSR_TSELECT && number <= CSR_MCONTEXT)
            triggers_csr_write(h, number, value);
        else if (number >= CSR_MSTATEEN0 && number <= CSR_MSTATEEN3)
            h->mstateen[number - CSR_MSTATEEN0] = value & csr_mstateen_fields(h, number - CSR_MSTATEEN0);
        write_monitor(h, number, value);
        return true;
    }
    h->irq_check = true;
    return true;
}

static bool csr_write(struct hart *h, unsigned number, uint64_t value)
{
    switch (number) {
    case CSR_FFLAGS:
    case CSR_FRM:
    case CSR_FCSR:
        write_fp(h, number, value);
        return true;
    case CSR_SSP:
        h->ssp = value & ~7ull; /* UXLEN is never 32 here */
        return true;
    default:
        return (number >> 8 & 3) == VCPU_PRIV_S ? write_supervisor(h, number, value) : write_machine(h, number, value);
    }
}

/* clang-format on */

/* For set and clear of mip the value written back must not hold what only the lines say: SEIP as an external line would
 * stick (section 3.1.9). */
static uint64_t modify_base(const struct hart *h, unsigned number, uint64_t value)
{
    if (number == CSR_MIP)
        return h->mip | (value & (1ull << VCPU_IRQ_SSI));
    return value;
}

bool csr_access(struct hart *h, unsigned number, bool read, bool write, uint64_t operand, int op)
{
    uint64_t value = 0;

    /* Section 2.1: bits 11:10 all ones are read-only, bits 9:8 the lowest privilege. */
    if ((write && number >> 10 == 3) || h->priv < (number >> 8 & 3))
        return false;
    if (aia_is_csr(h, number))
        return stateen_allows(h, 0, aia_state_enable(h, number)) && aia_access(h, number, write, operand, op);
    /* Chapter "Zkr": an access that does not write is none, and what is written does not matter. */
    if (number == CSR_SEED) {
        if (!(h->isa & ISA_EXT(ZKR)) || !write || !seed_allowed(h))
            return false;
        h->csr_old = seed_read(h);
        return true;
    }
    /* Existence and access are checked by reading, also for a write that does not read: no other CSR has a read side
     * effect. */
    if (!csr_read(h, number, &value))
        return false;
    h->csr_old = value;
    (void)read;
    if (!write)
        return true;
    if (op == CSR_OP_SET)
        operand = modify_base(h, number, value) | operand;
    else if (op == CSR_OP_CLEAR)
        operand = modify_base(h, number, value) & ~operand;
    return csr_write(h, number, operand);
}
