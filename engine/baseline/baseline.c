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
 *     reloads          entries of ops that count on values in host registers, for who comes from elsewhere
 *
 * Addresses in the arena are offsets (`at`), good for both views.
 */
#include "engine/baseline/baseline.h"

#include "engine/baseline/arena.h"
#include "engine/baseline/host_x86.h"
#include "engine/baseline/stencil.h"
#include "engine/interp/interp.h"
#include "engine/isa/riscv/sem.h"
#include "mem/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A compiler has some hundred MiB of code; a jump reaches 2 GiB, both ways, and arena_map() not quite as far. */
    ARENA_BYTES = 128 << 20,
    FIXUPS_MAX = 1024,
    CODE_ALIGN = 16,
    /* A block of the longest stencils, with its stubs and ways out. */
    BLOCK_ROOM_BYTES = 1 << 17,
    AT_NONE = 0,
    NOT_RECENT = 0xff,
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
    uint32_t indirect, enter_far; /* STENCIL_indirect and STENCIL_enter_far, for all blocks */
    uint32_t first;               /* behind what is there for good */
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
    const struct stencil_reloc *relocs = &stencil_relocs[s->relocs];

    memcpy(b->arena.write + at, &stencil_code[s->code], s->bytes);
    for (unsigned i = 0; i < s->reloc_count; i++) {
        const struct stencil_reloc *r = &relocs[i];
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

static const struct stencil *part_of(enum stencil_part part)
{
    return &stencils[stencil_parts[part]];
}

static uint32_t copy_part(struct baseline *b, uint32_t at, enum stencil_part part, const struct values *v)
{
    return copy(b, at, part_of(part), v);
}

static void fill_entering(struct values *v)
{
    v->way[WAY_leave] = (const void *)(uintptr_t)&interp_leave;
    v->way[WAY_hot] = (const void *)(uintptr_t)&interp_hot;
}

/* ---- what all blocks share ---- */

static uint32_t aligned(uint32_t at)
{
    return (at + CODE_ALIGN - 1) & ~(uint32_t)(CODE_ALIGN - 1);
}

/* Once, not at the end of each block: 180 bytes of it. Returns where it is. */
static uint32_t place_shared(struct baseline *b, enum stencil_part part, const void *otherwise)
{
    struct values v = {.way[WAY_there] = otherwise};
    uint32_t at = aligned(b->first);

    fill_entering(&v);
    b->first = copy_part(b, at, part, &v);
    return at;
}

static size_t arena_bytes(uint32_t hart_count)
{
    const uint64_t all = (uint64_t)2 << 30;

    return hart_count <= all / ARENA_BYTES ? ARENA_BYTES : all / hart_count & -(uint64_t)MEM_HUGE_PAGE_BYTES;
}

int baseline_create(uint32_t hart_count, struct baseline **out)
{
    struct baseline *b = calloc(1, sizeof(*b));

    *out = NULL;
    if (!b)
        return -ENOMEM;
    if (!arena_map(&b->arena, arena_bytes(hart_count), (const void *)(uintptr_t)&interp_run)) {
        free(b);
        return 0;
    }
    memcpy(b->arena.write, stencil_constants, stencil_constants_bytes);
    b->first = stencil_constants_bytes + 1; /* never AT_NONE */
    b->indirect = place_shared(b, STENCIL_indirect, (const void *)(uintptr_t)&interp_indirect);
    b->enter_far = place_shared(b, STENCIL_enter_far, (const void *)(uintptr_t)&interp_go);
    b->first = aligned(b->first);
    b->used = b->first;
    *out = b;
    return 0;
}

/* ---- a block ---- */

/* An op that counts on what is recent, and may be entered from a slow instance. */
struct reload {
    uint16_t op;
    uint8_t x[STENCIL_RECENT], f[STENCIL_RECENT];
};

struct translation {
    struct hart *h;
    struct baseline *b;
    struct block *block;
    struct head head;
    uint32_t at;
    uint32_t run[BLOCK_INSNS_MAX + 1]; /* where ops are entered; the last is the end marker's */
    bool fs_is_dirty;                  /* hart.r.fs_dirty is set by now */
    bool op_ended;                     /* the last op was left by ways of its own */
    /* registers whose values are at hand, newest first; NOT_RECENT */
    uint8_t recent_x[STENCIL_RECENT], recent_f[STENCIL_RECENT];
    struct reload reloads[BLOCK_INSNS_MAX];
    unsigned reload_count;
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

/* The variant of a row that the rounding mode asks for; false: there is none. */
static bool choose_rounding(const struct op *op, unsigned *variant)
{
    unsigned rm = (unsigned)op->imm >> 8 & 15;

    *variant = rm == RM_RTZ;
    return rm == RM_HOST || rm == RM_RTZ;
}

/* enum stencil_source: where a register is whose number is looked for among what is recent. */
static unsigned source_of(const uint8_t *recent, unsigned reg)
{
    for (unsigned i = 0; i < STENCIL_RECENT; i++) {
        if (recent[i] == reg)
            return STENCIL_FROM_RECENT + i;
    }
    return STENCIL_FROM_MEMORY;
}

static unsigned operand_source(const struct translation *t, unsigned reg, bool is_x, bool is_f)
{
    if (is_f)
        return source_of(t->recent_f, reg);
    if (!is_x)
        return STENCIL_FROM_MEMORY;
    return reg == 0 ? STENCIL_ZERO : source_of(t->recent_x, reg);
}

static unsigned find_variant(unsigned sem, unsigned variant, unsigned rs1, unsigned rs2)
{
    const uint16_t(*rows)[STENCIL_SOURCES] = stencil_rows[sem][variant];

    if (rows[rs1][rs2] == STENCIL_NONE)
        rs2 = STENCIL_FROM_MEMORY;
    return rows[rs1][rs2] == STENCIL_NONE ? rows[STENCIL_FROM_MEMORY][rs2] : rows[rs1][rs2];
}

/* Can the row be copied at all, with these operands; and which variant is it for any immediate? */
static bool choose_variant(const struct translation *t, const struct op *op, const struct rv_insn *insn,
                           unsigned *variant)
{
    bool has_alone = stencil_rows[insn->sem][STENCIL_ALONE][0][0] != STENCIL_NONE;

    *variant = 0;
    /* The slow instance where the fast one would do: control flow without the C extension. */
    if (op->run != interp_handler(insn->sem, false))
        return false;
    /* An rd that is read as well, x0. */
    if ((rv_sem_operands(insn->sem) & RV_X_RD_READ) && op->rd == RV_X_SINK)
        return false;
    if (insn->effects & RV_RM)
        return choose_rounding(op, variant);
    if ((insn->effects & RV_STORE) && has_alone && t->h->config.hart_count == 1)
        *variant = STENCIL_ALONE;
    return true;
}

/* NULL: the interpreter's handler runs it. */
static const struct stencil *choose(const struct translation *t, const struct op *op, const struct rv_insn *insn)
{
    unsigned operands = rv_sem_operands(insn->sem);
    unsigned rs1 = operand_source(t, op->rs1, operands & RV_X_RS1, operands & RV_F_RS1);
    unsigned rs2 = operand_source(t, op->rs2, operands & RV_X_RS2, operands & RV_F_RS2);
    unsigned rs3 = operand_source(t, (unsigned)op->imm & 31, false, operands & RV_F_RS3);
    unsigned variant;

    if (!choose_variant(t, op, insn, &variant))
        return NULL;
    unsigned index = find_variant(insn->sem, variant, rs1, rs2);
    if (variant == 0 && rs3 != STENCIL_FROM_MEMORY && stencil_rows[insn->sem][rs3][rs1][rs2] != STENCIL_NONE)
        index = stencil_rows[insn->sem][rs3][rs1][rs2];
    if (!(insn->effects & RV_RM) && op->imm < 0 && stencils[index].positive_imm)
        index = find_variant(insn->sem, variant + 1, rs1, rs2);
    return index == STENCIL_NONE ? NULL : &stencils[index];
}

static void forget_recent(struct translation *t)
{
    memset(t->recent_x, NOT_RECENT, sizeof(t->recent_x));
    memset(t->recent_f, NOT_RECENT, sizeof(t->recent_f));
}

/* A stencil that has a result has moved what is recent one place on. */
static void note_result(uint8_t *recent, unsigned rd)
{
    for (unsigned i = STENCIL_RECENT - 1; i > 0; i--)
        recent[i] = recent[i - 1] == rd ? NOT_RECENT : recent[i - 1];
    recent[0] = (uint8_t)rd;
}

static void note_results(struct translation *t, const struct op *op, unsigned operands)
{
    if (operands & RV_X_RD)
        note_result(t->recent_x, op->rd == RV_X_SINK ? NOT_RECENT : op->rd);
    if (operands & RV_F_RD)
        note_result(t->recent_f, op->rd);
}

static bool may_miss(const struct stencil *s)
{
    for (unsigned i = 0; i < s->reloc_count; i++) {
        const struct stencil_reloc *r = &stencil_relocs[s->relocs + i];
        if (r->kind == STENCIL_WAY && r->index == WAY_miss)
            return true;
    }
    return false;
}

static bool has_recent(const uint8_t *recent)
{
    for (unsigned i = 0; i < STENCIL_RECENT; i++) {
        if (recent[i] != NOT_RECENT)
            return true;
    }
    return false;
}

/* The op behind one that may miss is entered from the slow instance, which knows nothing of what is recent. */
static void note_reload(struct translation *t, unsigned op)
{
    struct reload *reload = &t->reloads[t->reload_count];

    if (!has_recent(t->recent_x) && !has_recent(t->recent_f))
        return;
    reload->op = (uint16_t)op;
    memcpy(reload->x, t->recent_x, sizeof(reload->x));
    memcpy(reload->f, t->recent_f, sizeof(reload->f));
    t->reload_count++;
}

static void translate_op(struct translation *t, unsigned index)
{
    struct block *block = t->block;
    struct values v;
    struct rv_insn insn;
    struct op op;

    block_decode_insn(t->h, block, index, &insn, &op);
    const struct stencil *s = choose(t, &op, &insn);
    fill_values(&v, &op, index);
    t->run[index] = t->at;
    if (!s) {
        v.way[WAY_there] = (const void *)(uintptr_t)block->ops[index].run;
        t->at = copy_part(t->b, t->at, STENCIL_with_op, &v);
        t->op_ended = insn.effects & (RV_BRANCH | RV_JUMP | RV_INDIRECT | RV_END);
        forget_recent(t);
        t->fs_is_dirty = false;
        return;
    }
    t->at = copy(t->b, t->at, s, &v);
    if (s->dirties_fs && !t->fs_is_dirty) {
        t->at = copy_part(t->b, t->at, STENCIL_dirty, &v);
        t->fs_is_dirty = true;
    }
    t->op_ended = insn.effects & (RV_BRANCH | RV_JUMP | RV_INDIRECT);
    if (s->last != WAY_next)
        t->tail = s->last;
    note_results(t, &op, rv_sem_operands(insn.sem));
    if (may_miss(s) && !t->op_ended)
        note_reload(t, index + 1);
}

static void place_reload(struct translation *t, const struct reload *r)
{
    struct values v = {.hole = {[HOLE_x_rs1] = x_offset(r->x[0] == NOT_RECENT ? 0 : r->x[0]),
                                [HOLE_x_rs2] = x_offset(r->x[1] == NOT_RECENT ? 0 : r->x[1]),
                                [HOLE_f_rs1] = f_offset(r->f[0]),
                                [HOLE_f_rs2] = f_offset(r->f[1])},
                       .way[WAY_there] = address_of(t->b, t->run[r->op])};
    uint32_t start = t->at;

    if (has_recent(r->f) && has_recent(r->x)) {
        t->at = copy_part(t->b, t->at, STENCIL_reload_f, &v);
        v.way[WAY_there] = address_of(t->b, start);
        start = t->at;
    }
    t->at = copy_part(t->b, t->at, has_recent(r->x) ? STENCIL_reload : STENCIL_reload_f, &v);
    t->run[r->op] = start;
}

/* From memory what the op takes for recent, then to it. */
static void place_reloads(struct translation *t)
{
    for (unsigned i = 0; i < t->reload_count; i++)
        place_reload(t, &t->reloads[i]);
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

static void place_edge(struct translation *t, unsigned edge)
{
    struct values v = {.hole[HOLE_target] = edge_target(t->block, edge)};

    if (edge == BLOCK_TAKEN)
        t->at = copy_part(t->b, t->at, STENCIL_count_taken, &v);
    if (leaves_page(t->block, v.hole[HOLE_target])) {
        v.way[WAY_there] = address_of(t->b, t->b->enter_far);
        t->at = copy_part(t->b, t->at, STENCIL_far, &v);
        return;
    }
    t->head.edge[edge] = t->at;
    (void)unlinked(t->b, t->at, edge);
    t->at += part_of(STENCIL_edge)->bytes;
}

static void place_indirect(struct translation *t)
{
    struct values v = {.way[WAY_there] = address_of(t->b, t->b->indirect)};

    t->at = copy_part(t->b, t->at, STENCIL_go, &v);
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

static void fill_map(const struct translation *t, uint32_t start, struct baseline_map *map)
{
    for (unsigned i = 0; i <= t->block->insns; i++)
        map->op[i] = t->run[i] - start;
}

static void translate(struct translation *t, struct baseline_map *map)
{
    uint32_t start = t->at;

    struct values v = {.hole[HOLE_insns] = t->block->insns};

    fill_entering(&v);
    t->b->fixup_count = 0;
    t->at = copy_part(t->b, t->at, STENCIL_enter, &v);
    t->head.gate = t->at;
    host_fill_nothing(t->b->arena.write + t->at, part_of(STENCIL_region)->bytes);
    t->at += part_of(STENCIL_region)->bytes;
    t->tail = WAY_there;
    forget_recent(t);
    for (unsigned i = 0; i < t->block->insns; i++)
        translate_op(t, i);
    t->run[t->block->insns] = t->at;
    if (map)
        fill_map(t, start, map);
    if (!t->op_ended)
        t->tail = WAY_fall;
    place_ways(t);
    place_reloads(t);
}

bool baseline_compile(struct hart *h, struct block *block, struct baseline_map *map)
{
    struct baseline *b = h->baseline;
    struct translation t = {.h = h, .b = b, .block = block};

    if (block->straddling || b->arena.bytes - b->used < BLOCK_ROOM_BYTES) {
        if (!block->straddling)
            hart_request_quietly(h, REQUEST_DROP_BLOCKS);
        return false;
    }
    uint32_t start = aligned(b->used + (uint32_t)sizeof(struct head));
    t.at = start;
    arena_reach(&b->arena, start + BLOCK_ROOM_BYTES);
    translate(&t, map);
    if (b->fixup_count == FIXUPS_MAX)
        return false;
    t.head.bytes = t.at - start;
    memcpy(b->arena.write + start - sizeof(t.head), &t.head, sizeof(t.head));
    b->used = t.at;
    block->code = start;
    for (unsigned i = 0; i <= block->insns; i++)
        block->ops[i].run = (op_fn *)(uintptr_t)address_of(b, t.run[i]);
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
    uint32_t bytes = part_of(STENCIL_region)->bytes;

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
