/* Filling and flushing of the software TLB; see tlb.h. */
#include "mem/tlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    LEVELS = 5,
    LEAVES_4K = 1024, /* second-level entries by page size */
    LEAVES_2M = 256,
    LEAVES_1G = 32,
    LEAVES_512G = 4,
    LEAVES_256T = 4,
    LEAVES = LEAVES_4K + LEAVES_2M + LEAVES_1G + LEAVES_512G + LEAVES_256T,
    REGION_SHIFT = 30,
    REGION_LEVEL = 2, /* of a leaf that covers a whole region */
};

static const unsigned leaf_slots[LEVELS] = {LEAVES_4K, LEAVES_2M, LEAVES_1G, LEAVES_512G, LEAVES_256T};
static const unsigned leaf_base[LEVELS] = {0, LEAVES_4K, LEAVES_4K + LEAVES_2M, LEAVES_4K + LEAVES_2M + LEAVES_1G,
                                           LEAVES - LEAVES_256T};

static const uint64_t VIEW_NONE = ~(uint64_t)0; /* differs from each view in more than the ASID */

struct leaf_entry {
    uint64_t page; /* gva >> the level's shift */
    uint64_t pte;
    uint64_t gpa; /* of the leaf's start */
    uint16_t asid;
    bool valid, global;
};

struct tlb {
    struct tlb_bank banks[TLB_BANKS];
    struct leaf_entry leaves[LEAVES];
    unsigned levels;           /* of leaves seen so far: 1 + the highest. Guests hardly use the upper ones */
    uint64_t views[TLB_BANKS]; /* words of those of the banks; VIEW_NONE: the bank is not used */
    uint64_t uses;
    uint64_t stamps; /* given out */
};

static unsigned level_shift(unsigned level)
{
    return MEM_PAGE_SHIFT + 9 * level;
}

static void clear_entry(struct tlb_entry *entry)
{
    *entry = (struct tlb_entry){TLB_TAG_NONE, TLB_TAG_NONE, TLB_TAG_NONE, 0};
}

static void clear_group(struct tlb_bank *bank, unsigned group)
{
    memset(&bank->jumps[group << TLB_JUMP_GROUP_SHIFT], 0, sizeof(bank->jumps[0]) << TLB_JUMP_GROUP_SHIFT);
}

static void clear_jumps(struct tlb_bank *bank)
{
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(bank->jump_groups_used); i++) {
        for (uint64_t left = bank->jump_groups_used[i]; left; left &= left - 1)
            clear_group(bank, 64 * i + (unsigned)__builtin_ctzll(left));
        bank->jump_groups_used[i] = 0;
    }
}

static void clear_bank(struct tlb *tlb, struct tlb_bank *bank)
{
    bank->stamp = ++tlb->stamps;
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        clear_entry(&bank->entries[i]);
    clear_jumps(bank);
    bank->has_private = false;
    bank->big_count = 0;
    if (bank->mirror)
        mirror_clear(bank->mirror);
}

