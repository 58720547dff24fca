/* See touches.h. Harts note pages while the list may be taken away: a number is in it when its slot is not 0. */
#include "mem/touches.h"

#include "mem/mem_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mem_touches {
    _Atomic bool wanted;
    _Atomic uint32_t count;                  /* may pass MEM_TOUCHES_MAX */
    _Atomic uint32_t pages[MEM_TOUCHES_MAX]; /* number + 1 */
    _Atomic uint64_t seen[];                 /* a bit a page */
};

static size_t seen_words(const struct mem *mem)
{
    return ((mem->ram_bytes >> MEM_PAGE_SHIFT) + 63) / 64;
}

int mem_touches_start(struct mem *mem)
{
    struct mem_touches *t = mem->touches;

    if (!t)
        t = mem->touches = calloc(1, sizeof(*t) + seen_words(mem) * sizeof(t->seen[0]));
    if (!t)
        return -ENOMEM;
    for (size_t i = 0; i < seen_words(mem); i++)
        atomic_store_explicit(&t->seen[i], 0, memory_order_relaxed);
    for (unsigned i = 0; i < MEM_TOUCHES_MAX; i++)
        atomic_store_explicit(&t->pages[i], 0, memory_order_relaxed);
    atomic_store(&t->count, 0);
    atomic_store(&t->wanted, true);
    return 0;
}

size_t mem_touches_stop(struct mem *mem, uint32_t pages[MEM_TOUCHES_MAX])
{
    struct mem_touches *t = mem->touches;
    size_t count = 0;

    if (!t)
        return 0;
    atomic_store(&t->wanted, false);
    for (unsigned i = 0; i < MEM_TOUCHES_MAX; i++) {
        uint32_t page = atomic_load_explicit(&t->pages[i], memory_order_relaxed);
        if (page)
            pages[count++] = page - 1;
    }
    return count;
}

bool mem_touches_wanted(const struct mem *mem)
{
    const struct mem_touches *t = mem->touches;

    return TUFF_UNLIKELY(t != NULL) && atomic_load_explicit(&t->wanted, memory_order_relaxed);
}

void mem_touches_note(struct mem *mem, uint64_t gpa)
{
    struct mem_touches *t = mem->touches;

    if (!mem_touches_wanted(mem) || !mem_ram_ptr(mem, gpa, 1))
        return;
    uint32_t frame = (uint32_t)(mem_ram_offset(mem, gpa) >> MEM_PAGE_SHIFT);
    uint64_t bit = UINT64_C(1) << frame % 64;
    if (atomic_fetch_or_explicit(&t->seen[frame / 64], bit, memory_order_relaxed) & bit)
        return;
    uint32_t at = atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
    if (at < MEM_TOUCHES_MAX)
        atomic_store_explicit(&t->pages[at], frame + 1, memory_order_relaxed);
    else
        atomic_store_explicit(&t->wanted, false, memory_order_relaxed);
}

void mem_touches_destroy(struct mem *mem)
{
    free(mem->touches);
    mem->touches = NULL;
}
