/* See http.h. */
#include "control/http.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* The interface of the header, as the library calls it since 0.9.71. */
static const char library_name[] = "libmicrohttpd.so.12";

static bool find(const struct http *http, const char *name, void *function)
{
    void *found = dlsym(http->library, name);

    memcpy(function, &found, sizeof(found));
    return found != NULL;
}

int http_load(struct http *http, struct error *err)
{
    bool all = true;

    http->library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (!http->library)
        return error_set(err, -ENOENT, "--metrics, not possible without the library %s: install libmicrohttpd12",
                         library_name);
#define X(name) all = find(http, "MHD_" #name, &http->name) && all;
    HTTP_FUNCTIONS(X)
#undef X
    if (all)
        return 0;
    http_unload(http);
    return error_set(err, -ENOENT, "--metrics, the library %s lacks functions of its own", library_name);
}

void http_unload(struct http *http)
{
    if (http->library)
        dlclose(http->library);
    *http = (struct http){0};
}
