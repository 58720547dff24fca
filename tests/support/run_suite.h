/* The end of each test program's main(). */
#ifndef TUFF_TESTS_RUN_SUITE_H
#define TUFF_TESTS_RUN_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs and frees the suite; CK_VERBOSITY says how much is printed. Returns the program's exit code. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);

    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
