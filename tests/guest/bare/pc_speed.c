/* Measures whether this KVM runs ring 0 on the processor or emulates it: the same loop in ring 0 and in ring 3. Says so
 * in its last line; tests that would take for ever, or want what emulation lacks, ask it. */
#include "rt.h"

enum { ROUNDS = 100000, EMULATED_RATIO = 20 };

static uint64_t loop(uint64_t rounds)
{
    __asm__ volatile("1: dec %0; jnz 1b" : "+r"(rounds));
    return rounds;
}

/* In ticks of the time-stamp counter, per 1000 rounds. */
static uint64_t measure(bool user, uint64_t rounds)
{
    struct rt_exception e;
    uint64_t result, begin = rt_now();

    bool faulted = user ? rt_try_user(loop, rounds, &e, &result) : rt_try(loop, rounds, &e, &result);
    rt_expect(!faulted, "the loop ends");
    return (rt_now() - begin) * 256 * 1000 / rounds;
}

void bare_main(void)
{
    uint64_t user = measure(true, ROUNDS * 100), kernel = measure(false, ROUNDS);

    rt_print("1000 rounds: ring 3 %d ticks, ring 0 %d", (int64_t)user, (int64_t)kernel);
    if (kernel > user * EMULATED_RATIO)
        rt_print("ring 0 is emulated: %d times as slow as ring 3", (int64_t)(kernel / (user ? user : 1)));
    else
        rt_print("ring 0 is the processor's");
}
