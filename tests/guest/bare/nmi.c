/* Smrnmi without a source of NMIs: what NMIE = 0, as it is out of reset, holds back, the registers, MNRET; and where
 * M-mode's double traps go (program nmi_dbltrp, which has Smdbltrp too). Privileged Architecture, chapter "Smrnmi" and
 * section 3.1.6.2.
 *
 * The handlers' addresses are open to the implementation. Both machines have them at the start of RAM, where the
 * program puts a jump.
 */
#include "rt.h"

#define MDT (1ull << 42)
enum { NMIE = 8, MSIE = 8 };
#define MNPP(priv) ((uint64_t)(priv) << 11)

extern uint32_t _start[];
void nmi_entry(void);

/* What the handler found. */
struct record {
    uint64_t mnstatus, mnepc, mncause, mcause, mepc, mtval, mstatus;
    uint64_t open; /* it sets NMIE */
};
struct record nmi_record;

__asm__(".text\n.balign 4\n"
        "nmi_entry:\n"
        "  lla t0, nmi_record\n"
        "  csrr t1, 0x744\n sd t1, 0(t0)\n csrr t1, 0x741\n sd t1, 8(t0)\n csrr t1, 0x742\n sd t1, 16(t0)\n"
        "  csrr t1, mcause\n sd t1, 24(t0)\n csrr t1, mepc\n sd t1, 32(t0)\n csrr t1, mtval\n sd t1, 40(t0)\n"
        "  csrr t1, mstatus\n sd t1, 48(t0)\n"
        "  li t1, 1 << 17\n csrc mstatus, t1\n"
        "  ld t1, 56(t0)\n beqz t1, 1f\n csrsi 0x744, 8\n"
        "1: lla a0, rt_harts\n  j rt_unwind\n");

static void put_handler(void)
{
    int64_t distance = (int64_t)((uint64_t)nmi_entry - (uint64_t)_start);
    uint32_t imm = (uint32_t)distance;
    _start[0] = 0x6f | (imm & 0xff000) | (imm >> 11 & 1) << 20 | (imm >> 1 & 0x3ff) << 21 | (imm >> 20 & 1) << 31;
    rt_fence_i();
}

#ifndef NMI_DBLTRP

static const char mode_name[] = {'U', 'S', '?', 'M'};

static void registers(void)
{
    static const uint64_t values[] = {0, -1ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa};
    for (unsigned i = 0; i < 4; i++) {
        rt_csr_write(0x740, values[i]);
        rt_csr_write(0x741, values[i]);
        rt_print("registers.%d: mnscratch=%x mnepc=%x", (int64_t)i, rt_csr_read(0x740), rt_csr_read(0x741));
        rt_expect(rt_csr_read(0x740) == values[i] && rt_csr_read(0x741) == (values[i] & ~1ull), "registers.%d",
                  (int64_t)i);
    }
    for (uint64_t mnpp = 0; mnpp < 4; mnpp++) {
        rt_csr_write(0x744, MNPP(0));
        rt_csr_write(0x744, MNPP(mnpp));
        uint64_t got = rt_csr_read(0x744);
        if (mnpp != 2)
            rt_print("mnpp.%d: %x", mnpp, got);
        rt_expect(mnpp == 2 ? got != MNPP(2) : got == MNPP(mnpp), "mnpp.%d: %x", mnpp, got);
    }
}

/* A software interrupt of M-mode, which nothing but NMIE holds back. */
static struct outcome interrupted(int priv)
{
    uint32_t wait[40];
    for (unsigned i = 0; i < 40; i++)
        wait[i] = RT_NOP;
    rt_csr_write(mie, MSIE);
    *rt_mmio32(RT_MSIP(0)) = 1;
    rt_csr_set(mstatus, MSTATUS_MPIE);
    struct outcome out = rt_run(priv, wait, 40, 0, 0, 0);
    *rt_mmio32(RT_MSIP(0)) = 0;
    rt_csr_write(mie, 0);
    return out;
}

static void interrupts(unsigned nmie)
{
    for (int priv = RT_U; priv <= (nmie ? RT_M : RT_S); priv += priv == RT_S ? 2 : 1) {
        struct outcome out = interrupted(priv);
        rt_print("interrupt.nmie%d.%c: %s", (int64_t)nmie, mode_name[priv],
                 out.trapped ? rt_describe(&out, (uint64_t)rt_code_buffer) : "none");
        rt_expect(out.trapped == (nmie == 1), "interrupt.nmie%d.%c", (int64_t)nmie, mode_name[priv]);
    }
    /* WFI looks at what is enabled locally. */
    rt_csr_write(mie, MSIE);
    *rt_mmio32(RT_MSIP(0)) = 1;
    rt_csr_clear(mstatus, MSTATUS_MIE | MSTATUS_MPIE);
    __asm__ volatile("wfi");
    *rt_mmio32(RT_MSIP(0)) = 0;
    rt_csr_write(mie, 0);
    rt_print("wfi.nmie%d: woke", (int64_t)nmie);
}

