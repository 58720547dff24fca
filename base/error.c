/* Formatting of error messages; see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int(error_set)(struct error *err, int negative_errno, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
    }
    return negative_errno;
}
