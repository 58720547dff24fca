/* F and D on corner operands: results and flags of every instruction in every rounding mode, static and dynamic.
 *
 * Values go in and out as bits through FMV, so that NaN payloads and boxing are seen. The generated code is f(a0 = x,
 * a1 = y, a2 = z, a3 = fcsr) and returns the result in a0, fcsr afterwards in a1. Unprivileged ISA, chapters F and D.
 */
#include "rt.h"

struct pair {
    uint64_t value, fcsr;
};
typedef struct pair (*function)(uint64_t x, uint64_t y, uint64_t z, uint64_t fcsr);

static const uint64_t doubles[] = {
    0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x3ff0000000000001,
    0x4000000000000000, 0x3fe0000000000000, 0x4008000000000000, 0x3fb999999999999a, 0x0000000000000001,
    0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000, 0x8010000000000000, 0x7fefffffffffffff,
    0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000001,
    0x7ff0000000000001, 0xfff4000000000000, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000200000,
    0x43e0000000000000, 0xc3e0000000000000, 0x43f0000000000000, 0x3fdfffffffffffff, 0x47efffffe0000000,
    0x47effffff0000000, 0x3690000000000000, 0x36a0000000000001, 0x380fffffffffffff};
static const uint64_t singles[] = {
    0xffffffff00000000, 0xffffffff80000000, 0xffffffff3f800000, 0xffffffffbf800000, 0xffffffff3f800001,
    0xffffffff40000000, 0xffffffff3f000000, 0xffffffff40400000, 0xffffffff3dcccccd, 0xffffffff00000001,
    0xffffffff80000001, 0xffffffff007fffff, 0xffffffff00800000, 0xffffffff80800000, 0xffffffff7f7fffff,
    0xffffffffff7fffff, 0xffffffff7f800000, 0xffffffffff800000, 0xffffffff7fc00000, 0xffffffffffc00001,
    0xffffffff7f800001, 0xffffffffffa00000, 0xffffffff4effffff, 0xffffffff4f000000, 0xffffffffcf000001,
    0xffffffff5f000000, 0xffffffffdf000000, 0xffffffff4f800000, 0xffffffff3effffff,
    /* not boxed: the canonical NaN for every instruction but the moves and stores */
    0x000000003f800000, 0xfffffffe3f800000, 0x3ff0000000000000};
static const uint64_t integers[] = {0,
                                    1,
                                    -1ull,
                                    2,
                                    0x7fffffff,
                                    0x80000000,
                                    0xffffffff,
                                    0xffffffff80000000,
                                    0x100000001,
                                    0x1000001,
                                    0x1ffffff,
                                    0x20000000000001,
                                    0x3fffffffffffff,
                                    0x7fffffffffffffff,
                                    0x8000000000000000,
                                    0x7ffffffffffffe00,
                                    0xfffffffffffffc01,
                                    0x8000000000000001};

enum kind { D, S, X }; /* what an operand or result is; X: integer register */

