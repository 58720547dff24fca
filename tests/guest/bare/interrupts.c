/* Interrupts: which mode takes which, priorities, vectors, the timers, WFI, and the PLIC with the UART behind it.
 * Privileged Architecture 1.13, sections 3.1.6.1, 3.1.9, 3.3.3; Sstc; the PLIC specification 1.0.
 */
#include "rt.h"

enum { SSI = 1, MSI = 3, STI = 5, MTI = 7, SEI = 9, MEI = 11 };
static const uint8_t sources[] = {MEI, MSI, MTI, SEI, SSI, STI}; /* in descending priority, section 3.1.9 */
static const char *const source_name[] = {
    [1] = "SSI", [3] = "MSI", [5] = "STI", [7] = "MTI", [9] = "SEI", [11] = "MEI"};
static const int modes[] = {RT_M, RT_S, RT_U};
static const char mode_name[] = {'U', 'S', '?', 'M'};

#define CODE ((uint64_t)rt_code_buffer)
#define S_BITS 0x222ull
#define STCE (1ull << 63)

/* PLIC registers of contexts 0 (M) and 1 (S) of hart 0. */
static volatile uint32_t *plic(uint64_t offset)
{
    return rt_mmio32(RT_PLIC + offset);
}

enum { PLIC_PENDING = 0x1000, PLIC_ENABLE = 0x2000, PLIC_CONTEXT = 0x200000 };

static volatile uint32_t *plic_enable(unsigned context)
{
    return plic(PLIC_ENABLE + 0x80 * context);
}

static volatile uint32_t *plic_threshold(unsigned context)
{
    return plic(PLIC_CONTEXT + 0x1000 * context);
}

static volatile uint32_t *plic_claim(unsigned context)
{
    return plic(PLIC_CONTEXT + 0x1000 * context + 4);
}

/* THRE: enabling it with an empty transmitter raises the line; reading IIR or disabling lowers it. */
static void uart_interrupt(bool on)
{
    volatile uint8_t *uart = (volatile uint8_t *)RT_UART;
    while (!(uart[5] & 0x40))
        ;
    uart[1] = on ? 2 : 0;
}

static void clear_source(unsigned source)
{
    switch (source) {
    case SSI:
    case SEI:
        rt_csr_clear(mip, 1ull << source);
        break;
    case MSI:
        *rt_mmio32(RT_MSIP(0)) = 0;
        break;
    case STI:
        rt_csr_write(stimecmp, -1ull);
        break;
    case MTI:
        *rt_mmio64(RT_MTIMECMP(0)) = -1ull;
        break;
    default:
        uart_interrupt(false);
        *plic_enable(0) = 0;
        /* What was latched while enabled is taken out of the gateway. */
        *plic_enable(1) = 1u << RT_UART_IRQ;
        for (uint32_t id = *plic_claim(1); id; id = *plic_claim(1))
            *plic_claim(1) = id;
        *plic_enable(1) = 0;
    }
}

static void raise_source(unsigned source)
{
    switch (source) {
    case SSI:
    case SEI:
        rt_csr_set(mip, 1ull << source);
        break;
    case MSI:
        *rt_mmio32(RT_MSIP(0)) = 1;
        break;
    case STI:
        rt_csr_write(stimecmp, 0);
        break;
    case MTI:
        *rt_mmio64(RT_MTIMECMP(0)) = 0;
        break;
    default:
        *plic(4 * RT_UART_IRQ) = 1;
        *plic_threshold(0) = 0;
        *plic_enable(0) = 1u << RT_UART_IRQ;
        uart_interrupt(true);
    }
}

/* Waits until mip shows the line: a device may need a moment. */
static bool pending(unsigned source)
{
    for (unsigned i = 0; i < 1000000; i++)
        if (rt_csr_read(mip) >> source & 1)
            return true;
    return false;
}

static void clear_all(void)
{
    for (unsigned i = 0; i < RT_COUNT(sources); i++)
        clear_source(sources[i]);
    rt_csr_write(mie, 0);
    rt_csr_write(mideleg, 0);
    rt_csr_clear(mstatus, MSTATUS_MPIE | MSTATUS_SIE | MSTATUS_SPIE);
}

/* ---- who takes what ---- */

static bool taken(unsigned source, int priv, bool mie, bool sie, bool delegated, char *by)
{
    *by = delegated ? 'S' : 'M';
    if (delegated)
        return priv == RT_U || (priv == RT_S && sie);
    return priv != RT_M || mie;
}

