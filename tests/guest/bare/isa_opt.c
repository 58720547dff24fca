/* Cache-block operations: their gates, what they fault on and report, what CBO.ZERO leaves behind; atomics of Zabha and
 * Zacas; Zawrs. Unprivileged ISA, chapters of these names ("CMO" for the first); the gates are fields of menvcfg,
 * senvcfg and mstatus.
 *
 * Layout while translation is on: as in mmu.c, identity for S-mode, ALIAS above it for U-mode, and WINDOW, whose pages
 * the cases change.
 */
#include "rt.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
enum { FULL = PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D };
enum { CBIE_SHIFT = 4, CBCFE = 1 << 6, CBZE = 1 << 7, ALL_ENABLED = 0xf0 };
#define ENVCFG_ADUE (1ull << 61)

#define ALIAS 0x40000000ull
#define WINDOW 0x100000000ull
#define CODE ((uint64_t)rt_code_buffer)

static const int modes[] = {RT_M, RT_S, RT_U};
static const char mode_name[] = {'U', 'S', '?', 'M'};
static uint64_t data[1024] __attribute__((aligned(4096)));
static uint64_t root[512], level1[512], level0[512] __attribute__((aligned(4096)));

/* Address in a0. */
enum { INVAL, CLEAN, FLUSH, ZERO, CBOS };
static const char *const cbo_name[] = {"inval", "clean", "flush", "zero"};
static const uint32_t cbo_insn[] = {0x0005200f, 0x0015200f, 0x0025200f, 0x0045200f};
/* prefetch.i, .r and .w at 0(a0) and at -32(a0) */
static const uint32_t prefetch_insn[] = {0x00056013, 0x00156013, 0x00356013, 0xfe056013, 0xfe156013, 0xfe356013};

static void enable(uint64_t m, uint64_t s)
{
    rt_csr_clear(menvcfg, ALL_ENABLED);
    rt_csr_set(menvcfg, m);
    rt_csr_write(senvcfg, s);
}

static bool enabled(unsigned cbo, uint64_t fields)
{
    return fields & (cbo == INVAL ? 3 << CBIE_SHIFT : cbo == ZERO ? CBZE : CBCFE);
}

/* ---- gates ---- */

/* i counts through CBIE 0, 1 and 3, CBCFE, CBZE. */
static uint64_t fields_of(unsigned i)
{
    static const uint64_t cbie[] = {0, 1, 3};
    return cbie[i % 3] << CBIE_SHIFT | (i / 3 & 1 ? CBCFE : 0) | (i / 6 ? CBZE : 0);
}

static void gates(void)
{
    rt_group_begin("gates");
    for (unsigned m = 0; m < 12; m++)
        for (unsigned s = 0; s < 12; s++)
            for (unsigned p = 0; p < RT_COUNT(modes); p++)
                for (unsigned cbo = 0; cbo < CBOS; cbo++) {
                    int priv = modes[p];
                    enable(fields_of(m), fields_of(s));
                    struct outcome out = rt_run1(priv, cbo_insn[cbo], (uint64_t)data, 0, 0);
                    bool runs =
                        priv == RT_M || (enabled(cbo, fields_of(m)) && (priv == RT_S || enabled(cbo, fields_of(s))));
                    rt_group_line("%s.%x.%x.%c: %s", cbo_name[cbo], fields_of(m), fields_of(s), mode_name[priv],
                                  rt_describe(&out, CODE));
                    rt_expect(out.trapped == !runs && (runs || (out.cause == CAUSE_ILLEGAL && out.epc == CODE &&
                                                                out.tval == cbo_insn[cbo])),
                              "gates.%s.%x.%x.%c: %s", cbo_name[cbo], fields_of(m), fields_of(s), mode_name[priv],
                              rt_describe(&out, CODE));
                }
    rt_group_end();
    /* An illegal instruction before a fault: the address is never looked at. */
    enable(0, 0);
    for (unsigned cbo = 0; cbo < CBOS; cbo++) {
        struct outcome out = rt_run1(RT_U, cbo_insn[cbo], RT_HOLE, 0, 0);
        rt_print("gates.first.%s: %s", cbo_name[cbo], rt_describe(&out, CODE));
        rt_expect(out.cause == CAUSE_ILLEGAL, "gates.first.%s", cbo_name[cbo]);
    }
    /* The reserved value of CBIE does not stick. */
    enable(3 << CBIE_SHIFT, 0);
    rt_csr_write(menvcfg, (rt_csr_read(menvcfg) & ~(3ull << CBIE_SHIFT)) | 2 << CBIE_SHIFT);
    rt_csr_write(senvcfg, 2 << CBIE_SHIFT);
    rt_expect((rt_csr_read(menvcfg) >> CBIE_SHIFT & 3) != 2, "cbie.reserved: menvcfg %x", rt_csr_read(menvcfg));
    rt_expect((rt_csr_read(senvcfg) >> CBIE_SHIFT & 3) != 2, "cbie.reserved: senvcfg %x", rt_csr_read(senvcfg));
    enable(ALL_ENABLED, ALL_ENABLED);
}

