/* Requests and answers of the control socket: the rules of QMP that hold for every command. What a request may consist
 * of, and what its arguments must be, is checked here, from the commands' tables. */
#include "control/control_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct control_command *const tables[] = {control_run_commands, control_device_commands,
                                                       control_query_commands, control_snapshot_commands};

void control_each_command(void (*fn)(void *opaque, const struct control_command *command), void *opaque)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(tables); i++) {
        for (const struct control_command *command = tables[i]; command->name; command++)
            fn(opaque, command);
    }
}

static const struct control_command *find_command(const char *name)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(tables); i++) {
        for (const struct control_command *command = tables[i]; command->name; command++) {
            if (strcmp(command->name, name) == 0)
                return command;
        }
    }
    return NULL;
}

/* ---- messages ---- */

/* `id` goes back as it came. */
static json_t *with_id(json_t *answer, json_t *id)
{
    if (answer && id && json_object_set(answer, "id", id)) {
        json_decref(answer);
        return NULL;
    }
    return answer;
}

json_t *qmp_error(const char *class, const char *text, json_t *id)
{
    json_t *desc = json_string(text);

    /* Names that a client gave may have been cut inside a character. */
    if (!desc) {
        char plain[ERROR_TEXT_BYTES];
        snprintf(plain, sizeof(plain), "%s", text);
        for (char *c = plain; *c; c++)
            *c = (unsigned char)*c < 0x80 ? *c : '?';
        desc = json_string(plain);
    }
    return with_id(json_pack("{s:{s:s, s:o}}", "error", "class", class, "desc", desc), id);
}

static void version_numbers(const char *version, int numbers[3])
{
    char *at = (char *)version;

    for (int i = 0; i < 3; i++) {
        numbers[i] = (int)strtol(at, &at, 10);
        at += *at == '.';
    }
}

json_t *control_version(const struct control *control)
{
    int n[3];
    char package[64];

    version_numbers(control->config.version, n);
    snprintf(package, sizeof(package), "tuff %s", control->config.version);
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", n[0], "minor", n[1], "micro", n[2], "package",
                     package);
}

json_t *qmp_greeting(const struct control *control)
{
    return json_pack("{s:{s:o, s:[]}}", "QMP", "version", control_version(control), "capabilities");
}

/* ---- arguments ---- */

static bool is_type(const json_t *value, json_type type)
{
    switch (type) {
    case JSON_NULL:
        return true;
    case JSON_TRUE:
        return json_is_boolean(value);
    case JSON_REAL:
        return json_is_number(value);
    default:
        return json_typeof(value) == type;
    }
}

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number";
    default:
        return "true or false";
    }
}

static const struct control_argument *find_argument(const struct control_command *command, const char *name)
{
    for (const struct control_argument *a = command->arguments; a->name; a++) {
        if (strcmp(a->name, name) == 0)
            return a;
    }
    return NULL;
}

static int check_arguments(struct control_call *call, const struct control_command *command)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)call->arguments, name, value)
    {
        const struct control_argument *argument = find_argument(command, name);
        if (!argument)
            return error_set(&call->err, -EINVAL, "%s has no argument '%.80s'", command->name, name);
        if (!is_type(value, argument->type))
            return error_set(&call->err, -EINVAL, "argument '%s' of %s is not %s", name, command->name,
                             type_name(argument->type));
    }
    for (const struct control_argument *a = command->arguments; a->name; a++) {
        if (!a->optional && !json_object_get(call->arguments, a->name))
            return error_set(&call->err, -EINVAL, "argument '%s' of %s is missing", a->name, command->name);
    }
    return 0;
}

const char *control_string(const struct control_call *call, const char *name, const char *fallback)
{
    const char *value = json_string_value(json_object_get(call->arguments, name));

    return value ? value : fallback;
}

