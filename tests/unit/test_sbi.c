/* The SBI as the specification 3.0 has it: every function's answers and errors, and what the machine is asked for. The
 * PMU is in test_sbi_pmu.c, FWFT and STA in test_sbi_features.c. */
#include "test_sbi.h"

static const uint64_t all_extensions[] = {SBI_EID_BASE, SBI_EID_TIME, SBI_EID_IPI,  SBI_EID_RFENCE,
                                          SBI_EID_HSM,  SBI_EID_SRST, SBI_EID_DBCN, SBI_EID_PMU,
                                          SBI_EID_SUSP, SBI_EID_STA,  SBI_EID_FWFT};

START_TEST(base_tells_versions)
{
    ck_assert_int_eq(call(0, SBI_EID_BASE, 0, 0), VCPU_ACTION_RESUME);
    expect_ret(SBI_SUCCESS, 0x03000000);
    call(0, SBI_EID_BASE, 1, 0);
    expect_ret(SBI_SUCCESS, SBI_IMPL_ID);
    call(0, SBI_EID_BASE, 2, 0);
    expect_ret(SBI_SUCCESS, SBI_IMPL_VERSION);
    for (uint64_t fid = 4; fid <= 6; fid++) {
        call(0, SBI_EID_BASE, fid, 0);
        expect_ret(SBI_SUCCESS, 0);
    }
}
END_TEST

START_TEST(base_probes_what_is_offered_and_nothing_else)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(all_extensions); i++) {
        call(0, SBI_EID_BASE, 3, all_extensions[i]);
        expect_ret(SBI_SUCCESS, 1);
        call(0, SBI_EID_BASE, 3, all_extensions[i] | 1ull << 40);
        expect_ret(SBI_SUCCESS, 0);
    }
    for (uint64_t legacy = 0; legacy <= 0xf; legacy++) {
        call(0, SBI_EID_BASE, 3, legacy);
        expect_ret(SBI_SUCCESS, 0);
    }
    call(0, SBI_EID_BASE, 3, 0x535345); /* SSE */
    expect_ret(SBI_SUCCESS, 0);
}
END_TEST

START_TEST(unknown_extensions_and_functions_are_not_supported)
{
    static const uint64_t past_the_last[] = {7, 1, 1, 3, 4, 1, 3, 9, 1, 1, 2};

    for (uint64_t legacy = 0; legacy <= 8; legacy++) {
        ck_assert_int_eq(call(0, legacy, 0, 'x'), VCPU_ACTION_RESUME);
        expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    }
    call(0, UINT64_MAX, 0, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(all_extensions); i++) {
        ck_assert_int_eq(call(0, all_extensions[i], past_the_last[i], 0), VCPU_ACTION_RESUME);
        expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
        call(0, all_extensions[i], 1ull << 32, 0);
        expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    }
    ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

START_TEST(timer_is_set_for_the_caller)
{
    call(3, SBI_EID_TIME, 0, 0x123456789abcdef0);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.hart, 3);
    ck_assert_uint_eq(fake.deadline, 0x123456789abcdef0);
}
END_TEST

START_TEST(ipi_goes_to_the_harts_of_the_mask)
{
    call(0, SBI_EID_IPI, 0, 0x5, 0);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.mask, 0x5);
    call(0, SBI_EID_IPI, 0, 0x3, 2);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.mask, 0xc);
    call(0, SBI_EID_IPI, 0, 0x8000000000000000, UINT64_MAX); /* the mask is ignored */
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.mask, 0xf);
}
END_TEST

START_TEST(ipi_to_no_hart_is_no_call)
{
    call(0, SBI_EID_IPI, 0, 0, 1);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

START_TEST(ipi_skips_stopped_harts)
{
    fake.states[1] = SBI_HSM_STOPPED;
    fake.states[2] = SBI_HSM_SUSPENDED;
    fake.states[3] = SBI_HSM_STOP_PENDING;
    call(0, SBI_EID_IPI, 0, 0, UINT64_MAX);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.mask, 0x5);
}
END_TEST

