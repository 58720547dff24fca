/* Messages: errors are cut to fit, the log's filter is what --log says, a guest cannot flood it. */
#include "base/error.h"
#include "base/log.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct {
    unsigned lines;
    enum log_level level;
    enum log_subsystem subsystem;
    char text[600];
} seen;

static void sink(void *opaque, enum log_level level, enum log_subsystem subsystem, const char *line)
{
    ck_assert_ptr_eq(opaque, &seen);
    ck_assert_ptr_null(strchr(line, '\n'));
    seen.lines++;
    seen.level = level;
    seen.subsystem = subsystem;
    strncpy(seen.text, line, sizeof(seen.text) - 1);
}

static void setup(void)
{
    memset(&seen, 0, sizeof(seen));
    log_set_sink(sink, &seen);
}

START_TEST(errors_return_their_number_and_are_cut)
{
    struct error err;
    char long_text[2 * ERROR_TEXT_BYTES];

    ck_assert_int_eq(error_set(&err, -EINVAL, "%s is %d", "size", 5), -EINVAL);
    ck_assert_str_eq(err.text, "size is 5");
    ck_assert_int_eq(error_set(NULL, -ENOMEM, "%d", 1), -ENOMEM);
    memset(long_text, 'a', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    ck_assert_int_eq(error_set(&err, -EIO, "%s", long_text), -EIO);
    ck_assert_uint_eq(strlen(err.text), ERROR_TEXT_BYTES - 1);
}
END_TEST

START_TEST(nothing_is_logged_without_a_sink)
{
    log_set_sink(NULL, NULL);
    ck_assert(!log_enabled(LOG_LEVEL_ERROR, LOG_MEM));
    log_write(LOG_LEVEL_ERROR, LOG_MEM, "nobody hears this");
    log_guest_error("nor this");
    ck_assert_uint_eq(seen.lines, 0);
}
END_TEST

START_TEST(levels_are_by_subsystem)
{
    ck_assert(log_enabled(LOG_LEVEL_WARN, LOG_SBI));
    ck_assert(!log_enabled(LOG_LEVEL_INFO, LOG_SBI));
    log_set_level(LOG_SBI, LOG_LEVEL_INFO);
    ck_assert(log_enabled(LOG_LEVEL_INFO, LOG_SBI));
    ck_assert(!log_enabled(LOG_LEVEL_DEBUG, LOG_SBI));
    ck_assert(!log_enabled(LOG_LEVEL_INFO, LOG_DEV));
    log_write(LOG_LEVEL_INFO, LOG_SBI, "call %d", 7);
    log_write(LOG_LEVEL_INFO, LOG_DEV, "unheard");
    log_debug(LOG_SBI, "unheard");
    ck_assert_uint_eq(seen.lines, 1);
    ck_assert_int_eq(seen.level, LOG_LEVEL_INFO);
    ck_assert_int_eq(seen.subsystem, LOG_SBI);
    ck_assert_str_eq(seen.text, "call 7");
}
END_TEST

START_TEST(log_option_is_parsed)
{
    ck_assert_int_eq(log_configure("jit,mem=error,dev=info"), 0);
    ck_assert(log_enabled(LOG_LEVEL_DEBUG, LOG_JIT));
    ck_assert(!log_enabled(LOG_LEVEL_WARN, LOG_MEM));
    ck_assert(log_enabled(LOG_LEVEL_INFO, LOG_DEV));
    ck_assert(!log_enabled(LOG_LEVEL_DEBUG, LOG_DEV));
    ck_assert_int_eq(log_configure("all=error,engine=warn"), 0);
    for (int i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
        ck_assert_int_eq(log_enabled(LOG_LEVEL_WARN, (enum log_subsystem)i), i == LOG_ENGINE);
}
END_TEST

START_TEST(log_option_refuses_what_it_does_not_know)
{
    char long_spec[400];

    memset(long_spec, 'a', sizeof(long_spec) - 1);
    long_spec[sizeof(long_spec) - 1] = '\0';
    ck_assert_int_eq(log_configure("nosuch"), -EINVAL);
    ck_assert_int_eq(log_configure("mem=loud"), -EINVAL);
    ck_assert_int_eq(log_configure("mem="), -EINVAL);
    ck_assert_int_eq(log_configure("=debug"), -EINVAL);
    ck_assert_int_eq(log_configure(long_spec), -EINVAL);
    ck_assert(!log_enabled(LOG_LEVEL_INFO, LOG_MEM));
}
END_TEST

START_TEST(subsystems_have_names_and_texts)
{
    ck_assert_str_eq(log_subsystem_name(LOG_GUEST), "guest");
    for (int i = 0; i < LOG_SUBSYSTEM_COUNT; i++) {
        ck_assert_int_eq(log_configure(log_subsystem_name((enum log_subsystem)i)), 0);
        ck_assert(log_enabled(LOG_LEVEL_DEBUG, (enum log_subsystem)i));
        ck_assert_uint_gt(strlen(log_subsystem_text((enum log_subsystem)i)), 0);
    }
}
END_TEST

START_TEST(the_guest_cannot_flood_the_log)
{
    for (unsigned i = 0; i < 100000; i++)
        log_guest_error("bad register %u", i);
    ck_assert_uint_ge(seen.lines, 10);
    /* 10 a second; the loop takes far less than five. */
    ck_assert_uint_le(seen.lines, 50);
    ck_assert_int_eq(seen.subsystem, LOG_GUEST);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    TCase *base = tcase_create("messages");

    tcase_add_checked_fixture(base, setup, NULL);
    tcase_add_test(base, errors_return_their_number_and_are_cut);
    tcase_add_test(base, nothing_is_logged_without_a_sink);
    tcase_add_test(base, levels_are_by_subsystem);
    tcase_add_test(base, log_option_is_parsed);
    tcase_add_test(base, log_option_refuses_what_it_does_not_know);
    tcase_add_test(base, subsystems_have_names_and_texts);
    tcase_add_test(base, the_guest_cannot_flood_the_log);
    suite_add_tcase(suite, base);
    return run_suite(suite);
}
