/* The vCPU interface: exact instruction counts, neutral state, requests from outside, and the instructions that random
 * programs in user mode cannot execute (their names are those of excluded_rows in randblock.c).
 *
 * Every test runs once for each setting of the engine.
 */
#include "encode.h"
#include "engine/isa/riscv/isa.h"
#include "engine/tier.h"
#include "engine/vcpu.h"
#include "mem/mem.h"
#include "program.h"
#include "rng.h"
#include "run_suite.h"
#include "sanitized.h"
#include "subject.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    RAM_BYTES = 1 << 20,
    HANDLER_OFFSET = 0x8000, /* M-mode trap handler */
    SCRATCH_OFFSET = 0x10000,
    FORWARD_BYTES = 0x100,
    INSNS_PER_TICK = 10,
    SOME_INSNS = 400,
    PMP_NAPOT_RWX = 0x1f,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_ECALL_U = 8,
    CAUSE_ECALL_S = 9,
    CAUSE_ECALL_M = 11,
};

#define MSTATUS_MIE (1ull << 3)
#define MSTATUS_SIE (1ull << 1)
#define MSTATUS_MPIE (1ull << 7)
#define MSTATUS_SPP (1ull << 8)
#define MSTATUS_MPP (3ull << 11)
#define MSTATUS_FS (3ull << 13)
#define MSTATUS_TVM (1ull << 20)
#define MSTATUS_TW (1ull << 21)
#define MSTATUS_TSR (1ull << 22)
#define CAUSE_INTERRUPT (1ull << 63)
#define HANDLER_GPA (PROGRAM_CODE_GPA + HANDLER_OFFSET)
#define SCRATCH_GPA (PROGRAM_CODE_GPA + SCRATCH_OFFSET)
#define MENVCFG_STCE (1ull << 63)

struct bench {
    struct region_cache *regions;
    struct mem *mem;
    struct vcpu *vcpu;
    enum vcpu_action answer; /* what the ecall callback returns */
    int ecalls;
    atomic_int wakes;
};

static uint64_t no_time(void *opaque)
{
    return 0;
}

static enum vcpu_action on_ecall(void *opaque, struct vcpu *vcpu)
{
    struct bench *bench = opaque;
    bench->ecalls++;
    vcpu_x(vcpu)[REG_A0] = 77;
    if (bench->answer == VCPU_ACTION_JUMP) {
        struct vcpu_state state;
        vcpu_get_state(vcpu, &state);
        state.pc = PROGRAM_CODE_GPA + 8;
        state.x[REG_A1] = 5;
        ck_assert_int_eq(vcpu_set_state(vcpu, &state), 0);
    }
    return bench->answer;
}

static const struct vcpu_env_ops bench_env = {.time_now = no_time, .ecall = on_ecall};

static void on_wake(void *opaque)
{
    struct bench *bench = opaque;
    atomic_fetch_add(&bench->wakes, 1);
}

static void bench_state(const struct bench *bench, struct vcpu_state *state)
{
    vcpu_get_state(bench->vcpu, state);
}

static void bench_set(struct bench *bench, const struct vcpu_state *state)
{
    ck_assert_int_eq(vcpu_set_state(bench->vcpu, state), 0);
}

/* Counts traps in s1 and goes on 4 bytes behind the instruction. t0 is exchanged with mscratch, so both change. */
static void put_handler(struct mem *mem)
{
    const uint32_t handler[] = {
        enc_csrrw(REG_T0, CSR_MSCRATCH, REG_T0), enc_csrrs(REG_T0, CSR_MEPC, REG_ZERO), enc_addi(REG_T0, REG_T0, 4),
        enc_csrrw(REG_ZERO, CSR_MEPC, REG_T0),   enc_addi(REG_S1, REG_S1, 1),           enc_mret(),
    };
    ck_assert_int_eq(mem_write(mem, HANDLER_GPA, handler, sizeof(handler)), 0);
}

/* A hart in M-mode at the program's start, floating point on, traps to the handler, all memory open to S and U. */
static void bench_open(struct bench *bench, const struct program *program, const struct engine_setting *setting)
{
    *bench = (struct bench){.answer = VCPU_ACTION_RESUME};
    ck_assert_int_eq(mem_create(&bench->mem), 0);
    ck_assert_int_eq(mem_add_ram(bench->mem, PROGRAM_CODE_GPA, RAM_BYTES), 0);
    ck_assert_int_eq(mem_write(bench->mem, PROGRAM_CODE_GPA, program->code, program->code_bytes), 0);
    put_handler(bench->mem);
    ck_assert_int_eq(engine_setting_regions(setting, &bench->regions), 0);
    struct vcpu_config config = {.hart_count = 1,
                                 .region_cache = bench->regions,
                                 .baseline_after = setting->baseline_after,
                                 .mem = bench->mem,
                                 .env = &bench_env,
                                 .env_opaque = bench,
                                 .isa = ISA_COMPATIBLE,
                                 .reset_pc = PROGRAM_CODE_GPA,
                                 .timebase_hz = 10000000,
                                 .clock_insns = true,
                                 .insns_per_tick = INSNS_PER_TICK};
    ck_assert_int_eq(vcpu_create(setting->ops, &config, &bench->vcpu), 0);
    struct vcpu_state state;
    bench_state(bench, &state);
    state.mtvec = HANDLER_GPA;
    state.mstatus |= MSTATUS_FS;
    state.pmpaddr[0] = UINT64_MAX >> 10;
    state.pmpcfg[0] = PMP_NAPOT_RWX;
    bench_set(bench, &state);
}

