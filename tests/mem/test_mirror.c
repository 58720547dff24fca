/* Mirrors: what is seen through one, what faults, what ends a page there; alone, and as the banks of the software TLB
 * keep them. */
#include "mem/mirror.h"

#include "mem/tlb.h"
#include "mem_test.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static struct mirror *mirror;
static uint8_t *ram;

/* ---- accesses that may fault ---- */

static sigjmp_buf faulted;

static void on_segv(int number)
{
    siglongjmp(faulted, number);
}

static void setup_mirror(void)
{
    struct sigaction action = {.sa_handler = on_segv};

    ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
    setup();
    ram = mem_ram_ptr(mem, RAM_GPA, RAM_BYTES);
    ck_assert_ptr_nonnull(ram);
    for (unsigned i = 0; i < RAM_PAGES; i++)
        memset(ram + ((size_t)i << MEM_PAGE_SHIFT), (int)i + 1, MEM_PAGE_BYTES);
    ck_assert_int_eq(mirror_create(mem, &mirror), 0);
}

static void teardown_mirror(void)
{
    mirror_destroy(mirror);
    teardown();
}

/* Through the mirror, like generated code. The offset may be negative: guards. */
static bool load(const struct mirror *m, uint64_t gva, uint8_t *value)
{
    const volatile uint8_t *at = (const volatile uint8_t *)(mirror_base(m) + gva);

    if (sigsetjmp(faulted, 1))
        return false;
    *value = *at;
    return true;
}

static bool store(const struct mirror *m, uint64_t gva, uint8_t value)
{
    volatile uint8_t *at = (volatile uint8_t *)(mirror_base(m) + gva);

    if (sigsetjmp(faulted, 1))
        return false;
    *at = value;
    return true;
}

static bool store_wide(const struct mirror *m, uint64_t gva, uint64_t value)
{
    typedef volatile uint64_t __attribute__((aligned(1))) misaligned;
    misaligned *at = (misaligned *)(mirror_base(m) + gva);

    if (sigsetjmp(faulted, 1))
        return false;
    *at = value;
    return true;
}

static uint8_t *page_of(unsigned frame)
{
    return ram + ((size_t)frame << MEM_PAGE_SHIFT);
}

enum what { NOTHING, READS, WRITES };

/* Everything that can be said of a page: what mirror_has() says, and what the host's MMU does. */
static void check_page(const struct mirror *m, uint64_t gva, enum what what, unsigned frame)
{
    uint8_t *host = page_of(frame);
    uint8_t value = 0;

    ck_assert_int_eq(mirror_has(m, gva + 0x7ff, false), what >= READS);
    ck_assert_int_eq(mirror_has(m, gva + 0x7ff, true), what == WRITES);
    ck_assert_int_eq(load(m, gva, &value), what >= READS);
    if (what >= READS) {
        ck_assert_uint_eq(value, host[0]);
        ck_assert(load(m, gva + MEM_PAGE_BYTES - 1, &value));
        ck_assert_uint_eq(value, host[MEM_PAGE_BYTES - 1]);
    }
    uint8_t before = host[5];
    ck_assert_int_eq(store(m, gva + 5, (uint8_t)~before), what == WRITES);
    ck_assert_uint_eq(host[5], what == WRITES ? (uint8_t)~before : before);
    host[5] = before;
}

static void map(uint64_t gva, unsigned frame, unsigned pages, bool write)
{
    ck_assert_int_eq(mirror_map(mirror, gva, page_of(frame), pages, write), 0);
}

#define PAGE(n) ((uint64_t)(n) << MEM_PAGE_SHIFT)
#define LAST (MIRROR_BYTES - MEM_PAGE_BYTES)
static const uint64_t places[] = {0, PAGE(1), PAGE(0x12345), MIRROR_BYTES / 2, LAST};

/* ---- a mirror by itself ---- */

