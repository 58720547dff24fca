/* The control socket: programs outside look at a running virtual machine and steer it. The protocol is QMP, as QEMU's
 * clients speak it: a greeting, qmp_capabilities, then {"execute": NAME, "arguments": {..}, "id": ..} answered by
 * {"return": ..} or {"error": {"class", "desc"}}, and events at any time; one JSON object a line.
 *
 * One thread, "tuff-control", serves all clients, and nothing a client does or leaves undone makes a hart or a device
 * wait. A control socket outlives the machines of all boots, as the console does.
 */
#ifndef TUFF_CONTROL_CONTROL_H
#define TUFF_CONTROL_CONTROL_H

#include "base/compiler.h"
#include "base/error.h"
#include "machine/machine.h"

struct control;

/* All pointers are borrowed until control_destroy(). */
struct control_config {
    const char *where;   /* unix:PATH */
    const char *name;    /* of the virtual machine; NULL: it has none */
    const char *version; /* of this program: "MAJOR.MINOR.MICRO" */
    const struct machine_config *machine;
    enum machine_serial serial; /* of the first port, as the user asked for it; machine->serial is cli/'s own */
    const char *serial_path;    /* the file or pseudo-terminal; NULL: none */
};

/* Opens the socket and starts the thread. Returns 0, or a negative errno with one line in `err`. */
int control_create(const struct control_config *config, struct control **out, struct error *err) TUFF_MUST_CHECK;

/* Sends what clients are still owed, for a second at most, then closes the socket and removes its path. NULL is
 * allowed. */
void control_destroy(struct control *control);

/* Gives it a machine (borrowed) that does not run yet, until control_detach(). What was set through the socket (limits,
 * balloon, whether it stands still) is set again, as the machine may be one that comes after a reboot. One thread. */
void control_attach(struct control *control, struct machine *machine);
/* After machine_run(): clients are told how it ended. */
void control_detach(struct control *control, const struct machine_result *result);

#endif
