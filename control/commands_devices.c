/* Commands about devices: disks ("disk0", "disk1", ..), networks ("net0", ..), balloon, what virtio devices there are.
 */
#include "control/control_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "disk3" with prefix "disk": 3. Returns 0 or -ENODEV. */
static int device_number(struct control_call *call, const char *prefix, const char *id, unsigned count, unsigned *out)
{
    size_t len = strlen(prefix);
    char *end = NULL;
    unsigned long number = 0;

    if (strncmp(id, prefix, len) == 0 && id[len] >= '0' && id[len] <= '9')
        number = strtoul(id + len, &end, 10);
    if (!end || *end || number >= count) {
        call->class = "DeviceNotFound";
        return error_set(&call->err, -ENODEV, "there is no device '%.40s'; this machine has %u of the kind %sN", id,
                         count, prefix);
    }
    *out = (unsigned)number;
    return 0;
}

/* ---- disks ---- */

static const struct control_limits *disk_limits(const struct control *control, unsigned n, struct control_limits *own)
{
    const struct machine_disk *disk = &control->config.machine->disks[n];

    *own = (struct control_limits){.bytes_per_s = disk->bytes_per_s, .ops_per_s = disk->ops_per_s};
    return control->disks[n].set ? &control->disks[n] : own;
}

static json_t *disk_json(const struct control_call *call, unsigned n)
{
    const struct machine_disk *disk = &call->control->config.machine->disks[n];
    struct control_limits own;
    const struct control_limits *limits = disk_limits(call->control, n, &own);
    struct machine_disk_image image;
    char id[16];

    if (machine_disk_image(call->machine, n, &image))
        return NULL;
    snprintf(id, sizeof(id), "disk%u", n);
    json_t *file = json_pack("{s:s, s:s, s:I}", "filename", disk->path, "format", image.format, "virtual-size",
                             (json_int_t)image.bytes);
    json_t *cache = json_pack("{s:b, s:b, s:b}", "writeback", 1, "direct", disk->direct, "no-flush", 0);
    json_t *inserted =
        json_pack("{s:s, s:s, s:b, s:i, s:s, s:i, s:I, s:i, s:i, s:I, s:i, s:i, s:o, s:o}", "file", disk->path, "drv",
                  image.format, "ro", image.read_only, "backing_file_depth", 0, "detect_zeroes", "off",
                  "write_threshold", 0, "bps", (json_int_t)limits->bytes_per_s, "bps_rd", 0, "bps_wr", 0, "iops",
                  (json_int_t)limits->ops_per_s, "iops_rd", 0, "iops_wr", 0, "image", file, "cache", cache);
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:s*, s:o}", "device", id, "qdev", id, "type", "unknown", "removable",
                     0, "locked", 0, "serial", disk->serial, "inserted", inserted);
}

static int query_block(struct control_call *call)
{
    call->result = json_array();
    for (unsigned n = 0; n < call->control->config.machine->disk_count; n++)
        json_array_append_new(call->result, disk_json(call, n));
    return 0;
}

/* QMP's names of what a disk counts. */
static void add_disk_counter(void *opaque, const char *name, uint64_t value)
{
    static const char *const names[][2] = {
        {"reads", "rd_operations"},    {"read_bytes", "rd_bytes"},      {"writes", "wr_operations"},
        {"written_bytes", "wr_bytes"}, {"flushes", "flush_operations"}, {"discards", "unmap_operations"},
    };

    for (size_t i = 0; i < TUFF_ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i][0]) == 0)
            json_object_set_new(opaque, names[i][1], json_integer((json_int_t)value));
    }
}

/* Disks of a SCSI adapter are counted together, by query-stats. */
static int query_block_stats(struct control_call *call)
{
    call->result = json_array();
    for (unsigned n = 0; n < call->control->config.machine->disk_count; n++) {
        json_t *stats = json_object();
        char id[16];
        snprintf(id, sizeof(id), "disk%u", n);
        if (machine_disk_counters(call->machine, n, add_disk_counter, stats) == 0)
            json_array_append_new(call->result, json_pack("{s:s, s:s, s:O}", "device", id, "qdev", id, "stats", stats));
        json_decref(stats);
    }
    return 0;
}

/* Limits hold for reading and writing together; the others may be given as 0, as they must by QMP's rules. */
static int set_disk_limits(struct control_call *call)
{
    static const char *const single[] = {"bps_rd", "bps_wr", "iops_rd", "iops_wr"};
    struct control *control = call->control;
    const char *id = control_string(call, "id", control_string(call, "device", ""));
    uint64_t bps, iops, other;
    unsigned n;
    int rc = device_number(call, "disk", id, control->config.machine->disk_count, &n);

    for (size_t i = 0; !rc && i < TUFF_ARRAY_LEN(single); i++) {
        rc = control_uint(call, single[i], 0, &other);
        if (!rc && other)
            rc = error_set(&call->err, -ENOTSUP,
                           "limits are of reading and writing together: give bps and iops, not %s", single[i]);
    }
    if (!rc)
        rc = control_uint(call, "bps", 0, &bps);
    if (!rc)
        rc = control_uint(call, "iops", 0, &iops);
    if (rc)
        return rc;
    if (machine_set_disk_limits(call->machine, n, bps, iops))
        return error_set(&call->err, -ENOTSUP, "disk%u is behind a SCSI adapter, which has no limits", n);
    control->disks[n] = (struct control_limits){.set = true, .bytes_per_s = bps, .ops_per_s = iops};
    return 0;
}

/* ---- networks ---- */

