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
};

/* Maps an arena of `bytes`, executable within 2 GiB of `near`. False: the host has no such place. */
bool arena_map(struct arena *arena, size_t bytes, const void *near) TUFF_MUST_CHECK;
void arena_unmap(struct arena *arena);
/* Gives what lies from `from` (rounded up to a page) back to the host; it reads as zero then. */
void arena_clear(const struct arena *arena, size_t from);

#endif
