/* Choosing regions: from a hot block outwards over the edges that the profile says are taken, hottest first.
 *
 * Calls are followed like jumps, so a hot callee becomes part of its caller's region and the return is an indirect jump
 * with the return points of the region's calls as guarded targets. What is entered from outside (return points of calls
 * that leave the region, what follows an instruction that only the interpreter runs) becomes an entry.
 */
#include "engine/region/region.h"

#include "engine/isa/riscv/decode.h"
#include "engine/region/installed.h"
#include "engine/region/policy.h"
#include "mem/frame.h"

#include <stdlib.h>
#include <string.h>

enum { CANDIDATES_MAX = 1024, REACH_BYTES = 1 << 28, TARGET_SHARE = 16 };

struct member {
    struct block *block;
    uint64_t pc;
    uint32_t insns; /* of the block's, without one that only the interpreter runs */
    uint64_t ran, taken;
    bool exits; /* the next instruction is for the interpreter */
    bool cut;   /* another member begins where this one now ends */
    struct rv_insn last;
    struct op last_op;
    bool wanted_entry;
};

struct selection {
    struct hart *h;
    struct member members[REGION_BLOCKS_MAX];
    uint32_t count, insns;
    uint64_t base;
    struct {
        uint64_t pc;
        struct block *block;
        bool entry;
    } candidates[CANDIDATES_MAX];
    uint32_t candidate_count;
    struct region_page pages[REGION_PAGES_MAX];
    uint32_t page_count;
};

enum { LINK_RA = 1, LINK_T0 = 5 };

static bool is_link(unsigned reg)
{
    return reg == LINK_RA || reg == LINK_T0;
}

static bool is_return(const struct member *m)
{
    return (m->last.effects & RV_INDIRECT) && m->last_op.rd == RV_X_SINK && is_link(m->last_op.rs1);
}

static bool is_call(const struct member *m)
{
    return !m->exits && (m->last.effects & (RV_JUMP | RV_INDIRECT)) && is_link(m->last_op.rd);
}

static uint64_t end_of(const struct member *m)
{
    return m->pc + (m->exits || m->cut ? op_offset(&m->block->ops[m->insns]) : m->block->bytes);
}

static uint64_t direct_target(const struct member *m)
{
    return m->pc + op_offset(&m->block->ops[m->insns - 1]) + (uint64_t)(int64_t)m->last_op.imm;
}

static struct member *find_member(struct selection *s, uint64_t pc)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->members[i].pc == pc)
            return &s->members[i];
    }
    return NULL;
}

static void consider(struct selection *s, uint64_t pc, bool entry)
{
    struct member *known = find_member(s, pc);

    if (known) {
        known->wanted_entry |= entry;
        return;
    }
    for (uint32_t i = 0; i < s->candidate_count; i++) {
        if (s->candidates[i].pc == pc) {
            s->candidates[i].entry |= entry;
            return;
        }
    }
    if (s->candidate_count == CANDIDATES_MAX || (int64_t)(pc - s->base) > REACH_BYTES ||
        (int64_t)(pc - s->base) < -REACH_BYTES)
        return;
    struct block *block = block_peek(s->h, pc);
    if (!block || !region_may_contain(s->h, block))
        return;
    s->candidates[s->candidate_count].pc = pc;
    s->candidates[s->candidate_count].block = block;
    s->candidates[s->candidate_count++].entry = entry;
}

/* The index of a page among the region's, or page_count. */
static uint32_t find_page(const struct selection *s, int32_t delta)
{
    uint32_t page = 0;

    while (page < s->page_count && s->pages[page].delta != delta)
        page++;
    return page;
}

static int32_t page_delta(const struct selection *s, uint64_t pc)
{
    return (int32_t)((int64_t)(pc - s->base) >> MEM_PAGE_SHIFT);
}

/* False: the page of `pc` cannot be fetched from, or there are too many. */
static bool add_page(struct selection *s, uint64_t pc)
{
    int32_t delta = page_delta(s, pc);
    const uint8_t *host;

    if (find_page(s, delta) < s->page_count)
        return true;
    if (s->page_count == REGION_PAGES_MAX || !mmu_fetch(s->h, pc, &host))
        return false;
    s->pages[s->page_count++] = (struct region_page){.delta = delta, .frame = mem_frame_of(s->h->mem, host)};
    return true;
}

