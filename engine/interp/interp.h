/* Tier 0: runs decoded blocks by tail calls. */
#ifndef TUFF_ENGINE_INTERP_INTERP_H
#define TUFF_ENGINE_INTERP_INTERP_H

#include "engine/interp/block.h"

/* Runs from h->pc until somebody wants attention, h->stop is set, or the next block is longer than the rest of the
 * grant. h->pc is up to date afterwards. The host's FP control register must hold the guest's (fp_load_host). */
void interp_run(struct hart *h);

/* Runs exactly the rest of the grant, which is shorter than the block at h->pc, or up to the first thing interp_run()
 * stops for. */
void interp_run_rest(struct hart *h);

/* ---- where generated code goes on; hidden, since preserve_none does not survive a lazily bound call ---- */

/* To h->pc. */
PRESERVE_NONE void interp_go(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
/* To h->pc, and past the first block there without entering a region: what made one stop is behind it then. */
PRESERVE_NONE void interp_past(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
/* To `pc`, which was not charged: leaves interp_run(). */
PRESERVE_NONE void interp_leave(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
/* Over an edge of `block`, to which its last op leads; a taken one was counted. Its link is looked up if need be, and
 * told to the baseline tier. */
PRESERVE_NONE void interp_link_fall(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
PRESERVE_NONE void interp_link_taken(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
/* To h->pc, where an indirect jump at the end of `block` leads. */
PRESERVE_NONE void interp_indirect(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
/* `block` was charged, and its heat has run out. */
PRESERVE_NONE void interp_hot(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
/* The instruction `op` did not retire: takes what h->trap says. */
PRESERVE_NONE void interp_trap(struct hart *h, const struct op *op, uint64_t pc, struct block *block);
/* Nothing of `block` was run yet: interprets it. */
PRESERVE_NONE void interp_region_decline(struct hart *h, const struct op *op, uint64_t pc, struct block *block);

#endif
