/* The commands of `tuff` and how one is chosen. */
#ifndef TUFF_CLI_COMMAND_H
#define TUFF_CLI_COMMAND_H

#include "cli/options.h"

/* All commands, for --help and tests. */
extern const struct command *const commands[];
extern const size_t command_count;

extern const struct command command_boot;
extern const struct command command_run;
extern const struct command command_disas;
extern const struct command command_image;
extern const struct command command_snapshot;
extern const struct command command_events;
extern const struct command command_cache;
extern const struct command command_runs;
extern const struct command command_profile;
extern const struct command command_ctl;
extern const struct command command_top;

/* Runs the command line and returns the process's exit code. */
int command_main(int argc, const char *const *argv);

/* The overview that `tuff --help` prints. */
void command_overview(FILE *out);

#endif
