/* The device tree outside the devices (Devicetree Specification 0.4; Linux bindings riscv/cpus.yaml,
 * riscv/extensions.yaml).
 *
 * libfdt's functions prepend: a subnode added later comes first. Linux numbers processors in the order of their
 * nodes, so harts are added from the last to the first. There is no pmu node: Linux finds the SBI's PMU by probing, and
 * the node's tables map events to mhpmcounters, which this board's harts do not have. */
#include "machine/board_virt.h"

#include "engine/isa/riscv/isa.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    FDT_BASE_BYTES = 32 << 10, /* root and devices; what they take is 3 KB today */
    FDT_BYTES_PER_HART = 2 << 10,
    CMDLINE_BYTES_MAX = 64 << 10,
    ISA_STRING_BYTES = 1024,
    NODE_NAME_BYTES = 32,
};

static const struct {
    isa_set bit;
    const char *name;
} extensions[] = {
#define X(id, text) {ISA_EXT(id), text},
    ISA_EXTENSIONS(X)
#undef X
};

/* riscv,isa-extensions: each name with its terminating zero. Returns the bytes used. */
static int isa_extension_list(isa_set isa, char buf[ISA_STRING_BYTES])
{
    size_t at = 0;

    isa &= ~ISA_TOLD_BY_MMU_TYPE;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(extensions); i++) {
        size_t len = strlen(extensions[i].name) + 1;
        if (!(isa & extensions[i].bit) || at + len > ISA_STRING_BYTES)
            continue;
        memcpy(buf + at, extensions[i].name, len);
        at += len;
    }
    return (int)at;
}

/* Writers in a row share one result: after the first failure the rest do nothing. `node` is an offset that stays valid
 * because children are added after their parent's properties, and later nodes land behind. */
struct writer {
    void *fdt;
    int rc;
};

static void put_string(struct writer *w, int node, const char *name, const char *value)
{
    if (w->rc == 0)
        w->rc = fdt_setprop_string(w->fdt, node, name, value);
}

static void put_u32(struct writer *w, int node, const char *name, uint32_t value)
{
    if (w->rc == 0)
        w->rc = fdt_setprop_u32(w->fdt, node, name, value);
}

static void put_u64(struct writer *w, int node, const char *name, uint64_t value)
{
    if (w->rc == 0)
        w->rc = fdt_setprop_u64(w->fdt, node, name, value);
}

static void put_bytes(struct writer *w, int node, const char *name, const void *bytes, int len)
{
    if (w->rc == 0)
        w->rc = fdt_setprop(w->fdt, node, name, bytes, len);
}

static int put_node(struct writer *w, int parent, const char *name)
{
    int node = w->rc == 0 ? fdt_add_subnode(w->fdt, parent, name) : 0;

    if (node < 0)
        w->rc = node;
    return node < 0 ? 0 : node;
}

static void write_intc(struct writer *w, int cpu, uint32_t hart)
{
    int intc = put_node(w, cpu, "interrupt-controller");

    put_u32(w, intc, "#address-cells", 0);
    put_u32(w, intc, "#interrupt-cells", 1);
    put_bytes(w, intc, "interrupt-controller", NULL, 0);
    put_string(w, intc, "compatible", "riscv,cpu-intc");
    put_u32(w, intc, "phandle", BOARD_PHANDLE_INTC0 + hart);
}

/* Puts a name of the S category where the alphabet has it among those. Returns the new length. */
static int insert_name(char list[ISA_STRING_BYTES], int len, const char *name)
{
    int at = 0, bytes = (int)strlen(name) + 1;

    while (at < len && (list[at] != 's' || strcmp(list + at, name) < 0))
        at += (int)strlen(list + at) + 1;
    if (len + bytes > ISA_STRING_BYTES)
        return len;
    memmove(list + at + bytes, list + at, (size_t)(len - at));
    memcpy(list + at, name, (size_t)bytes);
    return len + bytes;
}

