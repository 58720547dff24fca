/* Code marks, stale log and dirty log of RAM pages; the protocol is in frame.h. */
#include "mem/frame.h"

#include "mem/mem_internal.h"

#include <errno.h>
#include <stdlib.h>

uint32_t mem_frame_of(const struct mem *mem, const void *host)
{
    return (uint32_t)((uint64_t)((const uint8_t *)host - mem->ram_host) >> MEM_PAGE_SHIFT);
}

uint32_t mem_frame_count(const struct mem *mem)
{
    uint64_t roms = mem->rom_bytes ? MEM_PAGE_BYTES + mem->rom_bytes : 0;

    return (uint32_t)((mem->ram_bytes + roms) >> MEM_PAGE_SHIFT);
}

uint8_t *mem_frame_host(const struct mem *mem, uint32_t frame)
{
    return mem->ram_host + ((uint64_t)frame << MEM_PAGE_SHIFT);
}

uint64_t mem_frame_mark_code(struct mem *mem, uint32_t frame, uint64_t lines)
{
    struct mem_frame *f = &mem->frames[frame];

    if ((atomic_load(&f->code_lines) & lines) != lines)
        atomic_fetch_or(&f->code_lines, lines);
    return atomic_load(&f->writers);
}

static _Atomic uint64_t *dirty_log(const struct mem *mem)
{
    return atomic_load_explicit(&mem->dirty, memory_order_acquire);
}

static bool is_dirty(const _Atomic uint64_t *log, uint32_t frame)
{
    return atomic_load_explicit(&log[frame / 64], memory_order_relaxed) >> (frame % 64) & 1;
}

bool mem_frame_may_write(struct mem *mem, uint32_t frame, uint32_t hart)
{
    struct mem_frame *f = &mem->frames[frame];
    uint64_t bit = 1ull << hart;
    const _Atomic uint64_t *log = dirty_log(mem);

    if (frame == mem->watched_frame || (log && mem_frame_is_ram(mem, frame) && !is_dirty(log, frame)))
        return false;
    if (!(atomic_load_explicit(&f->writers, memory_order_relaxed) & bit))
        atomic_fetch_or(&f->writers, bit);
    return atomic_load(&f->code_lines) == 0;
}

bool mem_frame_is_watched(const struct mem *mem, uint32_t frame)
{
    return frame == mem->watched_frame;
}

void mem_frame_drop_writer(struct mem *mem, uint32_t frame, uint32_t hart)
{
    atomic_fetch_and(&mem->frames[frame].writers, ~(1ull << hart));
}

/* Two harts that log at once take different positions; a reader that arrives between the two steps sees an old position
 * in the slot and stops there. */
static void stale_append(struct mem *mem, uint32_t frame)
{
    uint64_t position = atomic_fetch_add(&mem->stale_head, 1);

    atomic_store(&mem->stale_log[position % MEM_STALE_LOG], (position + 1) << 32 | frame);
}

void mem_frame_stored(struct mem *mem, uint32_t frame, unsigned offset, unsigned len_bytes)
{
    struct mem_frame *f = &mem->frames[frame];
    uint64_t lines = mem_lines(offset, len_bytes);
    _Atomic uint64_t *log = dirty_log(mem);

    if (log && mem_frame_is_ram(mem, frame) && !is_dirty(log, frame))
        atomic_fetch_or(&log[frame / 64], 1ull << (frame % 64));
    /* The store itself first: only harts that store directly are asked by whoever marks, devices are not. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&f->code_lines) & lines) {
        /* All of them: FENCE.I will compare the whole frame now, whatever else is stored to it, and a guest that
         * writes a page of new code over old gets a direct write entry after the first store. */
        atomic_fetch_add(&mem->stale_pending, 1);
        atomic_store(&f->code_lines, 0);
        stale_append(mem, frame);
        atomic_fetch_sub(&mem->stale_pending, 1);
    }
    if (frame == mem->watched_frame)
        mem->watch(mem->watch_opaque, mem_ram_gpa_at(mem, (uint64_t)frame << MEM_PAGE_SHIFT) + offset, len_bytes);
}

uint64_t mem_stale_head(const struct mem *mem)
{
    return atomic_load(&mem->stale_head);
}

int mem_stale_next(const struct mem *mem, uint64_t *position, uint32_t *frame)
{
    /* First this, then the head: whoever is between the two steps of mem_frame_stored() may have let another hart store
     * without a trace. */
    bool pending = atomic_load(&mem->stale_pending) != 0;
    uint64_t head = atomic_load(&mem->stale_head);

    if (*position == head && !pending)
        return 0;
    if (pending || head - *position > MEM_STALE_LOG) {
        *position = head;
        return -EOVERFLOW;
    }
    uint64_t slot = atomic_load(&mem->stale_log[*position % MEM_STALE_LOG]);
    if (slot >> 32 != (uint32_t)(*position + 1)) {
        /* Overwritten meanwhile, or just being written. */
        *position = head;
        return -EOVERFLOW;
    }
    (*position)++;
    *frame = (uint32_t)slot;
    return 1;
}

uint32_t mem_tlb_generation(const struct mem *mem)
{
    return atomic_load_explicit(&mem->tlb_generation, memory_order_acquire);
}

static size_t dirty_words(const struct mem *mem)
{
    return ((mem->ram_bytes >> MEM_PAGE_SHIFT) + 63) / 64;
}

int mem_dirty_start(struct mem *mem)
{
    _Atomic uint64_t *log = dirty_log(mem);

    for (size_t i = 0; log && i < dirty_words(mem); i++)
        atomic_store(&log[i], 0);
    if (!log) {
        log = calloc(dirty_words(mem), sizeof(*log));
        if (!log)
            return -ENOMEM;
    }
    /* Devices may look at any time. */
    atomic_store(&mem->dirty, log);
    atomic_fetch_add(&mem->tlb_generation, 1);
    int rc = mem->dirty_source ? mem->dirty_source->start(mem->dirty_source_opaque) : 0;
    if (rc)
        mem_dirty_stop(mem);
    return rc;
}

void mem_set_dirty_source(struct mem *mem, const struct mem_dirty_source *source, void *opaque)
{
    mem->dirty_source = source;
    mem->dirty_source_opaque = opaque;
}

void mem_dirty_stop(struct mem *mem)
{
    _Atomic uint64_t *log = dirty_log(mem);

    if (log && mem->dirty_source)
        mem->dirty_source->stop(mem->dirty_source_opaque);
    atomic_store(&mem->dirty, NULL);
    free((void *)log);
}

int mem_dirty_fetch(struct mem *mem, uint64_t *words, size_t len_words)
{
    _Atomic uint64_t *log = dirty_log(mem);

    if (!log || len_words != dirty_words(mem))
        return -EINVAL;
    for (size_t i = 0; i < len_words; i++)
        words[i] = atomic_load_explicit(&log[i], memory_order_relaxed) ? atomic_exchange(&log[i], 0) : 0;
    atomic_fetch_add(&mem->tlb_generation, 1);
    return mem->dirty_source ? mem->dirty_source->collect(mem->dirty_source_opaque, words, len_words) : 0;
}
