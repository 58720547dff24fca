/* What goes wrong in the middle of hot code: page faults at each access of a loop, traps that are emulated, timer
 * interrupts, and functions that are written, run often, and written over. Each loop runs long enough to be compiled,
 * and beside it a model in C, which says where the next trap is and what the registers hold there (Privileged
 * Architecture 1.13, section 3.1: precise traps).
 */
#include "rt.h"

#define WINDOW 0x100000000ull
#define LEAF 0xcfull

enum { PAGES = 6, TURNS = 3000, WORDS = 512 };

static uint64_t pages[PAGES][WORDS], model_pages[PAGES][WORDS] __attribute__((aligned(4096)));
static uint64_t root[512], level1[512], level0[512] __attribute__((aligned(4096)));

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

/* ---- faults ---- */

/* a0: the window, a1: turns. One access to each page; the last one moves through its page. */
extern char hot_loop[], hot_at_0[], hot_at_1[], hot_at_2[], hot_at_3[], hot_at_4[], hot_at_5[], hot_call[], hot_end[];
__asm__(".text\n"
        ".globl hot_loop, hot_at_0, hot_at_1, hot_at_2, hot_at_3, hot_at_4, hot_at_5, hot_call, hot_end\n"
        "hot_loop:\n"
        "  mv a3, a0\n"
        "  li t6, 4096\n"
        "  add a4, a3, t6\n"
        "  add a5, a4, t6\n"
        "  add a6, a5, t6\n"
        "  add a7, a6, t6\n"
        "  add a0, a7, t6\n"
        "  li a2, 1\n"
        "  li t0, 0\n"
        "  li t3, 0\n"
        "1:\n"
        "hot_at_0: ld t0, 8(a3)\n"
        "  add a2, a2, t0\n"
        "hot_at_1: sd a2, 16(a4)\n"
        "  xor t1, a2, a1\n"
        "hot_at_2: sw t1, 20(a5)\n"
        "  add a2, a2, t1\n"
        "hot_at_3: amoadd.d t3, a2, (a6)\n"
        "  add a2, a2, t3\n"
        "hot_at_4: lhu t0, 30(a7)\n"
        "  slli t1, a2, 1\n"
        "  xor a2, a2, t1\n"
        "  xor a2, a2, t0\n"
        "  slli t2, a1, 3\n"
        "  andi t2, t2, 0x7f8\n"
        "  add t2, t2, a0\n"
        "hot_at_5: sd a2, 0(t2)\n"
        "  andi t1, a1, 15\n"
        "  bnez t1, 2f\n"
        "hot_call: ecall\n"
        "2: addi a1, a1, -1\n"
        "  bnez a1, 1b\n"
        "  mv a0, a2\n"
        "  ret\n"
        "hot_end:\n");

static const char *const at[PAGES] = {hot_at_0, hot_at_1, hot_at_2, hot_at_3, hot_at_4, hot_at_5};
static const uint64_t cause_at[PAGES] = {CAUSE_LOAD_PAGE,  CAUSE_STORE_PAGE, CAUSE_STORE_PAGE,
                                         CAUSE_STORE_PAGE, CAUSE_LOAD_PAGE,  CAUSE_STORE_PAGE};

/* Which pages are there. `dense`: only the one that was accessed last, so that each access of each turn faults. Else
 * each sixteenth turn takes some away. */
struct presence {
    bool there[PAGES];
    bool dense;
    uint64_t random;
};

static void after_fault(struct presence *p, unsigned page)
{
    for (unsigned i = 0; p->dense && i < PAGES; i++)
        p->there[i] = false;
    p->there[page] = true;
}

static void after_call(struct presence *p)
{
    uint64_t gone = next_random(&p->random);
    for (unsigned i = 0; i < PAGES; i++)
        p->there[i] &= (gone >> i & 1) == 0;
}

/* What the traps were: how many, and a digest of cause, pc, tval and registers. */
struct record {
    uint64_t count, digest;
};

static void note(struct record *record, uint64_t cause, uint64_t pc, uint64_t tval, const uint64_t x[4])
{
    const uint64_t values[] = {cause, pc, tval, x[0], x[1], x[2], x[3]};
    for (unsigned i = 0; i < RT_COUNT(values); i++) {
        record->digest = (record->digest ^ values[i]) * 0x100000001b3ull;
        record->digest ^= record->digest >> 29;
    }
    record->count++;
}

static struct presence presence;
static struct record seen;

static void map_pages(void)
{
    for (unsigned i = 0; i < PAGES; i++)
        level0[i] = presence.there[i] ? (uint64_t)pages[i] >> 2 | LEAF : 0;
    rt_sfence();
}

