/* See files.h. */
#include "files.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATHS_MAX = 64, PATH_BYTES = 512 };

const char files_demo[] = TEST_DEMO;
const char files_dtc[] = TEST_DTC;

static char folder[PATH_BYTES / 2];
static char paths[PATHS_MAX][PATH_BYTES];
static size_t path_count;

const char *files_guest(const char *name)
{
    static char ring[4][PATH_BYTES];
    static unsigned next;
    char *path = ring[next++ % 4];

    snprintf(path, PATH_BYTES, "%s/guest_%s.elf", TEST_GUESTS, name);
    return path;
}

void files_make_folder(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(folder, sizeof(folder), "%s/tuff-cli-test.XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    path_count = 0;
}

void files_remove_all(void)
{
    while (path_count)
        unlink(paths[--path_count]);
    rmdir(folder);
}

const char *files_path(const char *name)
{
    ck_assert_uint_lt(path_count, PATHS_MAX);
    snprintf(paths[path_count], PATH_BYTES, "%s/%s", folder, name);
    return paths[path_count++];
}

const char *files_write(const char *name, const void *bytes, size_t len)
{
    const char *path = files_path(name);
    FILE *file = fopen(path, "wbe");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

char *files_read(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rbe");
    char *bytes;
    long size;

    ck_assert_msg(file != NULL, "%s cannot be read", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    ck_assert_int_ge(size, 0);
    ck_assert_int_eq(fseek(file, 0, SEEK_SET), 0);
    bytes = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(bytes);
    *len = fread(bytes, 1, (size_t)size, file);
    ck_assert_uint_eq(*len, (size_t)size);
    bytes[size] = '\0';
    fclose(file);
    return bytes;
}
