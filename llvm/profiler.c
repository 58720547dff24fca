/* perf's map of names, written here (tools/perf/Documentation/jit-interface.txt in Linux), and its file of code
 * (jitdump.h); see profiler.h. */
#include "llvm/profiler.h"

#include "base/symbols.h"
#include "engine/region/region.h"
#include "llvm/jitdump.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct profiler {
    const struct symbols *symbols;
    pthread_mutex_t lock;
    FILE *map;
    struct jitdump *dump;
};

static int open_map(struct profiler *p, struct error *err)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    p->map = fopen(path, "we");
    if (!p->map)
        return error_set(err, -errno, "%s cannot be written: %s", path, strerror(errno));
    return 0;
}

int profiler_create(const struct tier_config *config, struct profiler **out, struct error *err)
{
    struct profiler *p = calloc(1, sizeof(*p));

    if (!p)
        return error_set(err, -ENOMEM, "no memory for what perf is told");
    p->symbols = config->symbols;
    pthread_mutex_init(&p->lock, NULL);
    int rc = config->perf_map ? open_map(p, err) : 0;
    if (rc == 0 && config->jitdump)
        rc = jitdump_create(config->jitdump, &p->dump, err);
    if (rc) {
        profiler_destroy(p);
        return rc;
    }
    *out = p;
    return 0;
}

void profiler_destroy(struct profiler *p)
{
    if (!p)
        return;
    jitdump_destroy(p->dump);
    if (p->map)
        (void)fclose(p->map);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void profiler_note(struct profiler *p, const struct region *region, const char *name)
{
    char label[SYMBOLS_LABEL_BYTES], full[SYMBOLS_LABEL_BYTES + 32];

    if (!p->map && !p->dump)
        return;
    (void)snprintf(full, sizeof(full), "%s_at_%s", name, symbols_label(p->symbols, region_gva(region), label));
    if (p->dump)
        jitdump_load(p->dump, (const void *)region->code, region->code_bytes, region->id, full);
    if (!p->map)
        return;
    pthread_mutex_lock(&p->lock);
    (void)fprintf(p->map, "%" PRIxPTR " %zx %s\n", (uintptr_t)region->code, region->code_bytes, full);
    (void)fflush(p->map);
    pthread_mutex_unlock(&p->lock);
}
