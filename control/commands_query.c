/* Questions about the program and the machine as a whole. */
#include "control/control_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REFRESH_US = 2000 }; /* in which harts bring their counters up to date */

static int query_version(struct control_call *call)
{
    call->result = control_version(call->control);
    return 0;
}

static int query_name(struct control_call *call)
{
    call->result = json_pack("{s:s*}", "name", call->control->config.name);
    return 0;
}

static int query_target(struct control_call *call)
{
    call->result = json_pack("{s:s}", "arch", machine_target(call->machine));
    return 0;
}

static int query_memory(struct control_call *call)
{
    call->result = json_pack("{s:I}", "base-memory", (json_int_t)call->control->config.machine->memory_bytes);
    return 0;
}

static void add_command(void *opaque, const struct control_command *command)
{
    json_array_append_new(opaque, json_pack("{s:s}", "name", command->name));
}

static int query_commands(struct control_call *call)
{
    call->result = json_pack("[{s:s}]", "name", "qmp_capabilities");
    if (call->result)
        control_each_command(add_command, call->result);
    return 0;
}

/* JSON Schema's words. */
static const char *type_name(json_type type)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object", [JSON_ARRAY] = "array",  [JSON_STRING] = "string", [JSON_INTEGER] = "integer",
        [JSON_REAL] = "number",   [JSON_TRUE] = "boolean", [JSON_NULL] = "any"};

    return names[type];
}

static void add_help(void *opaque, const struct control_command *command)
{
    json_t *arguments = json_array();

    for (const struct control_argument *a = command->arguments; a->name; a++)
        json_array_append_new(arguments, json_pack("{s:s, s:s, s:b}", "name", a->name, "type", type_name(a->type),
                                                   "optional", a->optional));
    json_array_append_new(
        opaque, json_pack("{s:s, s:s, s:o}", "name", command->name, "text", command->text, "arguments", arguments));
}

static int query_help(struct control_call *call)
{
    call->result = json_array();
    if (call->result)
        control_each_command(add_help, call->result);
    return 0;
}

/* ---- harts and counters ---- */

void control_hart_path(uint32_t hart, char path[32])
{
    snprintf(path, 32, "/machine/hart[%u]", hart);
}

static int query_cpus(struct control_call *call)
{
    char path[32];

    call->result = json_array();
    for (uint32_t i = 0; i < call->control->config.machine->cpus; i++) {
        control_hart_path(i, path);
        json_array_append_new(call->result,
                              json_pack("{s:I, s:s, s:i, s:s, s:{s:I}}", "cpu-index", (json_int_t)i, "qom-path", path,
                                        "thread-id", machine_hart_thread(call->machine, i), "target",
                                        machine_target(call->machine), "props", "core-id", (json_int_t)i));
    }
    return 0;
}

/* Which counters are wanted, and the object that those of the hart at hand are added to. */
struct counting {
    json_t *all;
    json_t *stats; /* of `hart` */
    bool harts;
    uint32_t hart;
};

static void add_counter(void *opaque, uint32_t hart, const char *name, const char *text, uint64_t value)
{
    struct counting *c = opaque;

    if ((hart != UINT32_MAX) != c->harts)
        return;
    if (!c->stats || c->hart != hart) {
        json_t *result = json_pack("{s:s, s:[]}", "provider", "tuff", "stats");
        char path[32];
        control_hart_path(hart, path);
        if (c->harts)
            json_object_set_new(result, "qom-path", json_string(path));
        c->stats = json_object_get(result, "stats");
        c->hart = hart;
        json_array_append_new(c->all, result);
    }
    json_array_append_new(c->stats, json_pack("{s:s, s:I}", "name", name, "value", (json_int_t)value));
}

static int query_stats(struct control_call *call)
{
    const char *target = control_string(call, "target", "");
    struct counting counting = {.harts = strcmp(target, "vcpu") == 0};

    if (!counting.harts && strcmp(target, "vm") != 0)
        return error_set(&call->err, -EINVAL, "there are no counters of '%.40s': give target vm or vcpu", target);
    counting.all = call->result = json_array();
    if (counting.harts && !call->control->paused) {
        machine_refresh_stats(call->machine);
        usleep(REFRESH_US);
    }
    if (call->result)
        machine_stats(call->machine, add_counter, &counting);
    return 0;
}

const struct control_command control_query_commands[] = {
    {"query-version", "the program's version", false, query_version, {{0}}},
    {"query-name", "the virtual machine's name", false, query_name, {{0}}},
    {"query-target", "the guest's instruction set", true, query_target, {{0}}},
    {"query-commands", "the commands there are", false, query_commands, {{0}}},
    {"query-qmp-schema", "what commands and events consist of", false, control_query_schema, {{0}}},
    {"x-query-help", "the commands with a line about each", false, query_help, {{0}}},
    {"query-memory-size-summary", "how much memory the machine has", false, query_memory, {{0}}},
    {"query-cpus-fast", "the harts and their threads", true, query_cpus, {{0}}},
    {"query-stats",
     "counters, of the machine (target=vm) or of its harts (target=vcpu)",
     true,
     query_stats,
     {{"target", JSON_STRING, false}, {0}}},
    {0},
};
