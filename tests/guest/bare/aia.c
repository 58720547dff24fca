/* The Advanced Interrupt Architecture with MSIs: the CSRs of Smaia and Ssaia, the interrupt files, and the APLIC that
 * sends MSIs to them. */
#include "rt.h"

#define APLIC_M 0xc000000ull
#define APLIC_S 0xd000000ull
#define IMSIC_M 0x24000000ull
#define IMSIC_S 0x28000000ull

enum { SOURCE = 10, SOURCECFG = 4, TARGET = 0x3004, SETIP = 0x1c00, SETIPNUM = 0x1cdc, IN_CLRIP = 0x1d00 };
enum { SETIE = 0x1e00, SETIENUM = 0x1edc, CLRIPNUM = 0x1ddc, CLRIENUM = 0x1fdc, GENMSI = 0x3000 };

static struct outcome read_csr(int priv, uint32_t csr)
{
    return rt_run1(priv, rt_csrrs(10, csr, 0), 0, 0, 0);
}

static void print_read(int priv, uint32_t csr)
{
    struct outcome o = read_csr(priv, csr);

    rt_print("csr.%x.%s: %s %x", (uint64_t)csr,
             priv == RT_M   ? "M"
             : priv == RT_S ? "S"
                            : "U",
             rt_describe(&o, (uint64_t)rt_code_buffer), o.trapped ? 0 : o.a0);
}

static uint64_t m_select(uint64_t select)
{
    rt_csr_write(0x350, select);
    return rt_csr_read(0x351);
}

static void m_write(uint64_t select, uint64_t value)
{
    rt_csr_write(0x350, select);
    rt_csr_write(0x351, value);
}

static void s_write(uint64_t select, uint64_t value)
{
    rt_csr_write(0x150, select);
    rt_csr_write(0x151, value);
}

static void csrs(void)
{
    static const uint32_t numbers[] = {0x150, 0x151, 0x15c, 0xdb0, 0x308, 0x309, 0x350, 0x351, 0x35c, 0xfb0};

    for (size_t i = 0; i < RT_COUNT(numbers); i++) {
        rt_csr_write(0x350, 0x70);
        rt_csr_write(0x150, 0x70);
        for (int priv = RT_M; priv >= 0; priv = priv == RT_M ? RT_S : priv - 1) {
            print_read(priv, numbers[i]);
        }
    }
    for (uint64_t select = 0x30; select <= 0xff; select++) {
        rt_csr_write(0x350, select);
        struct outcome o = read_csr(RT_M, 0x351);
        if (!o.trapped) {
            rt_csr_write(0x351, select == 0x72 ? 255 : ~0ull);
            rt_print("mireg.%x: %x then %x", select, o.a0, rt_csr_read(0x351));
            rt_csr_write(0x351, 0);
        } else {
            rt_print("mireg.%x: %s", select, rt_describe(&o, (uint64_t)rt_code_buffer));
        }
    }
}

/* Identities in the file of M-mode: which comes first, what a claim takes, what the threshold holds back. */
static void file(void)
{
    m_write(0x70, 1);
    m_write(0x72, 0);
    m_write(0xc0, 1ull << 5 | 1ull << 9);
    *rt_mmio32(IMSIC_M) = 9;
    *rt_mmio32(IMSIC_M) = 7;
    rt_print("file.eip: %x mip=%x topei=%x", m_select(0x80), rt_csr_read(mip) >> 11 & 1, rt_csr_read(0x35c));
    *rt_mmio32(IMSIC_M) = 5;
    rt_print("file.first: %x", rt_csr_read(0x35c));
    m_write(0x72, 5);
    rt_print("file.threshold5: %x mip=%x", rt_csr_read(0x35c), rt_csr_read(mip) >> 11 & 1);
    m_write(0x72, 6);
    rt_print("file.threshold6: %x", rt_csr_read(0x35c));
    m_write(0x72, 0);
    uint64_t claimed;
    __asm__ volatile("csrrw %0, 0x35c, zero" : "=r"(claimed)::"memory");
    rt_print("file.claim: %x then %x", claimed, rt_csr_read(0x35c));
    m_write(0x70, 0);
    rt_print("file.off: topei=%x mip=%x", rt_csr_read(0x35c), rt_csr_read(mip) >> 11 & 1);
    *rt_mmio32(IMSIC_M) = 0;
    *rt_mmio32(IMSIC_M) = 256;
    *rt_mmio32(IMSIC_M + 4) = 11u << 24;
    *rt_mmio32(IMSIC_M + 8) = 12;
    rt_print("file.numbers: %x %x read=%x", m_select(0x80), m_select(0x82), (uint64_t)*rt_mmio32(IMSIC_M));
    rt_csr_write(0x350, 0x80);
    rt_csr_clear(0x351, 1ull << 9);
    rt_csr_set(0x351, 1ull << 20);
    rt_print("file.set_clear: %x", rt_csr_read(0x351));
    m_write(0x80, 0);
    m_write(0xc0, 0);
}

