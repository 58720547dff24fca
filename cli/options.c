/* From a command's table to popt and to the text of --help; see options.h. popt does the parsing. */
#include "cli/options.h"

#include "cli/report.h"

#include <errno.h>
#include <popt.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 26 };

/* popt points into the table, the values and what was put back until its context is freed. */
struct parse {
    poptContext context;
    struct poptOption *table;
    const char *put_back[2]; /* one word and NULL; read before another can come */
    char *owned[256];        /* values, which popt allocates */
    size_t owned_count;
};

/* An option's value for popt is its row's number + 1: popt keeps 0 and below for itself. */
static struct poptOption *popt_table(const struct command *command)
{
    static const unsigned kinds[] = {
        [OPTION_FLAG] = POPT_ARG_NONE,
        [OPTION_VALUE] = POPT_ARG_STRING,
        [OPTION_LIST] = POPT_ARG_STRING,
        [OPTION_CHOICE] = POPT_ARG_STRING | POPT_ARGFLAG_OPTIONAL,
    };
    struct poptOption *table = calloc(option_row_count + 1, sizeof(*table));
    struct poptOption *at = table;

    for (size_t i = 0; table && i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->commands & command->options)
            *at++ = (struct poptOption){
                .longName = row->name, .shortName = row->letter, .argInfo = kinds[row->kind], .val = (int)i + 1};
    }
    return table;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);

    for (const char *at = choices;; at++) {
        size_t item_len = strcspn(at, "|");
        if ((item_len == len && memcmp(at, value, len) == 0) || (len && item_len == 1 && *at == 'N'))
            return true;
        at += item_len;
        if (!*at)
            return false;
    }
}

static bool was_written_with_equals(const struct option_row *row, const char *value, int argc, const char *const *argv)
{
    size_t name_len = strlen(row->name);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && strncmp(argv[i] + 2, row->name, name_len) == 0 &&
            argv[i][2 + name_len] == '=' && strcmp(argv[i] + 3 + name_len, value) == 0)
            return true;
    }
    return false;
}

/* popt gives an optional value the next word of the command line, which may be an operand (`tuff run --stats
 * demo.elf`): what was not attached by '=' goes back. */
static int take_optional(struct parse *parse, const struct option_row *row, const char **value, int argc,
                         const char *const *argv)
{
    if (!*value) {
        *value = "";
        return 0;
    }
    if (was_written_with_equals(row, *value, argc, argv)) {
        if (is_choice(row->argument, *value))
            return 0;
        report_error("--%s, '%s', is not known: give --%s or --%s=%s", row->name, *value, row->name, row->name,
                     row->argument);
        return -EINVAL;
    }
    parse->put_back[0] = *value;
    if (poptStuffArgs(parse->context, parse->put_back)) {
        report_error("--%s, '%s', cannot be read: put --%s last", row->name, *value, row->name);
        return -EINVAL;
    }
    *value = "";
    return 0;
}

static int report_popt_error(poptContext context, const struct command *command, int code)
{
    const char *option = poptBadOption(context, POPT_BADOPTION_NOALIAS);

    switch (code) {
    case POPT_ERROR_BADOPT:
        report_error("option, %s, is not known: see tuff help%s%s", option, *command->name ? " " : "", command->name);
        break;
    case POPT_ERROR_NOARG:
        report_error("option, %s, has no value: see tuff help %s", option, command->name);
        break;
    default:
        report_error("option, %s, is refused (%s): see tuff help %s", option, poptStrerror(code), command->name);
        break;
    }
    return -EINVAL;
}

static size_t count_operands(const char *const *operands)
{
    size_t count = 0;

    while (operands[count])
        count++;
    return count;
}

static int keep_value(struct parse *parse, char *value)
{
    if (parse->owned_count == TUFF_ARRAY_LEN(parse->owned)) {
        free(value);
        report_error("command line, over %zu values, is too long: give each option once", TUFF_ARRAY_LEN(parse->owned));
        return -EINVAL;
    }
    parse->owned[parse->owned_count++] = value;
    return 0;
}

static int report_no_memory(void)
{
    report_error("command line, not enough host memory, free some");
    return -ENOMEM;
}

/* *value becomes `before`,*value. */
static int add_to_list(struct parse *parse, const char *before, const char **value)
{
    char *joined;

    if (asprintf(&joined, "%s,%s", before, *value) < 0)
        return report_no_memory();
    *value = joined;
    return keep_value(parse, joined);
}

static int parse_all(struct parse *parse, const struct command *command, int argc, const char *const *argv,
                     struct option_values *out)
{
    int code;

