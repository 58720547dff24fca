/* Which way each access of a region takes to guest memory; see probe.h. */
#include "llvm/probe.h"

#include "engine/isa/riscv/decode.h"
#include "engine/isa/riscv/sem.h"
#include "mem/mirror.h"
#include "llvm/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUN_BYTES_MAX = 1024, /* longer ones would meet a page's end too often */
    RUNS_MAX = 0xffff,
    STEP_MAX = 128, /* a page in 32 turns of a loop: finding the next one costs as much as 8 compares with the TLB */
    MOVE_DEPTH_MAX = 64,               /* blocks in a row that are planned together */
    MOVE_MAX = MIRROR_GUARD_BYTES / 2, /* with an immediate of 12 bits: inside of a guard */
};
_Static_assert(REGION_NONE == 0xffff, "what find_predecessors() fills with");
_Static_assert(MOVE_MAX <= -INT16_MIN, "a field of probe_site");

/* An access as the bodies describe themselves (prepare.c). */
struct access {
    bool is;
    uint8_t size_bytes;
    enum sem_access kind;
};

struct run {
    uint32_t count;
    int32_t low, high; /* immediates: of the first byte and behind the last */
    bool stores;
};

struct planner {
    const struct region *region;
    struct access accesses[RV_SEM_COUNT];
    uint64_t computed[32]; /* how often the register gets a new value that is not a step from its old one */
    uint64_t *sites;
    uint32_t runs;
};

static struct access read_access(LLVMModuleRef bodies, unsigned sem)
{
    uint64_t size;
    uint64_t kind;

    if (!body_number(bodies, sem, "tuff-access-bytes", &size) || !body_number(bodies, sem, "tuff-access-kind", &kind))
        return (struct access){0};
    return (struct access){.is = true, .size_bytes = (uint8_t)size, .kind = (enum sem_access)kind};
}

static bool writes_x(const struct region_insn *insn, unsigned reg)
{
    unsigned operands = rv_sem_operands(insn->sem);

    return (operands & RV_X_RD) && (insn->rd == reg || ((operands & RV_X_PAIRS) && insn->rd + 1u == reg));
}

/* A register that moves by small constants, or is one, stays on its page for a while. */
static bool stays_near(const struct region_insn *insn)
{
    bool step = insn->sem == RV_SEM_addi && insn->rs1 == insn->rd;
    return (step && abs(insn->imm) <= STEP_MAX) || insn->sem == RV_SEM_lui || insn->sem == RV_SEM_auipc;
}

static void find_computed(struct planner *p)
{
    for (uint32_t i = 0; i < p->region->block_count; i++) {
        const struct region_block *block = &p->region->blocks[i];
        for (uint32_t j = 0; j < block->insns; j++) {
            const struct region_insn *insn = &p->region->insns[block->first_insn + j];
            for (unsigned reg = 0; reg < 32 && !stays_near(insn); reg++)
                p->computed[reg] += writes_x(insn, reg) ? block->executions : 0;
        }
    }
}

/* The register has another value nearly every time the block runs: another page, for all that is known. */
static bool is_scattered(const struct planner *p, const struct region_block *block, unsigned base)
{
    return p->computed[base] * 2 > block->executions;
}

static const struct access *access_of(const struct planner *p, uint32_t insn)
{
    return &p->accesses[p->region->insns[insn].sem];
}

/* The greatest size in the run, and how far below its first byte an address lies that is aligned to it if all accesses
 * are aligned: -1 if there is none. */
static int find_alignment(const struct planner *p, const struct run *run, const uint32_t *members, unsigned *shift)
{
    unsigned most = 1;

    for (uint32_t i = 0; i < run->count; i++)
        most = access_of(p, members[i])->size_bytes > most ? access_of(p, members[i])->size_bytes : most;
    *shift = (unsigned)__builtin_ctz(most);
    for (int below = 0; below < (int)most; below++) {
        bool fits = true;
        for (uint32_t i = 0; i < run->count; i++)
            fits &= (p->region->insns[members[i]].imm - run->low + below) % access_of(p, members[i])->size_bytes == 0;
        if (fits)
            return below;
    }
    return -1;
}

static void plan_run(struct planner *p, const struct region_block *block, const struct run *run,
                     const uint32_t *members)
{
    unsigned shift;

    if (run->count < 2 || p->runs == RUNS_MAX)
        return;
    const struct region_insn *first = &p->region->insns[members[0]];
    struct probe_site site = {.base = first->rs1, .run = p->runs, .stores = run->stores};
    int below = find_alignment(p, run, members, &shift);
    if (below < 0)
        return;
    site.align_shift = shift;
    site.first = run->low - below - first->imm;
    site.last = run->high - 1 - first->imm;
    site.way = is_scattered(p, block, first->rs1) ? PROBE_RUN_TLB : PROBE_RUN_BASE;
    p->sites[members[0]] = probe_pack(&site);
    site.way = PROBE_RUN_MORE;
    for (uint32_t i = 1; i < run->count; i++)
        p->sites[members[i]] = probe_pack(&site);
    p->runs++;
}