/* Masks and bases that name a hart that is not there, for IPIs and all fences. */
START_TEST(hart_masks_are_checked)
{
    static const struct {
        uint64_t mask, base;
    } bad[] = {{0x10, 0},      {0x1f, 0},       {1, 4},          {0, 4},    {0x8, 1},
               {1, 64},        {1ull << 63, 1}, {UINT64_MAX, 0}, {1, 1000}, {1, UINT64_MAX - 1},
               {1ull << 63, 0}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        call(0, SBI_EID_IPI, 0, bad[i].mask, bad[i].base);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
        for (uint64_t fid = 0; fid <= 2; fid++) {
            call(0, SBI_EID_RFENCE, fid, bad[i].mask, bad[i].base, 0, UINT64_MAX, 0);
            expect_ret(SBI_ERR_INVALID_PARAM, 0);
        }
    }
    ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

START_TEST(hart_masks_reach_64_harts)
{
    test_sbi_create(64);
    call(0, SBI_EID_IPI, 0, 0, UINT64_MAX);
    ck_assert_uint_eq(fake.mask, UINT64_MAX);
    call(0, SBI_EID_IPI, 0, 1, 63);
    ck_assert_uint_eq(fake.mask, 1ull << 63);
    call(0, SBI_EID_IPI, 0, 2, 63);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    test_sbi_create(1);
    call(0, SBI_EID_IPI, 0, 0, UINT64_MAX);
    ck_assert_uint_eq(fake.mask, 1);
}
END_TEST

START_TEST(fence_i_is_sent)
{
    call(1, SBI_EID_RFENCE, 0, 0xd, 0, 0x1234, 0x5678);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.hart, 1);
    ck_assert_uint_eq(fake.mask, 0xd);
    ck_assert_int_eq(fake.fence.kind, VCPU_FENCE_I);
}
END_TEST

START_TEST(fence_vma_passes_range_and_asid)
{
    call(1, SBI_EID_RFENCE, 1, 0x4, 0, 0xffffffc000001000, 0x3000, 77);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.mask, 0x4);
    ck_assert_int_eq(fake.fence.kind, VCPU_FENCE_VMA);
    ck_assert_uint_eq(fake.fence.start_gva, 0xffffffc000001000);
    ck_assert_uint_eq(fake.fence.size_bytes, 0x3000);
    ck_assert(!fake.fence.has_asid);
    call(1, SBI_EID_RFENCE, 2, 0, UINT64_MAX, 0x1000, 0x1000, 77);
    ck_assert_uint_eq(fake.mask, 0xf);
    ck_assert(fake.fence.has_asid);
    ck_assert_uint_eq(fake.fence.asid, 77);
}
END_TEST

START_TEST(fence_vma_knows_the_whole_address_space)
{
    static const struct {
        uint64_t start, size;
    } whole[] = {{0, 0}, {0, UINT64_MAX}, {0x1000, UINT64_MAX}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(whole); i++) {
        memset(&fake.fence, 0, sizeof(fake.fence));
        call(1, SBI_EID_RFENCE, 1, 1, 0, whole[i].start, whole[i].size);
        expect_ret(SBI_SUCCESS, 0);
        ck_assert_uint_eq(fake.fence.size_bytes, UINT64_MAX);
        ck_assert_uint_eq(fake.fence.start_gva, 0);
    }
}
END_TEST

START_TEST(fence_vma_range_may_end_at_the_top_and_not_wrap)
{
    call(1, SBI_EID_RFENCE, 1, 1, 0, 0xfffffffffffff000, 0x1000);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.calls, 1);
    call(1, SBI_EID_RFENCE, 1, 1, 0, 0xfffffffffffff000, 0x1001);
    expect_ret(SBI_ERR_INVALID_ADDRESS, 0);
    call(1, SBI_EID_RFENCE, 2, 1, 0, UINT64_MAX, UINT64_MAX - 1, 5);
    expect_ret(SBI_ERR_INVALID_ADDRESS, 0);
    call(1, SBI_EID_RFENCE, 1, 1, 0, 0x1000, 0); /* empty */
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.calls, 1);
}
END_TEST

