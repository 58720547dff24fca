/* `tuff cache ACTION`: what people do with the database of compiled code. */
#include "cli/cache.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/values.h"

#include "machine/machine.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GC_RUNS = 16 };

struct call {
    const char *path;
    const char *file; /* the action's operand */
    uint32_t runs;
};

static int refuse(const struct error *err)
{
    report_error("%s", err->text);
    return CLI_EXIT_INTERNAL;
}

static int info(const struct call *call)
{
    struct store_info info;
    struct error err;

    if (store_read_info(call->path, &info, &err))
        return refuse(&err);
    printf("file                %s\n", call->path);
    printf("size                %.1f MiB, %.1f of it used\n", (double)info.file_bytes / 1048576,
           (double)info.used_bytes / 1048576);
    printf("runs                %" PRIu64 "\n", info.runs);
    printf("builds              %" PRIu64 "\n", info.builds);
    printf("regions             %" PRIu64 ", of which %" PRIu64 " with code\n", info.regions, info.objects);
    printf("code                %.1f MiB, %.1f packed\n", (double)info.object_bytes / 1048576,
           (double)info.packed_bytes / 1048576);
    printf("time of compiling   %.1f s\n", (double)info.saved_us / 1e6);
    return CLI_EXIT_OK;
}

static int collect(const struct call *call)
{
    uint64_t removed;
    struct error err;

    if (store_collect(call->path, call->runs, &removed, &err))
        return refuse(&err);
    printf("%" PRIu64 " regions taken out\n", removed);
    return CLI_EXIT_OK;
}

static int verify(const struct call *call)
{
    uint64_t checked, bad;
    struct error err;

    if (store_verify(call->path, &checked, &bad, &err))
        return refuse(&err);
    printf("%" PRIu64 " regions checked, %" PRIu64 " bad ones taken out\n", checked, bad);
    return bad ? CLI_EXIT_INTERNAL : CLI_EXIT_OK;
}

static int merge_into(const char *path, const char *from)
{
    uint64_t added;
    struct error err;

    if (store_merge(path, from, &added, &err))
        return refuse(&err);
    printf("%" PRIu64 " regions added\n", added);
    return CLI_EXIT_OK;
}

static int merge(const struct call *call)
{
    return merge_into(call->path, call->file);
}

/* A file of its own, in one piece, for another machine. */
static int export_to(const struct call *call)
{
    struct stat st;

    if (lstat(call->file, &st) == 0) {
        report_error("%s, is there already: name a new file", call->file);
        return CLI_EXIT_USAGE;
    }
    return merge_into(call->file, call->path);
}

static bool show_progress(void *opaque, uint32_t done, uint32_t all)
{
    (void)opaque;
    if (isatty(STDERR_FILENO))
        (void)fprintf(stderr, "\rcompiling %" PRIu32 " of %" PRIu32, done + 1, all);
    return true;
}

static int bake(const struct call *call)
{
    struct machine_config config;
    struct error err;
    struct stat st;
    uint32_t compiled;

    machine_config_default(&config);
    config.cache = call->path;
    if (stat(call->path, &st)) {
        report_error("%s, is not there: run something with --cache=%s first", call->path, call->path);
        return CLI_EXIT_USAGE;
    }
    if (machine_bake(&config, show_progress, NULL, &compiled, &err))
        return refuse(&err);
    if (isatty(STDERR_FILENO))
        (void)fprintf(stderr, "\n");
    printf("%" PRIu32 " regions compiled\n", compiled);
    return CLI_EXIT_OK;
}

static const struct {
    const char *name;
    bool file; /* has an operand */
    int (*act)(const struct call *call);
} actions[] = {{"info", false, info},  {"gc", false, collect},      {"verify", false, verify}, {"bake", false, bake},
               {"merge", true, merge}, {"export", true, export_to}, {"import", true, merge}};

static int act(const struct option_values *values, struct call *call)
{
    const char *name = values->operands[0];

    for (size_t i = 0; i < TUFF_ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].name, name) != 0)
            continue;
        if (values->operand_count != 1u + actions[i].file) {
            report_error("cache %s, %s, is wrong: %s", name,
                         values->operand_count > 1 ? values->operands[1] : "no file",
                         actions[i].file ? "give one file" : "it has no operand");
            return CLI_EXIT_USAGE;
        }
        call->file = values->operands[1];
        return actions[i].act(call);
    }
    report_error("cache, %s, is not known: give info, gc, verify, bake, merge, export or import", name);
    return CLI_EXIT_USAGE;
}

static int cache_run(const struct option_values *values)
{
    struct call call = {.path = values->value[OPTION_CACHE], .runs = GC_RUNS};
    const char *runs = values->value[OPTION_RUNS];
    uint64_t number = GC_RUNS;

    report_log_to_stderr();
    if (!values->operand_count) {
        report_error("cache, nothing given, is not known: give info, gc, verify, bake, merge, export or import");
        return CLI_EXIT_USAGE;
    }
    if (runs && values_number(runs, 0, UINT32_MAX, &number)) {
        report_error("--runs, '%s', is not a number of runs: give one, like --runs=16", runs);
        return CLI_EXIT_USAGE;
    }
    call.runs = (uint32_t)number;
    char *usual = call.path ? NULL : cache_default_path();
    if (usual)
        call.path = usual;
    if (!call.path) {
        report_error("--cache, nothing given, is needed: there is no cache directory");
        return CLI_EXIT_USAGE;
    }
    int code = act(values, &call);
    free(usual);
    return code;
}

const struct command command_cache = {
    .name = "cache",
    .usage = "ACTION [OPTIONS] [FILE]",
    .summary = "look after the database of compiled code",
    .description = "Compiled code outlives the run in a database (docs/profile-database.md). Actions:\n"
                   "  info         what is in it\n"
                   "  bake         compile what earlier runs had no time for, with everything LLVM has\n"
                   "  gc           take out what has been of no use lately, and make the file smaller\n"
                   "  verify       check all of it; what is damaged is taken out (exit code 3)\n"
                   "  merge FILE   add what another database has\n"
                   "  export FILE  write a new database with the same content, in one file\n"
                   "  import FILE  the same as merge: what was exported elsewhere. A database is code that\n"
                   "               will be run: take none from a stranger",
    .options = OPTION_FOR_CACHE,
    .examples = "  tuff cache info\n"
                "  tuff cache bake --cache=code.db\n"
                "  tuff cache gc --runs=4\n",
    .notes = "",
    .run = cache_run,
};