static bool add_member(struct selection *s, struct block *block, uint64_t pc, bool entry, uint32_t max_insns)
{
    struct member *m = &s->members[s->count];

    *m = (struct member){.block = block, .pc = pc, .insns = block->insns, .wanted_entry = entry};
    m->ran = region_block_ran(block);
    m->taken = block->taken < m->ran ? block->taken : m->ran;
    block_decode_insn(s->h, block, m->insns - 1, &m->last, &m->last_op);
    if ((m->last.effects & RV_END) || m->last.sem == RV_SEM_illegal) {
        m->exits = true;
        m->insns--;
        if (m->insns == 0)
            return false;
        block_decode_insn(s->h, block, m->insns - 1, &m->last, &m->last_op);
    }
    if (s->insns + m->insns > max_insns && s->count > 0)
        return false;
    if (!add_page(s, pc) || (block->straddling && !add_page(s, pc + 2)))
        return false;
    s->count++;
    s->insns += m->insns;
    return true;
}

/* One that is worth a comparison. */
static bool is_frequent(const struct block *block, unsigned target)
{
    uint32_t count = block->indirect ? block->indirect[target].count : 0;

    return count && count >= block->indirect[0].count / TARGET_SHARE;
}

static void consider_successors(struct selection *s, uint32_t index)
{
    const struct member m = s->members[index];

    if (m.exits) {
        /* The interpreter runs one instruction and comes back. */
        uint64_t after = m.pc + m.block->bytes;
        consider(s, after, true);
        return;
    }
    if (m.last.effects & (RV_BRANCH | RV_JUMP))
        consider(s, direct_target(&m), false);
    if (!(m.last.effects & (RV_JUMP | RV_INDIRECT)))
        consider(s, end_of(&m), false);
    for (unsigned i = 0; i < BLOCK_TARGETS; i++) {
        if (is_frequent(m.block, i))
            consider(s, m.block->indirect[i].pc, false);
    }
    if (is_call(&m))
        consider(s, end_of(&m), false);
}

/* The hottest candidate that is worth it, taken from the list. */
static bool next_candidate(struct selection *s, uint64_t least, struct block **block, uint64_t *pc, bool *entry)
{
    uint32_t best = UINT32_MAX;
    uint64_t most = 0;

    for (uint32_t i = 0; i < s->candidate_count; i++) {
        uint64_t ran = block_executions(s->candidates[i].block);
        if (ran >= least && (best == UINT32_MAX || ran > most)) {
            best = i;
            most = ran;
        }
    }
    if (best == UINT32_MAX)
        return false;
    *block = s->candidates[best].block;
    *pc = s->candidates[best].pc;
    *entry = s->candidates[best].entry;
    s->candidates[best] = s->candidates[--s->candidate_count];
    return true;
}

/* A call whose callee is not part of the region comes back from outside. */
static void mark_return_points(struct selection *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (!is_call(m))
            continue;
        struct member *back = find_member(s, end_of(m));
        bool inside = !(m->last.effects & RV_JUMP) || find_member(s, direct_target(m));
        for (unsigned j = 0; j < BLOCK_TARGETS; j++)
            inside &= !is_frequent(m->block, j) || find_member(s, m->block->indirect[j].pc);
        if (back && !inside)
            back->wanted_entry = true;
    }
}

/* ---- blocks that overlap ---- */

static int by_pc(const void *a, const void *b)
{
    uint64_t left = (*(struct member *const *)a)->pc;
    uint64_t right = (*(struct member *const *)b)->pc;

    return left < right ? -1 : left > right;
}

/* Ends the member where `next` begins, if an instruction does there. */
static bool cut_at(struct selection *s, struct member *m, const struct member *next)
{
    for (uint32_t i = 1; i < m->insns; i++) {
        if (m->pc + op_offset(&m->block->ops[i]) == next->pc) {
            m->insns = i;
            m->cut = true;
            m->exits = false;
            block_decode_insn(s->h, m->block, i - 1, &m->last, &m->last_op);
            return true;
        }
    }
    return false;
}

/* The interpreter's blocks begin where something jumps to, and go on to the next branch. A member that runs into
 * another one's start ends there and goes on in that one: each instruction is compiled once, and paths that join in the
 * guest join in the region. What the interpreter counted in the first was run in the second as well. */
