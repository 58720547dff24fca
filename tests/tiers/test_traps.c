/* What bare-metal programs cannot see: a hart that ends in the critical-error state (Smdbltrp, Ssdbltrp under the VM's
 * SBI), NMIs' registers in the neutral state, the source of `seed` as the environment has it. On the interpreter alone:
 * no tier has a part in it.
 */
#include "encode.h"
#include "engine/isa/riscv/isa.h"
#include "engine/vcpu.h"
#include "mem/mem.h"
#include "program.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

enum { CSR_SEED = 0x015, CSR_MSECCFG = 0x747, SOME_INSNS = 100, CAUSE_ILLEGAL = 2 };

#define MSTATUS_SDT (1ull << 24)
#define MSTATUS_MDT (1ull << 42)
#define MENVCFG_DTE (1ull << 59)
#define MNSTATUS_NMIE (1ull << 3)
#define MNSTATUS_MNPP_M (3ull << 11)
#define ILLEGAL 0xffffffffu
#define CODE_GPA PROGRAM_CODE_GPA

struct bench {
    struct mem *mem;
    struct vcpu *vcpu;
    struct vcpu_env_ops env;
    int entropy_rc;
    uint16_t entropy;
};

static uint64_t no_time(void *opaque)
{
    return 0;
}

static int give_entropy(void *opaque, void *bytes, size_t len)
{
    struct bench *bench = opaque;

    memset(bytes, 0, len);
    memcpy(bytes, &bench->entropy, sizeof(bench->entropy));
    return bench->entropy_rc;
}

static enum vcpu_action handle_nothing(void *opaque, struct vcpu *vcpu)
{
    return VCPU_ACTION_TRAP;
}

/* A hart as it is out of reset, with `insns` where it starts. */
static void bench_open(struct bench *bench, isa_set isa, bool clock_insns, const uint32_t *insns, size_t bytes)
{
    *bench = (struct bench){.env = {.time_now = no_time, .entropy = give_entropy}};
    ck_assert_int_eq(mem_create(&bench->mem), 0);
    ck_assert_int_eq(mem_add_ram(bench->mem, CODE_GPA, 1 << 20), 0);
    ck_assert_int_eq(mem_write(bench->mem, CODE_GPA, insns, bytes), 0);
    struct vcpu_config config = {.hart_count = 1,
                                 .mem = bench->mem,
                                 .env = &bench->env,
                                 .env_opaque = bench,
                                 .isa = isa,
                                 .reset_pc = CODE_GPA,
                                 .timebase_hz = 10000000,
                                 .clock_insns = clock_insns,
                                 .insns_per_tick = 10};
    ck_assert_int_eq(vcpu_create(&vcpu_riscv_ops, &config, &bench->vcpu), 0);
}

static void bench_close(struct bench *bench)
{
    vcpu_destroy(bench->vcpu);
    mem_destroy(bench->mem);
}

static struct vcpu_state state_of(struct bench *bench)
{
    struct vcpu_state state;

    vcpu_get_state(bench->vcpu, &state);
    return state;
}

/* ---- double traps ---- */

static void assert_critical_at(struct bench *bench, uint64_t pc)
{
    struct vcpu_state before = state_of(bench);

    ck_assert_uint_eq(before.pc, pc);
    ck_assert(before.critical);
    ck_assert_int_eq(vcpu_run(bench->vcpu, SOME_INSNS), VCPU_EXIT_CRITICAL);
    struct vcpu_state after = state_of(bench);
    ck_assert_mem_eq(&before, &after, sizeof(before));
}

START_TEST(machine_mode_that_traps_out_of_reset_is_in_the_critical_state)
{
    static const uint32_t insns[] = {0x00150513 /* addi a0, a0, 1 */, ILLEGAL};
    struct bench bench;

    bench_open(&bench, ISA_ALL & ~ISA_EXT(SMRNMI), true, insns, sizeof(insns));
    ck_assert(state_of(&bench).mstatus & MSTATUS_MDT);
    ck_assert_int_eq(vcpu_run(bench.vcpu, SOME_INSNS), VCPU_EXIT_CRITICAL);
    struct vcpu_state state = state_of(&bench);
    ck_assert_uint_eq(state.mcause, 0);
    ck_assert_uint_eq(state.mepc, 0);
    ck_assert_uint_eq(state.instret, 1);
    assert_critical_at(&bench, CODE_GPA + 4);
    bench_close(&bench);
}
END_TEST