START_TEST(a_new_one_faults_everywhere)
{
    uint8_t value;

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(places); i++)
        check_page(mirror, places[i], NOTHING, 0);
    /* What base registers below the limit reach with an immediate, and the width of an access, on either side. */
    for (uint64_t offset = 1; offset <= MIRROR_GUARD_BYTES; offset += MEM_PAGE_BYTES / 2) {
        ck_assert(!load(mirror, -offset, &value));
        ck_assert(!store(mirror, -offset, 1));
        ck_assert(!load(mirror, MIRROR_BYTES + offset - 1, &value));
        ck_assert(!store(mirror, MIRROR_BYTES + offset - 1, 1));
    }
}
END_TEST

START_TEST(pages_come_and_go)
{
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(places); i++) {
        map(places[i], 10 + i, 1, i & 1);
        check_page(mirror, places[i], i & 1 ? WRITES : READS, 10 + i);
    }
    /* The neighbours do not come along; nor do the guards. */
    uint8_t value;
    check_page(mirror, PAGE(2), NOTHING, 0);
    check_page(mirror, LAST - MEM_PAGE_BYTES, NOTHING, 0);
    ck_assert(!load(mirror, MIRROR_BYTES, &value));
    ck_assert(!load(mirror, UINT64_MAX, &value));
    ck_assert(!store_wide(mirror, MIRROR_BYTES - 4, 0));
    /* Each goes alone; an address inside of the page names it; twice is as good as once. */
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(places); i++) {
        mirror_unmap(mirror, places[i] + 0xabc);
        mirror_unmap(mirror, places[i]);
        for (unsigned j = 0; j < TUFF_ARRAY_LEN(places); j++)
            check_page(mirror, places[j], j <= i ? NOTHING : j & 1 ? WRITES : READS, 10 + j);
    }
}
END_TEST

START_TEST(pages_are_replaced)
{
    map(PAGE(7), 1, 1, true);
    map(PAGE(7), 2, 1, false);
    check_page(mirror, PAGE(7), READS, 2);
    map(PAGE(7), 2, 1, true);
    check_page(mirror, PAGE(7), WRITES, 2);
    map(PAGE(6), 20, 3, false);
    for (unsigned i = 0; i < 3; i++)
        check_page(mirror, PAGE(6 + i), READS, 20 + i);
    mirror_protect(mirror, page_of(2));
    check_page(mirror, PAGE(7), READS, 21);
    mirror_unmap(mirror, PAGE(7));
    check_page(mirror, PAGE(7), NOTHING, 21);
    check_page(mirror, PAGE(6), READS, 20);
    check_page(mirror, PAGE(8), READS, 22);
}
END_TEST

START_TEST(runs_follow_ram)
{
    map(LAST - PAGE(7), RAM_PAGES - 8, 8, true);
    for (unsigned i = 0; i < 8; i++)
        check_page(mirror, LAST - PAGE(7 - i), WRITES, RAM_PAGES - 8 + i);
    /* In the middle: unmapped, protected, replaced, each once. */
    mirror_unmap(mirror, LAST - PAGE(5));
    mirror_protect(mirror, page_of(RAM_PAGES - 5));
    map(LAST - PAGE(2), 3, 1, false);
    static const enum what after[8] = {WRITES, WRITES, NOTHING, READS, WRITES, READS, WRITES, WRITES};
    for (unsigned i = 0; i < 8; i++)
        check_page(mirror, LAST - PAGE(7 - i), after[i], i == 5 ? 3 : RAM_PAGES - 8 + i);
    /* Nothing is stored where the second page takes no stores. */
    uint64_t before;
    memcpy(&before, page_of(RAM_PAGES - 7) + MEM_PAGE_BYTES - 8, sizeof(before));
    ck_assert(!store_wide(mirror, LAST - PAGE(5) - 3, 0x1122334455667788));
    ck_assert_mem_eq(&before, page_of(RAM_PAGES - 7) + MEM_PAGE_BYTES - 8, sizeof(before));
    ck_assert(!store_wide(mirror, LAST - PAGE(4) - 1, 0x1122334455667788));
}
END_TEST