static bool on_fault(struct hart *hart, char mode)
{
    uint64_t pc = rt_csr_read(mepc), cause = rt_csr_read(mcause), tval = rt_csr_read(mtval);
    const uint64_t x[] = {hart->x[11], hart->x[12], hart->x[5], hart->x[28]}; /* a1, a2, t0, t3 */
    if (pc < (uint64_t)hot_loop || pc >= (uint64_t)hot_end)
        return false;
    note(&seen, cause, pc, tval, x);
    if (cause == CAUSE_ECALL_S) {
        after_call(&presence);
        rt_csr_write(mepc, pc + 4);
    } else if (tval - WINDOW < PAGES * 4096) {
        after_fault(&presence, (unsigned)((tval - WINDOW) >> 12));
    } else {
        return false;
    }
    map_pages();
    return true;
}

struct model {
    struct presence presence;
    struct record record;
    uint64_t x[4]; /* a1, a2, t0, t3 */
};

static void model_access(struct model *m, unsigned page, uint64_t offset)
{
    if (m->presence.there[page])
        return;
    note(&m->record, cause_at[page], (uint64_t)at[page], WINDOW + page * 4096ull + offset, m->x);
    after_fault(&m->presence, page);
}

static uint64_t model_loop(struct model *m)
{
    for (uint64_t turn = TURNS; turn; turn--) {
        uint64_t t1;
        m->x[0] = turn;
        model_access(m, 0, 8);
        m->x[2] = model_pages[0][1];
        m->x[1] += m->x[2];
        model_access(m, 1, 16);
        model_pages[1][2] = m->x[1];
        t1 = m->x[1] ^ turn;
        model_access(m, 2, 20);
        model_pages[2][2] = (model_pages[2][2] & 0xffffffff) | t1 << 32;
        m->x[1] += t1;
        model_access(m, 3, 0);
        m->x[3] = model_pages[3][0];
        model_pages[3][0] += m->x[1];
        m->x[1] += m->x[3];
        model_access(m, 4, 30);
        m->x[2] = model_pages[4][3] >> 48;
        m->x[1] ^= m->x[1] << 1;
        m->x[1] ^= m->x[2];
        uint64_t moving = turn << 3 & 0x7f8;
        model_access(m, 5, moving);
        model_pages[5][moving / 8] = m->x[1];
        if (turn % 16 == 0) {
            note(&m->record, CAUSE_ECALL_S, (uint64_t)hot_call, 0, m->x);
            after_call(&m->presence);
        }
    }
    return m->x[1];
}

static void faults(const char *name, bool dense, uint64_t seed)
{
    struct model model = {.presence = {.dense = dense, .random = seed}, .x = {0, 1, 0, 0}};
    uint64_t random = seed + 1, different = 0;

    for (unsigned i = 0; i < PAGES; i++) {
        for (unsigned j = 0; j < WORDS; j++)
            pages[i][j] = model_pages[i][j] = next_random(&random);
    }
    uint64_t expected = model_loop(&model);
    presence = (struct presence){.dense = dense, .random = seed};
    seen = (struct record){0};
    map_pages();
    rt_csr_write(satp, 8ull << 60 | (uint64_t)root >> 12);
    rt_self()->hook = on_fault;
    struct outcome out = rt_probe(RT_S, (uint64_t)hot_loop, WINDOW, TURNS, 0);
    rt_self()->hook = 0;
    rt_csr_write(satp, 0);
    for (unsigned i = 0; i < PAGES; i++) {
        for (unsigned j = 0; j < WORDS; j++)
            different += pages[i][j] != model_pages[i][j];
    }
    rt_print("faults.%s: %s result=%x traps=%d digest=%x different=%d", name, out.trapped ? "trapped" : "ok", out.a0,
             (int64_t)seen.count, seen.digest, (int64_t)different);
    rt_expect(!out.trapped && out.a0 == expected, "faults.%s: result %x, not %x", name, out.a0, expected);
    rt_expect(seen.count == model.record.count, "faults.%s: %d traps, not %d", name, (int64_t)seen.count,
              (int64_t)model.record.count);
    rt_expect(seen.digest == model.record.digest, "faults.%s: pc, tval or registers at a trap", name);
    rt_expect(!different, "faults.%s: memory", name);
}

/* ---- traps that are emulated ---- */