int control_uint(struct control_call *call, const char *name, uint64_t fallback, uint64_t *out)
{
    const json_t *value = json_object_get(call->arguments, name);

    *out = value ? (uint64_t)json_integer_value(value) : fallback;
    if (value && json_integer_value(value) < 0)
        return error_set(&call->err, -EINVAL, "argument '%s' is %lld: give 0 or more", name,
                         (long long)json_integer_value(value));
    return 0;
}

/* ---- running ---- */

int qmp_run(struct control_call *call, const char *name, const json_t *arguments)
{
    const struct control_command *command = find_command(name);
    json_t *none = NULL;
    int rc;

    if (!command) {
        call->class = "CommandNotFound";
        return error_set(&call->err, -ENOENT, "the command %.80s is not known: query-commands lists them", name);
    }
    if (!arguments) {
        none = json_object();
        if (!none)
            return error_set(&call->err, -ENOMEM, "not enough host memory");
    }
    call->arguments = arguments ? arguments : none;
    call->machine = call->control->machine;
    rc = check_arguments(call, command);
    if (!rc && command->needs_machine && !call->machine)
        rc = error_set(&call->err, -EAGAIN, "the virtual machine is between two boots: try again");
    if (!rc)
        rc = command->run(call);
    call->arguments = NULL;
    json_decref(none);
    return rc;
}

/* What a request may have. Returns NULL or what is wrong with it. */
static const char *check_request(const json_t *request)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)request, name, value)
    {
        if (strcmp(name, "execute") == 0) {
            if (!json_is_string(value))
                return "'execute' is not a string";
        } else if (strcmp(name, "arguments") == 0) {
            if (!json_is_object(value))
                return "'arguments' is not an object";
        } else if (strcmp(name, "exec-oob") == 0) {
            return "out-of-band commands were not offered";
        } else if (strcmp(name, "id") != 0) {
            return "a request has 'execute', 'arguments' and 'id', nothing else";
        }
    }
    return json_object_get(request, "execute") ? NULL : "'execute' is missing";
}

static json_t *negotiate(struct control_client *client, const json_t *arguments, json_t *id)
{
    const json_t *enable = json_object_get(arguments, "enable");

    if (client->negotiated)
        return qmp_error("CommandNotFound", "capabilities have been negotiated already", id);
    if ((arguments && json_object_size(arguments) != (enable ? 1 : 0)) || (enable && !json_is_array(enable)))
        return qmp_error("GenericError", "qmp_capabilities takes an array 'enable' at most", id);
    if (json_array_size(enable))
        return qmp_error("GenericError", "no capability was offered that could be enabled", id);
    client->negotiated = true;
    return with_id(json_pack("{s:{}}", "return"), id);
}

static json_t *answer_request(struct control_client *client, const json_t *request)
{
    json_t *id = json_object_get(request, "id"), *answer;
    const json_t *arguments = json_object_get(request, "arguments");
    const char *wrong = check_request(request);
    const char *name = json_string_value(json_object_get(request, "execute"));

    if (wrong)
        return qmp_error("GenericError", wrong, id);
    if (strcmp(name, "qmp_capabilities") == 0)
        return negotiate(client, arguments, id);
    if (!client->negotiated)
        return qmp_error("CommandNotFound", "qmp_capabilities comes before any other command", id);
    struct control_call call = {.control = client->control};
    pthread_mutex_lock(&client->control->lock);
    int rc = qmp_run(&call, name, arguments);
    pthread_mutex_unlock(&client->control->lock);
    if (rc) {
        json_decref(call.result);
        return qmp_error(call.class ? call.class : "GenericError", call.err.text, id);
    }
    answer = call.result ? json_pack("{s:o}", "return", call.result) : json_pack("{s:{}}", "return");
    return with_id(answer, id);
}

json_t *qmp_answer(struct control_client *client, const char *text, size_t len)
{
    json_error_t error;
    char what[256];
    json_t *request = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error), *answer;

    if (!request) {
        snprintf(what, sizeof(what), "what was sent is not JSON: %s", error.text);
        return qmp_error("GenericError", what, NULL);
    }
    answer = answer_request(client, request);
    json_decref(request);
    return answer;
}
