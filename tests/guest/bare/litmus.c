/* The memory model (Unprivileged ISA, chapter "RVWMO"): the classic litmus shapes, each with what orders it, so that
 * one outcome is forbidden. A batch has many instances with cells of their own; the harts start it together and run
 * through it side by side: each waits a little at each instance for those that are behind. What is allowed is not
 * reported: it differs from run to run. With LITMUS_TSO the shapes whose accesses nothing orders but Ztso are there,
 * too; with LITMUS_LONG each runs millions of times.
 */
#include "rt.h"

/* With more harts than the host may have processors, waiting for all of them takes turns of its scheduler. */
enum { INSTANCES = 1024, HARTS = 4, PATIENCE = 200 };
#ifdef LITMUS_LONG
enum { BATCHES = 3000, BATCHES_MANY = 1000 };
#elif defined(LITMUS_TSO)
enum { BATCHES = 20, BATCHES_MANY = 4 };
#else
enum { BATCHES = 50, BATCHES_MANY = 6 };
#endif

/* What a hart of a shape does with an instance: cells x and y, results in r[0] and r[1]. */
typedef void (*body_fn)(volatile uint64_t *x, volatile uint64_t *y, uint64_t *r);

struct result {
    uint64_t r[HARTS][2], x, y;
};

struct shape {
    const char *name;
    body_fn body[HARTS]; /* NULL: not taking part */
    bool (*forbidden)(const struct result *o);
};

static volatile uint64_t cells[INSTANCES][2][8] __attribute__((aligned(64)));
static uint64_t results[HARTS][INSTANCES][2];
static const struct shape *volatile current;
static volatile uint64_t progress[HARTS][8] __attribute__((aligned(64)));
static volatile uint64_t arrived, finished, present, batch;
static uint64_t harts;

#define BODY(name, code)                                                                  \
    static void name(volatile uint64_t *x, volatile uint64_t *y, uint64_t *r)             \
    {                                                                                     \
        uint64_t a = 0, b = 0, one = 1, two = 2;                                          \
        __asm__ volatile(code                                                             \
                         : [a] "+&r"(a), [b] "+&r"(b), [one] "+&r"(one), [two] "+&r"(two) \
                         : [x] "r"(x), [y] "r"(y)                                         \
                         : "t0", "t1", "memory");                                         \
        r[0] = a;                                                                         \
        r[1] = b;                                                                         \
    }

/* Store buffering. */
BODY(sb0, "sd %[one], (%[x]); fence rw, rw; ld %[a], (%[y])")
BODY(sb1, "sd %[one], (%[y]); fence rw, rw; ld %[a], (%[x])")
BODY(sb_amo0, "amoswap.d.aqrl t0, %[one], (%[x]); lr.d.aqrl %[a], (%[y])")
BODY(sb_amo1, "amoswap.d.aqrl t0, %[one], (%[y]); lr.d.aqrl %[a], (%[x])")
BODY(sb_lrsc0, "1: lr.d.aqrl t0, (%[x]); sc.d.aqrl t0, %[one], (%[x]); bnez t0, 1b; fence rw, rw; ld %[a], (%[y])")
BODY(sb_lrsc1, "1: lr.d.aqrl t0, (%[y]); sc.d.aqrl t0, %[one], (%[y]); bnez t0, 1b; fence rw, rw; ld %[a], (%[x])")
/* Message passing: the writer, and readers that order in different ways. */
BODY(mp0, "sd %[one], (%[x]); fence w, w; sd %[one], (%[y])")
BODY(mp0_release, "sd %[one], (%[x]); amoswap.d.rl t0, %[one], (%[y])")
BODY(mp0_tso, "sd %[one], (%[x]); fence.tso; sd %[one], (%[y])")
BODY(mp1, "ld %[a], (%[y]); fence r, r; ld %[b], (%[x])")
BODY(mp1_acquire, "lr.d.aq %[a], (%[y]); ld %[b], (%[x])")
BODY(mp1_address, "ld %[a], (%[y]); xor t0, %[a], %[a]; add t0, t0, %[x]; ld %[b], (t0)")
BODY(mp1_amo, "amoor.d.aq %[a], zero, (%[y]); ld %[b], (%[x])")
/* Load buffering, S, R, 2+2W. */
BODY(lb0, "ld %[a], (%[x]); fence r, w; sd %[one], (%[y])")
BODY(lb1, "ld %[a], (%[y]); fence r, w; sd %[one], (%[x])")
BODY(lb0_data, "ld %[a], (%[x]); xor t0, %[a], %[a]; addi t0, t0, 1; sd t0, (%[y])")
BODY(lb1_data, "ld %[a], (%[y]); xor t0, %[a], %[a]; addi t0, t0, 1; sd t0, (%[x])")
BODY(s0, "sd %[two], (%[x]); fence w, w; sd %[one], (%[y])")
BODY(s1, "ld %[a], (%[y]); fence r, w; sd %[one], (%[x])")
BODY(r0, "sd %[one], (%[x]); fence w, w; sd %[one], (%[y])")
BODY(r1, "sd %[two], (%[y]); fence rw, rw; ld %[a], (%[x])")
BODY(ww0, "sd %[one], (%[x]); fence w, w; sd %[two], (%[y])")
BODY(ww1, "sd %[one], (%[y]); fence w, w; sd %[two], (%[x])")
/* Coherence: one location, no fence needed. */
BODY(corr0, "sd %[one], (%[x])")
BODY(corr1, "ld %[a], (%[x]); ld %[b], (%[x])")
BODY(coww0, "sd %[one], (%[x]); sd %[two], (%[x])")
/* Parts of a doubleword: bytes travel together with the word they are stored in. */
BODY(half0, "li t0, 0x0101010101010101; sd t0, (%[x]); fence w, w; sb %[one], (%[y])")
BODY(half1, "lbu %[a], (%[y]); fence r, r; lw %[b], 4(%[x])")
/* Of two AMOs or LR/SC pairs on one location each sees the other or is seen. */
BODY(swap, "amoswap.d %[a], %[one], (%[x])")
BODY(add_lrsc, "1: lr.d %[a], (%[x]); addi t0, %[a], 1; sc.d t1, t0, (%[x]); bnez t1, 1b")
/* Independent reads of independent writes; write-to-read causality. */
BODY(store_x, "sd %[one], (%[x])")
BODY(store_y, "sd %[one], (%[y])")
BODY(read_xy, "ld %[a], (%[x]); fence r, r; ld %[b], (%[y])")
BODY(read_yx, "ld %[a], (%[y]); fence r, r; ld %[b], (%[x])")
BODY(wrc1, "ld %[a], (%[x]); fence rw, rw; sd %[one], (%[y])")

