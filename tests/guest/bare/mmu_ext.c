/* Sv48 and Sv57, Svnapot, Svpbmt, Svinval: what they add to mmu.c's Sv39. Leaves at each level, canonical addresses,
 * reserved encodings, hostile tables, fences. Privileged Architecture 1.13, sections 12.3 to 12.6 and the chapters of
 * the extensions.
 *
 * table[level] is the one table of that level. Slot 0 of the upper ones leads down; slot 2 of the gigapage level is
 * S-mode's identity of 0x80000000. Slot SLOT at each level is the cases' own.
 */
#include "rt.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
enum { FULL = PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D };
enum { SLOT = 5, LEVELS_MAX = 5 };
#define PTE_N (1ull << 63)
#define PTE_PBMT(type) ((uint64_t)(type) << 61)
#define PBMTE (1ull << 62)
#define RAM 0x80000000ull

static _Alignas(4096) uint64_t table[LEVELS_MAX][512], other[3][512];
static _Alignas(128 << 10) uint64_t pages[32][512];
static unsigned levels;

static uint64_t leaf(const volatile void *to, uint64_t bits)
{
    return (uint64_t)to >> 12 << 10 | bits;
}

static uint64_t pointer(const volatile void *to)
{
    return leaf(to, PTE_V);
}

static uint64_t level_bytes(unsigned level)
{
    return 4096ull << 9 * level;
}

static uint64_t satp_of(unsigned count, const volatile void *root, uint64_t asid)
{
    return (uint64_t)(count + 5) << 60 | asid << 44 | (uint64_t)root >> 12;
}

static void set_up(unsigned count)
{
    levels = count;
    rt_csr_write(satp, 0);
    for (unsigned level = 0; level < LEVELS_MAX; level++)
        for (unsigned i = 0; i < 512; i++)
            table[level][i] = 0;
    for (unsigned level = 3; level < count; level++)
        table[level][0] = pointer(table[level - 1]);
    table[2][2] = leaf((void *)RAM, FULL);
    table[2][0] = pointer(table[1]);
    table[1][0] = pointer(table[0]);
    rt_csr_write(satp, satp_of(count, table[count - 1], 0));
    rt_sfence();
}

/* ---- accesses from S-mode, address in a0 ---- */

enum access { LOAD, STORE, FETCH, ACCESSES };
static const char *const access_name[] = {"load", "store", "fetch"};
static const uint32_t access_code[] = {0x00053583 /* ld a1, (a0) */, 0x00b53023 /* sd a1, (a0) */,
                                       0x00050067 /* jr a0 */};
static uint64_t access_entry[ACCESSES];

static struct outcome access_at(enum access access, uint64_t va)
{
    return rt_probe(RT_S, access_entry[access], va, 0x8082808280828082 /* c.jr ra */, 0);
}

static uint64_t page_fault(enum access access)
{
    return access == LOAD ? CAUSE_LOAD_PAGE : access == STORE ? CAUSE_STORE_PAGE : CAUSE_FETCH_PAGE;
}

static uint64_t access_fault(enum access access)
{
    return access == LOAD ? CAUSE_LOAD_ACCESS : access == STORE ? CAUSE_STORE_ACCESS : CAUSE_FETCH_ACCESS;
}

enum expected { WORKS, PAGE_FAULT, ACCESS_FAULT };

static void accesses(const char *name, uint64_t number, uint64_t va, enum expected expected)
{
    for (unsigned i = 0; i < ACCESSES; i++) {
        struct outcome out = access_at(i, va);
        rt_print("sv%d.%s.%x.%s: %s", (int64_t)(12 + 9 * levels), name, number, access_name[i],
                 rt_describe(&out, i == FETCH ? va : access_entry[i]));
        uint64_t cause = expected == PAGE_FAULT ? page_fault(i) : access_fault(i);
        rt_expect(expected == WORKS ? !out.trapped : out.trapped && out.cause == cause && out.tval == va,
                  "sv%d.%s.%x.%s: %s", (int64_t)(12 + 9 * levels), name, number, access_name[i], rt_describe(&out, 0));
    }
}

/* ---- leaves at each level ---- */

/* Where in a page of `level` that begins at a multiple of its size the first of the pages lies. */
static uint64_t offset_in(unsigned level)
{
    return (uint64_t)pages & (level_bytes(level) - 1);
}

static uint64_t slot_va(unsigned level)
{
    return SLOT * level_bytes(level);
}

