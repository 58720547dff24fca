/* The software TLB: what a fill allows, what an eviction and each kind of SFENCE.VMA takes away. */
#include "mem/tlb.h"
#include "mem_test.h"

static struct tlb *tlb;
static _Alignas(4096) uint8_t pages[4][MEM_PAGE_BYTES];

static void setup_tlb(void)
{
    ck_assert_int_eq(tlb_create(&tlb), 0);
}

static void teardown_tlb(void)
{
    tlb_destroy(tlb);
}

enum { GVA = 0x12345000, OTHER_SLOT = GVA + MEM_PAGE_BYTES };
#define SAME_SLOT ((uint64_t)GVA + ((uint64_t)TLB_ENTRIES << MEM_PAGE_SHIFT))

static struct tlb_view view_of(uint16_t asid)
{
    return (struct tlb_view){.priv = 1, .translated = true, .asid = asid};
}

static struct tlb_bank *bank_of(uint16_t asid)
{
    struct tlb_view view = view_of(asid);

    return tlb_select(tlb, &view);
}

static const struct walk_leaf private_leaf = {.level = 0}, global_leaf = {.level = 0, .global = true},
                              large_leaf = {.level = 1};

static void fill(struct tlb_bank *bank, uint64_t gva, const struct walk_leaf *leaf)
{
    tlb_fill(bank, gva, pages[0], true, true, true, leaf);
}

static struct tlb_entry *entry_of(struct tlb_bank *bank, uint64_t gva)
{
    return &bank->entries[tlb_index(gva)];
}

static bool readable(struct tlb_bank *bank, uint64_t gva)
{
    return entry_of(bank, gva)->tag_read == (gva & TLB_PAGE_MASK);
}

static struct tlb_jump *jump(struct tlb_bank *bank, uint64_t pc)
{
    return &bank->jumps[tlb_jump_index(pc)];
}

START_TEST(new_banks_allow_nothing)
{
    struct tlb_bank *bank = bank_of(1);

    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        ck_assert_uint_eq(bank->entries[i].tag_read, TLB_TAG_NONE);
        ck_assert_uint_eq(bank->entries[i].tag_write, TLB_TAG_NONE);
        ck_assert_uint_eq(bank->entries[i].tag_execute, TLB_TAG_NONE);
    }
}
END_TEST

START_TEST(fills_add_permissions_to_the_same_page_only)
{
    struct tlb_bank *bank = bank_of(1);
    struct tlb_entry *entry = entry_of(bank, GVA);

    tlb_fill(bank, GVA + 0x123, pages[1], true, false, false, &private_leaf);
    ck_assert_uint_eq(entry->tag_read, GVA);
    ck_assert_uint_eq(entry->tag_write, TLB_TAG_NONE);
    ck_assert_uint_eq(GVA + 0x123 + entry->addend, (uint64_t)&pages[1][0x123]);
    tlb_fill(bank, GVA, pages[1], false, true, false, &private_leaf);
    ck_assert_uint_eq(entry->tag_read, GVA);
    ck_assert_uint_eq(entry->tag_write, GVA);
    /* The same address on another page, then another address on the same page. */
    tlb_fill(bank, GVA, pages[2], false, false, true, &private_leaf);
    ck_assert_uint_eq(entry->tag_read, TLB_TAG_NONE);
    ck_assert_uint_eq(entry->tag_execute, GVA);
    tlb_fill(bank, SAME_SLOT, pages[2], true, false, false, &private_leaf);
    ck_assert_uint_eq(entry->tag_execute, TLB_TAG_NONE);
    ck_assert_uint_eq(entry->tag_read, SAME_SLOT);
    ck_assert_uint_eq(SAME_SLOT + entry->addend, (uint64_t)pages[2]);
}
END_TEST

START_TEST(jumps_outlive_their_entry_but_no_flush)
{
    struct tlb_bank *bank = bank_of(1);
    uint64_t stamp = bank->stamp, gva = GVA, other = OTHER_SLOT;

    fill(bank, GVA, &private_leaf);
    fill(bank, OTHER_SLOT, &private_leaf);
    tlb_set_jump(bank, GVA + 0x10, pages);
    tlb_set_jump(bank, OTHER_SLOT, pages);
    tlb_fill(bank, SAME_SLOT, pages[0], true, false, false, &private_leaf);
    ck_assert_ptr_nonnull(jump(bank, GVA + 0x10)->target);
    /* Making room ends no translation. */
    ck_assert_uint_eq(bank->stamp, stamp);
    tlb_flush(tlb, &gva, NULL);
    ck_assert_ptr_null(jump(bank, GVA + 0x10)->target);
    ck_assert(readable(bank, SAME_SLOT));
    ck_assert_ptr_nonnull(jump(bank, OTHER_SLOT)->target);
    tlb_flush(tlb, &other, NULL);
    ck_assert_ptr_null(jump(bank, OTHER_SLOT)->target);
}
END_TEST

