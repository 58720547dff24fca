/* Writing perf's file of compiled code; see jitdump.h. perf learns of the file by its being mapped executable, and puts
 * its records between its samples by their time: `perf record -k 1` takes the same clock, CLOCK_MONOTONIC. */
#include "llvm/jitdump.h"

#include "base/log.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC = 0x4a695444, VERSION = 1, CODE_LOAD = 0, CODE_CLOSE = 3 };

struct file_header {
    uint32_t magic, version, size_bytes, elf_machine, reserved, pid;
    uint64_t timestamp_ns, flags;
};
_Static_assert(sizeof(struct file_header) == 40, "the specification's size");

struct record {
    uint32_t kind, size_bytes; /* everything up to the next record */
    uint64_t timestamp_ns;
};

/* Followed by the name, its zero, and the code. */
struct code_load {
    struct record record;
    uint32_t pid, tid;
    uint64_t vma, address, size_bytes, index;
};
_Static_assert(sizeof(struct code_load) == 56, "the specification's size");

struct jitdump {
    pthread_mutex_t lock;
    int fd;     /* -1: it could not be written */
    void *mark; /* the mapping that perf sees */
    size_t mark_bytes;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* All or nothing: what was written in part is of no use to a reader. */
static bool write_all(int fd, const struct iovec *parts, int count)
{
    size_t len = 0;

    for (int i = 0; i < count; i++)
        len += parts[i].iov_len;
    return writev(fd, parts, count) == (ssize_t)len;
}

static bool write_header(struct jitdump *dump)
{
    struct file_header header = {.magic = MAGIC,
                                 .version = VERSION,
                                 .size_bytes = sizeof(header),
                                 .elf_machine = EM_X86_64,
                                 .pid = (uint32_t)getpid(),
                                 .timestamp_ns = now_ns()};
    struct iovec part = {&header, sizeof(header)};

    return write_all(dump->fd, &part, 1);
}

static int open_file(struct jitdump *dump, const char *path, struct error *err)
{
    dump->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (dump->fd < 0 || !write_header(dump))
        return error_set(err, -errno, "jitdump, %s, cannot be written (%s): name another folder", path,
                         strerror(errno));
    void *mark = mmap(NULL, dump->mark_bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, dump->fd, 0);
    if (mark == MAP_FAILED)
        return error_set(err, -errno,
                         "jitdump, %s, cannot be mapped as code (%s), from which perf would learn of it: name a "
                         "folder that is not mounted noexec",
                         path, strerror(errno));
    dump->mark = mark;
    return 0;
}

int jitdump_create(const char *folder, struct jitdump **out, struct error *err)
{
    struct jitdump *dump = calloc(1, sizeof(*dump));
    char *path = NULL;

    /* perf goes by this name. */
    if (!dump || asprintf(&path, "%s/jit-%d.dump", folder, (int)getpid()) < 0) {
        free(dump);
        return error_set(err, -ENOMEM, "no memory for the jitdump file");
    }
    pthread_mutex_init(&dump->lock, NULL);
    dump->mark_bytes = (size_t)sysconf(_SC_PAGESIZE);
    int rc = open_file(dump, path, err);
    free(path);
    if (rc) {
        jitdump_destroy(dump);
        return rc;
    }
    *out = dump;
    return 0;
}

void jitdump_destroy(struct jitdump *dump)
{
    if (!dump)
        return;
    if (dump->mark) {
        struct record record = {.kind = CODE_CLOSE, .size_bytes = sizeof(record), .timestamp_ns = now_ns()};
        struct iovec part = {&record, sizeof(record)};
        if (dump->fd >= 0)
            (void)!write_all(dump->fd, &part, 1);
        munmap(dump->mark, dump->mark_bytes);
    }
    if (dump->fd >= 0)
        close(dump->fd);
    pthread_mutex_destroy(&dump->lock);
    free(dump);
}

void jitdump_load(struct jitdump *dump, const void *code, size_t len, uint64_t index, const char *name)
{
    size_t name_bytes = strlen(name) + 1;
    struct code_load load = {
        .record = {.kind = CODE_LOAD, .size_bytes = (uint32_t)(sizeof(load) + name_bytes + len)},
        .pid = (uint32_t)getpid(),
        .tid = (uint32_t)gettid(),
        .vma = (uintptr_t)code,
        .address = (uintptr_t)code,
        .size_bytes = len,
        .index = index,
    };
    struct iovec parts[] = {
        {&load, sizeof(load)}, {(char *)(uintptr_t)name, name_bytes}, {(void *)(uintptr_t)code, len}};

    pthread_mutex_lock(&dump->lock);
    load.record.timestamp_ns = now_ns();
    if (dump->fd >= 0 && !write_all(dump->fd, parts, TUFF_ARRAY_LEN(parts))) {
        log_warn(LOG_JIT, "the jitdump file is incomplete from %s on: it cannot be written", name);
        close(dump->fd);
        dump->fd = -1;
    }
    pthread_mutex_unlock(&dump->lock);
}
