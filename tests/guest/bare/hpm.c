/* Performance monitors: what each event counts, exactly; inhibition, filters by mode, overflow and its interrupt.
 * Privileged Architecture 1.13, section 3.1.10; Zihpm; Sscofpmf. What an implementation counts is its own, so most of
 * this is checked by the program itself and not printed.
 */
#include "rt.h"

enum { CYCLES = 1, INSTRUCTIONS, PAGE_WALKS, EXCEPTIONS, INTERRUPTS, DEVICE_ACCESSES };
enum { MHPMCOUNTER4 = 0xb04, HPMCOUNTER4 = 0xc04, SCOUNTOVF = 0xda0, LCOFI = 13 };
#define OF (1ull << 63)
#define MINH (1ull << 62)
#define SINH (1ull << 61)
#define UINH (1ull << 60)
#define COUNTER4 (1u << 4)

static const char mode_name[] = {'U', 'S', '?', 'M'};
static uint64_t root[512] __attribute__((aligned(4096)));

/* a0 = mhpmcounter4's growth over `count` NOPs and the first read. */
static struct outcome nops(int priv, unsigned count)
{
    uint32_t code[80], n = 0, csr = priv == RT_M ? MHPMCOUNTER4 : HPMCOUNTER4;
    code[n++] = rt_csrrs(11, csr, 0);
    for (unsigned i = 0; i < count; i++)
        code[n++] = RT_NOP;
    code[n++] = rt_csrrs(10, csr, 0);
    code[n++] = 0x40b50533; /* sub a0, a0, a1 */
    return rt_run(priv, code, n, 0, 0, 0);
}

static void instructions(void)
{
    static const int modes[] = {RT_M, RT_S, RT_U};
    for (uint64_t event = CYCLES; event <= INSTRUCTIONS; event++)
        for (unsigned m = 0; m < 3; m++)
            for (uint64_t filter = 0; filter < 8; filter++) {
                rt_csr_write(mhpmevent4, event | filter << 60);
                struct outcome out = nops(modes[m], 20);
                static const uint64_t bit[] = {1, 2, 0, 4};
                bool counts = !(filter & bit[modes[m]]);
                rt_expect(out.a0 == (counts ? 21 : 0), "event%d.%c.filter%d: %d", (int64_t)event, mode_name[modes[m]],
                          (int64_t)filter, (int64_t)out.a0);
            }
    rt_csr_write(mhpmevent4, INSTRUCTIONS);
    rt_csr_write(mcountinhibit, COUNTER4);
    rt_expect(nops(RT_M, 5).a0 == 0, "inhibited");
    rt_csr_write(mhpmcounter4, 77);
    rt_expect(rt_csr_read(mhpmcounter4) == 77, "inhibited.write");
    rt_csr_write(mcountinhibit, 0);
    rt_expect(nops(RT_M, 5).a0 == 6, "resumed");
    /* A write is what the next instruction reads. */
    static const uint32_t code[] = {0xb0461073 /* csrw mhpmcounter4, a2 */, 0xb0402573, RT_NOP, 0xb04025f3};
    struct outcome out = rt_run(RT_M, code, 4, 0, 0, 1000);
    rt_expect(out.a0 == 1000 && out.a1 == 1002, "write: %d %d", (int64_t)out.a0, (int64_t)out.a1);
    /* Only in S-mode: what a probe of S-mode executes, whatever its way there and back takes. */
    rt_csr_write(mhpmevent4, INSTRUCTIONS | MINH | UINH);
    rt_csr_write(mhpmcounter4, 0);
    static const uint32_t four[] = {RT_NOP, RT_NOP, RT_NOP, RT_NOP};
    (void)rt_run(RT_S, four, 4, 0, 0, 0);
    uint64_t in_s = rt_csr_read(mhpmcounter4);
    static const uint32_t eight[] = {RT_NOP, RT_NOP, RT_NOP, RT_NOP, RT_NOP, RT_NOP, RT_NOP, RT_NOP};
    (void)rt_run(RT_S, eight, 8, 0, 0, 0);
    uint64_t in_s2 = rt_csr_read(mhpmcounter4) - in_s;
    (void)rt_run(RT_U, eight, 8, 0, 0, 0);
    rt_expect(in_s >= 5 && in_s < 16 && in_s2 == in_s + 4 && rt_csr_read(mhpmcounter4) == in_s + in_s2,
              "only_s: %d %d %d", (int64_t)in_s, (int64_t)in_s2, (int64_t)rt_csr_read(mhpmcounter4));
}

