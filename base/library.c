/* See library.h. */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int library_load(const struct library *library, void *pointers, struct error *err)
{
    void *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);

    if (!handle)
        return error_set(err, -ENOENT, "%s, not possible without the library %s: install %s", library->use,
                         library->file, library->package);
    for (size_t i = 0; i < library->count; i++) {
        void *function = dlsym(handle, library->functions[i]);
        if (!function)
            return error_set(err, -ENOENT, "%s, the library %s has no function %s", library->use, library->file,
                             library->functions[i]);
        memcpy((char *)pointers + i * sizeof(function), &function, sizeof(function));
    }
    return 0;
}
