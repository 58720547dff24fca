/* CSRs: which exist for whom, what sticks when they are written, and the counters' gates.
 * Privileged Architecture 1.13, chapter 2 and sections 3.1 and 12.1; Zicntr; Sstc.
 *
 * One line for each CSR that may be read: a missing line is an illegal access.
 */
#include "rt.h"

static const char mode_name[] = {'U', 'S', '?', 'M'};

/* ---- existence ---- */

/* Reads and writes nothing: CSRRS with rs1 = x0 does not write (Zicsr). The debug and trigger registers are left out:
 * having them is optional. */
static bool optional_debug(unsigned csr)
{
    return (csr >= 0x5a8 && csr <= 0x5ab) || (csr >= 0x6a8 && csr <= 0x6ab) || (csr >= 0x7a0 && csr <= 0x7bf);
}

static void existence(const char *what, int priv)
{
    for (unsigned csr = 0; csr < 4096; csr++) {
        if (optional_debug(csr))
            continue;
        uint32_t insn = rt_csrrs(11, csr, 0);
        struct outcome out = rt_run1(priv, insn, 0, 0, 0);
        if (!out.trapped)
            rt_print("csr.%s.%c.%x: ok", what, mode_name[priv], (uint64_t)csr);
        rt_expect(!out.trapped || (out.cause == CAUSE_ILLEGAL && out.tval == insn), "csr.read.%c.%x: %s",
                  mode_name[priv], (uint64_t)csr, rt_describe(&out, (uint64_t)rt_code_buffer));
        /* Bits 9:8 are the lowest privilege that may access (section 2.1). */
        rt_expect(out.trapped || (csr >> 8 & 3) <= (unsigned)priv, "csr.read.%c: %x readable", mode_name[priv],
                  (uint64_t)csr);
    }
}

/* Writes to read-only CSRs (bits 11:10 are 11) are illegal in every form that writes, also when the value would not
 * change. */
static void read_only(void)
{
    static const struct {
        const char *name;
        uint32_t funct3, rs1;
        bool writes;
    } forms[] = {{"csrrw", 1, 12, true},    {"csrrs", 2, 12, true},    {"csrrc", 3, 12, true},
                 {"csrrs_x0", 2, 0, false}, {"csrrc_x0", 3, 0, false}, {"csrrwi", 5, 0, true},
                 {"csrrsi", 6, 1, true},    {"csrrci", 7, 1, true},    {"csrrsi_0", 6, 0, false},
                 {"csrrci_0", 7, 0, false}, {"csrrw_x0", 1, 0, true}};
    static const uint32_t csrs[] = {0xf11, 0xf12, 0xf13, 0xf14, 0xf15, 0xc00, 0xc01, 0xc02, 0xc03, 0xc1f};
    for (unsigned c = 0; c < RT_COUNT(csrs); c++)
        for (unsigned f = 0; f < RT_COUNT(forms); f++)
            for (uint32_t rd = 0; rd < 12; rd += 11) {
                uint32_t insn = rt_i(0x73, forms[f].funct3, rd, forms[f].rs1, csrs[c]);
                struct outcome out = rt_run1(RT_M, insn, 0, 0, 0);
                rt_print("csr.readonly.%x.%s.rd%d: %s", (uint64_t)csrs[c], forms[f].name, (int64_t)rd,
                         rt_describe(&out, (uint64_t)rt_code_buffer));
                rt_expect(out.trapped == forms[f].writes, "csr.readonly.%x.%s", (uint64_t)csrs[c], forms[f].name);
            }
}

/* ---- counter gates ---- */

/* cycle, time and instret in S- and U-mode under each combination of mcounteren and scounteren (section 3.1.11). */
static void counter_gates(void)
{
    for (uint64_t m = 0; m < 8; m++)
        for (uint64_t s = 0; s < 8; s++) {
            rt_csr_write(mcounteren, m);
            rt_csr_write(scounteren, s);
            for (uint32_t counter = 0; counter < 3; counter++) {
                struct outcome in_s = rt_run1(RT_S, rt_csrrs(11, 0xc00 + counter, 0), 0, 0, 0);
                struct outcome in_u = rt_run1(RT_U, rt_csrrs(11, 0xc00 + counter, 0), 0, 0, 0);
                rt_print("counteren.m%d.s%d.%x: S %s, U %s", m, s, 0xc00ull + counter, in_s.trapped ? "illegal" : "ok",
                         in_u.trapped ? "illegal" : "ok");
                rt_expect(in_s.trapped == !(m >> counter & 1), "counteren.m%d.s%d.%x: S", m, s, 0xc00ull + counter);
                rt_expect(in_u.trapped == !(m & s & 1u << counter), "counteren.m%d.s%d.%x: U", m, s,
                          0xc00ull + counter);
            }
        }
    rt_csr_write(mcounteren, 7);
    rt_csr_write(scounteren, 7);
}