int tlb_create(struct tlb **out)
{
    /* Zero, and not there before it is touched: of the megabyte that a bank has for jumps, most is never used. */
    void *room = mmap(NULL, sizeof(struct tlb), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *out = NULL;
    if (room == MAP_FAILED)
        return -ENOMEM;
    *out = room;
    for (unsigned i = 0; i < TLB_BANKS; i++) {
        clear_bank(*out, &(*out)->banks[i]);
        (*out)->views[i] = VIEW_NONE;
    }
    return 0;
}

void tlb_destroy(struct tlb *tlb)
{
    if (!tlb)
        return;
    for (unsigned i = 0; i < TLB_BANKS; i++)
        mirror_destroy(tlb->banks[i].mirror);
    munmap(tlb, sizeof(*tlb));
}

/* A bank whose entries are all global serves any ASID: that is how the kernel keeps its own over a switch of address
 * space. */
static bool bank_serves(const struct tlb_bank *bank, uint64_t differences)
{
    static const struct tlb_view asid = {.asid = UINT16_MAX};

    return differences == 0 || (!(differences & ~tlb_view_word(&asid)) && !bank->has_private);
}

static struct tlb_bank *make_room(struct tlb *tlb)
{
    struct tlb_bank *oldest = &tlb->banks[0];

    for (unsigned i = 1; i < TLB_BANKS; i++) {
        if (tlb->banks[i].last_use < oldest->last_use)
            oldest = &tlb->banks[i];
    }
    if (oldest->used)
        clear_bank(tlb, oldest);
    oldest->used = true;
    oldest->mirrored = false;
    oldest->mirror_wanted = 0;
    return oldest;
}

struct tlb_bank *tlb_select(struct tlb *tlb, const struct tlb_view *view)
{
    uint64_t wanted = tlb_view_word(view);
    struct tlb_bank *chosen = NULL;

    /* A system call comes here four times and more: the words side by side, instead of each in a bank of 128 KiB. */
    for (unsigned i = 0; i < TLB_BANKS && !chosen; i++) {
        if (bank_serves(&tlb->banks[i], tlb->views[i] ^ wanted))
            chosen = &tlb->banks[i];
    }
    if (!chosen)
        chosen = make_room(tlb);
    tlb->views[chosen - tlb->banks] = wanted;
    chosen->view = *view;
    chosen->last_use = ++tlb->uses;
    return chosen;
}

static void drop_jumps_of_page(struct tlb_bank *bank, uint64_t gva)
{
    unsigned group = tlb_jump_index(gva) >> TLB_JUMP_GROUP_SHIFT;
    uint64_t *used = &bank->jump_groups_used[group / 64], bit = UINT64_C(1) << group % 64;

    if (!(*used & bit))
        return;
    *used &= ~bit;
    clear_group(bank, group);
}

/* The page an entry stands for, or TLB_TAG_NONE. */
static uint64_t entry_page(const struct tlb_entry *entry)
{
    if (entry->tag_read != TLB_TAG_NONE)
        return entry->tag_read;
    return entry->tag_write != TLB_TAG_NONE ? entry->tag_write : entry->tag_execute;
}

static bool in_big_region(const struct tlb_bank *bank, uint64_t gva)
{
    if (bank->big_count > TLB_BIG_REGIONS)
        return true;
    for (unsigned i = 0; i < bank->big_count; i++) {
        if (bank->big_regions[i] == gva >> REGION_SHIFT)
            return true;
    }
    return false;
}

static void note_big(struct tlb_bank *bank, uint64_t gva, unsigned level)
{
    if (level > REGION_LEVEL) /* its entries are in many regions */
        bank->big_count = TLB_BIG_REGIONS + 1;
    if (in_big_region(bank, gva))
        return;
    if (bank->big_count < TLB_BIG_REGIONS)
        bank->big_regions[bank->big_count] = gva >> REGION_SHIFT;
    bank->big_count++;
}

void tlb_note_leaf(struct tlb_bank *bank, uint64_t gva, const struct walk_leaf *leaf)
{
    bank->has_private |= !leaf->global;
    if (leaf->level > 0) {
        /* A flush names the address itself, a fetch uses it as it is. */
        note_big(bank, gva, leaf->level);
        note_big(bank, tlb_effective(&bank->view, gva), leaf->level);
    }
}

void tlb_clear_mirrors(struct tlb *tlb)
{
    for (unsigned i = 0; i < TLB_BANKS; i++) {
        if (tlb->banks[i].mirror)
            mirror_clear(tlb->banks[i].mirror);
    }
}

void tlb_fill(struct tlb_bank *bank, uint64_t gva, void *host_page, bool read, bool write, bool execute,
              const struct walk_leaf *leaf)
{
    struct tlb_entry *entry = &bank->entries[tlb_index(gva)];
    uint64_t page = gva & TLB_PAGE_MASK;
    uint64_t addend = (uint64_t)host_page - page;

    if (entry_page(entry) != page || entry->addend != addend) {
        /* Making room leaves the other page's jumps: they are as true as before. */
        if (entry->tag_execute == page)
            drop_jumps_of_page(bank, page);
        clear_entry(entry);
    }
    entry->addend = addend;
    if (read)
        entry->tag_read = page;
    if (write)
        entry->tag_write = page;
    if (execute)
        entry->tag_execute = page;
    if (leaf)
        tlb_note_leaf(bank, gva, leaf);
}

static struct leaf_entry *leaf_slot(const struct tlb *tlb, uint64_t gva, unsigned level)
{
    uint64_t page = gva >> level_shift(level);
    unsigned slot = leaf_base[level] + (unsigned)((page ^ page >> 9) & (leaf_slots[level] - 1));

    return (struct leaf_entry *)&tlb->leaves[slot];
}

bool tlb_leaf_find(const struct tlb *tlb, uint64_t gva, uint16_t asid, struct walk_leaf *leaf)
{
    for (unsigned level = 0; level < tlb->levels; level++) {
        const struct leaf_entry *entry = leaf_slot(tlb, gva, level);
        if (!entry->valid || entry->page != gva >> level_shift(level) || !(entry->global || entry->asid == asid))
            continue;
        uint64_t inside = gva & ((1ull << level_shift(level)) - 1) & TLB_PAGE_MASK;
        *leaf =
            (struct walk_leaf){.pte = entry->pte, .gpa = entry->gpa | inside, .level = level, .global = entry->global};
        return true;
    }
    return false;
}

void tlb_leaf_insert(struct tlb *tlb, uint64_t gva, uint16_t asid, const struct walk_leaf *leaf)
{
    if (leaf->level >= tlb->levels)
        tlb->levels = leaf->level + 1;
    *leaf_slot(tlb, gva, leaf->level) = (struct leaf_entry){
        .page = gva >> level_shift(leaf->level),
        .pte = leaf->pte,
        .gpa = leaf->gpa & ~((1ull << level_shift(leaf->level)) - 1),
        .asid = asid,
        .valid = true,
        .global = leaf->global,
    };
}

void tlb_leaf_drop(struct tlb *tlb, uint64_t gva)
{
    for (unsigned level = 0; level < tlb->levels; level++) {
        struct leaf_entry *entry = leaf_slot(tlb, gva, level);
        if (entry->page == gva >> level_shift(level))
            entry->valid = false;
    }
}

static void flush_bank_address(struct tlb *tlb, struct tlb_bank *bank, uint64_t gva)
{
    struct tlb_entry *entry = &bank->entries[tlb_index(gva)];

    bank->stamp = ++tlb->stamps;
    if (bank->mirror && gva < MIRROR_BYTES)
        mirror_unmap(bank->mirror, gva);
    if (in_big_region(bank, gva)) {
        clear_bank(tlb, bank);
        return;
    }
    drop_jumps_of_page(bank, gva);
    if (entry_page(entry) == (gva & TLB_PAGE_MASK) ||
        tlb_effective(&bank->view, entry_page(entry)) == (gva & TLB_PAGE_MASK))
        clear_entry(entry);
}

static void flush_first(struct tlb *tlb, const uint64_t *gva, const uint16_t *asid)
{
    for (unsigned i = 0; i < TLB_BANKS; i++) {
        struct tlb_bank *bank = &tlb->banks[i];
        if (!bank->used || !bank->view.translated)
            continue;
        /* By ASID global entries stay: a bank that has nothing else is left alone. */
        if (asid && (bank->view.asid != *asid || !bank->has_private))
            continue;
        if (gva)
            flush_bank_address(tlb, bank, *gva);
        else
            clear_bank(tlb, bank);
    }
}

static void flush_second(struct tlb *tlb, const uint64_t *gva, const uint16_t *asid)
{
    if (gva) {
        for (unsigned level = 0; level < tlb->levels; level++) {
            struct leaf_entry *entry = leaf_slot(tlb, *gva, level);
            if (entry->page == *gva >> level_shift(level) && (!asid || (!entry->global && entry->asid == *asid)))
                entry->valid = false;
        }
        return;
    }
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(tlb->leaves); i++) {
        struct leaf_entry *entry = &tlb->leaves[i];
        if (!asid || (!entry->global && entry->asid == *asid))
            entry->valid = false;
    }
}

