/* See serve.h. */
#include "cli/serve.h"

#include "cli/names.h"
#include "control/control.h"
#include "control/metrics.h"

#include <errno.h>
#include <stdlib.h>

struct serve {
    char *where; /* of --name's socket */
    struct control *control;
    struct metrics *metrics;
};

static int open_control(struct serve *serve, const struct serve_config *config, struct error *err)
{
    const char *const *value = config->values->value;
    struct control_config control = {.where = value[OPTION_CONTROL],
                                     .name = value[OPTION_NAME],
                                     .version = TUFF_VERSION,
                                     .machine = config->machine,
                                     .serial = config->serial,
                                     .serial_path = config->serial_path};
    int rc = 0;

    if (control.name && control.where && !names_is_valid(control.name))
        return error_set(err, -EINVAL, "--name, '%.80s', is not one of at most %d letters, digits, '.', '_' and '-'",
                         control.name, NAMES_MAX_BYTES);
    if (control.name && !control.where) {
        rc = names_socket(control.name, true, &serve->where, err);
        control.where = serve->where;
    }
    if (rc || !control.where)
        return rc;
    return control_create(&control, &serve->control, err);
}

static int open_metrics(struct serve *serve, const struct serve_config *config, struct error *err)
{
    const char *const *value = config->values->value;
    struct metrics_config metrics = {
        .where = value[OPTION_METRICS], .name = value[OPTION_NAME], .version = TUFF_VERSION};

    return metrics.where ? metrics_create(&metrics, &serve->metrics, err) : 0;
}

int serve_create(const struct serve_config *config, struct serve **out, struct error *err)
{
    struct serve *serve = calloc(1, sizeof(*serve));

    if (!serve)
        return error_set(err, -ENOMEM, "--control, not enough host memory, free some");
    int rc = open_control(serve, config, err);
    if (!rc)
        rc = open_metrics(serve, config, err);
    if (rc) {
        serve_destroy(serve);
        return rc;
    }
    *out = serve;
    return 0;
}

void serve_destroy(struct serve *serve)
{
    if (!serve)
        return;
    metrics_destroy(serve->metrics);
    control_destroy(serve->control);
    free(serve->where);
    free(serve);
}

void serve_attach(struct serve *serve, struct machine *machine)
{
    if (serve->control)
        control_attach(serve->control, machine);
    if (serve->metrics)
        metrics_attach(serve->metrics, machine);
}

void serve_detach(struct serve *serve, const struct machine_result *result)
{
    if (serve->control)
        control_detach(serve->control, result);
    if (serve->metrics)
        metrics_detach(serve->metrics);
}