/* stimecmp from S-mode wants menvcfg.STCE and mcounteren.TM (Sstc). */
static void stimecmp_gate(void)
{
    for (uint64_t bits = 0; bits < 4; bits++) {
        rt_csr_clear(menvcfg, 1ull << 63);
        rt_csr_set(menvcfg, bits & 1 ? 1ull << 63 : 0);
        rt_csr_write(mcounteren, bits & 2 ? 2 : 0);
        for (int priv = RT_M; priv >= RT_S; priv -= 2) {
            struct outcome out = rt_run1(priv, rt_csrrs(11, 0x14d, 0), 0, 0, 0);
            rt_print("stimecmp.stce%d.tm%d.%c: %s", bits & 1, bits >> 1, mode_name[priv],
                     out.trapped ? "illegal" : "ok");
            if (priv == RT_S)
                rt_expect(out.trapped == (bits != 3), "stimecmp.stce%d.tm%d", bits & 1, bits >> 1);
        }
    }
    rt_csr_set(menvcfg, 1ull << 63);
    rt_csr_write(mcounteren, 7);
}

/* In one probe, so that a handler's own use of the CSR does not come between: swap in a0, read back into a1, restore.
 */
static uint64_t written(uint32_t csr, uint64_t value)
{
    uint32_t code[] = {rt_csrrw(12, csr, 10), rt_csrrs(11, csr, 0), rt_csrrw(0, csr, 12)};
    struct outcome out = rt_run(RT_M, code, 3, value, 0, 0);
    return out.trapped ? 0xdeadull << 48 | out.cause : out.a1;
}

/* senvcfg and sstateen below M-mode want their bits of mstateen (Smstateen). */
static void state_enables(void)
{
    static const struct {
        uint32_t csr;
        unsigned stateen; /* its mstateen, */
        uint64_t bit;     /* and the bit there */
    } gated[] = {{0x10a, 0, 1ull << 62},
                 {0x10c, 0, 1ull << 63},
                 {0x10d, 1, 1ull << 63},
                 {0x10e, 2, 1ull << 63},
                 {0x10f, 3, 1ull << 63}};
    static const int privs[] = {RT_M, RT_S, RT_U};
    for (unsigned on = 0; on < 3; on++) {
        for (unsigned i = 0; i < RT_COUNT(gated); i++) {
            /* 0: nothing, 1: everything but the bit, 2: the bit alone. */
            uint64_t value = on == 0 ? 0 : on == 1 ? ~gated[i].bit : gated[i].bit;
            rt_csr_write(0x30c, gated[i].stateen == 0 ? value : on == 1 ? -1ull : 0);
            rt_csr_write(0x30d, gated[i].stateen == 1 ? value : on == 1 ? -1ull : 0);
            rt_csr_write(0x30e, gated[i].stateen == 2 ? value : on == 1 ? -1ull : 0);
            rt_csr_write(0x30f, gated[i].stateen == 3 ? value : on == 1 ? -1ull : 0);
            for (unsigned p = 0; p < 3; p++)
                for (unsigned write = 0; write < 2; write++) {
                    uint32_t insn = write ? rt_csrrw(11, gated[i].csr, 10) : rt_csrrs(11, gated[i].csr, 0);
                    struct outcome out = rt_run1(privs[p], insn, 0, 0, 0);
                    rt_print("stateen.%d.%x.%c.%s: %s", (int64_t)on, (uint64_t)gated[i].csr, mode_name[privs[p]],
                             write ? "write" : "read", rt_describe(&out, (uint64_t)rt_code_buffer));
                    bool want = privs[p] == RT_M || (privs[p] == RT_S && on == 2);
                    rt_expect(out.trapped == !want && (want || out.cause == CAUSE_ILLEGAL), "stateen.%d.%x.%c",
                              (int64_t)on, (uint64_t)gated[i].csr, mode_name[privs[p]]);
                }
        }
    }
    rt_csr_write(0x30c, -1ull);
    rt_csr_write(0x30d, -1ull);
    rt_csr_write(0x30e, -1ull);
    rt_csr_write(0x30f, -1ull);
    for (uint32_t csr = 0x10c; csr < 0x110; csr++)
        rt_expect(written(csr, -1ull) == 0, "stateen.zero.%x", (uint64_t)csr);
}

