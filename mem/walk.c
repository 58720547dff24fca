/* Sv39, Sv48 and Sv57 walks; see walk.h. Steps in comments are those of the algorithm in the Privileged Architecture,
 * section 12.3.2.
 */
#include "mem/walk.h"

#include <stdatomic.h>

enum { PTE_BYTES_SHIFT = 3, LEVEL_BITS = 9 };

#define PTE_RESERVED (0x7full << 54)
#define PTE_PBMT (3ull << 61)
#define PTE_N (1ull << 63)
#define PTE_PPN_MASK (((1ull << 44) - 1) << PTE_PPN_SHIFT)

/* W alone: reserved where there are no shadow stacks, so that no leaf has it. */
static bool is_shadow_page(uint64_t pte)
{
    return (pte & (PTE_R | PTE_W | PTE_X)) == PTE_W;
}

static bool is_reserved(const struct walk_params *params, uint64_t pte)
{
    return !(pte & PTE_R) && (pte & PTE_W) && !(params->shadow_pages && is_shadow_page(pte));
}

static bool mode_permits(uint64_t pte, enum mem_access access, bool user, bool sum)
{
    /* Supervisor code never runs from user pages, and reads them only under SUM. */
    return pte & PTE_U ? user || (sum && access != MEM_EXECUTE) : !user;
}

bool walk_permits(uint64_t pte, enum mem_access access, bool user, bool sum, bool mxr)
{
    if (!mode_permits(pte, access, user, sum))
        return false;
    switch (access) {
    case MEM_READ:
        return (pte & PTE_R) || (mxr && (pte & PTE_X)) || is_shadow_page(pte);
    case MEM_WRITE:
        return (pte & PTE_W) && !is_shadow_page(pte);
    case MEM_EXECUTE:
        return pte & PTE_X;
    }
    return false;
}

/* What a leaf does with the access: chapter "Zicfiss" makes a mistaken one of a shadow stack, or to one, an access
 * fault, but for a page that is only read: that may be copied on write. */
static enum walk_result check_access(const struct walk_params *params, uint64_t pte)
{
    bool shadow_page = is_shadow_page(pte);

    if (!mode_permits(pte, params->access, params->user, params->sum))
        return WALK_PAGE_FAULT;
    if (params->shadow)
        return shadow_page ? WALK_OK : (pte & (PTE_R | PTE_W | PTE_X)) == PTE_R ? WALK_PAGE_FAULT : WALK_ACCESS_FAULT;
    if (shadow_page)
        return params->access == MEM_READ ? WALK_OK : WALK_ACCESS_FAULT;
    return walk_permits(pte, params->access, params->user, params->sum, params->mxr) ? WALK_OK : WALK_PAGE_FAULT;
}

static bool canonical(uint64_t gva, unsigned levels)
{
    unsigned shift = 64 - (MEM_PAGE_SHIFT + levels * LEVEL_BITS);

    return (uint64_t)((int64_t)(gva << shift) >> shift) == gva;
}

/* Svnapot knows one size, 64 KiB: 16 PTEs alike, whose lowest four PPN bits say so instead of being an address. */
enum { NAPOT_PAGES = 16, NAPOT_64K = 8 };

/* Bits 63..54: N and PBMT where the extension is on, and in leaves only (section 12.4.1). */
static bool upper_bits_reserved(const struct walk_params *params, uint64_t pte, unsigned level)
{
    bool is_leaf = pte & (PTE_R | PTE_W | PTE_X);

    if (pte & PTE_RESERVED)
        return true;
    if ((pte & PTE_PBMT) && (!is_leaf || !params->pbmt || (pte & PTE_PBMT) == PTE_PBMT))
        return true;
    if (!(pte & PTE_N))
        return false;
    return !is_leaf || !params->napot || level > 0 || (pte >> PTE_PPN_SHIFT & (NAPOT_PAGES - 1)) != NAPOT_64K;
}

enum walk_result walk_page_table(const struct walk_params *params, uint64_t gva, struct walk_leaf *leaf)
{
    uint64_t table_gpa = params->root_gpa;
    bool global = false;

    if (!canonical(gva, params->levels))
        return WALK_PAGE_FAULT;
    for (unsigned level = params->levels; level-- > 0;) {
        unsigned shift = MEM_PAGE_SHIFT + level * LEVEL_BITS;
        uint64_t pte_gpa = table_gpa + (((gva >> shift) & ((1u << LEVEL_BITS) - 1)) << PTE_BYTES_SHIFT);
        _Atomic uint64_t *host = mem_ram_ptr(params->mem, pte_gpa, sizeof(uint64_t));
        if (!host || !params->pte_allowed(params->opaque, pte_gpa, false))
            return WALK_ACCESS_FAULT;
        uint64_t pte = atomic_load_explicit(host, memory_order_relaxed);
    again:
        /* Step 3: invalid, or an encoding reserved for later. */
        if (!(pte & PTE_V) || is_reserved(params, pte) || upper_bits_reserved(params, pte, level))
            return WALK_PAGE_FAULT;
        global |= (pte & PTE_G) != 0;
        uint64_t next_gpa = ((pte & PTE_PPN_MASK) >> PTE_PPN_SHIFT) << MEM_PAGE_SHIFT;
        if (!(pte & (PTE_R | PTE_W | PTE_X))) {
            /* Step 4: a pointer; A, D and U are reserved in it. */
            if (pte & (PTE_A | PTE_D | PTE_U))
                return WALK_PAGE_FAULT;
            table_gpa = next_gpa;
            continue;
        }
        /* Steps 5 to 8: a leaf. */
        uint64_t in_leaf = ((1ull << shift) - 1) & ~(uint64_t)(MEM_PAGE_BYTES - 1);
        enum walk_result result = params->peek ? WALK_OK : check_access(params, pte);
        if (result != WALK_OK)
            return result;
        if (next_gpa & in_leaf)
            return WALK_PAGE_FAULT;
        uint64_t wanted = pte | PTE_A | (params->access == MEM_WRITE ? PTE_D : 0);
        if (wanted != pte && !params->peek) {
            if (!params->update_ad)
                return WALK_PAGE_FAULT;
            if (!params->pte_allowed(params->opaque, pte_gpa, true))
                return WALK_ACCESS_FAULT;
            /* Step 9: atomically, and from step 3 again if somebody changed the PTE meanwhile. */
            if (!atomic_compare_exchange_strong(host, &pte, wanted))
                goto again;
            mem_note_write(params->mem, pte_gpa, sizeof(uint64_t));
            pte = wanted;
        }
        if (pte & PTE_N) {
            in_leaf = (NAPOT_PAGES - 1) << MEM_PAGE_SHIFT;
            next_gpa &= ~in_leaf;
        }
        *leaf = (struct walk_leaf){.pte = pte, .gpa = next_gpa | (gva & in_leaf), .level = level, .global = global};
        return WALK_OK;
    }
    return WALK_PAGE_FAULT;
}
