/* Rows in chunks, so that a row's address stays; see region_history.h. */
#include "engine/region/region_history.h"

#include "engine/region/region.h"

#include <stdlib.h>
#include <string.h>

static struct region_row *row_at(const struct region_history *history, uint32_t index)
{
    return &history->chunks[index / REGION_HISTORY_CHUNK][index % REGION_HISTORY_CHUNK];
}

struct region_row *region_history_add(struct region_history *history, const struct region *region)
{
    uint32_t chunk = history->count / REGION_HISTORY_CHUNK;
    bool room = history->count < REGION_HISTORY_ROWS;

    if (room && !history->chunks[chunk])
        history->chunks[chunk] = calloc(REGION_HISTORY_CHUNK, sizeof(struct region_row));
    if (!room || !history->chunks[chunk]) {
        history->lost++;
        return NULL;
    }
    struct region_row *row = row_at(history, history->count++);
    row->about = (struct tier_region){
        .number = region->id,
        .level = region->level,
        .gva = region_gva(region),
        .insns = region->insn_count,
        .blocks = region->block_count,
        .pages = region->page_count,
        .state = TIER_REGION_WAITING,
    };
    return row;
}

void region_history_done(struct region_row *row, const struct region *region)
{
    if (!row)
        return;
    row->has_digest = region->has_digest;
    memcpy(row->digest, region->digest, sizeof(row->digest));
    row->about.ir_built = region->ir_built;
    row->about.ir_optimised = region->ir_optimised;
    row->about.code_bytes = region->code_bytes;
    row->about.compile_us = region->compile_ns / 1000;
    row->about.failure = region->failure;
    if (atomic_load(&region->state) == REGION_READY)
        row->about.state = TIER_REGION_UNUSED;
    else if (region->failure)
        row->about.state = TIER_REGION_FAILED;
}

void region_history_state(struct region_row *row, enum tier_region_state state)
{
    if (row)
        row->about.state = state;
}

const struct region_row *region_history_row(const struct region_history *history, uint32_t index)
{
    return index < history->count ? row_at(history, index) : NULL;
}

bool region_history_read(const struct region_history *history, uint32_t index, struct tier_region *out)
{
    if (index >= history->count)
        return false;
    const struct region_row *row = row_at(history, index);
    *out = row->about;
    out->executions = atomic_load_explicit(&row->executions, memory_order_relaxed);
    return true;
}

void region_history_free(struct region_history *history)
{
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(history->chunks); i++)
        free(history->chunks[i]);
}
