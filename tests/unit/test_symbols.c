/* Names of guest code: which symbol an address belongs to, and text files that are not what they should be. */
#include "base/symbols.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct symbols *symbols;

static void set_up(void)
{
    symbols = symbols_create();
    ck_assert_ptr_nonnull(symbols);
}

static void tear_down(void)
{
    symbols_destroy(symbols);
}

static void expect_label(uint64_t address, const char *expected)
{
    char label[SYMBOLS_LABEL_BYTES];

    ck_assert_str_eq(symbols_label(symbols, address, label), expected);
}

static int add_text(const char *text, struct error *err)
{
    return symbols_add_text(symbols, "maps", text, strlen(text), err);
}

START_TEST(an_address_belongs_to_the_symbol_before_it)
{
    ck_assert_int_eq(symbols_add(symbols, 0x3000, 0, "last"), 0);
    ck_assert_int_eq(symbols_add(symbols, 0x1000, 0, "first"), 0);
    ck_assert_int_eq(symbols_add(symbols, 0x2000, 0x10, "sized"), 0);
    symbols_sort(symbols);
    expect_label(0xfff, "0xfff");
    expect_label(0x1000, "first");
    expect_label(0x1ffe, "first+0xffe");
    expect_label(0x200f, "sized+0xf");
    expect_label(0x2010, "0x2010");
    expect_label(0x3000 + 0xfffff, "last+0xfffff");
    expect_label(0x3000 + 0x100000, "0x103000");
    expect_label(UINT64_MAX, "0xffffffffffffffff");
}
END_TEST

START_TEST(of_equal_addresses_one_with_a_size_counts_then_the_first)
{
    ck_assert_int_eq(symbols_add(symbols, 0x1000, 0, "label"), 0);
    ck_assert_int_eq(symbols_add(symbols, 0x1000, 8, "function"), 0);
    ck_assert_int_eq(symbols_add(symbols, 0x1000, 8, "alias"), 0);
    symbols_sort(symbols);
    ck_assert_uint_eq(symbols_count(symbols), 1);
    expect_label(0x1004, "function+0x4");
}
END_TEST

START_TEST(without_symbols_an_address_is_a_number)
{
    char label[SYMBOLS_LABEL_BYTES];

    symbols_sort(symbols);
    expect_label(0x1000, "0x1000");
    ck_assert_str_eq(symbols_label(NULL, 0x1000, label), "0x1000");
}
END_TEST

START_TEST(kallsyms_and_its_modules_are_read)
{
    struct error err;

    ck_assert_int_eq(add_text("ffffffff80000000 T _start\nffffffff80000010 d data\n\n"
                              "ffffffff80000020 w weak\r\nffffffff01000000 t probe\t[virtio_net]\n"
                              "0000000000000000 A absolute\nffffffff80000040 t no_newline",
                              &err),
                     0);
    symbols_sort(symbols);
    ck_assert_uint_eq(symbols_count(symbols), 4);
    expect_label(0xffffffff80000012, "_start+0x12");
    expect_label(0xffffffff80000020, "weak");
    expect_label(0xffffffff01000004, "probe+0x4");
    expect_label(0xffffffff80000040, "no_newline");
}
END_TEST

static const struct {
    const char *text, *why;
} refused[] = {
    {"", "names no code"},
    {"\n\n", "names no code"},
    {"ffffffff80000000 D data\n", "names no code"},
    {"ffffffffffffffff B The real System.map is in the linux-image-dbg package\n", "names no code"},
    {"0000000000000000 T _start\n0000000000000000 t other\n", "address 0 everywhere"},
    {"1000 T ok\nhello\n", "line 2"},
    {"1000 T\n", "line 1"},
    {"1000 T \n", "line 1"},
    {"1000 TT name\n", "line 1"},
    {"1000\tT name\n", "line 1"},
    {" 1000 T name\n", "line 1"},
    {"12345678901234567 T name\n", "line 1"},
    {"T name\n", "line 1"},
};

START_TEST(text_that_is_no_list_of_symbols_is_refused)
{
    struct error err = {""};

    ck_assert_int_eq(add_text(refused[_i].text, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, refused[_i].why) && strstr(err.text, "'maps'"), "%s", err.text);
}
END_TEST

START_TEST(names_are_cut_and_harmless)
{
    char name[1000], label[SYMBOLS_LABEL_BYTES];

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(symbols_add(symbols, 0x1000, 0, name), 0);
    ck_assert_int_eq(symbols_add(symbols, 0x2000, 0, "a\033[2J b\n\x80"), 0);
    symbols_sort(symbols);
    ck_assert_uint_eq(strlen(symbols_label(symbols, 0x1000, label)), SYMBOLS_NAME_BYTES - 1);
    expect_label(0x2000, "a?[2J?b??");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("symbols");
    TCase *tc = tcase_create("symbols");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, an_address_belongs_to_the_symbol_before_it);
    tcase_add_test(tc, of_equal_addresses_one_with_a_size_counts_then_the_first);
    tcase_add_test(tc, without_symbols_an_address_is_a_number);
    tcase_add_test(tc, kallsyms_and_its_modules_are_read);
    tcase_add_loop_test(tc, text_that_is_no_list_of_symbols_is_refused, 0, (int)TUFF_ARRAY_LEN(refused));
    tcase_add_test(tc, names_are_cut_and_harmless);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
