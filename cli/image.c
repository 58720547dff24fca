/* `tuff image`: making disk images and looking at them, with the code that a running machine uses. */
#include "cli/command.h"
#include "cli/report.h"
#include "cli/values.h"

#include "dev/block/node.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20, ZERO_BLOCK_BYTES = 4096 };

static int fail(const struct error *err)
{
    report_error("%s", err->text);
    return CLI_EXIT_USAGE;
}

static int fail_with(const char *path, int rc)
{
    report_error("%s: %s", path, strerror(-rc));
    return CLI_EXIT_USAGE;
}

/* ---- options ---- */

static int parse_format(const char *text, enum block_format *out)
{
    if (!text || block_format_parse(text, out) == 0)
        return 0;
    report_error("--format, '%s', is not known: give raw or qcow2", text);
    return -EINVAL;
}

/* What an image that is made gets. */
static int parse_create(const struct option_values *values, struct node_create *create)
{
    const char *const *value = values->value;
    uint64_t cluster, version;

    if (parse_format(value[OPTION_FORMAT], &create->format))
        return -EINVAL;
    if (create->format == BLOCK_FORMAT_AUTO)
        create->format = BLOCK_FORMAT_QCOW2;
    create->backing = value[OPTION_BACKING];
    create->lazy_refcounts = value[OPTION_LAZY_REFCOUNTS] != NULL;
    if (value[OPTION_BACKING_FORMAT] && block_format_parse(value[OPTION_BACKING_FORMAT], &create->backing_format)) {
        report_error("--backing-format, '%s', is not known: give raw or qcow2", value[OPTION_BACKING_FORMAT]);
        return -EINVAL;
    }
    if (value[OPTION_CLUSTER_SIZE]) {
        if (values_size(value[OPTION_CLUSTER_SIZE], &cluster) || cluster > UINT32_MAX) {
            report_error("--cluster-size, '%s', is not a size: give one from 512 to 2M", value[OPTION_CLUSTER_SIZE]);
            return -EINVAL;
        }
        create->cluster_bytes = (uint32_t)cluster;
    }
    if (value[OPTION_QCOW2_VERSION]) {
        if (values_number(value[OPTION_QCOW2_VERSION], 2, 3, &version)) {
            report_error("--qcow2-version, '%s', is not known: give 2 or 3", value[OPTION_QCOW2_VERSION]);
            return -EINVAL;
        }
        create->version = (unsigned)version;
    }
    if (create->format != BLOCK_FORMAT_QCOW2 &&
        (create->backing || create->lazy_refcounts || create->cluster_bytes || create->version)) {
        report_error("--format, raw, has none of the options of qcow2: leave them out");
        return -EINVAL;
    }
    return 0;
}

/* ---- create ---- */

static int image_create(const struct option_values *values)
{
    const char *path = values->operands[1], *size = path ? values->operands[2] : NULL;
    struct node_create create = {0};
    struct error err;

    if (!path || (size && values->operands[3])) {
        report_error("image create, wants a file and a size: give them like tuff image create disk.qcow2 10G");
        return CLI_EXIT_USAGE;
    }
    if (parse_create(values, &create))
        return CLI_EXIT_USAGE;
    if (!size && !create.backing) {
        report_error("image create, %s, has no size: give one, like 10G", path);
        return CLI_EXIT_USAGE;
    }
    if (size && values_size(size, &create.size_bytes)) {
        report_error("image create, '%s', is not a size: give a number with K, M, G or T, like 10G", size);
        return CLI_EXIT_USAGE;
    }
    return node_create(path, &create, &err) ? fail(&err) : CLI_EXIT_OK;
}

/* ---- info, check ---- */

/* The file that `info` and `check` are given. */
static const char *one_file(const struct option_values *values)
{
    const char *path = values->operands[1];

    if (path && !values->operands[2])
        return path;
    report_error("image %s, wants one file", values->operands[0]);
    return NULL;
}

/* Here the contents may decide: nothing is run. */
static int open_to_look(const char *path, const char *format, struct node_options options, struct block_node **out)
{
    struct error err;

    if (parse_format(format, &options.format))
        return CLI_EXIT_USAGE;
    if (!format) {
        options.format = BLOCK_FORMAT_QCOW2;
        if (node_open(path, &options, out, &err) == 0)
            return CLI_EXIT_OK;
        if (!strstr(err.text, "is no qcow2 image"))
            return fail(&err);
        options.format = BLOCK_FORMAT_RAW;
    }
    return node_open(path, &options, out, &err) ? fail(&err) : CLI_EXIT_OK;
}

static int image_info(const struct option_values *values)
{
    const struct node_options options = {.no_lock = true, .no_backing = true};
    const char *path = one_file(values);
    struct block_node *node;
    int code;

    if (!path)
        return CLI_EXIT_USAGE;
    code = open_to_look(path, values->value[OPTION_FORMAT], options, &node);
    if (code)
        return code;
    node_info(node, stdout);
    (void)node_close(node);
    return CLI_EXIT_OK;
}

static int image_check(const struct option_values *values)
{
    bool repair = values->value[OPTION_REPAIR] != NULL;
    const struct node_options options = {.no_backing = true, .check_only = true, .may_repair = repair};
    const char *path = one_file(values);
    struct block_node *node;
    struct node_check found;
    struct error err;
    int code, rc;

    if (!path)
        return CLI_EXIT_USAGE;
    code = open_to_look(path, values->value[OPTION_FORMAT], options, &node);
    if (code)
        return code;
    rc = node_check(node, repair, stdout, &found, &err);
    (void)node_close(node);
    if (rc)
        return fail(&err);
    printf("%" PRIu64 " of %" PRIu64 " clusters in use, %" PRIu64 " compressed\n", found.allocated, found.clusters,
           found.compressed);
    printf("%" PRIu64 " errors, %" PRIu64 " repaired; %" PRIu64 " leaked clusters, %" PRIu64 " given back\n",
           found.corruptions, found.corruptions_fixed, found.leaks, found.leaks_fixed);
    if (found.corruptions > found.corruptions_fixed)
        return CLI_EXIT_INTERNAL;
    return found.leaks > found.leaks_fixed ? 1 : CLI_EXIT_OK;
}

