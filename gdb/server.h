/* Where gdb connects: a listening socket and the thread that serves one client at a time (gdb/stub.h). */
#ifndef TUFF_GDB_SERVER_H
#define TUFF_GDB_SERVER_H

#include "base/compiler.h"
#include "base/error.h"
#include "gdb/stub.h"

struct gdb_server;

/* Listens at ":PORT" or "HOST:PORT" (without HOST: 127.0.0.1; port 0: one that is free), or "unix:PATH", where a socket
 * that nobody listens at is replaced. Returns 0, or a negative errno with a line in err. */
int gdb_server_create(const char *address, struct gdb_server **out, struct error *err) TUFF_MUST_CHECK;
/* Stops and frees it. NULL is allowed. */
void gdb_server_destroy(struct gdb_server *server);
/* As clients would have to name it; borrowed. */
const char *gdb_server_address(const struct gdb_server *server);

/* Starts the thread, which is the one that calls `target` (copied). `standing`: the machine is paused, once, and stays
 * so until the first client lets it go on. Returns 0 or a negative errno. */
int gdb_server_start(struct gdb_server *server, const struct gdb_target *target, bool standing) TUFF_MUST_CHECK;
/* The machine has ended, and its harts do not run any more: tells the client, ends the thread. Does nothing if it was
 * not started. */
void gdb_server_stop(struct gdb_server *server, uint8_t exit_code);

/* Any thread: target->has_stopped() is true of a hart. */
void gdb_server_notify(struct gdb_server *server);

#endif
