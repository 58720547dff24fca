/* The parsers of option values and the escape key, byte by byte, without starting anything. */
#include "cli/escape.h"
#include "cli/values.h"
#include "run_suite.h"

#include "engine/isa/riscv/isa.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

START_TEST(number_takes_plain_decimals_in_range)
{
    uint64_t value = 0;

    ck_assert_int_eq(values_number("18446744073709551615", 0, UINT64_MAX, &value), 0);
    ck_assert_uint_eq(value, UINT64_MAX);
    ck_assert_int_eq(values_number("010", 0, 99, &value), 0);
    ck_assert_uint_eq(value, 10);
    ck_assert_int_eq(values_number("5", 5, 5, &value), 0);
    ck_assert_uint_eq(value, 5);
}
END_TEST

START_TEST(number_refuses_all_else_and_leaves_the_result)
{
    static const char *const wrong[] = {"", " 1", "1 ", "+1", "-1", "0x10", "1e3", "1.0", "one", "1\n", "1,2"};
    uint64_t value = 77;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++)
        ck_assert_msg(values_number(wrong[i], 0, UINT64_MAX, &value) == -EINVAL, "'%s'", wrong[i]);
    ck_assert_int_eq(values_number("18446744073709551616", 0, UINT64_MAX, &value), -ERANGE);
    ck_assert_int_eq(values_number("99999999999999999999999", 0, UINT64_MAX, &value), -ERANGE);
    ck_assert_int_eq(values_number("4", 5, 9, &value), -ERANGE);
    ck_assert_int_eq(values_number("10", 5, 9, &value), -ERANGE);
    ck_assert_uint_eq(value, 77);
}
END_TEST

START_TEST(address_takes_decimal_and_0x)
{
    uint64_t value = 77;

    ck_assert_int_eq(values_address("0x80000000", &value), 0);
    ck_assert_uint_eq(value, 0x80000000);
    ck_assert_int_eq(values_address("0XfFfFfFfFfFfFfFfF", &value), 0);
    ck_assert_uint_eq(value, UINT64_MAX);
    ck_assert_int_eq(values_address("4096", &value), 0);
    ck_assert_uint_eq(value, 4096);
    ck_assert_int_eq(values_address("0x", &value), -EINVAL);
    ck_assert_int_eq(values_address("80g", &value), -EINVAL);
    ck_assert_int_eq(values_address("ff", &value), -EINVAL);
    ck_assert_int_eq(values_address("0x10000000000000000", &value), -ERANGE);
    ck_assert_uint_eq(value, 4096);
}
END_TEST

START_TEST(size_takes_units_of_1024)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } right[] = {{"1", 1},           {"3k", 3072},         {"512M", 512ull << 20},
                 {"2g", 2ull << 30}, {"16T", 16ull << 40}, {"16777215T", 16777215ull << 40},
                 {"1K", 1024},       {"1048576", 1048576}, {"18446744073709551615", UINT64_MAX}};
    uint64_t value;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(right); i++) {
        ck_assert_msg(values_size(right[i].text, &value) == 0, "'%s'", right[i].text);
        ck_assert_uint_eq(value, right[i].bytes);
    }
}
END_TEST

START_TEST(size_refuses_nothing_overflow_and_other_units)
{
    static const char *const wrong[] = {"",   "0",   "0G",  "M",   "-1M", "1.5G",      "1MB",
                                        "1P", "1 M", "0x1", "1KK", "1M ", "16777216T", "18446744073709551616"};
    uint64_t value = 77;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++)
        ck_assert_msg(values_size(wrong[i], &value) < 0, "'%s'", wrong[i]);
    ck_assert_uint_eq(value, 77);
}
END_TEST

