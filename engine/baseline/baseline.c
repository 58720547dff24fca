/* Translation of blocks; see baseline.h.
 *
 * A compiled block, from low to high addresses:
 *
 *     struct head
 *     enter            charges the block, counts its execution: where linked edges lead
 *     gate             nothing; or a jump into the region that begins here
 *     op 0, op 1, ...  a stencil each; ops[i].run points here
 *     ways out         the edges, the indirect jump
 *     stubs            set `op`, for ways that need it: the slow instance of a body, traps
 *
 * Addresses in the arena are offsets (`at`), good for both views.
 */
#include "engine/baseline/baseline.h"

#include "engine/baseline/arena.h"
#include "engine/baseline/host_x86.h"
#include "engine/baseline/stencil.h"
#include "engine/interp/interp.h"
#include "engine/isa/riscv/sem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    ARENA_BYTES = 32 << 20,
    FIXUPS_MAX = 1024,
    CODE_ALIGN = 16,
    /* A block of the longest stencils, with its stubs and ways out. */
    BLOCK_ROOM_BYTES = 1 << 17,
    AT_NONE = 0,
};

/* A jump of a stencil to what is not placed yet. */
struct fixup {
    uint32_t at; /* of its distance field */
    uint16_t op;
    uint8_t way;
    int32_t addend;
};

struct baseline {
    struct arena arena;
    uint32_t first; /* behind what is there for good */
    uint32_t used;
    struct fixup fixups[FIXUPS_MAX];
    uint32_t fixup_count;
};

/* Before the code that block.code says. */
struct head {
    uint32_t edge[2]; /* where the jumps to patch are; AT_NONE: the block has no such edge, or it leaves the page */
    uint32_t gate;
    uint32_t bytes; /* from `enter` to the end */
};

/* What the holes and ways of a stencil come to. A way to nowhere is resolved when it is placed. */
struct values {
    int64_t hole[STENCIL_HOLE_COUNT];
    const void *way[STENCIL_WAY_COUNT];
    uint16_t op;
};

bool baseline_is_built(void)
{
    return true;
}

static const uint8_t *address_of(const struct baseline *b, uint32_t at)
{
    return b->arena.execute + at;
}

int baseline_create(struct baseline **out)
{
    struct baseline *b = calloc(1, sizeof(*b));

    *out = NULL;
    if (!b)
        return -ENOMEM;
    if (!arena_map(&b->arena, ARENA_BYTES, (const void *)(uintptr_t)&interp_run)) {
        free(b);
        return 0;
    }
    memcpy(b->arena.write, stencil_constants, stencil_constants_bytes);
    b->first = (stencil_constants_bytes + CODE_ALIGN) & ~(uint32_t)(CODE_ALIGN - 1);
    b->used = b->first;
    *out = b;
    return 0;
}

void baseline_destroy(struct baseline *baseline)
{
    if (!baseline)
        return;
    arena_unmap(&baseline->arena);
    free(baseline);
}

void baseline_flush(struct baseline *baseline)
{
    arena_clear(&baseline->arena, baseline->first);
    baseline->used = baseline->first;
}

/* ---- copying a stencil ---- */

static void put_distance(struct baseline *b, uint32_t at, const void *to, int64_t addend)
{
    int32_t distance = (int32_t)((int64_t)(uintptr_t)to + addend - (int64_t)(uintptr_t)address_of(b, at));

    memcpy(b->arena.write + at, &distance, sizeof(distance));
}

static void put_way(struct baseline *b, uint32_t at, const struct stencil_reloc *r, const struct values *v,
                    const uint8_t *following)
{
    const void *to = r->index == WAY_next ? following : v->way[r->index];

    if (to)
        put_distance(b, at, to, r->addend);
    else if (b->fixup_count < FIXUPS_MAX)
        b->fixups[b->fixup_count++] =
            (struct fixup){.at = at, .op = v->op, .way = (uint8_t)r->index, .addend = r->addend};
}

