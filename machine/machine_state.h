/* The state of a machine that stands still, part by part: devices, harts, the SBI, guest time. Out into the sections of
 * a snapshot, and back into a machine that was just created. */
#ifndef TUFF_MACHINE_MACHINE_STATE_H
#define TUFF_MACHINE_MACHINE_STATE_H

#include "base/compiler.h"
#include "base/error.h"
#include "snapshot/snapshot.h"

#include <stdint.h>

struct machine;

/* Section of the pages of RAM that the guest touched first when it went on behind the snapshot (mem/touches.h): no part
 * of the machine, and not in every snapshot. */
#define MACHINE_STATE_TOUCHES "first-touched"
#define MACHINE_STATE_TOUCHES_FIELD "pages"
enum { MACHINE_STATE_TOUCHES_VERSION = 1 };

/* Copies of all sections, so that the machine may go on before they are written. Zero-initialise. */
struct machine_state {
    struct machine_state_section *sections;
    unsigned count;
    int rc; /* -ENOMEM: something is missing */
};

/* While no hart runs and no device works (machine_settle()). */
void machine_state_save(struct machine *m, struct machine_state *state);
TUFF_MUST_CHECK int machine_state_write(const struct machine_state *state, struct snapshot_writer *writer,
                                        struct error *err);
void machine_state_free(struct machine_state *state);

/* Into a machine whose memory is the snapshot's already, before it runs. Time that passed on the host since the
 * snapshot (`created_ns`, CLOCK_REALTIME) counts if `host_time`. When it fails the machine is of no use. */
TUFF_MUST_CHECK int machine_state_load(struct machine *m, struct snapshot_store *store, int64_t id, bool host_time,
                                       int64_t created_ns, struct error *err);

/* No device works a queue or has a host call under way, and no event loop runs anything, until machine_unsettle() on
 * the same thread. No hart may run. */
TUFF_MUST_CHECK int machine_settle(struct machine *m, struct error *err);
void machine_unsettle(struct machine *m);

#endif
