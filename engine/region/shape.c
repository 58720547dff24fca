/* The three formats of shape.h. Instructions are not written: they follow from the bytes, which blocks cover one after
 * the other, and from the context and ISA they were decoded under. */
#include "engine/region/shape.h"

#include "base/cursor.h"
#include "engine/isa/riscv/sem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHAPE_VERSION = 1,
    CODE_VERSION = 1,
    FLAG_MIRRORED = 1 << 0,
    FLAG_ALONE = 1 << 1,
    EDGE_NONE = 0,
    EDGE_INSIDE = 1,
    EDGE_BACK = 2,
    EDGE_OUT = 3, /* an edge that leaves the region */
    INSNS_MAX = 8192,
};

/* ---- writing ---- */

static void put(struct region_bytes *out, uint64_t value, unsigned bytes)
{
    if (out->capacity - out->len < bytes) {
        size_t capacity = out->capacity ? 2 * out->capacity : 1024;
        uint8_t *at = realloc(out->at, capacity);
        if (!at) {
            out->no_memory = true;
            return;
        }
        out->at = at;
        out->capacity = capacity;
    }
    memcpy(out->at + out->len, &value, bytes);
    out->len += bytes;
}

static void put_bytes(struct region_bytes *out, const void *from, size_t len)
{
    const uint8_t *bytes = from;

    for (size_t i = 0; i < len; i++)
        put(out, bytes[i], 1);
}

/* Seven bits a byte, the least first. */
static void put_count(struct region_bytes *out, uint64_t value)
{
    for (; value > 127; value >>= 7)
        put(out, (value & 127) | 128, 1);
    put(out, value, 1);
}

static int finish(const struct region_bytes *out)
{
    return out->no_memory ? -ENOMEM : 0;
}

static bool has_edge(const struct region_block *b, const struct region_edge *e)
{
    if (e == &b->fall)
        return b->ends == REGION_END_FALL || b->ends == REGION_END_BRANCH;
    return b->ends == REGION_END_BRANCH || b->ends == REGION_END_JUMP;
}

static void put_edge(struct region_bytes *out, const struct region_edge *e, bool is)
{
    bool inside = is && e->target != REGION_NONE;

    put(out, !is ? EDGE_NONE : !inside ? EDGE_OUT : e->back ? EDGE_BACK : EDGE_INSIDE, 1);
    if (is)
        put(out, (uint32_t)e->offset, 4);
    if (inside)
        put(out, e->target, 2);
}

int region_shape_write(const struct region *r, struct region_bytes *out)
{
    put(out, SHAPE_VERSION, 1);
    put(out, r->level, 1);
    put(out, (r->mirrored ? FLAG_MIRRORED : 0u) | (r->alone ? FLAG_ALONE : 0u), 1);
    put(out, r->ctx, 4);
    put(out, (uint64_t)r->isa, 8);
    put(out, (uint64_t)(r->isa >> 64), 8);
    put(out, r->page_count, 1);
    for (uint32_t i = 0; i < r->page_count; i++)
        put(out, (uint32_t)r->pages[i].delta, 4);
    put(out, r->span_count, 2);
    for (uint32_t i = 0; i < r->span_count; i++) {
        put(out, r->spans[i].page, 1);
        put(out, r->spans[i].offset, 2);
        put(out, r->spans[i].len_bytes, 2);
    }
    put(out, r->byte_count, 4);
    put_bytes(out, r->bytes, r->byte_count);
    put(out, r->entry_count, 1);
    for (uint32_t i = 0; i < r->entry_count; i++) {
        put(out, r->entry_block[i], 2);
        put(out, (uint32_t)r->blocks[r->entry_block[i]].start, 4);
    }
    put(out, r->block_count, 2);
    for (uint32_t i = 0; i < r->block_count; i++) {
        const struct region_block *b = &r->blocks[i];
        put(out, (uint32_t)b->start, 4);
        put(out, (uint32_t)b->end, 4);
        put(out, b->ends, 1);
        put(out, b->cut, 1);
        put(out, b->insns, 2);
        put(out, b->longest, 4);
        put_edge(out, &b->fall, has_edge(b, &b->fall));
        put_edge(out, &b->taken, has_edge(b, &b->taken));
        put(out, b->targets, 1);
        for (unsigned j = 0; j < b->targets; j++)
            put_edge(out, &b->indirect[j], true);
    }
    return finish(out);
}

int region_profile_write(const struct region *r, struct region_bytes *out)
{
    for (uint32_t i = 0; i < r->block_count; i++) {
        const struct region_block *b = &r->blocks[i];
        put_count(out, b->executions);
        put_count(out, b->fall.count);
        put_count(out, b->taken.count);
        for (unsigned j = 0; j < b->targets; j++)
            put_count(out, b->indirect[j].count);
    }
    return finish(out);
}

