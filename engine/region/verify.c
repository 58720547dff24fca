/* Comparing regions with the interpreter; see verify.h. Everything here is on the hart's own thread. */
#include "engine/region/verify.h"

#include "base/log.h"
#include "engine/interp/interp.h"
#include "engine/isa/riscv/fp_flags.h"
#include "engine/isa/riscv/system.h"
#include "engine/region/installed.h"
#include "mem/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OP_PARAMS struct hart *h, const struct op *op, uint64_t pc, struct block *block
#define TAIL __attribute__((musttail)) return

enum {
    /* Instructions of a stretch, more or less: a loop is left at its next turn. More than the longest path through a
     * region (the largest region_insns), so that none declines because of it. */
    STRETCH_INSNS = 16384,
    PAGES_MAX = 1024, /* that a region may store to; the replay gets as many again */
    REPORT_BYTES = 8192,
    REPORT_WORDS = 8, /* of memory that are listed */
};

enum phase { IDLE, IN_REGION, IN_REPLAY };
enum left { LEFT_GO, LEFT_PAST, LEFT_DECLINED };

/* What a stretch starts from and what it comes to. */
enum { TRAP_REGISTERS = CSR_STVAL - CSR_SSCRATCH + 1 };

struct snapshot {
    struct rv_regs r;
    uint64_t pc;
    uint64_t reserved_granule, reserved_value, reserved_gpa;
    uint8_t reserved_bytes;
    uint8_t fflags;
    uint64_t trap[TRAP_REGISTERS];
};

struct page {
    uint8_t *host;
    uint8_t before[MEM_PAGE_BYTES], after[MEM_PAGE_BYTES]; /* of the region's run */
};

struct verify {
    const struct tier_config *config;
    struct tier_counters *counters;
    uint32_t until; /* entries to the next comparison */
    enum phase phase;
    enum left left;
    struct page *pages;
    uint32_t page_count, page_room;
    const char *unfit; /* why the stretch cannot be replayed */
    const char *stray; /* what the interpreter was about to do that the region has not done */
    bool clears_flags; /* both runs start with none */
    bool trapped;
    struct trap trap; /* of the replay */
    uint32_t refunded;
    /* of the stretch */
    struct snapshot start, by_region, by_interp;
    uint64_t retired, insns, replayed;
    uint32_t grant_rest; /* what was cut off the grant */
    uint32_t region_id, region_level;
    struct block stop; /* successor of every block of a replay: one that no budget covers */
};

int verify_create(const struct hart *h, const struct tier_config *config, struct tier_counters *counters,
                  struct verify **out)
{
    if (h->config.hart_count > 1)
        return -EINVAL;
    struct verify *v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->pages = calloc(2 * (size_t)PAGES_MAX, sizeof(*v->pages));
    if (!v->pages) {
        free(v);
        return -ENOMEM;
    }
    v->config = config;
    v->counters = counters;
    v->until = 1;
    v->stop.insns = 1;
    *out = v;
    return 0;
}

void verify_destroy(struct verify *verify)
{
    if (!verify)
        return;
    free(verify->pages);
    free(verify);
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- what the stretch does to memory ---- */

static bool note_page(struct verify *v, uint8_t *host)
{
    uint8_t *start = (uint8_t *)((uint64_t)host & TLB_PAGE_MASK);

    for (uint32_t i = v->page_count; i-- > 0;) {
        if (v->pages[i].host == start)
            return true;
    }
    if (v->page_count == v->page_room)
        return false;
    struct page *page = &v->pages[v->page_count++];
    page->host = start;
    memcpy(page->before, start, MEM_PAGE_BYTES);
    /* A page that only the replay stores to. */
    if (v->phase == IN_REPLAY)
        memcpy(page->after, start, MEM_PAGE_BYTES);
    return true;
}

/* In a region everything may happen, but the stretch is unfit for a replay; a replay stops. */
static bool refuse(struct verify *v, const char *unfit, const char *stray)
{
    if (v->phase == IN_REGION) {
        v->unfit = unfit;
        return true;
    }
    if (!v->stray)
        v->stray = stray;
    return false;
}

bool verify_store(struct hart *h, uint8_t *host)
{
    struct verify *v = h->verify;

    if (v->phase == IDLE)
        return true;
    if (mem_frame_is_watched(h->mem, mem_frame_of(h->mem, host)))
        return refuse(v, "a page that a device looks at", "stores to a page that a device looks at");
    return note_page(v, host) || refuse(v, "too many pages", "stores to many more pages");
}

bool verify_walk_update(struct hart *h)
{
    struct verify *v = h->verify;

    if (v->phase == IDLE)
        return true;
    v->unfit = "A or D bits";
    return v->phase == IN_REGION;
}

/* Direct stores end, so that each page's first one is seen. Only the current bank is stored through: no instruction of
 * a region changes it. */
static void drop_write_entries(struct hart *h)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        h->bank->entries[i].tag_write = TLB_TAG_NONE;
    h->base_page_stamp = 0;
}

