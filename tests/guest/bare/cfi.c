/* Control-flow integrity: landing pads (Zicfilp) and shadow stacks (Zicfiss). Fields and gates; which jumps expect a
 * pad, which instruction is one, ELP over traps and returns; shadow stack instructions and others on each kind of page
 * in each mode. Unprivileged and Privileged ISA, chapters "Control-flow Integrity".
 */
#include "rt.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
enum { FULL = PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D };
enum { LPE = 4, SSE = 8, MLPE = 1 << 10, CAUSE_CHECK = 18, LANDING = 2, SHADOW = 3 };
#define SPELP (1ull << 23)
#define MPELP (1ull << 41)
#define ALIAS 0x40000000ull
#define RAM 0x80000000ull

static const char mode_name[] = {'U', 'S', '?', 'M'};
static const int modes[] = {RT_U, RT_S, RT_M};
static _Alignas(4096) uint64_t root[512], middle[512], leaves[512];
static _Alignas(4096) uint8_t stack[4096];
static _Alignas(4096) uint8_t code[4096];

static uint64_t written(uint32_t csr, uint64_t value)
{
    uint32_t insns[] = {rt_csrrw(12, csr, 10), rt_csrrs(11, csr, 0), rt_csrrw(0, csr, 12)};
    struct outcome out = rt_run(RT_M, insns, 3, value, 0, 0);
    return out.trapped ? -1ull : out.a1;
}

static void fields(void)
{
    static const struct {
        const char *name;
        uint32_t csr;
        uint64_t bits;
    } cases[] = {{"mstatus", 0x300, SPELP | MPELP},
                 {"sstatus", 0x100, SPELP | MPELP},
                 {"menvcfg", 0x30a, LPE | SSE},
                 {"senvcfg", 0x10a, LPE | SSE},
                 {"ssp", 0x011, -1ull}};
    for (unsigned sse = 0; sse < 2; sse++) {
        rt_csr_clear(menvcfg, SSE);
        rt_csr_set(menvcfg, sse ? SSE : 0);
        for (unsigned i = 0; i < RT_COUNT(cases); i++) {
            uint64_t base = cases[i].bits == -1ull ? 0 : written(cases[i].csr, 0) & ~cases[i].bits;
            uint64_t got = written(cases[i].csr, base | cases[i].bits) & cases[i].bits;
            rt_print("fields.%d.%s: %x", (int64_t)sse, cases[i].name, got);
            uint64_t want = cases[i].csr == 0x011 ? ~7ull : cases[i].csr == 0x100 ? SPELP : cases[i].bits;
            if (cases[i].csr == 0x10a && !sse)
                want = LPE;
            rt_expect(got == want, "fields.%d.%s: %x", (int64_t)sse, cases[i].name, got);
        }
    }
    /* senvcfg's SSE does not come back by itself. */
    rt_csr_set(0x10a, SSE);
    rt_csr_clear(menvcfg, SSE);
    rt_expect(!(rt_csr_read(0x10a) & SSE), "fields.senvcfg.cleared");
    rt_csr_clear(0x10a, SSE);
    rt_csr_write(medeleg, 1ull << CAUSE_CHECK);
    rt_print("medeleg: %x", rt_csr_read(medeleg));
    rt_expect(rt_csr_read(medeleg) == 1ull << CAUSE_CHECK, "medeleg");
    rt_csr_write(medeleg, 0);
    for (unsigned gates = 0; gates < 4; gates++) {
        rt_csr_clear(menvcfg, SSE);
        rt_csr_set(menvcfg, gates & 1 ? SSE : 0);
        rt_csr_clear(0x10a, SSE);
        rt_csr_set(0x10a, gates & 2 ? SSE : 0);
        for (unsigned m = 0; m < 3; m++) {
            struct outcome out = rt_run1(modes[m], rt_csrrs(11, 0x011, 0), 0, 0, 0);
            rt_print("ssp.%d.%c: %s", (int64_t)gates, mode_name[modes[m]], rt_describe(&out, (uint64_t)rt_code_buffer));
            bool open = modes[m] == RT_M || (modes[m] == RT_S ? gates & 1 : gates == 3);
            rt_expect(out.trapped == !open, "ssp.%d.%c", (int64_t)gates, mode_name[modes[m]]);
        }
    }
    rt_csr_clear(0x10a, SSE);
    rt_csr_clear(menvcfg, SSE);
}

