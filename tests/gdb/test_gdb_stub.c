/* gdb's protocol, packet by packet, over two harts: framing, registers, memory, points, steps, threads. What gdb itself
 * makes of it, gdb-tests tries. */
#include "run_suite.h"
#include "stub_bench.h"

#include <check.h>
#include <stdarg.h>

static struct stub_bench bench;

/* A small program; the comments have the offsets. */
enum { STORE = 8, LOAD = 12, ADDRESS = 16, AMO = 20, SLEEP = 24, ECALL = 28, JUMP = 32, HANDLER = 0x100 };

static const uint32_t program[] = {
    0x00000517, /* 0: auipc a0, 0 */
    0x00158593, /* 4: addi a1, a1, 1 */
    0x80b53023, /* 8: sd a1, -0x800(a0) */
    0x80853603, /* 12: ld a2, -0x7f8(a0) */
    0x40050713, /* 16: addi a4, a0, 0x400 */
    0x00b726af, /* 20: amoadd.w a3, a1, (a4) */
    0x10500073, /* 24: wfi */
    0x00000073, /* 28: ecall */
    0xfe1ff06f, /* 32: j 0 */
};

/* Exceptions go on behind the instruction. */
static const uint32_t handler[] = {
    0x341022f3, /* csrr t0, mepc */
    0x00428293, /* addi t0, t0, 4 */
    0x34129073, /* csrw mepc, t0 */
    0x30200073, /* mret */
};

static uint64_t at(uint64_t offset)
{
    return BENCH_RAM_GPA + 0x1000 + offset;
}

/* By the doubleword store, which is in the page before the program's. */
static uint64_t stored(void)
{
    return at(0) - 0x800;
}

static void open_bench(bool baseline)
{
    ck_assert_int_eq(bench_open(&bench, baseline), 0);
    ck_assert_int_eq(mem_write(bench.mem, at(0), program, sizeof(program)), 0);
    ck_assert_int_eq(mem_write(bench.mem, at(HANDLER), handler, sizeof(handler)), 0);
    for (uint32_t i = 0; i < BENCH_HARTS; i++) {
        struct vcpu_state state;
        vcpu_get_state(bench.vcpus[i], &state);
        state.pc = at(0);
        state.mtvec = at(HANDLER);
        ck_assert_int_eq(vcpu_set_state(bench.vcpus[i], &state), 0);
    }
}

static void setup_interp(void)
{
    open_bench(false);
}

static void setup_baseline(void)
{
    open_bench(true);
}

static void teardown(void)
{
    bench_close(&bench);
}

static uint64_t pc_of(uint32_t hart)
{
    struct vcpu_state state;

    vcpu_get_state(bench.vcpus[hart], &state);
    return state.pc;
}

/* Sends a packet; what came back, without acknowledgement and frame, is in a static buffer. */
static const char *ask(const char *packet)
{
    static char answer[BENCH_OUT_BYTES];

    bench_forget(&bench);
    bench_packet(&bench, packet, strlen(packet));
    ck_assert_int_eq(bench.out[0], '+');
    const char *from = strchr(bench.out, '$'), *to = from ? strrchr(from, '#') : NULL;
    snprintf(answer, sizeof(answer), "%.*s", to ? (int)(to - from - 1) : 0, from ? from + 1 : "");
    return answer;
}

static void expect(const char *packet, const char *answer)
{
    ck_assert_msg(strcmp(ask(packet), answer) == 0, "'%s' was answered '%s', not '%s'", packet, ask(packet), answer);
}

__attribute__((format(printf, 1, 2))) static const char *text(const char *format, ...)
{
    static char texts[4][256];
    static unsigned next;
    va_list args;

    va_start(args, format);
    vsnprintf(texts[++next % 4], sizeof(texts[0]), format, args);
    va_end(args);
    return texts[next % 4];
}

static bool begins(const char *whole, const char *with)
{
    return strncmp(whole, with, strlen(with)) == 0;
}

/* ---- framing ---- */

static void send_raw(const char *bytes, size_t len)
{
    bench_forget(&bench);
    gdb_stub_input(bench.stub, (const uint8_t *)bytes, len);
}

START_TEST(wrong_sum_is_refused_and_the_next_packet_is_taken)
{
    send_raw("$qC#00$qC#b4", 12);
    ck_assert_str_eq(bench.out, "-+$QC1#c5");
}
END_TEST

