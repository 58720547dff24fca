/* The tier as far as it is needed before LLVM is there: a thread that waits for the first region, and a queue of those
 * that come while it loads. What a user wants to see of the compiler, or to wait for, loads it at once, so that
 * whatever is wrong with such an option is said before the guest runs. See loader.h. */
#include "llvm/loader.h"

#include "base/log.h"
#include "engine/region/region.h"
#include "kept_digest.h"
#include "llvm/kept.h"
#include "llvm/tier.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tier {
    struct tier_config config;
    struct region_cache *cache;
    char path[PATH_MAX];
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct region **queue; /* of those that came before `inner` was there */
    uint32_t waiting;
    bool stopping, failed;
    /* Under the lock until they are set, then they stay. */
    const struct tier_ops *ops;
    struct tier *inner;
};

static int find_module(char path[PATH_MAX], struct error *err)
{
    char self[PATH_MAX - sizeof(LOADER_MODULE)];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len < 0)
        return error_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    (void)snprintf(path, PATH_MAX, "%s/" LOADER_MODULE, self);
    if (access(path, R_OK))
        return error_set(err, -errno, "the compiler, '%s', cannot be read: %s (--tier=baseline does without)", path,
                         strerror(errno));
    return 0;
}

/* Passes in plugins find LLVM's symbols in the global scope, so that is where they are loaded to. Never unloaded: LLVM
 * registers itself in too many places. */
static int load(struct tier *tier, struct error *err)
{
    const struct tier_ops *(*entry)(void) = NULL;
    struct tier *inner;
    void *module = dlopen(tier->path, RTLD_NOW | RTLD_GLOBAL);

    if (module)
        *(void **)&entry = dlsym(module, LOADER_ENTRY);
    if (!entry)
        return error_set(err, -ELIBACC, "the compiler could not be loaded: %s", dlerror());
    const struct tier_ops *ops = entry();
    int rc = ops->create(&tier->config, tier->cache, &inner, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&tier->lock);
    tier->ops = ops;
    tier->inner = inner;
    pthread_mutex_unlock(&tier->lock);
    return 0;
}

/* With a reason, or without one: the machine ended while it waited. */
static void give_up(struct tier *tier, struct region *region, const char *failure)
{
    region->failure = failure;
    atomic_store(&region->state, REGION_FAILED);
    tier_done(tier->cache, region);
}

/* Hands over what has come meanwhile, which the compiler has as much room for, or gives it up. */
static void empty_queue(struct tier *tier, const char *failure)
{
    while (tier->waiting) {
        struct region *region = tier->queue[--tier->waiting];
        if (!tier->inner || !tier->ops->submit(tier->inner, region))
            give_up(tier, region, failure);
    }
}

static const char failure[] = "the compiler could not be loaded";

static void *load_when_wanted(void *opaque)
{
    struct tier *tier = opaque;
    struct error err;

    pthread_mutex_lock(&tier->lock);
    while (!tier->waiting && !tier->stopping)
        pthread_cond_wait(&tier->changed, &tier->lock);
    bool wanted = !tier->stopping;
    pthread_mutex_unlock(&tier->lock);
    if (!wanted)
        return NULL;
    int rc = load(tier, &err);
    if (rc)
        log_write(LOG_LEVEL_ERROR, LOG_JIT, "%s; the guest goes on without", err.text);
    pthread_mutex_lock(&tier->lock);
    tier->failed = rc != 0;
    pthread_mutex_unlock(&tier->lock);
    /* From here on nobody queues any more. */
    empty_queue(tier, rc ? failure : NULL);
    return NULL;
}

/* Any option whose mistakes the compiler finds, and what compiles on the guest's thread. */
static bool is_wanted_at_once(const struct tier_config *config)
{
    return config->sync || config->dump.what || config->passes || config->plugins || config->jitdump || config->gdb ||
           config->perf_map || config->verify || config->plant;
}

static void stop(struct tier *tier)
{
    pthread_mutex_lock(&tier->lock);
    tier->stopping = true;
    pthread_cond_signal(&tier->changed);
    pthread_mutex_unlock(&tier->lock);
    if (tier->thread_runs)
        pthread_join(tier->thread, NULL);
    tier->thread_runs = false;
    if (tier->inner)
        tier->ops->stop(tier->inner);
    empty_queue(tier, NULL);
}

static void destroy(struct tier *tier)
{
    if (tier->inner)
        tier->ops->destroy(tier->inner);
    pthread_mutex_destroy(&tier->lock);
    pthread_cond_destroy(&tier->changed);
    free(tier->queue);
    free(tier);
}

static int start_thread(struct tier *tier, struct error *err)
{
    tier->queue = calloc(tier_room(&tier->config.tunables), sizeof(struct region *));
    if (!tier->queue)
        return error_set(err, -ENOMEM, "no memory for a queue of %u regions", tier->config.tunables.queue);
    int rc = -pthread_create(&tier->thread, NULL, load_when_wanted, tier);
    if (rc)
        return error_set(err, rc, "a compiling thread could not be started: %s", strerror(-rc));
    tier->thread_runs = true;
    pthread_setname_np(tier->thread, "tuff-llvm-load");
    return 0;
}

static int create(const struct tier_config *config, struct region_cache *cache, struct tier **out, struct error *err)
{
    struct tier *tier = calloc(1, sizeof(*tier));

    if (!tier)
        return error_set(err, -ENOMEM, "no memory for the LLVM tier");
    tier->config = *config;
    tier->cache = cache;
    pthread_mutex_init(&tier->lock, NULL);
    pthread_cond_init(&tier->changed, NULL);
    int rc = find_module(tier->path, err);
    if (rc == 0)
        rc = is_wanted_at_once(config) ? load(tier, err) : start_thread(tier, err);
    if (rc) {
        destroy(tier);
        return rc;
    }
    *out = tier;
    return 0;
}

static bool submit(struct tier *tier, struct region *region)
{
    pthread_mutex_lock(&tier->lock);
    bool queued = !tier->inner && !tier->failed && !tier->stopping && tier->waiting < tier_room(&tier->config.tunables);
    if (queued) {
        tier->queue[tier->waiting++] = region;
        pthread_cond_signal(&tier->changed);
    }
    struct tier *inner = tier->inner;
    bool failed = tier->failed;
    pthread_mutex_unlock(&tier->lock);
    if (inner)
        return tier->ops->submit(inner, region);
    if (failed)
        give_up(tier, region, failure);
    return queued || failed;
}

/* Code was made by the compiler, so it is there. */
static void free_code(struct tier *tier, struct region *region)
{
    tier->ops->free_code(tier->inner, region);
}

/* With --dump the compiler was loaded at once. */
static size_t disassemble(struct tier *tier, const uint8_t *code, size_t bytes, char *text, size_t size)
{
    return tier->ops->disassemble(tier->inner, code, bytes, text, size);
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
