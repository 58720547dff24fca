/* Sdtrig (Debug Specification 1.0): mcontrol6 triggers with the action of a breakpoint exception, in each mode, on
 * instructions, loads, stores and AMOs; their registers. What QEMU does otherwise than the specification says, or has
 * not (tcontrol, ranges, sizes, scontext), is only expected, not reported.
 */
#include "rt.h"

#define TYPE6 (6ull << 60)
/* Data triggers are not for M-mode, in which the program itself looks at the data: QEMU has no tcontrol. */
enum {
    LOAD = 1,
    STORE = 2,
    EXECUTE = 4,
    MODE_U = 1 << 3,
    MODE_S = 1 << 4,
    MODE_M = 1 << 6,
    MODES = 0x58,
    BELOW_M = 0x18
};
enum { MATCH_NAPOT = 1 << 7, MATCH_GE = 2 << 7, MATCH_LT = 3 << 7, SIZE_SHIFT = 16 };
enum { MPTE = 1 << 7 };

static const char mode_names[] = "US?M";
static uint64_t data[8] __attribute__((aligned(64)));
static bool has_tcontrol;

/* a0 counts what was executed. */
static const uint32_t adds[] = {0x00150513, 0x00150513, 0x00150513, 0x00150513};
static const uint32_t ld_a0[] = {0x00053583};
static const uint32_t lw_a0[] = {0x00052583};
static const uint32_t lh_a0[] = {0x00051583};
static const uint32_t sd_a0[] = {0x00b53023};
static const uint32_t sb_a0[] = {0x00b50023};
static const uint32_t amoadd_a0[] = {0x00b536af};

/* M-mode's triggers count behind MRET only where MPTE says so. */
static void arm_machine(void)
{
    if (has_tcontrol)
        __asm__ volatile("csrw 0x7a5, %0" ::"r"((uint64_t)MPTE));
}

static void set(unsigned trigger, uint64_t tdata1, uint64_t tdata2)
{
    rt_csr_write(tselect, trigger);
    rt_csr_write(tdata1, 0);
    rt_csr_write(tdata2, tdata2);
    rt_csr_write(tdata1, tdata1 ? TYPE6 | tdata1 : 0);
}

static void clear(void)
{
    set(0, 0, 0);
    set(1, 0, 0);
}

static uint64_t code(unsigned offset)
{
    return (uint64_t)rt_code_buffer + offset;
}

static struct outcome run(int priv, const uint32_t *insns, size_t count, uint64_t a0)
{
    arm_machine();
    return rt_run(priv, insns, count, a0, 5, 0);
}

#define RUN(priv, insns, a0) run(priv, insns, RT_COUNT(insns), a0)

/* Without tval, which is 0 in QEMU: the specification has it be the address. */
static const char *where(const struct outcome *o)
{
    struct outcome copy = *o;

    if (copy.cause == CAUSE_BREAK)
        copy.tval = 0;
    return rt_describe(&copy, (uint64_t)rt_code_buffer);
}

static bool stopped(const struct outcome *o, uint64_t tval)
{
    return o->trapped && o->cause == CAUSE_BREAK && o->tval == tval;
}

static void registers(void)
{
    rt_csr_write(tselect, 1);
    rt_print("tselect: %x", rt_csr_read(tselect));
    rt_csr_write(tselect, 0x123456789ull);
    rt_print("tselect kept: %x", rt_csr_read(tselect));
    set(0, EXECUTE | MODES, 0x1234);
    rt_print("mcontrol6: %x %x", rt_csr_read(tdata1), rt_csr_read(tdata2));
    rt_expect(rt_csr_read(tdata1) == (TYPE6 | EXECUTE | MODES), "tdata1");
    /* Reserved bits, Debug Mode, chain, other actions and data are not there. */
    set(0, LOAD | STORE | 1ull << 59 | 1ull << 11 | 15ull << 12 | 1ull << 21 | 1ull << 26, 0);
    rt_print("mcontrol6 fields: %x", rt_csr_read(tdata1) & ~(1ull << 22));
    for (uint64_t size = 0; size < 16; size++) {
        set(0, LOAD | MODE_U | size << SIZE_SHIFT, 0);
        rt_print("size %x: %x", size, rt_csr_read(tdata1) >> SIZE_SHIFT & 15);
    }
    set(0, EXECUTE | MODE_U, ~0ull);
    rt_print("tdata2: %x", rt_csr_read(tdata2));
    rt_csr_write(tdata3, ~0ull);
    rt_print("tdata3 mcontext: %x", rt_csr_read(tdata3) >> 48);
    rt_csr_write(tdata3, 0);
    rt_print("types: %x", rt_csr_read(0x7a4) >> 6 & 1);
    rt_csr_write(mcontext, ~0ull);
    rt_print("mcontext: %x", rt_csr_read(mcontext));
    rt_csr_write(mcontext, 0);
    clear();
}