START_TEST(a_packet_may_come_in_pieces_and_noise_is_skipped)
{
    send_raw("xx++$q", 6);
    ck_assert_str_eq(bench.out, "");
    send_raw("C#b", 3);
    send_raw("4", 1);
    ck_assert_str_eq(bench.out, "+$QC1#c5");
}
END_TEST

START_TEST(minus_brings_the_last_answer_again)
{
    (void)ask("qC");
    send_raw("-", 1);
    ck_assert_str_eq(bench.out, "$QC1#c5");
}
END_TEST

START_TEST(without_acknowledgements_there_are_none)
{
    expect("QStartNoAckMode", "OK");
    bench_forget(&bench);
    bench_packet(&bench, "qC", 2);
    ck_assert_str_eq(bench.out, "$QC1#c5");
}
END_TEST

START_TEST(a_packet_too_long_is_refused)
{
    static char big[40000];

    memset(big, 'm', sizeof(big));
    bench_forget(&bench);
    bench_packet(&bench, big, sizeof(big));
    ck_assert_str_eq(bench.out, "-");
    expect("qC", "QC1");
}
END_TEST

START_TEST(what_is_not_known_is_answered_with_nothing)
{
    static const char *const packets[] = {"", "vFile:open", "qNothing", "QNothing", "j", "Z9,0,1", "vRun;", "b"};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(packets); i++)
        expect(packets[i], "");
}
END_TEST

START_TEST(what_makes_no_sense_is_an_error)
{
    static const char *const packets[] = {
        "m",
        "mzz,4",
        "m80001000",
        "m80001000,zz",
        "M80001000,4:00",
        "M80001000,2:zzzz",
        "X0,5:a",
        "p",
        "pfffff",
        "P0",
        "P20=00",
        "G00",
        "Hx0",
        "Hg9",
        "T0",
        "T9",
        "Z0,80001000",
        "Z2,80001000,0",
        "vCont;",
        "vCont;x",
        "vCont;c:9",
        "qThreadExtraInfo,77",
        "Z2,ffffffffffffffff,2",
        "qRcmd,1",
        "m0123456789abcdef0,4",
        "Z0,z,1",
        "qXfer:features:read:target.xml:0",
    };

    for (size_t i = 0; i < TUFF_ARRAY_LEN(packets); i++)
        ck_assert_msg(begins(ask(packets[i]), "E"), "'%s' was answered '%s'", packets[i], ask(packets[i]));
}
END_TEST

/* ---- registers and memory ---- */

START_TEST(registers_are_read_and_written)
{
    const char *all = ask("g");

    ck_assert_uint_eq(strlen(all), 33 * 16);
    ck_assert(begins(all + 32 * 16, "0010008000000000"));
    expect("Pb=efcdab8967452301", "OK");
    expect("pb", "efcdab8967452301");
    ck_assert_uint_eq(vcpu_x(bench.vcpus[0])[11], 0x0123456789abcdefull);
    expect("P0=ffffffffffffffff", "OK");
    expect("p0", "0000000000000000");
    /* fcsr has four bytes; one of six bits is refused. */
    expect("P44=ff000000", "OK");
    expect("p43", "07000000");
    ck_assert(begins(ask("P43=08000000"), "E"));
    /* mscratch, and misa, which is not written. */
    expect("P381=1122334455667788", "OK");
    expect("p381", "1122334455667788");
    ck_assert(begins(ask("P342=0000000000000000"), "E"));
    expect("p1041", "0300000000000000");
    ck_assert(begins(ask("P1041=0200000000000000"), "E"));
    expect("P20=0110008000000000", "OK");
    ck_assert_uint_eq(pc_of(0), at(0));
}
END_TEST

START_TEST(the_description_comes_whole_in_pieces)
{
    static char whole[40000];
    size_t len = 0;

    for (;;) {
        const char *piece = ask(text("qXfer:features:read:target.xml:%zx,3e8", len));
        ck_assert_uint_lt(len + strlen(piece), sizeof(whole));
        memcpy(whole + len, piece + 1, strlen(piece));
        len += strlen(piece + 1);
        if (piece[0] == 'l')
            break;
        ck_assert_int_eq(piece[0], 'm');
    }
    ck_assert_ptr_nonnull(strstr(whole, "<architecture>riscv:rv64</architecture>"));
    ck_assert_ptr_nonnull(strstr(whole, "\"org.gnu.gdb.riscv.fpu\""));
    ck_assert_ptr_nonnull(strstr(whole, "<reg name=\"satp\" bitsize=\"64\" regnum=\"449\""));
    ck_assert_str_eq(whole + len - 9, "</target>");
    ck_assert(begins(ask("qXfer:features:read:other.xml:0,100"), "E"));
    expect("qXfer:features:read:target.xml:fffffff,100", "l");
}
END_TEST

