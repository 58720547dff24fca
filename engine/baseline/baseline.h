/* Tier 1: decoded blocks translated to host code by copying stencils (stencil.h).
 *
 * A block that was interpreted a few times is compiled on its hart's own thread. Then the `run` of each of its ops
 * points at the host code of that op, so whoever goes on at an op (the interpreter's slow instances, a region that
 * declines) goes on in compiled code, and regions take a compiled block over as they do an interpreted one. Code
 * belongs to a hart as blocks do, in an arena that is mapped twice, writable and executable; it goes when the blocks
 * go.
 *
 * Edges inside a page are linked: the jump at a compiled block's end is patched to lead to the next one's code. Links
 * are followed wherever struct block has them, and are taken out with those.
 *
 * Where the build has no stencils for the host, or the arena cannot be had, hart.baseline is NULL and blocks stay with
 * the interpreter. Everything here is for the hart's own thread.
 */
#ifndef TUFF_ENGINE_BASELINE_BASELINE_H
#define TUFF_ENGINE_BASELINE_BASELINE_H

#include "engine/interp/block.h"

struct baseline;

/* Can this build translate at all? */
bool baseline_is_built(void);
/* For one of `hart_count` harts, which share the room near the program's code. NULL in *out where the host cannot (no
 * memory for both views there). Returns 0 or -ENOMEM. */
int baseline_create(uint32_t hart_count, struct baseline **out) TUFF_MUST_CHECK;
void baseline_destroy(struct baseline *baseline);

/* Where in a block's host code, bytes from its start, each op's stencil is; behind the last, what ops jump to. */
struct baseline_map {
    uint32_t op[BLOCK_INSNS_MAX + 1];
};

/* Compiles a block of the hart's, which has no code yet and enters no region; fills `map`, which may be NULL. False: it
 * stays as it is; when that is for want of room, the hart was asked to drop its blocks. */
bool baseline_compile(struct hart *h, struct block *block, struct baseline_map *map);
/* The edge's link was set: jumps directly from now on if both blocks have code. */
void baseline_link(struct hart *h, const struct block *block, unsigned edge, const struct block *next);
/* The block's links were cleared. */
void baseline_unlink(struct hart *h, const struct block *block);
/* From its jumps, the block's code is entered at ops[0].run, which leads into a region. */
void baseline_set_region(struct hart *h, const struct block *block, bool on);
/* All blocks are gone. */
void baseline_flush(struct baseline *baseline);
/* Its host code, for people; *bytes 0 when it has none. */
const void *baseline_code(const struct hart *h, const struct block *block, size_t *bytes);

#endif