/* The page tables changed and the guest has not said so yet: what is known of the page now is one thing. */
START_TEST(another_page_at_the_same_address_drops_its_jumps)
{
    struct tlb_bank *bank = bank_of(1);

    fill(bank, GVA, &private_leaf);
    tlb_set_jump(bank, GVA + 0x10, pages);
    tlb_set_jump(bank, OTHER_SLOT, pages);
    tlb_fill(bank, GVA, pages[1], false, false, true, &private_leaf);
    ck_assert_ptr_null(jump(bank, GVA + 0x10)->target);
    tlb_flush_jumps(tlb);
    ck_assert_ptr_null(jump(bank, OTHER_SLOT)->target);
}
END_TEST

/* Pointer masking: entries are for addresses as they are used, flushes for what they mean. */
START_TEST(flush_of_an_address_reaches_it_under_other_tags)
{
    struct tlb_view view = view_of(1);
    const uint64_t page = 0x12345000, tagged = page | 0x2aull << 57, upper = 0xffffffff80000000;

    view.masked_bits = 7;
    ck_assert_uint_eq(tlb_effective(&view, tagged), page);
    ck_assert_uint_eq(tlb_effective(&view, upper ^ 0x2aull << 57), upper);
    view.translated = false;
    ck_assert_uint_eq(tlb_effective(&view, upper), upper & ~(0x7full << 57));
    view.translated = true;
    for (unsigned level = 0; level < 3; level++) {
        struct walk_leaf leaf = {.level = level};
        struct tlb_bank *bank = tlb_select(tlb, &view);
        tlb_fill(bank, tagged, pages[0], true, true, false, &leaf);
        ck_assert_uint_eq(bank->entries[tlb_index(page)].tag_read, tagged);
        tlb_flush(tlb, &page, NULL);
        ck_assert_uint_eq(bank->entries[tlb_index(page)].tag_read, TLB_TAG_NONE);
    }
    /* Without masking it is another bank. */
    struct tlb_view plain = view_of(1);
    ck_assert_ptr_ne(tlb_select(tlb, &view), tlb_select(tlb, &plain));
}
END_TEST

START_TEST(views_do_not_see_each_other)
{
    struct tlb_bank *bank = bank_of(1);
    struct tlb_view views[5];

    fill(bank, GVA, &private_leaf);
    for (unsigned i = 0; i < 5; i++)
        views[i] = view_of(1);
    views[0].priv = 0;
    views[1].sum = true;
    views[2].mxr = true;
    views[3].translated = false;
    views[4].asid = 2;
    for (unsigned i = 0; i < 5; i++)
        ck_assert_msg(!readable(tlb_select(tlb, &views[i]), GVA), "view %u", i);
    ck_assert(readable(bank_of(1), GVA));
}
END_TEST

START_TEST(banks_with_global_entries_alone_serve_every_asid)
{
    struct tlb_bank *bank = bank_of(1);

    fill(bank, GVA, &global_leaf);
    ck_assert_ptr_eq(bank_of(2), bank);
    ck_assert(readable(bank, GVA));
    fill(bank, OTHER_SLOT, &private_leaf);
    ck_assert_ptr_ne(bank_of(3), bank);
    ck_assert_ptr_eq(bank_of(2), bank);
}
END_TEST

START_TEST(the_bank_not_used_for_longest_is_evicted)
{
    struct tlb_bank *banks[TLB_BANKS];

    for (unsigned i = 0; i < TLB_BANKS; i++) {
        banks[i] = bank_of((uint16_t)i);
        fill(banks[i], GVA, &private_leaf);
    }
    (void)bank_of(0);
    uint64_t stamp = banks[1]->stamp;
    ck_assert_ptr_eq(bank_of(100), banks[1]);
    ck_assert(!readable(banks[1], GVA));
    ck_assert_uint_ne(banks[1]->stamp, stamp);
    ck_assert(readable(banks[0], GVA));
}
END_TEST

