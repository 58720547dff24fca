/* `tuff snapshot ACTION` and `tuff events`: what people do with a file of snapshots. */
#include "cli/command.h"
#include "cli/qmp_client.h"
#include "cli/report.h"
#include "cli/snapshot.h"
#include "cli/values.h"

#include "snapshot/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct call {
    const struct option_values *values;
    const char *file, *name, *to;
    struct snapshot_store *store;
};

static int refuse(const struct error *err)
{
    report_error("%s", err->text);
    return CLI_EXIT_INTERNAL;
}

/* "2026-01-31 12:00:00", local time. */
static const char *time_text(int64_t ns, char text[32])
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;

    if (!localtime_r(&seconds, &tm) || strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        (void)snprintf(text, 32, "?");
    return text;
}

struct listing {
    struct snapshot_info *infos;
    size_t count;
};

static void note(void *opaque, const struct snapshot_info *info)
{
    struct listing *all = opaque;
    struct snapshot_info *infos = realloc(all->infos, (all->count + 1) * sizeof(*infos));

    if (!infos)
        return;
    all->infos = infos;
    infos[all->count++] = *info;
}

static const char *name_of(const struct listing *all, int64_t id)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->infos[i].id == id)
            return all->infos[i].name;
    }
    return id ? "missing" : "-";
}

static int list(const struct call *call)
{
    struct listing all = {0};
    struct error err;
    char when[32];

    if (snapshot_each(call->store, note, &all, &err)) {
        free(all.infos);
        return refuse(&err);
    }
    printf("%-20s %-20s %-19s %15s %10s %9s %9s\n", "name", "parent", "taken", "instructions", "new MiB", "pause ms",
           "save ms");
    for (size_t i = 0; i < all.count; i++) {
        const struct snapshot_info *s = &all.infos[i];
        printf("%-20s %-20s %-19s %15" PRIu64 " %10.1f %9.1f %9.1f\n", s->name, name_of(&all, s->parent),
               time_text(s->created_ns, when), s->instructions, (double)s->new_bytes / 1048576,
               (double)s->pause_us / 1000, (double)s->save_us / 1000);
    }
    free(all.infos);
    return CLI_EXIT_OK;
}

static void print_setting(void *opaque, const char *name, const char *value)
{
    (void)opaque;
    printf("  %-28s %s\n", name, value);
}

static int info(const struct call *call)
{
    struct snapshot_sizes sizes;
    struct snapshot_info s;
    struct error err;
    char when[32];

    if (snapshot_find(call->store, call->name, &s, &err) || snapshot_check_sections(call->store, &s, &err) ||
        snapshot_sizes(call->store, &sizes, &err))
        return refuse(&err);
    printf("snapshot      %s, by tuff %s, %s\n", s.name, s.version, time_text(s.created_ns, when));
    printf("instructions  %" PRIu64 "\n", s.instructions);
    printf("added         %" PRIu64 " pages, %.1f MiB\n", s.new_pages, (double)s.new_bytes / 1048576);
    printf("took          %.1f ms, of which the guest stood still %.1f ms\n", (double)s.save_us / 1000,
           (double)s.pause_us / 1000);
    printf("file          %.1f MiB, %" PRIu64 " pages in %.1f MiB\n", (double)sizes.file_bytes / 1048576, sizes.pages,
           (double)sizes.packed_bytes / 1048576);
    printf("machine\n");
    return snapshot_settings(call->store, s.id, print_setting, NULL, &err) ? refuse(&err) : CLI_EXIT_OK;
}

static int delete(const struct call *call)
{
    bool disks = !call->values->value[OPTION_KEEP_DISKS];
    struct error err;

    return machine_snapshot_delete(call->file, call->name, disks, &err) ? refuse(&err) : CLI_EXIT_OK;
}

static int compact(const struct call *call)
{
    uint64_t before, after;
    struct error err;

    if (snapshot_compact(call->store, &before, &after, &err))
        return refuse(&err);
    printf("%.1f MiB, was %.1f\n", (double)after / 1048576, (double)before / 1048576);
    return CLI_EXIT_OK;
}

static int export_to(const struct call *call)
{
    struct error err;

    return snapshot_export(call->store, call->name, call->to, &err) ? refuse(&err) : CLI_EXIT_OK;
}

static void print_line(void *opaque, const char *line)
{
    (void)opaque;
    printf("%s\n", line);
}