/* topi: the order of the major interrupts; the priorities beside the numbers are each implementation's. */
static void order(void)
{
    rt_csr_write(mideleg, 0x222);
    rt_csr_write(mie, 0xa2a); /* not MTI: mtimecmp after reset is open */
    rt_csr_write(mip, 0x202);
    rt_print("topi.none_for_m: %x", rt_csr_read(0xfb0) >> 16);
    rt_print("topi.sei: %x", rt_csr_read(0xdb0) >> 16);
    rt_csr_write(mip, 0x2);
    rt_print("topi.ssi: %x", rt_csr_read(0xdb0) >> 16);
    rt_expect(rt_csr_read(0xdb0) >> 16 != 0, "stopi is 0 with SSIP pending and enabled");
    rt_csr_write(mideleg, 0);
    rt_print("topi.ssi_for_m: %x %x", rt_csr_read(0xfb0) >> 16, rt_csr_read(0xdb0) >> 16);
    *rt_mmio32(RT_MSIP(0)) = 1;
    while (!(rt_csr_read(mip) & 8))
        ;
    rt_print("topi.msi: %x", rt_csr_read(0xfb0) >> 16);
    *rt_mmio32(RT_MSIP(0)) = 0;
    while (rt_csr_read(mip) & 8)
        ;
    rt_csr_write(mie, 0);
    rt_print("topi.disabled: %x", rt_csr_read(0xfb0) >> 16);
    rt_csr_write(mip, 0);
}

static void mvip(void)
{
    rt_csr_write(0x309, ~0ull);
    rt_print("mvip.ones: %x mip=%x", rt_csr_read(0x309) & 0x202, rt_csr_read(mip) & 0x202);
    rt_csr_write(0x309, 0);
    rt_print("mvip.zero: %x mip=%x", rt_csr_read(0x309) & 0x202, rt_csr_read(mip) & 0x202);
}

static void domain_registers(const char *name, uint64_t base)
{
    static const uint32_t configs[] = {0, 1, 2, 3, 4, 5, 6, 7, 0x400, 0x401};
    volatile uint32_t *cfg = rt_mmio32(base + SOURCECFG + 4 * 39); /* source 40: wired to nothing */

    *rt_mmio32(base) = 0;
    rt_print("%s.domaincfg: %x", name, (uint64_t)*rt_mmio32(base));
    *rt_mmio32(base) = 0x100;
    rt_print("%s.domaincfg.ie: %x", name, (uint64_t)*rt_mmio32(base));
    *rt_mmio32(base) = 0;
    for (size_t i = 0; i < RT_COUNT(configs); i++) {
        *cfg = 0;
        *cfg = configs[i];
        rt_print("%s.sourcecfg.%x: %x rectified=%x", name, (uint64_t)configs[i], (uint64_t)*cfg & ~0x3ffull,
                 (uint64_t)*rt_mmio32(base + IN_CLRIP + 4));
    }
    *cfg = 4;
    *rt_mmio32(base + SETIENUM) = 40;
    *rt_mmio32(base + SETIPNUM) = 40;
    rt_print("%s.set: ip=%x ie=%x", name, (uint64_t)*rt_mmio32(base + SETIP + 4),
             (uint64_t)*rt_mmio32(base + SETIE + 4));
    *rt_mmio32(base + CLRIPNUM) = 40;
    *rt_mmio32(base + CLRIENUM) = 40;
    rt_print("%s.clear: ip=%x ie=%x", name, (uint64_t)*rt_mmio32(base + SETIP + 4),
             (uint64_t)*rt_mmio32(base + SETIE + 4));
    *rt_mmio32(base + SETIP + 4) = 1u << 8;
    *cfg = 0;
    rt_print("%s.inactive: ip=%x target=%x", name, (uint64_t)*rt_mmio32(base + SETIP + 4),
             (uint64_t)*rt_mmio32(base + TARGET + 4 * 39));
    *cfg = 4;
    *rt_mmio32(base + TARGET + 4 * 39) = 0x7ff;
    rt_print("%s.target: %x", name, (uint64_t)*rt_mmio32(base + TARGET + 4 * 39));
    *cfg = 0;
}

