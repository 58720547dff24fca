/* instret and cycle: exact counts around straight lines, loops, jumps and traps, writes, and inhibition.
 * Privileged Architecture 1.13, sections 3.1.10 to 3.1.12; Zicntr. A trapping instruction does not retire
 * (section 3.3.1 for ECALL and EBREAK).
 *
 * A read of instret does not count itself yet: between two reads lie the first read and what is between them.
 */
#include "rt.h"

static const char mode_name[] = {'U', 'S', '?', 'M'};
static uint8_t trap_code[64] __attribute__((aligned(64)));

enum { MINSTRET = 0xb02, INSTRET = 0xc02, MCYCLE = 0xb00, CYCLE = 0xc00 };

/* a0 = counter after `body` minus counter before. */
static struct outcome measure(int priv, uint32_t counter, const uint32_t *body, size_t count, uint64_t a2)
{
    uint32_t code[80];
    size_t n = 0;
    code[n++] = rt_csrrs(11, counter, 0);
    for (size_t i = 0; i < count; i++)
        code[n++] = body[i];
    code[n++] = rt_csrrs(10, counter, 0);
    code[n++] = 0x40b50533; /* sub a0, a0, a1 */
    return rt_run(priv, code, n, 0, 0, a2);
}

static void straight(void)
{
    static const int modes[] = {RT_M, RT_S, RT_U};
    uint32_t body[64];
    for (unsigned kind = 0; kind < 2; kind++)
        for (unsigned m = 0; m < 3; m++)
            for (unsigned count = 0; count <= 64; count += count < 4 ? 1 : 12) {
                for (unsigned i = 0; i < count; i++)
                    body[i] = kind ? 0x0001 : RT_NOP;
                uint32_t counter = modes[m] == RT_M ? MINSTRET : INSTRET;
                struct outcome out = measure(modes[m], counter, body, count, 0);
                rt_print("instret.%s%d.%c: %s %d", kind ? "c.nop" : "nop", (int64_t)count, mode_name[modes[m]],
                         rt_describe(&out, 0), (int64_t)out.a0);
                rt_expect(out.a0 == count + 1, "instret.%d.%c: %d", (int64_t)count, mode_name[modes[m]],
                          (int64_t)out.a0);
            }
}

static void bodies(void)
{
    static const struct {
        const char *name;
        uint32_t insns[6];
        unsigned count;
        uint64_t a2, want; /* want: retired in the body */
    } cases[] = {
        {"loop10", {0xfff60613 /* addi a2, a2, -1 */, 0xfe061ee3 /* bnez a2, -4 */}, 2, 10, 20},
        {"loop1000", {0xfff60613, 0xfe061ee3}, 2, 1000, 2000},
        {"loop100000", {0xfff60613, 0xfe061ee3}, 2, 100000, 200000},
        {"c_loop1000", {0x167d /* c.addi a2, -1 */, 0xfe7d /* c.bnez a2, -2 */}, 2, 1000, 2000},
        {"taken", {0x00000463 /* beq x0, x0, +8 */, RT_NOP, RT_NOP}, 3, 0, 2},
        {"not_taken", {0x00001463 /* bne x0, x0, +8 */, RT_NOP, RT_NOP}, 3, 0, 3},
        {"jal", {0x0080006f /* j +8 */, RT_NOP, RT_NOP}, 3, 0, 2},
        {"jalr", {0x00000617 /* auipc a2, 0 */, 0x00c60067 /* jr 12(a2) */, RT_NOP, RT_NOP}, 4, 0, 3},
        {"fence_i", {0x0000100f, RT_NOP}, 2, 0, 2},
        {"fence", {0x0ff0000f, RT_NOP}, 2, 0, 2},
        {"csr", {0x34002673 /* csrr a2, mscratch */, RT_NOP}, 2, 0, 2},
        {"sfence", {0x12000073, RT_NOP}, 2, 0, 2},
        {"hint", {0x00000033 /* add x0, x0, x0 */, 0x0001}, 2, 0, 2},
    };
    for (unsigned i = 0; i < RT_COUNT(cases); i++) {
        struct outcome out = measure(RT_M, MINSTRET, cases[i].insns, cases[i].count, cases[i].a2);
        rt_print("body.%s: %s %d", cases[i].name, rt_describe(&out, 0), (int64_t)out.a0);
        rt_expect(out.a0 == cases[i].want + 1, "body.%s: %d", cases[i].name, (int64_t)out.a0);
    }
}

/* Traps into a handler of four instructions that skips the trapping one. */
static void trapping(void)
{
    extern char rt_trap_entry_m[];
    static const uint32_t handler[] = {0x341022f3 /* csrr t0, mepc */, 0x00428293 /* addi t0, t0, 4 */,
                                       0x34129073 /* csrw mepc, t0 */, 0x30200073};
    static const struct {
        const char *name;
        uint32_t insn;
    } cases[] = {{"ecall", 0x00000073},
                 {"ebreak", 0x00100073},
                 {"illegal", 0xffffffff},
                 {"load", 0x00003603 /* ld a2, 0(x0) */},
                 {"csr", 0xfff02673}};
    rt_code(trap_code, handler, 4);
    for (unsigned i = 0; i < RT_COUNT(cases); i++) {
        const uint32_t body[] = {RT_NOP, cases[i].insn, RT_NOP};
        /* All in one piece of code: the handler must be away again before the probe returns through the gate. */
        uint32_t code[] = {0x30561673 /* csrrw a2, mtvec, a2 */,
                           rt_csrrs(11, MINSTRET, 0),
                           body[0],
                           body[1],
                           body[2],
                           rt_csrrs(10, MINSTRET, 0),
                           0x30561073 /* csrw mtvec, a2 */,
                           0x40b50533};
        if (cases[i].insn == 0x00003603)
            code[3] = 0x0006b683; /* ld a3, (a3) with a3 = 0 */
        struct outcome out = rt_run(RT_M, code, 8, 0, 0, (uint64_t)trap_code);
        rt_csr_write(mtvec, rt_trap_entry_m);
        rt_print("trap.%s: %s %d", cases[i].name, rt_describe(&out, 0), (int64_t)out.a0);
        rt_expect(out.a0 == 1 + 2 + 4, "trap.%s: %d", cases[i].name, (int64_t)out.a0);
    }
}