static void each_size(void)
{
    for (unsigned level = 0; level < levels; level++) {
        uint64_t start = (uint64_t)pages & ~(level_bytes(level) - 1);
        uint64_t va = slot_va(level) + offset_in(level) + 64;
        uint64_t *slot = &table[level][SLOT];
        *slot = leaf((void *)start, FULL & ~(PTE_A | PTE_D));
        rt_sfence();
        pages[0][8] = 0x8082808280828082;
        rt_fence_i();
        accesses("size", level, va, WORKS);
        rt_print("sv%d.size.%d: pte=%x", (int64_t)(12 + 9 * levels), (int64_t)level, *slot & 0x3ff);
        rt_expect((*slot & 0x3ff) == FULL, "size.%d: pte %x", (int64_t)level, *slot & 0x3ff);
        /* A fence for any address in it ends all of it. */
        *slot = 0;
        __asm__ volatile("sfence.vma %0, x0" ::"r"(slot_va(level) + level_bytes(level) - 8) : "memory");
        accesses("size.gone", level, va, PAGE_FAULT);
        for (unsigned bit = 0; bit < 9 * level; bit++) {
            *slot = leaf((void *)start, FULL) | 1ull << (10 + bit);
            if (*slot == leaf((void *)start, FULL))
                continue;
            rt_sfence();
            accesses("misaligned", level << 8 | bit, va, PAGE_FAULT);
        }
        *slot = 0;
        rt_sfence();
    }
}

static void canonical(void)
{
    uint64_t va = (uint64_t)pages + 64, sign = 12 + 9 * levels - 1;
    pages[0][8] = 0x8082808280828082;
    rt_fence_i();
    for (uint64_t bit = sign; bit < 64; bit++)
        accesses("noncanonical", bit, va | 1ull << bit, PAGE_FAULT);
    /* The upper half of the address space, through the last slot of each table. */
    uint64_t *root = table[levels - 1];
    root[511] = root[levels > 3 ? 0 : 2];
    rt_sfence();
    uint64_t upper = ~0ull << (12 + 9 * (levels - 1)) | (levels > 3 ? va : va & 0x3fffffff);
    accesses("upper", 0, upper, WORKS);
    for (uint64_t bit = sign; bit < 64; bit++)
        accesses("upper.noncanonical", bit, upper & ~(1ull << bit), PAGE_FAULT);
    root[511] = 0;
    rt_sfence();
}

/* ---- reserved encodings ---- */

static bool leaf_valid(uint64_t pte, unsigned level, bool pbmte)
{
    uint64_t type = pte >> 61 & 3;
    if ((pte >> 54 & 0x7f) || type == 3 || (type && !pbmte))
        return false;
    return !(pte & PTE_N) || (level == 0 && (pte >> 10 & 15) == 8);
}

static void upper_bits(void)
{
    for (unsigned pbmte = 0; pbmte < 2; pbmte++) {
        rt_csr_clear(menvcfg, PBMTE);
        rt_csr_set(menvcfg, pbmte ? PBMTE : 0);
        for (unsigned level = 0; level < levels; level++)
            for (unsigned bit = 54; bit < 65; bit++) {
                /* 64 stands for both bits of PBMT. */
                uint64_t bits = bit == 64 ? PTE_PBMT(3) : 1ull << bit;
                uint64_t start = (uint64_t)pages & ~(level_bytes(level) - 1);
                uint64_t va = slot_va(level) + offset_in(level) + 64;
                table[level][SLOT] = leaf((void *)start, FULL) | bits;
                rt_sfence();
                accesses(pbmte ? "bits.pbmte" : "bits", level << 8 | bit, va,
                         leaf_valid(table[level][SLOT], level, pbmte) ? WORKS : PAGE_FAULT);
                if (level > 0) {
                    table[level][SLOT] = pointer(table[level - 1]) | bits;
                    table[0][0] = leaf(pages, FULL);
                    rt_sfence();
                    accesses(pbmte ? "pointer.pbmte" : "pointer", level << 8 | bit, slot_va(level), PAGE_FAULT);
                    table[0][0] = 0;
                }
                table[level][SLOT] = 0;
            }
        /* Pointers have no A, D, U. */
        for (unsigned level = 1; level < levels; level++)
            for (unsigned bit = 4; bit < 8; bit++) {
                table[level][SLOT] = pointer(table[level - 1]) | 1ull << bit;
                table[0][0] = leaf(pages, FULL);
                rt_sfence();
                accesses("pointer.low", level << 8 | bit, slot_va(level), bit == 5 ? WORKS : PAGE_FAULT);
                table[level][SLOT] = table[0][0] = 0;
            }
    }
    rt_csr_clear(menvcfg, PBMTE);
    rt_sfence();
}

