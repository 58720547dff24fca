/* The benchmark executable: runs programs, checks what they computed, and prints one line for each.
 *
 *     name iterations seconds score          (score: the program's units per second; more is better)
 *     name FAILED reason
 *
 * Each program runs in a process of its own, so that one that dies or leaves memory behind does not touch the
 * others. Time is CLOCK_MONOTONIC as the guest sees it. One iteration before the clock starts warms caches, page tables
 * and, on a virtual machine, translations; --cold leaves it out. Exit code: 0 when every program was right, else 1.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

char bench_self[4096];

static const struct bench_program *const programs[] = {
#define X(id) &bench_##id,
    BENCH_PROGRAMS(X)
#undef X
};

static const char *const class_names[] = {"integer", "float", "system", "translation"};

struct settings {
    double seconds;        /* a measurement lasts at least this long ... */
    uint64_t iterations;   /* ... unless the number of iterations is given (not 0) */
    double warmup_seconds; /* iterations that do not count go on for so long: until a compiling VM has compiled */
    bool cold;
    bool marks;
};

double bench_now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* One iteration; prints the complaint itself. */
static bool iterate_checked(const struct bench_program *p)
{
    if (p->iterate) {
        uint64_t got = p->iterate();
        if (got == p->expected)
            return true;
        printf("%s FAILED expected %016" PRIx64 " got %016" PRIx64 "\n", p->name, p->expected, got);
        return false;
    }
    double got = p->iterate_real();
    /* Written so that a NaN fails. */
    if (fabs(got - p->expected_real) <= p->tolerance * fabs(p->expected_real))
        return true;
    printf("%s FAILED expected %.15g got %.15g\n", p->name, p->expected_real, got);
    return false;
}

/* Runs until the time is up, in batches that grow so that the clock is read some twenty times in all. */
static bool measure(const struct bench_program *p, const struct settings *s)
{
    uint64_t done = 0;
    uint64_t batch = s->iterations ? s->iterations : 1;
    double elapsed;
    if (!s->cold && !iterate_checked(p))
        return false;
    for (double warm = bench_now_seconds() + s->warmup_seconds; bench_now_seconds() < warm;)
        if (!iterate_checked(p))
            return false;
    if (s->marks)
        printf("@start %s\n", p->name);
    double counted_before = p->counted_seconds ? *p->counted_seconds : 0;
    double start = bench_now_seconds();
    for (;;) {
        double batch_start = bench_now_seconds();
        for (uint64_t i = 0; i < batch; i++)
            if (!iterate_checked(p))
                return false;
        done += batch;
        double end = bench_now_seconds();
        elapsed = end - start;
        if (s->iterations || elapsed >= s->seconds)
            break;
        if (end - batch_start < s->seconds / 40)
            batch *= 2;
    }
    double counted = p->counted_seconds ? *p->counted_seconds - counted_before : elapsed;
    double score = counted > 0 ? (double)done * p->units_per_iteration / counted : 0;
    printf("%s %" PRIu64 " %.6f %.6g\n", p->name, done, elapsed, score);
    return true;
}

static bool run_program(const struct bench_program *p, const struct settings *s)
{
    if (p->setup) {
        int error = p->setup();
        if (error) {
            printf("%s FAILED setup: %s\n", p->name, strerrordesc_np(-error));
            return false;
        }
    }
    return measure(p, s);
}

/* A process of its own for one program. */
static bool run_isolated(const struct bench_program *p, const struct settings *s)
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        printf("%s FAILED fork: %s\n", p->name, strerrordesc_np(errno));
        return false;
    }
    if (pid == 0) {
        bool good = run_program(p, s);
        exit(good ? 0 : 1);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    if (WIFSIGNALED(status))
        printf("%s FAILED killed by signal %d\n", p->name, WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static const struct bench_program *find_program(const char *name)
{
    for (size_t i = 0; i < BENCH_LEN(programs); i++)
        if (strcmp(programs[i]->name, name) == 0)
            return programs[i];
    return NULL;
}

static bool selected(const struct bench_program *p, char **names, int count)
{
    if (count == 0)
        return true;
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], p->name) == 0 || strcmp(names[i], class_names[p->class]) == 0)
            return true;
    return false;
}

static bool names_known(char **names, int count)
{
    for (int i = 0; i < count; i++) {
        bool known = find_program(names[i]) != NULL;
        for (size_t c = 0; c < BENCH_LEN(class_names); c++)
            known |= strcmp(names[i], class_names[c]) == 0;
        if (!known) {
            fprintf(stderr, "bench: no program or class is called '%s' (--list shows them)\n", names[i]);
            return false;
        }
    }
    return true;
}

