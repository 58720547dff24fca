/* gdb's remote protocol over a machine's harts: what a client asks, and what it is told. It knows vCPUs, memory and how
 * to have the machine stand still and go on; no sockets, no threads. All-stop: either every hart stands, and the
 * client's packets are answered, or some run, and the client is told of the first that stops.
 *
 * One thread calls it. The client is not trusted: what it cannot mean is answered with an error or, as the protocol
 * wants for packets that are not known, with nothing.
 */
#ifndef TUFF_GDB_STUB_H
#define TUFF_GDB_STUB_H

#include "base/compiler.h"
#include "engine/vcpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;
struct gdb_stub;

enum gdb_action { GDB_RUN, GDB_HOLD, GDB_STEP };

/* The machine, as far as a debugger reaches. The functions are called on the stub's thread. */
struct gdb_target {
    void *opaque;
    uint32_t hart_count;
    struct vcpu *const *vcpus; /* borrowed, as mem */
    struct mem *mem;
    /* Returns once no hart runs: 0, or -ECANCELED when the machine is ending. */
    int (*pause)(void *opaque);
    /* Each hart does as its action says, one GDB_STEP once. */
    void (*resume)(void *opaque, const enum gdb_action *actions);
    /* Did the hart stop by itself since it was resumed, at a point or after its step? vcpu_last_stop() says why. */
    bool (*has_stopped)(void *opaque, uint32_t hart);
    /* What the hart is doing, in a word or two; static. */
    const char *(*hart_text)(void *opaque, uint32_t hart);
    /* The client wants the virtual machine to end. */
    void (*quit)(void *opaque);
};

/* Bytes for the client. They are gone when it returns. */
typedef void gdb_send_fn(void *opaque, const void *bytes, size_t len);

/* Creates a stub without a client; target and what it borrows outlive it. Returns 0 or -ENOMEM. */
int gdb_stub_create(const struct gdb_target *target, gdb_send_fn *send, void *send_opaque,
                    struct gdb_stub **out) TUFF_MUST_CHECK;
void gdb_stub_destroy(struct gdb_stub *stub);

/* A client is there: the machine stands. `standing`: it was already paused for the stub. Returns 0 or what pause()
 * does. */
int gdb_stub_attach(struct gdb_stub *stub, bool standing) TUFF_MUST_CHECK;
/* The client is gone, or has detached: nothing of what it set stays, and the machine goes on. */
void gdb_stub_detach(struct gdb_stub *stub);
/* False after the client detached by a packet. */
bool gdb_stub_is_attached(const struct gdb_stub *stub);

/* Bytes of the client, in any pieces. */
void gdb_stub_input(struct gdb_stub *stub, const uint8_t *bytes, size_t len);
/* has_stopped() may have become true for a hart. */
void gdb_stub_poll(struct gdb_stub *stub);
/* The machine has ended: the client is told. */
void gdb_stub_ended(struct gdb_stub *stub, uint8_t exit_code);

#endif
