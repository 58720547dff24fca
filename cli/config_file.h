/* --config FILE: options from a JSON object, whose members are called as the options are. What the command line gives
 * replaces what the file says. */
#ifndef TUFF_CLI_CONFIG_FILE_H
#define TUFF_CLI_CONFIG_FILE_H

#include "cli/options.h"

/* Adds what the file has to values that were parsed for `command`: flags are true or false, values strings or whole
 * numbers, lists these or arrays of them. Returns 0, or a negative errno, reported. */
int config_file_read(const char *path, const struct command *command, struct option_values *values) TUFF_MUST_CHECK;

#endif
