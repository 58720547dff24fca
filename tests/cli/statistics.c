#include "statistics.h"

#include <check.h>

json_t *statistics_of(const struct process *process)
{
    const char *line = process->err_text + process->err_len;
    json_error_t error;
    json_t *root;

    ck_assert_uint_gt(process->err_len, 1);
    ck_assert_int_eq(line[-1], '\n');
    for (line--; line > process->err_text && line[-1] != '\n';)
        line--;
    root = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(json_is_object(root), "%s: %s", error.text, line);
    return root;
}

json_int_t statistics_integer(const json_t *object, const char *key)
{
    ck_assert_msg(json_is_integer(json_object_get(object, key)), "%s", key);
    return json_integer_value(json_object_get(object, key));
}