static const struct {
    const char *name;
    uint32_t insn; /* rd, rs1, rs2, rs3 fields 0 */
    uint8_t operands;
    uint8_t from, to; /* enum kind */
    bool rounds;      /* has an rm field */
} insns[] = {
    {"fadd.s", 0x00000053, 2, S, S, true},    {"fsub.s", 0x08000053, 2, S, S, true},
    {"fmul.s", 0x10000053, 2, S, S, true},    {"fdiv.s", 0x18000053, 2, S, S, true},
    {"fsqrt.s", 0x58000053, 1, S, S, true},   {"fsgnj.s", 0x20000053, 2, S, S, false},
    {"fsgnjn.s", 0x20001053, 2, S, S, false}, {"fsgnjx.s", 0x20002053, 2, S, S, false},
    {"fmin.s", 0x28000053, 2, S, S, false},   {"fmax.s", 0x28001053, 2, S, S, false},
    {"fcvt.w.s", 0xc0000053, 1, S, X, true},  {"fcvt.wu.s", 0xc0100053, 1, S, X, true},
    {"fcvt.l.s", 0xc0200053, 1, S, X, true},  {"fcvt.lu.s", 0xc0300053, 1, S, X, true},
    {"fmv.x.w", 0xe0000053, 1, S, X, false},  {"feq.s", 0xa0002053, 2, S, X, false},
    {"flt.s", 0xa0001053, 2, S, X, false},    {"fle.s", 0xa0000053, 2, S, X, false},
    {"fclass.s", 0xe0001053, 1, S, X, false}, {"fcvt.s.w", 0xd0000053, 1, X, S, true},
    {"fcvt.s.wu", 0xd0100053, 1, X, S, true}, {"fcvt.s.l", 0xd0200053, 1, X, S, true},
    {"fcvt.s.lu", 0xd0300053, 1, X, S, true}, {"fmv.w.x", 0xf0000053, 1, X, S, false},
    {"fadd.d", 0x02000053, 2, D, D, true},    {"fsub.d", 0x0a000053, 2, D, D, true},
    {"fmul.d", 0x12000053, 2, D, D, true},    {"fdiv.d", 0x1a000053, 2, D, D, true},
    {"fsqrt.d", 0x5a000053, 1, D, D, true},   {"fsgnj.d", 0x22000053, 2, D, D, false},
    {"fsgnjn.d", 0x22001053, 2, D, D, false}, {"fsgnjx.d", 0x22002053, 2, D, D, false},
    {"fmin.d", 0x2a000053, 2, D, D, false},   {"fmax.d", 0x2a001053, 2, D, D, false},
    {"fcvt.s.d", 0x40100053, 1, D, S, true},  {"fcvt.d.s", 0x42000053, 1, S, D, true},
    {"feq.d", 0xa2002053, 2, D, X, false},    {"flt.d", 0xa2001053, 2, D, X, false},
    {"fle.d", 0xa2000053, 2, D, X, false},    {"fclass.d", 0xe2001053, 1, D, X, false},
    {"fcvt.w.d", 0xc2000053, 1, D, X, true},  {"fcvt.wu.d", 0xc2100053, 1, D, X, true},
    {"fcvt.l.d", 0xc2200053, 1, D, X, true},  {"fcvt.lu.d", 0xc2300053, 1, D, X, true},
    {"fcvt.d.w", 0xd2000053, 1, X, D, true},  {"fcvt.d.wu", 0xd2100053, 1, X, D, true},
    {"fcvt.d.l", 0xd2200053, 1, X, D, true},  {"fcvt.d.lu", 0xd2300053, 1, X, D, true},
    {"fmv.x.d", 0xe2000053, 1, D, X, false},  {"fmv.d.x", 0xf2000053, 1, X, D, false},
    {"fmadd.s", 0x00000043, 3, S, S, true},   {"fmsub.s", 0x00000047, 3, S, S, true},
    {"fnmsub.s", 0x0000004b, 3, S, S, true},  {"fnmadd.s", 0x0000004f, 3, S, S, true},
    {"fmadd.d", 0x02000043, 3, D, D, true},   {"fmsub.d", 0x02000047, 3, D, D, true},
    {"fnmsub.d", 0x0200004b, 3, D, D, true},  {"fnmadd.d", 0x0200004f, 3, D, D, true},
};

/* fcsr = a3; fa0..fa2 = a0..a2; the instruction; a0 = result; a1 = fcsr. */
static function make(unsigned i, uint32_t rm)
{
    uint32_t insn = insns[i].insn | (insns[i].rounds ? rm << 12 : 0) | 10u << 15 | 10u << 7;
    insn |= insns[i].operands > 1 ? 11u << 20 : 0;
    insn |= insns[i].operands > 2 ? 12u << 27 : 0;
    const uint32_t code[] = {0x00369073 /* fscsr a3 */,
                             0xf2050553 /* fmv.d.x fa0, a0 */,
                             0xf20585d3,
                             0xf2060653,
                             insn,
                             insns[i].to == X ? RT_NOP : 0xe2050553u /* fmv.x.d a0, fa0 */,
                             0x003025f3 /* frcsr a1 */};
    rt_code(rt_code_buffer, code, 7);
    return (function)rt_code_buffer;
}

static void run(function f, uint64_t mode, uint64_t x, uint64_t y, uint64_t z, uint64_t fcsr)
{
    struct pair out = f(x, y, z, fcsr);
    uint64_t values[] = {mode, x, y, z, out.value, out.fcsr};
    rt_group_numbers("", values, 6);
}

static void operand_table(unsigned i, const uint64_t **table, unsigned *count)
{
    *table = insns[i].from == D ? doubles : insns[i].from == S ? singles : integers;
    *count = insns[i].from == D ? RT_COUNT(doubles) : insns[i].from == S ? RT_COUNT(singles) : RT_COUNT(integers);
}