extern char trap_loop[], trap_end[];
__asm__(".text\n"
        ".globl trap_loop, trap_end\n"
        "trap_loop:\n"
        "  li a2, 7\n"
        "  li t0, 5\n"
        "1: mul a2, a2, t0\n"
        "  ecall\n"
        "  addi a2, a2, 1\n"
        "  .4byte 0x0000000b\n" /* custom-0: illegal here */
        "  slli a3, a2, 3\n"
        "  xor a2, a2, a3\n"
        "  addi a4, a0, 4\n"
        "  .4byte 0x0007302f\n" /* amoadd.d x0, x0, (a4): misaligned */
        "  addi a2, a2, 3\n"
        "  addi a1, a1, -1\n"
        "  bnez a1, 1b\n"
        "  mv a0, a2\n"
        "  ret\n"
        "trap_end:\n");

static bool on_emulated(struct hart *hart, char mode)
{
    uint64_t pc = rt_csr_read(mepc), cause = rt_csr_read(mcause);
    const uint64_t x[] = {hart->x[11], hart->x[12], 0, 0};
    if (pc < (uint64_t)trap_loop || pc >= (uint64_t)trap_end)
        return false;
    note(&seen, cause, 0, rt_csr_read(mtval), x);
    hart->x[12] += cause;
    rt_csr_write(mepc, pc + 4);
    return true;
}

static void emulated(void)
{
    struct record expected = {0};
    uint64_t a2 = 7, cell[2];

    for (uint64_t turn = TURNS; turn; turn--) {
        a2 *= 5;
        note(&expected, CAUSE_ECALL_U, 0, 0, (uint64_t[]){turn, a2, 0, 0});
        a2 += CAUSE_ECALL_U + 1;
        note(&expected, CAUSE_ILLEGAL, 0, 0xb, (uint64_t[]){turn, a2, 0, 0});
        a2 += CAUSE_ILLEGAL;
        a2 ^= a2 << 3;
        note(&expected, CAUSE_STORE_MISALIGNED, 0, (uint64_t)cell + 4, (uint64_t[]){turn, a2, 0, 0});
        a2 += CAUSE_STORE_MISALIGNED + 3;
    }
    seen = (struct record){0};
    rt_self()->hook = on_emulated;
    struct outcome out = rt_probe(RT_U, (uint64_t)trap_loop, (uint64_t)cell, TURNS, 0);
    rt_self()->hook = 0;
    rt_print("emulated: %s result=%x traps=%d", out.trapped ? "trapped" : "ok", out.a0, (int64_t)seen.count);
    rt_expect(!out.trapped && out.a0 == a2, "emulated: result %x, not %x", out.a0, a2);
    rt_expect(seen.count == expected.count && seen.digest == expected.digest, "emulated: a trap's values");
}

/* ---- a code generator ---- */

/* Writes a loop of random arithmetic on a0, a1 (which counts down) and a2, and works out what it gives. */
static uint64_t generate(uint32_t *out, uint64_t *random, uint64_t turns)
{
    uint32_t kinds[12];
    unsigned length = 3 + (unsigned)(next_random(random) % 9);
    uint64_t a0 = 1, a2 = 3;

    for (unsigned i = 0; i < length; i++) {
        uint32_t immediate = (uint32_t)next_random(random) & 0x7ff;
        kinds[i] = immediate << 2 | (uint32_t)(next_random(random) & 3);
        switch (kinds[i] & 3) {
        case 0:
            *out++ = rt_addi(10, 10, immediate);
            break;
        case 1:
            *out++ = rt_r(0x33, 0, 0, 12, 12, 10); /* add a2, a2, a0 */
            break;
        case 2:
            *out++ = rt_r(0x33, 4, 0, 10, 10, 12); /* xor a0, a0, a2 */
            break;
        default:
            *out++ = rt_i(0x13, 1, 10, 10, immediate & 7); /* slli */
            break;
        }
    }
    *out++ = rt_addi(11, 11, 0xfff);
    int32_t back = -4 * (int32_t)(length + 1);
    uint32_t b = (uint32_t)back;
    *out++ = (b >> 12 & 1) << 31 | (b >> 5 & 0x3f) << 25 | 11 << 15 | 1 << 12 | (b >> 1 & 0xf) << 8 |
             (b >> 11 & 1) << 7 | 0x63; /* bnez a1, back */
    *out = 0x00008067;
    while (turns--) {
        for (unsigned i = 0; i < length; i++) {
            uint32_t immediate = kinds[i] >> 2;
            switch (kinds[i] & 3) {
            case 0:
                a0 += immediate;
                break;
            case 1:
                a2 += a0;
                break;
            case 2:
                a0 ^= a2;
                break;
            default:
                a0 <<= immediate & 7;
                break;
            }
        }
    }
    return a0;
}