/* Copies it to `at`; returns where it ends. */
static uint32_t copy(struct baseline *b, uint32_t at, const struct stencil *s, const struct values *v)
{
    memcpy(b->arena.write + at, s->code, s->bytes);
    for (unsigned i = 0; i < s->reloc_count; i++) {
        const struct stencil_reloc *r = &s->relocs[i];
        uint32_t place = at + r->offset;
        int64_t value;
        switch ((enum stencil_kind)r->kind) {
        case STENCIL_HOLE:
            value = v->hole[r->index] + r->addend;
            memcpy(b->arena.write + place, &value, r->form == STENCIL_ABS64 ? 8 : 4);
            break;
        case STENCIL_WAY:
            put_way(b, place, r, v, address_of(b, at + s->bytes));
            break;
        case STENCIL_HELPER:
            put_distance(b, place, (const void *)stencil_helpers[r->index], r->addend);
            break;
        case STENCIL_CONSTANT:
            put_distance(b, place, address_of(b, r->index), r->addend);
            break;
        }
    }
    return at + s->bytes;
}

static uint32_t copy_part(struct baseline *b, uint32_t at, enum stencil_part part, const struct values *v)
{
    return copy(b, at, &stencil_parts[part], v);
}

/* ---- a block ---- */

struct translation {
    struct hart *h;
    struct baseline *b;
    struct block *block;
    struct head head;
    uint32_t at;
    const uint8_t *run[BLOCK_INSNS_MAX + 1]; /* by op; the last is the end marker's */
    bool op_ended;                           /* the last op was left by ways of its own */
    uint8_t tail; /* the way that the last op's stencil leads to where it ends: placed there */
};

static int64_t x_offset(unsigned reg)
{
    return (int64_t)(offsetof(struct hart, r.x) + 8 * (size_t)reg);
}

static int64_t f_offset(unsigned reg)
{
    return (int64_t)(offsetof(struct hart, r.f) + 8 * (size_t)(reg & 31));
}

static void fill_values(struct values *v, const struct op *op, unsigned index)
{
    *v = (struct values){.op = (uint16_t)index};
    v->hole[HOLE_x_rd] = x_offset(op->rd);
    v->hole[HOLE_x_rs1] = x_offset(op->rs1);
    v->hole[HOLE_x_rs2] = x_offset(op->rs2);
    v->hole[HOLE_f_rd] = f_offset(op->rd);
    v->hole[HOLE_f_rs1] = f_offset(op->rs1);
    v->hole[HOLE_f_rs2] = f_offset(op->rs2);
    v->hole[HOLE_f_rs3] = f_offset((unsigned)op->imm);
    v->hole[HOLE_imm] = op->imm;
    v->hole[HOLE_here] = (int64_t)op_offset(op);
    v->hole[HOLE_after] = (int64_t)(op_offset(op) + op_len_bytes(op));
    v->hole[HOLE_op] = (int64_t)(offsetof(struct block, ops) + sizeof(struct op) * index);
}

/* NULL: the interpreter's handler runs it. */
static const struct stencil *choose(const struct op *op, const struct rv_insn *insn)
{
    const struct stencil *s;

    /* The slow instance where the fast one would do: control flow without the C extension. */
    if (insn->sem >= RV_SEM_COUNT || op->run != interp_handler(insn->sem, false))
        return NULL;
    s = stencil_rows[insn->sem];
    if (insn->effects & RV_RM) {
        unsigned rm = (unsigned)op->imm >> 8 & 15;
        if (rm != RM_HOST && rm != RM_RTZ)
            return NULL;
        s += rm == RM_RTZ;
    } else if (s->positive_imm && op->imm < 0) {
        s++;
    }
    /* An rd that is read as well, x0. */
    if ((insn->effects & RV_ATOMIC) && op->rd == RV_X_SINK && (rv_sem_operands(insn->sem) & RV_X_RD_READ))
        return NULL;
    return s->code ? s : NULL;
}

static void translate_op(struct translation *t, unsigned index)
{
    struct block *block = t->block;
    struct values v;
    struct rv_insn insn;
    struct op op;

    block_decode_insn(t->h, block, index, &insn, &op);
    const struct stencil *s = choose(&op, &insn);
    fill_values(&v, &op, index);
    t->run[index] = address_of(t->b, t->at);
    if (!s) {
        v.way[WAY_there] = (const void *)(uintptr_t)block->ops[index].run;
        t->at = copy_part(t->b, t->at, STENCIL_with_op, &v);
        t->op_ended = insn.effects & (RV_BRANCH | RV_JUMP | RV_INDIRECT | RV_END);
        return;
    }
    t->at = copy(t->b, t->at, s, &v);
    t->op_ended = insn.effects & (RV_BRANCH | RV_JUMP | RV_INDIRECT);
    if (s->last != WAY_next)
        t->tail = s->last;
}