/* The ISA in both ways. Smaia and Ssaia come with the machine's interrupt controllers, not with the ISA chosen. */
static void write_isa(struct writer *w, int cpu, const struct board_virt_config *config)
{
    char list[ISA_STRING_BYTES], text[ISA_STRING_BYTES] = "rv64";
    int len = isa_extension_list(config->isa, list);

    if (config->has_imsic) {
        len = insert_name(list, len, "smaia");
        len = insert_name(list, len, "ssaia");
    }
    for (int at = 0; at < len; at += (int)strlen(list + at) + 1) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%s", list[at + 1] ? "_" : "", list + at);
    }
    put_string(w, cpu, "riscv,isa", text);
    put_string(w, cpu, "riscv,isa-base", "rv64i");
    put_bytes(w, cpu, "riscv,isa-extensions", list, len);
}

static void write_cpu(struct writer *w, int cpus, const struct board_virt_config *config, uint32_t hart)
{
    isa_set isa = config->isa;
    char name[NODE_NAME_BYTES];

    snprintf(name, sizeof(name), "cpu@%x", hart);
    int cpu = put_node(w, cpus, name);
    put_string(w, cpu, "device_type", "cpu");
    put_u32(w, cpu, "reg", hart);
    put_string(w, cpu, "status", "okay");
    put_string(w, cpu, "compatible", "riscv");
    write_isa(w, cpu, config);
    static const struct {
        isa_set isa;
        const char *property;
    } blocks[] = {{ISA_EXT(ZICBOM), "riscv,cbom-block-size"},
                  {ISA_EXT(ZICBOP), "riscv,cbop-block-size"},
                  {ISA_EXT(ZICBOZ), "riscv,cboz-block-size"}};
    for (size_t i = 0; i < TUFF_ARRAY_LEN(blocks); i++) {
        if (isa & blocks[i].isa)
            put_u32(w, cpu, blocks[i].property, ISA_BLOCK_BYTES);
    }
    put_string(w, cpu, "mmu-type",
               isa & ISA_EXT(SV57)   ? "riscv,sv57"
               : isa & ISA_EXT(SV48) ? "riscv,sv48"
                                     : "riscv,sv39");
    put_u32(w, cpu, "phandle", BOARD_PHANDLE_CPU0 + hart);
    write_intc(w, cpu, hart);
}

static void write_cpu_map(struct writer *w, int cpus, uint32_t hart_count)
{
    int map = put_node(w, cpus, "cpu-map");
    int cluster = put_node(w, map, "cluster0");

    for (uint32_t hart = hart_count; hart-- > 0;) {
        char name[NODE_NAME_BYTES];
        snprintf(name, sizeof(name), "core%u", hart);
        put_u32(w, put_node(w, cluster, name), "cpu", BOARD_PHANDLE_CPU0 + hart);
    }
}

static void write_cpus(struct writer *w, const struct board_virt_config *config)
{
    int cpus = put_node(w, 0, "cpus");

    put_u32(w, cpus, "#address-cells", 1);
    put_u32(w, cpus, "#size-cells", 0);
    put_u32(w, cpus, "timebase-frequency", config->timebase_hz);
    write_cpu_map(w, cpus, config->hart_count);
    for (uint32_t hart = config->hart_count; hart-- > 0;)
        write_cpu(w, cpus, config, hart);
}

static void write_memory(struct writer *w, uint64_t ram_bytes)
{
    char name[NODE_NAME_BYTES];
    fdt64_t reg[2] = {cpu_to_fdt64(BOARD_RAM_GPA), cpu_to_fdt64(ram_bytes)};

    snprintf(name, sizeof(name), "memory@%" PRIx64, BOARD_RAM_GPA);
    int memory = put_node(w, 0, name);
    put_string(w, memory, "device_type", "memory");
    put_bytes(w, memory, "reg", reg, sizeof(reg));
}

/* What changes from boot to boot, also in a tree that came from a file. */
static void write_boot_values(struct writer *w, int chosen, const struct board_virt_config *config)
{
    if (config->cmdline)
        put_string(w, chosen, "bootargs", config->cmdline);
    if (config->initrd_end) {
        put_u64(w, chosen, "linux,initrd-start", config->initrd_start);
        put_u64(w, chosen, "linux,initrd-end", config->initrd_end);
    }
    if (config->has_seeds) {
        put_bytes(w, chosen, "rng-seed", config->rng_seed, sizeof(config->rng_seed));
        put_u64(w, chosen, "kaslr-seed", config->kaslr_seed);
    }
}

