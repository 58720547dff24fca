/* A machine's configuration as named texts; see machine_settings.h. Names and values are part of the snapshot's format:
 * they are added to, and not changed. */
#include "machine/machine_settings.h"

#include "machine/machine_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_BYTES = 64, LIST_BYTES = 2048 };

/* ---- lists ---- */

void machine_settings_put(struct machine_settings *s, const char *name, const char *format, ...)
{
    struct machine_setting *list = realloc(s->list, (s->count + 1) * sizeof(*list));
    char *text = NULL;
    va_list args;

    if (list)
        s->list = list;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    char *copy = strdup(name);
    if (!list || !text || !copy) {
        free(text);
        free(copy);
        s->rc = -ENOMEM;
        return;
    }
    s->list[s->count++] = (struct machine_setting){.name = copy, .value = text};
}

const char *machine_settings_get(const struct machine_settings *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->list[i].name, name) == 0)
            return s->list[i].value;
    }
    return NULL;
}

void machine_settings_free(struct machine_settings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->list[i].name);
        free(s->list[i].value);
    }
    free(s->list);
    *s = (struct machine_settings){0};
}

/* "disk0.path" */
static const char *indexed(char buf[NAME_BYTES], const char *kind, unsigned n, const char *name)
{
    (void)snprintf(buf, NAME_BYTES, "%s%u.%s", kind, n, name);
    return buf;
}

/* ---- names of choices ---- */

static const char *const clocks[] = {[MACHINE_CLOCK_HOST] = "host", [MACHINE_CLOCK_INSNS] = "insns"};
static const char *const aias[] = {
    [MACHINE_AIA_NONE] = "none", [MACHINE_AIA_APLIC] = "aplic", [MACHINE_AIA_APLIC_IMSIC] = "aplic-imsic"};
static const char *const transports[] = {[MACHINE_VIRTIO_PCI] = "pci", [MACHINE_VIRTIO_MMIO] = "mmio"};
static const char *const formats[] = {
    [MACHINE_DISK_AUTO] = "auto", [MACHINE_DISK_RAW] = "raw", [MACHINE_DISK_QCOW2] = "qcow2"};
static const char *const nets[] = {
    [MACHINE_NET_USER] = "user", [MACHINE_NET_TAP] = "tap", [MACHINE_NET_SOCKET] = "socket"};

static const struct {
    const char *name;
    isa_set bit;
} extensions[] = {
#define X(id, text) {text, ISA_EXT(id)},
    ISA_EXTENSIONS(X)
#undef X
};

static void isa_text(isa_set isa, char text[LIST_BYTES])
{
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < TUFF_ARRAY_LEN(extensions); i++) {
        if (isa & extensions[i].bit)
            at += (size_t)snprintf(text + at, LIST_BYTES - at, "%s%s", at ? " " : "", extensions[i].name);
    }
}

static int isa_parse(const char *text, isa_set *isa, struct error *err)
{
    *isa = 0;
    for (size_t len; *text; text += len + (text[len] == ' ')) {
        size_t i = 0;
        len = strcspn(text, " ");
        while (i < TUFF_ARRAY_LEN(extensions) &&
               (strncmp(extensions[i].name, text, len) != 0 || extensions[i].name[len]))
            i++;
        if (i == TUFF_ARRAY_LEN(extensions))
            return error_set(err, -ENOTSUP, "the snapshot's ISA has '%.*s', which this program does not know",
                             (int)(len < 40 ? len : 40), text);
        *isa |= extensions[i].bit;
    }
    return 0;
}

/* ---- out of a configuration ---- */