static json_t *net_json(const struct control *control, unsigned n)
{
    static const char *const kinds[] = {
        [MACHINE_NET_USER] = "user", [MACHINE_NET_TAP] = "tap", [MACHINE_NET_SOCKET] = "socket"};
    const struct machine_net *net = &control->config.machine->nets[n];
    struct control_limits own = {.bytes_per_s = net->bytes_per_s, .ops_per_s = net->packets_per_s};
    const struct control_limits *limits = control->nets[n].set ? &control->nets[n] : &own;
    char id[16];

    snprintf(id, sizeof(id), "net%u", n);
    return json_pack("{s:s, s:s, s:s*, s:i, s:I, s:I}", "id", id, "type", kinds[net->kind], "where", net->where,
                     "queues", net->pairs ? (int)net->pairs : 1, "bps", (json_int_t)limits->bytes_per_s, "pps",
                     (json_int_t)limits->ops_per_s);
}

static int query_net(struct control_call *call)
{
    call->result = json_array();
    for (unsigned n = 0; n < call->control->config.machine->net_count; n++)
        json_array_append_new(call->result, net_json(call->control, n));
    return 0;
}

static int set_net_limits(struct control_call *call)
{
    struct control *control = call->control;
    uint64_t bps, pps;
    unsigned n;
    int rc = device_number(call, "net", control_string(call, "id", ""), control->config.machine->net_count, &n);

    if (!rc)
        rc = control_uint(call, "bps", 0, &bps);
    if (!rc)
        rc = control_uint(call, "pps", 0, &pps);
    if (rc)
        return rc;
    control->nets[n] = (struct control_limits){.set = true, .bytes_per_s = bps, .ops_per_s = pps};
    return machine_set_net_rates(call->machine, n, bps, pps);
}

/* ---- balloon ---- */

static int no_balloon(struct control_call *call)
{
    call->class = "DeviceNotActive";
    return error_set(&call->err, -ENODEV, "this machine has no balloon: start it with --balloon=SIZE");
}

static int query_balloon(struct control_call *call)
{
    uint64_t bytes;

    if (machine_get_balloon(call->machine, &bytes))
        return no_balloon(call);
    call->result = json_pack("{s:I}", "actual", (json_int_t)bytes);
    return 0;
}

static int set_balloon(struct control_call *call)
{
    uint64_t bytes;
    int rc = control_uint(call, "value", 0, &bytes);

    if (!rc)
        rc = machine_set_balloon(call->machine, bytes);
    if (rc == -ENODEV)
        return no_balloon(call);
    if (rc == -EINVAL && !*call->err.text)
        return error_set(&call->err, rc, "the machine has %" PRIu64 " bytes of memory, not %" PRIu64,
                         call->control->config.machine->memory_bytes, bytes);
    if (!rc) {
        call->control->balloon_set = true;
        call->control->balloon_bytes = bytes;
    }
    return rc;
}

/* ---- others ---- */

static void add_virtio(void *opaque, const char *name, unsigned number)
{
    char path[32];

    snprintf(path, sizeof(path), "/machine/virtio[%u]", number);
    json_array_append_new(opaque, json_pack("{s:s, s:s}", "path", path, "name", name));
}

static int query_virtio(struct control_call *call)
{
    call->result = json_array();
    if (call->result)
        machine_each_virtio(call->machine, add_virtio, call->result);
    return 0;
}

static int query_chardev(struct control_call *call)
{
    static const char *const names[] = {[MACHINE_SERIAL_STDIO] = "stdio",
                                        [MACHINE_SERIAL_NULL] = "null",
                                        [MACHINE_SERIAL_FILE] = "file",
                                        [MACHINE_SERIAL_PTY] = "pty"};
    const struct control_config *config = &call->control->config;

    call->result = json_array();
    json_array_append_new(call->result, json_pack("{s:s, s:s, s:b}", "label", "serial0", "filename",
                                                  config->serial_path ? config->serial_path : names[config->serial],
                                                  "frontend-open", 1));
    return 0;
}

const struct control_command control_device_commands[] = {
    {"query-block", "the disks, their images and limits", true, query_block, {{0}}},
    {"query-blockstats", "what the disks have read and written", true, query_block_stats, {{0}}},
    {"block_set_io_throttle",
     "limit a disk (id=disk0): bytes (bps) and operations (iops) a second, 0: no limit",
     true,
     set_disk_limits,
     {{"id", JSON_STRING, true},
      {"device", JSON_STRING, true},
      {"bps", JSON_INTEGER, true},
      {"iops", JSON_INTEGER, true},
      {"bps_rd", JSON_INTEGER, true},
      {"bps_wr", JSON_INTEGER, true},
      {"iops_rd", JSON_INTEGER, true},
      {"iops_wr", JSON_INTEGER, true}}},
    {"x-query-net", "the network devices and their limits", false, query_net, {{0}}},
    {"x-net-set-limits",
     "limit a network (id=net0), each way: bytes (bps) and packets (pps) a second, 0: no limit",
     true,
     set_net_limits,
     {{"id", JSON_STRING, false}, {"bps", JSON_INTEGER, true}, {"pps", JSON_INTEGER, true}, {0}}},
    {"query-balloon", "how much memory the guest lives with", true, query_balloon, {{0}}},
    {"balloon",
     "ask the guest to live with so many bytes (value=536870912)",
     true,
     set_balloon,
     {{"value", JSON_INTEGER, false}, {0}}},
    {"x-query-virtio", "the virtio devices", true, query_virtio, {{0}}},
    {"query-chardev", "the serial port's other end", false, query_chardev, {{0}}},
    {0},
};
