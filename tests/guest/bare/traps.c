/* Exceptions: every cause from every mode, delegation, xRET, and the mstatus bits that make instructions illegal.
 * Privileged Architecture 1.13, sections 3.1.6 to 3.1.8, 3.1.14 to 3.1.16, 3.3.2 and 12.1.
 */
#include "rt.h"

static const int modes[] = {RT_M, RT_S, RT_U};
static const char mode_name[] = {'U', 'S', '?', 'M'};
static uint64_t data[1024] __attribute__((aligned(4096)));

#define CODE ((uint64_t)rt_code_buffer)

/* ---- instructions that trap by themselves ---- */

static const struct {
    const char *name;
    uint32_t insn;
    uint64_t cause; /* 0: ECALL, whose cause depends on the mode */
} raising[] = {
    {"zero16", 0x0000, CAUSE_ILLEGAL},
    {"c_addi4spn_0", 0x0004, CAUSE_ILLEGAL},
    {"c_lwsp_rd0", 0x4002, CAUSE_ILLEGAL},
    {"c_ldsp_rd0", 0x6002, CAUSE_ILLEGAL},
    {"c_jr_x0", 0x8002, CAUSE_ILLEGAL},
    {"c_lui_0", 0x6501, CAUSE_ILLEGAL},
    {"c_addi16sp_0", 0x6101, CAUSE_ILLEGAL},
    {"c_addiw_rd0", 0x2001, CAUSE_ILLEGAL},
    {"c_reserved_9c79", 0x9c79, CAUSE_ILLEGAL},
    {"c_reserved_9000", 0x9000, CAUSE_ILLEGAL},
    {"ones32", 0xffffffff, CAUSE_ILLEGAL},
    {"custom0", 0x0000000b, CAUSE_ILLEGAL},
    {"custom1_operands", 0xdeadbeab, CAUSE_ILLEGAL},
    {"len48", 0x1234001f, CAUSE_ILLEGAL},
    {"len64", 0x1234003f, CAUSE_ILLEGAL},
    {"op_funct7", 0x40c59533, CAUSE_ILLEGAL},
    {"branch_f2", 0x00002063, CAUSE_ILLEGAL},
    {"jalr_f1", 0x00001067, CAUSE_ILLEGAL},
    {"load_f7", 0x00007003, CAUSE_ILLEGAL},
    {"store_f4", 0x00004023, CAUSE_ILLEGAL},
    {"system_f4", 0x00004073, CAUSE_ILLEGAL},
    {"uret", 0x00200073, CAUSE_ILLEGAL},
    {"ecall_rd", 0x000000f3, CAUSE_ILLEGAL},
    {"lr_rs2", 0x1015b52f, CAUSE_ILLEGAL},
    {"slli_shamt6", 0x06059513, 0}, /* legal up to 63: 96 has bit 6, see the expectation below */
    {"c_ebreak", 0x9002, CAUSE_BREAK},
    {"ebreak", 0x00100073, CAUSE_BREAK},
    {"ecall", 0x00000073, 1},
};

static void cause_of_instruction(int priv, unsigned i)
{
    struct outcome out = rt_run1(priv, raising[i].insn, (uint64_t)data, (uint64_t)data, 1);
    rt_print("insn.%s.%c: %s", raising[i].name, mode_name[priv], rt_describe(&out, CODE));
    uint64_t want = raising[i].cause == 1 ? CAUSE_ECALL_U + (uint64_t)priv : raising[i].cause;
    want = want ? want : CAUSE_ILLEGAL;
    rt_expect(out.trapped && out.cause == want && out.epc == CODE, "insn.%s.%c: cause %x expected", raising[i].name,
              mode_name[priv], want);
    if (want == CAUSE_ILLEGAL)
        rt_expect(out.tval == raising[i].insn, "insn.%s.%c: tval %x, not the encoding", raising[i].name,
                  mode_name[priv], out.tval);
    if (want == CAUSE_BREAK)
        rt_expect(out.tval == CODE || out.tval == 0, "insn.%s: tval %x", raising[i].name, out.tval);
    if (want >= CAUSE_ECALL_U)
        rt_expect(out.tval == 0, "insn.%s: tval %x", raising[i].name, out.tval);
    rt_expect((out.status >> 11 & 3) == (uint64_t)priv, "insn.%s.%c: MPP", raising[i].name, mode_name[priv]);
}