void tlb_flush(struct tlb *tlb, const uint64_t *gva, const uint16_t *asid)
{
    flush_first(tlb, gva, asid);
    flush_second(tlb, gva, asid);
}

void tlb_flush_first_level(struct tlb *tlb)
{
    for (unsigned i = 0; i < TLB_BANKS; i++) {
        if (tlb->banks[i].used)
            clear_bank(tlb, &tlb->banks[i]);
    }
}

void tlb_drop_writes(struct tlb *tlb, const void *host_page)
{
    for (unsigned i = 0; i < TLB_BANKS; i++) {
        struct tlb_bank *bank = &tlb->banks[i];
        if (!bank->used)
            continue;
        bank->stamp = ++tlb->stamps;
        if (bank->mirror)
            mirror_protect(bank->mirror, host_page);
        for (unsigned j = 0; j < TLB_ENTRIES; j++) {
            struct tlb_entry *entry = &bank->entries[j];
            if (entry->tag_write != TLB_TAG_NONE && entry->tag_write + entry->addend == (uint64_t)host_page)
                entry->tag_write = TLB_TAG_NONE;
        }
    }
}

void tlb_set_jump(struct tlb_bank *bank, uint64_t pc, void *target)
{
    unsigned index = tlb_jump_index(pc), group = index >> TLB_JUMP_GROUP_SHIFT;

    bank->jump_groups_used[group / 64] |= UINT64_C(1) << group % 64;
    bank->jumps[index] = (struct tlb_jump){.pc = pc, .target = target};
}

void tlb_flush_jumps(struct tlb *tlb)
{
    for (unsigned i = 0; i < TLB_BANKS; i++)
        clear_jumps(&tlb->banks[i]);
}