static uint64_t mtime_of(const struct stat *st)
{
    return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

static void put_disk(const struct machine_disk *disk, unsigned n, struct machine_settings *s)
{
    char name[NAME_BYTES];
    struct stat st;

    if (disk->read_only && stat(disk->path, &st) == 0) {
        machine_settings_put(s, indexed(name, "disk", n, "bytes"), "%" PRIu64, (uint64_t)st.st_size);
        machine_settings_put(s, indexed(name, "disk", n, "mtime-ns"), "%" PRIu64, mtime_of(&st));
    }
    machine_settings_put(s, indexed(name, "disk", n, "path"), "%s", disk->path);
    machine_settings_put(s, indexed(name, "disk", n, "format"), "%s", formats[disk->format]);
    machine_settings_put(s, indexed(name, "disk", n, "read-only"), "%d", disk->read_only);
    machine_settings_put(s, indexed(name, "disk", n, "direct"), "%d", disk->direct);
    machine_settings_put(s, indexed(name, "disk", n, "scsi"), "%d", disk->scsi);
    machine_settings_put(s, indexed(name, "disk", n, "queues"), "%u", disk->queues);
    if (disk->serial)
        machine_settings_put(s, indexed(name, "disk", n, "serial"), "%s", disk->serial);
    machine_settings_put(s, indexed(name, "disk", n, "bytes-per-second"), "%" PRIu64, disk->bytes_per_s);
    machine_settings_put(s, indexed(name, "disk", n, "operations-per-second"), "%" PRIu64, disk->ops_per_s);
}

static void put_net(const struct machine_net *net, unsigned n, struct machine_settings *s)
{
    char name[NAME_BYTES], forward[NAME_BYTES];
    const uint8_t *mac = net->mac;

    machine_settings_put(s, indexed(name, "net", n, "kind"), "%s", nets[net->kind]);
    if (net->where)
        machine_settings_put(s, indexed(name, "net", n, "where"), "%s", net->where);
    for (unsigned i = 0; i < net->forward_count; i++) {
        (void)snprintf(forward, sizeof(forward), "forward%u", i);
        machine_settings_put(s, indexed(name, "net", n, forward), "%s", net->forwards[i]);
    }
    machine_settings_put(s, indexed(name, "net", n, "restricted"), "%d", net->restricted);
    machine_settings_put(s, indexed(name, "net", n, "mac"), "%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2], mac[3],
                         mac[4], mac[5]);
    machine_settings_put(s, indexed(name, "net", n, "mtu"), "%u", net->mtu);
    machine_settings_put(s, indexed(name, "net", n, "pairs"), "%u", net->pairs);
    machine_settings_put(s, indexed(name, "net", n, "bytes-per-second"), "%" PRIu64, net->bytes_per_s);
    machine_settings_put(s, indexed(name, "net", n, "packets-per-second"), "%" PRIu64, net->packets_per_s);
}

void machine_settings_of(const struct machine_config *config, struct machine_settings *s)
{
    char text[LIST_BYTES], name[NAME_BYTES];

    if (!machine_is_pc(config)) {
        isa_text(config->isa, text);
        machine_settings_put(s, "isa", "%s", text);
    }
    machine_settings_put(s, "memory", "%" PRIu64, config->memory_bytes);
    machine_settings_put(s, "cpus", "%u", config->cpus);
    machine_settings_put(s, "clock", "%s", clocks[config->clock]);
    machine_settings_put(s, "aia", "%s", aias[config->aia]);
    machine_settings_put(s, "virtio", "%s", transports[config->virtio]);
    machine_settings_put(s, "second-serial", "%d", config->second_serial);
    machine_settings_put(s, "virtio-console", "%d", config->virtio_console);
    machine_settings_put(s, "crypto", "%d", config->crypto);
    if (config->balloon)
        machine_settings_put(s, "balloon", "%" PRIu64, config->balloon_bytes);
    for (unsigned n = 0; n < config->disk_count; n++)
        put_disk(&config->disks[n], n, s);
    for (unsigned n = 0; n < config->net_count; n++)
        put_net(&config->nets[n], n, s);
    for (unsigned n = 0; n < config->share_count; n++)
        machine_settings_put(s, indexed(name, "share", n, "tag"), "%s", config->shares[n].tag);
    if (config->vsock.path)
        machine_settings_put(s, "vsock.cid", "%" PRIu32, config->vsock.cid);
}

/* ---- into a configuration ---- */

/* One after the other; the first mistake stays. */
struct reading {
    const struct machine_settings *settings;
    struct error *err;
    int rc;
};

static void refuse(struct reading *r, const char *name, const char *value)
{
    if (!r->rc)
        r->rc = error_set(r->err, -EINVAL, "the snapshot's setting %s is '%.80s', which cannot be", name, value);
}

/* `otherwise` where there is no such setting. */
static uint64_t number(struct reading *r, const char *name, uint64_t max, uint64_t otherwise)
{
    const char *text = machine_settings_get(r->settings, name);
    char *end;

    if (!text)
        return otherwise;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > max)
        refuse(r, name, text);
    return value > max ? 0 : value;
}

