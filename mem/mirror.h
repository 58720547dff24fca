/* A mirror: part of one guest address space, mapped into the host's at a constant distance, so that the host's MMU
 * translates and checks what compiled code would otherwise look up in the software TLB.
 *
 * A mirror covers the guest virtual addresses [0, MIRROR_BYTES). It begins empty, a reserved range that faults; pages
 * come in one by one as the engine finds that they may be accessed, read-only until a store is allowed, and go when the
 * translation or the right to store ends. What is not there faults, whatever the reason, so a mirror may always hold
 * less than the software TLB allows and never holds more. Guard pages on both sides take what an immediate offset and
 * the width of an access add to an address below the limit.
 *
 * Belongs to one hart; used by its own thread only.
 */
#ifndef TUFF_MEM_MIRROR_H
#define TUFF_MEM_MIRROR_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct mem;
struct mirror;

/* The user half of Sv39. */
#define MIRROR_BYTES (1ull << 38)

enum {
    MIRROR_GUARD_BYTES = 1 << 16,
    MIRROR_PAGES_MAX = 1 << 16,
    /* Calls that may each add two mappings to the process, which has 65,530: of all mirrors of a memory together. */
    MIRROR_RUNS_MAX = 12288,
    MIRROR_AROUND_MIN = 16,
    MIRROR_AROUND_MAX = 512, /* pages that may come in together */
};

/* Reserves the range. `mem` is borrowed, and outlives the mirror. Returns 0 or a negative errno: without RAM, where
 * RAM is of reserved huge pages, or where the host has no room. */
TUFF_MUST_CHECK int mirror_create(struct mem *mem, struct mirror **out);
void mirror_destroy(struct mirror *mirror);

/* Host address of guest virtual address 0. */
uint64_t mirror_base(const struct mirror *mirror);

/* `pages` consecutive pages from `gva`, which are RAM from `host` on, may be read, and with `write` stored to. All are
 * below MIRROR_BYTES. A page that is there already is replaced. Returns 0, -ENOSPC beyond MIRROR_PAGES_MAX or
 * MIRROR_RUNS_MAX, or what mmap() said. */
TUFF_MUST_CHECK int mirror_map(struct mirror *mirror, uint64_t gva, const void *host, unsigned pages, bool write);
/* Is the page there, and may it be stored to if `write`? */
bool mirror_has(const struct mirror *mirror, uint64_t gva, bool write);
void mirror_unmap(struct mirror *mirror, uint64_t gva);
/* Takes away the right to store to a page of RAM, wherever it is mapped. */
void mirror_protect(struct mirror *mirror, const void *host_page);
void mirror_clear(struct mirror *mirror);

#endif