static void bench_close(struct bench *bench)
{
    vcpu_destroy(bench->vcpu);
    region_cache_destroy(bench->regions);
    mem_destroy(bench->mem);
}

static void enter(struct bench *bench, enum vcpu_priv priv)
{
    struct vcpu_state state;
    bench_state(bench, &state);
    state.priv = priv;
    bench_set(bench, &state);
}

static uint64_t pc_of(const struct bench *bench)
{
    struct vcpu_state state;
    bench_state(bench, &state);
    return state.pc;
}

static const struct engine_setting *setting_of(int index)
{
    return &engine_settings[index];
}

/* ---- programs ---- */

/* `count` copies of addi a0, a0, 1 and an endless loop. */
static void line_program(struct program *program, unsigned count)
{
    program_init(program, 8);
    for (unsigned i = 0; i < count; i++)
        program_put(program, enc_addi(REG_A0, REG_A0, 1));
    program_put(program, enc_jal(REG_ZERO, 0));
}

static void one_insn_program(struct program *program, uint32_t bits, unsigned len_bytes)
{
    program_init(program, 8);
    program_put_sized(program, bits, len_bytes);
    for (unsigned i = 0; i < 4; i++)
        program_put(program, enc_addi(REG_A0, REG_A0, 1));
    program_put(program, enc_jal(REG_ZERO, 0));
}

/* Everything that ends or splits blocks: loops, calls, traps, memory, floating point, CSRs, a jump to itself at the
 * end. */
static void mixed_program(struct program *program)
{
    program_init(program, 8);
    program_la(program, REG_S0, SCRATCH_GPA);
    program_li(program, REG_A3, 6);
    uint64_t loop = program_pc(program);
    program_put(program, enc_addi(REG_A0, REG_A0, 3));
    program_put(program, enc_sd(REG_A0, REG_S0, 8));
    program_put(program, enc_fld(1, REG_S0, 8));
    program_put(program, enc_ecall());                /* from M: traps */
    program_put(program, enc_r(0x53, 7, 1, 1, 1, 1)); /* fadd.d f1, f1, f1 */
    program_put(program, enc_fsd(1, REG_S0, 16));
    program_put(program, enc_csrrs(REG_A1, CSR_MINSTRET, REG_ZERO));
    program_put(program, enc_sd(REG_A1, REG_S0, 24));
    program_put(program, enc_jal(REG_RA, 8));
    program_put(program, enc_addi(REG_A0, REG_A0, 100)); /* jumped over */
    program_put_sized(program, 0x0511, 2);               /* c.addi a0, 4 */
    program_put(program, enc_ld(REG_A2, REG_S0, 8));
    program_put(program, 0xffffffff); /* illegal */
    program_put(program, enc_csrrs(REG_A1, CSR_TIME, REG_ZERO));
    program_put(program, enc_ld(REG_A2, REG_ZERO, 0)); /* nothing there: access fault */
    program_put(program, enc_addi(REG_A3, REG_A3, -1));
    program_put(program, enc_bne(REG_A3, REG_ZERO, (int32_t)(loop - program_pc(program))));
    program_put(program, enc_ebreak());
    program_put(program, enc_jal(REG_ZERO, 0));
}

/* ---- budgets ---- */

static void assert_states_equal(const struct vcpu_state *a, const struct vcpu_state *b, uint64_t at)
{
    for (int i = 0; i < 32; i++) {
        ck_assert_msg(a->x[i] == b->x[i], "after %llu: x%d", (unsigned long long)at, i);
        ck_assert_msg(a->f[i] == b->f[i], "after %llu: f%d", (unsigned long long)at, i);
    }
    ck_assert_msg(a->pc == b->pc, "after %llu: pc 0x%llx, 0x%llx", (unsigned long long)at, (unsigned long long)a->pc,
                  (unsigned long long)b->pc);
    ck_assert_msg(memcmp(a, b, sizeof(*a)) == 0, "after %llu: CSRs or counters", (unsigned long long)at);
}

static void step_reference(const struct program *program, const struct engine_setting *setting,
                           struct vcpu_state states[SOME_INSNS + 1])
{
    struct bench bench;
    bench_open(&bench, program, setting);
    bench_state(&bench, &states[0]);
    for (int i = 1; i <= SOME_INSNS; i++) {
        ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
        bench_state(&bench, &states[i]);
        ck_assert_uint_eq(states[i].instret, (uint64_t)i);
    }
    bench_close(&bench);
}

/* A compiling tier compiles the program for each budget, half a second, under a sanitizer more: it is asked for all of
 * them in the long run only. */
static bool is_sampled(const struct engine_setting *setting)
{
    return setting->tier && !getenv("TUFF_TEST_LONG");
}

static uint64_t budget_stride(const struct engine_setting *setting)
{
    return !is_sampled(setting) ? 1 : TEST_SANITIZED ? 23 : 7;
}

START_TEST(budget_of_n_gives_the_state_of_n_single_steps)
{
    static struct vcpu_state states[SOME_INSNS + 1];
    struct program program;
    mixed_program(&program);
    step_reference(&program, setting_of(_i), states);
    ck_assert_uint_gt(states[SOME_INSNS].x[REG_S1], 18); /* the traps happened */
    for (uint64_t n = 0; n <= SOME_INSNS; n += budget_stride(setting_of(_i))) {
        struct bench bench;
        struct vcpu_state state;
        bench_open(&bench, &program, setting_of(_i));
        ck_assert_int_eq(vcpu_run(bench.vcpu, n), VCPU_EXIT_BUDGET);
        bench_state(&bench, &state);
        assert_states_equal(&states[n], &state, n);
        ck_assert_uint_eq(vcpu_instret(bench.vcpu), n);
        bench_close(&bench);
    }
    program_free(&program);
}
END_TEST

