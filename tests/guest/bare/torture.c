/* Random privileged programs. Each is some hundred random instructions in S- or U-mode under Sv39, run round a loop
 * while their world changes: at traps, which M-mode handles, it changes page tables, delegation, privilege, SUM, MXR,
 * FS, TVM, TSR, A and D by hardware, PMP, and makes software interrupts pending. What was trapped where and what the
 * registers held then goes into a digest, one line a program.
 *
 * Everything but the clock is a function of the seed, so QEMU must report the same digests. With TORTURE_TIMER a timer
 * interrupts at random instructions too, and instret is looked at: under --clock=insns all tiers must agree, and there
 * is no peer. With TORTURE_LONG there are more programs.
 */
#include "rt.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
enum { PAGE = 4096, CODE_PAGES = 2, DATA_PAGES = 16, FRAMES = 6, ITEMS = 220, TURNS = 40, TRAPS_MAX = 6000 };
#ifdef TORTURE_LONG
enum { PROGRAMS = 3000 };
#else
enum { PROGRAMS = 60 };
#endif
#define GOOD (PTE_V | PTE_R | PTE_W | PTE_A | PTE_D)
#define HANDLER_GVA 0x08000000ull
#define CODE_S 0x10000000ull /* the code for S-mode, */
#define CODE_U 0x20000000ull /* and for U-mode: neither may run the other's pages */
#define DATA 0x30000000ull
#define SUPER 0x38000000ull
#define SUPER_BYTES 0x200000ull
#define MENVCFG_ADUE (1ull << 61)
#define MIP_SSIP 2ull
#define MIP_MTIP 128ull

static uint64_t root[512], level1[512], handler_level0[512], code_level0[2][512],
    data_level0[512] __attribute__((aligned(PAGE)));
static uint32_t code[CODE_PAGES * PAGE / 4] __attribute__((aligned(PAGE)));
static uint32_t handler[PAGE / 4] __attribute__((aligned(PAGE)));
static uint64_t frames[FRAMES][512] __attribute__((aligned(PAGE)));
static uint8_t big[SUPER_BYTES] __attribute__((aligned(SUPER_BYTES)));

/* A program in progress. */
static struct {
    uint64_t random, events; /* of the code, and of what happens to it */
    uint64_t digest, traps;
    unsigned end;    /* the instruction that ends it */
    unsigned hidden; /* code page that is not mapped, + 1 */
} run;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static unsigned below(uint64_t *state, unsigned end)
{
    return (unsigned)(next_random(state) >> 11) % end;
}

static void note(uint64_t value)
{
    run.digest = (run.digest ^ value) * 0x100000001b3ull;
    run.digest ^= run.digest >> 29;
}

/* ---- the code ---- */

enum { S0 = 8, S1 = 9, S2 = 18, S9 = 25, S10 = 26, S11 = 27, T0 = 5, T1 = 6 };

/* Registers that random instructions write. */
static uint32_t scratch(void)
{
    static const uint8_t numbers[] = {10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 30, 31, 0};

    return numbers[below(&run.random, RT_COUNT(numbers))];
}

/* Where accesses go: pages of data, the superpage, the end of one and the start of the next. */
static uint32_t base(void)
{
    static const uint8_t numbers[] = {S0, S1, S2, 19, 20, 21, 22, 23};

    return numbers[below(&run.random, RT_COUNT(numbers))];
}

static uint32_t arithmetic(void)
{
    uint32_t rd = scratch(), a = scratch(), b = scratch(), funct3 = below(&run.random, 8);
    uint32_t op = below(&run.random, 2) ? 0x33 : 0x3b;

    switch (below(&run.random, 4)) {
    case 0: /* M */
        return rt_r(op, op == 0x3b && funct3 && funct3 < 4 ? 0 : funct3, 1, rd, a, b);
    case 1:
        return rt_r(op, op == 0x3b ? (funct3 & 1 ? 5 : 0) : funct3, funct3 == 5 || funct3 == 0 ? 0x20 : 0, rd, a, b);
    case 2: /* addi, slti, xori, ori, andi, sltiu */
        return rt_i(0x13, funct3 == 1 || funct3 == 5 ? 0 : funct3, rd, a, below(&run.random, 4096));
    default: /* slli, srli, srai */
        return rt_i(0x13, funct3 & 1 ? 1 : 5, rd, a, below(&run.random, 64) | (funct3 == 6 ? 0x400 : 0));
    }
}

