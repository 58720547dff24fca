/* `tuff ctl`: one command to a running virtual machine, for people and scripts. */
#include "cli/command.h"
#include "cli/qmp_client.h"
#include "cli/report.h"
#include "cli/values.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Short names of what people ask most. */
static const struct {
    const char *alias, *command;
} aliases[] = {
    {"status", "query-status"},
    {"resume", "cont"},
    {"pause", "stop"},
    {"reset", "system_reset"},
    {"powerdown", "system_powerdown"},
    {"cpus", "query-cpus-fast"},
    {"disks", "query-block"},
    {"nets", "x-query-net"},
    {"limit-disk", "block_set_io_throttle"},
    {"limit-net", "x-net-set-limits"},
};

static const char *command_of(const char *word)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(aliases); i++) {
        if (strcmp(aliases[i].alias, word) == 0)
            return aliases[i].command;
    }
    return word;
}

/* ---- arguments ---- */

/* What the machine says of an argument: "integer", "string", ..; NULL: nothing. */
static const char *type_of(const json_t *help, const char *command, const char *name, size_t len)
{
    for (size_t i = 0; i < json_array_size(help); i++) {
        const json_t *row = json_array_get(help, i), *arguments = json_object_get(row, "arguments");
        const char *row_name = json_string_value(json_object_get(row, "name"));
        if (!row_name || strcmp(row_name, command) != 0)
            continue;
        for (size_t k = 0; k < json_array_size(arguments); k++) {
            const json_t *argument = json_array_get(arguments, k);
            const char *own = json_string_value(json_object_get(argument, "name"));
            if (own && strlen(own) == len && memcmp(own, name, len) == 0)
                return json_string_value(json_object_get(argument, "type"));
        }
    }
    return NULL;
}

/* A number, with K, M, G or T as in --memory. */
static json_t *number_of(const char *text)
{
    uint64_t value;

    if (values_number(text, 0, INT64_MAX, &value) && values_size(text, &value))
        return NULL;
    return value <= INT64_MAX ? json_integer((json_int_t)value) : NULL;
}

/* The value as the type wants it; without one as it looks: JSON, a number, else text. */
static json_t *value_of(const char *text, const char *type)
{
    json_t *value = NULL;

    if (type && strcmp(type, "string") == 0)
        return json_string(text);
    if (!type || strcmp(type, "integer") == 0)
        value = number_of(text);
    if (!value)
        value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value || type ? value : json_string(text);
}

static int add_argument(json_t *arguments, const json_t *help, const char *command, const char *word)
{
    size_t len = strcspn(word, "=");
    json_t *value;

    if (!len || !word[len]) {
        report_error("argument, %s, is not one: give KEY=VALUE", word);
        return -EINVAL;
    }
    const char *type = type_of(help, command, word, len);
    value = value_of(word + len + 1, type);
    if (!value) {
        report_error("argument, %s, is not of type %s: give another", word, type ? type : "JSON");
        return -EINVAL;
    }
    return json_object_setn_new(arguments, word, len, value);
}

/* ---- output ---- */

static void print_result(const json_t *result)
{
    if (json_is_string(result))
        fputs(json_string_value(result), stdout);
    else if (json_object_size(result) || json_is_array(result) || json_is_number(result)) {
        json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
    }
}

static void print_commands(const json_t *help)
{
    for (size_t i = 0; i < json_array_size(help); i++) {
        const json_t *row = json_array_get(help, i), *arguments = json_object_get(row, "arguments");
        printf("%s", json_string_value(json_object_get(row, "name")));
        for (size_t k = 0; k < json_array_size(arguments); k++) {
            const json_t *argument = json_array_get(arguments, k);
            bool optional = json_is_true(json_object_get(argument, "optional"));
            printf(" %s%s=%s%s", optional ? "[" : "", json_string_value(json_object_get(argument, "name")),
                   json_string_value(json_object_get(argument, "type")), optional ? "]" : "");
        }
        printf("\n    %s\n", json_string_value(json_object_get(row, "text")));
    }
}

/* Until the machine has ended. */
static int print_events(struct qmp_client *client)
{
    json_t *event;

    while ((event = qmp_client_event(client))) {
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(event);
        if (fflush(stdout))
            break;
    }
    return CLI_EXIT_OK;
}