START_TEST(budgets_add_up_however_they_are_cut)
{
    static struct vcpu_state states[SOME_INSNS + 1];
    struct program program;
    struct rng rng = {3};
    mixed_program(&program);
    step_reference(&program, setting_of(_i), states);
    int rounds = is_sampled(setting_of(_i)) && TEST_SANITIZED ? 6 : 30;
    for (int round = 0; round < rounds; round++) {
        struct bench bench;
        struct vcpu_state state;
        bench_open(&bench, &program, setting_of(_i));
        for (uint64_t done = 0; done < SOME_INSNS;) {
            uint64_t part = rng_below(&rng, 20);
            part = part < SOME_INSNS - done ? part : SOME_INSNS - done;
            ck_assert_int_eq(vcpu_run(bench.vcpu, part), VCPU_EXIT_BUDGET);
            done += part;
            bench_state(&bench, &state);
            assert_states_equal(&states[done], &state, done);
        }
        bench_close(&bench);
    }
    program_free(&program);
}
END_TEST

START_TEST(trapping_instruction_is_not_retired)
{
    struct program program;
    struct bench bench;
    struct vcpu_state state;
    one_insn_program(&program, enc_ecall(), 4);
    bench_open(&bench, &program, setting_of(_i));
    ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
    bench_state(&bench, &state);
    ck_assert_uint_eq(state.pc, HANDLER_GPA + 4); /* one instruction of the handler, none before it */
    ck_assert_uint_eq(state.instret, 1);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(endless_loop_of_one_instruction_ends_at_its_budget)
{
    struct program program;
    struct bench bench;
    line_program(&program, 0);
    bench_open(&bench, &program, setting_of(_i));
    ck_assert_int_eq(vcpu_run(bench.vcpu, 1234567), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(vcpu_instret(bench.vcpu), 1234567);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(straight_line_across_pages_ends_at_its_budget)
{
    enum { COUNT = 5000 };
    static const uint64_t budgets[] = {1, 1023, 1024, 1025, 4095, COUNT};
    struct program program;
    line_program(&program, COUNT);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(budgets); i++) {
        struct bench bench;
        struct vcpu_state state;
        bench_open(&bench, &program, setting_of(_i));
        ck_assert_int_eq(vcpu_run(bench.vcpu, budgets[i]), VCPU_EXIT_BUDGET);
        bench_state(&bench, &state);
        ck_assert_uint_eq(state.x[REG_A0], budgets[i]);
        ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + 4 * budgets[i]);
        bench_close(&bench);
    }
    program_free(&program);
}
END_TEST

/* ---- state ---- */

START_TEST(state_comes_back_as_it_was_set)
{
    struct program program;
    struct bench bench;
    struct vcpu_state set, got;
    struct rng rng = {5};
    line_program(&program, 1);
    bench_open(&bench, &program, setting_of(_i));
    bench_state(&bench, &set);
    for (int i = 1; i < 32; i++)
        set.x[i] = rng_next(&rng);
    for (int i = 0; i < 32; i++)
        set.f[i] = rng_next(&rng);
    set.pc = PROGRAM_CODE_GPA + 2;
    set.priv = VCPU_PRIV_S;
    set.fcsr = 0x9f; /* RMM, all flags */
    set.instret = 1ull << 40;
    set.cycle_offset = rng_next(&rng);
    set.instret_offset = rng_next(&rng);
    set.mscratch = rng_next(&rng);
    set.mepc = set.sepc = PROGRAM_CODE_GPA + 6;
    set.mcause = 5;
    set.mtval = rng_next(&rng);
    set.medeleg = 1 << 8;
    set.mideleg = 1 << VCPU_IRQ_SSI;
    set.mie = 1 << VCPU_IRQ_MSI | 1 << VCPU_IRQ_SSI;
    set.mip = 1 << VCPU_IRQ_SSI;
    set.mcounteren = 5;
    set.scounteren = 2;
    set.stvec = PROGRAM_CODE_GPA + 0x100;
    set.sscratch = rng_next(&rng);
    set.scause = 13;
    set.stval = rng_next(&rng);
    set.satp = 8ull << 60 | 7ull << 44 | PROGRAM_CODE_GPA >> 12;
    set.stimecmp = rng_next(&rng);
    set.pmpaddr[3] = 0x12345678;
    set.pmpcfg[3] = 0x09;
    set.time_skip = 99;
    bench_set(&bench, &set);
    bench_state(&bench, &got);
    assert_states_equal(&set, &got, 0);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(state_of_another_version_is_refused)
{
    struct program program;
    struct bench bench;
    struct vcpu_state state, after;
    line_program(&program, 1);
    bench_open(&bench, &program, setting_of(_i));
    bench_state(&bench, &state);
    struct vcpu_state before = state;
    state.version = VCPU_STATE_VERSION + 1;
    state.pc = 0x1234;
    ck_assert_int_lt(vcpu_set_state(bench.vcpu, &state), 0);
    state.version = VCPU_STATE_VERSION;
    state.priv = 2;
    ck_assert_int_lt(vcpu_set_state(bench.vcpu, &state), 0);
    bench_state(&bench, &after);
    assert_states_equal(&before, &after, 0);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(state_moved_to_another_hart_goes_on_the_same)
{
    static struct vcpu_state states[SOME_INSNS + 1];
    static uint8_t ram[RAM_BYTES];
    struct program program;
    mixed_program(&program);
    step_reference(&program, setting_of(_i), states);
    for (uint64_t cut = 1; cut < SOME_INSNS; cut += 13) {
        struct bench first, second;
        struct vcpu_state state;
        bench_open(&first, &program, setting_of(_i));
        ck_assert_int_eq(vcpu_run(first.vcpu, cut), VCPU_EXIT_BUDGET);
        bench_state(&first, &state);
        ck_assert_int_eq(mem_read(first.mem, PROGRAM_CODE_GPA, ram, sizeof(ram)), 0);
        bench_close(&first);

        bench_open(&second, &program, setting_of(_i));
        ck_assert_int_eq(mem_write(second.mem, PROGRAM_CODE_GPA, ram, sizeof(ram)), 0);
        bench_set(&second, &state);
        ck_assert_int_eq(vcpu_run(second.vcpu, SOME_INSNS - cut), VCPU_EXIT_BUDGET);
        bench_state(&second, &state);
        assert_states_equal(&states[SOME_INSNS], &state, cut);
        bench_close(&second);
    }
    program_free(&program);
}
END_TEST

/* ---- requests from outside ---- */

static void *kick_later(void *opaque)
{
    struct bench *bench = opaque;
    struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    nanosleep(&pause, NULL);
    vcpu_kick(bench->vcpu);
    return NULL;
}

START_TEST(kick_from_another_thread_ends_a_run_without_limit)
{
    struct program program;
    struct bench bench;
    pthread_t thread;
    line_program(&program, 0);
    bench_open(&bench, &program, setting_of(_i));
    ck_assert_int_eq(pthread_create(&thread, NULL, kick_later, &bench), 0);
    ck_assert_int_eq(vcpu_run(bench.vcpu, UINT64_MAX), VCPU_EXIT_INTERRUPTED);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(pc_of(&bench), PROGRAM_CODE_GPA);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(kick_before_a_run_is_not_lost)
{
    struct program program;
    struct bench bench;
    line_program(&program, 0);
    bench_open(&bench, &program, setting_of(_i));
    vcpu_kick(bench.vcpu);
    ck_assert_int_eq(vcpu_run(bench.vcpu, UINT64_MAX), VCPU_EXIT_INTERRUPTED);
    ck_assert_uint_eq(vcpu_instret(bench.vcpu), 0);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 10), VCPU_EXIT_BUDGET); /* used up by the first */
    bench_close(&bench);
    program_free(&program);
}
END_TEST

static void enable_interrupts(struct bench *bench, uint64_t mie, bool globally)
{
    struct vcpu_state state;
    bench_state(bench, &state);
    state.mie = mie;
    state.mstatus = globally ? state.mstatus | MSTATUS_MIE : state.mstatus & ~MSTATUS_MIE;
    bench_set(bench, &state);
}

START_TEST(interrupt_is_taken_before_the_next_instruction)
{
    struct program program;
    line_program(&program, 100);
    for (uint64_t n = 0; n < 40; n++) {
        struct bench bench;
        struct vcpu_state state;
        bench_open(&bench, &program, setting_of(_i));
        enable_interrupts(&bench, 1 << VCPU_IRQ_MSI, true);
        ck_assert_int_eq(vcpu_run(bench.vcpu, n), VCPU_EXIT_BUDGET);
        vcpu_set_irq(bench.vcpu, VCPU_IRQ_MSI, true);
        ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
        bench_state(&bench, &state);
        ck_assert_uint_eq(state.pc, HANDLER_GPA + 4);
        ck_assert_uint_eq(state.mepc, PROGRAM_CODE_GPA + 4 * n);
        ck_assert_uint_eq(state.mcause, CAUSE_INTERRUPT | VCPU_IRQ_MSI);
        ck_assert_uint_eq(state.x[REG_A0], n);
        bench_close(&bench);
    }
    program_free(&program);
}
END_TEST

START_TEST(interrupt_waits_until_it_is_enabled)
{
    struct program program;
    struct bench bench;
    line_program(&program, 100);
    bench_open(&bench, &program, setting_of(_i));
    enable_interrupts(&bench, 1 << VCPU_IRQ_MSI, false);
    vcpu_set_irq(bench.vcpu, VCPU_IRQ_MSI, true);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 10), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(pc_of(&bench), PROGRAM_CODE_GPA + 40);
    enable_interrupts(&bench, 1 << VCPU_IRQ_MEI, true); /* another one */
    ck_assert_int_eq(vcpu_run(bench.vcpu, 10), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(pc_of(&bench), PROGRAM_CODE_GPA + 80);
    enable_interrupts(&bench, 1 << VCPU_IRQ_MSI, true);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(pc_of(&bench), HANDLER_GPA + 4);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(lowered_interrupt_line_is_not_taken)
{
    struct program program;
    struct bench bench;
    line_program(&program, 100);
    bench_open(&bench, &program, setting_of(_i));
    enable_interrupts(&bench, 1 << VCPU_IRQ_MSI, true);
    vcpu_set_irq(bench.vcpu, VCPU_IRQ_MSI, true);
    vcpu_set_irq(bench.vcpu, VCPU_IRQ_MSI, false);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 10), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(pc_of(&bench), PROGRAM_CODE_GPA + 40);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

/* M above S, and external, software, timer within each (Privileged Architecture, "Machine Interrupt Registers"). */
START_TEST(interrupts_at_once_are_taken_by_priority)
{
    static const enum vcpu_irq order[] = {VCPU_IRQ_MEI, VCPU_IRQ_MSI, VCPU_IRQ_MTI,
                                          VCPU_IRQ_SEI, VCPU_IRQ_SSI, VCPU_IRQ_STI};
    struct program program;
    line_program(&program, 10);
    for (size_t high = 0; high < TUFF_ARRAY_LEN(order); high++) {
        struct bench bench;
        struct vcpu_state state;
        bench_open(&bench, &program, setting_of(_i));
        enable_interrupts(&bench, 0xaaa, true);
        bench_state(&bench, &state);
        for (size_t i = high; i < TUFF_ARRAY_LEN(order); i++)
            state.mip |= order[i] == VCPU_IRQ_SSI || order[i] == VCPU_IRQ_STI ? 1ull << order[i] : 0;
        bench_set(&bench, &state);
        for (size_t i = high; i < TUFF_ARRAY_LEN(order); i++) {
            if (order[i] != VCPU_IRQ_SSI && order[i] != VCPU_IRQ_STI)
                vcpu_set_irq(bench.vcpu, order[i], true);
        }
        ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
        bench_state(&bench, &state);
        ck_assert_uint_eq(state.mcause, CAUSE_INTERRUPT | order[high]);
        bench_close(&bench);
    }
    program_free(&program);
}
END_TEST

START_TEST(wfi_halts_until_an_enabled_interrupt_is_pending)
{
    struct program program;
    struct bench bench;
    one_insn_program(&program, enc_wfi(), 4);
    bench_open(&bench, &program, setting_of(_i));
    vcpu_set_wake(bench.vcpu, on_wake, &bench);
    enable_interrupts(&bench, 1 << VCPU_IRQ_MSI, false);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 100), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(vcpu_instret(bench.vcpu), 1);
    ck_assert_uint_eq(pc_of(&bench), PROGRAM_CODE_GPA + 4);
    ck_assert(!vcpu_has_work(bench.vcpu));
    vcpu_set_irq(bench.vcpu, VCPU_IRQ_MSI, true);
    ck_assert(vcpu_has_work(bench.vcpu));
    ck_assert_int_ge(atomic_load(&bench.wakes), 1);
    /* mstatus.MIE is clear: execution goes on behind the wfi (section "Wait for Interrupt"). */
    ck_assert_int_eq(vcpu_run(bench.vcpu, 2), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(pc_of(&bench), PROGRAM_CODE_GPA + 12);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(wfi_with_an_interrupt_pending_goes_on)
{
    struct program program;
    struct bench bench;
    one_insn_program(&program, enc_wfi(), 4);
    bench_open(&bench, &program, setting_of(_i));
    enable_interrupts(&bench, 1 << VCPU_IRQ_MSI, false);
    vcpu_set_irq(bench.vcpu, VCPU_IRQ_MSI, true);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 3), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(pc_of(&bench), PROGRAM_CODE_GPA + 12);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

/* ---- time ---- */

/* Arms stimecmp a few ticks ahead, then spins; the handler is entered when it has come. */
static void timer_program(struct program *program)
{
    program_init(program, 8);
    program_put(program, enc_csrrs(REG_A0, CSR_TIME, REG_ZERO));
    program_put(program, enc_addi(REG_A0, REG_A0, 12));
    program_put(program, enc_csrrw(REG_ZERO, CSR_STIMECMP, REG_A0));
    uint64_t loop = program_pc(program);
    program_put(program, enc_addi(REG_A1, REG_A1, 1));
    program_put(program, enc_csrrs(REG_A2, CSR_TIME, REG_ZERO));
    program_put(program, enc_addi(REG_A3, REG_A3, 1));
    program_jump_back(program, loop);
}

/* Runs until the timer's trap, `slice` instructions a time; the state in which it is taken. */
static void run_to_timer(const struct program *program, const struct engine_setting *setting, uint64_t slice,
                         struct vcpu_state *state)
{
    struct bench bench;
    bench_open(&bench, program, setting);
    enable_interrupts(&bench, 1 << VCPU_IRQ_STI, true);
    bench_state(&bench, state);
    state->menvcfg |= MENVCFG_STCE;
    bench_set(&bench, state);
    const uint64_t end = 300;
    while (vcpu_instret(bench.vcpu) < end) {
        uint64_t left = end - vcpu_instret(bench.vcpu);
        ck_assert_int_eq(vcpu_run(bench.vcpu, slice < left ? slice : left), VCPU_EXIT_BUDGET);
    }
    bench_state(&bench, state);
    bench_close(&bench);
}

START_TEST(time_counted_in_instructions_is_the_same_however_it_runs)
{
    static const uint64_t slices[] = {1, 2, 3, 7, 64, 1000};
    struct program program;
    struct vcpu_state first, state;
    timer_program(&program);
    run_to_timer(&program, setting_of(_i), 1000, &first);
    ck_assert_uint_eq(first.mcause, CAUSE_INTERRUPT | VCPU_IRQ_STI);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(slices); i++) {
        run_to_timer(&program, setting_of(_i), slices[i], &state);
        assert_states_equal(&first, &state, slices[i]);
    }
    program_free(&program);
}
END_TEST

START_TEST(timer_fires_at_the_instruction_its_tick_begins_with)
{
    struct program program;
    struct bench bench;
    struct vcpu_state state;
    line_program(&program, 200);
    bench_open(&bench, &program, setting_of(_i));
    enable_interrupts(&bench, 1 << VCPU_IRQ_STI, true);
    bench_state(&bench, &state);
    state.menvcfg |= MENVCFG_STCE;
    state.stimecmp = 5;
    bench_set(&bench, &state);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 5 * INSNS_PER_TICK + 1), VCPU_EXIT_BUDGET);
    bench_state(&bench, &state);
    ck_assert_uint_eq(state.mepc, PROGRAM_CODE_GPA + 4 * 5 * INSNS_PER_TICK);
    ck_assert_uint_eq(state.x[REG_A0], 5 * INSNS_PER_TICK);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

START_TEST(time_csr_counts_ticks_of_retired_instructions)
{
    struct program program;
    program_init(&program, 8);
    for (int i = 0; i < 55; i++)
        program_put(&program, enc_addi(REG_A0, REG_A0, 1));
    program_put(&program, enc_csrrs(REG_A1, CSR_TIME, REG_ZERO));
    struct bench bench;
    struct vcpu_state state;
    bench_open(&bench, &program, setting_of(_i));
    ck_assert_int_eq(vcpu_run(bench.vcpu, 56), VCPU_EXIT_BUDGET);
    bench_state(&bench, &state);
    ck_assert_uint_eq(state.x[REG_A1], 55 / INSNS_PER_TICK);
    bench_close(&bench);
    program_free(&program);
}
END_TEST

/* ---- instructions that need privilege or trap ---- */

/* Runs one instruction in a mode, and the handler's first one when it traps. */
static void run_one(const struct engine_setting *setting, uint32_t bits, enum vcpu_priv priv, uint64_t mstatus_bits,
                    struct vcpu_state *state)
{
    struct program program;
    struct bench bench;
    one_insn_program(&program, bits, (bits & 3) == 3 ? 4 : 2);
    bench_open(&bench, &program, setting);
    bench_state(&bench, state);
    state->priv = priv;
    state->mstatus |= mstatus_bits;
    state->mepc = state->sepc = PROGRAM_CODE_GPA + FORWARD_BYTES;
    bench_set(&bench, state);
    bench.answer = VCPU_ACTION_TRAP;
    ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
    bench_state(&bench, state);
    bench_close(&bench);
    program_free(&program);
}

static void assert_traps(const struct engine_setting *setting, uint32_t bits, enum vcpu_priv priv,
                         uint64_t mstatus_bits, uint64_t cause, uint64_t tval)
{
    struct vcpu_state state;
    run_one(setting, bits, priv, mstatus_bits, &state);
    ck_assert_msg(state.pc == HANDLER_GPA + 4, "%08x in mode %d did not trap", bits, priv);
    ck_assert_uint_eq(state.mcause, cause);
    ck_assert_uint_eq(state.mtval, tval);
    ck_assert_uint_eq(state.mepc, PROGRAM_CODE_GPA);
    ck_assert_uint_eq((state.mstatus & MSTATUS_MPP) >> 11, priv);
    ck_assert_uint_eq(state.priv, VCPU_PRIV_M);
}

START_TEST(ecall_traps_with_the_cause_of_its_mode)
{
    assert_traps(setting_of(_i), enc_ecall(), VCPU_PRIV_U, 0, CAUSE_ECALL_U, 0);
    assert_traps(setting_of(_i), enc_ecall(), VCPU_PRIV_S, 0, CAUSE_ECALL_S, 0);
    assert_traps(setting_of(_i), enc_ecall(), VCPU_PRIV_M, 0, CAUSE_ECALL_M, 0);
}
END_TEST

START_TEST(ebreak_and_c_ebreak_trap_as_breakpoints)
{
    const uint32_t c_ebreak = 0x9002;
    assert_traps(setting_of(_i), enc_ebreak(), VCPU_PRIV_M, 0, CAUSE_BREAKPOINT, PROGRAM_CODE_GPA);
    assert_traps(setting_of(_i), c_ebreak, VCPU_PRIV_U, 0, CAUSE_BREAKPOINT, PROGRAM_CODE_GPA);
}
END_TEST

START_TEST(unimp_is_illegal)
{
    const uint32_t unimp = 0xc0001073;
    assert_traps(setting_of(_i), unimp, VCPU_PRIV_M, 0, CAUSE_ILLEGAL, unimp);
    assert_traps(setting_of(_i), 0, VCPU_PRIV_M, 0, CAUSE_ILLEGAL, 0);
}
END_TEST

START_TEST(mret_goes_to_mepc_in_the_previous_mode)
{
    struct vcpu_state state;
    run_one(setting_of(_i), enc_mret(), VCPU_PRIV_M, MSTATUS_MPIE | 1ull << 11, &state);
    ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + FORWARD_BYTES);
    ck_assert_uint_eq(state.priv, VCPU_PRIV_S);
    ck_assert_uint_eq(state.mstatus & (MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP), MSTATUS_MIE | MSTATUS_MPIE);
    assert_traps(setting_of(_i), enc_mret(), VCPU_PRIV_S, 0, CAUSE_ILLEGAL, enc_mret());
    assert_traps(setting_of(_i), enc_mret(), VCPU_PRIV_U, 0, CAUSE_ILLEGAL, enc_mret());
}
END_TEST

START_TEST(sret_goes_to_sepc_in_the_previous_mode)
{
    struct vcpu_state state;
    run_one(setting_of(_i), enc_sret(), VCPU_PRIV_S, MSTATUS_SPP, &state);
    ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + FORWARD_BYTES);
    ck_assert_uint_eq(state.priv, VCPU_PRIV_S);
    ck_assert_uint_eq(state.mstatus & (MSTATUS_SIE | MSTATUS_SPP), 0);
    run_one(setting_of(_i), enc_sret(), VCPU_PRIV_M, 0, &state);
    ck_assert_uint_eq(state.priv, VCPU_PRIV_U);
    assert_traps(setting_of(_i), enc_sret(), VCPU_PRIV_U, 0, CAUSE_ILLEGAL, enc_sret());
    assert_traps(setting_of(_i), enc_sret(), VCPU_PRIV_S, MSTATUS_TSR, CAUSE_ILLEGAL, enc_sret());
}
END_TEST