static void cut_overlaps(struct selection *s)
{
    struct member *order[REGION_BLOCKS_MAX];

    for (uint32_t i = 0; i < s->count; i++)
        order[i] = &s->members[i];
    qsort(order, s->count, sizeof(order[0]), by_pc);
    s->insns = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        struct member *m = order[i];
        for (uint32_t j = i + 1; j < s->count && order[j]->pc < end_of(m); j++) {
            if (cut_at(s, m, order[j])) {
                order[j]->ran += m->ran;
                order[j]->taken += m->taken;
            }
        }
        s->insns += m->insns;
    }
}

/* ---- writing it down ---- */

static struct region_edge edge_to(struct selection *s, uint64_t pc, uint64_t count)
{
    struct member *m = find_member(s, pc);

    return (struct region_edge){
        .offset = (int32_t)(pc - s->base),
        .target = m ? (uint16_t)(m - s->members) : REGION_NONE,
        .count = count,
    };
}

static bool has_target(const struct region_block *b, uint16_t target)
{
    for (unsigned i = 0; i < b->targets; i++) {
        if (b->indirect[i].target == target)
            return true;
    }
    return false;
}

static void guard(struct region_block *b, struct region_edge edge)
{
    if (edge.target != REGION_NONE && b->targets < REGION_TARGETS_MAX && !has_target(b, edge.target))
        b->indirect[b->targets++] = edge;
}

static void describe_end(struct selection *s, const struct member *m, struct region_block *b)
{
    uint64_t ran = m->ran;

    b->end = (int32_t)(end_of(m) - s->base);
    b->cut = m->cut;
    b->executions = ran;
    b->fall = b->taken = (struct region_edge){.target = REGION_NONE};
    if (m->exits) {
        b->ends = REGION_END_EXIT;
    } else if (m->last.effects & RV_BRANCH) {
        b->ends = REGION_END_BRANCH;
        b->taken = edge_to(s, direct_target(m), m->taken);
        b->fall = edge_to(s, end_of(m), ran - m->taken);
    } else if (m->last.effects & RV_JUMP) {
        b->ends = REGION_END_JUMP;
        b->taken = edge_to(s, direct_target(m), ran);
    } else if (m->last.effects & RV_INDIRECT) {
        b->ends = REGION_END_INDIRECT;
        for (unsigned i = 0; i < BLOCK_TARGETS; i++) {
            if (is_frequent(m->block, i))
                guard(b, edge_to(s, m->block->indirect[i].pc, m->block->indirect[i].count));
        }
        for (uint32_t i = 0; is_return(m) && i < s->count; i++) {
            const struct member *call = &s->members[i];
            if (is_call(call))
                guard(b, edge_to(s, end_of(call), call->ran));
        }
    } else {
        b->ends = REGION_END_FALL;
        b->fall = edge_to(s, end_of(m), ran);
    }
}

static void describe_insns(struct selection *s, struct region *r, const struct member *m, struct region_block *b)
{
    b->first_insn = r->insn_count;
    b->insns = m->insns;
    b->start = (int32_t)(m->pc - s->base);
    for (uint32_t i = 0; i < m->insns; i++) {
        struct rv_insn insn;
        struct op op;
        block_decode_insn(s->h, m->block, i, &insn, &op);
        r->sees_flags |= (insn.effects & RV_FP) && (insn.effects & RV_ONCE);
        r->insns[r->insn_count++] = region_insn_of(&insn, &op, b->start + (int32_t)op_offset(&op));
    }
}

static void describe_span(struct selection *s, struct region *r, uint64_t pc, const uint8_t *source, unsigned len)
{
    r->spans[r->span_count++] = (struct region_span){
        .page = (uint16_t)find_page(s, page_delta(s, pc)),
        .offset = (uint16_t)(pc & ~TLB_PAGE_MASK),
        .len_bytes = (uint16_t)len,
        .bytes = r->byte_count,
    };
    memcpy(r->bytes + r->byte_count, source, len);
    r->byte_count += len;
}

static void describe_bytes(struct selection *s, struct region *r, const struct member *m)
{
    unsigned len = (unsigned)(end_of(m) - m->pc);
    const uint8_t *source = block_source(m->block);
    unsigned first = m->block->straddling ? 2 : len;

    describe_span(s, r, m->pc, source, first);
    if (first < len)
        describe_span(s, r, m->pc + first, source + first, len - first);
}

/* Depth first from the entries: edges to a block on the current path close a cycle. Iterative, since a region may be
 * one long path. */
struct visit {
    uint16_t block;
    uint8_t edge;
};

