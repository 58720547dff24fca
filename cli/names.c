/* See names.h. */
#include "cli/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool names_is_valid(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);

    return len && len <= NAMES_MAX_BYTES && strspn(name, others) == len && strchr(first, *name);
}

/* What others could have put into /tmp is not taken. */
static int check_own(const char *dir, struct error *err)
{
    struct stat st;

    if (lstat(dir, &st))
        return error_set(err, -errno, "%s, the directory of control sockets, cannot be used (%s)", dir,
                         strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IRWXG | S_IRWXO))
        return error_set(err, -EPERM, "%s, is not a directory of yours alone: remove it, or set XDG_RUNTIME_DIR", dir);
    return 0;
}

int names_socket(const char *name, bool make, char **where, struct error *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"); // NOLINT(concurrency-mt-unsafe) no other thread yet
    char *dir = NULL;
    int len, rc = 0;

    if (!names_is_valid(name))
        return error_set(err, -EINVAL, "name, '%.80s', is not one of at most %d letters, digits, '.', '_' and '-'",
                         name, NAMES_MAX_BYTES);
    if (runtime && *runtime == '/')
        len = asprintf(&dir, "%s/tuff", runtime);
    else
        len = asprintf(&dir, "/tmp/tuff-%u", (unsigned)geteuid());
    if (len < 0)
        return error_set(err, -ENOMEM, "name, %s, not enough host memory, free some", name);
    if (make && mkdir(dir, S_IRWXU) && errno != EEXIST)
        rc = error_set(err, -errno, "%s, the directory of control sockets, cannot be made (%s)", dir, strerror(errno));
    if (!rc && make)
        rc = check_own(dir, err);
    if (!rc && asprintf(where, "unix:%s/%s.sock", dir, name) < 0)
        rc = error_set(err, -ENOMEM, "name, %s, not enough host memory, free some", name);
    free(dir);
    return rc;
}