static void instructions(void)
{
    for (unsigned m = 0; m < RT_COUNT(modes); m++)
        for (unsigned i = 0; i < RT_COUNT(raising); i++)
            cause_of_instruction(modes[m], i);
}

/* ---- encodings, exhaustively where executing them is harmless ---- */

static void encoding_line(int priv, uint32_t insn, uint64_t a1)
{
    struct outcome out = rt_run1(priv, insn, 0x0123456789abcdef, a1, 0xfedcba9876543213);
    if (out.trapped)
        rt_group_line("%x: %s", (uint64_t)insn, rt_describe(&out, CODE));
    else
        rt_group_line("%x: a0=%x", (uint64_t)insn, out.a0);
    rt_expect(!out.trapped || (out.cause == CAUSE_ILLEGAL && out.tval == insn && out.epc == CODE), "encoding %x: %s",
              (uint64_t)insn, rt_describe(&out, CODE));
}

/* rd = a0, rs1 = a1, rs2 = a2 or a small set of field values. */
static void alu_encodings(void)
{
    static const uint32_t opcodes[] = {0x13, 0x1b, 0x33, 0x3b};
    static const char *const names[] = {"enc.op-imm", "enc.op-imm-32", "enc.op", "enc.op-32"};
    static const uint32_t fields[] = {0, 1, 2, 4, 5, 7, 12, 24, 31};
    for (unsigned o = 0; o < 4; o++) {
        rt_group_begin(names[o]);
        unsigned values = o < 2 ? RT_COUNT(fields) : 1;
        for (uint32_t f3 = 0; f3 < 8; f3++)
            for (uint32_t f7 = 0; f7 < 128; f7++)
                for (unsigned v = 0; v < values; v++)
                    encoding_line(RT_M, rt_r(opcodes[o], f3, f7, 10, 11, o < 2 ? fields[v] : 12), 0x8000000080000001);
        rt_group_end();
    }
}

static void memory_encodings(void)
{
    rt_group_begin("enc.amo");
    for (uint32_t f7 = 0; f7 < 128; f7++)
        for (uint32_t f3 = 0; f3 < 8; f3++)
            for (uint32_t rs2 = 0; rs2 <= 12; rs2 += 12) {
                if (f7 >> 2 == 9) /* SSAMOSWAP, in cfi.c */
                    continue;
                uint32_t insn = rt_r(0x2f, f3, f7, 10, 11, rs2);
                data[0] = 0x1111222233334444;
                encoding_line(RT_M, insn, (uint64_t)data);
                rt_group_line("%x: memory %x", (uint64_t)insn, data[0]);
            }
    rt_group_end();
    static const uint32_t opcodes[] = {0x03, 0x07, 0x23, 0x27, 0x0f};
    rt_group_begin("enc.load-store-misc");
    for (unsigned o = 0; o < RT_COUNT(opcodes); o++)
        for (uint32_t f3 = 0; f3 < 8; f3++) {
            /* MISC-MEM: rd and rs1 0 are plain fences; funct3 2, the cache-block operations, is in isa_opt.c. */
            bool fence = opcodes[o] == 0x0f;
            if (fence && f3 == 2)
                continue;
            uint32_t insn = rt_r(opcodes[o], f3, 0,
                                 fence               ? 0
                                 : opcodes[o] & 0x20 ? 8
                                                     : 10,
                                 fence ? 0 : 11, fence ? 0 : 12);
            data[0] = 0x8899aabbccddeeff;
            data[1] = 0x0011223344556677;
            data[2] = 0xfffefdfcfbfaf9f8;
            encoding_line(RT_M, insn, (uint64_t)data);
            rt_group_line("%x: memory %x %x", (uint64_t)insn, data[0], data[1]);
        }
    rt_group_end();
}

