/* A memfd mapped twice. The executable view lies near the program's text, so that jumps and calls reach it directly:
 * below it rather than above, where the heap grows. */
#include "engine/baseline/arena.h"

#include <sys/mman.h>
#include <unistd.h>

enum { STEP_BYTES = 1 << 24 };
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

bool arena_map(struct arena *arena, size_t bytes, const void *near)
{
    int fd = memfd_create("tuff-baseline", MFD_CLOEXEC);

    *arena = (struct arena){.bytes = bytes};
    if (fd < 0)
        return false;
    void *write = MAP_FAILED;
    void *execute = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0) {
        write = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
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

void arena_clear(const struct arena *arena, size_t from)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = (from + page - 1) & ~(page - 1);

    if (first < arena->bytes)
        (void)madvise(arena->write + first, arena->bytes - first, MADV_REMOVE);
}