START_TEST(isa_adds_and_takes_away_in_order)
{
    struct error err;
    isa_set isa;

    ck_assert_int_eq(values_isa("all", &isa, &err), 0);
    ck_assert(isa == ISA_COMPATIBLE);
    ck_assert_int_eq(values_isa("-zba,-c,-zcb,-zcmop", &isa, &err), 0);
    ck_assert(isa == (ISA_DEFAULT & ~(ISA_EXT(ZBA) | ISA_EXT(C) | ISA_EXT(ZCB) | ISA_EXT(ZCMOP))));
    ck_assert_int_eq(values_isa("-zba,+zba", &isa, &err), 0);
    ck_assert(isa == ISA_DEFAULT);
    ck_assert_int_eq(values_isa("sv48", &isa, &err), 0);
    ck_assert(isa == (ISA_DEFAULT | ISA_EXT(SV48)));
    ck_assert_int_eq(values_isa("-d", &isa, &err), 0);
    ck_assert_int_eq(values_isa("-zkn,-zks,-zbkc,-zknd", &isa, &err), 0);
    ck_assert_int_eq(values_isa("-d,-f,-zfa,-zfbfmin,-zfh,-zfhmin", &isa, &err), 0);
    ck_assert_int_eq(values_isa("-all,i", &isa, &err), 0);
    ck_assert(isa == ISA_EXT(I));
}
END_TEST

START_TEST(isa_refuses_unknown_names_and_missing_foundations)
{
    static const char *const wrong[] = {"",
                                        ",",
                                        "zba,",
                                        "q",
                                        "-",
                                        "-i",
                                        "-f",
                                        "-zicsr",
                                        "-all",
                                        "-zbkx",
                                        "-zksed",
                                        "-zknh,-zks",
                                        "-c",
                                        "ZBA",
                                        "all-",
                                        "-zba -zbb",
                                        "-d,-f",
                                        "-d,-f,-zfa",
                                        "-all,i,zfhmin",
                                        "-zfhmin",
                                        "-zfh,-zfhmin",
                                        "-a",
                                        "sv57",
                                        "zkt",
                                        "-zihpm",
                                        "-ssstateen",
                                        "zba--zbb"};
    struct error err;
    isa_set isa = 77;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++)
        ck_assert_msg(values_isa(wrong[i], &isa, &err) == -EINVAL, "'%s'", wrong[i]);
    ck_assert(isa == 77);
}
END_TEST

#define ISA_G (ISA_EXT(I) | ISA_EXT(M) | ISA_EXT(A) | ISA_EXT(F) | ISA_EXT(D) | ISA_EXT(ZICSR) | ISA_EXT(ZIFENCEI))

START_TEST(isa_strings_mean_what_they_name_and_what_that_needs)
{
    static const struct {
        const char *text;
        isa_set isa;
    } right[] = {
        {"rv64i", ISA_EXT(I)},
        {"rv64gc", ISA_G | ISA_EXT(C)},
        {"rv64imac", ISA_EXT(I) | ISA_EXT(M) | ISA_EXT(A) | ISA_EXT(C)},
        {"rv64imafdc_zicsr_zba", (ISA_G & ~ISA_EXT(ZIFENCEI)) | ISA_EXT(C) | ISA_EXT(ZBA)},
        {"rv64id", ISA_EXT(I) | ISA_EXT(D) | ISA_EXT(F) | ISA_EXT(ZICSR)},
        {"rv64i2p1_m2p0_zba1p0_zbb", ISA_EXT(I) | ISA_EXT(M) | ISA_EXT(ZBA) | ISA_EXT(ZBB)},
        {"rv64izicsr_zihintpause_zihpm", ISA_EXT(I) | ISA_EXT(ZICSR) | ISA_EXT(ZIHINTPAUSE) | ISA_EXT(ZIHPM)},
        {"rv64i_zfh", ISA_EXT(I) | ISA_EXT(ZFH) | ISA_EXT(ZFHMIN) | ISA_EXT(F) | ISA_EXT(ZICSR)},
        {"rv64i_sv57_svinval", ISA_EXT(I) | ISA_EXT(SV48) | ISA_EXT(SV57) | ISA_EXT(SVINVAL)},
        {"rv64i_sv39_svade", ISA_EXT(I)},
        {"rv64i_zacas", ISA_EXT(I) | ISA_EXT(A) | ISA_EXT(ZACAS)},
        {"rv64ib", ISA_EXT(I) | ISA_EXT(ZBA) | ISA_EXT(ZBB) | ISA_EXT(ZBS)},
        {"rv64gc-d", (ISA_G | ISA_EXT(C)) & ~ISA_EXT(D)},
        {"rv64gc,-d,-f", (ISA_G | ISA_EXT(C)) & ~(ISA_EXT(D) | ISA_EXT(F))},
        {"rv64i+m,zba-m", ISA_EXT(I) | ISA_EXT(ZBA)},
    };
    struct error err;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(right); i++) {
        isa_set isa = 0;
        ck_assert_msg(values_isa(right[i].text, &isa, &err) == 0, "'%s'", right[i].text);
        ck_assert_msg(isa == right[i].isa, "'%s': %llx", right[i].text, (unsigned long long)isa);
    }
}
END_TEST