static void fp_encodings(void)
{
    rt_group_begin("enc.op-fp");
    for (uint32_t f7 = 0; f7 < 128; f7++)
        for (uint32_t rm = 0; rm < 8; rm++)
            for (uint32_t rs2 = 0; rs2 < 6; rs2++) {
                rt_csr_write(fcsr, 0);
                encoding_line(RT_M, rt_r(0x53, rm, f7, 10, 11, rs2), 0x3ff0000000000000);
                rt_group_line("%x: fcsr %x", (uint64_t)rt_r(0x53, rm, f7, 10, 11, rs2), rt_csr_read(fcsr));
            }
    rt_group_end();
    rt_group_begin("enc.fma");
    for (uint32_t opcode = 0x43; opcode <= 0x4f; opcode += 4)
        for (uint32_t format = 0; format < 4; format++)
            for (uint32_t rm = 0; rm < 8; rm++)
                for (uint64_t frm = 0; frm < 8; frm++) {
                    rt_csr_write(frm, frm);
                    encoding_line(RT_M, rt_r(opcode, rm, format, 10, 11, 12), frm);
                }
    rt_group_end();
    rt_csr_write(fcsr, 0);
}

/* funct3 0 of SYSTEM, from U- and S-mode; rd and rs1 0 and 1. SRET and WFI succeed in S-mode and are tested on their
 * own, and so is WRS.NTO, whose time limit TW may leave to be (isa_opt.c). */
static void system_encodings(void)
{
    rt_csr_set(mstatus, MSTATUS_TW | MSTATUS_TSR);
    for (unsigned m = 1; m < 3; m++) {
        rt_group_begin(modes[m] == RT_S ? "enc.system.S" : "enc.system.U");
        for (uint32_t imm = 0; imm < 4096; imm++)
            for (uint32_t reg = 0; reg < 3; reg++) {
                if (imm == 0x00d)
                    continue;
                /* The fences of Svinval in U-mode, which mmu_ext.c looks at: QEMU lets them pass. */
                if ((imm == 0x180 || imm == 0x181) && reg == 0 && modes[m] == RT_U)
                    continue;
                uint32_t insn = rt_i(0x73, 0, reg == 1, reg == 2, imm);
                struct outcome out = rt_run1(modes[m], insn, 0, 0, 0);
                rt_group_line("%x: %s", (uint64_t)insn, rt_describe(&out, CODE));
            }
        rt_group_end();
    }
    rt_csr_clear(mstatus, MSTATUS_TW | MSTATUS_TSR);
}

/* ---- memory ---- */

static const struct {
    const char *name;
    uint32_t insn; /* address in a0; a1 is data */
    uint8_t bytes;
    bool store, amo;
} accesses[] = {
    {"lb", 0x00050583, 1, false, false},      {"lh", 0x00051583, 2, false, false},
    {"lw", 0x00052583, 4, false, false},      {"ld", 0x00053583, 8, false, false},
    {"lbu", 0x00054583, 1, false, false},     {"lhu", 0x00055583, 2, false, false},
    {"lwu", 0x00056583, 4, false, false},     {"flw", 0x00052507, 4, false, false},
    {"fld", 0x00053507, 8, false, false},     {"sb", 0x00b50023, 1, true, false},
    {"sh", 0x00b51023, 2, true, false},       {"sw", 0x00b52023, 4, true, false},
    {"sd", 0x00b53023, 8, true, false},       {"fsw", 0x00a52027, 4, true, false},
    {"fsd", 0x00a53027, 8, true, false},      {"c.lw", 0x410c, 4, false, false},
    {"c.ld", 0x610c, 8, false, false},        {"c.sw", 0xc10c, 4, true, false},
    {"c.sd", 0xe10c, 8, true, false},         {"lr.w", 0x100525af, 4, false, true},
    {"lr.d", 0x100535af, 8, false, true},     {"amoadd.w", 0x00b525af, 4, true, true},
    {"amoadd.d", 0x00b535af, 8, true, true},  {"amoswap.w", 0x08b525af, 4, true, true},
    {"amomaxu.d", 0xe0b535af, 8, true, true},
};

static const uint64_t holes[] = {RT_HOLE,    RT_HOLE + 0xff8, RT_BEYOND_RAM,
                                 0x88000000, 0x1000000000000, 0x80000000000000};

