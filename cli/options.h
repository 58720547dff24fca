/* Commands and their options as data: from one table come what popt accepts, --help and the tests that compare the two.
 */
#ifndef TUFF_CLI_OPTIONS_H
#define TUFF_CLI_OPTIONS_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum option_id {
    OPTION_KERNEL,
    OPTION_INITRD,
    OPTION_CMDLINE,
    OPTION_BIOS,
    OPTION_LOAD,
    OPTION_PFLASH0,
    OPTION_PFLASH1,
    OPTION_DTB,
    OPTION_DUMP_DTB,
    OPTION_MEMORY,
    OPTION_CPUS,
    OPTION_ISA,
    OPTION_AIA,
    OPTION_VIRTIO,
    OPTION_SERIAL,
    OPTION_DISK,
    OPTION_VIRTIO_CONSOLE,
    OPTION_BALLOON,
    OPTION_NET,
    OPTION_FORWARD,
    OPTION_SHARE,
    OPTION_VSOCK,
    OPTION_CRYPTO,
    OPTION_INPUT,
    OPTION_SOUND,
    OPTION_CHANNEL,
    OPTION_CLOCK,
    OPTION_MAX_INSNS,
    OPTION_NO_REBOOT,
    OPTION_ACCEL,
    OPTION_GDB,
    OPTION_WAIT_GDB,
    OPTION_AFFINITY,
    OPTION_NUMA,
    OPTION_HUGE_PAGES,
    OPTION_TIER,
    OPTION_JIT_THRESHOLD,
    OPTION_JIT_SYNC,
    OPTION_JIT_SAMPLE,
    OPTION_JIT_RANDOM,
    OPTION_JIT_BISECT,
    OPTION_JIT_PLANT,
    OPTION_VERIFY,
    OPTION_TUNE,
    OPTION_CACHE,
    OPTION_NO_CACHE,
    OPTION_RUNS,
    OPTION_RUN_NUMBER,
    OPTION_DUMP,
    OPTION_PASSES,
    OPTION_PASS_PLUGIN,
    OPTION_PERF,
    OPTION_JITDUMP,
    OPTION_GDB_JIT,
    OPTION_SYMBOLS,
    OPTION_SANDBOX,
    OPTION_STATS,
    OPTION_NAME,
    OPTION_CONTROL,
    OPTION_METRICS,
    OPTION_CONFIG,
    OPTION_INTERVAL,
    OPTION_COUNT,
    OPTION_LOG,
    OPTION_HEX,
    OPTION_ADDRESS,
    OPTION_FORMAT,
    OPTION_FROM_FORMAT,
    OPTION_BACKING,
    OPTION_BACKING_FORMAT,
    OPTION_CLUSTER_SIZE,
    OPTION_QCOW2_VERSION,
    OPTION_LAZY_REFCOUNTS,
    OPTION_REPAIR,
    OPTION_SNAPSHOT_FILE,
    OPTION_SNAPSHOT_AT,
    OPTION_SNAPSHOT_EVERY,
    OPTION_SNAPSHOT_ON_EXIT,
    OPTION_TIME,
    OPTION_KEEP_DISKS,
    OPTION_EVENT,
    OPTION_VERSION,
    OPTION_HELP,
    OPTION_ID_COUNT,
};

/* Which commands an option belongs to. TOP: where a command's name would stand. */
enum option_for {
    OPTION_FOR_BOOT = 1 << 0,
    OPTION_FOR_RUN = 1 << 1,
    OPTION_FOR_DISAS = 1 << 2,
    OPTION_FOR_TOP = 1 << 3,
    OPTION_FOR_IMAGE = 1 << 4,
    OPTION_FOR_CACHE = 1 << 5,
    OPTION_FOR_RUNS = 1 << 6,
    OPTION_FOR_PROFILE = 1 << 7,
    OPTION_FOR_CTL = 1 << 12,
    OPTION_FOR_LIVE = 1 << 13,
    OPTION_FOR_SNAPSHOT = 1 << 14,
    OPTION_FOR_EVENTS = 1 << 15,
};

enum option_kind {
    OPTION_FLAG,   /* --name */
    OPTION_VALUE,  /* --name=VALUE or --name VALUE; of several the last counts */
    OPTION_LIST,   /* the same with VALUE,VALUE..; given again, it adds to the list */
    OPTION_CHOICE, /* --name, or --name=ONE of a list; N in the list: any number, which the option's reader checks */
};

struct option_row {
    enum option_id id;
    unsigned commands; /* OPTION_FOR_* */
    enum option_kind kind;
    const char *section;
    const char *name;
    char letter;          /* short form, or 0 */
    const char *argument; /* VALUE: what --help calls it; CHOICE: the values, separated by '|'; FLAG: NULL */
    const char *help;     /* lines separated by newlines */
};

extern const struct option_row option_rows[];
extern const size_t option_row_count;

/* What was given: values by id (NULL: not given; "" for options without a value) and operands. Strings live as long as
 * the parse. */
struct option_values {
    const char *value[OPTION_ID_COUNT];
    const char *const *operands; /* ends with NULL */
    size_t operand_count;
    void *context; /* popt's */
};

struct command {
    const char *name;
    const char *usage; /* the rest of the usage line */
    const char *summary;
    const char *description;
    enum option_for options; /* its rows of the table */
    const char *examples;
    const char *notes;                              /* after the options */
    int (*run)(const struct option_values *values); /* returns the exit code */
};

/* Parses argv[1..] (argv[0] is ignored). Reports the first mistake and returns -EINVAL. On success the caller frees. */
int options_parse(const struct command *command, int argc, const char *const *argv,
                  struct option_values *out) TUFF_MUST_CHECK;
/* Sets an option as if it had been given, after options_parse(): a list grows. `text` is copied. Returns 0, or a
 * negative errno, reported. */
int options_set(struct option_values *values, const struct option_row *row, const char *text) TUFF_MUST_CHECK;
void options_free(struct option_values *values);

/* Writes the command's whole help. */
void options_help(const struct command *command, FILE *out);

#endif