/* ---- landing pads ---- */

static void set_pads(int priv, bool on)
{
    if (priv == RT_M) {
        rt_csr_clear(0x747, MLPE);
        rt_csr_set(0x747, on ? MLPE : 0);
    } else if (priv == RT_S) {
        rt_csr_clear(menvcfg, LPE);
        rt_csr_set(menvcfg, on ? LPE : 0);
    } else {
        rt_csr_clear(0x10a, LPE);
        rt_csr_set(0x10a, on ? LPE : 0);
    }
}

/* Like rt_probe(), with pads expected in the mode; in M-mode the program's own code must not run so, which the probe
 * sees to by itself. */
static struct outcome padded(int priv, bool on, uint64_t pc, uint64_t a0, uint64_t a2)
{
    set_pads(priv, on);
    struct outcome out = rt_probe(priv, pc, a0, 0, a2);
    rt_csr_clear(0x747, MLPE);
    set_pads(priv, false);
    rt_csr_clear(mstatus, MPELP); /* a trap leaves it; the next MRET would bring it back */
    return out;
}

/* Jumps to a0 by `jump`, with a2 in x7; behind the target a1 = 0x55. */
static uint64_t put_jump(uint32_t jump, unsigned rs1, uint32_t target, unsigned offset)
{
    uint32_t before[] = {rt_addi(28, 1, 0), rt_addi(7, 12, 0), rt_addi(rs1, 10, 0), jump};
    uint32_t behind[] = {target, rt_addi(11, 0, 0x55), rt_addi(1, 28, 0)};
    rt_code(code, before, 4);
    rt_code(code + offset, behind, 3);
    return (uint64_t)code + offset;
}

static void jumps(void)
{
    static const unsigned sources[] = {1, 5, 6, 7, 10, 31}; /* x28 holds the way back */
    for (unsigned m = 0; m < 3; m++)
        for (unsigned on = 0; on < 2; on++)
            for (unsigned s = 0; s < RT_COUNT(sources); s++)
                for (unsigned kind = 0; kind < 4; kind++) {
                    unsigned rs1 = sources[s];
                    uint32_t jump = kind == 0   ? rt_i(0x67, 0, 0, rs1, 0)
                                    : kind == 1 ? rt_i(0x67, 0, 1, rs1, 0)
                                    : kind == 2 ? 0x8002 | rs1 << 7  /* c.jr */
                                                : 0x9002 | rs1 << 7; /* c.jalr */
                    uint64_t target = put_jump(jump, rs1, RT_NOP, 64);
                    struct outcome out = padded(modes[m], on, (uint64_t)code, target, 0);
                    rt_print("jump.%c.%d.x%d.%d: %s a1=%x elp=%d", mode_name[modes[m]], (int64_t)on, (int64_t)rs1,
                             (int64_t)kind, rt_describe(&out, (uint64_t)code), out.a1, out.status >> 41 & 1);
                    bool expected = on && rs1 != 1 && rs1 != 5 && rs1 != 7;
                    rt_expect(expected ? out.trapped && out.cause == CAUSE_CHECK && out.tval == LANDING &&
                                             out.epc == target && (out.status & MPELP)
                                       : !out.trapped && out.a1 == 0x55,
                              "jump.%c.%d.x%d.%d: %s", mode_name[modes[m]], (int64_t)on, (int64_t)rs1, (int64_t)kind,
                              rt_describe(&out, (uint64_t)code));
                }
}

