/* Memory behind the devices, from 4 GiB on: it is there, it is not what is below, and it ends where it should.
 * bare-test gives the machine 4 GiB. */
#include "rt.h"

#define HIGH 0x100000000ull
#define END (HIGH + 0x40000000ull) /* what did not fit below 3 GiB */

extern uint64_t rt_tables[6][512];
static uint64_t directory[512] __attribute__((aligned(4096)));

static volatile uint64_t *at(uint64_t gpa)
{
    return (volatile uint64_t *)gpa;
}

/* The fifth and sixth GiB to themselves: in them the first of 2 MiB pages is as good as all. */
static void map_high(void)
{
    static uint64_t last[512] __attribute__((aligned(4096)));

    for (uint64_t i = 0; i < 512; i++) {
        directory[i] = (HIGH + (i << 21)) | 0x87;
        last[i] = (END + (i << 21)) | 0x87;
    }
    rt_tables[1][4] = (uint64_t)directory | 7;
    rt_tables[1][5] = (uint64_t)last | 7;
    __asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
}

void bare_main(void)
{
    static const uint64_t places[] = {0x8000000, 0xbffffff8, HIGH, HIGH + 0x8000000, END - 8};

    map_high();
    for (uint64_t i = 0; i < RT_COUNT(places); i++)
        *at(places[i]) = 0x1111111111111111 * (i + 1);
    for (uint64_t i = 0; i < RT_COUNT(places); i++) {
        rt_print("memory.%x: %x", places[i], *at(places[i]));
        rt_expect(*at(places[i]) == 0x1111111111111111 * (i + 1), "memory at %x", places[i]);
    }
    rt_print("below: %x at 4 GiB: %x behind: %x", *at(0xc0000000), *at(HIGH + 8), *at(END));
    rt_expect(*at(0xc0000000) == UINT64_MAX, "nothing at 3 GiB");
    rt_expect(*at(HIGH + 8) == 0, "fresh memory");
    rt_expect(*at(END) == UINT64_MAX, "nothing behind");
}
