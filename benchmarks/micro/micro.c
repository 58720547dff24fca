/* micro: how fast the engine runs loops of one kind of instruction, without a machine around it.
 *
 *     name instructions seconds million-instructions-a-second
 *     decode instructions nanoseconds-an-instruction nanoseconds-a-block
 *
 * Drives one hart through engine/vcpu.h over a piece of RAM with the image of loops.S. What must stay true: a figure is
 * printed only when exactly the instructions asked for have retired, none of them trapped, and the hart is still in its
 * loop; else the line says what went wrong and the exit code is 1. One thread.
 */
#include "engine/isa/riscv/isa.h"
#include "engine/vcpu.h"
#include "mem/mem.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RAM_BYTES = 8 << 20, DATA_OFFSET = 2 << 20, DATA_BYTES = 2 << 20, BATCH_INSNS = 200000, COLD_HARTS = 20 };
/* One time round loop_straight: its counter, 2,048 times 6 (the seventh is jumped over), the jump back. */
enum { STRAIGHT_INSNS = 1 + 2048 * 6 + 1 };
enum { REG_SP = 2, REG_A0 = 10, REG_S11 = 27 };

#define RAM_GPA 0x80000000u
#define MSTATUS_FS_INITIAL (1u << 13)

/* The image made from loops.S (CMakeLists.txt), and its table. */
__asm__(".section .rodata\n.balign 8\n.globl micro_image\nmicro_image:\n.incbin \"" LOOPS_IMAGE
        "\"\n.globl micro_image_end\nmicro_image_end:\n.previous");
struct loop {
    char name[16];
    uint64_t start, end;
};
extern const struct loop micro_image[];
extern const char micro_image_end[];

static uint64_t time_now(void *opaque)
{
    return 0;
}

static void timer_arm(void *opaque, struct vcpu *vcpu, uint64_t deadline)
{
}

static const struct vcpu_env_ops env = {.time_now = time_now, .timer_arm = timer_arm};

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int make_memory(struct mem **out)
{
    struct mem *mem;
    int rc = mem_create(&mem);
    if (rc)
        return rc;
    rc = mem_add_ram(mem, RAM_GPA, RAM_BYTES);
    if (!rc)
        rc = mem_write(mem, RAM_GPA, micro_image, (size_t)(micro_image_end - (const char *)micro_image));
    if (rc)
        mem_destroy(mem);
    else
        *out = mem;
    return rc;
}

/* The end of the table: where traps go. */
static const struct loop *find_end(void)
{
    const struct loop *loop = micro_image;
    while (loop->name[0])
        loop++;
    return loop;
}

/* A hart at the start of a loop. */
static int make_hart(struct mem *mem, const struct loop *loop, struct vcpu **out)
{
    const struct vcpu_config config = {.hart_count = 1,
                                       .mem = mem,
                                       .env = &env,
                                       .isa = ISA_COMPATIBLE,
                                       .reset_pc = loop->start,
                                       .timebase_hz = 10000000};
    struct vcpu_state *state = calloc(1, sizeof(*state));
    struct vcpu *vcpu = NULL;
    int rc = state ? vcpu_create(&vcpu_riscv_ops, &config, &vcpu) : -1;
    if (!rc) {
        vcpu_get_state(vcpu, state);
        state->mstatus |= MSTATUS_FS_INITIAL;
        state->mtvec = find_end()->start;
        state->x[REG_A0] = RAM_GPA + DATA_OFFSET;
        state->x[REG_SP] = RAM_GPA + DATA_OFFSET + DATA_BYTES;
        rc = vcpu_set_state(vcpu, state);
    }
    free(state);
    if (rc && vcpu)
        vcpu_destroy(vcpu);
    if (!rc)
        *out = vcpu;
    return rc;
}

/* NULL, or what is wrong with a hart that should have retired `insns` in its loop. */
static const char *fault(struct vcpu *vcpu, const struct loop *loop, enum vcpu_exit exit_reason, uint64_t insns)
{
    struct vcpu_counters counters;
    struct vcpu_state state;
    vcpu_counters_read(vcpu, &counters);
    vcpu_get_state(vcpu, &state);
    if (exit_reason != VCPU_EXIT_BUDGET)
        return "the hart stopped for another reason than its budget";
    if (vcpu_instret(vcpu) != insns)
        return "the number of retired instructions is not the one asked for";
    if (counters.exceptions || counters.interrupts)
        return "the loop trapped";
    if (state.pc < loop->start || state.pc >= loop->end)
        return "the hart is not in its loop";
    return state.x[REG_S11] ? NULL : "the loop has not come round once";
}