/* Keeps what the region has made of the pages, and takes it back. */
static void take_back_stores(struct verify *v)
{
    for (uint32_t i = 0; i < v->page_count; i++) {
        struct page *page = &v->pages[i];
        memcpy(page->after, page->host, MEM_PAGE_BYTES);
        memcpy(page->host, page->before, MEM_PAGE_BYTES);
    }
}

static void repeat_stores(struct verify *v)
{
    for (uint32_t i = 0; i < v->page_count; i++)
        memcpy(v->pages[i].host, v->pages[i].after, MEM_PAGE_BYTES);
}

/* ---- what it does to the hart ---- */

static void take_snapshot(struct hart *h, struct snapshot *s)
{
    *s = (struct snapshot){
        .r = h->r,
        .pc = h->pc,
        .reserved_granule = atomic_load(&mem_reservations(h->mem)->hart[h->config.hart_id].granule),
        .reserved_value = h->reserved_value,
        .reserved_gpa = h->reserved_gpa,
        .reserved_bytes = h->reserved_bytes,
        .fflags = fp_read_flags(h),
    };
    memcpy(s->trap, csr_trap_register(h, CSR_SSCRATCH), sizeof(s->trap));
}

static void restore_snapshot(struct hart *h, const struct snapshot *s)
{
    struct mem_reservations *r = mem_reservations(h->mem);

    h->r = s->r;
    h->pc = s->pc;
    if (s->reserved_granule)
        reservation_set(r, h->config.hart_id, s->reserved_granule >> 1 << RESERVATION_GRANULE_SHIFT);
    else
        reservation_clear(r, h->config.hart_id);
    h->reserved_value = s->reserved_value;
    h->reserved_gpa = s->reserved_gpa;
    h->reserved_bytes = s->reserved_bytes;
    fp_write_flags(h, s->fflags);
    memcpy(csr_trap_register(h, CSR_SSCRATCH), s->trap, sizeof(s->trap));
}

/* The region's block is charged already. Flags are cleared where the region cannot tell, so that one that is not raised
 * is seen. */
static void begin(struct hart *h, const struct block *block, uint64_t pc)
{
    struct verify *v = h->verify;
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed);
    uint64_t retired = hart_retired(h);

    v->region_id = block->use->region->id;
    v->region_level = block->use->region->level;
    v->retired = retired - block->insns;
    v->grant_rest = left > STRETCH_INSNS ? left - STRETCH_INSNS : 0;
    hart_set_grant(h, retired, left - v->grant_rest);
    take_snapshot(h, &v->start);
    v->start.pc = pc;
    v->clears_flags = !block->use->region->sees_flags;
    if (v->clears_flags)
        fp_write_flags(h, 0);
    v->page_count = 0;
    v->page_room = PAGES_MAX;
    v->unfit = region_same_bytes(h, block->use->region) ? NULL : "changed code";
    drop_write_entries(h);
    v->phase = IN_REGION;
}

/* ---- the replay ---- */

bool verify_trapped(struct hart *h, uint64_t pc)
{
    struct verify *v = h->verify;

    if (v->phase != IN_REPLAY)
        return false;
    if (!v->trapped) {
        v->trapped = true;
        v->trap = h->trap;
        v->refunded = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed);
    }
    h->pc = pc;
    /* Nothing is left, so the next block is not entered. */
    atomic_store_explicit(&h->countdown.insns, 0, memory_order_relaxed);
    return true;
}

/* A block of at most `insns` instructions at h->pc, without one that regions do not contain: those have effects that
 * cannot be taken back. NULL: there is none; the replay is over. */
static struct block *replay_block(struct hart *h, uint32_t insns)
{
    struct verify *v = h->verify;
    struct rv_insn last;
    struct op op;
    struct block *b = block_partial(h, h->pc, insns);

    if (b) {
        block_decode_insn(h, b, b->insns - 1, &last, &op);
        if (!(last.effects & RV_END))
            return b;
        if (b->insns > 1)
            return block_partial(h, h->pc, b->insns - 1);
        v->stray = "comes to an instruction that no region contains";
        return NULL;
    }
    v->trapped = true;
    v->trap = h->trap;
    return NULL;
}

