/* Huge pages for RAM on hosts that give shared memory none when it is touched, as Linux does not by default: pieces of
 * 2 MiB that vCPUs work in are made into huge pages then (MADV_COLLAPSE, Linux 6.1). What it brings: one fault of the
 * host's instead of 512, and TLB entries that reach 512 times as far, which counts double under virtualisation.
 *
 * Asked for at fills of TLBs. RAM whose contents are still to come (mem/lazy.h) is left as it is.
 */
#ifndef TUFF_MEM_HUGE_H
#define TUFF_MEM_HUGE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;

/* Makes huge pages of shared memory: whole ones, of MEM_HUGE_PAGE_BYTES, from `start` on, which is a multiple of that.
 * False: the host does not know how. Any thread; contents stay. */
bool mem_huge_collapse(void *start, size_t bytes);

/* Before vCPUs run, for MEM_PAGES_AUTO. Without memory for it nothing will be asked for. */
void mem_huge_start(struct mem *mem);
/* A hart's thread: it is about to touch the RAM at `gpa`. */
void mem_huge_note(struct mem *mem, uint64_t gpa);
/* Any thread: it is about to fill these bytes of RAM. Pieces of which it fills half or more are made huge before. */
void mem_huge_reach(struct mem *mem, uint64_t gpa, uint64_t bytes);
/* These bytes of RAM were given back to the host: pieces that went as a whole may come back as huge pages, others may
 * not, or what was given back would be taken again. */
void mem_huge_forget(struct mem *mem, uint64_t ram_offset, uint64_t bytes);

#endif
