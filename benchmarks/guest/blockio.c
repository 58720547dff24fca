/* I/O on a block device, past the guest's page cache: blockio DEVICE SECONDS [PATTERN]. One line a pattern:
 *     NAME OPERATIONS_A_SECOND MIB_A_SECOND
 * A static program of its own, which benchmarks/block and benchmarks/vm run in the guest. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 16 };

static const struct pattern {
    const char *name;
    size_t bytes;
    unsigned threads;
    int write, random;
} patterns[] = {
    {"sequential-write-1M", 1 << 20, 1, 1, 0}, {"sequential-read-1M", 1 << 20, 1, 0, 0},
    {"sequential-read-4K", 4096, 1, 0, 0},     {"sequential-write-4K", 4096, 1, 1, 0},
    {"random-read-4K", 4096, 1, 0, 1},         {"random-write-4K", 4096, 1, 1, 1},
    {"random-read-4K-depth-8", 4096, 8, 0, 1}, {"random-write-4K-depth-8", 4096, 8, 1, 1},
};

static const char *device;
static uint64_t device_bytes;
static double seconds;
static const struct pattern *pattern;
static _Atomic uint64_t operations;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    printf("FAILED %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *work(void *opaque)
{
    uint64_t state = (uintptr_t)opaque * 77777 + 1, at = 0, blocks = device_bytes / pattern->bytes, done = 0;
    int fd = open(device, (pattern->write ? O_RDWR : O_RDONLY) | O_DIRECT);
    double end = now() + seconds;
    void *buf;

    if (fd < 0 || posix_memalign(&buf, 4096, pattern->bytes))
        fail(device);
    memset(buf, 0x5a, pattern->bytes);
    while (now() < end) {
        off_t offset;
        ssize_t n;

        state = state * 6364136223846793005u + 1442695040888963407u;
        offset = (off_t)((pattern->random ? state >> 33 : at++) % blocks * pattern->bytes);
        n = pattern->write ? pwrite(fd, buf, pattern->bytes, offset) : pread(fd, buf, pattern->bytes, offset);
        if (n != (ssize_t)pattern->bytes)
            fail(pattern->name);
        done++;
    }
    operations += done;
    free(buf);
    close(fd);
    return NULL;
}

static void run(void)
{
    pthread_t threads[THREADS_MAX];
    double start = now(), took;

    operations = 0;
    for (unsigned i = 0; i < pattern->threads; i++) {
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i))
            fail("thread");
    }
    for (unsigned i = 0; i < pattern->threads; i++)
        pthread_join(threads[i], NULL);
    took = now() - start;
    printf("%s %.0f %.1f\n", pattern->name, (double)operations / took,
           (double)operations * (double)pattern->bytes / took / (1 << 20));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int fd = argc == 3 || argc == 4 ? open(argv[1], O_RDONLY) : -1;

    if (fd < 0)
        fail("usage: blockio DEVICE SECONDS [PATTERN]");
    device = argv[1];
    seconds = atof(argv[2]);
    device_bytes = (uint64_t)lseek(fd, 0, SEEK_END);
    close(fd);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        pattern = &patterns[i];
        if (argc == 3 || strcmp(argv[3], pattern->name) == 0)
            run();
    }
    return 0;
}