/* ---- encodings next to them ---- */

static void encodings(void)
{
    rt_group_begin("encodings");
    for (uint32_t imm = 0; imm < 4096; imm++)
        for (uint32_t rd = 0; rd < 2; rd++) {
            uint32_t insn = rt_i(0x0f, 2, rd, 10, imm);
            struct outcome out = rt_run1(RT_M, insn, (uint64_t)data, 0, 0);
            bool exists = rd == 0 && (imm <= 2 || imm == 4);
            rt_group_line("%x: %s", (uint64_t)insn, rt_describe(&out, CODE));
            rt_expect(out.trapped == !exists, "encodings.%x: %s", (uint64_t)insn, rt_describe(&out, CODE));
        }
    rt_group_end();
}

/* ---- what is stored ---- */

static void fill(void)
{
    for (unsigned i = 0; i < RT_COUNT(data); i++)
        data[i] = ~(i * 0x9e3779b97f4a7c15ull);
}

/* Everything but the block of `at` is as fill() left it, and the block is all zeros (`zeroed`) or is, too. */
static bool is_as_filled(uint64_t at, bool zeroed)
{
    uint64_t first = ((at & -64ull) - (uint64_t)data) / 8;
    for (uint64_t i = 0; i < RT_COUNT(data); i++) {
        bool in_block = zeroed && i - first < 8;
        if (data[i] != (in_block ? 0 : ~(i * 0x9e3779b97f4a7c15ull)))
            return false;
    }
    return true;
}

static void zeroes(void)
{
    static const uint32_t offsets[] = {0, 1, 8, 63, 64, 100, 4032, 4095, 4096, 4160};
    for (unsigned p = 0; p < RT_COUNT(modes); p++)
        for (unsigned i = 0; i < RT_COUNT(offsets); i++)
            for (unsigned cbo = 0; cbo < CBOS; cbo++) {
                uint64_t at = (uint64_t)data + offsets[i];
                fill();
                struct outcome out = rt_run1(modes[p], cbo_insn[cbo], at, 0, 0);
                bool right = is_as_filled(at, cbo == ZERO);
                rt_print("stores.%s+%d.%c: %s %s", cbo_name[cbo], (int64_t)offsets[i], mode_name[modes[p]],
                         rt_describe(&out, CODE), right ? "right" : "wrong");
                rt_expect(!out.trapped && right, "stores.%s+%d.%c", cbo_name[cbo], (int64_t)offsets[i],
                          mode_name[modes[p]]);
            }
    /* Often, so that it is compiled where code is: a whole page, block by block, from its end. */
    const uint32_t loop[] = {0x0045200f /* cbo.zero (a0) */, rt_addi(10, 10, (uint32_t)-64),
                             rt_addi(11, 11, (uint32_t)-1), 0xfe059ae3 /* bnez a1, -12 */};
    for (unsigned round = 0; round < 200; round++) {
        fill();
        struct outcome out = rt_run(RT_S, loop, RT_COUNT(loop), (uint64_t)data + 8192 - 32, 64, 0);
        uint64_t wrong = out.trapped;
        for (unsigned i = 0; i < RT_COUNT(data); i++)
            wrong += data[i] != (i < 512 ? ~(i * 0x9e3779b97f4a7c15ull) : 0);
        rt_expect(!wrong, "stores.loop: round %d, %d wrong, %s", (int64_t)round, wrong, rt_describe(&out, CODE));
    }
}

