/* Supervisor software interrupts by the ACLINT's SSWI, to this hart and to another. */
#include "rt.h"

#define SSWI(hart) (0x2f00000ull + 4 * (hart))

static volatile uint64_t arrived;

static uint64_t pending(void)
{
    return rt_csr_read(mip) >> 1 & 1;
}

void bare_secondary(struct hart *self)
{
    if (self->id != 1)
        for (;;)
            __asm__ volatile("wfi");
    while (!pending())
        __asm__ volatile("" ::: "memory");
    rt_csr_write(sip, 0);
    rt_csr_clear(mip, 2);
    __atomic_store_n(&arrived, 1 + pending(), __ATOMIC_SEQ_CST);
    for (;;)
        __asm__ volatile("wfi");
}

void bare_main(void)
{
    static const uint32_t nops[] = {RT_NOP, RT_NOP, RT_NOP, RT_NOP};

    rt_csr_write(mideleg, 0x222);
    rt_print("reset: %x read=%x", pending(), (uint64_t)*rt_mmio32(SSWI(0)));
    *rt_mmio32(SSWI(0)) = 0;
    rt_print("zero: %x", pending());
    *rt_mmio32(SSWI(0)) = 2;
    rt_print("two: %x", pending());
    *rt_mmio32(SSWI(0)) = 1;
    rt_print("one: %x read=%x", pending(), (uint64_t)*rt_mmio32(SSWI(0)));
    rt_csr_write(mie, 2);
    struct outcome o = rt_run(RT_U, nops, RT_COUNT(nops), 0, 0, 0);
    rt_print("taken: %c cause=%x", (int64_t)o.by, o.cause);
    rt_expect(o.trapped && o.cause == (CAUSE_INTERRUPT | 1), "cause %x", o.cause);
    rt_csr_write(mie, 0);
    rt_csr_clear(sip, 2);
    rt_print("cleared: %x", pending());
    *rt_mmio32(SSWI(1)) = 1;
    while (!__atomic_load_n(&arrived, __ATOMIC_SEQ_CST))
        ;
    rt_print("other: %x here=%x", arrived, pending());
}