static uint32_t memory(void)
{
    uint32_t size = below(&run.random, 4), imm = below(&run.random, 2048), at = base();

    switch (below(&run.random, 8)) {
    case 0 ... 2:
        return rt_i(0x03, below(&run.random, 7), scratch(), at, imm);
    case 3 ... 4:
        return (imm >> 5 & 127) << 25 | scratch() << 20 | at << 15 | size << 12 | (imm & 31) << 7 | 0x23;
    case 5: /* fld, fsd, flw, fsw */
        return size & 1 ? rt_i(0x07, 2 + (size >> 1), scratch(), at, imm)
                        : (imm >> 5 & 127) << 25 | scratch() << 20 | at << 15 | (2 + (size >> 1)) << 12 |
                              (imm & 31) << 7 | 0x27;
    case 6: { /* an AMO, seldom misaligned: the bases are aligned but for one */
        static const uint8_t functs[] = {0x00, 0x01, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c};
        return rt_r(0x2f, 2 + (size & 1), (uint32_t)functs[below(&run.random, RT_COUNT(functs))] << 2, scratch(), at,
                    scratch());
    }
    default: /* cbo.zero, cbo.clean, prefetches, at starts of blocks: QEMU says so of others in tval */
        at = below(&run.random, 2) ? S1 : 22;
        return size == 0   ? rt_i(0x0f, 2, 0, at, 4)
               : size == 1 ? rt_i(0x0f, 2, 0, at, 1)
                           : rt_i(0x13, 6, 0, at, (imm & 0xfe0) | 1);
    }
}

/* In the registers that supervisors have, all that does not take the world away. */
static uint32_t csr(void)
{
    static const uint16_t numbers[] = {0x001, 0x002, 0x003, 0x140, 0x142, 0x143, 0x106, 0x104, 0x144,
                                       0x10a, 0x100, 0x105, 0x180, 0x340, 0xc00, 0xf14, 0x5c0};
    uint32_t number = numbers[below(&run.random, RT_COUNT(numbers))];
    uint32_t rd = scratch(), rs1 = scratch(), funct3 = 1 + below(&run.random, 3);

    /* Not sepc, whose bit 0 QEMU keeps. satp, stvec, senvcfg and sip are read; of sstatus FS, SUM and MXR are switched,
     * by immediates SIE and SPIE. */
    if (number == 0x180 || number == 0x105 || number == 0x10a || number == 0x144)
        return rt_i(0x73, 2, rd, 0, number);
    if (number == 0xc00) /* never the same twice */
        number = 0x5c0;
    if (number == 0x100)
        return rt_i(0x73, 6 + (funct3 & 1), rd, below(&run.random, 2) ? 2 : 0x20 & 31, number);
    if (number == 0x104)
        return rt_i(0x73, 6 + (funct3 & 1), rd, 2, number);
    if (number < 4) /* QEMU takes a set or clear of nothing for no write, which leaves FS alone */
        funct3 = 1;
    return rt_i(0x73, funct3, rd, rs1, number);
}

/* No comparisons: they change flags at most, and whether FS becomes dirty by those alone is free. */
static uint32_t fp(void)
{
    static const uint8_t functs[] = {0x01, 0x05, 0x09, 0x0d, 0x11, 0x15, 0x00, 0x04, 0x08};
    uint32_t funct7 = functs[below(&run.random, RT_COUNT(functs))];
    uint32_t rm = funct7 >= 0x10 ? below(&run.random, 2) : below(&run.random, 8);

    return rt_r(0x53, rm, funct7, scratch(), scratch(), scratch());
}

/* Any 32 bits that neither jump nor touch CSRs: most are illegal. */
static uint32_t any_bits(void)
{
    for (;;) {
        uint32_t bits = (uint32_t)next_random(&run.random) | 3;
        uint32_t opcode = bits & 0x7f;
        bool atomic = opcode == 0x2f; /* LR/SC: which reservations survive a trap is free */
        if ((opcode & 0x1f) == 0x1f || opcode == 0x63 || opcode == 0x67 || opcode == 0x6f || opcode == 0x73 || atomic)
            continue;
        bits = (bits & ~(31u << 7)) | scratch() << 7;
        /* Not where the extensions of the two machines may differ: OP-V, custom, FP with odd formats. */
        if (opcode == 0x57 || opcode == 0x77 || opcode == 0x0b || opcode == 0x2b || opcode == 0x5b || opcode == 0x7b ||
            opcode == 0x0f || opcode == 0x07 || opcode == 0x27 || opcode == 0x53)
            continue;
        return bits;
    }
}

