/* Points that stop a hart, and what a debugger does with one that has stopped; see debug.h. */
#include "engine/isa/riscv/debug.h"

#include "engine/interp/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int debug_create(struct hart *h)
{
    h->debug = calloc(1, sizeof(*h->debug));
    if (!h->debug)
        return -ENOMEM;
    h->debug->generation = 1;
    return 0;
}

void debug_points_changed(struct hart *h)
{
    struct debug *d = h->debug;

    h->point_kinds = 0;
    for (uint32_t i = 0; i < d->count; i++)
        h->point_kinds |= d->ranges[i].kinds;
    for (unsigned i = 0; i < HART_TRIGGERS; i++)
        h->point_kinds |= d->triggers[i].kinds;
    /* Blocks of earlier points are not found any more. Once in 65,535 changes their contexts come again. */
    if (++d->generation == 0) {
        d->generation = 1;
        block_cache_flush(h);
    }
    tlb_flush_first_level(h->tlb);
    tlb_flush_jumps(h->tlb);
}

static bool touches(const struct debug_range *range, uint64_t first, uint64_t last, unsigned kinds)
{
    return (range->kinds & kinds) && range->first <= last && first <= range->last;
}

static bool any_touches(const struct hart *h, uint64_t first, uint64_t last, unsigned kinds)
{
    const struct debug *d = h->debug;

    for (uint32_t i = 0; i < d->count; i++) {
        if (touches(&d->ranges[i], first, last, kinds))
            return true;
    }
    for (unsigned i = 0; i < HART_TRIGGERS; i++) {
        if (touches(&d->triggers[i], first, last, kinds))
            return true;
    }
    return false;
}

bool debug_page_has(const struct hart *h, uint64_t gva, unsigned kinds)
{
    uint64_t page = gva & TLB_PAGE_MASK;

    return any_touches(h, page, page | ~TLB_PAGE_MASK, kinds);
}

bool debug_point_at(const struct hart *h, uint64_t pc)
{
    return any_touches(h, pc, pc, VCPU_POINT_EXECUTE);
}

/* Of the guest's triggers; the exception is theirs to take. */
static bool trigger_stops(struct hart *h, uint64_t first, unsigned size_bytes, uint64_t last, unsigned kinds)
{
    for (unsigned i = 0; i < HART_TRIGGERS; i++) {
        const struct debug_range *range = &h->debug->triggers[i];
        if (!touches(range, first, last, kinds) || !trigger_fires(h, i, size_bytes))
            continue;
        h->trap.cause = CAUSE_BREAKPOINT;
        h->trap.tval = first > range->first ? first : range->first;
        return true;
    }
    return false;
}

static bool stop(struct hart *h, enum vcpu_stop_kind kind, uint64_t gva)
{
    h->debug->stop = (struct vcpu_stop){.kind = kind, .gva = gva};
    h->trap.cause = TRAP_DEBUGGER;
    h->trap.tval = gva;
    return true;
}

bool debug_stops_at(struct hart *h, uint64_t pc, unsigned len_bytes)
{
    const struct debug *d = h->debug;

    for (uint32_t i = 0; i < d->count && d->passing == DEBUG_PASS_NOTHING; i++) {
        if (touches(&d->ranges[i], pc, pc, VCPU_POINT_EXECUTE))
            return stop(h, VCPU_STOP_BREAKPOINT, pc);
    }
    return trigger_stops(h, pc, len_bytes, pc, VCPU_POINT_EXECUTE);
}

bool debug_stops_access(struct hart *h, uint64_t gva, unsigned size_bytes, unsigned kinds)
{
    static const enum vcpu_stop_kind stops[] = {[VCPU_POINT_READ] = VCPU_STOP_READ,
                                                [VCPU_POINT_WRITE] = VCPU_STOP_WRITE,
                                                [VCPU_POINT_READ | VCPU_POINT_WRITE] = VCPU_STOP_ACCESS};
    const struct debug *d = h->debug;
    uint64_t first = tlb_effective(&h->bank->view, gva), last = first + size_bytes - 1;

    if (!(h->point_kinds & kinds))
        return false;
    for (uint32_t i = 0; i < d->count && d->passing != DEBUG_PASS_ALL; i++) {
        const struct debug_range *range = &d->ranges[i];
        if (touches(range, first, last, kinds))
            return stop(h, stops[range->kinds & (VCPU_POINT_READ | VCPU_POINT_WRITE)],
                        first > range->first ? first : range->first);
    }
    return trigger_stops(h, first, size_bytes, last, kinds);
}

/* ---- the debugger's side ---- */

int debug_set_points(struct vcpu *vcpu, const struct vcpu_point *points, uint32_t count)
{
    struct hart *h = HART_OF(vcpu);
    struct debug_range ranges[VCPU_POINTS_MAX] = {0};

    for (uint32_t i = 0; i < count; i++) {
        const struct vcpu_point *p = &points[i];
        ranges[i] =
            (struct debug_range){.first = p->gva, .last = p->gva + p->len_bytes - 1, .kinds = (uint8_t)p->kinds};
    }
    if (!h->debug && count == 0)
        return 0;
    if (!h->debug && debug_create(h))
        return -ENOMEM;
    if (h->debug->count == count && memcmp(h->debug->ranges, ranges, count * sizeof(ranges[0])) == 0)
        return 0;
    memcpy(h->debug->ranges, ranges, sizeof(ranges));
    h->debug->count = count;
    debug_points_changed(h);
    return 0;
}

enum vcpu_exit debug_step(struct vcpu *vcpu)
{
    struct hart *h = HART_OF(vcpu);

    if (!h->debug && debug_create(h))
        return VCPU_EXIT_ERROR;
    h->debug->stop = (struct vcpu_stop){.kind = VCPU_STOP_STEP};
    h->debug->stepping = true;
    h->debug->passing = DEBUG_PASS_EXECUTE;
    enum vcpu_exit exit = vcpu_run(vcpu, 1);
    h->debug->stepping = false;
    h->debug->passing = DEBUG_PASS_NOTHING;
    return exit == VCPU_EXIT_BUDGET || exit == VCPU_EXIT_HALTED ? VCPU_EXIT_DEBUG : exit;
}

struct vcpu_stop debug_last_stop(const struct vcpu *vcpu)
{
    const struct hart *h = (const struct hart *)vcpu;

    return h->debug ? h->debug->stop : (struct vcpu_stop){.kind = VCPU_STOP_STEP};
}

static bool always_allowed(void *opaque, uint64_t gpa, bool write)
{
    (void)opaque;
    (void)gpa;
    return !write;
}

int debug_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa)
{
    struct hart *h = HART_OF(vcpu);
    const struct tlb_view *view = &h->bank->view;
    uint64_t at = tlb_effective(view, gva);
    struct walk_params params = mmu_walk_params(h, view, MEM_READ);
    struct walk_leaf leaf;

    /* A debugger sees what is mapped, whoever may access it, and changes nothing. */
    params.peek = true;
    params.update_ad = false;
    params.pte_allowed = always_allowed;
    *gpa = at;
    if (!view->translated)
        return 0;
    if (walk_page_table(&params, at, &leaf) != WALK_OK)
        return -EFAULT;
    *gpa = leaf.gpa | (at & ~TLB_PAGE_MASK);
    return 0;
}