static void gating_case(unsigned source, int priv, unsigned bits)
{
    bool mie = bits & 1, sie = bits & 2, deleg = bits & 4, enabled = bits & 8;
    static const uint32_t nops[] = {RT_NOP, RT_NOP, RT_NOP, RT_NOP};
    raise_source(source);
    rt_expect(pending(source), "gate.%s: not pending", source_name[source]);
    rt_csr_write(mideleg, deleg ? S_BITS : 0);
    rt_csr_write(mie, enabled ? 1ull << source : 0);
    rt_csr_set(mstatus, (mie ? MSTATUS_MPIE : 0) | (sie ? MSTATUS_SIE : 0));
    struct outcome out = rt_run(priv, nops, 4, 0, 0, 0);
    clear_all();
    rt_print("gate.%s.%c.mie%d.sie%d.deleg%d.enabled%d: %s", source_name[source], mode_name[priv], (int64_t)mie,
             (int64_t)sie, (int64_t)deleg, (int64_t)enabled, rt_describe(&out, CODE));
    char by;
    bool want = enabled && taken(source, priv, mie, sie, deleg && (S_BITS >> source & 1), &by);
    rt_expect(out.trapped == want, "gate.%s.%c.%d", source_name[source], mode_name[priv], (int64_t)bits);
    if (want)
        rt_expect(out.by == by && out.cause == (CAUSE_INTERRUPT | source) && out.epc == CODE && out.tval == 0,
                  "gate.%s.%c.%d: %s", source_name[source], mode_name[priv], (int64_t)bits, rt_describe(&out, CODE));
}

static void gating(void)
{
    for (unsigned s = 0; s < RT_COUNT(sources); s++)
        for (unsigned m = 0; m < RT_COUNT(modes); m++)
            for (unsigned bits = 0; bits < 16; bits++)
                gating_case(sources[s], modes[m], bits);
}

/* ---- priorities: every set of sources pending at once ---- */

static void priority_case(unsigned set, bool deleg, int priv)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < RT_COUNT(sources); i++)
        if (set >> i & 1) {
            raise_source(sources[i]);
            pending(sources[i]);
            bits |= 1ull << sources[i];
        }
    rt_csr_write(mideleg, deleg ? S_BITS : 0);
    rt_csr_write(mie, bits);
    rt_csr_set(mstatus, MSTATUS_MPIE | MSTATUS_SIE);
    uint32_t nop = RT_NOP;
    struct outcome out = rt_run(priv, &nop, 1, 0, 0, 0);
    clear_all();
    rt_print("priority.%x.%c.deleg%d: %s", bits, mode_name[priv], (int64_t)deleg, rt_describe(&out, CODE));
    uint64_t want = 0;
    for (unsigned i = RT_COUNT(sources); i-- > 0;)
        if ((set >> i & 1) && deleg && priv != RT_M && (S_BITS >> sources[i] & 1))
            want = sources[i];
    for (unsigned i = RT_COUNT(sources); i-- > 0;)
        if ((set >> i & 1) && !(deleg && (S_BITS >> sources[i] & 1)))
            want = sources[i];
    rt_expect(out.trapped == (want != 0) && (!want || out.cause == (CAUSE_INTERRUPT | want)), "priority.%x.%c.%d", bits,
              mode_name[priv], (int64_t)deleg);
}

static void priorities(void)
{
    for (unsigned set = 0; set < 64; set++)
        for (unsigned deleg = 0; deleg < 2; deleg++)
            for (unsigned m = 0; m < 3; m++)
                priority_case(set, deleg, modes[m]);
}

/* ---- vectored mode ---- */

_Static_assert(offsetof(struct hart, note) == 456, "interrupts_vectors.S: NOTE");