START_TEST(fences_of_the_hypervisor_are_not_supported)
{
    for (uint64_t fid = 3; fid <= 7; fid++) {
        call(0, SBI_EID_RFENCE, fid, 1, 0, 0, 0, 0);
        expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    }
    ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

START_TEST(hart_start_passes_address_and_argument)
{
    ck_assert_int_eq(call(0, SBI_EID_HSM, 0, 2, TEST_RAM_GPA + 0x200000, 0xabcdef), VCPU_ACTION_RESUME);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.hart, 2);
    ck_assert_uint_eq(fake.address, TEST_RAM_GPA + 0x200000);
    ck_assert_uint_eq(fake.arg, 0xabcdef);
}
END_TEST

START_TEST(hart_start_errors)
{
    call(0, SBI_EID_HSM, 0, TEST_HARTS, TEST_RAM_GPA, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    call(0, SBI_EID_HSM, 0, 1ull << 32, TEST_RAM_GPA, 0);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    static const uint64_t bad[] = {0,          TEST_RAM_GPA - 2, TEST_RAM_GPA + TEST_RAM_BYTES, TEST_RAM_GPA + 1,
                                   0x10000000, UINT64_MAX - 1};
    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        call(0, SBI_EID_HSM, 0, 1, bad[i], 0);
        expect_ret(SBI_ERR_INVALID_ADDRESS, 0);
    }
    ck_assert_uint_eq(fake.calls, 0);
    call(0, SBI_EID_HSM, 0, 1, TEST_RAM_GPA + TEST_RAM_BYTES - 2, 0);
    expect_ret(SBI_SUCCESS, 0);
    fake.result = -EALREADY;
    call(0, SBI_EID_HSM, 0, 1, TEST_RAM_GPA, 0);
    expect_ret(SBI_ERR_ALREADY_AVAILABLE, 0);
    fake.result = -ENOMEM;
    call(0, SBI_EID_HSM, 0, 1, TEST_RAM_GPA, 0);
    expect_ret(SBI_ERR_FAILED, 0);
}
END_TEST

START_TEST(hart_stop_leaves_the_guest)
{
    ck_assert_int_eq(call(2, SBI_EID_HSM, 1, 0), VCPU_ACTION_STOP);
    ck_assert_uint_eq(fake.hart, 2);
    fake.result = -EIO;
    ck_assert_int_eq(call(2, SBI_EID_HSM, 1, 0), VCPU_ACTION_RESUME);
    expect_ret(SBI_ERR_FAILED, 0);
}
END_TEST

START_TEST(hart_status_is_the_machines)
{
    for (uint32_t state = SBI_HSM_STARTED; state <= SBI_HSM_RESUME_PENDING; state++) {
        fake.states[3] = (enum sbi_hsm_state)state;
        call(0, SBI_EID_HSM, 2, 3);
        expect_ret(SBI_SUCCESS, state);
    }
    call(0, SBI_EID_HSM, 2, TEST_HARTS);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
    call(0, SBI_EID_HSM, 2, UINT64_MAX);
    expect_ret(SBI_ERR_INVALID_PARAM, 0);
}
END_TEST

START_TEST(hart_suspend_retentive_ignores_the_address)
{
    ck_assert_int_eq(call(1, SBI_EID_HSM, 3, 0, 0x33, 0x44), VCPU_ACTION_STOP);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert(fake.retentive);
    ck_assert_uint_eq(fake.hart, 1);
}
END_TEST

START_TEST(hart_suspend_non_retentive_wants_an_address)
{
    ck_assert_int_eq(call(1, SBI_EID_HSM, 3, 0x80000000, 0x33, 0x44), VCPU_ACTION_RESUME);
    expect_ret(SBI_ERR_INVALID_ADDRESS, 0);
    ck_assert_uint_eq(fake.calls, 0);
    /* The type is 32 bits wide: sign extension is no part of it. */
    ck_assert_int_eq(call(1, SBI_EID_HSM, 3, 0xffffffff80000000, TEST_RAM_GPA, 0x44), VCPU_ACTION_STOP);
    ck_assert(!fake.retentive);
    ck_assert_uint_eq(fake.address, TEST_RAM_GPA);
    ck_assert_uint_eq(fake.arg, 0x44);
    fake.result = -EIO;
    ck_assert_int_eq(call(1, SBI_EID_HSM, 3, 0, 0, 0), VCPU_ACTION_RESUME);
    expect_ret(SBI_ERR_FAILED, 0);
}
END_TEST

