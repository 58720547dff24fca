/* See placement.h. `auto`: vCPUs one a core as long as there are cores, then on the siblings; compiling threads on the
 * siblings of the vCPUs' cores, and devices' threads on cores that are left, each wherever there is anything else.
 */
#include "machine/placement.h"

#include "base/library.h"
#include "mem/mem.h"

#include <ctype.h>
#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <limits.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[PLACEMENT_KINDS] = {
    [PLACEMENT_VCPU] = "vcpu", [PLACEMENT_IO] = "io", [PLACEMENT_COMPILE] = "compile"};

/* ---- by list ---- */

static bool read_number(const char **at, unsigned *out)
{
    char *end;

    if (!isdigit((unsigned char)**at))
        return false;
    unsigned long value = strtoul(*at, &end, 10);
    *at = end;
    *out = (unsigned)value;
    return value < CPU_SETSIZE;
}

static void add_cpu(struct placement *p, enum placement_kind kind, unsigned cpu)
{
    if (kind == PLACEMENT_VCPU && !CPU_ISSET(cpu, &p->sets[kind]))
        p->vcpu[p->vcpu_count++] = (int)cpu;
    CPU_SET(cpu, &p->sets[kind]);
}

/* "0-3+8", to the end or a comma. */
static bool read_cpus(const char **at, struct placement *p, enum placement_kind kind)
{
    for (;;) {
        unsigned first, last;
        if (!read_number(at, &first))
            return false;
        last = first;
        if (**at == '-') {
            ++*at;
            if (!read_number(at, &last) || last < first)
                return false;
        }
        for (unsigned cpu = first; cpu <= last; cpu++)
            add_cpu(p, kind, cpu);
        if (**at != '+')
            return **at == '\0' || **at == ',';
        ++*at;
    }
}

static bool read_kinds(const char *at, struct placement *p)
{
    for (;;) {
        unsigned kind = 0;
        size_t len = strcspn(at, "=,");
        while (kind < PLACEMENT_KINDS && (strlen(kind_names[kind]) != len || strncmp(at, kind_names[kind], len) != 0))
            kind++;
        if (kind == PLACEMENT_KINDS || at[len] != '=')
            return false;
        at += len + 1;
        if (!read_cpus(&at, p, (enum placement_kind)kind))
            return false;
        if (!*at)
            return true;
        at++;
    }
}

/* ---- by topology ---- */

struct topology {
    int cores[CPU_SETSIZE], siblings[CPU_SETSIZE]; /* first and further hardware threads of each core, usable ones */
    unsigned core_count, sibling_count;
};

#define HWLOC_FUNCTIONS(X)    \
    X(hwloc_topology_init)    \
    X(hwloc_topology_load)    \
    X(hwloc_topology_destroy) \
    X(hwloc_get_type_depth)   \
    X(hwloc_get_obj_by_depth) \
    X(hwloc_bitmap_first)     \
    X(hwloc_bitmap_next)

LIBRARY(hwloc_library, HWLOC_FUNCTIONS, .file = "libhwloc.so.15", .package = "libhwloc15", .use = "--affinity=auto");

static int unreadable(int rc, struct error *err)
{
    return error_set(err, rc, "the host's topology cannot be read: %s; give lists of CPUs", strerror(-rc));
}

static int read_topology(const cpu_set_t *usable, struct topology *t, struct error *err)
{
    struct {
        HWLOC_FUNCTIONS(LIBRARY_POINTER)
    } lib;
    hwloc_topology_t host;
    hwloc_obj_t core;

    memset(t, 0, sizeof(*t));
    int rc = library_load(&hwloc_library, &lib, err);
    if (rc)
        return rc;
    if (lib.hwloc_topology_init(&host))
        return unreadable(-ENOMEM, err);
    if (lib.hwloc_topology_load(host)) {
        lib.hwloc_topology_destroy(host);
        return unreadable(-EIO, err);
    }
    int depth = lib.hwloc_get_type_depth(host, HWLOC_OBJ_CORE);
    for (unsigned i = 0; (core = lib.hwloc_get_obj_by_depth(host, depth, i)); i++) {
        bool first = true;
        int cpu;
        for (cpu = lib.hwloc_bitmap_first(core->cpuset); cpu >= 0; cpu = lib.hwloc_bitmap_next(core->cpuset, cpu)) {
            if (cpu >= CPU_SETSIZE || !CPU_ISSET((unsigned)cpu, usable))
                continue;
            if (first)
                t->cores[t->core_count++] = cpu;
            else
                t->siblings[t->sibling_count++] = cpu;
            first = false;
        }
    }
    lib.hwloc_topology_destroy(host);
    return t->core_count ? 0 : unreadable(-ENODEV, err);
}

