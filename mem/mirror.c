/* Host mappings of a guest address space, and which of its pages they are; see mirror.h. */
#include "mem/mirror.h"

#include "mem/mem_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SLOTS = 2 * MIRROR_PAGES_MAX };

/* Which pages are there: open addressing by linear probing. */
struct slot {
    uint64_t gva;
    uint64_t host; /* bit 0: may be stored to; 0: free */
};

struct mirror {
    const struct mem *mem;
    uint8_t *base;
    unsigned count, runs;
    uint64_t
        *writable; /* a bit for each frame of RAM that some page since the last mirror_clear() could be stored to as */
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

static size_t writable_words(const struct mem *mem)
{
    return ((mem->ram_bytes >> MEM_PAGE_SHIFT) + 63) / 64;
}

int mirror_create(const struct mem *mem, struct mirror **out)
{
    if (!mem->ram_host)
        return -EINVAL;
    struct mirror *m = calloc(1, sizeof(*m));
    if (m)
        m->writable = calloc(writable_words(mem), sizeof(*m->writable));
    if (!m || !m->writable) {
        free(m);
        return -ENOMEM;
    }
    void *base = mmap(NULL, MIRROR_BYTES + 2 * MIRROR_GUARD_BYTES, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        int rc = -errno;
        free(m->writable);
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
    free(m->writable);
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

int mirror_map(struct mirror *m, uint64_t gva, const void *host, unsigned pages, bool write)
{
    size_t bytes = (size_t)pages << MEM_PAGE_SHIFT;
    off_t offset = (const uint8_t *)host - m->mem->ram_host;
    int protection = PROT_READ | (write ? PROT_WRITE : 0);

    if (m->count + pages > MIRROR_PAGES_MAX || m->runs == MIRROR_RUNS_MAX)
        return -ENOSPC;
    if (mmap(m->base + gva, bytes, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE, m->mem->ram_fd,
             offset) == MAP_FAILED)
        return -errno;
    m->runs++;
    uint32_t frame = mem_frame_of(m->mem, host);
    for (unsigned i = 0; i < pages; i++) {
        if (write)
            m->writable[(frame + i) / 64] |= 1ull << ((frame + i) % 64);
        uint64_t page = gva + ((uint64_t)i << MEM_PAGE_SHIFT);
        struct slot *slot = find(m, page);
        m->count += slot->host == 0;
        *slot = (struct slot){page, ((uint64_t)host + ((uint64_t)i << MEM_PAGE_SHIFT)) | write};
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
    if (reserve(m->base + page, MEM_PAGE_BYTES))
        mirror_clear(m);
    else
        forget(m, slot);
}

void mirror_protect(struct mirror *m, const void *host_page)
{
    uint32_t frame = mem_frame_of(m->mem, host_page);

    if (!m->count || !(m->writable[frame / 64] >> (frame % 64) & 1))
        return;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (m->slots[i].host != ((uint64_t)host_page | 1))
            continue;
        if (mprotect(m->base + m->slots[i].gva, MEM_PAGE_BYTES, PROT_READ)) {
            mirror_clear(m);
            return;
        }
        m->slots[i].host &= ~1ull;
    }
}

void mirror_clear(struct mirror *m)
{
    /* Without a page runs may be left to be counted anew. */
    if (!m->runs)
        return;
    /* The whole range becomes one mapping, which cannot be too many. */
    if (reserve(m->base, MIRROR_BYTES))
        abort();
    memset(m->slots, 0, sizeof(m->slots));
    memset(m->writable, 0, writable_words(m->mem) * sizeof(*m->writable));
    m->count = m->runs = 0;
}
