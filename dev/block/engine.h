/* How host I/O of an image is done while others go on: io_uring where the kernel lets us, else a pool of threads. Work
 * that may wait for a lock or several host calls is always the pool's.
 *
 * All functions are called on the loop's thread, or by whoever owns the engine while the loop does not run; there
 * completions are delivered, from the loop's event (or engine_kick_and_poll()) and never from within a call that starts
 * something. */
#ifndef TUFF_DEV_BLOCK_ENGINE_H
#define TUFF_DEV_BLOCK_ENGINE_H

#include "base/compiler.h"
#include "dev/block/host_file.h"

struct loop;
struct engine;

enum engine_kind { ENGINE_AUTO, ENGINE_URING, ENGINE_THREADS };

/* Owned by the caller until done() is called. */
struct engine_op {
    /* Host I/O: all of it is done, or it fails. Behind the end of the file a read finds zeroes, unless
     * `eof_is_error`. */
    struct host_file *file;
    const struct iovec *iov;
    unsigned count;
    bool write, eof_is_error;
    uint64_t offset;
    /* Or, when not NULL: called on a thread of the pool, its result is the op's. */
    int (*job)(struct engine_op *op);

    void (*done)(struct engine_op *op, int result);

    struct engine_op *next;
    int result;
};

/* AUTO takes io_uring if it can be had. Returns 0 or a negative errno (ENGINE_URING: why it cannot be had). */
TUFF_MUST_CHECK int engine_create(struct loop *loop, enum engine_kind kind, struct engine **out);
/* Nothing is under way any more. NULL is allowed. */
void engine_destroy(struct engine *engine);

void engine_start(struct engine *engine, struct engine_op *op);
/* Gives the kernel what was started since; nothing may happen before. */
void engine_kick(struct engine *engine);
/* The same, and delivers at once what is done already: what is in the host's page cache needs no wake-up then. */
void engine_kick_and_poll(struct engine *engine);
/* Calls done() soon, with `result`. */
void engine_finish_later(struct engine *engine, struct engine_op *op, int result);

/* For an owner who takes the loop's place: from engine_detach() on, which waits for a delivery under way, the loop
 * delivers nothing; engine_wait() waits for completions and delivers them. engine_attach() gives it back. */
void engine_detach(struct engine *engine);
void engine_wait(struct engine *engine);
void engine_attach(struct engine *engine, struct loop *loop);

/* "io_uring" or "threads". */
const char *engine_name(const struct engine *engine);

#endif