/* Zeroing code, then FENCE.I: zeros are illegal instructions. */
static void zeroed_code(void)
{
    static const uint32_t insn = 0x00700513; /* li a0, 7 */
    for (unsigned round = 0; round < 50; round++) {
        uint64_t at = CODE + 4096 + 64 * round;
        rt_code((void *)at, &insn, 1);
        struct outcome out = rt_probe(RT_S, at, 0, 0, 0);
        rt_expect(!out.trapped && out.a0 == 7, "code.before");
        out = rt_run1(RT_S, cbo_insn[ZERO], at + 20, 0, 0);
        rt_expect(!out.trapped, "code.zero");
        rt_fence_i();
        out = rt_probe(RT_S, at, 0, 0, 0);
        if (round == 0)
            rt_print("code.zeroed: %s", rt_describe(&out, at));
        rt_expect(out.trapped && out.cause == CAUSE_ILLEGAL && out.epc == at, "code.zeroed: %s", rt_describe(&out, at));
    }
}

/* ---- faults ---- */

static void nothing_there(void)
{
    static const uint64_t holes[] = {RT_HOLE, RT_HOLE + 0xff8, RT_BEYOND_RAM};
    for (unsigned p = 0; p < RT_COUNT(modes); p++)
        for (unsigned h = 0; h < RT_COUNT(holes); h++) {
            /* Whether regions other than main memory take them is up to the platform: not compared. */
            for (unsigned cbo = 0; cbo < CBOS; cbo++) {
                struct outcome out = rt_run1(modes[p], cbo_insn[cbo], holes[h] + 4, 0, 0);
                rt_expect(!out.trapped || (out.cause == CAUSE_STORE_ACCESS && out.tval == holes[h] + 4),
                          "hole.%s.%x.%c: %s", cbo_name[cbo], holes[h], mode_name[modes[p]], rt_describe(&out, CODE));
            }
            for (unsigned i = 0; i < RT_COUNT(prefetch_insn); i++) {
                struct outcome out = rt_run1(modes[p], prefetch_insn[i], holes[h], 0, 0);
                rt_expect(!out.trapped, "hole.prefetch%d.%x", (int64_t)i, holes[h]);
            }
        }
}

static void translation(bool on)
{
    root[2] = 0x80000000ull >> 2 | FULL;
    root[3] = 0x80000000ull >> 2 | FULL | PTE_U;
    root[4] = (uint64_t)level1 >> 2 | PTE_V;
    level1[0] = (uint64_t)level0 >> 2 | PTE_V;
    rt_csr_write(satp, on ? 8ull << 60 | (uint64_t)root >> 12 : 0);
    rt_sfence();
}

/* An instruction in S- or U-mode with translation on. */
static struct outcome translated(int priv, uint32_t insn, uint64_t va)
{
    uint64_t offset = priv == RT_U ? ALIAS : 0, args[4] = {va, 0, 0, 0};
    rt_code(rt_code_buffer, &insn, 1);
    struct outcome out = rt_probe_at(priv, CODE + offset, args, offset);
    out.epc -= out.trapped ? offset : 0;
    return out;
}

/* What the walk has to say to each kind of access, from the specification. */
static bool permitted(uint64_t pte, int priv, bool sum, bool mxr, bool adue, unsigned cbo)
{
    bool reads = pte & PTE_R || (mxr && pte & PTE_X), writes = pte & PTE_W;
    if (!(pte & PTE_V) || (priv == RT_U) != !!(pte & PTE_U))
        if (!(pte & PTE_V) || priv == RT_U || !sum)
            return false;
    if (cbo == ZERO)
        return writes && (adue || ((pte & PTE_A) && (pte & PTE_D)));
    return reads && (adue || (pte & PTE_A));
}

