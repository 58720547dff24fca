/* `tuff top`: what a running virtual machine does at the moment, from its counters, through the control socket. On a
 * terminal a screen that is drawn anew every interval; elsewhere lines, one a hart and interval. */
#include "cli/command.h"
#include "cli/qmp_client.h"
#include "cli/report.h"
#include "cli/values.h"

#include "base/library.h"
#include "base/loop.h"

#define NCURSES_NOMACROS
#include <curses.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INTERVAL_MS = 1000, INTERVAL_MAX_S = 3600, PATH_BYTES = 64 };

#define CURSES_FUNCTIONS(X) \
    X(newterm)              \
    X(newwin)               \
    X(raw)                  \
    X(noecho)               \
    X(curs_set)             \
    X(wmove)                \
    X(vw_printw)            \
    X(wclrtoeol)            \
    X(wclrtobot)            \
    X(wrefresh)             \
    X(wtimeout)             \
    X(wgetch)               \
    X(endwin)

LIBRARY(library, CURSES_FUNCTIONS, .file = "libncursesw.so.6", .package = "libncursesw6", .use = "tuff top's screen");

/* One look at the machine. */
struct sample {
    uint64_t ns;
    json_t *harts; /* the answers of query-stats */
    json_t *machine;
    json_t *status;
};

struct top {
    struct qmp_client *client;
    const char *who;
    unsigned interval_ms;
    uint64_t left; /* how many times more; UINT64_MAX: no end */
    struct sample before, now;
    struct {
        CURSES_FUNCTIONS(LIBRARY_POINTER)
    } curses;
    WINDOW *screen; /* the whole terminal; NULL: lines */
    int row;
};

/* ---- samples ---- */

static void sample_free(struct sample *sample)
{
    json_decref(sample->harts);
    json_decref(sample->machine);
    json_decref(sample->status);
    *sample = (struct sample){0};
}

static int ask_stats(struct top *top, const char *target, json_t **out, struct error *err)
{
    return qmp_client_run(top->client, "query-stats", json_pack("{s:s}", "target", target), out, err);
}

/* -EREMOTEIO: there is no machine between two boots; the next look finds one. */
static int take_sample(struct top *top, struct sample *sample, struct error *err)
{
    int rc = qmp_client_run(top->client, "query-status", NULL, &sample->status, err);

    if (!rc)
        rc = ask_stats(top, "vcpu", &sample->harts, err);
    if (!rc)
        rc = ask_stats(top, "vm", &sample->machine, err);
    sample->ns = loop_now_ns();
    if (rc)
        sample_free(sample);
    return rc;
}

/* The counters in one element of query-stats' answer. */
static const json_t *stats_of(const json_t *answer, size_t index)
{
    return json_object_get(json_array_get(answer, index), "stats");
}

static uint64_t counter(const json_t *stats, const char *name)
{
    size_t i;
    const json_t *entry;

    json_array_foreach((json_t *)stats, i, entry)
    {
        const char *own = json_string_value(json_object_get(entry, "name"));
        if (own && strcmp(own, name) == 0)
            return (uint64_t)json_integer_value(json_object_get(entry, "value"));
    }
    return 0;
}

/* What was added between the two looks: nothing where the machine is another one. */
static uint64_t added(const struct top *top, size_t hart, const char *name)
{
    uint64_t before = counter(stats_of(top->before.harts, hart), name);
    uint64_t now = counter(stats_of(top->now.harts, hart), name);

    return now > before ? now - before : 0;
}

static double seconds(const struct top *top)
{
    return (double)(top->now.ns - top->before.ns) / 1e9;
}

static double rate(const struct top *top, size_t hart, const char *name)
{
    return (double)added(top, hart, name) / seconds(top);
}

/* ---- output ---- */

static void line(struct top *top, const char *format, ...) TUFF_PRINTF(2, 3);
static void line(struct top *top, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (top->screen) {
        top->curses.wmove(top->screen, top->row, 0);
        top->curses.vw_printw(top->screen, format, args);
        top->curses.wclrtoeol(top->screen);
    } else {
        vprintf(format, args);
        putchar('\n');
    }
    top->row++;
    va_end(args);
}

