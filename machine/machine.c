/* The composition root: from a configuration to memory, harts, devices, a loaded kernel and a device tree, and through
 * a run to its end. Creation is single-threaded; what threads there are is said in machine_internal.h. */
#include "machine/machine.h"

#include "base/symbols.h"
#include "engine/baseline/baseline.h"
#include "engine/isa/riscv/isa.h"
#ifdef TUFF_LLVM
#include "llvm/tier.h"
#endif
#include "machine/board_pc.h"
#include "machine/boot_state.h"
#include "machine/firmware.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include "base/log.h"
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RUN_STATS_MAX = 96 };

static const uint64_t memory_min_bytes = 2ull << 20;
static const uint64_t memory_max_bytes = 256ull << 30;

void machine_config_default(struct machine_config *config)
{
    config->memory_bytes = 1ull << 30;
    config->cpus = 1;
    config->max_insns = UINT64_MAX;
    config->isa = ISA_DEFAULT;
    config->interpret = !machine_has_jit();
    config->baseline = machine_has_baseline();
    tier_config_default(&config->jit);
}

static const struct tier_ops *compiling_tier(void)
{
#ifdef TUFF_LLVM
    return llvm_tier_ops();
#else
    return NULL;
#endif
}

bool machine_has_jit(void)
{
    return compiling_tier() != NULL;
}

bool machine_has_baseline(void)
{
    return baseline_is_built();
}

/* ---- checking ---- */

static int check_config(const struct machine_config *config, struct error *err)
{
    if ((config->kernel || config->firmware) && config->bare)
        return error_set(err, -EINVAL, "a kernel or firmware and a bare-metal program were both given: choose one");
    if (config->cpus < 1 || config->cpus > BOARD_HARTS_MAX)
        return error_set(err, -EINVAL, "%u harts: choose 1 to %u", config->cpus, BOARD_HARTS_MAX);
    if (config->memory_bytes < memory_min_bytes || config->memory_bytes > memory_max_bytes ||
        config->memory_bytes % MEM_PAGE_BYTES)
        return error_set(err, -EINVAL, "%" PRIu64 " bytes of memory: choose 2M to 256G, a multiple of 4K",
                         config->memory_bytes);
    if (config->clock == MACHINE_CLOCK_INSNS && config->cpus > 1)
        return error_set(err, -EINVAL, "a clock of instructions with %u harts: it needs exactly one", config->cpus);
    if (config->files) {
        int rc = loader_check_files(config->files, err);
        if (rc)
            return rc;
    }
    if (!(config->isa & ISA_EXT(I)))
        return error_set(err, -EINVAL, "an ISA without I: every hart has it");
    return 0;
}

/* ---- loading ---- */

/* What firmware in the flash starts: nothing is loaded to RAM. */
static const struct boot_image flash_image = {
    .kind = BOOT_IMAGE_FLAT, .entry = BOARD_FLASH_GPA, .start = BOARD_RAM_GPA, .end = BOARD_RAM_GPA};

static int load_image(struct machine *m, struct error *err)
{
    const struct machine_config *config = &m->config;

    if (config->initrd && !config->kernel)
        return error_set(err, -EINVAL, "an initrd without a kernel: give the kernel that uses it");
    m->has_image = config->kernel || config->bare || config->firmware || config->pflash[0];
    if (config->bare)
        return loader_load_bare(m->mem, config->bare, &m->image, err);
    if (config->firmware) {
        int rc = loader_load_firmware(m->mem, config->firmware, &m->image, err);
        if (rc == 0 && config->kernel)
            return loader_load_payload(m->mem, config->kernel, &m->image, &m->payload, err);
        if (config->pflash[0])
            m->payload = flash_image;
        return rc;
    }
    if (config->kernel)
        return loader_load_kernel(m->mem, config->kernel, &m->image, err);
    m->image = flash_image;
    return 0;
}

/* Does the guest bring firmware of its own? Then the VM serves no SBI. */
static bool has_firmware(const struct machine *m)
{
    return m->config.firmware || (m->has_image && !m->config.bare && !m->config.kernel);
}

static bool serves_sbi(const struct machine *m)
{
    return m->config.restore ? machine_restore_has(m, "sbi") : !m->config.bare && !has_firmware(m);
}

/* From the first byte that something is loaded to, to the last. */
static struct boot_image occupied(const struct machine *m)
{
    struct boot_image all = m->image;

