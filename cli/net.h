/* --net and --forward: from their text to the machine's network devices. */
#ifndef TUFF_CLI_NET_H
#define TUFF_CLI_NET_H

#include "base/compiler.h"
#include "base/error.h"
#include "machine/machine.h"

/* Reads both (either may be NULL) into the configuration, whose strings then point into `*text`, which the caller
 * frees, also after a failure. Returns 0, -EINVAL or -ENOMEM with a line in `err`. */
int net_parse(const char *net, const char *forward, struct machine_config *config, char **text,
              struct error *err) TUFF_MUST_CHECK;

#endif
