/* A hash table of entries; see known.h. */
#include "engine/region/known.h"

#include "engine/region/shape.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKET_BITS = 13 };
_Static_assert((int)REGION_DIGEST_BYTES == (int)STORE_DIGEST_BYTES, "a region's name in the store");

struct known {
    struct known_region *regions;
    uint32_t count;
    struct known_entry *buckets[1 << BUCKET_BITS], **tails[1 << BUCKET_BITS];
};

/* Of an entry: its place on the page, the context it is decoded under, and its first instruction. */
static uint64_t fingerprint(uint32_t page_offset, uint32_t ctx, const uint8_t *code)
{
    uint32_t bits = (uint32_t)code[0] | (uint32_t)code[1] << 8;

    if (rv_insn_len_bytes((uint16_t)bits) == 4)
        bits |= (uint32_t)code[2] << 16 | (uint32_t)code[3] << 24;
    return ((uint64_t)bits << 32 | (uint64_t)ctx << 12 | page_offset) * 0x9e3779b97f4a7c15ull;
}

static const uint8_t *entry_code(const struct region *r, unsigned entry, uint32_t *page_offset)
{
    int32_t delta = r->entry_offset[entry] >> MEM_PAGE_SHIFT;

    *page_offset = (uint32_t)r->entry_offset[entry] & (MEM_PAGE_BYTES - 1);
    for (uint32_t i = 0; i < r->span_count; i++) {
        const struct region_span *span = &r->spans[i];
        if (r->pages[span->page].delta == delta && span->offset == *page_offset && span->len_bytes >= 2)
            return r->bytes + span->bytes;
    }
    return NULL;
}

static bool add_entries(struct known *known, struct known_region *region)
{
    for (unsigned i = 0; i < region->place->entry_count; i++) {
        uint32_t page_offset;
        const uint8_t *code = entry_code(region->place, i, &page_offset);
        struct known_entry *entry = code ? malloc(sizeof(*entry)) : NULL;
        if (!entry)
            return !code;
        *entry = (struct known_entry){
            .region = region, .fingerprint = fingerprint(page_offset, region->place->ctx, code), .entry = (uint16_t)i};
        uint64_t bucket = entry->fingerprint >> (64 - BUCKET_BITS);
        if (!known->tails[bucket])
            known->tails[bucket] = &known->buckets[bucket];
        *known->tails[bucket] = entry;
        known->tails[bucket] = &entry->next;
    }
    return true;
}

static uint8_t *copy(const uint8_t *bytes, size_t len)
{
    uint8_t *at = malloc(len + 1);

    if (at && len)
        memcpy(at, bytes, len);
    return at;
}

static void free_region(struct known_region *region)
{
    region_free(region->place);
    free(region->shape);
    free(region->profile);
    free(region);
}

static void add_region(void *opaque, const struct store_region *stored)
{
    struct known *known = opaque;
    struct known_region *region = stored->has_code ? calloc(1, sizeof(*region)) : NULL;

    if (!region)
        return;
    *region = (struct known_region){.compile_us = stored->compile_us,
                                    .insns = stored->insns,
                                    .shape = copy(stored->shape, stored->shape_bytes),
                                    .shape_bytes = stored->shape_bytes,
                                    .profile = copy(stored->profile, stored->profile_bytes),
                                    .profile_bytes = stored->profile_bytes};
    if (!region->shape || !region->profile ||
        region_shape_read(stored->shape, stored->shape_bytes, REGION_PLACE, &region->place)) {
        free_region(region);
        return;
    }
    memcpy(region->place->digest, stored->digest, STORE_DIGEST_BYTES);
    region->place->has_digest = true;
    region->next = known->regions;
    known->regions = region;
    known->count += add_entries(known, region);
}

struct known *known_create(struct store *store)
{
    struct known *known = calloc(1, sizeof(*known));

    if (known)
        (void)store_each(store, add_region, known);
    return known;
}

void known_destroy(struct known *known)
{
    if (!known)
        return;
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(known->buckets); i++) {
        for (struct known_entry *entry = known->buckets[i]; entry;) {
            struct known_entry *next = entry->next;
            free(entry);
            entry = next;
        }
    }
    for (struct known_region *region = known->regions; region;) {
        struct known_region *next = region->next;
        free_region(region);
        region = next;
    }
    free(known);
}

uint32_t known_count(const struct known *known)
{
    return known ? known->count : 0;
}

static const struct known_entry *from(const struct known_entry *entry, uint64_t wanted)
{
    while (entry && entry->fingerprint != wanted)
        entry = entry->next;
    return entry;
}

const struct known_entry *known_find(const struct known *known, const struct block *block)
{
    if (!known || !known->count)
        return NULL;
    uint64_t wanted = fingerprint((uint32_t)block->gpa & (MEM_PAGE_BYTES - 1), block->ctx, block_source(block));
    return from(known->buckets[wanted >> (64 - BUCKET_BITS)], wanted);
}

const struct known_entry *known_next(const struct known_entry *entry)
{
    return from(entry->next, entry->fingerprint);
}

struct region *known_place(const struct known_region *known)
{
    struct region *r = NULL;

    if (region_shape_read(known->shape, known->shape_bytes, REGION_PLACE, &r))
        return NULL;
    memcpy(r->digest, known->place->digest, STORE_DIGEST_BYTES);
    r->has_digest = true;
    r->known = (struct known_region *)known;
    r->insn_count = known->insns;
    return r;
}

struct region *known_whole(const struct known_region *known)
{
    struct region *r = NULL;

    if (region_shape_read(known->shape, known->shape_bytes, REGION_WHOLE, &r))
        return NULL;
    if (known->profile_bytes && region_profile_read(known->profile, known->profile_bytes, r)) {
        region_free(r);
        return NULL;
    }
    return r;
}
