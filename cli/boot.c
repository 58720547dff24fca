/* `tuff boot` (a Linux kernel) and `tuff run` (a bare-metal ELF): from options to a machine, its run, its reboots and
 * the exit code.
 *
 * Nothing is opened for writing before the configuration was accepted, with one exception that was asked for:
 * --dump-dtb.
 */
#include "cli/boot_disk.h"
#include "cli/cache.h"
#include "cli/command.h"
#include "cli/confine.h"
#include "cli/console.h"
#include "cli/devices.h"
#include "cli/disk.h"
#include "cli/jit.h"
#include "cli/net.h"
#include "cli/regions.h"
#include "cli/report.h"
#include "cli/serve.h"
#include "cli/share.h"
#include "cli/snapshot.h"
#include "cli/stats.h"
#include "cli/values.h"

#include "base/log.h"
#include "base/loop.h"
#include "engine/isa/riscv/isa.h"
#include "machine/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum stats_format { STATS_NONE, STATS_TABLE, STATS_REGIONS, STATS_JSON };

struct boot {
    struct machine_config config;
    enum machine_serial serial;
    const char *serial_path;
    bool has_second;
    enum machine_serial second;
    const char *second_path;
    char serial_text[2 * 4096]; /* holds the paths */
    const char *dump_dtb;
    bool no_reboot;
    bool say_accel;                   /* --accel=auto was given: what it came to is told */
    char *disk_text;                  /* holds the strings of config.disks */
    char *net_text;                   /* holds the strings of config.nets */
    char *share_text;                 /* and of config.shares */
    char *device_text[DEVICES_TEXTS]; /* and of other devices */
    struct boot_disk from_disk;
    char *cache;        /* the default path */
    char options[1024]; /* as they were given, for the database */
    char *pflash[2];    /* paths without ",readonly" */
    enum stats_format stats_format;

    struct console *console;
    struct serve *serve;
    struct stats *stats;
    struct regions *regions;
    struct stats_run run;
    struct machine_result result;
};

/* The number of harts is checked again by machine_create(), which knows the board; this bounds the type. */
static int parse_cpus(const char *text, uint32_t *out)
{
    uint64_t cpus;

    if (values_number(text, 1, UINT32_MAX, &cpus)) {
        report_error("--cpus, '%s', is not a number of harts: give one from 1, like --cpus=2", text);
        return -EINVAL;
    }
    *out = (uint32_t)cpus;
    return 0;
}

static int parse_memory(const char *text, uint64_t *out)
{
    if (values_size(text, out)) {
        report_error("--memory, '%s', is not a size: give a number with K, M, G or T, like --memory=512M", text);
        return -EINVAL;
    }
    return 0;
}

static int parse_balloon(const char *text, struct machine_config *config)
{
    if (values_size(text, &config->balloon_bytes) || config->balloon_bytes > config->memory_bytes) {
        report_error("--balloon, '%s', is not a size up to that of the memory: give one like --balloon=256M", text);
        return -EINVAL;
    }
    config->balloon = true;
    return 0;
}

static int parse_max_insns(const char *text, uint64_t *out)
{
    if (values_number(text, 1, UINT64_MAX - 1, out)) {
        report_error("--max-insns, '%s', is not a number of instructions: give one like --max-insns=1000000", text);
        return -EINVAL;
    }
    return 0;
}

static int parse_clock(const char *text, enum machine_clock *out)
{
    if (strcmp(text, "host") == 0) {
        *out = MACHINE_CLOCK_HOST;
    } else if (strcmp(text, "insns") == 0) {
        *out = MACHINE_CLOCK_INSNS;
    } else {
        report_error("--clock, '%s', is not known: give host or insns", text);
        return -EINVAL;
    }
    return 0;
}

/* Which of `count` names it is. */
static int parse_choice(const char *option, const char *text, const char *const *names, size_t count, const char *all,
                        unsigned *out)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    report_error("%s, '%s', is not known: give %s", option, text, all);
    return -EINVAL;
}

