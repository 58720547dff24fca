/* --verify: runs a region, replays the same stretch of guest instructions on the interpreter and compares the two.
 *
 * A hart that verifies enters every region through verify_handler(). The handler notes the hart's registers, lets the
 * region run as a call (the names by which a region is left, symbols.h, are bound to functions that only note which
 * one it was), takes back what the region stored, and interprets as many instructions as the region retired. Where both
 * agree the region's result stands and the guest goes on, as if nothing had happened; where they do not, the difference
 * is reported and the hart stops with VCPU_EXIT_ERROR, in the interpreter's state.
 *
 * Stores are known by their pages: a stretch starts without direct write entries, so the first store to each page is a
 * slow one, and mmu_translate() shows it to verify_store() before it happens. Regions neither trap nor access devices:
 * they are left before, and so is the replay. What cannot be done twice is not replayed: a stretch that stored to
 * memory that a device looks at, in which a page walk set A or D, or whose code the guest has changed without FENCE.I.
 * Such stretches are counted as skipped. Nobody else may store to guest memory meanwhile, so this is for machines with
 * one hart.
 */
#ifndef TUFF_ENGINE_REGION_VERIFY_H
#define TUFF_ENGINE_REGION_VERIFY_H

#include "engine/interp/block.h"
#include "engine/tier.h"

struct verify;

/* For one hart: compares every config.verify-th entry. Both pointers are borrowed. Returns 0, -ENOMEM, or -EINVAL on a
 * machine with several harts. */
int verify_create(const struct hart *h, const struct tier_config *config, struct tier_counters *counters,
                  struct verify **out) TUFF_MUST_CHECK;
void verify_destroy(struct verify *verify);

/* What regions are entered through on a hart that verifies. */
op_fn *verify_handler(void);

/* What regions call instead of interp_go(), interp_past() and interp_region_decline(). */
PRESERVE_NONE void verify_go(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
PRESERVE_NONE void verify_past(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
PRESERVE_NONE void verify_region_decline(struct hart *h, const struct op *op, uint64_t pc, struct block *block);

/* ---- for hooks in slow paths; only where h->verify is set ---- */

/* A store that left the fast path is about to happen in RAM, at `host`. False: a replay must not do it, and it faults.
 */
bool verify_store(struct hart *h, uint8_t *host);

/* A page walk is about to set A or D. False as above. */
bool verify_walk_update(struct hart *h);
/* The interpreter is about to take a trap at `pc`, for h->trap. True: it is a replay, which ends here instead. */
bool verify_trapped(struct hart *h, uint64_t pc);

#endif
