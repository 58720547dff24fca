/* Sv39, Sv48 and Sv57 page-table walks (Privileged Architecture 1.13, sections 12.3 to 12.6, Svnapot, Svpbmt): pure in
 * their parameters but for the page table, whose A and D bits they set by compare-exchange. */
#ifndef TUFF_MEM_WALK_H
#define TUFF_MEM_WALK_H

#include "mem/mem.h"

enum mem_access { MEM_READ, MEM_WRITE, MEM_EXECUTE };

enum {
    PTE_V = 1 << 0,
    PTE_R = 1 << 1,
    PTE_W = 1 << 2,
    PTE_X = 1 << 3,
    PTE_U = 1 << 4,
    PTE_G = 1 << 5,
    PTE_A = 1 << 6,
    PTE_D = 1 << 7,
    PTE_PPN_SHIFT = 10,
};

enum walk_result {
    WALK_OK,
    WALK_PAGE_FAULT,
    WALK_ACCESS_FAULT, /* a page-table access that PMP or the memory map refuses */
};

/* What the walk needs to know of the hart. */
struct walk_params {
    struct mem *mem;
    uint64_t root_gpa; /* satp.PPN << 12 */
    unsigned levels;   /* 3 for Sv39, 4 for Sv48, 5 for Sv57 */
    bool napot;        /* PTE.N makes pages of 64 KiB (Svnapot), else it is reserved */
    bool pbmt;         /* PTE.PBMT may be 1 or 2 (Svpbmt); all memory here is coherent, so it changes nothing */
    bool shadow_pages; /* W without R and X is a page of a shadow stack (Zicfiss), else reserved */
    bool shadow;       /* the access is one of a shadow stack, which goes there only */
    bool update_ad;    /* set A and D here (Svadu); false: a clear bit is a page fault (Svade) */
    bool peek;         /* nobody's access but a debugger's look: permissions, A and D do not matter */
    bool user;         /* effective privilege is U */
    bool sum, mxr;
    enum mem_access access;
    /* Is a page-table access at `gpa` (8 bytes) allowed? PMP; `write` for A/D updates. */
    bool (*pte_allowed)(void *opaque, uint64_t gpa, bool write);
    void *opaque;
};

/* A leaf. */
struct walk_leaf {
    uint64_t pte;   /* with A, D as they are now */
    uint64_t gpa;   /* of the 4 KiB page that holds the address */
    unsigned level; /* 0: 4 KiB (or the one of 64 KiB that was asked for), 1: 2 MiB, ..., 4: 256 TiB */
    bool global;    /* G at the leaf or above it */
};

enum walk_result walk_page_table(const struct walk_params *params, uint64_t gva, struct walk_leaf *leaf);

/* Does a leaf's PTE allow this access? (A and D are not looked at.) */
bool walk_permits(uint64_t pte, enum mem_access access, bool user, bool sum, bool mxr);

#endif