static void memory_types(void)
{
    rt_csr_set(menvcfg, PBMTE);
    for (uint64_t type = 0; type < 4; type++)
        for (unsigned level = 0; level < levels; level++) {
            uint64_t start = (uint64_t)pages & ~(level_bytes(level) - 1);
            table[level][SLOT] = leaf((void *)start, FULL) | PTE_PBMT(type);
            rt_sfence();
            accesses("pbmt", type << 4 | level, slot_va(level) + offset_in(level) + 64, type == 3 ? PAGE_FAULT : WORKS);
            table[level][SLOT] = 0;
        }
    /* What was cached while types were on is reserved once they are off. */
    table[0][SLOT] = leaf(pages, FULL) | PTE_PBMT(1);
    rt_sfence();
    accesses("pbmt.on", 0, slot_va(0), WORKS);
    rt_csr_clear(menvcfg, PBMTE);
    rt_sfence();
    accesses("pbmt.off", 0, slot_va(0), PAGE_FAULT);
    table[0][SLOT] = 0;
    rt_sfence();
}

/* ---- Svnapot ---- */

static void napot(void)
{
    for (uint64_t low = 0; low < 16; low++) {
        table[0][SLOT] = leaf(pages, FULL) | low << 10 | PTE_N;
        rt_sfence();
        accesses("napot.low", low, slot_va(0) + 64, low == 8 ? WORKS : PAGE_FAULT);
    }
    table[0][SLOT] = 0;
    /* 16 PTEs alike: each address gets its own page of the 64 KiB, also where the range is not the first. */
    for (unsigned base = 0; base < 32; base += 16) {
        for (unsigned i = 0; i < 16; i++) {
            table[0][64 + i] = leaf(pages[base], FULL & ~(PTE_A | PTE_D)) | 8 << 10 | PTE_N;
            pages[base + i][1] = 0xabc000 + base + i;
        }
        rt_sfence();
        uint64_t errors = 0;
        for (unsigned i = 0; i < 16; i++) {
            struct outcome out = access_at(LOAD, (64 + i) * 4096ull + 8);
            errors += out.trapped || out.a1 != 0xabc000 + base + i;
        }
        rt_print("sv%d.napot.pages.%d: errors=%d pte=%x", (int64_t)(12 + 9 * levels), (int64_t)base, errors,
                 table[0][64] & 0xff);
        rt_expect(!errors, "napot.pages.%d", (int64_t)base);
        accesses("napot.page", base, 70 * 4096ull + 64, WORKS);
        rt_print("sv%d.napot.dirty.%d: pte=%x", (int64_t)(12 + 9 * levels), (int64_t)base, table[0][70] & 0xff);
        rt_expect((table[0][70] & 0xff) == FULL, "napot.dirty.%d: %x", (int64_t)base, table[0][70] & 0xff);
    }
    /* Each of the 16 is fenced by its own address. */
    for (unsigned i = 0; i < 16; i++)
        table[0][64 + i] = 0;
    for (unsigned i = 0; i < 16; i++)
        __asm__ volatile("sfence.vma %0, x0" ::"r"((64 + i) * 4096ull) : "memory");
    for (unsigned i = 0; i < 16; i++)
        accesses("napot.gone", i, (64 + i) * 4096ull + 8, PAGE_FAULT);
}

/* ---- hostile tables ---- */

