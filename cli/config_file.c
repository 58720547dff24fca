/* See config_file.h. The option table is the schema: there is no other list of what may stand in a file. */
#include "cli/config_file.h"

#include "cli/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct config_file {
    const char *path;
    const struct command *command;
    struct option_values *values;
    bool given[OPTION_ID_COUNT]; /* on the command line */
};

static const struct option_row *find_row(const struct command *command, const char *name)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->commands & command->options && strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

static int set_one(const struct config_file *file, const struct option_row *row, const json_t *value)
{
    char number[32];
    const char *text = json_string_value(value);

    if (json_is_integer(value)) {
        snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
        text = number;
    }
    if (!text) {
        report_error("--config, %s, '%s' is neither text nor a whole number: write it as --%s takes it", file->path,
                     row->name, row->name);
        return -EINVAL;
    }
    return file->given[row->id] ? 0 : options_set(file->values, row, text);
}

static int set_list(const struct config_file *file, const struct option_row *row, const json_t *list)
{
    const json_t *value;
    size_t i;
    int rc = 0;

    json_array_foreach((json_t *)list, i, value)
    {
        if (!rc)
            rc = set_one(file, row, value);
    }
    return rc;
}

static int set_member(const struct config_file *file, const char *name, const json_t *value)
{
    const struct option_row *row = find_row(file->command, name);
    bool takes_bool = row && (row->kind == OPTION_FLAG || row->kind == OPTION_CHOICE);

    if (!row || row->id == OPTION_CONFIG || row->id == OPTION_HELP) {
        report_error("--config, %s, '%s' is no option that a file can have: see tuff help %s", file->path, name,
                     file->command->name);
        return -EINVAL;
    }
    if (json_is_boolean(value) && takes_bool)
        return json_is_true(value) && !file->given[row->id] ? options_set(file->values, row, "") : 0;
    if (row->kind == OPTION_FLAG) {
        report_error("--config, %s, '%s' is neither true nor false: --%s takes no value", file->path, name, name);
        return -EINVAL;
    }
    return row->kind == OPTION_LIST && json_is_array(value) ? set_list(file, row, value) : set_one(file, row, value);
}

int config_file_read(const char *path, const struct command *command, struct option_values *values)
{
    struct config_file file = {.path = path, .command = command, .values = values};
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const char *name;
    json_t *value;
    int rc = 0;

    if (!root && error.line < 0) {
        report_error("--config, %s, cannot be read: name a file with a JSON object", path);
        return -EINVAL;
    }
    if (!json_is_object(root)) {
        report_error("--config, %s, line %d is not what a JSON object has: %s", path, root ? 1 : error.line,
                     root ? "it begins otherwise" : error.text);
        json_decref(root);
        return -EINVAL;
    }
    for (int id = 0; id < OPTION_ID_COUNT; id++)
        file.given[id] = values->value[id] != NULL;
    json_object_foreach(root, name, value)
    {
        if (!rc)
            rc = set_member(&file, name, value);
    }
    json_decref(root);
    return rc;
}
