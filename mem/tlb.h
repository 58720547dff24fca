/* The software TLB of one hart: two levels, used by its own thread only.
 *
 * First level: banks of direct-mapped entries that generated code looks into. A bank belongs to one way of looking at
 * memory (struct tlb_view: privilege, SUM, MXR, translation on or off, ASID), so a change of view picks another bank
 * and flushes nothing. An entry has a tag per kind of access that is equal to the page's address where that access
 * needs no further question, and TLB_TAG_NONE elsewhere; the comparison keeps the address's low bits that must be zero
 * for the access's size, so that one compare checks page, permission and alignment. Beside the entries a bank has the
 * jump cache of code reached in that view. A jump is entered while there is an execute entry for its page and outlives
 * it where that makes room for another page: what ends a translation (flushes, another page at the same address) drops
 * the page's group whether or not the entry is still there.
 *
 * The first level is as large as it is for kernels that go through many pages a little: direct I/O of 1 MiB touches 256
 * descriptors of pages, each on a page of its own. With 512 entries and 64 groups such a guest read 324 MiB/s and
 * filled 7.3 million entries in all, with these sizes 2 to 3 times as much and 0.9 million. The jump cache is as large
 * as it is for programs like a compiler, with code all over some MiB and many places on a page that calls come back to:
 * with 32 entries for each of 128 pages one instruction in 286 was a jump that was not found, with these one in 1000.
 *
 * Second level: what the page tables said (leaf PTE, size, ASID or global), one table per page size, so that a 2 MiB
 * page takes one entry however many 4 KiB first-level entries are filled from it, and global entries survive flushes by
 * ASID.
 */
#ifndef TUFF_MEM_TLB_H
#define TUFF_MEM_TLB_H

#include "base/compiler.h"
#include "mem/mirror.h"
#include "mem/walk.h"

enum {
    TLB_ENTRIES_SHIFT = 11,
    TLB_ENTRIES = 1 << TLB_ENTRIES_SHIFT,
    TLB_BANKS = 8,
    TLB_JUMP_GROUP_SHIFT = 7, /* jump-cache entries of one page */
    TLB_JUMP_GROUPS_SHIFT = 9,
    TLB_JUMP_GROUPS = 1 << TLB_JUMP_GROUPS_SHIFT,
    TLB_JUMP_ENTRIES = TLB_JUMP_GROUPS << TLB_JUMP_GROUP_SHIFT,
    TLB_BIG_REGIONS = 6,
};

/* Equal to no masked address: bit 11 is below the page and above every alignment bit. */
#define TLB_TAG_NONE 0x800ull
#define TLB_PAGE_MASK (~(uint64_t)(MEM_PAGE_BYTES - 1))

struct tlb_entry {
    uint64_t tag_read, tag_write, tag_execute;
    uint64_t addend; /* host address = guest virtual address + addend */
};
_Static_assert(sizeof(struct tlb_entry) == 32, "generated code scales by 32");

/* One way of looking at memory. */
struct tlb_view {
    uint8_t priv;    /* effective privilege of the accesses */
    bool translated; /* satp is on and applies */
    bool sum, mxr;
    uint8_t masked_bits; /* upper bits of addresses of loads and stores that do not count (pointer masking) */
    uint8_t zero;        /* no padding: views are compared as words */
    uint16_t asid;       /* 0 when not translated */
};
_Static_assert(sizeof(struct tlb_view) == sizeof(uint64_t), "compared as words");

static inline uint64_t tlb_view_word(const struct tlb_view *view)
{
    uint64_t word;

    __builtin_memcpy(&word, view, sizeof(word));
    return word;
}

/* What a load or store at `gva` means: chapter "Pointer Masking", section "The Ignore Transformation". Entries are
 * filled for addresses as they are used, so that nobody but the slow path has to ask; those of one page with other tags
 * take each other's place. */
static inline uint64_t tlb_effective(const struct tlb_view *view, uint64_t gva)
{
    uint64_t shifted = gva << view->masked_bits;

    return view->translated ? (uint64_t)((int64_t)shifted >> view->masked_bits) : shifted >> view->masked_bits;
}

struct tlb_jump {
    uint64_t pc;
    void *target; /* owned by the engine; NULL: empty */
};