static void access_faults(void)
{
    for (unsigned m = 0; m < RT_COUNT(modes); m++)
        for (unsigned i = 0; i < RT_COUNT(accesses); i++)
            for (unsigned h = 0; h < RT_COUNT(holes); h++) {
                struct outcome out = rt_run1(modes[m], accesses[i].insn, holes[h], 1, 0);
                rt_print("access.%s.%x.%c: %s", accesses[i].name, holes[h], mode_name[modes[m]],
                         rt_describe(&out, CODE));
                rt_expect(out.trapped && out.cause == (accesses[i].store ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS) &&
                              out.tval == holes[h] && out.epc == CODE,
                          "access.%s.%x.%c", accesses[i].name, holes[h], mode_name[modes[m]]);
            }
    for (unsigned m = 0; m < RT_COUNT(modes); m++)
        for (unsigned h = 0; h < RT_COUNT(holes); h++) {
            struct outcome out = rt_probe(modes[m], holes[h], 0, 0, 0);
            rt_print("access.fetch.%x.%c: %s", holes[h], mode_name[modes[m]], rt_describe(&out, holes[h]));
            rt_expect(out.trapped && out.cause == CAUSE_FETCH_ACCESS && out.tval == holes[h] && out.epc == holes[h],
                      "access.fetch.%x.%c", holes[h], mode_name[modes[m]]);
        }
}

/* The last bytes of RAM: an access that begins there and ends behind it, and an instruction cut in two. */
static void edge_of_ram(void)
{
    uint64_t end = 0x88000000;
    for (unsigned i = 0; i < RT_COUNT(accesses); i++)
        for (uint64_t at = end - 8; !accesses[i].amo && at < end; at++) {
            struct outcome out = rt_run1(RT_M, accesses[i].insn, at, 1, 0);
            rt_print("edge.%s.%d: %s", accesses[i].name, (int64_t)(at - end), rt_describe(&out, CODE));
            rt_expect(out.trapped == (at + accesses[i].bytes > end), "edge.%s.%d", accesses[i].name,
                      (int64_t)(at - end));
        }
    *(volatile uint16_t *)(end - 2) = 0x0013;
    rt_fence_i();
    struct outcome out = rt_probe(RT_M, end - 2, 0, 0, 0);
    rt_print("edge.fetch: %s", rt_describe(&out, end - 2));
    rt_expect(out.trapped && out.cause == CAUSE_FETCH_ACCESS && out.epc == end - 2 && out.tval == end, "edge.fetch");
    *(volatile uint16_t *)(end - 2) = RT_RET;
    rt_fence_i();
    out = rt_probe(RT_M, end - 2, 0, 0, 0);
    rt_print("edge.fetch.c: %s", rt_describe(&out, end - 2));
    rt_expect(!out.trapped, "edge.fetch.c");
}

static uint64_t checksum(const void *at, size_t len)
{
    uint64_t sum = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ ((const volatile uint8_t *)at)[i]) * 0x100000001b3ull;
    return sum;
}

static void fill(void)
{
    for (unsigned i = 0; i < RT_COUNT(data); i++)
        data[i] = i * 0x9e3779b97f4a7c15ull;
}

/* Plain accesses work at every alignment, across cache lines and pages (both machines support them in hardware). */
static void misaligned(void)
{
    for (unsigned i = 0; i < RT_COUNT(accesses); i++) {
        char name[] = "misaligned.000000000000";
        unsigned n = 11;
        for (const char *c = accesses[i].name; *c; c++)
            name[n++] = *c;
        name[n] = 0;
        rt_group_begin(name);
        for (uint64_t offset = 4096 - 72; offset < 4096 + 8; offset++) {
            fill();
            struct outcome out = rt_run1(RT_M, accesses[i].insn, (uint64_t)data + offset, 0xa5a5f00f12345678, 0);
            rt_group_line("%d: %s a1=%x sum=%x", offset, rt_describe(&out, CODE), out.trapped ? 0 : out.a1,
                          checksum(data, sizeof(data)));
            bool aligned = offset % accesses[i].bytes == 0;
            rt_expect(out.trapped == (accesses[i].amo && !aligned), "%s+%d: %s", name, offset, rt_describe(&out, CODE));
        }
        rt_group_end();
    }
}

static void misaligned_atomics(void)
{
    for (unsigned m = 0; m < RT_COUNT(modes); m++)
        for (unsigned i = 0; i < RT_COUNT(accesses); i++)
            for (uint64_t offset = 1; accesses[i].amo && offset < 8; offset++) {
                struct outcome out = rt_run1(modes[m], accesses[i].insn, (uint64_t)data + offset, 1, 0);
                rt_print("misaligned.%s+%d.%c: %s", accesses[i].name, offset, mode_name[modes[m]],
                         rt_describe(&out, CODE));
            }
    /* SC with the reservation on the aligned address. */
    static const uint32_t lr_sc[] = {0x100535af, 0x00350613, 0x18b635af};
    struct outcome out = rt_run(RT_M, lr_sc, 3, (uint64_t)data, 1, 0);
    rt_print("misaligned.sc.d: %s", rt_describe(&out, CODE));
}