static bool report_fault(const struct loop *loop, const char *text)
{
    printf("%s FAILED %s\n", loop->name, text);
    return false;
}

static bool measure_loop(struct mem *mem, const struct loop *loop, double seconds)
{
    struct vcpu *vcpu;
    if (make_hart(mem, loop, &vcpu))
        return report_fault(loop, "no hart could be made");
    /* The first batch decodes and, later, compiles; it is not counted. */
    enum vcpu_exit exit_reason = vcpu_run(vcpu, BATCH_INSNS);
    uint64_t insns = 0;
    double start = now_seconds(), elapsed = 0;
    for (uint64_t batch = BATCH_INSNS; exit_reason == VCPU_EXIT_BUDGET && elapsed < seconds; batch *= 2) {
        exit_reason = vcpu_run(vcpu, batch);
        insns += batch;
        elapsed = now_seconds() - start;
    }
    const char *wrong = fault(vcpu, loop, exit_reason, insns + BATCH_INSNS);
    vcpu_destroy(vcpu);
    if (wrong)
        return report_fault(loop, wrong);
    printf("%s %" PRIu64 " %.6f %.1f\n", loop->name, insns, elapsed, (double)insns / elapsed / 1e6);
    return true;
}

static const struct loop *find_loop(const char *name)
{
    for (const struct loop *loop = micro_image; loop->name[0]; loop++)
        if (strcmp(loop->name, name) == 0)
            return loop;
    return NULL;
}

/* The shortest time of one round of loop_straight on a new hart, and of its second round. */
static bool measure_decode(struct mem *mem)
{
    const struct loop *loop = find_loop("straight");
    double cold = 1e9, warm = 1e9;
    struct vcpu_counters counters = {0};
    for (int i = 0; i < COLD_HARTS; i++) {
        struct vcpu *vcpu;
        if (make_hart(mem, loop, &vcpu))
            return report_fault(loop, "no hart could be made");
        double start = now_seconds();
        vcpu_run(vcpu, STRAIGHT_INSNS);
        double middle = now_seconds();
        vcpu_counters_read(vcpu, &counters);
        enum vcpu_exit exit_reason = vcpu_run(vcpu, STRAIGHT_INSNS);
        double end = now_seconds();
        const char *wrong = fault(vcpu, loop, exit_reason, 2 * STRAIGHT_INSNS);
        vcpu_destroy(vcpu);
        if (wrong)
            return report_fault(loop, wrong);
        cold = middle - start < cold ? middle - start : cold;
        warm = end - middle < warm ? end - middle : warm;
    }
    double decode_ns = (cold - warm) * 1e9;
    printf("decode %d %.1f %.1f\n", STRAIGHT_INSNS, decode_ns / STRAIGHT_INSNS,
           counters.blocks_decoded ? decode_ns / (double)counters.blocks_decoded : 0);
    return true;
}

static bool selected(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return count == 0;
}

static int usage(FILE *out)
{
    fputs("usage: micro [--seconds S] [LOOP ...]\nLoops:", out);
    for (const struct loop *loop = micro_image; loop->name[0]; loop++)
        fprintf(out, " %s", loop->name);
    fputs(" decode\n", out);
    return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    double seconds = 1;
    bool good = true;
    struct mem *mem;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        if (c == 's')
            seconds = strtod(optarg, &end);
        if (c != 's' || *end || !(seconds > 0))
            return usage(c == 'h' ? stdout : stderr);
    }
    for (int i = optind; i < argc; i++)
        if (!find_loop(argv[i]) && strcmp(argv[i], "decode") != 0)
            return usage(stderr);
    if (make_memory(&mem)) {
        fputs("micro: not enough memory\n", stderr);
        return 1;
    }
    for (const struct loop *loop = micro_image; loop->name[0]; loop++)
        if (selected(loop->name, argv + optind, argc - optind))
            good &= measure_loop(mem, loop, seconds);
    if (selected("decode", argv + optind, argc - optind))
        good &= measure_decode(mem);
    mem_destroy(mem);
    return good ? 0 : 1;
}