static void write_chosen(struct writer *w, const struct board_virt_config *config)
{
    char path[NODE_NAME_BYTES];
    int chosen = put_node(w, 0, "chosen");

    snprintf(path, sizeof(path), "/soc/serial@%" PRIx64, BOARD_UART_GPA);
    put_string(w, chosen, "stdout-path", path);
    write_boot_values(w, chosen, config);
}

static void write_root(struct writer *w, const struct board_virt_config *config)
{
    put_u32(w, 0, "#address-cells", 2);
    put_u32(w, 0, "#size-cells", 2);
    put_string(w, 0, "compatible", "riscv-virtio");
    put_string(w, 0, "model", "riscv-virtio,tuff");
    int soc = put_node(w, 0, "soc");
    put_u32(w, soc, "#address-cells", 2);
    put_u32(w, soc, "#size-cells", 2);
    put_string(w, soc, "compatible", "simple-bus");
    put_bytes(w, soc, "ranges", NULL, 0);
    write_cpus(w, config);
    write_memory(w, config->ram_bytes);
    write_chosen(w, config);
}

static int check_cmdline(const struct board_virt_config *config, struct error *err)
{
    if (config->cmdline && strlen(config->cmdline) >= CMDLINE_BYTES_MAX)
        return error_set(err, -E2BIG, "the command line has %zu bytes, %d is the limit; shorten it",
                         strlen(config->cmdline), CMDLINE_BYTES_MAX - 1);
    return 0;
}

int board_virt_seeds(struct board_virt_config *config, bool reproducible, struct error *err)
{
    uint8_t bytes[BOARD_RNG_SEED_BYTES + sizeof(config->kaslr_seed)];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 0x9d + 1);
    /* Up to 256 bytes are delivered whole or not at all (getrandom(2)). */
    if (!reproducible && getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        int rc = -errno;
        return error_set(err, rc, "the host gave no random numbers for the guest's seed: %s", strerrordesc_np(-rc));
    }
    memcpy(config->rng_seed, bytes, sizeof(config->rng_seed));
    memcpy(&config->kaslr_seed, bytes + sizeof(config->rng_seed), sizeof(config->kaslr_seed));
    config->has_seeds = true;
    return 0;
}

int board_virt_fdt_create(const struct board_virt_config *config, void **fdt, struct error *err)
{
    if (config->hart_count == 0 || config->hart_count > BOARD_HARTS_MAX)
        return error_set(err, -EINVAL, "%u harts; the board has 1 to %d", config->hart_count, BOARD_HARTS_MAX);
    int rc = check_cmdline(config, err);
    if (rc)
        return rc;
    int capacity = FDT_BASE_BYTES + FDT_BYTES_PER_HART * (int)config->hart_count;
    if (config->cmdline)
        capacity += (int)strlen(config->cmdline);
    struct writer w = {.fdt = malloc((size_t)capacity)};
    if (!w.fdt)
        return error_set(err, -ENOMEM, "no host memory for the device tree (%d bytes)", capacity);
    w.rc = fdt_create_empty_tree(w.fdt, capacity);
    write_root(&w, config);
    if (w.rc) {
        free(w.fdt);
        return error_set(err, -EINVAL, "cannot write the device tree: %s", fdt_strerror(w.rc));
    }
    *fdt = w.fdt;
    return 0;
}

/* The names by which Linux numbers serial ports, those that there are. */
static int write_aliases(void *fdt)
{
    static const struct {
        const char *alias;
        uint64_t gpa;
    } ports[] = {{"serial0", BOARD_UART_GPA}, {"serial1", BOARD_UART1_GPA}};
    struct writer w = {.fdt = fdt};
    char path[NODE_NAME_BYTES];

    for (size_t i = 0; i < TUFF_ARRAY_LEN(ports); i++) {
        snprintf(path, sizeof(path), "/soc/serial@%" PRIx64, ports[i].gpa);
        if (fdt_path_offset(fdt, path) < 0)
            continue;
        int aliases = fdt_path_offset(fdt, "/aliases");
        put_string(&w, aliases < 0 ? put_node(&w, 0, "aliases") : aliases, ports[i].alias, path);
    }
    return w.rc;
}