START_TEST(memory_is_read_and_written_and_what_is_none_is_an_error)
{
    expect("m80001000,8", "1705000093851500");
    expect("M80004000,3:a1b2c3", "OK");
    expect("m80004000,4", "a1b2c300");
    expect("X80004001,2:}\x03*", "OK");
    expect("m80004000,4", "a1232a00");
    ck_assert(begins(ask("m1000,4"), "E0e"));
    ck_assert(begins(ask("M8000ffff,2:0000"), "E0e"));
    /* As much as there is, up to the end of RAM. */
    expect("m8000fffe,2000", "0000");
    expect("qqemu.PhyMemMode", "0");
    expect("Qqemu.PhyMemMode:1", "OK");
    expect("m80004000,2", "a123");
    expect("m80001000,0", "");
}
END_TEST

START_TEST(virtual_addresses_are_those_of_the_hart)
{
    /* Sv39: a gigapage at 0x40000000 for RAM's, without A, D and for users only. */
    const uint64_t pte = 0x80000000ull >> 2 | 1 << 4 | 1 << 3 | 1 << 1 | 1;
    struct vcpu_state state;

    ck_assert_int_eq(mem_write(bench.mem, BENCH_RAM_GPA + 0x8000 + 8, &pte, sizeof(pte)), 0);
    vcpu_get_state(bench.vcpus[0], &state);
    state.priv = VCPU_PRIV_S;
    state.satp = 8ull << 60 | (BENCH_RAM_GPA + 0x8000) >> 12;
    ck_assert_int_eq(vcpu_set_state(bench.vcpus[0], &state), 0);
    expect("m40001000,4", "17050000");
    ck_assert(begins(ask("m80001000,4"), "E"));
    expect("M40004000,2:1234", "OK");
    expect("Hg2", "OK");
    expect("m80004000,2", "1234");
    /* Nothing of that was an access of the guest's. */
    uint64_t after;
    ck_assert_int_eq(mem_read(bench.mem, BENCH_RAM_GPA + 0x8000 + 8, &after, sizeof(after)), 0);
    ck_assert_uint_eq(after, pte);
}
END_TEST

/* ---- points and steps ---- */

START_TEST(breakpoint_stops_before_the_instruction_each_time)
{
    const char *packet = _i ? "Z1,8000100c,4" : "Z0,8000100c,4";

    (void)ask("qSupported:swbreak+;hwbreak+");
    expect(packet, "OK");
    expect(packet, "OK");
    for (unsigned i = 0; i < 3; i++) {
        expect("vCont;c:1", _i ? "T05thread:1;hwbreak:;" : "T05thread:1;swbreak:;");
        ck_assert_uint_eq(pc_of(0), at(LOAD));
        /* It stays where it is until somebody steps. */
        expect("vCont;c:1", _i ? "T05thread:1;hwbreak:;" : "T05thread:1;swbreak:;");
        expect("vCont;s:1", "T05thread:1;");
        ck_assert_uint_eq(pc_of(0), at(ADDRESS));
    }
    expect(_i ? "z1,8000100c,4" : "z0,8000100c,4", "OK");
    ck_assert_str_eq(ask("vCont;c:1"), "");
    send_raw("\x03", 1);
    ck_assert_ptr_nonnull(strstr(bench.out, "$T02thread:1;#"));
}
END_TEST

START_TEST(breakpoint_set_in_code_that_ran_before)
{
    ck_assert_str_eq(ask("c"), "");
    send_raw("\x03", 1);
    expect("Z0,80001014,4", "OK");
    ck_assert(begins(ask("c"), "T05"));
    ck_assert_uint_eq(pc_of(0), at(AMO));
}
END_TEST

START_TEST(steps_see_each_instruction_exceptions_and_no_sleep)
{
    static const uint64_t path[] = {4,       STORE,       LOAD,        ADDRESS,      AMO,  SLEEP, ECALL,
                                    HANDLER, HANDLER + 4, HANDLER + 8, HANDLER + 12, JUMP, 0};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(path); i++) {
        expect("vCont;s:1", "T05thread:1;");
        ck_assert_uint_eq(pc_of(0), at(path[i]));
        ck_assert_uint_eq(pc_of(1), at(0));
    }
}
END_TEST

