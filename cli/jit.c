/* --tier, --jit-*, --tune, --dump, --passes, --pass-plugin; see jit.h. */
#include "cli/jit.h"

#include "cli/command.h"
#include "cli/report.h"
#include "cli/values.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

struct tunable {
    const char *name, *text;
    uint32_t value, least, most;
    size_t offset;
};

static const struct tunable tunables[] = {
#define X(name_, value_, least_, most_, text_) \
    {.name = #name_,                           \
     .text = (text_),                          \
     .value = (value_),                        \
     .least = (least_),                        \
     .most = (most_),                          \
     .offset = offsetof(struct tier_tunables, name_)},
    TIER_TUNABLES(X)
#undef X
};

int jit_help(void)
{
    printf("Numbers for --tune=NAME=N[,...]:\n");
    for (size_t i = 0; i < TUFF_ARRAY_LEN(tunables); i++)
        printf("  %-18s %s (default %" PRIu32 ")\n", tunables[i].name, tunables[i].text, tunables[i].value);
    return CLI_EXIT_OK;
}

static const struct tunable *find_tunable(const char *name, size_t len)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(tunables); i++) {
        if (strlen(tunables[i].name) == len && memcmp(tunables[i].name, name, len) == 0)
            return &tunables[i];
    }
    return NULL;
}

static void set_tunable(struct tier_tunables *all, const struct tunable *tunable, uint64_t value)
{
    memcpy((char *)all + tunable->offset, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
}

/* One NAME=N of `len` bytes. */
static int parse_tunable(const char *item, size_t len, struct tier_tunables *out)
{
    const char *equals = memchr(item, '=', len);
    size_t name_len = equals ? (size_t)(equals - item) : len;
    const struct tunable *tunable = find_tunable(item, name_len);
    char number[24] = "";
    uint64_t value;

    if (!tunable || !equals) {
        report_error("--tune, '%.*s', is not known: give NAME=N (--tune=help lists them)", (int)len, item);
        return -EINVAL;
    }
    size_t digits = len - name_len - 1;
    if (digits < sizeof(number))
        memcpy(number, equals + 1, digits);
    if (values_number(number, tunable->least, tunable->most, &value)) {
        report_error("--tune, '%.*s', is out of range: give %s from %" PRIu32 " to %" PRIu32, (int)len, item,
                     tunable->name, tunable->least, tunable->most);
        return -EINVAL;
    }
    set_tunable(out, tunable, value);
    return 0;
}

static int parse_tune(const char *text, struct tier_tunables *out)
{
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        int rc = parse_tunable(at, len, out);
        if (rc)
            return rc;
        at += len;
        if (!*at)
            return 0;
    }
}

static int parse_tier(const char *text, struct machine_config *config)
{
    static const struct {
        const char *name;
        bool baseline, llvm;
    } tiers[] = {{"interp", false, false}, {"baseline", true, false}, {"llvm", false, true}, {"all", true, true}};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(tiers); i++) {
        if (strcmp(tiers[i].name, text) != 0)
            continue;
        if (tiers[i].llvm && !machine_has_jit()) {
            report_error("--tier, '%s', is not part of this build: give interp or baseline, or build with LLVM", text);
            return -EINVAL;
        }
        if (tiers[i].baseline && !machine_has_baseline()) {
            report_error("--tier, '%s', is not there on this host: give interp or llvm", text);
            return -EINVAL;
        }
        config->interpret = !tiers[i].llvm;
        config->baseline = tiers[i].baseline;
        return 0;
    }
    report_error("--tier, '%s', is not known: give interp, baseline, llvm or all", text);
    return -EINVAL;
}

static int parse_count(const char *option, const char *text, uint64_t most, uint64_t *out)
{
    if (values_number(text, 0, most, out)) {
        report_error("--%s, '%s', is not a number up to %" PRIu64 ": give one, like --%s=100", option, text, most,
                     option);
        return -EINVAL;
    }
    return 0;
}

static int parse_sample(const char *text, uint32_t *out)
{
    uint64_t value = 0;

    if (strncmp(text, "1/", 2) != 0 || values_number(text + 2, 1, UINT32_MAX, &value)) {
        report_error("--jit-sample, '%s', is not a share: give 1/N, like --jit-sample=1/64", text);
        return -EINVAL;
    }
    *out = (uint32_t)value;
    return 0;
}

/* A region's number, an address or a range of them (0x...), or a symbol, whose existence the machine looks into. */
static int parse_dump_filter(const char *filter, struct tier_dump *out)
{
    char first[24] = "";
    size_t len = strcspn(filter, "-");
    uint64_t number = 0, end;

    if (*filter < '0' || *filter > '9') {
        out->symbol = filter;
        return *filter ? 0 : -EINVAL;
    }
    if (strncmp(filter, "0x", 2) != 0) {
        int rc = values_number(filter, 1, UINT32_MAX, &number);
        out->region = (uint32_t)number;
        return rc;
    }
    if (len < sizeof(first))
        memcpy(first, filter, len);
    if (values_address(first, &out->first))
        return -EINVAL;
    out->last = out->first;
    if (!filter[len])
        return 0;
    if (values_address(filter + len + 1, &end) || end <= out->first)
        return -EINVAL;
    out->last = end - 1;
    return 0;
}

