/* What a compiling tier is to the engine. The engine knows no compiler; llvm/ fills in struct tier_ops.
 *
 * A tier gets regions (engine/region/region.h) through submit() and compiles them on threads of its own; when one is
 * done it calls tier_done().
 */
#ifndef TUFF_ENGINE_TIER_H
#define TUFF_ENGINE_TIER_H

#include "base/compiler.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct region;
struct region_cache;
struct store;
struct symbols;
struct tier;

/* Every number a tier's policy depends on. X(name, default, least, most, text) */
#define TIER_TUNABLES(X)                                                                                               \
    X(baseline, 3, 1, UINT32_MAX, "executions of a block after which the baseline tier compiles it")                   \
    X(threshold, 1000000, 0, UINT32_MAX, "executions of a block after which a region is compiled around it")           \
    X(promote, 400000, 1, UINT32_MAX, "entries into a region after which it is compiled again with the full pipeline") \
    X(promote_ticks, 8, 1, UINT32_MAX, "interruptions of a region after which it is compiled again")                   \
    X(first_level, 0, 0, 1, "0: regions start quick; 1: with the full pipeline at once")                               \
    X(region_insns, 200, 1, 4000, "most guest instructions of a quick region")                                         \
    X(big_region_insns, 1200, 1, 4000, "most guest instructions of a fully optimised region")                          \
    X(quick_cold_share, 8, 1, 1000000, "a block joins a quick region when it ran at least 1/N as often as the first")  \
    X(cold_share, 16, 1, 1000000, "the same for a fully optimised region")                                             \
    X(workers, 1, 1, 16, "compiling threads")                                                                          \
    X(queue, 256, 1, 65536, "regions that may wait to be compiled")                                                    \
    X(mirror, 100000, 0, UINT32_MAX, "memory accesses of regions after which a process gets a mirror; 0: none does")   \
    X(context_regions, 64, 1, 100000, "regions compiled in one LLVM context before it is renewed")                     \
    X(code_kib, 65536, 16, 4194304, "KiB that compiled code may take before the least used goes")

struct tier_tunables {
#define X(name, value, least, most, text) uint32_t name;
    TIER_TUNABLES(X)
#undef X
};

/* Regions that may wait and be compiled at once: before a thread took one, all of them wait. */
static inline uint32_t tier_room(const struct tier_tunables *tunables)
{
    return tunables->queue + tunables->workers;
}

/* Counters, one list: printed by --stats. X(name, text) */
#define TIER_COUNTERS(X)                                                             \
    X(regions_submitted, "regions chosen to be compiled")                            \
    X(regions_compiled, "regions compiled")                                          \
    X(regions_promoted, "regions compiled again with the full pipeline")             \
    X(regions_failed, "regions that could not be compiled")                          \
    X(regions_waiting, "regions still waiting when the machine ended")               \
    X(regions_installed, "regions installed, counted by hart")                       \
    X(regions_dropped, "regions taken out because bytes changed")                    \
    X(regions_evicted, "regions taken out to make room")                             \
    X(verify_equal, "runs of regions that the interpreter repeated alike")           \
    X(verify_skipped, "runs of regions that could not be repeated")                  \
    X(verify_differences, "runs of regions that the interpreter repeated otherwise") \
    X(region_insns, "guest instructions in compiled regions")                        \
    X(store_known, "regions of earlier runs that were known at the start")           \
    X(store_hits, "regions linked from the store instead of compiled")               \
    X(store_misses, "regions compiled that the store did not have")                  \
    X(store_rejected, "regions in the store that could not be used")                 \
    X(store_saved_us, "microseconds of compiling that earlier runs had spent")       \
    X(store_link_us, "microseconds of reading and linking from the store")           \
    X(store_wanted, "regions put into the store for tuff cache bake to compile")     \
    X(code_bytes, "bytes of compiled code made")                                     \
    X(code_bytes_live, "bytes of compiled code not freed")                           \
    X(compile_us, "microseconds of compiling")

struct tier_counters {
#define X(name, text) _Atomic uint64_t name;
    TIER_COUNTERS(X)
#undef X
};

/* What became of a region. */
enum tier_region_state {
    TIER_REGION_WAITING,  /* not compiled when the machine ended */
    TIER_REGION_UNUSED,   /* compiled, installed nowhere yet */
    TIER_REGION_LIVE,     /* installed */
    TIER_REGION_REPLACED, /* others, as a rule the same with the full pipeline, took over its entries */
    TIER_REGION_DROPPED,  /* its bytes changed */
    TIER_REGION_EVICTED,  /* others needed its room */
    TIER_REGION_FAILED,   /* see `failure` */
};

/* One region in numbers. */
struct tier_region {
    uint32_t number;
    uint8_t level;
    enum tier_region_state state;
    uint64_t gva; /* of its first instruction, where it was when it was chosen */
    uint32_t insns, blocks, pages;
    uint32_t ir_built, ir_optimised; /* LLVM's instructions before the passes, bodies inlined, and after */
    uint64_t code_bytes, compile_us;
    uint64_t executions; /* how often one of its entries was run */
    const char *failure; /* static string or NULL */
};

