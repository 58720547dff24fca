/* The host's end of a serial port: where the guest's bytes go and where its input comes from.
 *
 * Output is put into a bounded ring and written by the loop's thread, so that a vCPU that prints does not wait for
 * the host. Only when CONSOLE_RING_BYTES have not been read by the other side the writer waits (a file, a pipe or a
 * terminal that is held: the guest stands still as on a line with flow control, nothing is lost) or the bytes are
 * dropped and counted (a pseudo-terminal, which need not have a reader). Input goes through a bounded queue to the
 * device.
 */
#ifndef TUFF_MACHINE_CONSOLE_BACKEND_H
#define TUFF_MACHINE_CONSOLE_BACKEND_H

#include "base/compiler.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { CONSOLE_RING_BYTES = 1 << 20, CONSOLE_INPUT_BYTES = 4096 };

struct console_backend;
struct loop;

enum console_backend_kind {
    CONSOLE_BACKEND_NULL, /* output disappears, no input but console_backend_input() */
    CONSOLE_BACKEND_SINK, /* output goes to a function, on the thread that writes */
    CONSOLE_BACKEND_FD,   /* output goes to an open descriptor (borrowed) of any kind, which is not set non-blocking */
    CONSOLE_BACKEND_FILE, /* output replaces what is in a file, which is created where missing */
    CONSOLE_BACKEND_PTY,  /* both ways through a new pseudo-terminal; a reader may come and go */
};

/* Takes output; as struct serial_backend's write. */
typedef void (*console_backend_sink_fn)(void *opaque, const uint8_t *bytes, size_t len);
/* Offers input to the device, on the loop's thread. Returns how many bytes it took; when fewer, the rest is offered
 * again after console_backend_can_receive(). */
typedef size_t (*console_backend_receive_fn)(void *opaque, const uint8_t *bytes, size_t len);

struct console_backend_config {
    enum console_backend_kind kind;
    const char *path;             /* FILE; borrowed during the call */
    int fd;                       /* FD; outlives the back end */
    console_backend_sink_fn sink; /* SINK */
    void *sink_opaque;
    console_backend_receive_fn receive; /* NULL: input is discarded */
    void *receive_opaque;
};

/* Creates a back end on `loop` (borrowed; outlives it). Returns 0, or a negative errno with one line in `err`. */
int console_backend_create(struct loop *loop, const struct console_backend_config *config, struct console_backend **out,
                           struct error *err) TUFF_MUST_CHECK;

/* Writes out what is in the ring, as console_backend_flush(), and frees. No other thread uses it any more. NULL is
 * allowed. */
void console_backend_destroy(struct console_backend *backend);

/* Any thread; the first parameter is the back end, so that it serves as a device's write function. The loop runs. */
void console_backend_write(void *backend, const uint8_t *bytes, size_t len);

/* Queues input for the device and returns how much fitted. Any thread. */
size_t console_backend_input(struct console_backend *backend, const uint8_t *bytes, size_t len);

/* The device can take input again. Any thread, also with the device's locks held; cheap when no input waits. */
void console_backend_can_receive(void *backend);

/* Blocks until the ring is empty: until everything is written, the other side is gone, or console_backend_cancel(). A
 * pseudo-terminal is only given what it takes at once. Not on the loop's thread. */
void console_backend_flush(struct console_backend *backend);

/* Any thread: from now on output is dropped and nobody waits. For leaving while the other side does not read. */
void console_backend_cancel(struct console_backend *backend);

/* The guest's bytes that could not be delivered so far. Any thread. */
uint64_t console_backend_dropped(struct console_backend *backend);

/* Path of the pseudo-terminal to connect to, NULL for other kinds. Borrowed until destroy. */
const char *console_backend_pty_path(const struct console_backend *backend);

#endif