    while ((code = poptGetNextOpt(parse->context)) > 0) {
        const struct option_row *row = &option_rows[code - 1];
        char *owned = poptGetOptArg(parse->context);
        const char *value = owned;
        int rc = owned ? keep_value(parse, owned) : 0;

        if (!rc && row->kind == OPTION_CHOICE)
            rc = take_optional(parse, row, &value, argc, argv);
        if (!rc && row->kind == OPTION_LIST && out->value[row->id])
            rc = add_to_list(parse, out->value[row->id], &value);
        if (rc)
            return rc;
        out->value[row->id] = value ? value : "";
    }
    if (code != -1)
        return report_popt_error(parse->context, command, code);
    return 0;
}

int options_set(struct option_values *values, const struct option_row *row, const char *text)
{
    struct parse *parse = values->context;
    const char *value = strdup(text);
    int rc;

    if (!value)
        return report_no_memory();
    rc = keep_value(parse, (char *)value);
    if (!rc && row->kind == OPTION_CHOICE && *value && !is_choice(row->argument, value)) {
        report_error("--%s, '%s', is not known: give --%s or --%s=%s", row->name, value, row->name, row->name,
                     row->argument);
        rc = -EINVAL;
    }
    if (!rc && row->kind == OPTION_LIST && values->value[row->id])
        rc = add_to_list(parse, values->value[row->id], &value);
    if (!rc)
        values->value[row->id] = value;
    return rc;
}

int options_parse(const struct command *command, int argc, const char *const *argv, struct option_values *out)
{
    static const char *const no_operands[] = {NULL};
    struct parse *parse = calloc(1, sizeof(*parse));
    const char **operands;
    int rc = 0;

    *out = (struct option_values){.operands = no_operands, .context = parse};
    if (parse)
        parse->table = popt_table(command);
    if (parse && parse->table)
        parse->context = poptGetContext("tuff", argc, (const char **)argv, parse->table, 0);
    if (!parse || !parse->context)
        rc = report_no_memory();
    if (!rc)
        rc = parse_all(parse, command, argc, argv, out);
    if (rc) {
        options_free(out);
        return rc;
    }
    operands = poptGetArgs(parse->context);
    if (operands) {
        out->operands = (const char *const *)operands;
        out->operand_count = count_operands(out->operands);
    }
    return 0;
}

void options_free(struct option_values *values)
{
    struct parse *parse = values->context;

    values->context = NULL;
    if (!parse)
        return;
    if (parse->context)
        poptFreeContext(parse->context);
    for (size_t i = 0; i < parse->owned_count; i++)
        free(parse->owned[i]);
    free(parse->table);
    free(parse);
}

/* Prints lines, each after the first at `column`. */
static void print_indented(const char *text, int column, FILE *out)
{
    for (const char *at = text;;) {
        size_t len = strcspn(at, "\n");
        fprintf(out, "%.*s\n", (int)len, at);
        at += len;
        if (!*at)
            return;
        at++;
        fprintf(out, "%*s", column, "");
    }
}

static void print_option(const struct option_row *row, FILE *out)
{
    static const char *const before[] = {
        [OPTION_FLAG] = "", [OPTION_VALUE] = "=", [OPTION_LIST] = "=", [OPTION_CHOICE] = "[="};
    static const char *const after[] = {
        [OPTION_FLAG] = "", [OPTION_VALUE] = "", [OPTION_LIST] = "", [OPTION_CHOICE] = "]"};
    char letter[] = {'-', row->letter, ',', '\0'};
    char left[64];
    int len = snprintf(left, sizeof(left), "  %3s --%s%s%s%s", row->letter ? letter : "", row->name, before[row->kind],
                       row->argument ? row->argument : "", after[row->kind]);

    if (len < HELP_COLUMN)
        fprintf(out, "%-*s", HELP_COLUMN, left);
    else
        fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    print_indented(row->help, HELP_COLUMN, out);
}

static void print_options(const struct command *command, FILE *out)
{
    const char *section = "";

    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (!(row->commands & command->options))
            continue;
        if (strcmp(section, row->section) != 0)
            fprintf(out, "\n%s:\n", row->section);
        section = row->section;
        print_option(row, out);
    }
}

void options_help(const struct command *command, FILE *out)
{
    fprintf(out, "Usage: tuff %s %s\n\n%s\n", command->name, command->usage, command->description);
    print_options(command, out);
    if (command->notes)
        fprintf(out, "\n%s", command->notes);
    fprintf(out, "\nExamples:\n%s", command->examples);
}