#ifdef LITMUS_TSO
BODY(mp0_plain, "sd %[one], (%[x]); sd %[one], (%[y])")
BODY(mp1_plain, "ld %[a], (%[y]); ld %[b], (%[x])")
BODY(lb0_plain, "ld %[a], (%[x]); sd %[one], (%[y])")
BODY(lb1_plain, "ld %[a], (%[y]); sd %[one], (%[x])")
BODY(s0_plain, "sd %[two], (%[x]); sd %[one], (%[y])")
BODY(ww0_plain, "sd %[one], (%[x]); sd %[two], (%[y])")
BODY(ww1_plain, "sd %[one], (%[y]); sd %[two], (%[x])")
BODY(read_xy_plain, "ld %[a], (%[x]); ld %[b], (%[y])")
#endif

static bool sb(const struct result *o)
{
    return !o->r[0][0] && !o->r[1][0];
}

static bool mp(const struct result *o)
{
    return o->r[1][0] == 1 && o->r[1][1] != 1;
}

static bool lb(const struct result *o)
{
    return o->r[0][0] && o->r[1][0];
}

static bool s(const struct result *o)
{
    return o->r[1][0] == 1 && o->x == 2;
}

static bool r(const struct result *o)
{
    return o->y == 2 && o->r[1][0] == 0;
}

static bool ww(const struct result *o)
{
    return o->x == 1 && o->y == 1;
}

static bool corr(const struct result *o)
{
    return o->r[1][0] > o->r[1][1];
}

static bool coww(const struct result *o)
{
    return o->x != 2 || corr(o);
}

static bool half(const struct result *o)
{
    return o->r[1][0] == 1 && o->r[1][1] != 0x01010101;
}

static bool swapped(const struct result *o)
{
    return o->r[0][0] == o->r[1][0];
}

static bool added(const struct result *o)
{
    return o->x != 2 || o->r[0][0] == o->r[1][0];
}

static bool iriw(const struct result *o)
{
    return o->r[2][0] && !o->r[2][1] && o->r[3][0] && !o->r[3][1];
}

static bool wrc(const struct result *o)
{
    return o->r[1][0] && o->r[2][0] && !o->r[2][1];
}

