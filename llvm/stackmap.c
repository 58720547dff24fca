/* Reads the format described in LLVM's documentation, "Stack maps and patch points in LLVM", section "Stack Map
 * Format", version 3: a header, one record for each function, 64-bit constants, then a record for each statepoint
 * ("Garbage Collection with LLVM", section "Stack Map Format": three constants, the last of which is the number of
 * deoptimisation values, stand before these).
 * Everything is checked although LLVM wrote it a moment ago. */
#include "llvm/stackmap.h"

#include "base/cursor.h"

#include <llvm-c/Object.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 3,
    HEADER_BYTES = 16,
    FUNCTION_BYTES = 24,
    LOCATION_BYTES = 12,
    STATEPOINT_LOCATIONS = 3,
    IN_REGISTER = 1,
    INDIRECT = 3,
    CONSTANT = 4,
    CONSTANT_INDEX = 5,
};

static void skip(struct cursor *in, size_t bytes)
{
    if (in->left < bytes) {
        in->bad = true;
        bytes = in->left;
    }
    in->at += bytes;
    in->left -= bytes;
}

struct constants {
    const uint8_t *at;
    uint32_t count;
};

static bool read_location(struct cursor *in, const struct constants *constants, struct region_value *out)
{
    unsigned kind = (unsigned)cursor_take(in, 1);
    skip(in, 1);
    unsigned size = (unsigned)cursor_take(in, 2);
    unsigned host = (unsigned)cursor_take(in, 2);
    skip(in, 2);
    int32_t number = (int32_t)cursor_take(in, 4);

    out->host = (uint8_t)host;
    out->number = number;
    switch (kind) {
    case IN_REGISTER:
        out->place = REGION_IN_REGISTER;
        return host != 16 && host < 33 && size >= 8;
    case INDIRECT:
        out->place = REGION_IN_MEMORY;
        return host < 16 && size == 8;
    case CONSTANT:
        out->place = REGION_CONSTANT;
        return true;
    case CONSTANT_INDEX:
        out->place = REGION_CONSTANT;
        if ((uint32_t)number >= constants->count)
            return false;
        memcpy(&out->number, constants->at + 8 * (size_t)(uint32_t)number, 8);
        return true;
    default:
        return false;
    }
}

static bool read_record(struct cursor *in, const struct constants *constants, const struct live_sets *live,
                        struct region *r, uint32_t *value_count, uint32_t value_room)
{
    uint64_t id = cursor_take(in, 8);
    uint32_t offset = (uint32_t)cursor_take(in, 4);
    skip(in, 2);
    unsigned locations = (unsigned)cursor_take(in, 2);

    if (id >= live->count || locations > value_room - *value_count)
        return false;
    const struct live_set *set = &live->sets[id];
    unsigned expected = (unsigned)(__builtin_popcount(set->x) + __builtin_popcount(set->f));
    struct region_value about[STATEPOINT_LOCATIONS];
    if (locations != expected + STATEPOINT_LOCATIONS)
        return false;
    for (unsigned i = 0; i < STATEPOINT_LOCATIONS; i++) {
        if (!read_location(in, constants, &about[i]))
            return false;
    }
    if (about[2].place != REGION_CONSTANT || about[2].number != (int64_t)expected)
        return false;
    r->exits[r->exit_count++] =
        (struct region_exit){.offset = offset, .x = set->x, .f = set->f, .first_value = *value_count};
    for (unsigned i = 0; i < expected; i++) {
        if (!read_location(in, constants, &r->values[(*value_count)++]))
            return false;
    }
    /* The record is padded to 8 bytes before and after its list of live-out registers. */
    skip(in, locations % 2 ? 4 : 0);
    skip(in, 2);
    size_t live_outs = cursor_take(in, 2);
    skip(in, 4 * live_outs);
    skip(in, (4 + 4 * live_outs) % 8 ? 4 : 0);
    return !in->bad;
}

