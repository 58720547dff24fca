/* The tier's threads and its queue: the hottest region that waits is compiled next. */
#include "llvm/tier.h"

#include "base/sandbox.h"
#include "engine/region/region.h"
#include "llvm/compile.h"
#include "llvm/disassemble.h"
#include "llvm/kept.h"
#include "llvm/link.h"
#include "llvm/profiler.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS_MAX = 16 };

struct tier {
    struct tier_config config;
    struct region_cache *cache;
    struct profiler *profiler;
    struct linker *linker;
    struct disassembler *disassembler; /* NULL: --dump does not ask for it */
    struct store *store;               /* NULL: code is not kept */
    struct compiler *compilers[WORKERS_MAX];
    pthread_t threads[WORKERS_MAX];
    unsigned thread_count;
    pthread_mutex_t sync_lock; /* one compile at a time where submit() compiles */
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* under the lock */
    struct region **queue;
    uint32_t waiting;
    bool stopping;
    bool freed; /* code was given up: a thread frees it */
    unsigned next_worker;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void compile(struct tier *tier, struct compiler *compiler, struct region *region)
{
    uint64_t start = now_ns();
    char name[KEPT_NAME_BYTES];

    atomic_store(&region->state, REGION_COMPILING);
    kept_name(tier->store, region->id, name);
    LLVMMemoryBufferRef object = kept_read(tier->store, region, name);
    if (!object && region->known)
        region->failure = "the store has no code that can be used";
    else if (!object)
        object = compile_region(compiler, region, name, &region->failure);
    if (object && !region->stored)
        kept_write(tier->store, region, object, name, now_ns() - start);
    if (object) {
        region->code = (op_fn *)linker_add(tier->linker, object, name, &region->tier_data);
        if (!region->code)
            region->failure = "LLVM could not link the code";
        else
            profiler_note(tier->profiler, region, name);
    }
    region->compile_ns = now_ns() - start;
    atomic_store(&region->state, region->code ? REGION_READY : REGION_FAILED);
    tier_done(tier->cache, region);
}

/* What is only to be linked; then by what was asked for most since, then the newest: older ones have had their chance
 * to be asked for. */
static bool goes_first(const struct region *a, const struct region *b)
{
    uint32_t a_demand = atomic_load_explicit(&a->demand, memory_order_relaxed);
    uint32_t b_demand = atomic_load_explicit(&b->demand, memory_order_relaxed);

    if (!a->known != !b->known)
        return a->known;
    return a_demand != b_demand ? a_demand > b_demand : a->id > b->id;
}

/* Under the lock. */
static struct region *take_hottest(struct tier *tier)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < tier->waiting; i++) {
        if (goes_first(tier->queue[i], tier->queue[best]))
            best = i;
    }
    struct region *region = tier->queue[best];
    tier->queue[best] = tier->queue[--tier->waiting];
    return region;
}

static void *work(void *opaque)
{
    struct tier *tier = opaque;

    sandbox_enter(SANDBOX_COMPILE);
    pthread_mutex_lock(&tier->lock);
    struct compiler *compiler = tier->compilers[tier->next_worker++];
    while (!tier->stopping) {
        if (tier->freed) {
            tier->freed = false;
            pthread_mutex_unlock(&tier->lock);
            linker_collect(tier->linker);
            pthread_mutex_lock(&tier->lock);
            continue;
        }
        if (!tier->waiting) {
            pthread_cond_wait(&tier->work, &tier->lock);
            continue;
        }
        struct region *region = take_hottest(tier);
        pthread_mutex_unlock(&tier->lock);
        compile(tier, compiler, region);
        pthread_mutex_lock(&tier->lock);
    }
    pthread_mutex_unlock(&tier->lock);
    return NULL;
}

static void stop(struct tier *tier)
{
    pthread_mutex_lock(&tier->lock);
    tier->stopping = true;
    pthread_cond_broadcast(&tier->work);
    pthread_mutex_unlock(&tier->lock);
    for (unsigned i = 0; i < tier->thread_count; i++)
        pthread_join(tier->threads[i], NULL);
    tier->thread_count = 0;
    while (tier->waiting) {
        struct region *region = tier->queue[--tier->waiting];
        atomic_store(&region->state, REGION_FAILED);
        tier_done(tier->cache, region);
    }
}

