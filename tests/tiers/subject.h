/* Who runs a test program: QEMU's user-mode emulator, or the engine with one of its settings.
 *
 * Both take a struct program and give back what it wrote. A run that does not end in exit(0) after writing all its data
 * is a failure with a sentence in `why`.
 */
#ifndef TUFF_TESTS_TIERS_SUBJECT_H
#define TUFF_TESTS_TIERS_SUBJECT_H

#include "base/compiler.h"
#include "program.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vcpu_ops;
struct vcpu;

struct subject_result {
    bool ended;
    char why[256];
    uint8_t *output; /* data_bytes of the program, when ended; owned */
    uint64_t insns;  /* retired; the engine only */
};

void subject_result_free(struct subject_result *result);

struct tier_ops;

/* A way of running the engine: the same tests run on every one. */
struct engine_setting {
    const char *name;
    const struct vcpu_ops *ops;
    const struct tier_ops *(*tier)(void); /* compiles everything at first sight; NULL: none */
    uint32_t level;                       /* of the tier */
    bool verify;                          /* compares all it compiles with the interpreter */
    uint32_t baseline_after;              /* of struct vcpu_config; a tier beside it compiles what ran 3 times */
};

struct region_cache;
/* The regions for a vCPU of this setting, to be destroyed after it; NULL for one that has no tier. Returns 0 or a
 * negative errno. */
int engine_setting_regions(const struct engine_setting *setting, struct region_cache **out);

extern const struct engine_setting engine_settings[];
extern const uint32_t engine_setting_count;
/* NULL when there is none of that name. */
const struct engine_setting *engine_setting_find(const char *name);

/* Called before each instruction when the engine is single-stepped. */
typedef void (*engine_step_fn)(void *opaque, uint64_t pc);

struct engine_run_options {
    const struct engine_setting *setting;
    /* Instructions a call of vcpu_run(); 0: no limit. 1 steps, and calls `step`. */
    uint64_t slice_insns;
    engine_step_fn step;
    void *opaque;
    /* The run is given up after so many retired instructions. 0: a default. */
    uint64_t max_insns;
};

void engine_run(const struct program *program, const struct engine_run_options *options, struct subject_result *out);

/* The emulator is started and runs beside us; finish waits for it. */
struct qemu_run {
    pid_t pid;
    int image_fd, output_fd;
    size_t output_bytes;
    char error[200]; /* why it could not be started, else empty */
};

void qemu_start(const char *qemu, const struct program *program, struct qemu_run *run);
void qemu_finish(struct qemu_run *run, struct subject_result *out);
void qemu_run(const char *qemu, const struct program *program, struct subject_result *out);

/* Path of qemu-riscv64: the environment's TUFF_QEMU_USER, or what the script `fetch` prints (NULL: no script). Returns
 * false with a sentence when there is none. */
bool qemu_find(const char *fetch, char *path, size_t len, char *why, size_t why_len);

#endif