static void instructions(void)
{
    static const int modes[] = {RT_M, RT_S, RT_U};

    for (unsigned i = 0; i < RT_COUNT(modes); i++) {
        for (unsigned bit = 0; bit < RT_COUNT(modes); bit++) {
            set(0, EXECUTE | 8u << modes[bit], code(8));
            struct outcome o = RUN(modes[i], adds, 0);
            rt_print("execute in %c, trigger for %c: %s count=%x", (int64_t)mode_names[modes[i]],
                     (int64_t)mode_names[modes[bit]], where(&o), o.a0);
            rt_expect(i == bit ? stopped(&o, code(8)) && o.a0 == 2 : !o.trapped && o.a0 == 4, "execute %x %x",
                      (uint64_t)i, (uint64_t)bit);
        }
    }
    set(0, EXECUTE | MODES, code(0));
    set(1, EXECUTE | MODES, code(12));
    struct outcome o = RUN(RT_S, adds, 0);
    rt_print("two, the first: %s", where(&o));
    set(0, 0, 0);
    o = RUN(RT_S, adds, 0);
    rt_print("the second: %s", where(&o));
    clear();
    o = RUN(RT_S, adds, 0);
    rt_print("none: %s", where(&o));
    /* S-mode's own handler. */
    rt_csr_set(medeleg, 1 << CAUSE_BREAK);
    set(1, EXECUTE | MODE_U | MODE_S, code(4));
    o = RUN(RT_U, adds, 0);
    rt_print("delegated: %s", where(&o));
    rt_expect(o.by == 'S' && stopped(&o, code(4)), "delegated");
    rt_csr_clear(medeleg, 1 << CAUSE_BREAK);
    clear();
}

struct access {
    const char *name;
    const uint32_t *insns;
    int64_t offset; /* of the access from data[2], where the trigger is */
};

static void accesses(void)
{
    static const struct access list[] = {
        {"ld", ld_a0, 0},        {"lw", lw_a0, 0},         {"lh", lh_a0, 0},         {"sd", sd_a0, 0},
        {"sb", sb_a0, 0},        {"amoadd", amoadd_a0, 0}, {"ld before", ld_a0, -8}, {"ld behind", ld_a0, 8},
        {"sd behind", sd_a0, 8}, {"ld across", ld_a0, -4}, {"sd across", sd_a0, -4}, {"sb before", sb_a0, -1},
    };
    static const unsigned kinds[] = {LOAD, STORE, LOAD | STORE};

    for (unsigned kind = 0; kind < RT_COUNT(kinds); kind++) {
        for (unsigned i = 0; i < RT_COUNT(list); i++) {
            uint64_t before = data[2];
            set(0, kinds[kind] | BELOW_M, (uint64_t)&data[2]);
            struct outcome o = run(RT_S, list[i].insns, 1, (uint64_t)&data[2] + (uint64_t)list[i].offset);
            if (list[i].insns != amoadd_a0 || kinds[kind] != LOAD)
                rt_print("%s, trigger %x: %s", list[i].name, (uint64_t)kinds[kind], rt_describe(&o, code(0)));
            if (o.trapped)
                rt_expect(stopped(&o, (uint64_t)&data[2]) && data[2] == before, "%s", list[i].name);
        }
    }
    set(0, LOAD | BELOW_M, (uint64_t)&data[2]);
    struct outcome o = RUN(RT_U, amoadd_a0, (uint64_t)&data[2]);
    rt_expect(stopped(&o, (uint64_t)&data[2]), "an AMO loads");
    set(0, STORE | MODE_U, (uint64_t)&data[2]);
    o = RUN(RT_S, sd_a0, (uint64_t)&data[2]);
    rt_print("sd in S, trigger for U: %s", rt_describe(&o, code(0)));
    clear();
}

