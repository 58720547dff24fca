/* The log's filter and rate limit; see log.h. The settings are the process's, not a VM's: they say what
 * the person at the terminal wants to see. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { GUEST_LINES_A_SECOND = 10, GUEST_LINES_TOTAL = 1000 };

static log_sink_fn log_sink;
static void *log_sink_opaque;
static enum log_level log_levels[LOG_SUBSYSTEM_COUNT] = {
#define X(id, name, text) [LOG_##id] = LOG_LEVEL_WARN,
    LOG_SUBSYSTEMS(X)
#undef X
};

static const char *const subsystem_names[] = {
#define X(id, name, text) name,
    LOG_SUBSYSTEMS(X)
#undef X
};
static const char *const subsystem_texts[] = {
#define X(id, name, text) text,
    LOG_SUBSYSTEMS(X)
#undef X
};
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_sink(log_sink_fn sink, void *opaque)
{
    log_sink = sink;
    log_sink_opaque = opaque;
}

void log_set_level(enum log_subsystem subsystem, enum log_level level)
{
    log_levels[subsystem] = level;
}

const char *log_subsystem_name(enum log_subsystem subsystem)
{
    return subsystem_names[subsystem];
}

const char *log_subsystem_text(enum log_subsystem subsystem)
{
    return subsystem_texts[subsystem];
}

static int set_one(const char *item)
{
    char name[32];
    enum log_level level = LOG_LEVEL_DEBUG;
    const char *equals = strchr(item, '=');
    size_t len = equals ? (size_t)(equals - item) : strlen(item);
    bool found = false;

    if (len == 0 || len >= sizeof(name))
        return -EINVAL;
    memcpy(name, item, len);
    name[len] = '\0';
    if (equals) {
        size_t i = 0;
        while (i < TUFF_ARRAY_LEN(level_names) && strcmp(level_names[i], equals + 1) != 0)
            i++;
        if (i == TUFF_ARRAY_LEN(level_names))
            return -EINVAL;
        level = (enum log_level)i;
    }
    for (int i = 0; i < LOG_SUBSYSTEM_COUNT; i++) {
        if (strcmp(name, "all") == 0 || strcmp(name, subsystem_names[i]) == 0) {
            log_levels[i] = level;
            found = true;
        }
    }
    return found ? 0 : -EINVAL;
}

int log_configure(const char *spec)
{
    char copy[256];
    char *save = NULL;

    if (strlen(spec) >= sizeof(copy))
        return -EINVAL;
    strcpy(copy, spec);
    for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        int rc = set_one(item);
        if (rc)
            return rc;
    }
    return 0;
}

bool log_enabled(enum log_level level, enum log_subsystem subsystem)
{
    return log_sink && level <= log_levels[subsystem];
}

static void write_line(enum log_level level, enum log_subsystem subsystem, const char *format, va_list args)
{
    char line[512];

    vsnprintf(line, sizeof(line), format, args);
    log_sink(log_sink_opaque, level, subsystem, line);
}

void log_write(enum log_level level, enum log_subsystem subsystem, const char *format, ...)
{
    va_list args;

    if (!log_enabled(level, subsystem))
        return;
    va_start(args, format);
    write_line(level, subsystem, format, args);
    va_end(args);
}

void log_guest_error(const char *format, ...)
{
    static _Atomic uint64_t second_and_count; /* seconds in the high half, lines in that second below */
    static _Atomic uint32_t total;
    struct timespec now;
    va_list args;

    if (!log_enabled(LOG_LEVEL_WARN, LOG_GUEST))
        return;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint64_t old = atomic_load(&second_and_count);
    uint64_t next;
    do {
        if ((old >> 32) != (uint32_t)now.tv_sec)
            next = ((uint64_t)(uint32_t)now.tv_sec << 32) | 1;
        else if ((uint32_t)old >= GUEST_LINES_A_SECOND)
            return;
        else
            next = old + 1;
    } while (!atomic_compare_exchange_weak(&second_and_count, &old, next));
    if (atomic_fetch_add(&total, 1) >= GUEST_LINES_TOTAL)
        return;
    va_start(args, format);
    write_line(LOG_LEVEL_WARN, LOG_GUEST, format, args);
    va_end(args);
}
