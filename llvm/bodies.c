/* The semantic bodies as bitcode: the fast instance of each as a function of its own, which a region calls with
 * constant operands and LLVM inlines. Compiled to bitcode at build time, prepared by prepare.c, and embedded
 * (bodies.h).
 */
/* Before the bodies: it governs what follows it. */
#pragma STDC FENV_ACCESS ON

#include "engine/region/region.h"
#include "llvm/probe.h"

#define SEM_PROBE(gva, size_bytes, kind, addend) probe(h, r, gva, size_bytes, kind, site, addend)
#define SEM_LOAD(type, value, gva, file) \
    (is_mirrored(site) ? MIRROR_LOAD_##file(type, value, gva) : SEM_LOAD_PROBED(type, value, gva))
#define SEM_STORE(type, value, gva, file) \
    (is_mirrored(site) ? MIRROR_STORE_##file(type, value, gva) : SEM_STORE_PROBED(type, value, gva))

/* In the hart at once, where it is not known to be there: who goes back to a window's start comes by again. */
#define SEM_DIRTY_FS                     \
    do {                                 \
        if (!(site & PROBE_FS_IS_DIRTY)) \
            h->r.fs_dirty = 1;           \
    } while (0)

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

/* ---- by the host's MMU ---- */

TUFF_INLINE bool is_mirrored(uint64_t site)
{
    return probe_unpack(site).way == PROBE_MIRROR;
}

/* The base register alone is compared, or what it was some additions of constants ago, so that accesses near one value
 * of it share the comparison; the mirror's guard pages are larger than any immediate with what was added. */
#define IS_IN_MIRROR TUFF_LIKELY(RS1 - (uint64_t)(int64_t)probe_unpack(site).first < h->mirror_limit)

/* One access at gs + address, and where to go when it faults. `tuff_region` is the function's start (build.c). No
 * clobbers: its effects are those of any volatile assembly, which LLVM moves nothing across. */
#define FAULT_ENTRY                                                                                \
    "\n.pushsection .tuff_faults,\"\",@progbits\n.long 1b - tuff_region, %l[miss] - tuff_region\n" \
    ".popsection"
#define MIRRORED_LOAD(instruction, constraint, value, gva) \
    __asm__ goto("1: " instruction " %%gs:%1, %0" FAULT_ENTRY : constraint(value) : "m"(*(gva)) : : miss)
#define MIRRORED_STORE(instruction, constraint, value, gva) \
    __asm__ goto("1: " instruction " %0, %%gs:%1" FAULT_ENTRY : : constraint(value), "m"(*(gva)) : : miss)

/* `size_bytes` is a constant: one instruction remains. Signs are left to whoever wants them extended, since LLVM cannot
 * see what is inside: of a 32-bit value that is only added or shifted to others nobody does. */
TUFF_INLINE bool mirror_load(uint64_t gva, unsigned size_bytes, uint64_t *value)
{
    uint64_t wide = 0;
    uint32_t narrow = 0; /* 32-bit results clear the upper half: no prefix */

    if (size_bytes == 8)
        MIRRORED_LOAD("movq", "=r", wide, (const uint64_t *)gva);
    else if (size_bytes == 4)
        MIRRORED_LOAD("movl", "=r", narrow, (const uint64_t *)gva);
    else if (size_bytes == 2)
        MIRRORED_LOAD("movzwl", "=r", narrow, (const uint64_t *)gva);
    else
        MIRRORED_LOAD("movzbl", "=r", narrow, (const uint64_t *)gva);
    if (size_bytes < 4)
        __builtin_assume(narrow < 1u << (8 * size_bytes));
    *value = size_bytes == 8 ? wide : narrow;
    return true;
miss:
    return false;
}

TUFF_INLINE bool mirror_store(uint64_t gva, unsigned size_bytes, uint64_t value)
{
    if (size_bytes == 8)
        MIRRORED_STORE("movq", "re", value, (const uint64_t *)gva);
    else if (size_bytes == 4)
        MIRRORED_STORE("movl", "ri", (uint32_t)value, (const uint64_t *)gva);
    else if (size_bytes == 2)
        MIRRORED_STORE("movw", "ri", (uint16_t)value, (const uint64_t *)gva);
    else
        MIRRORED_STORE("movb", "qi", (uint8_t)value, (const uint64_t *)gva);
    return true;
miss:
    return false;
}

/* To and from vector registers; halves go the other way. */
TUFF_INLINE bool mirror_load_f(uint64_t gva, unsigned size_bytes, uint64_t *value)
{
    double wide; /* not zeroed: of a constant FENV_ACCESS makes a conversion, at each access */
    float narrow;
    uint32_t bits;

    if (size_bytes == 8) {
        MIRRORED_LOAD("vmovsd", "=x", wide, (const uint64_t *)gva);
        __builtin_memcpy(value, &wide, sizeof(wide));
    } else if (size_bytes == 4) {
        MIRRORED_LOAD("vmovss", "=x", narrow, (const uint64_t *)gva);
        __builtin_memcpy(&bits, &narrow, sizeof(narrow));
        *value = bits;
    } else {
        return mirror_load(gva, size_bytes, value);
    }
    return true;
miss:
    return false;
}

TUFF_INLINE bool mirror_store_f(uint64_t gva, unsigned size_bytes, uint64_t value)
{
    double wide;
    float narrow;

    if (size_bytes == 8) {
        __builtin_memcpy(&wide, &value, sizeof(wide));
        MIRRORED_STORE("vmovsd", "x", wide, (const uint64_t *)gva);
    } else if (size_bytes == 4) {
        __builtin_memcpy(&narrow, &value, sizeof(narrow));
        MIRRORED_STORE("vmovss", "x", narrow, (const uint64_t *)gva);
    } else {
        return mirror_store(gva, size_bytes, value);
    }
    return true;
miss:
    return false;
}

#define MIRROR_LOAD(call, type, value)              \
    ({                                              \
        uint64_t mirrored_ = 0;                     \
        region_note_access(sizeof(type), SEM_READ); \
        bool there_ = IS_IN_MIRROR && (call);       \
        (value) = (type)mirrored_;                  \
        there_;                                     \
    })
#define MIRROR_LOAD_X(type, value, gva) MIRROR_LOAD(mirror_load(gva, sizeof(type), &mirrored_), type, value)
#define MIRROR_LOAD_F(type, value, gva) MIRROR_LOAD(mirror_load_f(gva, sizeof(type), &mirrored_), type, value)
#define MIRROR_STORE(call, type)                     \
    ({                                               \
        region_note_access(sizeof(type), SEM_WRITE); \
        IS_IN_MIRROR && !SEM_RESERVATIONS && (call); \
    })
#define MIRROR_STORE_X(type, value, gva) MIRROR_STORE(mirror_store(gva, sizeof(type), (uint64_t)(value)), type)
#define MIRROR_STORE_F(type, value, gva) MIRROR_STORE(mirror_store_f(gva, sizeof(type), (uint64_t)(value)), type)

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
