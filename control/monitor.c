/* human-monitor-command: a few lines that people type by habit, put together from the same commands. As with QEMU's, a
 * mistake is a line of the answer, not an error of the protocol. */
#include "control/control_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line of the answer made from a command's result. */
struct monitor_line {
    const char *line, *command;
    void (*print)(const json_t *result, FILE *out); /* NULL: nothing */
    const char *text;
};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static long long number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void print_status(const json_t *result, FILE *out)
{
    fprintf(out, "VM status: %s\r\n", text_of(result, "status"));
}

static void print_cpus(const json_t *result, FILE *out)
{
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *cpu = json_array_get(result, i);
        fprintf(out, "%c CPU #%lld: thread_id=%lld\r\n", i ? ' ' : '*', number_of(cpu, "cpu-index"),
                number_of(cpu, "thread-id"));
    }
}

static void print_version(const json_t *result, FILE *out)
{
    fprintf(out, "%s\r\n", text_of(result, "package"));
}

static void print_name(const json_t *result, FILE *out)
{
    if (*text_of(result, "name"))
        fprintf(out, "%s\r\n", text_of(result, "name"));
}

static void print_block(const json_t *result, FILE *out)
{
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *disk = json_array_get(result, i), *inserted = json_object_get(disk, "inserted");
        fprintf(out, "%s: %s (%s%s)\r\n", text_of(disk, "device"), text_of(inserted, "file"), text_of(inserted, "drv"),
                json_is_true(json_object_get(inserted, "ro")) ? ", read-only" : "");
        if (number_of(inserted, "bps") || number_of(inserted, "iops"))
            fprintf(out, "    limits: bps=%lld iops=%lld\r\n", number_of(inserted, "bps"), number_of(inserted, "iops"));
    }
}

static void print_network(const json_t *result, FILE *out)
{
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *net = json_array_get(result, i);
        fprintf(out, "%s: type=%s queues=%lld bps=%lld pps=%lld\r\n", text_of(net, "id"), text_of(net, "type"),
                number_of(net, "queues"), number_of(net, "bps"), number_of(net, "pps"));
    }
}

static void print_balloon(const json_t *result, FILE *out)
{
    fprintf(out, "balloon: actual=%lld\r\n", number_of(result, "actual") >> 20);
}

static void print_chardev(const json_t *result, FILE *out)
{
    for (size_t i = 0; i < json_array_size(result); i++)
        fprintf(out, "%s: filename=%s\r\n", text_of(json_array_get(result, i), "label"),
                text_of(json_array_get(result, i), "filename"));
}

static const struct monitor_line lines[] = {
    {"info status", "query-status", print_status, "does it run?"},
    {"info cpus", "query-cpus-fast", print_cpus, "harts and their threads"},
    {"info version", "query-version", print_version, "the program's version"},
    {"info name", "query-name", print_name, "the virtual machine's name"},
    {"info block", "query-block", print_block, "disks"},
    {"info network", "x-query-net", print_network, "networks"},
    {"info balloon", "query-balloon", print_balloon, "MiB that the guest lives with"},
    {"info chardev", "query-chardev", print_chardev, "the serial port's other end"},
    {"stop", "stop", NULL, "stand still"},
    {"cont", "cont", NULL, "go on"},
    {"system_reset", "system_reset", NULL, "start the guest again"},
    {"system_powerdown", "system_powerdown", NULL, "press the power key"},
    {"quit", "quit", NULL, "end at once"},
};

static void print_help(FILE *out)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(lines); i++)
        fprintf(out, "%s -- %s\r\n", lines[i].line, lines[i].text);
    fprintf(out, "balloon N -- ask the guest to live with N MiB\r\n");
}

static void run(struct control *control, const char *command, const json_t *arguments,
                void (*print)(const json_t *result, FILE *out), FILE *out)
{
    struct control_call call = {.control = control};

    if (qmp_run(&call, command, arguments))
        fprintf(out, "Error: %s\r\n", call.err.text);
    else if (print)
        print(call.result, out);
    json_decref(call.result);
}

static void run_balloon(struct control *control, const char *text, FILE *out)
{
    char *end;
    unsigned long long mib = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || mib > INT64_MAX >> 20) {
        fprintf(out, "balloon takes a number of MiB, not '%s'\r\n", text);
        return;
    }
    json_t *arguments = json_pack("{s:I}", "value", (json_int_t)(mib << 20));
    run(control, "balloon", arguments, NULL, out);
    json_decref(arguments);
}

static void run_line(struct control *control, const char *line, FILE *out)
{
    static const char balloon[] = "balloon ";

    for (size_t i = 0; i < TUFF_ARRAY_LEN(lines); i++) {
        if (strcmp(lines[i].line, line) == 0) {
            run(control, lines[i].command, NULL, lines[i].print, out);
            return;
        }
    }
    if (strncmp(line, balloon, strlen(balloon)) == 0) {
        run_balloon(control, line + strlen(balloon), out);
    } else if (strcmp(line, "help") == 0) {
        print_help(out);
    } else {
        fprintf(out, "unknown command: '%s'; help lists those there are\r\n", line);
    }
}

char *monitor_run(struct control *control, const char *line)
{
    enum { LINE_BYTES = 256 };
    char words[LINE_BYTES], *text = NULL;
    size_t len = 0, size;
    FILE *out;

    /* Spaces around and between words do not count. */
    for (const char *at = line; *at && len + 1 < sizeof(words); at++) {
        if (*at != ' ' || (len && words[len - 1] != ' '))
            words[len++] = *at;
    }
    while (len && words[len - 1] == ' ')
        len--;
    words[len] = '\0';
    out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    run_line(control, words, out);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