/* ---- the command ---- */

static int run_command(struct qmp_client *client, const json_t *help, const char *command, const char *const *words)
{
    json_t *arguments = json_object(), *result = NULL;
    struct error err;

    for (size_t i = 0; words[i]; i++) {
        if (add_argument(arguments, help, command, words[i])) {
            json_decref(arguments);
            return CLI_EXIT_USAGE;
        }
    }
    if (qmp_client_run(client, command, arguments, &result, &err)) {
        report_error("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    print_result(result);
    json_decref(result);
    return CLI_EXIT_OK;
}

/* The rest of the line is the monitor's. */
static int run_monitor(struct qmp_client *client, const char *const *words)
{
    char line[256];
    size_t at = 0;

    line[0] = '\0';
    for (size_t i = 0; words[i] && at < sizeof(line); i++)
        at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%s", i ? " " : "", words[i]);
    json_t *result = NULL;
    struct error err;
    if (qmp_client_run(client, "human-monitor-command", json_pack("{s:s}", "command-line", line), &result, &err)) {
        report_error("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    print_result(result);
    json_decref(result);
    return CLI_EXIT_OK;
}

static int run_with(struct qmp_client *client, const char *word, const char *const *rest)
{
    json_t *help = NULL;
    struct error err;
    int code;

    if (strcmp(word, "events") == 0 && !*rest)
        return print_events(client);
    if (strcmp(word, "monitor") == 0)
        return run_monitor(client, rest);
    /* Another program's socket has no such command: then values are taken for what they look like. */
    if (qmp_client_run(client, "x-query-help", NULL, &help, &err))
        help = NULL;
    if (strcmp(word, "help") == 0 && !*rest && help) {
        print_commands(help);
        code = CLI_EXIT_OK;
    } else {
        code = run_command(client, help, command_of(word), rest);
    }
    json_decref(help);
    return code;
}

static int ctl_run(const struct option_values *values)
{
    static const char *const none[] = {NULL};
    struct qmp_client *client;
    struct error err;

    if (!values->operand_count) {
        report_error("virtual machine, nothing given, is needed: give its name or socket, as in tuff ctl NAME status");
        return CLI_EXIT_USAGE;
    }
    if (qmp_client_open(values->operands[0], &client, &err)) {
        report_error("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    int code = run_with(client, values->operand_count > 1 ? values->operands[1] : "status",
                        values->operand_count > 2 ? values->operands + 2 : none);
    qmp_client_close(client);
    return code;
}

const struct command command_ctl = {
    .name = "ctl",
    .usage = "NAME|PATH [COMMAND [KEY=VALUE..]]",
    .summary = "steer a running virtual machine",
    .description =
        "Sends a command to a virtual machine that was started with a name or a control socket, and prints what it\n"
        "answers as JSON. The machine is given by its name or by the path of its socket.",
    .options = OPTION_FOR_CTL,
    .examples = "  tuff ctl web                               does it run?\n"
                "  tuff ctl web stop; tuff ctl web cont       stand still, go on\n"
                "  tuff ctl web balloon value=512M            live with less memory\n"
                "  tuff ctl web limit-disk id=disk0 iops=500  slow a disk down\n"
                "  tuff ctl web events                        say what happens, until its end\n"
                "  tuff ctl web monitor info cpus             QEMU's monitor's words\n",
    .notes = "Commands:\n"
             "  help                    list those of the machine, with their arguments\n"
             "  events                  print events as they come, one JSON object a line\n"
             "  monitor WORDS..         a line of QEMU's monitor, of which a few are known\n"
             "  status, cpus, disks, nets, pause, resume, reset, powerdown, limit-disk, limit-net\n"
             "                          short for query-status, query-cpus-fast, query-block, x-query-net, stop,\n"
             "                          cont, system_reset, system_powerdown, block_set_io_throttle, x-net-set-limits\n"
             "  anything else           a command of QMP, as the machine's own help lists them\n"
             "\n"
             "Exit codes: 0, or 2 when the machine is not there or refuses the command.\n",
    .run = ctl_run,
};
