/* The parts of the control socket: server.c (clients and their bytes), qmp.c (requests and answers), commands*.c (what
 * the requests do), monitor.c (the same for people).
 *
 * `lock` guards what is below it in struct control. It is held while a command runs, so the machine stays; it is taken
 * before any lock of the machine's.
 */
#ifndef TUFF_CONTROL_CONTROL_INTERNAL_H
#define TUFF_CONTROL_CONTROL_INTERNAL_H

#include "base/loop.h"
#include "control/control.h"
#include "control/framing.h"
#include "control/listen.h"
#include "machine/machine_snapshot.h"

#include <jansson.h>
#include <pthread.h>

enum { CONTROL_CLIENTS_MAX = 64, CONTROL_OUTPUT_BYTES = 4 << 20, CONTROL_ARGUMENTS_MAX = 9 };

struct control_client {
    struct control *control;
    struct control_client *next;
    int fd;
    struct framing input;
    char *output; /* what it has not taken yet: from output_start on */
    size_t output_start, output_len, output_capacity;
    bool negotiated; /* qmp_capabilities was sent: commands are taken, events are sent */
    bool closing;    /* once the output is gone */
    bool lost;       /* to be freed when nobody uses it */
};

struct control_limits {
    bool set;
    uint64_t bytes_per_s, ops_per_s;
};

/* The one job there can be; under the lock, but for what snapshot_save() says. */
struct control_job {
    char id[64], tag[64], error[ERROR_TEXT_BYTES];
    struct machine *machine;
    struct machine_snapshot_result result;
    bool known, running;
};

struct control {
    struct control_config config;
    struct loop *loop;
    struct listener listener;
    struct acceptor *acceptor;
    struct control_client *clients; /* of the loop's thread, as the next one */
    unsigned client_count;

    pthread_mutex_t lock;
    struct machine *machine; /* NULL: before the first, or between two */
    bool stopped;            /* by a client */
    bool paused;             /* and the machine is */
    bool quitting;           /* a client said quit */
    bool reset_by_client;    /* the machine's end, if it is a reset */
    const char *status;      /* how the last machine ended, while there is none */
    struct control_limits disks[MACHINE_DISKS_MAX], nets[MACHINE_NETS_MAX];
    struct control_job job;
    pthread_cond_t job_ended;
    bool balloon_set;
    uint64_t balloon_bytes;
};

/* One command being run. */
struct control_call {
    struct control *control;
    struct machine *machine; /* NULL only for commands that do not need one */
    const json_t *arguments; /* an object whose members have been checked against the command's list */
    json_t *result;          /* what is returned; NULL: {} */
    const char *class;       /* of an error; NULL: GenericError */
    struct error err;
};

struct control_argument {
    const char *name;
    json_type type; /* JSON_TRUE: true or false; JSON_NULL: anything */
    bool optional;
};

struct control_command {
    const char *name, *text; /* the text is for people: tuff ctl lists it */
    bool needs_machine;
    /* On the loop's thread with the lock held. Returns 0, or a negative errno with a line in call->err. */
    int (*run)(struct control_call *call);
    struct control_argument arguments[CONTROL_ARGUMENTS_MAX]; /* ends with a name of NULL */
};

/* The tables of commands, each ending with a name of NULL. */
extern const struct control_command control_run_commands[], control_device_commands[], control_query_commands[],
    control_snapshot_commands[];
/* schema.c: a command's run(). */
int control_query_schema(struct control_call *call);
/* Calls fn for each command. */
void control_each_command(void (*fn)(void *opaque, const struct control_command *command), void *opaque);

/* qmp.c: one message of a client. Returns the answer (the caller's) or NULL without memory. */
json_t *qmp_answer(struct control_client *client, const char *text, size_t len);
json_t *qmp_error(const char *class, const char *text, json_t *id);
json_t *qmp_greeting(const struct control *control);
/* Looks a command up, checks its arguments (NULL: none) and runs it: what qmp_answer() and monitor.c share. On failure
 * call->err and call->class say why. */
int qmp_run(struct control_call *call, const char *name, const json_t *arguments);

/* Any thread: an event to all clients that have negotiated. Takes `data` over; NULL: none. */
void control_event(struct control *control, const char *name, json_t *data);

/* With the lock, which it gives up meanwhile: no job runs afterwards. */
void control_job_wait(struct control *control);
/* What was set by clients, for the machine that was just attached; with the lock held. */
void control_set_again(struct control *control);
/* The event for a machine's end, and what query-status says until the next one. */
void control_tell_end(struct control *control, const struct machine_result *result);

/* monitor.c: a command line for people, answered by text (the caller's to free; NULL: no memory). With the lock held.
 */
char *monitor_run(struct control *control, const char *line);

/* Arguments that qmp_run() has checked; `fallback` where an optional one is not given. */
const char *control_string(const struct control_call *call, const char *name, const char *fallback);
int control_uint(struct control_call *call, const char *name, uint64_t fallback, uint64_t *out) TUFF_MUST_CHECK;

/* Members of answers that more than one of them has. */
const char *control_status(const struct control *control);
json_t *control_version(const struct control *control);
void control_hart_path(uint32_t hart, char path[32]);

#endif