int board_virt_fdt_finish(void *fdt, size_t *len, struct error *err)
{
    int rc = write_aliases(fdt);

    if (rc == 0)
        rc = fdt_pack(fdt);

    if (rc)
        return error_set(err, -EINVAL, "cannot finish the device tree: %s", fdt_strerror(rc));
    *len = fdt_totalsize(fdt);
    return 0;
}

static uint64_t read_cells(const fdt32_t *cells, int count)
{
    uint64_t value = 0;

    for (int i = 0; i < count; i++)
        value = value << 32 | fdt32_to_cpu(cells[i]);
    return value;
}

/* A tree that promises memory the guest does not have makes it die early and silently. */
static int check_memory(const void *fdt, uint64_t ram_bytes, struct error *err)
{
    int address_cells = fdt_address_cells(fdt, 0), size_cells = fdt_size_cells(fdt, 0);
    bool found = false;
    int node;

    if (address_cells < 1 || address_cells > 2 || size_cells < 1 || size_cells > 2)
        return error_set(err, -EINVAL,
                         "the device tree has %d address and %d size cells at its root; 1 or 2 are usable",
                         address_cells, size_cells);
    fdt_for_each_subnode(node, fdt, 0)
    {
        int type_len, len, step = address_cells + size_cells;
        const char *type = fdt_getprop(fdt, node, "device_type", &type_len);
        const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &len);
        if (!type || type_len != sizeof("memory") || memcmp(type, "memory", sizeof("memory")) != 0 || !reg)
            continue;
        for (int at = 0; at + step <= len / (int)sizeof(*reg); at += step) {
            uint64_t start = read_cells(reg + at, address_cells);
            uint64_t size = read_cells(reg + at + address_cells, size_cells);
            if (start < BOARD_RAM_GPA || start - BOARD_RAM_GPA > ram_bytes ||
                size > ram_bytes - (start - BOARD_RAM_GPA))
                return error_set(err, -EINVAL,
                                 "the device tree has memory at 0x%" PRIx64 " (%" PRIu64
                                 " bytes), the guest has %" PRIu64 " bytes at 0x%" PRIx64
                                 "; change the tree or --memory",
                                 start, size, ram_bytes, BOARD_RAM_GPA);
            found = true;
        }
    }
    if (!found)
        return error_set(err, -EINVAL, "the device tree has no memory node; add one (--dump-dtb shows how)");
    return 0;
}

int board_virt_fdt_adopt(const void *dtb, const struct board_virt_config *config, void **out, size_t *len,
                         struct error *err)
{
    int rc = check_cmdline(config, err);

    if (rc == 0)
        rc = check_memory(dtb, config->ram_bytes, err);
    if (rc)
        return rc;
    int capacity = (int)fdt_totalsize(dtb) + FDT_BYTES_PER_HART;
    if (config->cmdline)
        capacity += (int)strlen(config->cmdline);
    struct writer w = {.fdt = malloc((size_t)capacity)};
    if (!w.fdt)
        return error_set(err, -ENOMEM, "no host memory for the device tree (%d bytes)", capacity);
    w.rc = fdt_open_into(dtb, w.fdt, capacity);
    int chosen = w.rc ? 0 : fdt_path_offset(w.fdt, "/chosen");
    if (chosen == -FDT_ERR_NOTFOUND)
        chosen = put_node(&w, 0, "chosen");
    else if (chosen < 0)
        w.rc = chosen;
    write_boot_values(&w, chosen, config);
    if (w.rc == 0)
        w.rc = fdt_pack(w.fdt);
    if (w.rc) {
        free(w.fdt);
        return error_set(err, -EINVAL, "cannot add the command line to the device tree: %s", fdt_strerror(w.rc));
    }
    *len = fdt_totalsize(w.fdt);
    *out = w.fdt;
    return 0;
}