static void list_programs(void)
{
    for (size_t i = 0; i < BENCH_LEN(programs); i++)
        printf("%s %s %s/s\n", programs[i]->name, class_names[programs[i]->class], programs[i]->unit);
}

static int dump_program(const char *name)
{
    const struct bench_program *p = find_program(name);
    if (!p || !p->dump) {
        fprintf(stderr, "bench: '%s' has nothing to dump\n", name);
        return 2;
    }
    int error = p->setup ? p->setup() : 0;
    if (!error)
        error = p->dump(stdout);
    return error ? 1 : 0;
}

/* Seconds that the CPUs have been idle since boot, summed; negative when the kernel does not say. */
static double idle_seconds(void)
{
    char line[128], *after_up = NULL;
    FILE *file = fopen("/proc/uptime", "r");
    if (!file)
        return -1;
    if (fgets(line, sizeof(line), file))
        (void)strtod(line, &after_up);
    fclose(file);
    return after_up && *after_up == ' ' ? strtod(after_up, NULL) : -1;
}

/* Waits until a boot's aftermath (modules, self-tests of the kernel) is over: until all CPUs are nearly idle for half a
 * second, or the limit has passed. */
static void settle(double limit_seconds)
{
    const double window = 0.5;
    double cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
    double end = bench_now_seconds() + limit_seconds;
    for (double before = idle_seconds(); before >= 0 && bench_now_seconds() < end;) {
        double start = bench_now_seconds();
        usleep((useconds_t)(window * 1e6));
        double after = idle_seconds();
        if (after - before >= 0.9 * cpus * (bench_now_seconds() - start))
            return;
        before = after;
    }
}

static void find_self(const char *argv0)
{
    ssize_t len = readlink("/proc/self/exe", bench_self, sizeof(bench_self) - 1);
    if (len > 0)
        bench_self[len] = '\0';
    else
        snprintf(bench_self, sizeof(bench_self), "%s", argv0);
}

static int usage(FILE *out)
{
    fputs("usage: bench [--seconds S] [--iterations N] [--warmup S] [--cold] [--marks] [--settle S] [--list] "
          "[--dump PROGRAM] [PROGRAM|CLASS ...]\n"
          "  --seconds S      measure each program for at least S seconds (default 2)\n"
          "  --iterations N   do exactly N iterations instead\n"
          "  --warmup S       run each program for S seconds before the clock starts\n"
          "  --cold           no iteration before the clock starts\n"
          "  --marks          print '@start NAME' when the clock starts\n"
          "  --list           print name, class and unit of every program\n"
          "  --dump PROGRAM   write what the program produces to standard output\n",
          out);
    return out == stdout ? 0 : 2;
}

/* 0 and a positive number, or -EINVAL. */
static int parse_positive(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return errno || end == text || *end || !(*value > 0) || *value > 1e15 ? -EINVAL : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'}, {"iterations", required_argument, NULL, 'i'},
        {"warmup", required_argument, NULL, 'u'},  {"cold", no_argument, NULL, 'c'},
        {"marks", no_argument, NULL, 'm'},         {"list", no_argument, NULL, 'l'},
        {"dump", required_argument, NULL, 'd'},    {"settle", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    struct settings s = {.seconds = 2};
    double number, settle_seconds = 0;
    bool good = true;

    /* Before anything else: this is what fork_exec times. */
    if (argc == 2 && strcmp(argv[1], BENCH_CHILD_OPTION) == 0)
        _exit(BENCH_CHILD_STATUS);
    find_self(argv[0]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'l') {
            list_programs();
            return 0;
        } else if (c == 'd') {
            return dump_program(optarg);
        } else if (c == 'c') {
            s.cold = true;
        } else if (c == 'm') {
            s.marks = true;
        } else if (c == 'w' && parse_positive(optarg, &number) == 0) {
            settle_seconds = number;
        } else if (c == 'u' && parse_positive(optarg, &number) == 0) {
            s.warmup_seconds = number;
        } else if (c == 's' && parse_positive(optarg, &number) == 0) {
            s.seconds = number;
        } else if (c == 'i' && parse_positive(optarg, &number) == 0 && number >= 1) {
            s.iterations = (uint64_t)number;
        } else {
            return usage(c == 'h' ? stdout : stderr);
        }
    }
    if (!names_known(argv + optind, argc - optind))
        return 2;
    if (settle_seconds > 0)
        settle(settle_seconds);
    for (size_t i = 0; i < BENCH_LEN(programs); i++)
        if (selected(programs[i], argv + optind, argc - optind))
            good &= run_isolated(programs[i], &s);
    return good ? 0 : 1;
}