static unsigned choice(struct reading *r, const char *name, const char *const *names, size_t count)
{
    const char *text = machine_settings_get(r->settings, name);

    for (unsigned i = 0; text && i < count; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
    }
    refuse(r, name, text ? text : "");
    return 0;
}

/* Is the image what it was? */
static void check_image(struct reading *r, unsigned n, const char *path)
{
    char name[NAME_BYTES];
    uint64_t bytes = number(r, indexed(name, "disk", n, "bytes"), UINT64_MAX, 0);
    uint64_t mtime_ns = number(r, indexed(name, "disk", n, "mtime-ns"), UINT64_MAX, 0);
    struct stat st;

    if (r->rc)
        return;
    if (stat(path, &st))
        r->rc = error_set(r->err, -errno, "disk %u, '%.200s': %s", n, path, strerror(errno));
    else if ((uint64_t)st.st_size != bytes || mtime_of(&st) != mtime_ns)
        r->rc = error_set(r->err, -ESTALE, "disk %u, '%.200s', has changed since the snapshot was taken", n, path);
}

/* The internal snapshot that has a disk's contents; NULL: it could not be written. */
static const char *internal_snapshot(struct reading *r, unsigned n)
{
    char name[NAME_BYTES];

    return machine_settings_get(r->settings, indexed(name, "disk", n, "internal-snapshot"));
}

static void read_disk(struct reading *r, struct machine_disk *disk, unsigned n, const char *path)
{
    const char *internal = internal_snapshot(r, n);
    char name[NAME_BYTES];

    *disk = (struct machine_disk){
        .path = path,
        .format =
            (enum machine_disk_format)choice(r, indexed(name, "disk", n, "format"), formats, TUFF_ARRAY_LEN(formats)),
        .read_only = !internal,
        .snapshot = internal != NULL,
        .at = internal,
        .direct = number(r, indexed(name, "disk", n, "direct"), 1, 0),
        .scsi = number(r, indexed(name, "disk", n, "scsi"), 1, 0),
        .queues = (unsigned)number(r, indexed(name, "disk", n, "queues"), MACHINE_DISK_QUEUES_MAX, 0),
        .serial = machine_settings_get(r->settings, indexed(name, "disk", n, "serial")),
        .bytes_per_s = number(r, indexed(name, "disk", n, "bytes-per-second"), UINT64_MAX, 0),
        .ops_per_s = number(r, indexed(name, "disk", n, "operations-per-second"), UINT64_MAX, 0),
    };
    if (disk->serial && strlen(disk->serial) > MACHINE_DISK_SERIAL_MAX)
        refuse(r, name, disk->serial);
}

/* Each has to have been named by hand: a file must not choose what of the host a guest reads. */
static void read_disks(struct reading *r, struct machine_config *config)
{
    char name[NAME_BYTES];
    const char *path;
    unsigned n = 0;

    for (; (path = machine_settings_get(r->settings, indexed(name, "disk", n, "path"))) && !r->rc; n++) {
        const struct machine_disk *given = &config->disks[n];
        bool internal = internal_snapshot(r, n) != NULL;
        if (n >= config->disk_count || strcmp(given->path, path) != 0 || given->read_only == internal ||
            given->snapshot != internal) {
            r->rc = error_set(r->err, -EINVAL,
                              "the snapshot's machine has a disk '%.200s': say that it may, with"
                              " --disk=%.200s,%s",
                              path, path, internal ? "snapshot" : "readonly");
            return;
        }
        if (!internal)
            check_image(r, n, path);
        read_disk(r, &config->disks[n], n, given->path);
    }
    if (!r->rc && config->disk_count > n)
        r->rc = error_set(r->err, -EINVAL, "--disk, %u of them, are more than the snapshot's machine has (%u)",
                          config->disk_count, n);
}

/* Twelve hexadecimal digits. */
static void read_mac(struct reading *r, const char *name, uint8_t mac[6])
{
    const char *text = machine_settings_get(r->settings, name);

    if (!text)
        return;
    if (strlen(text) != 12 || strspn(text, "0123456789abcdefABCDEF") != 12) {
        refuse(r, name, text);
        return;
    }
    uint64_t value = strtoull(text, NULL, 16);
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)(value >> (40 - 8 * i));
}