static void show_hart(struct top *top, size_t hart)
{
    static const char *const tiers[] = {"insns_interp", "insns_baseline", "insns_regions"};
    double by_tier[3], sum = 0;

    for (int i = 0; i < 3; i++)
        sum += by_tier[i] = (double)added(top, hart, tiers[i]);
    for (int i = 0; i < 3; i++)
        by_tier[i] = sum > 0 ? by_tier[i] * 100 / sum : 0;
    line(top, "%4zu %9.1f %7.1f %7.1f %7.1f %9.0f %9.0f %9.0f %9.0f %9.0f", hart, rate(top, hart, "insns") / 1e6,
         by_tier[0], by_tier[1], by_tier[2], rate(top, hart, "interrupts"), rate(top, hart, "exceptions"),
         rate(top, hart, "mmio_accesses"), rate(top, hart, "ecalls"), rate(top, hart, "wfis"));
}

/* Only KVM's vCPUs leave the guest by exits. */
static bool is_kvm(const struct top *top)
{
    return counter(stats_of(top->now.harts, 0), "exits") != 0;
}

static void show_kvm_hart(struct top *top, size_t hart)
{
    line(top, "%4zu %9.1f %9.0f %9.0f %9.0f %9.0f %9.0f %9.0f", hart, rate(top, hart, "guest_ns") / 1e7,
         rate(top, hart, "interrupts"), rate(top, hart, "exits"), rate(top, hart, "mmio_accesses"),
         rate(top, hart, "port_accesses"), rate(top, hart, "msr_exits"), rate(top, hart, "signal_exits"));
}

static void show_kvm(struct top *top, size_t harts)
{
    double guest = 0;

    for (size_t i = 0; i < harts; i++)
        guest += rate(top, i, "guest_ns") / 1e9;
    line(top, "%s: %s, %zu vCPUs under KVM, %.2f of them in it, halted ones too", top->who,
         json_string_value(json_object_get(top->now.status, "status")), harts, guest);
    if (top->screen)
        line(top, " ");
    line(top, "vCPU      KVM%%     irq/s    exit/s    mmio/s    port/s     msr/s  signal/s");
    for (size_t i = 0; i < harts; i++)
        show_kvm_hart(top, i);
}

static void show_tiers(struct top *top, size_t harts)
{
    const json_t *machine = stats_of(top->now.machine, 0);
    double mips = 0;

    for (size_t i = 0; i < harts; i++)
        mips += rate(top, i, "insns") / 1e6;
    line(top, "%s: %s, %zu harts, %.1f MIPS; %llu regions compiled, %llu KiB of code, %llu waiting", top->who,
         json_string_value(json_object_get(top->now.status, "status")), harts, mips,
         (unsigned long long)counter(machine, "regions_compiled"),
         (unsigned long long)counter(machine, "code_bytes_live") >> 10,
         (unsigned long long)counter(machine, "regions_waiting"));
    if (top->screen)
        line(top, " ");
    line(top, "hart      MIPS interp%%   base%%   llvm%%   irq/s     trap/s    mmio/s   ecall/s     wfi/s");
    for (size_t i = 0; i < harts; i++)
        show_hart(top, i);
}

static void show(struct top *top)
{
    size_t harts = json_array_size(top->now.harts);

    top->row = 0;
    if (is_kvm(top))
        show_kvm(top, harts);
    else
        show_tiers(top, harts);
    if (top->screen) {
        line(top, " ");
        line(top, "q leaves, s stops the machine, c lets it go on");
        top->curses.wclrtobot(top->screen);
        top->curses.wrefresh(top->screen);
    } else {
        fflush(stdout);
    }
}

/* ---- the loop ---- */

