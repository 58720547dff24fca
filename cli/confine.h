/* From options to what threads may ask of the kernel (base/sandbox.h). */
#ifndef TUFF_CLI_CONFINE_H
#define TUFF_CLI_CONFINE_H

#include "cli/options.h"

#include "machine/machine.h"

/* Before anything of the guest is opened. Returns 0 (also with --sandbox=off), or a negative errno, reported. */
int confine(const struct option_values *values, const struct machine_config *config) TUFF_MUST_CHECK;

#endif
