/* A program that is saved in its middle and goes on, on either board: memory, registers, numbers, a timer that was
 * armed and time itself are what they would have been. Says "filled", then computes something and waits for a byte on
 * the serial port. With -DBARE_PROCESSORS=2 another processor counts meanwhile. */
#include "rt.h"

#ifndef BARE_PROCESSORS
#define BARE_PROCESSORS 1
#endif

enum { PAGES = 1024, WORDS = 512, STEPS = 20000 };

static uint64_t pages[PAGES][WORDS] __attribute__((aligned(4096)));
static uint64_t table[WORDS];

static uint64_t next(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

static uint64_t compute(void)
{
    uint64_t x = 88172645463325252, sum = 0;

    for (unsigned i = 0; i < WORDS; i++)
        table[i] = i;
    for (unsigned i = 0; i < STEPS; i++) {
        x = next(x);
        table[x % WORDS] += x;
        sum = sum * 31 + table[x >> 32 & (WORDS - 1)];
    }
    return sum;
}

static uint64_t pages_sum(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < PAGES; i++)
        sum = sum * 31 + pages[i][i % WORDS];
    return sum;
}

/* ---- the other processor: the same numbers from a register and from memory ---- */

static volatile uint64_t in_memory = 1, counted, differences;

static void count_on(void)
{
    uint64_t in_register = 1;

    for (;;) {
        in_register = next(in_register);
        in_memory = next(in_memory);
        if (in_register != in_memory)
            differences++;
        counted++;
    }
}

static bool counts_on(void)
{
    uint64_t before = counted;

    for (uint64_t end = rt_now() + 100000000; counted == before && rt_now() < end;)
        ;
    return counted != before;
}

#ifdef __riscv
void bare_secondary(struct hart *self)
{
    count_on();
}

static bool start_other(void)
{
    return counts_on();
}
#else
void bare_secondary(unsigned id)
{
    count_on();
}

static bool start_other(void)
{
    return rt_start_processor(1) && counts_on();
}
#endif

/* ---- the first ---- */

static bool rings(void)
{
    for (uint64_t end = rt_now() + 100000000; rt_now() < end;) {
        if (rt_timer_rang())
            return true;
    }
    return false;
}

void bare_main(void)
{
    int byte;

    rt_print("begin");
    if (BARE_PROCESSORS > 1)
        rt_expect(start_other(), "the other processor counts");
    for (unsigned i = 0; i < PAGES; i++)
        pages[i][i % WORDS] = next(i + 1);
    uint64_t filled = pages_sum(), before = rt_now();
    rt_timer_arm(300);
    rt_print("filled");
    uint64_t sum = compute();
    do
        byte = rt_console_get();
    while (byte < 0);
    rt_print("byte: %d", (int64_t)byte);
    rt_print("sum: %x", sum);
    rt_expect(sum == compute(), "the sum again");
    rt_print("pages: %x", pages_sum());
    rt_expect(pages_sum() == filled, "the pages again");
    if (BARE_PROCESSORS > 1)
        rt_print("other: %d, differences %d", (int64_t)counts_on(), (int64_t)differences);
    rt_expect(rt_now() > before, "time goes on");
    /* Some minutes of a clock of 10 MHz. */
    rt_expect(rt_now() - before < 10000000000, "and does not jump");
    rt_expect(rings(), "the timer that was armed");
    rt_timer_arm(1);
    rt_expect(rings(), "and again");
}
