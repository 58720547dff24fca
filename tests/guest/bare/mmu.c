/* Sv39: permissions exhaustively, page-table errors of every kind, A and D bits, ASIDs and SFENCE.VMA, accesses that
 * cross pages. Privileged Architecture 1.13, sections 3.1.6.3, 12.2.1, 12.3.2, 12.4.
 *
 * Layout while translation is on: 0x80000000 (1 GiB) is the identity for S-mode; ALIAS above it the same memory for
 * U-mode; WINDOW is a gigapage whose tables the cases change. Programs print outcomes with virtual addresses.
 */
#include "rt.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
enum { FULL = PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D };

#define ALIAS 0x40000000ull
#define WINDOW 0x100000000ull
#define SATP(root, asid) (8ull << 60 | (uint64_t)(asid) << 44 | (uint64_t)(root) >> 12)

static const char mode_name[] = {'U', 'S', '?', 'M'};
static uint64_t root[512], level1[512], level0[512], other_root[512], other1[512],
    other0[512] __attribute__((aligned(4096)));
static uint64_t page_a[512], page_b[512] __attribute__((aligned(4096)));
static uint8_t big[4 << 20] __attribute__((aligned(2 << 20)));

static uint64_t leaf(const volatile void *to, uint64_t bits)
{
    return (uint64_t)to >> 12 << 10 | bits;
}

static uint64_t pointer(const volatile void *table)
{
    return leaf(table, PTE_V);
}

static void map_common(uint64_t *top, uint64_t *middle, uint64_t *bottom)
{
    top[2] = leaf((void *)0x80000000, FULL);
    top[3] = leaf((void *)0x80000000, FULL | PTE_U);
    top[4] = pointer(middle);
    middle[0] = pointer(bottom);
}

/* ---- accesses ---- */

enum access { LOAD, STORE, FETCH, AMO, LR, SC, ACCESSES };
static const char *const access_name[] = {"load", "store", "fetch", "amo", "lr", "sc"};

/* Address in a0. All but FETCH return by the c.jr ra that rt_code() adds; a fetch finds one at the address. The data in
 * a1 is c.jr ra again and the AMO an OR, so that every page stays executable. SC is an LR and an SC, which is never
 * without reservation. */
static const uint32_t access_code[ACCESSES][2] = {
    {0x00053583, RT_NOP}, {0x00b53023, RT_NOP}, {0x00050067, RT_NOP},
    {0x40b5362f, RT_NOP}, {0x100535af, RT_NOP}, {0x100535af, 0x18b5362f},
};

static uint64_t access_entry[ACCESSES];

static void write_access_code(void)
{
    for (unsigned i = 0; i < ACCESSES; i++) {
        access_entry[i] = (uint64_t)rt_code_buffer + 64 * i;
        rt_code((void *)access_entry[i], access_code[i], 2);
    }
}

/* The access in `priv`: M-mode means MPRV with MPP = S (fetches excepted). */
static struct outcome access_at(enum access access, int priv, uint64_t va)
{
    uint64_t offset = priv == RT_U ? ALIAS : 0;
    uint64_t args[4] = {va, 0x8082808280828082, 0, 0};
    return rt_probe_at(priv, access_entry[access] + offset, args, offset);
}

static uint64_t probe_base(enum access access, int priv)
{
    return access_entry[access] + (priv == RT_U ? ALIAS : 0);
}

static uint64_t page_fault(enum access access)
{
    return access == LOAD || access == LR ? CAUSE_LOAD_PAGE : access == FETCH ? CAUSE_FETCH_PAGE : CAUSE_STORE_PAGE;
}

static uint64_t access_fault(enum access access)
{
    return access == LOAD || access == LR ? CAUSE_LOAD_ACCESS
           : access == FETCH              ? CAUSE_FETCH_ACCESS
                                          : CAUSE_STORE_ACCESS;
}

static void prepare_page(uint64_t *page)
{
    for (unsigned i = 0; i < 512; i++)
        page[i] = 0x8082808280828082; /* c.jr ra everywhere */
    rt_fence_i();
}

static void print_access(const char *name, enum access access, int priv, uint64_t va, const struct outcome *out)
{
    rt_print("%s.%s.%c: %s", name, access_name[access], mode_name[priv],
             rt_describe(out, access == FETCH ? va : probe_base(access, priv)));
}