static void page_faults(void)
{
    static const uint64_t ptes[] = {0,
                                    PTE_V | PTE_R | PTE_A | PTE_D,
                                    PTE_V | PTE_R | PTE_W | PTE_A | PTE_D,
                                    PTE_V | PTE_R | PTE_W,
                                    PTE_V | PTE_R | PTE_W | PTE_A,
                                    PTE_V | PTE_X | PTE_A,
                                    PTE_V | PTE_R | PTE_X | PTE_A};
    uint64_t va = WINDOW + 5 * 4096 + 130;
    translation(true);
    rt_group_begin("pages");
    for (unsigned i = 0; i < 2 * RT_COUNT(ptes); i++)
        for (unsigned bits = 0; bits < 8; bits++)
            for (unsigned p = 1; p < RT_COUNT(modes); p++)
                for (unsigned cbo = 0; cbo < CBOS; cbo++) {
                    uint64_t pte = ptes[i / 2] | (i & 1 && ptes[i / 2] ? PTE_U : 0);
                    bool sum = bits & 1, mxr = bits & 2, adue = bits & 4;
                    rt_csr_clear(mstatus, MSTATUS_SUM | MSTATUS_MXR);
                    rt_csr_set(mstatus, (sum ? MSTATUS_SUM : 0) | (mxr ? MSTATUS_MXR : 0));
                    rt_csr_clear(menvcfg, ENVCFG_ADUE);
                    rt_csr_set(menvcfg, adue ? ENVCFG_ADUE : 0);
                    level0[5] = (uint64_t)data >> 2 | pte;
                    rt_sfence();
                    struct outcome out = translated(modes[p], cbo_insn[cbo], va);
                    uint64_t after = level0[5] & 0xff;
                    bool runs = permitted(pte, modes[p], sum, mxr, adue, cbo);
                    rt_group_line("%s.%x.%d.%c: trapped=%d cause=%x pte=%x", cbo_name[cbo], pte, (int64_t)bits,
                                  mode_name[modes[p]], (int64_t)out.trapped, out.trapped ? out.cause : 0, after);
                    /* An executable page that cannot be read: free. */
                    if (pte & PTE_X && !(pte & PTE_R) && !out.trapped)
                        continue;
                    rt_expect(out.trapped == !runs, "pages.%s.%x.%d.%c: %s", cbo_name[cbo], pte, (int64_t)bits,
                              mode_name[modes[p]], rt_describe(&out, CODE));
                    rt_expect(!out.trapped || (out.cause == CAUSE_STORE_PAGE && out.tval == va && out.epc == CODE),
                              "pages.%s.%x.%d.%c: %s", cbo_name[cbo], pte, (int64_t)bits, mode_name[modes[p]],
                              rt_describe(&out, CODE));
                    uint64_t set = !out.trapped ? PTE_A | (cbo == ZERO ? PTE_D : 0) : 0;
                    rt_expect(after == (pte | set), "pages.%s.%x.%d.%c: pte %x", cbo_name[cbo], pte, (int64_t)bits,
                              mode_name[modes[p]], after);
                    for (unsigned j = 0; j < RT_COUNT(prefetch_insn); j++) {
                        level0[5] = (uint64_t)data >> 2 | pte;
                        rt_sfence();
                        out = translated(modes[p], prefetch_insn[j], va);
                        rt_expect(!out.trapped && (level0[5] & 0xff) == pte, "pages.prefetch%d.%x", (int64_t)j, pte);
                    }
                }
    rt_group_end();
    rt_csr_clear(mstatus, MSTATUS_SUM | MSTATUS_MXR);
    rt_csr_set(menvcfg, ENVCFG_ADUE);
    level0[5] = 0;
    translation(false);
}

/* ---- Zacas and Zabha ---- */