START_TEST(isa_strings_that_are_not_this_machines_are_refused)
{
    static const char *const wrong[] = {"rv",          "rv64",     "rv32i",     "rv64m",      "rv128i",
                                        "rv64i_",      "rv64i__m", "rv64iq",    "rv64i_q",    "rv64gc,",
                                        "rv64i_znone", "rv64gc-f", "rv64gc-",   "rv64i_zba1", "rv64I",
                                        "RV64I",       "rva22u64", "rva22s64x", "rv64i+rv64i"};
    struct error err;
    isa_set isa = 77;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(wrong); i++)
        ck_assert_msg(values_isa(wrong[i], &isa, &err) == -EINVAL, "'%s'", wrong[i]);
    ck_assert(isa == 77);
}
END_TEST

START_TEST(isa_profiles_are_their_mandatory_extensions_or_say_what_is_missing)
{
    const isa_set rva20 = ISA_G | ISA_EXT(C) | ISA_EXT(ZICNTR) | ISA_EXT(ZICCRSE);
    const isa_set rva22 = rva20 | ISA_EXT(ZA64RS) | ISA_EXT(ZIHINTPAUSE) | ISA_EXT(ZIHPM) | ISA_EXT(ZBA) |
                          ISA_EXT(ZBB) | ISA_EXT(ZBS) | ISA_EXT(ZIC64B) | ISA_EXT(ZICBOM) | ISA_EXT(ZICBOP) |
                          ISA_EXT(ZICBOZ) | ISA_EXT(ZFHMIN) | ISA_EXT(SVPBMT) | ISA_EXT(SVINVAL);
    struct error err;
    isa_set isa;

    ck_assert_int_eq(values_isa("rva20s64", &isa, &err), 0);
    ck_assert(isa == rva20);
    ck_assert_int_eq(values_isa("rva20s64+zba,-c", &isa, &err), 0);
    ck_assert(isa == ((rva20 | ISA_EXT(ZBA)) & ~ISA_EXT(C)));
    ck_assert_int_eq(values_isa("rva22s64", &isa, &err), 0);
    ck_assert(isa == rva22);
    ck_assert_int_eq(values_isa("rva22s64,sv48", &isa, &err), 0);
    ck_assert(isa == (rva22 | ISA_EXT(SV48)));
    /* V and H, with what is built on them, are not there: taken without, and said. */
    ck_assert_int_eq(values_isa("rva23s64", &isa, &err), 0);
    ck_assert(isa ==
              (rva22 | ISA_EXT(ZIHINTNTL) | ISA_EXT(ZICOND) | ISA_EXT(ZIMOP) | ISA_EXT(ZCMOP) | ISA_EXT(ZCB) |
               ISA_EXT(ZFA) | ISA_EXT(ZAWRS) | ISA_EXT(SVNAPOT) | ISA_EXT(SSTC) | ISA_EXT(SSCOFPMF) | ISA_EXT(SSNPM)));
    ck_assert_str_eq(values_isa_absent("rva23s64"), " v zvfhmin zvbb sha ");
    ck_assert_str_eq(values_isa_absent("rva23s64,-zba"), " v zvfhmin zvbb sha ");
    ck_assert_ptr_null(values_isa_absent("rva22s64"));
    ck_assert_ptr_null(values_isa_absent("-zba"));
}
END_TEST

