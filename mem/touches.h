/* Which pages of RAM harts touch first from some moment on, in that order: what a snapshot of that moment says its
 * restored guest will want first (mem/lazy.h).
 *
 * Taken at the fills of TLBs and by walks of page tables, so only what misses a TLB is seen: start while no hart runs,
 * and let every TLB's first level be emptied before one does (mem_dirty_fetch()).
 */
#ifndef TUFF_MEM_TOUCHES_H
#define TUFF_MEM_TOUCHES_H

#include "base/compiler.h"
#include "mem/mem.h"

enum { MEM_TOUCHES_MAX = 2048 }; /* 8 MiB: 40 ms of unpacking, some 3 times of what a kernel needs for its first word */

/* Begins anew. Returns 0 or -ENOMEM. One thread at a time calls this and mem_touches_stop(). */
TUFF_MUST_CHECK int mem_touches_start(struct mem *mem);
/* Ends it. Returns how many pages there are in `pages`: numbers from the start of RAM, each once. */
size_t mem_touches_stop(struct mem *mem, uint32_t pages[MEM_TOUCHES_MAX]);

/* A hart's thread: it touches the page at `gpa`. Nothing where that is no RAM, or nobody wants to know. */
void mem_touches_note(struct mem *mem, uint64_t gpa);
bool mem_touches_wanted(const struct mem *mem);

/* For mem_destroy(). */
void mem_touches_destroy(struct mem *mem);

#endif
