/* The database's usual place; see cache.h. */
#include "cli/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The directory as in scripts/lib.sh; the caller frees it. */
static char *cache_directory(void)
{
    const char *own = getenv("TUFF_CACHE_DIR");
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    char *parent = NULL, *path = NULL;

    if (own && *own)
        return strdup(own);
    if (xdg && *xdg == '/')
        parent = strdup(xdg);
    else if (!home || !*home || asprintf(&parent, "%s/.cache", home) < 0)
        return NULL;
    if (!parent)
        return NULL;
    (void)mkdir(parent, S_IRWXU);
    if (asprintf(&path, "%s/tuff", parent) < 0)
        path = NULL;
    free(parent);
    return path;
}

char *cache_default_path(void)
{
    const char *own = getenv("TUFF_CACHE");
    char *path = NULL;

    if (own)
        return *own ? strdup(own) : NULL;
    char *directory = cache_directory();

    if (!directory)
        return NULL;
    /* It may be there; if it cannot be made, the file cannot either, which is told. */
    (void)mkdir(directory, S_IRWXU);
    if (asprintf(&path, "%s/code.db", directory) < 0)
        path = NULL;
    free(directory);
    return path;
}
