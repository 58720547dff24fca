/* Ssdbltrp: menvcfg.DTE, sstatus.SDT and SIE, the double trap of S-mode in M-mode, returns (Privileged Architecture,
 * section 12.1.1.5 and chapter "Ssdbltrp").
 */
#include "rt.h"

#define DTE (1ull << 59)
#define SDT (1ull << 24)
enum { CAUSE_DOUBLE = 16 };

static uint64_t status_bits(uint64_t value)
{
    return value & (SDT | MSTATUS_SIE);
}

/* In one probe, so that no trap comes between: a0 into the register, read back, everything clear again. */
static uint64_t written(uint32_t csr, uint64_t first, uint64_t second)
{
    uint32_t code[] = {rt_csrrw(0, csr, 10), rt_csrrw(0, csr, 11), rt_csrrs(11, csr, 0), rt_csrrw(0, csr, 0)};
    struct outcome out = rt_run(RT_M, code, 4, first, second, 0);
    return out.trapped ? -1ull : status_bits(out.a1);
}

static void fields(void)
{
    static const uint64_t values[] = {0, SDT, MSTATUS_SIE, SDT | MSTATUS_SIE};
    static const uint32_t csrs[] = {0x300, 0x100};
    for (unsigned on = 0; on < 2; on++) {
        rt_csr_clear(menvcfg, DTE);
        rt_csr_set(menvcfg, on ? DTE : 0);
        rt_print("dte.%d: %x", (int64_t)on, rt_csr_read(menvcfg) & DTE);
        for (unsigned c = 0; c < 2; c++)
            for (unsigned i = 0; i < 4; i++)
                for (unsigned j = 0; j < 4; j++) {
                    uint64_t got = written(csrs[c], values[i], values[j]);
                    rt_print("sdt.%d.%x.%d.%d: %x", (int64_t)on, (uint64_t)csrs[c], (int64_t)i, (int64_t)j, got);
                    uint64_t want = values[j];
                    if (!on)
                        want &= ~SDT;
                    if (want & SDT)
                        want &= ~MSTATUS_SIE;
                    rt_expect(got == want, "sdt.%d.%x.%d.%d: %x", (int64_t)on, (uint64_t)csrs[c], (int64_t)i,
                              (int64_t)j, got);
                }
    }
    rt_csr_set(mstatus, SDT);
    rt_csr_clear(menvcfg, DTE);
    rt_expect(!(rt_csr_read(mstatus) & SDT) && !(rt_csr_read(sstatus) & SDT), "sdt.without_dte");
    rt_csr_write(medeleg, 1ull << CAUSE_DOUBLE);
    rt_print("medeleg.16: %x", rt_csr_read(medeleg) >> CAUSE_DOUBLE & 1);
    rt_expect(!(rt_csr_read(medeleg) >> CAUSE_DOUBLE & 1), "medeleg.16");
    rt_csr_write(medeleg, 0);
}

static struct outcome run_with(int priv, uint64_t status, uint32_t insn, uint64_t a0)
{
    rt_csr_clear(mstatus, SDT | MSTATUS_SIE);
    rt_csr_set(mstatus, status);
    return rt_run1(priv, insn, a0, 0, 0);
}

static void traps(void)
{
    static const struct {
        const char *name;
        uint32_t insn;
        uint64_t cause, tval;
    } cases[] = {{"illegal", 0xffffffff, 2, 0xffffffff},
                 {"break", 0x00100073, 3, (uint64_t)rt_code_buffer},
                 {"load", 0x00053583, 5, RT_HOLE}};
    rt_csr_write(medeleg, 0xb1ff);
    for (unsigned on = 0; on < 2; on++)
        for (unsigned sdt = 0; sdt < 2; sdt++)
            for (unsigned i = 0; i < RT_COUNT(cases); i++)
                for (int priv = RT_U; priv <= RT_S; priv++) {
                    rt_csr_clear(menvcfg, DTE);
                    rt_csr_set(menvcfg, on ? DTE : 0);
                    rt_csr_write(0x34b, 0x77);
                    struct outcome out = run_with(priv, sdt ? SDT : 0, cases[i].insn, RT_HOLE);
                    uint64_t tval2 = rt_csr_read(0x34b), now = rt_csr_read(mstatus);
                    rt_print("trap.dte%d.sdt%d.%s.%d: %s status=%x tval2=%x", (int64_t)on, (int64_t)sdt, cases[i].name,
                             (int64_t)priv, rt_describe(&out, (uint64_t)rt_code_buffer),
                             out.status & (SDT | MSTATUS_SPP | MSTATUS_SIE), out.by == 'M' ? tval2 : 0);
                    /* To U-mode nothing brings SDT along: MRET clears it. */
                    bool twice = on && sdt && priv == RT_S;
                    rt_expect(out.trapped && out.by == (twice ? 'M' : 'S') &&
                                  out.cause == (twice ? CAUSE_DOUBLE : cases[i].cause) && out.tval == cases[i].tval &&
                                  out.epc == (uint64_t)rt_code_buffer,
                              "trap.dte%d.sdt%d.%s.%d: %s", (int64_t)on, (int64_t)sdt, cases[i].name, (int64_t)priv,
                              rt_describe(&out, (uint64_t)rt_code_buffer));
                    rt_expect(!twice || tval2 == cases[i].cause, "trap.tval2: %x", tval2);
                    rt_expect(twice || !(out.status & SDT) == !on, "trap.sets_sdt: %x", out.status);
                    rt_expect(!twice || (now & SDT), "trap.keeps_sdt: %x", now);
                }
    /* Another trap into M-mode has nothing to say there. */
    rt_csr_write(0x34b, 0x77);
    rt_run1(RT_M, 0xffffffff, 0, 0, 0);
    rt_print("tval2: %x", rt_csr_read(0x34b));
    rt_expect(rt_csr_read(0x34b) == 0, "tval2: %x", rt_csr_read(0x34b));
    rt_csr_write(medeleg, 0);
}

/* MRET to U-mode and any SRET clear SDT, MRET to S-mode keeps it. */
static void returns(void)
{
    rt_csr_set(menvcfg, DTE);
    for (int priv = RT_U; priv <= RT_M; priv += priv == RT_S ? 2 : 1) {
        run_with(priv, SDT, RT_NOP, 0);
        rt_print("mret.%d: %x", (int64_t)priv, rt_csr_read(mstatus) & SDT);
        rt_expect(!(rt_csr_read(mstatus) & SDT) == (priv == RT_U), "mret.%d", (int64_t)priv);
    }
    static const int from[] = {RT_S, RT_M};
    for (unsigned f = 0; f < 2; f++)
        for (unsigned spp = 0; spp < 2; spp++) {
            /* sepc in a0 is behind the sret */
            uint32_t code[] = {rt_csrrw(0, 0x141, 10), 0x10200073, RT_NOP};
            rt_csr_clear(mstatus, MSTATUS_SPP);
            rt_csr_set(mstatus, SDT | (spp ? MSTATUS_SPP : 0));
            struct outcome out = rt_run(from[f], code, 3, (uint64_t)rt_code_buffer + 8, 0, 0);
            rt_print("sret.%d.%d: %s %x", (int64_t)from[f], (int64_t)spp, rt_describe(&out, (uint64_t)rt_code_buffer),
                     rt_csr_read(mstatus) & SDT);
            rt_expect(!out.trapped && !(rt_csr_read(mstatus) & SDT), "sret.%d.%d", (int64_t)from[f], (int64_t)spp);
        }
    rt_csr_clear(menvcfg, DTE);
}

void bare_main(void)
{
    fields();
    traps();
    returns();
}
