/* `tuff profile`: where guest code's time goes, from the profiles of regions in the database. A region's profile was
 * counted before it was compiled; afterwards only its entries are, so what its blocks ran is the profile, scaled. */
#include "cli/cache.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/values.h"

#include "base/symbols.h"
#include "engine/region/shape.h"
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = SYMBOLS_LABEL_BYTES, TOP_ROWS = 40 };

struct row {
    char name[NAME_BYTES];
    double insns; /* run in it, about */
};

struct profile {
    const struct symbols *symbols;
    struct row *rows;
    size_t count, capacity;
    double all;
    bool edges, no_memory;
};

/* The function of an address, without the offset in it. */
static void name_of(const struct profile *p, uint64_t gva, char name[NAME_BYTES])
{
    (void)symbols_label(p->symbols, gva, name);
    name[strcspn(name, "+")] = '\0';
}

static void add(struct profile *p, const char *name, double insns)
{
    size_t i = 0;

    while (i < p->count && strcmp(p->rows[i].name, name) != 0)
        i++;
    if (i == p->count && p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 256;
        struct row *rows = reallocarray(p->rows, capacity, sizeof(*rows));
        if (!rows) {
            p->no_memory = true;
            return;
        }
        p->rows = rows;
        p->capacity = capacity;
    }
    if (i == p->count) {
        p->rows[p->count] = (struct row){.insns = 0};
        (void)snprintf(p->rows[p->count++].name, NAME_BYTES, "%s", name);
    }
    p->rows[i].insns += insns;
    p->all += insns;
}

/* A jump or branch from one block to another, as "FROM -> TO". */
static void add_edge(struct profile *p, const struct region *r, const struct region_block *b,
                     const struct region_edge *e, double times)
{
    char from[NAME_BYTES], to[NAME_BYTES], both[NAME_BYTES];

    if (!e->count || times <= 0)
        return;
    (void)symbols_label(p->symbols, r->gva + (uint64_t)(int64_t)b->start, from);
    (void)symbols_label(p->symbols, r->gva + (uint64_t)(int64_t)e->offset, to);
    (void)snprintf(both, sizeof(both), "%.*s -> %.*s", NAME_BYTES / 2 - 4, from, NAME_BYTES / 2 - 4, to);
    add(p, both, times);
}

static void note_region(void *opaque, const struct store_region *stored)
{
    struct profile *p = opaque;
    struct region *r;
    uint64_t entered = 0;

    if (!stored->profile_bytes || region_shape_read(stored->shape, stored->shape_bytes, REGION_WHOLE, &r))
        return;
    r->gva = stored->gva - (uint64_t)(int64_t)r->entry_offset[0];
    if (region_profile_read(stored->profile, stored->profile_bytes, r) == 0) {
        for (uint32_t i = 0; i < r->entry_count; i++)
            entered += r->blocks[r->entry_block[i]].executions;
        double scale = entered ? (double)stored->entries / (double)entered : 0;
        for (uint32_t i = 0; i < r->block_count; i++) {
            const struct region_block *b = &r->blocks[i];
            char name[NAME_BYTES];
            const struct region_edge *e;
            name_of(p, r->gva + (uint64_t)(int64_t)b->start, name);
            if (!p->edges)
                add(p, name, (double)b->executions * b->insns * scale);
            for (unsigned n = 0; p->edges && (e = region_edge(b, n)); n++)
                add_edge(p, r, b, e, (double)e->count * scale);
        }
    }
    region_free(r);
}

static int most_first(const void *a, const void *b)
{
    const struct row *left = a;
    const struct row *right = b;

    return left->insns > right->insns ? -1 : left->insns < right->insns;
}

static void print_rows(const struct profile *p, bool folded)
{
    size_t most = folded || p->count < TOP_ROWS ? p->count : TOP_ROWS;

    if (!folded)
        printf("%7s %16s  %s\n", "share", p->edges ? "times, about" : "insns, about", p->edges ? "edge" : "function");
    for (size_t i = 0; i < most; i++) {
        if (p->rows[i].insns < 1)
            break;
        if (folded)
            printf("guest;%s %.0f\n", p->rows[i].name, p->rows[i].insns);
        else
            printf("%6.2f%% %16.0f  %s\n", 100 * p->rows[i].insns / p->all, p->rows[i].insns, p->rows[i].name);
    }
}

static int show(const char *path, int64_t run, struct profile *p, bool folded)
{
    struct error err;

    if (store_each_used(path, run, note_region, p, &err)) {
        report_error("%s", err.text);
        return CLI_EXIT_INTERNAL;
    }
    if (p->no_memory) {
        report_error("profile, not enough host memory, free some");
        return CLI_EXIT_INTERNAL;
    }
    if (p->count)
        qsort(p->rows, p->count, sizeof(p->rows[0]), most_first);
    print_rows(p, folded);
    return CLI_EXIT_OK;
}

static int profile_run(const struct option_values *values)
{
    const char *action = values->operand_count == 1 ? values->operands[0] : "";
    bool folded = strcmp(action, "folded") == 0;
    struct profile p = {.edges = strcmp(action, "edges") == 0};
    struct symbols *symbols;
    uint64_t run = 0;

    report_log_to_stderr();
    if (!folded && !p.edges && strcmp(action, "top") != 0) {
        report_error("profile, '%s', is not known: give top, edges or folded", action);
        return CLI_EXIT_USAGE;
    }
    if (values->value[OPTION_RUN_NUMBER] && values_number(values->value[OPTION_RUN_NUMBER], 1, INT64_MAX, &run)) {
        report_error("--run, '%s', is not a number of a run: tuff runs lists them", values->value[OPTION_RUN_NUMBER]);
        return CLI_EXIT_USAGE;
    }
    char *usual = values->value[OPTION_CACHE] ? NULL : cache_default_path();
    const char *path = usual ? usual : values->value[OPTION_CACHE];
    int code = CLI_EXIT_USAGE;
    if (!path) {
        report_error("--cache, nothing given, is needed: there is no cache directory");
    } else if (cache_load_symbols(values->value[OPTION_SYMBOLS], &symbols) == 0) {
        p.symbols = symbols;
        code = show(path, (int64_t)run, &p, folded);
        symbols_destroy(symbols);
    }
    free(p.rows);
    free(usual);
    return code;
}

const struct command command_profile = {
    .name = "profile",
    .usage = "top | edges | folded [OPTIONS]",
    .summary = "where guest code's time goes",
    .description = "From the profiles of compiled regions in the database (docs/profile-database.md):\n"
                   "  top     functions of the guest by instructions run in compiled code, about\n"
                   "  edges   jumps and branches by how often they were taken, about\n"
                   "  folded  functions as lines for tools that draw flame graphs\n"
                   "--symbols gives the functions their names.",
    .options = OPTION_FOR_PROFILE,
    .examples = "  tuff profile top --symbols=System.map\n"
                "  tuff profile top --run=12\n",
    .notes = "",
    .run = profile_run,
};
