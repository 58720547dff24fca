/* The loop in ring 3 of a guest on the PC board (tests/guest/bare/rt-pc). */
#include "loop.h"
#include "rt.h"

void bare_main(void)
{
    struct rt_exception exception;
    uint64_t sum;
    bool faulted = rt_try_user(loop, TURNS, &exception, &sum);

    rt_expect(!faulted, "no fault");
    rt_print("sum %x", sum);
}
