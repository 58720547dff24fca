/* --disk: from its text to the machine's disks. */
#ifndef TUFF_CLI_DISK_H
#define TUFF_CLI_DISK_H

#include "base/compiler.h"
#include "base/error.h"
#include "machine/machine.h"

/* Reads the list into the configuration, whose strings then point into `*text`, which the caller frees, also after a
 * failure. Returns 0, -EINVAL or -ENOMEM with a line in `err`. */
int disk_parse(const char *list, struct machine_config *config, char **text, struct error *err) TUFF_MUST_CHECK;

#endif