static int parse_aia(const char *text, enum machine_aia *out)
{
    static const char *const names[] = {
        [MACHINE_AIA_NONE] = "none", [MACHINE_AIA_APLIC] = "aplic", [MACHINE_AIA_APLIC_IMSIC] = "aplic-imsic"};
    unsigned chosen = *out;
    int rc = parse_choice("--aia", text, names, TUFF_ARRAY_LEN(names), "none, aplic or aplic-imsic", &chosen);

    *out = (enum machine_aia)chosen;
    return rc;
}

static int parse_virtio(const char *text, enum machine_virtio *out)
{
    static const char *const names[] = {[MACHINE_VIRTIO_PCI] = "pci", [MACHINE_VIRTIO_MMIO] = "mmio"};
    unsigned chosen = *out;
    int rc = parse_choice("--virtio", text, names, TUFF_ARRAY_LEN(names), "pci or mmio", &chosen);

    *out = (enum machine_virtio)chosen;
    return rc;
}

/* `tier` is --tier's value, or NULL. */
static int parse_huge_pages(const char *text, enum machine_huge_pages *out)
{
    static const char *const names[] = {[MACHINE_HUGE_PAGES_AUTO] = "auto",
                                        [MACHINE_HUGE_PAGES_OFF] = "off",
                                        [MACHINE_HUGE_PAGES_RESERVED] = "reserved"};
    unsigned chosen = *out;
    int rc = parse_choice("--huge-pages", text, names, TUFF_ARRAY_LEN(names), "auto, off or reserved", &chosen);

    *out = (enum machine_huge_pages)chosen;
    return rc;
}

static int parse_accel(const char *text, const char *tier, struct machine_config *config)
{
    static const char *const names[] = {"auto", "kvm", "jit", "interp"};
    enum { AUTO, KVM, JIT, INTERP };
    unsigned chosen = AUTO;
    int rc = parse_choice("--accel", text, names, TUFF_ARRAY_LEN(names), "auto, kvm, jit or interp", &chosen);

    if (rc == 0 && tier && (chosen == KVM || chosen == INTERP)) {
        report_error("--accel, '%s', with --tier is refused as it says what runs the guest: give one of the two", text);
        return -EINVAL;
    }
    config->accel = chosen == AUTO ? MACHINE_ACCEL_AUTO : chosen == KVM ? MACHINE_ACCEL_KVM : MACHINE_ACCEL_TIERS;
    if (chosen == INTERP) {
        config->interpret = true;
        config->baseline = false;
    }
    return rc;
}

/* One port's WHERE. */
static bool is_port(const char *text, enum machine_serial *serial, const char **path)
{
    static const char file[] = "file=";

    *path = NULL;
    if (strcmp(text, "stdio") == 0)
        *serial = MACHINE_SERIAL_STDIO;
    else if (strcmp(text, "null") == 0)
        *serial = MACHINE_SERIAL_NULL;
    else if (strcmp(text, "pty") == 0)
        *serial = MACHINE_SERIAL_PTY;
    else if (strncmp(text, file, strlen(file)) == 0 && text[strlen(file)])
        *serial = MACHINE_SERIAL_FILE;
    else
        return false;
    if (*serial == MACHINE_SERIAL_FILE)
        *path = text + strlen(file);
    return true;
}

/* WHERE[,WHERE]: a comma counts where one port stands behind it, as names of files may have commas. */
static int parse_serial(const char *text, struct boot *boot)
{
    char *first = boot->serial_text, *comma = first;

    if (strlen(text) >= sizeof(boot->serial_text)) {
        report_error("--serial, %.40s.., is too long: no name of a file can be", text);
        return -EINVAL;
    }
    strcpy(first, text);
    while ((comma = strchr(comma, ',')) && !boot->has_second) {
        boot->has_second = is_port(comma + 1, &boot->second, &boot->second_path);
        if (boot->has_second)
            *comma = '\0';
        comma++;
    }
    if (!is_port(first, &boot->serial, &boot->serial_path)) {
        report_error("--serial, '%s', is not known: give stdio, null, file=F or pty, at most twice", text);
        return -EINVAL;
    }
    if (boot->has_second && boot->second == MACHINE_SERIAL_STDIO) {
        report_error("--serial, '%s', is refused as stdio belongs to the first port: give null, file=F or pty", text);
        return -EINVAL;
    }
    boot->config.second_serial = boot->has_second;
    return 0;
}

