/* From options to what threads may ask of the kernel (base/sandbox.h). */
#ifndef TUFF_CLI_CONFINE_H
#define TUFF_CLI_CONFINE_H

#include "base/compiler.h"
#include "machine/machine.h"

/* With --sandbox=on, before anything of the guest is opened. Returns 0 or a negative errno, reported. */
int confine(const struct machine_config *config) TUFF_MUST_CHECK;

#endif
