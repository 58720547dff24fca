/* What gdb debugs on the PC board, under KVM: rounds of a few functions, in ring 0, which some kinds of KVM emulate
 * slowly. Nothing is printed but the sum at the end, which a debugger must not change. */
#include "rt.h"

enum { ROUNDS = 60 };

volatile uint64_t counter, watched, sum;
volatile uint32_t array[4] = {11, 22, 33, 44};
volatile double real = 1.5;

void finished(void);
void steps(void);
void marked(uint64_t round);
void touch(uint64_t round);
void one(void), two(void), three(void), four(void), five(void), six(void);

__attribute__((noinline)) void marked(uint64_t round)
{
    counter = round;
}

__attribute__((noinline)) void touch(uint64_t round)
{
    if (round % 20 == 7)
        watched = round;
    __asm__ volatile("" ::: "memory");
}

/* Instructions of a known shape to step through, one of which is an access to a device. */
__attribute__((naked, noinline)) void steps(void)
{
    __asm__("mov $1, %eax\n mov $2, %ecx\n add %ecx, %eax\n mov $0x3ff, %edx\n in (%dx), %al\n mov $9, %eax\n ret");
}

/* One more than a processor has debug registers. */
#define EMPTY(name)                           \
    __attribute__((noinline)) void name(void) \
    {                                         \
        __asm__ volatile("nop" ::: "memory"); \
    }
EMPTY(one)
EMPTY(two)
EMPTY(three)
EMPTY(four)
EMPTY(five)
EMPTY(six)

__attribute__((noinline)) void finished(void)
{
    __asm__ volatile("" ::: "memory");
}

void bare_main(void)
{
    for (uint64_t round = 0; round < ROUNDS; round++) {
        sum += round * 6364136223846793005u >> 33;
        marked(round);
        touch(round);
        if (round == 40)
            steps();
        if (round == 50)
            one(), two(), three(), four(), five(), six();
    }
    rt_print("sum: %x", sum);
    finished();
}