static void targets(void)
{
    static const struct {
        const char *name;
        uint32_t insn;
        unsigned offset;
        uint64_t x7;
        bool pad;
    } cases[] = {{"lpad0", 0x17, 64, 0xabcde123, true},
                 {"label", 0xabcde017, 64, 0x1234567abcde123, true},
                 {"other_label", 0xabcde017, 64, 0xabcdf000, false},
                 {"label_of_zero", 0x00001017, 64, 0, false},
                 {"misaligned", 0x17, 66, 0, false},
                 {"misaligned_label", 0xabcde017, 70, 0xabcde000, false},
                 {"auipc", 0x00000097, 64, 0, false},
                 {"lui", 0x00000037, 64, 0, false},
                 {"illegal", 0xffffffff, 64, 0, false},
                 {"c.nop", 0x0001, 64, 0, false},
                 {"c.illegal", 0x0000, 64, 0, false},
                 {"ecall", 0x00000073, 64, 0, false},
                 {"ebreak", 0x00100073, 64, 0, false},
                 {"jump", 0x00000067, 64, 0, false},
                 {"load", 0x00053583, 64, 0, false}};
    for (unsigned m = 0; m < 3; m++)
        for (unsigned i = 0; i < RT_COUNT(cases); i++) {
            uint64_t target = put_jump(rt_i(0x67, 0, 0, 6, 0), 6, cases[i].insn, cases[i].offset);
            for (unsigned on = 0; on < 2; on++) {
                if (!on && !cases[i].pad)
                    continue;
                struct outcome out = padded(modes[m], on, (uint64_t)code, target, cases[i].x7);
                rt_print("target.%c.%d.%s: %s a1=%x elp=%d", mode_name[modes[m]], (int64_t)on, cases[i].name,
                         rt_describe(&out, (uint64_t)code), out.a1, out.status >> 41 & 1);
                rt_expect(cases[i].pad ? !out.trapped && out.a1 == 0x55
                                       : out.trapped && out.cause == CAUSE_CHECK && out.tval == LANDING &&
                                             out.epc == target && (out.status & MPELP),
                          "target.%c.%s: %s", mode_name[modes[m]], cases[i].name, rt_describe(&out, (uint64_t)code));
            }
        }
}

/* A fetch that faults comes first, and what was expected is kept. */
static void fetch_faults(void)
{
    for (unsigned m = 0; m < 3; m++) {
        put_jump(rt_i(0x67, 0, 0, 6, 0), 6, RT_NOP, 64);
        struct outcome out = padded(modes[m], true, (uint64_t)code, RT_HOLE, 0);
        rt_print("fetch.%c: %s elp=%d", mode_name[modes[m]], rt_describe(&out, RT_HOLE), out.status >> 41 & 1);
        rt_expect(out.trapped && out.cause == CAUSE_FETCH_ACCESS && (out.status & MPELP), "fetch.%c",
                  mode_name[modes[m]]);
    }
}

/* MRET and SRET bring back what was expected, where the mode they go to has pads. */
static void returns(void)
{
    static const uint32_t insns[] = {RT_NOP, 0x17};
    for (unsigned m = 0; m < 3; m++)
        for (unsigned on = 0; on < 2; on++)
            for (unsigned i = 0; i < 2; i++) {
                rt_code(code, &insns[i], 1);
                rt_csr_set(mstatus, MPELP);
                struct outcome out = padded(modes[m], on, (uint64_t)code, 0, 0);
                rt_print("mret.%c.%d.%d: %s", mode_name[modes[m]], (int64_t)on, (int64_t)i,
                         rt_describe(&out, (uint64_t)code));
                rt_expect(out.trapped == (on && i == 0), "mret.%c.%d.%d", mode_name[modes[m]], (int64_t)on, (int64_t)i);
            }
    for (int priv = RT_U; priv <= RT_S; priv++)
        for (unsigned from = 0; from < 2; from++)
            for (unsigned i = 0; i < 2; i++) {
                uint32_t enter[] = {rt_csrrw(0, 0x141, 10), 0x10200073 /* sret */};
                rt_code(code, enter, 2);
                rt_code(code + 64, &insns[i], 1);
                rt_csr_clear(mstatus, MSTATUS_SPP);
                rt_csr_set(mstatus, SPELP | (priv == RT_S ? MSTATUS_SPP : 0));
                set_pads(priv, true);
                struct outcome out = rt_probe(from ? RT_M : RT_S, (uint64_t)code, (uint64_t)code + 64, 0, 0);
                set_pads(priv, false);
                rt_print("sret.%c.%d.%d: %s left=%x", mode_name[priv], (int64_t)from, (int64_t)i,
                         rt_describe(&out, (uint64_t)code), rt_csr_read(mstatus) & SPELP);
                rt_expect(out.trapped == (i == 0) && !(rt_csr_read(mstatus) & SPELP), "sret.%c.%d.%d", mode_name[priv],
                          (int64_t)from, (int64_t)i);
                rt_csr_clear(mstatus, SPELP | MPELP);
            }
    /* To S-mode it is stval and SPELP. */
    rt_csr_write(medeleg, 1ull << CAUSE_CHECK);
    for (int priv = RT_U; priv <= RT_S; priv++) {
        uint64_t target = put_jump(rt_i(0x67, 0, 0, 6, 0), 6, RT_NOP, 64);
        struct outcome out = padded(priv, true, (uint64_t)code, target, 0);
        rt_print("delegated.%c: %s elp=%d", mode_name[priv], rt_describe(&out, (uint64_t)code), out.status >> 23 & 1);
        rt_expect(out.by == 'S' && out.cause == CAUSE_CHECK && out.tval == LANDING && (out.status & SPELP),
                  "delegated.%c", mode_name[priv]);
    }
    rt_csr_write(medeleg, 0);
    rt_csr_clear(mstatus, SPELP | MPELP);
}