static void vectored(void)
{
    extern char interrupts_vectors_m[], interrupts_vectors_s[], rt_trap_entry_m[], rt_trap_entry_s[];
    for (unsigned i = 0; i < RT_COUNT(sources); i++)
        for (unsigned deleg = 0; deleg < 2; deleg++)
            for (unsigned mode = 0; mode < 2; mode++) {
                raise_source(sources[i]);
                pending(sources[i]);
                rt_csr_write(mideleg, deleg ? S_BITS : 0);
                rt_csr_write(mie, 1ull << sources[i]);
                /* In direct mode the tables' base serves every cause. */
                rt_csr_write(mtvec, (uint64_t)interrupts_vectors_m | mode);
                rt_csr_write(stvec, (uint64_t)interrupts_vectors_s | mode);
                rt_self()->note[0] = 99;
                uint32_t nop = RT_NOP;
                struct outcome out = rt_run(RT_U, &nop, 1, 0, 0, 0);
                /* The S-mode handler's way out is an ECALL through M-mode's base entry, which notes 0. */
                uint64_t slot = rt_self()->note[0];
                rt_csr_write(mtvec, rt_trap_entry_m);
                rt_csr_write(stvec, rt_trap_entry_s);
                clear_all();
                bool s = deleg && (S_BITS >> sources[i] & 1);
                rt_print("vector.%s.deleg%d.mode%d: %s slot=%d", source_name[sources[i]], (int64_t)deleg, (int64_t)mode,
                         rt_describe(&out, CODE), s ? -1 : (int64_t)slot);
                rt_expect(out.trapped && out.by == (s ? 'S' : 'M'), "vector.%s", source_name[sources[i]]);
                if (!s)
                    rt_expect(slot == (mode ? sources[i] : 0), "vector.%s: slot %d", source_name[sources[i]],
                              (int64_t)slot);
            }
}

/* The slot taken in S-mode, seen by a hook before anything else happens. */
static bool note_s_slot(struct hart *hart, char mode)
{
    if (mode == 'S')
        hart->note[2] = hart->note[0];
    return false;
}

static void vectored_s(void)
{
    extern char interrupts_vectors_s[], rt_trap_entry_s[];
    rt_self()->hook = note_s_slot;
    for (unsigned i = 0; i < RT_COUNT(sources); i++) {
        if (!(S_BITS >> sources[i] & 1))
            continue;
        raise_source(sources[i]);
        rt_csr_write(mideleg, S_BITS);
        rt_csr_write(mie, 1ull << sources[i]);
        rt_csr_write(stvec, (uint64_t)interrupts_vectors_s | 1);
        rt_self()->note[2] = 99;
        uint32_t nop = RT_NOP;
        struct outcome out = rt_run(RT_U, &nop, 1, 0, 0, 0);
        uint64_t slot = rt_self()->note[2];
        rt_csr_write(stvec, rt_trap_entry_s);
        clear_all();
        rt_print("vector_s.%s: %s slot=%d", source_name[sources[i]], rt_describe(&out, CODE), (int64_t)slot);
        rt_expect(slot == sources[i], "vector_s.%s: slot %d", source_name[sources[i]], (int64_t)slot);
    }
    rt_self()->hook = 0;
}

/* ---- when an interrupt becomes possible ---- */

/* A pending interrupt that an instruction enables is taken before the next one (section 3.1.9): epc shows it. */
static void enabled_by_instruction(void)
{
    static const struct {
        const char *name;
        uint32_t insn; /* value in a0 */
        uint64_t a0, mie;
        int priv;
        bool deleg, open; /* open: xIE is set from the start */
    } cases[] = {
        {"csrs_mstatus", 0x30052073, MSTATUS_MIE, 1 << MSI, RT_M, false, false},
        {"csrsi_mstatus", 0x30046073, 0, 1 << MSI, RT_M, false, false},
        {"csrw_mie", 0x30451073, 1 << MSI, 0, RT_M, false, true},
        {"csrs_mie", 0x30452073, 1 << MSI, 0, RT_M, false, true},
        {"csrs_mip", 0x34452073, 1 << SSI, 1 << SSI, RT_M, false, true},
        {"csrs_sstatus", 0x10052073, MSTATUS_SIE, 1 << SSI, RT_S, true, false},
        {"csrsi_sstatus", 0x10016073, 0, 1 << SSI, RT_S, true, false},
        {"csrs_sie", 0x10452073, 1 << SSI, 0, RT_S, true, true},
        {"csrs_sip", 0x14452073, 1 << SSI, 1 << SSI, RT_S, true, true},
        {"csrc_mideleg", 0x30353073, S_BITS, 1 << SSI, RT_M, true, true},
    };
    for (unsigned i = 0; i < RT_COUNT(cases); i++) {
        const uint32_t code[] = {RT_NOP, cases[i].insn, RT_NOP, RT_NOP, RT_NOP};
        bool by_pending = cases[i].insn >> 20 == 0x344 || cases[i].insn >> 20 == 0x144;
        if (!by_pending)
            raise_source(cases[i].mie == 1 << MSI || cases[i].a0 == 1 << MSI ? MSI : SSI);
        rt_csr_write(mideleg, cases[i].deleg ? S_BITS : 0);
        rt_csr_write(mie, cases[i].mie);
        if (cases[i].open)
            rt_csr_set(mstatus, cases[i].priv == RT_M ? MSTATUS_MPIE : MSTATUS_SIE);
        struct outcome out = rt_run(cases[i].priv, code, 5, cases[i].a0, 0, 0);
        clear_all();
        rt_print("enable.%s: %s", cases[i].name, rt_describe(&out, CODE));
        rt_expect(out.trapped && out.epc == CODE + 8, "enable.%s: %s", cases[i].name, rt_describe(&out, CODE));
    }
}