static bool leaves_page(const struct block *block, int64_t target)
{
    int64_t offset = (int64_t)(block->gpa & (MEM_PAGE_BYTES - 1)) + target;

    return offset < 0 || offset >= MEM_PAGE_BYTES;
}

static int64_t edge_target(const struct block *block, unsigned edge)
{
    const struct op *last = &block->ops[block->insns - 1];

    return edge == BLOCK_FALL ? block->bytes : (int64_t)op_offset(last) + last->imm;
}

static uint32_t unlinked(struct baseline *b, uint32_t at, unsigned edge)
{
    struct values v = {.way[WAY_there] = edge == BLOCK_FALL ? (const void *)(uintptr_t)&interp_link_fall
                                                            : (const void *)(uintptr_t)&interp_link_taken};

    return copy_part(b, at, STENCIL_go, &v);
}

static const void *jump_to_lookup(void)
{
    return (const void *)(uintptr_t)&interp_go;
}

static void fill_entering(struct values *v)
{
    v->way[WAY_leave] = (const void *)(uintptr_t)&interp_leave;
    v->way[WAY_hot] = (const void *)(uintptr_t)&interp_hot;
}

static void place_edge(struct translation *t, unsigned edge)
{
    struct values v = {.hole[HOLE_target] = edge_target(t->block, edge)};

    if (edge == BLOCK_TAKEN)
        t->at = copy_part(t->b, t->at, STENCIL_count_taken, &v);
    if (leaves_page(t->block, v.hole[HOLE_target])) {
        fill_entering(&v);
        v.way[WAY_there] = jump_to_lookup();
        t->at = copy_part(t->b, t->at, STENCIL_far, &v);
        return;
    }
    t->head.edge[edge] = t->at;
    (void)unlinked(t->b, t->at, edge);
    t->at += stencil_parts[STENCIL_edge].bytes;
}

static void place_indirect(struct translation *t)
{
    struct values v = {.way[WAY_there] = (const void *)(uintptr_t)&interp_indirect};

    fill_entering(&v);
    t->at = copy_part(t->b, t->at, STENCIL_indirect, &v);
}

/* `op` set, to the slow instance or the trap. */
static void place_stub(struct translation *t, enum stencil_way way, unsigned index)
{
    struct values v;
    struct rv_insn insn;
    struct op op;

    block_decode_insn(t->h, t->block, index, &insn, &op);
    fill_values(&v, &op, index);
    v.way[WAY_there] = way == WAY_miss ? (const void *)(uintptr_t)interp_handler(insn.sem, true)
                                       : (const void *)(uintptr_t)&interp_trap;
    t->at = copy_part(t->b, t->at, STENCIL_with_op, &v);
}

static void place_way(struct translation *t, enum stencil_way way, unsigned index)
{
    if (way == WAY_fall)
        place_edge(t, BLOCK_FALL);
    else if (way == WAY_taken)
        place_edge(t, BLOCK_TAKEN);
    else if (way == WAY_indirect)
        place_indirect(t);
    else
        place_stub(t, way, index);
}

/* Places what stencils jump to, once for all jumps of the same op to the same way. */
static void place_ways(struct translation *t)
{
    struct baseline *b = t->b;
    uint32_t tail_at = t->at;

    if (t->tail != WAY_there)
        place_way(t, t->tail, t->block->insns - 1);
    for (uint32_t i = 0; i < b->fixup_count; i++) {
        struct fixup first = b->fixups[i];
        if (first.at == AT_NONE)
            continue;
        uint32_t to = tail_at;
        if (first.way != t->tail) {
            to = t->at;
            place_way(t, first.way, first.op);
        }
        for (uint32_t j = i; j < b->fixup_count; j++) {
            struct fixup *same = &b->fixups[j];
            if (same->way != first.way || same->op != first.op)
                continue;
            put_distance(b, same->at, address_of(b, to), same->addend);
            same->at = AT_NONE;
        }
    }
}

