/* A stub without sockets and threads: two harts that share a little memory and are run in turn by whoever sent the
 * packet. For test_gdb_stub.c and the fuzz target. */
#ifndef TUFF_TESTS_GDB_STUB_BENCH_H
#define TUFF_TESTS_GDB_STUB_BENCH_H

#include "gdb/stub.h"
#include "mem/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BENCH_HARTS = 2, BENCH_RAM_BYTES = 1 << 16, BENCH_OUT_BYTES = 1 << 17, BENCH_TURN_INSNS = 50, BENCH_TURNS = 40 };
#define BENCH_RAM_GPA 0x80000000ull

struct stub_bench {
    struct mem *mem;
    struct vcpu *vcpus[BENCH_HARTS];
    struct gdb_stub *stub;
    enum gdb_action actions[BENCH_HARTS];
    bool stopped[BENCH_HARTS];
    bool running, quit;
    char out[BENCH_OUT_BYTES]; /* what the client was sent since bench_forget() */
    size_t out_len;
};

static uint64_t bench_time(void *opaque)
{
    (void)opaque;
    return 0;
}

static int bench_pause(void *opaque)
{
    ((struct stub_bench *)opaque)->running = false;
    return 0;
}

static void bench_resume(void *opaque, const enum gdb_action *actions)
{
    struct stub_bench *bench = opaque;

    memcpy(bench->actions, actions, sizeof(bench->actions));
    memset(bench->stopped, 0, sizeof(bench->stopped));
    bench->running = true;
}

static bool bench_has_stopped(void *opaque, uint32_t hart)
{
    return ((struct stub_bench *)opaque)->stopped[hart];
}

static const char *bench_hart_text(void *opaque, uint32_t hart)
{
    (void)opaque;
    (void)hart;
    return "started";
}

static void bench_quit(void *opaque)
{
    ((struct stub_bench *)opaque)->quit = true;
}

static void bench_send(void *opaque, const void *bytes, size_t len)
{
    struct stub_bench *bench = opaque;

    if (len >= sizeof(bench->out) - bench->out_len)
        len = sizeof(bench->out) - 1 - bench->out_len;
    memcpy(bench->out + bench->out_len, bytes, len);
    bench->out_len += len;
    bench->out[bench->out_len] = 0;
}

static inline void bench_forget(struct stub_bench *bench)
{
    bench->out_len = 0;
    bench->out[0] = 0;
}

/* Harts at the start of RAM, in M-mode. 0 or a negative errno. `baseline`: blocks are compiled at first sight. */
static inline int bench_open(struct stub_bench *bench, bool baseline)
{
    static const struct vcpu_env_ops env = {.time_now = bench_time};
    const struct gdb_target target = {.opaque = bench,
                                      .hart_count = BENCH_HARTS,
                                      .vcpus = bench->vcpus,
                                      .pause = bench_pause,
                                      .resume = bench_resume,
                                      .has_stopped = bench_has_stopped,
                                      .hart_text = bench_hart_text,
                                      .quit = bench_quit};
    struct gdb_target with_mem = target;

    memset(bench, 0, sizeof(*bench));
    int rc = mem_create(&bench->mem);
    if (rc == 0)
        rc = mem_add_ram(bench->mem, BENCH_RAM_GPA, BENCH_RAM_BYTES);
    for (uint32_t i = 0; i < BENCH_HARTS && rc == 0; i++) {
        const struct vcpu_config config = {.hart_id = i,
                                           .hart_count = BENCH_HARTS,
                                           .mem = bench->mem,
                                           .env = &env,
                                           .isa = ISA_ALL & ~(ISA_EXT(SMDBLTRP) | ISA_EXT(SMRNMI)),
                                           .reset_pc = BENCH_RAM_GPA,
                                           .timebase_hz = 10000000,
                                           .baseline_after = baseline};
        rc = vcpu_create(&vcpu_riscv_ops, &config, &bench->vcpus[i]);
    }
    for (uint32_t i = 0; i < BENCH_HARTS && rc == 0; i++)
        rc = vcpu_set_peers(bench->vcpus[i], bench->vcpus, BENCH_HARTS);
    with_mem.mem = bench->mem;
    if (rc == 0)
        rc = gdb_stub_create(&with_mem, bench_send, bench, &bench->stub);
    return rc ? rc : gdb_stub_attach(bench->stub, true);
}

static inline void bench_close(struct stub_bench *bench)
{
    gdb_stub_destroy(bench->stub);
    for (uint32_t i = 0; i < BENCH_HARTS; i++)
        vcpu_destroy(bench->vcpus[i]);
    mem_destroy(bench->mem);
}

static inline void bench_turn(struct stub_bench *bench, uint32_t hart)
{
    bool step = bench->actions[hart] == GDB_STEP;

    if (bench->actions[hart] == GDB_HOLD)
        return;
    enum vcpu_exit exit = step ? vcpu_step(bench->vcpus[hart]) : vcpu_run(bench->vcpus[hart], BENCH_TURN_INSNS);
    if (exit == VCPU_EXIT_DEBUG) {
        bench->stopped[hart] = true;
        bench->actions[hart] = GDB_HOLD;
    }
}

/* Lets the harts run, where the client did, until one stops or they have run for long. */
static inline void bench_run(struct stub_bench *bench)
{
    for (unsigned turn = 0; turn < BENCH_TURNS && bench->running; turn++) {
        for (uint32_t i = 0; i < BENCH_HARTS; i++)
            bench_turn(bench, i);
        gdb_stub_poll(bench->stub);
    }
}

/* Sends a packet with these bytes and lets the harts run. */
static inline void bench_packet(struct stub_bench *bench, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint8_t sum = 0;
    char end[4];

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + at[i]);
    snprintf(end, sizeof(end), "#%02x", sum);
    gdb_stub_input(bench->stub, (const uint8_t *)"$", 1);
    gdb_stub_input(bench->stub, at, len);
    gdb_stub_input(bench->stub, (const uint8_t *)end, 3);
    bench_run(bench);
}

#endif