static unsigned put_branch(uint32_t *at, unsigned left)
{
    static const uint8_t functs[] = {0, 1, 4, 5, 6, 7};
    uint32_t over = 4 * (1 + below(&run.random, 6));

    if (over / 4 >= left)
        over = 4;
    at[0] = (over >> 12 & 1) << 31 | (over >> 5 & 63) << 25 | scratch() << 20 | scratch() << 15 |
            (uint32_t)functs[below(&run.random, 6)] << 12 | (over >> 1 & 15) << 8 | (over >> 11 & 1) << 7 | 0x63;
    return 1;
}

enum { SRET = 0x10200073, SRET_INSNS = 8 };

/* SRET to behind itself, into U-mode (whose pages are S11 away) or S-mode, with interrupts off. In U-mode those that
 * say so by a CSR are illegal. */
static unsigned put_sret(uint32_t *at)
{
    bool to_user = below(&run.random, 2);

    at[0] = rt_i(0x73, 7, 0, 2, 0x100);
    at[1] = T0 << 7 | 0x17; /* auipc t0, 0 */
    at[2] = rt_addi(T0, T0, 4 * (SRET_INSNS - 1));
    at[3] = to_user ? rt_r(0x33, 0, 0, T0, T0, S11) : RT_NOP;
    at[4] = rt_i(0x73, 1, 0, T0, 0x141);
    at[5] = rt_addi(T1, 0, 0x100);
    at[6] = rt_i(0x73, to_user ? 3 : 2, 0, T1, 0x100);
    at[7] = SRET;
    return SRET_INSNS;
}

/* Is the instruction one of those? Who begins in the middle would return to where nobody said. */
static bool in_sret(uint64_t place)
{
    for (unsigned i = 0; i < SRET_INSNS; i++)
        if (place < sizeof(code) && code[place / 4 + i] == SRET)
            return true;
    return false;
}

static unsigned put_item(uint32_t *at, unsigned left)
{
    unsigned kind = below(&run.random, 100);

    if (kind < 4 && left > SRET_INSNS)
        return put_sret(at);
    if (kind < 14)
        return put_branch(at, left);
    if (kind < 44)
        at[0] = arithmetic();
    else if (kind < 74)
        at[0] = memory();
    else if (kind < 84)
        at[0] = csr();
    else if (kind < 89)
        at[0] = fp();
    else if (kind < 92)
        at[0] = any_bits();
    else if (kind < 94) /* sfence.vma, sinval.vma */
        at[0] = rt_r(0x73, 0, kind & 1 ? 9 : 11, 0, below(&run.random, 2) ? base() : 0, scratch());
    else if (kind < 96)
        at[0] = kind & 1 ? 0x0000100f : 0x0330000f; /* fence.i, fence rw, rw */
    else
        at[0] = kind < 98 ? 0x00000073 : 0x00100073; /* ecall, ebreak */
#ifdef TORTURE_TIMER
    if (kind == 43)
        at[0] = rt_i(0x73, 2, scratch(), 0, 0xc02);
#endif
    return 1;
}

/* A branch into the middle of those is none. */
static void mend_branches(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned target = i + (code[i] >> 9 & 7) + (code[i] >> 22 & 8);
        bool inside = (code[i] & 0x7f) == 0x63 && in_sret(4ull * target) && code[target + SRET_INSNS - 1] != SRET;
        if (inside)
            code[i] = RT_NOP;
    }
}

static void write_program(void)
{
    unsigned count = 0;

    while (count < ITEMS)
        count += put_item(code + count, ITEMS - count);
    mend_branches(count);
    int32_t back = -4 * (int32_t)(count + 2);
    uint32_t b = (uint32_t)back;
    code[count++] = rt_addi(S9, S9, 0xfff);
    code[count++] = 8u >> 1 << 8 | S9 << 15 | 0x63; /* beqz s9, over the jump */
    code[count++] = (b >> 20 & 1) << 31 | (b >> 1 & 0x3ff) << 21 | (b >> 11 & 1) << 20 | (b >> 12 & 0xff) << 12 | 0x6f;
    run.end = count;
    code[count] = 0x00000073;
    if (rt_verbose) {
        for (unsigned i = 0; i <= count; i++)
            rt_print("code.%x: %x", (uint64_t)4 * i, (uint64_t)code[i]);
    }
    rt_fence_i();
}