/* ---- timers ---- */

static void timers(void)
{
    rt_csr_set(menvcfg, STCE);
    for (unsigned s = 0; s < 2; s++) {
        unsigned source = s ? STI : MTI;
        uint64_t deadline, ahead = 20000; /* 2 ms at 10 MHz, and more where a busy host lets it pass at once */
        bool before;
        do {
            deadline = *rt_mmio64(RT_MTIME) + ahead;
            if (s)
                rt_csr_write(stimecmp, deadline);
            else
                *rt_mmio64(RT_MTIMECMP(0)) = deadline;
            before = rt_csr_read(mip) >> source & 1;
            ahead *= 4;
        } while (*rt_mmio64(RT_MTIME) >= deadline && ahead < 60000000);
        rt_csr_write(mie, 1ull << source);
        rt_csr_set(mstatus, MSTATUS_MPIE);
        /* j . : only the interrupt ends it */
        struct outcome out = rt_run1(RT_M, 0x0000006f, 0, 0, 0);
        uint64_t now = *rt_mmio64(RT_MTIME);
        bool after = rt_csr_read(mip) >> source & 1;
        clear_source(source);
        bool cleared = !(rt_csr_read(mip) >> source & 1);
        rt_print("timer.%s: before=%d %s due=%d after=%d cleared=%d", source_name[source], (int64_t)before,
                 rt_describe(&out, CODE), (int64_t)(now >= deadline), (int64_t)after, (int64_t)cleared);
        rt_expect(!before && out.trapped && now >= deadline && after && cleared, "timer.%s", source_name[source]);
        clear_all();
    }
    /* STIP belongs to stimecmp: software cannot set it (Sstc). */
    rt_csr_write(stimecmp, -1ull);
    rt_csr_set(mip, 1 << STI);
    rt_print("timer.stip_written: %d", (int64_t)(rt_csr_read(mip) >> STI & 1));
    rt_expect(!(rt_csr_read(mip) >> STI & 1), "timer.stip_written");
    /* Without STCE it is software's again. */
    rt_csr_clear(menvcfg, STCE);
    rt_csr_set(mip, 1 << STI);
    bool set = rt_csr_read(mip) >> STI & 1;
    rt_csr_clear(mip, 1 << STI);
    rt_print("timer.stip_without_sstc: %d %d", (int64_t)set, (int64_t)(rt_csr_read(mip) >> STI & 1));
    rt_expect(set && !(rt_csr_read(mip) >> STI & 1), "timer.stip_without_sstc");
    rt_csr_set(menvcfg, STCE);
    /* time, mtime and each other: monotonic and the same clock. */
    uint64_t a = *rt_mmio64(RT_MTIME), b = rt_csr_read(time), c = *rt_mmio64(RT_MTIME);
    rt_print("timer.same_clock: %d", (int64_t)(a <= b && b <= c));
    rt_expect(a <= b && b <= c, "timer.same_clock");
    clear_all();
}

/* ---- WFI ---- */

/* WFI; NOP. With the interrupt enabled globally the trap comes with epc behind WFI (section 3.3.3), else execution goes
 * on. A "later" interrupt that came before WFI was reached (a busy host) says nothing of it: the case starts again with
 * four times as much time, up to 2 s. */