    if (m->payload.end > m->payload.start) {
        all.start = m->payload.start < all.start ? m->payload.start : all.start;
        all.end = m->payload.end > all.end ? m->payload.end : all.end;
    }
    return all;
}

static int build_tree(struct machine *m, const struct boot_range *initrd, struct error *err)
{
    const struct machine_config *config = &m->config;
    struct board_virt_config board = {
        .hart_count = config->cpus,
        .ram_bytes = config->memory_bytes,
        .isa = config->isa,
        .timebase_hz = m->timebase_hz,
        .has_imsic = config->aia == MACHINE_AIA_APLIC_IMSIC,
        .cmdline = config->cmdline,
        .initrd_start = initrd->start,
        .initrd_end = initrd->end,
    };
    void *given = NULL;
    int rc = board_virt_seeds(&board, config->clock == MACHINE_CLOCK_INSNS, err);

    if (rc)
        return rc;
    if (config->dtb) {
        size_t len;
        rc = loader_load_dtb(config->dtb, &given, &len, err);
        if (rc == 0)
            rc = board_virt_fdt_adopt(given, &board, &m->dtb, &m->dtb_len, err);
        free(given);
        return rc;
    }
    rc = board_virt_fdt_create(&board, &m->dtb, err);
    if (rc == 0)
        rc = machine_devices_fdt(m, m->dtb, err);
    if (rc == 0)
        rc = board_virt_fdt_finish(m->dtb, &m->dtb_len, err);
    return rc;
}

/* A kernel starts on hart 0 in S-mode, the others wait for hart_start (KVM's own, where it runs the guest); firmware
 * and bare-metal programs start on all of them in M-mode. */
static int set_start_states(struct machine *m, struct error *err)
{
    for (uint32_t i = 0; i < m->hart_count; i++) {
        struct vcpu_state state;
        if (m->accel && i) {
            atomic_store(&m->harts[i].state, SBI_HSM_STARTED);
            continue;
        }
        vcpu_get_state(m->vcpus[i], &state);
        if (m->sbi)
            boot_supervisor_state(&state, m->config.isa, m->image.entry, m->dtb_gpa);
        else
            boot_machine_state(&state, m->image.entry, m->dtb_gpa, m->info_gpa);
        int rc = vcpu_set_state(m->vcpus[i], &state);
        if (rc)
            return error_set(err, rc, "hart %u refused its start state", i);
        atomic_store(&m->harts[i].state, m->sbi && i ? SBI_HSM_STOPPED : SBI_HSM_STARTED);
    }
    return 0;
}

/* The tree alone, or with what firmware is told before it and room behind it. */
static int place_tree(struct machine *m, const struct boot_range *initrd, struct boot_range *taken, struct error *err)
{
    const struct boot_image images = occupied(m);
    size_t before = has_firmware(m) ? FIRMWARE_INFO_BYTES : 0;
    size_t len = before + m->dtb_len + (has_firmware(m) ? FIRMWARE_TREE_ROOM_BYTES : 0);
    uint8_t *bytes = calloc(1, len);

    if (!bytes)
        return error_set(err, -ENOMEM, "no memory for the device tree");
    if (has_firmware(m))
        firmware_info_write(bytes, m->payload.entry);
    memcpy(bytes + before, m->dtb, m->dtb_len);
    int rc = loader_place_dtb(m->mem, bytes, len, &images, initrd, &taken->start, err);
    free(bytes);
    taken->end = taken->start + len;
    m->dtb_gpa = taken->start + before;
    m->info_gpa = before ? taken->start : 0;
    return rc;
}

static int load(struct machine *m, struct error *err)
{
    enum { TREE, INITRD, IMAGE, PAYLOAD, COUNT };
    const struct boot_image images = occupied(m);
    struct boot_range taken[COUNT] = {
        [IMAGE] = {m->image.start, m->image.end}, [PAYLOAD] = {m->payload.start, m->payload.end}};
    int rc = 0;

    if (m->config.initrd)
        rc = loader_load_initrd(m->mem, m->config.initrd, &images, &taken[INITRD], err);
    if (rc == 0)
        rc = build_tree(m, &taken[INITRD], err);
    if (rc == 0 && m->has_image)
        rc = place_tree(m, &taken[INITRD], &taken[TREE], err);
    if (rc == 0 && m->config.files)
        rc = loader_load_files(m->mem, m->config.files, taken, COUNT, err);
    return rc || !m->has_image ? rc : set_start_states(m, err);
}