START_TEST(flushes_take_what_they_name)
{
    uint64_t gva = GVA;
    uint16_t asid = 1;

    for (unsigned kind = 0; kind < 4; kind++) {
        struct tlb_bank *one = bank_of(1), *two;
        fill(one, GVA, &private_leaf);
        fill(one, OTHER_SLOT, &private_leaf);
        two = bank_of(2);
        fill(two, GVA, &private_leaf);
        uint64_t stamps[2] = {one->stamp, two->stamp};
        tlb_flush(tlb, kind & 1 ? &gva : NULL, kind & 2 ? &asid : NULL);
        ck_assert(!readable(one, GVA));
        ck_assert_uint_ne(one->stamp, stamps[0]);
        ck_assert_int_eq(readable(one, OTHER_SLOT), (kind & 1) != 0);
        ck_assert_int_eq(readable(two, GVA), (kind & 2) != 0);
        ck_assert_int_eq(two->stamp == stamps[1], (kind & 2) != 0);
        tlb_flush(tlb, NULL, NULL);
    }
}
END_TEST

START_TEST(flushes_leave_untranslated_and_global_entries_where_they_may)
{
    struct tlb_view bare_view = {.priv = 3};
    struct tlb_bank *bare = tlb_select(tlb, &bare_view);
    struct tlb_bank *global = bank_of(1);
    uint16_t asid = 1;

    fill(bare, GVA, NULL);
    fill(global, GVA, &global_leaf);
    tlb_flush(tlb, NULL, &asid);
    ck_assert(readable(global, GVA));
    tlb_flush(tlb, NULL, NULL);
    ck_assert(!readable(global, GVA));
    ck_assert(readable(bare, GVA));
    tlb_flush_first_level(tlb);
    ck_assert(!readable(bare, GVA));
}
END_TEST

/* An SFENCE.VMA for any address inside a large page ends all of the page. */
START_TEST(flushing_inside_a_large_page_ends_all_of_it)
{
    struct tlb_bank *bank = bank_of(1);
    uint64_t inside = (GVA & ~UINT64_C(0x1fffff)) + 0x1ff000;

    fill(bank, GVA, &large_leaf);
    fill(bank, OTHER_SLOT, &large_leaf);
    tlb_flush(tlb, &inside, NULL);
    ck_assert(!readable(bank, GVA));
    ck_assert(!readable(bank, OTHER_SLOT));
    /* More regions of large pages than a bank remembers. */
    for (uint64_t i = 1; i <= TLB_BIG_REGIONS + 1; i++)
        fill(bank, GVA + (i << 30) + (i << MEM_PAGE_SHIFT), &large_leaf);
    for (uint64_t i = 1; i <= TLB_BIG_REGIONS + 1; i++)
        ck_assert(readable(bank, GVA + (i << 30) + (i << MEM_PAGE_SHIFT)));
    uint64_t last = inside + ((uint64_t)(TLB_BIG_REGIONS + 1) << 30);
    tlb_flush(tlb, &last, NULL);
    ck_assert(!readable(bank, GVA + ((uint64_t)(TLB_BIG_REGIONS + 1) << 30) +
                                  ((uint64_t)(TLB_BIG_REGIONS + 1) << MEM_PAGE_SHIFT)));
}
END_TEST

/* One of 512 GiB has entries in many regions, and each address in it names the same PTE. */
START_TEST(flushing_inside_a_page_larger_than_a_region_ends_all_of_it)
{
    static const struct walk_leaf huge_leaf = {.level = 3};
    struct tlb_bank *bank = bank_of(1);
    uint64_t far = GVA + (UINT64_C(100) << 30);

    fill(bank, GVA, &huge_leaf);
    tlb_leaf_insert(tlb, GVA, 1, &huge_leaf);
    struct walk_leaf found;
    ck_assert(tlb_leaf_find(tlb, far, 1, &found));
    ck_assert_uint_eq(found.gpa, far & ((UINT64_C(1) << 39) - 1));
    tlb_flush(tlb, &far, NULL);
    ck_assert(!readable(bank, GVA));
    ck_assert(!tlb_leaf_find(tlb, GVA, 1, &found));
}
END_TEST

