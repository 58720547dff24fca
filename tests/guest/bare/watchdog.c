/* The Allwinner D1's watchdog at the address where the board has it: nothing without the key, an interrupt when its
 * half second is over and not before, no end as long as it is told to count anew. That it resets the machine is a
 * matter of the guest tests (watchdog_resets_a_guest_that_hangs). */
#include "rt.h"

#define WATCHDOG 0x102000ull
#define KEY (0x16aau << 16)

enum {
    IRQ_EN = 0x00,
    IRQ_STATUS = 0x04,
    CTRL = 0x10,
    CONFIG = 0x14,
    MODE = 0x18,

    ANEW = 0xa57 << 1 | 1,
    INTERRUPTS = 2,
    ENABLE = 1, /* with the interval 0: half a second */
    MS = 10000,
};

static volatile uint32_t *reg(uint64_t offset)
{
    return rt_mmio32(WATCHDOG + offset);
}

static void wait(uint64_t ms)
{
    for (uint64_t end = rt_now() + ms * MS; rt_now() < end;)
        ;
}

void bare_main(void)
{
    *reg(CONFIG) = INTERRUPTS;
    *reg(MODE) = ENABLE;
    rt_print("no_key: %x %x", (uint64_t)*reg(CONFIG) & 3, (uint64_t)*reg(MODE) & 1);
    rt_expect((*reg(MODE) & 1) == 0 && (*reg(CONFIG) & 3) != INTERRUPTS, "nothing is set without the key");
    *reg(CONFIG) = KEY | INTERRUPTS;
    *reg(IRQ_EN) = 1;
    *reg(IRQ_STATUS) = 1;
    *reg(MODE) = KEY | ENABLE;
    *reg(CTRL) = ANEW;
    rt_expect((*reg(MODE) & 0xffff0001) == ENABLE, "the key reads as 0");

    /* Told to count anew, or by a wrong word. */
    uint64_t start = rt_now();
    for (unsigned i = 0; i < 8; i++) {
        wait(100);
        *reg(CTRL) = ANEW;
    }
    /* A host that does not run the guest for half a second would be to blame, not the watchdog. */
    bool early = *reg(IRQ_STATUS) & 1;
    rt_expect(!early || rt_now() - start > 1200 * MS, "it does not end while it is told to count anew");
    *reg(IRQ_STATUS) = 1;
    *reg(CTRL) = ANEW;
    start = rt_now();
    while (!(*reg(IRQ_STATUS) & 1) && rt_now() - start < 20000 * MS)
        *reg(CTRL) = 1; /* without the word that it wants */
    uint64_t took = (rt_now() - start) / MS;
    rt_expect(*reg(IRQ_STATUS) & 1, "it ends");
    rt_expect(took >= 499, "after half a second, not %d ms", (int64_t)took);
    *reg(MODE) = KEY;
    *reg(IRQ_STATUS) = 1;
    rt_expect(!(*reg(IRQ_STATUS) & 1), "its interrupt is taken back");
    rt_print("ended: 1");
}