static void expect_fault(const char *name, enum access access, int priv, uint64_t va, const struct outcome *out,
                         uint64_t cause)
{
    uint64_t epc = access == FETCH ? va : probe_base(access, priv);
    if (access == SC && out->epc == epc && cause != CAUSE_STORE_PAGE && cause != CAUSE_STORE_ACCESS)
        return; /* its LR faulted */
    rt_expect(out->trapped && out->tval == va, "%s.%s.%c: no fault", name, access_name[access], mode_name[priv]);
    rt_expect(out->cause == cause ||
                  (access == SC && out->cause == (cause == CAUSE_STORE_PAGE ? CAUSE_LOAD_PAGE : CAUSE_LOAD_ACCESS)),
              "%s.%s.%c: cause %x", name, access_name[access], mode_name[priv], out->cause);
    rt_expect(out->epc == epc || access == SC, "%s.%s.%c: epc", name, access_name[access], mode_name[priv]);
}

/* ---- permissions ---- */

/* What section 12.3.2 says of a leaf at the last level, for each access that the access makes. */
static bool permitted(uint64_t pte, enum access access, int priv, bool sum, bool mxr)
{
    if (!(pte & PTE_V) || ((pte & PTE_W) && !(pte & PTE_R)) || !(pte & (PTE_R | PTE_X)))
        return false;
    if (priv == RT_U && !(pte & PTE_U))
        return false;
    if (priv == RT_S && (pte & PTE_U) && (access == FETCH || !sum))
        return false;
    bool readable = (pte & PTE_R) || (mxr && (pte & PTE_X));
    switch (access) {
    case LOAD:
    case LR:
        return readable;
    case STORE:
    case AMO:
        return pte & PTE_W;
    case SC:
        return readable && (pte & PTE_W);
    default:
        return pte & PTE_X;
    }
}

static void permission_case(uint64_t pte, enum access access, int priv, unsigned sum_mxr)
{
    level0[5] = leaf(page_a, pte);
    rt_sfence();
    rt_csr_clear(mstatus, MSTATUS_SUM | MSTATUS_MXR);
    rt_csr_set(mstatus, (sum_mxr & 1 ? MSTATUS_SUM : 0) | (sum_mxr & 2 ? MSTATUS_MXR : 0));
    page_a[8] = 0x8082808280828082;
    uint64_t va = WINDOW + 5 * 4096 + 64;
    struct outcome out = access_at(access, priv, va);
    uint64_t after = level0[5] & 0x3ff;
    bool ok = permitted(pte, access, priv, sum_mxr & 1, sum_mxr & 2);
    /* A page fault leaves the PTE alone. But the LR before a failing SC sets A, and for an AMO that may read and not
     * write A may be set too (A may be set speculatively, section 12.3.1). */
    if (!ok && (access == SC || access == AMO))
        after = (after & ~(uint64_t)PTE_A) | (pte & PTE_A);
    rt_group_line("pte=%x sum%d mxr%d: %s pte=%x", pte, (int64_t)(sum_mxr & 1), (int64_t)(sum_mxr >> 1),
                  rt_describe(&out, access == FETCH ? va : probe_base(access, priv)), after);
    rt_expect(out.trapped == !ok, "perm.%s.%c pte=%x sum_mxr=%d: %s", access_name[access], mode_name[priv], pte,
              (int64_t)sum_mxr, rt_describe(&out, 0));
    if (!ok)
        expect_fault("perm", access, priv, va, &out, page_fault(access));
    uint64_t want = pte | (ok ? PTE_A | (access == STORE || access == AMO || access == SC ? PTE_D : 0) : 0);
    rt_expect(after == want, "perm.%s.%c pte=%x: pte after %x", access_name[access], mode_name[priv], pte, after);
}

static void permissions(void)
{
    static const int modes[] = {RT_S, RT_U};
    for (unsigned access = 0; access < ACCESSES; access++)
        for (unsigned m = 0; m < 2; m++) {
            char name[32] = "perm.";
            unsigned n = 5;
            for (const char *c = access_name[access]; *c; c++)
                name[n++] = *c;
            name[n++] = '.';
            name[n++] = mode_name[modes[m]];
            name[n] = 0;
            rt_group_begin(name);
            for (unsigned sum_mxr = 0; sum_mxr < 4; sum_mxr++)
                for (uint64_t pte = 0; pte < 256; pte++)
                    permission_case(pte, access, modes[m], sum_mxr);
            rt_group_end();
        }
    rt_csr_clear(mstatus, MSTATUS_SUM | MSTATUS_MXR);
    level0[5] = 0;
    rt_sfence();
}