static void finish_block(struct region *r, struct region_block *b)
{
    const struct region_edge *e;
    uint32_t beyond = 0;

    for (unsigned n = 0; (e = region_edge(b, n)); n++) {
        if (e->target != REGION_NONE && !e->back && r->blocks[e->target].longest > beyond)
            beyond = r->blocks[e->target].longest;
    }
    b->longest = b->insns + beyond;
}

static void mark_cycles(struct region *r, uint16_t root, uint8_t *colour)
{
    struct visit stack[REGION_BLOCKS_MAX];
    unsigned depth = 0;

    if (colour[root])
        return;
    colour[root] = 1;
    stack[depth++] = (struct visit){.block = root};
    while (depth) {
        struct visit *top = &stack[depth - 1];
        struct region_block *b = &r->blocks[top->block];
        struct region_edge *e = (struct region_edge *)region_edge(b, top->edge);
        if (!e) {
            finish_block(r, b);
            colour[top->block] = 2;
            depth--;
            continue;
        }
        top->edge++;
        if (e->target == REGION_NONE)
            continue;
        if (colour[e->target] == 1) {
            e->back = true;
        } else if (!colour[e->target]) {
            colour[e->target] = 1;
            stack[depth++] = (struct visit){.block = e->target};
        }
    }
}

static void number_entries(struct selection *s, struct region *r)
{
    uint8_t colour[REGION_BLOCKS_MAX] = {0};

    for (uint32_t i = 0; i < s->count; i++) {
        bool entry =
            s->members[i].wanted_entry && !s->members[i].block->straddling && r->entry_count < REGION_ENTRIES_MAX;
        r->blocks[i].entry = entry ? (uint16_t)r->entry_count : REGION_NONE;
        if (entry)
            r->entry_block[r->entry_count++] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < r->entry_count; i++)
        mark_cycles(r, r->entry_block[i], colour);
    for (uint32_t i = 0; i < r->block_count; i++)
        mark_cycles(r, (uint16_t)i, colour);
}

void region_forget_code(struct region *r)
{
    free(r->exits);
    free(r->values);
    free(r->faults);
    r->exits = NULL;
    r->values = NULL;
    r->faults = NULL;
    r->exit_count = r->fault_count = 0;
}

void region_free(struct region *r)
{
    if (!r)
        return;
    free(r->insns);
    free(r->blocks);
    free(r->spans);
    free(r->bytes);
    region_forget_code(r);
    free(r);
}

static struct region *describe(struct selection *s)
{
    struct region *r = s->count && s->insns ? calloc(1, sizeof(*r)) : NULL;

    if (!r)
        return NULL;
    r->insns = calloc(s->insns, sizeof(*r->insns));
    r->blocks = calloc(s->count, sizeof(*r->blocks));
    r->spans = calloc(2 * s->count, sizeof(*r->spans));
    r->bytes = malloc(4 * (size_t)s->insns);
    if (!r->insns || !r->blocks || !r->spans || !r->bytes) {
        region_free(r);
        return NULL;
    }
    r->ctx = s->h->ctx;
    r->isa = s->h->isa;
    r->alone = s->h->config.hart_count == 1;
    r->gva = s->base;
    r->block_count = s->count;
    r->page_count = s->page_count;
    memcpy(r->pages, s->pages, sizeof(r->pages));
    for (uint32_t i = 0; i < s->count; i++) {
        describe_insns(s, r, &s->members[i], &r->blocks[i]);
        describe_end(s, &s->members[i], &r->blocks[i]);
        describe_bytes(s, r, &s->members[i]);
    }
    number_entries(s, r);
    return r;
}

struct region *region_select(struct hart *h, struct block *seed, uint64_t pc, uint32_t max_insns, uint32_t cold_share)
{
    struct selection *s = calloc(1, sizeof(*s));
    struct region *region = NULL;
    uint64_t least = block_executions(seed) / cold_share;
    struct block *block;
    bool entry;

    if (!s)
        return NULL;
    s->h = h;
    s->base = pc & TLB_PAGE_MASK;
    if (!seed->straddling && add_member(s, seed, pc, true, max_insns)) {
        consider_successors(s, 0);
        while (s->count < REGION_BLOCKS_MAX && s->insns < max_insns && next_candidate(s, least, &block, &pc, &entry)) {
            if (add_member(s, block, pc, entry, max_insns))
                consider_successors(s, s->count - 1);
        }
        mark_return_points(s);
        cut_overlaps(s);
        region = describe(s);
    }
    free(s);
    return region;
}
