/* libmicrohttpd, loaded where metrics are wanted: it brings GnuTLS and eight libraries more, which were a third of what
 * every start of the program took. */
#ifndef TUFF_CONTROL_HTTP_H
#define TUFF_CONTROL_HTTP_H

#include "base/compiler.h"
#include "base/error.h"

#include <microhttpd.h>

/* The functions that are used, without their MHD_: X(name) */
#define HTTP_FUNCTIONS(X)          \
    X(start_daemon)                \
    X(stop_daemon)                 \
    X(create_response_from_buffer) \
    X(add_response_header)         \
    X(queue_response)              \
    X(destroy_response)

/* Zero-initialise. */
struct http {
    void *library; /* NULL: not loaded */
#define X(name) __typeof__(MHD_##name) *name;
    HTTP_FUNCTIONS(X)
#undef X
};

/* Returns 0, or -ENOENT with a line in `err` where there is no such library. */
TUFF_MUST_CHECK int http_load(struct http *http, struct error *err);
/* After its daemons have stopped. */
void http_unload(struct http *http);

#endif