/* ---- creation and end ---- */

/* One file of the list. */
static int load_symbols_file(struct machine *m, const char *path, size_t len, struct error *err)
{
    char *copy = strndup(path, len);

    if (!copy)
        return error_set(err, -ENOMEM, "no memory for the name of a file with symbols");
    int rc = loader_load_symbols(m->symbols, copy, err);
    free(copy);
    return rc;
}

/* What is given by hand is read in any case, so that a mistake shows. */
static int load_symbols(struct machine *m, struct error *err)
{
    const struct tier_config *jit = &m->config.jit;
    const char *own = m->config.restore ? NULL : m->config.kernel ? m->config.kernel : m->config.bare;
    bool wanted = !m->config.interpret && (m->config.name_regions || jit->dump.what || jit->perf_map || jit->jitdump);
    int rc = 0;

    if (!m->config.symbols && !wanted)
        return 0;
    m->symbols = symbols_create();
    if (!m->symbols)
        return error_set(err, -ENOMEM, "no memory for symbols");
    for (const char *at = m->config.symbols; at && rc == 0;) {
        size_t len = strcspn(at, ",");
        rc = load_symbols_file(m, at, len, err);
        at = at[len] ? at + len + 1 : NULL;
    }
    if (rc)
        return rc;
    if (own && wanted)
        loader_load_own_symbols(m->symbols, own);
    symbols_sort(m->symbols);
    m->config.jit.symbols = m->symbols;
    if (jit->dump.symbol && !m->config.interpret && !symbols_has(m->symbols, jit->dump.symbol))
        return error_set(err, -EINVAL, "--dump, symbol '%s', is not known: name an ELF that has it with --symbols",
                         jit->dump.symbol);
    return 0;
}

/* Without it the machine runs as well: whatever is wrong with the file is one line. */
static void open_store(struct machine *m)
{
    struct tier_config *jit = &m->config.jit;
    struct store_config config = {.path = m->config.cache};
    struct error err;

    if (!config.path || m->config.interpret || !compiling_tier())
        return;
    char *build = compiling_tier()->build(jit);
    config.build = build;
    if (build && store_open(&config, &m->store, &err))
        log_warn(LOG_STORE, "%s: nothing is known or kept in this run", err.text);
    free(build);
    jit->store = m->store;
}

int machine_bake(const struct machine_config *config, bool (*progress)(void *opaque, uint32_t done, uint32_t all),
                 void *opaque, uint32_t *compiled, struct error *err)
{
    struct store_config store = {.path = config->cache};
    struct tier_config jit = config->jit;

    if (!compiling_tier())
        return error_set(err, -ENOTSUP, "this program was built without LLVM: nothing can be compiled");
    char *build = compiling_tier()->build(&jit);
    if (!build)
        return error_set(err, -EINVAL, "code that is made with these options is not kept");
    store.build = build;
    int rc = store_open(&store, &jit.store, err);
    free(build);
    if (rc)
        return rc;
    rc = region_bake(compiling_tier(), &jit, progress, opaque, compiled, err);
    store_close(jit.store);
    return rc;
}

static int create_loops(struct machine *m, struct error *err)
{
    int rc = loop_create(&m->loop);

    if (rc)
        return error_set(err, rc, "the event loop could not be created: %s", strerror(-rc));
    rc = loop_create(&m->devices_loop);
    if (rc)
        return error_set(err, rc, "the devices' event loop could not be created: %s", strerror(-rc));
    loop_set_name(m->devices_loop, "tuff-devices");
    return 0;
}

static int create_memory(struct machine *m, bool pc, struct error *err)
{
    static const enum mem_pages pages[] = {[MACHINE_HUGE_PAGES_AUTO] = MEM_PAGES_AUTO,
                                           [MACHINE_HUGE_PAGES_OFF] = MEM_PAGES_SMALL,
                                           [MACHINE_HUGE_PAGES_RESERVED] = MEM_PAGES_RESERVED};
    const struct mem_ram_config ram = {
        .gpa = pc ? 0 : BOARD_RAM_GPA,
        .size_bytes = m->config.memory_bytes,
        .hole_gpa = pc ? BOARD_PC_HOLE_GPA : 0,
        .hole_bytes = pc ? BOARD_PC_HOLE_BYTES : 0,
        .pages = pages[m->config.huge_pages],
    };
    int rc = mem_create(&m->mem);

    if (rc == 0)
        rc = mem_add_ram_as(m->mem, &ram);
    if (rc && ram.pages == MEM_PAGES_RESERVED)
        return error_set(err, rc,
                         "%" PRIu64 " MiB of guest memory in reserved huge pages of 2 MiB: %s; set vm.nr_hugepages and"
                         " give a multiple of 2M, or leave --huge-pages=reserved out",
                         m->config.memory_bytes >> 20, strerror(-rc));
    if (rc)
        return error_set(err, rc, "%" PRIu64 " MiB of guest memory: %s", m->config.memory_bytes >> 20, strerror(-rc));
    return placement_bind(&m->placement, mem_ram_ptr(m->mem, ram.gpa, 1), ram.size_bytes, err);
}