/* Many calls through registers and returns, so that it gets hot: a0 turns, a1 sum. */
void call_often_entry(void);
__asm__(".text\n.balign 4\ncall_often_entry: mv a5, ra\n call call_often_inner\n mv ra, a5\n ret\n"
        "call_often_inner: mv a6, ra\n li a2, 0\n lla a3, 2f\n lla a4, 3f\n"
        "1: jalr a3\n jalr a4\n addi a0, a0, -1\n bnez a0, 1b\n mv a1, a2\n mv ra, a6\n ret\n"
        ".balign 4\n2: .word 0x17\n addi a2, a2, 1\n ret\n"
        ".balign 4\n3: .word 0x17\n addi a2, a2, 3\n ret\n");

static void hot(void)
{
    enum { TURNS = 5000 };
    for (unsigned m = 0; m < 3; m++)
        for (unsigned on = 0; on < 2; on++) {
            struct outcome out = padded(modes[m], on, (uint64_t)call_often_entry, TURNS, 0);
            rt_print("hot.%c.%d: %s a1=%d", mode_name[modes[m]], (int64_t)on, rt_describe(&out, 0), out.a1);
            rt_expect(!out.trapped && out.a1 == 4 * TURNS, "hot.%c.%d: %x", mode_name[modes[m]], (int64_t)on, out.a1);
        }
}

/* ---- shadow stacks ---- */

enum page { SS = 1, RO, RW, RX, XO, RWX, INVALID, WX, SS_UNTOUCHED, SS_OTHERS, PAGES };
static const char *const page_name[] = {"",    "ss",      "ro", "rw",           "rx",       "x",
                                        "rwx", "invalid", "wx", "ss_untouched", "ss_others"};

static void map(int priv)
{
    static const uint16_t bits[PAGES] = {
        [SS] = PTE_V | PTE_W | PTE_A | PTE_D,         [RO] = PTE_V | PTE_R | PTE_A | PTE_D,
        [RW] = PTE_V | PTE_R | PTE_W | PTE_A | PTE_D, [RX] = PTE_V | PTE_R | PTE_X | PTE_A | PTE_D,
        [XO] = PTE_V | PTE_X | PTE_A | PTE_D,         [RWX] = FULL,
        [WX] = PTE_V | PTE_W | PTE_X | PTE_A | PTE_D, [SS_UNTOUCHED] = PTE_V | PTE_W,
        [SS_OTHERS] = PTE_V | PTE_W | PTE_A | PTE_D};
    for (unsigned i = 1; i < PAGES; i++) {
        bool user = (priv == RT_U) != (i == SS_OTHERS);
        leaves[i] = (uint64_t)stack >> 2 | bits[i] | (user ? PTE_U : 0);
    }
    rt_csr_write(satp, 8ull << 60 | (uint64_t)root >> 12);
    rt_sfence();
}