/* amo*.b, .h and amocas.*: rd = a1 (a2 for amocas.q), address in a0, rs2 = a2 (a4). */
static void small_atomics(void)
{
    static const uint32_t funct5[] = {0, 1, 4, 8, 12, 16, 20, 24, 28, 5};
    static const uint64_t values[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff8000ffff8000, 0x8181818181818181};
    rt_group_begin("small");
    for (unsigned op = 0; op < RT_COUNT(funct5); op++)
        for (uint32_t f3 = 0; f3 < 4; f3++)
            for (unsigned v = 0; v < RT_COUNT(values); v++)
                for (unsigned w = 0; w < RT_COUNT(values); w++)
                    for (uint64_t offset = 0; offset < 8; offset += 1ull << f3) {
                        uint32_t insn = rt_r(0x2f, f3, funct5[op] << 2, 11, 10, 12);
                        data[0] = values[v];
                        struct outcome out = rt_run1(RT_M, insn, (uint64_t)data + offset, values[w], values[w] + 1);
                        rt_group_line("%x.%x.%x+%d: %s a1=%x memory=%x", (uint64_t)insn, values[v], values[w],
                                      (int64_t)offset, rt_describe(&out, CODE), out.a1, data[0]);
                        rt_expect(!out.trapped, "small.%x", (uint64_t)insn);
                    }
    rt_group_end();
}

static void swaps(void)
{
    /* Which registers, and whether what is there is expected. a0 holds the address. */
    static const struct {
        const char *name;
        uint32_t rd, rs2;
        bool exists;
    } pairs[] = {{"a2.a4", 12, 14, true}, {"x0.a4", 0, 14, true},   {"a2.x0", 12, 0, true},  {"x0.x0", 0, 0, true},
                 {"a2.a2", 12, 12, true}, {"a1.a4", 11, 14, false}, {"a2.a3", 12, 13, false}};
    for (unsigned i = 0; i < RT_COUNT(pairs); i++)
        for (unsigned equal = 0; equal < 4; equal++) {
            const uint32_t code[] = {0x00053603 /* ld a2, 0(a0) */,
                                     0x00853683 /* ld a3, 8(a0) */,
                                     rt_addi(12, 12, equal & 1),
                                     rt_addi(13, 13, equal >> 1),
                                     rt_addi(14, 0, 123),
                                     rt_addi(15, 0, 456),
                                     rt_r(0x2f, 4, 5 << 2, pairs[i].rd, 10, pairs[i].rs2),
                                     0x02d53c23 /* sd a3, 56(a0) */,
                                     0x00060593 /* mv a1, a2 */};
            data[0] = pairs[i].rd ? 0x1111222233334444 : 0;
            data[1] = pairs[i].rd ? 0x5555666677778888 : 0;
            struct outcome out = rt_run(RT_S, code, RT_COUNT(code), (uint64_t)data, 0, 0);
            rt_print("pair.%s.%d: %s %x %x memory %x %x", pairs[i].name, (int64_t)equal, rt_describe(&out, CODE),
                     out.trapped ? 0 : out.a1, out.trapped ? 0 : data[7], data[0], data[1]);
            rt_expect(out.trapped == !pairs[i].exists && (!out.trapped || out.cause == CAUSE_ILLEGAL), "pair.%s",
                      pairs[i].name);
        }
}

static void atomic_faults(void)
{
    for (unsigned op = 0; op < 2; op++)
        for (uint32_t f3 = 0; f3 < 5; f3++) {
            if (op == 0 && f3 == 4)
                continue;
            uint32_t insn = rt_r(0x2f, f3, op ? 5 << 2 : 0, 12, 10, 14);
            for (uint64_t offset = 0; offset < 16; offset++) {
                struct outcome out = rt_run1(RT_U, insn, (uint64_t)data + offset, 0, 0);
                rt_print("atomic.%d.%d+%d: %s", (int64_t)op, (int64_t)f3, (int64_t)offset, rt_describe(&out, CODE));
                bool aligned = !(offset & ((1ull << f3) - 1));
                rt_expect(out.trapped == !aligned &&
                              (aligned || (out.cause == CAUSE_STORE_MISALIGNED && out.tval == (uint64_t)data + offset)),
                          "atomic.%d.%d+%d", (int64_t)op, (int64_t)f3, (int64_t)offset);
            }
            /* A compare that fails needs permission to store as well. */
            struct outcome out = rt_run1(RT_S, insn, RT_HOLE, 0, 0);
            rt_expect(out.trapped && out.cause == CAUSE_STORE_ACCESS && out.tval == RT_HOLE, "atomic.hole.%d.%d",
                      (int64_t)op, (int64_t)f3);
            translation(true);
            level0[5] = (uint64_t)data >> 2 | PTE_V | PTE_R | PTE_A | PTE_D;
            rt_sfence();
            out = translated(RT_S, insn, WINDOW + 5 * 4096 + 16);
            rt_print("atomic.%d.%d.read_only: %s", (int64_t)op, (int64_t)f3, rt_describe(&out, CODE));
            rt_expect(out.trapped && out.cause == CAUSE_STORE_PAGE && out.tval == WINDOW + 5 * 4096 + 16,
                      "atomic.%d.%d.read_only", (int64_t)op, (int64_t)f3);
            level0[5] = 0;
            translation(false);
        }
}