static void destroy(struct tier *tier)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        compiler_destroy(tier->compilers[i]);
    linker_destroy(tier->linker);
    disassembler_destroy(tier->disassembler);
    profiler_destroy(tier->profiler);
    pthread_mutex_destroy(&tier->lock);
    pthread_mutex_destroy(&tier->sync_lock);
    pthread_cond_destroy(&tier->work);
    free(tier->queue);
    free(tier);
}

static int create(const struct tier_config *config, struct region_cache *cache, struct tier **out, struct error *err)
{
    struct tier *tier = calloc(1, sizeof(*tier));
    unsigned workers = config->sync ? 1 : config->tunables.workers;
    int rc = 0;

    if (!tier)
        return error_set(err, -ENOMEM, "no memory for the LLVM tier");
    tier->config = *config;
    tier->cache = cache;
    tier->store = config->store && kept_may_be(config) && kept_by_this_llvm() ? config->store : NULL;
    pthread_mutex_init(&tier->lock, NULL);
    pthread_mutex_init(&tier->sync_lock, NULL);
    pthread_cond_init(&tier->work, NULL);
    tier->queue = calloc(tier_room(&config->tunables), sizeof(struct region *));
    if (!tier->queue)
        rc = error_set(err, -ENOMEM, "no memory for a queue of %u regions", config->tunables.queue);
    for (unsigned i = 0; i < workers && rc == 0; i++)
        rc = compiler_create(config, &tier->compilers[i], err);
    if (rc == 0)
        rc = profiler_create(config, &tier->profiler, err);
    if (rc == 0)
        rc = linker_create(config->verify > 0, config->gdb, &tier->linker, err);
    if (rc == 0 && config->dump.what & TIER_DUMP_BLOCK)
        rc = disassembler_create(&tier->disassembler, err);
    for (unsigned i = 0; i < workers && rc == 0 && !config->sync; i++) {
        rc = -pthread_create(&tier->threads[i], NULL, work, tier);
        if (rc) {
            (void)error_set(err, rc, "a compiling thread could not be started: %s", strerror(-rc));
        } else {
            tier->thread_count++;
            pthread_setname_np(tier->threads[i], "tuff-llvm");
        }
    }
    if (rc) {
        stop(tier);
        destroy(tier);
        return rc;
    }
    *out = tier;
    return 0;
}

static bool submit(struct tier *tier, struct region *region)
{
    if (tier->config.sync) {
        pthread_mutex_lock(&tier->sync_lock);
        compile(tier, tier->compilers[0], region);
        pthread_mutex_unlock(&tier->sync_lock);
        return true;
    }
    pthread_mutex_lock(&tier->lock);
    bool room = !tier->stopping && tier->waiting < tier_room(&tier->config.tunables);
    if (room) {
        tier->queue[tier->waiting++] = region;
        pthread_cond_signal(&tier->work);
    }
    pthread_mutex_unlock(&tier->lock);
    return room;
}

/* A hart calls this: unmapping is left to a compiling thread where there is one. */
static void free_code(struct tier *tier, struct region *region)
{
    linker_remove(tier->linker, region->tier_data);
    if (tier->config.sync) {
        linker_collect(tier->linker);
        return;
    }
    pthread_mutex_lock(&tier->lock);
    tier->freed = true;
    pthread_cond_signal(&tier->work);
    pthread_mutex_unlock(&tier->lock);
}

static size_t disassemble(struct tier *tier, const uint8_t *code, size_t bytes, char *text, size_t size)
{
    return disassembler_text(tier->disassembler, code, bytes, text, size);
}

const struct tier_ops *llvm_tier_ops(void)
{
    static const struct tier_ops ops = {
        .name = "llvm",
        .create = create,
        .stop = stop,
        .destroy = destroy,
        .submit = submit,
        .build = kept_build,
        .free_code = free_code,
        .disassemble = disassemble,
    };

    return &ops;
}