/* FILE[,readonly]; the copy without it is boot->pflash[bank]. */
static int parse_pflash(const char *text, struct boot *boot, unsigned bank)
{
    static const char read_only[] = ",readonly";
    size_t len = strlen(text), suffix = strlen(read_only);

    boot->config.pflash_read_only[bank] = len > suffix && strcmp(text + len - suffix, read_only) == 0;
    boot->pflash[bank] = strndup(text, boot->config.pflash_read_only[bank] ? len - suffix : len);
    boot->config.pflash[bank] = boot->pflash[bank];
    if (!boot->pflash[bank]) {
        report_error("--pflash%u, %s, not enough host memory, free some", bank, text);
        return -ENOMEM;
    }
    return 0;
}

static int parse_isa(const char *text, isa_set *out)
{
    struct error err;

    if (values_isa(text, out, &err)) {
        report_error("%s", err.text);
        return -EINVAL;
    }
    if (values_isa_absent(text))
        report_error("--isa, '%s', is taken without what is not there yet (%s)", text, values_isa_absent(text));
    return 0;
}

static int parse_disk(const char *text, struct boot *boot)
{
    struct error err;
    int rc = disk_parse(text, &boot->config, &boot->disk_text, &err);

    if (rc)
        report_error("%s", err.text);
    return rc;
}

static int parse_net(const char *net, const char *forward, struct boot *boot)
{
    struct error err;
    int rc = net_parse(net, forward, &boot->config, &boot->net_text, &err);

    if (rc)
        report_error("%s", err.text);
    return rc;
}

static int parse_share(const char *share, struct boot *boot)
{
    struct error err;
    int rc = share_parse(share, &boot->config, &boot->share_text, &err);

    if (rc)
        report_error("%s", err.text);
    return rc;
}

static int parse_devices(const struct option_values *values, struct boot *boot)
{
    struct error err;
    int rc = devices_parse(values, &boot->config, boot->device_text, &err);

    if (rc)
        report_error("%s", err.text);
    return rc;
}

static int parse_log(const char *text)
{
    if (log_configure(text)) {
        report_error("--log, '%s', is not understood: give subsystems like dev,sbi=info (--log=help lists them)", text);
        return -EINVAL;
    }
    return 0;
}

