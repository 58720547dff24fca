/* Decoding, finding and dropping blocks; see block.h. All on the hart's own thread; other harts are involved only
 * through the frame protocol of mem/frame.h. */
#include "engine/interp/block.h"

#include "engine/baseline/baseline.h"
#include "engine/isa/riscv/debug.h"
#include "engine/isa/riscv/sem.h"
#include "engine/region/installed.h"
#include "engine/region/policy.h"
#include "mem/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HASH_SHIFT = 18, /* a boot of Linux decodes 70,000 blocks */ UNSURE_MAX = 8192, HUGE_PAGE_BYTES = 2 << 20 };

/* A frame that one other hart may still store to without asking; until it has done what was asked of it, FENCE.I
 * compares. */
struct unsure {
    uint32_t frame;
    uint32_t peer;   /* index in hart.peers */
    uint64_t ticket; /* the peer's fences_done must reach this */
};

struct block_cache {
    uint8_t *arena;
    size_t used;
    uint64_t generation;
    struct block **hash;
    struct block **frame_heads; /* by frame number */
    size_t frame_count;
    uint64_t stale_position;
    struct unsure *unsure;
    unsigned unsure_count;
    bool unsure_overflow; /* more than fit: FENCE.I compares everything, until all harts were asked again */
    union {
        struct block block;
        uint8_t room[sizeof(struct block) + (BLOCK_INSNS_MAX + 1) * sizeof(struct op) + BLOCK_BYTES_MAX +
                     BLOCK_TARGETS * sizeof(struct block_target) + 8];
    } scratch;
};