static void hostile(void)
{
    static const uint64_t nothing[] = {0, RT_HOLE, RT_BEYOND_RAM, 0x40000000000, 0xfffffffffff000};
    for (unsigned n = 0; n < RT_COUNT(nothing); n++)
        for (unsigned level = 1; level < levels; level++) {
            table[level][SLOT] = pointer((void *)nothing[n]);
            rt_sfence();
            /* Address 0 is the boot ROM of QEMU, which may hold a table; here nothing. */
            if (nothing[n])
                accesses("nothing", n << 4 | level, slot_va(level) + 64, ACCESS_FAULT);
            table[level][SLOT] = 0;
        }
    /* A table in a device. */
    table[1][SLOT] = pointer((void *)RT_UART);
    rt_sfence();
    for (unsigned i = 0; i < ACCESSES; i++) {
        struct outcome out = access_at(i, slot_va(1) + 64);
        rt_expect(out.trapped, "device.%s", access_name[i]);
    }
    table[1][SLOT] = 0;
    /* Tables that lead to themselves end in a pointer at the last level. */
    for (unsigned level = 1; level < levels; level++) {
        table[level][SLOT] = pointer(table[level]);
        rt_sfence();
        uint64_t va = 0;
        for (unsigned at = 0; at <= level; at++)
            va |= slot_va(at);
        accesses("loop", level, va, PAGE_FAULT);
        table[level][SLOT] = 0;
    }
    rt_sfence();
}

/* Random PTEs at random levels, against the other machine. */
static void random_ptes(void)
{
    uint64_t state = 0x9e3779b97f4a7c15 + levels;
    for (unsigned i = 0; i < RT_COUNT(pages); i++)
        pages[i][0] = 0x8082808280828082; /* c.jr ra */
    rt_fence_i();
    rt_group_begin("random");
    for (unsigned i = 0; i < 2000; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        unsigned level = state % levels;
        uint64_t pte = state >> 20 & 0x3ff;
        pte |= state >> 8 & 1 ? PTE_V : 0;
        pte |= (state >> 9 & 7) == 0 ? (state >> 30 & 0x3ff) << 54 : 0; /* upper bits, seldom */
        bool is_leaf = pte & (PTE_R | PTE_X);
        uint64_t start = (uint64_t)pages & ~(level_bytes(level) - 1);
        pte |= is_leaf || level == 0 ? leaf((void *)start, 0) : leaf(table[level - 1], 0);
        pte |= (state >> 12 & 7) == 0 ? (state >> 40 & 15) << 10 : 0;
        rt_csr_clear(menvcfg, PBMTE);
        rt_csr_set(menvcfg, state >> 7 & 1 ? PBMTE : 0);
        table[level][SLOT] = pte;
        table[0][0] = leaf(pages, FULL);
        rt_sfence();
        uint64_t va = slot_va(level) + (is_leaf ? offset_in(level) : 0);
        for (unsigned access = 0; access < ACCESSES; access++) {
            struct outcome out = access_at(access, va);
            rt_group_line("level%d pte=%x pbmte=%d %s: %s %x", (int64_t)level, pte, (int64_t)(state >> 7 & 1),
                          access_name[access], rt_describe(&out, access == FETCH ? va : access_entry[access]),
                          table[level][SLOT] & 0xff);
        }
        table[level][SLOT] = table[0][0] = 0;
    }
    rt_group_end();
    rt_csr_clear(menvcfg, PBMTE);
    rt_sfence();
}

/* ---- satp ---- */

static void modes(void)
{
    for (uint64_t mode = 0; mode < 16; mode++) {
        rt_csr_write(satp, 0);
        rt_csr_write(satp, mode << 60 | 0x1234ull << 44 | 0x80000);
        uint64_t got = rt_csr_read(satp);
        rt_print("satp.mode%d: %x", (int64_t)mode, got);
        if (mode > 0 && (mode < 8 || mode > 10))
            rt_expect(got == 0, "satp.mode%d: %x", (int64_t)mode, got);
        else
            rt_expect(got >> 60 == mode, "satp.mode%d: %x", (int64_t)mode, got);
    }
    rt_csr_write(satp, 0);
}

/* From one number of levels to another, with one ASID and no fence: what was cached under the old one is not used. */
static void changing_modes(void)
{
    set_up(5);
    pages[0][0] = 0x1111;
    pages[1][0] = 0x2222;
    other[2][2] = table[2][2];
    other[2][0] = pointer(other[1]);
    other[1][0] = pointer(other[0]);
    other[0][SLOT] = leaf(pages[1], FULL);
    for (unsigned round = 0; round < 3; round++) {
        table[0][SLOT] = leaf(pages[0], FULL);
        rt_csr_write(satp, satp_of(5, table[4], 3));
        rt_sfence();
        struct outcome five = access_at(LOAD, slot_va(0));
        rt_csr_write(satp, satp_of(3, other[2], 3));
        struct outcome three = access_at(LOAD, slot_va(0));
        struct outcome gone = access_at(LOAD, 1ull << 45);
        rt_print("change.%d: %x %x, %s", (int64_t)round, five.a1, three.a1, rt_describe(&gone, access_entry[LOAD]));
        rt_expect(five.a1 == 0x1111 && three.a1 == 0x2222 && gone.trapped && gone.cause == CAUSE_LOAD_PAGE, "change.%d",
                  (int64_t)round);
    }
    rt_csr_write(satp, 0);
    rt_sfence();
}