START_TEST(protection_reaches_every_alias)
{
    map(PAGE(1), 40, 1, true);
    map(PAGE(99), 40, 1, true);
    map(LAST - PAGE(3), 39, 3, true);
    map(PAGE(50), 40, 1, false);
    map(PAGE(51), 41, 1, true);
    mirror_protect(mirror, page_of(40));
    check_page(mirror, PAGE(1), READS, 40);
    check_page(mirror, PAGE(99), READS, 40);
    check_page(mirror, LAST - PAGE(3), WRITES, 39);
    check_page(mirror, LAST - PAGE(2), READS, 40);
    check_page(mirror, LAST - PAGE(1), WRITES, 41);
    check_page(mirror, PAGE(50), READS, 40);
    check_page(mirror, PAGE(51), WRITES, 41);
    /* The right comes back, and goes again. */
    map(PAGE(99), 40, 1, true);
    check_page(mirror, PAGE(99), WRITES, 40);
    mirror_protect(mirror, page_of(40));
    check_page(mirror, PAGE(99), READS, 40);
    /* The first and the last frame. */
    map(PAGE(200), 0, 1, true);
    map(PAGE(201), RAM_PAGES - 1, 1, true);
    mirror_protect(mirror, page_of(0));
    check_page(mirror, PAGE(200), READS, 0);
    check_page(mirror, PAGE(201), WRITES, RAM_PAGES - 1);
    mirror_protect(mirror, page_of(RAM_PAGES - 1));
    check_page(mirror, PAGE(201), READS, RAM_PAGES - 1);
}
END_TEST

START_TEST(clearing_takes_all)
{
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < TUFF_ARRAY_LEN(places); i++)
            map(places[i], i, 1, true);
        mirror_clear(mirror);
        for (unsigned i = 0; i < TUFF_ARRAY_LEN(places); i++)
            check_page(mirror, places[i], NOTHING, i);
        /* Of no effect: nothing is there. */
        mirror_protect(mirror, page_of(1));
        mirror_clear(mirror);
    }
}
END_TEST

/* ---- against a model ---- */

enum { MODEL_PAGES = 400, STEPS = 20000 };

struct model_page {
    uint64_t gva;
    enum what what;
    unsigned frame;
};

static struct model_page model[MODEL_PAGES];

static unsigned below(uint64_t *state, unsigned limit)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (unsigned)((*state >> 16) % limit);
}

/* Runs of 8 pages at random places, the first and the last of the range among them. */
static void place_model(uint64_t *state)
{
    for (unsigned i = 0; i < MODEL_PAGES; i++) {
        uint64_t run = (uint64_t)below(state, 1u << 23) << 3;
        if (i % 8)
            model[i].gva = model[i - 1].gva + MEM_PAGE_BYTES;
        else
            model[i].gva = i == 0 ? 0 : i == 8 ? LAST - PAGE(7) : PAGE(run);
        model[i].what = NOTHING;
    }
}

static void step_model(uint64_t *state)
{
    unsigned first = below(state, MODEL_PAGES);
    unsigned pages = 1 + below(state, 8 - first % 8);
    unsigned frame = below(state, RAM_PAGES - pages);
    bool write = below(state, 2);

    switch (below(state, 100)) {
    case 0:
        mirror_clear(mirror);
        for (unsigned i = 0; i < MODEL_PAGES; i++)
            model[i].what = NOTHING;
        break;
    case 1 ... 10:
        mirror_protect(mirror, page_of(frame));
        for (unsigned i = 0; i < MODEL_PAGES; i++) {
            if (model[i].what == WRITES && model[i].frame == frame)
                model[i].what = READS;
        }
        break;
    case 11 ... 55:
        map(model[first].gva, frame, pages, write);
        for (unsigned i = 0; i < pages; i++) {
            model[first + i].what = write ? WRITES : READS;
            model[first + i].frame = frame + i;
        }
        break;
    default:
        mirror_unmap(mirror, model[first].gva);
        model[first].what = NOTHING;
    }
}