static void wfi_case(const char *what, unsigned source, int priv, bool global, bool deleg, bool later)
{
    static const uint32_t code[] = {0x10500073, RT_NOP, RT_NOP};
    struct outcome out;
    uint64_t deadline, ahead = 20000;
    do {
        clear_all();
        rt_csr_write(mideleg, deleg ? S_BITS : 0);
        deadline = *rt_mmio64(RT_MTIME) + ahead;
        if (!later)
            raise_source(source);
        else if (source == STI)
            rt_csr_write(stimecmp, deadline);
        else
            *rt_mmio64(RT_MTIMECMP(0)) = deadline;
        rt_csr_write(mie, 1ull << source);
        if (global)
            rt_csr_set(mstatus, priv == RT_M ? MSTATUS_MPIE : MSTATUS_SIE);
        out = rt_run(priv, code, 3, 0, 0, 0);
        ahead *= 4;
    } while (later && out.trapped && out.epc == CODE && ahead < 60000000);
    bool due = !later || *rt_mmio64(RT_MTIME) >= deadline;
    bool still = rt_csr_read(mip) >> source & 1;
    clear_all();
    rt_print("wfi.%s.%s.%c.global%d.deleg%d: %s due=%d pending=%d", what, source_name[source], mode_name[priv],
             (int64_t)global, (int64_t)deleg, rt_describe(&out, CODE), (int64_t)due, (int64_t)still);
    bool traps = priv == RT_M ? global && !deleg : !deleg || global;
    rt_expect(due && still && out.trapped == traps, "wfi.%s.%s.%c.%d.%d", what, source_name[source], mode_name[priv],
              (int64_t)global, (int64_t)deleg);
    if (traps)
        rt_expect(out.epc == (later ? CODE + 4 : CODE), "wfi.%s.%s.%c: epc", what, source_name[source],
                  mode_name[priv]);
}

static void wfi(void)
{
    for (unsigned global = 0; global < 2; global++) {
        wfi_case("later", MTI, RT_M, global, false, true);
        wfi_case("later", MTI, RT_S, global, false, true);
        wfi_case("later", STI, RT_M, global, false, true);
        wfi_case("later", STI, RT_M, global, true, true);
        wfi_case("later", STI, RT_S, global, true, true);
        wfi_case("now", MSI, RT_M, global, false, false);
        wfi_case("now", SSI, RT_M, global, true, false);
        wfi_case("now", SSI, RT_S, global, true, false);
        wfi_case("now", SEI, RT_S, global, true, false);
        wfi_case("now", MEI, RT_M, global, false, false);
    }
}

/* ---- PLIC ---- */

static void plic_registers(void)
{
    *plic(4 * 1) = 0xffffffff;
    *plic(0) = 0xffffffff;
    *plic_enable(0) = 0xffffffff;
    *plic_threshold(0) = 0xffffffff;
    uint32_t source0 = *plic(0), enable = *plic_enable(0);
    uint64_t priority = *plic(4), threshold = *plic_threshold(0);
    *plic(4) = 0;
    *plic_enable(0) = 0;
    *plic_threshold(0) = 0;
    rt_print("plic.priority_ones: %x", priority);
    rt_print("plic.threshold_ones: %x", threshold);
    rt_print("plic.source0: priority=%x", (uint64_t)source0);
    rt_expect(!(enable & 1), "plic.source0: can be enabled");
    rt_print("plic.idle_claim: %x", (uint64_t)*plic_claim(0));
    rt_expect(source0 == 0 && *plic_claim(0) == 0, "plic.source0");
}

static uint64_t meip(void)
{
    return rt_csr_read(mip) >> MEI & 1;
}

static uint64_t seip(void)
{
    return rt_csr_read(mip) >> SEI & 1;
}

/* One interrupt of the UART from level to completion. Values are collected first: printing uses the UART. */
static void plic_flow(void)
{
    uint64_t seen[12];
    *plic(4 * RT_UART_IRQ) = 3;
    *plic_threshold(0) = *plic_threshold(1) = 0;
    *plic_enable(0) = *plic_enable(1) = 1u << RT_UART_IRQ;
    uart_interrupt(true);
    pending(MEI);
    seen[0] = meip() | seip() << 1;
    seen[1] = *plic(PLIC_PENDING) >> RT_UART_IRQ & 1;
    seen[2] = *plic_claim(0);
    seen[3] = meip() | seip() << 1;
    seen[4] = *plic_claim(1); /* claimed by the other context: nothing is left */
    *plic_claim(0) = (uint32_t)seen[2];
    seen[5] = meip() | seip() << 1; /* the level is still high: pending again */
    seen[6] = *plic_claim(1);
    seen[7] = ((volatile uint8_t *)RT_UART)[2] & 0xf; /* IIR: THRE, and reading it lowers the line */
    *plic_claim(1) = (uint32_t)seen[6];
    seen[8] = meip() | seip() << 1;
    seen[9] = ((volatile uint8_t *)RT_UART)[2] & 0xf;
    clear_all();
    rt_print("plic.flow.raised: lines=%x pending=%x", seen[0], seen[1]);
    rt_print("plic.flow.claim: id=%x lines=%x other=%x", seen[2], seen[3], seen[4]);
    rt_print("plic.flow.still_high: lines=%x id=%x", seen[5], seen[6]);
    rt_print("plic.flow.iir: %x then lines=%x iir=%x", seen[7], seen[8], seen[9]);
    rt_expect(seen[0] == 3 && seen[2] == RT_UART_IRQ && seen[3] == 0 && seen[4] == 0 && seen[5] == 3 &&
                  seen[6] == RT_UART_IRQ && seen[7] == 2 && seen[8] == 0 && seen[9] == 1,
              "plic.flow");
}

