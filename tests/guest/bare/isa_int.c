/* Integer instructions on corner operands: I, M, Zicond, Zb*, one group of results an instruction.
 *
 * Each instruction is written once as a function f(rs1, rs2) in registers a1 and a2 and run over all pairs. What the
 * specification singles out (division by zero, overflow, shift amounts) is also checked here.
 */
#include "rt.h"

static const uint64_t corners[] = {0,
                                   1,
                                   2,
                                   3,
                                   5,
                                   7,
                                   8,
                                   31,
                                   32,
                                   33,
                                   63,
                                   64,
                                   65,
                                   127,
                                   128,
                                   255,
                                   256,
                                   0x7fff,
                                   0x8000,
                                   0xffff,
                                   0x10000,
                                   0x7fffffff,
                                   0x80000000,
                                   0x80000001,
                                   0xffffffff,
                                   0x100000000,
                                   0x123456789abcdef0,
                                   0x00ff00ff00ff00ff,
                                   0x5555555555555555,
                                   0xaaaaaaaaaaaaaaaa,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   0x8000000000000001,
                                   0xffffffff00000000,
                                   0xffffffff7fffffff,
                                   0xffffffff80000000,
                                   0xfffffffffffffffe,
                                   0xffffffffffffffff};

struct insn {
    const char *name;
    uint32_t opcode, funct3, funct7;
};

static const struct insn binary[] = {
    {"add", 0x33, 0, 0},        {"sub", 0x33, 0, 32},       {"sll", 0x33, 1, 0},        {"slt", 0x33, 2, 0},
    {"sltu", 0x33, 3, 0},       {"xor", 0x33, 4, 0},        {"srl", 0x33, 5, 0},        {"sra", 0x33, 5, 32},
    {"or", 0x33, 6, 0},         {"and", 0x33, 7, 0},        {"addw", 0x3b, 0, 0},       {"subw", 0x3b, 0, 32},
    {"sllw", 0x3b, 1, 0},       {"srlw", 0x3b, 5, 0},       {"sraw", 0x3b, 5, 32},      {"mul", 0x33, 0, 1},
    {"mulh", 0x33, 1, 1},       {"mulhsu", 0x33, 2, 1},     {"mulhu", 0x33, 3, 1},      {"div", 0x33, 4, 1},
    {"divu", 0x33, 5, 1},       {"rem", 0x33, 6, 1},        {"remu", 0x33, 7, 1},       {"mulw", 0x3b, 0, 1},
    {"divw", 0x3b, 4, 1},       {"divuw", 0x3b, 5, 1},      {"remw", 0x3b, 6, 1},       {"remuw", 0x3b, 7, 1},
    {"add.uw", 0x3b, 0, 4},     {"sh1add", 0x33, 2, 16},    {"sh2add", 0x33, 4, 16},    {"sh3add", 0x33, 6, 16},
    {"sh1add.uw", 0x3b, 2, 16}, {"sh2add.uw", 0x3b, 4, 16}, {"sh3add.uw", 0x3b, 6, 16}, {"andn", 0x33, 7, 32},
    {"orn", 0x33, 6, 32},       {"xnor", 0x33, 4, 32},      {"max", 0x33, 6, 5},        {"maxu", 0x33, 7, 5},
    {"min", 0x33, 4, 5},        {"minu", 0x33, 5, 5},       {"rol", 0x33, 1, 48},       {"ror", 0x33, 5, 48},
    {"rolw", 0x3b, 1, 48},      {"rorw", 0x3b, 5, 48},      {"bclr", 0x33, 1, 36},      {"bext", 0x33, 5, 36},
    {"binv", 0x33, 1, 52},      {"bset", 0x33, 1, 20},      {"czero.eqz", 0x33, 5, 7},  {"czero.nez", 0x33, 7, 7},
    {"clmul", 0x33, 1, 5},      {"clmulr", 0x33, 2, 5},     {"clmulh", 0x33, 3, 5},     {"pack", 0x33, 4, 4},
    {"packh", 0x33, 7, 4},      {"packw", 0x3b, 4, 4},      {"xperm4", 0x33, 2, 20},    {"xperm8", 0x33, 4, 20},
    {"aes64ds", 0x33, 0, 29},   {"aes64dsm", 0x33, 0, 31},  {"aes64es", 0x33, 0, 25},   {"aes64esm", 0x33, 0, 27},
    {"aes64ks2", 0x33, 0, 63},  {"sm4ed0", 0x33, 0, 24},    {"sm4ed1", 0x33, 0, 56},    {"sm4ed2", 0x33, 0, 88},
    {"sm4ed3", 0x33, 0, 120},   {"sm4ks0", 0x33, 0, 26},    {"sm4ks1", 0x33, 0, 58},    {"sm4ks2", 0x33, 0, 90},
    {"sm4ks3", 0x33, 0, 122},   {"mop.rr.0", 0x73, 4, 65},  {"mop.rr.7", 0x73, 4, 103},
};