static int log_help(void)
{
    printf("Subsystems for --log=NAME[=error|warn|info|debug][,...]; all stands for every one:\n");
    for (int i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
        printf("  %-10s %s\n", log_subsystem_name((enum log_subsystem)i), log_subsystem_text((enum log_subsystem)i));
    return CLI_EXIT_OK;
}

static int isa_help(void)
{
    char asked[1024], named[256];

    values_isa_format(ISA_COMPATIBLE & ~ISA_DEFAULT, asked, sizeof(asked));
    values_isa_format(ISA_ALL & ~ISA_COMPATIBLE, named, sizeof(named));
    printf("--isa=[PROFILE|STRING][+NAME|-NAME|,...]; a profile is rva20s64, rva22s64 or rva23s64, a string is like\n"
           "rv64imafdc_zicsr_zba. Extensions; all stands for every one:\n  %s\n"
           "Off unless asked for:\n  %s\nOff with all, too:\n  %s\n",
           values_isa_names(), asked, named);
    return CLI_EXIT_OK;
}

static enum stats_format parse_stats(const char *text)
{
    if (strcmp(text, "json") == 0)
        return STATS_JSON;
    return strcmp(text, "regions") == 0 ? STATS_REGIONS : STATS_TABLE;
}

static bool is_help(const char *value)
{
    return value && strcmp(value, "help") == 0;
}

/* What fits. */
static void note_options(const struct option_values *values, struct boot *boot)
{
    size_t at = 0;

    for (size_t i = 0; i < option_row_count && at + 1 < sizeof(boot->options); i++) {
        const struct option_row *row = &option_rows[i];
        const char *value = values->value[row->id];
        if (!value)
            continue;
        int len = snprintf(boot->options + at, sizeof(boot->options) - at, "%s--%s%s%s", at ? " " : "", row->name,
                           *value ? "=" : "", value);
        at += len > 0 ? (size_t)len : 0;
    }
    boot->config.options = boot->options;
    boot->config.version = TUFF_VERSION;
}

static int parse_values(const struct option_values *values, struct boot *boot)
{
    const char *const *value = values->value;
    struct machine_config *config = &boot->config;
    int rc = 0;

    config->kernel = value[OPTION_KERNEL];
    config->initrd = value[OPTION_INITRD];
    config->cmdline = value[OPTION_CMDLINE];
    config->firmware = value[OPTION_BIOS];
    config->files = value[OPTION_LOAD];
    config->dtb = value[OPTION_DTB];
    config->affinity = value[OPTION_AFFINITY];
    config->numa = value[OPTION_NUMA];
    config->symbols = value[OPTION_SYMBOLS];
    boot->dump_dtb = value[OPTION_DUMP_DTB];
    config->gdb = value[OPTION_GDB];
    config->wait_gdb = value[OPTION_WAIT_GDB] != NULL;
    boot->no_reboot = value[OPTION_NO_REBOOT] != NULL;
    if (value[OPTION_STATS])
        boot->stats_format = parse_stats(value[OPTION_STATS]);
    config->name_regions = boot->stats_format == STATS_REGIONS || boot->stats_format == STATS_JSON;
    if (value[OPTION_MEMORY])
        rc = parse_memory(value[OPTION_MEMORY], &config->memory_bytes);
    if (!rc && value[OPTION_BALLOON])
        rc = parse_balloon(value[OPTION_BALLOON], config);
    config->crypto = value[OPTION_CRYPTO] != NULL;
    config->virtio_console = value[OPTION_VIRTIO_CONSOLE] != NULL;
    if (!rc && value[OPTION_CPUS])
        rc = parse_cpus(value[OPTION_CPUS], &config->cpus);
    if (!rc && value[OPTION_ISA])
        rc = parse_isa(value[OPTION_ISA], &config->isa);
    if (!rc && value[OPTION_AIA])
        rc = parse_aia(value[OPTION_AIA], &config->aia);
    if (!rc && value[OPTION_VIRTIO])
        rc = parse_virtio(value[OPTION_VIRTIO], &config->virtio);
    if (!rc && value[OPTION_SERIAL])
        rc = parse_serial(value[OPTION_SERIAL], boot);
    if (!rc && value[OPTION_PFLASH0])
        rc = parse_pflash(value[OPTION_PFLASH0], boot, 0);
    if (!rc && value[OPTION_PFLASH1])
        rc = parse_pflash(value[OPTION_PFLASH1], boot, 1);
    if (!rc)
        rc = parse_disk(value[OPTION_DISK], boot);
    if (!rc)
        rc = parse_net(value[OPTION_NET], value[OPTION_FORWARD], boot);
    if (!rc)
        rc = parse_share(value[OPTION_SHARE], boot);
    if (!rc)
        rc = parse_devices(values, boot);
    if (!rc && value[OPTION_CLOCK])
        rc = parse_clock(value[OPTION_CLOCK], &config->clock);
    if (!rc && value[OPTION_MAX_INSNS])
        rc = parse_max_insns(value[OPTION_MAX_INSNS], &config->max_insns);
    if (!rc && value[OPTION_LOG])
        rc = parse_log(value[OPTION_LOG]);
    note_options(values, boot);
    config->cache = value[OPTION_NO_CACHE] ? NULL : value[OPTION_CACHE];
    if (!rc && value[OPTION_CACHE] && value[OPTION_NO_CACHE]) {
        report_error("--cache, '%s', with --no-cache is refused: give one of the two", value[OPTION_CACHE]);
        rc = -EINVAL;
    }
    if (!rc)
        rc = jit_parse(values, config);
    if (!rc && value[OPTION_HUGE_PAGES])
        rc = parse_huge_pages(value[OPTION_HUGE_PAGES], &config->huge_pages);
    if (!rc && value[OPTION_ACCEL])
        rc = parse_accel(value[OPTION_ACCEL], value[OPTION_TIER], config);
    boot->say_accel = value[OPTION_ACCEL] && config->accel == MACHINE_ACCEL_AUTO;
    if (!rc)
        rc = snapshot_parse(values, config);
    return rc;
}

static int check_combination(const struct boot *boot)
{
    if (boot->config.clock == MACHINE_CLOCK_INSNS && boot->config.cpus > 1) {
        report_error("--clock, 'insns' with --cpus=%u, is refused as each hart would have its own time: give --cpus=1",
                     boot->config.cpus);
        return -EINVAL;
    }
    if (boot->config.jit.verify && boot->config.cpus > 1) {
        report_error(
            "--verify, with --cpus=%u, is refused as a second hart may store between the two runs: give --cpus=1",
            boot->config.cpus);
        return -EINVAL;
    }
    if (boot->config.wait_gdb && !boot->config.gdb) {
        report_error("--wait-gdb, without --gdb, would wait for ever: give --gdb=:1234 as well");
        return -EINVAL;
    }
    if (boot->config.gdb && boot->config.jit.verify) {
        report_error("--gdb, with --verify, is refused as a stop is no difference: leave one of them out");
        return -EINVAL;
    }
    if (boot->config.jit.verify && boot->config.interpret) {
        report_error("--verify, without compiled code, has nothing to compare: give --tier=llvm");
        return -EINVAL;
    }
    return 0;
}

static int write_dtb(const struct machine *machine, const char *path)
{
    size_t len;
    const void *dtb = machine_dtb(machine, &len);
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "wbe");
    int error = 0;

    if (!out || fwrite(dtb, 1, len, out) != len || fflush(out))
        error = errno;
    if (out && !to_stdout && fclose(out) && !error)
        error = errno;
    if (error) {
        report_error("--dump-dtb, %s, cannot be written (%s): name another file", path, strerror(error));
        return CLI_EXIT_USAGE;
    }
    return CLI_EXIT_OK;
}

