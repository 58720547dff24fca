/* What --stats=json printed. */
#ifndef TUFF_TESTS_CLI_STATISTICS_H
#define TUFF_TESTS_CLI_STATISTICS_H

#include "process.h"

#include <jansson.h>

/* The JSON object on the last line of standard error. The caller frees. */
json_t *statistics_of(const struct process *process);
/* A number of the object; the test fails where it has none of that name. */
json_int_t statistics_integer(const json_t *object, const char *key);

#endif
