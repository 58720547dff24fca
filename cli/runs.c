/* `tuff runs`: what ran, and what differs between two runs. */
#include "cli/cache.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/values.h"

#include "base/symbols.h"
#include "machine/loader.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHANGES = 20 };

static int refuse(const struct error *err)
{
    report_error("%s", err->text);
    return CLI_EXIT_INTERNAL;
}

static void print_run(void *opaque, const struct store_run_row *run)
{
    char when[32] = "";
    time_t started = (time_t)run->started;
    struct tm tm;

    (void)opaque;
    if (localtime_r(&started, &tm))
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    printf("%5" PRId64 "  %-19s  %-20.20s %9.2f %9.0f %8.1f%% %9.2f %6" PRIu64 "  %s\n", run->id, when, run->guest,
           run->seconds, (double)run->instructions / 1e6, 100 * run->compiled, (double)run->compile_us / 1e6, run->hits,
           run->options);
}

static void print_heading(void)
{
    printf("%5s  %-19s  %-20s %9s %9s %9s %9s %6s  %s\n", "run", "started", "guest", "seconds", "Minsns", "compiled",
           "compile s", "linked", "options");
}

static int list_runs(const char *path)
{
    struct error err;

    print_heading();
    return store_each_run(path, print_run, NULL, &err) ? refuse(&err) : CLI_EXIT_OK;
}

struct comparison {
    struct store_run_row runs[2];
    unsigned count;
    const struct symbols *symbols;
};

static void note_run(void *opaque, const struct store_run_row *run)
{
    struct comparison *c = opaque;

    print_run(NULL, run);
    c->runs[c->count++] = *run;
}

static void print_change(void *opaque, const struct store_change *change)
{
    const struct comparison *c = opaque;
    char label[SYMBOLS_LABEL_BYTES];

    printf("%14" PRIu64 " %14" PRIu64 "  %s, %" PRIu32 " instructions, %s\n", change->before, change->after,
           symbols_label(c->symbols, change->gva, label), change->insns, change->level ? "full" : "quick");
}

static int compare_runs(const char *path, const struct symbols *symbols, const uint64_t ids[2])
{
    struct comparison c = {.symbols = symbols};
    struct error err;

    print_heading();
    for (unsigned i = 0; i < 2; i++) {
        if (store_find_run(path, (int64_t)ids[i], note_run, &c, &err))
            return refuse(&err);
    }
    if (c.runs[0].seconds > 0)
        printf("\ntime %.2f times, instructions %.2f times\n", c.runs[1].seconds / c.runs[0].seconds,
               c.runs[0].instructions ? (double)c.runs[1].instructions / (double)c.runs[0].instructions : 0);
    printf("\n%14s %14s  region\n", "entered then", "now");
    return store_each_change(path, c.runs[0].id, c.runs[1].id, CHANGES, print_change, &c, &err) ? refuse(&err)
                                                                                                : CLI_EXIT_OK;
}

int cache_load_symbols(const char *files, struct symbols **out)
{
    struct error err;

    *out = symbols_create();
    for (const char *at = files; at && *out;) {
        size_t len = strcspn(at, ",");
        char *name = strndup(at, len);
        int rc = name ? loader_load_symbols(*out, name, &err) : error_set(&err, -1, "--symbols, no memory");
        free(name);
        if (rc) {
            report_error("%s", err.text);
            symbols_destroy(*out);
            return rc;
        }
        at = at[len] ? at + len + 1 : NULL;
    }
    if (*out)
        symbols_sort(*out);
    return 0;
}

static int runs_run(const struct option_values *values)
{
    char *usual = values->value[OPTION_CACHE] ? NULL : cache_default_path();
    const char *path = usual ? usual : values->value[OPTION_CACHE];
    struct symbols *symbols;
    uint64_t ids[2];
    int code = CLI_EXIT_USAGE;

    report_log_to_stderr();
    if (!path) {
        report_error("--cache, nothing given, is needed: there is no cache directory");
    } else if (!values->operand_count) {
        code = list_runs(path);
    } else if (values->operand_count != 2 || values_number(values->operands[0], 1, INT64_MAX, &ids[0]) ||
               values_number(values->operands[1], 1, INT64_MAX, &ids[1])) {
        report_error("runs, %s, is wrong: give none, or two numbers of runs to compare", values->operands[0]);
    } else if (cache_load_symbols(values->value[OPTION_SYMBOLS], &symbols) == 0) {
        code = compare_runs(path, symbols, ids);
        symbols_destroy(symbols);
    }
    free(usual);
    return code;
}

const struct command command_runs = {
    .name = "runs",
    .usage = "[OPTIONS] [RUN RUN]",
    .summary = "list earlier runs, or compare two",
    .description = "Lists the runs that the database has (docs/profile-database.md), or says what differs between two\n"
                   "of them: time, instructions, and the regions that were entered more or less often.",
    .options = OPTION_FOR_RUNS,
    .examples = "  tuff runs\n"
                "  tuff runs 3 4 --symbols=System.map\n",
    .notes = "",
    .run = runs_run,
};
