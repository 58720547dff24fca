/* RAM whose contents come when they are touched (userfaultfd): a guest starts at once, pages come in on demand, and
 * the rest is filled in behind it.
 *
 * Faults are met on the one mapping that the program reads and writes RAM by. Mirrors (mem/mirror.h), which the host
 * would fill with zeroes, touch each page there before they map it. Until all is filled in, a page that nobody has
 * touched is missing for the kernel, too (mem_ram_data()).
 */
#ifndef TUFF_MEM_LAZY_H
#define TUFF_MEM_LAZY_H

#include "base/compiler.h"
#include "mem/mem.h"

/* Gives the contents of RAM page `page`; two threads ask at a time. Returns 1, 0 for a page of zeroes, or a negative
 * errno, after which the page is zeroes. */
typedef int (*mem_lazy_fn)(void *opaque, uint64_t page, uint8_t bytes[MEM_PAGE_BYTES]);

/* What comes first: page numbers, uint32_t at any address, which are copied. Those that RAM does not have are left out.
 */
struct mem_lazy_first {
    const void *pages;
    size_t count;
};

/* Begins, with RAM that nobody has touched: starts two threads, one for faults and one that fills. `done` is called
 * once, on the latter, when every page is there or the filling was given up (mem_lazy_stop()). Returns 0, or a negative
 * errno where the host does not let us (-EPERM, -ENOSYS, ..) or RAM is of reserved huge pages (-ENOTSUP): then
 * everything is as before. */
TUFF_MUST_CHECK int mem_lazy_start(struct mem *mem, const struct mem_lazy_first *first, mem_lazy_fn fn,
                                   void (*done)(void *opaque), void *opaque);
/* Is some of it still to come? Any thread. */
bool mem_lazy_is_coming(const struct mem *mem);
/* Waits until every page is there. Any thread but a hart's. Nothing where it has not begun. */
void mem_lazy_wait(struct mem *mem);
/* Ends it, wherever it is; nobody touches RAM any more that matters. Before mem_destroy(). */
void mem_lazy_stop(struct mem *mem);

/* For mem/: [offset, offset + bytes) of RAM is about to be thrown away, or to be mapped elsewhere. */
void mem_lazy_forget(struct mem *mem, uint64_t offset, uint64_t bytes);
void mem_lazy_touch(const struct mem *mem, const void *host, uint64_t bytes);

#endif