static int create_parts(struct machine *m, struct error *err)
{
    const struct placement_config places = {
        .affinity = m->config.affinity, .numa = m->config.numa, .vcpu_count = m->config.cpus};
    bool pc = machine_is_pc(&m->config), kvm = m->config.accel == MACHINE_ACCEL_KVM;
    int rc = placement_make(&places, &m->placement, err);

    if (rc == 0)
        rc = create_memory(m, pc, err);
    if (rc == 0)
        rc = machine_pflash_create(m, err);
    if (rc == 0)
        rc = create_loops(m, err);
    if (rc == 0 && pc)
        rc = machine_pc_create(m, err);
    if (rc == 0 && pc)
        rc = machine_snapshots_create(m, err);
    if (rc || pc)
        return rc ? rc : machine_gdb_create(m, err);
    if (m->config.restore)
        machine_restore_image(m);
    else
        rc = load_image(m, err);
    if (rc)
        return rc;
    if (serves_sbi(m)) {
        struct sbi_config config = {.hart_count = m->config.cpus,
                                    .mem = m->mem,
                                    .ops = &machine_sbi_ops,
                                    .opaque = m,
                                    .overflow_interrupts = m->config.isa & ISA_EXT(SSCOFPMF),
                                    .isa = m->config.isa};
        rc = sbi_create(&config, &m->sbi);
        if (rc)
            return error_set(err, rc, "the SBI could not be created: %s", strerror(-rc));
    }
    rc = load_symbols(m, err);
    if (rc == 0 && kvm)
        rc = machine_accel_create(m, err);
    if (rc == 0 && !kvm)
        open_store(m);
    if (rc == 0 && !kvm && !m->config.interpret && compiling_tier()) {
        cpu_set_t before;
        placement_enter(&m->placement, PLACEMENT_COMPILE, 0, &before);
        rc = region_cache_create(compiling_tier(), &m->config.jit, &m->regions, err);
        placement_leave(&before);
    }
    if (rc == 0)
        rc = machine_harts_create(m, err);
    if (rc == 0 && kvm)
        rc = machine_accel_harts(m, err);
    if (rc == 0)
        rc = machine_devices_create(m, err);
    if (rc == 0)
        rc = m->config.restore ? machine_restore_load(m, err) : load(m, err);
    if (rc == 0)
        rc = machine_snapshots_create(m, err);
    return rc ? rc : machine_gdb_create(m, err);
}

/* What runs the guest: KVM or the tiers. Asking KVM makes a virtual machine for a moment, so it is done once. */
static int choose_accel(const struct machine_config *config, enum machine_accel *accel, struct error *err)
{
    *accel = config->accel;
    if (machine_is_pc(config)) {
        *accel = MACHINE_ACCEL_KVM;
        return machine_pc_check(config, err);
    }
    if (config->accel == MACHINE_ACCEL_TIERS)
        return 0;
    int rc = machine_accel_riscv(config, err);
    *accel = rc ? MACHINE_ACCEL_TIERS : MACHINE_ACCEL_KVM;
    return config->accel == MACHINE_ACCEL_KVM || !vcpu_riscv_ops.run ? rc : 0;
}