START_TEST(sfence_vma_needs_supervisor_mode_without_tvm)
{
    static const uint32_t forms[] = {0x12000073, 0x12050073, 0x12b00073, 0x12b50073};
    struct vcpu_state state;
    ck_assert_uint_eq(enc_sfence_vma(REG_A0, REG_A1), forms[3]);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(forms); i++) {
        run_one(setting_of(_i), forms[i], VCPU_PRIV_S, 0, &state);
        ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + 4);
        assert_traps(setting_of(_i), forms[i], VCPU_PRIV_U, 0, CAUSE_ILLEGAL, forms[i]);
        assert_traps(setting_of(_i), forms[i], VCPU_PRIV_S, MSTATUS_TVM, CAUSE_ILLEGAL, forms[i]);
        run_one(setting_of(_i), forms[i], VCPU_PRIV_M, MSTATUS_TVM, &state);
        ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + 4);
    }
}
END_TEST

START_TEST(wfi_is_illegal_in_user_mode_and_with_tw)
{
    assert_traps(setting_of(_i), enc_wfi(), VCPU_PRIV_S, MSTATUS_TW, CAUSE_ILLEGAL, enc_wfi());
    assert_traps(setting_of(_i), enc_wfi(), VCPU_PRIV_U, MSTATUS_TW, CAUSE_ILLEGAL, enc_wfi());
}
END_TEST