/* ---- the world ---- */

static uint64_t pte_to(const void *to, uint64_t bits)
{
    return (uint64_t)to >> 12 << 10 | bits;
}

static uint64_t random_bits(void)
{
    static const uint8_t bits[] = {
        GOOD & ~PTE_W, GOOD & ~PTE_A,           GOOD & ~PTE_D,         GOOD & ~PTE_R,           GOOD & ~PTE_V,
        GOOD | PTE_X,  GOOD & ~(PTE_A | PTE_D), PTE_V | PTE_X | PTE_A, GOOD & ~(PTE_W | PTE_D), 0};
    uint64_t user = below(&run.events, 3) ? PTE_U : 0;

    return user | (below(&run.events, 2) ? GOOD : bits[below(&run.events, RT_COUNT(bits))]);
}

static void map_data(unsigned page)
{
    data_level0[page] = pte_to(frames[below(&run.events, FRAMES)], random_bits());
}

static void map_code(unsigned page, bool there)
{
    code_level0[0][page] = pte_to(code + page * (PAGE / 4), there ? PTE_V | PTE_R | PTE_X | PTE_A : 0);
    code_level0[1][page] = pte_to(code + page * (PAGE / 4), there ? PTE_V | PTE_X | PTE_U | PTE_A : 0);
}

static void make_world(void)
{
    root[0] = pte_to(level1, PTE_V);
    level1[HANDLER_GVA >> 21] = pte_to(handler_level0, PTE_V);
    level1[CODE_S >> 21] = pte_to(code_level0[0], PTE_V);
    level1[CODE_U >> 21] = pte_to(code_level0[1], PTE_V);
    level1[DATA >> 21] = pte_to(data_level0, PTE_V);
    level1[SUPER >> 21] = pte_to(big, GOOD | PTE_U);
    handler_level0[0] = pte_to(handler, PTE_V | PTE_R | PTE_X | PTE_A);
    handler[0] = 0x00000073; /* ecall: M-mode looks */
    handler[1] = 0x10200073; /* sret */
    for (unsigned page = 0; page < CODE_PAGES; page++)
        map_code(page, true);
    for (unsigned page = 0; page < DATA_PAGES; page++)
        map_data(page);
    for (unsigned i = 0; i < FRAMES; i++)
        for (unsigned j = 0; j < 512; j++)
            frames[i][j] = next_random(&run.events);
    for (unsigned i = 0; i < PAGE; i++)
        ((uint64_t *)big)[i] = next_random(&run.events);
    run.hidden = 0;
    rt_fence_i();
}

static bool in_user(uint64_t pc)
{
    return pc - CODE_U < CODE_PAGES * PAGE;
}

/* Of the pc, in the code as it is for both modes; others stay. */
static uint64_t place(uint64_t pc)
{
    return in_user(pc) ? pc - CODE_U : pc - CODE_S < CODE_PAGES * PAGE ? pc - CODE_S : pc;
}

static void toggle(uint64_t bits)
{
    if (rt_csr_read(mstatus) & bits)
        rt_csr_clear(mstatus, bits);
    else
        rt_csr_set(mstatus, bits);
}

