/* RAM that is filled in on demand; see lazy.h. A page is given its contents once, by whoever takes its bit first: the
 * thread of faults, the filling thread, or who throws it away, after which it is zeroes. Taking and giving are one step
 * under `page_lock`, so that a page whose bit is taken has its contents or has been thrown away.
 *
 * A guest waits for each fault, so the filling thread stays out of the way: it reads a page before it takes the lock
 * (a mutex is not fair: one that is let go and taken in a loop starves who waits for it), lets faults go first, and
 * goes on behind the last one, where the guest is likely to be next. */
#include "mem/lazy.h"

#include "base/sandbox.h"
#include "mem/mem_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    NEAR_PAGES = 15, /* behind a fault: the rest of 64 KiB, on the average half of it */
    FILLER_NICE = 5,
};

struct mem_lazy {
    struct mem *mem;
    mem_lazy_fn fn;
    void (*done)(void *opaque);
    void *opaque;
    int fd, stop_fd;
    uint64_t pages;
    uint32_t *first; /* pages that are filled before the others */
    size_t first_count;
    pthread_mutex_t page_lock;
    uint64_t *taken;          /* under it: a bit a page */
    _Atomic unsigned serving; /* faults that are being served */
    _Atomic uint64_t near;    /* the page behind the last fault; UINT64_MAX: the filler has been there */
    pthread_t faults, filler;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic bool over; /* every page is there; set under the lock */
    _Atomic bool stopping;
};

static bool take(struct mem_lazy *l, uint64_t page)
{
    uint64_t bit = 1ull << page % 64, before = l->taken[page / 64];

    l->taken[page / 64] = before | bit;
    return !(before & bit);
}

/* Puts bytes into a missing page and wakes who waits for it. One that is there already only needs the waking. */
static void put(struct mem_lazy *l, uint64_t page, const uint8_t *bytes)
{
    uint64_t address = (uint64_t)l->mem->ram_host + page * MEM_PAGE_BYTES;
    struct uffdio_copy copy = {.dst = address, .src = (uint64_t)bytes, .len = MEM_PAGE_BYTES};
    struct uffdio_range range = {.start = address, .len = MEM_PAGE_BYTES};

    while (ioctl(l->fd, UFFDIO_COPY, &copy) && errno == EAGAIN)
        copy.copy = 0;
    if (copy.copy != MEM_PAGE_BYTES)
        (void)ioctl(l->fd, UFFDIO_WAKE, &range);
}

static bool is_taken(struct mem_lazy *l, uint64_t page)
{
    pthread_mutex_lock(&l->page_lock);
    bool taken = l->taken[page / 64] >> page % 64 & 1;
    pthread_mutex_unlock(&l->page_lock);
    return taken;
}

/* Gives a page these bytes, unless it was taken. */
static bool give(struct mem_lazy *l, uint64_t page, const uint8_t *bytes)
{
    pthread_mutex_lock(&l->page_lock);
    bool is_ours = take(l, page);
    if (is_ours)
        put(l, page, bytes);
    pthread_mutex_unlock(&l->page_lock);
    return is_ours;
}

/* A page that somebody waits for. */
static void serve(struct mem_lazy *l, uint64_t page)
{
    static const _Alignas(MEM_PAGE_BYTES) uint8_t zeroes[MEM_PAGE_BYTES];
    _Alignas(MEM_PAGE_BYTES) uint8_t bytes[MEM_PAGE_BYTES] = {0};
    bool given = false;

    atomic_fetch_add(&l->serving, 1);
    if (!is_taken(l, page)) {
        if (l->fn(l->opaque, page, bytes) < 0)
            memset(bytes, 0, sizeof(bytes));
        given = give(l, page, bytes);
    }
    /* Taken by another, it is there and only needs the waking, or was thrown away and is zeroes now. */
    if (!given)
        put(l, page, zeroes);
    atomic_store(&l->near, page + 1);
    atomic_fetch_sub(&l->serving, 1);
}