static const struct shape shapes[] = {
    {"SB+fences", {sb0, sb1}, sb},
    {"SB+amos", {sb_amo0, sb_amo1}, sb},
    {"SB+lrscs", {sb_lrsc0, sb_lrsc1}, sb},
    {"MP+fences", {mp0, mp1}, mp},
    {"MP+release+acquire", {mp0_release, mp1_acquire}, mp},
    {"MP+tso+fence", {mp0_tso, mp1}, mp},
    {"MP+fence+address", {mp0, mp1_address}, mp},
    {"MP+release+amo", {mp0_release, mp1_amo}, mp},
    {"LB+fences", {lb0, lb1}, lb},
    {"LB+datas", {lb0_data, lb1_data}, lb},
    {"S+fences", {s0, s1}, s},
    {"R+fences", {r0, r1}, r},
    {"2+2W+fences", {ww0, ww1}, ww},
    {"CoRR", {corr0, corr1}, corr},
    {"CoWW", {coww0, corr1}, coww},
    {"parts", {half0, half1}, half},
    {"amoswap", {swap, swap}, swapped},
    {"lrsc", {add_lrsc, add_lrsc}, added},
    {"WRC+fences", {store_x, wrc1, read_yx, NULL}, wrc},
    {"IRIW+fences", {store_x, store_y, read_xy, read_yx}, iriw},
#ifdef LITMUS_TSO
    {"MP", {mp0_plain, mp1_plain}, mp},
    {"LB", {lb0_plain, lb1_plain}, lb},
    {"S", {s0_plain, lb1_plain}, s},
    {"2+2W", {ww0_plain, ww1_plain}, ww},
    {"WRC", {store_x, lb0_plain, mp1_plain, NULL}, wrc},
    {"IRIW", {store_x, store_y, read_xy_plain, mp1_plain}, iriw},
#endif
};

static uint64_t add(volatile uint64_t *at, uint64_t value)
{
    return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}

/* Until the other harts of the shape are here, too, or for a little while: one may not be running. */
static void keep_together(uint64_t id, const struct shape *shape, uint64_t position)
{
    progress[id][0] = position;
    for (uint64_t other = 0; other < HARTS; other++) {
        for (uint64_t turn = 0; turn < PATIENCE && shape->body[other] && progress[other][0] < position; turn++)
            ;
    }
}

/* A hart's part of a batch, after all have arrived. */
static void run_batch(uint64_t id, const struct shape *shape, uint64_t number)
{
    body_fn body = id < HARTS ? shape->body[id] : NULL;

    add(&arrived, 1);
    while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < number * harts)
        ;
    for (uint64_t i = 0; body && i < INSTANCES; i++) {
        keep_together(id, shape, number * INSTANCES + i);
        for (uint64_t skew = (i * (id + 3)) % 5; skew; skew--)
            __asm__ volatile("nop");
        body(&cells[i][0][0], &cells[i][1][0], results[id][i]);
    }
    add(&finished, 1);
}

void bare_secondary(struct hart *self)
{
    add(&present, 1);
    for (uint64_t seen = 0;;) {
        while (__atomic_load_n(&batch, __ATOMIC_SEQ_CST) == seen)
            ;
        seen++;
        run_batch(self->id, current, seen);
    }
}

/* Returns how often the outcome was the forbidden one. */
static uint64_t check_batch(const struct shape *shape)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < INSTANCES; i++) {
        struct result o = {.x = cells[i][0][0], .y = cells[i][1][0]};
        for (uint64_t id = 0; id < harts && id < HARTS; id++) {
            o.r[id][0] = results[id][i][0];
            o.r[id][1] = results[id][i][1];
        }
        count += shape->forbidden(&o);
        cells[i][0][0] = cells[i][1][0] = 0;
    }
    return count;
}

static void run_shape(const struct shape *shape)
{
    uint64_t forbidden = 0, batches = harts > 2 ? BATCHES_MANY : BATCHES;

    for (uint64_t id = harts; id < HARTS; id++)
        if (shape->body[id])
            return; /* wants more harts */
    current = shape;
    for (uint64_t i = 0; i < batches; i++) {
        uint64_t number = add(&batch, 1) + 1;
        run_batch(0, shape, number);
        while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) < number * harts)
            ;
        forbidden += check_batch(shape);
    }
    rt_print("%s: forbidden %d of %d", shape->name, (int64_t)forbidden, (int64_t)(batches * INSTANCES));
    rt_expect(forbidden == 0, "%s: the forbidden outcome came %d times", shape->name, (int64_t)forbidden);
}

void bare_main(void)
{
    uint64_t until = *rt_mmio64(RT_MTIME) + 5000000; /* 500 ms for the others to arrive */
    while (*rt_mmio64(RT_MTIME) < until && __atomic_load_n(&present, __ATOMIC_SEQ_CST) < RT_MAX_HARTS - 1)
        ;
    harts = present + 1;
    rt_print("harts: %d", (int64_t)harts);
    for (size_t i = 0; i < RT_COUNT(shapes); i++)
        run_shape(&shapes[i]);
}
