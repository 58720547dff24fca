/* Statistics of a run: collected from the machines of all its boots, printed as a table or as one JSON object. */
#ifndef TUFF_CLI_STATS_H
#define TUFF_CLI_STATS_H

#include "machine/machine.h"

#include <stdint.h>
#include <stdio.h>

struct regions;
struct stats;

/* What happened, beside the machine's counters. */
struct stats_run {
    const char *end; /* "poweroff", "reboot", "max-insns", "quit", "error" */
    uint32_t exit_code;
    uint32_t boots;
    uint64_t start_ns;     /* from the start of the command until the first hart ran */
    uint64_t run_ns;       /* while harts ran */
    uint64_t run_start_ns; /* CLOCK_MONOTONIC when the present boot began to run */
    char placement[1024];  /* machine_placement_describe() */
};

/* Empty statistics. Returns NULL without memory. */
struct stats *stats_create(void);
void stats_destroy(struct stats *stats);

/* Adds a machine's counters to what is there: counters of equal name and hart are summed. */
void stats_add(struct stats *stats, struct machine *machine);

/* Instructions retired by all harts: the counter "insns". */
uint64_t stats_insns(const struct stats *stats);

/* Host time, speed, peak memory and every counter, for each hart and in total. */
void stats_print_table(const struct stats *stats, const struct stats_run *run, FILE *out);
/* The same and the regions as one JSON object on one line; docs in `tuff help boot`. Returns 0 or -ENOMEM or -EIO. */
int stats_print_json(const struct stats *stats, struct regions *regions, const struct stats_run *run,
                     FILE *out) TUFF_MUST_CHECK;

#endif
