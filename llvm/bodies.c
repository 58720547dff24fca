/* The semantic bodies as bitcode: the fast instance of each as a function of its own, which a region calls with
 * constant operands and LLVM inlines. Compiled to bitcode at build time, prepared by prepare.c, and embedded
 * (bodies.h).
 */
/* Before the bodies: it governs what follows it. */
#pragma STDC FENV_ACCESS ON

#include "engine/region/region.h"
#include "llvm/probe.h"

#define SEM_PROBE(gva, size_bytes, kind, addend) probe(h, r, gva, size_bytes, kind, site, addend)

#include "engine/isa/riscv/sem.h"

/* For the build's preparation, which takes the call out (prepare.c). */
void region_note_access(unsigned size_bytes, enum sem_access kind);

TUFF_INLINE bool probe_base(struct hart *h, uint64_t gva, uint64_t size_bytes, enum sem_access kind, unsigned base,
                            uint64_t *addend)
{
    const struct tlb_entry *page = &h->base_page[base];

    if (TUFF_UNLIKELY((gva & SEM_TAG_MASK(size_bytes)) != sem_tag(page, kind)) &&
        !region_reach(h, gva, size_bytes | (uint64_t)(kind != SEM_READ) << 8 | (uint64_t)base << 16))
        return false;
    *addend = page->addend;
    return true;
}

TUFF_INLINE void probe_run(struct hart *h, struct probe_run *run, uint64_t gva, const struct probe_site *site)
{
    enum sem_access kind = site->stores ? SEM_WRITE : SEM_READ;
    uint64_t first = gva + (uint64_t)(int64_t)site->first;
    uint64_t last = gva + (uint64_t)(int64_t)site->last;
    unsigned align = 1u << site->align_shift;
    uint64_t addend = 0;
    bool good = site->way == PROBE_RUN_TLB ? sem_probe_tlb(h, first, align, kind, &addend)
                                           : probe_base(h, first, align, kind, site->base, &addend);

    run->good = good && ((first ^ last) & TLB_PAGE_MASK) == 0;
    run->addend = addend;
}

/* The answer to SEM_PROBE (probe.h). */
TUFF_INLINE bool probe(struct hart *h, struct rv_regs *r, uint64_t gva, unsigned size_bytes, enum sem_access kind,
                       uint64_t packed, uint64_t *addend)
{
    const struct probe_site site = probe_unpack(packed);
    region_note_access(size_bytes, kind);
    struct probe_run *run = &((struct region_regs *)r)->runs[site.run];

    if (site.way == PROBE_TLB)
        return sem_probe_tlb(h, gva, size_bytes, kind, addend);
    if (site.way == PROBE_BASE)
        return probe_base(h, gva, size_bytes, kind, site.base, addend);
    if (site.way != PROBE_RUN_MORE)
        probe_run(h, run, gva, &site);
    *addend = run->addend;
    return TUFF_LIKELY(run->good) || probe_base(h, gva, size_bytes, kind, RV_X_SINK, addend);
}

#include "engine/isa/riscv/sem_crypto.h"
#include "engine/isa/riscv/sem_fp.h"
#include "engine/isa/riscv/sem_int.h"
#include "engine/isa/riscv/sem_mem.h"
#include "engine/isa/riscv/sem_sys.h"

#define INSN(id, ...)                                                                                           \
    uint32_t body_##id(struct hart *h, struct rv_regs *r, unsigned rd, unsigned rs1, unsigned rs2, int64_t imm, \
                       uint64_t pc, uint64_t npc, uint64_t site);                                               \
    uint32_t body_##id(struct hart *h, struct rv_regs *r, unsigned rd, unsigned rs1, unsigned rs2, int64_t imm, \
                       uint64_t pc, uint64_t npc, uint64_t site)                                                \
    {                                                                                                           \
        return sem_##id(h, r, rd, rs1, rs2, imm, pc, npc, site, false);                                         \
    }
#include "engine/isa/riscv/rows.def"