int region_code_write(const struct region *r, const void *object, size_t object_bytes, struct region_bytes *out)
{
    put(out, CODE_VERSION, 1);
    put(out, r->code_bytes, 4);
    put(out, r->saved_us, 8);
    put(out, r->ir_built, 4);
    put(out, r->ir_optimised, 4);
    put(out, r->exit_count, 4);
    uint32_t values = 0;
    for (uint32_t i = 0; i < r->exit_count; i++) {
        const struct region_exit *e = &r->exits[i];
        put(out, e->offset, 4);
        put(out, e->x, 4);
        put(out, e->f, 4);
        put(out, e->first_value, 4);
        uint32_t end = e->first_value + region_exit_values(e);
        values = end > values ? end : values;
    }
    put(out, values, 4);
    for (uint32_t i = 0; i < values; i++) {
        put(out, r->values[i].place, 1);
        put(out, r->values[i].host, 1);
        put(out, (uint64_t)r->values[i].number, 8);
    }
    put(out, r->fault_count, 4);
    for (uint32_t i = 0; i < r->fault_count; i++) {
        put(out, r->faults[i].offset, 4);
        put(out, r->faults[i].resume, 4);
    }
    put(out, object_bytes, 4);
    put_bytes(out, object, object_bytes);
    return finish(out);
}

/* ---- reading ---- */

/* A number from `least` to `most`. */
static uint64_t take_within(struct cursor *in, unsigned bytes, uint64_t least, uint64_t most)
{
    uint64_t value = cursor_take(in, bytes);

    if (value >= least && value <= most)
        return value;
    in->bad = true;
    return least;
}

static uint64_t take_count(struct cursor *in)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = cursor_take(in, 1);
        value |= (byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    in->bad = true;
    return 0;
}

/* `count` things that take at least `bytes` each: no more than there can be. */
static void *take_room(struct cursor *in, uint64_t count, size_t bytes, size_t size)
{
    if (count > in->left / bytes)
        in->bad = true;
    return in->bad ? NULL : calloc(count + 1, size);
}

static void read_place(struct cursor *in, struct region *r)
{
    r->page_count = (uint32_t)take_within(in, 1, 1, REGION_PAGES_MAX);
    for (uint32_t i = 0; i < r->page_count; i++)
        r->pages[i].delta = (int32_t)cursor_take(in, 4);
    r->span_count = (uint32_t)take_within(in, 2, 1, 2 * REGION_BLOCKS_MAX);
    r->spans = take_room(in, r->span_count, 5, sizeof(*r->spans));
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < r->span_count && r->spans; i++) {
        struct region_span *span = &r->spans[i];
        span->page = (uint16_t)take_within(in, 1, 0, r->page_count - 1);
        span->offset = (uint16_t)take_within(in, 2, 0, MEM_PAGE_BYTES - 2) & 0xfffe;
        span->len_bytes = (uint16_t)take_within(in, 2, 0, MEM_PAGE_BYTES - span->offset) & 0xfffe;
        span->bytes = bytes;
        bytes += span->len_bytes;
    }
    r->byte_count = (uint32_t)take_within(in, 4, bytes, bytes);
    if (in->left < r->byte_count)
        in->bad = true;
    r->bytes = in->bad ? NULL : malloc(r->byte_count + 4);
    if (r->bytes) {
        memcpy(r->bytes, in->at, r->byte_count);
        in->at += r->byte_count;
        in->left -= r->byte_count;
    }
    r->entry_count = (uint32_t)take_within(in, 1, 1, REGION_ENTRIES_MAX);
    for (uint32_t i = 0; i < r->entry_count; i++) {
        bool on_page = false;
        r->entry_block[i] = (uint16_t)take_within(in, 2, 0, REGION_BLOCKS_MAX - 1);
        r->entry_offset[i] = (int32_t)cursor_take(in, 4);
        for (uint32_t j = 0; j < r->page_count; j++)
            on_page |= r->pages[j].delta == r->entry_offset[i] >> MEM_PAGE_SHIFT;
        in->bad |= !on_page || (r->entry_offset[i] & 1);
    }
    r->block_count = (uint32_t)take_within(in, 2, 1, REGION_BLOCKS_MAX);
}

static struct region_edge read_edge(struct cursor *in, uint32_t blocks)
{
    struct region_edge e = {.target = REGION_NONE};
    unsigned kind = (unsigned)take_within(in, 1, EDGE_NONE, EDGE_OUT);

    if (kind != EDGE_NONE)
        e.offset = (int32_t)cursor_take(in, 4);
    if (kind == EDGE_INSIDE || kind == EDGE_BACK)
        e.target = (uint16_t)take_within(in, 2, 0, blocks - 1);
    e.back = kind == EDGE_BACK;
    return e;
}

