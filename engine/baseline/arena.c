/* A memfd mapped twice. The executable view lies near the program's text, so that jumps and calls reach it directly:
 * below it rather than above, where the heap grows. */
#include "engine/baseline/arena.h"

#include "mem/huge.h"
#include "mem/mem.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEP_BYTES = 1 << 24, HUGE_BYTES = MEM_HUGE_PAGE_BYTES, REACH_MOST_BYTES = 16 << 20 };
#define REACH_BYTES ((intptr_t)3 << 29) /* 1.5 GiB: the rest is for the program's own length */

static void *map_near(int fd, size_t bytes, const void *near)
{
    intptr_t start = (intptr_t)near & -(intptr_t)STEP_BYTES;

    for (intptr_t distance = (intptr_t)bytes + STEP_BYTES; distance < REACH_BYTES; distance += STEP_BYTES) {
        for (int above = 0; above < 2; above++) {
            intptr_t wanted = above ? start + distance : start - distance;
            if (wanted <= 0)
                continue;
            void *got = mmap((void *)wanted, bytes, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
            if (got == (void *)wanted)
                return got;
            /* A kernel older than MAP_FIXED_NOREPLACE takes the address for a hint. */
            if (got != MAP_FAILED)
                munmap(got, bytes);
        }
    }
    return MAP_FAILED;
}

/* At a multiple of a huge page's size. */
static void *map_aligned(int fd, size_t bytes)
{
    uint8_t *room = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (room == MAP_FAILED)
        return MAP_FAILED;
    size_t before = -(uintptr_t)room & (HUGE_BYTES - 1);
    void *got = mmap(room + before, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    if (got == MAP_FAILED) {
        munmap(room, bytes + HUGE_BYTES);
        return MAP_FAILED;
    }
    if (before)
        munmap(room, before);
    if (before < HUGE_BYTES)
        munmap(room + before + bytes, HUGE_BYTES - before);
    return got;
}

bool arena_map(struct arena *arena, size_t bytes, const void *near)
{
    int fd = memfd_create("tuff-baseline", MFD_CLOEXEC);

    *arena = (struct arena){.bytes = bytes};
    if (fd < 0)
        return false;
    void *write = MAP_FAILED;
    void *execute = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0) {
        write = map_aligned(fd, bytes);
        execute = map_near(fd, bytes, near);
    }
    close(fd);
    if (write == MAP_FAILED || execute == MAP_FAILED) {
        if (write != MAP_FAILED)
            munmap(write, bytes);
        if (execute != MAP_FAILED)
            munmap(execute, bytes);
        return false;
    }
    arena->write = write;
    arena->execute = execute;
    return true;
}

void arena_unmap(struct arena *arena)
{
    munmap(arena->write, arena->bytes);
    munmap((void *)arena->execute, arena->bytes);
}

/* A booted Debian has 32 MiB of code of which no part is much hotter than the rest. Hosts, as a rule, have no huge
 * pages for shared memory unless they are asked for like this: as much again as there is already, up to
 * REACH_MOST_BYTES, since each time may wait for every CPU of the host. */
void arena_reach(struct arena *arena, size_t end)
{
    if (end <= arena->huge || end <= HUGE_BYTES || arena->huge == arena->bytes)
        return;
    size_t from = arena->huge, more = from ? from : 2 * HUGE_BYTES;
    size_t to = from + (more < REACH_MOST_BYTES ? more : REACH_MOST_BYTES);
    if (to > arena->bytes)
        to = arena->bytes;
    (void)mem_huge_collapse(arena->write + from, to - from);
    arena->huge = to;
}

void arena_clear(struct arena *arena, size_t from)
{
    arena->huge = 0;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = (from + page - 1) & ~(page - 1);

    if (first < arena->bytes)
        (void)madvise(arena->write + first, arena->bytes - first, MADV_REMOVE);
}