static void exceptions(void)
{
    nmi_record = (struct record){0};
    rt_csr_write(mcause, 0);
    rt_csr_write(0x742, 0x99);
    rt_csr_write(0x741, 0x1000);
    rt_run1(RT_M, 0xffffffff, 0, 0, 0);
    rt_print("exception.M: mcause=%x mtval=%x mepc=%x mnstatus=%x mncause=%x mnepc=%x", nmi_record.mcause,
             nmi_record.mtval, nmi_record.mepc - (uint64_t)rt_code_buffer, nmi_record.mnstatus & NMIE,
             nmi_record.mncause, nmi_record.mnepc);
    rt_expect(nmi_record.mcause == 2 && nmi_record.mtval == 0xffffffff && nmi_record.mepc == (uint64_t)rt_code_buffer,
              "exception.M");
    for (int priv = RT_U; priv <= RT_S; priv++) {
        nmi_record = (struct record){0};
        struct outcome out = rt_run1(priv, 0xffffffff, 0, 0, 0);
        rt_print("exception.%c: %s", mode_name[priv], rt_describe(&out, (uint64_t)rt_code_buffer));
        rt_expect(out.trapped && out.by == 'M' && nmi_record.mcause == 0, "exception.%c", mode_name[priv]);
    }
}

/* Data of S-mode, whose page table is empty: a fault, unless MPRV counts for nothing. */
static _Alignas(4096) uint64_t nothing[512];

static uint64_t mprv_cause(void)
{
    uint32_t insns[] = {rt_csrrw(0, 0x300, 12), 0x00053583 /* ld a1, (a0) */, 0x00100073 /* ebreak */};
    uint64_t status = (rt_csr_read(mstatus) & ~MSTATUS_MPP(3)) | MSTATUS_MPRV | MSTATUS_MPP(RT_S);
    rt_csr_write(satp, 8ull << 60 | (uint64_t)nothing >> 12);
    rt_sfence();
    nmi_record = (struct record){0};
    struct outcome out = rt_run(RT_M, insns, 3, (uint64_t)nothing, 0, status);
    rt_csr_write(satp, 0);
    rt_sfence();
    return nmi_record.mcause ? nmi_record.mcause : out.cause;
}

static void returns(void)
{
    for (int priv = RT_U; priv <= RT_M; priv += priv == RT_S ? 2 : 1) {
        /* mnepc is where sret would be: legal in S and M only, and mret in M only. */
        uint32_t insns[] = {rt_csrrw(0, 0x741, 10), rt_csrrw(0, 0x744, 11), 0x70200073 /* mnret */, 0xffffffff};
        rt_csr_set(mstatus, MSTATUS_MPRV);
        struct outcome out = rt_run(RT_M, insns, 4, (uint64_t)rt_code_buffer + 12, MNPP(priv), 0);
        rt_print("mnret.%c: %s mpp=%d mprv=%d", mode_name[priv], rt_describe(&out, (uint64_t)rt_code_buffer),
                 out.status >> 11 & 3, out.status >> 17 & 1);
        rt_expect(out.trapped && out.cause == CAUSE_ILLEGAL && (out.status >> 11 & 3) == (uint64_t)priv &&
                      (out.status >> 17 & 1) == (priv == RT_M) && out.epc == (uint64_t)rt_code_buffer + 12,
                  "mnret.%c", mode_name[priv]);
        rt_csr_clear(mstatus, MSTATUS_MPRV);
        if (priv != RT_M) {
            out = rt_run1(priv, 0x70200073, 0, 0, 0);
            rt_print("mnret.in.%c: %s", mode_name[priv], rt_describe(&out, (uint64_t)rt_code_buffer));
            rt_expect(out.trapped && out.cause == CAUSE_ILLEGAL, "mnret.in.%c", mode_name[priv]);
        }
    }
}

void bare_main(void)
{
    rt_print("reset: %x", rt_csr_read(0x744) & NMIE);
    rt_expect(!(rt_csr_read(0x744) & NMIE), "reset");
    put_handler();
    registers();
    interrupts(0);
    exceptions();
    uint64_t cause = mprv_cause();
    rt_print("mprv.nmie0: %x", cause);
    rt_expect(cause == CAUSE_BREAK, "mprv.nmie0: %x", cause);
    rt_csr_set(0x744, NMIE);
    rt_expect(rt_csr_read(0x744) & NMIE, "nmie.set");
    rt_csr_clear(0x744, NMIE);
    rt_csr_write(0x744, 0);
    rt_print("nmie.stays: %x", rt_csr_read(0x744) & NMIE);
    rt_expect(rt_csr_read(0x744) & NMIE, "nmie.stays");
    interrupts(1);
    cause = mprv_cause();
    rt_print("mprv.nmie1: %x", cause);
    rt_expect(cause == CAUSE_LOAD_PAGE, "mprv.nmie1: %x", cause);
    returns();
}

