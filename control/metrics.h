/* Metrics: the machine's counters as Prometheus reads them, text over HTTP at /metrics, on a UNIX socket or a port of
 * the loopback interface. There is no list of metrics here: they are what machine_stats() has. Outlives the machines of
 * all boots, as the control socket does; its one thread is the HTTP library's.
 */
#ifndef TUFF_CONTROL_METRICS_H
#define TUFF_CONTROL_METRICS_H

#include "base/compiler.h"
#include "base/error.h"
#include "machine/machine.h"

struct metrics;

/* Pointers are borrowed until metrics_destroy(). */
struct metrics_config {
    const char *where;   /* unix:PATH, 127.0.0.1:PORT, [::1]:PORT or :PORT */
    const char *name;    /* of the virtual machine, a label of each metric; NULL: none */
    const char *version; /* of this program */
};

/* Opens the socket and starts the thread. Returns 0, or a negative errno with one line in `err`. */
int metrics_create(const struct metrics_config *config, struct metrics **out, struct error *err) TUFF_MUST_CHECK;
void metrics_destroy(struct metrics *metrics);

/* Around each machine_run(), on the thread that makes it. */
void metrics_attach(struct metrics *metrics, struct machine *machine);
void metrics_detach(struct metrics *metrics);

#endif
