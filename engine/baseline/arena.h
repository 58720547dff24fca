/* Memory for code: mapped twice, so that no page is ever writable and executable at one address. */
#ifndef TUFF_ENGINE_BASELINE_ARENA_H
#define TUFF_ENGINE_BASELINE_ARENA_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena {
    uint8_t *write;         /* where it is written */
    const uint8_t *execute; /* where the same bytes run */
    size_t bytes;
    size_t huge; /* up to where the host was asked for huge pages */
};

/* Maps an arena of `bytes`, a multiple of 2 MiB, executable within 2 GiB of `near`. False: the host has no such place.
 */
bool arena_map(struct arena *arena, size_t bytes, const void *near) TUFF_MUST_CHECK;
void arena_unmap(struct arena *arena);
/* Before anything up to `end` is written: has huge pages put there if the host can (Linux 6.1), once more than the
 * first 2 MiB are in use. */
void arena_reach(struct arena *arena, size_t end);
/* Gives what lies from `from` (rounded up to a page) back to the host; it reads as zero then. */
void arena_clear(struct arena *arena, size_t from);

#endif
