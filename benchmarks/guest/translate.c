/* translate: straight-line code that has never run before: what a virtual machine takes to translate it. What counts is
 * by how much the first passes are slower than the last: a machine with several tiers does not translate in the first
 * pass only. Natively it is what the caches make of it.
 *
 * The code is made anew for each iteration from a small set of operations on eight registers and a table, and its
 * result is compared with what the maker computed on the way.
 */
#include "bench.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
    INSNS = 1 << 18, /* 1 MiB of RISC-V code */
    REGISTERS = 8,
    SLOTS = 64,
    BYTES_MAX = INSNS * 8,
    PASSES = 6, /* Tuff's baseline tier compiles what was executed three times */
};

enum operation { ADD, XOR, LOAD, STORE, OPERATIONS };

struct state {
    uint64_t registers[REGISTERS];
    uint64_t slots[SLOTS];
};

static uint8_t *code;
static uint64_t seed;
static double counted;

/* One instruction: `a` is the register that is changed, or stored; `b` the other one, or the slot. */
#ifdef __riscv
static size_t emit(uint8_t *at, enum operation operation, unsigned a, unsigned b)
{
    /* x10 to x17, and the table in x5. */
    unsigned rd = 10 + a, rs = 10 + b, offset = 8 * (REGISTERS + b);
    uint32_t word = 0;
    switch (operation) {
    case ADD:
        word = 0x33 | rd << 7 | rd << 15 | rs << 20;
        break;
    case XOR:
        word = 0x4033 | rd << 7 | rd << 15 | rs << 20;
        break;
    case LOAD:
        word = 0x3003 | rd << 7 | 5u << 15 | offset << 20;
        break;
    case STORE:
        word = 0x3023 | (offset & 31) << 7 | 5u << 15 | rd << 20 | (offset >> 5) << 25;
        break;
    case OPERATIONS:
        break;
    }
    memcpy(at, &word, sizeof(word));
    return sizeof(word);
}

static size_t emit_return(uint8_t *at)
{
    const uint32_t word = 0x8067;
    memcpy(at, &word, sizeof(word));
    return sizeof(word);
}

static void call(struct state *s)
{
    register struct state *table __asm__("t0") = s;
    register uint64_t r0 __asm__("a0") = s->registers[0];
    register uint64_t r1 __asm__("a1") = s->registers[1];
    register uint64_t r2 __asm__("a2") = s->registers[2];
    register uint64_t r3 __asm__("a3") = s->registers[3];
    register uint64_t r4 __asm__("a4") = s->registers[4];
    register uint64_t r5 __asm__("a5") = s->registers[5];
    register uint64_t r6 __asm__("a6") = s->registers[6];
    register uint64_t r7 __asm__("a7") = s->registers[7];
    __asm__ volatile("jalr ra, 0(%[code])"
                     : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r7)
                     : "r"(table), [code] "r"(code)
                     : "ra", "memory");
    const uint64_t after[REGISTERS] = {r0, r1, r2, r3, r4, r5, r6, r7};
    memcpy(s->registers, after, sizeof(after));
}
#else
static size_t emit(uint8_t *at, enum operation operation, unsigned a, unsigned b)
{
    /* r8 to r15, and the table in rdi. */
    const uint32_t offset = 8 * (REGISTERS + b);
    switch (operation) {
    case ADD:
        memcpy(at, (uint8_t[]){0x4d, 0x01, (uint8_t)(0xc0 | b << 3 | a)}, 3);
        return 3;
    case XOR:
        memcpy(at, (uint8_t[]){0x4d, 0x31, (uint8_t)(0xc0 | b << 3 | a)}, 3);
        return 3;
    default:
        break;
    }
    memcpy(at, (uint8_t[]){0x4c, operation == LOAD ? 0x8b : 0x89, (uint8_t)(0x87 | a << 3)}, 3);
    memcpy(at + 3, &offset, sizeof(offset));
    return 3 + sizeof(offset);
}

static size_t emit_return(uint8_t *at)
{
    *at = 0xc3;
    return 1;
}

static void call(struct state *s)
{
    /* 128 bytes below the stack pointer are the compiler's. */
    __asm__ volatile("sub $128, %%rsp\n\t"
                     "mov 0(%%rdi), %%r8\n\tmov 8(%%rdi), %%r9\n\tmov 16(%%rdi), %%r10\n\tmov 24(%%rdi), %%r11\n\t"
                     "mov 32(%%rdi), %%r12\n\tmov 40(%%rdi), %%r13\n\tmov 48(%%rdi), %%r14\n\tmov 56(%%rdi), %%r15\n\t"
                     "call *%[code]\n\t"
                     "mov %%r8, 0(%%rdi)\n\tmov %%r9, 8(%%rdi)\n\tmov %%r10, 16(%%rdi)\n\tmov %%r11, 24(%%rdi)\n\t"
                     "mov %%r12, 32(%%rdi)\n\tmov %%r13, 40(%%rdi)\n\tmov %%r14, 48(%%rdi)\n\tmov %%r15, 56(%%rdi)\n\t"
                     "add $128, %%rsp"
                     :
                     : "D"(s), [code] "a"(code)
                     : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}
#endif

/* Makes the code, and of `s`, the state before it, the one behind it. */
static void make_code(struct state *s)
{
    uint8_t *at = code;
    for (int i = 0; i < INSNS; i++) {
        const uint64_t random = bench_random(&seed);
        const enum operation operation = random % OPERATIONS;
        const unsigned a = random >> 8 & (REGISTERS - 1);
        const unsigned b = random >> 16 & (operation < LOAD ? REGISTERS - 1 : SLOTS - 1);
        at += emit(at, operation, a, b);
        switch (operation) {
        case ADD:
            s->registers[a] += s->registers[b];
            break;
        case XOR:
            s->registers[a] ^= s->registers[b];
            break;
        case LOAD:
            s->registers[a] = s->slots[b];
            break;
        case STORE:
            s->slots[b] = s->registers[a];
            break;
        case OPERATIONS:
            break;
        }
    }
    at += emit_return(at);
    __builtin___clear_cache((char *)code, (char *)at);
}

static void fill(struct state *s)
{
    uint64_t random = 1;
    for (int i = 0; i < REGISTERS; i++)
        s->registers[i] = bench_random(&random);
    for (int i = 0; i < SLOTS; i++)
        s->slots[i] = bench_random(&random);
}

/* Returns the seconds that the call took; whether its result is right is added to `right`. */
static double pass(const struct state *expected, uint64_t *right)
{
    struct state s;
    fill(&s);
    const double start = bench_now_seconds();
    call(&s);
    const double seconds = bench_now_seconds() - start;
    *right += memcmp(&s, expected, sizeof(s)) == 0;
    return seconds;
}

static uint64_t iterate_translate(void)
{
    struct state expected;
    uint64_t right = 0;
    fill(&expected);
    make_code(&expected);
    double sum = 0, last = 0;
    for (int i = 0; i < PASSES; i++) {
        last = pass(&expected, &right);
        sum += last;
    }
    counted += sum - PASSES * last;
    return right;
}

static int setup_translate(void)
{
    code = mmap(NULL, BYTES_MAX, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code == MAP_FAILED ? -errno : 0;
}

const struct bench_program bench_translate = {
    .name = "translate",
    .class = BENCH_TRANSLATION,
    .unit = "instructions",
    .units_per_iteration = INSNS,
    .setup = setup_translate,
    .iterate = iterate_translate,
    .counted_seconds = &counted,
    .expected = PASSES,
};
