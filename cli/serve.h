/* What programs outside reach of a running machine: --name, --control and --metrics. One a command; it outlives the
 * machines of all boots, as the console does. */
#ifndef TUFF_CLI_SERVE_H
#define TUFF_CLI_SERVE_H

#include "cli/options.h"
#include "machine/machine.h"

struct serve;

struct serve_config {
    const struct option_values *values;
    const struct machine_config *machine; /* borrowed until serve_destroy(), as the next two */
    enum machine_serial serial;
    const char *serial_path; /* of the file or pseudo-terminal; NULL: none */
};

/* Opens what the options ask for, which may be nothing. With signals blocked, before the first machine runs. Returns
 * 0, or a negative errno with a line in `err`. */
int serve_create(const struct serve_config *config, struct serve **out, struct error *err) TUFF_MUST_CHECK;
void serve_destroy(struct serve *serve);

/* Around each machine_run(). */
void serve_attach(struct serve *serve, struct machine *machine);
void serve_detach(struct serve *serve, const struct machine_result *result);

#endif