int machine_create(const struct machine_config *config, struct machine **out, struct error *err)
{
    enum machine_accel accel;
    int rc = check_config(config, err);

    if (rc == 0)
        rc = choose_accel(config, &accel, err);
    if (rc)
        return rc;
    struct machine *m = calloc(1, sizeof(*m));
    if (!m)
        return error_set(err, -ENOMEM, "no memory for a machine");
    m->config = *config;
    m->config.accel = accel;
    m->timebase_hz = BOARD_TIMEBASE_HZ;
    pthread_mutex_init(&m->end_lock, NULL);
    pthread_cond_init(&m->end_changed, NULL);
    pthread_mutex_init(&m->park_lock, NULL);
    pthread_cond_init(&m->park_changed, NULL);
    pthread_mutex_init(&m->pause_lock, NULL);
    pthread_cond_init(&m->pause_changed, NULL);
    machine_clock_start(m);
    rc = create_parts(m, err);
    if (rc) {
        machine_destroy(m);
        return rc;
    }
    *out = m;
    return 0;
}

void machine_destroy(struct machine *m)
{
    if (!m)
        return;
    machine_snapshots_destroy(m);
    loop_stop(m->devices_loop);
    loop_stop(m->loop);
    region_cache_stop(m->regions);
    machine_gdb_destroy(m);
    machine_devices_destroy(m);
    machine_channels_destroy(m);
    machine_harts_destroy(m);
    machine_pc_destroy(m);
    region_cache_destroy(m->regions);
    store_close(m->store);
    sbi_destroy(m->sbi);
    loop_destroy(m->devices_loop);
    loop_destroy(m->loop);
    mem_destroy(m->mem);
    symbols_destroy(m->symbols);
    free(m->dtb);
    pthread_cond_destroy(&m->park_changed);
    pthread_mutex_destroy(&m->park_lock);
    pthread_cond_destroy(&m->pause_changed);
    pthread_mutex_destroy(&m->pause_lock);
    pthread_cond_destroy(&m->end_changed);
    pthread_mutex_destroy(&m->end_lock);
    free(m);
}

void machine_end(struct machine *m, enum machine_end end, uint32_t exit_code)
{
    pthread_mutex_lock(&m->end_lock);
    if (!atomic_load(&m->ending)) {
        m->result = (struct machine_result){.end = end, .exit_code = exit_code};
        atomic_store(&m->ending, true);
        pthread_cond_broadcast(&m->end_changed);
    }
    pthread_mutex_unlock(&m->end_lock);
    machine_pause_cancel(m);
    machine_snapshots_wake(m);
    /* A hart in vcpu_run() leaves it, one that sleeps wakes. */
    for (uint32_t i = 0; i < m->hart_count; i++) {
        vcpu_kick(m->vcpus[i]);
        machine_hart_signal(&m->harts[i]);
    }
}

/* --verify has stopped a hart. */
static bool has_difference(const struct machine *m)
{
    return m->regions && atomic_load(&region_cache_counters(m->regions)->verify_differences);
}

/* Sums over the harts, for the database. */
struct run_stats {
    struct store_stat stats[RUN_STATS_MAX];
    size_t count;
};

static void note_stat(void *opaque, uint32_t hart, const char *name, const char *text, uint64_t value)
{
    struct run_stats *all = opaque;
    size_t i = 0;

    while (i < all->count && strcmp(all->stats[i].name, name) != 0)
        i++;
    if (i == RUN_STATS_MAX)
        return;
    if (i == all->count)
        all->stats[all->count++] = (struct store_stat){.name = name};
    all->stats[i].value += value;
}

static uint64_t stat_of(const struct run_stats *all, const char *name)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->stats[i].name, name) == 0)
            return all->stats[i].value;
    }
    return 0;
}

static void note_run(struct machine *m)
{
    const char *image = m->config.kernel ? m->config.kernel : m->config.bare ? m->config.bare : m->config.firmware;
    const char *base = image ? strrchr(image, '/') : NULL;
    struct run_stats all = {.count = 0};

    if (!m->store)
        return;
    machine_stats(m, note_stat, &all);
    uint64_t insns = stat_of(&all, "insns");
    struct store_run run = {
        .version = m->config.version ? m->config.version : "",
        .options = m->config.options ? m->config.options : "",
        .guest = base    ? base + 1
                 : image ? image
                         : "flash",
        .seconds = (double)(loop_now_ns() - m->run_start_ns) / 1e9,
        .instructions = insns,
        .compiled = insns ? (double)stat_of(&all, "insns_regions") / (double)insns : 0,
        .stats = all.stats,
        .stat_count = all.count,
    };
    store_put_run(m->store, &run);
}

