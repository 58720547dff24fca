/* Random programs on the engine and on QEMU's user-mode emulator, compared state for state.
 *
 * Every register, fcsr and each scratch byte must be equal after each block. The first program is run a second time
 * instruction by instruction, which must change nothing, counts what is executed, and must have executed every row of
 * the table. Exit codes: 0 equal, 1 different, 2 wrong usage, 77 no emulator to compare with (ctest: skipped).
 */
#include "engine/isa/riscv/isa.h"
#include "minimise.h"
#include "randprog.h"
#include "subject.h"

#include <popt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_SKIPPED = 77, SLICE_INSNS = 1009, IDLE_PROGRAMS_MAX = 8 };

struct settings {
    long long seed, insns, first_program;
    int blocks, items, inputs, stepped, keep_going;
    char *setting, *fetch, *qemu, *dump;
};

struct run {
    const struct settings *settings;
    const struct engine_setting *engine;
    char qemu[4096];
    uint64_t executed; /* random instructions, stepped ones not counted twice */
    uint64_t row_executed[RV_ROW_COUNT];
    uint32_t differences;
    const struct program *stepped; /* what step_count() looks at */
};

/* What is running, written out when the engine crashes: without it nobody could repeat the run. */
static char crash_line[64];
static size_t crash_line_len;

static void on_crash(int signal_number)
{
    if (write(STDOUT_FILENO, crash_line, crash_line_len) < 0)
        _exit(2);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void note_program(uint32_t number)
{
    crash_line_len = (size_t)snprintf(crash_line, sizeof(crash_line), "crash in program %u\n", number);
}

static void report_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < TUFF_ARRAY_LEN(signals); i++)
        signal(signals[i], on_crash);
}

static void step_count(void *opaque, uint64_t pc)
{
    struct run *run = opaque;
    uint64_t at = pc - PROGRAM_CODE_GPA;
    uint32_t bits = 0;
    struct rv_insn insn;
    if (at >= run->stepped->code_bytes)
        return;
    size_t left = run->stepped->code_bytes - at;
    memcpy(&bits, run->stepped->code + at, left < 4 ? left : 4);
    rv_decode(bits, ISA_ALL, &insn);
    run->row_executed[insn.row]++;
}

/* The failure that minimising looks for: the two disagree, or only the engine does not come to an end. */
static bool disagrees(void *opaque, const struct program *program)
{
    struct run *run = opaque;
    struct engine_run_options options = {.setting = run->engine};
    struct subject_result expected, got;
    char what[160];
    qemu_run(run->qemu, program, &expected);
    engine_run(program, &options, &got);
    bool differs = expected.ended && !got.ended;
    if (expected.ended && got.ended)
        differs = rand_record_compare((const void *)expected.output, (const void *)got.output, what, sizeof(what));
    subject_result_free(&expected);
    subject_result_free(&got);
    return differs;
}

static void print_command(const struct run *run, const struct rand_prog *prog)
{
    const struct settings *s = run->settings;
    printf(
        "  again: randdiff --seed %lld --first-program %u --insns 1 --blocks %d --items %d --inputs %d --setting %s\n",
        s->seed, prog->config.program, s->blocks, s->items, s->inputs, run->engine->name);
}

static void report_difference(struct run *run, struct rand_prog *prog, const struct rand_difference *difference)
{
    uint32_t record = difference->block * prog->config.inputs + difference->input;
    printf("program %u, block %u, input %u: %s\n", prog->config.program, difference->block, difference->input,
           difference->what);
    if (minimise_block(prog, difference->block, record, disagrees, run))
        minimise_print(stdout, prog, difference->block, record);
    else
        printf("  the block agrees when run alone: what came before it matters\n");
    print_command(run, prog);
}

/* The program did not end on the engine: which block is to blame is found by running each alone. */
static void report_failure(struct run *run, struct rand_prog *prog, const char *why)
{
    printf("program %u on the engine: %s\n", prog->config.program, why);
    for (uint32_t record = 0; record < prog->config.blocks * prog->config.inputs; record++) {
        uint32_t block = record / prog->config.inputs;
        if (minimise_block(prog, block, record, disagrees, run)) {
            minimise_print(stdout, prog, block, record);
            break;
        }
    }
    print_command(run, prog);
}

