/* The APLIC without an IMSIC: it claims and delivers to the harts through lines. The UART is the source. */
#include "rt.h"

#define APLIC_M 0xc000000ull
#define APLIC_S 0xd000000ull

enum { SOURCECFG = 4, TARGET = 0x3004, SETIP = 0x1c00, SETIPNUM = 0x1cdc, SETIENUM = 0x1edc, IDC = 0x4000 };
enum { IDELIVERY = 0, IFORCE = 4, ITHRESHOLD = 8, TOPI = 0x18, CLAIMI = 0x1c, UART = 10 };

static volatile uint32_t *m(uint64_t offset)
{
    return rt_mmio32(APLIC_M + offset);
}

static uint64_t mei(void)
{
    return rt_csr_read(mip) >> 11 & 1;
}

static void edges(void)
{
    rt_print("domaincfg: %x", (uint64_t)*m(0));
    *m(0) = 0x100;
    *m(IDC + IDELIVERY) = 1;
    for (uint32_t source = 40; source < 43; source++) {
        *m(SOURCECFG + 4 * (source - 1)) = 4;
        rt_print("target.reset: %x", (uint64_t)*m(TARGET + 4 * (source - 1)));
        *m(TARGET + 4 * (source - 1)) = source == 41 ? 2 : 3;
        *m(SETIENUM) = source;
        *m(SETIPNUM) = source;
    }
    rt_print("topi: %x mei=%x", (uint64_t)*m(IDC + TOPI), mei());
    *m(IDC + ITHRESHOLD) = 2;
    rt_print("threshold2: %x mei=%x", (uint64_t)*m(IDC + TOPI), mei());
    *m(IDC + ITHRESHOLD) = 3;
    rt_print("threshold3: %x mei=%x", (uint64_t)*m(IDC + TOPI), mei());
    *m(IDC + ITHRESHOLD) = 0;
    for (int i = 0; i < 4; i++)
        rt_print("claim%d: %x mei=%x ip=%x", (int64_t)i, (uint64_t)*m(IDC + CLAIMI), mei(), (uint64_t)*m(SETIP + 4));
    *m(IDC + IFORCE) = 1;
    rt_print("iforce: %x mei=%x topi=%x", (uint64_t)*m(IDC + IFORCE), mei(), (uint64_t)*m(IDC + TOPI));
    rt_print("spurious: %x iforce=%x mei=%x", (uint64_t)*m(IDC + CLAIMI), (uint64_t)*m(IDC + IFORCE), mei());
    *m(TARGET + 4 * 39) = 0;
    rt_print("target.zero: %x", (uint64_t)*m(TARGET + 4 * 39));
}

static void levels(void)
{
    *m(SOURCECFG + 4 * (UART - 1)) = 6;
    *m(TARGET + 4 * (UART - 1)) = 1;
    *m(SETIENUM) = UART;
    rt_print("level.low: ip=%x mei=%x", (uint64_t)*m(SETIP), mei());
    *m(SETIPNUM) = UART;
    rt_print("level.by_hand: ip=%x mei=%x", (uint64_t)*m(SETIP), mei());
    *(volatile uint8_t *)(RT_UART + 1) = 2;
    rt_print("level.high: ip=%x mei=%x", (uint64_t)*m(SETIP), mei());
    rt_print("level.claim: %x mei=%x", (uint64_t)*m(IDC + CLAIMI), mei());
    rt_expect(mei() == 1, "a level that is still high goes on interrupting");
    *(volatile uint8_t *)(RT_UART + 1) = 0;
    rt_print("level.fallen: ip=%x mei=%x", (uint64_t)*m(SETIP), mei());
    *m(SOURCECFG + 4 * (UART - 1)) = 7;
    rt_print("level.inverted: ip=%x mei=%x", (uint64_t)*m(SETIP), mei());
    *m(SOURCECFG + 4 * (UART - 1)) = 0x400;
    *rt_mmio32(APLIC_S + SOURCECFG + 4 * (UART - 1)) = 6;
    *rt_mmio32(APLIC_S + SETIENUM) = UART;
    *rt_mmio32(APLIC_S) = 0x100;
    *rt_mmio32(APLIC_S + IDC) = 1;
    *(volatile uint8_t *)(RT_UART + 1) = 2;
    rt_print("delegated: mei=%x sei=%x topi=%x", mei(), rt_csr_read(mip) >> 9 & 1,
             (uint64_t)*rt_mmio32(APLIC_S + IDC + TOPI));
    *(volatile uint8_t *)(RT_UART + 1) = 0;
    rt_print("hart1: %x", (uint64_t)*m(IDC + 32));
}

static void no_imsic(void)
{
    struct outcome o = rt_run1(RT_M, rt_csrrs(10, 0x350, 0), 0, 0, 0);

    rt_print("genmsi: %x msicfg: %x", (uint64_t)*m(0x3000), (uint64_t)*m(0x1bc0));
    rt_print("miselect: %s", rt_describe(&o, (uint64_t)rt_code_buffer));
}

void bare_main(void)
{
    edges();
    levels();
    no_imsic();
}