START_TEST(a_fetch_that_cannot_be_trapped_is_critical_too)
{
    static const uint32_t insns[] = {0x00000067 /* jr 0 */};
    struct bench bench;

    bench_open(&bench, ISA_ALL & ~ISA_EXT(SMRNMI), true, insns, sizeof(insns));
    ck_assert_int_eq(vcpu_run(bench.vcpu, SOME_INSNS), VCPU_EXIT_CRITICAL);
    assert_critical_at(&bench, 0);
    bench_close(&bench);
}
END_TEST

START_TEST(an_interrupt_during_an_nmi_is_none_and_a_trap_there_is_critical)
{
    static const uint32_t insns[] = {0x00150513 /* addi a0, a0, 1 */, ILLEGAL};
    struct bench bench;

    bench_open(&bench, ISA_ALL, true, insns, sizeof(insns));
    struct vcpu_state state = state_of(&bench);
    ck_assert_uint_eq(state.mnstatus, 0);
    state.mnstatus = MNSTATUS_NMIE;
    ck_assert_int_eq(vcpu_set_state(bench.vcpu, &state), 0);
    /* The first trap is a double one and goes to the handler of NMIs, which is where the hart starts; the second,
     * there, finds nobody. */
    ck_assert_int_eq(vcpu_run(bench.vcpu, SOME_INSNS), VCPU_EXIT_CRITICAL);
    state = state_of(&bench);
    ck_assert_uint_eq(state.x[10], 2);
    ck_assert_uint_eq(state.mncause, CAUSE_ILLEGAL);
    ck_assert_uint_eq(state.mnepc, CODE_GPA + 4);
    ck_assert_uint_eq(state.mnstatus, MNSTATUS_MNPP_M);
    assert_critical_at(&bench, CODE_GPA + 4);
    bench_close(&bench);
}
END_TEST

START_TEST(supervisor_mode_that_traps_twice_is_critical_where_the_vm_is_machine_mode)
{
    static const uint32_t insns[] = {ILLEGAL};
    struct bench bench;

    bench_open(&bench, ISA_COMPATIBLE, true, insns, sizeof(insns));
    bench.env.ecall = handle_nothing;
    struct vcpu_state state = state_of(&bench);
    state.priv = VCPU_PRIV_S;
    state.medeleg = 1 << CAUSE_ILLEGAL;
    state.menvcfg |= MENVCFG_DTE;
    state.mstatus |= MSTATUS_SDT;
    state.pmpaddr[0] = UINT64_MAX >> 10;
    state.pmpcfg[0] = 0x1f;
    ck_assert_int_eq(vcpu_set_state(bench.vcpu, &state), 0);
    ck_assert_int_eq(vcpu_run(bench.vcpu, SOME_INSNS), VCPU_EXIT_CRITICAL);
    assert_critical_at(&bench, CODE_GPA);
    bench_close(&bench);
}
END_TEST

START_TEST(a_state_without_the_mark_ends_the_critical_state)
{
    static const uint32_t insns[] = {0x0000006f /* j . */};
    struct bench bench;

    bench_open(&bench, ISA_COMPATIBLE, true, insns, sizeof(insns));
    struct vcpu_state state = state_of(&bench);
    state.critical = true;
    ck_assert_int_eq(vcpu_set_state(bench.vcpu, &state), 0);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_CRITICAL);
    state.critical = false;
    ck_assert_int_eq(vcpu_set_state(bench.vcpu, &state), 0);
    ck_assert_int_eq(vcpu_run(bench.vcpu, 1), VCPU_EXIT_BUDGET);
    bench_close(&bench);
}
END_TEST

/* ---- seed ---- */

static uint64_t read_seed(struct bench *bench)
{
    struct vcpu_state state = state_of(bench);

    state.pc = CODE_GPA;
    ck_assert_int_eq(vcpu_set_state(bench->vcpu, &state), 0);
    ck_assert_int_eq(vcpu_run(bench->vcpu, 1), VCPU_EXIT_BUDGET);
    return state_of(bench).x[10];
}

