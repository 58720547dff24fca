/* query-qmp-schema: what the socket understands, in the form that QEMU's clients read ("Client JSON Protocol
 * introspection" in QEMU's qapi/introspect.json), from the commands' tables. What commands return is not described:
 * "any". */
#include "control/control_internal.h"

#include <stdio.h>

/* An event's members are strings and booleans. */
struct event {
    const char *name;
    struct {
        const char *name;
        json_type type;
    } members[3];
};

static const struct event events[] = {
    {"STOP", {{0}}},
    {"RESUME", {{0}}},
    {"POWERDOWN", {{0}}},
    {"SHUTDOWN", {{"guest", JSON_TRUE}, {"reason", JSON_STRING}}},
    {"RESET", {{"guest", JSON_TRUE}, {"reason", JSON_STRING}}},
    {"GUEST_PANICKED", {{"action", JSON_STRING}}},
    {"GUEST_CRASHLOADED", {{"action", JSON_STRING}}},
    {"JOB_STATUS_CHANGE", {{"id", JSON_STRING}, {"status", JSON_STRING}}},
};

static const struct {
    json_type type;
    const char *name, *words; /* in the schema, and JSON's word for it */
} builtins[] = {
    {JSON_STRING, "str", "string"},
    {JSON_INTEGER, "int", "int"},
    {JSON_TRUE, "bool", "boolean"},
    {JSON_NULL, "any", "value"},
};

static const char *type_name(json_type type)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(builtins); i++) {
        if (builtins[i].type == type)
            return builtins[i].name;
    }
    return type == JSON_ARRAY ? "[any]" : "any";
}

/* An object type; `members` is taken over. */
static void add_object(json_t *schema, const char *name, json_t *members)
{
    json_array_append_new(schema,
                          json_pack("{s:s, s:s, s:o}", "name", name, "meta-type", "object", "members", members));
}

static void add_member(json_t *members, const char *name, json_type type, bool optional)
{
    json_t *member = json_pack("{s:s, s:s}", "name", name, "type", type_name(type));

    if (optional)
        json_object_set_new(member, "default", json_null());
    json_array_append_new(members, member);
}

static void add_command(void *opaque, const struct control_command *command)
{
    json_t *schema = opaque;
    char type[80] = "q_empty";

    if (command->arguments[0].name) {
        snprintf(type, sizeof(type), "q_obj_%s-arg", command->name);
        json_t *members = json_array();
        for (const struct control_argument *a = command->arguments; a->name; a++)
            add_member(members, a->name, a->type, a->optional);
        add_object(schema, type, members);
    }
    json_array_append_new(schema, json_pack("{s:s, s:s, s:s, s:s}", "name", command->name, "meta-type", "command",
                                            "arg-type", type, "ret-type", "any"));
}

static void add_event(json_t *schema, const struct event *event)
{
    char type[80] = "q_empty";

    if (event->members[0].name) {
        snprintf(type, sizeof(type), "q_obj_%s-arg", event->name);
        json_t *members = json_array();
        for (size_t i = 0; event->members[i].name; i++)
            add_member(members, event->members[i].name, event->members[i].type, false);
        add_object(schema, type, members);
    }
    json_array_append_new(schema,
                          json_pack("{s:s, s:s, s:s}", "name", event->name, "meta-type", "event", "arg-type", type));
}

int control_query_schema(struct control_call *call)
{
    static const struct control_command negotiation = {.name = "qmp_capabilities"};
    json_t *schema = call->result = json_array();

    if (!schema)
        return 0;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(builtins); i++)
        json_array_append_new(schema, json_pack("{s:s, s:s, s:s}", "name", builtins[i].name, "meta-type", "builtin",
                                                "json-type", builtins[i].words));
    json_array_append_new(schema,
                          json_pack("{s:s, s:s, s:s}", "name", "[any]", "meta-type", "array", "element-type", "any"));
    add_object(schema, "q_empty", json_array());
    add_command(schema, &negotiation);
    control_each_command(add_command, schema);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(events); i++)
        add_event(schema, &events[i]);
    return 0;
}