START_TEST(hart_suspend_types_are_checked)
{
    static const uint32_t bad[] = {1, 0x0fffffff, 0x10000000, 0x7fffffff, 0x80000001, 0x90000000, 0xffffffff};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(call(1, SBI_EID_HSM, 3, bad[i], TEST_RAM_GPA, 0), VCPU_ACTION_RESUME);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
    }
    ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

START_TEST(system_suspend_wants_the_others_stopped)
{
    static const enum sbi_hsm_state awake[] = {SBI_HSM_STARTED,   SBI_HSM_START_PENDING,   SBI_HSM_STOP_PENDING,
                                               SBI_HSM_SUSPENDED, SBI_HSM_SUSPEND_PENDING, SBI_HSM_RESUME_PENDING};

    for (uint32_t hart = 0; hart < TEST_HARTS; hart++)
        fake.states[hart] = hart == 1 ? SBI_HSM_STARTED : SBI_HSM_STOPPED;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(awake); i++) {
        fake.states[3] = awake[i];
        ck_assert_int_eq(call(1, SBI_EID_SUSP, 0, 0, TEST_RAM_GPA, 0x44), VCPU_ACTION_RESUME);
        expect_ret(SBI_ERR_DENIED, 0);
    }
    ck_assert_uint_eq(fake.calls, 0);
    fake.states[3] = SBI_HSM_STOPPED;
    ck_assert_int_eq(call(1, SBI_EID_SUSP, 0, 0, TEST_RAM_GPA + 2, 0x44), VCPU_ACTION_STOP);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_uint_eq(fake.hart, 1);
    ck_assert(!fake.retentive);
    ck_assert_uint_eq(fake.address, TEST_RAM_GPA + 2);
    ck_assert_uint_eq(fake.arg, 0x44);
    fake.result = -EIO;
    ck_assert_int_eq(call(1, SBI_EID_SUSP, 0, 0, TEST_RAM_GPA, 0x44), VCPU_ACTION_RESUME);
    expect_ret(SBI_ERR_FAILED, 0);
}
END_TEST

START_TEST(system_suspend_parameters_are_checked)
{
    static const uint32_t bad[] = {1, 0x7fffffff, 0x80000000, 0xffffffff};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        call(0, SBI_EID_SUSP, 0, bad[i], TEST_RAM_GPA, 0);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
    }
    call(0, SBI_EID_SUSP, 0, 0, TEST_RAM_GPA + 1, 0);
    expect_ret(SBI_ERR_INVALID_ADDRESS, 0);
    call(0, SBI_EID_SUSP, 0, 0, 0x1000, 0);
    expect_ret(SBI_ERR_INVALID_ADDRESS, 0);
    call(0, SBI_EID_SUSP, 1, 0, TEST_RAM_GPA, 0);
    expect_ret(SBI_ERR_NOT_SUPPORTED, 0);
    ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

START_TEST(system_reset_types_and_reasons)
{
    for (uint64_t type = SBI_RESET_SHUTDOWN; type <= SBI_RESET_WARM_REBOOT; type++)
        for (uint64_t reason = 0; reason <= 1; reason++) {
            ck_assert_int_eq(call(0, SBI_EID_SRST, 0, type, reason), VCPU_ACTION_STOP);
            ck_assert_int_eq(fake.reset, (enum sbi_reset_type)type);
            ck_assert_int_eq(fake.failure, reason == 1);
        }
    uint32_t calls = fake.calls;
    static const uint64_t bad[][2] = {{3, 0}, {0xf0000000, 0}, {0xffffffff, 0},
                                      {0, 2}, {0, 0xe0000000}, {1, 0xf0000000}};
    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(call(0, SBI_EID_SRST, 0, bad[i][0], bad[i][1]), VCPU_ACTION_RESUME);
        expect_ret(SBI_ERR_INVALID_PARAM, 0);
    }
    ck_assert_uint_eq(fake.calls, calls);
    fake.result = -EIO;
    ck_assert_int_eq(call(0, SBI_EID_SRST, 0, 0, 0), VCPU_ACTION_RESUME);
    expect_ret(SBI_ERR_FAILED, 0);
}
END_TEST