static void translate(struct translation *t)
{
    struct values v = {.hole[HOLE_insns] = t->block->insns};

    fill_entering(&v);
    t->b->fixup_count = 0;
    t->at = copy_part(t->b, t->at, STENCIL_enter, &v);
    t->head.gate = t->at;
    host_fill_nothing(t->b->arena.write + t->at, stencil_parts[STENCIL_region].bytes);
    t->at += stencil_parts[STENCIL_region].bytes;
    t->tail = WAY_there;
    for (unsigned i = 0; i < t->block->insns; i++)
        translate_op(t, i);
    t->run[t->block->insns] = address_of(t->b, t->at);
    if (!t->op_ended)
        t->tail = WAY_fall;
    place_ways(t);
}

bool baseline_compile(struct hart *h, struct block *block)
{
    struct baseline *b = h->baseline;
    struct translation t = {.h = h, .b = b, .block = block};

    if (block->straddling || b->arena.bytes - b->used < BLOCK_ROOM_BYTES) {
        if (!block->straddling)
            hart_request_quietly(h, REQUEST_DROP_BLOCKS);
        return false;
    }
    uint32_t start = (b->used + sizeof(struct head) + CODE_ALIGN - 1) & ~(uint32_t)(CODE_ALIGN - 1);
    t.at = start;
    translate(&t);
    if (b->fixup_count == FIXUPS_MAX)
        return false;
    t.head.bytes = t.at - start;
    memcpy(b->arena.write + start - sizeof(t.head), &t.head, sizeof(t.head));
    b->used = t.at;
    block->code = start;
    for (unsigned i = 0; i <= block->insns; i++)
        block->ops[i].run = (op_fn *)(uintptr_t)t.run[i];
    __builtin___clear_cache((char *)address_of(b, start), (char *)address_of(b, t.at));
    HART_COUNT(h, blocks_compiled, 1);
    HART_COUNT(h, block_code_bytes, t.head.bytes);
    return true;
}

/* ---- patching ---- */

static struct head head_of(const struct baseline *b, const struct block *block)
{
    struct head head;

    memcpy(&head, b->arena.write + block->code - sizeof(head), sizeof(head));
    return head;
}

static void patched(const struct baseline *b, uint32_t at, uint32_t bytes)
{
    __builtin___clear_cache((char *)address_of(b, at), (char *)address_of(b, at + bytes));
}

void baseline_link(struct hart *h, const struct block *block, unsigned edge, const struct block *next)
{
    struct baseline *b = h->baseline;

    if (!b || !block->code || !next->code)
        return;
    uint32_t at = head_of(b, block).edge[edge];
    if (at == AT_NONE)
        return;
    struct values v = {
        .hole =
            {[HOLE_target] = edge_target(block, edge), [HOLE_next] = (const uint8_t *)next - (const uint8_t *)block},
        .way[WAY_there] = address_of(b, next->code)};
    patched(b, at, copy_part(b, at, STENCIL_edge, &v) - at);
}

void baseline_unlink(struct hart *h, const struct block *block)
{
    struct baseline *b = h->baseline;

    if (!block->code)
        return;
    const struct head head = head_of(b, block);
    for (unsigned edge = 0; edge < TUFF_ARRAY_LEN(head.edge); edge++) {
        if (head.edge[edge] != AT_NONE)
            patched(b, head.edge[edge], unlinked(b, head.edge[edge], edge) - head.edge[edge]);
    }
}

void baseline_set_region(struct hart *h, const struct block *block, bool on)
{
    struct baseline *b = h->baseline;
    uint32_t bytes = stencil_parts[STENCIL_region].bytes;

    if (!block->code)
        return;
    uint32_t at = head_of(b, block).gate;
    if (on)
        (void)copy_part(b, at, STENCIL_region, &(struct values){0});
    else
        host_fill_nothing(b->arena.write + at, bytes);
    patched(b, at, bytes);
}

const void *baseline_code(const struct hart *h, const struct block *block, size_t *bytes)
{
    *bytes = block->code ? head_of(h->baseline, block).bytes : 0;
    return block->code ? address_of(h->baseline, block->code) : NULL;
}
