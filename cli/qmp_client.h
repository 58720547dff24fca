/* The other end of a control socket: what tuff ctl and tuff top talk through. One connection, one thread; each call
 * blocks until there is an answer, for QMP_CLIENT_WAIT_MS at most. Works with QEMU's sockets too.
 */
#ifndef TUFF_CLI_QMP_CLIENT_H
#define TUFF_CLI_QMP_CLIENT_H

#include "base/compiler.h"
#include "base/error.h"

#include <jansson.h>

struct qmp_client;

enum { QMP_CLIENT_WAIT_MS = 30000 };

/* Connects to the virtual machine `who`: its name, the path of its socket (with a '/' in it) or unix:PATH. Returns 0,
 * or a negative errno with a line in `err`. */
int qmp_client_open(const char *who, struct qmp_client **out, struct error *err) TUFF_MUST_CHECK;
void qmp_client_close(struct qmp_client *client);

/* Runs a command. Takes `arguments` over (NULL: none). Returns 0 with what was returned in *result, the caller's; or
 * a negative errno with a line in `err`: -EREMOTEIO for a refusal by the other side, -EPIPE when it has gone. */
int qmp_client_run(struct qmp_client *client, const char *command, json_t *arguments, json_t **result,
                   struct error *err) TUFF_MUST_CHECK;

/* The next event, the caller's: waits for as long as it takes. Returns NULL when the other side has gone. */
json_t *qmp_client_event(struct qmp_client *client);

#endif