/* The same for loads and stores of M-mode through MPRV, MPP = U and S. */
static void mprv_permissions(void)
{
    static const uint32_t load[] = {0x3005a073 /* csrs mstatus, a1 */, 0x00053603 /* ld a2, (a0) */, 0x3005b073};
    static const uint32_t store[] = {0x3005a073, 0x00c53023 /* sd a2, (a0) */, 0x3005b073};
    for (unsigned is_store = 0; is_store < 2; is_store++)
        for (int mpp = RT_U; mpp <= RT_S; mpp++) {
            rt_group_begin(is_store ? mpp ? "mprv.store.S" : "mprv.store.U" : mpp ? "mprv.load.S" : "mprv.load.U");
            for (unsigned sum_mxr = 0; sum_mxr < 4; sum_mxr++)
                for (uint64_t pte = 0; pte < 64; pte++) {
                    level0[5] = leaf(page_a, pte);
                    rt_sfence();
                    uint64_t bits = MSTATUS_MPRV | MSTATUS_MPP(mpp) | (sum_mxr & 1 ? MSTATUS_SUM : 0) |
                                    (sum_mxr & 2 ? MSTATUS_MXR : 0);
                    struct outcome out = rt_run(RT_M, is_store ? store : load, 3, WINDOW + 5 * 4096 + 64, bits, 0);
                    rt_csr_clear(mstatus, MSTATUS_SUM | MSTATUS_MXR);
                    rt_group_line("pte=%x sum_mxr%d: %s pte=%x", pte, (int64_t)sum_mxr,
                                  rt_describe(&out, (uint64_t)rt_code_buffer), level0[5] & 0x3ff);
                    rt_expect(out.trapped == !permitted(pte, is_store ? STORE : LOAD, mpp, sum_mxr & 1, sum_mxr & 2),
                              "mprv.%d.%d pte=%x", (int64_t)is_store, (int64_t)mpp, pte);
                }
            rt_group_end();
        }
    level0[5] = 0;
    rt_sfence();
    write_access_code();
}

/* ---- structure of the tables ---- */

static void all_accesses(const char *name, uint64_t va, bool page, bool access, bool user)
{
    for (unsigned i = 0; i < ACCESSES; i++)
        for (int priv = RT_S; priv >= (user ? RT_U : RT_S); priv--) {
            struct outcome out = access_at(i, priv, va);
            print_access(name, i, priv, va, &out);
            if (page || access)
                expect_fault(name, i, priv, va, &out, page ? page_fault(i) : access_fault(i));
            else
                rt_expect(!out.trapped, "%s.%s.%c: %s", name, access_name[i], mode_name[priv], rt_describe(&out, 0));
        }
}

/* A leaf of each size, its permissions and its A and D bits. `slot` is the entry that holds the leaf. */
static void page_size(const char *name, volatile uint64_t *slot, uint64_t pte, uint64_t va, bool valid, bool is_leaf)
{
    uint64_t saved = *slot;
    *slot = pte;
    rt_sfence();
    all_accesses(name, va, !valid, false, false);
    if (valid && is_leaf) {
        static const uint64_t bits[] = {PTE_R, PTE_R | PTE_W, PTE_X, PTE_R | PTE_X};
        for (unsigned b = 0; b < RT_COUNT(bits); b++)
            for (unsigned i = 0; i < ACCESSES; i++) {
                *slot = (pte & ~0xffull) | PTE_V | bits[b];
                rt_sfence();
                struct outcome out = access_at(i, RT_S, va);
                rt_print("%s.%x.%s: %s pte=%x", name, bits[b], access_name[i],
                         rt_describe(&out, i == FETCH ? va : probe_base(i, RT_S)),
                         *slot & (out.trapped && i == AMO ? 0xbf : 0xff)); /* A: see permission_case */
                rt_expect(out.trapped == !permitted(PTE_V | bits[b], i, RT_S, false, false), "%s.%x.%s", name, bits[b],
                          access_name[i]);
            }
    }
    *slot = saved;
    rt_sfence();
}

