/* Every 16-bit encoding, executed: all of its effects on integer and floating-point registers, memory and pc are
 * hashed.
 *
 * All registers are loaded from a table, and the encoding runs among c.ebreak on both sides: wherever execution goes it
 * ends in a trap, whose epc tells how far it came. Registers point into a block of memory that is filled before each
 * case, so loads and stores land there. Unprivileged ISA, chapter C.
 */
#include "rt.h"

void isa_c_store_f(uint64_t f[32]);
extern char isa_c_enter[];
extern volatile uint16_t isa_c_slot[];

enum { WORDS = 256 };

static uint64_t registers[64];
static uint64_t memory[WORDS], fresh[WORDS] __attribute__((aligned(4096)));

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15ull;
    return x ^ x >> 29;
}

/* x8 to x15 and sp, the bases of compressed accesses, lie 8 bytes off each other; others are odd values, or
 * pointers to code where registers are jumped through. */
static void prepare(unsigned variant, bool jumps)
{
    for (unsigned i = 0; i < WORDS; i++)
        memory[i] = fresh[i] = mix(i + 1);
    for (unsigned i = 1; i < 32; i++)
        registers[i] = mix(100 * variant + i);
    for (unsigned i = 8; i < 16; i++)
        registers[i] = (uint64_t)memory + 512 + 160 * (i - 8) + variant;
    if (variant == 2) /* branches taken */
        for (unsigned i = 8; i < 16; i += 2)
            registers[i] = 0;
    registers[2] = (uint64_t)memory + variant;
    for (unsigned i = 1; jumps && i < 32; i++)
        registers[i] = (uint64_t)isa_c_slot + 64 + 2 * i;
    for (unsigned i = 0; i < 32; i++)
        registers[32 + i] = i & 1 ? mix(i) : 0xffffffff00000000 | (uint32_t)mix(i);
}

static uint64_t hash(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * 0x100000001b3ull;
    return sum ^ sum >> 29;
}

static void encoding(uint32_t insn)
{
    static uint64_t f[32];
    isa_c_slot[0] = (uint16_t)insn;
    rt_fence_i();
    struct outcome out = rt_probe(RT_M, (uint64_t)isa_c_enter, (uint64_t)registers, 0, 0);
    uint64_t sum = 0;
    for (unsigned i = 1; i < 32; i++)
        sum = hash(sum, rt_self()->x[i]);
    isa_c_store_f(f);
    for (unsigned i = 0; i < 32; i++)
        sum = hash(sum, f[i]);
    uint64_t stored = 0;
    for (unsigned i = 0; i < WORDS; i++)
        if (memory[i] != fresh[i]) {
            stored = hash(stored, memory[i] ^ i);
            memory[i] = fresh[i];
        }
    uint64_t values[] = {insn, out.cause, out.cause == CAUSE_BREAK ? 0 : out.tval, out.epc - (uint64_t)isa_c_slot,
                         sum,  stored};
    rt_group_numbers("", values, RT_COUNT(values));
    rt_expect(out.trapped && (out.cause != CAUSE_ILLEGAL || (out.epc == (uint64_t)isa_c_slot && out.tval == insn)),
              "%x: %s", (uint64_t)insn, rt_describe(&out, (uint64_t)isa_c_slot));
}

/* c.j, c.beqz and c.bnez with offset 0 would never end. */
static bool jumps_to_itself(uint32_t insn)
{
    return insn == 0xa001 || ((insn & 0xc003) == 0xc001 && !(insn & 0x1c7c));
}

static const char *const names[3][8] = {{"q0.0", "q0.1", "q0.2", "q0.3", "q0.4", "q0.5", "q0.6", "q0.7"},
                                        {"q1.0", "q1.1", "q1.2", "q1.3", "q1.4", "q1.5", "q1.6", "q1.7"},
                                        {"q2.0", "q2.1", "q2.2", "q2.3", "q2.4", "q2.5", "q2.6", "q2.7"}};

void bare_main(void)
{
    /* Variant 1 makes the accesses misaligned. */
    for (unsigned variant = 0; variant < 3; variant++)
        for (uint32_t quadrant = 0; quadrant < 3; quadrant++)
            for (uint32_t funct3 = 0; funct3 < 8; funct3++) {
                /* All of them once; then the memory accesses misaligned, and the branches otherwise. */
                if (variant && (quadrant == 1 ? funct3 < 6 : variant == 2 || funct3 == 0 || funct3 == 4))
                    continue;
                prepare(variant, quadrant == 2 && funct3 == 4);
                rt_group_begin(names[quadrant][funct3]);
                for (uint32_t rest = 0; rest < 1 << 11; rest++)
                    if (!jumps_to_itself(funct3 << 13 | rest << 2 | quadrant))
                        encoding(funct3 << 13 | rest << 2 | quadrant);
                rt_group_end();
            }
}
