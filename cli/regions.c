/* Collecting, sorting and printing regions; see regions.h. */
#include "cli/regions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A guest that reboots for ever must not fill memory with rows. */
enum { PRINTED_MAX = 20, ROWS_MAX = 1 << 16 };

struct row {
    uint32_t boot;
    struct tier_region about;
    char *label; /* NULL: no name */
};

struct regions {
    struct row *rows;
    size_t count, capacity;
    uint64_t lost; /* regions without a row */
    uint32_t boot; /* whose regions are being added */
};

struct regions *regions_create(void)
{
    return calloc(1, sizeof(struct regions));
}

void regions_destroy(struct regions *regions)
{
    if (!regions)
        return;
    for (size_t i = 0; i < regions->count; i++)
        free(regions->rows[i].label);
    free(regions->rows);
    free(regions);
}

static bool has_room(struct regions *regions)
{
    if (regions->count == ROWS_MAX)
        return false;
    if (regions->count == regions->capacity) {
        size_t capacity = regions->capacity ? regions->capacity * 2 : 64;
        struct row *rows = reallocarray(regions->rows, capacity, sizeof(*rows));
        if (!rows)
            return false;
        regions->rows = rows;
        regions->capacity = capacity;
    }
    return true;
}

static void add_region(void *opaque, const struct tier_region *about, const char *label)
{
    struct regions *regions = opaque;

    if (has_room(regions))
        regions->rows[regions->count++] =
            (struct row){.boot = regions->boot, .about = *about, .label = label ? strdup(label) : NULL};
    else
        regions->lost++;
}

void regions_add(struct regions *regions, struct machine *machine, uint32_t boot)
{
    regions->boot = boot;
    regions->lost += machine_regions(machine, add_region, regions);
}

/* The most executed first, then in the order they were chosen. */
static int compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    if (x->about.executions != y->about.executions)
        return x->about.executions > y->about.executions ? -1 : 1;
    if (x->boot != y->boot)
        return x->boot < y->boot ? -1 : 1;
    return x->about.number < y->about.number ? -1 : x->about.number > y->about.number;
}

static void sort(struct regions *regions)
{
    if (regions->count)
        qsort(regions->rows, regions->count, sizeof(*regions->rows), compare);
}

static const char *state_name(enum tier_region_state state)
{
    static const char *const names[] = {
        [TIER_REGION_WAITING] = "waiting",   [TIER_REGION_UNUSED] = "unused",   [TIER_REGION_LIVE] = "live",
        [TIER_REGION_REPLACED] = "replaced", [TIER_REGION_DROPPED] = "dropped", [TIER_REGION_EVICTED] = "evicted",
        [TIER_REGION_FAILED] = "failed",
    };

    return names[state];
}

static void print_row(const struct row *row, FILE *out)
{
    const struct tier_region *about = &row->about;

    fprintf(out, "%8" PRIu32 " %5u %14" PRIu64 " %6" PRIu32 " %6" PRIu32 " %5" PRIu32 " %7" PRIu32 " %7" PRIu32,
            about->number, about->level, about->executions, about->insns, about->blocks, about->pages, about->ir_built,
            about->ir_optimised);
    fprintf(out, " %7" PRIu64 " %8" PRIu64 "  %-8s  0x%" PRIx64, about->code_bytes, about->compile_us,
            state_name(about->state), about->gva);
    if (row->label)
        fprintf(out, "  %s", row->label);
    if (about->failure)
        fprintf(out, "  (%s)", about->failure);
    fprintf(out, "\n");
}

void regions_print(struct regions *regions, FILE *out)
{
    size_t printed = regions->count < PRINTED_MAX ? regions->count : PRINTED_MAX;

    sort(regions);
    fprintf(out, "\n%8s %5s %14s %6s %6s %5s %7s %7s %7s %8s  %-8s  %s\n", "region", "level", "executions", "insns",
            "blocks", "pages", "IR", "IR opt", "bytes", "us", "state", "at");
    for (size_t i = 0; i < printed; i++)
        print_row(&regions->rows[i], out);
    if (printed < regions->count)
        fprintf(out, "(%zu regions more: --stats=json has all)\n", regions->count - printed);
    if (regions->lost)
        fprintf(out, "(%" PRIu64 " regions more, of which nothing was kept)\n", regions->lost);
}

static json_t *json_row(const struct row *row)
{
    const struct tier_region *about = &row->about;
    char address[24];

    /* A string, since JSON's numbers are not sure to keep 64 bits. */
    (void)snprintf(address, sizeof(address), "0x%" PRIx64, about->gva);
    return json_pack("{s:I, s:I, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s*, s:s*}", "boot",
                     (json_int_t)row->boot, "number", (json_int_t)about->number, "level", (int)about->level, "address",
                     address, "instructions", (json_int_t)about->insns, "blocks", (json_int_t)about->blocks, "pages",
                     (json_int_t)about->pages, "ir_built", (json_int_t)about->ir_built, "ir_optimised",
                     (json_int_t)about->ir_optimised, "code_bytes", (json_int_t)about->code_bytes, "compile_us",
                     (json_int_t)about->compile_us, "executions", (json_int_t)about->executions, "state",
                     state_name(about->state), "failure", about->failure, "symbol", row->label);
}

json_t *regions_json(struct regions *regions)
{
    json_t *array = json_array();

    sort(regions);
    for (size_t i = 0; array && i < regions->count; i++) {
        if (json_array_append_new(array, json_row(&regions->rows[i]))) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}