START_TEST(a_step_does_not_take_an_interrupt)
{
    struct vcpu_state state;

    vcpu_get_state(bench.vcpus[0], &state);
    state.mie = 1 << VCPU_IRQ_MSI;
    state.mstatus |= 8;
    ck_assert_int_eq(vcpu_set_state(bench.vcpus[0], &state), 0);
    vcpu_set_irq(bench.vcpus[0], VCPU_IRQ_MSI, true);
    expect("vCont;s:1", "T05thread:1;");
    ck_assert_uint_eq(pc_of(0), at(4));
    expect("Z0,80001100,4", "OK");
    expect("vCont;c:1", "T05thread:1;");
    ck_assert_uint_eq(pc_of(0), at(HANDLER));
}
END_TEST

struct watch {
    const char *insert;
    const char *told; /* the first stop */
    uint64_t pc;      /* behind what was noticed */
};

START_TEST(watchpoint_stops_behind_the_access)
{
    static const struct watch watches[] = {
        {"Z2,80000800,8", "T05thread:1;watch:80000800;", LOAD},
        {"Z2,80000804,1", "T05thread:1;watch:80000804;", LOAD},
        {"Z4,800007ff,2", "T05thread:1;awatch:80000800;", LOAD},
        {"Z3,80000808,1", "T05thread:1;rwatch:80000808;", ADDRESS},
        {"Z4,8000080f,40", "T05thread:1;awatch:8000080f;", ADDRESS},
        {"Z2,80001400,4", "T05thread:1;watch:80001400;", SLEEP},
        {"Z3,80001402,1", "T05thread:1;rwatch:80001402;", SLEEP},
    };
    const struct watch *watch = &watches[_i];
    uint64_t value;

    expect(watch->insert, "OK");
    expect("vCont;c:1", watch->told);
    ck_assert_uint_eq(pc_of(0), at(watch->pc));
    ck_assert_int_eq(mem_read(bench.mem, stored(), &value, sizeof(value)), 0);
    ck_assert_uint_eq(value, 1);
    ck_assert_uint_eq(vcpu_x(bench.vcpus[0])[11], 1);
}
END_TEST

START_TEST(watchpoint_leaves_its_neighbours_alone)
{
    expect("Z2,80000808,8", "OK"); /* is loaded only */
    expect("Z3,80000800,8", "OK"); /* is stored only */
    expect("Z4,80000810,8", "OK");
    expect("Z0,80001018,4", "OK");
    expect("vCont;c:1", "T05thread:1;");
    ck_assert_uint_eq(pc_of(0), at(SLEEP));
}
END_TEST

START_TEST(a_step_tells_of_a_watchpoint)
{
    expect("Z2,80000800,8", "OK");
    expect("Z0,80001008,4", "OK");
    expect("vCont;c:1", "T05thread:1;");
    expect("vCont;s:1", "T05thread:1;watch:80000800;");
    ck_assert_uint_eq(pc_of(0), at(LOAD));
}
END_TEST

START_TEST(more_points_than_there_is_room_for_are_refused)
{
    for (unsigned i = 0; i < VCPU_POINTS_MAX; i++)
        expect(text("Z0,%x,2", 0x80002000 + 2 * i), "OK");
    expect("Z0,80003000,2", "E1c");
    expect("z0,80002000,2", "OK");
    expect("Z0,80003000,2", "OK");
}
END_TEST

START_TEST(code_written_by_the_client_is_what_runs)
{
    expect("Z0,80001018,4", "OK");
    expect("vCont;c:1", "T05thread:1;");
    expect("z0,80001018,4", "OK");
    expect("M80001018,4:6f000010", "OK"); /* j .+0x100 */
    expect("vCont;s:1", "T05thread:1;");
    ck_assert_uint_eq(pc_of(0), at(SLEEP + 0x100));
}
END_TEST

/* ---- harts ---- */

START_TEST(harts_are_threads)
{
    expect("qfThreadInfo", "m1,2");
    expect("qsThreadInfo", "l");
    expect("qThreadExtraInfo,2", "6861727420312c2073746172746564");
    expect("T2", "OK");
    expect("Hg2", "OK");
    expect("pf55", "0100000000000000"); /* mhartid */
}
END_TEST