/* Something happens, while M-mode has the hart: `place_now` is where it goes on. */
static void event(uint64_t place_now)
{
    static const uint64_t delegable[] = {1 << 2, 1 << 3, 1 << 5, 1 << 7, 1 << 8, 1 << 13, 1 << 15, 1 << 6, 1 << 4};

    switch (below(&run.events, 16)) {
    case 0 ... 3:
        map_data(below(&run.events, DATA_PAGES));
        break;
    case 4:
        level1[SUPER >> 21] = pte_to(big, random_bits());
        break;
    case 5:
        toggle(MSTATUS_SUM);
        break;
    case 6:
        toggle(MSTATUS_MXR);
        break;
    case 7:
        rt_csr_clear(mstatus, MSTATUS_FS(3));
        rt_csr_set(mstatus, MSTATUS_FS(below(&run.events, 4)));
        break;
    case 8:
        toggle(below(&run.events, 2) ? MSTATUS_TVM : MSTATUS_TSR);
        break;
    case 9:
        rt_csr_write(medeleg, rt_csr_read(medeleg) ^ delegable[below(&run.events, RT_COUNT(delegable))]);
        break;
    case 10:
        rt_csr_write(menvcfg, rt_csr_read(menvcfg) ^ MENVCFG_ADUE);
        break;
    case 11: /* the frame of PMP's entry 1 may be read only (with nothing allowed QEMU faults before it looks at the
                page) */
        rt_csr_write(pmpcfg0, below(&run.events, 2) ? 0x1f1900ull : 0x1f1f00ull);
        break;
    case 12:
        rt_csr_set(mip, MIP_SSIP);
        break;
    case 13: /* the page where it goes on is gone until it is fetched from */
        run.hidden = 1 + (unsigned)(place_now / PAGE) % CODE_PAGES;
        map_code(run.hidden - 1, false);
        break;
    case 14:
        rt_csr_write(menvcfg, rt_csr_read(menvcfg) ^ 0xf0);
        break;
    default:
        break;
    }
    rt_sfence();
    if (rt_verbose)
        rt_print("event: status=%x menvcfg=%x medeleg=%x pmpcfg0=%x super=%x", rt_csr_read(mstatus),
                 rt_csr_read(menvcfg), rt_csr_read(medeleg), rt_csr_read(pmpcfg0), level1[SUPER >> 21]);
}

#ifdef TORTURE_TIMER
static void arm(void)
{
    *rt_mmio64(RT_MTIMECMP(0)) = *rt_mmio64(RT_MTIME) + 1 + below(&run.events, 60);
}
#endif

static void note_registers(const struct hart *hart)
{
    for (unsigned i = 10; i < 18; i++)
        note(hart->x[i]);
    for (unsigned i = 28; i < 32; i++)
        note(hart->x[i]);
}

/* S-mode's handler asks: what came to it, and back behind it. */
static void look_at_supervisor(void)
{
    uint64_t cause = rt_csr_read(scause);
    if (rt_verbose)
        rt_print("s-trap: cause=%x pc=%x tval=%x status=%x", cause, rt_csr_read(sepc), rt_csr_read(stval),
                 rt_csr_read(sstatus));

    note(cause);
    note(rt_csr_read(sepc));
    note(rt_csr_read(stval));
    note(rt_csr_read(sstatus));
    if (cause & CAUSE_INTERRUPT)
        rt_csr_clear(mip, MIP_SSIP);
    else
        rt_csr_write(sepc, rt_csr_read(sepc) + 4);
    rt_csr_clear(mstatus, MSTATUS_TSR);
}

static bool on_trap(struct hart *hart, char mode)
{
    uint64_t pc = rt_csr_read(mepc), cause = rt_csr_read(mcause), at = place(pc);
    uint64_t from = rt_csr_read(mstatus) & MSTATUS_MPP(3);
    bool user = in_user(pc);

    (void)mode;
    if (++run.traps > TRAPS_MAX)
        return false;
    note(cause);
    note(pc);
    note(rt_csr_read(mtval));
    note(from);
    note_registers(hart);
    if (rt_verbose) {
        rt_print("trap: cause=%x pc=%x tval=%x status=%x digest=%x", cause, pc, rt_csr_read(mtval),
                 rt_csr_read(mstatus), run.digest);
        if (rt_csr_read(mtval) - DATA < DATA_PAGES * PAGE)
            rt_print("pte: %x", data_level0[(rt_csr_read(mtval) - DATA) / PAGE]);
    }
    if (at == 4 * run.end)
        return false;
    if (pc == HANDLER_GVA && cause == CAUSE_ECALL_S) {
        look_at_supervisor();
        rt_csr_write(mepc, pc + 4);
        return true;
    }
#ifdef TORTURE_TIMER
    if (cause == (CAUSE_INTERRUPT | 7)) {
        arm();
        if (below(&run.events, 8) == 0)
            event(at);
        return true;
    }
#endif
    if (cause == CAUSE_FETCH_PAGE && run.hidden) {
        map_code(run.hidden - 1, true);
        run.hidden = 0;
        rt_sfence();
        return true;
    }
    if (at >= 4 * run.end) { /* lost: a jump that nobody wrote */
        at = 0;
        user = false;
    } else if (!(cause & CAUSE_INTERRUPT)) {
        at += 4;
    }
    if (below(&run.events, 4) == 0)
        event(at);
    if (below(&run.events, 8) == 0 && !in_sret(at))
        user = !user;
    rt_csr_clear(mstatus, MSTATUS_MPP(3));
    rt_csr_set(mstatus, MSTATUS_MPP(user ? RT_U : RT_S));
    rt_csr_write(mepc, at + (user ? CODE_U : CODE_S));
    return true;
}

