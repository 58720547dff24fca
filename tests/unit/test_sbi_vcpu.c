/* Where the SBI meets a vCPU: which registers carry a call and its answer, and what starting a counter does to the
 * hart's state. The vCPU is a fake: the engine's own is not linked into this test. */
#include "test_sbi.h"

struct vcpu {
    struct vcpu_state state;
    bool refuses;
};

static struct vcpu vcpu;

uint64_t *vcpu_x(struct vcpu *v)
{
    return v->state.x;
}

uint32_t vcpu_hart_id(const struct vcpu *v)
{
    return v->state.hart_id;
}

void vcpu_get_state(struct vcpu *v, struct vcpu_state *state)
{
    *state = v->state;
}

int vcpu_set_state(struct vcpu *v, const struct vcpu_state *state)
{
    if (v->refuses)
        return -EINVAL;
    v->state = *state;
    return 0;
}

static void setup(void)
{
    test_sbi_setup();
    memset(&vcpu, 0, sizeof(vcpu));
    for (uint64_t i = 1; i < 32; i++)
        vcpu.state.x[i] = 0x1000 + i;
    vcpu.state.hart_id = 2;
    vcpu.state.instret = 5000;
    vcpu.state.cycle_offset = 7;
    vcpu.state.instret_offset = 9;
}

START_TEST(ecall_answers_in_a0_and_a1_and_keeps_the_rest)
{
    vcpu.state.x[17] = SBI_EID_RFENCE;
    vcpu.state.x[16] = 2;
    vcpu.state.x[10] = 0x2;    /* a0: mask */
    vcpu.state.x[11] = 1;      /* a1: base */
    vcpu.state.x[12] = 0x4000; /* a2: start */
    vcpu.state.x[13] = 0x2000; /* a3: size */
    vcpu.state.x[14] = 33;     /* a4: ASID */
    struct vcpu_state before = vcpu.state;

    ck_assert_int_eq(sbi_ecall(test_sbi, &vcpu), VCPU_ACTION_RESUME);
    ck_assert_uint_eq(fake.hart, 2);
    ck_assert_uint_eq(fake.mask, 0x4);
    ck_assert_uint_eq(fake.fence.start_gva, 0x4000);
    ck_assert_uint_eq(fake.fence.size_bytes, 0x2000);
    ck_assert_uint_eq(fake.fence.asid, 33);
    before.x[10] = 0;
    before.x[11] = 0;
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
}
END_TEST

START_TEST(ecall_gives_errors_as_negative_numbers)
{
    vcpu.state.x[17] = 0x1234;
    ck_assert_int_eq(sbi_ecall(test_sbi, &vcpu), VCPU_ACTION_RESUME);
    ck_assert_uint_eq(vcpu.state.x[10], (uint64_t)-2);
    ck_assert_uint_eq(vcpu.state.x[11], 0);
}
END_TEST

START_TEST(ecall_passes_stop_on)
{
    vcpu.state.x[17] = SBI_EID_HSM;
    vcpu.state.x[16] = 1;
    ck_assert_int_eq(sbi_ecall(test_sbi, &vcpu), VCPU_ACTION_STOP);
}
END_TEST

START_TEST(counter_control_sets_inhibit_and_offset_of_one_counter)
{
    uint64_t value = 100;

    vcpu.state.mcountinhibit = 0x5;
    sbi_vcpu_counter_control(&vcpu, 0xc02, true, &value);
    ck_assert_uint_eq(vcpu.state.mcountinhibit, 0x1);
    ck_assert_uint_eq(vcpu.state.instret + vcpu.state.instret_offset, 100);
    ck_assert_uint_eq(vcpu.state.cycle_offset, 7);
    sbi_vcpu_counter_control(&vcpu, 0xc00, true, &value);
    ck_assert_uint_eq(vcpu.state.mcountinhibit, 0);
    ck_assert_uint_eq(vcpu.state.instret + vcpu.state.cycle_offset, 100);
    sbi_vcpu_counter_control(&vcpu, 0xc00, false, NULL);
    ck_assert_uint_eq(vcpu.state.mcountinhibit, 0x1);
    ck_assert_uint_eq(vcpu.state.instret + vcpu.state.cycle_offset, 100);
    sbi_vcpu_counter_control(&vcpu, 0xc02, false, NULL);
    ck_assert_uint_eq(vcpu.state.mcountinhibit, 0x5);
}
END_TEST