/* seed is read by what writes alone, and below M-mode where mseccfg says so (Zkr). What is written does not matter. */
static void seed_gates(void)
{
    static const struct {
        const char *name;
        uint32_t funct3, rs1;
        bool writes;
    } forms[] = {{"csrrw", 1, 10, true},    {"csrrw_x0", 1, 0, true},  {"csrrs", 2, 10, true},
                 {"csrrs_x0", 2, 0, false}, {"csrrc_x0", 3, 0, false}, {"csrrwi", 5, 0, true},
                 {"csrrsi", 6, 1, true},    {"csrrsi_0", 6, 0, false}, {"csrrci_0", 7, 0, false}};
    static const int privs[] = {RT_M, RT_S, RT_U};
    for (uint64_t gates = 0; gates < 4; gates++) {
        rt_csr_write(0x747, gates << 8);
        for (unsigned p = 0; p < 3; p++)
            for (unsigned f = 0; f < RT_COUNT(forms); f++) {
                uint32_t insn = rt_i(0x73, forms[f].funct3, 11, forms[f].rs1, 0x015);
                struct outcome out = rt_run1(privs[p], insn, -1ull, 0, 0);
                rt_print("seed.%d.%c.%s: %s opst=%d", gates, mode_name[privs[p]], forms[f].name,
                         rt_describe(&out, (uint64_t)rt_code_buffer), out.trapped ? 0 : out.a1 >> 30 & 3);
                bool open = privs[p] == RT_M || (gates >> (privs[p] == RT_S) & 1);
                rt_expect(out.trapped == !(open && forms[f].writes) && (out.trapped || out.a1 >> 30 == 2),
                          "seed.%d.%c.%s", gates, mode_name[privs[p]], forms[f].name);
            }
    }
    rt_csr_write(0x747, 0);
    unsigned alike = 0;
    uint64_t last = -1ull;
    for (unsigned i = 0; i < 64; i++) {
        struct outcome out = rt_run1(RT_M, rt_csrrw(11, 0x015, 0), 0, 0, 0);
        alike += out.a1 == last;
        last = out.a1;
    }
    rt_expect(alike < 8, "seed: %d of 64 are as the one before", (int64_t)alike);
}

/* ---- WARL ---- */

struct warl {
    const char *name;
    uint32_t csr;
    uint64_t writes; /* bits that are written: other values are reserved, and what they become is free */
    uint64_t mask;   /* bits compared: the rest is free to an implementation */
};

#define ALL (-1ull)
#define XLS (15ull << 32) /* UXL and SXL: 32-bit modes are optional */
#define CAUSES ((1ull << 63) | 15)

#define STATEEN0 (3ull << 62) /* of mstateen0: SE0 and ENVCFG; the others are of other extensions */

