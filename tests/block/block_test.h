/* What the tests of disk images share: a folder, random contents, QEMU's tools as an oracle. */
#ifndef TUFF_TESTS_BLOCK_TEST_H
#define TUFF_TESTS_BLOCK_TEST_H

#include "dev/block/node.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A temporary folder for the test, and paths in it (the strings stay until folder_remove()). */
void folder_make(void);
void folder_remove(void);
const char *folder_path(const char *name);

/* Runs a shell command; returns its exit code. Its output is printed when `ok` is wanted and it fails. */
int command_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
void command_ok(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A small, fast, repeatable generator. */
uint64_t random_next(uint64_t *state);
void random_fill(uint64_t *state, uint8_t *bytes, size_t len);

/* Opens or fails the test with the message. */
struct block_node *open_ok(const char *path, enum block_format format, bool writable);
/* Expects a refusal whose message has `text` in it. */
void open_refused(const char *path, enum block_format format, bool writable, const char *text);
void close_ok(struct block_node *node);

/* Writes bytes to a file. */
void file_write(const char *path, const void *bytes, size_t len);
/* Changes bytes of a file in place. */
void file_patch(const char *path, uint64_t offset, const void *bytes, size_t len);

/* `qemu-img check` finds neither damage nor leaks, and neither does node_check(). */
void expect_clean(const char *path);
/* The disk's contents are these, as this reads them and as qemu-img does. */
void expect_contents(const char *path, enum block_format format, const uint8_t *bytes, size_t len);

#endif