static void print_stats_now(void *opaque, struct machine *machine)
{
    const struct boot *boot = opaque;
    struct stats_run run = boot->run;
    struct stats *stats = stats_create();

    if (!stats)
        return;
    run.end = "running";
    run.run_ns = loop_now_ns() - run.run_start_ns + run.run_ns;
    stats_add(stats, machine);
    machine_placement_describe(machine, run.placement, sizeof(run.placement));
    stats_print_table(stats, &run, stderr);
    stats_destroy(stats);
}

static const char *end_name(enum machine_end end)
{
    switch (end) {
    case MACHINE_END_POWEROFF:
        return "poweroff";
    case MACHINE_END_REBOOT:
        return "reboot";
    case MACHINE_END_MAX_INSNS:
        return "max-insns";
    case MACHINE_END_QUIT:
        return "quit";
    case MACHINE_END_CRITICAL:
        return "critical-error";
    case MACHINE_END_ERROR:
        break;
    }
    return "error";
}

static void print_final_stats(struct boot *boot)
{
    boot->run.end = end_name(boot->result.end);
    boot->run.exit_code = boot->result.exit_code;
    if (boot->stats_format == STATS_TABLE || boot->stats_format == STATS_REGIONS)
        stats_print_table(boot->stats, &boot->run, stderr);
    if (boot->stats_format == STATS_REGIONS)
        regions_print(boot->regions, stderr);
    if (boot->stats_format == STATS_JSON && stats_print_json(boot->stats, boot->regions, &boot->run, stderr))
        report_error("--stats, json, could not be written: check standard error and host memory");
}

static int exit_code(const struct boot *boot, int signal)
{
    switch (boot->result.end) {
    case MACHINE_END_POWEROFF:
        return boot->result.exit_code > 255 ? 255 : (int)boot->result.exit_code;
    case MACHINE_END_MAX_INSNS:
        return CLI_EXIT_MAX_INSNS;
    case MACHINE_END_REBOOT:
    case MACHINE_END_QUIT:
        return signal ? CLI_EXIT_SIGNAL + signal : CLI_EXIT_OK;
    case MACHINE_END_CRITICAL:
        return CLI_EXIT_CRITICAL;
    case MACHINE_END_ERROR:
        break;
    }
    return CLI_EXIT_INTERNAL;
}

/* Where gdb may connect, once: later machines are at the same place, and wait for nobody. */
static void report_gdb(struct boot *boot, const struct machine *machine)
{
    if (machine_gdb_address(machine) && boot->run.boots == 1)
        fprintf(stderr, "tuff: for gdb: target remote %s\n", machine_gdb_address(machine));
    boot->config.wait_gdb = false;
}

