/* See listen.h. */
#include "control/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BACKLOG = 64 };

static bool is_loopback(const struct addrinfo *at)
{
    static const struct in6_addr loopback6 = IN6ADDR_LOOPBACK_INIT;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (at->ai_family == AF_INET && at->ai_addrlen == sizeof(v4)) {
        memcpy(&v4, at->ai_addr, sizeof(v4));
        return ntohl(v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (at->ai_family != AF_INET6 || at->ai_addrlen != sizeof(v6))
        return false;
    memcpy(&v6, at->ai_addr, sizeof(v6));
    return memcmp(&v6.sin6_addr, &loopback6, sizeof(loopback6)) == 0;
}

static int listen_address(const char *what, const char *where, const struct addrinfo *at, struct listener *l,
                          struct error *err)
{
    const int on = 1;

    if (!is_loopback(at))
        return error_set(err, -EACCES, "%s, '%s', could be reached from other computers: give 127.0.0.1:PORT", what,
                         where);
    l->fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0 || setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        bind(l->fd, at->ai_addr, at->ai_addrlen) || listen(l->fd, BACKLOG))
        return error_set(err, -errno, "%s, '%s', cannot be listened at (%s): give another port", what, where,
                         strerror(errno));
    return 0;
}

/* getaddrinfo() would take 70000 for 4464. */
static bool is_port(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    return *text >= '0' && *text <= '9' && !*end && port > 0 && port <= UINT16_MAX;
}

static int listen_tcp(const char *what, const char *where, struct listener *l, struct error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    const char *colon = strrchr(where, ':');
    char host[64] = "127.0.0.1";
    struct addrinfo *found = NULL;
    size_t len = colon ? (size_t)(colon - where) : 0;

    if (len && len < sizeof(host)) {
        bool bracket = *where == '[' && where[len - 1] == ']';
        memcpy(host, where + bracket, len - 2 * bracket);
        host[len - 2 * bracket] = '\0';
    }
    if (!colon || len >= sizeof(host) || !is_port(colon + 1) || getaddrinfo(host, colon + 1, &hints, &found))
        return error_set(err, -EINVAL, "%s, '%s', is no socket: give unix:PATH, 127.0.0.1:PORT or :PORT", what, where);
    int rc = listen_address(what, where, found, l, err);
    freeaddrinfo(found);
    return rc;
}

int control_listen(const char *what, const char *where, bool tcp, struct listener *out, struct error *err)
{
    static const char prefix[] = "unix:";
    int rc;

    if (strncmp(where, prefix, strlen(prefix)) == 0)
        return listener_open_unix(what, where + strlen(prefix), BACKLOG, out, err);
    *out = (struct listener){.fd = -1};
    if (!tcp)
        return error_set(err, -EINVAL, "%s, '%s', is no socket: give unix:PATH", what, where);
    rc = listen_tcp(what, where, out, err);
    if (rc)
        listener_close(out);
    return rc;
}
