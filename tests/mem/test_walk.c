/* Walks, fault by fault, against page tables built by hand (Privileged Architecture, section 12.3.2). */
#include "mem/walk.h"
#include "mem_test.h"

/* The root, one table of each lower level; ADDRESS goes through slot 1, 2, 3 of them. */
#define ROOT (RAM_GPA)
#define MIDDLE (RAM_GPA + 0x1000)
#define LAST (RAM_GPA + 0x2000)
#define ADDRESS ((UINT64_C(1) << 30) | (2 << 21) | (3 << 12) | 0x123)
#define PAGE UINT64_C(0x8000a000)

enum { KERNEL = PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D, USER = KERNEL | PTE_U };

static struct walk_params params;
static struct walk_leaf leaf;
static uint64_t refused_gpa;
static bool refuse_writes;

static bool allowed(void *opaque, uint64_t gpa, bool write)
{
    ck_assert_ptr_eq(opaque, &params);
    return gpa != refused_gpa && !(write && refuse_writes);
}

static uint64_t *slot(uint64_t table, unsigned index)
{
    return mem_ram_ptr(mem, table + 8 * (uint64_t)index, 8);
}

static uint64_t pte(uint64_t gpa, uint64_t bits)
{
    return gpa >> MEM_PAGE_SHIFT << PTE_PPN_SHIFT | bits;
}

static void setup_tables(void)
{
    setup();
    *slot(ROOT, 1) = pte(MIDDLE, PTE_V);
    *slot(MIDDLE, 2) = pte(LAST, PTE_V);
    *slot(LAST, 3) = pte(PAGE, KERNEL);
    params = (struct walk_params){
        .mem = mem, .root_gpa = ROOT, .levels = 3, .access = MEM_READ, .pte_allowed = allowed, .opaque = &params};
    refused_gpa = 0;
    refuse_writes = false;
}

static enum walk_result walk(uint64_t gva)
{
    memset(&leaf, 0xee, sizeof(leaf));
    return walk_page_table(&params, gva, &leaf);
}

START_TEST(small_pages_are_found)
{
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert_uint_eq(leaf.gpa, PAGE);
    ck_assert_uint_eq(leaf.level, 0);
    ck_assert_uint_eq(leaf.pte, pte(PAGE, KERNEL));
    ck_assert(!leaf.global);
}
END_TEST

START_TEST(large_pages_give_the_small_page_inside)
{
    *slot(MIDDLE, 2) = pte(0x40200000, KERNEL);
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert_uint_eq(leaf.gpa, 0x40203000);
    ck_assert_uint_eq(leaf.level, 1);
    *slot(ROOT, 1) = pte(0x40000000, KERNEL);
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert_uint_eq(leaf.gpa, 0x40403000);
    ck_assert_uint_eq(leaf.level, 2);
}
END_TEST

START_TEST(misaligned_large_pages_fault)
{
    *slot(MIDDLE, 2) = pte(0x40201000, KERNEL);
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    *slot(ROOT, 1) = pte(0x40200000, KERNEL);
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
}
END_TEST

START_TEST(addresses_must_be_canonical)
{
    *slot(ROOT, 511) = pte(0x40000000, KERNEL);
    *slot(ROOT, 0) = pte(0x80000000, KERNEL);
    *slot(ROOT, 256) = pte(0xc0000000, KERNEL);
    ck_assert_int_eq(walk(0), WALK_OK);
    ck_assert_uint_eq(leaf.gpa, 0x80000000);
    ck_assert_int_eq(walk(UINT64_MAX), WALK_OK);
    ck_assert_uint_eq(leaf.gpa, 0x7ffff000);
    ck_assert_int_eq(walk(UINT64_C(0xffffffc000000000)), WALK_OK);
    ck_assert_uint_eq(leaf.gpa, 0xc0000000);
    ck_assert_int_eq(walk(UINT64_C(0x4000000000)), WALK_PAGE_FAULT);
    ck_assert_int_eq(walk(UINT64_C(0xffffffbfffffffff)), WALK_PAGE_FAULT);
    ck_assert_int_eq(walk(UINT64_C(1) << 63), WALK_PAGE_FAULT);
}
END_TEST