struct tlb_bank {
    struct tlb_entry entries[TLB_ENTRIES];
    struct tlb_jump jumps[TLB_JUMP_ENTRIES];
    uint64_t jump_groups_used[TLB_JUMP_GROUPS / 64]; /* a bit each: what is there to be emptied */
    struct tlb_view view;
    /* Changes, and never comes back to an earlier value, whenever a translation of this bank or its right to store may
     * have ended. An entry that only makes room for another does not count. */
    uint64_t stamp;
    /* What generated code reaches without looking here; NULL: nobody has asked for it yet. Whatever ends a translation
     * or a right to store here ends it there. `mirrored`: it is in use. */
    struct mirror *mirror;
    bool mirrored;
    /* For whoever decides that (engine/region/mirrored.c): looked-up accesses since the bank began, times in ns. */
    uint32_t mirror_wanted;
    uint64_t mirror_since, mirror_spent;
    bool used;
    bool has_private; /* holds an entry that is not global */
    uint64_t last_use;
    /* 1 GiB regions with entries filled from large pages: a flush by address inside one flushes the bank, as does any
     * where there was a page larger than a region. */
    uint64_t big_regions[TLB_BIG_REGIONS];
    unsigned big_count; /* TLB_BIG_REGIONS + 1: more than fit */
};

struct tlb;

/* Creates an empty TLB. Returns 0 or -ENOMEM. */
int tlb_create(struct tlb **out) TUFF_MUST_CHECK;
void tlb_destroy(struct tlb *tlb);

/* The bank for a view, found or made by evicting the one not used for longest. */
struct tlb_bank *tlb_select(struct tlb *tlb, const struct tlb_view *view);

static inline unsigned tlb_index(uint64_t gva)
{
    return (gva >> MEM_PAGE_SHIFT) & (TLB_ENTRIES - 1);
}

/* The jump-cache slot of a pc: a group by page, a slot by address in it. */
static inline unsigned tlb_jump_index(uint64_t pc)
{
    uint64_t page = pc >> MEM_PAGE_SHIFT;
    unsigned group = (unsigned)(page ^ (page >> TLB_JUMP_GROUPS_SHIFT)) & (TLB_JUMP_GROUPS - 1);

    return group << TLB_JUMP_GROUP_SHIFT |
           ((unsigned)(pc >> 1 ^ pc >> (1 + TLB_JUMP_GROUP_SHIFT)) & ((1u << TLB_JUMP_GROUP_SHIFT) - 1));
}

/* Makes the slot of `gva`'s page hold `host_page` with exactly these permissions added to what the same page already
 * had. */
void tlb_fill(struct tlb_bank *bank, uint64_t gva, void *host_page, bool read, bool write, bool execute,
              const struct walk_leaf *leaf);

/* Something at `gva` is known to this bank from this leaf: what flushes have to consider. tlb_fill() does this itself.
 */
void tlb_note_leaf(struct tlb_bank *bank, uint64_t gva, const struct walk_leaf *leaf);
/* Empties the mirrors of all banks. */
void tlb_clear_mirrors(struct tlb *tlb);

/* Second level. Returns true and the leaf when `gva` is known for this ASID. */
bool tlb_leaf_find(const struct tlb *tlb, uint64_t gva, uint16_t asid, struct walk_leaf *leaf);
void tlb_leaf_insert(struct tlb *tlb, uint64_t gva, uint16_t asid, const struct walk_leaf *leaf);
/* Forgets the leaf of one address (its PTE must be read again, e.g. to set D). */
void tlb_leaf_drop(struct tlb *tlb, uint64_t gva);

/* SFENCE.VMA (Privileged Architecture, section 12.2.1): NULL for "all". */
void tlb_flush(struct tlb *tlb, const uint64_t *gva, const uint16_t *asid);
/* First level only: after a change of PMP or of anything that is checked at fill. */
void tlb_flush_first_level(struct tlb *tlb);
/* Takes away direct stores to one RAM page, in all banks. */
void tlb_drop_writes(struct tlb *tlb, const void *host_page);
/* Enters `target` in the jump cache of `bank`, where there must be an execute entry for the page of `pc`. */
void tlb_set_jump(struct tlb_bank *bank, uint64_t pc, void *target);
/* Empties every jump cache. */
void tlb_flush_jumps(struct tlb *tlb);

#endif