/* ---- Zawrs ---- */

static void waits(void)
{
    static const uint32_t wrs[] = {0x00d00073 /* wrs.nto */, 0x01d00073 /* wrs.sto */};
    static const uint32_t lr = 0x100535af /* lr.d a1, (a0) */, nothing = RT_NOP;
    for (unsigned which = 0; which < 2; which++)
        for (unsigned p = 0; p < RT_COUNT(modes); p++)
            for (unsigned tw = 0; tw < 2; tw++)
                for (unsigned reserved = 0; reserved < 2; reserved++) {
                    const uint32_t code[] = {reserved ? lr : nothing, wrs[which], 0x00700593 /* li a1, 7 */};
                    rt_csr_clear(mstatus, MSTATUS_TW);
                    rt_csr_set(mstatus, tw ? MSTATUS_TW : 0);
                    struct outcome out = rt_run(modes[p], code, RT_COUNT(code), (uint64_t)data, 0, 0);
                    bool limited = which == 0 && tw && modes[p] != RT_M;
                    /* Without a reservation there is nothing to wait for; QEMU's limit is reached all the same. */
                    if (!limited || reserved)
                        rt_print("wrs.%d.tw%d.lr%d.%c: trapped=%d", (int64_t)which, (int64_t)tw, (int64_t)reserved,
                                 mode_name[modes[p]], (int64_t)out.trapped);
                    if (limited && reserved)
                        rt_expect(out.trapped && out.cause == CAUSE_ILLEGAL && out.tval == wrs[which] &&
                                      out.epc == CODE + 4,
                                  "wrs.limited.%c: %s", mode_name[modes[p]], rt_describe(&out, CODE));
                    else if (!limited)
                        rt_expect(!out.trapped && out.a1 == 7, "wrs.%d.%c: %s", (int64_t)which, mode_name[modes[p]],
                                  rt_describe(&out, CODE));
                }
    rt_csr_clear(mstatus, MSTATUS_TW);
}

/* One entry of PMP over the block, then over half of it. */
static void protection(void)
{
    rt_csr_write(pmpaddr15, -1ull); /* all else stays open */
    rt_csr_write(pmpcfg2, 0x1full << 56);
    for (uint64_t permissions = 0; permissions < 8; permissions++)
        for (unsigned cbo = 0; cbo < CBOS && permissions != 2 && permissions != 6; cbo++) {
            uint64_t at = (uint64_t)data + 64 + 16;
            uint64_t cfg0 = rt_csr_read(pmpcfg0);
            rt_csr_write(pmpaddr0, ((uint64_t)data + 64) >> 2 | 7); /* 64 bytes */
            rt_csr_write(pmpcfg0, (cfg0 & ~0xffull) | 0x18 | permissions);
            rt_sfence();
            struct outcome out = rt_run1(RT_S, cbo_insn[cbo], at, 0, 0);
            bool runs = cbo == ZERO ? permissions & 2 : permissions & 1;
            rt_print("pmp.%x.%s: trapped=%d cause=%x", permissions, cbo_name[cbo], (int64_t)out.trapped,
                     out.trapped ? out.cause : 0);
            rt_expect(out.trapped == !runs && (runs || (out.cause == CAUSE_STORE_ACCESS && out.tval == at)),
                      "pmp.%x.%s: %s", permissions, cbo_name[cbo], rt_describe(&out, CODE));
            rt_csr_write(pmpcfg0, cfg0);
            rt_sfence();
        }
}

void bare_main(void)
{
    gates();
    encodings();
    zeroes();
    zeroed_code();
    nothing_there();
    page_faults();
    small_atomics();
    swaps();
    atomic_faults();
    waits();
    protection();
}