/* A write takes effect instead of the increment of the writing instruction: the next one reads what was written
 * (Unprivileged ISA, chapter Zicsr). */
static void writes(void)
{
    static const uint64_t values[] = {0, 1, 1000, 0xffffffff, 0xfffffffffffffff0, -1ull};
    static const uint32_t counters[] = {MINSTRET, MCYCLE};
    for (unsigned c = 0; c < 2; c++)
        for (unsigned v = 0; v < RT_COUNT(values); v++)
            for (unsigned gap = 0; gap < 3; gap++) {
                uint32_t code[6];
                unsigned n = 0;
                code[n++] = rt_csrrw(0, counters[c], 12);
                for (unsigned g = 0; g < gap; g++)
                    code[n++] = RT_NOP;
                code[n++] = rt_csrrs(10, counters[c], 0);
                struct outcome out = rt_run(RT_M, code, n, 0, 0, values[v]);
                if (c == 0) {
                    rt_print("write.minstret.%x.gap%d: +%d", values[v], (int64_t)gap, (int64_t)(out.a0 - values[v]));
                    rt_expect(out.a0 - values[v] == gap, "write.minstret.%x.gap%d: +%d", values[v], (int64_t)gap,
                              (int64_t)(out.a0 - values[v]));
                } else {
                    /* Cycles are an implementation's own: only that the write took. */
                    rt_print("write.mcycle.%x.gap%d: %d", values[v], (int64_t)gap,
                             (int64_t)(out.a0 - values[v] < 1000000000));
                    rt_expect(out.a0 - values[v] < 1000000000, "write.mcycle.%x", values[v]);
                }
            }
    /* CSRRW reads the old value, and the user's view shows the same counter. */
    static const uint32_t swap[] = {0xb0201073 /* csrw minstret, x0 */, RT_NOP, RT_NOP,
                                    0xb0261573 /* csrrw a0, minstret, a2 */, 0xc02025f3 /* rdinstret a1 */};
    struct outcome out = rt_run(RT_M, swap, 5, 0, 0, 500);
    rt_print("swap: %d %d", (int64_t)out.a0, (int64_t)out.a1);
    rt_expect(out.a0 == 2 && out.a1 == 500, "swap");
}

static void inhibited(void)
{
    uint32_t body[20];
    for (unsigned i = 0; i < 20; i++)
        body[i] = RT_NOP;
    for (uint64_t bits = 0; bits < 8; bits++) {
        if (bits & 2)
            continue; /* no such bit: time is not stopped here */
        rt_csr_write(mcountinhibit, bits);
        struct outcome instret = measure(RT_M, MINSTRET, body, 20, 0);
        struct outcome cycle = measure(RT_M, MCYCLE, body, 20, 0);
        rt_print("inhibit.%x: instret=%d cycle=%s", bits, (int64_t)instret.a0, cycle.a0 ? "runs" : "stands");
        rt_expect(instret.a0 == (bits & 4 ? 0 : 21) && (cycle.a0 == 0) == (bits & 1), "inhibit.%x", bits);
    }
    /* Written while it stands, read back unchanged; then it goes on from there. */
    rt_csr_write(mcountinhibit, 5);
    static const uint32_t code[] = {0xb0261073 /* csrw minstret, a2 */,
                                    RT_NOP,
                                    RT_NOP,
                                    0xb0202573 /* csrr a0, minstret */,
                                    0x32001073 /* csrw mcountinhibit, x0 */,
                                    RT_NOP,
                                    RT_NOP,
                                    RT_NOP,
                                    0xb02025f3 /* csrr a1, minstret */};
    struct outcome out = rt_run(RT_M, code, 9, 0, 0, 12345);
    rt_csr_write(mcountinhibit, 0);
    rt_print("inhibit.write: %d", (int64_t)out.a0);
    rt_print("inhibit.resume: %d", (int64_t)(out.a1 - 12345));
    /* Whether the instruction that starts the counter is itself counted is open. */
    rt_expect(out.a0 == 12345 && out.a1 - 12345 >= 3 && out.a1 - 12345 <= 4, "inhibit.write: %d %d", (int64_t)out.a0,
              (int64_t)out.a1);
}

static void monotonic(void)
{
    static const uint32_t csrs[] = {CYCLE, 0xc01, INSTRET};
    for (unsigned c = 0; c < 3; c++) {
        uint64_t last = 0, errors = 0;
        for (unsigned i = 0; i < 1000; i++) {
            uint64_t now = c == 0 ? rt_csr_read(cycle) : c == 1 ? rt_csr_read(time) : rt_csr_read(instret);
            errors += now < last;
            last = now;
        }
        rt_print("monotonic.%x: errors=%d", (uint64_t)csrs[c], errors);
        rt_expect(!errors, "monotonic.%x", (uint64_t)csrs[c]);
    }
}

void bare_main(void)
{
    rt_csr_write(mcounteren, 7);
    rt_csr_write(scounteren, 7);
    straight();
    bodies();
    trapping();
    monotonic();
    writes();
    inhibited();
}