START_TEST(seed_says_how_the_source_is)
{
    const uint32_t insns[] = {enc_csrrw(10, CSR_SEED, 0)};
    struct bench bench;

    bench_open(&bench, ISA_COMPATIBLE, false, insns, sizeof(insns));
    bench.entropy = 0xbeef;
    ck_assert_uint_eq(read_seed(&bench), 2u << 30 | 0xbeef);
    bench.entropy_rc = -EAGAIN;
    ck_assert_uint_eq(read_seed(&bench), 1u << 30);
    bench.entropy_rc = -EIO;
    ck_assert_uint_eq(read_seed(&bench), 3u << 30);
    bench.entropy_rc = 0;
    bench.entropy = 0;
    ck_assert_uint_eq(read_seed(&bench), 2u << 30);
    bench.env.entropy = NULL;
    ck_assert_uint_eq(read_seed(&bench), 3u << 30);
    bench_close(&bench);
}
END_TEST

START_TEST(seeds_repeat_where_time_follows_the_instructions)
{
    enum { COUNT = 1000 };
    const uint32_t insns[] = {enc_csrrw(10, CSR_SEED, 0)};
    uint64_t first[COUNT];
    uint8_t seen[1 << 16] = {0};
    unsigned again = 0;
    struct bench bench;

    bench_open(&bench, ISA_COMPATIBLE, true, insns, sizeof(insns));
    bench.env.entropy = NULL;
    for (unsigned i = 0; i < COUNT; i++) {
        first[i] = read_seed(&bench);
        ck_assert_uint_eq(first[i] >> 16, 2u << 14);
        again += seen[first[i] & 0xffff];
        seen[first[i] & 0xffff] = 1;
    }
    ck_assert_uint_lt(again, 30); /* 7.6 are expected of independent ones */
    struct vcpu_state middle = state_of(&bench);
    ck_assert_uint_eq(middle.seeds, COUNT);
    middle.seeds = 500;
    bench_close(&bench);
    bench_open(&bench, ISA_COMPATIBLE, true, insns, sizeof(insns));
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(read_seed(&bench), first[i]);
    ck_assert_int_eq(vcpu_set_state(bench.vcpu, &middle), 0);
    for (unsigned i = 500; i < 510; i++)
        ck_assert_uint_eq(read_seed(&bench), first[i]);
    bench_close(&bench);
}
END_TEST

/* ---- pointer masking ---- */

START_TEST(reserved_masking_of_machine_mode_leaves_what_was)
{
    const uint32_t insns[] = {enc_csrrw(0, CSR_MSECCFG, 10), enc_csrrw(0, CSR_MSECCFG, 11),
                              enc_csrrs(12, CSR_MSECCFG, 0)};
    struct bench bench;

    for (uint64_t old = 0; old < 4; old++) {
        bench_open(&bench, ISA_COMPATIBLE, true, insns, sizeof(insns));
        struct vcpu_state state = state_of(&bench);
        state.x[10] = old << 32;
        state.x[11] = 1ull << 32;
        ck_assert_int_eq(vcpu_set_state(bench.vcpu, &state), 0);
        ck_assert_int_eq(vcpu_run(bench.vcpu, 3), VCPU_EXIT_BUDGET);
        ck_assert_uint_eq(state_of(&bench).x[12], old == 1 ? 0 : old << 32);
        bench_close(&bench);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traps");
    TCase *critical = tcase_create("critical");
    tcase_add_test(critical, machine_mode_that_traps_out_of_reset_is_in_the_critical_state);
    tcase_add_test(critical, a_fetch_that_cannot_be_trapped_is_critical_too);
    tcase_add_test(critical, an_interrupt_during_an_nmi_is_none_and_a_trap_there_is_critical);
    tcase_add_test(critical, supervisor_mode_that_traps_twice_is_critical_where_the_vm_is_machine_mode);
    tcase_add_test(critical, a_state_without_the_mark_ends_the_critical_state);
    suite_add_tcase(suite, critical);
    TCase *seed = tcase_create("seed");
    tcase_add_test(seed, seed_says_how_the_source_is);
    tcase_add_test(seed, seeds_repeat_where_time_follows_the_instructions);
    suite_add_tcase(suite, seed);
    TCase *masking = tcase_create("masking");
    tcase_add_test(masking, reserved_masking_of_machine_mode_leaves_what_was);
    suite_add_tcase(suite, masking);
    return run_suite(suite);
}