START_TEST(reserved_encodings_fault)
{
    static const uint64_t bad_leaves[] = {0, KERNEL & ~PTE_V, PTE_V | PTE_W | PTE_A | PTE_D,
                                          PTE_V | PTE_W | PTE_X | PTE_A | PTE_D};

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(bad_leaves); i++) {
        *slot(LAST, 3) = pte(PAGE, bad_leaves[i]);
        ck_assert_msg(walk(ADDRESS) == WALK_PAGE_FAULT, "leaf %#lx", (unsigned long)bad_leaves[i]);
    }
    for (unsigned bit = 54; bit < 64; bit++) {
        *slot(LAST, 3) = pte(PAGE, KERNEL) | UINT64_C(1) << bit;
        ck_assert_msg(walk(ADDRESS) == WALK_PAGE_FAULT, "bit %u of a leaf", bit);
        *slot(LAST, 3) = pte(PAGE, KERNEL);
        *slot(ROOT, 1) = pte(MIDDLE, PTE_V) | UINT64_C(1) << bit;
        ck_assert_msg(walk(ADDRESS) == WALK_PAGE_FAULT, "bit %u of a pointer", bit);
        *slot(ROOT, 1) = pte(MIDDLE, PTE_V);
    }
    /* RSW is software's. */
    *slot(LAST, 3) = pte(PAGE, KERNEL) | 3 << 8;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
}
END_TEST

/* The tables again under more levels: slot 0 of each upper one leads down. */
static void add_levels(unsigned levels)
{
    for (unsigned level = 3; level < levels; level++) {
        uint64_t table = RAM_GPA + 0x1000 * (uint64_t)level;
        *slot(table, 0) = pte(params.root_gpa, PTE_V);
        params.root_gpa = table;
    }
    params.levels = levels;
}

START_TEST(more_levels_are_walked_from_their_root)
{
    for (unsigned levels = 4; levels <= 5; levels++) {
        params.root_gpa = ROOT;
        add_levels(levels);
        ck_assert_int_eq(walk(ADDRESS), WALK_OK);
        ck_assert_uint_eq(leaf.gpa, PAGE);
        ck_assert_uint_eq(leaf.level, 0);
        /* Bits above the address's own sign must repeat it. */
        for (unsigned bit = 12 + 9 * levels - 1; bit < 64; bit++)
            ck_assert_int_eq(walk(ADDRESS | UINT64_C(1) << bit), WALK_PAGE_FAULT);
        *slot(params.root_gpa, 511) = *slot(params.root_gpa, 0);
        ck_assert_int_eq(walk(ADDRESS | ~UINT64_C(0) << (12 + 9 * (levels - 1))), WALK_OK);
        *slot(params.root_gpa, 511) = 0;
    }
}
END_TEST

START_TEST(leaves_of_upper_levels_want_alignment_too)
{
    for (unsigned levels = 4; levels <= 5; levels++) {
        params.root_gpa = ROOT;
        add_levels(levels);
        unsigned shift = 12 + 9 * (levels - 1);
        *slot(params.root_gpa, 1) = pte(0, KERNEL);
        ck_assert_int_eq(walk(UINT64_C(1) << shift | 0x12345678), WALK_OK);
        ck_assert_uint_eq(leaf.gpa, 0x12345000);
        ck_assert_uint_eq(leaf.level, levels - 1);
        for (unsigned bit = 12; bit < shift; bit++) {
            *slot(params.root_gpa, 1) = pte(UINT64_C(1) << bit, KERNEL);
            ck_assert_msg(walk(UINT64_C(1) << shift) == WALK_PAGE_FAULT, "bit %u", bit);
        }
    }
}
END_TEST

START_TEST(tables_that_lead_to_themselves_end)
{
    for (unsigned levels = 3; levels <= 5; levels++) {
        params.root_gpa = ROOT;
        params.levels = levels;
        for (unsigned i = 0; i < 512; i++)
            *slot(ROOT, i) = pte(ROOT, PTE_V);
        ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    }
}
END_TEST

START_TEST(napot_pages_are_64_kib_and_any_other_size_is_reserved)
{
    const uint64_t n = UINT64_C(1) << 63;

    params.napot = true;
    for (unsigned ppn = 0; ppn < 16; ppn++) {
        *slot(LAST, 3) = pte(UINT64_C(0x80100000) + (ppn << 12), KERNEL) | n;
        ck_assert_msg(walk(ADDRESS) == (ppn == 8 ? WALK_OK : WALK_PAGE_FAULT), "low bits %#x", ppn);
    }
    *slot(LAST, 3) = pte(0x80108000, KERNEL) | n;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert_uint_eq(leaf.gpa, 0x80103000); /* the page of the address, not the one the PTE seems to name */
    ck_assert_uint_eq(leaf.level, 0);
    /* Not in larger leaves, nor in pointers. */
    *slot(MIDDLE, 2) = pte(LAST, PTE_V) | n;
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    for (unsigned ppn = 0; ppn < 1 << 9; ppn++) {
        *slot(MIDDLE, 2) = pte(UINT64_C(0x80000000) + ((uint64_t)ppn << 12), KERNEL) | n;
        ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    }
}
END_TEST

