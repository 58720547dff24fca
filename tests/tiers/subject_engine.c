/* Running a test program on the engine: RAM, one hart in S-mode with address translation off, and two of Linux's system
 * calls behind the hook that otherwise serves SBI. See subject.h.
 *
 * Traps are delegated to S-mode and end the run with what was trapped: a test program has none.
 */
#include "encode.h"
#include "engine/isa/riscv/isa.h"
#include "engine/tier.h"
#include "engine/vcpu.h"
#ifdef TUFF_LLVM
#include "llvm/tier.h"
#endif
#include "mem/mem.h"
#include "sanitized.h"
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RAM_BYTES = 64 << 20,
    TRAP_HANDLER_OFFSET = RAM_BYTES - 0x1000,
    SYS_TRAPPED = 2047, /* what the trap handler asks for */
    ENVCFG_CBZE = 1 << 7,
    EBREAK_TO_PAGE_FAULTS = 0xb3ff, /* medeleg: every cause that delegates, without ecall from S */
    MSTATUS_FS_DIRTY = 3 << 13,
    PMP_NAPOT_RWX = 0x1f,
};

static const uint64_t DEFAULT_MAX_INSNS = 1000ull * 1000 * 1000;

const struct engine_setting engine_settings[] = {
    {"interpreter", &vcpu_riscv_ops, NULL, 0, false, 0},
    {"baseline", &vcpu_riscv_ops, NULL, 0, false, 1},
#ifdef TUFF_LLVM
    {"llvm-quick", &vcpu_riscv_ops, llvm_tier_ops, 0, false, 0},
    {"llvm-full", &vcpu_riscv_ops, llvm_tier_ops, 1, false, 0},
#if !TEST_SANITIZED
    {"baseline-llvm", &vcpu_riscv_ops, llvm_tier_ops, 0, false, 1},
    {"llvm-verify", &vcpu_riscv_ops, llvm_tier_ops, 1, true, 0},
#endif
#endif
};
const uint32_t engine_setting_count = TUFF_ARRAY_LEN(engine_settings);

const struct engine_setting *engine_setting_find(const char *name)
{
    for (uint32_t i = 0; i < engine_setting_count; i++) {
        if (strcmp(engine_settings[i].name, name) == 0)
            return &engine_settings[i];
    }
    return NULL;
}

struct session {
    struct mem *mem;
    struct vcpu *vcpu;
    struct region_cache *regions;
    struct subject_result *result;
    size_t written_bytes, expected_bytes;
    bool exited;
};

/* Appends guest memory to the output, as write(1, ...) does. Returns what the call returns to the guest. */
static uint64_t serve_write(struct session *session, uint64_t gpa, uint64_t len)
{
    if (len > session->expected_bytes - session->written_bytes)
        return (uint64_t)-1;
    if (mem_read(session->mem, gpa, session->result->output + session->written_bytes, len))
        return (uint64_t)-1;
    session->written_bytes += len;
    return len;
}

static enum vcpu_action serve_ecall(void *opaque, struct vcpu *vcpu)
{
    struct session *session = opaque;
    uint64_t *x = vcpu_x(vcpu);
    if (x[REG_A7] == PROGRAM_SYS_WRITE) {
        x[REG_A0] = serve_write(session, x[REG_A1], x[REG_A2]);
        return VCPU_ACTION_RESUME;
    }
    session->exited = x[REG_A7] == PROGRAM_SYS_EXIT && x[REG_A0] == 0;
    return VCPU_ACTION_STOP;
}

static uint64_t no_time(void *opaque)
{
    return 0;
}

static void no_timer(void *opaque, struct vcpu *vcpu, uint64_t deadline)
{
}

static const struct vcpu_env_ops session_env = {.time_now = no_time, .timer_arm = no_timer, .ecall = serve_ecall};

static int load(struct mem *mem, const struct program *program)
{
    uint32_t handler[2] = {enc_addi(REG_A7, REG_ZERO, SYS_TRAPPED), enc_ecall()};
    int err = mem_add_ram(mem, PROGRAM_CODE_GPA, RAM_BYTES);
    if (!err)
        err = mem_write(mem, PROGRAM_CODE_GPA, program->code, program->code_bytes);
    if (!err)
        err = mem_write(mem, PROGRAM_DATA_GPA, program->data, program->data_bytes);
    if (!err)
        err = mem_write(mem, PROGRAM_CODE_GPA + TRAP_HANDLER_OFFSET, handler, sizeof(handler));
    return err;
}

static int enter_supervisor(struct vcpu *vcpu)
{
    struct vcpu_state state;
    vcpu_get_state(vcpu, &state);
    state.pc = PROGRAM_CODE_GPA;
    state.priv = VCPU_PRIV_S;
    state.mstatus |= MSTATUS_FS_DIRTY;
    state.menvcfg |= ENVCFG_CBZE;
    state.medeleg = EBREAK_TO_PAGE_FAULTS;
    state.stvec = PROGRAM_CODE_GPA + TRAP_HANDLER_OFFSET;
    state.mtvec = PROGRAM_CODE_GPA + TRAP_HANDLER_OFFSET;
    state.satp = 0;
    state.pmpaddr[0] = UINT64_MAX >> 10; /* WARL: 54 bits */
    state.pmpcfg[0] = PMP_NAPOT_RWX;
    return vcpu_set_state(vcpu, &state);
}