/* ---- delegation ---- */

static void delegation(void)
{
    static const uint64_t bits[] = {0,
                                    CAUSE_FETCH_ACCESS,
                                    CAUSE_ILLEGAL,
                                    CAUSE_BREAK,
                                    CAUSE_LOAD_ACCESS,
                                    CAUSE_STORE_MISALIGNED,
                                    CAUSE_STORE_ACCESS,
                                    CAUSE_ECALL_U};
    static const struct {
        const char *name;
        uint32_t insn;
        uint64_t a0, cause;
    } raise[] = {
        {"illegal", 0xffffffff, 0, CAUSE_ILLEGAL},
        {"ebreak", 0x00100073, 0, CAUSE_BREAK},
        {"load", 0x00053583, RT_HOLE, CAUSE_LOAD_ACCESS},
        {"store", 0x00b53023, RT_HOLE, CAUSE_STORE_ACCESS},
        {"amo", 0x00b535af, 0x80000001, CAUSE_STORE_MISALIGNED},
        {"ecall", 0x00000073, 0, CAUSE_ECALL_U},
        {"fetch", 0x00050067, RT_HOLE, CAUSE_FETCH_ACCESS},
    };
    for (unsigned b = 0; b < RT_COUNT(bits); b++)
        for (unsigned m = 0; m < RT_COUNT(modes); m++)
            for (unsigned r = 0; r < RT_COUNT(raise); r++) {
                rt_csr_write(medeleg, bits[b] ? 1ull << bits[b] : 0);
                rt_csr_write(sstatus, rt_csr_read(sstatus) | MSTATUS_SIE);
                struct outcome out = rt_run1(modes[m], raise[r].insn, raise[r].a0, 1, 0);
                uint64_t gate_deleg = rt_csr_read(medeleg);
                rt_csr_write(medeleg, 0);
                rt_print("deleg.%d.%s.%c: %s %s=%x", bits[b], raise[r].name, mode_name[modes[m]],
                         rt_describe(&out, out.cause == CAUSE_FETCH_ACCESS ? RT_HOLE : CODE),
                         out.by == 'S' ? "sstatus" : "mstatus", out.status & 0x1fff & ~MSTATUS_MPIE);
                bool delegated = out.cause == bits[b] && modes[m] != RT_M && gate_deleg;
                rt_expect(out.by == (delegated ? 'S' : 'M'), "deleg.%d.%s.%c: taken by %c", bits[b], raise[r].name,
                          mode_name[modes[m]], out.by);
                if (out.by == 'S')
                    rt_expect((out.status >> 8 & 1) == (modes[m] == RT_S) && !(out.status & MSTATUS_SIE) &&
                                  (out.status & MSTATUS_SPIE),
                              "deleg.%d.%s.%c: sstatus %x", bits[b], raise[r].name, mode_name[modes[m]], out.status);
            }
    rt_csr_clear(mstatus, MSTATUS_SIE | MSTATUS_SPIE);
}

/* Synchronous exceptions go to the base in vectored mode too; a table of jumps at +4 would be taken by mistake
 * otherwise. */
static void vectored_exceptions(void)
{
    extern char traps_vector_table[];
    rt_csr_write(mtvec, (uint64_t)traps_vector_table | 1);
    for (unsigned i = 0; i < 4; i++) {
        static const uint32_t insns[] = {0xffffffff, 0x00100073, 0x00053583, 0x00b53023};
        struct outcome out = rt_run1(RT_S, insns[i], RT_HOLE, 0, 0);
        rt_print("vectored.exception.%d: %s", (int64_t)i, rt_describe(&out, CODE));
        rt_expect(out.trapped, "vectored.exception.%d", (int64_t)i);
    }
    extern char rt_trap_entry_m[];
    rt_csr_write(mtvec, rt_trap_entry_m);
}

/* ---- xRET ---- */