static uint64_t counted(uint64_t event, int priv, const uint32_t *code, size_t count, uint64_t a0)
{
    rt_csr_write(mhpmevent4, event);
    rt_csr_write(mhpmcounter4, 0);
    (void)rt_run(priv, code, count, a0, 0, 0);
    uint64_t value = rt_csr_read(mhpmcounter4);
    rt_csr_write(mhpmevent4, 0);
    return value;
}

static void events(void)
{
    static const uint32_t device[] = {0x00554583 /* lbu a1, 5(a0): LSR */, 0x00554583, 0x00554583};
    static const uint32_t nothing[] = {RT_NOP}, load[] = {0x00053583 /* ld a1, (a0) */};
    uint64_t base = counted(DEVICE_ACCESSES, RT_M, nothing, 1, 0);
    rt_expect(counted(DEVICE_ACCESSES, RT_M, device, 3, RT_UART) == base + 3, "devices");
    rt_expect(counted(DEVICE_ACCESSES, RT_M, load, 1, RT_HOLE) == base + 1, "devices.hole");
    base = counted(EXCEPTIONS, RT_S, nothing, 1, 0);
    rt_expect(base <= 1 && counted(EXCEPTIONS, RT_S, load, 1, RT_HOLE) == 1, "exceptions: %d", (int64_t)base);
    rt_expect(counted(INTERRUPTS, RT_S, load, 1, RT_HOLE) == 0, "interrupts");
    /* Each of two pages not seen before is a walk. */
    root[2] = (uint64_t)0x80000000 >> 2 | 0xcf;
    rt_csr_write(satp, 8ull << 60 | (uint64_t)root >> 12);
    rt_sfence();
    base = counted(PAGE_WALKS, RT_S, load, 1, 0x80000000);
    rt_sfence();
    uint64_t again = counted(PAGE_WALKS, RT_S, load, 1, 0x80000000);
    uint64_t cached = counted(PAGE_WALKS, RT_S, load, 1, 0x80000000);
    rt_expect(base >= 1 && again == base && cached == 0, "walks: %d %d %d", (int64_t)base, (int64_t)again,
              (int64_t)cached);
    rt_csr_write(satp, 0);
    rt_sfence();
    /* An event that is not there reads back as none. */
    rt_csr_write(mhpmevent4, 0x1234567);
    rt_expect(rt_csr_read(mhpmevent4) == 0, "warl: %x", rt_csr_read(mhpmevent4));
}

/* ---- overflow ---- */

static bool note_interrupt(struct hart *hart, char mode)
{
    uint64_t cause = mode == 'M' ? rt_csr_read(mcause) : rt_csr_read(scause);
    if (cause != (CAUSE_INTERRUPT | LCOFI))
        return false;
    hart->note[0]++;
    hart->note[1] = mode == 'M' ? rt_csr_read(mepc) : rt_csr_read(sepc);
    hart->note[2] = (uint64_t)mode;
    rt_csr_clear(mip, 1ull << LCOFI);
    return true;
}

