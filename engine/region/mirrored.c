/* Policy of mirrors, and the handler of their faults; see mirrored.h. */
#include "engine/region/mirrored.h"

#include "engine/region/installed.h"

#include <asm/prctl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    HWCAP2_FSGSBASE_BIT = 1 << 1, /* the kernel lets user code write gs' base */
    FAULT_NS = 3000,              /* from the access to the handler and back */
    SHARE = 8,                    /* a mirror may cost one part in so many of the time since it began */
    TRIAL_NS = 30000000,          /* what it may cost in any case: some 100 MiB in line, 10 MiB scattered */
};

/* ---- the host's gs ---- */

__attribute__((target("fsgsbase"))) static void write_gs(uint64_t base)
{
    __builtin_ia32_wrgsbase64(base);
}

static bool load_gs(uint64_t base)
{
    if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) {
        write_gs(base);
        return true;
    }
    return syscall(SYS_arch_prctl, ARCH_SET_GS, base) == 0;
}

void mirrored_bank_changed(struct hart *h)
{
    h->mirror_limit = 0;
    if (!h->bank->mirrored)
        return;
    uint64_t base = mirror_base(h->bank->mirror);
    if (h->mirror_loaded != base && !load_gs(base))
        return;
    h->mirror_loaded = base;
    h->mirror_limit = MIRROR_BYTES;
}

/* ---- faults ---- */

/* The hart that runs on this thread: a handler of signals has no other way to know. */
static _Thread_local struct hart *running;

static struct sigaction before;

static const struct region_fault *find_fault(const struct region *r, uint64_t pc)
{
    uint64_t offset = pc - (uint64_t)r->code;
    uint32_t low = 0;
    uint32_t high = r->fault_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (r->faults[middle].offset == offset)
            return &r->faults[middle];
        if (r->faults[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Not by a region: whoever was there before gets it, or the access is repeated without a handler. */
static void not_ours(int number, siginfo_t *info, void *context)
{
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(number, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(number);
    else
        (void)signal(number, SIG_DFL);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *pc = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    const struct block *block = running ? running->mirrored_block : NULL;

    if (block && block->use) {
        const struct region *r = block->use->region;
        const struct region_fault *fault = find_fault(r, (uint64_t)*pc);
        if (fault) {
            uint64_t resume = (uint64_t)r->code + fault->resume;
            *pc = (greg_t)resume;
            return;
        }
    }
    not_ours(number, info, context);
}

static void catch_faults(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGSEGV, &action, &before);
}

/* ---- policy ---- */

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool mirrored_wanted(const struct hart *h)
{
    return !h->verify && h->priv == VCPU_PRIV_U && h->bank->view.translated;
}

void mirrored_begin(struct hart *h)
{
    running = h;
    h->mirror_loaded = 0;
    mirrored_bank_changed(h);
}

void mirrored_end(struct hart *h)
{
    h->mirrored_block = NULL;
    if (running == h)
        running = NULL;
}

/* What is mapped stays, and is kept up to date. */
static void stop(struct hart *h)
{
    struct tlb_bank *bank = h->bank;

    bank->mirrored = false;
    bank->mirror_wanted = 0;
    /* It has to earn what it cost before it begins again. */
    bank->mirror_since = now_ns() + SHARE * bank->mirror_spent;
    mirrored_bank_changed(h);
}

void mirrored_start(struct hart *h)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tlb_bank *bank = h->bank;
    uint64_t now = now_ns();

    bank->mirror_wanted = 0;
    if (!mirrored_wanted(h) || bank->mirrored || now < bank->mirror_since)
        return;
    if (!bank->mirror && mirror_create(h->mem, &bank->mirror))
        return;
    (void)pthread_once(&once, catch_faults);
    bank->mirrored = true;
    bank->mirror_since = now;
    bank->mirror_spent = 0;
    mirrored_bank_changed(h);
}

/* What the software TLB says of the page: its host address, or NULL where the access may not go straight there. */
static uint8_t *host_page(const struct hart *h, uint64_t page, bool write)
{
    const struct tlb_entry *entry = &h->bank->entries[tlb_index(page)];

    return page == (write ? entry->tag_write : entry->tag_read) ? (uint8_t *)(page + entry->addend) : NULL;
}

/* Maps the page and as many after it as follow it in RAM too. Returns 0 or a negative errno. */
static int map_run(struct hart *h, uint64_t page, uint64_t end, uint8_t *host, bool write, uint64_t *mapped)
{
    unsigned pages = 1;

    while (page + pages * MEM_PAGE_BYTES < end && !mirror_has(h->bank->mirror, page + pages * MEM_PAGE_BYTES, write) &&
           mmu_peek(h, page + pages * MEM_PAGE_BYTES, write) == host + pages * MEM_PAGE_BYTES)
        pages++;
    *mapped = page + pages * MEM_PAGE_BYTES;
    return mirror_map(h->bank->mirror, page, host, pages, write);
}

/* Maps the page, and of those after it in the same piece of address space what can be mapped: more where what lies
 * before it was mapped as well, as when an array is gone through. */
static int touch_page(struct hart *h, uint64_t page, bool write)
{
    struct tlb_bank *bank = h->bank;
    uint8_t *host = host_page(h, page, write);

    if (page >= MIRROR_BYTES || !host || mirror_has(bank->mirror, page, write))
        return 0;
    /* A page that may be stored to may be read, and is read sooner or later. */
    write = write || host_page(h, page, true);
    uint64_t piece_bytes = MIRROR_AROUND_MIN * MEM_PAGE_BYTES;
    while (piece_bytes < MIRROR_AROUND_MAX * MEM_PAGE_BYTES && page >= piece_bytes &&
           mirror_has(bank->mirror, page - piece_bytes, write))
        piece_bytes *= 2;
    uint64_t end = (page + piece_bytes) & ~(piece_bytes - 1);
    int rc = map_run(h, page, end, host, write, &page);
    while (rc == 0 && page < end) {
        host = mirror_has(bank->mirror, page, write) ? NULL : mmu_peek(h, page, write);
        if (host)
            rc = map_run(h, page, end, host, write, &page);
        else
            page += MEM_PAGE_BYTES;
    }
    return rc;
}

void mirrored_touched(struct hart *h, uint64_t gva, bool write)
{
    struct tlb_bank *bank = h->bank;
    uint64_t start = now_ns();
    uint64_t page = gva & TLB_PAGE_MASK;
    uint64_t last = (gva + 7) & TLB_PAGE_MASK;
    int rc;

    HART_COUNT(h, mirror_faults, 1);
    rc = touch_page(h, page, write);
    if (rc == 0 && last != page)
        rc = touch_page(h, last, write);
    uint64_t now = now_ns();
    bank->mirror_spent += now - start + FAULT_NS;
    if (rc)
        tlb_clear_mirrors(h->tlb);
    if (rc || (bank->mirror_spent > TRIAL_NS && bank->mirror_spent * SHARE > now - bank->mirror_since))
        stop(h);
}
