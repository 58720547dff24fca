/* fork_exec, syscalls, pipe, page_faults, tmpfs: what the kernel is asked to do. On a virtual machine this is traps,
 * page tables, TLB maintenance and code that is met for the first time, rather than loops. */
#include "bench.h"
#include "expected.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* fork_exec: starts this executable again; the child leaves at once with a status that says it got there. */
enum { CHILDREN = 50 };

static int run_child(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        execl(bench_self, bench_self, BENCH_CHILD_OPTION, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static uint64_t iterate_fork_exec(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < CHILDREN; i++)
        sum += (uint64_t)run_child();
    return sum;
}

const struct bench_program bench_fork_exec = {
    .name = "fork_exec",
    .class = BENCH_SYSTEM,
    .unit = "processes",
    .units_per_iteration = CHILDREN,
    .iterate = iterate_fork_exec,
    .expected = CHILDREN * BENCH_CHILD_STATUS,
};

/* syscalls: the cheapest one there is. */
enum { CALLS = 10000 };

static uint64_t iterate_syscalls(void)
{
    uint64_t right = 0;
    pid_t parent = getppid();
    for (int i = 0; i < CALLS; i++)
        right += syscall(SYS_getppid) == parent;
    return right;
}

const struct bench_program bench_syscalls = {
    .name = "syscalls",
    .class = BENCH_SYSTEM,
    .unit = "calls",
    .units_per_iteration = CALLS,
    .iterate = iterate_syscalls,
    .expected = CALLS,
};

/* pipe: a number goes to another process and comes back increased by one: two switches of process a round trip. */
enum { ROUND_TRIPS = 1000 };

static int to_partner[2], from_partner[2];

static _Noreturn void partner(void)
{
    uint64_t number;
    while (read(to_partner[0], &number, sizeof(number)) == sizeof(number)) {
        number++;
        if (write(from_partner[1], &number, sizeof(number)) != sizeof(number))
            break;
    }
    _exit(0);
}

static int setup_pipe(void)
{
    if (pipe(to_partner) || pipe(from_partner))
        return -errno;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(to_partner[1]);
        close(from_partner[0]);
        partner();
    }
    close(to_partner[0]);
    close(from_partner[1]);
    return 0;
}

static uint64_t iterate_pipe(void)
{
    uint64_t number = 0;
    for (int i = 0; i < ROUND_TRIPS; i++)
        if (write(to_partner[1], &number, sizeof(number)) != sizeof(number) ||
            read(from_partner[0], &number, sizeof(number)) != sizeof(number))
            return UINT64_MAX;
    return number;
}

const struct bench_program bench_pipe = {
    .name = "pipe",
    .class = BENCH_SYSTEM,
    .unit = "round-trips",
    .units_per_iteration = ROUND_TRIPS,
    .setup = setup_pipe,
    .iterate = iterate_pipe,
    .expected = ROUND_TRIPS,
};

/* page_faults: new memory, touched page by page. Huge pages are declined, else there are few faults to count. */
enum { FAULT_PAGES = 2048, PAGE_BYTES = 4096 };

static uint64_t iterate_page_faults(void)
{
    uint64_t zero_pages = 0;
    size_t bytes = (size_t)FAULT_PAGES * PAGE_BYTES;
    unsigned char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 0;
    /* Fails where the kernel has no huge pages, which is as good. */
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < FAULT_PAGES; i++) {
        zero_pages += memory[i * PAGE_BYTES] == 0;
        memory[i * PAGE_BYTES] = 1;
    }
    munmap(memory, bytes);
    return zero_pages;
}

const struct bench_program bench_page_faults = {
    .name = "page_faults",
    .class = BENCH_SYSTEM,
    .unit = "pages",
    .units_per_iteration = FAULT_PAGES,
    .iterate = iterate_page_faults,
    .expected = FAULT_PAGES,
};

/* tmpfs: writes 4 MiB to a file in memory, a page a call, reads it back and checks it, then truncates it. */
enum { FILE_CHUNKS = 1024, CHUNK_BYTES = 4096 };

static int file = -1;

static int setup_tmpfs(void)
{
    file = memfd_create("bench", 0);
    return file < 0 ? -errno : 0;
}

static bool write_chunks(uint64_t *chunk)
{
    for (uint64_t i = 0; i < FILE_CHUNKS; i++) {
        chunk[i % (CHUNK_BYTES / sizeof(*chunk))] = i;
        if (pwrite(file, chunk, CHUNK_BYTES, (off_t)(i * CHUNK_BYTES)) != CHUNK_BYTES)
            return false;
    }
    return true;
}

/* How many chunks hold what was written last to the word that changed in them. */
static uint64_t iterate_tmpfs(void)
{
    static uint64_t chunk[CHUNK_BYTES / sizeof(uint64_t)];
    uint64_t right = 0;
    memset(chunk, 0, sizeof(chunk));
    if (!write_chunks(chunk))
        return 0;
    for (uint64_t i = 0; i < FILE_CHUNKS; i++) {
        if (pread(file, chunk, CHUNK_BYTES, (off_t)(i * CHUNK_BYTES)) != CHUNK_BYTES)
            return 0;
        right += chunk[i % (CHUNK_BYTES / sizeof(*chunk))] == i;
    }
    return ftruncate(file, 0) ? 0 : right;
}

const struct bench_program bench_tmpfs = {
    .name = "tmpfs",
    .class = BENCH_SYSTEM,
    .unit = "MB",
    .units_per_iteration = 2e-6 * FILE_CHUNKS * CHUNK_BYTES,
    .setup = setup_tmpfs,
    .iterate = iterate_tmpfs,
    .expected = FILE_CHUNKS,
};