/* rd = f(rs1); the immediate field is part of the encoding. */
static const struct {
    const char *name;
    uint32_t insn;
} unary[] = {
    {"clz", 0x60059513},        {"ctz", 0x60159513},        {"cpop", 0x60259513},       {"sext.b", 0x60459513},
    {"sext.h", 0x60559513},     {"clzw", 0x6005951b},       {"ctzw", 0x6015951b},       {"cpopw", 0x6025951b},
    {"zext.h", 0x0805c53b},     {"orc.b", 0x2875d513},      {"rev8", 0x6b85d513},       {"brev8", 0x6875d513},
    {"aes64im", 0x30059513},    {"sha256sum0", 0x10059513}, {"sha256sum1", 0x10159513}, {"sha256sig0", 0x10259513},
    {"sha256sig1", 0x10359513}, {"sha512sum0", 0x10459513}, {"sha512sum1", 0x10559513}, {"sha512sig0", 0x10659513},
    {"sha512sig1", 0x10759513}, {"sm3p0", 0x10859513},      {"sm3p1", 0x10959513},      {"mop.r.0", 0x81c5c573},
    {"mop.r.31", 0xcdf5c573}};

/* Shifts and rotates by every amount. */
static const struct {
    const char *name;
    uint32_t insn;
    unsigned amounts;
} shifts[] = {{"slli", 0x00059513, 64},  {"srli", 0x0005d513, 64},     {"srai", 0x4005d513, 64},
              {"slliw", 0x0005951b, 32}, {"srliw", 0x0005d51b, 32},    {"sraiw", 0x4005d51b, 32},
              {"rori", 0x6005d513, 64},  {"roriw", 0x6005d51b, 32},    {"slli.uw", 0x0805951b, 64},
              {"bclri", 0x48059513, 64}, {"bexti", 0x4805d513, 64},    {"binvi", 0x68059513, 64},
              {"bseti", 0x28059513, 64}, {"aes64ks1i", 0x31059513, 11}};

typedef uint64_t (*function)(uint64_t unused, uint64_t rs1, uint64_t rs2);

static function make(uint32_t insn)
{
    rt_code(rt_code_buffer, &insn, 1);
    return (function)rt_code_buffer;
}

static uint64_t one(uint32_t opcode, uint32_t funct3, uint32_t funct7, uint64_t rs1, uint64_t rs2)
{
    return make(rt_r(opcode, funct3, funct7, 10, 11, 12))(0, rs1, rs2);
}

static void results(void)
{
    for (unsigned i = 0; i < RT_COUNT(binary); i++) {
        function f = make(rt_r(binary[i].opcode, binary[i].funct3, binary[i].funct7, 10, 11, 12));
        rt_group_begin(binary[i].name);
        for (unsigned a = 0; a < RT_COUNT(corners); a++)
            for (unsigned b = 0; b < RT_COUNT(corners); b++) {
                uint64_t values[] = {corners[a], corners[b], f(0, corners[a], corners[b])};
                rt_group_numbers("", values, 3);
            }
        rt_group_end();
    }
    for (unsigned i = 0; i < RT_COUNT(unary); i++) {
        function f = make(unary[i].insn);
        rt_group_begin(unary[i].name);
        for (unsigned a = 0; a < RT_COUNT(corners); a++)
            for (unsigned bit = 0; bit <= 64; bit++) {
                uint64_t x = corners[a] ^ (bit < 64 ? 1ull << bit : 0);
                uint64_t values[] = {x, f(0, x, 0)};
                rt_group_numbers("", values, 2);
            }
        rt_group_end();
    }
    for (unsigned i = 0; i < RT_COUNT(shifts); i++) {
        rt_group_begin(shifts[i].name);
        for (uint32_t amount = 0; amount < shifts[i].amounts; amount++) {
            function f = make(shifts[i].insn | amount << 20);
            for (unsigned a = 0; a < RT_COUNT(corners); a++) {
                uint64_t values[] = {amount, corners[a], f(0, corners[a], 0)};
                rt_group_numbers("", values, 3);
            }
        }
        rt_group_end();
    }
}

