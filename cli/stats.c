/* Statistics; see stats.h. Counters are known by name only, so a new one in any folder appears here by itself. */
#include "cli/stats.h"

#include "cli/regions.h"

#include "base/sandbox.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { HARTS_A_BLOCK = 6, NAME_COLUMN = 20, VALUE_COLUMN = 16 };

struct stats_entry {
    uint32_t hart; /* UINT32_MAX: the machine's */
    char *name, *text;
    uint64_t value;
};

struct stats {
    struct stats_entry *entries;
    size_t count, capacity;
    uint32_t hart_count;
    bool out_of_memory;
};

struct stats *stats_create(void)
{
    return calloc(1, sizeof(struct stats));
}

void stats_destroy(struct stats *stats)
{
    if (!stats)
        return;
    for (size_t i = 0; i < stats->count; i++) {
        free(stats->entries[i].name);
        free(stats->entries[i].text);
    }
    free(stats->entries);
    free(stats);
}

static struct stats_entry *entry_find(const struct stats *stats, uint32_t hart, const char *name)
{
    for (size_t i = 0; i < stats->count; i++) {
        if (stats->entries[i].hart == hart && strcmp(stats->entries[i].name, name) == 0)
            return &stats->entries[i];
    }
    return NULL;
}

static struct stats_entry *entry_new(struct stats *stats, uint32_t hart, const char *name, const char *text)
{
    struct stats_entry *entry;

    if (stats->count == stats->capacity) {
        size_t capacity = stats->capacity ? stats->capacity * 2 : 64;
        struct stats_entry *entries = reallocarray(stats->entries, capacity, sizeof(*entries));
        if (!entries)
            return NULL;
        stats->entries = entries;
        stats->capacity = capacity;
    }
    entry = &stats->entries[stats->count];
    *entry = (struct stats_entry){.hart = hart, .name = strdup(name), .text = strdup(text)};
    if (!entry->name || !entry->text) {
        free(entry->name);
        free(entry->text);
        return NULL;
    }
    stats->count++;
    return entry;
}

static void add_counter(void *opaque, uint32_t hart, const char *name, const char *text, uint64_t value)
{
    struct stats *stats = opaque;
    struct stats_entry *entry = entry_find(stats, hart, name);

    if (!entry)
        entry = entry_new(stats, hart, name, text);
    if (!entry) {
        stats->out_of_memory = true;
        return;
    }
    entry->value += value;
    if (hart != UINT32_MAX && hart >= stats->hart_count)
        stats->hart_count = hart + 1;
}

void stats_add(struct stats *stats, struct machine *machine)
{
    machine_stats(machine, add_counter, stats);
}

static uint64_t sum_over_harts(const struct stats *stats, const char *name)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < stats->count; i++) {
        if (stats->entries[i].hart != UINT32_MAX && strcmp(stats->entries[i].name, name) == 0)
            sum += stats->entries[i].value;
    }
    return sum;
}

uint64_t stats_insns(const struct stats *stats)
{
    return sum_over_harts(stats, "insns");
}

/* True for the first entry of its name among the harts': each name gets one row. */
static bool starts_row(const struct stats *stats, size_t index)
{
    if (stats->entries[index].hart == UINT32_MAX)
        return false;
    for (size_t i = 0; i < index; i++) {
        if (stats->entries[i].hart != UINT32_MAX && strcmp(stats->entries[i].name, stats->entries[index].name) == 0)
            return false;
    }
    return true;
}

struct host_use {
    double user_seconds, system_seconds;
    uint64_t peak_rss_bytes;
};

static struct host_use host_use_now(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (struct host_use){
        .user_seconds = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6,
        .system_seconds = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6,
        .peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024, /* Linux counts in KiB */
    };
}

/* Millions of instructions a second while harts ran; 0 when nothing ran. */
static double mips(const struct stats *stats, const struct stats_run *run)
{
    return run->run_ns ? (double)stats_insns(stats) * 1000.0 / (double)run->run_ns : 0;
}

static void print_block(const struct stats *stats, uint32_t first, uint32_t end, FILE *out)
{
    fprintf(out, "\n%-*s%*s", NAME_COLUMN, "counter", VALUE_COLUMN, "total");
    for (uint32_t hart = first; hart < end; hart++)
        fprintf(out, "%*s%-3u", VALUE_COLUMN - 3, "hart ", hart);
    fprintf(out, "  what\n");
    for (size_t i = 0; i < stats->count; i++) {
        const struct stats_entry *row = &stats->entries[i];
        if (!starts_row(stats, i))
            continue;
        fprintf(out, "%-*s%*llu", NAME_COLUMN, row->name, VALUE_COLUMN,
                (unsigned long long)sum_over_harts(stats, row->name));
        for (uint32_t hart = first; hart < end; hart++) {
            const struct stats_entry *entry = entry_find(stats, hart, row->name);
            fprintf(out, "%*llu", VALUE_COLUMN, entry ? (unsigned long long)entry->value : 0ull);
        }
        fprintf(out, "  %s\n", row->text);
    }
}