static void place_by_topology(const struct topology *t, uint32_t vcpus, struct placement *p)
{
    unsigned on_cores = vcpus < t->core_count ? vcpus : t->core_count;
    unsigned on_siblings = vcpus - on_cores < t->sibling_count ? vcpus - on_cores : t->sibling_count;

    for (unsigned i = 0; i < on_cores; i++)
        add_cpu(p, PLACEMENT_VCPU, (unsigned)t->cores[i]);
    for (unsigned i = 0; i < on_siblings; i++)
        add_cpu(p, PLACEMENT_VCPU, (unsigned)t->siblings[i]);
    for (unsigned i = on_siblings; i < t->sibling_count; i++)
        add_cpu(p, PLACEMENT_COMPILE, (unsigned)t->siblings[i]);
    for (unsigned i = on_cores; i < t->core_count; i++)
        add_cpu(p, PLACEMENT_IO, (unsigned)t->cores[i]);
    /* Where a kind has nothing of its own it shares with the other, or stays free beside all. */
    if (!CPU_COUNT(&p->sets[PLACEMENT_COMPILE]))
        p->sets[PLACEMENT_COMPILE] = p->sets[PLACEMENT_IO];
    if (!CPU_COUNT(&p->sets[PLACEMENT_IO]))
        p->sets[PLACEMENT_IO] = p->sets[PLACEMENT_COMPILE];
}

static int check_usable(const struct placement *p, const cpu_set_t *usable, struct error *err)
{
    for (unsigned kind = 0; kind < PLACEMENT_KINDS; kind++) {
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &p->sets[kind]) && !CPU_ISSET(cpu, usable))
                return error_set(err, -EINVAL, "CPU %u (%s) is not one that this program may use: choose others", cpu,
                                 kind_names[kind]);
        }
    }
    return 0;
}

static int make_affinity(const struct placement_config *config, struct placement *out, struct error *err)
{
    struct topology topology;
    cpu_set_t usable;

    if (!config->affinity)
        return 0;
    if (sched_getaffinity(0, sizeof(usable), &usable))
        return error_set(err, -errno, "the CPUs that this program may use cannot be read: %s", strerror(errno));
    if (strcmp(config->affinity, "auto") == 0) {
        int rc = read_topology(&usable, &topology, err);
        if (rc)
            return rc;
        place_by_topology(&topology, config->vcpu_count, out);
        return 0;
    }
    if (!read_kinds(config->affinity, out))
        return error_set(err, -EINVAL,
                         "the affinity '%s' is not understood: give auto, or lists like vcpu=0-3+8,io=4,"
                         "compile=5",
                         config->affinity);
    return check_usable(out, &usable, err);
}

/* ---- NUMA ---- */

#define NUMA_FUNCTIONS(X)     \
    X(numa_available)         \
    X(numa_max_node)          \
    X(numa_get_mems_allowed)  \
    X(numa_bitmask_isbitset)  \
    X(numa_bitmask_free)      \
    X(numa_interleave_memory) \
    X(numa_set_strict)        \
    X(numa_tonode_memory)

LIBRARY(numa_library, NUMA_FUNCTIONS, .file = "libnuma.so.1", .package = "libnuma1", .use = "--numa");

struct numa_lib {
    NUMA_FUNCTIONS(LIBRARY_POINTER)
};

static bool node_is_allowed(const struct numa_lib *lib, unsigned node)
{
    struct bitmask *allowed = lib->numa_get_mems_allowed();
    bool is = (int)node <= lib->numa_max_node() && lib->numa_bitmask_isbitset(allowed, node);

    lib->numa_bitmask_free(allowed);
    return is;
}

static int make_numa(const struct placement_config *config, struct placement *out, struct error *err)
{
    const char *at = config->numa;
    struct numa_lib lib;
    unsigned node;

    if (!at)
        return 0;
    int rc = library_load(&numa_library, &lib, err);
    if (rc)
        return rc;
    if (lib.numa_available() < 0)
        return error_set(err, -ENOTSUP, "the host's kernel has no NUMA: leave --numa out");
    if (strcmp(at, "interleave") == 0) {
        out->interleave = true;
        return 0;
    }
    if (!read_number(&at, &node) || *at || node > INT_MAX || !node_is_allowed(&lib, node))
        return error_set(err, -EINVAL, "the NUMA node '%s' is not one of this host's (0 to %d), nor is it interleave",
                         config->numa, lib.numa_max_node());
    out->numa_node = (int)node;
    return 0;
}

