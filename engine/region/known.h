/* Regions of earlier runs, as far as they are in the store: found by what stands at their entries, so that code is
 * known wherever its bytes are, in another process, at another address, on a page of which the rest differs.
 *
 * Made before harts run; from then on only `busy` changes. What is found is a candidate: whoever links it compares all
 * of its bytes with memory.
 */
#ifndef TUFF_ENGINE_REGION_KNOWN_H
#define TUFF_ENGINE_REGION_KNOWN_H

#include "engine/region/region.h"

struct known;
struct store;

struct known_region {
    struct region *place; /* REGION_PLACE of its shape */
    uint64_t compile_us;  /* what its code took to make */
    uint32_t insns;
    atomic_bool busy; /* is being linked, or its code turned out to be bad */
    uint8_t *shape, *profile;
    size_t shape_bytes, profile_bytes;
    struct known_region *next;
};

/* An entry of such a region. */
struct known_entry {
    struct known_region *region;
    uint64_t fingerprint;
    uint16_t entry;
    struct known_entry *next; /* of its bucket; the most useful first */
};

/* All that the store has code of. What it cannot give is left out. Returns NULL when there is no memory. */
struct known *known_create(struct store *store);
void known_destroy(struct known *known);
uint32_t known_count(const struct known *known);

/* The first candidate for a block, or the next after one; NULL: no more. Of both, `known` may be NULL. */
const struct known_entry *known_find(const struct known *known, const struct block *block);
const struct known_entry *known_next(const struct known_entry *entry);

/* A region of its own to be linked: the candidate's place, without frames. NULL: no memory. */
struct region *known_place(const struct known_region *known);
/* The candidate as it was chosen, to be compiled again. NULL: no memory, or it is not understood. */
struct region *known_whole(const struct known_region *known);

#endif
