/* What the fuzz targets for database files share: a good file, and copies of it that the input changes. */
#ifndef TUFF_TESTS_FUZZ_FILE_H
#define TUFF_TESTS_FUZZ_FILE_H

#include "base/compiler.h"
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fuzz_file {
    char path[64];
    uint8_t *good; /* kept for the life of the program */
    size_t bytes;
};

/* Also what SQLite keeps beside the file. */
static inline void fuzz_file_remove(const struct fuzz_file *file)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[80];

    for (unsigned i = 0; i < TUFF_ARRAY_LEN(suffixes); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", file->path, suffixes[i]);
        (void)unlink(name);
    }
}

/* Makes `make` write a good file at the path and keeps its bytes. */
static inline void fuzz_file_make(struct fuzz_file *file, const char *what, void (*make)(const char *path))
{
    (void)snprintf(file->path, sizeof(file->path), "/dev/shm/tuff-fuzz-%s.%d", what, (int)getpid());
    fuzz_file_remove(file);
    make(file->path);
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    off_t end = lseek(fd, 0, SEEK_END);
    require(fd >= 0 && end > 0);
    file->bytes = (size_t)end;
    file->good = malloc(file->bytes);
    require(file->good && pread(fd, file->good, file->bytes, 0) == (ssize_t)file->bytes);
    (void)close(fd);
    fuzz_file_remove(file);
}

/* Writes the file with edits of the input: three bytes of place, one of value, repeated. */
static inline void fuzz_file_write(const struct fuzz_file *file, const uint8_t *data, size_t size)
{
    enum { EDIT_BYTES = 4 };
    uint8_t *bytes = malloc(file->bytes);

    require(bytes != NULL);
    memcpy(bytes, file->good, file->bytes);
    for (size_t i = 0; i + EDIT_BYTES <= size; i += EDIT_BYTES) {
        size_t place = (size_t)data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16;
        bytes[place % file->bytes] = data[i + 3];
    }
    int fd = open(file->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, bytes, file->bytes) == (ssize_t)file->bytes && close(fd) == 0);
    free(bytes);
}

#endif