#else

static uint64_t written(uint64_t first, uint64_t second)
{
    uint32_t code[] = {rt_csrrw(0, 0x300, 10), rt_csrrw(0, 0x300, 11), rt_csrrs(11, 0x300, 0), rt_csrrw(0, 0x300, 0)};
    struct outcome out = rt_run(RT_M, code, 4, first, second, 0);
    return out.trapped ? -1ull : out.a1 & (MDT | MSTATUS_MIE);
}

static void fields(void)
{
    static const uint64_t values[] = {0, MDT, MSTATUS_MIE, MDT | MSTATUS_MIE};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < 4; j++) {
            uint64_t got = written(values[i], values[j]);
            rt_print("mdt.%d.%d: %x", (int64_t)i, (int64_t)j, got);
            rt_expect(got == (values[j] & MDT ? MDT : values[j]), "mdt.%d.%d: %x", (int64_t)i, (int64_t)j, got);
        }
}

/* A second trap, of an exception or an interrupt, goes to the handler of NMIs and leaves the first one's registers. */
static void twice(void)
{
    uint32_t codes[][3] = {{rt_csrrs(0, 0x300, 12), 0xffffffff, RT_NOP},
                           {rt_csrrs(0, 0x300, 12), 0x00100073 /* ebreak */, RT_NOP},
                           {rt_csrrs(0, 0x300, 12), 0x00053583 /* ld a1, (a0) */, RT_NOP},
                           {rt_csrrs(0, 0x300, 12), 0x00000073 /* ecall */, RT_NOP}};
    static const uint64_t causes[] = {CAUSE_ILLEGAL, CAUSE_BREAK, CAUSE_LOAD_ACCESS, CAUSE_ECALL_M};
    for (unsigned i = 0; i < RT_COUNT(causes); i++) {
        nmi_record = (struct record){.open = 1};
        rt_csr_write(mcause, 0x77);
        rt_csr_write(mtval, 0x88);
        rt_run(RT_M, codes[i], 3, RT_HOLE, 0, MDT);
        rt_print("twice.%d: mncause=%x mnepc=%x mnstatus=%x mcause=%x mtval=%x mdt=%d", (int64_t)i, nmi_record.mncause,
                 nmi_record.mnepc - (uint64_t)rt_code_buffer, nmi_record.mnstatus, nmi_record.mcause, nmi_record.mtval,
                 nmi_record.mstatus >> 42 & 1);
        rt_expect(nmi_record.mncause == causes[i] && nmi_record.mnepc == (uint64_t)rt_code_buffer + 4 &&
                      nmi_record.mnstatus == MNPP(RT_M) && nmi_record.mcause == 0x77 && nmi_record.mtval == 0x88 &&
                      (nmi_record.mstatus & MDT),
                  "twice.%d", (int64_t)i);
    }
}

static void returns(void)
{
    for (int priv = RT_U; priv <= RT_M; priv += priv == RT_S ? 2 : 1) {
        /* A trap sets MDT; MRET to any mode had cleared it. */
        struct outcome out = rt_run1(priv, 0xffffffff, 0, 0, 0);
        rt_print("trap.%d: %s mdt=%d", (int64_t)priv, rt_describe(&out, (uint64_t)rt_code_buffer),
                 out.status >> 42 & 1);
        rt_expect(out.trapped && (out.status & MDT), "trap.%d", (int64_t)priv);
        /* MNRET clears it on the way to a lower mode: the trap there is then a first one. */
        nmi_record = (struct record){.open = 1};
        uint32_t insns[] = {rt_csrrs(0, 0x300, 12), rt_csrrw(0, 0x741, 10), rt_csrrw(0, 0x744, 11), 0x70200073,
                            0xffffffff};
        out = rt_run(RT_M, insns, 5, (uint64_t)rt_code_buffer + 16, MNPP(priv), MDT);
        bool second = nmi_record.mncause == CAUSE_ILLEGAL;
        rt_print("mnret.%d: %s", (int64_t)priv, second ? "double trap" : rt_describe(&out, (uint64_t)rt_code_buffer));
        rt_expect(second == (priv == RT_M), "mnret.%d", (int64_t)priv);
    }
}

void bare_main(void)
{
    put_handler();
    rt_csr_set(0x744, NMIE);
    fields();
    twice();
    returns();
}

#endif
