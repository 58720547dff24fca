/* What the tests of guest memory share: one address space with a little RAM. */
#ifndef TUFF_TESTS_MEM_TEST_H
#define TUFF_TESTS_MEM_TEST_H

#include "mem/mem.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED __attribute__((unused))

enum { RAM_PAGES = 130 }; /* not a multiple of 64: the dirty log's last word is a part of one */

#define RAM_GPA UINT64_C(0x80000000)
#define RAM_BYTES ((uint64_t)RAM_PAGES << MEM_PAGE_SHIFT)

static struct mem *mem;

static UNUSED void setup(void)
{
    ck_assert_int_eq(mem_create(&mem), 0);
    ck_assert_int_eq(mem_add_ram(mem, RAM_GPA, RAM_BYTES), 0);
}

static UNUSED void teardown(void)
{
    mem_destroy(mem);
    mem = NULL;
}

static int run_tests(const char *name, const TTest *const *tests, size_t count, SFun up, SFun down)
{
    Suite *suite = suite_create(name);
    TCase *tests_case = tcase_create(name);

    if (up || down)
        tcase_add_checked_fixture(tests_case, up, down);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tests_case, tests[i]);
    suite_add_tcase(suite, tests_case);
    return run_suite(suite);
}

#endif
