/* A region: a connected piece of guest control flow that a compiling tier turns into one host function.
 *
 * It is described apart from any hart: instructions as decoded under one translation context, their bytes, the pages
 * they lie on, and what the profile said when it was chosen. Addresses are offsets from the region's base, which is the
 * page of its first entry, so the same code serves every virtual address its pages are mapped at. The description does
 * not change once it was given to a tier; what is declared after it does. When the tier is done, `insns` and `blocks`
 * are freed: they are larger than the code.
 */
#ifndef TUFF_ENGINE_REGION_REGION_H
#define TUFF_ENGINE_REGION_REGION_H

#include "engine/interp/block.h"

enum {
    REGION_BLOCKS_MAX = 512,
    REGION_PAGES_MAX = 12,
    REGION_ENTRIES_MAX = 12,
    REGION_TARGETS_MAX = 16, /* guarded targets of one indirect jump */
    REGION_NONE = 0xffff,
    REGION_DIGEST_BYTES = 32, /* as the store's */
    /* Instructions between two looks at whether somebody wants attention: some 5 us, in which a look costs 10 ns. */
    REGION_POLL_INSNS = 16384,
};

struct region_insn {
    int32_t imm;
    int32_t offset; /* of its address from the base */
    uint32_t raw;   /* its encoding, for people */
    uint16_t sem;   /* enum rv_sem */
    uint8_t rd, rs1, rs2, len_bytes;
};

enum region_end {
    REGION_END_FALL,     /* goes on at `end` */
    REGION_END_BRANCH,   /* last instruction is conditional */
    REGION_END_JUMP,     /* last instruction is direct and unconditional */
    REGION_END_INDIRECT, /* last instruction takes its target from a register */
    REGION_END_EXIT,     /* the instruction at `end` is for the interpreter */
};

struct region_edge {
    int32_t offset;  /* of the target from the base */
    uint16_t target; /* block, or REGION_NONE: leaves the region */
    bool back;       /* closes a cycle: its target looks at attention and budget */
    uint64_t count;  /* times taken, by the profile */
};

struct region_block {
    uint32_t first_insn, insns;
    int32_t start, end; /* offsets from the base */
    enum region_end ends;
    bool cut;       /* the interpreter's block of this address goes on after `end` */
    uint16_t entry; /* number of the entry it is, or REGION_NONE */
    uint8_t targets;
    uint32_t longest; /* instructions on the longest path from here that closes no cycle, this block's included */
    uint64_t executions;
    struct region_edge fall, taken;                  /* `taken` of a jump too */
    struct region_edge indirect[REGION_TARGETS_MAX]; /* the first `targets` are guarded */
};

struct region_page {
    int32_t delta; /* pages from the base's */
    uint32_t frame;
};

/* Guest bytes that the region stands for, inside one page. */
struct region_span {
    uint16_t page; /* index of pages */
    uint16_t offset, len_bytes;
    uint32_t bytes; /* index of region.bytes */
};

/* Where compiled code holds a guest register when it calls region_exit(). */
enum region_place { REGION_IN_REGISTER, REGION_IN_MEMORY, REGION_CONSTANT };

struct region_value {
    uint8_t place;  /* enum region_place */
    uint8_t host;   /* DWARF number of the register, or of the base */
    int64_t number; /* offset from the base, or the constant */
};

/* One such call: guest registers that differ from the hart's, x and f ascending. */
struct region_exit {
    uint32_t offset; /* of the return address from the code */
    uint32_t x, f;
    uint32_t first_value;
};

/* An access through the mirror: where to go on when it faults; offsets from the code. */
struct region_fault {
    uint32_t offset, resume;
};

enum region_state { REGION_QUEUED, REGION_COMPILING, REGION_READY, REGION_FAILED };

struct region {
    uint32_t id;
    uint32_t ctx;
    isa_set isa;
    bool sees_flags;            /* an instruction reads or writes the accrued FP flags */
    bool alone;                 /* the machine has one hart: nobody else holds reservations */
    uint64_t gva;               /* where the base was when it was chosen: for people */
    bool mirrored;              /* loads and stores go through the address space's mirror: user code */
    uint8_t level;              /* 0: quick, 1: with the whole pipeline */
    struct known_region *known; /* of an earlier run: only its code is wanted; NULL: chosen in this one */
    bool planted;               /* to be miscompiled: --jit-plant */
    uint32_t insn_count, block_count, page_count, span_count, byte_count, entry_count;
    struct region_insn *insns;
    struct region_block *blocks;
    struct region_span *spans;
    uint8_t *bytes;
    struct region_page pages[REGION_PAGES_MAX];
    uint16_t entry_block[REGION_ENTRIES_MAX];
    int32_t entry_offset[REGION_ENTRIES_MAX]; /* of the entries' first instructions from the base */
    uint8_t digest[REGION_DIGEST_BYTES];      /* of the shape, where there is a store */
    bool has_digest;
    bool stored;       /* the code is from the store */
    bool rejected;     /* what the store had was not to be used */
    uint64_t saved_us; /* with a store: what its compile took, in this run or an earlier one */