#define MSTATUS_SHOWN \
    (MSTATUS_SIE | MSTATUS_MIE | MSTATUS_SPIE | MSTATUS_MPIE | MSTATUS_SPP | MSTATUS_MPP(3) | MSTATUS_MPRV)

/* Executes MRET in M-mode with the given status; the target traps at once with an illegal instruction, whose trap shows
 * where we landed. */
static void mret_cases(void)
{
    static const uint32_t code[] = {0x30051073 /* csrw mstatus, a0 */, 0x34159073 /* csrw mepc, a1 */, 0x30200073};
    for (unsigned mpp = 0; mpp < 4; mpp++)
        for (unsigned bits = 0; mpp != 2 && bits < 4; bits++) { /* MPP 2 is reserved and becomes what it likes */
            uint64_t base = rt_csr_read(mstatus) & ~(MSTATUS_SHOWN);
            uint64_t status = base | MSTATUS_MPP(mpp) | (bits & 1 ? MSTATUS_MPIE : 0) | (bits & 2 ? MSTATUS_MPRV : 0);
            uint64_t end = rt_code(rt_code_buffer, code, 3);
            *(volatile uint32_t *)end = 0xffffffff;
            rt_fence_i();
            struct outcome out = rt_probe(RT_M, CODE, status, end, 0);
            rt_print("mret.mpp%d.mpie%d.mprv%d: %s status=%x", (int64_t)mpp, (int64_t)(bits & 1), (int64_t)(bits >> 1),
                     rt_describe(&out, end), out.status & MSTATUS_SHOWN);
            rt_expect(out.trapped && out.cause == CAUSE_ILLEGAL && out.epc == end, "mret.mpp%d", (int64_t)mpp);
            rt_expect((out.status >> 11 & 3) == mpp, "mret.mpp%d: landed in %d", (int64_t)mpp,
                      (int64_t)(out.status >> 11 & 3));
        }
}

static void sret_cases(void)
{
    static const uint32_t code[] = {0x14159073 /* csrw sepc, a1 */, 0x10200073};
    for (int priv = RT_M; priv >= RT_S; priv -= 2)
        for (unsigned bits = 0; bits < 16; bits++) {
            uint64_t status = (bits & 1 ? MSTATUS_SPP : 0) | (bits & 2 ? MSTATUS_SPIE : 0) |
                              (bits & 4 ? MSTATUS_TSR : 0) | (bits & 8 ? MSTATUS_SIE : 0);
            uint64_t mask = MSTATUS_SPP | MSTATUS_SPIE | MSTATUS_TSR | MSTATUS_SIE;
            rt_csr_write(mstatus, (rt_csr_read(mstatus) & ~mask) | status);
            uint64_t end = rt_code(rt_code_buffer, code, 2);
            *(volatile uint32_t *)end = 0xffffffff;
            rt_fence_i();
            struct outcome out = rt_probe(priv, CODE, 0, end, 0);
            rt_print("sret.%c.spp%d.spie%d.tsr%d.sie%d: %s status=%x", mode_name[priv], (int64_t)(bits & 1),
                     (int64_t)(bits >> 1 & 1), (int64_t)(bits >> 2 & 1), (int64_t)(bits >> 3), rt_describe(&out, CODE),
                     out.status & MSTATUS_SHOWN & ~MSTATUS_MPIE);
            bool refused = priv == RT_S && (bits & 4);
            rt_expect(out.epc == (refused ? CODE + 4 : end), "sret.%c.%d: epc", mode_name[priv], (int64_t)bits);
            rt_csr_clear(mstatus, mask);
        }
}

/* xepc: bit 0 is always 0; with C, bit 1 may be 1 (section 3.1.14). */
static void epc_low_bits(void)
{
    for (uint64_t low = 0; low < 4; low++) {
        rt_csr_write(mepc, 0x80000000 | low);
        rt_csr_write(sepc, 0x80000000 | low);
        rt_print("epc.low%d: mepc=%x sepc=%x", (int64_t)low, rt_csr_read(mepc), rt_csr_read(sepc));
        rt_expect(rt_csr_read(mepc) == (0x80000000 | (low & 2)), "epc.low%d", (int64_t)low);
    }
}

/* ---- TVM, TW, TSR ---- */

