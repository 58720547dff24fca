/* How compiled code reaches guest memory (SEM_PROBE of the bodies that regions are made of; see
 * engine/isa/riscv/sem.h).
 *
 * The software TLB's first level costs some ten host instructions an access. Two things make most of them unnecessary:
 *
 * - Base pages. The hart remembers, by number of the base register, the page that was last reached through it
 *   (hart.base_page). An access through a register that moves within pages compares with that entry, whose place is a
 *   constant. Which registers move so is guessed from how the region writes them.
 * - Runs. Accesses of one block through the same value of a base register lie at constant distances. The first checks
 *   for all of them that they are aligned and inside one page that allows what they do; the others look at its result
 *   only. Where the check fails (a stack frame across a page's end), each asks for itself.
 *
 * Worked example: `sd ra, 40(sp); sd s0, 32(sp); ... ld a5, 8(sp)` is one run: the first store checks that
 * [sp + 8, sp + 48) is inside the base page of sp and 8-aligned, six instructions; each access is a test, a branch
 * never taken, and the access.
 *
 * A fully optimised region of user code does not ask at all, but for whether its base register is below the limit of
 * the address space's mirror (mem/mirror.h): the access itself is the check. It is one host instruction in inline
 * assembly, which names in the section .tuff_faults where to go on when it faults: the same place where a miss goes. A
 * register that moved by constants since it was last compared is taken back by them first, which LLVM sees to be the
 * value that it compared already.
 *
 * Everything here is inlined with a constant `site`. Translations end outside of regions only, so what a run found
 * holds to its end, and base pages hold for as long as the bank's stamp is the same, which a region compares when it is
 * entered.
 */
#ifndef TUFF_LLVM_PROBE_H
#define TUFF_LLVM_PROBE_H

#include "engine/isa/riscv/hart.h"

enum probe_way {
    PROBE_TLB,      /* by the software TLB */
    PROBE_BASE,     /* by the base register's page */
    PROBE_RUN_TLB,  /* first of a run, whose page is looked up in the software TLB */
    PROBE_RUN_BASE, /* first of a run, whose page should be the base register's */
    PROBE_RUN_MORE, /* a further one */
    PROBE_MIRROR,   /* by the host's MMU */
};

/* A site: way, base register, number of the run, and for the first of a run what the run needs: offsets from this
 * access's address to the run's first and last byte, whether it stores, log2 of its alignment (at the first byte). */
struct probe_site {
    enum probe_way way;
    unsigned base; /* 5 bits */
    unsigned run;  /* 16 bits */
    int first,
        last; /* 16 bits each; of PROBE_MIRROR, `first`: what the base register is away from the value to compare */
    bool stores;
    unsigned align_shift; /* 2 bits */
};

static inline uint64_t probe_pack(const struct probe_site *s)
{
    return (uint64_t)s->way | (uint64_t)s->base << 3 | (uint64_t)s->stores << 8 | (uint64_t)s->align_shift << 9 |
           (uint64_t)s->run << 16 | (uint64_t)(uint16_t)s->first << 32 | (uint64_t)(uint16_t)s->last << 48;
}

static inline struct probe_site probe_unpack(uint64_t site)
{
    return (struct probe_site){
        .way = (enum probe_way)(site & 7),
        .base = (unsigned)(site >> 3) & 31,
        .stores = site >> 8 & 1,
        .align_shift = (unsigned)(site >> 9) & 3,
        .run = (unsigned)(site >> 16) & 0xffff,
        .first = (int16_t)(site >> 32),
        .last = (int16_t)(site >> 48),
    };
}

/* In a site besides, of any instruction: hart.r.fs_dirty is set whichever way control came here (find_dirty_fs()). */
#define PROBE_FS_IS_DIRTY (UINT64_C(1) << 11)

/* What a region keeps in host registers: an array of words that dissolves; the runs' results follow the guest's
 * registers. */
struct probe_run {
    uint64_t good; /* 0: each access asks for itself */
    uint64_t addend;
};

struct region_regs {
    struct rv_regs regs;
    struct probe_run runs[];
};

#endif