int placement_make(const struct placement_config *config, struct placement *out, struct error *err)
{
    memset(out, 0, sizeof(*out));
    out->numa_node = -1;
    int rc = make_affinity(config, out, err);
    return rc ? rc : make_numa(config, out, err);
}

int placement_bind(const struct placement *placement, void *host, size_t size_bytes, struct error *err)
{
    struct numa_lib lib;

    if (!placement->interleave && placement->numa_node < 0)
        return 0;
    int rc = library_load(&numa_library, &lib, err);
    if (rc)
        return rc;
    if (placement->interleave) {
        struct bitmask *allowed = lib.numa_get_mems_allowed();
        lib.numa_interleave_memory(host, size_bytes, allowed);
        lib.numa_bitmask_free(allowed);
    } else {
        errno = 0;
        lib.numa_set_strict(1);
        lib.numa_tonode_memory(host, size_bytes, placement->numa_node);
        if (errno)
            return error_set(err, -errno, "RAM cannot be bound to NUMA node %d: %s", placement->numa_node,
                             strerror(errno));
    }
    return 0;
}

/* ---- use ---- */

void placement_enter(const struct placement *placement, enum placement_kind kind, uint32_t vcpu, cpu_set_t *before)
{
    cpu_set_t one;

    if (before && sched_getaffinity(0, sizeof(*before), before))
        CPU_ZERO(before);
    if (!CPU_COUNT(&placement->sets[kind]))
        return;
    CPU_ZERO(&one);
    if (kind == PLACEMENT_VCPU)
        CPU_SET((unsigned)placement->vcpu[vcpu % placement->vcpu_count], &one);
    else
        one = placement->sets[kind];
    (void)sched_setaffinity(0, sizeof(one), &one);
}

void placement_leave(const cpu_set_t *before)
{
    if (CPU_COUNT(before))
        (void)sched_setaffinity(0, sizeof(*before), before);
}

/* What the kernel says of huge pages for shared memory: the word in brackets. */
static void huge_pages(char *text, size_t size)
{
    char line[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");

    if (file) {
        if (!fgets(line, sizeof(line), file))
            line[0] = '\0';
        fclose(file);
    }
    const char *begin = strchr(line, '['), *end = begin ? strchr(begin, ']') : NULL;
    if (end)
        snprintf(text, size, "%.*s", (int)(end - begin - 1), begin + 1);
    else
        snprintf(text, size, "not known");
}

static void append_pages(char *text, size_t size, const struct mem *mem)
{
    static const char *const asked[] = {[MEM_PAGES_AUTO] = "huge pages asked for",
                                        [MEM_PAGES_SMALL] = "no huge pages",
                                        [MEM_PAGES_RESERVED] = "reserved huge pages"};
    int64_t bytes = mem_ram_huge_bytes(mem);
    char host[32];

    huge_pages(host, sizeof(host));
    size_t len = strlen(text);
    snprintf(text + len, size - len, ", %s (host: %s)", asked[mem_ram_pages(mem)], host);
    len = strlen(text);
    if (bytes >= 0)
        snprintf(text + len, size - len, ", %" PRId64 " MiB in them", bytes >> 20);
}

static void append_set(char *text, size_t size, const cpu_set_t *set)
{
    bool first = true;

    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        size_t len = strlen(text);
        if (CPU_ISSET(cpu, set)) {
            snprintf(text + len, size - len, "%s%u", first ? "" : "+", cpu);
            first = false;
        }
    }
    if (first)
        snprintf(text + strlen(text), size - strlen(text), "any");
}

void placement_describe(const struct placement *placement, const struct mem *mem, char *text, size_t size)
{
    text[0] = '\0';
    for (unsigned kind = 0; kind < PLACEMENT_KINDS; kind++) {
        size_t len = strlen(text);
        snprintf(text + len, size - len, "%s CPUs ", kind_names[kind]);
        append_set(text, size, &placement->sets[kind]);
        snprintf(text + strlen(text), size - strlen(text), ", ");
    }
    size_t len = strlen(text);
    if (placement->numa_node >= 0)
        snprintf(text + len, size - len, "RAM on node %d", placement->numa_node);
    else
        snprintf(text + len, size - len, "RAM %s", placement->interleave ? "interleaved" : "on any node");
    append_pages(text, size, mem);
}
