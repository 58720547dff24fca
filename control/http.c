/* See http.h. */
#include "control/http.h"

static const char *const functions[] = {HTTP_FUNCTIONS(LIBRARY_NAME)};

/* The interface of the header, as the library calls it since 0.9.71. */
static const struct library library = {.file = "libmicrohttpd.so.12",
                                       .package = "libmicrohttpd12",
                                       .use = "--metrics",
                                       .functions = functions,
                                       .count = TUFF_ARRAY_LEN(functions)};

int http_load(struct http *http, struct error *err)
{
    return library_load(&library, http, err);
}
