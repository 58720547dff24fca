/* What the engine keeps about RAM pages ("frames"): which lines were translated, who may store without
 * asking, what has become stale. Frame numbers count from the start of RAM.
 *
 * The protocol between a hart that translates and one that stores, neither of which waits for the other:
 *   - a storing hart sets its bit in `writers`, then looks at the code marks, and gets a direct write entry only if
 * there are none;
 *   - a translating hart sets the code marks, then looks at `writers`; harts named there are asked to drop their entry,
 * and until they have, FENCE.I compares that frame's bytes instead of trusting the log. Both first steps are
 * sequentially consistent, so at least one of the two sees the other.
 */
#ifndef TUFF_MEM_FRAME_H
#define TUFF_MEM_FRAME_H

#include "mem/mem.h"

/* Frames of RAM and of ROMs behind it. */
uint32_t mem_frame_count(const struct mem *mem);
/* Frame number of a host pointer into RAM or ROM. */
uint32_t mem_frame_of(const struct mem *mem, const void *host);
uint8_t *mem_frame_host(const struct mem *mem, uint32_t frame);

/* The lines of a page that [offset, offset + len_bytes) touches; the range lies inside one page. */
static inline uint64_t mem_lines(unsigned offset, unsigned len_bytes)
{
    unsigned first = offset >> MEM_LINE_SHIFT;
    unsigned last = (offset + len_bytes - 1) >> MEM_LINE_SHIFT;
    return (UINT64_MAX >> (63 - (last - first))) << first;
}

/* Any thread: adds code marks. Returns the harts that may store to the frame without asking. */
uint64_t mem_frame_mark_code(struct mem *mem, uint32_t frame, uint64_t lines);

/* Any thread: hart `hart` wants to store to the frame without asking. True: it may, and its bit is set. False: the
 * frame holds code or is not yet in the dirty log, so each store goes through mem_frame_stored(). */
bool mem_frame_may_write(struct mem *mem, uint32_t frame, uint32_t hart);
void mem_frame_drop_writer(struct mem *mem, uint32_t frame, uint32_t hart);

/* Any thread, after a store that did not go through a direct write entry: dirty log, stale marks. A store to a line
 * with code takes away the marks of the whole frame, which goes into the stale log. */
void mem_frame_stored(struct mem *mem, uint32_t frame, unsigned offset, unsigned len_bytes);

/* Does somebody look at each store to the frame (mem_watch_stores())? */
bool mem_frame_is_watched(const struct mem *mem, uint32_t frame);

/* The stale log. A reader keeps its own position, starting from mem_stale_head(). Returns 1 and the next frame, 0 at
 * the end, -EOVERFLOW when the reader fell behind: `*position` is moved to the head and everything must be taken as
 * stale. */
uint64_t mem_stale_head(const struct mem *mem);
int mem_stale_next(const struct mem *mem, uint64_t *position, uint32_t *frame);

/* Changes whenever all write entries in TLBs must go (dirty log started or fetched). */
uint32_t mem_tlb_generation(const struct mem *mem);

#endif