/* Sleeps for the interval; on a terminal keys cut it short. Returns false to leave. */
static bool wait_interval(struct top *top)
{
    json_t *result = NULL;
    struct error err;
    int key, rc = 0;

    if (!top->screen) {
        usleep(top->interval_ms * 1000);
        return true;
    }
    top->curses.wtimeout(top->screen, (int)top->interval_ms);
    key = top->curses.wgetch(top->screen);
    if (key == 's' || key == 'c')
        rc = qmp_client_run(top->client, key == 's' ? "stop" : "cont", NULL, &result, &err);
    if (!rc)
        json_decref(result);
    return key != 'q' && key != 'Q' && key != 3 /* Ctrl-C */;
}

/* Returns 0 at the machine's end or the user's, or a negative errno with a line in `err`. */
static int watch(struct top *top, struct error *err)
{
    int rc;

    while (top->left--) {
        if (!wait_interval(top))
            return 0;
        rc = take_sample(top, &top->now, err);
        if (rc == -EREMOTEIO)
            continue;
        if (rc)
            return rc == -EPIPE ? 0 : rc;
        if (top->before.ns)
            show(top);
        sample_free(&top->before);
        top->before = top->now;
        top->now = (struct sample){0};
    }
    return 0;
}

static void begin_screen(struct top *top)
{
    struct error err;

    if (library_load(&library, &top->curses, &err)) {
        report_error("%s; here are lines", err.text);
        return;
    }
    if (!top->curses.newterm(NULL, stdout, stdin))
        return;
    top->curses.raw();
    top->curses.noecho();
    top->curses.curs_set(0);
    top->screen = top->curses.newwin(0, 0, 0, 0);
    if (!top->screen)
        top->curses.endwin();
}

static int run(struct top *top)
{
    struct error err;
    int rc = take_sample(top, &top->before, &err);

    if (rc && rc != -EREMOTEIO) {
        report_error("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        begin_screen(top);
    rc = watch(top, &err);
    if (top->screen)
        top->curses.endwin();
    sample_free(&top->before);
    if (rc)
        report_error("%s", err.text);
    return rc ? CLI_EXIT_USAGE : CLI_EXIT_OK;
}

static int parse(const struct option_values *values, struct top *top)
{
    const char *interval = values->value[OPTION_INTERVAL], *count = values->value[OPTION_COUNT];
    uint64_t number;

    if (interval && values_number(interval, 1, INTERVAL_MAX_S, &number)) {
        report_error("--interval, '%s', is not a number of seconds: give one from 1 to %d", interval, INTERVAL_MAX_S);
        return -EINVAL;
    }
    if (interval)
        top->interval_ms = (unsigned)number * 1000;
    if (count && values_number(count, 1, UINT32_MAX, &top->left)) {
        report_error("--count, '%s', is not a number of times: give one like --count=10", count);
        return -EINVAL;
    }
    if (values->operand_count != 1) {
        report_error("virtual machine, %s, is needed: give its name or socket, as in tuff top NAME",
                     values->operand_count ? "one alone" : "nothing given");
        return -EINVAL;
    }
    top->who = values->operands[0];
    return 0;
}

static int top_run(const struct option_values *values)
{
    struct top top = {.interval_ms = INTERVAL_MS, .left = UINT64_MAX};
    struct error err;

    if (parse(values, &top))
        return CLI_EXIT_USAGE;
    if (qmp_client_open(top.who, &top.client, &err)) {
        report_error("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    int code = run(&top);
    qmp_client_close(top.client);
    return code;
}

const struct command command_top = {
    .name = "top",
    .usage = "[OPTIONS] NAME|PATH",
    .summary = "show what a running virtual machine does",
    .description =
        "Shows each hart of a virtual machine that was started with a name or a control socket: millions of\n"
        "instructions a second, which tier ran them, interrupts, traps, device accesses, calls to the SBI and\n"
        "sleeps, a second each; under KVM the time in it (halted or not), interrupts and\n"
        "exits by reason. On a terminal the screen is drawn anew every interval; elsewhere lines are\n"
        "printed, until the machine ends.",
    .options = OPTION_FOR_LIVE,
    .examples = "  tuff top web\n"
                "  tuff top --interval=10 --count=6 web >log.txt\n",
    .run = top_run,
};