START_TEST(one_hart_steps_while_the_other_stands_or_runs)
{
    expect("vCont;s:2", "T05thread:2;");
    ck_assert_uint_eq(pc_of(0), at(0));
    ck_assert_uint_eq(pc_of(1), at(4));
    expect("Hg2", "OK");
    expect("pb", "0000000000000000");
    (void)ask("vCont;s:2;c");
    ck_assert_uint_eq(pc_of(1), at(8));
    ck_assert_uint_gt(vcpu_instret(bench.vcpus[0]), 0);
}
END_TEST

START_TEST(a_point_stops_whichever_hart_comes_there)
{
    expect("Z0,8000101c,4", "OK");
    expect("vCont;c:2", "T05thread:2;");
    ck_assert_uint_eq(pc_of(0), at(0));
    expect("qC", "QC2");
    expect("vCont;c:1", "T05thread:1;");
}
END_TEST

START_TEST(detached_clients_leave_nothing_behind)
{
    expect("Z0,80001010,4", "OK");
    expect("D", "OK");
    ck_assert(!gdb_stub_is_attached(bench.stub) && bench.running);
    ck_assert_int_eq(vcpu_run(bench.vcpus[0], 5), VCPU_EXIT_BUDGET);
    ck_assert_int_eq(gdb_stub_attach(bench.stub, false), 0);
    ck_assert(begins(ask("?"), "T05thread:1;"));
}
END_TEST

START_TEST(the_end_is_told)
{
    bench_forget(&bench);
    gdb_stub_ended(bench.stub, 7);
    ck_assert_str_eq(bench.out, "$W07#be");
    ck_assert(!gdb_stub_is_attached(bench.stub));
}
END_TEST

START_TEST(monitor_and_kill)
{
    (void)ask("qRcmd,6861727473"); /* harts */
    ck_assert_ptr_nonnull(strstr(bench.out, "$O"));
    ck_assert_ptr_nonnull(strstr(bench.out, "$OK#"));
    (void)ask("k");
    ck_assert(bench.quit);
}
END_TEST

static TCase *new_case(Suite *suite, const char *name, bool baseline)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, baseline ? setup_baseline : setup_interp, teardown);
    suite_add_tcase(suite, tc);
    return tc;
}

static void add_points(TCase *tc)
{
    tcase_add_loop_test(tc, breakpoint_stops_before_the_instruction_each_time, 0, 2);
    tcase_add_test(tc, breakpoint_set_in_code_that_ran_before);
    tcase_add_test(tc, steps_see_each_instruction_exceptions_and_no_sleep);
    tcase_add_test(tc, a_step_does_not_take_an_interrupt);
    tcase_add_loop_test(tc, watchpoint_stops_behind_the_access, 0, 7);
    tcase_add_test(tc, watchpoint_leaves_its_neighbours_alone);
    tcase_add_test(tc, a_step_tells_of_a_watchpoint);
    tcase_add_test(tc, more_points_than_there_is_room_for_are_refused);
    tcase_add_test(tc, code_written_by_the_client_is_what_runs);
}

int main(void)
{
    Suite *suite = suite_create("gdb_stub");
    TCase *tc = new_case(suite, "framing", false);

    tcase_add_test(tc, wrong_sum_is_refused_and_the_next_packet_is_taken);
    tcase_add_test(tc, a_packet_may_come_in_pieces_and_noise_is_skipped);
    tcase_add_test(tc, minus_brings_the_last_answer_again);
    tcase_add_test(tc, without_acknowledgements_there_are_none);
    tcase_add_test(tc, a_packet_too_long_is_refused);
    tcase_add_test(tc, what_is_not_known_is_answered_with_nothing);
    tcase_add_test(tc, what_makes_no_sense_is_an_error);
    tc = new_case(suite, "registers and memory", false);
    tcase_add_test(tc, registers_are_read_and_written);
    tcase_add_test(tc, the_description_comes_whole_in_pieces);
    tcase_add_test(tc, memory_is_read_and_written_and_what_is_none_is_an_error);
    tcase_add_test(tc, virtual_addresses_are_those_of_the_hart);
    add_points(new_case(suite, "points, interpreter", false));
    add_points(new_case(suite, "points, baseline tier", true));
    tc = new_case(suite, "harts", false);
    tcase_add_test(tc, harts_are_threads);
    tcase_add_test(tc, one_hart_steps_while_the_other_stands_or_runs);
    tcase_add_test(tc, a_point_stops_whichever_hart_comes_there);
    tcase_add_test(tc, detached_clients_leave_nothing_behind);
    tcase_add_test(tc, the_end_is_told);
    tcase_add_test(tc, monitor_and_kill);
    return run_suite(suite);
}