static bool compare(struct run *run, struct rand_prog *prog, const struct subject_result *expected,
                    const struct subject_result *got)
{
    struct rand_difference difference;
    if (!expected->ended) {
        printf("program %u on the oracle: %s\n", prog->config.program, expected->why);
        print_command(run, prog);
    } else if (!got->ended) {
        report_failure(run, prog, got->why);
    } else if (rand_prog_compare(prog, expected->output, got->output, &difference)) {
        report_difference(run, prog, &difference);
    } else {
        return true;
    }
    run->differences++;
    return false;
}

static bool run_stepped(struct run *run, struct rand_prog *prog, const struct subject_result *expected)
{
    struct engine_run_options options = {.setting = run->engine, .slice_insns = 1, .step = step_count, .opaque = run};
    struct subject_result got;
    run->stepped = &prog->program;
    engine_run(&prog->program, &options, &got);
    bool equal = compare(run, prog, expected, &got);
    subject_result_free(&got);
    if (!equal)
        printf("  (single-stepped)\n");
    return equal;
}

static void dump_elf(const struct program *program, const char *path)
{
    size_t len;
    uint8_t *elf = program_elf(program, &len);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(elf, 1, len, file) != len)
        fprintf(stderr, "randdiff: cannot write '%s'\n", path);
    if (file)
        fclose(file);
    free(elf);
}

/* Random instructions that ran: all but the loading, storing and ending ones. */
static uint64_t random_insns(const struct rand_prog *prog, const struct subject_result *got)
{
    return got->insns > prog->overhead_insns ? got->insns - prog->overhead_insns : 0;
}

static bool run_program(struct run *run, uint32_t number, bool stepped)
{
    const struct settings *s = run->settings;
    struct rand_config config = {(uint64_t)s->seed, number, (uint32_t)s->blocks, (uint32_t)s->items,
                                 (uint32_t)s->inputs};
    /* Every other program is left and entered again at arbitrary places, which must make no difference. */
    struct engine_run_options options = {.setting = run->engine, .slice_insns = number % 2 ? SLICE_INSNS : 0};
    struct rand_prog prog;
    struct qemu_run qemu;
    struct subject_result expected, got;

    note_program(number);
    rand_prog_create(&prog, &config);
    if (s->dump)
        dump_elf(&prog.program, s->dump);
    qemu_start(run->qemu, &prog.program, &qemu);
    engine_run(&prog.program, &options, &got);
    qemu_finish(&qemu, &expected);
    bool equal = compare(run, &prog, &expected, &got);
    run->executed += random_insns(&prog, &got);
    if (equal && stepped)
        equal = run_stepped(run, &prog, &expected);
    subject_result_free(&expected);
    subject_result_free(&got);
    rand_prog_free(&prog);
    return equal;
}

static bool check_coverage(const struct run *run)
{
    bool complete = true;
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        if (!rand_row_excluded(row) && run->row_executed[row] == 0) {
            printf("row %s was never executed\n", rv_rows[row].id);
            complete = false;
        }
    }
    printf("not here, but in test_vcpu:");
    for (unsigned row = 1; row < RV_ROW_COUNT; row++) {
        if (rand_row_excluded(row))
            printf(" %s", rv_rows[row].id);
    }
    printf("\n");
    return complete;
}

static int run_all(struct run *run)
{
    const struct settings *s = run->settings;
    uint32_t first = (uint32_t)s->first_program, number = first;
    while (run->executed < (uint64_t)s->insns) {
        bool equal = run_program(run, number, number - first < (uint32_t)s->stepped);
        number++;
        if (!equal && !s->keep_going)
            break;
        if (number - first >= IDLE_PROGRAMS_MAX && run->executed == 0) /* nothing retires: do not try for ever */
            break;
    }
    printf("%s: %u programs of seed %lld, %llu random instructions, %u differences\n", run->engine->name,
           number - first, s->seed, (unsigned long long)run->executed, run->differences);
    bool covered = run->differences > 0 || s->stepped == 0 || check_coverage(run);
    return run->differences == 0 && covered && run->executed >= (uint64_t)s->insns ? 0 : 1;
}