/* One base register's accesses in a block, run by run. */
static void plan_register(struct planner *p, const struct region_block *block, unsigned base)
{
    uint32_t members[BLOCK_INSNS_MAX] = {0};
    struct run run = {0};

    for (uint32_t i = 0; i < block->insns; i++) {
        uint32_t number = block->first_insn + i;
        const struct region_insn *insn = &p->region->insns[number];
        const struct access *access = access_of(p, number);
        if (access->is && access->kind != SEM_ATOMIC && insn->rs1 == base) {
            int32_t low = run.count && run.low < insn->imm ? run.low : insn->imm;
            int32_t high = insn->imm + access->size_bytes;
            high = run.count && run.high > high ? run.high : high;
            if (high - low > RUN_BYTES_MAX) {
                plan_run(p, block, &run, members);
                run = (struct run){0};
                low = insn->imm;
                high = insn->imm + access->size_bytes;
            }
            members[run.count++] = number;
            run.low = low;
            run.high = high;
            run.stores |= access->kind == SEM_WRITE;
        }
        if (writes_x(insn, base)) {
            plan_run(p, block, &run, members);
            run = (struct run){0};
        }
    }
    plan_run(p, block, &run, members);
}

/* By itself: a run of one. */
static void plan_single(struct planner *p, const struct region_block *block, uint32_t number)
{
    const struct region_insn *insn = &p->region->insns[number];
    const struct access *access = access_of(p, number);
    struct probe_site site = {.way = PROBE_TLB, .base = insn->rs1};

    if (access->is && access->kind != SEM_ATOMIC && p->region->mirrored)
        site.way = PROBE_MIRROR;
    else if (access->is && access->kind != SEM_ATOMIC && !is_scattered(p, block, insn->rs1))
        site.way = PROBE_BASE;
    p->sites[number] = probe_pack(&site);
}

/* How far each register is from what it was when the block before these began, if only constants were added: what
 * IS_IN_MIRROR compares. 0: it has another value since. */
struct moves {
    int32_t by[32];
};

static void move_register(struct moves *moves, const struct region_insn *insn)
{
    bool steps = insn->sem == RV_SEM_addi && insn->rs1 == insn->rd;
    int64_t by = steps ? (int64_t)moves->by[insn->rd & 31] + insn->imm : 0;

    for (unsigned reg = 1; reg < 32; reg++) {
        if (writes_x(insn, reg))
            moves->by[reg] = by >= -MOVE_MAX && by < MOVE_MAX ? (int32_t)by : 0;
    }
}

/* By block: the only one of the region from which control comes to it, or REGION_NONE: none, several, or an entry. */
static void find_predecessors(const struct region *region, uint16_t *predecessors)
{
    bool several[REGION_BLOCKS_MAX] = {0};

    memset(predecessors, 0xff, REGION_BLOCKS_MAX * sizeof(*predecessors));
    for (uint32_t i = 0; i < region->block_count; i++) {
        const struct region_edge *e;
        for (unsigned j = 0; (e = region_edge(&region->blocks[i], j)); j++) {
            if (e->target == REGION_NONE)
                continue;
            several[e->target] |= predecessors[e->target] != REGION_NONE && predecessors[e->target] != i;
            predecessors[e->target] = (uint16_t)i;
        }
    }
    for (uint32_t i = 0; i < region->block_count; i++) {
        if (several[i] || region->blocks[i].entry != REGION_NONE)
            predecessors[i] = REGION_NONE;
    }
}

/* A block, then those that only it leads to: they go on with its moves. */
static void plan_moves(struct planner *p, uint32_t number, struct moves moves, const uint16_t *predecessors,
                       unsigned depth)
{
    const struct region_block *block = &p->region->blocks[number];

    for (uint32_t i = 0; i < block->insns; i++) {
        const struct region_insn *insn = &p->region->insns[block->first_insn + i];
        struct probe_site site = probe_unpack(p->sites[block->first_insn + i]);
        if (site.way == PROBE_MIRROR) {
            site.first = moves.by[insn->rs1];
            p->sites[block->first_insn + i] = probe_pack(&site);
        }
        move_register(&moves, insn);
    }
    for (uint32_t i = 0; i < p->region->block_count && depth < MOVE_DEPTH_MAX; i++) {
        if (predecessors[i] == number)
            plan_moves(p, i, moves, predecessors, depth + 1);
    }
}

int plan_probes(const struct region *region, LLVMModuleRef bodies, uint64_t *sites, uint32_t *runs)
{
    struct planner *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->region = region;
    p->sites = sites;
    for (uint32_t i = 0; i < region->insn_count; i++) {
        unsigned sem = region->insns[i].sem;
        if (!p->accesses[sem].is)
            p->accesses[sem] = read_access(bodies, sem);
    }
    find_computed(p);
    for (uint32_t i = 0; i < region->block_count; i++) {
        const struct region_block *block = &region->blocks[i];
        for (uint32_t j = 0; j < block->insns; j++)
            plan_single(p, block, block->first_insn + j);
        for (unsigned base = 0; base < 32 && !region->mirrored; base++)
            plan_register(p, block, base);
    }
    if (region->mirrored) {
        uint16_t predecessors[REGION_BLOCKS_MAX];
        find_predecessors(region, predecessors);
        for (uint32_t i = 0; i < region->block_count; i++) {
            if (predecessors[i] == REGION_NONE)
                plan_moves(p, i, (struct moves){0}, predecessors, 0);
        }
    }
    *runs = p->runs;
    free(p);
    return 0;
}