/* Immediates: all of ADDI's kind, and LUI, AUIPC relative to the instruction. */
static void immediates(void)
{
    static const char *const names[] = {"addi", "slti", "sltiu", "xori", "ori", "andi", "addiw"};
    static const uint32_t funct3[] = {0, 2, 3, 4, 6, 7, 0};
    static const uint64_t operands[] = {0, 1, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, -1ull, -2048ull};
    for (unsigned i = 0; i < RT_COUNT(names); i++) {
        rt_group_begin(names[i]);
        for (uint32_t imm = 0; imm < 4096; imm += imm < 16 || imm > 4080 || (imm > 2030 && imm < 2060) ? 1 : 37) {
            function f = make(rt_i(i == 6 ? 0x1b : 0x13, funct3[i], 10, 11, imm));
            for (unsigned a = 0; a < RT_COUNT(operands); a++) {
                uint64_t values[] = {imm, operands[a], f(0, operands[a], 0)};
                rt_group_numbers("", values, 3);
            }
        }
        rt_group_end();
    }
    rt_group_begin("lui_auipc");
    for (uint64_t bit = 12; bit < 32; bit++) {
        uint64_t values[] = {bit, make(0x537 | 1u << bit)(0, 0, 0),
                             make(0x517 | 1u << bit)(0, 0, 0) - (uint64_t)rt_code_buffer};
        rt_group_numbers("", values, 3);
    }
    rt_group_end();
}

/* Unprivileged ISA, table of division results (chapter M). */
static void specified(void)
{
    uint64_t min = 1ull << 63, ones = -1ull, min32 = 0xffffffff80000000;
    static const uint64_t dividends[] = {0, 1, 77, 1ull << 63, -1ull, 0x80000000};
    for (unsigned i = 0; i < RT_COUNT(dividends); i++) {
        uint64_t d = dividends[i], word = (uint64_t)(int64_t)(int32_t)d;
        rt_expect(one(0x33, 4, 1, d, 0) == ones && one(0x33, 5, 1, d, 0) == ones, "div by 0 of %x", d);
        rt_expect(one(0x33, 6, 1, d, 0) == d && one(0x33, 7, 1, d, 0) == d, "rem by 0 of %x", d);
        rt_expect(one(0x3b, 4, 1, d, 0) == ones && one(0x3b, 5, 1, d, 0) == ones, "divw by 0 of %x", d);
        rt_expect(one(0x3b, 6, 1, d, 0) == word && one(0x3b, 7, 1, d, 0) == word, "remw by 0 of %x", d);
    }
    rt_expect(one(0x33, 4, 1, min, ones) == min && one(0x33, 6, 1, min, ones) == 0, "division overflow");
    rt_expect(one(0x3b, 4, 1, min32, ones) == min32 && one(0x3b, 6, 1, min32, ones) == 0, "divw overflow");
    rt_expect(one(0x33, 1, 1, min, min) == 1ull << 62 && one(0x33, 2, 1, ones, ones) == ones &&
                  one(0x33, 3, 1, ones, ones) == ones - 1,
              "upper products");
    rt_expect(one(0x33, 1, 0, 1, 64 + 3) == 8 && one(0x3b, 1, 0, 1, 32 + 3) == 8, "shift amounts are masked");
    /* x0 as a destination stays 0. */
    const uint32_t to_x0[] = {rt_r(0x33, 0, 0, 0, 11, 12), rt_addi(0, 11, 5), rt_addi(10, 0, 0)};
    rt_code(rt_code_buffer, to_x0, 3);
    rt_expect(((function)rt_code_buffer)(9, 9, 9) == 0, "x0");
    rt_print("specified: done");
}

void bare_main(void)
{
    results();
    immediates();
    specified();
}