static void generated(void)
{
    uint64_t random = 0x1234567, errors = 0, sum = 0;

    for (unsigned round = 0; round < 400; round++) {
        /* 64 places, which are written over in an order that leaves some alone for long. */
        unsigned place = (unsigned)(next_random(&random) % (round & 1 ? 64 : 4));
        uint64_t turns = 40 + round % 40;
        uint32_t *code = (uint32_t *)(rt_code_buffer + 128ul * place);
        uint64_t expected = generate(code, &random, turns);
        rt_fence_i();
        for (unsigned again = 0; again < 3; again++) {
            uint64_t result = ((uint64_t (*)(uint64_t, uint64_t, uint64_t))code)(1, turns, 3);
            errors += result != expected;
            sum = sum * 31 + result;
        }
    }
    rt_print("generated: errors=%d sum=%x", (int64_t)errors, sum);
    rt_expect(!errors, "generated: %d errors", (int64_t)errors);
}

/* ---- timer interrupts ---- */

enum { PROGRESS_INSNS = 400 };

static uint64_t ticks_apart, ticks_now, last_retired;

/* On a slow host a trap takes longer than the timer's distance, and the loop would never end: an interrupt that comes
 * hardly later than the last one's end makes the next distance twice as long. */
static bool on_timer(struct hart *hart, char mode)
{
    const uint64_t x[] = {hart->x[11], hart->x[12], hart->x[5], hart->x[28]};
    if (rt_csr_read(mcause) != (CAUSE_INTERRUPT | 7))
        return false;
    note(&seen, 0, rt_csr_read(mepc), 0, x);
    if (rt_csr_read(minstret) - last_retired < PROGRESS_INSNS)
        ticks_now *= 2;
    else if (ticks_now / 2 >= ticks_apart)
        ticks_now /= 2;
    *rt_mmio64(RT_MTIMECMP(0)) = *rt_mmio64(RT_MTIME) + ticks_now;
    last_retired = rt_csr_read(minstret);
    return true;
}

/* How many there are is a matter of the clock; with --clock=insns it is the same in each run, whatever runs the code,
 * and so are the places and the registers there (bare_hot_tiers compares). */
static void timer(uint64_t apart)
{
    struct model model = {.presence = {.there = {1, 1, 1, 1, 1, 1}}};
    uint64_t errors = 0, passes = 0;

    presence = model.presence;
    for (unsigned i = 0; i < PAGES; i++) {
        for (unsigned j = 0; j < WORDS; j++)
            pages[i][j] = model_pages[i][j] = i * 1000 + j;
    }
    map_pages();
    rt_csr_write(satp, 8ull << 60 | (uint64_t)root >> 12);
    *(volatile uint32_t *)hot_call = RT_NOP;
    rt_fence_i();
    seen = (struct record){0};
    ticks_apart = ticks_now = apart;
    last_retired = 0;
    rt_self()->hook = on_timer;
    *rt_mmio64(RT_MTIMECMP(0)) = *rt_mmio64(RT_MTIME) + apart;
    rt_csr_write(mie, 1 << 7);
    uint64_t from = rt_csr_read(minstret);
    do {
        struct outcome out = rt_probe(RT_S, (uint64_t)hot_loop, WINDOW, TURNS, 0);
        model.x[1] = 1;
        model.presence.random = 0; /* stays 0: the calls take no page away */
        errors += out.trapped || out.a0 != model_loop(&model);
    } while (++passes < 3 || (seen.count < 4 && passes < 2000));
    uint64_t insns = rt_csr_read(minstret) - from;
    rt_csr_write(mie, 0);
    rt_self()->hook = 0;
    rt_csr_write(satp, 0);
    rt_print("timer.%d: errors=%d", (int64_t)apart, (int64_t)errors);
    rt_print("timer_exact.%d: passes=%d interrupts=%d digest=%x minstret=%d", (int64_t)apart, (int64_t)passes,
             (int64_t)seen.count, seen.digest, (int64_t)insns);
    rt_expect(!errors, "timer.%d: %d wrong results", (int64_t)apart, (int64_t)errors);
    rt_expect(seen.count > 3, "timer.%d: %d interrupts came", (int64_t)apart, (int64_t)seen.count);
}

void bare_main(void)
{
    root[2] = 0x80000000ull >> 2 | LEAF;
    root[WINDOW >> 30] = (uint64_t)level1 >> 2 | 1;
    level1[0] = (uint64_t)level0 >> 2 | 1;
    faults("each_access", true, 5);
    faults("now_and_then", false, 11);
    faults("otherwise", false, 2021);
    emulated();
    generated();
    /* Last: they take the call out of the loop. */
    timer(29);
    timer(97);
    timer(1000);
}