/* Priority must be above the threshold, and 0 never interrupts. */
static void plic_thresholds(void)
{
    for (uint32_t priority = 0; priority < 8; priority++)
        for (uint32_t threshold = 0; threshold < 8; threshold++) {
            *plic(4 * RT_UART_IRQ) = priority;
            *plic_threshold(0) = threshold;
            *plic_enable(0) = 1u << RT_UART_IRQ;
            uart_interrupt(true);
            uint64_t line = meip();
            uint64_t id = *plic_claim(0);
            if (id)
                *plic_claim(0) = (uint32_t)id;
            *plic_threshold(0) = 0;
            clear_all();
            rt_print("plic.priority%d.threshold%d: line=%d", (int64_t)priority, (int64_t)threshold, (int64_t)line);
            rt_print("plic.claim.priority%d.threshold%d: id=%d", (int64_t)priority, (int64_t)threshold, (int64_t)id);
            /* The threshold holds back the line, not the claim (PLIC 1.0, chapter 8). */
            rt_expect(id == (priority ? RT_UART_IRQ : 0), "plic.claim.priority%d.threshold%d: id=%d", (int64_t)priority,
                      (int64_t)threshold, (int64_t)id);
            rt_expect(line == (priority > threshold), "plic.priority%d.threshold%d", (int64_t)priority,
                      (int64_t)threshold);
        }
}

static void plic_edges(void)
{
    /* Not enabled: pending, but no line and no claim. */
    *plic(4 * RT_UART_IRQ) = 1;
    *plic_enable(0) = *plic_enable(1) = 0;
    uart_interrupt(true);
    uint64_t lines = meip() | seip() << 1, pending_bit = *plic(PLIC_PENDING) >> RT_UART_IRQ & 1, id = *plic_claim(0);
    *plic_enable(0) = 1u << RT_UART_IRQ;
    uint64_t enabled = meip();
    /* Completing what was never claimed, or what this context does not enable, changes nothing. */
    *plic_claim(0) = 33;
    *plic_claim(0) = 0;
    *plic_claim(0) = 0xffffffff;
    uint64_t after = meip();
    clear_all();
    rt_print("plic.disabled: lines=%x pending=%x id=%x", lines, pending_bit, id);
    rt_print("plic.enabled_late: line=%x", enabled);
    rt_print("plic.odd_completions: line=%x", after);
    rt_expect(!lines && pending_bit && !id && enabled && after, "plic.disabled");
}

/* The real thing: an interrupt to M- and to S-mode through the PLIC. */
static void plic_delivery(void)
{
    for (unsigned context = 0; context < 2; context++) {
        *plic(4 * RT_UART_IRQ) = 1;
        *plic_enable(context) = 1u << RT_UART_IRQ;
        uart_interrupt(true);
        rt_csr_write(mideleg, S_BITS);
        rt_csr_write(mie, 1 << MEI | 1 << SEI);
        struct outcome out = rt_run1(RT_U, 0x0000006f, 0, 0, 0);
        uint32_t id = *plic_claim(context);
        uart_interrupt(false);
        *plic_claim(context) = id;
        uint64_t left = rt_csr_read(mip) & (1 << MEI | 1 << SEI);
        clear_all();
        rt_print("plic.delivery.context%d: %s id=%d left=%x", (int64_t)context, rt_describe(&out, CODE), (int64_t)id,
                 left);
        rt_expect(out.trapped && out.by == (context ? 'S' : 'M') && id == RT_UART_IRQ && !left, "plic.delivery.%d",
                  (int64_t)context);
    }
}

void bare_main(void)
{
    rt_csr_write(mcounteren, 7);
    rt_csr_set(menvcfg, STCE);
    clear_all();
    gating();
    priorities();
    vectored();
    vectored_s();
    enabled_by_instruction();
    timers();
    wfi();
    plic_registers();
    plic_flow();
    plic_thresholds();
    plic_edges();
    plic_delivery();
}
