/* What gdb debugs in gdb-tests: hart 0 goes round a loop that calls a hot function, on a page of its own, and a few
 * others; the second hart counts. Nothing is printed but the sum at the end, which a debugger must not change. */
#include "rt.h"

enum { ROUNDS = 300, INNER = 2000 };

volatile uint64_t counter, watched, other, sum;
volatile uint32_t array[4] = {11, 22, 33, 44};
volatile double real = 1.5;

__attribute__((noinline, aligned(4096))) uint64_t hot(uint64_t n)
{
    uint64_t a = n;

    for (uint64_t i = 0; i < INNER; i++) {
        a = a * 6364136223846793005u + 1442695040888963407u;
        __asm__ volatile("" : "+r"(a));
    }
    return a >> 33;
}

__attribute__((noinline, aligned(4096))) void marked(uint64_t round)
{
    counter = round;
}

__attribute__((noinline)) void touch(uint64_t round)
{
    if (round % 50 == 7)
        watched = round;
    __asm__ volatile("" ::: "memory");
}

/* Instructions of a known shape to step through. */
__attribute__((naked, noinline)) void steps(void)
{
    __asm__("li a0, 1\n li a1, 2\n add a2, a0, a1\n ecall\n ret");
}

void finished(void);
__attribute__((noinline)) void finished(void)
{
    __asm__ volatile("" ::: "memory");
}

void bare_secondary(struct hart *self)
{
    for (;;)
        other++;
}

static bool skip_ecall(struct hart *hart, char mode)
{
    if (rt_csr_read(mcause) != CAUSE_ECALL_M)
        return false;
    rt_csr_write(mepc, rt_csr_read(mepc) + 4);
    return true;
}

void bare_main(void)
{
    rt_csr_set(mstatus, MSTATUS_FS(1));
    rt_self()->hook = skip_ecall;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        sum += hot(round);
        marked(round);
        touch(round);
        if (round == 200)
            steps();
    }
    rt_self()->hook = NULL;
    rt_print("sum: %x", sum);
    finished();
}