START_TEST(programmable_counters_have_an_event_and_may_overflow_again)
{
    uint64_t value = 100;

    sbi_vcpu_counter_event(&vcpu, 0xc04, 1ull << 63 | 5);
    ck_assert_uint_eq(vcpu.state.mhpmevent[4], 1ull << 63 | 5);
    sbi_vcpu_counter_control(&vcpu, 0xc04, false, NULL);
    ck_assert_uint_eq(vcpu.state.mcountinhibit, 0x10);
    ck_assert_uint_eq(vcpu.state.mhpmevent[4], 1ull << 63 | 5);
    sbi_vcpu_counter_control(&vcpu, 0xc04, true, &value);
    ck_assert_uint_eq(vcpu.state.mhpmevent[4], 5);
    ck_assert_uint_eq(vcpu.state.mhpmcounter[4], 100);
    ck_assert_uint_eq(vcpu.state.mcountinhibit, 0);
    ck_assert_uint_eq(vcpu.state.instret_offset, 9);
}
END_TEST

START_TEST(environment_changes_fields_of_menvcfg_only)
{
    vcpu.state.menvcfg = 0xf0 | 1 << 3;
    vcpu.state.senvcfg = 0xff;
    struct vcpu_state before = vcpu.state;

    ck_assert_uint_eq(sbi_vcpu_environment(&vcpu, 0, UINT64_MAX), 0xf8);
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
    ck_assert_uint_eq(sbi_vcpu_environment(&vcpu, 0x14, 0x0f), 0xf8);
    before.menvcfg = 0xec;
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
    /* senvcfg's SSE goes with menvcfg's. */
    sbi_vcpu_environment(&vcpu, 1 << 3, 0);
    before.menvcfg = 0xe4;
    before.senvcfg = 0xf7;
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
    vcpu.refuses = true;
    sbi_vcpu_environment(&vcpu, UINT64_MAX, 0);
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
}
END_TEST

START_TEST(trigger_is_one_of_the_harts)
{
    const struct sbi_trigger wanted = {.tdata1 = 1, .tdata2 = 2, .tdata3 = 3};

    vcpu.state.tdata2[1] = 77;
    struct vcpu_state before = vcpu.state;
    ck_assert_uint_eq(sbi_vcpu_trigger(&vcpu, 1, NULL).tdata2, 77);
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
    ck_assert_uint_eq(sbi_vcpu_trigger(&vcpu, 2, &wanted).tdata3, 3);
    before.tdata1[2] = 1;
    before.tdata2[2] = 2;
    before.tdata3[2] = 3;
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
    /* What is there, not what was wanted. */
    vcpu.refuses = true;
    ck_assert_uint_eq(sbi_vcpu_trigger(&vcpu, 1, &wanted).tdata2, 77);
}
END_TEST

START_TEST(counter_control_survives_a_refusing_vcpu)
{
    struct vcpu_state before = vcpu.state;

    vcpu.refuses = true;
    sbi_vcpu_counter_control(&vcpu, 0xc02, false, NULL);
    ck_assert_mem_eq(&vcpu.state, &before, sizeof(before));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sbi_vcpu");
    TCase *sbi = tcase_create("vcpu");

    tcase_add_checked_fixture(sbi, setup, test_sbi_teardown);
    tcase_add_test(sbi, ecall_answers_in_a0_and_a1_and_keeps_the_rest);
    tcase_add_test(sbi, ecall_gives_errors_as_negative_numbers);
    tcase_add_test(sbi, ecall_passes_stop_on);
    tcase_add_test(sbi, counter_control_sets_inhibit_and_offset_of_one_counter);
    tcase_add_test(sbi, programmable_counters_have_an_event_and_may_overflow_again);
    tcase_add_test(sbi, environment_changes_fields_of_menvcfg_only);
    tcase_add_test(sbi, trigger_is_one_of_the_harts);
    tcase_add_test(sbi, counter_control_survives_a_refusing_vcpu);
    suite_add_tcase(suite, sbi);
    return run_suite(suite);
}