static void trap_bits(void)
{
    static const struct {
        const char *name;
        uint32_t insn;
        uint64_t bit; /* of mstatus that makes it illegal in S-mode */
    } cases[] = {
        {"csrr_satp", 0x18002573, MSTATUS_TVM}, {"csrw_satp", 0x18001073, MSTATUS_TVM},
        {"sfence", 0x12000073, MSTATUS_TVM},    {"sfence_va_asid", 0x12b50073, MSTATUS_TVM},
        {"csrr_sstatus", 0x10002573, 0},        {"csrr_scause", 0x14202573, 0},
    };
    for (unsigned m = 0; m < RT_COUNT(modes); m++)
        for (unsigned c = 0; c < RT_COUNT(cases); c++)
            for (unsigned on = 0; on < 2; on++) {
                uint64_t bit = on ? MSTATUS_TVM | MSTATUS_TSR : 0;
                rt_csr_set(mstatus, bit);
                struct outcome out = rt_run1(modes[m], cases[c].insn, 0, 0, 0);
                rt_csr_clear(mstatus, bit);
                rt_print("tvm.%s.%c.%d: %s", cases[c].name, mode_name[modes[m]], (int64_t)on, rt_describe(&out, CODE));
                bool illegal = modes[m] == RT_U || (modes[m] == RT_S && (cases[c].bit & bit));
                rt_expect(out.trapped == illegal, "tvm.%s.%c.%d", cases[c].name, mode_name[modes[m]], (int64_t)on);
            }
    /* WFI with TW, with an interrupt pending and enabled in mie but globally masked so that it never sleeps. */
    rt_csr_write(mie, 1 << 3);
    *rt_mmio32(RT_MSIP(0)) = 1;
    for (unsigned m = 0; m < RT_COUNT(modes); m++)
        for (unsigned on = 0; on < 2; on++) {
            if (on)
                rt_csr_set(mstatus, MSTATUS_TW);
            if (modes[m] != RT_M)
                rt_csr_write(mie, 0);
            struct outcome out = {0};
            /* Below M-mode a pending M interrupt would be taken: only TW = 1 can be tried there. */
            if (modes[m] == RT_M || on)
                out = rt_run1(modes[m], 0x10500073, 0, 0, 0);
            rt_csr_clear(mstatus, MSTATUS_TW);
            rt_print("tw.wfi.%c.%d: %s", mode_name[modes[m]], (int64_t)on, rt_describe(&out, CODE));
            rt_expect(out.trapped == (modes[m] != RT_M && on), "tw.wfi.%c.%d", mode_name[modes[m]], (int64_t)on);
        }
    *rt_mmio32(RT_MSIP(0)) = 0;
    rt_csr_write(mie, 0);
}

/* ---- MPRV ---- */

static void mprv(void)
{
    /* PMP: the first half of `data` is closed to S and U; M may do anything as no entry is locked. */
    uint64_t napot = ((uint64_t)data >> 2) | 0x1ff;
    rt_csr_write(pmpaddr1, -1ull);
    rt_csr_write(pmpaddr0, napot);
    rt_csr_write(pmpcfg0, 0x1f18);
    static const uint32_t code[] = {0x3005a073 /* csrs mstatus, a1 */, 0x00053603 /* ld a2, (a0) */,
                                    0x3005b073 /* csrc mstatus, a1 */};
    for (unsigned mpp = 0; mpp < 4; mpp++)
        for (unsigned on = 0; on < 2; on++) {
            if (mpp == 2)
                continue;
            uint64_t bits = MSTATUS_MPP(mpp) | (on ? MSTATUS_MPRV : 0);
            struct outcome out = rt_run(RT_M, code, 3, (uint64_t)data, bits, 0);
            rt_print("mprv%d.mpp%d: %s", (int64_t)on, (int64_t)mpp,
                     out.trapped ? out.cause == CAUSE_LOAD_ACCESS ? "load access fault" : "other trap" : "ok");
            rt_expect(out.trapped == (on && mpp != 3), "mprv%d.mpp%d", (int64_t)on, (int64_t)mpp);
        }
    rt_csr_write(pmpcfg0, 0);
    rt_csr_write(pmpaddr0, -1ull);
    rt_csr_write(pmpcfg0, 0x1f);
    rt_csr_write(pmpaddr1, 0);
}

/* ---- FS ---- */

