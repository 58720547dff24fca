/* What the tests of disk images share; see block_test.h. */
#include "block_test.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATHS = 64 };

static char folder[64];
static char paths[PATHS][128];
static unsigned path_count;

void folder_make(void)
{
    strcpy(folder, "/tmp/tuff-block-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    path_count = 0;
}

void folder_remove(void)
{
    command_ok("rm -rf %s", folder);
}

const char *folder_path(const char *name)
{
    char *path;

    for (unsigned i = 0; i < path_count; i++) {
        if (strcmp(paths[i] + strlen(folder) + 1, name) == 0)
            return paths[i];
    }
    ck_assert_uint_lt(path_count, PATHS);
    path = paths[path_count++];
    ck_assert_int_lt(snprintf(path, sizeof(paths[0]), "%s/%s", folder, name), (int)sizeof(paths[0]));
    return path;
}

static int run(const char *format, va_list args)
{
    char text[2048], command[2200];
    int status;

    ck_assert_int_lt(vsnprintf(text, sizeof(text), format, args), (int)sizeof(text));
    (void)snprintf(command, sizeof(command), "(%s) >%s/output 2>&1", text, folder);
    status = system(command);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

int command_run(const char *format, ...)
{
    va_list args;
    int code;

    va_start(args, format);
    code = run(format, args);
    va_end(args);
    return code;
}

void command_ok(const char *format, ...)
{
    char command[256];
    va_list args;
    int code;

    va_start(args, format);
    code = run(format, args);
    va_end(args);
    if (code) {
        (void)snprintf(command, sizeof(command), "cat %s/output >&2", folder);
        (void)!system(command);
        ck_abort_msg("exit code %d of: %s", code, format);
    }
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void random_fill(uint64_t *state, uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len; at += 8) {
        uint64_t word = random_next(state);
        memcpy(bytes + at, &word, len - at < 8 ? len - at : 8);
    }
}

struct block_node *open_ok(const char *path, enum block_format format, bool writable)
{
    const struct node_options options = {.format = format, .writable = writable};
    struct block_node *node = NULL;
    struct error err = {{0}};

    if (node_open(path, &options, &node, &err))
        ck_abort_msg("%s", err.text);
    return node;
}

void open_refused(const char *path, enum block_format format, bool writable, const char *text)
{
    const struct node_options options = {.format = format, .writable = writable};
    struct block_node *node = NULL;
    struct error err = {{0}};

    ck_assert_int_lt(node_open(path, &options, &node, &err), 0);
    ck_assert_msg(strstr(err.text, text) != NULL, "no '%s' in: %s", text, err.text);
}

void close_ok(struct block_node *node)
{
    ck_assert_int_eq(node_close(node), 0);
}

void file_write(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

void file_patch(const char *path, uint64_t offset, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, len, (off_t)offset), (ssize_t)len);
    close(fd);
}

void expect_clean(const char *path)
{
    const struct node_options options = {.format = BLOCK_FORMAT_QCOW2, .check_only = true, .no_backing = true};
    struct block_node *node = NULL;
    struct node_check found;
    struct error err = {{0}};
    int rc;

    command_ok("qemu-img check -f qcow2 %s", path);
    ck_assert_int_eq(node_open(path, &options, &node, &err), 0);
    rc = node_check(node, false, stderr, &found, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_uint_eq(found.corruptions, 0);
    ck_assert_uint_eq(found.leaks, 0);
    close_ok(node);
}

void expect_contents(const char *path, enum block_format format, const uint8_t *bytes, size_t len)
{
    struct block_node *node = open_ok(path, format, false);
    uint8_t *got = malloc(len);

    ck_assert_ptr_nonnull(got);
    ck_assert_uint_ge(node_size(node), len);
    ck_assert_int_eq(node_read(node, got, len, 0), 0);
    for (size_t i = 0; i < len; i++) {
        if (got[i] != bytes[i])
            ck_abort_msg("byte %zu is 0x%02x, not 0x%02x", i, got[i], bytes[i]);
    }
    free(got);
    close_ok(node);
    file_write(folder_path("expected.raw"), bytes, len);
    command_ok("qemu-img compare -f raw -F %s %s %s", block_format_name(format), folder_path("expected.raw"), path);
}