START_TEST(random_steps_agree_with_a_model)
{
    uint64_t state = 0x9e3779b97f4a7c15ull + (uint64_t)_i;

    place_model(&state);
    for (unsigned step = 0; step < STEPS; step++) {
        step_model(&state);
        unsigned one = below(&state, MODEL_PAGES);
        check_page(mirror, model[one].gva, model[one].what, model[one].frame);
        for (unsigned i = 0; step % 500 == 0 && i < MODEL_PAGES; i++)
            check_page(mirror, model[i].gva, model[i].what, model[i].frame);
    }
}
END_TEST

/* ---- limits ---- */

START_TEST(runs_have_a_limit)
{
    for (unsigned i = 0; i < MIRROR_RUNS_MAX; i++)
        map(PAGE(i), 0, 1, false);
    ck_assert_int_eq(mirror_map(mirror, PAGE(MIRROR_RUNS_MAX), page_of(0), 1, false), -ENOSPC);
    check_page(mirror, PAGE(MIRROR_RUNS_MAX - 1), READS, 0);
    check_page(mirror, PAGE(MIRROR_RUNS_MAX), NOTHING, 0);
    mirror_clear(mirror);
    map(PAGE(MIRROR_RUNS_MAX), 0, 1, false);
    check_page(mirror, PAGE(MIRROR_RUNS_MAX), READS, 0);
}
END_TEST

START_TEST(pages_have_a_limit)
{
    unsigned pages = 0;

    for (; pages + 128 <= MIRROR_PAGES_MAX; pages += 128)
        map(PAGE(pages), 0, 128, true);
    ck_assert_int_eq(mirror_map(mirror, PAGE(pages), page_of(0), MIRROR_PAGES_MAX - pages + 1, true), -ENOSPC);
    /* In a full table what is there is found, what is not is not, and all goes in any order. */
    check_page(mirror, PAGE(pages), NOTHING, 0);
    check_page(mirror, PAGE(pages - 1), WRITES, 127);
    for (unsigned i = 0; i < 4096; i++)
        mirror_unmap(mirror, PAGE(i));
    for (unsigned i = 0; i < pages; i += 61)
        ck_assert_int_eq(mirror_has(mirror, PAGE(i), true), i >= 4096);
    mirror_clear(mirror);
    check_page(mirror, PAGE(pages - 1), NOTHING, 0);
}
END_TEST

/* A process that has few pages at a time, and new ones all the time. */
START_TEST(an_emptied_mirror_is_cleared_as_well)
{
    for (unsigned i = 0; i < MIRROR_RUNS_MAX / 2; i++) {
        map(PAGE(5), 0, 1, true);
        mirror_unmap(mirror, PAGE(5));
    }
    ck_assert_int_eq(mirror_map(mirror, PAGE(5), page_of(1), 1, true), -ENOSPC);
    mirror_clear(mirror);
    map(PAGE(5), 1, 1, true);
    check_page(mirror, PAGE(5), WRITES, 1);
}
END_TEST

/* What one has used up, another cannot have, until the first is cleared or ends. */
START_TEST(mirrors_share_the_mappings)
{
    struct mirror *other;

    ck_assert_int_eq(mirror_create(mem, &other), 0);
    for (unsigned i = 0; i < MIRROR_RUNS_MAX; i++)
        map(PAGE(2 * i), 0, 1, false);
    ck_assert_int_eq(mirror_map(other, PAGE(0), page_of(0), 1, true), -ENOSPC);
    mirror_clear(mirror);
    for (unsigned i = 0; i < MIRROR_RUNS_MAX; i++)
        ck_assert_int_eq(mirror_map(other, PAGE(2 * i), page_of(0), 1, true), 0);
    ck_assert_int_eq(mirror_map(mirror, PAGE(0), page_of(0), 1, true), -ENOSPC);
    mirror_destroy(other);
    map(PAGE(0), 0, 1, true);
    check_page(mirror, PAGE(0), WRITES, 0);
}
END_TEST

