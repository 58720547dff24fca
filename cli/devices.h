/* Options of devices that have few settings, from their texts to the machine's configuration: --vsock,
 * --input, --sound, --channel. */
#ifndef TUFF_CLI_DEVICES_H
#define TUFF_CLI_DEVICES_H

#include "base/compiler.h"
#include "base/error.h"
#include "cli/options.h"
#include "machine/machine.h"

enum { DEVICES_TEXTS = 4 };

/* Reads them into the configuration, whose strings then point into `texts`, which the caller frees, also after a
 * failure. Returns 0, -EINVAL or -ENOMEM with a line in `err`. */
int devices_parse(const struct option_values *values, struct machine_config *config, char *texts[DEVICES_TEXTS],
                  struct error *err) TUFF_MUST_CHECK;

#endif
