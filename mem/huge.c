/* See huge.h. */
#include "mem/huge.h"

#include "mem/lazy.h"
#include "mem/mem_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Debian 12's C library does not know it */
#endif

enum {
    /* How often a piece is noted before it is made huge: a guest that touches a few pages here and there keeps small
     * ones. */
    NOTES = 8,
    DONE = UINT8_MAX,
    /* The kernel first has every CPU empty its lists of pages. On a busy host that is waited for, 5 to 30 ms a time
     * (idle: 0.1), so vCPUs leave off for this many times as long. */
    WAITS_SHARE = 32,
};

struct mem_huge {
    _Atomic bool refused;        /* the host does not know how */
    _Atomic uint64_t not_before; /* CLOCK_MONOTONIC, in ns */
    _Atomic uint8_t noted[];     /* of each piece of RAM how often it was, or DONE */
};

bool mem_huge_collapse(void *start, size_t bytes)
{
    /* A piece without any page is not collapsed. */
    for (size_t at = 0; at < bytes; at += MEM_HUGE_PAGE_BYTES)
        (void)madvise((uint8_t *)start + at, MEM_PAGE_BYTES, MADV_POPULATE_READ);
    return madvise(start, bytes, MADV_COLLAPSE) == 0 || errno != EINVAL;
}

void mem_huge_start(struct mem *mem)
{
    mem->huge = calloc(1, sizeof(*mem->huge) + (mem->ram_bytes >> MEM_HUGE_PAGE_SHIFT));
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Pieces [first, end). An empty one takes 0.2 ms, one full of small pages, which are copied, nearly 3. Threads that
 * come here at once ask twice, which is harmless. */
static TUFF_NOINLINE void collapse(struct mem *mem, uint64_t first, uint64_t end)
{
    struct mem_huge *huge = mem->huge;
    uint8_t *start = mem->ram_host + (first << MEM_HUGE_PAGE_SHIFT);
    uint64_t begin = now_ns(CLOCK_MONOTONIC), begin_cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);

    for (uint64_t piece = first; piece < end; piece++)
        atomic_store_explicit(&huge->noted[piece], DONE, memory_order_relaxed);
    if (atomic_load_explicit(&huge->refused, memory_order_relaxed))
        return;
    if (!mem_huge_collapse(start, (end - first) << MEM_HUGE_PAGE_SHIFT))
        atomic_store_explicit(&huge->refused, true, memory_order_relaxed);
    uint64_t now = now_ns(CLOCK_MONOTONIC), all = now - begin, cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - begin_cpu;
    atomic_store_explicit(&huge->not_before, now + WAITS_SHARE * (all > cpu ? all - cpu : 0), memory_order_relaxed);
}

void mem_huge_reach(struct mem *mem, uint64_t gpa, uint64_t bytes)
{
    uint64_t ram_offset = mem_ram_offset(mem, gpa);
    uint64_t half = MEM_HUGE_PAGE_BYTES / 2, pieces = mem->ram_bytes >> MEM_HUGE_PAGE_SHIFT;
    uint64_t first = (ram_offset + half - 1) >> MEM_HUGE_PAGE_SHIFT;
    uint64_t end = (ram_offset + bytes + half) >> MEM_HUGE_PAGE_SHIFT;

    if (end > pieces)
        end = pieces;
    if (mem->huge && !mem_lazy_is_coming(mem) && bytes >= half && first < end)
        collapse(mem, first, end);
}

void mem_huge_note(struct mem *mem, uint64_t gpa)
{
    struct mem_huge *huge = mem->huge;

    if (!huge || mem_lazy_is_coming(mem))
        return;
    uint64_t piece = mem_ram_offset(mem, gpa) >> MEM_HUGE_PAGE_SHIFT;
    if (piece >= mem->ram_bytes >> MEM_HUGE_PAGE_SHIFT)
        return;
    uint8_t noted = atomic_load_explicit(&huge->noted[piece], memory_order_relaxed);
    if (TUFF_LIKELY(noted == DONE))
        return;
    if (noted + 1 < NOTES)
        atomic_store_explicit(&huge->noted[piece], noted + 1, memory_order_relaxed);
    else if (now_ns(CLOCK_MONOTONIC) >= atomic_load_explicit(&huge->not_before, memory_order_relaxed))
        collapse(mem, piece, piece + 1);
}

void mem_huge_forget(struct mem *mem, uint64_t ram_offset, uint64_t bytes)
{
    uint64_t end = ram_offset + bytes;

    if (!mem->huge)
        return;
    for (uint64_t piece = ram_offset >> MEM_HUGE_PAGE_SHIFT; piece << MEM_HUGE_PAGE_SHIFT < end; piece++) {
        uint64_t start = piece << MEM_HUGE_PAGE_SHIFT;
        bool whole = start >= ram_offset && start + MEM_HUGE_PAGE_BYTES <= end;
        if (start + MEM_HUGE_PAGE_BYTES <= mem->ram_bytes)
            atomic_store_explicit(&mem->huge->noted[piece], whole ? 0 : DONE, memory_order_relaxed);
    }
}