/* ---- as banks of the software TLB keep them ---- */

static struct tlb *tlb;

static void setup_banks(void)
{
    setup_mirror();
    ck_assert_int_eq(tlb_create(&tlb), 0);
}

static void teardown_banks(void)
{
    tlb_destroy(tlb);
    teardown_mirror();
}

static struct tlb_bank *bank_of(uint16_t asid)
{
    struct tlb_view view = {.priv = 0, .translated = true, .asid = asid};

    return tlb_select(tlb, &view);
}

static const struct walk_leaf private_leaf = {.level = 0}, large_leaf = {.level = 1};

/* The page is in the bank, and so are it and its neighbour in the mirror. */
static struct tlb_bank *fill(uint16_t asid, uint64_t gva, unsigned frame, const struct walk_leaf *leaf)
{
    struct tlb_bank *bank = bank_of(asid);

    tlb_fill(bank, gva, page_of(frame), true, true, false, leaf);
    if (!bank->mirror)
        ck_assert_int_eq(mirror_create(mem, &bank->mirror), 0);
    ck_assert_int_eq(mirror_map(bank->mirror, gva, page_of(frame), 2, true), 0);
    return bank;
}

#define AT PAGE(0x3000)

START_TEST(flushes_take_pages_of_mirrors)
{
    uint64_t inside = AT + 0x123;
    uint16_t asid = 1;

    for (unsigned kind = 0; kind < 4; kind++) {
        struct tlb_bank *one = fill(1, AT, 10, &private_leaf), *two = fill(2, AT, 20, &private_leaf);
        tlb_flush(tlb, kind & 1 ? &inside : NULL, kind & 2 ? &asid : NULL);
        check_page(one->mirror, AT, NOTHING, 10);
        check_page(one->mirror, AT + MEM_PAGE_BYTES, kind & 1 ? WRITES : NOTHING, 11);
        check_page(two->mirror, AT, kind & 2 ? WRITES : NOTHING, 20);
        check_page(two->mirror, AT + MEM_PAGE_BYTES, kind ? WRITES : NOTHING, 21);
        tlb_flush(tlb, NULL, NULL);
    }
}
END_TEST

/* Its entry in the bank has made room for another; the page in the mirror has not. */
START_TEST(flushes_reach_pages_without_an_entry)
{
    uint64_t at = AT;
    struct tlb_bank *bank = fill(1, AT, 10, &private_leaf);

    tlb_fill(bank, AT + PAGE(TLB_ENTRIES), page_of(30), true, true, false, &private_leaf);
    check_page(bank->mirror, AT, WRITES, 10);
    tlb_drop_writes(tlb, page_of(10));
    check_page(bank->mirror, AT, READS, 10);
    tlb_flush(tlb, &at, NULL);
    check_page(bank->mirror, AT, NOTHING, 10);
}
END_TEST

START_TEST(flushes_outside_of_the_range_take_nothing)
{
    struct tlb_bank *bank = fill(1, 0, 10, &private_leaf);
    const uint64_t outside[] = {MIRROR_BYTES, -(uint64_t)MEM_PAGE_BYTES, 1ull << 63, ~0ull};

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(outside); i++)
        tlb_flush(tlb, &outside[i], NULL);
    check_page(bank->mirror, 0, WRITES, 10);
}
END_TEST