/* ---- convert ---- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* Writes what is not zero: the image is new. */
static int write_sparse(struct block_node *to, const uint8_t *bytes, size_t len, uint64_t offset)
{
    for (size_t at = 0; at < len;) {
        size_t block = len - at < ZERO_BLOCK_BYTES ? len - at : ZERO_BLOCK_BYTES, end = at + block;
        int rc;

        if (is_zero(bytes + at, block)) {
            at = end;
            continue;
        }
        while (end < len) {
            block = len - end < ZERO_BLOCK_BYTES ? len - end : ZERO_BLOCK_BYTES;
            if (is_zero(bytes + end, block))
                break;
            end += block;
        }
        rc = node_write(to, bytes + at, end - at, offset + at);
        if (rc)
            return rc;
        at = end;
    }
    return 0;
}

static int copy_all(struct block_node *from, struct block_node *to, bool over_backing)
{
    uint8_t *buf = aligned_alloc(4096, COPY_BYTES);
    uint64_t size = node_size(from), alike;
    int rc = buf ? 0 : -ENOMEM;
    bool zero;

    for (uint64_t offset = 0; offset < size && !rc; offset += alike) {
        rc = node_status(from, offset, size - offset, &alike, &zero);
        if (rc)
            break;
        if (zero) {
            if (over_backing)
                rc = node_zero(to, offset, alike, true);
            continue;
        }
        if (alike > COPY_BYTES)
            alike = COPY_BYTES;
        rc = node_read(from, buf, alike, offset);
        if (!rc)
            rc = over_backing ? node_write(to, buf, alike, offset) : write_sparse(to, buf, alike, offset);
    }
    free(buf);
    return rc;
}

static int convert(const char *from_path, const char *to_path, const struct option_values *values,
                   struct node_create *create)
{
    struct node_options from_options = {0}, to_options = {.format = create->format, .writable = true};
    struct block_node *from, *to;
    struct error err;
    int rc, closed;

    if (values->value[OPTION_FROM_FORMAT] &&
        block_format_parse(values->value[OPTION_FROM_FORMAT], &from_options.format)) {
        report_error("--from-format, '%s', is not known: give raw or qcow2", values->value[OPTION_FROM_FORMAT]);
        return CLI_EXIT_USAGE;
    }
    if (node_open(from_path, &from_options, &from, &err))
        return fail(&err);
    create->size_bytes = node_size(from);
    rc = node_create(to_path, create, &err);
    if (!rc) {
        rc = node_open(to_path, &to_options, &to, &err);
        if (rc)
            (void)unlink(to_path);
    }
    if (rc) {
        (void)node_close(from);
        return fail(&err);
    }
    rc = copy_all(from, to, create->backing != NULL);
    if (!rc)
        rc = node_flush(to);
    closed = node_close(to);
    (void)node_close(from);
    if (!rc && !closed)
        return CLI_EXIT_OK;
    (void)unlink(to_path); /* half an image is none */
    return fail_with(to_path, rc ? rc : closed);
}

static int image_convert(const struct option_values *values)
{
    const char *from = values->operands[1], *to = from ? values->operands[2] : NULL;
    struct node_create create = {0};

    if (!to || values->operands[3]) {
        report_error("image convert, wants two files: from and to");
        return CLI_EXIT_USAGE;
    }
    if (parse_create(values, &create))
        return CLI_EXIT_USAGE;
    return convert(from, to, values, &create);
}

/* ---- choosing ---- */

static const struct {
    const char *name;
    int (*run)(const struct option_values *values);
} actions[] = {
    {"create", image_create},
    {"info", image_info},
    {"convert", image_convert},
    {"check", image_check},
};

static int image_run(const struct option_values *values)
{
    const char *name = values->operands[0];

    (void)signal(SIGXFSZ, SIG_IGN); /* a write that is too long fails instead */
    for (size_t i = 0; name && i < TUFF_ARRAY_LEN(actions); i++) {
        if (strcmp(name, actions[i].name) == 0)
            return actions[i].run(values);
    }
    report_error("image, '%s', is not known: give create, info, convert or check", name ? name : "");
    return CLI_EXIT_USAGE;
}

const struct command command_image = {
    .name = "image",
    .usage = "create [OPTIONS] FILE SIZE | info FILE | convert [OPTIONS] FROM TO | check FILE",
    .summary = "make disk images and look at them",
    .description = "Makes, describes, converts and checks disk images, raw and qcow2. A file's format is what its\n"
                   "name says (.qcow2, else raw) where no option says otherwise; info and check look at the\n"
                   "contents. An image that a running virtual machine uses is refused, but by info.",
    .options = OPTION_FOR_IMAGE,
    .examples = "  tuff image create disk.qcow2 10G\n"
                "  tuff image create --backing=base.qcow2 mine.qcow2\n"
                "  tuff image convert --format=raw disk.qcow2 disk.img\n"
                "  tuff image check --repair disk.qcow2\n",
    .notes = "Exit codes of check: 0 sound, 1 leaked space only, 3 damage.\n",
    .run = image_run,
};
