/* Decoded blocks: what the interpreter runs, and how they are found, kept and dropped.
 *
 * A block is a straight piece of guest code inside one page of one RAM frame, decoded under one translation context. It
 * is found by physical address, so it serves every address space and virtual alias of its frame; the guest pc is a
 * parameter of running it. Each hart has its own blocks: decoding costs some ten nanoseconds an instruction, sharing
 * would cost a lock or an epoch at every look-up. An instruction that straddles two pages is a block by itself
 * ("straddling"): it is looked up again and compared with the bytes of the second page at each entry, since that page's
 * mapping may change alone.
 */
#ifndef TUFF_ENGINE_INTERP_BLOCK_H
#define TUFF_ENGINE_INTERP_BLOCK_H

#include "engine/isa/riscv/hart.h"

enum {
    BLOCK_INSNS_MAX = 64,
    BLOCK_BYTES_MAX = 4 * BLOCK_INSNS_MAX,
    BLOCK_ARENA_BYTES = 192 << 20, /* decoded blocks a hart keeps; full means starting over */
};

struct op;
struct block;

/* Calling conventions of the interpreter and of what generated code calls; clang knows them for hosts that can have
 * these, and no others. */
#if defined(__x86_64__) || defined(__aarch64__)
#define PRESERVE_NONE __attribute__((preserve_none))
#define PRESERVE_ALL __attribute__((preserve_all))
#else
#define PRESERVE_NONE
#define PRESERVE_ALL
#endif

/* Runs one op and then the following by a tail call. `pc` is the block's address. */
typedef void PRESERVE_NONE op_fn(struct hart *h, const struct op *op, uint64_t pc, struct block *block);

/* One decoded instruction, 16 bytes. */
struct op {
    op_fn *run;
    int32_t imm;
    uint8_t rd, rs1, rs2;
    uint8_t place; /* offset in the block / 2, and in bit 7 whether it is 4 bytes long */
};
_Static_assert(sizeof(struct op) == 16, "four ops a cache line");

static inline uint64_t op_offset(const struct op *op)
{
    return 2ull * (op->place & 127);
}

static inline uint64_t op_len_bytes(const struct op *op)
{
    return 2 + 2 * (op->place >> 7);
}

enum { BLOCK_FALL, BLOCK_TAKEN };

struct region_use;

enum { BLOCK_TARGETS = 12 };

struct block_target {
    uint64_t pc;
    uint32_t count; /* 0: free */
};

struct block {
    uint32_t insns;
    uint32_t ctx;
    struct block *link[2]; /* successors on the same page, by BLOCK_FALL and BLOCK_TAKEN; NULL: look up */
    /* profile */
    uint32_t heat; /* executions left until somebody looks at the profile; counts down, so that zero costs no compare */
    uint32_t region_entry; /* which entry of its region this block is, when `use` is set; read by generated code */
    uint64_t heat_given;   /* executions = heat_given - heat */
    uint64_t taken;
    struct block_target *indirect; /* where its indirect jump went, about the most frequent first; NULL: it has none */
    uint32_t mmio;                 /* slow accesses of this block that met a device */

    struct block *hash_next; /* beside what is compared: a hop is one cache line */
    uint64_t gpa;
    uint64_t gva; /* where it was when it was decoded */
    uint32_t frame;
    uint16_t bytes;
    bool straddling;
    bool stops; /* its one instruction has a point (engine/isa/riscv/debug.h): ops[0].run asks about it */
    /* compiled code */
    struct region_use *use;             /* ops[0].run enters this region; NULL: the handler of the first op */
    op_fn *saved_run;                   /* that handler */
    uint64_t checked_pc, checked_stamp; /* where, and in which state of the bank, the region's pages were looked up */
    uint8_t known_tries;                /* how often a region of an earlier run was looked for in vain */
    uint32_t pending;                   /* number of the last region that was to contain this block */
    uint32_t code;                      /* its baseline code: where in the arena; 0: none */
    uint64_t booked;                    /* executions that block_book() has counted */
    uint64_t entered;                   /* executions that were entries of a region, as far as they are counted */
    struct block *frame_next;
    /* insns of them, an end marker, `bytes` source bytes, and BLOCK_TARGETS targets where it has them */
    struct op ops[];
};

static inline uint64_t block_executions(const struct block *block)
{
    return block->heat_given - block->heat;
}

/* Lets the block run `executions` more times before region_hot() is called again. */
static inline void block_reheat(struct block *block, uint32_t executions)
{
    block->heat_given += executions - (uint64_t)block->heat;
    block->heat = executions;
}

static inline uint8_t *block_source(const struct block *block)
{
    return (uint8_t *)&block->ops[block->insns + 1];
}

struct block_cache;

int block_cache_create(struct hart *h, struct block_cache **out) TUFF_MUST_CHECK;
void block_cache_destroy(struct block_cache *cache);

/* Counts up when all blocks were thrown away: pointers from before are dead. */
uint64_t block_cache_generation(const struct block_cache *cache);

/* The block at `pc`, decoded if need be, entered in the jump cache where it may be. NULL: h->trap is filled (fetch
 * fault at h->trap.tval). */
struct block *block_lookup(struct hart *h, uint64_t pc);

/* Decodes exactly `insns` instructions at most into the cache's scratch block, which is valid until the next call: the
 * rest of a budget. NULL as above. */
struct block *block_partial(struct hart *h, uint64_t pc, uint32_t insns);
/* The same for the one instruction at `pc`, without asking about points on it. */
struct block *block_past_point(struct hart *h, uint64_t pc);

/* The decoded block at `pc`, if there is one and its page is mapped. */
struct block *block_peek(struct hart *h, uint64_t pc);
struct block *block_find(struct hart *h, uint64_t gpa, uint32_t ctx);
/* One instruction of a block again, with what its row says. */
void block_decode_insn(const struct hart *h, const struct block *block, uint32_t index, struct rv_insn *insn,
                       struct op *op);
/* The same of any bits under an ISA and a context, at `offset` bytes from the block's start. */
void block_decode_bits(isa_set isa, uint32_t ctx, uint32_t bits, unsigned offset, struct op *op, struct rv_insn *insn);
/* Marks guest code that will be run from [offset, offset + len_bytes) of a frame: whoever stores there is noticed.
 * Marks come before the bytes are read. */
void block_mark_code(struct hart *h, uint32_t frame, unsigned offset, unsigned len_bytes);
/* Are these still the bytes there? */
bool block_same_code(const uint8_t *source, const uint8_t *host, unsigned len);

/* FENCE.I: blocks whose bytes changed are dropped. */
void block_cache_fence(struct hart *h);
/* All blocks are dropped: ISA or state changed under them. */
void block_cache_flush(struct hart *h);

/* Adds what the block ran since the last time to the counts of the tier that runs it now: before that changes. Runs of
 * a region are not its entry's. */
void block_book(struct hart *h, struct block *block);
/* The same for all blocks. */
void block_cache_book(struct hart *h);

/* Each decoded block, in no order. */
void block_cache_each(struct hart *h, void (*fn)(void *opaque, struct block *block), void *opaque);

/* The handler of a semantic body, and of the end of a block that just goes on (interp.c). */
op_fn *interp_handler(unsigned sem, bool slow);
op_fn *interp_end_handler(void);
/* Of a block that stops. */
op_fn *interp_point_handler(void);
/* What a region with several pages is entered through. */
op_fn *interp_region_handler(void);

#endif
