/* Options about snapshots; see snapshot.h. */
#include "cli/snapshot.h"

#include "cli/report.h"
#include "cli/values.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int parse_at(const char *text, struct machine_snapshot_config *config)
{
    static const char prefix[] = "insns=";

    if (strncmp(text, prefix, strlen(prefix)) != 0 ||
        values_number(text + strlen(prefix), 1, UINT64_MAX - 1, &config->at_insns)) {
        report_error("--snapshot-at, '%s', is no moment: give one like --snapshot-at=insns=1000000", text);
        return -EINVAL;
    }
    return 0;
}

static int parse_every(const char *text, struct machine_snapshot_config *config)
{
    static const char keep[] = "keep=";
    const char *comma = strchr(text, ',');
    uint64_t seconds, count = 0;
    char number[24];
    int len = snprintf(number, sizeof(number), "%.*s", (int)(comma ? comma - text : (long)strlen(text)), text);

    if (len >= (int)sizeof(number) || values_number(number, 1, 86400u * 365, &seconds) ||
        (comma && (strncmp(comma + 1, keep, strlen(keep)) != 0 ||
                   values_number(comma + 1 + strlen(keep), 1, 1000000, &count)))) {
        report_error("--snapshot-every, '%s', is not understood: give seconds, like 600 or 600,keep=5", text);
        return -EINVAL;
    }
    config->every_ns = seconds * 1000000000u;
    config->keep = (unsigned)count;
    return 0;
}

static int check_time(const char *text)
{
    if (!text || strcmp(text, "continue") == 0 || strcmp(text, "host") == 0)
        return 0;
    report_error("--time, '%s', is not known: give continue or host", text);
    return -EINVAL;
}

enum machine_restore_time snapshot_time(const struct option_values *values)
{
    const char *text = values->value[OPTION_TIME];

    return text && strcmp(text, "host") == 0 ? MACHINE_RESTORE_HOST_TIME : MACHINE_RESTORE_CONTINUE;
}

int snapshot_parse(const struct option_values *values, struct machine_config *config)
{
    const char *const *value = values->value;
    struct machine_snapshot_config *snapshots = &config->snapshots;
    int rc = check_time(value[OPTION_TIME]);

    snapshots->file = value[OPTION_SNAPSHOT_FILE];
    snapshots->on_exit = value[OPTION_SNAPSHOT_ON_EXIT] != NULL;
    if (!rc && value[OPTION_SNAPSHOT_AT])
        rc = parse_at(value[OPTION_SNAPSHOT_AT], snapshots);
    if (!rc && value[OPTION_SNAPSHOT_EVERY])
        rc = parse_every(value[OPTION_SNAPSHOT_EVERY], snapshots);
    /* A restore has a file in any case. */
    if (!rc && !snapshots->file && !values->operand_count &&
        (snapshots->on_exit || snapshots->at_insns || snapshots->every_ns)) {
        report_error("--snapshot-file, nothing given, is needed: say where snapshots go");
        rc = -EINVAL;
    }
    return rc;
}
