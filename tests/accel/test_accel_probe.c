/* The probe's reasons, which need no KVM. */
#include "accel/accel.h"
#include "run_suite.h"

#include <errno.h>
#include <string.h>

START_TEST(guest_of_another_instruction_set_is_refused_with_both_names)
{
    struct error err = {""};

#if defined(__x86_64__)
    ck_assert_int_eq(accel_probe(VCPU_GUEST_RISCV64, 1, &err), -ENOTSUP);
    ck_assert_ptr_null(accel_vcpu_ops(VCPU_GUEST_RISCV64));
    ck_assert_ptr_nonnull(accel_vcpu_ops(VCPU_GUEST_X86_64));
    ck_assert_str_eq(err.text, "KVM is not used: the guest is riscv64 and this host x86-64");
#else
    ck_assert_int_eq(accel_probe(VCPU_GUEST_X86_64, 1, &err), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(err.text, "the guest is x86-64"));
#endif
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("accel_probe");
    TCase *tcase = tcase_create("reasons");

    tcase_add_test(tcase, guest_of_another_instruction_set_is_refused_with_both_names);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