/* One boot. Returns 0 or a negative errno, reported. */
static int run_machine(struct boot *boot, struct machine *machine)
{
    struct error err = {"virtual machine, no reason given, stopped: report this"};
    int rc;

    boot->run.boots++;
    boot->run.run_start_ns = loop_now_ns();
    console_attach(boot->console, machine);
    serve_attach(boot->serve, machine);
    report_gdb(boot, machine);
    rc = machine_run(machine, &boot->result, &err);
    if (rc)
        boot->result.end = MACHINE_END_ERROR;
    serve_detach(boot->serve, &boot->result);
    console_detach(boot->console);
    boot->run.run_ns += loop_now_ns() - boot->run.run_start_ns;
    stats_add(boot->stats, machine);
    machine_placement_describe(machine, boot->run.placement, sizeof(boot->run.placement));
    regions_add(boot->regions, machine, boot->run.boots);
    if (rc || boot->result.end == MACHINE_END_ERROR) {
        boot->result.end = MACHINE_END_ERROR;
        report_error("%s", err.text);
        return rc ? rc : -EIO;
    }
    if (boot->result.end == MACHINE_END_CRITICAL && machine_runs_on_kvm(machine))
        report_error("guest, triple fault, stopped: a processor faulted while it took a fault");
    else if (boot->result.end == MACHINE_END_CRITICAL)
        report_error("guest, critical error, stopped: a hart trapped where its software had said that it takes no trap"
                     " (double trap); run it with --isa=-smdbltrp,-ssdbltrp to see what comes of it");
    return 0;
}

/* Runs the first machine and, while the guest reboots, further ones. Takes `machine`. */
static void run_all(struct boot *boot, struct machine *machine)
{
    struct error err;
    int signal, rc;

    for (;;) {
        rc = run_machine(boot, machine);
        machine_destroy(machine);
        if (rc || boot->result.end != MACHINE_END_REBOOT || boot->no_reboot || console_leaving(boot->console, &signal))
            return;
        /* The guest may have got another kernel meanwhile. */
        rc = boot_disk_again(&boot->from_disk, &boot->config, &err);
        if (!rc)
            rc = machine_create(&boot->config, &machine, &err);
        if (rc) {
            boot->result.end = MACHINE_END_ERROR;
            report_error("%s", err.text);
            return;
        }
    }
}

static int open_console(struct boot *boot)
{
    struct console_config config = {.serial = boot->serial,
                                    .path = boot->serial_path,
                                    .has_second = boot->has_second,
                                    .second = boot->second,
                                    .second_path = boot->second_path,
                                    .print_stats = print_stats_now,
                                    .opaque = boot};
    struct error err;
    int rc = console_create(&config, &boot->console, &err);

    if (rc)
        report_error("%s", err.text);
    else if (console_pty_path(boot->console))
        fprintf(stderr, "tuff: serial port on %s\n", console_pty_path(boot->console));
    if (!rc && console_second_pty_path(boot->console))
        fprintf(stderr, "tuff: second serial port on %s\n", console_second_pty_path(boot->console));
    return rc;
}

static int open_serve(struct boot *boot, const struct option_values *values)
{
    const char *pty = console_pty_path(boot->console);
    struct serve_config config = {.values = values,
                                  .machine = &boot->config,
                                  .serial = boot->serial,
                                  .serial_path = pty ? pty : boot->serial_path};
    struct error err;
    int rc = serve_create(&config, &boot->serve, &err);

    if (rc)
        report_error("%s", err.text);
    return rc;
}

