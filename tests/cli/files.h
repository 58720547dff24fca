/* Files that the tests give to the command: the guests of this folder, and temporary ones. */
#ifndef TUFF_TESTS_CLI_FILES_H
#define TUFF_TESTS_CLI_FILES_H

#include <stddef.h>

/* Paths, in static storage. */
const char *files_guest(const char *name);
extern const char files_demo[];
extern const char files_dtc[];

/* A temporary folder for the test; files_remove_all() removes it with what files_write() and files_path() named. */
void files_make_folder(void);
void files_remove_all(void);

/* A path in the folder. The string stays until files_remove_all(). */
const char *files_path(const char *name);
/* Writes a file there and returns its path. */
const char *files_write(const char *name, const void *bytes, size_t len);

/* Reads a file into memory that the caller frees; terminated by a zero that is not counted. */
char *files_read(const char *path, size_t *len);

#endif