static const struct warl warl[] = {
    {"fflags", 0x001, ALL, ALL},
    {"frm", 0x002, ALL, ALL},
    {"fcsr", 0x003, ALL, ALL},
    {"sstatus", 0x100, ALL, ~XLS},
    {"sie", 0x104, ALL, 0x222},
    {"stvec", 0x105, ~2ull, ALL},
    {"scounteren", 0x106, ALL, 7},
    {"senvcfg", 0x10a, ~0x100000020ull, 2ull << 32 | 0xd1}, /* PMM as 0 or 2, CBZE, CBCFE, CBIE as 0 or 1, FIOM */
    {"sscratch", 0x140, ALL, ALL},
    {"sepc", 0x141, ~1ull, ALL},
    {"scause", 0x142, CAUSES, ALL},
    {"stval", 0x143, ALL, ALL},
    {"sip", 0x144, ALL, 2},
    {"stimecmp", 0x14d, ALL, ALL},
    {"satp", 0x180, ~(7ull << 60), ALL},
    {"mstatus", 0x300, ~(1ull << 12), ~XLS}, /* MPP 2 is reserved: 0 and 1 here, 3 with the traps */
    {"medeleg", 0x302, ALL, 0xb1fe}, /* misaligned fetches cannot happen with C; cause 9's delegation is of no use */
    {"mideleg", 0x303, ALL, 0x222},
    {"mie", 0x304, ALL, 0xaaa},
    {"mtvec", 0x305, ~2ull, ALL},
    {"mcounteren", 0x306, ALL, 7},
    {"menvcfg", 0x30a, ~0x100000020ull,
     7ull << 61 | 1ull << 59 | 2ull << 32 | 0xd1}, /* STCE, PBMTE, ADUE, DTE, and those */
    {"mseccfg", 0x747, 3ull << 8, 3ull << 8},      /* SSEED, USEED; others are sticky, PMM is in pmask.c */
    {"mtval2", 0x34b, ALL, ALL},
    {"mstateen0", 0x30c, ALL, STATEEN0 | 6},
    {"mstateen1", 0x30d, ALL, ALL},
    {"mstateen3", 0x30f, ALL, ALL},
    {"sstateen0", 0x10c, ALL, 0xffffffff}, /* the upper half is for higher modes: zero, not so in QEMU */
    {"sstateen1", 0x10d, ALL, 0xffffffff},
    {"mcountinhibit", 0x320, ALL, 7},
    {"mscratch", 0x340, ALL, ALL},
    {"mepc", 0x341, ~1ull, ALL},
    {"mcause", 0x342, CAUSES, ALL},
    {"mtval", 0x343, ALL, ALL},
    /* MTIP, MSIP, MEIP and STIP (menvcfg.STCE = 1) follow lines, SEIP may: only SSIP is plain. */
    {"mip", 0x344, 2, 2},
    {"pmpaddr15", 0x3bf, ALL, (1ull << 54) - 1},
};

static void warl_fields(void)
{
    static const uint64_t values[] = {-1ull, 0, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa};
    for (unsigned i = 0; i < RT_COUNT(warl); i++)
        for (unsigned v = 0; v < RT_COUNT(values); v++)
            rt_print("warl.%s.%d: %x", warl[i].name, (int64_t)v,
                     written(warl[i].csr, values[v] & warl[i].writes) & warl[i].mask);
}

/* Every bit alone: a bit that sticks only together with another would hide behind the patterns above. */
static void warl_bits(void)
{
    for (unsigned i = 0; i < RT_COUNT(warl); i++) {
        uint64_t sticks = 0, others = 0;
        uint64_t zero = written(warl[i].csr, 0) & warl[i].mask;
        for (unsigned bit = 0; bit < 64; bit++) {
            if (!(warl[i].writes >> bit & 1))
                continue;
            uint64_t got = (written(warl[i].csr, 1ull << bit) & warl[i].mask) ^ zero;
            sticks |= got & 1ull << bit;
            others |= got & ~(1ull << bit);
        }
        rt_print("warlbits.%s: sticks=%x others=%x zero=%x", warl[i].name, sticks, others, zero);
    }
}

static void mstatus_fields(void)
{
    for (uint64_t mpp = 0; mpp < 4; mpp++) {
        uint64_t got = written(0x300, (rt_csr_read(mstatus) & ~MSTATUS_MPP(3)) | MSTATUS_MPP(mpp));
        if (mpp != 2)
            rt_print("mstatus.mpp%d: %d", mpp, (int64_t)(got >> 11 & 3));
        rt_expect(mpp == 2 ? (got >> 11 & 3) != 2 : (got >> 11 & 3) == mpp, "mstatus.mpp%d: %d", mpp,
                  (int64_t)(got >> 11 & 3));
    }
    for (uint64_t mode = 0; mode < 16; mode++) {
        rt_csr_write(satp, 0);
        uint64_t got = written(0x180, mode << 60 | 0x80000);
        rt_print("satp.mode%d: %x", mode, got);
        /* A write with an unsupported mode has no effect at all (section 12.1.11). */
        if (mode != 0 && (mode < 8 || mode > 10))
            rt_expect(got == 0, "satp.mode%d: %x", mode, got);
    }
    /* Physical addresses have 56 bits: the rest of pmpaddr is zero (section 3.7.1). */
    rt_expect(written(0x3bf, -1ull) >> 54 == 0, "pmpaddr15: %x", written(0x3bf, -1ull));
    rt_print("satp.asid: %x", written(0x180, 8ull << 60 | 0xffffull << 44) >> 44);
    /* sstatus, sie and sip are windows onto mstatus, mie and mip through mideleg. */
    for (unsigned bit = 0; bit < 16; bit++) {
        rt_csr_write(mideleg, 1ull << bit);
        rt_csr_write(mie, -1ull);
        uint64_t sie_full = rt_csr_read(sie);
        rt_csr_write(sie, 0);
        rt_print("mideleg.%d: mideleg=%x sie=%x mie=%x", (int64_t)bit, rt_csr_read(mideleg) & 0x222, sie_full & 0x222,
                 rt_csr_read(mie) & 0xaaa);
        rt_csr_write(mie, 0);
    }
    rt_csr_write(mideleg, 0x222);
    rt_csr_write(mip, 2);
    rt_print("sip.ssip: mip=%x sip=%x", rt_csr_read(mip) & 2, rt_csr_read(sip) & 2);
    rt_csr_write(sip, 0);
    rt_print("sip.cleared: mip=%x", rt_csr_read(mip) & 2);
    rt_expect(!(rt_csr_read(mip) & 2), "sip.cleared");
    rt_csr_write(mideleg, 0);
    rt_csr_write(mip, 2);
    rt_csr_write(sip, 0);
    rt_print("sip.not_delegated: mip=%x sip=%x", rt_csr_read(mip) & 2, rt_csr_read(sip) & 2);
    rt_csr_write(mip, 0);
}

