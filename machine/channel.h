/* The host's end of a channel between guest and host (a named port of the virtio console): a UNIX stream socket that
 * one program at a time connects to. What the guest writes while nobody is connected is lost, as on a serial line.
 */
#ifndef TUFF_MACHINE_CHANNEL_H
#define TUFF_MACHINE_CHANNEL_H

#include "base/compiler.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct channel;
struct loop;

/* Takes bytes for the guest and returns how many it took; channel_can_receive() says when it takes more. On the loop's
 * thread, without a lock of the channel's. */
typedef size_t (*channel_receive_fn)(void *opaque, const uint8_t *bytes, size_t len);

/* Listens at `path` (a socket that nobody listens at is replaced), served by `loop`, which outlives the channel.
 * Returns 0 or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int channel_create(struct loop *loop, const char *path, channel_receive_fn receive, void *opaque,
                                   struct channel **out, struct error *err);
/* Hangs up and removes the socket. The loop's thread has ended (loop_stop()) or was never started, for a hang-up may be
 * on its way there, and nobody calls any of the others any more. NULL is allowed. */
void channel_destroy(struct channel *channel);

/* What the guest wrote. Any thread but the loop's; waits as long as the program that is connected does not read. */
void channel_write(struct channel *channel, const uint8_t *bytes, size_t len);
/* Any thread, with any lock held: there is room in the guest. */
void channel_can_receive(struct channel *channel);
/* Any thread: channel_write() waits no more and loses what it cannot hand over. */
void channel_end(struct channel *channel);

#endif
