/* A region's shape, profile and code as they come from a file: what is accepted stays inside of its own arrays, and is
 * written again as it was read. Input: a byte for which of the three, then the bytes. */
#include "engine/region/shape.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_places(const struct region *r)
{
    require(r->page_count >= 1 && r->page_count <= REGION_PAGES_MAX && r->entry_count >= 1);
    require(r->entry_count <= REGION_ENTRIES_MAX && r->block_count <= REGION_BLOCKS_MAX);
    for (uint32_t i = 0; i < r->span_count; i++) {
        const struct region_span *span = &r->spans[i];
        require(span->page < r->page_count && span->offset + span->len_bytes <= MEM_PAGE_BYTES);
        require(span->bytes + span->len_bytes <= r->byte_count);
    }
    for (uint32_t i = 0; i < r->entry_count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < r->page_count; j++)
            found |= r->pages[j].delta == r->entry_offset[i] >> MEM_PAGE_SHIFT;
        require(found);
    }
}

/* No way around in the region without an edge that looks at the budget. */
static void check_blocks(const struct region *r)
{
    for (uint32_t i = 0; i < r->block_count; i++) {
        const struct region_block *b = &r->blocks[i];
        const struct region_edge *e;
        require(b->insns >= 1 && b->first_insn + b->insns <= r->insn_count && b->longest >= b->insns);
        for (unsigned n = 0; (e = region_edge(b, n)); n++) {
            require(e->target == REGION_NONE || e->target < r->block_count);
            require(e->target == REGION_NONE || e->back || r->blocks[e->target].longest < b->longest);
        }
    }
}

static void read_shape(const uint8_t *data, size_t size)
{
    struct region *place = NULL, *whole = NULL;
    struct region_bytes again = {0};
    int rc = region_shape_read(data, size, REGION_PLACE, &place);

    if (rc == 0) {
        check_places(place);
        region_free(place);
    }
    if (region_shape_read(data, size, REGION_WHOLE, &whole))
        return;
    require(rc == 0);
    check_places(whole);
    check_blocks(whole);
    require(region_shape_write(whole, &again) == 0);
    free(again.at);
    region_free(whole);
}

static void read_code(const uint8_t *data, size_t size)
{
    struct region r = {0};
    const uint8_t *object;
    size_t object_bytes;

    if (region_code_read(data, size, &r, &object, &object_bytes) == 0) {
        struct region_bytes again = {0};
        require(object >= data && object + object_bytes == data + size);
        for (uint32_t i = 0; i < r.fault_count; i++)
            require(r.faults[i].offset < r.code_bytes && r.faults[i].resume < r.code_bytes);
        require(region_code_write(&r, object, object_bytes, &again) == 0);
        free(again.at);
    }
    region_forget_code(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1)
        read_code(data + 1, size - 1);
    else
        read_shape(data + 1, size - 1);
    return 0;
}