static void page_sizes(void)
{
    prepare_page((uint64_t *)big);
    for (unsigned i = 0; i < sizeof(big) / 8; i += 512)
        ((uint64_t *)big)[i + 7] = 0x8082808280828082;
    uint64_t offset_in_gig = (uint64_t)big & 0x3fffffff;
    page_size("size.4k", &level0[9], leaf(page_a, FULL), WINDOW + 9 * 4096 + 56, true, true);
    page_size("size.2m", &level1[1], leaf(big, FULL), WINDOW + (2 << 20) + 5 * 4096 + 56, true, true);
    page_size("size.1g", &root[5], leaf((void *)0x80000000, FULL), WINDOW + 0x40000000 + offset_in_gig + 56, true,
              true);
    /* A superpage whose low PPN bits are not zero is misaligned: each bit. */
    for (unsigned bit = 0; bit < 9; bit++)
        page_size("misaligned.2m", &level1[1], leaf(big, FULL) | 1ull << (10 + bit), WINDOW + (2 << 20) + 56, false,
                  true);
    for (unsigned bit = 0; bit < 18; bit++)
        page_size("misaligned.1g", &root[5], leaf((void *)0x80000000, FULL) | 1ull << (10 + bit),
                  WINDOW + 0x40000000 + 56, false, true);
    /* A pointer at the last level. */
    page_size("pointer.level0", &level0[9], pointer(page_a), WINDOW + 9 * 4096 + 56, false, true);
}

/* Bits 54 to 63 (menvcfg.PBMTE is 0); A, D, U in a pointer (section 12.3.1, 12.4.1); W without R at upper levels. */
static void reserved_bits(void)
{
    for (unsigned bit = 54; bit < 64; bit++) {
        if (bit < 63) /* N there is mmu_ext.c's */
            page_size("reserved.leaf", &level0[9], leaf(page_a, FULL) | 1ull << bit, WINDOW + 9 * 4096 + 56, false,
                      true);
        page_size("reserved.leaf2m", &level1[1], leaf(big, FULL) | 1ull << bit, WINDOW + (2 << 20) + 56, false, true);
        page_size("reserved.pointer", &level1[0], pointer(level0) | 1ull << bit, WINDOW + 9 * 4096 + 56, false, true);
    }
    level0[9] = leaf(page_a, FULL);
    static const uint64_t bits[] = {PTE_U, PTE_A, PTE_D};
    for (unsigned i = 0; i < RT_COUNT(bits); i++)
        page_size("reserved.pointer.uad", &level1[0], pointer(level0) | bits[i], WINDOW + 9 * 4096 + 56, false, true);
    page_size("pointer.g", &level1[0], pointer(level0) | PTE_G, WINDOW + 9 * 4096 + 56, true, false);
    page_size("pointer.rsw", &level1[0], pointer(level0) | 0x300, WINDOW + 9 * 4096 + 56, true, false);
    page_size("leaf.rsw", &level0[9], leaf(page_a, FULL) | 0x300, WINDOW + 9 * 4096 + 56, true, true);
    page_size("upper.w", &level1[0], pointer(level0) | PTE_W, WINDOW + 9 * 4096 + 56, false, true);
    page_size("upper.invalid", &level1[0], pointer(level0) & ~1ull, WINDOW + 9 * 4096 + 56, false, true);
    level0[9] = 0;
    rt_sfence();
}

/* Bits 63:39 of a virtual address must equal bit 38 (section 12.4.1). */
static void canonical(void)
{
    for (unsigned bit = 38; bit < 64; bit++)
        all_accesses("noncanonical", 0x80000038ull | 1ull << bit, true, false, true);
    all_accesses("noncanonical.ones", ~0ull << 40 | 0x80000038, true, false, true);
    /* The upper half: bit 38 and all above set. */
    root[258] = leaf((void *)0x80000000, FULL);
    rt_sfence();
    all_accesses("canonical.upper", 0xffffffc080000000ull + ((uint64_t)page_a & 0x3fffffff) + 64, false, false, false);
    root[258] = 0;
    rt_sfence();
    all_accesses("unmapped.low", 0x38, true, false, true);
    all_accesses("unmapped.top", -8ull, true, false, true);
}