static int verify(const struct call *call)
{
    struct snapshot_verify result;
    struct error err;

    if (snapshot_verify(call->store, print_line, NULL, &result, &err))
        return refuse(&err);
    printf("%" PRIu64 " snapshots and %" PRIu64 " pages checked, %" PRIu64 " things wrong\n", result.snapshots,
           result.pages, result.bad);
    return result.bad ? CLI_EXIT_INTERNAL : CLI_EXIT_OK;
}

/* ---- taking one ---- */

/* Until the job of that name has ended. */
static int wait_for_job(struct qmp_client *client, const char *id, struct error *err)
{
    json_t *event;

    while ((event = qmp_client_event(client))) {
        const char *job = NULL, *status = NULL;
        bool ended = json_unpack(event, "{s:{s:s, s:s}}", "data", "id", &job, "status", &status) == 0 &&
                     strcmp(job, id) == 0 && strcmp(status, "concluded") == 0;
        json_decref(event);
        if (ended)
            return 0;
    }
    return error_set(err, -EPIPE, "the virtual machine ended before the snapshot was complete");
}

/* What has become of the only job there is. */
static int tell_job(struct qmp_client *client, struct error *err)
{
    json_int_t pause_us, save_us, pages, bytes;
    const char *tag = "", *error = NULL;
    json_t *jobs;
    int rc = qmp_client_run(client, "query-jobs", NULL, &jobs, err);

    if (rc)
        return rc;
    json_t *job = json_array_get(jobs, 0);
    if (json_unpack(job, "{s:s, s?s}", "tag", &tag, "error", &error))
        rc = error_set(err, -EPROTO, "the virtual machine does not know the snapshot that it took");
    else if (error)
        rc = error_set(err, -EREMOTEIO, "%s", error);
    else if (json_unpack(job, "{s:I, s:I, s:I, s:I}", "pause-us", &pause_us, "save-us", &save_us, "new-pages", &pages,
                         "new-bytes", &bytes) == 0)
        printf("%s: %.1f ms standing still, %.1f ms in all, %lld new pages in %lld bytes\n", tag,
               (double)pause_us / 1e3, (double)save_us / 1e3, (long long)pages, (long long)bytes);
    json_decref(jobs);
    return rc;
}

/* Of a running machine, which is what `file` names here. */
static int create(const struct call *call)
{
    struct qmp_client *client;
    json_t *result = NULL, *ignored = NULL;
    struct error err;
    char id[32];
    int rc = qmp_client_open(call->file, &client, &err);

    if (rc)
        return refuse(&err);
    snprintf(id, sizeof(id), "create-%d", (int)getpid());
    rc = qmp_client_run(client, "snapshot-save",
                        json_pack("{s:s, s:s}", "job-id", id, "tag", call->name ? call->name : ""), &result, &err);
    if (rc == 0)
        rc = wait_for_job(client, id, &err);
    if (rc == 0) {
        struct error unused;
        rc = tell_job(client, &err);
        (void)!qmp_client_run(client, "job-dismiss", json_pack("{s:s}", "id", id), &ignored, &unused);
    }
    json_decref(ignored);
    json_decref(result);
    qmp_client_close(client);
    return rc ? refuse(&err) : CLI_EXIT_OK;
}

static int restore(const struct call *call)
{
    return boot_restore(call->values, call->file, call->name);
}

static const struct {
    const char *name;
    unsigned min, max; /* operands behind the action */
    enum snapshot_mode mode;
    bool opens;
    int (*act)(const struct call *call);
} actions[] = {
    {"create", 1, 2, SNAPSHOT_READ, false, create},   {"list", 1, 1, SNAPSHOT_READ, true, list},
    {"info", 1, 2, SNAPSHOT_READ, true, info},        {"restore", 1, 2, SNAPSHOT_READ, false, restore},
    {"delete", 2, 2, SNAPSHOT_WRITE, false, delete},  {"compact", 1, 1, SNAPSHOT_WRITE, true, compact},
    {"export", 3, 3, SNAPSHOT_READ, true, export_to}, {"verify", 1, 1, SNAPSHOT_READ, true, verify},
};

static const char known[] = "give create, list, info, restore, delete, compact, export or verify (tuff help snapshot)";

static int act(size_t i, struct call *call)
{
    struct error err;
    int code;

    if (!actions[i].opens)
        return actions[i].act(call);
    if (snapshot_open(call->file, actions[i].mode, &call->store, &err))
        return refuse(&err);
    code = actions[i].act(call);
    snapshot_close(call->store);
    return code;
}