    _Atomic uint64_t entries; /* times it was entered, as far as harts have told */
    _Atomic bool retired;     /* nobody finds it any more: harts take it out */
    _Atomic uint32_t ticks;   /* times it was left because somebody wanted attention: a sample of where time goes */
    _Atomic uint32_t demand;  /* times its blocks became hot again while it waited: what is compiled first */
    _Atomic int state;        /* enum region_state; what follows belongs to the tier until it is READY or FAILED */
    op_fn *code;
    void *tier_data;
    size_t code_bytes;
    struct region_exit *exits; /* by offset */
    struct region_value *values;
    uint32_t exit_count;
    struct region_fault *faults; /* by offset */
    uint32_t fault_count;
    uint64_t compile_ns;
    uint32_t ir_built, ir_optimised; /* LLVM's instructions before and after the passes */
    const char *failure;             /* static string; NULL where it FAILED: not tried, since the machine ended */

    /* under the region cache's lock */
    uint32_t references;
    bool listed; /* can be found by its entries */
    struct hart *requester;
    struct region_row *row; /* its statistics; NULL: none kept */
    struct region *next_ready, *next_pending, *next_gone;
    /* of struct region_keep */
    struct region *kept_older, *kept_newer;
    bool kept;
    uint32_t kept_round, used_round;
    uint64_t use_seen, warmth;
};

/* A block's edges: 0 is `taken`, 1 `fall` (whose targets may be REGION_NONE), then the guarded ones; NULL after the
 * last. */
static inline const struct region_edge *region_edge(const struct region_block *block, unsigned number)
{
    if (number < 2)
        return number ? &block->fall : &block->taken;
    return number - 2u < block->targets ? &block->indirect[number - 2] : NULL;
}

/* Where its first instruction was when it was chosen: for people. */
static inline uint64_t region_gva(const struct region *region)
{
    return region->gva + (uint64_t)(int64_t)region->entry_offset[0];
}

static inline struct region_insn region_insn_of(const struct rv_insn *insn, const struct op *op, int32_t offset)
{
    return (struct region_insn){
        .imm = op->imm,
        .offset = offset,
        .raw = insn->raw,
        .sem = insn->sem,
        .rd = op->rd,
        .rs1 = op->rs1,
        .rs2 = op->rs2,
        .len_bytes = insn->len_bytes,
    };
}

/* How many values the exit's registers are. */
static inline unsigned region_exit_values(const struct region_exit *exit)
{
    return (unsigned)(__builtin_popcount(exit->x) + __builtin_popcount(exit->f));
}

/* Frees the tables that belong to its code. */
void region_forget_code(struct region *region);
/* Frees the description. */
void region_free(struct region *region);

/* Chooses a region around the hot block `seed` at `pc`: at most max_insns instructions. NULL: nothing worth it, or out
 * of memory. The hart's own thread. */
struct region *region_select(struct hart *h, struct block *seed, uint64_t pc, uint32_t max_insns, uint32_t cold_share);

/* What compiled code calls where it cannot go on by itself. All keep every register, vector ones included (calling
 * convention preserve_all); region_exit() knows from the table of exits where the values are; slow.c has them.
 *
 * region_slow(h, place, numbers, base): the slow instance of a semantic body. Its operands are in the hart, its result
 * is left there. `place` packs sem | rd << 16 | rs1 << 24 | rs2 << 32 | len_bytes << 40, `numbers` the immediate and,
 * from bit 32, the instruction's offset from the region's base. Returns enum sem_next; anything but SEM_NEXT means that
 * it traps or needs a device, and has changed nothing.
 *
 * region_exit(h, left, base, offset, block): brings the hart up to date for interp_go() or interp_past() to base +
 * offset. Addresses come in two parts so that regions need not compute and keep one for each place.
 *
 * region_reach(h, gva, what): makes the page of `gva` the base page of a register (hart.base_page), if the software TLB
 * has it for an aligned access; `what` packs its size in bytes | stores << 8 | register << 16. Walks nothing.
 *
 * region_poll(h, left, reserve): a new portion of the grant for a region whose count has become negative; `left` itself
 * when somebody wants attention or the grant has less than `reserve` instructions left. What the region counts is the
 * rest of a portion less `reserve`; that and hart.region_rest add up to what is left of the grant.
 *
 * region_forget_pages(h): no register has a base page. For an entry that finds another stamp than it was left with. */
PRESERVE_ALL bool region_reach(struct hart *h, uint64_t gva, uint64_t what);
PRESERVE_ALL int32_t region_poll(struct hart *h, int32_t left, int32_t reserve);
PRESERVE_ALL void region_forget_pages(struct hart *h);
PRESERVE_ALL uint64_t region_slow(struct hart *h, uint64_t place, uint64_t numbers, uint64_t base);
void region_exit(void);

#endif
