/* The options that choose and steer the compiling tier. */
#ifndef TUFF_CLI_JIT_H
#define TUFF_CLI_JIT_H

#include "cli/options.h"
#include "machine/machine.h"

/* Reads them into the configuration. Returns 0 or -EINVAL, reported. */
int jit_parse(const struct option_values *values, struct machine_config *config) TUFF_MUST_CHECK;

/* --tune=help. Returns the exit code. */
int jit_help(void);

#endif
