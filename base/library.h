/* Libraries that few runs need, loaded by those that do: what is linked costs every start its part (libslirp with GLib
 * 0.7 ms, libnuma 0.8, hwloc with libudev 0.5, libasound 0.5, of some 6 altogether).
 *
 * Who uses one lists its functions, F(X) = X(name) X(name) .., says LIBRARY(name, F, .file = .., .package = .., .use =
 * ..); and keeps a `struct { F(LIBRARY_POINTER) }`. */
#ifndef TUFF_BASE_LIBRARY_H
#define TUFF_BASE_LIBRARY_H

#include "base/compiler.h"
#include "base/error.h"

#include <stddef.h>

#define LIBRARY_POINTER(function) __typeof__(function) *function;
#define LIBRARY_NAME(function) #function,

struct library {
    const char *file;    /* as the dynamic linker knows it */
    const char *package; /* Debian's that has it */
    const char *use;     /* what wants it, to be said where it is missing */
    const char *const *functions;
    size_t count;
};

#define LIBRARY(name, FUNCTIONS, ...)                                        \
    static const char *const name##_functions[] = {FUNCTIONS(LIBRARY_NAME)}; \
    static const struct library name = {                                     \
        .functions = name##_functions, .count = TUFF_ARRAY_LEN(name##_functions), __VA_ARGS__}

/* Loads a library, which stays until the program ends, and sets `pointers`: as many pointers to functions, in the
 * order of library->functions. Any thread that may open files (base/sandbox.h). Returns 0, or -ENOENT with a line in
 * err. */
TUFF_MUST_CHECK int library_load(const struct library *library, void *pointers, struct error *err);

#endif