/* An edge becomes an MSI; the UART's level, delegated to S, another. */
static void forwarded(void)
{
    m_write(0x70, 1);
    m_write(0xc0, 1ull << 33);
    *rt_mmio32(APLIC_M + 0x1bc0) = IMSIC_M >> 12;
    *rt_mmio32(APLIC_M + 0x1bc8) = IMSIC_S >> 12;
    *rt_mmio32(APLIC_M + SOURCECFG + 4 * 39) = 4;
    *rt_mmio32(APLIC_M + TARGET + 4 * 39) = 33;
    *rt_mmio32(APLIC_M + SETIENUM) = 40;
    *rt_mmio32(APLIC_M + SETIPNUM) = 40;
    rt_print("msi.off: ip=%x topei=%x", (uint64_t)*rt_mmio32(APLIC_M + SETIP + 4), rt_csr_read(0x35c));
    *rt_mmio32(APLIC_M) = 0x100;
    rt_print("msi.on: ip=%x topei=%x", (uint64_t)*rt_mmio32(APLIC_M + SETIP + 4), rt_csr_read(0x35c));
    rt_csr_write(0x35c, 0);
    *rt_mmio32(APLIC_M + GENMSI) = 33;
    rt_print("msi.genmsi: topei=%x", rt_csr_read(0x35c));
    rt_csr_write(0x35c, 0);

    *rt_mmio32(APLIC_M + SOURCECFG + 4 * (SOURCE - 1)) = 0x400;
    *rt_mmio32(APLIC_S + SOURCECFG + 4 * (SOURCE - 1)) = 6;
    *rt_mmio32(APLIC_S + TARGET + 4 * (SOURCE - 1)) = 21;
    *rt_mmio32(APLIC_S + SETIENUM) = SOURCE;
    *rt_mmio32(APLIC_S) = 0x100;
    s_write(0x70, 1);
    s_write(0xc0, 1ull << 21);
    *(volatile uint8_t *)(RT_UART + 1) = 2; /* transmitter empty */
    rt_print("uart.high: stopei=%x mip=%x in=%x", rt_csr_read(0x15c), rt_csr_read(mip) >> 9 & 1,
             (uint64_t)*rt_mmio32(APLIC_S + IN_CLRIP));
    rt_csr_write(0x15c, 0);
    rt_print("uart.claimed: stopei=%x", rt_csr_read(0x15c));
    *rt_mmio32(APLIC_S + 0x2000) = SOURCE;
    rt_print("uart.again: stopei=%x", rt_csr_read(0x15c));
    rt_csr_write(0x15c, 0);
    *(volatile uint8_t *)(RT_UART + 1) = 0;
    *rt_mmio32(APLIC_S + 0x2000) = SOURCE;
    rt_print("uart.low: stopei=%x in=%x", rt_csr_read(0x15c), (uint64_t)*rt_mmio32(APLIC_S + IN_CLRIP));
}

/* A supervisor external interrupt is taken. */
static void taken(void)
{
    static const uint32_t nops[] = {RT_NOP, RT_NOP, RT_NOP, RT_NOP};

    s_write(0x70, 1);
    s_write(0xc0, 1ull << 21);
    *rt_mmio32(IMSIC_S) = 21;
    rt_csr_write(mideleg, 0x222);
    rt_csr_write(mie, 0x200);
    struct outcome o = rt_run(RT_U, nops, RT_COUNT(nops), 0, 0, 0);
    rt_print("taken.by: %c cause=%x stopi=%x", (int64_t)o.by, o.cause, rt_csr_read(0xdb0) >> 16);
    rt_expect(o.trapped && o.cause == (CAUSE_INTERRUPT | 9), "the MSI does not interrupt: cause %x", o.cause);
    rt_csr_write(0x15c, 0);
    rt_csr_write(mie, 0);
    rt_csr_write(mideleg, 0);
}

void bare_main(void)
{
    csrs();
    file();
    order();
    mvip();
    domain_registers("m", APLIC_M);
    *rt_mmio32(APLIC_M + SOURCECFG + 4 * 39) = 0x400;
    domain_registers("s", APLIC_S);
    *rt_mmio32(APLIC_M + SOURCECFG + 4 * 39) = 0;
    rt_print("s.undelegated: %x", (uint64_t)*rt_mmio32(APLIC_S + SOURCECFG + 4 * 39));
    forwarded();
    taken();
}