void stats_print_table(const struct stats *stats, const struct stats_run *run, FILE *out)
{
    struct host_use host = host_use_now();
    char confined[160];

    fprintf(out, "\ntuff: statistics\n");
    fprintf(out, "%-*s%s, exit code %u, %u boot%s\n", NAME_COLUMN, "end", run->end, run->exit_code, run->boots,
            run->boots == 1 ? "" : "s");
    fprintf(out, "%-*s%.3f s to start, %.3f s running\n", NAME_COLUMN, "host wall time", (double)run->start_ns / 1e9,
            (double)run->run_ns / 1e9);
    fprintf(out, "%-*s%.3f s user, %.3f s system\n", NAME_COLUMN, "host CPU time", host.user_seconds,
            host.system_seconds);
    fprintf(out, "%-*s%s\n", NAME_COLUMN, "placement", run->placement);
    sandbox_describe(confined, sizeof(confined));
    fprintf(out, "%-*s%s\n", NAME_COLUMN, "sandbox", confined);
    fprintf(out, "%-*s%.1f MiB\n", NAME_COLUMN, "peak memory", (double)host.peak_rss_bytes / (1 << 20));
    fprintf(out, "%-*s%.1f million instructions a second (%llu)\n", NAME_COLUMN, "speed", mips(stats, run),
            (unsigned long long)stats_insns(stats));
    for (size_t i = 0; i < stats->count; i++) {
        const struct stats_entry *entry = &stats->entries[i];
        if (entry->hart == UINT32_MAX)
            fprintf(out, "%-*s %llu  %s\n", NAME_COLUMN, entry->name, (unsigned long long)entry->value, entry->text);
    }
    for (uint32_t first = 0; first < stats->hart_count; first += HARTS_A_BLOCK) {
        uint32_t end = first + HARTS_A_BLOCK < stats->hart_count ? first + HARTS_A_BLOCK : stats->hart_count;
        print_block(stats, first, end, out);
    }
    if (stats->out_of_memory)
        fprintf(out, "(some counters are missing: not enough host memory)\n");
}

/* The counters of one hart, or of the machine (UINT32_MAX). */
static json_t *json_counters(const struct stats *stats, uint32_t hart)
{
    json_t *object = json_object();

    for (size_t i = 0; object && i < stats->count; i++) {
        if (stats->entries[i].hart == hart)
            json_object_set_new(object, stats->entries[i].name, json_integer((json_int_t)stats->entries[i].value));
    }
    return object;
}

static json_t *json_totals(const struct stats *stats)
{
    json_t *object = json_object();

    for (size_t i = 0; object && i < stats->count; i++) {
        const char *name = stats->entries[i].name;
        if (starts_row(stats, i))
            json_object_set_new(object, name, json_integer((json_int_t)sum_over_harts(stats, name)));
    }
    return object;
}

static json_t *json_harts(const struct stats *stats)
{
    json_t *array = json_array();

    for (uint32_t hart = 0; array && hart < stats->hart_count; hart++) {
        json_t *object = json_counters(stats, hart);
        json_object_set_new(object, "hart", json_integer(hart));
        json_array_append_new(array, object);
    }
    return array;
}

int stats_print_json(const struct stats *stats, struct regions *regions, const struct stats_run *run, FILE *out)
{
    struct host_use host = host_use_now();
    char confined[160];

    sandbox_describe(confined, sizeof(confined));
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:o, s:o, s:o, s:o}",
                             "version", 1, "end", run->end, "placement", run->placement, "sandbox", confined,
                             "exit_code", (json_int_t)run->exit_code, "boots", (json_int_t)run->boots, "start_seconds",
                             (double)run->start_ns / 1e9, "run_seconds", (double)run->run_ns / 1e9, "cpu_user_seconds",
                             host.user_seconds, "cpu_system_seconds", host.system_seconds, "peak_rss_bytes",
                             (json_int_t)host.peak_rss_bytes, "instructions", (json_int_t)stats_insns(stats), "mips",
                             mips(stats, run), "total", json_totals(stats), "harts", json_harts(stats), "machine",
                             json_counters(stats, UINT32_MAX), "regions", regions_json(regions));
    int rc = 0;

    if (!root || stats->out_of_memory)
        rc = -ENOMEM;
    else if (json_dumpf(root, out, JSON_COMPACT | JSON_REAL_PRECISION(9)) || fputc('\n', out) == EOF)
        rc = -EIO;
    json_decref(root);
    return rc;
}