/* What they access and store is compared with another machine's by the bare-metal program isa_opt. */
START_TEST(cache_block_instructions_are_illegal_until_enabled)
{
    static const uint32_t forms[] = {0x0000200f, 0x0010200f, 0x0020200f, 0x0040200f};
    for (size_t i = 0; i < TUFF_ARRAY_LEN(forms); i++) {
        uint32_t bits = forms[i] | REG_SP << 15;
        struct vcpu_state state;
        assert_traps(setting_of(_i), bits, VCPU_PRIV_S, 0, CAUSE_ILLEGAL, bits);
        assert_traps(setting_of(_i), bits, VCPU_PRIV_U, 0, CAUSE_ILLEGAL, bits);
        run_one(setting_of(_i), forms[i], VCPU_PRIV_M, 0, &state); /* of address 0, where nothing is */
        ck_assert_uint_eq(state.mcause, CAUSE_STORE_ACCESS);
        ck_assert_uint_eq(state.mtval, 0);
    }
}
END_TEST

static void assert_fp_traps(const struct engine_setting *setting, uint32_t bits, uint32_t frm, bool fs_off)
{
    struct program program;
    struct bench bench;
    struct vcpu_state state;
    one_insn_program(&program, bits, 4);
    bench_open(&bench, &program, setting);
    bench_state(&bench, &state);
    state.fcsr = frm << 5;
    if (fs_off)
        state.mstatus &= ~MSTATUS_FS;
    bench_set(&bench, &state);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
    bench_state(&bench, &state);
    ck_assert_msg(state.pc == HANDLER_GPA + 4 && state.mcause == CAUSE_ILLEGAL && state.mtval == bits,
                  "%08x with frm %u did not trap as illegal", bits, frm);
    bench_close(&bench);
    program_free(&program);
}

