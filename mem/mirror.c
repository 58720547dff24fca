/* Host mappings of a guest address space, and which of its pages they are; see mirror.h. */
#include "mem/mirror.h"

#include "mem/lazy.h"
#include "mem/mem_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SLOTS = 2 * MIRROR_PAGES_MAX };

#define AT_SEVERAL UINT64_MAX

/* Which pages are there: open addressing by linear probing. */
struct slot {
    uint64_t gva;
    uint64_t host; /* bit 0: may be stored to; 0: free */
};

struct mirror {
    struct mem *mem;
    uint8_t *base;
    unsigned count, runs;
    /* By frame of RAM: where it could be stored to as; bit 0 is set, and AT_SEVERAL when there is more than one place.
     * May be out of date: the slot says what holds. */
    uint64_t *stored_at;
    struct slot slots[SLOTS];
};

static unsigned slot_of(uint64_t gva)
{
    return (unsigned)((gva >> MEM_PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 32) % SLOTS;
}

/* Where the page is, or a free slot where it would be. */
static struct slot *find(const struct mirror *m, uint64_t gva)
{
    unsigned i = slot_of(gva);

    while (m->slots[i].host && m->slots[i].gva != gva)
        i = (i + 1) % SLOTS;
    return (struct slot *)&m->slots[i];
}

/* Frees a slot; those behind it that were pushed on move up. */
static void forget(struct mirror *m, struct slot *slot)
{
    unsigned hole = (unsigned)(slot - m->slots);

    for (unsigned i = (hole + 1) % SLOTS; m->slots[i].host; i = (i + 1) % SLOTS) {
        unsigned distance = (i + SLOTS - slot_of(m->slots[i].gva)) % SLOTS;
        if (distance < (i + SLOTS - hole) % SLOTS)
            continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole].host = 0;
    m->count--;
}

static int reserve(uint8_t *at, uint64_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

    return mmap(at, bytes, PROT_NONE, flags, -1, 0) == MAP_FAILED ? -errno : 0;
}

int mirror_create(struct mem *mem, struct mirror **out)
{
    if (!mem->ram_host)
        return -EINVAL;
    if (mem->ram_pages == MEM_PAGES_RESERVED)
        return -ENOTSUP; /* they cannot be mapped in parts */
    struct mirror *m = calloc(1, sizeof(*m));
    if (m)
        m->stored_at = calloc(mem->ram_bytes >> MEM_PAGE_SHIFT, sizeof(*m->stored_at));
    if (!m || !m->stored_at) {
        free(m);
        return -ENOMEM;
    }
    void *base = mmap(NULL, MIRROR_BYTES + 2 * MIRROR_GUARD_BYTES, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        int rc = -errno;
        free(m->stored_at);
        free(m);
        return rc;
    }
    m->mem = mem;
    m->base = (uint8_t *)base + MIRROR_GUARD_BYTES;
    *out = m;
    return 0;
}

void mirror_destroy(struct mirror *m)
{
    if (!m)
        return;
    munmap(m->base - MIRROR_GUARD_BYTES, MIRROR_BYTES + 2 * MIRROR_GUARD_BYTES);
    atomic_fetch_sub(&m->mem->mirror_runs, m->runs);
    free(m->stored_at);
    free(m);
}

uint64_t mirror_base(const struct mirror *m)
{
    return (uint64_t)m->base;
}

bool mirror_has(const struct mirror *m, uint64_t gva, bool write)
{
    const struct slot *slot = find(m, gva & ~(uint64_t)(MEM_PAGE_BYTES - 1));

    return slot->host && (!write || (slot->host & 1));
}

/* One of the calls that may leave the process two mappings richer. False: all mirrors together have used them up. */
static bool spend_run(struct mirror *m)
{
    if (atomic_fetch_add(&m->mem->mirror_runs, 1) >= MIRROR_RUNS_MAX) {
        atomic_fetch_sub(&m->mem->mirror_runs, 1);
        return false;
    }
    m->runs++;
    return true;
}

static bool is_stored_at(const struct mirror *m, uint64_t gva, const uint8_t *host_page)
{
    return find(m, gva)->host == ((uint64_t)host_page | 1);
}

static void note_stored(struct mirror *m, uint64_t gva, const uint8_t *host_page)
{
    uint64_t *at = &m->stored_at[mem_frame_of(m->mem, host_page)];
    bool another = *at == AT_SEVERAL || (*at && *at != (gva | 1) && is_stored_at(m, *at & ~1ull, host_page));

    *at = another ? AT_SEVERAL : gva | 1;
}

int mirror_map(struct mirror *m, uint64_t gva, const void *host, unsigned pages, bool write)
{
    size_t bytes = (size_t)pages << MEM_PAGE_SHIFT;
    off_t offset = (const uint8_t *)host - m->mem->ram_host;
    int protection = PROT_READ | (write ? PROT_WRITE : 0);

    if (m->count + pages > MIRROR_PAGES_MAX || !spend_run(m))
        return -ENOSPC;
    mem_lazy_touch(m->mem, host, bytes);
    if (mmap(m->base + gva, bytes, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE, m->mem->ram_fd,
             offset) == MAP_FAILED)
        return -errno;
    for (unsigned i = 0; i < pages; i++) {
        uint64_t page = gva + ((uint64_t)i << MEM_PAGE_SHIFT);
        const uint8_t *host_page = (const uint8_t *)host + ((size_t)i << MEM_PAGE_SHIFT);
        struct slot *slot = find(m, page);
        m->count += slot->host == 0;
        *slot = (struct slot){page, (uint64_t)host_page | write};
        if (write)
            note_stored(m, page, host_page);
    }
    return 0;
}

void mirror_unmap(struct mirror *m, uint64_t gva)
{
    uint64_t page = gva & ~(uint64_t)(MEM_PAGE_BYTES - 1);
    struct slot *slot = find(m, page);

    if (!slot->host)
        return;
    /* Out of mappings, the page cannot be cut out of its neighbours': then all go. */
    if (!spend_run(m) || reserve(m->base + page, MEM_PAGE_BYTES))
        mirror_clear(m);
    else
        forget(m, slot);
}

/* False: it could not be done for one page alone. */
static bool protect_slot(struct mirror *m, struct slot *slot)
{
    if (!spend_run(m) || mprotect(m->base + slot->gva, MEM_PAGE_BYTES, PROT_READ))
        return false;
    slot->host &= ~1ull;
    return true;
}

void mirror_protect(struct mirror *m, const void *host_page)
{
    uint64_t *at = &m->stored_at[mem_frame_of(m->mem, host_page)];
    bool done = true;

    if (*at == AT_SEVERAL) {
        for (unsigned i = 0; done && i < SLOTS; i++)
            done = m->slots[i].host != ((uint64_t)host_page | 1) || protect_slot(m, &m->slots[i]);
    } else if (*at && is_stored_at(m, *at & ~1ull, host_page)) {
        done = protect_slot(m, find(m, *at & ~1ull));
    }
    *at = 0;
    if (!done)
        mirror_clear(m);
}

void mirror_clear(struct mirror *m)
{
    /* Without a page runs may be left to be counted anew. */
    if (!m->runs)
        return;
    /* The whole range becomes one mapping, which cannot be too many. Going on with pages that the guest has lost is no
     * choice. */
    if (reserve(m->base, MIRROR_BYTES))
        abort();
    memset(m->slots, 0, sizeof(m->slots));
    atomic_fetch_sub(&m->mem->mirror_runs, m->runs);
    m->count = m->runs = 0;
}
