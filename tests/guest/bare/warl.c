/* Fields of CSRs, one by one from one table: which values are legal, that each of them sticks whatever was there
 * before, and that a reserved value leaves a legal one (WARL; Privileged Architecture 1.13, section 2.3). What becomes
 * of a reserved value is free, so that is checked and not reported. A field with one legal value is read-only.
 * mseccfg.PMM is not there: QEMU 10.0 stops itself when its reserved value is written.
 */
#include "rt.h"

struct field {
    const char *name;
    uint32_t csr;
    unsigned shift, width; /* width up to 6 */
    uint64_t legal;        /* bits by value */
};

#define ONLY(value) (1ull << (value))
#define ANY(width) ((width) == 6 ? -1ull : (1ull << (1u << (width))) - 1)
#define VALUES3(a, b, c) (ONLY(a) | ONLY(b) | ONLY(c))
/* A byte of pmpcfg without its lock: A, X, W, R. W without R is reserved (section 3.7.1). */
#define PMPCFG_LEGAL 0xbbbbbbbbull
_Static_assert((PMPCFG_LEGAL & 0xff) == 0xbb, "neither 2 nor 6");

static const struct field fields[] = {
    {"frm", 0x002, 0, 3, ANY(3)},
    {"frm.more", 0x002, 3, 5, ONLY(0)},
    {"fcsr.more", 0x003, 8, 6, ONLY(0)},
    {"sstatus.SIE", 0x100, 1, 1, ANY(1)},
    {"sstatus.SPIE", 0x100, 5, 1, ANY(1)},
    {"sstatus.UBE", 0x100, 6, 1, ONLY(0)},
    {"sstatus.SPP", 0x100, 8, 1, ANY(1)},
    {"sstatus.VS", 0x100, 9, 2, ONLY(0)},
    {"sstatus.MPP", 0x100, 11, 2, ONLY(0)},
    {"sstatus.FS", 0x100, 13, 2, ANY(2)},
    {"sstatus.XS", 0x100, 15, 2, ONLY(0)},
    {"sstatus.SUM", 0x100, 18, 1, ANY(1)},
    {"sstatus.MXR", 0x100, 19, 1, ANY(1)},
    {"sstatus.UXL", 0x100, 32, 2, ONLY(2)},
    {"stvec.MODE", 0x105, 0, 2, ONLY(0) | ONLY(1)},
    {"senvcfg.FIOM", 0x10a, 0, 1, ANY(1)},
    {"senvcfg.LPE", 0x10a, 2, 1, ANY(1)},
    {"senvcfg.SSE", 0x10a, 3, 1, ONLY(0)}, /* while menvcfg.SSE is clear */
    {"senvcfg.CBIE", 0x10a, 4, 2, VALUES3(0, 1, 3)},
    {"senvcfg.CBCFE", 0x10a, 6, 1, ANY(1)},
    {"senvcfg.CBZE", 0x10a, 7, 1, ANY(1)},
    {"senvcfg.PMM", 0x10a, 32, 2, VALUES3(0, 2, 3)},
    {"senvcfg.more", 0x10a, 58, 6, ONLY(0)},
    {"sepc.0", 0x141, 0, 1, ONLY(0)},
    {"satp.MODE", 0x180, 60, 4, ONLY(0) | VALUES3(8, 9, 10)},
    {"mstatus.MPP", 0x300, 11, 2, VALUES3(0, 1, 3)},
    {"mstatus.SPP", 0x300, 8, 1, ANY(1)},
    {"mstatus.VS", 0x300, 9, 2, ONLY(0)},
    {"mstatus.FS", 0x300, 13, 2, ANY(2)},
    {"mstatus.XS", 0x300, 15, 2, ONLY(0)},
    {"mstatus.SUM", 0x300, 18, 1, ANY(1)},
    {"mstatus.MXR", 0x300, 19, 1, ANY(1)},
    {"mstatus.TVM", 0x300, 20, 1, ANY(1)},
    {"mstatus.TW", 0x300, 21, 1, ANY(1)},
    {"mstatus.TSR", 0x300, 22, 1, ANY(1)},
    {"mstatus.UXL", 0x300, 32, 2, ONLY(2)},
    {"mstatus.SXL", 0x300, 34, 2, ONLY(2)},
    {"mstatus.SBE_MBE", 0x300, 36, 2, ONLY(0)},
    {"misa.MXL", 0x301, 62, 2, ONLY(2)},
    {"medeleg.ECALL_M", 0x302, 11, 1, ONLY(0)},
    {"medeleg.reserved", 0x302, 14, 1, ONLY(0)},
    {"medeleg.double_trap", 0x302, 16, 1, ONLY(0)},
    {"medeleg.software_check", 0x302, 18, 1, ANY(1)},
    {"medeleg.more", 0x302, 58, 6, ONLY(0)},
    {"mideleg.SSI", 0x303, 1, 1, ANY(1)},
    {"mideleg.MSI", 0x303, 3, 1, ONLY(0)},
    {"mideleg.STI", 0x303, 5, 1, ANY(1)},
    {"mideleg.MTI", 0x303, 7, 1, ONLY(0)},
    {"mideleg.SEI", 0x303, 9, 1, ANY(1)},
    {"mideleg.MEI", 0x303, 11, 1, ONLY(0)},
    {"mideleg.LCOFI", 0x303, 13, 1, ANY(1)},
    {"mie.0", 0x304, 0, 1, ONLY(0)},
    {"mie.4", 0x304, 4, 1, ONLY(0)},
    {"mie.8", 0x304, 8, 1, ONLY(0)},
    {"mie.LCOFI", 0x304, 13, 1, ANY(1)},
    {"mie.more", 0x304, 14, 6, ONLY(0)},
    {"mtvec.MODE", 0x305, 0, 2, ONLY(0) | ONLY(1)},
    {"mcounteren.low", 0x306, 0, 3, ANY(3)},
    {"mcounteren.more", 0x306, 32, 6, ONLY(0)},
    {"menvcfg.FIOM", 0x30a, 0, 1, ANY(1)},
    {"menvcfg.1", 0x30a, 1, 1, ONLY(0)},
    {"menvcfg.LPE", 0x30a, 2, 1, ANY(1)},
    {"menvcfg.SSE", 0x30a, 3, 1, ANY(1)},
    {"menvcfg.CBIE", 0x30a, 4, 2, VALUES3(0, 1, 3)},
    {"menvcfg.CBCFE", 0x30a, 6, 1, ANY(1)},
    {"menvcfg.CBZE", 0x30a, 7, 1, ANY(1)},
    {"menvcfg.more", 0x30a, 8, 6, ONLY(0)},
    {"menvcfg.PMM", 0x30a, 32, 2, VALUES3(0, 2, 3)},
    {"menvcfg.DTE", 0x30a, 59, 1, ANY(1)},
    {"menvcfg.ADUE", 0x30a, 61, 1, ANY(1)},
    {"menvcfg.PBMTE", 0x30a, 62, 1, ANY(1)},
    {"menvcfg.STCE", 0x30a, 63, 1, ANY(1)},
    {"mstateen0.FCSR", 0x30c, 1, 1, ONLY(0)}, /* there is no Zfinx */
    {"mstateen0.JVT", 0x30c, 2, 1, ONLY(0)},
    {"mstateen0.ENVCFG", 0x30c, 62, 1, ANY(1)},
    {"mstateen0.SE0", 0x30c, 63, 1, ANY(1)},
    {"mstateen1.more", 0x30d, 57, 6, ONLY(0)},
    {"mcountinhibit.CY", 0x320, 0, 1, ANY(1)},
    {"mcountinhibit.TM", 0x320, 1, 1, ONLY(0)},
    {"mcountinhibit.IR", 0x320, 2, 1, ANY(1)},
    {"mepc.0", 0x341, 0, 1, ONLY(0)},
    {"mseccfg.USEED_SSEED", 0x747, 8, 2, ANY(2)},
    {"pmpcfg2.0", 0x3a2, 0, 5, PMPCFG_LEGAL},
    {"pmpcfg2.0.reserved", 0x3a2, 5, 2, ONLY(0)},
    {"pmpcfg2.7", 0x3a2, 56, 5, PMPCFG_LEGAL},
    {"pmpcfg2.7.reserved", 0x3a2, 61, 2, ONLY(0)},
    {"pmpaddr15.54", 0x3bf, 54, 6, ONLY(0)},
    {"pmpaddr15.60", 0x3bf, 60, 4, ONLY(0)},
};