static int boot_machine(struct boot *boot, const struct option_values *values)
{
    static const char *const sandbox[] = {"off", "on"};
    const char *wanted = values->value[OPTION_SANDBOX];
    unsigned confined = 1;
    struct machine *machine;
    struct error err;
    uint64_t begin_ns = loop_now_ns();
    int signal = 0;

    boot->config.serial = console_machine_serial(boot->serial);
    if (boot->say_accel) {
        machine_accel_describe(&boot->config, &err);
        fprintf(stderr, "tuff: %s\n", err.text);
    }
    console_block_signals();
    if (wanted && parse_choice("--sandbox", wanted, sandbox, TUFF_ARRAY_LEN(sandbox), "on or off", &confined))
        return CLI_EXIT_USAGE;
    if (confined && confine(&boot->config, wanted != NULL))
        return CLI_EXIT_USAGE;
    if (machine_create(&boot->config, &machine, &err)) {
        report_error("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    if (boot->dump_dtb) {
        int code = write_dtb(machine, boot->dump_dtb);
        machine_destroy(machine);
        return code;
    }
    boot->stats = stats_create();
    boot->regions = regions_create();
    if (!boot->stats || !boot->regions || open_console(boot) || open_serve(boot, values)) {
        console_destroy(boot->console);
        regions_destroy(boot->regions);
        stats_destroy(boot->stats);
        machine_destroy(machine);
        return CLI_EXIT_USAGE;
    }
    boot->run.start_ns = loop_now_ns() - begin_ns;
    run_all(boot, machine);
    console_leaving(boot->console, &signal);
    serve_destroy(boot->serve);
    console_destroy(boot->console);
    print_final_stats(boot);
    regions_destroy(boot->regions);
    stats_destroy(boot->stats);
    return exit_code(boot, signal);
}

static int run_with(const struct option_values *values, struct boot *boot)
{
    report_log_to_stderr();
    if (is_help(values->value[OPTION_LOG]))
        return log_help();
    if (is_help(values->value[OPTION_ISA]))
        return isa_help();
    if (is_help(values->value[OPTION_TUNE]))
        return jit_help();
    machine_config_default(&boot->config);
    boot->serial = MACHINE_SERIAL_STDIO;
    if (parse_values(values, boot) || check_combination(boot))
        return CLI_EXIT_USAGE;
    return -1;
}

static int free_boot(struct boot *boot, int code)
{
    boot_disk_close(&boot->from_disk);
    free(boot->cache);
    free(boot->pflash[0]);
    free(boot->pflash[1]);
    free(boot->disk_text);
    free(boot->net_text);
    free(boot->share_text);
    for (size_t i = 0; i < DEVICES_TEXTS; i++)
        free(boot->device_text[i]);
    return code;
}

/* Without --kernel: on the first disk. */
static int find_kernel(struct boot *boot)
{
    struct error err;

    if (!boot->config.disk_count) {
        report_error(
            "--kernel, nothing given, is needed: give a Linux Image, as in tuff boot --kernel=Image, or a disk "
            "that has one, as in tuff boot --disk=debian.img");
        return -EINVAL;
    }
    int rc = boot_disk_find(&boot->from_disk, &boot->config, &err);
    if (rc)
        report_error("%s", err.text);
    return rc;
}

static int boot_run(const struct option_values *values)
{
    struct boot boot = {0};
    int code = run_with(values, &boot);

    if (code >= 0)
        return free_boot(&boot, code);
    if (values->operand_count) {
        report_error("argument, %s, is not expected: give the kernel as --kernel=%s", values->operands[0],
                     values->operands[0]);
        return free_boot(&boot, CLI_EXIT_USAGE);
    }
    if (!boot.config.kernel && !boot.config.firmware && !boot.config.pflash[0] && find_kernel(&boot))
        return free_boot(&boot, CLI_EXIT_USAGE);
    if (!values->value[OPTION_CACHE] && !values->value[OPTION_NO_CACHE] && !boot.dump_dtb)
        boot.config.cache = boot.cache = cache_default_path();
    return free_boot(&boot, boot_machine(&boot, values));
}

static int run_run(const struct option_values *values)
{
    struct boot boot = {0};
    int code = run_with(values, &boot);

    if (code >= 0)
        return free_boot(&boot, code);
    if (values->operand_count != 1) {
        report_error("argument, %s, is wrong: give one bare-metal ELF, as in tuff run demo.elf",
                     values->operand_count ? values->operands[1] : "no ELF");
        return free_boot(&boot, CLI_EXIT_USAGE);
    }
    boot.config.bare = values->operands[0];
    return free_boot(&boot, boot_machine(&boot, values));
}

int boot_restore(const struct option_values *values, const char *file, const char *name)
{
    struct machine_restore *restore = NULL;
    struct boot boot = {0};
    struct error err;
    int code = run_with(values, &boot);

    if (code >= 0)
        return free_boot(&boot, code);
    if (machine_restore_open(file, name, snapshot_time(values), &restore, &err) ||
        machine_restore_config(restore, &boot.config, &err)) {
        report_error("%s", err.text);
        machine_restore_close(restore);
        return free_boot(&boot, CLI_EXIT_USAGE);
    }
    /* What it was started from is not here. */
    boot.no_reboot = true;
    if (!boot.config.snapshots.file && access(file, W_OK) == 0)
        boot.config.snapshots.file = file;
    if (!values->value[OPTION_CACHE] && !values->value[OPTION_NO_CACHE])
        boot.config.cache = boot.cache = cache_default_path();
    code = boot_machine(&boot, values);
    machine_restore_close(restore);
    return free_boot(&boot, code);
}

static const char run_notes[] =
    "Keys, when standard input is a terminal:\n"
    "  Ctrl-A x                leave\n"
    "  Ctrl-A s                print statistics\n"
    "  Ctrl-A h                list the keys\n"
    "  Ctrl-A Ctrl-A           send Ctrl-A to the guest\n"
    "  Otherwise input is passed as it is, and its end does not end the guest.\n"
    "\n"
    "Exit codes:\n"
    "  0    the guest powered off, or you left it with Ctrl-A x\n"
    "  N    the code that the guest gave when it powered off (above 255: 255)\n"
    "  2    the command line or a file was refused; nothing was started\n"
    "  3    the virtual machine failed, or --verify found a difference\n"
    "  4    the guest met a double trap that nothing takes (Smdbltrp, Ssdbltrp)\n"
    "  124  --max-insns was reached\n"
    "  128+ ended by a signal (130: SIGINT, 143: SIGTERM)\n"
    "\n"
    "--stats=json: version, end (poweroff, reboot, max-insns, quit,\n"
    "critical-error, error), placement, sandbox, exit_code, boots,\n"
    "start_seconds, run_seconds, cpu_user_seconds, cpu_system_seconds, peak_rss_bytes,\n"
    "instructions, mips, total (sums over the harts), harts (one object each), machine,\n"
    "regions (one object each: boot, number, level, address, symbol, instructions, blocks, pages, ir_built,\n"
    "ir_optimised, code_bytes, compile_us, executions, state and, of those that were not compiled,\n"
    "failure). A region is waiting, unused (compiled, never installed), live, replaced (others took\n"
    "over its entries), dropped (its bytes changed) or failed. Rows are kept of 65,536 regions.\n";

const struct command command_boot = {
    .name = "boot",
    .usage = "--disk=FILE | --kernel=FILE | --bios=FILE [OPTIONS]",
    .summary = "boot a Linux kernel",
    .description = "Boots a riscv64 Linux kernel on a board compatible with QEMU's virt machine. The kernel\n"
                   "starts in S-mode; the virtual machine provides the SBI firmware, or --bios does.",
    .options = OPTION_FOR_BOOT,
    .examples = "  tuff boot --disk debian.img --net user --share .\n"
                "  tuff boot --kernel=Image --initrd=initrd.gz --cmdline='console=ttyS0'\n"
                "  tuff boot -k Image -i initrd.gz -a 'console=ttyS0' -m 2G -c 2\n"
                "  tuff boot --bios=fw_dynamic.bin -k Image -i initrd.gz -a 'console=ttyS0'\n"
                "  tuff boot -k Image --serial=file=log.txt --max-insns=1000000000 --stats\n",
    .notes = run_notes,
    .run = boot_run,
};

const struct command command_run = {
    .name = "run",
    .usage = "[OPTIONS] ELF",
    .summary = "run a bare-metal program",
    .description = "Runs a riscv64 ELF without an operating system: every hart starts at its entry point in\n"
                   "M-mode, with the hart's number in a0 and the address of the device tree in a1. The program\n"
                   "ends the machine, with an exit code, through the test device or HTIF's `tohost`.",
    .options = OPTION_FOR_RUN,
    .examples = "  tuff run demo.elf\n"
                "  tuff run --cpus=4 --clock=host --stats=json test.elf 2>stats.json\n"
                "  tuff run --isa=-zba,-zbb,-zbs --max-insns=1000000 test.elf\n",
    .notes = run_notes,
    .run = run_run,
};
