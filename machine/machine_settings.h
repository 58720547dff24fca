/* A machine's configuration as named texts, which a snapshot keeps, and back. */
#ifndef TUFF_MACHINE_MACHINE_SETTINGS_H
#define TUFF_MACHINE_MACHINE_SETTINGS_H

#include "base/compiler.h"
#include "base/error.h"

#include <stddef.h>

struct machine_config;

struct machine_setting {
    char *name, *value;
};

/* Grows as it is filled; zero-initialise. */
struct machine_settings {
    struct machine_setting *list;
    size_t count;
    int rc; /* -ENOMEM: something is missing */
};

void machine_settings_put(struct machine_settings *settings, const char *name, const char *format, ...)
    TUFF_PRINTF(3, 4);
/* NULL: there is none of that name. */
const char *machine_settings_get(const struct machine_settings *settings, const char *name);
void machine_settings_free(struct machine_settings *settings);

/* What makes the machine, as far as its guest sees it. */
void machine_settings_of(const struct machine_config *config, struct machine_settings *settings);
/* The other way; hostile values. Strings stay the settings'. Returns 0, or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int machine_settings_apply(const struct machine_settings *settings, struct machine_config *config,
                                           struct error *err);

#endif
