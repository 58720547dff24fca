/* From options to what threads may ask of the kernel (base/sandbox.h). */
#ifndef TUFF_CLI_CONFINE_H
#define TUFF_CLI_CONFINE_H

#include "base/compiler.h"
#include "machine/machine.h"

#include <stdbool.h>

/* Before anything of the guest is opened. `required`: what the kernel refuses is an error; else it is left out. Returns
 * 0 or a negative errno, reported. */
int confine(const struct machine_config *config, bool required) TUFF_MUST_CHECK;

#endif