START_TEST(memory_types_are_for_leaves_where_they_are_on)
{
    for (unsigned on = 0; on < 2; on++)
        for (uint64_t type = 0; type < 4; type++) {
            bool ok = !type || (on && type < 3);
            params.pbmt = on;
            *slot(LAST, 3) = pte(PAGE, KERNEL) | type << 61;
            ck_assert_msg(walk(ADDRESS) == (ok ? WALK_OK : WALK_PAGE_FAULT), "type %lu", (unsigned long)type);
            *slot(MIDDLE, 2) = pte(0x40200000, KERNEL) | type << 61;
            ck_assert_int_eq(walk(ADDRESS), ok ? WALK_OK : WALK_PAGE_FAULT);
            *slot(MIDDLE, 2) = pte(LAST, PTE_V) | type << 61;
            *slot(LAST, 3) = pte(PAGE, KERNEL);
            ck_assert_int_eq(walk(ADDRESS), type ? WALK_PAGE_FAULT : WALK_OK);
            *slot(MIDDLE, 2) = pte(LAST, PTE_V);
        }
}
END_TEST

START_TEST(pointers_have_no_a_d_u_and_end_above_level_0)
{
    static const uint64_t bits[] = {PTE_A, PTE_D, PTE_U};

    for (unsigned i = 0; i < 3; i++) {
        *slot(MIDDLE, 2) = pte(LAST, PTE_V | bits[i]);
        ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    }
    *slot(MIDDLE, 2) = pte(LAST, PTE_V);
    *slot(LAST, 3) = pte(PAGE, PTE_V);
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
}
END_TEST

START_TEST(global_is_inherited)
{
    *slot(ROOT, 1) |= PTE_G;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert(leaf.global);
    ck_assert(!(leaf.pte & PTE_G));
    *slot(ROOT, 1) &= ~(uint64_t)PTE_G;
    *slot(LAST, 3) |= PTE_G;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert(leaf.global);
}
END_TEST

/* Every combination, against section 4.3.1's rules written the other way round: what must be there for each access. */
/* Chapter "Zicfiss", "Shadow Stack Memory Protection". */
START_TEST(shadow_stack_pages_and_accesses_belong_together)
{
    for (unsigned i = 0; i < 1 << 6; i++) {
        uint64_t rwx = (i & 7) << 1;
        enum mem_access access = i & 8 ? MEM_WRITE : MEM_READ;
        bool r = rwx & PTE_R, w = rwx & PTE_W, x = rwx & PTE_X, ss = w && !r && !x;
        params.shadow_pages = i & 16;
        params.shadow = i & 32;
        params.access = access;
        *slot(LAST, 3) = (*slot(LAST, 3) & ~(uint64_t)(PTE_R | PTE_W | PTE_X)) | rwx | PTE_A | PTE_D;
        enum walk_result want;
        if (!rwx || (w && !r && !(ss && params.shadow_pages)))
            want = WALK_PAGE_FAULT; /* a pointer at the last level, or reserved */
        else if (params.shadow)
            want = ss ? WALK_OK : r && !w && !x ? WALK_PAGE_FAULT : WALK_ACCESS_FAULT;
        else if (ss)
            want = access == MEM_READ ? WALK_OK : WALK_ACCESS_FAULT;
        else
            want = (access == MEM_READ ? r : w) ? WALK_OK : WALK_PAGE_FAULT;
        ck_assert_msg(walk_page_table(&params, ADDRESS, &leaf) == want, "rwx %d, access %d, pages %d, shadow %d",
                      (int)(rwx >> 1), (int)access, params.shadow_pages, params.shadow);
    }
}
END_TEST

START_TEST(permissions_are_those_of_the_table)
{
    for (unsigned i = 0; i < 1 << 9; i++) {
        uint64_t bits = PTE_V | (i & 0xf) << 1; /* R W X U */
        bool user = i & 16, sum = i & 32, mxr = i & 64;
        enum mem_access access = (i >> 7) % 3;
        bool r = bits & PTE_R, w = bits & PTE_W, x = bits & PTE_X, u = bits & PTE_U;
        bool shadow = w && !r && !x; /* of a shadow stack (Zicfiss), which loads may read */
        bool page = access == MEM_READ ? r || (x && mxr) || shadow : access == MEM_WRITE ? w && !shadow : x;
        bool mode = user ? u : !u || (sum && access != MEM_EXECUTE);
        ck_assert_msg(walk_permits(bits, access, user, sum, mxr) == (page && mode),
                      "pte %#lx, user %d, sum %d, mxr %d, access %d", (unsigned long)bits, user, sum, mxr, (int)access);
    }
}
END_TEST