START_TEST(flushing_inside_a_large_page_takes_all_of_it)
{
    uint64_t inside = AT + 0x1ff000;
    struct tlb_bank *bank = fill(1, AT, 10, &large_leaf);

    tlb_flush(tlb, &inside, NULL);
    check_page(bank->mirror, AT, NOTHING, 10);
    check_page(bank->mirror, AT + MEM_PAGE_BYTES, NOTHING, 11);
}
END_TEST

START_TEST(dropped_writes_fault_in_every_bank)
{
    struct tlb_bank *one = fill(1, AT, 10, &private_leaf), *two = fill(2, AT + PAGE(70), 9, &private_leaf);

    tlb_drop_writes(tlb, page_of(10));
    check_page(one->mirror, AT, READS, 10);
    check_page(one->mirror, AT + PAGE(1), WRITES, 11);
    check_page(two->mirror, AT + PAGE(70), WRITES, 9);
    check_page(two->mirror, AT + PAGE(71), READS, 10);
}
END_TEST

START_TEST(a_bank_that_changes_hands_brings_nothing)
{
    struct tlb_bank *bank = fill(1, AT, 10, &private_leaf);
    struct mirror *kept = bank->mirror;

    bank->mirrored = true;
    for (unsigned asid = 2; asid <= TLB_BANKS; asid++)
        (void)fill((uint16_t)asid, AT, asid, &private_leaf);
    check_page(kept, AT, WRITES, 10);
    ck_assert_ptr_eq(bank_of(100), bank);
    ck_assert_ptr_eq(bank->mirror, kept);
    ck_assert(!bank->mirrored);
    check_page(kept, AT, NOTHING, 10);
    check_page(kept, AT + MEM_PAGE_BYTES, NOTHING, 11);
}
END_TEST

START_TEST(flushing_the_first_level_takes_all)
{
    struct tlb_bank *one = fill(1, AT, 10, &private_leaf), *two = fill(2, AT, 20, &private_leaf);

    tlb_flush_first_level(tlb);
    check_page(one->mirror, AT, NOTHING, 10);
    check_page(two->mirror, AT, NOTHING, 20);
}
END_TEST

START_TEST(without_ram_there_is_none)
{
    struct mem *empty;
    struct mirror *none = NULL;

    ck_assert_int_eq(mem_create(&empty), 0);
    ck_assert_int_eq(mirror_create(empty, &none), -EINVAL);
    ck_assert_ptr_null(none);
    mirror_destroy(none);
    mem_destroy(empty);
}
END_TEST

int main(void)
{
    const TTest *const alone[] = {
        a_new_one_faults_everywhere,          pages_come_and_go,          pages_are_replaced,        runs_follow_ram,
        protection_reaches_every_alias,       clearing_takes_all,         runs_have_a_limit,         pages_have_a_limit,
        an_emptied_mirror_is_cleared_as_well, mirrors_share_the_mappings, without_ram_there_is_none,
    };
    const TTest *const banks[] = {
        flushes_take_pages_of_mirrors,
        flushes_reach_pages_without_an_entry,
        flushes_outside_of_the_range_take_nothing,
        flushing_inside_a_large_page_takes_all_of_it,
        dropped_writes_fault_in_every_bank,
        a_bank_that_changes_hands_brings_nothing,
        flushing_the_first_level_takes_all,
    };
    Suite *suite = suite_create("mirror");
    TCase *steps = tcase_create("steps");

    tcase_add_checked_fixture(steps, setup_mirror, teardown_mirror);
    tcase_add_loop_test(steps, random_steps_agree_with_a_model, 0, 4);
    tcase_set_timeout(steps, 60);
    suite_add_tcase(suite, steps);
    int rc = run_suite(suite);
    rc |= run_tests("mirror", alone, TUFF_ARRAY_LEN(alone), setup_mirror, teardown_mirror);
    return rc | run_tests("mirror_banks", banks, TUFF_ARRAY_LEN(banks), setup_banks, teardown_banks);
}
