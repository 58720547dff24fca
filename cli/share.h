/* --share: from its text to the machine's shared directories. */
#ifndef TUFF_CLI_SHARE_H
#define TUFF_CLI_SHARE_H

#include "base/compiler.h"
#include "base/error.h"
#include "machine/machine.h"

/* Reads the option into the configuration, whose strings then point into `*text`, which the caller frees, also after a
 * failure. Returns 0, -EINVAL or -ENOMEM with a line in `err`. */
int share_parse(const char *share, struct machine_config *config, char **text, struct error *err) TUFF_MUST_CHECK;

#endif
