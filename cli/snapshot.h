/* Options about snapshots, and starting from one. */
#ifndef TUFF_CLI_SNAPSHOT_H
#define TUFF_CLI_SNAPSHOT_H

#include "base/compiler.h"
#include "cli/options.h"
#include "machine/machine.h"

/* --snapshot-file and so on into a configuration. Returns 0 or a negative errno, reported. */
int snapshot_parse(const struct option_values *values, struct machine_config *config) TUFF_MUST_CHECK;
/* --time, which snapshot_parse() has found good. */
enum machine_restore_time snapshot_time(const struct option_values *values);

/* cli/boot.c: runs the machine of a snapshot (`name` NULL: the newest). Returns the exit code. */
int boot_restore(const struct option_values *values, const char *file, const char *name) TUFF_MUST_CHECK;

#endif