static const struct {
    const char *name;
    uint32_t insn;
    bool writes; /* changes f registers or fcsr: FS must be Dirty afterwards */
} fp[] = {
    {"flw", 0x00052507, true},     {"fld", 0x00053507, true},       {"c.fld", 0x2108, true},
    {"fsw", 0x00a52027, false},    {"fsd", 0x00a53027, false},      {"c.fsd", 0xa108, false},
    {"fadd.d", 0x02b57553, true},  {"fmadd.s", 0x68b57543, true},   {"fsgnj.d", 0x22b50553, true},
    {"fmv.d.x", 0xf2050553, true}, {"fmv.x.d", 0xe2050553, false},  {"fcvt.l.d", 0xc2257553, false},
    {"feq.d", 0xa2b52553, false},  {"fclass.d", 0xe2051553, false}, {"frflags", 0x00102573, false},
    {"fsflags", 0x00159073, true}, {"frrm", 0x00202573, false},     {"fsrm", 0x00259073, true},
    {"frcsr", 0x00302573, false},  {"fscsr", 0x00359073, true},
};

static void fs(void)
{
    rt_csr_write(fcsr, 0);
    for (unsigned m = 0; m < RT_COUNT(modes); m++)
        for (unsigned i = 0; i < RT_COUNT(fp); i++)
            for (uint64_t state = 0; state < 4; state++) {
                rt_csr_write(mstatus, (rt_csr_read(mstatus) & ~MSTATUS_FS(3)) | MSTATUS_FS(state));
                struct outcome out = rt_run1(modes[m], fp[i].insn, (uint64_t)data, 0, 0);
                uint64_t after = rt_csr_read(mstatus);
                rt_print("fs.%s.%c.fs%d: %s fs=%d sd=%d", fp[i].name, mode_name[modes[m]], state,
                         rt_describe(&out, CODE), (int64_t)(after >> 13 & 3), (int64_t)(after >> 63));
                rt_expect(out.trapped == (state == 0), "fs.%s.fs%d", fp[i].name, state);
                rt_expect(!state || !fp[i].writes || (after >> 13 & 3) == 3, "fs.%s.fs%d: not dirty", fp[i].name,
                          state);
                rt_expect((after >> 63) == ((after >> 13 & 3) == 3), "fs.%s.fs%d: SD", fp[i].name, state);
            }
    rt_csr_write(mstatus, (rt_csr_read(mstatus) & ~MSTATUS_FS(3)) | MSTATUS_FS(1));
}

/* Instructions that write an x register but raise a flag change fcsr: FS must be Dirty, and the flag be there. */
static void fs_by_flag(void)
{
    static const struct {
        const char *name;
        uint32_t insn;
    } cases[] = {{"feq.d", 0xa2a52553}, {"flt.d", 0xa2a51553}, {"fcvt.w.d", 0xc2057553}, {"fcvt.l.d", 0xc2257553}};
    for (unsigned i = 0; i < RT_COUNT(cases); i++)
        for (uint64_t state = 1; state < 3; state++) {
            /* fa0 = signalling NaN; fscsr x0; csrc mstatus, a1; csrs mstatus, a2; the instruction; a1 = fcsr */
            const uint32_t code[] = {0xf2050553, 0x00301073, 0x3005b073, 0x30062073, cases[i].insn, 0x003025f3};
            struct outcome out = rt_run(RT_M, code, 6, 0x7ff0000000000001, MSTATUS_FS(3), MSTATUS_FS(state));
            uint64_t after = rt_csr_read(mstatus) >> 13 & 3;
            rt_print("fs_by_flag.%s.fs%d: %s flags=%x", cases[i].name, state, rt_describe(&out, CODE), out.a1);
            rt_print("fs_dirty_by_flag.%s.fs%d: %d", cases[i].name, state, (int64_t)after);
            rt_expect(!out.trapped && out.a1 == 16 && after == 3, "fs_by_flag.%s: flags=%x FS=%d", cases[i].name,
                      out.a1, (int64_t)after);
        }
    rt_csr_write(fcsr, 0);
}

void bare_main(void)
{
    instructions();
    alu_encodings();
    memory_encodings();
    fp_encodings();
    system_encodings();
    access_faults();
    edge_of_ram();
    misaligned();
    misaligned_atomics();
    delegation();
    vectored_exceptions();
    mret_cases();
    sret_cases();
    epc_low_bits();
    trap_bits();
    mprv();
    fs();
    fs_by_flag();
}
