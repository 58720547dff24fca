/* interp_switch, interp_calls: a small register bytecode machine, once with a switch, once with a function per
 * operation reached through a table. Both stress what a translator finds hard: indirect jumps, and indirect calls with
 * returns, whose targets change every few instructions. The bytecode sums Collatz path lengths and greatest common
 * divisors. */
#include "bench.h"
#include "expected.h"

enum { LIMIT = 700, GCD_OF = 720, REGISTERS = 8 };

enum op { OP_LI, OP_MOV, OP_ADD, OP_ADDI, OP_MULI, OP_SHRI, OP_ANDI, OP_REM, OP_JZ, OP_JNZ, OP_JMP, OP_HALT, OP_COUNT };

/* `c` is a register, an immediate or, of jumps, the target's index. */
struct insn {
    uint8_t op, a, b;
    int16_t c;
};

/* The names of the bytecode's registers. */
enum { N, VALUE, PATHS, DIVISORS, X, Y, TEMP };

static const struct insn bytecode[] = {
    /*  0 */ {OP_LI, N, 0, LIMIT},
    /*  1 */ {OP_LI, PATHS, 0, 0},
    /*  2 */ {OP_LI, DIVISORS, 0, 0},
    /* Each n from LIMIT down to 1: first its Collatz path ... */
    /*  3 */ {OP_MOV, VALUE, N, 0},
    /*  4 */ {OP_ADDI, TEMP, VALUE, -1},
    /*  5 */ {OP_JZ, TEMP, 0, 13},
    /*  6 */ {OP_ADDI, PATHS, PATHS, 1},
    /*  7 */ {OP_ANDI, TEMP, VALUE, 1},
    /*  8 */ {OP_JNZ, TEMP, 0, 11},
    /*  9 */ {OP_SHRI, VALUE, VALUE, 1},
    /* 10 */ {OP_JMP, 0, 0, 4},
    /* 11 */ {OP_MULI, VALUE, VALUE, 3},
    /* 12 */ {OP_JMP, 0, 0, 22},
    /* ... then the greatest common divisor of n and GCD_OF, by Euclid. */
    /* 13 */ {OP_MOV, X, N, 0},
    /* 14 */ {OP_LI, Y, 0, GCD_OF},
    /* 15 */ {OP_JZ, Y, 0, 20},
    /* 16 */ {OP_REM, TEMP, X, Y},
    /* 17 */ {OP_MOV, X, Y, 0},
    /* 18 */ {OP_MOV, Y, TEMP, 0},
    /* 19 */ {OP_JMP, 0, 0, 15},
    /* 20 */ {OP_ADD, DIVISORS, DIVISORS, X},
    /* 21 */ {OP_JMP, 0, 0, 24},
    /* 22 */ {OP_ADDI, VALUE, VALUE, 1},
    /* 23 */ {OP_JMP, 0, 0, 4},
    /* 24 */ {OP_ADDI, N, N, -1},
    /* 25 */ {OP_JNZ, N, 0, 3},
    /* 26 */ {OP_HALT, 0, 0, 0},
};

static uint64_t result(const uint64_t *r)
{
    return r[PATHS] << 32 | r[DIVISORS];
}

static BENCH_NOINLINE uint64_t run_switch(const struct insn *code)
{
    uint64_t r[REGISTERS] = {0};
    for (const struct insn *i = code;;) {
        const struct insn *next = i + 1;
        switch ((enum op)i->op) {
        case OP_LI:
            r[i->a] = (uint64_t)i->c;
            break;
        case OP_MOV:
            r[i->a] = r[i->b];
            break;
        case OP_ADD:
            r[i->a] = r[i->b] + r[i->c];
            break;
        case OP_ADDI:
            r[i->a] = r[i->b] + (uint64_t)i->c;
            break;
        case OP_MULI:
            r[i->a] = r[i->b] * (uint64_t)i->c;
            break;
        case OP_SHRI:
            r[i->a] = r[i->b] >> i->c;
            break;
        case OP_ANDI:
            r[i->a] = r[i->b] & (uint64_t)i->c;
            break;
        case OP_REM:
            r[i->a] = r[i->b] % r[i->c];
            break;
        case OP_JZ:
            if (r[i->a] == 0)
                next = code + i->c;
            break;
        case OP_JNZ:
            if (r[i->a] != 0)
                next = code + i->c;
            break;
        case OP_JMP:
            next = code + i->c;
            break;
        case OP_HALT:
        case OP_COUNT:
            return result(r);
        }
        i = next;
    }
}

struct machine {
    uint64_t r[REGISTERS];
    const struct insn *code;
    const struct insn *next;
    bool halted;
};

typedef void (*op_fn)(struct machine *m, const struct insn *i);

#define OPERATION(name, body)                                      \
    static void do_##name(struct machine *m, const struct insn *i) \
    {                                                              \
        uint64_t *r = m->r;                                        \
        body;                                                      \
    }

OPERATION(li, r[i->a] = (uint64_t)i->c)
OPERATION(mov, r[i->a] = r[i->b])
OPERATION(add, r[i->a] = r[i->b] + r[i->c])
OPERATION(addi, r[i->a] = r[i->b] + (uint64_t)i->c)
OPERATION(muli, r[i->a] = r[i->b] * (uint64_t)i->c)
OPERATION(shri, r[i->a] = r[i->b] >> i->c)
OPERATION(andi, r[i->a] = r[i->b] & (uint64_t)i->c)
OPERATION(rem, r[i->a] = r[i->b] % r[i->c])
OPERATION(jz, if (r[i->a] == 0) m->next = m->code + i->c)
OPERATION(jnz, if (r[i->a] != 0) m->next = m->code + i->c)
OPERATION(jmp, (void)r; m->next = m->code + i->c)
OPERATION(halt, (void)r; (void)i; m->halted = true)

static const op_fn operations[OP_COUNT] = {
    [OP_LI] = do_li,     [OP_MOV] = do_mov,   [OP_ADD] = do_add,   [OP_ADDI] = do_addi,
    [OP_MULI] = do_muli, [OP_SHRI] = do_shri, [OP_ANDI] = do_andi, [OP_REM] = do_rem,
    [OP_JZ] = do_jz,     [OP_JNZ] = do_jnz,   [OP_JMP] = do_jmp,   [OP_HALT] = do_halt,
};

static BENCH_NOINLINE uint64_t run_calls(const struct insn *code)
{
    struct machine m = {.code = code, .next = code};
    while (!m.halted) {
        const struct insn *i = m.next++;
        operations[i->op](&m, i);
    }
    return result(m.r);
}

static uint64_t iterate_switch(void)
{
    return run_switch(bytecode);
}

static uint64_t iterate_calls(void)
{
    return run_calls(bytecode);
}

const struct bench_program bench_interp_switch = {
    .name = "interp_switch",
    .class = BENCH_INTEGER,
    .unit = "runs",
    .units_per_iteration = 1,
    .iterate = iterate_switch,
    .expected = EXPECTED_INTERP,
};

const struct bench_program bench_interp_calls = {
    .name = "interp_calls",
    .class = BENCH_INTEGER,
    .unit = "runs",
    .units_per_iteration = 1,
    .iterate = iterate_calls,
    .expected = EXPECTED_INTERP,
};