/* Tables and pages where there is no memory: access faults of the original access's kind (section 12.3.2, step 2). */
static void tables_in_nothing(void)
{
    static const uint64_t nothing[] = {RT_HOLE, RT_BEYOND_RAM, 0x40000000000, 0xfffffffffff000};
    for (unsigned n = 0; n < RT_COUNT(nothing); n++) {
        uint64_t va = WINDOW + 9 * 4096 + 56;
        level1[0] = pointer((void *)nothing[n]);
        rt_sfence();
        all_accesses("table0.nothing", va, false, true, true);
        level1[0] = pointer(level0);
        root[4] = pointer((void *)nothing[n]);
        rt_sfence();
        all_accesses("table1.nothing", va, false, true, true);
        root[4] = pointer(level1);
        level0[9] = leaf((void *)nothing[n], FULL);
        rt_sfence();
        all_accesses("page.nothing", va, false, true, false);
        level0[9] = 0;
        rt_sfence();
    }
}

/* ---- accesses across pages ---- */

static const struct {
    const char *name;
    uint32_t insn;
    unsigned bytes;
    bool store;
} wide[] = {{"lh", 0x00051583, 2, false},  {"lw", 0x00052583, 4, false},  {"ld", 0x00053583, 8, false},
            {"flw", 0x00052507, 4, false}, {"fld", 0x00053507, 8, false}, {"sh", 0x00b51023, 2, true},
            {"sw", 0x00b52023, 4, true},   {"sd", 0x00b53023, 8, true},   {"fsd", 0x00a53027, 8, true}};

static void crossing_case(const char *name, unsigned w, uint64_t first, uint64_t second, uint64_t fault_second)
{
    level0[20] = first;
    level0[21] = second;
    rt_sfence();
    for (uint64_t offset = 4096 - wide[w].bytes + 1; offset < 4096; offset++) {
        /* Whether A and D of the first page are set when the second faults is open: PTEs are printed after successes
         * only. */
        page_a[511] = 0x1122334455667788;
        page_b[0] = 0x99aabbccddeeff00;
        uint64_t va = WINDOW + 20 * 4096 + offset;
        rt_code((uint8_t *)rt_code_buffer + 1024, &wide[w].insn, 1);
        uint64_t pc = (uint64_t)rt_code_buffer + 1024;
        struct outcome out = rt_probe(RT_S, pc, va, 0xa1a2a3a4a5a6a7a8, 0);
        rt_print("cross.%s.%s.%d: %s a1=%x memory %x %x pte %x %x", name, wide[w].name, (int64_t)(4096 - offset),
                 rt_describe(&out, pc), out.trapped ? 0 : out.a1, page_a[511], page_b[0],
                 out.trapped ? 0 : level0[20] & 0xff, out.trapped ? 0 : level0[21] & 0xff);
        uint64_t cause = wide[w].store ? CAUSE_STORE_PAGE : CAUSE_LOAD_PAGE;
        if (fault_second == 2)
            rt_expect(!out.trapped, "cross.%s.%s: trapped", name, wide[w].name);
        else
            rt_expect(out.trapped && out.cause == cause && out.tval == (fault_second ? WINDOW + 21 * 4096 : va),
                      "cross.%s.%s: %s", name, wide[w].name, rt_describe(&out, pc));
    }
}

static void crossing(void)
{
    for (unsigned w = 0; w < RT_COUNT(wide); w++) {
        crossing_case("both", w, leaf(page_a, FULL), leaf(page_b, FULL), 2);
        crossing_case("first", w, 0, leaf(page_b, FULL), 0);
        crossing_case("second", w, leaf(page_a, FULL), 0, 1);
        crossing_case("neither", w, 0, 0, 0);
        if (wide[w].store)
            crossing_case("second_ro", w, leaf(page_a, FULL), leaf(page_b, FULL & ~PTE_W), 1);
        crossing_case("same_frame", w, leaf(page_a, FULL), leaf(page_a, FULL), 2);
        crossing_case("no_ad", w, leaf(page_a, FULL & ~(PTE_A | PTE_D)), leaf(page_b, FULL & ~(PTE_A | PTE_D)), 2);
    }
    level0[20] = level0[21] = 0;
    rt_sfence();
}

/* ---- A and D ---- */