struct operation {
    const char *name;
    uint32_t insns[4];
    bool shadow, store, fetch;
};

/* a0: address, also ssp; a2: value. a1: result. */
static const struct operation operations[] = {
    {"sspush.x5", {0x00060293 /* mv x5, a2 */, 0xce504073, RT_NOP, RT_NOP}, true, true, false},
    {"sspush.x1", {0x00008e13 /* mv x28, ra */, 0x00060093 /* mv ra, a2 */, 0xce104073, 0x000e0093}, true, true, false},
    {"c.sspush", {0x00008e13, 0x00060093, 0x6081, 0x000e0093}, true, true, false},
    {"sspopchk.x5", {0x00060293, 0xcdc2c073, RT_NOP, RT_NOP}, true, false, false},
    {"c.sspopchk", {0x00060293, 0x6281, RT_NOP, RT_NOP}, true, false, false},
    {"ssrdp", {0xcdc045f3, RT_NOP, RT_NOP, RT_NOP}, false, false, false},
    {"ssamoswap.d", {0x48c535af, RT_NOP, RT_NOP, RT_NOP}, true, true, false},
    {"ssamoswap.w", {0x48c525af, RT_NOP, RT_NOP, RT_NOP}, true, true, false},
    {"ld", {0x00053583, RT_NOP, RT_NOP, RT_NOP}, false, false, false},
    {"sd", {0x00c53023, RT_NOP, RT_NOP, RT_NOP}, false, true, false},
    {"amoadd", {0x00c535af, RT_NOP, RT_NOP, RT_NOP}, false, true, false},
    {"jump", {0x00050067, RT_NOP, RT_NOP, RT_NOP}, false, false, true},
};

#define MEMORY 0x8082808280828082ull /* c.jr ra */

static uint64_t expected_cause(const struct operation *op, enum page page, bool sse)
{
    bool swap = op->insns[0] == 0x48c535af || op->insns[0] == 0x48c525af;
    if (op->insns[0] == 0xcdc045f3)
        return 0;
    if (op->shadow && !sse)
        return swap ? CAUSE_ILLEGAL : 0;
    uint64_t page_fault = op->fetch ? CAUSE_FETCH_PAGE : op->store || op->shadow ? CAUSE_STORE_PAGE : CAUSE_LOAD_PAGE;
    uint64_t access_fault = op->fetch ? CAUSE_FETCH_ACCESS : CAUSE_STORE_ACCESS;
    bool is_shadow = page == SS || page == SS_UNTOUCHED;
    if (page == INVALID || page == WX || page == SS_OTHERS || (is_shadow && !sse))
        return page_fault;
    if (op->shadow)
        return is_shadow ? 0 : page == RO ? page_fault : access_fault;
    if (is_shadow)
        return op->fetch || op->store ? access_fault : 0;
    bool r = page == RO || page == RW || page == RX || page == RWX, w = page == RW || page == RWX;
    bool x = page == RX || page == XO || page == RWX;
    return (op->fetch ? x : op->store ? w : r) ? 0 : page_fault;
}

static void each_page(int priv, bool sse)
{
    uint64_t offset = priv == RT_U ? ALIAS : 0;
    for (unsigned page = 1; page < PAGES; page++)
        for (unsigned o = 0; o < RT_COUNT(operations); o++) {
            const struct operation *op = &operations[o];
            volatile uint64_t *memory = (volatile uint64_t *)(stack + 0x100);
            map(priv);
            memory[-1] = memory[0] = MEMORY;
            rt_code(code, op->insns, 4);
            uint64_t address = page * 4096 + 0x100;
            uint64_t args[4] = {address, 0, MEMORY + (op->store ? 3 : 0), 0};
            rt_csr_write(0x011, address);
            struct outcome out = rt_probe_at(priv, (uint64_t)code + offset, args, offset);
            uint64_t ssp = rt_csr_read(0x011);
            rt_print("page.%c.%d.%s.%s: %s a1=%x ssp=%x memory=%x,%x pte=%x", mode_name[priv], (int64_t)sse,
                     page_name[page], op->name, rt_describe(&out, op->fetch ? address : (uint64_t)code + offset),
                     out.a1, ssp - address, memory[-1] - MEMORY, memory[0] - MEMORY, leaves[page] & 0x3ff);
            uint64_t cause = expected_cause(op, page, sse);
            rt_expect(out.trapped == (cause != 0) && (!cause || out.cause == cause), "page.%c.%d.%s.%s: %s",
                      mode_name[priv], (int64_t)sse, page_name[page], op->name, rt_describe(&out, 0));
        }
    rt_csr_write(satp, 0);
    rt_sfence();
}