/* Beyond QEMU. */
static void ranges(void)
{
    uint64_t at = (uint64_t)&data[4];

    set(0, LOAD | BELOW_M | MATCH_NAPOT, at | 7); /* 16 bytes */
    for (int64_t offset = -8; offset <= 16; offset += 8) {
        struct outcome o = RUN(RT_S, ld_a0, at + (uint64_t)offset);
        rt_expect(o.trapped == (offset == 0 || offset == 8), "napot %d", offset);
    }
    set(0, LOAD | MODE_U | MATCH_GE, at);
    rt_expect(!RUN(RT_U, ld_a0, at - 8).trapped && RUN(RT_U, ld_a0, at).trapped && RUN(RT_U, ld_a0, at + 16).trapped,
              "ge");
    set(0, LOAD | MODE_U | MATCH_LT, at);
    rt_expect(RUN(RT_U, ld_a0, at - 8).trapped && !RUN(RT_U, ld_a0, at).trapped && !RUN(RT_U, ld_a0, at + 16).trapped,
              "lt");
    set(0, LOAD | BELOW_M | 3ull << SIZE_SHIFT, at);
    rt_expect(!RUN(RT_S, ld_a0, at).trapped && RUN(RT_S, lw_a0, at).trapped && !RUN(RT_S, lh_a0, at).trapped, "size");
    set(0, EXECUTE | BELOW_M | 2ull << SIZE_SHIFT, code(4));
    rt_expect(!RUN(RT_S, adds, 0).trapped, "a compressed instruction only");
    set(0, EXECUTE | BELOW_M | 3ull << SIZE_SHIFT, code(4));
    rt_expect(RUN(RT_S, adds, 0).trapped, "a long instruction only");
    rt_expect(rt_csr_read(tdata1) >> 22 & 1, "hit");
    clear();
    rt_expect(rt_csr_read(tdata1) >> 60 == 15, "disabled");
    rt_csr_write(tdata1, 2ull << 60 | EXECUTE | BELOW_M);
    rt_expect(rt_csr_read(tdata1) == 15ull << 60, "a type that is not there");
}

/* Beyond QEMU, whose mcontext makes no difference. */
static void contexts(void)
{
    if (!has_tcontrol)
        return;
    set(0, EXECUTE | MODE_S, code(0));
    rt_csr_write(tdata3, 7ull << 51 | 4ull << 48);
    rt_expect(!RUN(RT_S, adds, 0).trapped, "other mcontext");
    rt_csr_write(mcontext, 7);
    rt_expect(RUN(RT_S, adds, 0).trapped, "its mcontext");
    rt_csr_write(mcontext, 0);
    rt_csr_write(tdata3, 0x123400ull << 2 | 1ull << 36 | 1);
    rt_expect(!RUN(RT_S, adds, 0).trapped, "other scontext");
    __asm__ volatile("csrw 0x5a8, %0" ::"r"(0x1234ffull)); /* the lowest byte does not count */
    rt_expect(RUN(RT_S, adds, 0).trapped, "its scontext");
    rt_csr_write(tdata3, 5ull << 2 | 2);
    rt_expect(!RUN(RT_S, adds, 0).trapped, "other ASID");
    rt_csr_write(tdata3, 0);
    clear();
}

/* Code that ran often before, so that it is compiled, and data on a page that was reached directly. */
static __attribute__((noinline)) uint64_t hot(uint64_t n, volatile uint64_t *cell)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < n; i++)
        sum += *cell + i;
    return sum;
}

static void in_hot_code(void)
{
    static uint64_t cell = 3;
    uint64_t before = hot(200000, &cell);

    set(0, LOAD | MODE_S, (uint64_t)&cell);
    arm_machine();
    struct outcome o = rt_probe(RT_S, (uint64_t)hot, 1000, (uint64_t)&cell, 0);
    rt_print("load in hot code: %c cause=%x %x", (int64_t)o.by, o.cause, (uint64_t)(o.tval == (uint64_t)&cell));
    rt_expect(stopped(&o, (uint64_t)&cell), "load in hot code");
    set(0, EXECUTE | MODE_S, (uint64_t)hot);
    o = rt_probe(RT_S, (uint64_t)hot, 1000, (uint64_t)&cell, 0);
    rt_expect(stopped(&o, (uint64_t)hot), "hot code");
    clear();
    o = rt_probe(RT_S, (uint64_t)hot, 200000, (uint64_t)&cell, 0);
    rt_expect(!o.trapped && o.a0 == before, "afterwards");
}

static void machine_mode(void)
{
    if (!has_tcontrol)
        return;
    set(0, EXECUTE | MODE_M, code(0));
    __asm__ volatile("csrw 0x7a5, zero");
    rt_expect(!rt_run(RT_M, adds, RT_COUNT(adds), 0, 0, 0).trapped, "not without tcontrol");
    rt_expect(RUN(RT_M, adds, 0).trapped, "with tcontrol");
    uint64_t tcontrol;
    __asm__ volatile("csrr %0, 0x7a5" : "=r"(tcontrol));
    rt_expect(tcontrol == MPTE, "the trap has taken mte away: %x", tcontrol);
    clear();
}

void bare_main(void)
{
    has_tcontrol = !rt_run1(RT_M, rt_csrrs(0, 0x7a5, 0), 0, 0, 0).trapped;
    registers();
    instructions();
    accesses();
    ranges();
    contexts();
    in_hot_code();
    machine_mode();
    rt_print("below M: %s", (rt_run1(RT_S, rt_csrrs(0, 0x7a0, 0), 0, 0, 0).trapped ? "refused" : "allowed"));
}