/* The hart's identity: misa as configured, the rest readable. */
static void identity(void)
{
    rt_print("mstatus.xl: %x", rt_csr_read(mstatus) >> 32 & 15);
    rt_print("misa: %x", rt_csr_read(misa));
    rt_print("misa.ones: %x", written(0x301, -1ull));
    rt_print("mhartid: %x", rt_csr_read(mhartid));
    rt_print("mconfigptr: %x", rt_csr_read(mconfigptr));
    rt_expect(rt_csr_read(misa) == (2ull << 62 | 0x14112d), "misa %x", rt_csr_read(misa));
}

/* CSR instructions read before they write, and do so with rd = rs1. */
static void read_modify_write(void)
{
    static const struct {
        const char *name;
        uint32_t insn;
        uint64_t rd, csr;
    } cases[] = {
        {"csrrw", 0x34059573, 0xff00ff00ff00ff00, 0x0ff00ff00ff00ff0}, /* csrrw a0, mscratch, a1 */
        {"csrrs", 0x3405a573, 0xff00ff00ff00ff00, 0xfff0fff0fff0fff0},
        {"csrrc", 0x3405b573, 0xff00ff00ff00ff00, 0xf000f000f000f000},
        {"csrrwi", 0x340fd573, 0xff00ff00ff00ff00, 0x1f},
        {"csrrsi", 0x340fe573, 0xff00ff00ff00ff00, 0xff00ff00ff00ff1f},
        {"csrrci", 0x340ff573, 0xff00ff00ff00ff00, 0xff00ff00ff00ff00},
        {"csrrw_same", 0x34051573, 0xff00ff00ff00ff00, 0x123}, /* csrrw a0, mscratch, a0 */
        {"csrrs_same", 0x34052573, 0xff00ff00ff00ff00, 0xff00ff00ff00ff23},
    };
    for (unsigned i = 0; i < RT_COUNT(cases); i++) {
        /* mscratch belongs to the trap handler: swapped in and out around the instruction. */
        uint32_t code[] = {0x340612f3 /* csrrw t0, mscratch, a2 */, cases[i].insn,
                           0x340295f3 /* csrrw a1, mscratch, t0 */};
        struct outcome out = rt_run(RT_M, code, 3, 0x123, 0x0ff00ff00ff00ff0, 0xff00ff00ff00ff00);
        rt_print("csr.rmw.%s: %s rd=%x csr=%x", cases[i].name, rt_describe(&out, (uint64_t)rt_code_buffer), out.a0,
                 out.a1);
        bool same = i >= 6;
        rt_expect(out.a0 == cases[i].rd, "csr.rmw.%s: rd", cases[i].name);
        rt_expect(out.a1 == (same && i == 7 ? (0xff00ff00ff00ff00 | 0x123) : cases[i].csr), "csr.rmw.%s: csr",
                  cases[i].name);
    }
}

void bare_main(void)
{
    rt_csr_write(mcounteren, 7);
    rt_csr_write(scounteren, 7);
    identity();
    existence("read", RT_M);
    existence("read", RT_S);
    existence("read", RT_U);
    rt_csr_write(mcounteren, 0);
    existence("gated", RT_S);
    rt_csr_write(mcounteren, 7);
    read_only();
    read_modify_write();
    counter_gates();
    stimecmp_gate();
    state_enables();
    seed_gates();
    warl_fields();
    warl_bits();
    mstatus_fields();
}
