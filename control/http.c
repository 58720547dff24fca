/* See http.h. */
#include "control/http.h"

/* The interface of the header, as the library calls it since 0.9.71. */
LIBRARY(library, HTTP_FUNCTIONS, .file = "libmicrohttpd.so.12", .package = "libmicrohttpd12", .use = "--metrics");

int http_load(struct http *http, struct error *err)
{
    return library_load(&library, http, err);
}