START_TEST(console_write_takes_guest_memory)
{
    ck_assert_int_eq(mem_write(test_mem, TEST_RAM_GPA + 100, "hello", 5), 0);
    call(0, SBI_EID_DBCN, 0, 5, TEST_RAM_GPA + 100, 0);
    expect_ret(SBI_SUCCESS, 5);
    ck_assert_mem_eq(fake.written, "hello", 5);
    fake.write_room = 2;
    call(0, SBI_EID_DBCN, 0, 5, TEST_RAM_GPA + 100, 0);
    expect_ret(SBI_SUCCESS, 2);
}
END_TEST

START_TEST(console_write_is_bounded)
{
    call(0, SBI_EID_DBCN, 0, TEST_RAM_BYTES, TEST_RAM_GPA, 0);
    ck_assert_int_eq(test_ret.error, SBI_SUCCESS);
    ck_assert_uint_eq(test_ret.value, 64 << 10);
}
END_TEST

START_TEST(console_memory_is_checked)
{
    static const uint64_t bad[][3] = {{1, TEST_RAM_GPA - 1, 0},
                                      {1, TEST_RAM_GPA + TEST_RAM_BYTES, 0},
                                      {2, TEST_RAM_GPA + TEST_RAM_BYTES - 1, 0},
                                      {TEST_RAM_BYTES + 1, TEST_RAM_GPA, 0},
                                      {UINT64_MAX, TEST_RAM_GPA, 0},
                                      {UINT64_MAX, TEST_RAM_GPA + 1, 0},
                                      {1, TEST_RAM_GPA, 1},
                                      {1, 0x10000000, 0}};

    fake.input = "abc";
    for (size_t i = 0; i < TUFF_ARRAY_LEN(bad); i++)
        for (uint64_t fid = 0; fid <= 1; fid++) {
            call(0, SBI_EID_DBCN, fid, bad[i][0], bad[i][1], bad[i][2]);
            expect_ret(SBI_ERR_INVALID_PARAM, 0);
        }
    ck_assert_uint_eq(fake.calls, 0);
    call(0, SBI_EID_DBCN, 0, 0, 0, 0);
    expect_ret(SBI_SUCCESS, 0);
    call(0, SBI_EID_DBCN, 1, 0, 0, 0);
    expect_ret(SBI_SUCCESS, 0);
}
END_TEST

START_TEST(console_read_fills_guest_memory)
{
    char got[8] = "", end;
    uint64_t last = TEST_RAM_GPA + TEST_RAM_BYTES - 1;

    fake.input = "keys!";
    call(0, SBI_EID_DBCN, 1, 3, TEST_RAM_GPA + 8, 0);
    expect_ret(SBI_SUCCESS, 3);
    ck_assert_int_eq(mem_read(test_mem, TEST_RAM_GPA + 8, got, 4), 0);
    ck_assert_mem_eq(got, "key\0", 4);
    call(0, SBI_EID_DBCN, 1, TEST_RAM_BYTES, TEST_RAM_GPA, 0);
    expect_ret(SBI_SUCCESS, 2);
    call(0, SBI_EID_DBCN, 1, 100, TEST_RAM_GPA, 0);
    expect_ret(SBI_SUCCESS, 0);
    fake.input = "z";
    call(0, SBI_EID_DBCN, 1, 1, last, 0);
    expect_ret(SBI_SUCCESS, 1);
    ck_assert_int_eq(mem_read(test_mem, last, &end, 1), 0);
    ck_assert_int_eq(end, 'z');
}
END_TEST

START_TEST(console_byte_is_written_or_failed)
{
    call(0, SBI_EID_DBCN, 2, 0xffffff41);
    expect_ret(SBI_SUCCESS, 0);
    ck_assert_mem_eq(fake.written, "A", 1);
    fake.write_room = 0;
    call(0, SBI_EID_DBCN, 2, 'B');
    expect_ret(SBI_ERR_FAILED, 0);
}
END_TEST