static int parse_dump(const char *text, struct tier_dump *out)
{
    static const char *const words[] = {"guest", "ir", "opt", "asm", "block"}; /* by bit of TIER_DUMP_* */
    size_t all = strcspn(text, ":");

    out->last = UINT64_MAX;
    for (size_t at = 0; at <= all;) {
        size_t len = strcspn(text + at, ",:");
        unsigned known = 0;
        for (size_t i = 0; i < TUFF_ARRAY_LEN(words); i++) {
            if (strlen(words[i]) == len && memcmp(words[i], text + at, len) == 0)
                known = 1u << i;
        }
        if (!known) {
            report_error("--dump, '%s', is not known: give guest, ir, opt, asm or block, and :FILTER for some of them",
                         text);
            return -EINVAL;
        }
        out->what |= known;
        at += len + 1;
    }
    if (text[all] && parse_dump_filter(text + all + 1, out)) {
        report_error("--dump, '%s', names no regions: give a number, a symbol, an address or a range of them, like "
                     "--dump=asm:0x80000000-0x80000100",
                     text);
        return -EINVAL;
    }
    return 0;
}

/* Blocks are the baseline tier's, and the disassembler comes with LLVM. */
static int check_dump(const char *text, const struct machine_config *config)
{
    const struct tier_dump *dump = &config->jit.dump;

    if (!(dump->what & TIER_DUMP_BLOCK))
        return 0;
    if (dump->region) {
        report_error("--dump, '%s', names a region, and a block has no number: give a symbol or addresses", text);
        return -EINVAL;
    }
    if (!machine_has_jit() || config->interpret || !config->baseline) {
        report_error("--dump, '%s', needs the baseline tier and LLVM's disassembler: %s", text,
                     machine_has_jit() ? "leave out --tier" : "build with LLVM");
        return -EINVAL;
    }
    return 0;
}

/* Without a number: every run. */
static int parse_verify(const char *text, uint32_t *out)
{
    uint64_t value = 1;

    if (*text && values_number(text, 1, UINT32_MAX, &value)) {
        report_error("--verify, '%s', is not a number from 1: give --verify, or --verify=64 for one run in 64", text);
        return -EINVAL;
    }
    *out = (uint32_t)value;
    return 0;
}

/* What is in them, the tier finds out when it loads them; without it a mistake must show all the same. */
static int check_plugins(const char *files, const struct machine_config *config)
{
    if (!machine_has_jit() || config->interpret) {
        report_error("--pass-plugin, '%s', needs the LLVM tier: %s", files,
                     machine_has_jit() ? "leave out --tier=interp" : "build with LLVM");
        return -EINVAL;
    }
    for (const char *at = files;; at++) {
        char path[PATH_MAX] = "";
        size_t len = strcspn(at, ",");
        (void)snprintf(path, sizeof(path), "%.*s", (int)len, at);
        if (access(path, R_OK)) {
            report_error("--pass-plugin, '%s', cannot be read: %s", path, strerror(errno));
            return -EINVAL;
        }
        at += len;
        if (!*at)
            return 0;
    }
}

/* A report has several lines. */
static void print_report(void *opaque, const char *text)
{
    (void)opaque;
    for (size_t len; *text; text += len + (text[len] == '\n')) {
        len = strcspn(text, "\n");
        report_error("verify: %.*s", (int)len, text);
    }
}

int jit_parse(const struct option_values *values, struct machine_config *config)
{
    const char *const *value = values->value;
    struct tier_config *jit = &config->jit;
    uint64_t number;
    int rc = 0;

    if (value[OPTION_TIER])
        rc = parse_tier(value[OPTION_TIER], config);
    if (!rc && value[OPTION_TUNE])
        rc = parse_tune(value[OPTION_TUNE], &jit->tunables);
    if (!rc && value[OPTION_JIT_THRESHOLD]) {
        rc = parse_count("jit-threshold", value[OPTION_JIT_THRESHOLD], UINT32_MAX, &number);
        if (!rc)
            jit->tunables.threshold = (uint32_t)number;
    }
    if (!rc && value[OPTION_JIT_SAMPLE])
        rc = parse_sample(value[OPTION_JIT_SAMPLE], &jit->sample);
    if (!rc && value[OPTION_JIT_RANDOM]) {
        rc = parse_count("jit-random", value[OPTION_JIT_RANDOM], UINT64_MAX, &jit->seed);
        jit->random = true;
    }
    if (!rc && value[OPTION_JIT_BISECT])
        rc = parse_count("jit-bisect", value[OPTION_JIT_BISECT], UINT32_MAX, &jit->limit);
    if (!rc && value[OPTION_JIT_PLANT]) {
        rc = parse_count("jit-plant", value[OPTION_JIT_PLANT], UINT32_MAX, &number);
        if (!rc)
            jit->plant = (uint32_t)number;
    }
    if (!rc && value[OPTION_VERIFY])
        rc = parse_verify(value[OPTION_VERIFY], &jit->verify);
    if (!rc && value[OPTION_DUMP])
        rc = parse_dump(value[OPTION_DUMP], &jit->dump);
    if (!rc && value[OPTION_DUMP])
        rc = check_dump(value[OPTION_DUMP], config);
    if (!rc && value[OPTION_PASS_PLUGIN])
        rc = check_plugins(value[OPTION_PASS_PLUGIN], config);
    jit->sync = value[OPTION_JIT_SYNC] != NULL;
    jit->perf_map = value[OPTION_PERF] != NULL;
    jit->gdb = value[OPTION_GDB_JIT] != NULL;
    jit->jitdump = value[OPTION_JITDUMP];
    jit->dump_to = stderr;
    jit->passes = value[OPTION_PASSES];
    jit->plugins = value[OPTION_PASS_PLUGIN];
    jit->verify_report = print_report;
    return rc;
}