/* In one probe, so that no handler's use of the CSR comes between: a0, then a2, read into a1, restored. */
static uint64_t written(uint32_t csr, uint64_t first, uint64_t second)
{
    uint32_t code[] = {rt_csrrw(13, csr, 10), rt_csrrw(0, csr, 12), rt_csrrs(11, csr, 0), rt_csrrw(0, csr, 13)};
    struct outcome out = rt_run(RT_M, code, 4, first, 0, second);

    rt_expect(!out.trapped, "written.%x: trapped", (uint64_t)csr);
    return out.a1;
}

static uint64_t current(uint32_t csr)
{
    uint32_t code[] = {rt_csrrs(11, csr, 0)};

    return rt_run(RT_M, code, 1, 0, 0, 0).a1;
}

static bool is_legal(const struct field *f, uint64_t value)
{
    return f->legal >> value & 1;
}

/* From each legal value to each other value. */
static void check(const struct field *f)
{
    uint64_t mask = ((1ull << f->width) - 1) << f->shift;
    uint64_t base = current(f->csr) & ~mask, sticks = 0;

    for (uint64_t from = 0; from < 1ull << f->width; from++) {
        if (!is_legal(f, from))
            continue;
        for (uint64_t to = 0; to < 1ull << f->width; to++) {
            uint64_t got = (written(f->csr, base | from << f->shift, base | to << f->shift) & mask) >> f->shift;
            rt_expect(is_legal(f, got), "%s: %d after %d becomes %d", f->name, (int64_t)to, (int64_t)from,
                      (int64_t)got);
            rt_expect(got == to || !is_legal(f, to), "%s: %d after %d becomes %d", f->name, (int64_t)to, (int64_t)from,
                      (int64_t)got);
            sticks |= is_legal(f, to) && got == to ? 1ull << to : 0;
        }
    }
    rt_print("%s: %x", f->name, sticks);
}

void bare_main(void)
{
    rt_csr_write(mcounteren, 7);
    rt_csr_write(pmpaddr8, -1ull);
    for (unsigned i = 0; i < RT_COUNT(fields); i++)
        check(&fields[i]);
}
