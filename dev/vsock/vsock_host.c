/* UNIX sockets for virtio-vsock; see vsock_host.h. */
#include "dev/vsock/vsock_host.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_BYTES = 32, BACKLOG = 128 };

static_assert(VSOCK_PATH_MAX + sizeof("_4294967295") <= sizeof(((struct sockaddr_un *)0)->sun_path), "room for a port");

static int new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

int vsock_host_listen(const char *path, struct listener *out, struct error *err)
{
    *out = (struct listener){.fd = -1};
    if (!path[0] || strlen(path) > VSOCK_PATH_MAX)
        return error_set(err, -ENAMETOOLONG, "'%.100s' cannot be the path of such a socket: it has 1 to %d bytes", path,
                         VSOCK_PATH_MAX);
    return listener_open_unix("the socket", path, BACKLOG, out, err);
}

int vsock_host_connect(const char *path, uint32_t port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = new_socket(), rc;

    if (fd < 0)
        return fd;
    snprintf(address.sun_path, sizeof(address.sun_path), "%.*s_%u", VSOCK_PATH_MAX, path, port);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

/* "CONNECT 1234", without its line feed. */
static int parse_greeting(char *line, uint32_t *guest_port)
{
    static const char word[] = "CONNECT ";
    unsigned long long port;
    char *end, *digits = line + sizeof(word) - 1;

    if (strncmp(line, word, sizeof(word) - 1) != 0 || *digits < '0' || *digits > '9')
        return -EPROTO;
    errno = 0;
    port = strtoull(digits, &end, 10);
    if (*end == '\r')
        end++;
    if (errno || *end || port > UINT32_MAX)
        return -EPROTO;
    *guest_port = (uint32_t)port;
    return 0;
}

int vsock_host_greeting(int fd, struct vsock_greeting *greeting, uint32_t *guest_port)
{
    char *at = greeting->line + greeting->len;
    ssize_t len = recv(fd, at, VSOCK_GREETING_BYTES - greeting->len, MSG_PEEK | MSG_DONTWAIT);

    if (len <= 0)
        return len < 0 ? -errno : -ECONNRESET;
    char *end = memchr(at, '\n', (size_t)len);
    if (end)
        len = end - at + 1;
    if (recv(fd, at, (size_t)len, MSG_DONTWAIT) != len)
        return -EPROTO;
    greeting->len += (unsigned)len;
    if (!end)
        return greeting->len < VSOCK_GREETING_BYTES ? -EAGAIN : -EPROTO;
    *end = '\0';
    return parse_greeting(greeting->line, guest_port);
}

int vsock_host_accepted(int fd, uint32_t host_port)
{
    char line[ANSWER_BYTES];
    int len = snprintf(line, sizeof(line), "OK %u\n", host_port);
    ssize_t sent = send(fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent < 0)
        return -errno;
    return sent == len ? 0 : -EPIPE;
}