/* The same holds for networks, of which only what the guest sees is the snapshot's. */
static void read_nets(struct reading *r, struct machine_config *config)
{
    char name[NAME_BYTES];
    const char *kind;
    unsigned n = 0;

    for (; (kind = machine_settings_get(r->settings, indexed(name, "net", n, "kind"))) && !r->rc; n++) {
        struct machine_net *net = &config->nets[n];
        if (n >= config->net_count || strcmp(nets[net->kind], kind) != 0) {
            r->rc = error_set(r->err, -EINVAL,
                              "the snapshot's machine has a network of kind '%.20s': say that it may, with --net=%.20s",
                              kind, kind);
            return;
        }
        net->mtu = (uint16_t)number(r, indexed(name, "net", n, "mtu"), UINT16_MAX, 0);
        net->pairs = (uint16_t)number(r, indexed(name, "net", n, "pairs"), MACHINE_NET_PAIRS_MAX, 0);
        read_mac(r, indexed(name, "net", n, "mac"), net->mac);
    }
    if (!r->rc && config->net_count > n)
        r->rc = error_set(r->err, -EINVAL, "--net, %u of them, are more than the snapshot's machine has (%u)",
                          config->net_count, n);
}

static void check_shares(struct reading *r, const struct machine_config *config)
{
    char name[NAME_BYTES];
    const char *tag;
    unsigned n = 0;

    for (; (tag = machine_settings_get(r->settings, indexed(name, "share", n, "tag"))) && !r->rc; n++) {
        if (n >= config->share_count || strcmp(tag, config->shares[n].tag) != 0)
            r->rc = error_set(r->err, -EINVAL,
                              "the snapshot's machine has a shared directory '%.40s': say which with"
                              " --share=DIR,tag=%.40s",
                              tag, tag);
    }
    if (!r->rc && config->share_count > n)
        r->rc = error_set(r->err, -EINVAL, "--share, %u of them, are more than the snapshot's machine has (%u)",
                          config->share_count, n);
}

static void check_vsock(struct reading *r, struct machine_config *config)
{
    bool has = machine_settings_get(r->settings, "vsock.cid") != NULL;

    if (has != (config->vsock.path != NULL))
        r->rc = error_set(r->err, -EINVAL,
                          has ? "the snapshot's machine has a vsock: say where with --vsock"
                              : "--vsock, of a restored machine that has none, is refused");
    config->vsock.cid = (uint32_t)number(r, "vsock.cid", UINT32_MAX, 0);
}

int machine_settings_apply(const struct machine_settings *settings, struct machine_config *config, struct error *err)
{
    struct reading r = {.settings = settings, .err = err};
    const char *isa = machine_settings_get(settings, "isa");

    const char *board = machine_settings_get(settings, "board");
    bool pc = board && strcmp(board, "pc") == 0;

    if (board && !pc && strcmp(board, "riscv64") != 0)
        r.rc = error_set(err, -ENOTSUP, "the snapshot's board is '%.40s', which this program does not know", board);
    /* A PC has none to choose. */
    if (r.rc == 0 && !pc)
        r.rc = isa_parse(isa ? isa : "", &config->isa, err);
    config->memory_bytes = number(&r, "memory", UINT64_MAX, 0);
    config->cpus = (uint32_t)number(&r, "cpus", UINT32_MAX, 0);
    config->clock = (enum machine_clock)choice(&r, "clock", clocks, TUFF_ARRAY_LEN(clocks));
    config->aia = (enum machine_aia)choice(&r, "aia", aias, TUFF_ARRAY_LEN(aias));
    config->virtio = (enum machine_virtio)choice(&r, "virtio", transports, TUFF_ARRAY_LEN(transports));
    if (!config->second_serial)
        config->second_serial = number(&r, "second-serial", 1, 0);
    config->virtio_console = number(&r, "virtio-console", 1, 0);
    config->crypto = number(&r, "crypto", 1, 0);
    config->balloon = machine_settings_get(settings, "balloon") != NULL;
    config->balloon_bytes = number(&r, "balloon", UINT64_MAX, 0);
    read_disks(&r, config);
    if (!r.rc)
        read_nets(&r, config);
    if (!r.rc)
        check_shares(&r, config);
    if (!r.rc)
        check_vsock(&r, config);
    return r.rc;
}