/* Interprets at most `insns` instructions and returns how many have retired. */
static uint32_t replay_some(struct hart *h, uint64_t insns)
{
    struct verify *v = h->verify;
    struct block *b = replay_block(h, insns < BLOCK_INSNS_MAX ? (uint32_t)insns : BLOCK_INSNS_MAX);

    if (!b)
        return 0;
    uint32_t charged = b->insns;
    b->link[BLOCK_FALL] = b->link[BLOCK_TAKEN] = &v->stop;
    v->refunded = 0;
    atomic_store_explicit(&h->countdown.insns, 0, memory_order_relaxed);
    b->ops[0].run(h, b->ops, h->pc, b);
    return charged - v->refunded;
}

/* From the start of the stretch, as many instructions as the region retired. */
static void replay(struct hart *h)
{
    struct verify *v = h->verify;
    bool stop = h->stop;
    enum vcpu_exit exit = h->exit;

    restore_snapshot(h, &v->start);
    if (v->clears_flags)
        fp_write_flags(h, 0);
    drop_write_entries(h);
    v->page_room = v->page_count + PAGES_MAX;
    v->stray = NULL;
    v->trapped = false;
    v->trap = (struct trap){0};
    v->replayed = 0;
    v->phase = IN_REPLAY;
    h->ram_only = true;
    /* Until the count is right again, nobody is to read it. */
    atomic_store_explicit(&h->grant_end, HART_GRANT_CHANGES, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    while (v->replayed < v->insns && !v->trapped && !v->stray)
        v->replayed += replay_some(h, v->insns - v->replayed);
    h->ram_only = false;
    v->phase = IDLE;
    h->stop = stop;
    h->exit = exit;
    take_snapshot(h, &v->by_interp);
}

/* ---- the comparison ---- */

struct report {
    char text[REPORT_BYTES];
    size_t len;
    bool differs;
};

static TUFF_PRINTF(2, 3) void add(struct report *report, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(report->text + report->len, sizeof(report->text) - report->len, format, args);
    va_end(args);
    if (len > 0 && (size_t)len < sizeof(report->text) - report->len)
        report->len += (size_t)len;
    else
        report->text[report->len] = '\0';
}

static void compare(struct report *report, const char *name, uint64_t region, uint64_t interp)
{
    if (region == interp)
        return;
    report->differs = true;
    add(report, "  %s: region %#" PRIx64 ", interpreter %#" PRIx64 "\n", name, region, interp);
}

static void compare_registers(struct report *report, const struct rv_regs *region, const struct rv_regs *interp)
{
    char name[16];

    for (unsigned i = 0; i < 32; i++) {
        (void)snprintf(name, sizeof(name), "%s (x%u)", rv_x_name(i), i);
        compare(report, name, region->x[i], interp->x[i]);
    }
    for (unsigned i = 0; i < 32; i++) {
        (void)snprintf(name, sizeof(name), "%s (f%u)", rv_f_name(i), i);
        compare(report, name, region->f[i], interp->f[i]);
    }
}

static void compare_memory(struct hart *h, struct report *report)
{
    const struct verify *v = h->verify;
    unsigned words = 0;

    for (uint32_t i = 0; i < v->page_count; i++) {
        const struct page *page = &v->pages[i];
        for (unsigned at = 0; at < MEM_PAGE_BYTES; at += sizeof(uint64_t)) {
            uint64_t region, interp;
            memcpy(&region, page->after + at, sizeof(region));
            memcpy(&interp, page->host + at, sizeof(interp));
            if (region == interp)
                continue;
            report->differs = true;
            if (words++ < REPORT_WORDS)
                add(report, "  memory at %#" PRIx64 ": region %#" PRIx64 ", interpreter %#" PRIx64 "\n",
                    mem_host_to_gpa(h->mem, page->host) + at, region, interp);
        }
    }
    if (words > REPORT_WORDS)
        add(report, "  and %u more words of memory\n", words - REPORT_WORDS);
}

static void compare_ends(struct report *report, const struct verify *v)
{
    if (v->stray) {
        report->differs = true;
        add(report, "  the interpreter %s after %" PRIu64 " instructions\n", v->stray, v->replayed);
        return;
    }
    if (v->insns != v->replayed) {
        report->differs = true;
        add(report, "  instructions retired: region %" PRIu64 ", interpreter %" PRIu64 "\n", v->insns, v->replayed);
    }
    if (v->trapped) {
        report->differs = true;
        add(report, "  only the interpreter traps: cause %" PRIu64 ", value %#" PRIx64 "\n", v->trap.cause,
            v->trap.tval);
    }
}

static void compare_results(struct hart *h, struct report *report)
{
    static const char *const names[TRAP_REGISTERS] = {"sscratch", "sepc", "scause", "stval"};
    const struct verify *v = h->verify;
    const struct snapshot *a = &v->by_region;
    const struct snapshot *b = &v->by_interp;

    add(report, "region %" PRIu32 " (level %" PRIu32 "), entered at %#" PRIx64 ": after %" PRIu64 " instructions\n",
        v->region_id, v->region_level, v->start.pc, v->insns);
    compare_ends(report, v);
    compare(report, "pc", a->pc, b->pc);
    compare_registers(report, &a->r, &b->r);
    compare(report, "floating-point flags", a->fflags, b->fflags);
    compare(report, "floating-point state written", a->r.fs_dirty != 0, b->r.fs_dirty != 0);
    for (unsigned i = 0; i < TRAP_REGISTERS; i++)
        compare(report, names[i], a->trap[i], b->trap[i]);
    compare(report, "reservation", a->reserved_granule, b->reserved_granule);
    if (a->reserved_granule && b->reserved_granule) {
        compare(report, "reserved address", a->reserved_gpa, b->reserved_gpa);
        compare(report, "reserved value", a->reserved_value, b->reserved_value);
        compare(report, "reserved bytes", a->reserved_bytes, b->reserved_bytes);
    }
    compare_memory(h, report);
    add(report, "  to look at it: the same command with --dump=guest,ir,opt,asm:%" PRIu32 "\n", v->region_id);
}

/* The guest is not to go on with either result: the interpreter's stays, for whoever looks at it. */
static TUFF_COLD void stop_at_difference(struct hart *h, const struct report *report)
{
    struct verify *v = h->verify;

    if (v->config->verify_report) {
        /* As for a compiler on this thread: the guest's rounding mode is not for others. */
        fp_save_host(h);
        v->config->verify_report(v->config->verify_opaque, report->text);
        fp_load_host(h);
    }
    h->stop = true;
    h->exit = VCPU_EXIT_ERROR;
}

/* Replays the stretch where that can be done, and compares. The report says whether the two differ. */
static void judge(struct hart *h, const struct region *region, struct report *report)
{
    struct verify *v = h->verify;

    if (!v->unfit && !region_same_bytes(h, region))
        v->unfit = "changed code";
    if (!v->unfit) {
        take_back_stores(v);
        replay(h);
        if (!v->unfit)
            compare_results(h, report);
        if (!report->differs) {
            repeat_stores(v);
            restore_snapshot(h, &v->by_region);
        }
    }
    if (report->differs) {
        count(&v->counters->verify_differences);
    } else if (v->unfit) {
        count(&v->counters->verify_skipped);
        log_debug(LOG_JIT, "region %" PRIu32 " at %#" PRIx64 " was not repeated: %s", v->region_id, v->start.pc,
                  v->unfit);
    } else {
        count(&v->counters->verify_equal);
    }
}

/* The region was left. False: it was wrong. */
static bool finish(struct hart *h, const struct region *region)
{
    struct verify *v = h->verify;
    struct report report = {.len = 0};
    uint64_t retired = hart_retired(h);
    uint32_t left = atomic_load_explicit(&h->countdown.insns, memory_order_relaxed);

    v->phase = IDLE;
    v->insns = retired - v->retired;
    take_snapshot(h, &v->by_region);
    if (v->left != LEFT_DECLINED)
        judge(h, region, &report);
    if (v->clears_flags)
        fp_write_flags(h, v->start.fflags | fp_read_flags(h));
    hart_set_grant(h, retired, left + v->grant_rest);
    if (report.differs)
        stop_at_difference(h, &report);
    return !report.differs;
}

/* ---- entering and leaving ---- */

PRESERVE_NONE void verify_go(OP_PARAMS)
{
    h->verify->left = LEFT_GO;
}

PRESERVE_NONE void verify_past(OP_PARAMS)
{
    h->verify->left = LEFT_PAST;
}

PRESERVE_NONE void verify_region_decline(OP_PARAMS)
{
    h->verify->left = LEFT_DECLINED;
}

static bool is_mapped(struct hart *h, struct block *block, uint64_t pc)
{
    return block->use->region->page_count == 1 ||
           (block->checked_pc == pc && block->checked_stamp == h->exec_bank->stamp) || region_mapped(h, block, pc);
}

static PRESERVE_NONE void enter(OP_PARAMS)
{
    struct verify *v = h->verify;

    if (!is_mapped(h, block, pc))
        TAIL block->saved_run(h, op, pc, block);
    if (--v->until) {
        region_code(block)(h, op, pc, block);
    } else {
        const struct region *region = block->use->region;
        v->until = v->config->verify;
        begin(h, block, pc);
        region_code(block)(h, op, pc, block);
        if (!finish(h, region))
            return;
    }
    /* From here on the block may be gone, but where the region declined. */
    switch (v->left) {
    case LEFT_GO:
        TAIL interp_go(h, op, pc, block);
    case LEFT_PAST:
        TAIL interp_past(h, op, pc, block);
    case LEFT_DECLINED:
        TAIL interp_region_decline(h, op, pc, block);
    }
}

op_fn *verify_handler(void)
{
    return enter;
}
