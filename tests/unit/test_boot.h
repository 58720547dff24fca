/* What the tests of booting share: a guest memory, files in a directory of their own, and messages to look at. */
#ifndef TUFF_TESTS_UNIT_TEST_BOOT_H
#define TUFF_TESTS_UNIT_TEST_BOOT_H

#include "base/error.h"
#include "mem/mem.h"
#include "run_suite.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEST_RAM_GPA 0x80000000ull
#define TEST_RAM_BYTES (16ull << 20)

/* The message must contain `part`: it names the thing, not just fails. */
#define ck_error_says(err, part) \
    ck_assert_msg(strstr((err)->text, (part)) != NULL, "'%s' does not say '%s'", (err)->text, (part))

static struct mem *test_mem;
static char test_dir[64];
static char test_path[128];
static struct error test_err;

static inline void test_setup(void)
{
    strcpy(test_dir, "/tmp/tuff-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test_dir));
    snprintf(test_path, sizeof(test_path), "%s/file", test_dir);
    ck_assert_int_eq(mem_create(&test_mem), 0);
    ck_assert_int_eq(mem_add_ram(test_mem, TEST_RAM_GPA, TEST_RAM_BYTES), 0);
    memset(&test_err, 0, sizeof(test_err));
}

static inline void test_teardown(void)
{
    mem_destroy(test_mem);
    unlink(test_path);
    ck_assert_int_eq(rmdir(test_dir), 0);
}

static inline const char *test_write_file(const void *bytes, size_t len)
{
    FILE *f = fopen(test_path, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
    return test_path;
}

#endif