START_TEST(reserved_rounding_modes_are_illegal)
{
    for (unsigned rm = 5; rm <= 6; rm++) {
        assert_fp_traps(setting_of(_i), enc_r(0x53, rm, 1, 1, 2, 3), 0, false);     /* fadd.d, static */
        assert_fp_traps(setting_of(_i), enc_r(0x43, rm, 1, 1, 2, 3), 0, false);     /* fmadd.d */
        assert_fp_traps(setting_of(_i), enc_r(0x53, rm, 0x60, 10, 2, 0), 0, false); /* fcvt.w.s */
    }
    for (unsigned frm = 5; frm <= 7; frm++) {
        assert_fp_traps(setting_of(_i), enc_r(0x53, 7, 1, 1, 2, 3), frm, false);
        assert_fp_traps(setting_of(_i), enc_r(0x53, 7, 0x2c, 1, 2, 0), frm, false); /* fsqrt.s */
    }
}
END_TEST

START_TEST(floating_point_is_illegal_while_fs_is_off)
{
    static const uint32_t rows[] = {
        0x02317153, /* fadd.d ft2, ft2, ft3, dyn */
        0x00053087, /* fld ft1, 0(a0) */
        0x00153027, /* fsd ft1, 0(a0) */
        0xe2010553, /* fmv.x.d a0, ft2 */
        0x00102573, /* frflags a0 */
    };
    for (size_t i = 0; i < TUFF_ARRAY_LEN(rows); i++)
        assert_fp_traps(setting_of(_i), rows[i], 0, true);
}
END_TEST

