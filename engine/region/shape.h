/* Regions as bytes, for the store (store/store.h): the shape, which says what a region is and all that its code depends
 * on beside the build; the profile, counts that made the code what it is without being part of it; and the code, an
 * object file with the tables that belong to it. Little-endian, without a host pointer or an absolute address: the same
 * guest code gives the same shape wherever it lies.
 *
 * Readers take hostile bytes: they return -EINVAL, and no region that could lead outside of its own arrays.
 */
#ifndef TUFF_ENGINE_REGION_SHAPE_H
#define TUFF_ENGINE_REGION_SHAPE_H

#include "base/compiler.h"
#include "engine/region/region.h"

/* Grows; `at` is the user's to free. */
struct region_bytes {
    uint8_t *at;
    size_t len, capacity;
    bool no_memory;
};

/* Return 0 or -ENOMEM. The region has its instructions and blocks. */
int region_shape_write(const struct region *region, struct region_bytes *out) TUFF_MUST_CHECK;
int region_profile_write(const struct region *region, struct region_bytes *out) TUFF_MUST_CHECK;
/* The region has its code's tables. */
int region_code_write(const struct region *region, const void *object, size_t object_bytes,
                      struct region_bytes *out) TUFF_MUST_CHECK;

enum region_detail {
    REGION_PLACE, /* where it may be entered, and its bytes: to be linked */
    REGION_WHOLE, /* and its instructions and blocks: to be compiled */
};

/* A new region, without frames, code and profile. Return 0, -ENOMEM or -EINVAL. */
int region_shape_read(const uint8_t *bytes, size_t len, enum region_detail detail, struct region **out) TUFF_MUST_CHECK;
int region_profile_read(const uint8_t *bytes, size_t len, struct region *region) TUFF_MUST_CHECK;
/* Fills in the code's tables; the object lies in `bytes`. */
int region_code_read(const uint8_t *bytes, size_t len, struct region *region, const uint8_t **object,
                     size_t *object_bytes) TUFF_MUST_CHECK;

#endif
