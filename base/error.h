/* One error message, written at the place that knows what went wrong and printed by cli/ alone. */
#ifndef TUFF_BASE_ERROR_H
#define TUFF_BASE_ERROR_H

#include "base/compiler.h"

enum { ERROR_TEXT_BYTES = 512 };

/* Caller-owned. The text is one line without a full stop or newline: what, which value, what to do. */
struct error {
    char text[ERROR_TEXT_BYTES];
};

/* Writes the message (NULL `err` is allowed: the caller does not want it) and returns `negative_errno`, so that
 * a failing function can end in `return error_set(err, -EINVAL, "...", ...)`. */
int error_set(struct error *err, int negative_errno, const char *format, ...) TUFF_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* The analyser sees one file at a time and would follow paths on which a failing function returns 0. */
#define error_set(err, negative_errno, ...) ((void)error_set(err, negative_errno, __VA_ARGS__), (negative_errno))
#endif

#endif