/* ---- calls to the VM ---- */

static enum vcpu_exit call_vm(struct bench *bench, struct program *program, const struct engine_setting *setting,
                              enum vcpu_action answer, struct vcpu_state *state)
{
    one_insn_program(program, enc_ecall(), 4);
    bench_open(bench, program, setting);
    enter(bench, VCPU_PRIV_S);
    bench->answer = answer;
    enum vcpu_exit exit = vcpu_run(bench->vcpu, 1);
    bench_state(bench, state);
    ck_assert_int_eq(bench->ecalls, 1);
    bench_close(bench);
    program_free(program);
    return exit;
}

START_TEST(call_that_resumes_goes_on_behind_the_ecall)
{
    struct bench bench;
    struct program program;
    struct vcpu_state state;
    ck_assert_int_eq(call_vm(&bench, &program, setting_of(_i), VCPU_ACTION_RESUME, &state), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + 8); /* the ecall does not retire, the next instruction did */
    ck_assert_uint_eq(state.x[REG_A0], 78);
    ck_assert_uint_eq(state.instret, 1);
    ck_assert_uint_eq(state.priv, VCPU_PRIV_S);
}
END_TEST

START_TEST(call_that_stops_leaves_pc_behind_the_ecall)
{
    struct bench bench;
    struct program program;
    struct vcpu_state state;
    ck_assert_int_eq(call_vm(&bench, &program, setting_of(_i), VCPU_ACTION_STOP, &state), VCPU_EXIT_STOPPED);
    ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + 4);
    ck_assert_uint_eq(state.instret, 0);
}
END_TEST