static int by_offset(const void *a, const void *b)
{
    uint32_t left = ((const struct region_exit *)a)->offset;
    uint32_t right = ((const struct region_exit *)b)->offset;

    return left < right ? -1 : left > right;
}

static int read_section(struct cursor in, const struct live_sets *live, struct region *r)
{
    uint32_t value_room = (uint32_t)(in.left / LOCATION_BYTES) + 1;

    if (cursor_take(&in, 1) != VERSION)
        return -EINVAL;
    skip(&in, 3);
    uint32_t functions = (uint32_t)cursor_take(&in, 4);
    struct constants constants = {.count = (uint32_t)cursor_take(&in, 4)};
    uint32_t records = (uint32_t)cursor_take(&in, 4);
    if (functions != 1 || in.left < FUNCTION_BYTES + 8 * (size_t)constants.count)
        return -EINVAL;
    skip(&in, FUNCTION_BYTES);
    constants.at = in.at;
    skip(&in, 8 * (size_t)constants.count);
    if (records > in.left / HEADER_BYTES)
        return -EINVAL;
    r->exits = calloc(records + 1, sizeof(*r->exits));
    r->values = calloc(value_room, sizeof(*r->values));
    if (!r->exits || !r->values)
        return -ENOMEM;
    uint32_t values = 0;
    for (uint32_t i = 0; i < records; i++) {
        if (!read_record(&in, &constants, live, r, &values, value_room))
            return -EINVAL;
    }
    qsort(r->exits, r->exit_count, sizeof(*r->exits), by_offset);
    return 0;
}

static int by_fault_offset(const void *a, const void *b)
{
    uint32_t left = ((const struct region_fault *)a)->offset;
    uint32_t right = ((const struct region_fault *)b)->offset;

    return left < right ? -1 : left > right;
}

/* Pairs of offsets, which the assembler has resolved: bodies.c. */
static int read_faults(struct cursor in, struct region *r)
{
    size_t count = in.left / 8;

    if (in.left % 8)
        return -EINVAL;
    r->faults = calloc(count + 1, sizeof(*r->faults));
    if (!r->faults)
        return -ENOMEM;
    for (r->fault_count = 0; r->fault_count < count; r->fault_count++) {
        struct region_fault *fault = &r->faults[r->fault_count];
        fault->offset = (uint32_t)cursor_take(&in, 4);
        fault->resume = (uint32_t)cursor_take(&in, 4);
    }
    qsort(r->faults, count, sizeof(*r->faults), by_fault_offset);
    return 0;
}

int stackmap_read(LLVMMemoryBufferRef object, const struct live_sets *live, struct region *region)
{
    char *message = NULL;
    LLVMBinaryRef binary = LLVMCreateBinary(object, NULL, &message);
    int rc = live->count ? -EINVAL : 0;
    int faults = 0;

    if (!binary) {
        LLVMDisposeMessage(message);
        return -EINVAL;
    }
    LLVMSectionIteratorRef section = LLVMObjectFileCopySectionIterator(binary);
    while (!LLVMObjectFileIsSectionIteratorAtEnd(binary, section)) {
        const char *name = LLVMGetSectionName(section);
        if (name && strcmp(name, ".llvm_stackmaps") == 0) {
            struct cursor in = {.at = (const uint8_t *)LLVMGetSectionContents(section),
                                .left = LLVMGetSectionSize(section)};
            rc = read_section(in, live, region);
        }
        if (name && strcmp(name, ".tuff_faults") == 0 && !faults)
            faults = read_faults((struct cursor){.at = (const uint8_t *)LLVMGetSectionContents(section),
                                                 .left = LLVMGetSectionSize(section)},
                                 region);
        if (name && strcmp(name, ".text") == 0)
            region->code_bytes = LLVMGetSectionSize(section);
        LLVMMoveToNextSection(section);
    }
    LLVMDisposeSectionIterator(section);
    LLVMDisposeBinary(binary);
    return rc ? rc : faults;
}