/* Feeds all of `typed`; returns the last action, and what the guest gets in `out`. */
static enum escape_action feed(struct escape *escape, const char *typed, char *out)
{
    enum escape_action action = ESCAPE_NONE;
    size_t at = 0;

    for (; *typed; typed++) {
        uint8_t bytes[ESCAPE_MAX_BYTES];
        size_t len;
        action = escape_feed(escape, (uint8_t)*typed, bytes, &len);
        memcpy(out + at, bytes, len);
        at += len;
    }
    out[at] = '\0';
    return action;
}

START_TEST(escape_keys_act_and_are_not_the_guests)
{
    struct escape escape = {0};
    char out[16];

    ck_assert_int_eq(feed(&escape, "ab\001x", out), ESCAPE_LEAVE);
    ck_assert_str_eq(out, "ab");
    ck_assert_int_eq(feed(&escape, "\001h", out), ESCAPE_HELP);
    ck_assert_int_eq(feed(&escape, "\001s", out), ESCAPE_STATS);
    ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(escape_passes_on_what_means_nothing)
{
    struct escape escape = {0};
    char out[16];

    ck_assert_int_eq(feed(&escape, "xhs", out), ESCAPE_NONE);
    ck_assert_str_eq(out, "xhs");
    ck_assert_int_eq(feed(&escape, "\001\001x", out), ESCAPE_NONE);
    ck_assert_str_eq(out, "\001x");
    ck_assert_int_eq(feed(&escape, "\001X\001q", out), ESCAPE_NONE);
    ck_assert_str_eq(out, "\001X\001q");
}
END_TEST

START_TEST(escape_help_names_every_key)
{
    ck_assert_ptr_nonnull(strstr(escape_help_text, "  x "));
    ck_assert_ptr_nonnull(strstr(escape_help_text, "  s "));
    ck_assert_ptr_nonnull(strstr(escape_help_text, "  h "));
    ck_assert_ptr_nonnull(strstr(escape_help_text, "  Ctrl-A "));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_values");
    TCase *values = tcase_create("values");
    TCase *escape = tcase_create("escape");

    tcase_add_test(values, number_takes_plain_decimals_in_range);
    tcase_add_test(values, number_refuses_all_else_and_leaves_the_result);
    tcase_add_test(values, address_takes_decimal_and_0x);
    tcase_add_test(values, size_takes_units_of_1024);
    tcase_add_test(values, size_refuses_nothing_overflow_and_other_units);
    tcase_add_test(values, isa_adds_and_takes_away_in_order);
    tcase_add_test(values, isa_refuses_unknown_names_and_missing_foundations);
    tcase_add_test(values, isa_strings_mean_what_they_name_and_what_that_needs);
    tcase_add_test(values, isa_strings_that_are_not_this_machines_are_refused);
    tcase_add_test(values, isa_profiles_are_their_mandatory_extensions_or_say_what_is_missing);
    tcase_add_test(escape, escape_keys_act_and_are_not_the_guests);
    tcase_add_test(escape, escape_passes_on_what_means_nothing);
    tcase_add_test(escape, escape_help_names_every_key);
    suite_add_tcase(suite, values);
    suite_add_tcase(suite, escape);
    return run_suite(suite);
}