static void *map_zeroed(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* The same of huge pages where the host has them: the table is looked up all over, and a bucket is read before it is
 * written. Of 4 KiB pages that is two faults for each, the second of which interrupts every other processor (the page
 * of zeroes goes from its TLB): 4 ms of a hart's first 20. */
static void *map_zeroed_huge(size_t bytes)
{
    uint8_t *p = map_zeroed(bytes + HUGE_PAGE_BYTES);

    if (!p)
        return NULL;
    size_t before = -(uintptr_t)p % HUGE_PAGE_BYTES, behind = HUGE_PAGE_BYTES - before;
    if (before)
        munmap(p, before);
    if (behind)
        munmap(p + before + bytes, behind);
    (void)madvise(p + before, bytes, MADV_HUGEPAGE);
    return p + before;
}

int block_cache_create(struct hart *h, struct block_cache **out)
{
    struct block_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return -ENOMEM;
    cache->frame_count = mem_frame_count(h->mem);
    cache->arena = map_zeroed_huge(BLOCK_ARENA_BYTES);
    cache->hash = map_zeroed_huge(sizeof(*cache->hash) << HASH_SHIFT);
    cache->frame_heads = cache->frame_count ? map_zeroed(cache->frame_count * sizeof(*cache->frame_heads)) : NULL;
    cache->unsure = calloc(UNSURE_MAX, sizeof(*cache->unsure));
    cache->stale_position = mem_stale_head(h->mem);
    if (!cache->arena || !cache->hash || (cache->frame_count && !cache->frame_heads) || !cache->unsure) {
        block_cache_destroy(cache);
        return -ENOMEM;
    }
    *out = cache;
    return 0;
}

void block_cache_destroy(struct block_cache *cache)
{
    if (!cache)
        return;
    if (cache->arena)
        munmap(cache->arena, BLOCK_ARENA_BYTES);
    if (cache->hash)
        munmap(cache->hash, sizeof(*cache->hash) << HASH_SHIFT);
    if (cache->frame_heads)
        munmap(cache->frame_heads, cache->frame_count * sizeof(*cache->frame_heads));
    free(cache->unsure);
    free(cache);
}

uint64_t block_cache_generation(const struct block_cache *cache)
{
    return cache->generation;
}

static struct block **bucket(struct block_cache *cache, uint64_t gpa, uint32_t ctx)
{
    uint64_t key = (gpa >> 1) * 0x9e3779b97f4a7c15ull + ctx * 0xff51afd7ed558ccdull;

    return &cache->hash[key >> (64 - HASH_SHIFT)];
}

void block_book(struct hart *h, struct block *block)
{
    uint64_t ran = block_executions(block);
    uint64_t insns = (ran - block->booked) * block->insns;

    block->booked = ran;
    if (block->use)
        return;
    if (block->code)
        HART_COUNT(h, insns_baseline, insns);
    else
        HART_COUNT(h, insns_interp, insns);
}

void block_cache_each(struct hart *h, void (*fn)(void *opaque, struct block *block), void *opaque)
{
    for (size_t i = 0; i < (size_t)1 << HASH_SHIFT; i++) {
        for (struct block *b = h->blocks->hash[i]; b; b = b->hash_next)
            fn(opaque, b);
    }
}

static void book(void *opaque, struct block *block)
{
    block_book(opaque, block);
}

void block_cache_book(struct hart *h)
{
    block_cache_each(h, book, h);
}

void block_cache_flush(struct hart *h)
{
    struct block_cache *cache = h->blocks;

    block_cache_book(h);

    region_uninstall_all(h);
    h->mirrored_block = NULL;
    for (size_t i = 0; i < (size_t)1 << HASH_SHIFT; i++) {
        for (struct block *b = cache->hash[i]; b; b = b->hash_next)
            cache->frame_heads[b->frame] = NULL;
        cache->hash[i] = NULL;
    }
    /* The pages go back to the host; reading them again gives zeros. */
    (void)madvise(cache->arena, BLOCK_ARENA_BYTES, MADV_DONTNEED);
    cache->used = 0;
    cache->generation++;
    if (h->baseline)
        baseline_flush(h->baseline);
    tlb_flush_jumps(h->tlb);
}

static uint16_t read_u16(const uint8_t *p)
{
    /* Another hart may be storing here; a torn instruction is the guest's race, a torn host read would be ours. */
    return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
}

/* Guest code is made of 16-bit parcels. */
bool block_same_code(const uint8_t *source, const uint8_t *host, unsigned len)
{
    for (unsigned i = 0; i < len; i += 2) {
        uint16_t was;
        memcpy(&was, source + i, 2);
        if (was != read_u16(host + i))
            return false;
    }
    return true;
}

/* ---- code marks ---- */

/* Asks the harts that may store to the frame directly to stop, itself at once. */
static void take_writes_away(struct hart *h, uint32_t frame, uint64_t writers)
{
    struct block_cache *cache = h->blocks;
    uint32_t self = h->config.hart_id;

    if (writers >> self & 1) {
        tlb_drop_writes(h->tlb, mem_frame_host(h->mem, frame));
        mem_frame_drop_writer(h->mem, frame, self);
        writers &= ~(1ull << self);
    }
    if (!writers)
        return;
    struct vcpu_fence request = {.kind = VCPU_FENCE_DROP_WRITES, .start_gva = frame};
    for (uint32_t i = 0; i < h->peer_count; i++) {
        struct hart *peer = h->peers[i];
        if (peer == h || !(writers >> peer->config.hart_id & 1))
            continue;
        struct unsure entry = {.frame = frame, .peer = i, .ticket = hart_ask_fence(peer, &request)};
        if (cache->unsure_count < UNSURE_MAX)
            cache->unsure[cache->unsure_count++] = entry;
        else
            cache->unsure_overflow = true;
    }
}

static void mark_lines(struct hart *h, uint32_t frame, uint64_t lines)
{
    uint64_t writers = mem_frame_mark_code(h->mem, frame, lines);

    if (writers)
        take_writes_away(h, frame, writers);
}

void block_mark_code(struct hart *h, uint32_t frame, unsigned offset, unsigned len_bytes)
{
    mark_lines(h, frame, mem_lines(offset, len_bytes));
}

static uint64_t lines_of(const struct block *b)
{
    return mem_lines((unsigned)(b->gpa & (MEM_PAGE_BYTES - 1)), b->straddling ? 2 : b->bytes);
}

static void mark_code(struct hart *h, const struct block *b)
{
    mark_lines(h, b->frame, lines_of(b));
}

/* ---- dropping ---- */

static void unhash(struct block_cache *cache, struct block *b)
{
    struct block **at = bucket(cache, b->gpa, b->ctx);

    while (*at != b)
        at = &(*at)->hash_next;
    *at = b->hash_next;
}

/* Compares the frame's blocks with its bytes; drops those that differ. Links stay inside a page, so those of the
 * frame's blocks are all that can lead to a dropped one. Returns how many were dropped. */
static unsigned revalidate_frame(struct hart *h, uint32_t frame)
{
    struct block_cache *cache = h->blocks;
    const uint8_t *host = mem_frame_host(h->mem, frame);
    unsigned dropped = region_revalidate_frame(h, frame);
    uint64_t lines = 0;

    /* Marks first: a store after the comparison must be seen. All at once: who may store is asked once. */
    for (const struct block *b = cache->frame_heads[frame]; b; b = b->frame_next)
        lines |= lines_of(b);
    if (lines)
        mark_lines(h, frame, lines);
    for (struct block **at = &cache->frame_heads[frame]; *at;) {
        struct block *b = *at;
        unsigned offset = (unsigned)(b->gpa & (MEM_PAGE_BYTES - 1));
        if (block_same_code(block_source(b), host + offset, b->straddling ? 2 : b->bytes)) {
            at = &b->frame_next;
            continue;
        }
        *at = b->frame_next;
        region_detach(h, b);
        block_book(h, b);
        unhash(cache, b);
        dropped++;
    }
    if (dropped) {
        for (struct block *b = cache->frame_heads[frame]; b; b = b->frame_next) {
            b->link[BLOCK_FALL] = b->link[BLOCK_TAKEN] = NULL;
            baseline_unlink(h, b);
        }
        HART_COUNT(h, blocks_invalidated, dropped);
    }
    return dropped;
}

static unsigned revalidate_unsure(struct hart *h)
{
    struct block_cache *cache = h->blocks;
    unsigned dropped = 0;
    unsigned kept = 0;
    unsigned count = cache->unsure_count; /* revalidating may append */

    for (unsigned i = 0; i < count; i++) {
        struct unsure entry = cache->unsure[i];
        /* Asked before comparing: once it has settled nothing can change after the comparison unseen. */
        bool settled = hart_fence_settled(h->peers[entry.peer], entry.ticket);
        dropped += revalidate_frame(h, entry.frame);
        if (!settled)
            cache->unsure[kept++] = entry;
    }
    memmove(&cache->unsure[kept], &cache->unsure[count], (cache->unsure_count - count) * sizeof(cache->unsure[0]));
    cache->unsure_count -= count - kept;
    return dropped;
}

static unsigned revalidate_all(struct hart *h)
{
    struct block_cache *cache = h->blocks;
    unsigned dropped = 0;

    /* Regions may cover frames from which this hart has decoded no block. */
    region_uninstall_all(h);
    for (size_t frame = 0; frame < cache->frame_count; frame++) {
        if (cache->frame_heads[frame])
            dropped += revalidate_frame(h, (uint32_t)frame);
    }
    return dropped;
}

void block_cache_fence(struct hart *h)
{
    struct block_cache *cache = h->blocks;
    unsigned dropped = 0;
    uint32_t frame;
    int rc;

    if (cache->unsure_overflow) {
        /* Too many frames in doubt to name: start over, which asks again where needed. */
        cache->unsure_overflow = false;
        cache->unsure_count = 0;
        block_cache_flush(h);
    }
    while ((rc = mem_stale_next(h->mem, &cache->stale_position, &frame)) > 0)
        dropped += revalidate_frame(h, frame);
    if (rc < 0)
        dropped += revalidate_all(h);
    if (cache->unsure_count)
        dropped += revalidate_unsure(h);
    if (dropped)
        tlb_flush_jumps(h->tlb);
}

/* ---- decoding ---- */

/* Where the rounding mode of an FP instruction is known at decoding: the context has frm. False: reserved mode. */
static bool decode_rounding(uint32_t ctx, struct rv_insn *insn)
{
    unsigned frm = ctx >> CTX_FRM_SHIFT & 7;
    unsigned rm = insn->rm == RM_DYN ? frm : insn->rm;

    if (rm > RM_RMM)
        return false;
    insn->imm = SEM_RM_IMM(insn->rs3, rm == frm && rm != RM_RMM ? RM_HOST : (int)rm);
    return true;
}

/* Replaces what an instruction does by what control-flow integrity makes of it. */
static void decode_cfi(uint32_t ctx, unsigned offset, struct rv_insn *insn)
{
    enum { LPAD = 0x017, SSPUSH_X1 = 0xce104073, SSPUSH_X5 = 0xce504073, C_SSPUSH_X1 = 0x6081 };
    enum { SSPOPCHK_X1 = 0xcdc0c073, SSPOPCHK_X5 = 0xcdc2c073, C_SSPOPCHK_X5 = 0x6281, SSRDP = 0xcdc04073 };
    bool guarded = insn->rs1 == 1 || insn->rs1 == 5 || insn->rs1 == 7; /* a return, or by software */
    bool shadow = (ctx & CTX_SSE) && insn->sem != RV_SEM_illegal;
    uint16_t sem = insn->sem;

    if ((ctx & CTX_ELP) && offset == 0) {
        bool pad = insn->len_bytes == 4 && (insn->raw & 0xfff) == LPAD;
        sem = RV_SEM_landing;
        insn->imm = pad ? (int32_t)(insn->raw >> 12) : -1;
    } else if ((ctx & CTX_LPE) && sem == RV_SEM_jalr && !guarded) {
        sem = RV_SEM_jalr_expecting;
    } else if (shadow && (insn->raw == SSPUSH_X1 || insn->raw == SSPUSH_X5 || insn->raw == C_SSPUSH_X1)) {
        sem = RV_SEM_sspush;
        insn->rs2 = insn->raw == SSPUSH_X5 ? 5 : 1;
    } else if (shadow && (insn->raw == SSPOPCHK_X1 || insn->raw == SSPOPCHK_X5 || insn->raw == C_SSPOPCHK_X5)) {
        sem = RV_SEM_sspopchk;
        insn->rs1 = insn->raw == SSPOPCHK_X1 ? 1 : 5;
    } else if (shadow && (insn->raw & 0xfffff07f) == SSRDP && insn->rd) {
        sem = RV_SEM_ssrdp;
    }
    if (sem != insn->sem) {
        insn->sem = sem;
        insn->effects = RV_END;
    }
}

void block_decode_bits(isa_set isa, uint32_t ctx, uint32_t bits, unsigned offset, struct op *op, struct rv_insn *insn)
{
    rv_decode(bits, isa, insn);
    bool legal =
        !((insn->effects & RV_FP) && (ctx & CTX_FS_OFF)) && (!(insn->effects & RV_RM) || decode_rounding(ctx, insn));
    if (!legal) {
        insn->sem = RV_SEM_illegal;
        insn->effects = RV_END;
    }
    if (TUFF_UNLIKELY(ctx & (CTX_LPE | CTX_SSE)))
        decode_cfi(ctx, offset, insn);
    /* Without C a jump may be misaligned: the slow instance checks. */
    bool slow = !(isa & ISA_EXT(C)) &&
                ((insn->effects & (RV_BRANCH | RV_JUMP | RV_INDIRECT)) || insn->sem == RV_SEM_jalr_expecting);
    /* An f register 0 is one like the others. */
    bool to_x0 = insn->rd == 0 && !(rv_sem_operands(insn->sem) & RV_F_RD);
    *op = (struct op){
        .run = interp_handler(insn->sem, slow),
        .imm = insn->imm,
        .rd = to_x0 ? RV_X_SINK : insn->rd,
        .rs1 = insn->rs1,
        .rs2 = insn->rs2,
        .place = (uint8_t)(offset / 2 | (insn->len_bytes == 4 ? 128 : 0)),
    };
}

/* Decodes the code at `pc` from `host` into `b`, whose context is set; second_page is where the page after it lies for
 * an instruction that straddles, or NULL. `b` has room for max_insns. */
static void decode_block(struct hart *h, struct block *b, uint64_t pc, const uint8_t *host, uint32_t max_insns,
                         const uint8_t *second_page)
{
    unsigned room = MEM_PAGE_BYTES - (unsigned)((uint64_t)host & (MEM_PAGE_BYTES - 1));
    unsigned offset = 0;
    uint8_t source[BLOCK_BYTES_MAX];
    struct rv_insn insn = {0};
    bool points = b->ctx >> CTX_POINTS_SHIFT;

    b->insns = 0;
    b->stops = points && debug_point_at(h, pc);
    if (b->stops)
        max_insns = 1;
    do {
        if (points && offset && debug_point_at(h, pc + offset))
            break;
        uint32_t bits = read_u16(host + offset);
        unsigned len = rv_insn_len_bytes((uint16_t)bits);
        if (len > room - offset) {
            if (!second_page)
                break; /* the straddling instruction is the next block */
            bits |= (uint32_t)read_u16(second_page) << 16;
        } else if (len == 4) {
            bits |= (uint32_t)read_u16(host + offset + 2) << 16;
        }
        block_decode_bits(h->isa, h->ctx, bits, offset, &b->ops[b->insns++], &insn);
        memcpy(source + offset, &bits, len);
        offset += len;
    } while (offset < room && b->insns < max_insns && !(insn.effects & (RV_BRANCH | RV_JUMP | RV_INDIRECT | RV_END)) &&
             insn.sem != RV_SEM_illegal);
    if (b->stops)
        b->ops[0].run = interp_point_handler();
    b->ops[b->insns] = (struct op){.run = interp_end_handler()};
    b->bytes = (uint16_t)offset;
    memcpy(block_source(b), source, offset);
    b->indirect = NULL;
    if (insn.effects & RV_INDIRECT) {
        b->indirect = (struct block_target *)(((uintptr_t)block_source(b) + offset + 7) & ~(uintptr_t)7);
        memset(b->indirect, 0, BLOCK_TARGETS * sizeof(b->indirect[0]));
    }
}

static size_t block_bytes(const struct block *b)
{
    const uint8_t *end = b->indirect ? (const uint8_t *)(b->indirect + BLOCK_TARGETS) : block_source(b) + b->bytes;

    return (size_t)(end - (const uint8_t *)b);
}

/* The second page's bytes for an instruction at `pc` that straddles; *second stays NULL when it does not. False: fetch
 * fault there. */
static bool find_second_page(struct hart *h, uint64_t pc, const uint8_t *host, const uint8_t **second)
{
    *second = NULL;
    if ((pc & (MEM_PAGE_BYTES - 1)) != MEM_PAGE_BYTES - 2 || rv_insn_len_bytes(read_u16(host)) == 2)
        return true;
    return mmu_fetch(h, pc + 2, second);
}

static struct block *find(struct block_cache *cache, uint64_t gpa, uint32_t ctx)
{
    for (struct block *b = *bucket(cache, gpa, ctx); b; b = b->hash_next) {
        if (b->gpa == gpa && b->ctx == ctx)
            return b;
    }
    return NULL;
}

struct block *block_find(struct hart *h, uint64_t gpa, uint32_t ctx)
{
    return find(h->blocks, gpa, ctx);
}

struct block *block_peek(struct hart *h, uint64_t pc)
{
    const uint8_t *host;

    if (debug_page_is_watched(h, pc, VCPU_POINT_EXECUTE))
        return NULL;
    return mmu_fetch(h, pc, &host) ? find(h->blocks, mem_host_to_gpa(h->mem, host), h->ctx) : NULL;
}

void block_decode_insn(const struct hart *h, const struct block *block, uint32_t index, struct rv_insn *insn,
                       struct op *op)
{
    uint64_t offset = op_offset(&block->ops[index]);
    uint32_t bits = 0;

    memcpy(&bits, block_source(block) + offset, op_len_bytes(&block->ops[index]));
    block_decode_bits(h->isa, h->ctx, bits, (unsigned)offset, op, insn);
}

static struct block *build(struct hart *h, uint64_t pc, uint32_t ctx, const uint8_t *host, const uint8_t *second)
{
    struct block_cache *cache = h->blocks;
    uint64_t gpa = mem_host_to_gpa(h->mem, host);
    size_t most = sizeof(cache->scratch.room);

    if (cache->used + most > BLOCK_ARENA_BYTES)
        block_cache_flush(h);
    struct block *b = (struct block *)(cache->arena + cache->used);
    memset(b, 0, sizeof(*b));
    b->ctx = ctx;
    b->gva = pc;
    b->gpa = gpa;
    b->frame = mem_frame_of(h->mem, host);
    b->straddling = second != NULL;
    /* The lines are marked before they are read: a store between the two is seen. How many there will be is not known
     * yet; marking too many costs a comparison at FENCE.I. */
    unsigned room = MEM_PAGE_BYTES - (unsigned)(gpa & (MEM_PAGE_BYTES - 1));
    b->bytes = (uint16_t)(room < 64 ? room : 64);
    mark_code(h, b);
    decode_block(h, b, pc, host, BLOCK_INSNS_MAX, second);
    if (!b->straddling && b->bytes > 64) {
        mark_code(h, b);
        decode_block(h, b, pc, host, BLOCK_INSNS_MAX, second);
    }
    cache->used += (block_bytes(b) + 15) & ~(size_t)15;
    struct block **head = bucket(cache, gpa, ctx);
    b->hash_next = *head;
    *head = b;
    b->frame_next = cache->frame_heads[b->frame];
    cache->frame_heads[b->frame] = b;
    HART_COUNT(h, blocks_decoded, 1);
    region_offer(h, b, pc);
    return b;
}

static void forget(struct hart *h, struct block *b)
{
    struct block_cache *cache = h->blocks;
    struct block **at = &cache->frame_heads[b->frame];

    while (*at != b)
        at = &(*at)->frame_next;
    *at = b->frame_next;
    region_detach(h, b);
    block_book(h, b);
    unhash(cache, b);
}

struct block *block_lookup(struct hart *h, uint64_t pc)
{
    const uint8_t *host, *second;

    HART_COUNT(h, block_lookups, 1);
    if (!mmu_fetch(h, pc, &host) || !find_second_page(h, pc, host, &second))
        return NULL;
    uint64_t gpa = mem_host_to_gpa(h->mem, host);
    uint32_t ctx = debug_block_context(h, pc);
    struct block *b = find(h->blocks, gpa, ctx);
    if (b && b->straddling) {
        if (!second || !block_same_code(block_source(b) + 2, second, 2)) {
            forget(h, b);
            b = NULL;
        }
    }
    if (!b)
        b = build(h, pc, ctx, host, second);
    /* Only while there is an execute entry: then the flushes that end the translation find the bank. */
    if (!b->straddling && ctx == h->ctx && h->exec_bank->entries[tlb_index(pc)].tag_execute == (pc & TLB_PAGE_MASK))
        tlb_set_jump(h->exec_bank, pc, b);
    return b;
}

static struct block *partial(struct hart *h, uint64_t pc, uint32_t insns, uint32_t ctx)
{
    struct block *b = &h->blocks->scratch.block;
    const uint8_t *host, *second;

    if (!mmu_fetch(h, pc, &host) || !find_second_page(h, pc, host, &second))
        return NULL;
    memset(b, 0, sizeof(*b));
    b->ctx = ctx;
    b->gpa = mem_host_to_gpa(h->mem, host);
    b->frame = mem_frame_of(h->mem, host);
    b->straddling = true; /* never linked */
    decode_block(h, b, pc, host, insns < BLOCK_INSNS_MAX ? insns : BLOCK_INSNS_MAX, second);
    return b;
}

struct block *block_partial(struct hart *h, uint64_t pc, uint32_t insns)
{
    return partial(h, pc, insns, debug_block_context(h, pc));
}

struct block *block_past_point(struct hart *h, uint64_t pc)
{
    return partial(h, pc, 1, h->ctx);
}