static void read_block(struct cursor *in, struct region *r, struct region_block *b)
{
    *b = (struct region_block){
        .start = (int32_t)cursor_take(in, 4), .end = (int32_t)cursor_take(in, 4), .entry = REGION_NONE};
    b->ends = (enum region_end)take_within(in, 1, REGION_END_FALL, REGION_END_EXIT);
    b->cut = cursor_take(in, 1);
    b->insns = (uint32_t)take_within(in, 2, 1, BLOCK_INSNS_MAX);
    b->longest = (uint32_t)take_within(in, 4, b->insns, INSNS_MAX);
    b->fall = read_edge(in, r->block_count);
    b->taken = read_edge(in, r->block_count);
    b->targets = (uint8_t)take_within(in, 1, 0, REGION_TARGETS_MAX);
    for (unsigned j = 0; j < b->targets; j++)
        b->indirect[j] = read_edge(in, r->block_count);
}

/* Edges that close no cycle lead to blocks from which the longest path is shorter, so there is no cycle without an edge
 * that looks at attention and budget. */
static bool paths_agree(const struct region *r)
{
    for (uint32_t i = 0; i < r->block_count; i++) {
        const struct region_block *b = &r->blocks[i];
        const struct region_edge *e;
        for (unsigned n = 0; (e = region_edge(b, n)); n++) {
            if (e->target != REGION_NONE &&
                (r->blocks[e->target].start != e->offset ||
                 (!e->back && (uint64_t)r->blocks[e->target].longest + b->insns > b->longest)))
                return false;
        }
    }
    return true;
}

/* The block's instructions, whose bytes begin at *at. */
static bool decode_block(struct region *r, struct region_block *b, uint32_t *at)
{
    uint32_t len = (uint32_t)b->end - (uint32_t)b->start;
    uint32_t offset = 0;

    if (len > BLOCK_BYTES_MAX || len > r->byte_count - *at)
        return false;
    b->first_insn = r->insn_count;
    for (uint32_t i = 0; i < b->insns; i++) {
        uint32_t bits = 0;
        struct rv_insn insn;
        struct op op;
        if (offset + 2 > len)
            return false;
        memcpy(&bits, r->bytes + *at + offset, 2);
        unsigned insn_bytes = rv_insn_len_bytes((uint16_t)bits);
        if (offset + insn_bytes > len)
            return false;
        memcpy(&bits, r->bytes + *at + offset, insn_bytes);
        block_decode_bits(r->isa, r->ctx, bits, offset, &op, &insn);
        if ((insn.effects & RV_END) || insn.sem == RV_SEM_illegal)
            return false;
        bool jumps = insn.effects & (RV_BRANCH | RV_JUMP | RV_INDIRECT);
        if (jumps && i + 1 < b->insns)
            return false;
        r->sees_flags |= (insn.effects & RV_FP) && (insn.effects & RV_ONCE);
        r->insns[r->insn_count++] = region_insn_of(&insn, &op, b->start + (int32_t)offset);
        offset += insn_bytes;
        if (i + 1 == b->insns && (b->ends == REGION_END_BRANCH) != !!(insn.effects & RV_BRANCH))
            return false;
        if (i + 1 == b->insns && (b->ends == REGION_END_JUMP) != !!(insn.effects & RV_JUMP))
            return false;
        if (i + 1 == b->insns && (b->ends == REGION_END_INDIRECT) != !!(insn.effects & RV_INDIRECT))
            return false;
    }
    *at += len;
    return offset == len;
}

static int read_blocks(struct cursor *in, struct region *r)
{
    uint32_t insns = 0, at = 0;

    r->blocks = take_room(in, r->block_count, 21, sizeof(*r->blocks));
    for (uint32_t i = 0; i < r->block_count && r->blocks; i++) {
        read_block(in, r, &r->blocks[i]);
        insns += r->blocks[i].insns;
    }
    if (in->bad || insns > INSNS_MAX)
        return -EINVAL;
    r->insns = calloc(insns + 1, sizeof(*r->insns));
    if (!r->blocks || !r->insns)
        return -ENOMEM;
    for (uint32_t i = 0; i < r->block_count; i++) {
        if (!decode_block(r, &r->blocks[i], &at))
            return -EINVAL;
    }
    for (uint32_t i = 0; i < r->entry_count; i++) {
        if (r->entry_block[i] >= r->block_count || r->blocks[r->entry_block[i]].start != r->entry_offset[i])
            return -EINVAL;
        r->blocks[r->entry_block[i]].entry = (uint16_t)i;
    }
    return paths_agree(r) ? 0 : -EINVAL;
}