/* A counter `before` its end is started by the probe; the interrupt comes where it wraps. */
static void overflow(void)
{
    struct hart *hart = rt_self();
    rt_csr_write(mie, 1ull << LCOFI);
    rt_expect(rt_csr_read(mie) >> LCOFI & 1, "mie");
    hart->hook = note_interrupt;
    for (uint64_t before = 3; before < 40; before += 4) {
        uint32_t code[64], n = 0;
        code[n++] = rt_csrrw(0, MHPMCOUNTER4, 12);
        for (unsigned i = 0; i < 50; i++)
            code[n++] = RT_NOP;
        rt_csr_write(mhpmevent4, INSTRUCTIONS);
        rt_csr_write(mip, 0);
        hart->note[0] = 0;
        rt_csr_set(mstatus, MSTATUS_MPIE);
        struct outcome out = rt_run(RT_M, code, n, 0, 0, -before);
        uint64_t at = (hart->note[1] - (uint64_t)rt_code_buffer) / 4;
        rt_expect(!out.trapped && hart->note[0] == 1 && at == 1 + before, "overflow.%d: %d at %d", (int64_t)before,
                  (int64_t)hart->note[0], (int64_t)at);
        rt_expect(rt_csr_read(mhpmevent4) == (OF | INSTRUCTIONS), "overflow.of: %x", rt_csr_read(mhpmevent4));
        /* With OF set no further one. */
        rt_csr_set(mstatus, MSTATUS_MPIE);
        (void)rt_run(RT_M, code, n, 0, 0, -before);
        rt_expect(hart->note[0] == 1, "overflow.again: %d", (int64_t)hart->note[0]);
    }
    /* An event that is not instructions. */
    static const uint32_t device[] = {0x00554583, 0x00554583, 0x00554583, RT_NOP, RT_NOP};
    rt_csr_write(mhpmevent4, DEVICE_ACCESSES);
    rt_csr_write(mhpmcounter4, -2ull);
    hart->note[0] = 0;
    rt_csr_set(mstatus, MSTATUS_MPIE);
    (void)rt_run(RT_M, device, 5, RT_UART, 0, 0);
    rt_expect(hart->note[0] == 1 && rt_csr_read(mhpmevent4) == (OF | DEVICE_ACCESSES), "overflow.device: %d",
              (int64_t)hart->note[0]);
    hart->hook = NULL;
    rt_csr_write(mie, 0);
    rt_csr_write(mip, 0);
    /* scountovf shows what mcounteren does. */
    rt_csr_write(mhpmevent4, OF | INSTRUCTIONS);
    rt_csr_write(mhpmevent5, OF | INSTRUCTIONS);
    static const uint32_t read[] = {0xda002573 /* csrr a0, scountovf */};
    rt_csr_write(mcounteren, 1u << 5);
    struct outcome m = rt_run(RT_M, read, 1, 0, 0, 0), s = rt_run(RT_S, read, 1, 0, 0, 0),
                   u = rt_run(RT_U, read, 1, 0, 0, 0);
    rt_print("scountovf: M %x, S %x, U %s", m.a0, s.a0, rt_describe(&u, (uint64_t)rt_code_buffer));
    rt_expect(m.a0 == 0x30 && s.a0 == 0x20 && u.trapped, "scountovf");
    rt_csr_write(mhpmevent4, 0);
    rt_csr_write(mhpmevent5, 0);
    /* LCOFIP: writable, delegated, and cleared by S-mode through sip. */
    rt_csr_write(mideleg, 1ull << LCOFI);
    rt_csr_write(mip, 1ull << LCOFI);
    rt_print("lcofip: mideleg=%x mip=%x sip=%x", rt_csr_read(mideleg) & 0x2222, rt_csr_read(mip) & 0x2222,
             rt_csr_read(sip) & 0x2222);
    rt_csr_clear(sip, 1ull << LCOFI);
    rt_print("lcofip.cleared: mip=%x", rt_csr_read(mip) & 0x2222);
    rt_expect(!(rt_csr_read(mip) >> LCOFI & 1), "lcofip.cleared");
    rt_csr_write(mideleg, 0);
    rt_csr_write(mip, 1ull << LCOFI);
    rt_csr_clear(sip, 1ull << LCOFI);
    rt_print("lcofip.not_delegated: mip=%x sip=%x", rt_csr_read(mip) & 0x2222, rt_csr_read(sip) & 0x2222);
    rt_csr_write(mip, 0);
}

static void fields(void)
{
    rt_csr_write(mhpmevent4, OF | MINH | SINH | UINH);
    rt_print("flags: %x", rt_csr_read(mhpmevent4) >> 60);
    rt_csr_write(mhpmevent4, 0);
    rt_csr_write(mhpmcounter31, -1ull);
    rt_print("counter31: %x", rt_csr_read(mhpmcounter31));
    rt_csr_write(mhpmcounter31, 0);
    for (uint64_t m = 0; m < 2; m++)
        for (uint64_t s = 0; s < 2; s++) {
            rt_csr_write(mcounteren, m << 4);
            rt_csr_write(scounteren, s << 4);
            struct outcome in_s = rt_run1(RT_S, rt_csrrs(11, HPMCOUNTER4, 0), 0, 0, 0);
            struct outcome in_u = rt_run1(RT_U, rt_csrrs(11, HPMCOUNTER4, 0), 0, 0, 0);
            rt_print("gate.%d.%d: S %d U %d", (int64_t)m, (int64_t)s, (int64_t)in_s.trapped, (int64_t)in_u.trapped);
            rt_expect(in_s.trapped == !m && in_u.trapped == !(m && s), "gate.%d.%d", (int64_t)m, (int64_t)s);
        }
    rt_csr_write(mcounteren, -1ull);
    rt_csr_write(scounteren, -1ull);
}

void bare_main(void)
{
    fields();
    instructions();
    events();
    overflow();
}
