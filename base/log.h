/* Logging: level x subsystem, chosen by `--log`. Lines go to a sink that the composition root installs (cli/ writes
 * them to standard error), so no folder below prints. The guest's own mistakes (a bad register, an access
 * beside a device) go to LOG_GUEST and are rate-limited: a hostile guest cannot fill the host's disk. */
#ifndef TUFF_BASE_LOG_H
#define TUFF_BASE_LOG_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* name, what it covers: printed by --log=help */
#define LOG_SUBSYSTEMS(X)                                                       \
    X(GUEST, "guest", "the guest's mistakes: bad registers, unmapped accesses") \
    X(ENGINE, "engine", "vCPUs, traps, translation")                            \
    X(ACCEL, "accel", "KVM")                                                    \
    X(MEM, "mem", "guest memory")                                               \
    X(DEV, "dev", "devices")                                                    \
    X(SBI, "sbi", "calls to the VM's SBI")                                      \
    X(MACHINE, "machine", "composition, boot, run control")                     \
    X(SNAPSHOT, "snapshot", "the snapshot store")                               \
    X(STORE, "store", "what is kept of compiled code between runs")             \
    X(JIT, "jit", "compiled tiers")

enum log_subsystem {
#define X(id, name, text) LOG_##id,
    LOG_SUBSYSTEMS(X)
#undef X
        LOG_SUBSYSTEM_COUNT,
};

typedef void (*log_sink_fn)(void *opaque, enum log_level level, enum log_subsystem subsystem, const char *line);

/* Process-wide settings: set once before threads start. The default sink drops everything. */
void log_set_sink(log_sink_fn sink, void *opaque);
void log_set_level(enum log_subsystem subsystem, enum log_level level);
/* Parses "jit,virtio=debug,..." ("all" names every subsystem; without "=level" debug). Returns 0 or -EINVAL. */
int log_configure(const char *spec) TUFF_MUST_CHECK;

bool log_enabled(enum log_level level, enum log_subsystem subsystem);
const char *log_subsystem_name(enum log_subsystem subsystem);
const char *log_subsystem_text(enum log_subsystem subsystem);
void log_write(enum log_level level, enum log_subsystem subsystem, const char *format, ...) TUFF_PRINTF(3, 4);

/* At most 10 lines a second and 1,000 in all. */
void log_guest_error(const char *format, ...) TUFF_PRINTF(1, 2);

#define log_debug(subsystem, ...)                               \
    do {                                                        \
        if (log_enabled(LOG_LEVEL_DEBUG, subsystem))            \
            log_write(LOG_LEVEL_DEBUG, subsystem, __VA_ARGS__); \
    } while (0)
#define log_warn(subsystem, ...) log_write(LOG_LEVEL_WARN, subsystem, __VA_ARGS__)

#endif