/* A return address that is not the one pushed, misaligned swaps, no translation, M-mode. */
static void single(void)
{
    map(RT_S);
    rt_csr_set(menvcfg, SSE);
    uint64_t address = SS * 4096 + 0x100;
    *(volatile uint64_t *)(stack + 0x100) = 0x1234;
    rt_csr_write(0x011, address);
    rt_code(code, operations[3].insns, 4);
    struct outcome out = rt_probe(RT_S, (uint64_t)code, 0, 0, 0x1235);
    rt_print("mismatch: %s ssp=%x", rt_describe(&out, (uint64_t)code), rt_csr_read(0x011) - address);
    rt_expect(out.trapped && out.cause == CAUSE_CHECK && out.tval == SHADOW && rt_csr_read(0x011) == address,
              "mismatch: %s", rt_describe(&out, (uint64_t)code));
    for (unsigned o = 6; o < 8; o++) {
        rt_code(code, operations[o].insns, 4);
        out = rt_probe(RT_S, (uint64_t)code, address + 2, 0, 0);
        rt_print("misaligned.%s: %s", operations[o].name, rt_describe(&out, (uint64_t)code));
        rt_expect(out.trapped && out.cause == CAUSE_STORE_MISALIGNED, "misaligned.%s", operations[o].name);
    }
    rt_csr_write(satp, 0);
    rt_sfence();
    for (unsigned m = 0; m < 3; m++)
        for (unsigned o = 0; o < 8; o++) {
            rt_csr_set(0x10a, SSE);
            rt_csr_write(0x011, (uint64_t)stack + 0x100);
            rt_code(code, operations[o].insns, 4);
            out = rt_probe(modes[m], (uint64_t)code, (uint64_t)stack + 0x100, 7, 0);
            bool nothing = operations[o].insns[0] == 0xcdc045f3 || (modes[m] == RT_M && o < 6);
            rt_print("bare.%c.%s: %s a1=%x", mode_name[modes[m]], operations[o].name, rt_describe(&out, (uint64_t)code),
                     o == 5 ? out.a1 : 0);
            rt_expect(nothing ? !out.trapped : out.trapped && out.cause == CAUSE_STORE_ACCESS, "bare.%c.%s: %s",
                      mode_name[modes[m]], operations[o].name, rt_describe(&out, (uint64_t)code));
        }
    rt_csr_clear(0x10a, SSE);
    rt_csr_clear(menvcfg, SSE);
}

void bare_main(void)
{
    root[0] = (uint64_t)middle >> 2 | PTE_V;
    middle[0] = (uint64_t)leaves >> 2 | PTE_V;
    root[2] = RAM >> 2 | FULL;
    root[3] = RAM >> 2 | FULL | PTE_U;
    fields();
    jumps();
    targets();
    fetch_faults();
    returns();
    hot();
    for (unsigned sse = 0; sse < 2; sse++) {
        rt_csr_clear(menvcfg, SSE);
        rt_csr_set(menvcfg, sse ? SSE : 0);
        rt_csr_set(0x10a, SSE);
        each_page(RT_S, sse);
        each_page(RT_U, sse);
        /* menvcfg alone: pages are there for U-mode, a shadow stack is not. */
        rt_csr_clear(0x10a, SSE);
    }
    rt_csr_clear(menvcfg, SSE);
    single();
}
