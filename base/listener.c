/* See listener.h. */
#include "base/listener.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Left behind by a program that was killed? A full queue (EAGAIN) says that somebody is there. */
static bool is_abandoned(const struct sockaddr_un *address)
{
    int fd = new_socket();
    bool abandoned =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;

    if (fd >= 0)
        close(fd);
    return abandoned;
}

static int make_way(const char *what, const struct sockaddr_un *address, struct error *err)
{
    struct stat st;

    if (lstat(address->sun_path, &st))
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, -EADDRINUSE, "%s, %s, is there and no socket: name another file", what,
                         address->sun_path);
    if (!is_abandoned(address))
        return error_set(err, -EADDRINUSE, "%s, %s, is in use by another program: name another file", what,
                         address->sun_path);
    unlink(address->sun_path);
    return 0;
}

int listener_open_unix(const char *what, const char *path, unsigned backlog, struct listener *out, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;

    *out = (struct listener){.fd = -1};
    if (!*path || strlen(path) >= sizeof(address.sun_path))
        return error_set(err, -ENAMETOOLONG, "%s, 'unix:%s', is no path of a socket: it has 1 to %zu bytes", what, path,
                         sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    int rc = make_way(what, &address, err);
    if (rc)
        return rc;
    out->path = strdup(path);
    out->fd = new_socket();
    /* Nobody can connect before listen(), so the mode is in force when it matters. */
    if (!out->path || out->fd < 0 || bind(out->fd, (const struct sockaddr *)&address, sizeof(address)) ||
        lstat(path, &st)) {
        rc = error_set(err, -errno, "%s, %s, cannot be made: %s", what, path, strerror(errno));
        listener_close(out);
        return rc;
    }
    out->device = st.st_dev;
    out->inode = st.st_ino;
    if (chmod(path, S_IRUSR | S_IWUSR) || listen(out->fd, (int)backlog)) {
        rc = error_set(err, -errno, "%s, %s, cannot be listened at: %s", what, path, strerror(errno));
        listener_close(out);
    }
    return rc;
}

void listener_close(struct listener *l)
{
    struct stat st;

    if (l->fd >= 0)
        close(l->fd);
    if (l->inode && lstat(l->path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        unlink(l->path);
    free(l->path);
    *l = (struct listener){.fd = -1};
}