static void print_report(void *opaque, const char *text)
{
    (void)opaque;
    (void)fputs(text, stderr);
}

int engine_setting_regions(const struct engine_setting *setting, struct region_cache **out)
{
    struct tier_config config;
    struct error err;

    *out = NULL;
    if (!setting->tier)
        return 0;
    tier_config_default(&config);
    config.sync = true;
    config.tunables.threshold = setting->baseline_after ? 3 : 0;
    config.tunables.first_level = setting->level;
    config.verify = setting->verify;
    config.verify_report = print_report;
    return region_cache_create(setting->tier(), &config, out, &err);
}

static int session_open(struct session *session, const struct program *program, const struct engine_setting *setting)
{
    int err = mem_create(&session->mem);
    if (err)
        return err;
    err = load(session->mem, program);
    if (!err)
        err = engine_setting_regions(setting, &session->regions);
    /* Alone, the baseline tier stores another way: both are tried. */
    struct vcpu_config config = {.hart_count = setting->baseline_after && !setting->tier ? 2 : 1,
                                 .mem = session->mem,
                                 .env = &session_env,
                                 .env_opaque = session,
                                 .isa = ISA_COMPATIBLE,
                                 .reset_pc = PROGRAM_CODE_GPA,
                                 .timebase_hz = 10000000,
                                 .region_cache = session->regions,
                                 .baseline_after = setting->baseline_after,
                                 .clock_insns = true,
                                 .insns_per_tick = 100};
    if (!err)
        err = vcpu_create(setting->ops, &config, &session->vcpu);
    if (!err)
        err = enter_supervisor(session->vcpu);
    return err;
}

static void session_close(struct session *session)
{
    if (session->vcpu)
        vcpu_destroy(session->vcpu);
    region_cache_destroy(session->regions);
    if (session->mem)
        mem_destroy(session->mem);
}

static enum vcpu_exit run_slices(struct session *session, const struct engine_run_options *options, uint64_t max_insns)
{
    uint64_t start = vcpu_instret(session->vcpu);
    enum vcpu_exit exit;
    do {
        uint64_t left = max_insns - (vcpu_instret(session->vcpu) - start);
        uint64_t slice = options->slice_insns && options->slice_insns < left ? options->slice_insns : left;
        if (options->step) {
            struct vcpu_state state;
            vcpu_get_state(session->vcpu, &state);
            options->step(options->opaque, state.pc);
        }
        exit = vcpu_run(session->vcpu, slice);
    } while (exit == VCPU_EXIT_BUDGET && vcpu_instret(session->vcpu) - start < max_insns);
    session->result->insns = vcpu_instret(session->vcpu) - start;
    return exit;
}

static void explain(struct session *session, enum vcpu_exit exit)
{
    struct vcpu_state state;
    vcpu_get_state(session->vcpu, &state);
    char *why = session->result->why;
    size_t len = sizeof(session->result->why);
    if (exit == VCPU_EXIT_STOPPED && session->exited)
        snprintf(why, len, "the program wrote %zu of %zu bytes", session->written_bytes, session->expected_bytes);
    else if (exit == VCPU_EXIT_STOPPED && state.x[REG_A7] == SYS_TRAPPED)
        snprintf(why, len, "trap: scause %llu, sepc 0x%llx, stval 0x%llx (mcause %llu, mepc 0x%llx)",
                 (unsigned long long)state.scause, (unsigned long long)state.sepc, (unsigned long long)state.stval,
                 (unsigned long long)state.mcause, (unsigned long long)state.mepc);
    else if (exit == VCPU_EXIT_STOPPED)
        snprintf(why, len, "unknown system call %llu at 0x%llx", (unsigned long long)state.x[REG_A7],
                 (unsigned long long)state.pc);
    else
        snprintf(why, len, "vcpu_run() ended with %d at 0x%llx after %llu instructions", (int)exit,
                 (unsigned long long)state.pc, (unsigned long long)session->result->insns);
}

void engine_run(const struct program *program, const struct engine_run_options *options, struct subject_result *out)
{
    *out = (struct subject_result){.output = malloc(program->data_bytes)};
    struct session session = {.result = out, .expected_bytes = program->data_bytes};
    int err = out->output ? session_open(&session, program, options->setting) : -1;
    if (err) {
        snprintf(out->why, sizeof(out->why), "cannot make a hart: %s", strerror(-err));
    } else {
        enum vcpu_exit exit =
            run_slices(&session, options, options->max_insns ? options->max_insns : DEFAULT_MAX_INSNS);
        out->ended = session.exited && session.written_bytes == session.expected_bytes;
        if (!out->ended)
            explain(&session, exit);
    }
    session_close(&session);
}