/* All operands for one and two, a third of the third's for FMA. */
static void all_operands(unsigned i, function f, uint64_t mode, uint64_t fcsr)
{
    const uint64_t *table;
    unsigned count;
    operand_table(i, &table, &count);
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = 0; b < (insns[i].operands > 1 ? count : 1); b++)
            for (unsigned c = (a + b) % 3; c < (insns[i].operands > 2 ? count : (a + b) % 3 + 1); c += 3)
                run(f, mode, table[a], table[b], table[c], fcsr);
}

static void instruction(unsigned i)
{
    rt_group_begin(insns[i].name);
    unsigned modes = insns[i].rounds ? 5 : 1;
    for (uint32_t rm = 0; rm < modes; rm++)
        all_operands(i, make(i, rm), rm, 0);
    /* Dynamic: frm decides; flags already set stay. FMA's table is large enough without. */
    for (uint64_t frm = 0; insns[i].operands < 3 && frm < modes; frm++)
        all_operands(i, make(i, 7), 8 + frm, frm << 5 | (frm & 1 ? 0x1f : 0));
    rt_group_end();
}

/* Reserved rounding modes, static 5 and 6, dynamic through frm 5, 6, 7: illegal; and nothing has changed. */
static void reserved_modes(void)
{
    for (unsigned i = 0; i < RT_COUNT(insns); i++) {
        if (!insns[i].rounds)
            continue;
        for (uint64_t rm = 5; rm < 8; rm++)
            for (uint64_t frm = 0; frm < 8; frm++) {
                make(i, (uint32_t)rm);
                rt_csr_write(fcsr, frm << 5);
                uint64_t args[4] = {doubles[2], doubles[3], doubles[4], frm << 5};
                struct outcome out = rt_probe_at(RT_M, (uint64_t)rt_code_buffer, args, 0);
                bool illegal = rm != 7 || frm > 4;
                rt_expect(out.trapped == illegal &&
                              (!illegal || (out.cause == CAUSE_ILLEGAL && out.epc == (uint64_t)rt_code_buffer + 16)),
                          "reserved.%s.rm%d.frm%d: %s", insns[i].name, rm, frm,
                          rt_describe(&out, (uint64_t)rt_code_buffer));
            }
        rt_print("reserved.%s: tried", insns[i].name);
    }
    rt_csr_write(fcsr, 0);
}

/* Loads and stores move bits: FLW boxes, FSW stores the low half of anything, NaNs keep their payloads. */
static void moves(void)
{
    static uint64_t memory[4];
    rt_group_begin("flw_fsw_fld_fsd");
    for (unsigned i = 0; i < RT_COUNT(doubles) + RT_COUNT(singles); i++) {
        uint64_t bits = i < RT_COUNT(doubles) ? doubles[i] : singles[i - RT_COUNT(doubles)];
        memory[0] = bits;
        memory[1] = memory[2] = 0x1111111111111111;
        uint64_t boxed, whole;
        __asm__ volatile(
            "flw ft0, 0(%2)\n fmv.x.d %0, ft0\n fsd ft0, 8(%2)\n fld ft1, 0(%2)\n fmv.x.d %1, ft1\n fsw ft1, 16(%2)"
            : "=&r"(boxed), "=&r"(whole)
            : "r"(memory)
            : "memory");
        uint64_t values[] = {bits, boxed, whole, memory[1], memory[2]};
        rt_group_numbers("", values, 5);
        rt_expect(boxed == (0xffffffff00000000 | (uint32_t)bits) && whole == bits && memory[1] == boxed &&
                      memory[2] == (0x1111111100000000 | (uint32_t)bits),
                  "moves %x", bits);
    }
    rt_group_end();
}

/* What the specification spells out, as values: canonical NaNs, signed zeros, conversions that saturate, FMA's invalid.
 */