static void accessed_dirty(void)
{
    /* Without D, a read must not set it, and the write that follows must (a cached translation without D may not be
     * written through). */
    level0[7] = leaf(page_a, FULL & ~(PTE_A | PTE_D));
    rt_sfence();
    uint64_t va = WINDOW + 7 * 4096 + 64;
    for (unsigned i = 0; i < 3; i++) {
        static const enum access order[] = {LOAD, STORE, LOAD};
        struct outcome out = access_at(order[i], RT_S, va);
        rt_print("ad.step%d: %s pte=%x", (int64_t)i, rt_describe(&out, 0), level0[7] & 0xff);
    }
    rt_expect((level0[7] & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "ad.steps: pte %x", level0[7] & 0xff);
    /* After software clears D and fences, the next write sets it again. */
    level0[7] &= ~(uint64_t)(PTE_A | PTE_D);
    rt_sfence();
    struct outcome out = access_at(STORE, RT_S, va);
    rt_print("ad.again: %s pte=%x", rt_describe(&out, 0), level0[7] & 0xff);
    rt_expect(!out.trapped && (level0[7] & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "ad.again");
    /* menvcfg.ADUE = 0: page faults instead of updates (Svade, section 12.3.1). */
    rt_csr_clear(menvcfg, 1ull << 61);
    for (unsigned bits = 0; bits < 4; bits++)
        for (unsigned i = 0; i < ACCESSES; i++) {
            uint64_t pte = (FULL & ~(PTE_A | PTE_D)) | (bits & 1 ? PTE_A : 0) | (bits & 2 ? PTE_D : 0);
            level0[7] = leaf(page_a, pte);
            page_a[8] = 0x8082808280828082;
            rt_sfence();
            out = access_at(i, RT_S, va);
            rt_print("svade.a%d.d%d.%s: %s pte=%x", (int64_t)(bits & 1), (int64_t)(bits >> 1), access_name[i],
                     rt_describe(&out, i == FETCH ? va : probe_base(i, RT_S)), level0[7] & 0xff);
            bool writes = i == STORE || i == AMO || i == SC;
            rt_expect(out.trapped == (!(bits & 1) || (writes && !(bits & 2))), "svade.%d.%s", (int64_t)bits,
                      access_name[i]);
            rt_expect((level0[7] & 0xff) == pte, "svade.%d.%s: pte", (int64_t)bits, access_name[i]);
        }
    rt_csr_set(menvcfg, 1ull << 61);
    level0[7] = 0;
    rt_sfence();
}

/* ---- ASIDs and SFENCE.VMA ---- */

static uint64_t load_value(uint64_t va)
{
    struct outcome out = access_at(LOAD, RT_S, va);
    return out.trapped ? 0xbad0000 + out.cause : out.a1;
}

static void use(uint64_t *top, unsigned asid)
{
    rt_csr_write(satp, SATP(top, asid));
}

static void sfence_va(uint64_t va)
{
    __asm__ volatile("sfence.vma %0, x0" ::"r"(va) : "memory");
}

static void sfence_asid(uint64_t asid)
{
    __asm__ volatile("sfence.vma x0, %0" ::"r"(asid) : "memory");
}

static void sfence_va_asid(uint64_t va, uint64_t asid)
{
    __asm__ volatile("sfence.vma %0, %1" ::"r"(va), "r"(asid) : "memory");
}

static void fence_kind(unsigned kind, uint64_t va, uint64_t asid)
{
    switch (kind) {
    case 0:
        rt_sfence();
        break;
    case 1:
        sfence_va(va);
        break;
    case 2:
        sfence_asid(asid);
        break;
    default:
        sfence_va_asid(va, asid);
    }
}

/* Each kind of fence makes a changed mapping visible in the ASID it names. Global mappings need a fence without ASID.
 */
static void fences(void)
{
    static const char *const kinds[] = {"all", "va", "asid", "va_asid"};
    uint64_t va = WINDOW + 30 * 4096 + 8;
    page_a[1] = 0xaaaa;
    page_b[1] = 0xbbbb;
    for (unsigned kind = 0; kind < 4; kind++)
        for (unsigned size = 0; size < 2; size++)
            for (unsigned global = 0; global < (kind < 2 ? 2 : 1); global++) {
                uint64_t bits = FULL | (global ? PTE_G : 0);
                volatile uint64_t *slot = size ? &level1[3] : &level0[30];
                uint64_t at = size ? WINDOW + 3 * (2 << 20) + 8 : va;
                uint64_t *first = size ? (uint64_t *)big : page_a,
                         *second = size ? (uint64_t *)(big + (2 << 20)) : page_b;
                first[1] = 0xaaaa;
                second[1] = 0xbbbb;
                *slot = leaf(first, bits);
                use(root, 7);
                rt_sfence();
                uint64_t before = load_value(at);
                *slot = leaf(second, bits);
                fence_kind(kind, at, 7);
                uint64_t after = load_value(at);
                *slot = 0;
                fence_kind(kind, at, 7);
                uint64_t gone = load_value(at);
                rt_print("fence.%s.%s.g%d: %x %x %x", kinds[kind], size ? "2m" : "4k", (int64_t)global, before, after,
                         gone);
                rt_expect(before == 0xaaaa && after == 0xbbbb && gone == 0xbad0000 + CAUSE_LOAD_PAGE, "fence.%s.%d.%d",
                          kinds[kind], (int64_t)size, (int64_t)global);
            }
    /* A fence by address reaches any page of the superpage, and permission changes as well as frames. */
    level1[3] = leaf(big, FULL);
    use(root, 7);
    rt_sfence();
    uint64_t far = WINDOW + 3 * (2 << 20) + 0x1f3000;
    uint64_t before = load_value(far);
    level1[3] = 0;
    sfence_va(WINDOW + 3 * (2 << 20) + 8);
    rt_print("fence.super.other_page: %x %x", before, load_value(far));
    level1[3] = 0;
    level0[30] = leaf(page_a, FULL);
    rt_sfence();
    struct outcome first = access_at(STORE, RT_S, va);
    level0[30] = leaf(page_a, FULL & ~PTE_W);
    sfence_va_asid(va, 7);
    struct outcome second = access_at(STORE, RT_S, va);
    rt_print("fence.write_protect: %s, %s", rt_describe(&first, 0), rt_describe(&second, probe_base(STORE, RT_S)));
    rt_expect(!first.trapped && second.trapped, "fence.write_protect");
    /* Making a page valid after a fault on it needs the fence only for implementations that cache absence: with the
     * fence it must work. */
    level0[30] = 0;
    rt_sfence();
    uint64_t absent = load_value(va);
    level0[30] = leaf(page_a, FULL);
    sfence_va(va);
    rt_print("fence.made_valid: %x %x", absent, load_value(va));
    level0[30] = 0;
    rt_sfence();
}

/* Two address spaces with their own ASIDs differ without any fence in between, and change places freely. */
static void asids(void)
{
    map_common(other_root, other1, other0);
    uint64_t va = WINDOW + 40 * 4096 + 16;
    level0[40] = leaf(page_a, FULL);
    other0[40] = leaf(page_b, FULL);
    page_a[2] = 0x1111;
    page_b[2] = 0x2222;
    rt_sfence();
    for (unsigned round = 0; round < 4; round++) {
        use(root, 1);
        uint64_t one = load_value(va);
        use(other_root, 2);
        uint64_t two = load_value(va);
        rt_print("asid.round%d: %x %x", (int64_t)round, one, two);
        rt_expect(one == 0x1111 && two == 0x2222, "asid.round%d", (int64_t)round);
    }
    /* Changing space 2 and fencing it by ASID takes effect there and leaves space 1 right. */
    other0[40] = leaf(page_a, FULL);
    sfence_asid(2);
    uint64_t two = load_value(va);
    use(root, 1);
    uint64_t one = load_value(va);
    rt_print("asid.fence2: %x %x", one, two);
    rt_expect(one == 0x1111 && two == 0x1111, "asid.fence2");
    /* The same ASID for another table after a fence of that ASID: nothing of the old one may be left. */
    other0[40] = leaf(page_b, FULL);
    use(root, 5);
    sfence_asid(5);
    one = load_value(va);
    use(other_root, 5);
    sfence_asid(5);
    two = load_value(va);
    rt_print("asid.reuse: %x %x", one, two);
    rt_expect(one == 0x1111 && two == 0x2222, "asid.reuse");
    /* Many ASIDs, each with a page of its own behind one address, more than any small TLB index keeps apart by
     * accident. */
    uint64_t errors = 0;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned asid = 1; asid < 256; asid++) {
            use(asid & 1 ? root : other_root, asid);
            if (!round)
                sfence_asid(asid);
            errors += load_value(va) != (asid & 1 ? 0x1111 : 0x2222);
        }
    rt_print("asid.many: errors=%d", (int64_t)errors);
    rt_expect(errors == 0, "asid.many");
    /* Bare: addresses are physical again, and translated ones must not be found. */
    rt_csr_write(satp, 0);
    rt_sfence();
    struct outcome bare = access_at(LOAD, RT_S, (uint64_t)&page_b[2]);
    struct outcome hole = access_at(LOAD, RT_S, va + 0x10000000000);
    rt_print("asid.bare: %x, %s", bare.a1, rt_describe(&hole, probe_base(LOAD, RT_S)));
    rt_expect(bare.a1 == 0x2222 && hole.trapped && hole.cause == CAUSE_LOAD_ACCESS, "asid.bare");
    use(root, 0);
    level0[40] = other0[40] = 0;
    rt_sfence();
}

/* A global mapping is the same in every ASID. */
static void global_pages(void)
{
    uint64_t va = WINDOW + 41 * 4096 + 16;
    level0[41] = leaf(page_a, FULL | PTE_G);
    other0[41] = leaf(page_a, FULL | PTE_G);
    rt_sfence();
    use(root, 1);
    uint64_t one = load_value(va);
    use(other_root, 2);
    uint64_t two = load_value(va);
    sfence_asid(2);
    uint64_t three = load_value(va);
    rt_print("global: %x %x %x", one, two, three);
    rt_expect(one == 0x1111 && two == 0x1111 && three == 0x1111, "global");
    use(root, 0);
    level0[41] = other0[41] = 0;
    rt_sfence();
}

/* ---- changes of mode without a fence ---- */

static void sum_mxr_toggles(void)
{
    uint64_t va = WINDOW + 50 * 4096 + 64;
    level0[50] = leaf(page_a, FULL | PTE_U);
    level0[51] = leaf(page_a, PTE_V | PTE_X | PTE_A);
    rt_sfence();
    for (unsigned round = 0; round < 6; round++) {
        if (round & 1)
            rt_csr_set(mstatus, MSTATUS_SUM | MSTATUS_MXR);
        else
            rt_csr_clear(mstatus, MSTATUS_SUM | MSTATUS_MXR);
        struct outcome user = access_at(LOAD, RT_S, va), exec = access_at(LOAD, RT_S, va + 4096);
        struct outcome from_u = access_at(LOAD, RT_U, va);
        rt_print("toggle.%d: %s, %s, %s", (int64_t)round, rt_describe(&user, probe_base(LOAD, RT_S)),
                 rt_describe(&exec, probe_base(LOAD, RT_S)), rt_describe(&from_u, 0));
        rt_expect(user.trapped == !(round & 1) && exec.trapped == !(round & 1) && !from_u.trapped, "toggle.%d",
                  (int64_t)round);
    }
    rt_csr_clear(mstatus, MSTATUS_SUM | MSTATUS_MXR);
    level0[50] = level0[51] = 0;
    rt_sfence();
}

/* Page faults delegated to S-mode arrive with the same facts in scause and stval. */
static void delegated_faults(void)
{
    rt_csr_write(medeleg, 1 << CAUSE_FETCH_PAGE | 1 << CAUSE_LOAD_PAGE | 1 << CAUSE_STORE_PAGE);
    all_accesses("delegated", WINDOW + 0x3f000, true, false, true);
    rt_csr_write(medeleg, 0);
}

void bare_main(void)
{
    map_common(root, level1, level0);
    rt_csr_clear(menvcfg, 1ull << 62); /* PBMTE: free at reset */
    rt_csr_set(menvcfg, 1ull << 61);
    prepare_page(page_a);
    prepare_page(page_b);
    write_access_code();
    use(root, 0);
    rt_sfence();
    permissions();
    mprv_permissions();
    page_sizes();
    reserved_bits();
    canonical();
    tables_in_nothing();
    crossing();
    accessed_dirty();
    fences();
    asids();
    global_pages();
    sum_mxr_toggles();
    delegated_faults();
}