START_TEST(leaves_are_found_by_size_and_asid)
{
    struct walk_leaf leaf = {.pte = 7, .gpa = 0x80603000, .level = 1}, found;

    tlb_leaf_insert(tlb, GVA, 1, &leaf);
    ck_assert(!tlb_leaf_find(tlb, GVA, 2, &found));
    ck_assert(!tlb_leaf_find(tlb, GVA + 0x200000, 1, &found));
    ck_assert(tlb_leaf_find(tlb, (GVA & ~UINT64_C(0x1fffff)) + 0x5123, 1, &found));
    ck_assert_uint_eq(found.gpa, 0x80605000);
    ck_assert_uint_eq(found.pte, 7);
    ck_assert_uint_eq(found.level, 1);
    leaf.global = true;
    tlb_leaf_insert(tlb, GVA, 1, &leaf);
    ck_assert(tlb_leaf_find(tlb, GVA, 2, &found));
    ck_assert(found.global);
    tlb_leaf_drop(tlb, GVA + MEM_PAGE_BYTES);
    ck_assert(!tlb_leaf_find(tlb, GVA, 2, &found));
}
END_TEST

START_TEST(flushes_end_leaves_alike)
{
    const struct walk_leaf leaf = {.gpa = 0x80000000}, global = {.gpa = 0x80000000, .global = true};
    struct walk_leaf found;
    uint64_t gva = GVA;
    uint16_t asid = 1;

    for (unsigned kind = 0; kind < 4; kind++) {
        tlb_leaf_insert(tlb, GVA, 1, &leaf);
        tlb_leaf_insert(tlb, OTHER_SLOT, 1, &leaf);
        tlb_leaf_insert(tlb, OTHER_SLOT + MEM_PAGE_BYTES, 2, &leaf);
        tlb_leaf_insert(tlb, OTHER_SLOT + 2 * MEM_PAGE_BYTES, 1, &global);
        tlb_flush(tlb, kind & 1 ? &gva : NULL, kind & 2 ? &asid : NULL);
        ck_assert(!tlb_leaf_find(tlb, GVA, 1, &found));
        ck_assert_int_eq(tlb_leaf_find(tlb, OTHER_SLOT, 1, &found), (kind & 1) != 0);
        ck_assert_int_eq(tlb_leaf_find(tlb, OTHER_SLOT + MEM_PAGE_BYTES, 2, &found), kind != 0);
        ck_assert_int_eq(tlb_leaf_find(tlb, OTHER_SLOT + 2 * MEM_PAGE_BYTES, 1, &found), kind != 0);
        tlb_flush(tlb, NULL, NULL);
    }
}
END_TEST

START_TEST(dropping_writes_leaves_reads)
{
    struct tlb_bank *one = bank_of(1), *two;

    fill(one, GVA, &private_leaf);
    tlb_fill(one, OTHER_SLOT, pages[1], true, true, false, &private_leaf);
    two = bank_of(2);
    fill(two, SAME_SLOT + MEM_PAGE_BYTES, &private_leaf); /* the same page by another address */
    tlb_drop_writes(tlb, pages[0]);
    ck_assert(readable(one, GVA));
    ck_assert_uint_eq(entry_of(one, GVA)->tag_write, TLB_TAG_NONE);
    ck_assert_uint_eq(entry_of(one, GVA)->tag_execute, GVA);
    ck_assert_uint_eq(entry_of(one, OTHER_SLOT)->tag_write, OTHER_SLOT);
    ck_assert_uint_eq(entry_of(two, SAME_SLOT + MEM_PAGE_BYTES)->tag_write, TLB_TAG_NONE);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        new_banks_allow_nothing,
        fills_add_permissions_to_the_same_page_only,
        jumps_outlive_their_entry_but_no_flush,
        another_page_at_the_same_address_drops_its_jumps,
        views_do_not_see_each_other,
        flush_of_an_address_reaches_it_under_other_tags,
        banks_with_global_entries_alone_serve_every_asid,
        the_bank_not_used_for_longest_is_evicted,
        flushes_take_what_they_name,
        flushes_leave_untranslated_and_global_entries_where_they_may,
        flushing_inside_a_large_page_ends_all_of_it,
        flushing_inside_a_page_larger_than_a_region_ends_all_of_it,
        leaves_are_found_by_size_and_asid,
        flushes_end_leaves_alike,
        dropping_writes_leaves_reads,
    };

    return run_tests("tlb", tests, TUFF_ARRAY_LEN(tests), setup_tlb, teardown_tlb);
}