int machine_run(struct machine *m, struct machine_result *result, struct error *err)
{
    if (!m->has_image)
        return error_set(err, -EINVAL, "nothing to run: give a kernel or a bare-metal program");
    cpu_set_t before;
    placement_enter(&m->placement, PLACEMENT_IO, 0, &before);
    int rc = loop_start(m->loop);
    if (rc == 0)
        rc = loop_start(m->devices_loop);
    if (rc == 0)
        rc = machine_virtio_start(m);
    if (rc == 0)
        rc = machine_gdb_start(m);
    placement_leave(&before);
    if (rc)
        return error_set(err, rc, "the event loops could not be started: %s", strerror(-rc));
    rc = machine_snapshots_start(m, err);
    if (rc)
        return rc;
    m->run_start_ns = loop_now_ns();
    rc = machine_harts_start(m, err);
    pthread_mutex_lock(&m->end_lock);
    while (!atomic_load(&m->ending))
        pthread_cond_wait(&m->end_changed, &m->end_lock);
    *result = m->result;
    pthread_mutex_unlock(&m->end_lock);
    machine_harts_join(m);
    machine_gdb_stop(m, result->exit_code);
    region_cache_stop(m->regions);
    int last = machine_snapshots_stop(m, rc ? NULL : err);
    rc = rc ? rc : last;
    loop_stop(m->devices_loop);
    machine_virtio_stop(m);
    note_run(m);
    console_backend_flush(m->console);
    if (m->second_console)
        console_backend_flush(m->second_console);
    loop_stop(m->loop);
    if (rc == 0 && result->end == MACHINE_END_ERROR)
        rc = has_difference(m) ? error_set(err, -EIO, "compiled code is wrong: see what was reported")
                               : error_set(err, -EIO, "a hart could not go on");
    return rc;
}

void machine_quit(struct machine *m)
{
    machine_end(m, MACHINE_END_QUIT, 0);
    console_backend_cancel(m->console);
    if (m->second_console)
        console_backend_cancel(m->second_console);
}

const void *machine_dtb(const struct machine *m, size_t *len)
{
    *len = m->dtb_len;
    return m->dtb;
}

/* ---- console ---- */

void machine_set_console_output(struct machine *m, machine_console_fn output, void *opaque)
{
    m->console_output_opaque = opaque;
    m->console_output = output;
}

size_t machine_console_input(struct machine *m, const uint8_t *bytes, size_t len)
{
    return console_backend_input(m->console, bytes, len);
}

void machine_set_second_output(struct machine *m, machine_console_fn output, void *opaque)
{
    m->second_output_opaque = opaque;
    m->second_output = output;
}

size_t machine_second_input(struct machine *m, const uint8_t *bytes, size_t len)
{
    return m->second_console ? console_backend_input(m->second_console, bytes, len) : len;
}

const char *machine_pty_path(const struct machine *m)
{
    return console_backend_pty_path(m->console);
}

/* ---- statistics ---- */

void machine_stats(struct machine *m, machine_stat_fn fn, void *opaque)
{
    for (uint32_t i = 0; i < m->hart_count; i++) {
        struct vcpu_counters counters;
        vcpu_counters_read(m->vcpus[i], &counters);
#define X(name, text) fn(opaque, i, #name, text, counters.name);
        VCPU_COUNTERS(X)
#undef X
    }
    const struct tier_counters *jit = m->regions ? region_cache_counters(m->regions) : NULL;
#define X(name, text) fn(opaque, UINT32_MAX, #name, text, jit ? atomic_load(&jit->name) : 0);
    TIER_COUNTERS(X)
#undef X
    machine_virtio_stats(m, fn, opaque);
    fn(opaque, UINT32_MAX, "console_dropped", "console bytes nobody took", console_backend_dropped(m->console));
}

struct region_visit {
    struct machine *machine;
    machine_region_fn fn;
    void *opaque;
};

static void visit_region(void *opaque, const struct tier_region *region)
{
    const struct region_visit *visit = opaque;
    const struct symbols *symbols = visit->machine->symbols;
    char label[SYMBOLS_LABEL_BYTES];
    uint64_t offset;
    bool named = symbols && symbols_find(symbols, region->gva, &offset);

    visit->fn(visit->opaque, region, named ? symbols_label(symbols, region->gva, label) : NULL);
}

uint64_t machine_regions(struct machine *m, machine_region_fn fn, void *opaque)
{
    struct region_visit visit = {.machine = m, .fn = fn, .opaque = opaque};

    return m->regions ? region_cache_each(m->regions, visit_region, &visit) : 0;
}