static void specified(void)
{
    static const struct {
        const char *name, *insn;
        uint64_t x, y, z, want, flags;
    } cases[] = {
        {"nan_is_canonical", "fadd.d", 0xfff8000000000001, 0, 0, 0x7ff8000000000000, 0},
        {"snan_is_invalid", "fadd.d", 0x7ff0000000000001, 0, 0, 0x7ff8000000000000, 16},
        {"single_nan_is_boxed", "fadd.s", 0xffffffffffc00001, 0xffffffff00000000, 0, 0xffffffff7fc00000, 0},
        {"unboxed_is_nan", "fadd.s", 0x3f800000, 0xffffffff3f800000, 0, 0xffffffff7fc00000, 0},
        {"min_of_zeros", "fmin.d", 0, 1ull << 63, 0, 1ull << 63, 0},
        {"max_of_zeros", "fmax.d", 1ull << 63, 0, 0, 0, 0},
        {"min_ignores_quiet_nan", "fmin.d", 0x7ff8000000000000, 0x3ff0000000000000, 0, 0x3ff0000000000000, 0},
        {"min_of_signalling_nan", "fmin.d", 0x7ff0000000000001, 0x3ff0000000000000, 0, 0x3ff0000000000000, 16},
        {"max_of_two_nans", "fmax.d", 0xfff8000000000001, 0x7ff8000000000000, 0, 0x7ff8000000000000, 0},
        {"inf_times_zero_plus_nan", "fmadd.d", 0x7ff0000000000000, 0, 0x7ff8000000000000, 0x7ff8000000000000, 16},
        {"w_of_nan", "fcvt.w.d", 0x7ff8000000000000, 0, 0, 0x7fffffff, 16},
        {"w_of_minus_inf", "fcvt.w.d", 0xfff0000000000000, 0, 0, 0xffffffff80000000, 16},
        {"wu_of_minus_one", "fcvt.wu.d", 0xbff0000000000000, 0, 0, 0, 16},
        {"wu_of_nan", "fcvt.wu.d", 0x7ff8000000000000, 0, 0, -1ull, 16},
        {"wu_is_sign_extended", "fcvt.wu.d", 0x41e0000000000000, 0, 0, 0xffffffff80000000, 0},
        {"lu_of_nan", "fcvt.lu.d", 0x7ff8000000000000, 0, 0, -1ull, 16},
        {"l_of_2_63", "fcvt.l.d", 0x43e0000000000000, 0, 0, 0x7fffffffffffffff, 16},
        {"flt_of_quiet_nan", "flt.d", 0x7ff8000000000000, 0, 0, 0, 16},
        {"feq_of_quiet_nan", "feq.d", 0x7ff8000000000000, 0, 0, 0, 0},
        {"class_of_snan", "fclass.d", 0x7ff0000000000001, 0, 0, 0x100, 0},
        {"class_of_unboxed", "fclass.s", 0x3f800000, 0, 0, 0x200, 0},
        {"divide_by_zero", "fdiv.d", 0x3ff0000000000000, 0, 0, 0x7ff0000000000000, 8},
        {"zero_by_zero", "fdiv.d", 0, 0, 0, 0x7ff8000000000000, 16},
        {"sqrt_of_minus_zero", "fsqrt.d", 1ull << 63, 0, 0, 1ull << 63, 0},
        {"sqrt_of_minus_one", "fsqrt.d", 0xbff0000000000000, 0, 0, 0x7ff8000000000000, 16},
        {"overflow", "fmul.d", 0x7fefffffffffffff, 0x4000000000000000, 0, 0x7ff0000000000000, 5},
        {"underflow", "fmul.d", 0x0010000000000001, 0x3fe0000000000000, 0, 0x0008000000000000, 3},
        {"exact_subnormal", "fmul.d", 0x0010000000000000, 0x3fe0000000000000, 0, 0x0008000000000000, 0},
    };
    for (unsigned c = 0; c < RT_COUNT(cases); c++)
        for (unsigned i = 0; i < RT_COUNT(insns); i++) {
            const char *a = insns[i].name, *b = cases[c].insn;
            while (*a && *a == *b)
                a++, b++;
            if (*a || *b)
                continue;
            struct pair out = make(i, 0)(cases[c].x, cases[c].y, cases[c].z, 0);
            rt_print("fp.%s: %x flags=%x", cases[c].name, out.value, out.fcsr);
            rt_expect(out.value == cases[c].want && out.fcsr == cases[c].flags, "fp.%s: %x flags=%x", cases[c].name,
                      out.value, out.fcsr);
        }
}

void bare_main(void)
{
    specified();
    moves();
    for (unsigned i = 0; i < RT_COUNT(insns); i++)
        instruction(i);
    reserved_modes();
}