static void *faults_main(void *opaque)
{
    struct mem_lazy *l = opaque;
    struct pollfd fds[] = {{.fd = l->fd, .events = POLLIN}, {.fd = l->stop_fd, .events = POLLIN}};
    struct uffd_msg msg;

    sandbox_enter(SANDBOX_SERVICE);
    for (;;) {
        if (poll(fds, TUFF_ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            break;
        if (read(l->fd, &msg, sizeof(msg)) != (ssize_t)sizeof(msg) || msg.event != UFFD_EVENT_PAGEFAULT)
            continue;
        serve(l, (msg.arg.pagefault.address - (uint64_t)l->mem->ram_host) / MEM_PAGE_BYTES);
    }
    return NULL;
}

/* Pages of zeroes are left missing unless `zeroes`: they come by a fault, or when nobody looks at faults any more, from
 * the kernel. */
static void fill(struct mem_lazy *l, uint64_t page, bool zeroes)
{
    _Alignas(MEM_PAGE_BYTES) uint8_t bytes[MEM_PAGE_BYTES] = {0};

    while (atomic_load(&l->serving) && !atomic_load(&l->stopping))
        sched_yield();
    if (is_taken(l, page))
        return;
    int rc = l->fn(l->opaque, page, bytes);
    if (rc > 0 || (rc == 0 && zeroes))
        (void)give(l, page, bytes);
}

static void *filler_main(void *opaque)
{
    struct mem_lazy *l = opaque;
    struct uffdio_range all = {.start = (uint64_t)l->mem->ram_host, .len = l->mem->ram_bytes};
    uint64_t one = 1;

    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), FILLER_NICE);
    sandbox_enter(SANDBOX_SERVICE);
    for (size_t i = 0; i < l->first_count && !atomic_load(&l->stopping); i++) {
        if (l->first[i] < l->pages)
            fill(l, l->first[i], true);
    }
    for (uint64_t page = 0; page < l->pages && !atomic_load(&l->stopping); page++) {
        uint64_t near = atomic_exchange(&l->near, UINT64_MAX), end = near + NEAR_PAGES;
        for (; near < l->pages && near < end && !atomic_load(&l->stopping); near++)
            fill(l, near, false);
        fill(l, page, false);
    }
    /* Wakes who still waits, and finds zeroes. */
    (void)ioctl(l->fd, UFFDIO_UNREGISTER, &all);
    (void)!write(l->stop_fd, &one, sizeof(one));
    pthread_join(l->faults, NULL);
    l->done(l->opaque);
    pthread_mutex_lock(&l->lock);
    l->over = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static int open_uffd(struct mem *mem, int *out)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register all = {.range = {.start = (uint64_t)mem->ram_host, .len = mem->ram_bytes},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
    /* System calls read and write RAM, too: faults of the kernel's have to count. */
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    int rc = fd < 0 ? -errno : 0;

    if (rc == 0 && ioctl(fd, UFFDIO_API, &api))
        rc = -errno;
    if (rc == 0 && ioctl(fd, UFFDIO_REGISTER, &all))
        rc = -errno;
    if (rc && fd >= 0)
        close(fd);
    *out = fd;
    return rc;
}

static void destroy(struct mem_lazy *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->stop_fd >= 0)
        close(l->stop_fd);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->page_lock);
    free(l->taken);
    free(l->first);
    free(l);
}

static int start_threads(struct mem_lazy *l)
{
    sigset_t all, before;
    uint64_t one = 1;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = -pthread_create(&l->faults, NULL, faults_main, l);
    if (rc == 0) {
        rc = -pthread_create(&l->filler, NULL, filler_main, l);
        if (rc) {
            (void)!write(l->stop_fd, &one, sizeof(one));
            pthread_join(l->faults, NULL);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        (void)pthread_setname_np(l->faults, "tuff-faults");
        (void)pthread_setname_np(l->filler, "tuff-fill");
    }
    return rc;
}

int mem_lazy_start(struct mem *mem, const struct mem_lazy_first *first, mem_lazy_fn fn, void (*done)(void *opaque),
                   void *opaque)
{
    if (mem->ram_pages == MEM_PAGES_RESERVED)
        return -ENOTSUP; /* whole huge pages would have to come at once */
    struct mem_lazy *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (struct mem_lazy){.mem = mem,
                           .fn = fn,
                           .done = done,
                           .opaque = opaque,
                           .fd = -1,
                           .stop_fd = eventfd(0, EFD_CLOEXEC),
                           .near = UINT64_MAX,
                           .pages = mem->ram_bytes >> MEM_PAGE_SHIFT};
    pthread_mutex_init(&l->page_lock, NULL);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->taken = calloc(l->pages / 64 + 1, sizeof(*l->taken));
    l->first = calloc(first->count + 1, sizeof(*l->first));
    if (l->first && first->count) {
        memcpy(l->first, first->pages, first->count * sizeof(*l->first));
        l->first_count = first->count;
    }
    int rc = l->taken && l->first && l->stop_fd >= 0 ? open_uffd(mem, &l->fd) : -ENOMEM;
    if (rc == 0) {
        mem->lazy = l;
        rc = start_threads(l);
    }
    if (rc) {
        mem->lazy = NULL;
        destroy(l);
    }
    return rc;
}

bool mem_lazy_is_coming(const struct mem *mem)
{
    const struct mem_lazy *l = mem->lazy;

    return TUFF_UNLIKELY(l != NULL) && !atomic_load_explicit(&l->over, memory_order_relaxed);
}

void mem_lazy_wait(struct mem *mem)
{
    struct mem_lazy *l = mem->lazy;

    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    while (!l->over)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

void mem_lazy_stop(struct mem *mem)
{
    struct mem_lazy *l = mem->lazy;

    if (!l)
        return;
    atomic_store(&l->stopping, true);
    pthread_join(l->filler, NULL);
    mem->lazy = NULL;
    destroy(l);
}

void mem_lazy_forget(struct mem *mem, uint64_t offset, uint64_t bytes)
{
    struct mem_lazy *l = mem->lazy;

    if (!l)
        return;
    pthread_mutex_lock(&l->page_lock);
    for (uint64_t page = offset / MEM_PAGE_BYTES; page < (offset + bytes) / MEM_PAGE_BYTES; page++)
        (void)take(l, page);
    pthread_mutex_unlock(&l->page_lock);
}

void mem_lazy_touch(const struct mem *mem, const void *host, uint64_t bytes)
{
    if (!mem->lazy)
        return;
    for (uint64_t at = 0; at < bytes; at += MEM_PAGE_BYTES)
        (void)*((const volatile uint8_t *)host + at);
}