START_TEST(hart_count_is_checked)
{
    struct sbi_config config = {.mem = test_mem, .ops = &fake_ops};
    struct sbi *none;

    ck_assert_int_eq(sbi_create(&config, &none), -EINVAL);
    config.hart_count = SBI_HARTS_MAX + 1;
    ck_assert_int_eq(sbi_create(&config, &none), -EINVAL);
}
END_TEST

/* Random calls with plausible and absurd arguments: no crash (the sanitizer presets look), every answer is one the
 * specification has. */
START_TEST(random_calls_are_answered)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      15,
                                      18,
                                      19,
                                      63,
                                      64,
                                      0xf0005,
                                      0x80000000,
                                      TEST_RAM_GPA,
                                      TEST_RAM_GPA + TEST_RAM_BYTES - 1,
                                      1ull << 63,
                                      UINT64_MAX - 1,
                                      UINT64_MAX};
    uint64_t seed = 1;

    fake.write_room = 0;
    for (int i = 0; i < 200000; i++) {
        uint64_t a[8];
        for (int k = 0; k < 8; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            a[k] = values[(seed >> 33) % TUFF_ARRAY_LEN(values)];
        }
        a[6] = (seed >> 20) % 9;
        a[7] = all_extensions[(seed >> 40) % TUFF_ARRAY_LEN(all_extensions)];
        sbi_handle(test_sbi, (uint32_t)(seed >> 50) % TEST_HARTS, a, &test_ret);
        ck_assert(test_ret.error <= 0 && test_ret.error >= SBI_ERR_DENIED_LOCKED);
        ck_assert(test_ret.error == 0 || test_ret.value == 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sbi");
    TCase *sbi = tcase_create("sbi");

    tcase_add_checked_fixture(sbi, test_sbi_setup, test_sbi_teardown);
    tcase_add_test(sbi, base_tells_versions);
    tcase_add_test(sbi, base_probes_what_is_offered_and_nothing_else);
    tcase_add_test(sbi, unknown_extensions_and_functions_are_not_supported);
    tcase_add_test(sbi, timer_is_set_for_the_caller);
    tcase_add_test(sbi, ipi_goes_to_the_harts_of_the_mask);
    tcase_add_test(sbi, ipi_to_no_hart_is_no_call);
    tcase_add_test(sbi, ipi_skips_stopped_harts);
    tcase_add_test(sbi, hart_masks_are_checked);
    tcase_add_test(sbi, hart_masks_reach_64_harts);
    tcase_add_test(sbi, fence_i_is_sent);
    tcase_add_test(sbi, fence_vma_passes_range_and_asid);
    tcase_add_test(sbi, fence_vma_knows_the_whole_address_space);
    tcase_add_test(sbi, fence_vma_range_may_end_at_the_top_and_not_wrap);
    tcase_add_test(sbi, fences_of_the_hypervisor_are_not_supported);
    tcase_add_test(sbi, hart_start_passes_address_and_argument);
    tcase_add_test(sbi, hart_start_errors);
    tcase_add_test(sbi, hart_stop_leaves_the_guest);
    tcase_add_test(sbi, hart_status_is_the_machines);
    tcase_add_test(sbi, hart_suspend_retentive_ignores_the_address);
    tcase_add_test(sbi, hart_suspend_non_retentive_wants_an_address);
    tcase_add_test(sbi, hart_suspend_types_are_checked);
    tcase_add_test(sbi, system_suspend_wants_the_others_stopped);
    tcase_add_test(sbi, system_suspend_parameters_are_checked);
    tcase_add_test(sbi, system_reset_types_and_reasons);
    tcase_add_test(sbi, console_write_takes_guest_memory);
    tcase_add_test(sbi, console_write_is_bounded);
    tcase_add_test(sbi, console_memory_is_checked);
    tcase_add_test(sbi, console_read_fills_guest_memory);
    tcase_add_test(sbi, console_byte_is_written_or_failed);
    tcase_add_test(sbi, hart_count_is_checked);
    tcase_add_test(sbi, random_calls_are_answered);
    suite_add_tcase(suite, sbi);
    return run_suite(suite);
}