/* ---- Svinval ---- */

static void sinval(uint64_t va, uint64_t asid, unsigned kind)
{
    __asm__ volatile(".word 0x18000073" ::: "memory"); /* sfence.w.inval */
    register uint64_t a0 __asm__("a0") = va;
    register uint64_t a1 __asm__("a1") = asid;
    switch (kind) {
    case 0:
        __asm__ volatile(".word 0x16000073" ::: "memory"); /* sinval.vma x0, x0 */
        break;
    case 1:
        __asm__ volatile(".word 0x16050073" ::"r"(a0) : "memory"); /* sinval.vma a0, x0 */
        break;
    case 2:
        __asm__ volatile(".word 0x16b00073" ::"r"(a1) : "memory");
        break;
    default:
        __asm__ volatile(".word 0x16b50073" ::"r"(a0), "r"(a1) : "memory");
    }
    __asm__ volatile(".word 0x18100073" ::: "memory"); /* sfence.inval.ir */
}

static void invalidations(void)
{
    set_up(3);
    pages[0][0] = 0x1111;
    pages[1][0] = 0x2222;
    for (unsigned kind = 0; kind < 4; kind++) {
        rt_csr_write(satp, satp_of(3, table[2], 7));
        table[0][SLOT] = leaf(pages[0], FULL);
        rt_sfence();
        struct outcome before = access_at(LOAD, slot_va(0));
        table[0][SLOT] = leaf(pages[1], FULL);
        sinval(slot_va(0), 7, kind);
        struct outcome after = access_at(LOAD, slot_va(0));
        rt_print("sinval.%d: %x %x", (int64_t)kind, before.a1, after.a1);
        rt_expect(before.a1 == 0x1111 && after.a1 == 0x2222, "sinval.%d", (int64_t)kind);
    }
    rt_csr_write(satp, 0);
    rt_sfence();
    /* Who may: TVM is for SINVAL.VMA, and U-mode may nothing. */
    static const struct {
        const char *name;
        uint32_t insn;
        bool vma;
    } insns[] = {{"sinval.vma", 0x16b50073, true},       {"sfence.w.inval", 0x18000073, false},
                 {"sfence.inval.ir", 0x18100073, false}, {"reserved.rs1", 0x18050073, false},
                 {"reserved.rs2", 0x18200073, false},    {"reserved.rd", 0x180000f3, false},
                 {"sinval.rd", 0x16b500f3, false}};
    static const int privs[] = {RT_M, RT_S, RT_U};
    for (unsigned tvm = 0; tvm < 2; tvm++) {
        rt_csr_clear(mstatus, MSTATUS_TVM);
        rt_csr_set(mstatus, tvm ? MSTATUS_TVM : 0);
        for (unsigned i = 0; i < RT_COUNT(insns); i++)
            for (unsigned p = 0; p < 3; p++) {
                struct outcome out = rt_run1(privs[p], insns[i].insn, 0, 0, 0);
                rt_print("%s.tvm%d.%d: %s", insns[i].name, (int64_t)tvm, (int64_t)privs[p],
                         rt_describe(&out, (uint64_t)rt_code_buffer));
                bool want = i > 2 || privs[p] == RT_U || (privs[p] == RT_S && tvm && insns[i].vma);
                rt_expect(out.trapped == want && (!want || out.cause == CAUSE_ILLEGAL), "%s.tvm%d.%d", insns[i].name,
                          (int64_t)tvm, (int64_t)privs[p]);
            }
    }
    rt_csr_clear(mstatus, MSTATUS_TVM);
}

void bare_main(void)
{
    for (unsigned i = 0; i < ACCESSES; i++) {
        access_entry[i] = (uint64_t)rt_code_buffer + 4096 + 64 * i;
        rt_code((void *)access_entry[i], &access_code[i], 1);
    }
    for (unsigned count = 3; count <= 5; count++) {
        set_up(count);
        each_size();
        canonical();
        upper_bits();
        memory_types();
        napot();
        hostile();
        random_ptes();
    }
    modes();
    changing_modes();
    invalidations();
}