START_TEST(call_that_jumps_goes_on_in_the_new_state)
{
    struct bench bench;
    struct program program;
    struct vcpu_state state;
    ck_assert_int_eq(call_vm(&bench, &program, setting_of(_i), VCPU_ACTION_JUMP, &state), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(state.pc, PROGRAM_CODE_GPA + 12);
    ck_assert_uint_eq(state.x[REG_A1], 5);
    ck_assert_uint_eq(state.instret, 1);
}
END_TEST

START_TEST(call_that_is_not_handled_traps)
{
    struct bench bench;
    struct program program;
    struct vcpu_state state;
    ck_assert_int_eq(call_vm(&bench, &program, setting_of(_i), VCPU_ACTION_TRAP, &state), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(state.pc, HANDLER_GPA + 4);
    ck_assert_uint_eq(state.mcause, CAUSE_ECALL_S);
    ck_assert_uint_eq(state.mepc, PROGRAM_CODE_GPA);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 600);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#define ADD(tcase, test) tcase_add_loop_test(tcase, test, 0, (int)engine_setting_count)

int main(void)
{
    Suite *suite = suite_create("vcpu");
    TCase *budget = add_case(suite, "budget");
    ADD(budget, budget_of_n_gives_the_state_of_n_single_steps);
    ADD(budget, budgets_add_up_however_they_are_cut);
    ADD(budget, trapping_instruction_is_not_retired);
    ADD(budget, endless_loop_of_one_instruction_ends_at_its_budget);
    ADD(budget, straight_line_across_pages_ends_at_its_budget);
    TCase *state = add_case(suite, "state");
    ADD(state, state_comes_back_as_it_was_set);
    ADD(state, state_of_another_version_is_refused);
    ADD(state, state_moved_to_another_hart_goes_on_the_same);
    TCase *requests = add_case(suite, "requests");
    ADD(requests, kick_from_another_thread_ends_a_run_without_limit);
    ADD(requests, kick_before_a_run_is_not_lost);
    ADD(requests, interrupt_is_taken_before_the_next_instruction);
    ADD(requests, interrupt_waits_until_it_is_enabled);
    ADD(requests, lowered_interrupt_line_is_not_taken);
    ADD(requests, interrupts_at_once_are_taken_by_priority);
    ADD(requests, wfi_halts_until_an_enabled_interrupt_is_pending);
    ADD(requests, wfi_with_an_interrupt_pending_goes_on);
    TCase *time = add_case(suite, "time");
    ADD(time, time_counted_in_instructions_is_the_same_however_it_runs);
    ADD(time, timer_fires_at_the_instruction_its_tick_begins_with);
    ADD(time, time_csr_counts_ticks_of_retired_instructions);
    TCase *privileged = add_case(suite, "privileged");
    ADD(privileged, ecall_traps_with_the_cause_of_its_mode);
    ADD(privileged, ebreak_and_c_ebreak_trap_as_breakpoints);
    ADD(privileged, unimp_is_illegal);
    ADD(privileged, mret_goes_to_mepc_in_the_previous_mode);
    ADD(privileged, sret_goes_to_sepc_in_the_previous_mode);
    ADD(privileged, sfence_vma_needs_supervisor_mode_without_tvm);
    ADD(privileged, wfi_is_illegal_in_user_mode_and_with_tw);
    ADD(privileged, cache_block_instructions_are_illegal_until_enabled);
    ADD(privileged, reserved_rounding_modes_are_illegal);
    ADD(privileged, floating_point_is_illegal_while_fs_is_off);
    TCase *calls = add_case(suite, "calls");
    ADD(calls, call_that_resumes_goes_on_behind_the_ecall);
    ADD(calls, call_that_stops_leaves_pc_behind_the_ecall);
    ADD(calls, call_that_jumps_goes_on_in_the_new_state);
    ADD(calls, call_that_is_not_handled_traps);

    return run_suite(suite);
}