/* What to print of which regions: of those that all three conditions are true of. */
enum tier_dump_what {
    TIER_DUMP_GUEST = 1 << 0,
    TIER_DUMP_IR = 1 << 1,
    TIER_DUMP_OPT = 1 << 2,
    TIER_DUMP_ASM = 1 << 3,
    TIER_DUMP_BLOCK = 1 << 4, /* of blocks that the baseline tier compiles; they have no number */
};

struct tier_dump {
    unsigned what;        /* TIER_DUMP_*; 0: nothing */
    uint32_t region;      /* its number; 0: any */
    uint64_t first, last; /* an instruction of it has a byte there, where it was when it was chosen */
    const char *symbol;   /* an instruction of it belongs to it; NULL: any */
};

struct tier_config {
    struct tier_tunables tunables;
    bool sync;       /* submit() compiles before it returns: tests */
    bool random;     /* each block is for the interpreter, quick or full regions by chance: tests */
    uint64_t seed;   /* of that chance: the same seed and address, the same choice */
    uint32_t sample; /* only one block in so many is ever compiled; 0 or 1: all */
    uint64_t limit;  /* only the first so many regions are compiled (--jit-bisect); UINT64_MAX: all */
    struct tier_dump dump;
    struct store *store;           /* what earlier runs learnt; borrowed while the tier lives; NULL: none */
    FILE *dump_to;                 /* borrowed; needed with `dump.what` */
    const char *passes;            /* replaces the pipeline; LLVM's syntax */
    const char *plugins;           /* shared objects with passes for it, separated by commas; NULL: none */
    const struct symbols *symbols; /* names of guest code for people; borrowed while the tier lives; may be NULL */
    const char *jitdump;           /* folder for jit-PID.dump; NULL: none */
    bool gdb;                      /* makes regions known to a debugger of this process */
    bool perf_map;                 /* writes /tmp/perf-PID.map */
    uint32_t verify; /* each hart compares every so-many-th run of a region with the interpreter; 0: none */
    /* What differs, in lines that end in newlines; on the hart's thread, which stops afterwards. May be NULL. */
    void (*verify_report)(void *opaque, const char *text);
    void *verify_opaque;
    uint32_t plant; /* this region is miscompiled on purpose, to try `verify` and `limit`; 0: none */
};

struct tier_ops {
    const char *name;
    int (*create)(const struct tier_config *config, struct region_cache *cache, struct tier **out, struct error *err);
    /* Stops the threads; regions that wait are answered as failed. May be called twice. */
    void (*stop)(struct tier *tier);
    void (*destroy)(struct tier *tier); /* after all code was freed */
    /* Any thread. Takes the region; answers with tier_done(). False: the queue is full, the region stays the caller's.
     */
    bool (*submit)(struct tier *tier, struct region *region);
    /* One line that says what compiled code depends on beside a region's shape: equal lines, interchangeable code.
     * NULL: such code is not to be kept. The caller frees it. */
    char *(*build)(const struct tier_config *config);
    /* Any thread: the region's code is not run any more. */
    void (*free_code)(struct tier *tier, struct region *region);
    /* Any thread, when TIER_DUMP_BLOCK is asked for. Writes the first host instruction at `code` as text, cut to `size`
     * bytes; returns its length in bytes, 0 where there is none. */
    size_t (*disassemble)(struct tier *tier, const uint8_t *code, size_t bytes, char *text, size_t size);
};

void tier_config_default(struct tier_config *config);

/* The regions of a machine, with the tier that compiles them. Destroyed after all its vCPUs. Returns 0, -ENOMEM, or
 * what the tier's create() says. */
int region_cache_create(const struct tier_ops *ops, const struct tier_config *config, struct region_cache **out,
                        struct error *err) TUFF_MUST_CHECK;
/* Stops compiling: before the vCPUs go. With a store, what this run learnt is given to it. */
void region_cache_stop(struct region_cache *cache);
void region_cache_destroy(struct region_cache *cache);
const struct tier_counters *region_cache_counters(const struct region_cache *cache);
/* Every region in the order they were chosen, while no vCPU runs. Rows are kept of 65,536 regions; returns how many
 * more there were. */
typedef void (*tier_region_fn)(void *opaque, const struct tier_region *region);
uint64_t region_cache_each(struct region_cache *cache, tier_region_fn fn, void *opaque);

/* Compiles, on this thread and with everything the tier has, what the configuration's store wants compiled: regions
 * around what earlier runs had no time for, and the full version of quick ones of the kernel's. No machine is needed.
 * `progress` is told before each; false from it ends the bake. Returns 0 or what the tier's create() says; *compiled
 * regions are with the store then. */
typedef bool (*region_bake_fn)(void *opaque, uint32_t done, uint32_t all);
int region_bake(const struct tier_ops *ops, const struct tier_config *config, region_bake_fn progress, void *opaque,
                uint32_t *compiled, struct error *err) TUFF_MUST_CHECK;

/* Called by a tier on its own thread: the region is READY or FAILED. */
void tier_done(struct region_cache *cache, struct region *region);

#endif