int region_shape_read(const uint8_t *bytes, size_t len, enum region_detail detail, struct region **out)
{
    struct cursor in = {.at = bytes, .left = len};
    struct region *r = calloc(1, sizeof(*r));
    int rc = 0;

    if (!r)
        return -ENOMEM;
    (void)take_within(&in, 1, SHAPE_VERSION, SHAPE_VERSION);
    r->level = (uint8_t)take_within(&in, 1, 0, 1);
    unsigned flags = (unsigned)take_within(&in, 1, 0, FLAG_MIRRORED | FLAG_ALONE);
    r->mirrored = flags & FLAG_MIRRORED;
    r->alone = flags & FLAG_ALONE;
    r->ctx = (uint32_t)cursor_take(&in, 4);
    r->isa = cursor_take(&in, 8);
    r->isa |= (isa_set)cursor_take(&in, 8) << 64;
    read_place(&in, r);
    if (in.bad)
        rc = -EINVAL;
    else if (!r->spans || !r->bytes)
        rc = -ENOMEM;
    else if (detail == REGION_WHOLE)
        rc = read_blocks(&in, r);
    if (rc == 0 && detail == REGION_WHOLE && in.left)
        rc = -EINVAL;
    if (rc)
        region_free(r);
    else
        *out = r;
    return rc;
}

int region_profile_read(const uint8_t *bytes, size_t len, struct region *r)
{
    struct cursor in = {.at = bytes, .left = len};

    for (uint32_t i = 0; i < r->block_count && !in.bad; i++) {
        struct region_block *b = &r->blocks[i];
        b->executions = take_count(&in);
        b->fall.count = take_count(&in);
        b->taken.count = take_count(&in);
        for (unsigned j = 0; j < b->targets; j++)
            b->indirect[j].count = take_count(&in);
    }
    return in.bad || in.left ? -EINVAL : 0;
}

static void read_exits(struct cursor *in, struct region *r)
{
    uint32_t exits = (uint32_t)cursor_take(in, 4);

    r->exits = take_room(in, exits, 16, sizeof(*r->exits));
    for (uint32_t i = 0; i < exits && r->exits; i++) {
        struct region_exit *e = &r->exits[i];
        e->offset = (uint32_t)take_within(in, 4, i ? r->exits[i - 1].offset : 0, r->code_bytes);
        e->x = (uint32_t)cursor_take(in, 4) & ~1u;
        e->f = (uint32_t)cursor_take(in, 4);
        e->first_value = (uint32_t)cursor_take(in, 4);
    }
    uint32_t values = (uint32_t)cursor_take(in, 4);
    r->values = take_room(in, values, 10, sizeof(*r->values));
    for (uint32_t i = 0; i < values && r->values; i++) {
        r->values[i].place = (uint8_t)take_within(in, 1, REGION_IN_REGISTER, REGION_CONSTANT);
        r->values[i].host = (uint8_t)take_within(in, 1, 0, UINT8_MAX);
        r->values[i].number = (int64_t)cursor_take(in, 8);
        in->bad |= r->values[i].place == REGION_IN_REGISTER && r->values[i].host > 32;
        in->bad |= r->values[i].place == REGION_IN_MEMORY && r->values[i].host > 15;
    }
    for (uint32_t i = 0; i < exits && r->exits; i++)
        in->bad |=
            r->exits[i].first_value > values || region_exit_values(&r->exits[i]) > values - r->exits[i].first_value;
    r->exit_count = exits;
}

int region_code_read(const uint8_t *bytes, size_t len, struct region *r, const uint8_t **object, size_t *object_bytes)
{
    struct cursor in = {.at = bytes, .left = len};

    (void)take_within(&in, 1, CODE_VERSION, CODE_VERSION);
    r->code_bytes = (size_t)take_within(&in, 4, 1, len);
    r->saved_us = cursor_take(&in, 8);
    r->ir_built = (uint32_t)cursor_take(&in, 4);
    r->ir_optimised = (uint32_t)cursor_take(&in, 4);
    read_exits(&in, r);
    uint32_t faults = (uint32_t)cursor_take(&in, 4);
    r->faults = take_room(&in, faults, 8, sizeof(*r->faults));
    for (uint32_t i = 0; i < faults && r->faults; i++) {
        r->faults[i].offset = (uint32_t)take_within(&in, 4, i ? r->faults[i - 1].offset : 0, r->code_bytes - 1);
        r->faults[i].resume = (uint32_t)take_within(&in, 4, 0, r->code_bytes - 1);
    }
    *object_bytes = (size_t)cursor_take(&in, 4);
    *object = in.at;
    if (in.bad || *object_bytes != in.left)
        return -EINVAL;
    if (!r->exits || !r->values || !r->faults)
        return -ENOMEM;
    r->fault_count = faults;
    return 0;
}