static void run_program(unsigned number)
{
    struct hart *self = rt_self();

    run.random = (number + 1) * 0x9e3779b97f4a7c15ull;
    run.events = run.random ^ 0x5555aaaa12345678ull;
    run.digest = run.traps = 0;
    make_world();
    write_program();
    rt_csr_write(medeleg, 0);
    rt_csr_write(mideleg, MIP_SSIP);
    rt_csr_write(mip, 0);
    rt_csr_write(menvcfg, 0);
    rt_csr_write(mie, MIP_SSIP);
    rt_csr_write(stvec, HANDLER_GVA);
    rt_csr_clear(mstatus, MSTATUS_TVM | MSTATUS_TSR | MSTATUS_SUM | MSTATUS_MXR | MSTATUS_SIE | MSTATUS_SPIE);
    rt_csr_set(mstatus, MSTATUS_FS(1));
    rt_csr_write(fcsr, 0);
    rt_csr_write(sscratch, 0);
    rt_csr_write(sepc, 0);
    rt_csr_write(scause, 0);
    rt_csr_write(stval, 0);
    rt_csr_write(scounteren, 7);
    rt_csr_write(0x10a, 0);
    rt_csr_write(satp, 8ull << 60 | (uint64_t)root >> 12);
    rt_sfence();
    self->hook = on_trap;
#ifdef TORTURE_TIMER
    rt_csr_set(mie, MIP_MTIP);
    arm();
#endif
    /* The bases of accesses, the turns and the way to the other pages; then into the program. */
    static uint32_t enter[24];
    const uint64_t values[][2] = {
        {S0, DATA},           {S1, DATA + 3 * PAGE + 64}, {S2, DATA + 7 * PAGE - 8}, {19, DATA + 9 * PAGE - 1024},
        {20, SUPER + 0x3ff8}, {21, DATA + 5 * PAGE + 1},  {22, SUPER + 64},          {23, DATA + 12 * PAGE + 2048},
        {S9, TURNS},          {S11, CODE_U - CODE_S}};
    unsigned count = 0;
    for (unsigned i = 0; i < RT_COUNT(values); i++) {
        uint64_t high = (values[i][1] + 0x800) >> 12;
        enter[count++] = (uint32_t)(high & 0xfffff) << 12 | (uint32_t)values[i][0] << 7 | 0x37;
        enter[count++] = rt_addi((uint32_t)values[i][0], (uint32_t)values[i][0], (uint32_t)values[i][1] & 0xfff);
    }
    enter[count++] = 0x00028067; /* jr t0 */
    (void)count;
    for (unsigned i = 0; i < count; i++)
        handler[16 + i] = enter[i];
    handler[15] = 0x10000000u | T0 << 7 | 0x37; /* lui t0: CODE_S */
    rt_fence_i();
    (void)rt_probe(RT_S, HANDLER_GVA + 4 * 15, 11, 22, 33);
    self->hook = 0;
    rt_csr_write(mie, 0);
    rt_csr_write(satp, 0);
    rt_csr_write(pmpcfg0, 0x1f1f00ull);
    rt_csr_write(medeleg, 0);
    rt_sfence();
    for (unsigned i = 0; i < FRAMES; i++)
        for (unsigned j = 0; j < 512; j++)
            note(frames[i][j]);
    rt_print("program.%d: traps=%d digest=%x", (int64_t)number, (int64_t)run.traps, run.digest);
}

void bare_main(void)
{
    /* Entry 0 is off; entry 1 is frame 1; entry 2 is everything. */
    rt_csr_write(pmpaddr2, -1ull);
    rt_csr_write(pmpaddr1, (uint64_t)frames[1] >> 2 | 0x1ff);
    rt_csr_write(pmpcfg0, 0x1f1f00ull);
    rt_csr_write(mcounteren, 7);
    for (unsigned number = 0; number < PROGRAMS; number++)
        run_program(number);
    rt_csr_write(pmpcfg0, 0x1f);
    rt_csr_write(pmpaddr0, -1ull);
}
