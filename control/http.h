/* libmicrohttpd, loaded where metrics are wanted (base/library.h): it brings GnuTLS and eight libraries more, which
 * were a third of what every start of the program took. */
#ifndef TUFF_CONTROL_HTTP_H
#define TUFF_CONTROL_HTTP_H

#include "base/library.h"

#include <microhttpd.h>

#define HTTP_FUNCTIONS(X)              \
    X(MHD_start_daemon)                \
    X(MHD_stop_daemon)                 \
    X(MHD_create_response_from_buffer) \
    X(MHD_add_response_header)         \
    X(MHD_queue_response)              \
    X(MHD_destroy_response)

struct http {
    HTTP_FUNCTIONS(LIBRARY_POINTER)
};

/* Returns 0, or -ENOENT with a line in `err` where there is no such library. */
TUFF_MUST_CHECK int http_load(struct http *http, struct error *err);

#endif