START_TEST(walks_ask_for_permission)
{
    *slot(LAST, 3) = pte(PAGE, USER & ~PTE_W);
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    params.sum = true;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    params.access = MEM_WRITE;
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    params.access = MEM_EXECUTE;
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    params.user = true;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
}
END_TEST

START_TEST(clear_a_and_d_fault_under_svade)
{
    *slot(LAST, 3) = pte(PAGE, KERNEL & ~PTE_A);
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    *slot(LAST, 3) = pte(PAGE, KERNEL & ~PTE_D);
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    params.access = MEM_WRITE;
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    ck_assert_uint_eq(*slot(LAST, 3), pte(PAGE, KERNEL & ~PTE_D));
}
END_TEST

START_TEST(a_and_d_are_set_under_svadu_and_logged)
{
    uint64_t words[(RAM_PAGES + 63) / 64];

    params.update_ad = true;
    ck_assert_int_eq(mem_dirty_start(mem), 0);
    *slot(LAST, 3) = pte(PAGE, KERNEL & ~PTE_A & ~PTE_D);
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert_uint_eq(*slot(LAST, 3), pte(PAGE, KERNEL & ~PTE_D));
    ck_assert_uint_eq(leaf.pte, *slot(LAST, 3));
    ck_assert_int_eq(mem_dirty_fetch(mem, words, TUFF_ARRAY_LEN(words)), 0);
    ck_assert_uint_eq(words[0], 1 << 2);
    params.access = MEM_WRITE;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    ck_assert_uint_eq(*slot(LAST, 3), pte(PAGE, KERNEL));
    ck_assert_uint_eq(leaf.pte, *slot(LAST, 3));
    /* A refused access leaves the bits alone. */
    *slot(LAST, 3) = pte(PAGE, USER & ~PTE_A);
    ck_assert_int_eq(walk(ADDRESS), WALK_PAGE_FAULT);
    ck_assert_uint_eq(*slot(LAST, 3), pte(PAGE, USER & ~PTE_A));
    mem_dirty_stop(mem);
}
END_TEST

START_TEST(tables_out_of_reach_are_access_faults)
{
    refused_gpa = MIDDLE + 8 * 2;
    ck_assert_int_eq(walk(ADDRESS), WALK_ACCESS_FAULT);
    refused_gpa = 0;
    refuse_writes = true;
    ck_assert_int_eq(walk(ADDRESS), WALK_OK);
    params.update_ad = true;
    *slot(LAST, 3) = pte(PAGE, KERNEL & ~PTE_A);
    ck_assert_int_eq(walk(ADDRESS), WALK_ACCESS_FAULT);
    ck_assert_uint_eq(*slot(LAST, 3), pte(PAGE, KERNEL & ~PTE_A));
    *slot(MIDDLE, 2) = pte(0x1000, PTE_V);
    ck_assert_int_eq(walk(ADDRESS), WALK_ACCESS_FAULT);
    params.root_gpa = RAM_GPA + RAM_BYTES;
    ck_assert_int_eq(walk(ADDRESS), WALK_ACCESS_FAULT);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        small_pages_are_found,
        large_pages_give_the_small_page_inside,
        misaligned_large_pages_fault,
        addresses_must_be_canonical,
        reserved_encodings_fault,
        more_levels_are_walked_from_their_root,
        leaves_of_upper_levels_want_alignment_too,
        tables_that_lead_to_themselves_end,
        napot_pages_are_64_kib_and_any_other_size_is_reserved,
        memory_types_are_for_leaves_where_they_are_on,
        pointers_have_no_a_d_u_and_end_above_level_0,
        global_is_inherited,
        permissions_are_those_of_the_table,
        shadow_stack_pages_and_accesses_belong_together,
        walks_ask_for_permission,
        clear_a_and_d_fault_under_svade,
        a_and_d_are_set_under_svadu_and_logged,
        tables_out_of_reach_are_access_faults,
    };

    return run_tests("walk", tests, TUFF_ARRAY_LEN(tests), setup_tables, teardown);
}