static int snapshot_run(const struct option_values *values)
{
    size_t count = values->operand_count;
    const char *name = count ? values->operands[0] : "nothing given";

    report_log_to_stderr();
    for (size_t i = 0; i < TUFF_ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].name, name) != 0)
            continue;
        if (count - 1 < actions[i].min || count - 1 > actions[i].max) {
            report_error("snapshot %s, %zu operands, are wrong: see tuff help snapshot", name, count - 1);
            return CLI_EXIT_USAGE;
        }
        struct call call = {.values = values,
                            .file = values->operands[1],
                            .name = count > 2 ? values->operands[2] : NULL,
                            .to = count > 3 ? values->operands[3] : NULL};
        return act(i, &call);
    }
    report_error("snapshot, %s, is not known: %s", name, known);
    return CLI_EXIT_USAGE;
}

const struct command command_snapshot = {
    .name = "snapshot",
    .usage = "ACTION FILE|VM [NAME] [OPTIONS]",
    .summary = "look after snapshots, and start from one",
    .description = "Snapshots of a machine that ran with --snapshot-file=FILE (docs/snapshot-format.md).\n"
                   "Without a NAME the newest one is meant. Actions:\n"
                   "  create VM [NAME]       take one of a running machine (its --name, or the path of its\n"
                   "                         --control socket) into its --snapshot-file\n"
                   "  list FILE              what there is\n"
                   "  info FILE [NAME]       one of them, and its machine\n"
                   "  restore FILE [NAME]    start its machine as it stood then\n"
                   "  delete FILE NAME       take it out; later ones stay whole\n"
                   "  compact FILE           make the file as small as it can be\n"
                   "  export FILE NAME TO    write it to a new file of its own\n"
                   "  verify FILE            check all of it (exit code 3: something is wrong)\n"
                   "A restored machine is the one that was saved; options say what of this computer it gets and\n"
                   "how it is run. Its disks, networks and shared directories have to be named again (--disk, --net,\n"
                   "--share), and images must be as they were. A reboot ends it.\n"
                   "A disk that the guest can write has to be a qcow2 image: each snapshot makes an internal one in\n"
                   "it (tuff image info), and a restore wants --disk=FILE,snapshot and throws away what is written.\n"
                   "Deleting takes that out of the image, too, unless a running machine has the image, or with\n"
                   "--keep-disks, which is for snapshots that an exported file has as well.",
    .options = OPTION_FOR_SNAPSHOT,
    .examples = "  tuff snapshot create web before-update\n"
                "  tuff snapshot list vm.snap\n"
                "  tuff snapshot restore vm.snap\n"
                "  tuff snapshot restore vm.snap auto-3 --tier=interp --time=host\n",
    .run = snapshot_run,
};

/* ---- events ---- */

static void print_event(void *opaque, const struct snapshot_event *event)
{
    char when[32];

    (void)opaque;
    printf("%6" PRId64 "  %s  %15" PRIu64 "  %-12s %s\n", event->id, time_text(event->time_ns, when),
           event->instructions, event->kind, event->detail);
}

static int events_run(const struct option_values *values)
{
    const char *number = values->value[OPTION_EVENT];
    bool replay = values->operand_count == 2 && strcmp(values->operands[0], "replay") == 0;
    struct snapshot_store *store;
    uint64_t event = 0;
    struct error err;

    report_log_to_stderr();
    if (!replay && values->operand_count != 1) {
        report_error("events, %zu operands, are wrong: give a file, or replay and a file", values->operand_count);
        return CLI_EXIT_USAGE;
    }
    if (number && values_number(number, 1, INT64_MAX, &event)) {
        report_error("--event, '%s', is not an event's number: give one, like --event=3", number);
        return CLI_EXIT_USAGE;
    }
    if (snapshot_open(values->operands[replay], SNAPSHOT_READ, &store, &err))
        return refuse(&err);
    int rc = replay ? snapshot_events_replay(store, (int64_t)event, print_setting, NULL, &err)
                    : snapshot_events(store, print_event, NULL, &err);
    snapshot_close(store);
    return rc ? refuse(&err) : CLI_EXIT_OK;
}

const struct command command_events = {
    .name = "events",
    .usage = "[replay] FILE [--event=N]",
    .summary = "what happened to a machine with snapshots",
    .description = "Prints what happened to the machine of a file of snapshots: when, after how many instructions\n"
                   "of its harts, what. With replay: how the machine was made up after an event.",
    .options = OPTION_FOR_EVENTS,
    .examples = "  tuff events vm.snap\n"
                "  tuff events replay vm.snap --event=4\n",
    .run = events_run,
};