static int parse(int argc, const char **argv, struct settings *s)
{
    struct poptOption options[] = {
        {"seed", 's', POPT_ARG_LONGLONG, &s->seed, 0, "seed of all programs", "N"},
        {"insns", 'n', POPT_ARG_LONGLONG, &s->insns, 0, "random instructions to execute at least", "N"},
        {"first-program", 'p', POPT_ARG_LONGLONG, &s->first_program, 0, "number of the first program", "N"},
        {"blocks", 'b', POPT_ARG_INT, &s->blocks, 0, "blocks a program", "N"},
        {"items", 'i', POPT_ARG_INT, &s->items, 0, "random items a block", "N"},
        {"inputs", 'r', POPT_ARG_INT, &s->inputs, 0, "inputs each block is run on", "N"},
        {"stepped", 0, POPT_ARG_INT, &s->stepped, 0, "programs that are also single-stepped", "N"},
        {"keep-going", 'k', POPT_ARG_NONE, &s->keep_going, 0, "go on after a difference", NULL},
        {"setting", 0, POPT_ARG_STRING, &s->setting, 0, "setting of the engine", "NAME"},
        {"qemu", 0, POPT_ARG_STRING, &s->qemu, 0, "the emulator to compare with", "FILE"},
        {"fetch", 0, POPT_ARG_STRING, &s->fetch, 0, "script that gets the emulator", "FILE"},
        {"dump", 0, POPT_ARG_STRING, &s->dump, 0, "write the (last) program as an ELF file", "FILE"},
        POPT_AUTOHELP POPT_TABLEEND};
    poptContext context = poptGetContext("randdiff", argc, argv, options, 0);
    int code = poptGetNextOpt(context);
    bool sizes_ok =
        s->blocks > 0 && s->items > 0 && s->inputs > 0 && s->stepped >= 0 && s->insns > 0 && s->first_program >= 0 &&
        s->first_program <= UINT32_MAX &&
        (long long)s->blocks * s->inputs * (long long)sizeof(struct rand_record) <= PROGRAM_DATA_MAX_BYTES &&
        (long long)s->blocks * s->items <= 100000;
    if (code < -1)
        fprintf(stderr, "randdiff: %s: %s\n", poptBadOption(context, 0), poptStrerror(code));
    else if (!sizes_ok)
        fprintf(stderr, "randdiff: a number is zero, negative or too large for one program\n");
    poptFreeContext(context);
    return code == -1 && sizes_ok ? 0 : -1;
}

static bool choose_qemu(const struct settings *s, struct run *run, char *why, size_t len)
{
    if (s->qemu) {
        snprintf(run->qemu, sizeof(run->qemu), "%s", s->qemu);
        return true;
    }
    return qemu_find(s->fetch, run->qemu, sizeof(run->qemu), why, len);
}

int main(int argc, char **argv)
{
    static struct run run;
    static struct settings settings = {
        .seed = 1, .insns = 1000000, .blocks = 200, .items = 64, .inputs = 4, .stepped = 1, .setting = NULL};
    char why[4096 + 256];
    if (parse(argc, (const char **)argv, &settings))
        return 2;
    run.settings = &settings;
    run.engine = settings.setting ? engine_setting_find(settings.setting) : &engine_settings[0];
    if (!run.engine) {
        fprintf(stderr, "randdiff: no setting '%s' of the engine\n", settings.setting);
        return 2;
    }
    if (!choose_qemu(&settings, &run, why, sizeof(why))) {
        printf("skipped: %s\n", why);
        return EXIT_SKIPPED;
    }
    report_crashes();
    return run_all(&run);
}
